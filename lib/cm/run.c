/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control lcore's loop: turns, and between them back-off and sleep.
 *
 * Whatever comes from another lcore or thread wakes it, so while nothing is under way it may sleep
 * longer than a worker, which has to look at its ports. While something is, it looks for what nobody
 * wakes it for: limits, and grace periods that have ended.
 *
 * Synchronisation: control lcore; sleeping is waker.c's. Sources: rules R2, R7, R10.
 */
#include "cm_private.h"
#include "mqtrack/idle.h"

#include <rte_common.h>

#define SLEEP_MAX_US  4000 /* contest time takes a longer gap for a pause (contest.c) */
#define SLEEP_BUSY_US 1000

static bool
has_work(void *arg)
{
	struct mqt_cm *cm = arg;

	mqt_role_control_assert();
	for (unsigned w = 0; w < cm->n_owners; w++)
		if (mqt_mailbox_pending_control(cm->owners[w].o.mailbox) > 0)
			return true;
	return cm_command_waits(cm);
}

/* How long it may sleep when nothing has come for long. */
static uint32_t
sleep_max_us(const struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control)
{
	const struct cm_retained *r = &cm->retained;
	uint64_t due_ns = UINT64_MAX;

	if (mqt_cm_busy(cm))
		return SLEEP_BUSY_US;
	if (atomic_load_explicit(&r->n, memory_order_relaxed) > 0)
		due_ns = r->heap[0].due_ns;
	if (due_ns < cm->now_ns + SLEEP_MAX_US * 1000ull)
		return SLEEP_BUSY_US;
	return SLEEP_MAX_US;
}

void
mqt_cm_run(struct mqt_cm *cm, const atomic_bool *stop)
{
	enum mqt_poll_mode mode = (enum mqt_poll_mode)cm->config->poll;
	struct mqt_idle idle = { 0 };

	if (!cm->waker)
		mode = MQT_POLL_BUSY;
	while (!atomic_load_explicit(stop, memory_order_relaxed)) {
		unsigned done = mqt_cm_turn(cm);
		uint32_t us = mqt_idle_step(&idle, mode, done, done ? 0 : sleep_max_us(cm));

		if (us > 0 && mqt_waker_sleep(cm->waker, us, has_work, cm))
			cm_count(cm, MQT_C_SLEEPS);
	}
}
