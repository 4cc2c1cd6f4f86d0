/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ends that the tracker believes and their receiver discards: for an old timestamp, an option, a
 * gap. The connection must not live on at its broker while its client id is free. And ends of the
 * usual kind, which must stay as their peers made them.
 */
#include "conn_rig.h"

#define FIN_MS 5000 /* for a FIN to be acknowledged */

/* Whether an RST with this number has left at a port. */
static bool
rst_sent(uint16_t port, uint32_t seq)
{
	for (unsigned i = 0; i < w.n_out; i++)
		if (w.out[i].port == port && w.out[i].v.tcp_flags & MQT_TCP_RST &&
				w.out[i].v.seq == seq)
			return true;
	return false;
}

/* Nothing of either end passes any more, and the broker's answer ends it at its number. */
static void
check_ended(struct flow *f, uint32_t brokers_next)
{
	out_clear();
	send_at(f, CLIENT, ACK, brokers_next, f->seq[BROKER], "\xc0\x00", 2);
	CHECK_EQ(n_sent(BROKER), 0);
	CHECK_EQ(n_sent(CLIENT), 1);
	CHECK(rst_sent(CLIENT, f->seq[BROKER]));
	out_clear();
	send_at(f, BROKER, ACK, f->seq[BROKER], brokers_next, NULL, 0);
	CHECK_EQ(n_sent(CLIENT), 0);
	CHECK(rst_sent(BROKER, brokers_next));
}

/* --- RST --------------------------------------------------------------------------------------- */

static void
test_believed_rst_resets_its_receiver_until_that_is_silent(void)
{
	for (int side = 0; side < 2; side++) {
		struct flow f = flow_new();
		uint32_t at;

		check_row = side == CLIENT ? "client" : "broker";
		world_begin();
		connected(&f, "c");
		at = f.seq[side];
		send_at(&f, side, RST_ACK, at, f.seq[!side], NULL, 0);
		CHECK_DOWN(&f, side == CLIENT ? MQT_REASON_CLIENT_RESET : MQT_REASON_BROKER_RESET);
		CHECK_EQ(n_sent((uint16_t)!side), 2);
		CHECK_EQ(n_sent((uint16_t)side), 0); /* it knows */
		CHECK_EQ(COUNT(INJECTED_RST), 1);
		CHECK(rst_sent((uint16_t)!side, at));
		out_clear();
		advance(150 * MS);
		if (side == CLIENT) {
			check_ended(&f, at);
			advance(100 * MS); /* it was heard of */
			CHECK_EQ(in_state(MQT_CONN_RELEASING), 0);
			advance(RESET_TIME);
		} else {
			advance(100 * MS);
			CHECK_EQ(n_sent(CLIENT) + n_sent(BROKER), 0);
		}
		CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
		CHECK_NO_MESSAGE();
		release(&f);
		world_end();
	}
}

static void
test_rst_behind_lost_data_ends_the_receiver_at_its_own_number(void)
{
	struct flow f = flow_new();
	uint32_t at;

	world_begin();
	connected(&f, "c");
	at = f.seq[CLIENT];
	send_next(&f, CLIENT, ACK, "\xc0\x00", 2);
	out_clear();
	send_next(&f, CLIENT, RST_ACK, NULL, 0);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_RESET);
	CHECK_EQ(n_sent(BROKER), 3);
	CHECK(rst_sent(BROKER, at));
	CHECK(rst_sent(BROKER, at + 2));
	check_ended(&f, at);
	release(&f);
	world_end();
}

static void
test_doubtful_rst_that_is_believed_resets_its_receiver(void)
{
	struct flow f = flow_new();
	uint32_t at;

	world_begin();
	connected(&f, "c");
	at = f.seq[CLIENT];
	send_at(&f, CLIENT, RST_ACK, at + 100, f.seq[BROKER], NULL, 0);
	CHECK_NO_MESSAGE();
	CHECK_EQ(COUNT(INJECTED_RST), 0);
	advance(2100 * MS);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_RESET);
	CHECK(rst_sent(BROKER, at));
	CHECK_EQ(n_sent(CLIENT), 0);
	check_ended(&f, at);
	release(&f);
	world_end();
}

static void
test_rst_before_connack_leaves_nobody_to_accept_it(void)
{
	struct flow f = flow_new();
	uint8_t buf[256];

	world_begin();
	tcp_open(&f);
	send_next(&f, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), 4, "c"));
	send_at(&f, CLIENT, RST_ACK, f.seq[CLIENT], f.seq[BROKER], NULL, 0);
	out_clear();
	send_next(&f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), 4, 0));
	CHECK_EQ(n_sent(CLIENT), 0);
	CHECK(rst_sent(BROKER, f.seq[CLIENT]));
	CHECK_NO_MESSAGE();
	world_end();
}

/* --- FIN --------------------------------------------------------------------------------------- */

static void
test_channel_lives_until_its_fin_is_acknowledged(void)
{
	for (int side = 0; side < 2; side++) {
		struct flow f = flow_new();

		check_row = side == CLIENT ? "client" : "broker";
		world_begin();
		connected(&f, "c");
		send_next(&f, side, FIN_ACK, NULL, 0);
		send_at(&f, !side, ACK, f.seq[!side], f.seq[side] - 1, NULL, 0);
		advance((FIN_MS - 100) * MS);
		CHECK_NO_MESSAGE();
		CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
		send_next(&f, !side, ACK, NULL, 0);
		CHECK_DOWN(&f,
				side == CLIENT ? MQT_REASON_CLIENT_CLOSED
					       : MQT_REASON_BROKER_CLOSED);
		advance(10 * SEC);
		CHECK_EQ(w.n_out, 3);
		release(&f);
		world_end();
	}
}

static void
test_fin_without_acknowledgement_resets_both_ends(void)
{
	for (int side = 0; side < 2; side++) {
		struct flow f = flow_new();
		uint32_t at;

		check_row = side == CLIENT ? "client" : "broker";
		world_begin();
		connected(&f, "c");
		at = f.seq[side];
		send_next(&f, side, FIN_ACK, NULL, 0);
		CHECK_NO_MESSAGE();
		advance((FIN_MS + 500) * MS);
		CHECK_DOWN(&f,
				side == CLIENT ? MQT_REASON_CLIENT_CLOSED
					       : MQT_REASON_BROKER_CLOSED);
		CHECK_EQ(COUNT(FIN_UNANSWERED), 1);
		CHECK(rst_sent((uint16_t)!side, at));
		CHECK(rst_sent((uint16_t)!side, at + 1));
		CHECK(rst_sent((uint16_t)side, f.seq[!side]));
		release(&f);
		world_end();
	}
}

static const struct {
	const char *name;
	int32_t at; /* from the FIN's number */
	unsigned flags;
	const char *data;
	bool acked, ends;
} behind[] = {
	{ "data in the FIN's place", 0, ACK, "\xc0", false, true },
	{ "data behind it", 1, ACK, "\xc0", false, true },
	{ "data far behind it", 1000, ACK, "\xc0", false, true },
	{ "another FIN", 1, FIN_ACK, "", false, true },
	{ "data once it is acknowledged", 0, ACK, "\xc0", true, true },
	{ "another FIN then", 7, FIN_ACK, "", true, true },
	{ "the FIN again", 0, FIN_ACK, "", false, false },
	{ "the FIN again, acknowledged", 0, FIN_ACK, "", true, false },
	{ "bytes before it again", -2, FIN_ACK, "\xc0\xd0", false, false },
	{ "an acknowledgement", 1, ACK, "", false, false },
	{ "an old number", -1, ACK, "", false, false },
};

static void
test_bytes_behind_a_fin_reset_both_ends(void)
{
	for (unsigned i = 0; i < RTE_DIM(behind); i++) {
		struct flow f = flow_new();
		uint32_t at;

		check_row = behind[i].name;
		world_begin();
		connected(&f, "c");
		at = f.seq[CLIENT];
		send_next(&f, CLIENT, FIN_ACK, NULL, 0);
		if (behind[i].acked)
			send_next(&f, BROKER, ACK, NULL, 0);
		out_clear();
		send_at(&f, CLIENT, behind[i].flags, at + (uint32_t)behind[i].at, f.seq[BROKER],
				behind[i].data, strlen(behind[i].data));
		CHECK_EQ(COUNT(BEHIND_FIN), behind[i].ends);
		CHECK_EQ(n_sent(CLIENT), behind[i].ends);
		if (behind[i].ends) {
			CHECK(rst_sent(BROKER, at + behind[i].acked));
			CHECK(rst_sent(CLIENT, f.seq[BROKER]));
		} else {
			CHECK_EQ(n_sent(BROKER), 1); /* it passes */
			CHECK_EQ(COUNT(INJECTED_RST), 0);
			send_next(&f, BROKER, ACK, NULL, 0);
		}
		CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
		CHECK_NO_MESSAGE();
		release(&f);
		world_end();
	}
}

static void
test_fin_before_bytes_that_have_left_resets_both_ends(void)
{
	struct flow f = flow_new();
	uint32_t at;

	world_begin();
	connected(&f, "c");
	at = f.seq[CLIENT];
	send_at(&f, CLIENT, ACK, at + 4, f.seq[BROKER], "\xc0\x00", 2);
	send_at(&f, CLIENT, FIN_ACK, at, f.seq[BROKER], NULL, 0);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
	CHECK_EQ(COUNT(BEHIND_FIN), 1);
	CHECK(rst_sent(BROKER, at));
	release(&f);
	world_end();
}

static void
test_acknowledgement_of_more_than_the_fin_is_none(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "c");
	send_next(&f, CLIENT, FIN_ACK, NULL, 0);
	send_at(&f, BROKER, ACK, f.seq[BROKER], f.seq[CLIENT] + 2, NULL, 0);
	CHECK_NO_MESSAGE();
	advance((FIN_MS + 500) * MS);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
	CHECK_EQ(COUNT(FIN_UNANSWERED), 1);
	release(&f);
	world_end();
}

static void
test_fin_of_a_gap_given_up_has_its_whole_time(void)
{
	for (unsigned answered = 0; answered < 2; answered++) {
		struct flow f = flow_new();

		check_row = answered ? "answered" : "unanswered";
		world_begin();
		connected(&f, "c");
		f.seq[CLIENT] += 2;
		send_next(&f, CLIENT, FIN_ACK, NULL, 0);
		advance(10100 * MS);
		CHECK_EQ(COUNT(ANOMALY_GAP), 1);
		advance((FIN_MS - 500) * MS);
		CHECK_NO_MESSAGE();
		if (answered)
			send_next(&f, BROKER, ACK, NULL, 0);
		else
			advance(SEC);
		CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
		CHECK_EQ(COUNT(FIN_UNANSWERED), !answered);
		CHECK_EQ(COUNT(INJECTED_RST) == 0, answered);
		release(&f);
		world_end();
	}
}

static void
test_stepdown_before_the_acknowledgement_closes_the_wire(void)
{
	struct flow f = flow_new();
	uint32_t at;

	world_begin();
	connected(&f, "c");
	at = f.seq[CLIENT];
	send_next(&f, CLIENT, FIN_ACK, NULL, 0);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_DISCARD);
	CHECK_DOWN(&f, MQT_REASON_DISCARDED);
	check_stepdown_done();
	CHECK(rst_sent(BROKER, at));
	check_ended(&f, at);
	release(&f);
	world_end();
}

/* --- ends of the usual kind -------------------------------------------------------------------- */

static void
test_usual_close_passes_and_nothing_is_injected(void)
{
	for (unsigned i = 0; i < RTE_DIM(shapes); i++) {
		for (int side = 0; side < 2; side++) {
			for (unsigned answer = 0; answer < 2; answer++) {
				struct flow f = flow_of(&shapes[i]);
				struct mqt_msg msg;

				world_begin();
				connected(&f, "c");
				send_next(&f, CLIENT, ACK, "\xe0\x00", 2);
				send_next(&f, side, FIN_ACK, NULL, 0);
				if (answer) /* not with its FIN */
					send_next(&f, !side, ACK, NULL, 0);
				send_next(&f, !side, FIN_ACK, NULL, 0);
				msg = next_message();
				CHECK_EQ(msg.type, f.version == 5 ? MQT_MSG_CLOSED : MQT_MSG_DOWN);
				CHECK_EQ(msg.reason, MQT_REASON_CLIENT_DISCONNECT);
				message_drop(&msg);
				send_next(&f, side, ACK, NULL, 0);
				CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
				CHECK_EQ(w.n_out, 4 + answer);
				CHECK_EQ(COUNT(INJECTED_RST), 0);
				CHECK_EQ(COUNT(BEHIND_FIN), 0);
				CHECK_NO_MESSAGE();
				release(&f);
				world_end();
			}
		}
	}
}

static void
test_rst_in_answer_to_a_fin_ends_the_channel_as_closed(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "c");
	send_next(&f, CLIENT, FIN_ACK, NULL, 0);
	send_next(&f, BROKER, RST_ACK, NULL, 0);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
	CHECK_NO_MESSAGE();
	release(&f);
	world_end();
}

static CU_TestInfo rst_tests[] = {
	TEST(test_believed_rst_resets_its_receiver_until_that_is_silent),
	TEST(test_rst_behind_lost_data_ends_the_receiver_at_its_own_number),
	TEST(test_doubtful_rst_that_is_believed_resets_its_receiver),
	TEST(test_rst_before_connack_leaves_nobody_to_accept_it),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo fin_tests[] = {
	TEST(test_channel_lives_until_its_fin_is_acknowledged),
	TEST(test_fin_without_acknowledgement_resets_both_ends),
	TEST(test_bytes_behind_a_fin_reset_both_ends),
	TEST(test_fin_before_bytes_that_have_left_resets_both_ends),
	TEST(test_acknowledgement_of_more_than_the_fin_is_none),
	TEST(test_fin_of_a_gap_given_up_has_its_whole_time),
	TEST(test_stepdown_before_the_acknowledgement_closes_the_wire),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo usual_tests[] = {
	TEST(test_usual_close_passes_and_nothing_is_injected),
	TEST(test_rst_in_answer_to_a_fin_ends_the_channel_as_closed),
	CU_TEST_INFO_NULL,
};

int
main(void)
{
	CU_SuiteInfo suites[] = {
		{ "rst", NULL, NULL, NULL, NULL, rst_tests },
		{ "fin", NULL, NULL, NULL, NULL, fin_tests },
		{ "usual", NULL, NULL, NULL, NULL, usual_tests },
		CU_SUITE_INFO_NULL,
	};

	return rig_run(suites);
}
