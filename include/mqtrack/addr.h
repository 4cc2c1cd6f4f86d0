/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_ADDR_H
#define MQT_ADDR_H

#include <stdbool.h>
#include <stdint.h>

/**
 * @file
 * An IP address with a port: the end of a flow. Hashed and compared as bytes, so it has no padding
 * and its unused bytes are 0.
 */

/** Text of an address without its port, with NUL ("ffff:...:255.255.255.255"). */
#define MQT_ADDR_STRLEN 46
/** Text of an address with its port, with NUL ("[...]:65535"). */
#define MQT_ENDPOINT_STRLEN 56

struct mqt_endpoint {
	uint8_t ip[16];   /* network byte order; IPv4 in the first 4 bytes, the rest 0 */
	uint16_t port;    /* host byte order; 0 in a configuration means any port */
	uint16_t version; /* 4 or 6; 0: no address */
};

_Static_assert(sizeof(struct mqt_endpoint) == 20, "hashed as bytes: no padding");

/** Whether both ends are the same bytes. */
bool mqt_endpoint_equal(const struct mqt_endpoint *a, const struct mqt_endpoint *b);

/** Writes the address alone, as inet_ntop does; "*" where there is none. @return buf. */
char *mqt_endpoint_format_ip(const struct mqt_endpoint *ep, char buf[MQT_ADDR_STRLEN]);

/** Writes "192.0.2.1:1883" or "[2001:db8::1]:1883". @return buf. */
char *mqt_endpoint_format(const struct mqt_endpoint *ep, char buf[MQT_ENDPOINT_STRLEN]);

/**
 * Reads an address without a port ("192.0.2.1", "2001:db8::1").
 * @param ep on success: address and version set, port 0.
 * @return 0, or -EINVAL.
 */
int mqt_endpoint_parse_ip(const char *str, struct mqt_endpoint *ep);

#endif
