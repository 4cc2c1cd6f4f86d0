/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kicks that wait until an end can be told, and what becomes of the flow meanwhile.
 */
#include "conn_session_rig.h"

#define LIMIT 200 /* ms, the default */

/* What a worker does between two bursts. */
static void
turn(void)
{
	mqt_role_worker_assert();
	while (mqt_conns_poll(w.conns))
		;
	flush();
}

static void
pass_ms(unsigned ms)
{
	advance(ms * MS);
	turn();
}

static void
check_done(int result)
{
	struct mqt_msg msg = next_message();

	CHECK_EQ(msg.type, MQT_MSG_STEPDOWN_DONE);
	CHECK_EQ(msg.action, MQT_STEPDOWN_KICK);
	CHECK_EQ(msg.result, result);
	CHECK_EQ(msg.token, 42);
}

/* A client of 5.0 that has got and acknowledged the first 10 bytes of a PUBLISH. */
static struct flow
in_mid_packet(uint8_t packet[256], size_t *len)
{
	struct flow f = flow_new();

	f.version = 5;
	connected(&f, "c");
	*len = publish_packet(packet, 256, 5, 100);
	send_next(&f, BROKER, ACK, packet, 10);
	send_next(&f, CLIENT, ACK, NULL, 0);
	out_clear();
	return f;
}

static struct flow
waiting(uint8_t packet[256], size_t *len)
{
	struct flow f = in_mid_packet(packet, len);

	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	CHECK_NO_MESSAGE();
	CHECK_EQ(w.n_out, 0);
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
	CHECK_EQ(COUNT(KICK_WAITS), 1);
	return f;
}

static void
check_told(uint16_t port, const void *packet, size_t len)
{
	const struct out *o = sent(port, 0);
	uint8_t got[64];

	CHECK_EQ(n_sent(port), 1);
	CHECK_EQ(o->v.tcp_flags, MQT_TCP_FIN | MQT_TCP_PSH | MQT_TCP_ACK);
	CHECK_EQ(o->v.payload_len, len);
	payload_of(o, got);
	CHECK_MEM(got, packet, len);
}

static void
test_kick_in_mid_packet_waits_for_its_end_and_acknowledgement(void)
{
	uint8_t packet[256];
	struct flow f;
	size_t len;

	world_begin();
	f = waiting(packet, &len);
	send_next(&f, BROKER, ACK, packet + 10, len - 10);
	turn();
	CHECK_EQ(n_sent(0), 1); /* it passes */
	CHECK_EQ(sent(0, 0)->v.payload_len, len - 10);
	CHECK_NO_MESSAGE();
	out_clear();
	pass_ms(50);
	CHECK_EQ(w.n_out, 0);
	send_next(&f, CLIENT, ACK, NULL, 0);
	CHECK_EQ(n_sent(1), 1); /* the acknowledgement passes too */
	CHECK_NO_MESSAGE();     /* nothing is said within a burst */
	out_clear();
	turn();
	CHECK_DOWN(&f, MQT_REASON_KICKED);
	check_done(0);
	check_told(0, "\xe0\x02\x98\x00", 4);
	CHECK_EQ(sent(0, 0)->v.seq, f.seq[BROKER]);
	CHECK_EQ(n_sent(1), 1);
	CHECK_EQ(sent(1, 0)->v.tcp_flags, RST_ACK);
	CHECK_EQ(COUNT(KICK_WAITS_OVER), 0);
	CHECK_NO_MESSAGE();
	release(&f);
	world_end();
}

static void
test_other_packets_may_follow_while_a_kick_waits(void)
{
	uint8_t packet[256], more[256];
	struct flow f;
	size_t len, n;

	world_begin();
	f = waiting(packet, &len);
	send_next(&f, CLIENT, ACK, "\xc0\x00", 2); /* PINGREQ, its answer is in the next segment */
	memcpy(more, packet + 10, len - 10);
	memcpy(more + len - 10, "\xd0\x00\x30", 3); /* PINGRESP, and another packet begins */
	send_next(&f, BROKER, ACK, more, len - 7);
	send_next(&f, CLIENT, ACK, NULL, 0);
	turn();
	CHECK_NO_MESSAGE();
	CHECK_EQ(n_sent(0), 1);
	CHECK_EQ(n_sent(1), 2);
	n = publish_packet(packet, sizeof(packet), 5, 30);
	send_next(&f, BROKER, ACK, packet + 1, n - 1);
	send_next(&f, CLIENT, ACK, NULL, 0);
	out_clear();
	turn();
	CHECK_DOWN(&f, MQT_REASON_KICKED);
	check_done(0);
	check_told(0, "\xe0\x02\x98\x00", 4);
	release(&f);
	world_end();
}

/* --- the limit --------------------------------------------------------------------------------- */

enum obstacle {
	MID_PACKET,
	IN_FLIGHT,
	ZERO_WINDOW,
	GAP,
	NEARLY_FULL, /* a window of less than what is to be sent */
};

static const struct {
	const char *name;
	enum obstacle obstacle;
	unsigned n_rst; /* towards the client */
} obstacles[] = {
	{ "mid-packet", MID_PACKET, 1 },
	{ "in flight", IN_FLIGHT, 2 },
	{ "zero window", ZERO_WINDOW, 1 },
	{ "a gap", GAP, 2 },
	{ "nearly full", NEARLY_FULL, 1 },
};

/* @return what the client has acknowledged. */
static uint32_t
obstruct(struct flow *f, enum obstacle obstacle)
{
	uint8_t packet[256];
	size_t len = publish_packet(packet, sizeof(packet), 5, 42);
	uint32_t acked = f->seq[BROKER];

	switch (obstacle) {
	case MID_PACKET:
		send_next(f, BROKER, ACK, packet, 10);
		break;
	case GAP:
		f->seq[BROKER] += (uint32_t)len;
		/* fallthrough */
	case IN_FLIGHT:
		send_next(f, BROKER, ACK, packet, len);
		return acked;
	case ZERO_WINDOW:
	case NEARLY_FULL:
		send_next(f, BROKER, ACK, packet, len);
		f->window = obstacle == ZERO_WINDOW ? 0 : 3;
		break;
	}
	send_next(f, CLIENT, ACK, NULL, 0);
	return f->seq[BROKER];
}

static void
test_kick_that_waited_in_vain_resets(void)
{
	for (unsigned i = 0; i < RTE_DIM(obstacles); i++) {
		struct flow f = flow_new();
		uint32_t acked;

		check_row = obstacles[i].name;
		world_begin();
		f.version = 5;
		/* what was offered once is not taken back */
		f.window = obstacles[i].obstacle >= ZERO_WINDOW && obstacles[i].obstacle != GAP
				? 60
				: 65000;
		connected(&f, "c");
		acked = obstruct(&f, obstacles[i].obstacle);
		out_clear();
		tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
		pass_ms(LIMIT - 10);
		CHECK_NO_MESSAGE();
		CHECK_EQ(w.n_out, 0);
		pass_ms(10);
		CHECK_DOWN(&f, MQT_REASON_KICKED);
		check_done(0);
		CHECK_EQ(COUNT(KICK_WAITS_OVER), 1);
		CHECK_EQ(n_sent(0), obstacles[i].n_rst);
		CHECK_EQ(sent(0, 0)->v.tcp_flags, RST_ACK);
		CHECK_EQ(sent(0, 0)->v.seq, acked);
		CHECK_EQ(sent(0, n_sent(0) - 1)->v.tcp_flags, RST_ACK);
		CHECK_EQ(sent(0, n_sent(0) - 1)->v.seq, f.seq[BROKER]);
		CHECK_EQ(n_sent(1), 1);
		CHECK_EQ(COUNT(INJECTED_DISCONNECT), 0);
		release(&f);
		world_end();
	}
}

static void
test_wait_begins_with_the_request(void)
{
	for (unsigned late_ms = LIMIT - 10; late_ms <= LIMIT; late_ms += 10) {
		uint8_t packet[256];
		struct mqt_msg msg = { .type = MQT_MSG_STEPDOWN, .token = 42 };
		struct flow f;
		size_t len;

		mqt_role_control_assert();
		world_begin();
		f = in_mid_packet(packet, &len);
		msg.chan = f.chan;
		msg.stamp_ns = w.now;
		mqt_mailbox_post_worker(w.mailbox, &msg);
		w.now += late_ms * MS; /* in which the worker does not run */
		turn();
		CHECK_EQ(COUNT(KICK_WAITS), late_ms < LIMIT);
		pass_ms(10);
		CHECK_DOWN(&f, MQT_REASON_KICKED);
		check_done(0);
		release(&f);
		world_end();
	}
}

static void
test_window_that_opens_while_a_kick_waits_lets_the_client_be_told(void)
{
	struct flow f = flow_new();

	world_begin();
	f.version = 5;
	f.window = 60;
	connected(&f, "c");
	obstruct(&f, ZERO_WINDOW);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	pass_ms(100);
	CHECK_NO_MESSAGE();
	f.window = 100;
	send_next(&f, CLIENT, ACK, NULL, 0);
	out_clear();
	turn();
	CHECK_DOWN(&f, MQT_REASON_KICKED);
	check_done(0);
	check_told(0, "\xe0\x02\x98\x00", 4);
	release(&f);
	world_end();
}

static const struct {
	const char *name;
	uint8_t version;
	bool no_limit, broken, said;
} hopeless[] = {
	{ "3.1.1", 4, false, false, false },
	{ "no time for it", 5, true, false, false },
	{ "framing broken", 5, false, true, false },
	{ "the broker has said DISCONNECT", 5, false, false, true },
};

static void
test_kick_does_not_wait_for_what_cannot_come(void)
{
	for (unsigned i = 0; i < RTE_DIM(hopeless); i++) {
		struct flow f = flow_new();

		check_row = hopeless[i].name;
		world_config();
		if (hopeless[i].no_limit)
			w.config.limits.kick_boundary_ms = 0;
		world_start();
		f.version = hopeless[i].version;
		connected(&f, "c");
		if (hopeless[i].said)
			send_next(&f, BROKER, ACK, "\xe0\x02\x8b\x00", 4);
		else if (hopeless[i].broken)
			send_next(&f, BROKER, ACK, "\x30\xff\xff\xff\xff", 5);
		else
			send_next(&f, BROKER, ACK, "\x30\x10\x00", 3);
		drop_messages(); /* of an anomaly */
		out_clear();
		tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
		CHECK_DOWN(&f, MQT_REASON_KICKED);
		check_done(0);
		CHECK_EQ(sent(0, 0)->v.tcp_flags, RST_ACK);
		CHECK_EQ(COUNT(KICK_WAITS), 0);
		release(&f);
		world_end();
	}
}

static void
test_framing_that_breaks_ends_the_wait(void)
{
	uint8_t packet[256];
	struct flow f;
	size_t len;

	world_begin();
	f = waiting(packet, &len);
	memcpy(packet + len, "\x30\xff\xff\xff\xff", 5);
	send_next(&f, BROKER, ACK, packet + 10, len - 5);
	drop_messages();
	out_clear();
	turn();
	CHECK_DOWN(&f, MQT_REASON_KICKED);
	check_done(0);
	CHECK_EQ(sent(0, 0)->v.tcp_flags, RST_ACK);
	release(&f);
	world_end();
}

static void
test_only_so_many_kicks_wait(void)
{
	enum {
		KICKS = 64,
		FLOWS = KICKS + 2
	};
	static struct flow f[FLOWS];
	uint8_t packet[256];
	size_t len;

	world_config();
	w.config.limits.max_connections = FLOWS;
	w.config.limits.max_embryos = FLOWS;
	w.config.limits.max_handshakes = FLOWS;
	world_start();
	for (unsigned i = 0; i < FLOWS; i++)
		f[i] = in_mid_packet(packet, &len);
	for (unsigned i = 0; i < FLOWS; i++) {
		tell(&f[i], MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
		if (i < KICKS) {
			CHECK_NO_MESSAGE();
			continue;
		}
		CHECK_DOWN(&f[i], MQT_REASON_KICKED);
		check_done(0);
	}
	CHECK_EQ(COUNT(KICK_WAITS), KICKS);
	/* one of them goes, the others wait on */
	send_next(&f[7], BROKER, ACK, packet + 10, len - 10);
	send_next(&f[7], CLIENT, ACK, NULL, 0);
	turn();
	CHECK_DOWN(&f[7], MQT_REASON_KICKED);
	check_done(0);
	CHECK_NO_MESSAGE();
	out_clear();
	pass_ms(LIMIT);
	drop_messages();
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), 0);
	CHECK_EQ(COUNT(STEPDOWNS), FLOWS);
	for (unsigned i = 0; i < FLOWS; i++)
		release(&f[i]);
	world_end();
}

/* --- what comes between ------------------------------------------------------------------------ */

static void
test_another_request_ends_the_wait(void)
{
	static const enum mqt_stepdown actions[] = { MQT_STEPDOWN_KICK, MQT_STEPDOWN_DISCARD,
		MQT_STEPDOWN_TAKEOVER_BEGIN, MQT_STEPDOWN_TAKEOVER_END };

	for (unsigned i = 0; i < RTE_DIM(actions); i++) {
		uint8_t packet[256];
		struct mqt_msg msg;
		struct flow f;
		size_t len;

		world_begin();
		f = waiting(packet, &len);
		tell(&f, MQT_MSG_STEPDOWN, actions[i]);
		CHECK_DOWN(&f, MQT_REASON_KICKED);
		check_done(0);
		msg = next_message();
		CHECK_EQ(msg.type, MQT_MSG_STEPDOWN_DONE);
		CHECK_EQ(msg.action, actions[i]);
		CHECK_EQ(msg.result, -ENOENT);
		CHECK_EQ(sent(0, 0)->v.tcp_flags, RST_ACK); /* at once, in mid-packet */
		CHECK_NO_MESSAGE();
		pass_ms(LIMIT + 50);
		CHECK_NO_MESSAGE();
		release(&f);
		world_end();
	}
}

static const struct {
	const char *name;
	int side;
	unsigned flags;
	enum mqt_reason reason;
} own_ends[] = {
	{ "client closes", CLIENT, FIN_ACK, MQT_REASON_CLIENT_CLOSED },
	{ "client resets", CLIENT, RST_ACK, MQT_REASON_CLIENT_RESET },
	{ "broker closes", BROKER, FIN_ACK, MQT_REASON_BROKER_CLOSED },
	{ "broker resets", BROKER, RST_ACK, MQT_REASON_BROKER_RESET },
	{ "a new connection", CLIENT, MQT_TCP_SYN, MQT_REASON_REPLACED },
};

static void
test_flow_that_ends_by_itself_is_gone_for_the_kick(void)
{
	for (unsigned i = 0; i < RTE_DIM(own_ends); i++) {
		uint8_t packet[256];
		struct mqt_msg msg;
		struct flow f;
		size_t len;

		check_row = own_ends[i].name;
		world_begin();
		f = waiting(packet, &len);
		if (own_ends[i].flags == MQT_TCP_SYN) {
			f.seq[CLIENT] += 1000000;
			f.seq[BROKER] += 1000000;
		}
		send_next(&f, own_ends[i].side, own_ends[i].flags, NULL, 0);
		if (own_ends[i].flags == MQT_TCP_SYN)
			send_next(&f, BROKER, SYN_ACK, NULL, 0);
		else if (own_ends[i].flags == FIN_ACK)
			send_at(&f, !own_ends[i].side, ACK, f.seq[!own_ends[i].side],
					f.seq[own_ends[i].side], NULL, 0);
		msg = next_message();
		CHECK_EQ(msg.type, MQT_MSG_CLOSED); /* with its session: R3 */
		CHECK_EQ(msg.reason, own_ends[i].reason);
		message_drop(&msg);
		check_done(-ENOENT);
		pass_ms(LIMIT + 50);
		CHECK_NO_MESSAGE();
		CHECK_EQ(COUNT(INJECTED_RST) > 0, own_ends[i].flags == RST_ACK);
		release(&f);
		world_end();
	}
}

static void
test_kill_ends_the_wait(void)
{
	for (unsigned seen = 0; seen < 2; seen++) {
		uint8_t packet[256];
		struct flow f;
		size_t len;

		check_row = seen ? "by a packet" : "by the next turn";
		world_begin();
		f = waiting(packet, &len);
		CHECK(kill_channel(&f));
		if (seen) {
			send_next(&f, BROKER, ACK, packet + 10, len - 10);
			send_next(&f, CLIENT, ACK, NULL, 0);
		}
		turn();
		CHECK_DOWN(&f, MQT_REASON_KILLED);
		check_done(seen ? -ENOENT : 0);
		CHECK_NO_MESSAGE();
		CHECK_EQ(COUNT(INJECTED_DISCONNECT), 0);
		for (unsigned i = 0; i < n_sent(0); i++)
			CHECK_EQ(sent(0, i)->v.tcp_flags, RST_ACK);
		release(&f);
		world_end();
	}
}

static void
test_takeover_in_mid_packet_resets_at_once(void)
{
	uint8_t packet[256];
	struct mqt_msg msg;
	struct flow f;
	size_t len;

	world_begin();
	f = in_mid_packet(packet, &len);
	msg = begin(&f);
	CHECK_EQ(msg.result, 0);
	message_drop(&msg);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_END);
	CHECK_DOWN(&f, MQT_REASON_TAKEN_OVER);
	check_stepdown_done();
	CHECK_EQ(n_sent(0), 1);
	CHECK_EQ(sent(0, 0)->v.tcp_flags, RST_ACK);
	CHECK_EQ(COUNT(KICK_WAITS), 0);
	release(&f);
	world_end();
}

static void
test_tracker_may_stop_while_a_kick_waits(void)
{
	uint8_t packet[256];
	struct flow f;
	size_t len;

	world_begin();
	f = waiting(packet, &len);
	free(f.info);
	world_end();
}

/* --- the will, the reason ---------------------------------------------------------------------- */

static void
test_kick_waits_for_the_client_too_where_its_will_is_suppressed(void)
{
	for (unsigned will = 0; will < 2; will++) {
		struct flow f = flow_new();
		struct mqt_mqtt_connect connect = connect_of(4, true, 0);

		check_row = will ? "a will" : "no will";
		world_config();
		w.config.listeners[0].will = MQT_WILL_SUPPRESS;
		world_start();
		connect.has_will = will;
		open_with(&f, &connect, no_override);
		grant(&f, NULL);
		send_next(&f, CLIENT, ACK, "\x30\x05\x00\x01t", 5); /* 2 bytes to come */
		send_next(&f, BROKER, ACK, NULL, 0);
		out_clear();
		tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
		CHECK_EQ(COUNT(KICK_WAITS), will);
		if (will) {
			CHECK_NO_MESSAGE();
			send_next(&f, CLIENT, ACK, "xy", 2);
			send_next(&f, BROKER, ACK, NULL, 0);
			out_clear();
			turn();
		}
		CHECK_DOWN(&f, MQT_REASON_KICKED);
		check_done(0);
		if (will)
			check_told(1, "\xe0\x00", 2);
		else
			CHECK_EQ(sent(1, 0)->v.tcp_flags, RST_ACK);
		CHECK_EQ(COUNT(WILL_SUPPRESSED), will);
		release(&f);
		world_end();
	}
}

static void
test_client_reads_the_reason_of_the_kick(void)
{
	static const struct {
		uint8_t code;
		const char *packet;
		size_t len;
	} rows[] = {
		{ 0x98, "\xe0\x02\x98\x00", 4 },
		{ 0x9d, "\xe0\x02\x9d\x00", 4 },
		{ 0x00, "\xe0\x00", 2 },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		for (unsigned waits = 0; waits < 2; waits++) {
			struct flow f = flow_new();
			struct mqt_msg msg = { .type = MQT_MSG_STEPDOWN, .code = rows[i].code };

			mqt_role_control_assert();
			world_begin();
			f.version = 5;
			connected(&f, "c");
			if (waits)
				send_next(&f, BROKER, ACK, "\xd0\x00", 2);
			msg.chan = f.chan;
			msg.stamp_ns = w.now;
			msg.token = 42;
			mqt_mailbox_post_worker(w.mailbox, &msg);
			turn();
			CHECK_EQ(COUNT(KICK_WAITS), waits);
			if (waits) {
				send_next(&f, CLIENT, ACK, NULL, 0);
				out_clear();
				turn();
			}
			CHECK_DOWN(&f, MQT_REASON_KICKED);
			check_done(0);
			check_told(0, rows[i].packet, rows[i].len);
			release(&f);
			world_end();
		}
	}
}

static CU_TestInfo wait_tests[] = {
	TEST(test_kick_in_mid_packet_waits_for_its_end_and_acknowledgement),
	TEST(test_other_packets_may_follow_while_a_kick_waits),
	TEST(test_kick_that_waited_in_vain_resets),
	TEST(test_wait_begins_with_the_request),
	TEST(test_window_that_opens_while_a_kick_waits_lets_the_client_be_told),
	TEST(test_kick_does_not_wait_for_what_cannot_come),
	TEST(test_framing_that_breaks_ends_the_wait),
	TEST(test_only_so_many_kicks_wait),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo between_tests[] = {
	TEST(test_another_request_ends_the_wait),
	TEST(test_flow_that_ends_by_itself_is_gone_for_the_kick),
	TEST(test_kill_ends_the_wait),
	TEST(test_takeover_in_mid_packet_resets_at_once),
	TEST(test_tracker_may_stop_while_a_kick_waits),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo said_tests[] = {
	TEST(test_kick_waits_for_the_client_too_where_its_will_is_suppressed),
	TEST(test_client_reads_the_reason_of_the_kick),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "wait", NULL, NULL, NULL, NULL, wait_tests },
	{ "between", NULL, NULL, NULL, NULL, between_tests },
	{ "said", NULL, NULL, NULL, NULL, said_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
