/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Readers of the maps.
 *
 * The slow reader stands on a row for many steps. As long as it does, no grace period ends, and
 * nothing of the row may change (R10).
 *
 * The quick reader looks between the steps that the control lcore takes in the maps: the registry
 * is told after each. It sees at most one live channel of a client (I1), each channel by its id and
 * by its client (I5), and it notes whom a newcomer finds when it is registered. When an event says
 * later whose place the newcomer has taken, or whose session, that one must have been there still
 * (R9): else a reader in between would have seen no channel at all. Where a command has ended it, or
 * the maps are full to the last row, the old one goes first.
 */

#include "sim.h"

#include <string.h>

static struct {
	/* the slow reader's */
	const struct mqt_chan *held;
	mqt_chan_id held_id;
	const struct mqt_info *held_info;
	uint16_t held_keepalive;
	/* the quick reader's: of the client that was left without a channel last */
	struct mqt_digest left;
	mqt_chan_id left_by, alone;
	mqt_chan_id commanded; /* ended by a command last */
	bool full;             /* the maps were, in this turn */
} state;

void
sim_check_reader_start(void)
{
	memset(&state, 0, sizeof(state));
	state.left_by = state.alone = state.commanded = MQT_CHAN_NONE;
}

/* --- the slow one -------------------------------------------------------------------------------- */

bool
sim_check_reading(void)
{
	return state.held != NULL;
}

void
sim_check_slow_reader(struct sim_world *w)
{
	const struct mqt_chan *c;
	uint32_t pos;

	if (state.held) {
		if (state.held->id != state.held_id ||
				mqt_chan_info(state.held) != state.held_info ||
				state.held_info->keepalive_sec != state.held_keepalive)
			sim_fail(w, "R10", "row of %" PRIx64 " changed under a reader",
					state.held_id);
		if (!w->faults || sim_below(&w->rng, 200) == 0)
			state.held = NULL;
		return;
	}
	if (!w->faults || sim_below(&w->rng, 20) != 0)
		return;
	pos = sim_below(&w->rng, 16);
	mqt_rcu_read_lock();
	c = mqt_cm_channels_next(sim_tracker_cm(w), &pos);
	if (c) {
		state.held = c;
		state.held_id = c->id;
		state.held_info = mqt_chan_info(c);
		state.held_keepalive = mqt_chan_info(c)->keepalive_sec;
	}
	mqt_rcu_read_unlock();
}

/* --- the quick one ------------------------------------------------------------------------------- */

/* Looks at all channels of a client. @return how many there are. */
static unsigned
look(struct sim_world *w, const struct mqt_digest *digest)
{
	const struct mqt_maps *maps = mqt_cm_maps(sim_tracker_cm(w));
	const struct mqt_chan *c;
	unsigned n = 0, n_live = 0;

	mqt_rcu_read_lock();
	for (c = mqt_maps_lookup(maps, digest); c; c = mqt_chan_next(c)) {
		n++;
		n_live += mqt_maps_is_live(maps, c->id);
		if (mqt_maps_info(maps, c->id) != c)
			sim_fail(w, "I5", "a reader finds %" PRIx64 " by its client only", c->id);
	}
	mqt_rcu_read_unlock();
	if (n_live > 1)
		sim_fail(w, "I1", "a reader finds %u live channels of one client", n_live);
	return n;
}

void
sim_check_registered(struct sim_world *w, const struct mqt_digest *digest, mqt_chan_id id)
{
	unsigned n = look(w, digest);

	if (n == 0)
		sim_fail(w, "I5", "a reader does not find %" PRIx64 " by its client", id);
	if (n == 1 && mqt_digest_equal(digest, &state.left))
		state.alone = id;
}

void
sim_check_unregistered(struct sim_world *w, const struct mqt_digest *digest, mqt_chan_id id)
{
	struct mqt_maps_sizes sizes;

	mqt_maps_sizes(mqt_cm_maps(sim_tracker_cm(w)), &sizes);
	state.full = state.full || sizes.channels + 1 >= sizes.capacity;
	if (look(w, digest) > 0 || state.full)
		return;
	state.left = *digest;
	state.left_by = id;
	state.alone = MQT_CHAN_NONE;
}

void
sim_check_reader_turn(void)
{
	state.full = false;
}

void
sim_check_reader_event(struct sim_world *w, const struct mqt_event *ev)
{
	switch (ev->type) {
	case MQT_EVENT_KICKED:
	case MQT_EVENT_DISCARDED:
		if (ev->other == MQT_CHAN_NONE)
			state.commanded = ev->chan;
		break;
	case MQT_EVENT_CONNECTED:
	case MQT_EVENT_RESUMED:
		if (ev->other != MQT_CHAN_NONE && ev->other == state.left_by &&
				ev->other != state.commanded && ev->chan == state.alone)
			sim_fail(w, "R9", "%" PRIx64 " was gone before %" PRIx64 " was there",
					ev->other, ev->chan);
		break;
	default:
		break;
	}
}
