/* SPDX-License-Identifier: BSD-3-Clause */
/* Back-off, and sleeping until woken. Whether a wake-up can be lost is asked by the stress test. */
#include "check.h"
#include "mqtrack/idle.h"

#include <pthread.h>
#include <unistd.h>

/* Nothing here waits for so long, unless a wake-up is lost: then the test's own limit ends it. */
#define FOR_EVER_US 600000000

/* --- back-off ---------------------------------------------------------------------------------- */

#define MOST_US 25

static unsigned
idle_turns_until_sleep(struct mqt_idle *idle)
{
	unsigned n = 1;

	while (n < 100000 && mqt_idle_step(idle, MQT_POLL_ADAPTIVE, 0, MOST_US) == 0)
		n++;
	return n;
}

static void
test_an_idle_lcore_sleeps_longer_and_longer(void)
{
	struct mqt_idle idle = { 0 };
	uint32_t before, us = 0;

	CHECK(idle_turns_until_sleep(&idle) > 100);
	before = idle.sleep_us;
	CHECK(before > 0 && before <= MOST_US);
	for (unsigned i = 0; i < 20; i++) {
		us = mqt_idle_step(&idle, MQT_POLL_ADAPTIVE, 0, MOST_US);
		CHECK(us == MOST_US || us > before);
		CHECK(us <= MOST_US);
		before = us;
	}
	CHECK_EQ(us, MOST_US);
	CHECK_EQ(mqt_idle_step(&idle, MQT_POLL_ADAPTIVE, 0, 7), 7); /* the most may change */
}

/* After a second of silence it sleeps as long as it may: the sum of all sleeps before tells. */
static void
test_it_takes_a_tenth_of_a_second_to_sleep_for_a_millisecond(void)
{
	struct mqt_idle idle = { 0 };
	uint64_t sum_us = 0;
	uint32_t us = 0;

	for (unsigned i = 0; i < 100000 && us < 1000; i++) {
		us = mqt_idle_step(&idle, MQT_POLL_ADAPTIVE, 0, 1000);
		sum_us += us;
	}
	CHECK_EQ(us, 1000);
	CHECK(sum_us > 50000 && sum_us < 200000);
}

static void
test_work_ends_the_back_off(void)
{
	struct mqt_idle idle = { 0 };
	unsigned first = idle_turns_until_sleep(&idle);

	CHECK_EQ(mqt_idle_step(&idle, MQT_POLL_ADAPTIVE, 1, MOST_US), 0);
	CHECK_EQ(idle_turns_until_sleep(&idle), first);
}

static void
test_a_busy_lcore_never_sleeps(void)
{
	struct mqt_idle idle = { 0 };
	uint32_t us = 0;

	for (unsigned i = 0; i < 100000; i++)
		us |= mqt_idle_step(&idle, MQT_POLL_BUSY, 0, MOST_US);
	CHECK_EQ(us, 0);
}

/* --- sleeping ---------------------------------------------------------------------------------- */

static struct mqt_waker *waker;
static atomic_bool posted;
static unsigned n_looks;

static bool
nothing(void *arg)
{
	n_looks++;
	return false;
}

static bool
something(void *arg)
{
	n_looks++;
	return true;
}

static bool
is_posted(void *arg)
{
	return atomic_load(&posted);
}

/* Whether the eventfd is readable. It is left as it is. */
static bool
is_rung(void)
{
	uint64_t n = 0;
	bool rung = read(waker->fd, &n, sizeof(n)) == sizeof(n);

	return rung && write(waker->fd, &n, sizeof(n)) == sizeof(n);
}

static int
suite_init(void)
{
	waker = mqt_waker_create();
	return waker ? 0 : -1;
}

static int
suite_clean(void)
{
	mqt_waker_destroy(waker);
	mqt_waker_destroy(NULL);
	return 0;
}

static void
test_who_is_awake_is_not_rung(void)
{
	mqt_waker_wake(waker);
	CHECK(!is_rung());
	mqt_waker_wake(NULL);
}

static void
test_a_sleep_ends_by_its_time(void)
{
	n_looks = 0;
	CHECK(mqt_waker_sleep(waker, 1, nothing, NULL));
	CHECK_EQ(n_looks, 1);
	CHECK(!is_rung());
	mqt_waker_wake(waker); /* it is awake again */
	CHECK(!is_rung());
}

static void
test_who_has_work_does_not_sleep(void)
{
	n_looks = 0;
	CHECK(!mqt_waker_sleep(waker, FOR_EVER_US, something, NULL));
	CHECK_EQ(n_looks, 1);
	mqt_waker_wake(waker);
	CHECK(!is_rung());
}

/* Somebody who posts between the announcement and the look, and one who posts right behind it. */
static bool
post_during_look(void *arg)
{
	bool seen = *(bool *)arg;

	mqt_waker_wake(waker);
	CHECK(is_rung());
	mqt_waker_wake(waker); /* the second finds it taken back */
	return seen;
}

static void
test_a_post_during_the_look_ends_the_sleep(void)
{
	uint64_t n = 0;
	bool seen = false;

	CHECK(mqt_waker_sleep(waker, FOR_EVER_US, post_during_look, &seen));
	CHECK(!is_rung()); /* once for all of them */
	seen = true;
	CHECK(!mqt_waker_sleep(waker, FOR_EVER_US, post_during_look, &seen));
	/* nobody waited for it: the next sleep is cut short, the one behind it is not */
	CHECK(is_rung());
	CHECK(mqt_waker_sleep(waker, FOR_EVER_US, nothing, NULL));
	CHECK(!is_rung());
	CHECK(mqt_waker_sleep(waker, 1, nothing, NULL));
	CHECK(read(waker->fd, &n, sizeof(n)) < 0);
}

static void *
sleeper(void *arg)
{
	while (!atomic_load(&posted))
		mqt_waker_sleep(waker, FOR_EVER_US, is_posted, NULL);
	return NULL;
}

static void
test_another_thread_wakes(void)
{
	for (unsigned i = 0; i < 100; i++) {
		pthread_t thread;

		atomic_store(&posted, false);
		if (pthread_create(&thread, NULL, sleeper, NULL) != 0) {
			CHECK(!"a thread");
			return;
		}
		while (i % 2 && atomic_load(&waker->asleep) == 0)
			; /* every other time it sleeps, or is about to */
		atomic_store(&posted, true);
		mqt_waker_wake(waker);
		pthread_join(thread, NULL);
	}
}

int
main(void)
{
	CU_TestInfo back_off[] = {
		{ "an idle lcore sleeps longer and longer",
				test_an_idle_lcore_sleeps_longer_and_longer },
		{ "it takes a tenth of a second to sleep for a millisecond",
				test_it_takes_a_tenth_of_a_second_to_sleep_for_a_millisecond },
		{ "work ends the back-off", test_work_ends_the_back_off },
		{ "a busy lcore never sleeps", test_a_busy_lcore_never_sleeps },
		CU_TEST_INFO_NULL,
	};
	CU_TestInfo sleeping[] = {
		{ "who is awake is not rung", test_who_is_awake_is_not_rung },
		{ "a sleep ends by its time", test_a_sleep_ends_by_its_time },
		{ "who has work does not sleep", test_who_has_work_does_not_sleep },
		{ "a post during the look ends the sleep",
				test_a_post_during_the_look_ends_the_sleep },
		{ "another thread wakes", test_another_thread_wakes },
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ "back-off", NULL, NULL, NULL, NULL, back_off },
		{ "sleeping", suite_init, suite_clean, NULL, NULL, sleeping },
		CU_SUITE_INFO_NULL,
	};

	return check_run(suites);
}
