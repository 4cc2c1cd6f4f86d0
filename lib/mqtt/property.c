/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * MQTT 5.0 properties of CONNECT, of its will, of CONNACK and of DISCONNECT.
 *
 * One pass over a list with a table of what each identifier carries and where it may stand. An
 * identifier that is unknown, or known and elsewhere, is malformed at once: its length cannot be
 * known, and more bytes cannot mend it. A set of the identifiers seen finds duplicates, so any
 * number of user properties costs linear time.
 *
 * No state; any thread.
 *
 * Sources: MQTT 5.0 §2.2.2, §3.1.2.11, §3.1.3.2, §3.2.2.3, §3.14.2.2.
 */

#include "property.h"

enum kind {
	KIND_NONE = 0, /* no such property */
	KIND_BOOL,     /* one byte, 0 or 1 */
	KIND_U16,
	KIND_U16_NONZERO,
	KIND_U32,
	KIND_U32_NONZERO,
	KIND_STRING,
	KIND_BINARY,
	KIND_PAIRS, /* two strings, any number of times */
};

#define CONNECT    PROPERTY_IN_CONNECT
#define WILL       PROPERTY_IN_WILL
#define CONNACK    PROPERTY_IN_CONNACK
#define DISCONNECT PROPERTY_IN_DISCONNECT

/* Properties of other packets only are absent: they are as wrong here as unknown ones. */
static const struct {
	uint8_t kind;
	uint8_t places;
} known[] = {
	[0x01] = { KIND_BOOL, WILL },                          /* payload format indicator */
	[0x02] = { KIND_U32, WILL },                           /* message expiry interval */
	[0x03] = { KIND_STRING, WILL },                        /* content type */
	[0x08] = { KIND_STRING, WILL },                        /* response topic */
	[0x09] = { KIND_BINARY, WILL },                        /* correlation data */
	[0x11] = { KIND_U32, CONNECT | CONNACK | DISCONNECT }, /* session expiry interval */
	[0x12] = { KIND_STRING, CONNACK },                     /* assigned client identifier */
	[0x13] = { KIND_U16, CONNACK },                        /* server keep alive */
	[0x15] = { KIND_STRING, CONNECT | CONNACK },           /* authentication method */
	[0x16] = { KIND_BINARY, CONNECT | CONNACK },           /* authentication data */
	[0x17] = { KIND_BOOL, CONNECT },                       /* request problem information */
	[0x18] = { KIND_U32, WILL },                           /* will delay interval */
	[0x19] = { KIND_BOOL, CONNECT },                       /* request response information */
	[0x1a] = { KIND_STRING, CONNACK },                     /* response information */
	[0x1c] = { KIND_STRING, CONNACK | DISCONNECT },        /* server reference */
	[0x1f] = { KIND_STRING, CONNACK | DISCONNECT },        /* reason string */
	[0x21] = { KIND_U16_NONZERO, CONNECT | CONNACK },      /* receive maximum */
	[0x22] = { KIND_U16, CONNECT | CONNACK },              /* topic alias maximum */
	[0x24] = { KIND_BOOL, CONNACK },                       /* maximum QoS */
	[0x25] = { KIND_BOOL, CONNACK },                       /* retain available */
	[0x26] = { KIND_PAIRS, CONNECT | WILL | CONNACK | DISCONNECT }, /* user property */
	[0x27] = { KIND_U32_NONZERO, CONNECT | CONNACK },               /* maximum packet size */
	[0x28] = { KIND_BOOL, CONNACK }, /* wildcard subscription available */
	[0x29] = { KIND_BOOL, CONNACK }, /* subscription identifiers available */
	[0x2a] = { KIND_BOOL, CONNACK }, /* shared subscription available */
};

#undef CONNECT
#undef WILL
#undef CONNACK
#undef DISCONNECT

#define N_KNOWN (sizeof(known) / sizeof(known[0]))

_Static_assert(N_KNOWN <= 64, "the set of properties seen is 64 bits");

struct value {
	uint32_t number;
	struct mqt_bytes bytes;
};

static enum mqt_mqtt_error
bool_read(struct reader *r, struct value *v)
{
	uint8_t byte;
	enum mqt_mqtt_error e = reader_u8(r, &byte);

	if (e != MQT_MQTT_E_NONE)
		return e;
	v->number = byte;
	return byte <= 1 ? MQT_MQTT_E_NONE : MQT_MQTT_E_PROPERTY;
}

static enum mqt_mqtt_error
u16_read(struct reader *r, struct value *v)
{
	uint16_t number;
	enum mqt_mqtt_error e = reader_u16(r, &number);

	if (e == MQT_MQTT_E_NONE)
		v->number = number;
	return e;
}

static enum mqt_mqtt_error
pair_read(struct reader *r, struct value *v)
{
	enum mqt_mqtt_error e = reader_string(r, &v->bytes);

	return e != MQT_MQTT_E_NONE ? e : reader_string(r, &v->bytes);
}

static enum mqt_mqtt_error
value_read(struct reader *r, enum kind kind, struct value *v)
{
	enum mqt_mqtt_error e = MQT_MQTT_E_PROPERTY;

	switch (kind) {
	case KIND_NONE:
		break;
	case KIND_BOOL:
		e = bool_read(r, v);
		break;
	case KIND_U16:
	case KIND_U16_NONZERO:
		e = u16_read(r, v);
		break;
	case KIND_U32:
	case KIND_U32_NONZERO:
		e = reader_u32(r, &v->number);
		break;
	case KIND_STRING:
		e = reader_string(r, &v->bytes);
		break;
	case KIND_BINARY:
		e = reader_binary(r, &v->bytes);
		break;
	case KIND_PAIRS:
		e = pair_read(r, v);
		break;
	}
	if (e != MQT_MQTT_E_NONE)
		return e;
	if ((kind == KIND_U16_NONZERO || kind == KIND_U32_NONZERO) && v->number == 0)
		return MQT_MQTT_E_PROPERTY;
	return MQT_MQTT_E_NONE;
}

/* Keeps what callers ask for. */
static void
value_keep(struct properties *p, uint8_t id, const struct value *v)
{
	switch (id) {
	case PROPERTY_SESSION_EXPIRY:
		p->expiry_sec = v->number;
		break;
	case PROPERTY_SERVER_KEEPALIVE:
		p->keepalive_sec = (uint16_t)v->number;
		break;
	case PROPERTY_ASSIGNED_CLIENTID:
		p->assigned_clientid = v->bytes;
		break;
	}
}

/* Reads one property. @p r: not at its end. */
static enum mqt_mqtt_error
property_read(struct reader *r, enum property_place place, struct properties *p)
{
	uint8_t id = *r->ptr++; /* by the letter a var-int, but all are below 0x80 */
	struct value v = { 0 };
	enum mqt_mqtt_error e;

	if (id >= N_KNOWN || (known[id].places & place) == 0)
		return MQT_MQTT_E_PROPERTY;
	if (known[id].kind != KIND_PAIRS && (p->seen >> id & 1))
		return MQT_MQTT_E_PROPERTY;
	p->seen |= UINT64_C(1) << id;
	e = value_read(r, known[id].kind, &v);
	if (e == MQT_MQTT_E_NONE)
		value_keep(p, id, &v);
	return e;
}

enum mqt_mqtt_error
properties_read(struct reader *r, enum property_place place, struct properties *out)
{
	struct properties p = { 0 };
	enum mqt_mqtt_error e;
	struct reader list;
	uint32_t len;

	e = reader_varint(r, &len);
	if (e == MQT_MQTT_E_NONE)
		e = reader_split(r, len, &list);
	if (e != MQT_MQTT_E_NONE)
		return e;
	while (reader_left(&list) > 0) {
		e = property_read(&list, place, &p);
		if (e != MQT_MQTT_E_NONE)
			return e;
	}
	*out = p;
	return MQT_MQTT_E_NONE;
}
