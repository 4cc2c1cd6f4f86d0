/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LIB_MQTT_HEADER_H
#define LIB_MQTT_HEADER_H

#include "mqtrack/mqtt.h"

/* Judges the first byte of a packet: its type and its flags. MQT_MQTT_E_NONE where it is right. */
enum mqt_mqtt_error header_first_check(uint8_t first);

/* For each type a bit for each value of the flags that is right. */
extern const uint16_t header_flags[16];

/* The same without a reason. */
static inline bool
header_first_ok(uint8_t first)
{
	return header_flags[first >> 4] >> (first & 0x0f) & 1;
}

#endif
