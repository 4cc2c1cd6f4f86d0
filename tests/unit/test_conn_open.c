/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CONNECT and CONNACK of connections, and what OPEN says of them.
 */
#include "conn_rig.h"

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
		CHECK_EQ(mqt_info_peer(msg.info).port, f.client_port);
		CHECK_EQ(mqt_info_peer(msg.info).version, f.ip6 ? 6 : 4);
		CHECK_EQ(mqt_info_broker(msg.info).port, 1883);
		CHECK_EQ(mqt_info_peer(msg.info).ip[f.ip6 ? 15 : 3], 1);
		CHECK_EQ(mqt_info_broker(msg.info).ip[f.ip6 ? 15 : 3], 2);
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
		CHECK_EQ(mqt_info_peer(msg.info).port, f[order[i]].client_port);
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
		struct mqt_endpoint broker;
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
		broker = mqt_info_broker(msg.info);
		want = rows[i].flags & MQT_INFO_ANONYMOUS
				? mqt_digest_anonymous(&w.key, msg.chan)
				: mqt_digest_client(&w.key, 0, a ? &broker : NULL, id, strlen(id));
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

static CU_TestInfo open_tests[] = {
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
