/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making and ending all of a worker's connections.
 *
 * Life-cycle: create makes the slots, which are mapped and cost nothing before their first use, and
 * the tables of the files beside this one. Destroy frees what the connections hold, and tells nobody.
 * Synchronisation: none; the worker does not run yet, or no more.
 * Sources: DESIGN.md R12, R13.
 */
#include "conn_private.h"
#include "mqtrack/pages.h"

#include <stdlib.h>

#include <rte_errno.h>
#include <rte_mempool.h>

#define MARGIN_SLOTS 1024 /* flows that wait, rest or close, beside the clients */
#define MIN_HOLDS    64

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
