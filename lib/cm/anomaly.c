/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <stdlib.h>

/*
 * Anomalies that a worker has seen on a flow: an event, nothing else. Who it is stands in the row of
 * the channel, or in its note while it is a newcomer; of a flow without channel the message brings
 * the addresses. A channel that is gone by then is not told of: it was counted by its worker.
 *
 * Synchronisation: none, control lcore only.
 */

void
cm_anomaly(struct mqt_cm *cm, const struct mqt_msg *msg)
{
	const struct mqt_chan *row = mqt_maps_get(cm->maps, msg->chan);
	const struct cm_note *note = cm_note_find(&cm->notes, msg->chan);
	const struct mqt_info *info = msg->info;
	uint64_t epoch = 0; /* a flow without channel has no client */

	if (!info && row) {
		info = mqt_chan_info(row);
		epoch = row->epoch;
	} else if (!info && note && note->info) {
		info = note->info;
		epoch = cm_chan_epoch(cm, &info->digest);
	}
	if (info)
		cm_announce(cm, MQT_EVENT_ANOMALY, (enum mqt_reason)msg->reason, msg->chan, info,
				epoch, NULL);
	cm_count(cm, MQT_C_ANOMALIES);
	free(msg->info);
}
