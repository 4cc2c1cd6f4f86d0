/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * WebSocket: heads and frames. A row of frames is a stream in hexadecimal and what is in it, as
 * text; each is fed whole, cut at every byte and byte by byte, each piece in an allocation of its
 * size, and must give the same.
 */

#include "check.h"
#include "hex.h"
#include "mqtrack/ws.h"

#include <stdlib.h>

/* --- heads ------------------------------------------------------------------------------------- */

#define GET       "GET /mqtt HTTP/1.1\r\n"
#define HOST      "Host: broker.example\r\n"
#define UPGRADE   "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13       "Sec-WebSocket-Version: 13\r\n"
#define PROTOCOL  "Sec-WebSocket-Protocol: mqtt\r\n"
#define END       "\r\n"
#define SWITCHING "HTTP/1.1 101 Switching Protocols\r\n"
#define ACCEPT    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

static const struct head {
	const char *name;
	bool is_request;
	const char *text;
	enum mqt_ws_error want;
} heads[] = {
	{ "request", true, GET HOST UPGRADE KEY V13 PROTOCOL END, MQT_WS_E_NONE },
	{ "other order, other case, spaces", true,
			GET
			"sec-websocket-protocol:mqtt \r\nSEC-WEBSOCKET-VERSION:\t13\r\n" KEY HOST
			"connection: keep-alive , upgrade\r\nUPGRADE:h2c, WebSocket\r\n" END,
			MQT_WS_E_NONE },
	{ "old subprotocol", true, GET UPGRADE KEY V13 "Sec-WebSocket-Protocol: x,mqttv3.1\r\n" END,
			MQT_WS_E_NONE },
	{ "subprotocols in two fields", true,
			GET UPGRADE KEY V13 "Sec-WebSocket-Protocol: x\r\n" PROTOCOL END,
			MQT_WS_E_NONE },
	{ "deflate offered", true,
			GET UPGRADE KEY V13 PROTOCOL
			"Sec-WebSocket-Extensions: permessage-deflate\r\n" END,
			MQT_WS_E_NONE },
	{ "length 0", true, GET UPGRADE KEY V13 PROTOCOL "Content-Length: 0\r\n" END,
			MQT_WS_E_NONE },
	{ "no subprotocol", true, GET UPGRADE KEY V13 END, MQT_WS_E_SUBPROTOCOL },
	{ "another subprotocol", true, GET UPGRADE KEY V13 "Sec-WebSocket-Protocol: mqtts\r\n" END,
			MQT_WS_E_SUBPROTOCOL },
	{ "POST", true, "POST / HTTP/1.1\r\n" UPGRADE KEY V13 PROTOCOL END, MQT_WS_E_UPGRADE },
	{ "get", true, "get / HTTP/1.1\r\n" UPGRADE KEY V13 PROTOCOL END, MQT_WS_E_UPGRADE },
	{ "HTTP/1.0", true, "GET / HTTP/1.0\r\n" UPGRADE KEY V13 PROTOCOL END, MQT_WS_E_HTTP },
	{ "no target", true, "GET HTTP/1.1\r\n" UPGRADE KEY V13 PROTOCOL END, MQT_WS_E_HTTP },
	{ "two spaces", true, "GET  / HTTP/1.1\r\n" UPGRADE KEY V13 PROTOCOL END, MQT_WS_E_HTTP },
	{ "plain request", true, GET HOST END, MQT_WS_E_UPGRADE },
	{ "no Connection", true, GET "Upgrade: websocket\r\n" KEY V13 PROTOCOL END,
			MQT_WS_E_UPGRADE },
	{ "Connection: Upgraded", true,
			GET "Upgrade: websocket\r\nConnection: Upgraded\r\n" KEY V13 PROTOCOL END,
			MQT_WS_E_UPGRADE },
	{ "no key", true, GET UPGRADE V13 PROTOCOL END, MQT_WS_E_UPGRADE },
	{ "empty key", true, GET UPGRADE "Sec-WebSocket-Key: \r\n" V13 PROTOCOL END,
			MQT_WS_E_UPGRADE },
	{ "two keys", true, GET UPGRADE KEY KEY V13 PROTOCOL END, MQT_WS_E_UPGRADE },
	{ "version 8", true, GET UPGRADE KEY "Sec-WebSocket-Version: 8\r\n" PROTOCOL END,
			MQT_WS_E_UPGRADE },
	{ "two versions", true, GET UPGRADE KEY "Sec-WebSocket-Version: 8\r\n" V13 PROTOCOL END,
			MQT_WS_E_UPGRADE },
	{ "body", true, GET UPGRADE KEY V13 PROTOCOL "Content-Length: 4\r\n" END, MQT_WS_E_HTTP },
	{ "chunked", true, GET UPGRADE KEY V13 PROTOCOL "Transfer-Encoding: chunked\r\n" END,
			MQT_WS_E_HTTP },
	{ "no colon", true, GET UPGRADE "nonsense\r\n" KEY V13 PROTOCOL END, MQT_WS_E_HTTP },
	{ "space before the colon", true, GET "Host : x\r\n" UPGRADE KEY V13 PROTOCOL END,
			MQT_WS_E_HTTP },
	{ "name missing", true, GET ": x\r\n" UPGRADE KEY V13 PROTOCOL END, MQT_WS_E_HTTP },

	{ "response", false, SWITCHING UPGRADE ACCEPT PROTOCOL END, MQT_WS_E_NONE },
	{ "no reason phrase", false, "HTTP/1.1 101\r\n" UPGRADE ACCEPT PROTOCOL END,
			MQT_WS_E_NONE },
	{ "old subprotocol granted", false,
			SWITCHING UPGRADE ACCEPT "Sec-WebSocket-Protocol: mqttv3.1\r\n" END,
			MQT_WS_E_NONE },
	{ "empty extensions", false,
			SWITCHING UPGRADE ACCEPT PROTOCOL "Sec-WebSocket-Extensions: , \r\n" END,
			MQT_WS_E_NONE },
	{ "deflate granted", false,
			SWITCHING UPGRADE ACCEPT PROTOCOL
			"Sec-WebSocket-Extensions: permessage-deflate; "
			"server_no_context_takeover\r\n" END,
			MQT_WS_E_EXTENSION },
	{ "no subprotocol granted", false, SWITCHING UPGRADE ACCEPT END, MQT_WS_E_SUBPROTOCOL },
	{ "two subprotocols granted", false, SWITCHING UPGRADE ACCEPT PROTOCOL PROTOCOL END,
			MQT_WS_E_SUBPROTOCOL },
	{ "not found", false, "HTTP/1.1 404 Not Found\r\n" UPGRADE ACCEPT PROTOCOL END,
			MQT_WS_E_UPGRADE },
	{ "no Accept", false, SWITCHING UPGRADE PROTOCOL END, MQT_WS_E_UPGRADE },
	{ "no Upgrade", false, SWITCHING "Connection: Upgrade\r\n" ACCEPT PROTOCOL END,
			MQT_WS_E_UPGRADE },
	{ "response of 1.0", false, "HTTP/1.0 101 x\r\n" UPGRADE ACCEPT PROTOCOL END,
			MQT_WS_E_HTTP },
};

#define N_OF(rows) (sizeof(rows) / sizeof((rows)[0]))

static void
test_heads_are_judged_as_their_table_says(void)
{
	for (size_t i = 0; i < N_OF(heads); i++) {
		size_t len = strlen(heads[i].text);
		uint8_t *copy = malloc(len);

		check_row = heads[i].name;
		memcpy(copy, heads[i].text, len);
		CHECK_EQ(heads[i].is_request ? mqt_ws_request_check(copy, len)
					     : mqt_ws_response_check(copy, len),
				heads[i].want);
		free(copy);
	}
}

/* Feeds a head in pieces of up to @p piece bytes; @p used of all of it. */
static enum mqt_parse
scan(const char *text, size_t len, size_t first, size_t piece, size_t *used)
{
	struct mqt_ws_scan s = { 0 };
	enum mqt_parse r = MQT_PARSE_MORE;
	size_t at = 0, n, taken = 0;

	for (; at < len && r == MQT_PARSE_MORE; at += taken) {
		uint8_t *copy;

		n = at == 0 ? first : piece;
		n = n < len - at ? n : len - at;
		copy = malloc(n);
		memcpy(copy, text + at, n);
		r = mqt_ws_scan_feed(&s, copy, n, &taken);
		free(copy);
	}
	*used = at;
	if (r == MQT_PARSE_OK)
		CHECK_EQ(s.len, at);
	return r;
}

static void
test_end_of_a_head_is_found_however_it_is_cut(void)
{
	size_t used;

	for (size_t i = 0; i < N_OF(heads); i++) {
		char text[1024];
		size_t head_len = strlen(heads[i].text);
		size_t len = (size_t)snprintf(
				text, sizeof(text), "%s\x82\x7f\r\n\r\n", heads[i].text);

		check_row = heads[i].name;
		CHECK_EQ(scan(text, len, len, 1, &used), MQT_PARSE_OK);
		CHECK_EQ(used, head_len);
		CHECK_EQ(scan(text, len, 1, 1, &used), MQT_PARSE_OK);
		CHECK_EQ(used, head_len);
		for (size_t cut = 1; cut < len; cut++) {
			CHECK_EQ(scan(text, len, cut, len, &used), MQT_PARSE_OK);
			CHECK_EQ(used, head_len);
		}
		CHECK_EQ(scan(text, head_len - 1, head_len, 1, &used), MQT_PARSE_MORE);
	}
}

static void
test_what_readers_take_differently_is_no_head(void)
{
	static const struct {
		const char *name, *text;
		size_t len;
	} rows[] = {
		{ "lone LF", "GET / HTTP/1.1\nHost: x\n\n", 0 },
		{ "lone CR", "GET / HTTP/1.1\rHost: x\r\n\r\n", 0 },
		{ "CR at the end", "GET / HTTP/1.1\r\n\rx", 0 },
		{ "folded", "GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", 0 },
		{ "folded by a tab", "GET / HTTP/1.1\r\nHost: x\r\n\ty\r\n\r\n", 0 },
		{ "NUL", "GET /\0 HTTP/1.1\r\n\r\n", 19 },
		{ "delete", "GET /\x7f HTTP/1.1\r\n\r\n", 0 },
		{ "CONNECT of MQTT", "\x10\x0c\0\4MQTT", 8 },
	};
	size_t used;

	for (size_t i = 0; i < N_OF(rows); i++) {
		size_t len = rows[i].len ? rows[i].len : strlen(rows[i].text);

		check_row = rows[i].name;
		CHECK_EQ(scan(rows[i].text, len, len, 1, &used), MQT_PARSE_BAD);
		CHECK_EQ(scan(rows[i].text, len, 1, 1, &used), MQT_PARSE_BAD);
	}
}

/* --- frames ------------------------------------------------------------------------------------ */

#define KEY1 "01020304"

static const struct stream {
	const char *name;
	bool masked;
	const char *hex;
	const char *want; /* payload of the binary messages, in hexadecimal */
	enum mqt_ws_error error;
	const char *where; /* b: at a boundary, m: in a message, c: closed */
} streams[] = {
	{ "nothing", false, "", "", 0, "b" },
	{ "a frame", false, "8202 c000", "c000", 0, "b" },
	{ "masked", true, "8282 " KEY1 " c102", "c000", 0, "b" },
	{ "masked over the key's end", true, "8286 " KEY1 " 0102030401 02", "000000000000", 0,
			"b" },
	{ "a length and key that look like a header", true, "8282 81020304 4102 8282 " KEY1 " c102",
			"c000c000", 0, "b" },
	{ "two frames, a packet in both", false, "8201 c0 8201 00", "c000", 0, "b" },
	{ "two packets in a frame", false, "8204 c000 d000", "c000d000", 0, "b" },
	{ "fragments", false, "0201 c0 0000 8001 00", "c000", 0, "b" },
	{ "fragments, a ping between", false, "0201 c0 8902 aabb 8001 00", "c000", 0, "b" },
	{ "masked fragments, a ping between", true,
			"0281 " KEY1 " c1 8981 " KEY1 " 55 8081 05060708 05", "c000", 0, "b" },
	{ "in a message", false, "0201 c0", "c0", 0, "bm" },
	{ "in a message behind a ping", false, "0201 c0 8900", "c0", 0, "bm" },
	{ "in a header", false, "82", "", 0, "" },
	{ "in a long header", false, "827e 00", "", 0, "" },
	{ "in a payload", false, "8203 c000", "c000", 0, "" },
	{ "empty frame", true, "8280 " KEY1, "", 0, "b" },
	{ "pong", false, "8a03 010203", "", 0, "b" },
	{ "close", false, "8802 03f0", "", 0, "bc" },
	{ "behind a close", false, "8802 03f0 8202 c000", "", 0, "bc" },
	{ "close in a message", false, "0201 c0 8800 ff", "c0", 0, "bmc" },
	{ "text", false, "8101 41", "", MQT_WS_E_TEXT, "" },
	{ "reserved opcode", false, "8300", "", MQT_WS_E_RESERVED, "" },
	{ "reserved control opcode", false, "8b00", "", MQT_WS_E_RESERVED, "" },
	{ "RSV1", false, "c202 c000", "", MQT_WS_E_RESERVED, "" },
	{ "RSV3", false, "9202 c000", "", MQT_WS_E_RESERVED, "" },
	{ "client without mask", true, "8202 c000", "", MQT_WS_E_MASK, "" },
	{ "server with mask", false, "8282 " KEY1 " c102", "", MQT_WS_E_MASK, "" },
	{ "continuation of nothing", false, "8001 c0", "", MQT_WS_E_FRAGMENT, "" },
	{ "message in a message", false, "0201 c0 8201 00", "c0", MQT_WS_E_FRAGMENT, "m" },
	{ "continuation of a whole one", false, "8201 c0 8001 00", "c0", MQT_WS_E_FRAGMENT, "" },
	{ "fragmented ping", false, "0900", "", MQT_WS_E_FRAGMENT, "" },
	{ "long ping", false, "897e 0080", "", MQT_WS_E_LENGTH, "" },
	{ "long ping, and more behind", true, "89fe 0080 00000000 c0000000", "", MQT_WS_E_LENGTH,
			"" },
	{ "longest ping, and more behind", true, "89ff 0080 00000000 c0000000", "", MQT_WS_E_LENGTH,
			"" },
	{ "16 bits for 125", false, "827e 007d", "", MQT_WS_E_LENGTH, "" },
	{ "16 bits for 1, and more behind", true, "82fe 0001 00000000 c0000000", "",
			MQT_WS_E_LENGTH, "" },
	{ "64 bits for 65535", false, "827f 000000000000ffff", "", MQT_WS_E_LENGTH, "" },
	{ "64 bits and all", false, "827f 8000000000000000", "", MQT_WS_E_LENGTH, "" },
	{ "longest length", false, "827f 7fffffffffffffff aabb", "aabb", 0, "" },
	{ "64 bits, masked", true, "82ff 0000000000010000 " KEY1 " 0102030400", "0000000001", 0,
			"" },
};

struct rig {
	struct mqt_ws_cursor cursor;
	uint8_t got[70000];
	size_t n_got;
};

static struct rig rig;

static void
rig_start(bool masked)
{
	mqt_ws_cursor_init(&rig.cursor, masked);
	rig.n_got = 0;
}

/* @return false: broken. */
static bool
feed(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct mqt_ws_piece piece;
	size_t at = 0;
	int64_t n = 0;

	memcpy(copy, data, len);
	while (at < len) {
		uint64_t payload = mqt_ws_cursor_payload(&rig.cursor);

		n = mqt_ws_cursor_next(&rig.cursor, copy + at, len - at, &piece);
		if (n < 0)
			break;
		CHECK(n > 0 && (size_t)n <= len - at);
		CHECK(payload == 0 || (uint64_t)n <= payload);
		CHECK(piece.len == 0 || piece.len == n);
		mqt_ws_unmask(rig.got + rig.n_got, piece.ptr ? piece.ptr : copy, piece.len,
				piece.key);
		rig.n_got += piece.len;
		at += (size_t)n;
	}
	free(copy);
	return n >= 0;
}

static void
check_stream(const struct stream *row)
{
	uint8_t want[64];
	size_t n_want = hex(want, row->want);

	CHECK_EQ(rig.cursor.error, row->error);
	CHECK_EQ(rig.n_got, n_want);
	CHECK_MEM(rig.got, want, n_want);
	if (row->error == MQT_WS_E_NONE)
		CHECK_EQ(mqt_ws_cursor_at_boundary(&rig.cursor), strchr(row->where, 'b') != NULL);
	CHECK_EQ(rig.cursor.in_message, strchr(row->where, 'm') != NULL);
	CHECK_EQ(rig.cursor.closed, strchr(row->where, 'c') != NULL);
}

static void
follow(const struct stream *row, const uint8_t *bytes, size_t len)
{
	rig_start(row->masked);
	CHECK_EQ(feed(bytes, len), row->error == MQT_WS_E_NONE);
	check_stream(row);
	for (size_t cut = 0; cut <= len; cut++) {
		rig_start(row->masked);
		feed(bytes, cut);
		feed(bytes + cut, len - cut);
		check_stream(row);
	}
	rig_start(row->masked);
	for (size_t at = 0; at < len; at++)
		feed(bytes + at, 1);
	check_stream(row);
}

static void
test_streams_are_followed_as_their_table_says(void)
{
	for (size_t i = 0; i < N_OF(streams); i++) {
		uint8_t bytes[64 + 16] = { 0 };
		size_t len = hex(bytes, streams[i].hex);

		check_row = streams[i].name;
		follow(&streams[i], bytes, len);
		if (streams[i].error != MQT_WS_E_NONE) /* wrong, whatever comes behind it */
			follow(&streams[i], bytes, len + 16);
	}
}

static void
test_lengths_of_each_form_round_trip(void)
{
	static const size_t lens[] = { 0, 1, 124, 125, 126, 127, 255, 256, 65535 };
	static uint8_t payload[65535], frame[65600];
	static const uint8_t key[4] = { 0x9a, 0, 0xff, 0x17 };

	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < N_OF(lens); i++) {
		for (unsigned masked = 0; masked < 2; masked++) {
			size_t n = mqt_ws_frame_encode(frame, sizeof(frame), MQT_WS_BINARY,
					masked ? key : NULL, payload, lens[i]);

			CHECK_EQ(n, lens[i] + (lens[i] > 125 ? 4 : 2) + (masked ? 4 : 0));
			CHECK_EQ(mqt_ws_frame_encode(frame, n - 1, MQT_WS_BINARY,
						 masked ? key : NULL, payload, lens[i]),
					0);
			for (size_t cut = 0; cut < 16 && cut <= n; cut++) { /* in the header too */
				rig_start(masked);
				CHECK(feed(frame, cut) && feed(frame + cut, n - cut));
				CHECK(mqt_ws_cursor_at_boundary(&rig.cursor));
				CHECK_EQ(rig.n_got, lens[i]);
				CHECK_MEM(rig.got, payload, lens[i]);
			}
		}
	}
	CHECK_EQ(mqt_ws_frame_encode(frame, sizeof(frame), MQT_WS_BINARY, NULL, payload, 65536), 0);
	CHECK_EQ(mqt_ws_frame_encode(frame, sizeof(frame), MQT_WS_PING, NULL, payload, 126), 0);
}

static void
test_disconnect_and_close_1008_round_trip(void)
{
	static const uint8_t key[4] = { 1, 2, 3, 4 };

	for (unsigned masked = 0; masked < 2; masked++) {
		uint8_t packet[16], frames[32], status[2];
		size_t len = mqt_mqtt_disconnect_encode(
				packet, sizeof(packet), 5, MQT_MQTT_RC_ADMINISTRATIVE);
		size_t n = mqt_ws_frame_encode(frames, sizeof(frames), MQT_WS_BINARY,
				masked ? key : NULL, packet, len);
		size_t close = mqt_ws_close_encode(frames + n, sizeof(frames) - n,
				masked ? key : NULL, MQT_WS_POLICY_VIOLATION);

		CHECK_EQ(close, masked ? 8 : 4);
		mqt_ws_unmask(status, frames + n + close - 2, 2,
				masked ? key : (const uint8_t[4]){ 0 });
		CHECK_EQ(status[0] << 8 | status[1], 1008);
		rig_start(masked);
		CHECK(feed(frames, n + close));
		CHECK_EQ(rig.n_got, len);
		CHECK_MEM(rig.got, packet, len);
		CHECK(rig.cursor.closed && mqt_ws_cursor_at_boundary(&rig.cursor));
	}
}

static void
test_only_payload_can_be_skipped(void)
{
	uint8_t frame[] = { 0x82, 0x86, 1, 2, 3, 4 };
	const uint8_t rest[] = { 0x04, 0x00, 0x02 };

	rig_start(true);
	CHECK(!mqt_ws_cursor_skip(&rig.cursor, 1));
	feed(frame, 3);
	CHECK(!mqt_ws_cursor_skip(&rig.cursor, 1));
	feed(frame + 3, 3);
	CHECK(!mqt_ws_cursor_skip(&rig.cursor, 7));
	CHECK(mqt_ws_cursor_skip(&rig.cursor, 3));
	feed(rest, sizeof(rest)); /* the key goes on where it would be: 4, 1, 2 */
	CHECK_EQ(rig.n_got, 3);
	CHECK_MEM(rig.got, "\x00\x01\x00", 3);
	CHECK(mqt_ws_cursor_at_boundary(&rig.cursor));
}

static void
test_unmasking_is_the_same_at_each_length_and_in_place(void)
{
	static const uint8_t key[4] = { 0x11, 0x22, 0x44, 0x88 };
	uint8_t in[40], out[41];

	for (uint32_t len = 0; len <= sizeof(in); len++) {
		for (uint32_t i = 0; i < sizeof(in); i++)
			in[i] = (uint8_t)(3 * i);
		out[len] = 0x5a;
		mqt_ws_unmask(out, in, len, key);
		for (uint32_t i = 0; i < len; i++)
			CHECK_EQ(out[i], in[i] ^ key[i % 4]);
		CHECK_EQ(out[len], 0x5a);
		mqt_ws_unmask(in, in, len, key);
		CHECK_MEM(in, out, len);
	}
}

static void
test_each_error_has_a_name(void)
{
	for (unsigned i = 0; i < MQT_WS_N_ERRORS; i++)
		CHECK(strlen(mqt_ws_error_name(i)) > 2);
	CHECK_STR(mqt_ws_error_name(MQT_WS_N_ERRORS), "unknown");
}

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, test_##name                                                                 \
	}

static CU_TestInfo head_tests[] = {
	TEST(heads_are_judged_as_their_table_says),
	TEST(end_of_a_head_is_found_however_it_is_cut),
	TEST(what_readers_take_differently_is_no_head),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo frame_tests[] = {
	TEST(streams_are_followed_as_their_table_says),
	TEST(lengths_of_each_form_round_trip),
	TEST(disconnect_and_close_1008_round_trip),
	TEST(only_payload_can_be_skipped),
	TEST(unmasking_is_the_same_at_each_length_and_in_place),
	TEST(each_error_has_a_name),
	CU_TEST_INFO_NULL,
};

int
main(void)
{
	CU_SuiteInfo suites[] = {
		{ .pName = "websocket heads", .pTests = head_tests },
		{ .pName = "websocket frames", .pTests = frame_tests },
		CU_SUITE_INFO_NULL,
	};

	return check_run(suites);
}
