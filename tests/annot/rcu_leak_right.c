/* SPDX-License-Identifier: BSD-3-Clause */
/* Every way out closes the read section. */
#include "mqtrack/maps.h"

uint64_t epoch(const struct mqt_maps *maps, mqt_chan_id id);

uint64_t
epoch(const struct mqt_maps *maps, mqt_chan_id id)
{
	const struct mqt_chan *chan;
	uint64_t found = 0;

	mqt_rcu_read_lock();
	chan = mqt_maps_info(maps, id);
	if (!chan)
		goto out;
	found = chan->epoch;
out:
	mqt_rcu_read_unlock();
	return found;
}
