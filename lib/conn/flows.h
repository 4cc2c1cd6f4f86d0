/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FLOWS_H
#define FLOWS_H

#include "mqtrack/pages.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Which slots may have a flow, by 32 bits of the flow's keyed hash: an array of eight bytes an
 * entry, with linear probing. It knows no keys: several slots may come under one hash, and whoever
 * asks compares the key that the slot itself holds. See flows.c.
 *
 * Synchronisation: one owner.
 */

#define FLOWS_NONE UINT32_MAX

/*
 * Entries that a look-up reads at most. Hashes are keyed and three entries in four are taken at
 * most, so it takes 1.2 to find and 2.5 to miss in a table half full, 2.5 and 8.5 in a full one, and
 * no entry of a table of 2^25 is expected beyond some 450. What does not fit within is refused, so no
 * luck and no key can make a packet cost more.
 */
#define FLOWS_REACH 1024u

struct flow_entry {
	uint32_t hash;
	uint32_t slot; /* + 1; 0: empty */
};

struct flows {
	/* immutable after init */
	struct flow_entry *entry;
	uint32_t mask; /* number of entries - 1 */
	uint32_t most; /* flows */
	/* owner only */
	uint32_t n;
};

/* Where a look-up goes on. */
struct flows_probe {
	uint32_t at;
	uint32_t left; /* entries that may still be read */
};

/*
 * @param most flows, 1 to 2^25; slots are numbered below FLOWS_NONE - 1.
 * @return 0, or -1: no memory. Pages are there from the first entry in them on.
 */
int flows_init(struct flows *f, uint32_t most, enum mqt_pages kind);

/* Accepts a zeroed one. */
void flows_fini(struct flows *f);

/* @return false: it is full, or its part for this hash is. Nothing has changed. */
bool flows_add(struct flows *f, uint32_t hash, uint32_t slot);

/* @return false: it is not there. */
bool flows_remove(struct flows *f, uint32_t hash, uint32_t slot);

static inline size_t
flows_bytes(const struct flows *f)
{
	return ((size_t)f->mask + 1) * sizeof(*f->entry);
}

static inline struct flows_probe
flows_first(const struct flows *f, uint32_t hash)
{
	return (struct flows_probe){ hash & f->mask, FLOWS_REACH };
}

/* The next slot under that hash; FLOWS_NONE: there are no more. */
static inline uint32_t
flows_next(const struct flows *f, uint32_t hash, struct flows_probe *p)
{
	for (; p->left > 0; p->left--) {
		const struct flow_entry *e = &f->entry[p->at];

		if (e->slot == 0)
			break;
		p->at = (p->at + 1) & f->mask;
		if (e->hash == hash) {
			p->left--;
			return e->slot - 1;
		}
	}
	p->left = 0;
	return FLOWS_NONE;
}

static inline void
flows_prefetch(const struct flows *f, uint32_t hash)
{
	__builtin_prefetch(&f->entry[hash & f->mask]);
}

#endif
