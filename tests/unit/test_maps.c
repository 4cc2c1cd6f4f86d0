/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The maps: creation, one channel, the bag of a client.
 */
#include "maps_rig.h"

#include <errno.h>
#include <stdatomic.h>

#include <rte_errno.h>

/* --- creation ----------------------------------------------------------------------------------- */

static void
test_create_rejects_what_it_cannot_number(void)
{
	static const struct {
		const char *row;
		uint32_t max_channels;
	} rows[] = {
		{ "no channels", 0 },
		{ "one too many", MQT_MAPS_MAX_CHANNELS + 1 },
		{ "many too many", UINT32_MAX },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mqt_maps_params params = { .max_channels = rows[i].max_channels };

		check_row = rows[i].row;
		rte_errno = 0;
		CHECK(mqt_maps_create(&params) == NULL);
		CHECK_EQ(rte_errno, EINVAL);
	}
	check_row = "";
	mqt_maps_destroy(NULL);
}

static void
test_create_makes_several_maps_in_a_process(void)
{
	struct mqt_maps *a = maps_new(8), *b = maps_new(8);

	CHECK(a != NULL);
	CHECK(b != NULL);
	CHECK(insert(a, 1, 1) != NULL);
	CHECK(info_of(b, 1) == NULL);
	CHECK_SIZES(b, 0, 0, 0);
	mqt_maps_destroy(a);
	mqt_maps_destroy(b);
}

/* --- one channel -------------------------------------------------------------------------------- */

static void
test_insert_publishes_in_all_maps(void)
{
	struct mqt_maps *maps = maps_new(8);
	struct mqt_info *info = info_new(7, 42);
	struct mqt_digest digest = digest_of(7);
	struct mqt_chan *row;
	mqt_chan_id ids[2];

	mqt_role_control_assert();
	row = mqt_maps_insert(maps, 42, info, mix(42), 1002, 7);
	CHECK(row != NULL);
	CHECK(mqt_chan_info(row) == info);
	CHECK_EQ(row->id, 42);
	CHECK_EQ(row->connected_wall_ns, 1002);
	CHECK_EQ(row->epoch, 7);
	CHECK_EQ(atomic_load(&row->state), MQT_CHAN_CONNECTED);
	CHECK(row_is_whole(row, 7, 42));
	CHECK(mqt_maps_get(maps, 42) == row);
	CHECK(mqt_maps_head(maps, &digest) == row);
	CHECK(info_of(maps, 42) == row);
	CHECK(is_live(maps, 42));
	CHECK_EQ(ids_of(maps, 7, ids, 2), 1);
	CHECK_EQ(ids[0], 42);
	CHECK_EQ(walk(maps), 1);
	CHECK_SIZES(maps, 1, 1, 1);
	CHECK_EQ(sizes_of(maps).capacity, 8);
	mqt_maps_destroy(maps);
}

static void
test_unknown_is_not_found(void)
{
	struct mqt_maps *maps = maps_new(8);
	struct mqt_digest digest = digest_of(1);
	mqt_chan_id ids[1];

	mqt_role_control_assert();
	CHECK(insert(maps, 5, 5) != NULL);
	CHECK_EQ(ids_of(maps, 1, ids, 1), 0);
	CHECK(mqt_maps_head(maps, &digest) == NULL);
	CHECK(mqt_maps_get(maps, 1) == NULL);
	CHECK(info_of(maps, 1) == NULL);
	CHECK(!is_live(maps, 1));
	CHECK_EQ(mqt_maps_remove(maps, 1), -ENOENT);
	CHECK_EQ(mqt_maps_set_down(maps, 1, MQT_CHAN_DISCONNECTED), -ENOENT);
	CHECK_EQ(mqt_maps_set_live(maps, 1), -ENOENT);
	CHECK_SIZES(maps, 1, 1, 1);
	mqt_maps_destroy(maps);
}

static void
test_insert_of_a_known_id_changes_nothing(void)
{
	struct mqt_maps *maps = maps_new(8);
	mqt_chan_id ids[2];

	CHECK(insert(maps, 5, 1) != NULL);
	for (uint64_t client = 1; client <= 2; client++) {
		rte_errno = 0;
		CHECK(insert(maps, 5, client) == NULL);
		CHECK_EQ(rte_errno, EEXIST);
	}
	CHECK_EQ(ids_of(maps, 1, ids, 2), 1);
	CHECK_EQ(ids_of(maps, 2, ids, 2), 0);
	CHECK_SIZES(maps, 1, 1, 1);
	CHECK_EQ(sizes_of(maps).retired, 0);
	mqt_maps_destroy(maps);
}

/* I3: the late end of an old generation leaves the new one alone. */
static void
test_remove_compares_the_whole_id(void)
{
	struct mqt_maps *maps = maps_new(8);
	mqt_chan_id id = mqt_chan_id_make(1, 2, 3, 5);
	const mqt_chan_id others[] = {
		mqt_chan_id_make(1, 2, 3, 4),
		mqt_chan_id_make(1, 2, 3, 6),
		mqt_chan_id_make(1, 2, 4, 5),
		mqt_chan_id_make(1, 3, 3, 5),
		mqt_chan_id_make(2, 2, 3, 5),
	};

	mqt_role_control_assert();
	CHECK(insert(maps, id, 9) != NULL);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		CHECK_EQ(mqt_maps_remove(maps, others[i]), -ENOENT);
		CHECK_EQ(mqt_maps_set_down(maps, others[i], MQT_CHAN_DISCONNECTED), -ENOENT);
	}
	CHECK(is_live(maps, id));
	CHECK_SIZES(maps, 1, 1, 1);
	CHECK_EQ(mqt_maps_remove(maps, id), 0);
	CHECK_EQ(mqt_maps_remove(maps, id), -ENOENT);
	CHECK_SIZES(maps, 0, 0, 0);
	CHECK_EQ(sizes_of(maps).retired, 1);
	mqt_maps_destroy(maps);
}

static void
test_removed_channel_is_found_nowhere(void)
{
	struct mqt_maps *maps = maps_new(8);
	struct mqt_digest digest = digest_of(1);
	mqt_chan_id ids[1];

	mqt_role_control_assert();
	CHECK(insert(maps, 5, 1) != NULL);
	CHECK_EQ(mqt_maps_remove(maps, 5), 0);
	for (int reclaimed = 0; reclaimed < 2; reclaimed++) {
		CHECK_EQ(ids_of(maps, 1, ids, 1), 0);
		CHECK(info_of(maps, 5) == NULL);
		CHECK(mqt_maps_get(maps, 5) == NULL);
		CHECK(mqt_maps_head(maps, &digest) == NULL);
		CHECK(!is_live(maps, 5));
		CHECK_EQ(walk(maps), 0);
		grace_and_reclaim(maps);
	}
	CHECK(insert(maps, 5, 1) != NULL);
	CHECK(is_live(maps, 5));
	mqt_maps_destroy(maps);
}

static void
test_down_channels_stay_registered(void)
{
	struct mqt_maps *maps = maps_new(8);
	mqt_chan_id ids[2];

	mqt_role_control_assert();
	CHECK(insert(maps, 1, 1) != NULL);
	CHECK(insert(maps, 2, 2) != NULL);
	for (int round = 0; round < 3000; round++) { /* more than there are key positions */
		CHECK_EQ(mqt_maps_set_live(maps, 1), -ENOENT);
		CHECK_EQ(mqt_maps_set_down(maps, 1, MQT_CHAN_ORPHANED), 0);
		CHECK_EQ(mqt_maps_set_down(maps, 1, MQT_CHAN_ORPHANED), -ENOENT);
		CHECK(!is_live(maps, 1));
		CHECK(is_live(maps, 2));
		CHECK(info_of(maps, 1) != NULL);
		CHECK_EQ(atomic_load(&info_of(maps, 1)->state), MQT_CHAN_ORPHANED);
		CHECK_EQ(ids_of(maps, 1, ids, 2), 1);
		CHECK_SIZES(maps, 2, 2, 1);
		CHECK_EQ(mqt_maps_set_live(maps, 1), 0);
		CHECK(is_live(maps, 1));
		CHECK_EQ(atomic_load(&info_of(maps, 1)->state), MQT_CHAN_CONNECTED);
		CHECK_SIZES(maps, 2, 2, 2);
	}
	CHECK_EQ(mqt_maps_set_down(maps, 1, MQT_CHAN_DISCONNECTED), 0);
	CHECK_EQ(mqt_maps_set_live(maps, 1), -ENOENT); /* no orphan */
	CHECK_EQ(walk(maps), 2);
	CHECK_EQ(mqt_maps_remove(maps, 1), 0);
	CHECK_SIZES(maps, 1, 1, 1);
	CHECK_EQ(mqt_maps_remove(maps, 2), 0);
	CHECK_SIZES(maps, 0, 0, 0);
	mqt_maps_destroy(maps);
}

/* --- bags ---------------------------------------------------------------------------------------- */

/* Removes channels 1..n of one client in the order @p order, checking the list each time. */
static void
remove_in_order(const unsigned *order, unsigned n)
{
	struct mqt_maps *maps = maps_new(8);
	bool there[5] = { false };
	mqt_chan_id ids[5];

	mqt_role_control_assert();
	CHECK(insert(maps, 100, 2) != NULL); /* a stranger */
	for (unsigned i = 1; i <= n; i++) {
		CHECK(insert(maps, i, 1) != NULL);
		there[i] = true;
	}
	CHECK_SIZES(maps, n + 1, 2, n + 1);
	for (unsigned k = 0; k < n; k++) {
		unsigned found, want = 0;

		CHECK_EQ(mqt_maps_remove(maps, order[k]), 0);
		there[order[k]] = false;
		found = ids_of(maps, 1, ids, 5);
		for (unsigned i = 1; i <= n; i++) {
			if (there[i] && want < found)
				CHECK_EQ(ids[want], i);
			want += there[i];
			CHECK_EQ(info_of(maps, i) != NULL, there[i]);
		}
		CHECK_EQ(found, want);
		CHECK_SIZES(maps, n - k, k + 1 < n ? 2 : 1, n - k);
	}
	grace_and_reclaim(maps);
	CHECK_EQ(ids_of(maps, 2, ids, 5), 1);
	mqt_maps_destroy(maps);
}

static void
permute(unsigned *order, unsigned k, unsigned n)
{
	if (k == n)
		remove_in_order(order, n);
	for (unsigned i = k; i < n; i++) {
		unsigned t = order[k];

		order[k] = order[i];
		order[i] = t;
		permute(order, k + 1, n);
		order[i] = order[k];
		order[k] = t;
	}
}

static void
test_bag_keeps_order_in_all_orders_of_removal(void)
{
	for (unsigned n = 1; n <= 4; n++) {
		unsigned order[] = { 1, 2, 3, 4 };

		permute(order, 0, n);
	}
}

static void
test_bag_takes_newcomers_at_its_tail(void)
{
	struct mqt_maps *maps = maps_new(8);
	mqt_chan_id ids[4];

	mqt_role_control_assert();
	CHECK(insert(maps, 1, 1) != NULL);
	for (mqt_chan_id id = 2; id < 2000; id++) {
		CHECK(insert(maps, id, 1) != NULL);
		CHECK_EQ(ids_of(maps, 1, ids, 4), 2);
		CHECK_EQ(ids[0], id - 1);
		CHECK_EQ(ids[1], id);
		CHECK_EQ(mqt_maps_remove(maps, id - 1), 0);
		CHECK_EQ(ids_of(maps, 1, ids, 4), 1);
		CHECK_EQ(ids[0], id);
		grace_and_reclaim(maps);
	}
	CHECK_SIZES(maps, 1, 1, 1);
	mqt_maps_destroy(maps);
}

/* R9: a reader who stands on a removed row still gets to those behind it. */
static void
test_removed_row_still_leads_on(void)
{
	struct mqt_maps *maps = maps_new(8);
	struct mqt_chan *row[5];

	mqt_role_control_assert();
	for (unsigned i = 1; i <= 4; i++)
		row[i] = insert(maps, i, 1);
	CHECK_EQ(mqt_maps_remove(maps, 1), 0);
	CHECK_EQ(mqt_maps_remove(maps, 2), 0);
	CHECK(insert(maps, 5, 1) != NULL);
	CHECK(mqt_chan_next(row[1]) == row[2]);
	CHECK(mqt_chan_next(row[2]) == row[3]);
	CHECK(row_is_whole(row[1], 1, 1));
	CHECK(row_is_whole(row[2], 1, 2));
	CHECK_EQ(atomic_load(&row[1]->state), MQT_CHAN_FREE);
	CHECK_EQ(atomic_load(&row[3]->state), MQT_CHAN_CONNECTED);
	mqt_maps_destroy(maps);
}

static CU_TestInfo tests[] = {
	{ "create rejects what it cannot number", test_create_rejects_what_it_cannot_number },
	{ "create makes several maps in a process", test_create_makes_several_maps_in_a_process },
	{ "insert publishes in all maps", test_insert_publishes_in_all_maps },
	{ "unknown is not found", test_unknown_is_not_found },
	{ "insert of a known id changes nothing", test_insert_of_a_known_id_changes_nothing },
	{ "remove compares the whole id", test_remove_compares_the_whole_id },
	{ "removed channel is found nowhere", test_removed_channel_is_found_nowhere },
	{ "down channels stay registered", test_down_channels_stay_registered },
	{ "bag keeps order in all orders of removal",
			test_bag_keeps_order_in_all_orders_of_removal },
	{ "bag takes newcomers at its tail", test_bag_takes_newcomers_at_its_tail },
	{ "removed row still leads on", test_removed_row_still_leads_on },
	CU_TEST_INFO_NULL,
};

int
main(void)
{
	return rig_run(tests);
}
