/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mqtrack-gen: the traffic of a fleet of MQTT clients and their brokers, as pcap files or on two
 * DPDK ports with a tracker between them.
 *
 * Life-cycle: options, EAL, mbufs, engine, wire; torn down in reverse. What stands before "--" goes to
 * EAL. Files need neither root nor huge pages.
 */
#include "eal_args.h"
#include "wire.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mempool.h>

#define MBUFS_FILES 63
#define MBUFS_PORTS 16383
#define MBUF_CACHE  32

static volatile sig_atomic_t stop_asked;

static void
on_signal(int sig)
{
	stop_asked = 1;
}

static int
complain(const char *what, const char *why)
{
	fprintf(stderr, "mqtrack-gen: %s: %s\n", what, why);
	return -1;
}

/* EAL leaves its folder behind; it is empty once telemetry's own exit handler has run. */
static char runtime_dir[PATH_MAX];

static void
remove_runtime_dir(void)
{
	if (runtime_dir[0])
		rmdir(runtime_dir);
}

static int
eal_start(const struct gen_options *o, int argc, char **argv, struct eal_args *args)
{
	struct mqt_config *cfg = calloc(1, sizeof(*cfg));
	int ret = cfg ? 0 : -ENOMEM;

	if (cfg && o->output == GEN_PORTS) {
		cfg->n_pairs = 1;
		cfg->n_mbufs = MBUFS_PORTS;
		snprintf(cfg->pairs[0].outside, MQT_NAME_MAX, "%s", o->out[0]);
		snprintf(cfg->pairs[0].inside, MQT_NAME_MAX, "%s", o->out[1]);
	}
	if (cfg)
		ret = eal_args_make(cfg, argc, argv, args);
	free(cfg);
	if (ret != 0)
		return complain("EAL's arguments", strerror(-ret));
	if (atexit(remove_runtime_dir) != 0)
		return complain("atexit", strerror(errno));
	if (rte_eal_init(args->argc, args->argv) < 0)
		return complain("EAL does not start", rte_strerror(rte_errno));
	snprintf(runtime_dir, sizeof(runtime_dir), "%s", rte_eal_get_runtime_dir());
	return 0;
}

/* Without huge pages each mbuf would begin a page, and all alias in the cache. */
static struct rte_mempool *
pool_create(unsigned n)
{
	return rte_mempool_create("gen", n, sizeof(struct rte_mbuf) + RTE_MBUF_DEFAULT_BUF_SIZE,
			MBUF_CACHE, sizeof(struct rte_pktmbuf_pool_private), rte_pktmbuf_pool_init,
			NULL, rte_pktmbuf_init, NULL, SOCKET_ID_ANY,
			rte_eal_has_hugepages() ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG);
}

static int
run_ports(const struct gen_options *o, struct rte_mempool *pool, struct gen_engine *engine)
{
	struct sigaction stop = { .sa_handler = on_signal };
	struct gen_ports ports;
	int ret;

	sigemptyset(&stop.sa_mask);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	ret = gen_ports_open(o, pool, &ports);
	if (ret == 0) {
		gen_ports_run(o, engine, &ports, &stop_asked);
		ret = gen_report(o, engine, &ports);
	}
	gen_ports_close(&ports);
	return ret;
}

static int
run(const struct gen_options *o)
{
	struct rte_mempool *pool = pool_create(o->output == GEN_PORTS ? MBUFS_PORTS : MBUFS_FILES);
	struct gen_engine *engine = pool ? gen_engine_create(o, pool) : NULL;
	int ret = -1;

	if (!engine)
		complain("no memory", rte_strerror(rte_errno));
	else if (o->output == GEN_PORTS)
		ret = run_ports(o, pool, engine);
	else if (gen_files_run(o, engine) == 0)
		ret = gen_report(o, engine, NULL);
	gen_engine_destroy(engine);
	rte_mempool_free(pool);
	return ret;
}

int
main(int argc, char **argv)
{
	struct eal_args args = { 0 };
	struct gen_options options;
	char err[256];
	int own, ret;

	own = eal_args_split(argc, argv);
	ret = gen_options_parse(argc - own, argv + own, &options, err, sizeof(err));
	if (ret > 0) {
		fputs(gen_usage, stdout);
		return EXIT_SUCCESS;
	}
	if (ret < 0) {
		fprintf(stderr, "mqtrack-gen: %s\nTry 'mqtrack-gen --help'.\n", err);
		return 2;
	}
	optind = 1; /* EAL parses with getopt too */
	ret = eal_start(&options, own ? own : 1, argv, &args);
	if (ret == 0) {
		ret = run(&options);
		rte_eal_cleanup();
	}
	eal_args_free(&args);
	return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
