/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Flows that all have one hash: each packet belongs to the flow whose key it has all the same, also
 * where packets of its burst have made connections or ended them.
 */
#include "conn_rig.h"

#define N_FLOWS RTE_DIM(shapes)

uint64_t __wrap_mqt_hash_flow(const struct mqt_hash_key *key, const void *data, size_t len);

uint64_t
__wrap_mqt_hash_flow(const struct mqt_hash_key *key, const void *data, size_t len)
{
	return 0xfffffffffffffff0u;
}

static struct flow flows[2 * N_FLOWS];

static uint64_t
n_publishes(const struct flow *f)
{
	struct mqt_slots slots = mqt_conns_slots(w.conns);
	const struct mqt_slot *slot = mqt_slots_at(&slots, mqt_chan_id_slot(f->chan));

	return atomic_load(&slot->counter[MQT_RECV_MSG]);
}

static void
publish(struct flow *f)
{
	uint8_t buf[64];

	send_next(f, CLIENT, ACK, buf, publish_packet(buf, sizeof(buf), f->version, 3));
}

/* Two flows of each shape: IPv4 and IPv6, with tags and without. */
static void
connect_all(void)
{
	world_begin();
	for (unsigned i = 0; i < 2 * N_FLOWS; i++) {
		char id[8];

		flows[i] = flow_of(&shapes[i / 2]);
		flows[i].client_port = (uint16_t)(30000 + i);
		snprintf(id, sizeof(id), "c%u", i);
		connected(&flows[i], id);
	}
}

static void
end_all(void)
{
	for (unsigned i = 0; i < 2 * N_FLOWS; i++)
		free(flows[i].info);
	world_end();
}

static void
test_a_packet_belongs_to_the_flow_of_its_key(void)
{
	connect_all();
	w.batching = true;
	for (unsigned i = 0; i < 2 * N_FLOWS; i++)
		for (unsigned n = 0; n <= i % 3; n++)
			publish(&flows[i]);
	batch_end();
	for (unsigned i = 0; i < 2 * N_FLOWS; i++)
		CHECK_EQ(n_publishes(&flows[i]), 1 + i % 3);
	end_all();
}

/* Keys that differ in their first address, in their second, or in a port. */
static void
test_each_part_of_a_key_tells_flows_apart(void)
{
	static const struct {
		uint32_t client_ip;
		uint16_t client_port;
	} ends[] = { { 1, 1 }, { 2, 1 }, { 1, 2 }, { 0xfffffffe, 1 }, { 0xfffffffd, 1 },
		{ 0xfffffffe, 2 } };
	struct flow f[2 * RTE_DIM(ends)];

	world_begin();
	for (unsigned i = 0; i < RTE_DIM(f); i++) {
		char id[8];

		f[i] = flow_new();
		f[i].ip6 = i & 1;
		f[i].client_ip = ends[i / 2].client_ip;
		f[i].client_port = ends[i / 2].client_port;
		snprintf(id, sizeof(id), "c%u", i);
		connected(&f[i], id);
	}
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), RTE_DIM(f));
	for (unsigned i = 0; i < RTE_DIM(f); i++)
		publish(&f[i]);
	for (unsigned i = 0; i < RTE_DIM(f); i++) {
		struct mqt_endpoint peer = mqt_info_peer(f[i].info);

		CHECK_EQ(n_publishes(&f[i]), 1);
		CHECK_EQ(peer.port, f[i].client_port);
		CHECK_EQ(peer.ip[f[i].ip6 ? 15 : 3], (uint8_t)f[i].client_ip);
		free(f[i].info);
	}
	world_end();
}

/* Each flow in turn begins anew in the midst of a burst of all of them. */
static void
test_what_a_burst_ends_and_makes_is_minded(void)
{
	for (unsigned which = 0; which < 2 * N_FLOWS; which++) {
		struct flow *f = &flows[which];
		uint8_t buf[128];

		connect_all();
		w.batching = true;
		for (unsigned i = 0; i < 2 * N_FLOWS; i++)
			publish(&flows[i]);
		f->seq[CLIENT] += 100000;
		f->seq[BROKER] += 100000;
		tcp_open(f);
		for (unsigned i = 0; i < 2 * N_FLOWS; i++)
			if (i != which)
				publish(&flows[i]);
		send_next(f, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), f->version, "new"));
		batch_end();
		CHECK_EQ(COUNT(REPLACED), 1);
		CHECK_EQ(COUNT(MIDSTREAM), 0);
		CHECK_EQ(in_state(MQT_CONN_CONNECTING), 1);
		CHECK_EQ(in_state(MQT_CONN_CONNECTED), 2 * N_FLOWS - 1);
		for (unsigned i = 0; i < 2 * N_FLOWS; i++)
			CHECK_EQ(n_publishes(&flows[i]), i == which ? 1 : 2);
		end_all();
	}
}

static void
test_a_flow_begins_within_a_burst(void)
{
	for (unsigned i = 0; i < N_FLOWS; i++) {
		struct flow f = flow_of(&shapes[i]);
		uint8_t buf[128];

		world_begin();
		w.batching = true;
		tcp_open(&f);
		send_next(&f, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), f.version, "x"));
		batch_end();
		CHECK_EQ(in_state(MQT_CONN_CONNECTING), 1);
		world_end();
	}
}

static CU_TestInfo collide_tests[] = {
	TEST(test_a_flow_begins_within_a_burst),
	TEST(test_a_packet_belongs_to_the_flow_of_its_key),
	TEST(test_each_part_of_a_key_tells_flows_apart),
	TEST(test_what_a_burst_ends_and_makes_is_minded),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "collide", NULL, NULL, NULL, NULL, collide_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
