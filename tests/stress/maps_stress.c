/* SPDX-License-Identifier: BSD-3-Clause */
#include "../unit/eal.h"
#include "stress.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

/*
 * maps_stress [--owner-thread] CHANNELS
 *
 * Readers of the maps beside their writer, all real: the channel manager with its mailbox, maps,
 * event ring, grace periods by the reclaimer thread. Only the worker is played (owner.c), in the
 * manager's thread or, with --owner-thread, in one of its own, so that the mailbox, the slots and
 * the way of an info from lcore to lcore are raced too.
 *
 * The run is bounded by counts: the writer goes on until it has opened CHANNELS and every reader
 * has done its least. Time is virtual and goes on with the turns, so sessions expire and no limit
 * of the manager ever passes, whatever the sanitizer and the machine take.
 *
 *	fill    the clients that are only ever taken over come; nobody reads yet
 *	churn   opens, ends, takeovers, kicks, storms of CLOSED and DOWN, and the readers (reader.c)
 *	quiet   nothing new begins: what is counted must be what is there
 *	drain   all end, sessions expire: everything must have been given back
 *
 * Exit status 0: no reader saw anything wrong, and all counts are right.
 */

#define RING   1024 /* small, so that outboxes are used too */
#define EVENTS 8192

static unsigned n_failed;

#define EXPECT_EQ(got, want)                                                                       \
	do {                                                                                       \
		uint64_t got_ = (got), want_ = (want);                                             \
		if (got_ != want_) {                                                               \
			fprintf(stderr, "%s is %" PRIu64 ", not %" PRIu64 " as %s\n", #got, got_,  \
					want_, #want);                                             \
			n_failed++;                                                                \
		}                                                                                  \
	} while (0)

#define EXPECT_LEAST(got, least)                                                                   \
	do {                                                                                       \
		uint64_t got_ = (got), least_ = (least);                                           \
		if (got_ < least_) {                                                               \
			fprintf(stderr, "%s is %" PRIu64 ", less than %s\n", #got, got_, #least);  \
			n_failed++;                                                                \
		}                                                                                  \
	} while (0)

/* --- creation ------------------------------------------------------------------------------------------ */

static uint64_t
now_ns(void *arg)
{
	struct stress *s = arg;
	bool drains = atomic_load_explicit(&s->phase, memory_order_relaxed) == STRESS_DRAIN;

	return atomic_fetch_add_explicit(
			&s->now_ns, drains ? MQT_NS_PER_SEC : MQT_NS_PER_MS, memory_order_relaxed);
}

static void
configure(struct stress *s)
{
	mqt_config_init(&s->config);
	s->config.node_id = STRESS_NODE;
	s->config.limits.max_clients = STRESS_SLOTS;
	s->config.limits.stepdown_local_ms = UINT32_MAX;
	s->config.limits.opening_ms = UINT32_MAX;
	s->config.limits.max_retained = STRESS_RETAINED;
	s->config.flap.takeovers = 0;
	s->now_ns = STRESS_T0_NS;
	s->clock = (struct mqt_clock){ now_ns, now_ns, s };
	if (mqt_hash_key_init(&s->key) < 0)
		abort();
	for (uint32_t c = 0; c < STRESS_CLIENTS; c++) {
		uint8_t clientid[RECORD_MAX];
		size_t len = record_clientid(c, clientid);

		s->digests[c] = mqt_digest_client(&s->key, 0, NULL, clientid, len);
	}
}

static void
create(struct stress *s)
{
	struct mqt_cm_owner owner = { .slots = { .stride = sizeof(struct mqt_slot),
						      .n = STRESS_SLOTS } };

	s->maps = mqt_maps_create(&(struct mqt_maps_params){ .max_channels = STRESS_SLOTS });
	s->events = mqt_event_ring_create(EVENTS);
	s->mailbox = mqt_mailbox_create(RING);
	s->slots = calloc(STRESS_SLOTS, sizeof(*s->slots));
	if (!s->maps || !s->events || !s->mailbox || !s->slots)
		abort();
	owner.mailbox = s->mailbox;
	owner.slots.base = s->slots;
	s->cm = mqt_cm_create(&(struct mqt_cm_params){
			.config = &s->config,
			.clock = &s->clock,
			.hash_key = &s->key,
			.maps = s->maps,
			.events = s->events,
			.registry = mqt_registry_local(),
			.owners = &owner,
			.n_owners = 1,
	});
	if (!s->cm || mqt_maps_reclaimer_start(s->maps) < 0)
		abort();
	owner_init(&s->owner, s);
	for (unsigned i = 0; i < STRESS_READERS; i++) {
		s->readers[i].s = s;
		s->readers[i].index = i;
	}
}

static void
destroy(struct stress *s)
{
	mqt_maps_reclaimer_stop(s->maps);
	mqt_cm_destroy(s->cm);
	mqt_maps_destroy(s->maps);
	mqt_event_ring_destroy(s->events);
	mqt_mailbox_destroy(s->mailbox);
	free(s->slots);
	free(s);
}

/* --- the writer ---------------------------------------------------------------------------------------- */

static void *
owner_run(void *arg)
{
	struct stress *s = arg;

	mqt_role_worker_assert();
	while (atomic_load_explicit(&s->phase, memory_order_relaxed) != STRESS_END) {
		if (!owner_step(&s->owner))
			sched_yield();
	}
	return NULL;
}

/* One turn of the manager, and one step of the owner where it has no thread. */
static void
turn(struct stress *s, bool owner_here) MQT_REQUIRES(mqt_role_control)
{
	bool work = false;

	if (owner_here) {
		mqt_role_worker_assert();
		work = owner_step(&s->owner);
	}
	if (mqt_cm_turn(s->cm) == 0 && !work)
		sched_yield();
}

static bool
churned(const struct stress *s)
{
	if (mqt_counter_get(&s->owner.n_opened) < s->count)
		return false;
	for (unsigned i = 0; i < STRESS_READERS; i++) {
		if (!atomic_load_explicit(&s->readers[i].enough, memory_order_relaxed))
			return false;
	}
	return true;
}

static bool
readers_ended(const struct stress *s)
{
	for (unsigned i = 0; i < STRESS_READERS; i++) {
		if (!atomic_load_explicit(&s->readers[i].ended, memory_order_acquire))
			return false;
	}
	return true;
}

static uint32_t
get(const _Atomic uint32_t *counter)
{
	return atomic_load_explicit(counter, memory_order_acquire);
}

/*
 * Goes on until nothing is under way and @p n_live channels live, and where it is none, no session
 * is left; UINT32_MAX: any number.
 */
static void
settle(struct stress *s, bool owner_here, enum stress_phase phase, uint32_t n_live)
		MQT_REQUIRES(mqt_role_control)
{
	unsigned quiet = 0;

	atomic_store_explicit(&s->phase, phase, memory_order_relaxed);
	while (quiet < 3) {
		turn(s, owner_here);
		quiet = get(&s->owner.n_busy) == 0 && !mqt_cm_busy(s->cm) &&
						(n_live == UINT32_MAX ||
								get(&s->owner.n_live) == n_live) &&
						(n_live > 0 || mqt_cm_retained_count(s->cm) == 0)
				? quiet + 1
				: 0;
	}
}

/* --- what must hold ------------------------------------------------------------------------------------ */

static uint64_t
counter(const struct stress *s, enum mqt_control_counter c)
{
	return mqt_counter_get(&mqt_cm_counters(s->cm)->v[c]);
}

static void
expect_readers(const struct stress *s)
{
	for (unsigned i = 0; i < STRESS_READERS; i++) {
		const struct reader *r = &s->readers[i];

		printf("reader %u: %" PRIu64 " walks, %" PRIu64 " rows, %" PRIu64
		       " look-ups (%" PRIu64 " found), %" PRIu64 " by id, %" PRIu64
		       " traffic, %" PRIu64 " events (%" PRIu64 " missed), %" PRIu64
		       " commands, %" PRIu64 " sessions\n",
				i, r->n_walks, r->n_rows, r->n_lookups, r->n_hits, r->n_by_id,
				r->n_stats, r->n_events, r->n_missed, r->n_commands, r->n_sessions);
		EXPECT_EQ(r->n_bad, 0);
		EXPECT_LEAST(r->n_walks, STRESS_MIN_WALKS);
		EXPECT_LEAST(r->n_lookups, STRESS_MIN_LOOKUPS);
		EXPECT_LEAST(r->n_events, STRESS_MIN_EVENTS);
		EXPECT_LEAST(r->n_commands, STRESS_MIN_COMMANDS);
		EXPECT_LEAST(r->n_sessions, STRESS_MIN_SESSIONS);
		EXPECT_LEAST(r->n_hits, 1);
		EXPECT_LEAST(r->n_by_id, 1);
		EXPECT_LEAST(r->n_stats, 1);
	}
}

/* Nothing is under way, connections are there. */
static void
expect_quiet(struct stress *s)
{
	struct reader walker = { .s = s, .index = STRESS_READERS };
	uint32_t n_live = get(&s->owner.n_live), n_retained = mqt_cm_retained_count(s->cm);
	struct mqt_maps_sizes sizes;

	mqt_maps_sizes(s->maps, &sizes);
	EXPECT_LEAST(n_live, STRESS_PERMANENT);
	EXPECT_LEAST(n_retained, 1);
	EXPECT_EQ(sizes.channels, n_live + n_retained);
	EXPECT_LEAST(sizes.clients, n_live); /* one live channel a client id */
	EXPECT_LEAST(sizes.channels, sizes.clients);
	EXPECT_EQ(sizes.live, n_live);
	EXPECT_EQ(sizes.retired, 0);
	EXPECT_EQ(mqt_cm_live_count(s->cm), n_live);
	EXPECT_EQ(reader_walk_all(&walker), n_live + n_retained);
	EXPECT_EQ(walker.n_bad, 0);
}

/* Sessions that the manager has given away or ended. */
static uint64_t
sessions_over(const struct stress *s)
{
	return counter(s, MQT_C_SESSION_RESUMED) + counter(s, MQT_C_SESSION_DISCARDED) +
			counter(s, MQT_C_SESSION_EXPIRED) + counter(s, MQT_C_SESSION_EVICTED) +
			counter(s, MQT_C_SESSION_LOST_BY_BROKER) +
			counter(s, MQT_C_SESSION_HANDED_OUT);
}

/* I7, when all is over: none is lost, none is in two places, and each way was gone. */
static void
expect_sessions(const struct stress *s)
{
	static const enum mqt_control_counter ways[] = { MQT_C_TAKEOVERS, MQT_C_SESSION_CREATED,
		MQT_C_SESSION_RESUMED, MQT_C_SESSION_RETAINED, MQT_C_SESSION_DISCARDED,
		MQT_C_SESSION_EXPIRED, MQT_C_SESSION_EVICTED, MQT_C_SESSION_LOST_BY_BROKER,
		MQT_C_SESSION_LEFT_BEHIND, MQT_C_SESSION_ADOPTED, MQT_C_SESSION_HANDED_OUT };
	const struct owner *o = &s->owner;
	uint64_t n_taken = 0;

	printf("sessions: %" PRIu64 " made, %" PRIu64 " inherited, %" PRIu64 " closed, %" PRIu64
	       " handed over, %" PRIu64 " given back, %" PRIu64 " dropped, %" PRIu64
	       " pendings lost\n",
			o->n_made, o->n_inherited, o->n_closed, o->n_handed_over, o->n_given_back,
			o->n_dropped, o->n_pendings_lost);
	for (unsigned i = 0; i < RTE_DIM(ways); i++) {
		printf("manager: %" PRIu64 " %s\n", counter(s, ways[i]),
				mqt_control_counter_help(ways[i]));
		EXPECT_LEAST(counter(s, ways[i]), 1);
	}
	/* of the owner: a flow in which nothing happened had none to hand over */
	EXPECT_EQ(o->n_made + o->n_inherited,
			o->n_closed + o->n_handed_over - o->n_blank_left + o->n_given_back +
					o->n_dropped);
	/* of the manager: for such a flow it made one */
	EXPECT_EQ(o->n_closed + o->n_handed_over + o->n_given_back + o->n_blank_back,
			sessions_over(s));
	for (unsigned i = 0; i < STRESS_READERS; i++)
		n_taken += s->readers[i].n_taken;
	EXPECT_EQ(n_taken, counter(s, MQT_C_SESSION_HANDED_OUT));
	EXPECT_EQ(o->n_inherited, counter(s, MQT_C_SESSION_RESUMED));
	EXPECT_EQ(o->n_kept, counter(s, MQT_C_SESSION_RETAINED));
	EXPECT_EQ(o->n_ends, o->n_handed_over); /* R4: begin is followed by end */
	EXPECT_LEAST(o->n_handed_over, counter(s, MQT_C_TAKEOVERS));
	EXPECT_LEAST(o->n_blank_left + o->n_blank_back, o->n_blank_got);
	EXPECT_LEAST(o->n_pendings_lost, o->n_messages_missed);
	EXPECT_EQ(counter(s, MQT_C_GRANTS),
			counter(s, MQT_C_SESSION_CREATED) + counter(s, MQT_C_SESSION_ADOPTED) +
					counter(s, MQT_C_SESSION_RESUMED));
	EXPECT_EQ(counter(s, MQT_C_SESSION_LOST_BY_KILL), 0);
}

static void
expect_empty(const struct stress *s, uint32_t n_rows)
{
	const struct owner *o = &s->owner;
	struct mqt_maps_sizes sizes;

	printf("owner: %" PRIu64 " opened, %" PRIu64 " refused, %" PRIu64 " returned, %" PRIu64
	       " stepped down, %" PRIu64 " storms\n",
			o->n_opened, o->n_refused, o->n_returned, o->n_stepdowns, o->n_storms);
	mqt_maps_sizes(s->maps, &sizes);
	EXPECT_EQ(sizes.channels, 0);
	EXPECT_EQ(sizes.clients, 0);
	EXPECT_EQ(sizes.live, 0);
	EXPECT_EQ(sizes.retired, 0);
	EXPECT_EQ(sizes.free, n_rows);
	EXPECT_EQ(o->n_bad, 0);
	EXPECT_LEAST(o->n_opened, s->count);
	EXPECT_EQ(o->n_home, o->n_opened);
	EXPECT_LEAST(o->n_storms, 1);
	EXPECT_EQ(counter(s, MQT_C_OPENS), o->n_opened);
	EXPECT_EQ(counter(s, MQT_C_RELEASED), o->n_opened - o->n_refused);
	EXPECT_EQ(counter(s, MQT_C_SUPERSEDED) + counter(s, MQT_C_TABLE_FULL), o->n_refused);
	EXPECT_EQ(counter(s, MQT_C_RETURNED), o->n_returned);
	EXPECT_EQ(counter(s, MQT_C_STEPDOWNS), o->n_stepdowns);
	EXPECT_EQ(counter(s, MQT_C_STEPDOWNS),
			counter(s, MQT_C_STEPDOWN_OK) + counter(s, MQT_C_STEPDOWN_NOPROC));
	EXPECT_EQ(counter(s, MQT_C_UNREGISTERED), counter(s, MQT_C_GRANTS));
	EXPECT_EQ(counter(s, MQT_C_DUPLICATES), 0);
	EXPECT_EQ(counter(s, MQT_C_KILLS), 0);
	EXPECT_EQ(counter(s, MQT_C_UNEXPECTED_MSG), 0);
	EXPECT_EQ(counter(s, MQT_C_EVENTS), mqt_event_ring_last(s->events));
}

/* --- main ---------------------------------------------------------------------------------------------- */

static void
start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	if (pthread_create(thread, NULL, run, arg) != 0)
		abort();
}

static void
run(struct stress *s, bool owner_here) MQT_REQUIRES(mqt_role_control)
{
	struct mqt_maps_sizes empty;
	pthread_t owner;

	mqt_maps_sizes(s->maps, &empty);
	if (!owner_here)
		start(&owner, owner_run, s);
	settle(s, owner_here, STRESS_FILL, STRESS_PERMANENT);

	for (unsigned i = 0; i < STRESS_READERS; i++)
		start(&s->readers[i].thread, reader_run, &s->readers[i]);
	atomic_store_explicit(&s->phase, STRESS_CHURN, memory_order_relaxed);
	while (!churned(s))
		turn(s, owner_here);
	/* a command is answered by a turn only */
	atomic_store_explicit(&s->readers_stop, true, memory_order_relaxed);
	while (!readers_ended(s))
		turn(s, owner_here);
	for (unsigned i = 0; i < STRESS_READERS; i++)
		pthread_join(s->readers[i].thread, NULL);
	expect_readers(s);

	settle(s, owner_here, STRESS_QUIET, UINT32_MAX);
	expect_quiet(s);
	settle(s, owner_here, STRESS_DRAIN, 0);
	atomic_store_explicit(&s->phase, STRESS_END, memory_order_relaxed);
	if (!owner_here)
		pthread_join(owner, NULL);
	expect_empty(s, empty.free);
	expect_sessions(s);
}

int
main(int argc, char **argv)
{
	bool owner_thread = argc > 1 && strcmp(argv[1], "--owner-thread") == 0;
	const char *count = argv[argc - 1];
	struct stress *s = calloc(1, sizeof(*s));
	char *behind = NULL;

	if (!s)
		abort();
	s->count = strtoull(count, &behind, 10);
	if (argc != 2 + owner_thread || *behind || s->count == 0) {
		fprintf(stderr, "usage: maps_stress [--owner-thread] CHANNELS\n");
		free(s);
		return 2;
	}
	if (eal_start("stress") < 0)
		return 2;
	mqt_role_control_assert();
	mqt_rcu_register();
	configure(s);
	create(s);
	run(s, !owner_thread);
	destroy(s);
	mqt_rcu_unregister();
	return eal_stop(n_failed ? 1 : 0);
}
