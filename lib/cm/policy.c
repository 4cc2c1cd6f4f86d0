/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <string.h>

/*
 * Policies: what keeps a newcomer out that its broker has accepted. They are a listener's settings,
 * of the listener by which the newcomer comes.
 *
 *	bind_username  a client id belongs to the user name of its oldest channel, connected or
 *	               retained. A newcomer with another one, or without, is refused, and that is
 *	               told as a security event; the holder is not touched.
 *	reject-new     a client id that is connected to another broker stays there. On one broker
 *	               the older connection is closed already when the newer CONNACK comes.
 *	flap hold      a client id that was taken over too often is left alone for a while (flap.c):
 *	               whoever is connected stays. Where nobody is, nobody is kept out.
 *
 * They are asked twice: when the newcomer comes to its client's lock, so that one who will be
 * refused supersedes nobody, and when it is served, for by then the client may be another's.
 * Channels that have stepped down for a newcomer and wait to be replaced still hold their client
 * id: between two owners nobody slips in.
 *
 * Synchronisation: control lcore only.
 */

static bool
same_username(const struct mqt_info *a, const struct mqt_info *b)
{
	if ((a->flags ^ b->flags) & MQT_INFO_HAS_USERNAME)
		return false;
	return a->username_len == b->username_len &&
			memcmp(mqt_info_username(a), mqt_info_username(b), a->username_len) == 0;
}

static bool
holds(const struct mqt_cm *cm, const struct cm_lock *lock, const struct mqt_chan *row)
{
	if (cm_row_state(row) == MQT_CHAN_RETAINED)
		return cm_retained_due(cm, row) > cm->now_ns;
	return cm_row_up(row) || lock->state == CM_LOCK_STEPPING;
}

/* What keeps a newcomer from a client id that @p row is connected by. */
static enum mqt_reason
kept_out_by(const struct mqt_cm *cm, const struct cm_lock *lock, const struct mqt_info *info,
		const struct mqt_chan *row)
{
	if (cm->config->listeners[info->listener].policy == MQT_POLICY_REJECT_NEW &&
			!mqt_info_same_broker(mqt_chan_info(row), info))
		return MQT_REASON_POLICY;
	return cm_flap_held(cm, &lock->digest) ? MQT_REASON_FLAPPING : MQT_REASON_NONE;
}

enum mqt_reason
cm_policy(struct mqt_cm *cm, const struct cm_lock *lock, const struct mqt_info *info,
		struct cm_other *other)
{
	const struct mqt_chan *head = mqt_maps_head(cm->maps, &lock->digest);
	enum mqt_reason reason = MQT_REASON_NONE;
	const struct mqt_chan *row = head;

	while (row && !holds(cm, lock, row))
		row = cm_row_next(row);
	if (row && cm->config->listeners[info->listener].bind_username &&
			!same_username(mqt_chan_info(row), info)) {
		*other = cm_other_of(row);
		return MQT_REASON_USERNAME_MISMATCH;
	}
	for (row = head; row && reason == MQT_REASON_NONE; row = cm_row_next(row)) {
		if (cm_row_state(row) != MQT_CHAN_CONNECTED)
			continue;
		reason = kept_out_by(cm, lock, info, row);
		if (reason != MQT_REASON_NONE)
			*other = cm_other_of(row);
	}
	return reason;
}
