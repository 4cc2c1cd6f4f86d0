/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench.h"

#include <errno.h>
#include <jansson.h>
#include <libsmartcols.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/*
 * Results: kept as they come, printed at the end. Minimum and maximum show how far the runs lie
 * apart; the median stands for them, and the ratio is that of the medians.
 */

struct result {
	char name[64];
	const char *unit;
	const char *baseline; /* NULL: none */
	unsigned runs;
	double min, median, max;
	double base_median;
};

struct bench_report {
	unsigned n;
	struct result *results;
};

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double
median_of(const double *sorted, unsigned n)
{
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

struct bench_report *
bench_report_create(void)
{
	return calloc(1, sizeof(struct bench_report));
}

void
bench_report_destroy(struct bench_report *report)
{
	if (!report)
		return;
	free(report->results);
	free(report);
}

void
bench_report_add(struct bench_report *report, const char *name, const char *unit,
		const struct bench_samples *samples, const char *baseline,
		const struct bench_samples *base)
{
	struct bench_samples s = *samples;
	struct result *r;

	r = realloc(report->results, (report->n + 1) * sizeof(*r));
	if (!r) {
		fprintf(stderr, "mqtrack-bench: no memory\n");
		exit(1);
	}
	report->results = r;
	r += report->n++;
	qsort(s.v, s.n, sizeof(s.v[0]), by_value);
	*r = (struct result){
		.unit = unit,
		.baseline = baseline,
		.runs = s.n,
		.min = s.v[0],
		.median = median_of(s.v, s.n),
		.max = s.v[s.n - 1],
	};
	snprintf(r->name, sizeof(r->name), "%s", name);
	if (baseline) {
		s = *base;
		qsort(s.v, s.n, sizeof(s.v[0]), by_value);
		r->base_median = median_of(s.v, s.n);
	}
}

void
bench_rate_of(struct bench_samples *samples, uint64_t n, uint64_t ns)
{
	samples->v[samples->n++] = (double)n * 1e9 / (double)(ns ? ns : 1);
}

void
bench_rate(struct bench_samples *samples, uint64_t n, uint64_t begin_ns)
{
	bench_rate_of(samples, n, bench_now_ns() - begin_ns);
}

/* --- JSON -------------------------------------------------------------------------------------- */

static json_t *
result_json(const struct result *r)
{
	return json_pack("{s:s, s:s, s:i, s:f, s:f, s:f, s:s?, s:o, s:o}", "name", r->name, "unit",
			r->unit, "runs", (int)r->runs, "min", r->min, "median", r->median, "max",
			r->max, "baseline", r->baseline, "baseline_median",
			r->baseline ? json_real(r->base_median) : json_null(), "ratio",
			r->baseline ? json_real(r->median / r->base_median) : json_null());
}

static int
print_json(const struct bench_report *report, FILE *out)
{
	json_t *array = json_array();
	int rc = 0;

	for (unsigned i = 0; i < report->n; i++)
		if (json_array_append_new(array, result_json(&report->results[i])) != 0)
			rc = -ENOMEM;
	if (rc == 0 && json_dumpf(array, out, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) != 0)
		rc = -EIO;
	fputc('\n', out);
	json_decref(array);
	return rc;
}

/* --- table ------------------------------------------------------------------------------------- */

/* "8.71 M": three digits that matter. */
static void
set_rate(struct libscols_line *line, size_t col, double v)
{
	static const char units[] = " kMG";
	char text[32];
	unsigned u = 0;

	while (v >= 1000 && units[u + 1]) {
		v /= 1000;
		u++;
	}
	snprintf(text, sizeof(text), "%.*f %c", v < 10 ? 2 : v < 100 ? 1 : 0, v, units[u]);
	scols_line_set_data(line, col, text);
}

static void
add_line(struct libscols_table *table, const struct result *r)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	char text[32];

	scols_line_set_data(line, 0, r->name);
	scols_line_set_data(line, 1, r->unit);
	snprintf(text, sizeof(text), "%u", r->runs);
	scols_line_set_data(line, 2, text);
	set_rate(line, 3, r->min);
	set_rate(line, 4, r->median);
	set_rate(line, 5, r->max);
	if (!r->baseline)
		return;
	set_rate(line, 6, r->base_median);
	snprintf(text, sizeof(text), "%.2f", r->median / r->base_median);
	scols_line_set_data(line, 7, text);
	scols_line_set_data(line, 8, r->baseline);
}

static int
print_table(const struct bench_report *report, FILE *out)
{
	static const struct {
		const char *name;
		int flags;
	} columns[] = {
		{ "NAME", 0 },
		{ "UNIT", 0 },
		{ "RUNS", SCOLS_FL_RIGHT },
		{ "MIN", SCOLS_FL_RIGHT },
		{ "MEDIAN", SCOLS_FL_RIGHT },
		{ "MAX", SCOLS_FL_RIGHT },
		{ "BASE", SCOLS_FL_RIGHT },
		{ "RATIO", SCOLS_FL_RIGHT },
		{ "BASELINE", 0 },
	};
	struct libscols_table *table;
	int rc;

	scols_init_debug(0);
	table = scols_new_table();
	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		scols_table_new_column(table, columns[i].name, 0, columns[i].flags);
	scols_table_set_stream(table, out);
	for (unsigned i = 0; i < report->n; i++)
		add_line(table, &report->results[i]);
	rc = scols_print_table(table);
	scols_unref_table(table);
	return rc;
}

int
bench_report_print(const struct bench_report *report, bool json, FILE *out)
{
	return json ? print_json(report, out) : print_table(report, out);
}
