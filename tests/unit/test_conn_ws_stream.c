/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is followed in the frames of a WebSocket, behind CONNACK.
 */
#include "conn_ws_rig.h"

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

int
main(void)
{
	CU_TestInfo behind[] = {
		TEST(test_packets_are_counted_however_they_are_framed),
		TEST(test_subscriptions_in_frames_reach_the_session),
		TEST(test_gap_inside_a_body_is_skipped_and_one_in_a_header_loses_the_stream),
		TEST(test_broken_frames_of_a_tracked_client_lose_the_stream_only),
		TEST(test_pings_of_a_websocket_are_no_sign_of_life),
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ .pName = "websocket streams", .pTests = behind },
		CU_SUITE_INFO_NULL,
	};

	return rig_run(suites);
}
