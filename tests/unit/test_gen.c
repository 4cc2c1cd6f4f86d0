/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mqtrack-gen: its command line, who its flows are, and how it goes on where the wire between its two
 * ports loses, doubles, ends or answers by itself. What it writes is judged by a tracker in
 * tests/system/gen_*.sh.
 */
#include "check.h"
#include "eal.h"
#include "engine.h"
#include "histogram.h"
#include "mqtrack/mqtt.h"

#include <rte_mempool.h>

#define LEN(a)   (sizeof(a) / sizeof((a)[0]))
#define MAX_ARGS 24
#define STEP_NS  1000

static struct rte_mempool *pool;

/* Parses a line of words. */
static int
parse(const char *line, struct gen_options *o, char *err, size_t err_size)
{
	static char copy[512]; /* the options point into it */
	char *argv[MAX_ARGS + 2] = { (char[]){ "mqtrack-gen" } }, *save = NULL;
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *w = strtok_r(copy, " ", &save); w && argc < MAX_ARGS;
			w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	return gen_options_parse(argc, argv, o, err, err_size);
}

static struct gen_options
options(const char *line)
{
	struct gen_options o;
	char err[256] = "";

	check_row = line;
	CHECK_EQ(parse(line, &o, err, sizeof(err)), 0);
	CHECK_STR(err, "");
	check_row = "";
	return o;
}

/* --- options ---------------------------------------------------------------------------------- */

static void
test_wrong_options_are_named(void)
{
	static const struct {
		const char *line, *says;
	} rows[] = {
		{ "", "KIND is missing" },
		{ "storm --merged f", "'storm' is none of" },
		{ "lives", "one of --pcap, --merged, --ports" },
		{ "lives --merged --pcap f g", "one of --pcap, --merged, --ports" },
		{ "lives --pcap f", "--pcap needs two files" },
		{ "lives --merged f g", "--merged needs one file" },
		{ "lives --ports a b c", "--ports needs two devices" },
		{ "lives --merged f --clients 0", "--clients: '0' is no number from 1 to" },
		{ "lives --merged f --clients -1", "--clients: '-1'" },
		{ "lives --merged f --clients 1k", "--clients: '1k'" },
		{ "lives --merged f --rate 1e9", "--rate: '1e9'" },
		{ "lives --merged f --vlan 4095", "--vlan: '4095'" },
		{ "lives --merged f --vlan 1 --vlan 2 --vlan 3", "--vlan: twice at most" },
		{ "lives --merged f --mqtt 4", "--mqtt: '4' is none of" },
		{ "lives --merged f --ip 5", "--ip: '5' is none of" },
		{ "lives --merged f --client 10.0.0", "--client: '10.0.0' is no address" },
		{ "lives --merged f --broker-mac 1", "--broker-mac: '1' is no MAC" },
		{ "lives --merged f --clientid-format a%s", "something else than one %u" },
		{ "lives --merged f --clientid-format a%", "something else than one %u" },
		{ "lives --merged f --clientid-format %99u", "something else than one %u" },
		{ "lives --merged f --clientid-format %u%u", "more than one number" },
		{ "lives --merged f --clientid-format same", "without a number" },
		{ "lives --merged f --seconds 3", "--seconds is for --ports" },
		{ "lives --merged f --turn 64", "--turn is for --pcap" },
		{ "lives --merged f --timeout 50", "--timeout is for --ports" },
		{ "lives --ports a b --pause 5", "--pause is for files" },
		{ "lives --merged f --established", "--established is for chatter" },
		{ "chatter --ports a b --established", "--established is for chatter" },
		{ "chatter --merged f --flows 2000", "one connection a client" },
		{ "lives --merged f --clients 5 --parallel 6", "--parallel: more than --clients" },
		{ "chatter --merged f --clients 64513 --addresses 1", "--addresses: 1 do for" },
		{ "lives --merged f --client 255.255.255.255 --addresses 2", "pass the end" },
		{ "lives --merged f --wings", "unknown option '--wings'" },
		{ "lives --merged f --rate", "--rate needs a value" },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		struct gen_options o;
		char err[256] = "";

		check_row = rows[i].line;
		CHECK_EQ(parse(rows[i].line, &o, err, sizeof(err)), -1);
		if (!strstr(err, rows[i].says))
			printf("\n    said: %s\n", err);
		CHECK(strstr(err, rows[i].says) != NULL);
	}
	check_row = "";
}

static void
test_defaults_depend_on_the_kind(void)
{
	struct gen_options o = options("lives --merged f");

	CHECK_EQ(o.flows, 1000);
	CHECK_EQ(o.versions[0], 4);
	CHECK_EQ(o.qos, 1);
	CHECK_EQ(o.messages, 1);
	CHECK_EQ(o.rate, 100000);
	o = options("resume --merged f --clients 7");
	CHECK_EQ(o.flows, 14);
	CHECK_EQ(o.parallel, 7);
	CHECK_EQ(o.versions[0], 5);
	o = options("lives --ports a b --seconds 9");
	CHECK_EQ(o.flows, GEN_NO_LIMIT);
	CHECK_EQ(o.rate, 0);
	CHECK_EQ(o.pause, 0);
	o = options("chatter --ports a b --seconds 9 --clients 3");
	CHECK_EQ(o.flows, 3);
	CHECK_EQ(o.messages, GEN_NO_LIMIT);
	CHECK_EQ(o.qos, 0);
}

static void
test_client_ids_follow_their_format(void)
{
	static const struct {
		const char *format;
		uint64_t number;
		const char *id;
	} rows[] = {
		{ "dev-%08u", 42, "dev-00000042" },
		{ "%u", 0, "0" },
		{ "%3u|", 7, "  7|" },
		{ "a%%%x", 255, "a%ff" },
		{ "%04X%%", 48879, "BEEF%" },
		{ "%02u", 12345, "12345" },
		{ "%020u", 18446744073709551615ull, "18446744073709551615" },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		char line[128], id[2 * GEN_CLIENTID_MAX + 32];
		struct gen_options o;

		snprintf(line, sizeof(line), "lives --merged f --clientid-format %s",
				rows[i].format);
		o = options(line);
		id[gen_clientid_write(&o.clientid, rows[i].number, id)] = '\0';
		CHECK_STR(id, rows[i].id);
	}
}

/* --- who flows are ---------------------------------------------------------------------------- */

/* Flows of all rounds have ends of their own, by which they are found. */
static void
test_flows_are_found_by_their_ends(void)
{
	static const char *const lines[] = {
		"lives --merged f --clients 10 --addresses 3",
		"lives --merged f --clients 1000 --parallel 77 --addresses 10 --ip mix",
		"resume --merged f --clients 1000 --addresses 1 --ip 6",
		"lives --merged f --client 192.0.2.255 --addresses 70000 --clients 64",
	};

	for (size_t i = 0; i < LEN(lines); i++) {
		struct gen_options o = options(lines[i]);
		struct gen_fleet fleet;

		check_row = lines[i];
		gen_fleet_init(&fleet, &o);
		CHECK_EQ(fleet.n_tuples % fleet.places, 0);
		for (uint32_t n = 0; n < 20 * fleet.places; n++) {
			struct mqt_endpoint ends[2];
			uint64_t tuple = 0;

			gen_ends(&fleet, n % fleet.places, n / fleet.places, ends);
			CHECK(gen_find(&fleet, &ends[GEN_CLIENT], &tuple));
			CHECK_EQ(tuple, n % fleet.n_tuples);
			CHECK_EQ(ends[0].version, ends[1].version);
			CHECK(!gen_find(&fleet, &ends[GEN_BROKER], &tuple));
		}
	}
	check_row = "";
}

static void
test_a_histogram_keeps_an_eighth(void)
{
	struct gen_histogram h = { 0 };

	CHECK_EQ(gen_histogram_quantile(&h, 0.5), 0);
	for (uint32_t i = 1; i <= 1000; i++)
		gen_histogram_add(&h, i);
	CHECK(gen_histogram_quantile(&h, 0.5) >= 500 && gen_histogram_quantile(&h, 0.5) <= 563);
	CHECK(gen_histogram_quantile(&h, 0.99) >= 990);
	CHECK_EQ(gen_histogram_quantile(&h, 1), 1000);
	CHECK(gen_histogram_class(UINT32_MAX) < GEN_HISTOGRAM_CLASSES);
	for (uint32_t v = 0; v < 100000; v++)
		CHECK(gen_histogram_class(v + 1) - gen_histogram_class(v) <= 1);
}

/* --- a wire with a will of its own ------------------------------------------------------------ */

struct wire {
	unsigned lose_each;   /* the n-th packet is lost; 0: none */
	unsigned double_each; /* the n-th packet comes twice */
	bool late;            /* each packet comes a second time, two packets later */
	struct rte_mbuf *kept[2];
	bool refuse; /* each CONNACK is replaced by a refusal */
	bool resets; /* each PUBLISH is answered by an RST to both */
	uint64_t n, sum;
};

/* A segment that the other end never sent. */
static void
inject(struct gen_engine *e, const struct rte_mbuf *like, enum gen_side at, uint8_t flags,
		struct mqt_endpoint *client, uint64_t now)
{
	struct mqt_segment seg = { .l2_len = 14, .tcp_flags = flags };
	struct mqt_pkt pkt;
	struct rte_mbuf *m;

	mqt_pkt_parse(like, &pkt);
	mqt_pkt_endpoints(like, &pkt, &seg.src, &seg.dst);
	seg.seq = pkt.seq;
	seg.ack = pkt.ack;
	if (client)
		seg.dst = *client;
	memcpy(seg.l2 + 12, seg.src.version == 4 ? "\x08\0" : "\x86\xdd", 2);
	m = mqt_segment_build(pool, &seg);
	CHECK(m != NULL);
	rte_pktmbuf_free(gen_engine_arrived(e, now, at, m));
	rte_pktmbuf_free(m);
}

/* What was sent two packets ago, in the same direction where client and broker take turns. */
static void
deliver_late(struct gen_engine *e, struct wire *w, struct rte_mbuf *m, enum gen_side from,
		uint64_t now)
{
	struct rte_mbuf **kept = &w->kept[from];

	if (*kept)
		rte_pktmbuf_free(gen_engine_arrived(
				e, now, from == GEN_CLIENT ? GEN_BROKER : GEN_CLIENT, *kept));
	rte_pktmbuf_free(*kept);
	*kept = rte_pktmbuf_copy(m, pool, 0, UINT32_MAX);
	CHECK(*kept != NULL);
}

static void
deliver(struct gen_engine *e, struct wire *w, struct rte_mbuf *m, enum gen_side from, uint64_t now)
{
	enum gen_side at = from == GEN_CLIENT ? GEN_BROKER : GEN_CLIENT;
	uint8_t *payload;
	struct mqt_pkt pkt;

	CHECK_EQ(mqt_pkt_parse(m, &pkt), MQT_PKT_TCP);
	CHECK(mqt_pkt_checksum_ok(m, &pkt));
	w->n++;
	for (uint32_t i = 0; i < m->pkt_len; i++)
		w->sum = w->sum * 31 + rte_pktmbuf_mtod(m, const uint8_t *)[i];
	payload = rte_pktmbuf_mtod_offset(m, uint8_t *, pkt.payload_off);
	if (w->late)
		deliver_late(e, w, m, from, now);
	if (w->lose_each && w->n % w->lose_each == 0)
		return;
	if (w->resets && pkt.payload_len && payload[0] >> 4 == MQT_MQTT_PUBLISH) {
		inject(e, m, at, MQT_TCP_RST, NULL, now);
		return;
	}
	if (w->refuse && pkt.payload_len && payload[0] >> 4 == MQT_MQTT_CONNACK) {
		payload[3] = 3;
		m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	}
	rte_pktmbuf_free(gen_engine_arrived(e, now, at, m));
	if (w->double_each && w->n % w->double_each == 0)
		rte_pktmbuf_free(gen_engine_arrived(e, now, at, m));
}

/* Runs until all is said; two thousand times as long at most. @return the counts. */
static const uint64_t *
run(struct gen_engine *e, struct wire *w)
{
	uint64_t now = STEP_NS;
	enum gen_next next = GEN_NOTHING;
	enum gen_side from;
	struct rte_mbuf *m;

	for (unsigned i = 0; i < 2000000 && next != GEN_DONE; i++) {
		now += next == GEN_NOTHING ? STEP_NS * 1000 : STEP_NS;
		gen_engine_expire(e, now);
		next = gen_engine_next(e, now, &m, &from);
		if (next == GEN_PACKET) {
			deliver(e, w, m, from, now);
			rte_pktmbuf_free(m);
		}
	}
	CHECK_EQ(next, GEN_DONE);
	rte_pktmbuf_free(w->kept[0]);
	rte_pktmbuf_free(w->kept[1]);
	CHECK_EQ(rte_mempool_in_use_count(pool), 0);
	return gen_engine_counts(e);
}

static void
test_what_is_lost_is_sent_again(void)
{
	static const char *const lines[] = {
		"lives --ports a b --clients 50 --parallel 7 --messages 3 --mqtt mix --ip mix",
		"chatter --ports a b --clients 50 --messages 5",
		"resume --ports a b --clients 20 --flows 60",
		"lives --ports a b --clients 20 --messages 0",
	};

	for (size_t i = 0; i < LEN(lines); i++) {
		struct gen_options o = options(lines[i]);
		struct gen_engine *e = gen_engine_create(&o, pool);
		struct wire w = { .lose_each = 7, .double_each = 5 };
		const uint64_t *n = run(e, &w);
		uint64_t stays = o.kind == GEN_LIVES ? 0 : o.flows;

		check_row = lines[i];
		CHECK_EQ(n[GEN_N_BEGUN], o.flows);
		CHECK_EQ(n[GEN_N_CONNECTED], o.flows);
		CHECK_EQ(n[GEN_N_OVER], o.flows - stays);
		CHECK_EQ(n[GEN_N_MESSAGES], o.kind == GEN_RESUME ? 0 : o.flows * o.messages);
		CHECK_EQ(n[GEN_N_LOST], w.n / 7);
		CHECK_EQ(n[GEN_N_RESENT], w.n / 7);
		CHECK_EQ(n[GEN_N_GIVEN_UP], 0);
		CHECK_EQ(n[GEN_N_SENT_OUTSIDE] + n[GEN_N_SENT_INSIDE], w.n);
		CHECK_EQ(n[GEN_N_DAMAGED] + n[GEN_N_FOREIGN] + n[GEN_N_ENDED], 0);
		gen_engine_destroy(e);
	}
	check_row = "";
}

/* A late copy of an older acknowledgement is not taken for the one that was lost. */
static void
test_late_copies_are_not_taken_for_what_is_lost(void)
{
	struct gen_options o = options("chatter --ports a b --clients 1 --messages 50");
	struct gen_engine *e = gen_engine_create(&o, pool);
	struct wire w = { .lose_each = 4, .late = true };
	const uint64_t *n = run(e, &w);

	CHECK_EQ(n[GEN_N_MESSAGES], 50);
	CHECK_EQ(n[GEN_N_LOST], w.n / 4);
	CHECK(n[GEN_N_UNEXPECTED] > 50);
	gen_engine_destroy(e);
}

static void
test_a_flow_that_never_gets_through_is_given_up(void)
{
	struct gen_options o = options("lives --ports a b --clients 3 --flows 9");
	struct gen_engine *e = gen_engine_create(&o, pool);
	struct wire w = { .lose_each = 1 };
	const uint64_t *n = run(e, &w);

	CHECK_EQ(n[GEN_N_BEGUN], 9);
	CHECK_EQ(n[GEN_N_GIVEN_UP], 9);
	CHECK_EQ(n[GEN_N_LOST], 45);
	CHECK_EQ(n[GEN_N_CONNECTED], 0);
	gen_engine_destroy(e);
}

static void
test_refusals_and_ends_are_counted(void)
{
	struct gen_options o = options("lives --ports a b --clients 10 --flows 30");
	struct gen_engine *e = gen_engine_create(&o, pool);
	struct wire refuses = { .refuse = true }, resets = { .resets = true };
	const uint64_t *n = run(e, &refuses);

	CHECK_EQ(n[GEN_N_REFUSED], 30);
	CHECK_EQ(n[GEN_N_CONNECTED] + n[GEN_N_MESSAGES] + n[GEN_N_OVER], 0);
	gen_engine_destroy(e);
	e = gen_engine_create(&o, pool);
	n = run(e, &resets);
	CHECK_EQ(n[GEN_N_CONNECTED], 30);
	CHECK_EQ(n[GEN_N_ENDED], 30);
	CHECK_EQ(n[GEN_N_MESSAGES] + n[GEN_N_OVER], 0);
	gen_engine_destroy(e);
}

/* Runs a storm of two rounds of one client; with an RST for the older flow or without. */
static void
check_storm(bool told)
{
	struct gen_options o = options("resume --ports a b --clients 1 --flows 2");
	struct gen_engine *e = gen_engine_create(&o, pool);
	struct wire w = { 0 };
	const uint64_t *n = gen_engine_counts(e);
	struct mqt_endpoint ends[2];
	struct gen_fleet fleet;
	enum gen_side from;
	struct rte_mbuf *m;

	gen_fleet_init(&fleet, &o);
	gen_ends(&fleet, 0, 0, ends);
	while (gen_engine_next(e, STEP_NS, &m, &from) == GEN_PACKET) {
		if (told && n[GEN_N_BEGUN] == 2 && from == GEN_BROKER)
			inject(e, m, GEN_CLIENT, MQT_TCP_RST, &ends[GEN_CLIENT], STEP_NS);
		deliver(e, &w, m, from, STEP_NS);
		rte_pktmbuf_free(m);
	}
	CHECK_EQ(n[GEN_N_CONNECTED], 2);
	CHECK_EQ(n[GEN_N_REPLACED], told);
	CHECK_EQ(n[GEN_N_TOO_EARLY], !told);
	gen_engine_destroy(e);
}

static void
test_a_newcomer_before_the_older_ones_end_is_counted(void)
{
	check_storm(true);
	check_storm(false);
}

static void
test_the_same_seed_is_the_same_traffic(void)
{
	static const char *const seeds[] = { "1", "1", "2" };
	uint64_t sums[LEN(seeds)];

	for (size_t i = 0; i < LEN(seeds); i++) {
		struct gen_options o;
		struct gen_engine *e;
		struct wire w = { 0 };
		char line[96];

		snprintf(line, sizeof(line), "lives --ports a b --clients 40 --seed %s", seeds[i]);
		o = options(line);
		e = gen_engine_create(&o, pool);
		run(e, &w);
		sums[i] = w.sum;
		gen_engine_destroy(e);
	}
	CHECK(sums[0] == sums[1]);
	CHECK(sums[0] != sums[2]);
}

int
main(void)
{
	CU_TestInfo tests[] = {
		{ "wrong options are named", test_wrong_options_are_named },
		{ "defaults depend on the kind", test_defaults_depend_on_the_kind },
		{ "client ids follow their format", test_client_ids_follow_their_format },
		{ "flows are found by their ends", test_flows_are_found_by_their_ends },
		{ "a histogram keeps an eighth", test_a_histogram_keeps_an_eighth },
		{ "what is lost is sent again", test_what_is_lost_is_sent_again },
		{ "late copies are not taken for what is lost",
				test_late_copies_are_not_taken_for_what_is_lost },
		{ "a flow that never gets through is given up",
				test_a_flow_that_never_gets_through_is_given_up },
		{ "refusals and ends are counted", test_refusals_and_ends_are_counted },
		{ "a newcomer before the older one's end is counted",
				test_a_newcomer_before_the_older_ones_end_is_counted },
		{ "the same seed is the same traffic", test_the_same_seed_is_the_same_traffic },
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = {
		{ .pName = "gen", .pTests = tests },
		CU_SUITE_INFO_NULL,
	};
	int status;

	if (eal_start("gen") < 0)
		return 2;
	pool = rte_pktmbuf_pool_create("test", 255, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	status = pool ? check_run(suites) : 2;
	rte_mempool_free(pool);
	return eal_stop(status);
}
