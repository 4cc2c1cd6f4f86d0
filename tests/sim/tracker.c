/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The tracker under test: everything the daemon has but its threads and its control socket. Ports
 * are net_ring devices, so that packets take the way that they take in production, and time is
 * the world's.
 */

#include "mqtrack/maps.h"
#include "sim.h"

#include <string.h>

#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_malloc.h>
#include <rte_ring.h>

#define N_PORTS   2
#define RING_SIZE 512
#define N_MBUFS   8191

struct sim_tracker {
	struct mqt_config config;
	struct mqt_clock clock;
	struct mqt_hash_key key;
	struct rte_mempool *pool;
	struct rte_ring *rx[N_PORTS][SIM_WORKERS];
	struct rte_ring *tx[N_PORTS][SIM_WORKERS];
	uint16_t port_ids[N_PORTS];
	struct mqt_workers *workers;
	struct mqt_maps *maps;
	struct mqt_event_ring *events;
	struct mqt_cm *cm;
	struct mqt_registry registry;
	unsigned commands;
};

/* Each reading is a later one, so that no two stamps are equal. */
static uint64_t
mono_ns(void *arg)
{
	struct sim_world *w = arg;

	return ++w->now_ns;
}

static uint64_t
wall_ns(void *arg)
{
	struct sim_world *w = arg;

	return w->now_ns + (uint64_t)w->wall_offset_ns;
}

static void
configure(struct sim_world *w, struct mqt_config *cfg)
{
	mqt_config_init(cfg);
	cfg->n_pairs = 1;
	cfg->n_domains = SIM_DOMAINS;
	cfg->n_listeners = SIM_DOMAINS;
	for (unsigned d = 0; d < SIM_DOMAINS; d++) {
		struct mqt_listener *l = &cfg->listeners[d];

		snprintf(cfg->domains[d], MQT_NAME_MAX, "domain%u", d);
		memset(l, 0, sizeof(*l));
		snprintf(l->name, sizeof(l->name), "listener%u", d);
		l->domain = (uint16_t)d;
		l->address.port = (uint16_t)(1883 + d);
		l->session_expiry_v3_sec = 7200;
		l->transport = sim_transport_ws(w, d) ? MQT_TRANSPORT_WS : MQT_TRANSPORT_TCP;
		l->proxy = sim_transport_proxy(w, d) ? MQT_PROXY_REQUIRE : MQT_PROXY_OFF;
		l->on_failure = w->seed % 16 < 8 || d == 0 ? MQT_FAIL_OPEN : MQT_FAIL_CLOSED;
	}
	cfg->limits.max_clients = 128;
	cfg->limits.max_connections = 128;
	cfg->limits.max_embryos = 64;
	cfg->limits.max_handshakes = 64;
	cfg->limits.events = 256;
	cfg->limits.down_slice = 4;
	cfg->limits.slot_quiet_ms = 50;
	cfg->limits.kick_boundary_ms = 100;
	cfg->limits.keepalive_grace_ms = 1000;
	cfg->limits.idle_sec = 100;
	switch (w->seed %
			4) { /* every fourth seed each: plenty, few slots, few buffers, few rows */
	case 1:
		cfg->limits.max_connections = 12;
		break;
	case 2:
		cfg->limits.max_handshakes = 3;
		cfg->limits.max_embryos = 3;
		cfg->limits.parked_per_flow = 2;
		cfg->limits.reorder_per_flow = 2;
		break;
	case 3:
		cfg->limits.max_clients = 8;
		break;
	}
}

static int
make_ports(struct sim_tracker *t)
{
	for (unsigned p = 0; p < N_PORTS; p++) {
		char name[32];
		int id;

		for (unsigned q = 0; q < SIM_WORKERS; q++) {
			snprintf(name, sizeof(name), "sim_rx_%u_%u", p, q);
			t->rx[p][q] = rte_ring_create(name, RING_SIZE, SOCKET_ID_ANY,
					RING_F_SP_ENQ | RING_F_SC_DEQ);
			snprintf(name, sizeof(name), "sim_tx_%u_%u", p, q);
			t->tx[p][q] = rte_ring_create(name, RING_SIZE, SOCKET_ID_ANY,
					RING_F_SP_ENQ | RING_F_SC_DEQ);
			if (!t->rx[p][q] || !t->tx[p][q])
				return -1;
		}
		snprintf(name, sizeof(name), "sim%u", p);
		id = rte_eth_from_rings(name, t->rx[p], SIM_WORKERS, t->tx[p], SIM_WORKERS, 0);
		if (id < 0)
			return -1;
		t->port_ids[p] = (uint16_t)id;
		if (mqt_port_start(t->port_ids[p], SIM_WORKERS, t->pool))
			return -1;
	}
	return 0;
}

static void
registered(void *arg, const struct mqt_digest *digest, mqt_chan_id id)
{
	sim_check_registered(arg, digest, id);
}

static void
unregistered(void *arg, const struct mqt_digest *digest, mqt_chan_id id)
{
	sim_check_unregistered(arg, digest, id);
}

static unsigned
lookup_elsewhere(void *arg, const struct mqt_digest *digest, mqt_chan_id *out, unsigned n)
{
	return 0;
}

/* There is no other node; it is told of each step in the maps. */
static const struct mqt_registry_ops registry_ops = {
	.registered = registered,
	.unregistered = unregistered,
	.lookup = lookup_elsewhere,
};

static int
make_manager(struct sim_tracker *t)
{
	struct mqt_maps_params maps = { .max_channels = t->config.limits.max_clients };
	struct mqt_cm_owner owners[SIM_WORKERS];
	struct mqt_cm_params cm = {
		.config = &t->config,
		.clock = &t->clock,
		.hash_key = &t->key,
		.registry = &t->registry,
		.owners = owners,
		.n_owners = SIM_WORKERS,
	};

	for (unsigned i = 0; i < SIM_WORKERS; i++) {
		const struct mqt_worker *wk = mqt_workers_at(t->workers, i);

		owners[i].mailbox = mqt_worker_mailbox(wk);
		owners[i].slots = mqt_worker_slots(wk);
		owners[i].heartbeat_ns = mqt_worker_heartbeat(wk);
	}
	cm.maps = t->maps = mqt_maps_create(&maps);
	cm.events = t->events = mqt_event_ring_create(t->config.limits.events);
	if (!cm.maps || !cm.events)
		return -1;
	t->cm = mqt_cm_create(&cm);
	return t->cm ? 0 : -1;
}

int
sim_tracker_start(struct sim_world *w)
{
	struct sim_tracker *t = calloc(1, sizeof(*t));
	struct mqt_workers_params workers = { .n_workers = SIM_WORKERS,
		.socket_id = SOCKET_ID_ANY };

	if (!t)
		return -1;
	w->tracker = t;
	t->clock = (struct mqt_clock){ mono_ns, wall_ns, w };
	t->registry = (struct mqt_registry){ &registry_ops, w };
	for (unsigned i = 0; i < 16; i++) {
		t->key.digest[i] = (uint8_t)sim_random(&w->rng);
		t->key.flow[i] = (uint8_t)sim_random(&w->rng);
	}
	configure(w, &t->config);
	t->pool = rte_pktmbuf_pool_create("sim", N_MBUFS, 0, 0, 1024, SOCKET_ID_ANY);
	if (!t->pool || make_ports(t))
		return -1;
	workers.config = &t->config;
	workers.clock = &t->clock;
	workers.hash_key = &t->key;
	workers.pool = t->pool;
	workers.port_ids = t->port_ids;
	/* every other seed with rings that are always full: everything goes through the outbox */
	workers.mailbox_ring = w->seed % 8 < 4 ? 0 : 2;
	t->workers = mqt_workers_create(&workers);
	return t->workers ? make_manager(t) : -1;
}

void
sim_tracker_stop(struct sim_world *w)
{
	struct sim_tracker *t = w->tracker;

	mqt_cm_destroy(t->cm);
	mqt_workers_destroy(t->workers);
	mqt_maps_destroy(t->maps);
	mqt_event_ring_destroy(t->events);
	for (unsigned p = 0; p < N_PORTS; p++)
		mqt_port_stop(t->port_ids[p]);
	if (rte_mempool_in_use_count(t->pool) != 0)
		sim_fail(w, "leak", "%u mbufs have not come back",
				rte_mempool_in_use_count(t->pool));
	rte_mempool_free(t->pool);
	for (unsigned p = 0; p < N_PORTS; p++)
		for (unsigned q = 0; q < SIM_WORKERS; q++) {
			rte_ring_free(t->rx[p][q]);
			rte_ring_free(t->tx[p][q]);
		}
	free(t);
	w->tracker = NULL;
}

static enum sim_end
other(enum sim_end end)
{
	return end == SIM_CLIENT ? SIM_BROKER : SIM_CLIENT;
}

bool
sim_tracker_input(struct sim_world *w, struct sim_flow *f, enum sim_end from,
		const struct sim_seg *seg)
{
	struct sim_tracker *t = w->tracker;
	unsigned port = from == SIM_CLIENT ? 0 : 1;
	struct mqt_segment s = {
		.l2_len = 14,
		.tcp_flags = seg->flags,
		.window = 65535,
		.src = f->ep[from],
		.dst = f->ep[other(from)],
		.seq = seg->seq,
		.ack = seg->ack,
		.payload = seg->len ? seg->data : NULL,
		.payload_len = seg->len,
	};
	struct rte_mbuf *m;

	sim_trace(w, f, from == SIM_CLIENT ? "C>  " : "  <B", seg);
	memset(s.l2, from == SIM_CLIENT ? 0xc0 : 0xb0, 12);
	s.l2[12] = s.src.version == 4 ? 0x08 : 0x86;
	s.l2[13] = s.src.version == 4 ? 0x00 : 0xdd;
	m = mqt_segment_build(t->pool, &s);
	if (!m)
		return false;
	m->port = t->port_ids[port];
	if (rte_ring_sp_enqueue(t->rx[port][f->queue[from]], m)) {
		rte_pktmbuf_free(m);
		return false;
	}
	return true;
}

static struct sim_flow *
flow_of(struct sim_world *w, const struct mqt_endpoint *client)
{
	for (unsigned i = 0; i < SIM_FLOWS; i++)
		if (mqt_endpoint_equal(&w->flow[i].ep[SIM_CLIENT], client))
			return &w->flow[i];
	return NULL;
}

/* What left the tracker on a port goes on towards the end behind that port. */
static void
take_output(struct sim_world *w, struct rte_mbuf *m, enum sim_end to)
{
	struct mqt_endpoint ep[2]; /* source, destination */
	struct sim_seg seg;
	struct sim_flow *f;
	struct mqt_pkt v;

	if (mqt_pkt_parse(m, &v) != MQT_PKT_TCP || v.payload_len > SIM_SEG_MAX) {
		sim_fail(w, "output", "not a segment of ours: kind %d, %u bytes", v.kind,
				v.payload_len);
		return;
	}
	if (!mqt_pkt_checksum_ok(m, &v))
		sim_fail(w, "output", "wrong checksum");
	mqt_pkt_endpoints(m, &v, &ep[0], &ep[1]);
	f = flow_of(w, &ep[to == SIM_CLIENT ? 1 : 0]);
	if (!f || !mqt_endpoint_equal(&f->ep[SIM_BROKER], &ep[to == SIM_CLIENT ? 0 : 1])) {
		sim_fail(w, "output", "a segment of no flow");
		return;
	}
	seg = (struct sim_seg){
		.flags = v.tcp_flags, .len = (uint8_t)v.payload_len, .seq = v.seq, .ack = v.ack
	};
	mqt_pkt_payload_copy(m, &v, 0, v.payload_len, seg.data);
	sim_trace(w, f, to == SIM_CLIENT ? "<T  " : "  T>B", &seg);
	sim_check_output(w, f, to, &seg);
	sim_link_push(&f->down[to], &seg);
}

static void
drain_ports(struct sim_world *w)
{
	struct sim_tracker *t = w->tracker;
	void *m;

	for (unsigned p = 0; p < N_PORTS; p++)
		for (unsigned q = 0; q < SIM_WORKERS; q++)
			while (rte_ring_sc_dequeue(t->tx[p][q], &m) == 0) {
				take_output(w, m, p == 0 ? SIM_CLIENT : SIM_BROKER);
				rte_pktmbuf_free(m);
			}
}

unsigned
sim_tracker_worker_turn(struct sim_world *w, unsigned worker)
{
	unsigned n;

	mqt_role_worker_assert();
	n = mqt_worker_turn(mqt_workers_at(w->tracker->workers, worker));
	drain_ports(w);
	sim_check_worker_turn(w, worker);
	return n;
}

unsigned
sim_tracker_control_turn(struct sim_world *w)
{
	uint64_t began_ns = w->now_ns + 1; /* its first reading */
	unsigned n;

	mqt_role_control_assert();
	n = mqt_cm_turn(w->tracker->cm);
	sim_check_control_turn(w, began_ns);
	sim_check_reader_turn();
	return n;
}

void
sim_tracker_grace(struct sim_world *w)
{
	if (!sim_check_reading() && mqt_maps_grace_wanted(w->tracker->maps))
		mqt_maps_grace_run(w->tracker->maps);
}

struct command {
	struct mqt_cm_cmd cmd;
	struct sim_tracker *tracker;
};

static void
command_done(struct mqt_cm_cmd *cmd)
{
	struct command *c = (struct command *)cmd;

	c->tracker->commands--;
	free(c);
}

void
sim_tracker_kick(struct sim_world *w, unsigned domain, unsigned clientid, bool discard)
{
	struct sim_tracker *t = w->tracker;
	struct command *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	c->tracker = t;
	c->cmd.digest = sim_tracker_digest(
			w, domain, sim_clientids[clientid], strlen(sim_clientids[clientid]));
	c->cmd.done = command_done;
	t->commands++;
	if (discard)
		mqt_cm_discard(t->cm, &c->cmd);
	else
		mqt_cm_kick(t->cm, &c->cmd);
}

void
sim_tracker_run(struct sim_world *w)
{
	for (unsigned i = 0; i < SIM_WORKERS; i++)
		sim_tracker_worker_turn(w, i);
	sim_tracker_control_turn(w);
}

struct inspect {
	struct mqt_cm_cmd cmd;
	bool done;
};

static void
inspect_done(struct mqt_cm_cmd *cmd)
{
	((struct inspect *)cmd)->done = true;
}

bool
sim_tracker_inspect(struct sim_world *w, mqt_chan_id chan, uint8_t *topics)
{
	struct inspect in = { .cmd = { .chan = chan, .done = inspect_done } };
	struct mqt_bytes filter;
	uint8_t qos;
	bool found;

	mqt_cm_inspect(w->tracker->cm, &in.cmd);
	for (unsigned i = 0; i < 1000 && !in.done; i++)
		sim_tracker_run(w);
	if (!in.done) {
		sim_fail(w, "inspect", "a command is not answered");
		return false;
	}
	*topics = 0;
	found = in.cmd.session != NULL;
	for (unsigned i = 0; found && mqt_session_filter(in.cmd.session, i, &filter, &qos); i++)
		*topics |= (uint8_t)(1u << ((filter.ptr[0] - 'a') % SIM_TOPICS));
	mqt_session_destroy(in.cmd.session);
	return found;
}

struct mqt_digest
sim_tracker_digest(struct sim_world *w, unsigned domain, const void *clientid, size_t len)
{
	return mqt_digest_client(&w->tracker->key, (uint16_t)domain, NULL, clientid, len);
}

uint64_t
sim_tracker_worker_counter(struct sim_world *w, enum mqt_worker_counter c)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < SIM_WORKERS; i++) {
		struct mqt_worker_view v;

		mqt_worker_view(mqt_workers_at(w->tracker->workers, i), &v);
		sum += mqt_counter_get(&v.counters->v[c]);
	}
	return sum;
}

uint64_t
sim_tracker_unexpected(struct sim_world *w)
{
	return sim_tracker_worker_counter(w, MQT_W_UNEXPECTED_MSG) +
			mqt_counter_get(&mqt_cm_counters(w->tracker->cm)->v[MQT_C_UNEXPECTED_MSG]);
}

struct mqt_cm *
sim_tracker_cm(struct sim_world *w)
{
	return w->tracker->cm;
}

const struct mqt_config *
sim_tracker_config(struct sim_world *w)
{
	return &w->tracker->config;
}

uint64_t
sim_tracker_control_counter(struct sim_world *w, enum mqt_control_counter c)
{
	return mqt_counter_get(&mqt_cm_counters(w->tracker->cm)->v[c]);
}

bool
sim_tracker_backlog(struct sim_world *w, unsigned worker)
{
	const struct mqt_mailbox *mb =
			mqt_worker_mailbox(mqt_workers_at(w->tracker->workers, worker));

	mqt_role_worker_assert();
	mqt_role_control_assert();
	return mqt_mailbox_outbox_worker(mb) > 0 || mqt_mailbox_outbox_control(mb) > 0;
}

const struct mqt_event_ring *
sim_tracker_events(struct sim_world *w)
{
	return w->tracker->events;
}

const struct mqt_conns_gauges *
sim_tracker_gauges(struct sim_world *w, unsigned worker)
{
	struct mqt_worker_view v;

	mqt_worker_view(mqt_workers_at(w->tracker->workers, worker), &v);
	return v.gauges;
}

bool
sim_tracker_busy(struct sim_world *w)
{
	mqt_role_control_assert();
	return mqt_cm_busy(w->tracker->cm) || w->tracker->commands > 0;
}

void
sim_tracker_print(struct sim_world *w)
{
	const struct mqt_control_counters *c = mqt_cm_counters(w->tracker->cm);

	for (unsigned i = 0; i < MQT_C_N_COUNTERS; i++)
		if (mqt_counter_get(&c->v[i]))
			printf("  control %s %" PRIu64 "\n", mqt_control_counter_name(i),
					mqt_counter_get(&c->v[i]));
	for (unsigned i = 0; i < MQT_W_N_COUNTERS; i++) {
		uint64_t sum = sim_tracker_worker_counter(w, (enum mqt_worker_counter)i);

		if (sum)
			printf("  worker %s %" PRIu64 "\n", mqt_worker_counter_name(i), sum);
	}
}
