/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The tap; the first four bytes of an input say where the stream behind them is cut, the fifth
 * which version it is and the sixth how long a body may be. Fed whole, in two cuts, byte by byte:
 * the same packets in the same order, the framing of the plain cursor, and nothing left behind.
 */

#include "fuzz.h"
#include "mqtrack/mqtt.h"

/* What was reported, one packet behind the other. */
struct log {
	uint8_t *bytes;
	size_t len, cap;
};

struct result {
	struct mqt_mqtt_tap tap;
	struct mqt_mqtt_seen seen;
	struct log log;
	uint32_t max_body;
	uint8_t version;
	bool ok;
};

static void
log_put(struct log *log, const void *bytes, size_t len)
{
	if (len == 0)
		return;
	if (log->cap - log->len < len) {
		log->cap = 2 * (log->cap + len);
		log->bytes = realloc(log->bytes, log->cap);
		FUZZ_CHECK(log->bytes != NULL);
	}
	memcpy(log->bytes + log->len, bytes, len);
	log->len += len;
}

static void
check_packet(const struct result *r, const struct mqt_mqtt_packet *packet)
{
	bool with_body = packet->type >= MQT_MQTT_SUBSCRIBE;

	FUZZ_CHECK((packet->packet_id != 0) == (packet->type != MQT_MQTT_DISCONNECT));
	FUZZ_CHECK((packet->qos > 0) == (packet->type == MQT_MQTT_PUBLISH));
	FUZZ_CHECK(packet->reason == 0 || r->version == 5);
	FUZZ_CHECK(packet->body.len <= r->max_body);
	FUZZ_CHECK((packet->body.ptr == NULL) == (packet->body.len == 0));
	if (packet->oversize || !with_body)
		FUZZ_CHECK(packet->body.len == 0);
	else if (packet->type != MQT_MQTT_DISCONNECT)
		FUZZ_CHECK((packet->body.ptr[0] << 8 | packet->body.ptr[1]) == packet->packet_id);
}

static void
on_packet(void *arg, const struct mqt_mqtt_packet *packet)
{
	struct result *r = arg;
	const uint8_t head[] = { packet->type, packet->flags, packet->qos, packet->reason,
		(uint8_t)(packet->packet_id >> 8), (uint8_t)packet->packet_id, packet->oversize };
	uint32_t expiry_sec;

	check_packet(r, packet);
	log_put(&r->log, head, sizeof(head));
	log_put(&r->log, &packet->body.len, sizeof(packet->body.len));
	log_put(&r->log, packet->body.ptr, packet->body.len);
	if (packet->type == MQT_MQTT_DISCONNECT &&
			mqt_mqtt_disconnect_expiry(packet->body, &expiry_sec))
		log_put(&r->log, &expiry_sec, sizeof(expiry_sec));
}

static void
feed(struct result *r, const uint8_t *data, size_t len)
{
	uint8_t *copy = fuzz_copy(data, len);

	r->ok = mqt_mqtt_tap_feed(
			&r->tap, copy, len, r->version, r->max_body, &r->seen, on_packet, r);
	FUZZ_CHECK(r->ok == (r->tap.cursor.error == MQT_MQTT_E_NONE));
	if (mqt_mqtt_cursor_at_boundary(&r->tap.cursor))
		FUZZ_CHECK(r->tap.part == NULL && r->tap.fields == 0);
	free(copy);
}

static void
check_same(const struct result *a, const struct result *b)
{
	FUZZ_CHECK(memcmp(&a->tap.cursor, &b->tap.cursor, sizeof(a->tap.cursor)) == 0);
	FUZZ_CHECK(a->tap.fields == b->tap.fields);
	FUZZ_CHECK((a->tap.part == NULL) == (b->tap.part == NULL));
	FUZZ_CHECK(memcmp(&a->seen, &b->seen, sizeof(a->seen)) == 0);
	FUZZ_CHECK(a->ok == b->ok);
	FUZZ_CHECK(a->log.len == b->log.len);
	if (a->log.len > 0)
		FUZZ_CHECK(memcmp(a->log.bytes, b->log.bytes, a->log.len) == 0);
}

static void
check_framing(const struct result *r, const uint8_t *data, size_t size)
{
	struct mqt_mqtt_cursor cursor = { 0 };
	struct mqt_mqtt_seen seen = { 0 };

	FUZZ_CHECK(mqt_mqtt_cursor_feed(&cursor, data, size, &seen) == r->ok);
	FUZZ_CHECK(memcmp(&r->tap.cursor, &cursor, sizeof(cursor)) == 0);
	FUZZ_CHECK(memcmp(&r->seen, &seen, sizeof(seen)) == 0);
}

static void
result_fini(struct result *r)
{
	mqt_mqtt_tap_fini(&r->tap);
	free(r->log.bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct result whole = { .ok = true }, cut, single;
	size_t a, b;

	if (size < 6)
		return 0;
	a = (size_t)data[0] << 8 | data[1];
	b = (size_t)data[2] << 8 | data[3];
	whole.version = 3 + data[4] % 3;
	whole.max_body = data[5];
	data += 6;
	size -= 6;
	a %= size + 1;
	b = a + b % (size - a + 1);
	cut = whole;
	single = whole;

	feed(&whole, data, size);
	feed(&cut, data, a);
	feed(&cut, data + a, b - a);
	feed(&cut, data + b, size - b);
	check_same(&whole, &cut);
	for (size_t i = 0; i < size; i++)
		feed(&single, data + i, 1);
	check_same(&whole, &single);
	check_framing(&whole, data, size);
	result_fini(&whole);
	result_fini(&cut);
	result_fini(&single);
	return 0;
}
