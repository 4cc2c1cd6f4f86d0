/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Look-ups, walks, gauges; what a manager is not made of.
 */
#include "cm_rig.h"

static const struct rig_params small = { 2, 64, 64, 256 };

static const struct rig_open id_a = { .clientid = "a" };

static void
test_lookup_finds_assigned_ids_under_their_brokers(void)
{
	static const struct mqt_endpoint brokers[] = {
		{ .ip = { 10, 0, 1, 1 }, .port = 1883, .version = 4 },
		{ .ip = { 10, 0, 1, 2 }, .port = 1883, .version = 4 },
	};
	struct rig *rig = rig_create(small);
	const struct mqt_chan *out[3];
	struct rig_conn *c[4];

	c[0] = rig_connect(
			rig, 0, (struct rig_open){ .clientid = "x", .assigned_by = &brokers[1] });
	c[1] = rig_connect(rig, 1, (struct rig_open){ .clientid = "x", .domain = 1 });
	c[2] = rig_connect(rig, 0, (struct rig_open){ .clientid = "x" });
	c[3] = rig_connect(
			rig, 1, (struct rig_open){ .clientid = "x", .assigned_by = &brokers[0] });
	CHECK_EQ(rig_sizes(rig).live, 4); /* four clients */
	mqt_rcu_read_lock();
	CHECK_EQ(mqt_cm_lookup(rig->cm, -1, "x", 1, out, 3), 4);
	for (unsigned i = 0; i < 3; i++)
		CHECK(out[i]->id == c[i]->id); /* the oldest first */
	CHECK_EQ(mqt_cm_lookup(rig->cm, 0, "x", 1, out, 3), 3);
	CHECK(out[2]->id == c[3]->id);
	CHECK_EQ(mqt_cm_lookup(rig->cm, 1, "x", 1, out, 3), 1);
	CHECK_EQ(mqt_cm_lookup(rig->cm, -1, "x", 1, NULL, 0), 4);
	CHECK_EQ(mqt_cm_lookup(rig->cm, -1, "y", 1, out, 3), 0);
	CHECK(mqt_cm_info(rig->cm, c[2]->id)->id == c[2]->id);
	CHECK(mqt_cm_info(rig->cm, c[2]->id + 1) == NULL);
	mqt_rcu_read_unlock();
	rig_check_end(rig);
}

static void
test_lookup_compares_the_id_in_full(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_conn_make(rig, 0, &id_a);
	const struct mqt_chan *out[1];

	/* a collision of digests, made by hand */
	mqt_role_control_assert();
	rig->n_opens++;
	a->info->digest = mqt_digest_client(&rig->key, 0, NULL, "x", 1);
	CHECK_EQ(mqt_cm_register(rig->cm, a->id, a->info, 5), 0);
	mqt_rcu_read_lock();
	CHECK_EQ(mqt_cm_lookup(rig->cm, 0, "x", 1, out, 1), 0);
	mqt_rcu_read_unlock();
	rig_check_end(rig);
}

static void
test_walks_and_traffic(void)
{
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct rig_conn *b = rig_connect(rig, 1, (struct rig_open){ .clientid = "b" });
	uint64_t traffic[MQT_SLOT_N_COUNTERS], seen;
	const struct mqt_chan *row;
	uint32_t pos = 0;
	unsigned n = 0;

	mqt_slot_count(&rig_slot_of(rig, a->id)->slot, MQT_RECV_MSG, 17);
	mqt_rcu_read_lock();
	CHECK_EQ(mqt_cm_stats(rig->cm, a->id, traffic, &seen), 0);
	CHECK_EQ(traffic[MQT_RECV_MSG], 17);
	CHECK_EQ(mqt_cm_stats(rig->cm, a->id + 1, traffic, NULL), -ENOENT);
	CHECK_EQ(mqt_cm_stats(rig->cm, a->id ^ 1ull << 56, traffic, NULL), -ENOENT);
	CHECK_EQ(mqt_cm_stats(rig->cm, a->id | 0xffull << 48, traffic, NULL), -ENOENT);
	CHECK_EQ(mqt_cm_stats(rig->cm, a->id | 0xffffffull << 24, traffic, NULL), -ENOENT);
	mqt_rcu_read_unlock();
	rig->config.limits.down_slice = 1;
	mqt_role_control_assert();
	mqt_maps_set_down(rig->maps, b->id, MQT_CHAN_ORPHANED);
	mqt_rcu_read_lock();
	while ((row = mqt_cm_channels_next(rig->cm, &pos)))
		n++;
	CHECK_EQ(n, 2);
	pos = 0;
	row = mqt_cm_live_next(rig->cm, -1, &pos);
	CHECK(row && row->id == a->id);
	CHECK(mqt_cm_live_next(rig->cm, -1, &pos) == NULL);
	pos = 0;
	CHECK(mqt_cm_live_next(rig->cm, MQT_TRANSPORT_TCP, &pos) != NULL);
	pos = 0;
	CHECK(mqt_cm_live_next(rig->cm, MQT_N_TRANSPORTS, &pos) == NULL);
	mqt_rcu_read_unlock();
	CHECK_EQ(mqt_cm_live_count(rig->cm), 1);
	rig_check_end(rig);
}

static void
test_gauges_keep_their_greatest_value(void)
{
	struct rig *rig = rig_create(small);
	struct mqt_cm_gauge g[MQT_CM_N_GAUGES];
	struct rig_conn *a;

	rig_connect(rig, 0, id_a);
	rig_connect(rig, 0, (struct rig_open){ 0 });
	rig_connect(rig, 0, (struct rig_open){ 0 });
	a = rig_connect(rig, 1, id_a); /* takes its own place: not one more */
	rig_end(rig, a);
	rig_settle(rig);
	mqt_cm_gauges(rig->cm, g);
	for (unsigned i = 0; i < MQT_CM_N_GAUGES; i++) {
		check_row = g[i].name;
		CHECK_EQ(g[i].count, 2);
		CHECK_EQ(g[i].max, 3);
	}
	check_row = "";
	CHECK_STR(g[0].name, "channels");
	CHECK_STR(g[3].name, "live_connections");
	rig_check_end(rig);
}

static void
test_create_rejects_what_cannot_work(void)
{
	struct rig *rig = rig_create(small);
	struct mqt_cm_params params = { .config = &rig->config };

	errno = 0;
	CHECK(mqt_cm_create(&params) == NULL); /* no owner */
	CHECK_EQ(errno, EINVAL);
	params.n_owners = MQT_MAX_WORKERS + 1;
	CHECK(mqt_cm_create(&params) == NULL);
	mqt_cm_destroy(NULL);
	rig_check_end(rig);
}

static CU_TestInfo query_tests[] = {
	T(lookup_finds_assigned_ids_under_their_brokers),
	T(lookup_compares_the_id_in_full),
	T(walks_and_traffic),
	T(gauges_keep_their_greatest_value),
	T(create_rejects_what_cannot_work),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "queries", NULL, NULL, NULL, NULL, query_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
