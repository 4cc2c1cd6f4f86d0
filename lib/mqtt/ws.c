/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Frames: a cursor that follows one direction of a WebSocket behind its HTTP heads.
 *
 * Life-cycle of a frame: its first byte sets at to 1 and is judged at once; the second one says how
 * long the header is; length and key are collected byte by byte; the last header byte sets at back
 * to 0, and left payload bytes follow. So all state between two bytes is in the cursor. Control
 * frames may stand between the frames of a fragmented message, which in_message minds. A Close ends
 * the messages: whatever follows it is followed as payload of nothing.
 *
 * Owner: the caller, one thread at a time.
 * Sources: RFC 6455 §5.1 to §5.5, §7.1.
 */

#include "mqtrack/ws.h"

#include <string.h>

#define FIN           0x80
#define RESERVED_BITS 0x70
#define OPCODE        0x0f
#define CONTROL       0x08 /* bit of their opcodes */
#define MASKED        0x80
#define LENGTH_16     126
#define LENGTH_64     127
#define CONTROL_MAX   125
#define KEY_LEN       4

_Static_assert(sizeof(struct mqt_ws_cursor) == 24, "two a connection");

void
mqt_ws_cursor_init(struct mqt_ws_cursor *cursor, bool masked)
{
	*cursor = (struct mqt_ws_cursor){ .masked = masked };
}

/* --- a frame header ---------------------------------------------------------------------------- */

static enum mqt_ws_error
first_check(const struct mqt_ws_cursor *cursor, uint8_t byte)
{
	if (byte & RESERVED_BITS)
		return MQT_WS_E_RESERVED;
	switch (byte & OPCODE) {
	case MQT_WS_CONTINUATION:
		return cursor->in_message ? MQT_WS_E_NONE : MQT_WS_E_FRAGMENT;
	case MQT_WS_BINARY:
		return cursor->in_message ? MQT_WS_E_FRAGMENT : MQT_WS_E_NONE;
	case MQT_WS_TEXT:
		return MQT_WS_E_TEXT;
	case MQT_WS_CLOSE:
	case MQT_WS_PING:
	case MQT_WS_PONG:
		return byte & FIN ? MQT_WS_E_NONE : MQT_WS_E_FRAGMENT;
	default:
		return MQT_WS_E_RESERVED;
	}
}

/* Mask bit and length, or how long the length is. */
static enum mqt_ws_error
second_take(struct mqt_ws_cursor *cursor, uint8_t byte)
{
	uint8_t length = byte & 0x7f;

	if (!!(byte & MASKED) != cursor->masked)
		return MQT_WS_E_MASK;
	if (cursor->first & CONTROL && length > CONTROL_MAX)
		return MQT_WS_E_LENGTH;
	cursor->size = 2 + (length == LENGTH_16 ? 2 : length == LENGTH_64 ? 8 : 0);
	cursor->size += cursor->masked ? KEY_LEN : 0;
	cursor->left = length < LENGTH_16 ? length : 0;
	return MQT_WS_E_NONE;
}

/* A byte of length or key. */
static void
more_take(struct mqt_ws_cursor *cursor, uint8_t byte)
{
	unsigned key_at = cursor->size - (cursor->masked ? KEY_LEN : 0u);

	if (cursor->at < key_at)
		cursor->left = cursor->left << 8 | byte;
	else
		cursor->mask[cursor->at - key_at] = byte;
}

/* The whole length, now that it is there: the shortest form, and 63 bits at most. */
static bool
length_valid(const struct mqt_ws_cursor *cursor)
{
	switch (cursor->size - (cursor->masked ? KEY_LEN : 0)) {
	case 4:
		return cursor->left > CONTROL_MAX;
	case 10:
		return cursor->left > UINT16_MAX && cursor->left <= INT64_MAX;
	default:
		return true;
	}
}

static void
header_complete(struct mqt_ws_cursor *cursor)
{
	cursor->at = 0;
	cursor->mask_at = 0;
	if ((cursor->first & OPCODE) == MQT_WS_CLOSE)
		cursor->closed = true;
	else if (!(cursor->first & CONTROL))
		cursor->in_message = !(cursor->first & FIN);
}

static enum mqt_ws_error
header_byte(struct mqt_ws_cursor *cursor, uint8_t byte)
{
	enum mqt_ws_error e = MQT_WS_E_NONE;

	if (cursor->at == 0) {
		cursor->first = byte;
		e = first_check(cursor, byte);
		cursor->size = 2;
	} else if (cursor->at == 1) {
		e = second_take(cursor, byte);
	} else {
		more_take(cursor, byte);
	}
	cursor->at++;
	if (e == MQT_WS_E_NONE && cursor->at == cursor->size) {
		if (!length_valid(cursor))
			return MQT_WS_E_LENGTH;
		header_complete(cursor);
	}
	return e;
}

/*
 * The same for a header that is there as a whole, in one step. Anything that is wrong, and the
 * longest form, is left to the bytes one by one.
 * @return bytes of the header; 0: not taken, nothing has changed.
 */
static unsigned
header_take(struct mqt_ws_cursor *cursor, const uint8_t *data, size_t len)
{
	unsigned key_at = 2;
	uint64_t left;

	if (cursor->at != 0 || len < 4 + KEY_LEN)
		return 0;
	if (first_check(cursor, data[0]) != MQT_WS_E_NONE || !!(data[1] & MASKED) != cursor->masked)
		return 0;
	left = data[1] & 0x7f;
	if (left == LENGTH_16 && !(data[0] & CONTROL)) {
		left = (uint64_t)data[2] << 8 | data[3];
		key_at = 4;
		if (left <= CONTROL_MAX)
			return 0;
	} else if (left > CONTROL_MAX) {
		return 0;
	}
	cursor->first = data[0];
	cursor->left = left;
	cursor->size = (uint8_t)(key_at + (cursor->masked ? KEY_LEN : 0));
	if (cursor->masked)
		memcpy(cursor->mask, data + key_at, KEY_LEN);
	header_complete(cursor);
	return cursor->size;
}

/* --- the cursor -------------------------------------------------------------------------------- */

static void
advance(struct mqt_ws_cursor *cursor, uint64_t n)
{
	cursor->left -= n;
	cursor->mask_at = (uint8_t)((cursor->mask_at + n) % KEY_LEN);
}

int64_t
mqt_ws_cursor_next(struct mqt_ws_cursor *cursor, const uint8_t *data, size_t len,
		struct mqt_ws_piece *piece)
{
	size_t n = 0;

	*piece = (struct mqt_ws_piece){ 0 };
	if (cursor->error != MQT_WS_E_NONE)
		return -1;
	if (mqt_ws_cursor_payload(cursor) > 0) {
		n = cursor->left < len ? (size_t)cursor->left : len;
		n = n < UINT32_MAX ? n : UINT32_MAX;
		if (mqt_ws_cursor_is_data(cursor)) {
			piece->ptr = data;
			piece->len = (uint32_t)n;
			for (unsigned i = 0; i < KEY_LEN; i++)
				piece->key[i] = cursor->mask[(cursor->mask_at + i) % KEY_LEN];
		}
		advance(cursor, n);
		return (int64_t)n;
	}
	if (cursor->closed)
		return (int64_t)len;
	n = header_take(cursor, data, len);
	if (n > 0)
		return (int64_t)n;
	while (n < len) {
		cursor->error = (uint8_t)header_byte(cursor, data[n++]);
		if (cursor->error != MQT_WS_E_NONE)
			return -1;
		if (cursor->at == 0)
			break;
	}
	return (int64_t)n;
}

bool
mqt_ws_cursor_skip(struct mqt_ws_cursor *cursor, uint32_t n)
{
	if (cursor->error != MQT_WS_E_NONE || mqt_ws_cursor_payload(cursor) < n)
		return false;
	advance(cursor, n);
	return true;
}

void
mqt_ws_unmask(uint8_t *out, const uint8_t *in, uint32_t len, const uint8_t key[4])
{
	uint32_t i = 0;
	uint64_t word, keys;

	memcpy(&keys, key, KEY_LEN);
	memcpy((uint8_t *)&keys + KEY_LEN, key, KEY_LEN);
	for (; len - i >= sizeof(word); i += (uint32_t)sizeof(word)) {
		memcpy(&word, in + i, sizeof(word));
		word ^= keys;
		memcpy(out + i, &word, sizeof(word));
	}
	for (; i < len; i++)
		out[i] = in[i] ^ key[i % KEY_LEN];
}

/* --- encoders ---------------------------------------------------------------------------------- */

size_t
mqt_ws_frame_encode(uint8_t *buf, size_t cap, enum mqt_ws_opcode opcode, const uint8_t key[4],
		const uint8_t *payload, size_t len)
{
	uint8_t mask_bit = key ? MASKED : 0;
	size_t header = len > CONTROL_MAX ? 4 : 2, n = 0;

	if (len > UINT16_MAX || (opcode & CONTROL && len > CONTROL_MAX))
		return 0;
	if (cap < header + (key ? KEY_LEN : 0) + len)
		return 0;
	buf[n++] = (uint8_t)(FIN | opcode);
	if (header == 4) {
		buf[n++] = mask_bit | LENGTH_16;
		buf[n++] = (uint8_t)(len >> 8);
		buf[n++] = (uint8_t)len;
	} else {
		buf[n++] = (uint8_t)(mask_bit | len);
	}
	if (key) {
		memcpy(buf + n, key, KEY_LEN);
		n += KEY_LEN;
		mqt_ws_unmask(buf + n, payload, (uint32_t)len, key);
	} else if (len > 0) {
		memcpy(buf + n, payload, len);
	}
	return n + len;
}

size_t
mqt_ws_close_encode(uint8_t *buf, size_t cap, const uint8_t key[4], uint16_t status)
{
	const uint8_t payload[2] = { (uint8_t)(status >> 8), (uint8_t)status };

	return mqt_ws_frame_encode(buf, cap, MQT_WS_CLOSE, key, payload, sizeof(payload));
}
