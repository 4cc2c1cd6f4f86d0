/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kills, slots that come home, messages to nobody, segments that find no room.
 */
#include "conn_rig.h"

static void
test_killed_channel_lets_nothing_out(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "c");
	CHECK(kill_channel(&f));
	send_next(&f, BROKER, ACK, "\xd0\x00", 2);
	CHECK_DOWN(&f, MQT_REASON_KILLED);
	CHECK_EQ(COUNT(KILLED_SEEN), 1);
	for (unsigned i = 0; i < w.n_out; i++)
		CHECK_EQ(w.out[i].v.tcp_flags, RST_ACK);
	CHECK_EQ(n_sent(0) > 0 && n_sent(1) > 0, 1);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	CHECK_EQ(next_message().result, -ENOENT);
	out_clear();
	send_next(&f, CLIENT, ACK, "\xc0\x00", 2);
	CHECK_EQ(n_sent(1), 0);
	CHECK_EQ(n_sent(0), 1);
	release(&f);
	world_end();
}

static void
test_kill_between_verdict_and_tx_withholds_the_packet(void)
{
	struct flow f = flow_new();
	struct mqt_packet *p = &w.batch[0];

	world_begin();
	connected(&f, "c");
	mqt_role_worker_assert();
	w.batching = true;
	send_next(&f, BROKER, ACK, "\xd0\x00", 2);
	mqt_conns_input(w.conns, p, w.n_batch);
	w.n_batch = 0;
	w.batching = false;
	CHECK(kill_channel(&f));
	flush();
	CHECK_EQ(w.n_out, 0);
	CHECK_EQ(COUNT(TX_KILLED), 1);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_DISCARD);
	CHECK_DOWN(&f, MQT_REASON_KILLED);
	check_stepdown_done();
	release(&f);
	world_end();
}

static void
test_killed_newcomer_returns_its_grant(void)
{
	struct flow f = flow_new();

	world_begin();
	tcp_open(&f);
	mqtt_open(&f, "c");
	CHECK(kill_channel(&f));
	out_clear();
	tell(&f, MQT_MSG_GRANT, 0);
	CHECK_DOWN(&f, MQT_REASON_KILLED);
	CHECK_EQ(next_message().type, MQT_MSG_RETURN);
	for (unsigned i = 0; i < w.n_out; i++)
		CHECK_EQ(w.out[i].v.tcp_flags, RST_ACK);
	release(&f);
	world_end();
}

static void
test_slots_rest_after_release_and_are_reused_in_turn(void)
{
	struct flow f[3], g;

	world_config();
	w.config.limits.max_connections = 3;
	world_start();
	for (unsigned i = 0; i < 3; i++) {
		f[i] = flow_new();
		connected(&f[i], "c");
		CHECK_EQ(mqt_chan_id_slot(f[i].chan), i);
	}
	for (unsigned i = 0; i < 3; i++) {
		unsigned k = (i + 1) % 3; /* 1, 2, 0 */

		send_next(&f[k], CLIENT, RST_ACK, NULL, 0);
		CHECK_DOWN(&f[k], MQT_REASON_CLIENT_RESET);
		if (k != 2)
			release(&f[k]);
		send_next(&f[k], BROKER, RST_ACK, NULL, 0); /* gone at once */
	}
	advance(500 * MS);
	g = flow_new();
	tcp_open(&g);
	CHECK_EQ(COUNT(TABLE_FULL), 1); /* they rest */
	advance(600 * MS);
	CHECK_EQ(in_state(MQT_CONN_FREE), 2);
	CHECK_EQ(in_state(MQT_CONN_RELEASING), 1); /* not released */
	for (unsigned i = 0; i < 2; i++) {
		g = flow_new();
		connected(&g, "c");
		CHECK_EQ(mqt_chan_id_slot(g.chan), i == 0 ? 1 : 0);
		CHECK_EQ(mqt_chan_id_gen(g.chan), mqt_chan_id_gen(f[0].chan) + 1);
		free(g.info);
	}
	g = flow_new();
	tcp_open(&g);
	CHECK_EQ(COUNT(TABLE_FULL), 2);
	release(&f[2]);
	advance(2 * SEC);
	CHECK_EQ(in_state(MQT_CONN_FREE), 1);
	world_end();
}

static void
test_messages_to_nobody_are_answered_and_counted(void)
{
	struct flow f = flow_new();

	world_begin();
	f.chan = mqt_chan_id_make(0, 3, 5, 1);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	CHECK_EQ(next_message().result, -ENOENT);
	tell(&f, MQT_MSG_GRANT, 0);
	CHECK_EQ(next_message().type, MQT_MSG_RETURN);
	tell(&f, MQT_MSG_RELEASE, 0);
	CHECK_EQ(COUNT(UNEXPECTED_MSG), 2);
	world_end();
}

static void
test_refuse_that_crosses_down_is_the_release(void)
{
	struct flow f = flow_new();

	world_begin();
	tcp_open(&f);
	mqtt_open(&f, "c");
	send_next(&f, CLIENT, RST_ACK, NULL, 0);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_RESET);
	out_clear();
	tell(&f, MQT_MSG_REFUSE, MQT_REASON_SUPERSEDED);
	CHECK_EQ(w.n_out, 0);
	advance(RESET_TIME + 2 * SEC);
	CHECK_EQ(in_state(MQT_CONN_FREE), 64);
	world_end();
}

static void
test_empty_pool_delays_the_closing_segments(void)
{
	static struct rte_mbuf *all[N_MBUFS + 1];
	struct flow f = flow_new();
	unsigned n = 0;

	world_begin();
	connected(&f, "c");
	while ((all[n] = rte_pktmbuf_alloc(pool)))
		n++;
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	CHECK_DOWN(&f, MQT_REASON_KICKED);
	check_stepdown_done();
	CHECK_EQ(COUNT(NO_MBUF), 2);
	CHECK_EQ(w.n_out, 0);
	rte_pktmbuf_free_bulk(all, n);
	advance(250 * MS);
	CHECK_EQ(n_sent(0), 1);
	CHECK_EQ(n_sent(1), 1);
	release(&f);
	world_end();
}

static uint16_t
refuse_all(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	return 0;
}

static void
test_what_the_port_does_not_take_is_dropped_and_counted(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "c");
	w.tx.burst = refuse_all;
	send_next(&f, CLIENT, ACK, "\xc0\x00", 2);
	send_next(&f, BROKER, ACK, "\xd0\x00", 2);
	CHECK_EQ(COUNT(TX_DROPPED), 2);
	free(f.info);
	world_end();
}

static CU_TestInfo closing_tests[] = {
	TEST(test_killed_channel_lets_nothing_out),
	TEST(test_kill_between_verdict_and_tx_withholds_the_packet),
	TEST(test_killed_newcomer_returns_its_grant),
	TEST(test_slots_rest_after_release_and_are_reused_in_turn),
	TEST(test_messages_to_nobody_are_answered_and_counted),
	TEST(test_refuse_that_crosses_down_is_the_release),
	TEST(test_empty_pool_delays_the_closing_segments),
	TEST(test_what_the_port_does_not_take_is_dropped_and_counted),
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
