/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers told by the control socket.
 */
#include "ctl_rig.h"

#include <poll.h>
#include <unistd.h>

/* Counts as the worker would, which does not run. */
static void
count(struct tracker *t, unsigned worker, enum mqt_worker_counter counter, uint64_t n)
{
	struct mqt_worker_view view;

	mqt_worker_view(mqt_workers_at(t->workers, worker), &view);
	mqt_counter_add((_Atomic uint64_t *)(uintptr_t)&view.counters->v[counter], n);
}

static void
test_stats_tell_gauges_counters_and_maps(void)
{
	struct tracker t;
	struct peer p;
	json_t *result, *gauges, *maps, *control;
	mqt_chan_id chan;

	start(&t);
	chan = tracker_open_id(&t, "a");
	tracker_open_id(&t, "b");
	tracker_close(&t, chan);
	peer_open(&p, &t);
	result = peer_result(&p, "stats.get", "{}");
	gauges = json_object_get(result, "gauges");
	CHECK_EQ(int_of(gauges, "channels.count"), 1);
	CHECK_EQ(int_of(gauges, "channels.max"), 2);
	CHECK_EQ(int_of(gauges, "live_connections.count"), 1);
	CHECK_EQ(int_of(gauges, "live_connections.max"), 2);
	CHECK_EQ(json_object_size(gauges), 8);
	control = json_object_get(result, "control");
	CHECK_EQ(json_object_size(control), MQT_C_N_COUNTERS);
	CHECK_EQ(int_of(control, "opens"), 2);
	CHECK_EQ(int_of(control, "unregistered"), 1);
	CHECK_EQ(json_object_size(json_object_get(result, "workers")), MQT_W_N_COUNTERS);
	maps = json_object_get(result, "maps");
	CHECK_EQ(int_of(maps, "channels"), 1);
	CHECK_EQ(int_of(maps, "clients"), 1);
	CHECK_EQ(int_of(maps, "live"), 1);
	CHECK_EQ(int_of(maps, "retired"), 0);
	CHECK_EQ(int_of(maps, "capacity"), t.config.limits.max_clients);
	CHECK(json_real_value(json_object_get(maps, "fill")) == 1.0 / t.config.limits.max_clients);
	CHECK_EQ(int_of(result, "duplicates"), 0);
	json_decref(result);
	result = peer_result(&p, "workers.list", NULL);
	CHECK(result && json_is_array(json_object_get(result, "workers")));
	json_decref(result);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_workers_are_listed_and_summed(void)
{
	static const char *const keys[] = { "worker", "stalled", "connections", "embryos", "parked",
		"outbox", "counters", NULL };
	struct tracker t;
	struct peer p;
	json_t *result, *one;

	tracker_init(&t);
	t.n_workers = 2;
	t.config.limits.stall_ms = 10;
	tracker_start(&t);
	count(&t, 0, MQT_W_RX_PACKETS, 5);
	count(&t, 1, MQT_W_RX_PACKETS, 7);
	t.no_heartbeat = true;
	for (int i = 0; i < 20000 && !mqt_cm_stalled(t.cm, 0); i++) {
		tracker_step(&t);
		poll(NULL, 0, 1);
	}
	peer_open(&p, &t);
	result = peer_result(&p, "workers.list", NULL);
	CHECK_EQ(n_items(result, "workers"), 2);
	for (int w = 0; w < 2; w++) {
		one = item(result, "workers", (size_t)w);
		check_keys(one, keys); /* lcore and heartbeat are not known */
		CHECK_EQ(int_of(one, "worker"), w);
		CHECK_EQ(json_is_true(json_object_get(one, "stalled")), w == 0);
		CHECK_EQ(int_of(json_object_get(one, "counters"), "rx_packets"), w ? 7 : 5);
		CHECK_EQ(json_object_size(json_object_get(one, "counters")), MQT_W_N_COUNTERS);
		CHECK_EQ(int_of(json_object_get(one, "connections"), "connected"), 0);
		CHECK_EQ(json_object_size(json_object_get(one, "connections")),
				MQT_CONN_N_STATES - 1);
	}
	json_decref(result);
	result = peer_result(&p, "stats.get", NULL);
	CHECK_EQ(int_of(json_object_get(result, "workers"), "rx_packets"), 12);
	json_decref(result);
	t.no_heartbeat = false;
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_info_tells_the_configuration(void)
{
	struct tracker t;
	struct peer p;
	json_t *result, *config;

	tracker_init(&t);
	two_domains(&t);
	t.config.listeners[1].policy = MQT_POLICY_REJECT_NEW;
	t.config.listeners[1].will = MQT_WILL_SUPPRESS;
	t.config.listeners[1].bind_username = true;
	t.config.listeners[1].session_expiry_v3_sec = UINT32_MAX;
	t.config.limits.max_retained = 77;
	t.config.flap = (struct mqt_flap){ 3, 4, 5 };
	strcpy(t.config.pairs[0].outside, "net_tap0");
	strcpy(t.config.pairs[0].inside, "net_tap1");
	t.config.n_pairs = 1;
	tracker_start(&t);
	peer_open(&p, &t);
	result = peer_result(&p, "system.info", NULL);
	CHECK_STR(text_of(result, "version"), MQT_VERSION);
	CHECK_STR(text_of(result, "node"), "mqtrack");
	CHECK_EQ(int_of(result, "pid"), getpid());
	CHECK(int_of(result, "uptime_ms") >= 0);
	CHECK(strncmp(text_of(result, "dpdk"), "DPDK", 4) == 0);
	CHECK_EQ(n_items(result, "ports"), 0);
	config = json_object_get(result, "config");
	CHECK_EQ(n_items(config, "listeners"), 2);
	CHECK_STR(text_of(item(config, "listeners", 0), "address"), "any");
	CHECK_EQ(int_of(item(config, "listeners", 0), "port"), 1883);
	CHECK_STR(text_of(item(config, "listeners", 1), "domain"), "other");
	CHECK_STR(text_of(item(config, "listeners", 0), "policy"), "newest-wins");
	CHECK_STR(text_of(item(config, "listeners", 0), "will"), "publish");
	CHECK(json_is_false(json_object_get(item(config, "listeners", 0), "bind_username")));
	CHECK_EQ(int_of(item(config, "listeners", 0), "session_expiry_v3"), 7200);
	CHECK_STR(text_of(item(config, "listeners", 1), "policy"), "reject-new");
	CHECK_STR(text_of(item(config, "listeners", 1), "will"), "suppress");
	CHECK(json_is_true(json_object_get(item(config, "listeners", 1), "bind_username")));
	CHECK_EQ(int_of(item(config, "listeners", 1), "session_expiry_v3"), UINT32_MAX);
	CHECK_EQ(int_of(config, "max_retained"), 77);
	CHECK_EQ(int_of(json_object_get(config, "flap"), "takeovers"), 3);
	CHECK_EQ(int_of(json_object_get(config, "flap"), "within"), 4);
	CHECK_EQ(int_of(json_object_get(config, "flap"), "hold"), 5);
	CHECK_STR(text_of(item(config, "ports", 0), "inside"), "net_tap1");
	json_decref(result);
	peer_close(&p);
	tracker_stop(&t);
}

static CU_TestInfo stats_tests[] = {
	TEST(test_stats_tell_gauges_counters_and_maps),
	TEST(test_workers_are_listed_and_summed),
	TEST(test_info_tells_the_configuration),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "numbers", NULL, NULL, NULL, NULL, stats_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
