/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_common.h>

/*
 * DOWN and CLOSED: a flow is over. Two steps, so that a storm of them holds up nobody:
 *
 *	cm_down()        as it is read: out of the live map and `disconnected` said at once. It
 *	                 costs one table entry, and one look at who came a moment ago (contest.c)
 *	                 where anybody did. With CLOSED comes a session: then the channel
 *	                 becomes a retained one instead (retained.c).
 *	cm_down_slice()  at most `down_slice` a turn, in order: out of the other maps.
 *
 * Between the two the channel is a disconnected row. When its client opens again meanwhile, the
 * lock removes the row at once (R2), and the queue later finds it gone: ids are never used twice.
 *
 * What else a DOWN may find: a newcomer not registered (it dies, cm_open_died()); a channel that
 * was asked to step down (its lock will remove the row); one whose GRANT is not answered yet (its
 * row stays until it is, for GRANT may have carried a session that now comes back); one that was
 * killed (its RELEASE waited for this); nothing, for it crossed a REFUSE. A session that comes where
 * none is expected any more ends here.
 *
 * The queue is a ring with room for every channel there may be. Entries whose row is gone already
 * can fill it up; then the oldest entry is dealt with on the spot, so it can never be full.
 *
 * Synchronisation: none, control lcore only.
 * Sources: rules R2, R7 (no DOWN is lost), invariants I3, I6.
 */

#define AHEAD 32u /* channels */

int
cm_downs_init(struct cm_downs *downs, uint32_t n)
{
	n = rte_align32pow2(n);
	*downs = (struct cm_downs){ .mask = n - 1 };
	downs->ids = calloc(n, sizeof(mqt_chan_id));
	return downs->ids ? 0 : -ENOMEM;
}

void
cm_downs_fini(struct cm_downs *downs)
{
	free(downs->ids);
}

bool
cm_down_pending(const struct mqt_cm *cm)
{
	return cm->downs.head != cm->downs.tail;
}

/* Unregisters the oldest of the queue. Returns whether there was still something to do. */
static bool
pop(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control)
{
	struct cm_downs *downs = &cm->downs;
	struct mqt_chan *row = mqt_maps_get(cm->maps, downs->ids[downs->head++ & downs->mask]);

	if (row)
		cm_chan_remove(cm, row);
	return row != NULL;
}

/* At the begin of each group of the ring that is whole: loads ahead for the group. */
static void
ahead(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control)
{
	const struct cm_downs *downs = &cm->downs;
	uint32_t at = downs->head & downs->mask;

	if (at % AHEAD == 0 && downs->tail - downs->head >= AHEAD && downs->mask >= AHEAD)
		cm_ahead_removals(cm, &downs->ids[at], AHEAD);
}

void
cm_down_push(struct mqt_cm *cm, mqt_chan_id id)
{
	struct cm_downs *downs = &cm->downs;

	if (downs->tail - downs->head > downs->mask && pop(cm))
		cm->n_reopened++;
	downs->ids[downs->tail++ & downs->mask] = id;
}

/* It was killed, or unregistered without it: now its id may go home. */
static void
awaited(struct mqt_cm *cm, struct cm_note *note) MQT_REQUIRES(mqt_role_control)
{
	cm_note_had_down(cm, note);
	if (note->info)
		cm_chan_release(cm, note->chan, note->info);
	note->info = NULL;
	cm_note_drop(cm, note);
}

/* The flow of a registered channel is over; @p session is what outlives it, or NULL. */
static void
leave(struct mqt_cm *cm, struct mqt_chan *row, struct cm_note *note, struct mqt_session *session,
		uint64_t end_ns) MQT_REQUIRES(mqt_role_control)
{
	enum cm_note_kind kind = note ? (enum cm_note_kind)note->kind : CM_NOTE_NONE;

	if (note)
		note->ended_ns = end_ns;
	if (kind == CM_NOTE_GRANTED) { /* the answer to GRANT says what remains */
		note->session = session;
		return;
	}
	if (session && kind == CM_NOTE_ASKED && note->action == MQT_STEPDOWN_TAKEOVER_END) {
		cm_session_discard(cm, session); /* its session has been handed over already */
		return;
	}
	if (session && cm_retain(cm, row, session, end_ns))
		return;
	if (kind != CM_NOTE_ASKED)
		cm_down_push(cm, row->id);
}

static bool
by_client(enum mqt_reason reason)
{
	return reason == MQT_REASON_CLIENT_DISCONNECT || reason == MQT_REASON_CLIENT_CLOSED ||
			reason == MQT_REASON_CLIENT_RESET;
}

void
cm_down(struct mqt_cm *cm, const struct mqt_msg *msg)
{
	enum mqt_reason reason = msg->reason < MQT_N_REASONS ? (enum mqt_reason)msg->reason
							     : MQT_REASON_NONE;
	struct mqt_session *session = msg->type == MQT_MSG_CLOSED ? msg->session : NULL;
	struct cm_note *note = cm_note_find(&cm->notes, msg->chan);
	struct mqt_chan *row = mqt_maps_get(cm->maps, msg->chan);
	const struct mqt_info *info = row ? mqt_chan_info(row) : note ? note->info : NULL;

	cm_count(cm, MQT_C_DOWN);
	if (info && by_client(reason))
		cm_contest_left(cm, info, msg->chan);
	if (note && note->await_down) {
		awaited(cm, note);
	} else if (note &&
			(note->kind == CM_NOTE_READ || note->kind == CM_NOTE_HELD ||
					note->kind == CM_NOTE_NEWCOMER)) {
		cm_open_died(cm, note);
	} else if (!row || !cm_row_up(row)) {
		cm_count(cm, MQT_C_DOWN_UNKNOWN);
	} else {
		cm_chan_down(cm, row, reason);
		if (reason == MQT_REASON_BROKER_CLOSED || reason == MQT_REASON_BROKER_RESET)
			cm_flap_closed(cm, row);
		leave(cm, row, note, session, msg->stamp_ns);
		return;
	}
	cm_session_discard(cm, session);
}

unsigned
cm_down_slice(struct mqt_cm *cm)
{
	uint32_t slice = cm->config->limits.down_slice;
	/* entries whose row is gone already cost one look-up; they do not count, within reason */
	uint64_t looks = 16ull * slice;
	uint32_t n = 0;

	while (n < slice && looks-- > 0 && cm_down_pending(cm)) {
		ahead(cm);
		n += pop(cm);
	}
	return n;
}
