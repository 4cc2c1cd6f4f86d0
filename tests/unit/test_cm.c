/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening: who is granted, who is discarded for it, who is refused, and newcomers that die.
 */
#include "cm_rig.h"

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

static CU_SuiteInfo suites[] = {
	{ "register", NULL, NULL, NULL, NULL, register_tests },
	{ "open", NULL, NULL, NULL, NULL, open_tests },
	{ "newcomers that die", NULL, NULL, NULL, NULL, death_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
