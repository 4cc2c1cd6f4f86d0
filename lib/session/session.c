/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A session as the wire shows it: subscriptions (subs.c), messages in flight in both directions
 * (inflight.c), pendings, and what a flow leaves behind when it ends.
 *
 * Life-cycle: made by the worker of a flow with the first packet that wants one; fed with the
 * packets of that flow; handed to the control lcore when the flow ends or is taken over, and from
 * there to the worker of the flow that resumes it, which feeds it on; destroyed by its owner.
 *
 * Pendings: the ids towards the client that were in flight when a flow was taken over. On the next
 * flow the broker sends those messages again, PUBLISH or PUBREL by how far they had come (5.0
 * §4.4): each that comes again leaves the pendings and is in flight again.
 *
 * Synchronisation: none; one owner at a time, moved by message.
 *
 * Sources: MQTT 5.0 §4.1, §4.3, §4.4; MQTT 3.1.1 §3.1.2.4.
 */

#include "mqtrack/session.h"

#include "inflight.h"
#include "subs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Reason codes from here on are failures (5.0 §2.4). */
#define FAILURE 0x80
/* Bit 3 of the fixed header of a PUBLISH. */
#define FLAG_DUP 0x08

struct mqt_session {
	struct subs subs;
	struct inflight inflight[MQT_SESSION_N_DIRS];
	struct mqt_pendings *pendings; /* NULL: none */
	uint64_t filters_missed;
	uint64_t inflight_missed;
	struct mqt_session_final final;
};

static_assert(sizeof(struct mqt_session) <= MQT_SESSION_BYTES, "as the header says");

static size_t
pendings_size(uint32_t n)
{
	return sizeof(struct mqt_pendings) + n * sizeof(uint16_t);
}

struct mqt_session *
mqt_session_create(void)
{
	return calloc(1, sizeof(struct mqt_session));
}

void
mqt_session_destroy(struct mqt_session *session)
{
	if (session == NULL)
		return;
	subs_fini(&session->subs);
	for (int dir = 0; dir < MQT_SESSION_N_DIRS; dir++)
		inflight_fini(&session->inflight[dir]);
	free(session->pendings);
	free(session);
}

static bool
content_copy(struct mqt_session *to, const struct mqt_session *from)
{
	bool ok = subs_copy(&to->subs, &from->subs);

	for (int dir = 0; dir < MQT_SESSION_N_DIRS; dir++)
		ok = inflight_copy(&to->inflight[dir], &from->inflight[dir]) && ok;
	if (from->pendings != NULL) {
		to->pendings = malloc(pendings_size(from->pendings->n));
		if (to->pendings == NULL)
			return false;
		memcpy(to->pendings, from->pendings, pendings_size(from->pendings->n));
	}
	return ok;
}

struct mqt_session *
mqt_session_clone(const struct mqt_session *session)
{
	struct mqt_session *copy;

	if (session == NULL)
		return NULL;
	copy = mqt_session_create();
	if (copy == NULL)
		return NULL;
	if (!content_copy(copy, session)) {
		mqt_session_destroy(copy);
		return NULL;
	}
	copy->filters_missed = session->filters_missed;
	copy->inflight_missed = session->inflight_missed;
	copy->final = session->final;
	return copy;
}

/* Packets. */

/* Takes an id out of the pendings. Returns whether it was there. */
static bool
pendings_remove(struct mqt_session *session, uint16_t packet_id)
{
	struct mqt_pendings *pendings = session->pendings;
	uint32_t i = 0;

	if (pendings == NULL)
		return false;
	while (i < pendings->n && pendings->packet_id[i] != packet_id)
		i++;
	if (i == pendings->n)
		return false;
	pendings->n--;
	memmove(&pendings->packet_id[i], &pendings->packet_id[i + 1],
			(pendings->n - i) * sizeof(pendings->packet_id[0]));
	if (pendings->n == 0) {
		free(pendings);
		session->pendings = NULL;
	}
	return true;
}

static bool
publish(struct mqt_session *session, uint32_t limit, enum mqt_session_dir sender,
		const struct mqt_mqtt_packet *packet)
{
	if (packet->qos == 0)
		return true;
	if (sender == MQT_SESSION_TO_CLIENT)
		pendings_remove(session, packet->packet_id);
	return inflight_publish(&session->inflight[sender], limit, packet->packet_id, packet->qos,
			packet->flags & FLAG_DUP);
}

/* PUBREL, which the publisher sends. The first one for a pending id brings it back. */
static bool
release(struct mqt_session *session, uint32_t limit, enum mqt_session_dir sender,
		const struct mqt_mqtt_packet *packet)
{
	struct inflight *inflight = &session->inflight[sender];

	if (inflight_ack(inflight, packet->type, packet->packet_id, false))
		return true;
	if (sender != MQT_SESSION_TO_CLIENT || !pendings_remove(session, packet->packet_id))
		return true;
	return inflight_release(inflight, limit, packet->packet_id);
}

static enum mqt_session_dir
opposite(enum mqt_session_dir dir)
{
	return dir == MQT_SESSION_FROM_CLIENT ? MQT_SESSION_TO_CLIENT : MQT_SESSION_FROM_CLIENT;
}

static unsigned
inflight_apply(struct mqt_session *session, uint32_t limit, enum mqt_session_dir sender,
		const struct mqt_mqtt_packet *packet)
{
	bool kept = true;

	if (packet->type == MQT_MQTT_PUBLISH)
		kept = publish(session, limit, sender, packet);
	else if (packet->type == MQT_MQTT_PUBREL)
		kept = release(session, limit, sender, packet);
	else
		inflight_ack(&session->inflight[opposite(sender)], packet->type, packet->packet_id,
				packet->reason >= FAILURE);
	session->inflight_missed += !kept;
	return !kept;
}

static unsigned
subs_apply(struct mqt_session *session, const struct mqt_session_limits *limits,
		enum mqt_session_dir sender, uint8_t version, const struct mqt_mqtt_packet *packet)
{
	bool request = packet->type == MQT_MQTT_SUBSCRIBE || packet->type == MQT_MQTT_UNSUBSCRIBE;
	unsigned n_missed;

	if (request != (sender == MQT_SESSION_FROM_CLIENT))
		return 0;
	n_missed = request ? subs_request(&session->subs, limits, version, packet)
			   : subs_answer(&session->subs, limits, version, packet);
	session->filters_missed += n_missed;
	return n_missed;
}

unsigned
mqt_session_apply(struct mqt_session *session, const struct mqt_session_limits *limits,
		enum mqt_session_dir sender, uint8_t version, const struct mqt_mqtt_packet *packet)
{
	switch (packet->type) {
	case MQT_MQTT_PUBLISH:
	case MQT_MQTT_PUBACK:
	case MQT_MQTT_PUBREC:
	case MQT_MQTT_PUBREL:
	case MQT_MQTT_PUBCOMP:
		return inflight_apply(session, limits->inflight, sender, packet);
	case MQT_MQTT_SUBSCRIBE:
	case MQT_MQTT_SUBACK:
	case MQT_MQTT_UNSUBSCRIBE:
	case MQT_MQTT_UNSUBACK:
		return subs_apply(session, limits, sender, version, packet);
	default:
		return 0;
	}
}

bool
mqt_session_wants(const struct mqt_mqtt_packet *packet)
{
	return packet->type == MQT_MQTT_SUBSCRIBE ||
			(packet->type == MQT_MQTT_PUBLISH && packet->qos > 0);
}

/* What readers ask. */

void
mqt_session_counts(const struct mqt_session *session, struct mqt_session_counts *out)
{
	*out = (struct mqt_session_counts){ .filters = session->subs.n,
		.filters_missed = session->filters_missed,
		.inflight_missed = session->inflight_missed,
		.bytes = sizeof(*session) + subs_bytes(&session->subs) };
	for (int dir = 0; dir < MQT_SESSION_N_DIRS; dir++) {
		out->inflight[dir] = session->inflight[dir].n;
		out->bytes += inflight_bytes(&session->inflight[dir]);
	}
	if (session->pendings != NULL) {
		out->pendings = session->pendings->n;
		out->bytes += pendings_size(session->pendings->n);
	}
}

bool
mqt_session_filter(const struct mqt_session *session, unsigned i, struct mqt_bytes *filter,
		uint8_t *qos)
{
	return subs_at(&session->subs, i, filter, qos);
}

bool
mqt_session_inflight(const struct mqt_session *session, enum mqt_session_dir dir, unsigned i,
		uint16_t *packet_id, enum mqt_inflight_state *state)
{
	const struct inflight_entry *entry = inflight_at(&session->inflight[dir], i);

	if (entry == NULL)
		return false;
	*packet_id = entry->packet_id;
	*state = entry->state;
	return true;
}

/* The end of a flow. */

struct mqt_pendings *
mqt_session_split_pendings(struct mqt_session *session)
{
	struct inflight *inflight = &session->inflight[MQT_SESSION_TO_CLIENT];
	struct mqt_pendings *pendings;

	subs_forget_requests(&session->subs);
	if (inflight->n == 0)
		return NULL;
	pendings = malloc(pendings_size(inflight->n));
	if (pendings == NULL)
		return NULL;
	pendings->n = (uint16_t)inflight->n; /* ids differ, and 0 is none: at most 65,535 */
	for (uint32_t i = 0; i < inflight->n; i++)
		pendings->packet_id[i] = inflight_at(inflight, i)->packet_id;
	inflight_fini(inflight);
	return pendings;
}

/*
 * Appends to @p to the ids of @p from that it has not yet. @p to has room for both. Ids of a
 * message that stayed pending through several flows may come from each of them.
 */
static void
pendings_append(struct mqt_pendings *to, const struct mqt_pendings *from)
{
	uint64_t known[UINT16_MAX / 64 + 1] = { 0 };

	for (uint32_t i = 0; i < to->n; i++)
		known[to->packet_id[i] / 64] |= UINT64_C(1) << to->packet_id[i] % 64;
	for (uint32_t i = 0; i < from->n; i++) {
		uint16_t id = from->packet_id[i];

		if (known[id / 64] >> id % 64 & 1)
			continue;
		known[id / 64] |= UINT64_C(1) << id % 64;
		to->packet_id[to->n++] = id;
	}
}

void
mqt_session_join_pendings(struct mqt_session *session, struct mqt_pendings *pendings)
{
	struct mqt_pendings *joined;

	if (pendings == NULL || session->pendings == NULL) {
		if (pendings != NULL)
			session->pendings = pendings;
		return;
	}
	joined = realloc(session->pendings, pendings_size(session->pendings->n + pendings->n));
	if (joined == NULL) {
		session->inflight_missed += pendings->n;
	} else {
		session->pendings = joined;
		pendings_append(joined, pendings);
	}
	free(pendings);
}

void
mqt_session_set_final(struct mqt_session *session, const struct mqt_session_final *final)
{
	subs_forget_requests(&session->subs);
	session->final = *final;
}

void
mqt_session_final(const struct mqt_session *session, struct mqt_session_final *out)
{
	*out = session->final;
}
