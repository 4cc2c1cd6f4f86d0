/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening a channel: what CONNECT, CONNACK and the layers below them have said of the client is put
 * together (struct mqt_info), and OPEN gives it to the control lcore.
 *
 * Life-cycle: the slot's word says LIVE, with its generation, before OPEN is posted; from then on
 * the control lcore knows the channel (CONN_CHANNEL), and the connection waits, for opening_ms at
 * most. Synchronisation: the worker's own; the info is the control lcore's from OPEN on.
 * Sources: MQTT 3.1.1 §3.1.2.4, 5.0 §3.1.2.11.2, §3.2.2.3; DESIGN.md R2, R7.
 */
#include "conn_private.h"
#include "mqtrack/proxy.h"

#include <stdlib.h>
#include <string.h>

static struct mqt_digest
client_digest(struct mqt_conns *cs, const struct conn *c, const struct mqt_info *info,
		const struct mqt_endpoint *broker)
{
	if (info->flags & MQT_INFO_ANONYMOUS)
		return mqt_digest_anonymous(cs->hash_key, conn_chan(cs, c));
	return mqt_digest_client(cs->hash_key, info->domain,
			info->flags & MQT_INFO_ASSIGNED ? broker : NULL, mqt_info_clientid(info),
			info->clientid_len);
}

static uint16_t
info_flags(const struct mqt_mqtt_connect *connect, const struct mqt_mqtt_connack *connack)
{
	unsigned flags = 0;

	if (connect->clean_start)
		flags |= MQT_INFO_CLEAN_START;
	if (connack->session_present)
		flags |= MQT_INFO_SESSION_PRESENT;
	if (connect->has_username)
		flags |= MQT_INFO_HAS_USERNAME;
	if (connect->version == 5)
		flags |= MQT_INFO_HAS_EXPIRY; /* absent is 0, MQTT 5.0 §3.1.2.11.2 */
	if (connect->clientid.len == 0)
		flags |= connack->assigned_clientid.len ? MQT_INFO_ASSIGNED : MQT_INFO_ANONYMOUS;
	if (connect->has_will)
		flags |= MQT_INFO_HAS_WILL;
	if (connect->bridge)
		flags |= MQT_INFO_BRIDGE;
	return (uint16_t)flags;
}

/* @param len of what comes behind its fields. */
static struct mqt_info *
info_alloc(size_t len)
{
	return calloc(1, RTE_MAX(offsetof(struct mqt_info, data) + len, sizeof(struct mqt_info)));
}

struct mqt_info *
open_info(struct mqt_conns *cs, const struct conn *c, const struct mqt_mqtt_connack *connack)
{
	const struct mqt_mqtt_connect *connect = &c->hs->parsed;
	struct mqt_endpoint peer, broker, via = { .version = 0 };
	struct mqt_proxy proxy;
	struct mqt_bytes id;
	struct mqt_info *info;

	id = connect->clientid.len ? connect->clientid : connack->assigned_clientid;
	layers_proxy(c->hs, &proxy);
	table_endpoints(cs, c, &peer, &broker);
	if (proxy.src.version) {
		via = peer;
		peer = proxy.src;
	}
	info = info_alloc(id.len + connect->username.len + proxy.cert_cn.len +
			mqt_info_ends_size(&peer, &broker, &via));
	if (!info)
		return NULL;
	info->flags = info_flags(connect, connack);
	info->expiry_sec = connack->has_expiry ? connack->expiry_sec : connect->expiry_sec;
	info->keepalive_sec =
			connack->has_keepalive ? connack->keepalive_sec : connect->keepalive_sec;
	info->clientid_len = (uint16_t)id.len;
	info->username_len = (uint16_t)connect->username.len;
	info->cert_cn_len = (uint16_t)proxy.cert_cn.len;
	info->listener = c->listener;
	info->domain = cs->config->listeners[c->listener].domain;
	info->proto_ver = connect->version;
	info->transport = cs->config->listeners[c->listener].transport;
	if (id.len)
		memcpy(info->data, id.ptr, id.len);
	if (connect->username.len)
		memcpy(info->data + id.len, connect->username.ptr, connect->username.len);
	if (proxy.cert_cn.len)
		memcpy(info->data + id.len + connect->username.len, proxy.cert_cn.ptr,
				proxy.cert_cn.len);
	mqt_info_set_ends(info, &peer, &broker, &via);
	info->digest = client_digest(cs, c, info, &broker);
	return info;
}

/* How long the session outlives the flow (5.0 §3.1.2.11.2; 3.1.1 §3.1.2.4 names no limit). */
static uint32_t
session_expiry(const struct mqt_conns *cs, const struct mqt_info *info)
{
	if (info->flags & MQT_INFO_ANONYMOUS)
		return 0;
	if (info->proto_ver == 5)
		return info->expiry_sec;
	return info->flags & MQT_INFO_CLEAN_START
			? 0
			: cs->config->listeners[info->listener].session_expiry_v3_sec;
}

void
open_channel(struct mqt_conns *cs, struct conn *c, struct mqt_info *info)
{
	struct mqt_msg msg = {
		.type = MQT_MSG_OPEN,
		.chan = conn_chan(cs, c),
		.info = info,
	};

	/* A burst has one time. In which order its CONNACKs came, the stamp must still tell: the
	 * broker that sent them has ended all connections of a client id but the last. */
	cs->open_ns = RTE_MAX(cs->now_ns, cs->open_ns + 1);
	msg.stamp_ns = cs->open_ns;
	c->expiry_sec = session_expiry(cs, info);
	c->keepalive_sec = info->keepalive_sec;
	c->flags |= CONN_CHANNEL | (info->flags & MQT_INFO_HAS_WILL ? CONN_WILL : 0);
	/* release: who learns of this channel by the message finds it live */
	atomic_store_explicit(&c->slot.word, mqt_slot_word(conn_gen(c), MQT_SLOT_LIVE),
			memory_order_release);
	mqt_mailbox_post_control(cs->mailbox, &msg);
	count(cs, MQT_W_OPENS);
	conn_set_state(cs, c, MQT_CONN_OPENING);
	conn_arm(cs, c, cs->config->limits.opening_ms * MQT_NS_PER_MS);
}
