/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What comes to a worker's connections is given to those who judge it: packets and timers, by the state
 * of the connection. A burst is looked up as one, then its packets are judged in order (table.c); most
 * of them need no more than established.c.
 *
 * What belongs to no connection and begins none (embryo.c) passes, or is reset where its listener lets
 * no bytes of an unknown flow through.
 *
 * Synchronisation: everything belongs to one worker; a burst or a turn of timers has one time.
 * Sources: DESIGN.md R5, R13, R17, I10.
 */
#include "conn_private.h"

#define MAX_BURST 64

/* --- packets ----------------------------------------------------------------------------------- */

static void
pass(struct mqt_conns *cs, const struct mqt_packet *p, enum mqt_worker_counter why)
		MQT_REQUIRES(mqt_role_worker)
{
	count(cs, why);
	mqt_tx_push(cs->tx, p->port ^ 1, p->m, NULL, 0);
}

/*
 * A listener that refuses lets no bytes of an unknown flow through to it. What has none may, for it is
 * mostly the end of a flow that was known.
 */
static bool
refuses_unknown(const struct mqt_conns *cs, const struct mqt_packet *p)
{
	struct mqt_endpoint src, dst;
	int listener;

	if (!cs->any_refuses || p->view.payload_len == 0)
		return false;
	mqt_pkt_endpoints(p->m, &p->view, &src, &dst);
	listener = mqt_config_listener(cs->config, (p->port & 1) == CLIENT ? &dst : &src);
	return listener >= 0 && listener_refuses(&cs->config->listeners[listener]);
}

static void
midstream(struct mqt_conns *cs, const struct mqt_packet *p) MQT_REQUIRES(mqt_role_worker)
{
	if (refuses_unknown(cs, p)) {
		count(cs, MQT_W_MIDSTREAM);
		count(cs, MQT_W_MIDSTREAM_RESET);
		close_unknown(cs, p);
		return;
	}
	pass(cs, p, MQT_W_MIDSTREAM);
}

static bool
is_broker(const struct mqt_conns *cs, const struct mqt_packet *p)
{
	struct mqt_endpoint src, dst;

	mqt_pkt_endpoints(p->m, &p->view, &src, &dst);
	return mqt_config_listener(cs->config, &src) >= 0;
}

static void
judge_syn(struct mqt_conns *cs, const struct mqt_packet *p, struct conn *c)
		MQT_REQUIRES(mqt_role_worker)
{
	bool ack = p->view.tcp_flags & MQT_TCP_ACK, client = (p->port & 1) == CLIENT;

	if (c && c->state == MQT_CONN_FROZEN) {
		count(cs, MQT_W_FROZEN_DROPPED);
		rte_pktmbuf_free(p->m);
		return;
	}
	if (!mqt_pkt_checksum_ok(p->m, &p->view)) {
		pass(cs, p, MQT_W_BAD_CHECKSUM);
		return;
	}
	if (!ack && client) {
		embryo_syn(cs, p, c);
		return;
	}
	if (ack && !client && embryo_synack(cs, p, c))
		return;
	if (!ack && !client)
		embryo_simultaneous(cs, p);
	if (ack && !client && !c && is_broker(cs, p))
		count(cs, MQT_W_ONE_WAY);
	if (c && (c->flags & CONN_INJECTED)) {
		count(cs, MQT_W_CLOSING_DROPPED);
		rte_pktmbuf_free(p->m);
		return;
	}
	pass(cs, p, MQT_W_PASSED);
}

static void
judge_conn(struct mqt_conns *cs, struct conn *c, const struct mqt_packet *p)
		MQT_REQUIRES(mqt_role_worker)
{
	bool from_low = p->src_low, client_low = c->flags & CONN_CLIENT_LOW;
	enum side side = from_low == client_low ? CLIENT : BROKER;

	if ((p->port & 1) != side) {
		/* an address of the other side: it goes back where that address is not */
		pass(cs, p, MQT_W_PASSED);
		return;
	}
	if (unlikely(c->captured))
		capture_received(cs, c, p);
	if (unlikely(conn_is_killed(c)) && !(c->flags & CONN_DOWN)) {
		channel_killed(cs, c);
		count(cs, MQT_W_CLOSING_DROPPED);
		rte_pktmbuf_free(p->m);
		return;
	}
	switch (c->state) {
	case MQT_CONN_EMBRYONIC:
	case MQT_CONN_CONNECTING:
	case MQT_CONN_OPENING:
		if (unlikely(cs->capturing))
			capture_handshake(cs, c, side, p);
		else
			handshake_input(cs, c, side, p);
		break;
	case MQT_CONN_FROZEN:
		freeze_input(cs, c, side, p);
		break;
	case MQT_CONN_CLOSING:
		if (c->flags & CONN_INJECTED) {
			close_input(cs, c, side, p);
			break;
		}
		/* fallthrough */
	default:
		tcp_input(cs, c, side, p);
	}
}

static void
judge(struct mqt_conns *cs, struct conn *c, const struct mqt_packet *p)
		MQT_REQUIRES(mqt_role_worker)
{
	bool taken = false;

	if (unlikely(p->view.tcp_flags & MQT_TCP_SYN)) {
		judge_syn(cs, p, c);
		return;
	}
	if (unlikely(!c))
		c = embryo_ack(cs, p, &taken);
	if (taken)
		return;
	if (!c)
		midstream(cs, p);
	else
		judge_conn(cs, c, p);
}

void
mqt_conns_input(struct mqt_conns *cs, struct mqt_packet *pkts, unsigned n)
{
	uint32_t slots[MAX_BURST];

	cs->now_ns = mqt_clock_mono(cs->clock);
	cs->now_ms = (uint32_t)(cs->now_ns / MQT_NS_PER_MS);
	n = RTE_MIN(n, (unsigned)MAX_BURST);
	table_find(cs, pkts, n, slots);
	for (unsigned i = 0; i < n; i++) {
		struct conn *c = table_conn(cs, &pkts[i], slots[i]);

		if (likely(c) && likely(established_input(cs, c, &pkts[i])))
			continue;
		judge(cs, c, &pkts[i]);
	}
}

/* --- timers ------------------------------------------------------------------------------------ */

static void
conn_timer(struct mqt_timer *timer, void *arg)
{
	struct mqt_conns *cs = arg;
	struct conn *c = (struct conn *)((char *)timer - offsetof(struct conn, timer));

	mqt_role_worker_assert();
	switch (c->state) {
	case MQT_CONN_EMBRYONIC:
	case MQT_CONN_CONNECTING:
		conn_untracked(cs, c, MQT_W_OPAQUE_TIMEOUT);
		break;
	case MQT_CONN_OPENING:
		handshake_opening_timeout(cs, c);
		break;
	case MQT_CONN_FROZEN:
		freeze_timer(cs, c);
		break;
	case MQT_CONN_CLOSING:
		if (c->flags & CONN_INJECTED) {
			close_timer(cs, c);
			break;
		}
		/* fallthrough */
	case MQT_CONN_CONNECTED:
	case MQT_CONN_OPAQUE:
		silence_timer(cs, c);
		break;
	default:
		break;
	}
}

unsigned
mqt_conns_expire(struct mqt_conns *cs, unsigned budget)
{
	unsigned n;

	cs->now_ns = mqt_clock_mono(cs->clock);
	cs->now_ms = (uint32_t)(cs->now_ns / MQT_NS_PER_MS);
	n = mqt_wheel_expire(cs->wheel, cs->now_ns, budget, conn_timer, cs);
	n += embryo_expire(cs, budget);
	n += conn_slots_expire(cs, budget);
	return n;
}
