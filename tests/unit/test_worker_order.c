/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hand-over between workers: however turns and arrivals interleave, the packets of each direction
 * of a flow are judged in the order in which they came, by one worker, and each is counted as owned
 * or as handed over. And what a port says of its own spreading.
 */
#include "worker_rig.h"

#define N_FLOWS     24
#define N_SCHEDULES 200
#define N_PACKETS   400 /* a schedule; fits any ring */

static uint64_t random_state;

static unsigned
pick(unsigned n)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(random_state >> 33) % n;
}

struct schedule {
	unsigned queue[N_FLOWS][2]; /* where a direction comes in: a port's own choice */
	uint32_t sent[N_FLOWS][2];
};

static void
feed_one(struct schedule *s)
{
	unsigned i = pick(N_FLOWS), side = pick(2);
	uint16_t sport = (uint16_t)(40000 + i);
	uint8_t f[64];
	unsigned len;

	s->sent[i][side]++;
	len = side == 0 ? tcp4(f, 1, sport, 2, 1883, s->sent[i][side])
			: tcp4(f, 2, 1883, 1, sport, s->sent[i][side]);
	feed(side, s->queue[i][side], f, len);
}

/* Each worker has judged its flows only, and each direction in order. @return how many packets. */
static unsigned
check_seen(struct schedule *s)
{
	uint32_t last[N_FLOWS][2] = { 0 };
	unsigned n = 0;

	for (unsigned w = 0; w < N_WORKERS; w++) {
		for (unsigned k = 0; k < conns_of[w]->n_seen; k++, n++) {
			const struct seen *seen = &conns_of[w]->seen[k];
			unsigned a = ntohs(seen->key.v4.port_be[0]);
			unsigned b = ntohs(seen->key.v4.port_be[1]);
			unsigned i = (a > b ? a : b) - 40000;

			CHECK_EQ(owner_of(seen->hash), w);
			CHECK_EQ(seen->seq, last[i][seen->port] + 1);
			last[i][seen->port] = seen->seq;
		}
	}
	CHECK_MEM(last, s->sent, sizeof(last));
	return n;
}

static void
run_schedule(unsigned seed, unsigned *n_split)
{
	struct schedule s = { 0 };
	uint64_t owned, handed;

	random_state = seed;
	setup();
	for (unsigned i = 0; i < N_FLOWS; i++) {
		s.queue[i][0] = pick(N_WORKERS);
		s.queue[i][1] = pick(N_WORKERS);
		*n_split += s.queue[i][0] != s.queue[i][1];
	}
	for (unsigned n = 0; n < N_PACKETS;) {
		unsigned burst = pick(90);

		for (unsigned i = 0; i < burst && n < N_PACKETS; i++, n++)
			feed_one(&s);
		/* one of them may stall for long */
		for (unsigned turns = pick(4), w = pick(N_WORKERS); turns > 0; turns--)
			turn(pick(3) ? w : !w);
	}
	while (turn(0) + turn(1) > 0)
		;
	CHECK_EQ(check_seen(&s), N_PACKETS);
	owned = counted(0, MQT_W_OWNED) + counted(1, MQT_W_OWNED);
	handed = counted(0, MQT_W_HANDED_OVER) + counted(1, MQT_W_HANDED_OVER);
	CHECK_EQ(owned + handed, N_PACKETS);
	CHECK(owned > 0 && handed > 0);
	CHECK_EQ(counted(0, MQT_W_HANDOVER_DROPPED) + counted(1, MQT_W_HANDOVER_DROPPED), 0);
	teardown();
}

static void
test_no_packet_overtakes_another_of_its_direction(void)
{
	unsigned n_split = 0;

	for (unsigned seed = 1; seed <= N_SCHEDULES; seed++)
		run_schedule(seed, &n_split);
	CHECK(n_split > N_SCHEDULES); /* flows whose directions came to different workers */
}

static void
test_a_port_without_rss_is_spread_in_software(void)
{
	CHECK_EQ(mqt_port_rss(port_ids[0]), MQT_PORT_RSS_SOFTWARE);
	CHECK_EQ(mqt_port_rss(port_ids[1]), MQT_PORT_RSS_SOFTWARE);
	CHECK_STR(mqt_port_rss_name(MQT_PORT_RSS_SOFTWARE), "software");
	CHECK_STR(mqt_port_rss_name(MQT_PORT_RSS_HARDWARE), "hardware");
	CHECK_STR(mqt_port_rss_name(MQT_PORT_RSS_NONE), "none");
}

static void
test_a_port_that_takes_the_symmetric_key_says_hardware(void)
{
	uint8_t key[64] = { 0 };
	struct rte_eth_rss_conf conf = { .rss_key = key, .rss_key_len = 40 };
	uint16_t id;

	CHECK_EQ(rte_eal_hotplug_add("vdev", "net_null7", "size=64"), 0);
	CHECK_EQ(rte_eth_dev_get_port_by_name("net_null7", &id), 0);
	CHECK_EQ(mqt_port_start(id, 1, pool), 0);
	CHECK_EQ(mqt_port_rss(id), MQT_PORT_RSS_NONE);
	CHECK_EQ(rte_eth_dev_stop(id), 0);
	CHECK_EQ(mqt_port_start(id, N_WORKERS, pool), 0);
	CHECK_EQ(rte_eth_dev_rss_hash_conf_get(id, &conf), 0);
	CHECK_EQ(mqt_port_rss(id), MQT_PORT_RSS_HARDWARE);
	for (unsigned i = 2; i < 40; i++)
		CHECK_EQ(key[i], key[i - 2]);
	mqt_port_stop(id);
}

static void
test_ports_with_tables_are_given_one_table(void)
{
	uint16_t own[2] = { port_ids[0], port_ids[1] };
	struct rte_eth_rss_reta_entry64 reta[2] = { { .mask = UINT64_MAX },
		{ .mask = UINT64_MAX } };

	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(rte_eal_hotplug_add("vdev", i ? "net_null9" : "net_null8", "size=64"), 0);
		CHECK_EQ(rte_eth_dev_get_port_by_name(i ? "net_null9" : "net_null8", &port_ids[i]),
				0);
		CHECK_EQ(mqt_port_start(port_ids[i], N_WORKERS, pool), 0);
	}
	workers = make_workers(N_WORKERS);
	CHECK(workers != NULL);
	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(mqt_port_rss(port_ids[i]), MQT_PORT_RSS_HARDWARE);
		CHECK_EQ(rte_eth_dev_rss_reta_query(port_ids[i], reta, 128), 0);
		for (unsigned k = 0; k < 128; k++)
			CHECK_EQ(reta[k / 64].reta[k % 64], k % N_WORKERS);
	}
	teardown();
	for (unsigned i = 0; i < 2; i++) {
		mqt_port_stop(port_ids[i]);
		port_ids[i] = own[i];
	}
}

int
main(void)
{
	CU_TestInfo tests[] = {
		TEST(test_no_packet_overtakes_another_of_its_direction),
		TEST(test_a_port_without_rss_is_spread_in_software),
		TEST(test_a_port_that_takes_the_symmetric_key_says_hardware),
		TEST(test_ports_with_tables_are_given_one_table),
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ "worker_order", suite_init, suite_clean, NULL, NULL, tests },
		CU_SUITE_INFO_NULL,
	};

	return rig_run("order", suites);
}
