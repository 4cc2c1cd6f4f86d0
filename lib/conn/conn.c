/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker's connections: the slots, and the dispatch of bursts and timers.
 *
 * Life-cycle of a connection: conn_create() takes a slot (the one that has rested longest; where
 * none has rested enough, one never used, so that memory follows the most there ever were), gives it
 * the next generation and puts its key into the flow table. The states follow conn.h. conn_remove()
 * takes the key out when the flow is over. The slot is then RELEASING: where the control lcore knows
 * the channel (CONN_CHANNEL) it waits for REFUSE or RELEASE, then it rests for slot_quiet_ms in the
 * quiet FIFO, then it goes to the free FIFO. Slots become free in mqt_conns_expire() only (R1). When
 * none is free, one is taken from a flow that has no channel and passes without a connection as
 * well: an opaque one, else the one that has sent no CONNECT for longest. So connections that say
 * nothing cannot fill the table (R13).
 *
 * A burst is looked up as one, then the packets are judged in order (table.c).
 *
 * Synchronisation: everything belongs to one worker. The slot words and counters are read by
 * others; a slot's counters are cleared before its word shows the new generation.
 * Sources: DESIGN.md R1, R12, R13, R17, I10.
 */
#include "conn_private.h"
#include "mqtrack/pages.h"

#include <stdlib.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_mempool.h>
#include <rte_prefetch.h>

#define MAX_BURST     64
#define MARGIN_SLOTS  1024 /* flows that wait, rest or close, beside the clients */
#define MIN_HOLDS     64
#define RECYCLE_LOOKS 64u /* slots looked at for one to recycle */

static const char *const state_names[] = {
	[MQT_CONN_FREE] = "free",
	[MQT_CONN_EMBRYONIC] = "embryonic",
	[MQT_CONN_CONNECTING] = "connecting",
	[MQT_CONN_OPENING] = "opening",
	[MQT_CONN_CONNECTED] = "connected",
	[MQT_CONN_FROZEN] = "frozen",
	[MQT_CONN_OPAQUE] = "opaque",
	[MQT_CONN_CLOSING] = "closing",
	[MQT_CONN_RELEASING] = "releasing",
};
static_assert(RTE_DIM(state_names) == MQT_CONN_N_STATES, "a name for each state");

const char *
mqt_conn_state_name(enum mqt_conn_state state)
{
	return (unsigned)state < MQT_CONN_N_STATES ? state_names[state] : "unknown";
}

static void conn_detach(struct mqt_conns *cs, struct conn *c);

/* --- slots ------------------------------------------------------------------------------------- */

static void
fifo_put(struct mqt_conns *cs, struct fifo *fifo, struct conn *c)
{
	c->next_slot = NO_INDEX;
	if (fifo->head == NO_INDEX)
		fifo->head = conn_index(cs, c);
	else
		cs->slots[fifo->tail].next_slot = conn_index(cs, c);
	fifo->tail = conn_index(cs, c);
}

static struct conn *
fifo_take(struct mqt_conns *cs, struct fifo *fifo)
{
	struct conn *c;

	if (fifo->head == NO_INDEX)
		return NULL;
	c = &cs->slots[fifo->head];
	fifo->head = c->next_slot;
	return c;
}

static struct conn *
slot_take(struct mqt_conns *cs)
{
	struct conn *c = fifo_take(cs, &cs->free);

	if (!c && cs->n_fresh < cs->n_slots)
		c = &cs->slots[cs->n_fresh++];
	return c;
}

/* Whether flows that are not known do not pass. */
static bool
listener_refuses(const struct mqt_listener *l)
{
	return l->on_failure == MQT_FAIL_CLOSED || l->midstream == MQT_MIDSTREAM_RESET;
}

/* A connection that can be forgotten without harm: it passes without one as well. */
static struct conn *
find_expendable(struct mqt_conns *cs)
{
	uint32_t looks = RTE_MIN(cs->n_fresh, RECYCLE_LOOKS);

	for (; looks > 0; looks--) {
		struct conn *c;

		cs->hand = cs->hand + 1 < cs->n_fresh ? cs->hand + 1 : 0;
		c = &cs->slots[cs->hand];
		if (c->state == MQT_CONN_OPAQUE && !(c->flags & CONN_CHANNEL) &&
				!listener_refuses(&cs->config->listeners[c->listener]))
			return c;
	}
	return cs->oldest_silent ? cs->oldest_silent->conn : NULL;
}

/* Takes a slot from a connection that the control lcore never heard of, so it need not rest. */
static struct conn *
slot_recycle(struct mqt_conns *cs)
{
	struct conn *c = find_expendable(cs);

	if (!c)
		return NULL;
	count(cs, MQT_W_TABLE_RECYCLED);
	conn_detach(cs, c);
	conn_set_state(cs, c, MQT_CONN_FREE);
	return c;
}

void
conn_slot_quiet(struct mqt_conns *cs, struct conn *c)
{
	c->quiet_ms = cs->now_ms;
	fifo_put(cs, &cs->quiet, c);
}

static unsigned
slots_expire(struct mqt_conns *cs, unsigned budget)
{
	unsigned n = 0;

	while (n < budget && cs->quiet.head != NO_INDEX) {
		struct conn *c = &cs->slots[cs->quiet.head];

		if (cs->now_ms - c->quiet_ms < cs->config->limits.slot_quiet_ms)
			break;
		fifo_take(cs, &cs->quiet);
		conn_set_state(cs, c, MQT_CONN_FREE);
		fifo_put(cs, &cs->free, c);
		n++;
	}
	return n;
}

void
conn_set_state(struct mqt_conns *cs, struct conn *c, enum mqt_conn_state state)
{
	gauge_add(&cs->gauges.state[c->state], -1);
	gauge_add(&cs->gauges.state[state], 1);
	c->state = (uint8_t)state;
}

void
conn_arm(struct mqt_conns *cs, struct conn *c, uint64_t after_ns)
{
	mqt_wheel_arm(cs->wheel, &c->timer, cs->now_ns + after_ns);
}

void
conn_arm_by(struct mqt_conns *cs, struct conn *c, uint64_t after_ns)
{
	mqt_wheel_arm_by(cs->wheel, &c->timer, cs->now_ns + after_ns);
}

/* --- begin and end of a connection ------------------------------------------------------------- */

static void
stream_init(struct mqt_conns *cs, struct stream *s, const struct embryo *e, enum side side)
{
	*s = (struct stream){
		.next = e->isn[side] + 1,
		.end = e->isn[side] + 1,
		.ack = e->isn[opposite(side)] + 1,
		.edge = side == BROKER ? e->edge : e->isn[BROKER] + 1 + e->window,
		.ts_val = e->ts_val[side],
		.seen_ms = cs->now_ms,
		.held = NO_INDEX,
		.wscale = e->has_wscale ? e->wscale[side] : 0,
	};
}

static void
slot_begin(struct mqt_conns *cs, struct conn *c)
{
	struct mqt_slot *slot = &c->slot;
	uint32_t gen = mqt_chan_id_gen_next(conn_gen(c));

	/* before the counters are cleared: who reads meanwhile finds the old generation gone */
	atomic_store_explicit(&slot->word, mqt_slot_word(0, MQT_SLOT_FREE), memory_order_release);
	atomic_thread_fence(memory_order_release);
	for (unsigned i = 0; i < MQT_SLOT_N_COUNTERS; i++)
		atomic_store_explicit(&slot->counter[i], 0, memory_order_relaxed);
	atomic_store_explicit(&slot->seen_ns, cs->now_ns, memory_order_relaxed);
	/* release: pairs with the acquire in mqt_slot_read() */
	atomic_store_explicit(&slot->word, mqt_slot_word(gen, MQT_SLOT_FREE), memory_order_release);
}

struct conn *
conn_create(struct mqt_conns *cs, const struct embryo *e)
{
	struct conn *c = slot_take(cs);

	if (!c)
		c = slot_recycle(cs);
	if (!c) {
		count(cs, MQT_W_TABLE_FULL);
		return NULL;
	}
	c->flags = (uint16_t)((e->client_low ? CONN_CLIENT_LOW : 0) | (e->ip6 ? CONN_IP6 : 0) |
			(e->has_ts ? CONN_TS : 0) | (e->source_key ? CONN_COUNTED : 0));
	if (!table_add(cs, c, e)) {
		count(cs, MQT_W_TABLE_FULL);
		fifo_put(cs, &cs->free, c);
		return NULL;
	}
	slot_begin(cs, c);
	c->pair = e->pair;
	c->version = 0;
	c->tries = 0;
	c->listener = e->listener;
	c->session = NULL;
	c->isn = e->isn[CLIENT];
	c->expiry_sec = 0;
	c->keepalive_sec = 0;
	c->link = links_get(&cs->links, &e->link);
	for (unsigned side = 0; side < 2; side++)
		stream_init(cs, &c->stream[side], e, side);
	ws_begin(cs, c);
	conn_set_state(cs, c, MQT_CONN_EMBRYONIC);
	count(cs, MQT_W_CONNECTIONS);
	conn_arm(cs, c, cs->config->limits.handshake_ms * MQT_NS_PER_MS);
	return c;
}

/* The flow has no connection any more, and holds nothing. */
static void
conn_detach(struct mqt_conns *cs, struct conn *c)
{
	limit_leave(cs, c);
	hold_drop(cs, &c->stream[CLIENT]);
	hold_drop(cs, &c->stream[BROKER]);
	mqt_mqtt_tap_fini(&c->stream[CLIENT].tap);
	mqt_mqtt_tap_fini(&c->stream[BROKER].tap);
	handshake_end(cs, c);
	mqt_wheel_disarm(cs->wheel, &c->timer);
	if (c->flags & CONN_IN_TABLE) {
		uint64_t hash = table_remove(cs, c);

		if (!tcp_broker_has_ack(c))
			embryo_forget(cs, hash);
		links_put(&cs->links, c->link);
	}
	if (unlikely(c->captured))
		capture_forget(cs, c);
}

void
conn_remove(struct mqt_conns *cs, struct conn *c)
{
	conn_detach(cs, c);
	conn_set_state(cs, c, MQT_CONN_RELEASING);
	if (!(c->flags & CONN_CHANNEL))
		conn_slot_quiet(cs, c);
}

bool
conn_fail_closed(const struct mqt_conns *cs, const struct conn *c)
{
	return cs->config->listeners[c->listener].on_failure == MQT_FAIL_CLOSED;
}

static void
flush_held(struct mqt_conns *cs, struct conn *c, enum side side) MQT_REQUIRES(mqt_role_worker)
{
	struct stream *s = &c->stream[side];
	struct hold h;

	while (hold_pop(cs, s, &h)) {
		if (h.forwarded) {
			rte_pktmbuf_free(h.m);
			continue;
		}
		if (mqt_seq_cmp(seg_end(&h.view), s->end) > 0)
			s->end = seg_end(&h.view);
		if (h.view.tcp_flags & MQT_TCP_FIN)
			s->flags |= STREAM_FIN;
		conn_forward(cs, c, h.port, h.m);
	}
}

void
conn_pass(struct mqt_conns *cs, struct conn *c)
{
	for (unsigned side = 0; side < 2; side++) {
		flush_held(cs, c, side);
		tcp_lose(cs, &c->stream[side]);
	}
	handshake_end(cs, c);
	conn_set_state(cs, c, MQT_CONN_OPAQUE);
	silence_watch(cs, c);
}

void
conn_untracked(struct mqt_conns *cs, struct conn *c, enum mqt_worker_counter why)
{
	count(cs, MQT_W_OPAQUE);
	count(cs, why);
	if (conn_fail_closed(cs, c))
		close_wire(cs, c, CLOSE_RESET);
	else
		conn_pass(cs, c);
}

/* --- judging packets --------------------------------------------------------------------------- */

static void
pass(struct mqt_conns *cs, const struct mqt_packet *p, enum mqt_worker_counter why)
		MQT_REQUIRES(mqt_role_worker)
{
	count(cs, why);
	mqt_tx_push(cs->tx, p->port ^ 1, p->m, NULL, 0);
}

/*
 * A listener that refuses lets no bytes of an unknown flow through to it. What has none may, for it is
 * mostly the end of a flow that was known.
 */
static bool
refuses_unknown(const struct mqt_conns *cs, const struct mqt_packet *p)
{
	struct mqt_endpoint src, dst;
	int listener;

	if (!cs->any_refuses || p->view.payload_len == 0)
		return false;
	mqt_pkt_endpoints(p->m, &p->view, &src, &dst);
	listener = mqt_config_listener(cs->config, (p->port & 1) == CLIENT ? &dst : &src);
	return listener >= 0 && listener_refuses(&cs->config->listeners[listener]);
}

static void
midstream(struct mqt_conns *cs, const struct mqt_packet *p) MQT_REQUIRES(mqt_role_worker)
{
	if (refuses_unknown(cs, p)) {
		count(cs, MQT_W_MIDSTREAM);
		count(cs, MQT_W_MIDSTREAM_RESET);
		close_unknown(cs, p);
		return;
	}
	pass(cs, p, MQT_W_MIDSTREAM);
}

static bool
is_broker(const struct mqt_conns *cs, const struct mqt_packet *p)
{
	struct mqt_endpoint src, dst;

	mqt_pkt_endpoints(p->m, &p->view, &src, &dst);
	return mqt_config_listener(cs->config, &src) >= 0;
}

static void
judge_syn(struct mqt_conns *cs, const struct mqt_packet *p, struct conn *c)
		MQT_REQUIRES(mqt_role_worker)
{
	bool ack = p->view.tcp_flags & MQT_TCP_ACK, client = (p->port & 1) == CLIENT;

	if (c && c->state == MQT_CONN_FROZEN) {
		count(cs, MQT_W_FROZEN_DROPPED);
		rte_pktmbuf_free(p->m);
		return;
	}
	if (!mqt_pkt_checksum_ok(p->m, &p->view)) {
		pass(cs, p, MQT_W_BAD_CHECKSUM);
		return;
	}
	if (!ack && client) {
		embryo_syn(cs, p, c);
		return;
	}
	if (ack && !client && embryo_synack(cs, p, c))
		return;
	if (!ack && !client)
		embryo_simultaneous(cs, p);
	if (ack && !client && !c && is_broker(cs, p))
		count(cs, MQT_W_ONE_WAY);
	if (c && (c->flags & CONN_INJECTED)) {
		count(cs, MQT_W_CLOSING_DROPPED);
		rte_pktmbuf_free(p->m);
		return;
	}
	pass(cs, p, MQT_W_PASSED);
}

static void
judge_conn(struct mqt_conns *cs, struct conn *c, const struct mqt_packet *p)
		MQT_REQUIRES(mqt_role_worker)
{
	bool from_low = p->src_low, client_low = c->flags & CONN_CLIENT_LOW;
	enum side side = from_low == client_low ? CLIENT : BROKER;

	if ((p->port & 1) != side) {
		/* an address of the other side: it goes back where that address is not */
		pass(cs, p, MQT_W_PASSED);
		return;
	}
	if (unlikely(c->captured))
		capture_received(cs, c, p);
	if (unlikely(conn_is_killed(c)) && !(c->flags & CONN_DOWN)) {
		channel_killed(cs, c);
		count(cs, MQT_W_CLOSING_DROPPED);
		rte_pktmbuf_free(p->m);
		return;
	}
	switch (c->state) {
	case MQT_CONN_EMBRYONIC:
	case MQT_CONN_CONNECTING:
	case MQT_CONN_OPENING:
		if (unlikely(cs->capturing))
			capture_handshake(cs, c, side, p);
		else
			handshake_input(cs, c, side, p);
		break;
	case MQT_CONN_FROZEN:
		freeze_input(cs, c, side, p);
		break;
	case MQT_CONN_CLOSING:
		if (c->flags & CONN_INJECTED) {
			close_input(cs, c, side, p);
			break;
		}
		/* fallthrough */
	default:
		tcp_input(cs, c, side, p);
	}
}

static void
judge(struct mqt_conns *cs, struct conn *c, const struct mqt_packet *p)
		MQT_REQUIRES(mqt_role_worker)
{
	bool taken = false;

	if (unlikely(p->view.tcp_flags & MQT_TCP_SYN)) {
		judge_syn(cs, p, c);
		return;
	}
	if (unlikely(!c))
		c = embryo_ack(cs, p, &taken);
	if (taken)
		return;
	if (!c)
		midstream(cs, p);
	else
		judge_conn(cs, c, p);
}

void
mqt_conns_input(struct mqt_conns *cs, struct mqt_packet *pkts, unsigned n)
{
	uint32_t slots[MAX_BURST];

	cs->now_ns = mqt_clock_mono(cs->clock);
	cs->now_ms = (uint32_t)(cs->now_ns / MQT_NS_PER_MS);
	n = RTE_MIN(n, (unsigned)MAX_BURST);
	table_find(cs, pkts, n, slots);
	for (unsigned i = 0; i < n; i++) {
		struct conn *c = table_conn(cs, &pkts[i], slots[i]);

		if (likely(c) && likely(established_input(cs, c, &pkts[i])))
			continue;
		judge(cs, c, &pkts[i]);
	}
}

/* --- timers ------------------------------------------------------------------------------------ */

static void
conn_timer(struct mqt_timer *timer, void *arg)
{
	struct mqt_conns *cs = arg;
	struct conn *c = (struct conn *)((char *)timer - offsetof(struct conn, timer));

	mqt_role_worker_assert();
	switch (c->state) {
	case MQT_CONN_EMBRYONIC:
	case MQT_CONN_CONNECTING:
		conn_untracked(cs, c, MQT_W_OPAQUE_TIMEOUT);
		break;
	case MQT_CONN_OPENING:
		handshake_opening_timeout(cs, c);
		break;
	case MQT_CONN_FROZEN:
		freeze_timer(cs, c);
		break;
	case MQT_CONN_CLOSING:
		if (c->flags & CONN_INJECTED) {
			close_timer(cs, c);
			break;
		}
		/* fallthrough */
	case MQT_CONN_CONNECTED:
	case MQT_CONN_OPAQUE:
		silence_timer(cs, c);
		break;
	default:
		break;
	}
}

unsigned
mqt_conns_expire(struct mqt_conns *cs, unsigned budget)
{
	unsigned n;

	cs->now_ns = mqt_clock_mono(cs->clock);
	cs->now_ms = (uint32_t)(cs->now_ns / MQT_NS_PER_MS);
	n = mqt_wheel_expire(cs->wheel, cs->now_ns, budget, conn_timer, cs);
	n += embryo_expire(cs, budget);
	n += slots_expire(cs, budget);
	return n;
}

/* --- create and destroy ------------------------------------------------------------------------ */

static uint32_t
default_slots(const struct mqt_conns_params *p, unsigned n_workers)
{
	const struct mqt_limits *l = &p->config->limits;
	uint64_t n = l->max_connections;

	if (n == 0) {
		n = (l->max_clients + n_workers - 1) / n_workers;
		n += n / 4 + MARGIN_SLOTS;
	}
	return (uint32_t)RTE_MIN(n, (uint64_t)MQT_CHAN_SLOT_MAX + 1);
}

static int
slots_create(struct mqt_conns *cs)
{
	cs->slots = mqt_pages_map((size_t)cs->n_slots * sizeof(*cs->slots), MQT_PAGES_HUGE);
	return cs->slots ? 0 : -1;
}

static uint32_t
default_holds(const struct mqt_conns_params *p, unsigned n_workers)
{
	uint32_t n = p->config->limits.parked_per_worker;

	if (n == 0) {
		n = p->pool ? p->pool->size : p->config->n_mbufs;
		n = n / n_workers / 4;
	}
	return n ? n : MIN_HOLDS;
}

static bool
any_refuses(const struct mqt_config *cfg)
{
	for (unsigned i = 0; i < cfg->n_listeners; i++)
		if (listener_refuses(&cfg->listeners[i]))
			return true;
	return false;
}

struct mqt_conns *
mqt_conns_create(const struct mqt_conns_params *p)
{
	unsigned n_workers = p->n_workers ? p->n_workers : 1;
	struct mqt_conns *cs = calloc(1, sizeof(*cs));

	rte_errno = ENOMEM;
	if (!cs)
		return NULL;
	cs->config = p->config;
	cs->clock = p->clock;
	cs->hash_key = p->hash_key;
	cs->mailbox = p->mailbox;
	cs->tx = p->tx;
	cs->pool = p->pool;
	cs->captures = p->captures;
	cs->counters = p->counters->v;
	cs->worker = p->worker;
	cs->sources = p->sources;
	cs->any_refuses = any_refuses(p->config);
	cs->parked_max = (uint8_t)RTE_MIN(p->config->limits.parked_per_flow, 255u);
	cs->reorder_max = (uint8_t)RTE_MIN(p->config->limits.reorder_per_flow, 255u);
	cs->now_ns = mqt_clock_mono(p->clock);
	cs->now_ms = (uint32_t)(cs->now_ns / MQT_NS_PER_MS);
	cs->n_slots = default_slots(p, n_workers);
	atomic_store_explicit(&cs->gauges.state[MQT_CONN_FREE], cs->n_slots, memory_order_relaxed);
	cs->free = cs->quiet = (struct fifo){ NO_INDEX, NO_INDEX };
	if (slots_create(cs) || table_init(cs) ||
			links_init(&cs->links, cs->n_slots, cs->hash_key) ||
			hold_init(cs, default_holds(p, n_workers)) || embryo_init(cs) ||
			handshake_init(cs) || ws_init(cs))
		goto err;
	cs->wheel = mqt_wheel_create(TICK_NS, cs->now_ns, cs->slots);
	if (!cs->wheel)
		goto err;
	return cs;
err:
	mqt_conns_destroy(cs);
	return NULL;
}

static void
drop_all_owned(struct mqt_conns *cs)
{
	for (uint32_t i = 0; i < cs->n_fresh; i++) {
		struct conn *c = &cs->slots[i];

		if (c->state == MQT_CONN_FREE || c->state == MQT_CONN_RELEASING)
			continue;
		hold_drop(cs, &c->stream[CLIENT]);
		hold_drop(cs, &c->stream[BROKER]);
		mqt_mqtt_tap_fini(&c->stream[CLIENT].tap);
		mqt_mqtt_tap_fini(&c->stream[BROKER].tap);
		session_drop(c);
		handshake_end(cs, c);
	}
}

void
mqt_conns_destroy(struct mqt_conns *cs)
{
	if (!cs)
		return;
	if (cs->slots)
		drop_all_owned(cs);
	ws_fini(cs);
	handshake_fini(cs);
	embryo_fini(cs);
	hold_fini(cs);
	mqt_wheel_destroy(cs->wheel);
	links_fini(&cs->links);
	table_fini(cs);
	mqt_pages_unmap(cs->slots, (size_t)cs->n_slots * sizeof(*cs->slots));
	free(cs);
}

struct mqt_slots
mqt_conns_slots(const struct mqt_conns *cs)
{
	return (struct mqt_slots){ cs->slots, sizeof(*cs->slots), cs->n_slots };
}

uint64_t
mqt_conns_table_bytes(const struct mqt_conns *cs)
{
	return flows_bytes(&cs->flows);
}

const struct mqt_conns_gauges *
mqt_conns_gauges(const struct mqt_conns *cs)
{
	return &cs->gauges;
}
