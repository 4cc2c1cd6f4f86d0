/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Builder of the segments that the tracker injects. It writes one contiguous mbuf, link header
 * to payload, and computes the checksums itself: injected segments are rare, and a port that
 * offloads them is not required.
 *
 * Ownership: the mbuf is the caller's. Synchronisation: none besides the pool's own.
 * Source: RFC 791 §3.1, RFC 6864 §4.1 (an atomic datagram's identification means nothing),
 * RFC 8200 §3, RFC 9293 §3.1, RFC 7323 appendix A (layout of the timestamps option).
 */
#include "bytes.h"
#include "mqtrack/packet.h"

#define ETHER_LEN   14
#define IPV4_LEN    20
#define IPV6_LEN    40
#define TCP_MIN_LEN 20
#define TS_LEN      12
#define PROTO_TCP   6
#define TTL         64
#define IPV4_DF     0x4000

static void
put_ipv4(uint8_t *ip, const struct mqt_segment *seg, uint32_t tcp_len)
{
	uint8_t *p = ip;

	*p++ = 0x45;
	*p++ = 0; /* DSCP 0, not ECN-capable */
	p = put_be16(p, (uint16_t)(IPV4_LEN + tcp_len));
	p = put_be16(p, 0);
	p = put_be16(p, IPV4_DF);
	*p++ = TTL;
	*p++ = PROTO_TCP;
	p = put_be16(p, 0);
	memcpy(p, seg->src.ip, 4);
	memcpy(p + 4, seg->dst.ip, 4);
	put_sum(ip + 10, sum_bytes(ip, IPV4_LEN));
}

static void
put_ipv6(uint8_t *p, const struct mqt_segment *seg, uint32_t tcp_len)
{
	p = put_be32(p, 0x60000000);
	p = put_be16(p, (uint16_t)tcp_len);
	*p++ = PROTO_TCP;
	*p++ = TTL;
	memcpy(p, seg->src.ip, 16);
	memcpy(p + 16, seg->dst.ip, 16);
}

static void
put_tcp(uint8_t *p, const struct mqt_segment *seg, uint32_t header_len)
{
	p = put_be16(p, seg->src.port);
	p = put_be16(p, seg->dst.port);
	p = put_be32(p, seg->seq);
	p = put_be32(p, seg->ack);
	*p++ = (uint8_t)(header_len / 4 << 4);
	*p++ = seg->tcp_flags;
	p = put_be16(p, seg->window);
	p = put_be16(p, 0); /* checksum */
	p = put_be16(p, 0); /* urgent pointer */
	if (seg->has_ts) {
		p = put_be32(p, 0x0101080a);
		p = put_be32(p, seg->ts_val);
		p = put_be32(p, seg->ts_ecr);
	}
	if (seg->payload_len)
		memcpy(p, seg->payload, seg->payload_len);
}

static bool
is_valid(const struct mqt_segment *seg)
{
	if (seg->l2_len < ETHER_LEN || seg->l2_len > MQT_L2_MAX)
		return false;
	if (seg->src.version != seg->dst.version)
		return false;
	if (seg->src.version != 4 && seg->src.version != 6)
		return false;
	return seg->payload || seg->payload_len == 0;
}

struct rte_mbuf *
mqt_segment_build(struct rte_mempool *pool, const struct mqt_segment *seg)
{
	uint32_t ip_len = seg->src.version == 4 ? IPV4_LEN : IPV6_LEN;
	uint32_t header_len = TCP_MIN_LEN + (seg->has_ts ? TS_LEN : 0);
	uint32_t tcp_len = header_len + seg->payload_len;
	uint32_t len = seg->l2_len + ip_len + tcp_len;
	struct rte_mbuf *m;
	uint8_t *p, *ip, *tcp;

	if (!is_valid(seg) || ip_len + tcp_len > UINT16_MAX)
		return NULL;
	m = rte_pktmbuf_alloc(pool);
	if (!m)
		return NULL;
	if (len > rte_pktmbuf_tailroom(m)) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	p = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)len);
	memcpy(p, seg->l2, seg->l2_len);
	ip = p + seg->l2_len;
	tcp = ip + ip_len;
	if (seg->src.version == 4)
		put_ipv4(ip, seg, tcp_len);
	else
		put_ipv6(ip, seg, tcp_len);
	put_tcp(tcp, seg, header_len);
	put_sum(tcp + 16,
			sum_pseudo_header(ip, seg->src.version, tcp_len) + sum_bytes(tcp, tcp_len));
	return m;
}
