/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_MQTT_H
#define MQT_MQTT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * @file
 * MQTT 3.1, 3.1.1 and 5.0 on the wire: whole-packet parsers for what begins a connection, a
 * framing cursor for the rest of the stream, and the encoders that injection and tests need.
 * No DPDK, no allocation, no global state; any thread. Parsers never read past len, cost linear
 * time, and keep pointers into the caller's bytes.
 * Source: MQTT 3.1 specification; OASIS MQTT 3.1.1; OASIS MQTT 5.0.
 */

enum mqt_parse {
	MQT_PARSE_OK,
	MQT_PARSE_MORE, /* valid so far; give the same bytes again with more behind them */
	MQT_PARSE_BAD,
};

/** Why bytes were BAD. */
enum mqt_mqtt_error {
	MQT_MQTT_E_NONE = 0,
	MQT_MQTT_E_VARINT,        /* fourth continuation bit (5.0 §1.5.5) */
	MQT_MQTT_E_TYPE,          /* not the packet type expected, or type 0 */
	MQT_MQTT_E_FLAGS,         /* reserved fixed-header flags (5.0 §2.1.3) */
	MQT_MQTT_E_LENGTH,        /* a field passes the end of the packet, or bytes are left */
	MQT_MQTT_E_PROTOCOL,      /* protocol name or level that is none of ours */
	MQT_MQTT_E_CONNECT_FLAGS, /* reserved bit, will QoS 3, will bits without will, ... */
	MQT_MQTT_E_STRING,        /* U+0000 or ill-formed UTF-8 */
	MQT_MQTT_E_PROPERTY,      /* unknown, not allowed here, twice, or a bad value */
	MQT_MQTT_E_CLIENTID,      /* empty where the version forbids it */
	MQT_MQTT_E_CONNACK,       /* bad acknowledge flags or return code */
	MQT_MQTT_E_QOS,           /* PUBLISH with QoS 3 */
	MQT_MQTT_N_ERRORS,
};

/** Name of an error ("varint"). Static storage. */
const char *mqt_mqtt_error_name(enum mqt_mqtt_error error);

enum mqt_mqtt_type {
	MQT_MQTT_CONNECT = 1,
	MQT_MQTT_CONNACK,
	MQT_MQTT_PUBLISH,
	MQT_MQTT_PUBACK,
	MQT_MQTT_PUBREC,
	MQT_MQTT_PUBREL,
	MQT_MQTT_PUBCOMP,
	MQT_MQTT_SUBSCRIBE,
	MQT_MQTT_SUBACK,
	MQT_MQTT_UNSUBSCRIBE,
	MQT_MQTT_UNSUBACK,
	MQT_MQTT_PINGREQ,
	MQT_MQTT_PINGRESP,
	MQT_MQTT_DISCONNECT,
	MQT_MQTT_AUTH,
};

/** Largest Remaining Length (5.0 §2.1.4). */
#define MQT_MQTT_REMAINING_MAX 268435455u

/** Bytes inside a packet; not terminated; NULL and 0 where absent. */
struct mqt_bytes {
	const uint8_t *ptr;
	uint32_t len;
};

/** A fixed header. */
struct mqt_mqtt_header {
	uint8_t type;       /* enum mqt_mqtt_type */
	uint8_t flags;      /* low four bits of the first byte */
	uint8_t len;        /* bytes of the fixed header, 2 to 5 */
	uint32_t remaining; /* bytes behind it */
};

/**
 * Parses a fixed header. A Remaining Length with more bytes than it needs is taken, for only 5.0
 * forbids it; the parsers of CONNECT and CONNACK know the version and reject it there.
 * @param out set on OK only.
 * @param error set on BAD only; may be NULL.
 */
enum mqt_parse mqt_mqtt_header_parse(const uint8_t *data, size_t len, struct mqt_mqtt_header *out,
		enum mqt_mqtt_error *error);

/** A CONNECT packet. The password is checked for its framing and not kept. */
struct mqt_mqtt_connect {
	uint32_t packet_len; /* whole packet, fixed header included */
	uint8_t version;     /* 3, 4 or 5 */
	bool bridge;         /* bit 7 of the protocol level was set */
	bool clean_start;    /* clean session in 3.x */
	bool has_will;
	uint8_t will_qos;
	bool will_retain;
	bool has_username;
	bool has_expiry; /* 5.0 session expiry interval present */
	uint16_t keepalive_sec;
	uint32_t expiry_sec; /* 0 where absent */
	struct mqt_bytes clientid;
	struct mqt_bytes username;
};

/**
 * Parses a CONNECT from the begin of a stream.
 * A protocol name or level that is none of ours is MQT_MQTT_E_PROTOCOL as soon as its bytes are
 * there. A v3.1.1 packet with an empty client id and clean session 0 is MQT_MQTT_E_CLIENTID.
 * A first byte that begins no CONNECT, 0x16 of TLS included, is MQT_MQTT_E_TYPE.
 * MORE is also right while only a part of the fixed header is there. It costs constant time: up to
 * the connect flags bytes are judged as they arrive, all behind them once the packet is whole.
 * @param out set on OK only; points into @p data.
 * @param error set on BAD only; may be NULL.
 */
enum mqt_parse mqt_mqtt_connect_parse(const uint8_t *data, size_t len, struct mqt_mqtt_connect *out,
		enum mqt_mqtt_error *error);

/** A CONNACK packet. */
struct mqt_mqtt_connack {
	uint32_t packet_len;
	uint8_t code;         /* return code (3.x) or reason code (5.0); 0 is success */
	bool session_present; /* always false in 3.1 */
	bool has_expiry;
	bool has_keepalive; /* 5.0 Server Keep Alive present */
	uint16_t keepalive_sec;
	uint32_t expiry_sec;
	struct mqt_bytes assigned_clientid; /* 5.0; len 0: not assigned */
};

/**
 * Parses a CONNACK that begins at @p data.
 * A 5.0 CONNECT may be answered by a 3.1.1 broker in its own format, code 1: OK with that code.
 * @param version of the CONNECT it answers: 3, 4 or 5.
 */
enum mqt_parse mqt_mqtt_connack_parse(const uint8_t *data, size_t len, uint8_t version,
		struct mqt_mqtt_connack *out, enum mqt_mqtt_error *error);

/**
 * Framing cursor: follows one direction of a stream packet by packet and skips all bodies.
 * 12 bytes; zeroed is a stream at a packet boundary.
 */
struct mqt_mqtt_cursor {
	uint32_t skip;    /* body bytes of the current packet still to come */
	uint32_t partial; /* Remaining Length of the current packet, as far as collected */
	uint8_t first;    /* first byte of the current packet */
	uint8_t n_header; /* bytes of an unfinished fixed header; 0: none */
	uint8_t error;    /* enum mqt_mqtt_error, once BAD */
	uint8_t reserved;
};

/** What a feed saw complete; added up over calls by the caller's choice. */
struct mqt_mqtt_seen {
	uint32_t packets;   /* packets completed */
	uint32_t publishes; /* of these, PUBLISH */
	uint16_t types;     /* bit 1 << type for each packet type that began in these bytes */
	uint16_t reserved;
};

/**
 * Follows @p len further bytes. O(packets begun), not O(len).
 * Checked: type 0, reserved fixed-header flags, PUBLISH QoS 3, var-int.
 * @param seen added to.
 * @return true, or false once the framing is broken (cursor->error says why; it stays broken).
 */
bool mqt_mqtt_cursor_feed(struct mqt_mqtt_cursor *cursor, const uint8_t *data, size_t len,
		struct mqt_mqtt_seen *seen);

/** Whether the stream stands between two packets. */
static inline bool
mqt_mqtt_cursor_at_boundary(const struct mqt_mqtt_cursor *cursor)
{
	return cursor->skip == 0 && cursor->n_header == 0;
}

/** A packet of an established stream, as far as the tracker follows sessions. */
struct mqt_mqtt_packet {
	uint8_t type;       /* enum mqt_mqtt_type */
	uint8_t flags;      /* of the fixed header */
	uint8_t qos;        /* PUBLISH */
	uint8_t reason;     /* PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT of 5.0; 0 where absent */
	uint16_t packet_id; /* 0 where the packet has none */
	bool oversize;      /* the body was longer than the limit: not there */
	struct mqt_bytes
			body; /* SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, DISCONNECT: behind the fixed
				* header; empty for all others. Valid during the call */
};

typedef void (*mqt_mqtt_packet_fn)(void *arg, const struct mqt_mqtt_packet *packet);

/**
 * Tap: a framing cursor that also reports the packets a session is made of: PUBLISH with QoS > 0,
 * its acknowledgements, SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, DISCONNECT. A body that lies
 * in one piece is read where it is; only one that is cut is collected, in an allocation that goes
 * when it is complete. Zeroed is a stream at a packet boundary.
 */
struct mqt_mqtt_tap {
	struct mqt_mqtt_cursor cursor;
	uint32_t fields; /* what is read of the current packet so far: packet id, reason code, ... */
	uint8_t *part;   /* body of the current packet so far; NULL: nothing is being collected */
};

/**
 * Follows @p len further bytes, like mqt_mqtt_cursor_feed(), and calls @p fn for each packet
 * complete. A packet whose packet id is 0 or missing is not reported: the broker judges it.
 * Costs no more than the cursor for packets of no interest; a PUBLISH is never collected, whatever
 * its length; only a body that is reported and cut is.
 * @param version 3, 4 or 5.
 * @param max_body longest body kept; a longer one, and one for which there is no memory, is
 * reported as oversize.
 * @param fn called in the order of the stream.
 */
bool mqt_mqtt_tap_feed(struct mqt_mqtt_tap *tap, const uint8_t *data, size_t len, uint8_t version,
		uint32_t max_body, struct mqt_mqtt_seen *seen, mqt_mqtt_packet_fn fn, void *arg);

/**
 * Skips @p n further bytes that were not seen. Possible inside a body of which nothing is read any
 * more, its last byte excepted.
 * @return false: not possible, nothing has changed.
 */
bool mqt_mqtt_tap_skip(struct mqt_mqtt_tap *tap, uint32_t n);

/** Frees what is being collected; the tap is zeroed. */
void mqt_mqtt_tap_fini(struct mqt_mqtt_tap *tap);

/**
 * Session expiry that a 5.0 DISCONNECT of the client brings (§3.14.2.2.2).
 * @param body of the packet. @param expiry_sec set where it is there.
 * @return whether it is there.
 */
bool mqt_mqtt_disconnect_expiry(struct mqt_bytes body, uint32_t *expiry_sec);

/**
 * Whether a SUBSCRIBE asks for QoS 3, which no version has.
 * @param body of the packet, packet id first; as far as it is well-formed.
 */
bool mqt_mqtt_subscribe_qos_3(struct mqt_bytes body, uint8_t version);

/** Reason codes that the tracker speaks (5.0 §2.4). */
enum mqt_mqtt_code {
	MQT_MQTT_RC_SUCCESS = 0x00,
	MQT_MQTT_RC_NOT_AUTHORIZED = 0x87,
	MQT_MQTT_RC_SERVER_BUSY = 0x89,
	MQT_MQTT_RC_KEEPALIVE = 0x8D,
	MQT_MQTT_RC_TAKEN_OVER = 0x8E,
	MQT_MQTT_RC_QUOTA = 0x97,
	MQT_MQTT_RC_ADMINISTRATIVE = 0x98,
};

/** Whether a server may send DISCONNECT with this code (5.0 §3.14.2.1). */
bool mqt_mqtt_server_disconnect_is(uint64_t code);

/**
 * Such a code by its name in the standard, as "administrative_action".
 * @return false: there is none of that name, @p code is left alone.
 */
bool mqt_mqtt_server_disconnect_parse(const char *name, uint8_t *code);

/**
 * Encoders: write one packet. A DISCONNECT of 3.x has no code: 0 only.
 * @param cap bytes at @p buf.
 * @return bytes written, or 0 where it does not fit or cannot be expressed.
 */
size_t mqt_mqtt_disconnect_encode(uint8_t *buf, size_t cap, uint8_t version, uint8_t code);

/** A CONNACK. 3.x has its own codes: @p code is written as it is. */
size_t mqt_mqtt_connack_encode(
		uint8_t *buf, size_t cap, uint8_t version, const struct mqt_mqtt_connack *connack);

/**
 * A CONNECT (for tests and traffic generators). With has_will an empty payload on topic "w" is
 * written; packet_len is ignored.
 */
size_t mqt_mqtt_connect_encode(uint8_t *buf, size_t cap, const struct mqt_mqtt_connect *connect);

/** A PUBLISH; packet id only where qos > 0. */
size_t mqt_mqtt_publish_encode(uint8_t *buf, size_t cap, uint8_t version, uint8_t qos,
		uint16_t packet_id, struct mqt_bytes topic, struct mqt_bytes payload);

/** A packet that is a fixed header of length 0 (PINGREQ, PINGRESP, 3.x DISCONNECT). */
size_t mqt_mqtt_empty_encode(uint8_t *buf, size_t cap, enum mqt_mqtt_type type);

#endif
