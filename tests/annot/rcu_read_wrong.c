/* SPDX-License-Identifier: BSD-3-Clause */
/* Deliberately wrong: the row is looked up behind the read section. */
#include "mqtrack/maps.h"

uint64_t epoch(const struct mqt_maps *maps, mqt_chan_id id);

uint64_t
epoch(const struct mqt_maps *maps, mqt_chan_id id)
{
	const struct mqt_chan *chan;

	mqt_rcu_read_lock();
	mqt_rcu_read_unlock();
	chan = mqt_maps_info(maps, id);
	return chan ? chan->epoch : 0;
}
