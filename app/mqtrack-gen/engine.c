/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The flows, each with at most one packet under way: the next one is made when that has come through,
 * at the other port, so the order in which client and broker speak is always that of a real
 * connection, and the load comes from many flows at once. What does not come in time is sent again,
 * as TCP would; what was lost is counted.
 *
 * Life of a place: IDLE → (begin) READY → (sent) WAITING → (came through) READY → ... → SETTLED where
 * the flow stays, or IDLE where it is over; RESTING after a CONNACK in files. Three rings hold places:
 * those that may begin (IDLE, and SETTLED ones that are to be replaced), READY ones, RESTING ones.
 * A place is in one of them at most, which is why they cannot run over.
 *
 * The newest flow of a place is the only one with a memory. Of the one before it is known whether its
 * two ends were told that it is over; segments for it are answered by RST, as its host would.
 * Synchronisation: none, one thread.
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#define MOST_TRIES 5u

enum state {
	IDLE,
	READY,
	RESTING,
	WAITING,
	SETTLED,
};

/* gen_flow.ends */
enum {
	GONE = 1 << 0,      /* the tracker has ended it */
	OLDER = 1 << 1,     /* there was a settled flow before this one */
	OLDER_END = 1 << 2, /* whose client was told its end */
	BEGUN = 1 << 3,     /* set with the first flow of a place, and stays */
};

struct ring {
	uint32_t *at;
	uint32_t head, n, size;
};

struct gen_engine {
	struct gen_fleet fleet;
	struct rte_mempool *pool;
	struct gen_flow *flows;
	struct ring start, ready, resting;
	uint64_t *rest_until; /* by place */
	uint64_t rest_ns;
	uint32_t n_busy; /* flows begun that are neither settled nor over */
	uint32_t n_waiting;
	bool stopped;
	bool talked; /* the last packet was a message or its acknowledgement */
	/* how many may have begun by now */
	uint64_t flows_from_ns, n_begun_from;
	/* expire */
	uint32_t swept;
	uint64_t swept_ns;
	uint64_t counts[GEN_N_COUNTS];
	uint64_t garbage[GEN_N_GARBAGE];
	struct gen_histogram times[2];
};

#define GEN_COUNT_NAME(count, name, help) name,
#define GEN_COUNT_HELP(count, name, help) help,
static const char *const names[] = { GEN_COUNTS(GEN_COUNT_NAME) };
static const char *const helps[] = { GEN_COUNTS(GEN_COUNT_HELP) };

const char *
gen_count_name(enum gen_count count)
{
	return names[count];
}

const char *
gen_count_help(enum gen_count count)
{
	return helps[count];
}

/* --- rings ------------------------------------------------------------------------------------ */

static int
ring_init(struct ring *r, uint32_t size)
{
	r->at = calloc(size, sizeof(*r->at));
	r->size = size;
	return r->at ? 0 : -1;
}

static void
ring_put(struct ring *r, uint32_t place)
{
	uint64_t tail = (uint64_t)r->head + r->n;

	r->at[tail < r->size ? tail : tail - r->size] = place;
	r->n++;
}

static uint32_t
ring_first(const struct ring *r)
{
	return r->at[r->head];
}

static uint32_t
ring_take(struct ring *r)
{
	uint32_t place = r->at[r->head];

	r->head = r->head + 1 == r->size ? 0 : r->head + 1;
	r->n--;
	return place;
}

/* --- making ----------------------------------------------------------------------------------- */

struct gen_engine *
gen_engine_create(const struct gen_options *o, struct rte_mempool *pool)
{
	struct gen_engine *e = calloc(1, sizeof(*e));
	uint32_t n;

	if (!e)
		return NULL;
	gen_fleet_init(&e->fleet, o);
	n = e->fleet.places;
	e->pool = pool;
	e->rest_ns = o->output == GEN_PORTS ? 0 : o->pause * (UINT64_C(1000000000) / o->rate);
	e->flows = calloc(n, sizeof(*e->flows));
	e->rest_until = e->rest_ns ? calloc(n, sizeof(*e->rest_until)) : NULL;
	if (!e->flows || (e->rest_ns && !e->rest_until) || ring_init(&e->start, n) != 0 ||
			ring_init(&e->ready, n) != 0 || ring_init(&e->resting, n) != 0) {
		gen_engine_destroy(e);
		return NULL;
	}
	for (uint32_t place = 0; place < n && place < o->flows; place++)
		ring_put(&e->start, place);
	return e;
}

void
gen_engine_destroy(struct gen_engine *e)
{
	if (!e)
		return;
	free(e->start.at);
	free(e->ready.at);
	free(e->resting.at);
	free(e->rest_until);
	free(e->flows);
	free(e);
}

/* --- a flow goes on --------------------------------------------------------------------------- */

/* To the end of those that may begin, where one more is wanted of this place. */
static void
again(struct gen_engine *e, uint32_t place)
{
	const struct gen_options *o = e->fleet.o;

	if (gen_number(&e->fleet, place, e->flows[place].round + 1) < o->flows)
		ring_put(&e->start, place);
}

static void
over(struct gen_engine *e, uint32_t place)
{
	e->flows[place].state = IDLE;
	e->n_busy--;
	again(e, place);
}

static void
settle(struct gen_engine *e, uint32_t place)
{
	e->flows[place].state = SETTLED;
	e->n_busy--;
	again(e, place);
}

/* A flow that will not be gone on with, whatever was planned. */
static void
drop(struct gen_engine *e, uint32_t place)
{
	struct gen_flow *f = &e->flows[place];

	f->ends |= GONE;
	if (e->fleet.o->kind == GEN_CHATTER && f->step >= gen_first_publish(&e->fleet))
		f->state = SETTLED; /* and no longer busy */
	else
		over(e, place);
}

/* Whether the messages of a flow are all said. */
static bool
has_said_all(const struct gen_engine *e, const struct gen_flow *f)
{
	return f->n_said >= e->fleet.o->messages ||
			(e->stopped && e->fleet.o->messages == GEN_NO_LIMIT);
}

static enum gen_act
act_of(const struct gen_engine *e, uint32_t place)
{
	const struct gen_flow *f = &e->flows[place];

	return gen_step(&e->fleet, gen_number(&e->fleet, place, f->round), f->step);
}

static void
ready(struct gen_engine *e, uint32_t place)
{
	e->flows[place].state = READY;
	ring_put(&e->ready, place);
}

/* For once to twice as long as was asked, so that all who rest at the same time wake together. */
static void
rest(struct gen_engine *e, uint32_t place, uint64_t now_ns)
{
	e->flows[place].state = RESTING;
	e->rest_until[place] = (now_ns / e->rest_ns + 2) * e->rest_ns;
	ring_put(&e->resting, place);
}

/* What comes behind a step that is done: the next one, ready; or the end. */
static void
go_on(struct gen_engine *e, uint32_t place, enum gen_act done, uint64_t now_ns)
{
	struct gen_flow *f = &e->flows[place];
	enum gen_kind kind = e->fleet.o->kind;
	bool settled = done == GEN_A_SETTLE && (kind == GEN_CHATTER || kind == GEN_RESUME);

	f->step++;
	f->tries = 0;
	if (done == GEN_A_PUBACK) {
		f->n_said++;
		e->counts[GEN_N_MESSAGES]++;
		if (!has_said_all(e, f))
			f->step = (uint8_t)gen_first_publish(&e->fleet);
	}
	if (act_of(e, place) == GEN_A_PUBLISH && has_said_all(e, f))
		f->step = (uint8_t)(f->step + 2);
	if (settled)
		settle(e, place);
	if (act_of(e, place) == GEN_N_ACTS) {
		if (kind == GEN_CHATTER || settled)
			f->state = SETTLED;
		else {
			e->counts[GEN_N_OVER]++;
			over(e, place);
		}
	} else if (done == GEN_A_CONNACK && e->rest_ns > 0) {
		rest(e, place, now_ns);
	} else {
		ready(e, place);
	}
}

/* --- sending ---------------------------------------------------------------------------------- */

static bool
may_begin(struct gen_engine *e, uint64_t now_ns)
{
	const struct gen_options *o = e->fleet.o;
	uint64_t begun = e->counts[GEN_N_BEGUN], passed;

	if (e->stopped || e->start.n == 0 || e->n_busy >= o->parallel)
		return false;
	if (o->flow_rate == 0)
		return true;
	passed = now_ns - e->flows_from_ns;
	if (e->flows_from_ns == 0 || passed > UINT64_C(1000000000)) {
		/* what could not begin in time is not caught up with */
		e->flows_from_ns = now_ns ? now_ns : 1;
		e->n_begun_from = begun;
		passed = 0;
	}
	return begun - e->n_begun_from <= passed * o->flow_rate / UINT64_C(1000000000);
}

static void
begin(struct gen_engine *e)
{
	uint32_t place = ring_take(&e->start);
	struct gen_flow *f = &e->flows[place];
	bool first = !(f->ends & BEGUN);
	bool older = f->state == SETTLED && !(f->ends & GONE);

	gen_begin(&e->fleet, place, first ? 0 : f->round + 1, f);
	f->ends = BEGUN | (older ? OLDER : 0);
	e->counts[GEN_N_BEGUN]++;
	e->n_busy++;
	ready(e, place);
}

static void
wake(struct gen_engine *e, uint64_t now_ns)
{
	while (e->resting.n > 0 && e->rest_until[ring_first(&e->resting)] <= now_ns)
		ready(e, ring_take(&e->resting));
}

static void
sent(struct gen_engine *e, uint32_t place, enum gen_act act, uint64_t now_ns)
{
	struct gen_flow *f = &e->flows[place];
	const struct gen_act_info *info = &gen_acts[act];

	e->counts[info->side == GEN_CLIENT ? GEN_N_SENT_OUTSIDE : GEN_N_SENT_INSIDE]++;
	if (f->tries > 0)
		e->counts[GEN_N_RESENT]++;
	f->sent_us = (uint32_t)(now_ns / 1000);
	if (e->fleet.o->kind == GEN_GARBAGE && act >= GEN_A_NONSENSE && act < GEN_A_RST &&
			f->tries == 0)
		e->garbage[gen_sort(gen_number(&e->fleet, place, f->round))]++;
	if (info->fire || e->fleet.o->kind == GEN_SYN) {
		go_on(e, place, act, now_ns);
	} else {
		f->state = WAITING;
		e->n_waiting++;
	}
}

/* The next READY place that is still there. @return false: none. */
static bool
take_ready(struct gen_engine *e, uint32_t *place)
{
	while (e->ready.n > 0) {
		*place = ring_first(&e->ready);
		if (!(e->flows[*place].ends & GONE))
			return true;
		ring_take(&e->ready);
		drop(e, *place);
	}
	return false;
}

enum gen_next
gen_engine_next(struct gen_engine *e, uint64_t now_ns, struct rte_mbuf **m, enum gen_side *from)
{
	enum gen_act act;
	uint32_t place;

	wake(e, now_ns);
	while (may_begin(e, now_ns))
		begin(e);
	if (!take_ready(e, &place)) {
		if (e->resting.n > 0)
			return GEN_RESTING;
		return e->n_waiting == 0 && (e->stopped || e->start.n == 0) ? GEN_DONE
									    : GEN_NOTHING;
	}
	act = act_of(e, place);
	*from = (enum gen_side)gen_acts[act].side;
	*m = gen_build(&e->fleet, e->pool, place, &e->flows[place], act);
	if (!*m) /* all mbufs are under way */
		return GEN_NOTHING;
	ring_take(&e->ready);
	e->talked = act == GEN_A_PUBLISH || act == GEN_A_PUBACK;
	sent(e, place, act, now_ns);
	return GEN_PACKET;
}

bool
gen_engine_talked(const struct gen_engine *e)
{
	return e->talked;
}

uint64_t
gen_engine_rest_ends(const struct gen_engine *e)
{
	return e->rest_until[ring_first(&e->resting)];
}

void
gen_engine_stop(struct gen_engine *e)
{
	e->stopped = true;
}

/* --- coming through --------------------------------------------------------------------------- */

/* What a segment takes of the sequence space. */
static uint32_t
space_of(const struct mqt_pkt *pkt)
{
	return pkt->payload_len + !!(pkt->tcp_flags & MQT_TCP_SYN) +
			!!(pkt->tcp_flags & MQT_TCP_FIN);
}

/* Whether it is the packet under way. */
static bool
is_expected(const struct gen_engine *e, const struct gen_flow *f, enum gen_act act,
		enum gen_side from, const struct mqt_pkt *pkt)
{
	const struct gen_act_info *info = &gen_acts[act];
	uint8_t flags = info->flags & (uint8_t)~MQT_TCP_PSH;
	bool answers_nothing = act == GEN_A_PUBACK && e->fleet.o->qos == 0;

	return f->state == WAITING && info->side == from &&
			(pkt->tcp_flags & (uint8_t)~MQT_TCP_PSH) == flags &&
			pkt->seq == f->seq[from] &&
			(!(flags & MQT_TCP_ACK) || pkt->ack == f->seq[!from]) &&
			(pkt->payload_len > 0) == (info->has_payload && !answers_nothing);
}

/* Whether the tracker has put a refusal in place of a CONNACK. */
static bool
is_refusal(const struct rte_mbuf *m, const struct mqt_pkt *pkt)
{
	uint8_t head[4];

	if (pkt->payload_len < sizeof(head))
		return false;
	mqt_pkt_payload_copy(m, pkt, 0, sizeof(head), head);
	return head[3] != 0;
}

/* The tracker has ended the newest flow of a place. One in a ring is found out when it is taken. */
static void
ended(struct gen_engine *e, uint32_t place)
{
	struct gen_flow *f = &e->flows[place];

	if (f->ends & GONE || f->state == IDLE)
		return;
	f->ends |= GONE;
	e->counts[GEN_N_ENDED]++;
	if (f->state != WAITING)
		return;
	e->n_waiting--;
	drop(e, place);
}

static void
connected(struct gen_engine *e, struct gen_flow *f)
{
	e->counts[GEN_N_CONNECTED]++;
	if (f->ends & OLDER && !(f->ends & OLDER_END))
		e->counts[GEN_N_TOO_EARLY]++;
}

static void
came_through(struct gen_engine *e, uint32_t place, enum gen_act act, uint64_t now_ns,
		const struct rte_mbuf *m, const struct mqt_pkt *pkt)
{
	struct gen_flow *f = &e->flows[place];

	gen_histogram_add(&e->times[act == GEN_A_CONNACK], (uint32_t)(now_ns / 1000) - f->sent_us);
	f->seq[gen_acts[act].side] += space_of(pkt);
	if (act == GEN_A_CONNACK && is_refusal(m, pkt)) {
		e->counts[GEN_N_REFUSED]++;
		e->n_waiting--;
		drop(e, place);
		return;
	}
	if (act == GEN_A_CONNACK)
		connected(e, f);
	e->n_waiting--;
	go_on(e, place, act, now_ns);
}

/* Something for a flow that another one has followed, or that is over. */
static struct rte_mbuf *
for_the_gone(struct gen_engine *e, struct gen_flow *f, enum gen_side at, bool older,
		const struct rte_mbuf *m, const struct mqt_pkt *pkt)
{
	bool end = pkt->tcp_flags & (MQT_TCP_RST | MQT_TCP_FIN);

	if (end && older && at == GEN_CLIENT && f->ends & OLDER && !(f->ends & OLDER_END)) {
		f->ends |= OLDER_END;
		e->counts[GEN_N_REPLACED]++;
	}
	if (pkt->tcp_flags & MQT_TCP_RST || space_of(pkt) == 0)
		return NULL;
	return gen_build_reset(&e->fleet, e->pool, m, pkt);
}

struct rte_mbuf *
gen_engine_arrived(
		struct gen_engine *e, uint64_t now_ns, enum gen_side at, const struct rte_mbuf *m)
{
	enum gen_side from = at == GEN_CLIENT ? GEN_BROKER : GEN_CLIENT;
	struct mqt_endpoint src, dst;
	struct gen_flow *f;
	struct mqt_pkt pkt;
	uint64_t tuple, own;
	uint32_t place;
	enum gen_act act;

	if (mqt_pkt_parse(m, &pkt) != MQT_PKT_TCP)
		goto foreign;
	mqt_pkt_endpoints(m, &pkt, &src, &dst);
	if (!gen_find(&e->fleet, from == GEN_CLIENT ? &src : &dst, &tuple))
		goto foreign;
	e->counts[from == GEN_CLIENT ? GEN_N_CAME_INSIDE : GEN_N_CAME_OUTSIDE]++;
	if (e->fleet.o->kind == GEN_SYN)
		return NULL;
	if (e->fleet.o->kind != GEN_GARBAGE && !mqt_pkt_checksum_ok(m, &pkt)) {
		e->counts[GEN_N_DAMAGED]++;
		return NULL;
	}
	place = (uint32_t)(tuple % e->fleet.places);
	f = &e->flows[place];
	own = gen_number(&e->fleet, place, f->round) % e->fleet.n_tuples;
	if (own != tuple)
		return for_the_gone(e, f, at, (tuple + e->fleet.places) % e->fleet.n_tuples == own,
				m, &pkt);
	act = act_of(e, place);
	if (act < GEN_N_ACTS && is_expected(e, f, act, from, &pkt)) {
		came_through(e, place, act, now_ns, m, &pkt);
		return NULL;
	}
	if (e->fleet.o->kind == GEN_GARBAGE) /* what was fired comes when it likes */
		return NULL;
	if (f->state == IDLE || f->ends & GONE)
		return for_the_gone(e, f, at, false, m, &pkt);
	if (pkt.tcp_flags & (MQT_TCP_RST | MQT_TCP_FIN) &&
			mqt_seq_cmp(pkt.seq, f->seq[from]) >= 0) {
		ended(e, place);
		return for_the_gone(e, f, at, false, m, &pkt);
	}
	e->counts[GEN_N_UNEXPECTED]++;
	return NULL;
foreign:
	e->counts[GEN_N_FOREIGN]++;
	return NULL;
}

/* --- what is lost ----------------------------------------------------------------------------- */

static void
expire_one(struct gen_engine *e, uint32_t place, uint32_t now_us)
{
	struct gen_flow *f = &e->flows[place];

	if (f->state != WAITING || now_us - f->sent_us < e->fleet.o->timeout_ms * 1000)
		return;
	e->n_waiting--;
	e->counts[GEN_N_LOST]++;
	if (++f->tries < MOST_TRIES) {
		ready(e, place);
		return;
	}
	e->counts[GEN_N_GIVEN_UP]++;
	drop(e, place);
}

void
gen_engine_expire(struct gen_engine *e, uint64_t now_ns)
{
	uint64_t round_ns = e->fleet.o->timeout_ms * UINT64_C(250000), n;

	if (e->swept_ns == 0)
		e->swept_ns = now_ns;
	n = (now_ns - e->swept_ns) * e->fleet.places / round_ns;
	if (n == 0)
		return;
	e->swept_ns = now_ns;
	for (n = RTE_MIN(n, e->fleet.places); n > 0; n--) {
		expire_one(e, e->swept, (uint32_t)(now_ns / 1000));
		e->swept = e->swept + 1 < e->fleet.places ? e->swept + 1 : 0;
	}
}

const uint64_t *
gen_engine_counts(const struct gen_engine *e)
{
	return e->counts;
}

const uint64_t *
gen_engine_garbage(const struct gen_engine *e)
{
	return e->garbage;
}

const struct gen_histogram *
gen_engine_times(const struct gen_engine *e, bool connack)
{
	return &e->times[connack];
}
