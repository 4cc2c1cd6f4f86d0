/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Order, repetition and forgery on a connection before its CONNACK.
 */
#include "conn_rig.h"

static void
test_connect_behind_a_gap_is_not_forwarded(void)
{
	struct flow f = flow_new();
	uint8_t buf[128];
	size_t len = connect_packet(buf, sizeof(buf), 4, "gap");
	uint32_t s;

	world_begin();
	tcp_open(&f);
	out_clear();
	s = f.seq[CLIENT];
	send_at(&f, CLIENT, ACK, s + 10, f.seq[BROKER], buf + 10, len - 10);
	send_at(&f, CLIENT, ACK, s + 10, f.seq[BROKER], buf + 10, len - 10);
	send_at(&f, CLIENT, ACK, s + 4, f.seq[BROKER], buf + 4, 6);
	CHECK_EQ(w.n_out, 0);
	CHECK_EQ(COUNT(REORDER_HELD), 2);
	send_at(&f, CLIENT, ACK, s, f.seq[BROKER], buf, 4);
	CHECK_EQ(n_sent(1), 3);
	CHECK_EQ(sent(1, 0)->v.seq, s);
	CHECK_EQ(sent(1, 1)->v.seq, s + 4);
	CHECK_EQ(sent(1, 2)->v.seq, s + 10);
	CHECK_EQ(in_state(MQT_CONN_CONNECTING), 1);
	world_end();
}

static void
test_reordering_is_bounded(void)
{
	struct flow f = flow_new();
	uint8_t buf[128];

	connect_packet(buf, sizeof(buf), 4, "a-rather-long-client-id");
	world_config();
	w.config.limits.reorder_per_flow = 3;
	world_start();
	tcp_open(&f);
	out_clear();
	for (uint32_t i = 1; i <= 5; i++)
		send_at(&f, CLIENT, ACK, f.seq[CLIENT] + i, f.seq[BROKER], buf + i, 1);
	CHECK_EQ(w.n_out, 0);
	CHECK_EQ(COUNT(REORDER_HELD), 3);
	CHECK_EQ(COUNT(REORDER_DROPPED), 2);
	world_end();
}

static void
test_no_two_versions_of_a_connect_byte_pass(void)
{
	struct flow f = flow_new();
	uint8_t buf[128], other[128];
	size_t len = connect_packet(buf, sizeof(buf), 4, "victim");
	uint32_t s;

	connect_packet(other, sizeof(other), 4, "joker!");
	world_begin();
	tcp_open(&f);
	out_clear();
	s = f.seq[CLIENT];
	send_next(&f, CLIENT, ACK, buf, len);
	send_at(&f, CLIENT, ACK, s, f.seq[BROKER], other, len);
	CHECK_EQ(n_sent(1), 1);
	CHECK_EQ(COUNT(CONFLICT), 1);
	send_at(&f, CLIENT, ACK, s, f.seq[BROKER], buf, len);
	CHECK_EQ(n_sent(1), 2);
	/* the broker has it, and drops what comes again */
	send_next(&f, BROKER, ACK, NULL, 0);
	send_at(&f, CLIENT, ACK, s, f.seq[BROKER], other, len);
	CHECK_EQ(n_sent(1), 3);
	CHECK_EQ(COUNT(CONFLICT), 1);
	world_end();
}

static void
test_wrong_checksum_and_window_have_no_effect_before_connack(void)
{
	struct flow f = flow_new();
	uint8_t buf[128];
	size_t len = connect_packet(buf, sizeof(buf), 4, "bad");
	struct rte_mbuf *m;

	world_begin();
	tcp_open(&f);
	out_clear();
	m = build(&f, CLIENT, ACK, f.seq[CLIENT], f.seq[BROKER], buf, len);
	*rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len - 1) ^= 1;
	inject(m, CLIENT);
	CHECK_EQ(COUNT(BAD_CHECKSUM), 1);
	CHECK_EQ(n_sent(1), 1);
	send_at(&f, CLIENT, ACK, f.seq[CLIENT] + 70000, f.seq[BROKER], buf, len);
	CHECK_EQ(COUNT(OUT_OF_WINDOW), 1);
	CHECK_EQ(n_sent(1), 1);
	CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 1);
	send_next(&f, CLIENT, ACK, buf, len);
	CHECK_EQ(in_state(MQT_CONN_CONNECTING), 1);
	world_end();
}

static void
test_client_cannot_blind_the_tracker_by_false_acks(void)
{
	struct flow f = flow_new();
	uint8_t buf[128];

	world_begin();
	tcp_open(&f);
	send_at(&f, CLIENT, ACK, f.seq[CLIENT], f.seq[BROKER] + 100, NULL, 0);
	CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 1);
	send_at(&f, BROKER, ACK, f.seq[BROKER], f.seq[CLIENT] + 10, NULL, 0);
	CHECK_EQ(COUNT(OPAQUE_GAP), 1); /* the broker has seen bytes that did not come by */
	send_next(&f, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), 4, "x"));
	CHECK_EQ(in_state(MQT_CONN_OPAQUE), 1);
	world_end();
}

static CU_TestInfo open_tests[] = {
	TEST(test_connect_behind_a_gap_is_not_forwarded),
	TEST(test_reordering_is_bounded),
	TEST(test_no_two_versions_of_a_connect_byte_pass),
	TEST(test_wrong_checksum_and_window_have_no_effect_before_connack),
	TEST(test_client_cannot_blind_the_tracker_by_false_acks),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "open", NULL, NULL, NULL, NULL, open_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
