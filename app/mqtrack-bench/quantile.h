/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef QUANTILE_H
#define QUANTILE_H

#include "bench.h"

#include <stdint.h>

/*
 * Times of single things, in cycles of the TSC, and the quantiles of a run.
 */

struct quantile_times {
	uint32_t n, cap; /* beyond cap nothing is kept, but counted */
	uint64_t *tsc;
};

enum quantile {
	QUANTILE_P50,
	QUANTILE_P99,
	QUANTILE_P99_9,
	QUANTILE_N,
};

/** "p50_us" and so on. */
extern const char *const quantile_names[QUANTILE_N];

/** @return 0, or -1: no memory. Ownership: quantile_fini(). */
int quantile_init(struct quantile_times *t, uint32_t cap);
void quantile_fini(struct quantile_times *t);

static inline void
quantile_add(struct quantile_times *t, uint64_t tsc)
{
	if (t->n < t->cap)
		t->tsc[t->n] = tsc;
	t->n++;
}

/** Adds the quantiles of what was kept, in microseconds, as one run's; begins anew. */
void quantile_end_run(struct quantile_times *t, struct bench_samples s[QUANTILE_N]);

/** Adds the results "<what>.p50_us" and so on. */
void quantile_report(struct bench_report *report, const char *what,
		const struct bench_samples s[QUANTILE_N]);

#endif
