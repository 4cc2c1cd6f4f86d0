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
 * A slot is used again in order of release, and its counters carry the generation that they belong
 * to, for readers of statistics. An info that comes home is checked, overwritten and freed: a
 * reader who still looks at it finds that out.
 */

#define BATCH       32    /* connections begun a step, and ended */
#define STORM_EVERY 50000 /* opens */
#define BURST       32

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

static void
set_state(struct owner *o, struct place *p, enum place_state state)
{
	add(&o->n_live, (state == PLACE_LIVE) - (p->state == PLACE_LIVE));
	add(&o->n_busy,
			(state == PLACE_OPENING || state == PLACE_OVER) -
					(p->state == PLACE_OPENING || p->state == PLACE_OVER));
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
	p->stamp_ns = STRESS_T0_NS + n;
	size = record_fill((struct mqt_info *)made, o->s->digests, p->client, chan_of(o, p),
			p->stamp_ns);
	p->info = malloc(size);
	if (!p->info)
		abort();
	memcpy(p->info, made, size);
	slot_begin(slot_of(o, p), p->gen);
	set_state(o, p, PLACE_OPENING);
	post(o, p,
			(struct mqt_msg){ .type = MQT_MSG_OPEN,
					.stamp_ns = p->stamp_ns,
					.info = p->info });
	atomic_store_explicit(&o->n_opened, n + 1, memory_order_relaxed);
}

static void
end(struct owner *o, struct place *p, enum mqt_reason reason) MQT_REQUIRES(mqt_role_worker)
{
	/* nobody kills here: all answers are in time */
	if (!mqt_slot_leave(slot_of(o, p), chan_of(o, p), MQT_SLOT_CLOSED))
		o->n_bad++;
	set_state(o, p, PLACE_OVER);
	post(o, p, (struct mqt_msg){ .type = MQT_MSG_DOWN, .reason = (uint8_t)reason });
}

static void
home(struct owner *o, struct place *p, const struct mqt_msg *msg)
{
	struct mqt_info *info = msg->info;

	if (info != p->info || record_check(info, o->s->digests, chan_of(o, p), p->stamp_ns)) {
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
	memset(info, 0xdd, record_size(info));
	free(info);
	p->info = NULL;
	set_state(o, p, PLACE_FREE);
	o->free[(o->free_head + o->n_free++) % STRESS_SLOTS] = (uint32_t)(p - o->places);
	o->n_home++;
}

/* --- messages --------------------------------------------------------------------------------------- */

static void
on_grant(struct owner *o, struct place *p) MQT_REQUIRES(mqt_role_worker)
{
	if (p->state == PLACE_OPENING) {
		set_state(o, p, PLACE_LIVE);
		post(o, p, (struct mqt_msg){ .type = MQT_MSG_GRANTED });
	} else if (p->state == PLACE_OVER) {
		o->n_returned++;
		post(o, p, (struct mqt_msg){ .type = MQT_MSG_RETURN });
	} else {
		o->n_bad++;
	}
}

static void
on_stepdown(struct owner *o, struct place *p, const struct mqt_msg *msg)
		MQT_REQUIRES(mqt_role_worker)
{
	struct mqt_msg done = *msg;

	o->n_stepdowns++;
	done.type = MQT_MSG_STEPDOWN_DONE;
	if (p->state == PLACE_OVER)
		done.result = -ENOENT;
	else
		end(o, p,
				msg->action == MQT_STEPDOWN_KICK ? MQT_REASON_KICKED
								 : MQT_REASON_DISCARDED);
	post(o, p, done);
}

static void
on_msg(struct owner *o, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_worker)
{
	struct place *p = &o->places[mqt_chan_id_slot(msg->chan) % STRESS_SLOTS];

	if (msg->chan != chan_of(o, p) || p->state == PLACE_FREE || msg->session) {
		o->n_bad++;
		return;
	}
	switch (msg->type) {
	case MQT_MSG_GRANT:
		on_grant(o, p);
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

static bool
may_end(const struct place *p)
{
	return (p->state == PLACE_OPENING || p->state == PLACE_LIVE) &&
			p->client >= STRESS_PERMANENT;
}

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

	for (unsigned i = 0; i < BATCH && o->n_free > 0; i++)
		begin(o, any_client(o));
	for (unsigned i = 0; i < BATCH; i++) {
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
