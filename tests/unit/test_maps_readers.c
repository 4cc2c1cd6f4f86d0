/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Readers beside the writer of the maps.
 */
#include "maps_rig.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define RACE_OPS     200000u
#define RACE_CAP     300u
#define RACE_FIXED   8u /* clients 1..8 always have a channel */
#define RACE_CLIENTS 64u
#define RACE_READERS 2
#define RACE_PAGE    16

struct race {
	struct mqt_maps *maps;
	_Atomic bool done;
	_Atomic uint64_t newest_id;
	_Atomic unsigned n_started;
};

struct race_reader {
	struct race *race;
	_Atomic uint64_t n_sections;
	uint64_t n_found, n_walked;
	uint64_t n_broken;    /* rows that do not describe themselves */
	uint64_t n_none;      /* a fixed client without a channel: R9 */
	uint64_t n_not_by_id; /* found by client and registered, not found by id */
};

/* Looks a client up and walks its bag as mqt_maps_lookup() says. */
static unsigned
race_lookup(struct race_reader *r, uint64_t client) MQT_REQUIRES_SHARED(mqt_rcu_read)
{
	struct mqt_digest digest = digest_of(client);
	const struct mqt_chan *row;
	unsigned n = 0;

	for (row = mqt_maps_lookup(r->race->maps, &digest); row; row = mqt_chan_next(row)) {
		bool registered = atomic_load_explicit(&row->state, memory_order_acquire) !=
				MQT_CHAN_FREE;

		r->n_broken += !row_is_whole(row, client, 0);
		if (!registered)
			continue;
		n++;
		if (mqt_maps_info(r->race->maps, row->id) != row &&
				atomic_load_explicit(&row->state, memory_order_acquire) !=
						MQT_CHAN_FREE)
			r->n_not_by_id++;
	}
	r->n_found += n;
	return n;
}

static void
race_walk(struct race_reader *r)
{
	const struct mqt_chan *row;
	uint32_t pos = 0;
	unsigned n = 0;

	do {
		mqt_rcu_read_lock();
		for (unsigned i = 0; i < RACE_PAGE && (row = mqt_maps_next(r->race->maps, &pos));
				i++) {
			r->n_broken += !row_is_whole(row, 0, 0);
			n++;
		}
		mqt_rcu_read_unlock();
	} while (row);
	r->n_walked += n;
}

static void *
race_read(void *arg)
{
	struct race_reader *r = arg;
	struct race *race = r->race;
	unsigned seed = 3;

	mqt_rcu_register();
	atomic_fetch_add(&race->n_started, 1);
	while (!atomic_load(&race->done)) {
		uint64_t newest = atomic_load(&race->newest_id);

		mqt_rcu_read_lock();
		for (unsigned i = 0; i < RACE_PAGE; i++) {
			mqt_chan_id id = newest - (uint64_t)rand_r(&seed) % RACE_CAP;
			const struct mqt_chan *row = mqt_maps_info(race->maps, id);

			r->n_none += race_lookup(r, 1 + i % RACE_FIXED) == 0;
			race_lookup(r, 1 + (uint64_t)rand_r(&seed) % RACE_CLIENTS);
			if (row)
				r->n_broken += !row_is_whole(row, 0, id);
			mqt_maps_is_live(race->maps, id);
		}
		mqt_rcu_read_unlock();
		if (atomic_fetch_add(&r->n_sections, 1) % 4 == 0)
			race_walk(r);
	}
	mqt_rcu_unregister();
	return NULL;
}

struct race_writer {
	mqt_chan_id next_id;
	mqt_chan_id fixed[RACE_FIXED + 1];
	mqt_chan_id others[RACE_CAP];
	unsigned n_others;
	uint64_t n_home, n_inserted, n_removed, n_waited;
};

static void
race_come_home(void *arg, mqt_chan_id id, struct mqt_info *info, uint32_t tag)
{
	struct race_writer *w = arg;

	w->n_home++;
	info_free(info);
}

static mqt_chan_id
race_insert(struct race *race, struct race_writer *w, uint64_t client)
{
	mqt_chan_id id = w->next_id++;

	mqt_role_control_assert();
	while (!insert(race->maps, id, client)) { /* the slack is used up */
		w->n_waited++;
		mqt_maps_reclaim(race->maps, UINT32_MAX, race_come_home, w);
		sched_yield();
	}
	w->n_inserted++;
	atomic_store(&race->newest_id, id);
	return id;
}

static void
race_remove(struct race *race, struct race_writer *w, mqt_chan_id id)
{
	mqt_role_control_assert();
	if (mqt_maps_remove(race->maps, id) == 0)
		w->n_removed++;
}

static void
race_write(struct race *race, struct race_writer *w)
{
	unsigned seed = 8;

	mqt_role_control_assert();
	while (w->n_inserted < RACE_OPS) {
		unsigned dice = rand_r(&seed) % 100;
		unsigned k = rand_r(&seed) % RACE_CAP;

		if (dice < 40) { /* a takeover */
			unsigned client = 1 + k % RACE_FIXED;
			mqt_chan_id old = w->fixed[client];

			w->fixed[client] = race_insert(race, w, client);
			race_remove(race, w, old);
		} else if (w->n_others > 0 && (dice < 70 || w->n_others >= RACE_CAP - 20)) {
			k %= w->n_others;
			if (dice % 2)
				mqt_maps_set_down(race->maps, w->others[k], MQT_CHAN_DISCONNECTED);
			race_remove(race, w, w->others[k]);
			w->others[k] = w->others[--w->n_others];
		} else {
			uint64_t client = RACE_FIXED + 1 + k % (RACE_CLIENTS - RACE_FIXED);

			w->others[w->n_others++] = race_insert(race, w, client);
		}
		mqt_maps_reclaim(race->maps, 4, race_come_home, w);
	}
}

static void
test_readers_beside_the_writer_see_whole_channels(void)
{
	struct race race = { .maps = maps_new(RACE_CAP) };
	struct race_reader readers[RACE_READERS] = { 0 };
	struct race_writer w = { .next_id = RACE_CAP + 1 };
	pthread_t threads[RACE_READERS];

	for (unsigned c = 1; c <= RACE_FIXED; c++)
		w.fixed[c] = race_insert(&race, &w, c);
	CHECK_EQ(mqt_maps_reclaimer_start(race.maps), 0);
	for (int i = 0; i < RACE_READERS; i++) {
		readers[i].race = &race;
		CHECK_EQ(pthread_create(&threads[i], NULL, race_read, &readers[i]), 0);
	}
	while (atomic_load(&race.n_started) < RACE_READERS)
		sched_yield();
	race_write(&race, &w);
	for (int i = 0; i < RACE_READERS; i++)
		while (atomic_load(&readers[i].n_sections) < 100)
			sched_yield();
	atomic_store(&race.done, true);
	for (int i = 0; i < RACE_READERS; i++)
		pthread_join(threads[i], NULL);
	mqt_maps_reclaimer_stop(race.maps);

	for (int i = 0; i < RACE_READERS; i++) {
		CHECK(readers[i].n_found > 0 && readers[i].n_walked > 0);
		CHECK_EQ(readers[i].n_broken, 0);
		CHECK_EQ(readers[i].n_none, 0);
		CHECK_EQ(readers[i].n_not_by_id, 0);
	}
	CHECK_EQ(w.n_inserted, RACE_OPS);
	CHECK_EQ(sizes_of(race.maps).channels, RACE_FIXED + w.n_others);
	CHECK_EQ(w.n_removed, w.n_inserted - RACE_FIXED - w.n_others);
	mqt_role_control_assert();
	mqt_maps_grace_run(race.maps);
	mqt_maps_reclaim(race.maps, UINT32_MAX, race_come_home, &w);
	CHECK_EQ(w.n_home, w.n_removed);
	CHECK_EQ(sizes_of(race.maps).retired, 0);
	mqt_maps_destroy(race.maps);
}

static CU_TestInfo tests[] = {
	{ "readers beside the writer see whole channels",
			test_readers_beside_the_writer_see_whole_channels },
	CU_TEST_INFO_NULL,
};

int
main(void)
{
	return rig_run(tests);
}
