/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Sessions. A row is a script of packets and the session it leaves, both as text, so that a row
 * reads as what passed on the wire. Packets go through the tap, as in the tracker.
 *
 * Script: words. '>' is sent by the client, '<' by the broker. pub1/5 is a PUBLISH of QoS 1 with
 * packet id 5, dup1/5 its repeat. puback/5, pubrec/5=80 with a reason code (5.0). sub/9(a:1,b:0)
 * with options (hexadecimal), suback/9(01,80), unsub/9(a,b), unsuback/9(00,11); {..} in front of
 * the bracket are properties in hexadecimal (5.0). A '!' at the end makes it longer than the limit
 * of the tap. raw:.. is a packet in hexadecimal. split, join and final are what happens to it.
 *
 * Session: filters with their QoS | from the client | to the client | pendings | missed. States
 * are p published, c received, l released.
 */

#include "alloc.h"
#include "check.h"
#include "mqtrack/session.h"

#define MAX_BODY 512

/* A session under test and what moves it. */
struct rig {
	struct mqt_session *session;
	struct mqt_pendings *pendings;
	struct mqt_session_limits limits;
	enum mqt_session_dir sender;
	uint8_t version;
	unsigned n_missed; /* as mqt_session_apply() returned it */
};

struct bytes {
	uint8_t ptr[4096];
	size_t len;
};

static void
bad_script(const char *at)
{
	printf("[%s] bad script at: %s\n", check_row, at);
	abort();
}

static void
put(struct bytes *b, unsigned byte)
{
	b->ptr[b->len++] = (uint8_t)byte;
}

static void
put_u16(struct bytes *b, unsigned value)
{
	put(b, value >> 8);
	put(b, value & 0xff);
}

static const char *
put_hex(struct bytes *b, const char *s)
{
	char digits[3] = { 0 };

	while (strchr("0123456789abcdef ", *s) != NULL && *s != '\0') {
		if (*s == ' ') {
			s++;
			continue;
		}
		memcpy(digits, s, 2);
		put(b, (unsigned)strtoul(digits, NULL, 16));
		s += 2;
	}
	return s;
}

/* "(a:1,b:0)", "(a,b)" or "(01,80)" */
static const char *
put_list(struct bytes *b, const char *s, unsigned type)
{
	bool filters = type == MQT_MQTT_SUBSCRIBE || type == MQT_MQTT_UNSUBSCRIBE;

	if (*s != '(')
		return s;
	for (s++; *s != ')'; s += *s == ',') {
		size_t n = strcspn(s, ":,)");

		if (!filters) {
			s = put_hex(b, s);
			continue;
		}
		put_u16(b, (unsigned)n);
		memcpy(b->ptr + b->len, s, n);
		b->len += n;
		s += n;
		if (*s == ':')
			s = put_hex(b, s + 1);
	}
	return s + 1;
}

static const struct {
	const char *name;
	uint8_t first;
} words[] = {
	{ "pub0", 0x30 },
	{ "pub1", 0x32 },
	{ "pub2", 0x34 },
	{ "dup1", 0x3a },
	{ "dup2", 0x3c },
	{ "puback", 0x40 },
	{ "pubrec", 0x50 },
	{ "pubrel", 0x62 },
	{ "pubcomp", 0x70 },
	{ "sub", 0x82 },
	{ "suback", 0x90 },
	{ "unsub", 0xa2 },
	{ "unsuback", 0xb0 },
	{ "ping", 0xc0 },
};

/* Encodes one word; @p s behind '<' or '>'. */
static void
encode(struct bytes *out, const char *s, uint8_t version)
{
	size_t n = strcspn(s, "/");
	struct bytes body = { .len = 0 }, properties = { .len = 0 };
	uint8_t first = 0;
	unsigned type;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strlen(words[i].name) == n && strncmp(words[i].name, s, n) == 0)
			first = words[i].first;
	if (first == 0)
		bad_script(s);
	type = first >> 4;
	s += n;
	if (type == MQT_MQTT_PUBLISH) {
		put_u16(&body, 1);
		put(&body, 't');
	}
	if (*s == '/') {
		put_u16(&body, (unsigned)strtoul(s + 1, NULL, 10));
		s += 1 + strspn(s + 1, "0123456789");
	}
	if (*s == '=')
		s = put_hex(&body, s + 1);
	if (*s == '{')
		s = put_hex(&properties, s + 1) + 1;
	if (version == 5 &&
			((type >= MQT_MQTT_SUBSCRIBE && type <= MQT_MQTT_UNSUBACK) ||
					type == MQT_MQTT_PUBLISH)) {
		put(&body, (unsigned)properties.len);
		memcpy(body.ptr + body.len, properties.ptr, properties.len);
		body.len += properties.len;
	}
	s = put_list(&body, s, type);
	if (*s == '!')
		while (body.len <= MAX_BODY)
			put(&body, 0);
	put(out, first);
	if (body.len > 127)
		put(out, 0x80 | (body.len & 0x7f));
	put(out, (unsigned)(body.len > 127 ? body.len >> 7 : body.len));
	memcpy(out->ptr + out->len, body.ptr, body.len);
	out->len += body.len;
}

static void
on_packet(void *arg, const struct mqt_mqtt_packet *packet)
{
	struct rig *rig = arg;

	rig->n_missed += mqt_session_apply(
			rig->session, &rig->limits, rig->sender, rig->version, packet);
}

static void
send_word(struct rig *rig, const char *s)
{
	struct bytes packet = { .len = 0 };
	struct mqt_mqtt_seen seen = { 0 };
	struct mqt_mqtt_tap tap = { 0 };

	if (strncmp(s + 1, "raw:", 4) == 0)
		put_hex(&packet, s + 5);
	else
		encode(&packet, s + 1, rig->version);
	rig->sender = *s == '>' ? MQT_SESSION_FROM_CLIENT : MQT_SESSION_TO_CLIENT;
	CHECK(mqt_mqtt_tap_feed(&tap, packet.ptr, packet.len, rig->version, MAX_BODY, &seen,
			on_packet, rig));
	CHECK_EQ(seen.packets, 1);
	mqt_mqtt_tap_fini(&tap);
}

static void
run_word(struct rig *rig, const char *s)
{
	struct mqt_session_final final = { .expiry_sec = 7 };

	if (strcmp(s, "split") == 0) {
		CHECK(rig->pendings == NULL);
		rig->pendings = mqt_session_split_pendings(rig->session);
	} else if (strcmp(s, "join") == 0) {
		mqt_session_join_pendings(rig->session, rig->pendings);
		rig->pendings = NULL;
	} else if (strcmp(s, "final") == 0) {
		mqt_session_set_final(rig->session, &final);
	} else if (*s == '<' || *s == '>') {
		send_word(rig, s);
	} else {
		bad_script(s);
	}
}

static void
run(struct rig *rig, const char *script)
{
	char *copy = strdup(script), *save = NULL;

	for (char *s = strtok_r(copy, " ", &save); s != NULL; s = strtok_r(NULL, " ", &save))
		run_word(rig, s);
	free(copy);
}

static struct rig
rig_start(uint8_t version, uint32_t filters, uint32_t inflight)
{
	return (struct rig){ .session = mqt_session_create(),
		.limits = { filters, inflight, UINT32_MAX },
		.version = version };
}

static void
rig_end(struct rig *rig)
{
	mqt_session_destroy(rig->session);
	free(rig->pendings);
}

/* The session as text. Static storage. */
static const char *
dump(const struct mqt_session *session)
{
	static char text[8192];
	struct mqt_session_counts counts;
	enum mqt_inflight_state state;
	struct mqt_bytes filter;
	size_t len = 0;
	uint16_t id;
	uint8_t qos;
	unsigned i;

#define ADD(...) len += (size_t)snprintf(text + len, sizeof(text) - len, __VA_ARGS__)
	mqt_session_counts(session, &counts);
	for (i = 0; mqt_session_filter(session, i, &filter, &qos); i++)
		ADD("%.*s:%u ", (int)filter.len, (const char *)filter.ptr, qos);
	CHECK_EQ(counts.filters, i);
	for (int dir = 0; dir < MQT_SESSION_N_DIRS; dir++) {
		ADD("|");
		for (i = 0; mqt_session_inflight(session, dir, i, &id, &state); i++)
			ADD(" %u%c", id, "pcl"[state]);
		CHECK_EQ(counts.inflight[dir], i);
		ADD(" ");
	}
	ADD("| %u | %u %u", counts.pendings, (unsigned)counts.filters_missed,
			(unsigned)counts.inflight_missed);
#undef ADD
	return text;
}

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
	struct rig rig;
	struct mqt_session_counts counts;
	unsigned n_live = alloc.n_live;
	struct mqt_session *copy;

	check_row = row->name;
	rig = rig_start(version, row->filters, row->inflight);
	run(&rig, row->script);
	CHECK_STR(dump(rig.session), row->want);
	mqt_session_counts(rig.session, &counts);
	CHECK_EQ(rig.n_missed, counts.filters_missed + counts.inflight_missed);
	copy = mqt_session_clone(rig.session);
	rig_end(&rig);
	CHECK_STR(dump(copy), row->want);
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
	struct rig rig = rig_start(4, 9, 9);

	check_row = "";
	run(&rig,
			"<pub1/65535 <pub2/9 <pub2/7 <pub1/300 >pubrec/7 <pub1/1 >pubrec/9 "
			"<pubrel/9 "
			">pubcomp/9 split");
	CHECK_EQ(rig.pendings->n, 4);
	CHECK_MEM(rig.pendings->packet_id, want, sizeof(want));
	CHECK(mqt_session_split_pendings(rig.session) == NULL);
	rig_end(&rig);
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
	struct rig rig = rig_start(4, 9, 9), copy;

	check_row = "";
	run(&rig,
			">sub/1(a:01,b:00) <suback/1(01,00) >pub1/1 <pub1/1 <pub1/2 <pub1/3 split "
			"join "
			"<pub1/4 <pub1/5 <pub1/6 <pub1/7 >sub/2(c:01)");
	copy = rig;
	copy.session = mqt_session_clone(rig.session);
	CHECK_STR(dump(copy.session), "a:1 b:0 | 1p | 4p 5p 6p 7p | 3 | 0 0");
	run(&rig, ">unsub/3(a) <unsuback/3 <puback/1 >puback/4 <dup1/1 <suback/2(80) final");
	CHECK_STR(dump(rig.session), "b:0 | | 5p 6p 7p 1p | 2 | 0 0");
	CHECK_STR(dump(copy.session), "a:1 b:0 | 1p | 4p 5p 6p 7p | 3 | 0 0");
	rig_end(&rig);
	run(&copy, "<suback/2(01) >puback/5 <dup1/3");
	CHECK_STR(dump(copy.session), "a:1 b:0 c:1 | 1p | 4p 6p 7p 3p | 2 | 0 0");
	rig_end(&copy);
	CHECK(mqt_session_clone(NULL) == NULL);
	mqt_session_destroy(NULL);
}

/* Memory. */

static void
test_empty_parts_take_no_memory(void)
{
	static const struct {
		const char *script;
		unsigned n_live; /* the session itself is one */
	} rows[] = {
		{ "", 1 },
		{ ">pub1/1 >pub2/2 <pub1/3 <pub2/4", 1 },
		{ ">pub1/1 >pub2/2 >pub2/3", 2 },
		{ ">pub1/1 >pub1/2 >pub1/3 <puback/2", 1 },
		{ "<pub1/1 split", 2 },
		{ "<pub1/1 split join <dup1/1", 1 },
		{ "<pub1/1 <pub1/2 <pub1/3 split", 2 },
		{ "<pub1/1 split <pub1/2 <pub1/3 join split join", 2 },
		{ ">sub/1(a:01)", 2 },
		{ ">sub/1(a:01) >sub/1(b:01)", 2 },
		{ ">sub/1(a:01) >sub/2(b:01)", 3 },
		{ ">sub/1(a:01) >sub/2(b:01) final", 1 },
		{ ">sub/1(a:01) <suback/1(80)", 1 },
		{ ">sub/1(a:01) <suback/1(01) >sub/1(b:01) <suback/1(01)", 2 },
		{ ">sub/1(a:01) <suback/1(01) >unsub/1(a) <unsuback/1", 1 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned n_before = alloc.n_live;
		struct rig rig = rig_start(4, 9, 9);

		run(&rig, check_row = rows[i].script);
		CHECK_EQ(alloc.n_live - n_before, rows[i].n_live);
		rig_end(&rig);
		CHECK_EQ(alloc.n_live, n_before);
	}
}

static size_t
bytes_of(const struct mqt_session *session)
{
	struct mqt_session_counts counts;

	mqt_session_counts(session, &counts);
	return counts.bytes;
}

static void
test_bytes_count_each_part(void)
{
	static const struct {
		const char *script;
		size_t least, most; /* more than the empty session */
	} rows[] = {
		{ "", 0, 0 },
		{ ">pub1/1 <pub1/1 >pub1/2 <pub1/2", 0, 0 },
		{ ">pub1/1 >pub1/2 >pub1/3", 12, 32 },
		{ "<pub1/1 <pub1/2 <pub1/3 <pub1/4 <pub1/5 <pub1/6 <pub1/7 <pub1/8 <pub1/9", 36,
				64 },
		{ "<pub1/1 <pub1/2 <pub1/3 split", 0, 0 },
		{ "<pub1/1 <pub1/2 <pub1/3 split join", 8, 8 },
		{ ">sub/1(abcdefgh:01)", 11, 64 },
		{ ">sub/1(abcdefgh:01) <suback/1(01)", 11, 32 },
		{ ">sub/1(abcdefgh:01) <suback/1(01) >unsub/1(abcdefgh) <unsuback/1", 0, 0 },
		{ ">sub/1(abcdefgh:01) <suback/1(80)", 0, 0 },
		{ ">sub/1(abcdefgh:01) final", 0, 0 },
	};
	struct mqt_session *empty = mqt_session_create();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig rig = rig_start(4, 9, 9);
		size_t bytes;

		run(&rig, check_row = rows[i].script);
		bytes = bytes_of(rig.session) - bytes_of(empty);
		CHECK(bytes >= rows[i].least && bytes <= rows[i].most);
		rig_end(&rig);
	}
	CHECK(bytes_of(empty) <= 256);
	mqt_session_destroy(empty);
}

/* Without memory nothing breaks: what is not kept is counted. */
static void
test_refused_memory_is_counted(void)
{
	static const struct {
		const char *before, *script, *want;
	} rows[] = {
		{ "", ">sub/1(a:01,b:01)", "| | | 0 | 2 0" },
		{ ">sub/1(a:01,b:01)", "<suback/1(01,01)", "b:1 | | | 0 | 1 0" },
		{ ">sub/1(a:01) <suback/1(01)", ">unsub/2(a)", "a:1 | | | 0 | 1 0" },
		{ ">pub1/1 >pub1/2", ">pub1/3", "| 1p 2p | | 0 | 0 1" },
		{ "<pub1/1 <pub1/2 <pub1/3 <pub1/4 <pub1/5 <pub1/6 <pub1/7 <pub1/8", "<pub1/9",
				"| | 1p 2p 3p 4p 5p 6p 7p 8p | 0 | 0 1" },
		{ "<pub1/1", "split", "| | 1p | 0 | 0 0" },
		{ "<pub1/1 <pub1/2 split join <pub1/3 <pub1/4 <pub1/5 split", "join",
				"| | | 2 | 0 3" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned n_before = alloc.n_live;
		struct rig rig = rig_start(4, 9, 30);

		run(&rig, rows[i].before);
		alloc.refuse_in = 0;
		run_word(&rig, check_row = rows[i].script);
		CHECK_EQ(alloc.refuse_in, -1);
		CHECK_STR(dump(rig.session), rows[i].want);
		rig_end(&rig);
		CHECK_EQ(alloc.n_live, n_before);
	}
	alloc.refuse_in = 0;
	CHECK(mqt_session_create() == NULL);
}

static void
test_a_copy_is_whole_or_none(void)
{
	struct rig rig = rig_start(4, 9, 9);
	struct mqt_session *copy = NULL;
	int n;

	check_row = "";
	run(&rig,
			">sub/1(a:01) <suback/1(01) <pub1/1 split join >sub/2(b:01) >sub/3(c:01) "
			">pub1/1 >pub1/2 >pub1/3 <pub1/4 <pub1/5 <pub1/6");
	for (n = 0; copy == NULL && n < 20; n++) {
		unsigned n_live = alloc.n_live;

		alloc.refuse_in = n;
		copy = mqt_session_clone(rig.session);
		CHECK_EQ(alloc.n_live - n_live, copy != NULL ? 7 : 0);
	}
	alloc.refuse_in = -1;
	CHECK_EQ(n, 8); /* session, block, two requests, two directions, pendings; then none */
	mqt_session_destroy(copy);
	rig_end(&rig);
}

/* Requests of the greatest length, one after the other. */
static void
test_waiting_requests_are_bounded_in_bytes(void)
{
	const struct mqt_session_limits limits = { 1000, 9, 65536 };
	struct mqt_session *session = mqt_session_create();
	uint8_t body[2 + 2 + 16000 + 1] = { 0, 0, 16000 >> 8, 16000 & 0xff };
	struct mqt_mqtt_packet packet = { .type = MQT_MQTT_SUBSCRIBE,
		.body = { body, sizeof(body) } };
	unsigned n_missed = 0;

	check_row = "";
	memset(body + 4, 'x', 16000);
	for (packet.packet_id = 1; packet.packet_id <= 10; packet.packet_id++)
		n_missed += mqt_session_apply(
				session, &limits, MQT_SESSION_FROM_CLIENT, 4, &packet);
	CHECK_EQ(n_missed, 6);
	CHECK(bytes_of(session) < 66000);
	mqt_session_destroy(session);
}

static void
test_the_longest_request_is_kept(void)
{
	const struct mqt_session_limits limits = { 2, 9, 1 << 20 };
	struct mqt_session *session = mqt_session_create();
	uint32_t len = 2 + 2 * (2 + 65535 + 1);
	uint8_t *body = calloc(1, len);
	struct mqt_mqtt_packet packet = {
		.type = MQT_MQTT_SUBSCRIBE, .packet_id = 1, .body = { body, len }
	};
	struct mqt_bytes filter;
	uint8_t qos;

	check_row = "";
	memset(body + 2, 0xff, len - 2);
	body[2 + 2 + 65535 + 1 + 2] = 'y'; /* the second filter begins otherwise */
	CHECK_EQ(mqt_session_apply(session, &limits, MQT_SESSION_FROM_CLIENT, 4, &packet), 0);
	packet.type = MQT_MQTT_SUBACK;
	packet.body = (struct mqt_bytes){ (const uint8_t[]){ 0, 1, 1, 2 }, 4 };
	CHECK_EQ(mqt_session_apply(session, &limits, MQT_SESSION_TO_CLIENT, 4, &packet), 0);
	CHECK(mqt_session_filter(session, 1, &filter, &qos));
	CHECK_EQ(filter.len, 65535);
	CHECK_EQ(filter.ptr[0], 'y');
	CHECK_EQ(filter.ptr[65534], 0xff);
	CHECK_EQ(qos, 2);
	CHECK(!mqt_session_filter(session, 2, &filter, &qos));
	free(body);
	mqt_session_destroy(session);
}

/* Each packet id in flight, taken over again and again. */
static void
test_all_packet_ids_may_be_pending(void)
{
	const struct mqt_session_limits limits = { 0, UINT32_MAX, 0 };
	struct mqt_session *session = mqt_session_create();
	struct mqt_session_counts counts;

	check_row = "";
	for (int round = 0; round < 2; round++) {
		for (uint32_t id = 65535; id > 0; id -= round ? 5 : 1) {
			struct mqt_mqtt_packet packet = {
				.type = MQT_MQTT_PUBLISH, .qos = 1, .packet_id = (uint16_t)id
			};

			/* without the search in what is known, which would take a while */
			if (id % 5 != 0 && id > 1000)
				continue;
			mqt_session_apply(session, &limits, MQT_SESSION_TO_CLIENT, 4, &packet);
		}
		mqt_session_join_pendings(session, mqt_session_split_pendings(session));
		mqt_session_counts(session, &counts);
		CHECK_EQ(counts.pendings, 1000 + 64535 / 5);
		CHECK_EQ(counts.inflight[MQT_SESSION_TO_CLIENT], 0);
	}
	mqt_session_destroy(session);
}

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, test_##name                                                                 \
	}

static CU_TestInfo session_tests[] = {
	TEST(inflight_follows_its_table),
	TEST(subscriptions_follow_their_table),
	TEST(pendings_follow_their_table),
	TEST(split_pendings_are_in_order_of_publication),
	TEST(only_some_packets_want_a_session),
	TEST(final_is_kept_and_copied),
	TEST(a_copy_is_deep),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo memory_tests[] = {
	TEST(empty_parts_take_no_memory),
	TEST(bytes_count_each_part),
	TEST(refused_memory_is_counted),
	TEST(a_copy_is_whole_or_none),
	TEST(waiting_requests_are_bounded_in_bytes),
	TEST(the_longest_request_is_kept),
	TEST(all_packet_ids_may_be_pending),
	CU_TEST_INFO_NULL,
};

int
main(void)
{
	CU_SuiteInfo suites[] = {
		{ .pName = "session", .pTests = session_tests },
		{ .pName = "session memory", .pTests = memory_tests },
		CU_SUITE_INFO_NULL,
	};

	return check_run(suites);
}
