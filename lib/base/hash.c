/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Digests of clients: who is who in the channel map.
 *
 * A digest is SipHash-2-4-128 over one encoding of (kind, domain, broker, client id):
 *
 *   kind | has_broker | domain | length of the id | broker | id, or the digest of a long id
 *
 * The head has a fixed size and tells the rest's length and kind, so that two different clients
 * never have the same encoding. libsodium wants its input in one piece; an id longer than
 * INLINE_MAX is therefore hashed on its own first, under a kind of its own, instead of copying
 * up to 64 KiB or allocating.
 *
 * Synchronisation: pure functions; the key is immutable after start.
 * Source: J.-P. Aumasson, D. J. Bernstein, "SipHash"; libsodium crypto_shorthash_siphashx24.
 */
#include "mqtrack/hash.h"

#include "hash_flow.h"

#include <errno.h>
#include <sodium/crypto_shorthash_siphash24.h>
#include <string.h>
#include <unistd.h>

#define INLINE_MAX 256

enum digest_kind {
	KIND_CLIENT = 1,  /* the id follows */
	KIND_CLIENT_LONG, /* the digest of the id follows */
	KIND_ANONYMOUS,   /* a channel id follows */
};

struct digest_head {
	uint8_t kind; /* enum digest_kind */
	uint8_t has_broker;
	uint16_t domain;
	uint32_t len;
	struct mqt_endpoint broker;
};

_Static_assert(sizeof(struct digest_head) == 28, "hashed as bytes: no padding");
_Static_assert(sizeof(struct mqt_digest) == crypto_shorthash_siphashx24_BYTES, "whole output");
_Static_assert(sizeof(((struct mqt_hash_key *)0)->digest) == crypto_shorthash_siphashx24_KEYBYTES,
		"whole key");

static struct mqt_digest
digest_bytes(const struct mqt_hash_key *key, const void *data, size_t len)
{
	struct mqt_digest digest;
	unsigned char out[crypto_shorthash_siphashx24_BYTES];

	crypto_shorthash_siphashx24(out, data, len, key->digest);
	memcpy(&digest, out, sizeof(digest));
	return digest;
}

int
mqt_hash_key_init(struct mqt_hash_key *key)
{
	_Static_assert(sizeof(*key) <= 256, "the limit of getentropy(3)");
	return getentropy(key, sizeof(*key)) == 0 ? 0 : -EIO;
}

struct mqt_digest
mqt_digest_client(const struct mqt_hash_key *key, uint16_t domain,
		const struct mqt_endpoint *broker, const void *clientid, size_t len)
{
	struct digest_head head = {
		.kind = len > INLINE_MAX ? KIND_CLIENT_LONG : KIND_CLIENT,
		.has_broker = broker != NULL,
		.domain = domain,
		.len = (uint32_t)len,
	};
	uint8_t buf[sizeof(head) + INLINE_MAX];
	struct mqt_digest inner;

	if (broker)
		head.broker = *broker;
	memcpy(buf, &head, sizeof(head));
	if (len > INLINE_MAX) {
		inner = digest_bytes(key, clientid, len);
		clientid = &inner;
		len = sizeof(inner);
	}
	if (len)
		memcpy(buf + sizeof(head), clientid, len);
	return digest_bytes(key, buf, sizeof(head) + len);
}

struct mqt_digest
mqt_digest_anonymous(const struct mqt_hash_key *key, uint64_t chan)
{
	struct digest_head head = { .kind = KIND_ANONYMOUS, .len = sizeof(chan) };
	uint8_t buf[sizeof(head) + sizeof(chan)];

	memcpy(buf, &head, sizeof(head));
	memcpy(buf + sizeof(head), &chan, sizeof(chan));
	return digest_bytes(key, buf, sizeof(buf));
}

uint64_t
mqt_hash_flow(const struct mqt_hash_key *key, const void *data, size_t len)
{
	return hash_flow_has_aes() ? hash_flow_aes(key->flow, data, len)
				   : hash_flow_sip(key->flow, data, len);
}
