/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_HEX_H
#define TESTS_UNIT_HEX_H

/* Vectors are written in hexadecimal. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Pairs of digits to bytes; blanks may stand between them. Returns how many bytes. */
static inline size_t
hex(uint8_t *out, const char *s)
{
	char digits[3] = { 0 };
	size_t len = 0;

	for (; *s != '\0'; s += *s == ' ' ? 1 : 2) {
		if (*s == ' ')
			continue;
		memcpy(digits, s, 2);
		out[len++] = (uint8_t)strtoul(digits, NULL, 16);
	}
	return len;
}

#endif
