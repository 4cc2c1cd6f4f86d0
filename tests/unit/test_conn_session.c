/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions of connections, followed on the wire and inherited. The codec and what a session makes of
 * packets have tests of their own.
 */
#include "conn_session_rig.h"

/* --- helpers ----------------------------------------------------------------------------------- */

static struct mqt_session_counts
inspect_counts(struct flow *f)
{
	struct mqt_session *session = inspect(f);
	struct mqt_session_counts counts = counts_of(session);

	mqt_session_destroy(session);
	return counts;
}

static void
check_filter(const struct mqt_session *session, unsigned i, const char *want, uint8_t want_qos)
{
	struct mqt_bytes filter = { 0 };
	uint8_t qos = 0xff;

	CHECK(session && mqt_session_filter(session, i, &filter, &qos));
	CHECK_EQ(filter.len, strlen(want));
	if (filter.len == strlen(want))
		CHECK_MEM(filter.ptr, want, filter.len);
	CHECK_EQ(qos, want_qos);
}

/* A session with one filter and ids in flight towards the client. */
static struct mqt_session *
session_with(const char *filter, unsigned n_inflight)
{
	struct mqt_session_limits limits = { .filters = 100, .inflight = 100, .bytes = 10000 };
	struct mqt_session *session = mqt_session_create();
	uint8_t buf[64];
	struct mqt_mqtt_packet packet = {
		.type = MQT_MQTT_SUBSCRIBE,
		.packet_id = 1,
		.body = { buf + 2, (uint32_t)subscribe_packet(buf, 4, 1, filter, 1) - 2 },
	};

	mqt_session_apply(session, &limits, MQT_SESSION_FROM_CLIENT, 4, &packet);
	packet.type = MQT_MQTT_SUBACK;
	packet.body.len = (uint32_t)suback_packet(buf, 4, 1, 1) - 2;
	mqt_session_apply(session, &limits, MQT_SESSION_TO_CLIENT, 4, &packet);
	for (unsigned i = 0; i < n_inflight; i++) {
		packet = (struct mqt_mqtt_packet){
			.type = MQT_MQTT_PUBLISH, .qos = 1, .packet_id = (uint16_t)(100 + i)
		};
		mqt_session_apply(session, &limits, MQT_SESSION_TO_CLIENT, 4, &packet);
	}
	return session;
}

/* --- following --------------------------------------------------------------------------------- */

/*
 * A client that subscribes, publishes and unsubscribes, without waiting for CONNACK where
 * pipelined; a broker that answers all of it and publishes.
 */
static void
follow_cut(uint8_t version, bool pipelined, size_t cut)
{
	struct flow f = flow_new();
	struct mqt_session *session;
	struct mqt_session_counts counts;
	uint8_t up[512], down[512];
	size_t n_up, n_down, begin_up, begin_down;
	struct mqt_msg msg;

	f.version = version;
	n_up = begin_up = connect_packet(up, sizeof(up), version, "cut");
	n_up += subscribe_packet(up + n_up, version, 7, "a/+/b", 2);
	n_up += qos_packet(up + n_up, version, 1, 3);
	n_up += qos_packet(up + n_up, version, 2, 4);
	n_up += publish_packet(up + n_up, sizeof(up) - n_up, version, 10);
	n_up += subscribe_packet(up + n_up, version, 8, "c/#", 1);
	n_down = begin_down = connack_packet(down, sizeof(down), version, 0);
	n_down += suback_packet(down + n_down, version, 7, 2);
	n_down += qos_packet(down + n_down, version, 2, 9);
	memcpy(down + n_down, "\x40\x02\x00\x03", 4); /* PUBACK 3 */
	n_down += 4;
	n_down += suback_packet(down + n_down, version, 8, 1);
	world_config();
	w.config.limits.parked_per_flow = 255;
	world_start();
	tcp_open(&f);
	if (!pipelined) {
		send_next(&f, CLIENT, ACK, up, begin_up);
		send_next(&f, BROKER, ACK, down, begin_down);
		msg = next_message();
		f.chan = msg.chan;
		f.info = msg.info;
		tell(&f, MQT_MSG_GRANT, 0);
		CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
	}
	for (size_t at = pipelined ? 0 : begin_up, n; at < n_up; at += n) {
		n = cut == 0 ? 1 : at < cut && cut < n_up ? cut - at : n_up - at;
		send_next(&f, CLIENT, ACK, up + at, n);
		out_clear();
	}
	for (size_t at = pipelined ? 0 : begin_down, n; at < n_down; at += n) {
		n = cut == 0 ? 1 : at < cut && cut < n_down ? cut - at : n_down - at;
		send_next(&f, BROKER, ACK, down + at, n);
		out_clear();
	}
	if (pipelined) {
		msg = next_message();
		CHECK_EQ(msg.type, MQT_MSG_OPEN);
		f.chan = msg.chan;
		f.info = msg.info;
		tell(&f, MQT_MSG_GRANT, 0);
		CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
	}
	session = inspect(&f);
	counts = counts_of(session);
	CHECK_EQ(counts.filters, 2);
	CHECK_EQ(counts.inflight[MQT_SESSION_FROM_CLIENT], 1);
	CHECK_EQ(counts.inflight[MQT_SESSION_TO_CLIENT], 1);
	check_filter(session, 0, "a/+/b", 2);
	check_filter(session, 1, "c/#", 1);
	mqt_session_destroy(session);
	CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 6);
	CHECK_EQ(slot_counter(&f, MQT_SEND_PKT), 5);
	CHECK_EQ(COUNT(SESSION_OVERFLOW) + COUNT(SESSION_OVERSIZE) + COUNT(ANOMALY_FRAMING), 0);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	release(&f);
	world_end();
}

static void
test_sessions_are_followed_however_the_streams_are_cut(void)
{
	static char row[32];

	check_row = row;
	for (uint8_t version = 3; version <= 5; version++)
		for (unsigned pipelined = 0; pipelined < 2; pipelined++)
			for (size_t cut = 0; cut < 180; cut++) {
				snprintf(row, sizeof(row), "v%u %s cut %zu", version,
						pipelined ? "pipelined" : "waits", cut);
				follow_cut(version, pipelined, cut);
			}
}

static void
test_flow_without_need_has_no_session(void)
{
	struct flow f = flow_new();
	uint8_t buf[64];

	world_begin();
	connected(&f, "c");
	send_next(&f, CLIENT, ACK, buf, publish_packet(buf, sizeof(buf), 4, 10));
	send_next(&f, CLIENT, ACK, "\xc0\x00", 2);
	send_next(&f, CLIENT, ACK, "\x40\x02\x00\x03", 4); /* of nothing */
	CHECK(inspect(&f) == NULL);
	free(f.info);
	world_end();
}

static void
test_limits_of_a_session_are_counted(void)
{
	struct flow f = flow_new();
	char filter[81];
	uint8_t buf[128];

	memset(filter, 'x', 80);
	filter[80] = '\0';
	world_config();
	w.config.limits.session_filters = 2;
	w.config.limits.session_inflight = 3;
	w.config.limits.session_packet_bytes = 60;
	world_start();
	connected(&f, "c");
	subscribe(&f, 1, "1");
	subscribe(&f, 2, "2");
	CHECK_EQ(COUNT(SESSION_OVERFLOW), 0);
	subscribe(&f, 3, "3");
	CHECK_EQ(COUNT(SESSION_OVERFLOW), 1);
	for (uint16_t id = 1; id <= 5; id++)
		publish_to_client(&f, id);
	CHECK_EQ(COUNT(SESSION_OVERFLOW), 3);
	CHECK_EQ(COUNT(SESSION_OVERSIZE), 0);
	send_next(&f, CLIENT, ACK, buf, subscribe_packet(buf, 4, 9, filter, 1));
	CHECK_EQ(COUNT(SESSION_OVERSIZE), 1);
	CHECK_EQ(inspect_counts(&f).filters, 2);
	free(f.info);
	world_end();
}

static void
test_packets_before_grant_are_kept_within_a_limit(void)
{
	struct flow f = flow_new();
	struct mqt_mqtt_connect connect = connect_of(4, false, 0);
	uint8_t buf[64];

	world_config();
	w.config.limits.session_packet_bytes = 100;
	world_start();
	open_with(&f, &connect, no_override);
	for (uint16_t id = 1; id <= 20; id++)
		send_next(&f, CLIENT, ACK, buf, qos_packet(buf, 4, 1, id));
	CHECK(COUNT(SESSION_OVERFLOW) > 0 && COUNT(SESSION_OVERFLOW) < 20);
	grant(&f, NULL);
	CHECK_EQ(inspect_counts(&f).inflight[MQT_SESSION_FROM_CLIENT],
			20 - COUNT(SESSION_OVERFLOW));
	free(f.info);
	world_end();
}

static void
test_lost_framing_leaves_the_session_as_last_known(void)
{
	for (unsigned how = 0; how < 3; how++) {
		struct flow f = flow_new();
		uint8_t buf[64];

		check_row = how == 0 ? "type 0" : how == 1 ? "gap" : "second CONNECT";
		world_begin();
		lasting(&f, 4);
		subscribe(&f, 1, "kept");
		send_next(&f, CLIENT, ACK, "\x82", 1); /* and a packet that is cut */
		if (how == 0) {
			send_next(&f, CLIENT, ACK, "\x06\x00\x02\x00", 4);
			send_next(&f, CLIENT, ACK, "\x01x\x00\x00\x00", 5);
		} else if (how == 1) {
			send_next(&f, CLIENT, ACK, "\x20\x00\x02\x00", 4);
			f.seq[CLIENT] += 100; /* by another way */
			send_next(&f, BROKER, ACK, NULL, 0);
		} else {
			send_next(&f, CLIENT, ACK, "\x06\x00\x02\x00\x01x\x00", 7);
			send_next(&f, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), 4, "2"));
		}
		CHECK_EQ(COUNT(ANOMALY_FRAMING) + COUNT(ANOMALY_GAP) +
						COUNT(ANOMALY_SECOND_CONNECT),
				1);
		if (how != 1)
			CHECK_EQ(next_message().type, MQT_MSG_ANOMALY);
		subscribe(&f, 3, "unseen");
		{
			struct mqt_session *session = inspect(&f);

			CHECK_EQ(counts_of(session).filters, 1);
			check_filter(session, 0, "kept", 1);
			mqt_session_destroy(session);
		}
		send_next(&f, CLIENT, RST_ACK, NULL, 0);
		{
			struct mqt_msg msg = next_message();

			CHECK_EQ(msg.type, MQT_MSG_CLOSED);
			CHECK_EQ(counts_of(msg.session).filters, 1);
			mqt_session_destroy(msg.session);
		}
		release(&f);
		world_end();
	}
}

static const struct {
	const char *name;
	uint8_t qos; /* of a PUBLISH; 3: a SUBSCRIBE */
	uint32_t from, to;
	bool skipped;
} gaps[] = {
	{ "payload", 1, 20, 60, true },
	{ "right behind the packet id", 1, 12, 60, true },
	{ "packet id", 1, 11, 60, false },
	{ "topic length", 1, 3, 60, false },
	{ "payload without id", 0, 3, 60, true },
	{ "header", 1, 1, 60, false },
	{ "end", 1, 20, 121, false },
	{ "subscribe", 3, 20, 60, false },
};

static void
test_only_bytes_of_no_interest_are_skipped(void)
{
	static const uint8_t payload[109];

	for (unsigned i = 0; i < RTE_DIM(gaps); i++) {
		for (unsigned lost = 0; lost < 2; lost++) {
			struct flow f = flow_new();
			struct mqt_session_counts counts = { 0 };
			struct mqt_session *session;
			char filter[101];
			uint8_t buf[256];
			size_t len;
			uint32_t s;

			check_row = gaps[i].name;
			memset(filter, 'f', 100);
			filter[100] = '\0';
			world_begin();
			connected(&f, "c");
			s = f.seq[CLIENT];
			if (gaps[i].qos == 3)
				len = subscribe_packet(buf, 4, 0x0102, filter, 1);
			else
				len = mqt_mqtt_publish_encode(buf, sizeof(buf), 4, gaps[i].qos,
						gaps[i].qos ? 0x0102 : 0,
						(struct mqt_bytes){ (uint8_t *)filter, 6 },
						(struct mqt_bytes){ payload, sizeof(payload) });
			send_at(&f, CLIENT, ACK, s, f.seq[BROKER], buf, gaps[i].from);
			if (lost) /* came another way */
				send_at(&f, BROKER, ACK, f.seq[BROKER], s + gaps[i].to, NULL, 0);
			if (gaps[i].to < len)
				send_at(&f, CLIENT, ACK, s + gaps[i].to, f.seq[BROKER],
						buf + gaps[i].to, 10);
			if (!lost)
				send_at(&f, CLIENT, ACK, s + gaps[i].from, f.seq[BROKER],
						buf + gaps[i].from, gaps[i].to - gaps[i].from);
			if (gaps[i].to < len)
				send_at(&f, CLIENT, ACK, s + gaps[i].to + 10, f.seq[BROKER],
						buf + gaps[i].to + 10, len - gaps[i].to - 10);
			CHECK_EQ(COUNT(ANOMALY_GAP), lost && !gaps[i].skipped);
			CHECK_EQ(COUNT(REORDER_HELD),
					!lost && !gaps[i].skipped && gaps[i].to < len);
			f.seq[CLIENT] += (uint32_t)len;
			send_next(&f, BROKER, ACK, "\x90\x03\x01\x02\x01", 5);
			session = inspect(&f);
			if (session)
				mqt_session_counts(session, &counts);
			mqt_session_destroy(session);
			if (!lost || gaps[i].skipped) {
				CHECK_EQ(counts.inflight[MQT_SESSION_FROM_CLIENT],
						gaps[i].qos == 1);
				CHECK_EQ(counts.filters, gaps[i].qos == 3);
			}
			free(f.info);
			world_end();
		}
	}
}

/* --- inheriting -------------------------------------------------------------------------------- */

static void
test_inherited_session_goes_on_in_the_new_flow(void)
{
	struct flow f = flow_new();
	struct mqt_mqtt_connect connect = connect_of(4, false, 0);
	struct mqt_session *session = session_with("old", 2);
	uint8_t buf[128];
	size_t len;

	world_begin();
	mqt_session_join_pendings(session, mqt_session_split_pendings(session));
	CHECK_EQ(counts_of(session).pendings, 2);
	open_with(&f, &connect, no_override);
	/* pipelined behind CONNECT, and behind CONNACK */
	send_next(&f, CLIENT, ACK, buf, subscribe_packet(buf, 4, 7, "new", 1));
	len = suback_packet(buf, 4, 7, 1);
	len += qos_packet(buf + len, 4, 1, 55);
	send_next(&f, BROKER, ACK, buf, len);
	CHECK(inspect(&f) == NULL);
	tell_with(&f, MQT_MSG_GRANT, 0, session);
	CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
	session = inspect(&f);
	CHECK_EQ(counts_of(session).filters, 2);
	CHECK_EQ(counts_of(session).pendings, 2);
	CHECK_EQ(counts_of(session).inflight[MQT_SESSION_TO_CLIENT], 1);
	check_filter(session, 0, "old", 1);
	check_filter(session, 1, "new", 1);
	mqt_session_destroy(session);
	free(f.info);
	world_end();
}

static void
test_session_begins_with_the_grant(void)
{
	static const char *const rows[] = { "goes on", "takeover", "end", "kick", "stop" };

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flow f = flow_new();
		struct mqt_msg msg;
		uint8_t buf[128];
		uint32_t n;

		check_row = rows[i];
		world_begin();
		tcp_open(&f);
		{
			struct mqt_mqtt_connect connect = connect_of(4, false, 0);

			send_next(&f, CLIENT, ACK, buf,
					mqt_mqtt_connect_encode(buf, sizeof(buf), &connect));
		}
		n = (uint32_t)connack_packet(buf, sizeof(buf), 4, 0);
		send_next(&f, BROKER, ACK, buf, n);
		msg = next_message();
		f.chan = msg.chan;
		f.info = msg.info;
		tell_with(&f, MQT_MSG_GRANT, 0, session_with("old", 1));
		CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
		send_next(&f, CLIENT, ACK, buf, subscribe_packet(buf, 4, 2, "new", 1));
		n = (uint32_t)suback_packet(buf, 4, 2, 1);
		send_next(&f, BROKER, ACK, buf, n);
		CHECK_EQ(inspect_counts(&f).filters, 2);
		switch (i) {
		case 0:
			send_next(&f, BROKER, ACK, NULL, 0);
			CHECK_EQ(inspect_counts(&f).filters, 2);
			break;
		case 1:
			tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_BEGIN);
			msg = next_message();
			CHECK_EQ(counts_of(msg.session).filters, 2);
			message_drop(&msg);
			tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_END);
			CHECK_DOWN(&f, MQT_REASON_TAKEN_OVER);
			msg = next_message();
			CHECK_EQ(msg.pendings ? msg.pendings->n : 0, 1);
			message_drop(&msg);
			break;
		case 2:
			send_next(&f, CLIENT, RST_ACK, NULL, 0);
			msg = next_message();
			CHECK_EQ(msg.type, MQT_MSG_CLOSED);
			CHECK_EQ(counts_of(msg.session).filters, 2);
			message_drop(&msg);
			break;
		case 3:
			tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
			CHECK_DOWN(&f, MQT_REASON_KICKED);
			break;
		default:
			break;
		}
		free(f.info);
		world_end();
	}
}

static void
test_session_granted_to_the_dead_comes_back(void)
{
	static const char *const rows[] = { "died", "killed", "gone" };

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flow f = flow_new();
		struct mqt_mqtt_connect connect = connect_of(5, false, 500);
		struct mqt_session *session = session_with("s", 0);
		struct mqt_session_final final;
		struct mqt_msg msg;

		check_row = rows[i];
		world_begin();
		open_with(&f, &connect, no_override);
		subscribe(&f, 1, "early");
		if (i == 1)
			CHECK(kill_channel(&f));
		else
			send_next(&f, CLIENT, RST_ACK, NULL, 0);
		if (i != 1)
			CHECK_DOWN(&f, MQT_REASON_CLIENT_RESET);
		if (i == 2)
			release(&f);
		tell_with(&f, MQT_MSG_GRANT, 0, session);
		if (i == 1)
			CHECK_DOWN(&f, MQT_REASON_KILLED);
		msg = next_message();
		CHECK_EQ(msg.type, MQT_MSG_RETURN);
		CHECK(msg.session == session);
		mqt_session_final(session, &final);
		CHECK_EQ(final.expiry_sec, i == 2 ? 0 : 500);
		mqt_session_destroy(session);
		if (i != 2)
			release(&f);
		world_end();
	}
}

static CU_TestInfo follow_tests[] = {
	TEST(test_sessions_are_followed_however_the_streams_are_cut),
	TEST(test_flow_without_need_has_no_session),
	TEST(test_limits_of_a_session_are_counted),
	TEST(test_packets_before_grant_are_kept_within_a_limit),
	TEST(test_lost_framing_leaves_the_session_as_last_known),
	TEST(test_only_bytes_of_no_interest_are_skipped),
	TEST(test_inherited_session_goes_on_in_the_new_flow),
	TEST(test_session_begins_with_the_grant),
	TEST(test_session_granted_to_the_dead_comes_back),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "follow", NULL, NULL, NULL, NULL, follow_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
