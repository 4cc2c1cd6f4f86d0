/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon's modules.
 *
 * Life-cycle: the table `modules` below, started from top to bottom, stopped from bottom to top;
 * where a start fails, what had started is stopped and the status is 1. Each module stands behind
 * all that it uses. Between the two the main lcore is the control lcore.
 * Synchronisation: main thread = control lcore = whoever starts and stops; worker lcores run
 * mqt_worker_run() between the start and the stop of the last module; threads of their own have
 * the reclaimer and the control socket. Signals only set a flag.
 */
#include "daemon.h"

#include "devices.h"
#include "eal_args.h"
#include "mqtrack/clock.h"
#include "mqtrack/cm.h"
#include "mqtrack/ctl.h"
#include "mqtrack/idle.h"
#include "mqtrack/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>

RTE_LOG_REGISTER(daemon_logtype, mqt.daemon, NOTICE)

#define DAEMON_LOG(level, ...) rte_log(RTE_LOG_##level, daemon_logtype, "mqtrackd: " __VA_ARGS__)

#define MBUF_CACHE   256
#define STOP_POLL_NS 1000000
#define MAX_PORTS    (2 * MQT_MAX_PAIRS)

struct daemon {
	/* from the command line and the file */
	const struct mqt_config *config;
	int eal_argc;
	char **eal_argv;
	/* each set by the start of its module */
	struct eal_args eal_args;
	struct mqt_hash_key hash_key;
	struct rte_mempool *pool;
	unsigned n_workers;
	unsigned n_ports; /* started */
	uint16_t port_ids[MAX_PORTS];
	struct mqt_captures *captures;
	struct mqt_workers *workers;
	struct mqt_maps *maps;
	struct mqt_event_ring *events;
	struct mqt_waker *waker; /* the control lcore's; NULL: it never sleeps */
	struct mqt_cm *cm;
	struct mqt_ctl *ctl;
};

/* The signal handler's only word. */
static atomic_bool stop_asked;

/* EAL leaves its directory behind; it is empty once telemetry's own exit handler has run. */
static char runtime_dir[PATH_MAX];

int
complain(const char *fmt, ...)
{
	va_list ap;

	fputs("mqtrackd: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return -1;
}

/* --- modules: each start returns 0, or -1 having said why ---------------------------------- */

static void
on_signal(int sig)
{
	atomic_store_explicit(&stop_asked, true, memory_order_relaxed);
}

static int
signals_start(struct daemon *d)
{
	struct sigaction stop = { .sa_handler = on_signal }, ignore = { .sa_handler = SIG_IGN };

	sigemptyset(&stop.sa_mask);
	sigemptyset(&ignore.sa_mask);
	if (sigaction(SIGINT, &stop, NULL) != 0 || sigaction(SIGTERM, &stop, NULL) != 0 ||
			sigaction(SIGPIPE, &ignore, NULL) != 0)
		return complain("signals: %s", strerror(errno));
	return 0;
}

static void
remove_runtime_dir(void)
{
	if (runtime_dir[0])
		rmdir(runtime_dir);
}

/* What the kernel could give without swapping, in MiB; UINT64_MAX: it does not say. */
static uint64_t
memory_available_mb(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	uint64_t kb = 0, mb = UINT64_MAX;
	char line[128];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kb) == 1)
			mb = kb >> 10;
	}
	if (f)
		fclose(f);
	return mb;
}

/* Without huge pages memory is taken when it is touched: too much would be found out by a kill. */
static int
check_memory(const struct daemon *d)
{
	uint64_t available = memory_available_mb();

	if (d->eal_args.memory_mb <= available)
		return 0;
	return complain("the configuration needs %" PRIu64 " MiB, %" PRIu64 " MiB are available: "
			"lower 'mbufs' or 'limits'",
			d->eal_args.memory_mb, available);
}

static int
eal_start(struct daemon *d)
{
	long n_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int ret;

	ret = eal_args_make(d->config, d->eal_argc, d->eal_argv, &d->eal_args);
	if (ret != 0)
		return complain("EAL options: %s", strerror(-ret));
	if (check_memory(d) != 0) {
		eal_args_free(&d->eal_args);
		return -1;
	}
	atexit(remove_runtime_dir); /* first registered, last run */
	rte_openlog_stream(stderr);
	if (rte_eal_init(d->eal_args.argc, d->eal_args.argv) < 0) {
		eal_args_free(&d->eal_args);
		return complain("EAL did not start; the lines above say why. Huge pages, where "
				"wanted, are made by 'sysctl vm.nr_hugepages=512'; 'mqtrackd "
				"--help' "
				"tells which options it adds");
	}
	snprintf(runtime_dir, sizeof(runtime_dir), "%s", rte_eal_get_runtime_dir());
	d->n_workers = rte_lcore_count() - 1;
	if (d->config->poll == MQT_POLL_BUSY && rte_lcore_count() > n_cpus)
		DAEMON_LOG(WARNING,
				"poll: busy with %u lcores on %ld CPUs: each spins while "
				"another waits for its CPU. Use adaptive, or fewer workers\n",
				rte_lcore_count(), n_cpus);
	if (d->n_workers >= 1 && d->n_workers <= MQT_MAX_WORKERS)
		return 0;
	if (d->n_workers == 0)
		complain("no lcore is left for a worker: give at least two, as in -l 0,1 or "
			 "--lcores 0@0,1@0");
	else
		complain("%u worker lcores, but at most %d are supported: give fewer in -l",
				d->n_workers, MQT_MAX_WORKERS);
	rte_eal_cleanup();
	eal_args_free(&d->eal_args);
	return -1;
}

static void
eal_stop(struct daemon *d)
{
	rte_eal_cleanup();
	eal_args_free(&d->eal_args);
}

static int
pool_start(struct daemon *d)
{
	/*
	 * Without huge pages an mbuf that may not cross a page takes a whole one, and all of them
	 * fall on the same cache sets. With huge pages a device may need contiguous memory.
	 */
	unsigned flags = rte_eal_has_hugepages() ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG;

	d->pool = rte_mempool_create("mqt_pool", d->config->n_mbufs,
			sizeof(struct rte_mbuf) + RTE_MBUF_DEFAULT_BUF_SIZE, MBUF_CACHE,
			sizeof(struct rte_pktmbuf_pool_private), rte_pktmbuf_pool_init, NULL,
			rte_pktmbuf_init, NULL, SOCKET_ID_ANY, flags);
	if (!d->pool)
		return complain("no memory for %u mbufs (%s): lower 'mbufs' in the configuration "
				"or give EAL more memory, as in -m 1024",
				d->config->n_mbufs, rte_strerror(rte_errno));
	return 0;
}

static void
pool_stop(struct daemon *d)
{
	/* ports and workers have given theirs back: anything else is a leak */
	unsigned n_out = rte_mempool_in_use_count(d->pool);

	DAEMON_LOG(INFO, "%u mbufs still in use\n", n_out);
	rte_mempool_free(d->pool);
}

static void
ports_stop(struct daemon *d)
{
	while (d->n_ports > 0)
		mqt_port_stop(d->port_ids[--d->n_ports]);
}

static int
port_start(struct daemon *d, unsigned port)
{
	const struct mqt_port_pair *pair = &d->config->pairs[port / 2];
	const char *device = port % 2 ? pair->inside : pair->outside;
	char err[512];
	uint16_t id;

	if (device_open(device, d->n_workers, &id, err, sizeof(err)) != 0)
		return complain("ports[%u].%s: %s", port / 2, port % 2 ? "inside" : "outside", err);
	if (mqt_port_start(id, d->n_workers, d->pool) != 0) {
		rte_eth_dev_close(id);
		return complain("ports[%u].%s: '%s' cannot be used; the line above says why",
				port / 2, port % 2 ? "inside" : "outside", device);
	}
	d->port_ids[port] = id;
	return 0;
}

static int
ports_start(struct daemon *d)
{
	for (unsigned port = 0; port < 2u * d->config->n_pairs; port++) {
		if (port_start(d, port) != 0) {
			ports_stop(d);
			return -1;
		}
		d->n_ports++;
	}
	return 0;
}

static int
captures_start(struct daemon *d)
{
	d->captures = mqt_captures_create(d->n_workers);
	return d->captures ? 0 : complain("no memory for captures: %s", strerror(errno));
}

static void
captures_stop(struct daemon *d)
{
	mqt_captures_destroy(d->captures);
}

static int
workers_start(struct daemon *d)
{
	struct mqt_workers_params params = {
		.config = d->config,
		.clock = mqt_clock_system(),
		.hash_key = &d->hash_key,
		.pool = d->pool,
		.captures = d->captures,
		.n_workers = d->n_workers,
		.port_ids = d->port_ids,
		.socket_id = SOCKET_ID_ANY,
	};

	if (mqt_hash_key_init(&d->hash_key) != 0)
		return complain("the system gives no random numbers");
	d->workers = mqt_workers_create(&params);
	if (!d->workers)
		return complain("no connection tables (%s): lower 'limits' in the configuration or "
				"give EAL more memory, as in -m 1024",
				rte_strerror(rte_errno));
	return 0;
}

static void
workers_stop(struct daemon *d)
{
	mqt_workers_destroy(d->workers);
}

static int
maps_start(struct daemon *d)
{
	/* retained sessions have room of their own: they never keep a newcomer out */
	struct mqt_maps_params params = {
		.max_channels = d->config->limits.max_clients + d->config->limits.max_retained,
	};

	d->maps = mqt_maps_create(&params);
	if (!d->maps)
		return complain("no maps for %u channels (%s): lower 'limits.max_clients' or "
				"'limits.max_retained'",
				params.max_channels, rte_strerror(rte_errno));
	return 0;
}

static void
maps_stop(struct daemon *d)
{
	mqt_maps_destroy(d->maps);
}

static void
cm_stop(struct daemon *d)
{
	mqt_cm_destroy(d->cm);
	mqt_event_ring_destroy(d->events);
	mqt_waker_destroy(d->waker);
}

static int
cm_start(struct daemon *d)
{
	struct mqt_cm_owner owners[MQT_MAX_WORKERS];
	struct mqt_cm_params params = {
		.config = d->config,
		.clock = mqt_clock_system(),
		.hash_key = &d->hash_key,
		.maps = d->maps,
		.registry = mqt_registry_local(),
		.owners = owners,
		.n_owners = d->n_workers,
	};

	for (unsigned i = 0; i < d->n_workers; i++) {
		const struct mqt_worker *w = mqt_workers_at(d->workers, i);

		owners[i].mailbox = mqt_worker_mailbox(w);
		owners[i].slots = mqt_worker_slots(w);
		owners[i].heartbeat_ns = mqt_worker_heartbeat(w);
	}
	d->events = mqt_event_ring_create(d->config->limits.events);
	if (!d->events)
		return complain("no memory for %u events: lower 'limits.events'",
				d->config->limits.events);
	params.events = d->events;
	if (d->config->poll == MQT_POLL_ADAPTIVE)
		d->waker = mqt_waker_create();
	params.waker = d->waker;
	if (d->waker || d->config->poll != MQT_POLL_ADAPTIVE)
		d->cm = mqt_cm_create(&params);
	if (d->cm)
		return 0;
	complain("no channel manager: %s", strerror(errno));
	mqt_waker_destroy(d->waker);
	mqt_event_ring_destroy(d->events);
	return -1;
}

static int
reclaimer_start(struct daemon *d)
{
	int ret = mqt_maps_reclaimer_start(d->maps);

	return ret ? complain("no thread for grace periods: %s", strerror(-ret)) : 0;
}

static void
reclaimer_stop(struct daemon *d)
{
	mqt_maps_reclaimer_stop(d->maps);
}

static int
ctl_start(struct daemon *d)
{
	struct mqt_ctl_params params = {
		.config = d->config,
		.clock = mqt_clock_system(),
		.hash_key = &d->hash_key,
		.cm = d->cm,
		.events = d->events,
		.workers = d->workers,
		.captures = d->captures,
		.port_ids = d->port_ids,
	};
	const char *path = d->config->control.socket;

	d->ctl = mqt_ctl_start(&params);
	if (d->ctl)
		return 0;
	if (errno == EADDRINUSE)
		return complain("another tracker answers on %s: stop it or set another "
				"'control.socket'",
				path);
	if (errno == EEXIST)
		return complain("%s is there and is no socket: remove it or set another "
				"'control.socket'",
				path);
	return complain("no control socket %s: %s. Does its directory exist, and may this user "
			"write to it?",
			path, strerror(errno));
}

static void
ctl_stop(struct daemon *d)
{
	mqt_ctl_stop(d->ctl);
}

static void
lcores_stop(struct daemon *d)
{
	const struct timespec ts = { .tv_nsec = STOP_POLL_NS };
	unsigned lcore;

	mqt_workers_stop(d->workers);
	RTE_LCORE_FOREACH_WORKER (lcore) {
		/* rte_eal_wait_lcore() spins, perhaps on the CPU of the one it waits for */
		while (rte_eal_get_lcore_state(lcore) == RUNNING)
			clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
		rte_eal_wait_lcore(lcore);
	}
}

static int
lcores_start(struct daemon *d)
{
	unsigned lcore, i = 0;

	RTE_LCORE_FOREACH_WORKER (lcore) {
		int ret = rte_eal_remote_launch(
				mqt_worker_run, mqt_workers_at(d->workers, i++), lcore);

		if (ret != 0) {
			complain("lcore %u does not start: %s", lcore, rte_strerror(-ret));
			lcores_stop(d);
			return -1;
		}
	}
	return 0;
}

static const struct module {
	const char *name;
	int (*start)(struct daemon *d);
	void (*stop)(struct daemon *d); /* NULL: nothing to undo */
} modules[] = {
	{ "signals", signals_start, NULL },
	{ "eal", eal_start, eal_stop },
	{ "pool", pool_start, pool_stop },
	{ "ports", ports_start, ports_stop },
	{ "captures", captures_start, captures_stop },
	{ "workers", workers_start, workers_stop },
	{ "maps", maps_start, maps_stop },
	{ "cm", cm_start, cm_stop },
	{ "reclaimer", reclaimer_start, reclaimer_stop },
	{ "ctl", ctl_start, ctl_stop },
	{ "lcores", lcores_start, lcores_stop },
};

static void
stop_modules(struct daemon *d, size_t n)
{
	while (n-- > 0) {
		if (!modules[n].stop)
			continue;
		DAEMON_LOG(DEBUG, "stopping %s\n", modules[n].name);
		modules[n].stop(d);
	}
}

/* --- running ------------------------------------------------------------------------------- */

int
daemon_run(const struct mqt_config *config, int eal_argc, char **eal_argv)
{
	static struct daemon daemon; /* lcores use what is in it */
	struct daemon *d = &daemon;
	size_t n;

	*d = (struct daemon){ .config = config, .eal_argc = eal_argc, .eal_argv = eal_argv };
	for (n = 0; n < RTE_DIM(modules); n++) {
		DAEMON_LOG(DEBUG, "starting %s\n", modules[n].name);
		if (modules[n].start(d) != 0) {
			stop_modules(d, n);
			return EXIT_FAILURE;
		}
	}
	fprintf(stderr, "mqtrackd: ready, workers %u, port pairs %u, control socket %s\n",
			d->n_workers, d->config->n_pairs, d->config->control.socket);
	mqt_role_control_assert();
	mqt_cm_run(d->cm, &stop_asked);
	stop_modules(d, n);
	fprintf(stderr, "mqtrackd: stopped\n");
	return EXIT_SUCCESS;
}
