/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Framing cursor: follows one direction of a stream by its fixed headers only.
 *
 * Life-cycle: zeroed at a packet boundary (n_header and skip are 0). The first byte of a packet sets
 * n_header to 1; each byte of its Remaining Length adds one; the last of them sets skip and n_header
 * back to 0. Bodies are skipped by count. The packet is complete when skip is back at 0. A broken
 * cursor keeps its error, and n_header not 0, so that it never claims to stand at a boundary.
 *
 * Between two bytes all state is in the cursor; so the result does not depend on how a stream is
 * cut. Owner: the caller, one thread at a time.
 *
 * Sources: MQTT 5.0 §2.1; mistakes of others: a length cut in the middle of its var-int is
 * incomplete, not malformed.
 */

#include "header.h"
#include "mqtrack/mqtt.h"

/* Length bytes that may follow the first byte. */
#define LENGTH_BYTES_MAX 4

static void
complete(const struct mqt_mqtt_cursor *cursor, struct mqt_mqtt_seen *seen)
{
	seen->packets++;
	seen->publishes += cursor->first >> 4 == MQT_MQTT_PUBLISH;
}

static bool
first_byte(struct mqt_mqtt_cursor *cursor, uint8_t byte, struct mqt_mqtt_seen *seen)
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

static bool
length_byte(struct mqt_mqtt_cursor *cursor, uint8_t byte, struct mqt_mqtt_seen *seen)
{
	cursor->partial |= (uint32_t)(byte & 0x7f) << (7 * (cursor->n_header - 1));
	if (byte & 0x80) {
		if (cursor->n_header == LENGTH_BYTES_MAX) {
			cursor->error = MQT_MQTT_E_VARINT;
			return false;
		}
		cursor->n_header++;
		return true;
	}
	cursor->skip = cursor->partial;
	cursor->n_header = 0;
	if (cursor->skip == 0)
		complete(cursor, seen);
	return true;
}

bool
mqt_mqtt_cursor_feed(struct mqt_mqtt_cursor *cursor, const uint8_t *data, size_t len,
		struct mqt_mqtt_seen *seen)
{
	const uint8_t *end = data + len;

	if (cursor->error != MQT_MQTT_E_NONE)
		return false;
	while (data < end) {
		size_t left = (size_t)(end - data);
		bool ok;

		if (cursor->skip > left) {
			cursor->skip -= (uint32_t)left;
			return true;
		}
		if (cursor->skip > 0) {
			data += cursor->skip;
			cursor->skip = 0;
			complete(cursor, seen);
			continue;
		}
		ok = cursor->n_header == 0 ? first_byte(cursor, *data, seen)
					   : length_byte(cursor, *data, seen);
		if (!ok)
			return false;
		data++;
	}
	return true;
}
