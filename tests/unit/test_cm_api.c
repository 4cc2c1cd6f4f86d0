/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_session_rig.h"

#include <rte_common.h>

/*
 * The functions of the channel manager one by one, by what they promise in cm.h: takeover by
 * command, and each command against every kind of owner.
 */

typedef void command_fn(struct mqt_cm *cm, struct mqt_cm_cmd *cmd);

static void
by_client(struct rig *rig, struct cmd *cmd, command_fn *command, const char *clientid)
{
	*cmd = (struct cmd){ .cmd = { .done = cmd_done } };
	cmd->cmd.digest = mqt_digest_client(&rig->key, 0, NULL, clientid, strlen(clientid));
	command(rig->cm, &cmd->cmd);
}

static void
by_channel(struct rig *rig, struct cmd *cmd, command_fn *command, mqt_chan_id chan)
{
	*cmd = (struct cmd){ .cmd = { .chan = chan, .done = cmd_done } };
	command(rig->cm, &cmd->cmd);
}

/* --- takeover ----------------------------------------------------------------------------------- */

static void
test_takeover_hands_the_session_of_a_living_channel_out(void)
{
	for (unsigned by_chan = 0; by_chan < 2; by_chan++) {
		struct rig *rig = rig_create(small);
		struct rig_conn *a = rig_connect(rig, 0, first);
		struct mqt_session *session = a->session;
		struct mqt_session_counts counts = { 0 };
		struct mqt_session_final final = { 0 };
		struct cmd cmd;

		check_row = by_chan ? "by channel" : "by client";
		mqt_slot_count(&rig_slot_of(rig, a->id)->slot, MQT_RECV_PKT, 3);
		a->pendings = calloc(1, sizeof(*a->pendings) + sizeof(uint16_t));
		a->pendings->n = 1;
		a->pendings->packet_id[0] = 7;
		rig_story(rig);
		if (by_chan)
			by_channel(rig, &cmd, mqt_cm_takeover, a->id);
		else
			by_client(rig, &cmd, mqt_cm_takeover, "a");
		rig_turn(rig, 1);
		rig_poll_all(rig);
		CHECK_EQ(a->action, MQT_STEPDOWN_TAKEOVER_BEGIN);
		rig_turn(rig, 1);
		CHECK_EQ(cmd.n_done, 0); /* end follows (R4) */
		rig_poll_all(rig);
		CHECK_EQ(a->action, MQT_STEPDOWN_TAKEOVER_END);
		rig_turn(rig, 1);
		CHECK_EQ(cmd.n_done, 1);
		CHECK_EQ(cmd.cmd.n_outcomes, 1);
		CHECK_EQ(cmd.cmd.outcomes[0].result, 0);
		CHECK_EQ(cmd.cmd.outcomes[0].chan, a->id);
		CHECK_EQ(cmd.cmd.taken, a->id);
		CHECK(cmd.cmd.session == session);
		mqt_session_counts(cmd.cmd.session, &counts);
		CHECK_EQ(counts.pendings, 1);
		mqt_session_final(cmd.cmd.session, &final);
		CHECK_EQ(final.expiry_sec, 3600);
		CHECK_EQ(final.counter[MQT_RECV_PKT], 3);
		CHECK_EQ(rig_state(rig, a), MQT_CHAN_FREE);
		CHECK_STR(rig_story(rig), "-A1:taken_over tA1");
		CHECK_EQ(rig_counter(rig, MQT_C_TAKEOVERS), 1);
		CHECK_EQ(rig_counter(rig, MQT_C_SESSION_HANDED_OUT), 1);
		CHECK_EQ(rig_counter(rig, MQT_C_SESSION_RETAINED), 0);
		mqt_session_destroy(cmd.cmd.session);
		rig_settle(rig);
		CHECK_EQ(a->n_releases, 1);
		rig_check_end(rig);
	}
	check_row = "";
}

static void
test_takeover_of_a_retained_session_asks_nobody(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = retain(rig, 0, first), *b;
	struct cmd cmd;

	rig_story(rig);
	by_client(rig, &cmd, mqt_cm_takeover, "a");
	rig_turn(rig, 1);
	CHECK_EQ(cmd.n_done, 1);
	CHECK_EQ(cmd.cmd.outcomes[0].result, 0);
	CHECK_EQ(cmd.cmd.taken, a->id);
	CHECK(cmd.cmd.session != NULL);
	mqt_session_destroy(cmd.cmd.session);
	CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWNS), 0);
	CHECK_EQ(rig_counter(rig, MQT_C_TAKEOVERS), 0); /* no living owner */
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_HANDED_OUT), 1);
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_FREE);
	CHECK_EQ(mqt_cm_retained_count(rig->cm), 0);
	b = rig_connect(rig, 0, again);
	CHECK_EQ(b->n_resumes, 0); /* it is somebody else's */
	CHECK_STR(rig_story(rig), "tA1 aB2 +B2");
	rig_check_end(rig);
}

/* It is due, and its expiry only waits for its slice. */
static void
test_session_that_has_expired_is_not_handed_out(void)
{
	struct rig *rig = rig_create(small);
	struct rig_open how = first;
	struct cmd cmd[2];
	struct rig_conn *a;

	how.expiry_sec = 10;
	a = retain(rig, 0, how);
	rig->now_ns += 10 * MQT_NS_PER_SEC;
	by_client(rig, &cmd[0], mqt_cm_takeover, "a");
	by_channel(rig, &cmd[1], mqt_cm_takeover, a->id);
	rig_turn(rig, 0);
	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(cmd[i].n_done, 1);
		CHECK_EQ(cmd[i].cmd.n_channels, 0);
		CHECK(cmd[i].cmd.session == NULL);
	}
	CHECK_EQ(rig_counter(rig, MQT_C_SESSION_EXPIRED), 1);
	rig_check_end(rig);
}

static void
test_takeover_of_nobody_is_done_at_once(void)
{
	struct rig *rig = rig_create(small);
	struct cmd cmd[2];

	by_client(rig, &cmd[0], mqt_cm_takeover, "nobody");
	by_channel(rig, &cmd[1], mqt_cm_takeover, 12345);
	rig_turn(rig, 1);
	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(cmd[i].n_done, 1);
		CHECK_EQ(cmd[i].cmd.n_channels, 0);
		CHECK_EQ(cmd[i].cmd.taken, MQT_CHAN_NONE);
		CHECK(cmd[i].cmd.session == NULL);
	}
	CHECK_EQ(rig_counter(rig, MQT_C_KICK_UNKNOWN), 2);
	rig_check_end(rig);
}

/* A client in whose session nothing has happened has one all the same; expiry 0 is told. */
static void
test_takeover_of_a_session_without_content(void)
{
	struct rig *rig = rig_create(small);
	struct mqt_session_final final = { .expiry_sec = 1 };
	struct cmd cmd;

	rig_connect(rig, 0, (struct rig_open){ .clientid = "a" });
	by_client(rig, &cmd, mqt_cm_takeover, "a");
	rig_settle(rig);
	CHECK_EQ(cmd.cmd.outcomes[0].result, 0);
	CHECK(cmd.cmd.session != NULL);
	if (cmd.cmd.session)
		mqt_session_final(cmd.cmd.session, &final);
	CHECK_EQ(final.expiry_sec, 0);
	mqt_session_destroy(cmd.cmd.session);
	rig_check_end(rig);
}

static void
test_takeover_keeps_the_newest_and_discards_stale_channels(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_put_beside(rig, 0, &first);
	struct rig_conn *b = rig_put_beside(rig, 1, &first);
	struct mqt_session *session = b->session;
	struct cmd cmd;

	rig_story(rig);
	by_client(rig, &cmd, mqt_cm_takeover, "a");
	rig_settle(rig);
	CHECK_EQ(cmd.n_done, 1);
	CHECK_EQ(a->n_stepdowns, 1);
	CHECK_EQ(a->action, MQT_STEPDOWN_DISCARD);
	CHECK_EQ(b->n_stepdowns, 2);
	CHECK_EQ(cmd.cmd.n_channels, 2);
	CHECK_EQ(cmd.cmd.outcomes[0].result, 0);
	CHECK_EQ(cmd.cmd.outcomes[1].result, 0);
	CHECK_EQ(cmd.cmd.taken, b->id);
	CHECK(cmd.cmd.session == session);
	CHECK_EQ(rig_counter(rig, MQT_C_STALE_CHANNELS), 1);
	CHECK_EQ(rig_counter(rig, MQT_C_DISCARDED), 1);
	CHECK_EQ(rig_sizes(rig).channels, 0);
	mqt_session_destroy(cmd.cmd.session);
	rig_check_end(rig);
}

static void
test_takeover_by_channel_leaves_the_others(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_put_beside(rig, 0, &first);
	struct rig_conn *b = rig_put_beside(rig, 1, &first);
	struct cmd cmd;

	by_channel(rig, &cmd, mqt_cm_takeover, a->id);
	rig_settle(rig);
	CHECK_EQ(cmd.cmd.taken, a->id);
	CHECK_EQ(cmd.cmd.n_channels, 1);
	CHECK(rig_live(rig, b));
	CHECK_EQ(b->n_stepdowns, 0);
	CHECK_EQ(rig_counter(rig, MQT_C_STALE_CHANNELS), 0);
	mqt_session_destroy(cmd.cmd.session);
	rig_check_end(rig);
}

static void
test_takeover_leaves_a_session_on_another_broker(void)
{
	struct rig *rig = rig_create(small);
	struct rig_open elsewhere = first;
	struct rig_conn *a = retain(rig, 0, first), *b;
	struct cmd cmd;

	elsewhere.broker = 1;
	b = rig_connect(rig, 1, elsewhere);
	by_client(rig, &cmd, mqt_cm_takeover, "a");
	rig_settle(rig);
	CHECK_EQ(cmd.cmd.taken, b->id);
	CHECK_EQ(cmd.cmd.n_channels, 1);
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_RETAINED);
	mqt_session_destroy(cmd.cmd.session);
	rig_check_end(rig);
}

/* The newcomer waits until the session is out, and then finds none. */
static void
test_newcomer_waits_for_a_takeover(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, first), *b;
	struct cmd cmd;

	rig_story(rig);
	by_client(rig, &cmd, mqt_cm_takeover, "a");
	rig_turn(rig, 1);
	b = rig_open(rig, 1, again);
	for (unsigned i = 0; i < 5; i++) {
		rig_turn(rig, 1);
		rig_poll(rig, 1, 100);
		CHECK_EQ(b->n_grants, 0);
	}
	rig_settle(rig);
	CHECK_EQ(cmd.cmd.taken, a->id);
	CHECK_EQ(b->n_grants, 1);
	CHECK_EQ(b->n_resumes, 0);
	CHECK_STR(rig_story(rig), "-A1:taken_over tA1 aB2 +B2");
	mqt_session_destroy(cmd.cmd.session);
	rig_check_end(rig);
}

static void
test_destroy_gives_a_takeover_back_and_ends_its_session(void)
{
	struct rig *rig = rig_create(small);
	struct cmd cmd;

	rig_connect(rig, 0, first);
	by_client(rig, &cmd, mqt_cm_takeover, "a");
	rig_turn(rig, 1);
	rig_poll_all(rig);
	rig_turn(rig, 1); /* begin is answered: the manager holds the session */
	rig_destroy(rig);
	CHECK_EQ(cmd.n_done, 1);
	CHECK_EQ(cmd.cmd.outcomes[0].result, -EINPROGRESS);
	CHECK(cmd.cmd.session == NULL);
	CHECK_EQ(rig_n_sessions, 0);
}

/* --- epochs --------------------------------------------------------------------------------------- */

static void
test_epochs_go_on_when_all_channels_are_gone(void)
{
	struct rig *rig = rig_create(small);

	rig_end(rig, rig_connect(rig, 0, (struct rig_open){ .clientid = "a" }));
	rig_end(rig, rig_connect(rig, 0, (struct rig_open){ .clientid = "a" }));
	rig_settle(rig);
	CHECK_EQ(rig_sizes(rig).channels, 0);
	rig_connect(rig, 1, (struct rig_open){ .clientid = "a" });
	CHECK_STR(rig_story(rig), "*A1 +A1 -A1:client_closed *B2 +B2 -B2:client_closed *C3 +C3");
	rig_check_end(rig);
}

/* What is left is older than what has gone. */
static void
test_epochs_go_on_behind_a_session_left_behind(void)
{
	struct rig *rig = rig_create(small);
	struct rig_open elsewhere = { .clientid = "a", .resume = true, .broker = 1 };
	struct rig_conn *a = retain(rig, 0, first);

	rig_end(rig, rig_connect(rig, 0, elsewhere));
	rig_settle(rig);
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_RETAINED);
	rig_story(rig);
	rig_connect(rig, 0, elsewhere);
	CHECK_STR(rig_story(rig), "bC3>A *C3 +C3");
	rig_check_end(rig);
}

static void
test_refused_newcomer_has_the_epoch_it_would_have_got(void)
{
	struct rig *rig = rig_create(small);
	struct rig_open older = { .clientid = "a", .stamp_ns = RIG_T0 };

	rig_connect(rig, 0, (struct rig_open){ .clientid = "a", .stamp_ns = RIG_T0 + 1 });
	rig_connect(rig, 1, older);
	rig_connect(rig, 1, older);
	rig_connect(rig, 1, (struct rig_open){ .clientid = "a", .stamp_ns = RIG_T0 + 2 });
	CHECK_STR(rig_story(rig), "*A1 +A1 sB2>A sC2>A -A1:discarded dA1>D *D2 +D2>A");
	rig_check_end(rig);
}

/* --- commands and owners -------------------------------------------------------------------------- */

enum what_happens {
	ANSWERS,
	IS_GONE,    /* DOWN before the request */
	IS_CLOSING, /* CLOSED, with the session, before the request */
	IS_CLOSED,  /* and hangs before it can say so */
	FAILS,      /* an error for an answer */
	IS_SILENT,
	FAILS_AT_END, /* the second step of a takeover */
	SILENT_AT_END,
};

struct meeting {
	const char *name;
	command_fn *command;
	enum what_happens what;
	int result;
	bool killed, session;
	const char *story;
};

/* Kick is shown in test_cm.c and test_cm_session.c. */
static const struct meeting meetings[] = {
	{ "discard, answers", mqt_cm_discard, ANSWERS, 0, false, false, "-A1:discarded dA1" },
	{ "discard, gone", mqt_cm_discard, IS_GONE, -ENOENT, false, false, "-A1:client_closed" },
	{ "discard, closing", mqt_cm_discard, IS_CLOSING, 0, false, false,
			"-A1:client_closed dA1" },
	{ "discard, closed", mqt_cm_discard, IS_CLOSED, 0, false, false, "-A1:discarded dA1" },
	{ "discard, fails", mqt_cm_discard, FAILS, -ETIMEDOUT, true, false, "-A1:killed dA1" },
	{ "discard, silent", mqt_cm_discard, IS_SILENT, -ETIMEDOUT, true, false, "-A1:killed dA1" },
	{ "kick, closed", mqt_cm_kick, IS_CLOSED, 0, false, false, "-A1:kicked kA1" },
	{ "takeover, answers", mqt_cm_takeover, ANSWERS, 0, false, true, "-A1:taken_over tA1" },
	{ "takeover, gone", mqt_cm_takeover, IS_GONE, -ENOENT, false, false, "-A1:client_closed" },
	{ "takeover, closing", mqt_cm_takeover, IS_CLOSING, 0, false, true,
			"-A1:client_closed tA1" },
	{ "takeover, closed", mqt_cm_takeover, IS_CLOSED, -ETIMEDOUT, false, false,
			"-A1:taken_over KA1" },
	{ "takeover, begin fails", mqt_cm_takeover, FAILS, -ETIMEDOUT, true, false,
			"-A1:killed KA1" },
	{ "takeover, begin silent", mqt_cm_takeover, IS_SILENT, -ETIMEDOUT, true, false,
			"-A1:killed KA1" },
	{ "takeover, end fails", mqt_cm_takeover, FAILS_AT_END, -ETIMEDOUT, true, false,
			"-A1:killed dA1" },
	{ "takeover, end silent", mqt_cm_takeover, SILENT_AT_END, -ETIMEDOUT, true, false,
			"-A1:killed dA1" },
};

/* The request is on its way. */
static void
happens(struct rig *rig, struct rig_conn *conn, enum what_happens what)
{
	struct rig_owner *o = rig_owner_of(rig, conn->id);

	if (what == FAILS || what == FAILS_AT_END)
		*(what == FAILS ? &o->answer : &o->end_answer) = RIG_ANSWER_ERROR;
	if (what == IS_SILENT || what == IS_CLOSED)
		o->answer = RIG_ANSWER_NEVER;
	if (what == SILENT_AT_END)
		o->end_answer = RIG_ANSWER_NEVER;
	if (what == IS_GONE)
		conn->expiry_sec = 0;
	if (what == IS_GONE || what == IS_CLOSING)
		rig_end(rig, conn);
	if (what == IS_CLOSED)
		rig_close(rig, conn);
}

static void
meet(const struct meeting *m)
{
	bool waits = m->what == IS_SILENT || m->what == IS_CLOSED || m->what == SILENT_AT_END;
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, first);
	uint64_t begin, ms = m->what == SILENT_AT_END ? 501 : 500; /* end is asked a turn later */
	struct cmd cmd;

	if (m->what == IS_CLOSED && m->command == mqt_cm_takeover)
		ms *= 2; /* the session might still come */
	rig_story(rig);
	by_client(rig, &cmd, m->command, "a");
	rig_turn(rig, 1);
	begin = rig->now_ns;
	happens(rig, a, m->what);
	while (cmd.n_done == 0 && rig->now_ns - begin < 1100 * RIG_MS) {
		rig_poll(rig, 0, 100);
		rig_turn(rig, 1);
	}
	CHECK_EQ(cmd.n_done, 1);
	if (waits)
		CHECK_EQ((rig->now_ns - begin) / RIG_MS, ms);
	else
		CHECK((rig->now_ns - begin) / RIG_MS <= 2);
	CHECK_EQ(cmd.cmd.n_channels, 1);
	CHECK_EQ(cmd.cmd.outcomes[0].result, m->result);
	CHECK_EQ(rig_slot_is(rig, a, MQT_SLOT_KILLED), m->killed);
	CHECK_EQ(cmd.cmd.session != NULL, m->session);
	CHECK_EQ(cmd.cmd.taken, m->session ? a->id : MQT_CHAN_NONE);
	CHECK_EQ(rig_sizes(rig).channels, 0);
	CHECK_STR(rig_story(rig), m->story);
	mqt_session_destroy(cmd.cmd.session);
	rig_check_end(rig);
}

static void
test_each_command_meets_each_kind_of_owner(void)
{
	for (unsigned i = 0; i < RTE_DIM(meetings); i++) {
		check_row = meetings[i].name;
		meet(&meetings[i]);
	}
	check_row = "";
}

/* ---------------------------------------------------------------------------------------------------- */

static CU_TestInfo takeover_tests[] = {
	T(takeover_hands_the_session_of_a_living_channel_out),
	T(takeover_of_a_retained_session_asks_nobody),
	T(session_that_has_expired_is_not_handed_out),
	T(takeover_of_nobody_is_done_at_once),
	T(takeover_of_a_session_without_content),
	T(takeover_keeps_the_newest_and_discards_stale_channels),
	T(takeover_by_channel_leaves_the_others),
	T(takeover_leaves_a_session_on_another_broker),
	T(newcomer_waits_for_a_takeover),
	T(destroy_gives_a_takeover_back_and_ends_its_session),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo epoch_tests[] = {
	T(epochs_go_on_when_all_channels_are_gone),
	T(epochs_go_on_behind_a_session_left_behind),
	T(refused_newcomer_has_the_epoch_it_would_have_got),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo owner_tests[] = {
	T(each_command_meets_each_kind_of_owner),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "takeover by command", NULL, NULL, NULL, NULL, takeover_tests },
	{ "epochs", NULL, NULL, NULL, NULL, epoch_tests },
	{ "commands and owners", NULL, NULL, NULL, NULL, owner_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
