/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IP fragments: what one says of itself, many joined to a datagram, and the way back.
 *
 * A joined datagram is a chain. Its head is a new mbuf with the headers and data of the first
 * fragment, the lengths corrected and nothing left of the fragmentation, so that a view of it needs
 * to know nothing. Behind it hang the fragments: of each mbuf the data part shows its piece of the
 * datagram (nothing of the first, which the head repeats), tx_offload keeps how many bytes of the
 * frame lie before that, pkt_len the length of the frame. These two fields mean nothing to others
 * until an mbuf is sent, and a joined datagram never is: what leaves are copies, for the chain may
 * be held by others.
 *
 * Ownership: the chain owns its fragments. Synchronisation: none; whoever owns the mbufs.
 * Sources: RFC 791 §3.2, RFC 8200 §4.5, RFC 1858 §3, RFC 7112 §5.
 */
#include "bytes.h"
#include "view.h"

#include <errno.h>

#define IPV4_MIN_LEN 20
#define IPV4_MORE    0x2000
#define IPV4_OFF     0x1fff
#define IPV6_LEN     40
#define FRAGMENT_LEN 8 /* IPv6's header */
#define TCP_MIN_LEN  20
#define DATAGRAM_MAX 65535
#define UNIT         8

enum ip_proto {
	PROTO_TCP = 6,
	PROTO_ROUTING = 43,
	PROTO_FRAGMENT = 44,
	PROTO_DST_OPTS = 60,
};

static int
read_ipv4(const uint8_t *data, uint32_t limit, const struct mqt_pkt *pkt, struct mqt_fragment *out)
{
	const uint8_t *ip = data + pkt->l3_off;
	uint32_t header_len = (ip[0] & 0x0fu) * 4, total_len = get_be16(ip + 2);
	uint16_t frag = get_be16(ip + 6);

	memcpy(out->key.src, ip + 12, 4);
	memcpy(out->key.dst, ip + 16, 4);
	out->key.proto = ip[9];
	if (total_len < header_len || pkt->l3_off + total_len > limit)
		return -EINVAL;
	if (check_ipv4_options(ip + IPV4_MIN_LEN, ip + header_len) != MQT_PKT_TCP)
		return -EINVAL;
	out->key.id = get_be16(ip + 4);
	out->next_proto = ip[9];
	out->data_off = (uint16_t)(pkt->l3_off + header_len);
	out->off = (frag & IPV4_OFF) * UNIT;
	out->len = total_len - header_len;
	out->more = frag & IPV4_MORE;
	return 0;
}

/* The view has walked the headers before the fragment header and found them within bounds. */
static int
read_ipv6(const uint8_t *data, uint32_t limit, const struct mqt_pkt *pkt, struct mqt_fragment *out)
{
	const uint8_t *ip = data + pkt->l3_off;
	uint32_t off = pkt->l3_off + IPV6_LEN, end = off + get_be16(ip + 4);
	uint8_t proto = ip[6];
	uint16_t frag;

	memcpy(out->key.src, ip + 8, 16);
	memcpy(out->key.dst, ip + 24, 16);
	out->next_off = (uint16_t)(pkt->l3_off + 6);
	while (proto != PROTO_FRAGMENT) {
		out->next_off = (uint16_t)off;
		proto = data[off];
		off += (data[off + 1] + 1u) * UNIT;
	}
	if (off + FRAGMENT_LEN > end || end > limit)
		return -EINVAL;
	frag = get_be16(data + off + 2);
	out->key.id = get_be32(data + off + 4);
	out->next_proto = data[off];
	out->data_off = (uint16_t)(off + FRAGMENT_LEN);
	out->off = frag & 0xfff8u;
	out->len = end - out->data_off;
	out->more = frag & 1;
	return 0;
}

int
mqt_pkt_fragment(const struct rte_mbuf *m, const struct mqt_pkt *pkt, uint16_t port,
		struct mqt_fragment *out)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t limit = rte_pktmbuf_data_len(m);
	int ret;

	memset(out, 0, sizeof(*out));
	out->key.port = port;
	out->key.ip_version = pkt->ip_version;
	memcpy(out->key.vlan, pkt->vlan, sizeof(out->key.vlan));
	ret = pkt->ip_version == 4 ? read_ipv4(data, limit, pkt, out)
				   : read_ipv6(data, limit, pkt, out);
	if (ret != 0)
		return ret;
	if (out->off + out->len > DATAGRAM_MAX || (out->more && out->len % UNIT != 0))
		return -EINVAL;
	/* a datagram of one fragment may be empty, no other */
	return out->len == 0 && (out->more || out->off > 0) ? -EINVAL : 0;
}

enum mqt_first_kind
mqt_pkt_fragment_first(const struct rte_mbuf *m, const struct mqt_fragment *frag, uint16_t port[2])
{
	const uint8_t *data = rte_pktmbuf_mtod_offset(m, const uint8_t *, frag->data_off);
	uint8_t proto = frag->next_proto;
	uint32_t off = 0;

	port[0] = port[1] = 0;
	while (frag->key.ip_version == 6 && (proto == PROTO_ROUTING || proto == PROTO_DST_OPTS)) {
		if (off + UNIT > frag->len)
			return MQT_FIRST_TINY;
		proto = data[off];
		off += (data[off + 1] + 1u) * UNIT;
	}
	if (proto == PROTO_FRAGMENT)
		return MQT_FIRST_TINY; /* fragments of fragments: no end of it */
	if (proto != PROTO_TCP)
		return MQT_FIRST_OTHER;
	if (off + 4 > frag->len)
		return MQT_FIRST_TINY;
	port[0] = get_be16(data + off);
	port[1] = get_be16(data + off + 2);
	if (off + TCP_MIN_LEN > frag->len || off + (data[off + 12] >> 4) * 4u > frag->len)
		return MQT_FIRST_TINY;
	return MQT_FIRST_TCP;
}

/* --- joining ----------------------------------------------------------------------------------- */

/* The IP header of the whole, in the head, which is a copy of the first fragment's. */
static void
mend_header(uint8_t *data, uint32_t l3, const struct mqt_fragment *first, uint32_t len, uint8_t ttl)
{
	uint8_t *ip = data + l3;

	if (first->key.ip_version == 4) {
		uint32_t header_len = first->data_off - l3;

		put_be16(ip + 2, (uint16_t)(header_len + len));
		put_be16(ip + 6, 0);
		ip[8] = ttl;
		put_be16(ip + 10, 0);
		put_sum(ip + 10, sum_bytes(ip, header_len));
	} else {
		uint32_t before = first->data_off - FRAGMENT_LEN - l3 - IPV6_LEN;

		put_be16(ip + 4, (uint16_t)(before + len));
		data[first->next_off] = first->next_proto;
		ip[7] = ttl;
	}
}

/* Length of the datagram's data and the smallest TTL. @return false: they make no datagram. */
static bool
measure(struct rte_mbuf *const *m, unsigned n, struct mqt_fragment *first, uint32_t *l3,
		uint32_t *len, uint8_t *ttl)
{
	*len = 0;
	*ttl = UINT8_MAX;
	for (unsigned i = 0; i < n; i++) {
		struct mqt_fragment frag;
		struct mqt_pkt pkt;
		uint8_t here;

		if (mqt_pkt_parse(m[i], &pkt) != MQT_PKT_FRAGMENT ||
				mqt_pkt_fragment(m[i], &pkt, 0, &frag) != 0 || frag.off != *len)
			return false;
		if (i == 0) {
			*first = frag;
			*l3 = pkt.l3_off;
		}
		here = rte_pktmbuf_mtod(
				m[i], uint8_t *)[pkt.l3_off + (pkt.ip_version == 4 ? 8 : 7)];
		*ttl = RTE_MIN(*ttl, here);
		*len += frag.len;
	}
	return n > 0 && *len + first->data_off - *l3 <= DATAGRAM_MAX;
}

/* Hides the headers of a fragment; of the first one all, for the head has it. */
static void
hide(struct rte_mbuf *m, bool is_first)
{
	struct mqt_fragment frag;
	struct mqt_pkt pkt;

	mqt_pkt_parse(m, &pkt);
	mqt_pkt_fragment(m, &pkt, 0, &frag);
	m->tx_offload = is_first ? 0 : frag.data_off;
	m->data_off = (uint16_t)(m->data_off + m->tx_offload);
	m->data_len = (uint16_t)(is_first ? 0 : frag.len);
}

struct rte_mbuf *
mqt_fragments_join(struct rte_mempool *pool, struct rte_mbuf *const *m, unsigned n, uint64_t flag)
{
	struct mqt_fragment first;
	uint32_t l3, len, before;
	struct rte_mbuf *head, *last;
	uint8_t *data, ttl;

	if (!measure(m, n, &first, &l3, &len, &ttl))
		return NULL;
	head = rte_pktmbuf_alloc(pool);
	if (!head)
		return NULL;
	before = first.data_off - (first.key.ip_version == 4 ? 0 : FRAGMENT_LEN);
	if (before + first.len > rte_pktmbuf_tailroom(head)) {
		rte_pktmbuf_free(head);
		return NULL;
	}
	data = (uint8_t *)rte_pktmbuf_append(head, (uint16_t)(before + first.len));
	memcpy(data, rte_pktmbuf_mtod(m[0], const void *), before);
	memcpy(data + before, rte_pktmbuf_mtod_offset(m[0], const void *, first.data_off),
			first.len);
	mend_header(data, l3, &first, len, ttl);
	head->pkt_len = before + len;
	head->nb_segs = (uint16_t)(n + 1);
	head->ol_flags |= flag;
	last = head;
	for (unsigned i = 0; i < n; i++) {
		hide(m[i], i == 0);
		last->next = m[i];
		last = m[i];
	}
	return head;
}

unsigned
mqt_fragments_split(struct rte_mempool *pool, const struct rte_mbuf *whole, struct rte_mbuf **out)
{
	unsigned n = 0;

	for (const struct rte_mbuf *m = whole->next; m; m = m->next) {
		const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *) - m->tx_offload;
		struct rte_mbuf *copy = rte_pktmbuf_alloc(pool);

		if (copy)
			out[n++] = copy;
		if (!copy || m->pkt_len > rte_pktmbuf_tailroom(copy)) {
			rte_pktmbuf_free_bulk(out, n);
			return 0;
		}
		memcpy(rte_pktmbuf_append(copy, (uint16_t)m->pkt_len), frame, m->pkt_len);
	}
	return n;
}
