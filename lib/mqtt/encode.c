/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Encoders of the packets that the tracker injects and that tests and generators send.
 *
 * Each states the length of its body first, begins the packet with it (which checks the room and
 * writes the fixed header), writes the fields and ends it. Lengths and counts are checked because a
 * wrong one would break the framing; whether strings are well-formed is the caller's matter, so
 * that tests can make wrong packets.
 *
 * No state; any thread.
 *
 * Sources: MQTT 5.0 §3.1, §3.2, §3.3, §3.14; MQTT 3.1.1 §3; MQTT 3.1 §3.
 */

#include "mqtrack/mqtt.h"
#include "property.h"

#include <string.h>

struct writer {
	uint8_t *begin;
	uint8_t *ptr;
};

static void
put_u8(struct writer *w, uint8_t value)
{
	*w->ptr++ = value;
}

static void
put_u16(struct writer *w, uint16_t value)
{
	put_u8(w, (uint8_t)(value >> 8));
	put_u8(w, (uint8_t)value);
}

static void
put_u32(struct writer *w, uint32_t value)
{
	put_u16(w, (uint16_t)(value >> 16));
	put_u16(w, (uint16_t)value);
}

static void
put_raw(struct writer *w, struct mqt_bytes bytes)
{
	if (bytes.len > 0)
		memcpy(w->ptr, bytes.ptr, bytes.len);
	w->ptr += bytes.len;
}

static void
put_string(struct writer *w, struct mqt_bytes bytes)
{
	put_u16(w, (uint16_t)bytes.len);
	put_raw(w, bytes);
}

static size_t
varint_len(uint32_t value)
{
	return value < 1u << 7 ? 1 : value < 1u << 14 ? 2 : value < 1u << 21 ? 3 : 4;
}

static void
put_varint(struct writer *w, uint32_t value)
{
	for (; value >= 0x80; value >>= 7)
		put_u8(w, (uint8_t)(value | 0x80));
	put_u8(w, (uint8_t)value);
}

/* Writes the fixed header, or returns false where the packet does not fit. */
static bool
packet_begin(struct writer *w, uint8_t *buf, size_t cap, uint8_t first, size_t remaining)
{
	if (remaining > MQT_MQTT_REMAINING_MAX)
		return false;
	if (cap < 1 + varint_len((uint32_t)remaining) + remaining)
		return false;
	w->begin = w->ptr = buf;
	put_u8(w, first);
	put_varint(w, (uint32_t)remaining);
	return true;
}

static size_t
packet_end(const struct writer *w)
{
	return (size_t)(w->ptr - w->begin);
}

static bool
version_known(uint8_t version)
{
	return version >= 3 && version <= 5;
}

size_t
mqt_mqtt_empty_encode(uint8_t *buf, size_t cap, enum mqt_mqtt_type type)
{
	struct writer w;

	if (type != MQT_MQTT_PINGREQ && type != MQT_MQTT_PINGRESP && type != MQT_MQTT_DISCONNECT)
		return 0;
	if (!packet_begin(&w, buf, cap, (uint8_t)(type << 4), 0))
		return 0;
	return packet_end(&w);
}

size_t
mqt_mqtt_disconnect_encode(uint8_t *buf, size_t cap, uint8_t version, uint8_t code)
{
	struct writer w;

	if (!version_known(version))
		return 0;
	/* The short form means the same in all versions. */
	if (code == MQT_MQTT_RC_SUCCESS)
		return mqt_mqtt_empty_encode(buf, cap, MQT_MQTT_DISCONNECT);
	if (version < 5 || !packet_begin(&w, buf, cap, MQT_MQTT_DISCONNECT << 4, 2))
		return 0;
	put_u8(&w, code);
	put_varint(&w, 0); /* no properties */
	return packet_end(&w);
}

static size_t
connack_v3_encode(uint8_t *buf, size_t cap, uint8_t version, const struct mqt_mqtt_connack *c)
{
	struct writer w;

	if (c->has_expiry || c->has_keepalive || c->assigned_clientid.len > 0)
		return 0;
	if (version == 3 && c->session_present)
		return 0;
	if (!packet_begin(&w, buf, cap, MQT_MQTT_CONNACK << 4, 2))
		return 0;
	put_u8(&w, c->session_present);
	put_u8(&w, c->code);
	return packet_end(&w);
}

static size_t
connack_v5_encode(uint8_t *buf, size_t cap, const struct mqt_mqtt_connack *c)
{
	size_t properties = (c->has_expiry ? 5u : 0) + (c->has_keepalive ? 3u : 0) +
			(c->assigned_clientid.len > 0 ? 3u + c->assigned_clientid.len : 0);
	struct writer w;

	if (!packet_begin(&w, buf, cap, MQT_MQTT_CONNACK << 4,
			    2 + varint_len((uint32_t)properties) + properties))
		return 0;
	put_u8(&w, c->session_present);
	put_u8(&w, c->code);
	put_varint(&w, (uint32_t)properties);
	if (c->has_expiry) {
		put_u8(&w, PROPERTY_SESSION_EXPIRY);
		put_u32(&w, c->expiry_sec);
	}
	if (c->assigned_clientid.len > 0) {
		put_u8(&w, PROPERTY_ASSIGNED_CLIENTID);
		put_string(&w, c->assigned_clientid);
	}
	if (c->has_keepalive) {
		put_u8(&w, PROPERTY_SERVER_KEEPALIVE);
		put_u16(&w, c->keepalive_sec);
	}
	return packet_end(&w);
}

size_t
mqt_mqtt_connack_encode(
		uint8_t *buf, size_t cap, uint8_t version, const struct mqt_mqtt_connack *connack)
{
	if (!version_known(version) || connack->assigned_clientid.len > UINT16_MAX)
		return 0;
	if (connack->session_present && connack->code != MQT_MQTT_RC_SUCCESS)
		return 0;
	if (version == 5)
		return connack_v5_encode(buf, cap, connack);
	return connack_v3_encode(buf, cap, version, connack);
}

/* Whether version, flags and lengths can be written. */
static bool
connect_expressible(const struct mqt_mqtt_connect *c)
{
	if (!version_known(c->version) || (c->has_expiry && c->version < 5))
		return false;
	if (c->will_qos > 2 || (!c->has_will && (c->will_qos > 0 || c->will_retain)))
		return false;
	return c->clientid.len <= UINT16_MAX && c->username.len <= UINT16_MAX;
}

static uint8_t
connect_flags(const struct mqt_mqtt_connect *c)
{
	return (uint8_t)(c->has_username << 7 | c->will_retain << 5 | c->will_qos << 3 |
			c->has_will << 2 | c->clean_start << 1);
}

size_t
mqt_mqtt_connect_encode(uint8_t *buf, size_t cap, const struct mqt_mqtt_connect *connect)
{
	static const uint8_t name_v3[] = "MQIsdp", name[] = "MQTT", will_topic[] = "w";
	const struct mqt_mqtt_connect *c = connect;
	struct mqt_bytes protocol = { name, 4 }, topic = { will_topic, 1 };
	bool v5 = c->version == 5;
	size_t properties = c->has_expiry ? 5 : 0, remaining;
	struct writer w;

	if (!connect_expressible(c))
		return 0;
	if (c->version == 3)
		protocol = (struct mqt_bytes){ name_v3, 6 };
	remaining = 2 + protocol.len + 4 + (v5 ? 1 + properties : 0) + 2 + c->clientid.len +
			(c->has_will ? (v5 ? 1u : 0u) + 2 + topic.len + 2 : 0) +
			(c->has_username ? 2 + c->username.len : 0);
	if (!packet_begin(&w, buf, cap, MQT_MQTT_CONNECT << 4, remaining))
		return 0;
	put_string(&w, protocol);
	put_u8(&w, (uint8_t)(c->version | c->bridge << 7));
	put_u8(&w, connect_flags(c));
	put_u16(&w, c->keepalive_sec);
	if (v5)
		put_varint(&w, (uint32_t)properties);
	if (c->has_expiry) {
		put_u8(&w, PROPERTY_SESSION_EXPIRY);
		put_u32(&w, c->expiry_sec);
	}
	put_string(&w, c->clientid);
	if (c->has_will) {
		if (v5)
			put_varint(&w, 0);
		put_string(&w, topic);
		put_string(&w, (struct mqt_bytes){ NULL, 0 });
	}
	if (c->has_username)
		put_string(&w, c->username);
	return packet_end(&w);
}

size_t
mqt_mqtt_publish_encode(uint8_t *buf, size_t cap, uint8_t version, uint8_t qos, uint16_t packet_id,
		struct mqt_bytes topic, struct mqt_bytes payload)
{
	bool v5 = version == 5;
	struct writer w;

	if (!version_known(version) || qos > 2 || topic.len > UINT16_MAX)
		return 0;
	if ((qos > 0) != (packet_id != 0))
		return 0;
	if (!packet_begin(&w, buf, cap, (uint8_t)(MQT_MQTT_PUBLISH << 4 | qos << 1),
			    (size_t)2 + topic.len + (qos > 0 ? 2 : 0) + v5 + payload.len))
		return 0;
	put_string(&w, topic);
	if (qos > 0)
		put_u16(&w, packet_id);
	if (v5)
		put_varint(&w, 0);
	put_raw(&w, payload);
	return packet_end(&w);
}
