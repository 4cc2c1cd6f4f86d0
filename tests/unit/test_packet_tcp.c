/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What lies in a TCP segment: checksum, payload, options, sequence numbers.
 */
#include "packet_rig.h"

/* --- checksum --------------------------------------------------------------------------------- */

static void
test_every_wrong_byte_breaks_the_checksum(void)
{
	for (size_t i = 0; i < LEN(specs); i++) {
		struct frame f;
		struct rte_mbuf m;
		struct mqt_pkt pkt;

		check_row = specs[i].name;
		frame_make(&f, &specs[i]);
		segment_set(&m, 0, f.data, f.len);
		mqt_pkt_parse(&m, &pkt);
		for (uint32_t at = f.l4; at < f.len; at++) {
			uint8_t *p = (uint8_t *)m.buf_addr + at;

			*p ^= 0x10;
			CHECK_EQ(mqt_pkt_checksum_ok(&m, &pkt), at >= f.ip_end);
			*p ^= 0x10;
		}
		CHECK(mqt_pkt_checksum_ok(&m, &pkt));
		((uint8_t *)m.buf_addr)[f.l3 + 12] ^= 1; /* an address */
		CHECK(!mqt_pkt_checksum_ok(&m, &pkt));
	}
}

/* Segments of odd lengths full of carries, which DPDK's own function adds up wrongly. */
static void
test_checksum_spans_odd_segments(void)
{
	static const struct spec s = { "large", { 0 }, 4, 0, { 0 }, 0, "", 0, 1400, 3 };
	struct frame f;
	struct rte_mbuf m[4];
	struct mqt_pkt pkt;

	frame_make(&f, &s);
	memset(f.data + f.payload, 0xff, s.payload_len);
	f.data[f.payload] = 1;
	set16(&f, f.l4 + 16, 0);
	set16(&f, f.l4 + 16, ~tcp_sum(f.data, f.l3, f.l4, f.ip_end, 4));
	for (uint32_t a = f.payload; a < f.payload + 9; a++) {
		for (uint32_t b = a; b < a + 300; b += 99) {
			uint32_t cuts[3] = { a, b, b + 501 };

			chain_set(m, f.data, f.len, cuts, 3);
			CHECK_EQ(mqt_pkt_parse(m, &pkt), MQT_PKT_TCP);
			CHECK(mqt_pkt_checksum_ok(m, &pkt));
			((uint8_t *)m[3].buf_addr)[8] ^= 0x80;
			CHECK(!mqt_pkt_checksum_ok(m, &pkt));
		}
	}
}

static void
test_the_ports_verdict_is_taken(void)
{
	static const struct {
		const char *name;
		uint64_t flags;
		bool right_ok, wrong_ok;
	} rows[] = {
		{ "unknown", RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN, true, false },
		{ "good", RTE_MBUF_F_RX_L4_CKSUM_GOOD, true, true },
		{ "bad", RTE_MBUF_F_RX_L4_CKSUM_BAD, false, false },
		{ "none", RTE_MBUF_F_RX_L4_CKSUM_NONE, true, true },
		{ "of IP only", RTE_MBUF_F_RX_IP_CKSUM_BAD | RTE_MBUF_F_RX_RSS_HASH, true, false },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		struct frame f;
		struct rte_mbuf m;
		struct mqt_pkt pkt;

		check_row = rows[i].name;
		frame_make(&f, V4);
		segment_set(&m, 0, f.data, f.len);
		m.ol_flags = rows[i].flags;
		mqt_pkt_parse(&m, &pkt);
		CHECK_EQ(mqt_pkt_checksum_ok(&m, &pkt), rows[i].right_ok);
		((uint8_t *)m.buf_addr)[f.payload] ^= 1;
		CHECK_EQ(mqt_pkt_checksum_ok(&m, &pkt), rows[i].wrong_ok);
	}
}

/* --- payload ---------------------------------------------------------------------------------- */

static void
test_payload_is_found_in_all_segments(void)
{
	struct frame f;
	struct rte_mbuf m[4];
	struct mqt_pkt pkt;
	uint8_t copy[128];

	frame_make(&f, V6); /* payload of 33, 4 bytes of padding */
	for (uint32_t a = f.payload; a <= f.ip_end; a++) {
		for (uint32_t b = a; b <= f.ip_end; b += 5) {
			uint32_t cuts[3] = { a, b, RTE_MIN(b + 1, f.len) }, len, at = 0;

			chain_set(m, f.data, f.len, cuts, 3);
			CHECK_EQ(mqt_pkt_parse(m, &pkt), MQT_PKT_TCP);
			memset(copy, 0xaa, sizeof(copy));
			mqt_pkt_payload_copy(m, &pkt, 0, pkt.payload_len, copy);
			CHECK_MEM(copy, f.data + f.payload, pkt.payload_len);
			CHECK_EQ(copy[pkt.payload_len], 0xaa);
			memset(copy, 0xaa, sizeof(copy));
			mqt_pkt_payload_copy(m, &pkt, 7, 11, copy);
			CHECK_MEM(copy, f.data + f.payload + 7, 11);
			CHECK_EQ(copy[11], 0xaa);
			while (at < pkt.payload_len) {
				const uint8_t *p = mqt_pkt_payload_at(m, &pkt, at, &len);

				CHECK(len > 0 && at + len <= pkt.payload_len);
				if (len == 0 || at + len > pkt.payload_len)
					break;
				CHECK_MEM(p, f.data + f.payload + at, len);
				at += len;
			}
			CHECK(mqt_pkt_payload_at(m, &pkt, pkt.payload_len, &len) == NULL);
			CHECK_EQ(len, 0);
			CHECK(mqt_pkt_payload_at(m, &pkt, UINT32_MAX, &len) == NULL);
			CHECK_EQ(len, 0);
		}
	}
}

/* --- options ---------------------------------------------------------------------------------- */

static void
test_tcp_options_are_read(void)
{
	static const struct {
		const char *name, *bytes;
		uint8_t len;
		struct mqt_tcp_options want;
	} rows[] = {
		{ "none", "", 0, { 0 } },
		{ "of a SYN", SYN_OPTION, 22,
				{ .has_ts = true,
						.has_wscale = true,
						.wscale = 7,
						.mss = 1460,
						.ts_val = 0x01020304,
						.ts_ecr = 0xf5f6f7f8 } },
		{ "timestamps", TS_OPTION, 12,
				{ .has_ts = true, .ts_val = 0x01020304, .ts_ecr = 0xf5f6f7f8 } },
		{ "timestamps unaligned", "\10\12\1\2\3\4\xf5\xf6\xf7\xf8\1\1", 12,
				{ .has_ts = true, .ts_val = 0x01020304, .ts_ecr = 0xf5f6f7f8 } },
		{ "scale over 14", "\3\3\17\0", 4, { .has_wscale = true, .wscale = 14 } },
		{ "scale 255", "\1\3\3\xff", 4, { .has_wscale = true, .wscale = 14 } },
		{ "scale 14", "\1\3\3\16", 4, { .has_wscale = true, .wscale = 14 } },
		{ "scale 0", "\3\3\0\0", 4, { .has_wscale = true } },
		{ "behind the end", "\0\3\3\7", 4, { 0 } },
		{ "all no-operations", "\1\1\1\1", 4, { 0 } },
		{ "length 0", "\2\0\5\xb4\3\3\7\1", 8, { 0 } },
		{ "length 1", "\2\1\5\xb4\3\3\7\1", 8, { 0 } },
		{ "length out of the header", "\3\3\7\2\4\5\xb4\2", 8,
				{ .has_wscale = true, .wscale = 7, .mss = 1460 } },
		{ "length over the end", "\3\3\7\2\6\5\xb4\1", 8,
				{ .has_wscale = true, .wscale = 7 } },
		{ "kind without length", "\3\3\7\2", 4, { .has_wscale = true, .wscale = 7 } },
		{ "wrong length is skipped", "\2\3\5\3\3\7\1\1", 8,
				{ .has_wscale = true, .wscale = 7 } },
		{ "timestamps of a wrong length", "\10\11\1\2\3\4\xf5\xf6\xf7\3\3\7", 12,
				{ .has_wscale = true, .wscale = 7 } },
		{ "unknown kind", "\xfe\4\1\2\2\4\5\xb4", 8, { .mss = 1460 } },
		{ "MP_CAPABLE", "\x1e\4\1\x81", 4, { .mptcp = true } },
		{ "MP_JOIN", "\x1e\14\x10\1\0\0\0\0\0\0\0\0", 12, { .mptcp = true } },
		{ "DSS of MPTCP", "\x1e\4\x20\1", 4, { 0 } },
		{ "MPTCP without a subtype", "\x1e\2\1\1", 4, { 0 } },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		struct spec s = { rows[i].name, { 0 }, 4, 0, { 0 }, 0, rows[i].bytes, rows[i].len,
			0, 0 };
		struct mqt_tcp_options got;
		struct frame f;
		struct rte_mbuf m;
		struct mqt_pkt pkt;

		check_row = rows[i].name;
		frame_make(&f, &s);
		segment_set(&m, 0, f.data, f.len);
		CHECK_EQ(mqt_pkt_parse(&m, &pkt), MQT_PKT_TCP);
		memset(&got, 0xaa, sizeof(got));
		mqt_pkt_tcp_options(&m, &pkt, &got);
		CHECK_EQ(got.has_ts, rows[i].want.has_ts);
		CHECK_EQ(got.has_wscale, rows[i].want.has_wscale);
		CHECK_EQ(got.mptcp, rows[i].want.mptcp);
		CHECK_EQ(got.wscale, rows[i].want.wscale);
		CHECK_EQ(got.mss, rows[i].want.mss);
		CHECK_EQ(got.ts_val, rows[i].want.ts_val);
		CHECK_EQ(got.ts_ecr, rows[i].want.ts_ecr);
	}
}

/* --- sequence numbers ------------------------------------------------------------------------- */

static void
test_sequence_numbers_wrap(void)
{
	static const struct {
		uint32_t a, b;
		int want;
	} rows[] = {
		{ 0, 0, 0 },
		{ 1, 0, 1 },
		{ 0, 1, -1 },
		{ 0, 0xffffffff, 1 },
		{ 0xffffffff, 0, -1 },
		{ 0x7fffffff, 0, 1 },
		{ 0x80000001, 0, -1 },
		{ 5, 0xfffffff0, 1 },
	};

	for (size_t i = 0; i < LEN(rows); i++)
		CHECK_EQ(mqt_seq_cmp(rows[i].a, rows[i].b), rows[i].want);
}

static CU_TestInfo tests[] = {
	TEST(test_every_wrong_byte_breaks_the_checksum),
	TEST(test_checksum_spans_odd_segments),
	TEST(test_the_ports_verdict_is_taken),
	TEST(test_payload_is_found_in_all_segments),
	TEST(test_tcp_options_are_read),
	TEST(test_sequence_numbers_wrap),
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
