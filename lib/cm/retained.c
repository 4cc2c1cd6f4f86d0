/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <stdlib.h>

#include <rte_common.h>

/*
 * Retained sessions: channels whose connection is over and whose session waits for its client.
 *
 * Life of one: cm_retain() takes a channel that is down, and its session. The row stays in the
 * channel map and in the info map as MQT_CHAN_RETAINED; the worker's slot goes home at once, without
 * the info, so that a session occupies no connection's place. It ends in one of four ways, and in
 * each the row becomes MQT_CHAN_DISCONNECTED again and is removed as those are:
 *
 *	cm_retained_take()     a newcomer inherits it (inherit.c)
 *	cm_retained_discard()  a clean start, a kick, a discard
 *	cm_retained_expire()   its time is over: at exactly end + expiry it is gone
 *	cm_retained_evict()    there are more than max_retained, or the maps are full to the last
 *	                       row: the one that would expire next leaves first
 *
 * They are a binary heap by the time of expiry, so the next to expire is always at hand and each
 * change costs a few steps, however many there are. A row knows its place in the heap by its tag:
 *
 *	0          the slot is the worker's still: the info goes home with RELEASE
 *	i + 1      the heap's entry i
 *	TAG_LEFT   was in the heap; the info is freed here when no reader can see it any more
 *
 * A turn expires one slice. What is due already and not yet expired is nobody's any more: newcomers
 * do not find it. The limit is looked at when the turn's newcomers have been served, so that what
 * one turn takes over and inherits needs no room. Rows are removed slice by slice like those of
 * DOWN, so a storm of CLOSED holds up nobody either.
 *
 * Memory: 24 bytes an entry; grows by doubling and stays.
 *
 * Synchronisation: control lcore only, but the count.
 * Sources: invariants I6, I7; rules R1, R9; MQTT 5.0 §3.1.2.11.2.
 */

#define TAG_LEFT  UINT32_MAX
#define NEVER_SEC UINT32_MAX
#define SIZE_MIN  1024u

/* --- the heap ------------------------------------------------------------------------------------ */

static uint32_t
count(const struct cm_retained *r)
{
	return atomic_load_explicit(&r->n, memory_order_relaxed);
}

static void
put(struct cm_retained *r, uint32_t i, struct cm_kept kept)
{
	r->heap[i] = kept;
	kept.row->tag = i + 1;
}

static void
sift_up(struct cm_retained *r, uint32_t i, struct cm_kept kept)
{
	while (i > 0 && kept.due_ns < r->heap[(i - 1) / 2].due_ns) {
		put(r, i, r->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	put(r, i, kept);
}

static void
sift_down(struct cm_retained *r, uint32_t i, struct cm_kept kept)
{
	uint32_t n = count(r), child;

	while ((child = 2 * i + 1) < n) {
		if (child + 1 < n && r->heap[child + 1].due_ns < r->heap[child].due_ns)
			child++;
		if (r->heap[child].due_ns >= kept.due_ns)
			break;
		put(r, i, r->heap[child]);
		i = child;
	}
	put(r, i, kept);
}

static bool
heap_push(struct cm_retained *r, struct cm_kept kept)
{
	uint32_t n = count(r);

	if (n == r->size) {
		uint32_t size = r->size ? 2 * r->size : SIZE_MIN;
		struct cm_kept *heap = realloc(r->heap, size * sizeof(*heap));

		if (!heap)
			return false;
		r->heap = heap;
		r->size = size;
	}
	atomic_store_explicit(&r->n, n + 1, memory_order_relaxed);
	sift_up(r, n, kept);
	return true;
}

static struct cm_kept
heap_remove(struct cm_retained *r, uint32_t i)
{
	uint32_t n = count(r) - 1;
	struct cm_kept kept = r->heap[i], last = r->heap[n];

	atomic_store_explicit(&r->n, n, memory_order_relaxed);
	if (i == n)
		return kept;
	if (i > 0 && last.due_ns < r->heap[(i - 1) / 2].due_ns)
		sift_up(r, i, last);
	else
		sift_down(r, i, last);
	return kept;
}

static struct cm_kept *
kept_of(const struct mqt_cm *cm, const struct mqt_chan *row)
{
	return &cm->retained.heap[row->tag - 1];
}

void
cm_retained_fini(struct mqt_cm *cm)
{
	struct cm_retained *r = &cm->retained;

	for (uint32_t i = 0; i < count(r); i++)
		mqt_session_destroy(r->heap[i].session);
	free(r->heap);
}

/* --- when ----------------------------------------------------------------------------------------- */

uint32_t
cm_expiry_sec(const struct mqt_cm *cm, const struct mqt_info *info)
{
	if (info->flags & MQT_INFO_ANONYMOUS)
		return 0;
	if (info->proto_ver >= 5)
		return info->flags & MQT_INFO_HAS_EXPIRY ? info->expiry_sec : 0;
	if (info->flags & MQT_INFO_CLEAN_START)
		return 0;
	return cm->config->listeners[info->listener].session_expiry_v3_sec;
}

/* When a session expires whose connection ended at @p end_ns. */
static uint64_t
expiry_due(uint64_t end_ns, uint32_t expiry_sec)
{
	return expiry_sec == NEVER_SEC ? UINT64_MAX : end_ns + expiry_sec * MQT_NS_PER_SEC;
}

/* --- in and out ------------------------------------------------------------------------------------ */

void
cm_session_discard(struct mqt_cm *cm, struct mqt_session *session)
{
	if (!session)
		return;
	mqt_session_destroy(session);
	cm_count(cm, MQT_C_SESSION_DISCARDED);
}

static bool
keep(struct mqt_cm *cm, struct mqt_chan *row, struct mqt_session *session, uint64_t due_ns)
		MQT_REQUIRES(mqt_role_control)
{
	bool first = row->tag == 0;

	if (!heap_push(&cm->retained,
			    (struct cm_kept){ .due_ns = due_ns, .row = row, .session = session })) {
		cm_session_discard(cm, session);
		return false;
	}
	cm_chan_set_state(row, MQT_CHAN_RETAINED);
	if (first)
		cm_chan_release(cm, row->id, NULL);
	cm_count(cm, MQT_C_SESSION_RETAINED);
	return true;
}

bool
cm_retain(struct mqt_cm *cm, struct mqt_chan *row, struct mqt_session *session, uint64_t end_ns)
{
	struct mqt_session_final final;

	mqt_session_final(session, &final);
	cm_chan_set_end(cm, row, end_ns, final.counter);
	return keep(cm, row, session, expiry_due(end_ns, final.expiry_sec));
}

void
cm_retain_again(struct mqt_cm *cm, struct mqt_chan *row, struct mqt_session *session,
		uint64_t due_ns)
{
	keep(cm, row, session, due_ns);
}

struct mqt_session *
cm_retained_session(const struct mqt_cm *cm, const struct mqt_chan *row)
{
	return kept_of(cm, row)->session;
}

uint64_t
cm_retained_due(const struct mqt_cm *cm, const struct mqt_chan *row)
{
	return kept_of(cm, row)->due_ns;
}

struct mqt_session *
cm_retained_take(struct mqt_cm *cm, struct mqt_chan *row)
{
	struct cm_kept kept = heap_remove(&cm->retained, row->tag - 1);

	row->tag = TAG_LEFT;
	cm_chan_set_state(row, MQT_CHAN_DISCONNECTED);
	return kept.session;
}

void
cm_retained_discard(struct mqt_cm *cm, struct mqt_chan *row)
{
	cm_session_discard(cm, cm_retained_take(cm, row));
}

void
cm_retained_expire(struct mqt_cm *cm, struct mqt_chan *row, enum mqt_reason reason)
{
	mqt_session_destroy(cm_retained_take(cm, row));
	cm_count(cm, reason == MQT_REASON_EVICTED ? MQT_C_SESSION_EVICTED : MQT_C_SESSION_EXPIRED);
	cm_announce(cm, MQT_EVENT_EXPIRED, reason, row->id, mqt_chan_info(row), row->epoch, NULL);
}

struct mqt_chan *
cm_retained_evict(struct mqt_cm *cm)
{
	struct mqt_chan *row;

	if (count(&cm->retained) == 0)
		return NULL;
	row = cm->retained.heap[0].row;
	cm_retained_expire(cm, row, MQT_REASON_EVICTED);
	return row;
}

unsigned
cm_retained_turn(struct mqt_cm *cm)
{
	struct cm_retained *r = &cm->retained;
	uint32_t slice = cm->config->limits.down_slice;
	unsigned n = 0;

	for (; n < slice && count(r) > 0 && r->heap[0].due_ns <= cm->now_ns; n++) {
		struct mqt_chan *row = r->heap[0].row;

		cm_retained_expire(cm, row, MQT_REASON_EXPIRED);
		cm_chan_remove(cm, row);
		cm->n_reopened++;
	}
	/* no more than came in this turn */
	for (; count(r) > cm->config->limits.max_retained; n++)
		cm_down_push(cm, cm_retained_evict(cm)->id);
	return n;
}
