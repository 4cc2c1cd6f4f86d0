/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PACKET_BYTES_H
#define PACKET_BYTES_H

#include <stdint.h>
#include <string.h>

#include <rte_byteorder.h>

/* Fields in network byte order at any alignment, and the sum of RFC 1071 over bytes. */

static inline uint16_t
get_be16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return rte_be_to_cpu_16(v);
}

static inline uint32_t
get_be32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return rte_be_to_cpu_32(v);
}

static inline uint8_t *
put_be16(uint8_t *p, uint16_t v)
{
	v = rte_cpu_to_be_16(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static inline uint8_t *
put_be32(uint8_t *p, uint32_t v)
{
	v = rte_cpu_to_be_32(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

/* Sum of 16-bit words in memory order, not folded; an odd last byte is padded with 0. */
uint64_t sum_bytes(const uint8_t *p, uint32_t len);

/* Folds a sum to 16 bits. */
static inline uint16_t
sum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Stores the complement of a sum: a checksum field that was 0 in it. */
static inline void
put_sum(uint8_t *p, uint64_t sum)
{
	uint16_t v = (uint16_t)~sum_fold(sum);

	memcpy(p, &v, sizeof(v));
}

/* Sum of TCP's pseudo header; ip is the begin of an IPv4 or IPv6 header. */
uint64_t sum_pseudo_header(const uint8_t *ip, unsigned ip_version, uint32_t tcp_len);

#endif
