/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random operations on the maps beside a naive model of them.
 */
#include "maps_rig.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <rte_errno.h>

#define SLACK 1024 /* lib/maps/maps.c: rows beyond max_channels, at least */

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

static CU_TestInfo tests[] = {
	{ "random operations match a naive model", test_random_operations_match_a_naive_model },
	CU_TEST_INFO_NULL,
};

int
main(void)
{
	return rig_run(tests);
}
