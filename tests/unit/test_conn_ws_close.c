/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How the tracker speaks WebSocket itself, where it ends a flow or refuses one.
 */
#include "conn_ws_rig.h"

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
		{ .pName = "speaking websocket", .pTests = speaking },
		CU_SUITE_INFO_NULL,
	};

	return rig_run(suites);
}
