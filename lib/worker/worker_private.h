/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORKER_PRIVATE_H
#define WORKER_PRIVATE_H

#include "mqtrack/idle.h"
#include "mqtrack/worker.h"
#include "reassembly.h"
#include "rss.h"

#include <assert.h>
#include <stdatomic.h>

#include <rte_ring.h>

/*
 * A worker and what all of them share: made by workers.c, run by worker.c.
 */

#define BURST 64 /* at most what mqt_conns_input() takes */

static_assert(BURST <= MQT_TX_BATCH, "a burst fits a tx batch");
static_assert(2 * MQT_MAX_PAIRS <= MQT_TX_MAX_PORTS, "each port has its tx batch");

/** Packets on their way to another worker, within one burst. */
struct handover {
	unsigned n;
	struct rte_mbuf *m[BURST];
};

struct mqt_worker {
	/* immutable after create */
	const struct mqt_workers *all;
	unsigned index;
	struct mqt_mailbox *mailbox;
	struct mqt_waker *waker; /* NULL: it never sleeps */
	struct mqt_conns *conns;
	struct rte_ring *from[MQT_MAX_WORKERS]; /* SPSC; consumer: this worker. NULL: itself */

	struct reassembly *reassembly; /* NULL: fragments pass */

	/* owner only */
	uint64_t ol_flags; /* of all packets so far: which kinds there are at all */
	unsigned n_batch;
	struct mqt_packet batch[BURST];
	struct handover handover[MQT_MAX_WORKERS];
	struct mqt_tx tx;
	struct mqt_idle idle;

	/* W: worker; R: any */
	_Atomic uint64_t heartbeat_ns __rte_cache_aligned; /* release; pairs with cm's acquire */
	_Atomic unsigned lcore;
	struct mqt_worker_counters counters __rte_cache_aligned;
};

struct mqt_workers {
	/* immutable after create */
	const struct mqt_config *config;
	const struct mqt_clock *clock;
	const struct mqt_hash_key *hash_key;
	struct rte_mempool *pool;
	unsigned n_workers;
	unsigned n_ports;
	uint64_t whole_flag; /* of mbufs that are joined of fragments */
	struct rss rss;
	uint16_t port_ids[MQT_TX_MAX_PORTS]; /* pair numbering -> DPDK */
	uint16_t ports[RTE_MAX_ETHPORTS];    /* DPDK -> pair numbering */
	struct mqt_sources *sources;         /* NULL: no listener limits them */
	struct mqt_worker *worker[MQT_MAX_WORKERS];

	atomic_bool stop; /* W: any; R: workers. Relaxed: it orders nothing */
};

/** Sends what a batch has gathered, see struct mqt_tx. @param arg the worker. */
uint16_t worker_tx_burst(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n);

#endif
