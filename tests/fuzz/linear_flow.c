/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A whole flow in linear time, by count and not by a clock, as linear.c has it for the parsers: four
 * times as many segments of the worst that we know of may take the worker four times as many
 * branches. The code under test calls us at each branch; the world around it is that of the unit
 * tests of lib/conn and is not counted. Limits are the defaults: a session is searched from end to
 * end, so it is limits.session_filters and session_inflight that bound what a packet costs.
 */

#include "conn_rig.h"

#define N_SMALL 400
#define N_LARGE (4 * N_SMALL)
#define HOLE    100 /* bytes that never come */

void __sanitizer_cov_trace_pc(void);

static uint64_t steps;

void
__sanitizer_cov_trace_pc(void)
{
	steps++;
}

/* --- two streams, n segments of something ------------------------------------------------------ */

static void
byte_of(struct flow *f, int side, const uint8_t *at)
{
	send_next(f, side, ACK, at, 1);
	out_clear();
}

static void
connect_byte_by_byte(struct flow *f, unsigned n)
{
	uint8_t buf[N_LARGE + 256];
	char id[N_LARGE];
	size_t len;

	memset(id, 'i', n);
	id[n - 1] = '\0';
	tcp_open(f);
	len = connect_packet(buf, sizeof(buf), 4, id);
	for (size_t i = 0; i < len; i++)
		byte_of(f, CLIENT, &buf[i]);
	send_next(f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), 4, 0));
	f->info = next_message().info;
	CHECK(f->info && f->info->clientid_len == n - 1);
}

static void
payload_byte_by_byte(struct flow *f, unsigned n)
{
	uint8_t buf[N_LARGE + 64];
	size_t len = publish_packet(buf, sizeof(buf), 4, n);

	connected(f, "bytes");
	for (size_t i = 0; i < len; i++)
		byte_of(f, CLIENT, &buf[i]);
	CHECK_EQ(slot_counter(f, MQT_RECV_MSG), 1);
}

static void
ids_in_flight(struct flow *f, unsigned n)
{
	uint8_t buf[64];

	connected(f, "ids");
	for (unsigned i = 0; i < n; i++) {
		send_next(f, BROKER, ACK, buf, qos_packet(buf, 4, 1, (uint16_t)(i + 1)));
		out_clear();
	}
	for (unsigned i = 0; i < n; i++) {
		uint8_t ack[] = { 0x40, 2, (uint8_t)((i + 1) >> 8), (uint8_t)(i + 1) };

		send_next(f, CLIENT, ACK, ack, sizeof(ack));
		out_clear();
	}
	CHECK_EQ(slot_counter(f, MQT_SEND_MSG), n);
}

static void
filters_one_by_one(struct flow *f, unsigned n)
{
	uint8_t buf[64];
	char filter[16];

	connected(f, "filters");
	for (unsigned i = 0; i < n; i++) {
		snprintf(filter, sizeof(filter), "f%u", i);
		send_next(f, CLIENT, ACK, buf,
				subscribe_packet(buf, 4, (uint16_t)(i + 1), filter, 1));
		send_next(f, BROKER, ACK, buf, suback_packet(buf, 4, (uint16_t)(i + 1), 1));
		out_clear();
	}
	CHECK_EQ(slot_counter(f, MQT_RECV_PKT), n + 1);
}

/* Every segment behind a hole, the last one first: held up to the bound, then opaque. */
static void
backwards_behind_a_hole(struct flow *f, unsigned n)
{
	static const uint8_t ping[2] = { 0xc0, 0 };

	connected(f, "hole");
	for (unsigned i = n; i-- > 0;) {
		send_at(f, CLIENT, ACK, f->seq[CLIENT] + HOLE + 2 * i, f->seq[BROKER], ping, 2);
		out_clear();
	}
	CHECK(COUNT(REORDER_HELD) > 0);
}

/* Two and two in the wrong order. */
static void
swapped_in_pairs(struct flow *f, unsigned n)
{
	static const uint8_t ping[2] = { 0xc0, 0 };

	connected(f, "swapped");
	for (unsigned i = 0; i < n; i += 2) {
		send_at(f, CLIENT, ACK, f->seq[CLIENT] + 2, f->seq[BROKER], ping, 2);
		send_at(f, CLIENT, ACK, f->seq[CLIENT], f->seq[BROKER], ping, 2);
		f->seq[CLIENT] += 4;
		send_next(f, BROKER, ACK, NULL, 0);
		out_clear();
	}
	CHECK_EQ(slot_counter(f, MQT_RECV_PKT), n + 1);
}

static void
retransmits(struct flow *f, unsigned n)
{
	uint8_t buf[256];
	size_t len = publish_packet(buf, sizeof(buf), 4, 100);

	connected(f, "again");
	send_next(f, CLIENT, ACK, buf, len);
	for (unsigned i = 0; i < n; i++) { /* with other cuts */
		size_t from = i % len;

		send_at(f, CLIENT, ACK, f->seq[CLIENT] - (uint32_t)(len - from), f->seq[BROKER],
				buf + from, len - from);
		out_clear();
	}
	CHECK_EQ(slot_counter(f, MQT_RECV_MSG), 1);
}

static void
behind_a_parked_connack(struct flow *f, unsigned n)
{
	uint8_t buf[256];
	size_t len;

	tcp_open(f);
	mqtt_open(f, "parked");
	len = publish_packet(buf, sizeof(buf), 4, 10);
	for (unsigned i = 0; i < n; i++) {
		send_next(f, BROKER, ACK, buf, len);
		send_next(f, CLIENT, ACK, buf, len);
		out_clear();
	}
	tell(f, MQT_MSG_GRANT, 0);
	CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
}

/* SYNs of the same flow, each another incarnation that might be. */
static void
syns_on_a_live_flow(struct flow *f, unsigned n)
{
	connected(f, "syn");
	for (unsigned i = 0; i < n; i++) {
		send_at(f, CLIENT, MQT_TCP_SYN, i * 7919, 0, NULL, 0);
		out_clear();
	}
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
}

/* --- the test ---------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(struct flow *f, unsigned n);
} rows[] = {
	{ "CONNECT byte by byte", connect_byte_by_byte },
	{ "a message byte by byte", payload_byte_by_byte },
	{ "packet ids in flight", ids_in_flight },
	{ "filters one by one", filters_one_by_one },
	{ "backwards behind a hole", backwards_behind_a_hole },
	{ "swapped in pairs", swapped_in_pairs },
	{ "retransmits with other cuts", retransmits },
	{ "data behind a parked CONNACK", behind_a_parked_connack },
	{ "SYNs on a live flow", syns_on_a_live_flow },
};

static uint64_t
steps_of(unsigned row, unsigned n)
{
	struct flow f = flow_new();
	uint64_t counted;

	world_begin();
	steps = 0;
	rows[row].run(&f, n);
	counted = steps;
	world_end();
	free(f.info); /* the control lcore's, which is the test */
	CHECK(counted > n);
	return counted;
}

static void
test_worst_flows_take_linear_time(void)
{
	for (unsigned row = 0; row < RTE_DIM(rows); row++) {
		uint64_t small = steps_of(row, N_SMALL), large = steps_of(row, N_LARGE);

		check_row = rows[row].name;
		printf("%s: %llu branches for %d, %llu for %d\n", rows[row].name,
				(unsigned long long)small, N_SMALL, (unsigned long long)large,
				N_LARGE);
		CHECK(large <= 4 * small + small / 4); /* a session fills up to its limits */
	}
}

static CU_TestInfo linear_tests[] = {
	TEST(test_worst_flows_take_linear_time),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "linear_flow", NULL, NULL, NULL, NULL, linear_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
