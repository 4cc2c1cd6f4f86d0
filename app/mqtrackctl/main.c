/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mqtrackctl: asks a running mqtrackd through its control socket and prints the answer as a table
 * or, with --json, as the daemon gave it.
 *
 * A client id on the command line is taken byte by byte; one that is not UTF-8, or is given in
 * hexadecimal with --hex, goes to the daemon as clientid_hex.
 */
#include "capture.h"
#include "client.h"
#include "mqtrack/config.h"
#include "print.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <locale.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE_MAX 1000 /* the most that clients.list gives at once */

/* Options, as bits: each command says which it takes. */
enum option_bit {
	OPT_LIMIT = 1u << 0,
	OPT_CLIENTID = 1u << 1,
	OPT_CHANNEL = 1u << 2,
	OPT_DOMAIN = 1u << 3,
	OPT_HEX = 1u << 4,
	OPT_SINCE = 1u << 5,
	OPT_TYPE = 1u << 6,
	OPT_COUNT = 1u << 7,
	OPT_CONNECTED = 1u << 8,
	OPT_RETAINED = 1u << 9,
	OPT_REASON = 1u << 10,
	OPT_WRITE = 1u << 11,
	OPT_SECONDS = 1u << 12,
	OPT_PACKETS = 1u << 13,
	OPT_BYTES = 1u << 14,
	OPT_WAIT = 1u << 15,
};

struct args {
	const char *socket;
	bool json;
	bool help;
	unsigned given; /* enum option_bit */
	uint64_t limit, since, count, seconds, packets, bytes;
	const char *file;     /* of --write */
	const char *clientid; /* of --clientid */
	const char *domain;
	const char *reason; /* of --reason: a code or its name */
	json_t *types;
	const char *id; /* the operand */
};

struct command {
	const char *name;
	const char *operand; /* NULL: takes none */
	unsigned options;
	const char *help;
	enum status (*run)(struct client *client, const struct args *args);
};

/* --- params ---------------------------------------------------------------------------------- */

static void
set_clientid(json_t *params, const struct args *args, const char *id)
{
	char *hex;

	if (args->given & OPT_HEX) {
		json_object_set_new(params, "clientid_hex", json_string(id));
	} else if (text_is_utf8(id, strlen(id))) {
		json_object_set_new(params, "clientid", json_string(id));
	} else {
		hex = text_hex(id, strlen(id));
		json_object_set_new(params, "clientid_hex", json_string(hex));
		free(hex);
	}
}

/* The client or channel that the operand names. */
static json_t *
target_params(const struct args *args)
{
	json_t *params = json_object();

	if (args->given & OPT_CHANNEL)
		json_object_set_new(params, "channel", json_string(args->id));
	else
		set_clientid(params, args, args->id);
	if (args->domain)
		json_object_set_new(params, "domain", json_string(args->domain));
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

/* Ends the program where what it prints goes nowhere: one that follows or pages would go on in vain. */
static void
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

static void
listing_page(struct listing *listing, const json_t *clients)
{
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
	if (args->given & OPT_CLIENTID)
		set_clientid(params, args, args->clientid);
	if (args->domain)
		json_object_set_new(params, "domain", json_string(args->domain));
	if (args->given & OPT_CONNECTED)
		json_object_set_new(params, "connected", json_true());
	if (args->given & OPT_RETAINED)
		json_object_set_new(params, "state", json_string("retained"));
	if (json_is_string(cursor))
		json_object_set_new(params, "cursor", json_string(json_string_value(cursor)));
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
		listing_page(&listing, json_object_get(result, "clients"));
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

static const struct command commands[] = {
	{ "clients", NULL,
			OPT_LIMIT | OPT_CLIENTID | OPT_DOMAIN | OPT_HEX | OPT_CONNECTED |
					OPT_RETAINED,
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
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* --- usage ----------------------------------------------------------------------------------- */

static const struct {
	unsigned bit; /* 0: every command takes it */
	struct option option;
	char letter;
	const char *arg;
	const char *help;
} options[] = {
	{ 0, { "socket", required_argument, NULL, 's' }, 's', "PATH",
			"control socket of mqtrackd" },
	{ 0, { "json", no_argument, NULL, 'j' }, 'j', NULL,
			"print the result as JSON; events: one JSON text a line" },
	{ 0, { "help", no_argument, NULL, 'h' }, 'h', NULL, "show this help" },
	{ 0, { "version", no_argument, NULL, 'V' }, 'V', NULL, "show the version" },
	{ OPT_LIMIT, { "limit", required_argument, NULL, 'n' }, 'n', "N", "at most N clients" },
	{ OPT_CLIENTID, { "clientid", required_argument, NULL, 'i' }, 'i', "ID",
			"only this client id" },
	{ OPT_CHANNEL, { "channel", no_argument, NULL, 'c' }, 'c', NULL,
			"ID is a channel id, not a client id" },
	{ OPT_DOMAIN, { "domain", required_argument, NULL, 'd' }, 'd', "NAME",
			"only in this domain (default: all)" },
	{ OPT_HEX, { "hex", no_argument, NULL, 'x' }, 'x', NULL,
			"the client id is given in hexadecimal" },
	{ OPT_SINCE, { "since", required_argument, NULL, 'S' }, 'S', "N",
			"begin after event N, as far back as the daemon remembers" },
	{ OPT_TYPE, { "type", required_argument, NULL, 't' }, 't', "TYPE",
			"only events of this type; may be given again" },
	{ OPT_CONNECTED, { "connected", no_argument, NULL, 'C' }, 'C', NULL,
			"only clients that are connected" },
	{ OPT_RETAINED, { "retained", no_argument, NULL, 'R' }, 'R', NULL,
			"only sessions whose client has gone" },
	{ OPT_REASON, { "reason", required_argument, NULL, 'r' }, 'r', "CODE|NAME",
			"what an MQTT 5.0 client is told, as 0x9d or server_moved" },
	{ OPT_COUNT, { "count", required_argument, NULL, 'N' }, 'N', "N", "end after N events" },
	{ OPT_WRITE, { "write", required_argument, NULL, 'w' }, 'w', "FILE",
			"write to FILE, - for standard output" },
	{ OPT_SECONDS, { "seconds", required_argument, NULL, 'T' }, 'T', "N",
			"end after N seconds (default: 60)" },
	{ OPT_PACKETS, { "packets", required_argument, NULL, 'p' }, 'p', "N",
			"end after N packets" },
	{ OPT_BYTES, { "bytes", required_argument, NULL, 'b' }, 'b', "N",
			"end before FILE has more than N bytes (default: 16 MiB)" },
	{ OPT_WAIT, { "wait", no_argument, NULL, 'W' }, 'W', NULL,
			"if the client is not there, wait until it connects" },
};

#define N_OPTIONS (sizeof(options) / sizeof(options[0]))

static void
print_option(size_t i)
{
	char text[48];

	snprintf(text, sizeof(text), "-%c, --%s%s%s", options[i].letter, options[i].option.name,
			options[i].arg ? " " : "", options[i].arg ? options[i].arg : "");
	printf("  %-22s %s\n", text, options[i].help);
}

static const char *
default_socket(void)
{
	static struct mqt_config config;

	mqt_config_init(&config);
	return config.control.socket;
}

static void
print_help(const struct command *command)
{
	if (command) {
		printf("Usage: mqtrackctl %s [OPTION]...%s%s\n%c%s.\n", command->name,
				command->operand ? " " : "",
				command->operand ? command->operand : "",
				command->help[0] - 'a' + 'A', command->help + 1);
	} else {
		puts("Usage: mqtrackctl [OPTION]... COMMAND [ID]\n"
		     "Asks a running mqtrackd through its control socket.\n\nCommands:");
		for (size_t i = 0; i < N_COMMANDS; i++)
			printf("  %-8s %-3s %s\n", commands[i].name,
					commands[i].operand ? commands[i].operand : "",
					commands[i].help);
	}
	puts("\nOptions:");
	for (size_t i = 0; i < N_OPTIONS; i++) {
		if (!command || !options[i].bit || command->options & options[i].bit)
			print_option(i);
	}
	printf("\nThe socket is %s unless --socket says another.\n"
	       "In tables \\xNN stands for a byte that a terminal should not see, \\\\ for \\.\n"
	       "Exit status: 0; 1 refused, or an unknown client; 2 wrong usage, or mqtrackd\n"
	       "cannot be reached.\n",
			default_socket());
}

static enum status
usage_error(const char *what, const char *value)
{
	char *text = text_visible(value, strlen(value));

	fprintf(stderr, "mqtrackctl: %s%s%s%s; see mqtrackctl --help\n", what, text[0] ? " \"" : "",
			text, text[0] ? "\"" : "");
	free(text);
	return STATUS_USAGE;
}

static bool
read_number(const char *text, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 &&
			*value <= INT64_MAX;
}

static size_t
option_find(int letter)
{
	size_t i = 0;

	while (i < N_OPTIONS && options[i].letter != letter)
		i++;
	return i;
}

/* @return STATUS_OK, or STATUS_USAGE having said what is wrong. */
static enum status
take_option(struct args *args, size_t i, const char *value)
{
	bool ok = true;

	args->given |= options[i].bit;
	switch (options[i].letter) {
	case 's':
		args->socket = value;
		break;
	case 'j':
		args->json = true;
		break;
	case 'h':
		args->help = true;
		break;
	case 'n':
		ok = read_number(value, &args->limit) && args->limit > 0;
		break;
	case 'i':
		args->clientid = value;
		break;
	case 'd':
		args->domain = value;
		break;
	case 'r':
		args->reason = value;
		break;
	case 'S':
		ok = read_number(value, &args->since);
		break;
	case 'w':
		args->file = value;
		break;
	case 'T':
		ok = read_number(value, &args->seconds) && args->seconds > 0;
		break;
	case 'p':
		ok = read_number(value, &args->packets) && args->packets > 0;
		break;
	case 'b':
		ok = read_number(value, &args->bytes) && args->bytes > 0;
		break;
	case 'N':
		ok = read_number(value, &args->count) && args->count > 0;
		break;
	case 't':
		if (!args->types)
			args->types = json_array();
		json_array_append_new(args->types, json_string(value));
		break;
	}
	return ok ? STATUS_OK : usage_error("not a number that makes sense:", value);
}

static enum status
read_options(int argc, char **argv, struct args *args)
{
	struct option longs[N_OPTIONS + 1] = { 0 };
	char shorts[2 * N_OPTIONS + 2] = ":"; /* the ':' in front tells missing arguments */
	enum status status;
	size_t n = 1;
	int letter;

	for (size_t i = 0; i < N_OPTIONS; i++) {
		longs[i] = options[i].option;
		shorts[n++] = options[i].letter;
		if (options[i].arg)
			shorts[n++] = ':';
	}
	while ((letter = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (letter == '?')
			return usage_error("unknown option", argv[optind - 1]);
		if (letter == ':')
			return usage_error("an argument is missing for", argv[optind - 1]);
		if (letter == 'V') {
			printf("mqtrackctl %s\n", MQT_VERSION);
			check_output();
			exit(STATUS_OK);
		}
		status = take_option(args, option_find(letter), optarg);
		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

static const struct command *
command_find(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static enum status
not_taken(const struct command *command, const char *option)
{
	fprintf(stderr, "mqtrackctl: %s does not take --%s; see mqtrackctl %s --help\n",
			command->name, option, command->name);
	return STATUS_USAGE;
}

static bool
is_hex(const char *text)
{
	size_t len = strlen(text);

	return len % 2 == 0 && strspn(text, "0123456789abcdefABCDEF") == len;
}

/* Whether options and operands are the command's. */
static enum status
check_args(const struct command *command, struct args *args, int n_operands, char **operands)
{
	for (size_t i = 0; i < N_OPTIONS; i++) {
		if (options[i].bit & args->given & ~command->options)
			return not_taken(command, options[i].option.name);
	}
	if (n_operands < (command->operand ? 1 : 0))
		return usage_error("an ID is missing for", command->name);
	if (n_operands > (command->operand ? 1 : 0))
		return usage_error("one operand too many:", operands[command->operand ? 1 : 0]);
	if (args->given & OPT_CHANNEL && args->given & (OPT_DOMAIN | OPT_HEX))
		return usage_error("--channel goes without --domain and --hex", "");
	if (args->given & OPT_CHANNEL && args->given & OPT_WAIT)
		return usage_error("--wait goes without --channel", "");
	if (command->options & OPT_WRITE && !args->file)
		return usage_error("--write FILE is missing for", command->name);
	if (args->json && args->file && strcmp(args->file, "-") == 0)
		return usage_error("--json goes without --write -", "");
	if (args->given & OPT_CONNECTED && args->given & OPT_RETAINED)
		return usage_error("--connected or --retained, not both", "");
	if (command->operand && args->given & OPT_HEX && !is_hex(operands[0]))
		return usage_error("not pairs of hexadecimal digits:", operands[0]);
	if (args->given & OPT_HEX && args->clientid && !is_hex(args->clientid))
		return usage_error("not pairs of hexadecimal digits:", args->clientid);
	args->id = command->operand ? operands[0] : NULL;
	return STATUS_OK;
}

static enum status
run(const struct command *command, const struct args *args)
{
	struct client client;
	enum status status = client_open(&client, args->socket);

	if (status == STATUS_OK)
		status = command->run(&client, args);
	client_close(&client);
	return status;
}

/*
 * A standard stream that is closed gets /dev/null, opened the wrong way around so that using it is
 * an error: otherwise the control socket would take its number, and the output.
 */
static void
open_closed_streams(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
				open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			exit(STATUS_USAGE);
	}
}

int
main(int argc, char **argv)
{
	struct args args = { .socket = default_socket() };
	const struct command *command = NULL;
	enum status status;

	open_closed_streams();
	setlocale(LC_CTYPE, "");
	status = read_options(argc, argv, &args);
	if (status == STATUS_OK && optind < argc) {
		command = command_find(argv[optind]);
		if (!command)
			status = usage_error("unknown command", argv[optind]);
	}
	if (status == STATUS_OK && args.help) {
		print_help(command);
	} else if (status == STATUS_OK && !command) {
		status = usage_error("a command is missing", "");
	} else if (status == STATUS_OK) {
		status = check_args(command, &args, argc - optind - 1, argv + optind + 1);
		if (status == STATUS_OK)
			status = run(command, &args);
	}
	json_decref(args.types);
	check_output();
	return status;
}
