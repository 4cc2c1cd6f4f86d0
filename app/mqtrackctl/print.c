/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Results as tables. Every cell passes text_visible() once; libsmartcols is told not to encode
 * again. What a record does not have is an empty cell.
 */
#include "print.h"

#include "text.h"

#include <libsmartcols.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
out_of_memory(void)
{
	fputs("mqtrackctl: out of memory\n", stderr);
	exit(2);
}

/* A JSON value as the text of a cell. */
static char *
value_text(const json_t *value)
{
	char *dumped, *text;

	if (!value || json_is_null(value))
		return NULL;
	if (json_is_string(value))
		return text_visible(json_string_value(value), json_string_length(value));
	if (json_is_boolean(value))
		return strdup(json_is_true(value) ? "yes" : "no");
	if (json_is_real(value)) {
		char number[64];

		snprintf(number, sizeof(number), "%.4f", json_real_value(value));
		return strdup(number);
	}
	dumped = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	text = dumped ? text_visible(dumped, strlen(dumped)) : NULL;
	free(dumped);
	return text;
}

static char *
cell_member(const json_t *record, const char *key)
{
	char *text = text_member(record, key);

	return text ? text : value_text(json_object_get(record, key));
}

/* Client id and user name: bytes, or nothing to show but a remark. */
static char *
cell_clientid(const json_t *record, const char *key)
{
	if (json_is_true(json_object_get(record, "anonymous")))
		return strdup("(anonymous)");
	return text_member(record, key);
}

static char *
cell_bytes(const json_t *record, const char *key)
{
	return text_member(record, key);
}

static char *
cell_address(const json_t *record, const char *key)
{
	const char *ip = json_string_value(json_object_get(record, key));
	char text[80];

	if (!ip)
		return NULL;
	snprintf(text, sizeof(text), strchr(ip, ':') ? "[%s]:%d" : "%s:%d", ip,
			(int)json_integer_value(json_object_get(record, "port")));
	return text_visible(text, strlen(text));
}

static char *
cell_counter(const json_t *record, const char *key)
{
	return value_text(json_object_get(json_object_get(record, "counters"), key));
}

static char *
cell_conns(const json_t *record, const char *key)
{
	return value_text(json_object_get(json_object_get(record, "connections"), key));
}

/* --- tables -------------------------------------------------------------------------------- */

static struct libscols_table *
table_create(struct print_table *table)
{
	struct libscols_table *tb = scols_new_table();

	if (!tb)
		out_of_memory();
	scols_table_enable_noencoding(tb, 1);
	scols_table_enable_noheadings(tb, table->begun);
	for (unsigned i = 0; table->columns[i].heading; i++) {
		const struct print_column *c = &table->columns[i];
		size_t width = table->width[i] ? table->width[i] : c->min_width;

		int flags = (c->right ? SCOLS_FL_RIGHT : 0) | (width ? SCOLS_FL_STRICTWIDTH : 0);

		/* strict: at least so wide, whatever is in it */
		if (!scols_table_new_column(tb, c->heading, (double)width, flags))
			out_of_memory();
	}
	return tb;
}

static void
table_add(struct print_table *table, struct libscols_table *tb, const json_t *record)
{
	struct libscols_line *line = scols_table_new_line(tb, NULL);

	if (!line)
		out_of_memory();
	for (unsigned i = 0; table->columns[i].heading; i++) {
		const struct print_column *c = &table->columns[i];
		char *text = c->cell ? c->cell(record, c->key) : cell_member(record, c->key);

		if (text && scols_line_refer_data(line, i, text) < 0)
			out_of_memory();
	}
}

static void
table_print(struct print_table *table, struct libscols_table *tb)
{
	scols_print_table(tb);
	for (unsigned i = 0; table->columns[i].heading; i++)
		table->width[i] = scols_column_get_width(scols_table_get_column(tb, i));
	table->begun = true;
	scols_unref_table(tb);
}

void
print_records(struct print_table *table, const json_t *records)
{
	struct libscols_table *tb = table_create(table);

	for (size_t i = 0; i < json_array_size(records); i++)
		table_add(table, tb, json_array_get(records, i));
	table_print(table, tb);
}

/* --- records ------------------------------------------------------------------------------- */

const struct print_column print_client_columns[] = {
	{ .heading = "CLIENT ID", .key = "clientid", .cell = cell_clientid },
	{ .heading = "USER NAME", .key = "username", .cell = cell_bytes },
	{ .heading = "ADDRESS", .key = "ip_address", .cell = cell_address },
	{ .heading = "BROKER", .key = "broker" },
	{ .heading = "LISTENER", .key = "listener" },
	{ .heading = "DOMAIN", .key = "domain" },
	{ .heading = "VER", .key = "proto_ver", .right = true },
	{ .heading = "KEEPALIVE", .key = "keepalive", .right = true },
	{ .heading = "STATE", .key = "state" },
	{ .heading = "SINCE", .key = "connected_at" },
	{ .heading = "UNTIL", .key = "disconnected_at" },
	{ .heading = "RECV MSG", .key = "recv_msg", .right = true },
	{ .heading = "SEND MSG", .key = "send_msg", .right = true },
	{ .heading = "CHANNEL", .key = "channel" },
	{ .heading = NULL },
};

/* What happened to whom: the gap has numbers instead. */
static char *
cell_event_client(const json_t *event, const char *key)
{
	const json_t *first = json_object_get(event, "first");
	char text[80];

	if (!first)
		return cell_clientid(event, key);
	snprintf(text, sizeof(text), "(events %lld to %lld were missed)",
			(long long)json_integer_value(first),
			(long long)json_integer_value(json_object_get(event, "last")));
	return strdup(text);
}

const struct print_column print_event_columns[] = {
	{ .heading = "SEQ", .key = "seq", .right = true, .min_width = 6 },
	{ .heading = "AT", .key = "at", .min_width = 24 },
	{ .heading = "EVENT", .key = "type", .min_width = 22 },
	{ .heading = "CLIENT ID", .key = "clientid", .cell = cell_event_client, .min_width = 23 },
	{ .heading = "ADDRESS", .key = "peer", .min_width = 21 },
	{ .heading = "BROKER", .key = "broker", .min_width = 21 },
	{ .heading = "REASON", .key = "reason", .min_width = 17 },
	{ .heading = "CHANNEL", .key = "channel", .min_width = 19 },
	{ .heading = "OTHER", .key = "other", .min_width = 19 },
	{ .heading = "OTHER ADDRESS", .key = "other_peer", .min_width = 21 },
	{ .heading = "COUNT", .key = "count", .right = true },
	{ .heading = NULL },
};

void
print_event(struct print_table *table, const json_t *event)
{
	json_t *records = json_pack("[O]", event);

	print_records(table, records);
	json_decref(records);
}

void
print_lookup(const json_t *result)
{
	static const struct print_column columns[] = {
		{ .heading = "CHANNEL", .key = "channel" },
		{ .heading = "NODE", .key = "node" },
		{ .heading = "WORKER", .key = "worker", .right = true },
		{ .heading = "STATE", .key = "state" },
		{ .heading = "DOMAIN", .key = "domain" },
		{ .heading = NULL },
	};
	struct print_table table = { .columns = columns };

	print_records(&table, json_object_get(result, "channels"));
}

void
print_outcomes(const json_t *result)
{
	static const struct print_column columns[] = {
		{ .heading = "CHANNEL", .key = "channel" },
		{ .heading = "RESULT", .key = "result" },
		{ .heading = NULL },
	};
	struct print_table table = { .columns = columns };

	print_records(&table, json_object_get(result, "channels"));
}

void
print_workers(const json_t *result)
{
	static const struct print_column columns[] = {
		{ .heading = "WORKER", .key = "worker", .right = true },
		{ .heading = "LCORE", .key = "lcore", .right = true },
		{ .heading = "STALLED", .key = "stalled" },
		{ .heading = "BEAT MS", .key = "heartbeat_age_ms", .right = true },
		{ .heading = "EMBRYOS", .key = "embryos", .right = true },
		{ .heading = "CONNECTING", .key = "connecting", .cell = cell_conns, .right = true },
		{ .heading = "OPENING", .key = "opening", .cell = cell_conns, .right = true },
		{ .heading = "CONNECTED", .key = "connected", .cell = cell_conns, .right = true },
		{ .heading = "OPAQUE", .key = "opaque", .cell = cell_conns, .right = true },
		{ .heading = "CLOSING", .key = "closing", .cell = cell_conns, .right = true },
		{ .heading = "PARKED", .key = "parked", .right = true },
		{ .heading = "OUTBOX", .key = "outbox", .right = true },
		{ .heading = "RX", .key = "rx_packets", .cell = cell_counter, .right = true },
		{ .heading = "TX", .key = "tx_packets", .cell = cell_counter, .right = true },
		{ .heading = "TX DROPPED",
				.key = "tx_dropped",
				.cell = cell_counter,
				.right = true },
		{ .heading = NULL },
	};
	struct print_table table = { .columns = columns };

	print_records(&table, json_object_get(result, "workers"));
}

/* --- names and values ------------------------------------------------------------------------ */

static const struct print_column member_columns[] = {
	{ .heading = "NAME", .key = "name" },
	{ .heading = "VALUE", .key = "value" },
	{ .heading = NULL },
};

static const struct print_column number_columns[] = {
	{ .heading = "NAME", .key = "name" },
	{ .heading = "VALUE", .key = "value", .right = true },
	{ .heading = NULL },
};

static void add_value(json_t *rows, const char *name, const json_t *value);

/* Adds each member as a row, its name behind @p prefix. */
static void
add_members(json_t *rows, const char *prefix, const json_t *obj)
{
	const char *name;
	json_t *value;
	char path[128];

	/* iterating does not change it */
	json_object_foreach((json_t *)(uintptr_t)obj, name, value)
	{
		snprintf(path, sizeof(path), "%s%s", prefix, name);
		add_value(rows, path, value);
	}
}

/* Objects and lists become a row for each value inside: config.listeners.0.port. */
static void
add_value(json_t *rows, const char *name, const json_t *value)
{
	char path[128];

	if (json_is_object(value)) {
		snprintf(path, sizeof(path), "%s.", name);
		add_members(rows, path, value);
		return;
	}
	for (size_t i = 0; i < json_array_size(value); i++) {
		snprintf(path, sizeof(path), "%s.%zu", name, i);
		add_value(rows, path, json_array_get(value, i));
	}
	if (json_is_array(value))
		return;
	if (json_array_append_new(rows, json_pack("{s:s, s:O}", "name", name, "value", value)) < 0)
		out_of_memory();
}

static void
print_rows(const struct print_column *columns, json_t *rows)
{
	struct print_table table = { .columns = columns };

	print_records(&table, rows);
	json_decref(rows);
}

void
print_members(const json_t *record)
{
	json_t *rows = json_array();

	add_members(rows, "", record);
	print_rows(member_columns, rows);
}

void
print_client(const json_t *record)
{
	static const struct print_column columns[] = {
		{ .heading = "TOPIC FILTER", .key = "topic", .cell = cell_bytes },
		{ .heading = "QOS", .key = "qos", .right = true },
		{ .heading = NULL },
	};
	struct print_table table = { .columns = columns };
	json_t *session = json_copy(json_object_get(record, "session"));
	json_t *members = json_copy((json_t *)(uintptr_t)record); /* only its references */
	json_t *subscriptions = json_incref(json_object_get(session, "subscriptions"));

	if (session) {
		json_object_del(session, "subscriptions");
		json_object_set(members, "session", session);
	}
	print_members(members);
	if (json_array_size(subscriptions) > 0) {
		putchar('\n');
		print_records(&table, subscriptions);
	}
	json_decref(subscriptions);
	json_decref(members);
	json_decref(session);
}

void
print_stats(const json_t *result)
{
	json_t *rows = json_array();

	add_members(rows, "", json_object_get(result, "gauges"));
	add_value(rows, "retained", json_object_get(result, "retained"));
	add_value(rows, "duplicates", json_object_get(result, "duplicates"));
	add_members(rows, "maps.", json_object_get(result, "maps"));
	add_members(rows, "control.", json_object_get(result, "control"));
	add_members(rows, "workers.", json_object_get(result, "workers"));
	print_rows(number_columns, rows);
}
