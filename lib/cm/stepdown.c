/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <errno.h>

#include <rte_common.h>

/*
 * Stepping down: the request to the owner of an older channel, its answer, and what is done
 * without one.
 *
 *	outcome of STEPDOWN          the channel                           result told
 *	answer 0                     its DOWN came before: it is down      0
 *	answer -ENOENT (noproc)      the same, it was gone already (R3)    -ENOENT
 *	any other answer             killed                                -ETIMEDOUT
 *	0 or -ENOENT without a DOWN  killed: the answer cannot be right    -ETIMEDOUT
 *	none in time (R7)            killed                                -ETIMEDOUT
 *	not asked, worker stalled    killed (R8)                           -ETIMEDOUT
 *	kill finds it CLOSED         its DOWN is on the way: it is down    0
 *
 * A kill is one compare-and-swap of the slot's word (R5), so it hits this channel or nothing; its
 * worker sends nothing of the flow after it has seen it. In every case the channel is out of the
 * live map when its lock goes on: an older channel never lives on beside the newcomer (I1, I4).
 *
 * An answer that comes after the kill is expected and dropped; `late` counts how many may come.
 *
 * Synchronisation: control lcore; the slot's word is shared with its worker.
 */

bool
cm_stepdown_kill(struct mqt_cm *cm, mqt_chan_id id)
{
	const struct mqt_slots *slots = &cm->owners[mqt_chan_id_worker(id)].o.slots;
	bool alive = mqt_slot_leave(mqt_slots_at(slots, mqt_chan_id_slot(id)), id, MQT_SLOT_KILLED);

	cm_count(cm, alive ? MQT_C_KILLS : MQT_C_KILL_MISSED);
	return alive;
}

/* Says for whom the channel went. */
static void
announce_stepped(struct mqt_cm *cm, const struct cm_note *note, const struct mqt_chan *row)
		MQT_REQUIRES(mqt_role_control)
{
	bool kick = note->action == MQT_STEPDOWN_KICK;
	const struct cm_lock *lock = note->lock;
	const struct cm_note *newcomer = lock->cur ? lock->cur : lock->waiter;
	struct cm_other other;

	cm_count(cm, kick ? MQT_C_KICKED : MQT_C_DISCARDED);
	if (newcomer && lock->state == CM_LOCK_STEPPING)
		other = (struct cm_other){ newcomer->chan, &newcomer->info->peer };
	else
		other = (struct cm_other){ MQT_CHAN_NONE, NULL };
	cm_announce(cm, kick ? MQT_EVENT_KICKED : MQT_EVENT_DISCARDED,
			kick ? MQT_REASON_KICKED : MQT_REASON_DISCARDED, row->id, row->info,
			row->epoch, &other);
}

/* Takes a channel down by force. Returns the result to be told. */
static int
put_down(struct mqt_cm *cm, struct cm_note *note, struct mqt_chan *row)
		MQT_REQUIRES(mqt_role_control)
{
	bool alive = cm_stepdown_kill(cm, note->chan);
	enum mqt_reason missed = note->action == MQT_STEPDOWN_KICK ? MQT_REASON_KICKED
								   : MQT_REASON_DISCARDED;

	note->await_down = true;
	cm_chan_down(cm, row, alive ? MQT_REASON_KILLED : missed);
	return alive ? -ETIMEDOUT : 0;
}

/* The note has done its part. */
static void
settle(struct mqt_cm *cm, struct cm_note *note, int result) MQT_REQUIRES(mqt_role_control)
{
	struct cm_lock *lock = note->lock;

	if (note->outcome != CM_NO_OUTCOME)
		cm_command_outcome(lock->cmd, note->outcome, result);
	cm_note_untime(cm, note);
	note->kind = CM_NOTE_NONE;
	note->lock = NULL;
	note->outcome = CM_NO_OUTCOME;
	cm_note_drop(cm, note);
	lock->n_asks--;
	cm_lock_queue(cm, lock);
}

/* Concludes a stepdown: by @p result of the answer where the channel is down, else by force. */
static void
conclude(struct mqt_cm *cm, struct cm_note *note, int result) MQT_REQUIRES(mqt_role_control)
{
	struct mqt_chan *row = mqt_maps_get(cm->maps, note->chan);

	if (row && cm_row_state(row) != MQT_CHAN_DISCONNECTED)
		result = put_down(cm, note, row);
	else if (result != -ENOENT)
		result = 0;
	if (row && result != -ENOENT)
		announce_stepped(cm, note, row);
	settle(cm, note, result);
}

/* --- asking ----------------------------------------------------------------------------------- */

static void
ask(struct mqt_cm *cm, struct cm_lock *lock, mqt_chan_id chan, enum mqt_stepdown action)
		MQT_REQUIRES(mqt_role_control)
{
	struct cm_owner *owner = &cm->owners[mqt_chan_id_worker(chan)];
	struct cm_note *note = cm_note_find(&cm->notes, chan);
	struct mqt_msg msg = {
		.type = MQT_MSG_STEPDOWN,
		.action = (uint8_t)action,
		.chan = chan,
		.token = ++cm->next_token,
	};

	note->kind = CM_NOTE_ASKED;
	note->action = (uint8_t)action;
	note->lock = lock;
	note->token = msg.token;
	note->outcome = lock->cmd ? cm_command_found(lock->cmd, chan) : CM_NO_OUTCOME;
	lock->n_asks++;
	if (atomic_load_explicit(&owner->stalled, memory_order_relaxed)) {
		conclude(cm, note, -ETIMEDOUT);
		return;
	}
	cm_post(cm, &msg);
	cm_count(cm, MQT_C_STEPDOWNS);
	cm_note_time(cm, note);
}

int
cm_stepdown_one(struct mqt_cm *cm, struct cm_lock *lock, struct mqt_chan *row,
		enum mqt_stepdown action)
{
	if (cm_row_state(row) == MQT_CHAN_DISCONNECTED)
		return 0;
	if (!cm_note_make(&cm->notes, row->id))
		return -ENOMEM;
	ask(cm, lock, row->id, action);
	return 1;
}

int
cm_stepdown_all(struct mqt_cm *cm, struct cm_lock *lock, struct mqt_chan *head,
		enum mqt_stepdown action)
{
	int n = 0;

	/* first whatever may fail: then all are asked, or none */
	for (struct mqt_chan *row = head; row; row = cm_row_next(row)) {
		if (cm_row_state(row) == MQT_CHAN_DISCONNECTED)
			continue;
		if (!cm_note_make(&cm->notes, row->id))
			goto err_note;
	}
	for (struct mqt_chan *row = head; row; row = cm_row_next(row)) {
		if (cm_row_state(row) == MQT_CHAN_DISCONNECTED)
			continue;
		ask(cm, lock, row->id, action);
		n++;
	}
	return n;
err_note:
	for (struct mqt_chan *row = head; row; row = cm_row_next(row)) {
		struct cm_note *note = cm_note_find(&cm->notes, row->id);

		if (note)
			cm_note_drop(cm, note);
	}
	return -ENOMEM;
}

/* --- answers ------------------------------------------------------------------------------------ */

void
cm_stepdown_answer(struct mqt_cm *cm, const struct mqt_msg *msg)
{
	struct cm_owner *owner = &cm->owners[mqt_chan_id_worker(msg->chan)];
	struct cm_note *note = cm_note_find(&cm->notes, msg->chan);

	if (!note || note->kind != CM_NOTE_ASKED || note->token != msg->token) {
		if (owner->late > 0)
			owner->late--;
		else
			cm_unexpected(cm, msg);
		return;
	}
	if (msg->result == 0)
		cm_count(cm, MQT_C_STEPDOWN_OK);
	else if (msg->result == -ENOENT)
		cm_count(cm, MQT_C_STEPDOWN_NOPROC);
	else
		cm_count(cm, MQT_C_STEPDOWN_ERROR);
	conclude(cm, note, msg->result);
}

void
cm_stepdown_timeout(struct mqt_cm *cm, struct cm_note *note)
{
	cm_count(cm, MQT_C_STEPDOWN_TIMEOUT);
	cm->owners[mqt_chan_id_worker(note->chan)].late++;
	conclude(cm, note, 0);
}
