/* SPDX-License-Identifier: BSD-3-Clause */
#include "maps_private.h"

#include <rte_prefetch.h>

/*
 * The maps' readers, and what both sides load ahead.
 *
 * A reader in a section may stand on any row that was in a chain when it came there: the row keeps its
 * id, its info and its links until the section is over. It may miss a row that is added meanwhile and
 * may find one that is removed meanwhile; the latter says so: its state is FREE.
 *
 * Synchronisation: each link is read by acquire, see maps.c.
 */

/* --- loading ahead ------------------------------------------------------------------------------ */

void
mqt_maps_prefetch_chan(const struct mqt_maps *maps, mqt_chan_id id, enum mqt_maps_step step)
{
	const _Atomic uint32_t *bucket = bucket_of_id(maps, id);
	const struct mqt_chan *row;

	if (step == MQT_MAPS_BUCKET) {
		rte_prefetch0((const void *)(uintptr_t)bucket);
		return;
	}
	row = row_behind(maps, bucket);
	if (!row || step == MQT_MAPS_LAST)
		return;
	if (step == MQT_MAPS_ROW) {
		rte_prefetch0(row);
		return;
	}
	rte_prefetch0(mqt_chan_info(row));
	rte_prefetch0((const void *)(uintptr_t)bucket_of_sig(maps, row->sig));
	mqt_maps_prefetch_removal(maps, row);
}

void
mqt_maps_prefetch_end(const struct mqt_maps *maps, const struct mqt_chan *row)
{
	const struct row_end *end = &maps->ends[row - maps->rows];

	rte_prefetch0(end);
	rte_prefetch0((const char *)(end + 1) - 1);
}

void
mqt_maps_prefetch_removal(const struct mqt_maps *maps, const struct mqt_chan *row)
{
	rte_prefetch0(&maps->links[row - maps->rows]);
}

void
mqt_maps_prefetch_client(const struct mqt_maps *maps, const struct mqt_digest *digest,
		enum mqt_maps_step step)
{
	const _Atomic uint32_t *bucket = bucket_of_sig(maps, sig_of(digest));
	const struct mqt_chan *row;

	if (step == MQT_MAPS_BUCKET) {
		rte_prefetch0((const void *)(uintptr_t)bucket);
		return;
	}
	row = row_behind(maps, bucket);
	if (!row)
		return;
	if (step == MQT_MAPS_ROW) {
		rte_prefetch0(row);
		return;
	}
	if (row->sig == sig_of(digest)) {
		if (step == MQT_MAPS_INFO)
			rte_prefetch0(mqt_chan_info(row));
		return;
	}
	row = row_behind(maps, &row->next_client);
	if (row)
		rte_prefetch0(step == MQT_MAPS_INFO ? (const void *)row : mqt_chan_info(row));
}

/* --- looking up ---------------------------------------------------------------------------------- */

const struct mqt_chan *
mqt_maps_lookup(const struct mqt_maps *maps, const struct mqt_digest *digest)
{
	return find_client(maps, digest);
}

void
mqt_maps_lookup_bulk(const struct mqt_maps *maps, const struct mqt_digest *digests, unsigned n,
		const struct mqt_chan **out)
{
	const _Atomic uint32_t *buckets[MQT_MAPS_BULK];

	for (unsigned i = 0; i < n; i++) {
		buckets[i] = bucket_of_sig(maps, sig_of(&digests[i]));
		rte_prefetch0((const void *)(uintptr_t)buckets[i]);
	}
	for (unsigned i = 0; i < n; i++) {
		out[i] = row_behind(maps, buckets[i]);
		rte_prefetch0(out[i]);
	}
	/* to the row whose signature fits */
	for (unsigned i = 0; i < n; i++) {
		while (out[i] && out[i]->sig != sig_of(&digests[i]))
			out[i] = row_behind(maps, &out[i]->next_client);
		if (out[i])
			rte_prefetch0(mqt_chan_info(out[i]));
	}
	for (unsigned i = 0; i < n; i++)
		while (out[i] && !is_client(out[i], &digests[i]))
			out[i] = row_behind(maps, &out[i]->next_client);
}

const struct mqt_chan *
mqt_maps_info(const struct mqt_maps *maps, mqt_chan_id id)
{
	const struct mqt_chan *row = find_id(maps, id);

	return row && state_of(row) != MQT_CHAN_FREE ? row : NULL;
}

bool
mqt_maps_is_live(const struct mqt_maps *maps, mqt_chan_id id)
{
	const struct mqt_chan *row = find_id(maps, id);

	return row && state_of(row) == MQT_CHAN_CONNECTED;
}

bool
mqt_maps_end(const struct mqt_maps *maps, const struct mqt_chan *row, struct mqt_chan_end *out)
{
	const struct row_end *e = &maps->ends[row - maps->rows];

	/* pairs with the release store in mqt_maps_set_end() */
	if (atomic_load_explicit(&e->chan, memory_order_acquire) != row->id)
		return false;
	out->wall_ns = atomic_load_explicit(&e->wall_ns, memory_order_relaxed);
	for (unsigned c = 0; c < MQT_SLOT_N_COUNTERS; c++)
		out->counter[c] = atomic_load_explicit(&e->counter[c], memory_order_relaxed);
	return true;
}

/* --- walking and counting ----------------------------------------------------------------------- */

const struct mqt_chan *
mqt_maps_next(const struct mqt_maps *maps, uint32_t *pos)
{
	uint32_t n = maps_get(&maps->n_touched);

	while (*pos < n) {
		const struct mqt_chan *row = &maps->rows[(*pos)++];

		if (state_of(row) != MQT_CHAN_FREE)
			return row;
	}
	return NULL;
}

void
mqt_maps_sizes(const struct mqt_maps *maps, struct mqt_maps_sizes *out)
{
	out->channels = maps_get(&maps->n_channels);
	out->clients = maps_get(&maps->n_clients);
	out->live = maps_get(&maps->n_live);
	out->retired = maps_get(&maps->n_retired);
	out->capacity = maps->capacity;
	/* two counts read one after the other: together they may exceed the rows for a moment */
	out->free = out->channels + out->retired < maps->n_rows
			? maps->n_rows - out->channels - out->retired
			: 0;
}

uint64_t
mqt_maps_bytes(const struct mqt_maps *maps)
{
	uint64_t row = sizeof(*maps->rows) + sizeof(*maps->links);
	uint64_t bucket = sizeof(*maps->clients) + sizeof(*maps->ids);

	return maps_get(&maps->n_touched) * row + maps->n_buckets * bucket;
}
