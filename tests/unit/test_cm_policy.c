/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_session_rig.h"

#include <rte_common.h>

/* What keeps a newcomer out: settings and the flap detector. And copies of sessions for readers. */

/* --- reject-new ------------------------------------------------------------------------------- */

static struct rig *
rig_reject_new(void)
{
	struct rig *rig = rig_create(small);

	rig->config.listeners[0].policy = MQT_POLICY_REJECT_NEW;
	return rig;
}

static void
test_reject_new_keeps_the_client_on_its_broker(void)
{
	struct rig *rig = rig_reject_new();
	struct rig_conn *a = rig_connect(rig, 0, (struct rig_open){ .clientid = "a" });
	struct rig_conn *b = rig_connect(rig, 1, (struct rig_open){ .clientid = "a", .broker = 1 });

	CHECK(rig_live(rig, a));
	CHECK_EQ(a->n_stepdowns, 0);
	CHECK_EQ(b->n_refusals, 1);
	CHECK_EQ(b->reason, MQT_REASON_POLICY);
	CHECK_EQ(rig_counter(rig, MQT_C_REFUSED_POLICY), 1);
	CHECK_EQ(rig_counter(rig, MQT_C_TABLE_FULL), 0);
	CHECK_STR(rig_story(rig), "*A1 +A1 rB2:policy>A");
	rig_check_end(rig);
}

static void
test_reject_new_on_one_broker_is_newest_wins(void)
{
	struct rig *rig = rig_reject_new();
	struct rig_conn *a = rig_connect(rig, 0, (struct rig_open){ .clientid = "a" });
	struct rig_conn *b = rig_connect(rig, 1, (struct rig_open){ .clientid = "a" });

	CHECK(!rig_live(rig, a));
	CHECK(rig_live(rig, b));
	rig_check_end(rig);
}

static void
test_reject_new_counts_connections_not_sessions(void)
{
	struct rig *rig = rig_reject_new();
	struct rig_conn *a = retain(rig, 0, (struct rig_open){ .clientid = "a", .expiry_sec = 9 });
	struct rig_conn *b = rig_connect(
			rig, 1, (struct rig_open){ .clientid = "a", .resume = true, .broker = 1 });

	CHECK_EQ(rig_state(rig, a), MQT_CHAN_RETAINED);
	CHECK(rig_live(rig, b));
	rig_check_end(rig);
}

/* Nobody knows whether an orphan is connected, so it keeps nobody out (R8). */
static void
test_reject_new_does_not_count_orphans(void)
{
	struct rig *rig = rig_reject_new();
	struct rig_conn *b;

	rig_connect(rig, 0, (struct rig_open){ .clientid = "a" });
	atomic_store(&rig->owners[0].heartbeat_ns, rig->now_ns);
	for (unsigned i = 0; i < 1200; i++)
		rig_turn(rig, 1);
	b = rig_open(rig, 1, (struct rig_open){ .clientid = "a", .broker = 1 });
	rig_turn(rig, 1);
	rig_poll(rig, 1, 10);
	CHECK_EQ(b->n_grants, 1);
	atomic_store(&rig->owners[0].heartbeat_ns, 0);
	rig_settle(rig);
	rig_check_end(rig);
}

/* One who will be refused does not supersede one who will not be. */
static void
test_refused_newcomer_supersedes_nobody(void)
{
	struct rig *rig = rig_reject_new();
	struct rig_conn *b, *c;

	rig_connect(rig, 0, (struct rig_open){ .clientid = "a" });
	b = rig_open(rig, 1, (struct rig_open){ .clientid = "a" });
	rig_turn(rig, 1); /* the first is being stepped down */
	c = rig_open(rig, 1, (struct rig_open){ .clientid = "a", .broker = 1 });
	rig_turn(rig, 1);
	rig_poll(rig, 1, 10);
	CHECK_EQ(c->n_refusals, 1);
	CHECK_EQ(c->reason, MQT_REASON_POLICY);
	rig_settle(rig);
	CHECK_EQ(b->n_grants, 1);
	CHECK(rig_live(rig, b));
	rig_check_end(rig);
}

/* It may wait for room, for nobody is there; when there is room, somebody is. */
static void
test_waiter_is_judged_again_when_it_is_served(void)
{
	static const char *const ids[] = { "x", "y", "z" };
	static const struct rig_open id_a = { .clientid = "a" };
	struct rig *rig = rig_reject_new();
	struct rig_conn *x[3], *a, *b;

	mqt_role_control_assert();
	rig->config.limits.down_slice = 1;
	for (unsigned i = 0; i < 3; i++)
		x[i] = rig_connect(rig, 0, (struct rig_open){ .clientid = ids[i] });
	for (unsigned i = 0; i < 3; i++)
		rig_end(rig, x[i]);
	rig->config.limits.max_clients = 1;
	b = rig_open(rig, 1, (struct rig_open){ .clientid = "a", .broker = 1 });
	rig_turn(rig, 1);
	CHECK_EQ(rig_sizes(rig).channels, 2);
	a = rig_conn_make(rig, 0, &id_a);
	rig->n_opens++;
	CHECK_EQ(mqt_cm_register(rig->cm, a->id, a->info, b->stamp_ns - 1), 0);
	rig_settle(rig);
	CHECK_EQ(b->n_grants, 0);
	CHECK_EQ(b->reason, MQT_REASON_POLICY);
	CHECK(rig_live(rig, a));
	rig_check_end(rig);
}

/* --- user names --------------------------------------------------------------------------------- */

static void
test_client_id_is_bound_to_its_user_name(void)
{
	static const struct {
		const char *name;
		const char *holder, *newcomer;
		bool bind, retained, refused;
	} rows[] = {
		{ "same", "joe", "joe", true, false, false },
		{ "another", "joe", "eve", true, false, true },
		{ "longer", "joe", "joey", true, false, true },
		{ "empty", "joe", "", true, false, true },
		{ "none", "joe", NULL, true, false, true },
		{ "holder has none", NULL, "eve", true, false, true },
		{ "none is not empty", NULL, "", true, false, true },
		{ "neither has one", NULL, NULL, true, false, false },
		{ "another, retained", "joe", "eve", true, true, true },
		{ "same, retained", "joe", "joe", true, true, false },
		{ "not bound", "joe", "eve", false, false, false },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct rig *rig = rig_create(small);
		struct rig_open how = {
			.clientid = "a", .expiry_sec = 60, .username = rows[i].holder
		};
		struct rig_conn *a, *b;

		check_row = rows[i].name;
		rig->config.listeners[0].bind_username = rows[i].bind;
		a = rows[i].retained ? retain(rig, 0, how) : rig_connect(rig, 0, how);
		rig_story(rig);
		how.username = rows[i].newcomer;
		b = rig_connect(rig, 1, how);
		CHECK_EQ(b->n_refusals, rows[i].refused);
		CHECK_EQ(b->n_grants, !rows[i].refused);
		CHECK_EQ(rig_counter(rig, MQT_C_REFUSED_USERNAME), rows[i].refused);
		if (rows[i].refused) {
			CHECK_EQ(b->reason, MQT_REASON_USERNAME_MISMATCH);
			CHECK_EQ(a->n_stepdowns, 0);
			CHECK_EQ(rig_state(rig, a),
					rows[i].retained ? MQT_CHAN_RETAINED : MQT_CHAN_CONNECTED);
			CHECK_STR(rig_story(rig),
					"!B2:username_mismatch>A rB2:username_mismatch>A");
		}
		rig_check_end(rig);
	}
	check_row = "";
}

static void
test_binding_ends_with_the_last_channel(void)
{
	struct rig *rig = rig_create(small);
	struct rig_open how = { .clientid = "a", .expiry_sec = 10, .username = "joe" };
	struct rig_conn *b;

	rig->config.listeners[0].bind_username = true;
	retain(rig, 0, how);
	rig->now_ns += 10 * MQT_NS_PER_SEC;
	how.username = "eve";
	b = rig_connect(rig, 1, how); /* in the turn in which the session expires */
	CHECK_EQ(b->n_grants, 1);
	rig_check_end(rig);
}

/* Between two owners nobody slips in: what has stepped down still holds its client id. */
static void
test_binding_holds_during_a_takeover(void)
{
	struct rig *rig = rig_create(small);
	struct rig_open how = { .clientid = "a", .resume = true, .username = "joe" };
	struct rig_conn *a, *b, *c;

	rig->config.listeners[0].bind_username = true;
	a = rig_connect(rig, 0, how);
	b = rig_open(rig, 1, how);
	rig_turn(rig, 1);
	rig_end(rig, a); /* disconnected, but its owner has not answered yet */
	rig_turn(rig, 1);
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_DISCONNECTED);
	how.username = "eve";
	c = rig_open(rig, 1, how);
	rig_turn(rig, 1);
	rig_settle(rig);
	CHECK_EQ(c->reason, MQT_REASON_USERNAME_MISMATCH);
	CHECK_EQ(b->n_grants, 1);
	rig_check_end(rig);
}

/* --- flapping ----------------------------------------------------------------------------------- */

static struct rig *
rig_flap(uint32_t hold_sec)
{
	struct rig *rig = rig_create(small);

	rig->config.flap = (struct mqt_flap){ 3, 10, hold_sec };
	return rig;
}

static void
test_flapping_is_told_once_a_window_with_both_peers(void)
{
	struct rig *rig = rig_flap(0);
	struct rig_conn *last = NULL, *conn;
	struct mqt_event ev;
	unsigned n_told = 0;

	for (unsigned i = 0; i < 12; i++) {
		conn = rig_connect(rig, i % 2, (struct rig_open){ .clientid = "a" });
		while (rig_event(rig, &ev)) {
			if (ev.type != MQT_EVENT_FLAPPING)
				continue;
			n_told++;
			CHECK_EQ(i, 4); /* the fourth takeover is more than three */
			CHECK_EQ(ev.count, 4);
			CHECK_EQ(ev.chan, conn->id);
			CHECK_EQ(ev.other, last->id);
			CHECK_EQ(ev.peer.port, mqt_chan_id_slot(conn->id) + 1024);
			CHECK_EQ(ev.other_peer.port, mqt_chan_id_slot(last->id) + 1024);
		}
		CHECK_EQ(conn->n_grants, 1);
		last = conn;
	}
	CHECK_EQ(n_told, 1);
	rig->now_ns += 10 * MQT_NS_PER_SEC; /* it goes on: told again, in the next window */
	for (unsigned i = 0; i < 5; i++)
		rig_connect(rig, i % 2, (struct rig_open){ .clientid = "a" });
	CHECK_EQ(rig_counter(rig, MQT_C_FLAPPING), 2);
	rig_check_end(rig);
}

static void
test_what_is_no_flapping(void)
{
	struct rig *rig = rig_flap(0);

	/* one takeover in 10/3 s for minutes: not more than three within ten */
	for (unsigned i = 0; i < 60; i++) {
		rig_connect(rig, i % 2, (struct rig_open){ .clientid = "slow" });
		rig->now_ns += 3400 * RIG_MS;
	}
	/* reconnects of one device: nobody was thrown out */
	for (unsigned i = 0; i < 20; i++)
		retain(rig, 0,
				(struct rig_open){ .clientid = "b",
						.resume = true,
						.present = i > 0,
						.expiry_sec = 60 });
	/* different ids */
	for (unsigned i = 0; i < 20; i++) {
		char id[4];

		snprintf(id, sizeof(id), "d%u", i / 2);
		rig_connect(rig, i % 2, (struct rig_open){ .clientid = id });
	}
	CHECK_EQ(rig_counter(rig, MQT_C_FLAPPING), 0);
	rig_check_end(rig);
}

/* On one broker the older connection is closed before the newer one's CONNACK. */
static void
test_flapping_on_one_broker(void)
{
	static const struct {
		const char *name;
		enum mqt_reason reason;
		uint64_t ms;
		unsigned n_told;
	} rows[] = {
		{ "closed for the newcomer", MQT_REASON_BROKER_CLOSED, 1, 1 },
		{ "reset for the newcomer", MQT_REASON_BROKER_RESET, 1, 1 },
		{ "came again", MQT_REASON_BROKER_CLOSED, 150, 0 },
		{ "closed by the client", MQT_REASON_CLIENT_CLOSED, 1, 0 },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct rig *rig = rig_flap(30);
		struct rig_conn *last = rig_connect(rig, 0, (struct rig_open){ .clientid = "a" });
		struct mqt_event ev;
		unsigned n_told = 0;

		check_row = rows[i].name;
		for (unsigned n = 0; n < 5; n++) {
			struct rig_conn *conn;

			rig_close(rig, last);
			rig_down(rig, last, rows[i].reason);
			rig_settle(rig);
			rig->now_ns += (rows[i].ms - 1) * RIG_MS;
			conn = rig_connect(rig, n % 2, (struct rig_open){ .clientid = "a" });
			CHECK_EQ(conn->n_grants, 1); /* nobody is there: not held down */
			while (rig_event(rig, &ev)) {
				if (ev.type != MQT_EVENT_FLAPPING)
					continue;
				n_told++;
				CHECK_EQ(ev.count, 4);
				CHECK_EQ(ev.chan, conn->id);
				CHECK_EQ(ev.other, last->id);
				CHECK_EQ(ev.other_peer.port, mqt_chan_id_slot(last->id) + 1024);
			}
			last = conn;
		}
		CHECK_EQ(n_told, rows[i].n_told);
		rig_check_end(rig);
	}
	check_row = "";
}

/* The window slides: what was at the end of one counts at the beginning of the next. */
static void
test_flapping_is_seen_across_windows(void)
{
	struct rig *rig = rig_flap(0);

	rig_connect(rig, 0, (struct rig_open){ .clientid = "a" });
	rig_connect(rig, 1, (struct rig_open){ .clientid = "a" }); /* a window begins */
	rig->now_ns += 9 * MQT_NS_PER_SEC;
	rig_connect(rig, 0, (struct rig_open){ .clientid = "a" });
	rig_connect(rig, 1, (struct rig_open){ .clientid = "a" });
	rig->now_ns += MQT_NS_PER_SEC;
	rig_connect(rig, 0, (struct rig_open){ .clientid = "a" });
	CHECK_EQ(rig_counter(rig, MQT_C_FLAPPING), 0);
	rig_connect(rig, 1, (struct rig_open){ .clientid = "a" });
	CHECK_EQ(rig_counter(rig, MQT_C_FLAPPING), 1);
	rig_check_end(rig);
}

static void
test_flapping_client_is_held_down(void)
{
	struct rig *rig = rig_flap(30);
	struct rig_conn *holder = NULL, *conn;

	for (unsigned i = 0; i < 5; i++)
		holder = rig_connect(rig, i % 2, (struct rig_open){ .clientid = "a" });
	CHECK_EQ(rig_counter(rig, MQT_C_FLAPPING), 1);
	rig_story(rig);
	for (unsigned i = 0; i < 3; i++) {
		conn = rig_connect(rig, 1, (struct rig_open){ .clientid = "a" });
		CHECK_EQ(conn->reason, MQT_REASON_FLAPPING);
		CHECK(rig_live(rig, holder)); /* left alone */
	}
	CHECK_EQ(rig_counter(rig, MQT_C_REFUSED_FLAPPING), 3);
	CHECK_STR(rig_story(rig), "rF6:flapping>E rG6:flapping>E rH6:flapping>E");
	conn = rig_connect(rig, 1, (struct rig_open){ .clientid = "other" });
	CHECK_EQ(conn->n_grants, 1);
	rig->now_ns += 29 * MQT_NS_PER_SEC;
	conn = rig_connect(rig, 1, (struct rig_open){ .clientid = "a" });
	CHECK_EQ(conn->n_refusals, 1);
	rig->now_ns += 2 * MQT_NS_PER_SEC;
	conn = rig_connect(rig, 1, (struct rig_open){ .clientid = "a" });
	CHECK_EQ(conn->n_grants, 1);
	CHECK_EQ(rig_counter(rig, MQT_C_FLAPPING), 1);
	rig_check_end(rig);
}

/* So many flap that the detector has no room for all: it goes on, within its memory. */
static void
test_more_flapping_ids_than_the_detector_remembers(void)
{
	struct rig *rig = rig_create((struct rig_params){ 2, 1024, 1024, 4096 });

	rig->config.flap = (struct mqt_flap){ 1, 10, 0 };
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 900; i++) {
			char id[8];

			snprintf(id, sizeof(id), "c%u", i);
			rig_open(rig, round % 2, (struct rig_open){ .clientid = id });
		}
		rig_settle(rig);
	}
	CHECK_EQ(rig_sizes(rig).live, 900);
	CHECK(rig_counter(rig, MQT_C_FLAPPING) > 0);
	CHECK(rig_counter(rig, MQT_C_FLAPPING) <= 900);
	rig_check_end(rig);
}

/* --- inspection --------------------------------------------------------------------------------- */

static struct cmd *
inspect(struct rig *rig, mqt_chan_id chan)
{
	static struct cmd cmd;

	cmd = (struct cmd){ .cmd = { .chan = chan, .done = cmd_done } };
	cmd.cmd.session = (void *)&cmd; /* of the time before */
	mqt_cm_inspect(rig->cm, &cmd.cmd);
	return &cmd;
}

static const struct rig_open with_session = {
	.clientid = "a", .resume = true, .expiry_sec = 60, .session = true
};

static void
check_outcome(const struct cmd *cmd, int result, bool session)
{
	CHECK_EQ(cmd->n_done, 1);
	CHECK_EQ(cmd->cmd.n_channels, 1);
	CHECK_EQ(cmd->cmd.n_outcomes, 1);
	CHECK_EQ(cmd->cmd.outcomes[0].chan, cmd->cmd.chan);
	CHECK_EQ(cmd->cmd.outcomes[0].result, result);
	CHECK_EQ(cmd->cmd.session != NULL, session);
	mqt_session_destroy(cmd->cmd.session);
}

static void
test_inspect_a_living_channel(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, with_session);
	struct rig_conn *b = rig_connect(rig, 0, (struct rig_open){ .clientid = "b" });
	struct cmd *cmd = inspect(rig, a->id);

	rig_turn(rig, 1);
	CHECK_EQ(cmd->n_done, 0);
	CHECK(rig_busy(rig));
	rig_settle(rig);
	CHECK(cmd->cmd.session != a->session);
	check_outcome(cmd, 0, true);
	cmd = inspect(rig, b->id); /* one in which nothing has happened */
	rig_settle(rig);
	check_outcome(cmd, 0, false);
	CHECK_EQ(a->n_stepdowns, 0);
	CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWNS), 0);
	rig_check_end(rig);
}

static void
test_inspect_a_retained_session_asks_nobody(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = retain(rig, 0, with_session);
	struct cmd *cmd = inspect(rig, a->id);

	rig_turn(rig, 1);
	check_outcome(cmd, 0, true);
	CHECK_EQ(mqt_cm_retained_count(rig->cm), 1);
	CHECK(!rig_busy(rig));
	rig_check_end(rig);
}

static void
test_inspect_an_unknown_channel(void)
{
	struct rig *rig = rig_create(small);
	struct cmd *cmd = inspect(rig, mqt_chan_id_make(7, 0, 5, 5));

	rig_turn(rig, 1);
	CHECK_EQ(cmd->n_done, 1);
	CHECK_EQ(cmd->cmd.n_channels, 0);
	CHECK(cmd->cmd.session == NULL);
	CHECK_EQ(rig_counter(rig, MQT_C_KICK_UNKNOWN), 0);
	rig_check_end(rig);
}

/* The flow ends while it is being asked for: what it left is here already (R3). */
static void
test_inspect_that_crosses_the_end(void)
{
	static const struct {
		const char *name;
		uint32_t expiry_sec;
		int result;
		bool session;
	} rows[] = {
		{ "CLOSED", 60, 0, true },
		{ "DOWN", 0, -ENOENT, false },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct rig *rig = rig_create(small);
		struct rig_open how = with_session;
		struct rig_conn *a;
		struct cmd *cmd;

		check_row = rows[i].name;
		how.expiry_sec = rows[i].expiry_sec;
		a = rig_connect(rig, 0, how);
		cmd = inspect(rig, a->id);
		rig_turn(rig, 1);
		rig_end(rig, a);
		rig_settle(rig);
		check_outcome(cmd, rows[i].result, rows[i].session);
		rig_check_end(rig);
	}
	check_row = "";
}

/* Its session is with the manager, on its way to a newcomer. */
static void
test_inspect_during_a_takeover(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, with_session);
	struct cmd *cmd;

	rig_open(rig, 1, with_session);
	rig_turn(rig, 1);
	rig_poll(rig, 0, 10);
	rig_turn(rig, 1);
	CHECK(a->frozen);
	cmd = inspect(rig, a->id);
	rig_turn(rig, 1);
	check_outcome(cmd, 0, true);
	rig_settle(rig);
	rig_check_end(rig);
}

static void
test_inspect_never_answered(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, with_session);
	struct cmd *cmd = inspect(rig, a->id);

	rig_turn(rig, 1);
	for (unsigned i = 0; i < 499; i++)
		rig_turn(rig, 1);
	CHECK_EQ(cmd->n_done, 0);
	rig_turn(rig, 1);
	check_outcome(cmd, -ETIMEDOUT, false);
	CHECK(rig_live(rig, a)); /* nobody is killed for a question */
	rig_settle(rig);         /* it answers after all: dropped */
	CHECK_EQ(rig_counter(rig, MQT_C_UNEXPECTED_MSG), 0);
	rig_check_end(rig);
}

static void
test_destroy_gives_inspections_back(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, with_session);
	struct cmd *cmd = inspect(rig, a->id);

	rig_turn(rig, 1);
	rig_poll_all(rig); /* the copy is in the ring */
	rig_destroy(rig);
	check_outcome(cmd, -EINPROGRESS, false);
	CHECK_EQ(rig_n_sessions, 0);
}

static CU_TestInfo reject_tests[] = {
	{ "reject_new_keeps_the_client_on_its_broker",
			test_reject_new_keeps_the_client_on_its_broker },
	{ "reject_new_on_one_broker_is_newest_wins", test_reject_new_on_one_broker_is_newest_wins },
	{ "reject_new_counts_connections_not_sessions",
			test_reject_new_counts_connections_not_sessions },
	{ "reject_new_does_not_count_orphans", test_reject_new_does_not_count_orphans },
	{ "refused_newcomer_supersedes_nobody", test_refused_newcomer_supersedes_nobody },
	{ "waiter_is_judged_again_when_it_is_served",
			test_waiter_is_judged_again_when_it_is_served },
	CU_TEST_INFO_NULL,
};

static CU_TestInfo username_tests[] = {
	{ "client_id_is_bound_to_its_user_name", test_client_id_is_bound_to_its_user_name },
	{ "binding_ends_with_the_last_channel", test_binding_ends_with_the_last_channel },
	{ "binding_holds_during_a_takeover", test_binding_holds_during_a_takeover },
	CU_TEST_INFO_NULL,
};

static CU_TestInfo flap_tests[] = {
	{ "flapping_is_told_once_a_window_with_both_peers",
			test_flapping_is_told_once_a_window_with_both_peers },
	{ "what_is_no_flapping", test_what_is_no_flapping },
	{ "flapping_on_one_broker", test_flapping_on_one_broker },
	{ "flapping_is_seen_across_windows", test_flapping_is_seen_across_windows },
	{ "flapping_client_is_held_down", test_flapping_client_is_held_down },
	{ "more_flapping_ids_than_the_detector_remembers",
			test_more_flapping_ids_than_the_detector_remembers },
	CU_TEST_INFO_NULL,
};

static CU_TestInfo inspect_tests[] = {
	{ "inspect_a_living_channel", test_inspect_a_living_channel },
	{ "inspect_a_retained_session_asks_nobody", test_inspect_a_retained_session_asks_nobody },
	{ "inspect_an_unknown_channel", test_inspect_an_unknown_channel },
	{ "inspect_that_crosses_the_end", test_inspect_that_crosses_the_end },
	{ "inspect_during_a_takeover", test_inspect_during_a_takeover },
	{ "inspect_never_answered", test_inspect_never_answered },
	{ "destroy_gives_inspections_back", test_destroy_gives_inspections_back },
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "reject-new", NULL, NULL, NULL, NULL, reject_tests },
	{ "user names", NULL, NULL, NULL, NULL, username_tests },
	{ "flapping", NULL, NULL, NULL, NULL, flap_tests },
	{ "inspection", NULL, NULL, NULL, NULL, inspect_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
