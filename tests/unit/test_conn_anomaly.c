/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a peer of MQTT may say and what it may not: each anomaly has its counter and is told to the
 * control lcore, once; the flow passes whatever was said, and never registers a second time.
 */
#include "conn_rig.h"

/* --- helpers ----------------------------------------------------------------------------------- */

/* All anomalies counted, the umbrella of broken framing left out. */
static uint64_t
n_anomalies(void)
{
	return COUNT(ANOMALY_BEFORE_CONNECT) + COUNT(ANOMALY_BEFORE_CONNACK) +
			COUNT(ANOMALY_SECOND_CONNECT) + COUNT(ANOMALY_SECOND_CONNACK) +
			COUNT(ANOMALY_FROM_CLIENT) + COUNT(ANOMALY_FROM_BROKER) +
			COUNT(ANOMALY_UNASSIGNED_TYPE) + COUNT(ANOMALY_RESERVED_FLAGS) +
			COUNT(ANOMALY_PUBLISH_QOS) + COUNT(ANOMALY_SUBSCRIBE_QOS) +
			COUNT(ANOMALY_REMAINING_LENGTH);
}

static void
check_told(const struct flow *f, enum mqt_reason reason)
{
	struct mqt_msg msg = next_message();

	CHECK_EQ(msg.type, MQT_MSG_ANOMALY);
	CHECK_EQ(msg.reason, reason);
	CHECK_EQ(msg.chan, f->chan);
	CHECK(msg.info == NULL);
	message_drop(&msg);
}

static void
discard(struct flow *f)
{
	tell(f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_DISCARD);
	CHECK_DOWN(f, MQT_REASON_DISCARDED);
	release(f);
	world_end();
}

/* --- what may be said -------------------------------------------------------------------------- */

static const struct {
	const char *row;
	int side;
	unsigned versions; /* bit for each */
	uint8_t bytes[16];
	uint8_t len;
} allowed[] = {
	{ "PUBLISH QoS 0", CLIENT, 0x38, { 0x30, 4, 0, 1, 't', 0 }, 6 },
	{ "PUBLISH QoS 0 dup", CLIENT, 0x38, { 0x38, 4, 0, 1, 't', 0 }, 6 },
	{ "PUBLISH QoS 1 retain", CLIENT, 0x38, { 0x33, 6, 0, 1, 't', 0, 1, 0 }, 8 },
	{ "PUBLISH QoS 2", CLIENT, 0x38, { 0x34, 6, 0, 1, 't', 0, 1, 0 }, 8 },
	{ "PUBLISH", BROKER, 0x38, { 0x32, 6, 0, 1, 't', 0, 1, 0 }, 8 },
	{ "PUBACK", CLIENT, 0x38, { 0x40, 2, 0, 1 }, 4 },
	{ "PUBACK", BROKER, 0x38, { 0x40, 2, 0, 1 }, 4 },
	{ "PUBACK with a reason", CLIENT, 0x20, { 0x40, 3, 0, 1, 0x10 }, 5 },
	{ "PUBREC", CLIENT, 0x38, { 0x50, 2, 0, 1 }, 4 },
	{ "PUBREC", BROKER, 0x38, { 0x50, 2, 0, 1 }, 4 },
	{ "PUBREL", CLIENT, 0x38, { 0x62, 2, 0, 1 }, 4 },
	{ "PUBREL dup", CLIENT, 0x08, { 0x6a, 2, 0, 1 }, 4 },
	{ "PUBREL", BROKER, 0x38, { 0x62, 2, 0, 1 }, 4 },
	{ "PUBCOMP", CLIENT, 0x38, { 0x70, 2, 0, 1 }, 4 },
	{ "PUBCOMP", BROKER, 0x38, { 0x70, 2, 0, 1 }, 4 },
	{ "SUBSCRIBE", CLIENT, 0x18, { 0x82, 6, 0, 1, 0, 1, 't', 2 }, 8 },
	{ "SUBSCRIBE 5.0, user property", CLIENT, 0x20,
			{ 0x82, 14, 0, 1, 7, 0x26, 0, 1, 3, 0, 1, 3, 0, 1, 't', 0x2e }, 16 },
	{ "SUBACK", BROKER, 0x38, { 0x90, 3, 0, 1, 0x80 }, 5 },
	{ "UNSUBSCRIBE", CLIENT, 0x18, { 0xa2, 5, 0, 1, 0, 1, 't' }, 7 },
	{ "UNSUBSCRIBE 5.0", CLIENT, 0x20, { 0xa2, 6, 0, 1, 0, 0, 1, 't' }, 8 },
	{ "UNSUBACK", BROKER, 0x38, { 0xb0, 2, 0, 1 }, 4 },
	{ "PINGREQ", CLIENT, 0x38, { 0xc0, 0 }, 2 },
	{ "PINGRESP", BROKER, 0x38, { 0xd0, 0 }, 2 },
	{ "AUTH", CLIENT, 0x20, { 0xf0, 2, 0x19, 0 }, 4 },
	{ "AUTH", BROKER, 0x20, { 0xf0, 2, 0x18, 0 }, 4 },
	{ "AUTH, success", BROKER, 0x20, { 0xf0, 0 }, 2 },
	{ "DISCONNECT", CLIENT, 0x38, { 0xe0, 0 }, 2 },
	{ "DISCONNECT with a reason", CLIENT, 0x20, { 0xe0, 1, 0x04 }, 3 },
	{ "DISCONNECT", BROKER, 0x20, { 0xe0, 1, 0x8b }, 3 },
};

static void
test_packet_of_each_type_from_its_side_is_counted_and_is_no_anomaly(void)
{
	for (unsigned version = 3; version <= 5; version++)
		for (unsigned i = 0; i < RTE_DIM(allowed); i++) {
			struct flow f = flow_new();
			int side = allowed[i].side;
			enum mqt_slot_counter counter =
					side == CLIENT ? MQT_RECV_PKT : MQT_SEND_PKT;

			if (!(allowed[i].versions >> version & 1))
				continue;
			check_row = allowed[i].row;
			f.version = (uint8_t)version;
			world_begin();
			connected(&f, "c");
			/* cut at every byte, then whole */
			for (unsigned cut = 1; cut <= allowed[i].len; cut++) {
				send_next(&f, side, ACK, allowed[i].bytes, cut);
				if (cut < allowed[i].len)
					send_next(&f, side, ACK, allowed[i].bytes + cut,
							allowed[i].len - cut);
			}
			CHECK_EQ(slot_counter(&f, counter), 1 + allowed[i].len);
			CHECK_EQ(n_anomalies() + COUNT(ANOMALY_FRAMING), 0);
			CHECK_NO_MESSAGE();
			discard(&f);
		}
}

static void
test_pipelined_packets_belong_to_the_flow(void)
{
	for (unsigned version = 3; version <= 5; version++) {
		struct flow f = flow_new();
		uint8_t buf[256];
		size_t len;
		struct mqt_msg msg;

		f.version = (uint8_t)version;
		world_begin();
		tcp_open(&f);
		len = connect_packet(buf, sizeof(buf), f.version, "eager");
		len += subscribe_packet(buf + len, f.version, 1, "t", 1);
		len += qos_packet(buf + len, f.version, 1, 2);
		len += mqt_mqtt_empty_encode(buf + len, 2, MQT_MQTT_PINGREQ);
		send_next(&f, CLIENT, ACK, buf, len);
		len = connack_packet(buf, sizeof(buf), f.version, 0);
		len += suback_packet(buf + len, f.version, 1, 1);
		memcpy(buf + len, "\xd0\x00", 2);
		send_next(&f, BROKER, ACK, buf, len + 2);
		msg = next_message();
		CHECK_EQ(msg.type, MQT_MSG_OPEN);
		f.chan = msg.chan;
		f.info = msg.info;
		tell(&f, MQT_MSG_GRANT, 0);
		CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
		CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 4);
		CHECK_EQ(slot_counter(&f, MQT_RECV_MSG), 1);
		CHECK_EQ(slot_counter(&f, MQT_SEND_PKT), 3);
		CHECK_EQ(n_anomalies(), 0);
		CHECK_NO_MESSAGE();
		discard(&f);
	}
}

/* A 5.0 CONNECT with all that may be in it: properties, will with properties, user properties. */
static void
test_connect_with_everything_is_understood(void)
{
	static const uint8_t connect[] = { 0x10, 0x4e, 0, 4, 'M', 'Q', 'T', 'T', 5, 0xee, 0, 30,
		/* session expiry 100, receive maximum, request problem information, 2 user */
		0x19, 0x11, 0, 0, 0, 100, 0x21, 0, 10, 0x17, 1, 0x26, 0, 1, 'a', 0, 1, 'b', 0x26, 0,
		1, 'a', 0, 0, 0x19, 1,
		/* client id; will: delay, format, user property */
		0, 2, 'i', 'd', 0x0e, 0x18, 0, 0, 0, 5, 0x01, 1, 0x26, 0, 1, 'k', 0, 1, 'v',
		/* topic, payload, user name, password */
		0, 4, 'w', 'i', 'l', 'l', 0, 3, 1, 2, 3, 0, 4, 'u', 's', 'e', 'r', 0, 4, 'p', 'a',
		's', 's' };
	struct flow f = flow_new();
	struct mqt_msg msg;
	uint8_t buf[32];

	f.version = 5;
	world_begin();
	tcp_open(&f);
	for (size_t i = 0; i < sizeof(connect); i++)
		send_next(&f, CLIENT, ACK, connect + i, 1);
	CHECK_EQ(in_state(MQT_CONN_CONNECTING), 1);
	send_next(&f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), 5, 0));
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_OPEN);
	if (msg.info) {
		CHECK_EQ(msg.info->clientid_len, 2);
		CHECK_MEM(mqt_info_clientid(msg.info), "id", 2);
		CHECK_EQ(msg.info->username_len, 4);
		CHECK_MEM(mqt_info_username(msg.info), "user", 4);
		CHECK_EQ(msg.info->expiry_sec, 100);
		CHECK_EQ(msg.info->keepalive_sec, 30);
		CHECK(msg.info->flags & MQT_INFO_HAS_WILL);
		CHECK(msg.info->flags & MQT_INFO_CLEAN_START);
	}
	message_drop(&msg);
	CHECK_EQ(n_anomalies(), 0);
	world_end();
}

/* --- what may not ------------------------------------------------------------------------------ */

#define ANY 0x38

static const struct {
	const char *row;
	int side;
	unsigned versions;
	uint8_t bytes[16];
	uint8_t len;
	enum mqt_worker_counter counter;
	enum mqt_reason reason;
	bool lost; /* the framing is broken, or not followed any more */
} forbidden[] = {
	{ "type 0", CLIENT, ANY, { 0x00, 0 }, 2, MQT_W_ANOMALY_UNASSIGNED_TYPE,
			MQT_REASON_UNASSIGNED_TYPE, true },
	{ "type 0", BROKER, ANY, { 0x00, 0 }, 2, MQT_W_ANOMALY_UNASSIGNED_TYPE,
			MQT_REASON_UNASSIGNED_TYPE, true },
	{ "type 15", CLIENT, 0x18, { 0xf0, 0 }, 2, MQT_W_ANOMALY_UNASSIGNED_TYPE,
			MQT_REASON_UNASSIGNED_TYPE, true },
	{ "type 15", BROKER, 0x18, { 0xf0, 0 }, 2, MQT_W_ANOMALY_UNASSIGNED_TYPE,
			MQT_REASON_UNASSIGNED_TYPE, true },
	{ "PINGREQ with flags", CLIENT, ANY, { 0xc1, 0 }, 2, MQT_W_ANOMALY_RESERVED_FLAGS,
			MQT_REASON_RESERVED_FLAGS, true },
	{ "SUBSCRIBE without its flag", CLIENT, ANY, { 0x80, 6, 0, 1, 0, 1, 't', 0 }, 8,
			MQT_W_ANOMALY_RESERVED_FLAGS, MQT_REASON_RESERVED_FLAGS, true },
	{ "SUBACK with flags", BROKER, ANY, { 0x92, 3, 0, 1, 0 }, 5, MQT_W_ANOMALY_RESERVED_FLAGS,
			MQT_REASON_RESERVED_FLAGS, true },
	{ "PUBLISH QoS 3", CLIENT, ANY, { 0x36, 6, 0, 1, 't', 0, 1, 0 }, 8,
			MQT_W_ANOMALY_PUBLISH_QOS, MQT_REASON_PUBLISH_QOS, true },
	{ "PUBLISH QoS 3", BROKER, ANY, { 0x36, 6, 0, 1, 't', 0, 1, 0 }, 8,
			MQT_W_ANOMALY_PUBLISH_QOS, MQT_REASON_PUBLISH_QOS, true },
	{ "length of five bytes", CLIENT, ANY, { 0x30, 0x80, 0x80, 0x80, 0x80, 1 }, 6,
			MQT_W_ANOMALY_REMAINING_LENGTH, MQT_REASON_REMAINING_LENGTH, true },
	{ "second CONNECT", CLIENT, ANY,
			{ 0x10, 14, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 9, 0, 2, 'i', 'd' }, 16,
			MQT_W_ANOMALY_SECOND_CONNECT, MQT_REASON_SECOND_CONNECT, true },
	{ "SUBSCRIBE QoS 3", CLIENT, 0x18, { 0x82, 6, 0, 1, 0, 1, 't', 3 }, 8,
			MQT_W_ANOMALY_SUBSCRIBE_QOS, MQT_REASON_SUBSCRIBE_QOS, false },
	{ "SUBSCRIBE QoS 3 behind another", CLIENT, 0x18,
			{ 0x82, 10, 0, 1, 0, 1, 't', 2, 0, 1, 'u', 3 }, 12,
			MQT_W_ANOMALY_SUBSCRIBE_QOS, MQT_REASON_SUBSCRIBE_QOS, false },
	{ "SUBSCRIBE QoS 3", CLIENT, 0x20,
			{ 0x82, 14, 0, 1, 7, 0x26, 0, 1, 3, 0, 1, 3, 0, 1, 't', 0x2f }, 16,
			MQT_W_ANOMALY_SUBSCRIBE_QOS, MQT_REASON_SUBSCRIBE_QOS, false },
	{ "CONNACK by the client", CLIENT, ANY, { 0x20, 2, 0, 0 }, 4, MQT_W_ANOMALY_FROM_CLIENT,
			MQT_REASON_FROM_CLIENT, false },
	{ "SUBACK by the client", CLIENT, ANY, { 0x90, 3, 0, 1, 0 }, 5, MQT_W_ANOMALY_FROM_CLIENT,
			MQT_REASON_FROM_CLIENT, false },
	{ "UNSUBACK by the client", CLIENT, ANY, { 0xb0, 2, 0, 1 }, 4, MQT_W_ANOMALY_FROM_CLIENT,
			MQT_REASON_FROM_CLIENT, false },
	{ "PINGRESP by the client", CLIENT, ANY, { 0xd0, 0 }, 2, MQT_W_ANOMALY_FROM_CLIENT,
			MQT_REASON_FROM_CLIENT, false },
	{ "CONNECT by the broker", BROKER, ANY,
			{ 0x10, 14, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 9, 0, 2, 'i', 'd' }, 16,
			MQT_W_ANOMALY_FROM_BROKER, MQT_REASON_FROM_BROKER, false },
	{ "SUBSCRIBE by the broker", BROKER, ANY, { 0x82, 6, 0, 1, 0, 1, 't', 3 }, 8,
			MQT_W_ANOMALY_FROM_BROKER, MQT_REASON_FROM_BROKER, false },
	{ "UNSUBSCRIBE by the broker", BROKER, ANY, { 0xa2, 5, 0, 1, 0, 1, 't' }, 7,
			MQT_W_ANOMALY_FROM_BROKER, MQT_REASON_FROM_BROKER, false },
	{ "PINGREQ by the broker", BROKER, ANY, { 0xc0, 0 }, 2, MQT_W_ANOMALY_FROM_BROKER,
			MQT_REASON_FROM_BROKER, false },
	{ "DISCONNECT by a 3.x broker", BROKER, 0x18, { 0xe0, 0 }, 2, MQT_W_ANOMALY_FROM_BROKER,
			MQT_REASON_FROM_BROKER, false },
	{ "second CONNACK", BROKER, ANY, { 0x20, 2, 0, 0 }, 4, MQT_W_ANOMALY_SECOND_CONNACK,
			MQT_REASON_SECOND_CONNACK, false },
};

static void
test_anomaly_has_its_counter_is_told_and_passes(void)
{
	for (unsigned version = 3; version <= 5; version++)
		for (unsigned i = 0; i < RTE_DIM(forbidden); i++) {
			struct flow f = flow_new();
			int side = forbidden[i].side;
			enum mqt_slot_counter counter =
					side == CLIENT ? MQT_RECV_PKT : MQT_SEND_PKT;
			uint64_t packets;

			if (!(forbidden[i].versions >> version & 1))
				continue;
			check_row = forbidden[i].row;
			f.version = (uint8_t)version;
			world_begin();
			connected(&f, "c");
			send_next(&f, side, ACK, forbidden[i].bytes, forbidden[i].len);
			CHECK_EQ(n_sent((uint16_t)!side), 1);
			CHECK_EQ(mqt_counter_get(&w.counters.v[forbidden[i].counter]), 1);
			CHECK_EQ(n_anomalies(), 1);
			CHECK_EQ(COUNT(ANOMALY_FRAMING),
					forbidden[i].lost &&
							forbidden[i].reason !=
									MQT_REASON_SECOND_CONNECT);
			check_told(&f, forbidden[i].reason);
			CHECK_NO_MESSAGE();
			CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
			/* the stream goes on, followed or not */
			packets = slot_counter(&f, counter);
			send_next(&f, side, ACK, side == CLIENT ? "\xc0\x00" : "\xd0\x00", 2);
			CHECK_EQ(n_sent((uint16_t)!side), 2);
			CHECK_EQ(slot_counter(&f, counter), packets + !forbidden[i].lost);
			discard(&f);
		}
}

static void
test_anomaly_cut_at_any_byte_is_the_same(void)
{
	for (unsigned i = 0; i < RTE_DIM(forbidden); i++)
		for (unsigned cut = 1; cut < forbidden[i].len; cut++) {
			struct flow f = flow_new();
			int side = forbidden[i].side;

			check_row = forbidden[i].row;
			f.version = forbidden[i].versions & 0x10 ? 4 : 5;
			world_begin();
			connected(&f, "c");
			send_next(&f, side, ACK, forbidden[i].bytes, cut);
			send_next(&f, side, ACK, forbidden[i].bytes + cut, forbidden[i].len - cut);
			CHECK_EQ(n_anomalies(), 1);
			check_told(&f, forbidden[i].reason);
			CHECK_NO_MESSAGE();
			discard(&f);
		}
}

static void
test_hostile_flow_is_told_once_a_kind(void)
{
	static const uint8_t subscribe[] = { 0x82, 6, 0, 1, 0, 1, 't', 3 };
	struct flow f = flow_new();

	world_begin();
	connected(&f, "c");
	for (unsigned i = 0; i < 500; i++) {
		send_next(&f, CLIENT, ACK, "\xd0\x00", 2);
		send_next(&f, CLIENT, ACK, subscribe, sizeof(subscribe));
		send_next(&f, BROKER, ACK, "\xc0\x00", 2);
		send_next(&f, BROKER, ACK, "\x20\x02\x00\x00", 4);
		out_clear();
	}
	CHECK_EQ(COUNT(ANOMALY_FROM_CLIENT), 500);
	CHECK_EQ(COUNT(ANOMALY_SUBSCRIBE_QOS), 500);
	CHECK_EQ(COUNT(ANOMALY_FROM_BROKER), 500);
	CHECK_EQ(COUNT(ANOMALY_SECOND_CONNACK), 500);
	check_told(&f, MQT_REASON_FROM_CLIENT);
	check_told(&f, MQT_REASON_SUBSCRIBE_QOS);
	check_told(&f, MQT_REASON_FROM_BROKER);
	check_told(&f, MQT_REASON_SECOND_CONNACK);
	CHECK_NO_MESSAGE();
	CHECK_EQ(COUNT(ANOMALY_UNTOLD), 0);
	discard(&f);
}

/* How many anomalies the worker has told. */
static unsigned
n_told(void)
{
	struct mqt_msg msg;
	unsigned n = 0;

	mqt_role_worker_assert();
	do {
		mqt_conns_poll(w.conns); /* what has waited for room in the ring */
		msg = next_message();
		n += msg.type == MQT_MSG_ANOMALY;
		message_drop(&msg);
	} while (msg.type != MQT_MSG_NONE);
	return n;
}

/* @p n flows that begin with a PINGREQ and go. */
static void
hostile_flows(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct flow f = flow_new();

		tcp_open(&f);
		send_next(&f, CLIENT, ACK, "\xc0\x00", 2);
		send_next(&f, CLIENT, RST_ACK, NULL, 0);
		out_clear();
	}
}

static void
test_many_hostile_flows_are_told_at_a_bounded_rate(void)
{
	world_config();
	w.config.limits.max_connections = 300;
	world_start();
	hostile_flows(150);
	CHECK_EQ(n_told(), 100);
	CHECK_EQ(COUNT(ANOMALY_BEFORE_CONNECT), 150);
	CHECK_EQ(COUNT(ANOMALY_UNTOLD), 50);
	advance(SEC);
	hostile_flows(50);
	CHECK_EQ(n_told(), 50);
	CHECK_EQ(COUNT(ANOMALY_UNTOLD), 50);
	world_end();
}

static void
test_flow_without_channel_is_told_by_its_addresses(void)
{
	static const struct {
		const char *row;
		uint8_t byte;
		enum mqt_reason reason; /* NONE: nothing is told */
	} rows[] = {
		{ "PUBLISH", 0x30, MQT_REASON_BEFORE_CONNECT },
		{ "PINGREQ", 0xc0, MQT_REASON_BEFORE_CONNECT },
		{ "AUTH", 0xf0, MQT_REASON_BEFORE_CONNECT },
		{ "CONNECT with reserved flags", 0x11, MQT_REASON_RESERVED_FLAGS },
		{ "TLS", 0x16, MQT_REASON_NONE },
		{ "HTTP", 'G', MQT_REASON_NONE },
		{ "type 0", 0x00, MQT_REASON_NONE },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flow f = flow_new();
		struct mqt_msg msg;

		check_row = rows[i].row;
		world_begin();
		tcp_open(&f);
		out_clear();
		send_next(&f, CLIENT, ACK, &rows[i].byte, 1);
		CHECK_EQ(n_sent(BROKER), 1);
		CHECK_EQ(in_state(MQT_CONN_OPAQUE), 1);
		CHECK_EQ(COUNT(OPAQUE_PROTOCOL), 1);
		CHECK_EQ(n_anomalies(), rows[i].reason != MQT_REASON_NONE);
		msg = next_message();
		CHECK_EQ(msg.type, rows[i].reason ? MQT_MSG_ANOMALY : MQT_MSG_NONE);
		CHECK_EQ(msg.reason, rows[i].reason);
		if (rows[i].reason)
			CHECK(msg.info != NULL);
		if (msg.info) {
			CHECK_EQ(mqt_info_peer(msg.info).port, f.client_port);
			CHECK_EQ(mqt_info_broker(msg.info).port, f.broker_port);
			CHECK_EQ(msg.info->clientid_len, 0);
		}
		message_drop(&msg);
		CHECK_NO_MESSAGE();
		world_end();
	}
}

static void
test_broker_that_says_another_packet_before_connack_is_told(void)
{
	struct flow f = flow_new();
	struct mqt_msg msg;
	uint8_t buf[128];

	world_begin();
	tcp_open(&f);
	send_next(&f, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), 4, "c"));
	out_clear();
	send_next(&f, BROKER, ACK, "\xd0\x00", 2);
	CHECK_EQ(n_sent(CLIENT), 1);
	CHECK_EQ(COUNT(ANOMALY_BEFORE_CONNACK), 1);
	CHECK_EQ(n_anomalies(), 1);
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_ANOMALY);
	CHECK_EQ(msg.reason, MQT_REASON_BEFORE_CONNACK);
	message_drop(&msg);
	world_end();
}

/* I9, in every state that a flow can have when the second one comes. */
static void
test_second_connect_never_opens_a_second_channel(void)
{
	for (unsigned when = 0; when < 3; when++) {
		struct flow f = flow_new();
		uint8_t buf[512];
		struct mqt_msg msg;
		size_t len;

		world_begin();
		tcp_open(&f);
		len = connect_packet(buf, sizeof(buf), 4, "first");
		if (when == 0) /* in one segment with the first */
			len += connect_packet(buf + len, sizeof(buf) - len, 4, "second");
		send_next(&f, CLIENT, ACK, buf, len);
		msg = next_message();
		CHECK_EQ(msg.type, when == 0 ? MQT_MSG_ANOMALY : MQT_MSG_NONE);
		message_drop(&msg);
		send_next(&f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), 4, 0));
		msg = next_message();
		CHECK_EQ(msg.type, MQT_MSG_OPEN);
		CHECK(msg.info && memcmp(mqt_info_clientid(msg.info), "first", 5) == 0);
		f.chan = msg.chan;
		f.info = msg.info;
		len = connect_packet(buf, sizeof(buf), 4, "second");
		if (when == 1) {
			send_next(&f, CLIENT, ACK, buf, len);
			check_told(&f, MQT_REASON_SECOND_CONNECT);
		}
		tell(&f, MQT_MSG_GRANT, 0);
		CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
		if (when == 2) {
			send_next(&f, CLIENT, ACK, buf, len);
			check_told(&f, MQT_REASON_SECOND_CONNECT);
		}
		send_next(&f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), 4, 0));
		check_told(&f, MQT_REASON_SECOND_CONNACK);
		CHECK_NO_MESSAGE();
		CHECK_EQ(COUNT(ANOMALY_SECOND_CONNECT), 1);
		CHECK_EQ(COUNT(OPENS), 1);
		CHECK_EQ(COUNT(CONNECT), 1);
		discard(&f);
	}
}

static void
test_anomaly_of_a_channel_that_is_down_is_only_counted(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "c");
	send_fin(&f, CLIENT);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
	send_next(&f, BROKER, ACK, "\xc0\x00", 2);
	CHECK_EQ(COUNT(ANOMALY_FROM_BROKER), 1);
	CHECK_EQ(COUNT(ANOMALY_UNTOLD), 1);
	CHECK_NO_MESSAGE();
	release(&f);
	world_end();
}

int
main(void)
{
	CU_TestInfo may[] = {
		TEST(test_packet_of_each_type_from_its_side_is_counted_and_is_no_anomaly),
		TEST(test_pipelined_packets_belong_to_the_flow),
		TEST(test_connect_with_everything_is_understood),
		CU_TEST_INFO_NULL,
	};
	CU_TestInfo may_not[] = {
		TEST(test_anomaly_has_its_counter_is_told_and_passes),
		TEST(test_anomaly_cut_at_any_byte_is_the_same),
		TEST(test_hostile_flow_is_told_once_a_kind),
		TEST(test_many_hostile_flows_are_told_at_a_bounded_rate),
		TEST(test_flow_without_channel_is_told_by_its_addresses),
		TEST(test_broker_that_says_another_packet_before_connack_is_told),
		TEST(test_second_connect_never_opens_a_second_channel),
		TEST(test_anomaly_of_a_channel_that_is_down_is_only_counted),
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ "may", NULL, NULL, NULL, NULL, may },
		{ "may not", NULL, NULL, NULL, NULL, may_not },
		CU_SUITE_INFO_NULL,
	};
	return rig_run(suites);
}
