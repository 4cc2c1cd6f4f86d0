/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A flow that is being taken over, from takeover begin to takeover end. Its session has left for
 * the control lcore, so not one byte may pass any more: what the session does not know of must not
 * happen. Segments are dropped, whatever they are, SYN, FIN and RST included; what they acknowledge
 * is learned, for it decides whether the client can be told by a DISCONNECT in the end.
 *
 * Life-cycle: freeze() splits the ids in flight towards the client off the session, which stay
 * here as pendings, and gives the session away. Takeover end closes the flow (message.c). It always
 * comes (R4); where it does not, within the limit of an open, the flow closes by itself. Nothing
 * that waits in tx is missed: messages are read between bursts, when tx is empty (R5).
 *
 * Synchronisation: the worker's own.
 * Sources: DESIGN.md §3, R4, R5.
 */
#include "conn_private.h"

struct mqt_session *
freeze(struct mqt_conns *cs, struct conn *c)
{
	struct mqt_session *session;

	count(cs, MQT_W_FROZEN);
	handshake_end(cs, c); /* nothing passes that could contradict CONNECT */
	session = c->session;
	hold_drop(cs, &c->stream[CLIENT]);
	hold_drop(cs, &c->stream[BROKER]);
	c->pendings = NULL;
	if (session) {
		c->pendings = mqt_session_split_pendings(session);
		session_finish(c, session);
	}
	conn_set_state(cs, c, MQT_CONN_FROZEN);
	conn_arm(cs, c, cs->config->limits.opening_ms * MQT_NS_PER_MS);
	return session;
}

void
freeze_input(struct mqt_conns *cs, struct conn *c, enum side side, const struct mqt_packet *p)
{
	const struct mqt_pkt *v = &p->view;

	count(cs, MQT_W_FROZEN_DROPPED);
	if (!(v->tcp_flags & MQT_TCP_RST) &&
			mqt_seq_cmp(v->seq, c->stream[opposite(side)].edge) <= 0)
		tcp_learn(cs, c, side, p->m, v);
	rte_pktmbuf_free(p->m);
}

void
freeze_timer(struct mqt_conns *cs, struct conn *c)
{
	bool alive = channel_down(cs, c, MQT_REASON_TAKEN_OVER);

	close_wire(cs, c, alive ? CLOSE_DISCARD : CLOSE_RESET);
}
