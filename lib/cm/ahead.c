/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <rte_common.h>
#include <rte_prefetch.h>

/*
 * Loading ahead. What a message touches lies anywhere in memory: its channel's note and row, its
 * client's lock, row and info. One after the other each is a miss that the lcore waits for; for a
 * burst at once they overlap. So a burst is looked over step by step: what the first step loads, the
 * second one reads to know what to load next.
 *
 * Bursts of messages, as they are read; of newcomers, as they come to their locks; of locks, as they run:
 * that is at the end of the turn, when what was loaded for their messages has left the near caches, so
 * some is loaded twice.
 *
 * Nothing here decides anything, and nothing depends on it.
 *
 * Synchronisation: control lcore only.
 */

#define LINE  RTE_CACHE_LINE_SIZE
#define LOCKS 16 /* at once: what one touches is more than what a message does */

/* The part of an info that its event copies: it seldom fits one line. NULL: there is none. */
static void
info_ahead(const struct mqt_info *info)
{
	if (!info)
		return;
	rte_prefetch0(info);
	rte_prefetch0((const char *)info + LINE);
}

/* All lines of what is @p size bytes long. */
static void
object_ahead(const void *object, size_t size)
{
	for (size_t at = 0; at < size; at += LINE)
		rte_prefetch0((const char *)object + at);
}

/* A slot's counters and its word: two lines. */
static void
slot_ahead(const struct mqt_cm *cm, mqt_chan_id id)
{
	if (cm_chan_has_slot(cm, id))
		object_ahead(mqt_slots_at(&cm->owners[mqt_chan_id_worker(id)].o.slots,
					     mqt_chan_id_slot(id)),
				sizeof(struct mqt_slot));
}

/* What the end of a channel tells, and what is kept of it where its session outlives it. */
static void
end_ahead(struct mqt_cm *cm, mqt_chan_id id, bool kept) MQT_REQUIRES(mqt_role_control)
{
	const struct mqt_chan *row = mqt_maps_get(cm->maps, id);

	if (!row)
		return;
	info_ahead(mqt_chan_info(row));
	if (kept)
		mqt_maps_prefetch_end(cm->maps, row);
}

/*
 * What a message touches behind the note and the row of its channel. Returns the note where it answers
 * a stepdown for good: its lock and session are on their way then. Else NULL.
 */
static const struct cm_note *
message_ahead(struct mqt_cm *cm, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_control)
{
	const struct cm_note *note;

	switch (msg->type) {
	case MQT_MSG_OPEN:
		info_ahead(msg->info);
		break;
	case MQT_MSG_DOWN:
	case MQT_MSG_CLOSED:
		end_ahead(cm, msg->chan, msg->session != NULL);
		if (msg->session)
			object_ahead(msg->session, MQT_SESSION_BYTES);
		break;
	case MQT_MSG_STEPDOWN_DONE:
	case MQT_MSG_GRANTED:
	case MQT_MSG_RETURN:
		note = cm_note_find(&cm->notes, msg->chan);
		if (!note || !note->lock)
			break;
		if (note->kind == CM_NOTE_ASKED && note->action == MQT_STEPDOWN_TAKEOVER_BEGIN)
			break; /* its end is asked for, that is all */
		object_ahead(note->lock, sizeof(*note->lock));
		if (msg->type != MQT_MSG_STEPDOWN_DONE)
			break;
		slot_ahead(cm, msg->chan);
		end_ahead(cm, msg->chan, note->session != NULL);
		if (note->session)
			object_ahead(note->session, MQT_SESSION_BYTES);
		return note;
	}
	return NULL;
}

/* Whom older channels step down for: their sessions may go on with it. */
static void
heirs_ahead(const struct cm_note *const *asked, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (asked[i]->lock->cur)
			object_ahead(asked[i]->lock->cur, sizeof(struct cm_note));
	for (unsigned i = 0; i < n; i++)
		if (asked[i]->lock->cur)
			info_ahead(asked[i]->lock->cur->info);
}

void
cm_ahead_msgs(struct mqt_cm *cm, const struct mqt_msg *msgs, unsigned n)
{
	const struct cm_note *asked[CM_BURST], *note;
	unsigned n_asked = 0;

	for (unsigned i = 0; i < n; i++) {
		mqt_maps_prefetch_chan(cm->maps, msgs[i].chan, MQT_MAPS_BUCKET);
		cm_note_ahead(&cm->notes, msgs[i].chan, false);
	}
	for (unsigned i = 0; i < n; i++) {
		mqt_maps_prefetch_chan(cm->maps, msgs[i].chan, MQT_MAPS_ROW);
		cm_note_ahead(&cm->notes, msgs[i].chan, true);
	}
	for (unsigned i = 0; i < n; i++) {
		note = message_ahead(cm, &msgs[i]);
		if (note)
			asked[n_asked++] = note;
	}
	heirs_ahead(asked, n_asked);
}

void
cm_ahead_opens(struct mqt_cm *cm, struct cm_note *const *notes, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (notes[i]->kind == CM_NOTE_DEAD)
			continue;
		mqt_maps_prefetch_client(cm->maps, &notes[i]->info->digest, MQT_MAPS_BUCKET);
		cm_lock_ahead(&cm->locks, &notes[i]->info->digest);
		cm_recent_ahead(&cm->recents, &notes[i]->info->digest);
		cm_flap_ahead(&cm->flaps, &notes[i]->info->digest);
	}
	for (unsigned step = MQT_MAPS_ROW; step < MQT_MAPS_N_STEPS; step++) {
		for (unsigned i = 0; i < n; i++) {
			if (notes[i]->kind != CM_NOTE_DEAD)
				mqt_maps_prefetch_client(cm->maps, &notes[i]->info->digest,
						(enum mqt_maps_step)step);
		}
	}
}

/* Whom it will serve; NULL: nobody, or a command. */
static const struct cm_note *
newcomer_of(const struct cm_lock *lock)
{
	return lock->state == CM_LOCK_STEPPING ? lock->cur : lock->waiter;
}

/* Whether it will look at its client's channels. */
static bool
has_business(const struct cm_lock *lock)
{
	return newcomer_of(lock) || lock->cmd || lock->cmd_head || lock->stepped;
}

/* What a newcomer touches as its lock serves it, and, where the older channels are down, its place. */
static void
newcomer_ahead(struct mqt_cm *cm, const struct cm_lock *lock)
{
	const struct cm_note *newcomer = newcomer_of(lock);

	if (!newcomer)
		return;
	info_ahead(newcomer->info);
	if (lock->state == CM_LOCK_STEPPING) {
		mqt_maps_prefetch_chan(cm->maps, newcomer->chan, MQT_MAPS_BUCKET);
		cm_flap_ahead(&cm->flaps, &lock->digest);
	}
}

/* The client's oldest channel: it will be asked to step down, or it has, and is removed. */
static void
oldest_ahead(struct mqt_cm *cm, const struct cm_lock *lock) MQT_REQUIRES(mqt_role_control)
{
	const struct mqt_chan *row = mqt_maps_head(cm->maps, &lock->digest);

	if (!row)
		return;
	info_ahead(mqt_chan_info(row));
	if (lock->stepped) {
		mqt_maps_prefetch_chan(cm->maps, row->id, MQT_MAPS_BUCKET);
		mqt_maps_prefetch_removal(cm->maps, row);
	} else {
		cm_note_ahead(&cm->notes, row->id, false);
	}
}

unsigned
cm_ahead_locks(struct mqt_cm *cm)
{
	const struct cm_lock *busy[LOCKS], *lock;
	unsigned n = 0, n_busy = 0;

	TAILQ_FOREACH (lock, &cm->runnable, by_run) {
		object_ahead(lock, sizeof(*lock));
		if (has_business(lock))
			busy[n_busy++] = lock;
		else /* it will leave its bucket */
			cm_lock_ahead(&cm->locks, &lock->digest);
		if (++n == LOCKS)
			break;
	}
	for (unsigned i = 0; i < n_busy; i++) {
		if (newcomer_of(busy[i]))
			object_ahead(newcomer_of(busy[i]), sizeof(struct cm_note));
		mqt_maps_prefetch_client(cm->maps, &busy[i]->digest, MQT_MAPS_BUCKET);
	}
	for (unsigned i = 0; i < n_busy; i++) {
		newcomer_ahead(cm, busy[i]);
		mqt_maps_prefetch_client(cm->maps, &busy[i]->digest, MQT_MAPS_ROW);
	}
	for (unsigned step = MQT_MAPS_INFO; step < MQT_MAPS_N_STEPS; step++) {
		for (unsigned i = 0; i < n_busy; i++)
			mqt_maps_prefetch_client(
					cm->maps, &busy[i]->digest, (enum mqt_maps_step)step);
	}
	for (unsigned i = 0; i < n_busy; i++)
		oldest_ahead(cm, busy[i]);
	return n;
}

void
cm_ahead_removals(struct mqt_cm *cm, const mqt_chan_id *ids, unsigned n)
{
	for (unsigned step = MQT_MAPS_BUCKET; step <= MQT_MAPS_INFO; step++) {
		for (unsigned i = 0; i < n; i++)
			mqt_maps_prefetch_chan(cm->maps, ids[i], (enum mqt_maps_step)step);
	}
}
