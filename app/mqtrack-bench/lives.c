/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench.h"
#include "life.h"
#include "tracker.h"

#include <stdlib.h>
#include <string.h>

/*
 * Whole connections a second: SYN, SYN/ACK, ACK, CONNECT, CONNACK, PUBLISH of QoS 1, PUBACK,
 * DISCONNECT, FIN, FIN/ACK, ACK, through one worker, with the real control lcore, maps and events.
 *
 * Many lives are in flight, each at another step, as with a fleet: in each round every one of them
 * sends its next packet, so that packets of one flow are thousands of others apart. Packets are written
 * before the clock runs; then the worker takes the round in turns of at most TRACKER_BURST packets from
 * each side, then the control lcore has its turns. Both are timed apart, so that a rate is that of
 * one core which does nothing else: of a worker, of the control lcore with its grace periods, and of
 * one core that does both. A round during which the kernel took the CPU away is in no rate; how many
 * there were is told as lives.interrupted (of those with new ids).
 *
 *   new        client ids that nobody knows, with clean session: nothing is left of them
 *   recurring  client ids that come back to the session which they left the time before
 *
 * Slots rest as long as they do in production (limits.slot_quiet_ms), so there are as many as that
 * takes; the warm-up goes on until all have been used once, for pages that were never touched are no
 * part of a tracker that has run for a while.
 */

#define DEFAULT_SIZE 200000u
#define WINDOW       2048u /* lives in flight */
#define SLOTS_MAX    1000000u
#define SLOTS_MIN    65536u
#define PATIENCE_NS  (20 * MQT_NS_PER_SEC)

enum kind {
	NEW,
	RECURRING,
	N_KINDS,
};

static const char *const kind_names[N_KINDS] = {
	[NEW] = "lives.new", [RECURRING] = "lives.recurring"
};

enum part {
	WORKER,
	CONTROL,
	BOTH,
	N_PARTS,
};

static const char *const part_names[N_PARTS] = {
	[WORKER] = "", [CONTROL] = ".control", [BOTH] = ".both"
};

struct rig {
	uint32_t n; /* lives a run, and recurring clients */
	uint32_t n_slots, window;
	uint32_t *order;
	bool *known; /* recurring clients that have left a session */
	uint32_t n_known;
	struct life *lives; /* in flight */
	struct tracker *t;
	uint32_t n_flows;            /* begun so far: each flow is new */
	uint32_t n_clients;          /* new ones so far */
	uint32_t cursor;             /* in order[] */
	uint64_t n_lives, n_resumed; /* ended well so far */
	uint64_t worker_ns, control_ns;
	uint64_t n_timed;       /* packets in that time */
	uint64_t n_interrupted; /* rounds */
	unsigned n_outside, n_inside;
	struct rte_mbuf *outside[WINDOW], *inside[WINDOW];
};

/* --- a round -------------------------------------------------------------------------------------- */

static void
begin_life(struct rig *r, struct life *l, enum kind kind)
{
	uint32_t client;

	if (kind == NEW) {
		life_begin(l, r->n_flows++, r->n + r->n_clients++, true, false);
		return;
	}
	client = r->order[r->cursor];
	r->cursor = r->cursor + 1 < r->n ? r->cursor + 1 : 0;
	r->n_resumed += r->known[client];
	life_begin(l, r->n_flows++, client, false, r->known[client]);
	r->n_known += !r->known[client];
	r->known[client] = true;
}

/* Writes the next packet of each life in flight. @return 0, or -1: no mbufs. */
static int
write_round(struct rig *r, uint32_t n)
{
	r->n_outside = r->n_inside = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct life *l = &r->lives[i];
		struct rte_mbuf *m;

		if (l->step == LIFE_WAIT) {
			l->step++;
			continue;
		}
		m = rte_pktmbuf_alloc(r->t->pool);
		if (!m)
			return -1;
		if (life_is_clients(l))
			r->outside[r->n_outside++] = m;
		else
			r->inside[r->n_inside++] = m;
		life_write(l, m);
	}
	return 0;
}

/* The worker takes what was written, the control lcore what came of it. */
static void
run_round(struct rig *r)
{
	long before = bench_interruptions();
	uint64_t begin = bench_now_ns(), middle, end;
	unsigned out = 0, in = 0;

	do {
		unsigned n_out = RTE_MIN(r->n_outside - out, TRACKER_BURST);
		unsigned n_in = RTE_MIN(r->n_inside - in, TRACKER_BURST);

		tracker_worker_turn(r->t, 0, r->outside + out, n_out, r->inside + in, n_in);
		out += n_out;
		in += n_in;
	} while (out < r->n_outside || in < r->n_inside);
	middle = bench_now_ns();
	tracker_control_turn(r->t);
	tracker_grace(r->t);
	end = bench_now_ns();
	if (bench_interruptions() != before) {
		r->n_interrupted++;
		return;
	}
	r->worker_ns += middle - begin;
	r->control_ns += end - middle;
	r->n_timed += r->n_outside + r->n_inside;
}

/* Lives from the first to the last packet. @return 0, or -1. */
static int
run_lives(struct rig *r, enum kind kind, uint32_t n)
{
	uint32_t n_begun = 0, n_in_flight = 0, n_done = 0;

	r->worker_ns = r->control_ns = r->n_timed = 0;
	while (n_done < n) {
		/* one begins a round until all are in flight, so that they are at all steps */
		uint32_t room = r->window - n_in_flight;

		if (n_begun < r->window)
			room = RTE_MIN(room, r->window / LIFE_N_STEPS + 1);
		for (; room > 0 && n_begun < n; room--, n_begun++)
			begin_life(r, &r->lives[n_in_flight++], kind);
		if (write_round(r, n_in_flight) != 0)
			return -1;
		run_round(r);
		for (uint32_t i = 0; i < n_in_flight;) {
			if (r->lives[i].step < LIFE_N_STEPS) {
				i++;
				continue;
			}
			r->lives[i] = r->lives[--n_in_flight];
			n_done++;
		}
	}
	r->n_lives += n;
	return 0;
}

/* --- a run ------------------------------------------------------------------------------------------ */

/* Waits until enough slots have rested. It is not part of what is measured. */
static int
wait_for_slots(struct rig *r, uint32_t n)
{
	uint64_t begin = bench_now_ns();

	while (tracker_state(r->t, MQT_CONN_FREE) < n + r->window) {
		if (bench_now_ns() - begin > PATIENCE_NS)
			return -1;
		tracker_idle_turn(r->t);
	}
	return 0;
}

/* Whether everything has happened as often as it was to happen, and nothing is left. */
static bool
is_complete(const struct rig *r)
{
	const struct tracker *t = r->t;
	struct mqt_maps_sizes sizes;
	uint64_t n = r->n_lives;

	mqt_maps_sizes(t->maps, &sizes);
	return tracker_is_clean(t) && t->worker[0].n_received == n * LIFE_PACKETS &&
			t->worker[0].n_sent == n * LIFE_PACKETS &&
			tracker_worker_counter(t, MQT_W_SYN) == n &&
			tracker_worker_counter(t, MQT_W_CONNECTIONS) == n &&
			tracker_worker_counter(t, MQT_W_CONNECT) == n &&
			tracker_worker_counter(t, MQT_W_OPENS) == n &&
			tracker_worker_counter(t, MQT_W_GRANTS) == n &&
			tracker_control_counter(t, MQT_C_GRANTED) == n &&
			tracker_control_counter(t, MQT_C_DOWN) == n &&
			tracker_control_counter(t, MQT_C_SESSION_RESUMED) == r->n_resumed &&
			mqt_cm_live_count(t->cm) == 0 && sizes.channels == r->n_known &&
			mqt_cm_retained_count(t->cm) == r->n_known && sizes.retired == 0 &&
			tracker_state(t, MQT_CONN_FREE) + tracker_state(t, MQT_CONN_RELEASING) ==
			r->n_slots;
}

static int
run_once(struct rig *r, enum kind kind, struct bench_samples s[N_PARTS])
{
	uint64_t n;

	if (wait_for_slots(r, r->n) != 0 || run_lives(r, kind, r->n) != 0)
		return -1;
	n = r->n_timed / LIFE_PACKETS;
	if (n == 0) {
		fprintf(stderr, "mqtrack-bench: lives: the CPU is never ours for long enough\n");
		return -1;
	}
	bench_rate_of(&s[WORKER], n, r->worker_ns);
	bench_rate_of(&s[CONTROL], n, r->control_ns);
	bench_rate_of(&s[BOTH], n, r->worker_ns + r->control_ns);
	return tracker_settle(r->t) == 0 && is_complete(r) ? 0 : -1;
}

static int
warm_up(struct rig *r)
{
	uint32_t n = r->n_slots > SLOTS_MIN ? r->n_slots - r->n : 0;

	for (; n > 0; n -= RTE_MIN(n, r->n))
		if (wait_for_slots(r, RTE_MIN(n, r->n)) != 0 ||
				run_lives(r, NEW, RTE_MIN(n, r->n)) != 0)
			return -1;
	return tracker_settle(r->t);
}

/* --- setting up --------------------------------------------------------------------------------------- */

static int
rig_init(struct rig *r)
{
	struct tracker_params params = {
		.n_workers = 1,
		.n_mbufs = 4 * WINDOW - 1,
		.mbuf_size = LIFE_MAX_DATA,
		.name = "lives",
	};

	mqt_config_init(&params.config);
	params.config.limits.max_clients = r->n_slots;
	params.config.limits.max_connections = r->n_slots;
	params.config.limits.max_retained = r->n;
	r->order = bench_order(r->n);
	r->known = calloc(r->n, sizeof(*r->known));
	r->lives = calloc(r->window, sizeof(*r->lives));
	if (!r->order || !r->known || !r->lives)
		return -1;
	r->t = tracker_create(&params);
	return r->t ? 0 : -1;
}

static void
rig_fini(struct rig *r)
{
	tracker_destroy(r->t);
	free(r->order);
	free(r->known);
	free(r->lives);
	free(r);
}

static int
run_all(struct rig *r, unsigned runs, struct bench_samples s[N_KINDS][N_PARTS],
		struct bench_samples *interrupted)
{
	if (rig_init(r) != 0 || warm_up(r) != 0)
		return -1;
	for (unsigned kind = 0; kind < N_KINDS; kind++)
		for (unsigned run = 0; run <= runs; run++) {
			if (run == 1) /* what came before was the warm-up */
				memset(s[kind], 0, sizeof(s[kind]));
			r->n_interrupted = 0;
			if (run_once(r, kind, s[kind]) != 0)
				return -1;
			if (run > 0 && kind == NEW)
				interrupted->v[interrupted->n++] = (double)r->n_interrupted;
		}
	return 0;
}

int
bench_lives(const struct bench_args *args, struct bench_report *report)
{
	struct bench_samples(*s)[N_PARTS] = calloc(N_KINDS, sizeof(*s));
	struct bench_samples *interrupted = calloc(1, sizeof(*interrupted));
	struct rig *r = calloc(1, sizeof(*r));
	char name[64];
	int rc = 1;

	if (!s || !interrupted || !r)
		goto out;
	r->n = (uint32_t)(args->size ? args->size : DEFAULT_SIZE);
	r->window = RTE_MIN(WINDOW, RTE_MAX(r->n / 2, 1u));
	r->n_slots = RTE_MAX(RTE_MIN(5 * r->n, RTE_MAX(SLOTS_MAX, 2 * r->n)), SLOTS_MIN);
	if (bench_eal_init(TRACKER_MEM_MIB) != 0)
		goto out;
	rc = run_all(r, args->runs, s, interrupted) == 0 ? 0 : 1;
	if (rc)
		fprintf(stderr, "mqtrack-bench: lives: it did not end as it should\n");
	for (unsigned kind = 0; kind < N_KINDS && rc == 0; kind++)
		for (unsigned part = 0; part < N_PARTS; part++) {
			snprintf(name, sizeof(name), "%s%s", kind_names[kind], part_names[part]);
			bench_report_add(report, name, "lives/s", &s[kind][part], NULL, NULL);
		}
	if (rc == 0)
		bench_report_add(report, "lives.interrupted", "rounds", interrupted, NULL, NULL);
out:
	if (r && r->t)
		rig_fini(r);
	else
		free(r);
	free(interrupted);
	free(s);
	return rc;
}
