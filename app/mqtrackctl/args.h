/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQTRACKCTL_ARGS_H
#define MQTRACKCTL_ARGS_H

#include "client.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Options, as bits: each command says which it takes. */
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
	OPT_USERNAME = 1u << 16,
	OPT_LISTENER = 1u << 17,
	OPT_BROKER = 1u << 18,
	OPT_TRANSPORT = 1u << 19,
	OPT_WORKER = 1u << 20,
	OPT_STATE = 1u << 21,
};

/** The command line. Its texts are UTF-8 where not said otherwise. */
struct args {
	const char *socket; /* bytes */
	bool json;
	bool help;
	unsigned given; /* enum option_bit */
	uint64_t limit, since, count, seconds, packets, bytes, worker;
	const char *file;                /* of --write, bytes */
	const char *clientid, *username; /* bytes; with --hex their digits */
	const char *domain, *listener, *broker, *transport;
	const char *state;  /* of --state, --connected or --retained */
	const char *reason; /* of --reason: a code or its name */
	json_t *types;
	const char *id; /* the operand; bytes, with --hex their digits, or a channel id */
};

struct command {
	const char *name;
	const char *operand; /* NULL: takes none */
	unsigned options;
	const char *help;
	enum status (*run)(struct client *client, const struct args *args);
};

/** Where the daemon listens unless told otherwise. */
const char *args_default_socket(void);

/**
 * Reads the options; --version is answered at once and ends the program.
 * @return STATUS_OK with optind at the command, or STATUS_USAGE having said what is wrong.
 */
enum status args_read(int argc, char **argv, struct args *args);

/** Whether options and operands are those of the command; sets the operand. @return as args_read(). */
enum status args_check(
		const struct command *command, struct args *args, int n_operands, char **operands);

/** Prints the help of a command; NULL: of all. */
void args_help(const struct command *command);

/** Says what is wrong with the command line. @param value quoted behind it; may be empty. */
enum status args_error(const char *what, const char *value);

#endif
