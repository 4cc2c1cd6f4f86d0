/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The arguments for rte_eal_init(). A user who says nothing gets a tracker that starts on a fresh
 * machine; whoever says something about memory, PCI, lcores or the prefix decides it alone.
 * Synchronisation: none, one thread at start.
 */
#include "eal_args.h"

#include "devices.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>

/*
 * Rough upper bounds. EAL's memory has the packets and what workers have among themselves; clients,
 * connections and tables are mapped beside it as they come. Without huge pages only what is touched
 * costs.
 */
#define BASE_MB          96
#define MBUF_BYTES       2560
#define FRAGMENT_BYTES   256
#define CLIENT_BYTES     768 /* connected, all counted, with a small session */
#define RETAINED_BYTES   512
#define CONNECTION_BYTES 384 /* without a client */
#define EMBRYO_BYTES     256

static const char *const memory_options[] = { "-m", "--socket-mem", "--socket-limit", "--no-huge",
	"--in-memory", "--huge-dir", "--huge-unlink", "--huge-worker-stack", "--legacy-mem",
	"--single-file-segments", "--match-allocations", "--no-shconf", NULL };
static const char *const pci_options[] = { "-a", "--allow", "-b", "--block", "--no-pci", NULL };
static const char *const lcore_options[] = { "-l", "-c", "--lcores", NULL };
static const char *const prefix_options[] = { "--file-prefix", NULL };
static const char *const log_options[] = { "--log-level", NULL };

/* What EAL says at each start though nothing is wrong. */
static const char *const quiet[] = { "lib.eal:notice", "lib.telemetry:error" };

int
eal_args_split(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			argv[i] = argv[0];
			return i;
		}
	}
	return 0;
}

/* Whether the user gave one of these options. */
static bool
has_option(int argc, char *const *argv, const char *const *options)
{
	for (int i = 1; i < argc; i++) {
		for (const char *const *opt = options; *opt; opt++) {
			size_t len = strlen(*opt);

			if (strncmp(argv[i], *opt, len) != 0)
				continue;
			/* "-m512" and "--socket-mem=512", but "--no-huge" is not "--no-hugeX" */
			if (argv[i][1] != '-' || argv[i][len] == '\0' || argv[i][len] == '=')
				return true;
		}
	}
	return false;
}

__attribute__((format(printf, 2, 3))) static int
add(struct eal_args *args, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (args->argc == EAL_ARGS_MAX)
		return -E2BIG;
	va_start(ap, fmt);
	n = vasprintf(&args->owned[args->argc], fmt, ap);
	va_end(ap);
	if (n < 0) {
		args->owned[args->argc] = NULL;
		return -ENOMEM;
	}
	args->argv[args->argc] = args->owned[args->argc];
	args->argc++;
	return 0;
}

static uint64_t
eal_memory_mb(const struct mqt_config *cfg)
{
	uint64_t bytes = (uint64_t)cfg->n_mbufs * MBUF_BYTES;

	bytes += (uint64_t)cfg->limits.fragments * FRAGMENT_BYTES * MQT_MAX_WORKERS;
	return BASE_MB + (bytes >> 20);
}

static uint64_t
memory_mb(const struct mqt_config *cfg)
{
	const struct mqt_limits *limits = &cfg->limits;
	uint64_t bytes;

	bytes = (uint64_t)limits->max_clients * CLIENT_BYTES;
	bytes += (uint64_t)limits->max_retained * RETAINED_BYTES;
	bytes += (uint64_t)limits->max_connections * CONNECTION_BYTES;
	bytes += (uint64_t)limits->max_embryos * EMBRYO_BYTES;
	return eal_memory_mb(cfg) + (bytes >> 20);
}

static int
add_memory(struct eal_args *args, const struct mqt_config *cfg)
{
	int ret;

	ret = add(args, "--no-huge");
	if (ret == 0)
		ret = add(args, "--no-shconf");
	if (ret == 0)
		ret = add(args, "-m");
	if (ret == 0)
		ret = add(args, "%" PRIu64, eal_memory_mb(cfg));
	args->memory_mb = memory_mb(cfg);
	return ret;
}

/* One PCI device of the configuration; @return 1 where it is none. */
static int
add_pci_device(struct eal_args *args, const char *device)
{
	char address[DEVICE_PCI_LEN];
	int ret;

	if (!device_is_pci(device, address))
		return 1;
	ret = add(args, "-a");
	return ret ? ret : add(args, "%s", address);
}

/* The control lcore and one worker, on CPUs of their own where there are two. */
static int
add_lcores(struct eal_args *args)
{
	int cpus[2] = { 0, 0 }, n = 0;
	cpu_set_t set;
	int ret;

	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		for (int cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++)
			if (CPU_ISSET(cpu, &set))
				cpus[n++] = cpu;
	if (n < 2)
		cpus[1] = cpus[0];
	ret = add(args, "--lcores");
	return ret ? ret : add(args, "0@%d,1@%d", cpus[0], cpus[1]);
}

static int
add_missing(struct eal_args *args, const struct mqt_config *cfg, int argc, char *const *argv)
{
	bool has_pci = false, chooses_pci = has_option(argc, argv, pci_options);
	int ret = 0;

	for (unsigned i = 0; i < 2u * cfg->n_pairs && !chooses_pci; i++) {
		const struct mqt_port_pair *pair = &cfg->pairs[i / 2];

		ret = add_pci_device(args, i % 2 ? pair->inside : pair->outside);
		if (ret < 0)
			return ret;
		has_pci |= ret == 0;
	}
	ret = 0;
	if (!has_pci && !chooses_pci)
		ret = add(args, "--no-pci");
	if (ret == 0 && !has_pci && !has_option(argc, argv, memory_options))
		ret = add_memory(args, cfg);
	if (ret == 0 && !has_option(argc, argv, lcore_options))
		ret = add_lcores(args);
	if (ret == 0 && !has_option(argc, argv, prefix_options))
		ret = add(args, "--file-prefix=mqtrack-%d", (int)getpid());
	for (size_t i = 0; i < RTE_DIM(quiet) && !has_option(argc, argv, log_options); i++)
		if (ret == 0)
			ret = add(args, "--log-level=%s", quiet[i]);
	return ret;
}

int
eal_args_make(const struct mqt_config *cfg, int user_argc, char *const *user, struct eal_args *out)
{
	int ret = 0;

	memset(out, 0, sizeof(*out));
	for (int i = 0; ret == 0 && i < user_argc; i++)
		ret = add(out, "%s", user[i]);
	if (ret == 0)
		ret = add_missing(out, cfg, user_argc, user);
	if (ret != 0)
		eal_args_free(out);
	return ret;
}

void
eal_args_free(struct eal_args *args)
{
	for (int i = 0; i < args->argc; i++)
		free(args->owned[i]);
	memset(args, 0, sizeof(*args));
}
