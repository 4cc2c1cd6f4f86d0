/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_INFO_H
#define MQT_INFO_H

#include "mqtrack/addr.h"
#include "mqtrack/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * @file
 * What the wire told about one client, fixed when its CONNACK has arrived. There is one for each
 * client, so it takes no more than it must: addresses are packed behind the strings.
 *
 * Life-cycle: the worker allocates it (malloc, one block with its strings) when a successful
 * CONNACK is complete, fills it, and gives it away with OPEN. The control lcore publishes it;
 * readers see it inside RCU read sections, never changed. It comes home to the same worker with
 * RELEASE (after the grace period) or REFUSE (never published), and that worker frees it.
 */

enum mqt_transport {
	MQT_TRANSPORT_TCP,
	MQT_TRANSPORT_WS, /* WebSocket */
	MQT_N_TRANSPORTS,
};

enum mqt_info_flag {
	MQT_INFO_CLEAN_START = 1u << 0,
	MQT_INFO_SESSION_PRESENT = 1u << 1, /* as CONNACK said */
	MQT_INFO_HAS_USERNAME = 1u << 2,    /* a user name may be empty and still be there */
	MQT_INFO_HAS_EXPIRY = 1u << 3,      /* 5.0 only: expiry_sec is known */
	MQT_INFO_ANONYMOUS = 1u << 4,       /* no client id: listed, outside uniqueness */
	MQT_INFO_ASSIGNED = 1u << 5,        /* 5.0: the broker assigned the client id */
	MQT_INFO_HAS_WILL = 1u << 6,
	MQT_INFO_BRIDGE = 1u << 7, /* protocol level had bit 7 set */
};

struct mqt_info {
	struct mqt_digest digest;
	uint32_t expiry_sec;    /* session expiry, CONNACK's override applied */
	uint16_t flags;         /* enum mqt_info_flag */
	uint16_t keepalive_sec; /* CONNACK's override applied; 0: off */
	uint16_t clientid_len;
	uint16_t username_len;
	uint16_t cert_cn_len; /* 0: not told */
	uint16_t listener;    /* index in the configuration */
	uint16_t domain;      /* index in the configuration */
	uint8_t proto_ver;    /* 3: 3.1, 4: 3.1.1, 5: 5.0 */
	uint8_t transport;    /* enum mqt_transport */
	uint8_t ends;         /* which addresses there are, see mqt_info_set_ends() */
	/* client id, user name, CN: raw bytes, not terminated; then addresses */
	uint8_t data[];
};

_Static_assert(offsetof(struct mqt_info, data) == 37, "no padding before the client id");

static inline const uint8_t *
mqt_info_clientid(const struct mqt_info *info)
{
	return info->data;
}

static inline const uint8_t *
mqt_info_username(const struct mqt_info *info)
{
	return info->data + info->clientid_len;
}

/** Common name of the client's certificate, as its proxy told it. */
static inline const uint8_t *
mqt_info_cert_cn(const struct mqt_info *info)
{
	return info->data + info->clientid_len + info->username_len;
}

/** Most that the addresses of an info take. */
#define MQT_INFO_ENDS_MAX 54

/**
 * Bytes that the addresses take. NULL, or version 0: there is none.
 * @param peer the client, as its proxy says where there is one.
 * @param via the proxy: the client's end of the flow.
 */
size_t mqt_info_ends_size(const struct mqt_endpoint *peer, const struct mqt_endpoint *broker,
		const struct mqt_endpoint *via);

/**
 * Puts the addresses behind the strings, whose lengths are set before.
 * @param info has mqt_info_ends_size() bytes of room there.
 */
void mqt_info_set_ends(struct mqt_info *info, const struct mqt_endpoint *peer,
		const struct mqt_endpoint *broker, const struct mqt_endpoint *via);

/** Bytes of an info with its strings and addresses. */
size_t mqt_info_size(const struct mqt_info *info);

/** The client, as its proxy says where there is one; version 0: unknown. */
struct mqt_endpoint mqt_info_peer(const struct mqt_info *info);
struct mqt_endpoint mqt_info_broker(const struct mqt_info *info);
/** The proxy: the client's end of the flow; version 0: none. */
struct mqt_endpoint mqt_info_via(const struct mqt_info *info);

/** Client and broker at once. @param broker may be NULL. */
void mqt_info_ends(const struct mqt_info *info, struct mqt_endpoint *peer,
		struct mqt_endpoint *broker);

/** Whether both know the same broker; also where neither knows one. */
bool mqt_info_same_broker(const struct mqt_info *a, const struct mqt_info *b);

#endif
