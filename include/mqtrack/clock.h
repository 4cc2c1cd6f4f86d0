/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_CLOCK_H
#define MQT_CLOCK_H

#include <stdint.h>

#define MQT_NS_PER_SEC 1000000000ull
#define MQT_NS_PER_MS  1000000ull
#define MQT_NS_PER_US  1000ull

/**
 * @file
 * The one source of time, injectable so that tests run in virtual time. Nothing below lib/worker
 * and lib/ctl reads a clock of its own.
 */

/** A clock. Immutable after start; its functions may be called from any thread. */
struct mqt_clock {
	/** Monotonic nanoseconds; comparable between all threads; never 0. */
	uint64_t (*mono_ns)(void *arg);
	/** Nanoseconds since the Unix epoch; may step. */
	uint64_t (*wall_ns)(void *arg);
	void *arg;
};

/** The machine's clock (CLOCK_MONOTONIC, CLOCK_REALTIME). Ownership: static, never freed. */
const struct mqt_clock *mqt_clock_system(void);

/** Monotonic time in ns. Context: any thread, does not block. */
static inline uint64_t
mqt_clock_mono(const struct mqt_clock *clk)
{
	return clk->mono_ns(clk->arg);
}

/** Wall-clock time in ns since the Unix epoch. Context: any thread, does not block. */
static inline uint64_t
mqt_clock_wall(const struct mqt_clock *clk)
{
	return clk->wall_ns(clk->arg);
}

#endif
