/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_MQTT_RIG_H
#define TESTS_UNIT_MQTT_RIG_H

/*
 * What tests of MQTT on the wire share. Each vector runs in an allocation of exactly its size, so that a
 * sanitizer or valgrind sees a read past the end.
 */

#include "check.h"
#include "mqtrack/mqtt.h"

#include <stdlib.h>

/* A vector as bytes; allocated exactly. */
struct raw {
	uint8_t *ptr;
	size_t len;
};

static inline int
hex_digit(char c)
{
	const char *digits = "0123456789abcdef", *at = strchr(digits, c);

	if (c == '\0' || at == NULL) {
		printf("[%s] bad vector\n", check_row);
		abort();
	}
	return (int)(at - digits);
}

static inline struct raw
raw_copy(const void *bytes, size_t len)
{
	struct raw raw = { malloc(len ? len : 1), len };

	if (len > 0)
		memcpy(raw.ptr, bytes, len);
	return raw;
}

static inline struct raw
raw_of(const char *text)
{
	uint8_t *buf = malloc(strlen(text) + 1);
	struct raw raw;
	size_t len = 0;

	for (const char *p = text; *p != '\0'; p++) {
		if (*p == ' ')
			continue;
		if (*p == '\'') {
			for (p++; *p != '\''; p++)
				buf[len++] = (uint8_t)*p;
			continue;
		}
		buf[len] = (uint8_t)(hex_digit(p[0]) << 4);
		buf[len++] |= (uint8_t)hex_digit(p[1]);
		p++;
	}
	raw = raw_copy(buf, len);
	free(buf);
	return raw;
}

static inline bool
bytes_are(struct mqt_bytes bytes, const char *want)
{
	return bytes.len == strlen(want) &&
			(bytes.len == 0 || memcmp(bytes.ptr, want, bytes.len) == 0);
}

static inline struct mqt_bytes
bytes_of(const char *text)
{
	return (struct mqt_bytes){ (const uint8_t *)text, (uint32_t)strlen(text) };
}

static inline void
check_connect(const struct mqt_mqtt_connect *got, const struct mqt_mqtt_connect *want)
{
	CHECK_EQ(got->version, want->version);
	CHECK_EQ(got->bridge, want->bridge);
	CHECK_EQ(got->clean_start, want->clean_start);
	CHECK_EQ(got->has_will, want->has_will);
	CHECK_EQ(got->will_qos, want->will_qos);
	CHECK_EQ(got->will_retain, want->will_retain);
	CHECK_EQ(got->has_username, want->has_username);
	CHECK_EQ(got->has_expiry, want->has_expiry);
	CHECK_EQ(got->keepalive_sec, want->keepalive_sec);
	CHECK_EQ(got->expiry_sec, want->expiry_sec);
}

static inline void
check_connack(const struct mqt_mqtt_connack *got, const struct mqt_mqtt_connack *want)
{
	CHECK_EQ(got->code, want->code);
	CHECK_EQ(got->session_present, want->session_present);
	CHECK_EQ(got->has_expiry, want->has_expiry);
	CHECK_EQ(got->has_keepalive, want->has_keepalive);
	CHECK_EQ(got->keepalive_sec, want->keepalive_sec);
	CHECK_EQ(got->expiry_sec, want->expiry_sec);
}

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, test_##name                                                                 \
	}

#endif
