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

static void
row_info_ahead(struct mqt_cm *cm, mqt_chan_id id) MQT_REQUIRES(mqt_role_control)
{
	const struct mqt_chan *row = mqt_maps_get(cm->maps, id);

	if (row)
		info_ahead(mqt_chan_info(row));
}

void
cm_ahead_msgs(struct mqt_cm *cm, const struct mqt_msg *msgs, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		mqt_maps_prefetch_chan(cm->maps, msgs[i].chan, MQT_MAPS_BUCKET);
		cm_note_ahead(&cm->notes, msgs[i].chan, false);
		if (msgs[i].info)
			info_ahead(msgs[i].info);
	}
	for (unsigned i = 0; i < n; i++) {
		mqt_maps_prefetch_chan(cm->maps, msgs[i].chan, MQT_MAPS_ROW);
		cm_note_ahead(&cm->notes, msgs[i].chan, true);
	}
	for (unsigned i = 0; i < n; i++) {
		if (msgs[i].type == MQT_MSG_DOWN || msgs[i].type == MQT_MSG_CLOSED)
			row_info_ahead(cm, msgs[i].chan);
	}
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
	for (enum mqt_maps_step step = MQT_MAPS_ROW; step <= MQT_MAPS_INFO; step++) {
		for (unsigned i = 0; i < n; i++) {
			if (notes[i]->kind != CM_NOTE_DEAD)
				mqt_maps_prefetch_client(cm->maps, &notes[i]->info->digest, step);
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
	for (unsigned step = MQT_MAPS_BUCKET; step < MQT_MAPS_N_STEPS; step++) {
		for (unsigned i = 0; i < n; i++)
			mqt_maps_prefetch_chan(cm->maps, ids[i], (enum mqt_maps_step)step);
	}
}
