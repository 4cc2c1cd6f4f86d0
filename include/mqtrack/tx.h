/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_TX_H
#define MQT_TX_H

#include "mqtrack/annot.h"

#include <stdatomic.h>
#include <stdint.h>

#include <rte_mbuf.h>

/**
 * @file
 * A worker's unsent packets: one batch a port, flushed when full and at the end of each burst, so
 * that none waits while the worker reads its mailbox (rule R5). Each packet remembers the slot
 * word of its channel as it was judged; a packet whose channel has been killed since is withheld.
 */

#define MQT_TX_BATCH     64
#define MQT_TX_MAX_PORTS 32

struct mqt_tx_port {
	uint16_t n;
	struct rte_mbuf *m[MQT_TX_BATCH];
	const _Atomic uint64_t *word[MQT_TX_BATCH]; /* NULL: no channel */
	uint64_t killed[MQT_TX_BATCH];              /* the value that withholds the packet */
};

struct mqt_tx {
	/**
	 * Sends. @return how many of @p n were taken; the rest stays the caller's.
	 * Context: the worker.
	 */
	uint16_t (*burst)(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n);
	void *arg;
	_Atomic uint64_t *counters;                /* the worker's, enum mqt_worker_counter */
	struct mqt_tx_port port[MQT_TX_MAX_PORTS]; /* by the pair's port number, see conn.h */
};

/** Sends what waits for @p port; what the port does not take is dropped and counted. */
void mqt_tx_flush(struct mqt_tx *tx, uint16_t port) MQT_REQUIRES(mqt_role_worker);

/** Queues a packet. Ownership: @p m is tx's. @param word NULL where it belongs to no channel. */
static inline void mqt_tx_push(struct mqt_tx *tx, uint16_t port, struct rte_mbuf *m,
		const _Atomic uint64_t *word, uint64_t killed) MQT_REQUIRES(mqt_role_worker);
static inline void
mqt_tx_push(struct mqt_tx *tx, uint16_t port, struct rte_mbuf *m, const _Atomic uint64_t *word,
		uint64_t killed)
{
	struct mqt_tx_port *p = &tx->port[port];

	p->m[p->n] = m;
	p->word[p->n] = word;
	p->killed[p->n] = killed;
	if (++p->n == MQT_TX_BATCH)
		mqt_tx_flush(tx, port);
}

#endif
