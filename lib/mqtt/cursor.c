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

#include "cursor.h"

#include "mqtrack/mqtt.h"

bool
mqt_mqtt_cursor_feed(struct mqt_mqtt_cursor *cursor, const uint8_t *data, size_t len,
		struct mqt_mqtt_seen *seen)
{
	const uint8_t *end = data + len;

	if (cursor->error != MQT_MQTT_E_NONE)
		return false;
	while (data < end) {
		size_t left = (size_t)(end - data);
		unsigned n;

		if (cursor->skip > left) {
			cursor->skip -= (uint32_t)left;
			return true;
		}
		if (cursor->skip > 0) {
			data += cursor->skip;
			cursor->skip = 0;
			cursor_complete(cursor, seen);
			continue;
		}
		n = cursor_header(cursor, data, left, seen);
		if (n == 0)
			return false;
		data += n;
	}
	return true;
}
