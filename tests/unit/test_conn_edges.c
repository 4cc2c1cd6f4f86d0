/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Edges of a life: connections that end before they begin, a client that leaves before it was let
 * in, strangers behind a proxy, and timers that a gap must not put off.
 */
#include "conn_rig.h"
#include "mqtrack/proxy.h"

static void
test_connection_that_ends_before_connack_is_counted(void)
{
	for (unsigned i = 0; i < 8; i++) {
		struct flow f = flow_new();
		bool connects = i & 1, fins = i & 2;
		int side = i & 4 ? BROKER : CLIENT;
		uint8_t buf[256];

		check_row = fins ? "fin" : "rst";
		world_begin();
		tcp_open(&f);
		if (connects) {
			send_next(&f, CLIENT, ACK, buf,
					connect_packet(buf, sizeof(buf), f.version, "a"));
			send_next(&f, BROKER, ACK, NULL, 0);
		}
		CHECK_EQ(COUNT(ENDED_EARLY), 0);
		if (fins) {
			send_fin(&f, side);
			send_fin(&f, !side);
			send_next(&f, side, ACK, NULL, 0);
		} else {
			send_next(&f, side, RST_ACK, NULL, 0);
		}
		CHECK_EQ(COUNT(ENDED_EARLY), 1);
		CHECK_EQ(COUNT(OPAQUE), 0);
		advance(100 * SEC);
		CHECK_EQ(in_state(MQT_CONN_FREE), 64);
		CHECK_EQ(COUNT(ENDED_EARLY), 1);
		CHECK_NO_MESSAGE();
		world_end();
	}
}

static void
test_connection_that_is_admitted_has_not_ended_early(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "a");
	send_next(&f, CLIENT, RST_ACK, NULL, 0);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_RESET);
	CHECK_EQ(COUNT(ENDED_EARLY), 0);
	release(&f);
	world_end();
}

/* CONNECT and DISCONNECT in one segment; the broker's FIN comes while the newcomer waits. */
static void
test_client_that_has_left_in_order_reads_its_connack(void)
{
	for (unsigned version = 3; version <= 5; version++) {
		struct flow f = flow_new();
		uint8_t buf[256], got[64];
		struct mqt_msg msg;
		size_t len;

		world_begin();
		f.version = (uint8_t)version;
		tcp_open(&f);
		len = connect_packet(buf, sizeof(buf), f.version, "a");
		len += mqt_mqtt_disconnect_encode(buf + len, sizeof(buf) - len, f.version, 0);
		send_next(&f, CLIENT, ACK, buf, len);
		len = connack_packet(buf, sizeof(buf), f.version, 0);
		send_next(&f, BROKER, ACK, buf, len);
		out_clear();
		send_next(&f, BROKER, FIN_ACK, NULL, 0);
		CHECK_EQ(w.n_out, 0);
		msg = next_message();
		CHECK_EQ(msg.type, MQT_MSG_OPEN);
		f.chan = msg.chan;
		f.info = msg.info;
		CHECK_NO_MESSAGE();
		tell(&f, MQT_MSG_GRANT, 0);
		CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
		CHECK_EQ(n_sent(0), 2);
		payload_of(sent(0, 0), got);
		CHECK_EQ(sent(0, 0)->v.payload_len, len);
		CHECK(memcmp(got, buf, len) == 0);
		CHECK(sent(0, 1)->v.tcp_flags & MQT_TCP_FIN);
		CHECK_NO_MESSAGE();
		send_fin(&f, CLIENT);
		msg = next_message();
		CHECK_EQ(msg.type, version == 5 ? MQT_MSG_CLOSED : MQT_MSG_DOWN);
		CHECK_EQ(msg.reason, MQT_REASON_CLIENT_DISCONNECT);
		message_drop(&msg);
		CHECK_EQ(COUNT(REFUSALS) + COUNT(INJECTED_CONNACK), 0);
		release(&f);
		world_end();
	}
}

/* The proxy is known by then, and nobody else is. */
static void
test_stranger_behind_a_proxy_has_its_own_address(void)
{
	static const struct mqt_proxy header = {
		.version = 1,
		.src = { { 203, 0, 113, 9 }, 4711, 4 },
		.dst = { { 192, 0, 2, 11 }, 1883, 4 },
	};
	struct flow f = flow_new();
	uint8_t buf[256];
	struct mqt_msg msg;
	size_t len;

	world_config();
	w.config.listeners[0].proxy = MQT_PROXY_REQUIRE;
	world_start();
	tcp_open(&f);
	len = mqt_proxy_encode(buf, sizeof(buf), &header);
	memcpy(buf + len, "\xc0\0", 2); /* PINGREQ before CONNECT */
	send_next(&f, CLIENT, ACK, buf, len + 2);
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_ANOMALY);
	CHECK_EQ(msg.reason, MQT_REASON_BEFORE_CONNECT);
	CHECK(msg.info != NULL);
	if (msg.info) {
		struct mqt_endpoint peer = mqt_info_peer(msg.info);

		CHECK(mqt_endpoint_equal(&peer, &header.src));
		CHECK_EQ(mqt_info_via(msg.info).port, f.client_port);
	}
	message_drop(&msg);
	world_end();
}

/* Behind a gap in the other direction comes a body that is not followed. */
static void
test_gap_does_not_put_off_the_end_of_a_fin(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "a");
	send_next(&f, CLIENT, FIN_ACK, NULL, 0);
	advance(SEC);
	send_at(&f, BROKER, ACK, f.seq[BROKER] + 10, f.seq[CLIENT] - 1, "\xd0\0", 2);
	advance(4 * SEC + 500 * MS);
	CHECK_EQ(COUNT(FIN_UNANSWERED), 1);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
	release(&f);
	world_end();
}

static void
test_gap_does_not_shorten_the_wait_for_a_grant(void)
{
	struct flow f = flow_new();

	world_begin();
	tcp_open(&f);
	mqtt_open(&f, "a");
	advance(2 * SEC);
	send_at(&f, CLIENT, ACK, f.seq[CLIENT] + 10, f.seq[BROKER], "\xc0\0", 2);
	advance(17 * SEC);
	CHECK_EQ(COUNT(OPENING_TIMEOUTS), 0);
	advance(2 * SEC);
	CHECK_EQ(COUNT(OPENING_TIMEOUTS), 1);
	CHECK_DOWN(&f, MQT_REASON_OPENING_TIMEOUT);
	release(&f);
	world_end();
}

/* It came before GRANT, and is given up as long after as any other. */
static void
test_gap_from_before_the_grant_is_given_up_too(void)
{
	struct flow f = flow_new();

	world_begin();
	tcp_open(&f);
	mqtt_open(&f, "a");
	send_at(&f, CLIENT, ACK, f.seq[CLIENT] + 10, f.seq[BROKER], "\xc0\0", 2);
	advance(5 * SEC);
	tell(&f, MQT_MSG_GRANT, 0);
	CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
	advance(4 * SEC);
	CHECK_EQ(COUNT(ANOMALY_GAP), 0);
	advance(2 * SEC);
	CHECK_EQ(COUNT(ANOMALY_GAP), 1);
	send_next(&f, CLIENT, RST_ACK, NULL, 0);
	drop_messages();
	release(&f);
	world_end();
}

static CU_TestInfo edge_tests[] = {
	TEST(test_connection_that_ends_before_connack_is_counted),
	TEST(test_connection_that_is_admitted_has_not_ended_early),
	TEST(test_client_that_has_left_in_order_reads_its_connack),
	TEST(test_stranger_behind_a_proxy_has_its_own_address),
	TEST(test_gap_does_not_put_off_the_end_of_a_fin),
	TEST(test_gap_does_not_shorten_the_wait_for_a_grant),
	TEST(test_gap_from_before_the_grant_is_given_up_too),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "conn_edges", NULL, NULL, NULL, NULL, edge_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
