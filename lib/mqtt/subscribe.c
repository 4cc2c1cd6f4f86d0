/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A look into SUBSCRIBE for the QoS that no version has. Wrong lengths are not its matter: where the
 * body ends early, what came before has been judged.
 *
 * No state; any thread.
 *
 * Sources: MQTT 5.0 §3.8.2, §3.8.3; MQTT 3.1.1 §3.8.3; MQTT 3.1 §3.8.
 */

#include "bytes.h"
#include "mqtrack/mqtt.h"

#define QOS_BITS 3u

bool
mqt_mqtt_subscribe_qos_3(struct mqt_bytes body, uint8_t version)
{
	struct reader r = { body.ptr, body.ptr + body.len }, properties;
	struct mqt_bytes filter;
	uint32_t properties_len;
	uint16_t packet_id;
	uint8_t options;

	if (reader_u16(&r, &packet_id) != MQT_MQTT_E_NONE)
		return false;
	if (version == 5 &&
			(reader_varint(&r, &properties_len) != MQT_MQTT_E_NONE ||
					reader_split(&r, properties_len, &properties) !=
							MQT_MQTT_E_NONE))
		return false;
	while (reader_binary(&r, &filter) == MQT_MQTT_E_NONE &&
			reader_u8(&r, &options) == MQT_MQTT_E_NONE)
		if ((options & QOS_BITS) == QOS_BITS)
			return true;
	return false;
}
