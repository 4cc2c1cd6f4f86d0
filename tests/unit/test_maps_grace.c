/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Grace periods of the maps, the reclaimer, and walks.
 */
#include "maps_rig.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <time.h>

/* --- grace periods ----------------------------------------------------------------------------------- */

static void
test_nothing_comes_home_before_its_grace_period(void)
{
	struct mqt_maps *maps = maps_new(8);

	mqt_role_control_assert();
	for (mqt_chan_id id = 1; id <= 4; id++)
		CHECK(insert(maps, id, id) != NULL);
	CHECK(!mqt_maps_grace_wanted(maps));
	CHECK_EQ(mqt_maps_remove(maps, 1), 0);
	CHECK(mqt_maps_grace_wanted(maps));
	CHECK_EQ(reclaim(maps, 8), 0);
	mqt_maps_grace_run(maps);
	CHECK(!mqt_maps_grace_wanted(maps));
	CHECK_EQ(mqt_maps_remove(maps, 2), 0); /* after the grace period: not covered */
	CHECK(mqt_maps_grace_wanted(maps));
	CHECK_EQ(sizes_of(maps).retired, 2);
	CHECK_EQ(reclaim(maps, 8), 1);
	CHECK_EQ(reclaim(maps, 8), 0);
	CHECK_EQ(sizes_of(maps).retired, 1);
	mqt_maps_grace_run(maps);
	CHECK_EQ(reclaim(maps, 8), 1);
	CHECK_EQ(sizes_of(maps).retired, 0);
	mqt_maps_destroy(maps);
}

static void
test_reclaim_keeps_order_and_budget(void)
{
	struct mqt_maps *maps = maps_new(100);
	struct home home = { 0 };

	mqt_role_control_assert();
	for (mqt_chan_id id = 1; id <= 100; id++)
		CHECK(insert(maps, id, id) != NULL);
	for (mqt_chan_id id = 1; id <= 100; id++)
		CHECK_EQ(mqt_maps_remove(maps, id * 37 % 101), 0);
	mqt_maps_grace_run(maps);
	CHECK_EQ(mqt_maps_reclaim(maps, 0, come_home, &home), 0);
	for (mqt_chan_id id = 1; id <= 100; id++) {
		CHECK_EQ(mqt_maps_reclaim(maps, 1, come_home, &home), 1);
		CHECK_EQ(home.n, id);
		CHECK_EQ(home.last, id * 37 % 101);
	}
	CHECK_EQ(home.n_bad, 0);
	mqt_maps_destroy(maps);
}

/* Waits for the reclaimer, not for time: gives up after so many looks that it must be broken. */
static void
wait_for_grace(struct mqt_maps *maps)
{
	static const struct timespec ms = { .tv_nsec = 1000000 };

	for (unsigned look = 0; look < 20000 && mqt_maps_grace_wanted(maps); look++)
		nanosleep(&ms, NULL);
	CHECK(!mqt_maps_grace_wanted(maps));
}

static unsigned
reclaim_patiently(struct mqt_maps *maps, unsigned want)
{
	static const struct timespec ms = { .tv_nsec = 1000000 };
	unsigned n = 0;

	for (unsigned look = 0; look < 20000 && n < want; look++) {
		n += reclaim(maps, UINT32_MAX);
		if (n < want)
			nanosleep(&ms, NULL);
	}
	return n;
}

static void
test_reclaimer_wakes_for_each_removal(void)
{
	struct mqt_maps *maps = maps_new(8);

	mqt_role_control_assert();
	CHECK_EQ(mqt_maps_reclaimer_start(maps), 0);
	CHECK_EQ(mqt_maps_reclaimer_start(maps), -EALREADY);
	for (mqt_chan_id id = 1; id <= 100; id++) {
		CHECK(insert(maps, id, 1) != NULL);
		CHECK_EQ(mqt_maps_remove(maps, id), 0);
		if (id % 2) /* the removal alone has woken it */
			wait_for_grace(maps);
		CHECK_EQ(reclaim_patiently(maps, 1), 1);
	}
	mqt_maps_reclaimer_stop(maps);
	CHECK(insert(maps, 1, 1) != NULL);
	CHECK_EQ(mqt_maps_remove(maps, 1), 0);
	CHECK_EQ(reclaim(maps, 8), 0);
	CHECK(mqt_maps_grace_wanted(maps)); /* nobody runs it any more */
	CHECK_EQ(mqt_maps_reclaimer_start(maps), 0);
	CHECK_EQ(reclaim_patiently(maps, 1), 1);
	mqt_maps_reclaimer_stop(maps);
	mqt_maps_reclaimer_stop(maps);
	mqt_maps_destroy(maps);
}

/* A removal wakes nobody where an earlier one is still there, so whoever takes that one looks. */
static void
test_reclaim_wakes_the_reclaimer_for_what_came_behind(void)
{
	static const struct timespec asleep = { .tv_nsec = 3000000 }; /* the reclaimer, by then */
	struct mqt_maps *maps = maps_new(8);

	mqt_role_control_assert();
	CHECK_EQ(mqt_maps_reclaimer_start(maps), 0);
	for (mqt_chan_id id = 1; id <= 10; id += 2) {
		CHECK(insert(maps, id, 1) != NULL);
		CHECK(insert(maps, id + 1, 1) != NULL);
		CHECK_EQ(mqt_maps_remove(maps, id), 0);
		wait_for_grace(maps);
		nanosleep(&asleep, NULL);
		CHECK_EQ(mqt_maps_remove(maps, id + 1), 0);
		CHECK_EQ(reclaim_patiently(maps, 2), 2);
	}
	mqt_maps_reclaimer_stop(maps);
	mqt_maps_destroy(maps);
}

struct section {
	struct mqt_maps *maps;
	sem_t entered, leave;
	bool whole;
};

/* Nested sections are a thing of run time; the analysis knows one level. */
MQT_NO_ANALYSIS static void *
stay_in_section(void *arg)
{
	struct section *s = arg;
	const struct mqt_chan *row;

	mqt_rcu_register();
	mqt_rcu_read_lock();
	row = mqt_maps_info(s->maps, 1);
	mqt_rcu_read_lock();
	mqt_rcu_read_unlock(); /* the inner end ends nothing */
	sem_post(&s->entered);
	sem_wait(&s->leave);
	s->whole = row && row_is_whole(row, 1, 1);
	mqt_rcu_read_unlock();
	sem_post(&s->entered);
	sem_wait(&s->leave); /* blocks outside a section: must hold up nobody */
	mqt_rcu_unregister();
	return NULL;
}

static void
test_section_holds_up_reclaim_and_nothing_else_does(void)
{
	static const struct timespec ms = { .tv_nsec = 1000000 };
	struct section s = { .maps = maps_new(8) };
	pthread_t thread;
	unsigned early = 0;

	mqt_role_control_assert();
	sem_init(&s.entered, 0, 0);
	sem_init(&s.leave, 0, 0);
	CHECK(insert(s.maps, 1, 1) != NULL);
	CHECK(insert(s.maps, 2, 2) != NULL);
	CHECK_EQ(pthread_create(&thread, NULL, stay_in_section, &s), 0);
	sem_wait(&s.entered);
	CHECK_EQ(mqt_maps_remove(s.maps, 1), 0);
	CHECK_EQ(mqt_maps_reclaimer_start(s.maps), 0);
	for (int i = 0; i < 30; i++) {
		nanosleep(&ms, NULL);
		early += reclaim(s.maps, 8);
	}
	CHECK_EQ(early, 0);
	sem_post(&s.leave);
	CHECK_EQ(early + reclaim_patiently(s.maps, 1), 1);
	sem_wait(&s.entered);
	CHECK_EQ(mqt_maps_remove(s.maps, 2), 0);
	CHECK_EQ(reclaim_patiently(s.maps, 1), 1); /* the reader is offline */
	sem_post(&s.leave);
	pthread_join(thread, NULL);
	CHECK(s.whole);
	mqt_maps_reclaimer_stop(s.maps);
	mqt_maps_destroy(s.maps);
	sem_destroy(&s.entered);
	sem_destroy(&s.leave);
}

/* --- walks --------------------------------------------------------------------------------------- */

static void
test_walk_sees_each_lasting_channel_once(void)
{
	enum {
		STAY = 300,
		COME_AND_GO = 300
	};
	struct mqt_maps *maps = maps_new(STAY + COME_AND_GO);
	mqt_chan_id come = 1000000, go;
	unsigned seed = 5;

	mqt_role_control_assert();
	for (mqt_chan_id id = 1; id <= STAY; id++) { /* lasting ones among the others */
		CHECK(insert(maps, id, id) != NULL);
		CHECK(insert(maps, come, come) != NULL);
		come++;
	}
	go = come - COME_AND_GO;
	for (unsigned round = 0; round < 20; round++) {
		unsigned seen[STAY + 1] = { 0 };
		const struct mqt_chan *row;
		uint32_t pos = 0;

		mqt_rcu_read_lock();
		while ((row = mqt_maps_next(maps, &pos))) {
			CHECK(row_is_whole(row, 0, 0));
			if (row->id <= STAY)
				seen[row->id]++;
			if (rand_r(&seed) % 16 != 0)
				continue;
			mqt_rcu_read_unlock(); /* the end of a page */
			for (unsigned k = 0; k < 20; k++) {
				CHECK_EQ(mqt_maps_remove(maps, go++), 0);
				CHECK(insert(maps, come, come) != NULL);
				come++;
			}
			grace_and_reclaim(maps);
			mqt_rcu_read_lock();
		}
		mqt_rcu_read_unlock();
		for (unsigned id = 1; id <= STAY; id++)
			CHECK_EQ(seen[id], 1);
	}
	mqt_maps_destroy(maps);
}

static CU_TestInfo tests[] = {
	{ "nothing comes home before its grace period",
			test_nothing_comes_home_before_its_grace_period },
	{ "reclaim keeps order and budget", test_reclaim_keeps_order_and_budget },
	{ "reclaimer wakes for each removal", test_reclaimer_wakes_for_each_removal },
	{ "reclaim wakes the reclaimer for what came behind",
			test_reclaim_wakes_the_reclaimer_for_what_came_behind },
	{ "section holds up reclaim and nothing else does",
			test_section_holds_up_reclaim_and_nothing_else_does },
	{ "walk sees each lasting channel once", test_walk_sees_each_lasting_channel_once },
	CU_TEST_INFO_NULL,
};

int
main(void)
{
	return rig_run(tests);
}
