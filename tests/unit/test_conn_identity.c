/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Nobody can show the tracker another client id than the broker sees (I12). The broker here is a
 * model: it takes from what the tracker lets through whatever it is told not to lose, puts it
 * together, and answers the CONNECT it reads. What the tracker then opens, if anything, must be
 * that one.
 */
#include "conn_rig.h"

#define STREAM_MAX 256
#define LOST_TTL   1 /* the broker never gets such a packet, or drops it */

/* --- the broker -------------------------------------------------------------------------------- */

static struct {
	uint32_t base; /* sequence number of byte[0] */
	uint8_t byte[STREAM_MAX];
	bool have[STREAM_MAX], urgent[STREAM_MAX];
	uint32_t next, fin;
	bool newest_wins; /* where copies overlap before they are read */
	unsigned taken;   /* of w.out */
	char id[STREAM_MAX];
} b;

static void
broker_begin(uint32_t base)
{
	memset(&b, 0, sizeof(b));
	b.base = base;
	b.fin = UINT32_MAX;
}

static void
broker_bytes(uint32_t at, const uint8_t *data, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++, at++) {
		if (at >= STREAM_MAX || at < b.next || (b.have[at] && !b.newest_wins))
			continue;
		b.byte[at] = data[i];
		b.have[at] = true;
	}
	while (b.next < STREAM_MAX && b.next < b.fin && b.have[b.next])
		b.next++;
}

static void
broker_segment(const struct out *o)
{
	const struct rte_ipv4_hdr *ip =
			rte_pktmbuf_mtod_offset(o->m, const struct rte_ipv4_hdr *, o->v.l3_off);
	const struct rte_tcp_hdr *tcp =
			rte_pktmbuf_mtod_offset(o->m, const struct rte_tcp_hdr *, o->v.l4_off);
	uint32_t at = o->v.seq - b.base;
	uint8_t data[STREAM_MAX];

	if (ip->time_to_live == LOST_TTL || !mqt_pkt_checksum_ok(o->m, &o->v) ||
			o->v.tcp_flags & (MQT_TCP_SYN | MQT_TCP_RST) || at > STREAM_MAX)
		return;
	if (o->v.tcp_flags & MQT_TCP_URG)
		b.urgent[at + rte_be_to_cpu_16(tcp->tcp_urp) - 1] = true;
	if (o->v.tcp_flags & MQT_TCP_FIN && at + o->v.payload_len >= b.next && b.fin == UINT32_MAX)
		b.fin = at + o->v.payload_len;
	payload_of(o, data);
	broker_bytes(at, data, o->v.payload_len);
}

/* The CONNECT it reads, with what is urgent left out. False: none yet. */
static bool
broker_reads(void)
{
	uint8_t data[STREAM_MAX];
	struct mqt_mqtt_connect c;
	uint32_t len = 0;

	for (uint32_t i = 0; i < b.next; i++)
		if (!b.urgent[i])
			data[len++] = b.byte[i];
	if (mqt_mqtt_connect_parse(data, len, &c, NULL) != MQT_PARSE_OK)
		return false;
	snprintf(b.id, sizeof(b.id), "%.*s", (int)c.clientid.len, (const char *)c.clientid.ptr);
	return true;
}

static void
broker_takes(void)
{
	for (; b.taken < w.n_out; b.taken++)
		if (w.out[b.taken].port == BROKER)
			broker_segment(&w.out[b.taken]);
}

static void
broker_acknowledges(struct flow *f)
{
	broker_takes();
	f->seq[CLIENT] = b.base + b.next + (b.next == b.fin);
	send_next(f, BROKER, ACK, NULL, 0);
}

/* It answers what it reads. @return the client id that was opened, "" where none was. */
static const char *
opened(struct flow *f)
{
	static char id[STREAM_MAX];
	uint8_t buf[16];
	struct mqt_msg msg;

	broker_takes();
	if (broker_reads()) {
		f->seq[CLIENT] = b.base + b.next + (b.next == b.fin);
		send_next(f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), 4, 0));
	}
	msg = next_message();
	id[0] = 0;
	if (msg.type == MQT_MSG_OPEN)
		snprintf(id, sizeof(id), "%.*s", msg.info->clientid_len,
				(const char *)mqt_info_clientid(msg.info));
	message_drop(&msg);
	return id;
}

/* --- what a client sends ----------------------------------------------------------------------- */

static void
craft(struct flow *f, unsigned flags, uint32_t seq, const void *data, size_t len, bool lost)
{
	struct rte_mbuf *m = build(f, CLIENT, flags, seq, f->seq[BROKER], data, len);

	if (lost)
		rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, 14)->time_to_live = LOST_TTL;
	inject(m, CLIENT);
}

/* Stream A and B are a CONNECT each, of one length, and a PUBLISH behind it. */
static uint8_t stream[2][STREAM_MAX];
static uint32_t stream_len, connect_len;
#define ID_A  "AAAABCDE"
#define ID_B  "BBBBWXYZ"
#define ID_AT 14 /* where the client id begins */
#define A     0
#define B     1

static void
streams_make(void)
{
	const char *const ids[] = { ID_A, ID_B };

	for (unsigned i = 0; i < 2; i++) {
		struct mqt_mqtt_connect c = { .version = 4,
			.clean_start = true,
			.clientid = { (const uint8_t *)ids[i], (uint32_t)strlen(ids[i]) } };

		connect_len = (uint32_t)mqt_mqtt_connect_encode(stream[i], STREAM_MAX, &c);
		/* its first byte can be the last of a client id */
		memcpy(stream[i] + connect_len, "\x30\x03\x00\x01t", 5);
	}
	stream_len = connect_len + 5;
}

struct step {
	uint8_t of; /* A or B */
	bool lost;
	int at, len; /* len 0: to the end, -1: nothing */
	unsigned flags;
	bool acknowledged; /* the broker says first what it has */
};

#define MAX_STEPS 8
#define STEPS(...)                                                                                 \
	{                                                                                          \
		__VA_ARGS__,                                                                       \
		{                                                                                  \
			.at = -1                                                                   \
		}                                                                                  \
	}
#define LOST true
#define SAYS true

static const struct {
	const char *name, *opens;
	struct step step[MAX_STEPS];
	int counter; /* MQT_W_*, counted at least once; -1: none */
} scripts[] = {
	{ "one copy", ID_A, STEPS({ A, 0, 0, 0, ACK, 0 }), -1 },
	{ "a lost copy, and the same again", ID_A,
			STEPS({ A, LOST, 0, 0, ACK, 0 }, { A, 0, 0, 0, ACK, 0 }), -1 },
	{ "a lost copy, then another", "", STEPS({ A, LOST, 0, 0, ACK, 0 }, { B, 0, 0, 0, ACK, 0 }),
			MQT_W_CONFLICT },
	{ "another, then the first again", ID_A,
			STEPS({ A, LOST, 0, 0, ACK, 0 }, { B, 0, 0, 0, ACK, 0 },
					{ A, 0, 0, 0, ACK, 0 }),
			MQT_W_CONFLICT },
	{ "other bytes in an overlap", "",
			STEPS({ A, 0, 0, ID_AT, ACK, 0 }, { A, LOST, ID_AT, 0, ACK, 0 },
					{ B, 0, ID_AT - 3, 0, ACK, 0 }),
			MQT_W_CONFLICT },
	{ "other bytes in the last byte of an overlap", "",
			STEPS({ A, LOST, 0, ID_AT + 1, ACK, 0 }, { B, 0, 0, 0, ACK, 0 }),
			MQT_W_CONFLICT },
	{ "other bytes, behind what is acknowledged", "",
			STEPS({ A, 0, 0, ID_AT, ACK, 0 }, { A, LOST, ID_AT, 0, ACK, 0 },
					{ B, 0, ID_AT, 0, ACK, SAYS }),
			MQT_W_CONFLICT },
	{ "other bytes across what is acknowledged", "",
			STEPS({ A, 0, 0, ID_AT, ACK, 0 }, { A, LOST, ID_AT, 0, ACK, 0 },
					{ B, 0, 4, 0, ACK, SAYS }),
			MQT_W_CONFLICT },
	{ "two copies behind a gap", ID_A,
			STEPS({ A, LOST, ID_AT, 4, ACK, 0 }, { B, 0, ID_AT, 0, ACK, 0 },
					{ A, 0, 0, ID_AT, ACK, 0 }, { A, 0, ID_AT, 0, ACK, 0 }),
			MQT_W_CONFLICT },
	{ "a lost copy behind a gap, and an overlapping one", "",
			STEPS({ A, LOST, ID_AT, 4, ACK, 0 }, { B, 0, ID_AT + 2, 0, ACK, 0 },
					{ A, 0, 0, ID_AT, ACK, 0 }, { A, 0, ID_AT, 2, ACK, 0 }),
			MQT_W_CONFLICT },
	{ "the gap filled by a lost copy with more", "",
			STEPS({ B, 0, ID_AT, 0, ACK, 0 }, { A, LOST, 0, ID_AT + 6, ACK, 0 },
					{ A, 0, 0, ID_AT, ACK, 0 }),
			MQT_W_CONFLICT },
	{ "a lost FIN, then the stream goes on", "",
			STEPS({ A, 0, 0, ID_AT, ACK, 0 }, { A, LOST, ID_AT, -1, FIN_ACK, 0 },
					{ A, 0, ID_AT, 0, ACK, 0 }),
			MQT_W_CONFLICT },
	{ "a lost FIN, then one byte in its place", "",
			STEPS({ A, 0, 0, ID_AT, ACK, 0 }, { A, LOST, ID_AT, -1, FIN_ACK, 0 },
					{ A, 0, ID_AT, 1, ACK, 0 }),
			MQT_W_CONFLICT },
	{ "a lost FIN behind a gap, then the stream goes on", "",
			STEPS({ A, LOST, ID_AT, -1, FIN_ACK, 0 }, { A, 0, ID_AT + 1, 0, ACK, 0 },
					{ A, 0, 0, ID_AT, ACK, 0 }, { A, 0, ID_AT, 0, ACK, 0 }),
			MQT_W_CONFLICT },
	{ "a lost FIN with data, then the stream goes on", "",
			STEPS({ A, LOST, 0, ID_AT, FIN_ACK, 0 }, { A, 0, 0, 0, ACK, 0 }),
			MQT_W_CONFLICT },
	{ "a FIN inside what has come", ID_A,
			STEPS({ A, LOST, 0, 0, ACK, 0 }, { A, 0, 0, ID_AT, FIN_ACK, 0 },
					{ A, 0, 0, 0, ACK, 0 }),
			MQT_W_CONFLICT },
	{ "an old FIN is old", ID_A,
			STEPS({ A, 0, 0, ID_AT + 3, ACK, 0 }, { A, 0, 0, ID_AT, FIN_ACK, SAYS },
					{ A, 0, 0, 0, ACK, 0 }),
			-1 },
	{ "CONNECT and FIN", ID_A, STEPS({ A, 0, 0, 0, FIN_ACK, 0 }), -1 },
	{ "data without ACK", "", STEPS({ A, LOST, 0, 0, 0, 0 }, { B, 0, 0, 0, ACK, 0 }),
			MQT_W_CONFLICT },
};

static void
play(struct flow *f, const struct step *s)
{
	for (; s->at >= 0; s++) {
		uint32_t at = (uint32_t)s->at, len = stream_len - at;

		if (s->len)
			len = s->len < 0 ? 0 : (uint32_t)s->len;
		if (s->acknowledged)
			broker_acknowledges(f);
		craft(f, s->flags, b.base + at, stream[s->of] + at, len, s->lost);
	}
}

static void
test_what_is_opened_is_what_the_broker_reads(void)
{
	for (unsigned i = 0; i < RTE_DIM(scripts); i++) {
		for (unsigned newest = 0; newest < 2; newest++) {
			struct flow f = flow_new();

			check_row = scripts[i].name;
			world_begin();
			f.seq[CLIENT] = 0xffffffe0u; /* wraps inside CONNECT */
			tcp_open(&f);
			broker_begin(f.seq[CLIENT]);
			b.newest_wins = newest;
			play(&f, scripts[i].step);
			CHECK_STR(opened(&f), scripts[i].opens);
			if (scripts[i].opens[0])
				CHECK_STR(b.id, scripts[i].opens);
			if (scripts[i].counter >= 0)
				CHECK(mqt_counter_get(&w.counters.v[scripts[i].counter]) > 0);
			world_end();
		}
	}
}

static void
test_other_bytes_at_every_cut_open_nothing_else(void)
{
	for (uint32_t cut = 1; cut < connect_len; cut++) {
		for (uint32_t from = 0; from <= cut; from++) {
			struct flow f = flow_new();
			const char *id;

			world_begin();
			tcp_open(&f);
			broker_begin(f.seq[CLIENT]);
			craft(&f, ACK, b.base, stream[A], cut, LOST);
			craft(&f, ACK, b.base + from, stream[B] + from, stream_len - from, false);
			craft(&f, ACK, b.base, stream[B], cut, false);
			craft(&f, ACK, b.base, stream[B], stream_len, false);
			id = opened(&f);
			CHECK_STR(id, cut <= ID_AT ? ID_B : "");
			world_end();
		}
	}
}

static void
test_random_copies_open_nothing_else(void)
{
	unsigned n_opened = 0;

	for (unsigned round = 0; round < 3000; round++) {
		struct flow f = flow_new();
		const char *id;

		world_begin();
		tcp_open(&f);
		broker_begin(f.seq[CLIENT]);
		b.newest_wins = rnd(2);
		for (unsigned i = 0; i < 24; i++) {
			uint32_t at = rnd(stream_len), len = rnd(stream_len - at) + 1;
			unsigned flags = rnd(40) ? ACK : FIN_ACK;

			if (rnd(3) == 0)
				broker_acknowledges(&f);
			craft(&f, flags, b.base + at, stream[rnd(2)] + at, len, rnd(2));
		}
		craft(&f, ACK, b.base, stream[A], stream_len, false);
		id = opened(&f);
		if (id[0])
			CHECK_STR(id, b.id);
		n_opened += id[0] != 0;
		world_end();
	}
	CHECK(n_opened > 300);
}

/* --- what the receiver reads otherwise --------------------------------------------------------- */

static const struct {
	const char *name;
	int at, len;      /* bytes sent before it */
	bool with_data;   /* or it comes alone */
	bool stale, last; /* already acknowledged; CONNECT is complete */
} urgents[] = {
	{ "with CONNECT", 0, 0, true, false, false },
	{ "with a part of CONNECT", 0, ID_AT, true, false, false },
	{ "alone, before CONNECT", 0, 0, false, false, false },
	{ "alone, inside CONNECT", 0, ID_AT, false, false, false },
	{ "old", 0, ID_AT, true, true, false },
};

static void
test_urgent_data_makes_the_flow_opaque(void)
{
	for (unsigned i = 0; i < RTE_DIM(urgents); i++) {
		struct flow f = flow_new();
		struct rte_mbuf *m;
		uint32_t at;

		check_row = urgents[i].name;
		world_begin();
		tcp_open(&f);
		broker_begin(f.seq[CLIENT]);
		if (urgents[i].len)
			craft(&f, ACK, b.base, stream[A], (size_t)urgents[i].len, false);
		if (urgents[i].stale)
			broker_acknowledges(&f);
		at = urgents[i].stale ? 0 : (uint32_t)urgents[i].len;
		m = build(&f, CLIENT, ACK | MQT_TCP_URG, b.base + at, f.seq[BROKER], stream[A] + at,
				!urgents[i].with_data              ? 0
						: urgents[i].stale ? 2
								   : stream_len - at);
		{
			struct rte_tcp_hdr *tcp =
					rte_pktmbuf_mtod_offset(m, struct rte_tcp_hdr *, 34);

			tcp->tcp_urp = rte_cpu_to_be_16((uint16_t)(ID_AT - at + 1));
			tcp->cksum = 0;
			tcp->cksum = rte_ipv4_udptcp_cksum((struct rte_ipv4_hdr *)tcp - 1, tcp);
		}
		inject(m, CLIENT);
		CHECK_EQ(COUNT(OPAQUE_URGENT), !urgents[i].stale);
		CHECK_EQ(in_state(MQT_CONN_OPAQUE), !urgents[i].stale);
		if (urgents[i].stale)
			b.taken = w.n_out;
		craft(&f, ACK, b.base, stream[A], stream_len, false);
		CHECK_STR(opened(&f), urgents[i].stale ? ID_A : "");
		/* without its first byte, and with the one behind */
		CHECK_STR(b.id, urgents[i].stale ? ID_A : "AAABCDE0");
		world_end();
	}
}

static void
test_urgent_data_of_a_tracked_client_ends_following_only(void)
{
	struct flow f = flow_new();

	world_begin();
	connected(&f, "c");
	send_next(&f, CLIENT, ACK | MQT_TCP_URG, "\xc0\x00", 2);
	CHECK_EQ(COUNT(ANOMALY_URGENT), 1);
	CHECK_EQ(n_sent(1), 1);
	send_next(&f, CLIENT, ACK | MQT_TCP_URG, "\xc0\x00", 2);
	CHECK_EQ(COUNT(ANOMALY_URGENT), 1);
	CHECK_EQ(in_state(MQT_CONN_CONNECTED), 1);
	send_fin(&f, CLIENT);
	CHECK_DOWN(&f, MQT_REASON_CLIENT_CLOSED);
	release(&f);
	world_end();
}

static void
test_connack_that_does_not_acknowledge_connect_answers_another(void)
{
	struct flow f = flow_new();
	uint8_t buf[16];
	size_t len = connack_packet(buf, sizeof(buf), 4, 0);

	for (uint32_t had = connect_len - 1; had <= connect_len; had++) {
		struct mqt_msg msg;

		f = flow_new();
		world_begin();
		tcp_open(&f);
		out_clear();
		craft(&f, ACK, f.seq[CLIENT], stream[A], connect_len, LOST);
		f.seq[CLIENT] += had;
		send_next(&f, BROKER, ACK, buf, len);
		msg = next_message();
		CHECK_EQ(msg.type == MQT_MSG_OPEN, had == connect_len);
		CHECK_EQ(COUNT(OPAQUE_AMBIGUOUS), had != connect_len);
		CHECK_EQ(n_sent(0), had != connect_len);
		message_drop(&msg);
		world_end();
	}
}

static void
test_bytes_beyond_the_window_do_not_get_by_but_a_probe_does(void)
{
	struct flow f = flow_new();

	world_begin();
	f.window = 4;
	tcp_open(&f);
	broker_begin(f.seq[CLIENT]);
	out_clear();
	craft(&f, ACK, b.base, stream[B], stream_len, false);
	CHECK_EQ(COUNT(OUT_OF_WINDOW), 1);
	CHECK_EQ(n_sent(1), 0);
	craft(&f, ACK, b.base, stream[A], 4, false);
	craft(&f, ACK, b.base + 4, stream[A] + 4, 1, false);
	CHECK_EQ(n_sent(1), 2);
	craft(&f, ACK, b.base + 5, stream[A] + 5, 1, false);
	CHECK_EQ(n_sent(1), 2);
	f.window = 1000;
	broker_acknowledges(&f);
	craft(&f, ACK, b.base + 5, stream[A] + 5, stream_len - 5, false);
	CHECK_STR(opened(&f), ID_A);
	CHECK_STR(b.id, ID_A);
	world_end();
}

/* --- payload of a SYN -------------------------------------------------------------------------- */

/* The broker's SYN/ACK. */
static void
syn_ack(struct flow *f, uint32_t ack)
{
	send_at(f, BROKER, SYN_ACK, f->seq[BROKER]++, ack, NULL, 0);
}

/* Whether a CONNACK that acknowledges @p ack opens something. */
static bool
opens(struct flow *f, uint32_t ack)
{
	uint8_t buf[16];
	struct mqt_msg msg;
	bool open;

	f->seq[CLIENT] = ack;
	send_next(f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), 4, 0));
	msg = next_message();
	open = msg.type == MQT_MSG_OPEN;
	message_drop(&msg);
	return open;
}

static void
test_syn_repeated_with_other_payload_is_not_followed(void)
{
	static const struct {
		const char *name;
		uint8_t of;
		uint32_t less;
		bool opens;
	} rows[] = {
		{ "the same", A, 0, true },
		{ "other bytes", B, 0, false },
		{ "less", A, 1, false },
		{ "none", A, UINT32_MAX, true },
	};

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flow f = flow_new();
		uint32_t isn = f.seq[CLIENT];

		check_row = rows[i].name;
		world_begin();
		craft(&f, MQT_TCP_SYN, isn, stream[A], connect_len, LOST);
		craft(&f, MQT_TCP_SYN, isn, stream[rows[i].of],
				rows[i].less == UINT32_MAX ? 0 : connect_len - rows[i].less, false);
		syn_ack(&f, isn + 1 + connect_len);
		CHECK_EQ(opens(&f, isn + 1 + connect_len), rows[i].opens);
		CHECK_EQ(COUNT(OPAQUE_AMBIGUOUS), !rows[i].opens);
		world_end();
	}
}

/* SYN A ends where SYN B begins, so one SYN/ACK answers both. */
static void
test_synack_that_two_syns_explain_is_not_followed(void)
{
	static const char *const rows[] = { "payload first", "payload last", "no payload known" };

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flow f = flow_new();
		uint32_t isn = f.seq[CLIENT], later = isn + connect_len;

		check_row = rows[i];
		world_begin();
		if (i != 1)
			craft(&f, MQT_TCP_SYN, isn, stream[A], connect_len, i == 0);
		craft(&f, MQT_TCP_SYN, later, NULL, 0, i != 0);
		if (i == 1)
			craft(&f, MQT_TCP_SYN, isn, stream[A], connect_len, LOST);
		syn_ack(&f, later + 1);
		craft(&f, ACK, later + 1, NULL, 0, false);
		craft(&f, ACK, later + 1, stream[B], connect_len, false);
		CHECK(!opens(&f, later + 1 + connect_len));
		CHECK_EQ(COUNT(OPAQUE_AMBIGUOUS), 1);
		world_end();
	}
}

static void
test_payload_is_not_trusted_where_a_handshake_was_forgotten(void)
{
	static const char *const rows[] = { "pressed out", "too old", "reset", "long ago" };

	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct flow f = flow_new();
		uint32_t isn = f.seq[CLIENT], later = isn + connect_len;

		check_row = rows[i];
		world_begin();
		craft(&f, MQT_TCP_SYN, later, NULL, 0, false);
		if (i == 0)
			for (uint32_t k = 1; k <= 4; k++)
				craft(&f, MQT_TCP_SYN, later + 0x10000 * k, NULL, 0, LOST);
		if (i == 1)
			advance(31 * SEC);
		if (i == 2) {
			syn_ack(&f, later + 1);
			craft(&f, ACK, later + 1, NULL, 0, LOST);
			craft(&f, RST_ACK, later + 1, NULL, 0, LOST);
			CHECK_EQ(in_state(MQT_CONN_RELEASING), 1);
			f.seq[BROKER]--;
		}
		if (i == 3)
			advance(200 * SEC);
		craft(&f, MQT_TCP_SYN, isn, stream[A], connect_len, LOST);
		syn_ack(&f, later + 1); /* of the first SYN, once more */
		CHECK_EQ(opens(&f, later + 1), i == 3);
		CHECK_EQ(COUNT(OPAQUE_AMBIGUOUS), i != 3);
		world_end();
	}
}

static void
test_synack_of_the_living_flow_does_not_answer_another_syn(void)
{
	struct flow f = flow_new();
	uint32_t isn = f.seq[CLIENT];

	world_begin();
	craft(&f, MQT_TCP_SYN, isn, stream[A], connect_len, false);
	syn_ack(&f, isn + 1 + connect_len);
	CHECK_EQ(COUNT(CONNECT), 1);
	f.seq[BROKER]--;
	craft(&f, MQT_TCP_SYN, isn + connect_len, NULL, 0, LOST);
	syn_ack(&f, isn + 1 + connect_len);
	craft(&f, ACK, isn + 1 + connect_len, stream[B], connect_len, LOST);
	CHECK(!opens(&f, isn + 1 + 2 * connect_len));
	CHECK_EQ(COUNT(OPAQUE_AMBIGUOUS), 1);
	world_end();
}

static void
test_damaged_syns_are_not_learned_from(void)
{
	struct flow f = flow_new();
	struct rte_mbuf *m;

	world_begin();
	m = build(&f, CLIENT, MQT_TCP_SYN, f.seq[CLIENT], 0, NULL, 0);
	*rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len - 1) ^= 1;
	inject(m, CLIENT);
	CHECK_EQ(COUNT(BAD_CHECKSUM), 1);
	CHECK_EQ(n_sent(1), 1);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->embryos), 0);
	send_next(&f, CLIENT, MQT_TCP_SYN, NULL, 0);
	m = build(&f, BROKER, SYN_ACK, f.seq[BROKER] + 99, f.seq[CLIENT], NULL, 0);
	*rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len - 1) ^= 1;
	inject(m, BROKER);
	send_at(&f, CLIENT, ACK, f.seq[CLIENT], f.seq[BROKER] + 100, NULL, 0);
	CHECK_EQ(COUNT(CONNECTIONS), 0);
	send_next(&f, BROKER, SYN_ACK, NULL, 0);
	m = build(&f, CLIENT, ACK, f.seq[CLIENT], f.seq[BROKER], NULL, 0);
	*rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len - 1) ^= 1;
	inject(m, CLIENT);
	CHECK_EQ(COUNT(CONNECTIONS), 0);
	send_next(&f, CLIENT, ACK, NULL, 0);
	CHECK_EQ(COUNT(CONNECTIONS), 1);
	world_end();
}

/* The broker speaks Multipath TCP with whichever SYN it got. */
static void
test_multipath_shows_in_the_synack_alone(void)
{
	struct flow f = flow_new();

	world_begin();
	send_next(&f, CLIENT, MQT_TCP_SYN, NULL, 0);
	f.mptcp = true;
	send_at(&f, CLIENT, MQT_TCP_SYN, f.seq[CLIENT] - 1, 0, NULL, 0);
	send_next(&f, BROKER, SYN_ACK, NULL, 0);
	send_next(&f, CLIENT, ACK, NULL, 0);
	CHECK_EQ(COUNT(OPAQUE_MPTCP), 1);
	CHECK_EQ(in_state(MQT_CONN_OPAQUE), 1);
	world_end();
}

int
main(void)
{
	static CU_TestInfo copies[] = {
		TEST(test_what_is_opened_is_what_the_broker_reads),
		TEST(test_other_bytes_at_every_cut_open_nothing_else),
		TEST(test_random_copies_open_nothing_else),
		TEST(test_urgent_data_makes_the_flow_opaque),
		TEST(test_urgent_data_of_a_tracked_client_ends_following_only),
		TEST(test_connack_that_does_not_acknowledge_connect_answers_another),
		TEST(test_bytes_beyond_the_window_do_not_get_by_but_a_probe_does),
		CU_TEST_INFO_NULL,
	};
	static CU_TestInfo syns[] = {
		TEST(test_syn_repeated_with_other_payload_is_not_followed),
		TEST(test_synack_that_two_syns_explain_is_not_followed),
		TEST(test_payload_is_not_trusted_where_a_handshake_was_forgotten),
		TEST(test_synack_of_the_living_flow_does_not_answer_another_syn),
		TEST(test_damaged_syns_are_not_learned_from),
		TEST(test_multipath_shows_in_the_synack_alone),
		CU_TEST_INFO_NULL,
	};
	static CU_SuiteInfo suites[] = {
		{ "copies", NULL, NULL, NULL, NULL, copies },
		{ "syns", NULL, NULL, NULL, NULL, syns },
		CU_SUITE_INFO_NULL,
	};

	streams_make();
	return rig_run(suites);
}
