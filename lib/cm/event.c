/* SPDX-License-Identifier: BSD-3-Clause */
#include "mqtrack/event.h"

#include <errno.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <rte_prefetch.h>

/*
 * The ring of events: a broadcast ring, one writer, any number of readers who leave no trace in it.
 *
 * Life of an event: event number s goes to slot (s - 1) mod size, over event s - size; so the ring
 * always holds the newest `size` events. Readers keep the number they read last and compute from
 * the newest number what is still there. A client id is seldom as long as it may be: what is behind
 * it in a slot is of older events, and readers get zeroes.
 *
 * An event is composed on the stage, out of many small stores, and copied to its slot in whole words
 * only when it is published: a load that spans stores so fresh would wait until all of them, and all
 * before them, have left the core. Its slot, which nobody has touched for a whole round, is loaded
 * meanwhile.
 *
 * Synchronisation: a sequence lock in each slot. Its version is 2s - 1 while event s is being
 * written and 2s when it is whole. The words of the event are relaxed atomics between fences, so
 * that a reader who is overtaken reads a mixture, which the version tells it to throw away, and
 * never races in the sense of C11. `last` is released after the slot and tells readers where the
 * end is.
 *
 * Sources: H.-J. Boehm, "Can seqlocks get along with programming language memory models?", 2012.
 */

#define STAGE_EVENTS 16
#define AHEAD_ID     32 /* bytes */
#define EVENT_WORDS  (sizeof(struct mqt_event) / sizeof(uint64_t))
#define HEAD_WORDS   (offsetof(struct mqt_event, clientid) / sizeof(uint64_t))

_Static_assert(sizeof(struct mqt_event) % sizeof(uint64_t) == 0, "copied as words");

struct slot {
	_Atomic uint64_t version; /* W: control; R: any */
	_Atomic uint64_t word[EVENT_WORDS];
};

_Static_assert(sizeof(struct slot) % 64 == 0, "a slot shares no cache line");

struct mqt_event_ring {
	/* immutable */
	uint64_t size;
	/* control only: events last + 1, last + 2, ... */
	unsigned n_staged;
	struct mqt_event stage[STAGE_EVENTS];
	/* W: control; R: any; on a line of its own */
	alignas(64) _Atomic uint64_t last;
	alignas(64) struct slot slot[];
};

static const char *const event_names[] = {
	[MQT_EVENT_CONNECTED] = "connected",
	[MQT_EVENT_DISCONNECTED] = "disconnected",
	[MQT_EVENT_SESSION_CREATED] = "session.created",
	[MQT_EVENT_DISCARDED] = "discarded",
	[MQT_EVENT_KICKED] = "kicked",
	[MQT_EVENT_REFUSED] = "refused",
	[MQT_EVENT_SUPERSEDED] = "superseded",
	[MQT_EVENT_RESUMED] = "session.resumed",
	[MQT_EVENT_TAKENOVER] = "session.takenover",
	[MQT_EVENT_EXPIRED] = "session.expired",
	[MQT_EVENT_LOST_BY_BROKER] = "session.lost_by_broker",
	[MQT_EVENT_LEFT_BEHIND] = "session.left_behind",
	[MQT_EVENT_ADOPTED] = "session.adopted",
	[MQT_EVENT_LOST_BY_KILL] = "session.lost_by_kill",
	[MQT_EVENT_FLAPPING] = "flapping",
	[MQT_EVENT_ANOMALY] = "anomaly",
};

_Static_assert(sizeof(event_names) / sizeof(event_names[0]) == MQT_N_EVENTS, "one name an event");

const char *
mqt_event_name(enum mqt_event_type type)
{
	return (unsigned)type < MQT_N_EVENTS ? event_names[type] : "unknown";
}

struct mqt_event_ring *
mqt_event_ring_create(uint32_t size)
{
	struct mqt_event_ring *ring;
	size_t bytes = sizeof(*ring) + (size_t)size * sizeof(struct slot);

	if (size == 0 || (size & (size - 1)) != 0) {
		errno = EINVAL;
		return NULL;
	}
	ring = aligned_alloc(64, bytes);
	if (!ring)
		return NULL;
	memset(ring, 0, bytes);
	ring->size = size;
	return ring;
}

void
mqt_event_ring_destroy(struct mqt_event_ring *ring)
{
	free(ring);
}

/* Words of an event up to the end of its client id: the others are not copied. */
static size_t
words_of(const struct mqt_event *ev)
{
	size_t id = ev->clientid_len < MQT_EVENT_CLIENTID_MAX ? ev->clientid_len
							      : MQT_EVENT_CLIENTID_MAX;

	return (offsetof(struct mqt_event, clientid) + id + sizeof(uint64_t) - 1) /
			sizeof(uint64_t);
}

static void
slot_write(struct slot *slot, const struct mqt_event *ev)
{
	size_t n = words_of(ev);
	const char *from = (const char *)ev;

	atomic_store_explicit(&slot->version, 2 * ev->seq - 1, memory_order_relaxed);
	/* the odd version is seen before any new word: pairs with the fence in slot_read() */
	atomic_thread_fence(memory_order_release);
	for (size_t i = 0; i < n; i++) {
		uint64_t word;

		memcpy(&word, from + i * sizeof(word), sizeof(word));
		atomic_store_explicit(&slot->word[i], word, memory_order_relaxed);
	}
	/* pairs with the acquire load in slot_read() */
	atomic_store_explicit(&slot->version, 2 * ev->seq, memory_order_release);
}

/* @return false where the slot does not hold event @p seq any more. */
static bool
slot_read(const struct slot *slot, uint64_t seq, struct mqt_event *ev)
{
	uint64_t words[EVENT_WORDS];
	size_t n;

	if (atomic_load_explicit(&slot->version, memory_order_acquire) != 2 * seq)
		return false;
	for (size_t i = 0; i < HEAD_WORDS; i++)
		words[i] = atomic_load_explicit(&slot->word[i], memory_order_relaxed);
	memcpy(ev, words, HEAD_WORDS * sizeof(words[0]));
	n = words_of(ev); /* of a mixture perhaps, but never more than there are */
	for (size_t i = HEAD_WORDS; i < n; i++)
		words[i] = atomic_load_explicit(&slot->word[i], memory_order_relaxed);
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&slot->version, memory_order_relaxed) != 2 * seq)
		return false;
	memcpy(ev, words, n * sizeof(words[0]));
	memset((char *)ev + n * sizeof(words[0]), 0, sizeof(*ev) - n * sizeof(words[0]));
	return true;
}

static struct slot *
slot_of(struct mqt_event_ring *ring, uint64_t seq)
{
	return &ring->slot[(seq - 1) & (ring->size - 1)];
}

/* What an event with a client id of usual length will write. */
static void
slot_ahead(const struct slot *slot)
{
	for (size_t at = 0; at < HEAD_WORDS * sizeof(uint64_t) + AHEAD_ID; at += 64)
		rte_prefetch0((const char *)slot + at);
}

struct mqt_event *
mqt_event_ring_next(struct mqt_event_ring *ring)
{
	struct mqt_event *ev;

	if (ring->n_staged == STAGE_EVENTS)
		mqt_event_ring_publish(ring);
	ev = &ring->stage[ring->n_staged++];
	ev->seq = atomic_load_explicit(&ring->last, memory_order_relaxed) + ring->n_staged;
	slot_ahead(slot_of(ring, ev->seq));
	return ev;
}

void
mqt_event_ring_publish(struct mqt_event_ring *ring)
{
	for (unsigned i = 0; i < ring->n_staged; i++) {
		const struct mqt_event *ev = &ring->stage[i];

		slot_write(slot_of(ring, ev->seq), ev);
		/* pairs with the acquire load in mqt_event_ring_last() */
		atomic_store_explicit(&ring->last, ev->seq, memory_order_release);
	}
	ring->n_staged = 0;
}

uint64_t
mqt_event_ring_last(const struct mqt_event_ring *ring)
{
	return atomic_load_explicit(&ring->last, memory_order_acquire);
}

int
mqt_event_ring_read(const struct mqt_event_ring *ring, uint64_t *cursor, struct mqt_event *ev,
		uint64_t *missed)
{
	uint64_t last = mqt_event_ring_last(ring);
	uint64_t next = *cursor + 1;

	*missed = 0;
	if (*cursor >= last)
		return 0;
	if (last - *cursor > ring->size)
		next = last - ring->size + 1;
	while (!slot_read(&ring->slot[(next - 1) & (ring->size - 1)], next, ev)) {
		/*
		 * Overtaken while reading. The oldest event would be the next to be overwritten, so
		 * go on in the middle of the ring.
		 */
		last = mqt_event_ring_last(ring);
		if (next < last - ring->size / 2)
			next = last - ring->size / 2;
	}
	*missed = next - *cursor - 1;
	*cursor = next;
	return 1;
}
