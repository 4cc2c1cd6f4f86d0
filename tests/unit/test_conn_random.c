/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whatever happens to connections: all that comes in and all that the control lcore may say, at
 * random.
 */
#include "conn_rig.h"

/* A control lcore that keeps to msg.h and is otherwise moody. */
struct ledger {
	mqt_chan_id chan;
	struct mqt_info *info;
	bool open, down, granted, begun, frozen;
	unsigned answers;
};

static void
tell_about(struct ledger *l, enum mqt_msg_type type, unsigned detail)
{
	struct flow f = { .chan = l->chan, .info = l->info };

	tell_with(&f, type, detail, type == MQT_MSG_GRANT && rnd(2) ? mqt_session_create() : NULL);
	l->info = f.info;
}

static void
stepdown_done(struct ledger *l, const struct mqt_msg *msg)
{
	CHECK(msg->result == 0 || (msg->result == -ENOENT && l->down));
	CHECK(msg->session == NULL || msg->action == MQT_STEPDOWN_TAKEOVER_BEGIN);
	CHECK(msg->pendings == NULL || msg->action == MQT_STEPDOWN_TAKEOVER_END);
	if (msg->action == MQT_STEPDOWN_TAKEOVER_BEGIN && msg->result == 0)
		l->frozen = true;
	else
		CHECK(l->down);
}

static void
control_turn(struct ledger *book, unsigned n)
{
	struct mqt_msg msg;

	while ((msg = next_message()).type != MQT_MSG_NONE) {
		struct ledger *l = &book[mqt_chan_id_slot(msg.chan) % n];

		switch (msg.type) {
		case MQT_MSG_OPEN:
			CHECK(!l->open);
			*l = (struct ledger){ .chan = msg.chan, .info = msg.info, .open = true };
			msg.info = NULL;
			break;
		case MQT_MSG_CLOSED:
			CHECK(msg.session && l->answers && !l->frozen);
			/* fallthrough */
		case MQT_MSG_DOWN:
			/* of a refused one it may cross, never of another or twice */
			CHECK_EQ(l->chan, msg.chan);
			CHECK(!l->down);
			l->down = true;
			break;
		case MQT_MSG_GRANTED:
		case MQT_MSG_RETURN:
			CHECK(l->granted && l->answers++ == 0);
			CHECK(msg.type == MQT_MSG_GRANTED || l->down);
			break;
		case MQT_MSG_INSPECTED:
		case MQT_MSG_ANOMALY:
			break;
		default:
			CHECK_EQ(msg.type, MQT_MSG_STEPDOWN_DONE);
			stepdown_done(l, &msg);
		}
		message_drop(&msg);
	}
}

static void
take_over(struct ledger *l)
{
	if (l->frozen)
		tell_about(l, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_END);
	else if (l->answers && !l->begun)
		tell_about(l, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_BEGIN);
	l->begun |= l->answers;
}

static void
control_act(struct ledger *l)
{
	struct flow f = { .chan = l->chan };

	if (!l->open)
		return;
	switch (rnd(11)) {
	case 0:
	case 1:
	case 2:
		if (!l->granted) {
			l->granted = true;
			tell_about(l, MQT_MSG_GRANT, 0);
		}
		break;
	case 3:
		if (!l->granted) {
			l->open = false;
			tell_about(l, MQT_MSG_REFUSE,
					rnd(2) ? MQT_REASON_SUPERSEDED : MQT_REASON_TABLE_FULL);
		}
		break;
	case 4:
		tell_about(l, MQT_MSG_STEPDOWN, rnd(2) ? MQT_STEPDOWN_KICK : MQT_STEPDOWN_DISCARD);
		break;
	case 5:
		kill_channel(&f);
		break;
	case 6:
	case 7:
		take_over(l);
		break;
	case 8:
		tell_about(l, MQT_MSG_INSPECT, 0);
		break;
	default:
		if (l->down && (!l->granted || l->answers)) {
			l->open = false;
			tell_about(l, MQT_MSG_RELEASE, 0);
		}
	}
}

static void
random_segment(struct flow *f)
{
	static const uint8_t flag_sets[] = { ACK, ACK, ACK, ACK, ACK, FIN_ACK, RST_ACK, MQT_TCP_RST,
		MQT_TCP_SYN, SYN_ACK };
	uint8_t buf[600];
	unsigned flags = flag_sets[rnd(sizeof(flag_sets))];
	int side = (int)rnd(2);
	size_t len = 0;
	uint32_t off = rnd(3) ? 0 : rnd(200) - 100;

	switch (rnd(7)) {
	case 0:
		len = connect_packet(buf, sizeof(buf), f->version, "fuzz");
		break;
	case 1:
		len = connack_packet(buf, sizeof(buf), f->version, rnd(4) ? 0 : 1);
		break;
	case 2:
		len = publish_packet(buf, sizeof(buf), f->version, rnd(400));
		break;
	case 3:
		len = rnd(20);
		for (size_t i = 0; i < len; i++)
			buf[i] = (uint8_t)rnd(256);
		break;
	case 4:
		len = subscribe_packet(buf, f->version, (uint16_t)(1 + rnd(3)), "some/filter", 1);
		break;
	case 5:
		len = qos_packet(buf, f->version, 1 + (uint8_t)rnd(2), (uint16_t)(1 + rnd(5)));
		break;
	default:
		break;
	}
	if (rnd(4) == 0)
		len = len ? rnd((uint32_t)len) : 0;
	if (flags & MQT_TCP_SYN)
		len = rnd(8) ? 0 : len;
	if (off == 0 && rnd(10))
		send_next(f, side, flags, buf, len);
	else
		send_at(f, side, flags, f->seq[side] + off, f->seq[!side] - rnd(3) * rnd(50), buf,
				len);
}

/* One that goes well up to a random point, so that all states are met. */
static void
random_open(struct flow *f, bool *fresh)
{
	uint8_t buf[256];

	if (*fresh)
		tcp_open(f);
	*fresh = false;
	if (rnd(4))
		send_next(f, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), f->version, "z"));
	if (rnd(4))
		send_next(f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), f->version, 0));
}

#define FUZZ_SLOTS 6

static void
fuzz_run(void)
{
	struct ledger book[FUZZ_SLOTS] = { 0 };
	struct flow flows[4];
	bool fresh[4];

	world_config();
	w.config.limits.max_connections = FUZZ_SLOTS;
	w.config.limits.max_embryos = 5;
	w.config.limits.max_handshakes = 3;
	w.config.limits.parked_per_flow = 3;
	w.config.limits.parked_per_worker = 6;
	w.config.limits.reorder_per_flow = 2;
	w.config.limits.slot_quiet_ms = 10;
	w.config.limits.session_packet_bytes = 60;
	w.config.listeners[0].on_failure = (uint8_t)rnd(2);
	w.config.listeners[0].will = (uint8_t)rnd(2);
	world_start();
	for (unsigned i = 0; i < 4; i++) {
		flows[i] = flow_of(&shapes[rnd(RTE_DIM(shapes))]);
		fresh[i] = true;
	}
	for (unsigned i = 0; i < 400; i++) {
		unsigned k = rnd(4);

		w.batching = rnd(3) == 0;
		if (fresh[k] || rnd(30) == 0)
			random_open(&flows[k], &fresh[k]);
		for (unsigned n = rnd(4); n > 0; n--)
			random_segment(&flows[k]);
		if (rnd(40) == 0) {
			flows[k].seq[0] = rnd(1u << 30) * 4;
			fresh[k] = true;
		}
		batch_end();
		control_turn(book, FUZZ_SLOTS);
		control_act(&book[rnd(FUZZ_SLOTS)]);
		control_turn(book, FUZZ_SLOTS);
		if (rnd(6) == 0)
			advance(rnd(4) ? rnd(1000) * MS : rnd(70) * SEC);
		control_turn(book, FUZZ_SLOTS);
		out_clear();
	}
	/* everything ends: all slots come home */
	advance(20000 * SEC);
	control_turn(book, FUZZ_SLOTS);
	for (unsigned i = 0; i < FUZZ_SLOTS; i++) {
		struct ledger *l = &book[i];

		if (!l->open)
			continue;
		if (!l->down)
			tell_about(l, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
		control_turn(book, FUZZ_SLOTS);
		CHECK(l->down);
		tell_about(l, MQT_MSG_RELEASE, 0);
	}
	out_clear();
	advance(20000 * SEC);
	CHECK_EQ(in_state(MQT_CONN_FREE), FUZZ_SLOTS);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->parked), 0);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->embryos), 0);
	CHECK_EQ(COUNT(UNEXPECTED_MSG), 0);
	world_end();
}

static void
test_whatever_happens_each_open_ends_once_and_slots_come_home(void)
{
	for (unsigned i = 0; i < 150; i++)
		fuzz_run();
}

static CU_TestInfo closing_tests[] = {
	TEST(test_whatever_happens_each_open_ends_once_and_slots_come_home),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "closing", NULL, NULL, NULL, NULL, closing_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
