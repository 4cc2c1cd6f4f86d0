/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections of a ws listener: the upgrade, CONNECT and CONNACK in frames, what is followed behind
 * them, what is no WebSocket with MQTT in it, and how the tracker speaks WebSocket itself.
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

static void
put(struct bytes *b, const void *data, size_t len)
{
	memcpy(b->ptr + b->len, data, len);
	b->len += len;
}

/* One frame; @p first has its FIN bit. */
static void
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

static void
send_bytes(struct flow *f, int side, const struct bytes *b, size_t piece)
{
	for (size_t at = 0; at < b->len; at += piece)
		send_next(f, side, ACK, b->ptr + at, piece < b->len - at ? piece : b->len - at);
}

static void
ws_world_config(void)
{
	world_config();
	w.config.listeners[0].transport = MQT_TRANSPORT_WS;
	w.config.limits.parked_per_flow = 200;
}

static void
ws_world(void)
{
	ws_world_config();
	world_start();
}

static void
upgrade(struct flow *f, size_t piece)
{
	struct bytes request = { 0 }, answer = { 0 };

	PUT_TEXT(&request, REQUEST);
	PUT_TEXT(&answer, ANSWER);
	send_bytes(f, CLIENT, &request, piece);
	send_bytes(f, BROKER, &answer, piece);
}

static void
take_open(struct flow *f)
{
	struct mqt_msg msg = next_message();

	CHECK_EQ(msg.type, MQT_MSG_OPEN);
	f->chan = msg.chan;
	f->info = msg.info;
}

static void
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

static void
ws_connected(struct flow *f, const char *id)
{
	ws_open(f, id);
	tell(f, MQT_MSG_GRANT, 0);
	CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
	send_next(f, CLIENT, ACK, NULL, 0);
	send_next(f, BROKER, ACK, NULL, 0);
	out_clear();
}

static void
leave(struct flow *f)
{
	send_next(f, CLIENT, RST_ACK, NULL, 0);
	drop_messages();
	release(f);
	world_end();
}

/* --- the handshake ----------------------------------------------------------------------------- */

/* CONNECT over three frames with a ping between, then PINGREQ in the frame of a fourth. */
static void
put_cut_connect(struct bytes *b, const uint8_t *packet, size_t len)
{
	static const uint8_t ping[] = { 0xc0, 0 };

	put_frame(b, CLIENT, MQT_WS_BINARY, packet, 1);
	put_frame(b, CLIENT, PING, "hello", 5);
	put_frame(b, CLIENT, MQT_WS_CONTINUATION, packet + 1, len - 3);
	put_frame(b, CLIENT, 0x80 | MQT_WS_CONTINUATION, packet + len - 2, 2);
	put_frame(b, CLIENT, WHOLE, ping, sizeof(ping));
}

static void
test_client_is_opened_however_its_frames_are_cut(void)
{
	for (unsigned i = 0; i < RTE_DIM(shapes); i++) {
		for (size_t piece = 1; piece <= 64; piece *= 4) {
			struct flow f = flow_of(&shapes[i]);
			struct bytes connect = { 0 }, connack = { 0 };
			uint8_t buf[256];
			size_t len;

			ws_world();
			tcp_open(&f);
			upgrade(&f, piece);
			CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 1);
			len = connect_packet(buf, sizeof(buf), f.version, "sensor-1");
			put_cut_connect(&connect, buf, len);
			send_bytes(&f, CLIENT, &connect, piece);
			CHECK_EQ(in_state(MQT_CONN_CONNECTING), 1);
			out_clear();
			len = connack_packet(buf, sizeof(buf), f.version, 0);
			put_frame(&connack, BROKER, MQT_WS_BINARY, buf, 1);
			put_frame(&connack, BROKER, 0x80, buf + 1, len - 1);
			put_frame(&connack, BROKER, WHOLE, "\xd0\0", 2);
			send_bytes(&f, BROKER, &connack, piece);
			CHECK_EQ(n_sent(0), 0);
			CHECK_EQ(in_state(MQT_CONN_OPENING), 1);
			take_open(&f);
			CHECK_EQ(f.info->transport, MQT_TRANSPORT_WS);
			CHECK_EQ(f.info->proto_ver, f.version);
			CHECK_EQ(f.info->clientid_len, 8);
			CHECK_MEM(mqt_info_clientid(f.info), "sensor-1", 8);
			CHECK_EQ(mqt_info_via(f.info).version, 0);
			tell(&f, MQT_MSG_GRANT, 0);
			CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
			CHECK_EQ(n_sent(0), (connack.len + piece - 1) / piece);
			CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 2);
			CHECK_EQ(slot_counter(&f, MQT_SEND_PKT), 2);
			CHECK_EQ(slot_counter(&f, MQT_SEND_OCT), strlen(ANSWER) + connack.len);
			CHECK_EQ(slot_counter(&f, MQT_RECV_OCT), strlen(REQUEST) + connect.len);
			CHECK_EQ(COUNT(OPAQUE), 0);
			leave(&f);
		}
	}
}

static void
test_first_byte_of_a_frame_that_may_hold_connack_waits(void)
{
	struct flow f = flow_new();
	struct bytes connect = { 0 }, auth = { 0 }, connack = { 0 };
	uint8_t buf[256];

	ws_world();
	f.version = 5;
	tcp_open(&f);
	upgrade(&f, 4096);
	put_frame(&connect, CLIENT, WHOLE, buf, connect_packet(buf, sizeof(buf), 5, "a"));
	send_bytes(&f, CLIENT, &connect, 4096);
	out_clear();
	put_frame(&auth, BROKER, PING, "?", 1);
	send_bytes(&f, BROKER, &auth, 1);
	CHECK_EQ(n_sent(0), auth.len); /* a ping passes byte by byte */
	auth.len = 0;
	put_frame(&auth, BROKER, WHOLE, "\xf0\x02\x18\x00", 4);
	for (size_t i = 0; i < auth.len; i++) {
		out_clear();
		send_next(&f, BROKER, ACK, auth.ptr + i, 1);
		CHECK_EQ(n_sent(0),
				i < 3                    ? 0
						: i == 3 ? 4
							 : 1); /* known to be AUTH, and all of it */
	}
	out_clear();
	put_frame(&connack, BROKER, WHOLE, buf, connack_packet(buf, sizeof(buf), 5, 0));
	send_bytes(&f, BROKER, &connack, 1);
	CHECK_EQ(n_sent(0), 0);
	take_open(&f);
	leave(&f);
}

static void
test_auth_and_connack_in_one_frame_wait_together(void)
{
	struct flow f = flow_new();
	struct bytes connect = { 0 }, both = { 0 }, frame = { 0 };
	uint8_t buf[256];

	ws_world();
	f.version = 5;
	tcp_open(&f);
	upgrade(&f, 4096);
	put_frame(&connect, CLIENT, WHOLE, buf, connect_packet(buf, sizeof(buf), 5, "a"));
	send_bytes(&f, CLIENT, &connect, 4096);
	out_clear();
	put(&both, "\xf0\x02\x18\x00", 4);
	put(&both, buf, connack_packet(buf, sizeof(buf), 5, 0));
	put_frame(&frame, BROKER, WHOLE, both.ptr, both.len);
	put_frame(&frame, BROKER, WHOLE, "\xd0\0", 2);
	send_bytes(&f, BROKER, &frame, 3);
	CHECK_EQ(n_sent(0), 0);
	take_open(&f);
	tell(&f, MQT_MSG_GRANT, 0);
	next_message();
	CHECK_EQ(n_sent(0), (frame.len + 2) / 3);
	CHECK_EQ(slot_counter(&f, MQT_SEND_PKT), 2);
	leave(&f);
}

static void
test_what_is_no_mqtt_in_websocket_is_opaque_by_name(void)
{
	static const struct {
		const char *name, *request, *answer, *frame;
		size_t frame_len;
		enum mqt_worker_counter why;
	} rows[] = {
		{ "plain MQTT", "\x10\x0c", NULL, NULL, 0, MQT_W_OPAQUE_WS_UPGRADE },
		{ "a page", "GET / HTTP/1.1\r\nHost: b\r\n\r\n", NULL, NULL, 0,
				MQT_W_OPAQUE_WS_UPGRADE },
		{ "another subprotocol",
				"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
				"Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"
				"Sec-WebSocket-Protocol: chat\r\n\r\n",
				NULL, NULL, 0, MQT_W_OPAQUE_WS_SUBPROTOCOL },
		{ "refused", REQUEST, "HTTP/1.1 403 Forbidden\r\n\r\n", NULL, 0,
				MQT_W_OPAQUE_WS_UPGRADE },
		{ "subprotocol not granted", REQUEST, SWITCHING "\r\n", NULL, 0,
				MQT_W_OPAQUE_WS_SUBPROTOCOL },
		{ "deflate granted", REQUEST,
				SWITCHING "Sec-WebSocket-Protocol: mqtt\r\n"
					  "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
				NULL, 0, MQT_W_OPAQUE_WS_EXTENSION },
		{ "unmasked", REQUEST, ANSWER, "\x82\x02\x10\x0c", 4, MQT_W_OPAQUE_WS_FRAME },
		{ "text", REQUEST, ANSWER, "\x81\x82\1\2\3\4xx", 8, MQT_W_OPAQUE_WS_FRAME },
		{ "compressed", REQUEST, ANSWER, "\xc2\x82\1\2\3\4xx", 8, MQT_W_OPAQUE_WS_FRAME },
		{ "no MQTT in it", REQUEST, ANSWER, "\x82\x81\0\0\0\0G", 7, MQT_W_OPAQUE_PROTOCOL },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		for (unsigned closed = 0; closed < 2; closed++) {
			struct flow f = flow_new();

			check_row = rows[i].name;
			ws_world_config();
			w.config.listeners[0].on_failure = closed ? MQT_FAIL_CLOSED : MQT_FAIL_OPEN;
			world_start();
			tcp_open(&f);
			send_next(&f, CLIENT, ACK, rows[i].request, strlen(rows[i].request));
			if (rows[i].answer)
				send_next(&f, BROKER, ACK, rows[i].answer, strlen(rows[i].answer));
			if (rows[i].frame)
				send_next(&f, CLIENT, ACK, rows[i].frame, rows[i].frame_len);
			CHECK_EQ(mqt_counter_get(&w.counters.v[rows[i].why]), 1);
			CHECK_EQ(COUNT(OPAQUE), 1);
			CHECK_EQ(in_state(closed ? MQT_CONN_CLOSING : MQT_CONN_OPAQUE), 1);
			CHECK_EQ(COUNT(INJECTED_RST) > 0, closed);
			if (!closed) {
				out_clear();
				send_next(&f, BROKER, ACK, "anything", 8);
				send_next(&f, CLIENT, ACK, "anything", 8);
				CHECK_EQ(w.n_out, 2);
			}
			world_end();
		}
	}
}

static void
test_broker_may_not_speak_before_it_is_asked(void)
{
	struct flow f = flow_new();
	struct bytes b = { 0 };

	ws_world();
	tcp_open(&f);
	send_next(&f, BROKER, ACK, ANSWER, strlen(ANSWER));
	CHECK_EQ(COUNT(ANOMALY_BEFORE_CONNECT), 1);
	CHECK_EQ(COUNT(OPAQUE_WS_UPGRADE), 1);
	f = flow_new();
	tcp_open(&f);
	upgrade(&f, 4096);
	put_frame(&b, BROKER, WHOLE, "\x20\2\0\0", 4);
	out_clear();
	send_bytes(&f, BROKER, &b, 4096);
	CHECK_EQ(COUNT(ANOMALY_BEFORE_CONNECT), 2);
	CHECK_EQ(COUNT(OPAQUE_PROTOCOL), 1);
	CHECK_EQ(n_sent(0), 1);
	world_end();
}

static void
test_bytes_before_connect_are_bounded(void)
{
	struct flow f = flow_new();
	struct bytes pings = { 0 };
	unsigned n = 0;

	ws_world_config();
	w.config.limits.connect_max_bytes = 1024;
	world_start();
	tcp_open(&f);
	upgrade(&f, 4096);
	for (unsigned i = 0; i < 100; i++)
		put_frame(&pings, CLIENT, PING, NULL, 0);
	f.window = 65535;
	for (; n < 1000 && in_state(MQT_CONN_EMBRYONIC); n++) {
		send_bytes(&f, CLIENT, &pings, 1000);
		send_next(&f, BROKER, ACK, NULL, 0);
		out_clear();
	}
	CHECK_EQ(COUNT(OPAQUE_OVERSIZE), 1);
	CHECK(n > 100 && n < 200);
	world_end();
	f = flow_new();
	ws_world();
	tcp_open(&f);
	PUT_TEXT(&pings, "");
	memset(pings.ptr, 'x', sizeof(pings.ptr));
	for (unsigned i = 0; i < 9; i++)
		send_next(&f, CLIENT, ACK, pings.ptr, 1000);
	CHECK_EQ(COUNT(OPAQUE_WS_UPGRADE), 1);
	world_end();
}

static void
test_bytes_up_to_connect_are_the_same_in_each_copy(void)
{
	struct flow f = flow_new();
	struct bytes connect = { 0 }, request = { 0 };
	uint8_t buf[256];
	uint32_t begin;

	ws_world();
	tcp_open(&f);
	begin = f.seq[CLIENT];
	PUT_TEXT(&request, REQUEST);
	send_bytes(&f, CLIENT, &request, 4096);
	out_clear();
	send_at(&f, CLIENT, ACK, begin, f.seq[BROKER], "POST", 4);
	CHECK_EQ(COUNT(CONFLICT), 1);
	CHECK_EQ(n_sent(1), 0);
	send_at(&f, CLIENT, ACK, begin, f.seq[BROKER], "GET ", 4);
	CHECK_EQ(n_sent(1), 1);
	send_next(&f, BROKER, ACK, ANSWER, strlen(ANSWER));
	put_frame(&connect, CLIENT, WHOLE, buf, connect_packet(buf, sizeof(buf), 4, "first"));
	send_bytes(&f, CLIENT, &connect, 4096);
	out_clear();
	/* the same CONNECT under another key */
	connect.ptr[2] ^= 1;
	connect.ptr[6] ^= 1;
	send_at(&f, CLIENT, ACK, begin + (uint32_t)request.len, f.seq[BROKER], connect.ptr,
			connect.len);
	CHECK_EQ(COUNT(CONFLICT), 2);
	CHECK_EQ(n_sent(1), 0);
	world_end();
}

static void
test_connack_must_acknowledge_connect_and_no_more(void)
{
	for (int short_of = -3; short_of <= 1; short_of++) {
		struct flow f = flow_new();
		struct bytes b = { 0 }, connack = { 0 };
		uint8_t buf[256];
		uint32_t end;

		ws_world();
		tcp_open(&f);
		upgrade(&f, 4096);
		put_frame(&b, CLIENT, WHOLE, buf, connect_packet(buf, sizeof(buf), 4, "a"));
		end = f.seq[CLIENT] + (uint32_t)b.len;
		put_frame(&b, CLIENT, WHOLE, "\xc0\0", 2); /* in the same segment */
		send_bytes(&f, CLIENT, &b, 4096);
		put_frame(&connack, BROKER, WHOLE, buf, connack_packet(buf, sizeof(buf), 4, 0));
		send_at(&f, BROKER, ACK, f.seq[BROKER], end - (uint32_t)short_of, connack.ptr,
				connack.len);
		CHECK_EQ(COUNT(OPAQUE_AMBIGUOUS), short_of > 0);
		CHECK_EQ(in_state(MQT_CONN_OPENING), short_of <= 0);
		world_end();
	}
}

/* --- behind it --------------------------------------------------------------------------------- */

static void
test_packets_are_counted_however_they_are_framed(void)
{
	for (unsigned round = 0; round < 200; round++) {
		struct flow f = flow_new();
		struct bytes b[2] = { 0 };
		unsigned n[2] = { 0 }, n_publishes[2] = { 0 };

		ws_world();
		w.n_out = 0;
		ws_connected(&f, "a");
		for (unsigned side = 0; side < 2; side++) {
			struct bytes mqtt = { 0 };

			while (mqtt.len < 2000) {
				uint8_t buf[2048];
				uint32_t kind = rnd(3);
				size_t len = kind == 0 ? mqt_mqtt_empty_encode(buf, 4,
									 side ? MQT_MQTT_PINGRESP
									      : MQT_MQTT_PINGREQ)
						: kind == 1
						? qos_packet(buf, 4, 1, 7)
						: publish_packet(buf, sizeof(buf), 4, rnd(900));

				put(&mqtt, buf, len);
				n[side]++;
				n_publishes[side] += kind > 0;
			}
			for (size_t at = 0, len; at < mqtt.len; at += len) {
				len = RTE_MIN(1 + rnd(700), mqtt.len - at);
				if (rnd(4) == 0)
					put_frame(&b[side], (int)side, PING, "ping", rnd(5));
				put_frame(&b[side], (int)side, WHOLE, mqtt.ptr + at, len);
			}
			send_bytes(&f, (int)side, &b[side], 1 + rnd(1000));
			send_next(&f, !side, ACK, NULL, 0);
			out_clear();
		}
		CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), n[0] + 1);
		CHECK_EQ(slot_counter(&f, MQT_SEND_PKT), n[1] + 1);
		CHECK_EQ(slot_counter(&f, MQT_RECV_MSG), n_publishes[0]);
		CHECK_EQ(slot_counter(&f, MQT_SEND_MSG), n_publishes[1]);
		CHECK_EQ(COUNT(ANOMALY_FRAMING), 0);
		leave(&f);
	}
}

static void
test_subscriptions_in_frames_reach_the_session(void)
{
	struct flow f = flow_new();
	struct bytes b = { 0 };
	struct mqt_session_counts counts = { 0 };
	struct mqt_msg msg;
	uint8_t buf[64];

	ws_world();
	ws_connected(&f, "a");
	put_frame(&b, CLIENT, WHOLE, buf, subscribe_packet(buf, 4, 9, "sensor/#", 1));
	send_bytes(&f, CLIENT, &b, 5);
	b.len = 0;
	put_frame(&b, BROKER, WHOLE, buf, suback_packet(buf, 4, 9, 1));
	send_bytes(&f, BROKER, &b, 5);
	tell(&f, MQT_MSG_INSPECT, 0);
	msg = next_message();
	CHECK(msg.session != NULL);
	if (msg.session)
		mqt_session_counts(msg.session, &counts);
	CHECK_EQ(counts.filters, 1);
	message_drop(&msg);
	leave(&f);
}

static void
test_gap_inside_a_body_is_skipped_and_one_in_a_header_loses_the_stream(void)
{
	for (unsigned header = 0; header < 2; header++) {
		struct flow f = flow_new();
		struct bytes b = { 0 };
		uint8_t buf[1024];
		size_t gone = header ? 4 : 100, from = header ? 0 : 200;

		check_row = header ? "header" : "body";
		ws_world();
		ws_connected(&f, "a");
		put_frame(&b, CLIENT, WHOLE, buf, publish_packet(buf, sizeof(buf), 4, 600));
		put_frame(&b, CLIENT, WHOLE, "\xc0\0", 2);
		if (from)
			send_next(&f, CLIENT, ACK, b.ptr, from);
		f.seq[CLIENT] += (uint32_t)gone; /* lost before us, its repetition went elsewhere */
		send_next(&f, BROKER, ACK, NULL, 0);
		send_next(&f, CLIENT, ACK, b.ptr + from + gone, b.len - from - gone);
		CHECK_EQ(COUNT(ANOMALY_GAP), header);
		CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), header ? 1 : 3);
		leave(&f);
	}
}

static void
test_broken_frames_of_a_tracked_client_lose_the_stream_only(void)
{
	struct flow f = flow_new();
	struct mqt_msg msg;

	ws_world();
	ws_connected(&f, "a");
	send_next(&f, CLIENT, ACK, "\x82\x02\xc0\x00", 4); /* no mask */
	CHECK_EQ(COUNT(ANOMALY_FRAMING), 1);
	CHECK_EQ(COUNT(ANOMALY_WS_FRAME), 1);
	CHECK_EQ(n_sent(1), 1);
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_ANOMALY);
	CHECK_EQ(msg.reason, MQT_REASON_WS_FRAME);
	CHECK_EQ(msg.chan, f.chan);
	CHECK_NO_MESSAGE();
	leave(&f);
}

/* A keepalive is measured by MQTT packets; the connection of the rig has one of a minute. */
static void
test_pings_of_a_websocket_are_no_sign_of_life(void)
{
	static const struct {
		const char *name;
		uint8_t first;
		const char *payload;
		bool lives;
	} rows[] = {
		{ "ping", PING, "\xc0\0", false },
		{ "pong", 0x80 | MQT_WS_PONG, "\xc0\0", false },
		{ "PINGREQ", WHOLE, "\xc0\0", true },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flow f = flow_new();
		struct bytes b = { 0 };

		check_row = rows[i].name;
		ws_world();
		ws_connected(&f, "a");
		put_frame(&b, CLIENT, rows[i].first, rows[i].payload, 2);
		for (unsigned k = 0; k < 12; k++) {
			advance(20 * SEC);
			if (in_state(MQT_CONN_CONNECTED))
				send_bytes(&f, CLIENT, &b, 3);
		}
		CHECK_EQ(COUNT(KEEPALIVE), !rows[i].lives);
		CHECK_EQ(in_state(MQT_CONN_CONNECTED), rows[i].lives);
		if (!rows[i].lives)
			CHECK_DOWN(&f, MQT_REASON_KEEPALIVE);
		leave(&f);
	}
}

/* --- speaking ---------------------------------------------------------------------------------- */

/* What an end got: its MQTT packet, and the status of Close (0: none). */
static uint16_t
spoken(const struct out *o, bool masked, uint8_t *packet, size_t *len)
{
	struct mqt_ws_cursor cursor;
	struct mqt_ws_piece piece;
	uint8_t buf[64];
	uint16_t status = 0;

	*len = 0;
	payload_of(o, buf);
	mqt_ws_cursor_init(&cursor, masked);
	for (uint32_t at = 0; at < o->v.payload_len;) {
		int64_t n;

		if (cursor.closed && mqt_ws_cursor_payload(&cursor) == 2)
			status = (uint16_t)((buf[at] ^ cursor.mask[0]) << 8 |
					(buf[at + 1] ^ cursor.mask[1]));
		n = mqt_ws_cursor_next(&cursor, buf + at, o->v.payload_len - at, &piece);
		CHECK(n > 0);
		mqt_ws_unmask(packet + *len, piece.ptr ? piece.ptr : buf, piece.len, piece.key);
		*len += piece.len;
		at += (uint32_t)n;
	}
	CHECK(mqt_ws_cursor_at_boundary(&cursor));
	return status;
}

static void
test_kick_speaks_websocket(void)
{
	static const struct {
		const char *name;
		uint8_t version;
		enum mqt_stepdown action;
		const char *before; /* the broker's bytes before it */
		size_t before_len;
		int code; /* of DISCONNECT; -1: none */
		bool close;
	} rows[] = {
		{ "5.0", 5, MQT_STEPDOWN_KICK, NULL, 0, 0x98, true },
		{ "5.0 discard", 5, MQT_STEPDOWN_DISCARD, NULL, 0, 0x8e, true },
		{ "3.1.1", 4, MQT_STEPDOWN_KICK, NULL, 0, -1, true },
		{ "3.1", 3, MQT_STEPDOWN_DISCARD, NULL, 0, -1, true },
		{ "in a packet, between frames", 5, MQT_STEPDOWN_KICK, "\x82\x01\xd0", 3, -1,
				true },
		{ "in a message, between frames", 5, MQT_STEPDOWN_KICK, "\x02\x02\xd0\x00", 4, -1,
				true },
		{ "in a frame", 5, MQT_STEPDOWN_KICK, "\x82\x03\xd0\x00", 4, -1, false },
		{ "in a frame header", 4, MQT_STEPDOWN_KICK, "\x82", 1, -1, false },
		{ "behind a Close", 5, MQT_STEPDOWN_KICK, "\x88\x02\x03\xe8", 4, -1, false },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flow f = flow_new();
		uint8_t packet[64];
		size_t len;

		check_row = rows[i].name;
		f.version = rows[i].version;
		ws_world_config();
		w.config.limits.kick_boundary_ms = 0; /* as it stands now */
		world_start();
		ws_connected(&f, "a");
		if (rows[i].before)
			send_next(&f, BROKER, ACK, rows[i].before, rows[i].before_len);
		send_next(&f, CLIENT, ACK, NULL, 0);
		out_clear();
		tell(&f, MQT_MSG_STEPDOWN, rows[i].action);
		CHECK_DOWN(&f,
				rows[i].action == MQT_STEPDOWN_KICK ? MQT_REASON_KICKED
								    : MQT_REASON_DISCARDED);
		check_stepdown_done();
		CHECK_EQ(!!(sent(0, 0)->v.tcp_flags & MQT_TCP_FIN), rows[i].close);
		CHECK_EQ(!!(sent(0, 0)->v.tcp_flags & MQT_TCP_RST), !rows[i].close);
		CHECK_EQ(spoken(sent(0, 0), false, packet, &len), rows[i].close ? 1008 : 0);
		CHECK_EQ(len > 0 ? packet[0] : 0, rows[i].code < 0 ? 0 : 0xe0);
		if (rows[i].code >= 0)
			CHECK_EQ(packet[2], rows[i].code);
		CHECK_EQ(COUNT(INJECTED_WS_CLOSE), rows[i].close);
		CHECK_EQ(COUNT(INJECTED_DISCONNECT), rows[i].code >= 0);
		CHECK(sent(1, 0)->v.tcp_flags & MQT_TCP_RST);
		release(&f);
		world_end();
	}
}

static void
test_kick_waits_for_the_end_of_a_frame(void)
{
	static const struct {
		const char *name;
		uint8_t version;
		const char *begin, *rest; /* of a PINGRESP */
		size_t begin_len, rest_len;
		bool waits;
	} rows[] = {
		{ "3.1.1 in a frame", 4, "\x82\x02\xd0", "\x00", 3, 1, true },
		{ "3.1.1 in a frame header", 4, "\x82", "\x02\xd0\x00", 1, 3, true },
		{ "3.1.1 in a packet, between frames", 4, "\x82\x01\xd0", NULL, 3, 0, false },
		{ "5.0 in a packet, between frames", 5, "\x82\x01\xd0", "\x82\x01\x00", 3, 3,
				true },
		{ "5.0 behind a Close", 5, "\x88\x02\x03\xe8", NULL, 4, 0, false },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flow f = flow_new();
		uint8_t packet[64];
		size_t len;

		check_row = rows[i].name;
		f.version = rows[i].version;
		ws_world();
		ws_connected(&f, "a");
		send_next(&f, BROKER, ACK, rows[i].begin, rows[i].begin_len);
		send_next(&f, CLIENT, ACK, NULL, 0);
		out_clear();
		tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
		CHECK_EQ(COUNT(KICK_WAITS), rows[i].waits);
		CHECK_EQ(w.n_out > 0, !rows[i].waits);
		if (rows[i].waits) {
			send_next(&f, BROKER, ACK, rows[i].rest, rows[i].rest_len);
			send_next(&f, CLIENT, ACK, NULL, 0);
			out_clear();
			mqt_role_worker_assert();
			CHECK_EQ(mqt_conns_poll(w.conns), 1);
			flush();
			CHECK_EQ(spoken(sent(0, 0), false, packet, &len), 1008);
			CHECK_EQ(len, rows[i].version == 5 ? 4 : 0);
		}
		CHECK_DOWN(&f, MQT_REASON_KICKED);
		check_stepdown_done();
		release(&f);
		world_end();
	}
}

static void
test_answer_to_close_is_acknowledged_and_then_the_flow_is_gone(void)
{
	struct flow f = flow_new();
	struct bytes b = { 0 };
	uint32_t end;

	ws_world();
	ws_connected(&f, "a");
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	drop_messages();
	end = sent(0, 0)->v.seq + sent(0, 0)->v.payload_len + 1;
	f.seq[BROKER] = end;
	out_clear();
	put_frame(&b, CLIENT, 0x80 | MQT_WS_CLOSE, "\x03\xf0", 2);
	send_bytes(&f, CLIENT, &b, 64);
	CHECK_EQ(n_sent(0), 1);
	CHECK_EQ(sent(0, 0)->v.tcp_flags, MQT_TCP_ACK);
	CHECK_EQ(sent(0, 0)->v.ack, f.seq[CLIENT]);
	out_clear();
	put_frame(&b, CLIENT, WHOLE, "\xc0\0", 2); /* anything else is reset */
	send_next(&f, CLIENT, ACK, b.ptr + 8, b.len - 8);
	CHECK(sent(0, 0)->v.tcp_flags & MQT_TCP_RST);
	release(&f);
	world_end();
}

static void
test_will_is_suppressed_by_a_masked_frame(void)
{
	for (unsigned in_frame = 0; in_frame < 2; in_frame++) {
		struct flow f = flow_new();
		uint8_t packet[64];
		size_t len;

		ws_world_config();
		w.config.listeners[0].will = MQT_WILL_SUPPRESS;
		world_start();
		ws_connected(&f, "a");
		if (in_frame)
			send_next(&f, CLIENT, ACK, "\x82\x82\1\2", 4);
		send_next(&f, BROKER, ACK, NULL, 0);
		out_clear();
		tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_DISCARD);
		drop_messages();
		CHECK_EQ(!!(sent(1, 0)->v.tcp_flags & MQT_TCP_RST), in_frame);
		if (!in_frame) {
			CHECK_EQ(spoken(sent(1, 0), true, packet, &len), 0);
			CHECK_EQ(len, 2);
			CHECK_MEM(packet, "\xe0\0", 2);
		}
		release(&f);
		world_end();
	}
}

static void
test_refused_newcomer_gets_connack_and_close(void)
{
	static const uint8_t codes[] = { [3] = 0x03, [4] = 0x03, [5] = 0x89 };

	for (uint8_t version = 3; version <= 5; version++) {
		struct flow f = flow_new();
		uint8_t packet[64];
		size_t len;

		ws_world();
		f.version = version;
		ws_open(&f, "a");
		send_at(&f, CLIENT, ACK, f.seq[CLIENT], f.seq[BROKER] - (version == 5 ? 7 : 6),
				NULL, 0);
		send_next(&f, BROKER, ACK, NULL, 0);
		out_clear();
		tell(&f, MQT_MSG_REFUSE, MQT_REASON_SUPERSEDED);
		CHECK_EQ(spoken(sent(0, 0), false, packet, &len), 1008);
		CHECK_EQ(packet[0], 0x20);
		CHECK_EQ(packet[3], codes[version]);
		CHECK(sent(0, 0)->v.tcp_flags & MQT_TCP_FIN);
		CHECK_EQ(spoken(sent(1, 0), true, packet, &len), 0);
		CHECK_MEM(packet, "\xe0\0", 2);
		world_end();
	}
}

static void
test_plain_listener_has_no_table_of_websockets(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "plain");
	CHECK_EQ(f.info->transport, MQT_TRANSPORT_TCP);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	drop_messages();
	CHECK_EQ(COUNT(INJECTED_WS_CLOSE), 0);
	release(&f);
	world_end();
}

int
main(void)
{
	CU_TestInfo handshake[] = {
		TEST(test_client_is_opened_however_its_frames_are_cut),
		TEST(test_first_byte_of_a_frame_that_may_hold_connack_waits),
		TEST(test_auth_and_connack_in_one_frame_wait_together),
		TEST(test_what_is_no_mqtt_in_websocket_is_opaque_by_name),
		TEST(test_broker_may_not_speak_before_it_is_asked),
		TEST(test_bytes_before_connect_are_bounded),
		TEST(test_bytes_up_to_connect_are_the_same_in_each_copy),
		TEST(test_connack_must_acknowledge_connect_and_no_more),
		CU_TEST_INFO_NULL,
	};
	CU_TestInfo behind[] = {
		TEST(test_packets_are_counted_however_they_are_framed),
		TEST(test_subscriptions_in_frames_reach_the_session),
		TEST(test_gap_inside_a_body_is_skipped_and_one_in_a_header_loses_the_stream),
		TEST(test_broken_frames_of_a_tracked_client_lose_the_stream_only),
		TEST(test_pings_of_a_websocket_are_no_sign_of_life),
		CU_TEST_INFO_NULL,
	};
	CU_TestInfo speaking[] = {
		TEST(test_kick_speaks_websocket),
		TEST(test_kick_waits_for_the_end_of_a_frame),
		TEST(test_answer_to_close_is_acknowledged_and_then_the_flow_is_gone),
		TEST(test_will_is_suppressed_by_a_masked_frame),
		TEST(test_refused_newcomer_gets_connack_and_close),
		TEST(test_plain_listener_has_no_table_of_websockets),
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ .pName = "websocket handshake", .pTests = handshake },
		{ .pName = "websocket streams", .pTests = behind },
		{ .pName = "speaking websocket", .pTests = speaking },
		CU_SUITE_INFO_NULL,
	};

	return rig_run(suites);
}
