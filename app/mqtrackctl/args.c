/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line: one table of options, of which each command takes some.
 */
#include "args.h"

#include "commands.h"
#include "mqtrack/config.h"
#include "text.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Letters of options that have none. */
enum {
	LONG_TRANSPORT = 256,
	LONG_WORKER,
	LONG_STATE,
};

static const struct {
	unsigned bit; /* 0: every command takes it */
	struct option option;
	int letter;
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
	{ OPT_LISTENER, { "listener", required_argument, NULL, 'l' }, 'l', "NAME",
			"only of this listener" },
	{ OPT_BROKER, { "broker", required_argument, NULL, 'B' }, 'B', "BROKER",
			"only of this broker: its name, ADDRESS or ADDRESS:PORT" },
	{ OPT_USERNAME, { "username", required_argument, NULL, 'u' }, 'u', "NAME",
			"only with this user name" },
	{ OPT_TRANSPORT, { "transport", required_argument, NULL, LONG_TRANSPORT }, LONG_TRANSPORT,
			"NAME", "only over this transport: tcp or ws" },
	{ OPT_WORKER, { "worker", required_argument, NULL, LONG_WORKER }, LONG_WORKER, "N",
			"only at this worker" },
	{ OPT_HEX, { "hex", no_argument, NULL, 'x' }, 'x', NULL,
			"client id and user name are given in hexadecimal" },
	{ OPT_SINCE, { "since", required_argument, NULL, 'S' }, 'S', "N",
			"begin after event N, as far back as the daemon remembers" },
	{ OPT_TYPE, { "type", required_argument, NULL, 't' }, 't', "TYPE",
			"only events of this type; may be given again" },
	{ OPT_CONNECTED, { "connected", no_argument, NULL, 'C' }, 'C', NULL,
			"only clients that are connected" },
	{ OPT_RETAINED, { "retained", no_argument, NULL, 'R' }, 'R', NULL,
			"only sessions whose client has gone" },
	{ OPT_STATE, { "state", required_argument, NULL, LONG_STATE }, LONG_STATE, "STATE",
			"only connected, orphaned, disconnected or retained ones" },
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
	char letter[] = { '-', (char)options[i].letter, ',', '\0' }, text[48];

	snprintf(text, sizeof(text), "%-3s --%s%s%s", options[i].letter < 256 ? letter : "",
			options[i].option.name, options[i].arg ? " " : "",
			options[i].arg ? options[i].arg : "");
	printf("  %-23s %s\n", text, options[i].help);
}

const char *
args_default_socket(void)
{
	static struct mqt_config config;

	mqt_config_init(&config);
	return config.control.socket;
}

void
args_help(const struct command *command)
{
	if (command) {
		printf("Usage: mqtrackctl %s [OPTION]...%s%s\n%c%s.\n", command->name,
				command->operand ? " " : "",
				command->operand ? command->operand : "",
				command->help[0] - 'a' + 'A', command->help + 1);
	} else {
		puts("Usage: mqtrackctl [OPTION]... COMMAND [ID]\n"
		     "Asks a running mqtrackd through its control socket.\n\nCommands:");
		for (const struct command *c = commands; c->name; c++)
			printf("  %-8s %-3s %s\n", c->name, c->operand ? c->operand : "", c->help);
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
			args_default_socket());
}

enum status
args_error(const char *what, const char *value)
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

/*
 * A text that goes to the daemon as such. JSON has no other bytes than UTF-8; an option that could not
 * be said must not be left out, for that would be about all.
 */
static bool
read_text(const char *value, const char **text)
{
	*text = value;
	return text_is_utf8(value, strlen(value));
}

static bool
read_positive(const char *text, uint64_t *value)
{
	return read_number(text, value) && *value > 0;
}

static bool
add_type(struct args *args, const char *value)
{
	if (!args->types)
		args->types = json_array();
	return json_array_append_new(args->types, json_string(value)) == 0;
}

/* @return whether the value is one that the option can have. */
static bool
take_option(struct args *args, size_t i, const char *value)
{
	args->given |= options[i].bit;
	switch (options[i].letter) {
	case 's':
		args->socket = value;
		return true;
	case 'j':
		args->json = true;
		return true;
	case 'h':
		args->help = true;
		return true;
	case 'n':
		return read_positive(value, &args->limit);
	case 'i':
		args->clientid = value;
		return true;
	case 'u':
		args->username = value;
		return true;
	case 'd':
		return read_text(value, &args->domain);
	case 'l':
		return read_text(value, &args->listener);
	case 'B':
		return read_text(value, &args->broker);
	case LONG_TRANSPORT:
		return read_text(value, &args->transport);
	case LONG_WORKER:
		return read_number(value, &args->worker);
	case 'C':
		return read_text("connected", &args->state);
	case 'R':
		return read_text("retained", &args->state);
	case LONG_STATE:
		return read_text(value, &args->state);
	case 'r':
		return read_text(value, &args->reason);
	case 'S':
		return read_number(value, &args->since);
	case 'w':
		args->file = value;
		return true;
	case 'T':
		return read_positive(value, &args->seconds);
	case 'p':
		return read_positive(value, &args->packets);
	case 'b':
		return read_positive(value, &args->bytes);
	case 'N':
		return read_positive(value, &args->count);
	case 't':
		return add_type(args, value);
	}
	return true;
}

static enum status
wrong_value(size_t i, const char *value)
{
	char what[64];

	snprintf(what, sizeof(what), "not a value for --%s:", options[i].option.name);
	return args_error(what, value);
}

/* What getopt_long() has just refused: a letter in the middle of others is not an argument yet. */
static enum status
unknown_option(char **argv)
{
	const char name[] = { '-', (char)optopt, '\0' };

	if (optopt != 0 && option_find(optopt) < N_OPTIONS)
		return args_error("no value belongs to", argv[optind - 1]);
	return args_error("unknown option", optopt ? name : argv[optind - 1]);
}

enum status
args_read(int argc, char **argv, struct args *args)
{
	struct option longs[N_OPTIONS + 1] = { 0 };
	char shorts[2 * N_OPTIONS + 2] = ":"; /* the ':' in front tells missing arguments */
	size_t n = 1;
	int letter;

	for (size_t i = 0; i < N_OPTIONS; i++) {
		longs[i] = options[i].option;
		if (options[i].letter >= 256)
			continue;
		shorts[n++] = (char)options[i].letter;
		if (options[i].arg)
			shorts[n++] = ':';
	}
	while ((letter = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (letter == '?')
			return unknown_option(argv);
		if (letter == ':')
			return args_error("an argument is missing for", argv[optind - 1]);
		if (letter == 'V') {
			printf("mqtrackctl %s\n", MQT_VERSION);
			check_output();
			exit(STATUS_OK);
		}
		n = option_find(letter);
		if (!take_option(args, n, optarg))
			return wrong_value(n, optarg);
	}
	return STATUS_OK;
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

enum status
args_check(const struct command *command, struct args *args, int n_operands, char **operands)
{
	for (size_t i = 0; i < N_OPTIONS; i++) {
		if (options[i].bit & args->given & ~command->options)
			return not_taken(command, options[i].option.name);
	}
	if (n_operands < (command->operand ? 1 : 0))
		return args_error("an ID is missing for", command->name);
	if (n_operands > (command->operand ? 1 : 0))
		return args_error("one operand too many:", operands[command->operand ? 1 : 0]);
	if (args->given & OPT_CHANNEL && args->given & (OPT_DOMAIN | OPT_HEX))
		return args_error("--channel goes without --domain and --hex", "");
	if (args->given & OPT_CHANNEL && args->given & OPT_WAIT)
		return args_error("--wait goes without --channel", "");
	if (command->options & OPT_WRITE && !args->file)
		return args_error("--write FILE is missing for", command->name);
	if (args->json && args->file && strcmp(args->file, "-") == 0)
		return args_error("--json goes without --write -", "");
	if (__builtin_popcount(args->given & (OPT_CONNECTED | OPT_RETAINED | OPT_STATE)) > 1)
		return args_error("--connected, --retained or --state, not two of them", "");
	if (args->given & OPT_CHANNEL && !text_is_utf8(operands[0], strlen(operands[0])))
		return args_error("not a channel id:", operands[0]);
	if (command->operand && args->given & OPT_HEX && !is_hex(operands[0]))
		return args_error("not pairs of hexadecimal digits:", operands[0]);
	if (args->given & OPT_HEX && args->clientid && !is_hex(args->clientid))
		return args_error("not pairs of hexadecimal digits:", args->clientid);
	if (args->given & OPT_HEX && args->username && !is_hex(args->username))
		return args_error("not pairs of hexadecimal digits:", args->username);
	args->id = command->operand ? operands[0] : NULL;
	return STATUS_OK;
}
