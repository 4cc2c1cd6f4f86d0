/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LIB_MQTT_CURSOR_H
#define LIB_MQTT_CURSOR_H

/*
 * The steps of the framing cursor, shared by it and by the tap, so that both follow the same rules.
 * cursor.c says what the fields of a cursor hold when. While a body is skipped, partial still holds
 * its whole length.
 */

#include "header.h"
#include "mqtrack/mqtt.h"

/* Length bytes that may follow the first byte. */
#define CURSOR_LENGTH_BYTES_MAX 4

static inline void
cursor_complete(const struct mqt_mqtt_cursor *cursor, struct mqt_mqtt_seen *seen)
{
	seen->packets++;
	seen->publishes += cursor->first >> 4 == MQT_MQTT_PUBLISH;
}

static inline bool
cursor_first_byte(struct mqt_mqtt_cursor *cursor, uint8_t byte, struct mqt_mqtt_seen *seen)
{
	enum mqt_mqtt_error e = header_first_check(byte);

	cursor->first = byte;
	cursor->partial = 0;
	cursor->n_header = 1;
	if (e != MQT_MQTT_E_NONE) {
		cursor->error = (uint8_t)e;
		return false;
	}
	seen->types |= (uint16_t)(1u << (byte >> 4));
	return true;
}

/* A packet without a body is complete with its last length byte. */
static inline bool
cursor_length_byte(struct mqt_mqtt_cursor *cursor, uint8_t byte, struct mqt_mqtt_seen *seen)
{
	cursor->partial |= (uint32_t)(byte & 0x7f) << (7 * (cursor->n_header - 1));
	if (byte & 0x80) {
		if (cursor->n_header == CURSOR_LENGTH_BYTES_MAX) {
			cursor->error = MQT_MQTT_E_VARINT;
			return false;
		}
		cursor->n_header++;
		return true;
	}
	cursor->skip = cursor->partial;
	cursor->n_header = 0;
	if (cursor->skip == 0)
		cursor_complete(cursor, seen);
	return true;
}

static inline bool
cursor_header_byte(struct mqt_mqtt_cursor *cursor, uint8_t byte, struct mqt_mqtt_seen *seen)
{
	return cursor->n_header == 0 ? cursor_first_byte(cursor, byte, seen)
				     : cursor_length_byte(cursor, byte, seen);
}

/*
 * Takes what there is of a fixed header: the whole of it in one step where it is right and has one or
 * two length bytes, as nearly all have, else one byte.
 * @param data of @p left bytes, at least one; the cursor stands in no body.
 * @return bytes taken; 0: the framing is broken.
 */
static inline unsigned
cursor_header(struct mqt_mqtt_cursor *cursor, const uint8_t *data, size_t left,
		struct mqt_mqtt_seen *seen)
{
	unsigned n = 2;
	uint32_t len;

	if (cursor->n_header > 0 || left < 2 || !header_first_ok(data[0]))
		return cursor_header_byte(cursor, *data, seen);
	len = data[1];
	if (len & 0x80) {
		if (left < 3 || data[2] & 0x80)
			return cursor_header_byte(cursor, *data, seen);
		len = (len & 0x7f) | (uint32_t)data[2] << 7;
		n = 3;
	}
	cursor->first = data[0];
	cursor->partial = len;
	cursor->skip = len;
	seen->types |= (uint16_t)(1u << (data[0] >> 4));
	if (len == 0)
		cursor_complete(cursor, seen);
	return n;
}

#endif
