/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * mqtrack-sim: runs seeds, each in a process of its own, several at a time.
 *
 *	--seed N, --seeds N-M  these; all are run, whatever they find
 *	--seconds N            fresh ones, from a random number on, until the time is over or the first
 *	                       breach; only that is printed, and how many were run
 *	--until-breach         those given, until one of them finds a breach: what a broken tracker must
 *	                       lead to. A process that crashes has found nothing
 *
 * A breach prints the one command that shows it again; --trace FLOW shows the way there. Exit status
 * 0 where every invariant held in every step of every seed, or where one did not and that was wanted.
 *
 * scripts/test runs 200 seeds and the suite `broken` (meson option sim_broken): the simulation once
 * more for each rule, with that rule broken. `scripts/test --long TIME` runs fresh seeds for that long.
 */

#include "sim.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_JOBS 256

struct options {
	struct sim_options run;
	uint64_t first, last;
	uint64_t seconds; /* 0: from first to last */
	unsigned jobs;
	bool until_breach;
};

/* Seeds under way and done. */
struct runs {
	struct {
		pid_t pid;
		uint64_t seed;
	} job[MAX_JOBS];
	unsigned running;
	uint64_t next;
	uint64_t passed, breached, crashed;
	time_t ends;
};

static time_t
now_sec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static bool
wants_more(const struct runs *r, const struct options *o)
{
	if (o->until_breach && r->breached)
		return false;
	if (o->seconds)
		return now_sec() < r->ends && r->breached + r->crashed == 0;
	return r->next <= o->last;
}

static bool
start_one(struct runs *r, const struct options *o)
{
	uint64_t seed = r->next;
	pid_t pid = fork();

	if (pid < 0)
		return false;
	if (pid == 0)
		_exit(sim_run(seed, &o->run));
	r->next++;
	r->job[r->running].pid = pid;
	r->job[r->running++].seed = seed;
	return true;
}

static void
wait_one(struct runs *r, const struct options *o)
{
	int status;
	pid_t pid = wait(&status);
	unsigned i = 0;

	if (pid < 0)
		return;
	while (i < r->running && r->job[i].pid != pid)
		i++;
	if (i == r->running)
		return;
	if (WIFSIGNALED(status))
		printf("seed %" PRIu64 ": ended by signal %d\n  again: %s --seed %" PRIu64
		       " --steps %" PRIu64 "\n",
				r->job[i].seed, WTERMSIG(status), o->run.program, r->job[i].seed,
				o->run.steps);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		r->passed++;
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
		r->breached++;
	else
		r->crashed++;
	r->job[i] = r->job[--r->running];
}

static int
run_seeds(const struct options *o)
{
	struct runs r = { .next = o->first, .ends = now_sec() + (time_t)o->seconds };

	if (o->seconds)
		printf("seeds from %" PRIu64 " on, %" PRIu64 " steps each, for %" PRIu64
		       " s, %u at a time\n",
				o->first, o->run.steps, o->seconds, o->jobs);
	while (wants_more(&r, o) || r.running > 0) {
		while (r.running < o->jobs && wants_more(&r, o))
			if (!start_one(&r, o))
				return 1;
		wait_one(&r, o);
	}
	printf("%" PRIu64 " seeds passed, %" PRIu64 " failed\n", r.passed, r.breached + r.crashed);
	if (o->until_breach)
		return r.breached ? 0 : 1;
	return r.breached + r.crashed > 0 || r.passed == 0 ? 1 : 0;
}

/* Small enough to be typed again. */
static uint64_t
random_seed(void)
{
	uint32_t seed = 0;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = (uint32_t)getpid();
	return seed;
}

static int
usage(FILE *to)
{
	fprintf(to,
			"usage: mqtrack-sim [--seed N | --seeds N-M | --seconds N] [--steps N] "
			"[--jobs N] [--until-breach] [--verbose] [--trace FLOW]\n");
	return to == stdout ? 0 : 2;
}

static bool
parse_number(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	return *text != '\0' && *text != '-' && *end == '\0' && errno == 0;
}

/* @return false where the option cannot be understood. */
static bool
parse_option(struct options *o, int c)
{
	uint64_t n;

	switch (c) {
	case 's':
		o->seconds = 0;
		if (!parse_number(optarg, &o->first))
			return false;
		o->last = o->first;
		return true;
	case 'S':
		o->seconds = 0;
		return sscanf(optarg, "%" SCNu64 "-%" SCNu64, &o->first, &o->last) == 2;
	case 'T':
		o->first = random_seed();
		o->run.quiet = true;
		return parse_number(optarg, &o->seconds) && o->seconds > 0;
	case 'n':
		return parse_number(optarg, &o->run.steps);
	case 'j':
		if (!parse_number(optarg, &n) || n == 0 || n > MAX_JOBS)
			return false;
		o->jobs = (unsigned)n;
		return true;
	case 'b':
		o->until_breach = true;
		return true;
	case 't':
		o->run.trace = atoi(optarg);
		return true;
	case 'v':
		o->run.verbose = true;
		return true;
	default:
		return false;
	}
}

int
main(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "seeds", required_argument, NULL, 'S' },
		{ "seconds", required_argument, NULL, 'T' },
		{ "steps", required_argument, NULL, 'n' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "until-breach", no_argument, NULL, 'b' },
		{ "trace", required_argument, NULL, 't' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct options o = {
		.run = { .program = argv[0], .steps = 10000, .trace = -1 },
		.first = 1,
		.last = 10,
		.jobs = 1,
	};
	int c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
		if (c == 'h')
			return usage(stdout);
		if (!parse_option(&o, c))
			return usage(stderr);
	}
	return run_seeds(&o);
}
