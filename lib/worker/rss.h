/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORKER_RSS_H
#define WORKER_RSS_H

#include "mqtrack/packet.h"
#include "mqtrack/worker.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Which worker the ports deliver a flow to. See rss.c.
 */

#define RSS_KEY_MAX 64
#define RSS_BUCKETS 512 /* at most; greater redirection tables repeat */

/* Immutable once made. */
struct rss {
	unsigned n_buckets; /* a power of two; 0: the ports do not agree on an owner */
	/* low bits of the hash of a 16-bit word, for each of its bytes as they lie in memory */
	uint16_t half[2][256];
	uint8_t owner[RSS_BUCKETS];
};

/* The key of all ports, for a driver that wants conf before it is started. */
void rss_key(uint8_t key[RSS_KEY_MAX]);

/* The fields that are asked for. */
uint64_t rss_fields(void);

/* Gives a started port the key and reads back what is in force. */
void rss_settle(uint16_t port_id, unsigned n_queues);

/*
 * Gives all ports the same redirection table. Where one cannot do it all count as spread in
 * software. Context: the ports are settled, no worker runs.
 */
void rss_agree(struct rss *rss, const uint16_t *port_ids, unsigned n_ports, unsigned n_queues);

/* The tables of an agreement on so many buckets, without any port. */
void rss_init(struct rss *rss, unsigned n_buckets, unsigned n_queues);

/* Where a flow's hash points to in the redirection table. */
static inline unsigned
rss_bucket(const struct rss *rss, const struct mqt_flow_key *key, unsigned ip_version)
{
	uint64_t x;
	uint16_t word;

	if (ip_version == 4) {
		x = key->v4.ip_be[0] ^ key->v4.ip_be[1];
		word = key->v4.port_be[0] ^ key->v4.port_be[1];
	} else {
		uint64_t a[4];

		memcpy(a, key->v6.ip, sizeof(a));
		x = a[0] ^ a[1] ^ a[2] ^ a[3];
		x ^= x >> 32;
		word = key->v6.port_be[0] ^ key->v6.port_be[1];
	}
	word ^= (uint16_t)(x ^ x >> 16);
	return rss->half[0][word & 0xff] ^ rss->half[1][word >> 8];
}

static inline unsigned
rss_owner(const struct rss *rss, const struct mqt_flow_key *key, unsigned ip_version)
{
	return rss->owner[rss_bucket(rss, key, ip_version)];
}

#endif
