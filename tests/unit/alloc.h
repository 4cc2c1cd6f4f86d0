/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_ALLOC_H
#define TESTS_UNIT_ALLOC_H

/*
 * Counts the memory that the code under test takes and gives back, and refuses it where a test
 * says so. For one file of a binary that is linked with --wrap for malloc, calloc, realloc and
 * free; calls from shared libraries are not seen.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define ALLOC_MAX_LIVE 4096

static struct {
	void *live[ALLOC_MAX_LIVE];
	unsigned n_live;  /* taken and not given back */
	unsigned n_taken; /* since the start, or since the test set it to 0 */
	int refuse_in;    /* so many are granted before one is refused; -1: none is */
} alloc = { .refuse_in = -1 };

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *ptr, size_t size);
void __real_free(void *ptr);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *ptr, size_t size);
void __wrap_free(void *ptr);

static bool
alloc_refused(void)
{
	if (alloc.refuse_in < 0)
		return false;
	return alloc.refuse_in-- == 0;
}

static void
alloc_forget(const void *ptr)
{
	for (unsigned i = 0; i < alloc.n_live; i++) {
		if (alloc.live[i] != ptr)
			continue;
		alloc.live[i] = alloc.live[--alloc.n_live];
		return;
	}
}

static void *
alloc_note(void *ptr)
{
	if (alloc.n_live == ALLOC_MAX_LIVE) {
		printf("too many allocations\n");
		abort();
	}
	if (ptr != NULL)
		alloc.live[alloc.n_live++] = ptr;
	alloc.n_taken++;
	return ptr;
}

void *
__wrap_malloc(size_t size)
{
	return alloc_refused() ? NULL : alloc_note(__real_malloc(size));
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return alloc_refused() ? NULL : alloc_note(__real_calloc(n, size));
}

void *
__wrap_realloc(void *ptr, size_t size)
{
	if (alloc_refused())
		return NULL;
	alloc_forget(ptr);
	return alloc_note(__real_realloc(ptr, size));
}

void
__wrap_free(void *ptr)
{
	alloc_forget(ptr);
	__real_free(ptr);
}

#endif
