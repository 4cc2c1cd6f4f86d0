/* SPDX-License-Identifier: BSD-3-Clause */

#include "mqtrack/mqtt.h"

static const char *const error_names[MQT_MQTT_N_ERRORS] = {
	[MQT_MQTT_E_NONE] = "none",
	[MQT_MQTT_E_VARINT] = "varint",
	[MQT_MQTT_E_TYPE] = "type",
	[MQT_MQTT_E_FLAGS] = "flags",
	[MQT_MQTT_E_LENGTH] = "length",
	[MQT_MQTT_E_PROTOCOL] = "protocol",
	[MQT_MQTT_E_CONNECT_FLAGS] = "connect_flags",
	[MQT_MQTT_E_STRING] = "string",
	[MQT_MQTT_E_PROPERTY] = "property",
	[MQT_MQTT_E_CLIENTID] = "clientid",
	[MQT_MQTT_E_CONNACK] = "connack",
	[MQT_MQTT_E_QOS] = "qos",
};

const char *
mqt_mqtt_error_name(enum mqt_mqtt_error error)
{
	if ((unsigned)error >= MQT_MQTT_N_ERRORS)
		return "unknown";
	return error_names[error];
}
