/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * MQTT on the wire. Each vector runs in an allocation of exactly its size, so that a sanitizer or
 * valgrind sees a read past the end.
 */

#include "check.h"
#include "mqtrack/mqtt.h"
#include "mqtt_vectors.h"

#include <stdlib.h>

/* A vector as bytes; allocated exactly. */
struct raw {
	uint8_t *ptr;
	size_t len;
};

static int
hex_digit(char c)
{
	const char *digits = "0123456789abcdef", *at = strchr(digits, c);

	if (c == '\0' || at == NULL) {
		printf("[%s] bad vector\n", check_row);
		abort();
	}
	return (int)(at - digits);
}

static struct raw
raw_copy(const void *bytes, size_t len)
{
	struct raw raw = { malloc(len ? len : 1), len };

	if (len > 0)
		memcpy(raw.ptr, bytes, len);
	return raw;
}

static struct raw
raw_of(const char *text)
{
	uint8_t *buf = malloc(strlen(text) + 1);
	struct raw raw;
	size_t len = 0;

	for (const char *p = text; *p != '\0'; p++) {
		if (*p == ' ')
			continue;
		if (*p == '\'') {
			for (p++; *p != '\''; p++)
				buf[len++] = (uint8_t)*p;
			continue;
		}
		buf[len] = (uint8_t)(hex_digit(p[0]) << 4);
		buf[len++] |= (uint8_t)hex_digit(p[1]);
		p++;
	}
	raw = raw_copy(buf, len);
	free(buf);
	return raw;
}

static bool
bytes_are(struct mqt_bytes bytes, const char *want)
{
	return bytes.len == strlen(want) &&
			(bytes.len == 0 || memcmp(bytes.ptr, want, bytes.len) == 0);
}

static struct mqt_bytes
bytes_of(const char *text)
{
	return (struct mqt_bytes){ (const uint8_t *)text, (uint32_t)strlen(text) };
}

/* xorshift: the same numbers in each run. */
static uint32_t
next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* Fixed header. */

static void
test_header_parse_follows_its_table(void)
{
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		struct raw raw = raw_of(check_row = headers[i].text);
		enum mqt_mqtt_error error = MQT_MQTT_E_NONE;
		struct mqt_mqtt_header h = { 0 };

		CHECK_EQ(mqt_mqtt_header_parse(raw.ptr, raw.len, &h, &error), headers[i].parse);
		CHECK_EQ(error, headers[i].error);
		CHECK_EQ(h.type, headers[i].type);
		CHECK_EQ(h.flags, headers[i].flags);
		CHECK_EQ(h.len, headers[i].len);
		CHECK_EQ(h.remaining, headers[i].remaining);
		CHECK_EQ(mqt_mqtt_header_parse(raw.ptr, raw.len, &h, NULL), headers[i].parse);
		free(raw.ptr);
	}
}

/* CONNECT. */

static struct mqt_mqtt_connect
connect_wanted(const struct connect_vector *v)
{
	const char *will = strchr(v->flags, 'w');

	return (struct mqt_mqtt_connect){ .version = v->version,
		.bridge = strchr(v->flags, 'b') != NULL,
		.clean_start = strchr(v->flags, 'c') != NULL,
		.has_will = will != NULL,
		.will_qos = (uint8_t)(will ? will[1] - '0' : 0),
		.will_retain = strchr(v->flags, 'r') != NULL,
		.has_username = strchr(v->flags, 'u') != NULL,
		.has_expiry = strchr(v->flags, 'e') != NULL,
		.keepalive_sec = v->keepalive_sec,
		.expiry_sec = v->expiry_sec };
}

static void
check_connect(const struct mqt_mqtt_connect *got, const struct mqt_mqtt_connect *want)
{
	CHECK_EQ(got->version, want->version);
	CHECK_EQ(got->bridge, want->bridge);
	CHECK_EQ(got->clean_start, want->clean_start);
	CHECK_EQ(got->has_will, want->has_will);
	CHECK_EQ(got->will_qos, want->will_qos);
	CHECK_EQ(got->will_retain, want->will_retain);
	CHECK_EQ(got->has_username, want->has_username);
	CHECK_EQ(got->has_expiry, want->has_expiry);
	CHECK_EQ(got->keepalive_sec, want->keepalive_sec);
	CHECK_EQ(got->expiry_sec, want->expiry_sec);
}

/* Parses the first @p len bytes of @p raw in an allocation of their own size. */
static enum mqt_parse
connect_prefix_parse(
		struct raw raw, size_t len, struct mqt_mqtt_connect *c, enum mqt_mqtt_error *error)
{
	struct raw prefix = raw_copy(raw.ptr, len);
	enum mqt_parse parse;

	*error = MQT_MQTT_E_NONE;
	parse = mqt_mqtt_connect_parse(prefix.ptr, prefix.len, c, error);
	free(prefix.ptr);
	return parse;
}

static void
test_connect_fields(void)
{
	for (size_t i = 0; i < sizeof(connects) / sizeof(connects[0]); i++) {
		const struct connect_vector *v = &connects[i];
		struct raw raw = raw_of((check_row = v->name, v->text));
		struct mqt_mqtt_connect c = { 0 }, want = connect_wanted(v);

		CHECK_EQ(mqt_mqtt_connect_parse(raw.ptr, raw.len, &c, NULL), MQT_PARSE_OK);
		CHECK_EQ(c.packet_len, raw.len);
		check_connect(&c, &want);
		CHECK(bytes_are(c.clientid, v->clientid));
		CHECK(bytes_are(c.username, v->username));
		if (!c.has_username)
			CHECK(c.username.ptr == NULL);
		if (c.clientid.len > 0)
			CHECK(c.clientid.ptr > raw.ptr && c.clientid.ptr < raw.ptr + raw.len);
		free(raw.ptr);
	}
}

static void
test_connect_prefix_is_more(void)
{
	for (size_t i = 0; i < sizeof(connects) / sizeof(connects[0]); i++) {
		struct raw raw = raw_of((check_row = connects[i].name, connects[i].text));
		struct mqt_mqtt_connect c, untouched;
		enum mqt_mqtt_error error;

		memset(&untouched, 0x5a, sizeof(untouched));
		c = untouched;
		for (size_t n = 0; n < raw.len; n++) {
			CHECK_EQ(connect_prefix_parse(raw, n, &c, &error), MQT_PARSE_MORE);
			CHECK_EQ(error, MQT_MQTT_E_NONE);
			CHECK_MEM(&c, &untouched, sizeof(c));
		}
		free(raw.ptr);
	}
}

static void
test_connect_leaves_what_follows(void)
{
	for (size_t i = 0; i < sizeof(connects) / sizeof(connects[0]); i++) {
		struct raw raw = raw_of((check_row = connects[i].name, connects[i].text));
		struct raw more = { malloc(raw.len + 64), raw.len + 64 };
		struct mqt_mqtt_connect c = { 0 }, want = connect_wanted(&connects[i]);

		memcpy(more.ptr, raw.ptr, raw.len);
		for (unsigned fill = 0; fill < 256; fill += 51) {
			memset(more.ptr + raw.len, (int)fill, 64);
			CHECK_EQ(mqt_mqtt_connect_parse(more.ptr, more.len, &c, NULL),
					MQT_PARSE_OK);
			CHECK_EQ(c.packet_len, raw.len);
			check_connect(&c, &want);
		}
		free(more.ptr);
		free(raw.ptr);
	}
}

static void
test_connect_bad_from_its_byte_on(void)
{
	for (size_t i = 0; i < sizeof(bad_connects) / sizeof(bad_connects[0]); i++) {
		struct raw raw = raw_of((check_row = bad_connects[i].name, bad_connects[i].text));
		size_t decided = bad_connects[i].decided ? bad_connects[i].decided : raw.len;
		struct mqt_mqtt_connect c;
		enum mqt_mqtt_error error;

		CHECK(decided <= raw.len);
		raw.ptr = realloc(raw.ptr, raw.len + 32);
		memset(raw.ptr + raw.len, 0x10, 32);
		for (size_t n = 0; n < decided; n++)
			CHECK_EQ(connect_prefix_parse(raw, n, &c, &error), MQT_PARSE_MORE);
		for (size_t n = decided; n <= raw.len + 32; n++) {
			CHECK_EQ(connect_prefix_parse(raw, n, &c, &error), MQT_PARSE_BAD);
			CHECK_EQ(error, bad_connects[i].error);
		}
		CHECK_EQ(mqt_mqtt_connect_parse(raw.ptr, raw.len, &c, NULL), MQT_PARSE_BAD);
		free(raw.ptr);
	}
}

/* Every byte of every vector replaced by a few others: no verdict changes with more bytes. */
static void
test_connect_verdicts_are_monotonic(void)
{
	static const uint8_t others[] = { 0x00, 0x01, 0x7f, 0x80, 0xff, 0x10, 0x26 };

	for (size_t i = 0; i < sizeof(connects) / sizeof(connects[0]); i++) {
		struct raw raw = raw_of((check_row = connects[i].name, connects[i].text));

		for (size_t at = 0; at < raw.len * sizeof(others); at++) {
			enum mqt_mqtt_error error, first_error = MQT_MQTT_E_NONE;
			enum mqt_parse parse, last = MQT_PARSE_MORE;
			uint8_t *byte = &raw.ptr[at / sizeof(others)], kept = *byte;
			struct mqt_mqtt_connect c;

			*byte = others[at % sizeof(others)];
			for (size_t n = 0; n <= raw.len; n++) {
				parse = connect_prefix_parse(raw, n, &c, &error);
				if (last != MQT_PARSE_MORE)
					CHECK_EQ(parse, last);
				if (last == MQT_PARSE_BAD)
					CHECK_EQ(error, first_error);
				CHECK_EQ(error != MQT_MQTT_E_NONE, parse == MQT_PARSE_BAD);
				last = parse;
				first_error = error;
			}
			*byte = kept;
		}
		free(raw.ptr);
	}
}

/* A 5.0 CONNECT whose properties are @p n user properties, with client id "c". */
static struct raw
connect_with_user_properties(uint32_t n)
{
	static const uint8_t property[] = { 0x26, 0, 1, 'k', 0, 1, 'v' };
	static const uint8_t head[] = { 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60 };
	uint32_t len = n * (uint32_t)sizeof(property);
	uint32_t remaining = (uint32_t)sizeof(head) + 4 + len + 3;
	struct raw raw = { malloc(5 + remaining), 5 + remaining };
	uint8_t *p = raw.ptr;

	*p++ = 0x10;
	for (unsigned i = 0; i < 4; i++)
		*p++ = (uint8_t)((remaining >> (7 * i) & 0x7f) | (i < 3 ? 0x80 : 0));
	memcpy(p, head, sizeof(head));
	p += sizeof(head);
	for (unsigned i = 0; i < 4; i++)
		*p++ = (uint8_t)((len >> (7 * i) & 0x7f) | (i < 3 ? 0x80 : 0));
	for (uint32_t i = 0; i < n; i++, p += sizeof(property))
		memcpy(p, property, sizeof(property));
	memcpy(p, (const uint8_t[]){ 0, 1, 'c' }, 3);
	return raw;
}

static void
test_connect_takes_many_user_properties(void)
{
	/* Enough that both lengths need four bytes, as they are written. */
	struct raw raw = connect_with_user_properties(300000);
	enum mqt_mqtt_error error;
	struct mqt_mqtt_connect c;

	check_row = "300000 user properties";
	CHECK_EQ(mqt_mqtt_connect_parse(raw.ptr, raw.len, &c, &error), MQT_PARSE_OK);
	CHECK_EQ(c.packet_len, raw.len);
	CHECK(bytes_are(c.clientid, "c"));
	CHECK_EQ(mqt_mqtt_connect_parse(raw.ptr, raw.len - 1, &c, &error), MQT_PARSE_MORE);
	raw.ptr[raw.len - 10] = 0x27;
	CHECK_EQ(mqt_mqtt_connect_parse(raw.ptr, raw.len, &c, &error), MQT_PARSE_BAD);
	free(raw.ptr);
}

/* Values that are right for the properties which may stand in each place. */
static const struct {
	uint8_t id;
	const char *value, *places; /* c CONNECT, w will, a CONNACK */
} properties[] = {
	{ 0x01, "01", "w" },
	{ 0x02, "00 00 00 00", "w" },
	{ 0x03, "00 00", "w" },
	{ 0x08, "00 00", "w" },
	{ 0x09, "00 00", "w" },
	{ 0x11, "00 00 00 00", "ca" },
	{ 0x12, "00 00", "a" },
	{ 0x13, "00 00", "a" },
	{ 0x15, "00 00", "ca" },
	{ 0x16, "00 00", "ca" },
	{ 0x17, "00", "c" },
	{ 0x18, "00 00 00 00", "w" },
	{ 0x19, "00", "c" },
	{ 0x1a, "00 00", "a" },
	{ 0x1c, "00 00", "a" },
	{ 0x1f, "00 00", "a" },
	{ 0x21, "00 01", "ca" },
	{ 0x22, "00 00", "ca" },
	{ 0x24, "00", "a" },
	{ 0x25, "00", "a" },
	{ 0x26, "00 00 00 00", "cwa" },
	{ 0x27, "00 00 00 01", "ca" },
	{ 0x28, "00", "a" },
	{ 0x29, "00", "a" },
	{ 0x2a, "00", "a" },
};

/* A packet with these properties in one place. */
static enum mqt_parse
properties_parse(char place, const char *list, enum mqt_mqtt_error *error)
{
	struct raw raw = raw_of(list);
	const char *head = place == 'c' ? "10 00 00 04 'MQTT' 05 02 00 00"
			: place == 'w'  ? "10 00 00 04 'MQTT' 05 06 00 00 00 00 00"
					: "20 00 00 00";
	const char *tail = place == 'c' ? "00 00" : place == 'w' ? "00 00 00 00" : "";
	char len[3], text[256];
	struct mqt_mqtt_connect connect;
	struct mqt_mqtt_connack connack;
	enum mqt_parse parse;

	snprintf(len, sizeof(len), "%02x", (unsigned)raw.len);
	snprintf(text, sizeof(text), "%s %s %s %s", head, len, list, tail);
	free(raw.ptr);
	raw = raw_of(text);
	raw.ptr[1] = (uint8_t)(raw.len - 2);
	*error = MQT_MQTT_E_NONE;
	if (place == 'a')
		parse = mqt_mqtt_connack_parse(raw.ptr, raw.len, 5, &connack, error);
	else
		parse = mqt_mqtt_connect_parse(raw.ptr, raw.len, &connect, error);
	free(raw.ptr);
	return parse;
}

static void
test_properties_stand_where_they_may_and_once(void)
{
	const size_t n_properties = sizeof(properties) / sizeof(properties[0]);
	enum mqt_mqtt_error error;
	char list[64];

	for (const char *place = "cwa"; *place != '\0'; place++) {
		for (unsigned id = 0; id < 256; id++) {
			const char *value = "00 00 00 01";
			bool allowed = false;

			for (size_t i = 0; i < n_properties; i++)
				if (properties[i].id == id) {
					value = properties[i].value;
					allowed = strchr(properties[i].places, *place) != NULL;
				}
			snprintf(list, sizeof(list), "%02x %s", id, value);
			check_row = list;
			CHECK_EQ(properties_parse(*place, list, &error),
					allowed ? MQT_PARSE_OK : MQT_PARSE_BAD);
			CHECK_EQ(error, allowed ? MQT_MQTT_E_NONE : MQT_MQTT_E_PROPERTY);
			if (!allowed)
				continue;
			snprintf(list, sizeof(list), "%02x %s %02x %s", id, value, id, value);
			CHECK_EQ(properties_parse(*place, list, &error),
					id == 0x26 ? MQT_PARSE_OK : MQT_PARSE_BAD);
			CHECK_EQ(error, id == 0x26 ? MQT_MQTT_E_NONE : MQT_MQTT_E_PROPERTY);
		}
	}
	check_row = "";
}

static void
test_connect_takes_long_client_ids(void)
{
	static const uint32_t lens[] = { 1, 23, 24, 127, 128, 255, 256, 16383, 16384, 65535 };
	uint8_t *id = malloc(65535), *buf = malloc(65600);
	struct mqt_mqtt_connect in, out;
	size_t n;

	memset(id, 'x', 65535);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		for (uint8_t version = 3; version <= 5; version++) {
			in = (struct mqt_mqtt_connect){ .version = version,
				.clientid = { id, lens[i] } };
			n = mqt_mqtt_connect_encode(buf, 65600, &in);
			CHECK_EQ(mqt_mqtt_connect_parse(buf, n, &out, NULL), MQT_PARSE_OK);
			CHECK_EQ(out.clientid.len, lens[i]);
			CHECK_MEM(out.clientid.ptr, id, lens[i]);
			CHECK_EQ(mqt_mqtt_connect_parse(buf, n - 1, &out, NULL), MQT_PARSE_MORE);
		}
	}
	in.clientid.len = 65536;
	CHECK_EQ(mqt_mqtt_connect_encode(buf, 65600, &in), 0);
	free(id);
	free(buf);
}

/* Each between 0 to 17 other bytes before and behind it: at each place of a word. */
static void
test_strings_are_utf8_without_zero(void)
{
	for (size_t i = 0; i < sizeof(utf8_strings) / sizeof(utf8_strings[0]); i++) {
		struct raw raw = raw_of(check_row = utf8_strings[i].text);

		for (size_t pad = 0; pad < 18 * 18; pad++) {
			size_t before = pad / 18, behind = pad % 18;
			struct mqt_mqtt_connect in = { .version = 4, .clean_start = true }, out;
			enum mqt_mqtt_error error = MQT_MQTT_E_NONE;
			uint8_t id[64], buf[128];
			size_t n;

			memset(id, 'a', sizeof(id));
			memcpy(id + before, raw.ptr, raw.len);
			in.clientid.ptr = id;
			in.clientid.len = (uint32_t)(before + raw.len + behind);
			memset(buf, 0xa0, sizeof(buf)); /* would go on a cut sequence */
			n = mqt_mqtt_connect_encode(buf, sizeof(buf), &in);
			CHECK_EQ(mqt_mqtt_connect_parse(buf, n, &out, &error),
					utf8_strings[i].valid ? MQT_PARSE_OK : MQT_PARSE_BAD);
			CHECK_EQ(error,
					utf8_strings[i].valid ? MQT_MQTT_E_NONE
							      : MQT_MQTT_E_STRING);
		}
		free(raw.ptr);
	}
}

/* CONNACK. */

static enum mqt_parse
connack_prefix_parse(struct raw raw, size_t len, uint8_t version, struct mqt_mqtt_connack *c,
		enum mqt_mqtt_error *error)
{
	struct raw prefix = raw_copy(raw.ptr, len);
	enum mqt_parse parse;

	*error = MQT_MQTT_E_NONE;
	parse = mqt_mqtt_connack_parse(prefix.ptr, prefix.len, version, c, error);
	free(prefix.ptr);
	return parse;
}

static struct mqt_mqtt_connack
connack_wanted(const struct connack_vector *v)
{
	return (struct mqt_mqtt_connack){ .code = v->code,
		.session_present = strchr(v->flags, 'p') != NULL,
		.has_expiry = strchr(v->flags, 'e') != NULL,
		.has_keepalive = strchr(v->flags, 'k') != NULL,
		.keepalive_sec = v->keepalive_sec,
		.expiry_sec = v->expiry_sec };
}

static void
check_connack(const struct mqt_mqtt_connack *got, const struct mqt_mqtt_connack *want)
{
	CHECK_EQ(got->code, want->code);
	CHECK_EQ(got->session_present, want->session_present);
	CHECK_EQ(got->has_expiry, want->has_expiry);
	CHECK_EQ(got->has_keepalive, want->has_keepalive);
	CHECK_EQ(got->keepalive_sec, want->keepalive_sec);
	CHECK_EQ(got->expiry_sec, want->expiry_sec);
}

static void
test_connack_fields(void)
{
	for (size_t i = 0; i < sizeof(connacks) / sizeof(connacks[0]); i++) {
		const struct connack_vector *v = &connacks[i];
		struct raw raw = raw_of((check_row = v->name, v->text));
		struct mqt_mqtt_connack c = { 0 }, want = connack_wanted(v);

		CHECK_EQ(mqt_mqtt_connack_parse(raw.ptr, raw.len, v->version, &c, NULL),
				MQT_PARSE_OK);
		CHECK_EQ(c.packet_len, raw.len);
		check_connack(&c, &want);
		CHECK(bytes_are(c.assigned_clientid, v->assigned));
		raw.ptr = realloc(raw.ptr, raw.len + 8);
		memset(raw.ptr + raw.len, 0xff, 8);
		CHECK_EQ(mqt_mqtt_connack_parse(raw.ptr, raw.len + 8, v->version, &c, NULL),
				MQT_PARSE_OK);
		CHECK_EQ(c.packet_len, raw.len);
		check_connack(&c, &want);
		free(raw.ptr);
	}
}

static void
test_connack_prefix_is_more(void)
{
	for (size_t i = 0; i < sizeof(connacks) / sizeof(connacks[0]); i++) {
		struct raw raw = raw_of((check_row = connacks[i].name, connacks[i].text));
		struct mqt_mqtt_connack c, untouched;
		enum mqt_mqtt_error error;

		memset(&untouched, 0x5a, sizeof(untouched));
		c = untouched;
		for (size_t n = 0; n < raw.len; n++) {
			CHECK_EQ(connack_prefix_parse(raw, n, connacks[i].version, &c, &error),
					MQT_PARSE_MORE);
			CHECK_EQ(error, MQT_MQTT_E_NONE);
			CHECK_MEM(&c, &untouched, sizeof(c));
		}
		free(raw.ptr);
	}
}

static void
test_connack_bad_from_its_byte_on(void)
{
	for (size_t i = 0; i < sizeof(bad_connacks) / sizeof(bad_connacks[0]); i++) {
		struct raw raw = raw_of((check_row = bad_connacks[i].name, bad_connacks[i].text));
		size_t decided = bad_connacks[i].decided ? bad_connacks[i].decided : raw.len;
		uint8_t version = bad_connacks[i].version;
		struct mqt_mqtt_connack c;
		enum mqt_mqtt_error error;

		raw.ptr = realloc(raw.ptr, raw.len + 32);
		memset(raw.ptr + raw.len, 0x20, 32);
		for (size_t n = 0; n < decided; n++)
			CHECK_EQ(connack_prefix_parse(raw, n, version, &c, &error), MQT_PARSE_MORE);
		for (size_t n = decided; n <= raw.len + 32; n++) {
			CHECK_EQ(connack_prefix_parse(raw, n, version, &c, &error), MQT_PARSE_BAD);
			CHECK_EQ(error, bad_connacks[i].error);
		}
		free(raw.ptr);
	}
}

static void
test_connack_v5_knows_all_connect_reason_codes(void)
{
	static const uint8_t refusals[] = { 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88,
		0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f };

	for (unsigned code = 0; code < 256; code++) {
		uint8_t packet[] = { 0x20, 3, 0, (uint8_t)code, 0 };
		bool known = code == 0 || memchr(refusals, (int)code, sizeof(refusals)) != NULL;
		struct mqt_mqtt_connack c;
		char row[16];

		snprintf(row, sizeof(row), "code 0x%02x", code);
		check_row = row;
		CHECK_EQ(mqt_mqtt_connack_parse(packet, sizeof(packet), 5, &c, NULL),
				known ? MQT_PARSE_OK : MQT_PARSE_BAD);
		check_row = "";
	}
}

/* The cursor. */

/* Feeds bytes from an allocation of their own size. */
static bool
feed(struct mqt_mqtt_cursor *cursor, const uint8_t *data, size_t len, struct mqt_mqtt_seen *seen)
{
	struct raw raw = raw_copy(data, len);
	bool ok = mqt_mqtt_cursor_feed(cursor, raw.ptr, raw.len, seen);

	free(raw.ptr);
	return ok;
}

static void
check_stream(const struct stream_vector *v, const struct mqt_mqtt_cursor *cursor,
		const struct mqt_mqtt_seen *seen, bool ok)
{
	CHECK_EQ(ok, v->error == MQT_MQTT_E_NONE);
	CHECK_EQ(cursor->error, v->error);
	CHECK_EQ(mqt_mqtt_cursor_at_boundary(cursor), v->boundary);
	CHECK_EQ(seen->packets, v->packets);
	CHECK_EQ(seen->publishes, v->publishes);
	CHECK_EQ(seen->types, v->types);
}

static void
test_cursor_whole_and_byte_by_byte(void)
{
	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
		struct raw raw = raw_of((check_row = streams[i].name, streams[i].text));
		struct mqt_mqtt_cursor whole = { 0 }, single = { 0 };
		struct mqt_mqtt_seen whole_seen = { 0 }, single_seen = { 0 };
		bool ok = true;

		check_stream(&streams[i], &whole, &whole_seen,
				feed(&whole, raw.ptr, raw.len, &whole_seen));
		for (size_t n = 0; n < raw.len; n++)
			ok = feed(&single, raw.ptr + n, 1, &single_seen);
		check_stream(&streams[i], &single, &single_seen, ok);
		CHECK_MEM(&whole, &single, sizeof(whole));
		free(raw.ptr);
	}
}

static void
test_cursor_cut_at_every_pair_of_bytes(void)
{
	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
		struct raw raw = raw_of((check_row = streams[i].name, streams[i].text));

		for (size_t a = 0; a <= raw.len; a++) {
			for (size_t b = a; b <= raw.len; b++) {
				struct mqt_mqtt_cursor cursor = { 0 };
				struct mqt_mqtt_seen seen = { 0 };
				bool ok;

				feed(&cursor, raw.ptr, a, &seen);
				feed(&cursor, raw.ptr + a, b - a, &seen);
				ok = feed(&cursor, raw.ptr + b, raw.len - b, &seen);
				check_stream(&streams[i], &cursor, &seen, ok);
			}
		}
		free(raw.ptr);
	}
}

static void
test_cursor_stays_broken(void)
{
	static const uint8_t ping[] = { 0xc0, 0 };
	struct mqt_mqtt_cursor cursor = { 0 };
	struct mqt_mqtt_seen seen = { 0 };

	CHECK(!feed(&cursor, (const uint8_t[]){ 0x36 }, 1, &seen));
	for (int i = 0; i < 3; i++)
		CHECK(!feed(&cursor, ping, sizeof(ping), &seen));
	CHECK(!feed(&cursor, ping, 0, &seen));
	CHECK_EQ(cursor.error, MQT_MQTT_E_QOS);
	CHECK_EQ(seen.packets, 0);
	CHECK(!mqt_mqtt_cursor_at_boundary(&cursor));
}

static void
test_cursor_adds_to_what_was_seen(void)
{
	struct mqt_mqtt_seen seen = { .packets = 7, .publishes = 3, .types = T(CONNECT) };
	struct mqt_mqtt_cursor cursor = { 0 };

	CHECK(feed(&cursor, (const uint8_t[]){ 0x30, 1, 0, 0xd0, 0 }, 5, &seen));
	CHECK_EQ(seen.packets, 9);
	CHECK_EQ(seen.publishes, 4);
	CHECK_EQ(seen.types, T(CONNECT) | T(PUBLISH) | T(PINGRESP));
}

static void
test_cursor_follows_the_longest_packet(void)
{
	size_t chunk = 1 << 20;
	uint8_t *body = malloc(chunk);
	struct mqt_mqtt_cursor cursor = { 0 };
	struct mqt_mqtt_seen seen = { 0 };
	uint32_t left = MQT_MQTT_REMAINING_MAX;

	memset(body, 0xff, chunk); /* would break the framing if it were looked at */
	CHECK(feed(&cursor, (const uint8_t[]){ 0x30, 0xff, 0xff, 0xff, 0x7f }, 5, &seen));
	for (; left > chunk; left -= (uint32_t)chunk) {
		CHECK_EQ(cursor.skip, left);
		CHECK(mqt_mqtt_cursor_feed(&cursor, body, chunk, &seen));
	}
	CHECK_EQ(seen.packets, 0);
	CHECK(mqt_mqtt_cursor_feed(&cursor, body, left, &seen));
	CHECK_EQ(seen.packets, 1);
	CHECK(mqt_mqtt_cursor_at_boundary(&cursor));
	free(body);
}

/* One packet of a random kind; returns its length and counts it. */
static size_t
mixed_packet(uint8_t *buf, size_t cap, uint32_t *random, struct mqt_mqtt_seen *seen)
{
	static const uint8_t acks[][4] = { { 0x40, 2, 0, 1 }, { 0x50, 2, 0, 1 }, { 0x62, 2, 0, 1 },
		{ 0x70, 2, 0, 1 }, { 0xb0, 2, 0, 1 }, { 0x20, 2, 0, 0 }, { 0xe0, 2, 0x8e, 0 } };
	static const uint32_t sizes[] = { 0, 1, 100, 115, 120, 122, 123, 124, 125, 126, 130, 1500,
		16370, 16380, 16390, 70000 };
	static uint8_t payload[70000];
	uint32_t kind = next_random(random) % 4, pick = next_random(random);
	struct mqt_mqtt_connect connect = { .version = 4, .clientid = bytes_of("mixed") };
	struct mqt_bytes body = { payload, sizes[pick % 16] };
	uint8_t qos = (uint8_t)(pick >> 8 & 1);
	size_t n;

	if (kind == 0)
		n = mqt_mqtt_publish_encode(buf, cap, (uint8_t)(3 + pick % 3), qos,
				qos ? 1 + (pick & 0xff) : 0, bytes_of("t"), body);
	else if (kind == 1)
		n = mqt_mqtt_empty_encode(buf, cap, MQT_MQTT_PINGREQ + pick % 3);
	else if (kind == 2)
		n = mqt_mqtt_connect_encode(buf, cap, &connect);
	else
		memcpy(buf, acks[pick % 7], n = 4);
	seen->packets++;
	seen->publishes += buf[0] >> 4 == MQT_MQTT_PUBLISH;
	seen->types |= (uint16_t)(1u << (buf[0] >> 4));
	return n;
}

static void
test_cursor_follows_a_large_mixed_stream(void)
{
	static const size_t chunks[] = { 1, 2, 3, 7, 536, 1448, 9000, 65536 };
	size_t cap = 32u << 20, len = 0;
	uint8_t *stream = malloc(cap);
	struct mqt_mqtt_seen want = { 0 };
	uint32_t random = 2463534242u;

	while (cap - len > 80000)
		len += mixed_packet(stream + len, cap - len, &random, &want);
	CHECK(want.packets > 1000 && want.publishes > 100);
	for (size_t i = 0; i <= sizeof(chunks) / sizeof(chunks[0]); i++) {
		struct mqt_mqtt_cursor cursor = { 0 };
		struct mqt_mqtt_seen seen = { 0 };
		size_t at = 0, n;

		/* The last round takes a size at random for each chunk. */
		for (; at < len; at += n) {
			n = chunks[i < 8 ? i : next_random(&random) % 8];
			n = n < len - at ? n : len - at;
			if (!mqt_mqtt_cursor_feed(&cursor, stream + at, n, &seen))
				break;
		}
		CHECK_EQ(at, len);
		CHECK_EQ(seen.packets, want.packets);
		CHECK_EQ(seen.publishes, want.publishes);
		CHECK_EQ(seen.types, want.types);
		CHECK(mqt_mqtt_cursor_at_boundary(&cursor));
	}
	free(stream);
}

/* Encoders. */

static void
test_connect_round_trip(void)
{
	for (unsigned bits = 0; bits < 3 * 3 * 64; bits++) {
		struct mqt_mqtt_connect in = { .version = (uint8_t)(3 + bits % 3),
			.will_qos = (uint8_t)(bits / 3 % 3),
			.bridge = bits / 9 & 1,
			.clean_start = bits / 9 & 2,
			.has_will = bits / 9 & 4,
			.will_retain = bits / 9 & 8,
			.has_username = bits / 9 & 16,
			.has_expiry = bits / 9 & 32,
			.keepalive_sec = (uint16_t)(bits * 113),
			.expiry_sec = bits / 9 & 32 ? 0xfedcba98 : 0,
			.clientid = bytes_of("client-1") };
		bool expressible = (!in.has_expiry || in.version == 5) &&
				(in.has_will || (in.will_qos == 0 && !in.will_retain));
		struct mqt_mqtt_connect out = { 0 };
		uint8_t buf[128];
		size_t n;

		if (in.has_username)
			in.username = bytes_of("me");
		n = mqt_mqtt_connect_encode(buf, sizeof(buf), &in);
		CHECK_EQ(n > 0, expressible);
		if (n == 0)
			continue;
		CHECK_EQ(mqt_mqtt_connect_parse(buf, n, &out, NULL), MQT_PARSE_OK);
		CHECK_EQ(out.packet_len, n);
		check_connect(&out, &in);
		CHECK(bytes_are(out.clientid, "client-1"));
		CHECK(bytes_are(out.username, in.has_username ? "me" : ""));
	}
}

static void
test_connack_round_trip(void)
{
	for (unsigned bits = 0; bits < 3 * 32; bits++) {
		uint8_t version = (uint8_t)(3 + bits % 3);
		struct mqt_mqtt_connack in = { .session_present = bits / 3 & 1,
			.has_expiry = bits / 3 & 2,
			.has_keepalive = bits / 3 & 4,
			.assigned_clientid = bytes_of(bits / 3 & 8 ? "auto-1" : ""),
			.code = bits / 3 & 16 ? (version == 5 ? MQT_MQTT_RC_SERVER_BUSY : 3) : 0,
			.expiry_sec = bits / 3 & 2 ? 0x12345678 : 0,
			.keepalive_sec = bits / 3 & 4 ? 0xabcd : 0 };
		bool has_property =
				in.has_expiry || in.has_keepalive || in.assigned_clientid.len > 0;
		bool expressible = !(in.session_present && (in.code != 0 || version == 3)) &&
				(version == 5 || !has_property);
		struct mqt_mqtt_connack out = { 0 };
		uint8_t buf[64];
		size_t n = mqt_mqtt_connack_encode(buf, sizeof(buf), version, &in);

		CHECK_EQ(n > 0, expressible);
		if (n == 0)
			continue;
		CHECK_EQ(mqt_mqtt_connack_parse(buf, n, version, &out, NULL), MQT_PARSE_OK);
		CHECK_EQ(out.packet_len, n);
		check_connack(&out, &in);
		CHECK(bytes_are(out.assigned_clientid, bits / 3 & 8 ? "auto-1" : ""));
	}
}

/* What each encoder writes for one packet, by index; 0 behind the last. */
static size_t
encode_nth(unsigned nth, uint8_t *buf, size_t cap, const char **text)
{
	static const struct mqt_mqtt_connect connect = { .version = 5,
		.clean_start = true,
		.has_will = true,
		.will_qos = 1,
		.has_username = true,
		.has_expiry = true,
		.keepalive_sec = 60,
		.expiry_sec = 1,
		.clientid = { (const uint8_t *)"id", 2 },
		.username = { (const uint8_t *)"u", 1 } };
	static const struct mqt_mqtt_connect connect_v3 = {
		.version = 3, .bridge = true, .clientid = { (const uint8_t *)"id", 2 }
	};
	static const struct mqt_mqtt_connack busy = { .code = MQT_MQTT_RC_SERVER_BUSY },
					     refused = { .code = 3 },
					     full = { .session_present = true,
						     .has_expiry = true,
						     .expiry_sec = 2,
						     .has_keepalive = true,
						     .keepalive_sec = 3,
						     .assigned_clientid = {
								     (const uint8_t *)"a", 1 } };

	switch (nth) {
	case 0:
		*text = "e0 00";
		return mqt_mqtt_disconnect_encode(buf, cap, 3, 0);
	case 1:
		*text = "e0 00";
		return mqt_mqtt_disconnect_encode(buf, cap, 4, 0);
	case 2:
		*text = "e0 00";
		return mqt_mqtt_disconnect_encode(buf, cap, 5, 0);
	case 3:
		*text = "e0 02 8e 00";
		return mqt_mqtt_disconnect_encode(buf, cap, 5, MQT_MQTT_RC_TAKEN_OVER);
	case 4:
		*text = "e0 02 98 00";
		return mqt_mqtt_disconnect_encode(buf, cap, 5, MQT_MQTT_RC_ADMINISTRATIVE);
	case 5:
		*text = "20 03 00 89 00";
		return mqt_mqtt_connack_encode(buf, cap, 5, &busy);
	case 6:
		*text = "20 02 00 03";
		return mqt_mqtt_connack_encode(buf, cap, 4, &refused);
	case 7:
		*text = "20 02 00 03";
		return mqt_mqtt_connack_encode(buf, cap, 3, &refused);
	case 8:
		*text = "20 0f 01 00 0c 11 00 00 00 02 12 00 01 'a' 13 00 03";
		return mqt_mqtt_connack_encode(buf, cap, 5, &full);
	case 9:
		*text = "10 1d 00 04 'MQTT' 05 8e 00 3c 05 11 00 00 00 01 00 02 'id' 00 00 01 'w' "
			"00 00 "
			"00 01 'u'";
		return mqt_mqtt_connect_encode(buf, cap, &connect);
	case 10:
		*text = "10 10 00 06 'MQIsdp' 83 00 00 00 00 02 'id'";
		return mqt_mqtt_connect_encode(buf, cap, &connect_v3);
	case 11:
		*text = "30 05 00 01 't' 'ab'";
		return mqt_mqtt_publish_encode(buf, cap, 4, 0, 0, bytes_of("t"), bytes_of("ab"));
	case 12:
		*text = "32 05 00 01 't' 12 34";
		return mqt_mqtt_publish_encode(buf, cap, 3, 1, 0x1234, bytes_of("t"), bytes_of(""));
	case 13:
		*text = "34 08 00 01 't' 00 01 00 'ab'";
		return mqt_mqtt_publish_encode(buf, cap, 5, 2, 1, bytes_of("t"), bytes_of("ab"));
	case 14:
		*text = "c0 00";
		return mqt_mqtt_empty_encode(buf, cap, MQT_MQTT_PINGREQ);
	case 15:
		*text = "d0 00";
		return mqt_mqtt_empty_encode(buf, cap, MQT_MQTT_PINGRESP);
	case 16:
		*text = "e0 00";
		return mqt_mqtt_empty_encode(buf, cap, MQT_MQTT_DISCONNECT);
	}
	*text = NULL;
	return 0;
}

static void
test_encoders_write_these_bytes_and_need_their_room(void)
{
	const char *text = "";

	for (unsigned nth = 0; text != NULL; nth++) {
		uint8_t buf[64], untouched[64];
		struct raw want;
		size_t n;

		memset(untouched, 0x5a, sizeof(untouched));
		memcpy(buf, untouched, sizeof(buf));
		n = encode_nth(nth, buf, sizeof(buf), &text);
		if (text == NULL)
			break;
		want = raw_of(check_row = text);
		CHECK_EQ(n, want.len);
		CHECK_MEM(buf, want.ptr, want.len);
		CHECK_MEM(buf + want.len, untouched, sizeof(buf) - want.len);
		memcpy(buf, untouched, sizeof(buf));
		for (size_t cap = 0; cap < want.len; cap++) {
			CHECK_EQ(encode_nth(nth, buf, cap, &text), 0);
			CHECK_MEM(buf, untouched, sizeof(buf));
		}
		CHECK_EQ(encode_nth(nth, buf, want.len, &text), want.len);
		free(want.ptr);
	}
}

static void
test_encoders_need_their_room_at_each_length(void)
{
	static const uint32_t remaining[] = { 3, 127, 128, 16383, 16384, 2097151, 2097152 };
	uint8_t *buf = malloc(2097152 + 5), *payload = calloc(1, 2097152);
	struct mqt_mqtt_header h;
	size_t need;

	for (size_t i = 0; i < sizeof(remaining) / sizeof(remaining[0]); i++) {
		struct mqt_bytes body = { payload, remaining[i] - 3 };

		need = mqt_mqtt_publish_encode(buf, 2097152 + 5, 4, 0, 0, bytes_of("t"), body);
		CHECK_EQ(mqt_mqtt_header_parse(buf, need, &h, NULL), MQT_PARSE_OK);
		CHECK_EQ(h.remaining, remaining[i]);
		CHECK_EQ(need, h.len + h.remaining);
		CHECK_EQ(mqt_mqtt_publish_encode(buf, need, 4, 0, 0, bytes_of("t"), body), need);
		CHECK_EQ(mqt_mqtt_publish_encode(buf, need - 1, 4, 0, 0, bytes_of("t"), body), 0);
	}
	free(buf);
	free(payload);
}

static void
test_encoders_refuse_what_cannot_be_written(void)
{
	struct mqt_mqtt_connect connect = { .version = 4, .clean_start = true };
	struct mqt_bytes long_bytes = { (const uint8_t *)"", 65536 }, empty = { NULL, 0 };
	struct mqt_bytes huge = { (const uint8_t *)"", MQT_MQTT_REMAINING_MAX };
	struct mqt_mqtt_connack connack = { 0 };
	static uint8_t buf[70000];

	CHECK_EQ(mqt_mqtt_disconnect_encode(buf, sizeof(buf), 4, 0x8e), 0);
	CHECK_EQ(mqt_mqtt_disconnect_encode(buf, sizeof(buf), 6, 0), 0);
	CHECK_EQ(mqt_mqtt_empty_encode(buf, sizeof(buf), MQT_MQTT_PUBLISH), 0);
	CHECK_EQ(mqt_mqtt_empty_encode(buf, sizeof(buf), MQT_MQTT_CONNACK), 0);
	CHECK_EQ(mqt_mqtt_connack_encode(buf, sizeof(buf), 2, &connack), 0);
	connack.assigned_clientid = long_bytes;
	CHECK_EQ(mqt_mqtt_connack_encode(buf, sizeof(buf), 5, &connack), 0);
	for (unsigned version = 0; version < 256; version++)
		if (version < 3 || version > 5) {
			connect.version = (uint8_t)version;
			CHECK_EQ(mqt_mqtt_connect_encode(buf, sizeof(buf), &connect), 0);
		}
	connect.version = 4;
	CHECK(mqt_mqtt_connect_encode(buf, sizeof(buf), &connect) > 0);
	connect.has_will = true;
	connect.will_qos = 3;
	CHECK_EQ(mqt_mqtt_connect_encode(buf, sizeof(buf), &connect), 0);
	connect.will_qos = 0;
	connect.has_username = true;
	connect.username = long_bytes;
	CHECK_EQ(mqt_mqtt_connect_encode(buf, sizeof(buf), &connect), 0);
	CHECK_EQ(mqt_mqtt_publish_encode(buf, sizeof(buf), 4, 3, 1, bytes_of("t"), empty), 0);
	CHECK_EQ(mqt_mqtt_publish_encode(buf, sizeof(buf), 4, 1, 0, bytes_of("t"), empty), 0);
	CHECK_EQ(mqt_mqtt_publish_encode(buf, sizeof(buf), 4, 0, 1, bytes_of("t"), empty), 0);
	CHECK_EQ(mqt_mqtt_publish_encode(buf, sizeof(buf), 4, 0, 0, long_bytes, empty), 0);
	CHECK_EQ(mqt_mqtt_publish_encode(buf, SIZE_MAX, 4, 0, 0, bytes_of("t"), huge), 0);
}

static void
test_error_names_are_distinct(void)
{
	for (unsigned a = 0; a < MQT_MQTT_N_ERRORS; a++) {
		CHECK(mqt_mqtt_error_name(a) != NULL);
		for (unsigned b = 0; b < a; b++)
			CHECK(strcmp(mqt_mqtt_error_name(a), mqt_mqtt_error_name(b)) != 0);
	}
	CHECK_STR(mqt_mqtt_error_name(MQT_MQTT_E_VARINT), "varint");
	CHECK_STR(mqt_mqtt_error_name(MQT_MQTT_N_ERRORS), "unknown");
}

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, test_##name                                                                 \
	}

static CU_TestInfo parse_tests[] = {
	TEST(header_parse_follows_its_table),
	TEST(connect_fields),
	TEST(connect_prefix_is_more),
	TEST(connect_leaves_what_follows),
	TEST(connect_bad_from_its_byte_on),
	TEST(connect_verdicts_are_monotonic),
	TEST(connect_takes_many_user_properties),
	TEST(properties_stand_where_they_may_and_once),
	TEST(connect_takes_long_client_ids),
	TEST(strings_are_utf8_without_zero),
	TEST(connack_fields),
	TEST(connack_prefix_is_more),
	TEST(connack_bad_from_its_byte_on),
	TEST(connack_v5_knows_all_connect_reason_codes),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo cursor_tests[] = {
	TEST(cursor_whole_and_byte_by_byte),
	TEST(cursor_cut_at_every_pair_of_bytes),
	TEST(cursor_stays_broken),
	TEST(cursor_adds_to_what_was_seen),
	TEST(cursor_follows_the_longest_packet),
	TEST(cursor_follows_a_large_mixed_stream),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo encode_tests[] = {
	TEST(connect_round_trip),
	TEST(connack_round_trip),
	TEST(encoders_write_these_bytes_and_need_their_room),
	TEST(encoders_need_their_room_at_each_length),
	TEST(encoders_refuse_what_cannot_be_written),
	TEST(error_names_are_distinct),
	CU_TEST_INFO_NULL,
};

int
main(void)
{
	CU_SuiteInfo suites[] = {
		{ .pName = "mqtt parse", .pTests = parse_tests },
		{ .pName = "mqtt cursor", .pTests = cursor_tests },
		{ .pName = "mqtt encode", .pTests = encode_tests },
		CU_SUITE_INFO_NULL,
	};

	return check_run(suites);
}
