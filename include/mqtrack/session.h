/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_SESSION_H
#define MQT_SESSION_H

#include "mqtrack/mqtt.h"
#include "mqtrack/slot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * @file
 * What the wire shows of an MQTT session: subscriptions up to their SUBACK, packet ids in flight
 * in both directions up to their acknowledgement. The broker holds the real one.
 *
 * Ownership: exactly one owner at a time: the worker of the live flow, a message on its way, or
 * the control lcore. It moves as a pointer; it is never shared, and only a copy made for a reader
 * (mqt_session_clone) is ever a second one. No lock, no DPDK; memory is malloc's and bounded by
 * the limits.
 * Source: MQTT 5.0 §4.1, §4.3, §4.4; MQTT 3.1.1 §3.1.2.4.
 */

struct mqt_session;

struct mqt_session_limits {
	uint32_t filters;  /* topic filters kept, and requests waiting; further ones are counted */
	uint32_t inflight; /* packet ids kept a direction; further ones are counted */
	uint32_t bytes; /* of topic filters, and of requests waiting; further filters are counted */
};

enum mqt_session_dir {
	MQT_SESSION_FROM_CLIENT, /* PUBLISH by the client */
	MQT_SESSION_TO_CLIENT,   /* PUBLISH by the broker */
	MQT_SESSION_N_DIRS,
};

/** How far a QoS 1 or 2 message has come. */
enum mqt_inflight_state {
	MQT_INFLIGHT_PUBLISHED, /* PUBLISH seen */
	MQT_INFLIGHT_RECEIVED,  /* QoS 2: PUBREC seen */
	MQT_INFLIGHT_RELEASED,  /* QoS 2: PUBREL seen */
};

/** @return NULL with errno ENOMEM. Ownership: mqt_session_destroy(). */
struct mqt_session *mqt_session_create(void);

/** Accepts NULL. */
void mqt_session_destroy(struct mqt_session *session);

/** A copy for a reader. Accepts NULL. @return NULL where there is none or no memory. */
struct mqt_session *mqt_session_clone(const struct mqt_session *session);

/**
 * Applies a packet to a session.
 * @param sender who sent the packet: MQT_SESSION_FROM_CLIENT or MQT_SESSION_TO_CLIENT.
 * @param version 3, 4 or 5.
 * @return how many filters or packet ids found no room in the limits and were only counted.
 * Context: the owner.
 */
unsigned mqt_session_apply(struct mqt_session *session, const struct mqt_session_limits *limits,
		enum mqt_session_dir sender, uint8_t version, const struct mqt_mqtt_packet *packet);

/**
 * Whether a packet would change a session that has nothing yet: so that one is made only for
 * flows that need one.
 */
bool mqt_session_wants(const struct mqt_mqtt_packet *packet);

/** What readers may ask; context: the owner, or whoever holds a copy. */
struct mqt_session_counts {
	uint32_t filters;
	uint32_t inflight[MQT_SESSION_N_DIRS];
	uint32_t pendings;
	uint64_t filters_missed;  /* beyond the limit */
	uint64_t inflight_missed; /* beyond the limit */
	size_t bytes;             /* memory it takes */
};

void mqt_session_counts(const struct mqt_session *session, struct mqt_session_counts *out);

/**
 * @param i from 0, in order of subscription.
 * @param filter raw bytes inside the session. @param qos granted by SUBACK.
 * @return false past the end.
 */
bool mqt_session_filter(const struct mqt_session *session, unsigned i, struct mqt_bytes *filter,
		uint8_t *qos);

/** @return false past the end. */
bool mqt_session_inflight(const struct mqt_session *session, enum mqt_session_dir dir, unsigned i,
		uint16_t *packet_id, enum mqt_inflight_state *state);

/**
 * Pendings: the packet ids towards the client not acknowledged when it was taken over. The broker
 * keeps the messages and sends them again.
 */
struct mqt_pendings {
	uint16_t n;
	uint16_t packet_id[];
};

/**
 * Takes the ids in flight towards the client out of a session, whose flow is over: it also forgets
 * the SUBSCRIBE and UNSUBSCRIBE that were not answered.
 * @return NULL where there are none, or no memory (then they stay). Ownership: free().
 */
struct mqt_pendings *mqt_session_split_pendings(struct mqt_session *session);

/**
 * Gives them to a session, which owns them then; an id that it has already is there once. One that
 * the broker sends again on a later flow leaves the pendings. @p pendings may be NULL. Without
 * memory those it has stay, and the others are counted as missed.
 */
void mqt_session_join_pendings(struct mqt_session *session, struct mqt_pendings *pendings);

/**
 * What outlives a flow beside the session's content; set by the worker for CLOSED. Setting it
 * forgets the SUBSCRIBE and UNSUBSCRIBE that were not answered. Zeroed until it is set.
 */
struct mqt_session_final {
	uint32_t expiry_sec; /* UINT32_MAX: never */
	uint64_t counter[MQT_SLOT_N_COUNTERS];
};

/** Of a session itself at most, without what it points to: for who loads it ahead. */
#define MQT_SESSION_BYTES 192

void mqt_session_set_final(struct mqt_session *session, const struct mqt_session_final *final);
void mqt_session_final(const struct mqt_session *session, struct mqt_session_final *out);

#endif
