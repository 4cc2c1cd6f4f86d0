/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Storms: everybody leaves at once, and somebody comes in the middle of it. What the newcomer waits
 * for is counted in turns and in slices, not by a clock.
 */

#include "cm_rig.h"

#include <rte_common.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* Under a sanitizer each connection costs a multiple of its memory and time. */
#ifdef SANITIZED
#define MANY 100000u
#else
#define MANY 1000000u
#endif

enum {
	N_TURNS = 10, /* that the DOWNs take */
	SLICE = 1024,
};

struct storm {
	struct rig *rig;
	unsigned n, batch; /* DOWNs, and of these in a turn */
	struct rig_conn **c;
	uint64_t downs, gone; /* before the turn */
	unsigned turns;
};

static void
name(unsigned i, char id[16])
{
	snprintf(id, 16, "c%u", i);
}

static struct storm
storm_create(unsigned n)
{
	/* the storm is of worker 0, and fits its ring: the batch is what limits a turn */
	struct rig_params p = { 2, n + 16, n + 16, rte_align32pow2(n + 1) };
	struct storm s = { .rig = rig_create(p), .n = n, .batch = n / N_TURNS };

	s.c = calloc(n, sizeof(*s.c));
	if (!s.c)
		abort();
	s.rig->config.limits.down_batch = s.batch;
	s.rig->config.limits.down_slice = SLICE;
	for (unsigned i = 0; i < n; i++) {
		char id[16];

		name(i, id);
		s.c[i] = rig_open(s.rig, 0, (struct rig_open){ .clientid = id });
	}
	rig_turn(s.rig, 1);
	rig_poll_all(s.rig);
	rig_turn(s.rig, 1);
	CHECK_EQ(rig_sizes(s.rig).live, n);
	return s;
}

static void
storm_of(struct storm *s, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		rig_end(s->rig, s->c[i]);
}

/* One turn takes a batch at most, and unregisters a slice at most, besides @p reopened. */
static void
storm_turn(struct storm *s, unsigned reopened)
{
	s->downs = rig_counter(s->rig, MQT_C_DOWN);
	s->gone = rig_counter(s->rig, MQT_C_UNREGISTERED);
	rig_turn(s->rig, 1);
	s->turns++;
	CHECK(rig_counter(s->rig, MQT_C_DOWN) - s->downs <= s->batch);
	CHECK(rig_counter(s->rig, MQT_C_UNREGISTERED) - s->gone <= SLICE + reopened);
	/* marked first: who is read as down is out of the live map in the same turn */
	CHECK(rig_sizes(s->rig).live <= s->n + 4 - rig_counter(s->rig, MQT_C_DOWN));
}

static void
storm_destroy(struct storm *s)
{
	s->rig->config.limits.down_slice = s->n; /* the rest may go quickly */
	s->rig->config.limits.down_batch = s->n;
	s->rig->event_cursor = mqt_event_ring_last(s->rig->events);
	free(s->c);
	rig_check_end(s->rig);
}

/* Its worker is not in the storm: answered in the next turn, within which one slice goes. */
static void
test_open_of_another_worker_is_answered_in_the_next_turn_of_a_storm(void)
{
	struct storm s = storm_create(MANY / 10);
	struct rig_conn *newcomer, *older;
	uint64_t grants;

	storm_of(&s, 1, s.n);
	for (unsigned i = 0; i < N_TURNS / 2; i++)
		storm_turn(&s, 0);
	grants = rig_counter(s.rig, MQT_C_GRANTS);
	newcomer = rig_open(s.rig, 1, (struct rig_open){ .clientid = "new" });
	older = rig_open(s.rig, 1, (struct rig_open){ .clientid = "c0" });
	storm_turn(&s, 0);
	CHECK_EQ(rig_counter(s.rig, MQT_C_GRANTS), grants + 1);
	CHECK_EQ(rig_counter(s.rig, MQT_C_STEPDOWNS), 1); /* of the old "c0", posted now */
	CHECK(rig_live(s.rig, newcomer));
	CHECK(rig_counter(s.rig, MQT_C_DOWN) < s.n - 1); /* the storm is not over */
	CHECK_EQ(older->n_grants, 0);
	while (rig_counter(s.rig, MQT_C_DOWN) < s.n - 1)
		storm_turn(&s, 0);
	CHECK(s.turns <= N_TURNS + 1);
	storm_destroy(&s);
}

/*
 * Its OPEN stands behind half of the storm in the same ring: answered in the very turn in which
 * that half has been read, before what a slice can unregister of it.
 */
static void
test_open_in_the_middle_of_a_storm_is_answered_when_it_is_read(void)
{
	struct storm s = storm_create(MANY);
	unsigned middle = 3 * s.batch + s.batch / 2;
	unsigned back = middle - 1; /* whose DOWN is right before */
	struct rig_conn *newcomer, *again;
	char id[16];

	storm_of(&s, 0, middle);
	name(back, id);
	newcomer = rig_open(s.rig, 0, (struct rig_open){ .clientid = "new" });
	again = rig_open(s.rig, 0, (struct rig_open){ .clientid = id });
	storm_of(&s, middle, s.n);
	while (rig_counter(s.rig, MQT_C_OPENS) == s.n)
		storm_turn(&s, 1);
	CHECK_EQ(s.turns, middle / s.batch + 1);
	CHECK_EQ(rig_counter(s.rig, MQT_C_GRANTS), s.n + 2);  /* both, in that turn */
	CHECK_EQ(rig_state(s.rig, s.c[back]), MQT_CHAN_FREE); /* finished at once (R2) */
	CHECK(rig_live(s.rig, newcomer));
	CHECK(rig_live(s.rig, again));
	CHECK(rig_counter(s.rig, MQT_C_UNREGISTERED) <= s.turns * SLICE + 1);
	while (rig_counter(s.rig, MQT_C_DOWN) < s.n)
		storm_turn(&s, 0);
	CHECK(s.turns <= N_TURNS + 1);
	CHECK_EQ(rig_sizes(s.rig).live, 2);
	CHECK(rig_sizes(s.rig).channels > s.n / 2); /* the slices go on behind it */
	storm_destroy(&s);
}

static CU_TestInfo tests[] = {
	{ "open_of_another_worker_is_answered_in_the_next_turn_of_a_storm",
			test_open_of_another_worker_is_answered_in_the_next_turn_of_a_storm },
	{ "open_in_the_middle_of_a_storm_is_answered_when_it_is_read",
			test_open_in_the_middle_of_a_storm_is_answered_when_it_is_read },
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "storms of DOWNs", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
