/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the TCP handshake to GRANT: who has a handshake, and what becomes of the segments of those that
 * have one.
 *
 * Life-cycle: a connection that begins gets a struct handshake from a bounded pool. EMBRYONIC: the
 * client's bytes leave for the broker as they come, in order, until CONNECT is complete (connect.c,
 * layers.c for what comes before). CONNECTING: the broker's segments go through the list of holds of
 * its stream (park.c) and are read there (reply.c), up to a CONNACK of success, which opens the
 * channel (open.c): OPENING. A broker that closes the connection meanwhile ends the newcomer, unless
 * that has said DISCONNECT: then it is admitted and ends like any other. GRANT releases the list in
 * its order, and the handshake is given back.
 *
 * Handshakes are few, so they go to those who speak: when none is left, the connection that has sent
 * no CONNECT for longest loses its own and is opaque (R13).
 *
 * What is not understood makes the flow opaque, or resets it where its listener fails closed.
 *
 * Synchronisation: the worker's own.
 * Sources: RFC 6093 §3; DESIGN.md R7, R11, R13, I10, I12.
 */
#include "conn_private.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 128
#define KEPT_CAP  512 /* a larger buffer does not stay with its handshake */

int
handshake_init(struct mqt_conns *cs)
{
	cs->n_handshakes = cs->config->limits.max_handshakes;
	cs->handshakes = calloc(cs->n_handshakes + 1, sizeof(*cs->handshakes));
	cs->free_handshake = NO_INDEX;
	return cs->handshakes ? 0 : -1;
}

void
handshake_fini(struct mqt_conns *cs)
{
	for (uint32_t i = 0; cs->handshakes && i < cs->fresh_handshake; i++) {
		free(cs->handshakes[i].connect);
		free(cs->handshakes[i].reply);
	}
	free(cs->handshakes);
}

/* --- those that have not said who they are ----------------------------------------------------- */

static void
silent_append(struct mqt_conns *cs, struct conn *c)
{
	struct handshake *hs = c->hs;

	hs->conn = c;
	hs->newer = NULL;
	hs->older = cs->newest_silent;
	if (hs->older)
		hs->older->newer = hs;
	else
		cs->oldest_silent = hs;
	cs->newest_silent = hs;
}

static void
silent_remove(struct mqt_conns *cs, struct handshake *hs)
{
	if (!hs->conn)
		return;
	hs->conn = NULL;
	if (hs->older)
		hs->older->newer = hs->newer;
	else
		cs->oldest_silent = hs->newer;
	if (hs->newer)
		hs->newer->older = hs->older;
	else
		cs->newest_silent = hs->older;
}

static void
keep_small(uint8_t **buf, uint32_t *cap)
{
	if (*cap <= KEPT_CAP)
		return;
	free(*buf);
	*buf = NULL;
	*cap = 0;
}

bool
handshake_begin(struct mqt_conns *cs, struct conn *c)
{
	struct handshake *hs;
	uint32_t index;

	if (cs->free_handshake == NO_INDEX && cs->fresh_handshake == cs->n_handshakes &&
			cs->oldest_silent)
		conn_untracked(cs, cs->oldest_silent->conn, MQT_W_OPAQUE_SILENT);
	index = cs->free_handshake;
	if (index != NO_INDEX)
		cs->free_handshake = cs->handshakes[index].link;
	else if (cs->fresh_handshake < cs->n_handshakes)
		index = cs->fresh_handshake++;
	else
		return false;
	c->hs = hs = &cs->handshakes[index];
	*hs = (struct handshake){
		.connect = hs->connect,
		.connect_cap = hs->connect_cap,
		.reply = hs->reply,
		.reply_cap = hs->reply_cap,
		.base = c->isn + 1,
	};
	c->flags |= CONN_HANDSHAKE;
	layers_begin(cs, c);
	silent_append(cs, c);
	return true;
}

void
handshake_spoken(struct mqt_conns *cs, struct conn *c)
{
	silent_remove(cs, c->hs);
}

void
handshake_end(struct mqt_conns *cs, struct conn *c)
{
	struct handshake *hs = c->hs;

	if (!(c->flags & CONN_HANDSHAKE))
		return;
	c->flags &= (uint16_t)~CONN_HANDSHAKE;
	silent_remove(cs, hs);
	c->session = hs->session;
	keep_small(&hs->connect, &hs->connect_cap);
	keep_small(&hs->reply, &hs->reply_cap);
	free(hs->early);
	free(hs->raw);
	hs->early = hs->raw = NULL;
	hs->link = cs->free_handshake;
	cs->free_handshake = (uint32_t)(hs - cs->handshakes);
}

bool
handshake_append(uint8_t **buf, uint32_t *len, uint32_t *cap, const void *data, uint32_t n)
{
	uint32_t want = *cap ? *cap : FIRST_CAP;
	uint8_t *grown;

	while (want < *len + n)
		want *= 2;
	if (want != *cap) {
		grown = realloc(*buf, want);
		if (!grown)
			return false;
		*buf = grown;
		*cap = want;
	}
	memcpy(*buf + *len, data, n);
	*len += n;
	return true;
}

/* --- the end of the wait ------------------------------------------------------------------------ */

void
handshake_unadmitted(struct mqt_conns *cs, struct conn *c)
{
	if (conn_fail_closed(cs, c)) {
		count(cs, MQT_W_REFUSALS);
		close_wire(cs, c, CLOSE_REFUSE);
		return;
	}
	count(cs, MQT_W_UNTRACKED_POSSIBLE_DUPLICATE);
	conn_pass(cs, c);
}

void
handshake_opening_timeout(struct mqt_conns *cs, struct conn *c)
{
	count(cs, MQT_W_OPENING_TIMEOUTS);
	if (channel_down(cs, c, MQT_REASON_OPENING_TIMEOUT))
		handshake_unadmitted(cs, c);
	else
		close_wire(cs, c, CLOSE_RESET);
}

/* --- segments ---------------------------------------------------------------------------------- */

static void
client_segment(struct mqt_conns *cs, struct conn *c, const struct mqt_packet *p)
		MQT_REQUIRES(mqt_role_worker)
{
	if (connect_conflict(c, p->m, &p->view)) {
		count(cs, MQT_W_CONFLICT);
		rte_pktmbuf_free(p->m);
		return;
	}
	reorder_input(cs, c, CLIENT, p->m, &p->view, p->port);
}

static void
broker_segment(struct mqt_conns *cs, struct conn *c, const struct mqt_packet *p)
		MQT_REQUIRES(mqt_role_worker)
{
	struct stream *s = &c->stream[BROKER];
	const struct mqt_pkt *v = &p->view;
	bool rst = v->tcp_flags & MQT_TCP_RST;

	if (!rst && mqt_seq_cmp(seg_end(v), s->end) <= 0) {
		conn_forward(cs, c, p->port, p->m); /* a repetition of what has left */
		return;
	}
	if (c->state == MQT_CONN_EMBRYONIC && !reply_is_awaited(c)) {
		if (v->payload_len > 0) {
			anomaly(cs, c, BROKER, ANOMALY_BEFORE_CONNECT);
			conn_untracked(cs, c, MQT_W_OPAQUE_PROTOCOL);
		}
		if (c->flags & CONN_INJECTED)
			rte_pktmbuf_free(p->m);
		else
			reorder_input(cs, c, BROKER, p->m, v, p->port);
		return;
	}
	if (!park_input(cs, c, p))
		return;
	if (reply_is_awaited(c))
		reply_read(cs, c);
	if (c->state == MQT_CONN_OPENING)
		park_watch(cs, c);
}

/*
 * Bytes that the receiver was not seen to have room for do not get by: it might have it (I12).
 * A window probe does, for it is the next byte in order and followed like any other.
 */
static bool
beyond_window(struct mqt_conns *cs, struct conn *c, enum side side, const struct mqt_packet *p)
		MQT_REQUIRES(mqt_role_worker)
{
	uint32_t edge = c->stream[opposite(side)].edge;

	if (mqt_seq_cmp(p->view.seq + p->view.payload_len, edge) <= 0)
		return false;
	if (p->view.payload_len == 1 && p->view.seq == edge &&
			mqt_seq_cmp(edge, c->stream[side].next) <= 0)
		return false;
	count(cs, MQT_W_OUT_OF_WINDOW);
	if (p->view.payload_len > 0)
		rte_pktmbuf_free(p->m);
	else
		conn_forward(cs, c, p->port, p->m);
	return true;
}

/*
 * Urgent data. A broker that reads it beside the stream, as sockets do unless told otherwise, sees
 * the stream without that byte, and so another CONNECT (RFC 6093 §3). Once CONNACK is parked the
 * client is known, and only what follows is not.
 */
static void
handshake_urgent(struct mqt_conns *cs, struct conn *c, enum side side, const struct mqt_pkt *v)
		MQT_REQUIRES(mqt_role_worker)
{
	if (mqt_seq_cmp(seg_end(v), c->stream[opposite(side)].ack) < 0)
		return; /* old: without effect */
	if (c->state < MQT_CONN_OPENING)
		conn_untracked(cs, c, MQT_W_OPAQUE_URGENT);
	else
		tcp_urgent(cs, &c->stream[side]);
}

void
handshake_input(struct mqt_conns *cs, struct conn *c, enum side side, const struct mqt_packet *p)
{
	const struct mqt_pkt *v = &p->view;
	uint8_t state = c->state;

	if (!mqt_pkt_checksum_ok(p->m, v)) {
		count(cs, MQT_W_BAD_CHECKSUM);
		conn_forward(cs, c, p->port, p->m);
		return;
	}
	if (v->tcp_flags & MQT_TCP_RST && (side == CLIENT || state != MQT_CONN_OPENING)) {
		tcp_rst(cs, c, side, p->m, v, p->port);
		return;
	}
	if (beyond_window(cs, c, side, p))
		return;
	tcp_learn(cs, c, side, p->m, v);
	if (v->tcp_flags & MQT_TCP_URG && c->state == state)
		handshake_urgent(cs, c, side, v);
	if (c->state != state) { /* it cannot be followed */
		if (c->flags & CONN_INJECTED)
			rte_pktmbuf_free(p->m);
		else
			tcp_input(cs, c, side, p);
		return;
	}
	if (v->payload_len == 0 && !(v->tcp_flags & (MQT_TCP_FIN | MQT_TCP_RST)))
		conn_forward(cs, c, p->port, p->m);
	else if (side == CLIENT)
		client_segment(cs, c, p);
	else
		broker_segment(cs, c, p);
	tcp_maybe_done(cs, c);
}
