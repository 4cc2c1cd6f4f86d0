/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections, driven by crafted frames: how they begin, and new incarnations of a flow (R17).
 */
#include "conn_rig.h"
#include "mqtrack/pages.h"

/* --- begin of a connection --------------------------------------------------------------------- */

static void
test_connection_begins_at_the_clients_ack(void)
{
	struct flow f = flow_new();

	world_begin();
	send_next(&f, CLIENT, MQT_TCP_SYN, NULL, 0);
	CHECK_EQ(n_sent(1), 1);
	send_next(&f, BROKER, SYN_ACK, NULL, 0);
	CHECK_EQ(n_sent(0), 1);
	CHECK_EQ(COUNT(CONNECTIONS), 0);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->embryos), 1);
	send_next(&f, CLIENT, ACK, NULL, 0);
	CHECK_EQ(n_sent(1), 2);
	CHECK_EQ(COUNT(CONNECTIONS), 1);
	CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 1);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->embryos), 0);
	world_end();
}

static void
test_ack_of_a_wrong_number_makes_no_connection(void)
{
	struct flow f = flow_new();

	world_begin();
	send_next(&f, CLIENT, MQT_TCP_SYN, NULL, 0);
	send_next(&f, BROKER, SYN_ACK, NULL, 0);
	send_at(&f, CLIENT, ACK, f.seq[CLIENT], f.seq[BROKER] + 1, NULL, 0);
	send_at(&f, CLIENT, ACK, f.seq[CLIENT] - 1, f.seq[BROKER], NULL, 0);
	send_at(&f, BROKER, ACK, f.seq[BROKER], f.seq[CLIENT], NULL, 0);
	CHECK_EQ(COUNT(CONNECTIONS), 0);
	CHECK_EQ(COUNT(MIDSTREAM), 3);
	world_end();
}

static void
test_syn_flood_takes_no_slot_and_presses_out_the_oldest(void)
{
	struct flow f;

	world_config();
	w.config.limits.max_embryos = 4;
	world_start();
	for (unsigned i = 0; i < 100; i++) {
		f = flow_new();
		send_next(&f, CLIENT, MQT_TCP_SYN, NULL, 0);
	}
	CHECK_EQ(COUNT(EMBRYO_FULL), 96);
	CHECK_EQ(in_state(MQT_CONN_FREE), 64);
	f = flow_new();
	tcp_open(&f);
	CHECK_EQ(COUNT(CONNECTIONS), 1);
	advance(31 * SEC);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->embryos), 0);
	world_end();
}

static void
test_flow_made_in_a_burst_is_found_in_it(void)
{
	struct flow f = flow_new();
	uint8_t buf[128];

	world_begin();
	w.batching = true;
	tcp_open(&f);
	send_next(&f, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), 4, "burst"));
	batch_end();
	CHECK_EQ(in_state(MQT_CONN_CONNECTING), 1);
	CHECK_EQ(n_sent(1), 3);
	world_end();
}

static void
test_midstream_and_other_ports_pass(void)
{
	struct flow f = flow_new();

	world_begin();
	send_next(&f, CLIENT, ACK, "x", 1);
	send_next(&f, BROKER, ACK, "y", 1);
	CHECK_EQ(COUNT(MIDSTREAM), 2);
	f.broker_port = 80;
	f.client_port = 1883; /* a broker as a client of something else */
	send_next(&f, CLIENT, MQT_TCP_SYN, NULL, 0);
	CHECK_EQ(COUNT(SYN), 0);
	CHECK_EQ(w.n_out, 3);
	world_end();
}

static void
test_full_table_passes_or_resets_as_the_listener_says(void)
{
	for (unsigned closed = 0; closed < 2; closed++) {
		struct flow a = flow_new(), b = flow_new();

		check_row = closed ? "fail-closed" : "fail-open";
		world_config();
		w.config.limits.max_connections = 1;
		w.config.listeners[0].on_failure = closed ? MQT_FAIL_CLOSED : MQT_FAIL_OPEN;
		world_start();
		connected(&a, "a");
		tcp_open(&b);
		CHECK_EQ(COUNT(TABLE_FULL), 1);
		CHECK_EQ(COUNT(INJECTED_RST), closed ? 2 : 0);
		if (closed) {
			CHECK_EQ(sent(0, 1)->v.tcp_flags & MQT_TCP_RST, MQT_TCP_RST);
			CHECK_EQ(sent(0, 1)->v.seq, b.seq[BROKER]);
			CHECK_EQ(sent(1, 1)->v.seq, b.seq[CLIENT]);
		}
		out_clear();
		send_next(&b, CLIENT, ACK, "data", 4);
		CHECK_EQ(COUNT(MIDSTREAM), closed ? 1 : 2);
		CHECK_EQ(sent(1, 0)->v.payload_len, closed ? 0 : 4);
		tell(&a, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
		release(&a);
		world_end();
	}
}

static void
test_no_handshake_left_makes_the_flow_opaque(void)
{
	struct flow a = flow_new(), b = flow_new();

	world_config();
	w.config.limits.max_handshakes = 1;
	world_start();
	tcp_open(&a);
	mqtt_open(&a, "a");
	tcp_open(&b);
	CHECK_EQ(COUNT(HANDSHAKE_FULL), 1);
	CHECK_EQ(in_state(MQT_CONN_OPAQUE), 1);
	tell(&a, MQT_MSG_GRANT, 0);
	b = flow_new();
	tcp_open(&b); /* a's came back with its GRANT */
	CHECK_EQ(COUNT(HANDSHAKE_FULL), 1);
	tell(&a, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	release(&a);
	world_end();
}

static void
test_multipath_is_opaque_when_both_speak_it(void)
{
	for (unsigned fallback = 0; fallback < 2; fallback++) {
		struct flow f = flow_new();

		check_row = fallback ? "broker falls back" : "both";
		f.mptcp = true;
		f.no_synack_mptcp = fallback;
		world_begin();
		tcp_open(&f);
		CHECK_EQ(COUNT(OPAQUE_MPTCP), !fallback);
		CHECK_EQ(in_state(MQT_CONN_OPAQUE), !fallback);
		world_end();
	}
}

static void
test_syn_payload_counts_once_acknowledged(void)
{
	uint8_t buf[128], ack[16];
	size_t len = connect_packet(buf, sizeof(buf), 4, "tfo");
	size_t ack_len = connack_packet(ack, sizeof(ack), 4, 0);

	for (unsigned accepted = 0; accepted < 2; accepted++) {
		struct flow f = flow_new();
		struct mqt_msg msg;

		check_row = accepted ? "accepted" : "not accepted";
		world_begin();
		send_at(&f, CLIENT, MQT_TCP_SYN, f.seq[CLIENT]++, 0, buf, len);
		if (accepted)
			f.seq[CLIENT] += (uint32_t)len;
		send_next(&f, BROKER, SYN_ACK, NULL, 0);
		if (!accepted) {
			CHECK_EQ(COUNT(CONNECT), 0);
			send_next(&f, CLIENT, ACK, NULL, 0);
			send_next(&f, CLIENT, ACK, buf, len);
		}
		CHECK_EQ(COUNT(CONNECT), 1);
		out_clear();
		send_next(&f, BROKER, ACK, ack, ack_len);
		CHECK_EQ(w.n_out, 0);
		msg = next_message();
		CHECK_EQ(msg.type, MQT_MSG_OPEN);
		free(msg.info);
		world_end();
	}
}

static void
test_payload_in_a_synack_makes_the_flow_opaque(void)
{
	struct flow f = flow_new();

	world_begin();
	send_next(&f, CLIENT, MQT_TCP_SYN, NULL, 0);
	send_next(&f, BROKER, SYN_ACK, "hello", 5);
	send_next(&f, CLIENT, ACK, NULL, 0);
	CHECK_EQ(COUNT(CONNECTIONS), 0); /* its ACK is not that of the SYN/ACK alone */
	send_next(&f, BROKER, ACK, "more", 4);
	CHECK_EQ(n_sent(0), 2);
	f = flow_new();
	send_next(&f, CLIENT, MQT_TCP_SYN, NULL, 0);
	send_at(&f, BROKER, SYN_ACK, f.seq[BROKER]++, f.seq[CLIENT], "hello", 5);
	send_next(&f, CLIENT, ACK, NULL, 0); /* the payload was not taken */
	CHECK_EQ(COUNT(OPAQUE_SYN_DATA), 1);
	CHECK_EQ(in_state(MQT_CONN_OPAQUE), 1);
	world_end();
}

static void
test_address_of_the_other_side_has_no_effect(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "c");
	/* a client that writes as the broker, from outside */
	inject(build(&f, BROKER, RST_ACK, f.seq[BROKER], f.seq[CLIENT], NULL, 0), CLIENT);
	CHECK_EQ(n_sent(0), 0);
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
	CHECK_NO_MESSAGE();
	free(f.info);
	world_end();
}

/* --- memory ------------------------------------------------------------------------------------ */

void *__real_mqt_pages_map(size_t bytes, enum mqt_pages kind);
void *__wrap_mqt_pages_map(size_t bytes, enum mqt_pages kind);

static int maps_left = -1; /* that are granted; negative: all */

void *
__wrap_mqt_pages_map(size_t bytes, enum mqt_pages kind)
{
	if (maps_left == 0)
		return NULL;
	maps_left -= maps_left > 0;
	return __real_mqt_pages_map(bytes, kind);
}

static void
test_sizes_follow_from_max_clients_and_the_pool(void)
{
	struct mqt_conns_params p = { .config = &w.config,
		.clock = &w.clock,
		.hash_key = &w.key,
		.tx = &w.tx,
		.pool = pool,
		.counters = &w.counters,
		.n_workers = 4 };
	struct mqt_conns *conns;
	int n_refused = 0;

	world_config();
	w.config.limits.max_connections = 0;
	w.config.limits.parked_per_worker = 0;
	w.config.limits.max_clients = 4000;
	world_start();
	CHECK_EQ(mqt_conns_slots(w.conns).n, 4000 + 1000 + 1024);
	p.mailbox = w.mailbox;
	conns = mqt_conns_create(&p);
	CHECK_EQ(mqt_conns_slots(conns).n, 1000 + 250 + 1024);
	CHECK_EQ(mqt_conns_slots(conns).stride % 64, 0);
	mqt_conns_destroy(conns);
	mqt_conns_destroy(NULL);
	for (maps_left = 0; !(conns = mqt_conns_create(&p)); maps_left = ++n_refused)
		CHECK_EQ(rte_errno, ENOMEM);
	maps_left = -1;
	CHECK_EQ(n_refused, 5); /* slots, keys of IPv6, flow table; link headers, their table */
	mqt_conns_destroy(conns);
	CHECK_STR(mqt_conn_state_name(MQT_CONN_OPENING), "opening");
	CHECK_STR(mqt_conn_state_name(MQT_CONN_N_STATES), "unknown");
	world_end();
}

/* --- new incarnations (R17) -------------------------------------------------------------------- */

static void
test_forged_syn_changes_nothing(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "a");
	for (uint32_t i = 1; i < 20; i++)
		send_at(&f, CLIENT, MQT_TCP_SYN, 77777 * i, 0, NULL, 0);
	CHECK_EQ(n_sent(1), 19);
	CHECK_EQ(n_sent(0), 0);
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
	send_next(&f, BROKER, ACK, "\xd0\x00", 2);
	CHECK_EQ(n_sent(0), 1);
	CHECK_NO_MESSAGE();
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	release(&f);
	world_end();
}

static void
test_forged_syn_beside_a_handshake_changes_nothing(void)
{
	struct flow f = flow_new();

	world_begin();
	send_next(&f, CLIENT, MQT_TCP_SYN, NULL, 0);
	for (uint32_t i = 1; i < 3; i++)
		send_at(&f, CLIENT, MQT_TCP_SYN, 77777 * i, 0, NULL, 0);
	send_next(&f, BROKER, SYN_ACK, NULL, 0);
	for (uint32_t i = 1; i < 20; i++)
		send_at(&f, CLIENT, MQT_TCP_SYN, 5555 * i, 0, NULL, 0);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->embryos), 4); /* a flow */
	send_next(&f, CLIENT, ACK, NULL, 0);
	CHECK_EQ(COUNT(CONNECTIONS), 1);
	world_end();
}

static void
test_synack_of_a_new_syn_ends_the_old_incarnation(void)
{
	struct flow f = flow_new(), g;

	world_begin();
	connected(&f, "a");
	g = f;
	g.seq[CLIENT] = 0x70000000;
	g.seq[BROKER] = 0x60000000;
	send_next(&g, CLIENT, MQT_TCP_SYN, NULL, 0);
	CHECK_NO_MESSAGE();
	send_next(&g, BROKER, SYN_ACK, NULL, 0);
	CHECK_DOWN(&f, MQT_REASON_REPLACED);
	CHECK_EQ(COUNT(REPLACED), 1);
	send_next(&g, CLIENT, ACK, NULL, 0);
	CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 1);
	CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
	mqtt_open(&g, "a");
	CHECK(g.chan != f.chan);
	tell(&g, MQT_MSG_GRANT, 0);
	next_message();
	release(&f);
	tell(&g, MQT_MSG_STEPDOWN, MQT_STEPDOWN_DISCARD);
	release(&g);
	world_end();
}

static void
test_repeated_syn_of_the_living_flow_is_no_new_one(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "a");
	send_at(&f, CLIENT, MQT_TCP_SYN, 1000, 0, NULL, 0);
	send_at(&f, BROKER, SYN_ACK, 0xfffffff0u, 1001, NULL, 0);
	CHECK_EQ(w.n_out, 2);
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
	CHECK_NO_MESSAGE();
	free(f.info);
	world_end();
}

static void
test_new_incarnation_begins_while_the_old_one_closes(void)
{
	struct flow f = flow_new(), g;

	world_begin();
	connected(&f, "a");
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
	drop_messages();
	out_clear();
	g = f;
	g.seq[CLIENT] = 0x70000000;
	g.seq[BROKER] = 0x60000000;
	tcp_open(&g);
	CHECK_EQ(COUNT(CONNECTIONS), 2);
	CHECK_EQ(n_sent(1), 2); /* SYN and ACK, no RST */
	CHECK_EQ(n_sent(0), 1);
	CHECK_EQ(in_state(MQT_CONN_EMBRYONIC), 1);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 0);
	release(&f);
	world_end();
}

static CU_TestInfo begin_tests[] = {
	TEST(test_connection_begins_at_the_clients_ack),
	TEST(test_ack_of_a_wrong_number_makes_no_connection),
	TEST(test_syn_flood_takes_no_slot_and_presses_out_the_oldest),
	TEST(test_flow_made_in_a_burst_is_found_in_it),
	TEST(test_midstream_and_other_ports_pass),
	TEST(test_full_table_passes_or_resets_as_the_listener_says),
	TEST(test_no_handshake_left_makes_the_flow_opaque),
	TEST(test_multipath_is_opaque_when_both_speak_it),
	TEST(test_syn_payload_counts_once_acknowledged),
	TEST(test_payload_in_a_synack_makes_the_flow_opaque),
	TEST(test_address_of_the_other_side_has_no_effect),
	TEST(test_sizes_follow_from_max_clients_and_the_pool),
	TEST(test_forged_syn_changes_nothing),
	TEST(test_forged_syn_beside_a_handshake_changes_nothing),
	TEST(test_synack_of_a_new_syn_ends_the_old_incarnation),
	TEST(test_repeated_syn_of_the_living_flow_is_no_new_one),
	TEST(test_new_incarnation_begins_while_the_old_one_closes),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "begin", NULL, NULL, NULL, NULL, begin_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
