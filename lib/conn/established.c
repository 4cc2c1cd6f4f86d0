/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The short way of a segment through an established connection: one that comes next in its stream,
 * acknowledges what its sender may, and changes nothing but numbers. Most segments are such ones.
 *
 * established_input() takes a segment only where each question that judge_conn(), tcp_input() and
 * reorder_input() would ask about it has the usual answer; all others go their way as if this file
 * were not there, and nothing has changed before they do. What it does to one that it takes is what
 * they would have done: tests/unit/test_conn_established.c drives both side by side.
 *
 * Synchronisation: the worker's own; the slot's word is read as conn_is_killed() reads it.
 */
#include "conn_private.h"

/* The usual answers. Those about the stream alone are asked once for both directions. */
static inline bool
is_usual(const struct conn *c, enum side side, uint64_t word, const struct mqt_packet *p)
{
	const struct stream *s = &c->stream[side], *o = &c->stream[opposite(side)];
	const struct mqt_pkt *v = &p->view;
	uint32_t end = v->seq + v->payload_len;

	/* judge_conn() */
	if (c->state != MQT_CONN_CONNECTED || (p->port & 1) != side || c->captured ||
			(word & 0xff) == MQT_SLOT_KILLED)
		return false;
	/* tcp_input() */
	if ((v->tcp_flags & ~MQT_TCP_PSH) != MQT_TCP_ACK ||
			(p->m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) ==
					RTE_MBUF_F_RX_L4_CKSUM_BAD)
		return false;
	if ((c->flags & (CONN_INJECTED | CONN_DOUBT | CONN_WS)) ||
			((s->flags | o->flags) & (STREAM_FIN | STREAM_LOST)))
		return false;
	/* reorder_input(); a segment that waits in either stream wants more care */
	if (v->seq != s->next || (s->held & o->held) != NO_INDEX)
		return false;
	if (mqt_seq_cmp(v->seq, o->edge) > 0 || mqt_seq_cmp(end, o->ack - 1) < 0)
		return false;
	/* take(): in one piece */
	if ((uint32_t)v->payload_off + v->payload_len > rte_pktmbuf_data_len(p->m))
		return false;
	/* learn_ack() */
	return mqt_seq_cmp(v->ack, s->ack) >= 0 && mqt_seq_cmp(v->ack, o->end) <= 0 &&
			mqt_seq_cmp(v->ack, o->next) <= 0;
}

static inline void
follow(struct mqt_conns *cs, struct conn *c, enum side side, const struct mqt_packet *p)
		MQT_REQUIRES(mqt_role_worker)
{
	struct stream *s = &c->stream[side];
	const struct mqt_pkt *v = &p->view;
	uint32_t end = v->seq + v->payload_len;
	uint32_t len = v->payload_len;

	if (side == CLIENT && mqt_seq_cmp(end, c->stream[BROKER].ack) > 0)
		tcp_note_life(cs, c);
	mqt_slot_count(&c->slot, side == CLIENT ? MQT_RECV_CNT : MQT_SEND_CNT, 1);
	mqt_slot_count(&c->slot, side == CLIENT ? MQT_RECV_OCT : MQT_SEND_OCT, len);
	tcp_take_mqtt(cs, c, side, rte_pktmbuf_mtod_offset(p->m, uint8_t *, v->payload_off), len);
	s->next = end;
	if (mqt_seq_cmp(end, s->end) > 0)
		s->end = end;
	if (unlikely(s->flags & STREAM_LOST))
		s->next = s->end;
}

bool
established_input(struct mqt_conns *cs, struct conn *c, const struct mqt_packet *p)
{
	bool from_low = p->src_low, client_low = c->flags & CONN_CLIENT_LOW;
	enum side side = from_low == client_low ? CLIENT : BROKER;
	/* acquire: pairs with the exchange in mqt_slot_leave() */
	uint64_t word = atomic_load_explicit(&c->slot.word, memory_order_acquire);
	const struct mqt_pkt *v = &p->view;
	struct stream *s = &c->stream[side];
	uint32_t edge;

	if (unlikely(!is_usual(c, side, word, p)))
		return false;
	s->seen_ms = cs->now_ms;
	if (c->flags & CONN_TS)
		tcp_learn_timestamp(s, p->m, v);
	s->ack = v->ack;
	edge = v->ack + ((uint32_t)v->window << s->wscale);
	if (mqt_seq_cmp(edge, s->edge) > 0)
		s->edge = edge;
	if (v->payload_len > 0)
		follow(cs, c, side, p);
	if (unlikely(c->flags & CONN_INJECTED)) { /* that has ended it */
		rte_pktmbuf_free(p->m);
		return true;
	}
	mqt_tx_push(cs->tx, p->port ^ 1, p->m, &c->slot.word,
			(word & ~(uint64_t)0xff) | MQT_SLOT_KILLED);
	return true;
}
