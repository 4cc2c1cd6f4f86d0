/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The flow table: from a packet's key to its connection.
 *
 * flows.c finds slots by 32 bits of the keyed hash that came with the packet; the connection itself
 * holds the key, in the cache lines that its packet needs anyway. So there is no other copy of the
 * keys, and the memory of a packet is asked for in two steps, not three: the table's line, then the
 * connection's lines. What is more in the key of an IPv6 flow has a place by slot beside the
 * connections, which IPv4 flows never touch. IPv4 and IPv6 are in one table.
 *
 * A burst is looked up in steps, each for all of its packets, so that they wait for memory together:
 * table_find() asks for the lines of the table, finds a candidate for each packet and asks for its
 * connection's lines. table_conn() compares keys when the packet's turn has come, and looks once
 * more where the candidate is not, or not any more, what the packet belongs to: another flow has
 * the same 32 bits, or a packet of this burst has added or removed it. A packet without candidate
 * is looked up again only once a flow was added that may be its own.
 *
 * Life-cycle: a key is in the table from table_add() to table_remove(), and so is CONN_IN_TABLE.
 * Synchronisation: the worker's own.
 */
#include "conn_private.h"
#include "mqtrack/pages.h"

#include <string.h>

#include <rte_byteorder.h>
#include <rte_prefetch.h>

static size_t
keys6_bytes(const struct mqt_conns *cs)
{
	return (size_t)cs->n_slots * sizeof(*cs->keys6);
}

int
table_init(struct mqt_conns *cs)
{
	cs->keys6 = mqt_pages_map(keys6_bytes(cs), MQT_PAGES_SMALL);
	return cs->keys6 ? flows_init(&cs->flows, cs->n_slots, MQT_PAGES_HUGE) : -1;
}

void
table_fini(struct mqt_conns *cs)
{
	flows_fini(&cs->flows);
	mqt_pages_unmap(cs->keys6, keys6_bytes(cs));
}

/* --- keys -------------------------------------------------------------------------------------- */

/* What of a key is not in the connection. */
static inline const void *
behind_head(const struct mqt_flow_key *key)
{
	return (const char *)key + MQT_FLOW_KEY_V4_LEN;
}

static void
key_store(struct mqt_conns *cs, struct conn *c, const struct mqt_flow_key *key)
{
	memcpy(c->key_head, key, sizeof(c->key_head));
	if (c->flags & CONN_IP6)
		memcpy(&cs->keys6[conn_index(cs, c)], behind_head(key), sizeof(*cs->keys6));
}

static struct mqt_flow_key
key_load(const struct mqt_conns *cs, const struct conn *c)
{
	struct mqt_flow_key key = { 0 };

	memcpy(&key, c->key_head, sizeof(c->key_head));
	if (c->flags & CONN_IP6)
		memcpy((char *)&key + sizeof(c->key_head), &cs->keys6[conn_index(cs, c)],
				sizeof(*cs->keys6));
	return key;
}

/* Whether the packet belongs to it. */
static inline bool
has_key(const struct mqt_conns *cs, const struct conn *c, const struct mqt_packet *p)
{
	bool ip6 = p->view.ip_version == 6;

	if ((c->flags & (CONN_IN_TABLE | CONN_IP6)) != (CONN_IN_TABLE | (ip6 ? CONN_IP6 : 0)) ||
			memcmp(c->key_head, &p->key, sizeof(c->key_head)) != 0)
		return false;
	return likely(!ip6) ||
			memcmp(&cs->keys6[conn_index(cs, c)], behind_head(&p->key),
					sizeof(*cs->keys6)) == 0;
}

static void
endpoint(const struct mqt_flow_key *key, bool ip6, unsigned i, struct mqt_endpoint *ep)
{
	*ep = (struct mqt_endpoint){
		.port = rte_be_to_cpu_16(ip6 ? key->v6.port_be[i] : key->v4.port_be[i]),
		.version = ip6 ? 6 : 4,
	};
	if (ip6)
		memcpy(ep->ip, key->v6.ip[i], 16);
	else
		memcpy(ep->ip, &key->v4.ip_be[i], 4);
}

void
table_endpoints(const struct mqt_conns *cs, const struct conn *c, struct mqt_endpoint *client,
		struct mqt_endpoint *broker)
{
	struct mqt_flow_key key = key_load(cs, c);
	unsigned low = c->flags & CONN_CLIENT_LOW ? 0 : 1;
	bool ip6 = c->flags & CONN_IP6;

	endpoint(&key, ip6, low, client);
	endpoint(&key, ip6, !low, broker);
}

/* --- coming and going -------------------------------------------------------------------------- */

/* The class of a flow's hash, for mqt_conns.added. */
static inline uint64_t
added_bit(uint64_t hash)
{
	return 1ull << (hash >> 32 & 63);
}

bool
table_add(struct mqt_conns *cs, struct conn *c, const struct embryo *e)
{
	if (!flows_add(&cs->flows, (uint32_t)e->hash, conn_index(cs, c)))
		return false;
	key_store(cs, c, &e->key);
	c->flags |= CONN_IN_TABLE;
	cs->added |= added_bit(e->hash);
	return true;
}

uint64_t
table_remove(struct mqt_conns *cs, struct conn *c)
{
	struct mqt_flow_key key = key_load(cs, c);
	size_t len = c->flags & CONN_IP6 ? MQT_FLOW_KEY_V6_LEN : MQT_FLOW_KEY_V4_LEN;
	uint64_t hash = mqt_hash_flow(cs->hash_key, &key, len);

	c->flags &= (uint16_t)~CONN_IN_TABLE;
	flows_remove(&cs->flows, (uint32_t)hash, conn_index(cs, c));
	return hash;
}

/* --- looking up -------------------------------------------------------------------------------- */

static inline void
prefetch_conn(const struct mqt_conns *cs, uint32_t slot, const struct mqt_packet *p)
{
	const char *c = (const char *)&cs->slots[slot];

	rte_prefetch0(c + 64);
	rte_prefetch0(c + 128);
	if (p->view.payload_len > 0) {
		rte_prefetch0(c);
		if ((p->port & 1) == BROKER)
			rte_prefetch0(c + 192);
	}
	if (unlikely(p->view.ip_version == 6))
		rte_prefetch0(&cs->keys6[slot]);
}

void
table_find(struct mqt_conns *cs, const struct mqt_packet *pkts, unsigned n, uint32_t *slots)
{
	cs->added = 0;
	for (unsigned i = 0; i < n; i++)
		flows_prefetch(&cs->flows, (uint32_t)pkts[i].hash);
	for (unsigned i = 0; i < n; i++) {
		struct flows_probe probe = flows_first(&cs->flows, (uint32_t)pkts[i].hash);

		slots[i] = flows_next(&cs->flows, (uint32_t)pkts[i].hash, &probe);
		if (likely(slots[i] != FLOWS_NONE))
			prefetch_conn(cs, slots[i], &pkts[i]);
	}
}

static struct conn *
look_up(const struct mqt_conns *cs, const struct mqt_packet *p)
{
	struct flows_probe probe = flows_first(&cs->flows, (uint32_t)p->hash);
	uint32_t slot;

	while ((slot = flows_next(&cs->flows, (uint32_t)p->hash, &probe)) != FLOWS_NONE)
		if (has_key(cs, &cs->slots[slot], p))
			return &cs->slots[slot];
	return NULL;
}

struct conn *
table_conn(const struct mqt_conns *cs, const struct mqt_packet *p, uint32_t slot)
{
	if (likely(slot != FLOWS_NONE)) {
		if (likely(has_key(cs, &cs->slots[slot], p)))
			return &cs->slots[slot];
	} else if (!(cs->added & added_bit(p->hash))) {
		return NULL;
	}
	return look_up(cs, p);
}
