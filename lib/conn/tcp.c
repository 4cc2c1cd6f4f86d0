/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tracker knows of TCP. Each stream has five numbers:
 *
 *    ack of the peer        next               end          edge of the peer
 *   ------|-------------------|-----------------|---------------|-------->  sequence
 *         receiver has these  cursors have them  forwarded       may be sent
 *
 * A segment has an effect only where the receiver could take it: not beyond the edge, not wholly
 * before the acknowledgement. An acknowledgement beyond end speaks of bytes that never came by.
 *
 * What comes behind a gap is the business of reorder.c. What the receiver acknowledges without it
 * having come by is gone for the cursor: inside a body it is skipped, else the framing is lost, and
 * identity and life-cycle go on without it. So it is with urgent data.
 *
 * RST. The receiver's next expected number lies between the peer's ack and end, so an RST there
 * ends the flow. One further on inside the window may be a forgery, or come behind segments that are
 * lost or late: it is believed after its receiver was silent for DOUBT_NS, for one that lives answers
 * it by a challenge (RFC 5961 §3.2). What that says meanwhile may be older than the RST: so it is asked
 * once more, by a probe that only the living acknowledge. All pass. What the tracker believes its
 * receiver may still discard, for an option or a gap; so the receiver is reset in the sender's name,
 * until it is silent.
 *
 * FIN. A receiver may discard one too, and its sender then go on; so the channel ends once the FIN is
 * acknowledged, and the flow goes on passing until both are. Where no acknowledgement comes within
 * FIN_NS, or its sender says more than it has ended, both ends are reset.
 *
 * Synchronisation: the worker's own.
 * Sources: RFC 9293 §3.10.7.4, RFC 7323 §2.3, §3.2, RFC 5961 §3.2; DESIGN.md R14, I9, I12.
 */
#include "conn_private.h"

#include <rte_byteorder.h>
#include <rte_memcpy.h>

/* Options of a segment that carries a timestamp and nothing else: NOP NOP TS(10), RFC 7323 A. */
#define TS_OPTIONS_BE RTE_BE32(0x0101080a)

void
tcp_stop_following(struct stream *s)
{
	s->flags |= STREAM_LOST;
	mqt_mqtt_tap_fini(&s->tap);
}

void
tcp_lose(struct mqt_conns *cs, struct stream *s)
{
	hold_drop(cs, s);
	tcp_stop_following(s);
	if (mqt_seq_cmp(s->next, s->end) > 0)
		s->end = s->next;
	s->next = s->end;
}

void
tcp_urgent(struct mqt_conns *cs, struct stream *s)
{
	if (s->flags & STREAM_LOST)
		return;
	count(cs, MQT_W_ANOMALY_URGENT);
	tcp_stop_following(s);
}

uint32_t
tcp_silent_ms(const struct mqt_conns *cs, const struct conn *c)
{
	uint32_t a = cs->now_ms - c->stream[CLIENT].seen_ms;
	uint32_t b = cs->now_ms - c->stream[BROKER].seen_ms;

	return a < b ? a : b;
}

/* --- what a segment says of its sender --------------------------------------------------------- */

void
tcp_learn_timestamp(struct stream *s, const struct rte_mbuf *m, const struct mqt_pkt *v)
{
	const uint8_t *opts = rte_pktmbuf_mtod_offset(m, const uint8_t *, v->l4_off + 20);
	uint32_t word[2];

	if (v->payload_off >= v->l4_off + 32) {
		memcpy(word, opts, sizeof(word));
		if (word[0] == TS_OPTIONS_BE) {
			s->ts_val = rte_be_to_cpu_32(word[1]);
			return;
		}
	}
	if (v->payload_off > v->l4_off + 20) {
		struct mqt_tcp_options opt;

		mqt_pkt_tcp_options(m, v, &opt);
		if (opt.has_ts)
			s->ts_val = opt.ts_val;
	}
}

bool
tcp_skip(struct mqt_conns *cs, struct conn *c, enum side side, uint32_t to)
{
	struct stream *s = &c->stream[side];
	uint32_t n = to - s->next;

	if (s->flags & STREAM_LOST)
		return false;
	if (!(c->flags & CONN_WS ? ws_skip(cs, c, side, n) : mqt_mqtt_tap_skip(&s->tap, n)))
		return false;
	mqt_slot_count(&c->slot, side == CLIENT ? MQT_RECV_OCT : MQT_SEND_OCT, n);
	s->next = to;
	return true;
}

/*
 * The peer acknowledges more of @p s than was followed.
 * @return false: to be ignored.
 */
static bool
acked_unseen(struct mqt_conns *cs, struct conn *c, enum side acker, uint32_t ack)
		MQT_REQUIRES(mqt_role_worker)
{
	struct stream *s = &c->stream[opposite(acker)];

	if (c->state < MQT_CONN_CONNECTED && acker == CLIENT)
		return false; /* nobody may blind the tracker before CONNACK by a false claim */
	if (mqt_seq_cmp(ack, c->stream[acker].edge) > 0)
		return false; /* more than it has room for */
	if (s->flags & STREAM_FIN)
		return false; /* it had ended, and not there */
	if (c->state == MQT_CONN_EMBRYONIC || c->state == MQT_CONN_CONNECTING) {
		conn_untracked(cs, c, MQT_W_OPAQUE_GAP);
		return false;
	}
	if (mqt_seq_cmp(ack, s->end) > 0)
		s->end = ack;
	if (s->flags & STREAM_LOST) {
		s->next = s->end;
	} else if (!tcp_skip(cs, c, opposite(acker), ack)) {
		reorder_give_up(cs, c, opposite(acker));
	}
	return true;
}

static void
learn_ack(struct mqt_conns *cs, struct conn *c, enum side side, const struct mqt_pkt *v)
		MQT_REQUIRES(mqt_role_worker)
{
	struct stream *s = &c->stream[side], *o = &c->stream[opposite(side)];
	uint32_t edge;

	if (!(v->tcp_flags & MQT_TCP_ACK) || mqt_seq_cmp(v->ack, s->ack) < 0)
		return;
	if (unlikely(mqt_seq_cmp(v->ack, o->end) > 0 || mqt_seq_cmp(v->ack, o->next) > 0) &&
			!acked_unseen(cs, c, side, v->ack))
		return;
	s->ack = v->ack;
	edge = v->ack + ((uint32_t)v->window << s->wscale);
	if (mqt_seq_cmp(edge, s->edge) > 0)
		s->edge = edge;
}

/*
 * A segment of @p side comes behind an RST in doubt. Its sender may have said this before the RST, so
 * that says nothing. Its receiver may have said it before the RST reached it: so it is asked, and
 * resets the flow where that is over.
 */
static void
doubted(struct mqt_conns *cs, struct conn *c, enum side side) MQT_REQUIRES(mqt_role_worker)
{
	if ((side == CLIENT) != !!(c->flags & CONN_DOUBT_BROKER))
		return;
	c->flags &= (uint16_t)~CONN_DOUBT;
	if (c->state == MQT_CONN_CONNECTED)
		close_probe(cs, c, side);
}

void
tcp_learn(struct mqt_conns *cs, struct conn *c, enum side side, const struct rte_mbuf *m,
		const struct mqt_pkt *v)
{
	struct stream *s = &c->stream[side], *o = &c->stream[opposite(side)];

	/* a keepalive probe repeats the number before the one expected (RFC 9293 §3.8.4) */
	if (mqt_seq_cmp(seg_end(v), o->ack - 1) < 0)
		return;
	s->seen_ms = cs->now_ms;
	/* what of a WebSocket is MQTT shows when it is read */
	if (side == CLIENT && v->payload_len > 0 &&
			mqt_seq_cmp(v->seq + v->payload_len, o->ack) > 0 &&
			(!(c->flags & CONN_WS) || s->flags & STREAM_LOST))
		tcp_note_life(cs, c);
	if (c->flags & CONN_TS)
		tcp_learn_timestamp(s, m, v);
	learn_ack(cs, c, side, v);
	if (unlikely(c->flags & CONN_DOUBT))
		doubted(cs, c, side);
}

/* --- following bytes --------------------------------------------------------------------------- */

static void
note_seen(struct mqt_conns *cs, struct conn *c, enum side side, const struct mqt_mqtt_seen *seen)
		MQT_REQUIRES(mqt_role_worker)
{
	const unsigned odd = side == CLIENT ? ANOMALY_TYPES_CLIENT : ANOMALY_TYPES_BROKER;
	struct stream *s = &c->stream[side];

	if (seen->packets)
		mqt_slot_count(&c->slot, side == CLIENT ? MQT_RECV_PKT : MQT_SEND_PKT,
				seen->packets);
	if (seen->publishes)
		mqt_slot_count(&c->slot, side == CLIENT ? MQT_RECV_MSG : MQT_SEND_MSG,
				seen->publishes);
	if (seen->types & 1u << MQT_MQTT_DISCONNECT)
		s->flags |= STREAM_DISCONNECT;
	if (unlikely(seen->types & odd) && anomaly_types(cs, c, side, seen->types))
		tcp_stop_following(s);
}

struct report {
	struct mqt_conns *cs;
	struct conn *c;
	enum side side;
};

static void
on_packet(void *arg, const struct mqt_mqtt_packet *packet)
{
	const struct report *r = arg;

	mqt_role_worker_assert();
	anomaly_packet(r->cs, r->c, r->side, packet);
	session_packet(r->cs, r->c, r->side, packet);
}

void
tcp_take_mqtt(struct mqt_conns *cs, struct conn *c, enum side side, const uint8_t *data,
		uint32_t len)
{
	struct stream *s = &c->stream[side];
	struct mqt_mqtt_seen seen = { 0 };
	struct report report = { cs, c, side };
	enum mqt_mqtt_error error;
	bool whole;

	if (side == CLIENT && c->state == MQT_CONN_EMBRYONIC) {
		uint32_t n = connect_bytes(cs, c, data, len);

		data += n;
		len -= n;
	}
	if (len == 0 || s->flags & STREAM_LOST)
		return;
	whole = mqt_mqtt_tap_feed(&s->tap, data, len, c->version,
			cs->config->limits.session_packet_bytes, &seen, on_packet, &report);
	error = (enum mqt_mqtt_error)s->tap.cursor.error;
	note_seen(cs, c, side, &seen);
	if (unlikely(!whole) && !(s->flags & STREAM_LOST)) {
		anomaly_framing(cs, c, side, error);
		tcp_stop_following(s);
	}
}

void
tcp_take_bytes(struct mqt_conns *cs, struct conn *c, enum side side, const uint8_t *data,
		uint32_t len)
{
	if (side == CLIENT && c->state == MQT_CONN_EMBRYONIC && c->hs->keeps_raw) {
		uint32_t n = layers_client_bytes(cs, c, data, len);

		data += n;
		len -= n;
	}
	if (unlikely(c->flags & CONN_WS))
		ws_take_bytes(cs, c, side, data, len);
	else
		tcp_take_mqtt(cs, c, side, data, len);
}

/* Follows what is new in a segment that leaves no gap. */
static void
take(struct mqt_conns *cs, struct conn *c, enum side side, const struct rte_mbuf *m,
		const struct mqt_pkt *v) MQT_REQUIRES(mqt_role_worker)
{
	struct stream *s = &c->stream[side];
	uint32_t off = s->next - v->seq; /* before the segment where the framing is lost */

	if (mqt_seq_cmp(v->seq + v->payload_len, s->next) > 0) {
		mqt_slot_count(&c->slot, side == CLIENT ? MQT_RECV_CNT : MQT_SEND_CNT, 1);
		mqt_slot_count(&c->slot, side == CLIENT ? MQT_RECV_OCT : MQT_SEND_OCT,
				v->payload_len - off);
	}
	while (off < v->payload_len && !(s->flags & STREAM_LOST)) {
		uint32_t len;
		const uint8_t *data = mqt_pkt_payload_at(m, v, off, &len);

		if (len == 0)
			break;
		tcp_take_bytes(cs, c, side, data, len);
		off += len;
	}
	s->next = seg_end(v);
}

/* A client that has said DISCONNECT has ended it, whoever closes first; else who did. */
static enum mqt_reason
end_reason(const struct conn *c, enum mqt_reason reason)
{
	if (c->stream[CLIENT].flags & STREAM_DISCONNECT)
		return MQT_REASON_CLIENT_DISCONNECT;
	if (c->stream[CLIENT].flags & STREAM_CLOSES)
		return MQT_REASON_CLIENT_CLOSED;
	return c->stream[BROKER].flags & STREAM_CLOSES ? MQT_REASON_BROKER_CLOSED : reason;
}

static bool
fin_is_acknowledged(const struct conn *c, enum side side)
{
	const struct stream *s = &c->stream[side];

	return s->flags & STREAM_FIN && mqt_seq_cmp(c->stream[opposite(side)].ack, s->next) >= 0;
}

bool
tcp_broker_has_ack(const struct conn *c)
{
	uint32_t more = c->stream[BROKER].ack - (c->isn + 1);

	if (!(c->stream[CLIENT].flags & STREAM_IN_SYN))
		return more > 0;
	return more > UINT16_MAX || fin_is_acknowledged(c, CLIENT) || c->flags & CONN_DONE_BROKER;
}

/* Once a FIN is acknowledged the channel is over; the flow goes on. */
static void
half_closed(struct mqt_conns *cs, struct conn *c) MQT_REQUIRES(mqt_role_worker)
{
	if (c->state != MQT_CONN_CONNECTED ||
			!(fin_is_acknowledged(c, CLIENT) || fin_is_acknowledged(c, BROKER)))
		return;
	if (!channel_down(cs, c, end_reason(c, MQT_REASON_CLIENT_CLOSED))) {
		close_wire(cs, c, CLOSE_RESET);
		return;
	}
	conn_set_state(cs, c, MQT_CONN_CLOSING);
	conn_arm(cs, c, LINGER_NS);
}

void
tcp_abort(struct mqt_conns *cs, struct conn *c, enum mqt_worker_counter why)
{
	count(cs, why);
	channel_down(cs, c, end_reason(c, MQT_REASON_CLIENT_CLOSED));
	close_wire(cs, c, CLOSE_RESET);
}

/* A FIN has left on a flow that is CONNECTED. */
static void
closes(struct mqt_conns *cs, struct conn *c, enum side side) MQT_REQUIRES(mqt_role_worker)
{
	struct stream *s = &c->stream[side];

	if (!((s->flags | c->stream[opposite(side)].flags) & STREAM_CLOSES)) {
		s->flags |= STREAM_CLOSES;
		c->tries = 0;
		conn_arm(cs, c, FIN_NS);
	}
	if (mqt_seq_cmp(s->end, s->next) > 0)
		tcp_abort(cs, c, MQT_W_BEHIND_FIN);
	else
		half_closed(cs, c);
}

/* Whether a segment has bytes, or another FIN, where its sender's FIN stands or behind it. */
static bool
is_behind_fin(const struct conn *c, enum side side, const struct mqt_pkt *v)
{
	const struct stream *s = &c->stream[side];

	return s->flags & STREAM_FIN &&
			(c->state == MQT_CONN_CONNECTED || c->state == MQT_CONN_CLOSING) &&
			(v->payload_len > 0 || v->tcp_flags & MQT_TCP_FIN) &&
			mqt_seq_cmp(v->seq + v->payload_len, s->next - 1) > 0;
}

void
tcp_fin(struct mqt_conns *cs, struct conn *c, enum side side)
{
	struct stream *s = &c->stream[side];

	s->flags |= STREAM_FIN;
	if (c->state == MQT_CONN_OPENING && side == CLIENT) {
		/* the newcomer is dead, and its CONNACK must not be released any more (I4) */
		channel_down(cs, c, end_reason(c, MQT_REASON_CLIENT_CLOSED));
		close_wire(cs, c, CLOSE_RESET);
		return;
	}
	if (c->state == MQT_CONN_CONNECTED)
		closes(cs, c, side);
}

void
tcp_client_closed(struct mqt_conns *cs, struct conn *c)
{
	closes(cs, c, CLIENT);
}

void
tcp_take_and_forward(struct mqt_conns *cs, struct conn *c, enum side side, struct rte_mbuf *m,
		const struct mqt_pkt *v, uint16_t port, bool forwarded)
{
	struct stream *s = &c->stream[side];
	bool new = mqt_seq_cmp(seg_end(v), s->next) > 0;

	if (new)
		take(cs, c, side, m, v);
	if (forwarded || c->flags & CONN_INJECTED) {
		rte_pktmbuf_free(m);
	} else {
		if (mqt_seq_cmp(seg_end(v), s->end) > 0)
			s->end = seg_end(v);
		conn_forward(cs, c, port, m);
	}
	if (s->flags & STREAM_LOST && mqt_seq_cmp(s->next, s->end) < 0)
		s->next = s->end;
	if (new && v->tcp_flags & MQT_TCP_FIN && !(c->flags & CONN_INJECTED))
		tcp_fin(cs, c, side);
}

/* --- RST and the end --------------------------------------------------------------------------- */

/* An end ends it before anything is known of it. */
static void
note_early_end(struct mqt_conns *cs, const struct conn *c)
{
	if (c->state == MQT_CONN_EMBRYONIC || c->state == MQT_CONN_CONNECTING)
		count(cs, MQT_W_ENDED_EARLY);
}

void
tcp_reset_by(struct mqt_conns *cs, struct conn *c, enum side side)
{
	/* before, nothing of MQTT is known to have come; behind, a FIN has ended the channel */
	bool may_live = c->state >= MQT_CONN_CONNECTING && c->state <= MQT_CONN_CONNECTED;
	enum mqt_reason reason = end_reason(
			c, side == CLIENT ? MQT_REASON_CLIENT_RESET : MQT_REASON_BROKER_RESET);

	note_early_end(cs, c);
	if (!channel_down(cs, c, reason))
		close_wire(cs, c, CLOSE_RESET);
	else if (may_live)
		close_reset_by(cs, c, side);
	else
		conn_remove(cs, c);
}

void
tcp_rst(struct mqt_conns *cs, struct conn *c, enum side side, struct rte_mbuf *m,
		const struct mqt_pkt *v, uint16_t port)
{
	struct stream *s = &c->stream[side], *o = &c->stream[opposite(side)];

	conn_forward(cs, c, port, m);
	if (mqt_seq_cmp(v->seq, o->ack) < 0 || mqt_seq_cmp(v->seq, o->edge) > 0) {
		count(cs, MQT_W_OUT_OF_WINDOW);
		return;
	}
	if (mqt_seq_cmp(v->seq, s->end) <= 0) {
		tcp_reset_by(cs, c, side);
		return;
	}
	if (c->state < MQT_CONN_CONNECTED)
		return; /* their own limits are short */
	c->flags |= CONN_DOUBT;
	c->flags &= (uint16_t)~CONN_DOUBT_BROKER;
	if (side == BROKER)
		c->flags |= CONN_DOUBT_BROKER;
	conn_arm(cs, c, DOUBT_NS);
}

void
tcp_maybe_done(struct mqt_conns *cs, struct conn *c)
{
	const struct stream *a = &c->stream[CLIENT], *b = &c->stream[BROKER];

	half_closed(cs, c);
	if (!(a->flags & b->flags & STREAM_FIN) || c->flags & CONN_INJECTED ||
			c->state == MQT_CONN_RELEASING)
		return;
	if (!fin_is_acknowledged(c, CLIENT) || !fin_is_acknowledged(c, BROKER))
		return;
	/* a channel is down since the first acknowledgement */
	note_early_end(cs, c);
	conn_remove(cs, c);
}

/* What may end a flow, or its following, is added up; of all else the port's verdict will do. */
static bool
is_damaged(const struct mqt_packet *p)
{
	if (unlikely(p->view.tcp_flags & (MQT_TCP_RST | MQT_TCP_FIN | MQT_TCP_URG)))
		return !mqt_pkt_checksum_ok(p->m, &p->view);
	return (p->m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_BAD;
}

void
tcp_input(struct mqt_conns *cs, struct conn *c, enum side side, const struct mqt_packet *p)
{
	const struct mqt_pkt *v = &p->view;

	if (unlikely(is_damaged(p))) {
		count(cs, MQT_W_BAD_CHECKSUM);
		conn_forward(cs, c, p->port, p->m);
		return;
	}
	if (unlikely(v->tcp_flags & MQT_TCP_RST)) {
		tcp_rst(cs, c, side, p->m, v, p->port);
		return;
	}
	if (unlikely(mqt_seq_cmp(v->seq, c->stream[opposite(side)].edge) > 0)) {
		count(cs, MQT_W_OUT_OF_WINDOW);
		conn_forward(cs, c, p->port, p->m);
		return;
	}
	tcp_learn(cs, c, side, p->m, v);
	if (unlikely(c->flags & CONN_INJECTED)) { /* that has ended it */
		rte_pktmbuf_free(p->m);
		return;
	}
	if (unlikely(is_behind_fin(c, side, v))) {
		tcp_abort(cs, c, MQT_W_BEHIND_FIN);
		rte_pktmbuf_free(p->m);
		return;
	}
	if (unlikely(v->tcp_flags & MQT_TCP_URG))
		tcp_urgent(cs, &c->stream[side]);
	if (v->payload_len > 0 || v->tcp_flags & MQT_TCP_FIN)
		reorder_input(cs, c, side, p->m, v, p->port);
	else
		conn_forward(cs, c, p->port, p->m);
	if (unlikely((c->stream[CLIENT].flags | c->stream[BROKER].flags) & STREAM_FIN))
		tcp_maybe_done(cs, c);
}
