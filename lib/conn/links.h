/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LINKS_H
#define LINKS_H

#include "flows.h"
#include "mqtrack/hash.h"
#include "mqtrack/packet.h"

#include <stdint.h>

/*
 * The link headers of connections, each different pair of them once. See links.c.
 *
 * Synchronisation: one owner.
 */

/** Addresses and VLAN tags; the EtherType follows from the IP version. */
#define LINK_L2_MAX (MQT_L2_MAX - 2)

/* By side, as that side's frames had it. Bytes behind a header are 0. */
struct link_pair {
	uint8_t l2_len[2]; /* with the EtherType; 0: not known */
	uint8_t l2[2][LINK_L2_MAX];
	uint8_t zero[2];
};

struct link {
	struct link_pair pair;
	union {
		uint32_t n_users;
		uint32_t next_free;
	};
};

struct links {
	/* immutable after init */
	struct link *link;
	uint32_t most;
	const struct mqt_hash_key *key;
	/* owner only */
	struct flows index;
	uint32_t n_fresh; /* never used ones begin here */
	uint32_t free;    /* FLOWS_NONE: none */
	uint32_t last;    /* that was asked for; FLOWS_NONE: it is gone */
};

/* @param most users. @return 0, or -1: no memory. */
int links_init(struct links *l, uint32_t most, const struct mqt_hash_key *key);

/* Accepts a zeroed one. */
void links_fini(struct links *l);

/* One more user of that pair. Context: not more than `most`. @return its number until links_put(). */
uint32_t links_get(struct links *l, const struct link_pair *pair);

/* One less. */
void links_put(struct links *l, uint32_t link);

static inline const struct link_pair *
links_at(const struct links *l, uint32_t link)
{
	return &l->link[link].pair;
}

#endif
