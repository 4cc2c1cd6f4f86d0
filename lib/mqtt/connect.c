/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * CONNECT, from the first byte of a stream.
 *
 * Two steps. The head (fixed header, protocol name, level, flags) is judged byte by byte as it
 * arrives, so that a stream that is not MQTT is known at its first wrong byte. It is at most 17
 * bytes. All behind it is judged once the packet is whole. An answer MORE therefore costs constant
 * time, and a packet that trickles in byte by byte costs linear time in all, however it is cut.
 *
 * A verdict never changes with more bytes: the head is judged in the order of its bytes, from a
 * prefix only; the rest is judged once.
 *
 * What contradicts the format is rejected. What can be read and is forbidden (authentication data
 * without a method, wildcards in a topic, a length written with more bytes than it needs) is the
 * broker's to judge: a registration needs its consent anyway (CONNACK), and what is rejected here
 * passes untracked. For the same reason 3.1 is read as its text and brokers do: unused bits are not
 * looked at.
 *
 * No state; any thread.
 *
 * Sources: MQTT 5.0 §3.1; MQTT 3.1.1 §3.1; MQTT 3.1 §3.1.
 */

#include "bytes.h"
#include "header.h"
#include "mqtrack/mqtt.h"
#include "property.h"

#include <string.h>

#define FLAG_RESERVED    0x01
#define FLAG_CLEAN_START 0x02
#define FLAG_WILL        0x04
#define FLAG_WILL_RETAIN 0x20
#define FLAG_PASSWORD    0x40
#define FLAG_USERNAME    0x80

#define LEVEL_BRIDGE 0x80

#define TLS_HANDSHAKE 0x16

/* Level, flags and keep alive, which follow the name. */
#define HEAD_REST 4

/* The shortest of all is 3.1.1's: name, HEAD_REST and an empty client id. */
#define REMAINING_MIN 12
#define CLIENTID_MIN  2

static const struct protocol {
	uint8_t name[8];
	uint8_t name_len;
	uint8_t levels; /* bit 1 << level */
} protocols[] = {
	{ { 0, 4, 'M', 'Q', 'T', 'T' }, 6, 1 << 4 | 1 << 5 },
	{ { 0, 6, 'M', 'Q', 'I', 's', 'd', 'p' }, 8, 1 << 3 },
};

struct head {
	uint32_t packet_len;
	uint8_t version;
	bool bridge;
	uint8_t flags;
	uint16_t keepalive_sec;
	struct reader body; /* what follows keep alive, once the packet is whole */
};

static uint8_t
will_qos(uint8_t flags)
{
	return flags >> 3 & 3;
}

/* The protocol whose name begins with these bytes, or has these bytes as its begin. */
static const struct protocol *
protocol_match(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++) {
		const struct protocol *p = &protocols[i];

		if (memcmp(bytes, p->name, n < p->name_len ? n : p->name_len) == 0)
			return p;
	}
	return NULL;
}

static bool
flags_valid(uint8_t version, uint8_t flags)
{
	if (will_qos(flags) == 3)
		return false;
	if (version < 5 && (flags & FLAG_PASSWORD) && !(flags & FLAG_USERNAME))
		return false;
	if (version == 3) /* bit 0 is unused and the will bits are disregarded without a will */
		return true;
	if (flags & FLAG_RESERVED)
		return false;
	return (flags & FLAG_WILL) || (will_qos(flags) == 0 && !(flags & FLAG_WILL_RETAIN));
}

/* Judges the first byte. A TLS record looks like a CONNECT with wrong flags; it is none. */
static enum mqt_mqtt_error
first_check(uint8_t first)
{
	if (first >> 4 != MQT_MQTT_CONNECT || first == TLS_HANDSHAKE)
		return MQT_MQTT_E_TYPE;
	return first & 0x0f ? MQT_MQTT_E_FLAGS : MQT_MQTT_E_NONE;
}

/*
 * Judges name, level and flags as far as they are there. @p bytes: @p n bytes of the body and of
 * what follows it. All that is looked at lies within REMAINING_MIN.
 */
static enum mqt_mqtt_error
head_check(const struct mqt_mqtt_header *header, const uint8_t *bytes, size_t n, struct head *head,
		unsigned *head_len)
{
	const struct protocol *p;
	uint8_t level;

	if (header->remaining < REMAINING_MIN)
		return MQT_MQTT_E_LENGTH;
	p = protocol_match(bytes, n);
	if (p == NULL)
		return MQT_MQTT_E_PROTOCOL;
	*head_len = p->name_len + HEAD_REST;
	if (n <= p->name_len)
		return MQT_MQTT_E_NONE;
	level = bytes[p->name_len];
	head->version = level & ~LEVEL_BRIDGE;
	head->bridge = level & LEVEL_BRIDGE;
	if (head->version > 7 || (p->levels >> head->version & 1) == 0)
		return MQT_MQTT_E_PROTOCOL;
	if (header->remaining < *head_len + (head->version == 5) + CLIENTID_MIN)
		return MQT_MQTT_E_LENGTH;
	if (n <= p->name_len + 1u)
		return MQT_MQTT_E_NONE;
	head->flags = bytes[p->name_len + 1];
	return flags_valid(head->version, head->flags) ? MQT_MQTT_E_NONE : MQT_MQTT_E_CONNECT_FLAGS;
}

/* OK means that the packet is whole and its head right. */
static enum mqt_parse
head_parse(const uint8_t *data, size_t len, struct head *head, enum mqt_mqtt_error *error)
{
	struct mqt_mqtt_header header;
	enum mqt_mqtt_error e;
	enum mqt_parse parse;
	unsigned head_len = 0;

	if (len == 0)
		return MQT_PARSE_MORE;
	e = first_check(data[0]);
	if (e != MQT_MQTT_E_NONE)
		return parse_bad(error, e);
	parse = mqt_mqtt_header_parse(data, len, &header, error);
	if (parse != MQT_PARSE_OK)
		return parse;
	head->packet_len = header.len + header.remaining;
	e = head_check(&header, data + header.len, len - header.len, head, &head_len);
	if (e != MQT_MQTT_E_NONE)
		return parse_bad(error, e);
	if (len < head->packet_len)
		return MQT_PARSE_MORE;
	head->body.ptr = data + header.len + head_len - 2;
	head->body.end = data + head->packet_len;
	e = reader_u16(&head->body, &head->keepalive_sec);
	return e == MQT_MQTT_E_NONE ? MQT_PARSE_OK : parse_bad(error, e);
}

static enum mqt_mqtt_error
connect_properties_read(struct reader *r, struct mqt_mqtt_connect *c)
{
	struct properties p;
	enum mqt_mqtt_error e = properties_read(r, PROPERTY_IN_CONNECT, &p);

	if (e != MQT_MQTT_E_NONE)
		return e;
	c->has_expiry = properties_have(&p, PROPERTY_SESSION_EXPIRY);
	c->expiry_sec = p.expiry_sec;
	return MQT_MQTT_E_NONE;
}

static enum mqt_mqtt_error
will_read(struct reader *r, uint8_t version)
{
	struct properties p;
	struct mqt_bytes topic, payload;
	enum mqt_mqtt_error e = MQT_MQTT_E_NONE;

	if (version == 5)
		e = properties_read(r, PROPERTY_IN_WILL, &p);
	if (e == MQT_MQTT_E_NONE)
		e = reader_string(r, &topic);
	if (e == MQT_MQTT_E_NONE)
		e = reader_binary(r, &payload);
	return e;
}

/*
 * User name and password. In 3.1 the Remaining Length takes precedence over their flags: both may
 * be announced and missing (MQTT 3.1 §3.1).
 */
static enum mqt_mqtt_error
credentials_read(struct reader *r, uint8_t flags, struct mqt_mqtt_connect *c)
{
	enum mqt_mqtt_error e = MQT_MQTT_E_NONE;
	struct mqt_bytes password;

	if ((flags & FLAG_USERNAME) && (c->version > 3 || reader_left(r) > 0)) {
		e = reader_string(r, &c->username);
		c->has_username = true;
	}
	if (e == MQT_MQTT_E_NONE && (flags & FLAG_PASSWORD) &&
			(c->version > 3 || reader_left(r) > 0))
		e = reader_binary(r, &password);
	return e;
}

static bool
clientid_allowed(const struct mqt_mqtt_connect *c)
{
	return c->clientid.len > 0 || c->version == 5 || (c->version == 4 && c->clean_start);
}

static enum mqt_mqtt_error
body_read(struct reader *r, uint8_t flags, struct mqt_mqtt_connect *c)
{
	enum mqt_mqtt_error e = MQT_MQTT_E_NONE;

	if (c->version == 5)
		e = connect_properties_read(r, c);
	if (e == MQT_MQTT_E_NONE)
		e = reader_string(r, &c->clientid);
	if (e == MQT_MQTT_E_NONE && c->has_will)
		e = will_read(r, c->version);
	if (e == MQT_MQTT_E_NONE)
		e = credentials_read(r, flags, c);
	if (e == MQT_MQTT_E_NONE && reader_left(r) > 0)
		e = MQT_MQTT_E_LENGTH;
	if (e == MQT_MQTT_E_NONE && !clientid_allowed(c))
		e = MQT_MQTT_E_CLIENTID;
	return e;
}

enum mqt_parse
mqt_mqtt_connect_parse(const uint8_t *data, size_t len, struct mqt_mqtt_connect *out,
		enum mqt_mqtt_error *error)
{
	struct mqt_mqtt_connect c = { 0 };
	struct head head = { 0 };
	enum mqt_mqtt_error e;
	enum mqt_parse parse;

	parse = head_parse(data, len, &head, error);
	if (parse != MQT_PARSE_OK)
		return parse;
	c.packet_len = head.packet_len;
	c.version = head.version;
	c.bridge = head.bridge;
	c.keepalive_sec = head.keepalive_sec;
	c.clean_start = head.flags & FLAG_CLEAN_START;
	c.has_will = head.flags & FLAG_WILL;
	c.will_qos = c.has_will ? will_qos(head.flags) : 0;
	c.will_retain = c.has_will && (head.flags & FLAG_WILL_RETAIN);
	e = body_read(&head.body, head.flags, &c);
	if (e != MQT_MQTT_E_NONE)
		return parse_bad(error, e);
	*out = c;
	return MQT_PARSE_OK;
}
