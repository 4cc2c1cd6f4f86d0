/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench.h"

#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>

#define WANTS_HUGE_PAGES_MIB 256 /* the reach of the second-level TLB is some MiB */

long
bench_interruptions(void)
{
	struct rusage u;

	return getrusage(RUSAGE_THREAD, &u) == 0 ? u.ru_nivcsw : 0;
}

uint64_t
bench_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t
bench_proc_bytes(const char *path, const char *name)
{
	FILE *f = fopen(path, "re");
	char line[128];
	uint64_t kib = 0;

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, name, strlen(name)) == 0)
			kib = strtoull(line + strlen(name) + 1, NULL, 10);
	if (f)
		fclose(f);
	return kib * 1024;
}

void
bench_skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("mqtrack-bench: skipped: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

char *
bench_name(char *buf, size_t cap, const char *what, uint64_t size)
{
	if (size >= 1000000 && size % 1000000 == 0)
		snprintf(buf, cap, "%s.%" PRIu64 "M", what, size / 1000000);
	else if (size >= 1000 && size % 1000 == 0)
		snprintf(buf, cap, "%s.%" PRIu64 "k", what, size / 1000);
	else
		snprintf(buf, cap, "%s.%" PRIu64, what, size);
	return buf;
}

/* EAL leaves its folder behind. */
static void
remove_runtime_dir(void)
{
	rmdir(rte_eal_get_runtime_dir());
}

uint64_t
bench_huge_pages_mib(void)
{
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");
	uint64_t n = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%" SCNu64, &n) != 1)
		n = 0;
	fclose(f);
	return 2 * n;
}

static bool
use_huge_pages(uint64_t mem_mib)
{
	bool use = bench_huge_pages_mib() >= mem_mib;

	if (use)
		fprintf(stderr, "mqtrack-bench: memory in huge pages\n");
	else if (mem_mib >= WANTS_HUGE_PAGES_MIB)
		fprintf(stderr,
				"mqtrack-bench: memory in 4 KiB pages, which makes this size "
				"slower; "
				"for huge ones: sysctl vm.nr_hugepages=%" PRIu64 "\n",
				mem_mib / 2 + 64);
	else
		fprintf(stderr, "mqtrack-bench: memory in 4 KiB pages\n");
	return use;
}

static bool
has_memory(uint64_t mem_mib)
{
	uint64_t available_mib = bench_proc_bytes("/proc/meminfo", "MemAvailable") >> 20;

	if (available_mib >= mem_mib || bench_huge_pages_mib() >= mem_mib)
		return true;
	fprintf(stderr,
			"mqtrack-bench: this size takes %" PRIu64 " MiB at least, and %" PRIu64
			" are free: a smaller one by --size\n",
			mem_mib, available_mib);
	return false;
}

/* "0@CPU,1@CPU,...": this thread's CPU, then others that it may use. */
static void
map_lcores(char *buf, size_t cap, unsigned n_lcores)
{
	int first = sched_getcpu(), len = snprintf(buf, cap, "0@%d", first);
	cpu_set_t set;
	unsigned n = 1;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE && n < n_lcores && len < (int)cap - 16; cpu++)
		if (cpu != first && CPU_ISSET(cpu, &set))
			len += snprintf(buf + len, cap - (size_t)len, ",%u@%d", n++, cpu);
}

int
bench_eal_init_lcores(uint64_t mem_mib, unsigned n_lcores)
{
	char prog[] = "mqtrack-bench", no_huge[] = "--no-huge", no_shconf[] = "--no-shconf",
	     in_memory[] = "--in-memory", no_pci[] = "--no-pci", no_telemetry[] = "--no-telemetry",
	     log[] = "--log-level=lib.eal:4", l[] = "--lcores", m[] = "-m", cpus[256], mem[16],
	     prefix[48];
	char *argv[] = { prog, no_huge, no_shconf, no_pci, no_telemetry, log, prefix, l, cpus, m,
		mem, NULL };

	if (!has_memory(mem_mib))
		return -1;
	if (use_huge_pages(mem_mib)) /* the two exclude each other */
		argv[1] = argv[2] = in_memory;
	snprintf(prefix, sizeof(prefix), "--file-prefix=mqtrack-bench-%d", (int)getpid());
	map_lcores(cpus, sizeof(cpus), n_lcores);
	snprintf(mem, sizeof(mem), "%" PRIu64, mem_mib);
	if (rte_eal_init(11, argv) < 0) {
		fprintf(stderr, "mqtrack-bench: EAL: %s\n", rte_strerror(rte_errno));
		return -1;
	}
	atexit(remove_runtime_dir);
	return 0;
}

int
bench_eal_init(uint64_t mem_mib)
{
	return bench_eal_init_lcores(mem_mib, 1);
}

/* xorshift64*, Vigna 2016 */
uint64_t
bench_random(uint64_t *state)
{
	uint64_t x = *state ? *state : 0x9e3779b97f4a7c15u;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1du;
}

uint32_t *
bench_order(uint32_t n)
{
	uint32_t *order = malloc(sizeof(*order) * n);
	uint64_t state = 1;

	if (!order)
		return NULL;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t k = (uint32_t)(bench_random(&state) % (i + 1));

		order[i] = order[k];
		order[k] = i;
	}
	return order;
}
