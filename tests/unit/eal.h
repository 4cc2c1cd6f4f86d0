/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_EAL_H
#define TESTS_UNIT_EAL_H

/*
 * EAL for a test program: without huge pages, devices and telemetry, under a prefix of its own, so
 * that any number of tests run at the same time; and nothing of it stays behind.
 *
 *	if (eal_start("maps") < 0)
 *		return 2;
 *	return eal_stop(check_run(suites));
 */

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_eal.h>
#include <rte_errno.h>

/* @param name a few letters for the prefix. Returns 0 or more, or -1 and says why. */
static inline int
eal_start(const char *name)
{
	char prefix[64];
	char *argv[] = { (char[]){ "test" }, (char[]){ "--no-huge" }, (char[]){ "--no-shconf" },
		(char[]){ "-m" }, (char[]){ "256" }, (char[]){ "--no-pci" },
		(char[]){ "--no-telemetry" }, (char[]){ "--log-level=lib.eal:4" },
		(char[]){ "--log-level=mqt.*:1" }, prefix, NULL };
	int rc;

	snprintf(prefix, sizeof(prefix), "--file-prefix=mqt_%.30s_%d", name, (int)getpid());
	rc = rte_eal_init((int)RTE_DIM(argv) - 1, argv);
	if (rc < 0)
		fprintf(stderr, "EAL does not start: %s\n", rte_strerror(rte_errno));
	return rc;
}

/*
 * Cleans up, with the folder that EAL leaves.
 * @param status of the tests. Returns it, but where they passed and this fails 1: of main.
 */
static inline int
eal_stop(int status)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s", rte_eal_get_runtime_dir());
	if (rte_eal_cleanup() < 0 || rmdir(dir) < 0) {
		perror(dir);
		return status ? status : 1;
	}
	return status;
}

#endif
