/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Maps that are full, and maps whose keys collide.
 */
#include "maps_rig.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_errno.h>

#define SLACK 1024 /* lib/maps/maps.c: rows beyond max_channels, at least */

/* --- full tables ---------------------------------------------------------------------------------- */

static void
test_full_maps_refuse_and_change_nothing(void)
{
	static const uint32_t capacities[] = { 1, 2, 7, 8, 100, 1024, 6200 };

	mqt_role_control_assert();
	for (size_t c = 0; c < sizeof(capacities) / sizeof(capacities[0]); c++) {
		uint32_t cap = capacities[c];
		struct mqt_maps *maps = maps_new(cap);
		mqt_chan_id ids[2];

		for (uint32_t i = 1; i <= cap; i++)
			CHECK(insert(maps, i, i) != NULL);
		for (uint64_t client = 1; client <= cap + 1; client += cap) { /* known, unknown */
			rte_errno = 0;
			CHECK(insert(maps, cap + 1, client) == NULL);
			CHECK_EQ(rte_errno, ENOSPC);
		}
		CHECK_SIZES(maps, cap, cap, cap);
		CHECK_EQ(sizes_of(maps).retired, 0);
		CHECK_EQ(ids_of(maps, 1, ids, 2), 1);
		CHECK_EQ(ids_of(maps, cap + 1, ids, 2), 0);
		CHECK(info_of(maps, cap + 1) == NULL);
		CHECK_EQ(walk(maps), cap);
		CHECK_EQ(mqt_maps_remove(maps, 1), 0);
		CHECK(insert(maps, cap + 1, cap + 1) != NULL); /* from the slack */
		mqt_maps_destroy(maps);
	}
}

static void
test_fill_and_drain_leaks_no_position(void)
{
	struct mqt_maps *maps = maps_new(8);
	mqt_chan_id id = 1;

	mqt_role_control_assert();
	for (unsigned cycle = 0; cycle < 10000; cycle++) {
		bool ok = true;

		/* in turn: all clients different, all the same, two and two */
		for (unsigned i = 0; i < 8; i++) {
			unsigned client = cycle % 3 == 0 ? i : cycle % 3 == 1 ? 0 : i / 2;

			ok = ok && insert(maps, id + i, 1 + client);
		}
		ok = ok && !insert(maps, id + 8, 9);
		for (unsigned i = 0; i < 8; i++) {
			if (i == cycle % 8)
				mqt_maps_set_down(maps, id + i, MQT_CHAN_DISCONNECTED);
			ok = mqt_maps_remove(maps, id + (i * 5 + cycle) % 8) == 0 && ok;
		}
		mqt_maps_grace_run(maps);
		ok = reclaim(maps, UINT32_MAX) == 8 && ok;
		CHECK(ok);
		if (!ok)
			break;
		id += 8;
	}
	CHECK_SIZES(maps, 0, 0, 0);
	CHECK_EQ(sizes_of(maps).retired, 0);
	mqt_maps_destroy(maps);
}

static void
test_slack_ends_with_enospc_and_comes_back(void)
{
	struct mqt_maps *maps = maps_new(8);
	mqt_chan_id id = 1;

	mqt_role_control_assert();
	for (int round = 0; round < 20; round++) {
		unsigned n = 0;

		while (insert(maps, id, id)) {
			CHECK_EQ(mqt_maps_remove(maps, id), 0);
			id++;
			n++;
		}
		CHECK_EQ(rte_errno, ENOSPC);
		CHECK(n >= SLACK);
		CHECK_EQ(sizes_of(maps).retired, n);
		CHECK_EQ(sizes_of(maps).free, 0);
		CHECK_SIZES(maps, 0, 0, 0);
		mqt_maps_grace_run(maps);
		CHECK_EQ(reclaim(maps, UINT32_MAX), n);
	}
	mqt_maps_destroy(maps);
}

/* --- tables whose keys collide --------------------------------------------------------------------- */

static struct mqt_info *
colliding_info(uint64_t n, mqt_chan_id id)
{
	struct mqt_info *info = info_new(n, id);

	info->digest = (struct mqt_digest){ { n << 32 | 0x1234abcd, n } };
	return info;
}

static void
test_clients_with_one_signature_are_kept_apart(void)
{
	enum {
		N = 200
	};
	struct mqt_maps *maps = maps_new(N);

	mqt_role_control_assert();
	/* all in one chain, of which each is removed somewhere in the middle, or at an end */
	for (unsigned round = 0; round < 50; round++) {
		for (uint64_t n = 1; n <= N; n++)
			CHECK(mqt_maps_insert(maps, n, colliding_info(n, n), mix(n), 0, n));
		for (uint64_t k = 1; k <= N; k++) {
			uint64_t n = 1 + (k * 7 + round) % N;
			struct mqt_digest digest = { { n << 32 | 0x1234abcd, n } };
			struct mqt_chan *row = mqt_maps_head(maps, &digest);

			CHECK(row && row_is_whole(row, n, n));
			CHECK_EQ(mqt_maps_remove(maps, n), 0);
			CHECK(mqt_maps_head(maps, &digest) == NULL);
		}
		CHECK_SIZES(maps, 0, 0, 0);
		mqt_maps_grace_run(maps);
		CHECK_EQ(reclaim(maps, UINT32_MAX), N);
	}
	mqt_maps_destroy(maps);
}

/* Ids that share a bucket in maps with @p n_buckets of them: slots of one worker and generation. */
static mqt_chan_id
colliding_id(uint32_t n_buckets, uint32_t n)
{
	return mqt_chan_id_make(0, 1, n_buckets * n, 5);
}

/*
 * The worst case: all keys in one chain. It is slow, but nothing else: rows run out when they are all
 * taken and retired, and not before.
 */
static void
test_colliding_keys_use_up_the_rows_only(void)
{
	static const uint32_t capacities[] = { 17, 64, 1000, 2000 };

	mqt_role_control_assert();
	for (size_t i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
		struct mqt_maps *maps = maps_new(capacities[i]);
		uint32_t stay = capacities[i] - 1, n = 1, slack = 0;
		uint32_t n_rows = sizes_of(maps).free;

		while (n <= stay) {
			mqt_chan_id id = colliding_id(n_rows, n);

			CHECK(mqt_maps_insert(maps, id, colliding_info(n, id), mix(id), 0, n));
			n++;
		}
		for (unsigned round = 0; round < 8; round++, slack = n) {
			mqt_chan_id id = 0;
			struct mqt_info *info;

			for (n = 0;; n++) {
				id = colliding_id(n_rows, capacities[i] + n);
				info = colliding_info(1000000 + n, id);
				if (!mqt_maps_insert(maps, id, info, mix(id), 0, n))
					break;
				CHECK_EQ(mqt_maps_remove(maps, id), 0);
			}
			CHECK_EQ(rte_errno, ENOSPC);
			info_free(info);
			CHECK_EQ(sizes_of(maps).free, 0);
			CHECK(n >= SLACK);
			if (round > 0) /* nothing was lost */
				CHECK_EQ(n, slack);
			CHECK_SIZES(maps, stay, stay, stay);
			mqt_maps_grace_run(maps);
			CHECK_EQ(reclaim(maps, UINT32_MAX), n);
		}
		mqt_maps_destroy(maps);
	}
}

static CU_TestInfo tests[] = {
	{ "full maps refuse and change nothing", test_full_maps_refuse_and_change_nothing },
	{ "fill and drain leaks no position", test_fill_and_drain_leaks_no_position },
	{ "slack ends with ENOSPC and comes back", test_slack_ends_with_enospc_and_comes_back },
	{ "clients with one signature are kept apart",
			test_clients_with_one_signature_are_kept_apart },
	{ "colliding keys use up the rows only", test_colliding_keys_use_up_the_rows_only },
	CU_TEST_INFO_NULL,
};

int
main(void)
{
	return rig_run(tests);
}
