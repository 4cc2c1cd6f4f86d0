/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <stdlib.h>

#include <rte_common.h>

/*
 * Opening: from a parked CONNACK to its GRANT, or its refusal.
 *
 * Life of a newcomer: cm_open_read() notes it when its OPEN is read; cm_open_apply(), when all
 * rings have been read, brings all newcomers of the turn to their locks in the order of their
 * stamps; its lock serves it:
 *
 *	cm_open_begin()    looks up the older channels. A newcomer older than one of them is refused.
 *	                   Is there room? Nobody is stepped down for a newcomer that then could not
 *	                   be registered: a row of the maps is set aside first. Then every older
 *	                   channel that lives is asked to step down.
 *	cm_open_stepped()  all have, or are killed (I4). If a newer one waits by now, this one is
 *	                   refused and the newer one profits. Otherwise: registered behind the older
 *	                   rows, these are removed, GRANT.
 *	cm_open_answer()   GRANTED or RETURN frees the lock (R4).
 *	cm_open_died()     its DOWN came before it was registered: the info goes home at once, the
 *	                   lock goes on. After it was registered it is a channel like all others.
 *	cm_open_timeout()  no room in time: refused. No answer to GRANT in time: killed.
 *
 * Room. A row is free when its grace period is over, and the channels are at most max_clients.
 * A newcomer with an older channel takes over its place. One without waits, within the limit, as
 * long as something is on its way out, and is refused where nothing is. Where the maps are full
 * to the last place an older row must go before the newcomer's comes; this is the one case in
 * which a reader can see no channel of the client for a moment (R9).
 *
 * Synchronisation: control lcore only.
 * Sources: rules R2, R3, R4, R7, R9; invariants I1, I2, I4, I7.
 */

/* --- the end of a newcomer --------------------------------------------------------------------- */

static void
newcomer_gone(struct mqt_cm *cm, struct cm_note *note)
{
	cm_note_untime(cm, note);
	note->kind = CM_NOTE_NONE;
	note->info = NULL;
	note->lock = NULL;
	note->heir = false;
	cm_note_drop(cm, note);
}

static enum mqt_control_counter
counter_of(enum mqt_reason reason)
{
	switch (reason) {
	case MQT_REASON_SUPERSEDED:
		return MQT_C_SUPERSEDED;
	case MQT_REASON_POLICY:
		return MQT_C_REFUSED_POLICY;
	case MQT_REASON_USERNAME_MISMATCH:
		return MQT_C_REFUSED_USERNAME;
	case MQT_REASON_FLAPPING:
		return MQT_C_REFUSED_FLAPPING;
	default:
		return MQT_C_TABLE_FULL;
	}
}

/* Sends a newcomer home: says so, and gives it back its info. */
static void
turn_away(struct mqt_cm *cm, mqt_chan_id chan, struct mqt_info *info, enum mqt_reason reason,
		const struct cm_other *other) MQT_REQUIRES(mqt_role_control)
{
	bool superseded = reason == MQT_REASON_SUPERSEDED;
	struct mqt_msg msg = {
		.type = MQT_MSG_REFUSE,
		.reason = (uint8_t)reason,
		.chan = chan,
		.info = info,
	};

	if (reason == MQT_REASON_USERNAME_MISMATCH)
		cm_announce(cm, MQT_EVENT_ANOMALY, reason, chan, info, 0, other);
	cm_announce(cm, superseded ? MQT_EVENT_SUPERSEDED : MQT_EVENT_REFUSED, reason, chan, info,
			0, other);
	cm_count(cm, counter_of(reason));
	cm_post(cm, &msg);
}

static void
refuse(struct mqt_cm *cm, struct cm_note *note, enum mqt_reason reason,
		const struct cm_other *other) MQT_REQUIRES(mqt_role_control)
{
	turn_away(cm, note->chan, note->info, reason, other);
	newcomer_gone(cm, note);
}

static void
supersede(struct mqt_cm *cm, struct cm_note *note, mqt_chan_id by, const struct mqt_info *by_info)
		MQT_REQUIRES(mqt_role_control)
{
	struct cm_other other = { .chan = by, .peer = &by_info->peer };

	refuse(cm, note, MQT_REASON_SUPERSEDED, &other);
}

/* The lock's newcomer is no more; whoever waits is next. */
static void
cur_over(struct mqt_cm *cm, struct cm_lock *lock)
{
	lock->cur = NULL;
	if (lock->reserved) {
		lock->reserved = false;
		cm->reserved--;
	}
	if (lock->state == CM_LOCK_ROOM)
		TAILQ_REMOVE(&cm->for_room[lock->room], lock, by_room);
	lock->state = CM_LOCK_IDLE;
}

/* --- reading and applying ----------------------------------------------------------------------- */

bool
cm_open_space(struct mqt_cm *cm)
{
	uint32_t max = cm->max_opens ? 2 * cm->max_opens : 1024;
	struct cm_note **opens;

	if (cm->n_opens + CM_BURST <= cm->max_opens)
		return true;
	opens = realloc(cm->opens, max * sizeof(struct cm_note *));
	if (!opens)
		return false;
	cm->opens = opens;
	cm->max_opens = max;
	return true;
}

void
cm_open_read(struct mqt_cm *cm, const struct mqt_msg *msg)
{
	unsigned worker = mqt_chan_id_worker(msg->chan);
	struct cm_note *note;

	/* an id that is in use already cannot be opened again: its generation is not over (R1) */
	if (!msg->info || mqt_chan_id_slot(msg->chan) >= cm->owners[worker].o.slots.n ||
			cm_note_find(&cm->notes, msg->chan) || mqt_maps_get(cm->maps, msg->chan)) {
		cm_unexpected(cm, msg);
		return;
	}
	cm_count(cm, MQT_C_OPENS);
	note = cm_note_make(&cm->notes, msg->chan);
	if (!note) {
		turn_away(cm, msg->chan, msg->info, MQT_REASON_TABLE_FULL, NULL);
		return;
	}
	note->kind = CM_NOTE_READ;
	note->info = msg->info;
	note->stamp_ns = msg->stamp_ns;
	cm->opens[cm->n_opens++] = note;
}

static int
by_stamp(const void *a, const void *b)
{
	const struct cm_note *x = *(struct cm_note *const *)a;
	const struct cm_note *y = *(struct cm_note *const *)b;

	if (cm_older(x->stamp_ns, x->chan, y->stamp_ns, y->chan))
		return -1;
	return cm_older(y->stamp_ns, y->chan, x->stamp_ns, x->chan);
}

/* Whether the newcomer being served still stands in the way of older ones. */
static bool
cur_lives(struct mqt_cm *cm, const struct cm_lock *lock) MQT_REQUIRES(mqt_role_control)
{
	const struct mqt_chan *row;

	if (!lock->cur || lock->state != CM_LOCK_GRANTING)
		return lock->cur != NULL;
	row = mqt_maps_get(cm->maps, lock->cur->chan);
	return row && cm_row_up(row);
}

static const struct mqt_info *
newcomer_info(struct mqt_cm *cm, const struct cm_note *note) MQT_REQUIRES(mqt_role_control)
{
	return note->info ? note->info : mqt_maps_get(cm->maps, note->chan)->info;
}

void
cm_open_enter(struct mqt_cm *cm, struct cm_note *note)
{
	struct cm_lock *lock = cm_lock_get(cm, &note->info->digest);
	struct cm_other other = { MQT_CHAN_NONE, NULL };
	enum mqt_reason reason;
	struct cm_note *rival;

	if (!lock) {
		refuse(cm, note, MQT_REASON_TABLE_FULL, NULL);
		return;
	}
	note->kind = CM_NOTE_NEWCOMER;
	note->lock = lock;
	cm_lock_queue(cm, lock);
	reason = cm_policy(cm, lock, note->info, &other);
	if (reason != MQT_REASON_NONE) {
		refuse(cm, note, reason, &other);
		return;
	}
	rival = lock->waiter;
	if (!rival && cur_lives(cm, lock))
		rival = lock->cur;
	if (rival && cm_older(note->stamp_ns, note->chan, rival->stamp_ns, rival->chan)) {
		supersede(cm, note, rival->chan, newcomer_info(cm, rival));
		return;
	}
	if (lock->waiter)
		supersede(cm, lock->waiter, note->chan, note->info);
	lock->waiter = note;
}

void
cm_open_apply(struct mqt_cm *cm)
{
	if (cm->n_opens > 1)
		qsort(cm->opens, cm->n_opens, sizeof(struct cm_note *), by_stamp);
	for (uint32_t i = 0; i < cm->n_opens; i++) {
		struct cm_note *note = cm->opens[i];

		if (note->kind == CM_NOTE_DEAD)
			cm_note_free(&cm->notes, note);
		else if (!cm_contest_hold(cm, note))
			cm_open_enter(cm, note);
	}
	cm->n_opens = 0;
}

/* --- room ---------------------------------------------------------------------------------------- */

enum room {
	ROOM_YES,
	ROOM_SOON, /* something is on its way out */
	ROOM_NO,
};

/* Whether there is room. A connection comes before a session: the next to expire makes way. */
static enum room
room_for(struct mqt_cm *cm, enum cm_room_kind kind) MQT_REQUIRES(mqt_role_control)
{
	struct mqt_maps_sizes sizes;
	struct mqt_chan *evicted;

	mqt_maps_sizes(cm->maps, &sizes);
	if (sizes.free <= cm->reserved)
		return sizes.retired > 0 ? ROOM_SOON : ROOM_NO;
	if (kind != CM_ROOM_SWAP &&
			sizes.channels - mqt_cm_retained_count(cm) >=
					cm->config->limits.max_clients)
		return cm_down_pending(cm) ? ROOM_SOON : ROOM_NO;
	if (kind != CM_ROOM_NEW || sizes.channels < sizes.capacity)
		return ROOM_YES;
	if (cm_down_pending(cm))
		return ROOM_SOON;
	evicted = cm_retained_evict(cm);
	if (evicted)
		cm_down_push(cm, evicted->id);
	return evicted ? ROOM_SOON : ROOM_NO;
}

static enum cm_room_kind
room_kind(const struct mqt_chan *head)
{
	enum cm_room_kind kind = head ? CM_ROOM_BACK : CM_ROOM_NEW;

	for (const struct mqt_chan *row = head; row; row = cm_row_next(row)) {
		if (cm_row_state(row) != MQT_CHAN_RETAINED)
			kind = CM_ROOM_SWAP;
	}
	return kind;
}

static void
wait_for_room(struct mqt_cm *cm, struct cm_lock *lock, enum cm_room_kind kind)
{
	if (!lock->cur->timed)
		cm_note_time(cm, lock->cur);
	lock->state = CM_LOCK_ROOM;
	lock->room = (uint8_t)kind;
	TAILQ_INSERT_TAIL(&cm->for_room[kind], lock, by_room);
}

/* --- the steps ----------------------------------------------------------------------------------- */

/*
 * Looks over the older channels.
 * Returns the one that is newer than the newcomer, or NULL.
 */
static const struct mqt_chan *
survey(struct mqt_cm *cm, struct cm_lock *lock, const struct mqt_chan *head)
{
	const struct cm_note *cur = lock->cur;
	unsigned n_live = 0;

	for (const struct mqt_chan *row = head; row; row = cm_row_next(row)) {
		if (lock->epoch <= row->epoch)
			lock->epoch = row->epoch + 1;
		if (!cm_row_up(row))
			continue;
		if (cm_older(cur->stamp_ns, cur->chan, row->stamp_ns, row->id))
			return row;
		lock->older = row->id;
		lock->older_peer = row->info->peer;
		n_live++;
	}
	if (lock->epoch == 0)
		lock->epoch = 1;
	if (n_live > 1) {
		cm_count(cm, MQT_C_STALE_CHANNELS);
		if (!cm->stale_seen) {
			cm->stale_seen = true;
			CM_LOG(ERR,
					"a client id with more than one channel; counted from now "
					"on\n");
		}
	}
	return NULL;
}

static void
refuse_cur(struct mqt_cm *cm, struct cm_lock *lock, enum mqt_reason reason,
		const struct cm_other *other) MQT_REQUIRES(mqt_role_control)
{
	refuse(cm, lock->cur, reason, other);
	cur_over(cm, lock);
}

void
cm_open_begin(struct mqt_cm *cm, struct cm_lock *lock)
{
	struct mqt_chan *head = mqt_maps_head(cm->maps, &lock->digest);
	const struct mqt_chan *newer = survey(cm, lock, head);
	enum mqt_stepdown newest = lock->cur->info->flags & MQT_INFO_CLEAN_START
			? MQT_STEPDOWN_DISCARD
			: MQT_STEPDOWN_TAKEOVER_BEGIN;
	enum cm_room_kind kind = room_kind(head);
	struct cm_other other = { MQT_CHAN_NONE, NULL };
	enum mqt_reason reason;
	enum room room;

	if (newer) {
		supersede(cm, lock->cur, newer->id, newer->info);
		cur_over(cm, lock);
		return;
	}
	reason = cm_policy(cm, lock, lock->cur->info, &other);
	if (reason != MQT_REASON_NONE) {
		refuse_cur(cm, lock, reason, &other);
		return;
	}
	room = room_for(cm, kind);
	if (room == ROOM_NO) {
		refuse_cur(cm, lock, MQT_REASON_TABLE_FULL, NULL);
		return;
	}
	if (room == ROOM_SOON) {
		wait_for_room(cm, lock, kind);
		return;
	}
	cm_note_untime(cm, lock->cur);
	lock->reserved = true;
	cm->reserved++;
	lock->stepped = head != NULL; /* disconnected ones are finished with the others (R2) */
	lock->state = CM_LOCK_STEPPING;
	if (cm_stepdown_all(cm, lock, head, newest) < 0)
		refuse_cur(cm, lock, MQT_REASON_TABLE_FULL, NULL);
}

bool
cm_open_room(struct mqt_cm *cm, struct cm_lock *lock)
{
	if (lock->waiter) {
		supersede(cm, lock->cur, lock->waiter->chan, lock->waiter->info);
		cur_over(cm, lock);
		return true;
	}
	TAILQ_REMOVE(&cm->for_room[lock->room], lock, by_room);
	lock->state = CM_LOCK_IDLE;
	cm_open_begin(cm, lock);
	return lock->state != CM_LOCK_ROOM;
}

unsigned
cm_open_rooms(struct mqt_cm *cm)
{
	unsigned n = 0;

	for (unsigned kind = 0; kind < CM_N_ROOMS; kind++) {
		struct cm_lock *lock;

		while ((lock = TAILQ_FIRST(&cm->for_room[kind])) &&
				room_for(cm, kind) != ROOM_SOON) {
			cm_lock_run(cm, lock);
			n++;
		}
	}
	return n;
}

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
	if (lock->older != MQT_CHAN_NONE)
		cm_flap_seen(cm, lock);
	note->info = NULL; /* the maps' now */
	note->heir = estate->session != NULL;
	note->kind = CM_NOTE_GRANTED;
	cm_note_time(cm, note);
	lock->older = MQT_CHAN_NONE;
	lock->epoch++; /* for whoever comes while the lock is held */
	lock->state = CM_LOCK_GRANTING;
}

void
cm_open_stepped(struct mqt_cm *cm, struct cm_lock *lock)
{
	struct cm_estate estate;

	if (!lock->cur) {
		cur_over(cm, lock);
		return;
	}
	if (lock->waiter) {
		supersede(cm, lock->cur, lock->waiter->chan, lock->waiter->info);
		cur_over(cm, lock);
		return;
	}
	cm->reserved--;
	lock->reserved = false;
	if (admit(cm, lock, &estate))
		grant(cm, lock, &estate);
	else /* the row was set aside, so this is the hash tables' own limit */
		refuse_cur(cm, lock, MQT_REASON_TABLE_FULL, NULL);
}

/* --- how it goes on ------------------------------------------------------------------------------- */

/*
 * What is left of a newcomer that died between its grant and its answer: the session it should
 * have inherited, or one that it had made by then, or nothing.
 */
static void
bury(struct mqt_cm *cm, struct cm_note *note, struct mqt_chan *row, struct mqt_session *inherited)
		MQT_REQUIRES(mqt_role_control)
{
	struct mqt_session *own = note->session, *session = inherited ? inherited : own;
	struct mqt_session_final final = { .expiry_sec = cm_expiry_sec(cm, row->info) };
	uint64_t end_ns = own ? note->ended_ns : cm->now_ns;

	note->session = NULL;
	if (own)
		mqt_session_final(own, &final);
	else
		mqt_cm_stats(cm, row->id, final.counter, NULL);
	if (own != session)
		cm_session_discard(cm, own);
	if (session && final.expiry_sec > 0) {
		mqt_session_set_final(session, &final);
		if (cm_retain(cm, row, session, cm_expiry_due(end_ns, final.expiry_sec)))
			return;
	} else {
		cm_session_discard(cm, session);
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
	newcomer_gone(cm, note);
	cur_over(cm, lock);
	cm_lock_queue(cm, lock);
}

void
cm_open_died(struct mqt_cm *cm, struct cm_note *note)
{
	struct cm_lock *lock = note->lock;

	cm_count(cm, MQT_C_DEAD_WAITERS);
	cm_chan_release(cm, note->chan, note->info);
	note->info = NULL;
	if (note->kind == CM_NOTE_READ) { /* still in cm->opens, which will free it */
		cm_note_unlink(&cm->notes, note);
		note->kind = CM_NOTE_DEAD;
		return;
	}
	if (note->kind == CM_NOTE_HELD) {
		cm_contest_died(cm, note);
		newcomer_gone(cm, note);
		return;
	}
	if (lock->waiter == note) {
		lock->waiter = NULL;
	} else {
		lock->cur = NULL;
		if (lock->state == CM_LOCK_ROOM)
			cur_over(cm, lock);
	}
	newcomer_gone(cm, note);
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
	cm_announce(cm, MQT_EVENT_LOST_BY_KILL, MQT_REASON_KILLED, row->id, row->info, row->epoch,
			NULL);
}

void
cm_open_timeout(struct mqt_cm *cm, struct cm_note *note)
{
	struct cm_lock *lock = note->lock;
	struct mqt_chan *row = mqt_maps_get(cm->maps, note->chan);

	cm_lock_queue(cm, lock);
	if (note->kind == CM_NOTE_NEWCOMER) {
		refuse_cur(cm, lock, MQT_REASON_TABLE_FULL, NULL);
		return;
	}
	cm->owners[mqt_chan_id_worker(note->chan)].late++;
	if (row && cm_row_up(row)) {
		bool alive = cm_stepdown_kill(cm, note->chan);

		note->await_down = true;
		cm_chan_down(cm, row, alive ? MQT_REASON_KILLED : MQT_REASON_NONE);
		lost_with(cm, note, row);
		cm_chan_remove(cm, row);
	} else if (row) {
		lost_with(cm, note, row);
		bury(cm, note, row, NULL);
	}
	newcomer_gone(cm, note);
	cur_over(cm, lock);
}
