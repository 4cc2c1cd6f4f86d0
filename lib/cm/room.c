/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <rte_common.h>

/*
 * Room for newcomers. A row of the maps is free when its grace period is over. The connections are
 * at most max_clients; a channel that is retained is none. A newcomer with an older channel takes
 * over its place. One without waits, within the limit, as long as something is on its way out, and
 * is refused where nothing is. Connections come before sessions: where the rows have come to an
 * end, the retained session that is the next to expire makes way.
 *
 * Those that wait are served in the order in which they came. Where the maps are full to the last
 * place an older row must go before the newcomer's comes (admit.c); this is the one case in which a
 * reader can see no channel of the client for a moment (R9).
 *
 * Synchronisation: control lcore only.
 * Sources: rules R7, R9.
 */

enum cm_room
cm_room_for(struct mqt_cm *cm, enum cm_room_kind kind)
{
	struct mqt_maps_sizes sizes;
	struct mqt_chan *evicted;

	mqt_maps_sizes(cm->maps, &sizes);
	if (sizes.free <= cm->reserved)
		return sizes.retired > 0 ? CM_ROOM_SOON : CM_ROOM_NO;
	if (kind != CM_ROOM_SWAP &&
			sizes.channels - mqt_cm_retained_count(cm) >=
					cm->config->limits.max_clients)
		return cm_down_pending(cm) ? CM_ROOM_SOON : CM_ROOM_NO;
	if (kind != CM_ROOM_NEW || sizes.channels < sizes.capacity)
		return CM_ROOM_YES;
	if (cm_down_pending(cm))
		return CM_ROOM_SOON;
	evicted = cm_retained_evict(cm);
	if (evicted)
		cm_down_push(cm, evicted->id);
	return evicted ? CM_ROOM_SOON : CM_ROOM_NO;
}

enum cm_room_kind
cm_room_kind(const struct mqt_chan *head)
{
	enum cm_room_kind kind = head ? CM_ROOM_BACK : CM_ROOM_NEW;

	for (const struct mqt_chan *row = head; row; row = cm_row_next(row)) {
		if (cm_row_state(row) != MQT_CHAN_RETAINED)
			kind = CM_ROOM_SWAP;
	}
	return kind;
}

void
cm_room_wait(struct mqt_cm *cm, struct cm_lock *lock, enum cm_room_kind kind)
{
	if (!lock->cur->timed)
		cm_note_time(cm, lock->cur);
	lock->state = CM_LOCK_ROOM;
	lock->room = (uint8_t)kind;
	TAILQ_INSERT_TAIL(&cm->for_room[kind], lock, by_room);
}

unsigned
cm_room_serve(struct mqt_cm *cm)
{
	unsigned n = 0;

	for (unsigned kind = 0; kind < CM_N_ROOMS; kind++) {
		struct cm_lock *lock;

		while ((lock = TAILQ_FIRST(&cm->for_room[kind])) &&
				cm_room_for(cm, kind) != CM_ROOM_SOON) {
			cm_lock_run(cm, lock);
			n++;
		}
	}
	return n;
}
