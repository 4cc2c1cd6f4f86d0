/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Captures: what is asked for, and the copies on their way to the reader.
 *
 * Not by the mailbox: what is captured is no matter of the channel manager, whose lcore is the
 * mailbox's one producer. The reader writes what it wants and adds one to the epoch; a worker compares
 * that with the one it knows once a turn, which is all that it costs while nothing is captured.
 * Not by rte_pcapng either: its copies are mbufs of a pool, its interfaces all ethdev ports, and in
 * 22.11 a packet has no comment.
 *
 * Life-cycle: all captures and their counters live from create to destroy, so that a worker never
 * meets a freed one; the rings get their memory when a capture is first used and keep it. word is
 * even while a capture is off, odd while it is on; each worker answers in seen with the word that it
 * has acted on. What was asked for is written only while all have seen it off, therefore a capture
 * whose last one a stalled worker has not yet seen the end of is not given out.
 *
 * Synchronisation: release of word, then of the epoch; acquire of the epoch, then of word. The
 * rings are SPSC: head is the worker's, tail the reader's, each released after the bytes were
 * written or read and acquired by the other.
 */
#include "mqtrack/capture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#define RING_MASK (MQT_CAPTURE_RING - 1)

static_assert((MQT_CAPTURE_RING & RING_MASK) == 0, "positions are masked");
static_assert(sizeof(struct mqt_capture_packet) % 8 == 0, "no gap before the bytes");

struct mqt_captures *
mqt_captures_create(unsigned n_workers)
{
	struct mqt_captures *captures;

	if (n_workers == 0 || n_workers > MQT_MAX_WORKERS) {
		errno = EINVAL;
		return NULL;
	}
	captures = aligned_alloc(RTE_CACHE_LINE_SIZE, sizeof(*captures));
	if (!captures)
		return NULL;
	memset(captures, 0, sizeof(*captures));
	captures->n_workers = n_workers;
	return captures;
}

void
mqt_captures_destroy(struct mqt_captures *captures)
{
	if (!captures)
		return;
	for (unsigned i = 0; i < MQT_CAPTURES_MAX; i++) {
		free(captures->capture[i].clientid);
		for (unsigned w = 0; w < captures->n_workers; w++)
			free(captures->capture[i].ring[w].data);
	}
	free(captures);
}

/* --- asking ------------------------------------------------------------------------------------ */

bool
mqt_capture_is_settled(const struct mqt_captures *captures, const struct mqt_capture *capture)
{
	uint32_t word = atomic_load_explicit(&capture->word, memory_order_relaxed);

	for (unsigned w = 0; w < captures->n_workers; w++) {
		/* acquire: what the worker copied before is there */
		if (atomic_load_explicit(&capture->seen[w], memory_order_acquire) != word)
			return false;
	}
	return true;
}

static bool
rings_reset(const struct mqt_captures *captures, struct mqt_capture *capture)
{
	for (unsigned w = 0; w < captures->n_workers; w++) {
		struct mqt_capture_ring *ring = &capture->ring[w];

		if (!ring->data)
			ring->data = malloc(MQT_CAPTURE_RING);
		if (!ring->data)
			return false;
		memset(ring->data, 0, MQT_CAPTURE_RING); /* no worker waits for a page */
		atomic_store_explicit(&ring->head, 0, memory_order_relaxed);
		atomic_store_explicit(&ring->tail, 0, memory_order_relaxed);
		atomic_store_explicit(&ring->dropped, 0, memory_order_relaxed);
	}
	return true;
}

/* Tells the workers to look. */
static void
announce(struct mqt_captures *captures)
{
	atomic_fetch_add_explicit(&captures->epoch, 1, memory_order_release);
}

struct mqt_capture *
mqt_capture_start(struct mqt_captures *captures, const void *clientid, size_t len, int domain)
{
	struct mqt_capture *capture = NULL;
	uint8_t *copy = NULL;

	for (unsigned i = 0; !capture && i < MQT_CAPTURES_MAX; i++) {
		if (!captures->capture[i].taken &&
				mqt_capture_is_settled(captures, &captures->capture[i]))
			capture = &captures->capture[i];
	}
	if (!capture) {
		errno = EBUSY;
		return NULL;
	}
	if (clientid)
		copy = malloc(len ? len : 1);
	if ((clientid && !copy) || !rings_reset(captures, capture)) {
		free(copy);
		errno = ENOMEM;
		return NULL;
	}
	if (clientid)
		memcpy(copy, clientid, len);
	free(capture->clientid);
	capture->clientid = copy;
	capture->clientid_len = len;
	capture->domain = domain;
	capture->taken = true;
	atomic_store_explicit(&capture->n_chans, 0, memory_order_relaxed);
	atomic_store_explicit(&capture->over, false, memory_order_relaxed);
	atomic_fetch_add_explicit(&capture->word, 1, memory_order_release);
	announce(captures);
	return capture;
}

void
mqt_capture_add(struct mqt_captures *captures, struct mqt_capture *capture, mqt_chan_id chan)
{
	uint32_t n = atomic_load_explicit(&capture->n_chans, memory_order_relaxed);

	atomic_store_explicit(&capture->chans[n % MQT_CAPTURE_CHANS], chan, memory_order_relaxed);
	atomic_store_explicit(&capture->n_chans, n + 1, memory_order_release);
	announce(captures);
}

void
mqt_capture_stop(struct mqt_captures *captures, struct mqt_capture *capture)
{
	if (atomic_load_explicit(&capture->word, memory_order_relaxed) % 2 == 0)
		return;
	atomic_fetch_add_explicit(&capture->word, 1, memory_order_release);
	announce(captures);
}

void
mqt_capture_release(struct mqt_captures *captures, struct mqt_capture *capture)
{
	mqt_capture_stop(captures, capture);
	capture->taken = false;
}

bool
mqt_capture_is_over(const struct mqt_capture *capture)
{
	return atomic_load_explicit(&capture->over, memory_order_acquire);
}

/* --- copies ------------------------------------------------------------------------------------ */

static void
ring_write(struct mqt_capture_ring *ring, uint64_t at, const void *data, uint32_t len)
{
	uint32_t offset = at & RING_MASK, n = RTE_MIN(len, MQT_CAPTURE_RING - offset);

	memcpy(ring->data + offset, data, n);
	memcpy(ring->data, (const uint8_t *)data + n, len - n);
}

static void
ring_read(const struct mqt_capture_ring *ring, uint64_t at, void *data, uint32_t len)
{
	uint32_t offset = at & RING_MASK, n = RTE_MIN(len, MQT_CAPTURE_RING - offset);

	memcpy(data, ring->data + offset, n);
	memcpy((uint8_t *)data + n, ring->data, len - n);
}

static uint64_t
bytes_in_ring(const struct mqt_capture_packet *packet)
{
	return RTE_ALIGN_CEIL(sizeof(*packet) + packet->cap_len, 8u);
}

void
mqt_capture_miss(struct mqt_capture *capture, unsigned worker)
{
	atomic_fetch_add_explicit(&capture->ring[worker].dropped, 1, memory_order_relaxed);
}

void
mqt_capture_put(struct mqt_capture *capture, unsigned worker, struct mqt_capture_packet *packet,
		const struct rte_mbuf *m)
{
	struct mqt_capture_ring *ring = &capture->ring[worker];
	uint64_t at = atomic_load_explicit(&ring->head, memory_order_relaxed);
	uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
	uint32_t left;

	packet->len = rte_pktmbuf_pkt_len(m);
	packet->cap_len = left = RTE_MIN(packet->len, MQT_CAPTURE_LENGTH);
	if (at - tail + bytes_in_ring(packet) > MQT_CAPTURE_RING) {
		mqt_capture_miss(capture, worker);
		return;
	}
	ring_write(ring, at, packet, sizeof(*packet));
	for (uint64_t to = at + sizeof(*packet); m && left > 0; m = m->next) {
		uint32_t n = RTE_MIN(left, (uint32_t)rte_pktmbuf_data_len(m));

		ring_write(ring, to, rte_pktmbuf_mtod(m, const void *), n);
		to += n;
		left -= n;
	}
	atomic_store_explicit(&ring->head, at + bytes_in_ring(packet), memory_order_release);
}

/* @return false: nothing is there. */
static bool
ring_peek(const struct mqt_capture_ring *ring, struct mqt_capture_packet *packet)
{
	uint64_t at = atomic_load_explicit(&ring->tail, memory_order_relaxed);

	if (atomic_load_explicit(&ring->head, memory_order_acquire) == at)
		return false;
	ring_read(ring, at, packet, sizeof(*packet));
	return true;
}

bool
mqt_capture_take(const struct mqt_captures *captures, struct mqt_capture *capture,
		struct mqt_capture_packet *packet, uint8_t *data)
{
	struct mqt_capture_ring *oldest = NULL;
	uint64_t at;

	for (unsigned w = 0; w < captures->n_workers; w++) {
		struct mqt_capture_packet first;

		if (!ring_peek(&capture->ring[w], &first))
			continue;
		if (!oldest || first.at_ns < packet->at_ns) {
			oldest = &capture->ring[w];
			*packet = first;
		}
	}
	if (!oldest)
		return false;
	at = atomic_load_explicit(&oldest->tail, memory_order_relaxed);
	ring_read(oldest, at + sizeof(*packet), data, packet->cap_len);
	atomic_store_explicit(&oldest->tail, at + bytes_in_ring(packet), memory_order_release);
	return true;
}

uint64_t
mqt_capture_dropped(const struct mqt_captures *captures, const struct mqt_capture *capture)
{
	uint64_t n = 0;

	for (unsigned w = 0; w < captures->n_workers; w++)
		n += atomic_load_explicit(&capture->ring[w].dropped, memory_order_relaxed);
	return n;
}
