/* SPDX-License-Identifier: BSD-3-Clause */
#include "wire.h"

#include "bench.h"
#include "mqtrack/mqtt.h"

#include <stdlib.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>

#define POOL          8191u
#define POOL_CACHE    256
#define RING          1024u
#define BATCH         32u   /* connections that are made at once */
#define KEEPALIVE_SEC 36000 /* nobody falls silent here */
#define DATA          (MQT_TCP_ACK | MQT_TCP_PSH)

/* --- connections ------------------------------------------------------------------------------------ */

/* Plays the control lcore: grants what is asked for. @return how many. */
static unsigned
grant(struct wire_lane *lane)
{
	struct mqt_mailbox *mailbox = mqt_worker_mailbox(lane->worker);
	struct mqt_msg msg;
	unsigned n = 0;

	mqt_role_control_assert();
	while (mqt_mailbox_poll_control(mailbox, &msg, 1) == 1) {
		if (msg.type != MQT_MSG_OPEN)
			continue;
		free(msg.info);
		msg = (struct mqt_msg){ .type = MQT_MSG_GRANT, .chan = msg.chan };
		mqt_mailbox_post_worker(mailbox, &msg);
		n++;
	}
	return n;
}

unsigned
wire_drain(struct wire_lane *lane)
{
	unsigned n = 0;

	for (unsigned port = 0; port < 2; port++)
		n += rte_ring_sc_dequeue_burst(
				lane->tx[port], (void **)&lane->portion[n], WIRE_PORTION - n, NULL);
	return n;
}

/* @return whether all came out on the other side. */
static bool
step(struct wire_lane *lane, struct bench_flow *flows, unsigned n, bool from_client, uint8_t flags,
		uint8_t (*payload)[64], const uint16_t *len)
{
	unsigned sent;

	mqt_role_worker_assert();
	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = bench_segment(lane->wire->pool, &flows[i], from_client, flags,
				payload ? payload[i] : NULL, len ? len[i] : 0);

		if (!m || rte_ring_sp_enqueue(lane->rx[!from_client], m) != 0)
			return false;
	}
	mqt_worker_turn(lane->worker);
	if (grant(lane) > 0)
		mqt_worker_turn(lane->worker);
	grant(lane); /* reads what is left */
	sent = wire_drain(lane);
	rte_pktmbuf_free_bulk(lane->portion, sent);
	return sent == n;
}

/* @param first number of the first one, which names its client. */
static bool
connect_batch(struct wire_lane *lane, struct bench_flow *flows, unsigned n, uint32_t first)
{
	uint8_t connect[BATCH][64], connack[BATCH][64], id[16];
	uint16_t connect_len[BATCH], connack_len[BATCH];
	const uint8_t ack = MQT_TCP_ACK;

	for (unsigned i = 0; i < n; i++) {
		struct mqt_mqtt_connack reply = { 0 };
		struct mqt_mqtt_connect c = {
			.version = 4,
			.clean_start = true,
			.keepalive_sec = KEEPALIVE_SEC,
			.clientid = { id,
					(uint32_t)snprintf((char *)id, sizeof(id), "dev%u.%08u",
							lane->index, first + i) },
		};

		connect_len[i] = (uint16_t)mqt_mqtt_connect_encode(connect[i], 64, &c);
		connack_len[i] = (uint16_t)mqt_mqtt_connack_encode(connack[i], 64, 4, &reply);
	}
	return step(lane, flows, n, true, MQT_TCP_SYN, NULL, NULL) &&
			step(lane, flows, n, false, MQT_TCP_SYN | ack, NULL, NULL) &&
			step(lane, flows, n, true, ack, NULL, NULL) &&
			step(lane, flows, n, true, DATA, connect, connect_len) &&
			step(lane, flows, n, false, DATA, connack, connack_len) &&
			step(lane, flows, n, true, ack, NULL, NULL);
}

/* --- setting up ------------------------------------------------------------------------------------- */

/* The worker that owns a flow where ports have no RSS, as lib/worker chooses it. */
static bool
key_of(struct wire *w, const struct bench_flow *flow, struct mqt_packet *pkt)
{
	struct bench_flow copy = *flow;
	struct rte_mbuf *m = bench_segment(w->pool, &copy, true, MQT_TCP_ACK, NULL, 0);
	bool ok = m && bench_inspect(&w->config, &w->key, m, 0, pkt);

	rte_pktmbuf_free(m);
	return ok;
}

static bool
table_create(struct wire_lane *lane)
{
	char name[RTE_HASH_NAMESIZE];
	struct rte_hash_parameters hp = {
		.name = name,
		.entries = RTE_MAX(lane->n, 64u),
		.key_len = MQT_FLOW_KEY_V4_LEN,
		.socket_id = SOCKET_ID_ANY,
		.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	};

	snprintf(name, sizeof(name), "bench_base%u", lane->index);
	lane->table = rte_hash_create(&hp);
	for (uint32_t i = 0; lane->table && i < lane->n; i++) {
		struct mqt_packet pkt;

		if (!key_of(lane->wire, &lane->flows[i], &pkt) ||
				rte_hash_add_key_with_hash_data(lane->table, &pkt.key,
						(hash_sig_t)pkt.hash, &lane->flows[i]) != 0)
			return false;
	}
	return lane->table != NULL;
}

static bool
flows_create(struct wire *w, uint32_t n, bool timestamps)
{
	uint32_t *order = bench_order(n);
	bool ok = order != NULL;

	for (unsigned i = 0; ok && i < w->n_lanes; i++) {
		w->lane[i].flows = calloc(n, sizeof(struct bench_flow));
		ok = w->lane[i].flows != NULL;
	}
	for (uint32_t i = 0; ok && i < n; i++) {
		struct bench_flow flow = bench_flow_of(order[i]);
		struct mqt_packet pkt;
		struct wire_lane *lane;

		flow.ts = timestamps;
		ok = key_of(w, &flow, &pkt);
		if (!ok)
			break;
		lane = &w->lane[(unsigned)(pkt.hash >> 32) % w->n_lanes];
		lane->flows[lane->n++] = flow;
	}
	free(order);
	return ok;
}

static bool
lane_connect(struct wire_lane *lane)
{
	uint32_t *order = bench_order(lane->n);
	bool ok = order != NULL;

	for (uint32_t i = 0; ok && i < lane->n; i += BATCH)
		ok = connect_batch(lane, &lane->flows[i], RTE_MIN(BATCH, lane->n - i), i);
	/* another order than that in which they came and lie in memory */
	for (uint32_t i = 0; ok && i < lane->n; i++) {
		struct bench_flow flow = lane->flows[i];

		lane->flows[i] = lane->flows[order[i]];
		lane->flows[order[i]] = flow;
	}
	free(order);
	return ok;
}

static struct rte_ring *
ring_create(unsigned lane, unsigned port, const char *way)
{
	char name[RTE_RING_NAMESIZE];

	snprintf(name, sizeof(name), "bench_%s%u_%u", way, port, lane);
	return rte_ring_create(name, RING, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
}

static bool
ports_create(struct wire *w, uint16_t port_ids[2])
{
	static unsigned n_made; /* a device keeps its name when its port is closed */

	for (unsigned port = 0; port < 2; port++) {
		struct rte_ring *rx[WIRE_MAX_LANES], *tx[WIRE_MAX_LANES];
		char name[32];
		int id;

		for (unsigned i = 0; i < w->n_lanes; i++) {
			rx[i] = w->lane[i].rx[port] = ring_create(i, port, "rx");
			tx[i] = w->lane[i].tx[port] = ring_create(i, port, "tx");
			if (!rx[i] || !tx[i])
				return false;
		}
		snprintf(name, sizeof(name), "bench%u", n_made++);
		id = rte_eth_from_rings(name, rx, w->n_lanes, tx, w->n_lanes, 0);
		if (id < 0)
			return false;
		port_ids[port] = (uint16_t)id;
		for (unsigned i = 0; i < w->n_lanes; i++)
			w->lane[i].port_id[port] = (uint16_t)id;
		if (mqt_port_start((uint16_t)id, w->n_lanes, w->pool) != 0)
			return false;
	}
	return true;
}

uint64_t
wire_memory_mib(uint64_t n)
{
	/* mbufs; the table of the baseline */
	return 128 + n * 128 / (1024 * 1024);
}

static bool
wire_init(struct wire *w, uint32_t n, bool timestamps)
{
	uint16_t port_ids[2];
	struct mqt_workers_params params = {
		.config = &w->config,
		.clock = mqt_clock_system(),
		.hash_key = &w->key,
		.n_workers = w->n_lanes,
		.port_ids = port_ids,
		.socket_id = SOCKET_ID_ANY,
	};

	mqt_config_init(&w->config);
	w->config.n_pairs = 1;
	w->config.poll = MQT_POLL_BUSY;
	w->config.limits.max_clients = n;
	w->pool = rte_pktmbuf_pool_create(
			"bench", POOL, POOL_CACHE, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!w->pool || mqt_hash_key_init(&w->key) != 0 || !ports_create(w, port_ids))
		return false;
	params.pool = w->pool;
	w->workers = mqt_workers_create(&params);
	if (!w->workers || !flows_create(w, n, timestamps))
		return false;
	for (unsigned i = 0; i < w->n_lanes; i++) {
		w->lane[i].worker = mqt_workers_at(w->workers, i);
		if (!lane_connect(&w->lane[i]) || !table_create(&w->lane[i]) ||
				rte_pktmbuf_alloc_bulk(w->pool, w->lane[i].portion, WIRE_PORTION))
			return false;
	}
	return true;
}

struct wire *
wire_create(uint32_t n, unsigned n_lanes, bool timestamps)
{
	struct wire *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->n_lanes = n_lanes;
	for (unsigned i = 0; i < n_lanes; i++) {
		w->lane[i].wire = w;
		w->lane[i].index = i;
	}
	if (wire_init(w, n, timestamps) && wire_is_established(w))
		return w;
	fprintf(stderr, "mqtrack-bench: %u connections could not be made: %s\n", n,
			rte_strerror(rte_errno));
	wire_destroy(w);
	return NULL;
}

void
wire_destroy(struct wire *w)
{
	if (!w)
		return;
	mqt_workers_destroy(w->workers);
	for (unsigned port = 0; port < 2; port++)
		if (w->lane[0].rx[port] && w->lane[0].tx[port])
			mqt_port_stop(w->lane[0].port_id[port]);
	for (unsigned i = 0; i < w->n_lanes; i++) {
		struct wire_lane *lane = &w->lane[i];

		for (unsigned port = 0; port < 2; port++) {
			rte_ring_free(lane->rx[port]);
			rte_ring_free(lane->tx[port]);
		}
		rte_hash_free(lane->table);
		free(lane->flows);
	}
	rte_mempool_free(w->pool);
	free(w);
}

/* --- what has happened --------------------------------------------------------------------------------- */

uint64_t
wire_count(const struct wire *w, enum mqt_slot_counter counter)
{
	uint64_t sum = 0;

	for (unsigned k = 0; k < w->n_lanes; k++) {
		struct mqt_slots slots = mqt_worker_slots(w->lane[k].worker);

		for (uint32_t i = 0; i < RTE_MIN(slots.n, w->lane[k].n); i++)
			sum += mqt_counter_get(&mqt_slots_at(&slots, i)->counter[counter]);
	}
	return sum;
}

bool
wire_is_established(const struct wire *w)
{
	for (unsigned i = 0; i < w->n_lanes; i++) {
		struct mqt_worker_view v;

		mqt_worker_view(w->lane[i].worker, &v);
		if (atomic_load_explicit(&v.gauges->state[MQT_CONN_CONNECTED],
				    memory_order_relaxed) != w->lane[i].n ||
				mqt_counter_get(&v.counters->v[MQT_W_HANDED_OVER]) > 0 ||
				mqt_counter_get(&v.counters->v[MQT_W_TX_DROPPED]) > 0)
			return false;
	}
	return true;
}
