/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <errno.h>
#include <stdlib.h>

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
 * Where a takeover's kill finds the channel CLOSED, its CLOSED, which is on the way, brings the
 * session; so does an answer that nobody has read. These are awaited for one more limit: whom the
 * kill missed sends nothing any more, so nothing but time is at stake.
 *
 * A kill is one compare-and-swap of the slot's word (R5), so it hits this channel or nothing; its
 * worker sends nothing of the flow after it has seen it. In every case the channel is out of the
 * live map when its lock goes on: an older channel never lives on beside the newcomer (I1, I4).
 *
 * A channel that CLOSED itself before the request came is retained; a kick or a discard ends its
 * session then, as it does with one that was retained already, without asking anybody. A takeover
 * comes in two steps and hands over the session; what its outcomes mean, and its results, is told in
 * takeover.c.
 *
 * An answer that comes after the kill is expected and dropped; `late` counts how many may come.
 *
 * Synchronisation: control lcore; the slot's word is shared with its worker.
 */

bool
cm_stepdown_kill(struct mqt_cm *cm, struct cm_note *note, const struct mqt_chan *row)
{
	mqt_chan_id id = note->chan;
	const struct mqt_slots *slots = &cm->owners[mqt_chan_id_worker(id)].o.slots;
	bool alive;

	if (!row || !cm_row_up(row) || note->kill != CM_KILL_NONE)
		return false;
	alive = mqt_slot_leave(mqt_slots_at(slots, mqt_chan_id_slot(id)), id, MQT_SLOT_KILLED);
	note->kill = alive ? CM_KILL_HIT : CM_KILL_MISSED;
	cm_count(cm, alive ? MQT_C_KILLS : MQT_C_KILL_MISSED);
	return !alive;
}

struct cm_other
cm_stepdown_for(const struct cm_lock *lock)
{
	const struct cm_note *newcomer = lock->cur ? lock->cur : lock->waiter;

	if (!newcomer || lock->state != CM_LOCK_STEPPING)
		return (struct cm_other){ .chan = MQT_CHAN_NONE };
	return (struct cm_other){ newcomer->chan, newcomer->info, NULL };
}

void
cm_stepdown_announce(struct mqt_cm *cm, const struct cm_lock *lock, enum mqt_stepdown action,
		const struct mqt_chan *row)
{
	bool kick = action == MQT_STEPDOWN_KICK;
	struct cm_other other = cm_stepdown_for(lock);

	cm_count(cm, kick ? MQT_C_KICKED : MQT_C_DISCARDED);
	cm_announce(cm, kick ? MQT_EVENT_KICKED : MQT_EVENT_DISCARDED,
			kick ? MQT_REASON_KICKED : MQT_REASON_DISCARDED, row->id,
			mqt_chan_info(row), row->epoch, &other);
}

static enum mqt_reason
reason_of(enum mqt_stepdown action)
{
	switch (action) {
	case MQT_STEPDOWN_KICK:
		return MQT_REASON_KICKED;
	case MQT_STEPDOWN_TAKEOVER_BEGIN:
	case MQT_STEPDOWN_TAKEOVER_END:
		return MQT_REASON_TAKEN_OVER;
	default:
		return MQT_REASON_DISCARDED;
	}
}

int
cm_stepdown_force(struct mqt_cm *cm, struct cm_note *note, struct mqt_chan *row)
{
	bool hit = note->kill == CM_KILL_HIT;

	cm_note_await_down(cm, note);
	cm_chan_down(cm, row, hit ? MQT_REASON_KILLED : reason_of((enum mqt_stepdown)note->action));
	return hit ? -ETIMEDOUT : 0;
}

static void conclude(struct mqt_cm *cm, struct cm_note *note, int result)
		MQT_REQUIRES(mqt_role_control);

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
	if (lock->n_asks == 1 && lock->kept)
		conclude(cm, lock->kept, 0);
}

static void
request(struct mqt_cm *cm, struct cm_note *note, enum mqt_stepdown action)
		MQT_REQUIRES(mqt_role_control)
{
	struct mqt_msg msg = {
		.type = MQT_MSG_STEPDOWN,
		.action = (uint8_t)action,
		.chan = note->chan,
		.stamp_ns = cm->now_ns,
		.token = ++cm->next_token,
	};

	if (action == MQT_STEPDOWN_KICK)
		msg.code = cm_command_code(note->lock->cmd);
	note->action = (uint8_t)action;
	note->token = msg.token;
	cm_post(cm, &msg);
	cm_count(cm, MQT_C_STEPDOWNS);
	cm_note_time(cm, note);
}

/*
 * Concludes one step of a takeover. A session that was handed over stays in its note until all
 * others have stepped down: there it cannot expire or be evicted while the newcomer waits for them.
 */
static void
conclude_takeover(struct mqt_cm *cm, struct cm_note *note, struct mqt_chan *row)
		MQT_REQUIRES(mqt_role_control)
{
	struct cm_lock *lock = note->lock;
	bool up = row && cm_row_up(row);

	if (note->action == MQT_STEPDOWN_TAKEOVER_END && !up && lock->n_asks > 1) {
		cm_note_untime(cm, note);
		lock->kept = note;
		return;
	}
	lock->kept = NULL;
	settle(cm, note, cm_takeover_over(cm, note, row));
}

/* Concludes a stepdown: by @p result of the answer where the channel is down, else by force. */
static void
conclude(struct mqt_cm *cm, struct cm_note *note, int result) MQT_REQUIRES(mqt_role_control)
{
	struct mqt_chan *row = mqt_maps_get(cm->maps, note->chan);
	enum mqt_stepdown action = (enum mqt_stepdown)note->action;
	bool closing = cm_stepdown_kill(cm, note, row);

	if (action >= MQT_STEPDOWN_TAKEOVER_BEGIN) {
		if (closing)
			request(cm, note, action); /* its answer comes behind the word */
		else
			conclude_takeover(cm, note, row);
		return;
	}
	if (row && cm_row_up(row))
		result = cm_stepdown_force(cm, note, row);
	else if (result != -ENOENT)
		result = 0;
	if (row && cm_row_state(row) == MQT_CHAN_RETAINED) {
		cm_retained_discard(cm, row);
		result = 0;
	}
	if (row && result != -ENOENT)
		cm_stepdown_announce(cm, note->lock, action, row);
	settle(cm, note, result);
}

/* --- asking ----------------------------------------------------------------------------------- */

static void
ask(struct mqt_cm *cm, struct cm_lock *lock, mqt_chan_id chan, enum mqt_stepdown action)
		MQT_REQUIRES(mqt_role_control)
{
	struct cm_owner *owner = &cm->owners[mqt_chan_id_worker(chan)];
	struct cm_note *note = cm_note_find(&cm->notes, chan);

	note->kind = CM_NOTE_ASKED;
	note->kill = CM_KILL_NONE;
	note->action = (uint8_t)action;
	note->lock = lock;
	note->outcome = lock->cmd ? cm_command_found(lock->cmd, chan) : CM_NO_OUTCOME;
	lock->n_asks++;
	if (atomic_load_explicit(&owner->stalled, memory_order_relaxed)) {
		conclude(cm, note, -ETIMEDOUT);
		return;
	}
	request(cm, note, action);
}

/* A command about a session that nobody else holds. */
static void
step_retained(struct mqt_cm *cm, struct cm_lock *lock, struct mqt_chan *row,
		enum mqt_stepdown action) MQT_REQUIRES(mqt_role_control)
{
	uint8_t outcome = lock->cmd ? cm_command_found(lock->cmd, row->id) : CM_NO_OUTCOME;

	if (action == MQT_STEPDOWN_TAKEOVER_BEGIN) {
		cm_takeover_retained(cm, lock, row);
	} else {
		cm_retained_discard(cm, row);
		cm_stepdown_announce(cm, lock, action, row);
	}
	if (outcome != CM_NO_OUTCOME)
		cm_command_outcome(lock->cmd, outcome, 0);
}

int
cm_stepdown_one(struct mqt_cm *cm, struct cm_lock *lock, struct mqt_chan *row,
		enum mqt_stepdown action)
{
	if (cm_row_state(row) == MQT_CHAN_RETAINED)
		step_retained(cm, lock, row, action);
	if (!cm_row_up(row))
		return 0;
	if (!cm_note_make(&cm->notes, row->id))
		return -ENOMEM;
	ask(cm, lock, row->id, action);
	return 1;
}

int
cm_stepdown_all(struct mqt_cm *cm, struct cm_lock *lock, struct mqt_chan *head,
		enum mqt_stepdown newest)
{
	int n = 0;

	/* first whatever may fail: then all are asked, or none */
	for (struct mqt_chan *row = head; row; row = cm_row_next(row)) {
		if (cm_row_up(row) && !cm_note_make(&cm->notes, row->id))
			goto err_note;
	}
	for (struct mqt_chan *row = head; row; row = cm_row_next(row)) {
		if (!cm_row_up(row))
			continue;
		ask(cm, lock, row->id, row->id == lock->older ? newest : MQT_STEPDOWN_DISCARD);
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
	struct cm_note *note = cm_note_find(&cm->notes, msg->chan);

	if (!note || note->kind != CM_NOTE_ASKED || note->token != msg->token) {
		cm_unasked(cm, msg);
		return;
	}
	if (msg->result == 0)
		cm_count(cm, MQT_C_STEPDOWN_OK);
	else if (msg->result == -ENOENT)
		cm_count(cm, MQT_C_STEPDOWN_NOPROC);
	else
		cm_count(cm, MQT_C_STEPDOWN_ERROR);
	if (note->action == MQT_STEPDOWN_TAKEOVER_BEGIN && msg->result == 0) {
		note->session = msg->session; /* the point of no return: end follows (R4) */
		note->kill = CM_KILL_NONE;
		request(cm, note, MQT_STEPDOWN_TAKEOVER_END);
		return;
	}
	if (note->session)
		mqt_session_join_pendings(note->session, msg->pendings);
	else
		free(msg->pendings);
	mqt_session_destroy(msg->session); /* of an answer that has none to bring */
	conclude(cm, note, msg->result);
}

void
cm_stepdown_timeout(struct mqt_cm *cm, struct cm_note *note)
{
	struct mqt_chan *row = mqt_maps_get(cm->maps, note->chan);

	if (note->kill == CM_KILL_NONE)
		cm_count(cm, MQT_C_STEPDOWN_TIMEOUT);
	if (note->action >= MQT_STEPDOWN_TAKEOVER_BEGIN && cm_stepdown_kill(cm, note, row)) {
		cm_note_time(cm, note); /* the answer comes behind the word */
		return;
	}
	cm->owners[mqt_chan_id_worker(note->chan)].late++;
	conclude(cm, note, 0);
}
