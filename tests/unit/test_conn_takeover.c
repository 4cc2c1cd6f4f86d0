/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Takeover of connections: the session is handed over, and what a frozen flow lets pass (nothing).
 */
#include "conn_session_rig.h"

static void
end_ok(struct flow *f, unsigned n_pendings)
{
	struct mqt_msg msg;

	tell(f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_END);
	CHECK_DOWN(f, MQT_REASON_TAKEN_OVER);
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_STEPDOWN_DONE);
	CHECK_EQ(msg.action, MQT_STEPDOWN_TAKEOVER_END);
	CHECK_EQ(msg.result, 0);
	CHECK_EQ(msg.token, 42);
	CHECK_EQ(msg.pendings ? msg.pendings->n : 0, n_pendings);
	message_drop(&msg);
}

static void
test_takeover_hands_over_session_then_pendings_and_closes(void)
{
	for (uint8_t version = 3; version <= 5; version++) {
		struct flow f = flow_new();
		struct mqt_session_final final;
		struct mqt_msg msg;
		uint8_t got[16];

		check_row = version == 5 ? "5.0" : "3.x";
		world_begin();
		lasting(&f, version);
		subscribe(&f, 1, "s");
		publish_to_client(&f, 21);
		publish_to_client(&f, 22);
		out_clear();
		msg = begin(&f);
		CHECK_EQ(msg.result, 0);
		CHECK_EQ(counts_of(msg.session).filters, 1);
		CHECK_EQ(counts_of(msg.session).inflight[MQT_SESSION_TO_CLIENT], 0);
		mqt_session_final(msg.session, &final);
		CHECK_EQ(final.expiry_sec, version == 5 ? 500 : 7200);
		CHECK_EQ(final.counter[MQT_SEND_MSG], 2);
		message_drop(&msg);
		CHECK_EQ(w.n_out, 0);
		CHECK_EQ(COUNT(FROZEN), 1);
		CHECK_EQ(in_state(MQT_CONN_FROZEN), 1);
		CHECK(inspect(&f) == NULL);
		end_ok(&f, 2);
		CHECK_EQ(COUNT(STEPDOWNS), 1);
		CHECK_EQ(n_sent(0), 1);
		CHECK_EQ(n_sent(1), 1);
		CHECK_EQ(sent(1, 0)->v.tcp_flags, RST_ACK);
		if (version == 5) {
			payload_of(sent(0, 0), got);
			CHECK_EQ(got[0], 0xe0);
			CHECK_EQ(got[2], 0x8e);
		} else {
			CHECK_EQ(sent(0, 0)->v.tcp_flags, RST_ACK);
		}
		release(&f);
		advance(60 * SEC);
		CHECK_EQ(in_state(MQT_CONN_FREE), 64);
		CHECK_NO_MESSAGE();
		world_end();
	}
}

static void
test_takeover_of_a_flow_without_session_hands_over_nothing(void)
{
	struct flow f = flow_new();
	struct mqt_msg msg;

	world_begin();
	connected(&f, "c");
	msg = begin(&f);
	CHECK_EQ(msg.result, 0);
	CHECK(msg.session == NULL);
	end_ok(&f, 0);
	release(&f);
	world_end();
}

static void
test_frozen_flow_lets_nothing_pass(void)
{
	static const uint8_t flags[] = { ACK, FIN_ACK, RST_ACK, MQT_TCP_RST, MQT_TCP_SYN, SYN_ACK };
	struct flow f = flow_new();
	struct mqt_msg msg;
	unsigned n = 0;

	world_begin();
	lasting(&f, 5);
	/* something behind a gap, in both directions */
	for (int side = 0; side < 2; side++)
		send_at(&f, side, ACK, f.seq[side] + 10, f.seq[!side], "\xc0\x00", 2);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->parked), 2);
	out_clear();
	msg = begin(&f);
	message_drop(&msg);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->parked), 0);
	for (int side = 0; side < 2; side++)
		for (unsigned i = 0; i < RTE_DIM(flags); i++)
			for (unsigned len = 0; len <= 2; len += 2, n++)
				send_at(&f, side, flags[i], f.seq[side], f.seq[!side], "\xc0\x00",
						len);
	CHECK_EQ(w.n_out, 0);
	CHECK_EQ(COUNT(FROZEN_DROPPED), n);
	CHECK_NO_MESSAGE();
	CHECK_EQ(in_state(MQT_CONN_FROZEN), 1);
	CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 1);
	end_ok(&f, 0);
	release(&f);
	world_end();
}

static void
test_acknowledgement_while_frozen_lets_the_client_be_told(void)
{
	for (unsigned acked = 0; acked < 2; acked++) {
		struct flow f = flow_new();
		struct mqt_msg msg;
		uint8_t buf[64];

		check_row = acked ? "acknowledged" : "not acknowledged";
		world_begin();
		lasting(&f, 5);
		send_next(&f, BROKER, ACK, buf, qos_packet(buf, 5, 1, 21));
		out_clear();
		msg = begin(&f);
		message_drop(&msg);
		if (acked)
			send_next(&f, CLIENT, ACK, NULL, 0);
		end_ok(&f, 1);
		CHECK_EQ(COUNT(INJECTED_DISCONNECT), acked);
		release(&f);
		world_end();
	}
}

static void
test_takeover_of_what_cannot_be_taken_over_fails(void)
{
	struct flow f = flow_new(), g = flow_new();
	struct mqt_mqtt_connect connect = connect_of(5, false, 500);
	struct mqt_msg msg;

	world_begin();
	open_with(&f, &connect, no_override);
	CHECK_EQ(begin(&f).result, -EINVAL); /* not registered yet */
	CHECK_EQ(COUNT(UNEXPECTED_MSG), 1);
	grant(&f, NULL);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_END); /* without a begin */
	CHECK_EQ(next_message().result, -EINVAL);
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
	msg = begin(&f);
	CHECK_EQ(msg.result, 0);
	message_drop(&msg);
	CHECK_EQ(begin(&f).result, -EINVAL); /* twice */
	CHECK_EQ(COUNT(UNEXPECTED_MSG), 3);
	end_ok(&f, 0);
	CHECK_EQ(begin(&f).result, -ENOENT); /* closing */
	release(&f);
	CHECK_EQ(begin(&f).result, -ENOENT); /* gone */
	CHECK_EQ(COUNT(STEPDOWN_NOPROC), 2);
	/* ended by itself, its CLOSED came first */
	lasting(&g, 5);
	send_fin(&g, CLIENT);
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_CLOSED);
	message_drop(&msg);
	CHECK_EQ(begin(&g).result, -ENOENT);
	release(&g);
	world_end();
}

static void
test_frozen_flow_without_end_closes_by_itself(void)
{
	struct flow f = flow_new();
	struct mqt_msg msg;

	world_begin();
	lasting(&f, 5);
	publish_to_client(&f, 21);
	out_clear();
	msg = begin(&f);
	message_drop(&msg);
	advance(19 * SEC);
	CHECK_NO_MESSAGE();
	CHECK_EQ(w.n_out, 0);
	advance(2 * SEC);
	CHECK_DOWN(&f, MQT_REASON_TAKEN_OVER);
	CHECK_EQ(COUNT(INJECTED_DISCONNECT) > 0, 1);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_END);
	CHECK_EQ(next_message().result, -ENOENT);
	release(&f);
	advance(60 * SEC);
	CHECK_EQ(in_state(MQT_CONN_FREE), 64);
	world_end();
}

static void
test_killed_while_frozen_is_down_killed(void)
{
	static const char *const rows[] = { "a segment", "the timer", "takeover end", "discard" };

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flow f = flow_new();
		struct mqt_msg msg;

		check_row = rows[i];
		world_begin();
		lasting(&f, 5);
		publish_to_client(&f, 21);
		out_clear();
		msg = begin(&f);
		message_drop(&msg);
		CHECK(kill_channel(&f));
		if (i == 0)
			send_next(&f, CLIENT, ACK, "\xc0\x00", 2);
		else if (i == 1)
			advance(21 * SEC);
		else
			tell(&f, MQT_MSG_STEPDOWN,
					i == 2 ? MQT_STEPDOWN_TAKEOVER_END : MQT_STEPDOWN_DISCARD);
		CHECK_DOWN(&f, MQT_REASON_KILLED);
		for (unsigned k = 0; k < w.n_out; k++)
			CHECK_EQ(w.out[k].v.tcp_flags, RST_ACK);
		if (i >= 2) {
			msg = next_message();
			CHECK_EQ(msg.type, MQT_MSG_STEPDOWN_DONE);
			CHECK(msg.pendings == NULL);
		}
		CHECK_NO_MESSAGE();
		release(&f);
		world_end();
	}
}

static void
test_killed_before_begin_is_noproc(void)
{
	struct flow f = flow_new();
	struct mqt_msg msg;

	world_begin();
	lasting(&f, 5);
	subscribe(&f, 1, "s");
	CHECK(kill_channel(&f));
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_BEGIN);
	CHECK_DOWN(&f, MQT_REASON_KILLED);
	msg = next_message();
	CHECK_EQ(msg.result, -ENOENT);
	CHECK(msg.session == NULL);
	release(&f);
	world_end();
}

static void
test_frozen_flow_steps_down_for_a_kick(void)
{
	struct flow f = flow_new();
	struct mqt_msg msg;

	world_begin();
	lasting(&f, 5);
	publish_to_client(&f, 21);
	msg = begin(&f);
	message_drop(&msg);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	CHECK_DOWN(&f, MQT_REASON_KICKED);
	CHECK_EQ(next_message().type, MQT_MSG_STEPDOWN_DONE);
	CHECK_NO_MESSAGE();
	release(&f);
	world_end();
}

static void
test_tracker_that_stops_frees_what_flows_own(void)
{
	struct flow f = flow_new(), g = flow_new(), h = flow_new();
	struct mqt_mqtt_connect connect = connect_of(4, false, 0);
	struct mqt_msg msg;

	world_begin();
	lasting(&f, 5);
	subscribe(&f, 1, "s");
	send_next(&f, CLIENT, ACK, "\x82\x10\x00", 3); /* a packet that is cut */
	lasting(&g, 4);
	publish_to_client(&g, 21);
	msg = begin(&g);
	message_drop(&msg);
	open_with(&h, &connect, no_override);
	subscribe(&h, 1, "early");
	free(f.info);
	free(g.info);
	free(h.info);
	world_end();
}

static CU_TestInfo takeover_tests[] = {
	TEST(test_takeover_hands_over_session_then_pendings_and_closes),
	TEST(test_takeover_of_a_flow_without_session_hands_over_nothing),
	TEST(test_frozen_flow_lets_nothing_pass),
	TEST(test_acknowledgement_while_frozen_lets_the_client_be_told),
	TEST(test_takeover_of_what_cannot_be_taken_over_fails),
	TEST(test_frozen_flow_without_end_closes_by_itself),
	TEST(test_killed_while_frozen_is_down_killed),
	TEST(test_killed_before_begin_is_noproc),
	TEST(test_frozen_flow_steps_down_for_a_kick),
	TEST(test_tracker_that_stops_frees_what_flows_own),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "takeover", NULL, NULL, NULL, NULL, takeover_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
