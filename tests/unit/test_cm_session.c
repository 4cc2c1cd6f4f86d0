/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_rig.h"

#include <rte_common.h>
#include <rte_errno.h>

/*
 * Sessions at the channel manager: takeover, retained sessions, their expiry, what a newcomer does
 * with what it finds.
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
but_broker(struct rig_open how, uint8_t broker)
{
	how.broker = broker;
	return how;
}

static struct rig_open
but_present(struct rig_open how, bool present)
{
	how.present = present;
	return how;
}

static struct rig_open
but_expiry(struct rig_open how, uint32_t expiry_sec)
{
	how.expiry_sec = expiry_sec;
	return how;
}

static struct rig_open
but_clean(struct rig_open how)
{
	how.resume = false;
	how.present = false;
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

struct cmd {
	struct mqt_cm_cmd cmd; /* first */
	unsigned n_done;
};

static void
cmd_done(struct mqt_cm_cmd *cmd)
{
	((struct cmd *)cmd)->n_done++;
}

/* The maps refuse so many insertions, as if two tables did not agree. */
static unsigned refuse_inserts;

struct mqt_chan *__real_mqt_maps_insert(struct mqt_maps *maps, mqt_chan_id id,
		struct mqt_info *info, uint64_t stamp_ns, uint64_t now_ns, uint64_t wall_ns,
		uint64_t epoch);
struct mqt_chan *__wrap_mqt_maps_insert(struct mqt_maps *maps, mqt_chan_id id,
		struct mqt_info *info, uint64_t stamp_ns, uint64_t now_ns, uint64_t wall_ns,
		uint64_t epoch);

struct mqt_chan *
__wrap_mqt_maps_insert(struct mqt_maps *maps, mqt_chan_id id, struct mqt_info *info,
		uint64_t stamp_ns, uint64_t now_ns, uint64_t wall_ns, uint64_t epoch)
{
	if (refuse_inserts > 0) {
		refuse_inserts--;
		rte_errno = ENOSPC;
		return NULL;
	}
	return __real_mqt_maps_insert(maps, id, info, stamp_ns, now_ns, wall_ns, epoch);
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

/* The owner's channel has ended by itself when begin arrives: read the channel again (R3). */
static void
test_channel_that_closed_before_begin_is_resumed(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, first), *b;
	struct mqt_session *session = a->session;

	rig_story(rig);
	b = rig_open(rig, 1, again);
	rig_turn(rig, 1); /* begin is on its way */
	rig_end(rig, a);  /* CLOSED before the answer */
	rig_settle(rig);
	CHECK_EQ(a->n_stepdowns, 1);
	CHECK_EQ(b->n_resumes, 1);
	CHECK(b->session == session);
	CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWN_NOPROC), 1);
	CHECK_EQ(rig_counter(rig, MQT_C_TAKEOVERS), 0);
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_LOST_BY_KILL), 0);
	CHECK_STR(rig_story(rig), "-A1:client_closed =B2>A +B2>A");
	rig_check_end(rig);
}

static void
test_channel_that_is_down_before_begin_leaves_nothing(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, but_expiry(first, 0)), *b;

	rig_story(rig);
	b = rig_open(rig, 1, but_present(again, false));
	rig_turn(rig, 1);
	rig_end(rig, a);
	rig_settle(rig);
	CHECK_EQ(b->n_grants, 1);
	CHECK_EQ(b->n_resumes, 0);
	CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWN_NOPROC), 1);
	CHECK_EQ(rig_counter(rig, MQT_C_KILLS), 0);
	CHECK_STR(rig_story(rig), "-A1:client_closed *B2 +B2>A");
	rig_check_end(rig);
}

static void
test_frozen_flow_that_ends_by_itself_keeps_its_session(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, first), *b;

	rig_story(rig);
	b = rig_open(rig, 1, again);
	rig_turn(rig, 1);
	rig_poll(rig, 0, 100); /* begin */
	rig_end(rig, a);       /* DOWN: the session has gone already */
	rig_settle(rig);       /* end: noproc */
	CHECK_EQ(a->n_stepdowns, 2);
	CHECK_EQ(b->n_resumes, 1);
	CHECK_STR(rig_story(rig), "-A1:client_closed tA1>B =B2>A +B2>A");
	rig_check_end(rig);
}

/* The owner answers, but too late. */
static void
test_answers_after_the_kill_change_nothing(void)
{
	for (unsigned step = 1; step <= 2; step++) {
		struct rig *rig = rig_create(small);
		struct rig_conn *a = rig_connect(rig, 0, first), *b;

		check_row = step == 1 ? "begin" : "end";
		b = rig_open(rig, 1, again);
		for (unsigned i = 0; i < step; i++) {
			rig_turn(rig, 1);
			if (i + 1 < step)
				rig_poll(rig, 0, 100);
		}
		for (unsigned i = 0; i < 510; i++) {
			rig_turn(rig, 1);
			rig_poll(rig, 1, 100);
		}
		CHECK_EQ(b->n_grants, 1);
		CHECK_EQ(b->n_resumes, 0);
		CHECK(rig_slot_is(rig, a, MQT_SLOT_KILLED));
		CHECK_EQ(a->frozen, step == 2);
		rig_settle(rig);
		CHECK_EQ(a->n_releases, 1);
		CHECK_EQ(b->n_resumes, 0);
		CHECK(rig_live(rig, b));
		CHECK_EQ(rig_counter(rig, MQT_C_UNEXPECTED_MSG), 0);
		CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWN_TIMEOUT), 1);
		CHECK_EQ(rig_n_sessions, 0);
		rig_check_end(rig);
	}
	check_row = "";
}

/* An answer with a session is in the ring while its limit passes. */
static void
test_session_that_comes_after_the_kill_is_destroyed(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, first);
	struct mqt_msg late = { .type = MQT_MSG_STEPDOWN_DONE,
		.action = MQT_STEPDOWN_TAKEOVER_BEGIN,
		.session = a->session };

	rig->owners[0].answer = RIG_ANSWER_NEVER;
	rig_open(rig, 1, again);
	for (unsigned i = 0; i < 510; i++) {
		rig_turn(rig, 1);
		rig_poll_all(rig);
	}
	CHECK_EQ(rig_n_sessions, 0); /* killed, found by its owner */
	late.session = rig_session_new();
	rig_session_give(late.session);
	rig_post(rig, a, late);
	rig_settle(rig);
	CHECK_EQ(rig_n_sessions, 0);
	CHECK_EQ(rig_counter(rig, MQT_C_UNEXPECTED_MSG), 0);
	rig_check_end(rig);
}

/* A kill that comes too late: the flow has closed by itself, but its owner hangs. */
static void
test_kill_that_misses_at_begin_loses_the_session_too(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, first), *b;

	rig_story(rig);
	b = rig_open(rig, 1, again);
	rig_turn(rig, 1);
	rig_close(rig, a);
	for (unsigned i = 0; i < 510; i++) {
		rig_turn(rig, 1);
		rig_poll(rig, 1, 100);
	}
	CHECK_EQ(b->n_grants, 1);
	CHECK_EQ(rig_counter(rig, MQT_C_KILL_MISSED), 1);
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_LOST_BY_KILL), 1);
	rig_settle(rig); /* CLOSED comes now */
	CHECK_EQ(rig_n_sessions, 0);
	CHECK_EQ(a->n_releases, 1);
	CHECK_STR(rig_story(rig), "-A1:taken_over KA1>B aB2 +B2>A");
	rig_check_end(rig);
}

static void
test_resume_of_an_orphan_kills_it(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, first), *b;

	atomic_store(&rig->owners[0].heartbeat_ns, rig->now_ns);
	for (unsigned i = 0; i < 1200; i++) {
		rig_turn(rig, 1);
		rig_poll(rig, 1, 100);
	}
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_ORPHANED);
	rig_story(rig);
	b = rig_open(rig, 1, again);
	rig_turn(rig, 1);
	rig_poll(rig, 1, 100);
	CHECK_EQ(b->n_grants, 1);
	CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWNS), 0);
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_LOST_BY_KILL), 1);
	CHECK_STR(rig_story(rig), "-A1:killed KA1>B aB2 +B2>A");
	atomic_store(&rig->owners[0].heartbeat_ns, 0);
	rig_settle(rig);
	rig_check_end(rig);
}

/* I7: wherever the newcomer dies, the session is there afterwards, and whoever comes next has it. */
static void
test_newcomer_dies_in_each_step(void)
{
	static const char *const steps[] = { "as it comes", "before begin is answered",
		"before end is answered", "after its grant", "after its grant, by DOWN" };

	for (unsigned step = 0; step < RTE_DIM(steps); step++) {
		struct rig *rig = rig_create(small);
		struct rig_conn *a = rig_connect(rig, 0, first), *b, *c;
		struct mqt_session *session = a->session;

		check_row = steps[step];
		rig->owners[1].plain_down = step == 4;
		b = rig_open(rig, 1, again);
		for (unsigned i = 0; i < RTE_MIN(step, 3u); i++) {
			rig_turn(rig, 1);
			rig_poll(rig, 0, 100);
		}
		CHECK_EQ(a->n_stepdowns, RTE_MIN(step, 2u));
		rig_end(rig, b);
		for (unsigned i = 0; i < 3; i++) {
			rig_turn(rig, 1);
			rig_poll_all(rig);
		}
		rig_settle(rig);
		CHECK_EQ(b->n_releases, 1);
		CHECK_EQ(b->n_grants, step >= 3);
		CHECK_EQ(rig_counter(rig, MQT_C_RETURNED), step >= 3);
		CHECK_EQ(mqt_cm_retained_count(rig->cm), step > 0);
		CHECK_EQ(rig_state(rig, step >= 3 ? b : a),
				step ? MQT_CHAN_RETAINED : MQT_CHAN_CONNECTED);
		CHECK_EQ(rig_sizes(rig).channels, 1);
		rig->owners[1].plain_down = false;
		c = rig_connect(rig, 1, again);
		CHECK_EQ(c->n_resumes, 1);
		CHECK(c->session == session);
		CHECK_EQ(mqt_cm_retained_count(rig->cm), 0);
		rig_check_end(rig);
	}
	check_row = "";
}

static void
test_newcomer_without_expiry_that_is_gone_takes_the_session_along(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *b;

	retain(rig, 0, first);
	b = rig_open(rig, 1, but_expiry(again, 0));
	rig_turn(rig, 1);
	rig_end(rig, b);
	rig_settle(rig);
	CHECK_EQ(rig_counter(rig, MQT_C_RETURNED), 1);
	CHECK_EQ(rig_n_sessions, 0);
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_DISCARDED), 1);
	CHECK_EQ(rig_sizes(rig).channels, 0);
	rig_check_end(rig);
}

static void
test_grant_without_answer_loses_the_session_with_its_owner(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *b;

	retain(rig, 0, first);
	rig_story(rig);
	rig_open(rig, 1, again);
	b = rig->owners[1].slots[0].conn;
	for (unsigned i = 0; i < 510; i++)
		rig_turn(rig, 1);
	CHECK_EQ(rig_state(rig, b), MQT_CHAN_FREE);
	CHECK_STR(rig_story(rig), "=B2>A +B2 -B2:killed KB2");
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_LOST_BY_KILL), 1);
	rig_settle(rig); /* it wakes up and sends the session back */
	CHECK_EQ(rig_n_sessions, 0);
	CHECK_EQ(rig_counter(rig, MQT_C_UNEXPECTED_MSG), 0);
	rig_check_end(rig);
}

/* A newer newcomer comes during begin, or during end. */
static void
test_superseded_during_a_takeover(void)
{
	for (unsigned step = 1; step <= 2; step++) {
		struct rig *rig = rig_create(small);
		struct rig_conn *a = rig_connect(rig, 0, first), *b, *c;
		struct mqt_session *session = a->session;

		check_row = step == 1 ? "during begin" : "during end";
		rig_story(rig);
		b = rig_open(rig, 1, again);
		rig_turn(rig, 1);
		for (unsigned i = 1; i < step; i++) {
			rig_poll(rig, 0, 100);
			rig_turn(rig, 1);
		}
		c = rig_open(rig, 1, again);
		rig_turn(rig, 1);
		CHECK_EQ(b->n_refusals, 0);
		rig_settle(rig);
		CHECK_EQ(a->n_stepdowns, 2); /* the superseded one has none of its own */
		CHECK_EQ(b->n_refusals, 1);
		CHECK_EQ(b->reason, MQT_REASON_SUPERSEDED);
		CHECK_EQ(c->n_resumes, 1);
		CHECK(c->session == session);
		CHECK_STR(rig_story(rig), "-A1:taken_over sB2>C tA1>C =C2>A +C2>A");
		rig_check_end(rig);
	}
	check_row = "";
}

/* A clean start that supersedes a resume finds the session it does not want. */
static void
test_clean_start_supersedes_a_takeover(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *c;

	rig_connect(rig, 0, first);
	rig_story(rig);
	rig_open(rig, 1, again);
	rig_turn(rig, 1);
	c = rig_open(rig, 1, but_clean(again));
	rig_settle(rig);
	CHECK_EQ(c->n_grants, 1);
	CHECK_EQ(c->n_resumes, 0);
	CHECK_EQ(rig_n_sessions, 0);
	CHECK_STR(rig_story(rig), "-A1:taken_over sB2>C dA1>C *C2 +C2>A");
	rig_check_end(rig);
}

/* Two channels of one id, as after a breach: the newest is taken over, the stale one discarded. */
static void
test_stale_channels_are_discarded_by_a_resume(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, first), *c;
	struct rig_conn *b = rig_conn_make(rig, 1, &first);
	struct mqt_session *session = b->session;

	mqt_role_control_assert();
	rig->n_opens++;
	CHECK_EQ(mqt_cm_register(rig->cm, b->id, b->info, rig->now_ns), 0);
	rig_story(rig);
	c = rig_connect(rig, 1, again);
	CHECK_EQ(a->action, MQT_STEPDOWN_DISCARD);
	CHECK_EQ(a->n_stepdowns, 1);
	CHECK_EQ(b->action, MQT_STEPDOWN_TAKEOVER_END);
	CHECK_EQ(b->n_stepdowns, 2);
	CHECK_EQ(c->n_resumes, 1);
	CHECK(c->session == session);
	CHECK_EQ(rig_n_sessions, 1);
	CHECK_EQ(rig_counter(rig, MQT_C_STALE_CHANNELS), 1);
	CHECK_EQ(rig_sizes(rig).channels, 1);
	CHECK_STR(rig_story(rig), "-A1:discarded dA1>C -B2:taken_over tB2>C =C3>B +C3>B");
	rig_check_end(rig);
}

/* The expiry of the older connection is 0: only a broker that lets it go on makes it inherited. */
static void
test_takeover_of_a_session_that_ends_with_its_connection(void)
{
	static const struct {
		const char *name;
		bool present, session;
		uint8_t broker;
		unsigned n_resumes, n_discarded;
		const char *story;
	} rows[] = {
		{ "goes on", true, true, 0, 1, 0, "-A1:taken_over tA1>B =B2>A +B2>A" },
		{ "goes on, empty", true, false, 0, 1, 0, "-A1:taken_over tA1>B =B2>A +B2>A" },
		{ "ends", false, true, 0, 0, 1, "-A1:taken_over *B2 +B2>A" },
		{ "ends, empty", false, false, 0, 0, 0, "-A1:taken_over *B2 +B2>A" },
		{ "ends elsewhere", false, true, 1, 0, 1, "-A1:taken_over *B2 +B2>A" },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct rig *rig = rig_create(small);
		struct rig_open how = but_expiry(first, 0);
		struct rig_conn *b;

		check_row = rows[i].name;
		how.session = rows[i].session;
		rig_connect(rig, 0, how);
		rig_story(rig);
		b = rig_connect(rig, 1,
				but_broker(but_present(again, rows[i].present), rows[i].broker));
		CHECK_EQ(b->n_resumes, rows[i].n_resumes);
		CHECK_EQ(mqt_cm_retained_count(rig->cm), 0);
		CHECK_EQ(rig_sizes(rig).channels, 1);
		CHECK_EQ(rig_counter(rig, MQT_C_SESSION_DISCARDED), rows[i].n_discarded);
		CHECK_STR(rig_story(rig), rows[i].story);
		rig_check_end(rig);
	}
	check_row = "";
}

static void
test_session_left_behind_by_a_takeover_is_found_on_its_broker(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, first), *b, *c;
	struct mqt_session *session = a->session;

	rig_story(rig);
	b = rig_connect(rig, 1, but_present(but_broker(again, 1), false));
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_RETAINED);
	CHECK_EQ(rig_sizes(rig).channels, 2);
	CHECK(rig_live(rig, b));
	CHECK_STR(rig_story(rig), "-A1:taken_over bB2>A *B2 +B2>A");
	c = rig_connect(rig, 0, again);
	CHECK_EQ(c->n_resumes, 1);
	CHECK(c->session == session);
	CHECK_EQ(rig_state(rig, b), MQT_CHAN_RETAINED); /* behind on the other one, now */
	CHECK_STR(rig_story(rig), "-B2:taken_over bC3>B =C3>A +C3>B");
	CHECK_EQ(rig_sizes(rig).channels, 2);
	CHECK_EQ(rig_sizes(rig).clients, 1);
	rig_check_end(rig);
}

/* A session of expiry 0 is nothing to lose. */
static void
test_kill_of_a_channel_without_expiry_loses_no_session(void)
{
	struct rig *rig = rig_create(small);

	rig_connect(rig, 0, but_expiry(first, 0));
	rig_story(rig);
	rig->owners[0].answer = RIG_ANSWER_ERROR;
	rig_connect(rig, 1, but_present(again, false));
	CHECK_STR(rig_story(rig), "-A1:killed dA1>B *B2 +B2>A");
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_LOST_BY_KILL), 0);
	rig_check_end(rig);
}

/* The maps refuse at the last moment: what the newcomer would have inherited is retained again. */
static void
test_newcomer_that_the_maps_refuse_leaves_the_session(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, first), *b, *c;
	struct mqt_session *session = a->session;

	b = rig_open(rig, 1, again);
	rig_turn(rig, 1);
	rig_poll(rig, 0, 100);
	rig_turn(rig, 1);
	rig_poll(rig, 0, 100);
	refuse_inserts = 1;
	rig_turn(rig, 1);
	CHECK_EQ(refuse_inserts, 0);
	rig_settle(rig);
	CHECK_EQ(b->reason, MQT_REASON_TABLE_FULL);
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_RETAINED);
	CHECK_EQ(a->n_releases, 1);
	c = rig_connect(rig, 1, again);
	CHECK_EQ(c->n_resumes, 1);
	CHECK(c->session == session);
	rig_check_end(rig);
}

/* What is kept of a channel at its end: how long its session lives, and its traffic. */
static void
test_session_taken_over_carries_its_end(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, first);
	struct cmd cmd = { .cmd = { .done = cmd_done } };
	struct mqt_session_final final = { 0 };

	mqt_slot_count(&rig_slot_of(rig, a->id)->slot, MQT_SEND_PKT, 5);
	rig_connect(rig, 1, but_present(but_broker(again, 1), false));
	cmd.cmd.chan = a->id;
	mqt_cm_inspect(rig->cm, &cmd.cmd);
	rig_turn(rig, 1);
	CHECK(cmd.cmd.session != NULL);
	if (cmd.cmd.session)
		mqt_session_final(cmd.cmd.session, &final);
	CHECK_EQ(final.expiry_sec, 3600);
	CHECK_EQ(final.counter[MQT_SEND_PKT], 5);
	CHECK_EQ(final.counter[MQT_RECV_PKT], 0);
	mqt_session_destroy(cmd.cmd.session);
	rig_check_end(rig);
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

/* At exactly the expiry, counted from CLOSED, the session is gone. */
static void
test_session_expires_at_exactly_its_time(void)
{
	static const struct {
		const char *name;
		uint32_t expiry_sec;
		uint64_t after_ns; /* before now, when the flow ended */
		uint64_t wait_ns;
		bool gone;
	} rows[] = {
		{ "before", 10, 0, 10 * MQT_NS_PER_SEC - 1, false },
		{ "exactly", 10, 0, 10 * MQT_NS_PER_SEC, true },
		{ "after", 10, 0, 11 * MQT_NS_PER_SEC, true },
		{ "counted from its end", 10, 3 * MQT_NS_PER_SEC, 7 * MQT_NS_PER_SEC, true },
		{ "before, counted from its end", 10, 3 * MQT_NS_PER_SEC, 7 * MQT_NS_PER_SEC - 1,
				false },
		{ "as long as can be", UINT32_MAX - 1, 0, (UINT32_MAX - 1) * MQT_NS_PER_SEC, true },
		{ "never", UINT32_MAX, 0, UINT32_MAX * (10 * MQT_NS_PER_SEC), false },
	};

	for (unsigned i = 0; i < 2 * RTE_DIM(rows); i++) {
		struct rig *rig = rig_create(small);
		struct rig_conn *a = rig_connect(rig, 0, but_expiry(first, rows[i / 2].expiry_sec));
		uint64_t end_ns = rig->now_ns;
		struct rig_conn *b = NULL;
		bool resume = i % 2;

		check_row = rows[i / 2].name;
		rig_end(rig, a);
		rig->now_ns += rows[i / 2].after_ns;
		rig_turn(rig, 0);
		rig_poll_all(rig);
		CHECK_EQ(rig_state(rig, a), MQT_CHAN_RETAINED);
		rig->now_ns += rows[i / 2].wait_ns;
		CHECK_EQ(rig->now_ns, end_ns + rows[i / 2].after_ns + rows[i / 2].wait_ns);
		rig_story(rig);
		if (resume) /* in the very turn in which it expires */
			b = rig_open(rig, 1, but_present(again, true));
		rig_turn(rig, 0);
		if (resume) {
			rig_poll_all(rig);
			CHECK_EQ(b->n_grants, 1);
			CHECK_EQ(b->n_resumes, !rows[i / 2].gone);
		} else {
			CHECK_EQ(rig_state(rig, a),
					rows[i / 2].gone ? MQT_CHAN_FREE : MQT_CHAN_RETAINED);
			CHECK_STR(rig_story(rig), rows[i / 2].gone ? "xA1:expired" : "");
		}
		CHECK_EQ(rig_counter(rig, MQT_C_SESSION_EXPIRED), rows[i / 2].gone);
		rig_check_end(rig);
	}
	check_row = "";
}

static void
test_expiry_of_3_x_is_the_listeners(void)
{
	static const struct {
		const char *name;
		struct rig_open how;
		bool retained;
	} rows[] = {
		{ "3.1", { .clientid = "a", .resume = true, .proto_ver = 3 }, true },
		{ "3.1.1", { .clientid = "a", .resume = true, .proto_ver = 4 }, true },
		{ "3.1.1, clean session", { .clientid = "a", .proto_ver = 4 }, false },
		{ "5.0", { .clientid = "a", .resume = true }, false },
		{ "anonymous", { .resume = true, .proto_ver = 4 }, false },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct rig *rig = rig_create(small);
		struct rig_conn *a = rig_open(rig, 0, rows[i].how), *b;
		struct rig_open next = rows[i].how;

		/* taken over by another broker's: how long is for the manager to know */
		check_row = rows[i].name;
		rig->config.listeners[0].session_expiry_v3_sec = 5;
		rig_settle(rig);
		next.clientid = "a";
		next.broker = 1;
		b = rig_connect(rig, 1, next);
		CHECK_EQ(b->n_grants, 1);
		CHECK_EQ(mqt_cm_retained_count(rig->cm), rows[i].retained);
		if (rows[i].retained) {
			rig->now_ns += 4 * MQT_NS_PER_SEC;
			rig_turn(rig, 0);
			CHECK_EQ(rig_state(rig, a), MQT_CHAN_RETAINED);
			rig->now_ns += 1 * MQT_NS_PER_SEC;
			rig_turn(rig, 0);
			CHECK_EQ(rig_state(rig, a), MQT_CHAN_FREE);
		}
		rig_check_end(rig);
	}
	check_row = "";
}

static void
test_sessions_expire_in_order_and_in_slices(void)
{
	enum {
		N = 50
	};
	struct rig *rig = rig_create((struct rig_params){ 1, 64, 64, 256 });
	char id[N][8];
	unsigned left;

	rig->config.limits.down_slice = 4;
	for (unsigned i = 0; i < N; i++) {
		snprintf(id[i], sizeof(id[i]), "c%u", i);
		/* 7 and 50 have no common factor: each second once, in no order */
		retain(rig, 0,
				(struct rig_open){ .clientid = id[i],
						.resume = true,
						.expiry_sec = 1000 + i * 7 % N });
	}
	CHECK_EQ(mqt_cm_retained_count(rig->cm), N);
	rig->now_ns += 1000 * MQT_NS_PER_SEC; /* all within 50 s; each closed some ms later */
	for (left = N; left > 40; left--) {
		rig_turn(rig, 0);
		CHECK_EQ(mqt_cm_retained_count(rig->cm), left - 1);
		rig->now_ns += MQT_NS_PER_SEC;
	}
	rig->now_ns += 100 * MQT_NS_PER_SEC;
	for (; left > 0; left -= RTE_MIN(left, 4u)) {
		CHECK_EQ(mqt_cm_retained_count(rig->cm), left);
		rig_turn(rig, 0);
	}
	CHECK_EQ(mqt_cm_retained_count(rig->cm), 0);
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_EXPIRED), N);
	rig_check_end(rig);
}

/* Sessions come and go in the middle; those that stay expire each at its time. */
static void
test_each_session_expires_at_its_own_time(void)
{
	enum {
		N = 200
	};
	struct rig *rig = rig_create((struct rig_params){ 1, N, 2 * N, 1024 });
	struct cmd cmds[N] = { 0 };
	uint32_t expiry_sec[N];
	char id[N][8];
	unsigned left = 0;

	for (unsigned i = 0; i < N; i++) {
		snprintf(id[i], sizeof(id[i]), "c%u", i);
		expiry_sec[i] = 1000 + i * 7919u % 1009;
		rig_open(rig, 0,
				(struct rig_open){
						.clientid = id[i], .expiry_sec = expiry_sec[i] });
	}
	rig_settle(rig);
	for (unsigned i = 0; i < N; i++)
		rig_end(rig, rig->owners[0].slots[i].conn);
	rig_turn(rig, 0);
	for (unsigned i = 0; i < N; i++) {
		if (i * 31 % 5 < 2)
			continue;
		cmds[i].cmd.chan = rig->owners[0].slots[i].conn->id;
		cmds[i].cmd.done = cmd_done;
		expiry_sec[i] = 0;
		mqt_cm_kick(rig->cm, &cmds[i].cmd);
	}
	rig_turn(rig, 0);
	rig->now_ns += 999 * MQT_NS_PER_SEC;
	for (uint32_t sec = 999; sec < 2100; sec++, rig->now_ns += MQT_NS_PER_SEC) {
		rig_turn(rig, 0);
		left = 0;
		for (unsigned i = 0; i < N; i++)
			left += expiry_sec[i] > sec;
		CHECK_EQ(mqt_cm_retained_count(rig->cm), left);
	}
	CHECK_EQ(left, 0);
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_EXPIRED), N * 2 / 5);
	rig_poll_all(rig);
	rig_check_end(rig);
}

static void
test_limit_evicts_the_next_to_expire(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a, *b, *c, *d;

	rig->config.limits.max_retained = 2;
	a = retain(rig, 0, (struct rig_open){ .clientid = "a", .expiry_sec = 100 });
	b = retain(rig, 0, (struct rig_open){ .clientid = "b", .expiry_sec = 50 });
	rig_story(rig);
	c = retain(rig, 0, (struct rig_open){ .clientid = "c", .expiry_sec = UINT32_MAX });
	CHECK_STR(rig_story(rig), "*C1 +C1 -C1:client_closed xB1:evicted");
	CHECK_EQ(rig_state(rig, b), MQT_CHAN_FREE);
	d = retain(rig, 0, (struct rig_open){ .clientid = "d", .expiry_sec = 10 });
	CHECK_STR(rig_story(rig), "*D2 +D2 -D2:client_closed xD2:evicted");
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_RETAINED);
	CHECK_EQ(rig_state(rig, c), MQT_CHAN_RETAINED);
	CHECK_EQ(rig_state(rig, d), MQT_CHAN_FREE);
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_EVICTED), 2);
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_EXPIRED), 0);
	rig_check_end(rig);
}

/* What one turn takes over and inherits needs no room among the retained ones. */
static void
test_takeover_works_where_nothing_is_retained(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *b;

	rig->config.limits.max_retained = 0;
	rig_connect(rig, 0, first);
	b = rig_connect(rig, 1, again);
	CHECK_EQ(b->n_resumes, 1);
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_EVICTED), 0);
	rig_end(rig, b);
	rig_settle(rig);
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_EVICTED), 1);
	CHECK_EQ(rig_sizes(rig).channels, 0);
	rig_check_end(rig);
}

/* Connections come before sessions: in full maps the next to expire makes way. */
static void
test_retained_session_makes_room_for_a_newcomer(void)
{
	struct rig *rig = rig_create((struct rig_params){ 1, 8, 2, 64 });
	struct rig_conn *a = retain(rig, 0, (struct rig_open){ .clientid = "a", .expiry_sec = 9 });
	struct rig_conn *b = retain(rig, 0, (struct rig_open){ .clientid = "b", .expiry_sec = 8 });
	struct rig_conn *c = rig_connect(rig, 0, (struct rig_open){ .clientid = "c" });
	struct rig_conn *d;

	CHECK(rig_live(rig, c));
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_RETAINED);
	CHECK_EQ(rig_state(rig, b), MQT_CHAN_FREE);
	/* to another broker: its own session stays behind, and is the only one that can go */
	d = rig_connect(rig, 0, (struct rig_open){ .clientid = "a", .resume = true, .broker = 1 });
	CHECK(rig_live(rig, d));
	CHECK(rig_live(rig, c));
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_FREE);
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_EVICTED), 2);
	CHECK_EQ(rig_counter(rig, MQT_C_TABLE_FULL), 0);
	d = rig_connect(rig, 0, (struct rig_open){ .clientid = "e" });
	CHECK_EQ(d->reason, MQT_REASON_TABLE_FULL);
	rig_check_end(rig);
}

static void
test_retained_sessions_take_no_connections_place(void)
{
	struct rig *rig = rig_create((struct rig_params){ 1, 16, 8, 64 });
	struct rig_conn *last = NULL;
	char id[4][4];

	rig->config.limits.max_clients = 4; /* and four rows for sessions */
	for (unsigned i = 0; i < 4; i++) {
		snprintf(id[i], sizeof(id[i]), "s%u", i);
		retain(rig, 0, (struct rig_open){ .clientid = id[i], .expiry_sec = 60 });
		id[i][0] = 'c';
	}
	for (unsigned i = 0; i < 4; i++)
		rig_connect(rig, 0, (struct rig_open){ .clientid = id[i] });
	CHECK_EQ(rig_sizes(rig).live, 4);
	CHECK_EQ(mqt_cm_retained_count(rig->cm), 4);
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_EVICTED), 0);
	/* one of the four comes back: one connection too many */
	last = rig_connect(rig, 0, (struct rig_open){ .clientid = "s0", .resume = true });
	CHECK_EQ(last->reason, MQT_REASON_TABLE_FULL);
	CHECK_EQ(mqt_cm_retained_count(rig->cm), 4);
	rig_check_end(rig);
}

static void
test_kick_and_discard_end_a_retained_session(void)
{
	for (unsigned i = 0; i < 4; i++) {
		bool kick = i % 2, by_chan = i / 2;
		struct rig *rig = rig_create(small);
		struct rig_conn *a = retain(rig, 0, first);
		struct cmd cmd = { .cmd = { .done = cmd_done } };

		check_row = kick ? "kick" : "discard";
		rig_story(rig);
		cmd.cmd.digest = a->digest;
		cmd.cmd.chan = by_chan ? a->id : MQT_CHAN_NONE;
		if (kick)
			mqt_cm_kick(rig->cm, &cmd.cmd);
		else
			mqt_cm_discard(rig->cm, &cmd.cmd);
		rig_turn(rig, 1);
		CHECK_EQ(cmd.n_done, 1);
		CHECK_EQ(cmd.cmd.n_outcomes, 1);
		CHECK_EQ(cmd.cmd.outcomes[0].chan, a->id);
		CHECK_EQ(cmd.cmd.outcomes[0].result, 0);
		CHECK_EQ(rig_state(rig, a), MQT_CHAN_FREE);
		CHECK_EQ(rig_n_sessions, 0);
		CHECK_EQ(a->n_stepdowns, 0);
		CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWNS), 0);
		CHECK_STR(rig_story(rig), kick ? "kA1" : "dA1");
		rig_check_end(rig);
	}
	check_row = "";
}

/* The channel has closed by itself when the kick arrives. */
static void
test_kick_that_crosses_closed_ends_the_session(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, first);
	struct cmd cmd = { .cmd = { .done = cmd_done } };

	rig_story(rig);
	cmd.cmd.digest = a->digest;
	mqt_cm_kick(rig->cm, &cmd.cmd);
	rig_turn(rig, 1);
	rig_end(rig, a);
	rig_settle(rig);
	CHECK_EQ(cmd.n_done, 1);
	CHECK_EQ(cmd.cmd.outcomes[0].result, 0);
	CHECK_EQ(rig_sizes(rig).channels, 0);
	CHECK_EQ(rig_n_sessions, 0);
	CHECK_STR(rig_story(rig), "-A1:client_closed kA1");
	rig_check_end(rig);
}

static void
test_kick_waits_for_a_takeover(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, first), *b;
	struct cmd cmd = { .cmd = { .done = cmd_done } };

	rig_story(rig);
	b = rig_open(rig, 1, again);
	rig_turn(rig, 1);
	cmd.cmd.digest = a->digest;
	mqt_cm_kick(rig->cm, &cmd.cmd);
	rig_turn(rig, 1);
	CHECK_EQ(cmd.n_done, 0);
	rig_settle(rig);
	CHECK_EQ(cmd.n_done, 1);
	CHECK_EQ(cmd.cmd.outcomes[0].chan, b->id);
	CHECK_EQ(rig_n_sessions, 0);
	CHECK_EQ(rig_sizes(rig).channels, 0);
	CHECK_STR(rig_story(rig), "-A1:taken_over tA1>B =B2>A +B2>A -B2:kicked kB2");
	rig_check_end(rig);
}

static void
test_unregister_ends_a_retained_session(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = retain(rig, 0, first);

	mqt_role_control_assert();
	CHECK_EQ(mqt_cm_unregister(rig->cm, a->id), 0);
	CHECK_EQ(rig_n_sessions, 0);
	rig_settle(rig);
	CHECK(!rig_busy(rig));
	rig_check_end(rig);
}

static void
test_slot_of_a_retained_channel_is_used_again(void)
{
	struct rig *rig = rig_create((struct rig_params){ 1, 1, 8, 64 });
	struct rig_conn *a = retain(rig, 0, first);
	struct rig_conn *b = rig_connect(rig, 0, (struct rig_open){ .clientid = "b" });
	uint64_t stats[MQT_SLOT_N_COUNTERS];

	CHECK(b && rig_live(rig, b));
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_RETAINED);
	CHECK_EQ(mqt_cm_stats(rig->cm, a->id, stats, NULL), -ENOENT);
	rig->now_ns += 3600 * MQT_NS_PER_SEC;
	rig_settle(rig); /* its info is freed here, the slot is another's */
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_FREE);
	CHECK(rig_live(rig, b));
	CHECK_EQ(a->n_releases, 1);
	rig_check_end(rig);
}

static void
test_session_of_a_newcomer_that_was_never_registered_ends(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_open(rig, 0, first);

	rig_end(rig, a); /* CLOSED in the same turn as OPEN */
	rig_settle(rig);
	CHECK_EQ(rig_n_sessions, 0);
	CHECK_EQ(rig_sizes(rig).channels, 0);
	CHECK_EQ(a->n_releases, 1);
	rig_check_end(rig);
}

static void
test_destroy_frees_what_is_held(void)
{
	struct rig *rig = rig_create(small);

	retain(rig, 0, first);
	rig_connect(rig, 0, (struct rig_open){ .clientid = "b", .expiry_sec = 9, .session = true });
	rig_open(rig, 1, (struct rig_open){ .clientid = "b", .resume = true });
	rig_turn(rig, 1);
	rig_poll(rig, 0, 100);
	rig_turn(rig, 1); /* one in a note */
	rig_end(rig, rig_connect(rig, 1, (struct rig_open){ .clientid = "c", .expiry_sec = 9 }));
	rig_destroy(rig); /* one in a CLOSED that nobody has read */
	CHECK_EQ(rig_n_sessions, 0);
}

/* A storm of CLOSED: noted at once, the rows beyond the limit removed in slices. */
static void
test_storm_of_closed_does_not_hold_up_an_open(void)
{
	enum {
		N = 2000
	};
	struct rig *rig = rig_create((struct rig_params){ 2, N + 8, 2 * N, 4096 });
	struct rig_conn *late;
	static char id[N][8];
	unsigned turns = 0;

	rig->config.limits.down_slice = 16;
	rig->config.limits.max_retained = N / 2;
	for (unsigned i = 0; i < N; i++) {
		snprintf(id[i], sizeof(id[i]), "c%u", i);
		rig_open(rig, 0, (struct rig_open){ .clientid = id[i], .expiry_sec = 1 + i });
		if (i % 500 == 499)
			rig_settle(rig);
	}
	CHECK_EQ(rig_sizes(rig).live, N);
	for (unsigned i = 0; i < N; i++)
		rig_end(rig, rig->owners[0].slots[i].conn);
	late = rig_open(rig, 1, (struct rig_open){ .clientid = "late" });
	rig_turn(rig, 1);
	rig_poll(rig, 1, 10);
	CHECK_EQ(late->n_grants, 1); /* in the turn of the storm */
	CHECK_EQ(rig_sizes(rig).live, 1);
	CHECK_EQ(mqt_cm_retained_count(rig->cm), N / 2);
	CHECK_EQ(rig_sizes(rig).channels, N + 1 - 16); /* one slice is gone */
	while (rig_sizes(rig).channels > N / 2 + 1 && turns++ < N)
		rig_turn(rig, 0);
	CHECK_EQ(turns, N / 2 / 16);
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_EVICTED), N / 2);
	/* those that would expire first are gone, and only those */
	CHECK_EQ(rig_state(rig, rig->owners[0].slots[0].conn), MQT_CHAN_FREE);
	CHECK_EQ(rig_state(rig, rig->owners[0].slots[N / 2 - 1].conn), MQT_CHAN_FREE);
	CHECK_EQ(rig_state(rig, rig->owners[0].slots[N / 2].conn), MQT_CHAN_RETAINED);
	rig_check_end(rig);
}

/* CLOSEDs count among what a turn may drain. */
static void
test_closed_are_drained_in_batches(void)
{
	struct rig *rig = rig_create((struct rig_params){ 1, 64, 64, 256 });

	for (unsigned i = 0; i < 50; i++) {
		char id[8];

		snprintf(id, sizeof(id), "c%u", i);
		rig_open(rig, 0, (struct rig_open){ .clientid = id, .expiry_sec = 9 });
	}
	rig_settle(rig);
	rig->config.limits.down_batch = 8;
	for (unsigned i = 0; i < 50; i++)
		rig_end(rig, rig->owners[0].slots[i].conn);
	for (unsigned n = 8; n < 50; n += 8) {
		rig_turn(rig, 1);
		CHECK_EQ(mqt_cm_retained_count(rig->cm), n);
	}
	rig_settle(rig);
	CHECK_EQ(mqt_cm_retained_count(rig->cm), 50);
	rig_check_end(rig);
}

static void
test_walk_of_sessions(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = retain(rig, 0, first);
	struct rig_conn *b = rig_connect(rig, 0, (struct rig_open){ .clientid = "b" });
	struct rig_conn *c =
			rig_connect(rig, 0, (struct rig_open){ .clientid = "c", .resume = true });
	const struct mqt_chan *row;
	unsigned n_a = 0, n_b = 0, n_c = 0;
	uint32_t pos = 0;

	mqt_rcu_read_lock();
	while ((row = mqt_cm_sessions_next(rig->cm, -1, &pos))) {
		n_a += row->id == a->id;
		n_b += row->id == b->id;
		n_c += row->id == c->id;
	}
	pos = 0;
	CHECK(!mqt_cm_sessions_next(rig->cm, MQT_N_TRANSPORTS, &pos));
	CHECK(!mqt_cm_is_live(rig->cm, a->id));
	CHECK(mqt_cm_info(rig->cm, a->id) != NULL);
	mqt_rcu_read_unlock();
	CHECK_EQ(n_a, 1);
	CHECK_EQ(n_b, 0); /* clean start */
	CHECK_EQ(n_c, 1);
	rig_check_end(rig);
}

static CU_TestInfo takeover_tests[] = {
	{ "resume_takes_over_in_two_steps", test_resume_takes_over_in_two_steps },
	{ "outcomes_of_a_takeover", test_outcomes_of_a_takeover },
	{ "channel_that_closed_before_begin_is_resumed",
			test_channel_that_closed_before_begin_is_resumed },
	{ "channel_that_is_down_before_begin_leaves_nothing",
			test_channel_that_is_down_before_begin_leaves_nothing },
	{ "frozen_flow_that_ends_by_itself_keeps_its_session",
			test_frozen_flow_that_ends_by_itself_keeps_its_session },
	{ "answers_after_the_kill_change_nothing", test_answers_after_the_kill_change_nothing },
	{ "session_that_comes_after_the_kill_is_destroyed",
			test_session_that_comes_after_the_kill_is_destroyed },
	{ "kill_that_misses_at_begin_loses_the_session_too",
			test_kill_that_misses_at_begin_loses_the_session_too },
	{ "resume_of_an_orphan_kills_it", test_resume_of_an_orphan_kills_it },
	{ "newcomer_dies_in_each_step", test_newcomer_dies_in_each_step },
	{ "newcomer_without_expiry_that_is_gone_takes_the_session_along",
			test_newcomer_without_expiry_that_is_gone_takes_the_session_along },
	{ "grant_without_answer_loses_the_session_with_its_owner",
			test_grant_without_answer_loses_the_session_with_its_owner },
	{ "superseded_during_a_takeover", test_superseded_during_a_takeover },
	{ "clean_start_supersedes_a_takeover", test_clean_start_supersedes_a_takeover },
	{ "stale_channels_are_discarded_by_a_resume",
			test_stale_channels_are_discarded_by_a_resume },
	{ "takeover_of_a_session_that_ends_with_its_connection",
			test_takeover_of_a_session_that_ends_with_its_connection },
	{ "session_left_behind_by_a_takeover_is_found_on_its_broker",
			test_session_left_behind_by_a_takeover_is_found_on_its_broker },
	{ "kill_of_a_channel_without_expiry_loses_no_session",
			test_kill_of_a_channel_without_expiry_loses_no_session },
	{ "newcomer_that_the_maps_refuse_leaves_the_session",
			test_newcomer_that_the_maps_refuse_leaves_the_session },
	{ "session_taken_over_carries_its_end", test_session_taken_over_carries_its_end },
	CU_TEST_INFO_NULL,
};

static CU_TestInfo retained_tests[] = {
	{ "closed_channel_stays_as_a_retained_session",
			test_closed_channel_stays_as_a_retained_session },
	{ "channel_without_expiry_is_not_retained", test_channel_without_expiry_is_not_retained },
	{ "what_a_newcomer_finds", test_what_a_newcomer_finds },
	{ "session_expires_at_exactly_its_time", test_session_expires_at_exactly_its_time },
	{ "expiry_of_3_x_is_the_listeners", test_expiry_of_3_x_is_the_listeners },
	{ "sessions_expire_in_order_and_in_slices", test_sessions_expire_in_order_and_in_slices },
	{ "each_session_expires_at_its_own_time", test_each_session_expires_at_its_own_time },
	{ "limit_evicts_the_next_to_expire", test_limit_evicts_the_next_to_expire },
	{ "takeover_works_where_nothing_is_retained",
			test_takeover_works_where_nothing_is_retained },
	{ "retained_session_makes_room_for_a_newcomer",
			test_retained_session_makes_room_for_a_newcomer },
	{ "retained_sessions_take_no_connections_place",
			test_retained_sessions_take_no_connections_place },
	{ "kick_and_discard_end_a_retained_session", test_kick_and_discard_end_a_retained_session },
	{ "kick_that_crosses_closed_ends_the_session",
			test_kick_that_crosses_closed_ends_the_session },
	{ "kick_waits_for_a_takeover", test_kick_waits_for_a_takeover },
	{ "unregister_ends_a_retained_session", test_unregister_ends_a_retained_session },
	{ "slot_of_a_retained_channel_is_used_again",
			test_slot_of_a_retained_channel_is_used_again },
	{ "session_of_a_newcomer_that_was_never_registered_ends",
			test_session_of_a_newcomer_that_was_never_registered_ends },
	{ "destroy_frees_what_is_held", test_destroy_frees_what_is_held },
	{ "storm_of_closed_does_not_hold_up_an_open",
			test_storm_of_closed_does_not_hold_up_an_open },
	{ "closed_are_drained_in_batches", test_closed_are_drained_in_batches },
	{ "walk_of_sessions", test_walk_of_sessions },
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
	return rig_run(suites);
}
