/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections, driven by crafted frames: their begin, CONNECT and CONNACK, following, closing.
 * Sessions and takeover are in test_conn_session.c.
 */
#include "conn_rig.h"

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
		tcp_open(&a);
		out_clear();
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
	tcp_open(&b);
	CHECK_EQ(COUNT(HANDSHAKE_FULL), 1);
	CHECK_EQ(in_state(MQT_CONN_OPAQUE), 1);
	mqtt_open(&a, "a");
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

static void
test_sizes_follow_from_max_clients_and_the_pool(void)
{
	struct mqt_conns_params p = { .config = &w.config,
		.clock = &w.clock,
		.hash_key = &w.key,
		.tx = &w.tx,
		.pool = pool,
		.counters = &w.counters,
		.n_workers = 4,
		.socket_id = SOCKET_ID_ANY,
		.name = "sizes" };
	struct mqt_conns *conns;

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
	/* a name that is taken */
	CHECK(mqt_conns_create(&p) == NULL);
	CHECK(rte_errno != 0);
	mqt_conns_destroy(conns);
	mqt_conns_destroy(NULL);
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

/* --- CONNECT, CONNACK, OPEN -------------------------------------------------------------------- */

static void
test_connack_waits_for_grant(void)
{
	for (unsigned i = 0; i < RTE_DIM(shapes); i++) {
		struct flow f = flow_of(&shapes[i]);
		uint8_t buf[256], got[256];
		struct mqt_msg msg;
		size_t len;

		world_begin();
		tcp_open(&f);
		out_clear();
		len = connect_packet(buf, sizeof(buf), f.version, "sensor-1");
		send_next(&f, CLIENT, ACK, buf, len);
		CHECK_EQ(n_sent(1), 1);
		CHECK_EQ(in_state(MQT_CONN_CONNECTING), 1);
		CHECK_NO_MESSAGE();
		len = connack_packet(buf, sizeof(buf), f.version, 0);
		send_next(&f, BROKER, ACK, buf, len);
		CHECK_EQ(n_sent(0), 0);
		CHECK_EQ(in_state(MQT_CONN_OPENING), 1);
		msg = next_message();
		CHECK_EQ(msg.type, MQT_MSG_OPEN);
		CHECK_EQ(msg.stamp_ns, w.now);
		CHECK_EQ(mqt_chan_id_worker(msg.chan), 3);
		CHECK_EQ(msg.info->clientid_len, 8);
		CHECK_MEM(mqt_info_clientid(msg.info), "sensor-1", 8);
		CHECK_EQ(msg.info->username_len, 4);
		CHECK_MEM(mqt_info_username(msg.info), "user", 4);
		CHECK_EQ(msg.info->keepalive_sec, 60);
		CHECK_EQ(msg.info->proto_ver, f.version);
		CHECK_EQ(msg.info->expiry_sec, f.version == 5 ? 77 : 0);
		CHECK_EQ(msg.info->peer.port, f.client_port);
		CHECK_EQ(msg.info->peer.version, f.ip6 ? 6 : 4);
		CHECK_EQ(msg.info->broker.port, 1883);
		CHECK_EQ(msg.info->peer.ip[f.ip6 ? 15 : 3], 1);
		CHECK_EQ(msg.info->broker.ip[f.ip6 ? 15 : 3], 2);
		CHECK_EQ(msg.info->flags & MQT_INFO_CLEAN_START, MQT_INFO_CLEAN_START);
		f.chan = msg.chan;
		f.info = msg.info;
		tell(&f, MQT_MSG_GRANT, 0);
		CHECK_EQ(n_sent(0), 1);
		CHECK_EQ(sent(0, 0)->v.payload_len, len);
		payload_of(sent(0, 0), got);
		CHECK_MEM(got, buf, len);
		msg = next_message();
		CHECK_EQ(msg.type, MQT_MSG_GRANTED);
		CHECK_EQ(msg.chan, f.chan);
		CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
		CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 1);
		CHECK_EQ(slot_counter(&f, MQT_SEND_PKT), 1);
		CHECK_EQ(slot_counter(&f, MQT_SEND_OCT), len);
		CHECK_EQ(slot_counter(&f, MQT_SEND_CNT), 1);
		send_next(&f, CLIENT, FIN_ACK, NULL, 0);
		release(&f);
		world_end();
	}
}

static void
test_connacks_of_a_burst_have_stamps_in_their_order(void)
{
	struct flow f[3] = { flow_new(), flow_new(), flow_new() };
	static const unsigned order[3] = { 2, 0, 1 }; /* not that of their slots */
	uint64_t last = 0;
	uint8_t buf[128];

	world_begin();
	for (unsigned i = 0; i < 3; i++) {
		f[i].client_port = (uint16_t)(50000 + i);
		tcp_open(&f[i]);
		send_next(&f[i], CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), 4, "same"));
	}
	w.batching = true;
	for (unsigned i = 0; i < 3; i++)
		send_next(&f[order[i]], BROKER, ACK, buf, connack_packet(buf, sizeof(buf), 4, 0));
	batch_end();
	for (unsigned i = 0; i < 3; i++) {
		struct mqt_msg msg = next_message();

		CHECK_EQ(msg.type, MQT_MSG_OPEN);
		CHECK_EQ(msg.info->peer.port, f[order[i]].client_port);
		CHECK(msg.stamp_ns > last);
		last = msg.stamp_ns;
		free(msg.info);
	}
	world_end();
}

/* Streams of both sides from handshake to PUBLISH, cut at one place each, or byte by byte. */
static void
stream_cut(const struct shape *shape, size_t cut)
{
	struct flow f = flow_of(shape);
	uint8_t up[512], down[512];
	size_t n_up, n_down, connack;
	struct mqt_msg msg;

	n_up = connect_packet(up, sizeof(up), f.version, "cut");
	n_up += publish_packet(up + n_up, sizeof(up) - n_up, f.version, 20);
	connack = connack_packet(down, sizeof(down), f.version, 0);
	n_down = connack + publish_packet(down + connack, sizeof(down) - connack, f.version, 30);
	world_begin();
	tcp_open(&f);
	for (size_t at = 0, n; at < n_up; at += n) {
		n = cut == 0 ? 1 : at < cut && cut < n_up ? cut : n_up - at;
		out_clear();
		send_next(&f, CLIENT, ACK, up + at, n);
		CHECK_EQ(n_sent(1), 1);
	}
	out_clear();
	w.config.limits.parked_per_flow = 200;
	for (size_t at = 0, n; at < n_down; at += n) {
		n = cut == 0 ? 1 : at < cut && cut < n_down ? cut : n_down - at;
		send_next(&f, BROKER, ACK, down + at, n);
	}
	CHECK_EQ(w.n_out, 0);
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_OPEN);
	f.chan = msg.chan;
	f.info = msg.info;
	tell(&f, MQT_MSG_GRANT, 0);
	if (cut != 0) {
		size_t total = 0;

		for (unsigned i = 0; i < n_sent(0); i++)
			total += sent(0, i)->v.payload_len;
		CHECK_EQ(total, n_down);
		CHECK_EQ(slot_counter(&f, MQT_SEND_PKT), 2);
		CHECK_EQ(slot_counter(&f, MQT_SEND_MSG), 1);
	}
	CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 2);
	CHECK_EQ(slot_counter(&f, MQT_RECV_MSG), 1);
	CHECK_EQ(slot_counter(&f, MQT_RECV_OCT), n_up);
	CHECK_EQ(COUNT(ANOMALY_FRAMING), 0);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	release(&f);
	world_end();
}

static void
test_streams_cut_anywhere_mean_the_same(void)
{
	for (unsigned i = 0; i < RTE_DIM(shapes); i++)
		for (size_t cut = 0; cut < 90; cut++)
			stream_cut(&shapes[i], cut);
}

static const struct {
	const char *name;
	const char *bytes;
	uint8_t len;
	enum mqt_worker_counter counter;
} not_mqtt[] = {
	{ "http", "GET / HTTP/1.1\r\n", 16, MQT_W_OPAQUE_PROTOCOL },
	{ "tls", "\x16\x03\x01\x02\x00", 5, MQT_W_OPAQUE_PROTOCOL },
	{ "name", "\x10\x0c\x00\x04MQTX\x04\x02\x00\x3c\x00\x00", 14, MQT_W_OPAQUE_PROTOCOL },
	{ "level", "\x10\x0c\x00\x04MQTT\x09\x02\x00\x3c\x00\x00", 14, MQT_W_OPAQUE_PROTOCOL },
	{ "flag", "\x10\x0c\x00\x04MQTT\x04\x03\x00\x3c\x00\x00", 14, MQT_W_OPAQUE_MALFORMED },
	{ "var-int", "\x10\xff\xff\xff\xff\x01", 6, MQT_W_OPAQUE_MALFORMED },
	{ "oversize", "\x10\xff\xff\x03\x00\x04MQTT\x04\x02\x00\x3c", 14, MQT_W_OPAQUE_OVERSIZE },
};

static void
test_what_is_not_mqtt_passes_and_is_counted_by_kind(void)
{
	for (unsigned i = 0; i < RTE_DIM(not_mqtt); i++) {
		for (unsigned closed = 0; closed < 2; closed++) {
			struct flow f = flow_new();

			check_row = not_mqtt[i].name;
			world_config();
			w.config.listeners[0].on_failure = (uint8_t)closed;
			world_start();
			tcp_open(&f);
			out_clear();
			send_next(&f, CLIENT, ACK, not_mqtt[i].bytes, not_mqtt[i].len);
			CHECK_EQ(COUNT(OPAQUE), 1);
			CHECK_EQ(mqt_counter_get(&w.counters.v[not_mqtt[i].counter]), 1);
			CHECK_EQ(n_sent(1) > 0, 1);
			CHECK_EQ(sent(1, 0)->v.payload_len, closed ? 0 : not_mqtt[i].len);
			CHECK_EQ(in_state(closed ? MQT_CONN_CLOSING : MQT_CONN_OPAQUE), 1);
			out_clear();
			send_next(&f, BROKER, ACK, "whatever", 8);
			send_next(&f, CLIENT, FIN_ACK, NULL, 0);
			if (!closed) {
				CHECK_EQ(n_sent(0), 1);
				send_next(&f, BROKER, FIN_ACK, NULL, 0);
				send_next(&f, CLIENT, ACK, NULL, 0);
				CHECK_EQ(in_state(MQT_CONN_OPAQUE), 0);
			}
			CHECK_NO_MESSAGE();
			world_end();
		}
	}
}

static void
test_refusing_connack_passes_without_a_channel(void)
{
	struct flow f = flow_new();
	uint8_t buf[128];

	world_begin();
	tcp_open(&f);
	send_next(&f, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), 4, "x"));
	out_clear();
	send_next(&f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), 4, 5));
	CHECK_EQ(n_sent(0), 1);
	CHECK_EQ(COUNT(CONNACK_REFUSED), 1);
	CHECK_EQ(COUNT(OPAQUE), 0);
	send_next(&f, BROKER, FIN_ACK, NULL, 0);
	send_next(&f, CLIENT, FIN_ACK, NULL, 0);
	send_next(&f, BROKER, ACK, NULL, 0);
	CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
	CHECK_NO_MESSAGE();
	world_end();
}

static void
test_auth_passes_before_connack(void)
{
	static const uint8_t auth[] = { 0xf0, 0x02, 0x18, 0x00 };
	uint8_t buf[128];

	for (unsigned cut = 1; cut <= sizeof(auth); cut++) {
		struct flow f = flow_new();

		f.version = 5;
		world_begin();
		tcp_open(&f);
		send_next(&f, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), 5, "x"));
		out_clear();
		send_next(&f, BROKER, ACK, auth, cut);
		if (cut < sizeof(auth))
			send_next(&f, BROKER, ACK, auth + cut, sizeof(auth) - cut);
		CHECK_EQ(n_sent(0), cut < sizeof(auth) ? 2 : 1);
		send_next(&f, CLIENT, ACK, auth, sizeof(auth));
		CHECK_EQ(n_sent(1), 1);
		out_clear();
		send_next(&f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), 5, 0));
		CHECK_EQ(n_sent(0), 0);
		CHECK_EQ(in_state(MQT_CONN_OPENING), 1);
		world_end();
	}
}

static void
test_broker_that_speaks_first_is_opaque(void)
{
	struct flow f = flow_new();

	world_begin();
	tcp_open(&f);
	out_clear();
	send_next(&f, BROKER, ACK, "SSH-2.0\r\n", 9);
	CHECK_EQ(n_sent(0), 1);
	CHECK_EQ(COUNT(ANOMALY_BEFORE_CONNECT), 1);
	CHECK_EQ(in_state(MQT_CONN_OPAQUE), 1);
	world_end();
}

static void
test_client_ids_make_digests(void)
{
	static const struct {
		const char *name, *id, *assigned;
		uint8_t version;
		unsigned flags;
	} rows[] = {
		{ "own", "abc", NULL, 5, 0 },
		{ "assigned", "", "broker-made", 5, MQT_INFO_ASSIGNED },
		{ "anonymous", "", NULL, 4, MQT_INFO_ANONYMOUS },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flow f = flow_new();
		const char *a = rows[i].assigned, *id = a ? a : rows[i].id;
		struct mqt_mqtt_connack ack = {
			.has_keepalive = a, .keepalive_sec = 7, .has_expiry = a, .expiry_sec = 9
		};
		struct mqt_digest want;
		struct mqt_msg msg;
		uint8_t buf[128];

		check_row = rows[i].name;
		world_begin();
		tcp_open(&f);
		send_next(&f, CLIENT, ACK, buf,
				connect_packet(buf, sizeof(buf), rows[i].version, rows[i].id));
		if (a)
			ack.assigned_clientid = (struct mqt_bytes){ (const uint8_t *)a,
				(uint32_t)strlen(a) };
		send_next(&f, BROKER, ACK, buf,
				mqt_mqtt_connack_encode(buf, sizeof(buf), rows[i].version, &ack));
		msg = next_message();
		CHECK_EQ(msg.type, MQT_MSG_OPEN);
		want = rows[i].flags & MQT_INFO_ANONYMOUS
				? mqt_digest_anonymous(&w.key, msg.chan)
				: mqt_digest_client(&w.key, 0, a ? &msg.info->broker : NULL, id,
						  strlen(id));
		CHECK(mqt_digest_equal(&msg.info->digest, &want));
		CHECK_EQ(msg.info->flags & (MQT_INFO_ASSIGNED | MQT_INFO_ANONYMOUS), rows[i].flags);
		CHECK_EQ(msg.info->keepalive_sec, a ? 7 : 60);
		CHECK_EQ(msg.info->expiry_sec, a ? 9 : rows[i].version == 5 ? 77 : 0);
		free(msg.info);
		world_end();
	}
}

static void
test_what_connect_and_connack_say_is_in_the_info(void)
{
	struct flow f = flow_new();
	struct mqt_mqtt_connect connect = { .version = 4,
		.bridge = true,
		.has_will = true,
		.clientid = { (const uint8_t *)"b", 1 } };
	struct mqt_mqtt_connack connack = { .session_present = true };
	struct mqt_msg msg;
	uint8_t buf[128];

	world_begin();
	tcp_open(&f);
	send_next(&f, CLIENT, ACK, buf, mqt_mqtt_connect_encode(buf, sizeof(buf), &connect));
	send_next(&f, BROKER, ACK, buf, mqt_mqtt_connack_encode(buf, sizeof(buf), 4, &connack));
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_OPEN);
	CHECK_EQ(msg.info->flags, MQT_INFO_SESSION_PRESENT | MQT_INFO_HAS_WILL | MQT_INFO_BRIDGE);
	CHECK_EQ(msg.info->keepalive_sec, 0);
	free(msg.info);
	world_end();
}

static void
test_no_connack_in_time_makes_the_flow_opaque(void)
{
	struct flow f = flow_new();
	uint8_t buf[128];

	world_begin();
	tcp_open(&f);
	send_next(&f, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), 4, "slow"));
	send_next(&f, BROKER, ACK, "\x20", 1);
	out_clear();
	advance(61 * SEC);
	CHECK_EQ(COUNT(OPAQUE_TIMEOUT), 1);
	CHECK_EQ(n_sent(0), 1); /* what was held goes on */
	world_end();
}

/* --- order, repetition, forgery before CONNACK ------------------------------------------------- */

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

/* --- parking (R11, R12) ------------------------------------------------------------------------ */

static void
test_what_follows_connack_is_parked_in_order(void)
{
	struct flow f = flow_new();
	uint8_t buf[128];
	size_t len = publish_packet(buf, sizeof(buf), 4, 10);
	uint32_t s;

	world_begin();
	tcp_open(&f);
	mqtt_open(&f, "p");
	out_clear();
	s = f.seq[BROKER];
	send_at(&f, BROKER, ACK, s + (uint32_t)len, f.seq[CLIENT], buf, len);
	send_at(&f, BROKER, ACK, s, f.seq[CLIENT], buf, len);
	send_at(&f, BROKER, ACK, s, f.seq[CLIENT], buf, len); /* replaces */
	CHECK_EQ(w.n_out, 0);
	CHECK_EQ(COUNT(PARKED), 3);
	send_at(&f, BROKER, ACK, s + 3, f.seq[CLIENT], buf + 3, 2); /* is there already */
	CHECK_EQ(COUNT(PARKED), 3);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->parked), 3);
	buf[len - 1] ^= 1;
	send_at(&f, BROKER, ACK, s, f.seq[CLIENT], buf, len);
	CHECK_EQ(COUNT(CONFLICT), 1);
	send_at(&f, BROKER, ACK, s + 2 * (uint32_t)len, f.seq[CLIENT], NULL, 0);
	CHECK_EQ(n_sent(0), 1); /* pure acknowledgements pass */
	send_next(&f, CLIENT, ACK, buf, 2);
	CHECK_EQ(n_sent(1), 1); /* the client's direction too */
	out_clear();
	CHECK_NO_MESSAGE();
	tell(&f, MQT_MSG_GRANT, 0);
	CHECK_EQ(n_sent(0), 3);
	CHECK_EQ(sent(0, 0)->v.seq, s - 4);
	CHECK_EQ(sent(0, 1)->v.seq, s);
	CHECK_EQ(sent(0, 2)->v.seq, s + (uint32_t)len);
	CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
	CHECK_EQ(slot_counter(&f, MQT_SEND_MSG), 2);
	send_at(&f, BROKER, FIN_ACK, s + 2 * (uint32_t)len, f.seq[CLIENT], NULL, 0);
	CHECK_DOWN(&f, MQT_REASON_BROKER_CLOSED);
	release(&f);
	world_end();
}

static void
test_broker_that_closes_behind_its_connack_ends_the_newcomer(void)
{
	static const struct {
		const char *name;
		unsigned flags;
		enum mqt_reason reason;
	} rows[] = {
		{ "FIN", FIN_ACK, MQT_REASON_BROKER_CLOSED },
		{ "RST", RST_ACK, MQT_REASON_BROKER_RESET },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flow f = flow_new();
		uint32_t s;

		check_row = rows[i].name;
		world_begin();
		tcp_open(&f);
		mqtt_open(&f, "p");
		out_clear();
		s = f.seq[BROKER];
		send_at(&f, BROKER, rows[i].flags, s + 2, f.seq[CLIENT], NULL, 0);
		CHECK_NO_MESSAGE(); /* behind a gap: it may never come to the client */
		CHECK_EQ(w.n_out, 0);
		send_at(&f, BROKER, ACK, s, f.seq[CLIENT], "\xd0\x00", 2);
		CHECK_DOWN(&f, rows[i].reason);
		CHECK_EQ(COUNT(INJECTED_CONNACK), 1); /* a refusal; the broker's never leaves */
		tell(&f, MQT_MSG_GRANT, 0);
		CHECK_EQ(next_message().type, MQT_MSG_RETURN);
		release(&f);
		world_end();
	}
	check_row = "";
}

static void
test_parking_is_bounded_by_flow_and_worker(void)
{
	for (unsigned by_flow = 0; by_flow < 2; by_flow++) {
		struct flow f = flow_new();

		check_row = by_flow ? "flow" : "worker";
		world_config();
		w.config.limits.parked_per_flow = by_flow ? 3 : 100;
		w.config.limits.parked_per_worker = by_flow ? 100 : 3;
		world_start();
		tcp_open(&f);
		mqtt_open(&f, "p");
		out_clear();
		for (unsigned i = 0; i < 5; i++)
			send_next(&f, BROKER, ACK, "\xd0\x00", 2);
		CHECK_EQ(w.n_out, 0);
		CHECK_EQ(COUNT(PARKED_DROPPED_FLOW), by_flow ? 3 : 0);
		CHECK_EQ(COUNT(PARKED_DROPPED_WORKER), by_flow ? 0 : 3);
		free(f.info);
		world_end();
	}
}

/* --- the newcomer's end, refusals, limits ------------------------------------------------------ */

static void
test_newcomer_that_dies_is_down_and_returns_its_grant(void)
{
	for (unsigned reset = 0; reset < 2; reset++) {
		struct flow f = flow_new();

		check_row = reset ? "RST" : "FIN";
		world_begin();
		tcp_open(&f);
		mqtt_open(&f, "p");
		out_clear();
		send_next(&f, CLIENT, reset ? RST_ACK : FIN_ACK, NULL, 0);
		CHECK_DOWN(&f, reset ? MQT_REASON_CLIENT_RESET : MQT_REASON_CLIENT_CLOSED);
		tell(&f, MQT_MSG_GRANT, 0);
		CHECK_EQ(next_message().type, MQT_MSG_RETURN);
		for (unsigned i = 0; i < n_sent(0); i++)
			CHECK_EQ(sent(0, i)->v.payload_len, 0);
		release(&f);
		advance(20 * SEC);
		CHECK_EQ(in_state(MQT_CONN_FREE), 64);
		CHECK_NO_MESSAGE();
		world_end();
	}
}

static void
test_client_that_half_closed_before_connack_ends_once_granted(void)
{
	struct flow f = flow_new();
	struct mqt_msg msg;
	uint8_t buf[128];

	world_begin();
	tcp_open(&f);
	send_next(&f, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), 4, "probe"));
	send_next(&f, CLIENT, FIN_ACK, NULL, 0);
	send_next(&f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), 4, 0));
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_OPEN);
	f.chan = msg.chan;
	f.info = msg.info;
	out_clear();
	tell(&f, MQT_MSG_GRANT, 0);
	CHECK_EQ(n_sent(0), 1);
	CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
	release(&f);
	world_end();
}

static void
test_superseded_newcomer_gets_a_refusal_and_its_broker_a_disconnect(void)
{
	for (unsigned i = 0; i < RTE_DIM(shapes); i++) {
		struct flow f = flow_of(&shapes[i]);
		struct mqt_mqtt_connack ack;
		uint8_t got[64];

		world_begin();
		tcp_open(&f);
		mqtt_open(&f, "late");
		send_next(&f, BROKER, ACK, "\xd0\x00", 2);
		out_clear();
		tell(&f, MQT_MSG_REFUSE, MQT_REASON_SUPERSEDED);
		CHECK_NO_MESSAGE();
		CHECK_EQ(COUNT(REFUSALS), 1);
		CHECK_EQ(n_sent(0), 1);
		CHECK_EQ(n_sent(1), 1);
		CHECK_EQ(sent(0, 0)->v.seq, 0xfffffff1u);
		CHECK_EQ(sent(0, 0)->v.ack, f.seq[CLIENT]);
		CHECK_EQ(sent(0, 0)->v.tcp_flags & MQT_TCP_FIN, MQT_TCP_FIN);
		CHECK(mqt_pkt_checksum_ok(sent(0, 0)->m, &sent(0, 0)->v));
		payload_of(sent(0, 0), got);
		CHECK_EQ(mqt_mqtt_connack_parse(
					 got, sent(0, 0)->v.payload_len, f.version, &ack, NULL),
				MQT_PARSE_OK);
		CHECK_EQ(ack.code, f.version == 5 ? 0x89 : 0x03);
		payload_of(sent(1, 0), got);
		CHECK_EQ(got[0], 0xe0);
		CHECK_EQ(sent(1, 0)->v.seq, f.seq[CLIENT]);
		CHECK_EQ(sent(1, 0)->v.ack, f.seq[BROKER]); /* the parked bytes too */
		CHECK_EQ(sent(1, 0)->v.tcp_flags & MQT_TCP_FIN, MQT_TCP_FIN);
		CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
		world_end();
	}
}

static void
test_newcomer_without_room_passes_or_is_refused(void)
{
	for (unsigned timeout = 0; timeout < 2; timeout++) {
		for (unsigned closed = 0; closed < 2; closed++) {
			struct flow f = flow_new();

			check_row = timeout ? "opening timeout" : "maps full";
			world_config();
			w.config.listeners[0].on_failure = (uint8_t)closed;
			world_start();
			tcp_open(&f);
			mqtt_open(&f, "full");
			out_clear();
			if (timeout) {
				advance(20 * SEC + 100 * MS);
				CHECK_DOWN(&f, MQT_REASON_OPENING_TIMEOUT);
				CHECK_EQ(COUNT(OPENING_TIMEOUTS), 1);
				tell(&f, MQT_MSG_GRANT, 0);
				CHECK_EQ(next_message().type, MQT_MSG_RETURN);
				release(&f);
			} else {
				tell(&f, MQT_MSG_REFUSE, MQT_REASON_TABLE_FULL);
			}
			CHECK_NO_MESSAGE();
			CHECK_EQ(COUNT(UNTRACKED_POSSIBLE_DUPLICATE), !closed);
			CHECK_EQ(COUNT(INJECTED_CONNACK), closed);
			CHECK_EQ(n_sent(0), 1);
			CHECK_EQ(sent(0, 0)->v.payload_len, 4);
			CHECK_EQ(in_state(closed ? MQT_CONN_CLOSING : MQT_CONN_OPAQUE), 1);
			world_end();
		}
	}
}

/* --- CONNECTED --------------------------------------------------------------------------------- */

static void
test_traffic_is_counted(void)
{
	struct flow f = flow_new();
	uint8_t buf[256];
	size_t len;

	world_begin();
	connected(&f, "c");
	len = publish_packet(buf, sizeof(buf), 4, 100);
	w.now += SEC;
	send_next(&f, CLIENT, ACK, buf, len);
	send_next(&f, CLIENT, ACK, "\xc0\x00", 2);
	send_next(&f, BROKER, ACK, "\xd0\x00", 2);
	send_at(&f, CLIENT, ACK, f.seq[CLIENT] - 2, f.seq[BROKER], "\xc0\x00", 2); /* again */
	CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 3);
	CHECK_EQ(slot_counter(&f, MQT_RECV_MSG), 1);
	CHECK_EQ(slot_counter(&f, MQT_SEND_PKT), 2);
	CHECK_EQ(slot_counter(&f, MQT_RECV_CNT), 3);
	CHECK_EQ(n_sent(1), 3);
	send_at(&f, CLIENT, ACK, f.seq[CLIENT] + 70000, f.seq[BROKER], "\xc0\x00", 2);
	CHECK_EQ(n_sent(1), 4);
	CHECK_EQ(COUNT(OUT_OF_WINDOW), 1);
	CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 3);
	CHECK_EQ(n_sent(0), 1);
	free(f.info);
	world_end();
}

static void
test_reordered_segments_leave_at_once_and_are_counted(void)
{
	struct flow f = flow_new();
	uint8_t buf[512];
	size_t len = 0;
	uint32_t s;

	for (unsigned i = 0; i < 10; i++)
		len += publish_packet(buf + len, sizeof(buf) - len, 4, 10);
	world_begin();
	connected(&f, "c");
	s = f.seq[CLIENT];
	/* from the last byte to the first, three a segment, each twice */
	for (size_t at = len - len % 3; at < len + 1; at -= 3) {
		size_t n = at + 3 > len ? len - at : 3;

		if (n > 0 && len / 3 - at / 3 < 16)
			send_at(&f, CLIENT, ACK, s + (uint32_t)at, f.seq[BROKER], buf + at, n);
		if (at == 0)
			break;
	}
	CHECK_EQ(n_sent(1), COUNT(REORDER_HELD));
	CHECK(COUNT(REORDER_HELD) >= 10);
	CHECK_EQ(slot_counter(&f, MQT_RECV_MSG), 0);
	send_at(&f, CLIENT, ACK, s, f.seq[BROKER], buf, len);
	CHECK_EQ(slot_counter(&f, MQT_RECV_MSG), 10);
	CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 11);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->parked), 0);
	free(f.info);
	world_end();
}

static void
test_gap_inside_a_body_needs_no_holding(void)
{
	struct flow f = flow_new();
	uint8_t buf[2048];
	size_t len = publish_packet(buf, sizeof(buf), 4, 1900);
	uint32_t s;

	world_begin();
	connected(&f, "c");
	s = f.seq[CLIENT];
	send_at(&f, CLIENT, ACK, s, f.seq[BROKER], buf, 100);
	send_at(&f, CLIENT, ACK, s + 600, f.seq[BROKER], buf + 600, 500);
	CHECK_EQ(COUNT(REORDER_HELD), 0);
	send_at(&f, CLIENT, ACK, s + 100, f.seq[BROKER], buf + 100, 500);
	send_at(&f, CLIENT, ACK, s + 1100, f.seq[BROKER], buf + 1100, len - 1100);
	CHECK_EQ(slot_counter(&f, MQT_RECV_MSG), 1);
	CHECK_EQ(n_sent(1), 4);
	free(f.info);
	world_end();
}

static void
test_acknowledged_unseen_bytes_end_following_but_not_identity(void)
{
	struct flow f = flow_new();
	uint8_t buf[128];
	size_t len = publish_packet(buf, sizeof(buf), 4, 10);

	world_begin();
	connected(&f, "c");
	f.seq[CLIENT] += (uint32_t)len; /* by another way */
	send_next(&f, BROKER, ACK, NULL, 0);
	CHECK_EQ(COUNT(ANOMALY_GAP), 1);
	send_next(&f, CLIENT, ACK, buf, len);
	CHECK_EQ(slot_counter(&f, MQT_RECV_MSG), 0);
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
	send_next(&f, CLIENT, FIN_ACK, NULL, 0);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
	release(&f);
	world_end();
}

static void
test_second_connect_and_broken_framing_keep_identity(void)
{
	for (unsigned second = 0; second < 2; second++) {
		struct flow f = flow_new();
		uint8_t buf[128];
		size_t len = connect_packet(buf, sizeof(buf), 4, "other");

		check_row = second ? "second CONNECT" : "type 0";
		world_begin();
		connected(&f, "c");
		if (second)
			send_next(&f, CLIENT, ACK, buf, len);
		else
			send_next(&f, CLIENT, ACK, "\x00\x00", 2);
		CHECK_EQ(COUNT(ANOMALY_SECOND_CONNECT), second);
		CHECK_EQ(COUNT(ANOMALY_FRAMING), !second);
		CHECK_EQ(next_message().type, MQT_MSG_ANOMALY);
		CHECK_EQ(n_sent(1), 1);
		send_next(&f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), 4, 0));
		CHECK_EQ(n_sent(0), 1);
		CHECK_EQ(next_message().type, MQT_MSG_ANOMALY);
		CHECK_NO_MESSAGE();
		CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
		tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
		CHECK_DOWN(&f, MQT_REASON_KICKED);
		release(&f);
		world_end();
	}
}

/* --- the end of a flow ------------------------------------------------------------------------- */

static const struct {
	const char *name;
	bool disconnect;
	int side;
	unsigned flags;
	enum mqt_reason reason;
} ends[] = {
	{ "disconnect, fin", true, CLIENT, FIN_ACK, MQT_REASON_CLIENT_DISCONNECT },
	{ "disconnect, broker fin", true, BROKER, FIN_ACK, MQT_REASON_CLIENT_DISCONNECT },
	{ "fin", false, CLIENT, FIN_ACK, MQT_REASON_CLIENT_CLOSED },
	{ "rst", false, CLIENT, RST_ACK, MQT_REASON_CLIENT_RESET },
	{ "broker fin", false, BROKER, FIN_ACK, MQT_REASON_BROKER_CLOSED },
	{ "broker rst", false, BROKER, RST_ACK, MQT_REASON_BROKER_RESET },
};

static void
test_end_of_a_flow_is_down_once_with_its_reason(void)
{
	for (unsigned i = 0; i < RTE_DIM(ends); i++) {
		struct flow f = flow_new();

		check_row = ends[i].name;
		world_begin();
		connected(&f, "c");
		if (ends[i].disconnect)
			send_next(&f, CLIENT, ACK, "\xe0\x00", 2);
		CHECK_NO_MESSAGE();
		send_next(&f, ends[i].side, ends[i].flags, NULL, 0);
		CHECK_EQ(n_sent((uint16_t)!ends[i].side) > 0, 1);
		CHECK_DOWN(&f, ends[i].reason);
		if (ends[i].flags & MQT_TCP_FIN) {
			CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
			out_clear();
			send_next(&f, !ends[i].side, ACK, "\xd0\x00", 2);
			CHECK_EQ(n_sent((uint16_t)ends[i].side), 1);
			send_next(&f, !ends[i].side, FIN_ACK, NULL, 0);
			send_next(&f, ends[i].side, ACK, NULL, 0);
		}
		CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
		tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
		{
			struct mqt_msg msg = next_message();

			CHECK_EQ(msg.type, MQT_MSG_STEPDOWN_DONE);
			CHECK_EQ(msg.result, -ENOENT);
			CHECK_EQ(msg.token, 42);
		}
		release(&f);
		advance(2 * SEC);
		CHECK_EQ(in_state(MQT_CONN_FREE), 64);
		CHECK_NO_MESSAGE();
		world_end();
	}
}

static void
test_half_closed_flow_lingers_for_a_limit(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "c");
	send_next(&f, CLIENT, FIN_ACK, NULL, 0);
	advance(59 * SEC);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
	advance(2 * SEC);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 0);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
	CHECK_NO_MESSAGE();
	release(&f);
	world_end();
}

static void
test_fin_behind_a_gap_counts_when_it_is_filled(void)
{
	struct flow f = flow_new();
	uint32_t s;

	world_begin();
	connected(&f, "c");
	s = f.seq[CLIENT];
	send_at(&f, CLIENT, FIN_ACK, s + 2, f.seq[BROKER], NULL, 0);
	CHECK_EQ(n_sent(1), 1);
	CHECK_NO_MESSAGE();
	send_at(&f, CLIENT, ACK, s, f.seq[BROKER], "\xe0\x00", 2);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_DISCONNECT);
	release(&f);
	world_end();
}

static const struct {
	const char *name;
	int32_t offset; /* from the next number */
	bool ends, doubt;
} rsts[] = {
	{ "exact", 0, true, false },
	{ "old", -1, false, false },
	{ "in the window", 1000, false, true },
	{ "beyond the window", 70000, false, false },
};

static void
test_rst_ends_the_flow_only_where_the_receiver_can_take_it(void)
{
	for (unsigned i = 0; i < RTE_DIM(rsts); i++) {
		for (unsigned alive = 0; alive < 2; alive++) {
			struct flow f = flow_new();

			check_row = rsts[i].name;
			world_begin();
			connected(&f, "c");
			send_at(&f, CLIENT, MQT_TCP_RST, f.seq[CLIENT] + (uint32_t)rsts[i].offset,
					0, NULL, 0);
			CHECK_EQ(n_sent(1), 1);
			CHECK_EQ(in_state(MQT_CONN_CONNECTED), !rsts[i].ends);
			if (alive) /* the broker's challenge */
				send_next(&f, BROKER, ACK, NULL, 0);
			advance(3 * SEC);
			if (rsts[i].ends || (rsts[i].doubt && !alive))
				CHECK_DOWN(&f, MQT_REASON_CLIENT_RESET);
			else
				CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
			CHECK_NO_MESSAGE();
			free(f.info);
			world_end();
		}
	}
}

/* --- stepping down (R14, R15, R16) ------------------------------------------------------------- */

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
		tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
		CHECK_DOWN(&f, MQT_REASON_KICKED);
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

/* --- kills, slots, unknown messages ------------------------------------------------------------ */

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
	advance(2 * SEC);
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

/* --- streams at random ------------------------------------------------------------------------- */

/* What one end has got, by stream offset. */
struct receiver {
	uint8_t bytes[8192], have[8192];
	uint32_t base, upto;
};

static void
receive(struct receiver *r, uint16_t port)
{
	for (unsigned i = 0; i < w.n_out; i++) {
		const struct out *o = &w.out[i];
		uint8_t buf[2048];

		if (o->port != port || o->v.payload_len == 0)
			continue;
		payload_of(o, buf);
		for (uint32_t k = 0; k < o->v.payload_len; k++) {
			uint32_t at = o->v.seq + k - r->base;

			CHECK(at < sizeof(r->bytes));
			CHECK(!r->have[at] || r->bytes[at] == buf[k]);
			r->bytes[at] = buf[k];
			r->have[at] = 1;
		}
	}
	while (r->have[r->upto])
		r->upto++;
}

/*
 * Both streams in random pieces, reordered and repeated, until both ends have all. @return whether
 * one was given up.
 */
static bool
random_run(const struct shape *shape, uint32_t reorder)
{
	struct flow f = flow_of(shape);
	uint8_t stream[2][4096];
	size_t len[2], connect;
	struct receiver got[2] = { 0 };
	uint32_t base[2];
	unsigned n_msgs[2] = { 1 + rnd(10), 1 + rnd(10) }, rounds = 0;
	bool opened = false, granted = false, lost;

	connect = len[CLIENT] = connect_packet(stream[CLIENT], 4096, f.version, "random");
	len[BROKER] = connack_packet(stream[BROKER], 4096, f.version, 0);
	for (unsigned side = 0; side < 2; side++)
		for (unsigned i = 0; i < n_msgs[side]; i++)
			len[side] += publish_packet(stream[side] + len[side], 4096 - len[side],
					f.version, rnd(300));
	world_config();
	w.config.limits.parked_per_flow = 5;
	w.config.limits.reorder_per_flow = reorder;
	world_start();
	tcp_open(&f);
	out_clear();
	base[CLIENT] = got[BROKER].base = f.seq[CLIENT];
	base[BROKER] = got[CLIENT].base = f.seq[BROKER];
	while ((got[BROKER].upto < len[CLIENT] || got[CLIENT].upto < len[BROKER]) &&
			rounds++ < 20000) {
		unsigned side = rnd(2);
		uint32_t acked = got[!side].upto, at, n;

		/* the broker speaks when it has read CONNECT */
		if (side == BROKER && got[BROKER].upto < connect)
			side = CLIENT, acked = got[BROKER].upto;
		at = acked + rnd(rnd(4) ? 40 : 400);
		if (at >= len[side])
			at = acked;
		n = 1 + rnd(rnd(4) ? 10 : 500);
		if (at + n > len[side])
			n = (uint32_t)len[side] - at;
		send_at(&f, (int)side, ACK, base[side] + at, base[!side] + got[side].upto,
				stream[side] + at, n);
		receive(&got[CLIENT], 0);
		receive(&got[BROKER], 1);
		out_clear();
		if (!opened) {
			struct mqt_msg msg = next_message();

			opened = msg.type == MQT_MSG_OPEN;
			f.chan = msg.chan;
			f.info = msg.info;
			CHECK_EQ(got[CLIENT].upto, 0);
		} else if (!granted && rnd(20) == 0) {
			CHECK_EQ(got[CLIENT].upto, 0);
			tell(&f, MQT_MSG_GRANT, 0);
			granted = true;
		}
	}
	CHECK_EQ(got[BROKER].upto, len[CLIENT]);
	CHECK_EQ(got[CLIENT].upto, len[BROKER]);
	CHECK_MEM(got[BROKER].bytes, stream[CLIENT], len[CLIENT]);
	CHECK_MEM(got[CLIENT].bytes, stream[BROKER], len[BROKER]);
	CHECK(granted);
	CHECK_EQ(slot_counter(&f, MQT_RECV_OCT), len[CLIENT]);
	CHECK_EQ(slot_counter(&f, MQT_SEND_OCT), len[BROKER]);
	CHECK_EQ(COUNT(ANOMALY_FRAMING) + COUNT(OPAQUE) + COUNT(CONFLICT), 0);
	lost = COUNT(ANOMALY_GAP) > 0;
	if (!lost) {
		CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 1 + n_msgs[CLIENT]);
		CHECK_EQ(slot_counter(&f, MQT_SEND_PKT), 1 + n_msgs[BROKER]);
		CHECK_EQ(slot_counter(&f, MQT_RECV_MSG), n_msgs[CLIENT]);
		CHECK_EQ(slot_counter(&f, MQT_SEND_MSG), n_msgs[BROKER]);
	}
	free(f.info);
	world_end();
	return lost;
}

static void
test_random_segments_arrive_whole_and_are_followed(void)
{
	unsigned n_lost = 0;

	for (unsigned i = 0; i < 200; i++)
		CHECK(!random_run(&shapes[i % RTE_DIM(shapes)], 200));
	/* whole, also where streams are given up */
	for (unsigned i = 0; i < 200; i++)
		n_lost += random_run(&shapes[i % RTE_DIM(shapes)], 4);
	CHECK(n_lost > 0);
}

/* --- anything at all --------------------------------------------------------------------------- */

/* A control lcore that keeps to msg.h and is otherwise moody. */
struct ledger {
	mqt_chan_id chan;
	struct mqt_info *info;
	bool open, down, granted, begun, frozen;
	unsigned answers;
};

static void
tell_about(struct ledger *l, enum mqt_msg_type type, unsigned detail)
{
	struct flow f = { .chan = l->chan, .info = l->info };

	tell_with(&f, type, detail, type == MQT_MSG_GRANT && rnd(2) ? mqt_session_create() : NULL);
	l->info = f.info;
}

static void
stepdown_done(struct ledger *l, const struct mqt_msg *msg)
{
	CHECK(msg->result == 0 || (msg->result == -ENOENT && l->down));
	CHECK(msg->session == NULL || msg->action == MQT_STEPDOWN_TAKEOVER_BEGIN);
	CHECK(msg->pendings == NULL || msg->action == MQT_STEPDOWN_TAKEOVER_END);
	if (msg->action == MQT_STEPDOWN_TAKEOVER_BEGIN && msg->result == 0)
		l->frozen = true;
	else
		CHECK(l->down);
}

static void
control_turn(struct ledger *book, unsigned n)
{
	struct mqt_msg msg;

	while ((msg = next_message()).type != MQT_MSG_NONE) {
		struct ledger *l = &book[mqt_chan_id_slot(msg.chan) % n];

		switch (msg.type) {
		case MQT_MSG_OPEN:
			CHECK(!l->open);
			*l = (struct ledger){ .chan = msg.chan, .info = msg.info, .open = true };
			msg.info = NULL;
			break;
		case MQT_MSG_CLOSED:
			CHECK(msg.session && l->answers && !l->frozen);
			/* fallthrough */
		case MQT_MSG_DOWN:
			/* of a refused one it may cross, never of another or twice */
			CHECK_EQ(l->chan, msg.chan);
			CHECK(!l->down);
			l->down = true;
			break;
		case MQT_MSG_GRANTED:
		case MQT_MSG_RETURN:
			CHECK(l->granted && l->answers++ == 0);
			CHECK(msg.type == MQT_MSG_GRANTED || l->down);
			break;
		case MQT_MSG_INSPECTED:
		case MQT_MSG_ANOMALY:
			break;
		default:
			CHECK_EQ(msg.type, MQT_MSG_STEPDOWN_DONE);
			stepdown_done(l, &msg);
		}
		message_drop(&msg);
	}
}

static void
take_over(struct ledger *l)
{
	if (l->frozen)
		tell_about(l, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_END);
	else if (l->answers && !l->begun)
		tell_about(l, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_BEGIN);
	l->begun |= l->answers;
}

static void
control_act(struct ledger *l)
{
	struct flow f = { .chan = l->chan };

	if (!l->open)
		return;
	switch (rnd(11)) {
	case 0:
	case 1:
	case 2:
		if (!l->granted) {
			l->granted = true;
			tell_about(l, MQT_MSG_GRANT, 0);
		}
		break;
	case 3:
		if (!l->granted) {
			l->open = false;
			tell_about(l, MQT_MSG_REFUSE,
					rnd(2) ? MQT_REASON_SUPERSEDED : MQT_REASON_TABLE_FULL);
		}
		break;
	case 4:
		tell_about(l, MQT_MSG_STEPDOWN, rnd(2) ? MQT_STEPDOWN_KICK : MQT_STEPDOWN_DISCARD);
		break;
	case 5:
		kill_channel(&f);
		break;
	case 6:
	case 7:
		take_over(l);
		break;
	case 8:
		tell_about(l, MQT_MSG_INSPECT, 0);
		break;
	default:
		if (l->down && (!l->granted || l->answers)) {
			l->open = false;
			tell_about(l, MQT_MSG_RELEASE, 0);
		}
	}
}

static void
random_segment(struct flow *f)
{
	static const uint8_t flag_sets[] = { ACK, ACK, ACK, ACK, ACK, FIN_ACK, RST_ACK, MQT_TCP_RST,
		MQT_TCP_SYN, SYN_ACK };
	uint8_t buf[600];
	unsigned flags = flag_sets[rnd(sizeof(flag_sets))];
	int side = (int)rnd(2);
	size_t len = 0;
	uint32_t off = rnd(3) ? 0 : rnd(200) - 100;

	switch (rnd(7)) {
	case 0:
		len = connect_packet(buf, sizeof(buf), f->version, "fuzz");
		break;
	case 1:
		len = connack_packet(buf, sizeof(buf), f->version, rnd(4) ? 0 : 1);
		break;
	case 2:
		len = publish_packet(buf, sizeof(buf), f->version, rnd(400));
		break;
	case 3:
		len = rnd(20);
		for (size_t i = 0; i < len; i++)
			buf[i] = (uint8_t)rnd(256);
		break;
	case 4:
		len = subscribe_packet(buf, f->version, (uint16_t)(1 + rnd(3)), "some/filter", 1);
		break;
	case 5:
		len = qos_packet(buf, f->version, 1 + (uint8_t)rnd(2), (uint16_t)(1 + rnd(5)));
		break;
	default:
		break;
	}
	if (rnd(4) == 0)
		len = len ? rnd((uint32_t)len) : 0;
	if (flags & MQT_TCP_SYN)
		len = rnd(8) ? 0 : len;
	if (off == 0 && rnd(10))
		send_next(f, side, flags, buf, len);
	else
		send_at(f, side, flags, f->seq[side] + off, f->seq[!side] - rnd(3) * rnd(50), buf,
				len);
}

/* One that goes well up to a random point, so that all states are met. */
static void
random_open(struct flow *f, bool *fresh)
{
	uint8_t buf[256];

	if (*fresh)
		tcp_open(f);
	*fresh = false;
	if (rnd(4))
		send_next(f, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), f->version, "z"));
	if (rnd(4))
		send_next(f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), f->version, 0));
}

#define FUZZ_SLOTS 6

static void
fuzz_run(void)
{
	struct ledger book[FUZZ_SLOTS] = { 0 };
	struct flow flows[4];
	bool fresh[4];

	world_config();
	w.config.limits.max_connections = FUZZ_SLOTS;
	w.config.limits.max_embryos = 5;
	w.config.limits.max_handshakes = 3;
	w.config.limits.parked_per_flow = 3;
	w.config.limits.parked_per_worker = 6;
	w.config.limits.reorder_per_flow = 2;
	w.config.limits.slot_quiet_ms = 10;
	w.config.limits.session_packet_bytes = 60;
	w.config.listeners[0].on_failure = (uint8_t)rnd(2);
	w.config.listeners[0].will = (uint8_t)rnd(2);
	world_start();
	for (unsigned i = 0; i < 4; i++) {
		flows[i] = flow_of(&shapes[rnd(RTE_DIM(shapes))]);
		fresh[i] = true;
	}
	for (unsigned i = 0; i < 400; i++) {
		unsigned k = rnd(4);

		w.batching = rnd(3) == 0;
		if (fresh[k] || rnd(30) == 0)
			random_open(&flows[k], &fresh[k]);
		for (unsigned n = rnd(4); n > 0; n--)
			random_segment(&flows[k]);
		if (rnd(40) == 0) {
			flows[k].seq[0] = rnd(1u << 30) * 4;
			fresh[k] = true;
		}
		batch_end();
		control_turn(book, FUZZ_SLOTS);
		control_act(&book[rnd(FUZZ_SLOTS)]);
		control_turn(book, FUZZ_SLOTS);
		if (rnd(6) == 0)
			advance(rnd(4) ? rnd(1000) * MS : rnd(70) * SEC);
		control_turn(book, FUZZ_SLOTS);
		out_clear();
	}
	/* everything ends: all slots come home */
	advance(20000 * SEC);
	control_turn(book, FUZZ_SLOTS);
	for (unsigned i = 0; i < FUZZ_SLOTS; i++) {
		struct ledger *l = &book[i];

		if (!l->open)
			continue;
		if (!l->down)
			tell_about(l, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
		control_turn(book, FUZZ_SLOTS);
		CHECK(l->down);
		tell_about(l, MQT_MSG_RELEASE, 0);
	}
	out_clear();
	advance(20000 * SEC);
	CHECK_EQ(in_state(MQT_CONN_FREE), FUZZ_SLOTS);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->parked), 0);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->embryos), 0);
	CHECK_EQ(COUNT(UNEXPECTED_MSG), 0);
	world_end();
}

static void
test_whatever_happens_each_open_ends_once_and_slots_come_home(void)
{
	for (unsigned i = 0; i < 150; i++)
		fuzz_run();
}

int
main(void)
{
	CU_TestInfo begin[] = {
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
	CU_TestInfo open[] = {
		TEST(test_connack_waits_for_grant),
		TEST(test_connacks_of_a_burst_have_stamps_in_their_order),
		TEST(test_streams_cut_anywhere_mean_the_same),
		TEST(test_what_is_not_mqtt_passes_and_is_counted_by_kind),
		TEST(test_refusing_connack_passes_without_a_channel),
		TEST(test_auth_passes_before_connack),
		TEST(test_broker_that_speaks_first_is_opaque),
		TEST(test_client_ids_make_digests),
		TEST(test_what_connect_and_connack_say_is_in_the_info),
		TEST(test_no_connack_in_time_makes_the_flow_opaque),
		TEST(test_connect_behind_a_gap_is_not_forwarded),
		TEST(test_reordering_is_bounded),
		TEST(test_no_two_versions_of_a_connect_byte_pass),
		TEST(test_wrong_checksum_and_window_have_no_effect_before_connack),
		TEST(test_client_cannot_blind_the_tracker_by_false_acks),
		TEST(test_what_follows_connack_is_parked_in_order),
		TEST(test_broker_that_closes_behind_its_connack_ends_the_newcomer),
		TEST(test_parking_is_bounded_by_flow_and_worker),
		TEST(test_newcomer_that_dies_is_down_and_returns_its_grant),
		TEST(test_client_that_half_closed_before_connack_ends_once_granted),
		TEST(test_superseded_newcomer_gets_a_refusal_and_its_broker_a_disconnect),
		TEST(test_newcomer_without_room_passes_or_is_refused),
		CU_TEST_INFO_NULL,
	};
	CU_TestInfo life[] = {
		TEST(test_traffic_is_counted),
		TEST(test_reordered_segments_leave_at_once_and_are_counted),
		TEST(test_gap_inside_a_body_needs_no_holding),
		TEST(test_acknowledged_unseen_bytes_end_following_but_not_identity),
		TEST(test_second_connect_and_broken_framing_keep_identity),
		TEST(test_end_of_a_flow_is_down_once_with_its_reason),
		TEST(test_half_closed_flow_lingers_for_a_limit),
		TEST(test_fin_behind_a_gap_counts_when_it_is_filled),
		TEST(test_rst_ends_the_flow_only_where_the_receiver_can_take_it),
		TEST(test_random_segments_arrive_whole_and_are_followed),
		CU_TEST_INFO_NULL,
	};
	CU_TestInfo closing[] = {
		TEST(test_v5_client_gets_disconnect_and_fin),
		TEST(test_others_get_rst_at_both_numbers),
		TEST(test_closed_flow_passes_nothing_and_answers_by_rst),
		TEST(test_closing_is_tried_again_until_silent),
		TEST(test_new_data_after_our_fin_is_reset),
		TEST(test_stepdown_of_a_newcomer_refuses_it),
		TEST(test_killed_channel_lets_nothing_out),
		TEST(test_kill_between_verdict_and_tx_withholds_the_packet),
		TEST(test_killed_newcomer_returns_its_grant),
		TEST(test_slots_rest_after_release_and_are_reused_in_turn),
		TEST(test_messages_to_nobody_are_answered_and_counted),
		TEST(test_refuse_that_crosses_down_is_the_release),
		TEST(test_whatever_happens_each_open_ends_once_and_slots_come_home),
		TEST(test_empty_pool_delays_the_closing_segments),
		TEST(test_what_the_port_does_not_take_is_dropped_and_counted),
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ "begin", NULL, NULL, NULL, NULL, begin },
		{ "open", NULL, NULL, NULL, NULL, open },
		{ "life", NULL, NULL, NULL, NULL, life },
		{ "closing", NULL, NULL, NULL, NULL, closing },
		CU_SUITE_INFO_NULL,
	};
	return rig_run(suites);
}
