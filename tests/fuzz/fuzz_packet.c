/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * View of a frame. The first two bytes of an input say where the frame behind them is cut into two
 * mbuf segments. What a view says lies in the frame and agrees with its bytes; it is the same
 * however the payload is cut; both directions have one flow key; the checksum is right where a plain
 * sum says so.
 */

#include "fuzz.h"
#include "mqtrack/packet.h"

/* A frame in one or two segments, each in an allocation of its own size; no pool is needed. */
struct frame {
	struct rte_mbuf segs[2];
	uint8_t *bytes[2];
};

static void
segment_init(struct frame *f, unsigned i, const uint8_t *data, size_t len)
{
	struct rte_mbuf *m = &f->segs[i];

	f->bytes[i] = fuzz_copy(data, len);
	memset(m, 0, sizeof(*m));
	m->buf_addr = f->bytes[i];
	m->buf_len = m->data_len = (uint16_t)len;
	m->pkt_len = (uint32_t)len;
	m->nb_segs = 1;
}

/* @cut: bytes in the first segment; @size: one segment. */
static const struct rte_mbuf *
frame_init(struct frame *f, const uint8_t *data, size_t size, size_t cut)
{
	segment_init(f, 0, data, cut);
	f->bytes[1] = NULL;
	if (cut < size) {
		segment_init(f, 1, data + cut, size - cut);
		f->segs[0].next = &f->segs[1];
		f->segs[0].nb_segs = 2;
		f->segs[0].pkt_len = (uint32_t)size;
	}
	return &f->segs[0];
}

static void
frame_fini(struct frame *f)
{
	free(f->bytes[0]);
	free(f->bytes[1]);
}

static uint32_t
be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t
be32(const uint8_t *p)
{
	return be16(p) << 16 | be16(p + 2);
}

static uint32_t
sum16(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

/* RFC 1071 over pseudo header and segment, folded: 0xffff where the checksum is right. */
static uint16_t
tcp_sum(const uint8_t *data, const struct mqt_pkt *pkt)
{
	uint32_t tcp_len = pkt->payload_off - pkt->l4_off + pkt->payload_len, sum;

	sum = pkt->ip_version == 4 ? sum16(data + pkt->l3_off + 12, 8)
				   : sum16(data + pkt->l3_off + 8, 32);
	sum += (tcp_len >> 16) + (tcp_len & 0xffff) + 6;
	sum += sum16(data + pkt->l4_off, tcp_len);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void
check_fields(const uint8_t *data, size_t size, const struct mqt_pkt *pkt)
{
	const uint8_t *tcp = data + pkt->l4_off;

	FUZZ_CHECK(pkt->l2_len >= 14 && pkt->l2_len <= MQT_L2_MAX && pkt->l3_off == pkt->l2_len);
	FUZZ_CHECK(pkt->ip_version == data[pkt->l3_off] >> 4);
	FUZZ_CHECK(pkt->ip_version == 4 || pkt->ip_version == 6);
	FUZZ_CHECK(pkt->l4_off >= pkt->l3_off + (pkt->ip_version == 4 ? 20 : 40));
	FUZZ_CHECK(pkt->payload_off == pkt->l4_off + (tcp[12] >> 4) * 4);
	FUZZ_CHECK(pkt->payload_off >= pkt->l4_off + 20);
	FUZZ_CHECK((size_t)pkt->payload_off + pkt->payload_len <= size);
	FUZZ_CHECK(pkt->src_port == be16(tcp) && pkt->dst_port == be16(tcp + 2));
	FUZZ_CHECK(pkt->seq == be32(tcp + 4) && pkt->ack == be32(tcp + 8));
	FUZZ_CHECK((pkt->tcp_flags & 0x3f) == (tcp[13] & 0x3f) && pkt->window == be16(tcp + 14));
}

static void
check_payload(const struct rte_mbuf *m, const struct mqt_pkt *pkt, const uint8_t *payload)
{
	uint8_t *copy = malloc(pkt->payload_len ? pkt->payload_len : 1);
	uint32_t len = 0, off, middle = pkt->payload_len / 3;
	const uint8_t *part;

	FUZZ_CHECK(copy != NULL);
	for (off = 0; off < pkt->payload_len; off += len) {
		part = mqt_pkt_payload_at(m, pkt, off, &len);
		FUZZ_CHECK(len > 0 && len <= pkt->payload_len - off);
		FUZZ_CHECK(memcmp(part, payload + off, len) == 0);
	}
	mqt_pkt_payload_at(m, pkt, pkt->payload_len, &len);
	FUZZ_CHECK(len == 0);
	mqt_pkt_payload_copy(m, pkt, 0, pkt->payload_len, copy);
	FUZZ_CHECK(pkt->payload_len == 0 || memcmp(copy, payload, pkt->payload_len) == 0);
	mqt_pkt_payload_copy(m, pkt, middle, pkt->payload_len - middle, copy);
	FUZZ_CHECK(pkt->payload_len == middle ||
			memcmp(copy, payload + middle, pkt->payload_len - middle) == 0);
	free(copy);
}

/* Whether both say the same; compared by field, for the structure may have padding. */
static bool
options_equal(const struct mqt_tcp_options *a, const struct mqt_tcp_options *b)
{
	return a->has_ts == b->has_ts && a->has_wscale == b->has_wscale && a->mptcp == b->mptcp &&
			a->wscale == b->wscale && a->mss == b->mss && a->ts_val == b->ts_val &&
			a->ts_ecr == b->ts_ecr;
}

/* The frame cut at @p cut has the view @p whole, or is not TCP where its headers are cut. */
static void
check_cut(const uint8_t *data, size_t size, size_t cut, const struct mqt_pkt *whole,
		const struct mqt_tcp_options *whole_options)
{
	struct mqt_tcp_options options;
	struct mqt_pkt pkt;
	struct frame f;
	const struct rte_mbuf *m = frame_init(&f, data, size, cut);

	FUZZ_CHECK(mqt_pkt_parse(m, &pkt) == pkt.kind);
	if (whole->kind == MQT_PKT_TCP && cut >= whole->payload_off) {
		FUZZ_CHECK(pkt.kind == MQT_PKT_TCP);
		check_fields(data, size, &pkt);
		FUZZ_CHECK(pkt.payload_off == whole->payload_off);
		FUZZ_CHECK(pkt.payload_len == whole->payload_len);
		check_payload(m, &pkt, data + pkt.payload_off);
		mqt_pkt_tcp_options(m, &pkt, &options);
		FUZZ_CHECK(options_equal(&options, whole_options) && options.wscale <= 14);
		FUZZ_CHECK(mqt_pkt_checksum_ok(m, &pkt) == (tcp_sum(data, &pkt) == 0xffff));
	} else {
		FUZZ_CHECK(pkt.kind != MQT_PKT_TCP);
	}
	frame_fini(&f);
}

static void
swap(uint8_t *a, uint8_t *b, size_t len)
{
	uint8_t kept[16];

	memcpy(kept, a, len);
	memcpy(a, b, len);
	memcpy(b, kept, len);
}

/* The answer to this frame has the same key, and its ends the other way round. */
static void
check_key(const struct rte_mbuf *m, const struct mqt_pkt *pkt, const uint8_t *data, size_t size)
{
	struct mqt_endpoint src, dst, back_src, back_dst;
	uint8_t *answer = fuzz_copy(data, size), *ip = answer + pkt->l3_off;
	struct mqt_flow_key key, back_key;
	const struct rte_mbuf *back;
	struct mqt_pkt back_pkt;
	int low, back_low;
	struct frame f;

	if (pkt->ip_version == 4)
		swap(ip + 12, ip + 16, 4);
	else
		swap(ip + 8, ip + 24, 16);
	swap(answer + pkt->l4_off, answer + pkt->l4_off + 2, 2);
	back = frame_init(&f, answer, size, size);
	FUZZ_CHECK(mqt_pkt_parse(back, &back_pkt) == MQT_PKT_TCP);
	mqt_pkt_endpoints(m, pkt, &src, &dst);
	mqt_pkt_endpoints(back, &back_pkt, &back_src, &back_dst);
	FUZZ_CHECK(memcmp(&src, &back_dst, sizeof(src)) == 0);
	FUZZ_CHECK(memcmp(&dst, &back_src, sizeof(dst)) == 0);
	low = mqt_flow_key_of(m, pkt, &key);
	back_low = mqt_flow_key_of(back, &back_pkt, &back_key);
	FUZZ_CHECK(memcmp(&key, &back_key, sizeof(key)) == 0);
	FUZZ_CHECK(low != back_low || memcmp(&src, &dst, sizeof(src)) == 0);
	frame_fini(&f);
	free(answer);
}

/* Writes the right checksum: it is found right, and no longer once a bit is turned. */
static void
check_checksum(const struct mqt_pkt *pkt, const uint8_t *data, size_t size, size_t cut)
{
	uint8_t *right = fuzz_copy(data, size), *tcp = right + pkt->l4_off;
	const struct rte_mbuf *m;
	struct frame f;
	uint16_t sum;

	memset(tcp + 16, 0, 2);
	sum = (uint16_t)~tcp_sum(right, pkt);
	tcp[16] = (uint8_t)(sum >> 8);
	tcp[17] = (uint8_t)sum;
	m = frame_init(&f, right, size, cut);
	FUZZ_CHECK(mqt_pkt_checksum_ok(m, pkt));
	frame_fini(&f);
	tcp[4] ^= 0x10;
	m = frame_init(&f, right, size, cut);
	FUZZ_CHECK(!mqt_pkt_checksum_ok(m, pkt));
	frame_fini(&f);
	free(right);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mqt_tcp_options options = { 0 };
	const struct rte_mbuf *m;
	struct mqt_pkt pkt;
	struct frame f;
	size_t cut;

	if (size < 2 || size > UINT16_MAX)
		return 0;
	cut = be16(data);
	data += 2;
	size -= 2;
	cut %= size + 1;
	m = frame_init(&f, data, size, size);
	mqt_pkt_parse(m, &pkt);
	if (pkt.kind == MQT_PKT_TCP) {
		mqt_pkt_tcp_options(m, &pkt, &options);
		check_key(m, &pkt, data, size);
		check_cut(data, size, pkt.payload_off, &pkt, &options);
		check_checksum(&pkt, data, size, cut > pkt.payload_off ? cut : pkt.payload_off);
	}
	frame_fini(&f);
	check_cut(data, size, size, &pkt, &options);
	check_cut(data, size, cut, &pkt, &options);
	return 0;
}
