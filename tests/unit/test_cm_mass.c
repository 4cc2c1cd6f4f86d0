/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_rig.h"

#include <malloc.h>

#include <rte_common.h>

/* Many at once: of one client id, and of different ones. Counted, never timed. */

enum {
	N_SAME = 10000,
	N_WAVE = 31250,
	N_WAVES = 32, /* a million */
};

/* One granted, all others refused once, and nobody stepped down for them. */
static void
check_the_newest_wins(struct rig *rig, struct rig_conn *old, struct rig_conn *newest)
{
	unsigned n_refused = 0, n_granted = 0;

	for (unsigned w = 0; w < rig->n_owners; w++) {
		for (uint32_t i = 0; i < rig->owners[w].n_slots; i++) {
			const struct rig_conn *conn = rig->owners[w].slots[i].conn;

			if (!conn || conn == old)
				continue;
			n_granted += conn->n_grants;
			n_refused += conn->n_refusals == 1 && conn->reason == MQT_REASON_SUPERSEDED;
			if (conn != newest)
				rig->bad += conn->n_stepdowns;
		}
	}
	CHECK_EQ(n_granted, 1);
	CHECK_EQ(newest->n_grants, 1);
	CHECK_EQ(n_refused, N_SAME - 1);
	CHECK(rig_live(rig, newest));
	CHECK_EQ(rig_counter(rig, MQT_C_SUPERSEDED), N_SAME - 1);
	CHECK_EQ(rig_counter(rig, MQT_C_DUPLICATES), 0);
}

/* All in one turn, stamps in no order. */
static void
test_ten_thousand_opens_of_one_id_in_one_turn(void)
{
	for (unsigned resume = 0; resume < 2; resume++) {
		struct rig *rig = rig_create((struct rig_params){ 2, N_SAME, 64, 256 });
		struct rig_conn *old = rig_connect(
				rig, 0, (struct rig_open){ .clientid = "a", .expiry_sec = 60 });
		struct rig_conn *newest = NULL;

		check_row = resume ? "resume" : "clean start";
		for (unsigned i = 0; i < N_SAME; i++) {
			/* 7919 is a prime: each stamp once */
			struct rig_open how = { .clientid = "a",
				.resume = resume,
				.present = resume,
				.expiry_sec = 60,
				.stamp_ns = rig->now_ns + (i + 1) * 7919ull % 10007 };
			struct rig_conn *conn = rig_open(rig, i % 2, how);

			if (!newest || conn->stamp_ns > newest->stamp_ns)
				newest = conn;
		}
		rig_settle(rig);
		check_the_newest_wins(rig, old, newest);
		CHECK_EQ(old->n_stepdowns, 1 + resume);
		CHECK_EQ(newest->n_resumes, resume);
		CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWNS), 1 + resume);
		rig_check_end(rig);
	}
	check_row = "";
}

/* They come a hundred a turn, while the older channel's owner takes its time. */
static void
test_ten_thousand_opens_of_one_id_during_a_stepdown(void)
{
	for (unsigned resume = 0; resume < 2; resume++) {
		struct rig *rig = rig_create((struct rig_params){ 2, N_SAME + 1, 64, 256 });
		struct rig_conn *old = rig_connect(
				rig, 0, (struct rig_open){ .clientid = "a", .expiry_sec = 60 });
		struct rig_conn *newest = NULL;

		check_row = resume ? "resume" : "clean start";
		for (unsigned i = 0; i < N_SAME; i++) {
			newest = rig_open(rig, 1,
					(struct rig_open){ .clientid = "a",
							.resume = resume,
							.present = resume,
							.expiry_sec = 60,
							.stamp_ns = rig->now_ns + i % 100 });
			if (i % 100 < 99)
				continue;
			rig_turn(rig, 1);
			rig_poll(rig, 1, UINT32_MAX);
			if (i == N_SAME / 2)
				rig_poll(rig, 0, UINT32_MAX);
		}
		CHECK_EQ(newest->n_grants, 0);
		rig_settle(rig);
		check_the_newest_wins(rig, old, newest);
		CHECK_EQ(newest->n_resumes, resume);
		CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWNS), 1 + resume);
		rig_check_end(rig);
	}
	check_row = "";
}

/* A million client ids, in waves that open in one turn and are all granted in it. */
static void
test_million_ids(void)
{
	struct rig *rig = rig_create((struct rig_params){ 2, N_WAVE, 40000, 65536 });
	size_t bytes = 0;

	rig->forget = true;
	for (unsigned wave = 0; wave < N_WAVES; wave++) {
		for (unsigned i = 0; i < N_WAVE; i++) {
			char id[16];

			snprintf(id, sizeof(id), "c%07u", wave * N_WAVE + i);
			rig_open(rig, i % 2, (struct rig_open){ .clientid = id });
		}
		rig_turn(rig, 1);
		CHECK_EQ(rig_counter(rig, MQT_C_GRANTS), (wave + 1ull) * N_WAVE);
		CHECK_EQ(rig_sizes(rig).live, N_WAVE);
		rig_poll_all(rig);
		for (unsigned w = 0; w < 2; w++) {
			for (unsigned i = 0; i < N_WAVE; i++) {
				if (rig->owners[w].slots[i].conn)
					rig_end(rig, rig->owners[w].slots[i].conn);
			}
		}
		while (rig_busy(rig)) {
			rig_turn(rig, 1);
			rig_poll_all(rig);
			rig_grace(rig);
		}
		rig_poll_all(rig);
		if (wave == 1)
			bytes = mallinfo2().uordblks;
	}
	/* what the million left behind is no more than what the first waves did; a sanitizer's
	 * allocator tells 0, and finds leaks itself */
	CHECK(mallinfo2().uordblks <= bytes + bytes / 10);
	CHECK_EQ(rig_counter(rig, MQT_C_OPENS), 1000000);
	CHECK_EQ(rig_counter(rig, MQT_C_GRANTED), 1000000);
	CHECK_EQ(rig_counter(rig, MQT_C_RELEASED), 1000000);
	CHECK_EQ(rig_counter(rig, MQT_C_TABLE_FULL), 0);
	CHECK_EQ(rig_counter(rig, MQT_C_STEPDOWNS), 0);
	rig_check_end(rig);
}

static CU_TestInfo tests[] = {
	{ "ten_thousand_opens_of_one_id_in_one_turn",
			test_ten_thousand_opens_of_one_id_in_one_turn },
	{ "ten_thousand_opens_of_one_id_during_a_stepdown",
			test_ten_thousand_opens_of_one_id_during_a_stepdown },
	{ "million_ids", test_million_ids },
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "mass", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
