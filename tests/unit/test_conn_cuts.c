/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a flow tells does not depend on how TCP carried it. Each dialogue is held once in whole
 * segments, in order, and then again and again cut at random, repeated in other cuts, reordered
 * within bounds, lost before the tracker or behind it and sent again. The control lcore must be
 * told the same each time, sessions, counters and injected packets included; both ends must read
 * what the other has sent; and nothing of a parked CONNACK may leave before its GRANT.
 */
#include "conn_rig.h"
#include "mqtrack/proxy.h"
#include "mqtrack/ws.h"

#include <stdarg.h>

#define STREAM_MAX 8192
#define N_SEEDS    60
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
	bool parks;    /* CONNACK has come, GRANT has not */
	bool injected; /* what leaves now is the tracker's own */
	bool loses;    /* packets get lost behind the tracker */
	uint64_t counted[MQT_W_N_COUNTERS];
	char told[16384];
	size_t n_told;
};

static uint32_t
chance(struct dialogue *d, uint32_t n)
{
	return check_random(&d->random, n);
}

__attribute__((format(printf, 2, 3))) static void
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

static void
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

static void
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

static void
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

static uint32_t
ack_of(const struct dialogue *d, int side)
{
	return d->stream[!side].base + d->stream[!side].got + d->stream[!side].got_fin;
}

static void
send_range(struct dialogue *d, int side, uint32_t from, uint32_t to)
{
	bool fin = d->stream[side].fin && to == d->stream[side].len;

	if (!d->whole)
		w.now += chance(d, MS);
	send_at(&d->f, side, fin ? FIN_ACK : ACK, d->stream[side].base + from, ack_of(d, side),
			d->stream[side].bytes + from, to - from);
	take_out(d);
}

static void
send_ack(struct dialogue *d, int side)
{
	send_at(&d->f, side, ACK, d->stream[side].base + d->stream[side].len + d->stream[side].fin,
			ack_of(d, side), NULL, 0);
	take_out(d);
}

struct cut {
	uint32_t from, to;
};

static unsigned
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
static void
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

static bool
is_received(const struct dialogue *d, int side)
{
	return d->stream[side].got == d->stream[side].len &&
			d->stream[side].fin == d->stream[side].got_fin;
}

static void
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

static void
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

static void
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

static void
note_pendings(struct dialogue *d, const struct mqt_pendings *pendings)
{
	for (unsigned i = 0; pendings && i < pendings->n; i++)
		note(d, "  pending %u\n", pendings->packet_id[i]);
}

/* Reads what the control lcore is told. */
static void
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

static void
say(struct dialogue *d, int side, const void *bytes, size_t len)
{
	if (d->stream[side].len + len > STREAM_MAX)
		abort();
	memcpy(d->stream[side].bytes + d->stream[side].len, bytes, len);
	d->stream[side].len += (uint32_t)len;
	deliver(d, side);
	hear(d);
}

static void
end(struct dialogue *d, int side)
{
	d->stream[side].fin = true;
	deliver(d, side);
	hear(d);
}

static void
reset(struct dialogue *d, int side)
{
	send_at(&d->f, side, RST_ACK, d->stream[side].base + d->stream[side].len, ack_of(d, side),
			NULL, 0);
	take_out(d);
	hear(d);
}

/* A CONNACK, or what else must not leave before GRANT. */
static void
say_parked(struct dialogue *d, const void *bytes, size_t len)
{
	uint32_t before = d->stream[BROKER].got;

	d->parks = true;
	say(d, BROKER, bytes, len);
	CHECK_EQ(d->stream[BROKER].got, before);
	CHECK_EQ(d->f.info != NULL, 1);
}

static void
command(struct dialogue *d, enum mqt_msg_type type, unsigned detail)
{
	d->injected = type == MQT_MSG_STEPDOWN || type == MQT_MSG_REFUSE;
	tell(&d->f, type, detail);
	take_out(d);
	hear(d);
}

static void
grant(struct dialogue *d)
{
	command(d, MQT_MSG_GRANT, 0);
	d->parks = false;
	deliver(d, BROKER);
	hear(d);
}

/* Notes what readers see of a live channel. */
static void
look(struct dialogue *d)
{
	static const enum mqt_slot_counter shown[] = { MQT_RECV_OCT, MQT_RECV_PKT, MQT_RECV_MSG,
		MQT_SEND_OCT, MQT_SEND_PKT, MQT_SEND_MSG };

	for (unsigned i = 0; i < RTE_DIM(shown); i++)
		note(d, "slot %u: %" PRIu64 "\n", shown[i], slot_counter(&d->f, shown[i]));
	command(d, MQT_MSG_INSPECT, 0);
}

static void
open_tcp(struct dialogue *d)
{
	tcp_open(&d->f);
	out_clear();
	for (int side = 0; side < 2; side++)
		d->stream[side].base = d->f.seq[side];
}

static size_t
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

static void
say_connect(struct dialogue *d, bool lasts)
{
	uint8_t buf[256];

	open_tcp(d);
	say(d, CLIENT, buf, connect_of(d, buf, lasts));
}

static void
say_connack(struct dialogue *d)
{
	uint8_t buf[64];

	say_parked(d, buf, connack_packet(buf, sizeof(buf), d->f.version, 0));
	grant(d);
}

static void
say_subscribe(struct dialogue *d, uint16_t packet_id, const char *filter)
{
	uint8_t buf[128];

	say(d, CLIENT, buf, subscribe_packet(buf, d->f.version, packet_id, filter, 1));
}

static void
say_suback(struct dialogue *d, uint16_t packet_id)
{
	uint8_t buf[16];

	say(d, BROKER, buf, suback_packet(buf, d->f.version, packet_id, 1));
}

static void
say_message(struct dialogue *d, int side, uint8_t qos, uint16_t packet_id)
{
	uint8_t buf[64];

	say(d, side, buf, qos_packet(buf, d->f.version, qos, packet_id));
}

/* PUBACK, PUBREC, PUBREL, PUBCOMP. */
static void
say_answer(struct dialogue *d, int side, uint8_t first, uint16_t packet_id)
{
	uint8_t buf[4] = { first, 2, (uint8_t)(packet_id >> 8), (uint8_t)packet_id };

	say(d, side, buf, sizeof(buf));
}

static void
say_disconnect(struct dialogue *d)
{
	uint8_t buf[8];

	say(d, CLIENT, buf, mqt_mqtt_disconnect_encode(buf, sizeof(buf), d->f.version, 0));
}

/* --- dialogues --------------------------------------------------------------------------------- */

/* Something of everything that a session knows. */
static void
talk(struct dialogue *d)
{
	uint8_t big[2200];

	say_subscribe(d, 1, "a/rather/long/filter/that/is/cut/for/sure");
	say_subscribe(d, 2, "b/#");
	say_suback(d, 1);
	say_suback(d, 2);
	say(d, CLIENT, big, publish_packet(big, sizeof(big), d->f.version, 1100));
	say_message(d, CLIENT, 1, 10);
	say_message(d, CLIENT, 2, 11);
	say_message(d, CLIENT, 2, 12);
	say_answer(d, BROKER, 0x40, 10);
	say_answer(d, BROKER, 0x50, 11);
	say_answer(d, CLIENT, 0x62, 11);
	say(d, BROKER, big, publish_packet(big, sizeof(big), d->f.version, 1300));
	say_message(d, BROKER, 1, 20);
	say_message(d, BROKER, 2, 21);
	say_message(d, BROKER, 1, 22);
	say_answer(d, CLIENT, 0x40, 20);
	say_answer(d, CLIENT, 0x50, 21);
	say(d, CLIENT, "\xc0", 2);
	say(d, BROKER, "\xd0", 2);
	look(d);
}

static void
leaves_in_order(struct dialogue *d)
{
	say_connect(d, false);
	say_connack(d);
	talk(d);
	say_disconnect(d);
	end(d, CLIENT);
	end(d, BROKER);
}

static void
lasts_and_leaves(struct dialogue *d)
{
	say_connect(d, true);
	say_connack(d);
	talk(d);
	say_disconnect(d);
	end(d, CLIENT);
	end(d, BROKER);
}

static void
client_closes(struct dialogue *d)
{
	say_connect(d, true);
	say_connack(d);
	talk(d);
	end(d, CLIENT);
	say_message(d, BROKER, 1, 30); /* half-closed: it still listens */
	end(d, BROKER);
}

static void
broker_closes(struct dialogue *d)
{
	say_connect(d, true);
	say_connack(d);
	end(d, BROKER);
	say_message(d, CLIENT, 1, 30);
	end(d, CLIENT);
}

static void
client_resets(struct dialogue *d)
{
	say_connect(d, true);
	say_connack(d);
	talk(d);
	reset(d, CLIENT);
}

static void
broker_resets(struct dialogue *d)
{
	say_connect(d, false);
	say_connack(d);
	reset(d, BROKER);
}

static void
does_not_wait_for_connack(struct dialogue *d)
{
	say_connect(d, true);
	say_subscribe(d, 1, "early/bird");
	say_message(d, CLIENT, 2, 3);
	say_connack(d);
	say_suback(d, 1);
	say_answer(d, BROKER, 0x50, 3);
	look(d);
	end(d, CLIENT);
	end(d, BROKER);
}

static void
broker_says_more_behind_connack(struct dialogue *d)
{
	uint8_t buf[256];
	size_t len;

	say_connect(d, true);
	len = connack_packet(buf, 64, d->f.version, 0);
	len += qos_packet(buf + len, d->f.version, 1, 40);
	len += qos_packet(buf + len, d->f.version, 2, 41);
	say_parked(d, buf, len);
	say_message(d, CLIENT, 1, 4); /* passes meanwhile */
	grant(d);
	look(d);
	reset(d, CLIENT);
}

static void
is_refused(struct dialogue *d)
{
	uint8_t buf[64];

	say_connect(d, false);
	say(d, BROKER, buf,
			connack_packet(buf, sizeof(buf), d->f.version,
					d->f.version == 5 ? 0x87 : 5));
	end(d, BROKER);
	end(d, CLIENT);
}

static void
authenticates(struct dialogue *d)
{
	static const uint8_t auth[] = { 0xf0, 9, 0x18, 7, 0x15, 0, 4, 'S', 'C', 'R', 'A' };

	say_connect(d, false);
	if (d->f.version == 5) {
		say(d, BROKER, auth, sizeof(auth));
		say(d, CLIENT, auth, sizeof(auth));
		say(d, BROKER, auth, sizeof(auth));
		say(d, CLIENT, auth, sizeof(auth));
	}
	say_connack(d);
	say_subscribe(d, 1, "x");
	say_suback(d, 1);
	look(d);
	reset(d, CLIENT);
}

static void
is_kicked(struct dialogue *d)
{
	say_connect(d, true);
	say_connack(d);
	talk(d);
	command(d, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
}

static void
is_taken_over(struct dialogue *d)
{
	say_connect(d, true);
	say_connack(d);
	talk(d);
	command(d, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_BEGIN);
	command(d, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_END);
}

static void
is_superseded(struct dialogue *d)
{
	uint8_t buf[64];

	say_connect(d, true);
	say_parked(d, buf, connack_packet(buf, sizeof(buf), d->f.version, 0));
	command(d, MQT_MSG_REFUSE, MQT_REASON_SUPERSEDED);
}

static void
connects_twice(struct dialogue *d)
{
	uint8_t buf[256];

	say_connect(d, false);
	say_connack(d);
	say_message(d, CLIENT, 1, 4);
	look(d); /* whether the second CONNECT counts as a packet depends on how it is cut */
	say(d, CLIENT, buf, connect_packet(buf, sizeof(buf), d->f.version, "another"));
	say_message(d, CLIENT, 1, 5);
	command(d, MQT_MSG_INSPECT, 0);
	end(d, BROKER);
	end(d, CLIENT);
}

static void
says_what_no_client_says(struct dialogue *d)
{
	say_connect(d, false);
	say_connack(d);
	say(d, CLIENT, "\xd0", 2);
	say(d, BROKER, "\xc0", 2);
	say_message(d, CLIENT, 3, 5);
	look(d);
	say(d, CLIENT, "\x30\xff\xff\xff\xff\x01 and on", 14);
	say(d, CLIENT, "and on", 6);
	end(d, BROKER);
	end(d, CLIENT);
}

static void
is_no_mqtt(struct dialogue *d)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: broker\r\n\r\n";

	open_tcp(d);
	say(d, CLIENT, request, strlen(request));
	say(d, BROKER, request, strlen(request));
	end(d, BROKER);
	end(d, CLIENT);
}

static void
comes_from_the_middle(struct dialogue *d)
{
	uint8_t buf[256];

	d->stream[CLIENT].base = d->f.seq[CLIENT];
	d->stream[BROKER].base = d->f.seq[BROKER];
	say(d, CLIENT, buf, connect_packet(buf, sizeof(buf), d->f.version, "nobody"));
	say(d, BROKER, buf, connack_packet(buf, sizeof(buf), d->f.version, 0));
	say_message(d, CLIENT, 1, 1);
	end(d, CLIENT);
}

static void
speaks_two_paths(struct dialogue *d)
{
	d->f.mptcp = true;
	say_connect(d, false);
	say_message(d, CLIENT, 1, 1);
	end(d, CLIENT);
	end(d, BROKER);
}

static void
comes_by_proxy(struct dialogue *d)
{
	struct mqt_proxy header = {
		.version = 2,
		.src = { .version = 4, .port = 4711, .ip = { 203, 0, 113, 9 } },
		.dst = { .version = 4, .port = 1883, .ip = { 10, 0, 0, 2 } },
		.cert_cn = { (const uint8_t *)"device-9", 8 },
	};
	uint8_t buf[512];
	size_t len = mqt_proxy_encode(buf, sizeof(buf), &header);

	d->f.broker_port = 1884;
	open_tcp(d);
	CHECK(len > 0);
	len += connect_of(d, buf + len, true);
	say(d, CLIENT, buf, len);
	say_connack(d);
	look(d);
	reset(d, CLIENT);
}

static void
say_frame(struct dialogue *d, int side, const void *packet, size_t len, bool parked)
{
	static const uint8_t key[4] = { 0x9d, 1, 0, 0x7e };
	uint8_t buf[512];
	size_t n = mqt_ws_frame_encode(
			buf, sizeof(buf), MQT_WS_BINARY, side == CLIENT ? key : NULL, packet, len);

	if (parked)
		say_parked(d, buf, n);
	else
		say(d, side, buf, n);
}

static void
speaks_websocket(struct dialogue *d)
{
	static const char request[] =
			"GET /mqtt HTTP/1.1\r\nHost: b\r\nUpgrade: websocket\r\n"
			"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
	static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
				     "Connection: Upgrade\r\n"
				     "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
				     "Sec-WebSocket-Protocol: mqtt\r\n\r\n";
	uint8_t buf[256];

	d->f.broker_port = 8080;
	open_tcp(d);
	say(d, CLIENT, request, strlen(request));
	say(d, BROKER, answer, strlen(answer));
	say_frame(d, CLIENT, buf, connect_of(d, buf, true), false);
	say_frame(d, BROKER, buf, connack_packet(buf, 64, d->f.version, 0), true);
	grant(d);
	say_frame(d, CLIENT, buf, subscribe_packet(buf, d->f.version, 1, "w/s", 1), false);
	say_frame(d, BROKER, buf, suback_packet(buf, d->f.version, 1, 1), false);
	say_frame(d, BROKER, buf, qos_packet(buf, d->f.version, 2, 9), false);
	look(d);
	command(d, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
}

static const struct plot {
	const char *name;
	void (*hold)(struct dialogue *d);
	bool has_channel;
} plots[] = {
	{ "leaves in order", leaves_in_order, true },
	{ "lasts and leaves", lasts_and_leaves, true },
	{ "client closes", client_closes, true },
	{ "broker closes", broker_closes, true },
	{ "client resets", client_resets, true },
	{ "broker resets", broker_resets, true },
	{ "does not wait for CONNACK", does_not_wait_for_connack, true },
	{ "more behind CONNACK", broker_says_more_behind_connack, true },
	{ "is refused", is_refused, false },
	{ "authenticates", authenticates, true },
	{ "is kicked", is_kicked, true },
	{ "is taken over", is_taken_over, true },
	{ "is superseded", is_superseded, true },
	{ "connects twice", connects_twice, true },
	{ "says what no client says", says_what_no_client_says, true },
	{ "is no MQTT", is_no_mqtt, false },
	{ "comes from the middle", comes_from_the_middle, false },
	{ "speaks two paths", speaks_two_paths, false },
	{ "comes by proxy", comes_by_proxy, true },
	{ "speaks WebSocket", speaks_websocket, true },
};

/* --- the comparison ---------------------------------------------------------------------------- */

/* What the tracker counts of flows, not of segments. */
static void
note_counters(struct dialogue *d)
{
	static const enum mqt_worker_counter shown[] = { MQT_W_CONNECTIONS, MQT_W_CONNECT,
		MQT_W_CONNACK_REFUSED, MQT_W_OPENS, MQT_W_GRANTS, MQT_W_REFUSALS, MQT_W_OPAQUE,
		MQT_W_OPAQUE_PROTOCOL, MQT_W_OPAQUE_MPTCP, MQT_W_PROXY_HEADERS, MQT_W_CONFLICT,
		MQT_W_ANOMALY_FRAMING, MQT_W_ANOMALY_GAP, MQT_W_ANOMALY_SECOND_CONNECT,
		MQT_W_ANOMALY_BEFORE_CONNECT, MQT_W_STEPDOWNS, MQT_W_FROZEN, MQT_W_BAD_CHECKSUM,
		MQT_W_INJECTED_DISCONNECT, MQT_W_INJECTED_CONNACK, MQT_W_UNEXPECTED_MSG };

	for (unsigned i = 0; i < RTE_DIM(shown); i++) {
		uint64_t n = mqt_counter_get(&w.counters.v[shown[i]]) - d->counted[shown[i]];

		if (n)
			note(d, "%s %" PRIu64 "\n", mqt_worker_counter_name(shown[i]), n);
	}
}

/* The flow is over: its slot rests and comes home. */
static void
part(struct dialogue *d, const struct plot *plot)
{
	note_counters(d);
	CHECK_EQ(d->f.chan != 0, plot->has_channel);
	if (d->f.info)
		release(&d->f);
	advance(20000 * SEC);
	drop_messages();
	out_clear();
	CHECK_EQ(in_state(MQT_CONN_FREE), w.config.limits.max_connections);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->parked), 0);
	CHECK_EQ(rte_mempool_in_use_count(pool), 0);
}

static void
hold_dialogue(struct dialogue *d, const struct plot *plot, const struct shape *shape, unsigned seed)
{
	static const unsigned pieces[] = { 1, 3, 17, 90, 700 };

	memset(d, 0, sizeof(*d));
	d->f = flow_of(shape);
	check_row = plot->name;
	d->whole = seed == 0;
	d->random = 0x9e3779b97f4a7c15ull * (seed + 1);
	d->piece = pieces[seed % RTE_DIM(pieces)];
	for (unsigned i = 0; i < MQT_W_N_COUNTERS; i++)
		d->counted[i] = mqt_counter_get(&w.counters.v[i]);
	plot->hold(d);
	part(d, plot);
}

static void
cuts_world(void)
{
	world_config();
	w.config.limits.max_connections = 4;
	w.config.limits.parked_per_flow = 200;
	w.config.n_listeners = 3;
	w.config.listeners[1] = w.config.listeners[2] = w.config.listeners[0];
	w.config.listeners[1].address.port = 1884;
	w.config.listeners[1].proxy = MQT_PROXY_REQUIRE;
	w.config.listeners[2].address.port = 8080;
	w.config.listeners[2].transport = MQT_TRANSPORT_WS;
	world_start();
}

/* Until one differs: its seed tells how to meet it again. */
static void
compare(const struct plot *plot, const struct shape *shape)
{
	static struct dialogue whole, cut;
	unsigned before = CU_get_number_of_failures();

	hold_dialogue(&whole, plot, shape, 0);
	for (unsigned seed = 1; seed <= N_SEEDS; seed++) {
		hold_dialogue(&cut, plot, shape, seed);
		CHECK_STR(cut.told, whole.told);
		if (CU_get_number_of_failures() > before) {
			printf("    [%s, %s, seed %u]\n", plot->name, shape->name, seed);
			break;
		}
	}
}

static void
test_how_tcp_cuts_a_flow_changes_nothing_of_what_it_tells(void)
{
	for (unsigned i = 0; i < RTE_DIM(plots); i++)
		for (unsigned k = 0; k < RTE_DIM(shapes); k++) {
			cuts_world();
			compare(&plots[i], &shapes[k]);
			world_end();
		}
}

static CU_TestInfo cuts_tests[] = {
	TEST(test_how_tcp_cuts_a_flow_changes_nothing_of_what_it_tells),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "cuts", NULL, NULL, NULL, NULL, cuts_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
