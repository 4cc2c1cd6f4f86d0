/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Takeover at the channel manager: its two steps, what owners answer and what they do not, and
 * newcomers that die or are superseded meanwhile.
 */
#include "cm_session_rig.h"

#include <rte_common.h>
#include <rte_errno.h>

static struct rig_open
but_broker(struct rig_open how, uint8_t broker)
{
	how.broker = broker;
	return how;
}

static struct rig_open
but_clean(struct rig_open how)
{
	how.resume = false;
	how.present = false;
	return how;
}

/* The maps refuse so many insertions, as if two tables did not agree. */
static unsigned refuse_inserts;

struct mqt_chan *__real_mqt_maps_insert(struct mqt_maps *maps, mqt_chan_id id,
		struct mqt_info *info, uint64_t stamp_ns, uint64_t wall_ns, uint64_t epoch);
struct mqt_chan *__wrap_mqt_maps_insert(struct mqt_maps *maps, mqt_chan_id id,
		struct mqt_info *info, uint64_t stamp_ns, uint64_t wall_ns, uint64_t epoch);

struct mqt_chan *
__wrap_mqt_maps_insert(struct mqt_maps *maps, mqt_chan_id id, struct mqt_info *info,
		uint64_t stamp_ns, uint64_t wall_ns, uint64_t epoch)
{
	if (refuse_inserts > 0) {
		refuse_inserts--;
		rte_errno = ENOSPC;
		return NULL;
	}
	return __real_mqt_maps_insert(maps, id, info, stamp_ns, wall_ns, epoch);
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

/* A kill that comes too late: the flow has closed by itself, but its owner hangs for good. */
static void
test_kill_that_misses_at_begin_loses_the_session_too(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, first), *b;

	rig_story(rig);
	b = rig_open(rig, 1, again);
	rig_turn(rig, 1);
	rig_close(rig, a);
	for (unsigned i = 0; i < 1010; i++) {
		rig_turn(rig, 1);
		rig_poll(rig, 1, 100);
	}
	CHECK_EQ(b->n_grants, 1);
	CHECK_EQ(rig_counter(rig, MQT_C_KILL_MISSED), 1);
	CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWN_TIMEOUT), 1);
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

static CU_SuiteInfo suites[] = {
	{ "takeover", NULL, NULL, NULL, NULL, takeover_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
