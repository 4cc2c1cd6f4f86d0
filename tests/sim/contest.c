/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Contests: connections of one client id to all brokers within the same moment. No client leaves,
 * nothing is lost or swapped, and each broker keeps the last of its own and closes the others at
 * once. Then exactly one is left, whatever the order in which the workers look, however long one
 * of them sleeps meanwhile. Not judged is a contest in which the tracker had no room for something.
 *
 * Two kinds of steps: small ones, in which anything may overtake anything and hardly any time
 * passes; and long ones while a worker sleeps, in which the network brings all it has.
 */

#include "sim.h"

#include <string.h>

#define MAX_RIVALS 8
#define STEPS      2500

static void
carry_up(struct sim_world *w, struct sim_flow *f, enum sim_end end)
{
	struct sim_seg seg;

	if (sim_link_pop(&f->up[end], &seg))
		sim_tracker_input(w, f, end, &seg);
}

static void
carry_down(struct sim_world *w, struct sim_flow *f, enum sim_end end)
{
	struct sim_seg seg;

	if (sim_link_pop(&f->down[end], &seg))
		sim_peer_receive(w, f, end, &seg);
}

static struct {
	bool rival[SIM_FLOWS]; /* connects in this contest */
	uint64_t misses;       /* before it */
} state;

/* What the tracker had no room for: newcomers, and segments, which come again much later. */
static uint64_t
misses(struct sim_world *w)
{
	return sim_tracker_worker_counter(w, MQT_W_PARKED_DROPPED_FLOW) +
			sim_tracker_worker_counter(w, MQT_W_PARKED_DROPPED_WORKER) +
			sim_tracker_worker_counter(w, MQT_W_REORDER_DROPPED) +
			mqt_counter_get(&mqt_cm_counters(sim_tracker_cm(w))->v[MQT_C_TABLE_FULL]);
}

/* Flows that connect now. Returns how many. */
static unsigned
start(struct sim_world *w, unsigned domain, unsigned clientid)
{
	unsigned first = sim_below(&w->rng, SIM_FLOWS), n = 0;
	unsigned want = 2 + sim_below(&w->rng, MAX_RIVALS - 1);

	memset(&state, 0, sizeof(state));
	state.misses = misses(w);
	for (unsigned i = 0; i < SIM_FLOWS && n < want; i++) {
		struct sim_flow *f = &w->flow[(first + i) % SIM_FLOWS];

		if (f->domain != domain || f->peer[SIM_CLIENT].state != SIM_TCP_CLOSED ||
				f->peer[SIM_BROKER].state != SIM_TCP_CLOSED)
			continue;
		sim_app_start_as(w, f, clientid);
		state.rival[f->index] = true;
		n++;
	}
	return n;
}

static void
small_step(struct sim_world *w, unsigned sleeper)
{
	struct sim_flow *f = &w->flow[sim_below(&w->rng, SIM_FLOWS)];
	enum sim_end end = (enum sim_end)sim_below(&w->rng, SIM_ENDS);
	unsigned worker = sim_below(&w->rng, SIM_WORKERS);

	w->now_ns += sim_below(&w->rng, 20) * MQT_NS_PER_US;
	for (unsigned i = 0; i < 4; i++) {
		carry_up(w, f, end);
		carry_down(w, f, end);
		f = &w->flow[sim_below(&w->rng, SIM_FLOWS)];
	}
	sim_app_settle(w, f);
	if (worker != sleeper && sim_percent(&w->rng, 20))
		sim_tracker_worker_turn(w, worker);
	if (sim_percent(&w->rng, 20))
		sim_tracker_control_turn(w);
}

static void
long_step(struct sim_world *w, unsigned sleeper)
{
	for (unsigned i = 0; i < SIM_FLOWS; i++) {
		struct sim_flow *f = &w->flow[i];

		sim_app_settle(w, f);
		for (unsigned end = 0; end < SIM_ENDS; end++) {
			while (f->up[end].n)
				carry_up(w, f, (enum sim_end)end);
			while (f->down[end].n)
				carry_down(w, f, (enum sim_end)end);
		}
	}
	for (unsigned i = 0; i < SIM_WORKERS; i++)
		if (i != sleeper)
			sim_tracker_worker_turn(w, i);
	sim_tracker_control_turn(w);
	w->now_ns += sim_below(&w->rng, 2000) * MQT_NS_PER_US;
}

unsigned
sim_contest_run(struct sim_world *w, unsigned domain, unsigned clientid)
{
	unsigned n = start(w, domain, clientid), sleeper = SIM_WORKERS;

	for (unsigned i = 0; i < STEPS; i++) {
		if (sim_below(&w->rng, 200) == 0)
			sleeper = sim_below(&w->rng, 2 * SIM_WORKERS); /* perhaps nobody */
		if (sleeper < SIM_WORKERS && sim_percent(&w->rng, 30))
			long_step(w, sleeper);
		else
			small_step(w, sleeper);
		sim_check_step(w);
	}
	return n;
}

/* Whether the tracker had no room for something of it. */
static bool
overflown(struct sim_world *w)
{
	for (unsigned i = 0; i < SIM_FLOWS; i++)
		if (state.rival[i] && w->flow[i].released && !w->flow[i].tracked)
			return true;
	return misses(w) != state.misses;
}

/* Its broker has accepted it and keeps it. */
static bool
kept(const struct sim_flow *f)
{
	const struct sim_peer *b = &f->peer[SIM_BROKER];

	return b->answered && b->code == 0 && !b->ousted;
}

void
sim_contest_check(struct sim_world *w, unsigned domain, unsigned clientid)
{
	unsigned n_kept = 0, n_alive = 0;

	for (unsigned i = 0; i < SIM_FLOWS; i++) {
		const struct sim_flow *f = &w->flow[i];

		if (f->domain != domain || f->clientid != clientid)
			continue;
		n_kept += state.rival[i] && kept(f);
		n_alive += sim_check_alive(f);
	}
	if (n_kept == 0 || overflown(w))
		return;
	if (n_alive != 1)
		sim_fail(w, "I2", "%u connections of %s are left of a contest in domain %u",
				n_alive, sim_clientids[clientid], domain);
	w->stats.contests++;
}
