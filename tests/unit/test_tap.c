/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The tap. A row is a stream in hexadecimal and what is reported of it, as text; each is fed
 * whole, cut at every pair of bytes and byte by byte, each piece in an allocation of its size, and
 * must give the same reports, and the same framing as the plain cursor.
 */

#include "alloc.h"
#include "check.h"
#include "hex.h"
#include "mqtrack/mqtt.h"

#define MAX_BODY 16

struct reports {
	char text[1024];
	size_t len;
};

static const char *const type_names[16] = { "0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK",
	"PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ",
	"PINGRESP", "DISCONNECT", "AUTH" };

static void
on_packet(void *arg, const struct mqt_mqtt_packet *packet)
{
	struct reports *r = arg;

#define ADD(...) r->len += (size_t)snprintf(r->text + r->len, sizeof(r->text) - r->len, __VA_ARGS__)
	ADD("%s%s.%x", r->len ? ", " : "", type_names[packet->type & 15], packet->flags);
	if (packet->qos > 0)
		ADD(" q%u", packet->qos);
	if (packet->packet_id != 0)
		ADD(" #%u", packet->packet_id);
	if (packet->reason != 0)
		ADD(" r%02x", packet->reason);
	if (packet->oversize)
		ADD(" long");
	if (packet->body.len > 0)
		ADD(" ");
	for (uint32_t i = 0; i < packet->body.len; i++)
		ADD("%02x", packet->body.ptr[i]);
#undef ADD
}

struct rig {
	struct mqt_mqtt_tap tap;
	struct mqt_mqtt_seen seen;
	struct reports reports;
	uint8_t version;
	uint32_t max_body;
	bool ok;
};

static void
feed(struct rig *rig, const uint8_t *data, size_t len)
{
	uint8_t *copy = __real_malloc(len ? len : 1);

	memcpy(copy, data, len);
	rig->ok = mqt_mqtt_tap_feed(&rig->tap, copy, len, rig->version, rig->max_body, &rig->seen,
			on_packet, &rig->reports);
	__real_free(copy);
}

static struct rig
rig_start(uint8_t version)
{
	return (struct rig){ .version = version, .max_body = MAX_BODY };
}

static void
rig_end(struct rig *rig)
{
	static const struct mqt_mqtt_tap zeroed;

	mqt_mqtt_tap_fini(&rig->tap);
	CHECK_MEM(&rig->tap, &zeroed, sizeof(zeroed));
	CHECK_EQ(alloc.n_live, 0);
}

struct row {
	const char *name;
	const char *stream;
	const char *want; /* in 3.x, and in 5.0 too where want_5 is NULL */
	const char *want_5;
};

/* What is reported, and that the framing is that of the plain cursor. Ends the rig. */
static void
check_result(struct rig *rig, const uint8_t *stream, size_t len, const char *want)
{
	struct mqt_mqtt_cursor cursor = { 0 };
	struct mqt_mqtt_seen seen = { 0 };
	bool ok = mqt_mqtt_cursor_feed(&cursor, stream, len, &seen);

	CHECK_STR(rig->reports.text, want);
	CHECK_EQ(rig->ok, ok);
	CHECK_MEM(&rig->tap.cursor, &cursor, sizeof(cursor));
	CHECK_MEM(&rig->seen, &seen, sizeof(seen));
	rig_end(rig);
}

static void
run_row(const struct row *row, uint8_t version)
{
	const char *want = version == 5 && row->want_5 != NULL ? row->want_5 : row->want;
	struct rig whole = rig_start(version), single = rig_start(version);
	uint8_t stream[256];
	size_t len = hex(stream, row->stream);

	check_row = row->name;
	feed(&whole, stream, len);
	CHECK_EQ(alloc.n_taken, whole.tap.part != NULL);
	check_result(&whole, stream, len, want);
	single.ok = true;
	for (size_t i = 0; i < len; i++)
		feed(&single, stream + i, 1);
	check_result(&single, stream, len, want);
	for (size_t a = 0; a <= len; a++) {
		for (size_t b = a; b <= len; b++) {
			struct rig cut = rig_start(version);

			feed(&cut, stream, a);
			feed(&cut, stream + a, b - a);
			feed(&cut, stream + b, len - b);
			check_result(&cut, stream, len, want);
		}
	}
	alloc.n_taken = 0;
}

/* Only bodies that are reported are kept, so a stream that is whole takes no memory at all. */
static void
test_streams_are_reported_as_their_table_says(void)
{
	static const struct row rows[] = {
		{ "nothing", "", "", NULL },
		{ "of no interest", "c000 d000 3003000174 2002 0000 f000 100100", "", NULL },
		{ "PUBLISH QoS 0 with what looks like an id", "3005000174 1234", "", NULL },
		{ "PUBLISH QoS 1", "32 07 000174 1234 6162", "PUBLISH.2 q1 #4660", NULL },
		{ "PUBLISH QoS 2", "34 07 000174 ff00 6162", "PUBLISH.4 q2 #65280", NULL },
		{ "PUBLISH repeated and retained", "3b05 000174 00ff 3d05 000174 00fe",
				"PUBLISH.b q1 #255, PUBLISH.d q2 #254", NULL },
		{ "PUBLISH without payload", "3205 000174 0001", "PUBLISH.2 q1 #1", NULL },
		{ "PUBLISH without topic", "3205 0000 0203 00", "PUBLISH.2 q1 #515", NULL },
		{ "PUBLISH without topic and payload", "3204 0000 0203", "PUBLISH.2 q1 #515",
				NULL },
		{ "PUBLISH with id 0", "3205 000174 0000", "", NULL },
		{ "PUBLISH too short for a topic", "3200 3201 00 3202 0000 3203 000000 c000", "",
				NULL },
		{ "PUBLISH with a topic beyond the packet", "3206 0004 74747474 c000", "", NULL },
		{ "PUBLISH with the id at the end of the packet and beyond",
				"3206 0003 747474 01 3206 0002 7474 0102", "PUBLISH.2 q1 #258",
				NULL },
		{ "PUBLISH with the longest topic length", "3206 ffff 74747474 c000", "", NULL },
		{ "PUBLISH longer than the longest body",
				"3216 000c 747474747474747474747474 0007 000000000000",
				"PUBLISH.2 q1 #7", NULL },
		{ "acknowledgements", "4002 0001 5002 0102 6202 0003 7002 0004",
				"PUBACK.0 #1, PUBREC.0 #258, PUBREL.2 #3, PUBCOMP.0 #4", NULL },
		{ "with reason codes", "4003 000180 5003 000210 6203 000392 7003 000492",
				"PUBACK.0 #1, PUBREC.0 #2, PUBREL.2 #3, PUBCOMP.0 #4",
				"PUBACK.0 #1 r80, PUBREC.0 #2 r10, PUBREL.2 #3 r92, PUBCOMP.0 #4 "
				"r92" },
		{ "with properties", "4008 000187 04 1f000178 4004 00028700",
				"PUBACK.0 #1, PUBACK.0 #2", "PUBACK.0 #1 r87, PUBACK.0 #2 r87" },
		{ "without an id, with id 0", "4000 5001 01 6202 0000 7003 000010", "", NULL },
		{ "PUBREL repeated as in 3.1", "6a02 0001", "PUBREL.a #1", NULL },
		{ "SUBSCRIBE", "8206 0001 0001 61 01", "SUBSCRIBE.2 #1 000100016101", NULL },
		{ "SUBACK", "9004 0001 0102", "SUBACK.0 #1 00010102", NULL },
		{ "UNSUBSCRIBE", "a205 0102 0001 61", "UNSUBSCRIBE.2 #258 0102000161", NULL },
		{ "UNSUBACK", "b002 0001 b003 000211", "UNSUBACK.0 #1 0001, UNSUBACK.0 #2 000211",
				NULL },
		{ "id 0 or none", "8206 0000 0001 61 01 9000 a201 01 b002 0000", "", NULL },
		{ "DISCONNECT", "e000", "DISCONNECT.0", NULL },
		{ "DISCONNECT with a reason", "e001 04 e002 8e00",
				"DISCONNECT.0 04, DISCONNECT.0 8e00",
				"DISCONNECT.0 r04 04, DISCONNECT.0 r8e 8e00" },
		{ "DISCONNECT that looks like it had an id", "e007 00 05 1100000e10",
				"DISCONNECT.0 00051100000e10", NULL },
		{ "the longest body", "8210 0001 000b 61626364656667686970 71 01",
				"SUBSCRIBE.2 #1 0001000b616263646566676869707101", NULL },
		{ "a longer body", "8211 0001 000c 6162636465666768697071 72 01 c000",
				"SUBSCRIBE.2 #1 long", NULL },
		{ "a longer body without an id", "8211 0000 000c 6162636465666768697071 72 01", "",
				NULL },
		{ "a longer body of each kind",
				"9011 0001000000000000000000000000000000 "
				"a211 0002000000000000000000000000000000 "
				"b011 0003000000000000000000000000000000 "
				"e011 8200000000000000000000000000000000",
				"SUBACK.0 #1 long, UNSUBSCRIBE.2 #2 long, UNSUBACK.0 #3 long, "
				"DISCONNECT.0 long",
				"SUBACK.0 #1 long, UNSUBSCRIBE.2 #2 long, UNSUBACK.0 #3 long, "
				"DISCONNECT.0 r82 long" },
		{ "long, then short, then long",
				"8211 0001 000000000000000000000000000000 8203 000200 "
				"8211 0003 000000000000000000000000000000",
				"SUBSCRIBE.2 #1 long, SUBSCRIBE.2 #2 000200, SUBSCRIBE.2 #3 long",
				NULL },
		{ "nothing of a packet is left for the next", "32ff00 02 ffff c000", "", NULL },
		{ "fields begin empty",
				"4003 ffffff 4002 0001 3205 000174 ffff 3205 000174 0001 "
				"e001 ff e000 7002 0002",
				"PUBACK.0 #65535, PUBACK.0 #1, PUBLISH.2 q1 #65535, "
				"PUBLISH.2 q1 #1, DISCONNECT.0 ff, DISCONNECT.0, PUBCOMP.0 #2",
				"PUBACK.0 #65535 rff, PUBACK.0 #1, PUBLISH.2 q1 #65535, "
				"PUBLISH.2 q1 #1, DISCONNECT.0 rff ff, DISCONNECT.0, PUBCOMP.0 "
				"#2" },
		{ "lengths longer than they need", "c08000 e08000 40828000 0001",
				"DISCONNECT.0, PUBACK.0 #1", NULL },
		{ "not complete", "4002 0001 8206 0001 0001 61", "PUBACK.0 #1", NULL },
		{ "in the middle of a long body", "4002 0001 8211 0001 0001 61", "PUBACK.0 #1",
				NULL },
		{ "broken behind a packet", "4002 0001 36 4002 0002", "PUBACK.0 #1", NULL },
		{ "broken length", "4002 0001 40ffffffff 01 0002", "PUBACK.0 #1", NULL },
		{ "broken at once", "00 4002 0001", "", NULL },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (uint8_t version = 3; version <= 5; version++)
			run_row(&rows[i], version);
}

static void
test_only_bodies_that_are_cut_take_memory(void)
{
	static const struct {
		const char *stream;
		unsigned n_taken; /* fed byte by byte */
	} rows[] = {
		{ "3210 000174 0001 0000000000000000000000", 0 },
		{ "4003 000180", 0 },
		{ "c000 e000 3003 000174", 0 },
		{ "8206 0001 0001 61 01", 1 },
		{ "9003 000101 b002 0001 e001 04 e000", 2 }, /* a body of one byte is never cut */
		{ "8211 0001 000c 6162636465666768697071 72 01", 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig rig = rig_start(5);
		uint8_t stream[64];
		size_t len = hex(stream, check_row = rows[i].stream);

		alloc.n_taken = 0;
		for (size_t n = 0; n < len; n++)
			feed(&rig, stream + n, 1);
		CHECK_EQ(alloc.n_taken, rows[i].n_taken);
		CHECK_EQ(alloc.n_live, 0);
		CHECK(mqt_mqtt_cursor_at_boundary(&rig.tap.cursor));
		rig_end(&rig);
	}
	alloc.n_taken = 0;
}

static void
test_no_memory_is_reported_as_oversize(void)
{
	struct rig rig = rig_start(4);
	uint8_t stream[64];
	size_t len = hex(stream, check_row = "8206 0001 0001 61 01 9003 000101 e001 04");

	alloc.refuse_in = 0;
	for (size_t n = 0; n < len; n++)
		feed(&rig, stream + n, 1);
	CHECK_STR(rig.reports.text, "SUBSCRIBE.2 #1 long, SUBACK.0 #1 000101, DISCONNECT.0 04");
	CHECK_EQ(alloc.refuse_in, -1);
	rig_end(&rig);
	alloc.n_taken = 0;
}

static void
test_fini_gives_back_what_is_being_collected(void)
{
	struct rig rig = rig_start(4);
	uint8_t stream[64];
	size_t len = hex(stream, "8206 0001 0001 61");

	check_row = "";
	feed(&rig, stream, len);
	CHECK_EQ(alloc.n_live, 1);
	rig_end(&rig);
	feed(&rig, (const uint8_t[]){ 0x40, 2, 0, 1 }, 4);
	CHECK_STR(rig.reports.text, "PUBACK.0 #1");
	rig_end(&rig);
	alloc.n_taken = 0;
}

/* The longest packet there is: only its first bytes are looked at. */
static void
test_a_payload_is_never_looked_at(void)
{
	static const uint8_t head[] = { 0x32, 0xff, 0xff, 0xff, 0x7f, 0, 1, 't', 0x12, 0x34 };
	const uint8_t *nowhere = (const uint8_t *)4096;
	uint32_t left = MQT_MQTT_REMAINING_MAX - 5;
	struct rig rig = rig_start(5);

	check_row = "";
	feed(&rig, head, sizeof(head));
	for (uint32_t n; left > 0; left -= n) {
		n = left < 1448 ? left : 1448;
		rig.ok = mqt_mqtt_tap_feed(&rig.tap, nowhere, n, 5, MAX_BODY, &rig.seen, on_packet,
				&rig.reports);
		CHECK_EQ(rig.reports.len > 0, n == left);
	}
	CHECK_STR(rig.reports.text, "PUBLISH.2 q1 #4660");
	CHECK_EQ(alloc.n_taken, 0);
	rig_end(&rig);
}

/* What comes behind the bytes that were not seen is read as if they had been there. */
static void
test_only_bytes_of_no_interest_can_be_skipped(void)
{
	static const struct {
		const char *before;
		uint32_t n;
		bool skipped;
		const char *behind, *want;
	} rows[] = {
		{ "", 1, false, "4002 0001", "PUBACK.0 #1" },
		{ "40", 1, false, "02 0001", "PUBACK.0 #1" },
		{ "4002 00", 1, false, "01", "PUBACK.0 #1" },
		{ "4008 0001 10 04", 2, false, "00000000", "PUBACK.0 #1 r10" },
		{ "8206 0001 00", 1, false, "01 61 01", "SUBSCRIBE.2 #1 000100016101" },
		{ "8207 0001 0002 61", 1, false, "62 01", "SUBSCRIBE.2 #1 00010002616201" },
		{ "8211 0001 00", 10, false, "0c 6162636465666768697071 72 01",
				"SUBSCRIBE.2 #1 long" },
		{ "e005 00 03", 1, false, "260000", "DISCONNECT.0 0003260000" },
		{ "3208", 4, false, "0001 74 0102 000000", "PUBLISH.2 q1 #258" },
		{ "3208 00", 4, false, "01 74 0102 000000", "PUBLISH.2 q1 #258" },
		{ "3208 0001", 4, false, "74 0102 000000", "PUBLISH.2 q1 #258" },
		{ "3208 0001 74 01", 3, false, "02 000000", "PUBLISH.2 q1 #258" },
		{ "3208 0001 74 0102", 3, false, "000000", "PUBLISH.2 q1 #258" },
		{ "3208 0001 74 0102", 2, true, "00", "PUBLISH.2 q1 #258" },
		{ "3208 0001 74 0102", 1, true, "0000 4002 0001",
				"PUBLISH.2 q1 #258, PUBACK.0 #1" },
		{ "3208 0001 74 0102", 0, true, "000000", "PUBLISH.2 q1 #258" },
		{ "3206 0004 7474", 1, false, "7474", "" },
		{ "3008", 7, true, "00 4002 0001", "PUBACK.0 #1" },
		{ "3008", 8, false, "0001 74 0000000000 4002 0001", "PUBACK.0 #1" },
		{ "1010 0004", 13, true, "00 4002 0001", "PUBACK.0 #1" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig rig = rig_start(5);
		uint8_t bytes[64];
		size_t len = hex(bytes, check_row = rows[i].before);

		feed(&rig, bytes, len);
		CHECK_EQ(mqt_mqtt_tap_skip(&rig.tap, rows[i].n), rows[i].skipped);
		len = hex(bytes, check_row = rows[i].behind);
		feed(&rig, bytes, len);
		CHECK(rig.ok && mqt_mqtt_cursor_at_boundary(&rig.tap.cursor));
		CHECK_STR(rig.reports.text, rows[i].want);
		rig_end(&rig);
	}
	alloc.n_taken = 0;
}

static void
test_disconnect_expiry_follows_its_table(void)
{
	static const struct {
		const char *body;
		bool found;
		uint32_t expiry_sec;
	} rows[] = {
		{ "", false, 0 },
		{ "00", false, 0 },
		{ "0000", false, 0 },
		{ "0005 1100000e10", true, 3600 },
		{ "0405 1101020304", true, 0x01020304 },
		{ "0005 1100000000", true, 0 },
		{ "0005 11ffffffff", true, UINT32_MAX },
		{ "000e 1f000178 2600016b0001 76", false, 0 }, /* ends early */
		{ "000b 1f000178 2600016b000176", false, 0 },
		{ "0010 1f000178 2600016b000176 110000000a", true, 10 },
		{ "0009 110000000a 1c000178", true, 10 },
		{ "000a 110000000a 110000000a", false, 0 }, /* twice */
		{ "0005 11000000", false, 0 },
		{ "0004 11000000", false, 0 },
		{ "0005 110000000a 00", false, 0 }, /* bytes left */
		{ "0005 120000000a", false, 0 },    /* not of a DISCONNECT */
		{ "0080 05 110000000a", false, 0 }, /* length beyond the packet */
		{ "008500 110000000a", true, 10 },  /* length longer than it needs */
		{ "0003 210001", false, 0 },        /* receive maximum */
		{ "0080808080 00", false, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t bytes[64];
		size_t len = hex(bytes, check_row = rows[i].body);
		uint8_t *copy = __real_malloc(len ? len : 1);
		uint32_t expiry_sec = 77;

		memcpy(copy, bytes, len);
		CHECK_EQ(mqt_mqtt_disconnect_expiry(
					 (struct mqt_bytes){ len ? copy : NULL, (uint32_t)len },
					 &expiry_sec),
				rows[i].found);
		CHECK_EQ(expiry_sec, rows[i].found ? rows[i].expiry_sec : 77);
		__real_free(copy);
	}
}

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, test_##name                                                                 \
	}

/* The framing of frequent packets, taken in one step, is that of the cursor byte by byte. */
static void
test_frequent_packets_of_each_length_are_framed(void)
{
	static const uint8_t firsts[] = { 0x30, 0x31, 0x38, 0x32, 0xc0, 0xd0, 0xe0 };
	static const size_t lens[] = { 0, 1, 2, 3, 125, 126, 127, 128, 129, 255, 256, 300, 16383,
		16384 };
	static const uint8_t behind[] = { 0xc0, 0, 0x30, 3, 0, 1, 't', 0xd0, 0, 0xc0 };
	static uint8_t stream[16384 + 32];

	check_row = "";
	for (size_t f = 0; f < sizeof(firsts); f++) {
		for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
			struct mqt_mqtt_cursor cursor = { 0 };
			struct mqt_mqtt_seen seen = { 0 };
			size_t len = 0, body = lens[i];

			stream[len++] = firsts[f];
			do {
				stream[len++] = (uint8_t)(body & 0x7f) | (body > 0x7f ? 0x80 : 0);
				body >>= 7;
			} while (body > 0);
			memset(stream + len, 0xc0, lens[i]);
			len += lens[i];
			memcpy(stream + len, behind, sizeof(behind));
			len += sizeof(behind);
			for (size_t at = 0; at < len; at++)
				CHECK(mqt_mqtt_cursor_feed(&cursor, stream + at, 1, &seen));
			for (size_t cut = 0; cut <= len;
					cut += cut < 8 || cut + 12 > len ? 1 : 61) {
				struct rig rig = rig_start(4);

				feed(&rig, stream, cut);
				feed(&rig, stream + cut, len - cut);
				CHECK(rig.ok);
				CHECK_MEM(&rig.tap.cursor, &cursor, sizeof(cursor));
				CHECK_MEM(&rig.seen, &seen, sizeof(seen));
				rig_end(&rig);
			}
		}
	}
}

static CU_TestInfo tap_tests[] = {
	TEST(streams_are_reported_as_their_table_says),
	TEST(only_bodies_that_are_cut_take_memory),
	TEST(no_memory_is_reported_as_oversize),
	TEST(fini_gives_back_what_is_being_collected),
	TEST(a_payload_is_never_looked_at),
	TEST(only_bytes_of_no_interest_can_be_skipped),
	TEST(frequent_packets_of_each_length_are_framed),
	TEST(disconnect_expiry_follows_its_table),
	CU_TEST_INFO_NULL,
};

int
main(void)
{
	CU_SuiteInfo suites[] = {
		{ .pName = "mqtt tap", .pTests = tap_tests },
		CU_SUITE_INFO_NULL,
	};

	return check_run(suites);
}
