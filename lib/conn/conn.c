/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection's slot and life.
 *
 * Life-cycle: conn_create() takes a slot (the one that has rested longest; where none has rested
 * enough, one never used, so that memory follows the most there ever were), gives it the next
 * generation and puts its key into the flow table. The states follow conn.h. conn_remove() takes the
 * key out when the flow is over. The slot is then RELEASING: where the control lcore knows the
 * channel (CONN_CHANNEL) it waits for REFUSE or RELEASE, then it rests for slot_quiet_ms in the quiet
 * FIFO, then it goes to the free FIFO. Slots become free in mqt_conns_expire() only (R1). When none
 * is free, one is taken from a flow that has no channel and passes without a connection as well: an
 * opaque one, else the one that has sent no CONNECT for longest. So connections that say nothing
 * cannot fill the table (R13).
 *
 * Synchronisation: everything belongs to one worker. The slot words and counters are read by
 * others; a slot's counters are cleared before its word shows the new generation.
 * Sources: DESIGN.md R1, R12, R13, I10.
 */
#include "conn_private.h"

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

unsigned
conn_slots_expire(struct mqt_conns *cs, unsigned budget)
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
