/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LIB_MQTT_HEADER_H
#define LIB_MQTT_HEADER_H

#include "mqtrack/mqtt.h"

/* Judges the first byte of a packet: its type and its flags. MQT_MQTT_E_NONE where it is right. */
enum mqt_mqtt_error header_first_check(uint8_t first);

#endif
