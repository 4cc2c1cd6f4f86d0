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
 * Nothing here decides anything, and nothing depends on it.
 *
 * Synchronisation: control lcore only.
 */

#define LINE RTE_CACHE_LINE_SIZE

/* The part of an info that its event copies: it seldom fits one line. */
static void
info_ahead(const struct mqt_info *info)
{
	rte_prefetch0(info);
	rte_prefetch0((const char *)info + LINE);
}

/* What is known of a channel, and what its end will write. */
static void
row_ahead(struct mqt_cm *cm, mqt_chan_id id) MQT_REQUIRES(mqt_role_control)
{
	const struct mqt_chan *row = mqt_maps_get(cm->maps, id);

	if (!row)
		return;
	info_ahead(mqt_chan_info(row));
	mqt_maps_prefetch_end(cm->maps, row);
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

/*
 * What a message touches behind the note and the row of its channel. Returns the note where it answers
 * a stepdown, whose lock and session are on their way then; else NULL.
 */
static const struct cm_note *
message_ahead(struct mqt_cm *cm, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_control)
{
	const struct cm_note *note;

	switch (msg->type) {
	case MQT_MSG_STEPDOWN_DONE:
		slot_ahead(cm, msg->chan);
		/* fall through */
	case MQT_MSG_GRANTED:
	case MQT_MSG_RETURN:
		note = cm_note_find(&cm->notes, msg->chan);
		if (!note || !note->lock)
			return NULL;
		object_ahead(note->lock, sizeof(*note->lock));
		if (note->session)
			object_ahead(note->session, MQT_SESSION_BYTES);
		row_ahead(cm, msg->chan);
		return msg->type == MQT_MSG_STEPDOWN_DONE ? note : NULL;
	case MQT_MSG_DOWN:
	case MQT_MSG_CLOSED:
		row_ahead(cm, msg->chan);
	}
	return NULL;
}

/* Whom an older channel steps down for is registered in its place next. */
static void
newcomer_ahead(struct mqt_cm *cm, const struct cm_note *const *asked, unsigned n)
		MQT_REQUIRES(mqt_role_control)
{
	for (unsigned i = 0; i < n; i++) {
		const struct cm_lock *lock = asked[i]->lock;

		if (lock->cur)
			object_ahead(lock->cur, sizeof(*lock->cur));
		mqt_maps_prefetch_client(cm->maps, &lock->digest, MQT_MAPS_BUCKET);
		cm_flap_ahead(&cm->flaps, &lock->digest);
	}
	for (unsigned i = 0; i < n; i++) {
		const struct cm_note *cur = asked[i]->lock->cur;

		if (!cur)
			continue;
		mqt_maps_prefetch_chan(cm->maps, cur->chan, MQT_MAPS_BUCKET);
		if (cur->info)
			info_ahead(cur->info);
	}
}

void
cm_ahead_msgs(struct mqt_cm *cm, const struct mqt_msg *msgs, unsigned n)
{
	const struct cm_note *asked[CM_BURST], *note;
	unsigned n_asked = 0;

	for (unsigned i = 0; i < n; i++) {
		mqt_maps_prefetch_chan(cm->maps, msgs[i].chan, MQT_MAPS_BUCKET);
		cm_note_ahead(&cm->notes, msgs[i].chan, false);
		if (msgs[i].info)
			info_ahead(msgs[i].info);
		if (msgs[i].session)
			object_ahead(msgs[i].session, MQT_SESSION_BYTES);
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
	newcomer_ahead(cm, asked, n_asked);
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
	for (unsigned i = 0; i < n; i++) {
		const struct mqt_chan *older = NULL;

		if (notes[i]->kind != CM_NOTE_DEAD)
			older = mqt_maps_head(cm->maps, &notes[i]->info->digest);
		if (older)
			cm_note_ahead(&cm->notes, older->id, false);
	}
}

void
cm_ahead_removals(struct mqt_cm *cm, const mqt_chan_id *ids, unsigned n)
{
	for (unsigned step = MQT_MAPS_BUCKET; step <= MQT_MAPS_INFO; step++) {
		for (unsigned i = 0; i < n; i++)
			mqt_maps_prefetch_chan(cm->maps, ids[i], (enum mqt_maps_step)step);
	}
}
