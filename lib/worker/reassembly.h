/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORKER_REASSEMBLY_H
#define WORKER_REASSEMBLY_H

#include "mqtrack/config.h"
#include "mqtrack/packet.h"

#include <stdatomic.h>
#include <stdint.h>

/*
 * A worker's table of datagrams that are not whole yet. See reassembly.c for the rules.
 */

/* A datagram of more fragments than this is dropped. */
#define REASSEMBLY_MAX_PIECES 16

struct reassembly;

struct reassembly_params {
	const struct mqt_config *config; /* limits.fragments > 0; outlives it */
	struct rte_mempool *pool;
	_Atomic uint64_t *counters; /* the worker's */
	uint64_t whole_flag;        /* ol_flags of what comes out whole */
	int socket_id;
};

/* What a fragment has brought about. */
struct reassembly_out {
	unsigned n_pass;
	struct rte_mbuf *pass[REASSEMBLY_MAX_PIECES + 1]; /* to go out as they came */
	struct rte_mbuf *whole;                           /* to be judged; NULL: none */
};

/* NULL with rte_errno set. */
struct reassembly *reassembly_create(const struct reassembly_params *params);

/* Accepts NULL. Frees what it keeps. */
void reassembly_destroy(struct reassembly *r);

/* Whether a datagram of this fragment could be of a listener. */
bool reassembly_concerns(const struct mqt_config *cfg, const struct mqt_fragment *frag);

/*
 * Takes a fragment that concerns a listener; hash: keyed, of frag->key.
 * Ownership: m is taken; what is in out is the caller's.
 */
void reassembly_input(struct reassembly *r, struct rte_mbuf *m, const struct mqt_fragment *frag,
		uint64_t hash, uint64_t now_ns, struct reassembly_out *out);

/* Drops what is too old, at most budget datagrams. Returns how many. */
unsigned reassembly_expire(struct reassembly *r, uint64_t now_ns, unsigned budget);

#endif
