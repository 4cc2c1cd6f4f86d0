/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A CONNECT in the SYN (TCP Fast Open), where the broker's host may or may not repeat what it has
 * said to earlier handshakes: what was completed leaves no distrust behind, what was not does. And
 * where the broker's answer overtakes the SYN/ACK: it must not be the client's before it is known.
 */
#include "conn_rig.h"

/* @return whether the client is admitted; it is connected then. */
static bool
fast_open(struct flow *f)
{
	uint8_t buf[128];
	struct mqt_msg msg;

	send_next(f, CLIENT, MQT_TCP_SYN, buf, connect_packet(buf, sizeof(buf), f->version, "tfo"));
	send_next(f, BROKER, SYN_ACK, NULL, 0);
	send_next(f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), f->version, 0));
	msg = next_message();
	if (msg.type != MQT_MSG_OPEN)
		return false;
	f->chan = msg.chan;
	f->info = msg.info;
	tell(f, MQT_MSG_GRANT, 0);
	CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
	send_next(f, CLIENT, ACK, NULL, 0);
	return true;
}

enum end {
	END_UNANSWERED, /* by an RST before the broker has acknowledged anything */
	END_FIN,
	END_RST,
	END_KICK, /* which both answer */
};

static void
live(struct flow *f, bool in_syn, enum end end)
{
	if (end == END_UNANSWERED) {
		tcp_open(f);
		send_next(f, CLIENT, RST_ACK, NULL, 0);
	} else {
		if (in_syn)
			CHECK(fast_open(f));
		else
			connected(f, "plain");
		if (end == END_FIN) {
			send_fin(f, CLIENT);
			send_fin(f, BROKER);
		} else if (end == END_RST) {
			send_next(f, CLIENT, RST_ACK, NULL, 0);
			advance(RESET_TIME);
		} else {
			tell(f, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
			send_next(f, CLIENT, RST_ACK, NULL, 0);
			send_next(f, BROKER, RST_ACK, NULL, 0);
		}
		CHECK_EQ(next_message().type, MQT_MSG_DOWN);
		if (end == END_KICK)
			check_stepdown_done();
		release(f);
	}
	CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
	advance(10 * SEC); /* its slot has rested */
	out_clear();
}

/* With one bucket each flow finds there what all before it have left. */
static void
test_what_was_completed_is_no_reason_for_distrust(void)
{
	static const struct {
		const char *name;
		enum end end;
		unsigned lives;
		bool in_syn, same, admitted;
	} rows[] = {
		{ "FIN", END_FIN, 3, false, false, true },
		{ "FIN, the same flow", END_FIN, 3, false, true, true },
		{ "RST", END_RST, 3, false, false, true },
		{ "RST, the same flow", END_RST, 3, false, true, true },
		{ "in the SYN, FIN", END_FIN, 3, true, false, true },
		{ "in the SYN, FIN, the same flow", END_FIN, 3, true, true, true },
		{ "in the SYN, RST", END_RST, 1, true, false, true },
		{ "in the SYN, RST, the same flow", END_RST, 1, true, true, false },
		{ "in the SYN, kicked, the same flow", END_KICK, 3, true, true, true },
		{ "unanswered", END_UNANSWERED, 1, false, false, true },
		{ "unanswered, the same flow", END_UNANSWERED, 1, false, true, false },
		{ "unanswered, two flows", END_UNANSWERED, 2, false, false, false },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flow f = flow_new();

		check_row = rows[i].name;
		world_config();
		w.config.limits.max_embryos = 1;
		world_start();
		for (unsigned k = 0; k < rows[i].lives; k++) {
			if (!rows[i].same)
				f = flow_new();
			live(&f, rows[i].in_syn, rows[i].end);
			f.seq[CLIENT] += 100000;
			f.seq[BROKER] += 100000;
		}
		if (!rows[i].same)
			f = flow_new();
		CHECK_EQ(fast_open(&f), rows[i].admitted);
		CHECK_EQ(COUNT(OPAQUE_AMBIGUOUS), !rows[i].admitted);
		free(f.info);
		world_end();
	}
}

/* However much of CONNECT the SYN holds, and however much of that its receiver takes. */
static void
test_payload_of_a_syn_is_counted_like_any_other(void)
{
	uint8_t buf[128];
	size_t len = connect_packet(buf, sizeof(buf), 4, "tfo");

	for (size_t in_syn = 1; in_syn <= len; in_syn++) {
		for (size_t taken = 1; taken <= in_syn; taken++) {
			struct flow f = flow_new();
			struct mqt_msg msg;

			world_begin();
			send_next(&f, CLIENT, MQT_TCP_SYN, buf, in_syn);
			f.seq[CLIENT] -= (uint32_t)(in_syn - taken);
			send_next(&f, BROKER, SYN_ACK, NULL, 0);
			if (taken < len)
				send_next(&f, CLIENT, ACK, buf + taken, len - taken);
			send_next(&f, BROKER, ACK, buf + len,
					connack_packet(buf + len, sizeof(buf) - len, 4, 0));
			msg = next_message();
			CHECK_EQ(msg.type, MQT_MSG_OPEN);
			f.chan = msg.chan;
			free(msg.info);
			CHECK_EQ(slot_counter(&f, MQT_RECV_OCT), len);
			CHECK_EQ(slot_counter(&f, MQT_RECV_CNT), taken < len ? 2 : 1);
			CHECK_EQ(slot_counter(&f, MQT_RECV_PKT), 1);
			world_end();
		}
	}
}

/* Payload that the broker acknowledges one by one says the same as a FIN, once no SYN holds so much. */
static void
test_much_payload_shows_that_a_fast_open_was_completed(void)
{
	static const struct {
		const char *name;
		unsigned packets;
		bool admitted;
	} rows[] = { { "less than a SYN may hold", 40, false }, { "more", 80, true } };
	uint8_t buf[1200];
	size_t len = publish_packet(buf, sizeof(buf), 4, 1000);

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flow f = flow_new();

		check_row = rows[i].name;
		world_begin();
		CHECK(fast_open(&f));
		for (unsigned k = 0; k < rows[i].packets; k++) {
			send_next(&f, CLIENT, ACK, buf, len);
			send_next(&f, BROKER, ACK, NULL, 0);
			out_clear();
		}
		send_next(&f, CLIENT, RST_ACK, NULL, 0);
		advance(RESET_TIME);
		CHECK_EQ(next_message().type, MQT_MSG_DOWN);
		release(&f);
		advance(10 * SEC);
		f.seq[CLIENT] += 100000;
		f.seq[BROKER] += 100000;
		CHECK_EQ(fast_open(&f), rows[i].admitted);
		free(f.info);
		world_end();
	}
}

/* A segment of a broker that comes before its SYN/ACK. */
static void
test_answer_that_overtakes_the_synack_does_not_pass(void)
{
	static const struct {
		const char *name;
		unsigned flags;
		uint32_t less; /* acknowledged than the SYN had */
		uint64_t later;
		bool in_syn, payload, dropped;
	} rows[] = {
		{ "CONNACK", ACK, 0, 0, true, true, true },
		{ "CONNACK, for a part of the payload", ACK, 1, 0, true, true, true },
		{ "CONNACK and FIN", FIN_ACK, 0, 0, true, true, true },
		{ "FIN", FIN_ACK, 0, 0, true, false, true },
		{ "acknowledgement", ACK, 0, 0, true, false, false },
		{ "RST", RST_ACK, 0, 0, true, false, false },
		{ "of a SYN without payload", ACK, 0, 0, false, true, false },
		{ "of another connection, before", ACK, 1000, 0, true, true, false },
		{ "of another connection, behind", ACK, -1u, 0, true, true, false },
		{ "no SYN/ACK comes", ACK, 0, 1 * SEC, true, true, false },
	};
	uint8_t hello[128], answer[64];

	for (unsigned i = 0; i < 2 * RTE_DIM(rows); i++) {
		unsigned k = i / 2;
		struct flow f = flow_new();
		size_t n = connect_packet(hello, sizeof(hello), 4, "tfo");
		size_t len = connack_packet(answer, sizeof(answer), 4, 0);

		check_row = rows[k].name;
		world_config();
		w.config.listeners[0].midstream = i % 2 ? MQT_MIDSTREAM_RESET : MQT_MIDSTREAM_PASS;
		world_start();
		send_next(&f, CLIENT, MQT_TCP_SYN, hello, rows[k].in_syn ? n : 0);
		out_clear();
		advance(rows[k].later);
		send_at(&f, BROKER, rows[k].flags, f.seq[BROKER] + 1, f.seq[CLIENT] - rows[k].less,
				answer, rows[k].payload ? len : 0);
		CHECK_EQ(COUNT(EARLY_DROPPED), rows[k].dropped);
		if (rows[k].dropped || i % 2 == 0)
			CHECK_EQ(w.n_out, !rows[k].dropped);
		if (rows[k].dropped) {
			struct mqt_msg msg;

			send_next(&f, BROKER, SYN_ACK, NULL, 0);
			send_next(&f, BROKER, ACK, answer, len);
			CHECK_EQ(w.n_out, 1); /* CONNACK is parked */
			msg = next_message();
			CHECK_EQ(msg.type, MQT_MSG_OPEN);
			free(msg.info);
			CHECK_EQ(COUNT(OPAQUE), 0);
		}
		world_end();
	}
}

static CU_TestInfo tests[] = {
	TEST(test_what_was_completed_is_no_reason_for_distrust),
	TEST(test_payload_of_a_syn_is_counted_like_any_other),
	TEST(test_answer_that_overtakes_the_synack_does_not_pass),
	TEST(test_much_payload_shows_that_a_fast_open_was_completed),
	CU_TEST_INFO_NULL,
};

int
main(void)
{
	CU_SuiteInfo suites[] = {
		{ "fast open", NULL, NULL, NULL, NULL, tests },
		CU_SUITE_INFO_NULL,
	};

	return rig_run(suites);
}
