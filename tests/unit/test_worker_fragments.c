/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IP fragments: whoever receives them, a datagram of a listener is judged once and whole, and
 * leaves as the fragments it came in or not at all; everything else passes as it came.
 */
#include "fragment_rig.h"

#define MAX_FRAGS 20
#define TIMEOUT   (30 * MQT_NS_PER_SEC)

struct cut {
	unsigned off, len;
	bool more;
};

struct datagram {
	struct frame whole;
	struct frame frag[MAX_FRAGS];
	unsigned n;
};

/* 20 bytes of TCP header and payload, cut into n nearly equal parts. */
static void
cut_evenly(struct datagram *d, const struct frame_spec *s, unsigned n, uint32_t id)
{
	unsigned len = 20u + s->payload_len, part = (len / n + 7) & ~7u;

	frame_make(&d->whole, s);
	d->n = n;
	for (unsigned i = 0; i < n; i++) {
		unsigned off = i * part, here = i + 1 < n ? part : len - off;

		frame_fragment(&d->whole, off, here, i + 1 < n, id, &d->frag[i]);
	}
}

/* The next frame that left on port 1, or NULL. */
static struct rte_mbuf *
next_out(void)
{
	struct rte_mbuf *m;

	for (unsigned q = 0; q < N_WORKERS; q++)
		if (rte_ring_dequeue(tx[1][q], (void **)&m) == 0)
			return m;
	return NULL;
}

static void
check_out(const struct frame *f)
{
	struct rte_mbuf *m = next_out();

	CHECK(m != NULL);
	if (!m)
		return;
	CHECK_EQ(m->nb_segs, 1);
	CHECK_EQ(m->pkt_len, f->len);
	CHECK_MEM(rte_pktmbuf_mtod(m, void *), f->data, f->len);
	CHECK_EQ(m->ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK, 0);
	rte_pktmbuf_free(m);
}

/* --- whole datagrams --------------------------------------------------------------------------- */

static void
test_a_datagram_is_judged_whole_and_leaves_as_it_came(void)
{
	static const uint8_t orders[][4] = { { 0, 1, 2, 3 }, { 3, 2, 1, 0 }, { 1, 3, 0, 2 },
		{ 2, 0, 3, 1 } };

	for (unsigned k = 0; k < 4 * RTE_DIM(orders); k++) {
		struct frame_spec s = spec(k % 2, 1883);
		static struct datagram d;

		if (k & 2) {
			s.n_tags = 2;
			memcpy(s.tpid, (uint16_t[]){ 0x88a8, 0x8100 }, 4);
			memcpy(s.tci, (uint16_t[]){ 0x2007, 100 }, 4);
		}
		begin(64);
		cut_evenly(&d, &s, 4, 77);
		for (unsigned i = 0; i < 4; i++) {
			CHECK_EQ(n_judged(), 0);
			/* from both queues, as a port that looks at ports of TCP would do */
			feed_frame(i % 2, &d.frag[orders[k / 4][i]]);
			run();
		}
		CHECK_EQ(n_judged(), 1);
		for (unsigned w = 0; w < N_WORKERS; w++)
			for (unsigned i = 0; i < conns_of[w]->n_seen; i++) {
				CHECK_EQ(conns_of[w]->seen[i].seq, 1000);
				CHECK_EQ(owner_of(conns_of[w]->seen[i].hash), w);
			}
		for (unsigned i = 0; i < 4; i++)
			check_out(&d.frag[i]);
		CHECK(next_out() == NULL);
		CHECK_EQ(sum_of(MQT_W_FRAGMENTS), 4);
		CHECK_EQ(sum_of(MQT_W_REASSEMBLED), 1);
		CHECK_EQ(sum_of(MQT_W_FRAGMENTS_PASSED), 0);
		CHECK_EQ(sum_of(MQT_W_TX_PACKETS), 4);
		end();
	}
}

static void
test_a_joined_datagram_reads_like_the_whole(void)
{
	for (unsigned ip6 = 0; ip6 < 2; ip6++) {
		struct frame_spec s = spec(ip6, 1883);
		static struct datagram d;
		struct rte_mbuf *m[4], *whole;
		uint8_t payload[700];
		struct mqt_pkt pkt;

		begin(64);
		cut_evenly(&d, &s, 4, 77);
		d.frag[2].data[d.frag[2].l3 + (ip6 ? 7 : 8)] = 3; /* the shortest way to live */
		frame_ip_sum(d.frag[2].data + d.frag[2].l3);
		if (ip6)
			frame_fragment(&d.whole, 2 * 184, 184, true, 77, &d.frag[2]);
		if (ip6)
			d.frag[2].data[d.frag[2].l3 + 7] = 3;
		for (unsigned i = 0; i < 4; i++)
			m[i] = mbuf_of(d.frag[i].data, d.frag[i].len);
		whole = mqt_fragments_join(pool, m, 4, RTE_BIT64(40));
		CHECK(whole != NULL);
		CHECK_EQ(mqt_pkt_parse(whole, &pkt), MQT_PKT_TCP);
		CHECK_EQ(pkt.payload_len, 700);
		CHECK_EQ(pkt.seq, 1000);
		CHECK(mqt_pkt_ip_checksum_ok(whole, &pkt));
		CHECK(mqt_pkt_checksum_ok(whole, &pkt));
		mqt_pkt_payload_copy(whole, &pkt, 0, 700, payload);
		CHECK_MEM(payload, d.whole.data + d.whole.l4 + 20, 700);
		CHECK_EQ(rte_pktmbuf_mtod(whole, uint8_t *)[pkt.l3_off + (ip6 ? 7 : 8)], 3);
		CHECK_EQ(whole->pkt_len, d.whole.len);
		CHECK(whole->ol_flags & RTE_BIT64(40));
		/* who holds it still reads the same after it has left */
		CHECK_EQ(mqt_fragments_split(pool, whole, m), 4);
		for (unsigned i = 0; i < 4; i++)
			CHECK_MEM(rte_pktmbuf_mtod(m[i], void *), d.frag[i].data, d.frag[i].len);
		rte_pktmbuf_free_bulk(m, 4);
		CHECK(mqt_pkt_checksum_ok(whole, &pkt));
		rte_pktmbuf_free(whole);
		end();
	}
}

static void
test_an_ipv6_datagram_of_one_fragment_stands_for_itself(void)
{
	struct frame_spec s = spec(true, 1883);
	static struct datagram d, other;

	begin(64);
	cut_evenly(&d, &s, 1, 77);
	cut_evenly(&other, &s, 3, 77);
	feed_frame(0, &other.frag[0]);
	feed_frame(0, &d.frag[0]);
	run();
	CHECK_EQ(n_judged(), 1);
	check_out(&d.frag[0]);
	feed_frame(0, &other.frag[1]);
	feed_frame(0, &other.frag[2]);
	run();
	CHECK_EQ(n_judged(), 2);
	end();
}

static void
test_datagrams_do_not_mix(void)
{
	static struct datagram a, b;

	/* what differs: id, address, VLAN, protocol version */
	for (unsigned k = 0; k < 4; k++) {
		struct frame_spec s = spec(false, 1883), t = s;

		if (k == 1)
			t.src = 9;
		if (k == 2) {
			t.n_tags = 1;
			t.tpid[0] = 0x8100;
			t.tci[0] = 5;
		}
		if (k == 3)
			t.ip6 = true;
		t.seq = 2000;
		begin(64);
		cut_evenly(&a, &s, 2, 77);
		cut_evenly(&b, &t, 2, k == 0 ? 78 : 77);
		feed_frame(0, &a.frag[0]);
		feed_frame(0, &b.frag[1]);
		run();
		CHECK_EQ(n_judged(), 0);
		feed_frame(0, &b.frag[0]);
		feed_frame(0, &a.frag[1]);
		run();
		CHECK_EQ(n_judged(), 2);
		CHECK_EQ(sum_of(MQT_W_FRAGMENTS_DROPPED), 0);
		end();
	}
}

/* --- what is not a listener's ------------------------------------------------------------------ */

static void
test_other_fragments_pass_as_they_came(void)
{
	static const char *const rows[] = { "other port", "other address", "UDP", "bad checksum",
		"switched off" };

	for (unsigned k = 0; k < 2 * RTE_DIM(rows); k++) {
		struct frame_spec s = spec(k % 2, k / 2 == 0 ? 22 : 1883);
		static struct datagram d;

		check_row = rows[k / 2];
		if (k / 2 == 3 && k % 2)
			continue; /* IPv6 has none */
		if (k / 2 == 2)
			s.proto = 17;
		if (k / 2 == 1)
			mqt_endpoint_parse_ip("10.9.9.9", &config.listeners[0].address);
		config.listeners[0].address.port = 1883;
		begin(k / 2 == 4 ? 0 : 64);
		cut_evenly(&d, &s, 3, 77);
		for (unsigned i = 0; i < 3 && k / 2 == 3; i++)
			d.frag[i].data[d.frag[i].l3 + 8]--;
		/* the last one first: it has no ports */
		feed_frame(0, &d.frag[2]);
		feed_frame(0, &d.frag[0]);
		feed_frame(0, &d.frag[1]);
		run();
		CHECK_EQ(n_judged(), 0);
		for (unsigned i = 0, seen = 0; i < 3; i++) {
			struct rte_mbuf *m = next_out();

			CHECK(m != NULL);
			for (unsigned f = 0; m && f < 3; f++)
				if (m->pkt_len == d.frag[f].len &&
						!memcmp(rte_pktmbuf_mtod(m, void *), d.frag[f].data,
								m->pkt_len))
					seen |= 1u << f;
			rte_pktmbuf_free(m);
			if (i == 2)
				CHECK_EQ(seen, 7);
		}
		CHECK_EQ(sum_of(MQT_W_FRAGMENTS), 3);
		CHECK_EQ(sum_of(k / 2 == 3 ? MQT_W_BAD_IP_CHECKSUM : MQT_W_FRAGMENTS_PASSED), 3);
		CHECK_EQ(sum_of(MQT_W_REASSEMBLED), 0);
		memset(&config.listeners[0].address, 0, sizeof(config.listeners[0].address));
		config.listeners[0].address.port = 1883;
		end();
	}
	check_row = "";
}

/* --- what must not show two things --------------------------------------------------------------- */

static void
test_fragments_that_contradict_each_other_do_not_leave(void)
{
	static const struct {
		const char *row;
		unsigned n;
		struct cut cut[4];
	} rows[] = {
		{ "overlap behind", 3,
				{ { 0, 240, true }, { 232, 240, true }, { 472, 248, false } } },
		{ "overlap before", 3,
				{ { 240, 240, true }, { 0, 248, true }, { 480, 240, false } } },
		{ "one inside another", 3,
				{ { 0, 240, true }, { 8, 8, true }, { 240, 480, false } } },
		{ "same offset, longer", 3,
				{ { 0, 240, true }, { 0, 480, true }, { 480, 240, false } } },
		{ "two ends", 3, { { 240, 240, false }, { 480, 240, false }, { 0, 240, true } } },
		{ "beyond the end", 3,
				{ { 240, 240, false }, { 480, 240, true }, { 0, 240, true } } },
		{ "end before what came", 3,
				{ { 480, 240, true }, { 240, 240, false }, { 0, 240, true } } },
		{ "TCP header cut", 2, { { 0, 16, true }, { 16, 704, false } } },
		{ "ports only", 2, { { 16, 704, false }, { 0, 8, true } } },
	};

	for (size_t k = 0; k < 2 * RTE_DIM(rows); k++) {
		struct frame_spec s = spec(k % 2, 1883);
		struct frame f, frag;

		check_row = rows[k / 2].row;
		begin(64);
		frame_make(&f, &s);
		for (unsigned i = 0; i < rows[k / 2].n; i++) {
			const struct cut *c = &rows[k / 2].cut[i];

			frame_fragment(&f, c->off, c->len, c->more, 77, &frag);
			feed_frame(i % 2, &frag);
			run();
		}
		CHECK_EQ(n_judged(), 0);
		CHECK(next_out() == NULL);
		CHECK_EQ(sum_of(MQT_W_FRAGMENTS_DROPPED), rows[k / 2].n);
		CHECK_EQ(rte_mempool_avail_count(pool), N_MBUFS);
		end();
	}
	check_row = "";
}

static void
test_a_repeated_fragment_changes_nothing(void)
{
	struct frame_spec s = spec(false, 1883);
	static struct datagram d;
	struct frame other;

	begin(64);
	cut_evenly(&d, &s, 3, 77);
	other = d.frag[1];
	other.data[other.l4 + 5] ^= 0xff;
	feed_frame(0, &d.frag[1]);
	feed_frame(0, &other);
	feed_frame(0, &d.frag[0]);
	feed_frame(0, &d.frag[2]);
	run();
	CHECK_EQ(n_judged(), 1);
	for (unsigned i = 0; i < 3; i++)
		check_out(&d.frag[i]);
	CHECK(next_out() == NULL);
	end();
}

static void
test_a_second_first_fragment_does_not_smuggle(void)
{
	struct frame_spec s = spec(false, 1883), t = spec(false, 22);
	static struct datagram d, decoy;

	begin(64);
	cut_evenly(&d, &s, 3, 77);
	cut_evenly(&decoy, &t, 3, 77);
	feed_frame(0, &decoy.frag[0]);
	run();
	check_out(&decoy.frag[0]);
	feed_frame(0, &d.frag[0]);
	feed_frame(0, &d.frag[1]);
	feed_frame(0, &d.frag[2]);
	run();
	CHECK(next_out() == NULL);
	CHECK_EQ(n_judged(), 0);
	CHECK_EQ(sum_of(MQT_W_FRAGMENTS_DROPPED), 3);
	end();
}

static void
test_too_many_fragments_do_not_leave(void)
{
	struct frame_spec s = spec(false, 1883);
	static struct datagram d;

	begin(64);
	s.payload_len = 748; /* 16 times 48 */
	cut_evenly(&d, &s, 16, 77);
	for (unsigned i = 0; i < 16; i++)
		feed_frame(0, &d.frag[i]);
	run();
	CHECK_EQ(n_judged(), 1);
	for (unsigned i = 0; i < 16; i++)
		check_out(&d.frag[i]);
	s.payload_len = 700; /* 18 times 40 */
	cut_evenly(&d, &s, 18, 78);
	for (unsigned i = 0; i < 18; i++)
		feed_frame(0, &d.frag[i]);
	run();
	CHECK_EQ(n_judged(), 1);
	CHECK(next_out() == NULL);
	end();
}

/* --- bounds -------------------------------------------------------------------------------------- */

static void
test_without_room_the_oldest_is_given_up_and_nothing_passes(void)
{
	struct frame_spec s = spec(false, 1883);
	static struct datagram d;
	unsigned n;

	begin(4);
	for (uint32_t id = 0; id < 40; id++) {
		cut_evenly(&d, &s, 3, id);
		feed_frame(0, &d.frag[1]);
		feed_frame(0, &d.frag[2]);
		run();
		CHECK(next_out() == NULL);
	}
	n = (unsigned)sum_of(MQT_W_FRAGMENT_FULL);
	CHECK(n >= 40 - 4 && n < 40);
	CHECK_EQ(sum_of(MQT_W_FRAGMENTS_DROPPED), 2 * n);
	CHECK_EQ(rte_mempool_avail_count(pool), N_MBUFS - 2 * (40 - n));
	/* the youngest is there still */
	feed_frame(0, &d.frag[0]);
	run();
	CHECK_EQ(n_judged(), 1);
	end();
}

static void
test_a_datagram_that_outgrows_the_room_is_dropped(void)
{
	struct frame_spec s = spec(false, 1883);
	static struct datagram d;

	begin(4);
	cut_evenly(&d, &s, 6, 77);
	for (unsigned i = 0; i < 6; i++)
		feed_frame(0, &d.frag[i]);
	run();
	CHECK_EQ(n_judged(), 0);
	CHECK(next_out() == NULL);
	CHECK_EQ(sum_of(MQT_W_FRAGMENT_FULL), 1);
	CHECK_EQ(sum_of(MQT_W_FRAGMENTS_DROPPED), 6);
	/* and the room is there again */
	cut_evenly(&d, &s, 4, 78);
	for (unsigned i = 0; i < 4; i++)
		feed_frame(0, &d.frag[i]);
	run();
	CHECK_EQ(n_judged(), 1);
	end();
}

static void
test_what_does_not_become_whole_is_dropped_in_time(void)
{
	struct frame_spec s = spec(false, 1883);
	static struct datagram d;

	begin(64);
	cut_evenly(&d, &s, 3, 77);
	feed_frame(0, &d.frag[0]);
	feed_frame(0, &d.frag[2]);
	run();
	now += TIMEOUT - 100000;
	run();
	CHECK_EQ(sum_of(MQT_W_FRAGMENT_TIMEOUTS), 0);
	CHECK_EQ(rte_mempool_avail_count(pool), N_MBUFS - 2);
	now += 100000;
	run();
	CHECK_EQ(sum_of(MQT_W_FRAGMENT_TIMEOUTS), 1);
	CHECK_EQ(rte_mempool_avail_count(pool), N_MBUFS);
	feed_frame(0, &d.frag[1]);
	run();
	CHECK_EQ(n_judged(), 0);
	CHECK(next_out() == NULL);
	end(); /* with one kept: counts the pool */
}

static void
test_without_mbufs_a_datagram_is_dropped(void)
{
	struct frame_spec s = spec(false, 1883);
	static struct datagram d;
	struct rte_mbuf *hog[N_MBUFS];
	unsigned n = 0;

	begin(64);
	cut_evenly(&d, &s, 2, 77);
	feed_frame(0, &d.frag[0]);
	feed_frame(0, &d.frag[1]);
	while (n < N_MBUFS && (hog[n] = rte_pktmbuf_alloc(pool)))
		n++;
	run();
	CHECK_EQ(n_judged(), 0);
	CHECK_EQ(sum_of(MQT_W_FRAGMENTS_DROPPED), 2);
	/* one mbuf to join them, none for copies */
	cut_evenly(&d, &s, 2, 78);
	memcpy(rte_pktmbuf_append(hog[n - 1], (uint16_t)d.frag[0].len), d.frag[0].data,
			d.frag[0].len);
	memcpy(rte_pktmbuf_append(hog[n - 2], (uint16_t)d.frag[1].len), d.frag[1].data,
			d.frag[1].len);
	CHECK_EQ(rte_ring_enqueue(rx[0][0], hog[n - 1]), 0);
	CHECK_EQ(rte_ring_enqueue(rx[0][0], hog[n - 2]), 0);
	n -= 2;
	while (rte_mempool_avail_count(pool) > 1)
		hog[n++] = rte_pktmbuf_alloc(pool);
	run();
	CHECK_EQ(n_judged(), 1);
	CHECK_EQ(sum_of(MQT_W_NO_MBUF), 1);
	CHECK(next_out() == NULL);
	rte_pktmbuf_free_bulk(hog, n);
	end();
}

int
main(void)
{
	CU_TestInfo tests[] = {
		TEST(test_a_datagram_is_judged_whole_and_leaves_as_it_came),
		TEST(test_a_joined_datagram_reads_like_the_whole),
		TEST(test_an_ipv6_datagram_of_one_fragment_stands_for_itself),
		TEST(test_datagrams_do_not_mix),
		TEST(test_other_fragments_pass_as_they_came),
		TEST(test_fragments_that_contradict_each_other_do_not_leave),
		TEST(test_a_repeated_fragment_changes_nothing),
		TEST(test_a_second_first_fragment_does_not_smuggle),
		TEST(test_too_many_fragments_do_not_leave),
		TEST(test_without_room_the_oldest_is_given_up_and_nothing_passes),
		TEST(test_a_datagram_that_outgrows_the_room_is_dropped),
		TEST(test_what_does_not_become_whole_is_dropped_in_time),
		TEST(test_without_mbufs_a_datagram_is_dropped),
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ "worker_fragments", suite_init, suite_clean, NULL, NULL, tests },
		CU_SUITE_INFO_NULL,
	};

	return rig_run("fragments", suites);
}
