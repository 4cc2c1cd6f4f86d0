/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_PACKET_RIG_H
#define TESTS_UNIT_PACKET_RIG_H

/*
 * What tests of lib/packet share. Frames are put together byte by byte, by code that shares nothing
 * with the module; each ends exactly at a page that cannot be read, so that one byte read too far ends
 * the test in every build.
 */

#include "check.h"
#include "eal.h"
#include "mqtrack/packet.h"

#include <sys/mman.h>
#include <unistd.h>

#define LEN(a)    (sizeof(a) / sizeof((a)[0]))
#define FRAME_MAX 2048

enum {
	N_GUARDS = 4
};

static uint8_t *guard_end[N_GUARDS]; /* first unreadable byte of each */

static inline int
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
static inline void
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
static inline void
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

struct frame {
	uint8_t data[FRAME_MAX];
	uint32_t len;
	uint32_t l3, l4, payload; /* offsets */
	uint32_t ip_end;
};

static inline void
put(struct frame *f, const void *bytes, uint32_t len)
{
	memcpy(f->data + f->len, bytes, len);
	f->len += len;
}

static inline void
put8(struct frame *f, unsigned v)
{
	f->data[f->len++] = (uint8_t)v;
}

static inline void
put16(struct frame *f, unsigned v)
{
	put8(f, v >> 8);
	put8(f, v);
}

static inline void
put32(struct frame *f, uint32_t v)
{
	put16(f, v >> 16);
	put16(f, v & 0xffff);
}

static inline void
set16(struct frame *f, uint32_t off, unsigned v)
{
	f->data[off] = (uint8_t)(v >> 8);
	f->data[off + 1] = (uint8_t)v;
}

/* RFC 1071 as the text of it says: 16-bit words, big endian, carries added at each step. */
static inline unsigned
plain_sum(unsigned sum, const uint8_t *p, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		sum += i % 2 ? p[i] : (unsigned)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

/* Sum over pseudo header and segment: 0xffff where the checksum field is right. */
static inline unsigned
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

static inline void
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

static inline void
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

static inline void
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

#define V4     (&specs[3]) /* IPv4, timestamps, payload of 77: total length 129 */
#define V4_PAD (&specs[1]) /* total length 40, 6 bytes of padding */
#define V6     (&specs[9])
#define V6_EXT (&specs[11])

#define TEST(fn)                                                                                   \
	{                                                                                          \
#fn, fn                                                                            \
	}

/* Runs the suites with EAL. Exit status of main. */
static inline int
rig_run(CU_SuiteInfo *suites)
{
	if (guards_init() != 0 || eal_start("packet") < 0)
		return 2;
	return eal_stop(check_run(suites));
}

#endif
