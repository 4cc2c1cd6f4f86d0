/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Unsent packets of a worker. A packet lives here from its verdict to the end of its burst. The
 * slot word is read again just before the port gets the packet, so that a kill takes effect on
 * everything that has not left yet (rule R5, invariant I4).
 *
 * Synchronisation: the worker's own; the slot words are the control lcore's to change.
 */
#include "mqtrack/tx.h"

#include "mqtrack/counters.h"

static uint16_t
withhold_killed(struct mqt_tx *tx, struct mqt_tx_port *p)
{
	uint16_t kept = 0;

	for (uint16_t i = 0; i < p->n; i++) {
		/* acquire: pairs with the killer's exchange in mqt_slot_leave() */
		if (p->word[i] &&
				atomic_load_explicit(p->word[i], memory_order_acquire) ==
						p->killed[i]) {
			rte_pktmbuf_free(p->m[i]);
			mqt_counter_add(&tx->counters[MQT_W_TX_KILLED], 1);
			continue;
		}
		p->m[kept++] = p->m[i];
	}
	return kept;
}

void
mqt_tx_flush(struct mqt_tx *tx, uint16_t port)
{
	struct mqt_tx_port *p = &tx->port[port];
	uint16_t n = withhold_killed(tx, p);
	uint16_t sent = 0;

	p->n = 0;
	if (n == 0)
		return;
	sent = tx->burst(tx->arg, port, p->m, n);
	mqt_counter_add(&tx->counters[MQT_W_TX_PACKETS], sent);
	if (sent == n)
		return;
	mqt_counter_add(&tx->counters[MQT_W_TX_DROPPED], (uint64_t)(n - sent));
	rte_pktmbuf_free_bulk(&p->m[sent], n - sent);
}
