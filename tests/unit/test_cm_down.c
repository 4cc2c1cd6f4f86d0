/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end of channels: out of the live map at once, out of the others in slices.
 */
#include "cm_rig.h"

static const struct rig_params small = { 2, 64, 64, 256 };

static const struct rig_open id_a = { .clientid = "a" };

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

static CU_TestInfo down_tests[] = {
	T(down_leaves_the_live_map_at_once_and_the_others_in_slices),
	T(second_down_is_unknown),
	T(bouncing_client_does_not_fill_the_queue),
	T(queue_full_of_finished_entries_loses_no_down),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "down", NULL, NULL, NULL, NULL, down_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
