/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench.h"

#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>

uint64_t
bench_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
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

int
bench_eal_init(uint64_t mem_mib)
{
	char prog[] = "mqtrack-bench", no_huge[] = "--no-huge", no_shconf[] = "--no-shconf",
	     no_pci[] = "--no-pci", no_telemetry[] = "--no-telemetry",
	     log[] = "--log-level=lib.eal:4", l[] = "-l", m[] = "-m", cpu[16], mem[16], prefix[48];
	char *argv[] = { prog, no_huge, no_shconf, no_pci, no_telemetry, log, prefix, l, cpu, m,
		mem, NULL };

	snprintf(prefix, sizeof(prefix), "--file-prefix=mqtrack-bench-%d", (int)getpid());
	snprintf(cpu, sizeof(cpu), "%d", sched_getcpu());
	snprintf(mem, sizeof(mem), "%" PRIu64, mem_mib);
	if (rte_eal_init(11, argv) < 0) {
		fprintf(stderr, "mqtrack-bench: EAL: %s\n", rte_strerror(rte_errno));
		return -1;
	}
	atexit(remove_runtime_dir);
	return 0;
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
