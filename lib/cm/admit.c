/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

/*
 * Admission: the older channels have stepped down, or are killed (I4).
 *
 *	cm_open_stepped()  if a newer one waits by now, this one is refused and the newer one profits.
 *	                   Otherwise: registered behind the older rows, these are removed, GRANT,
 *	                   which carries the session that it inherits (inherit.c).
 *	cm_open_answer()   GRANTED or RETURN frees the lock (R4). RETURN says that it has died
 *	                   meanwhile and brings the session back: it is retained by the newcomer's
 *	                   row, which has been kept until now. So is an empty one where it inherited
 *	                   none: its broker has opened a session for it, and that goes on.
 *	cm_open_timeout()  no answer to GRANT in time: killed, and the session is lost with it. If it
 *	                   had closed by itself, its word is awaited for one more limit. Where its
 *	                   worker does not get its CPU and nobody else wants the client id, it may
 *	                   be late. (A newcomer not granted yet waited for room: refused.)
 *
 * Synchronisation: control lcore only.
 * Sources: rules R4, R7, R9; invariants I1, I2, I4, I7.
 */

static bool
rows_full(const struct mqt_cm *cm)
{
	struct mqt_maps_sizes sizes;

	mqt_maps_sizes(cm->maps, &sizes);
	return sizes.channels >= sizes.capacity;
}

/*
 * Registers the newcomer and removes its predecessors. Returns false where the maps refuse.
 * Sets @p estate to what it inherits.
 */
static bool
admit(struct mqt_cm *cm, struct cm_lock *lock, struct cm_estate *estate)
		MQT_REQUIRES(mqt_role_control)
{
	struct cm_note *note = lock->cur;

	lock->epoch = cm_chan_epoch(cm, &lock->digest);
	cm_inherit(cm, lock, estate);
	if (rows_full(cm) && lock->stepped)
		cm_lock_retire(cm, lock);
	if (rows_full(cm)) { /* its own was left behind on another broker */
		struct mqt_chan *evicted = cm_retained_evict(cm);

		if (evicted)
			cm_chan_remove(cm, evicted);
	}
	if (!cm_chan_insert(cm, note->chan, note->info, note->stamp_ns, lock->epoch)) {
		cm_inherit_undo(cm, estate);
		return false;
	}
	if (lock->stepped)
		cm_lock_retire(cm, lock);
	cm_gauges_update(cm); /* one that took another's place is not one more */
	return true;
}

static void
grant(struct mqt_cm *cm, struct cm_lock *lock, const struct cm_estate *estate)
		MQT_REQUIRES(mqt_role_control)
{
	struct cm_note *note = lock->cur;
	struct mqt_msg msg = {
		.type = MQT_MSG_GRANT,
		.chan = note->chan,
		.session = estate->session,
	};
	struct cm_other other = { .chan = lock->older, .peer = &lock->older_peer };

	cm_inherit_announce(cm, lock, estate);
	cm_announce(cm, MQT_EVENT_CONNECTED, MQT_REASON_NONE, note->chan, note->info, lock->epoch,
			lock->older != MQT_CHAN_NONE ? &other : NULL);
	cm_post(cm, &msg);
	cm_count(cm, MQT_C_GRANTS);
	cm_flap_opened(cm, lock);
	note->info = NULL; /* the maps' now */
	note->heir = estate->session != NULL;
	note->kind = CM_NOTE_GRANTED;
	note->kill = CM_KILL_NONE;
	cm_note_time(cm, note);
	lock->older = MQT_CHAN_NONE;
	lock->state = CM_LOCK_GRANTING;
}

void
cm_open_stepped(struct mqt_cm *cm, struct cm_lock *lock)
{
	struct cm_estate estate;

	if (!lock->cur) {
		cm_open_over(cm, lock);
		return;
	}
	if (lock->waiter) {
		cm_open_supersede(cm, lock->cur, lock->waiter->chan, lock->waiter->info);
		cm_open_over(cm, lock);
		return;
	}
	cm->reserved--;
	lock->reserved = false;
	if (admit(cm, lock, &estate))
		grant(cm, lock, &estate);
	else /* the row was set aside, so this is the hash tables' own limit */
		cm_open_refuse(cm, lock, MQT_REASON_TABLE_FULL, NULL);
}

/* --- the answer ---------------------------------------------------------------------------------- */

/*
 * What is left of a newcomer that died between its grant and its answer: the session it should
 * have inherited, or one that it had made by then, or one in which nothing has happened.
 */
static void
bury(struct mqt_cm *cm, struct cm_note *note, struct mqt_chan *row, struct mqt_session *inherited)
		MQT_REQUIRES(mqt_role_control)
{
	struct mqt_session *own = note->session, *session = inherited ? inherited : own;
	struct mqt_session_final final = { .expiry_sec = cm_expiry_sec(cm, mqt_chan_info(row)) };

	note->session = NULL;
	if (own)
		mqt_session_final(own, &final);
	else
		cm_chan_traffic(cm, row->id, final.counter, NULL);
	if (own != session)
		cm_session_discard(cm, own);
	if (final.expiry_sec == 0 && session) {
		cm_announce(cm, MQT_EVENT_DISCARDED, MQT_REASON_DISCARDED, row->id,
				mqt_chan_info(row), row->epoch, NULL);
		cm_session_discard(cm, session);
		session = NULL;
	} else if (final.expiry_sec > 0 && !session && !note->heir) {
		session = mqt_session_create();
	}
	if (session) {
		mqt_session_set_final(session, &final);
		if (cm_retain(cm, row, session, note->ended_ns))
			return;
	}
	cm_down_push(cm, row->id);
}

void
cm_open_answer(struct mqt_cm *cm, const struct mqt_msg *msg)
{
	struct cm_note *note = cm_note_find(&cm->notes, msg->chan);
	struct mqt_chan *row = mqt_maps_get(cm->maps, msg->chan);
	struct cm_lock *lock;

	if (!note || note->kind != CM_NOTE_GRANTED) {
		cm_unasked(cm, msg);
		return;
	}
	/* RETURN says that the newcomer is gone; then its DOWN came before */
	if (msg->type == MQT_MSG_RETURN && row && cm_row_up(row)) {
		cm_unexpected(cm, msg);
		return;
	}
	cm_count(cm, msg->type == MQT_MSG_GRANTED ? MQT_C_GRANTED : MQT_C_RETURNED);
	lock = note->lock;
	if (row && !cm_row_up(row))
		bury(cm, note, row, msg->session);
	else
		cm_session_discard(cm, msg->session);
	cm_open_gone(cm, note);
	cm_open_over(cm, lock);
	cm_lock_queue(cm, lock);
}

/* The session that its GRANT carried is where nobody answers. */
static void
lost_with(struct mqt_cm *cm, const struct cm_note *note, const struct mqt_chan *row)
		MQT_REQUIRES(mqt_role_control)
{
	if (!note->heir)
		return;
	cm_count(cm, MQT_C_SESSION_LOST_BY_KILL);
	cm_announce(cm, MQT_EVENT_LOST_BY_KILL, MQT_REASON_KILLED, row->id, mqt_chan_info(row),
			row->epoch, NULL);
}

static bool
may_be_late(const struct mqt_cm *cm, const struct cm_lock *lock, const struct cm_note *note)
		MQT_REQUIRES(mqt_role_control)
{
	return note->kill == CM_KILL_NONE && !lock->waiter && !lock->cmd_head &&
			cm_worker_rests(cm, mqt_chan_id_worker(note->chan));
}

void
cm_open_timeout(struct mqt_cm *cm, struct cm_note *note)
{
	struct cm_lock *lock = note->lock;
	struct mqt_chan *row = mqt_maps_get(cm->maps, note->chan);

	cm_lock_queue(cm, lock);
	if (note->kind == CM_NOTE_NEWCOMER) {
		cm_open_refuse(cm, lock, MQT_REASON_TABLE_FULL, NULL);
		return;
	}
	if (may_be_late(cm, lock, note)) {
		cm_orphan_if_stalled(cm, note->chan);
		cm_note_time(cm, note);
		return;
	}
	if (cm_stepdown_kill(cm, note, row)) {
		cm_note_time(cm, note);
		return;
	}
	cm->owners[mqt_chan_id_worker(note->chan)].late++;
	if (row && cm_row_up(row)) {
		bool hit = note->kill == CM_KILL_HIT;

		cm_note_await_down(cm, note);
		cm_chan_down(cm, row, hit ? MQT_REASON_KILLED : MQT_REASON_NONE);
		lost_with(cm, note, row);
		cm_chan_remove(cm, row);
	} else if (row) {
		lost_with(cm, note, row);
		bury(cm, note, row, NULL);
	}
	cm_open_gone(cm, note);
	cm_open_over(cm, lock);
}
