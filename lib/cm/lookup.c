/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <errno.h>
#include <string.h>

#include <rte_common.h>

/*
 * What others may ask of a client id or of one channel: who there is, here and on other nodes, its
 * info, its transport, its traffic. None of it takes a lock or can delay the control lcore.
 *
 * A client id that a broker assigned (MQTT 5.0) is another client on each broker, so looking up an
 * id asks for it as chosen by the client and as assigned by each broker that ever assigned one.
 * These brokers are an array that is only appended to, by the control lcore; its count is
 * published behind its entries.
 *
 * The traffic of a channel is counted in its slot, by its owner; when its connection is over the
 * slot goes to others, and what is kept of it is with the row.
 *
 * Synchronisation: readers are in mqt_rcu_read sections where they touch rows; slots are atomics
 * that outlive all readers. The registry is asked outside of a section, for it may block.
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

#define IDS_HERE_MAX 64

struct lookup {
	const struct mqt_cm *cm;
	/* looks for the client under one of its digests */
	void (*visit)(struct lookup *l, uint16_t domain, const struct mqt_digest *digest);
	const void *clientid;
	size_t len;
	const struct mqt_chan **out; /* the oldest ones so far, oldest first */
	const struct mqt_chan *newest;
	mqt_chan_id *ids; /* of other nodes */
	unsigned max;
	unsigned found;
};

/* Whether @p a is older; not where they are of one age. */
static bool
older(const struct mqt_chan *a, const struct mqt_chan *b)
{
	return a->stamp_ns < b->stamp_ns;
}

/* Puts a channel in its place by age. */
static void
lookup_add(struct lookup *l, const struct mqt_chan *row)
{
	unsigned i = RTE_MIN(l->found, l->max);

	l->found++;
	if (!l->newest || !older(row, l->newest))
		l->newest = row;
	while (i > 0 && older(row, l->out[i - 1])) {
		if (i < l->max)
			l->out[i] = l->out[i - 1];
		i--;
	}
	if (i < l->max)
		l->out[i] = row;
}

static void
visit_maps(struct lookup *l, uint16_t domain, const struct mqt_digest *digest)
		MQT_REQUIRES_SHARED(mqt_rcu_read)
{
	const struct mqt_chan *row = mqt_maps_lookup(l->cm->maps, digest);

	for (; row; row = mqt_chan_next(row)) {
		const struct mqt_info *info = mqt_chan_info(row);

		/* acquire: pairs with the release that removed it a moment ago */
		if (atomic_load_explicit(&row->state, memory_order_acquire) != MQT_CHAN_FREE &&
				info->domain == domain && info->clientid_len == l->len &&
				memcmp(mqt_info_clientid(info), l->clientid, l->len) == 0)
			lookup_add(l, row);
	}
}

static void
visit_registry(struct lookup *l, uint16_t domain, const struct mqt_digest *digest)
{
	if (l->found < l->max)
		l->found += mqt_registry_lookup(
				l->cm->registry, digest, l->ids + l->found, l->max - l->found);
}

static void
lookup_as(struct lookup *l, uint16_t domain, const struct mqt_endpoint *broker)
{
	struct mqt_digest digest =
			mqt_digest_client(l->cm->hash_key, domain, broker, l->clientid, l->len);

	l->visit(l, domain, &digest);
}

static void
lookup_domain(struct lookup *l, uint16_t domain)
{
	/* pairs with the release store in cm_broker_seen() */
	uint32_t n = atomic_load_explicit(&l->cm->n_brokers, memory_order_acquire);

	lookup_as(l, domain, NULL);
	for (uint32_t i = 0; i < n; i++)
		lookup_as(l, domain, &l->cm->brokers[i]);
}

static unsigned
lookup_run(struct lookup *l, int domain)
{
	if (domain >= 0) {
		lookup_domain(l, (uint16_t)domain);
	} else {
		for (uint16_t d = 0; d < l->cm->config->n_domains; d++)
			lookup_domain(l, d);
	}
	return l->found;
}

unsigned
mqt_cm_lookup(const struct mqt_cm *cm, int domain, const void *clientid, size_t len,
		const struct mqt_chan **out, unsigned n)
{
	struct lookup l = {
		.cm = cm,
		.visit = visit_maps,
		.clientid = clientid,
		.len = len,
		.out = out,
		.max = n,
	};

	return lookup_run(&l, domain);
}

const struct mqt_chan *
mqt_cm_newest(const struct mqt_cm *cm, int domain, const void *clientid, size_t len)
{
	struct lookup l = { .cm = cm, .visit = visit_maps, .clientid = clientid, .len = len };

	lookup_run(&l, domain);
	return l.newest;
}

unsigned
mqt_cm_lookup_global(const struct mqt_cm *cm, int domain, const void *clientid, size_t len,
		mqt_chan_id *out, unsigned n)
{
	struct lookup l = {
		.cm = cm,
		.visit = visit_registry,
		.clientid = clientid,
		.len = len,
		.ids = out,
		.max = n,
	};
	const struct mqt_chan *here[IDS_HERE_MAX];
	unsigned max = RTE_MIN(n, (unsigned)IDS_HERE_MAX);

	mqt_rcu_read_lock();
	l.found = RTE_MIN(mqt_cm_lookup(cm, domain, clientid, len, here, max), max);
	for (unsigned i = 0; i < l.found; i++)
		out[i] = here[i]->id;
	mqt_rcu_read_unlock();
	return lookup_run(&l, domain);
}

/* --- one channel ---------------------------------------------------------------------------------- */

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
mqt_cm_transport(const struct mqt_cm *cm, mqt_chan_id id)
{
	const struct mqt_chan *chan = mqt_maps_info(cm->maps, id);

	return chan ? mqt_chan_info(chan)->transport : -ENOENT;
}

int
mqt_cm_stats(const struct mqt_cm *cm, mqt_chan_id id, uint64_t out[MQT_SLOT_N_COUNTERS],
		uint64_t *seen_ns)
{
	const struct mqt_chan *chan = mqt_maps_info(cm->maps, id);
	struct mqt_chan_end end;

	if (!chan)
		return -ENOENT;
	if (!mqt_maps_end(cm->maps, chan, &end))
		return cm_chan_traffic(cm, id, out, seen_ns);
	memcpy(out, end.counter, sizeof(end.counter));
	if (seen_ns)
		*seen_ns = 0;
	return 0;
}

int
mqt_cm_ended(const struct mqt_cm *cm, mqt_chan_id id, uint64_t *wall_ns)
{
	const struct mqt_chan *chan = mqt_maps_info(cm->maps, id);
	struct mqt_chan_end end;

	if (!chan || !mqt_maps_end(cm->maps, chan, &end))
		return -ENOENT;
	*wall_ns = end.wall_ns;
	return 0;
}
