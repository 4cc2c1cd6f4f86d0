/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <rte_common.h>

/*
 * Contests: several CONNACKs of one client id within the same moment.
 *
 * Each broker has decided already whom of its own it keeps: the last. It closes the others. But the
 * stamps are taken by workers, each when it comes to look at its queue, and may tell the order on one
 * broker wrongly by as long as a worker sleeps. Acting on them at once could end the very
 * connection that a broker keeps, for one that the same broker is closing: on one broker directly,
 * on several by way of a third one, that takes the place of the first and then loses it to the
 * second. Nobody would be left.
 *
 * So a newcomer is held for `contest_ms` from its own arrival if another one of its client id
 * arrived less than that before, on whatever broker, and whatever has become of it (recent.c). By
 * then the ends that the brokers had decided when it came have arrived as well: who is to be closed
 * is gone, held or not, and stamps decide only between those whom a broker keeps.
 *
 *	one of them is left    Let L be the last to come to its lock of all whom no client ends, and s
 *	                       the one that L's broker keeps. If L is not s, L's end was decided before
 *	                       the CONNACK of s, and L came before s or a moment after it. If it was
 *	                       held, its end came while it was; if not, it came before s, and so s
 *	                       would be the last. So L is s. It is admitted; or refused for another one
 *	                       there, who has its broker's word for the same reason.
 *	nobody waits for long  Each is held once, from its own arrival, however many follow. A client
 *	                       that left by itself and comes back is not held, nor is anyone whose
 *	                       predecessor is older than `contest_ms`.
 *
 * Contest time. What a broker closed may be on the wire while a worker does not get its CPU. So the
 * time of contests goes on only while this lcore and all workers run; else sixteen times slower, so
 * that a worker that limps delays nobody for ever. One that is stalled (orphan.c) does not count.
 *
 * A held newcomer is unknown to its lock; its CONNACK is parked meanwhile, so I4 is not touched.
 *
 * Synchronisation: control lcore only. Heartbeats are the workers': a turn that has begun after one
 * has posted what the turns before it read.
 * Sources: invariant I2; MQTT 5.0 §3.1.4, 3.1.1 §3.1.4 (the existing client is disconnected).
 */

#define PROMPT_NS (5 * MQT_NS_PER_MS) /* a worker that only naps beats more often */
#define SLOWEST   16

static uint64_t
contest_ns(const struct mqt_cm *cm)
{
	return cm->config->limits.contest_ms * MQT_NS_PER_MS;
}

static bool
workers_prompt(const struct mqt_cm *cm)
{
	for (unsigned w = 0; w < cm->n_owners; w++) {
		const struct cm_owner *owner = &cm->owners[w];
		uint64_t beat = 0;

		if (atomic_load_explicit(&owner->stalled, memory_order_relaxed))
			continue;
		if (owner->o.heartbeat_ns) /* pairs with the release in mqt_worker_turn() */
			beat = atomic_load_explicit(owner->o.heartbeat_ns, memory_order_acquire);
		if (beat != 0 && beat + PROMPT_NS < cm->now_ns)
			return false;
	}
	return true;
}

void
cm_contest_clock(struct mqt_cm *cm, uint64_t gap_ns)
{
	uint64_t step_ns = workers_prompt(cm) ? RTE_MIN(gap_ns, PROMPT_NS) : 0;

	cm->contest_ns += RTE_MAX(step_ns, gap_ns / SLOWEST);
}

bool
cm_contest_hold(struct mqt_cm *cm, struct cm_note *note)
{
	uint64_t window_ns = contest_ns(cm);

	if (window_ns == 0 || (note->info->flags & MQT_INFO_ANONYMOUS) ||
			!cm_recent_came(&cm->recents, &note->info->digest, note->chan,
					cm->contest_ns, window_ns))
		return false;
	note->kind = CM_NOTE_HELD;
	note->due_ns = cm->contest_ns + window_ns;
	TAILQ_INSERT_TAIL(&cm->held, note, by_due);
	cm_count(cm, MQT_C_CONTESTS);
	return true;
}

void
cm_contest_died(struct mqt_cm *cm, struct cm_note *note)
{
	TAILQ_REMOVE(&cm->held, note, by_due);
}

void
cm_contest_left(struct mqt_cm *cm, const struct mqt_info *info, mqt_chan_id chan)
{
	if (cm->contest_ns - cm->recents.last_ns < contest_ns(cm))
		cm_recent_left(&cm->recents, &info->digest, chan);
}

unsigned
cm_contest_expire(struct mqt_cm *cm)
{
	struct cm_note *note;
	unsigned n = 0;

	while ((note = TAILQ_FIRST(&cm->held)) && note->due_ns <= cm->contest_ns) {
		TAILQ_REMOVE(&cm->held, note, by_due);
		cm_open_enter(cm, note);
		n++;
	}
	return n;
}
