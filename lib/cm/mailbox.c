/* SPDX-License-Identifier: BSD-3-Clause */
#include "mqtrack/mailbox.h"

#include <errno.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include <rte_common.h>
#include <rte_debug.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>

/*
 * A worker's mailbox: two one-way pipes. A pipe is an SPSC ring that both lcores share and an
 * outbox that only the sender touches.
 *
 * Life of a message: post -> ring; or, when the ring is full or the outbox is not empty, post ->
 * outbox -> (the sender's next poll) -> ring. The order of posting is kept either way (rule R6).
 * The outbox is a list of chunks; emptied chunks are kept for the next time, so a sender that has
 * once met a full ring does not go to malloc again. A message that can neither go to the ring nor
 * be kept would break the protocol for ever, so the end of memory ends the process.
 *
 * Queueing: each message put into a ring moves its tail, which is a line that the receiver reads all
 * the time. Who posts many in a turn queues them, and they go as bursts, the last one at the end of
 * the turn.
 *
 * Waking: the sender remembers that something has gone into the ring (`news`) and wakes the receiver
 * once for all of it, so a turn that posts much costs one fence, and no system call unless the
 * receiver sleeps (waker.c).
 *
 * Synchronisation: the ring's own (acquire and release of its head and tail). The outbox of
 * to_control belongs to the worker, that of to_worker to the control lcore.
 *
 * Sources: rules R3, R6; DPDK rte_ring, single producer and single consumer.
 */

#define CHUNK_MSGS 63
#define STAGE_MSGS 32

struct chunk {
	struct chunk *next;
	uint32_t head; /* first message not yet moved on */
	uint32_t tail; /* behind the last message */
	alignas(RTE_CACHE_LINE_SIZE) struct mqt_msg msg[CHUNK_MSGS];
};

struct outbox {
	struct chunk *first; /* NULL: empty */
	struct chunk *last;
	struct chunk *spare; /* emptied, kept */
	unsigned n;
};

struct pipe {
	/* immutable; both sides read it all the time */
	struct rte_ring *ring;
	struct mqt_waker *receiver; /* NULL: it never sleeps */
	/* sender only: not on that line */
	alignas(RTE_CACHE_LINE_SIZE) struct outbox outbox;
	bool news; /* the receiver has not been woken for it */
	unsigned n_staged;
	alignas(RTE_CACHE_LINE_SIZE) struct mqt_msg stage[STAGE_MSGS];
} __rte_cache_aligned;

struct mqt_mailbox {
	struct pipe to_control;
	struct pipe to_worker;
};

static void
chunks_free(struct chunk *c)
{
	while (c) {
		struct chunk *next = c->next;

		free(c);
		c = next;
	}
}

static struct chunk *
chunk_get(struct outbox *out)
{
	struct chunk *c = out->spare;

	if (c)
		out->spare = c->next;
	else
		c = aligned_alloc(RTE_CACHE_LINE_SIZE, sizeof(*c));
	if (!c)
		rte_panic("mailbox: no memory for %u waiting messages\n", out->n + 1);
	c->next = NULL;
	c->head = 0;
	c->tail = 0;
	return c;
}

static void
outbox_push(struct outbox *out, const struct mqt_msg *msg)
{
	if (!out->first) {
		out->first = chunk_get(out);
		out->last = out->first;
	} else if (out->last->tail == CHUNK_MSGS) {
		out->last->next = chunk_get(out);
		out->last = out->last->next;
	}
	out->last->msg[out->last->tail++] = *msg;
	out->n++;
}

static void
outbox_drop_first(struct outbox *out)
{
	struct chunk *c = out->first;

	out->first = c->next;
	c->next = out->spare;
	out->spare = c;
}

/* What was queued goes into the ring as one burst, behind what waits already. */
static void
pipe_unstage(struct pipe *pipe)
{
	unsigned sent = 0;

	if (pipe->n_staged == 0)
		return;
	if (!pipe->outbox.first)
		sent = rte_ring_sp_enqueue_burst_elem(pipe->ring, pipe->stage,
				sizeof(struct mqt_msg), pipe->n_staged, NULL);
	pipe->news |= sent > 0;
	for (; sent < pipe->n_staged; sent++)
		outbox_push(&pipe->outbox, &pipe->stage[sent]);
	pipe->n_staged = 0;
}

/* Moves on what the ring takes. */
static void
pipe_flush(struct pipe *pipe)
{
	struct outbox *out = &pipe->outbox;

	pipe_unstage(pipe);
	while (out->first) {
		struct chunk *c = out->first;
		unsigned want = c->tail - c->head;
		unsigned sent = rte_ring_sp_enqueue_burst_elem(
				pipe->ring, &c->msg[c->head], sizeof(struct mqt_msg), want, NULL);

		c->head += sent;
		out->n -= sent;
		pipe->news |= sent > 0;
		if (sent < want)
			return;
		outbox_drop_first(out);
	}
}

static void
pipe_post(struct pipe *pipe, const struct mqt_msg *msg)
{
	struct mqt_msg copy = *msg;

	pipe_unstage(pipe);
	if (pipe->outbox.first || rte_ring_sp_enqueue_elem(pipe->ring, &copy, sizeof(copy)) != 0)
		outbox_push(&pipe->outbox, msg);
	else
		pipe->news = true;
}

static void
pipe_queue(struct pipe *pipe, const struct mqt_msg *msg)
{
	pipe->stage[pipe->n_staged++] = *msg;
	if (pipe->n_staged == STAGE_MSGS)
		pipe_unstage(pipe);
}

static void
pipe_wake(struct pipe *pipe)
{
	pipe_unstage(pipe);
	if (!pipe->news)
		return;
	pipe->news = false;
	mqt_waker_wake(pipe->receiver);
}

static unsigned
pipe_take(struct pipe *pipe, struct mqt_msg *msgs, unsigned n)
{
	return rte_ring_sc_dequeue_burst_elem(pipe->ring, msgs, sizeof(*msgs), n, NULL);
}

static int
pipe_init(struct pipe *pipe, unsigned ring_size)
{
	/* An exact-size ring of 2^k messages takes 2^(k+1) slots, for one always stays empty. */
	ssize_t size = rte_ring_get_memsize_elem(sizeof(struct mqt_msg), 2 * ring_size);
	int rc;

	if (size < 0)
		return (int)size;
	pipe->ring = aligned_alloc(RTE_CACHE_LINE_SIZE, (size_t)size);
	if (!pipe->ring)
		return -ENOMEM;
	rc = rte_ring_init(pipe->ring, "mailbox", ring_size,
			RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
	return rc;
}

static void
pipe_fini(struct pipe *pipe)
{
	chunks_free(pipe->outbox.first);
	chunks_free(pipe->outbox.spare);
	free(pipe->ring);
}

struct mqt_mailbox *
mqt_mailbox_create(unsigned ring_size)
{
	struct mqt_mailbox *mb;
	int rc;

	if (ring_size == 0 || ring_size > RTE_RING_SZ_MASK / 2 ||
			(ring_size & (ring_size - 1)) != 0) {
		errno = EINVAL;
		return NULL;
	}
	mb = aligned_alloc(RTE_CACHE_LINE_SIZE, sizeof(*mb));
	if (!mb)
		return NULL;
	*mb = (struct mqt_mailbox){ 0 };
	rc = pipe_init(&mb->to_control, ring_size);
	if (rc == 0)
		rc = pipe_init(&mb->to_worker, ring_size);
	if (rc < 0) {
		mqt_mailbox_destroy(mb);
		errno = -rc;
		return NULL;
	}
	return mb;
}

void
mqt_mailbox_destroy(struct mqt_mailbox *mb)
{
	if (!mb)
		return;
	pipe_fini(&mb->to_control);
	pipe_fini(&mb->to_worker);
	free(mb);
}

void
mqt_mailbox_set_worker(struct mqt_mailbox *mb, struct mqt_waker *waker)
{
	mb->to_worker.receiver = waker;
}

void
mqt_mailbox_set_control(struct mqt_mailbox *mb, struct mqt_waker *waker)
{
	mb->to_control.receiver = waker;
}

void
mqt_mailbox_wake_worker(struct mqt_mailbox *mb)
{
	pipe_wake(&mb->to_worker);
}

void
mqt_mailbox_wake_control(struct mqt_mailbox *mb)
{
	pipe_wake(&mb->to_control);
}

void
mqt_mailbox_post_control(struct mqt_mailbox *mb, const struct mqt_msg *msg)
{
	pipe_post(&mb->to_control, msg);
}

void
mqt_mailbox_post_worker(struct mqt_mailbox *mb, const struct mqt_msg *msg)
{
	pipe_post(&mb->to_worker, msg);
}

void
mqt_mailbox_queue_worker(struct mqt_mailbox *mb, const struct mqt_msg *msg)
{
	pipe_queue(&mb->to_worker, msg);
}

unsigned
mqt_mailbox_poll_worker(struct mqt_mailbox *mb, struct mqt_msg *msgs, unsigned n)
{
	pipe_flush(&mb->to_control);
	return pipe_take(&mb->to_worker, msgs, n);
}

unsigned
mqt_mailbox_poll_control(struct mqt_mailbox *mb, struct mqt_msg *msgs, unsigned n)
{
	pipe_flush(&mb->to_worker);
	return pipe_take(&mb->to_control, msgs, n);
}

unsigned
mqt_mailbox_pending_control(const struct mqt_mailbox *mb)
{
	return rte_ring_count(mb->to_control.ring);
}

unsigned
mqt_mailbox_pending_worker(const struct mqt_mailbox *mb)
{
	return rte_ring_count(mb->to_worker.ring);
}

unsigned
mqt_mailbox_outbox_worker(const struct mqt_mailbox *mb)
{
	return mb->to_control.outbox.n;
}

unsigned
mqt_mailbox_outbox_control(const struct mqt_mailbox *mb)
{
	return mb->to_worker.outbox.n;
}
