/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands from other threads: kick and discard, and what they tell.
 */
#include "cm_rig.h"

#include <pthread.h>
#include <sched.h>

#include <rte_common.h>

static const struct rig_params small = { 2, 64, 64, 256 };

static const struct rig_open id_a = { .clientid = "a" };

struct test_cmd {
	struct mqt_cm_cmd cmd;
	unsigned n_done;
};

static void
cmd_done(struct mqt_cm_cmd *cmd)
{
	((struct test_cmd *)cmd)->n_done++; /* its first member */
}

typedef void command_fn(struct mqt_cm *cm, struct mqt_cm_cmd *cmd);

/* By client id or, where @p conn is given, by channel id. */
static void
submit(struct rig *rig, struct test_cmd *tc, command_fn *command, const char *clientid,
		const struct rig_conn *conn)
{
	*tc = (struct test_cmd){ .cmd = { .done = cmd_done } };
	if (clientid)
		tc->cmd.digest = mqt_digest_client(&rig->key, 0, NULL, clientid, strlen(clientid));
	if (conn)
		tc->cmd.chan = conn->id;
	command(rig->cm, &tc->cmd);
}

static void
test_kick_and_discard(void)
{
	static const struct {
		const char *name;
		command_fn *command;
		bool by_chan;
		enum mqt_stepdown action;
		const char *story;
	} rows[] = {
		{ "kick", mqt_cm_kick, false, MQT_STEPDOWN_KICK, "-A1:kicked kA1" },
		{ "discard", mqt_cm_discard, false, MQT_STEPDOWN_DISCARD, "-A1:discarded dA1" },
		{ "kick chan", mqt_cm_kick, true, MQT_STEPDOWN_KICK, "-A1:kicked kA1" },
		{ "discard chan", mqt_cm_discard, true, MQT_STEPDOWN_DISCARD, "-A1:discarded dA1" },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct rig *rig = rig_create(small);
		struct rig_conn *a = rig_connect(rig, 0, id_a);
		struct rig_conn *b = rig_connect(rig, 0, (struct rig_open){ .clientid = "b" });
		struct test_cmd tc;

		check_row = rows[i].name;
		rig_story(rig);
		submit(rig, &tc, rows[i].command, "a", rows[i].by_chan ? a : NULL);
		rig_turn(rig, 1);
		CHECK_EQ(tc.n_done, 0);
		rig_poll_all(rig);
		CHECK_EQ(a->action, rows[i].action);
		rig_turn(rig, 1);
		CHECK_EQ(tc.n_done, 1);
		CHECK_EQ(tc.cmd.n_channels, 1);
		CHECK_EQ(tc.cmd.n_outcomes, 1);
		CHECK(tc.cmd.outcomes[0].chan == a->id);
		CHECK_EQ(tc.cmd.outcomes[0].result, 0);
		CHECK_EQ(rig_state(rig, a), MQT_CHAN_FREE);
		CHECK(rig_live(rig, b));
		CHECK_STR(rig_story(rig), rows[i].story);
		rig_check_end(rig);
	}
	check_row = "";
}

static void
test_kick_carries_its_reason_code(void)
{
	static const struct {
		bool has_code;
		uint8_t code, want;
	} rows[] = { { false, 0, 0x98 }, { true, 0x9d, 0x9d }, { true, 0, 0 } };

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct rig *rig = rig_create(small);
		struct rig_conn *a = rig_connect(rig, 0, id_a);
		struct mqt_cm_cmd cmd = {
			.done = cmd_done, .has_code = rows[i].has_code, .code = rows[i].code
		};
		struct test_cmd tc = { .cmd = cmd };

		tc.cmd.chan = a->id;
		mqt_cm_kick(rig->cm, &tc.cmd);
		rig_turn(rig, 1);
		rig_poll_all(rig);
		rig_turn(rig, 1);
		CHECK_EQ(tc.n_done, 1);
		CHECK_EQ(a->action, MQT_STEPDOWN_KICK);
		CHECK_EQ(a->code, rows[i].want);
		rig_check_end(rig);
	}
}

static void
test_commands_about_nobody_are_done_at_once(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct test_cmd tc[4];

	rig_end(rig, a);
	submit(rig, &tc[0], mqt_cm_kick, "nobody", NULL);
	submit(rig, &tc[1], mqt_cm_discard, "nobody", NULL);
	submit(rig, &tc[2], mqt_cm_kick, NULL, &(struct rig_conn){ .id = a->id + 1 });
	submit(rig, &tc[3], mqt_cm_kick, "a", NULL); /* down, not yet unregistered */
	rig->config.limits.down_slice = 1;
	rig_turn(rig, 1);
	for (unsigned i = 0; i < RTE_DIM(tc); i++) {
		CHECK_EQ(tc[i].n_done, 1);
		CHECK_EQ(tc[i].cmd.n_channels, 0);
		CHECK_EQ(tc[i].cmd.n_outcomes, 0);
	}
	CHECK_EQ(rig_counter(rig, MQT_C_KICK_UNKNOWN), RTE_DIM(tc));
	CHECK_EQ(a->n_stepdowns, 0);
	rig_check_end(rig);
}

static void
test_outcomes_of_a_command(void)
{
	static const struct {
		const char *name;
		enum rig_answer answer;
		bool gone;
		int result;
	} rows[] = {
		{ "steps down", RIG_ANSWER_OK, false, 0 },
		{ "gone meanwhile", RIG_ANSWER_OK, true, -ENOENT },
		{ "silent", RIG_ANSWER_NEVER, false, -ETIMEDOUT },
		{ "error", RIG_ANSWER_ERROR, false, -ETIMEDOUT },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct rig *rig = rig_create(small);
		struct rig_conn *a = rig_connect(rig, 0, id_a);
		struct test_cmd tc;

		check_row = rows[i].name;
		rig->owners[0].answer = rows[i].answer;
		submit(rig, &tc, mqt_cm_kick, "a", NULL);
		rig_turn(rig, 1);
		if (rows[i].gone)
			rig_end(rig, a);
		rig_poll(rig, 0, 100);
		for (unsigned ms = 0; ms < 500; ms++)
			rig_turn(rig, 1);
		CHECK_EQ(tc.n_done, 1);
		CHECK_EQ(tc.cmd.n_channels, 1);
		CHECK_EQ(tc.cmd.outcomes[0].result, rows[i].result);
		CHECK_EQ(rig_counter(rig, MQT_C_KICKED), rows[i].gone ? 0 : 1);
		CHECK_EQ(rig_sizes(rig).channels, 0);
		rig_check_end(rig);
	}
	check_row = "";
}

static void
test_kick_during_an_open_hits_the_newcomer_before_the_next_waiter(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *b, *c;
	struct test_cmd tc, second;

	rig_story(rig);
	b = rig_open(rig, 1, id_a);
	rig_turn(rig, 1);
	submit(rig, &tc, mqt_cm_kick, "a", NULL);
	submit(rig, &second, mqt_cm_kick, "a", NULL);
	rig_turn(rig, 1);
	CHECK_EQ(tc.n_done, 0);
	rig_poll(rig, 0, 100); /* a steps down */
	rig_turn(rig, 1);      /* b is registered, its grant on the way */
	c = rig_open(rig, 1, id_a);
	rig_turn(rig, 1);
	rig_poll(rig, 1, 1);
	CHECK_EQ(b->n_grants, 1);
	CHECK_EQ(tc.n_done, 0);
	rig_settle(rig);
	CHECK_EQ(a->action, MQT_STEPDOWN_DISCARD);
	CHECK_EQ(b->action, MQT_STEPDOWN_KICK);
	CHECK_EQ(tc.n_done, 1);
	CHECK_EQ(tc.cmd.n_channels, 1);
	CHECK(tc.cmd.outcomes[0].chan == b->id);
	CHECK_EQ(second.n_done, 1);
	CHECK_EQ(second.cmd.n_channels, 0);
	CHECK_EQ(c->n_grants, 1);
	CHECK(rig_live(rig, c));
	CHECK_STR(rig_story(rig), "-A1:discarded dA1>B *B2 +B2>A -B2:kicked kB2 *C3 +C3");
	rig_check_end(rig);
}

static void
test_stale_channels_all_step_down(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *c[3], *d;
	struct test_cmd tc;

	mqt_role_control_assert();
	for (unsigned i = 0; i < 3; i++) {
		c[i] = rig_conn_make(rig, i % 2, &id_a);
		rig->n_opens++;
		CHECK_EQ(mqt_cm_register(rig->cm, c[i]->id, c[i]->info, i + 1), 0);
	}
	CHECK_EQ(rig_counter(rig, MQT_C_DUPLICATES), 3); /* 1, then 2 more */
	d = rig_connect(rig, 0, id_a);
	CHECK_EQ(rig_counter(rig, MQT_C_STALE_CHANNELS), 1);
	CHECK_EQ(d->n_grants, 1);
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(c[i]->n_stepdowns, 1);
	CHECK_EQ(rig_sizes(rig).channels, 1);
	CHECK_EQ(rig_counter(rig, MQT_C_DUPLICATES), 3);
	submit(rig, &tc, mqt_cm_kick, "a", NULL);
	rig_settle(rig);
	CHECK_EQ(tc.cmd.n_channels, 1);
	rig_check_end(rig);
}

static void
test_kick_tells_the_outcome_of_each_channel(void)
{
	enum {
		N = MQT_CM_MAX_OUTCOMES + 2
	};
	struct rig *rig = rig_create(small);
	struct rig_conn *c[N];
	struct test_cmd tc;

	mqt_role_control_assert();
	for (unsigned i = 0; i < N; i++) {
		c[i] = rig_conn_make(rig, 0, &id_a);
		rig->n_opens++;
		CHECK_EQ(mqt_cm_register(rig->cm, c[i]->id, c[i]->info, i + 1), 0);
	}
	submit(rig, &tc, mqt_cm_kick, "a", NULL);
	rig_settle(rig);
	CHECK_EQ(tc.n_done, 1);
	CHECK_EQ(tc.cmd.n_channels, N);
	CHECK_EQ(tc.cmd.n_outcomes, MQT_CM_MAX_OUTCOMES);
	for (unsigned i = 0; i < MQT_CM_MAX_OUTCOMES; i++)
		CHECK(tc.cmd.outcomes[i].chan == c[i]->id && tc.cmd.outcomes[i].result == 0);
	CHECK_EQ(rig_sizes(rig).channels, 0);
	rig_check_end(rig);
}

enum {
	SUBMITTERS = 4,
	SUBMITS = 2000
};

struct submitter {
	pthread_t thread;
	struct rig *rig;
	struct mqt_digest digest;
	struct test_cmd *cmds;
};

static void *
submitter_run(void *arg)
{
	struct submitter *s = arg;

	for (unsigned i = 0; i < SUBMITS; i++) {
		s->cmds[i] = (struct test_cmd){ .cmd = { .digest = s->digest, .done = cmd_done } };
		mqt_cm_kick(s->rig->cm, &s->cmds[i].cmd);
	}
	return NULL;
}

static void
test_commands_from_many_threads_are_each_done_once(void)
{
	struct rig *rig = rig_create(small);
	struct submitter s[SUBMITTERS];
	unsigned done = 0;

	for (unsigned i = 0; i < SUBMITTERS; i++) {
		s[i].rig = rig;
		s[i].digest = mqt_digest_client(&rig->key, 0, NULL, "a", 1);
		s[i].cmds = calloc(SUBMITS, sizeof(*s[i].cmds));
		if (!s[i].cmds || pthread_create(&s[i].thread, NULL, submitter_run, &s[i]))
			abort();
	}
	for (unsigned i = 0; i < 200; i++) {
		rig_open(rig, i % 2, id_a);
		rig_settle(rig);
		sched_yield();
	}
	for (unsigned i = 0; i < SUBMITTERS; i++)
		pthread_join(s[i].thread, NULL);
	for (unsigned i = 0; i < 2 * SUBMITTERS * SUBMITS / 1024 + 2; i++)
		rig_settle(rig);
	for (unsigned i = 0; i < SUBMITTERS; i++) {
		for (unsigned j = 0; j < SUBMITS; j++)
			done += s[i].cmds[j].n_done;
		free(s[i].cmds);
	}
	CHECK_EQ(done, SUBMITTERS * SUBMITS);
	rig_check_end(rig);
}

static void
test_destroy_gives_open_commands_back(void)
{
	struct rig *rig = rig_create(small);
	struct test_cmd tc[4];

	rig_connect(rig, 0, id_a);
	submit(rig, &tc[0], mqt_cm_kick, "a", NULL); /* under way */
	submit(rig, &tc[1], mqt_cm_kick, "a", NULL); /* lined up */
	rig_turn(rig, 1);
	submit(rig, &tc[2], mqt_cm_kick, "a", NULL); /* not yet taken */
	submit(rig, &tc[3], mqt_cm_kick, "b", NULL);
	rig_open(rig, 0, id_a); /* not read */
	rig_destroy(rig);
	for (unsigned i = 0; i < RTE_DIM(tc); i++)
		CHECK_EQ(tc[i].n_done, 1);
	CHECK_EQ(tc[0].cmd.n_channels, 1);
	CHECK_EQ(tc[0].cmd.outcomes[0].result, -EINPROGRESS);
}

static CU_TestInfo command_tests[] = {
	T(kick_and_discard),
	T(kick_carries_its_reason_code),
	T(commands_about_nobody_are_done_at_once),
	T(outcomes_of_a_command),
	T(kick_during_an_open_hits_the_newcomer_before_the_next_waiter),
	T(stale_channels_all_step_down),
	T(kick_tells_the_outcome_of_each_channel),
	T(commands_from_many_threads_are_each_done_once),
	T(destroy_gives_open_commands_back),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "commands", NULL, NULL, NULL, NULL, command_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
