/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_session_rig.h"

#include <rte_common.h>

/*
 * Looking channels up by client id, here and on all nodes, and the cursors over all of them.
 */

static const struct rig_open id_a = { .clientid = "a" };
/* A client with a session of an hour. */
static const struct rig_open kept = { .clientid = "a", .resume = true, .expiry_sec = 3600 };

static void
test_client_id_means_its_newest_channel(void)
{
	struct rig *rig = rig_create(small);
	struct rig_open elsewhere = { .clientid = "a", .broker = 1, .resume = true };
	struct rig_conn *a = retain(rig, 0, kept), *b, *c, *d, *beside;
	const struct mqt_chan *newest;

	b = rig_connect(rig, 1, elsewhere);
	beside = rig_put_beside(rig, 1, &id_a);
	c = rig_put_beside(rig, 0, &id_a); /* at the same moment: the last one registered */
	d = rig_connect(rig, 1, (struct rig_open){ .clientid = "a", .domain = 1 });
	mqt_rcu_read_lock();
	newest = mqt_cm_newest(rig->cm, 0, "a", 1);
	CHECK(newest && newest->id == c->id);
	newest = mqt_cm_newest(rig->cm, -1, "a", 1);
	CHECK(newest && newest->id == d->id);
	CHECK(mqt_cm_newest(rig->cm, 0, "aa", 2) == NULL);
	mqt_rcu_read_unlock();
	mqt_role_control_assert();
	CHECK_EQ(mqt_cm_unregister(rig->cm, c->id), 0);
	CHECK_EQ(mqt_cm_unregister(rig->cm, beside->id), 0);
	CHECK_EQ(mqt_cm_unregister(rig->cm, b->id), 0);
	mqt_rcu_read_lock();
	newest = mqt_cm_newest(rig->cm, 0, "a", 1);
	CHECK(newest && newest->id == a->id);
	mqt_rcu_read_unlock();
	rig_check_end(rig);
}

/* Two more nodes: each digest that is asked for has these channels there. */
#define REMOTE(i) mqt_chan_id_make(9, 0, (i), 1)

struct nodes {
	struct mqt_digest digest; /* of the one client that they have */
	unsigned n;
	unsigned n_asked;
};

static unsigned
nodes_lookup(void *arg, const struct mqt_digest *digest, mqt_chan_id *out, unsigned n)
{
	struct nodes *nodes = arg;
	unsigned i = 0;

	nodes->n_asked++;
	if (!mqt_digest_equal(digest, &nodes->digest))
		return 0;
	for (; i < n && i < nodes->n; i++)
		out[i] = REMOTE(i);
	return i;
}

static void
test_global_lookup_asks_the_registry(void)
{
	static const struct mqt_registry_ops ops = {
		.registered = rig_registered,
		.unregistered = rig_unregistered,
		.lookup = nodes_lookup,
	};
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a), *b = rig_put_beside(rig, 1, &id_a);
	struct nodes nodes = { .n = 2, .digest = a->digest };
	struct mqt_registry reg = rig->reg;
	mqt_chan_id ids[8];

	rig->reg = (struct mqt_registry){ &ops, &nodes };
	CHECK_EQ(mqt_cm_lookup_global(rig->cm, 0, "a", 1, ids, 8), 4);
	CHECK_EQ(ids[0], a->id); /* this node first, oldest first */
	CHECK_EQ(ids[1], b->id);
	CHECK_EQ(ids[2], REMOTE(0));
	CHECK_EQ(ids[3], REMOTE(1));
	CHECK_EQ(nodes.n_asked, 1);
	CHECK_EQ(mqt_cm_lookup_global(rig->cm, -1, "a", 1, ids, 3), 3);
	CHECK_EQ(ids[2], REMOTE(0));
	nodes.n_asked = 0;
	CHECK_EQ(mqt_cm_lookup_global(rig->cm, 0, "a", 1, ids, 2), 2);
	CHECK_EQ(mqt_cm_lookup_global(rig->cm, 0, "a", 1, ids, 1), 1);
	CHECK_EQ(ids[0], a->id);
	CHECK_EQ(nodes.n_asked, 0); /* there is no room for its answer */
	nodes.digest = mqt_digest_client(&rig->key, 1, NULL, "x", 1);
	CHECK_EQ(mqt_cm_lookup_global(rig->cm, -1, "x", 1, ids, 8), 2); /* not here at all */
	rig->reg = reg;
	rig_check_end(rig);
}

static void
test_local_registry_knows_of_no_other_node(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct mqt_registry reg = rig->reg;
	mqt_chan_id ids[4];

	rig->reg = *mqt_registry_local();
	CHECK_EQ(mqt_cm_lookup_global(rig->cm, -1, "a", 1, ids, 4), 1);
	CHECK_EQ(ids[0], a->id);
	CHECK_EQ(mqt_cm_lookup_global(rig->cm, -1, "b", 1, ids, 4), 0);
	rig->reg = reg;
	rig_check_end(rig);
}

typedef const struct mqt_chan *next_fn(const struct mqt_cm *cm, int transport, uint32_t *pos);

static unsigned
count(struct rig *rig, next_fn *next, int transport)
{
	uint32_t pos = 0;
	unsigned n = 0;

	mqt_rcu_read_lock();
	while (next(rig->cm, transport, &pos))
		n++;
	mqt_rcu_read_unlock();
	return n;
}

static void
test_cursors_choose_by_transport(void)
{
	static const char *const ids[] = { "a", "b", "c", "d", "e" };
	struct rig *rig = rig_create(small);
	struct rig_conn *c[5];

	/* a, c, e by another transport; b, d, e without clean start; e is retained */
	for (unsigned i = 0; i < 5; i++) {
		bool resume = i == 1 || i >= 3;

		c[i] = rig_open(rig, i % 2,
				(struct rig_open){ .clientid = ids[i],
						.resume = resume,
						.expiry_sec = resume ? 60 : 0 });
		c[i]->info->transport = i % 2 ? MQT_TRANSPORT_TCP : 5;
	}
	rig_settle(rig);
	rig_end(rig, c[4]);
	rig_settle(rig);
	CHECK_EQ(count(rig, mqt_cm_live_next, -1), 4);
	CHECK_EQ(count(rig, mqt_cm_live_next, 5), 2);
	CHECK_EQ(count(rig, mqt_cm_live_next, MQT_TRANSPORT_TCP), 2);
	CHECK_EQ(count(rig, mqt_cm_sessions_next, -1), 3);
	CHECK_EQ(count(rig, mqt_cm_sessions_next, 5), 1);
	CHECK_EQ(count(rig, mqt_cm_sessions_next, MQT_TRANSPORT_TCP), 2);
	rig_check_end(rig);
}

/* ---------------------------------------------------------------------------------------------------- */

#define T(name)                                                                                    \
	{                                                                                          \
#name, test_##name                                                                 \
	}

static CU_TestInfo lookup_tests[] = {
	T(client_id_means_its_newest_channel),
	T(global_lookup_asks_the_registry),
	T(local_registry_knows_of_no_other_node),
	T(cursors_choose_by_transport),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "look-ups and cursors", NULL, NULL, NULL, NULL, lookup_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
