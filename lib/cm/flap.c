/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include <rte_common.h>
#include <rte_prefetch.h>

/*
 * The flap detector: finds client ids that two devices share, each of which throws the other out.
 *
 * Counted is what happens to a client id when a newcomer takes the place of a living channel. On one
 * broker the tracker need not see it live: the broker closes the older connection, and answers the
 * newer one next. So a connection that its broker has closed counts as living for NEAR_NS more,
 * which is shorter than a client takes that connects again. The count is over a window that slides:
 * the takeovers since the window began, and of those of the window before it the share that is not
 * yet too long ago. More than flap.takeovers of them are told by an event with both peers and the
 * count, once a window.
 *
 * With flap.hold_sec the client id is then held down for so long from its last takeover: while one
 * channel is connected it stays, and newcomers are refused (policy.c). When that one leaves, the
 * next to come is admitted, and the hold goes on for it: a hold decides between two, it never keeps
 * a client id out for which nobody is there. It follows that it holds between brokers. Within one
 * broker the older connection is closed already when the newer CONNACK comes, and nobody is left
 * to be protected; there a flapping client id is only told.
 *
 * Memory is bounded: sets of four entries, chosen by the digest, which is a keyed hash, so nobody
 * can choose who shares a set. In a full set the entry goes that has counted nothing, else the one
 * that has seen nothing for longest, but none that is held.
 *
 * Synchronisation: control lcore only.
 * Sources: FIELD.md, mistake 11.
 */

#define NEAR_NS  (100 * MQT_NS_PER_MS)
#define WAYS     4
#define SETS_MIN 64u
#define SETS_MAX 4096u

/* One cache line. */
struct cm_flap_entry {
	struct mqt_digest digest;
	uint64_t begin_ns; /* of the window; 0: the entry is free */
	uint64_t seen_ns;
	uint64_t told_ns; /* 0: never */
	uint64_t held_until_ns;
	uint64_t out_ns; /* when its broker closed the last connection; 0: it did not */
	uint32_t n;      /* in the window */
	uint32_t n_last; /* in the one before */
};
static_assert(sizeof(struct cm_flap_entry) == RTE_CACHE_LINE_SIZE, "an entry is a line");

/* The connection that an entry's out_ns is about. */
struct cm_flap_out {
	mqt_chan_id chan;
	struct mqt_endpoint peer;
};

static uint64_t
window_ns(const struct mqt_cm *cm)
{
	return RTE_MAX(cm->config->flap.within_sec, 1u) * MQT_NS_PER_SEC;
}

int
cm_flaps_init(struct cm_flaps *flaps, const struct mqt_config *config)
{
	uint32_t n = rte_align32pow2(RTE_MAX(config->limits.max_clients / 64, SETS_MIN));

	*flaps = (struct cm_flaps){ .mask = RTE_MIN(n, SETS_MAX) - 1 };
	if (config->flap.takeovers == 0)
		return 0;
	n = (flaps->mask + 1) * WAYS;
	flaps->entries = cm_array_create(n, sizeof(*flaps->entries));
	flaps->outs = cm_array_create(n, sizeof(*flaps->outs));
	return flaps->entries && flaps->outs ? 0 : -ENOMEM;
}

void
cm_flaps_fini(struct cm_flaps *flaps)
{
	free(flaps->entries);
	free(flaps->outs);
}

static struct cm_flap_entry *
set_of(const struct cm_flaps *flaps, const struct mqt_digest *digest)
{
	return &flaps->entries[(digest->word[1] & flaps->mask) * WAYS];
}

void
cm_flap_ahead(const struct cm_flaps *flaps, const struct mqt_digest *digest)
{
	const struct cm_flap_entry *set;

	if (!flaps->entries)
		return;
	set = set_of(flaps, digest);
	for (size_t at = 0; at < WAYS * sizeof(*set); at += RTE_CACHE_LINE_SIZE)
		rte_prefetch0((const char *)set + at);
}

static struct cm_flap_entry *
find(const struct cm_flaps *flaps, const struct mqt_digest *digest)
{
	struct cm_flap_entry *set = set_of(flaps, digest);

	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].begin_ns != 0 && mqt_digest_equal(&set[i].digest, digest))
			return &set[i];
	}
	return NULL;
}

static bool
less_used(const struct cm_flap_entry *a, const struct cm_flap_entry *b)
{
	bool a_counts = a->n + a->n_last > 0, b_counts = b->n + b->n_last > 0;

	return a_counts == b_counts ? a->seen_ns < b->seen_ns : b_counts;
}

static struct cm_flap_out *
out_of(const struct cm_flaps *flaps, const struct cm_flap_entry *e)
{
	return &flaps->outs[e - flaps->entries];
}

/* The entry of a client, another's where the set is full. */
static struct cm_flap_entry *
make(struct mqt_cm *cm, const struct mqt_digest *digest)
{
	struct cm_flap_entry *set = set_of(&cm->flaps, digest);
	struct cm_flap_entry *e = find(&cm->flaps, digest);

	if (e)
		return e;
	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].held_until_ns <= cm->now_ns && (!e || less_used(&set[i], e)))
			e = &set[i];
	}
	if (e)
		*e = (struct cm_flap_entry){ .digest = *digest, .begin_ns = cm->now_ns };
	return e;
}

/* Takeovers within the window that ends now. */
static uint32_t
rate(const struct cm_flap_entry *e, uint64_t now_ns, uint64_t window)
{
	uint64_t left_ms = (e->begin_ns + window - now_ns) / MQT_NS_PER_MS;

	return e->n + (uint32_t)(e->n_last * left_ms / (window / MQT_NS_PER_MS));
}

static void
slide(struct cm_flap_entry *e, uint64_t now_ns, uint64_t window)
{
	if (now_ns - e->begin_ns < window)
		return;
	e->n_last = now_ns - e->begin_ns < 2 * window ? e->n : 0;
	e->n = 0;
	e->begin_ns += (now_ns - e->begin_ns) / window * window;
}

void
cm_flap_closed(struct mqt_cm *cm, const struct mqt_chan *row)
{
	struct cm_flap_entry *e = cm->flaps.entries ? make(cm, &mqt_chan_info(row)->digest) : NULL;
	struct cm_flap_out *out;

	if (!e)
		return;
	e->seen_ns = e->out_ns = cm->flaps.out_ns = cm->now_ns;
	out = out_of(&cm->flaps, e);
	out->chan = row->id;
	mqt_info_ends(mqt_chan_info(row), &out->peer, NULL);
}

/* Whose place a newcomer takes. Returns false where nobody's. */
static bool
victim(struct mqt_cm *cm, const struct cm_lock *lock, struct cm_other *other)
		MQT_REQUIRES(mqt_role_control)
{
	const struct cm_flap_entry *e;
	const struct cm_flap_out *out;

	if (lock->older != MQT_CHAN_NONE) {
		*other = (struct cm_other){ .chan = lock->older, .peer = &lock->older_peer };
		return true;
	}
	if (cm->now_ns - cm->flaps.out_ns > NEAR_NS) /* of nobody */
		return false;
	e = find(&cm->flaps, &lock->digest);
	if (!e || e->out_ns == 0 || cm->now_ns - e->out_ns > NEAR_NS)
		return false;
	out = out_of(&cm->flaps, e);
	*other = (struct cm_other){ .chan = out->chan, .peer = &out->peer };
	return true;
}

void
cm_flap_opened(struct mqt_cm *cm, const struct cm_lock *lock)
{
	const struct mqt_flap *limit = &cm->config->flap;
	const struct cm_note *cur = lock->cur;
	uint64_t window = window_ns(cm);
	struct cm_flap_entry *e;
	struct cm_other other;
	uint32_t n;

	if (!cm->flaps.entries || !victim(cm, lock, &other))
		return;
	e = make(cm, &lock->digest);
	if (!e)
		return;
	e->out_ns = 0;
	slide(e, cm->now_ns, window);
	e->seen_ns = cm->now_ns;
	e->n++;
	n = rate(e, cm->now_ns, window);
	if (n <= limit->takeovers)
		return;
	if (limit->hold_sec > 0)
		e->held_until_ns = cm->now_ns + limit->hold_sec * MQT_NS_PER_SEC;
	if (e->told_ns != 0 && cm->now_ns - e->told_ns < window)
		return;
	e->told_ns = cm->now_ns;
	cm_count(cm, MQT_C_FLAPPING);
	cm_announce_count(cm, MQT_EVENT_FLAPPING, cur->chan, cur->info, lock->epoch, &other, n);
}

bool
cm_flap_held(const struct mqt_cm *cm, const struct mqt_digest *digest)
{
	const struct cm_flap_entry *e = NULL;

	if (cm->flaps.entries && cm->config->flap.hold_sec > 0)
		e = find(&cm->flaps, digest);
	return e && e->held_until_ns > cm->now_ns;
}
