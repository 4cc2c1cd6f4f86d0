/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Established connections: traffic, what cannot be followed, the end of a flow, streams at random.
 */
#include "conn_rig.h"

/* --- CONNECTED --------------------------------------------------------------------------------- */

static void
test_traffic_is_counted(void)
{
	struct flow f = flow_new();
	uint8_t buf[256];
	size_t len;

	world_begin();
	connected(&f, "c");
	len = publish_packet(buf, sizeof(buf), 4, 100);
	w.now += SEC;
	send_next(&f, CLIENT, ACK, buf, len);
	send_next(&f, CLIENT, ACK, "\xc0\x00", 2);
	send_next(&f, BROKER, ACK, "\xd0\x00", 2);
	send_at(&f, CLIENT, ACK, f.seq[CLIENT] - 2, f.seq[BROKER], "\xc0\x00", 2); /* again */
	CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 3);
	CHECK_EQ(slot_counter(&f, MQT_RECV_MSG), 1);
	CHECK_EQ(slot_counter(&f, MQT_SEND_PKT), 2);
	CHECK_EQ(slot_counter(&f, MQT_RECV_CNT), 3);
	CHECK_EQ(n_sent(1), 3);
	send_at(&f, CLIENT, ACK, f.seq[CLIENT] + 70000, f.seq[BROKER], "\xc0\x00", 2);
	CHECK_EQ(n_sent(1), 4);
	CHECK_EQ(COUNT(OUT_OF_WINDOW), 1);
	CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 3);
	CHECK_EQ(n_sent(0), 1);
	free(f.info);
	world_end();
}

static void
test_reordered_segments_leave_at_once_and_are_counted(void)
{
	struct flow f = flow_new();
	uint8_t buf[512];
	size_t len = 0;
	uint32_t s;

	for (unsigned i = 0; i < 10; i++)
		len += publish_packet(buf + len, sizeof(buf) - len, 4, 10);
	world_begin();
	connected(&f, "c");
	s = f.seq[CLIENT];
	/* from the last byte to the first, three a segment, each twice */
	for (size_t at = len - len % 3; at < len + 1; at -= 3) {
		size_t n = at + 3 > len ? len - at : 3;

		if (n > 0 && len / 3 - at / 3 < 16)
			send_at(&f, CLIENT, ACK, s + (uint32_t)at, f.seq[BROKER], buf + at, n);
		if (at == 0)
			break;
	}
	CHECK_EQ(n_sent(1), COUNT(REORDER_HELD));
	CHECK(COUNT(REORDER_HELD) >= 10);
	CHECK_EQ(slot_counter(&f, MQT_RECV_MSG), 0);
	send_at(&f, CLIENT, ACK, s, f.seq[BROKER], buf, len);
	CHECK_EQ(slot_counter(&f, MQT_RECV_MSG), 10);
	CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 11);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->parked), 0);
	free(f.info);
	world_end();
}

static void
test_gap_inside_a_body_needs_no_holding(void)
{
	struct flow f = flow_new();
	uint8_t buf[2048];
	size_t len = publish_packet(buf, sizeof(buf), 4, 1900);
	uint32_t s;

	world_begin();
	connected(&f, "c");
	s = f.seq[CLIENT];
	send_at(&f, CLIENT, ACK, s, f.seq[BROKER], buf, 100);
	send_at(&f, CLIENT, ACK, s + 600, f.seq[BROKER], buf + 600, 500);
	CHECK_EQ(COUNT(REORDER_HELD), 0);
	send_at(&f, CLIENT, ACK, s + 100, f.seq[BROKER], buf + 100, 500);
	send_at(&f, CLIENT, ACK, s + 1100, f.seq[BROKER], buf + 1100, len - 1100);
	CHECK_EQ(slot_counter(&f, MQT_RECV_MSG), 1);
	CHECK_EQ(n_sent(1), 4);
	free(f.info);
	world_end();
}

static void
test_acknowledged_unseen_bytes_end_following_but_not_identity(void)
{
	struct flow f = flow_new();
	uint8_t buf[128];
	size_t len = publish_packet(buf, sizeof(buf), 4, 10);

	world_begin();
	connected(&f, "c");
	f.seq[CLIENT] += (uint32_t)len; /* by another way */
	send_next(&f, BROKER, ACK, NULL, 0);
	CHECK_EQ(COUNT(ANOMALY_GAP), 1);
	send_next(&f, CLIENT, ACK, buf, len);
	CHECK_EQ(slot_counter(&f, MQT_RECV_MSG), 0);
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
	send_fin(&f, CLIENT);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
	release(&f);
	world_end();
}

static void
test_second_connect_and_broken_framing_keep_identity(void)
{
	for (unsigned second = 0; second < 2; second++) {
		struct flow f = flow_new();
		uint8_t buf[128];
		size_t len = connect_packet(buf, sizeof(buf), 4, "other");

		check_row = second ? "second CONNECT" : "type 0";
		world_begin();
		connected(&f, "c");
		if (second)
			send_next(&f, CLIENT, ACK, buf, len);
		else
			send_next(&f, CLIENT, ACK, "\x00\x00", 2);
		CHECK_EQ(COUNT(ANOMALY_SECOND_CONNECT), second);
		CHECK_EQ(COUNT(ANOMALY_FRAMING), !second);
		CHECK_EQ(next_message().type, MQT_MSG_ANOMALY);
		CHECK_EQ(n_sent(1), 1);
		send_next(&f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), 4, 0));
		CHECK_EQ(n_sent(0), 1);
		CHECK_EQ(next_message().type, MQT_MSG_ANOMALY);
		CHECK_NO_MESSAGE();
		CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
		tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
		CHECK_DOWN(&f, MQT_REASON_KICKED);
		release(&f);
		world_end();
	}
}

/* --- the end of a flow ------------------------------------------------------------------------- */

static const struct {
	const char *name;
	bool disconnect;
	int side;
	unsigned flags;
	enum mqt_reason reason;
} ends[] = {
	{ "disconnect, fin", true, CLIENT, FIN_ACK, MQT_REASON_CLIENT_DISCONNECT },
	{ "disconnect, broker fin", true, BROKER, FIN_ACK, MQT_REASON_CLIENT_DISCONNECT },
	{ "fin", false, CLIENT, FIN_ACK, MQT_REASON_CLIENT_CLOSED },
	{ "rst", false, CLIENT, RST_ACK, MQT_REASON_CLIENT_RESET },
	{ "broker fin", false, BROKER, FIN_ACK, MQT_REASON_BROKER_CLOSED },
	{ "broker rst", false, BROKER, RST_ACK, MQT_REASON_BROKER_RESET },
};

static void
test_end_of_a_flow_is_down_once_with_its_reason(void)
{
	for (unsigned i = 0; i < RTE_DIM(ends); i++) {
		struct flow f = flow_new();

		check_row = ends[i].name;
		world_begin();
		connected(&f, "c");
		if (ends[i].disconnect)
			send_next(&f, CLIENT, ACK, "\xe0\x00", 2);
		CHECK_NO_MESSAGE();
		send_next(&f, ends[i].side, ends[i].flags, NULL, 0);
		CHECK_EQ(n_sent((uint16_t)!ends[i].side) > 0, 1);
		if (ends[i].flags & MQT_TCP_FIN)
			send_next(&f, !ends[i].side, ACK, NULL, 0);
		CHECK_DOWN(&f, ends[i].reason);
		if (ends[i].flags & MQT_TCP_FIN) {
			CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
			out_clear();
			send_next(&f, !ends[i].side, ACK, "\xd0\x00", 2);
			CHECK_EQ(n_sent((uint16_t)ends[i].side), 1);
			send_next(&f, !ends[i].side, FIN_ACK, NULL, 0);
			send_next(&f, ends[i].side, ACK, NULL, 0);
		} else {
			advance(RESET_TIME);
		}
		CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
		tell(&f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
		{
			struct mqt_msg msg = next_message();

			CHECK_EQ(msg.type, MQT_MSG_STEPDOWN_DONE);
			CHECK_EQ(msg.result, -ENOENT);
			CHECK_EQ(msg.token, 42);
		}
		release(&f);
		advance(2 * SEC);
		CHECK_EQ(in_state(MQT_CONN_FREE), 64);
		CHECK_NO_MESSAGE();
		world_end();
	}
}

static void
test_half_closed_flow_lingers_for_a_limit(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "c");
	send_fin(&f, CLIENT);
	advance(59 * SEC);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
	CHECK_EQ(COUNT(INJECTED_RST), 0);
	advance(2 * SEC);
	CHECK_EQ(COUNT(FIN_LINGERED), 1);
	CHECK_EQ(n_sent(CLIENT) > 1 && n_sent(BROKER) > 1, 1);
	advance(RESET_TIME);
	CHECK_EQ(in_state(MQT_CONN_CLOSING), 0);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
	CHECK_NO_MESSAGE();
	release(&f);
	world_end();
}

static void
test_fin_behind_a_gap_counts_when_it_is_filled(void)
{
	struct flow f = flow_new();
	uint32_t s;

	world_begin();
	connected(&f, "c");
	s = f.seq[CLIENT];
	send_at(&f, CLIENT, FIN_ACK, s + 2, f.seq[BROKER], NULL, 0);
	CHECK_EQ(n_sent(1), 1);
	CHECK_NO_MESSAGE();
	send_at(&f, CLIENT, ACK, s, f.seq[BROKER], "\xe0\x00", 2);
	f.seq[CLIENT] = s + 3;
	send_next(&f, BROKER, ACK, NULL, 0);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_DISCONNECT);
	release(&f);
	world_end();
}

static const struct {
	const char *name;
	int32_t offset; /* from the next number */
	bool ends, doubt;
} rsts[] = {
	{ "exact", 0, true, false },
	{ "old", -1, false, false },
	{ "in the window", 1000, false, true },
	{ "beyond the window", 70000, false, false },
};

static void
test_rst_ends_the_flow_only_where_the_receiver_can_take_it(void)
{
	for (unsigned i = 0; i < RTE_DIM(rsts); i++) {
		for (unsigned alive = 0; alive < 2; alive++) {
			struct flow f = flow_new();

			check_row = rsts[i].name;
			world_begin();
			connected(&f, "c");
			send_at(&f, CLIENT, MQT_TCP_RST, f.seq[CLIENT] + (uint32_t)rsts[i].offset,
					0, NULL, 0);
			CHECK_EQ(n_sent(1), 1 + rsts[i].ends);
			CHECK_EQ(in_state(MQT_CONN_CONNECTED), !rsts[i].ends);
			if (alive) /* the broker's challenge */
				send_next(&f, BROKER, ACK, NULL, 0);
			advance(3 * SEC);
			if (rsts[i].ends || (rsts[i].doubt && !alive))
				CHECK_DOWN(&f, MQT_REASON_CLIENT_RESET);
			else
				CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
			CHECK_NO_MESSAGE();
			free(f.info);
			world_end();
		}
	}
}

/* What the RST has overtaken does not show that its sender lives, and nothing else will come. */
static void
test_rst_that_overtakes_what_was_sent_before_it_ends_the_flow(void)
{
	static const struct {
		const char *name;
		int side;
		bool answered;
		enum mqt_reason reason;
	} rows[] = {
		{ "by the client", CLIENT, false, MQT_REASON_CLIENT_RESET },
		{ "by the client, its receiver lives", CLIENT, true, MQT_REASON_NONE },
		{ "by the broker", BROKER, false, MQT_REASON_BROKER_RESET },
		{ "by the broker, its receiver lives", BROKER, true, MQT_REASON_NONE },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flow f = flow_new();
		int side = rows[i].side;
		size_t len;
		uint8_t buf[64];

		check_row = rows[i].name;
		world_begin();
		connected(&f, "c");
		len = publish_packet(buf, sizeof(buf), 4, 20);
		send_at(&f, side, RST_ACK, f.seq[side] + (uint32_t)len, f.seq[!side], NULL, 0);
		send_next(&f, side, ACK, buf, len);
		if (rows[i].answered)
			send_next(&f, !side, ACK, NULL, 0);
		CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
		advance(3 * SEC);
		if (rows[i].answered)
			CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
		else
			CHECK_DOWN(&f, rows[i].reason);
		CHECK_NO_MESSAGE();
		free(f.info);
		world_end();
	}
}

/* What the receiver of such an RST says may be older than the RST: it is asked whether it lives. */
static void
test_receiver_of_an_rst_in_doubt_is_asked(void)
{
	for (unsigned i = 0; i < 4; i++) {
		struct flow f = flow_new();
		int side = i & 1;
		bool lives = i & 2;

		check_row = side == CLIENT ? "the client's" : "the broker's";
		world_begin();
		connected(&f, "c");
		send_at(&f, side, RST_ACK, f.seq[side] + 1000, f.seq[!side], NULL, 0);
		send_next(&f, !side, ACK, side == CLIENT ? "\xd0\x00" : "\xc0\x00", 2);
		CHECK_EQ(COUNT(INJECTED_PROBE), 1);
		CHECK_EQ(n_sent((uint16_t)!side), 2); /* the RST and the probe */
		CHECK_EQ(sent((uint16_t)!side, 1)->v.seq, f.seq[side] - 1);
		CHECK_EQ(sent((uint16_t)!side, 1)->v.ack, f.seq[!side] - 2);
		send_next(&f, !side, lives ? ACK : RST_ACK, NULL, 0);
		if (lives)
			CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
		else
			CHECK_DOWN(&f,
					side == CLIENT ? MQT_REASON_BROKER_RESET
						       : MQT_REASON_CLIENT_RESET);
		CHECK_EQ(COUNT(INJECTED_PROBE), 1);
		CHECK_NO_MESSAGE();
		free(f.info);
		world_end();
	}
}

/* --- streams at random ------------------------------------------------------------------------- */

/* What one end has got, by stream offset. */
struct receiver {
	uint8_t bytes[8192], have[8192];
	uint32_t base, upto;
};

static void
receive(struct receiver *r, uint16_t port)
{
	for (unsigned i = 0; i < w.n_out; i++) {
		const struct out *o = &w.out[i];
		uint8_t buf[2048];

		if (o->port != port || o->v.payload_len == 0)
			continue;
		payload_of(o, buf);
		for (uint32_t k = 0; k < o->v.payload_len; k++) {
			uint32_t at = o->v.seq + k - r->base;

			CHECK(at < sizeof(r->bytes));
			CHECK(!r->have[at] || r->bytes[at] == buf[k]);
			r->bytes[at] = buf[k];
			r->have[at] = 1;
		}
	}
	while (r->have[r->upto])
		r->upto++;
}

/*
 * Both streams in random pieces, reordered and repeated, until both ends have all. @return whether
 * one was given up.
 */
static bool
random_run(const struct shape *shape, uint32_t reorder)
{
	struct flow f = flow_of(shape);
	uint8_t stream[2][4096];
	size_t len[2], connect;
	struct receiver got[2] = { 0 };
	uint32_t base[2];
	unsigned n_msgs[2] = { 1 + rnd(10), 1 + rnd(10) }, rounds = 0;
	bool opened = false, granted = false, lost;

	connect = len[CLIENT] = connect_packet(stream[CLIENT], 4096, f.version, "random");
	len[BROKER] = connack_packet(stream[BROKER], 4096, f.version, 0);
	for (unsigned side = 0; side < 2; side++)
		for (unsigned i = 0; i < n_msgs[side]; i++)
			len[side] += publish_packet(stream[side] + len[side], 4096 - len[side],
					f.version, rnd(300));
	world_config();
	w.config.limits.parked_per_flow = 5;
	w.config.limits.reorder_per_flow = reorder;
	world_start();
	tcp_open(&f);
	out_clear();
	base[CLIENT] = got[BROKER].base = f.seq[CLIENT];
	base[BROKER] = got[CLIENT].base = f.seq[BROKER];
	while ((got[BROKER].upto < len[CLIENT] || got[CLIENT].upto < len[BROKER]) &&
			rounds++ < 20000) {
		unsigned side = rnd(2);
		uint32_t acked = got[!side].upto, at, n;

		/* the broker speaks when it has read CONNECT */
		if (side == BROKER && got[BROKER].upto < connect)
			side = CLIENT, acked = got[BROKER].upto;
		at = acked + rnd(rnd(4) ? 40 : 400);
		if (at >= len[side])
			at = acked;
		n = 1 + rnd(rnd(4) ? 10 : 500);
		if (at + n > len[side])
			n = (uint32_t)len[side] - at;
		send_at(&f, (int)side, ACK, base[side] + at, base[!side] + got[side].upto,
				stream[side] + at, n);
		receive(&got[CLIENT], 0);
		receive(&got[BROKER], 1);
		out_clear();
		if (!opened) {
			struct mqt_msg msg = next_message();

			opened = msg.type == MQT_MSG_OPEN;
			f.chan = msg.chan;
			f.info = msg.info;
			CHECK_EQ(got[CLIENT].upto, 0);
		} else if (!granted && rnd(20) == 0) {
			CHECK_EQ(got[CLIENT].upto, 0);
			tell(&f, MQT_MSG_GRANT, 0);
			granted = true;
		}
	}
	CHECK_EQ(got[BROKER].upto, len[CLIENT]);
	CHECK_EQ(got[CLIENT].upto, len[BROKER]);
	CHECK_MEM(got[BROKER].bytes, stream[CLIENT], len[CLIENT]);
	CHECK_MEM(got[CLIENT].bytes, stream[BROKER], len[BROKER]);
	CHECK(granted);
	CHECK_EQ(slot_counter(&f, MQT_RECV_OCT), len[CLIENT]);
	CHECK_EQ(slot_counter(&f, MQT_SEND_OCT), len[BROKER]);
	CHECK_EQ(COUNT(ANOMALY_FRAMING) + COUNT(OPAQUE) + COUNT(CONFLICT), 0);
	lost = COUNT(ANOMALY_GAP) > 0;
	if (!lost) {
		CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 1 + n_msgs[CLIENT]);
		CHECK_EQ(slot_counter(&f, MQT_SEND_PKT), 1 + n_msgs[BROKER]);
		CHECK_EQ(slot_counter(&f, MQT_RECV_MSG), n_msgs[CLIENT]);
		CHECK_EQ(slot_counter(&f, MQT_SEND_MSG), n_msgs[BROKER]);
	}
	free(f.info);
	world_end();
	return lost;
}

static void
test_random_segments_arrive_whole_and_are_followed(void)
{
	unsigned n_lost = 0;

	for (unsigned i = 0; i < 200; i++)
		CHECK(!random_run(&shapes[i % RTE_DIM(shapes)], 200));
	/* whole, also where streams are given up */
	for (unsigned i = 0; i < 200; i++)
		n_lost += random_run(&shapes[i % RTE_DIM(shapes)], 4);
	CHECK(n_lost > 0);
}

/* A life from CONNECT to RELEASE. @return its channel. */
static mqt_chan_id
whole_life(void)
{
	struct flow f = flow_new();
	mqt_chan_id chan;

	connected(&f, "c");
	chan = f.chan;
	send_next(&f, CLIENT, RST_ACK, NULL, 0);
	advance(RESET_TIME);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_RESET);
	release(&f);
	out_clear();
	return chan;
}

/* So memory follows the most connections there were at once, and not the lives that there were. */
static void
test_slot_that_has_rested_is_used_before_a_fresh_one(void)
{
	mqt_chan_id first, tired, again, last;

	world_config();
	w.config.limits.slot_quiet_ms = 60000;
	world_start();
	first = whole_life();
	tired = whole_life();
	CHECK(mqt_chan_id_slot(tired) != mqt_chan_id_slot(first)); /* the first one rests (R1) */
	advance(61 * SEC);
	again = whole_life();
	last = whole_life();
	CHECK_EQ(mqt_chan_id_slot(again), mqt_chan_id_slot(first));
	CHECK_EQ(mqt_chan_id_slot(last), mqt_chan_id_slot(tired));
	CHECK(mqt_chan_id_gen(again) != mqt_chan_id_gen(first));
	world_end();
}

static CU_TestInfo life_tests[] = {
	TEST(test_traffic_is_counted),
	TEST(test_reordered_segments_leave_at_once_and_are_counted),
	TEST(test_gap_inside_a_body_needs_no_holding),
	TEST(test_acknowledged_unseen_bytes_end_following_but_not_identity),
	TEST(test_second_connect_and_broken_framing_keep_identity),
	TEST(test_end_of_a_flow_is_down_once_with_its_reason),
	TEST(test_half_closed_flow_lingers_for_a_limit),
	TEST(test_fin_behind_a_gap_counts_when_it_is_filled),
	TEST(test_rst_ends_the_flow_only_where_the_receiver_can_take_it),
	TEST(test_rst_that_overtakes_what_was_sent_before_it_ends_the_flow),
	TEST(test_receiver_of_an_rst_in_doubt_is_asked),
	TEST(test_random_segments_arrive_whole_and_are_followed),
	TEST(test_slot_that_has_rested_is_used_before_a_fresh_one),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "life", NULL, NULL, NULL, NULL, life_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
