/* SPDX-License-Identifier: BSD-3-Clause */
#include "config_value.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
config_fail(struct load *l, const char *path, const char *fmt, ...)
{
	int n = snprintf(l->err, l->err_size, "%s:%u: %s%s", l->file, lines_of(&l->lines, path),
			path, path[0] ? ": " : "");
	va_list ap;

	if (n >= 0 && (size_t)n < l->err_size) {
		va_start(ap, fmt);
		vsnprintf(l->err + n, l->err_size - (size_t)n, fmt, ap);
		va_end(ap);
	}
	return -EINVAL;
}

int
value_number(struct load *l, const char *path, const char *text, uint32_t least, uint32_t greatest,
		uint32_t *value)
{
	unsigned long long n;

	if (!text)
		return 0;
	if (!text[0] || strlen(text) > 10 || text[strspn(text, "0123456789")] != '\0' ||
			(n = strtoull(text, NULL, 10)) < least || n > greatest)
		return config_fail(l, path, "'%.32s' is not a number from %u to %u", text, least,
				greatest);
	*value = (uint32_t)n;
	return 0;
}

int
value_text(struct load *l, const char *path, const char *text, char *value, size_t size)
{
	if (!text)
		return 0;
	if (!text[0])
		return config_fail(l, path, "is empty");
	if (strlen(text) >= size)
		return config_fail(l, path, "is longer than %zu bytes", size - 1);
	for (const char *p = text; *p; p++)
		if (!isprint((unsigned char)*p))
			return config_fail(l, path, "has characters that are not printable ASCII");
	memcpy(value, text, strlen(text) + 1);
	return 0;
}

int
value_choice(struct load *l, const char *path, const char *text, const char *const *words,
		unsigned n, uint8_t *value)
{
	if (!text)
		return 0;
	for (uint8_t i = 0; i < n; i++) {
		if (strcmp(text, words[i]) == 0) {
			*value = i;
			return 0;
		}
	}
	return n == 2 ? config_fail(l, path, "'%.32s' is neither '%s' nor '%s'", text, words[0],
					words[1])
		      : config_fail(l, path, "'%.32s' is none of '%s', '%s' and '%s'", text,
					words[0], words[1], words[2]);
}

int
value_word(struct load *l, const char *path, const char *text, const char *const words[2],
		uint8_t *value)
{
	return value_choice(l, path, text, words, 2, value);
}

int
value_address(struct load *l, const char *path, const char *text, struct mqt_endpoint *ep)
{
	static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff }; /* RFC 4291 §2.5.5.2 */
	uint16_t port = ep->port;

	if (!text)
		return 0;
	if (mqt_endpoint_parse_ip(text, ep) != 0)
		return config_fail(l, path, "'%.64s' is not an IPv4 or IPv6 address", text);
	if (ep->version == 6 && memcmp(ep->ip, v4_mapped, sizeof(v4_mapped)) == 0)
		return config_fail(l, path, "'%.64s' is never on the wire: write the IPv4 address",
				text);
	ep->port = port;
	return 0;
}

int
value_need(struct load *l, const char *path, const char *key, const char *text)
{
	return text ? 0 : config_fail(l, path, "key '%s' is missing", key);
}

int
value_count(struct load *l, const char *key, unsigned n, unsigned most)
{
	char path[64];

	if (n <= most)
		return 0;
	snprintf(path, sizeof(path), "%s[%u]", key, most);
	return config_fail(l, path, "there are at most %u", most);
}
