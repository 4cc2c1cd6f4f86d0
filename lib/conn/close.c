/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Closing a flow on the wire. From close_wire() on the tracker is the peer of both ends, each in
 * the name of the other, and nothing passes (R15).
 *
 * Which end gets what. A v5 client gets DISCONNECT and FIN in one segment where MQTT and TCP both
 * allow it: its stream stands at a packet boundary, it has acknowledged all that was forwarded,
 * and its window has room. A newcomer that is refused gets a refusing CONNACK and FIN in the place
 * of the parked one, and its broker the client's DISCONNECT and FIN, which keeps the will from
 * being published; so does the broker of a flow that steps down where its listener suppresses
 * wills. Everybody else gets RST: one at the last acknowledgement seen from that end and,
 * where it differs, one at the highest byte forwarded to it, for the receiver's next expected
 * number is one of the two unless segments are on their way (R14); what it then sends is answered
 * by an RST at exactly its number. Where one end has sent RST itself, only the other one gets it:
 * it may have discarded what the tracker believes.
 *
 * Life-cycle: tries at 200 ms, doubling. A DISCONNECT that is not acknowledged is repeated, and
 * becomes RST when the tries are used up. The flow is removed when both ends are known to be done
 * (they acknowledged our FIN and sent theirs, or sent RST), or after the last try once neither has
 * said anything for a whole interval. A flow that an RST has ended begins at its last try, for its
 * receiver has had two resets at once.
 *
 * Synchronisation: the worker's own.
 * Sources: RFC 9293 §3.10.7, RFC 5961 §3.2, RFC 7323 §3.2, MQTT 5.0 §3.14.4; DESIGN.md R14-R16.
 */
#include "conn_private.h"

#include <string.h>

#include <rte_ether.h>

#define INJECT_CAP        16   /* bytes of an injected MQTT packet, at most */
#define V3_UNAVAILABLE    0x03 /* MQTT 3.1.1 §3.2.2.3 */
#define V3_NOT_AUTHORIZED 0x05

static const uint16_t done_flag[] = { [CLIENT] = CONN_DONE_CLIENT, [BROKER] = CONN_DONE_BROKER };

/* --- segments ---------------------------------------------------------------------------------- */

static uint16_t
window_of(const struct stream *s)
{
	uint32_t room = mqt_seq_cmp(s->edge, s->ack) > 0 ? (s->edge - s->ack) >> s->wscale : 0;

	return (uint16_t)RTE_MIN(room, (uint32_t)UINT16_MAX);
}

static void
put_link_header(const struct mqt_conns *cs, const struct conn *c, enum side from,
		struct mqt_segment *seg)
{
	const struct link_pair *link = links_at(&cs->links, c->link);
	uint16_t type = c->flags & CONN_IP6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4;

	seg->l2_len = link->l2_len[from];
	if (seg->l2_len < RTE_ETHER_HDR_LEN)
		return;
	memcpy(seg->l2, link->l2[from], LINK_L2_MAX);
	seg->l2[seg->l2_len - 2] = (uint8_t)(type >> 8);
	seg->l2[seg->l2_len - 1] = (uint8_t)type;
}

/* Sends a segment to one end, in the name of the other; who they are is filled in here. */
static void
send_built(struct mqt_conns *cs, const struct conn *c, enum side to, struct mqt_segment *seg)
		MQT_REQUIRES(mqt_role_worker)
{
	struct mqt_endpoint end[2];
	struct rte_mbuf *m;

	put_link_header(cs, c, opposite(to), seg);
	table_endpoints(cs, c, &end[CLIENT], &end[BROKER]);
	seg->src = end[opposite(to)];
	seg->dst = end[to];
	seg->has_ts = !!(c->flags & CONN_TS);
	seg->window = window_of(&c->stream[opposite(to)]);
	m = mqt_segment_build(cs->pool, seg);
	if (!m) {
		count(cs, MQT_W_NO_MBUF);
		return;
	}
	if (unlikely(c->captured))
		capture_sent(cs, c, (uint16_t)(2 * c->pair + to), m);
	mqt_tx_push(cs->tx, (uint16_t)(2 * c->pair + to), m, NULL, 0);
}

/* Sends a segment of a flow that is over for both ends. */
static void
send_segment(struct mqt_conns *cs, const struct conn *c, enum side to, unsigned flags, uint32_t seq,
		const uint8_t *payload, size_t len) MQT_REQUIRES(mqt_role_worker)
{
	const struct stream *from = &c->stream[opposite(to)], *peer = &c->stream[to];
	struct mqt_segment seg = {
		.tcp_flags = (uint8_t)flags,
		.seq = seq,
		.ack = peer->next,
		.ts_val = from->ts_val + (cs->now_ms - from->seen_ms),
		.ts_ecr = peer->ts_val,
		.payload = payload,
		.payload_len = (uint16_t)len,
	};

	send_built(cs, c, to, &seg);
}

/*
 * The flow may go on, so nothing is said that its sender has not said: its last acknowledgement and
 * its last timestamp, for one beyond its clock would make the peer discard what it sends next.
 */
void
close_probe(struct mqt_conns *cs, const struct conn *c, enum side to)
{
	const struct stream *from = &c->stream[opposite(to)], *peer = &c->stream[to];
	struct mqt_segment seg = {
		.tcp_flags = MQT_TCP_ACK,
		.seq = peer->ack - 1,
		.ack = from->ack,
		.ts_val = from->ts_val,
		.ts_ecr = peer->ts_val,
	};

	count(cs, MQT_W_INJECTED_PROBE);
	send_built(cs, c, to, &seg);
}

static void
send_rst(struct mqt_conns *cs, const struct conn *c, enum side to, uint32_t seq)
		MQT_REQUIRES(mqt_role_worker)
{
	count(cs, MQT_W_INJECTED_RST);
	send_segment(cs, c, to, MQT_TCP_RST | MQT_TCP_ACK, seq, NULL, 0);
}

/* The MQTT packet that was injected in the name of @p from. @return its length. */
static size_t
mqtt_packet(const struct conn *c, enum side from, uint8_t buf[INJECT_CAP])
{
	struct mqt_mqtt_connack connack = { .code = c->inj_code[from] };

	switch (c->stream[from].injected) {
	case INJECT_DISCONNECT:
		return mqt_mqtt_disconnect_encode(buf, INJECT_CAP, c->version, c->inj_code[from]);
	case INJECT_CONNACK:
		return mqt_mqtt_connack_encode(buf, INJECT_CAP, c->version, &connack);
	default:
		return 0;
	}
}

/* The same as its transport carries it. */
static size_t
injected_packet(const struct conn *c, enum side from, uint8_t buf[INJECT_CAP])
{
	uint8_t packet[INJECT_CAP];

	if (!(c->flags & CONN_WS))
		return mqtt_packet(c, from, buf);
	return ws_inject(c, from, packet, mqtt_packet(c, from, packet), buf, INJECT_CAP);
}

/* Behind the last number that was sent in the name of @p from, its FIN included. */
static uint32_t
injected_end(const struct conn *c, enum side from)
{
	const struct stream *s = &c->stream[from];
	uint8_t buf[INJECT_CAP];

	if (s->injected == INJECT_RST)
		return s->end;
	return s->end + (uint32_t)injected_packet(c, from, buf) + 1;
}

/* Sends, or repeats, what one end is to get. */
static void
inject(struct mqt_conns *cs, const struct conn *c, enum side to) MQT_REQUIRES(mqt_role_worker)
{
	const struct stream *from = &c->stream[opposite(to)], *peer = &c->stream[to];
	uint8_t buf[INJECT_CAP];
	size_t len;

	if (from->injected == INJECT_RST) {
		send_rst(cs, c, to, peer->ack);
		if (from->end != peer->ack)
			send_rst(cs, c, to, from->end);
		return;
	}
	len = injected_packet(c, opposite(to), buf);
	if (from->injected == INJECT_CONNACK)
		count(cs, MQT_W_INJECTED_CONNACK);
	else if (from->injected == INJECT_DISCONNECT)
		count(cs, MQT_W_INJECTED_DISCONNECT);
	if (c->flags & CONN_WS && to == CLIENT)
		count(cs, MQT_W_INJECTED_WS_CLOSE);
	count(cs, MQT_W_INJECTED_FIN);
	send_segment(cs, c, to, MQT_TCP_FIN | MQT_TCP_PSH | MQT_TCP_ACK, from->end, buf, len);
}

/* --- begin ------------------------------------------------------------------------------------- */

/* Whether the peer can take a packet right behind what it has: nothing on the way, room for it. */
static bool
has_room(const struct conn *c, enum side from)
{
	const struct stream *s = &c->stream[from], *peer = &c->stream[opposite(from)];

	return peer->ack == s->end && !(s->flags & STREAM_FIN) &&
			mqt_seq_cmp(s->end + INJECT_CAP, peer->edge) <= 0;
}

/* Whether all that came in the name of @p from is known, and something may follow it. */
static bool
is_known(const struct conn *c, enum side from)
{
	const struct stream *s = &c->stream[from];

	return !(s->flags & STREAM_LOST) && s->held == NO_INDEX && s->next == s->end &&
			has_room(c, from);
}

/* Whether an MQTT packet may follow in the name of @p from. */
static bool
can_speak(const struct mqt_conns *cs, const struct conn *c, enum side from)
{
	const struct stream *s = &c->stream[from];

	return is_known(c, from) && !(s->flags & STREAM_DISCONNECT) &&
			mqt_mqtt_cursor_at_boundary(&s->tap.cursor) &&
			(!(c->flags & CONN_WS) || ws_can_speak(cs, c, from, true));
}

/* Whether a Close of its WebSocket may follow in the name of the broker. */
static bool
can_close_ws(const struct mqt_conns *cs, const struct conn *c)
{
	return c->flags & CONN_WS && is_known(c, BROKER) && ws_can_speak(cs, c, BROKER, false);
}

/* The DISCONNECT of the client, so that the broker publishes no will. @return false: RST. */
static bool
speak_for_client(const struct mqt_conns *cs, struct conn *c)
{
	if (!can_speak(cs, c, CLIENT))
		return false;
	c->stream[CLIENT].injected = INJECT_DISCONNECT;
	c->inj_code[CLIENT] = MQT_MQTT_RC_SUCCESS;
	return true;
}

/* The DISCONNECT of the broker, which 3.x does not know, or a Close where that is known. */
static void
speak_for_broker(const struct mqt_conns *cs, struct conn *c, uint8_t code)
{
	struct stream *s = &c->stream[BROKER];

	if (c->version == 5 && can_speak(cs, c, BROKER)) {
		s->injected = INJECT_DISCONNECT;
		c->inj_code[BROKER] = code;
	} else if (can_close_ws(cs, c)) {
		s->injected = INJECT_CLOSE;
	}
}

static bool
suppresses_will(const struct mqt_conns *cs, const struct conn *c)
{
	return cs->config->listeners[c->listener].will == MQT_WILL_SUPPRESS;
}

/* Whether time may change that nobody can speak in the name of @p from. */
static bool
time_may_help(const struct mqt_conns *cs, const struct conn *c, enum side from)
{
	return !(c->stream[from].flags & (STREAM_LOST | STREAM_DISCONNECT | STREAM_FIN)) &&
			!(c->flags & CONN_WS && ws_is_closed(cs, c, from));
}

bool
close_better_later(const struct mqt_conns *cs, const struct conn *c)
{
	if ((c->version == 5 || c->flags & CONN_WS) && time_may_help(cs, c, BROKER) &&
			!(c->version == 5 ? can_speak(cs, c, BROKER) : can_close_ws(cs, c)))
		return true;
	return suppresses_will(cs, c) && c->flags & CONN_WILL && time_may_help(cs, c, CLIENT) &&
			!can_speak(cs, c, CLIENT);
}

static void
choose_stepdown(struct mqt_conns *cs, struct conn *c, uint8_t code)
{
	speak_for_broker(cs, c, code);
	if (suppresses_will(cs, c) && speak_for_client(cs, c) && c->flags & CONN_WILL)
		count(cs, MQT_W_WILL_SUPPRESSED);
}

static void
choose_refusal(const struct mqt_conns *cs, struct conn *c, uint8_t v5_code, uint8_t v3_code)
{
	struct stream *broker = &c->stream[BROKER];

	if (!(c->flags & CONN_HANDSHAKE))
		return;
	if (broker->end == c->hs->reply_begin && !c->hs->reply_continues && has_room(c, BROKER)) {
		broker->injected = INJECT_CONNACK;
		c->inj_code[BROKER] = c->version == 5 ? v5_code : v3_code;
	}
	speak_for_client(cs, c);
}

static void
choose(struct mqt_conns *cs, struct conn *c, enum close_how how)
{
	switch (how) {
	case CLOSE_RESET:
		break;
	case CLOSE_DISCARD:
		choose_stepdown(cs, c, MQT_MQTT_RC_TAKEN_OVER);
		break;
	case CLOSE_KEEPALIVE:
		speak_for_broker(cs, c, MQT_MQTT_RC_KEEPALIVE);
		break;
	case CLOSE_REFUSE:
		choose_refusal(cs, c, MQT_MQTT_RC_SERVER_BUSY, V3_UNAVAILABLE);
		break;
	case CLOSE_REFUSE_POLICY:
		choose_refusal(cs, c, MQT_MQTT_RC_QUOTA, V3_UNAVAILABLE);
		break;
	case CLOSE_REFUSE_USERNAME:
		choose_refusal(cs, c, MQT_MQTT_RC_NOT_AUTHORIZED, V3_NOT_AUTHORIZED);
		break;
	}
}

/* What was held without a gap has come: we acknowledge it, for nobody else will. */
static void
take_held(struct mqt_conns *cs, struct stream *s)
{
	for (const struct hold *h = hold_at(cs, s->held); h; h = hold_at(cs, h->next)) {
		if (mqt_seq_cmp(h->view.seq, s->next) > 0)
			break;
		if (mqt_seq_cmp(seg_end(&h->view), s->next) > 0)
			s->next = seg_end(&h->view);
		if (h->view.tcp_flags & MQT_TCP_FIN)
			s->flags |= STREAM_FIN;
	}
	hold_drop(cs, s);
}

/* What each end gets has been chosen. @param knows flags of an end that knows that it is over. */
static void
begin(struct mqt_conns *cs, struct conn *c, unsigned knows) MQT_REQUIRES(mqt_role_worker)
{
	take_held(cs, &c->stream[CLIENT]);
	take_held(cs, &c->stream[BROKER]);
	handshake_end(cs, c);
	conn_set_state(cs, c, MQT_CONN_CLOSING);
	c->flags &= (uint16_t) ~(CONN_HEARD | CONN_DONE_CLIENT | CONN_DONE_BROKER);
	c->flags |= (uint16_t)(CONN_INJECTED | knows);
	c->tries = 0;
	for (unsigned to = 0; to < 2; to++)
		if (!(knows & done_flag[to]))
			inject(cs, c, to);
	conn_arm(cs, c, CLOSE_RETRY_NS);
}

void
close_wire(struct mqt_conns *cs, struct conn *c, enum close_how how)
{
	c->stream[CLIENT].injected = c->stream[BROKER].injected = INJECT_RST;
	choose(cs, c, how);
	begin(cs, c, 0);
}

void
close_reset_by(struct mqt_conns *cs, struct conn *c, enum side side)
{
	c->stream[CLIENT].injected = c->stream[BROKER].injected = INJECT_RST;
	begin(cs, c, done_flag[side]);
	/* the receiver has had two resets: when it is silent now it is gone, and so is the slot, for
	 * many may end at once */
	c->tries = CLOSE_TRIES;
}

void
close_kick(struct mqt_conns *cs, struct conn *c, uint8_t code)
{
	c->stream[CLIENT].injected = c->stream[BROKER].injected = INJECT_RST;
	choose_stepdown(cs, c, code);
	begin(cs, c, 0);
}

/* --- answers ----------------------------------------------------------------------------------- */

static void
done(struct mqt_conns *cs, struct conn *c, enum side side) MQT_REQUIRES(mqt_role_worker)
{
	c->flags |= done_flag[side];
	if (c->flags & CONN_DONE_CLIENT && c->flags & CONN_DONE_BROKER)
		conn_remove(cs, c);
}

static void
answer_rst(struct mqt_conns *cs, struct conn *c, enum side to, const struct mqt_pkt *v)
		MQT_REQUIRES(mqt_role_worker)
{
	if (!(v->tcp_flags & MQT_TCP_ACK))
		return;
	count(cs, MQT_W_CHALLENGE_ANSWERED);
	send_rst(cs, c, to, v->ack);
}

/* A segment from an end that got a FIN. */
static void
answer_fin(struct mqt_conns *cs, struct conn *c, enum side side, const struct rte_mbuf *m,
		const struct mqt_pkt *v) MQT_REQUIRES(mqt_role_worker)
{
	struct stream *peer = &c->stream[side], *from = &c->stream[opposite(side)];

	if (c->flags & CONN_WS && side == CLIENT && v->seq == peer->next &&
			ws_is_close_answer(m, v))
		peer->next += v->payload_len;
	if (v->payload_len > 0 && mqt_seq_cmp(v->seq + v->payload_len, peer->next) > 0) {
		from->injected = INJECT_RST;
		answer_rst(cs, c, side, v);
		return;
	}
	if (v->tcp_flags & MQT_TCP_FIN && !(peer->flags & STREAM_FIN) &&
			seg_end(v) == peer->next + 1) {
		peer->flags |= STREAM_FIN;
		peer->next++;
	}
	if (v->payload_len > 0 || v->tcp_flags & MQT_TCP_FIN) {
		count(cs, MQT_W_INJECTED_ACK);
		send_segment(cs, c, side, MQT_TCP_ACK, injected_end(c, opposite(side)), NULL, 0);
	}
	if (peer->flags & STREAM_FIN && peer->ack == injected_end(c, opposite(side)))
		done(cs, c, side);
}

/*
 * Whether an RST of @p peer stands where its receiver could take it, or we in its place. What that
 * receiver has acknowledged of our bytes is none of the peer's.
 */
static bool
is_taken_rst(const struct stream *peer, const struct stream *from, const struct mqt_pkt *v)
{
	uint32_t first = mqt_seq_cmp(from->ack, peer->end) < 0 ? from->ack : peer->end;

	return mqt_seq_cmp(v->seq, first) >= 0 && mqt_seq_cmp(v->seq, from->edge) <= 0;
}

void
close_input(struct mqt_conns *cs, struct conn *c, enum side side, const struct mqt_packet *p)
{
	struct stream *peer = &c->stream[side], *from = &c->stream[opposite(side)];
	const struct mqt_pkt *v = &p->view;

	count(cs, MQT_W_CLOSING_DROPPED);
	c->flags |= CONN_HEARD;
	if (v->tcp_flags & MQT_TCP_ACK && mqt_seq_cmp(v->ack, peer->ack) > 0 &&
			mqt_seq_cmp(v->ack, injected_end(c, opposite(side))) <= 0)
		peer->ack = v->ack;
	if (v->tcp_flags & MQT_TCP_RST) {
		if (is_taken_rst(peer, from, v))
			done(cs, c, side);
		else
			count(cs, MQT_W_OUT_OF_WINDOW);
	} else if (from->injected == INJECT_RST) {
		answer_rst(cs, c, side, v);
	} else {
		answer_fin(cs, c, side, p->m, v);
	}
	rte_pktmbuf_free(p->m);
}

void
close_timer(struct mqt_conns *cs, struct conn *c)
{
	bool heard = c->flags & CONN_HEARD;

	c->flags &= (uint16_t)~CONN_HEARD;
	if (c->tries >= CLOSE_TRIES && !heard) {
		conn_remove(cs, c);
		return;
	}
	if (c->tries < UINT8_MAX)
		c->tries++;
	for (unsigned to = 0; to < 2 && c->tries <= CLOSE_TRIES; to++) {
		struct stream *from = &c->stream[opposite(to)];

		if (c->flags & done_flag[to])
			continue;
		if (c->tries == CLOSE_TRIES)
			from->injected = INJECT_RST;
		if (from->injected == INJECT_RST ||
				c->stream[to].ack != injected_end(c, opposite(to)))
			inject(cs, c, to);
	}
	conn_arm(cs, c, CLOSE_RETRY_NS << RTE_MIN(c->tries, CLOSE_MAX_SHIFT));
}

/* --- flows without connection ------------------------------------------------------------------ */

static void
reset_unknown(struct mqt_conns *cs, const struct mqt_packet *p, bool back)
		MQT_REQUIRES(mqt_role_worker)
{
	const struct mqt_pkt *v = &p->view;
	struct mqt_endpoint src, dst;
	struct mqt_segment seg = {
		.l2_len = v->l2_len,
		.tcp_flags = MQT_TCP_RST | MQT_TCP_ACK,
		.seq = back ? v->ack : v->seq,
		.ack = back ? seg_end(v) : v->ack,
	};
	struct rte_mbuf *m;

	if (v->l2_len > MQT_L2_MAX)
		return;
	mqt_pkt_endpoints(p->m, v, &src, &dst);
	seg.src = back ? dst : src;
	seg.dst = back ? src : dst;
	memcpy(seg.l2, rte_pktmbuf_mtod(p->m, const void *), v->l2_len);
	if (back) {
		memcpy(seg.l2, rte_pktmbuf_mtod_offset(p->m, const uint8_t *, 6), 6);
		memcpy(seg.l2 + 6, rte_pktmbuf_mtod(p->m, const uint8_t *), 6);
	}
	m = mqt_segment_build(cs->pool, &seg);
	if (!m) {
		count(cs, MQT_W_NO_MBUF);
		return;
	}
	count(cs, MQT_W_INJECTED_RST);
	mqt_tx_push(cs->tx, back ? p->port : p->port ^ 1, m, NULL, 0);
}

void
close_unknown(struct mqt_conns *cs, const struct mqt_packet *p)
{
	if (!(p->view.tcp_flags & MQT_TCP_RST)) {
		reset_unknown(cs, p, true);
		reset_unknown(cs, p, false);
	}
	rte_pktmbuf_free(p->m);
}
