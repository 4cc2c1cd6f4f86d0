/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * UTF-8 as MQTT wants it: well-formed, without surrogates and without U+0000. Control and
 * non-characters are left alone: a receiver may refuse them, and brokers differ.
 *
 * No state; any thread. Linear; eight bytes at a time where they are ASCII.
 *
 * Sources: Unicode 15 table 3-7; MQTT 5.0 §1.5.4, 3.1.1 §1.5.3.
 */

#include "utf8.h"

#include <string.h>

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

/* Whether all eight bytes are in 0x01..0x7f. */
static bool
ascii8(const uint8_t *s)
{
	uint64_t w;

	memcpy(&w, s, sizeof(w));
	/* Of bytes in 1..0x7f none borrows; the lowest zero byte becomes 0xff. */
	return ((w | (w - EACH_BYTE(0x01))) & EACH_BYTE(0x80)) == 0;
}

static bool
continuation(uint8_t byte)
{
	return (byte & 0xc0) == 0x80;
}

/* Length of the well-formed sequence of two to four bytes at @p s, or 0. */
static size_t
sequence(const uint8_t *s, size_t left)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t n;

	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2;
	else if ((s[0] & 0xf0) == 0xe0)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (left < n)
		return 0;
	switch (s[0]) {
	case 0xe0: /* below U+0800 is overlong */
		low = 0xa0;
		break;
	case 0xed: /* surrogates */
		high = 0x9f;
		break;
	case 0xf0: /* below U+10000 is overlong */
		low = 0x90;
		break;
	case 0xf4: /* above U+10FFFF */
		high = 0x8f;
		break;
	}
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (!continuation(s[i]))
			return 0;
	return n;
}

bool
utf8_valid(const uint8_t *s, size_t len)
{
	size_t n;

	while (len > 0) {
		if (len >= 8 && ascii8(s))
			n = 8;
		else if (s[0] < 0x80)
			n = s[0] != 0;
		else
			n = sequence(s, len);
		if (n == 0)
			return false;
		s += n;
		len -= n;
	}
	return true;
}
