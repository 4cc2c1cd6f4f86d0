/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_PAGES_H
#define MQT_PAGES_H

#include <stddef.h>

/**
 * @file
 * Zeroed memory that is reserved whole and comes page by page as it is touched: what is sized for the
 * most that may come costs what has come.
 */

enum mqt_pages {
	MQT_PAGES_SMALL,
	MQT_PAGES_HUGE, /* where the system has them: for what is read all over at random */
};

/** @return page-aligned; NULL: no memory. Ownership: mqt_pages_unmap(). */
void *mqt_pages_map(size_t bytes, enum mqt_pages kind);

/** Accepts NULL. @param bytes as mapped. */
void mqt_pages_unmap(void *mem, size_t bytes);

#endif
