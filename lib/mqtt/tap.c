/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Tap: the framing cursor, and beside it a look into the packets a session is made of.
 *
 * What is read of a packet: the fields at fixed places (packet id, reason code; in a PUBLISH the
 * packet id behind the topic) go into one word as their bytes pass, so that nothing is allocated
 * for them and a payload is never looked at. Only SUBSCRIBE, UNSUBSCRIBE, their answers and
 * DISCONNECT are given whole: where they lie when one feed has the whole body, else collected.
 *
 * Life-cycle of a packet: its header passes through the cursor; with the first bytes of its body it
 * is decided whether the body is in one piece, is collected (part is not NULL from then on) or is
 * too long (part stays NULL while bytes of the body have passed); with its last byte it is
 * reported and fields and part are empty again. Where a body has got to is partial - skip of the
 * cursor. So all state between two bytes is in the tap, and how the stream is cut makes no
 * difference. Owner: the caller, one thread at a time.
 *
 * Wrong contents never break the framing: the broker judges them, and closes the flow or goes on.
 *
 * Sources: MQTT 5.0 §2.2.1, §3.3.2, §3.4.2 to §3.7.2, §3.8 to §3.11, §3.14; MQTT 3.1.1 §3.3, §3.4.
 */

#include "bytes.h"
#include "cursor.h"
#include "mqtrack/mqtt.h"
#include "property.h"

#include <stdlib.h>
#include <string.h>

#define BIT(type) (1u << MQT_MQTT_##type)

/* Types that are reported, beside PUBLISH. */
#define WANTED                                                                                     \
	(BIT(PUBACK) | BIT(PUBREC) | BIT(PUBREL) | BIT(PUBCOMP) | BIT(SUBSCRIBE) | BIT(SUBACK) |   \
			BIT(UNSUBSCRIBE) | BIT(UNSUBACK) | BIT(DISCONNECT))
/* Types that are reported with their bodies. */
#define WITH_BODY                                                                                  \
	(BIT(SUBSCRIBE) | BIT(SUBACK) | BIT(UNSUBSCRIBE) | BIT(UNSUBACK) | BIT(DISCONNECT))
/* Types whose third byte is a reason code in 5.0. */
#define REASON_BEHIND_ID (BIT(PUBACK) | BIT(PUBREC) | BIT(PUBREL) | BIT(PUBCOMP))

/* Bytes of a body that pass at once. */
struct piece {
	const uint8_t *ptr;
	uint32_t at; /* where in the body the first one is */
	uint32_t len;
};

static inline uint8_t
publish_qos(uint8_t first)
{
	return first >> 1 & 3;
}

static inline bool
wanted(uint8_t first)
{
	unsigned type = first >> 4;

	return type == MQT_MQTT_PUBLISH ? publish_qos(first) > 0 : WANTED >> type & 1;
}

static inline bool
with_body(uint8_t first)
{
	return WITH_BODY >> (first >> 4) & 1;
}

/* The byte at @p at of the body, in the place @p shift of the fields, if it is in this piece. */
static inline void
field_take(uint32_t *fields, const struct piece *piece, uint32_t at, unsigned shift)
{
	if (at - piece->at < piece->len)
		*fields |= (uint32_t)piece->ptr[at - piece->at] << shift;
}

/* PUBLISH: topic length in the upper half, packet id in the lower. */
static void
publish_take(uint32_t *fields, const struct piece *piece)
{
	uint32_t id_at;

	field_take(fields, piece, 0, 24);
	field_take(fields, piece, 1, 16);
	if (piece->at + piece->len <= 2)
		return;
	id_at = 2 + (*fields >> 16);
	field_take(fields, piece, id_at, 8);
	field_take(fields, piece, id_at + 1, 0);
}

/* All others: packet id in the upper half, reason code in the lower. */
static void
fields_take(struct mqt_mqtt_tap *tap, const struct piece *piece)
{
	unsigned type = tap->cursor.first >> 4;

	if (type == MQT_MQTT_PUBLISH) {
		publish_take(&tap->fields, piece);
	} else if (type == MQT_MQTT_DISCONNECT) {
		field_take(&tap->fields, piece, 0, 0);
	} else {
		field_take(&tap->fields, piece, 0, 24);
		field_take(&tap->fields, piece, 1, 16);
		if (REASON_BEHIND_ID >> type & 1)
			field_take(&tap->fields, piece, 2, 0);
	}
}

/*
 * Keeps a piece of a body that is cut. A body too long, or without memory for it, is left alone:
 * its later pieces find no allocation.
 */
static void
part_take(struct mqt_mqtt_tap *tap, const struct piece *piece, uint32_t max_body)
{
	uint32_t body_len = tap->cursor.partial;

	if (piece->at == 0 && body_len <= max_body)
		tap->part = malloc(body_len);
	if (tap->part != NULL)
		memcpy(tap->part + piece->at, piece->ptr, piece->len);
}

/* The packet id, or 0 where the packet is too short for one. */
static uint16_t
packet_id(const struct mqt_mqtt_tap *tap)
{
	uint32_t body_len = tap->cursor.partial;

	if (tap->cursor.first >> 4 == MQT_MQTT_PUBLISH)
		return body_len >= 4 + (tap->fields >> 16) ? (uint16_t)tap->fields : 0;
	return body_len >= 2 ? (uint16_t)(tap->fields >> 16) : 0;
}

/* What a feed reports to, and how. */
struct sink {
	mqt_mqtt_packet_fn fn;
	void *arg;
	uint32_t max_body;
	uint8_t version;
};

/* @param body of the packet; NULL where it is not there. */
static void
report(const struct mqt_mqtt_tap *tap, const uint8_t *body, const struct sink *sink)
{
	uint8_t first = tap->cursor.first;
	struct mqt_mqtt_packet packet = { .type = first >> 4, .flags = first & 0x0f };

	if (packet.type == MQT_MQTT_PUBLISH)
		packet.qos = publish_qos(first);
	else if (sink->version == 5) /* in 3.x a byte more is wrong, but brokers may let it pass */
		packet.reason = (uint8_t)tap->fields;
	if (packet.type != MQT_MQTT_DISCONNECT) {
		packet.packet_id = packet_id(tap);
		if (packet.packet_id == 0)
			return;
	}
	if (with_body(first) && tap->cursor.partial > 0) {
		packet.oversize = body == NULL;
		if (body != NULL)
			packet.body = (struct mqt_bytes){ body, tap->cursor.partial };
	}
	sink->fn(sink->arg, &packet);
}

/* Reports the packet that is complete and makes the tap ready for the next one. */
static void
wanted_complete(struct mqt_mqtt_tap *tap, const uint8_t *body, const struct sink *sink)
{
	report(tap, body, sink);
	free(tap->part);
	tap->part = NULL;
	tap->fields = 0;
}

/*
 * Takes @p len bytes of the body of a packet that is wanted, at most to its end.
 * Out of line, for the loop of a feed is to keep to itself what most packets need.
 */
static __attribute__((noinline)) void
body_take(struct mqt_mqtt_tap *tap, const uint8_t *data, uint32_t len, struct mqt_mqtt_seen *seen,
		const struct sink *sink)
{
	struct mqt_mqtt_cursor *cursor = &tap->cursor;
	struct piece piece = { data, cursor->partial - cursor->skip, len };
	const uint8_t *whole = NULL;

	fields_take(tap, &piece);
	if (len == cursor->partial && len <= sink->max_body)
		whole = data;
	else if (with_body(cursor->first))
		part_take(tap, &piece, sink->max_body);
	cursor->skip -= len;
	if (cursor->skip > 0)
		return;
	cursor_complete(cursor, seen);
	wanted_complete(tap, whole != NULL ? whole : tap->part, sink);
}

/*
 * Packets of the most frequent kinds that lie whole at the begin of @p data, the stream being at a
 * boundary: a PUBLISH with QoS 0, PINGREQ, PINGRESP, shorter than 128 bytes.
 * @return the bytes of as many as there are.
 */
static inline size_t
take_frequent(struct mqt_mqtt_cursor *cursor, const uint8_t *data, size_t len,
		struct mqt_mqtt_seen *seen)
{
	size_t at = 0;

	while (len - at >= 2) {
		uint8_t first = data[at], body_len = data[at + 1];
		bool publish = (first & 0xf6) == MQT_MQTT_PUBLISH << 4;

		if (!publish && first != MQT_MQTT_PINGREQ << 4 && first != MQT_MQTT_PINGRESP << 4)
			break;
		if (body_len >= 0x80 || 2u + body_len > len - at)
			break;
		seen->packets++;
		seen->publishes += publish;
		seen->types |= (uint16_t)(1u << (first >> 4));
		cursor->first = first;
		cursor->partial = body_len;
		at += 2u + body_len;
	}
	return at;
}

bool
mqt_mqtt_tap_feed(struct mqt_mqtt_tap *tap, const uint8_t *data, size_t len, uint8_t version,
		uint32_t max_body, struct mqt_mqtt_seen *seen, mqt_mqtt_packet_fn fn, void *arg)
{
	const struct sink sink = { fn, arg, max_body, version };
	struct mqt_mqtt_cursor *cursor = &tap->cursor;
	const uint8_t *end = data + len;

	if (cursor->error != MQT_MQTT_E_NONE)
		return false;
	if (mqt_mqtt_cursor_at_boundary(cursor))
		data += take_frequent(cursor, data, len, seen);
	while (data < end) {
		size_t left = (size_t)(end - data);
		uint32_t n;

		if (cursor->skip > 0) {
			n = cursor->skip <= left ? cursor->skip : (uint32_t)left;
			if (wanted(cursor->first)) {
				body_take(tap, data, n, seen, &sink);
			} else {
				cursor->skip -= n;
				if (cursor->skip == 0)
					cursor_complete(cursor, seen);
			}
			data += n;
			continue;
		}
		n = cursor_header(cursor, data, left, seen);
		if (n == 0)
			return false;
		data += n;
		if (mqt_mqtt_cursor_at_boundary(cursor) && wanted(cursor->first))
			wanted_complete(tap, NULL, &sink);
	}
	return true;
}

bool
mqt_mqtt_tap_skip(struct mqt_mqtt_tap *tap, uint32_t n)
{
	struct mqt_mqtt_cursor *cursor = &tap->cursor;
	uint32_t at = cursor->partial - cursor->skip;

	if (cursor->skip <= n)
		return false;
	if (wanted(cursor->first)) {
		/* behind its packet id a PUBLISH has nothing that is read */
		if (cursor->first >> 4 != MQT_MQTT_PUBLISH || at < 4 + (tap->fields >> 16))
			return false;
	}
	cursor->skip -= n;
	return true;
}

void
mqt_mqtt_tap_fini(struct mqt_mqtt_tap *tap)
{
	free(tap->part);
	*tap = (struct mqt_mqtt_tap){ 0 };
}

bool
mqt_mqtt_disconnect_expiry(struct mqt_bytes body, uint32_t *expiry_sec)
{
	struct properties properties;
	struct reader r;

	if (body.len < 2) /* reason code and properties may both be left out */
		return false;
	r = (struct reader){ body.ptr + 1, body.ptr + body.len };
	if (properties_read(&r, PROPERTY_IN_DISCONNECT, &properties) != MQT_MQTT_E_NONE)
		return false;
	if (reader_left(&r) > 0 || !properties_have(&properties, PROPERTY_SESSION_EXPIRY))
		return false;
	*expiry_sec = properties.expiry_sec;
	return true;
}
