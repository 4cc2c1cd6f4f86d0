/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQTRACKCTL_PRINT_H
#define MQTRACKCTL_PRINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define PRINT_MAX_COLUMNS 24

/** A column: its heading and how a cell is made of a record. */
struct print_column {
	const char *heading;
	const char *key;
	/** NULL: the member @p key as text. @return malloc'd, or NULL for an empty cell. */
	char *(*cell)(const json_t *record, const char *key);
	bool right;
	unsigned min_width;
};

/** A table that may be printed in pieces: later pieces keep the columns of the first. */
struct print_table {
	const struct print_column *columns; /* ends with a NULL heading */
	bool begun;
	size_t width[PRINT_MAX_COLUMNS];
};

/** Prints rows; the heading with the first piece. */
void print_records(struct print_table *table, const json_t *records);

void print_event(struct print_table *table, const json_t *event);
void print_lookup(const json_t *result);
void print_outcomes(const json_t *result);
void print_workers(const json_t *result);
void print_stats(const json_t *result);
/** A client record: its members, one a row, then its subscriptions as a table. */
void print_client(const json_t *record);
/** All members, one a row. */
void print_members(const json_t *record);

extern const struct print_column print_client_columns[];
extern const struct print_column print_event_columns[];

#endif
