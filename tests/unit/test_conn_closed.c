/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end of connections with a session: what outlives the flow, wills, refusals.
 */
#include "conn_session_rig.h"

/* --- CLOSED and DOWN --------------------------------------------------------------------------- */

#define NONE  (-1)
#define NEVER 0xffffffffll

static const struct {
	const char *name;
	uint8_t version;
	bool clean, anonymous;
	int64_t connect, connack, disconnect; /* expiry, NONE: not said */
	uint32_t v3_sec;
	uint32_t want; /* 0: DOWN */
} expiries[] = {
	{ "3.1 clean", 3, true, false, NONE, NONE, NONE, 7200, 0 },
	{ "3.1", 3, false, false, NONE, NONE, NONE, 7200, 7200 },
	{ "3.1.1 clean", 4, true, false, NONE, NONE, NONE, 7200, 0 },
	{ "3.1.1", 4, false, false, NONE, NONE, NONE, 10, 10 },
	{ "3.1.1 not kept by the listener", 4, false, false, NONE, NONE, NONE, 0, 0 },
	{ "3.1.1 anonymous", 4, true, true, NONE, NONE, NONE, 7200, 0 },
	{ "5.0 without", 5, false, false, NONE, NONE, NONE, 7200, 0 },
	{ "5.0 clean start", 5, true, false, 77, NONE, NONE, 0, 77 },
	{ "5.0", 5, false, false, 77, NONE, NONE, 0, 77 },
	{ "5.0 never", 5, false, false, NEVER, NONE, NONE, 0, 0xffffffff },
	{ "5.0 anonymous", 5, true, true, 77, NONE, NONE, 0, 0 },
	{ "CONNACK says less", 5, false, false, 77, 30, NONE, 0, 30 },
	{ "CONNACK says 0", 5, false, false, 77, 0, NONE, 0, 0 },
	{ "CONNACK says more than nothing", 5, false, false, NONE, 30, NONE, 0, 30 },
	{ "DISCONNECT says more", 5, false, false, 77, NONE, 99, 0, 99 },
	{ "DISCONNECT says 0", 5, false, false, 77, NONE, 0, 0, 0 },
	{ "DISCONNECT wakes nothing", 5, false, false, NONE, NONE, 99, 0, 0 },
	{ "DISCONNECT wakes nothing of CONNACK", 5, false, false, 77, 0, 99, 0, 0 },
};

static void
expiry_run(unsigned i, bool pipelined)
{
	struct flow f = flow_new();
	struct mqt_mqtt_connect connect = connect_of(expiries[i].version, expiries[i].clean, 0);
	struct connack_plan plan = { .has_expiry = expiries[i].connack != NONE };
	struct mqt_session_final final = { 0 };
	struct mqt_msg msg;
	enum mqt_reason reason = MQT_REASON_CLIENT_RESET;

	check_row = expiries[i].name;
	connect.has_expiry = expiries[i].connect != NONE;
	connect.expiry_sec = connect.has_expiry ? (uint32_t)expiries[i].connect : 0;
	plan.expiry_sec = plan.has_expiry ? (uint32_t)expiries[i].connack : 0;
	if (expiries[i].anonymous)
		connect.clientid.len = 0;
	world_config();
	w.config.listeners[0].session_expiry_v3_sec = expiries[i].v3_sec;
	world_start();
	open_with(&f, &connect, plan);
	if (!pipelined)
		grant(&f, NULL);
	if (expiries[i].disconnect != NONE) {
		uint8_t bye[9] = { 0xe0, 7, 0, 5, 0x11, 0, 0, 0, (uint8_t)expiries[i].disconnect };

		send_next(&f, CLIENT, ACK, bye, sizeof(bye));
		reason = MQT_REASON_CLIENT_DISCONNECT;
	}
	if (pipelined)
		grant(&f, NULL);
	send_next(&f, CLIENT, RST_ACK, NULL, 0);
	msg = next_message();
	CHECK_EQ(msg.type, expiries[i].want ? MQT_MSG_CLOSED : MQT_MSG_DOWN);
	CHECK_EQ(msg.reason, reason);
	CHECK_EQ(msg.chan, f.chan);
	CHECK_EQ(msg.session != NULL, expiries[i].want != 0);
	if (msg.session) {
		mqt_session_final(msg.session, &final);
		CHECK_EQ(final.expiry_sec, expiries[i].want);
		CHECK_EQ(final.counter[MQT_RECV_PKT], slot_counter(&f, MQT_RECV_PKT));
		CHECK_EQ(final.counter[MQT_SEND_PKT], 1);
	}
	mqt_session_destroy(msg.session);
	CHECK_NO_MESSAGE();
	release(&f);
	world_end();
}

static void
test_session_outlives_its_flow_as_its_expiry_says(void)
{
	for (unsigned i = 0; i < RTE_DIM(expiries); i++)
		for (unsigned pipelined = 0; pipelined < 2; pipelined++)
			expiry_run(i, pipelined);
}

enum end {
	END_CLIENT_FIN,
	END_CLIENT_RST,
	END_BROKER_FIN,
	END_BROKER_RST,
	END_DOUBT,
	END_IDLE,
	END_NEW_SYN,
	END_KICK,
	END_DISCARD,
	END_KILL,
};

static const struct {
	const char *name;
	enum end end;
	bool closed;
	enum mqt_reason reason;
} lasting_ends[] = {
	{ "fin", END_CLIENT_FIN, true, MQT_REASON_CLIENT_CLOSED },
	{ "rst", END_CLIENT_RST, true, MQT_REASON_CLIENT_RESET },
	{ "broker fin", END_BROKER_FIN, true, MQT_REASON_BROKER_CLOSED },
	{ "broker rst", END_BROKER_RST, true, MQT_REASON_BROKER_RESET },
	{ "doubtful rst", END_DOUBT, true, MQT_REASON_CLIENT_RESET },
	{ "idle", END_IDLE, true, MQT_REASON_IDLE },
	{ "replaced", END_NEW_SYN, true, MQT_REASON_REPLACED },
	{ "kick", END_KICK, false, MQT_REASON_KICKED },
	{ "discard", END_DISCARD, false, MQT_REASON_DISCARDED },
	{ "kill", END_KILL, false, MQT_REASON_KILLED },
};

static void
bring_to_end(struct flow *f, enum end end)
{
	switch (end) {
	case END_CLIENT_FIN:
	case END_BROKER_FIN:
		send_fin(f, end == END_BROKER_FIN ? BROKER : CLIENT);
		break;
	case END_CLIENT_RST:
	case END_BROKER_RST:
		send_next(f, end == END_BROKER_RST ? BROKER : CLIENT, RST_ACK, NULL, 0);
		break;
	case END_DOUBT:
		send_at(f, CLIENT, MQT_TCP_RST, f->seq[CLIENT] + 1000, 0, NULL, 0);
		advance(3 * SEC);
		break;
	case END_IDLE:
		advance(200 * SEC);
		break;
	case END_NEW_SYN:
		f->seq[CLIENT] += 1000000;
		f->seq[BROKER] += 1000000;
		send_next(f, CLIENT, MQT_TCP_SYN, NULL, 0);
		send_next(f, BROKER, SYN_ACK, NULL, 0);
		break;
	case END_KICK:
		tell(f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
		break;
	case END_DISCARD:
		tell(f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_DISCARD);
		break;
	case END_KILL:
		CHECK(kill_channel(f));
		send_next(f, CLIENT, ACK, "\xc0\x00", 2);
		break;
	}
}

static void
test_every_natural_end_hands_the_session_over(void)
{
	for (unsigned i = 0; i < RTE_DIM(lasting_ends); i++) {
		for (unsigned empty = 0; empty < 2; empty++) {
			struct flow f = flow_new();
			struct mqt_msg msg;

			check_row = lasting_ends[i].name;
			world_config();
			w.config.limits.idle_sec = 100;
			world_start();
			lasting(&f, 5);
			if (!empty)
				subscribe(&f, 1, "s");
			bring_to_end(&f, lasting_ends[i].end);
			msg = next_message();
			CHECK_EQ(msg.type, lasting_ends[i].closed ? MQT_MSG_CLOSED : MQT_MSG_DOWN);
			CHECK_EQ(msg.reason, lasting_ends[i].reason);
			CHECK_EQ(msg.session != NULL, lasting_ends[i].closed);
			if (msg.session)
				CHECK_EQ(counts_of(msg.session).filters, !empty);
			message_drop(&msg);
			drop_messages(); /* of a stepdown */
			CHECK(inspect(&f) == NULL);
			release(&f);
			world_end();
		}
	}
}

static void
test_session_is_not_followed_past_its_handover(void)
{
	struct flow f = flow_new();
	struct mqt_msg msg;

	world_begin();
	lasting(&f, 4);
	subscribe(&f, 1, "s");
	send_fin(&f, BROKER);
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_CLOSED);
	message_drop(&msg);
	subscribe(&f, 2, "late");
	send_next(&f, CLIENT, ACK, "\x82\x50\x00", 3); /* begins one more */
	CHECK_EQ(n_sent(1) > 0, 1);
	release(&f);
	advance(100 * SEC);
	CHECK_EQ(in_state(MQT_CONN_FREE), 64);
	CHECK_NO_MESSAGE();
	world_end();
}

static void
test_newcomer_that_dies_leaves_no_session(void)
{
	struct flow f = flow_new();
	struct mqt_mqtt_connect connect = connect_of(5, false, 500);

	world_begin();
	open_with(&f, &connect, no_override);
	subscribe(&f, 1, "early");
	send_next(&f, CLIENT, FIN_ACK, NULL, 0);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
	release(&f);
	world_end();
}

static void
test_disconnect_of_the_broker_overrides_nothing(void)
{
	struct flow f = flow_new();
	struct mqt_session_final final = { 0 };
	struct mqt_msg msg;

	world_begin();
	lasting(&f, 5);
	send_next(&f, BROKER, ACK, "\xe0\x07\x00\x05\x11\x00\x00\x00\x00", 9);
	send_fin(&f, BROKER);
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_CLOSED);
	CHECK_EQ(msg.reason, MQT_REASON_BROKER_CLOSED);
	if (msg.session)
		mqt_session_final(msg.session, &final);
	CHECK_EQ(final.expiry_sec, 500);
	message_drop(&msg);
	release(&f);
	world_end();
}

static void
test_release_without_info_gives_the_slot_back(void)
{
	for (unsigned closing = 0; closing < 2; closing++) {
		struct flow f = flow_new();
		struct mqt_info *info;
		struct mqt_msg msg;

		check_row = closing ? "before the flow is gone" : "after";
		world_begin();
		lasting(&f, 5);
		if (closing)
			send_fin(&f, CLIENT);
		else
			send_next(&f, CLIENT, RST_ACK, NULL, 0);
		msg = next_message();
		CHECK_EQ(msg.type, MQT_MSG_CLOSED);
		message_drop(&msg);
		info = f.info;
		f.info = NULL;
		release(&f);
		CHECK_EQ(info->expiry_sec, 500); /* still the control lcore's */
		free(info);
		if (closing) {
			send_next(&f, BROKER, FIN_ACK, NULL, 0);
			send_next(&f, CLIENT, ACK, NULL, 0);
		}
		advance(RESET_TIME + 2 * SEC);
		CHECK_EQ(in_state(MQT_CONN_FREE), 64);
		world_end();
	}
}

/* --- wills ------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint8_t version;
	bool publish, no_will, mid_packet, unacked, no_room, said;
	bool told; /* the broker gets DISCONNECT and FIN, else RST */
} wills[] = {
	{ "3.1", 3, false, false, false, false, false, false, true },
	{ "3.1.1", 4, false, false, false, false, false, false, true },
	{ "5.0", 5, false, false, false, false, false, false, true },
	{ "no will", 5, false, true, false, false, false, false, true },
	{ "publish", 5, true, false, false, false, false, false, false },
	{ "in mid-packet", 4, false, false, true, false, false, false, false },
	{ "not acknowledged", 4, false, false, false, true, false, false, false },
	{ "no room", 4, false, false, false, false, true, false, false },
	{ "has said DISCONNECT", 4, false, false, false, false, false, true, false },
};

static void
will_run(unsigned i, enum mqt_stepdown action)
{
	struct flow f = flow_new();
	struct mqt_mqtt_connect connect = connect_of(wills[i].version, false, 500);
	struct mqt_msg msg;
	const struct out *o;
	uint8_t got[16];

	check_row = wills[i].name;
	connect.has_expiry = wills[i].version == 5;
	connect.has_will = !wills[i].no_will;
	world_config();
	w.config.listeners[0].will = wills[i].publish ? MQT_WILL_PUBLISH : MQT_WILL_SUPPRESS;
	w.config.limits.kick_boundary_ms = 0; /* as it stands now */
	world_start();
	if (wills[i].no_room)
		f.window = 60;
	open_with(&f, &connect, no_override);
	grant(&f, NULL);
	if (wills[i].mid_packet)
		send_next(&f, CLIENT, ACK, "\x30\x10\x00\x01", 4);
	else
		send_next(&f, CLIENT, ACK, wills[i].said ? "\xe0\x00" : "\xc0\x00", 2);
	if (wills[i].no_room)
		f.window = 1;
	if (wills[i].no_room) /* what was offered once is not taken back: fill it */
		for (unsigned k = 0; k < 28; k++)
			send_next(&f, CLIENT, ACK, "\xc0\x00", 2);
	if (!wills[i].unacked)
		send_next(&f, BROKER, ACK, NULL, 0);
	out_clear();
	if (action == MQT_STEPDOWN_TAKEOVER_END) {
		msg = begin(&f);
		message_drop(&msg);
	}
	tell(&f, MQT_MSG_STEPDOWN, action);
	drop_messages();
	o = sent(1, 0);
	CHECK_EQ(o->v.tcp_flags & MQT_TCP_RST, wills[i].told ? 0 : MQT_TCP_RST);
	CHECK_EQ(COUNT(WILL_SUPPRESSED), wills[i].told && !wills[i].no_will);
	if (wills[i].told) {
		CHECK_EQ(n_sent(1), 1);
		CHECK_EQ(o->v.tcp_flags & MQT_TCP_FIN, MQT_TCP_FIN);
		CHECK_EQ(o->v.seq, f.seq[CLIENT]);
		CHECK_EQ(o->v.payload_len, 2);
		payload_of(o, got);
		CHECK_MEM(got, "\xe0\x00", 2);
	}
	release(&f);
	world_end();
}

static void
test_will_is_suppressed_where_the_broker_can_be_told(void)
{
	for (unsigned i = 0; i < RTE_DIM(wills); i++) {
		will_run(i, MQT_STEPDOWN_KICK);
		will_run(i, MQT_STEPDOWN_DISCARD);
		will_run(i, MQT_STEPDOWN_TAKEOVER_END);
	}
}

/* --- refusals ---------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum mqt_reason reason;
	uint8_t v5, v3;
} refusals[] = {
	{ "superseded", MQT_REASON_SUPERSEDED, 0x89, 0x03 },
	{ "policy", MQT_REASON_POLICY, 0x97, 0x03 },
	{ "user name", MQT_REASON_USERNAME_MISMATCH, 0x87, 0x05 },
	{ "flapping", MQT_REASON_FLAPPING, 0x89, 0x03 },
};

static void
test_refusals_say_why_and_are_not_let_pass(void)
{
	for (unsigned i = 0; i < RTE_DIM(refusals); i++) {
		for (uint8_t version = 3; version <= 5; version++) {
			struct flow f = flow_new();
			struct mqt_mqtt_connect connect = connect_of(version, true, 0);
			struct mqt_mqtt_connack ack = { 0 };
			uint8_t got[64];

			check_row = refusals[i].name;
			world_begin(); /* fails open */
			open_with(&f, &connect, no_override);
			subscribe(&f, 1, "early");
			out_clear();
			tell(&f, MQT_MSG_REFUSE, refusals[i].reason);
			CHECK_EQ(COUNT(REFUSALS), 1);
			CHECK_EQ(n_sent(0), 1);
			payload_of(sent(0, 0), got);
			CHECK_EQ(mqt_mqtt_connack_parse(got, sent(0, 0)->v.payload_len, version,
						 &ack, NULL),
					MQT_PARSE_OK);
			CHECK_EQ(ack.code, version == 5 ? refusals[i].v5 : refusals[i].v3);
			CHECK_EQ(COUNT(UNTRACKED_POSSIBLE_DUPLICATE), 0);
			CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
			CHECK_NO_MESSAGE();
			world_end();
		}
	}
}

static CU_TestInfo ends_tests[] = {
	TEST(test_session_outlives_its_flow_as_its_expiry_says),
	TEST(test_every_natural_end_hands_the_session_over),
	TEST(test_session_is_not_followed_past_its_handover),
	TEST(test_newcomer_that_dies_leaves_no_session),
	TEST(test_disconnect_of_the_broker_overrides_nothing),
	TEST(test_release_without_info_gives_the_slot_back),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo wire_tests[] = {
	TEST(test_will_is_suppressed_where_the_broker_can_be_told),
	TEST(test_refusals_say_why_and_are_not_let_pass),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "ends", NULL, NULL, NULL, NULL, ends_tests },
	{ "wire", NULL, NULL, NULL, NULL, wire_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
