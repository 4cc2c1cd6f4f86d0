/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_CONN_RIG_H
#define TESTS_UNIT_CONN_RIG_H

/*
 * What the tests of lib/conn share: a fake wire that keeps what leaves, a clock that stands still
 * until told, crafted frames, and a control lcore that is the test itself, reading the mailbox.
 * Each test ends with all mbufs back in their pool.
 */

#include "check.h"
#include "eal.h"
#include "mqtrack/conn.h"
#include "mqtrack/info.h"
#include "mqtrack/mqtt.h"
#include "mqtrack/session.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_errno.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>

#define MAX_OUT   1024
#define N_MBUFS   2047
#define CLIENT    0
#define BROKER    1
#define CLIENT_IP 0x0a000001u
#define BROKER_IP 0x0a000002u
#define SEC       MQT_NS_PER_SEC
#define MS        MQT_NS_PER_MS

static struct rte_mempool *pool;

/* --- the world --------------------------------------------------------------------------------- */

struct out {
	uint16_t port;
	struct rte_mbuf *m;
	struct mqt_pkt v;
};

static struct {
	struct mqt_config config;
	struct mqt_clock clock;
	struct mqt_hash_key key;
	struct mqt_mailbox *mailbox;
	struct mqt_tx tx;
	struct mqt_worker_counters counters;
	struct mqt_sources *sources; /* NULL: none, unless a test makes them */
	struct mqt_conns *conns;
	struct mqt_captures *captures; /* set before world_start(); else none */
	uint64_t now;
	struct out out[MAX_OUT];
	unsigned n_out;
	/* packets put off to go in one burst */
	bool batching;
	struct mqt_packet batch[64];
	unsigned n_batch;
} w;

static inline uint64_t
now(void *arg)
{
	return w.now;
}

static inline uint16_t
capture(void *arg, uint16_t port, struct rte_mbuf **m, uint16_t n)
{
	for (uint16_t i = 0; i < n && w.n_out < MAX_OUT; i++) {
		struct out *o = &w.out[w.n_out++];

		o->port = port;
		o->m = m[i];
		mqt_pkt_parse(m[i], &o->v);
	}
	return n;
}

static inline void
flush(void)
{
	mqt_role_worker_assert();
	mqt_tx_flush(&w.tx, 0);
	mqt_tx_flush(&w.tx, 1);
}

static inline void
out_clear(void)
{
	for (unsigned i = 0; i < w.n_out; i++)
		rte_pktmbuf_free(w.out[i].m);
	w.n_out = 0;
}

static inline void
world_config(void)
{
	memset(&w, 0, sizeof(w));
	mqt_config_init(&w.config);
	w.config.limits.max_connections = 64;
	w.config.limits.max_embryos = 64;
	w.config.limits.max_handshakes = 64;
	w.config.limits.parked_per_worker = 256;
	w.now = 1000 * SEC;
}

static inline void
world_start(void)
{
	struct mqt_conns_params p = {
		.config = &w.config,
		.clock = &w.clock,
		.hash_key = &w.key,
		.tx = &w.tx,
		.pool = pool,
		.captures = w.captures,
		.counters = &w.counters,
		.sources = w.sources,
		.worker = 3,
	};

	w.clock = (struct mqt_clock){ .mono_ns = now, .wall_ns = now };
	w.tx.burst = capture;
	w.tx.counters = w.counters.v;
	w.mailbox = mqt_mailbox_create(64);
	p.mailbox = w.mailbox;
	w.conns = mqt_conns_create(&p);
	if (!w.conns)
		abort();
}

static inline void
world_begin(void)
{
	world_config();
	world_start();
}

/* What a message carries is its receiver's. */
static inline void
message_drop(struct mqt_msg *msg)
{
	free(msg->info);
	mqt_session_destroy(msg->session);
	free(msg->pendings);
}

/* What waits for the control lcore is freed by it, i.e. by the test. */
static inline void
drop_messages(void)
{
	struct mqt_msg msg;

	mqt_role_control_assert();
	while (mqt_mailbox_poll_control(w.mailbox, &msg, 1))
		message_drop(&msg);
}

static inline void
world_end(void)
{
	flush();
	out_clear();
	drop_messages();
	mqt_conns_destroy(w.conns);
	mqt_sources_destroy(w.sources);
	mqt_mailbox_destroy(w.mailbox);
	CHECK_EQ(rte_mempool_in_use_count(pool), 0);
}

#define COUNT(name) mqt_counter_get(&w.counters.v[MQT_W_##name])

static inline unsigned
in_state(enum mqt_conn_state state)
{
	return atomic_load(&mqt_conns_gauges(w.conns)->state[state]);
}

static inline void
advance(uint64_t ns)
{
	mqt_role_worker_assert();
	/* in steps, as a worker would see time pass */
	for (uint64_t step; ns > 0; ns -= step) {
		step = ns < 50 * MS ? ns : ns > 100 * SEC ? 10 * SEC : 50 * MS;
		w.now += step;
		while (mqt_conns_expire(w.conns, 64))
			;
		flush();
	}
}

/* --- the wire ---------------------------------------------------------------------------------- */

struct flow {
	bool ip6, vlan, ts, mptcp, no_synack_mptcp;
	uint8_t wscale;     /* 0: not offered */
	uint32_t client_ip; /* 0: CLIENT_IP; the last four bytes of IPv6 */
	uint16_t client_port, broker_port;
	uint32_t seq[2]; /* next to be sent by that side */
	uint16_t window;
	uint32_t ts_val[2];
	uint8_t version;
	mqt_chan_id chan;
	struct mqt_info *info;
};

static inline struct flow
flow_new(void)
{
	static uint16_t port = 20000;

	return (struct flow){ .client_port = ++port,
		.broker_port = 1883,
		.seq = { 1000, 0xfffffff0u }, /* the broker's wraps */
		.window = 65000,
		.ts_val = { 5000, 9000 },
		.version = 4 };
}

static inline unsigned
put_options(const struct flow *f, int side, unsigned flags, uint8_t *o)
{
	unsigned n = 0;

	if (flags & MQT_TCP_SYN && f->wscale) {
		o[n++] = 1;
		o[n++] = 3;
		o[n++] = 3;
		o[n++] = f->wscale;
	}
	if (flags & MQT_TCP_SYN && f->mptcp && !(side == BROKER && f->no_synack_mptcp)) {
		static const uint8_t mp[12] = { 30, 12, 0x00, 0x81 };

		memcpy(o + n, mp, 12);
		n += 12;
	}
	if (f->ts) {
		uint32_t val = rte_cpu_to_be_32(f->ts_val[side]);
		uint32_t ecr = rte_cpu_to_be_32(f->ts_val[!side]);

		o[n++] = 1;
		o[n++] = 1;
		o[n++] = 8;
		o[n++] = 10;
		memcpy(o + n, &val, 4);
		memcpy(o + n + 4, &ecr, 4);
		n += 8;
	}
	return n;
}

static inline struct rte_mbuf *
build(const struct flow *f, int side, unsigned flags, uint32_t seq, uint32_t ack,
		const void *payload, size_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint8_t *d = rte_pktmbuf_mtod(m, uint8_t *), *begin = d, options[40];
	unsigned n_opt = put_options(f, side, flags, options), i = (unsigned)side;
	uint16_t type = rte_cpu_to_be_16(f->ip6 ? RTE_ETHER_TYPE_IPV6 : RTE_ETHER_TYPE_IPV4);
	uint32_t ip[2] = { rte_cpu_to_be_32(f->client_ip ? f->client_ip : CLIENT_IP),
		rte_cpu_to_be_32(BROKER_IP) };
	uint16_t port[2] = { f->client_port, f->broker_port };
	struct rte_tcp_hdr *tcp;

	memset(d, 0, 12);
	d[5] = (uint8_t)(0x20 + !side);
	d[11] = (uint8_t)(0x20 + side);
	d += 12;
	if (f->vlan) {
		static const uint8_t tag[4] = { 0x81, 0x00, 0x00, 0x2a };

		memcpy(d, tag, 4);
		d += 4;
	}
	memcpy(d, &type, 2);
	d += 2;
	if (f->ip6) {
		struct rte_ipv6_hdr *ip6 = (struct rte_ipv6_hdr *)d;

		memset(ip6, 0, sizeof(*ip6));
		ip6->vtc_flow = rte_cpu_to_be_32(6u << 28);
		ip6->payload_len = rte_cpu_to_be_16((uint16_t)(20 + n_opt + len));
		ip6->proto = 6;
		ip6->hop_limits = 64;
		memcpy(ip6->src_addr + 12, &ip[i], 4);
		memcpy(ip6->dst_addr + 12, &ip[!i], 4);
		d += sizeof(*ip6);
	} else {
		struct rte_ipv4_hdr *ip4 = (struct rte_ipv4_hdr *)d;

		memset(ip4, 0, sizeof(*ip4));
		ip4->version_ihl = 0x45;
		ip4->total_length = rte_cpu_to_be_16((uint16_t)(40 + n_opt + len));
		ip4->time_to_live = 64;
		ip4->next_proto_id = 6;
		ip4->src_addr = ip[i];
		ip4->dst_addr = ip[!i];
		ip4->hdr_checksum = rte_ipv4_cksum(ip4);
		d += sizeof(*ip4);
	}
	tcp = (struct rte_tcp_hdr *)d;
	memset(tcp, 0, sizeof(*tcp));
	tcp->src_port = rte_cpu_to_be_16(port[i]);
	tcp->dst_port = rte_cpu_to_be_16(port[!i]);
	tcp->sent_seq = rte_cpu_to_be_32(seq);
	tcp->recv_ack = rte_cpu_to_be_32(ack);
	tcp->data_off = (uint8_t)((20 + n_opt) / 4 << 4);
	tcp->tcp_flags = (uint8_t)flags;
	tcp->rx_win = rte_cpu_to_be_16(f->window);
	memcpy(d + 20, options, n_opt);
	if (len)
		memcpy(d + 20 + n_opt, payload, len);
	if (f->ip6)
		tcp->cksum = rte_ipv6_udptcp_cksum((struct rte_ipv6_hdr *)(d - 40), tcp);
	else
		tcp->cksum = rte_ipv4_udptcp_cksum((struct rte_ipv4_hdr *)(d - 20), tcp);
	m->data_len = (uint16_t)(d + 20 + n_opt + len - begin);
	m->pkt_len = m->data_len;
	return m;
}

static inline void
batch_end(void)
{
	mqt_role_worker_assert();
	w.batching = false;
	if (w.n_batch)
		mqt_conns_input(w.conns, w.batch, w.n_batch);
	w.n_batch = 0;
	flush();
}

static inline void
inject(struct rte_mbuf *m, int side)
{
	struct mqt_packet *p = &w.batch[w.n_batch++];
	size_t len;

	p->m = m;
	p->port = (uint16_t)side;
	if (mqt_pkt_parse(m, &p->view) != MQT_PKT_TCP)
		abort();
	p->src_low = (uint8_t)mqt_flow_key_of(m, &p->view, &p->key);
	len = p->view.ip_version == 6 ? MQT_FLOW_KEY_V6_LEN : MQT_FLOW_KEY_V4_LEN;
	p->hash = mqt_hash_flow(&w.key, &p->key, len);
	if (!w.batching)
		batch_end();
}

static inline void
send_at(struct flow *f, int side, unsigned flags, uint32_t seq, uint32_t ack, const void *payload,
		size_t len)
{
	inject(build(f, side, flags, seq, ack, payload, len), side);
}

/* Sends next in order, acknowledging all that the other side has sent. */
static inline void
send_next(struct flow *f, int side, unsigned flags, const void *payload, size_t len)
{
	send_at(f, side, flags, f->seq[side], f->seq[!side], payload, len);
	f->seq[side] += (uint32_t)len + !!(flags & (MQT_TCP_SYN | MQT_TCP_FIN));
}

#define ACK     MQT_TCP_ACK
#define FIN_ACK (MQT_TCP_FIN | MQT_TCP_ACK)
#define SYN_ACK (MQT_TCP_SYN | MQT_TCP_ACK)
#define RST_ACK (MQT_TCP_RST | MQT_TCP_ACK)

/* Closes, and the other side acknowledges it. */
static inline void
send_fin(struct flow *f, int side)
{
	send_next(f, side, FIN_ACK, NULL, 0);
	send_next(f, !side, ACK, NULL, 0);
}

/* How long a flow that an RST has ended stays at most, where nothing more is heard of it. */
#define RESET_TIME (7 * SEC)

/* The k-th segment that left at a port, from the n kept; NULL: there is none. */
static inline const struct out *
sent(uint16_t port, unsigned k)
{
	for (unsigned i = 0; i < w.n_out; i++)
		if (w.out[i].port == port && k-- == 0)
			return &w.out[i];
	return NULL;
}

static inline unsigned
n_sent(uint16_t port)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w.n_out; i++)
		n += w.out[i].port == port;
	return n;
}

static inline void
payload_of(const struct out *o, uint8_t *buf)
{
	mqt_pkt_payload_copy(o->m, &o->v, 0, o->v.payload_len, buf);
}

/* --- MQTT -------------------------------------------------------------------------------------- */

static inline size_t
connect_packet(uint8_t *buf, size_t cap, uint8_t version, const char *id)
{
	struct mqt_mqtt_connect c = {
		.version = version,
		.clean_start = true,
		.keepalive_sec = 60,
		.clientid = { (const uint8_t *)id, (uint32_t)strlen(id) },
		.has_username = true,
		.username = { (const uint8_t *)"user", 4 },
		.has_expiry = version == 5,
		.expiry_sec = version == 5 ? 77 : 0,
	};

	return mqt_mqtt_connect_encode(buf, cap, &c);
}

static inline size_t
connack_packet(uint8_t *buf, size_t cap, uint8_t version, uint8_t code)
{
	struct mqt_mqtt_connack c = { .code = code };

	return mqt_mqtt_connack_encode(buf, cap, version, &c);
}

static inline size_t
publish_packet(uint8_t *buf, size_t cap, uint8_t version, size_t payload_len)
{
	static const uint8_t zeros[4096];
	struct mqt_bytes topic = { (const uint8_t *)"t", 1 };
	struct mqt_bytes payload = { zeros, (uint32_t)payload_len };

	return mqt_mqtt_publish_encode(buf, cap, version, 0, 0, topic, payload);
}

/* A PUBLISH with a packet id. */
static inline size_t
qos_packet(uint8_t buf[64], uint8_t version, uint8_t qos, uint16_t packet_id)
{
	struct mqt_bytes topic = { (const uint8_t *)"topic", 5 };
	struct mqt_bytes payload = { (const uint8_t *)"payload", 7 };

	return mqt_mqtt_publish_encode(buf, 64, version, qos, packet_id, topic, payload);
}

static inline size_t
subscribe_packet(uint8_t *buf, uint8_t version, uint16_t packet_id, const char *filter, uint8_t qos)
{
	size_t len = strlen(filter), n = 0;

	buf[n++] = 0x82;
	buf[n++] = (uint8_t)(2 + (version == 5) + 2 + len + 1);
	buf[n++] = (uint8_t)(packet_id >> 8);
	buf[n++] = (uint8_t)packet_id;
	if (version == 5)
		buf[n++] = 0;
	buf[n++] = 0;
	buf[n++] = (uint8_t)len;
	memcpy(buf + n, filter, len);
	n += len;
	buf[n++] = qos;
	return n;
}

static inline size_t
suback_packet(uint8_t *buf, uint8_t version, uint16_t packet_id, uint8_t code)
{
	size_t n = 0;

	buf[n++] = 0x90;
	buf[n++] = version == 5 ? 4 : 3;
	buf[n++] = (uint8_t)(packet_id >> 8);
	buf[n++] = (uint8_t)packet_id;
	if (version == 5)
		buf[n++] = 0;
	buf[n++] = code;
	return n;
}

static inline void
tcp_open(struct flow *f)
{
	send_next(f, CLIENT, MQT_TCP_SYN, NULL, 0);
	send_next(f, BROKER, SYN_ACK, NULL, 0);
	send_next(f, CLIENT, ACK, NULL, 0);
}

static inline struct mqt_msg
next_message(void)
{
	struct mqt_msg msg = { 0 };

	mqt_role_control_assert();
	mqt_mailbox_poll_control(w.mailbox, &msg, 1);
	return msg;
}

static inline void
tell_with(struct flow *f, enum mqt_msg_type type, unsigned detail, struct mqt_session *session)
{
	struct mqt_msg msg = {
		.type = (uint8_t)type,
		.chan = f->chan,
		.stamp_ns = w.now,
		.token = 42,
		.code = type == MQT_MSG_STEPDOWN ? MQT_MQTT_RC_ADMINISTRATIVE : 0,
		.session = session,
	};

	mqt_role_control_assert();
	mqt_role_worker_assert();
	if (type == MQT_MSG_REFUSE)
		msg.reason = (uint8_t)detail;
	else
		msg.action = (uint8_t)detail;
	if (type == MQT_MSG_REFUSE || type == MQT_MSG_RELEASE) {
		msg.info = f->info;
		f->info = NULL;
	}
	mqt_mailbox_post_worker(w.mailbox, &msg);
	while (mqt_conns_poll(w.conns))
		;
	flush();
}

static inline void
tell(struct flow *f, enum mqt_msg_type type, unsigned detail)
{
	tell_with(f, type, detail, NULL);
}

/* Sends CONNECT and a successful CONNACK in one segment each. */
static inline void
mqtt_open(struct flow *f, const char *id)
{
	uint8_t buf[256];
	struct mqt_msg msg;

	send_next(f, CLIENT, ACK, buf, connect_packet(buf, sizeof(buf), f->version, id));
	send_next(f, BROKER, ACK, buf, connack_packet(buf, sizeof(buf), f->version, 0));
	msg = next_message();
	CHECK_EQ(msg.type, MQT_MSG_OPEN);
	f->chan = msg.chan;
	f->info = msg.info;
}

/* A connected client with everything acknowledged. */
static inline void
connected(struct flow *f, const char *id)
{
	tcp_open(f);
	mqtt_open(f, id);
	tell(f, MQT_MSG_GRANT, 0);
	CHECK_EQ(next_message().type, MQT_MSG_GRANTED);
	send_next(f, CLIENT, ACK, NULL, 0);
	out_clear();
}

static inline void
release(struct flow *f)
{
	tell(f, MQT_MSG_RELEASE, 0);
}

#define CHECK_DOWN(f, want)                                                                        \
	do {                                                                                       \
		struct mqt_msg down_ = next_message();                                             \
		CHECK_EQ(down_.type, MQT_MSG_DOWN);                                                \
		CHECK_EQ(down_.reason, want);                                                      \
		CHECK_EQ(down_.chan, (f)->chan);                                                   \
	} while (0)
#define CHECK_NO_MESSAGE() CHECK_EQ(next_message().type, MQT_MSG_NONE)

static inline uint64_t
slot_counter(const struct flow *f, enum mqt_slot_counter c)
{
	struct mqt_slots slots = mqt_conns_slots(w.conns);
	uint64_t v[MQT_SLOT_N_COUNTERS] = { 0 };

	CHECK(mqt_slot_read(mqt_slots_at(&slots, mqt_chan_id_slot(f->chan)), f->chan, v, NULL));
	return v[c];
}

static inline bool
kill_channel(const struct flow *f)
{
	struct mqt_slots slots = mqt_conns_slots(w.conns);

	return mqt_slot_leave(
			mqt_slots_at(&slots, mqt_chan_id_slot(f->chan)), f->chan, MQT_SLOT_KILLED);
}

/* --- flows of all kinds ------------------------------------------------------------------------ */

static const struct shape {
	const char *name;
	uint8_t version;
	bool ip6, vlan, ts;
	uint8_t wscale;
} shapes[] = {
	{ "3.1", 3, false, false, false, 0 },
	{ "3.1.1 vlan", 4, false, true, true, 7 },
	{ "3.1.1 ipv6", 4, true, false, true, 7 },
	{ "5.0", 5, false, false, true, 7 },
	{ "5.0 ipv6 vlan", 5, true, true, false, 2 },
};

static inline struct flow
flow_of(const struct shape *s)
{
	struct flow f = flow_new();

	check_row = s->name;
	f.version = s->version;
	f.ip6 = s->ip6;
	f.vlan = s->vlan;
	f.ts = s->ts;
	f.wscale = s->wscale;
	return f;
}

static inline void
check_stepdown_done(void)
{
	struct mqt_msg msg = next_message();

	CHECK_EQ(msg.type, MQT_MSG_STEPDOWN_DONE);
	CHECK_EQ(msg.result, 0);
	CHECK_EQ(msg.token, 42);
}

static inline uint32_t
rnd(uint32_t n)
{
	static uint64_t x = 88172645463325252ull;

	return check_random(&x, n);
}

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}

#ifndef CHECK_ABORTS
/* Runs the suites with EAL and a pool. Exit status of main. */
static inline int
rig_run(CU_SuiteInfo *suites)
{
	int status = 2;

	if (eal_start("conn") < 0)
		return status;
	pool = rte_pktmbuf_pool_create(
			"p", N_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (pool)
		status = check_run(suites);
	rte_mempool_free(pool);
	return eal_stop(status);
}
#endif

#endif
