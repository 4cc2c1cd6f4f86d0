/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_errno.h>

/*
 * One channel: registering it, taking it down, removing it, giving its info home; and what is said
 * about it in events.
 *
 * Life of a registered channel:
 *
 *	cm_chan_insert()  in all maps, live; from here on it ends in exactly one RELEASE
 *	cm_chan_down()    out of the live map, `disconnected` said; still found by readers
 *	cm_chan_remove()  out of all maps, by its id with generation (I3)
 *	reclaimed()       its grace period is over; RELEASE, unless its DOWN is still to come: then the
 *	                  note keeps the info until then. Of one that was retained the info ends here
 *
 * Cleanup is armed before the row is published (I5): a channel comes here only by an OPEN, and
 * for each OPEN its worker owes a DOWN.
 *
 * Synchronisation: control lcore only; the maps publish to readers.
 */

/* --- events ---------------------------------------------------------------------------------- */

static void
announce(struct mqt_cm *cm, enum mqt_event_type type, enum mqt_reason reason, mqt_chan_id chan,
		const struct mqt_info *info, uint64_t epoch, const struct cm_other *other,
		uint32_t n) MQT_REQUIRES(mqt_role_control)
{
	size_t id_len = RTE_MIN(info->clientid_len, MQT_EVENT_CLIENTID_MAX);
	struct mqt_event *ev = mqt_event_ring_next(cm->events);

	ev->epoch = epoch;
	ev->wall_ns = cm->wall_ns;
	ev->mono_ns = cm->now_ns;
	ev->chan = chan;
	mqt_info_ends(info, &ev->peer, &ev->broker);
	ev->clientid_len = info->clientid_len;
	ev->flags = info->flags;
	ev->listener = info->listener;
	ev->domain = info->domain;
	ev->type = (uint8_t)type;
	ev->reason = (uint8_t)reason;
	ev->proto_ver = info->proto_ver;
	ev->count = n;
	ev->reserved = 0;
	ev->other = other ? other->chan : MQT_CHAN_NONE;
	if (other && other->info)
		mqt_info_ends(other->info, &ev->other_peer, NULL);
	else
		ev->other_peer = other && other->peer ? *other->peer : (struct mqt_endpoint){ 0 };
	/* whole words are written */
	memset(ev->clientid + id_len, 0,
			RTE_MIN(MQT_EVENT_CLIENTID_MAX - id_len, sizeof(uint64_t)));
	memcpy(ev->clientid, mqt_info_clientid(info), id_len);
	cm_count(cm, MQT_C_EVENTS);
}

struct cm_other
cm_other_of(const struct mqt_chan *row)
{
	return (struct cm_other){ row->id, mqt_chan_info(row), NULL };
}

void
cm_announce(struct mqt_cm *cm, enum mqt_event_type type, enum mqt_reason reason, mqt_chan_id chan,
		const struct mqt_info *info, uint64_t epoch, const struct cm_other *other)
{
	announce(cm, type, reason, chan, info, epoch, other, 0);
}

void
cm_announce_count(struct mqt_cm *cm, enum mqt_event_type type, mqt_chan_id chan,
		const struct mqt_info *info, uint64_t epoch, const struct cm_other *other,
		uint32_t n)
{
	announce(cm, type, MQT_REASON_NONE, chan, info, epoch, other, n);
}

/* --- epochs ------------------------------------------------------------------------------------ */

/*
 * What is removed is not remembered by client, but the greatest epoch of all that were removed is:
 * so an id whose channels are all gone goes on above them.
 */
uint64_t
cm_chan_epoch(const struct mqt_cm *cm, const struct mqt_digest *digest)
{
	const struct mqt_chan *row = mqt_maps_head(cm->maps, digest);
	uint64_t last = cm->removed_epoch;

	for (; row; row = cm_row_next(row))
		last = RTE_MAX(last, row->epoch);
	return last + 1;
}

/* --- in and out of the maps ------------------------------------------------------------------- */

/* Looks for a breach of I1: an older channel of the client that still lives. */
static void
check_alone(struct mqt_cm *cm, const struct mqt_chan *row) MQT_REQUIRES(mqt_role_control)
{
	const struct mqt_chan *c = mqt_maps_head(cm->maps, &mqt_chan_info(row)->digest);

	for (; c; c = cm_row_next(c)) {
		if (c == row || !cm_row_up(c))
			continue;
		cm_count(cm, MQT_C_DUPLICATES);
		if (!cm->duplicate_seen) {
			cm->duplicate_seen = true;
			CM_LOG(ERR, "two live channels of one client id; counted from now on\n");
		}
	}
}

struct mqt_chan *
cm_chan_insert(struct mqt_cm *cm, mqt_chan_id id, struct mqt_info *info, uint64_t stamp_ns,
		uint64_t epoch)
{
	struct mqt_chan *row = mqt_maps_insert(cm->maps, id, info, stamp_ns, cm->wall_ns, epoch);

	if (!row)
		return NULL;
	check_alone(cm, row);
	if (info->flags & MQT_INFO_ASSIGNED) {
		struct mqt_endpoint broker = mqt_info_broker(info);

		cm_broker_seen(cm, &broker);
	}
	mqt_registry_registered(cm->registry, &info->digest, id);
	return row;
}

void
cm_chan_set_state(struct mqt_chan *row, enum mqt_chan_state state)
{
	/* pairs with the acquire loads of readers */
	atomic_store_explicit(&row->state, state, memory_order_release);
}

void
cm_chan_down(struct mqt_cm *cm, struct mqt_chan *row, enum mqt_reason reason)
{
	/* an orphan is out of the live map already */
	if (mqt_maps_set_down(cm->maps, row->id, MQT_CHAN_DISCONNECTED) < 0)
		cm_chan_set_state(row, MQT_CHAN_DISCONNECTED);
	cm_announce(cm, MQT_EVENT_DISCONNECTED, reason, row->id, mqt_chan_info(row), row->epoch,
			NULL);
}

void
cm_chan_remove(struct mqt_cm *cm, struct mqt_chan *row)
{
	struct mqt_digest digest = mqt_chan_info(row)->digest;
	mqt_chan_id id = row->id;
	uint64_t epoch = row->epoch;

	if (mqt_maps_remove(cm->maps, id) < 0)
		return;
	cm->removed_epoch = RTE_MAX(cm->removed_epoch, epoch);
	mqt_registry_unregistered(cm->registry, &digest, id);
	cm_count(cm, MQT_C_UNREGISTERED);
}

void
cm_chan_release(struct mqt_cm *cm, mqt_chan_id id, struct mqt_info *info)
{
	struct mqt_msg msg = { .type = MQT_MSG_RELEASE, .chan = id, .info = info };

	cm_post(cm, &msg);
	cm_count(cm, MQT_C_RELEASED);
}

/* The maps are done with a channel; called inside mqt_maps_reclaim(). */
static void
reclaimed(void *arg, mqt_chan_id id, struct mqt_info *info, uint32_t tag)
{
	struct mqt_cm *cm = arg;
	struct cm_note *note = NULL;

	mqt_role_control_assert();
	if (cm->notes.n_await_down > 0)
		note = cm_note_find(&cm->notes, id);
	if (tag != 0) /* it was retained: its slot went home before (retained.c) */
		free(info);
	else if (note && note->await_down)
		note->info = info;
	else
		cm_chan_release(cm, id, info);
}

unsigned
cm_chan_reclaim(struct mqt_cm *cm, unsigned budget)
{
	return mqt_maps_reclaim(cm->maps, budget, reclaimed, cm);
}

/* --- info and traffic ------------------------------------------------------------------------- */

bool
cm_chan_has_slot(const struct mqt_cm *cm, mqt_chan_id id)
{
	unsigned worker = mqt_chan_id_worker(id);

	return mqt_chan_id_node(id) == cm->config->node_id && worker < cm->n_owners &&
			mqt_chan_id_slot(id) < cm->owners[worker].o.slots.n;
}

int
cm_chan_traffic(const struct mqt_cm *cm, mqt_chan_id id, uint64_t out[MQT_SLOT_N_COUNTERS],
		uint64_t *seen_ns)
{
	const struct mqt_slots *slots;

	if (!cm_chan_has_slot(cm, id))
		return -ENOENT;
	slots = &cm->owners[mqt_chan_id_worker(id)].o.slots;
	if (!mqt_slot_read(mqt_slots_at(slots, mqt_chan_id_slot(id)), id, out, seen_ns))
		return -ENOENT;
	return 0;
}

void
cm_chan_set_end(struct mqt_cm *cm, const struct mqt_chan *row, uint64_t end_ns,
		const uint64_t counter[MQT_SLOT_N_COUNTERS])
{
	uint64_t ago_ns = end_ns < cm->now_ns ? cm->now_ns - end_ns : 0;
	struct mqt_chan_end end = { .wall_ns = cm->wall_ns - ago_ns };

	memcpy(end.counter, counter, sizeof(end.counter));
	mqt_maps_set_end(cm->maps, row, &end);
}

/* --- the reference's functions ----------------------------------------------------------------- */

int
mqt_cm_register(struct mqt_cm *cm, mqt_chan_id id, struct mqt_info *info, uint64_t stamp_ns)
{
	uint64_t epoch = cm_chan_epoch(cm, &info->digest);
	const struct mqt_chan *row;

	if (!cm_chan_has_slot(cm, id))
		return -EINVAL;
	cm_read_clock(cm);
	row = cm_chan_insert(cm, id, info, stamp_ns, epoch);
	if (!row)
		return -rte_errno;
	cm_gauges_update(cm);
	cm_announce(cm, MQT_EVENT_CONNECTED, MQT_REASON_NONE, id, info, epoch, NULL);
	mqt_event_ring_publish(cm->events);
	return 0;
}

int
mqt_cm_unregister(struct mqt_cm *cm, mqt_chan_id id)
{
	struct mqt_chan *row = mqt_maps_get(cm->maps, id);

	if (!row)
		return -ENOENT;
	cm_read_clock(cm);
	if (cm_row_state(row) == MQT_CHAN_RETAINED)
		cm_retained_discard(cm, row);
	if (cm_row_up(row)) {
		struct cm_note *note = cm_note_make(&cm->notes, id);

		if (!note)
			return -ENOMEM;
		cm_note_await_down(cm, note);
		cm_chan_down(cm, row, MQT_REASON_NONE);
	}
	cm_chan_remove(cm, row);
	mqt_event_ring_publish(cm->events);
	return 0;
}

static bool
same_client(const struct mqt_info *a, const struct mqt_info *b)
{
	return mqt_digest_equal(&a->digest, &b->digest) && a->domain == b->domain &&
			a->clientid_len == b->clientid_len &&
			memcmp(mqt_info_clientid(a), mqt_info_clientid(b), a->clientid_len) == 0;
}

int
mqt_cm_set_info(struct mqt_cm *cm, mqt_chan_id id, struct mqt_info *info)
{
	const struct mqt_chan *row = mqt_maps_get(cm->maps, id);
	struct mqt_maps_sizes sizes;

	if (!row)
		return -ENOENT;
	if (!same_client(mqt_chan_info(row), info))
		return -EINVAL;
	mqt_maps_sizes(cm->maps, &sizes);
	if (sizes.free <= cm->reserved)
		return -ENOSPC;
	return mqt_maps_set_info(cm->maps, id, info);
}

int
mqt_cm_set_stats(struct mqt_cm *cm, mqt_chan_id id, const uint64_t counter[MQT_SLOT_N_COUNTERS])
{
	const struct mqt_chan *row = mqt_maps_get(cm->maps, id);
	struct mqt_chan_end end;

	if (!row)
		return -ENOENT;
	if (cm_row_up(row))
		return -EBUSY;
	cm_read_clock(cm);
	if (!mqt_maps_end(cm->maps, row, &end))
		end.wall_ns = cm->wall_ns;
	memcpy(end.counter, counter, sizeof(end.counter));
	mqt_maps_set_end(cm->maps, row, &end);
	return 0;
}

int
mqt_cm_insert_info(struct mqt_cm *cm, mqt_chan_id id, struct mqt_info *info,
		const uint64_t counter[MQT_SLOT_N_COUNTERS])
{
	const struct mqt_chan *row = mqt_maps_get(cm->maps, id);
	int rc;

	if (row && counter && cm_row_up(row))
		return -EBUSY;
	rc = mqt_cm_set_info(cm, id, info);
	if (rc == 0 && counter)
		rc = mqt_cm_set_stats(cm, id, counter);
	return rc;
}

int
mqt_cm_mark_disconnected(struct mqt_cm *cm, mqt_chan_id id)
{
	const struct mqt_chan *row = mqt_maps_get(cm->maps, id);

	if (!row || cm_row_state(row) != MQT_CHAN_CONNECTED)
		return -ENOENT;
	return mqt_maps_set_down(cm->maps, id, MQT_CHAN_ORPHANED);
}

int
mqt_cm_mark_connected(struct mqt_cm *cm, mqt_chan_id id)
{
	return mqt_maps_set_live(cm->maps, id);
}
