/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owners that do not answer, answer wrongly, or stall: they are killed, or orphaned.
 */
#include "cm_rig.h"

#include <rte_common.h>

static const struct rig_params small = { 2, 64, 64, 256 };

static const struct rig_open id_a = { .clientid = "a" };

/* --- limits --------------------------------------------------------------------------------------- */

static void
test_silent_owner_is_killed_at_the_limit(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *b;

	rig_story(rig);
	b = rig_open(rig, 1, id_a);
	rig_turn(rig, 1);
	for (unsigned ms = 0; ms < 499; ms++)
		rig_turn(rig, 1);
	CHECK(rig_slot_is(rig, a, MQT_SLOT_LIVE));
	rig_poll(rig, 1, 100);
	CHECK_EQ(b->n_grants, 0);
	rig_turn(rig, 1);
	CHECK(rig_slot_is(rig, a, MQT_SLOT_KILLED));
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_FREE);
	rig_poll(rig, 1, 100);
	CHECK_EQ(b->n_grants, 1);
	CHECK_STR(rig_story(rig), "-A1:killed dA1>B *B2 +B2>A");
	/* its RELEASE waits for its DOWN, and that does not touch the new one (I3) */
	for (unsigned i = 0; i < 10; i++) {
		rig_turn(rig, 1);
		rig_grace(rig);
	}
	CHECK_EQ(a->n_releases, 0);
	CHECK(rig_busy(rig));
	rig_settle(rig);
	CHECK_EQ(a->n_releases, 1);
	CHECK(rig_live(rig, b));
	CHECK_EQ(rig_counter(rig, MQT_C_KILLS), 1);
	CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWN_TIMEOUT), 1);
	CHECK_EQ(rig_counter(rig, MQT_C_UNEXPECTED_MSG), 0); /* the late answer is none */
	CHECK_EQ(rig_counter(rig, MQT_C_DOWN_UNKNOWN), 0);
	rig_check_end(rig);
}

static void
test_down_of_a_killed_one_may_come_before_its_grace_period_ends(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);

	rig->owners[0].answer = RIG_ANSWER_NEVER;
	rig_open(rig, 1, id_a);
	for (unsigned ms = 0; ms <= 501; ms++)
		rig_turn(rig, 1);
	CHECK(rig_slot_is(rig, a, MQT_SLOT_KILLED));
	rig_poll_all(rig);
	CHECK(a->over);
	rig_turn(rig, 1);
	rig_poll_all(rig);
	CHECK_EQ(a->n_releases, 0);
	rig_settle(rig);
	CHECK_EQ(a->n_releases, 1);
	rig_check_end(rig);
}

static void
test_time_without_turns_does_not_count(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *b = rig_open(rig, 1, id_a);

	rig_turn(rig, 1);
	for (unsigned i = 0; i < 20; i++)
		rig_turn(rig, 101); /* each a gap */
	rig_turn(rig, 3600 * 1000);
	CHECK(rig_slot_is(rig, a, MQT_SLOT_LIVE));
	for (unsigned i = 0; i < 4; i++)
		rig_turn(rig, 100); /* each counts */
	rig_turn(rig, 99);
	CHECK(rig_slot_is(rig, a, MQT_SLOT_LIVE));
	rig_turn(rig, 1);
	CHECK(rig_slot_is(rig, a, MQT_SLOT_KILLED));
	rig_settle(rig);
	CHECK_EQ(b->n_grants, 1);
	rig_check_end(rig);
}

static void
test_kill_that_loses_against_close_waits_for_its_down(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *b;

	rig_story(rig);
	b = rig_open(rig, 1, id_a);
	rig_turn(rig, 1);
	/* the owner has closed it, and hangs before it posts */
	CHECK(mqt_slot_leave(&rig_slot_of(rig, a->id)->slot, a->id, MQT_SLOT_CLOSED));
	for (unsigned ms = 0; ms < 500; ms++)
		rig_turn(rig, 1);
	CHECK(rig_slot_is(rig, a, MQT_SLOT_CLOSED));
	CHECK_EQ(rig_counter(rig, MQT_C_KILL_MISSED), 1);
	CHECK_EQ(rig_counter(rig, MQT_C_KILLS), 0);
	rig_poll(rig, 1, 100);
	CHECK_EQ(b->n_grants, 1);
	CHECK_STR(rig_story(rig), "-A1:discarded dA1>B *B2 +B2>A");
	for (unsigned i = 0; i < 10; i++) {
		rig_turn(rig, 1);
		rig_grace(rig);
	}
	CHECK_EQ(a->n_releases, 0);
	rig_down(rig, a, MQT_REASON_CLIENT_CLOSED); /* late, after the new one's registration */
	rig_settle(rig);
	CHECK_EQ(a->n_releases, 1);
	CHECK(rig_live(rig, b));
	CHECK_EQ(rig_sizes(rig).channels, 1);
	rig_check_end(rig);
}

static void
test_wrong_answers_end_in_a_kill(void)
{
	static const struct {
		const char *name;
		enum rig_answer answer;
		enum mqt_control_counter counter;
	} rows[] = {
		{ "error", RIG_ANSWER_ERROR, MQT_C_STEPDOWN_ERROR },
		{ "done, but it lives", RIG_ANSWER_LIE, MQT_C_STEPDOWN_OK },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct rig *rig = rig_create(small);
		struct rig_conn *a = rig_connect(rig, 0, id_a);
		struct rig_conn *b;

		check_row = rows[i].name;
		rig->owners[0].answer = rows[i].answer;
		b = rig_open(rig, 1, id_a);
		rig_turn(rig, 1);
		rig_poll(rig, 0, 100);
		rig_turn(rig, 1);
		CHECK(rig_slot_is(rig, a, MQT_SLOT_KILLED));
		CHECK_EQ(rig_counter(rig, rows[i].counter), 1);
		CHECK_EQ(rig_counter(rig, MQT_C_KILLS), 1);
		rig_poll(rig, 1, 100);
		CHECK_EQ(b->n_grants, 1);
		rig_check_end(rig);
	}
	check_row = "";
}

static void
test_grant_without_answer_ends_in_a_kill(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a, *b;

	rig->owners[0].mute_grant = true;
	a = rig_open(rig, 0, id_a);
	rig_turn(rig, 1);
	b = rig_open(rig, 1, id_a);
	for (unsigned ms = 0; ms < 499; ms++)
		rig_turn(rig, 1);
	CHECK(rig_live(rig, a));
	rig_turn(rig, 1);
	CHECK(rig_slot_is(rig, a, MQT_SLOT_KILLED));
	rig_poll(rig, 1, 100);
	CHECK_EQ(b->n_grants, 1);
	CHECK_STR(rig_story(rig), "*A1 +A1 -A1:killed *B2 +B2");
	rig_settle(rig);
	CHECK_EQ(a->n_releases, 1);
	CHECK(rig_live(rig, b));
	/* the answer comes after all */
	rig_post(rig, a, (struct mqt_msg){ .type = MQT_MSG_GRANTED });
	rig_settle(rig);
	CHECK_EQ(rig_counter(rig, MQT_C_UNEXPECTED_MSG), 0);
	rig_check_end(rig);
}

static void
test_unexpected_messages_change_nothing(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *b = rig_connect(rig, 1, (struct rig_open){ .clientid = "b" });
	struct rig_conn foreign = *b;
	const struct mqt_msg msgs[] = {
		{ .type = MQT_MSG_NONE },
		{ .type = MQT_MSG_GRANTED },
		{ .type = MQT_MSG_RETURN },
		{ .type = MQT_MSG_STEPDOWN_DONE, .token = 1 },
		{ .type = MQT_MSG_OPEN },
		{ .type = MQT_MSG_GRANT },
		{ .type = MQT_MSG_RELEASE },
		{ .type = MQT_N_MSGS },
		{ .type = UINT8_MAX },
	};

	for (unsigned i = 0; i < RTE_DIM(msgs); i++)
		rig_post(rig, a, msgs[i]);
	/* a worker that speaks for another one, and for another node */
	mqt_role_worker_assert();
	mqt_mailbox_post_control(rig->owners[0].mailbox,
			&(struct mqt_msg){ .type = MQT_MSG_DOWN, .chan = b->id });
	foreign.id ^= 1ull << 56;
	rig_post(rig, &foreign, (struct mqt_msg){ .type = MQT_MSG_DOWN });
	rig_settle(rig);
	CHECK_EQ(rig_counter(rig, MQT_C_UNEXPECTED_MSG), RTE_DIM(msgs) + 2);
	CHECK(rig_live(rig, a));
	CHECK(rig_live(rig, b));
	rig_check_end(rig);
}

/* --- stalled workers ------------------------------------------------------------------------------ */

/* Turns during which only worker 1 beats. */
static void
stall(struct rig *rig, unsigned ms)
{
	for (unsigned i = 0; i < ms; i++) {
		atomic_store(&rig->owners[1].heartbeat_ns, rig->now_ns);
		rig_turn(rig, 1);
	}
}

static void
test_stalled_worker_leaves_orphans_that_come_back(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *c[20], *other, *gone;

	rig->config.limits.down_slice = 6;
	for (unsigned i = 0; i < RTE_DIM(c); i++)
		c[i] = rig_connect(rig, 0, (struct rig_open){ 0 });
	other = rig_connect(rig, 1, (struct rig_open){ 0 });
	stall(rig, 2000); /* heartbeat 0: not started */
	CHECK(!mqt_cm_stalled(rig->cm, 0));
	atomic_store(&rig->owners[0].heartbeat_ns, 1);
	stall(rig, 1001);
	CHECK(!mqt_cm_stalled(rig->cm, 0));
	rig_story(rig);
	stall(rig, 1);
	CHECK(mqt_cm_stalled(rig->cm, 0));
	CHECK(!mqt_cm_stalled(rig->cm, 1));
	CHECK_EQ(rig_sizes(rig).live, 1 + 20 - 6); /* in slices */
	stall(rig, 3);
	CHECK_EQ(rig_sizes(rig).live, 1);
	CHECK_EQ(rig_sizes(rig).channels, 21);
	CHECK(rig_live(rig, other));
	CHECK_EQ(rig_state(rig, c[3]), MQT_CHAN_ORPHANED);
	CHECK_EQ(rig_counter(rig, MQT_C_ORPHANED), 20);
	CHECK_EQ(rig_counter(rig, MQT_C_STALLS), 1);
	CHECK_STR(rig_story(rig), ""); /* nobody knows whether they are gone */
	gone = c[7];
	rig_end(rig, gone); /* the first thing it does when it wakes up */
	atomic_store(&rig->owners[0].heartbeat_ns, 2);
	stall(rig, 1);
	CHECK(!mqt_cm_stalled(rig->cm, 0));
	CHECK_EQ(rig_sizes(rig).live, 1 + 6);
	stall(rig, 4);
	CHECK_EQ(rig_sizes(rig).live, 20);
	CHECK(!rig_live(rig, gone));
	CHECK_EQ(rig_counter(rig, MQT_C_ADOPTED_BACK), 19);
	CHECK_STR(rig_story(rig), "-H1:client_closed");
	rig_check_end(rig);
}

static void
test_newcomer_takes_an_orphans_place_at_once(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *b;

	atomic_store(&rig->owners[0].heartbeat_ns, 1);
	stall(rig, 1010);
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_ORPHANED);
	rig_story(rig);
	b = rig_open(rig, 1, id_a);
	stall(rig, 1);
	rig_poll(rig, 1, 100);
	CHECK_EQ(b->n_grants, 1);
	CHECK(rig_slot_is(rig, a, MQT_SLOT_KILLED));
	CHECK_STR(rig_story(rig), "-A1:killed dA1>B *B2 +B2>A");
	atomic_store(&rig->owners[0].heartbeat_ns, 2);
	rig_settle(rig);
	CHECK(rig_live(rig, b));
	CHECK(!rig_live(rig, a));
	CHECK_EQ(a->n_releases, 1);
	CHECK_EQ(a->n_stepdowns, 0);
	CHECK_EQ(rig_counter(rig, MQT_C_ADOPTED_BACK), 0);
	rig_check_end(rig);
}

/* Its worker does not get its CPU: nobody gains by the end of a newcomer that is alone. */
static void
test_granted_newcomer_of_a_worker_that_rests_lives_on(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a, *b;

	rig->owners[0].mute_grant = true;
	atomic_store(&rig->owners[0].heartbeat_ns, 1);
	stall(rig, 1);
	a = rig_open(rig, 0, id_a);
	stall(rig, 600);
	CHECK_EQ(rig_counter(rig, MQT_C_GRANTS), 1);
	CHECK(rig_live(rig, a));
	stall(rig, 1000);
	CHECK(mqt_cm_stalled(rig->cm, 0));
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_ORPHANED);
	atomic_store(&rig->owners[0].heartbeat_ns, 2);
	rig_post(rig, a, (struct mqt_msg){ .type = MQT_MSG_GRANTED });
	stall(rig, 4);
	CHECK(rig_live(rig, a));
	CHECK_EQ(rig_counter(rig, MQT_C_KILLS), 0);
	CHECK_EQ(rig_counter(rig, MQT_C_GRANTED), 1);
	CHECK_EQ(rig_counter(rig, MQT_C_UNEXPECTED_MSG), 0);
	b = rig_connect(rig, 1, id_a); /* its lock is free */
	CHECK(rig_live(rig, b));
	rig_check_end(rig);
}

/* It was granted when the walk that makes orphans was over. */
static void
test_newcomer_granted_during_a_stall_becomes_an_orphan(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a, *b;

	rig->owners[0].mute_grant = true;
	atomic_store(&rig->owners[0].heartbeat_ns, 1);
	stall(rig, 1010);
	CHECK(mqt_cm_stalled(rig->cm, 0));
	a = rig_open(rig, 0, id_a);
	stall(rig, 1);
	CHECK(rig_live(rig, a));
	stall(rig, 500);
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_ORPHANED);
	/* who wants its client id waits for one limit at most */
	b = rig_open(rig, 1, id_a);
	stall(rig, 500);
	rig_poll(rig, 1, 100);
	CHECK_EQ(b->n_grants, 1);
	CHECK(rig_slot_is(rig, a, MQT_SLOT_KILLED));
	atomic_store(&rig->owners[0].heartbeat_ns, 2);
	rig_settle(rig);
	CHECK(rig_live(rig, b));
	CHECK_EQ(a->n_releases, 1);
	rig_check_end(rig);
}

static void
test_gap_of_the_control_lcore_stalls_nobody(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);

	atomic_store(&rig->owners[0].heartbeat_ns, 1);
	stall(rig, 900);
	rig_turn(rig, 60000);
	CHECK(!mqt_cm_stalled(rig->cm, 0));
	CHECK(rig_live(rig, a));
	rig_check_end(rig);
}

static CU_TestInfo limit_tests[] = {
	T(silent_owner_is_killed_at_the_limit),
	T(down_of_a_killed_one_may_come_before_its_grace_period_ends),
	T(time_without_turns_does_not_count),
	T(kill_that_loses_against_close_waits_for_its_down),
	T(wrong_answers_end_in_a_kill),
	T(grant_without_answer_ends_in_a_kill),
	T(unexpected_messages_change_nothing),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo orphan_tests[] = {
	T(stalled_worker_leaves_orphans_that_come_back),
	T(newcomer_takes_an_orphans_place_at_once),
	T(granted_newcomer_of_a_worker_that_rests_lives_on),
	T(newcomer_granted_during_a_stall_becomes_an_orphan),
	T(gap_of_the_control_lcore_stalls_nobody),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "limits", NULL, NULL, NULL, NULL, limit_tests },
	{ "stalled workers", NULL, NULL, NULL, NULL, orphan_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
