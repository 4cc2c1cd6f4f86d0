/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parked CONNACKs: what waits behind them, the end of the newcomer, refusals.
 */
#include "conn_rig.h"

/* --- parking (R11, R12) ------------------------------------------------------------------------ */

static void
test_what_follows_connack_is_parked_in_order(void)
{
	struct flow f = flow_new();
	uint8_t buf[128];
	size_t len = publish_packet(buf, sizeof(buf), 4, 10);
	uint32_t s;

	world_begin();
	tcp_open(&f);
	mqtt_open(&f, "p");
	out_clear();
	s = f.seq[BROKER];
	send_at(&f, BROKER, ACK, s + (uint32_t)len, f.seq[CLIENT], buf, len);
	send_at(&f, BROKER, ACK, s, f.seq[CLIENT], buf, len);
	send_at(&f, BROKER, ACK, s, f.seq[CLIENT], buf, len); /* replaces */
	CHECK_EQ(w.n_out, 0);
	CHECK_EQ(COUNT(PARKED), 3);
	send_at(&f, BROKER, ACK, s + 3, f.seq[CLIENT], buf + 3, 2); /* is there already */
	CHECK_EQ(COUNT(PARKED), 3);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->parked), 3);
	buf[len - 1] ^= 1;
	send_at(&f, BROKER, ACK, s, f.seq[CLIENT], buf, len);
	CHECK_EQ(COUNT(CONFLICT), 1);
	send_at(&f, BROKER, ACK, s + 2 * (uint32_t)len, f.seq[CLIENT], NULL, 0);
	CHECK_EQ(n_sent(0), 1); /* pure acknowledgements pass */
	send_next(&f, CLIENT, ACK, buf, 2);
	CHECK_EQ(n_sent(1), 1); /* the client's direction too */
	out_clear();
	CHECK_NO_MESSAGE();
	tell(&f, MQT_MSG_GRANT, 0);
	CHECK_EQ(n_sent(0), 3);
	CHECK_EQ(sent(0, 0)->v.seq, s - 4);
	CHECK_EQ(sent(0, 1)->v.seq, s);
	CHECK_EQ(sent(0, 2)->v.seq, s + (uint32_t)len);
	CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
	CHECK_EQ(slot_counter(&f, MQT_SEND_MSG), 2);
	send_at(&f, BROKER, FIN_ACK, s + 2 * (uint32_t)len, f.seq[CLIENT], NULL, 0);
	f.seq[BROKER] = s + 2 * (uint32_t)len + 1;
	send_next(&f, CLIENT, ACK, NULL, 0);
	CHECK_DOWN(&f, MQT_REASON_BROKER_CLOSED);
	release(&f);
	world_end();
}

static void
test_broker_that_closes_behind_its_connack_ends_the_newcomer(void)
{
	static const struct {
		const char *name;
		unsigned flags;
		enum mqt_reason reason;
	} rows[] = {
		{ "FIN", FIN_ACK, MQT_REASON_BROKER_CLOSED },
		{ "RST", RST_ACK, MQT_REASON_BROKER_RESET },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flow f = flow_new();
		uint32_t s;

		check_row = rows[i].name;
		world_begin();
		tcp_open(&f);
		mqtt_open(&f, "p");
		out_clear();
		s = f.seq[BROKER];
		send_at(&f, BROKER, rows[i].flags, s + 2, f.seq[CLIENT], NULL, 0);
		CHECK_NO_MESSAGE(); /* behind a gap: it may never come to the client */
		CHECK_EQ(w.n_out, 0);
		send_at(&f, BROKER, ACK, s, f.seq[CLIENT], "\xd0\x00", 2);
		CHECK_DOWN(&f, rows[i].reason);
		CHECK_EQ(COUNT(INJECTED_CONNACK), 1); /* a refusal; the broker's never leaves */
		tell(&f, MQT_MSG_GRANT, 0);
		CHECK_EQ(next_message().type, MQT_MSG_RETURN);
		release(&f);
		world_end();
	}
	check_row = "";
}

static void
test_parking_is_bounded_by_flow_and_worker(void)
{
	for (unsigned by_flow = 0; by_flow < 2; by_flow++) {
		struct flow f = flow_new();

		check_row = by_flow ? "flow" : "worker";
		world_config();
		w.config.limits.parked_per_flow = by_flow ? 3 : 100;
		w.config.limits.parked_per_worker = by_flow ? 100 : 3;
		world_start();
		tcp_open(&f);
		mqtt_open(&f, "p");
		out_clear();
		for (unsigned i = 0; i < 5; i++)
			send_next(&f, BROKER, ACK, "\xd0\x00", 2);
		CHECK_EQ(w.n_out, 0);
		CHECK_EQ(COUNT(PARKED_DROPPED_FLOW), by_flow ? 3 : 0);
		CHECK_EQ(COUNT(PARKED_DROPPED_WORKER), by_flow ? 0 : 3);
		free(f.info);
		world_end();
	}
}

/* --- the newcomer's end, refusals, limits ------------------------------------------------------ */

static void
test_newcomer_that_dies_is_down_and_returns_its_grant(void)
{
	for (unsigned reset = 0; reset < 2; reset++) {
		struct flow f = flow_new();

		check_row = reset ? "RST" : "FIN";
		world_begin();
		tcp_open(&f);
		mqtt_open(&f, "p");
		out_clear();
		send_next(&f, CLIENT, reset ? RST_ACK : FIN_ACK, NULL, 0);
		CHECK_DOWN(&f, reset ? MQT_REASON_CLIENT_RESET : MQT_REASON_CLIENT_CLOSED);
		tell(&f, MQT_MSG_GRANT, 0);
		CHECK_EQ(next_message().type, MQT_MSG_RETURN);
		for (unsigned i = 0; i < n_sent(0); i++)
			CHECK_EQ(sent(0, i)->v.payload_len, 0);
		release(&f);
		advance(20 * SEC);
		CHECK_EQ(in_state(MQT_CONN_FREE), 64);
		CHECK_NO_MESSAGE();
		world_end();
	}
}

static void
test_client_that_half_closed_before_connack_ends_once_granted(void)
{
	struct flow f = flow_new();
	struct mqt_msg msg;
	uint8_t buf[128];

	world_begin();
	tcp_open(&f);
	send_next(&f, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), 4, "probe"));
	send_next(&f, CLIENT, FIN_ACK, NULL, 0);
	send_next(&f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), 4, 0));
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_OPEN);
	f.chan = msg.chan;
	f.info = msg.info;
	out_clear();
	tell(&f, MQT_MSG_GRANT, 0);
	CHECK_EQ(n_sent(0), 1);
	CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
	release(&f);
	world_end();
}

static void
test_superseded_newcomer_gets_a_refusal_and_its_broker_a_disconnect(void)
{
	for (unsigned i = 0; i < RTE_DIM(shapes); i++) {
		struct flow f = flow_of(&shapes[i]);
		struct mqt_mqtt_connack ack;
		uint8_t got[64];

		world_begin();
		tcp_open(&f);
		mqtt_open(&f, "late");
		send_next(&f, BROKER, ACK, "\xd0\x00", 2);
		out_clear();
		tell(&f, MQT_MSG_REFUSE, MQT_REASON_SUPERSEDED);
		CHECK_NO_MESSAGE();
		CHECK_EQ(COUNT(REFUSALS), 1);
		CHECK_EQ(n_sent(0), 1);
		CHECK_EQ(n_sent(1), 1);
		CHECK_EQ(sent(0, 0)->v.seq, 0xfffffff1u);
		CHECK_EQ(sent(0, 0)->v.ack, f.seq[CLIENT]);
		CHECK_EQ(sent(0, 0)->v.tcp_flags & MQT_TCP_FIN, MQT_TCP_FIN);
		CHECK(mqt_pkt_checksum_ok(sent(0, 0)->m, &sent(0, 0)->v));
		payload_of(sent(0, 0), got);
		CHECK_EQ(mqt_mqtt_connack_parse(
					 got, sent(0, 0)->v.payload_len, f.version, &ack, NULL),
				MQT_PARSE_OK);
		CHECK_EQ(ack.code, f.version == 5 ? 0x89 : 0x03);
		payload_of(sent(1, 0), got);
		CHECK_EQ(got[0], 0xe0);
		CHECK_EQ(sent(1, 0)->v.seq, f.seq[CLIENT]);
		CHECK_EQ(sent(1, 0)->v.ack, f.seq[BROKER]); /* the parked bytes too */
		CHECK_EQ(sent(1, 0)->v.tcp_flags & MQT_TCP_FIN, MQT_TCP_FIN);
		CHECK_EQ(in_state(MQT_CONN_CLOSING), 1);
		world_end();
	}
}

static void
test_newcomer_without_room_passes_or_is_refused(void)
{
	for (unsigned timeout = 0; timeout < 2; timeout++) {
		for (unsigned closed = 0; closed < 2; closed++) {
			struct flow f = flow_new();

			check_row = timeout ? "opening timeout" : "maps full";
			world_config();
			w.config.listeners[0].on_failure = (uint8_t)closed;
			world_start();
			tcp_open(&f);
			mqtt_open(&f, "full");
			out_clear();
			if (timeout) {
				advance(20 * SEC + 100 * MS);
				CHECK_DOWN(&f, MQT_REASON_OPENING_TIMEOUT);
				CHECK_EQ(COUNT(OPENING_TIMEOUTS), 1);
				tell(&f, MQT_MSG_GRANT, 0);
				CHECK_EQ(next_message().type, MQT_MSG_RETURN);
				release(&f);
			} else {
				tell(&f, MQT_MSG_REFUSE, MQT_REASON_TABLE_FULL);
			}
			CHECK_NO_MESSAGE();
			CHECK_EQ(COUNT(UNTRACKED_POSSIBLE_DUPLICATE), !closed);
			CHECK_EQ(COUNT(INJECTED_CONNACK), closed);
			CHECK_EQ(n_sent(0), 1);
			CHECK_EQ(sent(0, 0)->v.payload_len, 4);
			CHECK_EQ(in_state(closed ? MQT_CONN_CLOSING : MQT_CONN_OPAQUE), 1);
			world_end();
		}
	}
}

static CU_TestInfo open_tests[] = {
	TEST(test_what_follows_connack_is_parked_in_order),
	TEST(test_broker_that_closes_behind_its_connack_ends_the_newcomer),
	TEST(test_parking_is_bounded_by_flow_and_worker),
	TEST(test_newcomer_that_dies_is_down_and_returns_its_grant),
	TEST(test_client_that_half_closed_before_connack_ends_once_granted),
	TEST(test_superseded_newcomer_gets_a_refusal_and_its_broker_a_disconnect),
	TEST(test_newcomer_without_room_passes_or_is_refused),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "open", NULL, NULL, NULL, NULL, open_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
