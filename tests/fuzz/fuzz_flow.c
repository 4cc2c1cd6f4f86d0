/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A whole flow under whatever both ends and the control lcore do. The first two bytes of an input
 * are the kind of flow and of its listener; behind them are steps: a byte that says what happens
 * and what it takes. Both ends send handshakes, bytes of the input, MQTT that is right, repetitions
 * of what they have said, any number, acknowledgement and flags; the control lcore keeps to msg.h.
 *
 * Always: each packet held is counted and none is lost to the pool; nothing of CONNACK leaves before
 * OPEN, and nothing of the broker's stream gets further between OPEN and GRANT; no byte of CONNECT leaves in two versions before its broker
 * has it; no more packets leave than came and were injected; each OPEN ends once, and in the end
 * all slots come home.
 */

#include "fuzz.h"

#define CHECK_ABORTS
#include "../unit/conn_rig.h"
#include "mqtrack/proxy.h"
#include "mqtrack/ws.h"

#define N_SLOTS    2
#define STREAM_MAX 2048

enum step {
	STEP_OPEN,  /* a TCP handshake; the streams begin anew */
	STEP_BYTES, /* side, length, bytes: next in order */
	STEP_SAY,   /* side and what, how much of it: a packet of MQTT, or what may be before it */
	STEP_AT,    /* side, flags, offset, acknowledgement, length, bytes: anything */
	STEP_AGAIN, /* side, offset, length: what was said before */
	STEP_CONTROL, /* what the control lcore does, to which channel */
	STEP_TIME,    /* how much passes */
	STEP_BURST,   /* what follows comes in one burst, up to the next of these */
	N_STEPS,
};

/* A channel as the control lcore knows it. */
struct channel {
	mqt_chan_id chan;
	struct mqt_info *info;
	bool open, down, granted, answered, begun, frozen, killed;
};

struct end {
	uint8_t said[STREAM_MAX]; /* by this one, in order */
	uint32_t len, base;
};

struct rig {
	struct flow f;
	struct end end[2];
	struct channel channels[N_SLOTS];
	bool ws, proxy;
	uint64_t n_in, n_out;
	uint32_t reached; /* behind the highest byte of the broker's that has left */
	bool waits;       /* a CONNACK is parked */
	bool will_wait;   /* from the end of this burst on */
	/* CONNECT as it left first, while its bytes may not change */
	uint8_t connect[STREAM_MAX];
	bool left[STREAM_MAX];
	uint32_t connect_len;          /* STREAM_MAX: not complete */
	uint32_t acked, will_be_acked; /* the broker has so much */
	bool strict;
};

struct input {
	const uint8_t *data;
	size_t len;
};

static uint8_t
next(struct input *in)
{
	if (in->len == 0)
		return 0;
	in->len--;
	return *in->data++;
}

static size_t
next_bytes(struct input *in, const uint8_t **data)
{
	size_t n = next(in);

	*data = in->data;
	n = n < in->len ? n : in->len;
	in->data += n;
	in->len -= n;
	return n;
}

/* --- what must hold ---------------------------------------------------------------------------- */

/* What passes unfollowed may differ (I10): there the broker decides. */
static bool
is_followed(void)
{
	return COUNT(OPAQUE) + COUNT(MIDSTREAM) + COUNT(TABLE_FULL) + COUNT(HANDSHAKE_FULL) +
			COUNT(REPLACED) + COUNT(CONNACK_REFUSED) +
			COUNT(UNTRACKED_POSSIBLE_DUPLICATE) + COUNT(ONE_WAY) +
			COUNT(OUT_OF_WINDOW) + COUNT(EMBRYO_FULL) ==
			0;
}

static void
note_connect_end(struct rig *r)
{
	struct mqt_mqtt_header header;
	uint32_t n = 0;

	if (!r->strict || !is_followed() || COUNT(CONNECT) == 0 || r->connect_len < STREAM_MAX)
		return;
	while (n < STREAM_MAX && r->left[n])
		n++;
	if (mqt_mqtt_header_parse(r->connect, n, &header, NULL) == MQT_PARSE_OK)
		r->connect_len = header.len + header.remaining;
	if (r->connect_len > n)
		r->connect_len = STREAM_MAX; /* the rest is yet to leave */
}

/* Nobody reads the payload of a reset, nor of a SYN on a connection that stands. */
static bool
carries(const struct out *o)
{
	return o->v.payload_len > 0 && !(o->v.tcp_flags & (MQT_TCP_RST | MQT_TCP_SYN));
}

static void
check_to_broker(struct rig *r, const struct out *o)
{
	uint32_t at = o->v.seq - r->end[CLIENT].base;
	uint8_t data[2048];

	if (!r->strict || !is_followed() || !carries(o) || at > STREAM_MAX ||
			at + o->v.payload_len > STREAM_MAX)
		return;
	payload_of(o, data);
	for (uint32_t i = 0; i < o->v.payload_len && at + i < r->connect_len; i++) {
		FUZZ_CHECK(!r->left[at + i] || at + i < r->acked || r->connect[at + i] == data[i]);
		if (!r->left[at + i])
			r->connect[at + i] = data[i];
		r->left[at + i] = true;
	}
}

static void
check_to_client(struct rig *r, const struct out *o)
{
	uint32_t end = o->v.seq + o->v.payload_len;

	if (!carries(o) || mqt_seq_cmp(end, r->reached) <= 0)
		return;
	FUZZ_CHECK(!r->waits);
	r->reached = end;
}

static uint64_t
n_injected(void)
{
	return COUNT(INJECTED_RST) + COUNT(INJECTED_FIN) + COUNT(INJECTED_ACK) +
			COUNT(INJECTED_PROBE) + COUNT(INJECTED_DISCONNECT) +
			COUNT(INJECTED_CONNACK) + COUNT(INJECTED_WS_CLOSE) +
			COUNT(CHALLENGE_ANSWERED);
}

static void
check_out(struct rig *r)
{
	for (unsigned i = 0; i < w.n_out; i++) {
		if (w.out[i].port == 1)
			check_to_broker(r, &w.out[i]);
		else
			check_to_client(r, &w.out[i]);
		note_connect_end(r);
	}
	r->n_out += w.n_out;
	FUZZ_CHECK(w.n_out < MAX_OUT);
	out_clear();
	if (w.batching)
		return;
	FUZZ_CHECK(r->n_out <= r->n_in + n_injected());
	FUZZ_CHECK(rte_mempool_in_use_count(pool) ==
			atomic_load(&mqt_conns_gauges(w.conns)->parked));
}

/* --- the control lcore ------------------------------------------------------------------------- */

static void
hear_open(struct rig *r, struct channel *c, struct mqt_msg *msg)
{
	FUZZ_CHECK(!c->open && msg->info != NULL);
	*c = (struct channel){ .chan = msg->chan, .info = msg->info, .open = true };
	msg->info = NULL;
	r->will_wait = true;
	FUZZ_CHECK(COUNT(OPENS) <= COUNT(CONNECT));
}

static void
hear_end(struct rig *r, struct channel *c, const struct mqt_msg *msg)
{
	FUZZ_CHECK(msg->type == MQT_MSG_DOWN || (msg->session && c->answered && !c->frozen));
	FUZZ_CHECK(c->chan == msg->chan && !c->down);
	c->down = true;
	r->waits = r->will_wait = false;
}

static void
hear_stepdown(const struct channel *c, const struct mqt_msg *msg)
{
	FUZZ_CHECK(msg->result == 0 || (msg->result == -ENOENT && c->down));
	FUZZ_CHECK(!msg->session || msg->action == MQT_STEPDOWN_TAKEOVER_BEGIN);
	FUZZ_CHECK(!msg->pendings || msg->action == MQT_STEPDOWN_TAKEOVER_END);
	FUZZ_CHECK(c->down || msg->action == MQT_STEPDOWN_TAKEOVER_BEGIN);
}

static void
hear(struct rig *r)
{
	struct mqt_msg msg;

	while ((msg = next_message()).type != MQT_MSG_NONE) {
		struct channel *c = &r->channels[mqt_chan_id_slot(msg.chan) % N_SLOTS];

		switch (msg.type) {
		case MQT_MSG_OPEN:
			hear_open(r, c, &msg);
			break;
		case MQT_MSG_CLOSED:
		case MQT_MSG_DOWN:
			hear_end(r, c, &msg);
			break;
		case MQT_MSG_GRANTED:
		case MQT_MSG_RETURN:
			FUZZ_CHECK(c->granted && !c->answered);
			FUZZ_CHECK(msg.type == MQT_MSG_GRANTED || c->down);
			c->answered = true;
			break;
		case MQT_MSG_STEPDOWN_DONE:
			hear_stepdown(c, &msg);
			c->frozen |= msg.action == MQT_STEPDOWN_TAKEOVER_BEGIN && msg.result == 0;
			break;
		default:
			FUZZ_CHECK(msg.type == MQT_MSG_INSPECTED || msg.type == MQT_MSG_ANOMALY);
		}
		message_drop(&msg);
	}
}

static void
settle(struct rig *r)
{
	hear(r);
	check_out(r);
	if (w.batching)
		return;
	/* before 5.0 nothing comes before CONNACK, so not a byte has left */
	if (r->will_wait && !r->waits && r->strict && r->f.version < 5 && is_followed())
		FUZZ_CHECK(r->reached == r->end[BROKER].base);
	r->waits = r->will_wait;
	r->acked = r->will_be_acked;
	FUZZ_CHECK(!r->waits || atomic_load(&mqt_conns_gauges(w.conns)->parked) > 0);
}

static void
tell_about(struct rig *r, struct channel *c, enum mqt_msg_type type, unsigned detail)
{
	struct flow f = { .chan = c->chan, .info = c->info };

	tell_with(&f, type, detail, type == MQT_MSG_GRANT && detail ? mqt_session_create() : NULL);
	c->info = f.info;
	settle(r);
}

static void
take_over(struct rig *r, struct channel *c)
{
	bool begins = c->answered && !c->begun;

	if (c->frozen)
		tell_about(r, c, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_END);
	else if (begins)
		tell_about(r, c, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_BEGIN);
	c->begun |= begins;
}

static void
command(struct rig *r, struct channel *c, unsigned what)
{
	struct flow f = { .chan = c->chan };

	if (!c->open)
		return;
	switch (what % 8) {
	case 0:
	case 1:
		if (c->granted)
			return;
		c->granted = true;
		r->waits = r->will_wait = false;
		tell_about(r, c, MQT_MSG_GRANT, what % 8);
		return;
	case 2:
		if (c->granted)
			return;
		c->open = false;
		r->waits = r->will_wait = false;
		tell_about(r, c, MQT_MSG_REFUSE,
				what & 8 ? MQT_REASON_SUPERSEDED : MQT_REASON_TABLE_FULL);
		return;
	case 3:
		r->waits = r->will_wait = false;
		tell_about(r, c, MQT_MSG_STEPDOWN,
				what & 8 ? MQT_STEPDOWN_KICK : MQT_STEPDOWN_DISCARD);
		return;
	case 4:
		kill_channel(&f);
		return;
	case 5:
		take_over(r, c);
		return;
	case 6:
		tell_about(r, c, MQT_MSG_INSPECT, 0);
		return;
	default:
		if (!c->down || (c->granted && !c->answered))
			return;
		c->open = false;
		tell_about(r, c, MQT_MSG_RELEASE, 0);
	}
}

/* --- both ends --------------------------------------------------------------------------------- */

static void
note_ack(struct rig *r, int side, unsigned flags, uint32_t ack)
{
	uint32_t n = ack - r->end[CLIENT].base;

	if (side == BROKER && flags & MQT_TCP_ACK && n <= STREAM_MAX && n > r->will_be_acked)
		r->will_be_acked = n;
}

static void
segment(struct rig *r, int side, unsigned flags, uint32_t seq, uint32_t ack, const void *data,
		size_t len)
{
	if (w.batching && w.n_batch == RTE_DIM(w.batch))
		batch_end();
	note_ack(r, side, flags, ack);
	r->n_in++;
	send_at(&r->f, side, flags, seq, ack, data, len);
	settle(r);
}

static void
say(struct rig *r, int side, const void *data, size_t len)
{
	struct end *e = &r->end[side];

	if (len > STREAM_MAX - e->len)
		len = STREAM_MAX - e->len;
	memcpy(e->said + e->len, data, len);
	e->len += (uint32_t)len;
	segment(r, side, ACK, r->f.seq[side], r->f.seq[!side], data, len);
	r->f.seq[side] += (uint32_t)len;
}

static void
open_tcp(struct rig *r)
{
	bool first = COUNT(SYN) == 0 && r->n_in == 0;

	batch_end();
	settle(r);
	tcp_open(&r->f);
	r->n_in += 3;
	for (int side = 0; side < 2; side++) {
		r->end[side].len = 0;
		r->end[side].base = r->f.seq[side];
	}
	if (!r->waits)
		r->reached = r->f.seq[BROKER];
	r->strict = first && !r->ws && !r->proxy;
	settle(r);
}

static size_t
proxy_packet(uint8_t *buf, size_t cap, uint8_t version)
{
	struct mqt_proxy header = {
		.version = version,
		.src = { .version = 4, .port = 4711, .ip = { 203, 0, 113, 9 } },
		.dst = { .version = 4, .port = 1883, .ip = { 10, 0, 0, 2 } },
	};

	return mqt_proxy_encode(buf, cap, &header);
}

static size_t
text(uint8_t *buf, const char *what)
{
	memcpy(buf, what, strlen(what));
	return strlen(what);
}

static size_t
lasting_connect(uint8_t *buf, size_t cap, uint8_t version)
{
	struct mqt_mqtt_connect c = {
		.version = version,
		.keepalive_sec = 1,
		.clientid = { (const uint8_t *)"id", 2 },
		.has_will = true,
		.has_expiry = version == 5,
		.expiry_sec = version == 5 ? 9 : 0,
	};

	return mqt_mqtt_connect_encode(buf, cap, &c);
}

static const uint8_t raw[][4] = { { 0x50, 2, 0, 1 }, { 0x62, 2, 0, 1 }, { 0x70, 2, 0, 1 },
	{ 0x40, 2, 0, 1 }, { 0xc0, 0 }, { 0xd0, 0 }, { 0xf0, 2, 0x18, 0 }, { 0xe0, 0 } };

/* What is right in its place; returns 0 for what is not. */
static size_t
phrase(const struct rig *r, unsigned what, uint8_t *buf, size_t cap)
{
	uint8_t version = r->f.version;

	switch (what) {
	case 0:
		return connect_packet(buf, cap, version, "client");
	case 1:
		return lasting_connect(buf, cap, version);
	case 2:
		return connack_packet(buf, cap, version, 0);
	case 3:
		return connack_packet(buf, cap, version, 2);
	case 4:
		return subscribe_packet(buf, version, 1, "a/filter", 1);
	case 5:
		return suback_packet(buf, version, 1, 1);
	case 6:
		return qos_packet(buf, version, 1, 1);
	case 7:
		return qos_packet(buf, version, 2, 1);
	case 8:
		return publish_packet(buf, cap, version, 200);
	case 9:
		return mqt_mqtt_disconnect_encode(buf, cap, version, 0);
	case 10:
		return proxy_packet(buf, cap, 1);
	case 11:
		return proxy_packet(buf, cap, 2);
	case 12:
		return text(buf,
				"GET /mqtt HTTP/1.1\r\nHost: b\r\nUpgrade: websocket\r\n"
				"Connection: Upgrade\r\n"
				"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
				"Sec-WebSocket-Version: 13\r\n"
				"Sec-WebSocket-Protocol: mqtt\r\n\r\n");
	case 13:
		return text(buf,
				"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
				"Connection: Upgrade\r\n"
				"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
				"Sec-WebSocket-Protocol: mqtt\r\n\r\n");
	default:
		memcpy(buf, raw[what % RTE_DIM(raw)], 4);
		return 2u + buf[1];
	}
}

/* Bit 7: the broker says it. Bit 6, or a WebSocket listener: in a frame. */
static void
step_say(struct rig *r, struct input *in)
{
	static const uint8_t key[4] = { 1, 2, 3, 4 };
	unsigned what = next(in), skip = next(in) % 64;
	int side = what & 0x80 ? BROKER : CLIENT;
	uint8_t packet[512], frame[600], *p = packet;
	size_t len = phrase(r, what & 31, packet, sizeof(packet));

	if (!!(what & 0x40) != r->ws) {
		len = mqt_ws_frame_encode(frame, sizeof(frame), MQT_WS_BINARY,
				side == CLIENT ? key : NULL, packet, len);
		p = frame;
	}
	/* the first bytes in a segment of their own */
	if (skip > 0 && skip < len) {
		say(r, side, p, skip);
		say(r, side, p + skip, len - skip);
	} else {
		say(r, side, p, len);
	}
}

static void
step_at(struct rig *r, struct input *in)
{
	int side = next(in) & 1;
	unsigned flags = next(in);
	int off = (int8_t)next(in), ack = (int8_t)next(in);
	const uint8_t *data;
	size_t len = next_bytes(in, &data);

	r->strict = r->strict && !(flags & MQT_TCP_SYN);
	segment(r, side, flags, r->f.seq[side] + (uint32_t)off, r->f.seq[!side] + (uint32_t)ack,
			data, len);
	if (off == 0 && side == CLIENT && flags & MQT_TCP_FIN)
		r->f.seq[side] += (uint32_t)len + 1;
	if (off == 0 && side == BROKER && flags & MQT_TCP_FIN)
		r->f.seq[side] += (uint32_t)len + 1;
}

static void
step_again(struct rig *r, struct input *in)
{
	int side = next(in) & 1;
	const struct end *e = &r->end[side];
	uint32_t at = next(in), len = next(in);

	if (at >= e->len)
		return;
	if (len > e->len - at)
		len = e->len - at;
	segment(r, side, ACK, e->base + at, r->f.seq[!side], e->said + at, len);
}

static void
pass_time(struct rig *r, uint64_t ns)
{
	mqt_role_worker_assert();
	/* nothing lives for less than this, and no timer is late by more */
	for (uint64_t step; ns > 0; ns -= step) {
		step = ns < 2 * SEC ? ns : 2 * SEC;
		w.now += step;
		while (mqt_conns_expire(w.conns, 64))
			;
		flush();
		settle(r);
	}
}

static void
step(struct rig *r, struct input *in)
{
	const uint8_t *data;
	unsigned arg;
	size_t len;

	switch (next(in) % N_STEPS) {
	case STEP_OPEN:
		open_tcp(r);
		break;
	case STEP_BYTES:
		arg = next(in);
		len = next_bytes(in, &data);
		say(r, arg & 1, data, len);
		break;
	case STEP_SAY:
		step_say(r, in);
		break;
	case STEP_AT:
		step_at(r, in);
		break;
	case STEP_AGAIN:
		step_again(r, in);
		break;
	case STEP_CONTROL:
		arg = next(in);
		batch_end();
		settle(r);
		command(r, &r->channels[arg >> 7], arg & 15);
		break;
	case STEP_TIME:
		batch_end();
		settle(r);
		arg = next(in);
		pass_time(r, arg < 128 ? arg * 10 * MS : (arg - 127) * SEC);
		break;
	default:
		batch_end();
		w.batching = next(in) & 1;
		settle(r);
	}
}

/* --- begin and end ----------------------------------------------------------------------------- */

static void
begin(struct rig *r, unsigned shape, unsigned listener)
{
	struct mqt_listener *l = &w.config.listeners[0];

	world_config();
	w.config.limits.max_connections = N_SLOTS;
	w.config.limits.max_embryos = 2;
	w.config.limits.max_handshakes = 2;
	w.config.limits.parked_per_flow = 4;
	w.config.limits.parked_per_worker = 12;
	w.config.limits.reorder_per_flow = 4;
	w.config.limits.slot_quiet_ms = 10;
	w.config.limits.idle_sec = 30;
	w.config.limits.connect_max_bytes = 600;
	w.config.limits.session_packet_bytes = 60;
	l->on_failure = listener & 1;
	l->will = listener >> 1 & 1;
	l->midstream = listener >> 2 & 1;
	r->ws = listener >> 3 & 1;
	l->transport = r->ws;
	l->proxy = (uint8_t)((listener >> 4) % 3);
	r->proxy = l->proxy != MQT_PROXY_OFF;
	world_start();
	r->f = flow_of(&shapes[shape % RTE_DIM(shapes)]);
	r->f.client_port = 20000;
	r->f.mptcp = shape >= 250;
	r->connect_len = STREAM_MAX;
	r->reached = r->f.seq[BROKER];
}

/* Everything ends: all slots come home. */
static void
end(struct rig *r)
{
	batch_end();
	settle(r);
	for (unsigned i = 0; i < N_SLOTS; i++) {
		struct channel *c = &r->channels[i];

		if (c->open && !c->down)
			command(r, c, 3);
		FUZZ_CHECK(!c->open || c->down);
	}
	pass_time(r, 200 * SEC);
	for (unsigned i = 0; i < N_SLOTS; i++)
		command(r, &r->channels[i], 7);
	pass_time(r, 4 * SEC);
	FUZZ_CHECK(in_state(MQT_CONN_FREE) == N_SLOTS);
	FUZZ_CHECK(atomic_load(&mqt_conns_gauges(w.conns)->parked) == 0);
	FUZZ_CHECK(atomic_load(&mqt_conns_gauges(w.conns)->embryos) == 0);
	FUZZ_CHECK(COUNT(UNEXPECTED_MSG) == 0);
	world_end();
}

static void
leave(void)
{
	rte_mempool_free(pool);
	eal_stop(0);
}

static void
start_once(void)
{
	if (pool)
		return;
	FUZZ_CHECK(eal_start("fuzz") >= 0);
	pool = rte_pktmbuf_pool_create("p", 511, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	FUZZ_CHECK(pool != NULL);
	atexit(leave);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig r;
	struct input in = { data, size };
	unsigned shape = next(&in), listener = next(&in);

	start_once();
	memset(&r, 0, sizeof(r));
	begin(&r, shape, listener);
	while (in.len > 0)
		step(&r, &in);
	end(&r);
	return 0;
}
