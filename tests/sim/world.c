/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * One run: the world, its steps, lost segments, quiet points, and the end of all flows.
 */

#include "sim.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_log.h>

#define QUIET_EVERY  2500
#define N_CONTESTS   3 /* at each quiet point */
#define SETTLE_MAX   20000
#define SETTLE_CALM  40
#define MAX_FAILURES 10

void
sim_fail(struct sim_world *w, const char *what, const char *fmt, ...)
{
	va_list ap;

	if (w->failures++ >= MAX_FAILURES)
		return;
	printf("seed %" PRIu64 " step %" PRIu64 ": %s: ", w->seed, w->step, what);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n  again: %s --seed %" PRIu64 " --steps %" PRIu64 "\n", w->program, w->seed,
			w->step + 1);
}

void
sim_trace(const struct sim_world *w, const struct sim_flow *f, const char *way,
		const struct sim_seg *seg)
{
	const struct sim_peer *c = &f->peer[SIM_CLIENT], *b = &f->peer[SIM_BROKER];
	bool from_client = way[0] == 'C' || strstr(way, ">B");
	uint32_t seq0 = from_client ? c->iss : b->iss, ack0 = from_client ? b->iss : c->iss;

	if (w->trace != (int)f->index)
		return;
	printf("%8" PRIu64 " %9.3f ms  %s  %s%s%s%s seq +%d ack +%d len %u", w->step,
			(double)(w->now_ns % (1000 * MQT_NS_PER_SEC)) / 1e6, way,
			seg->flags & MQT_TCP_SYN ? "S" : "", seg->flags & MQT_TCP_FIN ? "F" : "",
			seg->flags & MQT_TCP_RST ? "R" : "", seg->flags & MQT_TCP_ACK ? "." : "",
			(int)(seg->seq - seq0), (int)(seg->ack - ack0), seg->len);
	for (unsigned i = 0; i < seg->len && i < 8; i++)
		printf(" %02x", seg->data[i]);
	printf("\n");
}

static void
init_flows(struct sim_world *w)
{
	for (unsigned i = 0; i < SIM_FLOWS; i++) {
		struct sim_flow *f = &w->flow[i];

		f->index = i;
		f->domain = i % SIM_DOMAINS;
		f->broker = w->crowded ? i % 8 == 7 : i / SIM_DOMAINS % SIM_BROKERS;
		for (unsigned end = 0; end < SIM_ENDS; end++) {
			struct mqt_endpoint *ep = &f->ep[end];

			/* a broker of a domain has one address */
			ep->version = i % 3 == 2 ? 6 : 4;
			if (w->crowded)
				ep->version = f->domain == f->broker ? 4 : 6;
			if (ep->version == 6)
				memcpy(ep->ip, "\x20\x01\x0d\xb8", 4);
			else
				memcpy(ep->ip, "\xc0\x00\x02", 3);
			ep->ip[ep->version == 6 ? 15 : 3] =
					(uint8_t)(end == SIM_CLIENT ? 100 + i / 7 : 1 + f->broker);
			ep->port = (uint16_t)(end == SIM_CLIENT ? 40000 + i : 1883 + f->domain);
			f->queue[end] = (uint16_t)sim_below(&w->rng, SIM_WORKERS);
		}
		sim_transport_init(w, f);
	}
}

/* Brings one segment from an end to the tracker. */
static void
step_up(struct sim_world *w, struct sim_flow *f, enum sim_end end)
{
	struct sim_link *l = &f->up[end];
	struct sim_seg seg;

	if (w->faults && l->n > 1 && sim_percent(&w->rng, 4)) {
		struct sim_seg *a = &l->seg[l->head], *b = &l->seg[(l->head + 1) % SIM_LINK_MAX];

		seg = *a;
		*a = *b;
		*b = seg;
		w->stats.reorders++;
	}
	if (!sim_link_pop(l, &seg))
		return;
	if (w->faults && sim_percent(&w->rng, 2)) {
		w->stats.drops++;
		return;
	}
	sim_tracker_input(w, f, end, &seg);
	if (w->faults && sim_percent(&w->rng, 1))
		sim_tracker_input(w, f, end, &seg); /* the network repeats one */
	w->stats.deliveries++;
}

/* Brings one segment from the tracker to an end. */
static void
step_down(struct sim_world *w, struct sim_flow *f, enum sim_end end)
{
	struct sim_seg seg;

	if (!sim_link_pop(&f->down[end], &seg) || f->cut[end])
		return;
	if (w->faults && sim_percent(&w->rng, 2)) {
		w->stats.drops++;
		return;
	}
	sim_peer_receive(w, f, end, &seg);
	w->stats.deliveries++;
}

static void
step_time(struct sim_world *w)
{
	unsigned kind = sim_below(&w->rng, 5000);
	uint64_t ns;

	if (kind < 4950)
		ns = sim_below(&w->rng, 200) * MQT_NS_PER_US;
	else if (kind < 4999)
		ns = sim_below(&w->rng, 50) * MQT_NS_PER_MS;
	else
		ns = sim_below(&w->rng, 3000) * MQT_NS_PER_MS;
	w->now_ns += ns;
	if (ns < MQT_NS_PER_MS)
		return;
	for (unsigned i = 0; i < SIM_FLOWS; i++)
		for (unsigned end = 0; end < SIM_ENDS; end++)
			sim_peer_timeout(w, &w->flow[i], (enum sim_end)end);
}

static void
step_worker(struct sim_world *w)
{
	unsigned i = sim_below(&w->rng, SIM_WORKERS);

	if (sim_below(&w->rng, 500) == 0) {
		w->stalled_until[i] = w->now_ns + sim_below(&w->rng, 4000) * MQT_NS_PER_MS;
		w->stats.stalls++;
	}
	if (w->now_ns >= w->stalled_until[i])
		sim_tracker_worker_turn(w, i);
}

static void
step_control(struct sim_world *w)
{
	if (sim_below(&w->rng, 1000) == 0) {
		w->control_stalled_until = w->now_ns + sim_below(&w->rng, 2000) * MQT_NS_PER_MS;
		w->stats.stalls++;
	}
	if (w->now_ns >= w->control_stalled_until)
		sim_tracker_control_turn(w);
}

/* One segment of a random wire that has some. */
static void
step_wire(struct sim_world *w, bool up)
{
	unsigned first = sim_below(&w->rng, SIM_FLOWS * SIM_ENDS);

	for (unsigned i = 0; i < SIM_FLOWS * SIM_ENDS; i++) {
		unsigned at = (first + i) % (SIM_FLOWS * SIM_ENDS);
		struct sim_flow *f = &w->flow[at / SIM_ENDS];
		enum sim_end end = (enum sim_end)(at % SIM_ENDS);

		if ((up ? &f->up[end] : &f->down[end])->n == 0)
			continue;
		if (up)
			step_up(w, f, end);
		else
			step_down(w, f, end);
		return;
	}
}

static void
step(struct sim_world *w)
{
	struct sim_flow *f = &w->flow[sim_below(&w->rng, SIM_FLOWS)];
	unsigned what = sim_below(&w->rng, 1000);

	step_time(w);
	if (what < 300)
		step_wire(w, true);
	else if (what < 600)
		step_wire(w, false);
	else if (what < 740)
		step_worker(w);
	else if (what < 820)
		step_control(w);
	else if (what < 840)
		sim_tracker_grace(w);
	else if (what < 995)
		sim_app_act(w, f);
	else {
		sim_tracker_kick(w, sim_below(&w->rng, SIM_DOMAINS),
				sim_below(&w->rng, SIM_CLIENTIDS), sim_percent(&w->rng, 50));
		w->stats.kicks++;
	}
}

static bool
at_rest(struct sim_world *w)
{
	for (unsigned i = 0; i < SIM_FLOWS; i++) {
		struct sim_flow *f = &w->flow[i];

		for (unsigned end = 0; end < SIM_ENDS; end++)
			if (f->up[end].n || f->down[end].n || f->peer[end].rto_ns)
				return false;
	}
	return !sim_tracker_busy(w);
}

static void
settle_round(struct sim_world *w)
{
	for (unsigned i = 0; i < SIM_FLOWS; i++)
		for (unsigned end = 0; end < SIM_ENDS; end++)
			while (w->flow[i].up[end].n)
				step_up(w, &w->flow[i], (enum sim_end)end);
	for (unsigned k = 0; k < SIM_WORKERS; k++)
		while (sim_tracker_worker_turn(w, k))
			;
	sim_tracker_control_turn(w);
	sim_tracker_grace(w);
	for (unsigned i = 0; i < SIM_FLOWS; i++)
		for (unsigned end = 0; end < SIM_ENDS; end++) {
			while (w->flow[i].down[end].n)
				step_down(w, &w->flow[i], (enum sim_end)end);
			sim_peer_timeout(w, &w->flow[i], (enum sim_end)end);
		}
}

/* Lets everything under way come to its end, without faults. */
static void
settle(struct sim_world *w)
{
	unsigned calm = 0;

	w->faults = false;
	for (unsigned round = 0; round < SETTLE_MAX && calm < SETTLE_CALM; round++) {
		for (unsigned i = 0; i < SIM_FLOWS; i++)
			sim_app_settle(w, &w->flow[i]);
		settle_round(w);
		sim_check_step(w);
		calm = at_rest(w) ? calm + 1 : 0;
		w->now_ns += 20 * MQT_NS_PER_MS;
	}
	if (calm < SETTLE_CALM)
		sim_fail(w, "rest", "the tracker or a flow never comes to rest");
	memset(w->stalled_until, 0, sizeof(w->stalled_until));
	w->control_stalled_until = 0;
	w->stats.quiets++;
}

/* At a quiet point. */
static void
contest(struct sim_world *w)
{
	unsigned domain = sim_below(&w->rng, SIM_DOMAINS);
	unsigned clientid = sim_below(&w->rng, SIM_CLIENTIDS - 1); /* the last is nobody's */

	if (sim_contest_run(w, domain, clientid) == 0)
		return;
	settle(w);
	sim_contest_check(w, domain, clientid);
	sim_check_quiet(w);
}

/* At a quiet point. */
static void
storm(struct sim_world *w)
{
	struct sim_flow *newcomer = sim_storm_gather(w);

	settle(w);
	if (!newcomer)
		return;
	sim_storm_break(w, newcomer);
	settle(w);
	sim_check_quiet(w);
}

/* At a quiet point. */
static void
silence(struct sim_world *w)
{
	if (!sim_silence_begin(w))
		return;
	for (unsigned second = 0; sim_silence_second(w, second); second++) {
		settle_round(w);
		settle_round(w); /* and what it has brought about */
		sim_check_step(w);
	}
	settle(w);
	sim_silence_check(w);
	sim_check_quiet(w);
}

/* Every end leaves, or disappears without a word, which the tracker must find out by itself. */
static void
finish(struct sim_world *w)
{
	for (unsigned i = 0; i < SIM_FLOWS; i++)
		for (unsigned end = 0; end < SIM_ENDS; end++)
			if (sim_percent(&w->rng, 70))
				sim_peer_abort(w, &w->flow[i], (enum sim_end)end);
			else
				sim_peer_vanish(&w->flow[i], (enum sim_end)end);
	settle(w);
	for (unsigned hour = 0; hour < 6; hour++)
		for (unsigned i = 0; i < 720; i++) {
			w->now_ns += 5 * MQT_NS_PER_SEC;
			settle_round(w);
		}
	settle(w);
	sim_check_end(w);
}

static void
print_run(const struct sim_world *w)
{
	printf("seed %" PRIu64 ": %" PRIu64 " steps, %" PRIu64 " connects, %" PRIu64
	       " CONNACKs released, %" PRIu64 " kicks, %" PRIu64 " segments, %" PRIu64
	       " lost, %" PRIu64 " swapped, %" PRIu64 " stalls, %" PRIu64 " clock steps, %" PRIu64
	       " suspensions, %" PRIu64 " floods, %" PRIu64 " quiet points, %" PRIu64
	       " sessions compared, %" PRIu64 " of them resumed, %" PRIu64 " contests, %" PRIu64
	       " storms, %" PRIu64 " silences: %s\n",
			w->seed, w->step, w->stats.connects, w->stats.released, w->stats.kicks,
			w->stats.deliveries, w->stats.drops, w->stats.reorders, w->stats.stalls,
			w->stats.clock_steps, w->stats.suspensions, w->stats.floods,
			w->stats.quiets, w->stats.sessions, w->stats.resumed, w->stats.contests,
			w->stats.storms, w->stats.silences, w->failures ? "FAILED" : "ok");
}

int
sim_run(uint64_t seed, const struct sim_options *o)
{
	struct sim_world *w = calloc(1, sizeof(*w));
	char prefix[64];
	char *argv[] = { "sim", "--no-huge", "--no-shconf", "-m", "256", "--no-pci",
		"--no-telemetry", "--log-level=1", "--lcores=0", prefix, NULL };
	unsigned failures;

	if (!w)
		return 2;
	snprintf(prefix, sizeof(prefix), "--file-prefix=mqtsim%d", (int)getpid());
	if (rte_eal_init(10, argv) < 0) {
		fprintf(stderr, "sim: EAL does not start\n");
		return 2;
	}
	w->seed = seed;
	w->rng.state = seed * 0x2545f4914f6cdd1dull + 1;
	w->now_ns = 1000 * MQT_NS_PER_SEC;
	w->wall_offset_ns = SIM_WALL_NS;
	w->faults = true;
	w->crowded = seed / 16 % 2 == 1;
	w->verbose = o->verbose;
	w->trace = o->trace;
	w->program = o->program;
	init_flows(w);
	if (sim_tracker_start(w)) {
		fprintf(stderr, "sim: the tracker does not start\n");
		return 2;
	}
	sim_check_start(w);
	for (w->step = 0; w->step < o->steps && !w->failures; w->step++) {
		step(w);
		sim_check_step(w);
		sim_fault(w);
		if (w->step % QUIET_EVERY == QUIET_EVERY - 1) {
			settle(w);
			sim_check_quiet(w);
			for (unsigned i = 0; i < N_CONTESTS; i++)
				contest(w);
			silence(w);
			storm(w);
			w->faults = true;
		}
	}
	if (!w->failures)
		finish(w);
	if (o->verbose)
		sim_tracker_print(w);
	if (w->failures || !o->quiet)
		print_run(w);
	/* after a breach it stays as it is: packets are still under way */
	if (!w->failures)
		sim_tracker_stop(w);
	failures = w->failures;
	free(w);
	rmdir(rte_eal_get_runtime_dir());
	rte_eal_cleanup();
	fflush(stdout);
	return failures ? 1 : 0;
}
