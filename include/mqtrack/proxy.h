/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_PROXY_H
#define MQT_PROXY_H

#include "mqtrack/addr.h"
#include "mqtrack/mqtt.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * @file
 * The header by which a proxy tells who its client is, before the client's first byte: versions 1
 * and 2. No DPDK, no allocation, no global state; any thread.
 * Source: The PROXY protocol, versions 1 and 2 (haproxy, doc/proxy-protocol.txt).
 */

/** Longest header of version 1, with its line end (§2.1). */
#define MQT_PROXY_V1_MAX 107
/** Longest header of version 2 that is taken; its length field could say 65,551. */
#define MQT_PROXY_MAX 4096

/** Why bytes were BAD. */
enum mqt_proxy_error {
	MQT_PROXY_E_NONE = 0,
	MQT_PROXY_E_ABSENT,  /* the stream begins with something else */
	MQT_PROXY_E_LINE,    /* version 1: not as §2.1 says, or too long */
	MQT_PROXY_E_VERSION, /* version 2: another version or command (§2.2) */
	MQT_PROXY_E_FAMILY,  /* version 2: address family or transport unknown */
	MQT_PROXY_E_LENGTH, /* version 2: too short for its addresses, a TLV passes the end, too long */
	MQT_PROXY_N_ERRORS,
};

/** Name of an error ("line"). Static storage. */
const char *mqt_proxy_error_name(enum mqt_proxy_error error);

struct mqt_proxy {
	uint32_t len;    /* of the header */
	uint8_t version; /* 1 or 2 */
	bool local;      /* the proxy speaks for itself: a health check */
	/* version 0 where not told: UNKNOWN, LOCAL, or no address of IP over TCP */
	struct mqt_endpoint src, dst;
	struct mqt_bytes cert_cn; /* of the client's certificate; len 0: not told */
};

/**
 * Parses a header from the begin of a stream. Costs linear time in all, however the stream is cut:
 * version 1 is short, and of version 2 nothing but its begin is looked at until it is whole.
 * @param out set on OK only; points into @p data.
 * @param error set on BAD only; may be NULL. MQT_PROXY_E_ABSENT where no header begins here.
 */
enum mqt_parse mqt_proxy_parse(const uint8_t *data, size_t len, struct mqt_proxy *out,
		enum mqt_proxy_error *error);

/**
 * Encoder, for tests: a header of PROXY over TCP, or of LOCAL or UNKNOWN where proxy->src has no
 * version. proxy->len is ignored; version 1 has no cert_cn.
 * @return bytes written, or 0 where it does not fit or cannot be expressed.
 */
size_t mqt_proxy_encode(uint8_t *buf, size_t cap, const struct mqt_proxy *proxy);

#endif
