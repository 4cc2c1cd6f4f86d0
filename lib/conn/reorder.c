/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Segments behind a gap.
 *
 * Before CONNACK the client's bytes are forwarded in order only, so that what the broker reads is
 * what was parsed (I12): a segment behind a gap waits, and is compared with what was parsed when
 * its turn comes. Later a segment behind a gap leaves at once and a reference stays for the framing
 * cursor; a gap inside a body that is being skipped needs none.
 *
 * A gap that is not filled. References are bounded by flow and worker, and kept for GAP_NS. Beyond
 * that the stream is given up: its framing is lost, counted; octets, identity and life-cycle go on,
 * and a FIN that waited behind the gap is believed. Nothing is dropped for it.
 *
 * Synchronisation: the worker's own.
 * Sources: RFC 9293 §3.10.7.4; DESIGN.md R12, I10, I12.
 */
#include "conn_private.h"

#define GAP_NS (10 * MQT_NS_PER_SEC)

static void
drain(struct mqt_conns *cs, struct conn *c, enum side side) MQT_REQUIRES(mqt_role_worker)
{
	struct stream *s = &c->stream[side];
	struct hold h;

	while (s->held != NO_INDEX && mqt_seq_cmp(cs->holds[s->held].view.seq, s->next) <= 0) {
		hold_pop(cs, s, &h);
		if (unlikely(c->flags & CONN_HANDSHAKE) && side == CLIENT && !h.forwarded &&
				connect_conflict(c, h.m, &h.view)) {
			count(cs, MQT_W_CONFLICT);
			rte_pktmbuf_free(h.m);
			continue;
		}
		tcp_take_and_forward(cs, c, side, h.m, &h.view, h.port, h.forwarded);
	}
}

/* Before CONNACK: nothing behind a gap leaves. */
static bool
in_order_only(const struct conn *c)
{
	return c->state == MQT_CONN_EMBRYONIC || c->state == MQT_CONN_CONNECTING;
}

static bool
is_held(struct mqt_conns *cs, const struct stream *s, const struct mqt_pkt *v)
{
	for (const struct hold *h = hold_at(cs, s->held); h; h = hold_at(cs, h->next))
		if (h->view.seq == v->seq && seg_end(&h->view) == seg_end(v))
			return true;
	return false;
}

void
reorder_give_up(struct mqt_conns *cs, struct conn *c, enum side side)
{
	struct stream *s = &c->stream[side];
	bool ends = false;

	for (const struct hold *h = hold_at(cs, s->held); h; h = hold_at(cs, h->next))
		ends = ends || h->view.tcp_flags & MQT_TCP_FIN;
	count(cs, MQT_W_ANOMALY_GAP);
	if (mqt_seq_cmp(s->end, s->next) > 0)
		mqt_slot_count(&c->slot, side == CLIENT ? MQT_RECV_OCT : MQT_SEND_OCT,
				s->end - s->next);
	tcp_lose(cs, s);
	if (ends && !(c->flags & CONN_INJECTED))
		tcp_fin(cs, c, side);
}

/* Before CONNACK its sender has it and will send it again; later nothing is taken off the wire. */
static void
no_room(struct mqt_conns *cs, struct conn *c, enum side side, struct rte_mbuf *m,
		const struct mqt_pkt *v, uint16_t port) MQT_REQUIRES(mqt_role_worker)
{
	if (in_order_only(c)) {
		count(cs, MQT_W_REORDER_DROPPED);
		rte_pktmbuf_free(m);
		return;
	}
	reorder_give_up(cs, c, side);
	tcp_take_and_forward(cs, c, side, m, v, port, false);
}

static void
reordered(struct mqt_conns *cs, struct conn *c, enum side side, struct rte_mbuf *m,
		const struct mqt_pkt *v, uint16_t port) MQT_REQUIRES(mqt_role_worker)
{
	struct stream *s = &c->stream[side];
	bool wait = in_order_only(c), again = is_held(cs, s, v);

	if (again && wait) {
		rte_pktmbuf_free(m); /* the copy that waits will do */
		return;
	}
	if (!again && !wait && !(v->tcp_flags & MQT_TCP_FIN) && tcp_skip(cs, c, side, seg_end(v))) {
		tcp_take_and_forward(cs, c, side, m, v, port, false);
		drain(cs, c, side);
		return;
	}
	if (!again && (s->n_held >= cs->reorder_max || !hold_add(cs, s, m, v, port, !wait))) {
		no_room(cs, c, side, m, v, port);
		return;
	}
	if (!again)
		count(cs, MQT_W_REORDER_HELD);
	if (wait)
		return;
	if (!again && s->n_held == 1 && c->state != MQT_CONN_OPENING) /* which has its own limit */
		conn_arm_by(cs, c, GAP_NS);
	if (!again)
		rte_pktmbuf_refcnt_update(m, 1);
	if (mqt_seq_cmp(seg_end(v), s->end) > 0)
		s->end = seg_end(v);
	conn_forward(cs, c, port, m);
}

void
reorder_input(struct mqt_conns *cs, struct conn *c, enum side side, struct rte_mbuf *m,
		const struct mqt_pkt *v, uint16_t port)
{
	struct stream *s = &c->stream[side];

	if (unlikely(mqt_seq_cmp(v->seq, s->next) > 0) && !(s->flags & STREAM_LOST)) {
		reordered(cs, c, side, m, v, port);
		return;
	}
	tcp_take_and_forward(cs, c, side, m, v, port, false);
	if (unlikely(s->held != NO_INDEX))
		drain(cs, c, side);
}

static bool
is_overdue(const struct mqt_conns *cs, const struct stream *s)
{
	const struct hold *h = hold_at(cs, s->held);
	bool overdue = false;

	for (; h; h = hold_at(cs, h->next))
		overdue = overdue || cs->now_ms - h->since_ms >= GAP_NS / MQT_NS_PER_MS;
	return overdue;
}

bool
reorder_expire(struct mqt_conns *cs, struct conn *c)
{
	bool held = false;

	for (unsigned side = 0; side < 2; side++) {
		if (is_overdue(cs, &c->stream[side]))
			reorder_give_up(cs, c, side);
		held = held || c->stream[side].held != NO_INDEX;
	}
	return held;
}

void
reorder_watch(struct mqt_conns *cs, struct conn *c)
{
	uint32_t age_ms = 0;

	for (unsigned side = 0; side < 2; side++)
		for (const struct hold *h = hold_at(cs, c->stream[side].held); h;
				h = hold_at(cs, h->next))
			age_ms = RTE_MAX(age_ms, cs->now_ms - h->since_ms);
	conn_arm_by(cs, c, GAP_NS - RTE_MIN(age_ms * MQT_NS_PER_MS, GAP_NS));
}
