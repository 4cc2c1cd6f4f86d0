/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LIB_MQTT_HEADER_H
#define LIB_MQTT_HEADER_H

#include "mqtrack/mqtt.h"

/* Judges the first byte of a packet: its type and its flags. MQT_MQTT_E_NONE where it is right. */
enum mqt_mqtt_error header_first_check(uint8_t first);

/* Whether the Remaining Length of a parsed header was written with more bytes than it needs. */
static inline bool
header_is_padded(const struct mqt_mqtt_header *header)
{
	return header->len > 2 && header->remaining >> (7 * (header->len - 2)) == 0;
}

#endif
