/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_IDLE_H
#define MQT_IDLE_H

#include "mqtrack/config.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/**
 * @file
 * What a polling lcore does while nothing comes: it backs off, and at last sleeps, until its time
 * is over or somebody who has posted something wakes it.
 */

/* --- back-off ---------------------------------------------------------------------------------- */

/** Back-off of one lcore; zeroed is awake. */
struct mqt_idle {
	uint32_t idle_turns;
	uint32_t sleep_us;
};

/**
 * Called after each turn: spin, pause, then sleeps that grow to @p max_us when nothing has come
 * for long; anything done begins anew. Never asks for sleep with MQT_POLL_BUSY.
 * @param done what the turn has handled.
 * @return how long to sleep, in us; 0: not at all.
 */
uint32_t mqt_idle_step(
		struct mqt_idle *idle, enum mqt_poll_mode mode, unsigned done, uint32_t max_us);

/* --- sleeping and being woken ------------------------------------------------------------------ */

/** How one thread, its owner, sleeps, and all others wake it. */
struct mqt_waker {
	/* immutable after create */
	int fd; /* an eventfd */
	/* W: the owner announces, whoever takes it back has to write to fd; R: any */
	_Atomic uint32_t asleep;
};

/** @return NULL with errno set. Ownership: mqt_waker_destroy(). */
struct mqt_waker *mqt_waker_create(void);

/** Accepts NULL. Context: nobody sleeps or wakes any more. */
void mqt_waker_destroy(struct mqt_waker *waker);

/** Whether there is something for the owner to do. Context: its thread; does not block. */
typedef bool mqt_waker_fn(void *arg);

/**
 * Sleeps for @p us, or until woken, or until a signal comes; not at all where @p has_work finds
 * something once the sleep is announced. What was posted before a mqt_waker_wake() that did not
 * wake is always found: no wake-up is lost.
 * @return whether it slept.
 * Context: the owner.
 */
bool mqt_waker_sleep(struct mqt_waker *waker, uint32_t us, mqt_waker_fn *has_work, void *arg);

/** Wakes the owner, who has announced to sleep. Context: mqt_waker_wake(). */
void mqt_waker_ring(struct mqt_waker *waker);

/**
 * To be called after something was posted to the owner; NULL: it never sleeps. No system call
 * where the owner is awake.
 * Context: any thread; async-signal-safe; does not block.
 */
static inline void
mqt_waker_wake(struct mqt_waker *waker)
{
	if (!waker)
		return;
	/* what was posted before the load of `asleep`: pairs with the fence in mqt_waker_sleep() */
	atomic_thread_fence(memory_order_seq_cst);
	if (__builtin_expect(atomic_load_explicit(&waker->asleep, memory_order_relaxed) != 0, 0))
		mqt_waker_ring(waker);
}

#endif
