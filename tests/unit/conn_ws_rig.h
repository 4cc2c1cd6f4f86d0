/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_CONN_WS_RIG_H
#define TESTS_UNIT_CONN_WS_RIG_H

/*
 * What tests of a ws listener share: a world that has one, frames, a flow up to its OPEN or its GRANT.
 */

#include "conn_rig.h"
#include "mqtrack/ws.h"

#define REQUEST                                                                                    \
	"GET /mqtt HTTP/1.1\r\nHost: b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"           \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"             \
	"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
#define SWITCHING                                                                                  \
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"        \
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define ANSWER SWITCHING "Sec-WebSocket-Protocol: mqtt\r\n\r\n"

static const uint8_t key[4] = { 0x9d, 0x01, 0x00, 0x7e };

/* What one side sends, one thing behind the other. */
struct bytes {
	uint8_t ptr[8192];
	size_t len;
};

static inline void
put(struct bytes *b, const void *data, size_t len)
{
	memcpy(b->ptr + b->len, data, len);
	b->len += len;
}

/* One frame; @p first has its FIN bit. */
static inline void
put_frame(struct bytes *b, int side, uint8_t first, const void *payload, size_t len)
{
	size_t n = mqt_ws_frame_encode(b->ptr + b->len, sizeof(b->ptr) - b->len, MQT_WS_BINARY,
			side == CLIENT ? key : NULL, payload, len);

	b->ptr[b->len] = first;
	b->len += n;
}

#define PUT_TEXT(b, text) put(b, text, strlen(text))
#define WHOLE             (0x80 | MQT_WS_BINARY)
#define PING              (0x80 | MQT_WS_PING)

static inline void
send_bytes(struct flow *f, int side, const struct bytes *b, size_t piece)
{
	for (size_t at = 0; at < b->len; at += piece)
		send_next(f, side, ACK, b->ptr + at, piece < b->len - at ? piece : b->len - at);
}

static inline void
ws_world_config(void)
{
	world_config();
	w.config.listeners[0].transport = MQT_TRANSPORT_WS;
	w.config.limits.parked_per_flow = 200;
}

static inline void
ws_world(void)
{
	ws_world_config();
	world_start();
}

static inline void
upgrade(struct flow *f, size_t piece)
{
	struct bytes request = { 0 }, answer = { 0 };

	PUT_TEXT(&request, REQUEST);
	PUT_TEXT(&answer, ANSWER);
	send_bytes(f, CLIENT, &request, piece);
	send_bytes(f, BROKER, &answer, piece);
}

static inline void
take_open(struct flow *f)
{
	struct mqt_msg msg = next_message();

	CHECK_EQ(msg.type, MQT_MSG_OPEN);
	f->chan = msg.chan;
	f->info = msg.info;
}

static inline void
ws_open(struct flow *f, const char *id)
{
	struct bytes connect = { 0 }, connack = { 0 };
	uint8_t buf[256];

	tcp_open(f);
	upgrade(f, 4096);
	put_frame(&connect, CLIENT, WHOLE, buf, connect_packet(buf, sizeof(buf), f->version, id));
	put_frame(&connack, BROKER, WHOLE, buf, connack_packet(buf, sizeof(buf), f->version, 0));
	send_bytes(f, CLIENT, &connect, 4096);
	send_bytes(f, BROKER, &connack, 4096);
	take_open(f);
}

static inline void
ws_connected(struct flow *f, const char *id)
{
	ws_open(f, id);
	tell(f, MQT_MSG_GRANT, 0);
	CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
	send_next(f, CLIENT, ACK, NULL, 0);
	send_next(f, BROKER, ACK, NULL, 0);
	out_clear();
}

static inline void
leave(struct flow *f)
{
	send_next(f, CLIENT, RST_ACK, NULL, 0);
	drop_messages();
	release(f);
	world_end();
}

#endif
