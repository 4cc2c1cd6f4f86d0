/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keyed hash of flow keys. Addresses and ports are chosen by strangers, so it must not be linear
 * (a CRC or Toeplitz hash collides under every key that differs only in its seed).
 *
 * With AES instructions: CBC-MAC over four rounds of AES a block with the length mixed into the
 * first block. Four rounds bound the probability of a differential by 2^-113 under independent
 * round keys; here they are the key mixed with constants, for the output is a place in a table
 * and not a signature: nobody outside ever sees it. Elsewhere: SipHash-2-4 of libsodium.
 *
 * Synchronisation: pure functions.
 * Source: FIPS 197; L. Keliher, J. Sui, "Exact maximum expected differential and linear
 * probability for two-round AES"; the constants are the first 512 bits of the fraction of pi.
 */
#include "hash_flow.h"

#include <sodium/crypto_shorthash_siphash24.h>
#include <string.h>

uint64_t
hash_flow_sip(const uint8_t key[16], const void *data, size_t len)
{
	unsigned char out[crypto_shorthash_siphash24_BYTES];
	uint64_t h;

	crypto_shorthash_siphash24(out, data, len, key);
	memcpy(&h, out, sizeof(h));
	return h;
}

#if defined(__x86_64__)

#include <immintrin.h>

#define N_ROUNDS 4

bool
hash_flow_has_aes(void)
{
	return __builtin_cpu_supports("aes");
}

__attribute__((target("aes"))) uint64_t
hash_flow_aes(const uint8_t key[16], const void *data, size_t len)
{
	const __m128i k = _mm_loadu_si128((const void *)key);
	const __m128i round_key[N_ROUNDS] = {
		_mm_xor_si128(k, _mm_set_epi64x(0x13198a2e03707344, 0x243f6a8885a308d3)),
		_mm_xor_si128(k, _mm_set_epi64x(0x082efa98ec4e6c89, (int64_t)0xa4093822299f31d0)),
		_mm_xor_si128(k, _mm_set_epi64x((int64_t)0xbe5466cf34e90c6c, 0x452821e638d01377)),
		_mm_xor_si128(k, _mm_set_epi64x(0x3f84d5b5b5470917, (int64_t)0xc0ac29b7c97c50dd)),
	};
	__m128i state = _mm_xor_si128(k, _mm_cvtsi64_si128((int64_t)len));

	for (const uint8_t *p = data, *end = p + len; p < end; p += 16) {
		state = _mm_xor_si128(state, _mm_loadu_si128((const void *)p));
		for (unsigned i = 0; i < N_ROUNDS; i++)
			state = _mm_aesenc_si128(state, round_key[i]);
	}
	return (uint64_t)_mm_cvtsi128_si64(state);
}

#else

bool
hash_flow_has_aes(void)
{
	return false;
}

uint64_t
hash_flow_aes(const uint8_t key[16], const void *data, size_t len)
{
	return hash_flow_sip(key, data, len);
}

#endif
