/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_common.h>
#include <rte_prefetch.h>

/*
 * Recent newcomers: whether another one of the same client id came a moment ago, whatever has
 * become of it since. Rows and locks cannot tell: who was refused, superseded or ended has left
 * nothing there.
 *
 * An entry is the last arrival of a client id. It also names the newcomer while that is the only one
 * of its moment: when its own client leaves, there is nothing left to remember, and the client may
 * come back at once.
 *
 * Memory is bounded: sets of four entries, chosen by the digest, which is a keyed hash, so nobody can
 * choose who shares a set. In a full set the entry goes that is oldest. Entries too old to matter are
 * simply overwritten.
 *
 * Synchronisation: none, control lcore only.
 */

#define WAYS     4
#define SETS_MIN 64u
#define SETS_MAX 8192u

struct cm_recent_entry {
	struct mqt_digest digest;
	uint64_t seen_ns; /* contest time; 0: the entry is free */
	mqt_chan_id only; /* MQT_CHAN_NONE: there were several */
};

int
cm_recents_init(struct cm_recents *recents, uint32_t max_clients)
{
	uint32_t n = RTE_MIN(RTE_MAX(max_clients / 32, SETS_MIN), SETS_MAX);

	n = rte_align32pow2(n);
	*recents = (struct cm_recents){ .mask = n - 1 };
	recents->entries = cm_array_create((size_t)n * WAYS, sizeof(*recents->entries));
	return recents->entries ? 0 : -ENOMEM;
}

void
cm_recents_fini(struct cm_recents *recents)
{
	free(recents->entries);
}

static struct cm_recent_entry *
set_of(const struct cm_recents *recents, const struct mqt_digest *digest)
{
	return &recents->entries[(digest->word[1] & recents->mask) * WAYS];
}

static struct cm_recent_entry *
find(const struct cm_recents *recents, const struct mqt_digest *digest)
{
	struct cm_recent_entry *set = set_of(recents, digest);

	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].seen_ns != 0 && mqt_digest_equal(&set[i].digest, digest))
			return &set[i];
	}
	return NULL;
}

static struct cm_recent_entry *
oldest(const struct cm_recents *recents, const struct mqt_digest *digest)
{
	struct cm_recent_entry *set = set_of(recents, digest), *e = set;

	for (unsigned i = 1; i < WAYS; i++) {
		if (set[i].seen_ns < e->seen_ns)
			e = &set[i];
	}
	return e;
}

void
cm_recent_ahead(const struct cm_recents *recents, const struct mqt_digest *digest)
{
	const struct cm_recent_entry *set = set_of(recents, digest);

	for (unsigned i = 0; i < WAYS; i += RTE_CACHE_LINE_SIZE / sizeof(*set))
		rte_prefetch0(&set[i]);
}

bool
cm_recent_came(struct cm_recents *recents, const struct mqt_digest *digest, mqt_chan_id chan,
		uint64_t now_ns, uint64_t window_ns)
{
	struct cm_recent_entry *e = find(recents, digest);
	bool again = e && now_ns - e->seen_ns < window_ns;

	if (!e) {
		e = oldest(recents, digest);
		e->digest = *digest;
	}
	e->seen_ns = recents->last_ns = now_ns;
	e->only = again ? MQT_CHAN_NONE : chan;
	return again;
}

void
cm_recent_left(struct cm_recents *recents, const struct mqt_digest *digest, mqt_chan_id chan)
{
	struct cm_recent_entry *e = find(recents, digest);

	if (e && e->only == chan)
		e->seen_ns = 0;
}
