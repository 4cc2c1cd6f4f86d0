/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQTRACKCTL_TEXT_H
#define MQTRACKCTL_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/**
 * Text fit for a terminal: what would steer it (control characters, direction marks) and bytes
 * that are no UTF-8 become \xNN, a backslash becomes two. Where the locale is not UTF-8, so does
 * everything but ASCII. @return malloc'd; never NULL (ends the program without memory).
 */
char *text_visible(const void *data, size_t len);

/** The same for a member of @p obj that may be there as @p name or <name>_hex. @return NULL where neither is. */
char *text_member(const json_t *obj, const char *name);

/** Writes one JSON text, and nothing in it that would steer a terminal: \uNNNN instead. */
void text_print_json(const json_t *json);

/** Whether bytes are UTF-8 without U+0000. */
bool text_is_utf8(const void *data, size_t len);

/** Bytes in hexadecimal. @return malloc'd. */
char *text_hex(const void *data, size_t len);

/** malloc that ends the program. */
void *text_alloc(size_t len);

#endif
