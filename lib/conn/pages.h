/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PAGES_H
#define PAGES_H

#include <stddef.h>

/*
 * Zeroed memory that is reserved whole and comes page by page as it is touched: what is sized for the
 * most that may come costs what has come.
 */

enum pages {
	PAGES_SMALL,
	PAGES_HUGE, /* where the system has them: for what is read all over at random */
};

/* @return page-aligned; NULL: no memory. Ownership: pages_unmap(). */
void *pages_map(size_t bytes, enum pages kind);

/* Accepts NULL. @param bytes as mapped. */
void pages_unmap(void *mem, size_t bytes);

#endif
