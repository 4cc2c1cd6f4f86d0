/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_WORKER_RIG_H
#define TESTS_UNIT_WORKER_RIG_H

/*
 * The data lcores, turned by hand on one thread: two workers on two ports that are rings in
 * memory. The connection table is replaced below by one that only writes down what it is given:
 * the question here is what reaches whom, in which order, and what leaves.
 */
#include "check.h"
#include "eal.h"
#include "mqtrack/worker.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#define N_WORKERS 2
#define N_MBUFS   8191
#define WIRE      4096 /* frames a ring of a port holds */

/* --- the connection table that writes down ------------------------------------------------- */

struct seen {
	uint16_t port;
	uint32_t seq;
	uint64_t hash;
	struct mqt_flow_key key;
};

struct mqt_conns {
	struct mqt_conns_params params;
	struct mqt_conns_gauges gauges;
	unsigned n_seen, n_polls, n_expires, n_bursts;
	struct seen seen[WIRE];
	struct rte_mbuf *from_mailbox;        /* pushed to port 0 by the next poll */
	struct rte_mbuf *from_timer;          /* pushed to port 1 by the next expire */
	bool unsent_at_poll, unsent_at_input; /* something was waiting in tx */
};

static int n_conns;          /* alive */
static int fail_create = -1; /* this worker's creation fails */
static struct mqt_conns *conns_of[MQT_MAX_WORKERS];

struct mqt_conns *
mqt_conns_create(const struct mqt_conns_params *params)
{
	struct mqt_conns *c;

	if ((int)params->worker == fail_create) {
		rte_errno = ENOMEM;
		return NULL;
	}
	c = calloc(1, sizeof(*c));
	if (c) {
		c->params = *params;
		conns_of[params->worker] = c;
		n_conns++;
	}
	return c;
}

void
mqt_conns_destroy(struct mqt_conns *c)
{
	if (c)
		n_conns--;
	free(c);
}

struct mqt_slots
mqt_conns_slots(const struct mqt_conns *c)
{
	return (struct mqt_slots){ .n = 7 + c->params.worker };
}

const struct mqt_conns_gauges *
mqt_conns_gauges(const struct mqt_conns *c)
{
	return &c->gauges;
}

static inline bool
anything_unsent(const struct mqt_conns *c)
{
	for (unsigned port = 0; port < MQT_TX_MAX_PORTS; port++)
		if (c->params.tx->port[port].n > 0)
			return true;
	return false;
}

void
mqt_conns_input(struct mqt_conns *c, struct mqt_packet *pkts, unsigned n)
{
	CHECK(n > 0 && n <= 64);
	c->n_bursts++;
	c->unsent_at_input |= anything_unsent(c);
	for (unsigned i = 0; i < n; i++) {
		if (c->n_seen < WIRE)
			c->seen[c->n_seen++] = (struct seen){
				.port = pkts[i].port,
				.seq = pkts[i].view.seq,
				.hash = pkts[i].hash,
				.key = pkts[i].key,
			};
		mqt_tx_push(c->params.tx, pkts[i].port ^ 1, pkts[i].m, NULL, 0);
	}
}

unsigned
mqt_conns_poll(struct mqt_conns *c)
{
	c->n_polls++;
	c->unsent_at_poll |= anything_unsent(c);
	if (!c->from_mailbox)
		return 0;
	mqt_tx_push(c->params.tx, 0, c->from_mailbox, NULL, 0);
	c->from_mailbox = NULL;
	return 1;
}

unsigned
mqt_conns_expire(struct mqt_conns *c, unsigned budget)
{
	CHECK(budget > 0);
	c->n_expires++;
	if (!c->from_timer)
		return 0;
	mqt_tx_push(c->params.tx, 1, c->from_timer, NULL, 0);
	c->from_timer = NULL;
	return 1;
}

/* --- two ports made of rings ---------------------------------------------------------------- */

static struct rte_mempool *pool;
static struct rte_ring *rx[2][N_WORKERS], *tx[2][N_WORKERS]; /* by pair numbering */
static uint16_t port_ids[2];                                 /* inside made first: ids 1, 0 */
static struct mqt_config config;
static struct mqt_hash_key hash_key;
static uint64_t now = 1000;
static struct mqt_workers *workers;

static inline uint64_t
mono(void *arg)
{
	return now;
}

static const struct mqt_clock test_clock = { .mono_ns = mono, .wall_ns = mono };

static inline struct rte_ring *
wire(const char *what, unsigned port, unsigned queue)
{
	char name[32];

	snprintf(name, sizeof(name), "wire_%s_%u_%u", what, port, queue);
	return rte_ring_create(name, WIRE, SOCKET_ID_ANY, RING_F_EXACT_SZ);
}

static inline int
make_port(unsigned port)
{
	char name[16];
	int id;

	for (unsigned q = 0; q < N_WORKERS; q++) {
		rx[port][q] = wire("rx", port, q);
		tx[port][q] = wire("tx", port, q);
		if (!rx[port][q] || !tx[port][q])
			return -1;
	}
	snprintf(name, sizeof(name), "wire%u", port);
	id = rte_eth_from_rings(name, rx[port], N_WORKERS, tx[port], N_WORKERS, 0);
	if (id < 0)
		return -1;
	port_ids[port] = (uint16_t)id;
	return mqt_port_start(port_ids[port], N_WORKERS, pool);
}

static inline int
suite_init(void)
{
	pool = rte_pktmbuf_pool_create(
			"test_pool", N_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!pool || mqt_hash_key_init(&hash_key) != 0)
		return -1;
	mqt_config_init(&config);
	config.n_pairs = 1;
	config.limits.fragments = 0; /* see test_worker_fragments.c */
	return make_port(1) == 0 && make_port(0) == 0 ? 0 : -1;
}

static inline int
suite_clean(void)
{
	mqt_port_stop(port_ids[0]);
	mqt_port_stop(port_ids[1]);
	rte_mempool_free(pool);
	return 0;
}

static inline struct mqt_workers *
make_workers(unsigned n)
{
	struct mqt_workers_params params = {
		.config = &config,
		.clock = &test_clock,
		.hash_key = &hash_key,
		.pool = pool,
		.n_workers = n,
		.port_ids = port_ids,
		.socket_id = SOCKET_ID_ANY,
	};

	return mqt_workers_create(&params);
}

static inline void
setup(void)
{
	workers = make_workers(N_WORKERS);
	CHECK(workers != NULL);
	if (!workers)
		abort();
}

static inline void
drain(struct rte_ring *ring)
{
	struct rte_mbuf *m;

	while (rte_ring_dequeue(ring, (void **)&m) == 0)
		rte_pktmbuf_free(m);
}

/* Each test leaves neither a packet nor a table behind. */
static inline void
teardown(void)
{
	mqt_workers_destroy(workers);
	workers = NULL;
	for (unsigned port = 0; port < 2; port++) {
		for (unsigned q = 0; q < N_WORKERS; q++) {
			drain(rx[port][q]);
			drain(tx[port][q]);
		}
	}
	CHECK_EQ(rte_mempool_avail_count(pool), N_MBUFS);
	CHECK_EQ(n_conns, 0);
}

static inline unsigned
turn(unsigned worker)
{
	mqt_role_worker_assert();
	now += 1000;
	return mqt_worker_turn(mqt_workers_at(workers, worker));
}

static inline uint64_t
counted(unsigned worker, enum mqt_worker_counter c)
{
	struct mqt_worker_view view;

	mqt_worker_view(mqt_workers_at(workers, worker), &view);
	return mqt_counter_get(&view.counters->v[c]);
}

/* Until nothing is left to do. */
static inline void
run(void)
{
	while (turn(0) + turn(1) > 0)
		;
}

static inline uint64_t
sum_of(enum mqt_worker_counter c)
{
	return counted(0, c) + counted(1, c);
}

static inline unsigned
n_judged(void)
{
	return conns_of[0]->n_seen + conns_of[1]->n_seen;
}

/* --- frames ---------------------------------------------------------------------------------- */

static inline void
put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void
put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)(v >> 16));
	put16(p + 2, (uint16_t)v);
}

/* An IPv4 TCP segment, 10.0.a.b -> 10.0.c.d, without payload. @return its length. */
static inline unsigned
tcp4(uint8_t *f, uint16_t src, uint16_t sport, uint16_t dst, uint16_t dport, uint32_t seq)
{
	uint16_t sum;

	memset(f, 0, 60);
	f[0] = f[6] = 2;
	put16(f + 12, 0x0800);
	f[14] = 0x45;
	put16(f + 16, 40);
	f[22] = 64;
	f[23] = 6;
	put32(f + 26, 0x0a000000u | src);
	put32(f + 30, 0x0a000000u | dst);
	sum = (uint16_t)~rte_raw_cksum(f + 14, 20);
	memcpy(f + 24, &sum, sizeof(sum));
	put16(f + 34, sport);
	put16(f + 36, dport);
	put32(f + 38, seq);
	f[46] = 0x50;
	f[47] = MQT_TCP_ACK;
	return 60;
}

static inline struct rte_mbuf *
mbuf_of(const uint8_t *frame, unsigned len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	if (!m)
		abort();
	memcpy(rte_pktmbuf_append(m, (uint16_t)len), frame, len);
	m->port = 99; /* that of no port: whoever needs it has to set it */
	return m;
}

static inline struct rte_mbuf *
feed(unsigned port, unsigned queue, const uint8_t *frame, unsigned len)
{
	struct rte_mbuf *m = mbuf_of(frame, len);

	if (rte_ring_enqueue(rx[port][queue], m) != 0)
		abort();
	return m;
}

static inline unsigned
owner_of(uint64_t hash)
{
	return (unsigned)(hash >> 32) % N_WORKERS;
}

/* The owner of the flow 10.0.0.1:sport <-> 10.0.0.2:1883. */
static inline unsigned
owner_of_flow(uint16_t sport)
{
	struct mqt_flow_key key;
	struct mqt_pkt view;
	struct rte_mbuf *m;
	uint8_t f[64];

	m = mbuf_of(f, tcp4(f, 1, sport, 2, 1883, 0));
	CHECK_EQ(mqt_pkt_parse(m, &view), MQT_PKT_TCP);
	mqt_flow_key_of(m, &view, &key);
	rte_pktmbuf_free(m);
	return owner_of(mqt_hash_flow(&hash_key, &key, MQT_FLOW_KEY_V4_LEN));
}

/* A client's port whose flow has this owner. */
static inline uint16_t
flow_of(unsigned owner)
{
	uint16_t sport = 40000;

	while (owner_of_flow(sport) != owner)
		sport++;
	return sport;
}

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}

/* Runs the suites under EAL. */
static inline int
rig_run(const char *name, CU_SuiteInfo *suites)
{
	if (eal_start(name) < 0)
		return 2;
	return eal_stop(check_run(suites));
}

#endif
