/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stepping down on the wire (R14, R15, R16).
 */
#include "conn_rig.h"

static void
test_v5_client_gets_disconnect_and_fin(void)
{
	static const enum mqt_stepdown actions[] = { MQT_STEPDOWN_KICK, MQT_STEPDOWN_DISCARD };

	for (unsigned i = 0; i < RTE_DIM(actions); i++) {
		enum mqt_stepdown action = actions[i];
		struct flow f = flow_of(&shapes[3]);
		struct mqt_tcp_options opt;
		const struct out *o;
		uint8_t got[16];

		check_row = action == MQT_STEPDOWN_KICK ? "kick" : "discard";
		world_begin();
		connected(&f, "c");
		w.now += 5 * SEC;
		tell(&f, MQT_MSG_STEPDOWN, action);
		CHECK_DOWN(&f,
				action == MQT_STEPDOWN_KICK ? MQT_REASON_KICKED
							    : MQT_REASON_DISCARDED);
		check_stepdown_done();
		CHECK_EQ(n_sent(0), 1);
		o = sent(0, 0);
		CHECK_EQ(o->v.seq, f.seq[BROKER]);
		CHECK_EQ(o->v.ack, f.seq[CLIENT]);
		CHECK_EQ(o->v.tcp_flags, MQT_TCP_FIN | MQT_TCP_PSH | MQT_TCP_ACK);
		payload_of(o, got);
		CHECK_EQ(got[0], 0xe0);
		CHECK_EQ(got[2], action == MQT_STEPDOWN_KICK ? 0x98 : 0x8e);
		CHECK_EQ(rte_pktmbuf_mtod(o->m, uint8_t *)[5], 0x20); /* towards the client */
		mqt_pkt_tcp_options(o->m, &o->v, &opt);
		CHECK(opt.has_ts);
		CHECK_EQ(opt.ts_val, 9000 + 5000);
		CHECK_EQ(opt.ts_ecr, 5000);
		CHECK(mqt_pkt_checksum_ok(o->m, &o->v));
		CHECK_EQ(n_sent(1), 1);
		CHECK_EQ(sent(1, 0)->v.tcp_flags & MQT_TCP_RST, MQT_TCP_RST);
		CHECK_EQ(sent(1, 0)->v.seq, f.seq[CLIENT]);
		CHECK_EQ(rte_pktmbuf_mtod(sent(1, 0)->m, uint8_t *)[5], 0x21);
		/* it acknowledges and closes */
		out_clear();
		f.seq[BROKER] += o->v.payload_len + 1;
		send_next(&f, CLIENT, FIN_ACK, NULL, 0);
		CHECK_EQ(n_sent(1), 0);
		CHECK_EQ(n_sent(0), 1);
		CHECK_EQ(sent(0, 0)->v.tcp_flags, MQT_TCP_ACK);
		CHECK_EQ(sent(0, 0)->v.ack, f.seq[CLIENT]);
		CHECK_EQ(sent(0, 0)->v.seq, f.seq[BROKER]);
		advance(20 * SEC);
		CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
		release(&f);
		world_end();
	}
}

static const struct {
	const char *name;
	uint8_t version;
	bool in_flight, mid_packet, no_room;
} resets[] = {
	{ "3.1.1", 4, false, false, false },
	{ "data in flight", 5, true, false, false },
	{ "in mid-packet", 5, false, true, false },
	{ "no room", 5, false, false, true },
};

static void
test_others_get_rst_at_both_numbers(void)
{
	for (unsigned i = 0; i < RTE_DIM(resets); i++) {
		struct flow f = flow_new();
		uint8_t buf[256];
		size_t len;
		uint32_t acked;

		check_row = resets[i].name;
		world_config();
		world_start();
		f.version = resets[i].version;
		if (resets[i].no_room)
			f.window = 60;
		connected(&f, "c");
		acked = f.seq[BROKER];
		len = publish_packet(buf, sizeof(buf), f.version, resets[i].no_room ? 42 : 100);
		if (resets[i].in_flight || resets[i].no_room)
			send_next(&f, BROKER, ACK, buf, len);
		if (resets[i].no_room) {
			f.window = 8;
			send_next(&f, CLIENT, ACK, NULL, 0);
			acked = f.seq[BROKER];
		}
		if (resets[i].mid_packet) {
			send_next(&f, BROKER, ACK, buf, 10);
			send_next(&f, CLIENT, ACK, NULL, 0);
			acked = f.seq[BROKER];
		}
		out_clear();
		tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_DISCARD);
		CHECK_DOWN(&f, MQT_REASON_DISCARDED);
		check_stepdown_done();
		CHECK_EQ(n_sent(0), resets[i].in_flight ? 2 : 1);
		CHECK_EQ(sent(0, 0)->v.tcp_flags, RST_ACK);
		CHECK_EQ(sent(0, 0)->v.seq, acked);
		CHECK_EQ(sent(0, 0)->v.ack, f.seq[CLIENT]);
		if (resets[i].in_flight) {
			CHECK_EQ(sent(0, 1)->v.tcp_flags, RST_ACK);
			CHECK_EQ(sent(0, 1)->v.seq, f.seq[BROKER]);
		}
		release(&f);
		world_end();
	}
}

static void
test_closed_flow_passes_nothing_and_answers_by_rst(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "c");
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	out_clear();
	send_at(&f, CLIENT, ACK, f.seq[CLIENT], f.seq[BROKER] - 3, "\xc0\x00", 2);
	CHECK_EQ(n_sent(1), 0);
	CHECK_EQ(n_sent(0), 1);
	CHECK_EQ(sent(0, 0)->v.tcp_flags, RST_ACK);
	CHECK_EQ(sent(0, 0)->v.seq, f.seq[BROKER] - 3);
	CHECK_EQ(COUNT(CHALLENGE_ANSWERED), 1);
	out_clear();
	send_next(&f, BROKER, ACK, "\xd0\x00", 2);
	CHECK_EQ(n_sent(0), 0);
	CHECK_EQ(n_sent(1), 1);
	CHECK_EQ(sent(1, 0)->v.seq, f.seq[CLIENT]);
	/* both reset: gone */
	send_next(&f, CLIENT, RST_ACK, NULL, 0);
	send_next(&f, BROKER, RST_ACK, NULL, 0);
	CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
	CHECK_EQ(COUNT(CLOSING_DROPPED), 4);
	drop_messages();
	release(&f);
	world_end();
}

static void
test_closing_is_tried_again_until_silent(void)
{
	struct flow f = flow_of(&shapes[3]);

	world_begin();
	connected(&f, "c");
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	out_clear();
	advance(250 * MS);
	CHECK_EQ(n_sent(0), 1);
	CHECK_EQ(sent(0, 0)->v.tcp_flags & MQT_TCP_FIN, MQT_TCP_FIN);
	CHECK_EQ(n_sent(1), 1);
	advance(400 * MS);
	CHECK_EQ(n_sent(0), 2);
	advance(3 * SEC);
	CHECK_EQ(n_sent(0), 4);
	CHECK_EQ(sent(0, 3)->v.tcp_flags, RST_ACK);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
	out_clear();
	send_at(&f, CLIENT, ACK, f.seq[CLIENT], f.seq[BROKER], "\xc0\x00", 2);
	CHECK_EQ(n_sent(0), 1);
	advance(4 * SEC);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 1); /* it had been heard */
	advance(4 * SEC);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 0);
	release(&f);
	world_end();
}

static void
test_new_data_after_our_fin_is_reset(void)
{
	struct flow f = flow_of(&shapes[3]);

	world_begin();
	connected(&f, "c");
	send_next(&f, CLIENT, ACK, "\xc0\x00", 2);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	out_clear();
	send_at(&f, CLIENT, ACK, f.seq[CLIENT] - 2, f.seq[BROKER], "\xc0\x00", 2); /* old */
	CHECK_EQ(sent(0, 0)->v.tcp_flags, MQT_TCP_ACK);
	CHECK_EQ(sent(0, 0)->v.ack, f.seq[CLIENT]);
	send_next(&f, CLIENT, ACK, "\xc0\x00", 2);
	CHECK_EQ(sent(0, 1)->v.tcp_flags, RST_ACK);
	CHECK_EQ(sent(0, 1)->v.seq, f.seq[BROKER]);
	release(&f);
	world_end();
}

static void
test_stepdown_of_a_newcomer_refuses_it(void)
{
	struct flow f = flow_new();

	world_begin();
	tcp_open(&f);
	mqtt_open(&f, "c");
	out_clear();
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	CHECK_DOWN(&f, MQT_REASON_KICKED);
	check_stepdown_done();
	CHECK_EQ(COUNT(INJECTED_CONNACK), 1);
	tell(&f, MQT_MSG_GRANT, 0);
	CHECK_EQ(next_message().type, MQT_MSG_RETURN);
	release(&f);
	world_end();
}

/* Else another worker could be faster with the newcomer's CONNACK. */
static void
test_ends_are_told_before_the_stepdown_is_answered(void)
{
	struct flow f = flow_new();
	struct mqt_msg msg = { .type = MQT_MSG_STEPDOWN, .action = MQT_STEPDOWN_DISCARD };

	world_begin();
	mqt_role_control_assert();
	mqt_role_worker_assert();
	connected(&f, "dev");
	msg.chan = f.chan;
	mqt_mailbox_post_worker(w.mailbox, &msg);
	mqt_conns_poll(w.conns); /* the worker's turn is not over */
	CHECK_DOWN(&f, MQT_REASON_DISCARDED);
	CHECK_EQ(next_message().type, MQT_MSG_STEPDOWN_DONE);
	CHECK_EQ(n_sent(CLIENT), 1);
	CHECK_EQ(n_sent(BROKER), 1);
	release(&f);
	world_end();
}

static CU_TestInfo closing_tests[] = {
	TEST(test_v5_client_gets_disconnect_and_fin),
	TEST(test_others_get_rst_at_both_numbers),
	TEST(test_closed_flow_passes_nothing_and_answers_by_rst),
	TEST(test_closing_is_tried_again_until_silent),
	TEST(test_new_data_after_our_fin_is_reset),
	TEST(test_stepdown_of_a_newcomer_refuses_it),
	TEST(test_ends_are_told_before_the_stepdown_is_answered),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "closing", NULL, NULL, NULL, NULL, closing_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
