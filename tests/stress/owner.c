/* SPDX-License-Identifier: BSD-3-Clause */
#include "stress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

/*
 * The worker's side, played: it does what msg.h wants of a worker, as fast as it can. Clients are
 * opened at random, so an open often finds its client connected, and takes over; connections end
 * at random too, also before their GRANT; now and then all of them end at once.
 *
 * A session is made when its connection is granted without one, unless nothing happens on it. It
 * leaves with CLOSED, with the answer to takeover begin, or it is dropped; and comes with GRANT.
 * Each way is counted, so that in the end none may be missing. A frozen connection may end before
 * takeover end comes: then its pendings are lost, and nothing else.
 *
 * A slot is used again in order of release, and its counters carry the generation that they belong
 * to, for readers of statistics. An info that comes home is checked, overwritten and freed: a
 * reader who still looks at it finds that out. That of a retained channel is the manager's to free.
 */

#define BATCH       32u   /* connections begun a step, and ended */
#define STORM_EVERY 50000 /* opens */
#define BURST       32
#define DIES_FROZEN 32 /* one in so many */
#define BLANK       4  /* one in so many */

void
owner_init(struct owner *o, struct stress *s)
{
	o->s = s;
	o->random = 0x9e3779b97f4a7c15ull;
	for (uint32_t i = 0; i < STRESS_SLOTS; i++)
		o->free[i] = i;
	o->n_free = STRESS_SLOTS;
}

static void
add(_Atomic uint32_t *counter, int n)
{
	uint32_t v = atomic_load_explicit(counter, memory_order_relaxed);

	/* release: who reads the counts as final sees what was done before */
	atomic_store_explicit(counter, v + (uint32_t)n, memory_order_release);
}

/* For the control lcore. */
static int
waits(enum place_state state)
{
	return state == PLACE_OPENING || state == PLACE_FROZEN || state == PLACE_OVER;
}

static void
set_state(struct owner *o, struct place *p, enum place_state state)
{
	add(&o->n_live, (state == PLACE_LIVE) - (p->state == PLACE_LIVE));
	add(&o->n_busy, waits(state) - waits((enum place_state)p->state));
	p->state = (uint8_t)state;
}

static mqt_chan_id
chan_of(const struct owner *o, const struct place *p)
{
	return mqt_chan_id_make(STRESS_NODE, 0, (uint32_t)(p - o->places), p->gen);
}

static struct mqt_slot *
slot_of(const struct owner *o, const struct place *p)
{
	return &o->s->slots[p - o->places];
}

static void
post(struct owner *o, const struct place *p, struct mqt_msg msg) MQT_REQUIRES(mqt_role_worker)
{
	msg.chan = chan_of(o, p);
	mqt_mailbox_post_control(o->s->mailbox, &msg);
}

static bool
may_end(const struct place *p)
{
	return p->state != PLACE_FREE && p->state != PLACE_OVER && p->client >= STRESS_PERMANENT;
}

static bool
one_in(struct owner *o, unsigned of)
{
	return (stress_random(&o->random) >> 8) % of == 0;
}

/* --- a connection's life ------------------------------------------------------------------------- */

/* The next generation; its counters name it. */
static void
slot_begin(struct mqt_slot *slot, uint32_t gen)
{
	/* before the counters change: who reads meanwhile finds the old generation gone */
	atomic_store_explicit(&slot->word, mqt_slot_word(0, MQT_SLOT_FREE), memory_order_release);
	atomic_thread_fence(memory_order_release);
	for (unsigned c = 0; c < MQT_SLOT_N_COUNTERS; c++)
		atomic_store_explicit(&slot->counter[c], (uint64_t)gen << 32, memory_order_relaxed);
	/* release: pairs with the acquire in mqt_slot_read() */
	atomic_store_explicit(&slot->word, mqt_slot_word(gen, MQT_SLOT_LIVE), memory_order_release);
}

static void
begin(struct owner *o, uint32_t client) MQT_REQUIRES(mqt_role_worker)
{
	uint64_t n = atomic_load_explicit(&o->n_opened, memory_order_relaxed);
	struct place *p = &o->places[o->free[o->free_head++ % STRESS_SLOTS]];
	uint8_t made[RECORD_MAX] __attribute__((aligned(16)));
	size_t size;

	o->n_free--;
	p->gen = mqt_chan_id_gen_next(p->gen);
	p->client = client;
	p->stamp_ns = atomic_load_explicit(&o->s->now_ns, memory_order_relaxed);
	size = record_fill((struct mqt_info *)made, o->s->digests, p->client, chan_of(o, p),
			p->stamp_ns);
	p->info = malloc(size);
	if (!p->info)
		abort();
	memcpy(p->info, made, size);
	p->expiry_sec = p->info->expiry_sec;
	p->closed = false;
	slot_begin(slot_of(o, p), p->gen);
	set_state(o, p, PLACE_OPENING);
	post(o, p,
			(struct mqt_msg){ .type = MQT_MSG_OPEN,
					.stamp_ns = p->stamp_ns,
					.info = p->info });
	atomic_store_explicit(&o->n_opened, n + 1, memory_order_relaxed);
}

/* The flow is over; @p session is what outlives it, or NULL. */
static void
leave(struct owner *o, struct place *p, enum mqt_reason reason, struct mqt_session *session)
		MQT_REQUIRES(mqt_role_worker)
{
	/* nobody kills here: all answers are in time */
	if (!mqt_slot_leave(slot_of(o, p), chan_of(o, p), MQT_SLOT_CLOSED))
		o->n_bad++;
	set_state(o, p, PLACE_OVER);
	post(o, p,
			(struct mqt_msg){ .type = session ? MQT_MSG_CLOSED : MQT_MSG_DOWN,
					.reason = (uint8_t)reason,
					.stamp_ns = atomic_load_explicit(
							&o->s->now_ns, memory_order_relaxed),
					.session = session });
}

/* Ends, and nothing of it outlives it. */
static void
down(struct owner *o, struct place *p, enum mqt_reason reason) MQT_REQUIRES(mqt_role_worker)
{
	o->n_dropped += p->session != NULL;
	mqt_session_destroy(p->session);
	p->session = NULL;
	o->n_pendings_lost += p->pendings != NULL;
	free(p->pendings);
	p->pendings = NULL;
	leave(o, p, reason, NULL);
}

static struct mqt_session *
make(struct owner *o, const struct place *p)
{
	o->n_made++;
	return session_make(p->client);
}

/* Ends by itself. */
static void
end(struct owner *o, struct place *p, enum mqt_reason reason) MQT_REQUIRES(mqt_role_worker)
{
	struct mqt_session *session = p->session;
	bool early = p->state == PLACE_OPENING;

	/* before its GRANT one has a session only if the client did not wait for it */
	if (p->state == PLACE_FROZEN || p->expiry_sec == 0 || (early && one_in(o, 2))) {
		down(o, p, reason);
		return;
	}
	p->session = NULL;
	if (!session)
		session = make(o, p);
	session_end(session, slot_of(o, p), p->expiry_sec);
	o->n_closed++;
	p->closed = true;
	leave(o, p, reason, session);
}

/* Whether it is the info that left, or none where the channel is retained and keeps it. */
static bool
is_home(struct owner *o, const struct place *p, const struct mqt_msg *msg)
{
	if (!msg->info)
		return msg->type == MQT_MSG_RELEASE;
	return msg->info == p->info &&
			!record_check(msg->info, o->s->digests, chan_of(o, p), p->stamp_ns);
}

static void
home(struct owner *o, struct place *p, const struct mqt_msg *msg)
{
	if (!is_home(o, p, msg)) {
		o->n_bad++;
		return;
	}
	if (msg->type == MQT_MSG_REFUSE) {
		if (p->state == PLACE_OPENING)
			mqt_slot_leave(slot_of(o, p), chan_of(o, p), MQT_SLOT_CLOSED);
		o->n_refused++;
	} else if (p->state != PLACE_OVER) {
		o->n_bad++;
	}
	if (msg->info)
		memset(msg->info, 0xdd, record_size(msg->info));
	else
		o->n_kept++;
	free(msg->info);
	p->info = NULL;
	set_state(o, p, PLACE_FREE);
	o->free[(o->free_head + o->n_free++) % STRESS_SLOTS] = (uint32_t)(p - o->places);
	o->n_home++;
}

/* --- messages --------------------------------------------------------------------------------------- */

static void
inherit(struct owner *o, struct place *p, struct mqt_session *session)
{
	struct mqt_session_counts counts;
	unsigned n_messages;

	o->n_inherited++;
	if (session_check(session, p->client, &n_messages))
		o->n_bad++;
	mqt_session_counts(session, &counts);
	o->n_blank_got += counts.filters == 0;
	o->n_messages_missed += counts.filters > 0 && n_messages == 0;
}

static void
on_grant(struct owner *o, struct place *p, struct mqt_session *session)
		MQT_REQUIRES(mqt_role_worker)
{
	if (session)
		inherit(o, p, session);
	if (p->state == PLACE_OPENING) {
		if (session)
			session_begin(session, p->client);
		else if (p->expiry_sec == 0 || !one_in(o, BLANK))
			session = make(o, p);
		p->session = session;
		set_state(o, p, PLACE_LIVE);
		post(o, p, (struct mqt_msg){ .type = MQT_MSG_GRANTED });
	} else if (p->state == PLACE_OVER) {
		o->n_returned++;
		o->n_given_back += session != NULL;
		o->n_blank_back += !session && !p->closed && p->expiry_sec > 0;
		post(o, p, (struct mqt_msg){ .type = MQT_MSG_RETURN, .session = session });
	} else {
		o->n_bad++;
	}
}

/* The flow is frozen, its session goes. */
static struct mqt_session *
freeze(struct owner *o, struct place *p)
{
	struct mqt_session *session = p->session;

	o->n_handed_over++;
	o->n_blank_left += session == NULL;
	p->session = NULL;
	if (session)
		p->pendings = mqt_session_split_pendings(session);
	set_state(o, p, PLACE_FROZEN);
	return session;
}

static struct mqt_pendings *
take_pendings(struct place *p)
{
	struct mqt_pendings *pendings = p->pendings;

	p->pendings = NULL;
	return pendings;
}

static enum mqt_reason
reason_of(uint8_t action)
{
	switch (action) {
	case MQT_STEPDOWN_KICK:
		return MQT_REASON_KICKED;
	case MQT_STEPDOWN_DISCARD:
		return MQT_REASON_DISCARDED;
	default:
		return MQT_REASON_TAKEN_OVER;
	}
}

static void
on_stepdown(struct owner *o, struct place *p, const struct mqt_msg *msg)
		MQT_REQUIRES(mqt_role_worker)
{
	bool begins = msg->action == MQT_STEPDOWN_TAKEOVER_BEGIN;
	bool ends = msg->action == MQT_STEPDOWN_TAKEOVER_END;
	struct mqt_msg done = *msg;

	o->n_stepdowns++;
	o->n_ends += ends;
	done.type = MQT_MSG_STEPDOWN_DONE;
	if (p->state == PLACE_OVER) {
		done.result = -ENOENT;
	} else if (p->state != (ends ? PLACE_FROZEN : PLACE_LIVE)) {
		o->n_bad++;
	} else if (begins) {
		done.session = freeze(o, p);
	} else {
		done.pendings = take_pendings(p);
		down(o, p, reason_of(msg->action));
	}
	post(o, p, done);
	if (p->state == PLACE_FROZEN && may_end(p) && one_in(o, DIES_FROZEN))
		end(o, p, MQT_REASON_TAKEN_OVER);
}

static void
on_inspect(struct owner *o, const struct place *p, const struct mqt_msg *msg)
		MQT_REQUIRES(mqt_role_worker)
{
	post(o, p,
			(struct mqt_msg){ .type = MQT_MSG_INSPECTED,
					.token = msg->token,
					.session = mqt_session_clone(p->session) });
}

static void
on_msg(struct owner *o, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_worker)
{
	struct place *p = &o->places[mqt_chan_id_slot(msg->chan) % STRESS_SLOTS];

	if (msg->chan != chan_of(o, p) || p->state == PLACE_FREE) {
		o->n_bad++;
		return;
	}
	switch (msg->type) {
	case MQT_MSG_GRANT:
		on_grant(o, p, msg->session);
		break;
	case MQT_MSG_INSPECT:
		on_inspect(o, p, msg);
		break;
	case MQT_MSG_STEPDOWN:
		on_stepdown(o, p, msg);
		break;
	case MQT_MSG_REFUSE:
	case MQT_MSG_RELEASE:
		home(o, p, msg);
		break;
	default:
		o->n_bad++;
	}
}

/* --- what happens by itself ------------------------------------------------------------------------- */

static uint32_t
any_client(struct owner *o)
{
	uint64_t r = stress_random(&o->random) >> 8;

	return (uint32_t)(r % 8 == 0 ? (r >> 3) % STRESS_PERMANENT : (r >> 3) % STRESS_CLIENTS);
}

static void
fill(struct owner *o) MQT_REQUIRES(mqt_role_worker)
{
	uint64_t n;

	while ((n = atomic_load_explicit(&o->n_opened, memory_order_relaxed)) < STRESS_PERMANENT)
		begin(o, (uint32_t)n);
}

static void
churn(struct owner *o) MQT_REQUIRES(mqt_role_worker)
{
	uint64_t before = atomic_load_explicit(&o->n_opened, memory_order_relaxed);
	unsigned n = RTE_MIN(BATCH, o->n_free);

	for (unsigned i = 0; i < n; i++)
		begin(o, any_client(o));
	/* no more ends than begins: while all places wait for the manager, so does the owner */
	for (unsigned i = 0; i < n; i++) {
		struct place *p = &o->places[stress_random(&o->random) % STRESS_SLOTS];

		if (may_end(p))
			end(o, p, MQT_REASON_CLIENT_CLOSED);
		else if (p->state == PLACE_LIVE)
			mqt_slot_count(slot_of(o, p), i % MQT_SLOT_N_COUNTERS, 1);
	}
	if (before / STORM_EVERY == atomic_load(&o->n_opened) / STORM_EVERY)
		return;
	o->n_storms++;
	for (unsigned i = 0; i < STRESS_SLOTS; i++) {
		if (may_end(&o->places[i]))
			end(o, &o->places[i], MQT_REASON_CLIENT_RESET);
	}
}

static bool
drain(struct owner *o) MQT_REQUIRES(mqt_role_worker)
{
	if (atomic_load_explicit(&o->n_live, memory_order_relaxed) == 0)
		return false;
	for (unsigned i = 0; i < STRESS_SLOTS; i++) {
		if (o->places[i].state == PLACE_LIVE)
			end(o, &o->places[i], MQT_REASON_CLIENT_DISCONNECT);
	}
	return true;
}

bool
owner_step(struct owner *o)
{
	struct mqt_msg msgs[BURST];
	bool work = false;
	unsigned n;

	while ((n = mqt_mailbox_poll_worker(o->s->mailbox, msgs, BURST)) > 0) {
		for (unsigned i = 0; i < n; i++)
			on_msg(o, &msgs[i]);
		work = true;
	}
	switch (atomic_load_explicit(&o->s->phase, memory_order_relaxed)) {
	case STRESS_FILL:
		fill(o);
		break;
	case STRESS_CHURN:
		work = work || o->n_free > 0;
		churn(o);
		break;
	case STRESS_DRAIN:
		work = drain(o) || work;
		break;
	default:
		break;
	}
	return work;
}
