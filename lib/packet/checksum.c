/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internet checksum, in software and over chained mbufs. rte_raw_cksum_mbuf() of DPDK 22.11 is
 * not used: behind a segment of odd length it swaps the bytes of a sum before folding it, and
 * loses the carries.
 *
 * A wrong checksum of IPv4 is the sender's way to show the tracker what no host will take; so it is
 * asked for each packet of a listener, and kept cheap for the header without options.
 *
 * Synchronisation: none; whoever owns the bytes.
 * Source: RFC 791 §3.1, RFC 1071 §2, RFC 9293 §3.1 and RFC 8200 §8.1 for the pseudo headers.
 */
#include "bytes.h"
#include "mqtrack/packet.h"

#define PROTO_TCP 6

uint64_t
sum_bytes(const uint8_t *p, uint32_t len)
{
	uint64_t sum = 0;

	for (; len >= 4; p += 4, len -= 4) {
		uint32_t v;

		memcpy(&v, p, sizeof(v));
		sum += v;
	}
	if (len) {
		uint32_t v = 0;

		memcpy(&v, p, len);
		sum += v;
	}
	return sum;
}

uint64_t
sum_pseudo_header(const uint8_t *ip, unsigned ip_version, uint32_t tcp_len)
{
	uint64_t sum = (uint64_t)rte_cpu_to_be_32(tcp_len) + rte_cpu_to_be_32(PROTO_TCP);

	return sum + (ip_version == 4 ? sum_bytes(ip + 12, 8) : sum_bytes(ip + 8, 32));
}

/* Sum of len bytes from off on, over as many segments as they lie in. */
static uint64_t
sum_chain(const struct rte_mbuf *m, uint32_t off, uint32_t len)
{
	uint64_t sum = 0;
	bool odd = false;

	for (; m && len; m = m->next) {
		uint32_t here = rte_pktmbuf_data_len(m);
		uint16_t part;

		if (off >= here) {
			off -= here;
			continue;
		}
		here = RTE_MIN(here - off, len);
		part = sum_fold(sum_bytes(rte_pktmbuf_mtod_offset(m, const uint8_t *, off), here));
		sum += odd ? rte_bswap16(part) : part;
		odd ^= here & 1;
		len -= here;
		off = 0;
	}
	return sum;
}

bool
mqt_pkt_checksum_ok(const struct rte_mbuf *m, const struct mqt_pkt *pkt)
{
	const uint8_t *ip = rte_pktmbuf_mtod_offset(m, const uint8_t *, pkt->l3_off);
	uint32_t len = pkt->payload_off - pkt->l4_off + pkt->payload_len;

	switch (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) {
	case RTE_MBUF_F_RX_L4_CKSUM_GOOD:
	case RTE_MBUF_F_RX_L4_CKSUM_NONE: /* the field is not right, the data is known to be */
		return true;
	case RTE_MBUF_F_RX_L4_CKSUM_BAD:
		return false;
	}
	return sum_fold(sum_pseudo_header(ip, pkt->ip_version, len) +
			       sum_chain(m, pkt->l4_off, len)) == 0xffff;
}

bool
mqt_pkt_ip_checksum_ok(const struct rte_mbuf *m, const struct mqt_pkt *pkt)
{
	const uint8_t *ip = rte_pktmbuf_mtod_offset(m, const uint8_t *, pkt->l3_off);
	uint64_t verdict = m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
	uint32_t word[5];
	uint64_t sum;

	if (pkt->ip_version != 4 || verdict == RTE_MBUF_F_RX_IP_CKSUM_GOOD)
		return true;
	if (verdict == RTE_MBUF_F_RX_IP_CKSUM_BAD)
		return false;
	memcpy(word, ip, sizeof(word));
	sum = (uint64_t)word[0] + word[1] + word[2] + word[3] + word[4];
	if (ip[0] != 0x45)
		sum += sum_bytes(ip + sizeof(word), (ip[0] & 0x0fu) * 4 - sizeof(word));
	return sum_fold(sum) == 0xffff;
}
