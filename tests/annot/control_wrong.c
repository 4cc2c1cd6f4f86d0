/* SPDX-License-Identifier: BSD-3-Clause */
/* Deliberately wrong: a thread without a role writes the maps. */
#include "mqtrack/maps.h"

int forget(struct mqt_maps *maps, mqt_chan_id id);

int
forget(struct mqt_maps *maps, mqt_chan_id id)
{
	return mqt_maps_remove(maps, id);
}
