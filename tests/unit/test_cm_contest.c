/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_rig.h"

#include <rte_common.h>

/* Several CONNACKs of one client id within the same moment: each broker decides between its own. */

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

/* A broker closes one; the client has nothing to do with it. */
static void
broker_closes(struct rig *rig, struct rig_conn *conn)
{
	if (!conn->over && !conn->home &&
			mqt_slot_leave(&rig_slot_of(rig, conn->id)->slot, conn->id,
					MQT_SLOT_CLOSED))
		rig_down(rig, conn, MQT_REASON_BROKER_CLOSED);
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
	broker_closes(rig, closed);
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
	broker_closes(rig, closed);
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
				broker_closes(rig, c[i]);
		pass(rig, CONTEST_MS + 2);
		rig_settle(rig);
		CHECK_EQ(c[kept]->n_grants, 1);
		CHECK_EQ(c[kept]->n_refusals + c[kept]->n_stepdowns, 0);
		CHECK(rig_live(rig, c[kept]));
		rig_check_end(rig);
	}
}

/* --- two brokers --------------------------------------------------------------------------------- */

/*
 * The broker that keeps `kept` has closed `closed`, but its worker slept: its CONNACK is stamped
 * last, and read when `kept` has had to go already, for `other` on the other broker.
 */
static void
test_one_that_its_broker_closes_ends_nobody_on_the_other_broker(void)
{
	struct rig *rig = rig_contest();
	struct rig_conn *kept = rig_connect(rig, 0, id_a(RIG_T0 + 10, 0));
	struct rig_conn *other = rig_open(rig, 1, id_a(RIG_T0 + 20, 1));
	struct rig_conn *closed;

	pass(rig, 5);
	closed = rig_open(rig, 0, id_a(RIG_T0 + 30, 0));
	pass(rig, 20);
	CHECK(rig_live(rig, kept));
	broker_closes(rig, closed);
	pass(rig, CONTEST_MS);
	rig_settle(rig);
	CHECK_EQ(closed->n_grants, 0);
	CHECK_EQ(kept->n_stepdowns, 1);
	CHECK_EQ(other->n_grants, 1);
	CHECK_EQ(other->n_stepdowns + other->n_refusals, 0);
	CHECK(rig_live(rig, other));
	rig_check_end(rig);
}

/* The same where the rival on its own broker was refused and has left no trace in the maps. */
static void
test_a_rival_that_was_refused_is_remembered(void)
{
	struct rig *rig = rig_contest();
	struct rig_conn *other = rig_connect(rig, 1, id_a(RIG_T0 + 20, 1));
	struct rig_conn *kept = rig_open(rig, 0, id_a(RIG_T0 + 10, 0));
	struct rig_conn *closed;

	pass(rig, CONTEST_MS - 5);
	CHECK_EQ(kept->n_refusals, 0);
	closed = rig_open(rig, 0, id_a(RIG_T0 + 30, 0));
	pass(rig, 20);
	CHECK_EQ(kept->n_refusals, 1);
	CHECK(rig_live(rig, other));
	broker_closes(rig, closed);
	pass(rig, CONTEST_MS);
	rig_settle(rig);
	CHECK_EQ(closed->n_grants, 0);
	CHECK_EQ(other->n_stepdowns, 0);
	CHECK(rig_live(rig, other));
	rig_check_end(rig);
}

enum {
	CROWD = 6,
	CROWD_ORDERS = 720,
	CROWD_BROKERS = 2,
};

/* The n-th order of CROWD things. */
static void
permute(unsigned n, unsigned *order)
{
	for (unsigned i = 0; i < CROWD; i++)
		order[i] = i;
	for (unsigned i = CROWD; i > 1; i--) {
		unsigned k = n % i, swap = order[i - 1];

		n /= i;
		order[i - 1] = order[k];
		order[k] = swap;
	}
}

/*
 * CROWD connections, every other one on the same broker, of which each keeps its last: CROWD - 2
 * and CROWD - 1. They arrive 3 ms apart in the order @p arrival, with stamps in the order
 * @p stamp; whoever is closed is so @p delay ms after it has arrived.
 */
static void
crowd_round(const unsigned *arrival, const unsigned *stamp, unsigned delay)
{
	struct rig *rig = rig_contest();
	struct rig_conn *c[CROWD] = { NULL };
	unsigned live = 0, kept_live = 0;

	for (unsigned ms = 0; ms <= 3 * CROWD + delay; ms++) {
		for (unsigned i = 0; i < CROWD; i++) {
			unsigned who = arrival[i];

			if (ms == 3 * i)
				c[who] = rig_open(rig, i % 2,
						id_a(RIG_T0 + 1 + stamp[i],
								(uint8_t)(who % CROWD_BROKERS)));
			if (ms == 3 * i + delay && who < CROWD - CROWD_BROKERS)
				broker_closes(rig, c[who]);
		}
		pass(rig, 1);
	}
	pass(rig, CONTEST_MS);
	rig_settle(rig);
	for (unsigned i = 0; i < CROWD; i++) {
		live += rig_live(rig, c[i]);
		kept_live += rig_live(rig, c[i]) && i >= CROWD - CROWD_BROKERS;
		rig->bad += c[i]->n_grants + c[i]->n_refusals > 1;
	}
	CHECK_EQ(live, 1);
	CHECK_EQ(kept_live, 1);
	CHECK_EQ(rig_counter(rig, MQT_C_DUPLICATES), 0);
	rig_check_end(rig);
}

static void
test_in_any_order_of_arrivals_and_stamps_one_whom_its_broker_keeps_is_left(void)
{
	static const unsigned delays[] = { 0, 4, 25 };
	unsigned arrival[CROWD], stamp[CROWD];
	char row[64];

	for (unsigned n = 0; n < CROWD_ORDERS; n++) {
		for (unsigned d = 0; d < RTE_DIM(delays); d++) {
			unsigned m = (n * 331 + 17 + 241 * d) % CROWD_ORDERS;

			permute(n, arrival);
			permute(m, stamp);
			snprintf(row, sizeof(row), "arrivals %u stamps %u delay %u", n, m,
					delays[d]);
			check_row = row;
			crowd_round(arrival, stamp, delays[d]);
		}
	}
	check_row = "";
}

/* --- who waits, and how long --------------------------------------------------------------------- */

static void
test_who_comes_as_late_as_the_limit_is_not_held(void)
{
	for (uint8_t broker = 0; broker < 2; broker++) {
		struct rig *rig = rig_contest();
		struct rig_conn *a = rig_open(rig, 0, id_a(RIG_T0 + 10, 0));
		struct rig_conn *b;

		check_row = broker ? "another broker" : "the same broker";
		pass(rig, 1);
		CHECK_EQ(a->n_grants, 1);
		pass(rig, CONTEST_MS - 1);
		b = rig_open(rig, 1, id_a(rig->now_ns, broker));
		pass(rig, 2);
		CHECK_EQ(a->n_stepdowns, 1);
		pass(rig, 2);
		CHECK_EQ(b->n_grants, 1);
		CHECK_EQ(rig_counter(rig, MQT_C_CONTESTS), 0);
		rig_check_end(rig);
	}
	check_row = "";
}

static void
test_client_that_left_by_itself_may_come_back_at_once(void)
{
	static const struct {
		const char *name;
		enum mqt_reason reason;
		bool alone;
		unsigned n_held;
	} rows[] = {
		{ "it left", MQT_REASON_CLIENT_CLOSED, true, 0 },
		{ "with DISCONNECT", MQT_REASON_CLIENT_DISCONNECT, true, 0 },
		{ "with RST", MQT_REASON_CLIENT_RESET, true, 0 },
		{ "closed by its broker", MQT_REASON_BROKER_CLOSED, true, 1 },
		{ "it left, there was another", MQT_REASON_CLIENT_CLOSED, false, 2 },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct rig *rig = rig_contest();
		struct rig_conn *first, *again;

		check_row = rows[i].name;
		if (!rows[i].alone)
			rig_connect(rig, 1, id_a(rig->now_ns, 1));
		first = rig_open(rig, 0, id_a(rig->now_ns, 0));
		pass(rig, 2);
		mqt_slot_leave(&rig_slot_of(rig, first->id)->slot, first->id, MQT_SLOT_CLOSED);
		rig_down(rig, first, rows[i].reason);
		again = rig_open(rig, 0, id_a(rig->now_ns, 0));
		pass(rig, 2);
		CHECK_EQ(again->n_grants, rows[i].n_held == 0);
		CHECK_EQ(rig_counter(rig, MQT_C_CONTESTS), rows[i].n_held);
		pass(rig, CONTEST_MS);
		CHECK_EQ(again->n_grants, 1);
		rig_check_end(rig);
	}
	check_row = "";
}

/* Ten a millisecond, in turns on two brokers: each is held once, and decided when its time is up. */
static void
test_bouncing_client_waits_no_longer_than_the_limit(void)
{
	enum {
		MS = 400,
		A_MS = 10,
		N = MS * A_MS,
	};
	struct rig *rig = rig_create((struct rig_params){ 2, N, 1024, 4096 });
	static struct rig_conn *c[N];
	unsigned granted = 0;

	rig->config.limits.contest_ms = CONTEST_MS;
	for (unsigned ms = 0; ms < MS; ms++) {
		for (unsigned i = 0; i < A_MS; i++)
			c[ms * A_MS + i] = rig_open(
					rig, i % 2, id_a(rig->now_ns + i + 1, (uint8_t)(i % 2)));
		pass(rig, 1);
		if (ms < CONTEST_MS + 3)
			continue;
		for (unsigned i = 0; i < A_MS; i++) {
			const struct rig_conn *old = c[(ms - CONTEST_MS - 3) * A_MS + i];

			CHECK_EQ(old->n_grants + old->n_refusals, 1);
			granted += old->n_grants;
		}
	}
	CHECK(granted > (MS - CONTEST_MS) / 4);
	CHECK_EQ(rig_counter(rig, MQT_C_CONTESTS), N - 1);
	pass(rig, CONTEST_MS + 5);
	rig_settle(rig);
	CHECK(rig_live(rig, c[N - 1]));
	CHECK_EQ(rig_counter(rig, MQT_C_DUPLICATES), 0);
	rig->event_cursor = mqt_event_ring_last(rig->events);
	rig_check_end(rig);
}

/* Opens @p n client ids that are kept in the same set of recent newcomers as "a". */
static void
open_neighbours(struct rig *rig, unsigned n, unsigned *serial)
{
	enum {
		SETS = 128, /* for 4096 clients */
	};
	uint64_t set = mqt_digest_client(&rig->key, 0, NULL, "a", 1).word[1] % SETS;

	while (n > 0) {
		char id[16];
		int len = snprintf(id, sizeof(id), "c%u", (*serial)++);
		struct mqt_digest d = mqt_digest_client(&rig->key, 0, NULL, id, (size_t)len);

		if (d.word[1] % SETS != set)
			continue;
		rig_open(rig, 0, (struct rig_open){ .clientid = id });
		n--;
	}
}

/* In a full set the oldest is forgotten, and then the stamps decide at once. */
static void
test_memory_of_newcomers_is_bounded_and_the_oldest_goes(void)
{
	for (unsigned after = 3; after <= 4; after++) {
		struct rig *rig = rig_create((struct rig_params){ 1, 64, 4096, 256 });
		struct rig_conn *a, *b;
		unsigned serial = 0;

		rig->config.limits.contest_ms = CONTEST_MS;
		open_neighbours(rig, 20, &serial);
		pass(rig, 1);
		a = rig_open(rig, 0, id_a(RIG_T0 + 1, 0));
		pass(rig, 1);
		open_neighbours(rig, after, &serial);
		pass(rig, 1);
		b = rig_open(rig, 0, id_a(RIG_T0 + 2, 1));
		pass(rig, 4);
		CHECK_EQ(a->n_grants, 1);
		CHECK_EQ(b->n_grants, after > 3);
		CHECK_EQ(rig_counter(rig, MQT_C_CONTESTS), after <= 3);
		rig_check_end(rig);
	}
}

/* --- workers that do not run --------------------------------------------------------------------- */

static void
beat(struct rig *rig, unsigned w)
{
	atomic_store(&rig->owners[w].heartbeat_ns, rig->now_ns);
}

static void
test_while_a_worker_sleeps_the_time_of_contests_stands_nearly_still(void)
{
	struct rig *rig = rig_contest();
	struct rig_conn *kept, *other, *closed;

	beat(rig, 0);
	beat(rig, 1);
	kept = rig_open(rig, 0, id_a(RIG_T0 + 10, 0));
	pass(rig, 1);
	other = rig_open(rig, 0, id_a(RIG_T0 + 20, 1));
	for (unsigned ms = 0; ms < 4 * CONTEST_MS; ms++) {
		beat(rig, 0); /* worker 1 has on its queue what is closed */
		pass(rig, 1);
	}
	CHECK_EQ(other->n_grants, 0);
	CHECK(rig_live(rig, kept));
	closed = rig_open(rig, 1, id_a(RIG_T0 + 200, 0));
	for (unsigned ms = 0; ms < 2 * CONTEST_MS; ms++) {
		beat(rig, 0);
		beat(rig, 1);
		pass(rig, 1);
		if (ms == 5)
			broker_closes(rig, closed);
	}
	CHECK_EQ(closed->n_grants, 0);
	CHECK_EQ(other->n_grants, 1);
	CHECK(rig_live(rig, other));
	rig_check_end(rig);
}

/* One that limps, and one that has just ceased to run. */
static void
test_worker_that_does_not_run_holds_nobody_for_ever(void)
{
	for (unsigned limps = 0; limps < 2; limps++) {
		struct rig *rig = rig_contest();
		struct rig_conn *newer;
		unsigned ms = 0;

		check_row = limps ? "limps" : "silent";
		beat(rig, 1);
		rig_connect(rig, 0, id_a(RIG_T0 + 10, 0));
		newer = rig_open(rig, 0, id_a(RIG_T0 + 20, 1));
		for (; ms < 5000 && newer->n_grants == 0; ms++) {
			beat(rig, 0);
			if (limps && ms % 600 == 599)
				beat(rig, 1);
			pass(rig, 1);
		}
		CHECK(ms > 6 * CONTEST_MS);
		CHECK(ms <= 16 * CONTEST_MS + 10);
		beat(rig, 1);
		rig_check_end(rig);
	}
	check_row = "";
}

static void
test_worker_that_is_stalled_already_does_not_count(void)
{
	struct rig *rig = rig_contest();
	struct rig_conn *newer;

	beat(rig, 1);
	for (unsigned ms = 0; ms < rig->config.limits.stall_ms + 10; ms++)
		pass(rig, 1);
	CHECK_EQ(rig_counter(rig, MQT_C_STALLS), 1);
	rig_connect(rig, 0, id_a(RIG_T0 + 10, 0));
	newer = rig_open(rig, 0, id_a(RIG_T0 + 20, 1));
	pass(rig, CONTEST_MS - 1);
	CHECK_EQ(newer->n_grants, 0);
	pass(rig, 5);
	CHECK_EQ(newer->n_grants, 1);
	rig_check_end(rig);
}

static CU_TestInfo tests[] = {
	{ "whom_the_broker_keeps_is_admitted_though_its_stamp_is_older",
			test_whom_the_broker_keeps_is_admitted_though_its_stamp_is_older },
	{ "whom_the_broker_closes_ends_nobody_though_its_stamp_is_newer",
			test_whom_the_broker_closes_ends_nobody_though_its_stamp_is_newer },
	{ "stamps_decide_where_the_broker_does_not", test_stamps_decide_where_the_broker_does_not },
	{ "of_many_at_once_the_one_that_the_broker_keeps_is_left",
			test_of_many_at_once_the_one_that_the_broker_keeps_is_left },
	{ "one_that_its_broker_closes_ends_nobody_on_the_other_broker",
			test_one_that_its_broker_closes_ends_nobody_on_the_other_broker },
	{ "a_rival_that_was_refused_is_remembered", test_a_rival_that_was_refused_is_remembered },
	{ "in_any_order_of_arrivals_and_stamps_one_whom_its_broker_keeps_is_left",
			test_in_any_order_of_arrivals_and_stamps_one_whom_its_broker_keeps_is_left },
	{ "who_comes_as_late_as_the_limit_is_not_held",
			test_who_comes_as_late_as_the_limit_is_not_held },
	{ "client_that_left_by_itself_may_come_back_at_once",
			test_client_that_left_by_itself_may_come_back_at_once },
	{ "bouncing_client_waits_no_longer_than_the_limit",
			test_bouncing_client_waits_no_longer_than_the_limit },
	{ "memory_of_newcomers_is_bounded_and_the_oldest_goes",
			test_memory_of_newcomers_is_bounded_and_the_oldest_goes },
	{ "while_a_worker_sleeps_the_time_of_contests_stands_nearly_still",
			test_while_a_worker_sleeps_the_time_of_contests_stands_nearly_still },
	{ "worker_that_does_not_run_holds_nobody_for_ever",
			test_worker_that_does_not_run_holds_nobody_for_ever },
	{ "worker_that_is_stalled_already_does_not_count",
			test_worker_that_is_stalled_already_does_not_count },
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "contests", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
