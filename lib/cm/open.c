/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

/*
 * Opening: from a parked CONNACK to its place at the head of its client's lock; refusals on the
 * way. Admission, from there to GRANT and its answer, is admit.c.
 *
 * Life of a newcomer: cm_open_read() notes it when its OPEN is read; cm_open_apply(), when all
 * rings have been read, brings all newcomers of the turn to their locks in the order of their
 * stamps; its lock serves it:
 *
 *	cm_open_begin()    looks up the older channels. A newcomer older than one of them is refused.
 *	                   Is there room? Nobody is stepped down for a newcomer that then could not
 *	                   be registered: a row of the maps is set aside first. Then every older
 *	                   channel that lives is asked to step down.
 *	cm_open_stepped()  all have, or are killed (I4): admit.c
 *	cm_open_died()     its DOWN came before it was registered: the info goes home at once, the
 *	                   lock goes on. After it was registered it is a channel like all others.
 *	cm_open_timeout()  no room in time (room.c): refused.
 *
 * Synchronisation: control lcore only.
 * Sources: rules R2, R3, R7; invariants I2, I4.
 */

#define AHEAD 32u /* newcomers */

/* --- the end of a newcomer --------------------------------------------------------------------- */

void
cm_open_gone(struct mqt_cm *cm, struct cm_note *note)
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
	uint64_t epoch = cm_chan_epoch(cm, &info->digest);
	struct mqt_msg msg = {
		.type = MQT_MSG_REFUSE,
		.reason = (uint8_t)reason,
		.chan = chan,
		.info = info,
	};

	if (reason == MQT_REASON_USERNAME_MISMATCH)
		cm_announce(cm, MQT_EVENT_ANOMALY, reason, chan, info, epoch, other);
	cm_announce(cm, superseded ? MQT_EVENT_SUPERSEDED : MQT_EVENT_REFUSED, reason, chan, info,
			epoch, other);
	cm_count(cm, counter_of(reason));
	cm_post(cm, &msg);
}

static void
refuse(struct mqt_cm *cm, struct cm_note *note, enum mqt_reason reason,
		const struct cm_other *other) MQT_REQUIRES(mqt_role_control)
{
	turn_away(cm, note->chan, note->info, reason, other);
	cm_open_gone(cm, note);
}

void
cm_open_supersede(struct mqt_cm *cm, struct cm_note *note, mqt_chan_id by,
		const struct mqt_info *by_info)
{
	struct cm_other other = { .chan = by, .info = by_info };

	refuse(cm, note, MQT_REASON_SUPERSEDED, &other);
}

/* The lock's newcomer is no more; whoever waits is next. */
void
cm_open_over(struct mqt_cm *cm, struct cm_lock *lock)
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
	opens = realloc(cm->opens, 2 * (size_t)max * sizeof(struct cm_note *));
	if (!opens)
		return false;
	cm->opens = opens;
	cm->max_opens = max;
	return true;
}

int
mqt_cm_open(struct mqt_cm *cm, mqt_chan_id id, struct mqt_info *info, uint64_t stamp_ns)
{
	struct cm_note *note;

	if (!info || !cm_chan_has_slot(cm, id))
		return -EINVAL;
	/* an id that is in use already cannot be opened again: its generation is not over (R1) */
	if (cm_note_find(&cm->notes, id) || mqt_maps_get(cm->maps, id))
		return -EEXIST;
	note = cm_open_space(cm) ? cm_note_make(&cm->notes, id) : NULL;
	if (!note)
		return -ENOMEM;
	cm_count(cm, MQT_C_OPENS);
	note->kind = CM_NOTE_READ;
	note->info = info;
	note->stamp_ns = stamp_ns;
	cm->opens[cm->n_opens++] = note;
	return 0;
}

void
cm_open_read(struct mqt_cm *cm, const struct mqt_msg *msg)
{
	int rc = mqt_cm_open(cm, msg->chan, msg->info, msg->stamp_ns);

	if (rc == -ENOMEM)
		turn_away(cm, msg->chan, msg->info, MQT_REASON_TABLE_FULL, NULL);
	else if (rc < 0)
		cm_unexpected(cm, msg);
}

static bool
note_older(const struct cm_note *a, const struct cm_note *b)
{
	return cm_older(a->stamp_ns, a->chan, b->stamp_ns, b->chan);
}

/* The end of the run that begins at @p i. */
static uint32_t
run_end(struct cm_note *const *notes, uint32_t i, uint32_t n)
{
	while (++i < n && !note_older(notes[i], notes[i - 1]))
		;
	return i;
}

/* Merges two runs that lie one behind the other. */
static void
merge(struct cm_note *const *from, uint32_t mid, uint32_t n, struct cm_note **to)
{
	uint32_t a = 0, b = mid;

	for (uint32_t i = 0; i < n; i++) {
		if (b == n || (a < mid && !note_older(from[b], from[a])))
			to[i] = from[a++];
		else
			to[i] = from[b++];
	}
}

/*
 * Sorts the newcomers by stamp. Each worker's come in order nearly always, in bursts; so what is
 * there already is a few long runs, and they are merged two by two.
 */
static void
sort_opens(struct mqt_cm *cm)
{
	struct cm_note **from = cm->opens, **to = cm->opens + cm->max_opens, **swap;
	uint32_t n = cm->n_opens;

	while (n > 0 && run_end(from, 0, n) < n) {
		for (uint32_t i = 0, mid, end; i < n; i = end) {
			mid = run_end(from, i, n);
			end = mid < n ? run_end(from, mid, n) : n;
			merge(from + i, mid - i, end - i, to + i);
		}
		swap = from;
		from = to;
		to = swap;
	}
	if (from != cm->opens)
		memcpy(cm->opens, from, n * sizeof(struct cm_note *));
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
	return note->info ? note->info : mqt_chan_info(mqt_maps_get(cm->maps, note->chan));
}

void
cm_open_enter(struct mqt_cm *cm, struct cm_note *note)
{
	struct cm_lock *lock = cm_lock_get(cm, &note->info->digest);
	struct cm_other other = { .chan = MQT_CHAN_NONE };
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
		cm_open_supersede(cm, note, rival->chan, newcomer_info(cm, rival));
		return;
	}
	if (lock->waiter)
		cm_open_supersede(cm, lock->waiter, note->chan, note->info);
	lock->waiter = note;
}

void
cm_open_apply(struct mqt_cm *cm)
{
	sort_opens(cm);
	for (uint32_t i = 0; i < cm->n_opens; i++) {
		struct cm_note *note = cm->opens[i];

		if (i % AHEAD == 0)
			cm_ahead_opens(cm, &cm->opens[i], RTE_MIN(cm->n_opens - i, AHEAD));
		if (note->kind == CM_NOTE_DEAD)
			cm_note_free(&cm->notes, note);
		else if (!cm_contest_hold(cm, note))
			cm_open_enter(cm, note);
	}
	cm->n_opens = 0;
}

/* --- being served -------------------------------------------------------------------------------- */

void
cm_open_stale(struct mqt_cm *cm)
{
	cm_count(cm, MQT_C_STALE_CHANNELS);
	if (cm->stale_seen)
		return;
	cm->stale_seen = true;
	CM_LOG(ERR, "a client id with more than one channel; counted from now on\n");
}

/*
 * Looks over the older channels.
 * Returns the one that is newer than the newcomer, or NULL.
 */
static const struct mqt_chan *
survey(struct mqt_cm *cm, struct cm_lock *lock, const struct mqt_chan *head)
		MQT_REQUIRES(mqt_role_control)
{
	const struct cm_note *cur = lock->cur;
	unsigned n_live = 0;

	for (const struct mqt_chan *row = head; row; row = cm_row_next(row)) {
		if (!cm_row_up(row))
			continue;
		if (cm_older(cur->stamp_ns, cur->chan, row->stamp_ns, row->id))
			return row;
		lock->older = row->id;
		mqt_info_ends(mqt_chan_info(row), &lock->older_peer, NULL);
		n_live++;
	}
	if (n_live > 1)
		cm_open_stale(cm);
	return NULL;
}

void
cm_open_refuse(struct mqt_cm *cm, struct cm_lock *lock, enum mqt_reason reason,
		const struct cm_other *other)
{
	refuse(cm, lock->cur, reason, other);
	cm_open_over(cm, lock);
}

void
cm_open_begin(struct mqt_cm *cm, struct cm_lock *lock)
{
	struct mqt_chan *head = mqt_maps_head(cm->maps, &lock->digest);
	const struct mqt_chan *newer = survey(cm, lock, head);
	enum mqt_stepdown newest = lock->cur->info->flags & MQT_INFO_CLEAN_START
			? MQT_STEPDOWN_DISCARD
			: MQT_STEPDOWN_TAKEOVER_BEGIN;
	enum cm_room_kind kind = cm_room_kind(head);
	struct cm_other other = { .chan = MQT_CHAN_NONE };
	enum mqt_reason reason;
	enum cm_room room;

	if (newer) {
		cm_open_supersede(cm, lock->cur, newer->id, mqt_chan_info(newer));
		cm_open_over(cm, lock);
		return;
	}
	reason = cm_policy(cm, lock, lock->cur->info, &other);
	if (reason != MQT_REASON_NONE) {
		cm_open_refuse(cm, lock, reason, &other);
		return;
	}
	room = cm_room_for(cm, kind);
	if (room == CM_ROOM_NO) {
		cm_open_refuse(cm, lock, MQT_REASON_TABLE_FULL, NULL);
		return;
	}
	if (room == CM_ROOM_SOON) {
		cm_room_wait(cm, lock, kind);
		return;
	}
	cm_note_untime(cm, lock->cur);
	lock->reserved = true;
	cm->reserved++;
	lock->stepped = head != NULL; /* disconnected ones are finished with the others (R2) */
	lock->state = CM_LOCK_STEPPING;
	if (cm_stepdown_all(cm, lock, head, newest) < 0)
		cm_open_refuse(cm, lock, MQT_REASON_TABLE_FULL, NULL);
}

bool
cm_open_room(struct mqt_cm *cm, struct cm_lock *lock)
{
	if (lock->waiter) {
		cm_open_supersede(cm, lock->cur, lock->waiter->chan, lock->waiter->info);
		cm_open_over(cm, lock);
		return true;
	}
	TAILQ_REMOVE(&cm->for_room[lock->room], lock, by_room);
	lock->state = CM_LOCK_IDLE;
	cm_open_begin(cm, lock);
	return lock->state != CM_LOCK_ROOM;
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
		cm_open_gone(cm, note);
		return;
	}
	if (lock->waiter == note) {
		lock->waiter = NULL;
	} else {
		lock->cur = NULL;
		if (lock->state == CM_LOCK_ROOM)
			cm_open_over(cm, lock);
	}
	cm_open_gone(cm, note);
	cm_lock_queue(cm, lock);
}
