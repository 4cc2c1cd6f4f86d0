/* SPDX-License-Identifier: BSD-3-Clause */
#include "quantile.h"

#include <stdlib.h>

#include <rte_common.h>
#include <rte_cycles.h>

const char *const quantile_names[QUANTILE_N] = {
	[QUANTILE_P50] = "p50_us",
	[QUANTILE_P99] = "p99_us",
	[QUANTILE_P99_9] = "p99_9_us",
};

static const double quantile_of[QUANTILE_N] = {
	[QUANTILE_P50] = 0.5,
	[QUANTILE_P99] = 0.99,
	[QUANTILE_P99_9] = 0.999,
};

int
quantile_init(struct quantile_times *t, uint32_t cap)
{
	t->n = 0;
	t->cap = cap;
	t->tsc = calloc(cap, sizeof(*t->tsc));
	return t->tsc ? 0 : -1;
}

void
quantile_fini(struct quantile_times *t)
{
	free(t->tsc);
	t->tsc = NULL;
}

static int
by_time(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void
quantile_end_run(struct quantile_times *t, struct bench_samples s[QUANTILE_N])
{
	uint32_t n = RTE_MIN(t->n, t->cap);

	qsort(t->tsc, n, sizeof(*t->tsc), by_time);
	for (unsigned q = 0; q < QUANTILE_N && n > 0; q++) {
		/* the smallest time that this share of all does not exceed */
		uint32_t at = (uint32_t)(quantile_of[q] * n);

		s[q].v[s[q].n++] =
				(double)t->tsc[RTE_MIN(at, n - 1)] * 1e6 / (double)rte_get_tsc_hz();
	}
	t->n = 0;
}

void
quantile_report(struct bench_report *report, const char *what,
		const struct bench_samples s[QUANTILE_N])
{
	char name[64];

	for (unsigned q = 0; q < QUANTILE_N; q++) {
		snprintf(name, sizeof(name), "%s.%s", what, quantile_names[q]);
		bench_report_add(report, name, "us", &s[q], NULL, NULL);
	}
}
