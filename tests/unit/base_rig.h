/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_BASE_RIG_H
#define TESTS_UNIT_BASE_RIG_H

/*
 * What tests of lib/base share. All pseudo-random input is seeded: a failure repeats.
 */

#include "check.h"
#include "mqtrack/addr.h"

#include <stdlib.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* splitmix64 */
static inline uint64_t
next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static inline struct mqt_endpoint
endpoint(const char *ip, uint16_t port)
{
	struct mqt_endpoint ep = { 0 };

	if (ip && mqt_endpoint_parse_ip(ip, &ep) != 0) {
		printf("\n    bad address in a table: %s\n", ip);
		abort();
	}
	ep.port = port;
	return ep;
}

#define TEST(fn)                                                                                   \
	{                                                                                          \
#fn, fn                                                                            \
	}

#endif
