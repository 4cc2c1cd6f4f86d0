/* SPDX-License-Identifier: BSD-3-Clause */
/* Deliberately wrong: one way out leaves the read section open. */
#include "mqtrack/maps.h"

uint64_t epoch(const struct mqt_maps *maps, mqt_chan_id id);

uint64_t
epoch(const struct mqt_maps *maps, mqt_chan_id id)
{
	const struct mqt_chan *chan;
	uint64_t found;

	mqt_rcu_read_lock();
	chan = mqt_maps_info(maps, id);
	if (!chan)
		return 0;
	found = chan->epoch;
	mqt_rcu_read_unlock();
	return found;
}
