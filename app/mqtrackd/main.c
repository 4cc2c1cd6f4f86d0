/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mqtrackd: the command line.
 */
#include "config.h"
#include "daemon.h"
#include "eal_args.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static void
usage(void)
{
	fputs("usage: mqtrackd [EAL options] -- --config FILE [--check]\n"
	      "       mqtrackd --config FILE [--check] | --help | --version\n"
	      "\n"
	      "Tracks the MQTT connections between the ports named in FILE.\n"
	      "\n"
	      "  -c, --config FILE  configuration (YAML); mqtrackd.yaml describes all keys\n"
	      "      --check        checks FILE and ends: status 0, or 1 and what is wrong\n"
	      "  -h, --help         this text\n"
	      "  -V, --version      version\n"
	      "\n"
	      "EAL options stand before `--`. What they leave out is completed:\n"
	      "  no memory option   --no-huge --no-shconf -m <enough for FILE>; with a PCI device\n"
	      "                     EAL's own defaults, for these need huge pages\n"
	      "                     (with huge pages: --in-memory -m 512)\n"
	      "  no -a, -b          -a <each PCI device in FILE>, else --no-pci\n"
	      "  no -l, --lcores    the main lcore, which is the control lcore, and one worker\n"
	      "  no --file-prefix   --file-prefix=mqtrack-<process id>\n"
	      "  no --log-level     what EAL says at every start is left out\n"
	      "Each lcore but the main one is a worker.\n",
			stdout);
}

struct options {
	const char *config;
	bool check;
};

/* @param what is wrong with the command line. @param arg quoted behind it; may be empty. */
static int
usage_error(const char *what, const char *arg, bool eal_options)
{
	complain("%s%s%s%s; see mqtrackd --help%s", what, arg[0] ? " '" : "", arg,
			arg[0] ? "'" : "",
			eal_options ? ""
				    : ". Options for EAL stand before `--`, as in mqtrackd -l 0,1 "
				      "-- --config FILE");
	return 2;
}

/* @param eal_options whether there are some before. @return -1 to go on, else the exit status. */
static int
parse_options(int argc, char **argv, bool eal_options, struct options *opts)
{
	enum {
		OPT_CHECK = 256
	};
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check", no_argument, NULL, OPT_CHECK },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	char letter[] = "-?";
	int opt;

	/* the ':' in front tells missing arguments, and that we complain ourselves */
	while ((opt = getopt_long(argc, argv, ":c:hV", longs, NULL)) != -1) {
		switch (opt) {
		case 'c':
			opts->config = optarg;
			break;
		case OPT_CHECK:
			opts->check = true;
			break;
		case 'h':
			usage();
			return EXIT_SUCCESS;
		case 'V':
			puts("mqtrackd " MQT_VERSION);
			return EXIT_SUCCESS;
		case ':':
			return usage_error("an argument is missing for", argv[optind - 1], true);
		default:
			/* a letter in the middle of others is not an argument yet */
			letter[1] = (char)optopt;
			return usage_error("unknown option",
					optopt > 0 && optopt < 256 ? letter : argv[optind - 1],
					eal_options);
		}
	}
	if (optind < argc)
		return usage_error("unexpected argument", argv[optind], eal_options);
	if (!opts->config)
		return usage_error("--config FILE is missing", "", true);
	return -1;
}

int
main(int argc, char **argv)
{
	static struct mqt_config config;
	struct options opts = { 0 };
	char err[512];
	int own, status;

	own = eal_args_split(argc, argv);
	status = parse_options(argc - own, argv + own, own > 0, &opts);
	if (status >= 0)
		return status;
	if (config_load(opts.config, &config, err, sizeof(err)) != 0)
		return complain("%s", err), EXIT_FAILURE;
	if (opts.check) {
		printf("%s: ok\n", opts.config);
		return EXIT_SUCCESS;
	}
	optind = 1; /* EAL parses with getopt too */
	return daemon_run(&config, own ? own : 1, argv);
}
