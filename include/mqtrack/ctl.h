/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_CTL_H
#define MQT_CTL_H

#include "mqtrack/clock.h"
#include "mqtrack/cm.h"
#include "mqtrack/config.h"
#include "mqtrack/event.h"
#include "mqtrack/hash.h"
#include "mqtrack/worker.h"

/**
 * @file
 * The control socket: AF_UNIX, JSON-RPC 2.0, one JSON text a line. It has a thread of its own,
 * which is a reader of the maps and sends commands to the channel manager; it never makes a lcore
 * wait, and no control client makes it wait for another (I11).
 *
 * Methods: clients.list, clients.get, clients.kick, clients.discard, channels.lookup, stats.get,
 * workers.list, events.subscribe, capture.start, system.info. Described in lib/ctl/README.md.
 */

struct mqt_ctl;

struct mqt_ctl_params {
	const struct mqt_config *config; /* outlives it, like all below */
	const struct mqt_clock *clock;
	const struct mqt_hash_key *hash_key;
	struct mqt_cm *cm;
	const struct mqt_event_ring *events;
	const struct mqt_workers *workers; /* may be NULL (tests): workers.list is empty */
	struct mqt_captures *captures;     /* the workers'; may be NULL (tests) */
	const uint16_t *port_ids; /* DPDK's, 2 * n_pairs, as the workers'; may be NULL (tests) */
};

/**
 * Binds the socket (mode 0660, a stale one is replaced, a living one is an error) and starts the
 * thread.
 * @return NULL with errno set (EADDRINUSE: another tracker answers there).
 * Ownership: mqt_ctl_stop().
 */
struct mqt_ctl *mqt_ctl_start(const struct mqt_ctl_params *params);

/**
 * Ends the thread, closes all connections, removes the socket. Accepts NULL.
 * Context: the control lcore may run or have stopped. Commands it has not answered are freed by
 * whoever answers them: the control lcore, or mqt_cm_destroy().
 */
void mqt_ctl_stop(struct mqt_ctl *ctl);

#endif
