/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parking: what the broker sends from the begin of what may be CONNACK until GRANT is kept in the list
 * of holds of its stream, in the order of sequence (R11). A repetition takes the place of the copy
 * that is held; bytes that differ from those held are dropped. There is room for a few segments a
 * flow (R12); what does not fit is dropped, for the broker sends it again, but how it has ended the
 * connection is remembered. GRANT lets all go in order, as if it came then.
 *
 * Synchronisation: the worker's own. Sources: DESIGN.md R11, R12, I4, I12.
 */
#include "conn_private.h"

/* Puts a repetition in the place of the copy that is held. @return false: there is none. */
static bool
replace_copy(struct mqt_conns *cs, struct stream *s, const struct mqt_packet *p)
{
	const struct mqt_pkt *v = &p->view;
	struct hold *h = hold_at(cs, s->held);

	while (h &&
			(h->view.seq != v->seq || seg_end(&h->view) != seg_end(v) ||
					(h->view.tcp_flags ^ v->tcp_flags) &
							(MQT_TCP_FIN | MQT_TCP_RST)))
		h = hold_at(cs, h->next);
	if (!h)
		return false;
	rte_pktmbuf_free(h->m);
	h->m = p->m;
	h->view = *v;
	return true;
}

/* Whether what is held has all of it already, and whether nothing held contradicts it. */
static bool
is_covered(struct mqt_conns *cs, const struct stream *s, const struct mqt_packet *p, bool *agrees)
{
	uint32_t upto = p->view.seq;

	*agrees = true;
	for (const struct hold *h = hold_at(cs, s->held); h; h = hold_at(cs, h->next)) {
		*agrees = *agrees && hold_agrees(h, p->m, &p->view);
		if (mqt_seq_cmp(h->view.seq, upto) <= 0 && mqt_seq_cmp(seg_end(&h->view), upto) > 0)
			upto = seg_end(&h->view);
	}
	return !(p->view.tcp_flags & MQT_TCP_RST) && mqt_seq_cmp(seg_end(&p->view), upto) <= 0;
}

/*
 * A segment for which there is no room is dropped, for the broker sends it again. But it does not
 * send an RST again, and what ends the connection is known now: where it stands is kept, and which
 * numbers were dropped, those that come first where they leave a gap.
 */
static void
note_dropped(const struct conn *c, const struct mqt_pkt *v)
{
	uint32_t from = v->seq, to = v->seq + v->payload_len, *d;

	if (!(c->flags & CONN_HANDSHAKE))
		return;
	d = c->hs->dropped;
	if (v->tcp_flags & (MQT_TCP_FIN | MQT_TCP_RST)) {
		c->hs->cut = to;
		c->hs->cut_flags = v->tcp_flags & (MQT_TCP_FIN | MQT_TCP_RST);
	}
	if (d[0] == d[1] || mqt_seq_cmp(to, d[0]) < 0) {
		d[0] = from;
		d[1] = to;
	} else if (mqt_seq_cmp(from, d[1]) <= 0) {
		if (mqt_seq_cmp(from, d[0]) < 0)
			d[0] = from;
		if (mqt_seq_cmp(to, d[1]) > 0)
			d[1] = to;
	}
}

/*
 * Makes room for a segment by dropping the last one that is held, if that lies behind it: else
 * what came too early would keep out what fills the gap.
 */
static bool
make_room(struct mqt_conns *cs, struct conn *c, const struct mqt_pkt *v)
{
	struct stream *s = &c->stream[BROKER];
	const struct hold *last = hold_at(cs, s->held);

	while (last && last->next != NO_INDEX)
		last = hold_at(cs, last->next);
	if (!last || mqt_seq_cmp(last->view.seq, v->seq) <= 0)
		return false;
	note_dropped(c, &last->view);
	hold_drop_last(cs, s);
	return true;
}

bool
park_input(struct mqt_conns *cs, struct conn *c, const struct mqt_packet *p)
{
	struct stream *s = &c->stream[BROKER];
	enum mqt_worker_counter full = MQT_W_PARKED_DROPPED_FLOW;
	bool agrees, covered = is_covered(cs, s, p, &agrees);

	if (!agrees) {
		count(cs, MQT_W_CONFLICT);
		rte_pktmbuf_free(p->m);
		return false;
	}
	if (replace_copy(cs, s, p))
		return false;
	if (covered) {
		rte_pktmbuf_free(p->m);
		return false;
	}
	if (s->n_held < cs->parked_max) {
		if (hold_add(cs, s, p->m, &p->view, p->port, false))
			goto parked;
		full = MQT_W_PARKED_DROPPED_WORKER;
	}
	count(cs, full);
	if (!make_room(cs, c, &p->view) || !hold_add(cs, s, p->m, &p->view, p->port, false)) {
		note_dropped(c, &p->view);
		rte_pktmbuf_free(p->m);
		return true;
	}
parked:
	count(cs, MQT_W_PARKED);
	return true;
}

/* How the broker has ended the connection behind what is held, up to @p upto, and was dropped. */
static enum mqt_reason
cut_off_behind(const struct handshake *hs, uint32_t upto)
{
	const uint32_t *d = hs->dropped;

	if (mqt_seq_cmp(d[0], upto) <= 0 && mqt_seq_cmp(d[1], upto) > 0)
		upto = d[1];
	if (hs->cut_flags & MQT_TCP_RST && hs->cut == upto)
		return MQT_REASON_BROKER_RESET;
	if (hs->cut_flags & MQT_TCP_FIN && mqt_seq_cmp(hs->cut, upto) <= 0)
		return MQT_REASON_BROKER_CLOSED;
	return MQT_REASON_NONE;
}

/*
 * Whether the broker has ended the connection behind its CONNACK: a FIN or an exact RST that no
 * gap parts from what is parked. MQT_REASON_NONE: it has not.
 */
static enum mqt_reason
ended_behind(const struct mqt_conns *cs, const struct conn *c)
{
	const struct stream *s = &c->stream[BROKER];
	uint32_t upto = s->next;

	for (const struct hold *h = hold_at(cs, s->held); h; h = hold_at(cs, h->next)) {
		if (mqt_seq_cmp(h->view.seq, upto) > 0)
			break;
		if (h->view.tcp_flags & MQT_TCP_RST && h->view.seq == upto)
			return MQT_REASON_BROKER_RESET;
		if (h->view.tcp_flags & MQT_TCP_FIN)
			return MQT_REASON_BROKER_CLOSED;
		if (mqt_seq_cmp(seg_end(&h->view), upto) > 0)
			upto = seg_end(&h->view);
	}
	return cut_off_behind(c->hs, upto);
}

/*
 * The broker has closed a connection that waits for its GRANT, mostly for a newer one of the same
 * client id. There is nothing left to admit, and nobody is to be ended for it: the channel goes
 * down at once, and its CONNACK never leaves.
 */
static void
ended_by_broker(struct mqt_conns *cs, struct conn *c, enum mqt_reason reason)
		MQT_REQUIRES(mqt_role_worker)
{
	if (channel_down(cs, c, reason))
		close_wire(cs, c, CLOSE_REFUSE);
	else
		close_wire(cs, c, CLOSE_RESET);
}

void
park_watch(struct mqt_conns *cs, struct conn *c)
{
	enum mqt_reason reason = ended_behind(cs, c);

	/* a client that has said DISCONNECT already has its connection closed in order */
	if (reason == MQT_REASON_BROKER_CLOSED && c->stream[CLIENT].flags & STREAM_DISCONNECT)
		return;
	if (reason != MQT_REASON_NONE)
		ended_by_broker(cs, c, reason);
}

void
park_release(struct mqt_conns *cs, struct conn *c)
{
	struct stream *s = &c->stream[BROKER], parked = *s;
	struct hold h;

	s->held = NO_INDEX;
	s->n_held = 0;
	while (hold_pop(cs, &parked, &h)) {
		if (c->flags & CONN_INJECTED || c->state == MQT_CONN_RELEASING)
			rte_pktmbuf_free(h.m);
		else if (h.view.tcp_flags & MQT_TCP_RST)
			tcp_rst(cs, c, BROKER, h.m, &h.view, h.port);
		else
			reorder_input(cs, c, BROKER, h.m, &h.view, h.port);
	}
	handshake_end(cs, c); /* the broker has acknowledged CONNECT, see connack_success() */
}
