/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Traffic on two DPDK ports, each wired to one of a tracker's: one lcore that receives from both,
 * asks the engine what is next, and sends, no faster than it was told.
 *
 * What a port does not take stays first in its line, and nothing new is made before it is gone: a
 * generator that drops by itself could not say what was lost.
 * Synchronisation: none, one thread.
 */
#include "devices.h"
#include "mqtrack/clock.h"
#include "mqtrack/worker.h"
#include "wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_ethdev.h>
#include <rte_pause.h>

#define BURST       64u
#define LINE        (4 * BURST)
#define LINK_WAIT_S 15
#define LINGER_NS   (200 * MQT_NS_PER_MS)
#define IDLE_LOOPS  200u
#define NAP_NS      20000

struct line {
	struct rte_mbuf *m[LINE];
	unsigned n;
};

struct run {
	const struct gen_options *o;
	struct gen_engine *engine;
	const uint16_t *id;
	struct line line[2]; /* by port */
	uint64_t begin_ns, now_ns;
	/* the rate is counted from here */
	uint64_t from_ns, n_from;
	uint64_t n_sent;
	uint64_t shown_ns, n_shown;
};

static int
complain(const char *what)
{
	fprintf(stderr, "mqtrack-gen: %s\n", what);
	return -1;
}

static void
nap(uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / MQT_NS_PER_SEC),
		.tv_nsec = (long)(ns % MQT_NS_PER_SEC) };

	nanosleep(&ts, NULL);
}

static int
wait_for_link(const char *device, uint16_t id)
{
	char what[128];

	for (unsigned i = 0; i < LINK_WAIT_S * 20; i++) {
		if (mqt_port_link(id) == MQT_PORT_UP)
			return 0;
		nap(50 * MQT_NS_PER_MS);
	}
	snprintf(what, sizeof(what), "%s: no link after %d s", device, LINK_WAIT_S);
	return complain(what);
}

int
gen_ports_open(const struct gen_options *o, struct rte_mempool *pool, struct gen_ports *ports)
{
	char err[512];

	memset(ports, 0, sizeof(*ports));
	for (unsigned i = 0; i < 2; i++) {
		if (device_open(o->out[i], 1, &ports->id[i], err, sizeof(err)) != 0)
			return complain(err);
		if (mqt_port_start(ports->id[i], 1, pool) != 0)
			return complain("a port does not start; the lines above say why");
		ports->n++;
	}
	for (unsigned i = 0; i < 2; i++)
		if (wait_for_link(o->out[i], ports->id[i]) != 0)
			return -1;
	return 0;
}

void
gen_ports_close(struct gen_ports *ports)
{
	for (; ports->n > 0; ports->n--)
		mqt_port_stop(ports->id[ports->n - 1]);
}

static unsigned
receive(struct run *r)
{
	struct rte_mbuf *m[BURST], *answer;
	unsigned n, sum = 0;

	for (unsigned at = 0; at < 2; at++) {
		n = rte_eth_rx_burst(r->id[at], 0, m, BURST);
		for (unsigned i = 0; i < n; i++) {
			answer = gen_engine_arrived(r->engine, r->now_ns, (enum gen_side)at, m[i]);
			if (answer && r->line[at].n < LINE)
				r->line[at].m[r->line[at].n++] = answer;
			else
				rte_pktmbuf_free(answer);
		}
		rte_pktmbuf_free_bulk(m, n);
		sum += n;
	}
	return sum;
}

/* How many packets may go out now. Time in which they could not is not caught up with. */
static uint64_t
quota(struct run *r)
{
	uint64_t due, sent = r->n_sent - r->n_from, most;

	if (r->o->rate == 0)
		return BURST;
	due = (uint64_t)((double)(r->now_ns - r->from_ns) * (double)r->o->rate / 1e9);
	most = r->o->rate / 100 + BURST;
	if (due > sent + most) {
		r->from_ns = r->now_ns;
		r->n_from = r->n_sent;
		return BURST;
	}
	return due > sent ? due - sent : 0;
}

/* @return whether the engine is done. */
static bool
make(struct run *r)
{
	uint64_t n = RTE_MIN(quota(r), (uint64_t)BURST);
	enum gen_next next = GEN_PACKET;
	enum gen_side from;
	struct rte_mbuf *m;

	for (; n > 0 && r->line[0].n < BURST && r->line[1].n < BURST; n--) {
		next = gen_engine_next(r->engine, r->now_ns, &m, &from);
		if (next != GEN_PACKET)
			break;
		r->line[from].m[r->line[from].n++] = m;
		r->n_sent++;
	}
	return next == GEN_DONE;
}

static unsigned
transmit(struct run *r)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < 2; i++) {
		struct line *line = &r->line[i];
		uint16_t n = line->n > 0 ? rte_eth_tx_burst(r->id[i], 0, line->m, (uint16_t)line->n)
					 : 0;

		line->n -= n;
		if (n > 0 && line->n > 0)
			memmove(line->m, line->m + n, line->n * sizeof(line->m[0]));
		sum += n;
	}
	return sum;
}

/* Once a second, where somebody is looking. */
static void
show(struct run *r)
{
	const uint64_t *counts = gen_engine_counts(r->engine);
	uint64_t ns = r->now_ns - r->shown_ns;

	if (ns < MQT_NS_PER_SEC || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr,
			"%4.0f s  %.0f packets/s  begun %" PRIu64 " connected %" PRIu64
			" messages %" PRIu64 " lost %" PRIu64 "\n",
			(double)(r->now_ns - r->begin_ns) / 1e9,
			(double)(r->n_sent - r->n_shown) * 1e9 / (double)ns, counts[GEN_N_BEGUN],
			counts[GEN_N_CONNECTED], counts[GEN_N_MESSAGES], counts[GEN_N_LOST]);
	r->shown_ns = r->now_ns;
	r->n_shown = r->n_sent;
}

/* Until something is done, or @p end_ns. */
static void
turns(struct run *r, uint64_t end_ns, bool until_done, const volatile sig_atomic_t *stop)
{
	unsigned idle = 0;
	bool done = false;

	while (!(done && until_done) && r->now_ns < end_ns && !(stop && *stop)) {
		unsigned n;

		r->now_ns = mqt_clock_mono(mqt_clock_system());
		n = receive(r);
		gen_engine_expire(r->engine, r->now_ns);
		done = make(r);
		n += transmit(r);
		show(r);
		idle = n ? 0 : idle + 1;
		if (idle < IDLE_LOOPS)
			rte_pause();
		else
			nap(NAP_NS);
	}
}

void
gen_ports_run(const struct gen_options *o, struct gen_engine *engine, struct gen_ports *ports,
		const volatile sig_atomic_t *stop)
{
	struct run r = { .o = o, .engine = engine, .id = ports->id };
	uint64_t grace = 6 * MQT_NS_PER_MS * o->timeout_ms;

	r.now_ns = mqt_clock_mono(mqt_clock_system());
	r.begin_ns = r.from_ns = r.shown_ns = r.now_ns;
	turns(&r, o->seconds ? r.begin_ns + o->seconds * MQT_NS_PER_SEC : UINT64_MAX, true, stop);
	ports->ns = r.now_ns - r.begin_ns;
	gen_engine_stop(engine);
	turns(&r, r.now_ns + grace, true, NULL);
	turns(&r, r.now_ns + LINGER_NS, false, NULL);
	for (unsigned i = 0; i < 2; i++)
		rte_pktmbuf_free_bulk(r.line[i].m, r.line[i].n);
}
