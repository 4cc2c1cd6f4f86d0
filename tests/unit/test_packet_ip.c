/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What lies between the link and TCP: VLAN tags and their part in the flow key, IPv4 options and
 * header checksum, IPv6 extension headers. No EAL: an mbuf is a structure that points to bytes.
 */
#include "check.h"
#include "frame_rig.h"
#include "mqtrack/packet.h"

#define BOTH_ENDS .src = 1, .dst = 2, .sport = 40000, .dport = 1883

static struct rte_mbuf
mbuf_of(struct frame *f)
{
	return (struct rte_mbuf){
		.buf_addr = f->data,
		.buf_len = FRAME_MAX,
		.data_len = (uint16_t)f->len,
		.pkt_len = f->len,
		.nb_segs = 1,
	};
}

static enum mqt_pkt_kind
view_of(const struct frame_spec *s, struct mqt_pkt *pkt)
{
	struct frame f;
	struct rte_mbuf m;

	frame_make(&f, s);
	m = mbuf_of(&f);
	return mqt_pkt_parse(&m, pkt);
}

static struct mqt_flow_key
key_of(const struct frame_spec *s)
{
	struct mqt_flow_key key;
	struct mqt_pkt pkt;
	struct rte_mbuf m;
	struct frame f;

	frame_make(&f, s);
	m = mbuf_of(&f);
	CHECK_EQ(mqt_pkt_parse(&m, &pkt), MQT_PKT_TCP);
	mqt_flow_key_of(&m, &pkt, &key);
	return key;
}

/* --- VLANs ------------------------------------------------------------------------------------- */

static const struct tagging {
	const char *row;
	unsigned n_tags;
	uint16_t tpid[3], tci[3];
	enum mqt_pkt_kind kind;
	uint16_t vlan[2];
} taggings[] = {
	{ "untagged", 0, { 0 }, { 0 }, MQT_PKT_TCP, { 0, 0 } },
	{ "802.1Q", 1, { 0x8100 }, { 100 }, MQT_PKT_TCP, { 100, 0 } },
	{ "highest id", 1, { 0x8100 }, { 4095 }, MQT_PKT_TCP, { 4095, 0 } },
	{ "priority and drop bits", 1, { 0x8100 }, { 0xf064 }, MQT_PKT_TCP, { 100, 0 } },
	{ "a priority tag", 1, { 0x8100 }, { 0xe000 }, MQT_PKT_TCP, { 0, 0 } },
	{ "802.1ad alone", 1, { 0x88a8 }, { 7 }, MQT_PKT_TCP, { 7, 0 } },
	{ "802.1ad", 2, { 0x88a8, 0x8100 }, { 7, 100 }, MQT_PKT_TCP, { 7, 100 } },
	{ "two of 802.1Q", 2, { 0x8100, 0x8100 }, { 7, 100 }, MQT_PKT_TCP, { 7, 100 } },
	{ "old QinQ", 2, { 0x9100, 0x8100 }, { 7, 100 }, MQT_PKT_TCP, { 7, 100 } },
	{ "priority tag outside", 2, { 0x8100, 0x8100 }, { 0, 100 }, MQT_PKT_TCP, { 100, 0 } },
	{ "three", 3, { 0x88a8, 0x8100, 0x8100 }, { 7, 8, 9 }, MQT_PKT_OTHER, { 0, 0 } },
};

static struct frame_spec
tagged(const struct tagging *t, bool ip6)
{
	struct frame_spec s = { .ip6 = ip6, .n_tags = t->n_tags, BOTH_ENDS };

	memcpy(s.tpid, t->tpid, sizeof(s.tpid));
	memcpy(s.tci, t->tci, sizeof(s.tci));
	return s;
}

static void
test_vlan_ids_are_read_without_their_priority(void)
{
	for (size_t i = 0; i < 2 * RTE_DIM(taggings); i++) {
		const struct tagging *t = &taggings[i / 2];
		struct frame_spec s = tagged(t, i % 2);
		struct mqt_pkt pkt;

		check_row = t->row;
		CHECK_EQ(view_of(&s, &pkt), t->kind);
		if (t->kind != MQT_PKT_TCP)
			continue;
		CHECK_EQ(pkt.vlan[0], t->vlan[0]);
		CHECK_EQ(pkt.vlan[1], t->vlan[1]);
		CHECK_EQ(pkt.dst_port, 1883);
	}
	check_row = "";
}

static void
test_flows_are_the_same_where_their_vlans_are(void)
{
	for (size_t i = 0; i < 2 * RTE_DIM(taggings); i++) {
		for (size_t k = 0; k < RTE_DIM(taggings); k++) {
			const struct tagging *a = &taggings[i / 2], *b = &taggings[k];
			struct frame_spec there = tagged(a, i % 2), back = tagged(b, i % 2);
			struct mqt_flow_key key, back_key;
			bool same = a->vlan[0] == b->vlan[0] && a->vlan[1] == b->vlan[1];

			if (a->kind != MQT_PKT_TCP || b->kind != MQT_PKT_TCP)
				continue;
			check_row = a->row;
			back.src = there.dst;
			back.dst = there.src;
			back.sport = there.dport;
			back.dport = there.sport;
			key = key_of(&there);
			back_key = key_of(&back);
			CHECK_EQ(memcmp(&key, &back_key, sizeof(key)) == 0, same);
			/* a key of IPv4 is told apart by its first 16 bytes */
			if (i % 2 == 0)
				CHECK_EQ(memcmp(&key, &back_key, MQT_FLOW_KEY_V4_LEN) == 0, same);
		}
	}
	check_row = "";
}

static void
test_vlans_of_a_kept_link_header_are_those_of_its_frame(void)
{
	for (size_t i = 0; i < RTE_DIM(taggings); i++) {
		struct frame_spec s = tagged(&taggings[i], false);
		uint16_t vlan[2];
		struct frame f;

		check_row = taggings[i].row;
		frame_make(&f, &s);
		mqt_l2_vlans(f.data, f.l3, vlan);
		CHECK_EQ(vlan[0], taggings[i].vlan[0]);
		CHECK_EQ(vlan[1], taggings[i].vlan[1]);
	}
	check_row = "";
}

/* --- IPv4 -------------------------------------------------------------------------------------- */

static void
test_ipv4_options_are_walked(void)
{
	static const struct {
		const char *row;
		uint8_t len;
		uint8_t bytes[40];
		enum mqt_pkt_kind kind;
	} rows[] = {
		{ "no-operation", 4, { 1, 1, 1, 1 }, MQT_PKT_TCP },
		{ "the end, then anything", 4, { 0, 131, 99, 0 }, MQT_PKT_TCP },
		{ "router alert", 4, { 148, 4, 0, 0 }, MQT_PKT_TCP },
		{ "security", 12, { 130, 11 }, MQT_PKT_TCP },
		{ "record route", 8, { 7, 7, 4, 0, 0, 0, 0 }, MQT_PKT_TCP },
		{ "record route, full", 8, { 7, 7, 8, 10, 0, 0, 9 }, MQT_PKT_TCP },
		{ "timestamp", 12, { 68, 12, 5, 0 }, MQT_PKT_TCP },
		{ "40 bytes", 40, { 130, 40 }, MQT_PKT_TCP },
		{ "loose source route", 8, { 131, 7, 4, 10, 0, 0, 9 }, MQT_PKT_OTHER },
		{ "strict source route", 8, { 1, 137, 7, 4, 10, 0, 0, 9 }, MQT_PKT_OTHER },
		{ "source route at its end", 8, { 131, 7, 8, 10, 0, 0, 9 }, MQT_PKT_OTHER },
		{ "no length", 4, { 1, 1, 1, 130 }, MQT_PKT_MALFORMED },
		{ "length 0", 4, { 130, 0, 0, 0 }, MQT_PKT_MALFORMED },
		{ "length 1", 4, { 130, 1, 0, 0 }, MQT_PKT_MALFORMED },
		{ "too long", 4, { 1, 130, 4, 0 }, MQT_PKT_MALFORMED },
		{ "record route without pointer", 4, { 7, 2, 0, 0 }, MQT_PKT_MALFORMED },
		{ "record route, pointer in its header", 4, { 7, 3, 3, 0 }, MQT_PKT_MALFORMED },
		{ "timestamp, pointer in its header", 4, { 68, 4, 4, 0 }, MQT_PKT_MALFORMED },
	};

	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		struct frame_spec s = { BOTH_ENDS, .payload_len = 9, .ext = rows[i].bytes,
			.ext_len = rows[i].len };
		struct mqt_pkt pkt;

		check_row = rows[i].row;
		CHECK_EQ(view_of(&s, &pkt), rows[i].kind);
		if (rows[i].kind != MQT_PKT_TCP)
			continue;
		CHECK_EQ(pkt.l4_off, 14 + 20 + rows[i].len);
		CHECK_EQ(pkt.dst_port, 1883);
		CHECK_EQ(pkt.payload_len, 9);
	}
	check_row = "";
}

static void
test_a_wrong_bit_in_the_ipv4_header_is_found(void)
{
	static const uint8_t options[] = { 1, 1, 148, 4, 0, 0, 1, 1 };

	for (unsigned with = 0; with < 2; with++) {
		struct frame_spec s = { BOTH_ENDS, .ext = options,
			.ext_len = with ? sizeof(options) : 0 };
		struct mqt_pkt pkt;
		struct rte_mbuf m;
		struct frame f;

		frame_make(&f, &s);
		m = mbuf_of(&f);
		CHECK_EQ(mqt_pkt_parse(&m, &pkt), MQT_PKT_TCP);
		CHECK(mqt_pkt_ip_checksum_ok(&m, &pkt));
		/* the first byte says how far the header goes, the walk has seen to it */
		for (unsigned bit = 8; bit < (f.l4 - f.l3) * 8; bit++) {
			f.data[f.l3 + bit / 8] ^= (uint8_t)(1 << bit % 8);
			CHECK(!mqt_pkt_ip_checksum_ok(&m, &pkt));
			f.data[f.l3 + bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		CHECK(mqt_pkt_ip_checksum_ok(&m, &pkt));
	}
}

static void
test_the_ports_verdict_on_the_ip_header_holds(void)
{
	static const struct {
		const char *row;
		uint64_t flags;
		bool right_ok, wrong_ok;
	} rows[] = {
		{ "unknown", RTE_MBUF_F_RX_IP_CKSUM_UNKNOWN, true, false },
		{ "good", RTE_MBUF_F_RX_IP_CKSUM_GOOD, true, true },
		{ "bad", RTE_MBUF_F_RX_IP_CKSUM_BAD, false, false },
		{ "none", RTE_MBUF_F_RX_IP_CKSUM_NONE, true, false },
		{ "of TCP only", RTE_MBUF_F_RX_L4_CKSUM_GOOD, true, false },
	};

	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		struct frame_spec s = { BOTH_ENDS };
		struct mqt_pkt pkt;
		struct rte_mbuf m;
		struct frame f;

		check_row = rows[i].row;
		frame_make(&f, &s);
		m = mbuf_of(&f);
		m.ol_flags = rows[i].flags;
		CHECK_EQ(mqt_pkt_parse(&m, &pkt), MQT_PKT_TCP);
		CHECK_EQ(mqt_pkt_ip_checksum_ok(&m, &pkt), rows[i].right_ok);
		f.data[f.l3 + 8]--; /* as a router that forgets the sum */
		CHECK_EQ(mqt_pkt_ip_checksum_ok(&m, &pkt), rows[i].wrong_ok);
	}
	check_row = "";
}

/* --- IPv6 -------------------------------------------------------------------------------------- */

#define HBH  0
#define RTH  43
#define AUTH 51
#define DST  60

static void
test_ipv6_extension_headers_are_walked(void)
{
	static const struct {
		const char *row;
		uint8_t first, len;
		uint8_t bytes[48];
		enum mqt_pkt_kind kind;
	} rows[] = {
		{ "hop-by-hop", HBH, 8, { 6, 0, 1, 4 }, MQT_PKT_TCP },
		{ "router alert", HBH, 8, { 6, 0, 5, 2, 0, 0, 1, 0 }, MQT_PKT_TCP },
		{ "pad1 to the end", DST, 8, { 6, 0 }, MQT_PKT_TCP },
		{ "destination options", DST, 16, { 6, 1, 1, 12 }, MQT_PKT_TCP },
		{ "unknown option to skip", DST, 8, { 6, 0, 0x1e, 4 }, MQT_PKT_TCP },
		{ "routing, no segments left", RTH, 8, { 6, 0, 4, 0 }, MQT_PKT_TCP },
		{ "all of them", HBH, 32,
				{ RTH, 0, 1, 4, 0, 0, 0, 0, DST, 0, 4, 0, 0, 0, 0, 0, 6, 1, 1, 12 },
				MQT_PKT_TCP },
		{ "routing, segments left", RTH, 8, { 6, 0, 4, 1 }, MQT_PKT_OTHER },
		{ "unknown option to discard", DST, 8, { 6, 0, 0x5e, 4 }, MQT_PKT_OTHER },
		{ "home address", DST, 8, { 6, 0, 0xc9, 4 }, MQT_PKT_OTHER },
		{ "jumbo payload", HBH, 8, { 6, 0, 0xc2, 4, 0, 1, 0, 0 }, MQT_PKT_OTHER },
		{ "authentication", AUTH, 16, { 6, 2 }, MQT_PKT_OTHER },
		{ "hop-by-hop not first", DST, 16, { HBH, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4 },
				MQT_PKT_MALFORMED },
		{ "option over the end", DST, 8, { 6, 0, 1, 5 }, MQT_PKT_MALFORMED },
		{ "option without length", DST, 8, { 6, 0, 1, 3, 0, 0, 0, 1 }, MQT_PKT_MALFORMED },
		{ "header over the end", DST, 8, { 6, 99, 1, 4 }, MQT_PKT_MALFORMED },
	};

	for (size_t i = 0; i < RTE_DIM(rows); i++) {
		struct frame_spec s = { .ip6 = true,
			BOTH_ENDS,
			.payload_len = 9,
			.proto = rows[i].first,
			.ext = rows[i].bytes,
			.ext_len = rows[i].len };
		struct mqt_pkt pkt;
		struct frame f;
		struct rte_mbuf m;

		check_row = rows[i].row;
		frame_make(&f, &s);
		f.data[f.l3 + 6] = rows[i].first; /* 0 is hop-by-hop */
		m = mbuf_of(&f);
		CHECK_EQ(mqt_pkt_parse(&m, &pkt), rows[i].kind);
		if (rows[i].kind != MQT_PKT_TCP)
			continue;
		CHECK_EQ(pkt.l4_off, 14 + 40 + rows[i].len);
		CHECK_EQ(pkt.payload_len, 9);
		CHECK(mqt_pkt_checksum_ok(&m, &pkt));
		CHECK(mqt_pkt_ip_checksum_ok(&m, &pkt));
	}
	check_row = "";
}

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}

int
main(void)
{
	CU_TestInfo tests[] = {
		TEST(test_vlan_ids_are_read_without_their_priority),
		TEST(test_flows_are_the_same_where_their_vlans_are),
		TEST(test_vlans_of_a_kept_link_header_are_those_of_its_frame),
		TEST(test_ipv4_options_are_walked),
		TEST(test_a_wrong_bit_in_the_ipv4_header_is_found),
		TEST(test_the_ports_verdict_on_the_ip_header_holds),
		TEST(test_ipv6_extension_headers_are_walked),
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ "packet_ip", NULL, NULL, NULL, NULL, tests },
		CU_SUITE_INFO_NULL,
	};

	return check_run(suites);
}
