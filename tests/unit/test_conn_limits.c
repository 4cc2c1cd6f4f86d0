/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Floods of connections that never say who they are: they neither fill the tables nor switch
 * uniqueness off for those who do. And what one source address may have of a listener.
 */
#include "conn_rig.h"

/* --- helpers ----------------------------------------------------------------------------------- */

/* A newcomer is tracked as ever: opened, granted, closed by the tracker. */
static void
check_tracked(void)
{
	struct flow f = flow_new();

	connected(&f, "real");
	CHECK(in_state(MQT_CONN_CONNECTED) > 0);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	CHECK_DOWN(&f, MQT_REASON_KICKED);
	check_stepdown_done();
	send_at(&f, CLIENT, RST_ACK, f.seq[CLIENT], f.seq[BROKER], NULL, 0);
	send_at(&f, BROKER, RST_ACK, f.seq[BROKER], f.seq[CLIENT], NULL, 0);
	release(&f);
	out_clear();
}

static void
silent_flows(struct flow *flows, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		flows[i] = flow_new();
		tcp_open(&flows[i]);
		out_clear();
	}
}

/* --- half-open --------------------------------------------------------------------------------- */

static void
test_newcomers_are_tracked_between_the_syns_of_a_flood(void)
{
	world_config();
	w.config.limits.max_embryos = 4;
	world_start();
	for (unsigned round = 0; round < 50; round++) {
		struct flow real = flow_new();
		uint8_t buf[128];

		for (unsigned i = 0; i < 20; i++) {
			struct flow f = flow_new();

			send_next(&f, CLIENT, MQT_TCP_SYN, NULL, 0);
		}
		/* up to as many SYNs as there is room for come in its round trip */
		send_next(&real, CLIENT, MQT_TCP_SYN, NULL, 0);
		for (unsigned i = 0; i < 3; i++) {
			struct flow f = flow_new();

			send_next(&f, CLIENT, MQT_TCP_SYN, NULL, 0);
		}
		send_next(&real, BROKER, SYN_ACK, NULL, 0);
		send_next(&real, CLIENT, ACK, NULL, 0);
		CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 1);
		send_next(&real, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), 4, "real"));
		CHECK_EQ(in_state(MQT_CONN_CONNECTING), 1);
		send_next(&real, CLIENT, RST_ACK, NULL, 0);
		out_clear();
	}
	CHECK_EQ(COUNT(CONNECTIONS), 50);
	CHECK_EQ(COUNT(TABLE_FULL) + COUNT(HANDSHAKE_FULL) + COUNT(OPAQUE), 0);
	CHECK(COUNT(EMBRYO_FULL) > 1000);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->embryos) <= 4, true);
	world_end();
}

/* --- silent ------------------------------------------------------------------------------------ */

static void
test_silent_connections_leave_their_handshakes_to_newcomers(void)
{
	struct flow silent[20];

	world_config();
	w.config.limits.max_handshakes = 4;
	world_start();
	silent_flows(silent, 20);
	CHECK_EQ(COUNT(HANDSHAKE_FULL), 0);
	CHECK_EQ(COUNT(OPAQUE_SILENT), 16);
	CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 4);
	for (unsigned i = 0; i < 10; i++)
		check_tracked();
	CHECK_EQ(COUNT(UNTRACKED_POSSIBLE_DUPLICATE), 0);
	CHECK_EQ(COUNT(HANDSHAKE_FULL), 0);
	/* the oldest went first, and only as many as were needed */
	CHECK_EQ(COUNT(OPAQUE_SILENT), 17);
	CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 3);
	mqtt_open(&silent[19], "late");
	tell(&silent[19], MQT_MSG_GRANT, 0);
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
	tell(&silent[19], MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	release(&silent[19]);
	world_end();
}

static void
test_connection_that_has_sent_connect_keeps_its_handshake(void)
{
	struct flow speaks = flow_new(), silent[20];

	world_config();
	w.config.limits.max_handshakes = 2;
	world_start();
	tcp_open(&speaks);
	{
		uint8_t buf[128];

		send_next(&speaks, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), 4, "x"));
	}
	silent_flows(silent, 20);
	CHECK_EQ(in_state(MQT_CONN_CONNECTING), 1);
	CHECK_EQ(COUNT(OPAQUE_SILENT), 19);
	world_end();
}

static void
test_half_a_connect_is_no_connect(void)
{
	struct flow half = flow_new(), silent[2];

	world_config();
	w.config.limits.max_handshakes = 2;
	world_start();
	tcp_open(&half);
	send_next(&half, CLIENT, ACK, "\x10\x20\x00\x04MQ", 6);
	silent_flows(silent, 2);
	CHECK_EQ(COUNT(OPAQUE_SILENT), 1);
	CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 2);
	/* what it had begun passes */
	send_next(&half, CLIENT, ACK, "TT", 2);
	CHECK_EQ(n_sent(BROKER), 1);
	world_end();
}

static void
test_listener_that_fails_closed_resets_who_loses_its_handshake(void)
{
	struct flow silent[3];

	world_config();
	w.config.limits.max_handshakes = 2;
	w.config.listeners[0].on_failure = MQT_FAIL_CLOSED;
	world_start();
	silent_flows(silent, 2);
	silent[2] = flow_new();
	tcp_open(&silent[2]);
	CHECK_EQ(COUNT(OPAQUE_SILENT), 1);
	CHECK_EQ(COUNT(INJECTED_RST), 2);
	CHECK_EQ(in_state(MQT_CONN_OPAQUE), 0);
	CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 2);
	world_end();
}

static void
test_silent_and_opaque_connections_leave_their_slots_to_newcomers(void)
{
	struct flow silent[30];

	world_config();
	w.config.limits.max_connections = 8;
	w.config.limits.slot_quiet_ms = 0;
	world_start();
	silent_flows(silent, 30);
	CHECK_EQ(COUNT(CONNECTIONS), 30);
	CHECK_EQ(COUNT(TABLE_FULL), 0);
	CHECK_EQ(COUNT(TABLE_RECYCLED), 22);
	CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 8);
	advance(61 * SEC); /* all have given up on CONNECT */
	CHECK_EQ(in_state(MQT_CONN_OPAQUE), 8);
	for (unsigned i = 0; i < 20; i++) {
		check_tracked();
		advance(5 * SEC);
	}
	CHECK_EQ(COUNT(TABLE_FULL), 0);
	CHECK_EQ(COUNT(UNTRACKED_POSSIBLE_DUPLICATE), 0);
	/* who has lost its slot still passes */
	out_clear();
	send_next(&silent[0], CLIENT, ACK, "late", 4);
	CHECK_EQ(n_sent(BROKER), 1);
	world_end();
}

static void
test_connected_clients_never_lose_their_slots(void)
{
	struct flow real[4], silent[30], more = flow_new();

	world_config();
	w.config.limits.max_connections = 5;
	world_start();
	for (unsigned i = 0; i < 4; i++) {
		real[i] = flow_new();
		connected(&real[i], "real");
	}
	silent_flows(silent, 30);
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), 4);
	CHECK_EQ(COUNT(TABLE_FULL), 0);
	connected(&more, "more"); /* in the place of the last silent one */
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), 5);
	silent_flows(silent, 1);
	CHECK_EQ(COUNT(TABLE_FULL), 1);
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), 5);
	for (unsigned i = 0; i < 4; i++) {
		tell(&real[i], MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
		release(&real[i]);
	}
	tell(&more, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	release(&more);
	world_end();
}

/* The slot changes hands while a packet of its old flow waits in the same burst. */
static void
test_slot_that_changes_hands_in_a_burst_is_not_taken_for_its_old_flow(void)
{
	struct flow old = flow_new(), new = flow_new();

	world_config();
	w.config.limits.max_connections = 1;
	world_start();
	tcp_open(&old);
	send_next(&new, CLIENT, MQT_TCP_SYN, NULL, 0);
	send_next(&new, BROKER, SYN_ACK, NULL, 0);
	out_clear();
	w.batching = true;
	send_next(&new, CLIENT, ACK, NULL, 0);
	send_next(&old, CLIENT, ACK, "\x10\x0e\x00\x04MQTT\x04\x02\x00\x09\x00\x02id", 16);
	batch_end();
	CHECK_EQ(COUNT(TABLE_RECYCLED), 1);
	CHECK_EQ(COUNT(CONNECT), 0);
	CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 1);
	CHECK_EQ(n_sent(BROKER), 2);
	mqtt_open(&new, "new");
	CHECK_EQ(COUNT(CONNECT), 1);
	tell(&new, MQT_MSG_GRANT, 0);
	tell(&new, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	release(&new);
	world_end();
}

/* --- one address ------------------------------------------------------------------------------- */

#define WORKERS 4 /* the tests' own has index 3 */

static void
limited_world(uint32_t connections, uint32_t connects_per_second)
{
	world_config();
	w.config.listeners[0].connections_per_address = connections;
	w.config.listeners[0].connects_per_second = connects_per_second;
	w.sources = mqt_sources_create(WORKERS, 64);
	world_start();
}

static void
check_refused(struct flow *f)
{
	uint64_t rsts = COUNT(INJECTED_RST);
	unsigned n = in_state(MQT_CONN_EMBRYONIC);

	send_next(f, CLIENT, MQT_TCP_SYN, NULL, 0);
	send_next(f, BROKER, SYN_ACK, NULL, 0);
	out_clear();
	send_next(f, CLIENT, ACK, NULL, 0);
	CHECK_EQ(COUNT(INJECTED_RST), rsts + 2);
	CHECK_EQ(n_sent(CLIENT), 1);
	CHECK_EQ(n_sent(BROKER), 1);
	CHECK_EQ(sent(CLIENT, 0)->v.tcp_flags, RST_ACK);
	CHECK_EQ(sent(CLIENT, 0)->v.seq, f->seq[BROKER]);
	CHECK_EQ(sent(BROKER, 0)->v.tcp_flags, RST_ACK);
	CHECK_EQ(sent(BROKER, 0)->v.seq, f->seq[CLIENT]);
	CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), n);
	out_clear();
}

static void
test_address_with_all_its_connections_is_refused_another(void)
{
	struct flow mine[3], more = flow_new(), other = flow_new();

	limited_world(3, 0);
	silent_flows(mine, 3);
	check_refused(&more);
	CHECK_EQ(COUNT(LIMIT_CONNECTIONS), 1);
	other.ip6 = true;
	tcp_open(&other);
	other = flow_new();
	other.client_ip = CLIENT_IP + 100;
	tcp_open(&other);
	CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 5);
	/* one ends: another may come, and only one */
	send_next(&mine[1], CLIENT, RST_ACK, NULL, 0);
	more = flow_new();
	tcp_open(&more);
	CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 5);
	more = flow_new();
	check_refused(&more);
	CHECK_EQ(COUNT(LIMIT_CONNECTIONS), 2);
	CHECK_EQ(COUNT(LIMIT_CONNECTS) + COUNT(LIMIT_UNCOUNTED), 0);
	world_end();
}

static void
test_address_that_connects_too_often_waits_for_the_next_second(void)
{
	struct flow mine[5], more;

	limited_world(0, 5);
	silent_flows(mine, 5);
	for (unsigned i = 0; i < 5; i++)
		send_next(&mine[i], CLIENT, RST_ACK, NULL, 0);
	out_clear();
	for (unsigned i = 0; i < 3; i++) {
		more = flow_new();
		check_refused(&more);
	}
	CHECK_EQ(COUNT(LIMIT_CONNECTS), 3);
	advance(SEC);
	silent_flows(mine, 5); /* those refused were not counted */
	CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 5);
	more = flow_new();
	check_refused(&more);
	CHECK_EQ(COUNT(LIMIT_CONNECTIONS), 0);
	world_end();
}

static void
test_forged_syns_use_up_nobodys_share(void)
{
	struct flow mine[2];

	limited_world(2, 2);
	for (unsigned i = 0; i < 50; i++) {
		struct flow forged = flow_new();

		send_next(&forged, CLIENT, MQT_TCP_SYN, NULL, 0);
		send_next(&forged, BROKER, SYN_ACK, NULL, 0);
		out_clear();
	}
	silent_flows(mine, 2);
	CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 2);
	CHECK_EQ(COUNT(LIMIT_CONNECTIONS) + COUNT(LIMIT_CONNECTS), 0);
	world_end();
}

static void
test_connection_that_is_forgotten_gives_its_share_back(void)
{
	struct flow mine[10];

	limited_world(2, 0);
	w.config.limits.max_connections = 1;
	mqt_conns_destroy(w.conns);
	mqt_mailbox_destroy(w.mailbox);
	world_start();
	silent_flows(mine, 10); /* each in the place of the one before */
	CHECK_EQ(COUNT(TABLE_RECYCLED), 9);
	CHECK_EQ(COUNT(LIMIT_CONNECTIONS), 0);
	world_end();
}

static void
test_listener_without_limits_counts_nobody(void)
{
	struct flow mine[30];

	limited_world(0, 0);
	silent_flows(mine, 30);
	CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 30);
	CHECK_EQ(COUNT(LIMIT_UNCOUNTED), 0);
	world_end();
}

static void
test_limits_hold_over_all_workers(void)
{
	static const struct mqt_source_limits limits = { 10, 0 };
	struct mqt_sources *s = mqt_sources_create(WORKERS, 64);

	for (unsigned i = 0; i < 10; i++)
		CHECK_EQ(mqt_sources_enter(s, i % WORKERS, 77, &limits, SEC), MQT_SOURCE_COUNTED);
	for (unsigned worker = 0; worker < WORKERS; worker++)
		CHECK_EQ(mqt_sources_enter(s, worker, 77, &limits, 9 * SEC),
				MQT_SOURCE_CONNECTIONS);
	CHECK_EQ(mqt_sources_enter(s, 0, 78, &limits, SEC), MQT_SOURCE_COUNTED);
	mqt_sources_leave(s, 2, 77);
	CHECK_EQ(mqt_sources_enter(s, 0, 77, &limits, 9 * SEC), MQT_SOURCE_COUNTED);
	CHECK_EQ(mqt_sources_enter(s, 2, 77, &limits, 9 * SEC), MQT_SOURCE_CONNECTIONS);
	mqt_sources_destroy(s);
}

static void
test_full_table_of_addresses_lets_pass_and_old_ones_make_room(void)
{
	static const struct mqt_source_limits limits = { 1, 1 };
	struct mqt_sources *s = mqt_sources_create(1, 8);

	for (uint64_t key = 1; key <= 8; key++)
		CHECK_EQ(mqt_sources_enter(s, 0, key, &limits, SEC), MQT_SOURCE_COUNTED);
	CHECK_EQ(mqt_sources_enter(s, 0, 9, &limits, SEC), MQT_SOURCE_UNCOUNTED);
	CHECK_EQ(mqt_sources_enter(s, 0, 1, &limits, SEC), MQT_SOURCE_CONNECTIONS);
	mqt_sources_leave(s, 0, 4);
	/* it has none, and still it has made one in this second */
	CHECK_EQ(mqt_sources_enter(s, 0, 9, &limits, SEC), MQT_SOURCE_UNCOUNTED);
	CHECK_EQ(mqt_sources_enter(s, 0, 4, &limits, SEC), MQT_SOURCE_CONNECTS);
	CHECK_EQ(mqt_sources_enter(s, 0, 9, &limits, 2 * SEC), MQT_SOURCE_COUNTED);
	CHECK_EQ(mqt_sources_enter(s, 0, 4, &limits, 2 * SEC), MQT_SOURCE_UNCOUNTED);
	CHECK_EQ(mqt_sources_enter(s, 0, 9, &limits, 3 * SEC), MQT_SOURCE_CONNECTIONS);
	mqt_sources_leave(s, 0, 4); /* of one that was not counted */
	mqt_sources_leave(s, 0, 9);
	CHECK_EQ(mqt_sources_enter(s, 0, 9, &limits, 3 * SEC), MQT_SOURCE_COUNTED);
	mqt_sources_destroy(s);
}

int
main(void)
{
	CU_TestInfo floods[] = {
		TEST(test_newcomers_are_tracked_between_the_syns_of_a_flood),
		TEST(test_silent_connections_leave_their_handshakes_to_newcomers),
		TEST(test_connection_that_has_sent_connect_keeps_its_handshake),
		TEST(test_half_a_connect_is_no_connect),
		TEST(test_listener_that_fails_closed_resets_who_loses_its_handshake),
		TEST(test_silent_and_opaque_connections_leave_their_slots_to_newcomers),
		TEST(test_connected_clients_never_lose_their_slots),
		TEST(test_slot_that_changes_hands_in_a_burst_is_not_taken_for_its_old_flow),
		CU_TEST_INFO_NULL,
	};
	CU_TestInfo address[] = {
		TEST(test_address_with_all_its_connections_is_refused_another),
		TEST(test_address_that_connects_too_often_waits_for_the_next_second),
		TEST(test_forged_syns_use_up_nobodys_share),
		TEST(test_connection_that_is_forgotten_gives_its_share_back),
		TEST(test_listener_without_limits_counts_nobody),
		TEST(test_limits_hold_over_all_workers),
		TEST(test_full_table_of_addresses_lets_pass_and_old_ones_make_room),
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ "floods", NULL, NULL, NULL, NULL, floods },
		{ "address", NULL, NULL, NULL, NULL, address },
		CU_SUITE_INFO_NULL,
	};
	return rig_run(suites);
}
