/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

/*
 * mqtrack-bench: how fast the parts of the tracker are on this machine, each beside a baseline
 * measured in the same process. No ports, no huge pages, no root needed.
 */

static const struct command {
	const char *name;
	const char *help;
	int (*run)(const struct bench_args *args, struct bench_report *report);
} commands[] = {
	{ "codec",
			"the MQTT cursors and parsers, SIZE KiB of streams; baseline: reading the "
			"same bytes",
			bench_codec },
	{ "maps", "the three maps, SIZE channels; baseline: a bare rte_hash of the same keys",
			bench_maps },
	{ "cm", "the channel manager, SIZE clients; baseline: its owners on the same core",
			bench_cm },
	{ "datapath",
			"packets of SIZE established connections: frames of PUBLISH (91, 128, 512 "
			"bytes), PINGREQ (68, with TCP timestamps), ACK (54); baseline: view and "
			"rte_hash look-up alone",
			bench_datapath },
	{ "memory", "bytes a connected client, all counted, SIZE of them (1M, 4M, up to 10M)",
			bench_memory },
	{ "idle",
			"CPU of all lcores after a second of silence, first packet, wake-up; SIZE "
			"ms; "
			"baseline: bare sleeps and wakes",
			bench_idle },
	{ "lives", "whole connections, SIZE of them a run: one worker, the control lcore",
			bench_lives },
	{ "latency", "time of a packet in the tracker at a share of its capacity, SIZE connections",
			bench_latency },
	{ "takeover", "how long CONNACK is held, by where the older of SIZE clients are",
			bench_takeover },
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void
usage(FILE *out)
{
	fprintf(out,
			"usage: mqtrack-bench COMMAND [--runs N] [--size N] [--json]\n"
			"       mqtrack-bench --list\n"
			"\ncommands:\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].help);
	fprintf(out,
			"\noptions:\n"
			"  --runs N  times that everything is measured (5)\n"
			"  --size N  number of channels, clients, connections\n"
			"  --json    print a JSON array instead of a table\n"
			"  --list    print the names of the commands, one a line\n");
}

static void
list(void)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		puts(commands[i].name);
}

/* @return whether @p text is a number in [1, max]. */
static bool
parse_number(const char *text, uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno == 0 && *text >= '0' && *text <= '9' && *end == '\0' && *out >= 1 &&
			*out <= max;
}

/* @return 0; 'h', 'l': help, the list was asked for; -1: wrong usage, said on stderr. */
static int
parse_args(int argc, char **argv, struct bench_args *args)
{
	static const struct option options[] = {
		{ "runs", required_argument, NULL, 'r' },
		{ "size", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ "list", no_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t n = 0;
	int opt;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (opt == 'r' && parse_number(optarg, BENCH_MAX_RUNS, &n)) {
			args->runs = (unsigned)n;
		} else if (opt == 's' && parse_number(optarg, 10000000, &n)) {
			args->size = n;
		} else if (opt == 'j') {
			args->json = true;
		} else if (opt == 'h' || opt == 'l') {
			return opt;
		} else {
			if (opt == 'r' || opt == 's')
				fprintf(stderr, "mqtrack-bench: bad number: %s\n", optarg);
			return -1;
		}
	}
	return 0;
}

static const struct command *
find_command(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(name, commands[i].name) == 0)
			return &commands[i];
	return NULL;
}

static int
run(const struct command *cmd, const struct bench_args *args)
{
	struct bench_report *report = bench_report_create();
	int rc = 1;

	if (report && cmd->run(args, report) == 0 &&
			bench_report_print(report, args->json, stdout) == 0)
		rc = 0;
	bench_report_destroy(report);
	return rc;
}

int
main(int argc, char **argv)
{
	struct bench_args args = { .runs = 5 };
	const struct command *cmd;
	int rc;

	rc = parse_args(argc, argv, &args);
	if (rc == 'h') {
		usage(stdout);
		return 0;
	}
	if (rc == 'l') {
		list();
		return 0;
	}
	cmd = rc == 0 && optind + 1 == argc ? find_command(argv[optind]) : NULL;
	if (!cmd) {
		usage(stderr);
		return 2;
	}
	return run(cmd, &args);
}
