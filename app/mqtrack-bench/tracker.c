/* SPDX-License-Identifier: BSD-3-Clause */
#include "tracker.h"

#include "bench.h"
#include "packets.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_prefetch.h>

/* as in lib/worker */
#define MAILBOX_RING   4096
#define TIMERS_A_TURN  64
#define PREFETCH_AHEAD 4

#define SETTLE_NS (10 * MQT_NS_PER_SEC)

/* --- a worker ----------------------------------------------------------------------------------- */

static uint16_t
tx_burst(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	struct tracker_worker *w = arg;
	struct tracker *t = w->tracker;

	if (t->sent)
		t->sent(t->arg, w->index, port, m, n);
	w->n_sent += n;
	rte_pktmbuf_free_bulk(m, n);
	return n;
}

static void
flush(struct tracker_worker *w) MQT_REQUIRES(mqt_role_worker)
{
	for (uint16_t port = 0; port < 2; port++)
		if (w->tx.port[port].n > 0)
			mqt_tx_flush(&w->tx, port);
}

static void
turn_port(struct tracker_worker *w, struct rte_mbuf **m, unsigned n, uint16_t port)
		MQT_REQUIRES(mqt_role_worker)
{
	struct tracker *t = w->tracker;
	struct mqt_packet pkts[TRACKER_BURST];
	unsigned k = 0;

	if (n == 0)
		return;
	w->n_received += n;
	for (unsigned i = 0; i < n && i < PREFETCH_AHEAD; i++)
		rte_prefetch0(rte_pktmbuf_mtod(m[i], void *));
	for (unsigned i = 0; i < n; i++) {
		if (i + PREFETCH_AHEAD < n)
			rte_prefetch0(rte_pktmbuf_mtod(m[i + PREFETCH_AHEAD], void *));
		if (bench_inspect(&t->config, &t->key, m[i], port, &pkts[k]))
			k++;
		else
			mqt_tx_push(&w->tx, port ^ 1, m[i], NULL, 0);
	}
	mqt_conns_input(w->conns, pkts, k);
	flush(w);
}

unsigned
tracker_worker_turn(struct tracker *t, unsigned worker, struct rte_mbuf **outside,
		unsigned n_outside, struct rte_mbuf **inside, unsigned n_inside)
{
	struct tracker_worker *w = &t->worker[worker];
	unsigned done;

	mqt_role_worker_assert();
	atomic_store_explicit(
			&w->heartbeat_ns, mqt_clock_mono(mqt_clock_system()), memory_order_release);
	done = mqt_conns_poll(w->conns);
	turn_port(w, outside, n_outside, 0);
	turn_port(w, inside, n_inside, 1);
	done += mqt_conns_expire(w->conns, TIMERS_A_TURN);
	flush(w);
	return done + n_outside + n_inside;
}

/* --- the control lcore, and all of it ----------------------------------------------------------- */

unsigned
tracker_control_turn(struct tracker *t)
{
	mqt_role_control_assert();
	return mqt_cm_turn(t->cm);
}

void
tracker_grace(struct tracker *t)
{
	if (mqt_maps_grace_wanted(t->maps))
		mqt_maps_grace_run(t->maps);
}

unsigned
tracker_idle_turn(struct tracker *t)
{
	unsigned done = 0;

	for (unsigned w = 0; w < t->n_workers; w++)
		done += tracker_worker_turn(t, w, NULL, 0, NULL, 0);
	done += tracker_control_turn(t);
	tracker_grace(t);
	return done;
}

static bool
is_busy(const struct tracker *t)
{
	mqt_role_control_assert();
	mqt_role_worker_assert();
	if (mqt_cm_busy(t->cm))
		return true;
	for (unsigned w = 0; w < t->n_workers; w++)
		if (mqt_mailbox_pending_control(t->worker[w].mailbox) > 0 ||
				mqt_mailbox_outbox_worker(t->worker[w].mailbox) > 0 ||
				mqt_mailbox_outbox_control(t->worker[w].mailbox) > 0)
			return true;
	return false;
}

int
tracker_settle(struct tracker *t)
{
	uint64_t begin = bench_now_ns();

	/* what a turn says is idle may be work for the next one of somebody else */
	for (unsigned quiet = 0; quiet < 3;) {
		tracker_idle_turn(t);
		quiet = is_busy(t) ? 0 : quiet + 1;
		if (bench_now_ns() - begin > SETTLE_NS) {
			fprintf(stderr, "mqtrack-bench: the tracker does not come to rest\n");
			return -1;
		}
	}
	return 0;
}

/* --- what came of it ----------------------------------------------------------------------------- */

uint64_t
tracker_worker_counter(const struct tracker *t, enum mqt_worker_counter counter)
{
	uint64_t sum = 0;

	for (unsigned w = 0; w < t->n_workers; w++)
		sum += mqt_counter_get(&t->worker[w].counters.v[counter]);
	return sum;
}

uint64_t
tracker_control_counter(const struct tracker *t, enum mqt_control_counter counter)
{
	return mqt_counter_get(&mqt_cm_counters(t->cm)->v[counter]);
}

uint32_t
tracker_state(const struct tracker *t, enum mqt_conn_state state)
{
	uint32_t sum = 0;

	for (unsigned w = 0; w < t->n_workers; w++)
		sum += atomic_load_explicit(&mqt_conns_gauges(t->worker[w].conns)->state[state],
				memory_order_relaxed);
	return sum;
}

/* Worker counters that may be above 0: what is there to be counted. */
static bool
worker_counter_is_fine(unsigned c)
{
	switch (c) {
	case MQT_W_RX_PACKETS:
	case MQT_W_TX_PACKETS:
	case MQT_W_OWNED:
	case MQT_W_SYN:
	case MQT_W_CONNECTIONS:
	case MQT_W_CONNECT:
	case MQT_W_OPENS:
	case MQT_W_GRANTS:
	case MQT_W_PARKED:
	case MQT_W_STEPDOWNS:
	case MQT_W_FROZEN:
	case MQT_W_INJECTED_DISCONNECT:
	case MQT_W_INJECTED_FIN:
	case MQT_W_INJECTED_RST:
	case MQT_W_INJECTED_ACK:
	case MQT_W_CLOSING_DROPPED:
		return true;
	default:
		return false;
	}
}

static const enum mqt_control_counter odd_control_counters[] = {
	MQT_C_RETURNED,
	MQT_C_CONTESTS,
	MQT_C_SUPERSEDED,
	MQT_C_DEAD_WAITERS,
	MQT_C_TABLE_FULL,
	MQT_C_STEPDOWN_TIMEOUT,
	MQT_C_STEPDOWN_ERROR,
	MQT_C_KILLS,
	MQT_C_KILL_MISSED,
	MQT_C_DUPLICATES,
	MQT_C_STALE_CHANNELS,
	MQT_C_DOWN_UNKNOWN,
	MQT_C_ORPHANED,
	MQT_C_SESSION_EVICTED,
	MQT_C_SESSION_LOST_BY_BROKER,
	MQT_C_SESSION_ADOPTED,
	MQT_C_SESSION_LOST_BY_KILL,
	MQT_C_ANOMALIES,
	MQT_C_UNEXPECTED_MSG,
};

bool
tracker_is_clean(const struct tracker *t)
{
	bool clean = true;

	for (unsigned i = 0; i < MQT_W_N_COUNTERS; i++) {
		uint64_t n = tracker_worker_counter(t, (enum mqt_worker_counter)i);

		if (n == 0 || worker_counter_is_fine(i))
			continue;
		fprintf(stderr, "mqtrack-bench: worker counter %s is %" PRIu64 "\n",
				mqt_worker_counter_name(i), n);
		clean = false;
	}
	for (unsigned i = 0; i < RTE_DIM(odd_control_counters); i++) {
		uint64_t n = tracker_control_counter(t, odd_control_counters[i]);

		if (n == 0)
			continue;
		fprintf(stderr, "mqtrack-bench: control counter %s is %" PRIu64 "\n",
				mqt_control_counter_name(odd_control_counters[i]), n);
		clean = false;
	}
	return clean;
}

/* --- making and ending ---------------------------------------------------------------------------- */

static int
worker_init(struct tracker *t, unsigned index)
{
	struct tracker_worker *w = &t->worker[index];
	struct mqt_conns_params params = {
		.config = &t->config,
		.clock = mqt_clock_system(),
		.hash_key = &t->key,
		.tx = &w->tx,
		.pool = t->pool,
		.counters = &w->counters,
		.worker = index,
		.n_workers = t->n_workers,
	};

	w->tracker = t;
	w->index = index;
	w->tx.burst = tx_burst;
	w->tx.arg = w;
	w->tx.counters = w->counters.v;
	w->mailbox = mqt_mailbox_create(MAILBOX_RING);
	if (!w->mailbox)
		return -1;
	params.mailbox = w->mailbox;
	w->conns = mqt_conns_create(&params);
	return w->conns ? 0 : -1;
}

static int
manager_init(struct tracker *t)
{
	struct mqt_maps_params maps = {
		.max_channels = t->config.limits.max_clients + t->config.limits.max_retained,
	};
	struct mqt_cm_owner owners[TRACKER_MAX_WORKERS];
	struct mqt_cm_params params = {
		.config = &t->config,
		.clock = mqt_clock_system(),
		.hash_key = &t->key,
		.registry = mqt_registry_local(),
		.owners = owners,
		.n_owners = t->n_workers,
	};

	for (unsigned w = 0; w < t->n_workers; w++)
		owners[w] = (struct mqt_cm_owner){
			.mailbox = t->worker[w].mailbox,
			.slots = mqt_conns_slots(t->worker[w].conns),
			.heartbeat_ns = &t->worker[w].heartbeat_ns,
		};
	params.maps = t->maps = mqt_maps_create(&maps);
	params.events = t->events = mqt_event_ring_create(t->config.limits.events);
	if (!t->maps || !t->events)
		return -1;
	t->cm = mqt_cm_create(&params);
	return t->cm ? 0 : -1;
}

static int
tracker_init(struct tracker *t, const struct tracker_params *p)
{
	char name[32];

	snprintf(name, sizeof(name), "%.16s_pool", p->name);
	t->pool = rte_pktmbuf_pool_create(name, p->n_mbufs, 256, p->priv_size,
			(uint16_t)(RTE_PKTMBUF_HEADROOM + p->mbuf_size), SOCKET_ID_ANY);
	if (!t->pool || mqt_hash_key_init(&t->key) != 0)
		return -1;
	for (unsigned w = 0; w < t->n_workers; w++)
		if (worker_init(t, w) != 0)
			return -1;
	return manager_init(t);
}

struct tracker *
tracker_create(const struct tracker_params *p)
{
	struct tracker *t = NULL;

	if (p->n_workers >= 1 && p->n_workers <= TRACKER_MAX_WORKERS)
		t = rte_zmalloc("tracker", sizeof(*t), RTE_CACHE_LINE_SIZE);
	if (!t) {
		fprintf(stderr, "mqtrack-bench: no tracker: no memory, or too many workers\n");
		return NULL;
	}
	t->config = p->config;
	t->sent = p->sent;
	t->arg = p->arg;
	t->n_workers = p->n_workers;
	if (tracker_init(t, p) != 0) {
		fprintf(stderr, "mqtrack-bench: no tracker: %s, %s\n", rte_strerror(rte_errno),
				rte_strerror(errno));
		tracker_destroy(t);
		return NULL;
	}
	return t;
}

/* What the control lcore has given, and the worker did not live to read. */
static void
drop_unread(struct mqt_mailbox *mailbox)
{
	struct mqt_msg msg;

	mqt_role_worker_assert();
	while (mqt_mailbox_poll_worker(mailbox, &msg, 1) == 1) {
		if (msg.type == MQT_MSG_REFUSE || msg.type == MQT_MSG_RELEASE)
			free(msg.info);
		else if (msg.type == MQT_MSG_GRANT)
			mqt_session_destroy(msg.session);
	}
}

void
tracker_destroy(struct tracker *t)
{
	if (!t)
		return;
	mqt_cm_destroy(t->cm);
	for (unsigned w = 0; w < t->n_workers; w++) {
		if (t->worker[w].mailbox)
			drop_unread(t->worker[w].mailbox);
		mqt_conns_destroy(t->worker[w].conns);
		mqt_mailbox_destroy(t->worker[w].mailbox);
	}
	mqt_maps_destroy(t->maps);
	mqt_event_ring_destroy(t->events);
	rte_mempool_free(t->pool);
	rte_free(t);
}
