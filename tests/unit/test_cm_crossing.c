/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions whose flow ends by itself in the very moment in which the channel manager gives its
 * owner up, asks somebody else for long, or admits it (I7).
 */
#include "cm_session_rig.h"

#include <rte_common.h>

/* So long one owner says nothing; the others go on. */
static void
silence(struct rig *rig, unsigned w, uint64_t ms)
{
	for (uint64_t i = 0; i < ms; i++) {
		rig_turn(rig, 1);
		rig_poll(rig, !w, 100);
	}
}

/* --- a kill that misses ------------------------------------------------------------------------ */

static const struct {
	const char *name;
	bool frozen; /* when its owner falls silent */
	bool error;  /* the answer to the request that its end crosses; false: none */
	uint64_t ms; /* of silence */
	uint32_t expiry_sec;
	unsigned n_resumes;
	const char *story;
} misses[] = {
	{ "begin, no answer", false, false, 510, 3600, 1, "-A1:client_closed =B2>A +B2>A" },
	{ "begin, none for long", false, false, 990, 3600, 1, "-A1:client_closed =B2>A +B2>A" },
	{ "begin, an error", false, true, 490, 3600, 1, "-A1:client_closed =B2>A +B2>A" },
	{ "begin, no session", false, false, 510, 0, 0, "-A1:client_closed aB2 +B2>A" },
	{ "end, no answer", true, false, 510, 3600, 1, "-A1:client_closed tA1>B =B2>A +B2>A" },
	{ "end, an error", true, true, 490, 3600, 1, "-A1:client_closed tA1>B =B2>A +B2>A" },
};

static void
test_kill_that_misses_waits_for_the_session(void)
{
	for (unsigned i = 0; i < RTE_DIM(misses); i++) {
		struct rig *rig = rig_create(small);
		struct rig_conn *a = rig_connect(rig, 0, but_expiry(first, misses[i].expiry_sec));
		struct rig_conn *b = rig_open(rig, 1, again);
		struct mqt_session *session = a->session;

		check_row = misses[i].name;
		rig_story(rig);
		rig_turn(rig, 1);
		if (misses[i].frozen) {
			rig_poll(rig, 0, 100);
			rig_turn(rig, 1);
		}
		CHECK_EQ(a->frozen, misses[i].frozen);
		rig->owners[0].answer = rig->owners[0].end_answer = RIG_ANSWER_ERROR;
		if (misses[i].error)
			rig_poll(rig, 0, 100);
		rig_close(rig, a);
		silence(rig, 0, misses[i].ms);
		CHECK_EQ(rig_counter(rig, MQT_C_KILL_MISSED), 1);
		CHECK_EQ(b->n_grants, 0);
		rig->owners[0].answer = rig->owners[0].end_answer = RIG_ANSWER_OK;
		rig_settle(rig); /* its word comes now */
		CHECK_EQ(b->n_grants, 1);
		CHECK_EQ(b->n_resumes, misses[i].n_resumes);
		CHECK(!b->n_resumes || b->session == session);
		CHECK_STR(rig_story(rig), misses[i].story);
		CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWN_TIMEOUT), !misses[i].error);
		CHECK_EQ(rig_counter(rig, MQT_C_KILLS), 0);
		CHECK_EQ(rig_counter(rig, MQT_C_SESSION_LOST_BY_KILL), 0);
		CHECK_EQ(rig_counter(rig, MQT_C_SESSION_DISCARDED), 0);
		CHECK_EQ(rig_counter(rig, MQT_C_UNEXPECTED_MSG), 0);
		rig_check_end(rig);
	}
	check_row = "";
}

/* The answer to end is in the ring, unread, when its limit passes: it is not asked for again. */
static void
test_answer_that_nobody_has_read_yet_brings_the_pendings(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, first), *b;
	struct rig_conn *x = rig_connect(rig, 0, (struct rig_open){ .clientid = "x" });
	struct mqt_session_counts counts = { 0 };

	a->pendings = calloc(1, sizeof(*a->pendings) + sizeof(uint16_t));
	a->pendings->n = 1;
	b = rig_open(rig, 1, again);
	rig_turn(rig, 1);
	rig_poll(rig, 0, 100); /* begin */
	rig_turn(rig, 1);
	silence(rig, 0, 499);
	CHECK(a->frozen);
	rig->config.limits.down_batch = 1;
	rig_end(rig, x); /* the one message that the next turn reads */
	rig_poll(rig, 0, 100);
	CHECK(a->over);
	rig_turn(rig, 1);
	CHECK_EQ(rig_counter(rig, MQT_C_KILL_MISSED), 1);
	rig_settle(rig);
	CHECK_EQ(a->n_stepdowns, 2);
	CHECK_EQ(b->n_resumes, 1);
	if (b->session)
		mqt_session_counts(b->session, &counts);
	CHECK_EQ(counts.pendings, 1);
	CHECK_EQ(rig_counter(rig, MQT_C_UNEXPECTED_MSG), 0);
	rig_check_end(rig);
}

/* Its worker is given up already, but has still closed the flow. */
static void
test_closed_channel_of_a_stalled_worker_is_waited_for(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, first), *b;

	atomic_store(&rig->owners[0].heartbeat_ns, rig->now_ns);
	silence(rig, 0, 1200);
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_ORPHANED);
	rig_close(rig, a);
	rig_story(rig);
	b = rig_open(rig, 1, again);
	silence(rig, 0, 100);
	CHECK_EQ(b->n_grants, 0);
	atomic_store(&rig->owners[0].heartbeat_ns, 0);
	rig_settle(rig);
	CHECK_EQ(b->n_resumes, 1);
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_LOST_BY_KILL), 0);
	rig_check_end(rig);
}

/* The newcomer closes by itself, its GRANT unread; its owner comes back in the second limit. */
static void
test_unanswered_grant_of_a_closed_newcomer_leaves_the_session(void)
{
	for (unsigned late = 0; late < 2; late++) {
		struct rig *rig = rig_create(small);
		struct rig_conn *b, *c;

		check_row = late ? "too late" : "in time";
		retain(rig, 0, first);
		rig_story(rig);
		b = rig_open(rig, 1, again);
		rig_turn(rig, 1);
		rig_close(rig, b);
		silence(rig, 1, late ? 1010 : 510);
		CHECK_EQ(rig_counter(rig, MQT_C_KILL_MISSED), 1);
		CHECK_EQ(rig_counter(rig, MQT_C_SESSION_LOST_BY_KILL), late);
		rig->owners[1].plain_down = true;
		rig_settle(rig);
		CHECK_STR(rig_story(rig),
				late ? "=B2>A +B2 -B2:none KB2" : "=B2>A +B2 -B2:client_closed");
		CHECK_EQ(rig_state(rig, b), late ? MQT_CHAN_FREE : MQT_CHAN_RETAINED);
		CHECK_EQ(rig_counter(rig, MQT_C_UNEXPECTED_MSG), 0);
		c = rig_connect(rig, 0, again);
		CHECK_EQ(c->n_resumes, !late);
		rig_check_end(rig);
	}
	check_row = "";
}

/* --- a second channel of the id ---------------------------------------------------------------- */

/* Two channels, as after a breach; the older one's owner says nothing for a whole limit. */
static void
test_session_that_was_handed_over_outlasts_a_silent_second_channel(void)
{
	static const struct {
		const char *name;
		uint32_t expiry_sec, max_retained;
	} rows[] = {
		{ "no expiry", 0, 64 },
		{ "nothing may be retained", 3600, 0 },
		{ "neither", 0, 0 },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct rig_open how = but_expiry(first, rows[i].expiry_sec);
		struct rig *rig = rig_create((struct rig_params){ 3, 64, 64, 256 });
		struct rig_conn *a = rig_connect(rig, 0, how), *c;
		struct rig_conn *b = rig_conn_make(rig, 1, &how);
		struct mqt_session *session = b->session;

		check_row = rows[i].name;
		rig->config.limits.max_retained = rows[i].max_retained;
		mqt_role_control_assert();
		rig->n_opens++;
		CHECK_EQ(mqt_cm_register(rig->cm, b->id, b->info, rig->now_ns), 0);
		rig_story(rig);
		c = rig_open(rig, 2, again);
		silence(rig, 0, 490);
		CHECK(b->over);
		CHECK_EQ(c->n_grants, 0);
		CHECK_EQ(mqt_cm_retained_count(rig->cm), 0);
		silence(rig, 0, 20);
		rig_poll(rig, 2, 100);
		CHECK(rig_slot_is(rig, a, MQT_SLOT_KILLED));
		CHECK_EQ(c->n_resumes, 1);
		CHECK(c->session == session);
		CHECK_STR(rig_story(rig), "-B2:taken_over -A1:killed dA1>C tB2>C =C3>B +C3>B");
		CHECK_EQ(rig_counter(rig, MQT_C_SESSION_EVICTED), 0);
		CHECK_EQ(rig_counter(rig, MQT_C_SESSION_EXPIRED), 0);
		rig_settle(rig);
		rig_check_end(rig);
	}
	check_row = "";
}

/* The newcomer leaves meanwhile: the session is retained, and its time counts from its flow's end. */
static void
test_session_of_a_newcomer_that_leaves_while_others_are_silent_is_retained(void)
{
	struct rig *rig = rig_create((struct rig_params){ 3, 64, 64, 256 });
	struct rig_open how = but_expiry(first, 1);
	struct rig_conn *b, *c;
	uint64_t end_ns;

	rig_connect(rig, 0, how);
	b = rig_conn_make(rig, 1, &how);
	mqt_role_control_assert();
	rig->n_opens++;
	CHECK_EQ(mqt_cm_register(rig->cm, b->id, b->info, rig->now_ns), 0);
	c = rig_open(rig, 2, again);
	while (!b->over)
		silence(rig, 0, 1);
	end_ns = rig->now_ns;
	rig_end(rig, c);
	silence(rig, 0, 600);
	CHECK_EQ(rig_state(rig, b), MQT_CHAN_RETAINED);
	CHECK_EQ(c->n_grants, 0);
	rig->now_ns = end_ns + MQT_NS_PER_SEC - 1;
	rig_turn(rig, 0);
	CHECK_EQ(rig_state(rig, b), MQT_CHAN_RETAINED);
	rig->now_ns++;
	rig_turn(rig, 0);
	CHECK_EQ(rig_state(rig, b), MQT_CHAN_FREE);
	rig_settle(rig);
	rig_check_end(rig);
}

/* --- a newcomer that leaves as it is granted --------------------------------------------------- */

/* The client resets while GRANT is in flight: what was announced is taken back, or is retained. */
static void
test_newcomer_that_leaves_as_it_is_granted(void)
{
	static const struct {
		const char *name;
		bool inherits;
		struct rig_open how;
		bool retained;
		const char *story;
	} rows[] = {
		{ "a session of its own", false, { .clientid = "a", .expiry_sec = 60 }, true,
				"*A1 +A1 -A1:client_reset" },
		{ "one that was never seen", false,
				{ .clientid = "a",
						.resume = true,
						.present = true,
						.expiry_sec = 60 },
				true, "aA1 +A1 -A1:client_reset" },
		{ "3.1.1", false, { .clientid = "a", .resume = true, .proto_ver = 4 }, true,
				"*A1 +A1 -A1:client_reset" },
		{ "3.1.1, clean session", false, { .clientid = "a", .proto_ver = 4 }, false,
				"*A1 +A1 -A1:client_reset" },
		{ "no expiry", false, { .clientid = "a" }, false, "*A1 +A1 -A1:client_reset" },
		{ "inherited", true,
				{ .clientid = "a",
						.resume = true,
						.present = true,
						.expiry_sec = 60 },
				true, "=B2>A +B2 -B2:client_reset" },
		{ "inherited, no expiry", true,
				{ .clientid = "a", .resume = true, .present = true }, false,
				"=B2>A +B2 -B2:client_reset dB2" },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct rig *rig = rig_create(small);
		struct rig_conn *b, *c;
		uint64_t end_ns;

		check_row = rows[i].name;
		if (rows[i].inherits)
			retain(rig, 0, first);
		rig_story(rig);
		b = rig_open(rig, 1, rows[i].how);
		rig_turn(rig, 1);
		mqt_slot_leave(&rig_slot_of(rig, b->id)->slot, b->id, MQT_SLOT_CLOSED);
		rig_down(rig, b, MQT_REASON_CLIENT_RESET);
		end_ns = rig->now_ns;
		rig_settle(rig);
		CHECK_EQ(rig_counter(rig, MQT_C_RETURNED), 1);
		CHECK_STR(rig_story(rig), rows[i].story);
		CHECK_EQ(mqt_cm_retained_count(rig->cm), rows[i].retained);
		CHECK_EQ(rig_state(rig, b), rows[i].retained ? MQT_CHAN_RETAINED : MQT_CHAN_FREE);
		CHECK_EQ(rig_sizes(rig).channels, rows[i].retained);
		if (rows[i].retained && rows[i].how.expiry_sec) {
			rig->now_ns = end_ns + 60 * MQT_NS_PER_SEC - 1;
			rig_turn(rig, 0);
			c = rig_open(rig, 0, again);
			rig_turn(rig, 0);
			rig_settle(rig);
			CHECK_EQ(c->n_resumes, 1);
		}
		rig_check_end(rig);
	}
	check_row = "";
}

/* --- clean start and several brokers ----------------------------------------------------------- */

/* Sessions on two brokers; a clean start ends the one of its own. */
static void
test_clean_start_ends_the_session_of_its_own_broker_only(void)
{
	struct rig *rig = rig_create(small);
	struct rig_open there = first, back = again;
	struct rig_conn *a = retain(rig, 0, first), *b, *c, *d;
	struct mqt_session *session;

	there.broker = back.broker = 1;
	b = rig_connect(rig, 0, there);
	session = b->session;
	rig_end(rig, b);
	rig_settle(rig);
	CHECK_EQ(mqt_cm_retained_count(rig->cm), 2);
	rig_story(rig);
	c = rig_connect(rig, 1, (struct rig_open){ .clientid = "a" });
	CHECK(rig_live(rig, c));
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_FREE);
	CHECK_EQ(rig_state(rig, b), MQT_CHAN_RETAINED);
	CHECK_STR(rig_story(rig), "dA1>C bC3>B *C3 +C3");
	rig_end(rig, c);
	rig_settle(rig);
	rig_story(rig);
	d = rig_connect(rig, 1, back);
	CHECK_EQ(d->n_resumes, 1);
	CHECK(d->session == session);
	CHECK_STR(rig_story(rig), "=D4>B +D4");
	rig_check_end(rig);
}

/* What stayed behind expires at its time, whoever is connected elsewhere. */
static void
test_session_left_behind_by_a_clean_start_expires(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = retain(rig, 0, but_expiry(first, 10)), *b;

	b = rig_connect(rig, 1, (struct rig_open){ .clientid = "a", .broker = 1 });
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_RETAINED);
	rig_story(rig);
	rig->now_ns += 10 * MQT_NS_PER_SEC;
	rig_settle(rig);
	CHECK_STR(rig_story(rig), "xA1:expired");
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_FREE);
	CHECK(rig_live(rig, b));
	rig_check_end(rig);
}

static CU_TestInfo miss_tests[] = {
	T(kill_that_misses_waits_for_the_session),
	T(answer_that_nobody_has_read_yet_brings_the_pendings),
	T(closed_channel_of_a_stalled_worker_is_waited_for),
	T(unanswered_grant_of_a_closed_newcomer_leaves_the_session),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo second_tests[] = {
	T(session_that_was_handed_over_outlasts_a_silent_second_channel),
	T(session_of_a_newcomer_that_leaves_while_others_are_silent_is_retained),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo granted_tests[] = {
	T(newcomer_that_leaves_as_it_is_granted),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo broker_tests[] = {
	T(clean_start_ends_the_session_of_its_own_broker_only),
	T(session_left_behind_by_a_clean_start_expires),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "a kill that misses", NULL, NULL, NULL, NULL, miss_tests },
	{ "a second channel", NULL, NULL, NULL, NULL, second_tests },
	{ "a newcomer as it is granted", NULL, NULL, NULL, NULL, granted_tests },
	{ "clean start and brokers", NULL, NULL, NULL, NULL, broker_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
