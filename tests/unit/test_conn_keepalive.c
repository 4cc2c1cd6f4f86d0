/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Flows that fall silent: when a keepalive is over and what both ends are told then, what counts as
 * a sign of life, and how a flow without keepalive is asked whether somebody is still there.
 */
#include "conn_rig.h"

#define GRACE_MS 4000
#define IDLE_SEC 1000

/* --- helpers ----------------------------------------------------------------------------------- */

static void
quiet_world(void)
{
	world_config();
	w.config.limits.keepalive_grace_ms = GRACE_MS;
	w.config.limits.idle_sec = IDLE_SEC;
	world_start();
}

static const struct plan {
	uint16_t keepalive_sec;
	bool has_server_keepalive;
	uint16_t server_keepalive_sec;
	uint32_t expiry_sec;
	bool has_will;
} plain = { .keepalive_sec = 20 };

/* A connected client of these settings. */
static void
connected_with(struct flow *f, struct plan plan)
{
	struct mqt_mqtt_connect connect = {
		.version = f->version,
		.clean_start = true,
		.keepalive_sec = plan.keepalive_sec,
		.has_expiry = plan.expiry_sec > 0,
		.expiry_sec = plan.expiry_sec,
		.has_will = plan.has_will,
		.clientid = { (const uint8_t *)"quiet", 5 },
	};
	struct mqt_mqtt_connack connack = {
		.has_keepalive = plan.has_server_keepalive,
		.keepalive_sec = plan.server_keepalive_sec,
	};
	uint8_t buf[256];
	struct mqt_msg msg;

	tcp_open(f);
	send_next(f, CLIENT, ACK, buf, mqt_mqtt_connect_encode(buf, sizeof(buf), &connect));
	send_next(f, BROKER, ACK, buf,
			mqt_mqtt_connack_encode(buf, sizeof(buf), f->version, &connack));
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_OPEN);
	f->chan = msg.chan;
	f->info = msg.info;
	tell(f, MQT_MSG_GRANT, 0);
	CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
	send_next(f, CLIENT, ACK, NULL, 0);
	out_clear();
}

/* Whether it is still connected so long after; ms. */
static bool
lives_for(uint64_t ms)
{
	advance(ms * MS);
	return in_state(MQT_CONN_CONNECTED) == 1;
}

#define PING "\xc0\x00"

/* --- keepalive --------------------------------------------------------------------------------- */

static const struct {
	const char *row;
	uint8_t version;
	struct plan plan;
	uint64_t limit_ms; /* without the grace */
} limits[] = {
	{ "3.1", 3, { .keepalive_sec = 20 }, 30000 },
	{ "3.1.1", 4, { .keepalive_sec = 20 }, 30000 },
	{ "5.0", 5, { .keepalive_sec = 20 }, 30000 },
	{ "odd", 4, { .keepalive_sec = 7 }, 10500 },
	{ "one second", 4, { .keepalive_sec = 1 }, 1500 },
	{ "the broker's is shorter", 5, { 60, true, 10, 0, false }, 15000 },
	{ "the broker's is longer", 5, { 10, true, 40, 0, false }, 60000 },
	{ "only the broker has one", 5, { 0, true, 10, 0, false }, 15000 },
};

static void
test_silence_of_one_and_a_half_keepalives_and_the_grace_ends_the_channel(void)
{
	for (unsigned i = 0; i < RTE_DIM(limits); i++) {
		struct flow f = flow_new();

		check_row = limits[i].row;
		f.version = limits[i].version;
		quiet_world();
		connected_with(&f, limits[i].plan);
		CHECK(lives_for(limits[i].limit_ms + GRACE_MS - 100));
		CHECK_NO_MESSAGE();
		CHECK(!lives_for(1000));
		CHECK_DOWN(&f, MQT_REASON_KEEPALIVE);
		CHECK_EQ(COUNT(KEEPALIVE), 1);
		CHECK_EQ(COUNT(IDLE), 0);
		release(&f);
		world_end();
	}
}

static void
test_broker_that_turns_keepalive_off_wins(void)
{
	struct flow f = flow_new();
	struct plan plan = { .keepalive_sec = 10, .has_server_keepalive = true };

	f.version = 5;
	quiet_world();
	connected_with(&f, plan);
	CHECK(lives_for(600000));
	CHECK_EQ(COUNT(KEEPALIVE), 0);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	CHECK_DOWN(&f, MQT_REASON_KICKED);
	release(&f);
	world_end();
}

static void
test_long_keepalive_is_not_cut_short_by_the_idle_limit(void)
{
	struct flow f = flow_new();
	struct plan plan = { .keepalive_sec = 65535 };

	quiet_world();
	connected_with(&f, plan);
	CHECK(lives_for(98302000));
	CHECK_EQ(COUNT(INJECTED_PROBE), 0);
	CHECK(!lives_for(120000));
	CHECK_DOWN(&f, MQT_REASON_KEEPALIVE);
	release(&f);
	world_end();
}

/* What a client, or its broker, does in the middle of the time, and whether that is a sign of life. */
static void
ping(struct flow *f)
{
	send_next(f, CLIENT, ACK, PING, 2);
}

static void
half_a_ping(struct flow *f)
{
	send_next(f, CLIENT, ACK, PING, 1);
}

static void
acknowledge(struct flow *f)
{
	send_next(f, CLIENT, ACK, NULL, 0);
}

static void
probe_of_tcp(struct flow *f)
{
	send_at(f, CLIENT, ACK, f->seq[CLIENT] - 1, f->seq[BROKER], NULL, 0);
}

static void
probe_of_tcp_with_a_byte(struct flow *f)
{
	send_at(f, CLIENT, ACK, f->seq[CLIENT] - 1, f->seq[BROKER], "x", 1);
}

static void
repetition_of_the_acknowledged(struct flow *f)
{
	send_at(f, CLIENT, ACK, f->seq[CLIENT] - 8, f->seq[BROKER], "12345678", 8);
}

static void
broker_publishes(struct flow *f)
{
	uint8_t buf[64];

	send_next(f, BROKER, ACK, buf, publish_packet(buf, sizeof(buf), f->version, 3));
	send_next(f, CLIENT, ACK, NULL, 0);
}

static const struct {
	const char *row;
	void (*act)(struct flow *f);
	bool counts;
} signs[] = {
	{ "a packet", ping, true },
	{ "a part of a packet", half_a_ping, true },
	{ "an acknowledgement", acknowledge, false },
	{ "a keepalive probe of TCP", probe_of_tcp, false },
	{ "a keepalive probe of TCP with a byte", probe_of_tcp_with_a_byte, false },
	{ "bytes that the broker has acknowledged", repetition_of_the_acknowledged, false },
	{ "a packet of the broker", broker_publishes, false },
};

static void
test_only_new_bytes_of_the_client_are_a_sign_of_life(void)
{
	for (unsigned i = 0; i < RTE_DIM(signs); i++) {
		struct flow f = flow_new();

		check_row = signs[i].row;
		quiet_world();
		connected_with(&f, plain); /* 34 s with the grace */
		send_next(&f, BROKER, ACK, NULL, 0);
		CHECK(lives_for(20000));
		signs[i].act(&f);
		CHECK_EQ(lives_for(15000), signs[i].counts);
		if (signs[i].counts) {
			CHECK(lives_for(18000)); /* 33 s after the sign */
			CHECK(!lives_for(2000));
		}
		CHECK_DOWN(&f, MQT_REASON_KEEPALIVE);
		release(&f);
		world_end();
	}
}

/* Its number lies behind bytes that the broker has not acknowledged, and still it says nothing. */
static void
test_acknowledgement_behind_unacknowledged_bytes_does_not_count(void)
{
	struct flow f = flow_new();

	quiet_world();
	connected_with(&f, plain);
	ping(&f);
	CHECK(lives_for(20000));
	acknowledge(&f);
	CHECK(!lives_for(15000));
	CHECK_DOWN(&f, MQT_REASON_KEEPALIVE);
	release(&f);
	world_end();
}

/* The broker may see the first copy never, and count from the second. */
static void
test_repetition_of_what_the_broker_has_not_acknowledged_counts(void)
{
	struct flow f = flow_new();

	quiet_world();
	connected_with(&f, plain);
	ping(&f);
	CHECK(lives_for(30000));
	send_at(&f, CLIENT, ACK, f.seq[CLIENT] - 2, f.seq[BROKER], PING, 2);
	CHECK(lives_for(33000));
	CHECK(!lives_for(2000));
	CHECK_DOWN(&f, MQT_REASON_KEEPALIVE);
	release(&f);
	world_end();
}

static void
test_client_that_pings_in_time_lives_for_ever(void)
{
	struct flow f = flow_new();

	quiet_world();
	connected_with(&f, plain);
	for (unsigned i = 0; i < 200; i++) {
		CHECK(lives_for(20000));
		ping(&f);
		send_next(&f, BROKER, ACK, "\xd0\x00", 2);
		out_clear();
	}
	CHECK_NO_MESSAGE();
	CHECK(!lives_for(35000));
	CHECK_DOWN(&f, MQT_REASON_KEEPALIVE);
	release(&f);
	world_end();
}

/* The worker stands still; what the client has sent waits in the port and is read late. */
static void
test_packet_that_waited_while_the_worker_stood_still_counts(void)
{
	struct flow f = flow_new();

	quiet_world();
	connected_with(&f, plain);
	CHECK(lives_for(10000));
	w.now += 60 * SEC;
	mqt_role_worker_assert();
	mqt_conns_expire(w.conns, 64); /* before its packets are read */
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
	ping(&f);
	CHECK(lives_for(33000));
	CHECK(!lives_for(2000));
	CHECK_DOWN(&f, MQT_REASON_KEEPALIVE);
	release(&f);
	world_end();
}

static void
test_client_of_5_0_is_told_why_and_its_broker_is_reset(void)
{
	for (unsigned i = 0; i < RTE_DIM(shapes); i++) {
		struct flow f = flow_of(&shapes[i]);
		struct plan plan = { .keepalive_sec = 20, .has_will = true };
		const struct out *o;
		uint8_t buf[8];

		quiet_world();
		w.config.listeners[0].will = MQT_WILL_SUPPRESS; /* not this one */
		connected_with(&f, plan);
		send_next(&f, BROKER, ACK, NULL, 0);
		out_clear();
		lives_for(34500);
		o = sent(CLIENT, 0);
		CHECK(o != NULL);
		if (o && f.version == 5) {
			CHECK_EQ(o->v.tcp_flags & FIN_ACK, FIN_ACK);
			CHECK_EQ(o->v.seq, f.seq[BROKER]);
			CHECK_EQ(o->v.payload_len, 4);
			payload_of(o, buf);
			CHECK_MEM(buf, "\xe0\x02\x8d\x00", 4);
		} else if (o) {
			CHECK_EQ(o->v.tcp_flags, RST_ACK);
			CHECK_EQ(o->v.seq, f.seq[BROKER]);
		}
		o = sent(BROKER, 0);
		CHECK(o && o->v.tcp_flags == RST_ACK && o->v.seq == f.seq[CLIENT]);
		CHECK_EQ(COUNT(WILL_SUPPRESSED), 0);
		CHECK_DOWN(&f, MQT_REASON_KEEPALIVE);
		release(&f);
		world_end();
	}
}

static void
test_session_outlives_a_keepalive_that_is_over(void)
{
	struct flow f = flow_new();
	struct plan plan = { .keepalive_sec = 20, .expiry_sec = 300 };
	struct mqt_msg msg;

	f.version = 5;
	quiet_world();
	connected_with(&f, plan);
	CHECK(!lives_for(35000));
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_CLOSED);
	CHECK_EQ(msg.reason, MQT_REASON_KEEPALIVE);
	CHECK(msg.session != NULL);
	message_drop(&msg);
	release(&f);
	world_end();
}

static void
test_killed_channel_whose_keepalive_is_over_is_down_killed(void)
{
	struct flow f = flow_new();

	quiet_world();
	connected_with(&f, plain);
	CHECK(kill_channel(&f));
	CHECK(!lives_for(35000));
	CHECK_DOWN(&f, MQT_REASON_KILLED);
	CHECK_EQ(COUNT(KEEPALIVE), 0);
	release(&f);
	world_end();
}

/* --- idle -------------------------------------------------------------------------------------- */

static const struct plan sleeper = { .keepalive_sec = 0 };

/* The probe that an end got last, checked against what it expects next. */
static void
check_probe(const struct flow *f, int side, unsigned k)
{
	const struct out *o = sent((uint16_t)side, k);
	const uint8_t *options;
	uint32_t ts[2];

	CHECK(o != NULL);
	if (!o)
		return;
	CHECK_EQ(o->v.tcp_flags, ACK);
	CHECK_EQ(o->v.payload_len, 0);
	CHECK_EQ(o->v.seq, f->seq[!side] - 1);
	CHECK_EQ(o->v.ack, f->seq[side]);
	CHECK(mqt_pkt_checksum_ok(o->m, &o->v));
	CHECK_EQ(o->v.payload_off - o->v.l4_off, f->ts ? 32 : 20);
	if (!f->ts)
		return;
	options = rte_pktmbuf_mtod_offset(o->m, const uint8_t *, o->v.l4_off + 20);
	CHECK_MEM(options, "\x01\x01\x08\x0a", 4);
	memcpy(ts, options + 4, sizeof(ts));
	/* not a tick beyond what the sender has said: it may still speak */
	CHECK_EQ(rte_be_to_cpu_32(ts[0]), f->ts_val[!side]);
	CHECK_EQ(rte_be_to_cpu_32(ts[1]), f->ts_val[side]);
}

static void
answer(struct flow *f, int side)
{
	send_next(f, side, ACK, NULL, 0);
}

static void
test_idle_flow_is_probed_at_both_ends(void)
{
	for (unsigned i = 0; i < RTE_DIM(shapes); i++) {
		struct flow f = flow_of(&shapes[i]);

		quiet_world();
		connected_with(&f, sleeper);
		send_next(&f, BROKER, ACK, NULL, 0);
		out_clear();
		advance(900 * SEC);
		CHECK_EQ(w.n_out, 0);
		advance(100 * SEC + 50 * MS);
		CHECK_EQ(n_sent(CLIENT), 1);
		CHECK_EQ(n_sent(BROKER), 1);
		check_probe(&f, CLIENT, 0);
		check_probe(&f, BROKER, 0);
		CHECK_EQ(COUNT(INJECTED_PROBE), 2);
		tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
		CHECK_DOWN(&f, MQT_REASON_KICKED);
		release(&f);
		world_end();
	}
}

static void
test_idle_flow_whose_ends_answer_lives_on(void)
{
	struct flow f = flow_new();

	quiet_world();
	connected_with(&f, sleeper);
	for (unsigned i = 1; i <= 3; i++) {
		advance(900 * SEC);
		advance(100 * SEC + 50 * MS);
		CHECK_EQ(COUNT(INJECTED_PROBE), 2 * i);
		answer(&f, CLIENT);
		answer(&f, BROKER);
		advance(60 * SEC);
		CHECK_EQ(COUNT(INJECTED_PROBE), 2 * i);
		CHECK_EQ(COUNT(IDLE_ALIVE), i);
		advance(0);
		/* the limit begins anew with the answer */
		advance(900 * SEC);
		CHECK_EQ(COUNT(INJECTED_PROBE), 2 * i);
		out_clear();
		answer(&f, CLIENT);
		answer(&f, BROKER);
	}
	CHECK_NO_MESSAGE();
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	CHECK_DOWN(&f, MQT_REASON_KICKED);
	release(&f);
	world_end();
}

static const struct {
	const char *row;
	bool client, broker;
} dead[] = {
	{ "neither answers", false, false },
	{ "only the client answers", true, false },
	{ "only the broker answers", false, true },
};

static void
test_idle_flow_with_a_dead_end_is_reset_at_both(void)
{
	for (unsigned i = 0; i < RTE_DIM(dead); i++) {
		struct flow f = flow_new();

		check_row = dead[i].row;
		quiet_world();
		connected_with(&f, sleeper);
		advance(900 * SEC);
		advance(100 * SEC + 50 * MS);
		for (unsigned try = 1; try <= 4; try++) {
			CHECK_EQ(COUNT(INJECTED_PROBE), 2 * try);
			CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
			CHECK_NO_MESSAGE();
			if (dead[i].client)
				answer(&f, CLIENT);
			if (dead[i].broker)
				answer(&f, BROKER);
			out_clear();
			advance(10 * SEC + 20 * MS);
		}
		CHECK_DOWN(&f, MQT_REASON_IDLE);
		CHECK_EQ(COUNT(IDLE), 1);
		CHECK_EQ(COUNT(KEEPALIVE), 0);
		for (unsigned side = 0; side < 2; side++) {
			const struct out *o = sent((uint16_t)side, 0);

			CHECK(o && o->v.tcp_flags == RST_ACK && o->v.seq == f.seq[!side]);
		}
		release(&f);
		world_end();
	}
}

static void
test_late_answer_still_saves_the_flow(void)
{
	struct flow f = flow_new();

	quiet_world();
	connected_with(&f, sleeper);
	advance(900 * SEC);
	advance(100 * SEC + 50 * MS);
	advance(35 * SEC); /* the fourth probe is out */
	CHECK_EQ(COUNT(INJECTED_PROBE), 8);
	answer(&f, CLIENT);
	answer(&f, BROKER);
	advance(60 * SEC);
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
	CHECK_EQ(COUNT(IDLE_ALIVE), 1);
	CHECK_NO_MESSAGE();
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	CHECK_DOWN(&f, MQT_REASON_KICKED);
	release(&f);
	world_end();
}

static void
test_segment_of_either_end_keeps_a_flow_from_being_idle(void)
{
	for (int side = 0; side < 2; side++) {
		struct flow f = flow_new();

		quiet_world();
		connected_with(&f, sleeper);
		for (unsigned i = 0; i < 5; i++) {
			advance(900 * SEC);
			answer(&f, side);
		}
		CHECK_EQ(COUNT(INJECTED_PROBE), 0);
		advance(900 * SEC);
		advance(100 * SEC + 50 * MS);
		CHECK_EQ(COUNT(INJECTED_PROBE), 2);
		tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
		CHECK_DOWN(&f, MQT_REASON_KICKED);
		release(&f);
		world_end();
	}
}

static void
test_opaque_flow_is_forgotten_without_a_word(void)
{
	struct flow f = flow_new();

	quiet_world();
	tcp_open(&f);
	send_next(&f, CLIENT, ACK, "GET / HTTP/1.1\r\n\r\n", 18);
	CHECK_EQ(in_state(MQT_CONN_OPAQUE), 1);
	out_clear();
	advance(900 * SEC);
	CHECK_EQ(in_state(MQT_CONN_OPAQUE), 1);
	advance(101 * SEC);
	CHECK_EQ(in_state(MQT_CONN_OPAQUE), 0);
	CHECK_EQ(COUNT(IDLE), 1);
	CHECK_EQ(w.n_out, 0);
	send_next(&f, CLIENT, ACK, "GET", 3);
	CHECK_EQ(n_sent(BROKER), 1);
	world_end();
}

int
main(void)
{
	CU_TestInfo keepalive[] = {
		TEST(test_silence_of_one_and_a_half_keepalives_and_the_grace_ends_the_channel),
		TEST(test_broker_that_turns_keepalive_off_wins),
		TEST(test_long_keepalive_is_not_cut_short_by_the_idle_limit),
		TEST(test_only_new_bytes_of_the_client_are_a_sign_of_life),
		TEST(test_repetition_of_what_the_broker_has_not_acknowledged_counts),
		TEST(test_acknowledgement_behind_unacknowledged_bytes_does_not_count),
		TEST(test_client_that_pings_in_time_lives_for_ever),
		TEST(test_packet_that_waited_while_the_worker_stood_still_counts),
		TEST(test_client_of_5_0_is_told_why_and_its_broker_is_reset),
		TEST(test_session_outlives_a_keepalive_that_is_over),
		TEST(test_killed_channel_whose_keepalive_is_over_is_down_killed),
		CU_TEST_INFO_NULL,
	};
	CU_TestInfo idle[] = {
		TEST(test_idle_flow_is_probed_at_both_ends),
		TEST(test_idle_flow_whose_ends_answer_lives_on),
		TEST(test_idle_flow_with_a_dead_end_is_reset_at_both),
		TEST(test_late_answer_still_saves_the_flow),
		TEST(test_segment_of_either_end_keeps_a_flow_from_being_idle),
		TEST(test_opaque_flow_is_forgotten_without_a_word),
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ "keepalive", NULL, NULL, NULL, NULL, keepalive },
		{ "idle", NULL, NULL, NULL, NULL, idle },
		CU_SUITE_INFO_NULL,
	};
	return rig_run(suites);
}
