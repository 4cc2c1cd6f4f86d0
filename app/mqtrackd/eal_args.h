/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQTRACKD_EAL_ARGS_H
#define MQTRACKD_EAL_ARGS_H

#include "mqtrack/config.h"

#include <stddef.h>
#include <stdint.h>

/**
 * @file
 * The arguments for rte_eal_init(): the user's own, and what is missing from them.
 */

#define EAL_ARGS_MAX 128

struct eal_args {
	int argc;
	char *argv[EAL_ARGS_MAX + 1];  /* ends with NULL; EAL reorders it and writes into it */
	char *owned[EAL_ARGS_MAX + 1]; /* what is to be freed */
	uint64_t memory_mb;            /* for all of the tracker; 0: EAL's is the user's choice */
};

/**
 * Where the program's own options begin: behind the "--" that ends EAL's, at once where there is none.
 * The "--" becomes the program's name, so that what is returned begins a command line of its own.
 * @return how many arguments come before, the program's name with them; 0: there is no "--".
 */
int eal_args_split(int argc, char **argv);

/**
 * Completes the user's EAL arguments:
 * - no memory option: no huge pages and enough memory for @p cfg; with a PCI device EAL's own
 *   default, for these need huge pages;
 * - no PCI option: only the PCI devices that @p cfg names, mostly none;
 * - no lcores: two, on one or two of the CPUs that this process may use;
 * - no --file-prefix: one of this process;
 * - no --log-level: EAL's chatter at start is left out.
 * @param user the program's name first; the strings must outlive @p out.
 * @return 0, -E2BIG or -ENOMEM. Ownership: eal_args_free() once EAL has been cleaned up.
 */
int eal_args_make(const struct mqt_config *cfg, int user_argc, char *const *user,
		struct eal_args *out);

void eal_args_free(struct eal_args *args);

#endif
