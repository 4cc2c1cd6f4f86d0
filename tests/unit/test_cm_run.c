/* SPDX-License-Identifier: BSD-3-Clause */
/* The control lcore's loop: when it sleeps and for how long, who wakes it, and whom it wakes. */
#include "cm_rig.h"

/* The binary is linked so that the loop's calls come here first. */
bool __wrap_mqt_waker_sleep(struct mqt_waker *w, uint32_t us, mqt_waker_fn *has_work, void *arg);

static const struct rig_params small = { 2, 64, 64, 256 };

static struct rig *run_rig;
static atomic_bool stop;
static unsigned n_sleeps, n_sleeps_until_stop;
static uint32_t last_us;
static void (*during_sleep)(void);
static bool has_work_before, has_work_after, was_woken;

bool
__wrap_mqt_waker_sleep(struct mqt_waker *w, uint32_t us, mqt_waker_fn *has_work, void *arg)
{
	last_us = us;
	has_work_before = has_work(arg);
	atomic_store(&w->asleep, 1);
	if (during_sleep)
		during_sleep();
	was_woken = atomic_exchange(&w->asleep, 0) == 0;
	has_work_after = has_work(arg);
	run_rig->now_ns += us * 1000ull;
	if (++n_sleeps == n_sleeps_until_stop)
		atomic_store(&stop, true);
	return true;
}

static void
run_control(unsigned sleeps, void (*meanwhile)(void))
{
	n_sleeps = 0;
	n_sleeps_until_stop = sleeps;
	during_sleep = meanwhile;
	atomic_store(&stop, false);
	mqt_role_control_assert();
	mqt_cm_run(run_rig->cm, &stop);
}

static void
setup(void)
{
	rig_waker = mqt_waker_create();
	if (!rig_waker)
		abort();
	run_rig = rig_create(small);
}

static void
teardown(void)
{
	rig_check_end(run_rig);
	mqt_waker_destroy(rig_waker);
	rig_waker = NULL;
}

static void
test_it_sleeps_for_some_milliseconds_when_nothing_is_under_way(void)
{
	setup();
	run_control(1000, NULL);
	CHECK_EQ(last_us, 4000);
	CHECK(!has_work_before && !has_work_after && !was_woken);
	teardown();
}

/* An answer that does not come has a limit, a grace period has an end: nobody wakes it for these. */
static void
test_it_sleeps_for_a_millisecond_while_something_is(void)
{
	struct rig_conn *a;

	setup();
	run_rig->owners[0].mute_grant = true;
	a = rig_open(run_rig, 0, (struct rig_open){ .clientid = "a" });
	rig_turn(run_rig, 1);
	run_control(400, NULL);
	CHECK_EQ(last_us, 1000);
	run_control(1000, NULL); /* stepdown_local has passed: it was killed */
	CHECK(!rig_live(run_rig, a));
	teardown();
}

static void
message_from_worker_1(void)
{
	struct mqt_mailbox *mailbox = run_rig->owners[1].mailbox;
	struct mqt_msg msg = { .type = MQT_MSG_STEPDOWN_DONE,
		.chan = mqt_chan_id_make(run_rig->config.node_id, 1, 0, 1) };

	mqt_role_worker_assert();
	mqt_mailbox_post_control(mailbox, &msg);
	mqt_mailbox_wake_control(mailbox);
}

static void
test_a_message_wakes_it(void)
{
	setup();
	run_control(1, message_from_worker_1);
	CHECK(!has_work_before);
	CHECK(was_woken);
	CHECK(has_work_after);
	rig_turn(run_rig, 1);
	teardown();
}

static unsigned n_done;

static void
cmd_done(struct mqt_cm_cmd *cmd)
{
	n_done++;
}

static struct mqt_cm_cmd cmd;

static void
command(void)
{
	cmd = (struct mqt_cm_cmd){ .done = cmd_done };
	cmd.digest = mqt_digest_client(&run_rig->key, 0, NULL, "a", 1);
	mqt_cm_kick(run_rig->cm, &cmd);
}

static void
test_a_command_wakes_it(void)
{
	setup();
	n_done = 0;
	run_control(1, command);
	CHECK(!has_work_before);
	CHECK(was_woken);
	CHECK(has_work_after);
	run_control(1, NULL);
	CHECK_EQ(n_done, 1);
	CHECK(!has_work_before);
	teardown();
}

/* What a turn posts wakes the worker it is for, and no other. */
static void
test_a_turn_wakes_the_worker_it_has_posted_to(void)
{
	struct mqt_waker *wakers[2];
	struct rig_conn *a;

	setup();
	for (unsigned w = 0; w < 2; w++) {
		wakers[w] = mqt_waker_create();
		if (!wakers[w])
			abort();
		mqt_mailbox_set_worker(run_rig->owners[w].mailbox, wakers[w]);
		atomic_store(&wakers[w]->asleep, 1);
	}
	a = rig_open(run_rig, 1, (struct rig_open){ .clientid = "a" });
	CHECK_EQ(atomic_load(&wakers[1]->asleep), 1);
	rig_turn(run_rig, 1);
	CHECK_EQ(atomic_load(&wakers[0]->asleep), 1);
	CHECK_EQ(atomic_load(&wakers[1]->asleep), 0);
	rig_poll_all(run_rig);
	CHECK_EQ(a->n_grants, 1);
	teardown();
	for (unsigned w = 0; w < 2; w++)
		mqt_waker_destroy(wakers[w]);
}

int
main(void)
{
	CU_TestInfo tests[] = {
		{ "it sleeps for some milliseconds when nothing is under way",
				test_it_sleeps_for_some_milliseconds_when_nothing_is_under_way },
		{ "it sleeps for a millisecond while something is",
				test_it_sleeps_for_a_millisecond_while_something_is },
		{ "a message wakes it", test_a_message_wakes_it },
		{ "a command wakes it", test_a_command_wakes_it },
		{ "a turn wakes the worker it has posted to",
				test_a_turn_wakes_the_worker_it_has_posted_to },
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ "cm run", NULL, NULL, NULL, NULL, tests },
		CU_SUITE_INFO_NULL,
	};

	return rig_run(suites);
}
