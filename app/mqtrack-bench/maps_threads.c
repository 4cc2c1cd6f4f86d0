/* SPDX-License-Identifier: BSD-3-Clause */
#include "maps_keys.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include <rte_common.h>

/*
 * What readers have of each other and of a writer. One thread looks all clients up again and again,
 * alone at first; then beside a writer at full speed, which inserts and removes channels of other
 * clients and waits for a grace period after each 4,096 removals; then beside a second reader. The
 * baseline is the first of these.
 *
 * A rate of look-ups is by the time in which the thread had a CPU, so that on a busy machine it tells
 * what the other thread costs, and not what all others do. Where that one did not run it costs
 * nothing: maps.writer, by the clock, tells how much it wrote.
 *
 * A turn takes TURN_NS, and begins where the last one ended; the other thread then ends what it is
 * at: MAPS_CHURN insertions and removals, or a stretch of look-ups.
 */

#define GRACE_EVERY 4096
#define STRETCH     16384u
#define TURN_NS     200000000u

enum beside {
	NOBODY,
	WRITER,
	READER,
	N_BESIDE,
};

struct other {
	struct mqt_maps *maps;
	const struct keys *keys; /* of the reader */
	struct keys churn;       /* of the writer */
	enum beside what;
	bool bulk;
	uint32_t at; /* where who measures goes on */
	int cpu;     /* of who measures */
	bool failed;
	uint64_t n;           /* done */
	_Atomic bool running; /* W: itself; R: who measures */
	_Atomic bool stop;    /* W: who measures */
};

/* On any CPU but the one of who measures. */
static void
move_away(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (i != cpu)
			CPU_SET(i, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void
leave_info(void *arg, mqt_chan_id id, struct mqt_info *info, uint32_t tag)
{
	/* it is used again */
}

static void
write_on(struct other *o)
{
	const struct keys *c = &o->churn;

	mqt_role_control_assert();
	for (uint32_t i = 0; i < c->n && !o->failed; i++)
		o->failed = !mqt_maps_insert(o->maps, c->ids[i], c->infos[i], i, i, 1);
	for (uint32_t i = 0; i < c->n && !o->failed; i++) {
		o->failed = mqt_maps_remove(o->maps, c->probe_ids[i]) != 0;
		if (i % GRACE_EVERY == GRACE_EVERY - 1 || i + 1 == c->n) {
			mqt_maps_grace_run(o->maps);
			mqt_maps_reclaim(o->maps, UINT32_MAX, leave_info, NULL);
		}
	}
	o->n += 2 * c->n;
}

/* Some look-ups from *at, which goes round. @return how many, or 0 where one is missing. */
static uint32_t
look_up_some(const struct other *o, uint32_t *at)
{
	uint32_t from = *at, to = (uint32_t)RTE_MIN(from + STRETCH, o->keys->n), found;

	found = o->bulk ? keys_lookup_bulk(o->keys, o->maps, from, to)
			: keys_lookup(o->keys, o->maps, from, to);
	*at = to == o->keys->n ? 0 : to;
	return found == to - from ? found : 0;
}

static void *
other_run(void *arg)
{
	struct other *o = arg;
	uint32_t at = o->keys->n / 2;

	move_away(o->cpu);
	if (o->what == READER)
		mqt_rcu_register();
	atomic_store_explicit(&o->running, true, memory_order_release);
	do {
		if (o->what == WRITER)
			write_on(o);
		else
			o->failed = look_up_some(o, &at) == 0;
	} while (!atomic_load_explicit(&o->stop, memory_order_relaxed) && !o->failed);
	if (o->what == READER)
		mqt_rcu_unregister();
	return NULL;
}

static uint64_t
cpu_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Looks up until the turn is over. @return whether all were there. */
static bool
look_up(struct other *o, struct bench_samples *s)
{
	uint64_t begin = bench_now_ns(), cpu = cpu_now_ns(), n = 0;
	uint32_t some;

	do {
		some = look_up_some(o, &o->at);
		n += some;
	} while (some > 0 && bench_now_ns() - begin < TURN_NS);
	bench_rate_of(s, n, cpu_now_ns() - cpu);
	return some > 0;
}

/* A turn beside somebody. @param theirs NULL: not asked for. @return 0, or -1. */
static int
run_beside(struct other *o, struct bench_samples *s, struct bench_samples *theirs)
{
	uint64_t begin;
	pthread_t thread;
	bool found;

	if (o->what == NOBODY)
		return look_up(o, s) ? 0 : -1;
	o->n = 0;
	o->cpu = sched_getcpu();
	atomic_store(&o->running, false);
	atomic_store(&o->stop, false);
	if (pthread_create(&thread, NULL, other_run, o) != 0)
		return -1;
	while (!atomic_load_explicit(&o->running, memory_order_acquire))
		sched_yield();
	begin = bench_now_ns();
	found = look_up(o, s);
	atomic_store(&o->stop, true);
	pthread_join(thread, NULL);
	if (theirs)
		bench_rate(theirs, o->n, begin);
	return found && !o->failed ? 0 : -1;
}

static int
run_all(struct other *o, unsigned runs, struct bench_samples s[2][N_BESIDE],
		struct bench_samples *writes)
{
	for (unsigned run = 0; run < runs; run++)
		for (unsigned bulk = 0; bulk < 2; bulk++)
			for (unsigned what = NOBODY; what < N_BESIDE; what++) {
				o->what = (enum beside)what;
				o->bulk = bulk;
				if (run_beside(o, &s[bulk][what],
						    what == WRITER && !bulk ? writes : NULL) != 0)
					return -1;
			}
	return 0;
}

int
bench_maps_threads(struct mqt_maps *maps, const struct keys *k, unsigned runs,
		struct bench_report *report)
{
	static const char *const names[2][N_BESIDE] = {
		{ NULL, "maps.lookup.writer", "maps.lookup.2readers" },
		{ NULL, "maps.lookup_bulk.writer", "maps.lookup_bulk.2readers" },
	};
	struct bench_samples(*s)[N_BESIDE] = calloc(2, sizeof(*s));
	struct bench_samples *writes = calloc(1, sizeof(*writes));
	struct other o = { .maps = maps, .keys = k };
	char name[64];
	int rc = -1;

	if (s && writes && keys_init(&o.churn, MAPS_CHURN, 4) == 0)
		rc = run_all(&o, runs, s, writes);
	if (rc)
		fprintf(stderr,
				"mqtrack-bench: maps: something was refused or not found beside "
				"another thread\n");
	for (unsigned bulk = 0; bulk < 2 && rc == 0; bulk++)
		for (unsigned what = WRITER; what < N_BESIDE; what++)
			bench_report_add(report,
					bench_name(name, sizeof(name), names[bulk][what], k->n),
					"lookups/s", &s[bulk][what], "the same, nobody beside it",
					&s[bulk][NOBODY]);
	if (rc == 0)
		bench_report_add(report, bench_name(name, sizeof(name), "maps.writer", k->n),
				"writes/s", writes, NULL, NULL);
	if (rc == 0)
		keys_fini(&o.churn);
	free(writes);
	free(s);
	return rc;
}
