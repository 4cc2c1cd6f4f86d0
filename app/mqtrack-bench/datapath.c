/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench.h"
#include "mqtrack/conn.h"
#include "mqtrack/info.h"
#include "mqtrack/mqtt.h"
#include "packets.h"

#include <stdlib.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_mbuf.h>

/*
 * The established path of one worker without a port: from a burst of packets in memory to a tx
 * burst that frees them.
 *
 * Connections are made by the real handshake, with a CONNACK that this file grants. Then, for one
 * connection after the other in a random order, the client publishes (QoS 0, one segment) and the
 * broker acknowledges: two packets. Sequence numbers advance, so each publish is new to the
 * cursors; each is looked at to its end. Packets are written in portions of N_PORTION before the
 * clock starts, so that what is timed is the worker's part: view, key, hash, look-up, judgement,
 * tx. The baseline gets the same packets and does view, key, hash, look-up in bulk, tx.
 */

#define DEFAULT_SIZE 10000u
#define PACKETS      2000000u /* a run */
#define N_PORTION    512u
#define BURST        64u
#define POOL         4095u
#define DATA         (MQT_TCP_ACK | MQT_TCP_PSH)
#define TOPIC        "devices/12345678"
#define PAYLOAD      "{\"t\":21.5,\"h\":40}"

struct rig {
	uint32_t n;
	uint32_t *order;
	struct bench_flow *flows;      /* as the connections are followed */
	struct bench_flow *base_flows; /* what the baseline gets, which follows nothing */
	struct mqt_config config;
	struct mqt_hash_key key;
	struct mqt_worker_counters counters;
	struct rte_mempool *pool;
	struct mqt_mailbox *mailbox;
	struct mqt_tx tx;
	struct mqt_conns *conns;
	struct mqt_info **infos; /* of the channels, ours until the end */
	uint32_t n_infos;
	struct rte_hash *table; /* the baseline's */
	uint8_t publish[128];
	uint16_t publish_len;
	uint32_t cursor; /* in order[] */
	uint64_t n_sent;
	uint64_t n_hits; /* of the baseline */
	struct rte_mbuf *portion[N_PORTION];
};

/* --- the worker's part -------------------------------------------------------------------------------- */

static unsigned
inspect_burst(const struct rig *r, struct rte_mbuf **m, unsigned n, uint16_t port,
		struct mqt_packet *pkts)
{
	unsigned k = 0;

	for (unsigned i = 0; i < n; i++)
		k += bench_inspect(&r->config, &r->key, m[i], port, &pkts[k]);
	return k;
}

static void
flush(struct rig *r)
{
	mqt_role_worker_assert();
	for (uint16_t port = 0; port < 2; port++)
		if (r->tx.port[port].n > 0)
			mqt_tx_flush(&r->tx, port);
}

static void
ours_burst(struct rig *r, struct rte_mbuf **m, unsigned n, uint16_t port)
{
	struct mqt_packet pkts[BURST];

	mqt_role_worker_assert();
	mqt_conns_input(r->conns, pkts, inspect_burst(r, m, n, port, pkts));
	flush(r);
}

static void
base_burst(struct rig *r, struct rte_mbuf **m, unsigned n, uint16_t port)
{
	struct mqt_packet pkts[BURST];
	const void *keys[BURST];
	hash_sig_t sigs[BURST];
	void *data[BURST];
	uint64_t hits = 0;

	mqt_role_worker_assert();
	n = inspect_burst(r, m, n, port, pkts);
	for (unsigned i = 0; i < n; i++) {
		keys[i] = &pkts[i].key;
		sigs[i] = (hash_sig_t)pkts[i].hash;
	}
	r->n_hits += (uint64_t)rte_hash_lookup_with_hash_bulk_data(
			r->table, keys, sigs, n, &hits, data);
	for (unsigned i = 0; i < n; i++)
		mqt_tx_push(&r->tx, port ^ 1, pkts[i].m, NULL, 0);
	flush(r);
}

/* --- connections ------------------------------------------------------------------------------------ */

static int
send_one(struct rig *r, struct rte_mbuf *m, uint16_t port)
{
	struct mqt_packet pkt;

	mqt_role_worker_assert();
	if (!m || !bench_inspect(&r->config, &r->key, m, port, &pkt))
		return -1;
	mqt_conns_input(r->conns, &pkt, 1);
	flush(r);
	return 0;
}

/* Plays the control lcore: grants what is asked for. @return how many. */
static unsigned
grant(struct rig *r)
{
	struct mqt_msg msg;
	unsigned n = 0;

	mqt_role_control_assert();
	mqt_role_worker_assert();
	while (mqt_mailbox_poll_control(r->mailbox, &msg, 1) == 1) {
		if (msg.type != MQT_MSG_OPEN)
			continue;
		r->infos[r->n_infos++] = msg.info;
		msg = (struct mqt_msg){ .type = MQT_MSG_GRANT, .chan = msg.chan };
		mqt_mailbox_post_worker(r->mailbox, &msg);
		n++;
	}
	mqt_mailbox_poll_control(r->mailbox, &msg, 0);
	mqt_conns_poll(r->conns);
	flush(r);
	return n;
}

static int
connect_one(struct rig *r, uint32_t i)
{
	struct bench_flow *f = &r->flows[i];
	uint8_t connect[128], connack[8], id[16];
	struct mqt_mqtt_connect c = {
		.version = 4,
		.clean_start = true,
		.keepalive_sec = 60,
		.clientid = { id, (uint32_t)snprintf((char *)id, sizeof(id), "dev%08u", i) },
	};
	struct mqt_mqtt_connack ack = { 0 };
	uint16_t connect_len = (uint16_t)mqt_mqtt_connect_encode(connect, sizeof(connect), &c);
	uint16_t connack_len = (uint16_t)mqt_mqtt_connack_encode(connack, sizeof(connack), 4, &ack);
	int rc;

	*f = bench_flow_of(i);
	rc = send_one(r, bench_segment(r->pool, f, true, MQT_TCP_SYN, NULL, 0), 0);
	rc |= send_one(r, bench_segment(r->pool, f, false, MQT_TCP_SYN | MQT_TCP_ACK, NULL, 0), 1);
	rc |= send_one(r, bench_segment(r->pool, f, true, MQT_TCP_ACK, NULL, 0), 0);
	rc |= send_one(r, bench_segment(r->pool, f, true, DATA, connect, connect_len), 0);
	rc |= send_one(r, bench_segment(r->pool, f, false, DATA, connack, connack_len), 1);
	if (rc || grant(r) != 1)
		return -1;
	return send_one(r, bench_segment(r->pool, f, true, MQT_TCP_ACK, NULL, 0), 0);
}

/* --- a run -------------------------------------------------------------------------------------------- */

/* Half a portion of publishes, then the acknowledgements of the same connections. */
static int
write_portion(struct rig *r, struct bench_flow *flows)
{
	const unsigned half = N_PORTION / 2;

	if (rte_pktmbuf_alloc_bulk(r->pool, r->portion, N_PORTION) != 0)
		return -1;
	for (unsigned i = 0; i < half; i++) {
		struct bench_flow *f = &flows[r->order[r->cursor]];

		r->cursor = r->cursor + 1 < r->n ? r->cursor + 1 : 0;
		bench_write(r->portion[i], f, true, DATA, r->publish, r->publish_len);
		bench_write(r->portion[half + i], f, false, MQT_TCP_ACK, NULL, 0);
	}
	return 0;
}

static int
run_packets(struct rig *r, bool ours, struct bench_samples *s)
{
	uint64_t sent = r->n_sent, ns = 0, n = 0;

	mqt_role_worker_assert();
	while (n < PACKETS) {
		uint64_t begin;

		if (write_portion(r, ours ? r->flows : r->base_flows) != 0)
			return -1;
		begin = bench_now_ns();
		if (ours) { /* as a worker does in each turn */
			mqt_conns_poll(r->conns);
			mqt_conns_expire(r->conns, 64);
		}
		for (unsigned i = 0; i < N_PORTION; i += BURST)
			(ours ? ours_burst : base_burst)(
					r, &r->portion[i], BURST, i < N_PORTION / 2 ? 0 : 1);
		ns += bench_now_ns() - begin;
		n += N_PORTION;
	}
	bench_rate_of(s, n, ns);
	return r->n_sent - sent == n ? 0 : -1;
}

/* What was measured was the established path, each publish seen whole. */
static bool
was_established(const struct rig *r, uint64_t publishes)
{
	const struct mqt_conns_gauges *g = mqt_conns_gauges(r->conns);
	struct mqt_slots slots = mqt_conns_slots(r->conns);
	uint64_t seen = 0;

	for (uint32_t i = 0; i < slots.n; i++)
		seen += mqt_counter_get(&mqt_slots_at(&slots, i)->counter[MQT_RECV_MSG]);
	return seen == publishes &&
			atomic_load_explicit(&g->state[MQT_CONN_CONNECTED], memory_order_relaxed) ==
			r->n;
}

/* --- setting up ------------------------------------------------------------------------------------- */

static int
table_init(struct rig *r)
{
	struct rte_hash_parameters hp = {
		.name = "bench_base",
		.entries = RTE_MAX(r->n, 64u),
		.key_len = MQT_FLOW_KEY_V4_LEN,
		.socket_id = SOCKET_ID_ANY,
		.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	};

	r->table = rte_hash_create(&hp);
	for (uint32_t i = 0; r->table && i < r->n; i++) {
		struct rte_mbuf *m =
				bench_segment(r->pool, &r->flows[i], true, MQT_TCP_ACK, NULL, 0);
		struct mqt_packet pkt;

		if (!m || !bench_inspect(&r->config, &r->key, m, 0, &pkt) ||
				rte_hash_add_key_with_hash_data(r->table, &pkt.key,
						(hash_sig_t)pkt.hash, &r->flows[i]) != 0)
			return -1;
		rte_pktmbuf_free(m);
	}
	return r->table ? 0 : -1;
}

static int
rig_init(struct rig *r)
{
	struct mqt_conns_params params = {
		.config = &r->config,
		.clock = mqt_clock_system(),
		.hash_key = &r->key,
		.tx = &r->tx,
		.counters = &r->counters,
		.n_workers = 1,
		.socket_id = SOCKET_ID_ANY,
		.name = "bench",
	};

	mqt_config_init(&r->config);
	r->config.limits.max_clients = r->n;
	r->tx.burst = bench_tx_free;
	r->tx.arg = &r->n_sent;
	r->tx.counters = r->counters.v;
	r->order = bench_order(r->n);
	r->flows = calloc(r->n, sizeof(*r->flows));
	r->base_flows = calloc(r->n, sizeof(*r->base_flows));
	r->infos = calloc(r->n, sizeof(struct mqt_info *));
	r->mailbox = mqt_mailbox_create(1024);
	r->pool = rte_pktmbuf_pool_create(
			"bench", POOL, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!r->order || !r->flows || !r->base_flows || !r->infos || !r->mailbox || !r->pool ||
			mqt_hash_key_init(&r->key) != 0)
		return -1;
	params.mailbox = r->mailbox;
	params.pool = r->pool;
	r->conns = mqt_conns_create(&params);
	if (!r->conns)
		return -1;
	r->publish_len = (uint16_t)mqt_mqtt_publish_encode(r->publish, sizeof(r->publish), 4, 0, 0,
			(struct mqt_bytes){ (const uint8_t *)TOPIC, sizeof(TOPIC) - 1 },
			(struct mqt_bytes){ (const uint8_t *)PAYLOAD, sizeof(PAYLOAD) - 1 });
	for (uint32_t i = 0; i < r->n; i++)
		if (connect_one(r, i) != 0)
			return -1;
	memcpy(r->base_flows, r->flows, r->n * sizeof(*r->flows));
	return table_init(r);
}

static void
rig_fini(struct rig *r)
{
	mqt_conns_destroy(r->conns);
	mqt_mailbox_destroy(r->mailbox);
	rte_hash_free(r->table);
	rte_mempool_free(r->pool);
	for (uint32_t i = 0; i < r->n_infos; i++)
		free(r->infos[i]);
	free(r->infos);
	free(r->flows);
	free(r->base_flows);
	free(r->order);
	free(r);
}

int
bench_datapath(const struct bench_args *args, struct bench_report *report)
{
	uint32_t n = (uint32_t)(args->size ? args->size : DEFAULT_SIZE);
	struct bench_samples *s = calloc(2, sizeof(*s));
	struct rig *r = calloc(1, sizeof(*r));
	uint64_t packets;
	char name[64];
	int rc = 1;

	if (!s || !r || bench_eal_init(128 + (uint64_t)n * 256 / (1024 * 1024)) != 0)
		goto out;
	r->n = n;
	if (rig_init(r) != 0) {
		fprintf(stderr, "mqtrack-bench: datapath: connections could not be made\n");
		goto out;
	}
	rc = 0;
	for (unsigned run = 0; run <= args->runs && rc == 0; run++) {
		if (run == 1) /* what came before was the warm-up */
			memset(s, 0, 2 * sizeof(*s));
		rc = run_packets(r, true, &s[0]) || run_packets(r, false, &s[1]) ? 1 : 0;
	}
	packets = (PACKETS + N_PORTION - 1) / N_PORTION * N_PORTION * (args->runs + 1);
	if (rc || !was_established(r, packets / 2) || r->n_hits != packets) {
		fprintf(stderr,
				"mqtrack-bench: datapath: packets did not take the expected "
				"path\n");
		rc = 1;
		goto out;
	}
	bench_report_add(report, bench_name(name, sizeof(name), "datapath.established", n),
			"packets/s", &s[0], "view, key, hash, rte_hash in bulk, tx", &s[1]);
	rig_fini(r);
	r = NULL;
out:
	free(s);
	free(r);
	return rc;
}
