/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_rig.h"

#include <rte_common.h>

/* Two CONNACKs of one client id from one broker within the same moment: the broker decides. */

#define CONTEST_MS 50

static const struct rig_params small = { 2, 64, 64, 256 };

static struct rig *
rig_contest(void)
{
	struct rig *rig = rig_create(small);

	rig->config.limits.contest_ms = CONTEST_MS;
	return rig;
}

/* Time passes, everybody answers. */
static void
pass(struct rig *rig, unsigned ms)
{
	for (unsigned i = 0; i < ms; i++) {
		rig_turn(rig, 1);
		rig_poll_all(rig);
		rig_grace(rig);
	}
}

static struct rig_open
id_a(uint64_t stamp_ns, uint8_t broker)
{
	return (struct rig_open){ .clientid = "a", .stamp_ns = stamp_ns, .broker = broker };
}

static void
test_whom_the_broker_keeps_is_admitted_though_its_stamp_is_older(void)
{
	struct rig *rig = rig_contest();
	struct rig_conn *closed = rig_connect(rig, 0, id_a(RIG_T0 + 10, 0));
	struct rig_conn *kept = rig_open(rig, 1, id_a(RIG_T0 + 9, 0));

	pass(rig, 3);
	CHECK_EQ(kept->n_grants, 0);
	CHECK_EQ(kept->n_refusals, 0);
	rig_end(rig, closed); /* the broker has closed it */
	pass(rig, CONTEST_MS);
	rig_settle(rig);
	CHECK_EQ(kept->n_grants, 1);
	CHECK_EQ(kept->n_refusals, 0);
	CHECK(rig_live(rig, kept));
	CHECK_EQ(closed->n_stepdowns, 0);
	CHECK_EQ(rig_counter(rig, MQT_C_CONTESTS), 1);
	rig_check_end(rig);
}

static void
test_whom_the_broker_closes_ends_nobody_though_its_stamp_is_newer(void)
{
	struct rig *rig = rig_contest();
	struct rig_conn *kept = rig_connect(rig, 0, id_a(RIG_T0 + 9, 0));
	struct rig_conn *closed = rig_open(rig, 1, id_a(RIG_T0 + 10, 0));

	pass(rig, 3);
	rig_end(rig, closed);
	pass(rig, CONTEST_MS);
	rig_settle(rig);
	CHECK_EQ(kept->n_stepdowns, 0);
	CHECK(rig_live(rig, kept));
	CHECK_EQ(closed->n_grants, 0);
	CHECK_EQ(rig_counter(rig, MQT_C_DEAD_WAITERS), 1);
	rig_check_end(rig);
}

static void
test_stamps_decide_where_the_broker_does_not(void)
{
	struct rig *rig = rig_contest();
	struct rig_conn *a = rig_connect(rig, 0, id_a(RIG_T0 + 10, 0));
	struct rig_conn *older = rig_open(rig, 1, id_a(RIG_T0 + 9, 0));
	struct rig_conn *newer = rig_open(rig, 1, id_a(RIG_T0 + 11, 0));

	pass(rig, CONTEST_MS - 1);
	CHECK_EQ(older->n_refusals, 0);
	CHECK_EQ(newer->n_grants, 0);
	CHECK(rig_live(rig, a));
	pass(rig, 3);
	rig_settle(rig);
	CHECK_EQ(older->n_refusals, 1);
	CHECK_EQ(older->reason, MQT_REASON_SUPERSEDED);
	CHECK_EQ(a->n_stepdowns, 1);
	CHECK_EQ(newer->n_grants, 1);
	CHECK(rig_live(rig, newer));
	rig_check_end(rig);
}

static void
test_of_many_at_once_the_one_that_the_broker_keeps_is_left(void)
{
	enum {
		N = 8
	};

	/* whichever it is, and whatever the order of stamps */
	for (unsigned kept = 0; kept < N; kept++) {
		struct rig *rig = rig_contest();
		struct rig_conn *c[N];

		for (unsigned i = 0; i < N; i++)
			c[i] = rig_open(rig, i % 2, id_a(RIG_T0 + 1 + (i * 5 + 3) % N, 0));
		pass(rig, 2);
		for (unsigned i = 0; i < N; i++)
			if (i != kept)
				rig_end(rig, c[i]);
		pass(rig, CONTEST_MS + 2);
		rig_settle(rig);
		CHECK_EQ(c[kept]->n_grants, 1);
		CHECK_EQ(c[kept]->n_refusals + c[kept]->n_stepdowns, 0);
		CHECK(rig_live(rig, c[kept]));
		rig_check_end(rig);
	}
}

static void
test_no_contest_on_two_brokers_or_with_time_between(void)
{
	static const struct {
		const char *name;
		uint64_t apart_ns;
		uint8_t broker;
	} rows[] = {
		{ "another broker", 1, 1 },
		{ "as long ago as the limit", CONTEST_MS * RIG_MS, 0 },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct rig *rig = rig_contest();
		struct rig_conn *a = rig_connect(rig, 0, id_a(RIG_T0 + 10, 0));
		struct rig_conn *b = rig_open(
				rig, 1, id_a(RIG_T0 + 10 + rows[i].apart_ns, rows[i].broker));

		check_row = rows[i].name;
		pass(rig, 4);
		CHECK_EQ(b->n_grants, 1);
		CHECK_EQ(a->n_stepdowns, 1);
		CHECK_EQ(rig_counter(rig, MQT_C_CONTESTS), 0);
		rig_check_end(rig);
	}
	check_row = "";
}

static CU_TestInfo tests[] = {
	{ "whom_the_broker_keeps_is_admitted_though_its_stamp_is_older",
			test_whom_the_broker_keeps_is_admitted_though_its_stamp_is_older },
	{ "whom_the_broker_closes_ends_nobody_though_its_stamp_is_newer",
			test_whom_the_broker_closes_ends_nobody_though_its_stamp_is_newer },
	{ "stamps_decide_where_the_broker_does_not", test_stamps_decide_where_the_broker_does_not },
	{ "of_many_at_once_the_one_that_the_broker_keeps_is_left",
			test_of_many_at_once_the_one_that_the_broker_keeps_is_left },
	{ "no_contest_on_two_brokers_or_with_time_between",
			test_no_contest_on_two_brokers_or_with_time_between },
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "contests", NULL, NULL, NULL, NULL, tests },
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
