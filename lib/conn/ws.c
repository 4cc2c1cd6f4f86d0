/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * WebSocket as a transport: the frames between TCP and MQTT.
 *
 * Each connection of a ws listener has two frame cursors, in a table beside the slots that is there
 * only where a listener wants it; what the MQTT cursors get is the payload. The broker's lies bare
 * and is read where it is. The client's is masked: what MQTT reads of it is unmasked into a small
 * buffer on the stack, and the bodies that MQTT skips are skipped here by their count.
 *
 * Before GRANT the broker's bytes are read here: the head of its answer passes, then the frames are
 * cut where its MQTT packets end, so that the cursor stands right behind CONNACK when the channel
 * is opened. From the first byte of a data frame on everything is held (R11), but for frames that
 * belong to an AUTH as a whole.
 *
 * What is injected is one frame for the MQTT packet, and Close behind it towards the client. A
 * client's frames have its initial sequence number as their key, so that a repetition is equal.
 *
 * Synchronisation: the worker's own.
 * Sources: RFC 6455 §5, §7.1; MQTT 5.0 §6; DESIGN.md R11, R15.
 */
#include "conn_private.h"
#include "mqtrack/pages.h"

#include <string.h>

#define CHUNK     256 /* bytes unmasked at once, a multiple of the key's length */
#define SKIP_FROM 64  /* a shorter rest of a body is read: that costs no more */
#define KEY_LEN   4
#define OPCODE    0x0f

/* --- the table --------------------------------------------------------------------------------- */

struct ws {
	struct mqt_ws_cursor cursor[2];
};

static size_t
table_size(const struct mqt_conns *cs)
{
	return (size_t)cs->n_slots * sizeof(struct ws);
}

int
ws_init(struct mqt_conns *cs)
{
	for (unsigned i = 0; i < cs->config->n_listeners; i++)
		if (cs->config->listeners[i].transport == MQT_TRANSPORT_WS)
			goto wanted;
	return 0;
wanted:
	cs->ws = mqt_pages_map(table_size(cs), MQT_PAGES_SMALL);
	return cs->ws ? 0 : -1;
}

void
ws_fini(struct mqt_conns *cs)
{
	mqt_pages_unmap(cs->ws, table_size(cs));
}

static struct mqt_ws_cursor *
cursor_of(const struct mqt_conns *cs, const struct conn *c, enum side side)
{
	return &cs->ws[conn_index(cs, c)].cursor[side];
}

void
ws_begin(struct mqt_conns *cs, struct conn *c)
{
	if (cs->config->listeners[c->listener].transport != MQT_TRANSPORT_WS)
		return;
	c->flags |= CONN_WS;
	mqt_ws_cursor_init(cursor_of(cs, c, CLIENT), true);
	mqt_ws_cursor_init(cursor_of(cs, c, BROKER), false);
}

/* --- established streams ----------------------------------------------------------------------- */

/* Takes the first @p n bytes off a piece. */
static void
piece_advance(struct mqt_ws_piece *piece, uint32_t n)
{
	uint8_t key[KEY_LEN];

	for (unsigned i = 0; i < KEY_LEN; i++)
		key[i] = piece->key[(i + n) % KEY_LEN];
	memcpy(piece->key, key, KEY_LEN);
	piece->ptr += n;
	piece->len -= n;
}

static bool
is_followed(const struct conn *c, const struct stream *s)
{
	return !(s->flags & STREAM_LOST) && !(c->flags & CONN_INJECTED);
}

/* @param behind bytes that came behind the piece. */
static void
take_masked(struct mqt_conns *cs, struct conn *c, struct mqt_ws_piece *piece, uint32_t behind)
		MQT_REQUIRES(mqt_role_worker)
{
	struct stream *s = &c->stream[CLIENT];
	uint8_t chunk[CHUNK];

	while (piece->len > 0 && is_followed(c, s)) {
		uint32_t skip = s->tap.cursor.skip, n;

		if (skip > SKIP_FROM && piece->len > SKIP_FROM) {
			n = RTE_MIN(piece->len, skip - 1);
			if (mqt_mqtt_tap_skip(&s->tap, n)) {
				piece_advance(piece, n);
				continue;
			}
		}
		n = RTE_MIN(piece->len, (uint32_t)CHUNK);
		mqt_ws_unmask(chunk, piece->ptr, n, piece->key);
		if (c->state == MQT_CONN_EMBRYONIC)
			c->hs->behind = piece->len - n + behind;
		tcp_take_mqtt(cs, c, CLIENT, chunk, n);
		piece_advance(piece, n);
	}
}

void
ws_take_bytes(struct mqt_conns *cs, struct conn *c, enum side side, const uint8_t *data,
		uint32_t len)
{
	struct stream *s = &c->stream[side];
	struct mqt_ws_piece piece;
	int64_t n;

	for (; len > 0 && is_followed(c, s); data += n, len -= (uint32_t)n) {
		n = mqt_ws_cursor_next(cursor_of(cs, c, side), data, len, &piece);
		if (n < 0 && c->state == MQT_CONN_EMBRYONIC) {
			conn_untracked(cs, c, MQT_W_OPAQUE_WS_FRAME);
			return;
		}
		if (n < 0) {
			anomaly_ws_frame(cs, c, side);
			tcp_stop_following(s);
			return;
		}
		if (piece.len == 0)
			continue;
		if (side == CLIENT) {
			tcp_note_life(cs, c);
			take_masked(cs, c, &piece, len - (uint32_t)n);
		} else {
			tcp_take_mqtt(cs, c, side, piece.ptr, piece.len);
		}
	}
}

bool
ws_skip(struct mqt_conns *cs, struct conn *c, enum side side, uint32_t n)
{
	struct mqt_ws_cursor *cursor = cursor_of(cs, c, side);

	if (mqt_ws_cursor_payload(cursor) < n)
		return false;
	if (mqt_ws_cursor_is_data(cursor)) {
		if (!mqt_mqtt_tap_skip(&c->stream[side].tap, n))
			return false;
		if (side == CLIENT)
			tcp_note_life(cs, c);
	}
	return mqt_ws_cursor_skip(cursor, n);
}

/* --- the broker before GRANT ------------------------------------------------------------------- */

/* The head of its answer. @return bytes taken, -1: not followed any more. */
static int64_t
answer_head(struct mqt_conns *cs, struct conn *c, const uint8_t *data, uint32_t len)
		MQT_REQUIRES(mqt_role_worker)
{
	struct handshake *hs = c->hs;
	bool complete = false;
	uint32_t n = 0;
	enum mqt_ws_error e = MQT_WS_E_UPGRADE;

	if (hs->layer[CLIENT] == LAYER_FRAMES) /* the request has been made */
		e = layers_head(hs, BROKER, data, len, &n, &complete);
	else
		anomaly(cs, c, BROKER, ANOMALY_BEFORE_CONNECT);
	if (e == MQT_WS_E_NONE &&
			!handshake_append(&hs->reply, &hs->reply_len, &hs->reply_cap, data, n)) {
		conn_untracked(cs, c, MQT_W_NO_MEMORY);
		return -1;
	}
	if (e == MQT_WS_E_NONE && complete)
		e = mqt_ws_response_check(hs->reply, hs->reply_len);
	if (e != MQT_WS_E_NONE) {
		conn_untracked(cs, c, layers_ws_error(e));
		return -1;
	}
	if (complete) {
		hs->layer[BROKER] = LAYER_FRAMES;
		hs->reply_len = 0;
	}
	c->stream[BROKER].next += n;
	return n;
}

/* Bytes that the MQTT packet in hand has still to come, as far as is known; at least 1. */
static uint32_t
packet_rest(const struct handshake *hs)
{
	struct mqt_mqtt_header header;

	if (hs->reply_skip > 0)
		return hs->reply_skip;
	if (hs->reply_len == 0 ||
			mqt_mqtt_header_parse(hs->reply, hs->reply_len, &header, NULL) !=
					MQT_PARSE_OK)
		return 1;
	return RTE_MAX(header.len + header.remaining - hs->reply_len, 1u);
}

/* Payload of the broker: a part of one MQTT packet. @return false: nothing more is to be read. */
static bool
answer_payload(struct mqt_conns *cs, struct conn *c, const struct mqt_ws_piece *piece)
		MQT_REQUIRES(mqt_role_worker)
{
	struct handshake *hs = c->hs;

	if (hs->reply_len == 0) {
		hs->reply_begin = hs->frame_begin;
		hs->reply_continues =
				(cursor_of(cs, c, BROKER)->first & OPCODE) == MQT_WS_CONTINUATION;
	}
	if (!handshake_append(&hs->reply, &hs->reply_len, &hs->reply_cap, piece->ptr, piece->len)) {
		conn_untracked(cs, c, MQT_W_NO_MEMORY);
		return false;
	}
	return reply_packets(cs, c) != REPLY_DONE;
}

/* A frame header, or payload up to the end of an MQTT packet. @return as answer_head(). */
static int64_t
answer_frame(struct mqt_conns *cs, struct conn *c, const uint8_t *data, uint32_t len)
		MQT_REQUIRES(mqt_role_worker)
{
	struct mqt_ws_cursor *cursor = cursor_of(cs, c, BROKER);
	struct stream *s = &c->stream[BROKER];
	struct mqt_ws_piece piece;
	int64_t n;

	if (mqt_ws_cursor_at_boundary(cursor))
		c->hs->frame_begin = s->next;
	if (mqt_ws_cursor_payload(cursor) > 0 && mqt_ws_cursor_is_data(cursor))
		len = RTE_MIN(len, packet_rest(c->hs));
	n = mqt_ws_cursor_next(cursor, data, len, &piece);
	if (n < 0) {
		conn_untracked(cs, c, MQT_W_OPAQUE_WS_FRAME);
		return -1;
	}
	s->next += (uint32_t)n;
	if (c->state == MQT_CONN_EMBRYONIC && mqt_ws_cursor_is_data(cursor)) {
		anomaly(cs, c, BROKER, ANOMALY_BEFORE_CONNECT); /* MQTT before CONNECT */
		conn_untracked(cs, c, MQT_W_OPAQUE_PROTOCOL);
		return -1;
	}
	return piece.len == 0 || answer_payload(cs, c, &piece) ? n : -1;
}

bool
ws_reply_bytes(struct mqt_conns *cs, struct conn *c, const uint8_t *data, uint32_t len)
{
	while (len > 0) {
		int64_t n = c->hs->layer[BROKER] == LAYER_HTTP ? answer_head(cs, c, data, len)
							       : answer_frame(cs, c, data, len);

		if (n < 0)
			return false;
		data += n;
		len -= (uint32_t)n;
	}
	return true;
}

enum reply
ws_reply(const struct mqt_conns *cs, const struct conn *c)
{
	const struct mqt_ws_cursor *cursor = cursor_of(cs, c, BROKER);
	const struct handshake *hs = c->hs;

	if (hs->layer[BROKER] == LAYER_HTTP)
		return REPLY_PASSES;
	if (hs->reply_len > 0 && hs->reply[0] >> 4 == MQT_MQTT_CONNACK)
		return REPLY_WAITS;
	if (mqt_ws_cursor_at_boundary(cursor) || !mqt_ws_cursor_is_data(cursor))
		return REPLY_PASSES;
	if (mqt_ws_cursor_payload(cursor) > 0 && mqt_ws_cursor_payload(cursor) <= hs->reply_skip)
		return REPLY_PASSES;
	return REPLY_WAITS;
}

/* --- speaking ---------------------------------------------------------------------------------- */

bool
ws_can_speak(const struct mqt_conns *cs, const struct conn *c, enum side from, bool message)
{
	const struct mqt_ws_cursor *cursor = cursor_of(cs, c, from);

	return mqt_ws_cursor_at_boundary(cursor) && !cursor->closed &&
			!(message && cursor->in_message);
}

bool
ws_is_closed(const struct mqt_conns *cs, const struct conn *c, enum side from)
{
	return cursor_of(cs, c, from)->closed;
}

size_t
ws_inject(const struct conn *c, enum side from, const uint8_t *packet, size_t len, uint8_t *buf,
		size_t cap)
{
	uint8_t key[KEY_LEN];
	size_t n = 0;

	memcpy(key, &c->isn, KEY_LEN);
	if (len > 0)
		n = mqt_ws_frame_encode(
				buf, cap, MQT_WS_BINARY, from == CLIENT ? key : NULL, packet, len);
	if (from == BROKER)
		n += mqt_ws_close_encode(buf + n, cap - n, NULL, MQT_WS_POLICY_VIOLATION);
	return n;
}

bool
ws_is_close_answer(const struct rte_mbuf *m, const struct mqt_pkt *v)
{
	const uint8_t *data;
	uint32_t len;

	if (v->payload_len < 2 + KEY_LEN)
		return false;
	data = mqt_pkt_payload_at(m, v, 0, &len);
	return len >= 2 && data[0] == (0x80 | MQT_WS_CLOSE) && data[1] & 0x80 &&
			v->payload_len == 2 + KEY_LEN + (data[1] & 0x7fu);
}
