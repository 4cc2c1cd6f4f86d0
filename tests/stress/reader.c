/* SPDX-License-Identifier: BSD-3-Clause */
#include "stress.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_common.h>

/*
 * A reader: what a control thread does, all the time and checking every byte. It walks all
 * channels a page a section, and between two pages looks some up by client, one by one and in
 * bulk, and by id; reads traffic, events, counters; and keeps one command under way: it kicks,
 * discards, takes over, or asks for a copy of a session.
 *
 * What it may find is what maps.h and rule R9 promise: a row that it has found in a section stays
 * as it is until the section ends. So it notes each row of a page, checks all their infos behind
 * it, and then looks whether the rows are still the same. Now and then it gives its processor away
 * in the middle of a section, so that the writer gets far in the meantime.
 */

#define PAGE         64
#define BULK         32
#define YIELD_EVERY  8 /* pages */
#define OPENS_A_PAGE 64
#define N_SEEN       64
#define MAX_TOLD     5

/* A row as it was when it was found. */
struct seen_row {
	const struct mqt_chan *row;
	const struct mqt_info *info;
	mqt_chan_id id;
	uint64_t stamp_ns;
	uint64_t epoch;
};

struct known {
	mqt_chan_id id;
	uint32_t client;
};

struct cmd {
	struct mqt_cm_cmd cmd; /* first member */
	_Atomic bool done;     /* W: control, release; R: reader, acquire */
	bool submitted;
	uint32_t client;
};

/* What the events have told of a client since the last gap. */
struct told {
	mqt_chan_id chan; /* connected; MQT_CHAN_NONE: not */
	uint64_t n_gaps;  /* of the reader, when it was told; another number: unknown */
};

/* The reader's own things. */
struct state {
	struct reader *r;
	uint64_t random;
	uint64_t n_pages;
	uint32_t pos;
	struct known ids[N_SEEN]; /* found in sections that have ended */
	unsigned n_ids;
	uint64_t seen[STRESS_SLOTS]; /* walk << 32 | generation */
	uint64_t counters[MQT_C_N_COUNTERS];
	uint64_t event_cursor, n_gaps;
	struct told told[STRESS_CLIENTS];
	struct cmd cmd;
};

static void
count(_Atomic uint64_t *counter)
{
	mqt_counter_add(counter, 1);
}

static void
bad(struct state *t, const char *what, mqt_chan_id id)
{
	char text[MQT_CHAN_STRLEN];

	if (mqt_counter_get(&t->r->n_bad) < MAX_TOLD)
		fprintf(stderr, "reader %u: channel %s: %s\n", t->r->index,
				mqt_chan_id_format(id, text), what);
	count(&t->r->n_bad);
}

static uint32_t
state_of(const struct mqt_chan *row)
{
	return atomic_load_explicit(&row->state, memory_order_acquire);
}

/* --- rows ------------------------------------------------------------------------------------------- */

static struct seen_row
see(const struct mqt_chan *row)
{
	return (struct seen_row){ row, mqt_chan_info(row), row->id, row->stamp_ns, row->epoch };
}

/* A row that was found in this section, and everything behind it. */
static void
check_row(struct state *t, const struct seen_row *seen)
{
	const char *wrong;

	if (!seen->info) {
		bad(t, "it has no info", seen->id);
		return;
	}
	wrong = record_check(seen->info, t->r->s->digests, seen->id, seen->stamp_ns);
	if (wrong)
		bad(t, wrong, seen->id);
	if (seen->epoch == 0)
		bad(t, "it has no epoch", seen->id);
}

static void
check_same(struct state *t, const struct seen_row *seen)
{
	struct seen_row now = see(seen->row);

	if (now.id != seen->id || now.info != seen->info || now.stamp_ns != seen->stamp_ns ||
			now.epoch != seen->epoch)
		bad(t, "its row has changed within a section", seen->id);
}

static bool
belongs_to(const struct mqt_chan *row, uint32_t client)
{
	return record_client(mqt_info_clientid(mqt_chan_info(row)),
			       mqt_chan_info(row)->clientid_len) == client;
}

/* A row found by its id has this id and no other generation. */
static void
check_by_id(struct state *t, const struct seen_row *seen) MQT_REQUIRES_SHARED(mqt_rcu_read)
{
	const struct mqt_chan *row = mqt_cm_info(t->r->s->cm, seen->id);

	t->r->n_by_id++;
	if (row && row != seen->row)
		bad(t, "its id leads to another row", seen->id);
	else if (!row && state_of(seen->row) != MQT_CHAN_FREE)
		bad(t, "it is registered and not found by its id", seen->id);
}

static void
check_traffic(struct state *t, mqt_chan_id id)
{
	uint64_t v[MQT_SLOT_N_COUNTERS];
	int rc;

	mqt_rcu_read_lock(); /* a section of its own: the channel may be gone by now */
	rc = mqt_cm_stats(t->r->s->cm, id, v, NULL);
	mqt_rcu_read_unlock();
	if (rc < 0)
		return;
	t->r->n_stats++;
	for (unsigned c = 0; c < MQT_SLOT_N_COUNTERS; c++) {
		if (v[c] >> 32 != mqt_chan_id_gen(id))
			bad(t, "its traffic is another generation's", id);
	}
}

/* --- walking ---------------------------------------------------------------------------------------- */

/* Each channel at most once a walk. */
static void
check_once(struct state *t, mqt_chan_id id)
{
	uint64_t walk = mqt_counter_get(&t->r->n_walks) + 1;
	uint64_t mark = walk << 32 | mqt_chan_id_gen(id);
	uint64_t *seen = &t->seen[mqt_chan_id_slot(id) % STRESS_SLOTS];

	if (*seen == mark)
		bad(t, "it was seen twice in a walk", id);
	*seen = mark;
}

static void
remember(struct state *t, const struct seen_row *seen)
{
	t->ids[t->n_ids++ % N_SEEN] = (struct known){
		.id = seen->id,
		.client = record_client(mqt_info_clientid(seen->info), seen->info->clientid_len),
	};
}

/* The first walk is of all channels, the next ones of sessions, of live ones, and again. */
static const struct mqt_chan *
walk_next(struct state *t) MQT_REQUIRES_SHARED(mqt_rcu_read)
{
	const struct mqt_cm *cm = t->r->s->cm;
	const struct mqt_chan *row;

	switch (mqt_counter_get(&t->r->n_walks) % 3) {
	case 0:
		return mqt_cm_channels_next(cm, &t->pos);
	case 1:
		row = mqt_cm_sessions_next(cm, -1, &t->pos);
		if (row && (mqt_chan_info(row)->flags & MQT_INFO_CLEAN_START))
			bad(t, "a clean start among the sessions", row->id);
		return row;
	default:
		return mqt_cm_live_next(cm, -1, &t->pos);
	}
}

/* One page in one section. How many rows. */
static unsigned
page(struct state *t)
{
	struct seen_row rows[PAGE];
	const struct mqt_chan *row;
	unsigned n = 0;

	mqt_rcu_read_lock();
	while (n < PAGE && (row = walk_next(t)))
		rows[n++] = see(row);
	if (++t->n_pages % YIELD_EVERY == 0)
		sched_yield();
	for (unsigned i = 0; i < n; i++) {
		check_row(t, &rows[i]);
		check_once(t, rows[i].id);
	}
	if (n > 0) {
		check_by_id(t, &rows[stress_random(&t->random) % n]);
		remember(t, &rows[stress_random(&t->random) % n]);
	}
	for (unsigned i = 0; i < n; i++)
		check_same(t, &rows[i]);
	mqt_rcu_read_unlock();
	for (unsigned i = 0; i < n; i++)
		check_traffic(t, rows[i].id);
	t->r->n_rows += n;
	if (n < PAGE) {
		t->pos = 0;
		count(&t->r->n_walks);
	}
	return n;
}

/* --- looking up --------------------------------------------------------------------------------------- */

/* Follows a client's list from its head. How many channels that are registered. */
static unsigned
follow(struct state *t, uint32_t client, const struct mqt_chan *row)
		MQT_REQUIRES_SHARED(mqt_rcu_read)
{
	unsigned n = 0;

	/* the state first: a row that has been removed has its successor already */
	for (; row; row = mqt_chan_next(row)) {
		struct seen_row seen = see(row);

		n += state_of(row) != MQT_CHAN_FREE;
		check_row(t, &seen);
		if (!belongs_to(row, client))
			bad(t, "it is in another client's list", seen.id);
		check_same(t, &seen);
		t->r->n_hits++;
	}
	if (n == 0 && client < STRESS_PERMANENT)
		bad(t, "a client that is only taken over had no channel", MQT_CHAN_NONE);
	count(&t->r->n_lookups);
	return n;
}

static uint32_t
any_client(struct state *t)
{
	uint64_t r = stress_random(&t->random) >> 8;

	return (uint32_t)(r % 4 == 0 ? (r >> 2) % STRESS_PERMANENT : (r >> 2) % STRESS_CLIENTS);
}

static void
lookup_bulk(struct state *t)
{
	struct mqt_digest digests[BULK];
	const struct mqt_chan *found[BULK];
	uint32_t clients[BULK];

	for (unsigned i = 0; i < BULK; i++) {
		clients[i] = any_client(t);
		digests[i] = t->r->s->digests[clients[i]];
	}
	mqt_rcu_read_lock();
	mqt_maps_lookup_bulk(t->r->s->maps, digests, BULK, found);
	if (t->n_pages % YIELD_EVERY == 1)
		sched_yield(); /* heads are removed meanwhile: those behind them must be found */
	for (unsigned i = 0; i < BULK; i++)
		follow(t, clients[i], found[i]);
	mqt_rcu_read_unlock();
}

static void
lookup_single(struct state *t)
{
	uint32_t client = any_client(t);

	mqt_rcu_read_lock();
	follow(t, client, mqt_maps_lookup(t->r->s->maps, &t->r->s->digests[client]));
	mqt_rcu_read_unlock();
}

/* As the control socket asks: by the client id's bytes. */
static void
lookup_clientid(struct state *t)
{
	const struct mqt_chan *found[8];
	uint8_t clientid[RECORD_MAX];
	uint32_t client = any_client(t);
	size_t len = record_clientid(client, clientid);
	unsigned n;

	mqt_rcu_read_lock();
	n = mqt_cm_lookup(t->r->s->cm, -1, clientid, len, found, RTE_DIM(found));
	for (unsigned i = 0; i < RTE_MIN(n, RTE_DIM(found)); i++) {
		struct seen_row seen = see(found[i]);

		check_row(t, &seen);
		if (!belongs_to(found[i], client))
			bad(t, "found by another client's id", seen.id);
	}
	mqt_rcu_read_unlock();
	count(&t->r->n_lookups);
}

/* By ids of earlier sections: they lead to their channel or to nothing. */
static void
lookup_id(struct state *t)
{
	mqt_chan_id id;
	const struct mqt_chan *row;

	if (t->n_ids < N_SEEN)
		return;
	id = t->ids[stress_random(&t->random) % N_SEEN].id;
	mqt_rcu_read_lock();
	row = mqt_cm_info(t->r->s->cm, id);
	if (row) {
		struct seen_row seen = see(row);

		if (seen.id != id)
			bad(t, "its id leads to another generation", id);
		check_row(t, &seen);
		check_same(t, &seen);
		t->r->n_by_id++;
	}
	if (mqt_cm_is_live(t->r->s->cm, id) && !row)
		bad(t, "it is live and was never registered", id);
	mqt_rcu_read_unlock();
	check_traffic(t, id);
	count(&t->r->n_lookups);
}

/* --- events and counters ------------------------------------------------------------------------------ */

/* I8: a client's old channel is said to be disconnected before the next one is connected. */
static void
check_order(struct state *t, const struct mqt_event *ev)
{
	struct told *told = &t->told[record_client(ev->clientid, ev->clientid_len)];
	bool known = told->n_gaps == t->n_gaps;

	if (ev->type == MQT_EVENT_CONNECTED) {
		if (known && told->chan != MQT_CHAN_NONE)
			bad(t, "connected before its predecessor was disconnected", ev->chan);
		*told = (struct told){ ev->chan, t->n_gaps };
	} else if (ev->type == MQT_EVENT_DISCONNECTED) {
		if (known && told->chan != ev->chan)
			bad(t, "disconnected without having been connected", ev->chan);
		*told = (struct told){ MQT_CHAN_NONE, t->n_gaps };
	}
}

static void
read_events(struct state *t)
{
	struct mqt_event ev;
	uint64_t missed;

	for (unsigned i = 0; i < 2 * PAGE; i++) {
		uint64_t before = t->event_cursor;
		const char *wrong;

		if (mqt_event_ring_read(t->r->s->events, &t->event_cursor, &ev, &missed) == 0)
			return;
		if (ev.seq != before + missed + 1 || ev.seq != t->event_cursor)
			bad(t, "the events are not in sequence", ev.chan);
		t->n_gaps += missed > 0;
		t->r->n_missed += missed;
		wrong = record_check_event(&ev);
		if (wrong)
			bad(t, wrong, ev.chan);
		else
			check_order(t, &ev);
		count(&t->r->n_events);
	}
}

static void
read_counters(struct state *t)
{
	const struct mqt_control_counters *counters = mqt_cm_counters(t->r->s->cm);
	struct mqt_cm_gauge gauges[MQT_CM_N_GAUGES];
	struct mqt_maps_sizes sizes;

	for (unsigned c = 0; c < MQT_C_N_COUNTERS; c++) {
		uint64_t v = mqt_counter_get(&counters->v[c]);

		if (v < t->counters[c])
			bad(t, mqt_control_counter_name(c), MQT_CHAN_NONE);
		t->counters[c] = v;
	}
	if (t->counters[MQT_C_DUPLICATES] > 0)
		bad(t, "duplicates were counted", MQT_CHAN_NONE);
	mqt_cm_gauges(t->r->s->cm, gauges);
	for (unsigned g = 0; g < MQT_CM_N_GAUGES; g++) {
		if (gauges[g].count > gauges[g].max || gauges[g].max > STRESS_SLOTS)
			bad(t, gauges[g].name, MQT_CHAN_NONE);
	}
	mqt_maps_sizes(t->r->s->maps, &sizes);
	if (sizes.channels > sizes.capacity || sizes.live > sizes.capacity ||
			sizes.clients > STRESS_CLIENTS)
		bad(t, "the sizes are out of bounds", MQT_CHAN_NONE);
}

/* --- commands ----------------------------------------------------------------------------------------- */

static void
command_done(struct mqt_cm_cmd *cmd)
{
	/* pairs with the acquire load in command() */
	atomic_store_explicit(&((struct cmd *)cmd)->done, true, memory_order_release);
}

/* The session that a takeover brought, or the copy of one. */
static void
check_session(struct state *t, struct mqt_session *session)
{
	unsigned n_messages;
	const char *wrong;

	if (!session)
		return;
	wrong = session_check(session, t->cmd.client, &n_messages);
	if (wrong)
		bad(t, wrong, t->cmd.cmd.chan);
	mqt_session_destroy(session);
	t->r->n_sessions++;
}

static void
check_outcomes(struct state *t, const struct mqt_cm_cmd *cmd)
{
	if (cmd->n_outcomes != RTE_MIN(cmd->n_channels, (unsigned)MQT_CM_MAX_OUTCOMES))
		bad(t, "a command's outcomes are not its channels'", MQT_CHAN_NONE);
	for (unsigned i = 0; i < cmd->n_outcomes; i++) {
		if (cmd->outcomes[i].result != 0 && cmd->outcomes[i].result != -ENOENT)
			bad(t, "a command failed", cmd->outcomes[i].chan);
	}
	if (cmd->taken != MQT_CHAN_NONE && !cmd->session)
		bad(t, "a takeover brought no session", cmd->taken);
	t->r->n_taken += cmd->taken != MQT_CHAN_NONE;
	check_session(t, cmd->session);
}

static uint32_t
any_passing_client(struct state *t)
{
	return STRESS_PERMANENT +
			(uint32_t)(stress_random(&t->random) % (STRESS_CLIENTS - STRESS_PERMANENT));
}

/*
 * Begins the next command, of a client or of one channel; one in two is an inspection. Permanent
 * clients are only inspected.
 */
static void
command_begin(struct state *t, struct cmd *c)
{
	static void (*const commands[])(struct mqt_cm *, struct mqt_cm_cmd *) = { mqt_cm_kick,
		mqt_cm_discard, mqt_cm_takeover };
	uint64_t r = stress_random(&t->random) >> 8;
	const struct known *known = &t->ids[(t->n_ids - 1) % N_SEEN];
	bool inspect = r % 2, by_client = !inspect && r / 2 % 2;

	c->client = by_client ? any_passing_client(t) : known->client;
	c->cmd = (struct mqt_cm_cmd){
		.chan = by_client ? MQT_CHAN_NONE : known->id,
		.digest = t->r->s->digests[c->client],
		.done = command_done,
	};
	if (inspect || c->client < STRESS_PERMANENT)
		mqt_cm_inspect(t->r->s->cm, &c->cmd);
	else
		commands[r / 4 % RTE_DIM(commands)](t->r->s->cm, &c->cmd);
}

/* Looks after the command under way, and begins the next one. Whether none is under way. */
static bool
command(struct state *t, bool next)
{
	struct cmd *c = &t->cmd;

	if (c->submitted) {
		if (!atomic_load_explicit(&c->done, memory_order_acquire))
			return false;
		check_outcomes(t, &c->cmd);
		count(&t->r->n_commands);
		c->submitted = false;
	}
	if (!next || t->n_ids == 0)
		return true;
	atomic_store_explicit(&c->done, false, memory_order_relaxed);
	c->submitted = true;
	command_begin(t, c);
	return false;
}

/* --- the thread ------------------------------------------------------------------------------------------ */

static struct state *
state_create(struct reader *r)
{
	struct state *t = calloc(1, sizeof(*t));

	if (!t)
		abort();
	t->r = r;
	t->random = 0xdeadbeefull * (r->index + 1);
	t->n_gaps = 1; /* nothing is known at first */
	return t;
}

static bool
did_enough(const struct reader *r)
{
	return mqt_counter_get(&r->n_walks) >= STRESS_MIN_WALKS &&
			mqt_counter_get(&r->n_lookups) >= STRESS_MIN_LOOKUPS &&
			mqt_counter_get(&r->n_events) >= STRESS_MIN_EVENTS &&
			mqt_counter_get(&r->n_commands) >= STRESS_MIN_COMMANDS &&
			r->n_sessions >= STRESS_MIN_SESSIONS && r->n_taken > 0;
}

static bool
stopped(const struct reader *r)
{
	return atomic_load_explicit(&r->s->readers_stop, memory_order_relaxed);
}

/* Leaves the processors to the writer while the reader has read more than its share. */
static void
pace(const struct state *t)
{
	static const struct timespec pause = { .tv_nsec = 50000 };

	while (t->n_pages > mqt_counter_get(&t->r->s->owner.n_opened) / OPENS_A_PAGE &&
			!stopped(t->r))
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}

void *
reader_run(void *arg)
{
	struct reader *r = arg;
	struct state *t = state_create(r);

	mqt_rcu_register();
	while (!stopped(r)) {
		page(t);
		lookup_bulk(t);
		for (unsigned i = 0; i < 4; i++) {
			lookup_single(t);
			lookup_clientid(t);
			lookup_id(t);
		}
		read_events(t);
		read_counters(t);
		command(t, true);
		pace(t);
		if (did_enough(r))
			atomic_store_explicit(&r->enough, true, memory_order_relaxed);
	}
	while (!command(t, false))
		sched_yield();
	mqt_rcu_unregister();
	free(t);
	atomic_store_explicit(&r->ended, true, memory_order_release);
	return NULL;
}

uint64_t
reader_walk_all(struct reader *r)
{
	struct state *t = state_create(r);
	uint64_t n = 0;
	unsigned got;

	do {
		got = page(t);
		n += got;
	} while (got == PAGE);
	free(t);
	return n;
}
