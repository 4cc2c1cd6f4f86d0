/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MAPS_PRIVATE_H
#define MAPS_PRIVATE_H

#include "grace.h"
#include "mqtrack/maps.h"

#include <stdalign.h>
#include <stddef.h>

/*
 * What the files of lib/maps share: maps.c is the writer, read.c the readers.
 *
 * A place is where a row is found: its index + 1, so that fresh memory says that there is none.
 */

#define NO_PLACE 0u

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

struct mqt_maps {
	/* immutable after creation */
	struct mqt_chan *rows;
	_Atomic uint32_t *clients; /* place of the first row of a bucket, by digest */
	_Atomic uint32_t *ids;     /* the same by channel id */
	struct row_end *ends;      /* by row */
	uint32_t *links;           /* by row, control only: place of the next free or retired one */
	uint32_t n_rows;
	uint32_t n_buckets; /* of each map */
	uint32_t capacity;
	/* control only */
	uint32_t free;                        /* place of the row freed last */
	uint32_t retired_first, retired_last; /* places; FIFO */
	uint64_t reclaimed;                   /* grace numbers up to this one are freed */
	/* W: control; R: any, relaxed */
	alignas(64) _Atomic uint32_t n_channels;
	_Atomic uint32_t n_clients;
	_Atomic uint32_t n_live;
	_Atomic uint32_t n_retired;
	_Atomic uint32_t n_touched; /* rows below this index have been used */
	struct grace grace;
};

static inline uint32_t
maps_get(const _Atomic uint32_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline uint32_t
state_of(const struct mqt_chan *row)
{
	/* pairs with the release stores of set_state() */
	return atomic_load_explicit(&row->state, memory_order_acquire);
}

static inline uint32_t
place_of(const struct mqt_maps *maps, const struct mqt_chan *row)
{
	return (uint32_t)(row - maps->rows) + 1;
}

static inline struct mqt_chan *
row_at(const struct mqt_maps *maps, uint32_t place)
{
	return place == NO_PLACE ? NULL : &maps->rows[place - 1];
}

/* The row that a bucket, or a row in it, leads to. */
static inline struct mqt_chan *
row_behind(const struct mqt_maps *maps, const _Atomic uint32_t *link)
{
	/* pairs with the release stores of chain_add(), chain_replace() and chain_remove() */
	return row_at(maps, atomic_load_explicit(link, memory_order_acquire));
}

static inline uint32_t
sig_of(const struct mqt_digest *digest)
{
	return (uint32_t)digest->word[0];
}

/* A digest is the output of a keyed hash: any part of it is as good as a random number. */
static inline _Atomic uint32_t *
bucket_of_sig(const struct mqt_maps *maps, uint32_t sig)
{
	return &maps->clients[(uint64_t)sig * maps->n_buckets >> 32];
}

/*
 * Neighbouring slots have neighbouring buckets, so that a worker's connections share lines and seldom
 * a bucket; the slots of another worker or generation begin elsewhere.
 */
static inline _Atomic uint32_t *
bucket_of_id(const struct mqt_maps *maps, mqt_chan_id id)
{
	uint32_t begin = mqt_hash_chan(id & ~((mqt_chan_id)MQT_CHAN_SLOT_MAX << MQT_CHAN_GEN_BITS));
	uint64_t b = ((uint64_t)begin * maps->n_buckets >> 32) + mqt_chan_id_slot(id);

	if (b >= maps->n_buckets)
		b = b < 2ull * maps->n_buckets ? b - maps->n_buckets : b % maps->n_buckets;
	return &maps->ids[b];
}

static inline struct mqt_chan *
find_id(const struct mqt_maps *maps, mqt_chan_id id)
{
	struct mqt_chan *row = row_behind(maps, bucket_of_id(maps, id));

	while (row && row->id != id)
		row = row_behind(maps, &row->next_id);
	return row;
}

/* Only infos of rows whose signature fits are looked at. */
static inline bool
is_client(const struct mqt_chan *row, const struct mqt_digest *digest)
{
	return row->sig == sig_of(digest) && mqt_digest_equal(&mqt_chan_info(row)->digest, digest);
}

static inline struct mqt_chan *
find_client(const struct mqt_maps *maps, const struct mqt_digest *digest)
{
	struct mqt_chan *row = row_behind(maps, bucket_of_sig(maps, sig_of(digest)));

	while (row && !is_client(row, digest))
		row = row_behind(maps, &row->next_client);
	return row;
}

#endif
