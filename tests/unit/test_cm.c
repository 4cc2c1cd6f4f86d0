/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_rig.h"

#include <pthread.h>
#include <sched.h>

#include <rte_common.h>

static const struct rig_params small = { 2, 64, 64, 256 };

static const struct rig_open id_a = { .clientid = "a" };

/* --- register, unregister ----------------------------------------------------------------------- */

static void
test_register_twice_is_refused(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_conn_make(rig, 0, &id_a);

	mqt_role_control_assert();
	rig->n_opens++; /* it will end like one */
	CHECK_EQ(mqt_cm_register(rig->cm, a->id, a->info, 5), 0);
	CHECK_EQ(mqt_cm_register(rig->cm, a->id, a->info, 6), -EEXIST);
	CHECK_EQ(rig_sizes(rig).channels, 1);
	CHECK_STR(rig_story(rig), "+A1");
	rig_check_end(rig);
}

static void
test_unregister_unknown_is_enoent(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);

	mqt_role_control_assert();
	CHECK_EQ(mqt_cm_unregister(rig->cm, a->id + 1), -ENOENT); /* another generation (I3) */
	CHECK(rig_live(rig, a));
	rig_check_end(rig);
}

static void
test_unregistered_channel_is_released_after_its_down(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);

	mqt_role_control_assert();
	rig_story(rig);
	CHECK_EQ(mqt_cm_unregister(rig->cm, a->id), 0);
	CHECK_EQ(rig_sizes(rig).channels, 0);
	CHECK_STR(rig_story(rig), "-A1:none");
	rig_settle(rig);
	CHECK_EQ(a->n_releases, 0);
	rig_end(rig, a);
	rig_settle(rig);
	CHECK_EQ(a->n_releases, 1);
	CHECK_STR(rig_story(rig), "");
	rig_check_end(rig);
}

/* --- opening -------------------------------------------------------------------------------------- */

static void
test_clean_open_is_granted_and_registered(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_open(rig, 0, id_a);

	rig_turn(rig, 1);
	CHECK_EQ(a->n_grants, 0);
	rig_poll_all(rig);
	CHECK_EQ(a->n_grants, 1);
	CHECK(rig_live(rig, a));
	CHECK(rig_busy(rig)); /* the lock is held until GRANTED */
	rig_turn(rig, 1);
	CHECK(!rig_busy(rig));
	CHECK_EQ(rig_counter(rig, MQT_C_GRANTED), 1);
	CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWNS), 0);
	CHECK_STR(rig_story(rig), "*A1 +A1");
	rig_check_end(rig);
}

static void
test_second_open_discards_the_first_before_its_grant(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *b;

	b = rig_open(rig, 1, id_a);
	for (unsigned i = 0; i < 10; i++) {
		rig_turn(rig, 1);
		rig_poll(rig, 1, 100); /* the old owner has not answered yet */
		CHECK_EQ(b->n_grants, 0);
	}
	rig_poll(rig, 0, 100);
	CHECK_EQ(a->n_stepdowns, 1);
	CHECK_EQ(a->action, MQT_STEPDOWN_DISCARD);
	rig_poll(rig, 1, 100);
	CHECK_EQ(b->n_grants, 0); /* its answer has not been read */
	rig_turn(rig, 1);
	rig_poll(rig, 1, 100);
	CHECK_EQ(b->n_grants, 1);
	CHECK(!rig_live(rig, a));
	CHECK(rig_live(rig, b));
	rig_settle(rig);
	CHECK_EQ(a->n_releases, 1);
	CHECK_EQ(rig_sizes(rig).channels, 1);
	CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWN_OK), 1);
	CHECK_EQ(rig_counter(rig, MQT_C_DISCARDED), 1);
	CHECK_STR(rig_story(rig), "*A1 +A1 -A1:discarded dA1>B *B2 +B2>A");
	CHECK_STR(rig->registry, "+A +B -A"); /* readers never see no channel (R9) */
	rig_check_end(rig);
}

static void
test_old_row_stays_until_the_new_one_is_there(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *b = rig_open(rig, 1, id_a);

	rig->config.limits.down_slice = 1000;
	rig_turn(rig, 1);
	rig_on_stepdown(rig, a, &(struct mqt_msg){ 0 }); /* its token is wrong */
	rig_turn(rig, 1);
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_DISCONNECTED);
	CHECK_EQ(rig_counter(rig, MQT_C_UNEXPECTED_MSG), 1);
	CHECK_EQ(b->n_grants, 0);
	for (unsigned i = 0; i < 10; i++)
		rig_turn(rig, 1);
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_DISCONNECTED);
	rig_poll_all(rig); /* the real one: noproc */
	rig_turn(rig, 1);
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_FREE);
	CHECK_EQ(rig_state(rig, b), MQT_CHAN_CONNECTED);
	CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWN_NOPROC), 1);
	CHECK_EQ(rig_counter(rig, MQT_C_DISCARDED), 0); /* it was gone by itself */
	rig_settle(rig);
	rig_check_end(rig);
}

static void
test_of_simultaneous_opens_only_the_newest_is_granted(void)
{
	enum {
		N = 16
	};
	struct rig *rig = rig_create(small);
	struct rig_conn *old = rig_connect(rig, 0, id_a);
	struct rig_conn *c[N];

	/* alternating workers; stamps not in the order of posting; c[5] is the newest */
	for (unsigned i = 0; i < N; i++)
		c[i] = rig_open(rig, i % 2,
				(struct rig_open){ .clientid = "a",
						.stamp_ns = RIG_T0 + 500 * RIG_MS +
								(i + N - 6) % N });
	rig_settle(rig);
	for (unsigned i = 0; i < N; i++) {
		check_row = i == 5 ? "newest" : "older";
		CHECK_EQ(c[i]->n_grants, i == 5);
		CHECK_EQ(c[i]->n_refusals, i != 5);
		CHECK_EQ(c[i]->n_stepdowns, 0);
		CHECK_EQ(c[i]->reason, i == 5 ? 0 : MQT_REASON_SUPERSEDED);
	}
	check_row = "";
	CHECK_EQ(old->n_stepdowns, 1);
	CHECK(rig_live(rig, c[5]));
	CHECK_EQ(rig_counter(rig, MQT_C_SUPERSEDED), N - 1);
	rig_check_end(rig);
}

static void
test_of_simultaneous_first_opens_only_the_newest_is_registered(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a, *b, *c;

	a = rig_open(rig, 0, (struct rig_open){ .clientid = "a", .stamp_ns = RIG_T0 + 1 });
	b = rig_open(rig, 1, (struct rig_open){ .clientid = "a", .stamp_ns = RIG_T0 + 3 });
	c = rig_open(rig, 0, (struct rig_open){ .clientid = "a", .stamp_ns = RIG_T0 + 2 });
	rig_settle(rig);
	CHECK_EQ(a->n_refusals, 1);
	CHECK_EQ(b->n_grants, 1);
	CHECK_EQ(c->n_refusals, 1);
	CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWNS), 0);
	CHECK_STR(rig_story(rig), "sA1>C sC1>B *B1 +B1");
	rig_check_end(rig);
}

static void
test_opens_are_served_in_the_order_of_their_stamps(void)
{
	struct rig *rig = rig_create(small);

	rig_open(rig, 0, (struct rig_open){ .clientid = "a", .stamp_ns = RIG_T0 + 3 });
	rig_open(rig, 1, (struct rig_open){ .clientid = "b", .stamp_ns = RIG_T0 + 1 });
	rig_open(rig, 0, (struct rig_open){ .clientid = "c", .stamp_ns = RIG_T0 + 2 });
	rig_turn(rig, 1);
	CHECK_STR(rig_story(rig), "*B1 +B1 *C1 +C1 *A1 +A1");
	rig_settle(rig);
	rig_check_end(rig);
}

static void
test_newer_open_during_stepdown_supersedes_the_current(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *b, *c, *d;

	rig_story(rig);
	b = rig_open(rig, 1,
			(struct rig_open){ .clientid = "a", .stamp_ns = RIG_T0 + RIG_MS * 50 });
	rig_turn(rig, 1);
	c = rig_open(rig, 1,
			(struct rig_open){ .clientid = "a", .stamp_ns = RIG_T0 + RIG_MS * 70 });
	rig_turn(rig, 1);
	/* older than the waiter, newer than the current one: refused at once */
	d = rig_open(rig, 1,
			(struct rig_open){ .clientid = "a", .stamp_ns = RIG_T0 + RIG_MS * 60 });
	rig_turn(rig, 1);
	rig_poll(rig, 1, 100);
	CHECK_EQ(d->n_refusals, 1);
	CHECK_EQ(b->n_refusals, 0);
	rig_settle(rig);
	CHECK_EQ(a->n_stepdowns, 1);
	CHECK_EQ(b->n_refusals, 1);
	CHECK_EQ(b->n_grants, 0);
	CHECK_EQ(c->n_grants, 1);
	CHECK_STR(rig_story(rig), "sD2>C -A1:discarded dA1>B sB2>C *C2 +C2>A");
	rig_check_end(rig);
}

static void
test_open_older_than_the_registered_is_superseded(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a, *b, *c;

	a = rig_connect(rig, 0, (struct rig_open){ .clientid = "a", .stamp_ns = RIG_T0 + 10 });
	b = rig_connect(rig, 1, (struct rig_open){ .clientid = "a", .stamp_ns = RIG_T0 + 9 });
	CHECK_EQ(b->n_refusals, 1);
	CHECK_EQ(b->reason, MQT_REASON_SUPERSEDED);
	CHECK_EQ(a->n_stepdowns, 0);
	/* equal stamps: the greater channel id is the newer one */
	c = rig_connect(rig, 1, (struct rig_open){ .clientid = "a", .stamp_ns = RIG_T0 + 10 });
	CHECK_EQ(c->n_grants, 1);
	CHECK_EQ(a->n_stepdowns, 1);
	CHECK_STR(rig_story(rig), "*A1 +A1 sB2>A -A1:discarded dA1>C *C2 +C2>A");
	rig_check_end(rig);
}

static void
test_open_older_than_a_disconnected_row_is_granted(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a, *b;

	a = rig_connect(rig, 0, (struct rig_open){ .clientid = "a", .stamp_ns = RIG_T0 + 10 });
	rig_end(rig, a);
	b = rig_open(rig, 1, (struct rig_open){ .clientid = "a", .stamp_ns = RIG_T0 + 9 });
	rig_turn(rig, 1);
	rig_poll_all(rig);
	CHECK_EQ(b->n_grants, 1);
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_FREE); /* finished at once (R2) */
	CHECK_EQ(a->n_stepdowns, 0);
	CHECK_STR(rig_story(rig), "*A1 +A1 -A1:client_closed *B2 +B2");
	rig_check_end(rig);
}

static void
test_second_open_of_a_channel_is_ignored(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);

	rig_post(rig, a, (struct mqt_msg){ .type = MQT_MSG_OPEN, .info = a->info });
	rig_settle(rig);
	CHECK_EQ(rig_counter(rig, MQT_C_UNEXPECTED_MSG), 1);
	CHECK_EQ(a->n_stepdowns, 0);
	CHECK_EQ(a->n_grants, 1);
	CHECK(rig_live(rig, a));
	rig_check_end(rig);
}

static void
test_anonymous_clients_never_compete(void)
{
	struct rig *rig = rig_create(small);

	for (unsigned i = 0; i < 20; i++)
		rig_open(rig, i % 2, (struct rig_open){ 0 });
	rig_settle(rig);
	CHECK_EQ(rig_sizes(rig).live, 20);
	CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWNS), 0);
	CHECK_EQ(rig_counter(rig, MQT_C_SUPERSEDED), 0);
	rig_check_end(rig);
}

static void
test_different_ids_do_not_meet(void)
{
	static const struct rig_open ids[] = {
		{ .clientid = "dev", .len = 3 },
		{ .clientid = "dev", .len = 3, .domain = 1 },
		{ .clientid = "dev\0", .len = 4 },
		{ .clientid = "dev\0\0", .len = 5 },
		{ .clientid = "\0dev", .len = 4 },
		{ .clientid = "Dev", .len = 3 },
		{ .clientid = "de", .len = 2 },
		{ .clientid = "devv", .len = 4 },
	};
	struct rig *rig = rig_create(small);
	struct rig_conn *c[RTE_DIM(ids)];

	for (unsigned i = 0; i < RTE_DIM(ids); i++)
		c[i] = rig_connect(rig, i % 2, ids[i]);
	CHECK_EQ(rig_sizes(rig).live, RTE_DIM(ids));
	CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWNS), 0);
	for (unsigned i = 0; i < RTE_DIM(ids); i++) {
		const struct mqt_chan *found[2];
		unsigned n;

		mqt_rcu_read_lock();
		n = mqt_cm_lookup(rig->cm, ids[i].domain, ids[i].clientid, ids[i].len, found, 2);
		CHECK_EQ(n, 1);
		CHECK(n == 1 && found[0]->id == c[i]->id);
		mqt_rcu_read_unlock();
	}
	rig_check_end(rig);
}

/* --- newcomers that die ------------------------------------------------------------------------- */

static void
test_newcomer_dies_before_it_is_applied(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *b = rig_open(rig, 1, id_a);

	rig_end(rig, b);
	rig_settle(rig);
	CHECK_EQ(b->n_releases, 1);
	CHECK_EQ(b->n_grants, 0);
	CHECK_EQ(a->n_stepdowns, 0);
	CHECK(rig_live(rig, a));
	CHECK_EQ(rig_counter(rig, MQT_C_DEAD_WAITERS), 1);
	rig_check_end(rig);
}

static void
test_newcomer_dies_during_stepdowns(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *b = rig_open(rig, 1, id_a);

	rig_turn(rig, 1);
	rig_end(rig, b);
	rig_turn(rig, 1);
	rig_poll(rig, 1, 100);
	CHECK_EQ(b->n_releases, 1);
	rig_settle(rig);
	CHECK_EQ(a->n_stepdowns, 1);
	CHECK_EQ(a->n_releases, 1);
	CHECK_EQ(rig_sizes(rig).channels, 0);
	CHECK(!rig_busy(rig));
	rig_check_end(rig);
}

static void
test_waiter_dies_and_the_current_goes_on(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *b, *c;

	rig_connect(rig, 0, id_a);
	b = rig_open(rig, 1, id_a);
	rig_turn(rig, 1);
	c = rig_open(rig, 1, id_a);
	rig_turn(rig, 1);
	rig_end(rig, c);
	rig_settle(rig);
	CHECK_EQ(b->n_grants, 1);
	CHECK_EQ(c->n_releases, 1);
	CHECK(rig_live(rig, b));
	rig_check_end(rig);
}

static void
test_current_dies_and_the_waiter_profits(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *b, *c;

	rig_story(rig);
	b = rig_open(rig, 1, id_a);
	rig_turn(rig, 1);
	rig_end(rig, b);
	rig_turn(rig, 1);
	/* older than the dead one: that no longer stands in its way */
	c = rig_open(rig, 1, (struct rig_open){ .clientid = "a", .stamp_ns = b->stamp_ns - 1 });
	rig_settle(rig);
	CHECK_EQ(a->n_stepdowns, 1);
	CHECK_EQ(c->n_grants, 1);
	CHECK_STR(rig_story(rig), "-A1:discarded dA1>C *C2 +C2>A");
	rig_check_end(rig);
}

static void
test_granted_newcomer_that_is_gone_is_returned(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_open(rig, 0, id_a);
	struct rig_conn *b;

	rig_turn(rig, 1);
	rig_end(rig, a); /* before it reads its GRANT */
	rig_turn(rig, 1);
	CHECK(!rig_live(rig, a));
	b = rig_open(rig, 1, id_a);
	rig_turn(rig, 1);
	rig_poll(rig, 1, 100);
	CHECK_EQ(b->n_grants, 0); /* the lock is held until RETURN (R4) */
	rig_poll(rig, 0, 100);
	rig_turn(rig, 1);
	rig_poll(rig, 1, 100);
	CHECK_EQ(b->n_grants, 1);
	CHECK_EQ(rig_counter(rig, MQT_C_RETURNED), 1);
	rig_settle(rig);
	CHECK_EQ(a->n_releases, 1);
	rig_check_end(rig);
}

static void
test_down_that_crosses_refuse_is_ignored(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *b;

	rig_connect(rig, 0, (struct rig_open){ .clientid = "a", .stamp_ns = RIG_T0 + 10 });
	b = rig_open(rig, 1, (struct rig_open){ .clientid = "a", .stamp_ns = RIG_T0 + 9 });
	rig_turn(rig, 1);
	rig_end(rig, b);
	rig_settle(rig);
	CHECK_EQ(b->n_refusals, 1);
	CHECK_EQ(b->n_releases, 0);
	CHECK_EQ(rig_counter(rig, MQT_C_DOWN_UNKNOWN), 1);
	rig_check_end(rig);
}

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

/* --- commands ------------------------------------------------------------------------------------- */

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

/* --- DOWN --------------------------------------------------------------------------------------- */

static void
test_down_leaves_the_live_map_at_once_and_the_others_in_slices(void)
{
	enum {
		N = 40
	};
	struct rig *rig = rig_create(small);
	struct rig_conn *c[N];
	uint64_t gone = 0;

	rig->config.limits.down_slice = 7;
	for (unsigned i = 0; i < N; i++) {
		char id[8];

		snprintf(id, sizeof(id), "c%u", i);
		c[i] = rig_open(rig, i % 2, (struct rig_open){ .clientid = id });
	}
	rig_settle(rig);
	CHECK_EQ(rig_sizes(rig).live, N);
	for (unsigned i = 0; i < N; i++)
		rig_end(rig, c[i]);
	rig_turn(rig, 1);
	CHECK_EQ(rig_sizes(rig).live, 0);
	CHECK_EQ(rig_sizes(rig).channels, N - 7);
	while (rig_sizes(rig).channels > 0) {
		uint64_t before = rig_counter(rig, MQT_C_UNREGISTERED);

		CHECK(rig_turn(rig, 1) > 0);
		gone = rig_counter(rig, MQT_C_UNREGISTERED);
		CHECK(gone - before <= 7);
	}
	CHECK_EQ(gone, N);
	rig_check_end(rig);
}

static void
test_second_down_is_unknown(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);

	rig_end(rig, a);
	rig_post(rig, a, (struct mqt_msg){ .type = MQT_MSG_DOWN });
	rig_settle(rig);
	rig_post(rig, a, (struct mqt_msg){ .type = MQT_MSG_DOWN });
	rig_settle(rig);
	CHECK_EQ(rig_counter(rig, MQT_C_DOWN), 3);
	CHECK_EQ(rig_counter(rig, MQT_C_DOWN_UNKNOWN), 2);
	CHECK_EQ(a->n_releases, 1);
	rig_check_end(rig);
}

static void
test_storm_of_downs_does_not_hold_up_an_open(void)
{
	enum {
		N = 200000,
		BATCH = 30000,
		SLICE = 1000,
	};
	struct rig *rig = rig_create((struct rig_params){ 1, N + 16, N + 16, 1u << 18 });
	struct rig_conn **c = calloc(N, sizeof(struct rig_conn *));
	struct rig_conn *newcomer = NULL, *again = NULL;
	unsigned turns = 0;

	if (!c)
		abort();
	for (unsigned i = 0; i < N; i++) {
		char id[16];

		snprintf(id, sizeof(id), "c%u", i);
		c[i] = rig_open(rig, 0, (struct rig_open){ .clientid = id });
	}
	rig_settle(rig);
	CHECK_EQ(rig_sizes(rig).live, N);
	rig->config.limits.down_batch = BATCH;
	rig->config.limits.down_slice = SLICE;
	for (unsigned i = 0; i < N; i++) {
		if (i == N / 2) {
			newcomer = rig_open(rig, 0, (struct rig_open){ .clientid = "new" });
			/* its old channel's DOWN is in the storm, right before */
			again = rig_open(rig, 0, (struct rig_open){ .clientid = "c99999" });
		}
		rig_end(rig, c[i]);
	}
	while (rig_counter(rig, MQT_C_DOWN) < N) {
		uint64_t downs = rig_counter(rig, MQT_C_DOWN);
		uint64_t gone = rig_counter(rig, MQT_C_UNREGISTERED);
		uint64_t opens = rig_counter(rig, MQT_C_OPENS);

		rig_turn(rig, 1);
		turns++;
		CHECK(rig_counter(rig, MQT_C_DOWN) - downs <= BATCH);
		/* one outside the slice: the old channel of "c99999" */
		CHECK(rig_counter(rig, MQT_C_UNREGISTERED) - gone <= SLICE + 1);
		if (opens == N && rig_counter(rig, MQT_C_OPENS) > N) {
			CHECK_EQ(rig_counter(rig, MQT_C_GRANTS), N + 2); /* the same turn */
			CHECK_EQ(rig_state(rig, c[99999]), MQT_CHAN_FREE);
		}
	}
	CHECK(turns >= N / BATCH);
	CHECK(turns < N / BATCH + 3);
	rig_poll_all(rig);
	CHECK_EQ(newcomer->n_grants, 1);
	CHECK_EQ(again->n_grants, 1);
	CHECK_EQ(rig_sizes(rig).live, 2);
	CHECK(rig_sizes(rig).channels > 100000); /* the slices go on behind it */
	rig->event_cursor = mqt_event_ring_last(rig->events);
	free(c);
	rig_check_end(rig);
}

static void
test_bouncing_client_does_not_fill_the_queue(void)
{
	struct rig *rig = rig_create((struct rig_params){ 1, 8, 4, 64 });
	struct rig_conn *conn;

	/* each entry of the queue is stale by the time it is reached; there is room for four */
	rig->config.limits.down_slice = 1;
	for (unsigned i = 0; i < 200; i++) {
		conn = rig_open(rig, 0, id_a);
		CHECK(conn != NULL);
		if (!conn)
			break;
		rig_turn(rig, 1);
		rig_poll_all(rig);
		CHECK_EQ(conn->n_grants, 1);
		rig_end(rig, conn);
		rig_grace(rig);
	}
	rig_check_end(rig);
}

/* Opens a client and has it confirmed. */
static struct rig_conn *
open_now(struct rig *rig, const char *id)
{
	struct rig_conn *conn = rig_open(rig, 0, (struct rig_open){ .clientid = id });

	if (!conn)
		abort();
	return conn;
}

static void
test_queue_full_of_finished_entries_loses_no_down(void)
{
	struct rig *rig = rig_create((struct rig_params){ 1, 64, 4, 64 });
	static const char *const ids[] = { "a", "b", "c", "d" };
	struct rig_conn *c[4], *n[3];

	rig->config.limits.down_slice = 1;
	for (unsigned i = 0; i < 4; i++)
		c[i] = open_now(rig, ids[i]);
	rig_settle(rig);
	for (unsigned i = 0; i < 4; i++)
		rig_end(rig, c[i]);
	rig_turn(rig, 1); /* unregisters a; b, c, d wait in a queue of four */
	n[0] = open_now(rig, "a");
	n[1] = open_now(rig, "d");
	n[2] = open_now(rig, "e");
	/* finishes d, so its entry is stale; unregisters b; then there is room for e */
	rig_turn(rig, 1);
	rig_poll_all(rig);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(n[i]->n_grants, 1);
		rig_end(rig, n[i]);
	}
	rig_turn(rig, 1); /* c, the stale one, and three more */
	CHECK_EQ(rig_sizes(rig).live, 0);
	rig_settle(rig);
	CHECK_EQ(rig_sizes(rig).channels, 0);
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(c[i]->n_releases, 1);
	rig_check_end(rig);
}

/* --- room --------------------------------------------------------------------------------------- */

static const struct rig_params two_clients = { 2, 4096, 2, 256 };

static void
test_full_maps_refuse_a_newcomer_and_harm_nobody(void)
{
	struct rig *rig = rig_create(two_clients);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *b = rig_connect(rig, 0, (struct rig_open){ .clientid = "b" });
	struct rig_conn *c = rig_connect(rig, 1, (struct rig_open){ .clientid = "c" });

	CHECK_EQ(c->n_refusals, 1);
	CHECK_EQ(c->reason, MQT_REASON_TABLE_FULL);
	CHECK_EQ(rig_counter(rig, MQT_C_TABLE_FULL), 1);
	CHECK(rig_live(rig, a));
	CHECK(rig_live(rig, b));
	CHECK_STR(rig_story(rig), "*A1 +A1 *B1 +B1 rC1:table_full");
	rig_check_end(rig);
}

static void
test_full_maps_let_a_client_replace_itself(void)
{
	struct rig *rig = rig_create(two_clients);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *b = rig_connect(rig, 0, (struct rig_open){ .clientid = "b" });
	struct rig_conn *c = rig_connect(rig, 1, id_a);

	CHECK_EQ(c->n_grants, 1);
	CHECK_EQ(a->n_releases, 1);
	CHECK(rig_live(rig, b));
	CHECK(rig_live(rig, c));
	CHECK_EQ(rig_sizes(rig).channels, 2);
	rig_check_end(rig);
}

static void
test_full_maps_wait_for_what_is_on_its_way_out(void)
{
	struct rig *rig = rig_create(two_clients);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *c;

	rig_connect(rig, 0, (struct rig_open){ .clientid = "b" });
	rig_end(rig, a);
	c = rig_open(rig, 1, (struct rig_open){ .clientid = "c" });
	rig_turn(rig, 1);
	rig_poll_all(rig);
	CHECK_EQ(c->n_refusals, 0);
	rig_settle(rig);
	CHECK_EQ(c->n_grants, 1);
	CHECK(rig_live(rig, c));
	rig_check_end(rig);
}

/* Uses up the rows that a grace period would give back. Returns the newest channel of "a". */
static struct rig_conn *
use_up_rows(struct rig *rig)
{
	struct rig_conn *a = NULL;

	while (rig_sizes(rig).free > 0) {
		a = rig_open(rig, 0, id_a);
		for (unsigned i = 0; i < 3; i++) {
			rig_turn(rig, 1);
			rig_poll_all(rig);
		}
	}
	return a;
}

static void
test_nobody_steps_down_for_a_newcomer_without_a_row(void)
{
	struct rig *rig = rig_create(two_clients);
	struct rig_conn *a = use_up_rows(rig);
	struct rig_conn *b = rig_open(rig, 1, id_a);

	for (unsigned ms = 0; ms < 500; ms++) {
		rig_turn(rig, 1);
		rig_poll_all(rig);
	}
	CHECK_EQ(a->n_stepdowns, 0);
	CHECK_EQ(b->n_refusals, 0);
	rig_turn(rig, 1);
	rig_poll_all(rig);
	CHECK_EQ(b->n_refusals, 1); /* no grace period ended within the limit */
	CHECK_EQ(b->reason, MQT_REASON_TABLE_FULL);
	CHECK(rig_live(rig, a));
	CHECK(!(rig_counter(rig, MQT_C_TABLE_FULL) > 1));
	rig->event_cursor = mqt_event_ring_last(rig->events);
	rig_check_end(rig);
}

static void
test_newcomers_wait_for_a_row_in_order(void)
{
	struct rig *rig = rig_create(two_clients);
	struct rig_conn *a = use_up_rows(rig);
	struct rig_conn *b, *c, *d, *e;

	b = rig_open(rig, 1, id_a);
	rig_turn(rig, 1);
	c = rig_open(rig, 1, (struct rig_open){ .clientid = "c" });
	rig_turn(rig, 1);
	d = rig_open(rig, 1, id_a); /* takes b's place in the queue */
	rig_turn(rig, 1);
	e = rig_open(rig, 1, (struct rig_open){ .clientid = "e" });
	rig_turn(rig, 1);
	rig_end(rig, e); /* dies waiting */
	rig_turn(rig, 1);
	rig_poll_all(rig);
	CHECK_EQ(b->n_refusals, 1);
	CHECK_EQ(b->reason, MQT_REASON_SUPERSEDED);
	CHECK_EQ(c->n_refusals + c->n_grants, 0);
	CHECK_EQ(e->n_releases, 1);
	CHECK_EQ(a->n_stepdowns, 0);
	rig_settle(rig);
	CHECK_EQ(c->n_grants, 1);
	CHECK_EQ(d->n_grants, 1);
	CHECK_EQ(a->n_stepdowns, 1);
	CHECK_EQ(rig_sizes(rig).channels, 2);
	rig->event_cursor = mqt_event_ring_last(rig->events);
	rig_check_end(rig);
}

static void
test_newcomers_that_die_give_their_row_back(void)
{
	struct rig *rig = rig_create(two_clients);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	uint32_t n_rows = rig_sizes(rig).free + 2;
	struct rig_conn *last;

	for (uint32_t i = 0; i < n_rows; i++) {
		struct rig_conn *b = rig_open(rig, 1, id_a);

		rig_turn(rig, 1); /* a row is set aside, the old one is asked */
		rig_end(rig, b);
		rig_turn(rig, 1);
		rig_settle(rig);
		a = rig_connect(rig, 0, id_a);
		if (!rig_live(rig, a))
			break;
	}
	last = rig_connect(rig, 1, id_a);
	CHECK(rig_live(rig, last));
	rig->event_cursor = mqt_event_ring_last(rig->events);
	rig_check_end(rig);
}

static void
test_full_rings_lose_nothing(void)
{
	struct rig *rig = rig_create((struct rig_params){ 2, 256, 256, 2 });
	struct rig_conn *c[200];

	for (unsigned i = 0; i < RTE_DIM(c); i++) {
		char id[8];

		snprintf(id, sizeof(id), "c%u", i % 50);
		c[i] = rig_open(rig, i % 2, (struct rig_open){ .clientid = id, .stamp_ns = 1 + i });
	}
	for (unsigned i = 0; i < 1000; i++) {
		rig_turn(rig, 1);
		rig_poll(rig, 0, 1);
		rig_poll(rig, 1, 2);
	}
	rig_settle(rig);
	for (unsigned i = 0; i < RTE_DIM(c); i++) {
		if (i >= 150)
			CHECK(rig_live(rig, c[i]));
		else
			CHECK_EQ(c[i]->n_refusals + c[i]->n_releases, 1);
	}
	CHECK_EQ(rig_sizes(rig).live, 50);
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

/* --- queries ---------------------------------------------------------------------------------------- */

static void
test_lookup_finds_assigned_ids_under_their_brokers(void)
{
	static const struct mqt_endpoint brokers[] = {
		{ .ip = { 10, 0, 1, 1 }, .port = 1883, .version = 4 },
		{ .ip = { 10, 0, 1, 2 }, .port = 1883, .version = 4 },
	};
	struct rig *rig = rig_create(small);
	const struct mqt_chan *out[3];
	struct rig_conn *c[4];

	c[0] = rig_connect(
			rig, 0, (struct rig_open){ .clientid = "x", .assigned_by = &brokers[1] });
	c[1] = rig_connect(rig, 1, (struct rig_open){ .clientid = "x", .domain = 1 });
	c[2] = rig_connect(rig, 0, (struct rig_open){ .clientid = "x" });
	c[3] = rig_connect(
			rig, 1, (struct rig_open){ .clientid = "x", .assigned_by = &brokers[0] });
	CHECK_EQ(rig_sizes(rig).live, 4); /* four clients */
	mqt_rcu_read_lock();
	CHECK_EQ(mqt_cm_lookup(rig->cm, -1, "x", 1, out, 3), 4);
	for (unsigned i = 0; i < 3; i++)
		CHECK(out[i]->id == c[i]->id); /* the oldest first */
	CHECK_EQ(mqt_cm_lookup(rig->cm, 0, "x", 1, out, 3), 3);
	CHECK(out[2]->id == c[3]->id);
	CHECK_EQ(mqt_cm_lookup(rig->cm, 1, "x", 1, out, 3), 1);
	CHECK_EQ(mqt_cm_lookup(rig->cm, -1, "x", 1, NULL, 0), 4);
	CHECK_EQ(mqt_cm_lookup(rig->cm, -1, "y", 1, out, 3), 0);
	CHECK(mqt_cm_info(rig->cm, c[2]->id)->id == c[2]->id);
	CHECK(mqt_cm_info(rig->cm, c[2]->id + 1) == NULL);
	mqt_rcu_read_unlock();
	rig_check_end(rig);
}

static void
test_lookup_compares_the_id_in_full(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_conn_make(rig, 0, &id_a);
	const struct mqt_chan *out[1];

	/* a collision of digests, made by hand */
	mqt_role_control_assert();
	rig->n_opens++;
	a->info->digest = mqt_digest_client(&rig->key, 0, NULL, "x", 1);
	CHECK_EQ(mqt_cm_register(rig->cm, a->id, a->info, 5), 0);
	mqt_rcu_read_lock();
	CHECK_EQ(mqt_cm_lookup(rig->cm, 0, "x", 1, out, 1), 0);
	mqt_rcu_read_unlock();
	rig_check_end(rig);
}

static void
test_walks_and_traffic(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *b = rig_connect(rig, 1, (struct rig_open){ .clientid = "b" });
	uint64_t traffic[MQT_SLOT_N_COUNTERS], seen;
	const struct mqt_chan *row;
	uint32_t pos = 0;
	unsigned n = 0;

	mqt_slot_count(&rig_slot_of(rig, a->id)->slot, MQT_RECV_MSG, 17);
	CHECK_EQ(mqt_cm_stats(rig->cm, a->id, traffic, &seen), 0);
	CHECK_EQ(traffic[MQT_RECV_MSG], 17);
	CHECK_EQ(mqt_cm_stats(rig->cm, a->id + 1, traffic, NULL), -ENOENT);
	CHECK_EQ(mqt_cm_stats(rig->cm, a->id ^ 1ull << 56, traffic, NULL), -ENOENT);
	CHECK_EQ(mqt_cm_stats(rig->cm, a->id | 0xffull << 48, traffic, NULL), -ENOENT);
	CHECK_EQ(mqt_cm_stats(rig->cm, a->id | 0xffffffull << 24, traffic, NULL), -ENOENT);
	rig->config.limits.down_slice = 1;
	mqt_role_control_assert();
	mqt_maps_set_down(rig->maps, b->id, MQT_CHAN_ORPHANED);
	mqt_rcu_read_lock();
	while ((row = mqt_cm_channels_next(rig->cm, &pos)))
		n++;
	CHECK_EQ(n, 2);
	pos = 0;
	row = mqt_cm_live_next(rig->cm, -1, &pos);
	CHECK(row && row->id == a->id);
	CHECK(mqt_cm_live_next(rig->cm, -1, &pos) == NULL);
	pos = 0;
	CHECK(mqt_cm_live_next(rig->cm, MQT_TRANSPORT_TCP, &pos) != NULL);
	pos = 0;
	CHECK(mqt_cm_live_next(rig->cm, MQT_N_TRANSPORTS, &pos) == NULL);
	mqt_rcu_read_unlock();
	CHECK_EQ(mqt_cm_live_count(rig->cm), 1);
	rig_check_end(rig);
}

static void
test_gauges_keep_their_greatest_value(void)
{
	struct rig *rig = rig_create(small);
	struct mqt_cm_gauge g[MQT_CM_N_GAUGES];
	struct rig_conn *a;

	rig_connect(rig, 0, id_a);
	rig_connect(rig, 0, (struct rig_open){ 0 });
	rig_connect(rig, 0, (struct rig_open){ 0 });
	a = rig_connect(rig, 1, id_a); /* takes its own place: not one more */
	rig_end(rig, a);
	rig_settle(rig);
	mqt_cm_gauges(rig->cm, g);
	for (unsigned i = 0; i < MQT_CM_N_GAUGES; i++) {
		check_row = g[i].name;
		CHECK_EQ(g[i].count, 2);
		CHECK_EQ(g[i].max, 3);
	}
	check_row = "";
	CHECK_STR(g[0].name, "channels");
	CHECK_STR(g[3].name, "live_connections");
	rig_check_end(rig);
}

static void
test_create_rejects_what_cannot_work(void)
{
	struct rig *rig = rig_create(small);
	struct mqt_cm_params params = { .config = &rig->config };

	errno = 0;
	CHECK(mqt_cm_create(&params) == NULL); /* no owner */
	CHECK_EQ(errno, EINVAL);
	params.n_owners = MQT_MAX_WORKERS + 1;
	CHECK(mqt_cm_create(&params) == NULL);
	mqt_cm_destroy(NULL);
	rig_check_end(rig);
}

/* ---------------------------------------------------------------------------------------------------- */

#define T(name)                                                                                    \
	{                                                                                          \
#name, test_##name                                                                 \
	}

static CU_TestInfo register_tests[] = {
	T(register_twice_is_refused),
	T(unregister_unknown_is_enoent),
	T(unregistered_channel_is_released_after_its_down),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo open_tests[] = {
	T(clean_open_is_granted_and_registered),
	T(second_open_discards_the_first_before_its_grant),
	T(old_row_stays_until_the_new_one_is_there),
	T(of_simultaneous_opens_only_the_newest_is_granted),
	T(of_simultaneous_first_opens_only_the_newest_is_registered),
	T(opens_are_served_in_the_order_of_their_stamps),
	T(newer_open_during_stepdown_supersedes_the_current),
	T(open_older_than_the_registered_is_superseded),
	T(open_older_than_a_disconnected_row_is_granted),
	T(second_open_of_a_channel_is_ignored),
	T(anonymous_clients_never_compete),
	T(different_ids_do_not_meet),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo death_tests[] = {
	T(newcomer_dies_before_it_is_applied),
	T(newcomer_dies_during_stepdowns),
	T(waiter_dies_and_the_current_goes_on),
	T(current_dies_and_the_waiter_profits),
	T(granted_newcomer_that_is_gone_is_returned),
	T(down_that_crosses_refuse_is_ignored),
	CU_TEST_INFO_NULL,
};

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

static CU_TestInfo command_tests[] = {
	T(kick_and_discard),
	T(commands_about_nobody_are_done_at_once),
	T(outcomes_of_a_command),
	T(kick_during_an_open_hits_the_newcomer_before_the_next_waiter),
	T(stale_channels_all_step_down),
	T(kick_tells_the_outcome_of_each_channel),
	T(commands_from_many_threads_are_each_done_once),
	T(destroy_gives_open_commands_back),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo down_tests[] = {
	T(down_leaves_the_live_map_at_once_and_the_others_in_slices),
	T(second_down_is_unknown),
	T(storm_of_downs_does_not_hold_up_an_open),
	T(bouncing_client_does_not_fill_the_queue),
	T(queue_full_of_finished_entries_loses_no_down),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo room_tests[] = {
	T(full_maps_refuse_a_newcomer_and_harm_nobody),
	T(full_maps_let_a_client_replace_itself),
	T(full_maps_wait_for_what_is_on_its_way_out),
	T(nobody_steps_down_for_a_newcomer_without_a_row),
	T(newcomers_wait_for_a_row_in_order),
	T(newcomers_that_die_give_their_row_back),
	T(full_rings_lose_nothing),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo orphan_tests[] = {
	T(stalled_worker_leaves_orphans_that_come_back),
	T(newcomer_takes_an_orphans_place_at_once),
	T(gap_of_the_control_lcore_stalls_nobody),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo query_tests[] = {
	T(lookup_finds_assigned_ids_under_their_brokers),
	T(lookup_compares_the_id_in_full),
	T(walks_and_traffic),
	T(gauges_keep_their_greatest_value),
	T(create_rejects_what_cannot_work),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "register", NULL, NULL, NULL, NULL, register_tests },
	{ "open", NULL, NULL, NULL, NULL, open_tests },
	{ "newcomers that die", NULL, NULL, NULL, NULL, death_tests },
	{ "limits", NULL, NULL, NULL, NULL, limit_tests },
	{ "commands", NULL, NULL, NULL, NULL, command_tests },
	{ "down", NULL, NULL, NULL, NULL, down_tests },
	{ "room", NULL, NULL, NULL, NULL, room_tests },
	{ "stalled workers", NULL, NULL, NULL, NULL, orphan_tests },
	{ "queries", NULL, NULL, NULL, NULL, query_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
