/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_MQTT_VECTORS_H
#define TESTS_UNIT_MQTT_VECTORS_H

/*
 * MQTT on the wire as text: pairs of hexadecimal digits, and 'text' as it is. Right packets with
 * what is in them, wrong ones with the error and the byte from which on it is known, streams with
 * what a cursor sees in them.
 */

#include "mqtrack/mqtt.h"

/* Fixed headers. */
static const struct {
	const char *text;
	enum mqt_parse parse;
	enum mqt_mqtt_error error;
	uint8_t type, flags, len;
	uint32_t remaining;
} headers[] = {
	{ "", MQT_PARSE_MORE, 0, 0, 0, 0, 0 },
	{ "c0", MQT_PARSE_MORE, 0, 0, 0, 0, 0 },
	{ "30 80", MQT_PARSE_MORE, 0, 0, 0, 0, 0 },
	{ "30 ff ff", MQT_PARSE_MORE, 0, 0, 0, 0, 0 },
	{ "30 ff ff ff", MQT_PARSE_MORE, 0, 0, 0, 0, 0 },
	{ "c0 00", MQT_PARSE_OK, 0, 12, 0, 2, 0 },
	{ "30 7f", MQT_PARSE_OK, 0, 3, 0, 2, 127 },
	{ "3b 80 01", MQT_PARSE_OK, 0, 3, 11, 3, 128 },
	{ "3d ff 7f", MQT_PARSE_OK, 0, 3, 13, 3, 16383 },
	{ "30 80 80 01", MQT_PARSE_OK, 0, 3, 0, 4, 16384 },
	{ "30 ff ff 7f", MQT_PARSE_OK, 0, 3, 0, 4, 2097151 },
	{ "30 80 80 80 01", MQT_PARSE_OK, 0, 3, 0, 5, 2097152 },
	{ "30 ff ff ff 7f", MQT_PARSE_OK, 0, 3, 0, 5, MQT_MQTT_REMAINING_MAX },
	{ "e0 80 00", MQT_PARSE_OK, 0, 14, 0, 3, 0 }, /* padded: fine in 3.x */
	{ "62 02", MQT_PARSE_OK, 0, 6, 2, 2, 2 },
	{ "6a 02", MQT_PARSE_OK, 0, 6, 10, 2, 2 }, /* 3.1 repeats with DUP */
	{ "82 02", MQT_PARSE_OK, 0, 8, 2, 2, 2 },
	{ "a2 02", MQT_PARSE_OK, 0, 10, 2, 2, 2 },
	{ "f0 00", MQT_PARSE_OK, 0, 15, 0, 2, 0 },
	{ "30 80 80 80 80", MQT_PARSE_BAD, MQT_MQTT_E_VARINT, 0, 0, 0, 0 },
	{ "30 ff ff ff ff 01", MQT_PARSE_BAD, MQT_MQTT_E_VARINT, 0, 0, 0, 0 },
	{ "00", MQT_PARSE_BAD, MQT_MQTT_E_TYPE, 0, 0, 0, 0 },
	{ "0f 00", MQT_PARSE_BAD, MQT_MQTT_E_TYPE, 0, 0, 0, 0 },
	{ "36", MQT_PARSE_BAD, MQT_MQTT_E_QOS, 0, 0, 0, 0 },
	{ "3f 00", MQT_PARSE_BAD, MQT_MQTT_E_QOS, 0, 0, 0, 0 },
	{ "11", MQT_PARSE_BAD, MQT_MQTT_E_FLAGS, 0, 0, 0, 0 },
	{ "22", MQT_PARSE_BAD, MQT_MQTT_E_FLAGS, 0, 0, 0, 0 },
	{ "41", MQT_PARSE_BAD, MQT_MQTT_E_FLAGS, 0, 0, 0, 0 },
	{ "52", MQT_PARSE_BAD, MQT_MQTT_E_FLAGS, 0, 0, 0, 0 },
	{ "60", MQT_PARSE_BAD, MQT_MQTT_E_FLAGS, 0, 0, 0, 0 },
	{ "72", MQT_PARSE_BAD, MQT_MQTT_E_FLAGS, 0, 0, 0, 0 },
	{ "80", MQT_PARSE_BAD, MQT_MQTT_E_FLAGS, 0, 0, 0, 0 },
	{ "92", MQT_PARSE_BAD, MQT_MQTT_E_FLAGS, 0, 0, 0, 0 },
	{ "a1", MQT_PARSE_BAD, MQT_MQTT_E_FLAGS, 0, 0, 0, 0 },
	{ "b2", MQT_PARSE_BAD, MQT_MQTT_E_FLAGS, 0, 0, 0, 0 },
	{ "c8", MQT_PARSE_BAD, MQT_MQTT_E_FLAGS, 0, 0, 0, 0 },
	{ "d1", MQT_PARSE_BAD, MQT_MQTT_E_FLAGS, 0, 0, 0, 0 },
	{ "e1", MQT_PARSE_BAD, MQT_MQTT_E_FLAGS, 0, 0, 0, 0 },
	{ "f2", MQT_PARSE_BAD, MQT_MQTT_E_FLAGS, 0, 0, 0, 0 },
};

/*
 * Flags: b bridge, c clean start, w will, 0 1 2 its QoS, r will retain, u user name, e expiry.
 */
static const struct connect_vector {
	const char *name, *text;
	uint8_t version;
	const char *flags;
	uint16_t keepalive_sec;
	uint32_t expiry_sec;
	const char *clientid, *username;
} connects[] = {
	{ "5.0 length longer than needed", "10 8d 00 00 04 'MQTT' 05 00 00 3c 00 00 00", 5, "", 60,
			0, "", "" },
	{ "5.0 length two bytes longer than needed",
			"10 8d 80 00 00 04 'MQTT' 05 00 00 3c 00 00 00", 5, "", 60, 0, "", "" },
	{ "5.0 property length longer than needed",
			"10 0f 00 04 'MQTT' 05 02 00 3c 80 00 00 01 'a'", 5, "c", 60, 0, "a", "" },
	{ "3.1", "10 0f 00 06 'MQIsdp' 03 02 00 3c 00 01 'a'", 3, "c", 60, 0, "a", "" },
	{ "3.1 clean session 0, long client id",
			"10 26 00 06 'MQIsdp' 03 00 00 00 00 18 'abcdefghijklmnopqrstuvwx'", 3, "",
			0, 0, "abcdefghijklmnopqrstuvwx", "" },
	{ "3.1 bridge", "10 0f 00 06 'MQIsdp' 83 02 00 3c 00 01 'a'", 3, "bc", 60, 0, "a", "" },
	{ "3.1 bit 0 is unused", "10 0f 00 06 'MQIsdp' 03 03 00 3c 00 01 'a'", 3, "c", 60, 0, "a",
			"" },
	{ "3.1 will bits without will", "10 0f 00 06 'MQIsdp' 03 2a 00 3c 00 01 'a'", 3, "c", 60, 0,
			"a", "" },
	{ "3.1 user name announced and missing", "10 0f 00 06 'MQIsdp' 03 82 00 3c 00 01 'a'", 3,
			"c", 60, 0, "a", "" },
	{ "3.1 user name and password announced and missing",
			"10 0f 00 06 'MQIsdp' 03 c2 00 3c 00 01 'a'", 3, "c", 60, 0, "a", "" },
	{ "3.1 password announced and missing",
			"10 13 00 06 'MQIsdp' 03 c2 00 3c 00 01 'a' 00 02 'me'", 3, "cu", 60, 0,
			"a", "me" },
	{ "3.1 everything",
			"10 1f 00 06 'MQIsdp' 03 f6 ff ff 00 01 'a' 00 03 't/w' 00 01 00 00 02 "
			"'me' 00 02 'pw'",
			3, "cw2ru", 65535, 0, "a", "me" },
	{ "3.1.1 without client id", "10 0c 00 04 'MQTT' 04 02 00 3c 00 00", 4, "c", 60, 0, "",
			"" },
	{ "3.1.1", "10 0f 00 04 'MQTT' 04 00 00 0a 00 03 'c-1'", 4, "", 10, 0, "c-1", "" },
	{ "3.1.1 bridge", "10 0f 00 04 'MQTT' 84 00 00 0a 00 03 'c-1'", 4, "b", 10, 0, "c-1", "" },
	{ "3.1.1 length longer than needed", "10 8f 80 00 00 04 'MQTT' 04 00 00 0a 00 03 'c-1'", 4,
			"", 10, 0, "c-1", "" },
	{ "3.1.1 user name", "10 13 00 04 'MQTT' 04 82 00 0a 00 03 'c-1' 00 02 'me'", 4, "cu", 10,
			0, "c-1", "me" },
	{ "3.1.1 empty user name, binary password",
			"10 16 00 04 'MQTT' 04 c2 00 0a 00 03 'c-1' 00 00 00 03 00 ff c0", 4, "cu",
			10, 0, "c-1", "" },
	{ "3.1.1 will", "10 17 00 04 'MQTT' 04 0e 00 0a 00 03 'c-1' 00 02 'tw' 00 02 00 80", 4,
			"cw1", 10, 0, "c-1", "" },
	{ "3.1.1 client id beyond ASCII",
			"10 15 00 04 'MQTT' 04 02 00 0a 00 09 c3 a9 e2 82 ac f0 9f 98 80", 4, "c",
			10, 0, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "" },
	{ "5.0 without client id, clean start 0", "10 0d 00 04 'MQTT' 05 00 00 3c 00 00 00", 5, "",
			60, 0, "", "" },
	{ "5.0", "10 10 00 04 'MQTT' 05 02 00 3c 00 00 03 'c-1'", 5, "c", 60, 0, "c-1", "" },
	{ "5.0 bridge", "10 10 00 04 'MQTT' 85 02 00 3c 00 00 03 'c-1'", 5, "bc", 60, 0, "c-1",
			"" },
	{ "5.0 session expiry", "10 15 00 04 'MQTT' 05 00 00 3c 05 11 01 02 03 04 00 03 'c-1'", 5,
			"e", 60, 0x01020304, "c-1", "" },
	{ "5.0 session expiry 0", "10 15 00 04 'MQTT' 05 00 00 3c 05 11 00 00 00 00 00 03 'c-1'", 5,
			"e", 60, 0, "c-1", "" },
	{ "5.0 password without user name",
			"10 14 00 04 'MQTT' 05 42 00 3c 00 00 03 'c-1' 00 02 'pw'", 5, "c", 60, 0,
			"c-1", "" },
	{ "5.0 authentication data without method",
			"10 12 00 04 'MQTT' 05 02 00 3c 04 16 00 01 00 00 01 'a'", 5, "c", 60, 0,
			"a", "" },
	{ "5.0 each property of CONNECT",
			"10 42 00 04 'MQTT' 05 02 00 3c 32 11 ff ff ff ff 21 00 01 27 00 00 00 01 "
			"22 00 00 19 01 17 00 26 00 01 'k' 00 01 'v' 26 00 01 'k' 00 01 'w' 26 00 "
			"00 00 00 15 00 02 'sc' 16 00 03 00 ff fe 00 03 'c-1'",
			5, "ce", 60, 0xffffffff, "c-1", "" },
	{ "5.0 each property of a will, user name, password",
			"10 3f 00 04 'MQTT' 05 e6 00 3c 00 00 03 'c-1' 24 18 00 00 00 05 01 01 02 "
			"00 00 00 00 03 00 01 'c' 08 00 01 'r' 09 00 01 00 26 00 00 00 01 'v' 26 "
			"00 00 00 01 'v' 00 01 'w' 00 00 00 00 00 01 'p'",
			5, "cw0ru", 60, 0, "c-1", "" },
};

/* What begins no CONNECT. @decided: bytes from which on it is known; 0: once it is whole. */
static const struct {
	const char *name, *text;
	enum mqt_mqtt_error error;
	unsigned decided;
} bad_connects[] = {
	{ "TLS ClientHello", "16 03 01 02 00 01 00", MQT_MQTT_E_TYPE, 1 },
	{ "HTTP", "'GET /mqtt HTTP/1.1'", MQT_MQTT_E_TYPE, 1 },
	{ "HTTP POST", "'POST / HTTP/1.1'", MQT_MQTT_E_TYPE, 1 },
	{ "PROXY", "'PROXY TCP4 192.0.2.1'", MQT_MQTT_E_TYPE, 1 },
	{ "SSH", "'SSH-2.0-'", MQT_MQTT_E_TYPE, 1 },
	{ "type 0", "00 00", MQT_MQTT_E_TYPE, 1 },
	{ "PINGREQ", "c0 00", MQT_MQTT_E_TYPE, 1 },
	{ "CONNACK", "20 02 00 00", MQT_MQTT_E_TYPE, 1 },
	{ "flags", "11 0c 00 04 'MQTT' 04 02 00 3c 00 00", MQT_MQTT_E_FLAGS, 1 },
	{ "flags", "18 0c 00 04 'MQTT' 04 02 00 3c 00 00", MQT_MQTT_E_FLAGS, 1 },
	{ "fourth continuation bit", "10 8c 80 80 80 00", MQT_MQTT_E_VARINT, 5 },
	{ "nothing behind the header", "10 00", MQT_MQTT_E_LENGTH, 2 },
	{ "shorter than any", "10 0b 00 04 'MQTT' 04 02 00 3c 00", MQT_MQTT_E_LENGTH, 2 },
	{ "name length", "10 0c 01 04 'MQTT' 04 02 00 3c 00 00", MQT_MQTT_E_PROTOCOL, 3 },
	{ "name length", "10 0c 00 05 'MQTTX' 04 02 00 3c 00 00", MQT_MQTT_E_PROTOCOL, 4 },
	{ "name length 0", "10 0c 00 00 'MQTT' 04 02 00 3c 00 00", MQT_MQTT_E_PROTOCOL, 4 },
	{ "name in the wrong case", "10 0c 00 04 'mqtt' 04 02 00 3c 00 00", MQT_MQTT_E_PROTOCOL,
			5 },
	{ "name in the wrong case", "10 0c 00 04 'MQTt' 04 02 00 3c 00 00", MQT_MQTT_E_PROTOCOL,
			8 },
	{ "3.1 name in the wrong case", "10 0f 00 06 'MQIsDp' 03 02 00 3c 00 01 'a'",
			MQT_MQTT_E_PROTOCOL, 9 },
	{ "the other name", "10 0f 00 06 'MQTTxx' 03 02 00 3c 00 01 'a'", MQT_MQTT_E_PROTOCOL, 7 },
	{ "MQTT level 3", "10 0d 00 04 'MQTT' 03 02 00 3c 00 01 'a'", MQT_MQTT_E_PROTOCOL, 9 },
	{ "MQTT level 6", "10 0d 00 04 'MQTT' 06 02 00 3c 00 01 'a'", MQT_MQTT_E_PROTOCOL, 9 },
	{ "MQTT level 0", "10 0d 00 04 'MQTT' 00 02 00 3c 00 01 'a'", MQT_MQTT_E_PROTOCOL, 9 },
	{ "MQTT level 4 and bit 6", "10 0d 00 04 'MQTT' 44 02 00 3c 00 01 'a'", MQT_MQTT_E_PROTOCOL,
			9 },
	{ "MQIsdp level 4", "10 0f 00 06 'MQIsdp' 04 02 00 3c 00 01 'a'", MQT_MQTT_E_PROTOCOL, 11 },
	{ "3.1 shorter than its head", "10 0c 00 06 'MQIsdp' 03 02 00 3c", MQT_MQTT_E_LENGTH, 11 },
	{ "3.1 shorter than any", "10 0d 00 06 'MQIsdp' 03 02 00 3c 00", MQT_MQTT_E_LENGTH, 11 },
	{ "3.1.1 reserved flag", "10 0d 00 04 'MQTT' 04 03 00 3c 00 01 'a'",
			MQT_MQTT_E_CONNECT_FLAGS, 10 },
	{ "5.0 reserved flag", "10 0e 00 04 'MQTT' 05 03 00 3c 00 00 01 'a'",
			MQT_MQTT_E_CONNECT_FLAGS, 10 },
	{ "will QoS 3", "10 13 00 04 'MQTT' 04 1e 00 3c 00 01 'a' 00 01 't' 00 01 'p'",
			MQT_MQTT_E_CONNECT_FLAGS, 10 },
	{ "3.1 will QoS 3", "10 0f 00 06 'MQIsdp' 03 1a 00 3c 00 01 'a'", MQT_MQTT_E_CONNECT_FLAGS,
			12 },
	{ "will QoS without will", "10 0d 00 04 'MQTT' 04 0a 00 3c 00 01 'a'",
			MQT_MQTT_E_CONNECT_FLAGS, 10 },
	{ "will retain without will", "10 0d 00 04 'MQTT' 04 22 00 3c 00 01 'a'",
			MQT_MQTT_E_CONNECT_FLAGS, 10 },
	{ "5.0 will retain without will", "10 0e 00 04 'MQTT' 05 22 00 3c 00 00 01 'a'",
			MQT_MQTT_E_CONNECT_FLAGS, 10 },
	{ "3.1.1 password without user name", "10 10 00 04 'MQTT' 04 42 00 3c 00 01 'a' 00 01 'p'",
			MQT_MQTT_E_CONNECT_FLAGS, 10 },
	{ "3.1 password without user name", "10 12 00 06 'MQIsdp' 03 42 00 3c 00 01 'a' 00 01 'p'",
			MQT_MQTT_E_CONNECT_FLAGS, 12 },
	{ "3.1.1 no client id, clean session 0", "10 0c 00 04 'MQTT' 04 00 00 3c 00 00",
			MQT_MQTT_E_CLIENTID, 0 },
	{ "3.1 no client id", "10 0e 00 06 'MQIsdp' 03 02 00 3c 00 00", MQT_MQTT_E_CLIENTID, 0 },
	{ "client id passes the end", "10 0d 00 04 'MQTT' 04 02 00 3c 00 02 'a'", MQT_MQTT_E_LENGTH,
			0 },
	{ "half a client id length", "10 0d 00 04 'MQTT' 05 02 00 3c 00 00 01", MQT_MQTT_E_LENGTH,
			0 },
	{ "bytes left", "10 0e 00 04 'MQTT' 04 02 00 3c 00 01 'ab'", MQT_MQTT_E_LENGTH, 0 },
	{ "will without topic", "10 0d 00 04 'MQTT' 04 06 00 3c 00 01 'a'", MQT_MQTT_E_LENGTH, 0 },
	{ "will without payload", "10 10 00 04 'MQTT' 04 06 00 3c 00 01 'a' 00 01 't'",
			MQT_MQTT_E_LENGTH, 0 },
	{ "will payload passes the end", "10 12 00 04 'MQTT' 04 06 00 3c 00 01 'a' 00 01 't' 00 01",
			MQT_MQTT_E_LENGTH, 0 },
	{ "3.1.1 user name missing", "10 0d 00 04 'MQTT' 04 82 00 3c 00 01 'a'", MQT_MQTT_E_LENGTH,
			0 },
	{ "3.1 half a user name length", "10 10 00 06 'MQIsdp' 03 82 00 3c 00 01 'a' 00",
			MQT_MQTT_E_LENGTH, 0 },
	{ "password missing", "10 10 00 04 'MQTT' 04 c2 00 3c 00 01 'a' 00 01 'u'",
			MQT_MQTT_E_LENGTH, 0 },
	{ "password passes the end", "10 13 00 04 'MQTT' 04 c2 00 3c 00 01 'a' 00 01 'u' 00 02 'p'",
			MQT_MQTT_E_LENGTH, 0 },
	{ "U+0000 in the client id", "10 0f 00 04 'MQTT' 04 02 00 3c 00 03 'a' 00 'b'",
			MQT_MQTT_E_STRING, 0 },
	{ "ill-formed client id", "10 0f 00 04 'MQTT' 04 02 00 3c 00 03 'a' ff 'b'",
			MQT_MQTT_E_STRING, 0 },
	{ "U+0000 in the will topic", "10 12 00 04 'MQTT' 04 06 00 3c 00 01 'a' 00 01 00 00 00",
			MQT_MQTT_E_STRING, 0 },
	{ "ill-formed user name", "10 10 00 04 'MQTT' 04 82 00 3c 00 01 'a' 00 01 80",
			MQT_MQTT_E_STRING, 0 },
	{ "ill-formed user property",
			"10 14 00 04 'MQTT' 05 02 00 3c 06 26 00 00 00 01 80 00 01 'a'",
			MQT_MQTT_E_STRING, 0 },
	{ "5.0 shorter than any", "10 0c 00 04 'MQTT' 05 02 00 3c 00 00", MQT_MQTT_E_LENGTH, 9 },
	{ "property length passes the end", "10 0d 00 04 'MQTT' 05 02 00 3c 03 00 00",
			MQT_MQTT_E_LENGTH, 0 },
	{ "property length of five bytes", "10 10 00 04 'MQTT' 05 02 00 3c 80 80 80 80 00 00",
			MQT_MQTT_E_VARINT, 0 },
	{ "property length cut", "10 0e 00 04 'MQTT' 05 02 00 3c 80 80 80 80", MQT_MQTT_E_VARINT,
			0 },
	{ "property length cut", "10 0d 00 04 'MQTT' 05 02 00 3c 80 80 80", MQT_MQTT_E_LENGTH, 0 },
	{ "property 0", "10 10 00 04 'MQTT' 05 02 00 3c 02 00 00 00 01 'a'", MQT_MQTT_E_PROPERTY,
			0 },
	{ "unknown property 0x7e", "10 10 00 04 'MQTT' 05 02 00 3c 02 7e 00 00 01 'a'",
			MQT_MQTT_E_PROPERTY, 0 },
	{ "unknown property 0xff", "10 10 00 04 'MQTT' 05 02 00 3c 02 ff 7f 00 01 'a'",
			MQT_MQTT_E_PROPERTY, 0 },
	{ "unknown property between known ones",
			"10 10 00 04 'MQTT' 05 02 00 3c 02 14 00 00 01 'a'", MQT_MQTT_E_PROPERTY,
			0 },
	{ "property of another packet", "10 11 00 04 'MQTT' 05 02 00 3c 03 23 00 01 00 01 'a'",
			MQT_MQTT_E_PROPERTY, 0 },
	{ "property of CONNACK", "10 11 00 04 'MQTT' 05 02 00 3c 03 13 00 01 00 01 'a'",
			MQT_MQTT_E_PROPERTY, 0 },
	{ "property of the will", "10 13 00 04 'MQTT' 05 02 00 3c 05 18 00 00 00 01 00 01 'a'",
			MQT_MQTT_E_PROPERTY, 0 },
	{ "property of CONNECT in the will",
			"10 17 00 04 'MQTT' 05 06 00 3c 00 00 01 'a' 03 21 00 01 00 01 't' 00 00",
			MQT_MQTT_E_PROPERTY, 0 },
	{ "session expiry twice",
			"10 18 00 04 'MQTT' 05 02 00 3c 0a 11 00 00 00 01 11 00 00 00 01 00 01 'a'",
			MQT_MQTT_E_PROPERTY, 0 },
	{ "will delay twice",
			"10 1e 00 04 'MQTT' 05 06 00 3c 00 00 01 'a' "
			"0a 18 00 00 00 01 18 00 00 00 01 00 01 't' 00 00",
			MQT_MQTT_E_PROPERTY, 0 },
	{ "receive maximum 0", "10 11 00 04 'MQTT' 05 02 00 3c 03 21 00 00 00 01 'a'",
			MQT_MQTT_E_PROPERTY, 0 },
	{ "maximum packet size 0", "10 13 00 04 'MQTT' 05 02 00 3c 05 27 00 00 00 00 00 01 'a'",
			MQT_MQTT_E_PROPERTY, 0 },
	{ "request problem information 2", "10 10 00 04 'MQTT' 05 02 00 3c 02 17 02 00 01 'a'",
			MQT_MQTT_E_PROPERTY, 0 },
	{ "property passes the property length",
			"10 13 00 04 'MQTT' 05 02 00 3c 03 11 00 00 00 01 00 01 'a'",
			MQT_MQTT_E_LENGTH, 0 },
	{ "property without value", "10 0f 00 04 'MQTT' 05 02 00 3c 01 17 00 01 'a'",
			MQT_MQTT_E_LENGTH, 0 },
	{ "user property without value", "10 12 00 04 'MQTT' 05 02 00 3c 04 26 00 01 'k' 00 01 'a'",
			MQT_MQTT_E_LENGTH, 0 },
};

/* Strings, as client ids. */
static const struct {
	const char *text;
	bool valid;
} utf8_strings[] = {
	{ "01", true },
	{ "1f 7f", true },
	{ "c2 80", true },
	{ "df bf", true },
	{ "e0 a0 80", true },
	{ "ed 9f bf", true },
	{ "ee 80 80", true },
	{ "ef bb bf", true }, /* U+FEFF stays what it is */
	{ "ef bf bf", true }, /* a non-character: may be refused, need not */
	{ "f0 90 80 80", true },
	{ "f4 8f bf bf", true },
	{ "00", false },
	{ "80", false },
	{ "bf", false },
	{ "c0 80", false }, /* Java's U+0000 */
	{ "c1 bf", false },
	{ "c2", false },
	{ "c2 41", false },
	{ "c2 c2 80", false },
	{ "e0 9f bf", false },
	{ "e2 82", false },
	{ "e2 82 41", false },
	{ "e2 41 82", false },
	{ "ed a0 80", false }, /* surrogates */
	{ "ed bf bf", false },
	{ "f0 8f bf bf", false },
	{ "f0 9f 98", false },
	{ "f0 9f 98 41", false },
	{ "f0 9f 41 80", false },
	{ "f4 90 80 80", false },
	{ "f5 80 80 80", false },
	{ "fe", false },
	{ "ff", false },
};

/* Flags: p session present, e expiry, k server keep alive. */
static const struct connack_vector {
	const char *name, *text;
	uint8_t version, code;
	const char *flags;
	uint16_t keepalive_sec;
	uint32_t expiry_sec;
	const char *assigned;
} connacks[] = {
	{ "5.0 length longer than needed", "20 83 00 00 00 00", 5, 0, "", 0, 0, "" },
	{ "5.0 property length longer than needed", "20 04 00 00 80 00", 5, 0, "", 0, 0, "" },
	{ "3.1", "20 02 00 00", 3, 0, "", 0, 0, "" },
	{ "3.1 reserved byte", "20 02 01 00", 3, 0, "", 0, 0, "" },
	{ "3.1 refused", "20 02 00 02", 3, 2, "", 0, 0, "" },
	{ "3.1.1", "20 02 00 00", 4, 0, "", 0, 0, "" },
	{ "3.1.1 session present", "20 02 01 00", 4, 0, "p", 0, 0, "" },
	{ "3.1.1 refused", "20 02 00 05", 4, 5, "", 0, 0, "" },
	{ "3.1.1 length longer than needed", "20 82 00 00 00", 4, 0, "", 0, 0, "" },
	{ "5.0", "20 03 00 00 00", 5, 0, "", 0, 0, "" },
	{ "5.0 session present", "20 03 01 00 00", 5, 0, "p", 0, 0, "" },
	{ "5.0 refused", "20 03 00 89 00", 5, 0x89, "", 0, 0, "" },
	{ "5.0 refused with a reason", "20 07 00 9f 04 1f 00 01 'r'", 5, 0x9f, "", 0, 0, "" },
	{ "3.1.1 broker refuses 5.0", "20 02 00 01", 5, 1, "", 0, 0, "" },
	{ "5.0 server keep alive", "20 06 00 00 03 13 01 02", 5, 0, "k", 0x102, 0, "" },
	{ "5.0 server keep alive 0", "20 06 00 00 03 13 00 00", 5, 0, "k", 0, 0, "" },
	{ "5.0 session expiry", "20 08 00 00 05 11 00 00 0e 10", 5, 0, "e", 0, 3600, "" },
	{ "5.0 assigned client id", "20 0b 00 00 08 12 00 05 'auto1'", 5, 0, "", 0, 0, "auto1" },
	{ "5.0 each property",
			"20 43 01 00 40 11 ff ff ff ff 21 00 0a 24 01 25 00 27 00 00 ff ff 12 00 "
			"01 'i' 22 00 00 1f 00 00 26 00 01 'k' 00 00 26 00 01 'k' 00 00 28 01 29 "
			"00 2a 01 13 00 1e 1a 00 00 1c 00 01 's' 15 00 01 'm' 16 00 02 00 ff",
			5, 0, "pek", 30, 0xffffffff, "i" },
};

static const struct {
	const char *name, *text;
	uint8_t version;
	enum mqt_mqtt_error error;
	unsigned decided; /* 0: once it is whole */
} bad_connacks[] = {
	{ "PUBLISH", "30 02 00 00", 4, MQT_MQTT_E_TYPE, 1 },
	{ "AUTH", "f0 02 18 00", 5, MQT_MQTT_E_TYPE, 1 },
	{ "type 0", "00 02 00 00", 4, MQT_MQTT_E_TYPE, 1 },
	{ "HTTP", "'HTTP/1.1 400'", 4, MQT_MQTT_E_TYPE, 1 },
	{ "flags", "22 02 00 00", 4, MQT_MQTT_E_FLAGS, 1 },
	{ "fourth continuation bit", "20 80 80 80 80", 4, MQT_MQTT_E_VARINT, 5 },
	{ "3.1.1 shorter", "20 01 00", 4, MQT_MQTT_E_LENGTH, 2 },
	{ "3.1.1 longer", "20 03 00 00 00", 4, MQT_MQTT_E_LENGTH, 2 },
	{ "3.1 longer", "20 03 00 00 00", 3, MQT_MQTT_E_LENGTH, 2 },
	{ "empty", "20 00", 5, MQT_MQTT_E_LENGTH, 2 },
	{ "5.0 shorter", "20 01 00", 5, MQT_MQTT_E_LENGTH, 2 },
	{ "3.1.1 acknowledge flags", "20 02 02 00", 4, MQT_MQTT_E_CONNACK, 3 },
	{ "5.0 acknowledge flags", "20 03 80 00 00", 5, MQT_MQTT_E_CONNACK, 3 },
	{ "3.1.1 code 6", "20 02 00 06", 4, MQT_MQTT_E_CONNACK, 4 },
	{ "3.1 code 0x80", "20 02 00 80", 3, MQT_MQTT_E_CONNACK, 4 },
	{ "3.1.1 refused with a session", "20 02 01 05", 4, MQT_MQTT_E_CONNACK, 4 },
	{ "5.0 refused with a session", "20 03 01 89 00", 5, MQT_MQTT_E_CONNACK, 4 },
	{ "5.0 success of another packet", "20 03 00 01 00", 5, MQT_MQTT_E_CONNACK, 4 },
	{ "5.0 code of another packet", "20 03 00 8e 00", 5, MQT_MQTT_E_CONNACK, 4 },
	{ "5.0 code 0xa0", "20 03 00 a0 00", 5, MQT_MQTT_E_CONNACK, 4 },
	{ "5.0 success without properties", "20 02 00 00", 5, MQT_MQTT_E_CONNACK, 4 },
	{ "5.0 refused without properties", "20 02 00 87", 5, MQT_MQTT_E_CONNACK, 4 },
	{ "5.0 bytes left", "20 04 00 00 00 00", 5, MQT_MQTT_E_LENGTH, 0 },
	{ "5.0 property length passes the end", "20 03 00 00 01", 5, MQT_MQTT_E_LENGTH, 0 },
	{ "5.0 unknown property", "20 05 00 00 02 7f 00", 5, MQT_MQTT_E_PROPERTY, 0 },
	{ "5.0 property of CONNECT", "20 05 00 00 02 17 00", 5, MQT_MQTT_E_PROPERTY, 0 },
	{ "5.0 server keep alive twice", "20 09 00 00 06 13 00 01 13 00 01", 5, MQT_MQTT_E_PROPERTY,
			0 },
	{ "5.0 assigned client id twice", "20 0b 00 00 08 12 00 01 'a' 12 00 01 'a'", 5,
			MQT_MQTT_E_PROPERTY, 0 },
	{ "5.0 maximum QoS 2", "20 05 00 00 02 24 02", 5, MQT_MQTT_E_PROPERTY, 0 },
	{ "5.0 receive maximum 0", "20 06 00 00 03 21 00 00", 5, MQT_MQTT_E_PROPERTY, 0 },
	{ "5.0 ill-formed assigned client id", "20 07 00 00 04 12 00 01 00", 5, MQT_MQTT_E_STRING,
			0 },
	{ "5.0 property passes the property length", "20 05 00 00 02 13 00", 5, MQT_MQTT_E_LENGTH,
			0 },
};

/* Streams for the cursor. */
#define T(type) (1u << MQT_MQTT_##type)

static const struct stream_vector {
	const char *name, *text;
	uint32_t packets, publishes;
	uint16_t types;
	bool boundary;
	enum mqt_mqtt_error error;
} streams[] = {
	{ "nothing", "", 0, 0, 0, true, 0 },
	{ "PINGREQ", "c0 00", 1, 0, T(PINGREQ), true, 0 },
	{ "three PINGREQ", "c0 00 c0 00 c0 00", 3, 0, T(PINGREQ), true, 0 },
	{ "half a header", "c0 00 c0", 1, 0, T(PINGREQ), false, 0 },
	{ "length in the middle", "30 82", 0, 0, T(PUBLISH), false, 0 },
	{ "body missing", "30 03 00", 0, 0, T(PUBLISH), false, 0 },
	{ "one byte missing", "30 03 00 01", 0, 0, T(PUBLISH), false, 0 },
	{ "PUBLISH", "30 03 00 01 't'", 1, 1, T(PUBLISH), true, 0 },
	{ "DUP and QoS 0 is no matter of framing", "38 03 00 01 't'", 1, 1, T(PUBLISH), true, 0 },
	{ "long lengths", "30 83 80 80 00 00 01 't' c0 80 80 00 d0 00", 3, 1,
			T(PUBLISH) | T(PINGREQ) | T(PINGRESP), true, 0 },
	{ "all types",
			"10 0c 00 04 'MQTT' 04 02 00 3c 00 00 20 02 00 00 32 05 00 01 't' 00 01 "
			"40 02 00 01 50 02 00 01 62 02 00 01 70 02 00 01 82 06 00 01 00 01 't' 00 "
			"90 03 00 01 00 a2 05 00 01 00 01 't' b0 02 00 01 c0 00 d0 00 e0 00 f0 00",
			15, 1, 0xfffe, true, 0 },
	{ "bodies that look like headers", "30 06 c0 00 00 ff ff ff 3d 02 00 00 d0 00", 3, 2,
			T(PUBLISH) | T(PINGRESP), true, 0 },
	{ "type 0", "c0 00 00 00 c0 00", 1, 0, T(PINGREQ), false, MQT_MQTT_E_TYPE },
	{ "flags", "c0 00 c1 00", 1, 0, T(PINGREQ), false, MQT_MQTT_E_FLAGS },
	{ "QoS 3", "30 01 00 36 01 00", 1, 1, T(PUBLISH), false, MQT_MQTT_E_QOS },
	{ "five length bytes", "c0 00 30 80 80 80 80 00", 1, 0, T(PINGREQ) | T(PUBLISH), false,
			MQT_MQTT_E_VARINT },
	{ "TLS", "16 03 01 02 00", 0, 0, 0, false, MQT_MQTT_E_FLAGS },
};

#endif
