/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <rte_common.h>

/*
 * What others may ask of all channels: walks, gauges, counters. What they may ask of one is in
 * lookup.c. None of it takes a lock or can delay the control lcore.
 *
 * Synchronisation: readers are in mqt_rcu_read sections where they touch rows; counters are atomics
 * that outlive all readers.
 */

/* --- walks -------------------------------------------------------------------------------------- */

const struct mqt_chan *
mqt_cm_channels_next(const struct mqt_cm *cm, uint32_t *pos)
{
	return mqt_maps_next(cm->maps, pos);
}

const struct mqt_chan *
mqt_cm_live_next(const struct mqt_cm *cm, int transport, uint32_t *pos)
{
	const struct mqt_chan *row;

	while ((row = mqt_maps_next(cm->maps, pos))) {
		/* acquire: pairs with the release that published the row */
		uint32_t state = atomic_load_explicit(&row->state, memory_order_acquire);

		if (state == MQT_CHAN_CONNECTED &&
				(transport < 0 || mqt_chan_info(row)->transport == transport))
			return row;
	}
	return NULL;
}

const struct mqt_chan *
mqt_cm_sessions_next(const struct mqt_cm *cm, int transport, uint32_t *pos)
{
	const struct mqt_chan *row;

	while ((row = mqt_maps_next(cm->maps, pos))) {
		/* acquire: pairs with the release that published the row */
		uint32_t state = atomic_load_explicit(&row->state, memory_order_acquire);

		if (state != MQT_CHAN_FREE && state != MQT_CHAN_DISCONNECTED &&
				!(mqt_chan_info(row)->flags & MQT_INFO_CLEAN_START) &&
				(transport < 0 || mqt_chan_info(row)->transport == transport))
			return row;
	}
	return NULL;
}

/* --- gauges and counters ------------------------------------------------------------------------- */

static void
raise_to(_Atomic uint64_t *max, uint64_t v)
{
	if (v > atomic_load_explicit(max, memory_order_relaxed))
		atomic_store_explicit(max, v, memory_order_relaxed);
}

/* Two counts read one after the other: together they may be wrong for a moment. */
static uint64_t
connections(const struct mqt_cm *cm, const struct mqt_maps_sizes *sizes)
{
	uint32_t retained = mqt_cm_retained_count(cm);

	return sizes->channels > retained ? sizes->channels - retained : 0;
}

void
cm_gauges_update(struct mqt_cm *cm)
{
	struct mqt_maps_sizes sizes;

	mqt_maps_sizes(cm->maps, &sizes);
	raise_to(&cm->max_channels, sizes.channels);
	raise_to(&cm->max_connections, connections(cm, &sizes));
	raise_to(&cm->max_live, sizes.live);
}

uint32_t
mqt_cm_retained_count(const struct mqt_cm *cm)
{
	return atomic_load_explicit(&cm->retained.n, memory_order_relaxed);
}

uint32_t
mqt_cm_live_count(const struct mqt_cm *cm)
{
	struct mqt_maps_sizes sizes;

	mqt_maps_sizes(cm->maps, &sizes);
	return sizes.live;
}

void
mqt_cm_gauges(const struct mqt_cm *cm, struct mqt_cm_gauge out[MQT_CM_N_GAUGES])
{
	uint64_t max_channels = atomic_load_explicit(&cm->max_channels, memory_order_relaxed);
	uint64_t max_conns = atomic_load_explicit(&cm->max_connections, memory_order_relaxed);
	uint64_t max_live = atomic_load_explicit(&cm->max_live, memory_order_relaxed);
	struct mqt_maps_sizes sizes;
	uint64_t conns;

	mqt_maps_sizes(cm->maps, &sizes);
	conns = connections(cm, &sizes);
	/* the count is read last: it may have grown past the maximum read before */
	max_channels = RTE_MAX(max_channels, sizes.channels);
	max_live = RTE_MAX(max_live, sizes.live);
	max_conns = RTE_MAX(max_conns, conns);
	/* every registered channel has a session; a retained one has no connection any more */
	out[0] = (struct mqt_cm_gauge){ "channels", sizes.channels, max_channels };
	out[1] = (struct mqt_cm_gauge){ "sessions", sizes.channels, max_channels };
	out[2] = (struct mqt_cm_gauge){ "connections", conns, max_conns };
	out[3] = (struct mqt_cm_gauge){ "live_connections", sizes.live, max_live };
}

const struct mqt_control_counters *
mqt_cm_counters(const struct mqt_cm *cm)
{
	return &cm->counters;
}

const struct mqt_maps *
mqt_cm_maps(const struct mqt_cm *cm)
{
	return cm->maps;
}

bool
mqt_cm_stalled(const struct mqt_cm *cm, unsigned worker)
{
	return worker < cm->n_owners &&
			atomic_load_explicit(&cm->owners[worker].stalled, memory_order_relaxed);
}
