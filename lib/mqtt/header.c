/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The fixed header, which all versions share. Two points where they differ and the version is not
 * known here are decided for the wider reading, because the framing stays unambiguous and a tracker
 * must not lose a stream that its broker follows:
 *  - a Remaining Length with more bytes than it needs is only wrong in 5.0; the parsers of CONNECT
 *    and CONNACK, which know the version, reject it there;
 *  - 3.1 sets DUP on a repeated PUBREL, SUBSCRIBE and UNSUBSCRIBE.
 *
 * No state; any thread.
 *
 * Sources: MQTT 5.0 §2.1; MQTT 3.1.1 §2.2; MQTT 3.1 §2.1.
 */

#include "header.h"

#include "bytes.h"
#include "mqtrack/mqtt.h"

#define FLAGS_0   (1u << 0x0)
#define FLAGS_2   (1u << 0x2 | 1u << 0xa)
#define FLAGS_QOS 0x3f3fu /* all but those with QoS 3 */

const uint16_t header_flags[16] = {
	[0] = 0,
	[MQT_MQTT_CONNECT] = FLAGS_0,
	[MQT_MQTT_CONNACK] = FLAGS_0,
	[MQT_MQTT_PUBLISH] = FLAGS_QOS,
	[MQT_MQTT_PUBACK] = FLAGS_0,
	[MQT_MQTT_PUBREC] = FLAGS_0,
	[MQT_MQTT_PUBREL] = FLAGS_2,
	[MQT_MQTT_PUBCOMP] = FLAGS_0,
	[MQT_MQTT_SUBSCRIBE] = FLAGS_2,
	[MQT_MQTT_SUBACK] = FLAGS_0,
	[MQT_MQTT_UNSUBSCRIBE] = FLAGS_2,
	[MQT_MQTT_UNSUBACK] = FLAGS_0,
	[MQT_MQTT_PINGREQ] = FLAGS_0,
	[MQT_MQTT_PINGRESP] = FLAGS_0,
	[MQT_MQTT_DISCONNECT] = FLAGS_0,
	[MQT_MQTT_AUTH] = FLAGS_0,
};

enum mqt_mqtt_error
header_first_check(uint8_t first)
{
	if (header_first_ok(first))
		return MQT_MQTT_E_NONE;
	if (first >> 4 == 0)
		return MQT_MQTT_E_TYPE;
	return first >> 4 == MQT_MQTT_PUBLISH ? MQT_MQTT_E_QOS : MQT_MQTT_E_FLAGS;
}

enum mqt_parse
mqt_mqtt_header_parse(const uint8_t *data, size_t len, struct mqt_mqtt_header *out,
		enum mqt_mqtt_error *error)
{
	uint32_t remaining = 0;
	enum mqt_mqtt_error e;

	if (len == 0)
		return MQT_PARSE_MORE;
	e = header_first_check(data[0]);
	if (e != MQT_MQTT_E_NONE)
		return parse_bad(error, e);
	for (unsigned i = 1; i <= 4; i++) {
		if (i >= len)
			return MQT_PARSE_MORE;
		remaining |= (uint32_t)(data[i] & 0x7f) << (7 * (i - 1));
		if (data[i] & 0x80)
			continue;
		out->type = data[0] >> 4;
		out->flags = data[0] & 0x0f;
		out->len = (uint8_t)(i + 1);
		out->remaining = remaining;
		return MQT_PARSE_OK;
	}
	return parse_bad(error, MQT_MQTT_E_VARINT);
}
