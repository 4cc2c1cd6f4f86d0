/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_rig.h"

#include <rte_common.h>

/*
 * Sessions at the channel manager: takeover, retained sessions, their expiry, what a newcomer does
 * with what it finds; inspection; policies.
 */

static const struct rig_params small = { 2, 64, 64, 256 };

/* A client with a session of an hour. */
static const struct rig_open first = {
	.clientid = "a", .resume = true, .expiry_sec = 3600, .session = true
};
/* It comes again, and its broker has the session. */
static const struct rig_open again = {
	.clientid = "a", .resume = true, .present = true, .expiry_sec = 3600
};

static struct rig_open
but_expiry(struct rig_open how, uint32_t expiry_sec)
{
	how.expiry_sec = expiry_sec;
	return how;
}

/* Opens, sees it through, ends; what is left is a retained session. */
static struct rig_conn *
retain(struct rig *rig, unsigned w, struct rig_open how)
{
	struct rig_conn *conn = rig_connect(rig, w, how);

	rig_end(rig, conn);
	rig_settle(rig);
	return conn;
}

/* --- takeover --------------------------------------------------------------------------------- */

static void
test_resume_takes_over_in_two_steps(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, first);
	struct mqt_session *session = a->session;
	struct rig_conn *b = rig_open(rig, 1, again);

	rig_story(rig);
	a->pendings = calloc(1, sizeof(*a->pendings) + sizeof(uint16_t));
	a->pendings->n = 1;
	a->pendings->packet_id[0] = 7;
	rig_turn(rig, 1);
	rig_poll(rig, 0, 100);
	CHECK_EQ(a->action, MQT_STEPDOWN_TAKEOVER_BEGIN);
	CHECK(a->frozen);
	CHECK(!a->over);
	rig_turn(rig, 1);
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_CONNECTED); /* frozen, not yet down */
	rig_poll(rig, 1, 100);
	CHECK_EQ(b->n_grants, 0);
	rig_poll(rig, 0, 100);
	CHECK_EQ(a->action, MQT_STEPDOWN_TAKEOVER_END);
	CHECK(a->over);
	rig_turn(rig, 1);
	rig_poll_all(rig);
	CHECK_EQ(b->n_grants, 1);
	CHECK_EQ(b->n_resumes, 1);
	CHECK(b->session == session);
	if (b->session) {
		struct mqt_session_counts counts;

		mqt_session_counts(b->session, &counts);
		CHECK_EQ(counts.pendings, 1);
	}
	rig_settle(rig);
	CHECK_EQ(a->n_stepdowns, 2);
	CHECK_EQ(a->n_releases, 1);
	CHECK_EQ(rig_sizes(rig).channels, 1);
	CHECK_STR(rig_story(rig), "-A1:taken_over tA1>B =B2>A +B2>A");
	CHECK_STR(rig->registry, "+A +B -A"); /* readers never see no channel (R9) */
	CHECK_EQ(rig_counter(rig, MQT_C_TAKEOVERS), 1);
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_RESUMED), 1);
	CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWNS), 2);
	CHECK_EQ(rig_counter(rig, MQT_C_DISCARDED), 0);
	rig_check_end(rig);
}

/* What an owner does with begin and end, and what becomes of the session. */
static void
test_outcomes_of_a_takeover(void)
{
	static const struct {
		const char *name;
		enum rig_answer begin, end;
		uint64_t ms; /* until it is over */
		unsigned n_resumes, kills, lost, session_discarded;
		const char *story;
	} rows[] = {
		{ "both answered", RIG_ANSWER_OK, RIG_ANSWER_OK, 0, 1, 0, 0, 0,
				"-A1:taken_over tA1>B =B2>A +B2>A" },
		{ "begin never", RIG_ANSWER_NEVER, RIG_ANSWER_OK, 500, 0, 1, 1, 0,
				"-A1:killed KA1>B aB2 +B2>A" },
		{ "begin an error", RIG_ANSWER_ERROR, RIG_ANSWER_OK, 0, 0, 1, 1, 0,
				"-A1:killed KA1>B aB2 +B2>A" },
		{ "end never", RIG_ANSWER_OK, RIG_ANSWER_NEVER, 500, 0, 1, 0, 1,
				"-A1:killed dA1>B aB2 +B2>A" },
		{ "end an error", RIG_ANSWER_OK, RIG_ANSWER_ERROR, 0, 0, 1, 0, 1,
				"-A1:killed dA1>B aB2 +B2>A" },
		{ "end a lie", RIG_ANSWER_OK, RIG_ANSWER_LIE, 0, 0, 1, 0, 1,
				"-A1:killed dA1>B aB2 +B2>A" },
		{ "neither true", RIG_ANSWER_LIE, RIG_ANSWER_LIE, 0, 0, 1, 0, 0,
				"-A1:killed dA1>B aB2 +B2>A" },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct rig *rig = rig_create(small);
		struct rig_conn *a = rig_connect(rig, 0, first), *b;

		check_row = rows[i].name;
		rig_story(rig);
		rig->owners[0].answer = rows[i].begin;
		rig->owners[0].end_answer = rows[i].end;
		b = rig_open(rig, 1, again);
		for (unsigned t = 0; t < 3; t++) {
			rig_turn(rig, 1);
			rig_poll(rig, 0, 100);
		}
		for (uint64_t ms = 3; ms + 3 < rows[i].ms; ms++) {
			rig_turn(rig, 1);
			rig_poll(rig, 1, 100);
			CHECK_EQ(b->n_grants, 0);
		}
		for (unsigned t = 0; t < 6; t++) {
			rig_turn(rig, 1);
			rig_poll(rig, 1, 100);
		}
		CHECK_EQ(b->n_grants, 1);
		CHECK_EQ(b->n_resumes, rows[i].n_resumes);
		CHECK_STR(rig_story(rig), rows[i].story);
		CHECK_EQ(rig_counter(rig, MQT_C_KILLS), rows[i].kills);
		CHECK_EQ(rig_slot_is(rig, a, MQT_SLOT_KILLED), rows[i].kills);
		CHECK_EQ(rig_counter(rig, MQT_C_SESSION_LOST_BY_KILL), rows[i].lost);
		CHECK_EQ(rig_counter(rig, MQT_C_SESSION_DISCARDED), rows[i].session_discarded);
		rig_settle(rig);
		CHECK_EQ(rig_sizes(rig).channels, 1);
		CHECK_EQ(rig_counter(rig, MQT_C_UNEXPECTED_MSG), 0);
		CHECK_EQ(a->n_releases, 1);
		rig_check_end(rig);
	}
	check_row = "";
}

/* --- retained sessions ------------------------------------------------------------------------ */

static void
test_closed_channel_stays_as_a_retained_session(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, first);
	struct mqt_cm_gauge g[MQT_CM_N_GAUGES];

	rig_end(rig, a);
	rig_turn(rig, 1);
	rig_poll_all(rig);
	CHECK_EQ(a->n_releases, 1); /* a session occupies no slot */
	CHECK(a->kept);
	CHECK(!rig_busy(rig));
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_RETAINED);
	CHECK(!rig_live(rig, a));
	CHECK_EQ(mqt_cm_retained_count(rig->cm), 1);
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_RETAINED), 1);
	mqt_cm_gauges(rig->cm, g);
	CHECK_EQ(g[0].count, 1);
	CHECK_EQ(g[1].count, 1);
	CHECK_EQ(g[2].count, 0);
	CHECK_EQ(g[3].count, 0);
	CHECK_EQ(g[2].max, 1);
	CHECK_STR(rig_story(rig), "*A1 +A1 -A1:client_closed");
	rig_check_end(rig);
}

static void
test_channel_without_expiry_is_not_retained(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = retain(rig, 0, but_expiry(first, 0));

	CHECK_EQ(rig_state(rig, a), MQT_CHAN_FREE);
	CHECK_EQ(mqt_cm_retained_count(rig->cm), 0);
	rig_check_end(rig);
}

/* What a newcomer does with a retained session. */
static void
test_what_a_newcomer_finds(void)
{
	static const struct {
		const char *name;
		struct rig_open how;
		unsigned n_resumes, n_retained;
		enum mqt_control_counter counter;
		const char *story;
	} rows[] = {
		{ "same broker, present", { .clientid = "a", .resume = true, .present = true }, 1,
				0, MQT_C_SESSION_RESUMED, "=B2>A +B2" },
		{ "same broker, not present", { .clientid = "a", .resume = true }, 0, 0,
				MQT_C_SESSION_LOST_BY_BROKER, "lB2>A *B2 +B2" },
		{ "3.1 has no flag", { .clientid = "a", .resume = true, .proto_ver = 3 }, 1, 0,
				MQT_C_SESSION_RESUMED, "=B2>A +B2" },
		{ "3.1.1 has one", { .clientid = "a", .resume = true, .proto_ver = 4 }, 0, 0,
				MQT_C_SESSION_LOST_BY_BROKER, "lB2>A *B2 +B2" },
		{ "other broker", { .clientid = "a", .resume = true, .broker = 1 }, 0, 1,
				MQT_C_SESSION_LEFT_BEHIND, "bB2>A *B2 +B2" },
		{ "other broker, present",
				{ .clientid = "a", .resume = true, .present = true, .broker = 1 },
				0, 1, MQT_C_SESSION_ADOPTED, "bB2>A aB2 +B2" },
		{ "clean start", { .clientid = "a" }, 0, 0, MQT_C_SESSION_DISCARDED,
				"dA1>B *B2 +B2" },
		{ "clean start elsewhere", { .clientid = "a", .broker = 1 }, 0, 0,
				MQT_C_SESSION_DISCARDED, "dA1>B *B2 +B2" },
		{ "another client", { .clientid = "b", .resume = true, .present = true }, 0, 1,
				MQT_C_SESSION_ADOPTED, "aB1 +B1" },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct rig *rig = rig_create(small);
		struct rig_conn *b;

		check_row = rows[i].name;
		retain(rig, 0, first);
		rig_story(rig);
		b = rig_connect(rig, 1, rows[i].how);
		CHECK_EQ(b->n_grants, 1);
		CHECK_EQ(b->n_resumes, rows[i].n_resumes);
		CHECK_EQ(b->n_resumes, b->session != NULL);
		CHECK_EQ(mqt_cm_retained_count(rig->cm), rows[i].n_retained);
		CHECK_EQ(rig_sizes(rig).channels, 1 + rows[i].n_retained);
		CHECK_EQ(rig_counter(rig, rows[i].counter), 1);
		CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWNS), 0);
		CHECK_STR(rig_story(rig), rows[i].story);
		rig_check_end(rig);
	}
	check_row = "";
}

static CU_TestInfo takeover_tests[] = {
	{ "resume_takes_over_in_two_steps", test_resume_takes_over_in_two_steps },
	{ "outcomes_of_a_takeover", test_outcomes_of_a_takeover },
	CU_TEST_INFO_NULL,
};

static CU_TestInfo retained_tests[] = {
	{ "closed_channel_stays_as_a_retained_session",
			test_closed_channel_stays_as_a_retained_session },
	{ "channel_without_expiry_is_not_retained", test_channel_without_expiry_is_not_retained },
	{ "what_a_newcomer_finds", test_what_a_newcomer_finds },
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "takeover", NULL, NULL, NULL, NULL, takeover_tests },
	{ "retained", NULL, NULL, NULL, NULL, retained_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	int rc;

	if (rig_eal_init() < 0)
		return 2;
	mqt_rcu_register();
	rc = check_run(suites);
	mqt_rcu_unregister();
	rte_eal_cleanup();
	return rc;
}
