/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * TCP ends of the simulation. Just enough of RFC 9293 to be a fair judge of what a middlebox
 * does: sequence numbers, in-order receiving, go-back-N retransmission, half-close, resets that
 * must hit rcv_nxt and are challenged otherwise (RFC 5961 §3.2), and a SYN on a live connection
 * that is challenged too (§4.2). No windows: streams are short.
 */

#include "sim.h"

#include <string.h>

#define RTO_NS     (200 * MQT_NS_PER_MS)
#define RTO_TRIES  6
#define SYN_ISN(r) ((uint32_t)sim_random(r))

bool
sim_link_push(struct sim_link *l, const struct sim_seg *seg)
{
	if (l->n == SIM_LINK_MAX)
		return false;
	l->seg[(l->head + l->n++) % SIM_LINK_MAX] = *seg;
	return true;
}

bool
sim_link_pop(struct sim_link *l, struct sim_seg *seg)
{
	if (l->n == 0)
		return false;
	*seg = l->seg[l->head];
	l->head = (l->head + 1) % SIM_LINK_MAX;
	l->n--;
	return true;
}

static void
send_seg(struct sim_flow *f, enum sim_end end, uint8_t flags, uint32_t seq, uint32_t ack,
		const uint8_t *data, size_t len)
{
	struct sim_seg seg = { .flags = flags, .len = (uint8_t)len, .seq = seq, .ack = ack };

	if (len)
		memcpy(seg.data, data, len);
	sim_link_push(&f->up[end], &seg); /* a full wire loses it, as wires do */
}

static void
arm(struct sim_world *w, struct sim_peer *p)
{
	p->rto_ns = w->now_ns + (RTO_NS << (p->n_rto < 4 ? p->n_rto : 4));
}

static void
close_peer(struct sim_peer *p)
{
	p->state = SIM_TCP_CLOSED;
	p->rto_ns = 0;
}

static void
open_peer(struct sim_world *w, struct sim_peer *p, enum sim_tcp state)
{
	/* two incarnations in a row do not share numbers, as clock-driven ones do not */
	bool wraps = p->iss < 0xfffffff0u && sim_percent(&w->rng, 10);

	memset(p, 0, offsetof(struct sim_peer, out));
	p->state = state;
	p->iss = wraps ? 0xfffffff0u + sim_below(&w->rng, 16) : SYN_ISN(&w->rng);
	p->snd_una = p->iss;
	p->snd_nxt = p->iss + 1;
	arm(w, p);
}

void
sim_peer_write(struct sim_peer *p, const void *data, size_t len)
{
	if (p->fin_queued || p->out_len + len > SIM_STREAM)
		return;
	memcpy(p->out + p->out_len, data, len);
	p->out_len += (uint32_t)len;
}

void
sim_peer_connect(struct sim_world *w, struct sim_flow *f)
{
	struct sim_peer *p = &f->peer[SIM_CLIENT];

	open_peer(w, p, SIM_TCP_SYN_SENT);
	send_seg(f, SIM_CLIENT, MQT_TCP_SYN, p->iss, 0, NULL, 0);
}

void
sim_peer_abort(struct sim_world *w, struct sim_flow *f, enum sim_end end)
{
	struct sim_peer *p = &f->peer[end];

	(void)w;
	if (p->state == SIM_TCP_OPEN)
		send_seg(f, end, MQT_TCP_RST | MQT_TCP_ACK, p->snd_nxt, p->rcv_nxt, NULL, 0);
	close_peer(p);
}

void
sim_peer_vanish(struct sim_flow *f, enum sim_end end)
{
	f->cut[end] = true;
	close_peer(&f->peer[end]);
}

static uint32_t
fin_seq(const struct sim_peer *p)
{
	return p->iss + 1 + p->out_len;
}

static bool
all_acked(const struct sim_peer *p)
{
	return p->snd_una == fin_seq(p) + (p->fin_queued ? 1 : 0);
}

/* Both directions are finished. TIME-WAIT is left out: the end forgets at once. */
static void
close_if_done(struct sim_peer *p)
{
	if (p->fin_queued && p->fin_in && all_acked(p))
		close_peer(p);
}

void
sim_peer_output(struct sim_world *w, struct sim_flow *f, enum sim_end end)
{
	struct sim_peer *p = &f->peer[end];
	uint32_t end_seq = fin_seq(p);

	if (p->state != SIM_TCP_OPEN)
		return;
	while (mqt_seq_cmp(p->snd_nxt, end_seq) < 0) {
		uint32_t at = p->snd_nxt - p->iss - 1, left = end_seq - p->snd_nxt;
		unsigned cut = 1 + sim_below(&w->rng, sim_percent(&w->rng, 30) ? 3 : SIM_SEG_MAX);
		uint32_t len = left < cut ? left : cut;

		send_seg(f, end, MQT_TCP_ACK | MQT_TCP_PSH, p->snd_nxt, p->rcv_nxt, p->out + at,
				len);
		p->snd_nxt += len;
		p->ack_due = false;
		if (!p->rto_ns)
			arm(w, p);
		if (sim_percent(&w->rng, 30))
			return;
	}
	if (p->fin_queued && p->snd_nxt == end_seq) {
		send_seg(f, end, MQT_TCP_ACK | MQT_TCP_FIN, p->snd_nxt++, p->rcv_nxt, NULL, 0);
		p->ack_due = false;
		if (!p->rto_ns)
			arm(w, p);
	}
	if (p->ack_due) {
		send_seg(f, end, MQT_TCP_ACK, p->snd_nxt, p->rcv_nxt, NULL, 0);
		p->ack_due = false;
	}
}

void
sim_peer_timeout(struct sim_world *w, struct sim_flow *f, enum sim_end end)
{
	struct sim_peer *p = &f->peer[end];

	if (p->state == SIM_TCP_CLOSED || !p->rto_ns || w->now_ns < p->rto_ns)
		return;
	if (++p->n_rto > RTO_TRIES) {
		sim_peer_abort(w, f, end);
		return;
	}
	arm(w, p);
	switch (p->state) {
	case SIM_TCP_SYN_SENT:
		send_seg(f, end, MQT_TCP_SYN, p->iss, 0, NULL, 0);
		break;
	case SIM_TCP_SYN_RCVD:
		send_seg(f, end, MQT_TCP_SYN | MQT_TCP_ACK, p->iss, p->rcv_nxt, NULL, 0);
		break;
	default:
		if (all_acked(p)) {
			p->rto_ns = 0;
			p->n_rto = 0;
			break;
		}
		p->snd_nxt = p->snd_una == p->iss ? p->iss + 1 : p->snd_una;
		sim_peer_output(w, f, end);
	}
}

/* A segment for nobody: RFC 9293 §3.10.7.1. */
static void
refuse(struct sim_flow *f, enum sim_end end, const struct sim_seg *seg)
{
	if (seg->flags & MQT_TCP_RST)
		return;
	if (seg->flags & MQT_TCP_ACK)
		send_seg(f, end, MQT_TCP_RST, seg->ack, 0, NULL, 0);
	else
		send_seg(f, end, MQT_TCP_RST | MQT_TCP_ACK, 0,
				seg->seq + seg->len + !!(seg->flags & (MQT_TCP_SYN | MQT_TCP_FIN)),
				NULL, 0);
}

static void
receive_closed(struct sim_world *w, struct sim_flow *f, enum sim_end end, const struct sim_seg *seg)
{
	struct sim_peer *p = &f->peer[end];

	if (end != SIM_BROKER ||
			(seg->flags & (MQT_TCP_SYN | MQT_TCP_ACK | MQT_TCP_RST)) != MQT_TCP_SYN) {
		refuse(f, end, seg);
		return;
	}
	open_peer(w, p, SIM_TCP_SYN_RCVD);
	p->irs = seg->seq;
	p->rcv_nxt = seg->seq + 1;
	send_seg(f, end, MQT_TCP_SYN | MQT_TCP_ACK, p->iss, p->rcv_nxt, NULL, 0);
}

static void
receive_syn_sent(struct sim_world *w, struct sim_flow *f, enum sim_end end,
		const struct sim_seg *seg)
{
	struct sim_peer *p = &f->peer[end];

	if ((seg->flags & MQT_TCP_ACK) && seg->ack != p->snd_nxt) {
		refuse(f, end, seg);
		return;
	}
	if (seg->flags & MQT_TCP_RST) {
		if (seg->flags & MQT_TCP_ACK)
			close_peer(p);
		return;
	}
	if ((seg->flags & (MQT_TCP_SYN | MQT_TCP_ACK)) != (MQT_TCP_SYN | MQT_TCP_ACK))
		return;
	p->state = SIM_TCP_OPEN;
	p->irs = seg->seq;
	p->rcv_nxt = seg->seq + 1;
	p->snd_una = seg->ack;
	p->rto_ns = 0;
	p->n_rto = 0;
	p->ack_due = true;
	sim_peer_output(w, f, end);
}

static void
receive_ack(struct sim_world *w, struct sim_peer *p, uint32_t ack)
{
	uint32_t sent = fin_seq(p) + (p->fin_queued ? 1 : 0);

	if (mqt_seq_cmp(ack, p->snd_una) <= 0 || mqt_seq_cmp(ack, sent) > 0)
		return;
	p->snd_una = ack;
	if (mqt_seq_cmp(p->snd_nxt, ack) < 0)
		p->snd_nxt = ack; /* went back, and it had arrived after all */
	p->n_rto = 0;
	if (all_acked(p))
		p->rto_ns = 0;
	else
		arm(w, p);
}

static void
receive_data(struct sim_peer *p, const struct sim_seg *seg)
{
	uint32_t skip = p->rcv_nxt - seg->seq;

	if (seg->len == 0 && !(seg->flags & MQT_TCP_FIN)) {
		/* a keepalive probe is answered (RFC 9293 §3.8.4) */
		p->ack_due |= seg->seq == p->rcv_nxt - 1;
		return;
	}
	p->ack_due = true;
	if (p->fin_in || mqt_seq_cmp(seg->seq, p->rcv_nxt) > 0 || skip > seg->len)
		return; /* old, or behind a gap: only acknowledged */
	if (seg->len > skip) {
		uint32_t n = seg->len - skip;

		if (p->in_len + n > SIM_STREAM)
			return;
		memcpy(p->in + p->in_len, seg->data + skip, n);
		p->in_len += n;
		p->rcv_nxt += n;
	}
	if (seg->flags & MQT_TCP_FIN) {
		p->rcv_nxt++;
		p->fin_in = true;
	}
}

void
sim_peer_receive(struct sim_world *w, struct sim_flow *f, enum sim_end end,
		const struct sim_seg *seg)
{
	struct sim_peer *p = &f->peer[end];

	if (p->state == SIM_TCP_CLOSED) {
		receive_closed(w, f, end, seg);
		return;
	}
	if (p->state == SIM_TCP_SYN_SENT) {
		receive_syn_sent(w, f, end, seg);
		return;
	}
	if (seg->flags & MQT_TCP_RST) {
		if (seg->seq == p->rcv_nxt)
			close_peer(p);
		else if (seg->seq - p->rcv_nxt < 65535)
			send_seg(f, end, MQT_TCP_ACK, p->snd_nxt, p->rcv_nxt, NULL, 0);
		return;
	}
	if (seg->flags & MQT_TCP_SYN) {
		if (p->state == SIM_TCP_SYN_RCVD && seg->seq == p->irs)
			send_seg(f, end, MQT_TCP_SYN | MQT_TCP_ACK, p->iss, p->rcv_nxt, NULL, 0);
		else
			send_seg(f, end, MQT_TCP_ACK, p->snd_nxt, p->rcv_nxt, NULL, 0);
		return;
	}
	if (!(seg->flags & MQT_TCP_ACK))
		return;
	if (p->state == SIM_TCP_SYN_RCVD) {
		if (seg->ack != p->snd_nxt) {
			refuse(f, end, seg);
			return;
		}
		p->state = SIM_TCP_OPEN;
		p->snd_una = seg->ack;
		p->rto_ns = 0;
		p->n_rto = 0;
	}
	receive_ack(w, p, seg->ack);
	receive_data(p, seg);
	sim_app_read(w, f, end);
	close_if_done(p);
	if (p->state == SIM_TCP_OPEN && sim_percent(&w->rng, 70))
		sim_peer_output(w, f, end);
	else if (p->ack_due) {
		send_seg(f, end, MQT_TCP_ACK, p->snd_nxt, p->rcv_nxt, NULL, 0);
		p->ack_due = false;
	}
}
