/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Half-open handshakes: what a SYN and its SYN/ACK said, until the client's ACK makes a connection
 * of it (R13). So a SYN flood takes no slot; it can only press out the oldest embryos of a table
 * of fixed size, and a real handshake is in it for one round trip.
 *
 * Life-cycle: embryo_syn() makes one for each different initial sequence number of a flow, so that
 * a forged SYN stands beside a real one and changes nothing (R17). embryo_synack() picks the one
 * whose SYN the broker acknowledged: that is the commitment, and an older incarnation of the flow
 * ends there. embryo_ack() makes the connection at an ACK of that SYN/ACK. Payload of a SYN that
 * the SYN/ACK acknowledges (TCP Fast Open) counts at once, for the broker acts on it at once: the
 * connection is made at the SYN/ACK (R18). The broker may answer it at once, too, and the answer
 * overtake the SYN/ACK: then it is dropped, for no CONNACK may pass unseen, and the broker sends it
 * again. What is never completed goes by age.
 *
 * Distrust (I12). A SYN/ACK acknowledges a number, not a SYN: where payload may be acknowledged,
 * that number can be the end of one SYN and the begin of another that the broker never got. So a
 * handshake becomes opaque that can be read in two ways: a SYN repeated with other payload, two
 * embryos that one SYN/ACK can answer, a SYN/ACK that may be an older connection's own, and
 * payload where a handshake of the flow was forgotten that the broker may still be repeating. Of
 * those a bucket remembers one exactly; where there were more, any flow of it is distrusted.
 *
 * Chained hash with the keyed flow hash; a list by age, refreshed by repeated SYNs. All indices
 * into one array. Synchronisation: the worker's own.
 * Sources: RFC 9293 §3.5, RFC 7323 §2.2 and §3.2, RFC 7413 §4.2, RFC 8684 §3.1; DESIGN.md R13,
 * R17, R18.
 */
#include "conn_private.h"

#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_ether.h>

/* One embryo in this many may keep the payload of its SYN. */
#define SYN_DATA_SHARE 16

/* Longer than a broker repeats a SYN/ACK: six times, the first after a second (RFC 6298 §2). */
#define MEMORY_MS 130000

/* So long the SYN/ACK may be right behind what has overtaken it; what comes later is no part of it. */
#define OVERTAKE_NS (1 * MQT_NS_PER_SEC)

int
embryo_init(struct mqt_conns *cs)
{
	cs->n_embryos = RTE_MAX(cs->config->limits.max_embryos, 1u);
	cs->n_buckets = rte_align32pow2(cs->n_embryos);
	cs->max_syn_data = cs->n_embryos / SYN_DATA_SHARE + 1;
	cs->embryos = calloc(cs->n_embryos, sizeof(*cs->embryos));
	cs->buckets = malloc(cs->n_buckets * sizeof(*cs->buckets));
	cs->forgotten = calloc(cs->n_buckets, sizeof(*cs->forgotten));
	if (!cs->embryos || !cs->buckets || !cs->forgotten)
		return -1;
	memset(cs->buckets, 0xff, cs->n_buckets * sizeof(*cs->buckets));
	cs->free_embryo = cs->oldest_embryo = cs->newest_embryo = NO_INDEX;
	return 0;
}

void
embryo_fini(struct mqt_conns *cs)
{
	for (uint32_t i = 0; cs->embryos && i < cs->fresh_embryo; i++)
		free(cs->embryos[i].syn_data);
	free(cs->embryos);
	free(cs->buckets);
	free(cs->forgotten);
}

/* --- the table --------------------------------------------------------------------------------- */

static uint32_t
index_of(const struct mqt_conns *cs, const struct embryo *e)
{
	return (uint32_t)(e - cs->embryos);
}

static void
age_remove(struct mqt_conns *cs, struct embryo *e)
{
	if (e->older == NO_INDEX)
		cs->oldest_embryo = e->newer;
	else
		cs->embryos[e->older].newer = e->newer;
	if (e->newer == NO_INDEX)
		cs->newest_embryo = e->older;
	else
		cs->embryos[e->newer].older = e->older;
}

static void
age_append(struct mqt_conns *cs, struct embryo *e)
{
	e->newer = NO_INDEX;
	e->older = cs->newest_embryo;
	if (cs->newest_embryo == NO_INDEX)
		cs->oldest_embryo = index_of(cs, e);
	else
		cs->embryos[cs->newest_embryo].newer = index_of(cs, e);
	cs->newest_embryo = index_of(cs, e);
	e->seen_ns = cs->now_ns;
}

static void
embryo_remove(struct mqt_conns *cs, struct embryo *e)
{
	uint32_t *at = &cs->buckets[e->hash & (cs->n_buckets - 1)];

	while (*at != index_of(cs, e))
		at = &cs->embryos[*at].chain;
	*at = e->chain;
	age_remove(cs, e);
	if (e->syn_data) {
		free(e->syn_data);
		cs->n_syn_data--;
	}
	e->syn_data = NULL;
	e->used = 0;
	e->newer = cs->free_embryo;
	cs->free_embryo = index_of(cs, e);
	gauge_add(&cs->gauges.embryos, -1);
}

/* What tells a flow from others of its bucket. */
static uint32_t
tag_of(uint64_t hash)
{
	return (uint32_t)(hash >> 32) | 1;
}

static bool
is_fresh(const struct mqt_conns *cs, const struct forgotten *f)
{
	return f->ms && cs->now_ms - f->ms < MEMORY_MS;
}

void
embryo_forget(struct mqt_conns *cs, uint64_t hash)
{
	struct forgotten *f = &cs->forgotten[hash & (cs->n_buckets - 1)];

	f->tag = is_fresh(cs, f) && f->tag != tag_of(hash) ? 0 : tag_of(hash);
	f->ms = cs->now_ms ? cs->now_ms : UINT32_MAX;
}

static bool
forgot_lately(const struct mqt_conns *cs, uint64_t hash)
{
	const struct forgotten *f = &cs->forgotten[hash & (cs->n_buckets - 1)];

	return is_fresh(cs, f) && (f->tag == 0 || f->tag == tag_of(hash));
}

/* One that was not completed. */
static void
embryo_drop(struct mqt_conns *cs, struct embryo *e)
{
	embryo_forget(cs, e->hash);
	embryo_remove(cs, e);
}

static struct embryo *
embryo_take(struct mqt_conns *cs)
{
	uint32_t index;

	if (cs->free_embryo == NO_INDEX && cs->fresh_embryo == cs->n_embryos) {
		count(cs, MQT_W_EMBRYO_FULL);
		embryo_drop(cs, &cs->embryos[cs->oldest_embryo]);
	}
	index = cs->free_embryo;
	if (index != NO_INDEX)
		cs->free_embryo = cs->embryos[index].newer;
	else
		index = cs->fresh_embryo++;
	return &cs->embryos[index];
}

static struct embryo *
embryo_insert(struct mqt_conns *cs, const struct mqt_packet *p)
{
	struct embryo *e = embryo_take(cs);
	uint32_t *bucket = &cs->buckets[p->hash & (cs->n_buckets - 1)];

	*e = (struct embryo){ .key = p->key, .hash = p->hash, .chain = *bucket, .used = 1 };
	*bucket = index_of(cs, e);
	age_append(cs, e);
	gauge_add(&cs->gauges.embryos, 1);
	return e;
}

static bool
same_flow(const struct embryo *e, const struct mqt_packet *p)
{
	return e->hash == p->hash && memcmp(&e->key, &p->key, sizeof(e->key)) == 0 &&
			e->ip6 == (p->view.ip_version == 6);
}

/* Next embryo of the packet's flow, from @p index on. */
static struct embryo *
embryo_next(struct mqt_conns *cs, const struct mqt_packet *p, uint32_t index)
{
	for (; index != NO_INDEX; index = cs->embryos[index].chain)
		if (same_flow(&cs->embryos[index], p))
			return &cs->embryos[index];
	return NULL;
}

static struct embryo *
embryo_first(struct mqt_conns *cs, const struct mqt_packet *p)
{
	return embryo_next(cs, p, cs->buckets[p->hash & (cs->n_buckets - 1)]);
}

/* A client sends one SYN, so how many embryos one flow has is bounded by forgery alone. */
#define MAX_PER_FLOW 4

/* --- SYN --------------------------------------------------------------------------------------- */

static void
keep_l2(struct embryo *e, enum side side, const struct mqt_packet *p)
{
	unsigned len = p->view.l2_len;

	e->link.l2_len[side] = 0;
	memset(e->link.l2[side], 0, LINK_L2_MAX);
	if (len < RTE_ETHER_HDR_LEN || len > MQT_L2_MAX)
		return;
	e->link.l2_len[side] = (uint8_t)len;
	memcpy(e->link.l2[side], rte_pktmbuf_mtod(p->m, const void *), len - 2);
}

static void
keep_syn_data(struct mqt_conns *cs, struct embryo *e, const struct mqt_packet *p)
{
	e->syn_data_len = p->view.payload_len;
	if (e->syn_data_len == 0 || cs->n_syn_data >= cs->max_syn_data)
		return;
	e->syn_data = malloc(e->syn_data_len);
	if (!e->syn_data)
		return;
	mqt_pkt_payload_copy(p->m, &p->view, 0, e->syn_data_len, e->syn_data);
	cs->n_syn_data++;
}

static void
learn_syn(struct mqt_conns *cs, const struct mqt_packet *p, int listener)
{
	struct mqt_tcp_options opt;
	struct embryo *e = embryo_insert(cs, p);

	mqt_pkt_tcp_options(p->m, &p->view, &opt);
	e->isn[CLIENT] = p->view.seq;
	e->window = p->view.window;
	e->listener = (uint16_t)listener;
	e->ip6 = p->view.ip_version == 6;
	e->client_low = p->src_low != 0;
	e->pair = (uint8_t)(p->port >> 1);
	e->has_ts = opt.has_ts;
	e->ts_val[CLIENT] = opt.ts_val;
	e->has_wscale = opt.has_wscale;
	e->wscale[CLIENT] = opt.wscale;
	e->distrust = p->view.tcp_flags & MQT_TCP_URG ? MQT_W_OPAQUE_URGENT : 0;
	keep_l2(e, CLIENT, p);
	keep_syn_data(cs, e, p);
}

/* Whether a repeated SYN has other payload; none is what a client falls back to (RFC 7413 §4.2). */
static bool
other_payload(const struct embryo *e, const struct mqt_packet *p)
{
	uint32_t n = p->view.payload_len, len;

	if (n == 0)
		return false;
	if (n != e->syn_data_len || !e->syn_data)
		return true;
	for (uint32_t at = 0; at < n; at += len) {
		const uint8_t *data = mqt_pkt_payload_at(p->m, &p->view, at, &len);

		if (len == 0 || memcmp(data, e->syn_data + at, len) != 0)
			return true;
	}
	return false;
}

/* Whether it repeats the SYN of a known handshake. */
static bool
known_syn(struct mqt_conns *cs, const struct mqt_packet *p, const struct conn *c, unsigned *n)
{
	*n = 0;
	if (c && c->isn == p->view.seq)
		return true;
	for (struct embryo *e = embryo_first(cs, p); e; e = embryo_next(cs, p, e->chain)) {
		++*n;
		if (e->isn[CLIENT] != p->view.seq)
			continue;
		if (other_payload(e, p))
			e->distrust = MQT_W_OPAQUE_AMBIGUOUS;
		age_remove(cs, e);
		age_append(cs, e);
		return true;
	}
	return false;
}

void
embryo_syn(struct mqt_conns *cs, const struct mqt_packet *p, const struct conn *c)
{
	struct mqt_endpoint src, dst;
	int listener;
	unsigned n;

	mqt_pkt_endpoints(p->m, &p->view, &src, &dst);
	listener = mqt_config_listener(cs->config, &dst);
	if (listener < 0) {
		count(cs, MQT_W_PASSED);
	} else {
		count(cs, MQT_W_SYN);
		if (!known_syn(cs, p, c, &n)) {
			if (n >= MAX_PER_FLOW) {
				/* the oldest of this flow gives way */
				struct embryo *oldest = embryo_first(cs, p), *e = oldest;

				while ((e = embryo_next(cs, p, e->chain)))
					if (!e->answered && e->seen_ns <= oldest->seen_ns)
						oldest = e;
				count(cs, MQT_W_EMBRYO_FULL);
				embryo_drop(cs, oldest);
			}
			learn_syn(cs, p, listener);
		}
	}
	mqt_tx_push(cs->tx, p->port ^ 1, p->m, NULL, 0);
}

/* --- SYN/ACK and the connection ---------------------------------------------------------------- */

static void
learn_synack(struct embryo *e, const struct mqt_packet *p)
{
	struct mqt_tcp_options opt;

	mqt_pkt_tcp_options(p->m, &p->view, &opt);
	e->answered = 1;
	e->isn[BROKER] = p->view.seq;
	e->edge = p->view.ack + p->view.window; /* never scaled, RFC 7323 §2.2 */
	e->has_ts = e->has_ts && opt.has_ts;
	e->ts_val[BROKER] = opt.ts_val;
	e->has_wscale = e->has_wscale && opt.has_wscale;
	e->wscale[BROKER] = opt.wscale;
	e->mptcp = opt.mptcp; /* whichever of its SYNs the broker has got */
	e->synack_data = p->view.payload_len > 0;
	keep_l2(e, BROKER, p);
}

/* Makes the connection; the embryo is gone then, whatever the outcome. */
static struct conn *
make_conn(struct mqt_conns *cs, struct embryo *e) MQT_REQUIRES(mqt_role_worker)
{
	struct conn *c = conn_create(cs, e);

	if (!c)
		limit_undo(cs, e);

	if (c && e->distrust) {
		conn_untracked(cs, c, e->distrust);
	} else if (c && e->mptcp) {
		conn_untracked(cs, c, MQT_W_OPAQUE_MPTCP);
	} else if (c && e->synack_data) {
		conn_untracked(cs, c, MQT_W_OPAQUE_SYN_DATA);
	} else if (c && !handshake_begin(cs, c)) {
		conn_untracked(cs, c, MQT_W_HANDSHAKE_FULL);
	}
	return c;
}

/* The broker has accepted the first @p len bytes of the SYN's payload. */
static void
take_syn_data(struct mqt_conns *cs, struct conn *c, const struct embryo *e, uint32_t len)
		MQT_REQUIRES(mqt_role_worker)
{
	struct stream *s = &c->stream[CLIENT];

	s->flags |= STREAM_IN_SYN;
	s->end += len;
	c->stream[BROKER].ack = s->end;
	if (c->state != MQT_CONN_EMBRYONIC) {
		s->next = s->end;
		return;
	}
	if (!e->syn_data) {
		conn_untracked(cs, c, MQT_W_OPAQUE_SYN_DATA);
		return;
	}
	mqt_slot_count(&c->slot, MQT_RECV_CNT, 1);
	mqt_slot_count(&c->slot, MQT_RECV_OCT, len);
	tcp_take_bytes(cs, c, CLIENT, e->syn_data, len);
	s->next = s->end;
}

/* The embryo that a SYN/ACK answers, from @p e on; NULL: none. */
static struct embryo *
answered_by(struct mqt_conns *cs, const struct mqt_packet *p, struct embryo *e)
{
	while (e && p->view.ack - (e->isn[CLIENT] + 1) > e->syn_data_len)
		e = embryo_next(cs, p, e->chain);
	return e;
}

/* Whether a SYN/ACK may repeat that of a connection which its broker does not know complete. */
static bool
may_be_own(const struct conn *c, const struct mqt_packet *p)
{
	return c->stream[BROKER].end - (p->view.seq + 1) <= UINT16_MAX;
}

static bool
is_ambiguous(struct mqt_conns *cs, const struct mqt_packet *p, const struct embryo *e,
		const struct conn *c)
{
	bool data = p->view.ack != e->isn[CLIENT] + 1;

	if (answered_by(cs, p, embryo_next(cs, p, e->chain)))
		return true;
	return c ? data || may_be_own(c, p) : data && forgot_lately(cs, e->hash);
}

bool
embryo_synack(struct mqt_conns *cs, const struct mqt_packet *p, struct conn *c)
{
	struct embryo *e = answered_by(cs, p, embryo_first(cs, p));
	uint32_t data_len;

	if (!e || (p->src_low != 0) == (e->client_low != 0))
		return false;
	if (!e->answered && is_ambiguous(cs, p, e, c))
		e->distrust = MQT_W_OPAQUE_AMBIGUOUS;
	if (c) {
		count(cs, MQT_W_REPLACED);
		channel_down(cs, c, MQT_REASON_REPLACED);
		conn_remove(cs, c);
	}
	learn_synack(e, p);
	mqt_tx_push(cs->tx, p->port ^ 1, p->m, NULL, 0);
	data_len = p->view.ack - (e->isn[CLIENT] + 1);
	if (data_len > 0) {
		bool within = limit_enter(cs, e);

		c = make_conn(cs, e);
		if (c && !within)
			close_wire(cs, c, CLOSE_RESET);
		else if (c)
			take_syn_data(cs, c, e, data_len);
		embryo_remove(cs, e);
	}
	return true;
}

static bool
completes(const struct embryo *e, const struct mqt_packet *p)
{
	const struct mqt_pkt *v = &p->view;

	return e->answered && (v->tcp_flags & (MQT_TCP_ACK | MQT_TCP_RST)) == MQT_TCP_ACK &&
			v->ack == e->isn[BROKER] + 1 &&
			mqt_seq_cmp(v->seq, e->isn[CLIENT] + 1) >= 0 &&
			mqt_seq_cmp(v->seq, e->edge) <= 0 &&
			(p->src_low != 0) == (e->client_low != 0);
}

/* The client goes on as if it had been answered: the broker's direction takes another way. */
static void
note_one_way(struct mqt_conns *cs, struct embryo *e, const struct mqt_packet *p)
{
	const struct mqt_pkt *v = &p->view;

	if (e->answered || e->one_way || v->seq != e->isn[CLIENT] + 1 ||
			(v->tcp_flags & (MQT_TCP_ACK | MQT_TCP_RST)) != MQT_TCP_ACK)
		return;
	e->one_way = 1;
	count(cs, MQT_W_ONE_WAY);
}

void
embryo_simultaneous(struct mqt_conns *cs, const struct mqt_packet *p)
{
	for (struct embryo *e = embryo_first(cs, p); e; e = embryo_next(cs, p, e->chain))
		if ((p->src_low != 0) != (e->client_low != 0))
			e->distrust = MQT_W_OPAQUE_SIMULTANEOUS;
}

/* Whether a broker answers the payload of a SYN, and its SYN/ACK has not come by yet. */
static bool
is_early(struct mqt_conns *cs, const struct mqt_packet *p)
{
	const struct mqt_pkt *v = &p->view;

	if (v->tcp_flags & MQT_TCP_RST || (v->payload_len == 0 && !(v->tcp_flags & MQT_TCP_FIN)))
		return false;
	for (struct embryo *e = embryo_first(cs, p); e; e = embryo_next(cs, p, e->chain)) {
		uint32_t taken = v->ack - (e->isn[CLIENT] + 1);

		if (!e->answered && taken > 0 && taken <= e->syn_data_len &&
				(p->src_low != 0) != (e->client_low != 0) &&
				cs->now_ns - e->seen_ns < OVERTAKE_NS)
			return true;
	}
	return false;
}

static bool
drop_early(struct mqt_conns *cs, const struct mqt_packet *p)
{
	if (!is_early(cs, p))
		return false;
	count(cs, MQT_W_EARLY_DROPPED);
	rte_pktmbuf_free(p->m);
	return true;
}

struct conn *
embryo_ack(struct mqt_conns *cs, const struct mqt_packet *p, bool *taken)
{
	struct embryo *e;
	struct conn *c;

	*taken = false;
	if ((p->port & 1) != CLIENT) {
		*taken = drop_early(cs, p);
		return NULL;
	}
	for (e = embryo_first(cs, p); e; e = embryo_next(cs, p, e->chain)) {
		if (completes(e, p))
			break;
		note_one_way(cs, e, p);
	}
	if (!e || !mqt_pkt_checksum_ok(p->m, &p->view))
		return NULL;
	if (!limit_enter(cs, e)) {
		close_unknown(cs, p);
		embryo_remove(cs, e);
		*taken = true;
		return NULL;
	}
	c = make_conn(cs, e);
	if (!c && cs->config->listeners[e->listener].on_failure == MQT_FAIL_CLOSED) {
		close_unknown(cs, p);
		*taken = true;
	}
	embryo_remove(cs, e);
	return c;
}

unsigned
embryo_expire(struct mqt_conns *cs, unsigned budget)
{
	uint64_t limit = cs->config->limits.embryo_ms * MQT_NS_PER_MS;
	unsigned n = 0;

	while (n < budget && cs->oldest_embryo != NO_INDEX) {
		struct embryo *e = &cs->embryos[cs->oldest_embryo];

		if (cs->now_ns - e->seen_ns < limit)
			break;
		embryo_drop(cs, e);
		n++;
	}
	return n;
}
