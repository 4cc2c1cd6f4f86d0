/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQTRACKD_CONFIG_H
#define MQTRACKD_CONFIG_H

#include "mqtrack/config.h"

#include <stddef.h>

/**
 * Reads a configuration file. Keys and their meaning: mqtrackd.yaml beside this file.
 * @param cfg set on success only.
 * @param err set on failure: one line "<file>:<line>: <key>: <what is wrong>", or
 *        "<file>: <what is wrong>" where the file cannot be read at all.
 * @return 0, or negative errno.
 */
int config_load(const char *file, struct mqt_config *cfg, char *err, size_t err_size);

#endif
