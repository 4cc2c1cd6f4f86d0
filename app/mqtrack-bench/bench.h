/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * What the subcommands share. A subcommand measures the same thing several times, each time beside
 * its baseline in the same process, so that both meet the same machine, and adds one result for
 * each thing measured.
 */

#define BENCH_MAX_RUNS 1000

struct bench_args {
	unsigned runs;
	uint64_t size; /* what it means is the subcommand's; 0: its default */
	bool json;
};

/* --- report.c ---------------------------------------------------------------------------------- */

/* One value a run. */
struct bench_samples {
	unsigned n;
	double v[BENCH_MAX_RUNS];
};

struct bench_report;

/** @return NULL where there is no memory. */
struct bench_report *bench_report_create(void);
void bench_report_destroy(struct bench_report *report);

/**
 * Adds a result.
 * @param name copied; begins with the subcommand.
 * @param baseline what @p base measured, in words; NULL: there is none, @p base is not read.
 */
void bench_report_add(struct bench_report *report, const char *name, const char *unit,
		const struct bench_samples *samples, const char *baseline,
		const struct bench_samples *base);

/** Prints a table, or a JSON array. @return 0 or negative errno. */
int bench_report_print(const struct bench_report *report, bool json, FILE *out);

/** Adds the rate of @p n things since @p begin_ns. */
void bench_rate(struct bench_samples *samples, uint64_t n, uint64_t begin_ns);
/** The same of a time that was added up. */
void bench_rate_of(struct bench_samples *samples, uint64_t n, uint64_t ns);

/* --- setup.c ------------------------------------------------------------------------------------ */

uint64_t bench_now_ns(void);

/** How often the kernel has taken the CPU away from this thread. */
long bench_interruptions(void);

/** "Name:  123 kB" of a file of /proc, bytes. @return 0 where it is not there. */
uint64_t bench_proc_bytes(const char *path, const char *name);

/**
 * Says what is not measured on this machine, and what it takes; scripts/bench repeats it. printf().
 */
__attribute__((format(printf, 1, 2))) void bench_skip(const char *format, ...);

/** "maps.lookup" and 1000000 make "maps.lookup.1M". @return buf. */
char *bench_name(char *buf, size_t cap, const char *what, uint64_t size);

/**
 * Starts EAL without devices, on the CPU that this thread runs on. Its memory is in huge pages where
 * enough of them are free; which it is is said on stderr, and how to get them where that matters.
 * @return 0, or -1.
 */
int bench_eal_init(uint64_t mem_mib);

/** The same with up to @p n_lcores, each on a CPU of its own; as many as there are CPUs. */
int bench_eal_init_lcores(uint64_t mem_mib, unsigned n_lcores);

/** Huge pages that are free, MiB. */
uint64_t bench_huge_pages_mib(void);

/** Next of a fast random sequence. */
uint64_t bench_random(uint64_t *state);

/** A random order of 0..n-1. @return NULL where there is no memory. */
uint32_t *bench_order(uint32_t n);

/* --- the subcommands: 0, or 1 with the reason said on stderr ----------------------------------- */

int bench_codec(const struct bench_args *args, struct bench_report *report);
int bench_maps(const struct bench_args *args, struct bench_report *report);
int bench_cm(const struct bench_args *args, struct bench_report *report);
int bench_datapath(const struct bench_args *args, struct bench_report *report);
int bench_memory(const struct bench_args *args, struct bench_report *report);
int bench_idle(const struct bench_args *args, struct bench_report *report);
int bench_lives(const struct bench_args *args, struct bench_report *report);
int bench_latency(const struct bench_args *args, struct bench_report *report);
int bench_takeover(const struct bench_args *args, struct bench_report *report);

#endif
