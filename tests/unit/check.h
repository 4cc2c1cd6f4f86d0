/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_CHECK_H
#define TESTS_UNIT_CHECK_H

/*
 * What every unit test shares: comparisons that print both values and the row of the table they
 * belong to, and a runner that fails on failed suites, failed tests and on no test at all. With
 * CHECK_ABORTS, for programs that use a rig without CUnit, what is not true aborts.
 */

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef CHECK_ABORTS
#define CU_assertImplementation(ok, line, what, file, function, fatal)                             \
	do {                                                                                       \
		if (!(ok))                                                                         \
			abort();                                                                   \
	} while (0)
#else
#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#endif

/* A number below @p n that looks random; the same state gives the same numbers. Source: xorshift64. */
static inline uint32_t
check_random(uint64_t *state, uint32_t n)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)(*state >> 33) % n;
}

/* Row of the table under test, printed with a failure; set it in loops over vectors. */
static const char *check_row __attribute__((unused)) = "";

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		bool check_ok_ = (cond);                                                           \
		if (!check_ok_)                                                                    \
			printf("\n    %s:%d [%s] not true: %s\n", __func__, __LINE__, check_row,   \
					#cond);                                                    \
		CU_assertImplementation(check_ok_, __LINE__, #cond, __FILE__, __func__, CU_FALSE); \
	} while (0)

#define CHECK_EQ(got, want)                                                                        \
	do {                                                                                       \
		intmax_t check_got_ = (intmax_t)(got), check_want_ = (intmax_t)(want);             \
		if (check_got_ != check_want_)                                                     \
			printf("\n    %s:%d [%s] %s: got %" PRIdMAX " (0x%" PRIxMAX                \
			       "), want %" PRIdMAX " (0x%" PRIxMAX ")\n",                          \
					__func__, __LINE__, check_row, #got, check_got_,           \
					(uintmax_t)check_got_, check_want_,                        \
					(uintmax_t)check_want_);                                   \
		CU_assertImplementation(check_got_ == check_want_, __LINE__, #got " == " #want,    \
				__FILE__, __func__, CU_FALSE);                                     \
	} while (0)

#define CHECK_STR(got, want)                                                                       \
	do {                                                                                       \
		const char *check_got_ = (got), *check_want_ = (want);                             \
		bool check_ok_ = strcmp(check_got_, check_want_) == 0;                             \
		if (!check_ok_)                                                                    \
			printf("\n    %s:%d [%s] %s: got \"%s\", want \"%s\"\n", __func__,         \
					__LINE__, check_row, #got, check_got_, check_want_);       \
		CU_assertImplementation(check_ok_, __LINE__, #got, __FILE__, __func__, CU_FALSE);  \
	} while (0)

#define CHECK_MEM(got, want, len)                                                                  \
	do {                                                                                       \
		bool check_ok_ = memcmp((got), (want), (len)) == 0;                                \
		if (!check_ok_)                                                                    \
			printf("\n    %s:%d [%s] bytes differ: %s, %s\n", __func__, __LINE__,      \
					check_row, #got, #want);                                   \
		CU_assertImplementation(check_ok_, __LINE__, #got, __FILE__, __func__, CU_FALSE);  \
	} while (0)

#ifndef CHECK_ABORTS
/* Runs the suites. Exit status of main: 0 only where at least one test ran and all passed. */
static inline int
check_run(CU_SuiteInfo *suites)
{
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 2;
	CU_set_error_action(CUEA_ABORT);
	if (CU_register_suites(suites) != CUE_SUCCESS)
		return 2;
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_tests_failed() + CU_get_number_of_suites_failed() +
			CU_get_number_of_failures();
	if (CU_get_number_of_tests_run() == 0)
		failed++;
	CU_cleanup_registry();
	return failed ? 1 : 0;
}
#endif

#endif
