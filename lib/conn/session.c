/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session of a flow: what lib/session makes of the packets that the two taps report.
 *
 * Life-cycle. Before GRANT nobody knows whether the flow inherits a session, so the packets of a
 * client that does not wait for CONNACK are kept with the handshake, bounded, and applied by
 * session_begin(). From then on each packet is applied as it comes by; a session is made when the
 * first packet wants one. It leaves with CLOSED (session_leave) or with the answer to takeover
 * begin (freeze.c), or it ends with the channel (session_drop). A stream that is no longer
 * followed leaves the session as it was last known.
 *
 * What the broker still answers when the client has closed is not part of it: the session leaves
 * with the client's FIN, and a SUBACK that comes later would find its owner gone. So the
 * subscription that it grants is missing until the client subscribes again.
 *
 * A DISCONNECT of a 5.0 client may bring another expiry, but not wake one that was 0.
 *
 * Synchronisation: the worker's own; a session that left is its receiver's.
 * Sources: MQTT 5.0 §3.1.4 (packets before CONNACK), §3.14.2.2.2, §4.1; DESIGN.md §3.
 */
#include "conn_private.h"

#include <stdlib.h>
#include <string.h>

/* A packet that is kept; its body follows, nothing is aligned. */
struct early {
	uint32_t body_len;
	uint16_t packet_id;
	uint8_t type, flags, qos, reason;
	uint8_t oversize;
};

static void
missed(struct mqt_conns *cs, unsigned n)
{
	if (n > 0)
		mqt_counter_add(&cs->counters[MQT_W_SESSION_OVERFLOW], n);
}

/* --- before GRANT ------------------------------------------------------------------------------ */

static void
early_keep(struct mqt_conns *cs, struct handshake *hs, const struct mqt_mqtt_packet *packet)
{
	struct early e = {
		.body_len = packet->body.len,
		.packet_id = packet->packet_id,
		.type = packet->type,
		.flags = packet->flags,
		.qos = packet->qos,
		.reason = packet->reason,
		.oversize = packet->oversize,
	};
	uint32_t before = hs->early_len;

	if (before + sizeof(e) + e.body_len <= cs->config->limits.session_packet_bytes &&
			handshake_append(&hs->early, &hs->early_len, &hs->early_cap, &e,
					sizeof(e)) &&
			(e.body_len == 0 ||
					handshake_append(&hs->early, &hs->early_len, &hs->early_cap,
							packet->body.ptr, e.body_len)))
		return;
	hs->early_len = before;
	missed(cs, 1);
}

/* Reads the packet at @p at. @return where the next one is. */
static uint32_t
early_read(const struct handshake *hs, uint32_t at, struct mqt_mqtt_packet *out)
{
	struct early e;

	memcpy(&e, hs->early + at, sizeof(e));
	at += (uint32_t)sizeof(e);
	*out = (struct mqt_mqtt_packet){
		.type = e.type,
		.flags = e.flags,
		.qos = e.qos,
		.reason = e.reason,
		.packet_id = e.packet_id,
		.oversize = e.oversize,
		.body = { e.body_len ? hs->early + at : NULL, e.body_len },
	};
	return at + e.body_len;
}

/* --- granted ----------------------------------------------------------------------------------- */

static void
override_expiry(struct conn *c, const struct mqt_mqtt_packet *packet)
{
	uint32_t expiry_sec;

	if (c->version == 5 && c->expiry_sec > 0 &&
			mqt_mqtt_disconnect_expiry(packet->body, &expiry_sec))
		c->expiry_sec = expiry_sec;
}

static void
apply(struct mqt_conns *cs, struct conn *c, enum side side, const struct mqt_mqtt_packet *packet)
{
	struct mqt_session_limits limits = {
		.filters = cs->config->limits.session_filters,
		.inflight = cs->config->limits.session_inflight,
		.bytes = cs->config->limits.session_bytes,
	};
	struct mqt_session **session = conn_session(c);

	if (packet->type == MQT_MQTT_DISCONNECT) {
		if (side == CLIENT)
			override_expiry(c, packet);
		return;
	}
	if (!*session) {
		if (!mqt_session_wants(packet))
			return;
		*session = mqt_session_create();
		if (!*session) {
			missed(cs, 1);
			return;
		}
	}
	missed(cs,
			mqt_session_apply(*session, &limits,
					side == CLIENT ? MQT_SESSION_FROM_CLIENT
						       : MQT_SESSION_TO_CLIENT,
					c->version, packet));
}

void
session_packet(struct mqt_conns *cs, struct conn *c, enum side side,
		const struct mqt_mqtt_packet *packet)
{
	if (packet->oversize)
		count(cs, MQT_W_SESSION_OVERSIZE);
	if (c->state == MQT_CONN_CONNECTED)
		apply(cs, c, side, packet);
	else if (c->state == MQT_CONN_CONNECTING || c->state == MQT_CONN_OPENING)
		early_keep(cs, c->hs, packet);
}

void
session_begin(struct mqt_conns *cs, struct conn *c, struct mqt_session *inherited)
{
	struct mqt_mqtt_packet packet;

	*conn_session(c) = inherited;
	for (uint32_t at = 0; at < c->hs->early_len;) {
		at = early_read(c->hs, at, &packet);
		apply(cs, c, CLIENT, &packet);
	}
	free(c->hs->early);
	c->hs->early = NULL;
	c->hs->early_len = c->hs->early_cap = 0;
}

/* --- the end ----------------------------------------------------------------------------------- */

void
session_finish(const struct conn *c, struct mqt_session *session)
{
	struct mqt_session_final final = { .expiry_sec = c->expiry_sec };

	for (unsigned i = 0; i < MQT_SLOT_N_COUNTERS; i++)
		final.counter[i] = atomic_load_explicit(&c->slot.counter[i], memory_order_relaxed);
	mqt_session_set_final(session, &final);
}

struct mqt_session *
session_leave(struct mqt_conns *cs, struct conn *c)
{
	struct mqt_session **at = conn_session(c), *session = *at;

	*at = NULL;
	if (!session)
		session = mqt_session_create();
	if (session)
		session_finish(c, session);
	else
		missed(cs, 1);
	return session;
}

void
session_drop(struct conn *c)
{
	struct mqt_session **at = conn_session(c);

	if (c->state == MQT_CONN_FROZEN) {
		free(c->pendings);
		c->pendings = NULL;
	} else {
		mqt_session_destroy(*at);
		*at = NULL;
	}
}
