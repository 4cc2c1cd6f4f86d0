/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The view of a packet: what it says of a frame, and that it reads nothing else.
 */
#include "packet_rig.h"

static void
check_view(const struct mqt_pkt *pkt, const struct frame *f, const struct spec *s)
{
	CHECK_EQ(pkt->kind, MQT_PKT_TCP);
	CHECK_EQ(pkt->ip_version, s->version);
	CHECK_EQ(pkt->l2_len, f->l3);
	CHECK_EQ(pkt->l3_off, f->l3);
	CHECK_EQ(pkt->l4_off, f->l4);
	CHECK_EQ(pkt->payload_off, f->payload);
	CHECK_EQ(pkt->payload_len, s->payload_len);
	CHECK_EQ(pkt->src_port, 40000);
	CHECK_EQ(pkt->dst_port, 1883);
	CHECK_EQ(pkt->seq, 0xfffffff0);
	CHECK_EQ(pkt->ack, 0x80000001);
	CHECK_EQ(pkt->tcp_flags, MQT_TCP_PSH | MQT_TCP_ACK);
	CHECK_EQ(pkt->window, 0xabcd);
}

/* Touches whatever a TCP view gives access to: a byte out of bounds ends in the guard page. */
static void
use_view(const struct rte_mbuf *m, const struct mqt_pkt *pkt)
{
	static uint8_t copy[65536];
	struct mqt_endpoint src, dst;
	struct mqt_flow_key key;
	struct mqt_tcp_options options;
	uint32_t len;

	mqt_pkt_endpoints(m, pkt, &src, &dst);
	mqt_flow_key_of(m, pkt, &key);
	mqt_pkt_tcp_options(m, pkt, &options);
	mqt_pkt_payload_copy(m, pkt, 0, pkt->payload_len, copy);
	mqt_pkt_payload_at(m, pkt, 0, &len);
	CHECK(len <= pkt->payload_len);
	CHECK((len == 0) == (pkt->payload_len == 0));
	mqt_pkt_checksum_ok(m, pkt);
}

static void
test_frames_are_understood(void)
{
	for (size_t i = 0; i < LEN(specs); i++) {
		struct frame f;
		struct rte_mbuf m;
		struct mqt_pkt pkt;

		check_row = specs[i].name;
		frame_make(&f, &specs[i]);
		segment_set(&m, 0, f.data, f.len);
		memset(&pkt, 0xaa, sizeof(pkt));
		CHECK_EQ(mqt_pkt_parse(&m, &pkt), MQT_PKT_TCP);
		check_view(&pkt, &f, &specs[i]);
		use_view(&m, &pkt);
		CHECK(mqt_pkt_checksum_ok(&m, &pkt));
	}
}

static void
test_frames_cut_anywhere_are_not_tcp(void)
{
	for (size_t i = 0; i < LEN(specs); i++) {
		struct frame f;
		struct rte_mbuf m;
		struct mqt_pkt pkt;

		check_row = specs[i].name;
		frame_make(&f, &specs[i]);
		for (uint32_t cut = 0; cut < f.len; cut++) {
			segment_set(&m, 0, f.data, cut);
			mqt_pkt_parse(&m, &pkt);
			if (cut >= f.ip_end)
				check_view(&pkt, &f, &specs[i]); /* only padding is gone */
			else if (cut < f.l3)
				CHECK_EQ(pkt.kind, MQT_PKT_OTHER);
			else
				CHECK_EQ(pkt.kind, MQT_PKT_MALFORMED);
		}
	}
}

static void
test_frames_in_two_segments_are_the_same(void)
{
	for (size_t i = 0; i < LEN(specs); i++) {
		struct frame f;
		struct rte_mbuf m[2];
		struct mqt_pkt pkt;

		check_row = specs[i].name;
		frame_make(&f, &specs[i]);
		for (uint32_t cut = 0; cut <= f.len; cut++) {
			chain_set(m, f.data, f.len, &cut, 1);
			mqt_pkt_parse(m, &pkt);
			if (cut >= f.payload) {
				check_view(&pkt, &f, &specs[i]);
				use_view(m, &pkt);
				CHECK(mqt_pkt_checksum_ok(m, &pkt));
			} else {
				CHECK_EQ(pkt.kind, cut < f.l3 ? MQT_PKT_OTHER : MQT_PKT_MALFORMED);
			}
		}
	}
}

/* One or two bytes of the frame replaced. */
struct patch {
	const char *name;
	const struct spec *spec;
	int at; /* from the IP header; from the TCP header where tcp is set */
	bool tcp;
	unsigned v; /* 16 bits */
	enum mqt_pkt_kind want;
};

static const struct patch patches[] = {
	{ "IPv4 unchanged", V4, 2, false, 129, MQT_PKT_TCP },
	{ "IPv4 total length one byte over the frame", V4, 2, false, 130, MQT_PKT_MALFORMED },
	{ "IPv4 total length 65,535", V4, 2, false, 65535, MQT_PKT_MALFORMED },
	{ "IPv4 total length covers padding", V4_PAD, 2, false, 46, MQT_PKT_TCP },
	{ "IPv4 total length over padding", V4_PAD, 2, false, 47, MQT_PKT_MALFORMED },
	{ "IPv4 total length 0", V4, 2, false, 0, MQT_PKT_MALFORMED },
	{ "IPv4 total length under its header", V4, 2, false, 19, MQT_PKT_MALFORMED },
	{ "IPv4 total length under the TCP header", V4, 2, false, 39, MQT_PKT_MALFORMED },
	{ "IPv4 total length within the TCP options", V4, 2, false, 51, MQT_PKT_MALFORMED },
	{ "IPv4 total length without payload", V4, 2, false, 52, MQT_PKT_TCP },
	{ "IPv4 version 6", V4, 0, false, 0x6500, MQT_PKT_MALFORMED },
	{ "IPv4 header of 16 bytes", V4, 0, false, 0x4400, MQT_PKT_MALFORMED },
	{ "IPv4 header of 60 bytes over TCP's", V4_PAD, 0, false, 0x4f00, MQT_PKT_MALFORMED },
	{ "IPv4 more fragments", V4, 6, false, 0x2000, MQT_PKT_FRAGMENT },
	{ "IPv4 last fragment", V4, 6, false, 0x0001, MQT_PKT_FRAGMENT },
	{ "IPv4 later fragment", V4, 6, false, 0x3fff, MQT_PKT_FRAGMENT },
	{ "IPv4 don't fragment and the reserved bit", V4, 6, false, 0xc000, MQT_PKT_TCP },
	{ "IPv4 UDP", V4, 8, false, 64 << 8 | 17, MQT_PKT_OTHER },
	{ "IPv4 TCP data offset 4", V4, 12, true, 0x4010, MQT_PKT_MALFORMED },
	{ "IPv4 TCP data offset 0", V4, 12, true, 0x0010, MQT_PKT_MALFORMED },
	{ "IPv4 TCP data offset 15", V4, 12, true, 0xf010, MQT_PKT_TCP },
	{ "IPv4 TCP data offset 6 without options", V4_PAD, 12, true, 0x6010, MQT_PKT_MALFORMED },
	{ "ARP", V4, -2, false, 0x0806, MQT_PKT_OTHER },
	{ "802.3 length", V4, -2, false, 100, MQT_PKT_OTHER },
	{ "IPv6 type with an IPv4 header", V4, -2, false, 0x86dd, MQT_PKT_MALFORMED },
	{ "IPv6 payload length one byte over the frame", V6, 4, false, 70, MQT_PKT_MALFORMED },
	{ "IPv6 payload length covers padding", V6, 4, false, 69, MQT_PKT_TCP },
	{ "IPv6 payload length 0", V6, 4, false, 0, MQT_PKT_MALFORMED },
	{ "IPv6 payload length within the TCP header", V6, 4, false, 31, MQT_PKT_MALFORMED },
	{ "IPv6 version 4", V6, 0, false, 0x4001, MQT_PKT_MALFORMED },
	{ "IPv6 UDP", V6, 6, false, 17 << 8 | 64, MQT_PKT_OTHER },
	{ "IPv6 no next header", V6, 6, false, 59 << 8 | 64, MQT_PKT_OTHER },
	{ "IPv6 ESP", V6, 6, false, 50 << 8 | 64, MQT_PKT_OTHER },
	{ "IPv6 fragment", V6, 6, false, 44 << 8 | 64, MQT_PKT_FRAGMENT },
	{ "IPv6 fragment behind hop-by-hop", V6_EXT, 40, false, 44 << 8, MQT_PKT_FRAGMENT },
	{ "IPv6 extension over the frame", V6_EXT, 40, false, 6 << 8 | 255, MQT_PKT_MALFORMED },
	{ "IPv6 extension takes the TCP header", V6_EXT, 40, false, 6 << 8 | 3, MQT_PKT_MALFORMED },
	{ "IPv6 routing, no segments left", V6_EXT, 6, false, 43 << 8 | 64, MQT_PKT_TCP },
};

static void
test_contradicting_lengths_are_malformed(void)
{
	for (size_t i = 0; i < LEN(patches); i++) {
		const struct patch *p = &patches[i];
		struct frame f;
		struct rte_mbuf m;
		struct mqt_pkt pkt;

		check_row = p->name;
		frame_make(&f, p->spec);
		set16(&f, (p->tcp ? f.l4 : f.l3) + (uint32_t)p->at, p->v);
		segment_set(&m, 0, f.data, f.len);
		CHECK_EQ(mqt_pkt_parse(&m, &pkt), p->want);
		CHECK_EQ(pkt.kind, p->want);
		if (pkt.kind == MQT_PKT_TCP) {
			CHECK(pkt.payload_off + pkt.payload_len <= f.len);
			use_view(&m, &pkt);
		}
	}
}

static void
test_routing_with_segments_left_is_not_the_flow(void)
{
	struct frame f;
	struct rte_mbuf m;
	struct mqt_pkt pkt;

	frame_make(&f, V6_EXT);
	f.data[f.l3 + 6] = 43;
	f.data[f.l3 + 43] = 1;
	segment_set(&m, 0, f.data, f.len);
	CHECK_EQ(mqt_pkt_parse(&m, &pkt), MQT_PKT_OTHER);
}

static void
test_tags_are_bounded_and_extension_headers_are_not(void)
{
	struct spec nine = { "nine extensions", { 0 }, 6, 0, { 1, 61, 61, 61, 61, 61, 61, 61, 61 },
		0, "", 0, 5, 0 };
	struct spec three = { "three tags", { 0x88a8, 0x8100, 0x8100 }, 4, 0, { 0 }, 0, "", 0, 5,
		0 };
	struct frame f;
	struct rte_mbuf m;
	struct mqt_pkt pkt;

	frame_make(&f, &nine);
	segment_set(&m, 0, f.data, f.len);
	CHECK_EQ(mqt_pkt_parse(&m, &pkt), MQT_PKT_TCP);
	CHECK_EQ(pkt.l4_off, f.l4);
	frame_make(&f, &three);
	segment_set(&m, 0, f.data, f.len);
	CHECK_EQ(mqt_pkt_parse(&m, &pkt), MQT_PKT_OTHER);
}

/* splitmix64, seeded: a failure repeats. */
static uint64_t
next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static void
test_damaged_frames_are_never_read_out_of_bounds(void)
{
	uint64_t seed = 7;
	unsigned n_tcp = 0, n_other = 0;

	for (unsigned n = 0; n < 100000; n++) {
		const struct spec *s = &specs[next_random(&seed) % LEN(specs)];
		unsigned n_bytes = 1 + next_random(&seed) % 4;
		struct frame f;
		struct rte_mbuf m[2];
		struct mqt_pkt pkt;
		uint32_t cut;

		check_row = s->name;
		frame_make(&f, s);
		for (unsigned i = 0; i < n_bytes; i++)
			f.data[12 + next_random(&seed) % (f.payload - 12)] =
					(uint8_t)next_random(&seed);
		cut = next_random(&seed) % (f.len + 1);
		if (next_random(&seed) % 2)
			cut = f.len;
		chain_set(m, f.data, f.len, &cut, 1);
		if (mqt_pkt_parse(m, &pkt) != MQT_PKT_TCP) {
			n_other++;
			continue;
		}
		n_tcp++;
		CHECK(pkt.l3_off == pkt.l2_len);
		CHECK(pkt.l4_off >= pkt.l3_off + 20);
		CHECK(pkt.payload_off >= pkt.l4_off + 20);
		CHECK(pkt.payload_off <= cut);
		CHECK(pkt.payload_off + pkt.payload_len <= f.len);
		use_view(m, &pkt);
	}
	CHECK(n_tcp > 1000);
	CHECK(n_other > 1000);
}

static CU_TestInfo tests[] = {
	TEST(test_frames_are_understood),
	TEST(test_frames_cut_anywhere_are_not_tcp),
	TEST(test_frames_in_two_segments_are_the_same),
	TEST(test_contradicting_lengths_are_malformed),
	TEST(test_routing_with_segments_left_is_not_the_flow),
	TEST(test_tags_are_bounded_and_extension_headers_are_not),
	TEST(test_damaged_frames_are_never_read_out_of_bounds),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "packet", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
