/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands: each asks the daemon, page by page where the answer is long, and prints.
 *
 * A client id is taken byte by byte; one that is not UTF-8, or is given in hexadecimal with --hex,
 * goes to the daemon as clientid_hex. User names alike.
 */
#include "commands.h"

#include "capture.h"
#include "print.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_MAX 1000 /* the most that clients.list gives at once */

/* --- params ---------------------------------------------------------------------------------- */

/* A client id or user name: as @p name, or <name>_hex. */
static void
set_bytes(json_t *params, const struct args *args, const char *name, const char *bytes)
{
	char name_hex[32];
	char *hex;

	snprintf(name_hex, sizeof(name_hex), "%s_hex", name);
	if (args->given & OPT_HEX) {
		json_object_set_new(params, name_hex, json_string(bytes));
	} else if (text_is_utf8(bytes, strlen(bytes))) {
		json_object_set_new(params, name, json_string(bytes));
	} else {
		hex = text_hex(bytes, strlen(bytes));
		json_object_set_new(params, name_hex, json_string(hex));
		free(hex);
	}
}

/* @param text UTF-8; NULL: not given. */
static void
set_text(json_t *params, const char *name, const char *text)
{
	if (text)
		json_object_set_new(params, name, json_string(text));
}

/* The client or channel that the operand names. */
static json_t *
target_params(const struct args *args)
{
	json_t *params = json_object();

	if (args->given & OPT_CHANNEL)
		json_object_set_new(params, "channel", json_string(args->id));
	else
		set_bytes(params, args, "clientid", args->id);
	set_text(params, "domain", args->domain);
	return params;
}

/* A number where it is one, decimal or hexadecimal; all else the daemon judges as a name. */
static json_t *
reason_param(const char *text)
{
	bool hex = strncmp(text, "0x", 2) == 0 || strncmp(text, "0X", 2) == 0;
	size_t n = strspn(text + 2 * hex, hex ? "0123456789abcdefABCDEF" : "0123456789");

	if (n > 0 && n <= 9 && text[2 * hex + n] == '\0')
		return json_integer((json_int_t)strtoull(text, NULL, hex ? 16 : 10));
	return json_string(text);
}

static enum status
unknown(const struct args *args)
{
	char *id = text_visible(args->id, strlen(args->id));

	fprintf(stderr, "mqtrackctl: unknown %s \"%s\"\n",
			args->given & OPT_CHANNEL ? "channel" : "client", id);
	free(id);
	return STATUS_REFUSED;
}

/* One that follows or pages would go on in vain. */
void
check_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return;
	fprintf(stderr, "mqtrackctl: cannot write: %s\n", strerror(errno));
	exit(STATUS_USAGE);
}

static void
print_json(const json_t *json)
{
	text_print_json(json);
	putchar('\n');
	check_output();
}

/* --- commands -------------------------------------------------------------------------------- */

/* Pages go out as they come, so that a million clients need no memory; with --json they make one
 * text of the shape of a single answer. */
struct listing {
	struct print_table table;
	bool json;
	uint64_t n;
};

/* @param left at most so many: by client id the daemon gives all that there are. */
static void
listing_page(struct listing *listing, json_t *clients, uint64_t left)
{
	while (json_array_size(clients) > left)
		json_array_remove(clients, json_array_size(clients) - 1);
	if (!listing->json) {
		if (json_array_size(clients) > 0 || !listing->table.begun)
			print_records(&listing->table, clients);
	}
	for (size_t i = 0; listing->json && i < json_array_size(clients); i++) {
		fputs(listing->n + i ? ",\n" : "", stdout);
		text_print_json(json_array_get(clients, i));
	}
	listing->n += json_array_size(clients);
	check_output();
}

static json_t *
listing_params(const struct args *args, uint64_t left, const json_t *cursor)
{
	json_t *params = json_object();

	json_object_set_new(params, "limit", json_integer(left < PAGE_MAX ? (int)left : PAGE_MAX));
	if (args->clientid)
		set_bytes(params, args, "clientid", args->clientid);
	if (args->username)
		set_bytes(params, args, "username", args->username);
	set_text(params, "domain", args->domain);
	set_text(params, "listener", args->listener);
	set_text(params, "broker", args->broker);
	set_text(params, "transport", args->transport);
	set_text(params, "state", args->state);
	set_text(params, "cursor", json_string_value(cursor));
	if (args->given & OPT_WORKER)
		json_object_set_new(params, "worker", json_integer((json_int_t)args->worker));
	return params;
}

static enum status
run_clients(struct client *client, const struct args *args)
{
	struct listing listing = { .table = { .columns = print_client_columns },
		.json = args->json };
	uint64_t limit = args->given & OPT_LIMIT ? args->limit : UINT64_MAX;
	enum status status = STATUS_OK;
	json_t *cursor = NULL, *result;
	bool more = true;

	while (more && listing.n < limit) {
		json_t *params = listing_params(args, limit - listing.n, cursor);

		status = client_call(client, "clients.list", params, &result);
		if (status != STATUS_OK)
			break;
		if (listing.json && !cursor)
			fputs("{\"clients\":[", stdout);
		listing_page(&listing, json_object_get(result, "clients"), limit - listing.n);
		json_decref(cursor);
		cursor = json_incref(json_object_get(result, "cursor"));
		more = json_is_string(cursor);
		json_decref(result);
	}
	if (listing.json && status == STATUS_OK) {
		fputs("],\"cursor\":", stdout);
		text_print_json(cursor);
		fputs("}\n", stdout);
	}
	json_decref(cursor);
	return status;
}

static enum status
run_show(struct client *client, const struct args *args)
{
	json_t *result, *record;
	size_t i;
	enum status status = client_call(client, "clients.get", target_params(args), &result);

	if (status == STATUS_UNKNOWN)
		return unknown(args);
	if (status != STATUS_OK)
		return status;
	if (args->json)
		print_json(result);
	json_array_foreach(json_object_get(result, "clients"), i, record)
	{
		if (args->json)
			break;
		if (i)
			putchar('\n');
		print_client(record);
	}
	json_decref(result);
	return STATUS_OK;
}

static enum status
run_stepdown(struct client *client, const struct args *args, const char *method)
{
	json_t *params = target_params(args), *result;
	enum status status;

	if (args->reason)
		json_object_set_new(params, "reason", reason_param(args->reason));
	status = client_call(client, method, params, &result);
	if (status != STATUS_OK)
		return status;
	if (args->json)
		print_json(result);
	if (json_integer_value(json_object_get(result, "n_channels")) == 0)
		status = unknown(args);
	else if (!args->json)
		print_outcomes(result);
	json_decref(result);
	return status;
}

static enum status
run_kick(struct client *client, const struct args *args)
{
	return run_stepdown(client, args, "clients.kick");
}

static enum status
run_discard(struct client *client, const struct args *args)
{
	return run_stepdown(client, args, "clients.discard");
}

static enum status
run_lookup(struct client *client, const struct args *args)
{
	json_t *result;
	enum status status = client_call(client, "channels.lookup", target_params(args), &result);

	if (status != STATUS_OK)
		return status;
	if (args->json)
		print_json(result);
	if (json_array_size(json_object_get(result, "channels")) == 0)
		status = unknown(args);
	else if (!args->json)
		print_lookup(result);
	json_decref(result);
	return status;
}

static enum status
run_simple(struct client *client, const struct args *args, const char *method,
		void (*print)(const json_t *))
{
	json_t *result;
	enum status status = client_call(client, method, NULL, &result);

	if (status != STATUS_OK)
		return status;
	if (args->json)
		print_json(result);
	else
		print(result);
	json_decref(result);
	return STATUS_OK;
}

static enum status
run_stats(struct client *client, const struct args *args)
{
	return run_simple(client, args, "stats.get", print_stats);
}

static enum status
run_workers(struct client *client, const struct args *args)
{
	return run_simple(client, args, "workers.list", print_workers);
}

static enum status
run_info(struct client *client, const struct args *args)
{
	return run_simple(client, args, "system.info", print_members);
}

static enum status
run_events(struct client *client, const struct args *args)
{
	struct print_table table = { .columns = print_event_columns };
	json_t *params = json_object(), *result;
	enum status status;

	if (args->given & OPT_SINCE)
		json_object_set_new(params, "since", json_integer((json_int_t)args->since));
	if (args->types)
		json_object_set(params, "types", args->types);
	status = client_call(client, "events.subscribe", params, &result);
	if (status != STATUS_OK)
		return status;
	json_decref(result);
	for (uint64_t n = 0; !(args->given & OPT_COUNT) || n < args->count; n++) {
		json_t *message, *event;

		status = client_next(client, -1, &message);
		if (status != STATUS_OK)
			return status;
		event = json_object_get(message, "params");
		if (args->json)
			print_json(event);
		else
			print_event(&table, event);
		check_output();
		json_decref(message);
	}
	return STATUS_OK;
}

static enum status
run_capture(struct client *client, const struct args *args)
{
	json_t *params = target_params(args), *end;
	enum status status;

	if (args->given & OPT_SECONDS)
		json_object_set_new(params, "seconds", json_integer((json_int_t)args->seconds));
	if (args->given & OPT_PACKETS)
		json_object_set_new(params, "packets", json_integer((json_int_t)args->packets));
	if (args->given & OPT_BYTES)
		json_object_set_new(params, "bytes", json_integer((json_int_t)args->bytes));
	if (args->given & OPT_WAIT)
		json_object_set_new(params, "wait", json_true());
	status = capture_to_file(client, params, args->file, &end);
	if (status == STATUS_UNKNOWN)
		return unknown(args);
	if (status != STATUS_OK)
		return status;
	if (args->json)
		print_json(end);
	else
		capture_print_end(end);
	json_decref(end);
	return STATUS_OK;
}

const struct command commands[] = {
	{ "clients", NULL,
			OPT_LIMIT | OPT_CLIENTID | OPT_DOMAIN | OPT_LISTENER | OPT_BROKER |
					OPT_USERNAME | OPT_TRANSPORT | OPT_WORKER | OPT_HEX |
					OPT_CONNECTED | OPT_RETAINED | OPT_STATE,
			"list clients, page by page until all or --limit", run_clients },
	{ "show", "ID", OPT_CHANNEL | OPT_DOMAIN | OPT_HEX, "show all that is known of a client",
			run_show },
	{ "kick", "ID", OPT_CHANNEL | OPT_DOMAIN | OPT_HEX | OPT_REASON,
			"close a client's connections as an administrator", run_kick },
	{ "discard", "ID", OPT_CHANNEL | OPT_DOMAIN | OPT_HEX,
			"close a client's connections and end its session", run_discard },
	{ "lookup", "ID", OPT_DOMAIN | OPT_HEX, "show where a client's channels are", run_lookup },
	{ "stats", NULL, 0, "show gauges and counters", run_stats },
	{ "workers", NULL, 0, "show the data lcores", run_workers },
	{ "events", NULL, OPT_SINCE | OPT_TYPE | OPT_COUNT, "follow what happens to clients",
			run_events },
	{ "capture", "ID",
			OPT_CHANNEL | OPT_DOMAIN | OPT_HEX | OPT_WRITE | OPT_SECONDS | OPT_PACKETS |
					OPT_BYTES | OPT_WAIT,
			"write a client's packets to a file that Wireshark reads", run_capture },
	{ "info", NULL, 0, "show version and configuration of the daemon", run_info },
	{ .name = NULL },
};

const struct command *
command_find(const char *name)
{
	for (const struct command *c = commands; c->name; c++) {
		if (strcmp(c->name, name) == 0)
			return c;
	}
	return NULL;
}
