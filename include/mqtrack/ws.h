/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_WS_H
#define MQT_WS_H

#include "mqtrack/mqtt.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * @file
 * MQTT over WebSocket: the two HTTP heads that begin it, a cursor over the frames behind them, and
 * the frames that injection and tests need. No DPDK, no allocation, no global state; any thread.
 * Nothing reads past len, and what is done for a byte does not depend on how the stream is cut.
 * Source: RFC 6455; RFC 9112 for the heads; MQTT 5.0 §6.
 */

/** Why bytes were BAD. */
enum mqt_ws_error {
	MQT_WS_E_NONE = 0,
	MQT_WS_E_HTTP,        /* no head of HTTP/1.1 as RFC 9112 wants it */
	MQT_WS_E_UPGRADE,     /* a request for something else, or one that was not granted */
	MQT_WS_E_SUBPROTOCOL, /* another one than MQTT, or none */
	MQT_WS_E_EXTENSION,   /* negotiated: what the frames carry cannot be read */
	MQT_WS_E_RESERVED,    /* reserved bits or opcode (§5.2) */
	MQT_WS_E_TEXT,        /* MQTT comes in binary frames (MQTT 5.0 §6) */
	MQT_WS_E_MASK,        /* a client's frame without mask, or a server's with one (§5.1) */
	MQT_WS_E_LENGTH,      /* longer than needed, over 63 bits, or not for a control frame */
	MQT_WS_E_FRAGMENT,    /* a continuation of nothing, or none where it must be (§5.4) */
	MQT_WS_N_ERRORS,
};

/** Name of an error ("subprotocol"). Static storage. */
const char *mqt_ws_error_name(enum mqt_ws_error error);

/**
 * Finds the end of a head; zeroed is its begin. A carriage return or line feed that stands alone,
 * and a control character, is no HTTP of today, and readers of it differ in what they make of it.
 */
struct mqt_ws_scan {
	uint32_t len;  /* bytes of the head so far */
	uint8_t state; /* of its line ends */
};

/**
 * Follows @p len further bytes of a head.
 * @param used how many of them are the head's; set on OK, else @p len or less.
 * @return OK: the head is complete with them; MORE; BAD: it is none.
 */
enum mqt_parse mqt_ws_scan_feed(
		struct mqt_ws_scan *scan, const uint8_t *data, size_t len, size_t *used);

/**
 * Judges the head of a client's request, complete with its empty line: GET, HTTP/1.1, Upgrade to
 * websocket of version 13, a key, subprotocol mqtt or mqttv3.1 among those offered, no body.
 * Extensions may be offered.
 * @return MQT_WS_E_NONE, or what is wrong.
 */
enum mqt_ws_error mqt_ws_request_check(const uint8_t *head, size_t len);

/**
 * Judges the head of the answer to it: 101, Upgrade to websocket, subprotocol mqtt or mqttv3.1, no
 * extension. Sec-WebSocket-Accept must be there; whether it is right, the client judges.
 */
enum mqt_ws_error mqt_ws_response_check(const uint8_t *head, size_t len);

enum mqt_ws_opcode {
	MQT_WS_CONTINUATION = 0x0,
	MQT_WS_TEXT = 0x1,
	MQT_WS_BINARY = 0x2,
	MQT_WS_CLOSE = 0x8,
	MQT_WS_PING = 0x9,
	MQT_WS_PONG = 0xa,
};

/** Follows the frames of one direction. 24 bytes; see mqt_ws_cursor_init(). */
struct mqt_ws_cursor {
	uint64_t left;   /* payload bytes of the current frame to come; length as far as read */
	uint8_t mask[4]; /* key of the current frame; all 0: none */
	uint8_t mask_at; /* place in the key of the next payload byte */
	uint8_t first;   /* first byte of the current frame */
	uint8_t at;      /* bytes of an unfinished frame header; 0: none */
	uint8_t size;    /* bytes of that header in all, once two are there */
	uint8_t error;   /* enum mqt_ws_error, once BAD */
	bool masked;     /* this direction's frames must be */
	bool in_message; /* a fragmented message is not complete */
	bool closed;     /* a Close frame began: what follows is nothing's */
	uint8_t reserved[4];
};

/** Before the first frame. @param masked the client's direction. */
void mqt_ws_cursor_init(struct mqt_ws_cursor *cursor, bool masked);

/** Payload of binary messages that lies in one piece, as it came. */
struct mqt_ws_piece {
	const uint8_t *ptr;
	uint32_t len;   /* 0: none in what was followed */
	uint8_t key[4]; /* byte i is ptr[i] ^ key[i & 3] */
};

/**
 * Follows some of @p len further bytes: those of one frame header, or of one frame's payload, as
 * far as they are there. So whoever must stop behind a certain payload byte gives no more than
 * that where mqt_ws_cursor_payload() is not 0.
 * @param piece set: the payload among them, where it is a binary message's.
 * @return how many, more than 0 unless @p len is 0; -1 once the framing is broken (cursor->error
 * says why; it stays broken).
 */
int64_t mqt_ws_cursor_next(struct mqt_ws_cursor *cursor, const uint8_t *data, size_t len,
		struct mqt_ws_piece *piece);

/** Payload bytes that come next, of whatever frame; 0 where a frame header does. */
static inline uint64_t
mqt_ws_cursor_payload(const struct mqt_ws_cursor *cursor)
{
	return cursor->at == 0 ? cursor->left : 0;
}

/** Whether the current frame is one of a binary message. */
static inline bool
mqt_ws_cursor_is_data(const struct mqt_ws_cursor *cursor)
{
	return !(cursor->first & 0x8) && !cursor->closed;
}

/** Whether the stream stands between two frames. */
static inline bool
mqt_ws_cursor_at_boundary(const struct mqt_ws_cursor *cursor)
{
	return cursor->at == 0 && cursor->left == 0;
}

/**
 * Skips @p n further bytes that were not seen. Possible inside a payload only.
 * @return false: not possible, nothing has changed.
 */
bool mqt_ws_cursor_skip(struct mqt_ws_cursor *cursor, uint32_t n);

/**
 * Removes a mask.
 * @param out may be the same as @p in, else they do not overlap.
 */
void mqt_ws_unmask(uint8_t *out, const uint8_t *in, uint32_t len, const uint8_t key[4]);

/** Status codes of Close that the tracker speaks (§7.4.1). */
enum mqt_ws_status {
	MQT_WS_POLICY_VIOLATION = 1008,
};

/**
 * Encoder: one unfragmented frame.
 * @param key mask of a client's frame, NULL for a server's.
 * @param len at most 65,535; 125 for control frames.
 * @return bytes written, or 0 where it does not fit or cannot be expressed.
 */
size_t mqt_ws_frame_encode(uint8_t *buf, size_t cap, enum mqt_ws_opcode opcode,
		const uint8_t key[4], const uint8_t *payload, size_t len);

/** A Close frame without reason text. */
size_t mqt_ws_close_encode(uint8_t *buf, size_t cap, const uint8_t key[4], uint16_t status);

#endif
