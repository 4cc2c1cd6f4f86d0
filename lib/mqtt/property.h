/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LIB_MQTT_PROPERTY_H
#define LIB_MQTT_PROPERTY_H

#include "bytes.h"

/* Property identifiers that have a meaning here (5.0 §2.2.2.2). */
enum property_id {
	PROPERTY_SESSION_EXPIRY = 0x11,
	PROPERTY_ASSIGNED_CLIENTID = 0x12,
	PROPERTY_SERVER_KEEPALIVE = 0x13,
};

/* Where a list of properties stands. */
enum property_place {
	PROPERTY_IN_CONNECT = 1 << 0,
	PROPERTY_IN_WILL = 1 << 1,
	PROPERTY_IN_CONNACK = 1 << 2,
	PROPERTY_IN_DISCONNECT = 1 << 3,
};

struct properties {
	uint64_t seen; /* bit 1 << id */
	uint32_t expiry_sec;
	uint16_t keepalive_sec;
	struct mqt_bytes assigned_clientid;
};

/* Reads a property length and the properties behind it. @p out is set on success only. */
enum mqt_mqtt_error properties_read(
		struct reader *r, enum property_place place, struct properties *out);

static inline bool
properties_have(const struct properties *p, enum property_id id)
{
	return p->seen >> id & 1;
}

#endif
