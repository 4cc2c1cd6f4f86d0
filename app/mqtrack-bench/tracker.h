/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TRACKER_H
#define TRACKER_H

#include "mqtrack/cm.h"
#include "mqtrack/config.h"
#include "mqtrack/conn.h"
#include "mqtrack/hash.h"
#include "mqtrack/mailbox.h"
#include "mqtrack/maps.h"
#include "mqtrack/tx.h"

#include <stdatomic.h>

#include <rte_mbuf.h>

/*
 * A whole tracker in one process: everything that the daemon has but its ports, its threads and its
 * control socket. Workers and the control lcore are stepped, by one thread or by one each. What a
 * worker would have received is given to its turn; what it sends is freed, and shown before that
 * where somebody wants to see it.
 *
 * All is as lib/worker has it but the way in and out: a packet is given to its owner's turn by whoever
 * knows it (rule R20 is not played), and fragments are not known.
 */

#define TRACKER_BURST       64u
#define TRACKER_MAX_WORKERS 8u

/** What a worker sends. Ownership: the tracker's. Context: in that worker's turn. */
typedef void (*tracker_sent_fn)(
		void *arg, unsigned worker, uint16_t port, struct rte_mbuf **m, uint16_t n);

struct tracker_params {
	struct mqt_config config; /* copied */
	unsigned n_workers;
	unsigned n_mbufs;
	uint16_t mbuf_size;   /* bytes of data a packet may have, headroom not counted */
	uint16_t priv_size;   /* bytes of the caller's own in each mbuf, a multiple of 8 */
	const char *name;     /* unique in this process */
	tracker_sent_fn sent; /* NULL: nobody looks */
	void *arg;
};

struct tracker_worker {
	struct tracker *tracker;
	unsigned index;
	struct mqt_mailbox *mailbox;
	struct mqt_conns *conns;
	uint64_t n_received, n_sent; /* packets */
	struct mqt_tx tx;
	_Atomic uint64_t heartbeat_ns __rte_cache_aligned;
	struct mqt_worker_counters counters __rte_cache_aligned;
};

struct tracker {
	struct mqt_config config;
	struct mqt_hash_key key;
	struct rte_mempool *pool;
	struct mqt_maps *maps;
	struct mqt_event_ring *events;
	struct mqt_cm *cm;
	tracker_sent_fn sent;
	void *arg;
	unsigned n_workers;
	struct tracker_worker worker[TRACKER_MAX_WORKERS];
};

/** MiB of EAL's memory that a tracker takes at the most: mbufs; nothing there is one a client. */
#define TRACKER_MEM_MIB 128

/** @return NULL, the reason said on stderr. Context: EAL is there. */
struct tracker *tracker_create(const struct tracker_params *params);

/** Accepts NULL. Context: nobody steps it any more. */
void tracker_destroy(struct tracker *t);

/**
 * One turn of a worker: its mailbox, what came from outside (clients), what came from inside
 * (brokers), timers; as lib/worker does it.
 * @param n_outside, @param n_inside at most TRACKER_BURST. Ownership: the mbufs are taken.
 * @return work done.
 */
unsigned tracker_worker_turn(struct tracker *t, unsigned worker, struct rte_mbuf **outside,
		unsigned n_outside, struct rte_mbuf **inside, unsigned n_inside);

/** One turn of the control lcore. @return work done. */
unsigned tracker_control_turn(struct tracker *t);

/** A grace period where one is wanted: what the reclaimer's thread does. */
void tracker_grace(struct tracker *t);

/** All of them once, with no packets. @return work done. */
unsigned tracker_idle_turn(struct tracker *t);

/** Turns without packets until nothing is under way any more. @return 0, or -1: it does not end. */
int tracker_settle(struct tracker *t);

/** Over all workers. */
uint64_t tracker_worker_counter(const struct tracker *t, enum mqt_worker_counter counter);
uint64_t tracker_control_counter(const struct tracker *t, enum mqt_control_counter counter);
uint32_t tracker_state(const struct tracker *t, enum mqt_conn_state state);

/**
 * Whether nothing went wrong that no bench provokes: no flow opaque, no anomaly, nothing dropped,
 * refused, killed or unexpected, no duplicate. What did is said on stderr.
 */
bool tracker_is_clean(const struct tracker *t);

#endif
