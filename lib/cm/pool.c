/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

/*
 * A pool of objects of one size: grows by chunks, gives freed objects out again, last in first
 * out, and returns its memory at the end only. Locks and notes come and go with every opening;
 * their number follows the openings under way, not the clients.
 *
 * Synchronisation: none, control lcore only.
 */

#define CHUNK_OBJECTS 256

struct cm_chunk {
	struct cm_chunk *next;
	_Alignas(max_align_t) unsigned char data[];
};

void *
cm_array_create(size_t n, size_t size)
{
	size_t bytes = RTE_ALIGN_CEIL(n * size, RTE_CACHE_LINE_SIZE);
	void *array = aligned_alloc(RTE_CACHE_LINE_SIZE, bytes);

	if (array)
		memset(array, 0, bytes);
	return array;
}

void
cm_pool_init(struct cm_pool *pool, size_t size)
{
	size_t align = _Alignof(max_align_t);

	*pool = (struct cm_pool){ .size = (size + align - 1) / align * align };
}

void
cm_pool_fini(struct cm_pool *pool)
{
	while (pool->chunks) {
		struct cm_chunk *chunk = pool->chunks;

		pool->chunks = chunk->next;
		free(chunk);
	}
	pool->free = NULL;
}

static void
pool_grow(struct cm_pool *pool)
{
	struct cm_chunk *chunk = malloc(sizeof(*chunk) + CHUNK_OBJECTS * pool->size);

	if (!chunk)
		return;
	chunk->next = pool->chunks;
	pool->chunks = chunk;
	for (unsigned i = CHUNK_OBJECTS; i-- > 0;)
		cm_pool_put(pool, chunk->data + i * pool->size);
}

void *
cm_pool_get(struct cm_pool *pool)
{
	void *obj;

	if (!pool->free)
		pool_grow(pool);
	obj = pool->free;
	if (!obj)
		return NULL;
	memcpy(&pool->free, obj, sizeof(pool->free));
	memset(obj, 0, pool->size);
	return obj;
}

void
cm_pool_put(struct cm_pool *pool, void *obj)
{
	memcpy(obj, &pool->free, sizeof(pool->free));
	pool->free = obj;
}
