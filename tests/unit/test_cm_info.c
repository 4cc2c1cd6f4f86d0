/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_session_rig.h"

#include <rte_common.h>

/*
 * What is known of a channel at the channel manager: its info and traffic, set and read, and whether
 * it is live.
 */

static const struct rig_open id_a = { .clientid = "a" };
/* A client with a session of an hour. */
static const struct rig_open kept = { .clientid = "a", .resume = true, .expiry_sec = 3600 };

static uint16_t
keepalive_of(struct rig *rig, mqt_chan_id id)
{
	const struct mqt_chan *chan;
	uint16_t keepalive_sec = 0;

	mqt_rcu_read_lock();
	chan = mqt_cm_info(rig->cm, id);
	if (chan)
		keepalive_sec = mqt_chan_info(chan)->keepalive_sec;
	mqt_rcu_read_unlock();
	return keepalive_sec;
}

/* One more info of the same client. */
static struct mqt_info *
another_info(struct rig *rig, const struct rig_open *how, mqt_chan_id id, uint16_t keepalive_sec)
{
	struct mqt_info *info = rig_info(rig, how, id);

	info->keepalive_sec = keepalive_sec;
	return info;
}

static int
stats_of(struct rig *rig, mqt_chan_id id, uint64_t *recv_pkt)
{
	uint64_t v[MQT_SLOT_N_COUNTERS] = { 0 };
	int rc;

	mqt_rcu_read_lock();
	rc = mqt_cm_stats(rig->cm, id, v, NULL);
	mqt_rcu_read_unlock();
	*recv_pkt = v[MQT_RECV_PKT];
	return rc;
}

/* --- open and register ------------------------------------------------------------------------ */

static void
test_open_is_what_the_message_does(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *b = rig_conn_make(rig, 1, &id_a);

	mqt_role_control_assert();
	rig_story(rig);
	rig->now_ns += RIG_MS;
	CHECK_EQ(mqt_cm_open(rig->cm, b->id, b->info, rig->now_ns), 0);
	rig->n_opens++;
	CHECK_EQ(mqt_cm_open(rig->cm, b->id, b->info, rig->now_ns), -EEXIST);
	rig_settle(rig);
	CHECK_EQ(mqt_cm_open(rig->cm, b->id, b->info, rig->now_ns), -EEXIST);
	CHECK_EQ(a->n_stepdowns, 1);
	CHECK_EQ(b->n_grants, 1);
	CHECK_EQ(rig_counter(rig, MQT_C_OPENS), 2);
	CHECK_EQ(rig_counter(rig, MQT_C_UNEXPECTED_MSG), 0);
	CHECK_STR(rig_story(rig), "-A1:discarded dA1>B *B2 +B2>A");
	rig_check_end(rig);
}

static void
test_channel_without_a_slot_is_not_taken(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	const mqt_chan_id ids[] = {
		a->id ^ 1ull << 56,        /* another node */
		a->id | 0xffull << 48,     /* no such worker */
		a->id | 0xffffffull << 24, /* no such slot */
	};
	struct mqt_info *info = rig_info(rig, &id_a, a->id);

	mqt_role_control_assert();
	for (unsigned i = 0; i < RTE_DIM(ids); i++) {
		CHECK_EQ(mqt_cm_open(rig->cm, ids[i], info, 1), -EINVAL);
		CHECK_EQ(mqt_cm_register(rig->cm, ids[i], info, 1), -EINVAL);
	}
	CHECK_EQ(mqt_cm_open(rig->cm, a->id, NULL, 1), -EINVAL);
	free(info);
	rig_check_end(rig);
}

/* --- info --------------------------------------------------------------------------------------- */

static void
test_unknown_channel_has_nothing_and_gets_nothing(void)
{
	static const uint64_t counter[MQT_SLOT_N_COUNTERS];
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	mqt_chan_id id = a->id + 1; /* another generation */
	struct mqt_info *info = rig_info(rig, &id_a, a->id);
	uint64_t v;

	mqt_role_control_assert();
	CHECK_EQ(mqt_cm_set_info(rig->cm, id, info), -ENOENT);
	CHECK_EQ(mqt_cm_set_stats(rig->cm, id, counter), -ENOENT);
	CHECK_EQ(mqt_cm_insert_info(rig->cm, id, info, counter), -ENOENT);
	CHECK_EQ(mqt_cm_insert_info(rig->cm, id, info, NULL), -ENOENT);
	CHECK_EQ(mqt_cm_mark_connected(rig->cm, id), -ENOENT);
	CHECK_EQ(mqt_cm_mark_disconnected(rig->cm, id), -ENOENT);
	CHECK_EQ(stats_of(rig, id, &v), -ENOENT);
	mqt_rcu_read_lock();
	CHECK(mqt_cm_info(rig->cm, id) == NULL);
	CHECK(!mqt_cm_is_live(rig->cm, id));
	CHECK_EQ(mqt_cm_transport(rig->cm, id), -ENOENT);
	CHECK_EQ(mqt_cm_ended(rig->cm, id, &v), -ENOENT);
	CHECK(mqt_cm_newest(rig->cm, -1, "b", 1) == NULL);
	mqt_rcu_read_unlock();
	CHECK_EQ(rig_sizes(rig).channels, 1);
	free(info);
	rig_check_end(rig);
}

static void
test_info_is_replaced_and_the_old_one_stays_for_its_readers(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct mqt_info *info = another_info(rig, &id_a, a->id, 77);
	const struct mqt_info *old;
	const struct mqt_chan *chan;

	mqt_role_control_assert();
	rig_story(rig);
	mqt_rcu_read_lock();
	chan = mqt_cm_info(rig->cm, a->id);
	old = mqt_chan_info(chan);
	CHECK_EQ(mqt_cm_set_info(rig->cm, a->id, info), 0);
	CHECK_EQ(rig_turn(rig, 1), 0); /* no grace period, nothing is freed */
	CHECK_EQ(old->keepalive_sec, 0);
	CHECK_MEM(mqt_info_clientid(old), "a", 1);
	CHECK(mqt_chan_info(chan) == info);
	CHECK(mqt_cm_info(rig->cm, a->id) == chan);
	CHECK(mqt_cm_newest(rig->cm, 0, "a", 1) == chan);
	mqt_rcu_read_unlock();
	CHECK_EQ(rig_sizes(rig).retired, 1);
	CHECK_EQ(rig_sizes(rig).channels, 1);
	a->info = info; /* the one that will come home */
	rig_settle(rig);
	CHECK_EQ(rig_sizes(rig).retired, 0);
	CHECK_EQ(a->n_releases, 0);
	CHECK_EQ(keepalive_of(rig, a->id), 77);
	CHECK(rig_live(rig, a));
	CHECK_STR(rig_story(rig), "");
	rig_check_end(rig);
}

static void
test_info_of_a_retained_session_is_replaced(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = retain(rig, 0, kept);

	mqt_role_control_assert();
	for (uint16_t i = 1; i <= 3; i++)
		CHECK_EQ(mqt_cm_set_info(rig->cm, a->id, another_info(rig, &kept, a->id, i)), 0);
	CHECK_EQ(keepalive_of(rig, a->id), 3);
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_RETAINED);
	rig->now_ns += 3600 * MQT_NS_PER_SEC; /* when it expires stays */
	rig_settle(rig);
	CHECK_EQ(rig_state(rig, a), MQT_CHAN_FREE);
	rig_check_end(rig);
}

static void
test_info_of_another_client_is_refused(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct mqt_info *other = rig_info(rig, &(struct rig_open){ .clientid = "b" }, a->id);
	struct mqt_info *forged = rig_info(rig, &(struct rig_open){ .clientid = "b" }, a->id);

	mqt_role_control_assert();
	forged->digest = a->info->digest;
	CHECK_EQ(mqt_cm_set_info(rig->cm, a->id, other), -EINVAL);
	CHECK_EQ(mqt_cm_set_info(rig->cm, a->id, forged), -EINVAL);
	CHECK_EQ(rig_sizes(rig).retired, 0);
	mqt_rcu_read_lock();
	CHECK(mqt_chan_info(mqt_cm_info(rig->cm, a->id)) == a->info);
	mqt_rcu_read_unlock();
	free(other);
	free(forged);
	rig_check_end(rig);
}

/* A newcomer's row is set aside; the old infos must not take it. */
static void
test_info_is_not_replaced_where_no_row_can_keep_the_old_one(void)
{
	struct rig *rig = rig_create((struct rig_params){ 2, 64, 2, 256 });
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *b = rig_connect(rig, 0, (struct rig_open){ .clientid = "b" });
	struct rig_conn *c;
	struct mqt_info *info;
	uint16_t n = 0;
	int rc;

	mqt_role_control_assert();
	c = rig_open(rig, 1, (struct rig_open){ .clientid = "b" });
	rig_turn(rig, 1); /* b is asked */
	do {
		info = another_info(rig, &id_a, a->id, ++n);
		rc = mqt_cm_set_info(rig->cm, a->id, info);
		if (rc == 0)
			a->info = info;
	} while (rc == 0);
	CHECK_EQ(rc, -ENOSPC);
	CHECK_EQ(rig_sizes(rig).free, 1);
	CHECK_EQ(keepalive_of(rig, a->id), n - 1);
	free(info);
	rig_poll_all(rig);
	rig_turn(rig, 1); /* no grace period has ended */
	rig_poll_all(rig);
	CHECK_EQ(c->n_grants, 1);
	CHECK(!rig_live(rig, b));
	for (unsigned i = 0; i < 3 * (unsigned)n; i++) { /* slices */
		rig_grace(rig);
		rig_turn(rig, 1);
	}
	info = another_info(rig, &id_a, a->id, 9);
	CHECK_EQ(mqt_cm_set_info(rig->cm, a->id, info), 0);
	a->info = info;
	rig_check_end(rig);
}

/* --- traffic ------------------------------------------------------------------------------------- */

static void
test_traffic_and_end_of_a_connection_stay_with_its_session(void)
{
	struct rig *rig = rig_create((struct rig_params){ 1, 1, 8, 64 });
	struct rig_conn *a = rig_connect(rig, 0, kept), *b;
	struct mqt_session_final final = { .expiry_sec = 3600 };
	uint64_t ended_ns, wall_ns = 0, v;
	struct mqt_session *session = rig_session_new();

	mqt_rcu_read_lock();
	CHECK_EQ(mqt_cm_ended(rig->cm, a->id, &wall_ns), -ENOENT);
	mqt_rcu_read_unlock();
	final.counter[MQT_RECV_PKT] = 5;
	mqt_session_set_final(session, &final);
	rig_session_give(session);
	mqt_slot_leave(&rig_slot_of(rig, a->id)->slot, a->id, MQT_SLOT_CLOSED);
	a->over = true;
	ended_ns = rig->now_ns;
	rig_post(rig, a,
			(struct mqt_msg){ .type = MQT_MSG_CLOSED,
					.session = session,
					.stamp_ns = ended_ns });
	rig_turn(rig, 50); /* the message is read later */
	rig_settle(rig);
	b = rig_connect(rig, 0, (struct rig_open){ .clientid = "b" });
	mqt_slot_count(&rig_slot_of(rig, b->id)->slot, MQT_RECV_PKT, 17); /* the same slot */
	CHECK_EQ(stats_of(rig, a->id, &v), 0);
	CHECK_EQ(v, 5);
	CHECK_EQ(stats_of(rig, b->id, &v), 0);
	CHECK_EQ(v, 17);
	mqt_rcu_read_lock();
	CHECK_EQ(mqt_cm_ended(rig->cm, a->id, &wall_ns), 0);
	CHECK_EQ(wall_ns, ended_ns + rig_wall(rig) - rig->now_ns);
	CHECK_EQ(mqt_cm_ended(rig->cm, b->id, &wall_ns), -ENOENT);
	mqt_rcu_read_unlock();
	rig_check_end(rig);
}

static void
test_end_of_a_channel_is_not_that_of_the_next_one_of_its_row(void)
{
	struct rig *rig = rig_create(small);
	uint64_t ended_ns, v;

	/* more than there are rows */
	for (uint32_t i = rig_sizes(rig).free + 64; i > 0; i--) {
		struct rig_conn *a = rig_connect(rig, 0, kept);

		mqt_rcu_read_lock();
		CHECK_EQ(mqt_cm_ended(rig->cm, a->id, &ended_ns), -ENOENT);
		mqt_rcu_read_unlock();
		rig->event_cursor = mqt_event_ring_last(rig->events);
		CHECK_EQ(stats_of(rig, a->id, &v), 0);
		rig_end(rig, a);
		rig_turn(rig, 1);
		CHECK_EQ(rig_state(rig, a), MQT_CHAN_RETAINED);
	}
	rig_check_end(rig);
}

static void
test_stats_are_set_where_no_owner_counts_any_more(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, kept);
	uint64_t counter[MQT_SLOT_N_COUNTERS] = { [MQT_RECV_PKT] = 42 };
	uint64_t before = 0, after = 1, seen = 1, v;

	mqt_role_control_assert();
	mqt_slot_count(&rig_slot_of(rig, a->id)->slot, MQT_RECV_PKT, 3);
	CHECK_EQ(mqt_cm_set_stats(rig->cm, a->id, counter), -EBUSY);
	CHECK_EQ(mqt_cm_mark_disconnected(rig->cm, a->id), 0);
	CHECK_EQ(mqt_cm_set_stats(rig->cm, a->id, counter), -EBUSY); /* it may come back */
	CHECK_EQ(stats_of(rig, a->id, &v), 0);
	CHECK_EQ(v, 3);
	rig_end(rig, a);
	rig_settle(rig);
	mqt_rcu_read_lock();
	mqt_cm_ended(rig->cm, a->id, &before);
	rig->now_ns += MQT_NS_PER_SEC;
	CHECK_EQ(mqt_cm_set_stats(rig->cm, a->id, counter), 0);
	CHECK_EQ(mqt_cm_ended(rig->cm, a->id, &after), 0);
	CHECK_EQ(after, before); /* that was when it was */
	CHECK_EQ(mqt_cm_stats(rig->cm, a->id, counter, &seen), 0);
	CHECK_EQ(seen, 0);
	mqt_rcu_read_unlock();
	CHECK_EQ(stats_of(rig, a->id, &v), 0);
	CHECK_EQ(v, 42);
	rig_check_end(rig);
}

static void
test_info_and_stats_are_inserted_both_or_neither(void)
{
	static const uint64_t counter[MQT_SLOT_N_COUNTERS] = { [MQT_RECV_PKT] = 42 };
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, kept);
	struct mqt_info *info = another_info(rig, &kept, a->id, 7);
	struct mqt_info *other = rig_info(rig, &(struct rig_open){ .clientid = "b" }, a->id);
	uint64_t v;

	mqt_role_control_assert();
	CHECK_EQ(mqt_cm_insert_info(rig->cm, a->id, info, counter), -EBUSY);
	CHECK_EQ(keepalive_of(rig, a->id), 0);
	CHECK_EQ(mqt_cm_insert_info(rig->cm, a->id, info, NULL), 0);
	CHECK_EQ(keepalive_of(rig, a->id), 7);
	a->info = info;
	rig_end(rig, a);
	rig_settle(rig);
	CHECK_EQ(mqt_cm_insert_info(rig->cm, a->id, other, counter), -EINVAL);
	CHECK_EQ(stats_of(rig, a->id, &v), 0);
	CHECK_EQ(v, 0);
	info = another_info(rig, &kept, a->id, 8);
	CHECK_EQ(mqt_cm_insert_info(rig->cm, a->id, info, counter), 0);
	CHECK_EQ(keepalive_of(rig, a->id), 8);
	CHECK_EQ(stats_of(rig, a->id, &v), 0);
	CHECK_EQ(v, 42);
	free(other);
	rig_check_end(rig);
}

/* --- live or not ------------------------------------------------------------------------------------ */

static void
test_marks_change_the_live_map_only(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);

	mqt_role_control_assert();
	rig_story(rig);
	CHECK_EQ(mqt_cm_mark_connected(rig->cm, a->id), -ENOENT); /* it is */
	CHECK_EQ(mqt_cm_mark_disconnected(rig->cm, a->id), 0);
	CHECK_EQ(mqt_cm_mark_disconnected(rig->cm, a->id), -ENOENT);
	CHECK(!rig_live(rig, a));
	CHECK_EQ(mqt_cm_live_count(rig->cm), 0);
	CHECK_EQ(rig_sizes(rig).channels, 1);
	CHECK_EQ(mqt_cm_mark_connected(rig->cm, a->id), 0);
	CHECK(rig_live(rig, a));
	CHECK_EQ(mqt_cm_live_count(rig->cm), 1);
	CHECK_STR(rig_story(rig), "");
	CHECK_EQ(mqt_cm_mark_disconnected(rig->cm, a->id), 0);
	rig_end(rig, a);
	rig_settle(rig);
	CHECK_EQ(mqt_cm_mark_connected(rig->cm, a->id), -ENOENT);
	CHECK_STR(rig_story(rig), "-A1:client_closed");
	CHECK_EQ(rig_sizes(rig).channels, 0); /* its end is not missed (I5) */
	CHECK_EQ(rig_counter(rig, MQT_C_DOWN_UNKNOWN), 0);
	rig_check_end(rig);
}

/* The connection is over, the channel is still found, and by what transport it came (CLOSED). */
static void
test_closed_connection_keeps_its_transport(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_open(rig, 0, kept);

	a->info->transport = 3;
	rig_settle(rig);
	rig_end(rig, a);
	rig_settle(rig);
	mqt_rcu_read_lock();
	CHECK(!mqt_cm_is_live(rig->cm, a->id));
	CHECK_EQ(mqt_cm_transport(rig->cm, a->id), 3);
	mqt_rcu_read_unlock();
	rig_check_end(rig);
}

/* ---------------------------------------------------------------------------------------------------- */

#define T(name)                                                                                    \
	{                                                                                          \
#name, test_##name                                                                 \
	}

static CU_TestInfo open_tests[] = {
	T(open_is_what_the_message_does),
	T(channel_without_a_slot_is_not_taken),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo info_tests[] = {
	T(unknown_channel_has_nothing_and_gets_nothing),
	T(info_is_replaced_and_the_old_one_stays_for_its_readers),
	T(info_of_a_retained_session_is_replaced),
	T(info_of_another_client_is_refused),
	T(info_is_not_replaced_where_no_row_can_keep_the_old_one),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo traffic_tests[] = {
	T(traffic_and_end_of_a_connection_stay_with_its_session),
	T(end_of_a_channel_is_not_that_of_the_next_one_of_its_row),
	T(stats_are_set_where_no_owner_counts_any_more),
	T(info_and_stats_are_inserted_both_or_neither),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo live_tests[] = {
	T(marks_change_the_live_map_only),
	T(closed_connection_keeps_its_transport),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "open and register", NULL, NULL, NULL, NULL, open_tests },
	{ "info", NULL, NULL, NULL, NULL, info_tests },
	{ "traffic", NULL, NULL, NULL, NULL, traffic_tests },
	{ "live or not", NULL, NULL, NULL, NULL, live_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
