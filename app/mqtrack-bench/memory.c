/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench.h"
#include "life.h"
#include "mqtrack/mqtt.h"
#include "tracker.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_memory.h>

/*
 * What a connected client costs: a tracker with one worker gets so many connections by their real
 * handshakes, each with a client id of 23 bytes, clean session and no subscriptions, and what the
 * process has resident, its page tables too, is compared with what it had before the tracker was made.
 * Nothing that the tracker has is left out, the mbufs of the traffic included. Each number of clients
 * is measured in a process of its own, so that no size meets memory that another has left.
 *
 * What the daemon has and this process has not: the table of source addresses, which is made only for
 * listeners that limit them (24 bytes each, twice limits.max_clients rounded up to a power of two, a
 * worker); its control socket, with buffers of its clients; rings between workers; reassembly.
 *
 *   memory.bytes_per_client  all of it, a client
 *   memory.conn              of that: connections (slots)
 *   memory.flow_table        of that: the flow table
 *   memory.maps              of that: rows and buckets of the maps
 *   memory.info              of that: what is known of the client, with malloc's own
 *   memory.mbufs             of that: EAL's memory: mbufs
 *   memory.rest              of that: everything else
 *   memory.idle              a tracker made for so many clients before the first comes, whole
 *   memory.process           all that the process has resident in the end
 *   memory.ipv6.bytes_per_client  all of it, a client, where all connections are IPv6
 *   memory.worn.bytes_per_client  the same of IPv4 where every client has come and gone before: with
 *                            all that lives have left behind
 */

#define WINDOW       1024u
#define ID_LEN       23
#define KEEPALIVE    65535 /* nobody speaks while others connect */
#define MAX_CLIENTS  10000000u
#define BYTES_GUESS  800u /* a client, for what fits */
#define SETTLE_TURNS 64u
#define REST_NS      (20 * MQT_NS_PER_SEC) /* longer than limits.slot_quiet_ms */

enum figure {
	TOTAL,
	CONN,
	FLOW_TABLE,
	MAPS,
	INFO,
	MBUFS,
	REST,
	IDLE,
	PROCESS,
	N_FIGURES,
};

static const char *const figure_names[N_FIGURES] = {
	[TOTAL] = "memory.bytes_per_client",
	[CONN] = "memory.conn",
	[FLOW_TABLE] = "memory.flow_table",
	[MAPS] = "memory.maps",
	[INFO] = "memory.info",
	[MBUFS] = "memory.mbufs",
	[REST] = "memory.rest",
	[IDLE] = "memory.idle",
	[PROCESS] = "memory.process",
};

enum variant {
	IPV4,
	IPV6,
	WORN,
	N_VARIANTS,
};

/* Of which only the total is told; NULL: all figures. */
static const char *const variant_names[N_VARIANTS] = {
	[IPV6] = "memory.ipv6.bytes_per_client",
	[WORN] = "memory.worn.bytes_per_client",
};

/* Of a process, bytes. */
struct usage {
	uint64_t resident;
	uint64_t eal_resident; /* of that */
};

struct rig {
	uint32_t n, n_begun;
	bool ipv6;
	struct tracker *t;
	struct life lives[WINDOW];
	struct rte_mbuf *outside[WINDOW], *inside[WINDOW];
};

/* --- what is there --------------------------------------------------------------------------------- */

/* Bytes of a mapping that are in memory; 0 where that cannot be told. */
static uint64_t
resident(void *mem, size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), n = (len + page - 1) / page;
	uint64_t pages = 0;
	unsigned char *in = malloc(n);

	if (in && mincore(mem, len, in) == 0)
		for (size_t i = 0; i < n; i++)
			pages += in[i] & 1;
	free(in);
	return pages * page;
}

static int
add_resident(const struct rte_memseg_list *list, const struct rte_memseg *seg, size_t len,
		void *arg)
{
	*(uint64_t *)arg += resident(seg->addr, len);
	return 0;
}

static struct usage
usage_now(void)
{
	struct usage u = { .resident = bench_proc_bytes("/proc/self/status", "VmRSS") +
				bench_proc_bytes("/proc/self/status", "HugetlbPages") +
				bench_proc_bytes("/proc/self/status", "VmPTE") };

	rte_memseg_contig_walk(add_resident, &u.eal_resident);
	return u;
}

/* --- connections ------------------------------------------------------------------------------------ */

static void
write_connect(struct life *l, struct rte_mbuf *m)
{
	uint8_t id[ID_LEN + 1], buf[LIFE_MAX_DATA];
	struct mqt_mqtt_connect c = {
		.version = 4,
		.clean_start = true,
		.keepalive_sec = KEEPALIVE,
		.clientid = { id, ID_LEN },
	};

	snprintf((char *)id, sizeof(id), "device-%016x", l->client);
	bench_write(m, &l->flow, true, MQT_TCP_ACK | MQT_TCP_PSH, buf,
			(uint16_t)mqt_mqtt_connect_encode(buf, sizeof(buf), &c));
	l->step++;
}

/* One packet of each life. @return 0, or -1: no mbufs. */
static int
play_step(struct rig *r, uint32_t n)
{
	unsigned n_out = 0, n_in = 0, out = 0, in = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(r->t->pool);
		struct life *l = &r->lives[i];

		if (!m)
			return -1;
		if (life_is_clients(l))
			r->outside[n_out++] = m;
		else
			r->inside[n_in++] = m;
		if (l->step == LIFE_CONNECT)
			write_connect(l, m);
		else
			life_write(l, m);
	}
	while (out < n_out || in < n_in) {
		unsigned o = RTE_MIN(n_out - out, TRACKER_BURST);
		unsigned k = RTE_MIN(n_in - in, TRACKER_BURST);

		tracker_worker_turn(r->t, 0, r->outside + out, o, r->inside + in, k);
		out += o;
		in += k;
		tracker_control_turn(r->t);
	}
	return 0;
}

/* Some clients, from the @p first on. @return 0, or -1. */
static int
connect_some(struct rig *r, uint32_t first, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		life_begin(&r->lives[i], first + i, first + i, true, false);
		r->lives[i].flow.ipv6 = r->ipv6;
	}
	for (unsigned step = LIFE_SYN; step <= LIFE_CONNACK; step++)
		if (play_step(r, n) != 0)
			return -1;
	tracker_idle_turn(r->t);
	return 0;
}

/* Uses every slot: other clients come and go. @return 0, or -1. */
static int
wear_out(struct rig *r)
{
	uint32_t n_slots = mqt_conns_slots(r->t->worker[0].conns).n, n;
	uint32_t some = RTE_MIN(WINDOW, r->n / 4 + 1); /* the tracker is not made for many more */
	uint64_t begin;

	for (uint32_t done = 0; done < n_slots; done += n) {
		n = RTE_MIN(some, n_slots - done);
		if (connect_some(r, r->n + done, n) != 0 || tracker_settle(r->t) != 0)
			return -1;
		for (uint32_t i = 0; i < n; i++)
			r->lives[i].step = LIFE_DISCONNECT;
		for (unsigned step = LIFE_DISCONNECT; step < LIFE_N_STEPS; step++)
			if (play_step(r, n) != 0)
				return -1;
		tracker_idle_turn(r->t);
	}
	/* they rest a while */
	for (begin = bench_now_ns(); tracker_state(r->t, MQT_CONN_FREE) < n_slots;) {
		tracker_idle_turn(r->t);
		if (bench_now_ns() - begin > REST_NS)
			return -1;
	}
	return 0;
}

static int
connect_all(struct rig *r)
{
	for (uint32_t n; r->n_begun < r->n; r->n_begun += n) {
		n = RTE_MIN(WINDOW, r->n - r->n_begun);
		if (connect_some(r, r->n_begun, n) != 0)
			return -1;
	}
	for (unsigned i = 0; i < SETTLE_TURNS; i++)
		tracker_idle_turn(r->t);
	return 0;
}

static bool
is_complete(const struct rig *r)
{
	return tracker_is_clean(r->t) && tracker_state(r->t, MQT_CONN_CONNECTED) == r->n &&
			mqt_cm_live_count(r->t->cm) == r->n;
}

/* --- one size ----------------------------------------------------------------------------------------- */

static uint64_t
info_bytes(const struct mqt_maps *maps)
{
	const struct mqt_chan *row;
	uint64_t bytes = 0;
	uint32_t pos = 0;

	mqt_rcu_read_lock();
	while ((row = mqt_maps_next(maps, &pos)))
		bytes += malloc_usable_size(mqt_chan_info(row)) + sizeof(size_t);
	mqt_rcu_read_unlock();
	return bytes;
}

static void
fill_figures(const struct rig *r, const struct usage *before, double v[N_FIGURES])
{
	struct mqt_slots slots = mqt_conns_slots(r->t->worker[0].conns);
	struct usage now = usage_now();
	double n = r->n;

	v[TOTAL] = (double)(now.resident - before->resident) / n;
	v[CONN] = (double)resident(slots.base, (size_t)slots.n * slots.stride) / n;
	v[FLOW_TABLE] = (double)mqt_conns_table_bytes(r->t->worker[0].conns) / n;
	v[MAPS] = (double)mqt_maps_bytes(r->t->maps) / n;
	v[INFO] = (double)info_bytes(r->t->maps) / n;
	v[MBUFS] = (double)(now.eal_resident - before->eal_resident) / n;
	v[REST] = v[TOTAL] - v[CONN] - v[FLOW_TABLE] - v[MAPS] - v[INFO] - v[MBUFS];
	v[PROCESS] = (double)now.resident;
}

static struct tracker *
make_tracker(uint32_t n)
{
	struct tracker_params params = {
		.n_workers = 1,
		.n_mbufs = 4 * WINDOW - 1,
		.mbuf_size = LIFE_MAX_DATA,
		.name = "memory",
	};

	mqt_config_init(&params.config);
	params.config.limits.max_clients = n;
	return tracker_create(&params);
}

/* @return 0, or -1. */
static int
measure(uint32_t n, enum variant variant, double v[N_FIGURES])
{
	struct rig *r = calloc(1, sizeof(*r));
	struct usage before;

	if (!r || bench_eal_init(TRACKER_MEM_MIB) != 0)
		return -1;
	memset(r, 0xff, sizeof(*r)); /* its memory is there from now on */
	r->n = n;
	r->n_begun = 0;
	r->ipv6 = variant == IPV6;
	mqt_rcu_register();
	before = usage_now();
	r->t = make_tracker(n);
	if (!r->t)
		return -1;
	v[IDLE] = (double)(usage_now().resident - before.resident);
	if (variant == WORN && wear_out(r) != 0)
		return -1;
	if (connect_all(r) != 0 || !is_complete(r))
		return -1;
	fill_figures(r, &before, v);
	return 0;
}

/* The same in a process of its own. */
static int
measure_apart(uint32_t n, enum variant variant, double v[N_FIGURES])
{
	int fds[2], status = -1;
	ssize_t got;
	pid_t pid;

	if (pipe(fds) != 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		bool ok = measure(n, variant, v) == 0;

		if (ok && write(fds[1], v, N_FIGURES * sizeof(*v)) < 0)
			ok = false;
		exit(ok ? 0 : 1);
	}
	close(fds[1]);
	got = read(fds[0], v, N_FIGURES * sizeof(*v));
	close(fds[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		return -1;
	return got == (ssize_t)(N_FIGURES * sizeof(*v)) ? 0 : -1;
}

/* --- the subcommand ------------------------------------------------------------------------------------ */

static int
run_size(uint32_t n, enum variant variant, struct bench_report *report)
{
	struct bench_samples *s = calloc(1, sizeof(*s));
	unsigned n_figures = variant_names[variant] ? 1 : N_FIGURES;
	double v[N_FIGURES] = { 0 };
	char name[64];
	int rc = s ? measure_apart(n, variant, v) : -1;

	if (rc)
		fprintf(stderr, "mqtrack-bench: memory: not all could connect\n");
	for (unsigned f = 0; f < n_figures && rc == 0; f++) {
		const char *what =
				variant_names[variant] ? variant_names[variant] : figure_names[f];

		s->n = 1;
		s->v[0] = v[f];
		bench_report_add(report, bench_name(name, sizeof(name), what, n), "bytes", s, NULL,
				NULL);
	}
	free(s);
	return rc;
}

int
bench_memory(const struct bench_args *args, struct bench_report *report)
{
	uint64_t fit = bench_proc_bytes("/proc/meminfo", "MemAvailable") / BYTES_GUESS / 1000000 *
			1000000;
	const uint64_t sizes[] = { args->size ? args->size : 1000000, 4000000,
		RTE_MIN(fit, (uint64_t)MAX_CLIENTS) };

	for (unsigned variant = 0; variant < N_VARIANTS; variant++)
		if (run_size((uint32_t)sizes[0], (enum variant)variant, report) != 0)
			return 1;
	for (unsigned i = 1; i < RTE_DIM(sizes) && !args->size; i++)
		if (sizes[i] <= fit && sizes[i] > sizes[i - 1] &&
				run_size((uint32_t)sizes[i], IPV4, report) != 0)
			return 1;
	if (!args->size && fit < MAX_CLIENTS)
		bench_skip("memory of 10M clients: %u MiB have to be free",
				(unsigned)((uint64_t)MAX_CLIENTS * BYTES_GUESS >> 20));
	return 0;
}
