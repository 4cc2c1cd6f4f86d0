/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The array behind a flow table.
 *
 * An entry stands at its home, which the low bits of its hash name, or behind it where that is
 * taken, with no gap between. Three in four are taken at most, so mostly a look-up reads one cache
 * line. Removal closes the gap: each entry of the run behind it moves there if its home is not
 * behind the gap, for all that a look-up needs to know of an entry's place is in its hash. So there
 * is nothing to clean up, whatever comes and goes.
 *
 * Nobody outside knows the hash's key, so nobody chooses who comes to stand beside whom; what would
 * stand FLOWS_REACH entries from its home all the same is refused. Removal only moves entries
 * towards their homes, so that bound stays.
 *
 * Life-cycle: all memory is mapped at init; an entry that was never used has no page.
 * Synchronisation: one owner.
 * Source: D. Knuth, The Art of Computer Programming 3, §6.4, algorithms L and R.
 */
#include "flows.h"

#include <assert.h>

#define LOAD_NUM 3 /* of LOAD_DEN entries are taken at most */
#define LOAD_DEN 4
#define MIN_SIZE 64u

static_assert(sizeof(struct flow_entry) == 8, "eight to a cache line");

static uint64_t
size_for(uint32_t most)
{
	uint64_t size = MIN_SIZE;

	while (size * LOAD_NUM / LOAD_DEN < most)
		size *= 2;
	return size;
}

int
flows_init(struct flows *f, uint32_t most, enum mqt_pages kind)
{
	/* 32 bits of hash name a home in it, and more than a home */
	assert(most > 0 && most <= 1u << 25);
	*f = (struct flows){ .mask = (uint32_t)(size_for(most) - 1), .most = most };
	f->entry = mqt_pages_map(flows_bytes(f), kind);
	return f->entry ? 0 : -1;
}

void
flows_fini(struct flows *f)
{
	if (f->entry)
		mqt_pages_unmap(f->entry, flows_bytes(f));
	*f = (struct flows){ 0 };
}

bool
flows_add(struct flows *f, uint32_t hash, uint32_t slot)
{
	uint32_t at = hash & f->mask;

	if (f->n == f->most)
		return false;
	for (uint32_t i = 0; i < FLOWS_REACH; i++) {
		struct flow_entry *e = &f->entry[at];

		if (e->slot == 0) {
			*e = (struct flow_entry){ hash, slot + 1 };
			f->n++;
			return true;
		}
		at = (at + 1) & f->mask;
	}
	return false;
}

/* How far @p at lies behind @p from. */
static uint32_t
distance(const struct flows *f, uint32_t from, uint32_t at)
{
	return (at - from) & f->mask;
}

static void
close_gap(struct flows *f, uint32_t gap)
{
	uint32_t at = gap;

	for (;;) {
		const struct flow_entry *e = &f->entry[at = (at + 1) & f->mask];

		if (e->slot == 0)
			break;
		if (distance(f, e->hash & f->mask, at) < distance(f, gap, at))
			continue; /* its home is behind the gap */
		f->entry[gap] = *e;
		gap = at;
	}
	f->entry[gap] = (struct flow_entry){ 0 };
}

bool
flows_remove(struct flows *f, uint32_t hash, uint32_t slot)
{
	uint32_t at = hash & f->mask;

	for (uint32_t i = 0; i < FLOWS_REACH && f->entry[at].slot != 0; i++) {
		if (f->entry[at].hash == hash && f->entry[at].slot == slot + 1) {
			close_gap(f, at);
			f->n--;
			return true;
		}
		at = (at + 1) & f->mask;
	}
	return false;
}
