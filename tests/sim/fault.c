/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Faults beyond lost segments, one now and then between two steps.
 *
 *	clock steps     the wall clock goes forward or back by hours, or to 1970. The monotonic clock
 *	                knows nothing of it, so nothing but the times in events may change
 *	suspension      nobody runs while the monotonic clock goes on, by seconds, minutes or hours:
 *	                a machine that slept. It counts against nobody (R7; check_time.c)
 *	control rests   the control lcore does not run while the workers do, for longer than a newcomer
 *	                may wait: each is let in or refused by its worker (R7), and a frozen flow ends by
 *	                itself (R4)
 *	worker rests    one worker does not run while the control lcore does: its channels are orphans,
 *	                and when it is back they are not (R8)
 *	flood           a broker says more behind its CONNACK than may be parked (R12)
 *
 * The last three are directed: nothing else goes on meanwhile, so what must hold is known exactly.
 */

#include "sim.h"

#define FROZEN_EVERY  60  /* steps in which a flow is frozen */
#define FAULT_EVERY   300 /* steps, on average */
#define OPENING_NS    (20000 * MQT_NS_PER_MS)
#define REST_TICK_NS  (20 * MQT_NS_PER_MS)
#define STALL_TICKS   60 /* beyond the stall limit */
#define KILL_TICKS    40 /* beyond the stepdown limit */
#define WALK_TURNS    80 /* a slice of orphans each */
#define FLOOD_PACKETS 24
#define NS_PER_HOUR   (3600 * (int64_t)MQT_NS_PER_SEC)
#define TURNS_AT_MOST 1000

static void
step_wall(struct sim_world *w)
{
	int64_t by = (int64_t)(sim_random(&w->rng) % (72 * (uint64_t)NS_PER_HOUR));

	switch (sim_below(&w->rng, 8)) {
	case 0: /* a machine without a clock of its own */
		w->wall_offset_ns = by - (int64_t)w->now_ns;
		break;
	case 1: /* it has found a time server */
		w->wall_offset_ns = SIM_WALL_NS;
		break;
	default:
		w->wall_offset_ns += sim_percent(&w->rng, 50) ? by : -by;
	}
	if (w->wall_offset_ns < -(int64_t)w->now_ns)
		w->wall_offset_ns = -(int64_t)w->now_ns;
	w->stats.clock_steps++;
}

/*
 * A flow that is being reset is remembered for as long as a reset is tried again (R14), and no
 * segment gets to anybody meanwhile: what its ends say afterwards passes as what nobody knows.
 */
static void
forget_closing(struct sim_world *w)
{
	for (unsigned i = 0; i < SIM_FLOWS; i++)
		if (w->flow[i].silent || w->flow[i].ended)
			w->flow[i].silent = w->flow[i].tracked = false;
}

static void
suspend(struct sim_world *w)
{
	static const unsigned at_most_sec[] = { 2, 2, 2, 10, 10, 60, 600, 4 * 3600 };
	unsigned sec = at_most_sec[sim_below(&w->rng, 8)];

	w->now_ns += sim_random(&w->rng) % (sec * MQT_NS_PER_SEC);
	if (sec > 2)
		forget_closing(w);
	if (sim_percent(&w->rng, 30))
		step_wall(w);
	w->stats.suspensions++;
}

static void
run_workers(struct sim_world *w)
{
	unsigned n = 1;

	for (unsigned turns = 0; n > 0 && turns < TURNS_AT_MOST; turns++) {
		n = 0;
		for (unsigned i = 0; i < SIM_WORKERS; i++)
			n += sim_tracker_worker_turn(w, i);
	}
}

static unsigned
in_state(struct sim_world *w, unsigned worker, enum mqt_conn_state state)
{
	return atomic_load(&sim_tracker_gauges(w, worker)->state[state]);
}

static void
control_rests(struct sim_world *w)
{
	for (uint64_t ns = 0; ns <= OPENING_NS + MQT_NS_PER_SEC; ns += 5 * REST_TICK_NS) {
		w->now_ns += 5 * REST_TICK_NS;
		run_workers(w);
	}
	forget_closing(w);
	for (unsigned i = 0; i < SIM_WORKERS; i++) {
		if (in_state(w, i, MQT_CONN_OPENING))
			sim_fail(w, "R7", "worker %u: an OPENING beyond its limit", i);
		if (in_state(w, i, MQT_CONN_FROZEN))
			sim_fail(w, "R4", "worker %u: a frozen flow beyond its limit", i);
	}
	w->stats.stalls++;
}

/* How many rows of a worker are in this state. */
static unsigned
rows_in(struct sim_world *w, unsigned worker, enum mqt_chan_state state)
{
	const struct mqt_chan *c;
	unsigned n = 0;
	uint32_t pos = 0;

	mqt_rcu_read_lock();
	while ((c = mqt_cm_channels_next(sim_tracker_cm(w), &pos)))
		n += mqt_chan_id_worker(c->id) == worker && atomic_load(&c->state) == state;
	mqt_rcu_read_unlock();
	return n;
}

static void
tick_without(struct sim_world *w, unsigned resting, uint64_t ns)
{
	w->now_ns += ns;
	for (unsigned i = 0; i < SIM_WORKERS; i++)
		if (i != resting)
			sim_tracker_worker_turn(w, i);
	sim_tracker_control_turn(w);
	sim_check_step(w);
}

static void
worker_rests(struct sim_world *w)
{
	unsigned i = sim_below(&w->rng, SIM_WORKERS);

	for (unsigned k = 0; k < STALL_TICKS + KILL_TICKS; k++)
		tick_without(w, i, REST_TICK_NS);
	if (rows_in(w, i, MQT_CHAN_CONNECTED))
		sim_fail(w, "R8", "worker %u is stalled, and channels of it are live", i);
	for (unsigned k = 0; k < WALK_TURNS; k++)
		tick_without(w, SIM_WORKERS, MQT_NS_PER_US);
	if (rows_in(w, i, MQT_CHAN_ORPHANED))
		sim_fail(w, "R8", "worker %u answers again, and channels of it are not live", i);
	w->stats.stalls++;
}

static uint32_t
parked(struct sim_world *w)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < SIM_WORKERS; i++)
		n += atomic_load(&sim_tracker_gauges(w, i)->parked);
	return n;
}

static void
deliver(struct sim_world *w, struct sim_flow *f)
{
	struct sim_seg seg;

	while (sim_link_pop(&f->up[SIM_BROKER], &seg))
		sim_tracker_input(w, f, SIM_BROKER, &seg);
}

static void
flood(struct sim_world *w)
{
	struct sim_flow *f = &w->flow[sim_below(&w->rng, SIM_FLOWS)];
	uint32_t before, after, most = sim_tracker_config(w)->limits.parked_per_flow;

	for (unsigned i = 0; i < SIM_FLOWS && !sim_app_answers(f); i++)
		f = &w->flow[(f->index + 1) % SIM_FLOWS];
	if (!sim_app_answers(f))
		return;
	sim_app_publish(w, f); /* CONNACK, and something behind it */
	deliver(w, f);
	run_workers(w);
	before = parked(w);
	for (unsigned i = 0; i < FLOOD_PACKETS; i++) {
		sim_app_publish(w, f);
		deliver(w, f);
	}
	run_workers(w);
	after = parked(w);
	if (after > before + most)
		sim_fail(w, "R12", "flow %u: %u segments more are parked, %u at most", f->index,
				after - before, most);
	w->stats.floods++;
}

static bool
anyone_frozen(struct sim_world *w)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SIM_WORKERS; i++)
		n += in_state(w, i, MQT_CONN_FROZEN);
	return n > 0;
}

void
sim_fault(struct sim_world *w)
{
	if (anyone_frozen(w) && sim_below(&w->rng, FROZEN_EVERY) == 0)
		control_rests(w);
	if (sim_below(&w->rng, w->crowded ? 4 * FAULT_EVERY : FAULT_EVERY) != 0)
		return;
	switch (sim_below(&w->rng, 16)) {
	case 0:
		control_rests(w);
		break;
	case 1:
	case 2:
		worker_rests(w);
		break;
	case 3:
	case 4:
	case 5:
	case 6:
		flood(w);
		break;
	case 7:
	case 8:
	case 9:
	case 10:
		suspend(w);
		break;
	default:
		step_wall(w);
	}
}
