/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker's part of captures: whose packets are copied, which, and what is said of them.
 */
#include "conn_rig.h"

#define WORKERS 4 /* the rig's is the last one */

static struct mqt_captures *all;
static uint8_t data[MQT_CAPTURE_LENGTH];

static void
captures_begin(void)
{
	all = mqt_captures_create(WORKERS);
	world_config();
	w.captures = all;
	world_start();
}

static void
captures_end(void)
{
	world_end();
	mqt_captures_destroy(all);
}

/* The worker looks, and so have the others. */
static void
look(void)
{
	mqt_role_worker_assert();
	mqt_conns_poll(w.conns);
	for (unsigned i = 0; i < MQT_CAPTURES_MAX; i++)
		for (unsigned other = 0; other < WORKERS - 1; other++)
			all->capture[i].seen[other] = all->capture[i].word;
}

static struct mqt_capture *
capture_client(const char *id, int domain)
{
	struct mqt_capture *capture = mqt_capture_start(all, id, strlen(id), domain);

	look();
	CHECK(mqt_capture_is_settled(all, capture));
	return capture;
}

static struct mqt_capture *
capture_channel(mqt_chan_id chan)
{
	struct mqt_capture *capture = mqt_capture_start(all, NULL, 0, -1);

	mqt_capture_add(all, capture, chan);
	look();
	return capture;
}

static struct mqt_capture_packet
next_packet(struct mqt_capture *capture)
{
	struct mqt_capture_packet packet = { .len = 0 };

	mqt_capture_take(all, capture, &packet, data);
	return packet;
}

#define CHECK_PACKET(capture, want_port, want_note)                                                \
	do {                                                                                       \
		struct mqt_capture_packet got_ = next_packet(capture);                             \
		CHECK(got_.len > 0);                                                               \
		CHECK_EQ(got_.port, want_port);                                                    \
		CHECK_EQ(got_.note, want_note);                                                    \
		CHECK_EQ(got_.sent, (want_note) == MQT_CAPTURE_INJECTED);                          \
	} while (0)
#define CHECK_NO_PACKET(capture) CHECK_EQ(next_packet(capture).len, 0)

static unsigned
count_packets(struct mqt_capture *capture)
{
	unsigned n = 0;

	while (next_packet(capture).len > 0)
		n++;
	return n;
}

static void
test_client_is_captured_from_connect_on(void)
{
	struct flow f = flow_new(), other = flow_new();
	struct mqt_capture *capture;

	captures_begin();
	capture = capture_client("wanted", -1);
	tcp_open(&f);
	tcp_open(&other);
	CHECK_NO_PACKET(capture); /* nobody knows whose they are */
	mqtt_open(&other, "unwanted");
	CHECK_NO_PACKET(capture);
	mqtt_open(&f, "wanted");
	CHECK_PACKET(capture, CLIENT, MQT_CAPTURE_PASSED);
	CHECK_EQ(data[14 + 20 + 20], 0x10); /* CONNECT */
	CHECK_PACKET(capture, BROKER, MQT_CAPTURE_HELD);
	CHECK_EQ(data[14 + 20 + 20], 0x20); /* CONNACK */
	tell(&f, MQT_MSG_GRANT, 0);
	CHECK_NO_PACKET(capture); /* it is in there */
	send_next(&f, CLIENT, ACK, "\xc0\0", 2);
	CHECK_PACKET(capture, CLIENT, MQT_CAPTURE_PASSED);
	send_next(&f, BROKER, ACK, "\xd0\0", 2);
	CHECK_PACKET(capture, BROKER, MQT_CAPTURE_PASSED);
	CHECK_EQ(data[14 + 20 + 20], 0xd0);
	tell(&other, MQT_MSG_GRANT, 0);
	send_next(&other, CLIENT, ACK, "\xc0\0", 2);
	CHECK_NO_PACKET(capture);
	CHECK_EQ(mqt_capture_dropped(all, capture), 0);
	free(f.info);
	free(other.info);
	captures_end();
}

static void
test_client_of_another_domain_is_not_captured(void)
{
	struct flow f = flow_new();
	struct mqt_capture *here, *elsewhere;

	captures_begin();
	here = capture_client("c", 0);
	elsewhere = capture_client("c", 1);
	connected(&f, "c");
	CHECK(count_packets(here) > 0);
	CHECK_NO_PACKET(elsewhere);
	free(f.info);
	captures_end();
}

static void
test_connection_that_is_there_is_captured_by_channel_until_it_ends(void)
{
	struct flow f = flow_new();
	struct mqt_capture *capture;

	captures_begin();
	connected(&f, "c");
	capture = capture_channel(f.chan);
	CHECK_NO_PACKET(capture);
	send_next(&f, CLIENT, ACK, "\xe0\0", 2);
	CHECK_PACKET(capture, CLIENT, MQT_CAPTURE_PASSED);
	send_next(&f, CLIENT, FIN_ACK, NULL, 0);
	send_next(&f, BROKER, FIN_ACK, NULL, 0);
	CHECK(!mqt_capture_is_over(capture));
	send_next(&f, CLIENT, ACK, NULL, 0);
	CHECK_EQ(count_packets(capture), 3);
	CHECK(mqt_capture_is_over(capture));
	release(&f);
	captures_end();
}

static void
test_client_that_comes_back_is_captured_again(void)
{
	struct flow f = flow_new(), again = flow_new();
	struct mqt_capture *capture;

	captures_begin();
	capture = capture_client("c", -1);
	connected(&f, "c");
	send_next(&f, CLIENT, RST_ACK, NULL, 0);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_RESET);
	CHECK_EQ(count_packets(capture), 5); /* and the tracker's RST */
	CHECK(!mqt_capture_is_over(capture));
	connected(&again, "c");
	CHECK_EQ(count_packets(capture), 3);
	release(&f);
	free(again.info);
	captures_end();
}

static void
test_channel_that_has_gone_is_over_at_once(void)
{
	struct flow f = flow_new(), next = flow_new();

	captures_begin();
	connected(&f, "c");
	send_next(&f, CLIENT, RST_ACK, NULL, 0);
	drop_messages();
	advance(RESET_TIME);
	CHECK(mqt_capture_is_over(capture_channel(f.chan)));
	release(&f);
	advance(w.config.limits.slot_quiet_ms * MS + SEC);
	connected(&next, "c");
	CHECK(mqt_capture_is_over(capture_channel(f.chan)));
	/* a channel of another worker is that one's */
	CHECK(!mqt_capture_is_over(capture_channel(mqt_chan_id_make(0, 1, 0, 1))));
	free(next.info);
	captures_end();
}

static void
test_what_the_tracker_sends_and_drops_is_told(void)
{
	struct flow f = flow_of(&shapes[0]);
	struct mqt_capture *capture;

	captures_begin();
	connected(&f, "c");
	capture = capture_channel(f.chan);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	CHECK_PACKET(capture, CLIENT, MQT_CAPTURE_INJECTED);
	CHECK_EQ(data[14 + 20 + 13] & MQT_TCP_RST, MQT_TCP_RST);
	CHECK_PACKET(capture, BROKER, MQT_CAPTURE_INJECTED);
	CHECK_NO_PACKET(capture);
	send_next(&f, CLIENT, ACK, "\xc0\0", 2);
	CHECK_PACKET(capture, CLIENT, MQT_CAPTURE_CLOSING);
	CHECK_PACKET(capture, CLIENT, MQT_CAPTURE_INJECTED); /* the answer to it */
	advance(20 * SEC);
	CHECK(mqt_capture_is_over(capture));
	release(&f);
	captures_end();
}

static void
test_frozen_packets_are_told(void)
{
	struct flow f = flow_new();
	struct mqt_capture *capture;
	struct mqt_msg msg;

	captures_begin();
	connected(&f, "c");
	capture = capture_channel(f.chan);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_BEGIN);
	msg = next_message();
	message_drop(&msg);
	send_next(&f, BROKER, ACK, "\xd0\0", 2);
	CHECK_PACKET(capture, BROKER, MQT_CAPTURE_FROZEN);
	CHECK_NO_PACKET(capture);
	free(f.info);
	captures_end();
}

static void
test_killed_connection_shows_what_is_dropped(void)
{
	struct flow f = flow_new();
	struct mqt_capture *capture;

	captures_begin();
	connected(&f, "c");
	capture = capture_channel(f.chan);
	CHECK(kill_channel(&f));
	send_next(&f, CLIENT, ACK, "\xc0\0", 2);
	CHECK_PACKET(capture, CLIENT, MQT_CAPTURE_CLOSING);
	CHECK_PACKET(capture, CLIENT, MQT_CAPTURE_INJECTED);
	free(f.info);
	captures_end();
}

static void
test_two_captures_of_one_client_are_alike_and_end_apart(void)
{
	struct flow f = flow_new();
	struct mqt_capture *first, *second;

	captures_begin();
	first = capture_client("c", -1);
	connected(&f, "c");
	second = capture_channel(f.chan);
	count_packets(first);
	send_next(&f, CLIENT, ACK, "\xc0\0", 2);
	CHECK_EQ(count_packets(first), 1);
	CHECK_EQ(count_packets(second), 1);
	mqt_capture_release(all, first);
	look();
	send_next(&f, CLIENT, ACK, "\xc0\0", 2);
	CHECK_EQ(count_packets(first), 0);
	CHECK_EQ(count_packets(second), 1);
	mqt_capture_release(all, second);
	look();
	send_next(&f, CLIENT, ACK, "\xc0\0", 2);
	CHECK_EQ(count_packets(second), 0);
	/* the first one's place has another user, whom this client does not concern */
	first = capture_client("another", -1);
	send_next(&f, CLIENT, ACK, "\xc0\0", 2);
	CHECK_EQ(count_packets(first), 0);
	free(f.info);
	captures_end();
}

static void
test_slot_with_a_new_user_is_not_captured(void)
{
	struct flow f = flow_new(), next = flow_new();
	struct mqt_capture *capture;

	captures_begin();
	connected(&f, "c");
	capture = mqt_capture_start(all, "c", 1, -1);
	mqt_capture_add(all, capture, f.chan);
	look();
	send_next(&f, CLIENT, RST_ACK, NULL, 0);
	CHECK_EQ(count_packets(capture), 2); /* and the tracker's */
	send_next(&f, BROKER, RST_ACK, NULL, 0);
	CHECK_EQ(count_packets(capture), 1);
	drop_messages();
	release(&f);
	advance(w.config.limits.slot_quiet_ms * MS + SEC);
	for (unsigned i = 0; i < w.config.limits.max_connections; i++) {
		next = flow_new();
		connected(&next, "other");
		send_next(&next, CLIENT, RST_ACK, NULL, 0);
		send_next(&next, BROKER, RST_ACK, NULL, 0);
		drop_messages();
		release(&next);
	}
	CHECK_EQ(count_packets(capture), 0);
	captures_end();
}

static void
test_full_ring_of_a_capture_holds_nobody_up(void)
{
	struct flow f = flow_new();
	struct mqt_capture *capture;
	uint8_t publish[1200];
	size_t len = publish_packet(publish, sizeof(publish), 4, 1100);
	unsigned n = 0;

	captures_begin();
	connected(&f, "c");
	capture = capture_channel(f.chan);
	for (; n < 1000; n++) {
		send_next(&f, CLIENT, ACK, publish, len);
		send_next(&f, BROKER, ACK, NULL, 0);
		CHECK_EQ(n_sent(1), 1);
		CHECK_EQ(n_sent(0), 1);
		out_clear();
	}
	CHECK(mqt_capture_dropped(all, capture) > 0);
	CHECK_EQ(count_packets(capture) + mqt_capture_dropped(all, capture), 2 * n);
	free(f.info);
	captures_end();
}

static CU_TestInfo capture_tests[] = {
	TEST(test_client_is_captured_from_connect_on),
	TEST(test_client_of_another_domain_is_not_captured),
	TEST(test_connection_that_is_there_is_captured_by_channel_until_it_ends),
	TEST(test_client_that_comes_back_is_captured_again),
	TEST(test_channel_that_has_gone_is_over_at_once),
	TEST(test_what_the_tracker_sends_and_drops_is_told),
	TEST(test_frozen_packets_are_told),
	TEST(test_killed_connection_shows_what_is_dropped),
	TEST(test_two_captures_of_one_client_are_alike_and_end_apart),
	TEST(test_slot_with_a_new_user_is_not_captured),
	TEST(test_full_ring_of_a_capture_holds_nobody_up),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "capture", NULL, NULL, NULL, NULL, capture_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
