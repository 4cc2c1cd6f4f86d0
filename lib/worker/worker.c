/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A data lcore: from rx burst to tx burst.
 *
 * Path of a packet: rx queue -> view -> not TCP, or no listener's port on either side: out on the
 * other port of the pair as it came. Else flow key -> owner: the worker to which the ports deliver
 * the flow where they agree on one (rss.c), else the keyed hash's choice. The owner's own packets
 * go to mqt_conns_input() in bursts; others through a ring to their owner, which begins anew with
 * the view. So a flow is judged by one worker wherever its packets come in (rule R20), and since
 * the packets of one direction come from one queue and take one route, they do not overtake each
 * other.
 *
 * Fragments that may concern a listener go to the worker that the hash of their datagram's identity
 * names, are put together there (reassembly.c), and the whole begins anew with the view. Whole
 * datagrams are told by a flag of the mbuf where packets leave: there they become fragments again.
 *
 * Synchronisation: a worker is its lcore's alone. Shared are: the hand-over rings (one producer,
 * one consumer each), the mailbox, the heartbeat, the counters, the flag that stops all. Within a
 * turn the mailbox is read first, and what was judged before has left by then (rule R5): each burst
 * and each turn ends with a flush of all ports.
 */
#include "worker_private.h"

#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_pause.h>
#include <rte_prefetch.h>

#define TX_TRIES         4
#define TIMERS_A_TURN    64
#define DATAGRAMS_A_TURN 8 /* that expire */
#define PREFETCH_AHEAD   4
#define SLEEP_MAX_US     1000 /* what the first packet after silence waits at most */

static void
count(struct mqt_worker *w, enum mqt_worker_counter c, uint64_t n)
{
	mqt_counter_add(&w->counters.v[c], n);
}

/* --- out ---------------------------------------------------------------------------------- */

static uint16_t
send_burst(const struct mqt_worker *w, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	uint16_t sent = 0;

	for (unsigned i = 0; i < TX_TRIES && sent < n; i++) {
		if (i > 0)
			rte_pause();
		sent += rte_eth_tx_burst(
				w->all->port_ids[port], (uint16_t)w->index, m + sent, n - sent);
	}
	return sent;
}

/* Sends the fragments that a datagram came in. Ownership: it is gone. */
static void
send_whole(struct mqt_worker *w, uint16_t port, struct rte_mbuf *whole)
{
	struct rte_mbuf *m[REASSEMBLY_MAX_PIECES];
	unsigned n = mqt_fragments_split(w->all->pool, whole, m), sent;

	rte_pktmbuf_free(whole);
	if (n == 0)
		count(w, MQT_W_NO_MBUF, 1);
	sent = send_burst(w, port, m, (uint16_t)n);
	rte_pktmbuf_free_bulk(m + sent, n - sent);
	count(w, MQT_W_TX_DROPPED, n - sent);
	count(w, MQT_W_TX_PACKETS, (uint64_t)sent - 1); /* the caller counts one */
}

static uint16_t
send_mixed(struct mqt_worker *w, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	uint16_t done = 0;

	while (done < n) {
		uint16_t run = 0, sent;

		while (done + run < n && !(m[done + run]->ol_flags & w->all->whole_flag))
			run++;
		sent = send_burst(w, port, m + done, run);
		done += sent;
		if (sent < run)
			break;
		if (done < n)
			send_whole(w, port, m[done++]);
	}
	return done;
}

uint16_t
worker_tx_burst(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	struct mqt_worker *w = arg;

	if (unlikely(w->ol_flags & w->all->whole_flag))
		return send_mixed(w, port, m, n);
	return send_burst(w, port, m, n);
}

static void
flush_tx(struct mqt_worker *w) MQT_REQUIRES(mqt_role_worker)
{
	for (uint16_t port = 0; port < w->all->n_ports; port++)
		if (w->tx.port[port].n > 0)
			mqt_tx_flush(&w->tx, port);
}

static void
flush_handover(struct mqt_worker *w)
{
	for (unsigned i = 0; i < w->all->n_workers; i++) {
		struct handover *h = &w->handover[i];
		unsigned done;

		if (h->n == 0)
			continue;
		done = rte_ring_sp_enqueue_burst(
				w->all->worker[i]->from[w->index], (void **)h->m, h->n, NULL);
		count(w, MQT_W_HANDED_OVER, done);
		mqt_waker_wake(w->all->worker[i]->waker);
		if (done < h->n) {
			count(w, MQT_W_HANDOVER_DROPPED, h->n - done);
			rte_pktmbuf_free_bulk(h->m + done, h->n - done);
		}
		h->n = 0;
	}
}

/* --- in ----------------------------------------------------------------------------------- */

enum whose {
	OTHERS,    /* has been counted, passes */
	BURIED,    /* has been counted, is dropped */
	FRAGMENT,  /* pkt->view says no more than that */
	LISTENERS, /* all of pkt is set */
};

/* Looks at a packet. */
static enum whose
inspect(struct mqt_worker *w, struct rte_mbuf *m, uint16_t port, struct mqt_packet *pkt)
{
	const struct mqt_config *cfg = w->all->config;
	size_t len;

	pkt->m = m;
	pkt->port = port;
	switch (mqt_pkt_parse(m, &pkt->view)) {
	case MQT_PKT_TCP:
		break;
	case MQT_PKT_FRAGMENT:
		return FRAGMENT;
	case MQT_PKT_MALFORMED:
		if (m->nb_segs > 1) { /* its receiver may well see what is behind */
			count(w, MQT_W_BURIED_DROPPED, 1);
			return BURIED;
		}
		count(w, MQT_W_MALFORMED_PACKETS, 1);
		return OTHERS;
	default:
		count(w, MQT_W_PASSED, 1);
		return OTHERS;
	}
	if (!mqt_config_has_port(cfg, pkt->view.dst_port) &&
			!mqt_config_has_port(cfg, pkt->view.src_port)) {
		count(w, MQT_W_PASSED, 1);
		return OTHERS;
	}
	if (unlikely(!mqt_pkt_ip_checksum_ok(m, &pkt->view))) {
		count(w, MQT_W_BAD_IP_CHECKSUM, 1);
		return OTHERS;
	}
	pkt->src_low = (uint8_t)mqt_flow_key_of(m, &pkt->view, &pkt->key);
	len = pkt->view.ip_version == 4 ? MQT_FLOW_KEY_V4_LEN : MQT_FLOW_KEY_V6_LEN;
	pkt->hash = mqt_hash_flow(w->all->hash_key, &pkt->key, len);
	return LISTENERS;
}

/* A pure function of addresses and ports (rule R20). */
static unsigned
owner_of(const struct mqt_workers *all, const struct mqt_packet *pkt)
{
	if (all->rss.n_buckets > 0)
		return rss_owner(&all->rss, &pkt->key, pkt->view.ip_version);
	return (unsigned)(pkt->hash >> 32) % all->n_workers;
}

static void
hand_over(struct mqt_worker *w, unsigned owner, struct rte_mbuf *m, uint16_t port)
{
	struct handover *h = &w->handover[owner];

	m->port = w->all->port_ids[port]; /* not every driver writes it */
	h->m[h->n++] = m;
}

static void receive(struct mqt_worker *w, struct rte_mbuf *m, uint16_t port)
		MQT_REQUIRES(mqt_role_worker);

static void
pass_fragment(struct mqt_worker *w, struct rte_mbuf *m, uint16_t port, enum mqt_worker_counter why)
		MQT_REQUIRES(mqt_role_worker)
{
	count(w, MQT_W_FRAGMENTS, 1);
	count(w, why, 1);
	mqt_tx_push(&w->tx, port ^ 1, m, NULL, 0);
}

static void
receive_fragment(struct mqt_worker *w, struct rte_mbuf *m, uint16_t port,
		const struct mqt_pkt *view) MQT_REQUIRES(mqt_role_worker)
{
	struct reassembly_out out;
	struct mqt_fragment frag;
	unsigned owner;
	uint64_t hash;
	int ret;

	if (!w->reassembly) {
		pass_fragment(w, m, port, MQT_W_FRAGMENTS_PASSED);
		return;
	}
	ret = mqt_pkt_fragment(m, view, port, &frag);
	if (!reassembly_concerns(w->all->config, &frag)) {
		pass_fragment(w, m, port,
				ret == 0 ? MQT_W_FRAGMENTS_PASSED : MQT_W_MALFORMED_PACKETS);
		return;
	}
	if (!mqt_pkt_ip_checksum_ok(m, view)) {
		pass_fragment(w, m, port, MQT_W_BAD_IP_CHECKSUM);
		return;
	}
	if (ret != 0) {
		count(w, MQT_W_FRAGMENTS, 1);
		count(w, MQT_W_FRAGMENTS_DROPPED, 1);
		rte_pktmbuf_free(m);
		return;
	}
	hash = mqt_hash_flow(w->all->hash_key, &frag.key, sizeof(frag.key));
	owner = (unsigned)(hash >> 32) % w->all->n_workers;
	if (owner != w->index) {
		hand_over(w, owner, m, port);
		return;
	}
	count(w, MQT_W_FRAGMENTS, 1);
	reassembly_input(w->reassembly, m, &frag, hash, mqt_clock_mono(w->all->clock), &out);
	for (unsigned i = 0; i < out.n_pass; i++)
		mqt_tx_push(&w->tx, port ^ 1, out.pass[i], NULL, 0);
	if (out.whole)
		receive(w, out.whole, port);
}

static void
receive(struct mqt_worker *w, struct rte_mbuf *m, uint16_t port)
{
	struct mqt_packet *pkt = &w->batch[w->n_batch];
	unsigned owner;

	w->ol_flags |= m->ol_flags;
	switch (inspect(w, m, port, pkt)) {
	case OTHERS:
		mqt_tx_push(&w->tx, port ^ 1, m, NULL, 0);
		break;
	case BURIED:
		rte_pktmbuf_free(m);
		break;
	case FRAGMENT:
		receive_fragment(w, m, port, &pkt->view);
		break;
	case LISTENERS:
		owner = owner_of(w->all, pkt);
		if (owner == w->index)
			w->n_batch++;
		else
			hand_over(w, owner, m, port);
	}
}

static void
end_burst(struct mqt_worker *w) MQT_REQUIRES(mqt_role_worker)
{
	if (w->n_batch > 0) {
		mqt_conns_input(w->conns, w->batch, w->n_batch);
		w->n_batch = 0;
	}
	flush_handover(w);
	flush_tx(w);
}

static unsigned
turn_port(struct mqt_worker *w, uint16_t port) MQT_REQUIRES(mqt_role_worker)
{
	struct rte_mbuf *m[BURST];
	unsigned n;

	n = rte_eth_rx_burst(w->all->port_ids[port], (uint16_t)w->index, m, BURST);
	if (n == 0)
		return 0;
	count(w, MQT_W_RX_PACKETS, n);
	for (unsigned i = 0; i < n && i < PREFETCH_AHEAD; i++)
		rte_prefetch0(rte_pktmbuf_mtod(m[i], void *));
	for (unsigned i = 0; i < n; i++) {
		if (i + PREFETCH_AHEAD < n)
			rte_prefetch0(rte_pktmbuf_mtod(m[i + PREFETCH_AHEAD], void *));
		receive(w, m[i], port);
	}
	count(w, MQT_W_OWNED, w->n_batch);
	end_burst(w);
	return n;
}

/* What other workers have received for this one. */
static unsigned
turn_ring(struct mqt_worker *w, struct rte_ring *ring) MQT_REQUIRES(mqt_role_worker)
{
	struct rte_mbuf *m[BURST];
	unsigned n;

	n = rte_ring_sc_dequeue_burst(ring, (void **)m, BURST, NULL);
	if (n == 0)
		return 0;
	for (unsigned i = 0; i < n && i < PREFETCH_AHEAD; i++)
		rte_prefetch0(rte_pktmbuf_mtod(m[i], void *));
	for (unsigned i = 0; i < n; i++) {
		if (i + PREFETCH_AHEAD < n)
			rte_prefetch0(rte_pktmbuf_mtod(m[i + PREFETCH_AHEAD], void *));
		receive(w, m[i], w->all->ports[m[i]->port]);
	}
	end_burst(w);
	return n;
}

unsigned
mqt_worker_turn(struct mqt_worker *w)
{
	uint64_t now = mqt_clock_mono(w->all->clock);
	unsigned done;

	atomic_store_explicit(&w->heartbeat_ns, now, memory_order_release);
	done = mqt_conns_poll(w->conns);
	for (uint16_t port = 0; port < w->all->n_ports; port++)
		done += turn_port(w, port);
	for (unsigned i = 0; i < w->all->n_workers; i++)
		if (w->from[i])
			done += turn_ring(w, w->from[i]);
	done += mqt_conns_expire(w->conns, TIMERS_A_TURN);
	if (w->reassembly)
		done += reassembly_expire(w->reassembly, now, DATAGRAMS_A_TURN);
	flush_tx(w);
	mqt_mailbox_wake_control(w->mailbox);
	return done;
}

/* What others have posted; ports have to be asked in a turn. */
static bool
has_work(void *arg)
{
	const struct mqt_worker *w = arg;

	mqt_role_worker_assert();
	if (mqt_mailbox_pending_worker(w->mailbox) > 0)
		return true;
	for (unsigned i = 0; i < w->all->n_workers; i++)
		if (w->from[i] && rte_ring_count(w->from[i]) > 0)
			return true;
	return false;
}

int
mqt_worker_run(void *worker)
{
	struct mqt_worker *w = worker;
	enum mqt_poll_mode mode = (enum mqt_poll_mode)w->all->config->poll;

	mqt_role_worker_assert();
	atomic_store_explicit(&w->lcore, rte_lcore_id(), memory_order_relaxed);
	while (!atomic_load_explicit(&w->all->stop, memory_order_relaxed)) {
		unsigned done = mqt_worker_turn(w);

		uint32_t us = mqt_idle_step(&w->idle, mode, done, SLEEP_MAX_US);

		if (us > 0 && mqt_waker_sleep(w->waker, us, has_work, w))
			count(w, MQT_W_SLEEPS, 1);
	}
	return 0;
}
