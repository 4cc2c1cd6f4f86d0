/* SPDX-License-Identifier: BSD-3-Clause */
#include "packets.h"

#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>

#define CLIENTS_AN_ADDRESS 50000u
#define WINDOW             65535
#define TS_OPTIONS         0x0101080au /* NOP NOP, and the timestamps, RFC 7323 appendix A */
#define TS_OPTIONS_LEN     12u

struct bench_flow
bench_flow_of(uint32_t i)
{
	return (struct bench_flow){
		.client_ip = RTE_IPV4(10, 0, 0, 1) + i / CLIENTS_AN_ADDRESS,
		.client_port = (uint16_t)(10000 + i % CLIENTS_AN_ADDRESS),
		.broker_ip = BENCH_BROKER_IP,
		.broker_port = BENCH_BROKER_PORT,
		.client_seq = i * 2654435761u,
		.broker_seq = i * 40503u,
	};
}

static void
write_ipv4(struct rte_ipv4_hdr *ip, const struct bench_flow *f, bool from_client, uint16_t len)
{
	uint32_t client = rte_cpu_to_be_32(f->client_ip), broker = rte_cpu_to_be_32(f->broker_ip);

	*ip = (struct rte_ipv4_hdr){
		.version_ihl = RTE_IPV4_VHL_DEF,
		.total_length = rte_cpu_to_be_16(len),
		.fragment_offset = rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG),
		.time_to_live = 64,
		.next_proto_id = IPPROTO_TCP,
		.src_addr = from_client ? client : broker,
		.dst_addr = from_client ? broker : client,
	};
}

/* A unique local address, RFC 4193. */
static void
write_ipv6_address(uint8_t out[16], uint32_t ip)
{
	memset(out, 0, 16);
	out[0] = 0xfd;
	ip = rte_cpu_to_be_32(ip);
	memcpy(out + 12, &ip, sizeof(ip));
}

static void
write_ipv6(struct rte_ipv6_hdr *ip, const struct bench_flow *f, bool from_client, uint16_t len)
{
	*ip = (struct rte_ipv6_hdr){
		.vtc_flow = rte_cpu_to_be_32(6u << 28),
		.payload_len = rte_cpu_to_be_16((uint16_t)(len - sizeof(*ip))),
		.proto = IPPROTO_TCP,
		.hop_limits = 64,
	};
	write_ipv6_address(ip->src_addr, from_client ? f->client_ip : f->broker_ip);
	write_ipv6_address(ip->dst_addr, from_client ? f->broker_ip : f->client_ip);
}

/* Of TCP. */
static uint16_t
header_len(const struct bench_flow *f)
{
	return (uint16_t)(sizeof(struct rte_tcp_hdr) + (f->ts ? TS_OPTIONS_LEN : 0));
}

static void
write_tcp(struct rte_tcp_hdr *tcp, struct bench_flow *f, bool from_client, uint8_t flags)
{
	uint16_t client = rte_cpu_to_be_16(f->client_port);
	uint16_t broker = rte_cpu_to_be_16(f->broker_port);
	uint32_t ack = from_client ? f->broker_seq : f->client_seq;

	*tcp = (struct rte_tcp_hdr){
		.src_port = from_client ? client : broker,
		.dst_port = from_client ? broker : client,
		.sent_seq = rte_cpu_to_be_32(from_client ? f->client_seq : f->broker_seq),
		.recv_ack = flags & MQT_TCP_ACK ? rte_cpu_to_be_32(ack) : 0,
		.data_off = (uint8_t)(header_len(f) / 4 << 4),
		.tcp_flags = flags,
		.rx_win = rte_cpu_to_be_16(WINDOW),
	};
	if (f->ts) {
		const uint32_t options[] = { rte_cpu_to_be_32(TS_OPTIONS), rte_cpu_to_be_32(f->ts),
			rte_cpu_to_be_32(flags & MQT_TCP_ACK ? f->ts - 1 : 0) };

		memcpy(tcp + 1, options, TS_OPTIONS_LEN);
		f->ts++;
	}
}

void
bench_write(struct rte_mbuf *m, struct bench_flow *f, bool from_client, uint8_t flags,
		const void *payload, uint16_t len)
{
	struct rte_ether_hdr *eth;
	struct rte_tcp_hdr *tcp;
	uint16_t l3_len = f->ipv6 ? sizeof(struct rte_ipv6_hdr) : sizeof(struct rte_ipv4_hdr);
	uint16_t tcp_len = header_len(f), ip_len = (uint16_t)(l3_len + tcp_len + len);
	uint32_t *seq = from_client ? &f->client_seq : &f->broker_seq;

	eth = (struct rte_ether_hdr *)rte_pktmbuf_append(m, (uint16_t)(sizeof(*eth) + ip_len));
	tcp = (struct rte_tcp_hdr *)((uint8_t *)(eth + 1) + l3_len);
	memset(eth, 2, 2 * sizeof(eth->src_addr));
	eth->ether_type = f->ipv6 ? RTE_BE16(RTE_ETHER_TYPE_IPV6) : RTE_BE16(RTE_ETHER_TYPE_IPV4);
	if (f->ipv6)
		write_ipv6((struct rte_ipv6_hdr *)(eth + 1), f, from_client, ip_len);
	else
		write_ipv4((struct rte_ipv4_hdr *)(eth + 1), f, from_client, ip_len);
	write_tcp(tcp, f, from_client, flags);
	if (len)
		memcpy((uint8_t *)tcp + tcp_len, payload, len);
	m->ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	*seq += len + !!(flags & MQT_TCP_SYN) + !!(flags & MQT_TCP_FIN);
}

struct rte_mbuf *
bench_segment(struct rte_mempool *pool, struct bench_flow *f, bool from_client, uint8_t flags,
		const void *payload, uint16_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	if (m)
		bench_write(m, f, from_client, flags, payload, len);
	return m;
}

bool
bench_inspect(const struct mqt_config *config, const struct mqt_hash_key *key, struct rte_mbuf *m,
		uint16_t port, struct mqt_packet *pkt)
{
	pkt->m = m;
	pkt->port = port;
	if (mqt_pkt_parse(m, &pkt->view) != MQT_PKT_TCP)
		return false;
	if (!mqt_config_has_port(config, pkt->view.dst_port) &&
			!mqt_config_has_port(config, pkt->view.src_port))
		return false;
	if (!mqt_pkt_ip_checksum_ok(m, &pkt->view))
		return false;
	pkt->src_low = (uint8_t)mqt_flow_key_of(m, &pkt->view, &pkt->key);
	pkt->hash = mqt_hash_flow(key, &pkt->key,
			pkt->view.ip_version == 4 ? MQT_FLOW_KEY_V4_LEN : MQT_FLOW_KEY_V6_LEN);
	return true;
}

uint16_t
bench_tx_free(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	uint64_t *n_sent = arg;

	(void)port;
	*n_sent += n;
	rte_pktmbuf_free_bulk(m, n);
	return n;
}
