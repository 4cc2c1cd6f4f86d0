/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reassembly of IP fragments that could belong to a listener, so that a fragmented segment is judged
 * like any other and its bytes cannot reach a broker unseen (I12). The judged datagram leaves as
 * the fragments it came in, or not at all.
 *
 * Life-cycle of a datagram:
 *   COLLECT  fragments are kept, by offset. Whole: it is joined and judged, and forgotten here.
 *   PASS     its first fragment says that it is no listener's: what is kept leaves as it came, in
 *            order, and so does the rest, until all of it has been seen.
 *   DROP     nothing of it leaves: fragments overlap, there are too many, or the first one does not
 *            hold the TCP header. Hosts drop the first kind too (RFC 5722), and no honest sender
 *            makes the others (RFC 1858, RFC 7112).
 * A repeated fragment (same offset and length) is dropped, the one that is kept is what leaves. A
 * datagram lives for TIMEOUT_NS from its first fragment on, as long as a host would wait; what is
 * kept is dropped then, for no host could use it. An IPv6 datagram of one fragment stands for itself
 * (RFC 6946). A later fragment has no ports, so every fragment is a candidate whose addresses could
 * be a listener's; of IPv4, of protocol TCP only.
 *
 * What leaves may be lost on its way, a first fragment on purpose (its TTL, its destination's MAC
 * address): then the receiver keeps the later ones, and would join them to a first one that comes
 * under the same identity, whatever that was judged with here. So identities under which fragments
 * have left are remembered for as long as a receiver waits, and a listener's datagram of such an
 * identity is dropped; its sender repeats the segment under another one. Where two of them fall on
 * one place of that memory, all that fall there are taken for remembered.
 *
 * No room: the oldest datagram is given up. Nothing passes unseen, for what the receiver has and the
 * tracker has not seen would let another CONNECT take its place before the tracker's eyes.
 *
 * Chained hash by the keyed hash of the identity; a list by age; pieces in lists by offset. All are
 * indices into two arrays of limits.fragments members: a datagram has a piece or is a few bytes.
 * Synchronisation: the worker's own. Time is the caller's.
 * Sources: RFC 791 §3.2, RFC 8200 §4.5, RFC 5722 §4, RFC 6946 §4, RFC 1858 §3; DESIGN.md I10, I12.
 */
#include "reassembly.h"

#include "mqtrack/clock.h"
#include "mqtrack/counters.h"

#include <string.h>

#include <rte_errno.h>
#include <rte_malloc.h>

#define NO_INDEX   UINT32_MAX
#define TIMEOUT_NS (30 * MQT_NS_PER_SEC)
#define WAIT_SEC   60 /* of a receiver, at most */
#define N_GONE     32768
#define PROTO_TCP  6

enum state {
	COLLECT,
	PASS,
	DROP
};

struct piece {
	struct rte_mbuf *m;
	uint32_t off, len;
	uint32_t next; /* by offset; also links free ones */
};

struct datagram {
	struct mqt_datagram_key key;
	uint64_t hash;
	uint64_t born_ns;
	uint32_t chain;        /* next in its bucket; also links free ones */
	uint32_t newer, older; /* by age */
	uint32_t pieces;
	uint32_t have;  /* bytes seen */
	uint32_t total; /* 0: the last fragment has not come */
	uint8_t n_pieces;
	uint8_t state;
};

/* Identities under which fragments have left. */
struct gone {
	uint32_t until_sec; /* 0: none */
	uint32_t tag;       /* of the hash; 0: several */
};

struct reassembly {
	/* immutable after create */
	const struct mqt_config *config;
	struct rte_mempool *pool;
	_Atomic uint64_t *counters;
	uint64_t whole_flag;
	uint32_t n, n_buckets;

	/* owner only */
	uint32_t now_sec; /* of the fragment at hand */
	uint32_t free_piece, free_datagram;
	uint32_t oldest, newest;
	struct piece *pieces;
	struct datagram *datagrams;
	uint32_t *buckets;
	struct gone gone[N_GONE];
};

static void
count(struct reassembly *r, enum mqt_worker_counter c, unsigned n)
{
	mqt_counter_add(&r->counters[c], n);
}

/* --- making and ending ------------------------------------------------------------------------- */

struct reassembly *
reassembly_create(const struct reassembly_params *params)
{
	uint32_t n = params->config->limits.fragments, n_buckets = rte_align32pow2(n);
	struct reassembly *r;

	r = rte_zmalloc_socket("mqt_reassembly",
			sizeof(*r) + n * (sizeof(struct datagram) + sizeof(struct piece)) +
					n_buckets * sizeof(uint32_t),
			0, params->socket_id);
	if (!r) {
		rte_errno = ENOMEM;
		return NULL;
	}
	r->datagrams = (void *)(r + 1);
	r->pieces = (void *)(r->datagrams + n);
	r->buckets = (void *)(r->pieces + n);
	memset(r->buckets, 0xff, n_buckets * sizeof(uint32_t));
	r->config = params->config;
	r->pool = params->pool;
	r->counters = params->counters;
	r->whole_flag = params->whole_flag;
	r->n = n;
	r->n_buckets = n_buckets;
	r->oldest = r->newest = NO_INDEX;
	for (uint32_t i = 0; i < n; i++) {
		r->pieces[i].next = i + 1 < n ? i + 1 : NO_INDEX;
		r->datagrams[i].chain = i + 1 < n ? i + 1 : NO_INDEX;
	}
	return r;
}

/* --- the table --------------------------------------------------------------------------------- */

static uint32_t
index_of(const struct reassembly *r, const struct datagram *d)
{
	return (uint32_t)(d - r->datagrams);
}

static struct datagram *
lookup(struct reassembly *r, const struct mqt_fragment *frag, uint64_t hash)
{
	uint32_t i = r->buckets[hash & (r->n_buckets - 1)];

	while (i != NO_INDEX && memcmp(&r->datagrams[i].key, &frag->key, sizeof(frag->key)) != 0)
		i = r->datagrams[i].chain;
	return i == NO_INDEX ? NULL : &r->datagrams[i];
}

/* Its pieces have gone before. */
static void
forget(struct reassembly *r, struct datagram *d)
{
	uint32_t *at = &r->buckets[d->hash & (r->n_buckets - 1)];

	while (*at != index_of(r, d))
		at = &r->datagrams[*at].chain;
	*at = d->chain;
	if (d->older == NO_INDEX)
		r->oldest = d->newer;
	else
		r->datagrams[d->older].newer = d->newer;
	if (d->newer == NO_INDEX)
		r->newest = d->older;
	else
		r->datagrams[d->newer].older = d->older;
	d->chain = r->free_datagram;
	r->free_datagram = index_of(r, d);
}

/* Takes all pieces out, by offset. Ownership: the caller's. */
static unsigned
take_pieces(struct reassembly *r, struct datagram *d, struct rte_mbuf **m)
{
	unsigned n = 0;

	for (uint32_t i = d->pieces; i != NO_INDEX;) {
		struct piece *p = &r->pieces[i];
		uint32_t next = p->next;

		m[n++] = p->m;
		p->next = r->free_piece;
		r->free_piece = i;
		i = next;
	}
	d->pieces = NO_INDEX;
	d->n_pieces = 0;
	return n;
}

static unsigned
drop_pieces(struct reassembly *r, struct datagram *d)
{
	struct rte_mbuf *m[REASSEMBLY_MAX_PIECES];
	unsigned n = take_pieces(r, d, m);

	rte_pktmbuf_free_bulk(m, n);
	return n;
}

/* Makes room. */
static void
give_up_oldest(struct reassembly *r)
{
	struct datagram *d = &r->datagrams[r->oldest];

	count(r, MQT_W_FRAGMENT_FULL, 1);
	count(r, MQT_W_FRAGMENTS_DROPPED, drop_pieces(r, d));
	forget(r, d);
}

static struct datagram *
insert(struct reassembly *r, const struct mqt_fragment *frag, uint64_t hash, uint64_t now_ns)
{
	uint32_t *bucket = &r->buckets[hash & (r->n_buckets - 1)];
	struct datagram *d;
	uint32_t i;

	if (r->free_datagram == NO_INDEX)
		give_up_oldest(r);
	i = r->free_datagram;
	d = &r->datagrams[i];
	r->free_datagram = d->chain;
	*d = (struct datagram){
		.key = frag->key,
		.hash = hash,
		.born_ns = now_ns,
		.chain = *bucket,
		.newer = NO_INDEX,
		.older = r->newest,
		.pieces = NO_INDEX,
	};
	*bucket = i;
	if (r->newest == NO_INDEX)
		r->oldest = i;
	else
		r->datagrams[r->newest].newer = i;
	r->newest = i;
	return d;
}

void
reassembly_destroy(struct reassembly *r)
{
	if (!r)
		return;
	for (uint32_t i = r->oldest; i != NO_INDEX; i = r->datagrams[i].newer)
		drop_pieces(r, &r->datagrams[i]);
	rte_free(r);
}

/* --- whose it is ------------------------------------------------------------------------------- */

static bool
fits(const struct mqt_endpoint *listener, const struct mqt_datagram_key *key)
{
	size_t len = key->ip_version == 4 ? 4 : 16;

	if (listener->version == 0)
		return true;
	return listener->version == key->ip_version &&
			(memcmp(listener->ip, key->src, len) == 0 ||
					memcmp(listener->ip, key->dst, len) == 0);
}

bool
reassembly_concerns(const struct mqt_config *cfg, const struct mqt_fragment *frag)
{
	if (frag->key.ip_version == 4 && frag->key.proto != PROTO_TCP)
		return false;
	for (unsigned i = 0; i < cfg->n_listeners; i++)
		if (fits(&cfg->listeners[i].address, &frag->key))
			return true;
	return false;
}

/* What the first fragment means for its datagram. */
static enum state
judge_first(const struct reassembly *r, const struct rte_mbuf *m, const struct mqt_fragment *frag)
{
	uint16_t port[2];
	enum mqt_first_kind kind = mqt_pkt_fragment_first(m, frag, port);

	if (kind == MQT_FIRST_OTHER)
		return PASS;
	if (kind == MQT_FIRST_TINY && port[0] == 0 && port[1] == 0)
		return DROP;
	if (!mqt_config_has_port(r->config, port[0]) && !mqt_config_has_port(r->config, port[1]))
		return PASS;
	return kind == MQT_FIRST_TCP ? COLLECT : DROP;
}

/* --- identities under which fragments have left ------------------------------------------------ */

static struct gone *
gone_of(struct reassembly *r, uint64_t hash)
{
	return &r->gone[(hash >> 16) % N_GONE];
}

static uint32_t
tag_of(uint64_t hash)
{
	return (uint32_t)hash | 1;
}

static bool
is_gone(struct reassembly *r, uint64_t hash)
{
	const struct gone *g = gone_of(r, hash);

	return g->until_sec > r->now_sec && (g->tag == 0 || g->tag == tag_of(hash));
}

static void
remember_gone(struct reassembly *r, uint64_t hash)
{
	struct gone *g = gone_of(r, hash);

	if (g->until_sec <= r->now_sec)
		g->tag = tag_of(hash);
	else if (g->tag != tag_of(hash))
		g->tag = 0;
	g->until_sec = r->now_sec + WAIT_SEC + 1;
}

/* --- what becomes of a datagram ---------------------------------------------------------------- */

static void
pass(struct reassembly *r, struct rte_mbuf *m, struct reassembly_out *out)
{
	out->pass[out->n_pass++] = m;
	count(r, MQT_W_FRAGMENTS_PASSED, 1);
}

static void
drop(struct reassembly *r, struct datagram *d, struct rte_mbuf *m)
{
	count(r, MQT_W_FRAGMENTS_DROPPED, drop_pieces(r, d) + 1);
	rte_pktmbuf_free(m);
	d->state = DROP;
}

/* Whether the datagram has been seen to its end. */
static bool
is_complete(const struct datagram *d)
{
	return d->total > 0 && d->have >= d->total;
}

static void
note(struct datagram *d, const struct mqt_fragment *frag)
{
	d->have += frag->len;
	if (!frag->more)
		d->total = frag->off + frag->len;
}

static void
pass_on(struct reassembly *r, struct datagram *d, struct rte_mbuf *m,
		const struct mqt_fragment *frag, struct reassembly_out *out)
{
	struct rte_mbuf *kept[REASSEMBLY_MAX_PIECES];
	unsigned n = take_pieces(r, d, kept);

	for (unsigned i = 0; i < n; i++)
		pass(r, kept[i], out);
	pass(r, m, out);
	remember_gone(r, d->hash);
	d->state = PASS;
	note(d, frag);
	if (is_complete(d))
		forget(r, d);
}

/* The fragments m become one packet to be judged. */
static void
join(struct reassembly *r, struct rte_mbuf **m, unsigned n, struct reassembly_out *out)
{
	struct mqt_pkt pkt;

	out->whole = mqt_fragments_join(r->pool, m, n, r->whole_flag);
	if (!out->whole) {
		count(r, MQT_W_FRAGMENTS_DROPPED, n);
		rte_pktmbuf_free_bulk(m, n);
		return;
	}
	mqt_pkt_parse(out->whole, &pkt);
	if (pkt.kind == MQT_PKT_MALFORMED || pkt.kind == MQT_PKT_FRAGMENT) {
		count(r, MQT_W_FRAGMENTS_DROPPED, n);
		rte_pktmbuf_free(out->whole);
		out->whole = NULL;
		return;
	}
	count(r, MQT_W_REASSEMBLED, 1);
}

enum added {
	ADDED,
	REPEATED,
	OVERLAPS,
	NO_ROOM
};

static enum added
add_piece(struct reassembly *r, struct datagram *d, struct rte_mbuf *m,
		const struct mqt_fragment *frag)
{
	uint32_t *at = &d->pieces, end = frag->off + frag->len, i;
	const struct piece *before = NULL;

	while (*at != NO_INDEX && r->pieces[*at].off < frag->off) {
		before = &r->pieces[*at];
		at = &r->pieces[*at].next;
	}
	if (*at != NO_INDEX && r->pieces[*at].off == frag->off && r->pieces[*at].len == frag->len)
		return REPEATED;
	if ((before && before->off + before->len > frag->off) ||
			(*at != NO_INDEX && r->pieces[*at].off < end) ||
			(d->total > 0 && (end > d->total || !frag->more)) ||
			(!frag->more && *at != NO_INDEX) || d->n_pieces == REASSEMBLY_MAX_PIECES)
		return OVERLAPS;
	i = r->free_piece;
	if (i == NO_INDEX)
		return NO_ROOM;
	r->free_piece = r->pieces[i].next;
	r->pieces[i] = (struct piece){ m, frag->off, frag->len, *at };
	*at = i;
	d->n_pieces++;
	return ADDED;
}

static void
collect(struct reassembly *r, struct datagram *d, struct rte_mbuf *m,
		const struct mqt_fragment *frag, struct reassembly_out *out)
{
	struct rte_mbuf *all[REASSEMBLY_MAX_PIECES];
	unsigned n;

	while (r->free_piece == NO_INDEX && r->oldest != index_of(r, d))
		give_up_oldest(r);
	switch (add_piece(r, d, m, frag)) {
	case REPEATED:
		count(r, MQT_W_FRAGMENTS_DROPPED, 1);
		rte_pktmbuf_free(m);
		return;
	case NO_ROOM:
		count(r, MQT_W_FRAGMENT_FULL, 1);
		/* fall through */
	case OVERLAPS:
		drop(r, d, m);
		return;
	case ADDED:
		note(d, frag);
	}
	if (!is_complete(d))
		return;
	n = take_pieces(r, d, all);
	if (is_gone(r, d->hash)) {
		count(r, MQT_W_FRAGMENT_REUSED, 1);
		count(r, MQT_W_FRAGMENTS_DROPPED, n);
		rte_pktmbuf_free_bulk(all, n);
	} else {
		join(r, all, n, out);
		remember_gone(r, d->hash);
	}
	forget(r, d);
}

/* An IPv6 datagram that has a fragment header and is whole. */
static void
alone(struct reassembly *r, struct rte_mbuf *m, const struct mqt_fragment *frag,
		struct reassembly_out *out)
{
	switch (judge_first(r, m, frag)) {
	case COLLECT:
		join(r, &m, 1, out);
		break;
	case PASS:
		pass(r, m, out);
		break;
	case DROP:
		count(r, MQT_W_FRAGMENTS_DROPPED, 1);
		rte_pktmbuf_free(m);
	}
}

void
reassembly_input(struct reassembly *r, struct rte_mbuf *m, const struct mqt_fragment *frag,
		uint64_t hash, uint64_t now_ns, struct reassembly_out *out)
{
	enum state first = frag->off == 0 ? judge_first(r, m, frag) : COLLECT;
	struct datagram *d;

	r->now_sec = (uint32_t)(now_ns / MQT_NS_PER_SEC);
	out->n_pass = 0;
	out->whole = NULL;
	if (frag->off == 0 && !frag->more) {
		alone(r, m, frag, out);
		return;
	}
	d = lookup(r, frag, hash);
	if (!d)
		d = insert(r, frag, hash, now_ns);
	if (d->state == DROP || first == DROP)
		drop(r, d, m);
	else if (d->state == COLLECT && first == PASS)
		pass_on(r, d, m, frag, out);
	else if (d->state == COLLECT)
		collect(r, d, m, frag, out);
	else if (frag->off == 0 && first == COLLECT)
		drop(r, d, m); /* two first fragments, one of them a listener's */
	else
		pass_on(r, d, m, frag, out);
}

unsigned
reassembly_expire(struct reassembly *r, uint64_t now_ns, unsigned budget)
{
	unsigned n = 0;

	while (n < budget && r->oldest != NO_INDEX) {
		struct datagram *d = &r->datagrams[r->oldest];

		if (now_ns - d->born_ns < TIMEOUT_NS)
			break;
		if (drop_pieces(r, d) > 0)
			count(r, MQT_W_FRAGMENT_TIMEOUTS, 1);
		forget(r, d);
		n++;
	}
	return n;
}
