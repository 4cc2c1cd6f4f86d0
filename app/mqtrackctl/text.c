/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes from strangers on their way to a terminal. Client ids and user names are chosen by whoever
 * connects; an escape sequence inside one must not reach the terminal of the operator who lists it.
 * Sources: Unicode 15 chapter 23 (control codes, format characters), RFC 3629, RFC 8259 §7.
 */
#include "text.h"

#include <langinfo.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *
text_alloc(size_t len)
{
	void *p = malloc(len);

	if (!p) {
		fputs("mqtrackctl: out of memory\n", stderr);
		exit(2);
	}
	return p;
}

/* Length of the UTF-8 character at @p s and its code point; 0 where there is none. */
static size_t
utf8_next(const uint8_t *s, size_t len, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc0 ? 2 : 0;

	if (n == 0 || n > len || s[0] > 0xf4)
		return 0;
	*code = n == 1 ? s[0] : s[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (s[i] & 0x3f);
	}
	if (*code < least[n] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
		return 0;
	return n;
}

/* Control codes, line and paragraph separators, invisible and direction-changing format characters,
 * tags. */
static bool
steers(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code == 0xad || code == 0x61c ||
			(code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
			(code >= 0x2060 && code <= 0x206f) || code == 0xfeff ||
			(code >= 0xfff0 && code <= 0xfffb) || (code >= 0xe0000 && code <= 0xe0fff);
}

static bool
locale_is_utf8(void)
{
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

char *
text_visible(const void *data, size_t len)
{
	const uint8_t *s = data;
	char *text = text_alloc(4 * len + 1);
	bool utf8 = locale_is_utf8();
	size_t out = 0;

	for (size_t i = 0, n; i < len; i += n) {
		uint32_t code = 0;

		n = utf8_next(s + i, len - i, &code);
		if (n && !steers(code) && (code < 0x80 || utf8)) {
			if (code == '\\')
				text[out++] = '\\';
			memcpy(text + out, s + i, n);
			out += n;
			continue;
		}
		n = n ? n : 1;
		for (size_t k = 0; k < n; k++)
			out += (size_t)sprintf(text + out, "\\x%02x", s[i + k]);
	}
	text[out] = '\0';
	return text;
}

static unsigned
hex_digit(char c)
{
	return c >= 'a' ? (unsigned)(c - 'a' + 10) : (unsigned)(c - '0');
}

char *
text_member(const json_t *obj, const char *name)
{
	const json_t *text = json_object_get(obj, name);
	char name_hex[64];
	const char *hex;
	uint8_t *bytes;
	size_t len;
	char *visible;

	if (json_is_string(text))
		return text_visible(json_string_value(text), json_string_length(text));
	snprintf(name_hex, sizeof(name_hex), "%s_hex", name);
	hex = json_string_value(json_object_get(obj, name_hex));
	if (!hex || strspn(hex, "0123456789abcdef") != strlen(hex))
		return NULL;
	len = strlen(hex) / 2;
	bytes = text_alloc(len + 1);
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
	visible = text_visible(bytes, len);
	free(bytes);
	return visible;
}

void
text_print_json(const json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
	size_t len;

	if (!text) {
		fputs("mqtrackctl: out of memory\n", stderr);
		exit(2);
	}
	len = strlen(text);
	/* outside of strings JSON is ASCII without control characters, so all found is in one */
	for (size_t i = 0, n; i < len; i += n) {
		uint32_t code = 0;

		n = utf8_next((const uint8_t *)text + i, len - i, &code);
		if (n == 0 || !steers(code)) {
			n = n ? n : 1;
			fwrite(text + i, 1, n, stdout);
		} else if (code < 0x10000) {
			printf("\\u%04x", code);
		} else {
			code -= 0x10000;
			printf("\\u%04x\\u%04x", 0xd800 + (code >> 10), 0xdc00 + (code & 0x3ff));
		}
	}
	free(text);
}

bool
text_is_utf8(const void *data, size_t len)
{
	const uint8_t *s = data;

	for (size_t i = 0, n; i < len; i += n) {
		uint32_t code = 0;

		n = utf8_next(s + i, len - i, &code);
		if (n == 0 || code == 0)
			return false;
	}
	return true;
}

char *
text_hex(const void *data, size_t len)
{
	const uint8_t *s = data;
	char *hex = text_alloc(2 * len + 1);

	hex[0] = '\0';
	for (size_t i = 0; i < len; i++)
		sprintf(hex + 2 * i, "%02x", s[i]);
	return hex;
}
