/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Unit tests of lib/packet. Frames are put together byte by byte below, by code that shares
 * nothing with the module; each ends exactly at a page that cannot be read, so that one byte read
 * too far ends the test in every build.
 */
#include "check.h"
#include "eal.h"
#include "mqtrack/packet.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_errno.h>

#define LEN(a)    (sizeof(a) / sizeof((a)[0]))
#define FRAME_MAX 2048

/* --- memory that ends at a guard page --------------------------------------------------------- */

enum {
	N_GUARDS = 4
};

static uint8_t *guard_end[N_GUARDS]; /* first unreadable byte of each */

static int
guards_init(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (unsigned i = 0; i < N_GUARDS; i++) {
		uint8_t *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED || mprotect(p + page, page, PROT_NONE) != 0)
			return -1;
		guard_end[i] = p + page;
	}
	return 0;
}

/* An mbuf segment that holds exactly these bytes, in front of guard i. */
static void
segment_set(struct rte_mbuf *m, unsigned i, const uint8_t *data, uint32_t len)
{
	memset(m, 0, sizeof(*m));
	m->buf_addr = guard_end[i] - len;
	m->buf_len = (uint16_t)len;
	m->data_len = (uint16_t)len;
	m->pkt_len = len;
	m->nb_segs = 1;
	memcpy(m->buf_addr, data, len);
}

/* The frame cut into segments at the given places, in order. */
static void
chain_set(struct rte_mbuf *m, const uint8_t *data, uint32_t len, const uint32_t *cuts, unsigned n)
{
	uint32_t from = 0;

	for (unsigned i = 0; i <= n; i++) {
		uint32_t to = i < n ? cuts[i] : len;

		segment_set(&m[i], i, data + from, to - from);
		if (i)
			m[i - 1].next = &m[i];
		from = to;
	}
	m[0].pkt_len = len;
	m[0].nb_segs = (uint16_t)(n + 1);
}

/* --- frames ----------------------------------------------------------------------------------- */

struct frame {
	uint8_t data[FRAME_MAX];
	uint32_t len;
	uint32_t l3, l4, payload; /* offsets */
	uint32_t ip_end;
};

static void
put(struct frame *f, const void *bytes, uint32_t len)
{
	memcpy(f->data + f->len, bytes, len);
	f->len += len;
}

static void
put8(struct frame *f, unsigned v)
{
	f->data[f->len++] = (uint8_t)v;
}

static void
put16(struct frame *f, unsigned v)
{
	put8(f, v >> 8);
	put8(f, v);
}

static void
put32(struct frame *f, uint32_t v)
{
	put16(f, v >> 16);
	put16(f, v & 0xffff);
}

static void
set16(struct frame *f, uint32_t off, unsigned v)
{
	f->data[off] = (uint8_t)(v >> 8);
	f->data[off + 1] = (uint8_t)v;
}

/* RFC 1071 as the text of it says: 16-bit words, big endian, carries added at each step. */
static unsigned
plain_sum(unsigned sum, const uint8_t *p, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		sum += i % 2 ? p[i] : (unsigned)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

/* Sum over pseudo header and segment: 0xffff where the checksum field is right. */
static unsigned
tcp_sum(const uint8_t *data, uint32_t l3, uint32_t l4, uint32_t end, unsigned version)
{
	uint8_t tail[4] = { 0, 6, (uint8_t)((end - l4) >> 8), (uint8_t)(end - l4) };
	unsigned sum = version == 4 ? plain_sum(0, data + l3 + 12, 8)
				    : plain_sum(0, data + l3 + 8, 32);

	return plain_sum(plain_sum(sum, tail, sizeof(tail)), data + l4, end - l4);
}

/* What a frame is made of. */
struct spec {
	const char *name;
	uint16_t tags[3];   /* TPIDs, outermost first; 0 ends */
	uint8_t version;    /* 4 or 6 */
	uint8_t ip_options; /* bytes of IPv4 options, a multiple of 4 */
	uint8_t extensions
			[9]; /* IPv6 next-header numbers + 1, so that 0 ends and 1 is hop-by-hop */
	uint8_t ext_words;   /* 8-byte units of each beyond the first */
	const char *options; /* TCP options */
	uint8_t options_len;
	uint16_t payload_len;
	uint16_t padding;
};

#define TS_OPTION  "\1\1\10\12\1\2\3\4\xf5\xf6\xf7\xf8"
#define SYN_OPTION "\2\4\5\xb4\1\3\3\7\4\2" TS_OPTION /* MSS 1460, scale 7, SACK, timestamps */

static const struct spec specs[] = {
	{ "IPv4", { 0 }, 4, 0, { 0 }, 0, "", 0, 0, 0 },
	{ "IPv4 padded to 60 bytes", { 0 }, 4, 0, { 0 }, 0, "", 0, 0, 6 },
	{ "IPv4 payload of 1", { 0 }, 4, 0, { 0 }, 0, "", 0, 1, 5 },
	{ "IPv4 payload", { 0 }, 4, 0, { 0 }, 0, TS_OPTION, 12, 77, 0 },
	{ "IPv4 options", { 0 }, 4, 40, { 0 }, 0, SYN_OPTION, 22, 10, 3 },
	{ "IPv4 VLAN", { 0x8100 }, 4, 0, { 0 }, 0, TS_OPTION, 12, 9, 0 },
	{ "IPv4 QinQ", { 0x88a8, 0x8100 }, 4, 4, { 0 }, 0, TS_OPTION, 12, 9, 2 },
	{ "IPv4 old QinQ", { 0x9100, 0x8100 }, 4, 0, { 0 }, 0, "", 0, 9, 0 },
	{ "IPv6", { 0 }, 6, 0, { 0 }, 0, "", 0, 0, 0 },
	{ "IPv6 payload", { 0 }, 6, 0, { 0 }, 0, TS_OPTION, 12, 33, 4 },
	{ "IPv6 VLAN", { 0x8100 }, 6, 0, { 0 }, 0, SYN_OPTION, 22, 0, 0 },
	{ "IPv6 hop-by-hop", { 0 }, 6, 0, { 1 }, 0, "", 0, 5, 0 },
	{ "IPv6 three extensions, QinQ", { 0x8100, 0x8100 }, 6, 0, { 1, 44, 61 }, 2, TS_OPTION, 12,
			5, 1 },
	{ "IPv6 eight extensions", { 0 }, 6, 0, { 1, 61, 61, 61, 61, 61, 44, 61 }, 0, "", 0, 5, 0 },
};

static void
frame_put_ipv4(struct frame *f, const struct spec *s, uint32_t tcp_len)
{
	put8(f, 0x45 + s->ip_options / 4);
	put8(f, 0);
	put16(f, 20 + s->ip_options + tcp_len);
	put16(f, 0x1234);
	put16(f, 0x4000);
	put8(f, 57);
	put8(f, 6);
	put16(f, 0);
	put(f, "\xc6\x33\x64\7", 4); /* 198.51.100.7 */
	put(f, "\xc0\0\2\1", 4);     /* 192.0.2.1 */
	for (unsigned i = 0; i < s->ip_options; i++)
		put8(f, 1);
	set16(f, f->l3 + 10, ~plain_sum(0, f->data + f->l3, 20 + s->ip_options));
}

static void
frame_put_ipv6(struct frame *f, const struct spec *s, uint32_t tcp_len)
{
	unsigned ext_len = 8 + s->ext_words * 8u, n = 0;

	while (n < sizeof(s->extensions) && s->extensions[n])
		n++;
	put32(f, 0x60012345);
	put16(f, n * ext_len + tcp_len);
	put8(f, n ? s->extensions[0] - 1u : 6);
	put8(f, 57);
	put(f, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7", 16);
	put(f, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	for (unsigned i = 0; i < n; i++) {
		put8(f, i + 1 < n ? s->extensions[i + 1] - 1u : 6);
		put8(f, s->ext_words);
		put8(f, 1); /* PadN, or a routing type */
		put8(f, 0); /* its length, or segments left */
		for (unsigned j = 4; j < ext_len; j++)
			put8(f, 0);
	}
}

static void
frame_make(struct frame *f, const struct spec *s)
{
	uint32_t tcp_len = 20 + (s->options_len + 3u) / 4 * 4 + s->payload_len;

	memset(f, 0, sizeof(*f));
	put(f, "\2\0\0\0\0\1\2\0\0\0\0\2", 12);
	for (unsigned i = 0; i < LEN(s->tags) && s->tags[i]; i++) {
		put16(f, s->tags[i]);
		put16(f, 100 + i);
	}
	put16(f, s->version == 4 ? 0x0800 : 0x86dd);
	f->l3 = f->len;
	if (s->version == 4)
		frame_put_ipv4(f, s, tcp_len);
	else
		frame_put_ipv6(f, s, tcp_len);
	f->l4 = f->len;
	put16(f, 40000);
	put16(f, 1883);
	put32(f, 0xfffffff0);
	put32(f, 0x80000001);
	put8(f, (tcp_len - s->payload_len) / 4 << 4);
	put8(f, 0xc0 | MQT_TCP_PSH | MQT_TCP_ACK); /* with both ECN bits */
	put16(f, 0xabcd);
	put32(f, 0);
	put(f, s->options, s->options_len);
	while ((f->len - f->l4) % 4)
		put8(f, 0);
	f->payload = f->len;
	for (unsigned i = 0; i < s->payload_len; i++)
		put8(f, 0xf0 + i * 7);
	f->ip_end = f->len;
	set16(f, f->l4 + 16, ~tcp_sum(f->data, f->l3, f->l4, f->ip_end, s->version));
	for (unsigned i = 0; i < s->padding; i++)
		put8(f, 0xee);
}

/* --- the view --------------------------------------------------------------------------------- */

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

#define V4     (&specs[3]) /* IPv4, timestamps, payload of 77: total length 129 */
#define V4_PAD (&specs[1]) /* total length 40, 6 bytes of padding */
#define V6     (&specs[9])
#define V6_EXT (&specs[11])

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
test_extension_headers_and_tags_are_bounded(void)
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
	CHECK_EQ(mqt_pkt_parse(&m, &pkt), MQT_PKT_MALFORMED);
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

/* ---------------------------------------------------------------------------------------------- */

#define TEST(fn)                                                                                   \
	{                                                                                          \
#fn, fn                                                                            \
	}

static CU_TestInfo tests[] = {
	TEST(test_frames_are_understood),
	TEST(test_frames_cut_anywhere_are_not_tcp),
	TEST(test_frames_in_two_segments_are_the_same),
	TEST(test_contradicting_lengths_are_malformed),
	TEST(test_routing_with_segments_left_is_not_the_flow),
	TEST(test_extension_headers_and_tags_are_bounded),
	TEST(test_damaged_frames_are_never_read_out_of_bounds),
	TEST(test_every_wrong_byte_breaks_the_checksum),
	TEST(test_checksum_spans_odd_segments),
	TEST(test_the_ports_verdict_is_taken),
	TEST(test_payload_is_found_in_all_segments),
	TEST(test_tcp_options_are_read),
	TEST(test_sequence_numbers_wrap),
	CU_TEST_INFO_NULL,
};

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

int
main(void)
{
	CU_SuiteInfo suites[] = {
		{ "packet", NULL, NULL, NULL, NULL, tests },
		{ "segment", pool_create, pool_destroy, NULL, NULL, segment_tests },
		CU_SUITE_INFO_NULL,
	};

	if (guards_init() != 0 || eal_start("packet") < 0)
		return 2;
	return eal_stop(check_run(suites));
}
