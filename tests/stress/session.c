/* SPDX-License-Identifier: BSD-3-Clause */
#include "stress.h"

#include <stdlib.h>
#include <string.h>

/*
 * Sessions of which everything is known. A client has subscribed to its own client id, and one
 * message is on its way to it, whose packet id follows from the client's number. The message is
 * never acknowledged: it goes from flow to flow, as in flight where a flow closed, as pending where
 * one was taken over, and each flow begins with the broker sending it again.
 *
 * What a flow leaves behind it in its last counters names one generation (owner.c), so values of
 * two flows in one session are found out.
 */

#define SUBSCRIBE_ID 1
#define QOS          1

static const struct mqt_session_limits limits = { .filters = 4, .inflight = 4, .bytes = 1024 };

static void
apply(struct mqt_session *session, enum mqt_session_dir sender, struct mqt_mqtt_packet packet)
{
	if (mqt_session_apply(session, &limits, sender, 5, &packet) > 0)
		abort();
}

static void
subscribe(struct mqt_session *session, uint32_t client)
{
	/* packet id, no properties, a filter with its length, options */
	uint8_t body[2 + 1 + 2 + RECORD_MAX + 1] = { 0, SUBSCRIBE_ID, 0 };
	static const uint8_t answer[] = { 0, SUBSCRIBE_ID, 0, QOS };
	size_t len = record_clientid(client, body + 5);

	body[4] = (uint8_t)len;
	body[5 + len] = QOS;
	apply(session, MQT_SESSION_FROM_CLIENT,
			(struct mqt_mqtt_packet){ .type = MQT_MQTT_SUBSCRIBE,
					.packet_id = SUBSCRIBE_ID,
					.body = { body, (uint32_t)(6 + len) } });
	apply(session, MQT_SESSION_TO_CLIENT,
			(struct mqt_mqtt_packet){ .type = MQT_MQTT_SUBACK,
					.packet_id = SUBSCRIBE_ID,
					.body = { answer, sizeof(answer) } });
}

struct mqt_session *
session_make(uint32_t client)
{
	struct mqt_session *session = mqt_session_create();

	if (!session)
		abort();
	session_begin(session, client);
	return session;
}

void
session_begin(struct mqt_session *session, uint32_t client)
{
	struct mqt_session_counts counts;

	mqt_session_counts(session, &counts);
	if (counts.filters == 0)
		subscribe(session, client);
	apply(session, MQT_SESSION_TO_CLIENT,
			(struct mqt_mqtt_packet){ .type = MQT_MQTT_PUBLISH,
					.qos = QOS,
					.packet_id = (uint16_t)(client + 1) });
}

void
session_end(struct mqt_session *session, const struct mqt_slot *slot, uint32_t expiry_sec)
{
	struct mqt_session_final final = { .expiry_sec = expiry_sec };

	for (unsigned c = 0; c < MQT_SLOT_N_COUNTERS; c++)
		final.counter[c] = mqt_counter_get(&slot->counter[c]);
	mqt_session_set_final(session, &final);
}

static const char *
check_final(const struct mqt_session *session)
{
	struct mqt_session_final final;

	mqt_session_final(session, &final);
	for (unsigned c = 1; c < MQT_SLOT_N_COUNTERS; c++) {
		if (final.counter[c] >> 32 != final.counter[0] >> 32)
			return "the last counters are of two flows";
	}
	return NULL;
}

const char *
session_check(const struct mqt_session *session, uint32_t client, unsigned *n_messages)
{
	struct mqt_session_counts counts;
	uint8_t clientid[RECORD_MAX], qos;
	enum mqt_inflight_state state;
	struct mqt_bytes filter;
	uint16_t packet_id;

	mqt_session_counts(session, &counts);
	*n_messages = counts.inflight[MQT_SESSION_TO_CLIENT] + counts.pendings;
	if (*n_messages > 1 || counts.inflight[MQT_SESSION_FROM_CLIENT] > 0)
		return "the session has more messages than were sent";
	if (counts.filters > 1 || counts.filters < *n_messages)
		return "the session has not its one subscription";
	if (mqt_session_filter(session, 0, &filter, &qos) &&
			(record_clientid(client, clientid) != filter.len || qos != QOS ||
					memcmp(filter.ptr, clientid, filter.len) != 0))
		return "the session is another client's";
	if (mqt_session_inflight(session, MQT_SESSION_TO_CLIENT, 0, &packet_id, &state) &&
			(packet_id != client + 1 || state != MQT_INFLIGHT_PUBLISHED))
		return "the session's message is another client's";
	return check_final(session);
}
