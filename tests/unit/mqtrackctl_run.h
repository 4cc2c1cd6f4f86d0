/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_MQTRACKCTL_RUN_H
#define TESTS_UNIT_MQTRACKCTL_RUN_H

/*
 * mqtrackctl, the program, run against a control socket in this process.
 */

#include "check.h"
#include "ctl_fixture.h"

#define N(array)   (sizeof(array) / sizeof((array)[0]))
#define RUN_OUTPUT (1u << 20)

/** What the last run of the program gave. */
struct run {
	int status;
	char out[RUN_OUTPUT], err[RUN_OUTPUT];
};

extern struct run run;

/** Where the program's standard output goes instead of run.out: a path, or "" for closed. */
extern const char *run_stdout;

/**
 * Runs the program in @p locale with --socket and these arguments, which end with NULL; the tracker
 * goes on meanwhile.
 */
void run_in(struct tracker *t, const char *locale, const char *const *args);

#define RUN(t, ...) run_in(t, "C.UTF-8", (const char *const[]){ __VA_ARGS__, NULL })

/** Whether a text has this part; says so where not. */
bool has(const char *text, const char *part);

size_t n_lines(const char *text);

/** A tracker with the default configuration. */
void start(struct tracker *t);

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}

/** Runs the suites with EAL. @param argv the program's path. Exit status of main. */
int run_suites(int argc, char **argv, CU_SuiteInfo *suites);

#endif
