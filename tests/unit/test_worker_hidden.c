/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ways to show a broker bytes that the tracker does not see, so that others could take their place
 * before its eyes (I12): long chains of headers, fragments that no honest sender makes, and fragments
 * whose first one is lost behind the tracker. None of them passes unjudged.
 */
#include "fragment_rig.h"

/* How many frames have left. */
static unsigned
n_out(void)
{
	struct rte_mbuf *m;
	unsigned n = 0;

	run();
	for (unsigned q = 0; q < N_WORKERS; q++)
		for (; rte_ring_dequeue(tx[1][q], (void **)&m) == 0; n++)
			rte_pktmbuf_free(m);
	return n;
}

/* --- headers ------------------------------------------------------------------------------------- */

/* Destination options headers of 8 bytes, the last leading to TCP. */
static void
fill_chain(uint8_t *ext, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		memcpy(ext + 8 * i, (uint8_t[]){ i + 1 < n ? 60 : 6, 0, 1, 4, 0, 0, 0, 0 }, 8);
}

static void
test_a_chain_of_any_number_of_headers_is_followed_to_tcp(void)
{
	static const uint8_t counts[] = { 1, 8, 9, 10, 31 };
	uint8_t ext[31 * 8];

	for (unsigned i = 0; i < RTE_DIM(counts); i++) {
		struct frame_spec s = spec(true, 1883);
		struct frame f;

		fill_chain(ext, counts[i]);
		s.proto = 60;
		s.ext = ext;
		s.ext_len = (uint8_t)(8 * counts[i]);
		frame_make(&f, &s);
		begin(64);
		feed_frame(0, &f);
		CHECK_EQ(n_out(), 1);
		CHECK_EQ(n_judged(), 1);
		CHECK_EQ(sum_of(MQT_W_MALFORMED_PACKETS), 0);
		end();
	}
}

static void
test_headers_that_pass_the_first_buffer_do_not_leave(void)
{
	struct frame_spec s = spec(true, 1883);
	uint8_t ext[16 * 8];
	struct rte_mbuf *m, *tail;
	struct frame f;

	fill_chain(ext, 16);
	s.proto = 60;
	s.ext = ext;
	s.ext_len = sizeof(ext);
	frame_make(&f, &s);
	/* the cut in the chain, in the TCP header, and behind that */
	for (unsigned i = 0; i < 3; i++) {
		unsigned cut = i == 0 ? f.l3 + 60 : i == 1 ? f.l4 + 10 : f.l4 + 20;

		begin(64);
		m = mbuf_of(f.data, cut);
		tail = mbuf_of(f.data + cut, f.len - cut);
		CHECK_EQ(rte_pktmbuf_chain(m, tail), 0);
		CHECK_EQ(rte_ring_enqueue(rx[0][0], m), 0);
		CHECK_EQ(n_out(), i == 2);
		CHECK_EQ(n_judged(), i == 2);
		CHECK_EQ(sum_of(MQT_W_BURIED_DROPPED), i != 2);
		end();
	}
}

/* --- fragments ----------------------------------------------------------------------------------- */

/* Some receivers cut them to a multiple of 8 and take them. */
static void
test_fragments_of_an_odd_length_do_not_leave(void)
{
	for (unsigned ip6 = 0; ip6 < 2; ip6++) {
		struct frame_spec s = spec(ip6, 1883);
		struct frame f, frag;

		begin(64);
		frame_make(&f, &s);
		for (unsigned i = 0; i < 3; i++) {
			frame_fragment(&f, i * 240, 239, i < 2, 77, &frag);
			feed_frame(0, &frag);
		}
		CHECK_EQ(n_out(), 0);
		CHECK_EQ(sum_of(MQT_W_FRAGMENTS), 3);
		CHECK_EQ(sum_of(MQT_W_FRAGMENTS_DROPPED), 2);
		end();
	}
}

static void
test_malformed_fragments_of_nobody_pass(void)
{
	struct frame_spec s = spec(false, 1883);
	struct frame f, frag;

	s.proto = 17;
	begin(64);
	frame_make(&f, &s);
	frame_fragment(&f, 0, 239, true, 77, &frag);
	feed_frame(0, &frag);
	CHECK_EQ(n_out(), 1);
	CHECK_EQ(sum_of(MQT_W_MALFORMED_PACKETS), 1);
	end();
}

static void
test_a_fragment_of_a_fragment_does_not_leave(void)
{
	struct frame_spec s = spec(true, 1883);
	uint8_t inner[8] = { 6, 0, 0, 0, 0, 0, 0, 9 };
	struct frame f, frag;

	s.proto = 44;
	s.ext = inner;
	s.ext_len = sizeof(inner);
	frame_make(&f, &s);
	f.l4 -= sizeof(inner);
	begin(64);
	frame_fragment(&f, 0, 240, true, 77, &frag);
	feed_frame(0, &frag);
	frame_fragment(&f, 240, f.len - f.l4 - 240, false, 77, &frag);
	feed_frame(0, &frag);
	CHECK_EQ(n_out(), 0);
	CHECK_EQ(sum_of(MQT_W_FRAGMENTS_DROPPED), 2);
	end();
}

/* Feeds a datagram in two fragments. @return how many frames left. */
static unsigned
feed_two(const struct frame_spec *s, uint32_t id)
{
	struct frame f, frag;

	frame_make(&f, s);
	frame_fragment(&f, 0, 240, true, id, &frag);
	feed_frame(0, &frag);
	frame_fragment(&f, 240, f.len - f.l4 - 240, false, id, &frag);
	feed_frame(0, &frag);
	return n_out();
}

/*
 * The first fragment of the former may have been lost behind the tracker: the receiver then has the
 * later one, and would join it to the first one of the latter.
 */
static void
test_an_identity_that_has_left_is_not_a_listeners_for_a_while(void)
{
	for (unsigned k = 0; k < 4; k++) {
		struct frame_spec s = spec(k & 1, 1883), decoy = s;

		if (k & 2)
			decoy.dport = 22;
		decoy.seq = 5000;
		begin(64);
		CHECK_EQ(feed_two(&decoy, 77), 2);
		CHECK_EQ(feed_two(&s, 77), 0);
		CHECK_EQ(n_judged(), k & 2 ? 0 : 1);
		CHECK_EQ(sum_of(MQT_W_FRAGMENT_REUSED), 1);
		CHECK_EQ(sum_of(MQT_W_FRAGMENTS_DROPPED), 2);
		/* nor by and by; what is not a listener's passes */
		now += 59 * MQT_NS_PER_SEC;
		CHECK_EQ(feed_two(&s, 77), 0);
		CHECK_EQ(feed_two(&s, 78), 2);
		now += 3 * MQT_NS_PER_SEC;
		CHECK_EQ(feed_two(&s, 77), 2);
		s.dport = 22;
		CHECK_EQ(feed_two(&s, 77), 2);
		CHECK_EQ(sum_of(MQT_W_FRAGMENT_REUSED), 2);
		end();
	}
}

/* However many others leave in between, none makes the tracker forget one. */
static void
test_an_identity_that_has_left_is_not_forgotten_for_others(void)
{
	struct frame_spec s = spec(false, 22), other = s;

	begin(64);
	CHECK_EQ(feed_two(&s, 77), 2);
	for (unsigned i = 0; i < 100000; i++) {
		other.src = (uint8_t)(3 + i % 2);
		CHECK_EQ(feed_two(&other, i / 2 & 0xffff), 2);
	}
	s.dport = 1883;
	CHECK_EQ(feed_two(&s, 77), 0);
	CHECK_EQ(sum_of(MQT_W_FRAGMENT_REUSED), 1);
	end();
}

int
main(void)
{
	CU_TestInfo tests[] = {
		TEST(test_a_chain_of_any_number_of_headers_is_followed_to_tcp),
		TEST(test_headers_that_pass_the_first_buffer_do_not_leave),
		TEST(test_fragments_of_an_odd_length_do_not_leave),
		TEST(test_malformed_fragments_of_nobody_pass),
		TEST(test_a_fragment_of_a_fragment_does_not_leave),
		TEST(test_an_identity_that_has_left_is_not_a_listeners_for_a_while),
		TEST(test_an_identity_that_has_left_is_not_forgotten_for_others),
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ "worker_hidden", suite_init, suite_clean, NULL, NULL, tests },
		CU_SUITE_INFO_NULL,
	};

	return rig_run("hidden", suites);
}
