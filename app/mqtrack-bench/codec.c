/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench.h"
#include "mqtrack/mqtt.h"
#include "mqtrack/ws.h"

#include <stdlib.h>
#include <string.h>

/*
 * The MQTT codec alone, without packets and without connections.
 *
 *   cursor, tap   a stream of packets of one kind, fed as TCP segments would bring it: cut every
 *                 SEGMENT bytes wherever that falls, or each packet alone where clients send it so.
 *                 The cursor only counts, the tap also finds what sessions are made of.
 *   connect       whole CONNECT packets, each with a client id of its own
 *   unmask        a WebSocket mask removed from bytes
 *   ws            frames followed, unmasked as far as needed and fed to a tap, as the tracker does
 *                 for a client's direction
 *
 * Streams of one kind of packet are told from streams of random kinds and lengths (mixed): with the
 * former the CPU learns what comes next.
 *
 * The streams are SIZE KiB, by default more than caches hold. The baseline of all is to read the
 * same bytes in the same pieces, so its bytes a second are what the memory gives. A cursor skips
 * bodies by their length, unread: with large packets it is faster than the memory.
 */

#define DEFAULT_KIB 65536u
#define SEGMENT     1448u
#define CHUNK       256u /* unmasked at once, and */
#define SKIP_FROM   64u  /* what is skipped rather than unmasked, as in lib/conn */
#define TOPIC       "devices/12345678/telemetry"
#define ID_LEN      23u /* of a client id */
#define BASELINE    "reading the same bytes"

/* Bytes and where they are cut. */
struct stream {
	uint8_t *data;
	size_t len, cap;
	uint32_t *ends; /* of the pieces, one behind the other */
	uint32_t n_pieces;
	uint32_t n_packets;
	uint32_t n_reports; /* packets that a tap reports */
	uint8_t version;
};

/* Does its work on all of a stream. @return whether all of it was found. */
typedef bool (*pass_fn)(const struct stream *s);

static uint64_t sink; /* what was read must not be optimised away */

/* --- what is measured --------------------------------------------------------------------------- */

static bool
pass_read(const struct stream *s)
{
	uint64_t sum = 0, word;

	for (uint32_t i = 0, at = 0; i < s->n_pieces; i++) {
		for (; s->ends[i] - at >= sizeof(word); at += (uint32_t)sizeof(word)) {
			memcpy(&word, s->data + at, sizeof(word));
			sum += word;
		}
		for (; at < s->ends[i]; at++)
			sum += s->data[at];
	}
	*(volatile uint64_t *)&sink = sum;
	return true;
}

static bool
pass_cursor(const struct stream *s)
{
	struct mqt_mqtt_cursor cursor = { 0 };
	struct mqt_mqtt_seen seen = { 0 };

	for (uint32_t i = 0, at = 0; i < s->n_pieces; at = s->ends[i++])
		if (!mqt_mqtt_cursor_feed(&cursor, s->data + at, s->ends[i] - at, &seen))
			return false;
	return seen.packets == s->n_packets && mqt_mqtt_cursor_at_boundary(&cursor);
}

static void
on_packet(void *arg, const struct mqt_mqtt_packet *packet)
{
	uint32_t *n = arg;

	*n += packet->packet_id != 0;
}

static bool
pass_tap(const struct stream *s)
{
	struct mqt_mqtt_tap tap = { 0 };
	struct mqt_mqtt_seen seen = { 0 };
	uint32_t n_reports = 0;

	for (uint32_t i = 0, at = 0; i < s->n_pieces; at = s->ends[i++])
		if (!mqt_mqtt_tap_feed(&tap, s->data + at, s->ends[i] - at, s->version, 65536,
				    &seen, on_packet, &n_reports))
			return false;
	return seen.packets == s->n_packets && n_reports == s->n_reports;
}

/* Pieces are packets here. */
static bool
pass_connect(const struct stream *s)
{
	struct mqt_mqtt_connect c;
	uint32_t n = 0;

	for (uint32_t i = 0, at = 0; i < s->n_pieces; at = s->ends[i++])
		n += mqt_mqtt_connect_parse(s->data + at, s->ends[i] - at, &c, NULL) ==
						MQT_PARSE_OK &&
				c.version == s->version && c.clientid.len == ID_LEN;
	return n == s->n_packets;
}

static bool
pass_unmask(const struct stream *s)
{
	static const uint8_t key[4] = { 0x12, 0x34, 0x56, 0x78 };
	uint8_t out[SEGMENT] = { 0 };
	uint32_t at = 0;

	for (uint32_t i = 0; i < s->n_pieces; at = s->ends[i++]) {
		mqt_ws_unmask(out, s->data + at, s->ends[i] - at, key);
		*(volatile uint8_t *)&sink = out[0];
	}
	return (out[0] ^ key[0]) == s->data[s->n_pieces > 1 ? s->ends[s->n_pieces - 2] : 0];
}

/* Feeds a tap with the piece of a frame: only what is read of it is unmasked. */
static bool
feed_masked(struct mqt_mqtt_tap *tap, const struct stream *s, struct mqt_ws_piece *piece,
		struct mqt_mqtt_seen *seen, uint32_t *n_reports)
{
	uint8_t chunk[CHUNK], key[4];
	uint32_t at = 0, n;

	while (at < piece->len) {
		uint32_t left = piece->len - at, skip = tap->cursor.skip;

		n = skip - 1 < left ? skip - 1 : left;
		if (skip > SKIP_FROM && left > SKIP_FROM && mqt_mqtt_tap_skip(tap, n)) {
			at += n;
			continue;
		}
		n = left < CHUNK ? left : CHUNK;
		for (unsigned i = 0; i < sizeof(key); i++)
			key[i] = piece->key[(at + i) % sizeof(key)];
		mqt_ws_unmask(chunk, piece->ptr + at, n, key);
		if (!mqt_mqtt_tap_feed(
				    tap, chunk, n, s->version, 65536, seen, on_packet, n_reports))
			return false;
		at += n;
	}
	return true;
}

static bool
pass_ws(const struct stream *s)
{
	struct mqt_ws_cursor cursor;
	struct mqt_mqtt_tap tap = { 0 };
	struct mqt_mqtt_seen seen = { 0 };
	uint32_t n_reports = 0;

	mqt_ws_cursor_init(&cursor, true);
	for (uint32_t i = 0, at = 0; i < s->n_pieces; i++) {
		while (at < s->ends[i]) {
			struct mqt_ws_piece piece;
			int64_t n = mqt_ws_cursor_next(
					&cursor, s->data + at, s->ends[i] - at, &piece);

			if (n < 0 || !feed_masked(&tap, s, &piece, &seen, &n_reports))
				return false;
			at += (uint32_t)n;
		}
	}
	return seen.packets == s->n_packets && n_reports == s->n_reports &&
			mqt_ws_cursor_at_boundary(&cursor);
}

/* --- the streams -------------------------------------------------------------------------------- */

/* Writes the packet of number @p i. @return its length; 0: no room. */
typedef size_t (*write_fn)(uint8_t *buf, size_t cap, uint32_t i);

static size_t
publish(uint8_t *buf, size_t cap, uint8_t qos, uint16_t id, uint32_t payload_len)
{
	static const uint8_t payload[65536];

	return mqt_mqtt_publish_encode(buf, cap, 4, qos, id,
			(struct mqt_bytes){ (const uint8_t *)TOPIC, sizeof(TOPIC) - 1 },
			(struct mqt_bytes){ payload, payload_len });
}

static size_t
write_publish_100(uint8_t *buf, size_t cap, uint32_t i)
{
	return publish(buf, cap, 0, 0, 100);
}

static size_t
write_publish_1k(uint8_t *buf, size_t cap, uint32_t i)
{
	return publish(buf, cap, 0, 0, 1024);
}

static size_t
write_publish_64k(uint8_t *buf, size_t cap, uint32_t i)
{
	return publish(buf, cap, 0, 0, 65536);
}

static size_t
write_qos1_100(uint8_t *buf, size_t cap, uint32_t i)
{
	return publish(buf, cap, 1, (uint16_t)(1 + i % 65535), 100);
}

static size_t
write_pingreq(uint8_t *buf, size_t cap, uint32_t i)
{
	return mqt_mqtt_empty_encode(buf, cap, MQT_MQTT_PINGREQ);
}

/* What a busy client pipelines: publishes, acknowledgements, now and then a ping. */
static size_t
write_small(uint8_t *buf, size_t cap, uint32_t i)
{
	uint16_t id = (uint16_t)(1 + i % 65535);
	const uint8_t puback[] = { MQT_MQTT_PUBACK << 4, 2, (uint8_t)(id >> 8), (uint8_t)id };

	if (i % 8 == 7)
		return write_pingreq(buf, cap, i);
	if (i % 2)
		return publish(buf, cap, 1, id, 8);
	if (cap < sizeof(puback))
		return 0;
	memcpy(buf, puback, sizeof(puback));
	return sizeof(puback);
}

/* What comes next in write_mixed() is drawn from this. */
static uint64_t
mixed_of(uint32_t i)
{
	uint64_t state = (i + 1) * 0x9e3779b97f4a7c15u;

	return bench_random(&state);
}

static bool
mixed_has_id(uint32_t i)
{
	return mixed_of(i) >> 61 >= 3;
}

/* As from a bridge with many clients behind it: what comes next cannot be told from what came. */
static size_t
write_mixed(uint8_t *buf, size_t cap, uint32_t i)
{
	uint64_t x = mixed_of(i);
	uint8_t qos = mixed_has_id(i);

	if (x >> 61 == 0)
		return write_pingreq(buf, cap, i);
	if (x >> 61 >= 6)
		return write_small(buf, cap, 2 * (i % 32768)); /* PUBACK */
	return publish(buf, cap, qos, qos ? (uint16_t)(1 + i % 65535) : 0, x & 255);
}

/* ID_LEN bytes. */
static uint32_t
client_id(char id[32], uint32_t i)
{
	return (uint32_t)snprintf(id, 32, "sensor-%07u-building", i % 10000000);
}

static size_t
write_connect_v311(uint8_t *buf, size_t cap, uint32_t i)
{
	char id[32];
	uint32_t len = client_id(id, i);
	struct mqt_mqtt_connect c = {
		.version = 4,
		.clean_start = true,
		.keepalive_sec = 60,
		.clientid = { (const uint8_t *)id, len },
	};

	return mqt_mqtt_connect_encode(buf, cap, &c);
}

struct writer {
	uint8_t *buf;
	size_t n;
};

static void
put(struct writer *w, const void *bytes, size_t len)
{
	memcpy(w->buf + w->n, bytes, len);
	w->n += len;
}

static void
put_byte(struct writer *w, uint8_t byte)
{
	w->buf[w->n++] = byte;
}

static void
put_number(struct writer *w, uint32_t value, unsigned n_bytes)
{
	while (n_bytes-- > 0)
		put_byte(w, (uint8_t)(value >> (8 * n_bytes)));
}

static void
put_text(struct writer *w, const char *text)
{
	put_number(w, (uint32_t)strlen(text), 2);
	put(w, text, strlen(text));
}

/* Leaves a byte for a length, and sets it. All lengths here are below 128. */
static size_t
begin_length(struct writer *w)
{
	put_byte(w, 0);
	return w->n;
}

static void
end_length(struct writer *w, size_t begin)
{
	w->buf[begin - 1] = (uint8_t)(w->n - begin);
}

static void
put_will(struct writer *w)
{
	size_t properties = begin_length(w);

	put_byte(w, 0x18); /* will delay */
	put_number(w, 5, 4);
	put_byte(w, 0x03); /* content type */
	put_text(w, "json");
	end_length(w, properties);
	put_text(w, "state/1234");
	put_text(w, "{\"on\":0}");
}

/* Session expiry, receive maximum, a user property, a will with properties, user name, password. */
static size_t
write_connect_v5(uint8_t *buf, size_t cap, uint32_t i)
{
	struct writer w = { buf, 0 };
	size_t packet, properties;
	char id[32];

	if (cap < 256)
		return 0;
	client_id(id, i);
	put_byte(&w, MQT_MQTT_CONNECT << 4);
	packet = begin_length(&w);
	put_text(&w, "MQTT");
	put_byte(&w, 5);
	put_byte(&w, 0xc4); /* user name, password, will */
	put_number(&w, 60, 2);
	properties = begin_length(&w);
	put_byte(&w, 0x11); /* session expiry */
	put_number(&w, 3600, 4);
	put_byte(&w, 0x21); /* receive maximum */
	put_number(&w, 20, 2);
	put_byte(&w, 0x26); /* user property */
	put_text(&w, "fw");
	put_text(&w, "1.2");
	end_length(&w, properties);
	put_text(&w, id);
	put_will(&w);
	put_text(&w, "customer");
	put_text(&w, "password");
	end_length(&w, packet);
	return w.n;
}

/* A frame around each packet, as clients send it. */
static size_t
frame(uint8_t *buf, size_t cap, uint32_t i, write_fn write)
{
	static const uint8_t key[4] = { 0xa1, 0x5b, 0x3c, 0x77 };
	uint8_t packet[2048];
	size_t n = write(packet, sizeof(packet), i);

	return mqt_ws_frame_encode(buf, cap, MQT_WS_BINARY, key, packet, n);
}

static size_t
write_ws_publish_100(uint8_t *buf, size_t cap, uint32_t i)
{
	return frame(buf, cap, i, write_publish_100);
}

static size_t
write_ws_publish_1k(uint8_t *buf, size_t cap, uint32_t i)
{
	return frame(buf, cap, i, write_publish_1k);
}

static size_t
write_ws_small(uint8_t *buf, size_t cap, uint32_t i)
{
	return frame(buf, cap, i, write_small);
}

/* --- what to measure ---------------------------------------------------------------------------- */

static const struct measure {
	const char *name;
	pass_fn pass;
	write_fn write;
	bool alone; /* each packet is a piece */
} measures[] = {
	{ "cursor.publish_100", pass_cursor, write_publish_100, false },
	{ "cursor.publish_1k", pass_cursor, write_publish_1k, false },
	{ "cursor.publish_64k", pass_cursor, write_publish_64k, false },
	{ "cursor.pingreq", pass_cursor, write_pingreq, true },
	{ "cursor.small", pass_cursor, write_small, false },
	{ "cursor.mixed", pass_cursor, write_mixed, false },
	{ "tap.publish_100", pass_tap, write_publish_100, false },
	{ "tap.publish_1k", pass_tap, write_publish_1k, false },
	{ "tap.publish_64k", pass_tap, write_publish_64k, false },
	{ "tap.qos1_100", pass_tap, write_qos1_100, false },
	{ "tap.pingreq", pass_tap, write_pingreq, true },
	{ "tap.small", pass_tap, write_small, false },
	{ "tap.mixed", pass_tap, write_mixed, false },
	{ "connect.v311", pass_connect, write_connect_v311, true },
	{ "connect.v5", pass_connect, write_connect_v5, true },
	{ "unmask", pass_unmask, write_publish_1k, false },
	{ "ws.publish_100", pass_ws, write_ws_publish_100, false },
	{ "ws.publish_1k", pass_ws, write_ws_publish_1k, false },
	{ "ws.small", pass_ws, write_ws_small, false },
};

/* Whether a packet is one that a tap reports: those with a packet id. */
static bool
is_reported(write_fn write, uint32_t i)
{
	if (write == write_small || write == write_ws_small)
		return i % 8 != 7;
	if (write == write_mixed)
		return mixed_has_id(i);
	return write == write_qos1_100;
}

static int
cut(struct stream *s, size_t at)
{
	if (s->n_pieces % 4096 == 0) {
		uint32_t *ends = realloc(s->ends, (s->n_pieces + 4096) * sizeof(*ends));

		if (!ends)
			return -1;
		s->ends = ends;
	}
	s->ends[s->n_pieces++] = (uint32_t)at;
	return 0;
}

static int
stream_make(struct stream *s, const struct measure *m)
{
	size_t n;

	s->version = m->write == write_connect_v5 ? 5 : 4;
	while ((n = m->write(s->data + s->len, s->cap - s->len, s->n_packets)) > 0) {
		s->n_reports += is_reported(m->write, s->n_packets);
		s->n_packets++;
		s->len += n;
		if (m->alone && cut(s, s->len) != 0)
			return -1;
	}
	for (size_t at = 0; !m->alone && at < s->len;) {
		at = s->len - at > SEGMENT ? at + SEGMENT : s->len;
		if (cut(s, at) != 0)
			return -1;
	}
	return s->n_packets > 0 ? 0 : -1;
}

/* One pass of each a run, in turns. @param s what came first was the warm-up. */
static int
stream_run(const struct stream *s, pass_fn pass, unsigned runs, uint64_t n[2],
		struct bench_samples samples[4])
{
	for (unsigned run = 0; run <= runs; run++) {
		uint64_t begin = bench_now_ns(), middle;

		if (!pass(s))
			return -1;
		middle = bench_now_ns();
		if (!pass_read(s))
			return -1;
		if (run == 0)
			continue;
		for (unsigned i = 0; i < 2; i++) {
			bench_rate(&samples[2 + i], n[i], middle);
			bench_rate_of(&samples[i], n[i], middle - begin);
		}
	}
	return 0;
}

static int
measure(const struct measure *m, uint64_t cap, unsigned runs, struct bench_report *report)
{
	struct stream s = { .cap = cap, .data = malloc(cap) };
	struct bench_samples *samples = calloc(4, sizeof(*samples));
	char name[64];
	int rc = 1;

	if (!s.data || !samples || stream_make(&s, m) != 0) {
		fprintf(stderr, "mqtrack-bench: codec: no stream\n");
		goto out;
	}
	if (stream_run(&s, m->pass, runs, (uint64_t[2]){ s.len, s.n_packets }, samples) != 0) {
		fprintf(stderr, "mqtrack-bench: codec: %s: not all was found\n", m->name);
		goto out;
	}
	rc = 0;
	snprintf(name, sizeof(name), "codec.%s", m->name);
	bench_report_add(report, name, "bytes/s", &samples[0], BASELINE, &samples[2]);
	if (m->pass == pass_unmask) /* knows of no packets */
		goto out;
	snprintf(name, sizeof(name), "codec.%s.packets", m->name);
	bench_report_add(report, name, "packets/s", &samples[1], BASELINE, &samples[3]);
out:
	free(samples);
	free(s.ends);
	free(s.data);
	return rc;
}

int
bench_codec(const struct bench_args *args, struct bench_report *report)
{
	uint64_t kib = args->size ? args->size : DEFAULT_KIB;
	int rc = 0;

	if (kib > 2097152) { /* places in a stream are 32 bits */
		fprintf(stderr, "mqtrack-bench: codec: at most 2 GiB\n");
		return 1;
	}
	for (size_t i = 0; i < sizeof(measures) / sizeof(measures[0]) && rc == 0; i++)
		rc = measure(&measures[i], kib * 1024, args->runs, report);
	return rc;
}
