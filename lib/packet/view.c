/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * View of a frame: where its headers lie and what the TCP header says.
 *
 * Every field is read only after a check against `limit`, the bytes of the first mbuf segment;
 * once the IP header has told its length, also against `end`, where the IP packet ends in the
 * frame. What lies behind `end` is link padding. Extension headers are walked as far as they go, for
 * receivers have no limit either: what is not looked at would be a way past the tracker (I12).
 *
 * Synchronisation: none; whoever owns the mbuf.
 * Source: IEEE 802.1Q §9 (tags), RFC 791 §3.1, RFC 8200 §3 and §4, RFC 9293 §3.1.
 */
#include "view.h"

#include "bytes.h"
#include "mqtrack/packet.h"

#include <string.h>

#define ETHERTYPE_IPV4     0x0800
#define ETHERTYPE_IPV6     0x86dd
#define ETHERTYPE_VLAN     0x8100
#define ETHERTYPE_QINQ     0x88a8
#define ETHERTYPE_QINQ_OLD 0x9100

#define ETHER_LEN 14
#define TAG_LEN   4
#define MAX_TAGS  2
#define VLAN_ID   0x0fff

#define PROTO_HOP_BY_HOP 0
#define PROTO_TCP        6
#define PROTO_ROUTING    43
#define PROTO_FRAGMENT   44
#define PROTO_DST_OPTS   60

/* IPv4 options. Source: RFC 791 §3.1, the registry of IP option numbers. */
#define OPT4_END        0
#define OPT4_NOP        1
#define OPT4_RECORD     7
#define OPT4_TIMESTAMP  68
#define OPT4_LOOSE_SRC  131
#define OPT4_STRICT_SRC 137

/* IPv6 options. Source: RFC 8200 §4.2. */
#define OPT6_PAD1 0
#define OPT6_DISCARD                                                                               \
	0xc0 /* not both bits 0: whoever does not know the option discards the packet */

#define IPV4_MIN_LEN   20
#define IPV4_MORE_FRAG 0x2000
#define IPV4_FRAG_OFF  0x1fff
#define IPV6_LEN       40
#define TCP_MIN_LEN    20

_Static_assert(ETHER_LEN + MAX_TAGS * TAG_LEN == MQT_L2_MAX, "the longest link header");

/* The frame while it is looked at. */
struct frame {
	const uint8_t *data;
	uint32_t limit; /* bytes that may be read: the first mbuf segment */
	uint32_t len;   /* of the whole frame */
	uint32_t end;   /* end of the IP packet, once known */
};

void
mqt_l2_vlans(const uint8_t *l2, unsigned l2_len, uint16_t vlan[2])
{
	unsigned n = 0;

	vlan[0] = vlan[1] = 0;
	if (l2_len > MQT_L2_MAX)
		return;
	for (unsigned off = ETHER_LEN; off + TAG_LEN <= l2_len; off += TAG_LEN) {
		uint16_t id = get_be16(l2 + off) & VLAN_ID;

		if (id != 0)
			vlan[n++] = id;
	}
}

/* Ethernet and tags. Sets l2_len and vlan. @return the EtherType, 0 where there is none. */
static uint16_t
parse_link(const struct frame *f, struct mqt_pkt *pkt)
{
	uint32_t off = ETHER_LEN;
	uint16_t type;

	if (f->limit < off)
		return 0;
	type = get_be16(f->data + off - 2);
	for (unsigned tags = 0; type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ ||
			type == ETHERTYPE_QINQ_OLD;
			tags++) {
		if (tags == MAX_TAGS || f->limit < off + TAG_LEN)
			return 0;
		off += TAG_LEN;
		type = get_be16(f->data + off - 2);
	}
	pkt->l2_len = (uint8_t)off;
	if (off > ETHER_LEN)
		mqt_l2_vlans(f->data, off, pkt->vlan);
	return type;
}

static enum mqt_pkt_kind
parse_tcp(const struct frame *f, struct mqt_pkt *pkt, uint32_t off)
{
	uint32_t limit = RTE_MIN(f->limit, f->end), header_len;
	const uint8_t *tcp = f->data + off;

	if (off + TCP_MIN_LEN > limit)
		return MQT_PKT_MALFORMED;
	header_len = (tcp[12] >> 4) * 4u;
	if (header_len < TCP_MIN_LEN || off + header_len > limit)
		return MQT_PKT_MALFORMED;
	pkt->l4_off = (uint16_t)off;
	pkt->payload_off = (uint16_t)(off + header_len);
	pkt->payload_len = f->end - pkt->payload_off;
	pkt->src_port = get_be16(tcp);
	pkt->dst_port = get_be16(tcp + 2);
	pkt->seq = get_be32(tcp + 4);
	pkt->ack = get_be32(tcp + 8);
	pkt->tcp_flags = tcp[13] & MQT_TCP_FLAGS;
	pkt->window = get_be16(tcp + 14);
	return MQT_PKT_TCP;
}

enum mqt_pkt_kind
check_ipv4_options(const uint8_t *opt, const uint8_t *end)
{
	while (opt < end && opt[0] != OPT4_END) {
		unsigned least = 2;

		if (opt[0] == OPT4_NOP) {
			opt++;
			continue;
		}
		if (opt[0] == OPT4_LOOSE_SRC || opt[0] == OPT4_STRICT_SRC)
			return MQT_PKT_OTHER;
		if (opt[0] == OPT4_RECORD)
			least = 3;
		if (opt[0] == OPT4_TIMESTAMP)
			least = 4;
		if (end - opt < 2 || opt[1] < least || opt[1] > end - opt)
			return MQT_PKT_MALFORMED;
		/* behind the length, a pointer that counts from 1 */
		if (least > 2 && opt[2] <= least)
			return MQT_PKT_MALFORMED;
		opt += opt[1];
	}
	return MQT_PKT_TCP;
}

static enum mqt_pkt_kind
parse_ipv4(struct frame *f, struct mqt_pkt *pkt)
{
	uint32_t off = pkt->l2_len, header_len, total_len;
	const uint8_t *ip = f->data + off;

	if (off + IPV4_MIN_LEN > f->limit)
		return MQT_PKT_MALFORMED;
	header_len = (ip[0] & 0x0f) * 4u;
	total_len = get_be16(ip + 2);
	if (ip[0] >> 4 != 4 || header_len < IPV4_MIN_LEN)
		return MQT_PKT_MALFORMED;
	if (get_be16(ip + 6) & (IPV4_MORE_FRAG | IPV4_FRAG_OFF))
		return MQT_PKT_FRAGMENT;
	if (ip[9] != PROTO_TCP)
		return MQT_PKT_OTHER;
	f->end = off + total_len;
	if (total_len < header_len || f->end > f->len || off + header_len > f->limit)
		return MQT_PKT_MALFORMED;
	if (header_len > IPV4_MIN_LEN) {
		enum mqt_pkt_kind kind = check_ipv4_options(ip + IPV4_MIN_LEN, ip + header_len);

		if (kind != MQT_PKT_TCP)
			return kind;
	}
	return parse_tcp(f, pkt, off + header_len);
}

/* Options of a hop-by-hop or destination options header of len bytes. */
static enum mqt_pkt_kind
check_ipv6_options(const uint8_t *header, uint32_t len)
{
	const uint8_t *opt = header + 2, *end = header + len;

	while (opt < end) {
		if (opt[0] == OPT6_PAD1) {
			opt++;
			continue;
		}
		if (end - opt < 2 || opt[1] > end - opt - 2)
			return MQT_PKT_MALFORMED;
		if (opt[0] & OPT6_DISCARD)
			return MQT_PKT_OTHER;
		opt += opt[1] + 2;
	}
	return MQT_PKT_TCP;
}

/* A header at off that is to be skipped. @return its length, or 0 with *kind set. */
static uint32_t
extension_len(const struct frame *f, uint8_t proto, uint32_t off, enum mqt_pkt_kind *kind)
{
	uint32_t limit = RTE_MIN(f->limit, f->end), len;

	*kind = MQT_PKT_MALFORMED;
	if (off + 8 > limit)
		return 0;
	len = (f->data[off + 1] + 1u) * 8;
	if (off + len > limit)
		return 0;
	if (proto != PROTO_ROUTING)
		*kind = check_ipv6_options(f->data + off, len);
	else /* segments left: the destination is not yet the flow's end */
		*kind = f->data[off + 3] != 0 ? MQT_PKT_OTHER : MQT_PKT_TCP;
	return *kind == MQT_PKT_TCP ? len : 0;
}

/* Walks the extension headers. @return where TCP begins, or 0 with *kind set. */
static uint32_t
skip_extensions(const struct frame *f, uint8_t proto, uint32_t off, enum mqt_pkt_kind *kind)
{
	*kind = MQT_PKT_MALFORMED;
	for (unsigned n = 0;; n++) {
		uint32_t len;

		switch (proto) {
		case PROTO_TCP:
			return off;
		case PROTO_FRAGMENT:
			*kind = MQT_PKT_FRAGMENT;
			return 0;
		case PROTO_HOP_BY_HOP:
			if (n > 0)
				return 0;
			break;
		case PROTO_ROUTING:
		case PROTO_DST_OPTS:
			break;
		default: /* also an authentication header */
			*kind = MQT_PKT_OTHER;
			return 0;
		}
		len = extension_len(f, proto, off, kind);
		if (len == 0)
			return 0;
		*kind = MQT_PKT_MALFORMED;
		proto = f->data[off];
		off += len;
	}
}

static enum mqt_pkt_kind
parse_ipv6(struct frame *f, struct mqt_pkt *pkt)
{
	uint32_t off = pkt->l2_len;
	const uint8_t *ip = f->data + off;
	enum mqt_pkt_kind kind;

	if (off + IPV6_LEN > f->limit || ip[0] >> 4 != 6)
		return MQT_PKT_MALFORMED;
	f->end = off + IPV6_LEN + get_be16(ip + 4);
	off = skip_extensions(f, ip[6], off + IPV6_LEN, &kind);
	if (off == 0)
		return kind;
	if (f->end > f->len)
		return MQT_PKT_MALFORMED;
	return parse_tcp(f, pkt, off);
}

enum mqt_pkt_kind
mqt_pkt_parse(const struct rte_mbuf *m, struct mqt_pkt *pkt)
{
	struct frame f = {
		.data = rte_pktmbuf_mtod(m, const uint8_t *),
		.limit = rte_pktmbuf_data_len(m),
		.len = rte_pktmbuf_pkt_len(m),
	};

	memset(pkt, 0, sizeof(*pkt));
	switch (parse_link(&f, pkt)) {
	case ETHERTYPE_IPV4:
		pkt->ip_version = 4;
		pkt->l3_off = pkt->l2_len;
		pkt->kind = parse_ipv4(&f, pkt);
		break;
	case ETHERTYPE_IPV6:
		pkt->ip_version = 6;
		pkt->l3_off = pkt->l2_len;
		pkt->kind = parse_ipv6(&f, pkt);
		break;
	default:
		pkt->kind = MQT_PKT_OTHER;
	}
	return pkt->kind;
}
