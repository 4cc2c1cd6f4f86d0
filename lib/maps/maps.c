/* SPDX-License-Identifier: BSD-3-Clause */
#include "mqtrack/maps.h"

#include "grace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_branch_prediction.h>
#include <rte_common.h>
#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_prefetch.h>

/*
 * The three maps and the rows behind them.
 *
 * A row's life: free list (FIFO) -> filled by mqt_maps_insert() -> published -> unlinked by
 * mqt_maps_remove() -> retired list (FIFO) -> after a grace period mqt_maps_reclaim() -> free list.
 * `state` is what makes a row a channel: it leaves FREE, by a release store, when the row is filled
 * and in the maps by id, and becomes FREE again when it leaves them. A reader who meets a FREE row
 * in a map meets a channel that is not there yet, or no more. So one store publishes a channel to
 * all who look by id or walk the rows.
 *
 * Insertion. All that can fail comes before that store, so a failure has shown nothing to anybody:
 *   1. channel map: a new client's key, its data still NULL (readers: no such client)
 *   2. info map, live map: key -> row, the row still FREE (readers: no such channel)
 *   3. state: from here on found by id and by walking
 *   4. the client's list: the key's data, or the tail's `next`; from here on found by client
 * so whoever finds a channel by its client finds it by its id. What step 1 or 2 did before a
 * failure is retired together with the row. Removal goes back the same way: list, state, tables.
 *
 * A client's list is its bag of channels, oldest first. Removing the head points the key at the
 * next one, or deletes the key. A removed row keeps its `next`, so a reader who stands on it still
 * gets to the rows that were behind it; R9 rests on that.
 *
 * Leaving the live map while staying registered (mqt_maps_set_down()) sets the key's data to NULL
 * and coming back sets it again: neither can fail, and neither uses up a key position.
 *
 * An info is replaced by a store to the row. The old one waits for its grace period in a free row,
 * which is retired with it like a removed one: so there is one queue, and one order.
 *
 * Positions. rte_hash with lock-free readers does not give a deleted key's position back; that is
 * done by rte_hash_free_key_with_position(), after the same grace period. `struct row_ctl` keeps
 * the positions of a retired row. Rows beyond max_channels are the slack that a storm of removals
 * uses up until its grace period ends; then insertion fails with ENOSPC as if the maps were full.
 *
 * Sizes. rte_hash loses the position of a key for ever when it finds no extendable bucket for it
 * (DPDK 22.11, __rte_hash_add_key_with_hash(), label failure), so that must not happen, whatever
 * keys collide. Of B buckets' worth of entries there are B / 8 extendable buckets. A chain of m of
 * them hangs on a full bucket and is compacted at each removal, so it holds more than 8 m keys:
 * max_channels / 8 are in use at most. A retired row keeps one at most from being used. With
 * (B - max_channels) / 8 rows of slack there is always one left, and always a position. So a table
 * never refuses a key while there is a free row; the unwinding is there for what we do not know.
 *
 * Synchronisation: the control lcore writes, everything. Readers are inside mqt_rcu_read sections.
 * Row memory is never anything but rows. rte_hash orders a key's data by release and acquire, which
 * ThreadSanitizer is told, for it cannot see it.
 *
 * Sources: rules R9, R10; invariants I3, I6; DPDK 22.11 lib/hash/rte_cuckoo_hash.c.
 */

#define SLACK_MIN   1024u
#define NAME_SUFFIX 2  /* ".c" */
#define NAME_MAX_   21 /* what rte_hash's longest ring name leaves: 28 - strlen("HT_EXT_") */
#define NIL         UINT32_MAX
#define NO_POS      (-1)

/* The control lcore's part of a row. */
struct row_ctl {
	uint32_t next;    /* in the free or the retired list */
	int32_t pos_chan; /* positions to be given back with a retired row */
	int32_t pos_info;
	int32_t pos_live;
};

/*
 * How the connection of a channel ended, for those that are kept without one. It says whose it is,
 * so it need not be cleared when its row goes to another channel: few channels ever have one, and
 * the memory of the others is never touched.
 */
struct row_end {
	_Atomic mqt_chan_id chan; /* W: control, behind the others; R: any */
	_Atomic uint64_t wall_ns;
	_Atomic uint64_t counter[MQT_SLOT_N_COUNTERS];
};

/* FIFO of rows by index. */
struct row_list {
	uint32_t first;
	uint32_t last;
	uint32_t n;
};

struct mqt_maps {
	/* immutable after creation */
	struct rte_hash *chans; /* digest -> head of the client's list */
	struct rte_hash *infos; /* id -> row */
	struct rte_hash *lives; /* id -> row, or NULL while not live */
	struct mqt_chan *rows;
	struct row_end *ends; /* by row */
	struct row_ctl *ctl;
	uint32_t n_rows;
	uint32_t capacity;
	size_t rows_bytes;
	size_t ends_bytes;
	/* control only */
	struct row_list free;
	struct row_list retired;
	uint64_t reclaimed; /* grace numbers up to this one are freed */
	/* W: control; R: any, relaxed */
	alignas(64) _Atomic uint32_t n_channels;
	_Atomic uint32_t n_clients;
	_Atomic uint32_t n_live;
	_Atomic uint32_t n_retired;
	_Atomic uint32_t n_touched; /* rows below this index have been used. R: acquire */
	struct grace grace;
};

/* --- small things ---------------------------------------------------------------------------- */

static void
count(_Atomic uint32_t *counter, int by)
{
	uint32_t v = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, v + (uint32_t)by, memory_order_relaxed);
}

static uint32_t
get(const _Atomic uint32_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static hash_sig_t
sig_of(const struct mqt_digest *digest)
{
	return (hash_sig_t)digest->word[0];
}

static void
list_push(struct mqt_maps *maps, struct row_list *list, uint32_t row)
{
	maps->ctl[row].next = NIL;
	if (list->n++ == 0)
		list->first = row;
	else
		maps->ctl[list->last].next = row;
	list->last = row;
}

static uint32_t
list_pop(struct mqt_maps *maps, struct row_list *list)
{
	uint32_t row = list->first;

	list->first = maps->ctl[row].next;
	list->n--;
	return row;
}

static struct mqt_chan *
lookup_id(const struct rte_hash *h, mqt_chan_id id)
{
	void *data = NULL;

	if (rte_hash_lookup_with_hash_data(h, &id, mqt_hash_chan(id), &data) < 0)
		return NULL;
	mqt_tsan_acquire(data);
	return data;
}

static struct mqt_chan *
lookup_client(const struct mqt_maps *maps, const struct mqt_digest *digest)
{
	void *data = NULL;

	if (rte_hash_lookup_with_hash_data(maps->chans, digest, sig_of(digest), &data) < 0)
		return NULL;
	mqt_tsan_acquire(data);
	return data;
}

static int
add_id(const struct rte_hash *h, mqt_chan_id id, struct mqt_chan *row)
{
	mqt_tsan_release(row);
	return rte_hash_add_key_with_hash_data(h, &id, mqt_hash_chan(id), row);
}

/* Adds a client's key, or changes the head of its list where the key is there: cannot fail then. */
static int
add_client(struct mqt_maps *maps, const struct mqt_digest *digest, struct mqt_chan *head)
{
	mqt_tsan_release(head);
	return rte_hash_add_key_with_hash_data(maps->chans, digest, sig_of(digest), head);
}

static int32_t
del_id(const struct rte_hash *h, mqt_chan_id id)
{
	return rte_hash_del_key_with_hash(h, &id, mqt_hash_chan(id));
}

static struct mqt_chan *
next_of(const struct mqt_chan *row)
{
	/* pairs with the release stores in link_row() and unlink_row() */
	return atomic_load_explicit(&row->next, memory_order_acquire);
}

static uint32_t
state_of(const struct mqt_chan *row)
{
	/* pairs with the release stores of set_state() */
	return atomic_load_explicit(&row->state, memory_order_acquire);
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
	atomic_store_explicit(
			&row->info, info, memory_order_release); /* pairs with mqt_chan_info() */
}

/* --- creation -------------------------------------------------------------------------------- */

static struct rte_hash *
table_create(const struct mqt_maps_params *params, const char *suffix, uint32_t entries,
		uint32_t key_len)
{
	char name[RTE_HASH_NAMESIZE];
	struct rte_hash_parameters hp = {
		.name = name,
		.entries = entries,
		.key_len = key_len,
		.socket_id = params->socket_id,
		.extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF |
				RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	};

	snprintf(name, sizeof(name), "%s%s", params->name, suffix);
	return rte_hash_create(&hp);
}

/* Zeroed; memory is taken as it is first used. */
static void *
pages(size_t bytes)
{
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

static int
rows_create(struct mqt_maps *maps)
{
	maps->rows_bytes = (size_t)maps->n_rows * sizeof(struct mqt_chan);
	maps->rows = pages(maps->rows_bytes);
	maps->ends_bytes = (size_t)maps->n_rows * sizeof(struct row_end);
	maps->ends = pages(maps->ends_bytes);
	if (!maps->rows || !maps->ends)
		return -ENOMEM;
	maps->ctl = calloc(maps->n_rows, sizeof(*maps->ctl));
	if (!maps->ctl)
		return -ENOMEM;
	for (uint32_t i = 0; i < maps->n_rows; i++)
		list_push(maps, &maps->free, i);
	return 0;
}

/* Sizes as the opening comment has them. @return entries of each table, 0: too many. */
static uint32_t
sizes_init(struct mqt_maps *maps, uint32_t max_channels)
{
	/* 75 % of the buckets are filled at most */
	uint64_t least = RTE_MAX(max_channels * 4ull / 3, max_channels + 8ull * SLACK_MIN);
	uint64_t buckets = rte_align64pow2(least);

	if (max_channels == 0 || buckets > RTE_HASH_ENTRIES_MAX)
		return 0;
	maps->capacity = max_channels;
	maps->n_rows = max_channels + (uint32_t)(buckets - max_channels) / 8;
	return RTE_MAX(maps->n_rows, (uint32_t)buckets / 2 + 1);
}

struct mqt_maps *
mqt_maps_create(const struct mqt_maps_params *params)
{
	struct mqt_maps *maps;
	uint32_t entries;

	maps = aligned_alloc(alignof(struct mqt_maps), sizeof(*maps));
	if (!maps) {
		rte_errno = ENOMEM;
		return NULL;
	}
	memset(maps, 0, sizeof(*maps));
	entries = sizes_init(maps, params->max_channels);
	if (entries == 0 || strlen(params->name) + NAME_SUFFIX > NAME_MAX_) {
		free(maps);
		rte_errno = EINVAL;
		return NULL;
	}
	if (grace_init(&maps->grace) < 0 || rows_create(maps) < 0) {
		rte_errno = ENOMEM;
		goto err;
	}
	maps->chans = table_create(params, ".c", entries, sizeof(struct mqt_digest));
	if (!maps->chans)
		goto err;
	maps->infos = table_create(params, ".i", entries, sizeof(mqt_chan_id));
	if (!maps->infos)
		goto err;
	maps->lives = table_create(params, ".l", entries, sizeof(mqt_chan_id));
	if (!maps->lives)
		goto err;
	return maps;
err:
	mqt_maps_destroy(maps);
	return NULL;
}

void
mqt_maps_destroy(struct mqt_maps *maps)
{
	if (!maps)
		return;
	grace_stop(&maps->grace);
	rte_hash_free(maps->chans);
	rte_hash_free(maps->infos);
	rte_hash_free(maps->lives);
	if (maps->rows) {
		for (uint32_t i = 0; i < maps->n_touched; i++)
			free(mqt_chan_info(&maps->rows[i]));
		munmap(maps->rows, maps->rows_bytes);
	}
	if (maps->ends)
		munmap(maps->ends, maps->ends_bytes);
	free(maps->ctl);
	grace_fini(&maps->grace);
	free(maps);
}

/* --- insertion ------------------------------------------------------------------------------- */

static uint32_t
row_take(struct mqt_maps *maps)
{
	uint32_t index = list_pop(maps, &maps->free);

	if (index >= get(&maps->n_touched))
		atomic_store_explicit(&maps->n_touched, index + 1, memory_order_relaxed);
	return index;
}

static void
retire_row(struct mqt_maps *maps, uint32_t row) MQT_REQUIRES(mqt_role_control)
{
	bool was_empty = maps->retired.n == 0;

	list_push(maps, &maps->retired, row);
	count(&maps->n_retired, 1);
	grace_retire(&maps->grace);
	if (was_empty)
		grace_kick(&maps->grace);
}

/* Takes a key for the row in each table. Positions that were used for nothing are in @p ctl. */
static int
tables_add(struct mqt_maps *maps, struct mqt_chan *row, bool new_client, struct row_ctl *ctl)
{
	const struct mqt_digest *digest = &mqt_chan_info(row)->digest;

	ctl->pos_chan = NO_POS;
	ctl->pos_info = NO_POS;
	ctl->pos_live = NO_POS;
	if (new_client && add_client(maps, digest, NULL) < 0)
		return -ENOSPC;
	if (add_id(maps->infos, row->id, row) < 0)
		goto err_info;
	if (add_id(maps->lives, row->id, row) < 0)
		goto err_live;
	return 0;
err_live:
	ctl->pos_info = del_id(maps->infos, row->id);
err_info:
	if (new_client)
		ctl->pos_chan = rte_hash_del_key_with_hash(maps->chans, digest, sig_of(digest));
	return -ENOSPC;
}

static void
link_row(struct mqt_maps *maps, struct mqt_chan *head, struct mqt_chan *row)
{
	const struct mqt_digest *digest = &mqt_chan_info(row)->digest;
	struct mqt_chan *tail = head;

	if (!head) {
		/* the key is there, so this only sets its data (by release) and cannot fail */
		add_client(maps, digest, row);
		count(&maps->n_clients, 1);
		return;
	}
	for (struct mqt_chan *c = next_of(head); c; c = next_of(c))
		tail = c;
	atomic_store_explicit(&tail->next, row, memory_order_release); /* pairs with next_of() */
}

struct mqt_chan *
mqt_maps_insert(struct mqt_maps *maps, mqt_chan_id id, struct mqt_info *info, uint64_t stamp_ns,
		uint64_t now_ns, uint64_t wall_ns, uint64_t epoch)
{
	struct mqt_chan *head, *row;
	uint32_t index;

	if (lookup_id(maps->infos, id)) {
		rte_errno = EEXIST;
		return NULL;
	}
	if (maps->free.n == 0 || get(&maps->n_channels) >= maps->capacity) {
		rte_errno = ENOSPC;
		return NULL;
	}
	index = row_take(maps);
	row = &maps->rows[index];
	row->id = id;
	set_info(row, info);
	row->stamp_ns = stamp_ns;
	row->connected_ns = now_ns;
	row->connected_wall_ns = wall_ns;
	row->epoch = epoch;
	row->tag = 0;
	atomic_store_explicit(&row->next, NULL, memory_order_relaxed);
	head = lookup_client(maps, &info->digest);
	if (tables_add(maps, row, !head, &maps->ctl[index]) < 0) {
		set_info(row, NULL);
		retire_row(maps, index);
		rte_errno = ENOSPC;
		return NULL;
	}
	set_state(row, MQT_CHAN_CONNECTED);
	link_row(maps, head, row);
	count(&maps->n_channels, 1);
	count(&maps->n_live, 1);
	return row;
}

/* --- what may change in a row ------------------------------------------------------------------- */

/* A free row carries the old info through the grace period: it has no id and was never published. */
static void
retire_info(struct mqt_maps *maps, struct mqt_info *info) MQT_REQUIRES(mqt_role_control)
{
	uint32_t index = row_take(maps);
	struct mqt_chan *row = &maps->rows[index];

	row->id = MQT_CHAN_NONE;
	set_info(row, info);
	maps->ctl[index].pos_chan = NO_POS;
	maps->ctl[index].pos_info = NO_POS;
	maps->ctl[index].pos_live = NO_POS;
	retire_row(maps, index);
}

int
mqt_maps_set_info(struct mqt_maps *maps, mqt_chan_id id, struct mqt_info *info)
{
	struct mqt_chan *row = lookup_id(maps->infos, id);
	struct mqt_info *old;

	if (!row)
		return -ENOENT;
	old = mqt_chan_info(row);
	if (!mqt_digest_equal(&old->digest, &info->digest))
		return -EINVAL;
	if (maps->free.n == 0)
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
	struct mqt_chan *row = lookup_id(maps->lives, id);

	if (!row)
		return -ENOENT;
	set_state(row, state);
	add_id(maps->lives, id, NULL); /* the key is there: sets its data, cannot fail */
	count(&maps->n_live, -1);
	return 0;
}

int
mqt_maps_set_live(struct mqt_maps *maps, mqt_chan_id id)
{
	struct mqt_chan *row = lookup_id(maps->infos, id);

	if (!row || state_of(row) != MQT_CHAN_ORPHANED)
		return -ENOENT;
	add_id(maps->lives, id, row); /* the key is there: sets its data, cannot fail */
	set_state(row, MQT_CHAN_CONNECTED);
	count(&maps->n_live, 1);
	return 0;
}

/* Takes a row out of its client's list. @return the position of a deleted key, or NO_POS. */
static int32_t
unlink_row(struct mqt_maps *maps, struct mqt_chan *row)
{
	const struct mqt_digest *digest = &mqt_chan_info(row)->digest;
	struct mqt_chan *prev = lookup_client(maps, digest);
	struct mqt_chan *next = next_of(row);

	if (prev == row && !next) {
		count(&maps->n_clients, -1);
		return rte_hash_del_key_with_hash(maps->chans, digest, sig_of(digest));
	}
	if (prev == row) {
		add_client(maps, digest, next);
		return NO_POS;
	}
	while (next_of(prev) != row)
		prev = next_of(prev);
	atomic_store_explicit(&prev->next, next, memory_order_release); /* pairs with next_of() */
	return NO_POS;
}

int
mqt_maps_remove(struct mqt_maps *maps, mqt_chan_id id)
{
	struct mqt_chan *row = lookup_id(maps->infos, id);
	struct row_ctl *ctl;

	if (!row)
		return -ENOENT;
	ctl = &maps->ctl[row - maps->rows];
	ctl->pos_chan = unlink_row(maps, row);
	if (state_of(row) == MQT_CHAN_CONNECTED)
		count(&maps->n_live, -1);
	set_state(row, MQT_CHAN_FREE);
	ctl->pos_live = del_id(maps->lives, id);
	ctl->pos_info = del_id(maps->infos, id);
	count(&maps->n_channels, -1);
	retire_row(maps, (uint32_t)(row - maps->rows));
	return 0;
}

struct mqt_chan *
mqt_maps_get(const struct mqt_maps *maps, mqt_chan_id id)
{
	return lookup_id(maps->infos, id);
}

struct mqt_chan *
mqt_maps_head(const struct mqt_maps *maps, const struct mqt_digest *digest)
{
	return lookup_client(maps, digest);
}

/* --- reclaim --------------------------------------------------------------------------------- */

static void
position_free(const struct rte_hash *h, int32_t pos)
{
	if (pos >= 0)
		rte_hash_free_key_with_position(h, pos);
}

unsigned
mqt_maps_reclaim(struct mqt_maps *maps, unsigned budget, mqt_maps_reclaim_fn fn, void *arg)
{
	uint64_t completed = grace_completed(&maps->grace);
	unsigned n = 0;

	while (n < budget && maps->reclaimed != completed) {
		uint32_t index = list_pop(maps, &maps->retired);
		struct mqt_chan *row = &maps->rows[index];
		struct mqt_info *info = mqt_chan_info(row);
		mqt_chan_id id = row->id;

		position_free(maps->chans, maps->ctl[index].pos_chan);
		position_free(maps->infos, maps->ctl[index].pos_info);
		position_free(maps->lives, maps->ctl[index].pos_live);
		set_info(row, NULL);
		maps->reclaimed++;
		count(&maps->n_retired, -1);
		list_push(maps, &maps->free, index);
		n++;
		if (id == MQT_CHAN_NONE) /* one that was replaced */
			free(info);
		else if (info) /* none where an insertion failed */
			fn(arg, id, info, row->tag);
	}
	if (maps->retired.n > 0 && grace_wanted(&maps->grace))
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

/* --- readers --------------------------------------------------------------------------------- */

const struct mqt_chan *
mqt_maps_lookup(const struct mqt_maps *maps, const struct mqt_digest *digest)
{
	return lookup_client(maps, digest);
}

void
mqt_maps_lookup_bulk(const struct mqt_maps *maps, const struct mqt_digest *digests, unsigned n,
		const struct mqt_chan **out)
{
	const void *keys[RTE_HASH_LOOKUP_BULK_MAX];
	hash_sig_t sigs[RTE_HASH_LOOKUP_BULK_MAX];
	void *data[RTE_HASH_LOOKUP_BULK_MAX];
	uint64_t hits = 0;

	for (unsigned i = 0; i < n; i++) {
		keys[i] = &digests[i];
		sigs[i] = sig_of(&digests[i]);
	}
	rte_hash_lookup_with_hash_bulk_data(maps->chans, keys, sigs, n, &hits, data);
	for (unsigned i = 0; i < n; i++) {
		out[i] = hits >> i & 1 ? data[i] : NULL;
		mqt_tsan_acquire(out[i]);
	}
}

const struct mqt_chan *
mqt_maps_info(const struct mqt_maps *maps, mqt_chan_id id)
{
	const struct mqt_chan *row = lookup_id(maps->infos, id);

	return row && state_of(row) != MQT_CHAN_FREE ? row : NULL;
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

bool
mqt_maps_is_live(const struct mqt_maps *maps, mqt_chan_id id)
{
	const struct mqt_chan *row = lookup_id(maps->lives, id);

	return row && state_of(row) == MQT_CHAN_CONNECTED;
}

const struct mqt_chan *
mqt_maps_next(const struct mqt_maps *maps, uint32_t *pos)
{
	uint32_t n = get(&maps->n_touched);

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
	out->channels = get(&maps->n_channels);
	out->clients = get(&maps->n_clients);
	out->live = get(&maps->n_live);
	out->retired = get(&maps->n_retired);
	out->capacity = maps->capacity;
	/* two counts read one after the other: together they may exceed the rows for a moment */
	out->free = out->channels + out->retired < maps->n_rows
			? maps->n_rows - out->channels - out->retired
			: 0;
}
