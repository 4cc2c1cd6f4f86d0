/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_HASH_H
#define MQT_HASH_H

#include "mqtrack/addr.h"

#include <stddef.h>
#include <stdint.h>

/**
 * @file
 * Keyed hashes. Client ids and addresses are chosen by strangers, so every table that they reach
 * is keyed by a secret drawn at start.
 * Source: SipHash-2-4 with 128-bit output (libsodium crypto_shorthash_siphashx24).
 */

/** 128-bit name of a client: what the channel map is keyed by. Compared as two words. */
struct mqt_digest {
	uint64_t word[2];
};

_Static_assert(sizeof(struct mqt_digest) == 16, "hashed as bytes: no padding");

/** Secret of one process. Immutable after start, any thread reads. */
struct mqt_hash_key {
	uint8_t digest[16];
	uint8_t flow[16];
};

/** Draws a random key. @return 0, or -EIO where the system has no randomness. */
int mqt_hash_key_init(struct mqt_hash_key *key);

/**
 * Digest of a client id inside its domain.
 * @param domain index of the domain.
 * @param broker NULL, or the broker that assigned the id: such an id is unique on that broker only
 *        (MQTT 5.0 §3.2.2.3.7), so it is another client than one that chose the same id itself.
 * @param clientid raw bytes, not terminated. @param len 0 to 65,535.
 */
struct mqt_digest mqt_digest_client(const struct mqt_hash_key *key, uint16_t domain,
		const struct mqt_endpoint *broker, const void *clientid, size_t len);

/**
 * Digest of a client without an id (MQTT 3.1.1 §3.1.3-7): unique by its channel, so that it is
 * registered and listed but never competes with anybody.
 */
struct mqt_digest mqt_digest_anonymous(const struct mqt_hash_key *key, uint64_t chan);

static inline int
mqt_digest_equal(const struct mqt_digest *a, const struct mqt_digest *b)
{
	return ((a->word[0] ^ b->word[0]) | (a->word[1] ^ b->word[1])) == 0;
}

/**
 * Keyed, non-linear hash of a flow key: 64 bits, the low half is the table's signature, the high
 * half chooses the owning worker (rule R20).
 * @param len a multiple of 16.
 */
uint64_t mqt_hash_flow(const struct mqt_hash_key *key, const void *data, size_t len);

/** Mixes a channel id into a table signature. Not keyed: channel ids are ours. */
static inline uint32_t
mqt_hash_chan(uint64_t id)
{
	id ^= id >> 33;
	id *= 0xff51afd7ed558ccdull;
	id ^= id >> 33;
	id *= 0xc4ceb9fe1a85ec53ull;
	return (uint32_t)(id ^ id >> 33);
}

#endif
