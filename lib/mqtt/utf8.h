/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LIB_MQTT_UTF8_H
#define LIB_MQTT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the bytes are well-formed UTF-8 (no surrogates, no overlong forms) without U+0000. */
bool utf8_valid(const uint8_t *s, size_t len);

#endif
