/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MAPS_KEYS_H
#define MAPS_KEYS_H

#include "bench.h"
#include "mqtrack/maps.h"

/*
 * The clients that the maps are measured with, and how a reader looks them up.
 */

#define KEYS_BULK    32
#define KEYS_SECTION 64 /* look-ups in one read section */
#define KEYS_ID_LEN  23

struct keys {
	uint32_t n;
	struct mqt_hash_key key;
	struct mqt_digest *digests; /* in the order of insertion */
	mqt_chan_id *ids;
	struct mqt_info **infos;
	/* the same shuffled */
	char (*texts)[KEYS_ID_LEN + 1]; /* client ids */
	struct mqt_digest *probes;
	mqt_chan_id *probe_ids;
};

/** Draws @p n clients; @p worker names their channels. @return 0, or -1. keys_fini() in any case. */
int keys_init(struct keys *k, uint32_t n, unsigned worker);

/** Infos are freed too: none is in maps. */
void keys_fini(struct keys *k);

/** Digest of the @p i-th client id, shuffled. */
static inline struct mqt_digest
keys_digest(const struct keys *k, uint32_t i)
{
	return mqt_digest_client(&k->key, 0, NULL, k->texts[i], KEYS_ID_LEN);
}

/** Looks up by client id from the @p from-th to before the @p to-th. @return how many are there. */
uint32_t keys_lookup(const struct keys *k, const struct mqt_maps *maps, uint32_t from, uint32_t to);
/** The same in bulk. */
uint32_t keys_lookup_bulk(
		const struct keys *k, const struct mqt_maps *maps, uint32_t from, uint32_t to);

/**
 * Readers beside a writer, and beside each other. @p k is in the maps, with room for
 * MAPS_CHURN more.
 * @return 0, or -1 with the reason said.
 */
int bench_maps_threads(struct mqt_maps *maps, const struct keys *k, unsigned runs,
		struct bench_report *report);

#define MAPS_CHURN 65536u

#endif
