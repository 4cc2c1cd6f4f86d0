/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LIB_MQTT_BYTES_H
#define LIB_MQTT_BYTES_H

/*
 * Reader over the bytes of one whole packet, or of one part of it that has its own length.
 *
 * Whole packets only: the end of the reader is the end that the packet itself states, so a field
 * that passes it is malformed (MQT_MQTT_E_LENGTH) and never a matter of waiting. What can be
 * judged of an incomplete packet is judged before a reader is made.
 *
 * Every function takes its bytes and returns MQT_MQTT_E_NONE, or returns an error; after an error
 * the reader is not used again.
 */

#include "mqtrack/mqtt.h"
#include "utf8.h"

struct reader {
	const uint8_t *ptr;
	const uint8_t *end;
};

static inline size_t
reader_left(const struct reader *r)
{
	return (size_t)(r->end - r->ptr);
}

static inline enum mqt_mqtt_error
reader_u8(struct reader *r, uint8_t *value)
{
	if (reader_left(r) < 1)
		return MQT_MQTT_E_LENGTH;
	*value = *r->ptr++;
	return MQT_MQTT_E_NONE;
}

static inline enum mqt_mqtt_error
reader_u16(struct reader *r, uint16_t *value)
{
	if (reader_left(r) < 2)
		return MQT_MQTT_E_LENGTH;
	*value = (uint16_t)(r->ptr[0] << 8 | r->ptr[1]);
	r->ptr += 2;
	return MQT_MQTT_E_NONE;
}

static inline enum mqt_mqtt_error
reader_u32(struct reader *r, uint32_t *value)
{
	if (reader_left(r) < 4)
		return MQT_MQTT_E_LENGTH;
	*value = (uint32_t)r->ptr[0] << 24 | (uint32_t)r->ptr[1] << 16 | (uint32_t)r->ptr[2] << 8 |
			r->ptr[3];
	r->ptr += 4;
	return MQT_MQTT_E_NONE;
}

/* A variable byte integer (5.0 §1.5.5); one longer than it needs to be is taken. */
static inline enum mqt_mqtt_error
reader_varint(struct reader *r, uint32_t *value)
{
	uint32_t v = 0;
	uint8_t byte;

	for (unsigned i = 0; i < 4; i++) {
		if (reader_u8(r, &byte) != MQT_MQTT_E_NONE)
			return MQT_MQTT_E_LENGTH;
		v |= (uint32_t)(byte & 0x7f) << (7 * i);
		if (byte & 0x80)
			continue;
		*value = v;
		return MQT_MQTT_E_NONE;
	}
	return MQT_MQTT_E_VARINT;
}

/* Two bytes of length and as many bytes (5.0 §1.5.6). */
static inline enum mqt_mqtt_error
reader_binary(struct reader *r, struct mqt_bytes *out)
{
	uint16_t len;

	if (reader_u16(r, &len) != MQT_MQTT_E_NONE || reader_left(r) < len)
		return MQT_MQTT_E_LENGTH;
	out->ptr = r->ptr;
	out->len = len;
	r->ptr += len;
	return MQT_MQTT_E_NONE;
}

/* The same, and it must be well-formed UTF-8 without U+0000 (5.0 §1.5.4). */
static inline enum mqt_mqtt_error
reader_string(struct reader *r, struct mqt_bytes *out)
{
	enum mqt_mqtt_error e = reader_binary(r, out);

	if (e == MQT_MQTT_E_NONE && !utf8_valid(out->ptr, out->len))
		e = MQT_MQTT_E_STRING;
	return e;
}

/* Splits off the next @p len bytes as a reader of their own. */
static inline enum mqt_mqtt_error
reader_split(struct reader *r, uint32_t len, struct reader *part)
{
	if (reader_left(r) < len)
		return MQT_MQTT_E_LENGTH;
	part->ptr = r->ptr;
	part->end = r->ptr + len;
	r->ptr += len;
	return MQT_MQTT_E_NONE;
}

/* How a parser ends with BAD. */
static inline enum mqt_parse
parse_bad(enum mqt_mqtt_error *out, enum mqt_mqtt_error error)
{
	if (out != NULL)
		*out = error;
	return MQT_PARSE_BAD;
}

#endif
