/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tracker sends in the name of an end has that end's link header. Most flows come through
 * few routers and share a pair of headers, while in a network without any each client has its own:
 * so each pair is kept once, as long as a connection uses it. Mostly it is the one that was asked for
 * last; else it is found by its keyed hash.
 *
 * Life-cycle: links_get() makes a pair or finds it, links_put() by its last user frees it. There is
 * room for a pair a connection; memory is there as far as it was used at once.
 * Synchronisation: one owner.
 */
#include "links.h"

#include "mqtrack/pages.h"

#include <assert.h>
#include <string.h>

#define NONE FLOWS_NONE

static_assert(sizeof(struct link_pair) == 44, "compared as bytes: no padding of its own");

static size_t
bytes_of(const struct links *l)
{
	return (size_t)l->most * sizeof(*l->link);
}

int
links_init(struct links *l, uint32_t most, const struct mqt_hash_key *key)
{
	*l = (struct links){ .most = most, .key = key, .free = NONE, .last = NONE };
	l->link = mqt_pages_map(bytes_of(l), MQT_PAGES_SMALL);
	return l->link ? flows_init(&l->index, most, MQT_PAGES_SMALL) : -1;
}

void
links_fini(struct links *l)
{
	flows_fini(&l->index);
	mqt_pages_unmap(l->link, bytes_of(l));
	*l = (struct links){ 0 };
}

static uint32_t
hash_of(const struct links *l, const struct link_pair *pair)
{
	uint8_t blocks[48] = { 0 };

	memcpy(blocks, pair, sizeof(*pair));
	return (uint32_t)mqt_hash_flow(l->key, blocks, sizeof(blocks));
}

static bool
is_pair(const struct links *l, uint32_t link, const struct link_pair *pair)
{
	return memcmp(&l->link[link].pair, pair, sizeof(*pair)) == 0;
}

static uint32_t
find(const struct links *l, uint32_t hash, const struct link_pair *pair)
{
	struct flows_probe probe = flows_first(&l->index, hash);
	uint32_t link;

	while ((link = flows_next(&l->index, hash, &probe)) != NONE)
		if (is_pair(l, link, pair))
			break;
	return link;
}

/* One that cannot be found again, for the index has no room for it, has one user. */
static uint32_t
make(struct links *l, uint32_t hash, const struct link_pair *pair)
{
	uint32_t link = l->free;

	if (link != NONE)
		l->free = l->link[link].next_free;
	else
		link = l->n_fresh++;
	assert(link < l->most);
	l->link[link] = (struct link){ .pair = *pair };
	flows_add(&l->index, hash, link);
	return link;
}

uint32_t
links_get(struct links *l, const struct link_pair *pair)
{
	if (l->last == NONE || !is_pair(l, l->last, pair)) {
		uint32_t hash = hash_of(l, pair), link = find(l, hash, pair);

		l->last = link != NONE ? link : make(l, hash, pair);
	}
	l->link[l->last].n_users++;
	return l->last;
}

void
links_put(struct links *l, uint32_t link)
{
	struct link *k = &l->link[link];

	if (--k->n_users > 0)
		return;
	flows_remove(&l->index, hash_of(l, &k->pair), link);
	if (l->last == link)
		l->last = NONE;
	k->next_free = l->free;
	l->free = link;
}
