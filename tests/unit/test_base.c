/* SPDX-License-Identifier: BSD-3-Clause */
/* Unit tests of lib/base. All pseudo-random input is seeded: a failure repeats. */
#include "../../lib/base/hash_flow.h"
#include "check.h"
#include "mqtrack/addr.h"
#include "mqtrack/chan_id.h"
#include "mqtrack/clock.h"
#include "mqtrack/config.h"
#include "mqtrack/counters.h"
#include "mqtrack/hash.h"
#include "mqtrack/msg.h"
#include "mqtrack/slot.h"
#include "mqtrack/wheel.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* splitmix64 */
static uint64_t
next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static void
fill_random(uint64_t *state, void *dst, size_t len)
{
	for (uint8_t *p = dst, *end = p + len; p < end; p++)
		*p = (uint8_t)next_random(state);
}

/* --- addresses ------------------------------------------------------------------------------- */

static struct mqt_endpoint
endpoint(const char *ip, uint16_t port)
{
	struct mqt_endpoint ep = { 0 };

	if (ip && mqt_endpoint_parse_ip(ip, &ep) != 0) {
		printf("\n    bad address in a table: %s\n", ip);
		abort();
	}
	ep.port = port;
	return ep;
}

static void
test_addresses_are_read_and_written(void)
{
	static const struct {
		const char *ip, *text, *whole;
		uint16_t port, version;
	} rows[] = {
		{ "192.0.2.1", "192.0.2.1", "192.0.2.1:1883", 1883, 4 },
		{ "255.255.255.255", "255.255.255.255", "255.255.255.255:65535", 65535, 4 },
		{ "2001:DB8:0:0::1", "2001:db8::1", "[2001:db8::1]:8883", 8883, 6 },
		{ "::", "::", "[::]:0", 0, 6 },
		{ "::ffff:192.0.2.1", "::ffff:192.0.2.1", "[::ffff:192.0.2.1]:1", 1, 6 },
		{ "1111:2222:3333:4444:5555:6666:7777:8888",
				"1111:2222:3333:4444:5555:6666:7777:8888",
				"[1111:2222:3333:4444:5555:6666:7777:8888]:65535", 65535, 6 },
	};
	char ip[MQT_ADDR_STRLEN], whole[MQT_ENDPOINT_STRLEN];

	for (size_t i = 0; i < LEN(rows); i++) {
		struct mqt_endpoint ep;

		check_row = rows[i].ip;
		memset(&ep, 0xaa, sizeof(ep));
		CHECK_EQ(mqt_endpoint_parse_ip(rows[i].ip, &ep), 0);
		CHECK_EQ(ep.version, rows[i].version);
		CHECK_EQ(ep.port, 0);
		if (rows[i].version == 4)
			CHECK_MEM(ep.ip + 4, "\0\0\0\0\0\0\0\0\0\0\0\0", 12);
		ep.port = rows[i].port;
		CHECK_STR(mqt_endpoint_format_ip(&ep, ip), rows[i].text);
		CHECK_STR(mqt_endpoint_format(&ep, whole), rows[i].whole);
	}
}

static void
test_no_address_is_written_as_any(void)
{
	struct mqt_endpoint ep = { .port = 1883 };
	char ip[MQT_ADDR_STRLEN], whole[MQT_ENDPOINT_STRLEN];

	CHECK_STR(mqt_endpoint_format_ip(&ep, ip), "*");
	CHECK_STR(mqt_endpoint_format(&ep, whole), "*:1883");
}

static void
test_bad_addresses_are_rejected(void)
{
	static const char *const rows[] = { "", " 192.0.2.1", "192.0.2.1 ", "192.0.2",
		"192.0.2.256", "192.0.2.1:80", "[::1]", "::1%lo", "1::2::3",
		"12345::", "localhost" };

	for (size_t i = 0; i < LEN(rows); i++) {
		struct mqt_endpoint ep = { .port = 7 };

		check_row = rows[i];
		CHECK_EQ(mqt_endpoint_parse_ip(rows[i], &ep), -EINVAL);
		CHECK_EQ(ep.port, 7);
	}
}

static void
test_endpoints_are_equal_in_all_fields_only(void)
{
	const struct mqt_endpoint a = endpoint("192.0.2.1", 1);
	const struct mqt_endpoint others[] = { endpoint("192.0.2.2", 1), endpoint("192.0.2.1", 2),
		endpoint("c000:201::", 1) /* the same 16 bytes */ };
	struct mqt_endpoint same = endpoint("192.0.2.1", 1);

	CHECK(mqt_endpoint_equal(&a, &same));
	for (size_t i = 0; i < LEN(others); i++)
		CHECK(!mqt_endpoint_equal(&a, &others[i]));
}

/* --- channel ids ----------------------------------------------------------------------------- */

static void
test_channel_ids_keep_their_parts(void)
{
	static const struct {
		unsigned node, worker;
		uint32_t slot, gen;
		const char *text;
	} rows[] = {
		{ 0, 0, 0, 1, "00-00-000000-000001" },
		{ 255, 255, MQT_CHAN_SLOT_MAX, MQT_CHAN_GEN_MAX, "ff-ff-ffffff-ffffff" },
		{ 1, 2, 0x345678, 0x9abcde, "01-02-345678-9abcde" },
		{ 128, 0, 0x800000, 0x800000, "80-00-800000-800000" },
	};
	char buf[MQT_CHAN_STRLEN];

	for (size_t i = 0; i < LEN(rows); i++) {
		mqt_chan_id id = mqt_chan_id_make(
				rows[i].node, rows[i].worker, rows[i].slot, rows[i].gen);
		mqt_chan_id back = 0;

		check_row = rows[i].text;
		CHECK_EQ(mqt_chan_id_node(id), rows[i].node);
		CHECK_EQ(mqt_chan_id_worker(id), rows[i].worker);
		CHECK_EQ(mqt_chan_id_slot(id), rows[i].slot);
		CHECK_EQ(mqt_chan_id_gen(id), rows[i].gen);
		CHECK_STR(mqt_chan_id_format(id, buf), rows[i].text);
		CHECK_EQ(mqt_chan_id_parse(rows[i].text, &back), 0);
		CHECK(back == id);
	}
	CHECK_EQ(mqt_chan_id_gen_next(1), 2);
	CHECK_EQ(mqt_chan_id_gen_next(MQT_CHAN_GEN_MAX), 1);
}

static void
test_bad_channel_ids_are_rejected(void)
{
	static const char *const rows[] = { "", "0", "00-00-000000-000000", "00-00-000000-00000",
		"00-00-000000-0000001", " 0-00-000000-000001", "00-00-000000-000001 ",
		"00-00_000000-000001", "0g-00-000000-000001", "000000-000000-00-01",
		"+0-00-000000-000001", "0x-00-000000-000001" };
	mqt_chan_id id = 42;

	for (size_t i = 0; i < LEN(rows); i++) {
		check_row = rows[i];
		CHECK_EQ(mqt_chan_id_parse(rows[i], &id), -EINVAL);
		CHECK_EQ(id, 42);
	}
	CHECK_EQ(mqt_chan_id_parse("0A-fF-AbCdEf-000001", &id), 0);
	CHECK(id == mqt_chan_id_make(0x0a, 0xff, 0xabcdef, 1));
}

/* --- slots ----------------------------------------------------------------------------------- */

static void
test_one_of_killer_and_closer_wins(void)
{
	const mqt_chan_id id = mqt_chan_id_make(0, 0, 3, 77), older = mqt_chan_id_make(0, 0, 3, 76);
	struct mqt_slot slot = { 0 };

	CHECK(!mqt_slot_leave(&slot, id, MQT_SLOT_KILLED)); /* free */
	atomic_store(&slot.word, mqt_slot_word(77, MQT_SLOT_LIVE));
	CHECK(!mqt_slot_leave(&slot, older, MQT_SLOT_KILLED));
	CHECK_EQ(atomic_load(&slot.word), mqt_slot_word(77, MQT_SLOT_LIVE));
	CHECK(mqt_slot_leave(&slot, id, MQT_SLOT_KILLED));
	CHECK(!mqt_slot_leave(&slot, id, MQT_SLOT_CLOSED));
	CHECK(!mqt_slot_leave(&slot, id, MQT_SLOT_KILLED));
	CHECK_EQ(atomic_load(&slot.word), mqt_slot_word(77, MQT_SLOT_KILLED));
}

static void
test_slot_counters_belong_to_a_generation(void)
{
	struct mqt_slot array[3] = { 0 };
	const struct mqt_slots slots = { array, sizeof(array[0]), LEN(array) };
	struct mqt_slot *slot = mqt_slots_at(&slots, 2);
	uint64_t out[MQT_SLOT_N_COUNTERS], seen_ns;

	CHECK(slot == &array[2]);
	atomic_store(&slot->word, mqt_slot_word(5, MQT_SLOT_LIVE));
	atomic_store(&slot->seen_ns, 99);
	mqt_slot_count(slot, MQT_RECV_OCT, 100);
	mqt_slot_count(slot, MQT_RECV_OCT, 11);
	mqt_slot_count(slot, MQT_SEND_MSG, 1);
	CHECK(mqt_slot_read(slot, mqt_chan_id_make(0, 0, 2, 5), out, &seen_ns));
	CHECK_EQ(out[MQT_RECV_OCT], 111);
	CHECK_EQ(out[MQT_SEND_MSG], 1);
	CHECK_EQ(out[MQT_SEND_OCT], 0);
	CHECK_EQ(seen_ns, 99);
	CHECK(!mqt_slot_read(slot, mqt_chan_id_make(0, 0, 2, 6), out, NULL));
	CHECK(!mqt_slot_read(slot, mqt_chan_id_make(0, 0, 2, 4), out, NULL));
}

/* --- clock, names, configuration ------------------------------------------------------------- */

static uint64_t
realtime_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * MQT_NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void
test_system_clock_goes_forward(void)
{
	const struct mqt_clock *clk = mqt_clock_system();
	uint64_t last = mqt_clock_mono(clk), before = realtime_ns(), wall = mqt_clock_wall(clk);

	CHECK(last != 0);
	CHECK(before <= wall && wall <= realtime_ns());
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t now = mqt_clock_mono(clk);

		CHECK(now >= last);
		last = now;
	}
}

static void
check_names(unsigned n, const char *(*name)(unsigned), const char *(*help)(unsigned))
{
	for (unsigned i = 0; i < n; i++) {
		check_row = name(i);
		CHECK(strlen(name(i)) > 0);
		CHECK(strlen(help(i)) > 0);
		for (const char *p = name(i); *p; p++)
			CHECK(islower((unsigned char)*p) || *p == '_');
		for (unsigned j = 0; j < i; j++)
			CHECK(strcmp(name(i), name(j)) != 0);
	}
	CHECK(name(n) == NULL);
	CHECK(help(n) == NULL);
	CHECK(name(UINT32_MAX) == NULL);
}

static void
test_counters_have_names(void)
{
	check_names(MQT_W_N_COUNTERS, mqt_worker_counter_name, mqt_worker_counter_help);
	check_names(MQT_C_N_COUNTERS, mqt_control_counter_name, mqt_control_counter_help);
	CHECK_STR(mqt_worker_counter_name(MQT_W_RX_PACKETS), "rx_packets");
	CHECK_STR(mqt_worker_counter_help(MQT_W_RX_PACKETS), "packets received");
	CHECK_STR(mqt_worker_counter_name(MQT_W_UNTRACKED_POSSIBLE_DUPLICATE),
			"untracked_possible_duplicate");
	CHECK_STR(mqt_control_counter_name(MQT_C_DUPLICATES), "duplicates");
}

static void
test_reasons_have_names(void)
{
	for (unsigned i = 0; i < MQT_N_REASONS; i++) {
		for (unsigned j = 0; j < i; j++)
			CHECK(strcmp(mqt_reason_name(i), mqt_reason_name(j)) != 0);
		CHECK(strcmp(mqt_reason_name(i), "unknown") != 0);
	}
	CHECK_STR(mqt_reason_name(MQT_REASON_CLIENT_DISCONNECT), "client_disconnect");
	CHECK_STR(mqt_reason_name(MQT_REASON_SHUTDOWN), "shutdown");
	CHECK_STR(mqt_reason_name(MQT_N_REASONS), "unknown");
}

static struct mqt_config config; /* too large for a stack under sanitizers */

static void
test_config_defaults_track_port_1883(void)
{
	const struct mqt_endpoint v4 = endpoint("192.0.2.1", 1883);
	const struct mqt_endpoint v6 = endpoint("2001:db8::1", 1883);
	const struct mqt_endpoint other = endpoint("192.0.2.1", 1884);

	memset(&config, 0xaa, sizeof(config));
	mqt_config_init(&config);
	CHECK_EQ(config.n_listeners, 1);
	CHECK_STR(config.listeners[0].name, "tcp");
	CHECK_EQ(config.listeners[0].domain, 0);
	CHECK_EQ(config.listeners[0].on_failure, MQT_FAIL_OPEN);
	CHECK_EQ(config.n_domains, 1);
	CHECK_STR(config.domains[0], "default");
	CHECK_EQ(config.n_pairs, 0);
	CHECK_EQ(config.n_brokers, 0);
	CHECK_STR(config.node, "mqtrack");
	CHECK_STR(config.control.socket, "/run/mqtrack/mqtrack.sock");
	CHECK_EQ(config.limits.stepdown_local_ms, 500);
	CHECK_EQ(config.limits.opening_ms, 20000);
	CHECK_EQ(config.limits.events & (config.limits.events - 1), 0);
	CHECK_EQ(mqt_config_listener(&config, &v4), 0);
	CHECK_EQ(mqt_config_listener(&config, &v6), 0);
	CHECK_EQ(mqt_config_listener(&config, &other), -1);
	CHECK(mqt_config_has_port(&config, 1883));
	CHECK(!mqt_config_has_port(&config, 1884));
	CHECK(!mqt_config_has_port(&config, 0));
	CHECK(mqt_config_broker_name(&config, &v4) == NULL);
}

static void
test_an_exact_listener_wins(void)
{
	static const struct {
		const char *ip;
		uint16_t port;
		int want;
	} rows[] = {
		{ "192.0.2.1", 1883, 1 }, { "192.0.2.2", 1883, 0 }, { "192.0.2.1", 1884, -1 },
		{ "192.0.2.9", 8883, 2 }, { "192.0.2.8", 8883, -1 }, { "2001:db8::9", 1883, 3 },
		{ "c000:201::", 1883, 0 }, /* bytes of 192.0.2.1 */
	};

	mqt_config_init(&config);
	config.n_listeners = 4;
	config.listeners[1].address = endpoint("192.0.2.1", 1883);
	config.listeners[2].address = endpoint("192.0.2.9", 8883);
	config.listeners[3].address = endpoint("2001:db8::9", 1883);
	for (size_t i = 0; i < LEN(rows); i++) {
		struct mqt_endpoint ep = endpoint(rows[i].ip, rows[i].port);

		check_row = rows[i].ip;
		CHECK_EQ(mqt_config_listener(&config, &ep), rows[i].want);
	}
	CHECK(mqt_config_has_port(&config, 8883));
	CHECK(!mqt_config_has_port(&config, 1));
	config.listeners[2].address.port = 0;
	CHECK(mqt_config_has_port(&config, 1));
	config.n_listeners = 0;
	CHECK(!mqt_config_has_port(&config, 1883));
}

static void
test_brokers_are_named_by_address_then_port(void)
{
	const struct mqt_endpoint exact = endpoint("192.0.2.1", 1883);
	const struct mqt_endpoint same_host = endpoint("192.0.2.1", 1884);
	const struct mqt_endpoint unknown = endpoint("192.0.2.2", 1883);

	mqt_config_init(&config);
	config.n_brokers = 2;
	strcpy(config.brokers[0].name, "host");
	config.brokers[0].address = endpoint("192.0.2.1", 0);
	strcpy(config.brokers[1].name, "broker");
	config.brokers[1].address = exact;
	CHECK_STR(mqt_config_broker_name(&config, &exact), "broker");
	CHECK_STR(mqt_config_broker_name(&config, &same_host), "host");
	CHECK(mqt_config_broker_name(&config, &unknown) == NULL);
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

/* --- timing wheel ---------------------------------------------------------------------------- */

enum {
	N_TIMERS = 200
};

/* The reference: a flat array that is searched through each time. */
struct model_timer {
	struct mqt_timer timer; /* first: what the callback gets */
	bool armed;
	bool early;        /* it must have fired when the call returns */
	uint64_t due_tick; /* rounded up */
	unsigned rearm;    /* times it still arms itself in its callback */
};

struct model {
	struct mqt_wheel *wheel;
	uint64_t tick_ns, start_ns, now_ns, seed;
	uint64_t n_armed;
	unsigned n_fired;
	struct model_timer t[N_TIMERS];
};

static uint64_t
model_tick(const struct model *m, uint64_t ns)
{
	return ns > m->start_ns ? (ns - m->start_ns) / m->tick_ns : 0;
}

static uint64_t
model_tick_up(const struct model *m, uint64_t ns)
{
	uint64_t after = ns > m->start_ns ? ns - m->start_ns : 0;

	return after / m->tick_ns + (after % m->tick_ns != 0);
}

static void
model_arm(struct model *m, struct model_timer *t, uint64_t due_ns)
{
	m->n_armed += !t->armed;
	t->armed = true;
	t->early = false;
	t->due_tick = model_tick_up(m, due_ns);
	mqt_wheel_arm(m->wheel, &t->timer, due_ns);
}

static void
model_disarm(struct model *m, struct model_timer *t)
{
	m->n_armed -= t->armed;
	t->armed = false;
	mqt_wheel_disarm(m->wheel, &t->timer);
}

/* A time in the past, near, far, or very far, each as likely as the other. */
static uint64_t
model_random_span(struct model *m)
{
	uint64_t bits = next_random(&m->seed) % 50;

	return next_random(&m->seed) & ((1ull << bits) - 1);
}

static void
model_fired(struct mqt_timer *timer, void *arg)
{
	struct model *m = arg;
	struct model_timer *t = (struct model_timer *)timer, *other;

	CHECK(t->armed);
	CHECK(!mqt_timer_armed(timer));
	CHECK(t->due_tick <= model_tick(m, m->now_ns));
	t->armed = false;
	m->n_armed--;
	m->n_fired++;
	if (t->rearm) {
		t->rearm--;
		model_arm(m, t, m->now_ns + model_random_span(m));
	}
	/* a callback may touch any other timer */
	other = &m->t[next_random(&m->seed) % N_TIMERS];
	if (next_random(&m->seed) % 4 == 0)
		model_disarm(m, other);
	else if (next_random(&m->seed) % 4 == 0)
		model_arm(m, other, m->now_ns + model_random_span(m));
}

/* Expires once. Whole: nothing that was due before the call may be left. */
static void
model_expire(struct model *m, unsigned budget, bool whole)
{
	unsigned n;

	for (unsigned i = 0; i < N_TIMERS; i++)
		m->t[i].early = m->t[i].armed && m->t[i].due_tick <= model_tick(m, m->now_ns);
	m->n_fired = 0;
	n = mqt_wheel_expire(m->wheel, m->now_ns, budget, model_fired, m);
	CHECK_EQ(n, m->n_fired);
	CHECK(n <= budget);
	CHECK_EQ(mqt_wheel_count(m->wheel), m->n_armed);
	for (unsigned i = 0; i < N_TIMERS; i++) {
		CHECK_EQ(mqt_timer_armed(&m->t[i].timer), m->t[i].armed);
		if (whole)
			CHECK(!(m->t[i].armed && m->t[i].early));
	}
}

static void
model_run(uint64_t seed, uint64_t tick_ns, uint64_t start_ns)
{
	static struct model model;
	struct model *m = &model;

	memset(m, 0, sizeof(*m));
	m->seed = seed;
	m->tick_ns = tick_ns;
	m->start_ns = m->now_ns = start_ns;
	m->wheel = mqt_wheel_create(tick_ns, start_ns);
	CHECK(m->wheel != NULL);
	if (!m->wheel)
		return;
	for (unsigned op = 0; op < 5000; op++) {
		struct model_timer *t = &m->t[next_random(&m->seed) % N_TIMERS];

		switch (next_random(&m->seed) % 8) {
		case 0:
			model_disarm(m, t);
			break;
		case 1:
			model_arm(m, t, m->now_ns - model_random_span(m) % (m->now_ns + 1));
			break;
		case 2:
			m->now_ns += model_random_span(m) >> next_random(&m->seed) % 20;
			model_expire(m, N_TIMERS * 2, true);
			break;
		case 3:
			m->now_ns += model_random_span(m) >> next_random(&m->seed) % 20;
			model_expire(m, (unsigned)(next_random(&m->seed) % 3), false);
			break;
		default:
			t->rearm = next_random(&m->seed) % 3;
			model_arm(m, t, m->now_ns + model_random_span(m));
		}
	}
	m->now_ns += 1ull << 51;
	for (unsigned i = 0; i < 8; i++)
		model_expire(m, N_TIMERS * 2, true);
	mqt_wheel_destroy(m->wheel);
}

static void
test_wheel_agrees_with_a_flat_array(void)
{
	static const uint64_t ticks[] = { 1, 7, MQT_NS_PER_US, MQT_NS_PER_MS, MQT_NS_PER_SEC };
	static const uint64_t starts[] = { 0, 1, 123456789012345ull };

	for (size_t i = 0; i < LEN(ticks); i++)
		for (size_t j = 0; j < LEN(starts); j++)
			model_run(1000 * i + j, ticks[i], starts[j]);
}

static void
count_fired(struct mqt_timer *timer, void *arg)
{
	(*(unsigned *)arg)++;
}

static void
test_wheel_fires_at_the_tick_and_not_before(void)
{
	/* due after start, first time it must fire; tick 1 ms */
	static const uint64_t rows[][2] = { { 0, 0 }, { 1, 1000000 }, { 999999, 1000000 },
		{ 1000000, 1000000 }, { 1000001, 2000000 }, { 63000000, 63000000 },
		{ 64000000, 64000000 }, { 65000000, 65000000 }, { 4096000000, 4096000000 },
		{ 4095000000, 4095000000 }, { 1ull << 40, 1099512000000 } };
	const uint64_t start = 55;

	for (size_t i = 0; i < LEN(rows); i++) {
		struct mqt_wheel *w = mqt_wheel_create(MQT_NS_PER_MS, start);
		struct mqt_timer t = { 0 };
		unsigned n = 0;

		mqt_wheel_arm(w, &t, start + rows[i][0]);
		if (rows[i][1])
			CHECK_EQ(mqt_wheel_expire(w, start + rows[i][1] - 1, 9, count_fired, &n),
					0);
		CHECK(mqt_timer_armed(&t));
		CHECK_EQ(mqt_wheel_expire(w, start + rows[i][1], 9, count_fired, &n), 1);
		CHECK_EQ(n, 1);
		CHECK(!mqt_timer_armed(&t));
		mqt_wheel_destroy(w);
	}
}

static void
test_wheel_jumps_over_centuries(void)
{
	struct mqt_wheel *w = mqt_wheel_create(1, 0);
	struct mqt_timer t[3] = { 0 };
	unsigned n = 0;

	mqt_wheel_arm(w, &t[0], UINT64_MAX);
	mqt_wheel_arm(w, &t[1], UINT64_MAX - 1);
	mqt_wheel_arm(w, &t[2], 1ull << 60);
	CHECK_EQ(mqt_wheel_expire(w, (1ull << 60) - 1, 9, count_fired, &n), 0);
	CHECK_EQ(mqt_wheel_expire(w, 1ull << 60, 9, count_fired, &n), 1);
	CHECK_EQ(mqt_wheel_expire(w, UINT64_MAX - 2, 9, count_fired, &n), 0);
	/* a step back is ignored: what was past remains past */
	CHECK_EQ(mqt_wheel_expire(w, 5, 9, count_fired, &n), 0);
	mqt_wheel_arm(w, &t[2], 1ull << 50);
	CHECK_EQ(mqt_wheel_expire(w, 6, 9, count_fired, &n), 1);
	CHECK_EQ(mqt_wheel_expire(w, UINT64_MAX, 9, count_fired, &n), 2);
	CHECK_EQ(mqt_wheel_count(w), 0);
	mqt_wheel_destroy(w);
}

static void
test_wheel_keeps_to_its_budget(void)
{
	enum {
		N = 10000
	};
	static struct mqt_timer t[N];
	struct mqt_wheel *w = mqt_wheel_create(1, 0);
	unsigned n = 0, calls = 0;

	/* one slot of a high level, which comes down in several steps: the first fires nothing */
	for (unsigned i = 0; i < N; i++)
		mqt_wheel_arm(w, &t[i], (1ull << 30) + i);
	CHECK_EQ(mqt_wheel_expire(w, 1ull << 31, 8, count_fired, &n), 0);
	while (mqt_wheel_count(w) && calls < 2 * N) {
		CHECK(mqt_wheel_expire(w, 1ull << 31, 8, count_fired, &n) <= 8);
		calls++;
	}
	CHECK_EQ(n, N);
	CHECK(calls >= N / 8);
	CHECK_EQ(mqt_wheel_expire(w, 1ull << 31, 0, count_fired, &n), 0);
	mqt_wheel_destroy(w);
}

struct rearm_past {
	struct mqt_wheel *w;
	unsigned n;
};

static void
rearm_in_the_past(struct mqt_timer *timer, void *arg)
{
	struct rearm_past *r = arg;

	r->n++;
	mqt_wheel_arm(r->w, timer, 60);
}

static void
test_wheel_call_ends_where_timers_rearm_for_the_past(void)
{
	struct rearm_past r = { mqt_wheel_create(10, 0), 0 };
	struct mqt_timer t[2] = { 0 };

	mqt_wheel_arm(r.w, &t[0], 0);
	mqt_wheel_arm(r.w, &t[1], 15);
	CHECK_EQ(mqt_wheel_expire(r.w, 100, 1000, rearm_in_the_past, &r), 2);
	CHECK_EQ(mqt_wheel_expire(r.w, 100, 1000, rearm_in_the_past, &r), 2);
	CHECK_EQ(mqt_wheel_count(r.w), 2);
	mqt_wheel_disarm(r.w, &t[1]);
	CHECK_EQ(mqt_wheel_expire(r.w, 100, 1000, rearm_in_the_past, &r), 1);
	mqt_wheel_disarm(r.w, &t[0]);
	mqt_wheel_disarm(r.w, &t[0]); /* disarmed already */
	CHECK_EQ(mqt_wheel_expire(r.w, 200, 1000, rearm_in_the_past, &r), 0);
	CHECK_EQ(r.n, 5);
	mqt_wheel_destroy(r.w);
}

static void
test_wheel_wants_a_tick(void)
{
	errno = 0;
	CHECK(mqt_wheel_create(0, 1) == NULL);
	CHECK_EQ(errno, EINVAL);
	mqt_wheel_destroy(NULL);
}

/* --------------------------------------------------------------------------------------------- */

#define TEST(fn)                                                                                   \
	{                                                                                          \
#fn, fn                                                                            \
	}

static CU_TestInfo plain_tests[] = {
	TEST(test_addresses_are_read_and_written),
	TEST(test_no_address_is_written_as_any),
	TEST(test_bad_addresses_are_rejected),
	TEST(test_endpoints_are_equal_in_all_fields_only),
	TEST(test_channel_ids_keep_their_parts),
	TEST(test_bad_channel_ids_are_rejected),
	TEST(test_one_of_killer_and_closer_wins),
	TEST(test_slot_counters_belong_to_a_generation),
	TEST(test_system_clock_goes_forward),
	TEST(test_counters_have_names),
	TEST(test_reasons_have_names),
	TEST(test_config_defaults_track_port_1883),
	TEST(test_an_exact_listener_wins),
	TEST(test_brokers_are_named_by_address_then_port),
	CU_TEST_INFO_NULL,
};

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

static CU_TestInfo wheel_tests[] = {
	TEST(test_wheel_agrees_with_a_flat_array),
	TEST(test_wheel_fires_at_the_tick_and_not_before),
	TEST(test_wheel_jumps_over_centuries),
	TEST(test_wheel_keeps_to_its_budget),
	TEST(test_wheel_call_ends_where_timers_rearm_for_the_past),
	TEST(test_wheel_wants_a_tick),
	CU_TEST_INFO_NULL,
};

int
main(void)
{
	CU_SuiteInfo suites[] = {
		{ "base", NULL, NULL, NULL, NULL, plain_tests },
		{ "hash", NULL, NULL, NULL, NULL, hash_tests },
		{ "wheel", NULL, NULL, NULL, NULL, wheel_tests },
		CU_SUITE_INFO_NULL,
	};

	return check_run(suites);
}
