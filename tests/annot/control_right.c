/* SPDX-License-Identifier: BSD-3-Clause */
/* The control lcore writes the maps. */
#include "mqtrack/maps.h"

int forget(struct mqt_maps *maps, mqt_chan_id id) MQT_REQUIRES(mqt_role_control);
int enter(struct mqt_maps *maps, mqt_chan_id id);

int
forget(struct mqt_maps *maps, mqt_chan_id id)
{
	return mqt_maps_remove(maps, id);
}

int
enter(struct mqt_maps *maps, mqt_chan_id id)
{
	mqt_role_control_assert();
	return forget(maps, id);
}
