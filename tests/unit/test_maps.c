/* SPDX-License-Identifier: BSD-3-Clause */
#include "check.h"
#include "eal.h"
#include "mqtrack/maps.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include <rte_errno.h>

#define SLACK 1024 /* lib/maps/maps.c: rows beyond max_channels, at least */

/* --- clients and infos that describe themselves ----------------------------------------------- */

/* What an info's data holds; `sum` follows from the rest and is never 0. */
struct payload {
	uint64_t client;
	uint64_t chan;
	uint64_t sum;
};

static uint64_t
mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static uint64_t
payload_sum(uint64_t client, uint64_t chan)
{
	return mix(client ^ mix(chan)) | 1;
}

static struct mqt_digest
digest_of(uint64_t client)
{
	return (struct mqt_digest){ { mix(client), client } };
}

static struct mqt_info *
info_new(uint64_t client, mqt_chan_id chan)
{
	struct payload p = { client, chan, payload_sum(client, chan) };
	struct mqt_info *info = malloc(sizeof(*info) + sizeof(p));

	*info = (struct mqt_info){
		.digest = digest_of(client),
		.clientid_len = sizeof(p.client),
		.username_len = sizeof(p) - sizeof(p.client),
	};
	memcpy(info->data, &p, sizeof(p));
	return info;
}

/* Whether a row is channel @p chan of @p client (0: of any) and whole. */
static bool
row_is_whole(const struct mqt_chan *row, uint64_t client, mqt_chan_id chan)
{
	struct payload p;

	memcpy(&p, mqt_info_clientid(row->info), sizeof(p));
	return p.sum == payload_sum(p.client, p.chan) && p.chan == row->id &&
			row->stamp_ns == mix(row->id) && row->epoch == p.client &&
			(client == 0 || p.client == client) && (chan == 0 || row->id == chan);
}

/* Makes the memory of a freed info useless for whoever still reads it. */
static void
info_free(struct mqt_info *info)
{
	explicit_bzero(info, sizeof(*info) + sizeof(struct payload));
	free(info);
}

static struct mqt_chan *
insert(struct mqt_maps *maps, mqt_chan_id id, uint64_t client)
{
	struct mqt_info *info = info_new(client, id);
	struct mqt_chan *row;

	mqt_role_control_assert();
	row = mqt_maps_insert(maps, id, info, mix(id), id + 1, id + 2, client);
	if (!row) /* it stayed ours */
		info_free(info);
	return row;
}

/* --- maps under test ---------------------------------------------------------------------------- */

static struct mqt_maps *
maps_new(uint32_t max_channels)
{
	static unsigned n;
	char name[16];
	struct mqt_maps_params params = {
		.max_channels = max_channels,
		.socket_id = SOCKET_ID_ANY,
		.name = name,
	};

	snprintf(name, sizeof(name), "maps%u", n++);
	return mqt_maps_create(&params);
}

/* What came home through reclaim, in order. */
struct home {
	unsigned n;
	mqt_chan_id last;
	unsigned n_bad;
};

static void
come_home(void *arg, mqt_chan_id id, struct mqt_info *info, uint32_t tag)
{
	struct home *home = arg;
	struct payload p;

	memcpy(&p, info->data, sizeof(p));
	home->n_bad += p.chan != id || p.sum != payload_sum(p.client, p.chan);
	home->n++;
	home->last = id;
	info_free(info);
}

static unsigned
reclaim(struct mqt_maps *maps, unsigned budget)
{
	struct home home = { 0 };

	mqt_role_control_assert();
	mqt_maps_reclaim(maps, budget, come_home, &home);
	CHECK_EQ(home.n_bad, 0);
	return home.n;
}

static void
grace_and_reclaim(struct mqt_maps *maps)
{
	mqt_maps_grace_run(maps);
	reclaim(maps, UINT32_MAX);
}

static struct mqt_maps_sizes
sizes_of(const struct mqt_maps *maps)
{
	struct mqt_maps_sizes sizes;

	mqt_maps_sizes(maps, &sizes);
	return sizes;
}

#define CHECK_SIZES(maps, channels_, clients_, live_)                                              \
	do {                                                                                       \
		struct mqt_maps_sizes check_sizes_ = sizes_of(maps);                               \
		CHECK_EQ(check_sizes_.channels, channels_);                                        \
		CHECK_EQ(check_sizes_.clients, clients_);                                          \
		CHECK_EQ(check_sizes_.live, live_);                                                \
	} while (0)

/* Ids of a client's channels as a reader sees them, oldest first. */
static unsigned
ids_of(const struct mqt_maps *maps, uint64_t client, mqt_chan_id *ids, unsigned max)
{
	struct mqt_digest digest = digest_of(client);
	const struct mqt_chan *row;
	unsigned n = 0;

	mqt_rcu_read_lock();
	for (row = mqt_maps_lookup(maps, &digest); row; row = atomic_load(&row->next)) {
		CHECK(row_is_whole(row, client, 0));
		CHECK(atomic_load(&row->state) != MQT_CHAN_FREE);
		if (n < max)
			ids[n] = row->id;
		n++;
	}
	mqt_rcu_read_unlock();
	return n;
}

static const struct mqt_chan *
info_of(const struct mqt_maps *maps, mqt_chan_id id)
{
	const struct mqt_chan *row;

	mqt_rcu_read_lock();
	row = mqt_maps_info(maps, id);
	mqt_rcu_read_unlock();
	return row;
}

static bool
is_live(const struct mqt_maps *maps, mqt_chan_id id)
{
	bool live;

	mqt_rcu_read_lock();
	live = mqt_maps_is_live(maps, id);
	mqt_rcu_read_unlock();
	return live;
}

static unsigned
walk(const struct mqt_maps *maps)
{
	uint32_t pos = 0;
	unsigned n = 0;

	mqt_rcu_read_lock();
	while (mqt_maps_next(maps, &pos))
		n++;
	mqt_rcu_read_unlock();
	return n;
}

/* --- creation ----------------------------------------------------------------------------------- */

static void
test_create_rejects_what_rte_hash_cannot_hold(void)
{
	static const struct {
		const char *row;
		uint32_t max_channels;
		const char *name;
	} rows[] = {
		{ "no channels", 0, "m" },
		{ "more than a table holds", UINT32_MAX, "m" },
		{ "more with the slack", 1u << 30, "m" },
		{ "a name that rte_hash would cut", 8, "01234567890123456789" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mqt_maps_params params = {
			.max_channels = rows[i].max_channels,
			.socket_id = SOCKET_ID_ANY,
			.name = rows[i].name,
		};

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
	/* the longest name there is: the three tables must still differ in theirs */
	struct mqt_maps_params params = { 8, SOCKET_ID_ANY, "0123456789012345678" };
	struct mqt_maps *a = mqt_maps_create(&params), *b = maps_new(8);

	CHECK(a != NULL);
	CHECK(b != NULL);
	CHECK(insert(a, 1, 1) != NULL);
	CHECK(info_of(b, 1) == NULL);
	CHECK(mqt_maps_create(&params) == NULL); /* the name is taken */
	mqt_maps_destroy(a);
	a = mqt_maps_create(&params);
	CHECK(a != NULL);
	CHECK_SIZES(a, 0, 0, 0);
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
	row = mqt_maps_insert(maps, 42, info, mix(42), 1001, 1002, 7);
	CHECK(row != NULL);
	CHECK(row->info == info);
	CHECK_EQ(row->id, 42);
	CHECK_EQ(row->connected_ns, 1001);
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
	CHECK(atomic_load(&row[1]->next) == row[2]);
	CHECK(atomic_load(&row[2]->next) == row[3]);
	CHECK(row_is_whole(row[1], 1, 1));
	CHECK(row_is_whole(row[2], 1, 2));
	CHECK_EQ(atomic_load(&row[1]->state), MQT_CHAN_FREE);
	CHECK_EQ(atomic_load(&row[3]->state), MQT_CHAN_CONNECTED);
	mqt_maps_destroy(maps);
}

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
	/* 16 fit two buckets; the rest is in extendable ones, which must come back too */
	for (unsigned round = 0; round < 50; round++) {
		for (uint64_t n = 1; n <= N; n++)
			CHECK(mqt_maps_insert(maps, n, colliding_info(n, n), mix(n), 0, 0, n));
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

/* The inverse of mqt_hash_chan()'s mixing: ids whose signature is @p sig. */
static mqt_chan_id
id_with_signature(uint32_t sig, uint32_t n)
{
	uint64_t h = (uint64_t)n << 32 | sig;

	h ^= h >> 33;
	h *= 0x9cb4b2f8129337dbu; /* inverse of 0xc4ceb9fe1a85ec53 */
	h ^= h >> 33;
	h *= 0x4f74430c22a54005u; /* inverse of 0xff51afd7ed558ccd */
	h ^= h >> 33;
	return h;
}

/*
 * rte_hash loses a position for ever when it finds no extendable bucket, which happens when all of
 * them wait for a grace period. The worst case: all keys in one chain, and each cycle of insertion
 * and removal leaves one more bucket waiting. Rows must run out before buckets do.
 */
static void
test_colliding_keys_use_up_the_rows_only(void)
{
	static const uint32_t capacities[] = { 17, 64, 1000, 2000 };

	mqt_role_control_assert();
	CHECK_EQ(mqt_hash_chan(id_with_signature(77, 12345)), 77);
	for (size_t i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
		struct mqt_maps *maps = maps_new(capacities[i]);
		uint32_t stay = capacities[i] - 1, n = 1, slack = 0;

		while (n <= stay) {
			mqt_chan_id id = id_with_signature(77, n);

			CHECK(mqt_maps_insert(maps, id, colliding_info(n, id), mix(id), 0, 0, n));
			n++;
		}
		for (unsigned round = 0; round < 8; round++, slack = n) {
			mqt_chan_id id = 0;
			struct mqt_info *info;

			for (n = 0;; n++) {
				id = id_with_signature(77, 1000000 + n);
				info = colliding_info(1000000 + n, id);
				if (!mqt_maps_insert(maps, id, info, mix(id), 0, 0, n))
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

/* --- tables that refuse a key --------------------------------------------------------------------- */

/* The linker sends the calls of rte_hash_add_key_with_hash_data() here (--wrap). */
int __real_rte_hash_add_key_with_hash_data(
		const struct rte_hash *h, const void *key, hash_sig_t sig, void *data);
int __wrap_rte_hash_add_key_with_hash_data(
		const struct rte_hash *h, const void *key, hash_sig_t sig, void *data);

static unsigned refuse_add; /* the n-th addition from now on is refused; 0: none */

int
__wrap_rte_hash_add_key_with_hash_data(
		const struct rte_hash *h, const void *key, hash_sig_t sig, void *data)
{
	if (refuse_add > 0 && --refuse_add == 0)
		return -ENOSPC;
	return __real_rte_hash_add_key_with_hash_data(h, key, sig, data);
}

static void
test_refused_insertion_leaves_nothing(void)
{
	static const struct {
		const char *row;
		uint64_t client;
		unsigned nth;
	} rows[] = {
		{ "new client, channel map", 2, 1 },
		{ "new client, info map", 2, 2 },
		{ "new client, live map", 2, 3 },
		{ "known client, info map", 1, 1 },
		{ "known client, live map", 1, 2 },
	};

	mqt_role_control_assert();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mqt_maps *maps = maps_new(8);
		struct mqt_digest digest = digest_of(rows[i].client);
		bool known = rows[i].client == 1;
		mqt_chan_id ids[2];

		check_row = rows[i].row;
		CHECK(insert(maps, 1, 1) != NULL);
		/* more often than there are positions, so that a lost one shows */
		for (unsigned k = 0; k < 20000; k++) {
			rte_errno = 0;
			refuse_add = rows[i].nth;
			CHECK(insert(maps, 2, rows[i].client) == NULL); /* frees the info at once */
			CHECK_EQ(refuse_add, 0);
			CHECK_EQ(rte_errno, ENOSPC);
			CHECK(mqt_maps_get(maps, 2) == NULL);
			CHECK_EQ(mqt_maps_head(maps, &digest) != NULL, known);
			if (sizes_of(maps).retired < SLACK)
				continue;
			mqt_maps_grace_run(maps);
			CHECK_EQ(reclaim(maps, UINT32_MAX), 0); /* no info comes home */
		}
		CHECK(info_of(maps, 2) == NULL);
		CHECK(!is_live(maps, 2));
		CHECK_EQ(ids_of(maps, rows[i].client, ids, 2), known);
		CHECK_EQ(walk(maps), 1);
		CHECK_SIZES(maps, 1, 1, 1);
		CHECK(insert(maps, 2, rows[i].client) != NULL);
		CHECK_SIZES(maps, 2, known ? 1 : 2, 2);
		CHECK_EQ(ids_of(maps, rows[i].client, ids, 2), 1 + known);
		mqt_maps_destroy(maps);
	}
	check_row = "";
}

/* --- grace periods ----------------------------------------------------------------------------------- */

static void
test_nothing_comes_home_before_its_grace_period(void)
{
	struct mqt_maps *maps = maps_new(8);

	mqt_role_control_assert();
	for (mqt_chan_id id = 1; id <= 4; id++)
		CHECK(insert(maps, id, id) != NULL);
	CHECK(!mqt_maps_grace_wanted(maps));
	CHECK_EQ(mqt_maps_remove(maps, 1), 0);
	CHECK(mqt_maps_grace_wanted(maps));
	CHECK_EQ(reclaim(maps, 8), 0);
	mqt_maps_grace_run(maps);
	CHECK(!mqt_maps_grace_wanted(maps));
	CHECK_EQ(mqt_maps_remove(maps, 2), 0); /* after the grace period: not covered */
	CHECK(mqt_maps_grace_wanted(maps));
	CHECK_EQ(sizes_of(maps).retired, 2);
	CHECK_EQ(reclaim(maps, 8), 1);
	CHECK_EQ(reclaim(maps, 8), 0);
	CHECK_EQ(sizes_of(maps).retired, 1);
	mqt_maps_grace_run(maps);
	CHECK_EQ(reclaim(maps, 8), 1);
	CHECK_EQ(sizes_of(maps).retired, 0);
	mqt_maps_destroy(maps);
}

static void
test_reclaim_keeps_order_and_budget(void)
{
	struct mqt_maps *maps = maps_new(100);
	struct home home = { 0 };

	mqt_role_control_assert();
	for (mqt_chan_id id = 1; id <= 100; id++)
		CHECK(insert(maps, id, id) != NULL);
	for (mqt_chan_id id = 1; id <= 100; id++)
		CHECK_EQ(mqt_maps_remove(maps, id * 37 % 101), 0);
	mqt_maps_grace_run(maps);
	CHECK_EQ(mqt_maps_reclaim(maps, 0, come_home, &home), 0);
	for (mqt_chan_id id = 1; id <= 100; id++) {
		CHECK_EQ(mqt_maps_reclaim(maps, 1, come_home, &home), 1);
		CHECK_EQ(home.n, id);
		CHECK_EQ(home.last, id * 37 % 101);
	}
	CHECK_EQ(home.n_bad, 0);
	mqt_maps_destroy(maps);
}

/* Waits for the reclaimer, not for time: gives up after so many looks that it must be broken. */
static void
wait_for_grace(struct mqt_maps *maps)
{
	static const struct timespec ms = { .tv_nsec = 1000000 };

	for (unsigned look = 0; look < 20000 && mqt_maps_grace_wanted(maps); look++)
		nanosleep(&ms, NULL);
	CHECK(!mqt_maps_grace_wanted(maps));
}

static unsigned
reclaim_patiently(struct mqt_maps *maps, unsigned want)
{
	static const struct timespec ms = { .tv_nsec = 1000000 };
	unsigned n = 0;

	for (unsigned look = 0; look < 20000 && n < want; look++) {
		n += reclaim(maps, UINT32_MAX);
		if (n < want)
			nanosleep(&ms, NULL);
	}
	return n;
}

static void
test_reclaimer_wakes_for_each_removal(void)
{
	struct mqt_maps *maps = maps_new(8);

	mqt_role_control_assert();
	CHECK_EQ(mqt_maps_reclaimer_start(maps), 0);
	CHECK_EQ(mqt_maps_reclaimer_start(maps), -EALREADY);
	for (mqt_chan_id id = 1; id <= 100; id++) {
		CHECK(insert(maps, id, 1) != NULL);
		CHECK_EQ(mqt_maps_remove(maps, id), 0);
		if (id % 2) /* the removal alone has woken it */
			wait_for_grace(maps);
		CHECK_EQ(reclaim_patiently(maps, 1), 1);
	}
	mqt_maps_reclaimer_stop(maps);
	CHECK(insert(maps, 1, 1) != NULL);
	CHECK_EQ(mqt_maps_remove(maps, 1), 0);
	CHECK_EQ(reclaim(maps, 8), 0);
	CHECK(mqt_maps_grace_wanted(maps)); /* nobody runs it any more */
	CHECK_EQ(mqt_maps_reclaimer_start(maps), 0);
	CHECK_EQ(reclaim_patiently(maps, 1), 1);
	mqt_maps_reclaimer_stop(maps);
	mqt_maps_reclaimer_stop(maps);
	mqt_maps_destroy(maps);
}

struct section {
	struct mqt_maps *maps;
	sem_t entered, leave;
	bool whole;
};

/* Nested sections are a thing of run time; the analysis knows one level. */
MQT_NO_ANALYSIS static void *
stay_in_section(void *arg)
{
	struct section *s = arg;
	const struct mqt_chan *row;

	mqt_rcu_register();
	mqt_rcu_read_lock();
	row = mqt_maps_info(s->maps, 1);
	mqt_rcu_read_lock();
	mqt_rcu_read_unlock(); /* the inner end ends nothing */
	sem_post(&s->entered);
	sem_wait(&s->leave);
	s->whole = row && row_is_whole(row, 1, 1);
	mqt_rcu_read_unlock();
	sem_post(&s->entered);
	sem_wait(&s->leave); /* blocks outside a section: must hold up nobody */
	mqt_rcu_unregister();
	return NULL;
}

static void
test_section_holds_up_reclaim_and_nothing_else_does(void)
{
	static const struct timespec ms = { .tv_nsec = 1000000 };
	struct section s = { .maps = maps_new(8) };
	pthread_t thread;
	unsigned early = 0;

	mqt_role_control_assert();
	sem_init(&s.entered, 0, 0);
	sem_init(&s.leave, 0, 0);
	CHECK(insert(s.maps, 1, 1) != NULL);
	CHECK(insert(s.maps, 2, 2) != NULL);
	CHECK_EQ(pthread_create(&thread, NULL, stay_in_section, &s), 0);
	sem_wait(&s.entered);
	CHECK_EQ(mqt_maps_remove(s.maps, 1), 0);
	CHECK_EQ(mqt_maps_reclaimer_start(s.maps), 0);
	for (int i = 0; i < 30; i++) {
		nanosleep(&ms, NULL);
		early += reclaim(s.maps, 8);
	}
	CHECK_EQ(early, 0);
	sem_post(&s.leave);
	CHECK_EQ(early + reclaim_patiently(s.maps, 1), 1);
	sem_wait(&s.entered);
	CHECK_EQ(mqt_maps_remove(s.maps, 2), 0);
	CHECK_EQ(reclaim_patiently(s.maps, 1), 1); /* the reader is offline */
	sem_post(&s.leave);
	pthread_join(thread, NULL);
	CHECK(s.whole);
	mqt_maps_reclaimer_stop(s.maps);
	mqt_maps_destroy(s.maps);
	sem_destroy(&s.entered);
	sem_destroy(&s.leave);
}

/* --- walks --------------------------------------------------------------------------------------- */

static void
test_walk_sees_each_lasting_channel_once(void)
{
	enum {
		STAY = 300,
		COME_AND_GO = 300
	};
	struct mqt_maps *maps = maps_new(STAY + COME_AND_GO);
	mqt_chan_id come = 1000000, go;
	unsigned seed = 5;

	mqt_role_control_assert();
	for (mqt_chan_id id = 1; id <= STAY; id++) { /* lasting ones among the others */
		CHECK(insert(maps, id, id) != NULL);
		CHECK(insert(maps, come, come) != NULL);
		come++;
	}
	go = come - COME_AND_GO;
	for (unsigned round = 0; round < 20; round++) {
		unsigned seen[STAY + 1] = { 0 };
		const struct mqt_chan *row;
		uint32_t pos = 0;

		mqt_rcu_read_lock();
		while ((row = mqt_maps_next(maps, &pos))) {
			CHECK(row_is_whole(row, 0, 0));
			if (row->id <= STAY)
				seen[row->id]++;
			if (rand_r(&seed) % 16 != 0)
				continue;
			mqt_rcu_read_unlock(); /* the end of a page */
			for (unsigned k = 0; k < 20; k++) {
				CHECK_EQ(mqt_maps_remove(maps, go++), 0);
				CHECK(insert(maps, come, come) != NULL);
				come++;
			}
			grace_and_reclaim(maps);
			mqt_rcu_read_lock();
		}
		mqt_rcu_read_unlock();
		for (unsigned id = 1; id <= STAY; id++)
			CHECK_EQ(seen[id], 1);
	}
	mqt_maps_destroy(maps);
}

/* --- random operations against a naive model ------------------------------------------------------ */

#define MODEL_CAP     24
#define MODEL_IDS     40
#define MODEL_CLIENTS 6

struct model_chan {
	uint64_t client; /* 0: not registered */
	uint64_t born;   /* order of insertion */
	enum mqt_chan_state state;
};

struct model {
	struct model_chan chan[MODEL_IDS + 1];
	uint64_t births;
	unsigned n, n_live, n_retired, n_covered;
	uint32_t n_rows; /* free at the beginning */
};

static void
model_check_client(const struct mqt_maps *maps, const struct model *m, uint64_t client)
{
	mqt_chan_id ids[MODEL_CAP];
	unsigned n = ids_of(maps, client, ids, MODEL_CAP), want = 0;

	for (unsigned id = 1; id <= MODEL_IDS; id++)
		want += m->chan[id].client == client;
	CHECK_EQ(n, want);
	for (unsigned i = 0; i < n && i < MODEL_CAP; i++) {
		CHECK_EQ(m->chan[ids[i]].client, client);
		if (i > 0)
			CHECK(m->chan[ids[i - 1]].born < m->chan[ids[i]].born);
	}
}

static void
model_check(const struct mqt_maps *maps, const struct model *m)
{
	const struct mqt_chan *heads[MODEL_CLIENTS + 1];
	struct mqt_digest digests[MODEL_CLIENTS + 1];
	unsigned n_clients = 0;

	mqt_role_control_assert();
	for (uint64_t client = 1; client <= MODEL_CLIENTS; client++)
		model_check_client(maps, m, client);
	for (uint64_t client = 0; client <= MODEL_CLIENTS; client++)
		digests[client] = digest_of(client);
	mqt_rcu_read_lock();
	mqt_maps_lookup_bulk(maps, digests, MODEL_CLIENTS + 1, heads);
	mqt_rcu_read_unlock();
	CHECK(heads[0] == NULL);
	for (unsigned c = 1; c <= MODEL_CLIENTS; c++) {
		CHECK(heads[c] == mqt_maps_head(maps, &digests[c]));
		n_clients += heads[c] != NULL;
	}
	for (unsigned id = 1; id <= MODEL_IDS; id++) {
		const struct mqt_chan *row = info_of(maps, id);

		CHECK_EQ(row != NULL, m->chan[id].client != 0);
		CHECK_EQ(is_live(maps, id), m->chan[id].state == MQT_CHAN_CONNECTED);
		if (row) {
			CHECK(row_is_whole(row, m->chan[id].client, id));
			CHECK_EQ(atomic_load(&row->state), m->chan[id].state);
		}
	}
	CHECK_EQ(walk(maps), m->n);
	CHECK_SIZES(maps, m->n, n_clients, m->n_live);
	CHECK_EQ(sizes_of(maps).retired, m->n_retired);
	CHECK_EQ(sizes_of(maps).free, m->n_rows - m->n - m->n_retired);
}

static void
model_insert(struct mqt_maps *maps, struct model *m, unsigned id, uint64_t client)
{
	struct model_chan *c = &m->chan[id];
	int want = c->client ? EEXIST : m->n == MODEL_CAP ? ENOSPC : 0;

	rte_errno = 0;
	CHECK_EQ(insert(maps, id, client) != NULL, want == 0);
	CHECK_EQ(rte_errno, want);
	if (want)
		return;
	*c = (struct model_chan){ client, ++m->births, MQT_CHAN_CONNECTED };
	m->n++;
	m->n_live++;
}

static void
model_remove(struct mqt_maps *maps, struct model *m, unsigned id)
{
	struct model_chan *c = &m->chan[id];

	mqt_role_control_assert();
	CHECK_EQ(mqt_maps_remove(maps, id), c->client ? 0 : -ENOENT);
	if (!c->client)
		return;
	m->n--;
	m->n_retired++;
	m->n_live -= c->state == MQT_CHAN_CONNECTED;
	*c = (struct model_chan){ 0 };
}

static void
model_down(struct mqt_maps *maps, struct model *m, unsigned id, enum mqt_chan_state state)
{
	struct model_chan *c = &m->chan[id];
	bool live = c->state == MQT_CHAN_CONNECTED;

	mqt_role_control_assert();
	CHECK_EQ(mqt_maps_set_down(maps, id, state), live ? 0 : -ENOENT);
	if (live) {
		c->state = state;
		m->n_live--;
	}
}

static void
model_live(struct mqt_maps *maps, struct model *m, unsigned id)
{
	struct model_chan *c = &m->chan[id];
	bool orphan = c->state == MQT_CHAN_ORPHANED;

	mqt_role_control_assert();
	CHECK_EQ(mqt_maps_set_live(maps, id), orphan ? 0 : -ENOENT);
	if (orphan) {
		c->state = MQT_CHAN_CONNECTED;
		m->n_live++;
	}
}

static void
model_reclaim(struct mqt_maps *maps, struct model *m, unsigned budget)
{
	unsigned want = budget < m->n_covered ? budget : m->n_covered;

	CHECK_EQ(reclaim(maps, budget), want);
	m->n_covered -= want;
	m->n_retired -= want;
}

static void
test_random_operations_match_a_naive_model(void)
{
	struct mqt_maps *maps = maps_new(MODEL_CAP);
	struct model m = { .n_rows = sizes_of(maps).free };
	unsigned seed = 20;

	CHECK(m.n_rows >= MODEL_CAP + SLACK);

	for (unsigned step = 0; step < 100000; step++) {
		unsigned id = 1 + rand_r(&seed) % MODEL_IDS;
		uint64_t client = 1 + rand_r(&seed) % MODEL_CLIENTS;
		/* filling and draining take turns */
		unsigned dice = rand_r(&seed) % 100, grow = step / 300 % 2 ? 25 : 50;

		if (dice < grow)
			model_insert(maps, &m, id, client);
		else if (dice < 75)
			model_remove(maps, &m, id);
		else if (dice < 80)
			model_down(maps, &m, id, MQT_CHAN_DISCONNECTED);
		else if (dice < 85)
			model_down(maps, &m, id, MQT_CHAN_ORPHANED);
		else if (dice < 90)
			model_live(maps, &m, id);
		else if (dice < 95)
			model_reclaim(maps, &m, rand_r(&seed) % 16);
		else {
			mqt_maps_grace_run(maps);
			m.n_covered = m.n_retired;
		}
		if (step % 8 == 0)
			model_check(maps, &m);
		if (CU_get_number_of_failures() > 100)
			break; /* it will not get better */
	}
	mqt_maps_destroy(maps);
}

/* --- readers beside the writer --------------------------------------------------------------------- */

#define RACE_OPS     200000u
#define RACE_CAP     300u
#define RACE_FIXED   8u /* clients 1..8 always have a channel */
#define RACE_CLIENTS 64u
#define RACE_READERS 2
#define RACE_PAGE    16

struct race {
	struct mqt_maps *maps;
	_Atomic bool done;
	_Atomic uint64_t newest_id;
	_Atomic unsigned n_started;
};

struct race_reader {
	struct race *race;
	_Atomic uint64_t n_sections;
	uint64_t n_found, n_walked;
	uint64_t n_broken;    /* rows that do not describe themselves */
	uint64_t n_none;      /* a fixed client without a channel: R9 */
	uint64_t n_not_by_id; /* found by client and registered, not found by id */
};

/* Looks a client up and walks its bag as mqt_maps_lookup() says. */
static unsigned
race_lookup(struct race_reader *r, uint64_t client) MQT_REQUIRES_SHARED(mqt_rcu_read)
{
	struct mqt_digest digest = digest_of(client);
	const struct mqt_chan *row;
	unsigned n = 0;

	for (row = mqt_maps_lookup(r->race->maps, &digest); row;
			row = atomic_load_explicit(&row->next, memory_order_acquire)) {
		bool registered = atomic_load_explicit(&row->state, memory_order_acquire) !=
				MQT_CHAN_FREE;

		r->n_broken += !row_is_whole(row, client, 0);
		if (!registered)
			continue;
		n++;
		if (mqt_maps_info(r->race->maps, row->id) != row &&
				atomic_load_explicit(&row->state, memory_order_acquire) !=
						MQT_CHAN_FREE)
			r->n_not_by_id++;
	}
	r->n_found += n;
	return n;
}

static void
race_walk(struct race_reader *r)
{
	const struct mqt_chan *row;
	uint32_t pos = 0;
	unsigned n = 0;

	do {
		mqt_rcu_read_lock();
		for (unsigned i = 0; i < RACE_PAGE && (row = mqt_maps_next(r->race->maps, &pos));
				i++) {
			r->n_broken += !row_is_whole(row, 0, 0);
			n++;
		}
		mqt_rcu_read_unlock();
	} while (row);
	r->n_walked += n;
}

static void *
race_read(void *arg)
{
	struct race_reader *r = arg;
	struct race *race = r->race;
	unsigned seed = 3;

	mqt_rcu_register();
	atomic_fetch_add(&race->n_started, 1);
	while (!atomic_load(&race->done)) {
		uint64_t newest = atomic_load(&race->newest_id);

		mqt_rcu_read_lock();
		for (unsigned i = 0; i < RACE_PAGE; i++) {
			mqt_chan_id id = newest - (uint64_t)rand_r(&seed) % RACE_CAP;
			const struct mqt_chan *row = mqt_maps_info(race->maps, id);

			r->n_none += race_lookup(r, 1 + i % RACE_FIXED) == 0;
			race_lookup(r, 1 + (uint64_t)rand_r(&seed) % RACE_CLIENTS);
			if (row)
				r->n_broken += !row_is_whole(row, 0, id);
			mqt_maps_is_live(race->maps, id);
		}
		mqt_rcu_read_unlock();
		if (atomic_fetch_add(&r->n_sections, 1) % 4 == 0)
			race_walk(r);
	}
	mqt_rcu_unregister();
	return NULL;
}

struct race_writer {
	mqt_chan_id next_id;
	mqt_chan_id fixed[RACE_FIXED + 1];
	mqt_chan_id others[RACE_CAP];
	unsigned n_others;
	uint64_t n_home, n_inserted, n_removed, n_waited;
};

static void
race_come_home(void *arg, mqt_chan_id id, struct mqt_info *info, uint32_t tag)
{
	struct race_writer *w = arg;

	w->n_home++;
	info_free(info);
}

static mqt_chan_id
race_insert(struct race *race, struct race_writer *w, uint64_t client)
{
	mqt_chan_id id = w->next_id++;

	mqt_role_control_assert();
	while (!insert(race->maps, id, client)) { /* the slack is used up */
		w->n_waited++;
		mqt_maps_reclaim(race->maps, UINT32_MAX, race_come_home, w);
		sched_yield();
	}
	w->n_inserted++;
	atomic_store(&race->newest_id, id);
	return id;
}

static void
race_remove(struct race *race, struct race_writer *w, mqt_chan_id id)
{
	mqt_role_control_assert();
	if (mqt_maps_remove(race->maps, id) == 0)
		w->n_removed++;
}

static void
race_write(struct race *race, struct race_writer *w)
{
	unsigned seed = 8;

	mqt_role_control_assert();
	while (w->n_inserted < RACE_OPS) {
		unsigned dice = rand_r(&seed) % 100;
		unsigned k = rand_r(&seed) % RACE_CAP;

		if (dice < 40) { /* a takeover */
			unsigned client = 1 + k % RACE_FIXED;
			mqt_chan_id old = w->fixed[client];

			w->fixed[client] = race_insert(race, w, client);
			race_remove(race, w, old);
		} else if (w->n_others > 0 && (dice < 70 || w->n_others >= RACE_CAP - 20)) {
			k %= w->n_others;
			if (dice % 2)
				mqt_maps_set_down(race->maps, w->others[k], MQT_CHAN_DISCONNECTED);
			race_remove(race, w, w->others[k]);
			w->others[k] = w->others[--w->n_others];
		} else {
			uint64_t client = RACE_FIXED + 1 + k % (RACE_CLIENTS - RACE_FIXED);

			w->others[w->n_others++] = race_insert(race, w, client);
		}
		mqt_maps_reclaim(race->maps, 4, race_come_home, w);
	}
}

static void
test_readers_beside_the_writer_see_whole_channels(void)
{
	struct race race = { .maps = maps_new(RACE_CAP) };
	struct race_reader readers[RACE_READERS] = { 0 };
	struct race_writer w = { .next_id = RACE_CAP + 1 };
	pthread_t threads[RACE_READERS];

	for (unsigned c = 1; c <= RACE_FIXED; c++)
		w.fixed[c] = race_insert(&race, &w, c);
	CHECK_EQ(mqt_maps_reclaimer_start(race.maps), 0);
	for (int i = 0; i < RACE_READERS; i++) {
		readers[i].race = &race;
		CHECK_EQ(pthread_create(&threads[i], NULL, race_read, &readers[i]), 0);
	}
	while (atomic_load(&race.n_started) < RACE_READERS)
		sched_yield();
	race_write(&race, &w);
	for (int i = 0; i < RACE_READERS; i++)
		while (atomic_load(&readers[i].n_sections) < 100)
			sched_yield();
	atomic_store(&race.done, true);
	for (int i = 0; i < RACE_READERS; i++)
		pthread_join(threads[i], NULL);
	mqt_maps_reclaimer_stop(race.maps);

	for (int i = 0; i < RACE_READERS; i++) {
		CHECK(readers[i].n_found > 0 && readers[i].n_walked > 0);
		CHECK_EQ(readers[i].n_broken, 0);
		CHECK_EQ(readers[i].n_none, 0);
		CHECK_EQ(readers[i].n_not_by_id, 0);
	}
	CHECK_EQ(w.n_inserted, RACE_OPS);
	CHECK_EQ(sizes_of(race.maps).channels, RACE_FIXED + w.n_others);
	CHECK_EQ(w.n_removed, w.n_inserted - RACE_FIXED - w.n_others);
	mqt_role_control_assert();
	mqt_maps_grace_run(race.maps);
	mqt_maps_reclaim(race.maps, UINT32_MAX, race_come_home, &w);
	CHECK_EQ(w.n_home, w.n_removed);
	CHECK_EQ(sizes_of(race.maps).retired, 0);
	mqt_maps_destroy(race.maps);
}

/* --- suite --------------------------------------------------------------------------------------- */

static CU_TestInfo tests[] = {
	{ "create rejects what rte_hash cannot hold",
			test_create_rejects_what_rte_hash_cannot_hold },
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
	{ "full maps refuse and change nothing", test_full_maps_refuse_and_change_nothing },
	{ "fill and drain leaks no position", test_fill_and_drain_leaks_no_position },
	{ "slack ends with ENOSPC and comes back", test_slack_ends_with_enospc_and_comes_back },
	{ "clients with one signature are kept apart",
			test_clients_with_one_signature_are_kept_apart },
	{ "colliding keys use up the rows only", test_colliding_keys_use_up_the_rows_only },
	{ "refused insertion leaves nothing", test_refused_insertion_leaves_nothing },
	{ "nothing comes home before its grace period",
			test_nothing_comes_home_before_its_grace_period },
	{ "reclaim keeps order and budget", test_reclaim_keeps_order_and_budget },
	{ "reclaimer wakes for each removal", test_reclaimer_wakes_for_each_removal },
	{ "section holds up reclaim and nothing else does",
			test_section_holds_up_reclaim_and_nothing_else_does },
	{ "walk sees each lasting channel once", test_walk_sees_each_lasting_channel_once },
	{ "random operations match a naive model", test_random_operations_match_a_naive_model },
	{ "readers beside the writer see whole channels",
			test_readers_beside_the_writer_see_whole_channels },
	CU_TEST_INFO_NULL,
};

static int
suite_init(void)
{
	mqt_rcu_register();
	return 0;
}

static int
suite_fini(void)
{
	mqt_rcu_unregister();
	return 0;
}

static CU_SuiteInfo suites[] = {
	{ "maps", suite_init, suite_fini, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	if (eal_start("maps") < 0)
		return 2;
	return eal_stop(check_run(suites));
}
