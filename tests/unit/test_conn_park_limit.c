/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end of a broker's connection that comes where nothing more is parked (R12): it is known all the
 * same, for an RST does not come again.
 */
#include "conn_rig.h"

#define LIMIT 3 /* CONNACK and two more */

static void
begin_full(struct flow *f, bool by_worker)
{
	world_config();
	w.config.limits.parked_per_flow = by_worker ? 100 : LIMIT;
	w.config.limits.parked_per_worker = by_worker ? LIMIT : 100;
	world_start();
	tcp_open(f);
	mqtt_open(f, "p");
	out_clear();
}

static const struct {
	const char *name;
	unsigned n_pings;       /* behind CONNACK, one a segment; what is too much is dropped */
	unsigned skip;          /* of these, one that is lost on the way; 0: none */
	unsigned flags;         /* of the end */
	int where;              /* from the number behind the last one */
	unsigned payload;       /* that the end carries */
	enum mqt_reason reason; /* NONE: it is not believed */
} rows[] = {
	{ "FIN, just full", 2, 0, FIN_ACK, 0, 0, MQT_REASON_BROKER_CLOSED },
	{ "RST, just full", 2, 0, RST_ACK, 0, 0, MQT_REASON_BROKER_RESET },
	{ "FIN behind what was dropped", 6, 0, FIN_ACK, 0, 0, MQT_REASON_BROKER_CLOSED },
	{ "RST behind what was dropped", 6, 0, RST_ACK, 0, 0, MQT_REASON_BROKER_RESET },
	{ "FIN with the last bytes", 5, 0, FIN_ACK, 0, 2, MQT_REASON_BROKER_CLOSED },
	{ "FIN, a dropped one lost", 6, 4, FIN_ACK, 0, 0, MQT_REASON_NONE },
	{ "RST, a dropped one lost", 6, 4, RST_ACK, 0, 0, MQT_REASON_NONE },
	{ "RST, a parked one lost", 6, 1, RST_ACK, 0, 0, MQT_REASON_NONE },
	{ "RST elsewhere in the window", 6, 0, RST_ACK, 2, 0, MQT_REASON_NONE },
	{ "RST at a number dropped", 6, 0, RST_ACK, -2, 0, MQT_REASON_NONE },
};

static void
test_end_behind_the_limit_ends_the_newcomer(void)
{
	for (unsigned i = 0; i < 2 * RTE_DIM(rows); i++) {
		const bool by_worker = i % 2;
		const unsigned r = i / 2;
		struct flow f = flow_new();
		uint32_t s;

		check_row = rows[r].name;
		begin_full(&f, by_worker);
		s = f.seq[BROKER];
		for (unsigned n = 1; n <= rows[r].n_pings; n++, s += 2)
			if (n != rows[r].skip)
				send_at(&f, BROKER, ACK, s, f.seq[CLIENT], "\xd0\x00", 2);
		CHECK_NO_MESSAGE();
		send_at(&f, BROKER, rows[r].flags, s + (uint32_t)rows[r].where, f.seq[CLIENT],
				"\xd0\x00", rows[r].payload);
		if (rows[r].reason == MQT_REASON_NONE) {
			CHECK_NO_MESSAGE();
			CHECK_EQ(w.n_out, 0);
			free(f.info);
		} else {
			CHECK_DOWN(&f, rows[r].reason);
			CHECK_EQ(COUNT(INJECTED_CONNACK), 1); /* a refusal */
			tell(&f, MQT_MSG_GRANT, 0);
			CHECK_EQ(next_message().type, MQT_MSG_RETURN);
			release(&f);
		}
		world_end();
	}
	check_row = "";
}

/* The end came before what fills the gap, and was dropped to make room for that. */
static void
test_end_dropped_to_make_room_counts_once_nothing_is_missing(void)
{
	struct flow f = flow_new();
	uint32_t s;

	begin_full(&f, false);
	s = f.seq[BROKER];
	send_at(&f, BROKER, ACK, s + 4, f.seq[CLIENT], "\xd0\x00", 2);
	send_at(&f, BROKER, RST_ACK, s + 6, f.seq[CLIENT], NULL, 0);
	send_at(&f, BROKER, ACK, s + 2, f.seq[CLIENT], "\xd0\x00", 2); /* the RST makes room */
	CHECK_EQ(COUNT(PARKED_DROPPED_FLOW), 1);
	CHECK_NO_MESSAGE();
	send_at(&f, BROKER, ACK, s, f.seq[CLIENT], "\xd0\x00", 2); /* and the last */
	CHECK_EQ(COUNT(PARKED_DROPPED_FLOW), 2);
	CHECK_DOWN(&f, MQT_REASON_BROKER_RESET);
	release(&f);
	world_end();
}

/* What was dropped is forgotten with the handshake: the stream goes on as the broker repeats it. */
static void
test_dropped_bytes_change_nothing_after_grant(void)
{
	struct flow f = flow_new();
	uint32_t s;

	begin_full(&f, false);
	s = f.seq[BROKER];
	for (unsigned n = 0; n < 4; n++)
		send_at(&f, BROKER, ACK, s + 2 * n, f.seq[CLIENT], "\xd0\x00", 2);
	CHECK_EQ(COUNT(PARKED_DROPPED_FLOW), 2);
	tell(&f, MQT_MSG_GRANT, 0);
	CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
	CHECK_EQ(n_sent(0), LIMIT);
	out_clear();
	send_at(&f, BROKER, ACK, s + 4, f.seq[CLIENT], "\xd0\x00\xd0\x00", 4);
	CHECK_EQ(n_sent(0), 1);
	CHECK_NO_MESSAGE();
	send_at(&f, BROKER, FIN_ACK, s + 8, f.seq[CLIENT], NULL, 0);
	f.seq[BROKER] = s + 9;
	send_next(&f, CLIENT, ACK, NULL, 0);
	CHECK_DOWN(&f, MQT_REASON_BROKER_CLOSED);
	release(&f);
	world_end();
}

static CU_TestInfo limit_tests[] = {
	TEST(test_end_behind_the_limit_ends_the_newcomer),
	TEST(test_end_dropped_to_make_room_counts_once_nothing_is_missing),
	TEST(test_dropped_bytes_change_nothing_after_grant),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "the limit of parking", NULL, NULL, NULL, NULL, limit_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
