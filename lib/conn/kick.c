/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kicks that wait until the client can be told. A kick has time where a newcomer has not, so it
 * waits for the end of the packet that is on its way to an MQTT 5.0 client, for the client's
 * acknowledgement of all that was forwarded and for its window; where the will is to be suppressed,
 * for the same in the other direction. It waits for limits.kick_boundary_ms at most, then who cannot
 * be told gets RST. The time runs from the request, and the setting is shorter than
 * stepdown_local_ms, so that the control lcore has its answer before it would kill the channel (R7).
 *
 * Life-cycle: kick_waits() keeps the STEPDOWN; the flow goes on as it was, followed, with its own
 * timers. kick_poll() looks whether the wait is over, does the kick and answers. If the channel ends
 * before, in whatever way, channel_down() answers -ENOENT behind DOWN or CLOSED. At most KICKS_MAX
 * wait; others do not, nor does one for a flow that is not CONNECTED: a newcomer is refused, a
 * frozen flow passes nothing that could bring a boundary.
 *
 * Synchronisation: the worker's own. Kicks are done between bursts only, when nothing of the flow
 * waits in tx: the answer lets a newcomer in (R5).
 * Sources: MQTT 5.0 §3.14.4; DESIGN.md §3, R5, R7, R14.
 */
#include "conn_private.h"

bool
kick_waits(struct mqt_conns *cs, const struct conn *c, const struct mqt_msg *msg)
{
	uint64_t until_ns = msg->stamp_ns + cs->config->limits.kick_boundary_ms * MQT_NS_PER_MS;

	if (cs->now_ns >= until_ns || c->state != MQT_CONN_CONNECTED || cs->n_kicks == KICKS_MAX ||
			conn_is_killed(c) || !close_better_later(cs, c))
		return false;
	count(cs, MQT_W_KICK_WAITS);
	cs->kicks[cs->n_kicks++] = (struct kick){ .msg = *msg, .until_ns = until_ns };
	return true;
}

bool
kick_take(struct mqt_conns *cs, const struct conn *c, struct mqt_msg *msg)
{
	mqt_chan_id chan = conn_chan(cs, c);
	unsigned i = 0;

	while (i < cs->n_kicks && cs->kicks[i].msg.chan != chan)
		i++;
	if (i == cs->n_kicks)
		return false;
	*msg = cs->kicks[i].msg;
	cs->kicks[i] = cs->kicks[--cs->n_kicks];
	return true;
}

/* Whether the wait is over. */
static bool
is_due(struct mqt_conns *cs, const struct kick *kick, const struct conn *c)
{
	if (conn_is_killed(c) || !close_better_later(cs, c))
		return true;
	if (cs->now_ns < kick->until_ns)
		return false;
	count(cs, MQT_W_KICK_WAITS_OVER);
	return true;
}

unsigned
kick_poll(struct mqt_conns *cs)
{
	unsigned n = 0;

	for (unsigned i = cs->n_kicks; i > 0; i--) {
		const struct kick *kick = &cs->kicks[i - 1];
		struct conn *c = &cs->slots[mqt_chan_id_slot(kick->msg.chan)];
		struct mqt_msg msg;

		if (!is_due(cs, kick, c))
			continue;
		kick_take(cs, c, &msg);
		channel_kick(cs, c, &msg);
		n++;
	}
	return n;
}
