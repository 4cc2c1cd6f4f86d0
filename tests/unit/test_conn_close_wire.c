/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the segments that close a flow look like, and how their receivers' answers are taken
 * (R14-R17).
 */
#include "conn_rig.h"

#define ECE         0x40
#define CWR         0x80
#define FIN_PSH_ACK (MQT_TCP_FIN | MQT_TCP_PSH | MQT_TCP_ACK)
#define IP4_OFF     14 /* of frames without VLAN */
#define TCP4_OFF    34

static const enum mqt_stepdown actions[] = { MQT_STEPDOWN_KICK, MQT_STEPDOWN_DISCARD };

static void
step_down(struct flow *f, enum mqt_stepdown action)
{
	tell(f, MQT_MSG_STEPDOWN, action);
	drop_messages();
}

/* A client of 5.0 that has been told and has not answered; its broker has got RST. */
static struct flow
kicked(void)
{
	struct flow f = flow_new();

	f.version = 5;
	connected(&f, "c");
	step_down(&f, MQT_STEPDOWN_KICK);
	CHECK_EQ(sent(0, 0)->v.tcp_flags, FIN_PSH_ACK);
	f.seq[BROKER] += sent(0, 0)->v.payload_len + 1u;
	out_clear();
	return f;
}

/* @return ms until something leaves, a second at most. */
static uint32_t
until_sent(void)
{
	uint64_t begin = w.now;

	while (w.n_out == 0 && w.now - begin < SEC)
		advance(10 * MS);
	return (uint32_t)((w.now - begin) / MS);
}

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

/* --- nothing passes (R15) ---------------------------------------------------------------------- */

static const struct {
	const char *name;
	unsigned flags;
	const char *payload;
	int32_t off; /* of its sequence number from the next one */
} kinds[] = {
	{ "ack", ACK, "", 0 },
	{ "old data", ACK, "\xc0\x00", -2 },
	{ "new data", ACK, "\xc0\x00", 0 },
	{ "data behind a gap", ACK, "\xc0\x00", 100 },
	{ "urgent data", ACK | MQT_TCP_URG, "\xc0\x00", 0 },
	{ "fin", FIN_ACK, "", 0 },
	{ "data and fin", FIN_ACK, "\xc0\x00", 0 },
	{ "rst", RST_ACK, "", 0 },
	{ "rst without ack", MQT_TCP_RST, "", 0 },
	{ "rst out of the window", RST_ACK, "", -1000 },
	{ "no flags", 0, "\xc0\x00", 0 },
};

static void
test_nothing_passes_a_flow_that_is_being_closed(void)
{
	for (unsigned i = 0; i < RTE_DIM(kinds); i++) {
		for (int side = CLIENT; side <= BROKER; side++) {
			for (uint8_t version = 4; version <= 5; version++) {
				size_t len = kinds[i].payload[0] ? 2 : 0;
				struct flow f = flow_new();

				check_row = kinds[i].name;
				world_begin();
				f.version = version;
				connected(&f, "c");
				step_down(&f, MQT_STEPDOWN_KICK);
				out_clear();
				send_at(&f, side, kinds[i].flags,
						f.seq[side] + (uint32_t)kinds[i].off, f.seq[!side],
						kinds[i].payload, len);
				CHECK_EQ(n_sent((uint16_t)!side), 0);
				for (unsigned k = 0; k < w.n_out; k++)
					CHECK_EQ(w.out[k].v.payload_len, 0);
				CHECK_EQ(COUNT(CLOSING_DROPPED), 1);
				CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
				release(&f);
				world_end();
			}
		}
	}
}

static void
test_fin_is_acknowledged_each_time_it_comes(void)
{
	struct flow f;
	uint32_t behind, before;

	world_begin();
	f = kicked();
	behind = f.seq[BROKER];
	before = behind - 5; /* it has not got ours: they cross */
	for (unsigned i = 0; i < 2; i++) {
		out_clear();
		send_at(&f, CLIENT, FIN_ACK, f.seq[CLIENT], before, NULL, 0);
		CHECK_EQ(w.n_out, 1);
		CHECK_EQ(sent(0, 0)->v.tcp_flags, MQT_TCP_ACK);
		CHECK_EQ(sent(0, 0)->v.seq, behind);
		CHECK_EQ(sent(0, 0)->v.ack, f.seq[CLIENT] + 1);
		out_clear();
		until_sent();
		CHECK_EQ(n_sent(0), 1); /* ours is repeated until acknowledged */
		CHECK_EQ(sent(0, 0)->v.tcp_flags, FIN_PSH_ACK);
		CHECK_EQ(sent(0, 0)->v.ack, f.seq[CLIENT] + 1);
	}
	out_clear();
	send_at(&f, CLIENT, ACK, f.seq[CLIENT] + 1, behind, NULL, 0);
	CHECK_EQ(w.n_out, 0);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 1); /* for its broker */
	send_at(&f, CLIENT, FIN_ACK, f.seq[CLIENT], behind, NULL, 0);
	CHECK_EQ(n_sent(0), 1);
	CHECK_EQ(sent(0, 0)->v.ack, f.seq[CLIENT] + 1);
	CHECK_EQ(n_sent(1), 0);
	out_clear();
	advance(2 * SEC);
	CHECK_EQ(n_sent(0), 0); /* it is done */
	CHECK(n_sent(1) > 0);
	send_at(&f, BROKER, RST_ACK, f.seq[BROKER] - 5, f.seq[CLIENT], NULL, 0);
	CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
	release(&f);
	world_end();
}

static void
test_client_that_never_closes_is_reset_behind_our_fin(void)
{
	struct flow f;
	bool reset = false;

	world_begin();
	f = kicked();
	send_at(&f, CLIENT, ACK, f.seq[CLIENT], f.seq[BROKER], NULL, 0);
	CHECK_EQ(w.n_out, 0);
	advance(10 * SEC);
	for (unsigned i = 0; i < n_sent(0); i++) {
		CHECK_EQ(sent(0, i)->v.tcp_flags, RST_ACK);
		reset |= sent(0, i)->v.seq == f.seq[BROKER];
	}
	CHECK(reset);
	CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
	release(&f);
	world_end();
}

/* --- ends that are gone ------------------------------------------------------------------------ */

static const struct {
	const char *name;
	int side;
	unsigned flags;
	enum mqt_reason reason;
} gone[] = {
	{ "client closed", CLIENT, FIN_ACK, MQT_REASON_CLIENT_CLOSED },
	{ "broker closed", BROKER, FIN_ACK, MQT_REASON_BROKER_CLOSED },
	{ "client reset", CLIENT, RST_ACK, MQT_REASON_CLIENT_RESET },
	{ "broker reset", BROKER, RST_ACK, MQT_REASON_BROKER_RESET },
};

static void
test_stepdown_of_what_has_ended_injects_nothing(void)
{
	for (unsigned i = 0; i < 2 * RTE_DIM(gone); i++) {
		unsigned k = i / 2;
		struct flow f = flow_new();
		struct mqt_msg msg;
		uint64_t injected;

		check_row = gone[k].name;
		world_begin();
		connected(&f, "c");
		send_next(&f, gone[k].side, gone[k].flags, NULL, 0);
		if (gone[k].flags == FIN_ACK)
			send_next(&f, !gone[k].side, ACK, NULL, 0);
		CHECK_DOWN(&f, gone[k].reason);
		if (gone[k].flags != FIN_ACK)
			advance(RESET_TIME); /* of the other end */
		injected = COUNT(INJECTED_RST);
		out_clear();
		tell(&f, MQT_MSG_STEPDOWN, actions[i & 1]);
		msg = next_message();
		CHECK_EQ(msg.type, MQT_MSG_STEPDOWN_DONE);
		CHECK_EQ(msg.result, -ENOENT);
		CHECK_NO_MESSAGE();
		advance(2 * SEC);
		CHECK_EQ(w.n_out, 0);
		if (gone[k].flags == FIN_ACK) {
			/* the other half ends by itself */
			send_next(&f, !gone[k].side, ACK, "\xd0\x00", 2);
			send_next(&f, !gone[k].side, FIN_ACK, NULL, 0);
			CHECK_EQ(n_sent((uint16_t)gone[k].side), 2);
			send_next(&f, gone[k].side, ACK, NULL, 0);
			CHECK_EQ(w.n_out, 3);
		}
		CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
		CHECK_EQ(COUNT(INJECTED_RST), injected);
		release(&f);
		world_end();
	}
}

static void
test_end_that_answers_by_rst_is_left_in_peace(void)
{
	for (int side = CLIENT; side <= BROKER; side++) {
		struct flow f = flow_new();

		check_row = side == CLIENT ? "client" : "broker";
		world_begin();
		connected(&f, "c");
		step_down(&f, MQT_STEPDOWN_DISCARD);
		/* not one that it cannot have sent */
		send_at(&f, side, RST_ACK, f.seq[side] + 0x10000000, f.seq[!side], NULL, 0);
		CHECK_EQ(COUNT(OUT_OF_WINDOW), 1);
		out_clear();
		until_sent();
		CHECK_EQ(n_sent((uint16_t)side), 1);
		send_at(&f, side, RST_ACK, f.seq[side], f.seq[!side], NULL, 0);
		out_clear();
		advance(SEC);
		CHECK_EQ(n_sent((uint16_t)side), 0);
		CHECK(n_sent((uint16_t)!side) > 0);
		send_at(&f, !side, RST_ACK, f.seq[!side], f.seq[side], NULL, 0);
		CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
		out_clear();
		advance(10 * SEC);
		CHECK_EQ(w.n_out, 0);
		release(&f);
		world_end();
	}
}

/* The other end has acknowledged what this one never sent. */
static void
test_rst_at_the_own_number_ends_it_whatever_of_ours_was_acknowledged(void)
{
	for (int side = CLIENT; side <= BROKER; side++) {
		struct flow f = flow_new();
		uint32_t own[2];

		check_row = side == CLIENT ? "client" : "broker";
		world_config();
		w.config.listeners[0].will = MQT_WILL_SUPPRESS;
		world_start();
		f.version = 5;
		connected(&f, "c");
		own[CLIENT] = f.seq[CLIENT];
		own[BROKER] = f.seq[BROKER];
		step_down(&f, MQT_STEPDOWN_KICK);
		send_at(&f, !side, FIN_ACK, own[!side],
				own[side] + sent((uint16_t)!side, 0)->v.payload_len + 1u, NULL, 0);
		CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
		send_at(&f, side, RST_ACK, own[side] - 1, own[!side], NULL, 0);
		CHECK_EQ(COUNT(OUT_OF_WINDOW), 1);
		CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
		send_at(&f, side, RST_ACK, own[side], own[!side], NULL, 0);
		CHECK_EQ(COUNT(OUT_OF_WINDOW), 1);
		CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
		release(&f);
		world_end();
	}
}

static void
test_silent_ends_are_reset_five_times_and_forgotten(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "c");
	step_down(&f, MQT_STEPDOWN_DISCARD);
	advance(6 * SEC); /* 0.2 + 0.4 + 0.8 + 1.6 + 3.2 s */
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
	advance(SEC);
	CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
	CHECK_EQ(n_sent(0), 5);
	CHECK_EQ(n_sent(1), 5);
	for (unsigned i = 0; i < w.n_out; i++) {
		CHECK_EQ(w.out[i].v.tcp_flags, RST_ACK);
		CHECK_EQ(w.out[i].v.seq, f.seq[!w.out[i].port]);
	}
	release(&f);
	world_end();
}

/* --- new incarnations (R17) -------------------------------------------------------------------- */

static void
test_forged_syn_changes_nothing_of_a_close(void)
{
	struct flow f;

	world_begin();
	f = kicked();
	for (uint32_t i = 1; i < 20; i++)
		send_at(&f, CLIENT, MQT_TCP_SYN, 77777 * i, 0, NULL, 0);
	send_at(&f, CLIENT, MQT_TCP_SYN, 1000, 0, NULL, 0); /* the flow's own once more */
	CHECK_EQ(n_sent(0), 0);
	CHECK_EQ(n_sent(1), 20);
	for (unsigned i = 0; i < 20; i++)
		CHECK_EQ(sent(1, i)->v.tcp_flags, MQT_TCP_SYN);
	CHECK_EQ(COUNT(CLOSING_DROPPED), 0);
	out_clear();
	/* a SYN/ACK that answers none of them is held back, a challenge is answered */
	send_at(&f, BROKER, SYN_ACK, 5, 6, NULL, 0);
	CHECK_EQ(w.n_out, 0);
	send_at(&f, BROKER, ACK, f.seq[BROKER] - 5, f.seq[CLIENT], NULL, 0);
	CHECK_EQ(w.n_out, 1);
	CHECK_EQ(sent(1, 0)->v.tcp_flags, RST_ACK);
	CHECK_EQ(sent(1, 0)->v.seq, f.seq[CLIENT]);
	out_clear();
	send_next(&f, CLIENT, FIN_ACK, NULL, 0);
	CHECK_EQ(w.n_out, 1);
	CHECK_EQ(sent(0, 0)->v.tcp_flags, MQT_TCP_ACK);
	CHECK_EQ(sent(0, 0)->v.ack, f.seq[CLIENT]);
	CHECK_EQ(COUNT(REPLACED), 0);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
	release(&f);
	world_end();
}

static void
test_syns_do_not_prolong_a_close(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "c");
	step_down(&f, MQT_STEPDOWN_DISCARD);
	for (uint32_t i = 0; i < 35; i++) {
		send_at(&f, CLIENT, MQT_TCP_SYN, 0x30000000, 0, NULL, 0);
		advance(200 * MS);
	}
	CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
	release(&f);
	world_end();
}

static void
test_synack_alone_commits_a_new_incarnation(void)
{
	struct flow f, g;
	uint8_t buf[64];
	size_t len = connect_packet(buf, sizeof(buf), 5, "c");

	world_begin();
	f = kicked();
	g = f;
	g.seq[CLIENT] = 0x70000000;
	g.seq[BROKER] = 0x60000000;
	send_next(&g, CLIENT, MQT_TCP_SYN, NULL, 0);
	CHECK_EQ(n_sent(1), 1);
	until_sent();
	out_clear();
	advance(SEC);
	CHECK(n_sent(0) > 0); /* the old one is still being closed */
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
	out_clear();
	send_next(&g, BROKER, SYN_ACK, NULL, 0);
	CHECK_EQ(COUNT(REPLACED), 1);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 0);
	advance(SEC);
	CHECK_EQ(w.n_out, 1); /* the SYN/ACK: nothing of the old one disturbs it */
	send_next(&g, CLIENT, ACK, NULL, 0);
	send_next(&g, CLIENT, ACK, buf, len);
	CHECK_EQ(n_sent(1), 2);
	CHECK_EQ(sent(1, 1)->v.payload_len, len);
	CHECK_EQ(n_sent(0), 1);
	CHECK_NO_MESSAGE(); /* the old one was down already */
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

static CU_TestInfo answer_tests[] = {
	TEST(test_nothing_passes_a_flow_that_is_being_closed),
	TEST(test_fin_is_acknowledged_each_time_it_comes),
	TEST(test_client_that_never_closes_is_reset_behind_our_fin),
	TEST(test_stepdown_of_what_has_ended_injects_nothing),
	TEST(test_end_that_answers_by_rst_is_left_in_peace),
	TEST(test_rst_at_the_own_number_ends_it_whatever_of_ours_was_acknowledged),
	TEST(test_silent_ends_are_reset_five_times_and_forgotten),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo syn_tests[] = {
	TEST(test_forged_syn_changes_nothing_of_a_close),
	TEST(test_syns_do_not_prolong_a_close),
	TEST(test_synack_alone_commits_a_new_incarnation),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo said_tests[] = {
	TEST(test_disconnect_leaves_the_expiry_of_the_session_alone),
	TEST(test_newcomer_is_never_told_disconnect),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "look", NULL, NULL, NULL, NULL, look_tests },
	{ "answers", NULL, NULL, NULL, NULL, answer_tests },
	{ "syn", NULL, NULL, NULL, NULL, syn_tests },
	{ "said", NULL, NULL, NULL, NULL, said_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
