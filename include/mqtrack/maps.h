/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_MAPS_H
#define MQT_MAPS_H

#include "mqtrack/annot.h"
#include "mqtrack/chan_id.h"
#include "mqtrack/hash.h"
#include "mqtrack/info.h"
#include "mqtrack/slot.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * @file
 * The three maps, written by the control lcore alone, read by any thread without a lock:
 *
 *   channel map  client digest -> its channels, a list in order of registration (a bag)
 *   info map     channel id    -> channel
 *   live map     channel id    -> channel, while connected: the info map's rows that say so
 *
 * and the array of channel rows behind them. Rows are type-stable: memory of a row is a row for
 * ever, and what is immutable in it does not change between publication and the end of the grace
 * period after removal. An info never changes: it is replaced by another one, and the old one stays
 * for a grace period. Grace periods are liburcu QSBR's.
 *
 * Exclusion: one writer (control), any number of readers inside mqt_rcu_read sections.
 */

enum mqt_chan_state {
	MQT_CHAN_FREE = 0,     /* not registered, or not any more: a reader that meets it goes on */
	MQT_CHAN_CONNECTED,    /* in all three maps */
	MQT_CHAN_ORPHANED,     /* its worker is stalled: not live, may come back (rule R8) */
	MQT_CHAN_DISCONNECTED, /* left the live map, waits to be unregistered */
	MQT_CHAN_RETAINED,     /* left the live map, its session waits for the client */
};

/** A row. Read by anybody in a section; written by the control lcore. */
struct mqt_chan {
	_Atomic int32_t next;            /* see mqt_chan_next(). R: any, RCU */
	_Atomic uint32_t state;          /* enum mqt_chan_state. R: any */
	_Atomic uint32_t next_client;    /* of its bucket of the channel map. R: lib/maps, RCU */
	_Atomic uint32_t next_id;        /* of its bucket of the info map. R: lib/maps, RCU */
	_Atomic(struct mqt_info *) info; /* see mqt_chan_info(). R: any, RCU */
	uint32_t tag; /* the control lcore's own, 0 at first; comes back through reclaim */
	/* immutable while published */
	uint32_t sig; /* of the client's digest */
	mqt_chan_id id;
	uint64_t stamp_ns;          /* CONNACK's arrival, mono */
	uint64_t connected_wall_ns; /* registration */
	uint64_t epoch;             /* grows with each channel of this client id; see event.h */
};

_Static_assert(sizeof(struct mqt_chan) == 64, "one row is one cache line");

/**
 * What is known of a channel. It may be replaced at any time: who needs several things that belong
 * together asks once. Context: a section, or the writer.
 */
static inline struct mqt_info *
mqt_chan_info(const struct mqt_chan *chan)
{
	/* pairs with the release stores in mqt_maps_insert() and mqt_maps_set_info() */
	return atomic_load_explicit(&chan->info, memory_order_acquire);
}

/**
 * Next newer channel of the same client; NULL at the end. A channel that has been removed still leads
 * to those that were behind it (R9). Context: a section, or the writer.
 */
static inline struct mqt_chan *
mqt_chan_next(const struct mqt_chan *chan)
{
	/* pairs with the release stores in mqt_maps_insert() and mqt_maps_remove() */
	int32_t rows = atomic_load_explicit(&chan->next, memory_order_acquire);

	return rows ? (struct mqt_chan *)(uintptr_t)(chan + rows) : NULL;
}

/** How a connection ended, of which the channel is still there. */
struct mqt_chan_end {
	uint64_t wall_ns;
	uint64_t counter[MQT_SLOT_N_COUNTERS]; /* its traffic */
};

struct mqt_maps;

#define MQT_MAPS_MAX_CHANNELS (1u << 30)

struct mqt_maps_params {
	uint32_t max_channels; /* 1 to MQT_MAPS_MAX_CHANNELS */
};

/**
 * Memory is taken as it is first used, in huge pages where the system gives them unasked; it lies on
 * the NUMA node of whoever uses it first: the control lcore.
 * @return NULL with rte_errno EINVAL or ENOMEM. Ownership: mqt_maps_destroy().
 */
struct mqt_maps *mqt_maps_create(const struct mqt_maps_params *params);

/** Accepts NULL. Infos still held are freed with free(). Context: no reader and no writer is left. */
void mqt_maps_destroy(struct mqt_maps *maps);

/* --- writer ------------------------------------------------------------------------------- */

/**
 * Adds a channel to the tail of its client's list, to the info map and to the live map, and
 * publishes it.
 * @param id not in the maps yet.
 * @param info owned by the maps from success on, until it comes back through reclaim.
 * @param wall_ns becomes connected_wall_ns. @param epoch of the client.
 * @return the row, or NULL with rte_errno ENOSPC (nothing changed) or EEXIST.
 */
struct mqt_chan *mqt_maps_insert(struct mqt_maps *maps, mqt_chan_id id, struct mqt_info *info,
		uint64_t stamp_ns, uint64_t wall_ns, uint64_t epoch) MQT_REQUIRES(mqt_role_control);

/** Takes a channel out of the live map and sets @p state. @return 0, or -ENOENT if not live. */
int mqt_maps_set_down(struct mqt_maps *maps, mqt_chan_id id, enum mqt_chan_state state)
		MQT_REQUIRES(mqt_role_control);

/** Puts an orphan back into the live map. @return 0, or -ENOENT if it is no orphan. */
int mqt_maps_set_live(struct mqt_maps *maps, mqt_chan_id id) MQT_REQUIRES(mqt_role_control);

/**
 * Replaces the info of a channel; readers see the old one or the new one. The old one is freed with
 * free() after a grace period.
 * @return 0; -ENOENT where @p id is unknown; -EINVAL where @p info has another digest; -ENOSPC
 * where no row is free: the old one takes a row's place until its grace period is over.
 * Ownership: @p info is the maps' on success, stays the caller's on failure.
 */
int mqt_maps_set_info(struct mqt_maps *maps, mqt_chan_id id, struct mqt_info *info)
		MQT_REQUIRES(mqt_role_control);

/** Sets, or overrides, how the connection of a channel ended. Readers may meet it half done. */
void mqt_maps_set_end(struct mqt_maps *maps, const struct mqt_chan *row,
		const struct mqt_chan_end *end) MQT_REQUIRES(mqt_role_control);

/**
 * Compare-and-delete (I3): removes exactly channel @p id from all maps. Row and info are retired:
 * mqt_maps_reclaim() gives them back after a grace period.
 * @return 0, or -ENOENT.
 */
int mqt_maps_remove(struct mqt_maps *maps, mqt_chan_id id) MQT_REQUIRES(mqt_role_control);

/** The row of a channel for its writer. @return NULL where unknown. */
struct mqt_chan *mqt_maps_get(const struct mqt_maps *maps, mqt_chan_id id)
		MQT_REQUIRES(mqt_role_control);

/** Head of a client's list for the writer. @return NULL where it has no channel. */
struct mqt_chan *mqt_maps_head(const struct mqt_maps *maps, const struct mqt_digest *digest)
		MQT_REQUIRES(mqt_role_control);

/** What a channel or a client is about to be looked up, inserted or removed for needs, in order. */
enum mqt_maps_step {
	MQT_MAPS_BUCKET,
	MQT_MAPS_ROW,  /* the first of the bucket */
	MQT_MAPS_INFO, /* of that row; of a channel also its client's bucket, and for its removal */
	MQT_MAPS_LAST, /* a client that is not the first of its bucket: INFO was its row, this its info */
	MQT_MAPS_N_STEPS,
};

/**
 * Begins to load what a call with that id or digest will touch, one step. Whoever has many of them
 * takes each step for all before the next step for the first. Nothing is promised.
 * Context: the writer, or a section.
 */
void mqt_maps_prefetch_chan(const struct mqt_maps *maps, mqt_chan_id id, enum mqt_maps_step step);
/** The same for a client. */
void mqt_maps_prefetch_client(const struct mqt_maps *maps, const struct mqt_digest *digest,
		enum mqt_maps_step step);
/** The same, in one step, for what mqt_maps_set_end() writes beside a row. */
void mqt_maps_prefetch_end(const struct mqt_maps *maps, const struct mqt_chan *row);
/** The same for what mqt_maps_remove() writes beside a row. */
void mqt_maps_prefetch_removal(const struct mqt_maps *maps, const struct mqt_chan *row);

/** Called for each reclaimed channel; @p info belongs to the callee, @p tag was the row's. */
typedef void (*mqt_maps_reclaim_fn)(void *arg, mqt_chan_id id, struct mqt_info *info, uint32_t tag);

/**
 * Frees what was removed before a grace period that has ended, in order of removal; asks for a
 * grace period where something still waits, so call it each turn.
 * @param budget at most so many. @return how many.
 */
unsigned mqt_maps_reclaim(struct mqt_maps *maps, unsigned budget, mqt_maps_reclaim_fn fn, void *arg)
		MQT_REQUIRES(mqt_role_control);

/* --- grace periods (rule R10) --------------------------------------------------------------- */

/** Whether something waits for a grace period. Context: the reclaimer thread. */
bool mqt_maps_grace_wanted(struct mqt_maps *maps);

/**
 * One grace period: reads what is wanted, waits for all readers, publishes the epoch.
 * Context: the reclaimer thread, not registered as a reader; blocks.
 */
void mqt_maps_grace_run(struct mqt_maps *maps);

/** Starts the thread that runs grace periods when wanted. @return 0 or negative errno. */
int mqt_maps_reclaimer_start(struct mqt_maps *maps);

/** Stops and joins it; once it has returned no grace period runs. Not started: nothing. */
void mqt_maps_reclaimer_stop(struct mqt_maps *maps);

/* --- readers -------------------------------------------------------------------------------- */

/** Makes the calling thread a reader, offline. Context: once a thread, before its first section. */
void mqt_rcu_register(void);
/** Context: the same thread, before it ends. */
void mqt_rcu_unregister(void);
/** Begins a read section: one page of work at most, never across a blocking call. */
void mqt_rcu_read_lock(void) MQT_ACQUIRE_SHARED(mqt_rcu_read);
/** Ends it and goes offline. */
void mqt_rcu_read_unlock(void) MQT_RELEASE_SHARED(mqt_rcu_read);

/**
 * Oldest channel of a client; mqt_chan_next() leads to the newest. The caller compares the client
 * id in full. A row whose state is MQT_CHAN_FREE was removed a moment ago, or is not complete yet:
 * skip it.
 */
const struct mqt_chan *mqt_maps_lookup(const struct mqt_maps *maps, const struct mqt_digest *digest)
		MQT_REQUIRES_SHARED(mqt_rcu_read);

/** At most so many clients in one mqt_maps_lookup_bulk(). */
#define MQT_MAPS_BULK 64

/** As mqt_maps_lookup() for @p n clients; NULL where none. */
void mqt_maps_lookup_bulk(const struct mqt_maps *maps, const struct mqt_digest *digests, unsigned n,
		const struct mqt_chan **out) MQT_REQUIRES_SHARED(mqt_rcu_read);

/** A channel by its id; NULL where unknown. */
const struct mqt_chan *mqt_maps_info(const struct mqt_maps *maps, mqt_chan_id id)
		MQT_REQUIRES_SHARED(mqt_rcu_read);

/** Whether a channel is live. */
bool mqt_maps_is_live(const struct mqt_maps *maps, mqt_chan_id id)
		MQT_REQUIRES_SHARED(mqt_rcu_read);

/** How a channel's connection ended. @return false where that was not set. Context: or the writer. */
bool mqt_maps_end(
		const struct mqt_maps *maps, const struct mqt_chan *row, struct mqt_chan_end *out);

/**
 * Walks the rows by index. Each channel that is registered during the whole walk is seen exactly
 * once; others at most once.
 * @param pos in: where to go on, 0 at first; out: behind the row returned.
 * @return NULL at the end.
 */
const struct mqt_chan *mqt_maps_next(const struct mqt_maps *maps, uint32_t *pos)
		MQT_REQUIRES_SHARED(mqt_rcu_read);

/** Sizes, our own counts. R: any thread, relaxed. */
struct mqt_maps_sizes {
	uint32_t channels; /* rows in the channel and info maps */
	uint32_t clients;  /* keys of the channel map */
	uint32_t live;
	uint32_t retired;  /* removed, not yet reclaimed */
	uint32_t capacity; /* max_channels */
	uint32_t free;     /* rows, those beyond `capacity` included: the slack for retired ones */
};

void mqt_maps_sizes(const struct mqt_maps *maps, struct mqt_maps_sizes *out);

/** Bytes of the rows used so far and of all buckets; neither infos nor ends. R: any thread. */
uint64_t mqt_maps_bytes(const struct mqt_maps *maps);

#endif
