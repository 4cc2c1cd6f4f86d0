/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench.h"
#include "mqtrack/cm.h"
#include "mqtrack/worker.h"
#include "quantile.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_pause.h>

/*
 * What the tracker costs, and how fast it is, after a silence, with `poll: adaptive`: two workers, the
 * control lcore and the reclaimer run as they do in the daemon, each a thread, between two ports that
 * are rings in memory. The control socket's thread is not here: it is no lcore, and does not poll.
 *
 *	cpu_percent     of all threads of the process but this one, which sleeps; after a second of
 *	                silence. Baseline: threads that do nothing but sleep as long as lcores do
 *	first_packet    from the moment a frame is on the wire until it leaves on the other side
 *	wake            from a command to the control lcore until it is done there. Baseline: a thread
 *	                that waits for an eventfd
 *
 * SIZE is how many milliseconds of silence are measured.
 */

#define N_WORKERS      2
#define WIRE           256
#define N_MBUFS        4095
#define FRAME          64
#define SILENCE_MS     1000 /* before anything is measured */
#define SHORT_MS       150  /* between single things: sleeps have grown to their longest by then */
#define MS_A_THING     50   /* of SIZE */
#define GIVE_UP_NS     5000000000ull
#define WORKER_NAP_NS  1000000
#define CONTROL_NAP_NS 4000000

struct idle {
	struct mqt_config config;
	struct mqt_hash_key key;
	struct rte_mempool *pool;
	struct rte_ring *rx[2][N_WORKERS], *tx[2][N_WORKERS];
	uint16_t port_ids[2];
	struct mqt_workers *workers;
	struct mqt_maps *maps;
	struct mqt_event_ring *events;
	struct mqt_waker *waker;
	struct mqt_cm *cm;
	bool reclaims;
	unsigned n_threads;
	pthread_t threads[N_WORKERS + 1];
	atomic_bool stop;
};

/* --- processors: this thread spins while it waits, so all others have to run elsewhere -------------- */

static cpu_set_t mine, others;

static int
eal_init(void)
{
	cpu_set_t all;
	int first = 0;

	if (sched_getaffinity(0, sizeof(all), &all) != 0)
		return -1;
	while (!CPU_ISSET(first, &all))
		first++;
	CPU_ZERO(&mine);
	CPU_SET(first, &mine);
	others = all;
	CPU_CLR(first, &others);
	if (CPU_COUNT(&others) == 0)
		others = all;
	return sched_setaffinity(0, sizeof(mine), &mine) != 0 ? -1 : bench_eal_init(256);
}

static bool
spawn(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	bool ok = sched_setaffinity(0, sizeof(others), &others) == 0 && /* inherited */
			pthread_create(thread, NULL, fn, arg) == 0;

	return sched_setaffinity(0, sizeof(mine), &mine) == 0 && ok;
}

/* --- making ---------------------------------------------------------------------------------------- */

static int
port_make(struct idle *d, unsigned port)
{
	char name[32];
	int id;

	for (unsigned q = 0; q < N_WORKERS; q++) {
		snprintf(name, sizeof(name), "idle_rx_%u_%u", port, q);
		d->rx[port][q] = rte_ring_create(name, WIRE, SOCKET_ID_ANY, RING_F_EXACT_SZ);
		snprintf(name, sizeof(name), "idle_tx_%u_%u", port, q);
		d->tx[port][q] = rte_ring_create(name, WIRE, SOCKET_ID_ANY, RING_F_EXACT_SZ);
		if (!d->rx[port][q] || !d->tx[port][q])
			return -1;
	}
	snprintf(name, sizeof(name), "idle%u", port);
	id = rte_eth_from_rings(
			name, d->rx[port], N_WORKERS, d->tx[port], N_WORKERS, SOCKET_ID_ANY);
	if (id < 0)
		return -1;
	d->port_ids[port] = (uint16_t)id;
	return mqt_port_start(d->port_ids[port], N_WORKERS, d->pool);
}

static int
workers_make(struct idle *d)
{
	struct mqt_workers_params params = {
		.config = &d->config,
		.clock = mqt_clock_system(),
		.hash_key = &d->key,
		.pool = d->pool,
		.n_workers = N_WORKERS,
		.port_ids = d->port_ids,
		.socket_id = SOCKET_ID_ANY,
	};

	d->workers = mqt_workers_create(&params);
	return d->workers ? 0 : -1;
}

static int
manager_make(struct idle *d)
{
	struct mqt_maps_params maps = {
		.max_channels = d->config.limits.max_clients + d->config.limits.max_retained,
	};
	struct mqt_cm_owner owners[N_WORKERS];
	struct mqt_cm_params params = {
		.config = &d->config,
		.clock = mqt_clock_system(),
		.hash_key = &d->key,
		.registry = mqt_registry_local(),
		.owners = owners,
		.n_owners = N_WORKERS,
	};

	for (unsigned i = 0; i < N_WORKERS; i++) {
		const struct mqt_worker *w = mqt_workers_at(d->workers, i);

		owners[i].mailbox = mqt_worker_mailbox(w);
		owners[i].slots = mqt_worker_slots(w);
		owners[i].heartbeat_ns = mqt_worker_heartbeat(w);
	}
	params.maps = d->maps = mqt_maps_create(&maps);
	params.events = d->events = mqt_event_ring_create(d->config.limits.events);
	params.waker = d->waker = mqt_waker_create();
	if (!d->maps || !d->events || !d->waker)
		return -1;
	d->cm = mqt_cm_create(&params);
	d->reclaims = d->cm && mqt_maps_reclaimer_start(d->maps) == 0;
	return d->reclaims ? 0 : -1;
}

static void *
worker_thread(void *arg)
{
	mqt_worker_run(arg);
	return NULL;
}

static void *
control_thread(void *arg)
{
	struct idle *d = arg;

	mqt_role_control_assert();
	mqt_cm_run(d->cm, &d->stop);
	return NULL;
}

static int
threads_start(struct idle *d)
{
	for (unsigned i = 0; i < N_WORKERS; i++)
		if (!spawn(&d->threads[d->n_threads++], worker_thread,
				    mqt_workers_at(d->workers, i)))
			return d->n_threads--, -1;
	if (!spawn(&d->threads[d->n_threads++], control_thread, d))
		return d->n_threads--, -1;
	return 0;
}

static int
idle_init(struct idle *d)
{
	mqt_config_init(&d->config);
	d->config.n_pairs = 1;
	d->config.limits.max_clients = 1024;
	d->config.limits.max_retained = 1024;
	d->config.limits.events = 1024;
	d->pool = rte_pktmbuf_pool_create(
			"idle_pool", N_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!d->pool || mqt_hash_key_init(&d->key) != 0)
		return -1;
	if (port_make(d, 0) != 0 || port_make(d, 1) != 0)
		return -1;
	return workers_make(d) != 0 || manager_make(d) != 0 ? -1 : threads_start(d);
}

static void
idle_fini(struct idle *d)
{
	if (d->workers)
		mqt_workers_stop(d->workers);
	atomic_store(&d->stop, true);
	for (unsigned i = 0; i < d->n_threads; i++)
		pthread_join(d->threads[i], NULL);
	if (d->reclaims)
		mqt_maps_reclaimer_stop(d->maps);
	mqt_cm_destroy(d->cm);
	mqt_waker_destroy(d->waker);
	mqt_event_ring_destroy(d->events);
	mqt_maps_destroy(d->maps);
	mqt_workers_destroy(d->workers);
}

/* --- CPU ------------------------------------------------------------------------------------------- */

static void
sleep_ns(uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / 1000000000u),
		.tv_nsec = (long)(ns % 1000000000u) };

	clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

static uint64_t
process_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* While this thread sleeps. */
static double
cpu_percent(uint64_t ms)
{
	uint64_t cpu, begin;

	sleep_ns(SILENCE_MS * 1000000ull);
	cpu = process_ns();
	begin = bench_now_ns();
	sleep_ns(ms * 1000000);
	cpu = process_ns() - cpu;
	return 100.0 * (double)cpu / (double)(bench_now_ns() - begin);
}

struct sleeper {
	const atomic_bool *stop;
	uint64_t ns;
};

static void *
sleeper_thread(void *arg)
{
	const struct sleeper *s = arg;

	prctl(PR_SET_TIMERSLACK, 1);
	while (!atomic_load_explicit(s->stop, memory_order_relaxed))
		sleep_ns(s->ns);
	return NULL;
}

/* What is slept by the lcores, by threads that do nothing else. The tracker must not be there. */
static int
sleepers_percent(uint64_t ms, double *out)
{
	atomic_bool stop = false;
	struct sleeper sleepers[N_WORKERS + 1];
	pthread_t threads[N_WORKERS + 1];
	unsigned n = 0;

	for (unsigned i = 0; i <= N_WORKERS; i++) {
		sleepers[i] = (struct sleeper){ &stop, i ? WORKER_NAP_NS : CONTROL_NAP_NS };
		n += spawn(&threads[n], sleeper_thread, &sleepers[i]);
	}
	*out = cpu_percent(ms);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	return n == N_WORKERS + 1 ? 0 : -1;
}

/* --- single things -------------------------------------------------------------------------------- */

/* A frame for neither listener nor IP: what passes. @return 0, or -1: it did not come. */
static int
first_packet(struct idle *d, unsigned side, unsigned worker, struct quantile_times *times)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(d->pool);
	uint64_t begin_ns = bench_now_ns(), tsc;
	char *frame = m ? rte_pktmbuf_append(m, FRAME) : NULL;

	if (!frame)
		return -1;
	memset(frame, 0xff, FRAME);
	m->port = d->port_ids[side];
	tsc = rte_rdtsc_precise();
	if (rte_ring_enqueue(d->rx[side][worker], m) != 0) {
		rte_pktmbuf_free(m);
		return -1;
	}
	while (rte_ring_dequeue(d->tx[side ^ 1][worker], (void **)&m) != 0) {
		rte_pause();
		if (bench_now_ns() - begin_ns > GIVE_UP_NS)
			return -1;
	}
	quantile_add(times, rte_rdtsc_precise() - tsc);
	rte_pktmbuf_free(m);
	return 0;
}

static _Atomic uint64_t done_tsc;

static void
command_done(struct mqt_cm_cmd *cmd)
{
	atomic_store(&done_tsc, rte_rdtsc_precise());
}

/* @return 0, or -1: nobody came. */
static int
await_done(uint64_t begin_tsc, struct quantile_times *times)
{
	uint64_t begin_ns = bench_now_ns(), tsc;

	while ((tsc = atomic_load(&done_tsc)) == 0) {
		rte_pause();
		if (bench_now_ns() - begin_ns > GIVE_UP_NS)
			return -1;
	}
	quantile_add(times, tsc - begin_tsc);
	return 0;
}

static int
wake(struct idle *d, struct quantile_times *times)
{
	static struct mqt_cm_cmd cmd; /* the manager's until it is done */
	uint64_t tsc;

	cmd = (struct mqt_cm_cmd){ .done = command_done };
	cmd.digest = mqt_digest_client(&d->key, 0, NULL, "nobody", 6);
	atomic_store(&done_tsc, 0);
	tsc = rte_rdtsc_precise();
	mqt_cm_kick(d->cm, &cmd);
	return await_done(tsc, times);
}

static void *
waiter_thread(void *arg)
{
	uint64_t n;

	/* a 2 ends it */
	while (read(*(int *)arg, &n, sizeof(n)) == sizeof(n) && n == 1)
		atomic_store(&done_tsc, rte_rdtsc_precise());
	return NULL;
}

/* A thread that waits for nothing but an eventfd. */
static int
bare_wakes(unsigned n, struct quantile_times *times)
{
	int fd = eventfd(0, EFD_CLOEXEC), ret = 0;
	uint64_t one = 1, end = 2, tsc;
	pthread_t thread;

	if (fd < 0)
		return -1;
	if (!spawn(&thread, waiter_thread, &fd)) {
		close(fd);
		return -1;
	}
	for (unsigned i = 0; i < n && ret == 0; i++) {
		sleep_ns(SHORT_MS * 1000000ull);
		atomic_store(&done_tsc, 0);
		tsc = rte_rdtsc_precise();
		if (write(fd, &one, sizeof(one)) < 0)
			ret = -1;
		else
			ret = await_done(tsc, times);
	}
	if (write(fd, &end, sizeof(end)) == sizeof(end))
		pthread_join(thread, NULL);
	close(fd);
	return ret;
}

/* --- the subcommand -------------------------------------------------------------------------------- */

struct results {
	struct bench_samples cpu, bare_cpu;
	struct bench_samples packet[QUANTILE_N], wake[QUANTILE_N], bare_wake[QUANTILE_N];
	struct quantile_times times;
};

static uint64_t
sleeps(const struct idle *d)
{
	uint64_t n = mqt_counter_get(&mqt_cm_counters(d->cm)->v[MQT_C_SLEEPS]);
	struct mqt_worker_view view;

	for (unsigned i = 0; i < N_WORKERS; i++) {
		mqt_worker_view(mqt_workers_at(d->workers, i), &view);
		n += mqt_counter_get(&view.counters->v[MQT_W_SLEEPS]);
	}
	return n;
}

static int
run_tracker(struct idle *d, uint64_t ms, struct results *r)
{
	unsigned n = (unsigned)(ms / MS_A_THING) + 1;
	uint64_t before = sleeps(d);

	r->cpu.v[r->cpu.n++] = cpu_percent(ms);
	if (sleeps(d) == before) {
		fprintf(stderr, "mqtrack-bench: idle: nobody has slept\n");
		return -1;
	}
	for (unsigned i = 0; i < n; i++) {
		sleep_ns(SHORT_MS * 1000000ull);
		if (first_packet(d, i % 2, i / 2 % N_WORKERS, &r->times) != 0)
			return -1;
	}
	quantile_end_run(&r->times, r->packet);
	for (unsigned i = 0; i < n; i++) {
		sleep_ns(SHORT_MS * 1000000ull);
		if (wake(d, &r->times) != 0)
			return -1;
	}
	quantile_end_run(&r->times, r->wake);
	return 0;
}

/* The tracker's threads would be counted as well: so all baselines come before it. */
static int
run_baselines(unsigned runs, uint64_t ms, struct results *r)
{
	for (unsigned i = 0; i < runs; i++) {
		if (sleepers_percent(ms, &r->bare_cpu.v[r->bare_cpu.n++]) != 0 ||
				bare_wakes((unsigned)(ms / MS_A_THING) + 1, &r->times) != 0)
			return -1;
		quantile_end_run(&r->times, r->bare_wake);
	}
	return 0;
}

static void
report_all(struct bench_report *report, const struct results *r)
{
	char name[64];

	bench_report_add(report, "idle.cpu_percent", "%", &r->cpu,
			"threads that only sleep, 1, 1 and 4 ms", &r->bare_cpu);
	quantile_report(report, "idle.first_packet", r->packet);
	for (unsigned q = 0; q < QUANTILE_N; q++) {
		snprintf(name, sizeof(name), "idle.wake.%s", quantile_names[q]);
		bench_report_add(report, name, "us", &r->wake[q],
				"a thread that waits for an eventfd", &r->bare_wake[q]);
	}
}

int
bench_idle(const struct bench_args *args, struct bench_report *report)
{
	uint64_t ms = args->size ? args->size : 1000;
	struct results *r = calloc(1, sizeof(*r));
	static struct idle d;
	int ret = -1;

	if (!r || eal_init() != 0 || quantile_init(&r->times, (uint32_t)(ms / MS_A_THING) + 1) != 0)
		goto out;
	if (run_baselines(args->runs, ms, r) != 0)
		goto out;
	ret = idle_init(&d);
	if (ret != 0)
		fprintf(stderr, "mqtrack-bench: idle: %s\n", rte_strerror(rte_errno));
	for (unsigned i = 0; i < args->runs && ret == 0; i++) {
		ret = run_tracker(&d, ms, r);
		if (ret != 0)
			fprintf(stderr, "mqtrack-bench: idle: something did not come back\n");
	}
	idle_fini(&d);
	if (ret == 0)
		report_all(report, r);
out:
	if (r)
		quantile_fini(&r->times);
	free(r);
	return ret == 0 ? 0 : 1;
}
