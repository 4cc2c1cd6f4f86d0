/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mqtrackctl: asks a running mqtrackd through its control socket and prints the answer as a table
 * or, with --json, as the daemon gave it.
 */
#include "args.h"
#include "commands.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdlib.h>
#include <unistd.h>

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
	struct args args = { .socket = args_default_socket() };
	const struct command *command = NULL;
	enum status status;

	open_closed_streams();
	setlocale(LC_CTYPE, "");
	status = args_read(argc, argv, &args);
	if (status == STATUS_OK && optind < argc) {
		command = command_find(argv[optind]);
		if (!command)
			status = args_error("unknown command", argv[optind]);
	}
	if (status == STATUS_OK && args.help) {
		args_help(command);
	} else if (status == STATUS_OK && !command) {
		status = args_error("a command is missing", "");
	} else if (status == STATUS_OK) {
		status = args_check(command, &args, argc - optind - 1, argv + optind + 1);
		if (status == STATUS_OK)
			status = run(command, &args);
	}
	json_decref(args.types);
	check_output();
	return status;
}
