/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * CONNACK. Fixed header, acknowledge flags and code are judged as they arrive, the properties once
 * the packet is whole; so MORE costs constant time and no verdict changes with more bytes.
 *
 * A broker of 3.1.1 that is asked for 5.0 answers in its own format: two bytes, code 1. That is a
 * refusal like any other, and accepted as such.
 *
 * No state; any thread.
 *
 * Sources: MQTT 5.0 §3.2; MQTT 3.1.1 §3.2, §3.1.2.2; MQTT 3.1 §3.2.
 */

#include "bytes.h"
#include "header.h"
#include "mqtrack/mqtt.h"
#include "property.h"

#define FLAG_SESSION_PRESENT 0x01

#define V3_CODE_MAX         5
#define V3_CODE_WRONG_LEVEL 1
#define V3_REMAINING        2
#define V5_REMAINING_MIN    3

/* Connect reason codes 0x80 to 0x9f as bits (5.0 §3.2.2.2); 0 is success and there are no others. */
#define BIT(code) (1u << ((code)-0x80))
static const uint32_t v5_refusals = BIT(0x80) | BIT(0x81) | BIT(0x82) | BIT(0x83) | BIT(0x84) |
		BIT(0x85) | BIT(0x86) | BIT(0x87) | BIT(0x88) | BIT(0x89) | BIT(0x8a) | BIT(0x8c) |
		BIT(0x90) | BIT(0x95) | BIT(0x97) | BIT(0x99) | BIT(0x9a) | BIT(0x9b) | BIT(0x9c) |
		BIT(0x9d) | BIT(0x9f);
#undef BIT

static bool
speaks_v3(const struct mqt_mqtt_header *header, uint8_t version)
{
	return version < 5 || header->remaining == V3_REMAINING;
}

static enum mqt_mqtt_error
length_check(const struct mqt_mqtt_header *header, uint8_t version)
{
	if (speaks_v3(header, version))
		return header->remaining == V3_REMAINING ? MQT_MQTT_E_NONE : MQT_MQTT_E_LENGTH;
	return header->remaining >= V5_REMAINING_MIN ? MQT_MQTT_E_NONE : MQT_MQTT_E_LENGTH;
}

static bool
code_valid(const struct mqt_mqtt_header *header, uint8_t version, uint8_t code)
{
	if (version < 5)
		return code <= V3_CODE_MAX;
	if (speaks_v3(header, version))
		return code == V3_CODE_WRONG_LEVEL;
	if (code < 0x80)
		return code == MQT_MQTT_RC_SUCCESS;
	return code <= 0x9f && (v5_refusals >> (code - 0x80) & 1);
}

/*
 * Judges acknowledge flags and code as far as they are there. @p bytes: @p n bytes of the body and
 * of what follows it.
 */
static enum mqt_mqtt_error
head_check(const struct mqt_mqtt_header *header, uint8_t version, const uint8_t *bytes, size_t n)
{
	enum mqt_mqtt_error e = length_check(header, version);

	if (e != MQT_MQTT_E_NONE)
		return e;
	/* In 3.1 the first byte is reserved and says nothing. */
	if (n > 0 && version > 3 && (bytes[0] & ~FLAG_SESSION_PRESENT))
		return MQT_MQTT_E_CONNACK;
	if (n < 2)
		return MQT_MQTT_E_NONE;
	if (!code_valid(header, version, bytes[1]))
		return MQT_MQTT_E_CONNACK;
	if (bytes[1] != MQT_MQTT_RC_SUCCESS && version > 3 && bytes[0] != 0)
		return MQT_MQTT_E_CONNACK;
	return MQT_MQTT_E_NONE;
}

static enum mqt_mqtt_error
connack_properties_read(struct reader *r, struct mqt_mqtt_connack *c)
{
	struct properties p;
	enum mqt_mqtt_error e = properties_read(r, PROPERTY_IN_CONNACK, &p);

	if (e != MQT_MQTT_E_NONE)
		return e;
	if (reader_left(r) > 0)
		return MQT_MQTT_E_LENGTH;
	c->has_expiry = properties_have(&p, PROPERTY_SESSION_EXPIRY);
	c->expiry_sec = p.expiry_sec;
	c->has_keepalive = properties_have(&p, PROPERTY_SERVER_KEEPALIVE);
	c->keepalive_sec = p.keepalive_sec;
	c->assigned_clientid = p.assigned_clientid;
	return MQT_MQTT_E_NONE;
}

enum mqt_parse
mqt_mqtt_connack_parse(const uint8_t *data, size_t len, uint8_t version,
		struct mqt_mqtt_connack *out, enum mqt_mqtt_error *error)
{
	struct mqt_mqtt_connack c = { 0 };
	struct mqt_mqtt_header header;
	enum mqt_mqtt_error e;
	enum mqt_parse parse;
	struct reader r;

	if (len > 0 && data[0] >> 4 != MQT_MQTT_CONNACK)
		return parse_bad(error, MQT_MQTT_E_TYPE);
	parse = mqt_mqtt_header_parse(data, len, &header, error);
	if (parse != MQT_PARSE_OK)
		return parse;
	c.packet_len = header.len + header.remaining;
	e = head_check(&header, version, data + header.len, len - header.len);
	if (e != MQT_MQTT_E_NONE)
		return parse_bad(error, e);
	if (len < c.packet_len)
		return MQT_PARSE_MORE;
	c.session_present = version > 3 && (data[header.len] & FLAG_SESSION_PRESENT);
	c.code = data[header.len + 1];
	r.ptr = data + header.len + 2;
	r.end = data + c.packet_len;
	if (!speaks_v3(&header, version))
		e = connack_properties_read(&r, &c);
	if (e != MQT_MQTT_E_NONE)
		return parse_bad(error, e);
	*out = c;
	return MQT_PARSE_OK;
}
