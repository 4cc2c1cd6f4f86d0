/* SPDX-License-Identifier: BSD-3-Clause */
#include "maps_private.h"
#include "mqtrack/pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_errno.h>
#include <rte_prefetch.h>

/*
 * The three maps and the rows behind them: the writer's side.
 *
 * The rows are the tables. The channel map and the info map are arrays of buckets, a bucket is the
 * place of its first row, and rows of one bucket are chained through the rows themselves. So a channel
 * costs its row and two words, a look-up costs the line of its bucket and that of its row, a row needs
 * no position anywhere that could run out, and insertion fails for want of a row only. The live map is
 * what the info map's rows say of themselves: `state`.
 *
 * A row's life: free list (LIFO) -> filled by mqt_maps_insert() -> published -> unlinked by
 * mqt_maps_remove() -> retired list (FIFO) -> after a grace period mqt_maps_reclaim() -> free list.
 * `state` is what makes a row a channel: it leaves FREE, by a release store, when the row is filled
 * and linked everywhere, and becomes FREE again when it is unlinked. A reader who meets a FREE row
 * meets a channel that is not there yet, or no more. So one store publishes a channel to all who look
 * by client, by id, or walk the rows.
 *
 * A client's list is its bag of channels, oldest first, and only its head is in a bucket of the
 * channel map. Removing the head puts the next one in its place there by one store. A removed row keeps
 * its `next` and its places in both chains, so a reader who stands on it still gets to all that was
 * behind it; R9 rests on that.
 *
 * An info is replaced by a store to the row. The old one waits for its grace period in a free row,
 * which is retired with it like a removed one: so there is one queue, and one order.
 *
 * Sizes. Rows beyond max_channels are the slack that a storm of removals uses up until its grace
 * period ends; then insertion fails with ENOSPC as if the maps were full. There are as many buckets as
 * rows. Rows never used and buckets never filled take no memory.
 *
 * Synchronisation: the control lcore writes, everything. Readers are inside mqt_rcu_read sections.
 * Row memory is never anything but rows.
 *
 * Sources: rules R9, R10; invariants I3, I6; McKenney et al., "RCU usage in the Linux kernel", for
 * chains that are read while one writer changes them.
 */

#define SLACK_MIN   1024u
#define SLACK_SHIFT 3 /* an eighth */

#define RECLAIM_BURST 16u

/* --- small things ---------------------------------------------------------------------------- */

static void
count(_Atomic uint32_t *counter, int by)
{
	atomic_store_explicit(counter, maps_get(counter) + (uint32_t)by, memory_order_relaxed);
}

static void
set_state(struct mqt_chan *row, enum mqt_chan_state state)
{
	/* pairs with state_of(): whoever sees it sees the filled row */
	atomic_store_explicit(&row->state, state, memory_order_release);
}

static void
set_info(struct mqt_chan *row, struct mqt_info *info)
{
	/* pairs with mqt_chan_info() */
	atomic_store_explicit(&row->info, info, memory_order_release);
}

static void
set_next(struct mqt_chan *row, const struct mqt_chan *next)
{
	/* pairs with mqt_chan_next() */
	atomic_store_explicit(&row->next, next ? (int32_t)(next - row) : 0, memory_order_release);
}

/* --- chains ---------------------------------------------------------------------------------- */

/* Where a row of a chain has its link to the next. */
typedef _Atomic uint32_t *(*link_fn)(struct mqt_chan *row);

static inline _Atomic uint32_t *
client_link(struct mqt_chan *row)
{
	return &row->next_client;
}

static inline _Atomic uint32_t *
id_link(struct mqt_chan *row)
{
	return &row->next_id;
}

/* The link that leads to @p place, which is in the chain. */
static inline _Atomic uint32_t *
chain_before(const struct mqt_maps *maps, _Atomic uint32_t *link, uint32_t place, link_fn next)
{
	while (maps_get(link) != place)
		link = next(row_at(maps, maps_get(link)));
	return link;
}

static inline void
chain_add(const struct mqt_maps *maps, _Atomic uint32_t *bucket, struct mqt_chan *row, link_fn next)
{
	atomic_store_explicit(next(row), maps_get(bucket), memory_order_relaxed);
	/* pairs with row_behind(): the row is filled */
	atomic_store_explicit(bucket, place_of(maps, row), memory_order_release);
}

static inline void
chain_remove(const struct mqt_maps *maps, _Atomic uint32_t *bucket, struct mqt_chan *row,
		link_fn next)
{
	_Atomic uint32_t *link = chain_before(maps, bucket, place_of(maps, row), next);

	/* pairs with row_behind() */
	atomic_store_explicit(link, maps_get(next(row)), memory_order_release);
}

/* Puts @p heir, which is in no chain, in the place of @p row. */
static inline void
chain_replace(const struct mqt_maps *maps, _Atomic uint32_t *bucket, struct mqt_chan *row,
		struct mqt_chan *heir, link_fn next)
{
	_Atomic uint32_t *link = chain_before(maps, bucket, place_of(maps, row), next);

	atomic_store_explicit(next(heir), maps_get(next(row)), memory_order_relaxed);
	/* pairs with row_behind() */
	atomic_store_explicit(link, place_of(maps, heir), memory_order_release);
}

/* --- creation -------------------------------------------------------------------------------- */

/* Each look-up is a miss somewhere in it, so huge pages halve its price. */
static void *
map_array(size_t bytes)
{
	return mqt_pages_map(bytes, MQT_PAGES_HUGE);
}

/* @return 0, or -ENOMEM; what was made is destroyed with the maps. */
static int
memory_init(struct mqt_maps *maps)
{
	size_t n = maps->n_rows;

	maps->rows = map_array(n * sizeof(*maps->rows));
	maps->links = map_array(n * sizeof(*maps->links));
	maps->ends = map_array(n * sizeof(*maps->ends));
	maps->clients = map_array((size_t)maps->n_buckets * sizeof(*maps->clients));
	maps->ids = map_array((size_t)maps->n_buckets * sizeof(*maps->ids));
	if (!maps->rows || !maps->links || !maps->ends || !maps->clients || !maps->ids)
		return -ENOMEM;
	return 0;
}

static void
memory_fini(struct mqt_maps *maps)
{
	size_t n = maps->n_rows;

	for (uint32_t i = 0; maps->rows && i < maps_get(&maps->n_touched); i++)
		free(mqt_chan_info(&maps->rows[i]));
	mqt_pages_unmap(maps->rows, n * sizeof(*maps->rows));
	mqt_pages_unmap(maps->links, n * sizeof(*maps->links));
	mqt_pages_unmap(maps->ends, n * sizeof(*maps->ends));
	mqt_pages_unmap(maps->clients, (size_t)maps->n_buckets * sizeof(*maps->clients));
	mqt_pages_unmap(maps->ids, (size_t)maps->n_buckets * sizeof(*maps->ids));
}

struct mqt_maps *
mqt_maps_create(const struct mqt_maps_params *params)
{
	uint32_t max = params->max_channels;
	struct mqt_maps *maps;

	if (max == 0 || max > MQT_MAPS_MAX_CHANNELS) {
		rte_errno = EINVAL;
		return NULL;
	}
	maps = aligned_alloc(alignof(struct mqt_maps), sizeof(*maps));
	if (!maps) {
		rte_errno = ENOMEM;
		return NULL;
	}
	memset(maps, 0, sizeof(*maps));
	maps->capacity = max;
	maps->n_rows = max + RTE_MAX(max >> SLACK_SHIFT, SLACK_MIN);
	maps->n_buckets = maps->n_rows;
	if (grace_init(&maps->grace) < 0 || memory_init(maps) < 0) {
		mqt_maps_destroy(maps);
		rte_errno = ENOMEM;
		return NULL;
	}
	return maps;
}

void
mqt_maps_destroy(struct mqt_maps *maps)
{
	if (!maps)
		return;
	grace_stop(&maps->grace);
	memory_fini(maps);
	grace_fini(&maps->grace);
	free(maps);
}

/* --- rows: free, retired ---------------------------------------------------------------------- */

static bool
row_available(const struct mqt_maps *maps)
{
	return maps->free != NO_PLACE || maps_get(&maps->n_touched) < maps->n_rows;
}

static struct mqt_chan *
row_take(struct mqt_maps *maps)
{
	uint32_t n = maps_get(&maps->n_touched);
	struct mqt_chan *row = row_at(maps, maps->free);

	if (!row) {
		atomic_store_explicit(&maps->n_touched, n + 1, memory_order_relaxed);
		return &maps->rows[n];
	}
	maps->free = maps->links[row - maps->rows];
	if (maps->free != NO_PLACE) { /* the one that is taken next */
		rte_prefetch0(&maps->rows[maps->free - 1]);
		rte_prefetch0(&maps->links[maps->free - 1]);
	}
	return row;
}

static void
row_free(struct mqt_maps *maps, struct mqt_chan *row)
{
	maps->links[row - maps->rows] = maps->free;
	maps->free = place_of(maps, row);
}

static void
row_retire(struct mqt_maps *maps, struct mqt_chan *row) MQT_REQUIRES(mqt_role_control)
{
	uint32_t place = place_of(maps, row);
	bool was_empty = maps->retired_first == NO_PLACE;

	maps->links[place - 1] = NO_PLACE;
	if (was_empty)
		maps->retired_first = place;
	else
		maps->links[maps->retired_last - 1] = place;
	maps->retired_last = place;
	count(&maps->n_retired, 1);
	grace_retire(&maps->grace);
	if (was_empty)
		grace_kick(&maps->grace);
}

/* --- insertion ------------------------------------------------------------------------------- */

/* Adds the row to the tail of its client's list. */
static void
link_client(struct mqt_maps *maps, const struct mqt_digest *digest, struct mqt_chan *row)
{
	struct mqt_chan *tail = find_client(maps, digest);

	if (!tail) {
		chain_add(maps, bucket_of_sig(maps, row->sig), row, client_link);
		count(&maps->n_clients, 1);
		return;
	}
	for (struct mqt_chan *next; (next = mqt_chan_next(tail));)
		tail = next;
	set_next(tail, row);
}

struct mqt_chan *
mqt_maps_insert(struct mqt_maps *maps, mqt_chan_id id, struct mqt_info *info, uint64_t stamp_ns,
		uint64_t wall_ns, uint64_t epoch)
{
	struct mqt_chan *row;

	if (find_id(maps, id)) {
		rte_errno = EEXIST;
		return NULL;
	}
	if (!row_available(maps) || maps_get(&maps->n_channels) >= maps->capacity) {
		rte_errno = ENOSPC;
		return NULL;
	}
	row = row_take(maps);
	row->id = id;
	row->sig = sig_of(&info->digest);
	row->stamp_ns = stamp_ns;
	row->connected_wall_ns = wall_ns;
	row->epoch = epoch;
	row->tag = 0;
	set_info(row, info);
	set_next(row, NULL);
	chain_add(maps, bucket_of_id(maps, id), row, id_link);
	link_client(maps, &info->digest, row);
	set_state(row, MQT_CHAN_CONNECTED);
	count(&maps->n_channels, 1);
	count(&maps->n_live, 1);
	return row;
}

/* --- what may change in a row ------------------------------------------------------------------- */

/* A free row carries the old info through the grace period: it has no id and was never published. */
static void
retire_info(struct mqt_maps *maps, struct mqt_info *info) MQT_REQUIRES(mqt_role_control)
{
	struct mqt_chan *row = row_take(maps);

	row->id = MQT_CHAN_NONE;
	set_info(row, info);
	row_retire(maps, row);
}

int
mqt_maps_set_info(struct mqt_maps *maps, mqt_chan_id id, struct mqt_info *info)
{
	struct mqt_chan *row = find_id(maps, id);
	struct mqt_info *old;

	if (!row)
		return -ENOENT;
	old = mqt_chan_info(row);
	if (!mqt_digest_equal(&old->digest, &info->digest))
		return -EINVAL;
	if (!row_available(maps))
		return -ENOSPC;
	set_info(row, info);
	retire_info(maps, old);
	return 0;
}

void
mqt_maps_set_end(struct mqt_maps *maps, const struct mqt_chan *row, const struct mqt_chan_end *end)
{
	struct row_end *e = &maps->ends[row - maps->rows];

	for (unsigned c = 0; c < MQT_SLOT_N_COUNTERS; c++)
		atomic_store_explicit(&e->counter[c], end->counter[c], memory_order_relaxed);
	atomic_store_explicit(&e->wall_ns, end->wall_ns, memory_order_relaxed);
	/* pairs with the acquire load in mqt_maps_end() */
	atomic_store_explicit(&e->chan, row->id, memory_order_release);
}

/* --- liveness and removal --------------------------------------------------------------------- */

int
mqt_maps_set_down(struct mqt_maps *maps, mqt_chan_id id, enum mqt_chan_state state)
{
	struct mqt_chan *row = find_id(maps, id);

	if (!row || state_of(row) != MQT_CHAN_CONNECTED)
		return -ENOENT;
	set_state(row, state);
	count(&maps->n_live, -1);
	return 0;
}

int
mqt_maps_set_live(struct mqt_maps *maps, mqt_chan_id id)
{
	struct mqt_chan *row = find_id(maps, id);

	if (!row || state_of(row) != MQT_CHAN_ORPHANED)
		return -ENOENT;
	set_state(row, MQT_CHAN_CONNECTED);
	count(&maps->n_live, 1);
	return 0;
}

/* Takes a row out of its client's list. */
static void
unlink_client(struct mqt_maps *maps, struct mqt_chan *row)
{
	_Atomic uint32_t *bucket = bucket_of_sig(maps, row->sig);
	struct mqt_chan *prev = NULL, *next = mqt_chan_next(row);

	/* a row that is alone needs no look at its digest */
	if (next || maps_get(bucket) != place_of(maps, row))
		prev = find_client(maps, &mqt_chan_info(row)->digest);
	if (prev && prev != row) {
		while (mqt_chan_next(prev) != row)
			prev = mqt_chan_next(prev);
		set_next(prev, next);
	} else if (next) {
		chain_replace(maps, bucket, row, next, client_link);
	} else {
		chain_remove(maps, bucket, row, client_link);
		count(&maps->n_clients, -1);
	}
}

int
mqt_maps_remove(struct mqt_maps *maps, mqt_chan_id id)
{
	struct mqt_chan *row = find_id(maps, id);

	if (!row)
		return -ENOENT;
	unlink_client(maps, row);
	if (state_of(row) == MQT_CHAN_CONNECTED)
		count(&maps->n_live, -1);
	set_state(row, MQT_CHAN_FREE);
	chain_remove(maps, bucket_of_id(maps, id), row, id_link);
	count(&maps->n_channels, -1);
	row_retire(maps, row);
	return 0;
}

struct mqt_chan *
mqt_maps_get(const struct mqt_maps *maps, mqt_chan_id id)
{
	return find_id(maps, id);
}

struct mqt_chan *
mqt_maps_head(const struct mqt_maps *maps, const struct mqt_digest *digest)
{
	return find_client(maps, digest);
}

/* --- reclaim --------------------------------------------------------------------------------- */

/* Loads the next @p n that are retired, and their infos, ahead. */
static void
reclaim_ahead(const struct mqt_maps *maps, unsigned n)
{
	const struct mqt_chan *rows[RECLAIM_BURST];
	uint32_t place = maps->retired_first;

	for (unsigned i = 0; i < n; i++) {
		rows[i] = row_at(maps, place);
		rte_prefetch0(rows[i]);
		place = maps->links[place - 1];
	}
	for (unsigned i = 0; i < n; i++)
		rte_prefetch0(mqt_chan_info(rows[i]));
}

unsigned
mqt_maps_reclaim(struct mqt_maps *maps, unsigned budget, mqt_maps_reclaim_fn fn, void *arg)
{
	uint64_t completed = grace_completed(&maps->grace);
	unsigned n = 0;

	while (n < budget && maps->reclaimed != completed) {
		struct mqt_chan *row = row_at(maps, maps->retired_first);
		struct mqt_info *info;

		if (n % RECLAIM_BURST == 0)
			reclaim_ahead(maps,
					(unsigned)RTE_MIN(RTE_MIN(budget - n, RECLAIM_BURST),
							completed - maps->reclaimed));
		info = mqt_chan_info(row);
		maps->retired_first = maps->links[row - maps->rows];
		set_info(row, NULL);
		maps->reclaimed++;
		row_free(maps, row);
		n++;
		if (row->id == MQT_CHAN_NONE) /* one that was replaced */
			free(info);
		else
			fn(arg, row->id, info, row->tag);
	}
	count(&maps->n_retired, -(int)n);
	if (maps->retired_first != NO_PLACE && grace_wanted(&maps->grace))
		grace_kick(&maps->grace);
	return n;
}

/* --- grace periods --------------------------------------------------------------------------- */

bool
mqt_maps_grace_wanted(struct mqt_maps *maps)
{
	return grace_wanted(&maps->grace);
}

void
mqt_maps_grace_run(struct mqt_maps *maps)
{
	grace_run(&maps->grace);
}

int
mqt_maps_reclaimer_start(struct mqt_maps *maps)
{
	return grace_start(&maps->grace);
}

void
mqt_maps_reclaimer_stop(struct mqt_maps *maps)
{
	grace_stop(&maps->grace);
}
