/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_CONN_DIALOGUE_H
#define TESTS_UNIT_CONN_DIALOGUE_H

/*
 * Dialogues of a client, a broker and the control lcore that TCP carries as chance has it: in cuts of
 * any size, repeated in other cuts, reordered within bounds, lost before the tracker or behind it and
 * sent again; or whole, for comparison. What the control lcore is told and what is injected is noted
 * as text. Checks meanwhile that both ends read what the other has sent, and that nothing of a parked
 * CONNACK leaves before its GRANT.
 *
 * A dialogue begins with open_tcp() or say_connect(), on a flow that has been set; what is said then
 * has been delivered when the call returns.
 */

#include "conn_rig.h"

#include <stdarg.h>

#define STREAM_MAX 8192
#define BLOCK      8 /* segments are reordered within so many */

struct dialogue {
	struct flow f;
	bool whole; /* the reference: nothing is cut */
	uint64_t random;
	unsigned piece; /* longest segment */
	struct {
		uint8_t bytes[STREAM_MAX]; /* by this sender */
		bool have[STREAM_MAX];     /* the receiver has them */
		uint32_t base, len, got;
		bool fin, got_fin;
	} stream[2];
	bool parks;                         /* CONNACK has come, GRANT has not */
	bool injected;                      /* what leaves now is the tracker's own */
	bool loses;                         /* packets get lost behind the tracker */
	uint64_t counted[MQT_W_N_COUNTERS]; /* before it began */
	char told[16384];
	size_t n_told;
};

static inline uint32_t
chance(struct dialogue *d, uint32_t n)
{
	return check_random(&d->random, n);
}

__attribute__((format(printf, 2, 3))) static inline void
note(struct dialogue *d, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(d->told + d->n_told, sizeof(d->told) - d->n_told, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(d->told) - d->n_told)
		abort();
	d->n_told += (size_t)n;
}

/* --- the wire ---------------------------------------------------------------------------------- */

static inline void
receive(struct dialogue *d, int side, const struct out *o)
{
	uint32_t at = o->v.seq - d->stream[side].base, end = at + o->v.payload_len;
	uint8_t data[2048];

	if (at > STREAM_MAX || (d->loses && chance(d, 10) == 0))
		return; /* of the handshake, or lost */
	payload_of(o, data);
	CHECK(end <= d->stream[side].len || o->v.payload_len == 0);
	CHECK_MEM(data, d->stream[side].bytes + at, o->v.payload_len);
	memset(d->stream[side].have + at, true, o->v.payload_len);
	while (d->stream[side].got < d->stream[side].len &&
			d->stream[side].have[d->stream[side].got])
		d->stream[side].got++;
	if (o->v.tcp_flags & MQT_TCP_FIN && d->stream[side].got == end)
		d->stream[side].got_fin = true;
	CHECK(!(o->v.tcp_flags & MQT_TCP_RST) || d->stream[side].got == at);
}

static inline void
note_injected(struct dialogue *d, int side, const struct out *o)
{
	uint8_t data[2048];

	payload_of(o, data);
	note(d, "injected for %s at %u ack %u flags %x:", side == CLIENT ? "client" : "broker",
			o->v.seq - d->stream[side].base, o->v.ack - d->stream[!side].base,
			o->v.tcp_flags);
	for (unsigned i = 0; i < o->v.payload_len; i++)
		note(d, " %02x", data[i]);
	note(d, "\n");
}

static inline void
take_out(struct dialogue *d)
{
	for (unsigned i = 0; i < w.n_out; i++) {
		int side = w.out[i].port == 1 ? CLIENT : BROKER;

		if (d->injected)
			note_injected(d, side, &w.out[i]);
		else
			receive(d, side, &w.out[i]);
	}
	out_clear();
}

static inline uint32_t
ack_of(const struct dialogue *d, int side)
{
	return d->stream[!side].base + d->stream[!side].got + d->stream[!side].got_fin;
}

static inline void
send_range(struct dialogue *d, int side, uint32_t from, uint32_t to)
{
	bool fin = d->stream[side].fin && to == d->stream[side].len;

	if (!d->whole)
		w.now += chance(d, MS);
	send_at(&d->f, side, fin ? FIN_ACK : ACK, d->stream[side].base + from, ack_of(d, side),
			d->stream[side].bytes + from, to - from);
	take_out(d);
}

static inline void
send_ack(struct dialogue *d, int side)
{
	send_at(&d->f, side, ACK, d->stream[side].base + d->stream[side].len + d->stream[side].fin,
			ack_of(d, side), NULL, 0);
	take_out(d);
}

struct cut {
	uint32_t from, to;
};

static inline unsigned
cut_rest(struct dialogue *d, int side, struct cut *cuts)
{
	uint32_t at = d->stream[side].got, len = d->stream[side].len;
	unsigned n = 0;

	do {
		uint32_t size = 1 + chance(d, d->piece);

		cuts[n++] = (struct cut){ at, size < len - at ? at + size : len };
		at = cuts[n - 1].to;
	} while (at < len);
	for (unsigned i = 0; i < n; i++) {
		unsigned end = RTE_MIN(n, (i / BLOCK + 1) * BLOCK), k = i + chance(d, end - i);
		struct cut first = cuts[i];

		if (chance(d, 3) == 0) {
			cuts[i] = cuts[k];
			cuts[k] = first;
		}
	}
	return n;
}

/* Sends what the receiver does not have yet, once, and some of it twice. */
static inline void
send_cut(struct dialogue *d, int side, bool lossy)
{
	static struct cut cuts[STREAM_MAX];
	unsigned n = cut_rest(d, side, cuts);

	/* the tracker keeps reorder_per_flow segments behind a gap, and not more */
	lossy = lossy && n < w.config.limits.reorder_per_flow / 5;
	d->loses = lossy;
	for (unsigned i = 0; i < n; i++) {
		if (lossy && chance(d, 10) == 0)
			continue;
		send_range(d, side, cuts[i].from, cuts[i].to);
		if (chance(d, 6) == 0) {
			uint32_t from = chance(d, cuts[i].to + 1);

			send_range(d, side, from, from + chance(d, cuts[i].to - from + 1));
		}
		if (chance(d, 6) == 0)
			send_ack(d, !side);
	}
	d->loses = false;
}

static inline bool
is_received(const struct dialogue *d, int side)
{
	return d->stream[side].got == d->stream[side].len &&
			d->stream[side].fin == d->stream[side].got_fin;
}

static inline void
deliver(struct dialogue *d, int side)
{
	if (d->whole)
		send_range(d, side, d->stream[side].got, d->stream[side].len);
	else
		for (unsigned i = 0; i == 0 || (i < 3 && !is_received(d, side)); i++)
			send_cut(d, side, i < 2);
	if (!d->parks || side == CLIENT)
		CHECK(is_received(d, side));
	send_ack(d, !side);
	send_ack(d, side);
}

/* --- the control lcore ------------------------------------------------------------------------- */

static inline void
note_session(struct dialogue *d, const struct mqt_session *session)
{
	struct mqt_session_counts counts;
	enum mqt_inflight_state state;
	struct mqt_bytes filter;
	uint16_t packet_id;
	uint8_t qos;

	if (!session) {
		note(d, "no session\n");
		return;
	}
	mqt_session_counts(session, &counts);
	note(d, "session: %u pendings, missed %" PRIu64 " %" PRIu64 "\n", counts.pendings,
			counts.filters_missed, counts.inflight_missed);
	for (unsigned i = 0; mqt_session_filter(session, i, &filter, &qos); i++)
		note(d, "  %.*s %u\n", (int)filter.len, (const char *)filter.ptr, qos);
	for (unsigned dir = 0; dir < MQT_SESSION_N_DIRS; dir++)
		for (unsigned i = 0; mqt_session_inflight(session, dir, i, &packet_id, &state); i++)
			note(d, "  %s %u: %d\n", dir ? "to" : "from", packet_id, (int)state);
}

static inline void
note_info(struct dialogue *d, const struct mqt_info *info)
{
	note(d,
			"  id %.*s user %.*s cn %.*s flags %x expiry %u keepalive %u version %u "
			"transport "
			"%u listener %u peer %u via %u broker %u\n",
			info->clientid_len, (const char *)mqt_info_clientid(info),
			info->username_len, (const char *)mqt_info_username(info),
			info->cert_cn_len, (const char *)mqt_info_cert_cn(info), info->flags,
			info->expiry_sec, info->keepalive_sec, info->proto_ver, info->transport,
			info->listener, mqt_info_peer(info).ip[3], mqt_info_via(info).version,
			mqt_info_broker(info).port);
}

static inline void
note_pendings(struct dialogue *d, const struct mqt_pendings *pendings)
{
	for (unsigned i = 0; pendings && i < pendings->n; i++)
		note(d, "  pending %u\n", pendings->packet_id[i]);
}

/* Reads what the control lcore is told. */
static inline void
hear(struct dialogue *d)
{
	struct mqt_msg msg;

	while ((msg = next_message()).type != MQT_MSG_NONE) {
		note(d, "message %u action %u result %d %s\n", msg.type, msg.action, msg.result,
				mqt_reason_name(msg.reason));
		if (msg.type == MQT_MSG_OPEN) {
			d->f.chan = msg.chan;
			d->f.info = msg.info;
			note_info(d, msg.info);
			msg.info = NULL;
		}
		if (msg.type == MQT_MSG_CLOSED || msg.type == MQT_MSG_STEPDOWN_DONE ||
				msg.type == MQT_MSG_INSPECTED)
			note_session(d, msg.session);
		note_pendings(d, msg.pendings);
		message_drop(&msg);
	}
}

/* --- words of a dialogue ----------------------------------------------------------------------- */

static inline void
say(struct dialogue *d, int side, const void *bytes, size_t len)
{
	if (d->stream[side].len + len > STREAM_MAX)
		abort();
	memcpy(d->stream[side].bytes + d->stream[side].len, bytes, len);
	d->stream[side].len += (uint32_t)len;
	deliver(d, side);
	hear(d);
}

static inline void
end(struct dialogue *d, int side)
{
	d->stream[side].fin = true;
	deliver(d, side);
	hear(d);
}

static inline void
reset(struct dialogue *d, int side)
{
	send_at(&d->f, side, RST_ACK, d->stream[side].base + d->stream[side].len, ack_of(d, side),
			NULL, 0);
	take_out(d);
	hear(d);
}

/* A CONNACK, or what else must not leave before GRANT. */
static inline void
say_parked(struct dialogue *d, const void *bytes, size_t len)
{
	uint32_t before = d->stream[BROKER].got;

	d->parks = true;
	say(d, BROKER, bytes, len);
	CHECK_EQ(d->stream[BROKER].got, before);
	CHECK_EQ(d->f.info != NULL, 1);
}

static inline void
command(struct dialogue *d, enum mqt_msg_type type, unsigned detail)
{
	d->injected = type == MQT_MSG_STEPDOWN || type == MQT_MSG_REFUSE;
	tell(&d->f, type, detail);
	take_out(d);
	hear(d);
}

static inline void
grant(struct dialogue *d)
{
	command(d, MQT_MSG_GRANT, 0);
	d->parks = false;
	deliver(d, BROKER);
	hear(d);
}

/* Notes what readers see of a live channel. */
static inline void
look(struct dialogue *d)
{
	static const enum mqt_slot_counter shown[] = { MQT_RECV_OCT, MQT_RECV_PKT, MQT_RECV_MSG,
		MQT_SEND_OCT, MQT_SEND_PKT, MQT_SEND_MSG };

	for (unsigned i = 0; i < RTE_DIM(shown); i++)
		note(d, "slot %u: %" PRIu64 "\n", shown[i], slot_counter(&d->f, shown[i]));
	command(d, MQT_MSG_INSPECT, 0);
}

static inline void
open_tcp(struct dialogue *d)
{
	tcp_open(&d->f);
	out_clear();
	for (int side = 0; side < 2; side++)
		d->stream[side].base = d->f.seq[side];
}

static inline size_t
connect_of(const struct dialogue *d, uint8_t *buf, bool lasts)
{
	struct mqt_mqtt_connect c = {
		.version = d->f.version,
		.clean_start = !lasts,
		.keepalive_sec = 30,
		.clientid = { (const uint8_t *)"someone", 7 },
		.has_username = true,
		.username = { (const uint8_t *)"user", 4 },
		.has_will = lasts,
		.has_expiry = lasts && d->f.version == 5,
		.expiry_sec = lasts && d->f.version == 5 ? 77 : 0,
	};

	return mqt_mqtt_connect_encode(buf, 256, &c);
}

static inline void
say_connect(struct dialogue *d, bool lasts)
{
	uint8_t buf[256];

	open_tcp(d);
	say(d, CLIENT, buf, connect_of(d, buf, lasts));
}

static inline void
say_connack(struct dialogue *d)
{
	uint8_t buf[64];

	say_parked(d, buf, connack_packet(buf, sizeof(buf), d->f.version, 0));
	grant(d);
}

static inline void
say_subscribe(struct dialogue *d, uint16_t packet_id, const char *filter)
{
	uint8_t buf[128];

	say(d, CLIENT, buf, subscribe_packet(buf, d->f.version, packet_id, filter, 1));
}

static inline void
say_suback(struct dialogue *d, uint16_t packet_id)
{
	uint8_t buf[16];

	say(d, BROKER, buf, suback_packet(buf, d->f.version, packet_id, 1));
}

static inline void
say_message(struct dialogue *d, int side, uint8_t qos, uint16_t packet_id)
{
	uint8_t buf[64];

	say(d, side, buf, qos_packet(buf, d->f.version, qos, packet_id));
}

/* PUBACK, PUBREC, PUBREL, PUBCOMP. */
static inline void
say_answer(struct dialogue *d, int side, uint8_t first, uint16_t packet_id)
{
	uint8_t buf[4] = { first, 2, (uint8_t)(packet_id >> 8), (uint8_t)packet_id };

	say(d, side, buf, sizeof(buf));
}

static inline void
say_disconnect(struct dialogue *d)
{
	uint8_t buf[8];

	say(d, CLIENT, buf, mqt_mqtt_disconnect_encode(buf, sizeof(buf), d->f.version, 0));
}

#endif
