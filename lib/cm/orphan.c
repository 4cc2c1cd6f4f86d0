/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <rte_common.h>

/*
 * Workers that stop answering (R8).
 *
 * Every worker writes a heartbeat each turn. One that has not changed for `stall_ms` of control
 * time is stalled: its channels become orphans, registered but not live, for nobody knows whether
 * they are connected. They are not down: no event is sent, nothing is removed. When the heartbeat
 * moves again, the orphans that are left are live again. Meanwhile a newcomer or a command takes
 * an orphan's place by killing it (stepdown.c); its worker finds that when it wakes up.
 *
 * Channels are found by walking the worker's slots, a slice a turn: a slot that is LIVE, or CLOSED
 * with its DOWN still to come, names a channel by its generation. A channel registered during the
 * walk, behind it, is not orphaned by it, but when its GRANT is not answered in time (admit.c).
 *
 * Synchronisation: control lcore. Heartbeat and slot words are written by the worker; both are
 * read relaxed, for what is read here is only a hint: the maps, which are the control lcore's own,
 * say what the channel is.
 */

#define LOOKS_A_TURN 8192 /* slots; each may be a cache miss */
#define REST_NS      (100 * MQT_NS_PER_MS)

/* 0: it has not started yet, or has no heartbeat. */
static uint64_t
heartbeat(const struct cm_owner *owner)
{
	if (!owner->o.heartbeat_ns)
		return 0;
	return atomic_load_explicit(owner->o.heartbeat_ns, memory_order_relaxed);
}

static bool
heartbeat_fresh(struct mqt_cm *cm, struct cm_owner *owner) MQT_REQUIRES(mqt_role_control)
{
	uint64_t beat = heartbeat(owner);

	if (beat == 0)
		return true;
	if (beat != owner->beat) {
		owner->beat = beat;
		owner->beat_ctl_ns = cm->ctl_ns;
	}
	return cm->ctl_ns - owner->beat_ctl_ns <= cm->config->limits.stall_ms * MQT_NS_PER_MS;
}

/* As the last turn saw it: one that has woken up since may be about to answer. */
bool
cm_worker_rests(const struct mqt_cm *cm, unsigned worker)
{
	const struct cm_owner *owner = &cm->owners[worker];

	return heartbeat(owner) != 0 && cm->ctl_ns - owner->beat_ctl_ns > REST_NS;
}

static void
turn_around(struct cm_owner *owner, enum cm_walk walk)
{
	owner->walk = (uint8_t)walk;
	owner->walk_slot = 0;
}

static void
watch(struct mqt_cm *cm, unsigned worker) MQT_REQUIRES(mqt_role_control)
{
	struct cm_owner *owner = &cm->owners[worker];
	bool stalled = !heartbeat_fresh(cm, owner);

	if (stalled == atomic_load_explicit(&owner->stalled, memory_order_relaxed))
		return;
	atomic_store_explicit(&owner->stalled, stalled, memory_order_relaxed);
	turn_around(owner, stalled ? CM_WALK_ORPHAN : CM_WALK_ADOPT);
	if (stalled) {
		cm_count(cm, MQT_C_STALLS);
		CM_LOG(WARNING, "worker %u does not answer, its channels are orphaned\n", worker);
	} else {
		CM_LOG(NOTICE, "worker %u answers again\n", worker);
	}
}

/* Returns whether the channel changed sides. */
static bool
visit(struct mqt_cm *cm, mqt_chan_id id, enum cm_walk walk) MQT_REQUIRES(mqt_role_control)
{
	bool orphan = walk == CM_WALK_ORPHAN;

	if ((orphan ? mqt_cm_mark_disconnected(cm, id) : mqt_cm_mark_connected(cm, id)) < 0)
		return false;
	cm_count(cm, orphan ? MQT_C_ORPHANED : MQT_C_ADOPTED_BACK);
	return true;
}

void
cm_orphan_if_stalled(struct mqt_cm *cm, mqt_chan_id id)
{
	if (mqt_cm_stalled(cm, mqt_chan_id_worker(id)))
		visit(cm, id, CM_WALK_ORPHAN);
}

/* The DOWN of a closed one is held up with its worker; once that answers, it is on its way. */
static bool
of_interest(enum mqt_slot_state state, enum cm_walk walk)
{
	return state == MQT_SLOT_LIVE || (state == MQT_SLOT_CLOSED && walk == CM_WALK_ORPHAN);
}

static unsigned
walk_slice(struct mqt_cm *cm, unsigned worker) MQT_REQUIRES(mqt_role_control)
{
	struct cm_owner *owner = &cm->owners[worker];
	uint32_t slice = cm->config->limits.down_slice;
	uint32_t looks = LOOKS_A_TURN;
	uint32_t n = 0;

	while (owner->walk_slot < owner->o.slots.n && n < slice && looks-- > 0) {
		uint32_t slot = owner->walk_slot++;
		uint64_t word = atomic_load_explicit(
				&mqt_slots_at(&owner->o.slots, slot)->word, memory_order_relaxed);
		uint32_t gen = (uint32_t)(word >> 8);

		if (of_interest((enum mqt_slot_state)(word & 0xff), owner->walk))
			n += visit(cm, mqt_chan_id_make(cm->config->node_id, worker, slot, gen),
					owner->walk);
	}
	if (owner->walk_slot == owner->o.slots.n)
		owner->walk = CM_WALK_NONE;
	return n;
}

unsigned
cm_orphan_turn(struct mqt_cm *cm)
{
	unsigned n = 0;

	for (unsigned w = 0; w < cm->n_owners; w++) {
		watch(cm, w);
		if (cm->owners[w].walk != CM_WALK_NONE)
			n += walk_slice(cm, w);
	}
	return n;
}
