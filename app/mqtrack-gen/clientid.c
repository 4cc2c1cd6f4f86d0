/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Client ids by a format of the user's, which never reaches printf. No state; any thread.
 */
#include "options.h"

#include <stdlib.h>
#include <string.h>

#define MOST_PLACES 20

/* Copies up to a conversion, with %% as %. @return where it ended; NULL: too long. */
static const char *
copy_plain(const char *text, char out[GEN_CLIENTID_MAX])
{
	size_t n = 0;

	for (; *text; text++) {
		if (text[0] == '%' && text[1] != '%')
			break;
		text += *text == '%';
		if (n == GEN_CLIENTID_MAX - 1)
			return NULL;
		out[n++] = *text;
	}
	out[n] = '\0';
	return text;
}

/* Reads "%08u". @return what follows it; NULL: something else. */
static const char *
read_conversion(const char *at, struct gen_clientid *id)
{
	unsigned long width = 0;
	char *end;

	id->number = true;
	id->zeros = *++at == '0';
	if (*at >= '0' && *at <= '9') {
		width = strtoul(at, &end, 10);
		at = end;
	}
	if (width > MOST_PLACES || !*at || !strchr("uxX", *at))
		return NULL;
	id->width = (uint8_t)width;
	id->conversion = *at;
	return at + 1;
}

const char *
gen_clientid_parse(const char *text, struct gen_clientid *out)
{
	struct gen_clientid id = { 0 };
	const char *at = copy_plain(text, id.prefix);

	if (!*text)
		return "is empty";
	if (at && *at) {
		at = read_conversion(at, &id);
		if (!at)
			return "has something else than one %u, %x or %X, of 20 places at most";
		at = copy_plain(at, id.suffix);
	}
	if (!at)
		return "is too long";
	if (*at)
		return "has more than one number";
	*out = id;
	return NULL;
}

size_t
gen_clientid_write(const struct gen_clientid *id, uint64_t number, char *out)
{
	const char *digits = id->conversion == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	unsigned base = id->conversion == 'u' ? 10 : 16;
	size_t len = strlen(id->prefix), n = 0, suffix = strlen(id->suffix);
	char reversed[24];

	memcpy(out, id->prefix, len);
	if (!id->number)
		return len;
	do
		reversed[n++] = digits[number % base];
	while ((number /= base) > 0);
	while (n < id->width)
		reversed[n++] = id->zeros ? '0' : ' ';
	while (n > 0)
		out[len++] = reversed[--n];
	memcpy(out + len, id->suffix, suffix);
	return len + suffix;
}
