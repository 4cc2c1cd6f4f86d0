/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_rig.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <rte_pause.h>

/*
 * The channel manager with its real mailboxes, slots, maps, grace periods and events; only the
 * owners of the connections are played. They do nothing but answer.
 *
 * One control lcore: the owners are in a thread of their own, on the other CPU where there is one,
 * and the reclaimer is, as in the daemon, a thread started by the control lcore. The baseline is
 * both sides in one thread, with its grace periods: what one core does for the whole conversation.
 * A rate is that of the whole job, until every lock is free and every info has come home.
 *
 *   open_clean  clean opens of clients that nobody knows
 *   discard     clean opens of clients that are connected to the other owner: each is discarded first
 *   takeover    resumes of clients that are connected to the other owner, same broker, session
 *               present: begin, end, session handed over, GRANT, GRANTED
 *   kick        kicks by client id
 *   down_storm  all channels end at once: until no row is left and every event has been read. The
 *               figures behind it are of openings meanwhile: by an owner that the storm does not
 *               come from, from posting OPEN to reading GRANT; and of one that was posted behind the
 *               storm by one that it does come from, in the same FIFO
 *
 * A round before the first run is not counted: it touches the memory. Between two jobs more than
 * contest_ms passes, for what comes within a moment would be held.
 */

#define DEFAULT_SIZE 1000000u
#define GRACE_EVERY  8 /* turns */
#define MOMENT_NS    60000000u

enum what {
	OPEN_CLEAN,
	DISCARD,
	DOWN_STORM,
	FILL,
	TAKEOVER,
	KICK,
	N_WHAT,
};

enum latency {
	P50,
	P99,
	P99_9,
	MAX,
	BEHIND,
	N_LATENCIES,
};

static const char *const rates[N_WHAT][3] = {
	[OPEN_CLEAN] = { "cm.open_clean", "cm.one_core.open_clean", "opens/s" },
	[DISCARD] = { "cm.discard", "cm.one_core.discard", "opens/s" },
	[DOWN_STORM] = { "cm.down_storm", "cm.one_core.down_storm", "downs/s" },
	[TAKEOVER] = { "cm.takeover", "cm.one_core.takeover", "takeovers/s" },
	[KICK] = { "cm.kick", "cm.one_core.kick", "kicks/s" },
};

static const char *const latencies[N_LATENCIES] = {
	[P50] = "cm.down_storm.open_p50_us",
	[P99] = "cm.down_storm.open_p99_us",
	[P99_9] = "cm.down_storm.open_p99_9_us",
	[MAX] = "cm.down_storm.open_max_us",
	[BEHIND] = "cm.down_storm.open_behind_us",
};

#define RESUME MQT_INFO_SESSION_PRESENT

struct figures {
	struct bench_samples two[N_WHAT], one[N_WHAT];
	struct bench_samples latency[N_LATENCIES];
	struct bench_samples missed; /* events */
};

/* Where a job runs. */
struct seat {
	struct cm_rig *rig;
	bool alone; /* both sides in one thread */
	cpu_set_t others;
	bool yield; /* there is one CPU only */
};

static struct cm_job
job_of(enum what what, bool alone, uint32_t n)
{
	struct cm_job job = { .kind = CM_JOB_OPEN, .flags = MQT_INFO_CLEAN_START, .n_live = n };

	switch (what) {
	case OPEN_CLEAN:
		job.n_events = 2; /* session.created, connected */
		break;
	case DISCARD:
		job.n_events = 4; /* disconnected, discarded, session.created, connected */
		break;
	case FILL:
		job.flags = RESUME;
		job.n_events = 2; /* session.adopted, connected */
		break;
	case TAKEOVER:
		job.flags = RESUME;
		/* disconnected, session.takenover, session.resumed, connected */
		job.n_events = 4;
		break;
	case DOWN_STORM:
		job = (struct cm_job){ .kind = CM_JOB_DOWN, .probes = !alone, .n_events = 1 };
		break;
	default:
		job = (struct cm_job){ .kind = CM_JOB_KICK, .n_events = 2 };
	}
	return job;
}

/* --- the control lcore ------------------------------------------------------------------------------ */

static uint64_t
counted(const struct cm_rig *r, enum mqt_control_counter c)
{
	return mqt_counter_get(&mqt_cm_counters(r->cm)->v[c]);
}

static int
state(const struct cm_rig *r)
{
	return atomic_load_explicit(&r->state, memory_order_acquire);
}

static void
turn(struct seat *seat)
{
	struct cm_rig *r = seat->rig;

	mqt_role_control_assert();
	if (counted(r, MQT_C_KILLS) > 0) { /* it would wait for ever for the end of that one */
		fprintf(stderr, "mqtrack-bench: cm: the owners did not answer in time\n");
		exit(1);
	}
	if (seat->alone) {
		cm_owners_turn(r);
		mqt_cm_turn(r->cm);
		if (++r->n_turns % GRACE_EVERY == 0 && mqt_maps_grace_wanted(r->maps))
			mqt_maps_grace_run(r->maps);
	} else if (mqt_cm_turn(r->cm) == 0) {
		if (seat->yield)
			sched_yield();
		rte_pause();
	}
}

static bool
busy(const struct cm_rig *r)
{
	mqt_role_control_assert();
	for (unsigned w = 0; w < CM_OWNERS; w++)
		if (mqt_mailbox_pending_control(r->owner[w].mailbox) > 0)
			return true;
	return mqt_cm_busy(r->cm);
}

/* Has the owners do something. */
static void
go(struct seat *seat, enum cm_state to, enum cm_state until)
{
	atomic_store_explicit(&seat->rig->state, to, memory_order_release);
	while (state(seat->rig) != (int)until)
		turn(seat);
}

static void
settle(struct seat *seat)
{
	uint64_t end_ns = bench_now_ns() + MOMENT_NS;

	while (bench_now_ns() < end_ns || busy(seat->rig))
		turn(seat);
}

static void
kicked(struct mqt_cm_cmd *cmd)
{
	struct cm_kick *kick = (struct cm_kick *)cmd;

	kick->rig->n_kicked += cmd->n_channels;
	/* pairs with the acquire in post_kicks() */
	atomic_store_explicit(&kick->idle, true, memory_order_release);
}

/* --- checks and figures ------------------------------------------------------------------------------ */

struct before {
	uint64_t n_events;
	uint64_t counter[MQT_C_N_COUNTERS];
};

static void
remember(const struct cm_rig *r, struct before *b)
{
	b->n_events = mqt_event_ring_last(r->events);
	for (unsigned c = 0; c < MQT_C_N_COUNTERS; c++)
		b->counter[c] = counted(r, (enum mqt_control_counter)c);
}

static bool
differs(const char *what, uint64_t is, uint64_t should)
{
	if (is != should)
		fprintf(stderr, "mqtrack-bench: cm: %s: %llu instead of %llu\n", what,
				(unsigned long long)is, (unsigned long long)should);
	return is != should;
}

/* What @p what has to have counted, of each client. */
static enum mqt_control_counter
counter_of(enum what what)
{
	switch (what) {
	case DISCARD:
		return MQT_C_DISCARDED;
	case DOWN_STORM:
		return MQT_C_UNREGISTERED;
	case TAKEOVER:
		return MQT_C_TAKEOVERS;
	case KICK:
		return MQT_C_KICKED;
	case FILL:
		return MQT_C_SESSION_ADOPTED;
	default:
		return MQT_C_SESSION_CREATED;
	}
}

/* Whether what should have happened did not. */
static bool
wrong(struct cm_rig *r, enum what what, const struct before *b)
{
	enum mqt_control_counter c = counter_of(what);
	uint64_t flapping = counted(r, MQT_C_FLAPPING) - b->counter[MQT_C_FLAPPING];
	uint64_t events = (uint64_t)r->job.n_events * r->n + 2 * r->n_probes + flapping;
	struct mqt_maps_sizes sizes;
	bool bad = r->failed;

	mqt_maps_sizes(r->maps, &sizes);
	bad |= differs("live", sizes.live, r->job.n_live + r->n_probes);
	bad |= differs("channels", sizes.channels, r->job.n_live + r->n_probes);
	bad |= differs("events", mqt_event_ring_last(r->events) - b->n_events, events);
	bad |= differs("refused", r->n_refused, 0);
	bad |= differs("duplicates", counted(r, MQT_C_DUPLICATES), 0);
	bad |= differs("what was done", counted(r, c) - b->counter[c], r->n);
	if (what == TAKEOVER)
		bad |= differs("sessions inherited",
				counted(r, MQT_C_SESSION_RESUMED) -
						b->counter[MQT_C_SESSION_RESUMED],
				r->n);
	if (r->job.probes && r->n_missed == 0)
		bad |= differs("ends read as events", r->n_down_read, r->n);
	if (what == KICK)
		bad |= differs("channels kicked", r->n_kicked, r->n);
	return bad;
}

static int
by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void
sample(struct bench_samples *s, double v)
{
	s->v[s->n++] = v;
}

static void
note_latencies(const struct cm_rig *r, struct figures *f)
{
	uint64_t *ns = r->probe_ns + 1;
	uint32_t n = r->n_probes - 1; /* the first one was behind the storm */

	sample(&f->latency[BEHIND], (double)r->probe_ns[0] / 1e3);
	sample(&f->missed, (double)r->n_missed);
	if (n == 0) /* the storm was over before */
		n = 1, ns--;
	qsort(ns, n, sizeof(*ns), by_value);
	sample(&f->latency[P50], (double)ns[n / 2] / 1e3);
	sample(&f->latency[P99], (double)ns[(uint64_t)n * 99 / 100] / 1e3);
	sample(&f->latency[P99_9], (double)ns[(uint64_t)n * 999 / 1000] / 1e3);
	sample(&f->latency[MAX], (double)ns[n - 1] / 1e3);
}

static int
run_job(struct seat *seat, enum what what, struct figures *f)
{
	struct cm_rig *r = seat->rig;
	struct before before;
	uint64_t begin_ns;
	bool bad;

	r->job = job_of(what, seat->alone, r->n);
	r->n_kicked = 0;
	go(seat, CM_PREPARE, CM_READY);
	settle(seat);
	remember(r, &before);
	begin_ns = bench_now_ns();
	go(seat, CM_RUN, CM_DONE);
	while (busy(r))
		turn(seat);
	bench_rate(seat->alone ? &f->one[what] : &f->two[what], r->n, begin_ns);
	bad = wrong(r, what, &before);
	if (r->job.probes)
		note_latencies(r, f);
	go(seat, CM_CLEAN, CM_IDLE);
	settle(seat);
	return bad ? -1 : 0;
}

static int
run_jobs(struct seat *seat, struct figures *f)
{
	static const enum what jobs[] = { OPEN_CLEAN, DISCARD, DOWN_STORM, FILL, TAKEOVER, KICK };
	int rc = 0;

	for (unsigned i = 0; i < sizeof(jobs) / sizeof(jobs[0]) && rc == 0; i++) {
		rc = run_job(seat, jobs[i], f);
		if (rc)
			fprintf(stderr, "mqtrack-bench: cm: job %u%s did not end as it should\n", i,
					seat->alone ? " in one thread" : "");
	}
	return rc;
}

/* --- the owners' thread ------------------------------------------------------------------------------- */

static void *
owners(void *arg)
{
	struct seat *seat = arg;

	pthread_setaffinity_np(pthread_self(), sizeof(seat->others), &seat->others);
	mqt_role_worker_assert();
	while (state(seat->rig) != CM_QUIT) {
		if (cm_owners_turn(seat->rig) == 0) {
			if (seat->yield)
				sched_yield();
			rte_pause();
		}
	}
	return NULL;
}

static int
run_once(struct seat *seat, struct figures *f)
{
	struct cm_rig *r = seat->rig;
	pthread_t thread;
	int rc;

	seat->alone = false;
	atomic_store(&r->state, CM_IDLE);
	if (mqt_maps_reclaimer_start(r->maps) != 0 ||
			pthread_create(&thread, NULL, owners, seat) != 0)
		return -1;
	rc = run_jobs(seat, f);
	atomic_store_explicit(&r->state, CM_QUIT, memory_order_release);
	pthread_join(thread, NULL);
	mqt_maps_reclaimer_stop(r->maps);
	if (rc)
		return rc;
	seat->alone = true;
	atomic_store(&r->state, CM_IDLE);
	return run_jobs(seat, f);
}

static int
run_all(struct seat *seat, uint32_t n, unsigned runs, struct figures *f)
{
	int rc = 0;

	seat->rig = cm_rig_create(n);
	if (!seat->rig)
		return -1;
	for (unsigned i = 0; i < CM_WINDOW; i++)
		seat->rig->kicks[i].cmd.done = kicked;
	for (unsigned run = 0; run <= runs && rc == 0; run++) {
		if (run == 1) /* what came before was the warm-up */
			memset(f, 0, sizeof(*f));
		rc = run_once(seat, f);
	}
	if (rc == 0)
		cm_rig_destroy(seat->rig);
	return rc;
}

static void
report_all(struct bench_report *report, const struct figures *f, uint64_t n)
{
	char name[64], size[64];

	for (unsigned w = 0; w < N_WHAT; w++)
		if (rates[w][0])
			bench_report_add(report, bench_name(name, sizeof(name), rates[w][0], n),
					rates[w][2], &f->two[w], "owners on the same core",
					&f->one[w]);
	for (unsigned w = 0; w < N_WHAT; w++)
		if (rates[w][0])
			bench_report_add(report, bench_name(name, sizeof(name), rates[w][1], n),
					rates[w][2], &f->one[w], NULL, NULL);
	for (unsigned l = 0; l < N_LATENCIES; l++)
		bench_report_add(report, latencies[l], "us", &f->latency[l], NULL, NULL);
	bench_report_add(report, bench_name(size, sizeof(size), "cm.down_storm.events_missed", n),
			"events", &f->missed, NULL, NULL);
}

int
bench_cm(const struct bench_args *args, struct bench_report *report)
{
	uint64_t n = args->size ? args->size : DEFAULT_SIZE;
	struct figures *f = calloc(1, sizeof(*f));
	struct seat seat = { .yield = false };
	int rc = 1, cpu;

	if (n + 2 * CM_WINDOW > MQT_CHAN_SLOT_MAX) {
		fprintf(stderr, "mqtrack-bench: cm: --size is too large\n");
		goto out;
	}
	CPU_ZERO(&seat.others);
	sched_getaffinity(0, sizeof(seat.others), &seat.others);
	if (!f || bench_eal_init(160 + n * 512 / (1024 * 1024)) != 0)
		goto out;
	cpu = sched_getcpu();
	CPU_CLR(cpu, &seat.others);
	if (CPU_COUNT(&seat.others) == 0) {
		CPU_SET(cpu, &seat.others);
		seat.yield = true;
	}
	rc = run_all(&seat, (uint32_t)n, args->runs, f) == 0 ? 0 : 1;
	if (rc == 0)
		report_all(report, f, n);
out:
	free(f);
	return rc;
}
