/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_SOURCE_H
#define MQT_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

/**
 * @file
 * How many connections each source address has, and how many it has made in this second: for the
 * limits of a listener. One for all workers; memory is fixed at create.
 */

struct mqt_sources;

/** What an address may have of a listener; 0: as much as it likes. */
struct mqt_source_limits {
	uint32_t connections;
	uint32_t connects_per_second;
};

enum mqt_source_verdict {
	MQT_SOURCE_COUNTED,     /* has one more; mqt_sources_leave() gives it back */
	MQT_SOURCE_UNCOUNTED,   /* may have it, but there was no room to count it */
	MQT_SOURCE_CONNECTIONS, /* over the limit of connections */
	MQT_SOURCE_CONNECTS,    /* over the limit of this second */
};

/** @param n addresses a worker can count. @return NULL: no memory. */
struct mqt_sources *mqt_sources_create(unsigned n_workers, uint32_t n);

/** Accepts NULL. Context: the workers have stopped. */
void mqt_sources_destroy(struct mqt_sources *sources);

/**
 * A connection begins. Only those that may are counted, those over a limit are not.
 * @param key a keyed hash of the listener and the address; not 0.
 * Context: the worker of that index; never waits.
 */
enum mqt_source_verdict mqt_sources_enter(struct mqt_sources *sources, unsigned worker,
		uint64_t key, const struct mqt_source_limits *limits, uint64_t now_ns);

/** A counted connection is over. Context: the worker that has counted it. */
void mqt_sources_leave(struct mqt_sources *sources, unsigned worker, uint64_t key);

#endif
