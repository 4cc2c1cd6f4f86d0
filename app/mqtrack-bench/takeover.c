/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench.h"
#include "life.h"
#include "quantile.h"
#include "tracker.h"

#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

/*
 * How long a newcomer's CONNACK is held: from its arrival at the worker to its release to tx. Two
 * workers and the control lcore are stepped in turn by one thread, so what is measured is their work
 * and that of the turns between, without any scheduler.
 *
 *   none          a client id that nobody knows
 *   same_worker   its older connection is on the newcomer's worker: the session is taken over
 *   other_worker  it is on the other worker
 *   retained      the older connection has ended; its session waits
 *   burst         other_worker, with BURST newcomers whose CONNACKs arrive at once
 *
 * SIZE clients with sessions (3.1.1, clean session 0, one PUBLISH of QoS 1 seen) are connected all the
 * while, and taken one after the other in a random order, so that what is touched is not in the
 * cache. The handshake before CONNACK, and what follows its release, is outside of the clock. The older
 * connection does not end by itself before, as its broker could have ended it.
 */

#define DEFAULT_SIZE 100000u
#define SAMPLES      8000u /* newcomers a run and kind, at most one a client */
#define BURST        32u
#define N_WORKERS    2u
#define MAX_SLOTS    1000000u
#define MAX_STEPS    1000u
#define REST_NS      (100 * MQT_NS_PER_MS) /* longer than limits.contest_ms */

enum kind {
	NONE,
	SAME_WORKER,
	OTHER_WORKER,
	RETAINED,
	BURSTS,
	N_KINDS,
};

static const char *const kind_names[N_KINDS] = {
	[NONE] = "takeover.none",
	[SAME_WORKER] = "takeover.same_worker",
	[OTHER_WORKER] = "takeover.other_worker",
	[RETAINED] = "takeover.retained",
	[BURSTS] = "takeover.burst",
};

struct client {
	struct life life;
	uint8_t worker;
};

struct rig {
	uint32_t n, n_samples;
	uint32_t *order;
	uint32_t cursor; /* in order[] */
	struct client *clients;
	struct tracker *t;
	uint32_t n_flows, n_strangers;
	uint64_t n_lives; /* OPENs so far */
	uint64_t n_taken, n_resumed;
	uint32_t n_held; /* CONNACKs on their way through */
	uint32_t n_interrupted;
	struct quantile_times times;
};

/* --- packets ---------------------------------------------------------------------------------------- */

/* In each mbuf: when it arrived, 0 where nobody wants to know. */
static uint64_t *
arrival(struct rte_mbuf *m)
{
	return rte_mbuf_to_priv(m);
}

static void
sent(void *arg, unsigned worker, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	struct rig *r = arg;

	for (uint16_t i = 0; i < n; i++) {
		uint64_t since = *arrival(m[i]);

		if (since == 0)
			continue;
		quantile_add(&r->times, rte_rdtsc() - since);
		*arrival(m[i]) = 0;
		r->n_held--;
	}
}

static struct rte_mbuf *
next_packet(struct rig *r, struct life *l)
{
	struct rte_mbuf *m;

	if (l->step == LIFE_WAIT)
		l->step++;
	m = rte_pktmbuf_alloc(r->t->pool);
	if (!m)
		return NULL;
	*arrival(m) = 0;
	life_write(l, m);
	return m;
}

/* Sends the packets of a life up to @p until, each in a turn of its own. @return 0, or -1. */
static int
live(struct rig *r, struct client *c, enum life_step until)
{
	while (c->life.step < until) {
		bool outside = life_is_clients(&c->life);
		struct rte_mbuf *m = next_packet(r, &c->life);

		if (!m)
			return -1;
		tracker_worker_turn(r->t, c->worker, &m, outside, &m, !outside);
		if (c->life.step == LIFE_WAIT) /* nobody times this one */
			for (unsigned i = 0; i < 3; i++)
				tracker_idle_turn(r->t);
	}
	return 0;
}

/* --- one newcomer, or several at once --------------------------------------------------------------- */

/* The CONNACKs of newcomers arrive. @return 0 once all are released, or -1. */
static int
time_connacks(struct rig *r, struct client *const *newcomers, unsigned n)
{
	struct rte_mbuf *m[N_WORKERS][BURST];
	unsigned n_of[N_WORKERS] = { 0 };
	long before;
	uint64_t now;

	for (unsigned i = 0; i < n; i++) {
		unsigned w = newcomers[i]->worker;

		m[w][n_of[w]] = next_packet(r, &newcomers[i]->life);
		if (!m[w][n_of[w]])
			return -1;
		n_of[w]++;
	}
	r->n_held = n;
	before = bench_interruptions();
	now = rte_rdtsc();
	for (unsigned w = 0; w < N_WORKERS; w++)
		for (unsigned i = 0; i < n_of[w]; i++)
			*arrival(m[w][i]) = now;
	for (unsigned step = 0; r->n_held > 0; step++) {
		if (step == MAX_STEPS)
			return -1;
		for (unsigned w = 0; w < N_WORKERS; w++) {
			tracker_worker_turn(r->t, w, NULL, 0, m[w], n_of[w]);
			n_of[w] = 0;
		}
		tracker_control_turn(r->t);
	}
	if (bench_interruptions() != before) {
		r->times.n -= n; /* the last ones */
		r->n_interrupted += n;
	}
	return 0;
}

/* A client that is no part of the population comes, and goes. */
static int
sample_none(struct rig *r)
{
	struct client stranger = { .worker = (uint8_t)(r->n_strangers % N_WORKERS) },
		      *newcomer = &stranger;

	life_begin(&stranger.life, r->n_flows++, r->n + r->n_strangers++, true, false);
	r->n_lives++;
	if (live(r, &stranger, LIFE_CONNACK) != 0 || time_connacks(r, &newcomer, 1) != 0)
		return -1;
	return live(r, &stranger, LIFE_N_STEPS);
}

/* The next clients come again. */
static int
sample_known(struct rig *r, enum kind kind, unsigned n)
{
	struct client *c[BURST];

	for (unsigned i = 0; i < n; i++) {
		c[i] = &r->clients[r->order[r->cursor]];
		r->cursor = r->cursor + 1 < r->n ? r->cursor + 1 : 0;
		if (kind == RETAINED && live(r, c[i], LIFE_N_STEPS) != 0)
			return -1;
		if (kind != SAME_WORKER)
			c[i]->worker ^= 1;
		life_begin(&c[i]->life, r->n_flows++, c[i]->life.client, false, true);
		if (live(r, c[i], LIFE_CONNACK) != 0)
			return -1;
	}
	for (unsigned i = 0; i < 3; i++)
		tracker_idle_turn(r->t);
	r->n_lives += n;
	r->n_resumed += n;
	r->n_taken += kind == RETAINED ? 0 : n;
	if (time_connacks(r, c, n) != 0)
		return -1;
	for (unsigned i = 0; i < n; i++)
		if (live(r, c[i], LIFE_DISCONNECT) != 0)
			return -1;
	return 0;
}

static int
run_kind(struct rig *r, enum kind kind)
{
	const unsigned n = kind == BURSTS ? BURST : 1;

	for (uint32_t done = 0; done + n <= r->n_samples; done += n) {
		if (kind == NONE ? sample_none(r) : sample_known(r, kind, n))
			return -1;
		tracker_idle_turn(r->t);
	}
	return 0;
}

/* --- a run ------------------------------------------------------------------------------------------ */

static bool
is_complete(const struct rig *r)
{
	const struct tracker *t = r->t;

	return tracker_is_clean(t) && tracker_worker_counter(t, MQT_W_OPENS) == r->n_lives &&
			tracker_worker_counter(t, MQT_W_GRANTS) == r->n_lives &&
			tracker_control_counter(t, MQT_C_TAKEOVERS) == r->n_taken &&
			tracker_control_counter(t, MQT_C_SESSION_RESUMED) == r->n_resumed &&
			tracker_state(t, MQT_CONN_CONNECTED) == r->n &&
			mqt_cm_live_count(t->cm) == r->n;
}

/* A client that comes again within limits.contest_ms would be held for it. */
static void
rest(struct rig *r)
{
	uint64_t begin = bench_now_ns();

	while (bench_now_ns() - begin < REST_NS)
		tracker_idle_turn(r->t);
}

static int
run_once(struct rig *r, struct bench_samples s[N_KINDS][QUANTILE_N],
		struct bench_samples *interrupted)
{
	r->n_interrupted = 0;
	for (unsigned kind = 0; kind < N_KINDS; kind++) {
		rest(r);
		if (run_kind(r, kind) != 0 || r->times.n == 0 || r->times.n > r->times.cap)
			return -1;
		quantile_end_run(&r->times, s[kind]);
	}
	interrupted->v[interrupted->n++] = r->n_interrupted;
	return tracker_settle(r->t) == 0 && is_complete(r) ? 0 : -1;
}

static int
populate(struct rig *r)
{
	for (uint32_t i = 0; i < r->n; i++) {
		struct client *c = &r->clients[i];

		c->worker = (uint8_t)(i % N_WORKERS);
		life_begin(&c->life, r->n_flows++, i, false, false);
		r->n_lives++;
		if (live(r, c, LIFE_DISCONNECT) != 0)
			return -1;
	}
	return 0;
}

static int
rig_init(struct rig *r)
{
	struct tracker_params params = {
		.n_workers = N_WORKERS,
		.n_mbufs = 4095,
		.mbuf_size = LIFE_MAX_DATA,
		.priv_size = sizeof(uint64_t),
		.name = "takeover",
		.sent = sent,
		.arg = r,
	};

	mqt_config_init(&params.config);
	params.config.limits.max_clients = 2 * r->n + BURST;
	params.config.limits.max_connections = RTE_MIN(MAX_SLOTS, 100 * r->n);
	params.config.limits.max_retained = r->n;
	r->order = bench_order(r->n);
	r->clients = calloc(r->n, sizeof(*r->clients));
	if (!r->order || !r->clients || quantile_init(&r->times, r->n_samples) != 0)
		return -1;
	r->t = tracker_create(&params);
	return r->t ? populate(r) : -1;
}

static void
rig_fini(struct rig *r)
{
	tracker_destroy(r->t);
	quantile_fini(&r->times);
	free(r->order);
	free(r->clients);
	free(r);
}

static int
run_all(struct rig *r, unsigned runs, struct bench_samples s[N_KINDS][QUANTILE_N],
		struct bench_samples *interrupted)
{
	if (rig_init(r) != 0)
		return -1;
	for (unsigned run = 0; run <= runs; run++) {
		if (run == 1) { /* what came before was the warm-up */
			memset(s, 0, N_KINDS * sizeof(*s));
			interrupted->n = 0;
		}
		if (run_once(r, s, interrupted) != 0)
			return -1;
	}
	return 0;
}

int
bench_takeover(const struct bench_args *args, struct bench_report *report)
{
	struct bench_samples(*s)[QUANTILE_N] = calloc(N_KINDS, sizeof(*s));
	struct bench_samples *interrupted = calloc(1, sizeof(*interrupted));
	struct rig *r = calloc(1, sizeof(*r));
	int rc = 1;

	if (!s || !interrupted || !r)
		goto out;
	r->n = (uint32_t)(args->size ? args->size : DEFAULT_SIZE);
	r->n_samples = RTE_MIN(SAMPLES, r->n);
	if (bench_eal_init(TRACKER_MEM_MIB) != 0)
		goto out;
	rc = run_all(r, args->runs, s, interrupted) == 0 ? 0 : 1;
	if (rc)
		fprintf(stderr, "mqtrack-bench: takeover: it did not end as it should\n");
	for (unsigned kind = 0; kind < N_KINDS && rc == 0; kind++)
		quantile_report(report, kind_names[kind], s[kind]);
	if (rc == 0)
		bench_report_add(report, "takeover.interrupted", "newcomers", interrupted, NULL,
				NULL);
	rig_fini(r);
	r = NULL;
out:
	free(r);
	free(interrupted);
	free(s);
	return rc;
}
