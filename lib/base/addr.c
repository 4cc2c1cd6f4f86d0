/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ends of flows as text. Pure functions on the caller's storage: no state, any thread.
 * Source: inet_ntop(3), inet_pton(3); RFC 3986 §3.2.2 for the brackets around an IPv6 address.
 */
#include "mqtrack/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

_Static_assert(MQT_ADDR_STRLEN == INET6_ADDRSTRLEN, "holds what inet_ntop writes");
_Static_assert(MQT_ENDPOINT_STRLEN >= INET6_ADDRSTRLEN + sizeof("[]:65535") - 1, "holds both");

bool
mqt_endpoint_equal(const struct mqt_endpoint *a, const struct mqt_endpoint *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

char *
mqt_endpoint_format_ip(const struct mqt_endpoint *ep, char buf[MQT_ADDR_STRLEN])
{
	if (ep->version == 4)
		inet_ntop(AF_INET, ep->ip, buf, MQT_ADDR_STRLEN);
	else if (ep->version == 6)
		inet_ntop(AF_INET6, ep->ip, buf, MQT_ADDR_STRLEN);
	else
		strcpy(buf, "*");
	return buf;
}

char *
mqt_endpoint_format(const struct mqt_endpoint *ep, char buf[MQT_ENDPOINT_STRLEN])
{
	char ip[MQT_ADDR_STRLEN];

	mqt_endpoint_format_ip(ep, ip);
	snprintf(buf, MQT_ENDPOINT_STRLEN, ep->version == 6 ? "[%s]:%u" : "%s:%u", ip, ep->port);
	return buf;
}

int
mqt_endpoint_parse_ip(const char *str, struct mqt_endpoint *ep)
{
	struct mqt_endpoint out = { 0 };

	if (inet_pton(AF_INET, str, out.ip) == 1)
		out.version = 4;
	else if (inet_pton(AF_INET6, str, out.ip) == 1)
		out.version = 6;
	else
		return -EINVAL;
	*ep = out;
	return 0;
}
