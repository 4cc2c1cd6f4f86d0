/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The limits of a listener: connections of one source address, and how many it may make a second.
 * Judged at the client's ACK, when the address is proven: a forged SYN uses up nobody's share. What
 * is over a limit never becomes a connection; both ends are reset by the segment in hand and
 * forgotten, so that refusing takes no room.
 *
 * A counted connection is given back when it is over for the tracker (CONN_COUNTED). Behind a proxy
 * the source is the proxy.
 *
 * Synchronisation: see source.c.
 */
#include "conn_private.h"
#include "mqtrack/source.h"

#include <string.h>

static uint64_t
source_key(const struct mqt_conns *cs, uint16_t listener, const uint8_t ip[16], bool ip6)
{
	struct {
		uint8_t ip[16];
		uint16_t listener, version;
		uint8_t pad[12];
	} source = { .listener = listener, .version = ip6 ? 6 : 4 };
	uint64_t key;

	static_assert(sizeof(source) == 32, "hashed: no padding of its own, whole blocks");
	memcpy(source.ip, ip, sizeof(source.ip));
	key = mqt_hash_flow(cs->hash_key, &source, sizeof(source));
	return key ? key : 1;
}

bool
limit_enter(struct mqt_conns *cs, struct embryo *e)
{
	const struct mqt_listener *l = &cs->config->listeners[e->listener];
	const struct mqt_source_limits limits = { l->connections_per_address,
		l->connects_per_second };
	unsigned low = e->client_low ? 0 : 1;
	uint8_t ip[16] = { 0 };
	uint64_t key;

	if (!cs->sources || (!limits.connections && !limits.connects_per_second))
		return true;
	if (e->ip6)
		memcpy(ip, e->key.v6.ip[low], 16);
	else
		memcpy(ip, &e->key.v4.ip_be[low], 4);
	key = source_key(cs, e->listener, ip, e->ip6);
	switch (mqt_sources_enter(cs->sources, cs->worker, key, &limits, cs->now_ns)) {
	case MQT_SOURCE_COUNTED:
		e->source_key = key;
		break;
	case MQT_SOURCE_UNCOUNTED:
		count(cs, MQT_W_LIMIT_UNCOUNTED);
		break;
	case MQT_SOURCE_CONNECTIONS:
		count(cs, MQT_W_LIMIT_CONNECTIONS);
		return false;
	case MQT_SOURCE_CONNECTS:
		count(cs, MQT_W_LIMIT_CONNECTS);
		return false;
	}
	return true;
}

void
limit_undo(struct mqt_conns *cs, const struct embryo *e)
{
	if (e->source_key)
		mqt_sources_leave(cs->sources, cs->worker, e->source_key);
}

void
limit_leave(struct mqt_conns *cs, struct conn *c)
{
	struct mqt_endpoint client, broker;

	if (!(c->flags & CONN_COUNTED))
		return;
	c->flags &= (uint16_t)~CONN_COUNTED;
	table_endpoints(cs, c, &client, &broker);
	mqt_sources_leave(cs->sources, cs->worker,
			source_key(cs, c->listener, client.ip, c->flags & CONN_IP6));
}
