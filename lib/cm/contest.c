/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

/*
 * Contests: two CONNACKs of one client id from one broker within the same moment.
 *
 * The broker has decided already: it closes the older of the two connections. But the stamps are
 * taken by workers, each when it comes to look at its queue, and may tell the order wrongly by as
 * long as a worker sleeps. Acting on them at once could end the very connection that the broker
 * keeps, while the broker ends the other: nobody would be left.
 *
 * So a newcomer that finds a rival on its own broker, with a stamp less than `contest_ms` away, is
 * held for so long (control time). The end of whichever the broker closes arrives meanwhile: if it
 * is the rival's, the newcomer finds nobody in its way; if it is the newcomer's, it was never
 * admitted. Where the broker closes neither, the stamps decide after all. Rivals on different
 * brokers are not held: nobody but the tracker decides between them.
 *
 * A held newcomer is unknown to its lock; its CONNACK is parked meanwhile, so I4 is not touched.
 *
 * Synchronisation: control lcore only.
 * Sources: invariant I2; MQTT 5.0 §3.1.4, 3.1.1 §3.1.4 (the existing client is disconnected).
 */

static uint64_t
contest_ns(const struct mqt_cm *cm)
{
	return cm->config->limits.contest_ms * MQT_NS_PER_MS;
}

static bool
contends(const struct mqt_cm *cm, const struct cm_note *note, const struct mqt_info *info,
		uint64_t stamp_ns)
{
	uint64_t apart = note->stamp_ns > stamp_ns ? note->stamp_ns - stamp_ns
						   : stamp_ns - note->stamp_ns;

	return apart < contest_ns(cm) && mqt_endpoint_equal(&note->info->broker, &info->broker);
}

/* Whether a newcomer of the lock, not registered yet, contends. */
static bool
newcomer_contends(const struct mqt_cm *cm, const struct cm_note *note, const struct cm_note *rival)
{
	return rival && rival->info && contends(cm, note, rival->info, rival->stamp_ns);
}

static bool
is_contest(struct mqt_cm *cm, const struct cm_note *note) MQT_REQUIRES(mqt_role_control)
{
	const struct mqt_digest *digest = &note->info->digest;
	const struct cm_lock *lock = cm_lock_find(cm, digest);
	const struct mqt_chan *row = mqt_maps_head(cm->maps, digest);

	if (lock &&
			(newcomer_contends(cm, note, lock->cur) ||
					newcomer_contends(cm, note, lock->waiter)))
		return true;
	for (; row; row = cm_row_next(row)) {
		if (cm_row_up(row) && contends(cm, note, row->info, row->stamp_ns))
			return true;
	}
	return false;
}

bool
cm_contest_hold(struct mqt_cm *cm, struct cm_note *note)
{
	if (contest_ns(cm) == 0 || !is_contest(cm, note))
		return false;
	note->kind = CM_NOTE_HELD;
	note->due_ns = cm->ctl_ns + contest_ns(cm);
	TAILQ_INSERT_TAIL(&cm->held, note, by_due);
	cm_count(cm, MQT_C_CONTESTS);
	return true;
}

void
cm_contest_died(struct mqt_cm *cm, struct cm_note *note)
{
	TAILQ_REMOVE(&cm->held, note, by_due);
}

unsigned
cm_contest_expire(struct mqt_cm *cm)
{
	struct cm_note *note;
	unsigned n = 0;

	while ((note = TAILQ_FIRST(&cm->held)) && note->due_ns <= cm->ctl_ns) {
		TAILQ_REMOVE(&cm->held, note, by_due);
		cm_open_enter(cm, note);
		n++;
	}
	return n;
}
