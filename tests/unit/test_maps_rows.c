/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rows that share a bucket, rows that are used again, and infos that are replaced.
 */
#include "maps_rig.h"

#define SLACK 1024u /* rows beyond max_channels, at least */

/* Clients of one bucket: their digests begin alike. */
static struct mqt_digest
neighbour(uint64_t client)
{
	return (struct mqt_digest){ { client << 32 | 0x1234abcd, client } };
}

static void
add(struct mqt_maps *maps, mqt_chan_id id, uint64_t client)
{
	struct mqt_info *info = info_new(client, id);

	mqt_role_control_assert();
	info->digest = neighbour(client);
	CHECK(mqt_maps_insert(maps, id, info, mix(id), 0, client) != NULL);
}

/* Whether the client's oldest channel is this one, and it has so many. */
static bool
is_head(const struct mqt_maps *maps, uint64_t client, mqt_chan_id id, unsigned n_channels)
{
	struct mqt_digest digest = neighbour(client);
	const struct mqt_chan *head, *row;
	unsigned n = 0;

	mqt_role_control_assert();
	head = mqt_maps_head(maps, &digest);
	for (row = head; row; row = mqt_chan_next(row))
		n++;
	return head && row_is_whole(head, client, id) && n == n_channels;
}

/* The second channel of a client takes its first one's place in the bucket, wherever that is. */
static void
test_an_heir_keeps_the_place_of_its_head(void)
{
	enum {
		N = 5
	};

	for (uint64_t gone = 1; gone <= N; gone++) {
		struct mqt_maps *maps = maps_new(64);

		mqt_role_control_assert();
		for (uint64_t client = 1; client <= N; client++) {
			add(maps, 10 * client, client);
			add(maps, 10 * client + 1, client);
			add(maps, 10 * client + 2, client);
		}
		CHECK_EQ(mqt_maps_remove(maps, 10 * gone), 0);
		for (uint64_t client = 1; client <= N; client++)
			CHECK(client == gone ? is_head(maps, client, 10 * client + 1, 2)
					     : is_head(maps, client, 10 * client, 3));
		CHECK_EQ(mqt_maps_remove(maps, 10 * gone + 2), 0);
		CHECK(is_head(maps, gone, 10 * gone + 1, 1));
		CHECK_EQ(mqt_maps_remove(maps, 10 * gone + 1), 0);
		for (uint64_t client = 1; client <= N; client++)
			CHECK_EQ(is_head(maps, client, 10 * client, 3), client != gone);
		CHECK_SIZES(maps, 3 * N - 3, N - 1, 3 * N - 3);
		mqt_maps_destroy(maps);
	}
}

static void
test_clients_of_one_bucket_are_found_in_bulk(void)
{
	enum {
		N = 20
	};
	const struct mqt_chan *rows[N + 1];
	struct mqt_maps *maps = maps_new(64);
	struct mqt_digest digests[N + 1];

	for (uint64_t client = 1; client <= N; client++)
		add(maps, client, client);
	for (uint64_t client = 0; client <= N; client++)
		digests[client] = neighbour(client);
	mqt_rcu_read_lock();
	mqt_maps_lookup_bulk(maps, digests, N + 1, rows);
	CHECK(rows[0] == NULL);
	for (uint64_t client = 1; client <= N; client++)
		CHECK(rows[client] && row_is_whole(rows[client], client, client));
	mqt_rcu_read_unlock();
	mqt_maps_destroy(maps);
}

static void
note_tag(void *arg, mqt_chan_id id, struct mqt_info *info, uint32_t tag)
{
	*(uint32_t *)arg = tag;
	info_free(info);
}

static void
test_a_row_used_again_is_as_new(void)
{
	struct mqt_maps *maps = maps_new(1);
	struct mqt_chan_end end = { .wall_ns = 1 };
	uint32_t tag = 0;

	mqt_role_control_assert();
	for (mqt_chan_id id = 1; id < 3 * SLACK; id++) {
		struct mqt_chan *row = insert(maps, id, 1);

		CHECK_EQ(row->tag, 0);
		CHECK(!mqt_maps_end(maps, row, &end));
		row->tag = (uint32_t)id;
		mqt_maps_set_end(maps, row, &end);
		CHECK(mqt_maps_end(maps, row, &end));
		CHECK_EQ(mqt_maps_remove(maps, id), 0);
		mqt_maps_grace_run(maps);
		CHECK_EQ(mqt_maps_reclaim(maps, 1, note_tag, &tag), 1);
		CHECK_EQ(tag, id);
	}
	mqt_maps_destroy(maps);
}

/* The old info is the maps' to free: what its owner gets back is what it is replaced by. */
static void
test_a_replaced_info_comes_home_to_nobody(void)
{
	struct mqt_maps *maps = maps_new(8);
	struct mqt_info *newer, *other = info_new(2, 1);
	struct home home = { 0 };

	mqt_role_control_assert();
	for (mqt_chan_id id = 5; id < 9; id++) /* rows that were channels */
		CHECK(insert(maps, id, id) != NULL);
	for (mqt_chan_id id = 5; id < 9; id++)
		CHECK_EQ(mqt_maps_remove(maps, id), 0);
	grace_and_reclaim(maps);
	CHECK(insert(maps, 1, 1) != NULL);
	CHECK_EQ(mqt_maps_set_info(maps, 2, other), -ENOENT);
	CHECK_EQ(mqt_maps_set_info(maps, 1, other), -EINVAL); /* another client's */
	info_free(other);
	for (unsigned i = 0; i < 3; i++) {
		newer = info_new(1, 1);
		CHECK_EQ(mqt_maps_set_info(maps, 1, newer), 0);
		CHECK(mqt_chan_info(info_of(maps, 1)) == newer);
		CHECK_EQ(sizes_of(maps).retired, i + 1);
	}
	CHECK_SIZES(maps, 1, 1, 1);
	CHECK_EQ(walk(maps), 1);
	mqt_maps_grace_run(maps);
	CHECK_EQ(mqt_maps_reclaim(maps, UINT32_MAX, come_home, &home), 3);
	CHECK_EQ(home.n, 0);
	CHECK_EQ(mqt_maps_remove(maps, 1), 0);
	mqt_maps_grace_run(maps);
	CHECK_EQ(mqt_maps_reclaim(maps, UINT32_MAX, come_home, &home), 1);
	CHECK_EQ(home.n, 1);
	CHECK_EQ(home.n_bad, 0);
	mqt_maps_destroy(maps);
}

/* A row for the old info is needed, and is given back. */
static void
test_an_info_is_not_replaced_without_a_row(void)
{
	struct mqt_maps *maps = maps_new(1);
	struct mqt_info *newer = info_new(1, 1);

	mqt_role_control_assert();
	CHECK(insert(maps, 1, 1) != NULL);
	for (unsigned n_free = sizes_of(maps).free; n_free > 0; n_free--) {
		CHECK_EQ(mqt_maps_set_info(maps, 1, newer), 0);
		newer = info_new(1, 1);
	}
	CHECK_EQ(sizes_of(maps).free, 0);
	CHECK_EQ(mqt_maps_set_info(maps, 1, newer), -ENOSPC);
	CHECK(mqt_chan_info(info_of(maps, 1)) != newer);
	grace_and_reclaim(maps);
	CHECK_EQ(mqt_maps_set_info(maps, 1, newer), 0);
	CHECK(mqt_chan_info(info_of(maps, 1)) == newer);
	mqt_maps_destroy(maps); /* frees both */
}

static CU_TestInfo tests[] = {
	{ "an heir keeps the place of its head", test_an_heir_keeps_the_place_of_its_head },
	{ "clients of one bucket are found in bulk", test_clients_of_one_bucket_are_found_in_bulk },
	{ "a row used again is as new", test_a_row_used_again_is_as_new },
	{ "a replaced info comes home to nobody", test_a_replaced_info_comes_home_to_nobody },
	{ "an info is not replaced without a row", test_an_info_is_not_replaced_without_a_row },
	CU_TEST_INFO_NULL,
};

int
main(void)
{
	return rig_run(tests);
}
