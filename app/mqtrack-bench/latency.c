/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench.h"
#include "life.h"
#include "mqtrack/mqtt.h"
#include "quantile.h"
#include "tracker.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

/*
 * How long a packet is in the tracker: from the moment at which it is there to be received until it
 * is handed to tx, on the established path of one worker, at a share of what that worker can do.
 *
 * The load is open: when packets come does not depend on what has become of others before. Each side
 * has its own queue, in which packets become due at random (exponential) intervals, by the TSC; a turn
 * of the worker takes what is due, TRACKER_BURST of each queue at most. So the time includes what a
 * packet waits while the worker is with others, which is most of it at high load.
 *
 * The capacity is measured first, in the same way with everything due at once. Packets are written
 * in portions before the clock runs: clients publish (QoS 0), brokers acknowledge what was published in
 * the portion before. A portion during which the kernel took the CPU away is played again with
 * others, and told as latency.interrupted: behind it there is a backlog that no load of this kind makes.
 */

#define DEFAULT_SIZE  100000u
#define HALF          1024u   /* packets a portion and side */
#define PACKETS       500000u /* a run and load, and for the capacity */
#define MAX_PORTIONS  (50 * PACKETS / (2 * HALF))
#define TOPIC         "devices/12345678"
#define PAYLOAD       "{\"t\":21.5,\"h\":40}"
#define LEAD_US       100 /* from stamping the packets of a portion to its begin */
#define CAPACITY_LOAD 0

static const unsigned loads[] = { 10, 50, 90 };

#define N_LOADS (sizeof(loads) / sizeof(loads[0]))

struct rig {
	uint32_t n;
	uint32_t *order;
	uint32_t cursor; /* in order[]: whom the portion in hand is of */
	uint32_t before; /* the same of the portion before */
	struct life *lives;
	struct tracker *t;
	uint8_t publish[LIFE_MAX_DATA];
	uint16_t publish_len;
	uint64_t random;
	uint64_t n_published, n_interrupted;
	struct quantile_times times;
	struct rte_mbuf *m[2][HALF]; /* what comes from outside, from inside */
	uint64_t due[2][HALF];       /* cycles from the begin of the portion */
};

/* --- packets ------------------------------------------------------------------------------------- */

/* In each mbuf: when it became due, 0 where nobody wants to know. */
static uint64_t *
arrival(struct rte_mbuf *m)
{
	return rte_mbuf_to_priv(m);
}

static void
sent(void *arg, unsigned worker, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	uint64_t now = rte_rdtsc();
	struct rig *r = arg;

	for (uint16_t i = 0; i < n; i++)
		if (*arrival(m[i]) != 0)
			quantile_add(&r->times, now - *arrival(m[i]));
}

static struct life *
life_at(struct rig *r, uint32_t cursor)
{
	return &r->lives[r->order[cursor % r->n]];
}

/* Acknowledgements first: what is published now may not have gone by when they come. */
static int
write_portion(struct rig *r)
{
	for (unsigned side = 0; side < 2; side++)
		if (rte_pktmbuf_alloc_bulk(r->t->pool, r->m[side], HALF) != 0)
			return -1;
	for (unsigned i = 0; i < HALF; i++)
		bench_write(r->m[1][i], &life_at(r, r->before + i)->flow, false, MQT_TCP_ACK, NULL,
				0);
	for (unsigned i = 0; i < HALF; i++)
		bench_write(r->m[0][i], &life_at(r, r->cursor + i)->flow, true,
				MQT_TCP_ACK | MQT_TCP_PSH, r->publish, r->publish_len);
	r->before = r->cursor;
	r->cursor = (r->cursor + HALF) % r->n;
	r->n_published += HALF;
	return 0;
}

/* When the packets of each side are due. @param mean_tsc between two of one side. */
static void
schedule(struct rig *r, double mean_tsc)
{
	for (unsigned side = 0; side < 2; side++) {
		double at = 0;

		for (unsigned i = 0; i < HALF; i++) {
			/* in (0, 1] */
			double u = ((double)(bench_random(&r->random) >> 11) + 1) * 0x1p-53;

			at -= log(u) * mean_tsc;
			r->due[side][i] = (uint64_t)at;
		}
	}
}

/* --- a portion ------------------------------------------------------------------------------------- */

/* How many are due of what is left. */
static unsigned
due_now(const struct rig *r, unsigned side, unsigned from, uint64_t now)
{
	unsigned n = 0;

	while (n < TRACKER_BURST && from + n < HALF && r->due[side][from + n] <= now)
		n++;
	return n;
}

/* Plays a portion. @return how long it took, in cycles. */
static uint64_t
play(struct rig *r, bool timed)
{
	uint64_t begin = rte_rdtsc() + LEAD_US * rte_get_tsc_hz() / 1000000;
	unsigned at[2] = { 0, 0 };

	for (unsigned side = 0; side < 2; side++)
		for (unsigned i = 0; i < HALF; i++)
			*arrival(r->m[side][i]) = timed ? begin + r->due[side][i] : 0;
	while (rte_rdtsc() < begin)
		rte_pause();
	while (at[0] < HALF || at[1] < HALF) {
		uint64_t now = rte_rdtsc() - begin;
		unsigned n_out = due_now(r, 0, at[0], now), n_in = due_now(r, 1, at[1], now);

		tracker_worker_turn(r->t, 0, &r->m[0][at[0]], n_out, &r->m[1][at[1]], n_in);
		at[0] += n_out;
		at[1] += n_in;
	}
	return rte_rdtsc() - begin;
}

/*
 * Plays portions until enough have not been interrupted.
 * @param mean_tsc between two packets of one side; 0: all are due at once.
 * @param tsc set to the time of those portions, may be NULL. @return packets in them; 0: failed.
 */
static uint64_t
play_load(struct rig *r, double mean_tsc, uint64_t *tsc)
{
	uint64_t n = 0, sum = 0;

	for (unsigned portion = 0; n < PACKETS; portion++) {
		uint32_t n_times = r->times.n;
		long before;
		uint64_t took;

		if (portion == MAX_PORTIONS) {
			fprintf(stderr,
					"mqtrack-bench: latency: the CPU is never ours for long "
					"enough\n");
			return 0;
		}
		if (write_portion(r) != 0)
			return 0;
		schedule(r, mean_tsc);
		before = bench_interruptions();
		took = play(r, mean_tsc > 0);
		if (bench_interruptions() == before) {
			n += 2 * (uint64_t)HALF;
			sum += took;
		} else {
			r->times.n = n_times;
			r->n_interrupted++;
		}
		tracker_idle_turn(r->t);
	}
	if (tsc)
		*tsc = sum;
	return n;
}

/* --- a run ------------------------------------------------------------------------------------------ */

struct results {
	struct bench_samples load[N_LOADS][QUANTILE_N];
	struct bench_samples capacity, interrupted;
};

static bool
was_established(const struct rig *r)
{
	const struct tracker *t = r->t;
	struct mqt_slots slots = mqt_conns_slots(t->worker[0].conns);
	uint64_t seen = 0;

	for (uint32_t i = 0; i < slots.n; i++)
		seen += mqt_counter_get(&mqt_slots_at(&slots, i)->counter[MQT_RECV_MSG]);
	return tracker_is_clean(t) && seen == r->n_published &&
			t->worker[0].n_sent == t->worker[0].n_received &&
			tracker_state(t, MQT_CONN_CONNECTED) == r->n;
}

static int
run_once(struct rig *r, struct results *res)
{
	uint64_t n, tsc;

	r->n_interrupted = 0;
	n = play_load(r, CAPACITY_LOAD, &tsc);
	if (n == 0)
		return -1;
	bench_rate_of(&res->capacity, n, (uint64_t)((double)tsc * 1e9 / (double)rte_get_tsc_hz()));
	for (unsigned l = 0; l < N_LOADS; l++) {
		/* two sides share the load */
		double mean_tsc = 2 * ((double)tsc / (double)n) * 100 / loads[l];

		if (play_load(r, mean_tsc, NULL) == 0 || r->times.n > r->times.cap)
			return -1;
		quantile_end_run(&r->times, res->load[l]);
	}
	res->interrupted.v[res->interrupted.n++] = (double)r->n_interrupted;
	return 0;
}

/* --- setting up --------------------------------------------------------------------------------------- */

static int
connect_one(struct rig *r, uint32_t i)
{
	struct life *l = &r->lives[i];

	life_begin(l, i, i, true, false);
	while (l->step < LIFE_WAIT) {
		bool outside = life_is_clients(l);
		struct rte_mbuf *m = rte_pktmbuf_alloc(r->t->pool);

		if (!m)
			return -1;
		*arrival(m) = 0;
		life_write(l, m);
		tracker_worker_turn(r->t, 0, &m, outside, &m, !outside);
	}
	tracker_control_turn(r->t);
	tracker_idle_turn(r->t);
	return 0;
}

static int
rig_init(struct rig *r)
{
	struct tracker_params params = {
		.n_workers = 1,
		.n_mbufs = 8 * HALF - 1,
		.mbuf_size = LIFE_MAX_DATA,
		.priv_size = sizeof(uint64_t),
		.name = "latency",
		.sent = sent,
		.arg = r,
	};

	mqt_config_init(&params.config);
	params.config.limits.max_clients = r->n;
	r->order = bench_order(r->n);
	r->lives = calloc(r->n, sizeof(*r->lives));
	r->publish_len = (uint16_t)mqt_mqtt_publish_encode(r->publish, sizeof(r->publish), 4, 0, 0,
			(struct mqt_bytes){ (const uint8_t *)TOPIC, sizeof(TOPIC) - 1 },
			(struct mqt_bytes){ (const uint8_t *)PAYLOAD, sizeof(PAYLOAD) - 1 });
	if (!r->order || !r->lives || quantile_init(&r->times, PACKETS + 2 * HALF) != 0)
		return -1;
	r->t = tracker_create(&params);
	for (uint32_t i = 0; r->t && i < r->n; i++)
		if (connect_one(r, i) != 0)
			return -1;
	return r->t ? 0 : -1;
}

static void
rig_fini(struct rig *r)
{
	tracker_destroy(r->t);
	quantile_fini(&r->times);
	free(r->order);
	free(r->lives);
	free(r);
}

static int
run_all(struct rig *r, unsigned runs, struct results *res)
{
	if (rig_init(r) != 0)
		return -1;
	for (unsigned run = 0; run <= runs; run++) {
		if (run == 1) /* what came before was the warm-up */
			memset(res, 0, sizeof(*res));
		if (run_once(r, res) != 0)
			return -1;
	}
	return was_established(r) ? 0 : -1;
}

static void
report_all(const struct results *res, struct bench_report *report)
{
	char name[64];

	bench_report_add(report, "latency.capacity", "packets/s", &res->capacity, NULL, NULL);
	for (unsigned l = 0; l < N_LOADS; l++) {
		snprintf(name, sizeof(name), "latency.load%u", loads[l]);
		quantile_report(report, name, res->load[l]);
	}
	bench_report_add(report, "latency.interrupted", "portions", &res->interrupted, NULL, NULL);
}

int
bench_latency(const struct bench_args *args, struct bench_report *report)
{
	struct results *res = calloc(1, sizeof(*res));
	struct rig *r = calloc(1, sizeof(*r));
	int rc = 1;

	if (!res || !r)
		goto out;
	r->n = (uint32_t)(args->size ? args->size : DEFAULT_SIZE);
	if (bench_eal_init(TRACKER_MEM_MIB) != 0)
		goto out;
	rc = run_all(r, args->runs, res) == 0 ? 0 : 1;
	if (rc)
		fprintf(stderr, "mqtrack-bench: latency: packets did not take the expected path\n");
	else
		report_all(res, report);
	rig_fini(r);
	r = NULL;
out:
	free(r);
	free(res);
	return rc;
}
