/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MQTT packets that are read: fixed header, CONNECT, CONNACK.
 */
#include "mqtt_rig.h"
#include "mqtt_vectors.h"

#include <stdlib.h>

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

static CU_SuiteInfo suites[] = {
	{ "mqtt parse", NULL, NULL, NULL, NULL, parse_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return check_run(suites);
}
