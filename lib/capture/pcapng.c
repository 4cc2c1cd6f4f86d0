/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks of a pcapng file. Each begins with type and length, ends with its length again, and is
 * padded to four bytes; a reader tells the byte order by the section's magic number.
 * Source: draft-ietf-opsawg-pcapng §3.1 (blocks), §3.5 (options), §4.1 to §4.3.
 */
#include "mqtrack/capture.h"

#include <string.h>

enum block_type {
	BLOCK_SECTION = 0x0a0d0d0a,
	BLOCK_INTERFACE = 1,
	BLOCK_PACKET = 6,
};

enum option {
	OPT_END = 0,
	OPT_COMMENT = 1,
	SHB_USERAPPL = 4,
	IF_NAME = 2,
	IF_TSRESOL = 9,
	EPB_FLAGS = 2,
};

#define BYTE_ORDER_MAGIC  0x1a2b3c4du
#define LINKTYPE_ETHERNET 1
#define TSRESOL_NS        9 /* 10 ** -9 s */
#define FLAGS_INBOUND     1u
#define FLAGS_OUTBOUND    2u

static const char *const comments[] = {
	[MQT_CAPTURE_PASSED] = NULL,
	[MQT_CAPTURE_INJECTED] = "sent by mqtrack",
	[MQT_CAPTURE_HELD] = "held by mqtrack",
	[MQT_CAPTURE_FROZEN] = "dropped by mqtrack: the connection is being taken over",
	[MQT_CAPTURE_CLOSING] = "dropped by mqtrack: it is closing the connection",
};
_Static_assert(sizeof(comments) / sizeof(comments[0]) == MQT_CAPTURE_N_NOTES, "one for each");

/* A block being written. */
struct block {
	uint8_t *buf;
	size_t len;
};

static void
put(struct block *b, const void *data, size_t len)
{
	static const uint8_t zeros[4];
	size_t pad = -len & 3;

	memcpy(b->buf + b->len, data, len);
	memcpy(b->buf + b->len + len, zeros, pad);
	b->len += len + pad;
}

static void
put_u32(struct block *b, uint32_t value)
{
	put(b, &value, sizeof(value));
}

static void
put_u16_pair(struct block *b, uint16_t first, uint16_t second)
{
	const uint16_t pair[2] = { first, second };

	put(b, pair, sizeof(pair));
}

static void
put_option(struct block *b, enum option code, const void *data, size_t len)
{
	put_u16_pair(b, (uint16_t)code, (uint16_t)len);
	put(b, data, len);
}

static struct block
begin(uint8_t *buf, enum block_type type)
{
	struct block b = { .buf = buf };

	put_u32(&b, type);
	put_u32(&b, 0); /* the length, which end() writes */
	return b;
}

static size_t
end(struct block *b)
{
	uint32_t len = (uint32_t)b->len + 8;

	put_u16_pair(b, OPT_END, 0);
	put_u32(b, len);
	memcpy(b->buf + 4, &len, sizeof(len));
	return b->len;
}

size_t
mqt_pcapng_section(uint8_t *buf)
{
	struct block b = begin(buf, BLOCK_SECTION);
	const int64_t unknown_length = -1;

	put_u32(&b, BYTE_ORDER_MAGIC);
	put_u16_pair(&b, 1, 0); /* version */
	put(&b, &unknown_length, sizeof(unknown_length));
	put_option(&b, SHB_USERAPPL, "mqtrack", 7);
	return end(&b);
}

size_t
mqt_pcapng_interface(uint8_t *buf, const char *name)
{
	struct block b = begin(buf, BLOCK_INTERFACE);
	const uint8_t resolution = TSRESOL_NS;

	put_u16_pair(&b, LINKTYPE_ETHERNET, 0);
	put_u32(&b, MQT_CAPTURE_LENGTH);
	put_option(&b, IF_NAME, name, strnlen(name, MQT_PCAPNG_NAME_MAX));
	put_option(&b, IF_TSRESOL, &resolution, sizeof(resolution));
	return end(&b);
}

size_t
mqt_pcapng_packet(uint8_t *buf, const struct mqt_capture_packet *packet, uint64_t wall_ns,
		const uint8_t *data)
{
	struct block b = begin(buf, BLOCK_PACKET);
	const uint32_t flags = packet->sent ? FLAGS_OUTBOUND : FLAGS_INBOUND;
	const char *comment = comments[packet->note];

	put_u32(&b, packet->port);
	put_u32(&b, (uint32_t)(wall_ns >> 32));
	put_u32(&b, (uint32_t)wall_ns);
	put_u32(&b, packet->cap_len);
	put_u32(&b, packet->len);
	put(&b, data, packet->cap_len);
	put_option(&b, EPB_FLAGS, &flags, sizeof(flags));
	if (comment)
		put_option(&b, OPT_COMMENT, comment, strlen(comment));
	return end(&b);
}
