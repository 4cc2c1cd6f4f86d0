/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <errno.h>
#include <string.h>

#include <rte_common.h>

/*
 * What others may ask: channels by client id or by channel id, walks, traffic, gauges. None of it
 * takes a lock or can delay the control lcore.
 *
 * A client id that a broker assigned (MQTT 5.0) is another client on each broker, so looking up an
 * id asks for it as chosen by the client and as assigned by each broker that ever assigned one.
 * These brokers are an array that is only appended to, by the control lcore; its count is
 * published behind its entries.
 *
 * Synchronisation: readers are in mqt_rcu_read sections where they touch rows; slots and counters
 * are atomics that outlive all readers.
 */

/* --- brokers ------------------------------------------------------------------------------------ */

void
cm_broker_seen(struct mqt_cm *cm, const struct mqt_endpoint *broker)
{
	uint32_t n = atomic_load_explicit(&cm->n_brokers, memory_order_relaxed);

	for (uint32_t i = 0; i < n; i++) {
		if (mqt_endpoint_equal(&cm->brokers[i], broker))
			return;
	}
	if (n == RTE_DIM(cm->brokers)) {
		if (!cm->brokers_full) {
			cm->brokers_full = true;
			CM_LOG(NOTICE,
					"more than %u brokers assign client ids: those of further "
					"ones are not found by client id\n",
					MQT_MAX_BROKERS);
		}
		return;
	}
	cm->brokers[n] = *broker;
	/* pairs with the acquire load in lookup_domain() */
	atomic_store_explicit(&cm->n_brokers, n + 1, memory_order_release);
}

/* --- look-up ------------------------------------------------------------------------------------ */

struct lookup {
	const struct mqt_cm *cm;
	const void *clientid;
	size_t len;
	const struct mqt_chan **out; /* the oldest ones so far, oldest first */
	unsigned max;
	unsigned found;
};

/* Puts a channel in its place by age. */
static void
lookup_add(struct lookup *l, const struct mqt_chan *row)
{
	unsigned i = RTE_MIN(l->found, l->max);

	l->found++;
	while (i > 0 && row->connected_ns < l->out[i - 1]->connected_ns) {
		if (i < l->max)
			l->out[i] = l->out[i - 1];
		i--;
	}
	if (i < l->max)
		l->out[i] = row;
}

static void
lookup_digest(struct lookup *l, uint16_t domain, const struct mqt_endpoint *broker)
		MQT_REQUIRES_SHARED(mqt_rcu_read)
{
	struct mqt_digest digest =
			mqt_digest_client(l->cm->hash_key, domain, broker, l->clientid, l->len);
	const struct mqt_chan *row = mqt_maps_lookup(l->cm->maps, &digest);

	/* acquire: pairs with the release that linked the row */
	for (; row; row = atomic_load_explicit(&row->next, memory_order_acquire)) {
		const struct mqt_info *info = row->info;

		if (info->domain == domain && info->clientid_len == l->len &&
				memcmp(mqt_info_clientid(info), l->clientid, l->len) == 0)
			lookup_add(l, row);
	}
}

static void
lookup_domain(struct lookup *l, uint16_t domain) MQT_REQUIRES_SHARED(mqt_rcu_read)
{
	/* pairs with the release store in cm_broker_seen() */
	uint32_t n = atomic_load_explicit(&l->cm->n_brokers, memory_order_acquire);

	lookup_digest(l, domain, NULL);
	for (uint32_t i = 0; i < n; i++)
		lookup_digest(l, domain, &l->cm->brokers[i]);
}

unsigned
mqt_cm_lookup(const struct mqt_cm *cm, int domain, const void *clientid, size_t len,
		const struct mqt_chan **out, unsigned n)
{
	struct lookup l = {
		.cm = cm,
		.clientid = clientid,
		.len = len,
		.out = out,
		.max = n,
	};

	if (domain >= 0) {
		lookup_domain(&l, (uint16_t)domain);
	} else {
		for (uint16_t d = 0; d < cm->config->n_domains; d++)
			lookup_domain(&l, d);
	}
	return l.found;
}

const struct mqt_chan *
mqt_cm_info(const struct mqt_cm *cm, mqt_chan_id id)
{
	return mqt_maps_info(cm->maps, id);
}

bool
mqt_cm_is_live(const struct mqt_cm *cm, mqt_chan_id id)
{
	return mqt_maps_is_live(cm->maps, id);
}

int
mqt_cm_stats(const struct mqt_cm *cm, mqt_chan_id id, uint64_t out[MQT_SLOT_N_COUNTERS],
		uint64_t *seen_ns)
{
	unsigned worker = mqt_chan_id_worker(id);
	uint32_t slot = mqt_chan_id_slot(id);
	const struct mqt_slots *slots;

	if (mqt_chan_id_node(id) != cm->config->node_id || worker >= cm->n_owners)
		return -ENOENT;
	slots = &cm->owners[worker].o.slots;
	if (slot >= slots->n || !mqt_slot_read(mqt_slots_at(slots, slot), id, out, seen_ns))
		return -ENOENT;
	return 0;
}

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
				(transport < 0 || row->info->transport == transport))
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
				!(row->info->flags & MQT_INFO_CLEAN_START) &&
				(transport < 0 || row->info->transport == transport))
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
