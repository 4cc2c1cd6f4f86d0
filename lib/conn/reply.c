/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the broker answers to CONNECT: finding CONNACK.
 *
 * Its segments are held (park.c), and read here in order of their sequence as far as they leave no
 * gap. AUTH passes, and so does a refusal; from the first byte of what may be CONNACK on they stay
 * (R11). A success opens the channel (open.c). A CONNACK that does not acknowledge CONNECT answers
 * another one, and the flow is opaque, as it is with anything else.
 *
 * In WebSocket frames the bytes go through ws.c first, which hands their MQTT back to here.
 *
 * Synchronisation: the worker's own.
 * Sources: MQTT 3.1.1 and 5.0 §3.2, §4.12; DESIGN.md R11, I12.
 */
#include "conn_private.h"

#include <string.h>

#define AUTH_FIRST (MQT_MQTT_AUTH << 4)

static enum reply
connack_success(struct mqt_conns *cs, struct conn *c, const struct mqt_mqtt_connack *connack)
		MQT_REQUIRES(mqt_role_worker)
{
	struct mqt_info *info;
	uint32_t n_kept;

	connect_kept(c->hs, &n_kept);
	if (mqt_seq_cmp(c->stream[BROKER].ack, c->hs->base + n_kept) < 0) {
		/* it answers another CONNECT: this one has not arrived */
		conn_untracked(cs, c, MQT_W_OPAQUE_AMBIGUOUS);
		return REPLY_DONE;
	}
	info = open_info(cs, c, connack);
	if (!info) {
		conn_untracked(cs, c, MQT_W_NO_MEMORY);
		return REPLY_DONE;
	}
	mqt_slot_count(&c->slot, MQT_SEND_PKT, 1);
	if (c->flags & CONN_WS) { /* which is read no further than this */
		mqt_slot_count(&c->slot, MQT_SEND_OCT,
				c->stream[BROKER].next - c->stream[BROKER].end);
	} else {
		/* what is behind CONNACK is followed when it is released */
		c->stream[BROKER].next = c->hs->reply_begin + connack->packet_len;
		mqt_slot_count(&c->slot, MQT_SEND_OCT, connack->packet_len);
		if (connack->packet_len == c->hs->reply_len)
			mqt_slot_count(&c->slot, MQT_SEND_CNT, 1);
	}
	open_channel(cs, c, info);
	return REPLY_DONE;
}

static enum reply
judge_connack(struct mqt_conns *cs, struct conn *c) MQT_REQUIRES(mqt_role_worker)
{
	struct handshake *hs = c->hs;
	struct mqt_mqtt_connack connack;
	struct mqt_mqtt_header header;
	enum mqt_mqtt_error error;

	switch (mqt_mqtt_connack_parse(hs->reply, hs->reply_len, c->version, &connack, &error)) {
	case MQT_PARSE_OK:
		if (connack.code == MQT_MQTT_RC_SUCCESS)
			return connack_success(cs, c, &connack);
		count(cs, MQT_W_CONNACK_REFUSED);
		conn_pass(cs, c);
		return REPLY_DONE;
	case MQT_PARSE_MORE:
		if (mqt_mqtt_header_parse(hs->reply, hs->reply_len, &header, &error) !=
						MQT_PARSE_OK ||
				header.remaining <= cs->config->limits.connect_max_bytes)
			return REPLY_WAITS;
		/* fallthrough */
	default:
		conn_untracked(cs, c, MQT_W_OPAQUE_MALFORMED);
		return REPLY_DONE;
	}
}

static void
consume(struct handshake *hs, uint32_t n)
{
	hs->reply_len -= n;
	hs->reply_begin += n;
	memmove(hs->reply, hs->reply + n, hs->reply_len);
}

enum reply
reply_packets(struct mqt_conns *cs, struct conn *c)
{
	struct handshake *hs = c->hs;
	struct mqt_mqtt_header header;

	for (;;) {
		uint32_t n = RTE_MIN(hs->reply_skip, hs->reply_len);

		if (n > 0) {
			hs->reply_skip -= n;
			consume(hs, n);
		}
		if (hs->reply_len == 0)
			return REPLY_PASSES;
		if (hs->reply[0] >> 4 == MQT_MQTT_CONNACK)
			return judge_connack(cs, c);
		if (hs->reply[0] != AUTH_FIRST || c->version != 5) {
			anomaly(cs, c, BROKER, ANOMALY_BEFORE_CONNACK);
			break;
		}
		switch (mqt_mqtt_header_parse(hs->reply, hs->reply_len, &header, NULL)) {
		case MQT_PARSE_MORE:
			return REPLY_PASSES;
		case MQT_PARSE_OK:
			hs->reply_skip = header.len + header.remaining;
			continue;
		default:
			break;
		}
		break;
	}
	conn_untracked(cs, c, MQT_W_OPAQUE_MALFORMED);
	return REPLY_DONE;
}

/* --- segments that are held -------------------------------------------------------------------- */

/* Reads what is new in a held segment, of a WebSocket. */
static enum reply
read_frames(struct mqt_conns *cs, struct conn *c, const struct hold *h)
		MQT_REQUIRES(mqt_role_worker)
{
	uint32_t off = c->stream[BROKER].next - h->view.seq, len;

	while (off < h->view.payload_len) {
		const uint8_t *data = mqt_pkt_payload_at(h->m, &h->view, off, &len);

		if (len == 0)
			break;
		if (!ws_reply_bytes(cs, c, data, len)) {
			if (c->state == MQT_CONN_OPENING &&
					c->stream[BROKER].next == seg_end(&h->view))
				mqt_slot_count(&c->slot, MQT_SEND_CNT, 1);
			return REPLY_DONE;
		}
		off += len;
	}
	return ws_reply(cs, c);
}

/* Reads what is new in a held segment. */
static enum reply
read_segment(struct mqt_conns *cs, struct conn *c, const struct hold *h)
		MQT_REQUIRES(mqt_role_worker)
{
	struct stream *s = &c->stream[BROKER];
	struct handshake *hs = c->hs;
	uint32_t off = s->next - h->view.seq, len;

	if (c->flags & CONN_WS)
		return read_frames(cs, c, h);
	if (hs->reply_len == 0 && hs->reply_skip == 0)
		hs->reply_begin = s->next;
	while (off < h->view.payload_len) {
		const uint8_t *data = mqt_pkt_payload_at(h->m, &h->view, off, &len);

		if (len == 0)
			break;
		if (!handshake_append(&hs->reply, &hs->reply_len, &hs->reply_cap, data, len)) {
			conn_untracked(cs, c, MQT_W_NO_MEMORY);
			return REPLY_DONE;
		}
		off += len;
		s->next += len;
	}
	return reply_packets(cs, c);
}

/* Lets go what has been read and holds no part of a CONNACK. */
static void
pass_read(struct mqt_conns *cs, struct conn *c) MQT_REQUIRES(mqt_role_worker)
{
	struct stream *s = &c->stream[BROKER];
	struct hold h;
	uint32_t end;

	while (s->held != NO_INDEX &&
			mqt_seq_cmp(seg_end(&hold_at(cs, s->held)->view), s->next) <= 0) {
		hold_pop(cs, s, &h);
		end = h.view.seq + h.view.payload_len;
		if (mqt_seq_cmp(end, s->end) > 0) { /* what left before is not counted again */
			mqt_slot_count(&c->slot, MQT_SEND_CNT, 1);
			mqt_slot_count(&c->slot, MQT_SEND_OCT, end - s->end);
		}
		if (mqt_seq_cmp(seg_end(&h.view), s->end) > 0)
			s->end = seg_end(&h.view);
		conn_forward(cs, c, h.port, h.m);
	}
}

/* The one to be read next. @return NULL: there is none, or a gap before it. */
static const struct hold *
first_unread(const struct mqt_conns *cs, const struct stream *s)
{
	const struct hold *h = hold_at(cs, s->held);

	while (h && mqt_seq_cmp(seg_end(&h->view), s->next) <= 0)
		h = hold_at(cs, h->next);
	return h && mqt_seq_cmp(h->view.seq, s->next) <= 0 ? h : NULL;
}

bool
reply_is_awaited(const struct conn *c)
{
	return c->state == MQT_CONN_CONNECTING ||
			(c->state == MQT_CONN_EMBRYONIC && c->flags & CONN_WS);
}

void
reply_read(struct mqt_conns *cs, struct conn *c)
{
	struct stream *s = &c->stream[BROKER];
	const struct hold *h;

	while (reply_is_awaited(c) && (h = first_unread(cs, s))) {
		bool ends = h->view.tcp_flags & MQT_TCP_FIN;
		enum reply r = read_segment(cs, c, h);

		if (r == REPLY_DONE)
			return;
		if (ends && r == REPLY_WAITS) {
			conn_untracked(cs, c, MQT_W_OPAQUE_MALFORMED);
			return;
		}
		if (ends) {
			s->flags |= STREAM_FIN;
			s->next++;
		}
		if (r == REPLY_PASSES)
			pass_read(cs, c);
	}
}
