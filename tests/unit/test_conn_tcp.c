/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What TCP does to a tracked flow: segments outside the window, probes, other cuts, gaps, closing,
 * new incarnations, and flows of which not everything is seen. Packet tables where they fit.
 */
#include "conn_rig.h"

/* --- a packet table of a connected flow -------------------------------------------------------- */

/* Numbers count from what comes next in each direction. */
struct row {
	const char *name;
	int side;
	unsigned flags;
	int32_t seq, ack;
	const char *data;
	unsigned counter; /* counted once by this; MQT_W_N_COUNTERS: none */
};

#define NONE MQT_W_N_COUNTERS

/* Each passes, and leaves everything as it was. */
static const struct row without_effect[] = {
	{ "RST before the window", CLIENT, RST_ACK, -1, 0, "", MQT_W_OUT_OF_WINDOW },
	{ "RST long before it", CLIENT, RST_ACK, -100000, 0, "", MQT_W_OUT_OF_WINDOW },
	{ "RST beyond it", CLIENT, RST_ACK, 65001, 0, "", MQT_W_OUT_OF_WINDOW },
	{ "RST of the other half of the numbers", CLIENT, RST_ACK, INT32_MIN + 5, 0, "",
			MQT_W_OUT_OF_WINDOW },
	{ "broker's RST beyond it", BROKER, RST_ACK, 65001, 0, "", MQT_W_OUT_OF_WINDOW },
	{ "FIN before the window", CLIENT, FIN_ACK, -2, 0, "", NONE },
	{ "FIN beyond it", CLIENT, FIN_ACK, 65001, 0, "", MQT_W_OUT_OF_WINDOW },
	{ "broker's FIN beyond it", BROKER, FIN_ACK, 65001, 0, "", MQT_W_OUT_OF_WINDOW },
	{ "DISCONNECT and FIN before it", CLIENT, FIN_ACK, -3, 0, "\xe0", NONE },
	{ "data before it", CLIENT, ACK, -2, 0, "\xe0", NONE },
	{ "data beyond it", CLIENT, ACK, 65001, 0, "\xe0", MQT_W_OUT_OF_WINDOW },
	{ "SYN in it", CLIENT, MQT_TCP_SYN, 10, 0, "", MQT_W_SYN },
	{ "SYN beyond it", CLIENT, MQT_TCP_SYN, 100000, 0, "", MQT_W_SYN },
	{ "SYN/ACK from the client", CLIENT, SYN_ACK, 0, 0, "", MQT_W_PASSED },
	{ "SYN from the broker", BROKER, MQT_TCP_SYN, 5, 0, "", MQT_W_PASSED },
	{ "SYN/ACK of no SYN", BROKER, SYN_ACK, 70000, 70000, "", MQT_W_PASSED },
	{ "keepalive", CLIENT, ACK, -1, 0, "", NONE },
	{ "keepalive with a byte", CLIENT, ACK, -1, 0, "\xff", NONE },
	{ "broker's keepalive", BROKER, ACK, -1, 0, "", NONE },
	{ "broker's keepalive with a byte", BROKER, ACK, -1, 0, "\xff", NONE },
	{ "an acknowledgement of nothing new", CLIENT, ACK, 0, 0, "", NONE },
	{ "an old acknowledgement", CLIENT, ACK, 0, -50, "", NONE },
	{ "an acknowledgement beyond all windows", CLIENT, ACK, 0, 70000, "", NONE },
};

static void
play(struct flow *f, const struct row *r)
{
	send_at(f, r->side, r->flags, f->seq[r->side] + (uint32_t)r->seq,
			f->seq[!r->side] + (uint32_t)r->ack, r->data, strlen(r->data));
}

static void
test_segments_out_of_the_window_change_nothing_and_pass(void)
{
	for (unsigned i = 0; i < RTE_DIM(without_effect); i++) {
		const struct row *r = &without_effect[i];
		struct flow f = flow_new();
		uint64_t before = 0;

		check_row = r->name;
		world_begin();
		connected(&f, "c");
		if (r->counter != NONE)
			before = mqt_counter_get(&w.counters.v[r->counter]);
		play(&f, r);
		CHECK_EQ(n_sent((uint16_t)!r->side), 1);
		CHECK_EQ(w.n_out, 1);
		if (r->counter != NONE)
			CHECK_EQ(mqt_counter_get(&w.counters.v[r->counter]), before + 1);
		/* life goes on, and is followed */
		send_next(&f, CLIENT, ACK, "\xc0\x00", 2);
		send_next(&f, BROKER, ACK, "\xd0\x00", 2);
		CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 2);
		CHECK_EQ(slot_counter(&f, MQT_SEND_PKT), 2);
		advance(5 * SEC);
		CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
		CHECK_NO_MESSAGE();
		send_fin(&f, CLIENT);
		CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
		release(&f);
		world_end();
	}
}

static void
test_damaged_ends_change_nothing(void)
{
	static const unsigned flags[] = { RST_ACK, FIN_ACK, ACK };

	for (unsigned i = 0; i < RTE_DIM(flags); i++) {
		struct flow f = flow_new();
		struct rte_mbuf *m;

		world_begin();
		connected(&f, "c");
		m = build(&f, CLIENT, flags[i], f.seq[CLIENT], f.seq[BROKER], "\xe0\x00", 2);
		if (flags[i] == ACK)
			m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_BAD; /* the port has seen it */
		else
			*rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len - 1) ^= 1;
		inject(m, CLIENT);
		CHECK_EQ(COUNT(BAD_CHECKSUM), 1);
		CHECK_EQ(n_sent(1), 1);
		CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
		CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 1);
		CHECK_NO_MESSAGE();
		free(f.info);
		world_end();
	}
}

/* --- following --------------------------------------------------------------------------------- */

/* Three packets, once in two pieces cut at each byte, then again cut elsewhere. */
static void
test_retransmits_with_other_cuts_are_followed_once(void)
{
	uint8_t buf[64];
	uint32_t len = 0, other;

	for (unsigned i = 0; i < 3; i++)
		len += (uint32_t)publish_packet(buf + len, sizeof(buf) - len, 4, 5);
	for (uint32_t cut = 1; cut < len; cut++) {
		for (unsigned swapped = 0; swapped < 2; swapped++) {
			struct flow f = flow_new();
			uint32_t s;

			world_begin();
			f.seq[CLIENT] = 0xffffffd0u; /* wraps inside */
			connected(&f, "c");
			s = f.seq[CLIENT];
			other = (cut * 7) % len;
			if (swapped)
				send_at(&f, CLIENT, ACK, s + cut, f.seq[BROKER], buf + cut,
						len - cut);
			else
				send_at(&f, CLIENT, ACK, s, f.seq[BROKER], buf, cut);
			send_at(&f, CLIENT, ACK, s, f.seq[BROKER], buf, other);
			send_at(&f, CLIENT, ACK, s + other, f.seq[BROKER], buf + other,
					len - other);
			send_at(&f, CLIENT, ACK, s, f.seq[BROKER], buf, len);
			CHECK_EQ(slot_counter(&f, MQT_RECV_MSG), 3);
			CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 4);
			CHECK_EQ(n_sent(1), 4);
			CHECK_EQ(COUNT(ANOMALY_GAP) + COUNT(ANOMALY_FRAMING), 0);
			CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->parked), 0);
			free(f.info);
			world_end();
		}
	}
}

static void
test_closed_window_is_probed_and_opens_again(void)
{
	struct flow f = flow_new();
	uint8_t buf[64];
	uint32_t len = (uint32_t)publish_packet(buf, sizeof(buf), 4, 5), s;

	world_begin();
	connected(&f, "c");
	s = f.seq[CLIENT];
	f.window = 0;
	send_next(&f, BROKER, ACK, NULL, 0);
	f.window = 65000;
	for (unsigned i = 0; i < 3; i++) { /* the window shrank: the edge that was shown stays */
		send_at(&f, CLIENT, ACK, s, f.seq[BROKER], buf, 1);
		advance(SEC);
	}
	CHECK_EQ(n_sent(1), 3);
	CHECK_EQ(COUNT(OUT_OF_WINDOW), 0);
	send_at(&f, BROKER, ACK, f.seq[BROKER], s + 1, NULL, 0); /* the probe's byte was taken */
	send_at(&f, CLIENT, ACK, s + 1, f.seq[BROKER], buf + 1, len - 1);
	CHECK_EQ(slot_counter(&f, MQT_RECV_MSG), 1);
	free(f.info);
	world_end();
}

/* --- gaps -------------------------------------------------------------------------------------- */

enum gap_end {
	GAP_FULL,  /* more behind it than is kept */
	GAP_OLD,   /* it stays */
	GAP_ACKED, /* the receiver has what never came by */
};

static void
test_gap_that_never_fills_ends_following_and_drops_nothing(void)
{
	static const char *const rows[] = { "full", "old", "acknowledged" };

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		for (unsigned fin = 0; fin < 2; fin++) {
			struct flow f = flow_new();
			uint32_t s, n = i == GAP_FULL ? 9 : 3;

			check_row = rows[i];
			world_config();
			w.config.limits.reorder_per_flow = 8;
			world_start();
			connected(&f, "c");
			s = f.seq[CLIENT];
			if (fin)
				send_at(&f, CLIENT, FIN_ACK, s + 2 + 2 * n, f.seq[BROKER], NULL, 0);
			for (uint32_t k = 1; k <= n - fin; k++)
				send_at(&f, CLIENT, ACK, s + 2 * k, f.seq[BROKER], "\xc0\x00", 2);
			CHECK_EQ(n_sent(1), n);
			CHECK_EQ(COUNT(ANOMALY_GAP), i == GAP_FULL);
			if (i == GAP_OLD)
				advance(11 * SEC);
			if (i == GAP_ACKED)
				send_at(&f, BROKER, ACK, f.seq[BROKER], s + 2 + 2 * n + fin, NULL,
						0);
			CHECK_EQ(COUNT(ANOMALY_GAP), 1);
			CHECK_EQ(COUNT(REORDER_DROPPED), 0);
			CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->parked), 0);
			CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 1);
			CHECK_EQ(in_state(MQT_CONN_CONNECTED), !fin || i != GAP_ACKED);
			if (!fin) {
				uint64_t oct = slot_counter(&f, MQT_RECV_OCT);

				f.seq[CLIENT] = s + 2 + 2 * n;
				send_next(&f, CLIENT, ACK, "\xc0\x00", 2);
				CHECK_EQ(slot_counter(&f, MQT_RECV_OCT), oct + 2);
				f.seq[CLIENT]++;
				send_at(&f, CLIENT, FIN_ACK, f.seq[CLIENT] - 1, f.seq[BROKER], NULL,
						0);
			} else {
				f.seq[CLIENT] = s + 3 + 2 * n;
			}
			send_next(&f, BROKER, ACK, NULL, 0);
			CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
			release(&f);
			world_end();
		}
	}
}

static void
test_gap_that_fills_in_time_is_followed(void)
{
	struct flow f = flow_new();
	uint32_t s;

	world_begin();
	connected(&f, "c");
	s = f.seq[CLIENT];
	send_at(&f, CLIENT, ACK, s + 2, f.seq[BROKER], "\xc0\x00", 2);
	advance(9 * SEC);
	send_at(&f, CLIENT, ACK, s, f.seq[BROKER], "\xc0\x00", 2);
	send_at(&f, CLIENT, ACK, s + 6, f.seq[BROKER], "\xc0\x00", 2);
	advance(9 * SEC);
	CHECK_EQ(COUNT(ANOMALY_GAP), 0);
	CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 3);
	advance(11 * SEC);
	CHECK_EQ(COUNT(ANOMALY_GAP), 1);
	free(f.info);
	world_end();
}

/* --- closing and new incarnations -------------------------------------------------------------- */

static void
test_simultaneous_close_is_one_end(void)
{
	struct flow f = flow_new();
	uint32_t c, b;

	world_begin();
	connected(&f, "c");
	c = f.seq[CLIENT];
	b = f.seq[BROKER];
	send_at(&f, CLIENT, FIN_ACK, c, b, NULL, 0);
	send_at(&f, BROKER, FIN_ACK, b, c, NULL, 0);
	CHECK_NO_MESSAGE();
	send_at(&f, CLIENT, ACK, c + 1, b + 1, NULL, 0);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
	send_at(&f, BROKER, ACK, b + 1, c + 1, NULL, 0);
	CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
	CHECK_EQ(w.n_out, 4);
	CHECK_NO_MESSAGE();
	release(&f);
	world_end();
}

static void
test_half_closed_flow_passes_what_the_other_side_still_sends(void)
{
	struct flow f = flow_new();
	uint8_t buf[64];

	world_begin();
	connected(&f, "c");
	send_fin(&f, CLIENT);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
	out_clear();
	for (unsigned i = 0; i < 3; i++) {
		send_next(&f, BROKER, ACK, buf, publish_packet(buf, sizeof(buf), 4, 5));
		send_next(&f, CLIENT, ACK, NULL, 0);
		advance(30 * SEC);
	}
	CHECK_EQ(w.n_out, 6);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
	send_next(&f, BROKER, FIN_ACK, NULL, 0);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
	send_next(&f, CLIENT, ACK, NULL, 0);
	CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
	release(&f);
	world_end();
}

/* TIME-WAIT is reused by a SYN above all that was sent; the broker's number lies above its own. */
static void
test_reused_five_tuple_is_another_channel(void)
{
	static const char *const rows[] = { "closed", "half closed", "live" };

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flow f = flow_new(), g;

		check_row = rows[i];
		world_begin();
		connected(&f, "c");
		if (i < 2)
			send_fin(&f, CLIENT);
		if (i == 0) {
			send_next(&f, BROKER, FIN_ACK, NULL, 0);
			send_next(&f, CLIENT, ACK, NULL, 0);
		}
		g = f;
		g.seq[CLIENT] += 2;
		g.seq[BROKER] += UINT16_MAX + 2;
		tcp_open(&g);
		CHECK_DOWN(&f, i == 2 ? MQT_REASON_REPLACED : MQT_REASON_CLIENT_CLOSED);
		CHECK_EQ(COUNT(REPLACED), i > 0);
		mqtt_open(&g, "c");
		CHECK(g.chan != f.chan);
		tell(&g, MQT_MSG_GRANT, 0);
		CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
		drop_messages();
		release(&f);
		free(g.info);
		world_end();
	}
}

/* --- flows of which not everything is seen ----------------------------------------------------- */

static void
test_simultaneous_open_is_opaque(void)
{
	struct flow f = flow_new();
	uint8_t buf[128];

	world_begin();
	send_next(&f, CLIENT, MQT_TCP_SYN, NULL, 0);
	send_at(&f, BROKER, MQT_TCP_SYN, f.seq[BROKER], 0, NULL, 0);
	send_at(&f, CLIENT, SYN_ACK, f.seq[CLIENT] - 1, f.seq[BROKER] + 1, NULL, 0);
	send_next(&f, BROKER, SYN_ACK, NULL, 0);
	send_next(&f, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), 4, "both"));
	CHECK_EQ(COUNT(OPAQUE_SIMULTANEOUS), 1);
	CHECK_EQ(in_state(MQT_CONN_OPAQUE), 1);
	CHECK_EQ(w.n_out, 5);
	world_end();
}

static void
test_one_way_flow_passes_and_is_counted_once(void)
{
	for (unsigned side = 0; side < 2; side++) {
		struct flow f = flow_new();
		uint8_t buf[128];

		check_row = side == CLIENT ? "client's" : "broker's";
		world_begin();
		if (side == CLIENT) {
			send_next(&f, CLIENT, MQT_TCP_SYN, NULL, 0);
			f.seq[BROKER]++;
			send_next(&f, CLIENT, ACK, NULL, 0);
			send_next(&f, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), 4, "o"));
		} else {
			f.seq[CLIENT]++;
			send_next(&f, BROKER, SYN_ACK, NULL, 0);
			f.seq[CLIENT] += 20;
			send_next(&f, BROKER, ACK, NULL, 0);
			send_next(&f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), 4, 0));
		}
		CHECK_EQ(COUNT(ONE_WAY), 1);
		CHECK_EQ(n_sent((uint16_t)!side), 3);
		CHECK_EQ(COUNT(CONNECTIONS), 0);
		CHECK_EQ(in_state(MQT_CONN_FREE), 64);
		CHECK_NO_MESSAGE();
		world_end();
	}
}

/* Midstream, the first bytes are a whole CONNECT: still nothing is registered. */
static void
test_midstream_flow_passes_or_is_reset_as_its_listener_says(void)
{
	uint8_t buf[128], ack[16];
	size_t len = connect_packet(buf, sizeof(buf), 4, "guess");
	size_t ack_len = connack_packet(ack, sizeof(ack), 4, 0);

	for (unsigned reset = 0; reset < 2; reset++) {
		struct flow f = flow_new();

		check_row = reset ? "reset" : "pass";
		world_config();
		w.config.listeners[0].midstream = reset ? MQT_MIDSTREAM_RESET : MQT_MIDSTREAM_PASS;
		world_start();
		send_next(&f, CLIENT, ACK, NULL, 0); /* may be the last word of a known flow */
		CHECK_EQ(n_sent(1), 1);
		CHECK_EQ(COUNT(MIDSTREAM_RESET), 0);
		out_clear();
		send_next(&f, CLIENT, ACK, buf, len);
		CHECK_EQ(COUNT(MIDSTREAM_RESET), reset);
		CHECK_EQ(COUNT(INJECTED_RST), 2 * reset);
		if (reset) {
			CHECK_EQ(sent(0, 0)->v.tcp_flags & MQT_TCP_RST, MQT_TCP_RST);
			CHECK_EQ(sent(0, 0)->v.seq, f.seq[BROKER]);
			CHECK_EQ(sent(1, 0)->v.tcp_flags & MQT_TCP_RST, MQT_TCP_RST);
			CHECK_EQ(sent(1, 0)->v.seq, f.seq[CLIENT] - len);
		} else {
			CHECK_EQ(sent(1, 0)->v.payload_len, len);
		}
		send_next(&f, BROKER, ACK, ack, ack_len);
		CHECK_EQ(COUNT(MIDSTREAM), 3);
		CHECK_EQ(COUNT(MIDSTREAM_RESET), 2 * reset);
		out_clear();
		send_next(&f, CLIENT, RST_ACK, NULL, 0); /* an RST is never answered */
		CHECK_EQ(w.n_out, 1);
		CHECK_NO_MESSAGE();
		CHECK_EQ(in_state(MQT_CONN_FREE), 64);
		f = flow_new(); /* what is seen from its begin is tracked all the same */
		connected(&f, "c");
		CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
		free(f.info);
		world_end();
	}
}

int
main(void)
{
	static CU_TestInfo window[] = {
		TEST(test_segments_out_of_the_window_change_nothing_and_pass),
		TEST(test_damaged_ends_change_nothing),
		TEST(test_retransmits_with_other_cuts_are_followed_once),
		TEST(test_closed_window_is_probed_and_opens_again),
		CU_TEST_INFO_NULL,
	};
	static CU_TestInfo gaps[] = {
		TEST(test_gap_that_never_fills_ends_following_and_drops_nothing),
		TEST(test_gap_that_fills_in_time_is_followed),
		CU_TEST_INFO_NULL,
	};
	static CU_TestInfo life[] = {
		TEST(test_simultaneous_close_is_one_end),
		TEST(test_half_closed_flow_passes_what_the_other_side_still_sends),
		TEST(test_reused_five_tuple_is_another_channel),
		TEST(test_simultaneous_open_is_opaque),
		TEST(test_one_way_flow_passes_and_is_counted_once),
		TEST(test_midstream_flow_passes_or_is_reset_as_its_listener_says),
		CU_TEST_INFO_NULL,
	};
	static CU_SuiteInfo suites[] = {
		{ "window", NULL, NULL, NULL, NULL, window },
		{ "gaps", NULL, NULL, NULL, NULL, gaps },
		{ "life", NULL, NULL, NULL, NULL, life },
		CU_SUITE_INFO_NULL,
	};

	return rig_run(suites);
}
