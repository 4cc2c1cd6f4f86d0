/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ends of a TCP view and the flow key made of them. The end with the smaller (address, port), as
 * numbers, comes first, so both directions have one key (rule R20). VLAN ids have no direction.
 */
#include "bytes.h"
#include "mqtrack/packet.h"

#define IPV4_SRC 12
#define IPV4_DST 16
#define IPV6_SRC 8
#define IPV6_DST 24

static const uint8_t *
ip_header(const struct rte_mbuf *m, const struct mqt_pkt *pkt)
{
	return rte_pktmbuf_mtod_offset(m, const uint8_t *, pkt->l3_off);
}

void
mqt_pkt_endpoints(const struct rte_mbuf *m, const struct mqt_pkt *pkt, struct mqt_endpoint *src,
		struct mqt_endpoint *dst)
{
	const uint8_t *ip = ip_header(m, pkt);

	*src = (struct mqt_endpoint){ .port = pkt->src_port, .version = pkt->ip_version };
	*dst = (struct mqt_endpoint){ .port = pkt->dst_port, .version = pkt->ip_version };
	if (pkt->ip_version == 4) {
		memcpy(src->ip, ip + IPV4_SRC, 4);
		memcpy(dst->ip, ip + IPV4_DST, 4);
	} else {
		memcpy(src->ip, ip + IPV6_SRC, 16);
		memcpy(dst->ip, ip + IPV6_DST, 16);
	}
}

int
mqt_flow_key_of(const struct rte_mbuf *m, const struct mqt_pkt *pkt, struct mqt_flow_key *key)
{
	const uint8_t *ip = ip_header(m, pkt);
	uint16_t port_be[2] = { rte_cpu_to_be_16(pkt->src_port), rte_cpu_to_be_16(pkt->dst_port) };
	int order, src_low;

	memset(key, 0, sizeof(*key));
	if (pkt->ip_version == 4)
		order = memcmp(ip + IPV4_SRC, ip + IPV4_DST, 4);
	else
		order = memcmp(ip + IPV6_SRC, ip + IPV6_DST, 16);
	src_low = order < 0 || (order == 0 && pkt->src_port <= pkt->dst_port);
	if (pkt->ip_version == 4) {
		memcpy(&key->v4.ip_be[!src_low], ip + IPV4_SRC, 4);
		memcpy(&key->v4.ip_be[src_low], ip + IPV4_DST, 4);
		key->v4.port_be[!src_low] = port_be[0];
		key->v4.port_be[src_low] = port_be[1];
		memcpy(key->v4.vlan, pkt->vlan, sizeof(key->v4.vlan));
	} else {
		memcpy(key->v6.ip[!src_low], ip + IPV6_SRC, 16);
		memcpy(key->v6.ip[src_low], ip + IPV6_DST, 16);
		key->v6.port_be[!src_low] = port_be[0];
		key->v6.port_be[src_low] = port_be[1];
		memcpy(key->v6.vlan, pkt->vlan, sizeof(key->v6.vlan));
	}
	return src_low;
}
