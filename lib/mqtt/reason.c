/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reason codes with which a server may close a connection, and their names: those of the table of
 * MQTT 5.0 §3.14.2.1 that has "Server" among who sends them, in lower case with underscores.
 */
#include "mqtrack/mqtt.h"

#include <string.h>

static const struct {
	uint8_t code;
	const char *name;
} reasons[] = {
	{ 0x00, "normal_disconnection" },
	{ 0x80, "unspecified_error" },
	{ 0x81, "malformed_packet" },
	{ 0x82, "protocol_error" },
	{ 0x83, "implementation_specific_error" },
	{ 0x87, "not_authorized" },
	{ 0x89, "server_busy" },
	{ 0x8b, "server_shutting_down" },
	{ 0x8d, "keep_alive_timeout" },
	{ 0x8e, "session_taken_over" },
	{ 0x8f, "topic_filter_invalid" },
	{ 0x90, "topic_name_invalid" },
	{ 0x93, "receive_maximum_exceeded" },
	{ 0x94, "topic_alias_invalid" },
	{ 0x95, "packet_too_large" },
	{ 0x96, "message_rate_too_high" },
	{ 0x97, "quota_exceeded" },
	{ 0x98, "administrative_action" },
	{ 0x99, "payload_format_invalid" },
	{ 0x9a, "retain_not_supported" },
	{ 0x9b, "qos_not_supported" },
	{ 0x9c, "use_another_server" },
	{ 0x9d, "server_moved" },
	{ 0x9e, "shared_subscriptions_not_supported" },
	{ 0x9f, "connection_rate_exceeded" },
	{ 0xa0, "maximum_connect_time" },
	{ 0xa1, "subscription_identifiers_not_supported" },
	{ 0xa2, "wildcard_subscriptions_not_supported" },
};

#define N_REASONS (sizeof(reasons) / sizeof(reasons[0]))

bool
mqt_mqtt_server_disconnect_is(uint64_t code)
{
	for (size_t i = 0; i < N_REASONS; i++) {
		if (reasons[i].code == code)
			return true;
	}
	return false;
}

bool
mqt_mqtt_server_disconnect_parse(const char *name, uint8_t *code)
{
	for (size_t i = 0; i < N_REASONS; i++) {
		if (strcmp(reasons[i].name, name) == 0) {
			*code = reasons[i].code;
			return true;
		}
	}
	return false;
}
