/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How the answers to the segments that close a flow are taken, and what else comes for it meanwhile:
 * nothing passes (R15), ends that are gone are left in peace, a SYN alone changes nothing (R17).
 */
#include "conn_close_rig.h"

/* A client of 5.0 that has been told and has not answered; its broker has got RST. */
static struct flow
kicked(void)
{
	struct flow f = flow_new();

	f.version = 5;
	connected(&f, "c");
	step_down(&f, MQT_STEPDOWN_KICK);
	CHECK_EQ(sent(0, 0)->v.tcp_flags, FIN_PSH_ACK);
	f.seq[BROKER] += sent(0, 0)->v.payload_len + 1u;
	out_clear();
	return f;
}

/* --- nothing passes (R15) ---------------------------------------------------------------------- */

static const struct {
	const char *name;
	unsigned flags;
	const char *payload;
	int32_t off; /* of its sequence number from the next one */
} kinds[] = {
	{ "ack", ACK, "", 0 },
	{ "old data", ACK, "\xc0\x00", -2 },
	{ "new data", ACK, "\xc0\x00", 0 },
	{ "data behind a gap", ACK, "\xc0\x00", 100 },
	{ "urgent data", ACK | MQT_TCP_URG, "\xc0\x00", 0 },
	{ "fin", FIN_ACK, "", 0 },
	{ "data and fin", FIN_ACK, "\xc0\x00", 0 },
	{ "rst", RST_ACK, "", 0 },
	{ "rst without ack", MQT_TCP_RST, "", 0 },
	{ "rst out of the window", RST_ACK, "", -1000 },
	{ "no flags", 0, "\xc0\x00", 0 },
};

static void
test_nothing_passes_a_flow_that_is_being_closed(void)
{
	for (unsigned i = 0; i < RTE_DIM(kinds); i++) {
		for (int side = CLIENT; side <= BROKER; side++) {
			for (uint8_t version = 4; version <= 5; version++) {
				size_t len = kinds[i].payload[0] ? 2 : 0;
				struct flow f = flow_new();

				check_row = kinds[i].name;
				world_begin();
				f.version = version;
				connected(&f, "c");
				step_down(&f, MQT_STEPDOWN_KICK);
				out_clear();
				send_at(&f, side, kinds[i].flags,
						f.seq[side] + (uint32_t)kinds[i].off, f.seq[!side],
						kinds[i].payload, len);
				CHECK_EQ(n_sent((uint16_t)!side), 0);
				for (unsigned k = 0; k < w.n_out; k++)
					CHECK_EQ(w.out[k].v.payload_len, 0);
				CHECK_EQ(COUNT(CLOSING_DROPPED), 1);
				CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
				release(&f);
				world_end();
			}
		}
	}
}

static void
test_fin_is_acknowledged_each_time_it_comes(void)
{
	struct flow f;
	uint32_t behind, before;

	world_begin();
	f = kicked();
	behind = f.seq[BROKER];
	before = behind - 5; /* it has not got ours: they cross */
	for (unsigned i = 0; i < 2; i++) {
		out_clear();
		send_at(&f, CLIENT, FIN_ACK, f.seq[CLIENT], before, NULL, 0);
		CHECK_EQ(w.n_out, 1);
		CHECK_EQ(sent(0, 0)->v.tcp_flags, MQT_TCP_ACK);
		CHECK_EQ(sent(0, 0)->v.seq, behind);
		CHECK_EQ(sent(0, 0)->v.ack, f.seq[CLIENT] + 1);
		out_clear();
		until_sent();
		CHECK_EQ(n_sent(0), 1); /* ours is repeated until acknowledged */
		CHECK_EQ(sent(0, 0)->v.tcp_flags, FIN_PSH_ACK);
		CHECK_EQ(sent(0, 0)->v.ack, f.seq[CLIENT] + 1);
	}
	out_clear();
	send_at(&f, CLIENT, ACK, f.seq[CLIENT] + 1, behind, NULL, 0);
	CHECK_EQ(w.n_out, 0);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 1); /* for its broker */
	send_at(&f, CLIENT, FIN_ACK, f.seq[CLIENT], behind, NULL, 0);
	CHECK_EQ(n_sent(0), 1);
	CHECK_EQ(sent(0, 0)->v.ack, f.seq[CLIENT] + 1);
	CHECK_EQ(n_sent(1), 0);
	out_clear();
	advance(2 * SEC);
	CHECK_EQ(n_sent(0), 0); /* it is done */
	CHECK(n_sent(1) > 0);
	send_at(&f, BROKER, RST_ACK, f.seq[BROKER] - 5, f.seq[CLIENT], NULL, 0);
	CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
	release(&f);
	world_end();
}

static void
test_client_that_never_closes_is_reset_behind_our_fin(void)
{
	struct flow f;
	bool reset = false;

	world_begin();
	f = kicked();
	send_at(&f, CLIENT, ACK, f.seq[CLIENT], f.seq[BROKER], NULL, 0);
	CHECK_EQ(w.n_out, 0);
	advance(10 * SEC);
	for (unsigned i = 0; i < n_sent(0); i++) {
		CHECK_EQ(sent(0, i)->v.tcp_flags, RST_ACK);
		reset |= sent(0, i)->v.seq == f.seq[BROKER];
	}
	CHECK(reset);
	CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
	release(&f);
	world_end();
}

/* --- ends that are gone ------------------------------------------------------------------------ */

static const struct {
	const char *name;
	int side;
	unsigned flags;
	enum mqt_reason reason;
} gone[] = {
	{ "client closed", CLIENT, FIN_ACK, MQT_REASON_CLIENT_CLOSED },
	{ "broker closed", BROKER, FIN_ACK, MQT_REASON_BROKER_CLOSED },
	{ "client reset", CLIENT, RST_ACK, MQT_REASON_CLIENT_RESET },
	{ "broker reset", BROKER, RST_ACK, MQT_REASON_BROKER_RESET },
};

static void
test_stepdown_of_what_has_ended_injects_nothing(void)
{
	for (unsigned i = 0; i < 2 * RTE_DIM(gone); i++) {
		unsigned k = i / 2;
		struct flow f = flow_new();
		struct mqt_msg msg;
		uint64_t injected;

		check_row = gone[k].name;
		world_begin();
		connected(&f, "c");
		send_next(&f, gone[k].side, gone[k].flags, NULL, 0);
		if (gone[k].flags == FIN_ACK)
			send_next(&f, !gone[k].side, ACK, NULL, 0);
		CHECK_DOWN(&f, gone[k].reason);
		if (gone[k].flags != FIN_ACK)
			advance(RESET_TIME); /* of the other end */
		injected = COUNT(INJECTED_RST);
		out_clear();
		tell(&f, MQT_MSG_STEPDOWN, actions[i & 1]);
		msg = next_message();
		CHECK_EQ(msg.type, MQT_MSG_STEPDOWN_DONE);
		CHECK_EQ(msg.result, -ENOENT);
		CHECK_NO_MESSAGE();
		advance(2 * SEC);
		CHECK_EQ(w.n_out, 0);
		if (gone[k].flags == FIN_ACK) {
			/* the other half ends by itself */
			send_next(&f, !gone[k].side, ACK, "\xd0\x00", 2);
			send_next(&f, !gone[k].side, FIN_ACK, NULL, 0);
			CHECK_EQ(n_sent((uint16_t)gone[k].side), 2);
			send_next(&f, gone[k].side, ACK, NULL, 0);
			CHECK_EQ(w.n_out, 3);
		}
		CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
		CHECK_EQ(COUNT(INJECTED_RST), injected);
		release(&f);
		world_end();
	}
}

static void
test_end_that_answers_by_rst_is_left_in_peace(void)
{
	for (int side = CLIENT; side <= BROKER; side++) {
		struct flow f = flow_new();

		check_row = side == CLIENT ? "client" : "broker";
		world_begin();
		connected(&f, "c");
		step_down(&f, MQT_STEPDOWN_DISCARD);
		/* not one that it cannot have sent */
		send_at(&f, side, RST_ACK, f.seq[side] + 0x10000000, f.seq[!side], NULL, 0);
		CHECK_EQ(COUNT(OUT_OF_WINDOW), 1);
		out_clear();
		until_sent();
		CHECK_EQ(n_sent((uint16_t)side), 1);
		send_at(&f, side, RST_ACK, f.seq[side], f.seq[!side], NULL, 0);
		out_clear();
		advance(SEC);
		CHECK_EQ(n_sent((uint16_t)side), 0);
		CHECK(n_sent((uint16_t)!side) > 0);
		send_at(&f, !side, RST_ACK, f.seq[!side], f.seq[side], NULL, 0);
		CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
		out_clear();
		advance(10 * SEC);
		CHECK_EQ(w.n_out, 0);
		release(&f);
		world_end();
	}
}

/* The other end has acknowledged what this one never sent. */
static void
test_rst_at_the_own_number_ends_it_whatever_of_ours_was_acknowledged(void)
{
	for (int side = CLIENT; side <= BROKER; side++) {
		struct flow f = flow_new();
		uint32_t own[2];

		check_row = side == CLIENT ? "client" : "broker";
		world_config();
		w.config.listeners[0].will = MQT_WILL_SUPPRESS;
		world_start();
		f.version = 5;
		connected(&f, "c");
		own[CLIENT] = f.seq[CLIENT];
		own[BROKER] = f.seq[BROKER];
		step_down(&f, MQT_STEPDOWN_KICK);
		send_at(&f, !side, FIN_ACK, own[!side],
				own[side] + sent((uint16_t)!side, 0)->v.payload_len + 1u, NULL, 0);
		CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
		send_at(&f, side, RST_ACK, own[side] - 1, own[!side], NULL, 0);
		CHECK_EQ(COUNT(OUT_OF_WINDOW), 1);
		CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
		send_at(&f, side, RST_ACK, own[side], own[!side], NULL, 0);
		CHECK_EQ(COUNT(OUT_OF_WINDOW), 1);
		CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
		release(&f);
		world_end();
	}
}

static void
test_silent_ends_are_reset_five_times_and_forgotten(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "c");
	step_down(&f, MQT_STEPDOWN_DISCARD);
	advance(6 * SEC); /* 0.2 + 0.4 + 0.8 + 1.6 + 3.2 s */
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
	advance(SEC);
	CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
	CHECK_EQ(n_sent(0), 5);
	CHECK_EQ(n_sent(1), 5);
	for (unsigned i = 0; i < w.n_out; i++) {
		CHECK_EQ(w.out[i].v.tcp_flags, RST_ACK);
		CHECK_EQ(w.out[i].v.seq, f.seq[!w.out[i].port]);
	}
	release(&f);
	world_end();
}

/* --- new incarnations (R17) -------------------------------------------------------------------- */

static void
test_forged_syn_changes_nothing_of_a_close(void)
{
	struct flow f;

	world_begin();
	f = kicked();
	for (uint32_t i = 1; i < 20; i++)
		send_at(&f, CLIENT, MQT_TCP_SYN, 77777 * i, 0, NULL, 0);
	send_at(&f, CLIENT, MQT_TCP_SYN, 1000, 0, NULL, 0); /* the flow's own once more */
	CHECK_EQ(n_sent(0), 0);
	CHECK_EQ(n_sent(1), 20);
	for (unsigned i = 0; i < 20; i++)
		CHECK_EQ(sent(1, i)->v.tcp_flags, MQT_TCP_SYN);
	CHECK_EQ(COUNT(CLOSING_DROPPED), 0);
	out_clear();
	/* a SYN/ACK that answers none of them is held back, a challenge is answered */
	send_at(&f, BROKER, SYN_ACK, 5, 6, NULL, 0);
	CHECK_EQ(w.n_out, 0);
	send_at(&f, BROKER, ACK, f.seq[BROKER] - 5, f.seq[CLIENT], NULL, 0);
	CHECK_EQ(w.n_out, 1);
	CHECK_EQ(sent(1, 0)->v.tcp_flags, RST_ACK);
	CHECK_EQ(sent(1, 0)->v.seq, f.seq[CLIENT]);
	out_clear();
	send_next(&f, CLIENT, FIN_ACK, NULL, 0);
	CHECK_EQ(w.n_out, 1);
	CHECK_EQ(sent(0, 0)->v.tcp_flags, MQT_TCP_ACK);
	CHECK_EQ(sent(0, 0)->v.ack, f.seq[CLIENT]);
	CHECK_EQ(COUNT(REPLACED), 0);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
	release(&f);
	world_end();
}

static void
test_syns_do_not_prolong_a_close(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "c");
	step_down(&f, MQT_STEPDOWN_DISCARD);
	for (uint32_t i = 0; i < 35; i++) {
		send_at(&f, CLIENT, MQT_TCP_SYN, 0x30000000, 0, NULL, 0);
		advance(200 * MS);
	}
	CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
	release(&f);
	world_end();
}

static void
test_synack_alone_commits_a_new_incarnation(void)
{
	struct flow f, g;
	uint8_t buf[64];
	size_t len = connect_packet(buf, sizeof(buf), 5, "c");

	world_begin();
	f = kicked();
	g = f;
	g.seq[CLIENT] = 0x70000000;
	g.seq[BROKER] = 0x60000000;
	send_next(&g, CLIENT, MQT_TCP_SYN, NULL, 0);
	CHECK_EQ(n_sent(1), 1);
	until_sent();
	out_clear();
	advance(SEC);
	CHECK(n_sent(0) > 0); /* the old one is still being closed */
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
	out_clear();
	send_next(&g, BROKER, SYN_ACK, NULL, 0);
	CHECK_EQ(COUNT(REPLACED), 1);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 0);
	advance(SEC);
	CHECK_EQ(w.n_out, 1); /* the SYN/ACK: nothing of the old one disturbs it */
	send_next(&g, CLIENT, ACK, NULL, 0);
	send_next(&g, CLIENT, ACK, buf, len);
	CHECK_EQ(n_sent(1), 2);
	CHECK_EQ(sent(1, 1)->v.payload_len, len);
	CHECK_EQ(n_sent(0), 1);
	CHECK_NO_MESSAGE(); /* the old one was down already */
	release(&f);
	world_end();
}

static CU_TestInfo answer_tests[] = {
	TEST(test_nothing_passes_a_flow_that_is_being_closed),
	TEST(test_fin_is_acknowledged_each_time_it_comes),
	TEST(test_client_that_never_closes_is_reset_behind_our_fin),
	TEST(test_stepdown_of_what_has_ended_injects_nothing),
	TEST(test_end_that_answers_by_rst_is_left_in_peace),
	TEST(test_rst_at_the_own_number_ends_it_whatever_of_ours_was_acknowledged),
	TEST(test_silent_ends_are_reset_five_times_and_forgotten),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo syn_tests[] = {
	TEST(test_forged_syn_changes_nothing_of_a_close),
	TEST(test_syns_do_not_prolong_a_close),
	TEST(test_synack_alone_commits_a_new_incarnation),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "answers", NULL, NULL, NULL, NULL, answer_tests },
	{ "syn", NULL, NULL, NULL, NULL, syn_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
