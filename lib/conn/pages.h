/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PAGES_H
#define PAGES_H

#include <stddef.h>

/*
 * Zeroed memory that is reserved whole and comes page by page as it is touched: what is sized for the
 * most that may come costs what has come.
 */

/* @return page-aligned; NULL: no memory. Ownership: pages_unmap(). */
void *pages_map(size_t bytes);

/* The same, in huge pages where the system has them: for what is read all over at random. */
void *pages_map_huge(size_t bytes);

/* Accepts NULL. @param bytes as mapped. */
void pages_unmap(void *mem, size_t bytes);

#endif
