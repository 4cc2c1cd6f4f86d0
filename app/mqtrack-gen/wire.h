/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GEN_WIRE_H
#define GEN_WIRE_H

#include "engine.h"
#include "options.h"

#include <signal.h>

/*
 * Where the packets go. Both run until all is said; what is wrong they say on stderr.
 */

/** Nobody loses anything, and what is sent has come through at once. @return 0, -1. */
int gen_files_run(const struct gen_options *options, struct gen_engine *engine);

struct gen_ports {
	uint16_t id[2]; /* by enum gen_side */
	unsigned n;     /* of them open */
	uint64_t ns;    /* that the run took, without its end */
};

/** Opens the devices and waits for their links. @return 0, -1: gen_ports_close() still applies. */
int gen_ports_open(const struct gen_options *options, struct rte_mempool *pool,
		struct gen_ports *ports);

/**
 * Sends until all flows are through, the time is over or @p stop is set; then waits for what is
 * under way.
 */
void gen_ports_run(const struct gen_options *options, struct gen_engine *engine,
		struct gen_ports *ports, const volatile sig_atomic_t *stop);

void gen_ports_close(struct gen_ports *ports);

/** Prints what was sent and what became of it. @param ports NULL: files. @return 0, -1. */
int gen_report(const struct gen_options *options, const struct gen_engine *engine,
		const struct gen_ports *ports);

#endif
