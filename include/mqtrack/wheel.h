/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_WHEEL_H
#define MQT_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * @file
 * Hierarchical timing wheel, one per owner, no lock, no allocation after creation. A timer fires
 * at the first mqt_wheel_expire() whose time is not before its deadline rounded up to a tick,
 * counted from the wheel's start. Arm, disarm: O(1). There is no horizon: any 64-bit time will do.
 */

struct mqt_wheel;

#define MQT_WHEEL_REACH (16ull << 30)

/**
 * A timer, embedded in what it times. Zeroed is disarmed. Ownership: the caller's storage. All of a
 * wheel lie near each other, see mqt_wheel_create(), so their links are short.
 */
struct mqt_timer {
	uint64_t due_tick;
	uint32_t next;
	uint32_t prev; /* 0: not armed */
};

/**
 * Called by mqt_wheel_expire() with the timer disarmed; may arm it or any other again, disarm any,
 * but not call mqt_wheel_expire() itself.
 */
typedef void (*mqt_wheel_fn)(struct mqt_timer *timer, void *arg);

/**
 * @param tick_ns length of a tick, at least 1.
 * @param now_ns the wheel's start.
 * @param base where the memory of its timers begins: each lies within MQT_WHEEL_REACH bytes from there.
 *        Its timers alone are looked at.
 * @return NULL with errno set (ENOMEM, EINVAL). Ownership: mqt_wheel_destroy().
 */
struct mqt_wheel *mqt_wheel_create(uint64_t tick_ns, uint64_t now_ns, void *base);

/** Accepts NULL. Timers still armed are forgotten, not called. */
void mqt_wheel_destroy(struct mqt_wheel *wheel);

/**
 * Arms, or re-arms, @p timer at @p due_ns. A time already past fires at the next expire: from a
 * callback that is not the call under way.
 */
void mqt_wheel_arm(struct mqt_wheel *wheel, struct mqt_timer *timer, uint64_t due_ns);

/** The same, but one that is armed for an earlier time stays so. */
void mqt_wheel_arm_by(struct mqt_wheel *wheel, struct mqt_timer *timer, uint64_t due_ns);

/** Disarms; a disarmed timer is left alone. */
void mqt_wheel_disarm(struct mqt_wheel *wheel, struct mqt_timer *timer);

static inline bool
mqt_timer_armed(const struct mqt_timer *timer)
{
	return timer->prev != 0;
}

/**
 * Fires what is due at @p now_ns, at most @p budget timers; the rest stays due.
 * Time may jump by any amount forward; a step back is ignored.
 * Timers that come near are sorted anew, at most 16 * @p budget a call, so a crowd of timers of
 * one far slot may take some calls before it fires and no call takes long.
 * @return timers fired.
 */
unsigned mqt_wheel_expire(struct mqt_wheel *wheel, uint64_t now_ns, unsigned budget,
		mqt_wheel_fn fn, void *arg);

/** Number of timers armed. */
uint64_t mqt_wheel_count(const struct mqt_wheel *wheel);

#endif
