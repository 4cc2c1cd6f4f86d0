/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQTRACKCTL_COMMANDS_H
#define MQTRACKCTL_COMMANDS_H

#include "args.h"

/** All commands; ends with one that has no name. */
extern const struct command commands[];

/** @return NULL where there is none of that name. */
const struct command *command_find(const char *name);

/** Ends the program where what it printed goes nowhere. */
void check_output(void);

#endif
