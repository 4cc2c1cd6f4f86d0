/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_rig.h"

static const struct rig_params small = { 2, 64, 64, 256 };

static void
test_clean_open_is_granted_and_registered(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_open(rig, 0, (struct rig_open){ .clientid = "a" });

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
	rig_check_end(rig);
}

static void
test_second_open_discards_the_first_before_its_grant(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, (struct rig_open){ .clientid = "a" });
	struct rig_conn *b;

	b = rig_open(rig, 1, (struct rig_open){ .clientid = "a" });
	for (unsigned i = 0; i < 10; i++) {
		rig_turn(rig, 1);
		CHECK_EQ(b->n_grants, 0);
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
	rig_check_end(rig);
}

static CU_TestInfo open_tests[] = {
	{ "clean open is granted and registered", test_clean_open_is_granted_and_registered },
	{ "second open discards the first before its grant",
			test_second_open_discards_the_first_before_its_grant },
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "open", NULL, NULL, NULL, NULL, open_tests },
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
