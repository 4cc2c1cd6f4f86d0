/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mappings for tables that are sized for the most there may be. Huge pages are those that the kernel
 * makes by itself (transparent ones): none has to be set aside for them, and where it has none it takes
 * small ones. A random access to a table of many MiB costs a walk of the page table beside its cache
 * miss otherwise.
 *
 * Synchronisation: none; at start and end.
 */
#include "mqtrack/pages.h"

#include <sys/mman.h>

#define HUGE_BYTES (2u << 20) /* what is smaller has no use for one */

void *
mqt_pages_map(size_t bytes, enum mqt_pages kind)
{
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		return NULL;
	if (kind == MQT_PAGES_HUGE && bytes >= HUGE_BYTES)
		madvise(mem, bytes, MADV_HUGEPAGE); /* an advice: refusal changes nothing */
	return mem;
}

void
mqt_pages_unmap(void *mem, size_t bytes)
{
	if (mem)
		munmap(mem, bytes);
}
