/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where each key of a YAML text stands: one pass over libyaml's events.
 * Synchronisation: none, one thread at start.
 */
#include "lines.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define MAX_DEPTH 8 /* three are in use */

struct walk {
	struct lines *lines;
	yaml_parser_t parser;
	char path[LINES_PATH_MAX];
	unsigned depth;
};

static int walk_value(struct walk *w, const yaml_event_t *event);

__attribute__((format(printf, 3, 4))) static int
fail(struct walk *w, size_t line0, const char *fmt, ...)
{
	va_list ap;

	w->lines->err_line = (unsigned)line0 + 1;
	snprintf(w->lines->err_path, sizeof(w->lines->err_path), "%s", w->path);
	va_start(ap, fmt);
	vsnprintf(w->lines->err, sizeof(w->lines->err), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int
next_event(struct walk *w, yaml_event_t *event)
{
	if (yaml_parser_parse(&w->parser, event))
		return 0;
	w->path[0] = '\0';
	return fail(w, w->parser.problem_mark.line, "not YAML: %s",
			w->parser.problem ? w->parser.problem : "unreadable");
}

static const struct line *
find(const struct lines *lines, const char *path)
{
	for (size_t i = 0; i < lines->n; i++)
		if (strcmp(lines->v[i].path, path) == 0)
			return &lines->v[i];
	return NULL;
}

/* Notes that the current path stands at a line, counted from 0. */
static int
note(struct walk *w, size_t line0)
{
	struct lines *lines = w->lines;
	const struct line *first = find(lines, w->path);

	if (first)
		return fail(w, line0, "stands twice, first in line %u", first->line);
	if (lines->n == lines->size) {
		size_t size = lines->size ? 2 * lines->size : 64;
		struct line *v = realloc(lines->v, size * sizeof(*v));

		if (!v)
			return -ENOMEM;
		lines->v = v;
		lines->size = size;
	}
	snprintf(lines->v[lines->n].path, LINES_PATH_MAX, "%s", w->path);
	lines->v[lines->n++].line = (unsigned)line0 + 1;
	return 0;
}

/* Appends a key to the path, with what no terminal should get replaced. */
static int
append_key(struct walk *w, const yaml_event_t *event)
{
	size_t len = strlen(w->path);
	const char *dot = len ? "." : "";
	int n;

	if (event->type != YAML_SCALAR_EVENT)
		return fail(w, event->start_mark.line, "a key is not a plain word");
	n = snprintf(w->path + len, sizeof(w->path) - len, "%s%s", dot,
			(const char *)event->data.scalar.value);
	for (char *p = w->path + len; *p; p++)
		if (!isprint((unsigned char)*p))
			*p = '?';
	if (n < 0 || (size_t)n >= sizeof(w->path) - len)
		return fail(w, event->start_mark.line, "the key is too long");
	return 0;
}

/* The value behind the path that was just noted. */
static int
walk_next(struct walk *w)
{
	yaml_event_t event;
	int ret;

	ret = next_event(w, &event);
	if (ret != 0)
		return ret;
	ret = walk_value(w, &event);
	yaml_event_delete(&event);
	return ret;
}

static int
walk_mapping(struct walk *w)
{
	size_t len = strlen(w->path);

	for (;;) {
		yaml_event_t key;
		int ret;

		ret = next_event(w, &key);
		if (ret != 0)
			return ret;
		if (key.type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&key);
			return 0;
		}
		ret = append_key(w, &key);
		if (ret == 0)
			ret = note(w, key.start_mark.line);
		yaml_event_delete(&key);
		if (ret == 0)
			ret = walk_next(w);
		if (ret != 0)
			return ret;
		w->path[len] = '\0';
	}
}

static int
walk_sequence(struct walk *w)
{
	size_t len = strlen(w->path);

	for (unsigned i = 0;; i++) {
		yaml_event_t item;
		int ret;

		ret = next_event(w, &item);
		if (ret != 0)
			return ret;
		if (item.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&item);
			return 0;
		}
		snprintf(w->path + len, sizeof(w->path) - len, "[%u]", i);
		ret = note(w, item.start_mark.line);
		if (ret == 0)
			ret = walk_value(w, &item);
		yaml_event_delete(&item);
		if (ret != 0)
			return ret;
		w->path[len] = '\0';
	}
}

static int
walk_value(struct walk *w, const yaml_event_t *event)
{
	const yaml_char_t *anchor = NULL;
	int ret = 0;

	if (event->type == YAML_SCALAR_EVENT)
		anchor = event->data.scalar.anchor;
	else if (event->type == YAML_MAPPING_START_EVENT)
		anchor = event->data.mapping_start.anchor;
	else if (event->type == YAML_SEQUENCE_START_EVENT)
		anchor = event->data.sequence_start.anchor;
	if (anchor || event->type == YAML_ALIAS_EVENT)
		return fail(w, event->start_mark.line, "anchors and aliases are not supported");
	if (w->depth == MAX_DEPTH)
		return fail(w, event->start_mark.line, "nested too deeply");
	if (event->type == YAML_SCALAR_EVENT &&
			memchr(event->data.scalar.value, '\0', event->data.scalar.length))
		return fail(w, event->start_mark.line, "has a zero byte"); /* else cut there */
	w->depth++;
	if (event->type == YAML_MAPPING_START_EVENT)
		ret = walk_mapping(w);
	else if (event->type == YAML_SEQUENCE_START_EVENT)
		ret = walk_sequence(w);
	w->depth--;
	return ret;
}

static int
walk_stream(struct walk *w)
{
	unsigned n_documents = 0;
	bool end = false;
	int ret = 0;

	while (ret == 0 && !end) {
		yaml_event_t event;

		ret = next_event(w, &event);
		if (ret != 0)
			break;
		switch (event.type) {
		case YAML_STREAM_END_EVENT:
			end = true;
			break;
		case YAML_DOCUMENT_START_EVENT:
			if (++n_documents > 1)
				ret = fail(w, event.start_mark.line, "a second document");
			break;
		case YAML_STREAM_START_EVENT:
		case YAML_DOCUMENT_END_EVENT:
			break;
		default:
			ret = walk_value(w, &event);
			break;
		}
		yaml_event_delete(&event);
	}
	return ret;
}

int
lines_read(struct lines *lines, const char *text, size_t len)
{
	struct walk w = { .lines = lines };
	int ret;

	if (!yaml_parser_initialize(&w.parser)) {
		snprintf(lines->err, sizeof(lines->err), "no memory");
		return -ENOMEM;
	}
	yaml_parser_set_input_string(&w.parser, (const yaml_char_t *)text, len);
	ret = walk_stream(&w);
	if (ret == -ENOMEM)
		snprintf(lines->err, sizeof(lines->err), "no memory");
	yaml_parser_delete(&w.parser);
	return ret;
}

void
lines_free(struct lines *lines)
{
	free(lines->v);
	lines->v = NULL;
	lines->n = lines->size = 0;
}

bool
lines_has(const struct lines *lines, const char *path)
{
	return find(lines, path) != NULL;
}

unsigned
lines_of(const struct lines *lines, const char *path)
{
	char above[LINES_PATH_MAX];

	snprintf(above, sizeof(above), "%s", path);
	while (above[0]) {
		const struct line *line = find(lines, above);
		char *dot, *bracket;

		if (line)
			return line->line;
		dot = strrchr(above, '.');
		bracket = strrchr(above, '[');
		if (dot && (!bracket || dot > bracket))
			*dot = '\0';
		else if (bracket)
			*bracket = '\0';
		else
			break;
	}
	return 1;
}
