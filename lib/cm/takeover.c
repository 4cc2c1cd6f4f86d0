/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <errno.h>
#include <stdlib.h>

/*
 * Takeover: how the session of a living channel comes to a newcomer that resumes. It is a stepdown
 * in two steps (stepdown.c has requests, answers and limits; here is what they mean):
 *
 *	begin  the owner freezes the flow: from then on not one byte passes; it hands over the
 *	       session. From here on there is no way back, and end is always sent (R4).
 *	end    it hands over the pendings and closes the flow; its DOWN comes before the answer.
 *
 * With the answer to end the session, pendings joined, is attached to the old channel's row, which
 * becomes a retained one; and what remains to be done is what a newcomer does with retained sessions
 * anyway (inherit.c). So it does not matter whether the newcomer has died meanwhile, or another one
 * has superseded it: the session is there, retained (I7).
 *
 *	outcome                              the session
 *	begin: CLOSED came before (noproc)   retained already: read the channel again (R3)
 *	begin: DOWN came before (noproc)     there was none
 *	begin: no answer, or an error        the channel is killed; lost_by_kill, where it had one; if
 *	                                     it had closed by itself, only when its word does not come
 *	end: answered, or the flow was       retained, inherited next
 *	     gone by itself
 *	end: no answer, or an error          the channel is killed, the session discarded: it is not
 *	                                     known what of it is true; the newcomer starts afresh. The
 *	                                     same exception
 *
 * A session whose expiry is 0 ends with its connection, but a broker may well let it go on in a
 * takeover. It is kept then for this turn only, for the newcomer that says so.
 *
 * A takeover by command goes the same way, but there is no newcomer: the session is not retained, it
 * goes to the command, whatever its expiry, and the row is merely disconnected. The result told is
 * 0 exactly where the command has got the session: also where it was retained, before the command
 * came or, by a CLOSED that crossed begin, since.
 *
 * Synchronisation: control lcore only.
 * Sources: rules R3, R4, R7; invariants I4, I7; MQTT 5.0 §3.1.4, §4.1; emqx_cm:takeover_session.
 */

bool
cm_takeover_can(const struct mqt_cm *cm, const struct mqt_chan *row)
{
	if (cm_row_state(row) == MQT_CHAN_RETAINED)
		return cm_retained_due(cm, row) > cm->now_ns;
	return cm_row_up(row);
}

/* The command being served gets what it asked for. */
static void
hand_out(struct mqt_cm *cm, struct cm_lock *lock, const struct mqt_chan *row,
		struct mqt_session *session) MQT_REQUIRES(mqt_role_control)
{
	lock->cmd->session = session;
	lock->cmd->taken = row->id;
	cm_count(cm, MQT_C_SESSION_HANDED_OUT);
	cm_announce(cm, MQT_EVENT_TAKENOVER, MQT_REASON_TAKEN_OVER, row->id, mqt_chan_info(row),
			row->epoch, NULL);
}

void
cm_takeover_retained(struct mqt_cm *cm, struct cm_lock *lock, struct mqt_chan *row)
{
	hand_out(cm, lock, row, cm_retained_take(cm, row));
}

static int
begin_over(struct mqt_cm *cm, struct cm_note *note, struct mqt_chan *row)
		MQT_REQUIRES(mqt_role_control)
{
	struct cm_lock *lock = note->lock;
	struct cm_other other = cm_stepdown_for(lock);

	if (!row || !cm_row_up(row)) {
		if (!row || !lock->cmd || !cm_takeover_can(cm, row))
			return -ENOENT;
		cm_takeover_retained(cm, lock, row);
		return 0;
	}
	cm_stepdown_force(cm, note, row);
	if (cm_expiry_sec(cm, mqt_chan_info(row)) == 0) {
		cm_stepdown_announce(cm, lock, MQT_STEPDOWN_DISCARD, row);
		return -ETIMEDOUT;
	}
	cm_count(cm, MQT_C_SESSION_LOST_BY_KILL);
	cm_announce(cm, MQT_EVENT_LOST_BY_KILL, MQT_REASON_KILLED, row->id, mqt_chan_info(row),
			row->epoch, &other);
	return -ETIMEDOUT;
}

/* What is known of the channel at its end goes with its session. */
static void
set_final(struct mqt_cm *cm, const struct mqt_chan *row, struct mqt_session *session,
		uint32_t expiry_sec)
{
	struct mqt_session_final final = { .expiry_sec = expiry_sec };

	cm_chan_traffic(cm, row->id, final.counter, NULL);
	mqt_session_set_final(session, &final);
}

static int
end_over(struct mqt_cm *cm, struct cm_note *note, struct mqt_chan *row)
		MQT_REQUIRES(mqt_role_control)
{
	struct mqt_session *session = note->session;
	struct cm_lock *lock = note->lock;
	uint32_t expiry_sec;

	note->session = NULL;
	if (!row || cm_row_state(row) != MQT_CHAN_DISCONNECTED) {
		if (row && cm_row_up(row)) {
			cm_stepdown_force(cm, note, row);
			cm_stepdown_announce(cm, lock, MQT_STEPDOWN_DISCARD, row);
		}
		cm_session_discard(cm, session);
		return -ETIMEDOUT;
	}
	expiry_sec = cm_expiry_sec(cm, mqt_chan_info(row));
	if (!lock->cmd && expiry_sec == 0 &&
			!(lock->cur && cm_inherits(lock->cur->info, mqt_chan_info(row)))) {
		cm_session_discard(cm, session);
		return 0;
	}
	if (!session) /* one in which nothing has happened yet */
		session = mqt_session_create();
	if (!session)
		return -ENOMEM;
	cm_count(cm, MQT_C_TAKEOVERS);
	set_final(cm, row, session, expiry_sec);
	if (lock->cmd)
		hand_out(cm, lock, row, session);
	else if (cm_retain(cm, row, session, note->ended_ns))
		lock->taken = row->id;
	return 0;
}

int
cm_takeover_over(struct mqt_cm *cm, struct cm_note *note, struct mqt_chan *row)
{
	if (note->action == MQT_STEPDOWN_TAKEOVER_BEGIN)
		return begin_over(cm, note, row);
	return end_over(cm, note, row);
}
