/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench.h"
#include "mqtrack/mqtt.h"
#include "wire.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_pause.h>
#include <rte_prefetch.h>

/*
 * The established path: from the rx burst of a worker to its tx burst, by lib/worker as it runs in
 * production, between two ports that are rings in memory. What a NIC's driver would add is not in
 * it; nor is the freeing of packets, which their drivers do.
 *
 * Packets of one connection after the other, in a random order, both ways in turn. Sequence numbers
 * advance, so that each packet is new to the cursors and is looked at to its end. They are written
 * in portions, before the clock starts; what is timed is the worker's turns.
 *
 *   established  a PUBLISH of 91 bytes, and the broker's acknowledgement of its segment, which finds
 *                the connection in the cache, as after a short way to the broker
 *   scattered    the same, but the broker acknowledges when half of all other connections have been
 *                heard: no packet finds its connection in the cache, if there are many
 *   pingreq      PINGREQ and PINGRESP of 68 bytes: connections with TCP timestamps, which are 66 of them
 *   publish128, publish512   PUBLISH both ways, frames of so many bytes
 *   ack          acknowledgements alone both ways, 54 bytes
 *
 * Two baselines get the same packets on the same ports. One passes them from rx to tx burst without
 * a look. The other prefetches and views them as the worker does, makes key and hash, and looks
 * them up in bulk in a rte_hash of the same flows.
 *
 * A portion during which the kernel took the CPU away is in no rate; how many there were is told as
 * datapath.interrupted, of all that were played.
 *
 * Several workers: each on an lcore of its own with connections of its own; each writes and times
 * its own portions, all at the same time, and their rates are added up.
 */

#define PACKETS      2048000u /* a run and lane, each way */
#define SLICES       80u      /* that a run consists of, the ways in turn */
#define FEW_SLICES   10u      /* with several lanes, for at the end of each one waits for all */
#define SPINS        10000u   /* before a lane that waits gives its CPU away */
#define TOPIC        "devices/12345678"
#define PAYLOAD      "{\"t\":21.5,\"h\":40}"
#define HEADERS      54u /* Ethernet, IPv4, TCP */
#define MAX_FRAME    512u
#define DATA         (MQT_TCP_ACK | MQT_TCP_PSH)
#define HUGE_FLOWS   8000000u
#define MIDDLE_FLOWS 100000u /* of which all kinds are measured */

/* Kinds: the first ones are measured with every number of connections; all but the last one share
 * their connections. */
#define N_KINDS      6
#define N_EVERYWHERE 2
#define PINGREQ      (N_KINDS - 1)

/* Packets of one kind: what the client sends, what the broker does. */
struct kind {
	const char *name;
	uint16_t len[2];
	uint8_t payload[2][MAX_FRAME];
	unsigned publishes; /* of a pair of packets, the client's */
	bool scattered;     /* a pair is not of one connection */
	bool timestamps;    /* on connections that have them */
};

enum way {
	OURS,
	VIEW,
	BARE,
	N_WAYS
};

static const char *const way_names[N_WAYS] = {
	[VIEW] = "view, key, hash, rte_hash in bulk",
	[BARE] = "rx and tx burst alone",
};

/* A run of one lane. */
struct work {
	struct wire_lane *lane;
	const struct kind *kind;
	unsigned n_ways;
	atomic_uint *arrived; /* lanes, at the ends of all slices so far */
	uint64_t n[N_WAYS], ns[N_WAYS], cycles[N_WAYS]; /* timed */
	uint64_t n_sent[N_WAYS], n_hits;                /* all */
	uint64_t n_interrupted;                         /* portions */
	bool failed;
};

/* --- kinds --------------------------------------------------------------------------------------- */

/* A PUBLISH (QoS 0) that fills a frame; 0: with a payload as a sensor has it. */
static uint16_t
publish(uint8_t *buf, unsigned frame_len)
{
	static const uint8_t zeros[MAX_FRAME];
	const struct mqt_bytes topic = { (const uint8_t *)TOPIC, sizeof(TOPIC) - 1 };
	struct mqt_bytes payload = { (const uint8_t *)PAYLOAD, sizeof(PAYLOAD) - 1 };

	if (frame_len > 0) {
		unsigned body = frame_len - HEADERS - 2 - (frame_len - HEADERS - 2 > 127);

		payload = (struct mqt_bytes){ zeros, body - 2 - (uint32_t)topic.len };
	}
	return (uint16_t)mqt_mqtt_publish_encode(buf, MAX_FRAME, 4, 0, 0, topic, payload);
}

static void
kinds_init(struct kind *k)
{
	static const uint8_t pingreq[2] = { 0xc0, 0 }, pingresp[2] = { 0xd0, 0 };

	k[0].name = "established";
	k[1].name = "scattered";
	for (unsigned i = 0; i < 2; i++) {
		k[i].len[0] = publish(k[i].payload[0], 0);
		k[i].publishes = 1;
	}
	k[1].scattered = true;
	k[2].name = "publish128";
	k[3].name = "publish512";
	for (unsigned i = 2; i < 4; i++) {
		unsigned frame = i == 2 ? 128 : 512;

		for (unsigned way = 0; way < 2; way++)
			k[i].len[way] = publish(k[i].payload[way], frame);
		k[i].publishes = 1;
	}
	k[4].name = "ack";
	k[PINGREQ].name = "pingreq";
	k[PINGREQ].timestamps = true;
	k[PINGREQ].len[0] = k[PINGREQ].len[1] = sizeof(pingreq);
	memcpy(k[PINGREQ].payload[0], pingreq, sizeof(pingreq));
	memcpy(k[PINGREQ].payload[1], pingresp, sizeof(pingresp));
}

/* --- the three ways -------------------------------------------------------------------------------- */

static void
ours(const struct wire_lane *lane)
{
	mqt_role_worker_assert();
	for (unsigned i = 0; i < WIRE_PORTION / 2; i += WIRE_BURST)
		mqt_worker_turn(lane->worker);
}

/* @return how many were found. */
static unsigned
view_burst(const struct wire_lane *lane, struct rte_mbuf **m, unsigned n, uint16_t port)
{
	struct mqt_packet pkts[WIRE_BURST];
	const void *keys[WIRE_BURST];
	hash_sig_t sigs[WIRE_BURST];
	void *data[WIRE_BURST];
	uint64_t hits = 0;
	unsigned k = 0;

	for (unsigned i = 0; i < n && i < 4; i++)
		rte_prefetch0(rte_pktmbuf_mtod(m[i], void *));
	for (unsigned i = 0; i < n; i++) {
		if (i + 4 < n)
			rte_prefetch0(rte_pktmbuf_mtod(m[i + 4], void *));
		if (!bench_inspect(&lane->wire->config, &lane->wire->key, m[i], port, &pkts[k]))
			continue;
		keys[k] = &pkts[k].key;
		sigs[k] = (hash_sig_t)pkts[k].hash;
		k++;
	}
	rte_hash_lookup_with_hash_bulk_data(lane->table, keys, sigs, k, &hits, data);
	return (unsigned)__builtin_popcountll(hits);
}

static unsigned
baseline(const struct wire_lane *lane, bool view)
{
	unsigned hits = 0;

	for (unsigned i = 0; i < WIRE_PORTION; i += WIRE_BURST) {
		uint16_t port = i / WIRE_BURST % 2, n;
		struct rte_mbuf *m[WIRE_BURST];

		n = rte_eth_rx_burst(lane->port_id[port], (uint16_t)lane->index, m, WIRE_BURST);
		if (view)
			hits += view_burst(lane, m, n, port);
		rte_eth_tx_burst(lane->port_id[port ^ 1], (uint16_t)lane->index, m, n);
	}
	return hits;
}

/* --- a run -------------------------------------------------------------------------------------------- */

/* The client's packets of half a portion's connections, then the broker's. */
static bool
write_portion(struct work *w, enum way to)
{
	struct wire_lane *lane = w->lane;
	const struct kind *k = w->kind;
	const unsigned half = WIRE_PORTION / 2;
	bool ok = true;

	for (unsigned i = 0; i < half; i++) {
		struct bench_flow *f[2] = { &lane->flows[lane->cursor] }, copy[2];

		f[1] = k->scattered ? &lane->flows[(lane->cursor + lane->n / 2) % lane->n] : f[0];
		lane->cursor = lane->cursor + 1 < lane->n ? lane->cursor + 1 : 0;
		for (unsigned way = 0; way < 2; way++) {
			struct rte_mbuf *m = lane->portion[way * half + i];

			if (to != OURS) { /* nobody follows it */
				copy[way] = *f[way];
				f[way] = &copy[way];
			}
			rte_pktmbuf_reset(m);
			bench_write(m, f[way], way == 0, k->len[way] ? DATA : MQT_TCP_ACK,
					k->payload[way], k->len[way]);
		}
	}
	for (unsigned way = 0; way < 2; way++)
		ok = ok &&
				rte_ring_sp_enqueue_bulk(lane->rx[way],
						(void **)&lane->portion[way * half], half,
						NULL) == half;
	return ok;
}

static bool
run_portion(struct work *w, enum way way)
{
	uint64_t ns, tsc;
	long before;

	if (!write_portion(w, way))
		return false;
	before = bench_interruptions();
	ns = bench_now_ns();
	tsc = rte_rdtsc();
	if (way == OURS)
		ours(w->lane);
	else
		w->n_hits += baseline(w->lane, way == VIEW);
	tsc = rte_rdtsc() - tsc;
	ns = bench_now_ns() - ns;
	w->n_sent[way] += WIRE_PORTION;
	if (bench_interruptions() == before) {
		w->cycles[way] += tsc;
		w->ns[way] += ns;
		w->n[way] += WIRE_PORTION;
	} else {
		w->n_interrupted++;
	}
	return wire_drain(w->lane) == WIRE_PORTION;
}

/* All lanes go the same way at the same time. */
static void
wait_for_others(const struct work *w, unsigned slice)
{
	unsigned all = slice * w->lane->wire->n_lanes;

	atomic_fetch_add(w->arrived, 1);
	for (unsigned i = 0; atomic_load(w->arrived) < all; i++)
		if (i < SPINS)
			rte_pause();
		else
			usleep(100);
}

static int
run_lane(void *arg)
{
	struct work *w = arg;
	unsigned n_slices = w->lane->wire->n_lanes > 1 ? FEW_SLICES : SLICES;

	for (unsigned slice = 0; slice < n_slices * w->n_ways; slice++) {
		for (unsigned i = 0; i < PACKETS / n_slices && !w->failed; i += WIRE_PORTION)
			w->failed = !run_portion(w, slice % w->n_ways);
		wait_for_others(w, slice + 1);
	}
	return 0;
}

struct measured {
	struct bench_samples rate[N_WAYS], cycles[N_WAYS];
	uint64_t n;         /* packets of ours, all runs */
	double interrupted; /* portions of all ways, all runs */
};

/* All lanes at once. */
static bool
run_once(struct wire *wire, const struct kind *kind, unsigned n_ways, struct measured *out)
{
	struct work work[WIRE_MAX_LANES];
	unsigned next = rte_get_next_lcore(-1, 1, 0);
	atomic_uint arrived = 0;
	double interrupted = 0;

	for (unsigned i = wire->n_lanes; i-- > 0;) {
		work[i] = (struct work){
			.lane = &wire->lane[i], .kind = kind, .n_ways = n_ways, .arrived = &arrived
		};
		if (i > 0) {
			rte_eal_remote_launch(run_lane, &work[i], next);
			next = rte_get_next_lcore(next, 1, 0);
		}
	}
	run_lane(&work[0]);
	rte_eal_mp_wait_lcore();
	for (unsigned way = 0; way < n_ways; way++) {
		double rate = 0, cycles = 0;

		for (unsigned i = 0; i < wire->n_lanes; i++) {
			const struct work *w = &work[i];

			if (w->failed || w->n_hits != w->n_sent[VIEW] || w->n[way] == 0)
				return false;
			rate += (double)w->n[way] * 1e9 / (double)w->ns[way];
			cycles += (double)w->cycles[way] / (double)w->n[way] / wire->n_lanes;
			out->n += way == OURS ? w->n_sent[way] : 0;
			interrupted += way == OURS ? (double)w->n_interrupted : 0;
		}
		out->rate[way].v[out->rate[way].n++] = rate;
		out->cycles[way].v[out->cycles[way].n++] = cycles;
	}
	out->interrupted += interrupted;
	return true;
}

static bool
measure(struct wire *wire, const struct kind *kind, const struct bench_args *args, bool bare,
		struct measured *out)
{
	const enum mqt_slot_counter received[2] = { MQT_RECV_MSG, MQT_SEND_PKT };
	uint64_t before[2], want[2] = { 0, 0 };

	for (unsigned i = 0; i < 2; i++)
		before[i] = wire_count(wire, received[i]);
	memset(out, 0, sizeof(*out));
	for (unsigned run = 0; run <= args->runs; run++) {
		if (!run_once(wire, kind, bare ? N_WAYS : BARE, out))
			return false;
		if (run > 0)
			continue;
		for (unsigned way = 0; way < N_WAYS; way++) /* that was the warm-up */
			out->rate[way].n = out->cycles[way].n = 0;
	}
	want[0] = kind->publishes * out->n / 2;
	want[1] = kind->len[1] > 0 ? out->n / 2 : 0;
	/* what was measured was the established path, each packet followed to its end */
	for (unsigned i = 0; i < 2; i++)
		if (wire_count(wire, received[i]) - before[i] != want[i])
			return false;
	return wire_is_established(wire);
}

static void
report_kind(struct bench_report *report, const char *what, uint32_t n, const struct measured *m,
		bool bare)
{
	char name[64], prefix[64];

	bench_report_add(report, bench_name(name, sizeof(name), what, n), "packets/s",
			&m->rate[OURS], way_names[VIEW], &m->rate[VIEW]);
	snprintf(prefix, sizeof(prefix), "%s.cycles", what);
	bench_report_add(report, bench_name(name, sizeof(name), prefix, n), "cycles/packet",
			&m->cycles[OURS], way_names[VIEW], &m->cycles[VIEW]);
	if (!bare)
		return;
	snprintf(prefix, sizeof(prefix), "%s.bare", what);
	bench_report_add(report, bench_name(name, sizeof(name), prefix, n), "packets/s",
			&m->rate[OURS], way_names[BARE], &m->rate[BARE]);
}

/* --- the subcommand -------------------------------------------------------------------------------- */

struct bench {
	const struct bench_args *args;
	struct bench_report *report;
	struct kind kinds[N_KINDS];
	double n_interrupted; /* portions, so far */
};

/* @param kinds all with or all without timestamps; the first of all is the headline. */
static bool
bench_wire(struct bench *b, uint32_t n, unsigned n_lanes, const struct kind *kinds,
		unsigned n_kinds)
{
	struct measured *m = calloc(1, sizeof(*m));
	struct wire *wire = m ? wire_create(n, n_lanes, kinds->timestamps) : NULL;
	bool ok = wire != NULL;
	char what[48];

	for (unsigned i = 0; ok && i < n_kinds; i++) {
		bool bare = i == 0 && !kinds->timestamps;

		ok = measure(wire, &kinds[i], b->args, bare, m);
		b->n_interrupted += m->interrupted;
		if (n_lanes > 1)
			snprintf(what, sizeof(what), "datapath.workers%u.%s", n_lanes,
					kinds[i].name);
		else
			snprintf(what, sizeof(what), "datapath.%s", kinds[i].name);
		if (ok)
			report_kind(b->report, what, n, m, bare);
		else
			fprintf(stderr,
					"mqtrack-bench: %s: packets did not take the expected "
					"path\n",
					what);
	}
	wire_destroy(wire);
	free(m);
	return ok;
}

/* One worker. @param all kinds, or those that are measured everywhere. */
static bool
bench_one(struct bench *b, uint32_t n, bool all)
{
	if (!bench_wire(b, n, 1, b->kinds, all ? PINGREQ : N_EVERYWHERE))
		return false;
	return !all || bench_wire(b, n, 1, &b->kinds[PINGREQ], 1);
}

static bool
bench_all(struct bench *b, const uint32_t *sizes, unsigned n_sizes)
{
	uint32_t middle = b->args->size ? sizes[0] : MIDDLE_FLOWS;
	struct bench_samples *s;

	for (unsigned i = 0; i < n_sizes; i++)
		if (!bench_one(b, sizes[i], sizes[i] == middle))
			return false;
	if (rte_lcore_count() > 1 && !bench_wire(b, middle, 2, b->kinds, 1))
		return false;
	s = calloc(1, sizeof(*s));
	if (!s)
		return false;
	s->v[s->n++] = b->n_interrupted;
	bench_report_add(b->report, "datapath.interrupted", "portions", s, NULL, NULL);
	free(s);
	return true;
}

/* Without huge pages this size would measure the TLB. */
static bool
can_be_huge(void)
{
	uint64_t mib = wire_memory_mib(HUGE_FLOWS);

	if (bench_huge_pages_mib() >= mib)
		return true;
	bench_skip("datapath of 8M connections: too few huge pages are free; to have them: sysctl "
		   "vm.nr_hugepages=%" PRIu64,
			mib / 2 + 64);
	return false;
}

int
bench_datapath(const struct bench_args *args, struct bench_report *report)
{
	uint32_t sizes[] = { 1000, MIDDLE_FLOWS, 1000000, HUGE_FLOWS };
	unsigned n_sizes = RTE_DIM(sizes) - (!args->size && !can_be_huge());
	struct bench *b = calloc(1, sizeof(*b));
	bool ok = b != NULL;

	if (args->size) {
		sizes[0] = (uint32_t)args->size;
		n_sizes = 1;
	}
	ok = ok && bench_eal_init_lcores(wire_memory_mib(sizes[n_sizes - 1]), WIRE_MAX_LANES) == 0;
	if (ok) {
		b->args = args;
		b->report = report;
		kinds_init(b->kinds);
		ok = bench_all(b, sizes, n_sizes);
	}
	free(b);
	return ok ? 0 : 1;
}
