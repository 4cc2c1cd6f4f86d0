/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Idle back-off of a polling lcore.
 *
 * Life-cycle: awake (spin) -> pause -> sleeps that grow. Any work begins it anew. The first sleeps
 * are short, so that the gaps inside a TCP handshake cost little; each is about 1 % longer than the
 * one before, so a sleep of a millisecond comes only after a tenth of a second without work.
 * Synchronisation: none, one lcore owns its struct mqt_idle. Who sleeps, and who wakes it, is in
 * waker.c.
 */
#include "mqtrack/idle.h"

#define SPIN_TURNS    64
#define PAUSE_TURNS   512 /* from here on it sleeps */
#define PAUSES_A_TURN 16
#define SLEEP_MIN_US  20

static inline void
cpu_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#else
	atomic_signal_fence(memory_order_seq_cst);
#endif
}

uint32_t
mqt_idle_step(struct mqt_idle *idle, enum mqt_poll_mode mode, unsigned done, uint32_t max_us)
{
	if (done > 0 || mode == MQT_POLL_BUSY) {
		idle->idle_turns = 0;
		idle->sleep_us = 0;
		return 0;
	}
	if (idle->idle_turns < PAUSE_TURNS) {
		if (++idle->idle_turns > SPIN_TURNS)
			for (unsigned i = 0; i < PAUSES_A_TURN; i++)
				cpu_pause();
		return 0;
	}
	if (idle->sleep_us == 0)
		idle->sleep_us = SLEEP_MIN_US;
	else
		idle->sleep_us += 1 + idle->sleep_us / 128;
	if (idle->sleep_us > max_us)
		idle->sleep_us = max_us;
	return idle->sleep_us;
}
