/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Retained sessions at the channel manager: what a newcomer does with what it finds, expiry, limits.
 */
#include "cm_session_rig.h"

#include <rte_common.h>

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
		{ "clean start elsewhere", { .clientid = "a", .broker = 1 }, 0, 1,
				MQT_C_SESSION_LEFT_BEHIND, "bB2>A *B2 +B2" },
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
	mqt_slot_count(&rig_slot_of(rig, b->id)->slot, MQT_RECV_OCT, 17);
	mqt_rcu_read_lock();
	CHECK_EQ(mqt_cm_stats(rig->cm, a->id, stats, NULL), 0);
	CHECK_EQ(stats[MQT_RECV_OCT], 0); /* its own, not the slot's */
	mqt_rcu_read_unlock();
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

	rig->config.limits.down_batch = N; /* what is marked as it is read, is so in this turn */
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
	{ "retained", NULL, NULL, NULL, NULL, retained_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
