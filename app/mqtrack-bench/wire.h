/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WIRE_H
#define WIRE_H

#include "mqtrack/worker.h"
#include "packets.h"

#include <rte_hash.h>
#include <rte_ring.h>

/*
 * The data lcores as they run in production, between two ports that are rings in memory, with
 * established connections.
 *
 * A lane is what one worker has: its queue of each port, its share of the flows (those that the
 * tracker gives it, as a port with RSS would), the packets on the way, and a table of the same
 * flows for the baseline. A lane is used by the lcore that plays its worker; while connections are
 * made, by the main lcore.
 */

#define WIRE_MAX_LANES 2
#define WIRE_PORTION   512u /* packets on the way at once, a lane */
#define WIRE_BURST     64u  /* as the workers have it */

struct wire;

struct wire_lane {
	struct wire *wire;
	unsigned index;
	uint16_t port_id[2];
	struct mqt_worker *worker;
	struct rte_ring *rx[2], *tx[2]; /* outside, inside */
	uint32_t n;
	struct bench_flow *flows; /* in a random order */
	uint32_t cursor;          /* whose turn it is */
	struct rte_hash *table;
	struct rte_mbuf *portion[WIRE_PORTION];
};

struct wire {
	struct mqt_config config;
	struct mqt_hash_key key;
	struct rte_mempool *pool;
	struct mqt_workers *workers;
	unsigned n_lanes;
	struct wire_lane lane[WIRE_MAX_LANES];
};

/** Memory that EAL must have for so many connections, MiB. */
uint64_t wire_memory_mib(uint64_t n);

/**
 * Makes ports, workers and @p n connections by their real handshakes, each granted.
 * @param timestamps whether the connections have them.
 * @return NULL: said on stderr. Ownership: wire_destroy().
 */
struct wire *wire_create(uint32_t n, unsigned n_lanes, bool timestamps);

/** Accepts NULL. Context: no worker runs. */
void wire_destroy(struct wire *w);

/** Takes all that has left the ports of a lane into its portion. @return how many. */
unsigned wire_drain(struct wire_lane *lane);

/** Sum of a counter over all connections. */
uint64_t wire_count(const struct wire *w, enum mqt_slot_counter counter);

/** Whether all connections are CONNECTED, and no packet was handed over or dropped. */
bool wire_is_established(const struct wire *w);

#endif
