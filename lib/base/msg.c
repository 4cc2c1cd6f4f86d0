/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of what messages carry. */
#include "mqtrack/msg.h"

#include <stddef.h>

static const char *const reason_names[] = {
	[MQT_REASON_NONE] = "none",
	[MQT_REASON_CLIENT_DISCONNECT] = "client_disconnect",
	[MQT_REASON_CLIENT_CLOSED] = "client_closed",
	[MQT_REASON_CLIENT_RESET] = "client_reset",
	[MQT_REASON_BROKER_CLOSED] = "broker_closed",
	[MQT_REASON_BROKER_RESET] = "broker_reset",
	[MQT_REASON_KICKED] = "kicked",
	[MQT_REASON_DISCARDED] = "discarded",
	[MQT_REASON_KILLED] = "killed",
	[MQT_REASON_SUPERSEDED] = "superseded",
	[MQT_REASON_TABLE_FULL] = "table_full",
	[MQT_REASON_OPENING_TIMEOUT] = "opening_timeout",
	[MQT_REASON_REPLACED] = "replaced",
	[MQT_REASON_IDLE] = "idle_timeout",
	[MQT_REASON_OPAQUE] = "opaque",
	[MQT_REASON_SHUTDOWN] = "shutdown",
	[MQT_REASON_TAKEN_OVER] = "taken_over",
	[MQT_REASON_POLICY] = "policy",
	[MQT_REASON_USERNAME_MISMATCH] = "username_mismatch",
	[MQT_REASON_FLAPPING] = "flapping",
	[MQT_REASON_EXPIRED] = "expired",
	[MQT_REASON_EVICTED] = "evicted",
	[MQT_REASON_KEEPALIVE] = "keepalive_timeout",
	[MQT_REASON_BEFORE_CONNECT] = "packet_before_connect",
	[MQT_REASON_BEFORE_CONNACK] = "packet_before_connack",
	[MQT_REASON_SECOND_CONNECT] = "second_connect",
	[MQT_REASON_SECOND_CONNACK] = "second_connack",
	[MQT_REASON_FROM_CLIENT] = "broker_packet_from_client",
	[MQT_REASON_FROM_BROKER] = "client_packet_from_broker",
	[MQT_REASON_UNASSIGNED_TYPE] = "unassigned_type",
	[MQT_REASON_RESERVED_FLAGS] = "reserved_flags",
	[MQT_REASON_PUBLISH_QOS] = "publish_qos",
	[MQT_REASON_SUBSCRIBE_QOS] = "subscribe_qos",
	[MQT_REASON_REMAINING_LENGTH] = "remaining_length",
	[MQT_REASON_WS_FRAME] = "websocket_frame",
};

_Static_assert(sizeof(reason_names) / sizeof(reason_names[0]) == MQT_N_REASONS, "a name for each");

const char *
mqt_reason_name(enum mqt_reason reason)
{
	return (unsigned)reason < MQT_N_REASONS ? reason_names[reason] : "unknown";
}
