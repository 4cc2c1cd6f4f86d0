/* SPDX-License-Identifier: BSD-3-Clause */
#include "mqtrackctl_run.h"

#include "eal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ARGS 16
#define TOO_LONG 60000 /* ms until a program counts as stuck */

static const char *program;

struct run run; /* large, one at a time */
const char *run_stdout;

static void
append(char *text, int fd, bool *open)
{
	size_t len = strlen(text);
	ssize_t n = read(fd, text + len, RUN_OUTPUT - 1 - len);

	if (n > 0)
		text[len + (size_t)n] = '\0';
	*open = n > 0;
}

void
run_in(struct tracker *t, const char *locale, const char *const *args)
{
	char lc[64], *env[] = { lc, NULL };
	const char *argv[MAX_ARGS + 4] = { program, "--socket", t->config.control.socket };
	int out[2], err[2], n = 3, waited = 0;
	bool out_open = true, err_open = true;
	posix_spawn_file_actions_t actions;
	pid_t pid;

	for (int i = 0; args[i] && i < MAX_ARGS; i++)
		argv[n++] = args[i];
	snprintf(lc, sizeof(lc), "LC_ALL=%s", locale);
	memset(&run, 0, sizeof(run));
	CHECK(pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0);
	posix_spawn_file_actions_init(&actions);
	if (!run_stdout)
		posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
	else if (run_stdout[0])
		posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, run_stdout, O_WRONLY, 0);
	else
		posix_spawn_file_actions_addclose(&actions, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, err[1], STDERR_FILENO);
	CHECK_EQ(posix_spawn(&pid, program, &actions, NULL, (char *const *)(uintptr_t)argv, env),
			0);
	posix_spawn_file_actions_destroy(&actions);
	close(out[1]);
	close(err[1]);
	while ((out_open || err_open) && waited < TOO_LONG) {
		struct pollfd fds[] = { { .fd = out_open ? out[0] : -1, .events = POLLIN },
			{ .fd = err_open ? err[0] : -1, .events = POLLIN } };

		waited += poll(fds, 2, 1) == 0;
		if (fds[0].revents)
			append(run.out, out[0], &out_open);
		if (fds[1].revents)
			append(run.err, err[0], &err_open);
		if (t->cm)
			tracker_step(t);
	}
	CHECK(waited < TOO_LONG);
	if (waited >= TOO_LONG)
		kill(pid, SIGKILL);
	close(out[0]);
	close(err[0]);
	CHECK(waitpid(pid, &run.status, 0) == pid);
	run.status = WIFEXITED(run.status) ? WEXITSTATUS(run.status) : 128;
}

bool
has(const char *text, const char *part)
{
	bool found = strstr(text, part) != NULL;

	if (!found)
		printf("\n    no \"%s\" in: %s\n", part, text);
	return found;
}

size_t
n_lines(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

void
start(struct tracker *t)
{
	tracker_init(t);
	tracker_start(t);
}

int
run_suites(int argc, char **argv, CU_SuiteInfo *suites)
{
	if (argc != 2 || access(argv[1], X_OK) < 0) {
		fprintf(stderr, "usage: %s MQTRACKCTL\n", argv[0]);
		return 2;
	}
	program = argv[1];
	if (eal_start("mqtrackctl") < 0)
		return 2;
	return eal_stop(check_run(suites));
}
