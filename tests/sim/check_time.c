/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Time, as the tracker may and may not use it.
 *
 * Control time (R7) is measured here once more, from outside: the time between two turns of the
 * control lcore, where it is not so long that the lcore cannot have run. Nobody is killed, and no
 * worker is called stalled, who was not silent for the whole of the limit in that time. A worker
 * has spoken when it has had a turn and nothing from or to it waits outside the rings any more; so
 * who has answered is never blamed, however the clock jumped.
 *
 * Events carry the time of the turn that wrote them: the monotonic one never goes back, whatever
 * the wall clock does, and the two are as far apart as the world's clocks are (I8). Their numbers
 * have no hole.
 */

#include "sim.h"

#include <string.h>

#define LONGEST_GAP_NS (100 * MQT_NS_PER_MS) /* between two turns that follow each other */

static const enum mqt_control_counter blames[] = { MQT_C_KILLS, MQT_C_STEPDOWN_TIMEOUT,
	MQT_C_STALLS };

#define N_BLAMES (sizeof(blames) / sizeof(blames[0]))

static struct {
	uint64_t control_ns; /* control time */
	uint64_t turn_ns;    /* when the last turn began */
	struct {
		uint64_t turn_ns;  /* control time of its last turn */
		uint64_t spoke_ns; /* the same, where nothing was left to be said */
	} worker[SIM_WORKERS];
	uint64_t blamed[N_BLAMES];
	uint64_t event_mono_ns, event_seq;
} state;

void
sim_check_time_start(struct sim_world *w)
{
	memset(&state, 0, sizeof(state));
	state.turn_ns = w->now_ns;
}

void
sim_check_worker_turn(struct sim_world *w, unsigned worker)
{
	state.worker[worker].turn_ns = state.control_ns;
	if (!sim_tracker_backlog(w, worker))
		state.worker[worker].spoke_ns = state.control_ns;
}

/* Whether some worker was silent for so long; a kick may have waited meanwhile. */
static bool
anyone_silent(enum mqt_control_counter blame, const struct mqt_limits *limits)
{
	for (unsigned i = 0; i < SIM_WORKERS; i++) {
		uint64_t silent_ns = state.control_ns - state.worker[i].spoke_ns;

		if (blame == MQT_C_STALLS)
			silent_ns = state.control_ns - state.worker[i].turn_ns;
		if (silent_ns >= MQT_NS_PER_MS *
						(blame == MQT_C_STALLS ? limits->stall_ms
								       : limits->stepdown_local_ms -
												limits->kick_boundary_ms))
			return true;
	}
	return false;
}

void
sim_check_control_turn(struct sim_world *w, uint64_t began_ns)
{
	uint64_t gap = began_ns - state.turn_ns;

	if (gap <= LONGEST_GAP_NS)
		state.control_ns += gap;
	state.turn_ns = began_ns;
	for (unsigned i = 0; i < N_BLAMES; i++) {
		uint64_t n = sim_tracker_control_counter(w, blames[i]);

		if (n != state.blamed[i] &&
				!anyone_silent(blames[i], &sim_tracker_config(w)->limits))
			sim_fail(w, "R7", "%s: %" PRIu64 " more, and no worker was silent for long",
					mqt_control_counter_name(blames[i]), n - state.blamed[i]);
		state.blamed[i] = n;
	}
}

void
sim_check_event_time(struct sim_world *w, const struct mqt_event *ev)
{
	if (ev->seq != state.event_seq + 1)
		sim_fail(w, "I8", "event %" PRIu64 " follows event %" PRIu64, ev->seq,
				state.event_seq);
	if (ev->mono_ns < state.event_mono_ns || ev->mono_ns > w->now_ns)
		sim_fail(w, "I8", "event %" PRIu64 " at %" PRIu64 " ns, the one before at %" PRIu64,
				ev->seq, ev->mono_ns, state.event_mono_ns);
	if (ev->wall_ns != ev->mono_ns + (uint64_t)w->wall_offset_ns)
		sim_fail(w, "I8", "event %" PRIu64 " has another wall-clock time than there is",
				ev->seq);
	state.event_seq = ev->seq;
	state.event_mono_ns = ev->mono_ns;
}
