/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_WORKER_H
#define MQT_WORKER_H

#include "mqtrack/annot.h"
#include "mqtrack/clock.h"
#include "mqtrack/config.h"
#include "mqtrack/conn.h"
#include "mqtrack/counters.h"
#include "mqtrack/mailbox.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_mempool.h>

/**
 * @file
 * Ports and data lcores: rx burst, packet view, hand-over to the owner, verdict, tx burst.
 */

/* --- ports ----------------------------------------------------------------------------------- */

/**
 * Configures and starts a port with one rx and one tx queue a worker: promiscuous,
 * no LRO, no partial checksums, frame size not under the MTU (rule R19).
 * @param port_id DPDK's. @return 0 or negative errno, said in the log.
 */
int mqt_port_start(uint16_t port_id, unsigned n_queues, struct rte_mempool *pool);

/** What spreads a port's packets over the queues of the workers. */
enum mqt_port_rss {
	MQT_PORT_RSS_NONE,     /* one queue */
	MQT_PORT_RSS_HARDWARE, /* the port, each flow to its owner, as all ports of the tracker do */
	MQT_PORT_RSS_SOFTWARE, /* the port as it likes, or not at all; the tracker chooses owners */
};

/**
 * What the port can do by itself after mqt_port_start(); what is in force from
 * mqt_workers_create() on, where all ports have to agree (rule R20).
 * Context: any thread, after that.
 */
enum mqt_port_rss mqt_port_rss(uint16_t port_id);

/** "none", "hardware", "software". */
const char *mqt_port_rss_name(enum mqt_port_rss rss);

/** Stops and closes. */
void mqt_port_stop(uint16_t port_id);

enum mqt_port_link {
	MQT_PORT_UP,
	MQT_PORT_DOWN, /* no carrier, or its interface is down */
	MQT_PORT_GONE, /* its device or interface no longer exists */
};

/** Asks driver and kernel. Context: a thread that may make system calls, between start and stop. */
enum mqt_port_link mqt_port_link(uint16_t port_id);

/** "up", "down", "gone". */
const char *mqt_port_link_name(enum mqt_port_link link);

/* --- workers --------------------------------------------------------------------------------- */

struct mqt_worker;

/** All workers of a process: who hands packets to whom. */
struct mqt_workers;

struct mqt_workers_params {
	const struct mqt_config *config;
	const struct mqt_clock *clock;
	const struct mqt_hash_key *hash_key;
	struct rte_mempool *pool;
	struct mqt_captures *captures; /* outlives it; may be NULL: none */
	unsigned n_workers;
	const uint16_t *port_ids; /* DPDK port ids, 2 * n_pairs, outside and inside in turn; copied */
	int socket_id;
	unsigned mailbox_ring; /* messages a mailbox's ring holds, a power of two; 0: 4096 */
};

/**
 * Makes the workers, their mailboxes, connection tables and hand-over rings (one SPSC ring for
 * each ordered pair of workers), and gives the started ports the table that sends each flow to its
 * owner, where they can do that.
 * @return NULL with rte_errno set. Ownership: mqt_workers_destroy().
 */
struct mqt_workers *mqt_workers_create(const struct mqt_workers_params *params);

/** Accepts NULL. Context: no worker runs any more. */
void mqt_workers_destroy(struct mqt_workers *workers);

unsigned mqt_workers_count(const struct mqt_workers *workers);
struct mqt_worker *mqt_workers_at(const struct mqt_workers *workers, unsigned index);

/** What the channel manager needs of a worker. */
struct mqt_mailbox *mqt_worker_mailbox(const struct mqt_worker *worker);
struct mqt_slots mqt_worker_slots(const struct mqt_worker *worker);
const _Atomic uint64_t *mqt_worker_heartbeat(const struct mqt_worker *worker);

/**
 * One turn: mailbox, then each rx queue and hand-over ring one burst, tx, timers.
 * @return packets, messages and timers handled; 0 when idle.
 */
unsigned mqt_worker_turn(struct mqt_worker *worker) MQT_REQUIRES(mqt_role_worker);

/**
 * Turns until mqt_workers_stop(), as the configuration's `poll` says: it spins, or sleeps for a
 * millisecond at most when nothing has come for long, until another lcore wakes it.
 * Context: the lcore's entry (an lcore_function_t).
 */
int mqt_worker_run(void *worker);

/** Asks all workers to return. Context: any thread, async-signal-safe. */
void mqt_workers_stop(struct mqt_workers *workers);

/** What readers may know of a worker. Context: any thread. */
struct mqt_worker_view {
	unsigned index;
	unsigned lcore;
	uint64_t heartbeat_ns; /* mono; 0: has not run */
	const struct mqt_worker_counters *counters;
	const struct mqt_conns_gauges *gauges;
};

void mqt_worker_view(const struct mqt_worker *worker, struct mqt_worker_view *out);

#endif
