/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mbufs that wait: parked behind a CONNACK, held until a gap before them is filled, or kept by
 * reference so that the framing cursor can read them later. They come from one array a worker,
 * whose size is the worker's share of rule R12; each stream has a list in the order of sequence.
 *
 * Life-cycle: hold_add() takes a reference of the mbuf, hold_pop() gives it back, hold_drop()
 * frees it. Synchronisation: the worker's own.
 */
#include "conn_private.h"

#include <stdlib.h>
#include <string.h>

int
hold_init(struct mqt_conns *cs, uint32_t n)
{
	cs->holds = calloc(n, sizeof(*cs->holds));
	cs->n_holds = n;
	cs->free_hold = NO_INDEX;
	return cs->holds ? 0 : -1;
}

void
hold_fini(struct mqt_conns *cs)
{
	free(cs->holds);
}

bool
hold_add(struct mqt_conns *cs, struct stream *s, struct rte_mbuf *m, const struct mqt_pkt *v,
		uint16_t port, bool forwarded)
{
	uint32_t index = cs->free_hold, *at = &s->held;
	struct hold *h;

	if (index != NO_INDEX)
		cs->free_hold = cs->holds[index].next;
	else if (cs->fresh_hold < cs->n_holds)
		index = cs->fresh_hold++;
	else
		return false;
	while (*at != NO_INDEX && mqt_seq_cmp(cs->holds[*at].view.seq, v->seq) <= 0)
		at = &cs->holds[*at].next;
	h = &cs->holds[index];
	*h = (struct hold){ .m = m,
		.view = *v,
		.next = *at,
		.since_ms = cs->now_ms,
		.port = port,
		.forwarded = forwarded };
	*at = index;
	s->n_held++;
	gauge_add(&cs->gauges.parked, 1);
	return true;
}

static void
put_back(struct mqt_conns *cs, struct stream *s, uint32_t index)
{
	s->n_held--;
	cs->holds[index].next = cs->free_hold;
	cs->free_hold = index;
	gauge_add(&cs->gauges.parked, -1);
}

bool
hold_pop(struct mqt_conns *cs, struct stream *s, struct hold *out)
{
	uint32_t index = s->held;

	if (index == NO_INDEX)
		return false;
	*out = cs->holds[index];
	s->held = out->next;
	put_back(cs, s, index);
	return true;
}

void
hold_drop_last(struct mqt_conns *cs, struct stream *s)
{
	uint32_t *at = &s->held, index;

	if (s->held == NO_INDEX)
		return;
	while (cs->holds[*at].next != NO_INDEX)
		at = &cs->holds[*at].next;
	index = *at;
	*at = NO_INDEX;
	rte_pktmbuf_free(cs->holds[index].m);
	put_back(cs, s, index);
}

void
hold_drop(struct mqt_conns *cs, struct stream *s)
{
	struct hold h;

	while (hold_pop(cs, s, &h))
		rte_pktmbuf_free(h.m);
}

bool
hold_agrees(const struct hold *h, const struct rte_mbuf *m, const struct mqt_pkt *v)
{
	uint32_t h_end = h->view.seq + h->view.payload_len, v_end = v->seq + v->payload_len;
	uint32_t at = mqt_seq_cmp(h->view.seq, v->seq) > 0 ? h->view.seq : v->seq;
	uint32_t end = mqt_seq_cmp(h_end, v_end) < 0 ? h_end : v_end;

	while (mqt_seq_cmp(at, end) < 0) {
		uint32_t a_len, b_len, n = end - at;
		const uint8_t *a = mqt_pkt_payload_at(h->m, &h->view, at - h->view.seq, &a_len);
		const uint8_t *b = mqt_pkt_payload_at(m, v, at - v->seq, &b_len);

		n = RTE_MIN(n, RTE_MIN(a_len, b_len));
		if (n == 0 || memcmp(a, b, n) != 0)
			return false;
		at += n;
	}
	return true;
}
