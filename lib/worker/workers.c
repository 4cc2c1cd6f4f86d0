/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All workers: making and ending them, and what others ask of them.
 *
 * Life-cycle: create makes all workers with their mailboxes, connection tables and rings; then each
 * runs on its lcore (worker.c) until stop is asked for; destroy once none runs any more.
 * Synchronisation: create and destroy: none, no worker runs. What others ask while they run is
 * atomic or does not change.
 */
#include "mqtrack/session.h"
#include "worker_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_mbuf_dyn.h>

#define HANDOVER_RING 1024
#define MAILBOX_RING  4096

/* --- one of them -------------------------------------------------------------------------- */

static void
ring_destroy(struct rte_ring *ring)
{
	struct rte_mbuf *m;

	while (ring && rte_ring_sc_dequeue(ring, (void **)&m) == 0)
		rte_pktmbuf_free(m);
	rte_free(ring);
}

/* Not rte_ring_create(): n workers need n * (n - 1) rings, more than EAL has memory zones. */
static struct rte_ring *
ring_create(const char *name, int socket_id)
{
	ssize_t size = rte_ring_get_memsize(HANDOVER_RING);
	struct rte_ring *ring;
	int ret;

	ring = rte_zmalloc_socket("mqt_handover", (size_t)size, RTE_CACHE_LINE_SIZE, socket_id);
	if (!ring) {
		rte_errno = ENOMEM;
		return NULL;
	}
	ret = rte_ring_init(ring, name, HANDOVER_RING, RING_F_SP_ENQ | RING_F_SC_DEQ);
	if (ret != 0) {
		rte_free(ring);
		rte_errno = -ret;
		return NULL;
	}
	return ring;
}

/* What the control lcore has given back, or handed over, and the worker did not live to read. */
static void
drop_unread(struct mqt_mailbox *mailbox) MQT_REQUIRES(mqt_role_worker)
{
	struct mqt_msg msg;

	while (mqt_mailbox_poll_worker(mailbox, &msg, 1) == 1) {
		if (msg.type == MQT_MSG_REFUSE || msg.type == MQT_MSG_RELEASE)
			free(msg.info);
		else if (msg.type == MQT_MSG_GRANT)
			mqt_session_destroy(msg.session);
	}
}

static void
worker_destroy(struct mqt_worker *w)
{
	if (!w)
		return;
	mqt_role_worker_assert(); /* it has stopped */
	if (w->mailbox)
		drop_unread(w->mailbox);
	for (unsigned i = 0; i < MQT_MAX_WORKERS; i++)
		ring_destroy(w->from[i]);
	reassembly_destroy(w->reassembly);
	mqt_conns_destroy(w->conns);
	mqt_mailbox_destroy(w->mailbox);
	mqt_waker_destroy(w->waker);
	rte_free(w);
}

static int
worker_init(struct mqt_worker *w, const struct mqt_workers_params *params)
{
	struct mqt_conns_params cp = {
		.config = params->config,
		.clock = params->clock,
		.hash_key = params->hash_key,
		.tx = &w->tx,
		.pool = params->pool,
		.captures = params->captures,
		.counters = &w->counters,
		.sources = w->all->sources,
		.worker = w->index,
		.n_workers = params->n_workers,
	};

	w->tx.burst = worker_tx_burst;
	w->tx.arg = w;
	w->tx.counters = w->counters.v;
	atomic_init(&w->lcore, LCORE_ID_ANY);
	w->mailbox = mqt_mailbox_create(params->mailbox_ring ? params->mailbox_ring : MAILBOX_RING);
	if (!w->mailbox)
		return -errno;
	cp.mailbox = w->mailbox;
	if (params->config->poll == MQT_POLL_ADAPTIVE) {
		w->waker = mqt_waker_create();
		if (!w->waker)
			return -errno;
		mqt_mailbox_set_worker(w->mailbox, w->waker);
	}
	w->conns = mqt_conns_create(&cp);
	if (!w->conns)
		return -rte_errno;
	if (params->config->limits.fragments > 0) {
		struct reassembly_params rp = {
			.config = params->config,
			.pool = params->pool,
			.counters = w->counters.v,
			.whole_flag = w->all->whole_flag,
			.socket_id = params->socket_id,
		};

		w->reassembly = reassembly_create(&rp);
		if (!w->reassembly)
			return -rte_errno;
	}
	for (unsigned i = 0; i < params->n_workers; i++) {
		char name[RTE_RING_NAMESIZE];

		if (i == w->index)
			continue;
		snprintf(name, sizeof(name), "mqt_h%u_%u", i, w->index);
		w->from[i] = ring_create(name, params->socket_id);
		if (!w->from[i])
			return -rte_errno;
	}
	return 0;
}

/* --- all of them -------------------------------------------------------------------------- */

static int
whole_flag_register(struct mqt_workers *all)
{
	static const struct rte_mbuf_dynflag flag = { .name = "mqt_whole_datagram" };
	int bit = rte_mbuf_dynflag_register(&flag);

	if (bit < 0)
		return -rte_errno;
	all->whole_flag = RTE_BIT64(bit);
	return 0;
}

/* As many addresses as there may be clients. */
static int
sources_init(struct mqt_workers *all)
{
	const struct mqt_config *cfg = all->config;
	bool limited = false;

	for (unsigned i = 0; i < cfg->n_listeners; i++)
		limited |= cfg->listeners[i].connections_per_address > 0 ||
				cfg->listeners[i].connects_per_second > 0;
	if (!limited)
		return 0;
	all->sources = mqt_sources_create(all->n_workers, 2 * cfg->limits.max_clients);
	return all->sources ? 0 : -ENOMEM;
}

static bool
params_are_valid(const struct mqt_workers_params *params)
{
	unsigned n_pairs = params->config->n_pairs;

	if (params->n_workers == 0 || params->n_workers > MQT_MAX_WORKERS)
		return false;
	if (n_pairs == 0 || n_pairs > MQT_MAX_PAIRS)
		return false;
	for (unsigned i = 0; i < 2 * n_pairs; i++)
		if (params->port_ids[i] >= RTE_MAX_ETHPORTS)
			return false;
	return true;
}

struct mqt_workers *
mqt_workers_create(const struct mqt_workers_params *params)
{
	struct mqt_workers *all;
	int ret = 0;

	if (!params_are_valid(params)) {
		rte_errno = EINVAL;
		return NULL;
	}
	all = rte_zmalloc_socket("mqt_workers", sizeof(*all), 0, params->socket_id);
	if (!all) {
		rte_errno = ENOMEM;
		return NULL;
	}
	all->config = params->config;
	all->clock = params->clock;
	all->hash_key = params->hash_key;
	all->pool = params->pool;
	all->n_workers = params->n_workers;
	all->n_ports = 2u * params->config->n_pairs;
	for (uint16_t port = 0; port < all->n_ports; port++) {
		all->port_ids[port] = params->port_ids[port];
		all->ports[params->port_ids[port]] = port;
	}
	rss_agree(&all->rss, all->port_ids, all->n_ports, all->n_workers);
	if (params->config->limits.fragments > 0)
		ret = whole_flag_register(all);
	if (ret == 0)
		ret = sources_init(all);
	for (unsigned i = 0; ret == 0 && i < all->n_workers; i++) {
		struct mqt_worker *w;

		w = rte_zmalloc_socket(
				"mqt_worker", sizeof(*w), RTE_CACHE_LINE_SIZE, params->socket_id);
		if (!w) {
			ret = -ENOMEM;
			break;
		}
		all->worker[i] = w;
		w->all = all;
		w->index = i;
		ret = worker_init(w, params);
	}
	if (ret != 0) {
		mqt_workers_destroy(all);
		rte_errno = -ret;
		return NULL;
	}
	return all;
}

void
mqt_workers_destroy(struct mqt_workers *workers)
{
	if (!workers)
		return;
	for (unsigned i = 0; i < workers->n_workers; i++)
		worker_destroy(workers->worker[i]);
	mqt_sources_destroy(workers->sources);
	rte_free(workers);
}

/* --- asked by others ---------------------------------------------------------------------- */

void
mqt_workers_stop(struct mqt_workers *workers)
{
	atomic_store_explicit(&workers->stop, true, memory_order_relaxed);
}

unsigned
mqt_workers_count(const struct mqt_workers *workers)
{
	return workers->n_workers;
}

struct mqt_worker *
mqt_workers_at(const struct mqt_workers *workers, unsigned index)
{
	return index < workers->n_workers ? workers->worker[index] : NULL;
}

struct mqt_mailbox *
mqt_worker_mailbox(const struct mqt_worker *worker)
{
	return worker->mailbox;
}

struct mqt_slots
mqt_worker_slots(const struct mqt_worker *worker)
{
	return mqt_conns_slots(worker->conns);
}

const _Atomic uint64_t *
mqt_worker_heartbeat(const struct mqt_worker *worker)
{
	return &worker->heartbeat_ns;
}

void
mqt_worker_view(const struct mqt_worker *worker, struct mqt_worker_view *out)
{
	out->index = worker->index;
	out->lcore = atomic_load_explicit(&worker->lcore, memory_order_relaxed);
	out->heartbeat_ns = atomic_load_explicit(&worker->heartbeat_ns, memory_order_acquire);
	out->counters = &worker->counters;
	out->gauges = mqt_conns_gauges(worker->conns);
}
