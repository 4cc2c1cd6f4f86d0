/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Storms: at a quiet point as many as can are connected, then all are dropped at once, and a
 * newcomer's CONNACK comes in the middle of it. It is answered in the turn of the control lcore that
 * reads it, granted, refused, or by asking the older one to step down, while no more than a slice
 * of those that went is unregistered. Counted in turns, not by a clock.
 */

#include "sim.h"

#define OWN_ROWS (SIM_BROKERS + 1) /* of the newcomer, removed at once: retained, and down */

static uint64_t
control_counter(struct sim_world *w, enum mqt_control_counter c)
{
	return mqt_counter_get(&mqt_cm_counters(sim_tracker_cm(w))->v[c]);
}

/* What an OPEN may be answered by. */
static uint64_t
answers(struct sim_world *w)
{
	return control_counter(w, MQT_C_GRANTS) + control_counter(w, MQT_C_STEPDOWNS) +
			control_counter(w, MQT_C_SUPERSEDED) + control_counter(w, MQT_C_TABLE_FULL);
}

static bool
is_closed(const struct sim_flow *f)
{
	return f->peer[SIM_CLIENT].state == SIM_TCP_CLOSED &&
			f->peer[SIM_BROKER].state == SIM_TCP_CLOSED;
}

struct sim_flow *
sim_storm_gather(struct sim_world *w)
{
	struct sim_flow *newcomer = NULL;

	for (unsigned i = 0; i < SIM_FLOWS; i++) {
		if (!is_closed(&w->flow[i]))
			continue;
		if (newcomer)
			sim_app_start_as(w, &w->flow[i], SIM_CLIENTIDS - 1);
		else
			newcomer = &w->flow[i];
	}
	return newcomer;
}

static void
bring(struct sim_world *w, struct sim_flow *f, enum sim_end end)
{
	struct sim_seg seg;

	while (sim_link_pop(&f->up[end], &seg))
		sim_tracker_input(w, f, end, &seg);
}

static void
run_workers(struct sim_world *w)
{
	for (unsigned i = 0; i < SIM_WORKERS; i++)
		while (sim_tracker_worker_turn(w, i))
			;
}

/* Lets a flow connect until its broker has answered; the answer is still on the wire. */
static bool
connect_until_answered(struct sim_world *w, struct sim_flow *f)
{
	struct sim_seg seg;

	for (unsigned i = 0; i < 100; i++) {
		for (unsigned end = 0; end < SIM_ENDS; end++) {
			bring(w, f, (enum sim_end)end);
			run_workers(w);
			while (sim_link_pop(&f->down[end], &seg))
				sim_peer_receive(w, f, (enum sim_end)end, &seg);
		}
		run_workers(w);
		if (f->peer[SIM_BROKER].hello) {
			bring(w, f, SIM_BROKER);
			run_workers(w);
			sim_app_settle(w, f);
			return f->peer[SIM_BROKER].answered && f->peer[SIM_BROKER].code == 0;
		}
	}
	return false;
}

static void
drop(struct sim_world *w, struct sim_flow *f)
{
	sim_peer_abort(w, f, SIM_CLIENT);
	bring(w, f, SIM_CLIENT);
}

void
sim_storm_break(struct sim_world *w, struct sim_flow *newcomer)
{
	uint64_t opens, downs, said, gone;
	unsigned slice = sim_tracker_config(w)->limits.down_slice;

	sim_app_start_as(w, newcomer, sim_below(&w->rng, SIM_CLIENTIDS - 1));
	if (!connect_until_answered(w, newcomer))
		return;
	sim_tracker_control_turn(w);
	opens = control_counter(w, MQT_C_OPENS);
	downs = control_counter(w, MQT_C_DOWN);
	said = answers(w);
	gone = control_counter(w, MQT_C_UNREGISTERED);
	for (unsigned i = 0; i < SIM_FLOWS; i++) {
		struct sim_flow *f = &w->flow[i];

		if (i == SIM_FLOWS / 2)
			bring(w, newcomer, SIM_BROKER);
		if (f != newcomer && f->peer[SIM_CLIENT].state == SIM_TCP_OPEN)
			drop(w, f);
	}
	run_workers(w);
	sim_tracker_control_turn(w);
	if (control_counter(w, MQT_C_OPENS) == opens)
		return; /* its CONNACK is cut in pieces, or it has no slot */
	downs = control_counter(w, MQT_C_DOWN) - downs;
	if (answers(w) == said)
		sim_fail(w, "R2", "a newcomer among %" PRIu64 " DOWNs is not answered in its turn",
				downs);
	if (control_counter(w, MQT_C_UNREGISTERED) - gone > slice + OWN_ROWS)
		sim_fail(w, "R2", "%" PRIu64 " channels unregistered in one turn",
				control_counter(w, MQT_C_UNREGISTERED) - gone);
	w->stats.storms += downs > slice;
}
