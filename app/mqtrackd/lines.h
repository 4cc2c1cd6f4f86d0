/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQTRACKD_LINES_H
#define MQTRACKD_LINES_H

#include <stdbool.h>
#include <stddef.h>

/**
 * @file
 * Where each key of a YAML text stands: "listeners[1].port" -> 12. libcyaml gives values without
 * their place, and errors only near it.
 */

#define LINES_PATH_MAX 128

struct line {
	char path[LINES_PATH_MAX]; /* "limits.max_clients", "ports[0]" */
	unsigned line;             /* 1, 2, 3, ... */
};

struct lines {
	struct line *v;
	size_t n, size;
	/* set where lines_read() fails */
	unsigned err_line;
	char err_path[LINES_PATH_MAX]; /* may be empty */
	char err[128];
};

/**
 * Walks the text once. Refuses what is no single YAML document, keys that stand twice, anchors,
 * aliases, and keys that are no plain scalars.
 * @param lines zeroed. @return 0, -EINVAL or -ENOMEM with err set.
 * Ownership: lines_free(), also after a failure.
 */
int lines_read(struct lines *lines, const char *text, size_t len);

void lines_free(struct lines *lines);

/** Whether the text has this path. */
bool lines_has(const struct lines *lines, const char *path);

/** Line of a path, or of the nearest one above it that the text has; 1 where none is there. */
unsigned lines_of(const struct lines *lines, const char *path);

#endif
