/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * CONNECT: the verdict on a prefix never contradicts the verdict on the whole; what was parsed lies
 * in the packet; the cursor sees the same packet; encoding what was parsed and parsing it again
 * gives the same.
 */

#include "fuzz.h"
#include "mqtrack/mqtt.h"

static bool
bytes_equal(struct mqt_bytes a, struct mqt_bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static void
check_same(const struct mqt_mqtt_connect *a, const struct mqt_mqtt_connect *b)
{
	FUZZ_CHECK(a->version == b->version && a->bridge == b->bridge);
	FUZZ_CHECK(a->clean_start == b->clean_start && a->has_will == b->has_will);
	FUZZ_CHECK(a->will_qos == b->will_qos && a->will_retain == b->will_retain);
	FUZZ_CHECK(a->has_username == b->has_username && a->has_expiry == b->has_expiry);
	FUZZ_CHECK(a->keepalive_sec == b->keepalive_sec && a->expiry_sec == b->expiry_sec);
	FUZZ_CHECK(bytes_equal(a->clientid, b->clientid) && bytes_equal(a->username, b->username));
}

/* A prefix has the verdict of the whole, or is incomplete where the whole is not decided there. */
static void
check_prefix(const uint8_t *data, size_t len, enum mqt_parse whole, enum mqt_mqtt_error whole_error,
		uint32_t packet_len)
{
	enum mqt_mqtt_error error = MQT_MQTT_E_NONE;
	uint8_t *prefix = fuzz_copy(data, len);
	struct mqt_mqtt_connect c;
	enum mqt_parse parse = mqt_mqtt_connect_parse(prefix, len, &c, &error);

	FUZZ_CHECK(parse == whole || parse == MQT_PARSE_MORE);
	if (parse == MQT_PARSE_BAD)
		FUZZ_CHECK(error == whole_error);
	if (whole == MQT_PARSE_OK)
		FUZZ_CHECK((parse == MQT_PARSE_OK) == (len >= packet_len));
	free(prefix);
}

static void
check_inside(const uint8_t *data, uint32_t packet_len, struct mqt_bytes bytes)
{
	FUZZ_CHECK((bytes.ptr != NULL) || bytes.len == 0);
	if (bytes.ptr == NULL)
		return;
	FUZZ_CHECK(bytes.ptr > data && bytes.ptr + bytes.len <= data + packet_len);
	FUZZ_CHECK(bytes.len == 0 || memchr(bytes.ptr, 0, bytes.len) == NULL);
}

static void
check_framing(const uint8_t *data, uint32_t packet_len)
{
	struct mqt_mqtt_cursor cursor = { 0 };
	struct mqt_mqtt_seen seen = { 0 };
	struct mqt_mqtt_header header;

	FUZZ_CHECK(mqt_mqtt_header_parse(data, packet_len, &header, NULL) == MQT_PARSE_OK);
	FUZZ_CHECK(header.type == MQT_MQTT_CONNECT && header.len + header.remaining == packet_len);
	FUZZ_CHECK(mqt_mqtt_cursor_feed(&cursor, data, packet_len, &seen));
	FUZZ_CHECK(seen.packets == 1 && seen.types == 1 << MQT_MQTT_CONNECT);
	FUZZ_CHECK(mqt_mqtt_cursor_at_boundary(&cursor));
}

static void
check_round_trip(const struct mqt_mqtt_connect *c)
{
	size_t cap = 64 + (size_t)c->clientid.len + c->username.len, len, again;
	uint8_t *buf = malloc(cap), *second = malloc(cap);
	struct mqt_mqtt_connect parsed;

	FUZZ_CHECK(buf != NULL && second != NULL);
	len = mqt_mqtt_connect_encode(buf, cap, c);
	FUZZ_CHECK(len > 0);
	FUZZ_CHECK(mqt_mqtt_connect_parse(buf, len, &parsed, NULL) == MQT_PARSE_OK);
	FUZZ_CHECK(parsed.packet_len == len);
	check_same(&parsed, c);
	again = mqt_mqtt_connect_encode(second, cap, &parsed);
	FUZZ_CHECK(again == len && memcmp(buf, second, len) == 0);
	free(buf);
	free(second);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum mqt_mqtt_error error = MQT_MQTT_E_NONE;
	struct mqt_mqtt_connect c = { 0 };
	enum mqt_parse parse = mqt_mqtt_connect_parse(data, size, &c, &error);

	FUZZ_CHECK((parse == MQT_PARSE_BAD) == (error != MQT_MQTT_E_NONE));
	for (size_t len = 0; len <= 32 && len < size; len++)
		check_prefix(data, len, parse, error, c.packet_len);
	for (size_t len = size; len > 0 && len > size - size / 2; len -= 1 + len / 8)
		check_prefix(data, len - 1, parse, error, c.packet_len);
	if (parse != MQT_PARSE_OK)
		return 0;
	FUZZ_CHECK(c.packet_len <= size && c.version >= 3 && c.version <= 5 && c.will_qos <= 2);
	check_inside(data, c.packet_len, c.clientid);
	check_inside(data, c.packet_len, c.username);
	check_framing(data, c.packet_len);
	check_round_trip(&c);
	return 0;
}
