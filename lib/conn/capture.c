/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker's part of captures: which connections are captured, and copying their packets.
 *
 * A connection that is captured says so by a bit; which captures it belongs to is in a short list
 * beside the connections, for there are few and a connection has no room. It comes in by its
 * channel id, or when it completes a CONNECT with the client id of a capture; it goes when it is
 * removed, so the tracker's own last words are in.
 *
 * A packet is copied as it came, before it is judged. While a connection opens it is the other way
 * round: only then it is known whether the packet completes CONNECT, or is held. Packets before that
 * one are in no capture, for nobody knew whose they were.
 *
 * Synchronisation: the worker's own; the rings and what is asked for are those of lib/capture.
 */
#include "conn_private.h"

#include <string.h>

static_assert(MQT_CAPTURES_MAX <= 8, "a bit each");

static struct captured *
captured_find(struct mqt_conns *cs, const struct conn *c)
{
	for (unsigned i = 0; i < cs->n_captured; i++)
		if (cs->captured[i].c == c)
			return &cs->captured[i];
	return NULL;
}

/* The captures of a connection, as bits. */
static unsigned
captures_of(struct mqt_conns *cs, const struct conn *c)
{
	const struct captured *captured = NULL;

	if (c->captured)
		captured = captured_find(cs, c);
	return captured ? captured->captures : 0;
}

static void
captured_remove(struct mqt_conns *cs, struct captured *captured)
{
	captured->c->captured = 0;
	*captured = cs->captured[--cs->n_captured];
}

static void
capture_join(struct mqt_conns *cs, struct conn *c, unsigned which)
{
	struct captured *captured = captured_find(cs, c);

	if (!captured && cs->n_captured == CAPTURED_MAX) {
		mqt_capture_miss(&cs->captures->capture[which], cs->worker);
		return;
	}
	if (!captured) {
		captured = &cs->captured[cs->n_captured++];
		*captured = (struct captured){ .c = c };
		c->captured = 1;
	}
	captured->captures |= (uint8_t)(1u << which);
}

void
capture_forget(struct mqt_conns *cs, struct conn *c)
{
	struct captured *captured = captured_find(cs, c);

	for (unsigned i = 0; captured && i < MQT_CAPTURES_MAX; i++) {
		struct mqt_capture *capture = &cs->captures->capture[i];

		if (captured->captures & 1u << i && !capture->clientid)
			atomic_store_explicit(&capture->over, true, memory_order_release);
	}
	if (captured)
		captured_remove(cs, captured);
}

/* --- what is asked for ------------------------------------------------------------------------- */

static void
capture_leave(struct mqt_conns *cs, unsigned which)
{
	for (unsigned i = cs->n_captured; i-- > 0;) {
		cs->captured[i].captures &= (uint8_t) ~(1u << which);
		if (!cs->captured[i].captures)
			captured_remove(cs, &cs->captured[i]);
	}
}

static void
join_channel(struct mqt_conns *cs, struct mqt_capture *capture, mqt_chan_id chan)
{
	uint32_t slot = mqt_chan_id_slot(chan);

	if (mqt_chan_id_worker(chan) != cs->worker)
		return;
	if (slot < cs->n_fresh && conn_chan(cs, &cs->slots[slot]) == chan &&
			cs->slots[slot].flags & CONN_IN_TABLE)
		capture_join(cs, &cs->slots[slot], (unsigned)(capture - cs->captures->capture));
	else if (!capture->clientid)
		atomic_store_explicit(&capture->over, true, memory_order_release);
}

static void
join_channels(struct mqt_conns *cs, struct mqt_capture *capture, uint32_t *n_joined)
{
	/* acquire: pairs with the release in mqt_capture_add() */
	uint32_t n = atomic_load_explicit(&capture->n_chans, memory_order_acquire);

	if (n - *n_joined > MQT_CAPTURE_CHANS)
		*n_joined = n - MQT_CAPTURE_CHANS;
	for (; *n_joined != n; (*n_joined)++)
		join_channel(cs, capture,
				atomic_load_explicit(&capture->chans[*n_joined % MQT_CAPTURE_CHANS],
						memory_order_relaxed));
}

void
capture_sync(struct mqt_conns *cs)
{
	struct mqt_captures *all = cs->captures;

	/* acquire: pairs with the release that announced it */
	cs->capture_epoch = atomic_load_explicit(&all->epoch, memory_order_acquire);
	cs->capturing = false;
	for (unsigned i = 0; i < MQT_CAPTURES_MAX; i++) {
		struct mqt_capture *capture = &all->capture[i];
		struct capture_seen *seen = &cs->capture_seen[i];
		uint32_t word = atomic_load_explicit(&capture->word, memory_order_acquire);

		if (word != seen->word) {
			capture_leave(cs, i);
			*seen = (struct capture_seen){ .word = word };
		}
		if (word % 2) {
			cs->capturing = true;
			join_channels(cs, capture, &seen->n_chans);
		}
		/* release: with all that was copied before */
		atomic_store_explicit(&capture->seen[cs->worker], word, memory_order_release);
	}
}

void
capture_connect(struct mqt_conns *cs, struct conn *c, const void *clientid, size_t len)
{
	int domain = cs->config->listeners[c->listener].domain;

	for (unsigned i = 0; i < MQT_CAPTURES_MAX; i++) {
		const struct mqt_capture *capture = &cs->captures->capture[i];

		if (cs->capture_seen[i].word % 2 && capture->clientid &&
				(capture->domain < 0 || capture->domain == domain) &&
				capture->clientid_len == len &&
				memcmp(capture->clientid, clientid, len) == 0)
			capture_join(cs, c, i);
	}
}

/* --- copies ------------------------------------------------------------------------------------ */

static void
copy(struct mqt_conns *cs, unsigned captures, struct mqt_capture_packet *packet,
		const struct rte_mbuf *m) MQT_REQUIRES(mqt_role_worker)
{
	packet->at_ns = cs->now_ns;
	for (unsigned i = 0; i < MQT_CAPTURES_MAX; i++)
		if (captures & 1u << i)
			mqt_capture_put(&cs->captures->capture[i], cs->worker, packet, m);
}

static enum mqt_capture_note
fate(const struct conn *c)
{
	if (c->state == MQT_CONN_FROZEN)
		return MQT_CAPTURE_FROZEN;
	if (c->flags & CONN_INJECTED || (conn_is_killed(c) && !(c->flags & CONN_DOWN)))
		return MQT_CAPTURE_CLOSING;
	return MQT_CAPTURE_PASSED;
}

void
capture_received(struct mqt_conns *cs, const struct conn *c, const struct mqt_packet *p)
{
	struct mqt_capture_packet packet = { .port = p->port, .note = (uint8_t)fate(c) };

	if (c->state > MQT_CONN_OPENING || packet.note != MQT_CAPTURE_PASSED)
		copy(cs, captures_of(cs, c), &packet, p->m);
}

void
capture_sent(struct mqt_conns *cs, const struct conn *c, uint16_t port, const struct rte_mbuf *m)
{
	struct mqt_capture_packet packet = {
		.port = port, .note = MQT_CAPTURE_INJECTED, .sent = true
	};

	copy(cs, captures_of(cs, c), &packet, m);
}

void
capture_handshake(struct mqt_conns *cs, struct conn *c, enum side side, const struct mqt_packet *p)
{
	struct mqt_capture_packet packet = { .port = p->port };
	unsigned captures = captures_of(cs, c), n_held = c->stream[side].n_held;

	rte_pktmbuf_refcnt_update(p->m, 1);
	handshake_input(cs, c, side, p);
	captures |= captures_of(cs, c);
	if (c->stream[side].n_held > n_held)
		packet.note = MQT_CAPTURE_HELD;
	if (captures)
		copy(cs, captures, &packet, p->m);
	rte_pktmbuf_free(p->m);
}
