/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_CONN_SESSION_RIG_H
#define TESTS_UNIT_CONN_SESSION_RIG_H

/*
 * What tests of connections with sessions share: a flow up to its OPEN or its GRANT, packets that
 * make a session.
 */

#include "conn_rig.h"

/* A copy of the flow's session; NULL: it has none. Ownership: the caller's. */
static inline struct mqt_session *
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

static inline struct mqt_session_counts
counts_of(const struct mqt_session *session)
{
	struct mqt_session_counts counts = { 0 };

	CHECK(session != NULL);
	if (session)
		mqt_session_counts(session, &counts);
	return counts;
}

/* Has the client subscribe. */
static inline void
subscribe(struct flow *f, uint16_t packet_id, const char *filter)
{
	uint8_t buf[128];

	send_next(f, CLIENT, ACK, buf, subscribe_packet(buf, f->version, packet_id, filter, 1));
	send_next(f, BROKER, ACK, buf, suback_packet(buf, f->version, packet_id, 1));
	send_next(f, CLIENT, ACK, NULL, 0);
}

static inline void
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
static inline void
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

static inline struct mqt_mqtt_connect
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

static inline void
grant(struct flow *f, struct mqt_session *inherited)
{
	tell_with(f, MQT_MSG_GRANT, 0, inherited);
	CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
	send_next(f, CLIENT, ACK, NULL, 0);
	out_clear();
}

/* A connected client whose session outlives it. */
static inline void
lasting(struct flow *f, uint8_t version)
{
	struct mqt_mqtt_connect connect = connect_of(version, false, 500);

	connect.has_will = true;
	open_with(f, &connect, no_override);
	grant(f, NULL);
}

static inline struct mqt_msg
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

#endif
