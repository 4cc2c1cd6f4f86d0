/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keyed hashes: digests of clients, and the hash of flows.
 */
#include "../../lib/base/hash_flow.h"
#include "base_rig.h"
#include "mqtrack/chan_id.h"
#include "mqtrack/hash.h"

#include <stdlib.h>

static void
fill_random(uint64_t *state, void *dst, size_t len)
{
	for (uint8_t *p = dst, *end = p + len; p < end; p++)
		*p = (uint8_t)next_random(state);
}

/* --- digests --------------------------------------------------------------------------------- */

static const struct mqt_hash_key key_a = { { 1, 2, 3 }, { 4, 5, 6 } };

static void
test_digests_of_different_clients_differ(void)
{
	static uint8_t zeros[65535], filled[65535];
	static struct mqt_endpoint brokers[4]; /* the last one has no address */
	static const struct {
		uint16_t domain;
		int broker; /* -1: none */
		const void *id;
		size_t len;
	} rows[] = {
		{ 0, -1, "", 0 },
		{ 0, -1, "a", 1 },
		{ 0, -1, "A", 1 },
		{ 0, -1, "a\0", 2 },
		{ 0, -1, "a\0\0", 3 },
		{ 0, -1, "\0a", 2 },
		{ 0, -1, "ab", 2 },
		{ 1, -1, "a", 1 },
		{ 256, -1, "a", 1 },
		{ 1, -1, "", 0 },
		{ 0, 0, "a", 1 },
		{ 0, 1, "a", 1 },
		{ 0, 2, "a", 1 },
		{ 0, 3, "a", 1 },
		{ 0, 0, "", 0 },
		{ 0, -1, zeros, 8 },
		{ 0, -1, zeros, 16 },
		{ 0, -1, zeros, 255 },
		{ 0, -1, zeros, 256 },
		{ 0, -1, zeros, 257 },
		{ 0, -1, zeros, 65534 },
		{ 0, -1, zeros, 65535 },
		{ 1, -1, zeros, 65535 },
		{ 0, 0, zeros, 65535 },
		{ 0, -1, filled, 255 },
		{ 0, -1, filled, 256 },
		{ 0, -1, filled, 257 },
		{ 0, -1, filled, 65535 },
	};
	struct mqt_digest all[LEN(rows) + 3];
	size_t n = 0;

	memset(filled, 0xff, sizeof(filled));
	brokers[0] = endpoint("192.0.2.1", 1883);
	brokers[1] = endpoint("192.0.2.1", 1884);
	brokers[2] = endpoint("c000:201::", 1883);
	for (size_t i = 0; i < LEN(rows); i++) {
		const struct mqt_endpoint *broker =
				rows[i].broker < 0 ? NULL : &brokers[rows[i].broker];
		struct mqt_digest again = mqt_digest_client(
				&key_a, rows[i].domain, broker, rows[i].id, rows[i].len);

		all[n] = mqt_digest_client(&key_a, rows[i].domain, broker, rows[i].id, rows[i].len);
		CHECK(mqt_digest_equal(&all[n], &again));
		n++;
	}
	all[n++] = mqt_digest_anonymous(&key_a, 0);
	all[n++] = mqt_digest_anonymous(&key_a, 1);
	all[n++] = mqt_digest_anonymous(&key_a, 1ull << 63);
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < i; j++) {
			char row[32];

			snprintf(row, sizeof(row), "rows %zu and %zu", i, j);
			check_row = row;
			CHECK(!mqt_digest_equal(&all[i], &all[j]));
			check_row = "";
		}
	}
}

/* An id is not mistaken for the inner form of another: the last byte of a long one counts. */
static void
test_every_byte_of_a_client_id_counts(void)
{
	static const size_t lens[] = { 1, 23, 255, 256, 257, 300, 65535 };
	static uint8_t id[65535];

	for (size_t i = 0; i < LEN(lens); i++) {
		struct mqt_digest whole = mqt_digest_client(&key_a, 0, NULL, id, lens[i]);
		size_t step = lens[i] > 1000 ? 997 : 1;

		for (size_t at = 0; at < lens[i]; at += step) {
			struct mqt_digest other;

			id[lens[i] - 1 - at] ^= 1;
			other = mqt_digest_client(&key_a, 0, NULL, id, lens[i]);
			id[lens[i] - 1 - at] ^= 1;
			CHECK(!mqt_digest_equal(&whole, &other));
		}
	}
}

static void
test_digests_depend_on_the_key(void)
{
	struct mqt_hash_key a, b;
	struct mqt_digest da, db;

	CHECK_EQ(mqt_hash_key_init(&a), 0);
	CHECK_EQ(mqt_hash_key_init(&b), 0);
	CHECK(memcmp(a.digest, b.digest, sizeof(a.digest)) != 0);
	CHECK(memcmp(a.flow, b.flow, sizeof(a.flow)) != 0);
	da = mqt_digest_client(&a, 0, NULL, "a", 1);
	db = mqt_digest_client(&b, 0, NULL, "a", 1);
	CHECK(!mqt_digest_equal(&da, &db));
	CHECK(mqt_hash_flow(&a, "0123456789abcdef", 16) !=
			mqt_hash_flow(&b, "0123456789abcdef", 16));
}

/* --- flow hash ------------------------------------------------------------------------------- */

typedef uint64_t flow_fn(const uint8_t key[16], const void *data, size_t len);

static const struct {
	const char *name;
	flow_fn *hash;
	bool needs_aes;
} flow_hashes[] = {
	{ "aes", hash_flow_aes, true },
	{ "sip", hash_flow_sip, false },
};

static const size_t flow_lens[] = { 16, 48 };

/* Calls fn for each implementation that runs here, with both lengths of flow keys. */
static void
each_flow_hash(void (*fn)(flow_fn *hash, size_t len))
{
	for (size_t i = 0; i < LEN(flow_hashes); i++) {
		if (flow_hashes[i].needs_aes && !hash_flow_has_aes())
			continue;
		for (size_t l = 0; l < LEN(flow_lens); l++) {
			check_row = flow_hashes[i].name;
			fn(flow_hashes[i].hash, flow_lens[l]);
		}
	}
	check_row = "";
}

/* Each input bit changes each output bit in half of the cases (6 sigma of 1,024 samples). */
static void
check_avalanche(flow_fn *hash, size_t len)
{
	enum {
		SAMPLES = 1024
	};
	static unsigned flips[48 * 8][64];
	uint64_t seed = 1;
	double total = 0;

	memset(flips, 0, sizeof(flips));
	for (unsigned s = 0; s < SAMPLES; s++) {
		uint8_t data[48];
		uint64_t base;

		/* half of the samples are sparse, as addresses of one net are */
		memset(data, 0, sizeof(data));
		fill_random(&seed, data, s % 2 ? len : 4);
		base = hash(key_a.flow, data, len);
		for (unsigned in = 0; in < len * 8; in++) {
			uint64_t diff;

			data[in / 8] ^= (uint8_t)(1u << in % 8);
			diff = base ^ hash(key_a.flow, data, len);
			data[in / 8] ^= (uint8_t)(1u << in % 8);
			for (unsigned out = 0; out < 64; out++)
				flips[in][out] += diff >> out & 1;
		}
	}
	for (unsigned in = 0; in < len * 8; in++) {
		for (unsigned out = 0; out < 64; out++) {
			total += flips[in][out];
			CHECK(abs((int)flips[in][out] - SAMPLES / 2) < 6 * 16);
		}
	}
	total /= (double)SAMPLES * (double)len * 8 * 64;
	CHECK(total > 0.497 && total < 0.503);
}

static void
test_flow_hash_spreads_every_input_bit(void)
{
	each_flow_hash(check_avalanche);
}

/* Neighbouring flows: owner (high half) and bucket (low half) say nothing about each other. */
static void
check_halves(flow_fn *hash, size_t len)
{
	enum {
		SAMPLES = 65536
	};
	unsigned cells[16][16] = { 0 }, same[32][32] = { 0 };
	double chi = 0, want = SAMPLES / 256.0;

	for (uint32_t s = 0; s < SAMPLES; s++) {
		uint8_t data[48] = { 10, 0, 0, 1, 10, 0, 0, 2 };
		uint64_t h;

		memcpy(data + 8, &s, sizeof(s)); /* client ports count up */
		h = hash(key_a.flow, data, len);
		cells[h & 15][h >> 32 & 15]++;
		for (unsigned lo = 0; lo < 32; lo++)
			for (unsigned hi = 0; hi < 32; hi++)
				same[lo][hi] += (h >> lo & 1) == (h >> (32 + hi) & 1);
	}
	for (unsigned i = 0; i < 16; i++)
		for (unsigned j = 0; j < 16; j++)
			chi += (cells[i][j] - want) * (cells[i][j] - want) / want;
	CHECK(chi > 255 - 6 * 22.6 && chi < 255 + 6 * 22.6); /* 255 degrees of freedom */
	for (unsigned lo = 0; lo < 32; lo++)
		for (unsigned hi = 0; hi < 32; hi++)
			CHECK(abs((int)same[lo][hi] - SAMPLES / 2) < 6 * 128);
}

static void
test_flow_hash_halves_are_independent(void)
{
	each_flow_hash(check_halves);
}

/* A CRC or a Toeplitz hash fails this for every input. */
static void
check_not_linear(flow_fn *hash, size_t len)
{
	uint64_t seed = 2;

	for (unsigned s = 0; s < 256; s++) {
		uint8_t a[48], b[48], c[48], sum[48];

		fill_random(&seed, a, len);
		fill_random(&seed, b, len);
		fill_random(&seed, c, len);
		for (size_t i = 0; i < len; i++)
			sum[i] = a[i] ^ b[i] ^ c[i];
		CHECK((hash(key_a.flow, a, len) ^ hash(key_a.flow, b, len) ^
				      hash(key_a.flow, c, len)) != hash(key_a.flow, sum, len));
	}
}

static void
test_flow_hash_is_not_linear(void)
{
	each_flow_hash(check_not_linear);
}

/* Every key bit matters, and so does the place of a block. */
static void
check_key_and_order(flow_fn *hash, size_t len)
{
	uint8_t key[16] = { 0 }, data[48], swapped[48];
	uint64_t seed = 3, base;

	fill_random(&seed, data, sizeof(data));
	base = hash(key, data, len);
	for (unsigned bit = 0; bit < 128; bit++) {
		int flips;

		key[bit / 8] ^= (uint8_t)(1u << bit % 8);
		flips = __builtin_popcountll(base ^ hash(key, data, len));
		key[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CHECK(flips >= 8 && flips <= 56);
	}
	if (len < 48)
		return;
	memcpy(swapped, data + 16, 16);
	memcpy(swapped + 16, data, 16);
	memcpy(swapped + 32, data + 32, 16);
	CHECK(hash(key, swapped, len) != base);
	CHECK(hash(key, data, 16) != hash(key, data, 32));
}

static void
test_flow_hash_uses_key_and_order(void)
{
	each_flow_hash(check_key_and_order);
}

static void
test_flow_hash_takes_unaligned_keys(void)
{
	uint8_t buf[64 + 48] = { 0 };
	uint64_t seed = 4;
	uint8_t data[48];

	fill_random(&seed, data, sizeof(data));
	for (unsigned off = 0; off < 16; off++) {
		memcpy(buf + off, data, sizeof(data));
		CHECK(mqt_hash_flow(&key_a, buf + off, 48) == mqt_hash_flow(&key_a, data, 48));
	}
}

static void
test_channel_signatures_differ(void)
{
	/* slots and generations count up: no two of 4,096 neighbours share a signature */
	static uint32_t seen[4096];

	for (uint32_t i = 0; i < LEN(seen); i++) {
		seen[i] = mqt_hash_chan(mqt_chan_id_make(0, i & 3, i >> 4, 1 + (i >> 2 & 3)));
		for (uint32_t j = 0; j < i; j++)
			if (seen[i] == seen[j])
				CHECK_EQ(i, j);
	}
}

static CU_TestInfo hash_tests[] = {
	TEST(test_digests_of_different_clients_differ),
	TEST(test_every_byte_of_a_client_id_counts),
	TEST(test_digests_depend_on_the_key),
	TEST(test_flow_hash_spreads_every_input_bit),
	TEST(test_flow_hash_halves_are_independent),
	TEST(test_flow_hash_is_not_linear),
	TEST(test_flow_hash_uses_key_and_order),
	TEST(test_flow_hash_takes_unaligned_keys),
	TEST(test_channel_signatures_differ),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "hash", NULL, NULL, NULL, NULL, hash_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return check_run(suites);
}
