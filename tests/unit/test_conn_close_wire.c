/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the segments that close a flow look like, and what they say (R14, R16).
 */
#include "conn_close_rig.h"

#define ECE      0x40
#define CWR      0x80
#define IP4_OFF  14 /* of frames without VLAN */
#define TCP4_OFF 34

/* --- ECN --------------------------------------------------------------------------------------- */

static void
send_ecn_capable(struct flow *f, int side, unsigned flags, const void *payload, size_t len)
{
	struct rte_mbuf *m = build(f, side, flags, f->seq[side], f->seq[!side], payload, len);
	uint8_t *ip = rte_pktmbuf_mtod_offset(m, uint8_t *, IP4_OFF);

	if (f->ip6) {
		ip[1] |= 0x20;
	} else {
		struct rte_ipv4_hdr *ip4 = (struct rte_ipv4_hdr *)ip;

		ip4->type_of_service = 2;
		ip4->hdr_checksum = 0;
		ip4->hdr_checksum = rte_ipv4_cksum(ip4);
	}
	inject(m, side);
	f->seq[side] += (uint32_t)len;
}

/* Of the IP header. */
static unsigned
traffic_class(const struct out *o)
{
	const uint8_t *ip = rte_pktmbuf_mtod_offset(o->m, const uint8_t *, o->v.l2_len);

	return o->v.ip_version == 6 ? (ip[0] & 0xfu) << 4 | ip[1] >> 4 : ip[1];
}

/* All of them: a view knows no ECE and CWR. */
static unsigned
tcp_flags(const struct out *o)
{
	return *rte_pktmbuf_mtod_offset(o->m, const uint8_t *, o->v.l4_off + 13);
}

static void
check_not_ecn_capable(void)
{
	CHECK(w.n_out > 0);
	for (unsigned i = 0; i < w.n_out; i++) {
		CHECK_EQ(traffic_class(&w.out[i]), 0);
		CHECK_EQ(tcp_flags(&w.out[i]) & (ECE | CWR), 0);
		CHECK(mqt_pkt_ip_checksum_ok(w.out[i].m, &w.out[i].v));
	}
	out_clear();
}

static struct flow
ecn_open(bool ip6, bool granted)
{
	struct flow f = flow_new();

	f.version = 5;
	f.ip6 = ip6;
	send_next(&f, CLIENT, MQT_TCP_SYN | ECE | CWR, NULL, 0);
	send_next(&f, BROKER, SYN_ACK | ECE, NULL, 0);
	send_next(&f, CLIENT, ACK, NULL, 0);
	mqtt_open(&f, "c");
	if (!granted)
		return f;
	tell(&f, MQT_MSG_GRANT, 0);
	send_ecn_capable(&f, CLIENT, ACK | CWR, "\xc0\x00", 2);
	send_ecn_capable(&f, BROKER, ACK | ECE, "\xd0\x00", 2);
	CHECK_EQ(tcp_flags(&w.out[w.n_out - 1]), ACK | ECE); /* the flow's own pass as they are */
	CHECK_EQ(traffic_class(&w.out[w.n_out - 1]), 2);
	send_ecn_capable(&f, CLIENT, ACK | ECE, NULL, 0);
	return f;
}

static void
test_injected_segments_are_not_ecn_capable(void)
{
	for (unsigned i = 0; i < 4; i++) {
		bool ip6 = i & 1, granted = i & 2;
		struct flow f;

		check_row = ip6 ? "ipv6" : "ipv4";
		world_begin();
		f = ecn_open(ip6, granted);
		out_clear();
		step_down(&f, MQT_STEPDOWN_KICK);
		CHECK_EQ(COUNT(INJECTED_CONNACK), !granted);
		check_not_ecn_capable();
		until_sent(); /* repeated */
		check_not_ecn_capable();
		send_ecn_capable(&f, CLIENT, FIN_ACK | ECE, NULL, 0);
		CHECK_EQ(sent(0, 0)->v.tcp_flags, MQT_TCP_ACK);
		check_not_ecn_capable();
		send_ecn_capable(&f, BROKER, ACK | ECE | CWR, "\xd0\x00", 2);
		CHECK_EQ(sent(1, 0)->v.tcp_flags, RST_ACK);
		check_not_ecn_capable();
		release(&f);
		world_end();
	}
}

/* --- timestamps (R16) -------------------------------------------------------------------------- */

static void
check_timestamp(const struct out *o, uint32_t val, uint32_t ecr)
{
	struct mqt_tcp_options opt;

	mqt_pkt_tcp_options(o->m, &o->v, &opt);
	CHECK(opt.has_ts);
	CHECK_EQ(opt.ts_val, val);
	CHECK_EQ(opt.ts_ecr, ecr);
}

static void
test_timestamps_go_on_from_the_last_seen(void)
{
	struct flow f = flow_of(&shapes[3]);
	uint32_t ms;

	world_begin();
	connected(&f, "c");
	f.ts_val[CLIENT] = 6000;
	send_next(&f, CLIENT, ACK, "\xc0\x00", 2);
	w.now += SEC;
	f.ts_val[BROKER] = 0xffffff00; /* wraps */
	send_next(&f, BROKER, ACK, "\xd0\x00", 2);
	w.now += 500 * MS;
	f.ts_val[CLIENT] = 6700; /* clocks of their own */
	send_next(&f, CLIENT, ACK, NULL, 0);
	w.now += 2 * SEC;
	out_clear();
	step_down(&f, MQT_STEPDOWN_KICK);
	CHECK_EQ(sent(0, 0)->v.tcp_flags, FIN_PSH_ACK);
	check_timestamp(sent(0, 0), 0xffffff00 + 2500, 6700);
	CHECK_EQ(sent(1, 0)->v.tcp_flags, RST_ACK);
	check_timestamp(sent(1, 0), 6700 + 2000, 0xffffff00);
	out_clear();
	ms = until_sent();
	CHECK(ms >= 200);
	check_timestamp(sent(0, 0), 0xffffff00 + 2500 + ms, 6700);
	check_timestamp(sent(1, 0), 6700 + 2000 + ms, 0xffffff00);
	out_clear();
	send_next(&f, CLIENT, FIN_ACK, NULL, 0);
	send_next(&f, BROKER, ACK, "\xd0\x00", 2);
	check_timestamp(sent(0, 0), 0xffffff00 + 2500 + ms, 6700);
	check_timestamp(sent(1, 0), 6700 + 2000 + ms, 0xffffff00);
	release(&f);
	world_end();
}

static const struct {
	const char *name;
	bool client, broker;
} half_wanted[] = {
	{ "neither", false, false },
	{ "the client alone", true, false },
	{ "the broker alone", false, true },
};

static void
test_no_timestamps_where_not_both_want_them(void)
{
	for (unsigned i = 0; i < RTE_DIM(half_wanted); i++) {
		struct flow f = flow_new();

		check_row = half_wanted[i].name;
		world_begin();
		f.version = 5;
		f.ts = half_wanted[i].client;
		send_next(&f, CLIENT, MQT_TCP_SYN, NULL, 0);
		f.ts = half_wanted[i].broker;
		send_next(&f, BROKER, SYN_ACK, NULL, 0);
		f.ts = false;
		send_next(&f, CLIENT, ACK, NULL, 0);
		mqtt_open(&f, "c");
		tell(&f, MQT_MSG_GRANT, 0);
		send_next(&f, CLIENT, ACK, NULL, 0);
		out_clear();
		step_down(&f, MQT_STEPDOWN_KICK);
		CHECK_EQ(w.n_out, 2);
		for (unsigned k = 0; k < w.n_out; k++)
			CHECK_EQ(w.out[k].v.payload_off - w.out[k].v.l4_off, 20);
		release(&f);
		world_end();
	}
}

/* --- SACK -------------------------------------------------------------------------------------- */

/* Adds options to a segment of IPv4 without payload. */
static struct rte_mbuf *
with_options(struct rte_mbuf *m, const uint8_t *options, uint16_t n)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, IP4_OFF);
	struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod_offset(m, struct rte_tcp_hdr *, TCP4_OFF);

	memcpy(rte_pktmbuf_append(m, n), options, n);
	ip->total_length = rte_cpu_to_be_16((uint16_t)(m->data_len - IP4_OFF));
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	tcp->data_off = (uint8_t)(tcp->data_off + (n / 4 << 4));
	tcp->cksum = 0;
	tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
	return m;
}

static void
send_sack_permitted(struct flow *f, int side, unsigned flags)
{
	static const uint8_t permitted[4] = { 1, 1, 4, 2 };
	uint32_t ack = side == BROKER ? f->seq[CLIENT] : 0;

	inject(with_options(build(f, side, flags, f->seq[side], ack, NULL, 0), permitted,
			       sizeof(permitted)),
			side);
	f->seq[side]++;
}

/* The client acknowledges up to @p ack and has what lies between @p left and @p right. */
static void
send_sack(struct flow *f, uint32_t ack, uint32_t left, uint32_t right)
{
	uint8_t block[12] = { 1, 1, 5, 10 };
	uint32_t edges[2] = { rte_cpu_to_be_32(left), rte_cpu_to_be_32(right) };

	memcpy(block + 4, edges, sizeof(edges));
	inject(with_options(build(f, CLIENT, ACK, f->seq[CLIENT], ack, NULL, 0), block,
			       sizeof(block)),
			CLIENT);
}

static struct flow
sack_connected(uint8_t version, bool ts)
{
	struct flow f = flow_new();

	f.version = version;
	f.ts = ts;
	send_sack_permitted(&f, CLIENT, MQT_TCP_SYN);
	send_sack_permitted(&f, BROKER, SYN_ACK);
	send_next(&f, CLIENT, ACK, NULL, 0);
	mqtt_open(&f, "c");
	tell(&f, MQT_MSG_GRANT, 0);
	send_next(&f, CLIENT, ACK, NULL, 0);
	drop_messages();
	out_clear();
	return f;
}

static void
test_acknowledgement_with_sack_is_understood(void)
{
	for (unsigned ts = 0; ts < 2; ts++) {
		struct flow f;
		uint32_t begin;

		check_row = ts ? "with timestamps" : "without";
		world_begin();
		f = sack_connected(5, ts);
		begin = f.seq[BROKER];
		step_down(&f, MQT_STEPDOWN_KICK);
		CHECK_EQ(w.n_out, 2);
		for (unsigned k = 0; k < w.n_out; k++)
			CHECK_EQ(w.out[k].v.payload_off - w.out[k].v.l4_off, ts ? 32 : 20);
		f.seq[BROKER] += sent(0, 0)->v.payload_len + 1u;
		out_clear();
		/* it got our segment twice (RFC 2883) */
		send_sack(&f, f.seq[BROKER], begin, f.seq[BROKER]);
		CHECK_EQ(w.n_out, 0);
		until_sent();
		CHECK_EQ(n_sent(0), 0); /* it is not told once more */
		CHECK_EQ(n_sent(1), 1);
		release(&f);
		world_end();
	}
}

static void
test_receiver_with_a_gap_is_reset_at_exactly_its_number(void)
{
	uint8_t packet[64];
	struct flow f;
	uint32_t begin, len;

	world_begin();
	f = sack_connected(4, true);
	begin = f.seq[BROKER];
	len = (uint32_t)publish_packet(packet, sizeof(packet), 4, 30);
	for (unsigned i = 0; i < 3; i++)
		send_next(&f, BROKER, ACK, packet, len);
	out_clear();
	step_down(&f, MQT_STEPDOWN_DISCARD);
	CHECK_EQ(n_sent(0), 2);
	CHECK_EQ(sent(0, 0)->v.seq, begin);
	CHECK_EQ(sent(0, 1)->v.seq, begin + 3 * len);
	out_clear();
	/* the second was lost, and neither number is the one that it expects */
	send_sack(&f, begin + len, begin + 2 * len, begin + 3 * len);
	CHECK_EQ(w.n_out, 1);
	CHECK_EQ(w.out[0].port, 0);
	CHECK_EQ(w.out[0].v.tcp_flags, RST_ACK);
	CHECK_EQ(w.out[0].v.seq, begin + len);
	CHECK_EQ(COUNT(CHALLENGE_ANSWERED), 1);
	/* had that been lost: the number has been learned */
	out_clear();
	until_sent();
	CHECK_EQ(n_sent(0), 2);
	CHECK_EQ(sent(0, 0)->v.seq, begin + len);
	CHECK_EQ(sent(0, 1)->v.seq, begin + 3 * len);
	release(&f);
	world_end();
}

/* --- what is said ------------------------------------------------------------------------------ */

/* A DISCONNECT and FIN: the short form, or a code and no properties, so no expiry either. */
static void
check_disconnect(const struct out *o, uint8_t code)
{
	uint8_t got[64], want[4] = { 0xe0, 2, code, 0 };

	if (code == 0)
		want[1] = 0;
	CHECK_EQ(o->v.tcp_flags, FIN_PSH_ACK);
	CHECK_EQ(o->v.payload_len, 2 + want[1]);
	payload_of(o, got);
	CHECK_MEM(got, want, 2 + want[1]);
}

static void
test_disconnect_leaves_the_expiry_of_the_session_alone(void)
{
	static const uint8_t codes[] = { MQT_MQTT_RC_ADMINISTRATIVE, MQT_MQTT_RC_TAKEN_OVER };

	for (unsigned i = 0; i < RTE_DIM(actions); i++) {
		struct flow f = flow_new();

		world_config();
		w.config.listeners[0].will = MQT_WILL_SUPPRESS;
		world_start();
		f.version = 5;
		connected(&f, "c");
		step_down(&f, actions[i]);
		CHECK_EQ(w.n_out, 2);
		check_disconnect(sent(0, 0), codes[i]);
		check_disconnect(sent(1, 0), 0);
		release(&f);
		world_end();
	}
}

static void
test_newcomer_is_never_told_disconnect(void)
{
	for (unsigned i = 0; i < 2 * RTE_DIM(actions); i++) {
		bool room = i & 1;
		struct flow f = flow_new();
		uint8_t got[64];

		check_row = room ? "room" : "no room for CONNACK";
		world_begin();
		f.version = 5;
		f.window = room ? 65000 : 8;
		send_next(&f, CLIENT, MQT_TCP_SYN, NULL, 0);
		f.window = 65000;
		send_next(&f, BROKER, SYN_ACK, NULL, 0);
		f.window = room ? 65000 : 8;
		send_next(&f, CLIENT, ACK, NULL, 0);
		mqtt_open(&f, "c");
		out_clear();
		step_down(&f, actions[i / 2]);
		CHECK_EQ(n_sent(1), 1);
		check_disconnect(sent(1, 0), 0); /* of the client */
		advance(10 * SEC);
		for (unsigned k = 0; k < n_sent(0); k++) {
			const struct out *o = sent(0, k);

			CHECK_EQ(o->v.seq, 0xfffffff1u); /* in the place of the parked one */
			payload_of(o, got);
			if (room && o->v.tcp_flags != RST_ACK)
				CHECK_MEM(got, "\x20\x03\x00\x89\x00", 5);
			else
				CHECK_EQ(o->v.payload_len, 0);
		}
		CHECK_EQ(sent(0, 0)->v.tcp_flags, room ? FIN_PSH_ACK : RST_ACK);
		CHECK_EQ(COUNT(INJECTED_CONNACK), room ? 4 : 0);
		release(&f);
		world_end();
	}
}

static CU_TestInfo look_tests[] = {
	TEST(test_injected_segments_are_not_ecn_capable),
	TEST(test_timestamps_go_on_from_the_last_seen),
	TEST(test_no_timestamps_where_not_both_want_them),
	TEST(test_acknowledgement_with_sack_is_understood),
	TEST(test_receiver_with_a_gap_is_reset_at_exactly_its_number),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo said_tests[] = {
	TEST(test_disconnect_leaves_the_expiry_of_the_session_alone),
	TEST(test_newcomer_is_never_told_disconnect),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "look", NULL, NULL, NULL, NULL, look_tests },
	{ "said", NULL, NULL, NULL, NULL, said_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
