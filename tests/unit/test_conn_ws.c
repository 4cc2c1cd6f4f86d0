/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections of a ws listener: the upgrade, CONNECT and CONNACK in frames, and what is no WebSocket
 * with MQTT in it.
 */
#include "conn_ws_rig.h"

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
	CU_SuiteInfo suites[] = {
		{ .pName = "websocket handshake", .pTests = handshake },
		CU_SUITE_INFO_NULL,
	};

	return rig_run(suites);
}
