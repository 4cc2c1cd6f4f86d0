/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Defaults and look-ups of the settings. Whoever fills a mqt_config checks it; from start on it
 * does not change and any thread reads it without a lock.
 */
#include "mqtrack/config.h"

#include "mqtrack/info.h"

#include <string.h>

void
mqt_config_init(struct mqt_config *cfg)
{
	*cfg = (struct mqt_config){
		.node = "mqtrack",
		.poll = MQT_POLL_ADAPTIVE,
		.n_domains = 1,
		.n_listeners = 1,
		.n_mbufs = 16384,
		.domains = { "default" },
		.listeners = { {
				.name = "tcp",
				.address = { .port = 1883 },
				.on_failure = MQT_FAIL_OPEN,
				.midstream = MQT_MIDSTREAM_PASS,
				.transport = MQT_TRANSPORT_TCP,
				.proxy = MQT_PROXY_OFF,
				.policy = MQT_POLICY_NEWEST_WINS,
				.will = MQT_WILL_PUBLISH,
				.session_expiry_v3_sec = 7200,
		} },
		.limits = {
			.max_clients = 65536,
			.max_connections = 0,
			.max_embryos = 16384,
			.max_handshakes = 4096,
			.connect_max_bytes = 16384,
			.parked_per_flow = 10,
			.parked_per_worker = 0,
			.reorder_per_flow = 64,
			.fragments = 512,
			.stepdown_local_ms = 500,
			.kick_boundary_ms = 200,
			.opening_ms = 20000,
			.contest_ms = 50,
			.stall_ms = 1000,
			.handshake_ms = 60000,
			.embryo_ms = 30000,
			.idle_sec = 7200, /* as TCP's own keepalive, RFC 9293 §3.8.4 */
			.keepalive_grace_ms = 10000,
			.slot_quiet_ms = 1000,
			.down_batch = 512,
			.down_slice = 512,
			.events = 16384,
			.max_retained = 65536,
			.session_filters = 64,
			.session_inflight = 64,
			.session_bytes = 16384,
			.session_packet_bytes = 16384,
		},
		.flap = { .takeovers = 10, .within_sec = 60, .hold_sec = 0 },
		.control = {
			.socket = "/run/mqtrack/mqtrack.sock",
			.max_clients = 64,
			.max_request = 65536,
			.max_backlog = 4u << 20,
		},
	};
}

/* How well a configured end (version 0: any address, port 0: any port) fits; -1: not at all. */
static int
match_score(const struct mqt_endpoint *want, const struct mqt_endpoint *ep)
{
	int score = 0;

	if (want->version) {
		if (want->version != ep->version || memcmp(want->ip, ep->ip, sizeof(ep->ip)) != 0)
			return -1;
		score += 2;
	}
	if (want->port) {
		if (want->port != ep->port)
			return -1;
		score += 1;
	}
	return score;
}

int
mqt_config_listener(const struct mqt_config *cfg, const struct mqt_endpoint *broker)
{
	int best = -1, best_score = -1;

	for (unsigned i = 0; i < cfg->n_listeners; i++) {
		int score = match_score(&cfg->listeners[i].address, broker);

		if (score > best_score) {
			best = (int)i;
			best_score = score;
		}
	}
	return best;
}

bool
mqt_config_has_port(const struct mqt_config *cfg, uint16_t port)
{
	for (unsigned i = 0; i < cfg->n_listeners; i++) {
		uint16_t want = cfg->listeners[i].address.port;

		if (want == port || want == 0)
			return true;
	}
	return false;
}

const char *
mqt_config_broker_name(const struct mqt_config *cfg, const struct mqt_endpoint *broker)
{
	const char *best = NULL;
	int best_score = -1;

	for (unsigned i = 0; i < cfg->n_brokers; i++) {
		int score = match_score(&cfg->brokers[i].address, broker);

		if (score > best_score) {
			best = cfg->brokers[i].name;
			best_score = score;
		}
	}
	return best;
}
