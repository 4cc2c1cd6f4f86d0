/* SPDX-License-Identifier: BSD-3-Clause */
/* The data lcore's loop: when it sleeps, and who wakes it. How sleeping works is test_idle.c's. */
#include "mqtrack/idle.h"
#include "worker_rig.h"

/* The binary is linked so that the loop's calls come here first. */
bool __wrap_mqt_waker_sleep(struct mqt_waker *w, uint32_t us, mqt_waker_fn *has_work, void *arg);
struct mqt_waker *__real_mqt_waker_create(void);
struct mqt_waker *__wrap_mqt_waker_create(void);
uint32_t __real_mqt_idle_step(
		struct mqt_idle *idle, enum mqt_poll_mode mode, unsigned done, uint32_t max_us);
uint32_t __wrap_mqt_idle_step(
		struct mqt_idle *idle, enum mqt_poll_mode mode, unsigned done, uint32_t max_us);

#define MANY_TURNS 5000

static unsigned n_wakers, n_turns, n_sleeps, n_sleeps_until_stop;
static uint32_t longest_us;
static void (*during_sleep)(void);
static bool has_work_before, has_work_after, was_woken;

struct mqt_waker *
__wrap_mqt_waker_create(void)
{
	n_wakers++;
	return __real_mqt_waker_create();
}

uint32_t
__wrap_mqt_idle_step(struct mqt_idle *idle, enum mqt_poll_mode mode, unsigned done, uint32_t max_us)
{
	if (++n_turns == MANY_TURNS)
		mqt_workers_stop(workers);
	return __real_mqt_idle_step(idle, mode, done, max_us);
}

/* Announces the sleep; lets others do what they do meanwhile; and has no time to lose. */
bool
__wrap_mqt_waker_sleep(struct mqt_waker *w, uint32_t us, mqt_waker_fn *has_work, void *arg)
{
	longest_us = RTE_MAX(longest_us, us);
	has_work_before = has_work(arg);
	atomic_store(&w->asleep, 1);
	if (during_sleep)
		during_sleep();
	was_woken = atomic_exchange(&w->asleep, 0) == 0;
	has_work_after = has_work(arg);
	if (++n_sleeps == n_sleeps_until_stop)
		mqt_workers_stop(workers);
	return true;
}

/* Runs worker 1 until it has slept so often. */
static void
run_worker(unsigned sleeps, void (*meanwhile)(void))
{
	n_turns = n_sleeps = longest_us = 0;
	n_sleeps_until_stop = sleeps;
	during_sleep = meanwhile;
	CHECK_EQ(mqt_worker_run(mqt_workers_at(workers, 1)), 0);
}

static void
test_an_idle_worker_sleeps_for_a_millisecond_at_most(void)
{
	setup();
	run_worker(1000, NULL);
	CHECK_EQ(n_sleeps, 1000);
	CHECK_EQ(longest_us, 1000);
	CHECK(!has_work_before && !has_work_after && !was_woken);
	CHECK_EQ(counted(1, MQT_W_SLEEPS), 1000);
	teardown();
}

static void
packet_for_worker_1(void)
{
	uint8_t f[64];

	feed(0, 0, f, tcp4(f, 1, flow_of(1), 2, 1883, 7));
	turn(0);
}

static void
test_a_packet_handed_over_wakes_its_owner(void)
{
	setup();
	run_worker(1, packet_for_worker_1);
	CHECK(!has_work_before);
	CHECK(was_woken);
	CHECK(has_work_after);
	teardown();
}

static void
packet_for_worker_0(void)
{
	uint8_t f[64];

	feed(0, 0, f, tcp4(f, 1, flow_of(0), 2, 1883, 7));
	turn(0);
}

static void
test_a_packet_of_another_wakes_nobody(void)
{
	setup();
	run_worker(1, packet_for_worker_0);
	CHECK(!was_woken);
	CHECK(!has_work_after);
	CHECK_EQ(conns_of[0]->n_seen, 1);
	teardown();
}

static void
message_for_worker_1(void)
{
	struct mqt_mailbox *mailbox = mqt_worker_mailbox(mqt_workers_at(workers, 1));
	struct mqt_msg msg = { .type = MQT_MSG_GRANT };

	mqt_role_control_assert();
	mqt_mailbox_post_worker(mailbox, &msg);
	mqt_mailbox_wake_worker(mailbox);
}

static void
test_a_message_wakes_its_worker(void)
{
	setup();
	run_worker(1, message_for_worker_1);
	CHECK(!has_work_before);
	CHECK(was_woken);
	CHECK(has_work_after);
	teardown();
}

/* The other way: what a worker has posted wakes the control lcore at the end of its turn. */
static void
test_a_worker_wakes_the_control_lcore_at_the_end_of_its_turn(void)
{
	struct mqt_waker *control = mqt_waker_create();
	struct mqt_msg msg = { .type = MQT_MSG_DOWN };
	struct mqt_mailbox *mailbox;

	CHECK(control != NULL);
	if (!control)
		return;
	setup();
	mailbox = mqt_worker_mailbox(mqt_workers_at(workers, 0));
	mqt_mailbox_set_control(mailbox, control);
	mqt_role_worker_assert();
	for (unsigned i = 0; i < 2; i++) {
		atomic_store(&control->asleep, 1);
		turn(0);
		CHECK_EQ(atomic_load(&control->asleep), 1); /* nothing was posted */
		mqt_mailbox_post_control(mailbox, &msg);
		CHECK_EQ(atomic_load(&control->asleep), 1); /* once for all of a turn */
		turn(0);
		CHECK_EQ(atomic_load(&control->asleep), 0);
	}
	teardown();
	mqt_waker_destroy(control);
}

/* What did not fit the ring is news when it goes there. */
static void
test_what_waited_in_an_outbox_wakes_too(void)
{
	struct mqt_waker *control = mqt_waker_create();
	struct mqt_mailbox *mailbox = mqt_mailbox_create(1);
	struct mqt_msg msg = { .type = MQT_MSG_DOWN }, got;

	CHECK(control && mailbox);
	if (control && mailbox) {
		mqt_role_worker_assert();
		mqt_role_control_assert();
		mqt_mailbox_set_control(mailbox, control);
		mqt_mailbox_post_control(mailbox, &msg);
		mqt_mailbox_wake_control(mailbox);
		mqt_mailbox_post_control(mailbox, &msg);
		CHECK_EQ(mqt_mailbox_outbox_worker(mailbox), 1);
		CHECK_EQ(mqt_mailbox_poll_control(mailbox, &got, 1), 1);
		atomic_store(&control->asleep, 1);
		mqt_mailbox_wake_control(mailbox);
		CHECK_EQ(atomic_load(&control->asleep), 1); /* it has nothing to read */
		CHECK_EQ(mqt_mailbox_poll_worker(mailbox, &got, 1), 0);
		mqt_mailbox_wake_control(mailbox);
		CHECK_EQ(atomic_load(&control->asleep), 0);
		CHECK_EQ(mqt_mailbox_pending_control(mailbox), 1);
	}
	mqt_mailbox_destroy(mailbox);
	mqt_waker_destroy(control);
}

static void
test_busy_is_a_pure_spin(void)
{
	config.poll = MQT_POLL_BUSY;
	n_wakers = 0;
	setup();
	run_worker(UINT32_MAX, NULL);
	CHECK_EQ(n_turns, MANY_TURNS);
	CHECK_EQ(n_sleeps, 0);
	CHECK_EQ(n_wakers, 0); /* nobody has anything to wake, either */
	packet_for_worker_1();
	message_for_worker_1();
	CHECK_EQ(turn(1), 1);
	teardown();
	config.poll = MQT_POLL_ADAPTIVE;
}

int
main(void)
{
	CU_TestInfo tests[] = {
		{ "an idle worker sleeps for a millisecond at most",
				test_an_idle_worker_sleeps_for_a_millisecond_at_most },
		{ "a packet handed over wakes its owner",
				test_a_packet_handed_over_wakes_its_owner },
		{ "a packet of another wakes nobody", test_a_packet_of_another_wakes_nobody },
		{ "a message wakes its worker", test_a_message_wakes_its_worker },
		{ "a worker wakes the control lcore at the end of its turn",
				test_a_worker_wakes_the_control_lcore_at_the_end_of_its_turn },
		{ "what waited in an outbox wakes too", test_what_waited_in_an_outbox_wakes_too },
		{ "busy is a pure spin", test_busy_is_a_pure_spin },
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ "worker idle", suite_init, suite_clean, NULL, NULL, tests },
		CU_SUITE_INFO_NULL,
	};

	return rig_run("worker_idle", suites);
}
