/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_SLOT_H
#define MQT_SLOT_H

#include "mqtrack/chan_id.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/**
 * @file
 * The part of a connection that others than its worker touch: one atomic word that decides whether
 * the channel lives (rule R5), and its traffic counters. It is the first member of a connection,
 * in an array that is never freed while the tracker runs, so a stale channel id reads a wrong
 * generation, never wrong memory.
 */

enum mqt_slot_state {
	MQT_SLOT_FREE = 0, /* no channel: the control lcore has never heard of this generation */
	MQT_SLOT_LIVE,     /* named in an OPEN; may pass packets */
	MQT_SLOT_KILLED,   /* control lcore: nothing of this flow may leave any more */
	MQT_SLOT_CLOSED,   /* worker: stepped down or ended */
};

enum mqt_slot_counter { /* from the broker's side, as EMQX counts: recv is from the client */
	MQT_RECV_OCT,   /* TCP payload bytes */
	MQT_RECV_CNT,   /* TCP segments with payload */
	MQT_RECV_PKT,   /* MQTT packets complete */
	MQT_RECV_MSG,   /* of these, PUBLISH */
	MQT_SEND_OCT,
	MQT_SEND_CNT,
	MQT_SEND_PKT,
	MQT_SEND_MSG,
	MQT_SLOT_N_COUNTERS,
};

/** The counters are a cache line of their own: a segment without payload needs none of them. */
struct mqt_slot {
	_Atomic uint64_t counter[MQT_SLOT_N_COUNTERS]; /* W: worker, relaxed; R: any, relaxed */
	_Atomic uint64_t seen_ns; /* last MQTT bytes from the client, mono. W: worker; R: any */
	_Atomic uint64_t word; /* generation << 8 | state. W: worker, control (kill only); R: any */
};

/** A worker's slots: an array of connections that each begin with a struct mqt_slot. */
struct mqt_slots {
	void *base;
	uint32_t stride; /* bytes */
	uint32_t n;
};

static inline uint64_t
mqt_slot_word(uint32_t gen, enum mqt_slot_state state)
{
	return (uint64_t)gen << 8 | state;
}

static inline struct mqt_slot *
mqt_slots_at(const struct mqt_slots *slots, uint32_t slot)
{
	return (struct mqt_slot *)((char *)slots->base + (uint64_t)slot * slots->stride);
}

/**
 * Moves the channel's slot from LIVE to @p to; exactly one of killer and closer succeeds.
 * Context: KILLED from the control lcore, CLOSED from the owner.
 * @return false: another generation, or it was not LIVE any more.
 */
static inline bool
mqt_slot_leave(struct mqt_slot *slot, mqt_chan_id id, enum mqt_slot_state to)
{
	uint64_t live = mqt_slot_word(mqt_chan_id_gen(id), MQT_SLOT_LIVE);

	/* acq_rel: pairs with the worker's acquire load before tx and with the other exchange */
	return atomic_compare_exchange_strong_explicit(&slot->word, &live,
			mqt_slot_word(mqt_chan_id_gen(id), to), memory_order_acq_rel,
			memory_order_acquire);
}

/** Adds to a counter. Context: the owner only, so load and store need not be one. */
static inline void
mqt_slot_count(struct mqt_slot *slot, enum mqt_slot_counter c, uint64_t n)
{
	uint64_t v = atomic_load_explicit(&slot->counter[c], memory_order_relaxed);

	atomic_store_explicit(&slot->counter[c], v + n, memory_order_relaxed);
}

/**
 * Reads a channel's counters.
 * Context: any thread.
 * @param seen_ns may be NULL.
 * @return false: the slot has gone to another generation, @p out is not to be used.
 */
static inline bool
mqt_slot_read(const struct mqt_slot *slot, mqt_chan_id id, uint64_t out[MQT_SLOT_N_COUNTERS],
		uint64_t *seen_ns)
{
	uint64_t before = atomic_load_explicit(&slot->word, memory_order_acquire);
	uint64_t after;

	for (unsigned c = 0; c < MQT_SLOT_N_COUNTERS; c++)
		out[c] = atomic_load_explicit(&slot->counter[c], memory_order_relaxed);
	if (seen_ns)
		*seen_ns = atomic_load_explicit(&slot->seen_ns, memory_order_relaxed);
	atomic_thread_fence(memory_order_acquire);
	after = atomic_load_explicit(&slot->word, memory_order_relaxed);
	return before >> 8 == mqt_chan_id_gen(id) && after >> 8 == before >> 8;
}

#endif
