/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The framing cursor; the first four bytes of an input say where the stream behind them is cut.
 * Fed whole, in two cuts, byte by byte: the same; and the same as header by header.
 */

#include "fuzz.h"
#include "mqtrack/mqtt.h"

struct result {
	struct mqt_mqtt_cursor cursor;
	struct mqt_mqtt_seen seen;
	bool ok;
};

static void
feed(struct result *r, const uint8_t *data, size_t len)
{
	uint8_t *copy = fuzz_copy(data, len);

	r->ok = mqt_mqtt_cursor_feed(&r->cursor, copy, len, &r->seen);
	FUZZ_CHECK(r->ok == (r->cursor.error == MQT_MQTT_E_NONE));
	free(copy);
}

static void
check_same(const struct result *a, const struct result *b)
{
	FUZZ_CHECK(memcmp(&a->cursor, &b->cursor, sizeof(a->cursor)) == 0);
	FUZZ_CHECK(memcmp(&a->seen, &b->seen, sizeof(a->seen)) == 0);
	FUZZ_CHECK(a->ok == b->ok);
}

/* Follows the stream by whole headers, as a second opinion. */
static void
check_against_headers(const struct result *r, const uint8_t *data, size_t size)
{
	enum mqt_mqtt_error error = MQT_MQTT_E_NONE;
	enum mqt_parse parse = MQT_PARSE_OK;
	uint32_t packets = 0, publishes = 0;
	uint16_t types = 0;
	size_t at = 0, left = 0;

	while (at < size && left == 0) {
		struct mqt_mqtt_header h;

		parse = mqt_mqtt_header_parse(data + at, size - at, &h, &error);
		if (parse != MQT_PARSE_BAD || error == MQT_MQTT_E_VARINT)
			types |= (uint16_t)(1u << (data[at] >> 4));
		if (parse != MQT_PARSE_OK)
			break;
		at += h.len;
		if (h.remaining > size - at) {
			left = h.remaining - (size - at);
			break;
		}
		at += h.remaining;
		packets++;
		publishes += h.type == MQT_MQTT_PUBLISH;
	}
	FUZZ_CHECK(r->seen.packets == packets && r->seen.publishes == publishes);
	FUZZ_CHECK(r->seen.types == types && r->cursor.error == error);
	FUZZ_CHECK(r->cursor.skip == left);
	FUZZ_CHECK(mqt_mqtt_cursor_at_boundary(&r->cursor) == (at == size && left == 0));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct result whole = { 0 }, cut = { 0 }, single = { 0 };
	size_t a, b;

	if (size < 4)
		return 0;
	a = (size_t)data[0] << 8 | data[1];
	b = (size_t)data[2] << 8 | data[3];
	data += 4;
	size -= 4;
	a %= size + 1;
	b = a + b % (size - a + 1);

	feed(&whole, data, size);
	feed(&cut, data, a);
	feed(&cut, data + a, b - a);
	feed(&cut, data + b, size - b);
	check_same(&whole, &cut);
	single.ok = true;
	for (size_t i = 0; i < size; i++)
		feed(&single, data + i, 1);
	check_same(&whole, &single);
	check_against_headers(&whole, data, size);
	return 0;
}
