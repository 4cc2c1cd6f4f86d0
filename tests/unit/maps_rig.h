/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_MAPS_RIG_H
#define TESTS_UNIT_MAPS_RIG_H

/*
 * What tests of the maps share: clients and infos that describe themselves, maps under test.
 */

#include "check.h"
#include "eal.h"
#include "mqtrack/maps.h"

#include <stdatomic.h>
#include <stdlib.h>

/* What an info's data holds; `sum` follows from the rest and is never 0. */
struct payload {
	uint64_t client;
	uint64_t chan;
	uint64_t sum;
};

static inline uint64_t
mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static inline uint64_t
payload_sum(uint64_t client, uint64_t chan)
{
	return mix(client ^ mix(chan)) | 1;
}

static inline struct mqt_digest
digest_of(uint64_t client)
{
	return (struct mqt_digest){ { mix(client), client } };
}

static inline struct mqt_info *
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
static inline bool
row_is_whole(const struct mqt_chan *row, uint64_t client, mqt_chan_id chan)
{
	struct payload p;

	memcpy(&p, mqt_info_clientid(mqt_chan_info(row)), sizeof(p));
	return p.sum == payload_sum(p.client, p.chan) && p.chan == row->id &&
			row->stamp_ns == mix(row->id) && row->epoch == p.client &&
			(client == 0 || p.client == client) && (chan == 0 || row->id == chan);
}

/* Makes the memory of a freed info useless for whoever still reads it. */
static inline void
info_free(struct mqt_info *info)
{
	explicit_bzero(info, sizeof(*info) + sizeof(struct payload));
	free(info);
}

static inline struct mqt_chan *
insert(struct mqt_maps *maps, mqt_chan_id id, uint64_t client)
{
	struct mqt_info *info = info_new(client, id);
	struct mqt_chan *row;

	mqt_role_control_assert();
	row = mqt_maps_insert(maps, id, info, mix(id), id + 2, client);
	if (!row) /* it stayed ours */
		info_free(info);
	return row;
}

static inline struct mqt_maps *
maps_new(uint32_t max_channels)
{
	return mqt_maps_create(&(struct mqt_maps_params){ .max_channels = max_channels });
}

/* What came home through reclaim, in order. */
struct home {
	unsigned n;
	mqt_chan_id last;
	unsigned n_bad;
};

static inline void
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

static inline unsigned
reclaim(struct mqt_maps *maps, unsigned budget)
{
	struct home home = { 0 };

	mqt_role_control_assert();
	mqt_maps_reclaim(maps, budget, come_home, &home);
	CHECK_EQ(home.n_bad, 0);
	return home.n;
}

static inline void
grace_and_reclaim(struct mqt_maps *maps)
{
	mqt_maps_grace_run(maps);
	reclaim(maps, UINT32_MAX);
}

static inline struct mqt_maps_sizes
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
static inline unsigned
ids_of(const struct mqt_maps *maps, uint64_t client, mqt_chan_id *ids, unsigned max)
{
	struct mqt_digest digest = digest_of(client);
	const struct mqt_chan *row;
	unsigned n = 0;

	mqt_rcu_read_lock();
	for (row = mqt_maps_lookup(maps, &digest); row; row = mqt_chan_next(row)) {
		CHECK(row_is_whole(row, client, 0));
		CHECK(atomic_load(&row->state) != MQT_CHAN_FREE);
		if (n < max)
			ids[n] = row->id;
		n++;
	}
	mqt_rcu_read_unlock();
	return n;
}

static inline const struct mqt_chan *
info_of(const struct mqt_maps *maps, mqt_chan_id id)
{
	const struct mqt_chan *row;

	mqt_rcu_read_lock();
	row = mqt_maps_info(maps, id);
	mqt_rcu_read_unlock();
	return row;
}

static inline bool
is_live(const struct mqt_maps *maps, mqt_chan_id id)
{
	bool live;

	mqt_rcu_read_lock();
	live = mqt_maps_is_live(maps, id);
	mqt_rcu_read_unlock();
	return live;
}

static inline unsigned
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

/* Runs the tests with EAL, as a reader. Exit status of main. */
static inline int
rig_run(CU_TestInfo *tests)
{
	CU_SuiteInfo suites[] = { { .pName = "maps", .pTests = tests }, CU_SUITE_INFO_NULL };
	int status;

	if (eal_start("maps") < 0)
		return 2;
	mqt_rcu_register();
	status = check_run(suites);
	mqt_rcu_unregister();
	return eal_stop(status);
}

#endif
