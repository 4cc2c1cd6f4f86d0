/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Parsers in linear time, by count and not by a clock: their code is compiled so that it calls us at
 * each branch, and four times as much of the worst that we know of may take four times as many, no
 * matter whether it comes whole or byte by byte.
 */

#include "fuzz.h"
#include "mqtrack/mqtt.h"
#include "mqtrack/proxy.h"
#include "mqtrack/ws.h"

#include <stdbool.h>

#define CAP      (1u << 18)
#define N_SMALL  400
#define N_LARGE  (4 * N_SMALL)
#define SLACK    4000 /* what does not depend on the length */
#define TAP_BODY 65536

void __sanitizer_cov_trace_pc(void);

static uint64_t steps;

void
__sanitizer_cov_trace_pc(void)
{
	steps++;
}

struct bytes {
	uint8_t at[CAP];
	size_t len;
};

static void
put(struct bytes *b, const void *data, size_t len)
{
	FUZZ_CHECK(b->len + len <= CAP);
	memcpy(b->at + b->len, data, len);
	b->len += len;
}

static void
put_header(struct bytes *b, uint8_t first, size_t len)
{
	put(b, &first, 1);
	do {
		uint8_t low = len & 0x7f;

		len >>= 7;
		low |= len ? 0x80 : 0;
		put(b, &low, 1);
	} while (len);
}

static void
put_repeated(struct bytes *b, unsigned n, const char *data, size_t len)
{
	while (n-- > 0)
		put(b, data, len);
}

#define REPEAT(b, n, text) put_repeated(b, n, text, sizeof(text) - 1)
#define PUT(b, text)       put(b, text, sizeof(text) - 1)
#define USER_PROPERTY      "\x26\x00\x01k\x00\x01v"

/* --- inputs: n of something ---------------------------------------------------------------------- */

/* In a packet of 5.0 with these bytes before and behind its properties. */
static void
with_properties(struct bytes *b, uint8_t first, const char *before, size_t n_before, unsigned n,
		const char *behind, size_t n_behind)
{
	struct bytes *props = calloc(1, sizeof(*props));
	struct bytes *length = calloc(1, sizeof(*length));

	FUZZ_CHECK(props && length);
	REPEAT(props, n, USER_PROPERTY);
	put_header(length, 0, props->len);
	put_header(b, first, n_before + length->len - 1 + props->len + n_behind);
	put(b, before, n_before);
	put(b, length->at + 1, length->len - 1);
	put(b, props->at, props->len);
	put(b, behind, n_behind);
	free(props);
	free(length);
}

static void
connect_properties(struct bytes *b, unsigned n)
{
	with_properties(b, 0x10, "\0\4MQTT\5\2\0\0", 10, n, "\0\1a", 3);
}

static void
connack_properties(struct bytes *b, unsigned n)
{
	with_properties(b, 0x20, "\0\0", 2, n, "", 0);
}

static void
pings(struct bytes *b, unsigned n)
{
	REPEAT(b, n, "\xc0\0");
}

static void
publishes(struct bytes *b, unsigned n)
{
	REPEAT(b, n, "\x32\x07\0\1t\0\1ab");
}

static void
filters(struct bytes *b, unsigned n)
{
	put_header(b, 0x82, 2 + 4 * (size_t)n);
	PUT(b, "\0\1");
	REPEAT(b, n, "\0\1f\1");
}

static void
head_fields(struct bytes *b, unsigned n)
{
	PUT(b, "GET / HTTP/1.1\r\n");
	REPEAT(b, n, "Connection: a, b\r\n");
	PUT(b, "\r\n");
}

static void
head_tokens(struct bytes *b, unsigned n)
{
	PUT(b, "GET / HTTP/1.1\r\nSec-WebSocket-Protocol: ");
	REPEAT(b, n, "x,");
	PUT(b, "\r\n\r\n");
}

static void
frames(struct bytes *b, unsigned n)
{
	PUT(b, "\x02\x80\1\2\3\4");
	REPEAT(b, n, "\x00\x81\1\2\3\4z");
}

static void
proxy_tlvs(struct bytes *b, unsigned n)
{
	unsigned n_tlvs = n / 2; /* a longer header is none */
	size_t len = 12 + 3 * (size_t)n_tlvs;
	uint8_t be[2] = { (uint8_t)(len >> 8), (uint8_t)len };

	PUT(b, "\r\n\r\n\0\r\nQUIT\n\x21\x11");
	put(b, be, 2);
	PUT(b, "\1\2\3\4\5\6\7\x08\0\1\0\2");
	REPEAT(b, n_tlvs, "\4\0\0");
}

/* --- parsers --------------------------------------------------------------------------------------- */

static void
connect(const struct bytes *b, size_t piece)
{
	struct mqt_mqtt_connect c;

	FUZZ_CHECK(mqt_mqtt_connect_parse(b->at, b->len, &c, NULL) == MQT_PARSE_OK);
}

static void
connack(const struct bytes *b, size_t piece)
{
	struct mqt_mqtt_connack c;
	enum mqt_mqtt_error error;

	FUZZ_CHECK(mqt_mqtt_connack_parse(b->at, b->len, 5, &c, &error) == MQT_PARSE_OK);
}

static void
on_packet(void *arg, const struct mqt_mqtt_packet *packet)
{
	if (packet->type == MQT_MQTT_SUBSCRIBE && packet->body.len > 0)
		mqt_mqtt_subscribe_qos_3(packet->body, 4);
	++*(unsigned *)arg;
}

static void
tap(const struct bytes *b, size_t piece)
{
	struct mqt_mqtt_tap t = { 0 };
	struct mqt_mqtt_seen seen = { 0 };
	unsigned n = 0;

	for (size_t at = 0; at < b->len; at += piece)
		FUZZ_CHECK(mqt_mqtt_tap_feed(&t, b->at + at,
				piece < b->len - at ? piece : b->len - at, 4, TAP_BODY, &seen,
				on_packet, &n));
	FUZZ_CHECK(seen.packets > 0);
	mqt_mqtt_tap_fini(&t);
}

static void
head(const struct bytes *b, size_t piece)
{
	struct mqt_ws_scan scan = { 0 };
	enum mqt_parse r = MQT_PARSE_MORE;
	size_t used;

	for (size_t at = 0; at < b->len; at += piece)
		r = mqt_ws_scan_feed(&scan, b->at + at, piece < b->len - at ? piece : b->len - at,
				&used);
	FUZZ_CHECK(r == MQT_PARSE_OK);
	mqt_ws_request_check(b->at, b->len);
}

static void
ws(const struct bytes *b, size_t piece)
{
	struct mqt_ws_cursor cursor;
	struct mqt_ws_piece payload;
	int64_t n;

	mqt_ws_cursor_init(&cursor, true);
	for (size_t at = 0; at < b->len; at += (size_t)n) {
		n = mqt_ws_cursor_next(&cursor, b->at + at,
				piece < b->len - at ? piece : b->len - at, &payload);
		FUZZ_CHECK(n > 0);
	}
}

static void
proxy(const struct bytes *b, size_t piece)
{
	struct mqt_proxy header;
	enum mqt_parse r = MQT_PARSE_MORE;

	/* each segment begins anew */
	for (size_t len = 0; len < b->len && r == MQT_PARSE_MORE;) {
		len += piece < b->len - len ? piece : b->len - len;
		r = mqt_proxy_parse(b->at, len, &header, NULL);
	}
	FUZZ_CHECK(r == MQT_PARSE_OK);
}

static const struct {
	const char *name;
	void (*make)(struct bytes *b, unsigned n);
	void (*parse)(const struct bytes *b, size_t piece);
} rows[] = {
	{ "CONNECT with user properties", connect_properties, connect },
	{ "CONNACK with user properties", connack_properties, connack },
	{ "PINGREQs", pings, tap },
	{ "PUBLISHes", publishes, tap },
	{ "SUBSCRIBE with many filters", filters, tap },
	{ "HTTP head with many fields", head_fields, head },
	{ "HTTP head with many subprotocols", head_tokens, head },
	{ "frames of one byte", frames, ws },
	{ "PROXY header with many TLVs", proxy_tlvs, proxy },
};

static uint64_t
steps_of(unsigned row, unsigned n, size_t piece)
{
	struct bytes *b = calloc(1, sizeof(*b));

	FUZZ_CHECK(b != NULL);
	rows[row].make(b, n);
	steps = 0;
	rows[row].parse(b, piece);
	free(b);
	FUZZ_CHECK(steps > 0);
	return steps;
}

int
main(void)
{
	static const size_t pieces[] = { CAP, 1 };
	bool failed = false;

	for (unsigned row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		for (unsigned k = 0; k < 2; k++) {
			uint64_t small = steps_of(row, N_SMALL, pieces[k]);
			uint64_t large = steps_of(row, N_LARGE, pieces[k]);
			bool linear = large <= 4 * small + SLACK;

			printf("%s: %s, %s: %llu branches for %d, %llu for %d\n",
					linear ? "ok" : "NOT LINEAR", rows[row].name,
					k ? "byte by byte" : "whole", (unsigned long long)small,
					N_SMALL, (unsigned long long)large, N_LARGE);
			failed = failed || !linear;
		}
	}
	return failed;
}
