/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_CAPTURE_RIG_H
#define TESTS_UNIT_CAPTURE_RIG_H

/* What tests of captures share: frames that need no pool, and a reader of pcapng files. */

#include "check.h"
#include "mqtrack/capture.h"

#include <rte_mbuf.h>

/* A frame of so many bytes @p fill, in pieces of at most @p piece. */
struct frame {
	uint8_t data[70000];
	struct rte_mbuf m[8];
};

static inline const struct rte_mbuf *
frame_make(struct frame *f, uint8_t fill, uint32_t len, uint32_t piece)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < len; i++)
		f->data[i] = (uint8_t)(fill + i);
	memset(f->m, 0, sizeof(f->m));
	f->m[0].pkt_len = len;
	for (uint32_t at = 0; at < len; at += piece, n++) {
		f->m[n].buf_addr = f->data + at;
		f->m[n].data_len = (uint16_t)RTE_MIN(piece, len - at);
		if (n > 0)
			f->m[n - 1].next = &f->m[n];
	}
	return &f->m[0];
}

static inline uint32_t
u32_at(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static inline uint16_t
u16_at(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return v;
}

/* The block at @p at; checks that both its lengths agree and lie within the file. Returns its length. */
static inline uint32_t
block_at(const uint8_t *file, size_t size, size_t at, uint32_t *type)
{
	uint32_t len = at + 12 <= size ? u32_at(file + at + 4) : 0;

	*type = 0;
	CHECK(len >= 12 && len % 4 == 0 && at + len <= size);
	if (len < 12 || at + len > size)
		return (uint32_t)(size - at);
	CHECK_EQ(u32_at(file + at + len - 4), len);
	*type = u32_at(file + at);
	return len;
}

/* An option of a block whose options begin at @p at. Returns its value, NULL where it is not there. */
static inline const uint8_t *
option_of(const uint8_t *block, uint32_t len, uint32_t at, uint16_t code, uint16_t *option_len)
{
	while (at + 4 <= len - 4 && u16_at(block + at) != 0) {
		*option_len = u16_at(block + at + 2);
		if (u16_at(block + at) == code)
			return block + at + 4;
		at += 4 + RTE_ALIGN_CEIL((uint32_t)*option_len, 4u);
	}
	CHECK(at + 8 == len || u16_at(block + at) != 0); /* opt_endofopt is the last one */
	return NULL;
}

#endif
