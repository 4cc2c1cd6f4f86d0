/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions of connections: followed on the wire, inherited, handed over at the end of a flow and
 * in a takeover; what a frozen flow lets pass (nothing); refusals and wills. The codec and what a
 * session makes of packets have tests of their own.
 */
#include "conn_rig.h"

/* --- helpers ----------------------------------------------------------------------------------- */

/* A copy of the flow's session; NULL: it has none. Ownership: the caller's. */
static struct mqt_session *
inspect(struct flow *f)
{
	struct mqt_msg msg;

	tell(f, MQT_MSG_INSPECT, 0);
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_INSPECTED);
	CHECK_EQ(msg.chan, f->chan);
	CHECK_EQ(msg.token, 42);
	return msg.session;
}

static struct mqt_session_counts
counts_of(const struct mqt_session *session)
{
	struct mqt_session_counts counts = { 0 };

	CHECK(session != NULL);
	if (session)
		mqt_session_counts(session, &counts);
	return counts;
}

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
	struct mqt_session_limits limits = { .filters = 100, .inflight = 100 };
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

/* Has the client subscribe. */
static void
subscribe(struct flow *f, uint16_t packet_id, const char *filter)
{
	uint8_t buf[128];

	send_next(f, CLIENT, ACK, buf, subscribe_packet(buf, f->version, packet_id, filter, 1));
	send_next(f, BROKER, ACK, buf, suback_packet(buf, f->version, packet_id, 1));
	send_next(f, CLIENT, ACK, NULL, 0);
}

static void
publish_to_client(struct flow *f, uint16_t packet_id)
{
	uint8_t buf[64];

	send_next(f, BROKER, ACK, buf, qos_packet(buf, f->version, 1, packet_id));
	send_next(f, CLIENT, ACK, NULL, 0);
}

static const struct connack_plan {
	bool has_expiry;
	uint32_t expiry_sec;
} no_override;

/* Brings a flow up to its OPEN. */
static void
open_with(struct flow *f, const struct mqt_mqtt_connect *connect, struct connack_plan plan)
{
	struct mqt_mqtt_connack connack = {
		.has_expiry = plan.has_expiry,
		.expiry_sec = plan.expiry_sec,
	};
	uint8_t buf[256];
	struct mqt_msg msg;

	f->version = connect->version;
	tcp_open(f);
	send_next(f, CLIENT, ACK, buf, mqt_mqtt_connect_encode(buf, sizeof(buf), connect));
	send_next(f, BROKER, ACK, buf,
			mqt_mqtt_connack_encode(buf, sizeof(buf), f->version, &connack));
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_OPEN);
	f->chan = msg.chan;
	f->info = msg.info;
}

static struct mqt_mqtt_connect
connect_of(uint8_t version, bool clean, uint32_t expiry_sec)
{
	return (struct mqt_mqtt_connect){
		.version = version,
		.clean_start = clean,
		.clientid = { (const uint8_t *)"id", 2 },
		.has_expiry = version == 5 && expiry_sec > 0,
		.expiry_sec = expiry_sec,
	};
}

static void
grant(struct flow *f, struct mqt_session *inherited)
{
	tell_with(f, MQT_MSG_GRANT, 0, inherited);
	CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
	send_next(f, CLIENT, ACK, NULL, 0);
	out_clear();
}

/* A connected client whose session outlives it. */
static void
lasting(struct flow *f, uint8_t version)
{
	struct mqt_mqtt_connect connect = connect_of(version, false, 500);

	connect.has_will = true;
	open_with(f, &connect, no_override);
	grant(f, NULL);
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

/* --- CLOSED and DOWN --------------------------------------------------------------------------- */

#define NONE  (-1)
#define NEVER 0xffffffffll

static const struct {
	const char *name;
	uint8_t version;
	bool clean, anonymous;
	int64_t connect, connack, disconnect; /* expiry, NONE: not said */
	uint32_t v3_sec;
	uint32_t want; /* 0: DOWN */
} expiries[] = {
	{ "3.1 clean", 3, true, false, NONE, NONE, NONE, 7200, 0 },
	{ "3.1", 3, false, false, NONE, NONE, NONE, 7200, 7200 },
	{ "3.1.1 clean", 4, true, false, NONE, NONE, NONE, 7200, 0 },
	{ "3.1.1", 4, false, false, NONE, NONE, NONE, 10, 10 },
	{ "3.1.1 not kept by the listener", 4, false, false, NONE, NONE, NONE, 0, 0 },
	{ "3.1.1 anonymous", 4, true, true, NONE, NONE, NONE, 7200, 0 },
	{ "5.0 without", 5, false, false, NONE, NONE, NONE, 7200, 0 },
	{ "5.0 clean start", 5, true, false, 77, NONE, NONE, 0, 77 },
	{ "5.0", 5, false, false, 77, NONE, NONE, 0, 77 },
	{ "5.0 never", 5, false, false, NEVER, NONE, NONE, 0, 0xffffffff },
	{ "5.0 anonymous", 5, true, true, 77, NONE, NONE, 0, 0 },
	{ "CONNACK says less", 5, false, false, 77, 30, NONE, 0, 30 },
	{ "CONNACK says 0", 5, false, false, 77, 0, NONE, 0, 0 },
	{ "CONNACK says more than nothing", 5, false, false, NONE, 30, NONE, 0, 30 },
	{ "DISCONNECT says more", 5, false, false, 77, NONE, 99, 0, 99 },
	{ "DISCONNECT says 0", 5, false, false, 77, NONE, 0, 0, 0 },
	{ "DISCONNECT wakes nothing", 5, false, false, NONE, NONE, 99, 0, 0 },
	{ "DISCONNECT wakes nothing of CONNACK", 5, false, false, 77, 0, 99, 0, 0 },
};

static void
expiry_run(unsigned i, bool pipelined)
{
	struct flow f = flow_new();
	struct mqt_mqtt_connect connect = connect_of(expiries[i].version, expiries[i].clean, 0);
	struct connack_plan plan = { .has_expiry = expiries[i].connack != NONE };
	struct mqt_session_final final = { 0 };
	struct mqt_msg msg;
	enum mqt_reason reason = MQT_REASON_CLIENT_RESET;

	check_row = expiries[i].name;
	connect.has_expiry = expiries[i].connect != NONE;
	connect.expiry_sec = connect.has_expiry ? (uint32_t)expiries[i].connect : 0;
	plan.expiry_sec = plan.has_expiry ? (uint32_t)expiries[i].connack : 0;
	if (expiries[i].anonymous)
		connect.clientid.len = 0;
	world_config();
	w.config.listeners[0].session_expiry_v3_sec = expiries[i].v3_sec;
	world_start();
	open_with(&f, &connect, plan);
	if (!pipelined)
		grant(&f, NULL);
	if (expiries[i].disconnect != NONE) {
		uint8_t bye[9] = { 0xe0, 7, 0, 5, 0x11, 0, 0, 0, (uint8_t)expiries[i].disconnect };

		send_next(&f, CLIENT, ACK, bye, sizeof(bye));
		reason = MQT_REASON_CLIENT_DISCONNECT;
	}
	if (pipelined)
		grant(&f, NULL);
	send_next(&f, CLIENT, RST_ACK, NULL, 0);
	msg = next_message();
	CHECK_EQ(msg.type, expiries[i].want ? MQT_MSG_CLOSED : MQT_MSG_DOWN);
	CHECK_EQ(msg.reason, reason);
	CHECK_EQ(msg.chan, f.chan);
	CHECK_EQ(msg.session != NULL, expiries[i].want != 0);
	if (msg.session) {
		mqt_session_final(msg.session, &final);
		CHECK_EQ(final.expiry_sec, expiries[i].want);
		CHECK_EQ(final.counter[MQT_RECV_PKT], slot_counter(&f, MQT_RECV_PKT));
		CHECK_EQ(final.counter[MQT_SEND_PKT], 1);
	}
	mqt_session_destroy(msg.session);
	CHECK_NO_MESSAGE();
	release(&f);
	world_end();
}

static void
test_session_outlives_its_flow_as_its_expiry_says(void)
{
	for (unsigned i = 0; i < RTE_DIM(expiries); i++)
		for (unsigned pipelined = 0; pipelined < 2; pipelined++)
			expiry_run(i, pipelined);
}

enum end {
	END_CLIENT_FIN,
	END_CLIENT_RST,
	END_BROKER_FIN,
	END_BROKER_RST,
	END_DOUBT,
	END_IDLE,
	END_NEW_SYN,
	END_KICK,
	END_DISCARD,
	END_KILL,
};

static const struct {
	const char *name;
	enum end end;
	bool closed;
	enum mqt_reason reason;
} lasting_ends[] = {
	{ "fin", END_CLIENT_FIN, true, MQT_REASON_CLIENT_CLOSED },
	{ "rst", END_CLIENT_RST, true, MQT_REASON_CLIENT_RESET },
	{ "broker fin", END_BROKER_FIN, true, MQT_REASON_BROKER_CLOSED },
	{ "broker rst", END_BROKER_RST, true, MQT_REASON_BROKER_RESET },
	{ "doubtful rst", END_DOUBT, true, MQT_REASON_CLIENT_RESET },
	{ "idle", END_IDLE, true, MQT_REASON_IDLE },
	{ "replaced", END_NEW_SYN, true, MQT_REASON_REPLACED },
	{ "kick", END_KICK, false, MQT_REASON_KICKED },
	{ "discard", END_DISCARD, false, MQT_REASON_DISCARDED },
	{ "kill", END_KILL, false, MQT_REASON_KILLED },
};

static void
bring_to_end(struct flow *f, enum end end)
{
	switch (end) {
	case END_CLIENT_FIN:
	case END_BROKER_FIN:
		send_next(f, end == END_BROKER_FIN ? BROKER : CLIENT, FIN_ACK, NULL, 0);
		break;
	case END_CLIENT_RST:
	case END_BROKER_RST:
		send_next(f, end == END_BROKER_RST ? BROKER : CLIENT, RST_ACK, NULL, 0);
		break;
	case END_DOUBT:
		send_at(f, CLIENT, MQT_TCP_RST, f->seq[CLIENT] + 1000, 0, NULL, 0);
		advance(3 * SEC);
		break;
	case END_IDLE:
		advance(200 * SEC);
		break;
	case END_NEW_SYN:
		f->seq[CLIENT] += 1000000;
		f->seq[BROKER] += 1000000;
		send_next(f, CLIENT, MQT_TCP_SYN, NULL, 0);
		send_next(f, BROKER, SYN_ACK, NULL, 0);
		break;
	case END_KICK:
		tell(f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
		break;
	case END_DISCARD:
		tell(f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_DISCARD);
		break;
	case END_KILL:
		CHECK(kill_channel(f));
		send_next(f, CLIENT, ACK, "\xc0\x00", 2);
		break;
	}
}

static void
test_every_natural_end_hands_the_session_over(void)
{
	for (unsigned i = 0; i < RTE_DIM(lasting_ends); i++) {
		for (unsigned empty = 0; empty < 2; empty++) {
			struct flow f = flow_new();
			struct mqt_msg msg;

			check_row = lasting_ends[i].name;
			world_config();
			w.config.limits.idle_sec = 100;
			world_start();
			lasting(&f, 5);
			if (!empty)
				subscribe(&f, 1, "s");
			bring_to_end(&f, lasting_ends[i].end);
			msg = next_message();
			CHECK_EQ(msg.type, lasting_ends[i].closed ? MQT_MSG_CLOSED : MQT_MSG_DOWN);
			CHECK_EQ(msg.reason, lasting_ends[i].reason);
			CHECK_EQ(msg.session != NULL, lasting_ends[i].closed);
			if (msg.session)
				CHECK_EQ(counts_of(msg.session).filters, !empty);
			message_drop(&msg);
			drop_messages(); /* of a stepdown */
			CHECK(inspect(&f) == NULL);
			release(&f);
			world_end();
		}
	}
}

static void
test_session_is_not_followed_past_its_handover(void)
{
	struct flow f = flow_new();
	struct mqt_msg msg;

	world_begin();
	lasting(&f, 4);
	subscribe(&f, 1, "s");
	send_next(&f, BROKER, FIN_ACK, NULL, 0);
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_CLOSED);
	message_drop(&msg);
	subscribe(&f, 2, "late");
	send_next(&f, CLIENT, ACK, "\x82\x50\x00", 3); /* begins one more */
	CHECK_EQ(n_sent(1) > 0, 1);
	release(&f);
	advance(100 * SEC);
	CHECK_EQ(in_state(MQT_CONN_FREE), 64);
	CHECK_NO_MESSAGE();
	world_end();
}

static void
test_newcomer_that_dies_leaves_no_session(void)
{
	struct flow f = flow_new();
	struct mqt_mqtt_connect connect = connect_of(5, false, 500);

	world_begin();
	open_with(&f, &connect, no_override);
	subscribe(&f, 1, "early");
	send_next(&f, CLIENT, FIN_ACK, NULL, 0);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
	release(&f);
	world_end();
}

static void
test_disconnect_of_the_broker_overrides_nothing(void)
{
	struct flow f = flow_new();
	struct mqt_session_final final = { 0 };
	struct mqt_msg msg;

	world_begin();
	lasting(&f, 5);
	send_next(&f, BROKER, ACK, "\xe0\x07\x00\x05\x11\x00\x00\x00\x00", 9);
	send_next(&f, BROKER, FIN_ACK, NULL, 0);
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_CLOSED);
	CHECK_EQ(msg.reason, MQT_REASON_BROKER_CLOSED);
	if (msg.session)
		mqt_session_final(msg.session, &final);
	CHECK_EQ(final.expiry_sec, 500);
	message_drop(&msg);
	release(&f);
	world_end();
}

static void
test_release_without_info_gives_the_slot_back(void)
{
	for (unsigned closing = 0; closing < 2; closing++) {
		struct flow f = flow_new();
		struct mqt_info *info;
		struct mqt_msg msg;

		check_row = closing ? "before the flow is gone" : "after";
		world_begin();
		lasting(&f, 5);
		send_next(&f, CLIENT, closing ? FIN_ACK : RST_ACK, NULL, 0);
		msg = next_message();
		CHECK_EQ(msg.type, MQT_MSG_CLOSED);
		message_drop(&msg);
		info = f.info;
		f.info = NULL;
		release(&f);
		CHECK_EQ(info->expiry_sec, 500); /* still the control lcore's */
		free(info);
		if (closing) {
			send_next(&f, BROKER, FIN_ACK, NULL, 0);
			send_next(&f, CLIENT, ACK, NULL, 0);
		}
		advance(2 * SEC);
		CHECK_EQ(in_state(MQT_CONN_FREE), 64);
		world_end();
	}
}

/* --- takeover ---------------------------------------------------------------------------------- */

static struct mqt_msg
begin(struct flow *f)
{
	struct mqt_msg msg;

	tell(f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_BEGIN);
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_STEPDOWN_DONE);
	CHECK_EQ(msg.action, MQT_STEPDOWN_TAKEOVER_BEGIN);
	CHECK_EQ(msg.token, 42);
	return msg;
}

static void
end_ok(struct flow *f, unsigned n_pendings)
{
	struct mqt_msg msg;

	tell(f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_END);
	CHECK_DOWN(f, MQT_REASON_TAKEN_OVER);
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_STEPDOWN_DONE);
	CHECK_EQ(msg.action, MQT_STEPDOWN_TAKEOVER_END);
	CHECK_EQ(msg.result, 0);
	CHECK_EQ(msg.token, 42);
	CHECK_EQ(msg.pendings ? msg.pendings->n : 0, n_pendings);
	message_drop(&msg);
}

static void
test_takeover_hands_over_session_then_pendings_and_closes(void)
{
	for (uint8_t version = 3; version <= 5; version++) {
		struct flow f = flow_new();
		struct mqt_session_final final;
		struct mqt_msg msg;
		uint8_t got[16];

		check_row = version == 5 ? "5.0" : "3.x";
		world_begin();
		lasting(&f, version);
		subscribe(&f, 1, "s");
		publish_to_client(&f, 21);
		publish_to_client(&f, 22);
		out_clear();
		msg = begin(&f);
		CHECK_EQ(msg.result, 0);
		CHECK_EQ(counts_of(msg.session).filters, 1);
		CHECK_EQ(counts_of(msg.session).inflight[MQT_SESSION_TO_CLIENT], 0);
		mqt_session_final(msg.session, &final);
		CHECK_EQ(final.expiry_sec, version == 5 ? 500 : 7200);
		CHECK_EQ(final.counter[MQT_SEND_MSG], 2);
		message_drop(&msg);
		CHECK_EQ(w.n_out, 0);
		CHECK_EQ(COUNT(FROZEN), 1);
		CHECK_EQ(in_state(MQT_CONN_FROZEN), 1);
		CHECK(inspect(&f) == NULL);
		end_ok(&f, 2);
		CHECK_EQ(COUNT(STEPDOWNS), 1);
		CHECK_EQ(n_sent(0), 1);
		CHECK_EQ(n_sent(1), 1);
		CHECK_EQ(sent(1, 0)->v.tcp_flags, RST_ACK);
		if (version == 5) {
			payload_of(sent(0, 0), got);
			CHECK_EQ(got[0], 0xe0);
			CHECK_EQ(got[2], 0x8e);
		} else {
			CHECK_EQ(sent(0, 0)->v.tcp_flags, RST_ACK);
		}
		release(&f);
		advance(60 * SEC);
		CHECK_EQ(in_state(MQT_CONN_FREE), 64);
		CHECK_NO_MESSAGE();
		world_end();
	}
}

static void
test_takeover_of_a_flow_without_session_hands_over_nothing(void)
{
	struct flow f = flow_new();
	struct mqt_msg msg;

	world_begin();
	connected(&f, "c");
	msg = begin(&f);
	CHECK_EQ(msg.result, 0);
	CHECK(msg.session == NULL);
	end_ok(&f, 0);
	release(&f);
	world_end();
}

static void
test_frozen_flow_lets_nothing_pass(void)
{
	static const uint8_t flags[] = { ACK, FIN_ACK, RST_ACK, MQT_TCP_RST, MQT_TCP_SYN, SYN_ACK };
	struct flow f = flow_new();
	struct mqt_msg msg;
	unsigned n = 0;

	world_begin();
	lasting(&f, 5);
	/* something behind a gap, in both directions */
	for (int side = 0; side < 2; side++)
		send_at(&f, side, ACK, f.seq[side] + 10, f.seq[!side], "\xc0\x00", 2);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->parked), 2);
	out_clear();
	msg = begin(&f);
	message_drop(&msg);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->parked), 0);
	for (int side = 0; side < 2; side++)
		for (unsigned i = 0; i < RTE_DIM(flags); i++)
			for (unsigned len = 0; len <= 2; len += 2, n++)
				send_at(&f, side, flags[i], f.seq[side], f.seq[!side], "\xc0\x00",
						len);
	CHECK_EQ(w.n_out, 0);
	CHECK_EQ(COUNT(FROZEN_DROPPED), n);
	CHECK_NO_MESSAGE();
	CHECK_EQ(in_state(MQT_CONN_FROZEN), 1);
	CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 1);
	end_ok(&f, 0);
	release(&f);
	world_end();
}

static void
test_acknowledgement_while_frozen_lets_the_client_be_told(void)
{
	for (unsigned acked = 0; acked < 2; acked++) {
		struct flow f = flow_new();
		struct mqt_msg msg;
		uint8_t buf[64];

		check_row = acked ? "acknowledged" : "not acknowledged";
		world_begin();
		lasting(&f, 5);
		send_next(&f, BROKER, ACK, buf, qos_packet(buf, 5, 1, 21));
		out_clear();
		msg = begin(&f);
		message_drop(&msg);
		if (acked)
			send_next(&f, CLIENT, ACK, NULL, 0);
		end_ok(&f, 1);
		CHECK_EQ(COUNT(INJECTED_DISCONNECT), acked);
		release(&f);
		world_end();
	}
}

static void
test_takeover_of_what_cannot_be_taken_over_fails(void)
{
	struct flow f = flow_new(), g = flow_new();
	struct mqt_mqtt_connect connect = connect_of(5, false, 500);
	struct mqt_msg msg;

	world_begin();
	open_with(&f, &connect, no_override);
	CHECK_EQ(begin(&f).result, -EINVAL); /* not registered yet */
	CHECK_EQ(COUNT(UNEXPECTED_MSG), 1);
	grant(&f, NULL);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_END); /* without a begin */
	CHECK_EQ(next_message().result, -EINVAL);
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
	msg = begin(&f);
	CHECK_EQ(msg.result, 0);
	message_drop(&msg);
	CHECK_EQ(begin(&f).result, -EINVAL); /* twice */
	CHECK_EQ(COUNT(UNEXPECTED_MSG), 3);
	end_ok(&f, 0);
	CHECK_EQ(begin(&f).result, -ENOENT); /* closing */
	release(&f);
	CHECK_EQ(begin(&f).result, -ENOENT); /* gone */
	CHECK_EQ(COUNT(STEPDOWN_NOPROC), 2);
	/* ended by itself, its CLOSED came first */
	lasting(&g, 5);
	send_next(&g, CLIENT, FIN_ACK, NULL, 0);
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_CLOSED);
	message_drop(&msg);
	CHECK_EQ(begin(&g).result, -ENOENT);
	release(&g);
	world_end();
}

static void
test_frozen_flow_without_end_closes_by_itself(void)
{
	struct flow f = flow_new();
	struct mqt_msg msg;

	world_begin();
	lasting(&f, 5);
	publish_to_client(&f, 21);
	out_clear();
	msg = begin(&f);
	message_drop(&msg);
	advance(19 * SEC);
	CHECK_NO_MESSAGE();
	CHECK_EQ(w.n_out, 0);
	advance(2 * SEC);
	CHECK_DOWN(&f, MQT_REASON_TAKEN_OVER);
	CHECK_EQ(COUNT(INJECTED_DISCONNECT) > 0, 1);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_END);
	CHECK_EQ(next_message().result, -ENOENT);
	release(&f);
	advance(60 * SEC);
	CHECK_EQ(in_state(MQT_CONN_FREE), 64);
	world_end();
}

static void
test_killed_while_frozen_is_down_killed(void)
{
	static const char *const rows[] = { "a segment", "the timer", "takeover end", "discard" };

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flow f = flow_new();
		struct mqt_msg msg;

		check_row = rows[i];
		world_begin();
		lasting(&f, 5);
		publish_to_client(&f, 21);
		out_clear();
		msg = begin(&f);
		message_drop(&msg);
		CHECK(kill_channel(&f));
		if (i == 0)
			send_next(&f, CLIENT, ACK, "\xc0\x00", 2);
		else if (i == 1)
			advance(21 * SEC);
		else
			tell(&f, MQT_MSG_STEPDOWN,
					i == 2 ? MQT_STEPDOWN_TAKEOVER_END : MQT_STEPDOWN_DISCARD);
		CHECK_DOWN(&f, MQT_REASON_KILLED);
		for (unsigned k = 0; k < w.n_out; k++)
			CHECK_EQ(w.out[k].v.tcp_flags, RST_ACK);
		if (i >= 2) {
			msg = next_message();
			CHECK_EQ(msg.type, MQT_MSG_STEPDOWN_DONE);
			CHECK(msg.pendings == NULL);
		}
		CHECK_NO_MESSAGE();
		release(&f);
		world_end();
	}
}

static void
test_killed_before_begin_is_noproc(void)
{
	struct flow f = flow_new();
	struct mqt_msg msg;

	world_begin();
	lasting(&f, 5);
	subscribe(&f, 1, "s");
	CHECK(kill_channel(&f));
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_BEGIN);
	CHECK_DOWN(&f, MQT_REASON_KILLED);
	msg = next_message();
	CHECK_EQ(msg.result, -ENOENT);
	CHECK(msg.session == NULL);
	release(&f);
	world_end();
}

static void
test_frozen_flow_steps_down_for_a_kick(void)
{
	struct flow f = flow_new();
	struct mqt_msg msg;

	world_begin();
	lasting(&f, 5);
	publish_to_client(&f, 21);
	msg = begin(&f);
	message_drop(&msg);
	tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
	CHECK_DOWN(&f, MQT_REASON_KICKED);
	CHECK_EQ(next_message().type, MQT_MSG_STEPDOWN_DONE);
	CHECK_NO_MESSAGE();
	release(&f);
	world_end();
}

static void
test_tracker_that_stops_frees_what_flows_own(void)
{
	struct flow f = flow_new(), g = flow_new(), h = flow_new();
	struct mqt_mqtt_connect connect = connect_of(4, false, 0);
	struct mqt_msg msg;

	world_begin();
	lasting(&f, 5);
	subscribe(&f, 1, "s");
	send_next(&f, CLIENT, ACK, "\x82\x10\x00", 3); /* a packet that is cut */
	lasting(&g, 4);
	publish_to_client(&g, 21);
	msg = begin(&g);
	message_drop(&msg);
	open_with(&h, &connect, no_override);
	subscribe(&h, 1, "early");
	free(f.info);
	free(g.info);
	free(h.info);
	world_end();
}

/* --- wills ------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint8_t version;
	bool publish, no_will, mid_packet, unacked, no_room, said;
	bool told; /* the broker gets DISCONNECT and FIN, else RST */
} wills[] = {
	{ "3.1", 3, false, false, false, false, false, false, true },
	{ "3.1.1", 4, false, false, false, false, false, false, true },
	{ "5.0", 5, false, false, false, false, false, false, true },
	{ "no will", 5, false, true, false, false, false, false, true },
	{ "publish", 5, true, false, false, false, false, false, false },
	{ "in mid-packet", 4, false, false, true, false, false, false, false },
	{ "not acknowledged", 4, false, false, false, true, false, false, false },
	{ "no room", 4, false, false, false, false, true, false, false },
	{ "has said DISCONNECT", 4, false, false, false, false, false, true, false },
};

static void
will_run(unsigned i, enum mqt_stepdown action)
{
	struct flow f = flow_new();
	struct mqt_mqtt_connect connect = connect_of(wills[i].version, false, 500);
	struct mqt_msg msg;
	const struct out *o;
	uint8_t got[16];

	check_row = wills[i].name;
	connect.has_expiry = wills[i].version == 5;
	connect.has_will = !wills[i].no_will;
	world_config();
	w.config.listeners[0].will = wills[i].publish ? MQT_WILL_PUBLISH : MQT_WILL_SUPPRESS;
	world_start();
	if (wills[i].no_room)
		f.window = 60;
	open_with(&f, &connect, no_override);
	grant(&f, NULL);
	if (wills[i].mid_packet)
		send_next(&f, CLIENT, ACK, "\x30\x10\x00\x01", 4);
	else
		send_next(&f, CLIENT, ACK, wills[i].said ? "\xe0\x00" : "\xc0\x00", 2);
	if (wills[i].no_room)
		f.window = 1;
	if (wills[i].no_room) /* what was offered once is not taken back: fill it */
		for (unsigned k = 0; k < 28; k++)
			send_next(&f, CLIENT, ACK, "\xc0\x00", 2);
	if (!wills[i].unacked)
		send_next(&f, BROKER, ACK, NULL, 0);
	out_clear();
	if (action == MQT_STEPDOWN_TAKEOVER_END) {
		msg = begin(&f);
		message_drop(&msg);
	}
	tell(&f, MQT_MSG_STEPDOWN, action);
	drop_messages();
	o = sent(1, 0);
	CHECK_EQ(o->v.tcp_flags & MQT_TCP_RST, wills[i].told ? 0 : MQT_TCP_RST);
	CHECK_EQ(COUNT(WILL_SUPPRESSED), wills[i].told && !wills[i].no_will);
	if (wills[i].told) {
		CHECK_EQ(n_sent(1), 1);
		CHECK_EQ(o->v.tcp_flags & MQT_TCP_FIN, MQT_TCP_FIN);
		CHECK_EQ(o->v.seq, f.seq[CLIENT]);
		CHECK_EQ(o->v.payload_len, 2);
		payload_of(o, got);
		CHECK_MEM(got, "\xe0\x00", 2);
	}
	release(&f);
	world_end();
}

static void
test_will_is_suppressed_where_the_broker_can_be_told(void)
{
	for (unsigned i = 0; i < RTE_DIM(wills); i++) {
		will_run(i, MQT_STEPDOWN_KICK);
		will_run(i, MQT_STEPDOWN_DISCARD);
		will_run(i, MQT_STEPDOWN_TAKEOVER_END);
	}
}

/* --- refusals ---------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum mqt_reason reason;
	uint8_t v5, v3;
} refusals[] = {
	{ "superseded", MQT_REASON_SUPERSEDED, 0x89, 0x03 },
	{ "policy", MQT_REASON_POLICY, 0x97, 0x03 },
	{ "user name", MQT_REASON_USERNAME_MISMATCH, 0x87, 0x05 },
	{ "flapping", MQT_REASON_FLAPPING, 0x89, 0x03 },
};

static void
test_refusals_say_why_and_are_not_let_pass(void)
{
	for (unsigned i = 0; i < RTE_DIM(refusals); i++) {
		for (uint8_t version = 3; version <= 5; version++) {
			struct flow f = flow_new();
			struct mqt_mqtt_connect connect = connect_of(version, true, 0);
			struct mqt_mqtt_connack ack = { 0 };
			uint8_t got[64];

			check_row = refusals[i].name;
			world_begin(); /* fails open */
			open_with(&f, &connect, no_override);
			subscribe(&f, 1, "early");
			out_clear();
			tell(&f, MQT_MSG_REFUSE, refusals[i].reason);
			CHECK_EQ(COUNT(REFUSALS), 1);
			CHECK_EQ(n_sent(0), 1);
			payload_of(sent(0, 0), got);
			CHECK_EQ(mqt_mqtt_connack_parse(got, sent(0, 0)->v.payload_len, version,
						 &ack, NULL),
					MQT_PARSE_OK);
			CHECK_EQ(ack.code, version == 5 ? refusals[i].v5 : refusals[i].v3);
			CHECK_EQ(COUNT(UNTRACKED_POSSIBLE_DUPLICATE), 0);
			CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
			CHECK_NO_MESSAGE();
			world_end();
		}
	}
}

int
main(void)
{
	CU_TestInfo follow[] = {
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
	CU_TestInfo ends[] = {
		TEST(test_session_outlives_its_flow_as_its_expiry_says),
		TEST(test_every_natural_end_hands_the_session_over),
		TEST(test_session_is_not_followed_past_its_handover),
		TEST(test_newcomer_that_dies_leaves_no_session),
		TEST(test_disconnect_of_the_broker_overrides_nothing),
		TEST(test_release_without_info_gives_the_slot_back),
		CU_TEST_INFO_NULL,
	};
	CU_TestInfo takeover[] = {
		TEST(test_takeover_hands_over_session_then_pendings_and_closes),
		TEST(test_takeover_of_a_flow_without_session_hands_over_nothing),
		TEST(test_frozen_flow_lets_nothing_pass),
		TEST(test_acknowledgement_while_frozen_lets_the_client_be_told),
		TEST(test_takeover_of_what_cannot_be_taken_over_fails),
		TEST(test_frozen_flow_without_end_closes_by_itself),
		TEST(test_killed_while_frozen_is_down_killed),
		TEST(test_killed_before_begin_is_noproc),
		TEST(test_frozen_flow_steps_down_for_a_kick),
		TEST(test_tracker_that_stops_frees_what_flows_own),
		CU_TEST_INFO_NULL,
	};
	CU_TestInfo wire[] = {
		TEST(test_will_is_suppressed_where_the_broker_can_be_told),
		TEST(test_refusals_say_why_and_are_not_let_pass),
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ "follow", NULL, NULL, NULL, NULL, follow },
		{ "ends", NULL, NULL, NULL, NULL, ends },
		{ "takeover", NULL, NULL, NULL, NULL, takeover },
		{ "wire", NULL, NULL, NULL, NULL, wire },
		CU_SUITE_INFO_NULL,
	};
	return rig_run(suites);
}
