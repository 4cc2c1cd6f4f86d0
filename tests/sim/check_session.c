/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Sessions: what the tracker owes them (I7).
 *
 * A channel owes a session from the moment its CONNACK leaves, if that session outlives the
 * connection, or from the moment it inherits one. It is quit of it by an event that says what became
 * of the session: another one resumed it, it was discarded, kicked, expired, lost by its broker or
 * by a kill. A channel that leaves the maps while it owes one has lost it without a word: the flow
 * closed, an answer said `noproc`, and nobody read the channel again (R3); or a takeover failed half
 * way (R4).
 *
 * The contents of sessions are compared with the broker's at quiet points.
 */

#include "sim.h"

#include <string.h>

#define N_DEBTS 256

static struct {
	mqt_chan_id debtor[N_DEBTS];
	unsigned n;
} state;

void
sim_check_session_start(void)
{
	memset(&state, 0, sizeof(state));
}

static bool
outlives(const struct mqt_info *info)
{
	if (info->flags & MQT_INFO_ANONYMOUS)
		return false;
	return info->proto_ver == 5 ? info->expiry_sec > 0 : !(info->flags & MQT_INFO_CLEAN_START);
}

static void
quit(mqt_chan_id chan)
{
	for (unsigned i = 0; i < state.n; i++)
		if (state.debtor[i] == chan)
			state.debtor[i--] = state.debtor[--state.n];
}

static void
owe(struct sim_world *w, mqt_chan_id chan)
{
	const struct mqt_chan *c;
	bool owes;

	quit(chan);
	mqt_rcu_read_lock();
	c = mqt_cm_info(sim_tracker_cm(w), chan);
	owes = c && outlives(mqt_chan_info(c));
	mqt_rcu_read_unlock();
	if (!owes)
		return;
	if (state.n == N_DEBTS) {
		sim_fail(w, "setup", "more sessions than there can be");
		return;
	}
	state.debtor[state.n++] = chan;
}

void
sim_check_session_released(struct sim_world *w, mqt_chan_id chan)
{
	owe(w, chan);
}

void
sim_check_session_event(struct sim_world *w, const struct mqt_event *ev)
{
	switch (ev->type) {
	case MQT_EVENT_RESUMED:
		quit(ev->other);
		owe(w, ev->chan);
		break;
	case MQT_EVENT_LOST_BY_BROKER:
		quit(ev->other);
		break;
	case MQT_EVENT_DISCARDED:
	case MQT_EVENT_KICKED:
	case MQT_EVENT_EXPIRED:
	case MQT_EVENT_LOST_BY_KILL:
		quit(ev->chan);
		break;
	case MQT_EVENT_DISCONNECTED:
		if (ev->reason == MQT_REASON_KILLED || ev->reason == MQT_REASON_OPENING_TIMEOUT)
			quit(ev->chan);
		break;
	default:
		break;
	}
}

/* After all events of a step. */
void
sim_check_session_step(struct sim_world *w)
{
	mqt_rcu_read_lock();
	for (unsigned i = 0; i < state.n; i++) {
		mqt_chan_id chan = state.debtor[i];

		if (mqt_cm_info(sim_tracker_cm(w), chan))
			continue;
		sim_fail(w, "I7", "the session of %" PRIx64 " is gone without a word", chan);
		quit(chan);
	}
	mqt_rcu_read_unlock();
}
