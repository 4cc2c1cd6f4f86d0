/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQTRACKD_DAEMON_H
#define MQTRACKD_DAEMON_H

#include "mqtrack/config.h"

/**
 * Runs the tracker until SIGINT or SIGTERM; says on standard error when it is ready, and what is
 * wrong where it cannot start.
 * @param config outlives it.
 * @param eal_argv the program's name and the user's options for EAL.
 * @return the exit status.
 * Context: the main thread, once in a process.
 */
int daemon_run(const struct mqt_config *config, int eal_argc, char **eal_argv);

/** Says one line on standard error. @return -1, so that what fails can end with it. */
int complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
