/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a peer of MQTT may not say: each kind has a counter and a reason of its own, and the control
 * lcore is told, who makes an event of it.
 *
 * What happens to the flow: it passes, and its broker judges. Where the framing itself is broken it
 * is not followed any more (tcp.c); all else goes on as before.
 *
 * Telling. A kind that breaks the framing ends the following of its stream, so it is told once by
 * itself; the others leave a mark in the stream. So a flow tells each kind once a direction, and a
 * worker ANOMALIES_A_SECOND at most: many flows cannot flood the ring of events either. The
 * counters count on. Before its OPEN a flow has no channel that the control lcore could know; then
 * the message carries the two addresses, and no client id, for nobody has vouched for it yet.
 *
 * Synchronisation: the worker's own.
 * Sources: MQTT 5.0 §2.1.2, §2.1.3, §3.1, §3.3.1.2, §3.8.3.1, §4.13; MQTT 3.1.1 §2.2; DESIGN.md I9.
 */
#include "conn_private.h"
#include "mqtrack/proxy.h"

#include <stdlib.h>

#define ANOMALIES_A_SECOND 100
#define BIT(type)          (1u << MQT_MQTT_##type)

static const struct {
	uint16_t counter; /* enum mqt_worker_counter */
	uint8_t reason;   /* enum mqt_reason */
	uint8_t told;     /* enum stream_flag; 0: it ends the following of the stream */
} kinds[] = {
	[ANOMALY_BEFORE_CONNECT] = { MQT_W_ANOMALY_BEFORE_CONNECT, MQT_REASON_BEFORE_CONNECT, 0 },
	[ANOMALY_BEFORE_CONNACK] = { MQT_W_ANOMALY_BEFORE_CONNACK, MQT_REASON_BEFORE_CONNACK, 0 },
	[ANOMALY_SECOND_CONNECT] = { MQT_W_ANOMALY_SECOND_CONNECT, MQT_REASON_SECOND_CONNECT, 0 },
	[ANOMALY_SECOND_CONNACK] = { MQT_W_ANOMALY_SECOND_CONNACK, MQT_REASON_SECOND_CONNACK,
			STREAM_TOLD_SECOND },
	[ANOMALY_FROM_CLIENT] = { MQT_W_ANOMALY_FROM_CLIENT, MQT_REASON_FROM_CLIENT,
			STREAM_TOLD_WAY },
	[ANOMALY_FROM_BROKER] = { MQT_W_ANOMALY_FROM_BROKER, MQT_REASON_FROM_BROKER,
			STREAM_TOLD_WAY },
	[ANOMALY_UNASSIGNED_TYPE] = { MQT_W_ANOMALY_UNASSIGNED_TYPE, MQT_REASON_UNASSIGNED_TYPE,
			0 },
	[ANOMALY_RESERVED_FLAGS] = { MQT_W_ANOMALY_RESERVED_FLAGS, MQT_REASON_RESERVED_FLAGS, 0 },
	[ANOMALY_PUBLISH_QOS] = { MQT_W_ANOMALY_PUBLISH_QOS, MQT_REASON_PUBLISH_QOS, 0 },
	[ANOMALY_SUBSCRIBE_QOS] = { MQT_W_ANOMALY_SUBSCRIBE_QOS, MQT_REASON_SUBSCRIBE_QOS,
			STREAM_TOLD_SUBSCRIBE },
	[ANOMALY_REMAINING_LENGTH] = { MQT_W_ANOMALY_REMAINING_LENGTH, MQT_REASON_REMAINING_LENGTH,
			0 },
	[ANOMALY_WS_FRAME] = { MQT_W_ANOMALY_WS_FRAME, MQT_REASON_WS_FRAME, 0 },
};
static_assert(RTE_DIM(kinds) == ANOMALY_N_KINDS, "each has a counter and a reason");

/* --- telling ----------------------------------------------------------------------------------- */

/* Whether this second has room for one more. */
static bool
may_tell(struct mqt_conns *cs)
{
	uint64_t second = cs->now_ns / MQT_NS_PER_SEC;

	if (second != cs->anomaly_second) {
		cs->anomaly_second = second;
		cs->n_anomalies = 0;
	}
	return cs->n_anomalies++ < ANOMALIES_A_SECOND;
}

/* Who speaks on a flow that has no channel. @return NULL: no memory. */
static struct mqt_info *
stranger(const struct mqt_conns *cs, const struct conn *c)
{
	struct mqt_info *info = calloc(1, sizeof(*info) + MQT_INFO_ENDS_MAX);
	struct mqt_endpoint peer, broker, via = { .version = 0 };
	struct mqt_proxy proxy = { 0 };

	if (!info)
		return NULL;
	table_endpoints(cs, c, &peer, &broker);
	if (c->flags & CONN_HANDSHAKE)
		layers_proxy(c->hs, &proxy);
	if (proxy.src.version) {
		via = peer;
		peer = proxy.src;
	}
	mqt_info_set_ends(info, &peer, &broker, &via);
	info->flags = MQT_INFO_ANONYMOUS;
	info->listener = c->listener;
	info->domain = cs->config->listeners[c->listener].domain;
	info->proto_ver = c->version;
	return info;
}

static void
tell(struct mqt_conns *cs, const struct conn *c, enum mqt_reason reason)
		MQT_REQUIRES(mqt_role_worker)
{
	struct mqt_msg msg = {
		.type = MQT_MSG_ANOMALY,
		.reason = (uint8_t)reason,
		.chan = conn_chan(cs, c),
		.stamp_ns = cs->now_ns,
	};
	bool gone = c->flags & CONN_DOWN;

	if (gone || !may_tell(cs) || (!conn_is_open(c) && !(msg.info = stranger(cs, c)))) {
		count(cs, MQT_W_ANOMALY_UNTOLD);
		return;
	}
	mqt_mailbox_post_control(cs->mailbox, &msg);
}

void
anomaly(struct mqt_conns *cs, struct conn *c, enum side side, enum anomaly kind)
{
	struct stream *s = &c->stream[side];

	count(cs, kinds[kind].counter);
	if (s->flags & kinds[kind].told)
		return;
	s->flags |= kinds[kind].told;
	tell(cs, c, kinds[kind].reason);
}

/* --- seeing ------------------------------------------------------------------------------------ */

bool
anomaly_types(struct mqt_conns *cs, struct conn *c, enum side side, unsigned types)
{
	if (side == CLIENT && types & (BIT(CONNACK) | BIT(SUBACK) | BIT(UNSUBACK) | BIT(PINGRESP)))
		anomaly(cs, c, side, ANOMALY_FROM_CLIENT);
	if (side == BROKER &&
			(types &
							(BIT(CONNECT) | BIT(SUBSCRIBE) |
									BIT(UNSUBSCRIBE) |
									BIT(PINGREQ)) ||
					(types & BIT(DISCONNECT) && c->version < 5)))
		anomaly(cs, c, side, ANOMALY_FROM_BROKER);
	if (side == BROKER && types & BIT(CONNACK))
		anomaly(cs, c, side, ANOMALY_SECOND_CONNACK);
	if (side == CLIENT && types & BIT(CONNECT)) {
		anomaly(cs, c, side, ANOMALY_SECOND_CONNECT);
		return true;
	}
	if (types & BIT(AUTH) && c->version < 5) {
		count(cs, MQT_W_ANOMALY_FRAMING);
		anomaly(cs, c, side, ANOMALY_UNASSIGNED_TYPE);
		return true;
	}
	return false;
}

void
anomaly_framing(struct mqt_conns *cs, struct conn *c, enum side side, enum mqt_mqtt_error error)
{
	count(cs, MQT_W_ANOMALY_FRAMING);
	switch (error) {
	case MQT_MQTT_E_TYPE:
		anomaly(cs, c, side, ANOMALY_UNASSIGNED_TYPE);
		break;
	case MQT_MQTT_E_FLAGS:
		anomaly(cs, c, side, ANOMALY_RESERVED_FLAGS);
		break;
	case MQT_MQTT_E_QOS:
		anomaly(cs, c, side, ANOMALY_PUBLISH_QOS);
		break;
	default:
		anomaly(cs, c, side, ANOMALY_REMAINING_LENGTH);
	}
}

void
anomaly_ws_frame(struct mqt_conns *cs, struct conn *c, enum side side)
{
	count(cs, MQT_W_ANOMALY_FRAMING);
	anomaly(cs, c, side, ANOMALY_WS_FRAME);
}

void
anomaly_first_byte(struct mqt_conns *cs, struct conn *c, uint8_t first)
{
	static const uint8_t tls_handshake = 0x16; /* RFC 8446 §5.1; not meant as MQTT at all */
	struct mqt_mqtt_header header;

	if (first == tls_handshake)
		return;
	if (first >> 4 == MQT_MQTT_CONNECT)
		anomaly(cs, c, CLIENT, ANOMALY_RESERVED_FLAGS);
	else if (mqt_mqtt_header_parse(&first, 1, &header, NULL) == MQT_PARSE_MORE)
		anomaly(cs, c, CLIENT, ANOMALY_BEFORE_CONNECT);
}

void
anomaly_packet(struct mqt_conns *cs, struct conn *c, enum side side,
		const struct mqt_mqtt_packet *packet)
{
	if (side == CLIENT && packet->type == MQT_MQTT_SUBSCRIBE && packet->body.len > 0 &&
			mqt_mqtt_subscribe_qos_3(packet->body, c->version))
		anomaly(cs, c, side, ANOMALY_SUBSCRIBE_QOS);
}
