/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Segments that are built, and the keys of flows.
 */
#include "packet_rig.h"

#include <stdlib.h>

/* --- segments --------------------------------------------------------------------------------- */

static struct rte_mempool *pool;

static struct mqt_endpoint
endpoint(const char *ip, uint16_t port)
{
	struct mqt_endpoint ep;

	if (mqt_endpoint_parse_ip(ip, &ep) != 0) {
		printf("\n    bad address in a table: %s\n", ip);
		abort();
	}
	ep.port = port;
	return ep;
}

static struct mqt_segment
segment(const char *src, const char *dst, unsigned n_tags)
{
	struct mqt_segment seg = {
		.l2 = "\2\0\0\0\0\1\2\0\0\0\0\2",
		.l2_len = (uint8_t)(14 + n_tags * 4),
		.tcp_flags = MQT_TCP_ACK | MQT_TCP_PSH,
		.window = 513,
		.src = endpoint(src, 1883),
		.dst = endpoint(dst, 65535),
		.seq = 0xfffffffe,
		.ack = 0x80000000,
		.ts_val = 0xdeadbeef,
		.ts_ecr = 0x00000001,
	};
	unsigned off = 12;

	for (unsigned i = 0; i < n_tags; i++, off += 4)
		memcpy(seg.l2 + off, "\x81\0\0\x64", 4);
	memcpy(seg.l2 + off, seg.src.version == 4 ? "\x08\0" : "\x86\xdd", 2);
	return seg;
}

static void
check_built(const struct mqt_segment *seg)
{
	struct rte_mbuf *m = mqt_segment_build(pool, seg);
	struct mqt_endpoint src, dst;
	struct mqt_tcp_options options;
	struct mqt_pkt pkt;
	uint8_t payload[2048];
	const uint8_t *data, *ip;

	CHECK(m != NULL);
	if (!m)
		return;
	data = rte_pktmbuf_mtod(m, const uint8_t *);
	ip = data + seg->l2_len;
	CHECK_EQ(m->nb_segs, 1);
	CHECK_EQ(m->ol_flags, 0);
	CHECK_EQ(mqt_pkt_parse(m, &pkt), MQT_PKT_TCP);
	CHECK_MEM(data, seg->l2, seg->l2_len);
	CHECK_EQ(pkt.l2_len, seg->l2_len);
	CHECK_EQ(pkt.ip_version, seg->src.version);
	CHECK_EQ(pkt.tcp_flags, seg->tcp_flags);
	CHECK_EQ(pkt.window, seg->window);
	CHECK_EQ(pkt.seq, seg->seq);
	CHECK_EQ(pkt.ack, seg->ack);
	CHECK_EQ(pkt.payload_len, seg->payload_len);
	CHECK_EQ(pkt.payload_off + pkt.payload_len, m->pkt_len);
	mqt_pkt_endpoints(m, &pkt, &src, &dst);
	CHECK(mqt_endpoint_equal(&src, &seg->src));
	CHECK(mqt_endpoint_equal(&dst, &seg->dst));
	mqt_pkt_tcp_options(m, &pkt, &options);
	CHECK_EQ(options.has_ts, seg->has_ts);
	CHECK_EQ(options.ts_val, seg->has_ts ? seg->ts_val : 0);
	CHECK_EQ(options.ts_ecr, seg->has_ts ? seg->ts_ecr : 0);
	CHECK_EQ(pkt.payload_off - pkt.l4_off, seg->has_ts ? 32 : 20);
	if (seg->has_ts)
		CHECK_MEM(data + pkt.l4_off + 20, "\1\1\10\12", 4);
	mqt_pkt_payload_copy(m, &pkt, 0, pkt.payload_len, payload);
	if (seg->payload_len)
		CHECK_MEM(payload, seg->payload, seg->payload_len);
	/* the headers in full, and both checksums by the test's own sum */
	CHECK_EQ(tcp_sum(data, pkt.l3_off, pkt.l4_off, m->pkt_len, pkt.ip_version), 0xffff);
	CHECK_MEM(data + pkt.l4_off + 18, "\0\0", 2);
	if (pkt.ip_version == 4) {
		CHECK_EQ(ip[0], 0x45);
		CHECK_EQ(ip[1], 0);
		CHECK_EQ(ip[6], 0x40);
		CHECK_EQ(ip[8], 64);
		CHECK_EQ(plain_sum(0, ip, 20), 0xffff);
	} else {
		CHECK_MEM(ip, "\x60\0\0\0", 4);
		CHECK_EQ(ip[7], 64);
	}
	CHECK(mqt_pkt_checksum_ok(m, &pkt));
	rte_pktmbuf_free(m);
}

static void
test_segments_are_read_back(void)
{
	static uint8_t payload[1024];
	static const uint16_t lens[] = { 0, 1, 2, 3, 4, 5, 255, 1023, 1024 };

	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(0xff - i % 3);
	for (unsigned row = 0; row < 12 * LEN(lens); row++) {
		bool v6 = row & 1;
		struct mqt_segment seg = segment(v6 ? "2001:db8::1" : "192.0.2.1",
				v6 ? "fe80::ffff" : "255.255.255.255", row / 4 % 3);
		char name[64];

		seg.has_ts = row >> 1 & 1;
		seg.payload_len = lens[row / 12];
		seg.payload = seg.payload_len ? payload : NULL;
		if (seg.payload_len == 3)
			seg.tcp_flags = MQT_TCP_FIN | MQT_TCP_ACK;
		if (seg.payload_len == 0)
			seg.tcp_flags = MQT_TCP_RST;
		snprintf(name, sizeof(name), "IPv%d tags %u ts %d payload %u", v6 ? 6 : 4,
				row / 4 % 3, seg.has_ts, seg.payload_len);
		check_row = name;
		check_built(&seg);
		check_row = "";
	}
}

/* A checksum that comes out as 0 is sent as it is, and 0xffff does not take its place. */
static void
test_segment_checksum_may_be_zero(void)
{
	struct mqt_segment seg = segment("192.0.2.1", "192.0.2.2", 0);
	unsigned n_zero = 0;

	for (uint32_t ack = 0; ack < 65536; ack++) {
		struct rte_mbuf *m;
		const uint8_t *tcp;

		seg.ack = ack;
		m = mqt_segment_build(pool, &seg);
		CHECK(m != NULL);
		if (!m)
			return;
		tcp = rte_pktmbuf_mtod_offset(m, const uint8_t *, 34);
		n_zero += tcp[16] == 0 && tcp[17] == 0;
		CHECK_EQ(tcp_sum(rte_pktmbuf_mtod(m, const uint8_t *), 14, 34, m->pkt_len, 4),
				0xffff);
		rte_pktmbuf_free(m);
	}
	CHECK(n_zero > 0);
}

static void
test_segments_that_cannot_be_are_refused(void)
{
	static uint8_t payload[UINT16_MAX];
	struct mqt_segment good = segment("192.0.2.1", "192.0.2.2", 0), seg;
	unsigned before = rte_mempool_avail_count(pool);
	uint16_t room = (uint16_t)(rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM);
	struct rte_mbuf *m;

	good.payload = payload;
	check_built(&good);
	seg = good;
	seg.payload_len = (uint16_t)(room - 54);
	m = mqt_segment_build(pool, &seg); /* exactly full */
	CHECK(m != NULL);
	rte_pktmbuf_free(m);
	seg.payload_len++;
	CHECK(mqt_segment_build(pool, &seg) == NULL);
	seg.payload_len = UINT16_MAX;
	CHECK(mqt_segment_build(pool, &seg) == NULL);
	seg = good;
	seg.dst = endpoint("2001:db8::1", 1);
	CHECK(mqt_segment_build(pool, &seg) == NULL);
	seg = good;
	seg.src.version = seg.dst.version = 0;
	CHECK(mqt_segment_build(pool, &seg) == NULL);
	seg = good;
	seg.l2_len = 13;
	CHECK(mqt_segment_build(pool, &seg) == NULL);
	seg.l2_len = MQT_L2_MAX + 1;
	CHECK(mqt_segment_build(pool, &seg) == NULL);
	seg = good;
	seg.payload = NULL;
	seg.payload_len = 1;
	CHECK(mqt_segment_build(pool, &seg) == NULL);
	CHECK_EQ(rte_mempool_avail_count(pool), before);
}

static void
test_an_empty_pool_builds_nothing(void)
{
	struct mqt_segment seg = segment("192.0.2.1", "192.0.2.2", 0);
	struct rte_mbuf *all[256];
	unsigned n = 0;

	while (n < LEN(all) && (all[n] = rte_pktmbuf_alloc(pool)) != NULL)
		n++;
	CHECK(n < LEN(all));
	CHECK(mqt_segment_build(pool, &seg) == NULL);
	rte_pktmbuf_free_bulk(all, n);
	check_built(&seg);
}

/* --- flow keys -------------------------------------------------------------------------------- */

/* Parses a segment of these ends and makes its key. @return whether the source is the lower. */
static int
key_of(const struct mqt_endpoint *src, const struct mqt_endpoint *dst, struct mqt_flow_key *key)
{
	struct mqt_segment seg = { .src = *src, .dst = *dst, .l2_len = 14 };
	struct rte_mbuf *m;
	struct mqt_pkt pkt;
	int src_low;

	memcpy(seg.l2 + 12, src->version == 4 ? "\x08\0" : "\x86\xdd", 2);
	memset(key, 0xaa, sizeof(*key));
	m = mqt_segment_build(pool, &seg);
	CHECK(m != NULL);
	if (!m)
		return -1;
	CHECK_EQ(mqt_pkt_parse(m, &pkt), MQT_PKT_TCP);
	src_low = mqt_flow_key_of(m, &pkt, key);
	rte_pktmbuf_free(m);
	return src_low;
}

static void
test_flow_keys_are_symmetric_and_distinct(void)
{
	static const struct {
		const char *src, *dst;
		uint16_t src_port, dst_port;
		int src_low;
	} rows[] = {
		{ "192.0.2.1", "192.0.2.2", 1, 2, 1 },
		{ "192.0.2.1", "192.0.2.2", 2, 1, 1 },
		{ "192.0.2.1", "192.0.2.1", 1, 2, 1 },
		{ "192.0.2.1", "192.0.2.1", 256, 1, 0 },
		{ "192.0.2.1", "192.0.2.1", 255, 256, 1 },
		{ "1.0.0.2", "2.0.0.1", 1, 2, 1 },
		{ "2.0.0.1", "1.0.0.2", 2, 2, 0 },
		{ "0.0.0.0", "255.255.255.255", 65535, 0, 1 },
		{ "2001:db8::1", "2001:db8::2", 1, 2, 1 },
		{ "2001:db8::2", "2001:db8::1", 1, 2, 0 },
		{ "::1:0", "::2", 1, 2, 0 },
		{ "2001:db8::1", "2001:db8::1", 2, 1, 0 },
		{ "fe80::", "1::", 65535, 65534, 0 },
	};
	struct mqt_flow_key keys[LEN(rows)];

	for (size_t i = 0; i < LEN(rows); i++) {
		struct mqt_endpoint src = endpoint(rows[i].src, rows[i].src_port);
		struct mqt_endpoint dst = endpoint(rows[i].dst, rows[i].dst_port);
		struct mqt_flow_key back;
		const uint8_t *bytes = (const uint8_t *)&keys[i];

		check_row = rows[i].src;
		CHECK_EQ(key_of(&src, &dst, &keys[i]), rows[i].src_low);
		CHECK_EQ(key_of(&dst, &src, &back), !rows[i].src_low);
		CHECK_MEM(&keys[i], &back, sizeof(back));
		for (size_t at = src.version == 4 ? 12 : 36; at < sizeof(keys[i]); at++)
			CHECK_EQ(bytes[at], 0);
		for (size_t j = 0; j < i; j++)
			CHECK(memcmp(&keys[i], &keys[j], sizeof(keys[i])) != 0);
	}
}

static void
test_flow_keys_hold_the_lower_end_first(void)
{
	struct mqt_endpoint low = endpoint("1.2.3.4", 0x0506),
			    high = endpoint("11.12.13.14", 0x0102);
	struct mqt_flow_key key;

	CHECK_EQ(key_of(&high, &low, &key), 0);
	CHECK_MEM(&key, "\1\2\3\4\13\14\15\16\5\6\1\2\0\0\0\0", MQT_FLOW_KEY_V4_LEN);
	low = endpoint("::1", 0x0506);
	high = endpoint("::2", 0x0102);
	CHECK_EQ(key_of(&high, &low, &key), 0);
	CHECK_EQ(key.v6.ip[0][15], 1);
	CHECK_EQ(key.v6.ip[1][15], 2);
	CHECK_MEM(key.v6.port_be, "\5\6\1\2", 4);
}

static void
test_a_flow_between_equal_ends_has_one_key(void)
{
	struct mqt_endpoint end = endpoint("192.0.2.1", 7);
	struct mqt_flow_key key;

	CHECK_EQ(key_of(&end, &end, &key), 1);
}

/* ---------------------------------------------------------------------------------------------- */

static int
pool_create(void)
{
	pool = rte_pktmbuf_pool_create(
			"packet", 63, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	return pool ? 0 : -1;
}

static int
pool_destroy(void)
{
	rte_mempool_free(pool);
	return 0;
}

static CU_TestInfo segment_tests[] = {
	TEST(test_segments_are_read_back),
	TEST(test_segment_checksum_may_be_zero),
	TEST(test_segments_that_cannot_be_are_refused),
	TEST(test_an_empty_pool_builds_nothing),
	TEST(test_flow_keys_are_symmetric_and_distinct),
	TEST(test_flow_keys_hold_the_lower_end_first),
	TEST(test_a_flow_between_equal_ends_has_one_key),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "segment", pool_create, pool_destroy, NULL, NULL, segment_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
