/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The cursor that follows a stream by its framing.
 */
#include "mqtt_rig.h"
#include "mqtt_vectors.h"

#include <stdlib.h>

/* xorshift: the same numbers in each run. */
static uint32_t
next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* The cursor. */

/* Feeds bytes from an allocation of their own size. */
static bool
feed(struct mqt_mqtt_cursor *cursor, const uint8_t *data, size_t len, struct mqt_mqtt_seen *seen)
{
	struct raw raw = raw_copy(data, len);
	bool ok = mqt_mqtt_cursor_feed(cursor, raw.ptr, raw.len, seen);

	free(raw.ptr);
	return ok;
}

static void
check_stream(const struct stream_vector *v, const struct mqt_mqtt_cursor *cursor,
		const struct mqt_mqtt_seen *seen, bool ok)
{
	CHECK_EQ(ok, v->error == MQT_MQTT_E_NONE);
	CHECK_EQ(cursor->error, v->error);
	CHECK_EQ(mqt_mqtt_cursor_at_boundary(cursor), v->boundary);
	CHECK_EQ(seen->packets, v->packets);
	CHECK_EQ(seen->publishes, v->publishes);
	CHECK_EQ(seen->types, v->types);
}

static void
test_cursor_whole_and_byte_by_byte(void)
{
	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
		struct raw raw = raw_of((check_row = streams[i].name, streams[i].text));
		struct mqt_mqtt_cursor whole = { 0 }, single = { 0 };
		struct mqt_mqtt_seen whole_seen = { 0 }, single_seen = { 0 };
		bool ok = true;

		check_stream(&streams[i], &whole, &whole_seen,
				feed(&whole, raw.ptr, raw.len, &whole_seen));
		for (size_t n = 0; n < raw.len; n++)
			ok = feed(&single, raw.ptr + n, 1, &single_seen);
		check_stream(&streams[i], &single, &single_seen, ok);
		CHECK_MEM(&whole, &single, sizeof(whole));
		free(raw.ptr);
	}
}

static void
test_cursor_cut_at_every_pair_of_bytes(void)
{
	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
		struct raw raw = raw_of((check_row = streams[i].name, streams[i].text));

		for (size_t a = 0; a <= raw.len; a++) {
			for (size_t b = a; b <= raw.len; b++) {
				struct mqt_mqtt_cursor cursor = { 0 };
				struct mqt_mqtt_seen seen = { 0 };
				bool ok;

				feed(&cursor, raw.ptr, a, &seen);
				feed(&cursor, raw.ptr + a, b - a, &seen);
				ok = feed(&cursor, raw.ptr + b, raw.len - b, &seen);
				check_stream(&streams[i], &cursor, &seen, ok);
			}
		}
		free(raw.ptr);
	}
}

static void
test_cursor_stays_broken(void)
{
	static const uint8_t ping[] = { 0xc0, 0 };
	struct mqt_mqtt_cursor cursor = { 0 };
	struct mqt_mqtt_seen seen = { 0 };

	CHECK(!feed(&cursor, (const uint8_t[]){ 0x36 }, 1, &seen));
	for (int i = 0; i < 3; i++)
		CHECK(!feed(&cursor, ping, sizeof(ping), &seen));
	CHECK(!feed(&cursor, ping, 0, &seen));
	CHECK_EQ(cursor.error, MQT_MQTT_E_QOS);
	CHECK_EQ(seen.packets, 0);
	CHECK(!mqt_mqtt_cursor_at_boundary(&cursor));
}

static void
test_cursor_adds_to_what_was_seen(void)
{
	struct mqt_mqtt_seen seen = { .packets = 7, .publishes = 3, .types = T(CONNECT) };
	struct mqt_mqtt_cursor cursor = { 0 };

	CHECK(feed(&cursor, (const uint8_t[]){ 0x30, 1, 0, 0xd0, 0 }, 5, &seen));
	CHECK_EQ(seen.packets, 9);
	CHECK_EQ(seen.publishes, 4);
	CHECK_EQ(seen.types, T(CONNECT) | T(PUBLISH) | T(PINGRESP));
}

static void
test_cursor_follows_the_longest_packet(void)
{
	size_t chunk = 1 << 20;
	uint8_t *body = malloc(chunk);
	struct mqt_mqtt_cursor cursor = { 0 };
	struct mqt_mqtt_seen seen = { 0 };
	uint32_t left = MQT_MQTT_REMAINING_MAX;

	memset(body, 0xff, chunk); /* would break the framing if it were looked at */
	CHECK(feed(&cursor, (const uint8_t[]){ 0x30, 0xff, 0xff, 0xff, 0x7f }, 5, &seen));
	for (; left > chunk; left -= (uint32_t)chunk) {
		CHECK_EQ(cursor.skip, left);
		CHECK(mqt_mqtt_cursor_feed(&cursor, body, chunk, &seen));
	}
	CHECK_EQ(seen.packets, 0);
	CHECK(mqt_mqtt_cursor_feed(&cursor, body, left, &seen));
	CHECK_EQ(seen.packets, 1);
	CHECK(mqt_mqtt_cursor_at_boundary(&cursor));
	free(body);
}

/* One packet of a random kind; returns its length and counts it. */
static size_t
mixed_packet(uint8_t *buf, size_t cap, uint32_t *random, struct mqt_mqtt_seen *seen)
{
	static const uint8_t acks[][4] = { { 0x40, 2, 0, 1 }, { 0x50, 2, 0, 1 }, { 0x62, 2, 0, 1 },
		{ 0x70, 2, 0, 1 }, { 0xb0, 2, 0, 1 }, { 0x20, 2, 0, 0 }, { 0xe0, 2, 0x8e, 0 } };
	static const uint32_t sizes[] = { 0, 1, 100, 115, 120, 122, 123, 124, 125, 126, 130, 1500,
		16370, 16380, 16390, 70000 };
	static uint8_t payload[70000];
	uint32_t kind = next_random(random) % 4, pick = next_random(random);
	struct mqt_mqtt_connect connect = { .version = 4, .clientid = bytes_of("mixed") };
	struct mqt_bytes body = { payload, sizes[pick % 16] };
	uint8_t qos = (uint8_t)(pick >> 8 & 1);
	size_t n;

	if (kind == 0)
		n = mqt_mqtt_publish_encode(buf, cap, (uint8_t)(3 + pick % 3), qos,
				qos ? 1 + (pick & 0xff) : 0, bytes_of("t"), body);
	else if (kind == 1)
		n = mqt_mqtt_empty_encode(buf, cap, MQT_MQTT_PINGREQ + pick % 3);
	else if (kind == 2)
		n = mqt_mqtt_connect_encode(buf, cap, &connect);
	else
		memcpy(buf, acks[pick % 7], n = 4);
	seen->packets++;
	seen->publishes += buf[0] >> 4 == MQT_MQTT_PUBLISH;
	seen->types |= (uint16_t)(1u << (buf[0] >> 4));
	return n;
}

static void
test_cursor_follows_a_large_mixed_stream(void)
{
	static const size_t chunks[] = { 1, 2, 3, 7, 536, 1448, 9000, 65536 };
	size_t cap = 32u << 20, len = 0;
	uint8_t *stream = malloc(cap);
	struct mqt_mqtt_seen want = { 0 };
	uint32_t random = 2463534242u;

	while (cap - len > 80000)
		len += mixed_packet(stream + len, cap - len, &random, &want);
	CHECK(want.packets > 1000 && want.publishes > 100);
	for (size_t i = 0; i <= sizeof(chunks) / sizeof(chunks[0]); i++) {
		struct mqt_mqtt_cursor cursor = { 0 };
		struct mqt_mqtt_seen seen = { 0 };
		size_t at = 0, n;

		/* The last round takes a size at random for each chunk. */
		for (; at < len; at += n) {
			n = chunks[i < 8 ? i : next_random(&random) % 8];
			n = n < len - at ? n : len - at;
			if (!mqt_mqtt_cursor_feed(&cursor, stream + at, n, &seen))
				break;
		}
		CHECK_EQ(at, len);
		CHECK_EQ(seen.packets, want.packets);
		CHECK_EQ(seen.publishes, want.publishes);
		CHECK_EQ(seen.types, want.types);
		CHECK(mqt_mqtt_cursor_at_boundary(&cursor));
	}
	free(stream);
}

static CU_TestInfo cursor_tests[] = {
	TEST(cursor_whole_and_byte_by_byte),
	TEST(cursor_cut_at_every_pair_of_bytes),
	TEST(cursor_stays_broken),
	TEST(cursor_adds_to_what_was_seen),
	TEST(cursor_follows_the_longest_packet),
	TEST(cursor_follows_a_large_mixed_stream),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "mqtt cursor", NULL, NULL, NULL, NULL, cursor_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return check_run(suites);
}
