/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQTRACKD_CONFIG_VALUE_H
#define MQTRACKD_CONFIG_VALUE_H

#include "config_text.h"
#include "mqtrack/config.h"

#include <stddef.h>
#include <stdint.h>

/**
 * @file
 * Values of the configuration file, converted and checked here and nowhere else, so that every
 * complaint has the same form, "<file>:<line>: <key>: <what>", and a value is never half read ("5x"
 * is no number). Each function takes the key's path, returns 0 or -EINVAL having complained, and
 * leaves the value alone where @p text is NULL: the key is not there.
 */

/** A file that is being loaded. */
struct load {
	const char *file;
	struct lines lines;
	struct text *text;
	struct mqt_config *cfg;
	char *err;
	size_t err_size;
};

/** Complains about a key. @return -EINVAL. */
int config_fail(struct load *l, const char *path, const char *fmt, ...)
		__attribute__((format(printf, 3, 4)));

int value_number(struct load *l, const char *path, const char *text, uint32_t least,
		uint32_t greatest, uint32_t *value);
/** Printable text. */
int value_text(struct load *l, const char *path, const char *text, char *value, size_t size);
/** Which of @p n words it is. */
int value_choice(struct load *l, const char *path, const char *text, const char *const *words,
		unsigned n, uint8_t *value);
/** Which of two. */
int value_word(struct load *l, const char *path, const char *text, const char *const words[2],
		uint8_t *value);
/** An address without a port; that of @p ep stays. */
int value_address(struct load *l, const char *path, const char *text, struct mqt_endpoint *ep);

/** Complains where @p text, of @p key below @p path, is not there. */
int value_need(struct load *l, const char *path, const char *key, const char *text);
/** Complains where a list has more than @p most items. */
int value_count(struct load *l, const char *key, unsigned n, unsigned most);

#endif
