/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

/*
 * Inheritance: what becomes of a client's retained sessions when a newcomer is admitted. All its
 * older channels are down by then, and those that had something to leave are retained.
 *
 * The broker holds the real session; the tracker's belongs to one broker and is inherited there
 * only, and only where the broker says that it has it: session present in its CONNACK. MQTT 3.1
 * has no such flag, there the same broker is enough.
 *
 *	newcomer                          retained session     becomes
 *	clean start                       of the same broker   discarded
 *	resume, session present, or 3.1   of the same broker   inherited (resumed)
 *	resume, no session present        of the same broker   lost_by_broker
 *	any                               of another broker    stays (left_behind)
 *
 * A clean start ends what its own broker holds; the other one has not heard of it, and still has the
 * session when its client comes back there. A living channel is asked to discard on any broker.
 *
 * A newcomer with session present where there is nothing to inherit has adopted a session whose
 * contents nobody saw; any other has a fresh one.
 *
 * The rows of those that end are merely disconnected then; the lock removes them with the others.
 *
 * Synchronisation: control lcore only.
 * Sources: invariant I7; MQTT 5.0 §3.2.2.1.1; MQTT 3.1.1 §3.2.2.2; emqx_cm:open_session.
 */

bool
cm_inherits(const struct mqt_info *newcomer, const struct mqt_info *older)
{
	if ((newcomer->flags & MQT_INFO_CLEAN_START) || !mqt_info_same_broker(newcomer, older))
		return false;
	return (newcomer->flags & MQT_INFO_SESSION_PRESENT) || newcomer->proto_ver == 3;
}

/* Says of a session of @p row what became of it for the newcomer. */
static void
tell(struct mqt_cm *cm, const struct cm_lock *lock, enum mqt_event_type type,
		enum mqt_reason reason, const struct mqt_chan *row) MQT_REQUIRES(mqt_role_control)
{
	const struct cm_note *cur = lock->cur;
	struct cm_other older = cm_other_of(row);
	struct cm_other newer = { .chan = cur->chan, .info = cur->info };

	if (type == MQT_EVENT_DISCARDED || type == MQT_EVENT_TAKENOVER)
		cm_announce(cm, type, reason, row->id, mqt_chan_info(row), row->epoch, &newer);
	else
		cm_announce(cm, type, reason, cur->chan, cur->info, lock->epoch, &older);
}

/* The newest session that the newcomer goes on with; it may be due this very moment. */
static struct mqt_chan *
heir_of(struct mqt_cm *cm, const struct cm_lock *lock, struct mqt_chan *head)
		MQT_REQUIRES(mqt_role_control)
{
	struct mqt_chan *found = NULL;

	for (struct mqt_chan *row = head; row; row = cm_row_next(row)) {
		if (cm_row_state(row) != MQT_CHAN_RETAINED ||
				!cm_inherits(lock->cur->info, mqt_chan_info(row)))
			continue;
		if (cm_retained_due(cm, row) > cm->now_ns || row->id == lock->taken)
			found = row;
	}
	return found;
}

/* What happens to a retained session that is not inherited. Returns whether it stays. */
static bool
pass_over(struct mqt_cm *cm, struct cm_lock *lock, struct mqt_chan *row)
		MQT_REQUIRES(mqt_role_control)
{
	const struct mqt_info *newcomer = lock->cur->info;

	if (cm_retained_due(cm, row) <= cm->now_ns) {
		cm_retained_expire(cm, row, MQT_REASON_EXPIRED);
		return false;
	}
	if (!mqt_info_same_broker(newcomer, mqt_chan_info(row)))
		return true;
	if ((newcomer->flags & MQT_INFO_CLEAN_START) || cm_inherits(newcomer, mqt_chan_info(row))) {
		tell(cm, lock, MQT_EVENT_DISCARDED, MQT_REASON_DISCARDED, row);
		cm_retained_discard(cm, row);
		return false;
	}
	tell(cm, lock, MQT_EVENT_LOST_BY_BROKER, MQT_REASON_NONE, row);
	cm_count(cm, MQT_C_SESSION_LOST_BY_BROKER);
	mqt_session_destroy(cm_retained_take(cm, row));
	return false;
}

void
cm_inherit(struct mqt_cm *cm, struct cm_lock *lock, struct cm_estate *estate)
{
	struct mqt_chan *head = mqt_maps_head(cm->maps, &lock->digest);
	struct mqt_chan *heir = heir_of(cm, lock, head);
	const struct mqt_chan *left = NULL;

	*estate = (struct cm_estate){ .row = heir };
	for (struct mqt_chan *row = head; row; row = cm_row_next(row)) {
		if (cm_row_state(row) != MQT_CHAN_RETAINED || row == heir)
			continue;
		if (pass_over(cm, lock, row))
			left = row;
	}
	if (left) {
		tell(cm, lock, MQT_EVENT_LEFT_BEHIND, MQT_REASON_NONE, left);
		cm_count(cm, MQT_C_SESSION_LEFT_BEHIND);
	}
	if (heir) {
		estate->due_ns = cm_retained_due(cm, heir);
		estate->session = cm_retained_take(cm, heir);
	}
}

void
cm_inherit_undo(struct mqt_cm *cm, struct cm_estate *estate)
{
	if (!estate->session)
		return;
	if (mqt_maps_get(cm->maps, estate->row->id) != estate->row)
		cm_session_discard(cm, estate->session);
	else
		cm_retain_again(cm, estate->row, estate->session, estate->due_ns);
	estate->session = NULL;
}

void
cm_inherit_announce(struct mqt_cm *cm, const struct cm_lock *lock, const struct cm_estate *estate)
{
	const struct cm_note *cur = lock->cur;
	enum mqt_event_type type = MQT_EVENT_SESSION_CREATED;
	enum mqt_control_counter counter = MQT_C_SESSION_CREATED;

	if (estate->session) {
		if (estate->row->id == lock->taken)
			tell(cm, lock, MQT_EVENT_TAKENOVER, MQT_REASON_TAKEN_OVER, estate->row);
		tell(cm, lock, MQT_EVENT_RESUMED, MQT_REASON_NONE, estate->row);
		cm_count(cm, MQT_C_SESSION_RESUMED);
		return;
	}
	if (!(cur->info->flags & MQT_INFO_CLEAN_START) &&
			(cur->info->flags & MQT_INFO_SESSION_PRESENT)) {
		type = MQT_EVENT_ADOPTED;
		counter = MQT_C_SESSION_ADOPTED;
	}
	cm_announce(cm, type, MQT_REASON_NONE, cur->chan, cur->info, lock->epoch, NULL);
	cm_count(cm, counter);
}
