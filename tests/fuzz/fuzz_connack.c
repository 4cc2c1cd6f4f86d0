/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * CONNACK; the first byte of an input chooses the version. Prefixes never contradict the whole;
 * encoding what was parsed and parsing it again gives the same.
 */

#include "fuzz.h"
#include "mqtrack/mqtt.h"

static void
check_prefix(const uint8_t *data, size_t len, uint8_t version, enum mqt_parse whole,
		enum mqt_mqtt_error whole_error, uint32_t packet_len)
{
	enum mqt_mqtt_error error = MQT_MQTT_E_NONE;
	uint8_t *prefix = fuzz_copy(data, len);
	struct mqt_mqtt_connack c;
	enum mqt_parse parse = mqt_mqtt_connack_parse(prefix, len, version, &c, &error);

	FUZZ_CHECK(parse == whole || parse == MQT_PARSE_MORE);
	if (parse == MQT_PARSE_BAD)
		FUZZ_CHECK(error == whole_error);
	if (whole == MQT_PARSE_OK)
		FUZZ_CHECK((parse == MQT_PARSE_OK) == (len >= packet_len));
	free(prefix);
}

static void
check_round_trip(const struct mqt_mqtt_connack *c, uint8_t version)
{
	size_t cap = 64 + (size_t)c->assigned_clientid.len, len;
	uint8_t *buf = malloc(cap);
	struct mqt_mqtt_connack parsed;

	FUZZ_CHECK(buf != NULL);
	len = mqt_mqtt_connack_encode(buf, cap, version, c);
	FUZZ_CHECK(len > 0);
	FUZZ_CHECK(mqt_mqtt_connack_parse(buf, len, version, &parsed, NULL) == MQT_PARSE_OK);
	FUZZ_CHECK(parsed.packet_len == len && parsed.code == c->code);
	FUZZ_CHECK(parsed.session_present == c->session_present);
	FUZZ_CHECK(parsed.has_expiry == c->has_expiry && parsed.expiry_sec == c->expiry_sec);
	FUZZ_CHECK(parsed.has_keepalive == c->has_keepalive);
	FUZZ_CHECK(parsed.keepalive_sec == c->keepalive_sec);
	FUZZ_CHECK(parsed.assigned_clientid.len == c->assigned_clientid.len);
	if (c->assigned_clientid.len > 0)
		FUZZ_CHECK(memcmp(parsed.assigned_clientid.ptr, c->assigned_clientid.ptr,
					   c->assigned_clientid.len) == 0);
	free(buf);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum mqt_mqtt_error error = MQT_MQTT_E_NONE;
	struct mqt_mqtt_connack c = { 0 };
	enum mqt_parse parse;
	uint8_t version;

	if (size == 0)
		return 0;
	version = (uint8_t)(3 + data[0] % 3);
	data++;
	size--;
	parse = mqt_mqtt_connack_parse(data, size, version, &c, &error);
	FUZZ_CHECK((parse == MQT_PARSE_BAD) == (error != MQT_MQTT_E_NONE));
	for (size_t len = 0; len <= 32 && len < size; len++)
		check_prefix(data, len, version, parse, error, c.packet_len);
	for (size_t len = size; len > 0 && len > size - size / 2; len -= 1 + len / 8)
		check_prefix(data, len - 1, version, parse, error, c.packet_len);
	if (parse != MQT_PARSE_OK)
		return 0;
	FUZZ_CHECK(c.packet_len <= size && (version > 3 || !c.session_present));
	FUZZ_CHECK(c.code == 0 || !c.session_present);
	/* A 3.1.1 broker's refusal of 5.0 is not a packet of 5.0. */
	check_round_trip(&c, version == 5 && c.code == 1 ? 4 : version);
	return 0;
}
