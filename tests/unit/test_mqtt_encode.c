/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MQTT packets that are written; each is read again.
 */
#include "mqtt_rig.h"
#include "mqtt_vectors.h"

#include <stdlib.h>

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

static CU_TestInfo encode_tests[] = {
	TEST(connect_round_trip),
	TEST(connack_round_trip),
	TEST(encoders_write_these_bytes_and_need_their_room),
	TEST(encoders_need_their_room_at_each_length),
	TEST(encoders_refuse_what_cannot_be_written),
	TEST(error_names_are_distinct),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "mqtt encode", NULL, NULL, NULL, NULL, encode_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return check_run(suites);
}
