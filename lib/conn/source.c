/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections by source address. The connections of one address are spread over all workers, and a
 * share of the limit for each would refuse the third of ten where three meet. So each worker counts
 * its own in a table that nobody else writes, and who wants to know adds up all of them. That is
 * exact but for connections that begin on several workers in the same instant: these may not see
 * each other, and the limit can be exceeded by one a worker less one. Nobody waits for anybody.
 *
 * A table is a hash of fixed size; an address lies within PROBES entries of its place. An entry
 * without connections whose second is over belongs to whoever comes next. Where all are taken the
 * connection is not counted. A key is a keyed hash of 64 bits: nobody can choose addresses that
 * collide.
 *
 * Synchronisation: the owner writes, the others read. A new key is stored between two states:
 * key 0, counters, key. Who reads the same key before and after has read its counters, unless it
 * was given away and taken again meanwhile; then it is one connection off, once.
 */
#include "mqtrack/source.h"

#include "mqtrack/clock.h"

#include <stdatomic.h>
#include <stdlib.h>

#include <rte_common.h>

#define PROBES 8

struct entry {
	_Atomic uint64_t key; /* 0: none. W: its worker, release; R: workers, acquire */
	/* W: its worker; R: workers, relaxed but for the key around them */
	_Atomic uint32_t connections;
	_Atomic uint32_t second; /* in which connects were made */
	_Atomic uint32_t connects;
	uint32_t reserved;
};

struct mqt_sources {
	unsigned n_workers;
	uint64_t mask;
	struct entry *tables[]; /* by worker */
};

struct mqt_sources *
mqt_sources_create(unsigned n_workers, uint32_t n)
{
	struct mqt_sources *s = calloc(1, sizeof(*s) + n_workers * sizeof(s->tables[0]));
	uint64_t size = rte_align64pow2(RTE_MAX(n, (uint32_t)PROBES));

	if (!s)
		return NULL;
	s->n_workers = n_workers;
	s->mask = size - 1;
	for (unsigned i = 0; i < n_workers; i++) {
		s->tables[i] = calloc(size, sizeof(struct entry));
		if (!s->tables[i]) {
			mqt_sources_destroy(s);
			return NULL;
		}
	}
	return s;
}

void
mqt_sources_destroy(struct mqt_sources *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->n_workers; i++)
		free(s->tables[i]);
	free(s);
}

static inline uint32_t
get(const _Atomic uint32_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

static inline void
set(_Atomic uint32_t *v, uint32_t n)
{
	atomic_store_explicit(v, n, memory_order_relaxed);
}

static struct entry *
find(const struct mqt_sources *s, unsigned worker, uint64_t key)
{
	for (unsigned i = 0; i < PROBES; i++) {
		struct entry *e = &s->tables[worker][(key + i) & s->mask];

		/* acquire: pairs with the release in claim() */
		if (atomic_load_explicit(&e->key, memory_order_acquire) == key)
			return e;
	}
	return NULL;
}

/* An entry of the worker's own for the address, its old one or one that nobody needs. */
static struct entry *
claim(struct mqt_sources *s, unsigned worker, uint64_t key, uint32_t second)
{
	struct entry *e = find(s, worker, key);

	for (unsigned i = 0; i < PROBES && !e; i++) {
		struct entry *old = &s->tables[worker][(key + i) & s->mask];

		if (get(&old->connections) > 0 ||
				(get(&old->connects) > 0 && get(&old->second) == second))
			continue;
		atomic_store_explicit(&old->key, 0, memory_order_relaxed);
		/* the key is gone before its counters change: pairs with the fence in add_up() */
		atomic_thread_fence(memory_order_release);
		set(&old->connects, 0);
		/* release: who finds the key finds these counters */
		atomic_store_explicit(&old->key, key, memory_order_release);
		e = old;
	}
	return e;
}

/* What all workers have of an address. */
static void
add_up(const struct mqt_sources *s, uint64_t key, uint32_t second, uint64_t *connections,
		uint64_t *connects)
{
	*connections = *connects = 0;
	for (unsigned w = 0; w < s->n_workers; w++) {
		const struct entry *e = find(s, w, key);
		uint32_t n, n_now;

		if (!e)
			continue;
		n = get(&e->connections);
		n_now = get(&e->second) == second ? get(&e->connects) : 0;
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&e->key, memory_order_relaxed) != key)
			continue;
		*connections += n;
		*connects += n_now;
	}
}

enum mqt_source_verdict
mqt_sources_enter(struct mqt_sources *s, unsigned worker, uint64_t key,
		const struct mqt_source_limits *limits, uint64_t now_ns)
{
	uint32_t second = (uint32_t)(now_ns / MQT_NS_PER_SEC);
	uint64_t connections, connects;
	struct entry *e;

	add_up(s, key, second, &connections, &connects);
	if (limits->connections && connections >= limits->connections)
		return MQT_SOURCE_CONNECTIONS;
	if (limits->connects_per_second && connects >= limits->connects_per_second)
		return MQT_SOURCE_CONNECTS;
	e = claim(s, worker, key, second);
	if (!e)
		return MQT_SOURCE_UNCOUNTED;
	if (get(&e->second) != second)
		set(&e->connects, 0);
	set(&e->second, second);
	set(&e->connects, get(&e->connects) + 1);
	set(&e->connections, get(&e->connections) + 1);
	return MQT_SOURCE_COUNTED;
}

void
mqt_sources_leave(struct mqt_sources *s, unsigned worker, uint64_t key)
{
	struct entry *e = find(s, worker, key);

	if (e && get(&e->connections) > 0)
		set(&e->connections, get(&e->connections) - 1);
}
