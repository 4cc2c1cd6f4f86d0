/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Full maps and full rings.
 */
#include "cm_rig.h"

#include <rte_common.h>

static const struct rig_open id_a = { .clientid = "a" };

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

static CU_SuiteInfo suites[] = {
	{ "room", NULL, NULL, NULL, NULL, room_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
