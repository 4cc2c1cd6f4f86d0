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

#endif
