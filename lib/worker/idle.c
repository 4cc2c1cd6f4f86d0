/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Idle back-off of a polling lcore.
 *
 * Life-cycle: awake (spin) -> pause -> naps that grow. Any work wakes it. The first naps are short,
 * so that the gaps inside a TCP handshake cost little; each nap is about 1 % longer than the one
 * before, so a nap of a millisecond comes only after a tenth of a second without work.
 * Synchronisation: none, one lcore owns its struct mqt_idle. The timer slack of the calling thread
 * is set once, before its first nap: without that each nap is 50 us longer than asked.
 * Sources: prctl(2) PR_SET_TIMERSLACK, clock_nanosleep(2).
 */
#include "mqtrack/worker.h"

#include <sys/prctl.h>
#include <time.h>

#include <rte_pause.h>

#define SPIN_TURNS    64
#define PAUSE_TURNS   512 /* from here on it naps */
#define PAUSES_A_TURN 16
#define NAP_MIN_US    20

static _Thread_local bool slack_is_set;

static void
nap(uint32_t us)
{
	struct timespec ts = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

	if (!slack_is_set) {
		prctl(PR_SET_TIMERSLACK, 1);
		slack_is_set = true;
	}
	/* a signal may cut it short: the caller polls anyway */
	clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

bool
mqt_idle_step(struct mqt_idle *idle, enum mqt_poll_mode mode, unsigned done, uint32_t max_us)
{
	if (done > 0 || mode == MQT_POLL_BUSY) {
		idle->idle_turns = 0;
		idle->sleep_us = 0;
		return false;
	}
	if (idle->idle_turns < PAUSE_TURNS) {
		if (++idle->idle_turns > SPIN_TURNS)
			for (unsigned i = 0; i < PAUSES_A_TURN; i++)
				rte_pause();
		return false;
	}
	if (idle->sleep_us == 0)
		idle->sleep_us = NAP_MIN_US;
	else
		idle->sleep_us += 1 + idle->sleep_us / 128;
	if (idle->sleep_us > max_us)
		idle->sleep_us = max_us;
	nap(idle->sleep_us);
	return true;
}
