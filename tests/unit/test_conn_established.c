/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The short way of established segments: whatever comes, what leaves and what is known afterwards
 * is the same as where no segment takes it.
 */
#include "conn_rig.h"

#define N_RUNS  400
#define N_STEPS 400
#define N_FLOWS RTE_DIM(shapes)

struct mqt_conns;
struct conn;
bool __real_established_input(struct mqt_conns *cs, struct conn *c, const struct mqt_packet *p);
bool __wrap_established_input(struct mqt_conns *cs, struct conn *c, const struct mqt_packet *p);

static bool long_way;
static unsigned n_short;

bool
__wrap_established_input(struct mqt_conns *cs, struct conn *c, const struct mqt_packet *p)
{
	bool taken = !long_way && __real_established_input(cs, c, p);

	n_short += taken;
	return taken;
}

/* --- one run, all that shows of it summed up ---------------------------------------------------- */

static uint64_t state;
static uint64_t sum;
static bool tight;    /* receivers have little room */
static uint32_t rare; /* one of so many does what ends most flows */

static uint32_t
pick(uint32_t n)
{
	return check_random(&state, n);
}

static void
add(const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ p[i]) * 0x100000001b3u;
}

static void
add_number(uint64_t n)
{
	add(&n, sizeof(n));
}

static void
add_what_left(void)
{
	for (unsigned i = 0; i < w.n_out; i++) {
		add_number(w.out[i].port);
		for (const struct rte_mbuf *m = w.out[i].m; m; m = m->next)
			add(rte_pktmbuf_mtod(m, const void *), m->data_len);
	}
	out_clear();
}

static void
add_messages(void)
{
	struct mqt_msg msg;

	while ((msg = next_message()).type != MQT_MSG_NONE) {
		add_number(msg.type);
		add_number(msg.reason);
		add_number(msg.chan);
		add_number((uint64_t)msg.result);
		message_drop(&msg);
	}
}

static void
add_world(void)
{
	struct mqt_slots slots = mqt_conns_slots(w.conns);

	for (uint32_t i = 0; i < slots.n; i++) {
		const struct mqt_slot *slot = mqt_slots_at(&slots, i);

		add_number(atomic_load(&slot->word));
		add_number(atomic_load(&slot->seen_ns));
		for (unsigned k = 0; k < MQT_SLOT_N_COUNTERS; k++)
			add_number(atomic_load(&slot->counter[k]));
	}
	for (unsigned i = 0; i < MQT_W_N_COUNTERS; i++)
		add_number(mqt_counter_get(&w.counters.v[i]));
	for (unsigned i = 0; i < MQT_CONN_N_STATES; i++)
		add_number(in_state(i));
	add_number(atomic_load(&mqt_conns_gauges(w.conns)->parked));
}

/* MQTT as it comes: mostly whole packets, of all kinds, now and then something else. */
static size_t
some_mqtt(uint8_t buf[512], int side, uint8_t version)
{
	size_t n = 0;

	for (unsigned i = 1 + pick(3); i > 0; i--) {
		switch (pick(12)) {
		case 0:
			buf[n++] = side == CLIENT ? 0xc0 : 0xd0;
			buf[n++] = 0;
			break;
		case 1:
			n += qos_packet(buf + n, version, (uint8_t)(1 + pick(2)),
					(uint16_t)(1 + pick(5)));
			break;
		case 2:
			buf[n] = (uint8_t)(0x40 + 0x10 * pick(4));
			buf[n] |= buf[n] == 0x60 ? 2 : 0;
			n++;
			buf[n++] = 2;
			buf[n++] = 0;
			buf[n++] = (uint8_t)(1 + pick(5));
			break;
		case 3:
			if (side == CLIENT)
				n += subscribe_packet(buf + n, version, 7, "a/b", (uint8_t)pick(3));
			else
				n += suback_packet(buf + n, version, 7, (uint8_t)pick(3));
			break;
		case 4:
			n += publish_packet(buf + n, 64, version, pick(40));
			n -= pick(rare) == 0; /* cut, the next one may begin in it */
			break;
		case 5:
			if (pick(rare) == 0)
				buf[n++] = (uint8_t)pick(256);
			break;
		default:
			n += publish_packet(buf + n, 64, version, pick(40));
		}
	}
	return n;
}

/* A segment as it should be next, mostly. */
static void
some_segment(struct flow *f)
{
	static const uint32_t odd[] = { 1, 2, 100, 70000, 0x80000000u };
	int side = (int)pick(2);
	uint8_t buf[512];
	size_t len = pick(3) ? some_mqtt(buf, side, f->version) : 0;
	uint32_t seq = f->seq[side], ack = f->seq[!side];
	unsigned flags = MQT_TCP_ACK | (pick(2) ? MQT_TCP_PSH : 0);
	bool lost = false, astray;
	struct rte_mbuf *m;

	if (pick(12) == 0) {
		seq += pick(2) ? odd[pick(5)] : 0 - odd[pick(5)];
		lost = true;
	}
	if (pick(10) == 0)
		ack -= odd[pick(5)];
	if (pick(rare) == 0)
		ack += odd[pick(5)];
	if (pick(rare) == 0) {
		flags = 1u << pick(6) | (pick(2) ? MQT_TCP_ACK : 0);
		lost = true;
	}
	f->window = tight || pick(10) == 0 ? (uint16_t)pick(300) : 65000;
	f->ts_val[side] += pick(3);
	m = build(f, side, flags, seq, ack, buf, len);
	if (pick(8) == 0) {
		bool bad = pick(2);

		m->ol_flags |= bad ? RTE_MBUF_F_RX_L4_CKSUM_BAD : RTE_MBUF_F_RX_L4_CKSUM_GOOD;
		lost |= bad;
	}
	if (len > 4 && pick(8) == 0) { /* in two pieces */
		struct rte_mbuf *tail = rte_pktmbuf_alloc(pool);
		uint16_t n = (uint16_t)(1 + pick((uint32_t)len - 1));

		memcpy(rte_pktmbuf_append(tail, n),
				rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len - n), n);
		memset(rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len - n), 0x30, n);
		rte_pktmbuf_trim(m, n);
		rte_pktmbuf_chain(m, tail);
	}
	w.batching = true;
	astray = pick(30) == 0;
	if (!(lost || astray) || pick(rare) == 0) /* else its sender sends that again */
		f->seq[side] += (uint32_t)len;
	inject(m, astray ? !side : side);
	if (pick(4) == 0 || w.n_batch == RTE_DIM(w.batch))
		batch_end();
}

static void
some_event(struct flow *f)
{
	int side;

	if (w.n_batch)
		batch_end();
	switch (pick(8)) {
	case 0:
		advance(pick(5) * SEC);
		break;
	case 1:
		kill_channel(f);
		break;
	case 2:
		/* to be confirmed by silence, or taken back */
		side = (int)pick(2);
		send_at(f, side, MQT_TCP_RST, f->seq[side] + 50, 0, NULL, 0);
		break;
	case 3:
		send_next(f, (int)pick(2), FIN_ACK, NULL, 0);
		break;
	case 4:
		tell(f, MQT_MSG_STEPDOWN,
				pick(2) ? MQT_STEPDOWN_KICK : MQT_STEPDOWN_TAKEOVER_BEGIN);
		break;
	default:
		w.now += pick(1000) * MS;
	}
}

static uint64_t
run(uint64_t seed)
{
	struct flow flows[N_FLOWS];
	struct mqt_info *infos[N_FLOWS];

	state = seed * 0x9e3779b97f4a7c15u + 1;
	sum = 0xcbf29ce484222325u;
	rare = 20u << pick(8);
	tight = pick(3) == 0;
	world_begin();
	for (unsigned i = 0; i < N_FLOWS; i++) {
		char id[8];

		flows[i] = flow_of(&shapes[i]);
		flows[i].client_port = (uint16_t)(30000 + i);
		if (tight)
			flows[i].window = 300;
		snprintf(id, sizeof(id), "c%u", i);
		connected(&flows[i], id);
		infos[i] = flows[i].info;
	}
	check_row = "";
	for (unsigned i = 0; i < N_STEPS; i++) {
		struct flow *f = &flows[pick(N_FLOWS)];

		if (pick(rare) == 0)
			some_event(f);
		else
			some_segment(f);
		if (w.n_batch == 0) {
			add_what_left();
			add_messages();
		}
	}
	batch_end();
	add_world();
	/* what is injected shows the numbers that were kept */
	for (unsigned i = 0; i < N_FLOWS; i++)
		tell(&flows[i], MQT_MSG_STEPDOWN, MQT_STEPDOWN_DISCARD);
	add_what_left();
	advance(30 * SEC);
	add_what_left();
	add_messages();
	add_world();
	for (unsigned i = 0; i < N_FLOWS; i++)
		free(infos[i]);
	world_end();
	return sum;
}

static void
test_the_short_way_does_what_the_long_one_does(void)
{
	for (uint64_t seed = 1; seed <= N_RUNS; seed++) {
		uint64_t other;

		long_way = true;
		other = run(seed);
		long_way = false;
		if (run(seed) != other) {
			printf("seed %u\n", (unsigned)seed);
			CHECK(false);
			return;
		}
	}
	/* most of what is as it should be took it */
	CHECK(n_short > N_RUNS * N_STEPS / 6);
}

static CU_TestInfo established_tests[] = {
	TEST(test_the_short_way_does_what_the_long_one_does),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "established", NULL, NULL, NULL, NULL, established_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
