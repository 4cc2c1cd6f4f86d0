/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PACKETS_H
#define PACKETS_H

#include "mqtrack/config.h"
#include "mqtrack/conn.h"
#include "mqtrack/hash.h"
#include "mqtrack/packet.h"

#include <rte_mbuf.h>

/*
 * Packets of a flow between a client and a broker, and what stands around a worker's connections
 * where there is no port: looking at packets as lib/worker does, and a tx burst that frees them.
 */

#define BENCH_BROKER_IP   RTE_IPV4(10, 255, 0, 1)
#define BENCH_BROKER_PORT 1883

/** Both ends, and the next sequence number of each. */
struct bench_flow {
	uint32_t client_ip, broker_ip; /* host byte order; the last 32 bits where it is IPv6 */
	uint16_t client_port, broker_port;
	uint32_t client_seq, broker_seq;
	uint32_t ts; /* of the timestamp that comes next, the same clock for both; 0: without */
	bool ipv6;
};

/** Flow @p i of many, each with other ends at the client's side and other numbers. */
struct bench_flow bench_flow_of(uint32_t i);

/**
 * Writes a segment into an empty mbuf and moves the sender's sequence number behind it: payload,
 * SYN, FIN. It acknowledges all of the peer's where @p flags has ACK. TCP without options or with
 * timestamps; the checksums are not there, but said to be right, as a port hands over what it has verified.
 * @param flags enum mqt_tcp_flag.
 */
void bench_write(struct rte_mbuf *m, struct bench_flow *f, bool from_client, uint8_t flags,
		const void *payload, uint16_t len);

/** bench_write() into a new mbuf. @return NULL where the pool is empty. */
struct rte_mbuf *bench_segment(struct rte_mempool *pool, struct bench_flow *f, bool from_client,
		uint8_t flags, const void *payload, uint16_t len);

/** Looks at a packet as lib/worker does. @return false: not one of a listener. */
bool bench_inspect(const struct mqt_config *config, const struct mqt_hash_key *key,
		struct rte_mbuf *m, uint16_t port, struct mqt_packet *pkt);

/** A tx burst (struct mqt_tx) that frees all and counts it in *arg, a uint64_t. */
uint16_t bench_tx_free(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n);

#endif
