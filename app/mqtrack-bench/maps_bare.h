/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MAPS_BARE_H
#define MAPS_BARE_H

#include "maps_keys.h"

#include <rte_hash.h>

/*
 * What the maps are compared with: bare tables that do the same with the same keys.
 */

enum maps_what {
	MAPS_INSERT,
	MAPS_LOOKUP,
	MAPS_LOOKUP_BULK,
	MAPS_INFO,
	MAPS_WALK,
	MAPS_REMOVE,
	MAPS_N_WHAT,
};

/** Grace periods: one after so many removals. */
#define MAPS_GRACE_EVERY 4096

/** A rte_hash without flags but for extendable buckets: one thread's own. @return NULL: said. */
struct rte_hash *bare_hash_create(uint32_t n);

/**
 * Fills the empty table, looks all up, empties it.
 * @param ns what took how long is added to it.
 * @return 0, or -1 with the reason said.
 */
int bare_hash_run(struct rte_hash *h, const struct keys *k, uint64_t ns[MAPS_N_WHAT]);

struct bare_lfht;

/** A cds_lfht of liburcu for @p n keys, its buckets and nodes there from the start. @return NULL: said. */
struct bare_lfht *bare_lfht_create(uint32_t n);
/** Accepts NULL. Context: it is empty. */
void bare_lfht_destroy(struct bare_lfht *t);

/** As bare_hash_run(), without what it cannot do: bulk. Context: mqt_rcu_register(). */
int bare_lfht_run(struct bare_lfht *t, const struct keys *k, uint64_t ns[MAPS_N_WHAT]);

#endif
