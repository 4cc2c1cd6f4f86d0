/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_FRAME_RIG_H
#define TESTS_UNIT_FRAME_RIG_H

/*
 * Frames for tests, put together byte by byte by code that shares nothing with lib/packet: TCP over
 * IPv4 or IPv6 with any tags, options and extension headers, and the fragments of such a frame.
 */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FRAME_MAX 4096

/** What a frame is made of. Ends are 10.0.0.x or 2001:db8::x. */
struct frame_spec {
	bool ip6;
	unsigned n_tags;
	uint16_t tpid[3], tci[3];
	uint8_t src, dst; /* last byte of the address */
	uint16_t sport, dport;
	uint32_t seq;
	uint16_t payload_len; /* bytes that follow from seq */
	uint8_t proto;        /* behind the IP header; 0: TCP, or the first of ext */
	uint8_t ext_len;      /* bytes of IPv4 options or IPv6 extension headers */
	const uint8_t *ext;
};

struct frame {
	uint8_t data[FRAME_MAX];
	unsigned len, l3, l4;
};

static inline uint8_t *
frame_put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

static inline uint8_t *
frame_put32(uint8_t *p, uint32_t v)
{
	return frame_put16(frame_put16(p, v >> 16), v & 0xffff);
}

/** RFC 1071, as its text says. */
static inline unsigned
frame_sum(unsigned sum, const uint8_t *p, unsigned len)
{
	for (unsigned i = 0; i < len; i++) {
		sum += i % 2 ? p[i] : (unsigned)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

/** Writes the IPv4 header checksum anew. */
static inline void
frame_ip_sum(uint8_t *ip)
{
	frame_put16(ip + 10, 0);
	frame_put16(ip + 10, ~frame_sum(0, ip, (ip[0] & 15) * 4u) & 0xffff);
}

static inline uint8_t *
frame_put_ip(uint8_t *p, const struct frame_spec *s)
{
	uint8_t *ip = p;

	memset(p, 0, 40);
	if (s->ip6) {
		p[0] = 0x60;
		frame_put16(p + 4, s->ext_len + 20u + s->payload_len);
		p[6] = s->proto ? s->proto : 6;
		p[7] = 64;
		memcpy(p + 8, (uint8_t[]){ 0x20, 0x01, 0x0d, 0xb8 }, 4);
		memcpy(p + 24, p + 8, 4);
		p[23] = s->src;
		p[39] = s->dst;
		p += 40;
	} else {
		p[0] = (uint8_t)(0x45 + s->ext_len / 4);
		frame_put16(p + 2, 40u + s->ext_len + s->payload_len);
		p[8] = 64;
		p[9] = s->proto ? s->proto : 6;
		p[12] = p[16] = 10;
		p[15] = s->src;
		p[19] = s->dst;
		p += 20;
	}
	if (s->ext_len)
		memcpy(p, s->ext, s->ext_len);
	if (!s->ip6)
		frame_ip_sum(ip);
	return p + s->ext_len;
}

static inline void
frame_make(struct frame *f, const struct frame_spec *s)
{
	uint8_t *p = f->data, *tcp, tail[4] = { 0, 6 };
	unsigned sum;

	memset(p, 2, 12);
	p += 12;
	for (unsigned i = 0; i < s->n_tags; i++)
		p = frame_put16(frame_put16(p, s->tpid[i]), s->tci[i]);
	p = frame_put16(p, s->ip6 ? 0x86dd : 0x0800);
	f->l3 = (unsigned)(p - f->data);
	tcp = frame_put_ip(p, s);
	f->l4 = (unsigned)(tcp - f->data);
	memset(tcp, 0, 20);
	frame_put32(frame_put16(frame_put16(tcp, s->sport), s->dport), s->seq);
	tcp[12] = 0x50;
	tcp[13] = 0x10;
	frame_put16(tcp + 14, 65000);
	for (unsigned i = 0; i < s->payload_len; i++)
		tcp[20 + i] = (uint8_t)(s->seq + i + ((s->seq + i) >> 8));
	f->len = f->l4 + 20u + s->payload_len;
	frame_put16(tail + 2, 20u + s->payload_len);
	sum = frame_sum(0, p + (s->ip6 ? 8 : 12), s->ip6 ? 32 : 8);
	sum = frame_sum(frame_sum(sum, tail, 4), tcp, 20u + s->payload_len);
	frame_put16(tcp + 16, ~sum & 0xffff);
}

/**
 * A fragment of a frame that has no IP options or extension headers.
 * @param off from the begin of TCP, a multiple of 8. @param len of the fragment's own data.
 */
static inline void
frame_fragment(const struct frame *f, unsigned off, unsigned len, bool more, uint32_t id,
		struct frame *out)
{
	bool ip6 = f->data[f->l3] >> 4 == 6;
	uint8_t *ip = out->data + f->l3, *p = out->data + f->l4;

	memcpy(out->data, f->data, f->l4);
	out->l3 = f->l3;
	if (ip6) {
		frame_put16(ip + 4, len + 8);
		*p++ = ip[6];
		*p++ = 0;
		p = frame_put32(frame_put16(p, off | more), id);
		ip[6] = 44;
	} else {
		frame_put16(ip + 2, len + 20);
		frame_put16(ip + 4, id & 0xffff);
		frame_put16(ip + 6, off / 8 | (more ? 0x2000u : 0));
		frame_ip_sum(ip);
	}
	memcpy(p, f->data + f->l4 + off, len);
	out->l4 = (unsigned)(p - out->data);
	out->len = out->l4 + len;
}

#endif
