/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

/*
 * The owners' side: connections that are nothing but their slot and, perhaps, a session. They answer
 * as workers do, in the same order: the end of a flow before the answer to who asked for it, a
 * session with the answer to takeover begin.
 *
 * Synchronisation: the owners belong to one thread, in their own or in that of the control lcore;
 * what they share with the other side are mailboxes, slots, events, and cm_rig.state.
 */

#define PROBE_EVERY_NS 30000
#define PROBES_AT_ONCE 32
#define EVENTS_A_TURN  256
#define BEAT_EVERY     1024

/* --- messages ----------------------------------------------------------------------------------- */

static void
post(struct cm_rig *r, struct mqt_msg msg) MQT_REQUIRES(mqt_role_worker)
{
	mqt_mailbox_post_control(r->owner[mqt_chan_id_worker(msg.chan)].mailbox, &msg);
}

static struct cm_slot *
slot_of(struct cm_rig *r, mqt_chan_id id)
{
	return &r->owner[mqt_chan_id_worker(id)].slots[mqt_chan_id_slot(id)];
}

static bool
end_channel(struct cm_rig *r, mqt_chan_id id, enum mqt_reason reason) MQT_REQUIRES(mqt_role_worker)
{
	if (!mqt_slot_leave(&slot_of(r, id)->slot, id, MQT_SLOT_CLOSED))
		return false;
	post(r,
			(struct mqt_msg){
					.type = MQT_MSG_DOWN,
					.reason = (uint8_t)reason,
					.chan = id,
					.stamp_ns = r->stamp_ns,
			});
	return true;
}

static void
step_down(struct cm_rig *r, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_worker)
{
	struct cm_slot *slot = slot_of(r, msg->chan);
	struct mqt_msg done = {
		.type = MQT_MSG_STEPDOWN_DONE,
		.action = msg->action,
		.chan = msg->chan,
		.token = msg->token,
	};

	r->n_stepdowns++;
	if (msg->action == MQT_STEPDOWN_TAKEOVER_BEGIN) {
		done.session = slot->session;
		slot->session = NULL;
	} else if (!end_channel(r, msg->chan,
				   msg->action == MQT_STEPDOWN_KICK ? MQT_REASON_KICKED
						   : msg->action == MQT_STEPDOWN_DISCARD
						   ? MQT_REASON_DISCARDED
						   : MQT_REASON_TAKEN_OVER)) {
		done.result = -ENOENT;
	}
	post(r, done);
}

static void
granted(struct cm_rig *r, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_worker)
{
	struct cm_slot *slot = slot_of(r, msg->chan);

	if (msg->session)
		slot->session = msg->session;
	else if (slot->client < r->n && !(r->job.flags & MQT_INFO_CLEAN_START))
		slot->session = mqt_session_create();
	if (slot->client >= r->n) {
		uint64_t *ns = &r->probe_ns[slot->client - r->n];

		*ns = bench_now_ns() - *ns;
		r->n_probes_out--;
	} else {
		r->n_granted++;
	}
	post(r, (struct mqt_msg){ .type = MQT_MSG_GRANTED, .chan = msg->chan });
}

static void
released(struct cm_rig *r, const struct mqt_msg *msg)
{
	struct cm_slot *slot = slot_of(r, msg->chan);

	mqt_session_destroy(slot->session);
	slot->session = NULL;
	if (msg->info)
		r->home[r->n_home++] = msg->info;
}

static void
answer(struct cm_rig *r, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_worker)
{
	switch (msg->type) {
	case MQT_MSG_GRANT:
		granted(r, msg);
		break;
	case MQT_MSG_STEPDOWN:
		step_down(r, msg);
		break;
	case MQT_MSG_REFUSE:
		r->n_refused++;
		released(r, msg);
		break;
	case MQT_MSG_RELEASE:
		released(r, msg);
		break;
	}
}

static unsigned
poll(struct cm_rig *r) MQT_REQUIRES(mqt_role_worker)
{
	struct mqt_msg msgs[CM_BATCH];
	unsigned total = 0, n;

	for (unsigned w = 0; w < CM_OWNERS; w++) {
		n = mqt_mailbox_poll_worker(r->owner[w].mailbox, msgs, CM_BATCH);
		for (unsigned i = 0; i < n; i++)
			answer(r, &msgs[i]);
		total += n;
	}
	return total;
}

/* --- what they begin ------------------------------------------------------------------------------ */

static struct mqt_info *
info_create(const struct cm_rig *r, uint32_t client, uint16_t flags)
{
	struct mqt_info *info = calloc(1, sizeof(*info) + 16 + MQT_INFO_ENDS_MAX);
	struct mqt_endpoint end = { .version = 4 };

	if (!info)
		return NULL;
	info->digest = r->digests[client];
	info->flags = flags;
	info->proto_ver = 4;
	info->clientid_len = 16;
	mqt_info_set_ends(info, &end, &end, NULL);
	memcpy(info->data, &client, sizeof(client));
	return info;
}

static void
open_channel(struct cm_rig *r, unsigned w, uint32_t client) MQT_REQUIRES(mqt_role_worker)
{
	struct cm_owner_side *owner = &r->owner[w];
	uint32_t slot = (uint32_t)(owner->n_opened % owner->n_slots);
	uint32_t gen = (uint32_t)(owner->n_opened / owner->n_slots) + 1;
	struct cm_slot *s = &owner->slots[slot];

	if ((atomic_load_explicit(&s->slot.word, memory_order_relaxed) & 0xff) == MQT_SLOT_LIVE)
		r->failed = true;
	owner->n_opened++;
	r->chan[client] = mqt_chan_id_make(0, w, slot, gen);
	s->client = client;
	atomic_store_explicit(
			&s->slot.word, mqt_slot_word(gen, MQT_SLOT_LIVE), memory_order_release);
	post(r,
			(struct mqt_msg){
					.type = MQT_MSG_OPEN,
					.chan = r->chan[client],
					.info = r->infos[client],
					.stamp_ns = r->stamp_ns++,
			});
	r->infos[client] = NULL;
}

/* A client's next owner: the other one. */
static unsigned
next_owner(const struct cm_rig *r, uint32_t client)
{
	if (r->chan[client] == MQT_CHAN_NONE)
		return client % CM_STORMED;
	return (mqt_chan_id_worker(r->chan[client]) + 1) % CM_STORMED;
}

static unsigned
post_opens(struct cm_rig *r) MQT_REQUIRES(mqt_role_worker)
{
	unsigned n = 0;

	while (n < CM_BATCH && r->n_posted < r->n &&
			r->n_posted - r->n_granted - r->n_refused < CM_WINDOW) {
		uint32_t client = r->order[r->n_posted++];

		open_channel(r, next_owner(r, client), client);
		n++;
	}
	return n;
}

static void
post_probe(struct cm_rig *r, unsigned w) MQT_REQUIRES(mqt_role_worker)
{
	uint32_t probe = r->n_probes++;

	r->probe_ns[probe] = bench_now_ns();
	r->n_probes_out++;
	open_channel(r, w, r->n + probe);
}

/* All at once: what the ring does not take waits in the owner's outbox. */
static unsigned
post_downs(struct cm_rig *r) MQT_REQUIRES(mqt_role_worker)
{
	uint64_t now_ns = bench_now_ns();

	if (r->n_posted < r->n) {
		while (r->n_posted < r->n)
			end_channel(r, r->chan[r->order[r->n_posted++]], MQT_REASON_CLIENT_CLOSED);
		if (r->job.probes)
			post_probe(r, 0); /* the first one: behind the storm */
		return r->n;
	}
	/* one place is the first one's */
	if (!r->job.probes || r->n_home == r->n || now_ns < r->next_probe_ns ||
			r->n_probes == CM_MAX_PROBES || r->n_probes_out > PROBES_AT_ONCE)
		return 0;
	r->next_probe_ns = now_ns + PROBE_EVERY_NS;
	post_probe(r, CM_STORMED);
	return 1;
}

static unsigned
post_kicks(struct cm_rig *r)
{
	unsigned n = 0;

	for (; n < CM_BATCH && r->n_posted < r->n; n++) {
		struct cm_kick *kick = &r->kicks[r->n_posted % CM_WINDOW];

		/* pairs with the release when it was done */
		if (!atomic_load_explicit(&kick->idle, memory_order_acquire))
			break;
		atomic_store_explicit(&kick->idle, false, memory_order_relaxed);
		kick->cmd.digest = r->digests[r->order[r->n_posted++]];
		mqt_cm_kick(r->cm, &kick->cmd);
	}
	return n;
}

/* As a subscriber does. */
static unsigned
read_events(struct cm_rig *r)
{
	struct mqt_event ev;
	uint64_t missed;
	unsigned n = 0;

	while (n < EVENTS_A_TURN && mqt_event_ring_read(r->events, &r->cursor, &ev, &missed)) {
		r->n_down_read += ev.type == MQT_EVENT_DISCONNECTED;
		r->n_missed += missed;
		n++;
	}
	return n;
}

/* --- a job ---------------------------------------------------------------------------------------- */

/* They run, whatever it is that takes its time. */
static void
beat(struct cm_rig *r, uint64_t now_ns)
{
	for (unsigned w = 0; w < CM_OWNERS; w++)
		atomic_store_explicit(&r->owner[w].heartbeat_ns, now_ns, memory_order_release);
}

static void
free_home(struct cm_rig *r)
{
	while (r->n_home > 0) {
		free(r->home[--r->n_home]);
		if (r->n_home % BEAT_EVERY == 0)
			beat(r, bench_now_ns());
	}
}

/* Clients do not come, and do not go, in the order in which they came before. */
static void
shuffle(struct cm_rig *r)
{
	for (uint32_t i = r->n - 1; i > 0; i--) {
		uint32_t k = (uint32_t)(bench_random(&r->random) % (i + 1)), at = r->order[i];

		r->order[i] = r->order[k];
		r->order[k] = at;
	}
}

static void
prepare(struct cm_rig *r)
{
	uint32_t first = r->job.kind == CM_JOB_OPEN ? 0 : r->n;
	uint32_t end = r->job.probes ? r->n + CM_MAX_PROBES : r->n;

	for (uint32_t i = first; i < end; i++) {
		uint16_t flags = i < r->n ? r->job.flags : MQT_INFO_CLEAN_START;

		r->infos[i] = info_create(r, i, flags);
		r->failed = r->failed || !r->infos[i];
		if (i % BEAT_EVERY == 0)
			beat(r, bench_now_ns());
	}
	shuffle(r);
	r->n_posted = 0;
	r->n_granted = 0;
	r->n_refused = 0;
	free_home(r); /* the last probes' */
	r->n_probes = 0;
	r->n_probes_out = 0;
	r->next_probe_ns = 0;
	r->n_down_read = 0;
	r->n_missed = 0;
	r->cursor = mqt_event_ring_last(r->events);
}

/* The channels of the probes end, outside of what is measured. */
static void
end_probes(struct cm_rig *r) MQT_REQUIRES(mqt_role_worker)
{
	for (uint32_t i = 0; i < r->n_probes; i++)
		end_channel(r, r->chan[r->n + i], MQT_REASON_CLIENT_CLOSED);
}

static void
clean(struct cm_rig *r) MQT_REQUIRES(mqt_role_worker)
{
	end_probes(r);
	free_home(r);
	for (uint32_t i = 0; i < r->n + CM_MAX_PROBES; i++) {
		free(r->infos[i]);
		r->infos[i] = NULL;
	}
}

static bool
all_home(const struct cm_rig *r)
{
	if (r->n_posted < r->n)
		return false;
	if (r->job.kind == CM_JOB_OPEN)
		return r->n_granted + r->n_refused == r->n;
	if (r->job.probes && (r->n_probes_out > 0 || r->cursor != mqt_event_ring_last(r->events)))
		return false;
	return r->n_home == r->n;
}

static unsigned
work(struct cm_rig *r) MQT_REQUIRES(mqt_role_worker)
{
	unsigned n = 0;

	switch (r->job.kind) {
	case CM_JOB_OPEN:
		n = post_opens(r);
		break;
	case CM_JOB_DOWN:
		n = post_downs(r);
		break;
	case CM_JOB_KICK:
		n = post_kicks(r);
		break;
	}
	return r->job.probes ? n + read_events(r) : n;
}

unsigned
cm_owners_turn(struct cm_rig *r)
{
	/* pairs with the release stores of both sides */
	int state = atomic_load_explicit(&r->state, memory_order_acquire);
	uint64_t now_ns = bench_now_ns();
	unsigned n;

	mqt_role_worker_assert();
	r->stamp_ns = RTE_MAX(r->stamp_ns, now_ns);
	beat(r, now_ns);
	n = poll(r);
	if (state == CM_PREPARE) {
		prepare(r);
		atomic_store_explicit(&r->state, CM_READY, memory_order_release);
	} else if (state == CM_RUN) {
		n += work(r);
		if (all_home(r))
			atomic_store_explicit(&r->state, CM_DONE, memory_order_release);
	} else if (state == CM_CLEAN) {
		clean(r);
		atomic_store_explicit(&r->state, CM_IDLE, memory_order_release);
	}
	return n;
}
