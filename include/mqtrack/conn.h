/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_CONN_H
#define MQT_CONN_H

#include "mqtrack/annot.h"
#include "mqtrack/capture.h"
#include "mqtrack/clock.h"
#include "mqtrack/config.h"
#include "mqtrack/counters.h"
#include "mqtrack/hash.h"
#include "mqtrack/mailbox.h"
#include "mqtrack/packet.h"
#include "mqtrack/slot.h"
#include "mqtrack/source.h"
#include "mqtrack/tx.h"

#include <stdatomic.h>
#include <stdint.h>

#include <rte_mbuf.h>

/**
 * @file
 * A worker's connections: the flow table, the TCP and MQTT cursors of each flow, its life-cycle,
 * parking, stepping down, and the worker's side of the mailbox. Everything here belongs to one
 * worker; nobody else calls it or writes what it owns. The slots are the exception that slot.h
 * describes.
 *
 * Ports are numbered by pair: port 2p is the outside (clients), 2p + 1 the inside (brokers) of
 * pair p; what enters on one leaves on the other (port ^ 1).
 */

/** States of a connection, in the order of its life. */
enum mqt_conn_state {
	MQT_CONN_FREE = 0,
	MQT_CONN_EMBRYONIC,  /* the handshake is complete, no whole CONNECT yet */
	MQT_CONN_CONNECTING, /* CONNECT complete, waits for CONNACK */
	MQT_CONN_OPENING,    /* successful CONNACK parked, OPEN posted */
	MQT_CONN_CONNECTED,  /* granted */
	MQT_CONN_FROZEN,     /* being taken over: nothing passes, the session is handed over */
	MQT_CONN_OPAQUE,     /* passes, not understood; no channel */
	MQT_CONN_CLOSING,    /* over for the control lcore; TCP is still being brought to its end */
	MQT_CONN_RELEASING,  /* the flow is gone, the slot waits for RELEASE or its quiet time */
	MQT_CONN_N_STATES,
};

const char *mqt_conn_state_name(enum mqt_conn_state state);

/** A packet on its way through a worker. */
struct mqt_packet {
	struct rte_mbuf *m;
	struct mqt_pkt view;
	struct mqt_flow_key key;
	uint64_t hash;   /* mqt_hash_flow() of the key */
	uint16_t port;   /* it came in here; pair numbering */
	uint8_t src_low; /* mqt_flow_key_of() */
};

struct mqt_conns;

struct mqt_conns_params {
	const struct mqt_config *config; /* outlives it */
	const struct mqt_clock *clock;
	const struct mqt_hash_key *hash_key;
	struct mqt_mailbox *mailbox;
	struct mqt_tx *tx;
	struct rte_mempool *pool;      /* for injected segments */
	struct mqt_captures *captures; /* may be NULL: none */
	struct mqt_worker_counters *counters;
	struct mqt_sources *sources; /* of all workers; NULL: without limits a source address */
	unsigned worker;             /* index; part of every channel id */
	unsigned n_workers;          /* that share max_clients and the pool; 0 counts as 1 */
};

/** @return NULL with rte_errno set. Ownership: mqt_conns_destroy(). Context: may block. */
struct mqt_conns *mqt_conns_create(const struct mqt_conns_params *params);

/** Accepts NULL. Held mbufs are freed. Context: the worker has stopped. */
void mqt_conns_destroy(struct mqt_conns *conns);

/** The slots, for the channel manager. Valid until destroy. */
struct mqt_slots mqt_conns_slots(const struct mqt_conns *conns);

/** Bytes of the flow table, whatever is in it. */
uint64_t mqt_conns_table_bytes(const struct mqt_conns *conns);

/**
 * Judges a burst of TCP packets of this owner whose one port is a listener's, in order. Each is
 * pushed to tx, parked, held or freed.
 * @param n at most 64. Ownership: every mbuf is taken.
 */
void mqt_conns_input(struct mqt_conns *conns, struct mqt_packet *pkts, unsigned n)
		MQT_REQUIRES(mqt_role_worker);

/**
 * Takes messages from the mailbox and acts on them.
 * @return messages handled.
 */
unsigned mqt_conns_poll(struct mqt_conns *conns) MQT_REQUIRES(mqt_role_worker);

/** Fires due timers, at most @p budget. @return how many. */
unsigned mqt_conns_expire(struct mqt_conns *conns, unsigned budget) MQT_REQUIRES(mqt_role_worker);

/** Connections in each state, and what is held. W: worker; copied for readers. */
struct mqt_conns_gauges {
	_Atomic uint32_t state[MQT_CONN_N_STATES];
	_Atomic uint32_t embryos;
	_Atomic uint32_t parked; /* packets parked or held */
	_Atomic uint32_t outbox; /* messages that wait for room in the ring */
};

/** Context: any thread, relaxed. */
const struct mqt_conns_gauges *mqt_conns_gauges(const struct mqt_conns *conns);

#endif
