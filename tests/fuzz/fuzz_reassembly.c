/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Reassembly of fragments. An input is a sequence of fragments, each of RECORD bytes: of which
 * datagram, where in it, how long, and how much time goes by. What comes out whole is what its
 * fragments say, without gap; what leaves had been fed; of an identity that has left nothing comes
 * out whole for a minute; nothing gets lost in the table.
 */

#include "../../lib/worker/reassembly.h"
#include "fuzz.h"
#include "mqtrack/clock.h"
#include "mqtrack/counters.h"

#include <limits.h>
#include <unistd.h>

#include <rte_eal.h>

#define RECORD    6
#define N_IDS     4
#define N_MBUFS   127
#define LIMIT     12
#define QUIET_SEC 60

static struct rte_mempool *pool;
static struct mqt_config config;
static _Atomic uint64_t counters[MQT_W_N_COUNTERS];

/* Of one run. */
struct run {
	struct reassembly *r;
	uint64_t now_ns;
	unsigned n_fed, n_out;
	uint64_t left_ns[2 * N_IDS]; /* when fragments of an identity left last; 0: never */
};

static void
stop(void)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s", rte_eal_get_runtime_dir());
	rte_eal_cleanup();
	rmdir(dir);
}

static void
start_once(void)
{
	char prefix[64];
	char *argv[] = { (char[]){ "fuzz" }, (char[]){ "--no-huge" }, (char[]){ "--no-shconf" },
		(char[]){ "-m" }, (char[]){ "64" }, (char[]){ "--no-pci" },
		(char[]){ "--no-telemetry" }, (char[]){ "--log-level=lib.eal:4" }, prefix, NULL };

	if (pool)
		return;
	snprintf(prefix, sizeof(prefix), "--file-prefix=mqt_fuzz_%d", (int)getpid());
	FUZZ_CHECK(rte_eal_init((int)RTE_DIM(argv) - 1, argv) >= 0);
	atexit(stop);
	pool = rte_pktmbuf_pool_create(
			"fuzz", N_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	FUZZ_CHECK(pool != NULL);
	mqt_config_init(&config);
	config.limits.fragments = LIMIT;
}

static void
put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* A fragment as a record says: id and IP version, offset, length, more, port, next header. */
static struct rte_mbuf *
make(const uint8_t *rec)
{
	bool ip6 = rec[0] & 4, more = rec[3] & 1;
	unsigned off = rec[1] % 32, len = rec[2] % 65 * 8u + (rec[3] & 2 ? rec[4] % 8u : 0);
	uint8_t f[14 + 48 + 65 * 8 + 8] = { 0 }, *ip = f + 14, *data = ip + (ip6 ? 48 : 20);
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	FUZZ_CHECK(m != NULL);
	put16(f + 12, ip6 ? 0x86dd : 0x0800);
	if (ip6) {
		ip[0] = 0x60;
		put16(ip + 4, 8 + len);
		ip[6] = 44;
		ip[40] = rec[3] & 16 ? rec[4] : 6;
		put16(ip + 42, off * 8 | more);
		ip[47] = rec[0] & 3;
	} else {
		ip[0] = 0x45;
		put16(ip + 2, 20 + len);
		put16(ip + 4, rec[0] & 3);
		put16(ip + 6, off | (more ? 0x2000u : 0));
		ip[9] = 6;
	}
	memset(data, rec[4], len);
	if (off == 0 && len >= 20) {
		put16(data + 2, rec[3] & 4 ? 22 : 1883);
		data[12] = rec[3] & 8 ? rec[4] : 0x50;
	}
	memcpy(rte_pktmbuf_append(m, (uint16_t)(data - f + len)), f, (size_t)(data - f) + len);
	return m;
}

/* Looks at a fragment that leaves: its identity, and whether that is a later one. */
static unsigned
identify(const struct rte_mbuf *m, struct mqt_fragment *frag)
{
	struct mqt_pkt pkt;

	FUZZ_CHECK(mqt_pkt_parse(m, &pkt) == MQT_PKT_FRAGMENT);
	FUZZ_CHECK(mqt_pkt_fragment(m, &pkt, 0, frag) == 0);
	return frag->key.id % N_IDS + (frag->key.ip_version == 6 ? N_IDS : 0);
}

static void
check_whole(struct run *run, struct rte_mbuf *whole)
{
	struct rte_mbuf *m[REASSEMBLY_MAX_PIECES];
	unsigned n = mqt_fragments_split(pool, whole, m), off = 0, head = 0, id = 0;

	FUZZ_CHECK(n > 0 && n == whole->nb_segs - 1u);
	for (unsigned i = 0; i < n; i++) {
		struct mqt_fragment frag;
		uint8_t bytes[1024], *data;

		id = identify(m[i], &frag);
		if (i == 0)
			head = frag.data_off - (frag.key.ip_version == 6 ? 8u : 0);
		FUZZ_CHECK(frag.off == off && frag.more == (i + 1 < n));
		data = rte_pktmbuf_mtod_offset(m[i], uint8_t *, frag.data_off);
		FUZZ_CHECK(frag.len <= sizeof(bytes));
		FUZZ_CHECK(memcmp(rte_pktmbuf_read(whole, head + off, frag.len, bytes), data,
					   frag.len) == 0);
		off += frag.len;
	}
	FUZZ_CHECK(whole->pkt_len == head + off);
	if (n > 1) {
		FUZZ_CHECK(run->left_ns[id] == 0 ||
				run->now_ns - run->left_ns[id] >= QUIET_SEC * MQT_NS_PER_SEC);
		run->left_ns[id] = run->now_ns;
	}
	run->n_out += n;
	rte_pktmbuf_free_bulk(m, n);
	rte_pktmbuf_free(whole);
}

static void
feed(struct run *run, const uint8_t *rec)
{
	struct rte_mbuf *m = make(rec);
	struct reassembly_out out;
	struct mqt_fragment frag;
	struct mqt_pkt pkt;

	run->now_ns += (uint64_t)(rec[5] & 15) * (rec[5] & 16 ? MQT_NS_PER_SEC : 1000);
	reassembly_expire(run->r, run->now_ns, 8);
	if (mqt_pkt_parse(m, &pkt) != MQT_PKT_FRAGMENT ||
			mqt_pkt_fragment(m, &pkt, 0, &frag) != 0 ||
			!reassembly_concerns(&config, &frag)) {
		rte_pktmbuf_free(m);
		return;
	}
	run->n_fed++;
	/* identities share a bucket, not a place in the memory of those that left */
	reassembly_input(run->r, m, &frag, ((uint64_t)pkt.ip_version << 8 | (rec[0] & 3)) << 16,
			run->now_ns, &out);
	for (unsigned i = 0; i < out.n_pass; i++) {
		unsigned id = identify(out.pass[i], &frag);

		if (frag.off > 0)
			run->left_ns[id] = run->now_ns;
		rte_pktmbuf_free(out.pass[i]);
	}
	run->n_out += out.n_pass;
	if (out.whole)
		check_whole(run, out.whole);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reassembly_params params = { .config = &config,
		.counters = counters,
		.whole_flag = RTE_BIT64(40),
		.socket_id = SOCKET_ID_ANY };
	struct run run = { .now_ns = MQT_NS_PER_SEC };
	unsigned kept;

	start_once();
	for (unsigned i = 0; i < MQT_W_N_COUNTERS; i++)
		counters[i] = 0;
	params.pool = pool;
	run.r = reassembly_create(&params);
	FUZZ_CHECK(run.r != NULL);
	for (size_t i = 0; i + RECORD <= size; i += RECORD)
		feed(&run, data + i);
	/* timed-out ones are freed without being counted one by one */
	kept = N_MBUFS - rte_mempool_avail_count(pool);
	FUZZ_CHECK(kept <= LIMIT);
	FUZZ_CHECK(counters[MQT_W_FRAGMENTS_DROPPED] + run.n_out + kept <= run.n_fed);
	if (counters[MQT_W_FRAGMENT_TIMEOUTS] == 0)
		FUZZ_CHECK(counters[MQT_W_FRAGMENTS_DROPPED] + run.n_out + kept == run.n_fed);
	reassembly_destroy(run.r);
	FUZZ_CHECK(rte_mempool_avail_count(pool) == N_MBUFS);
	return 0;
}
