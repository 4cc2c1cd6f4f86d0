/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions: what packets make of them; see session_script.h for the language of the tables.
 */
#include "alloc.h"
#include "check.h"
#include "session_script.h"

struct row {
	const char *name;
	uint8_t version; /* 0: the same in all */
	uint32_t filters, inflight;
	const char *script;
	const char *want;
};

static void
run_row(const struct row *row, uint8_t version)
{
	struct script script;
	struct mqt_session_counts counts;
	unsigned n_live = alloc.n_live;
	struct mqt_session *copy;

	check_row = row->name;
	script = script_start(version, row->filters, row->inflight);
	script_run(&script, row->script);
	CHECK_STR(script_dump(script.session), row->want);
	mqt_session_counts(script.session, &counts);
	CHECK_EQ(script.n_missed, counts.filters_missed + counts.inflight_missed);
	copy = mqt_session_clone(script.session);
	script_end(&script);
	CHECK_STR(script_dump(copy), row->want);
	mqt_session_destroy(copy);
	CHECK_EQ(alloc.n_live, n_live);
}

static void
run_rows(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (uint8_t version = 3; version <= 5; version++)
			if (rows[i].version == 0 || rows[i].version == version)
				run_row(&rows[i], version);
}

#define RUN_ROWS(rows) run_rows(rows, sizeof(rows) / sizeof((rows)[0]))

static void
test_inflight_follows_its_table(void)
{
	static const struct row rows[] = {
		{ "nothing", 0, 9, 9, "", "| | | 0 | 0 0" },
		{ "QoS 0 and others", 0, 9, 9, ">pub0 <pub0 >ping", "| | | 0 | 0 0" },
		{ "QoS 1 from the client", 0, 9, 9, ">pub1/1", "| 1p | | 0 | 0 0" },
		{ "QoS 1 to the client", 0, 9, 9, "<pub1/1", "| | 1p | 0 | 0 0" },
		{ "QoS 1 acknowledged", 0, 9, 9, ">pub1/1 <puback/1", "| | | 0 | 0 0" },
		{ "QoS 1 to the client acknowledged", 0, 9, 9, "<pub1/1 >puback/1",
				"| | | 0 | 0 0" },
		{ "acknowledged by the sender itself", 0, 9, 9,
				">pub1/1 >puback/1 <pub1/2 <puback/2", "| 1p | 2p | 0 | 0 0" },
		{ "the same id in both directions", 0, 9, 9, ">pub1/1 <pub1/1 <puback/1",
				"| | 1p | 0 | 0 0" },
		{ "QoS 1 refused is over", 5, 9, 9, ">pub1/1 <puback/1=87", "| | | 0 | 0 0" },
		{ "in order of publication", 0, 9, 9, ">pub1/3 >pub2/1 >pub1/2 <puback/3 >pub1/9",
				"| 1p 2p 9p | | 0 | 0 0" },
		{ "QoS 2 received", 0, 9, 9, ">pub2/1 <pubrec/1", "| 1c | | 0 | 0 0" },
		{ "QoS 2 released", 0, 9, 9, ">pub2/1 <pubrec/1 >pubrel/1", "| 1l | | 0 | 0 0" },
		{ "QoS 2 complete", 0, 9, 9, ">pub2/1 <pubrec/1 >pubrel/1 <pubcomp/1",
				"| | | 0 | 0 0" },
		{ "QoS 2 to the client", 0, 9, 9,
				"<pub2/1 >pubrec/1 <pub2/2 >pubrec/2 <pubrel/2 "
				"<pub2/3 >pubrec/3 <pubrel/3 >pubcomp/3",
				"| | 1c 2l | 0 | 0 0" },
		{ "QoS 2 refused", 5, 9, 9, ">pub2/1 <pubrec/1=80", "| | | 0 | 0 0" },
		{ "QoS 2 received without a subscriber", 5, 9, 9, ">pub2/1 <pubrec/1=10",
				"| 1c | | 0 | 0 0" },
		{ "3.x has no reason codes", 4, 9, 9, ">pub2/1 <pubrec/1=80", "| 1c | | 0 | 0 0" },
		{ "PUBREL says that the id is unknown", 5, 9, 9, ">pub2/1 <pubrec/1 >pubrel/1=92",
				"| 1l | | 0 | 0 0" },
		{ "PUBREL by the wrong side", 0, 9, 9, ">pub2/1 <pubrec/1 <pubrel/1",
				"| 1c | | 0 | 0 0" },
		{ "acknowledgements of the other QoS", 0, 9, 9,
				">pub1/1 >pub2/2 <pubrec/1 <pubcomp/1 >pubrel/1 <puback/2",
				"| 1p 2p | | 0 | 0 0" },
		{ "unknown ids", 0, 9, 9, "<puback/1 <pubrec/1 >pubrel/1 <pubcomp/1 <pubrel/1",
				"| | | 0 | 0 0" },
		{ "repeats do not count twice", 0, 9, 9, ">pub1/1 >dup1/1 >pub2/2 >dup2/2 >dup2/2",
				"| 1p 2p | | 0 | 0 0" },
		{ "a repeat does not go back", 0, 9, 9, ">pub2/2 <pubrec/2 >dup2/2 >pub1/1",
				"| 2c 1p | | 0 | 0 0" },
		{ "PUBREC again does not go back", 0, 9, 9, ">pub2/2 <pubrec/2 >pubrel/2 <pubrec/2",
				"| 2l | | 0 | 0 0" },
		{ "PUBREL again", 0, 9, 9, ">pub2/2 <pubrec/2 >pubrel/2 >pubrel/2",
				"| 2l | | 0 | 0 0" },
		{ "a repeat of what was not seen", 0, 9, 9, "<dup1/1 <dup2/2",
				"| | 1p 2p | 0 | 0 0" },
		{ "an id used anew is a new message", 0, 9, 9,
				">pub2/1 <pubrec/1 >pub1/2 >pub1/1 <puback/1", "| 2p | | 0 | 0 0" },
		{ "limit", 0, 9, 2, ">pub1/1 >pub1/2 >pub1/3 <pub1/1 >dup1/1 >pub1/2",
				"| 1p 2p | 1p | 0 | 0 1" },
		{ "limit, then room", 0, 9, 1, ">pub1/1 >pub1/2 <puback/2 <puback/1 >pub1/3",
				"| 3p | | 0 | 0 1" },
		{ "limit 0", 0, 9, 0, ">pub1/1 <pub2/2", "| | | 0 | 0 2" },
		{ "more than the first allocations", 0, 9, 30,
				"<pub1/1 <pub1/2 <pub1/3 <pub1/4 <pub1/5 <pub1/6 <pub1/7 <pub1/8 "
				"<pub1/9 <pub1/10 <pub1/11 <pub1/12 <pub1/13 <pub1/14 <pub1/15 "
				"<pub1/16 <pub1/17 <pub1/18 >puback/18 >puback/1 >puback/9",
				"| | 2p 3p 4p 5p 6p 7p 8p 10p 11p 12p 13p 14p 15p 16p 17p "
				"| 0 | 0 0" },
		{ "few again", 0, 9, 30,
				"<pub1/1 <pub1/2 <pub1/3 <pub2/4 >puback/1 >puback/3 >pubrec/4",
				"| | 2p 4c | 0 | 0 0" },
		{ "many, few, many", 0, 9, 30,
				"<pub1/1 <pub1/2 <pub1/3 >puback/2 >puback/1 <pub1/4 <pub1/5",
				"| | 3p 4p 5p | 0 | 0 0" },
	};

	RUN_ROWS(rows);
}

static void
test_subscriptions_follow_their_table(void)
{
	static const struct row rows[] = {
		{ "not granted yet", 0, 9, 9, ">sub/1(a:01)", "| | | 0 | 0 0" },
		{ "granted", 0, 9, 9, ">sub/1(a:01) <suback/1(01)", "a:1 | | | 0 | 0 0" },
		{ "granted less than asked", 0, 9, 9, ">sub/1(a:02,b:01) <suback/1(01,00)",
				"a:1 b:0 | | | 0 | 0 0" },
		{ "one of them refused", 0, 9, 9, ">sub/1(a:02,b:01,c:00) <suback/1(02,80,00)",
				"a:2 c:0 | | | 0 | 0 0" },
		{ "refused with a reason", 5, 9, 9, ">sub/1(a:02,b:01) <suback/1(87,a2)",
				"| | | 0 | 0 0" },
		{ "options of 5.0", 5, 9, 9, ">sub/1(a:2d) <suback/1(01)", "a:1 | | | 0 | 0 0" },
		{ "properties", 5, 9, 9, ">sub/1{0bff7f}(a:01,b:01) <suback/1{1f000178}(01,02)",
				"a:1 b:2 | | | 0 | 0 0" },
		{ "another packet id", 0, 9, 9, ">sub/1(a:01) <suback/2(01) <suback/257(01)",
				"| | | 0 | 0 0" },
		{ "answered twice", 0, 9, 9, ">sub/1(a:01) <suback/1(01) <suback/1(02)",
				"a:1 | | | 0 | 0 0" },
		{ "answered by the client", 0, 9, 9, ">sub/1(a:01) >suback/1(01)",
				"| | | 0 | 0 0" },
		{ "asked by the broker", 0, 9, 9, "<sub/1(a:01) <suback/1(01)", "| | | 0 | 0 0" },
		{ "two at a time", 0, 9, 9, ">sub/1(a:01) >sub/2(b:02) <suback/2(02) <suback/1(01)",
				"b:2 a:1 | | | 0 | 0 0" },
		{ "again with another QoS", 0, 9, 9,
				">sub/1(a:01,b:00) <suback/1(01,00) >sub/2(a:02) <suback/2(02)",
				"a:2 b:0 | | | 0 | 0 0" },
		{ "again, refused: the old one stays", 0, 9, 9,
				">sub/1(a:01) <suback/1(01) >sub/2(a:02) <suback/2(80)",
				"a:1 | | | 0 | 0 0" },
		{ "twice in one packet", 0, 9, 9, ">sub/1(a:01,a:02) <suback/1(01,02)",
				"a:2 | | | 0 | 0 0" },
		{ "filters that begin alike", 0, 9, 9,
				">sub/1(a:01,a/b:01,a/#:00,b:02) <suback/1(01,01,00,02)",
				"a:1 a/b:1 a/#:0 b:2 | | | 0 | 0 0" },
		{ "filters of which another one is the begin", 0, 9, 9,
				">sub/1(a/b:01,a:02) <suback/1(01,02)", "a/b:1 a:2 | | | 0 | 0 0" },
		{ "length of the properties is longer than it needs", 5, 9, 9,
				">raw:820a00018080800000016101 <suback/1(01)",
				"a:1 | | | 0 | 0 0" },
		{ "an id used again before its answer", 0, 9, 9,
				">sub/1(a:01) >sub/1(b:01) <suback/1(01) <suback/1(01)",
				"b:1 | | | 0 | 0 0" },
		{ "fewer codes than filters", 0, 9, 9, ">sub/1(a:01,b:01) <suback/1(01)",
				"a:1 | | | 0 | 0 0" },
		{ "more codes than filters", 0, 9, 9, ">sub/1(a:01) <suback/1(01,02,00)",
				"a:1 | | | 0 | 0 0" },
		{ "a code that is none", 0, 9, 9, ">sub/1(a:01) <suback/1(03)", "| | | 0 | 0 0" },
		{ "UNSUBSCRIBE not answered", 0, 9, 9, ">sub/1(a:01) <suback/1(01) >unsub/2(a)",
				"a:1 | | | 0 | 0 0" },
		{ "UNSUBSCRIBE", 4, 9, 9,
				">sub/1(a:01,b:01) <suback/1(01,01) >unsub/2(a,c) <unsuback/2",
				"b:1 | | | 0 | 0 0" },
		{ "UNSUBSCRIBE in 3.1", 3, 9, 9,
				">sub/1(a:01,b:01) <suback/1(01,01) >unsub/2(a,b) <unsuback/2",
				"| | | 0 | 0 0" },
		{ "UNSUBSCRIBE in 5.0, partly refused", 5, 9, 9,
				">sub/1(a:01,b:01,c:01) <suback/1(01,01,01) "
				">unsub/2{260001610000}(a,b,c) <unsuback/2(00,80,11)",
				"b:1 | | | 0 | 0 0" },
		{ "UNSUBACK without codes in 5.0", 5, 9, 9,
				">sub/1(a:01) <suback/1(01) >unsub/2(a) <unsuback/2",
				"a:1 | | | 0 | 0 0" },
		{ "the last, the first, one in between", 5, 9, 9,
				">sub/1(aaa:01,b:01,cc:01,d:01,e:01) <suback/1(01,01,01,01,01) "
				">unsub/2(e,aaa) <unsuback/2(00,00) >unsub/3(cc) <unsuback/3(00)",
				"b:1 d:1 | | | 0 | 0 0" },
		{ "none left, then one", 4, 9, 9,
				">sub/1(a:01) <suback/1(01) >unsub/2(a) <unsuback/2 >sub/3(b:02) "
				"<suback/3(02)",
				"b:2 | | | 0 | 0 0" },
		{ "SUBSCRIBE is not answered by UNSUBACK", 4, 9, 9,
				">sub/1(a:01) <raw:b003000101 <suback/1(01)", "| | | 0 | 0 0" },
		{ "UNSUBSCRIBE is not answered by SUBACK", 0, 9, 9,
				">sub/1(a:01) <suback/1(01) >unsub/1(a) <suback/1(02)",
				"a:1 | | | 0 | 0 0" },
		{ "ids of messages are another matter", 0, 9, 9,
				">sub/1(a:01) >pub1/1 <puback/1 <suback/1(01)",
				"a:1 | | | 0 | 0 0" },
		{ "limit", 0, 2, 9,
				">sub/1(a:01,b:01,c:01,d:01) <suback/1(01,01,01,80) "
				">sub/2(b:02,e:02) <suback/2(02,02)",
				"a:1 b:2 | | | 0 | 2 0" },
		{ "limit, then room", 4, 1, 9,
				">sub/1(a:01,b:01) <suback/1(01,01) >unsub/2(a) <unsuback/2 "
				">sub/3(c:00) <suback/3(00)",
				"c:0 | | | 0 | 1 0" },
		{ "limit of waiting requests", 0, 2, 9,
				">sub/1(a:01) >sub/2(b:01) >sub/3(c:01,d:01) <suback/3(01,01) "
				"<suback/1(01) >sub/4(e:00) <suback/4(00) <suback/2(01)",
				"a:1 e:0 | | | 0 | 3 0" },
		{ "a request again needs no room", 0, 1, 9,
				">sub/1(a:01) >sub/1(b:01) <suback/1(01)", "b:1 | | | 0 | 0 0" },
		{ "limit 0", 0, 0, 9, ">sub/1(a:01) <suback/1(01)", "| | | 0 | 1 0" },
		{ "too long a SUBSCRIBE", 0, 9, 9, ">sub/1(a:01)! <suback/1(01)", "| | | 0 | 1 0" },
		{ "too long a SUBSCRIBE ends an older one", 0, 9, 9,
				">sub/1(a:01) >sub/1(b:01)! <suback/1(01)", "| | | 0 | 1 0" },
		{ "too long a SUBACK", 0, 9, 9, ">sub/1(a:01,b:01) <suback/1(01)! <suback/1(01,01)",
				"| | | 0 | 2 0" },
		{ "too long an UNSUBSCRIBE", 4, 9, 9,
				">sub/1(a:01) <suback/1(01) >unsub/2(a)! <unsuback/2",
				"a:1 | | | 0 | 1 0" },
		{ "no filter", 0, 9, 9, ">sub/1 >unsub/2 <suback/1(01) <unsuback/2",
				"| | | 0 | 0 0" },
		{ "empty filter", 4, 9, 9, ">raw:82050001000001 <suback/1(01)", "| | | 0 | 0 0" },
		{ "filter without options", 4, 9, 9, ">raw:82050001000161 <suback/1(01)",
				"| | | 0 | 0 0" },
		{ "filter beyond the packet", 4, 9, 9, ">raw:8206000100026101 <suback/1(01)",
				"| | | 0 | 0 0" },
		{ "half a filter behind a whole one", 4, 9, 9,
				">raw:820800010001610100ff <suback/1(01)", "| | | 0 | 0 0" },
		{ "a byte behind a filter", 4, 9, 9, ">raw:820700010001610100 <suback/1(01)",
				"| | | 0 | 0 0" },
		{ "properties beyond the packet", 5, 9, 9, ">raw:820700010600016101 <suback/1(01)",
				"| | | 0 | 0 0" },
		{ "no properties", 5, 9, 9, ">raw:82020001 <suback/1(01)", "| | | 0 | 0 0" },
		{ "length of the properties is no number", 5, 9, 9,
				">raw:820b0001808080800000016101 <suback/1(01)", "| | | 0 | 0 0" },
		{ "answer with properties beyond it", 5, 9, 9,
				">sub/1(a:01) <raw:900400010501 <suback/1(01)", "| | | 0 | 0 0" },
	};

	RUN_ROWS(rows);
}

static void
test_pendings_follow_their_table(void)
{
	static const struct row rows[] = {
		{ "nothing in flight", 0, 9, 9, "split join", "| | | 0 | 0 0" },
		{ "only from the client", 0, 9, 9, ">pub1/1 split join", "| 1p | | 0 | 0 0" },
		{ "split", 0, 9, 9, "<pub1/1 <pub2/2 >pub1/3 split", "| 3p | | 0 | 0 0" },
		{ "joined", 0, 9, 9, "<pub1/1 <pub2/2 >pubrec/2 >pub1/3 split join",
				"| 3p | | 2 | 0 0" },
		{ "sent again", 0, 9, 9, "<pub1/1 <pub2/2 split join <dup1/1", "| | 1p | 1 | 0 0" },
		{ "sent again and acknowledged", 0, 9, 9,
				"<pub1/1 <pub2/2 split join <dup1/1 >puback/1 <dup2/2 >pubrec/2 "
				"<pubrel/2 >pubcomp/2",
				"| | | 0 | 0 0" },
		{ "the release sent again", 0, 9, 9,
				"<pub2/1 >pubrec/1 <pub1/2 split join <pubrel/1",
				"| | 1l | 1 | 0 0" },
		{ "the release sent again, complete", 0, 9, 9,
				"<pub2/1 >pubrec/1 split join <pubrel/1 >pubcomp/1",
				"| | | 0 | 0 0" },
		{ "a release of what is not pending", 0, 9, 9, "<pub2/1 split join <pubrel/2",
				"| | | 1 | 0 0" },
		{ "a release by the client", 0, 9, 9, "<pub2/1 split join >pubrel/1",
				"| | | 1 | 0 0" },
		{ "the client's ids are another matter", 0, 9, 9,
				"<pub2/1 split join >pub2/1 >pubrel/1", "| 1l | | 1 | 0 0" },
		{ "in the middle", 0, 9, 9, "<pub1/1 <pub1/2 <pub1/3 split join <dup1/2 split join",
				"| | | 3 | 0 0" },
		{ "twice, without what came again", 0, 9, 9,
				"<pub1/1 <pub1/2 split join <pub1/3 <dup1/2 split join",
				"| | | 3 | 0 0" },
		{ "the same id twice", 0, 9, 9,
				"<pub1/1 split <pub1/1 <pub1/64 <pub1/65 join split join",
				"| | | 3 | 0 0" },
		{ "released beyond the limit", 0, 9, 1,
				"<pub2/1 >pubrec/1 split join <pub1/2 <pubrel/1",
				"| | 2p | 0 | 0 1" },
		{ "a flow that is over answers nothing", 0, 9, 9,
				">sub/1(a:01) split <suback/1(01)", "| | | 0 | 0 0" },
		{ "a flow that is over answers nothing, final", 0, 9, 9,
				">sub/1(a:01) final <suback/1(01)", "| | | 0 | 0 0" },
		{ "final leaves what there is", 0, 9, 9,
				">sub/1(a:01) <suback/1(01) >pub1/1 <pub1/2 final",
				"a:1 | 1p | 2p | 0 | 0 0" },
		{ "requests are not many after a flow", 0, 1, 9,
				">sub/1(a:01) split join >sub/2(b:01) <suback/2(01)",
				"b:1 | | | 0 | 0 0" },
	};

	RUN_ROWS(rows);
}

static void
test_split_pendings_are_in_order_of_publication(void)
{
	static const uint16_t want[] = { 65535, 7, 300, 1 };
	struct script script = script_start(4, 9, 9);

	check_row = "";
	script_run(&script,
			"<pub1/65535 <pub2/9 <pub2/7 <pub1/300 >pubrec/7 <pub1/1 >pubrec/9 "
			"<pubrel/9 "
			">pubcomp/9 split");
	CHECK_EQ(script.pendings->n, 4);
	CHECK_MEM(script.pendings->packet_id, want, sizeof(want));
	CHECK(mqt_session_split_pendings(script.session) == NULL);
	script_end(&script);
}

static void
test_only_some_packets_want_a_session(void)
{
	static const struct {
		uint8_t type, qos;
		bool oversize, wants;
	} rows[] = {
		{ MQT_MQTT_PUBLISH, 0, false, false },
		{ MQT_MQTT_PUBLISH, 1, false, true },
		{ MQT_MQTT_PUBLISH, 2, false, true },
		{ MQT_MQTT_PUBACK, 0, false, false },
		{ MQT_MQTT_PUBREC, 0, false, false },
		{ MQT_MQTT_PUBREL, 0, false, false },
		{ MQT_MQTT_PUBCOMP, 0, false, false },
		{ MQT_MQTT_SUBSCRIBE, 0, false, true },
		{ MQT_MQTT_SUBSCRIBE, 0, true, true },
		{ MQT_MQTT_SUBACK, 0, false, false },
		{ MQT_MQTT_UNSUBSCRIBE, 0, false, false },
		{ MQT_MQTT_UNSUBACK, 0, false, false },
		{ MQT_MQTT_DISCONNECT, 0, false, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mqt_mqtt_packet packet = { .type = rows[i].type,
			.qos = rows[i].qos,
			.oversize = rows[i].oversize,
			.packet_id = 1 };

		CHECK_EQ(mqt_session_wants(&packet), rows[i].wants);
	}
}

static void
test_final_is_kept_and_copied(void)
{
	struct mqt_session_final zeroed = { 0 }, out, final = { .expiry_sec = UINT32_MAX };
	struct mqt_session *session = mqt_session_create(), *copy;

	mqt_session_final(session, &out);
	CHECK_MEM(&out, &zeroed, sizeof(out));
	for (unsigned i = 0; i < MQT_SLOT_N_COUNTERS; i++)
		final.counter[i] = UINT64_MAX - i;
	mqt_session_set_final(session, &final);
	copy = mqt_session_clone(session);
	mqt_session_final(session, &out);
	CHECK_MEM(&out, &final, sizeof(out));
	mqt_session_destroy(session);
	mqt_session_final(copy, &out);
	CHECK_MEM(&out, &final, sizeof(out));
	mqt_session_destroy(copy);
}

/* A copy and its original go separate ways. */
static void
test_a_copy_is_deep(void)
{
	struct script script = script_start(4, 9, 9), copy;

	check_row = "";
	script_run(&script,
			">sub/1(a:01,b:00) <suback/1(01,00) >pub1/1 <pub1/1 <pub1/2 <pub1/3 split "
			"join "
			"<pub1/4 <pub1/5 <pub1/6 <pub1/7 >sub/2(c:01)");
	copy = script;
	copy.session = mqt_session_clone(script.session);
	CHECK_STR(script_dump(copy.session), "a:1 b:0 | 1p | 4p 5p 6p 7p | 3 | 0 0");
	script_run(&script,
			">unsub/3(a) <unsuback/3 <puback/1 >puback/4 <dup1/1 <suback/2(80) final");
	CHECK_STR(script_dump(script.session), "b:0 | | 5p 6p 7p 1p | 2 | 0 0");
	CHECK_STR(script_dump(copy.session), "a:1 b:0 | 1p | 4p 5p 6p 7p | 3 | 0 0");
	script_end(&script);
	script_run(&copy, "<suback/2(01) >puback/5 <dup1/3");
	CHECK_STR(script_dump(copy.session), "a:1 b:0 c:1 | 1p | 4p 6p 7p 3p | 2 | 0 0");
	script_end(&copy);
	CHECK(mqt_session_clone(NULL) == NULL);
	mqt_session_destroy(NULL);
}

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}

static CU_TestInfo session_tests[] = {
	TEST(test_inflight_follows_its_table),
	TEST(test_subscriptions_follow_their_table),
	TEST(test_pendings_follow_their_table),
	TEST(test_split_pendings_are_in_order_of_publication),
	TEST(test_only_some_packets_want_a_session),
	TEST(test_final_is_kept_and_copied),
	TEST(test_a_copy_is_deep),
	CU_TEST_INFO_NULL,
};

int
main(void)
{
	CU_SuiteInfo suites[] = {
		{ .pName = "session", .pTests = session_tests },
		CU_SUITE_INFO_NULL,
	};

	return check_run(suites);
}
