/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the number of a flow to its packets, and from a packet back.
 *
 * A client's address and port are the digits of its flow's number: address = number % addresses,
 * port = 1024 + number / addresses. So flows of the same time are spread over all addresses, and one
 * that follows another has a port that nobody had for as long as possible.
 * What is random is drawn from (seed, number), so that it does not matter in which order packets
 * are made. Synchronisation: none, one thread.
 */
#include "fleet.h"

#include "mqtrack/mqtt.h"

#include <string.h>

#include <rte_common.h>
#include <rte_ether.h>
#include <rte_ip.h>

#define FIRST_PORT  1024u
#define N_PORTS     (65536u - FIRST_PORT)
#define WINDOW      65535
#define ROOM        (GEN_PAYLOAD_MAX + 2 * GEN_CLIENTID_MAX + 128)
#define MESSAGE_ID  1
#define STRAY_BYTES 64
#define PUSH        (MQT_TCP_ACK | MQT_TCP_PSH)

const struct gen_act_info gen_acts[GEN_N_ACTS] = {
	[GEN_A_SYN] = { GEN_CLIENT, MQT_TCP_SYN, false, false },
	[GEN_A_SYN_ACK] = { GEN_BROKER, MQT_TCP_SYN | MQT_TCP_ACK, false, false },
	[GEN_A_ACK] = { GEN_CLIENT, MQT_TCP_ACK, false, false },
	[GEN_A_CONNECT] = { GEN_CLIENT, PUSH, false, true },
	[GEN_A_CONNACK] = { GEN_BROKER, PUSH, false, true },
	[GEN_A_SETTLE] = { GEN_CLIENT, MQT_TCP_ACK, false, false },
	[GEN_A_PUBLISH] = { GEN_CLIENT, PUSH, false, true },
	[GEN_A_PUBACK] = { GEN_BROKER, PUSH, false, true },
	[GEN_A_DISCONNECT] = { GEN_CLIENT, PUSH, false, true },
	[GEN_A_FIN] = { GEN_CLIENT, MQT_TCP_FIN | MQT_TCP_ACK, false, false },
	[GEN_A_FIN_ACK] = { GEN_BROKER, MQT_TCP_FIN | MQT_TCP_ACK, false, false },
	[GEN_A_LAST_ACK] = { GEN_CLIENT, MQT_TCP_ACK, false, false },
	[GEN_A_NONSENSE] = { GEN_CLIENT, PUSH, false, true },
	[GEN_A_BAD_CONNECT] = { GEN_CLIENT, PUSH, false, true },
	[GEN_A_BAD_LENGTH] = { GEN_CLIENT, PUSH, false, true },
	[GEN_A_SECOND_CONNECT] = { GEN_CLIENT, PUSH, false, true },
	[GEN_A_STRAY] = { GEN_CLIENT, PUSH, true, true },
	[GEN_A_DAMAGED] = { GEN_CLIENT, PUSH, true, true },
	[GEN_A_LIES] = { GEN_CLIENT, PUSH, true, true },
	[GEN_A_RST] = { GEN_CLIENT, MQT_TCP_RST | MQT_TCP_ACK, false, false },
};

#define OPENING GEN_A_SYN, GEN_A_SYN_ACK, GEN_A_ACK
#define HELLO   OPENING, GEN_A_CONNECT, GEN_A_CONNACK
#define END     GEN_N_ACTS

#define MOST_STEPS 12

/* A PUBLISH and its answer come again, as often as there are messages; the engine sees to that. */
static const uint8_t plots[GEN_N_KINDS][MOST_STEPS] = {
	[GEN_LIVES] = { HELLO, GEN_A_PUBLISH, GEN_A_PUBACK, GEN_A_DISCONNECT, GEN_A_FIN,
			GEN_A_FIN_ACK, GEN_A_LAST_ACK, END },
	[GEN_CHATTER] = { HELLO, GEN_A_SETTLE, GEN_A_PUBLISH, GEN_A_PUBACK, END },
	[GEN_RESUME] = { HELLO, GEN_A_SETTLE, END },
	[GEN_SYN] = { GEN_A_SYN, END },
};

static const struct {
	const char *counter;
	uint8_t steps[MOST_STEPS];
} garbage[GEN_N_GARBAGE] = {
	[GEN_G_NONSENSE] = { "opaque_protocol", { OPENING, GEN_A_NONSENSE, GEN_A_RST, END } },
	[GEN_G_BAD_CONNECT] = { "opaque_malformed",
			{ OPENING, GEN_A_BAD_CONNECT, GEN_A_RST, END } },
	[GEN_G_BAD_LENGTH] = { "anomaly_framing",
			{ HELLO, GEN_A_SETTLE, GEN_A_BAD_LENGTH, GEN_A_RST, END } },
	[GEN_G_SECOND_CONNECT] = { "anomaly_second_connect",
			{ HELLO, GEN_A_SETTLE, GEN_A_SECOND_CONNECT, GEN_A_RST, END } },
	[GEN_G_STRAY] = { "midstream", { GEN_A_STRAY, END } },
	[GEN_G_DAMAGED] = { "bad_checksum", { OPENING, GEN_A_DAMAGED, GEN_A_RST, END } },
	[GEN_G_LIES] = { "malformed_packets", { GEN_A_LIES, END } },
};

const char *
gen_garbage_counter(enum gen_garbage sort)
{
	return garbage[sort].counter;
}

enum gen_act
gen_step(const struct gen_fleet *fleet, uint64_t number, unsigned step)
{
	return (enum gen_act)(fleet->o->kind == GEN_GARBAGE ? garbage[gen_sort(number)].steps[step]
							    : plots[fleet->o->kind][step]);
}

unsigned
gen_first_publish(const struct gen_fleet *fleet)
{
	unsigned step = 0;

	while (plots[fleet->o->kind][step] != GEN_A_PUBLISH)
		step++;
	return step;
}

/* Mixes (seed, number, salt): the finaliser of MurmurHash3, twice. */
static uint64_t
draw(const struct gen_fleet *fleet, uint64_t number, uint64_t salt)
{
	uint64_t x = fleet->o->seed + number * UINT64_C(0x9e3779b97f4a7c15) + salt;

	for (int i = 0; i < 2; i++) {
		x = (x ^ x >> 33) * UINT64_C(0xff51afd7ed558ccd);
		x = (x ^ x >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
		x ^= x >> 33;
	}
	return x;
}

void
gen_fleet_init(struct gen_fleet *fleet, const struct gen_options *o)
{
	bool stays = o->kind == GEN_CHATTER || o->kind == GEN_RESUME;

	fleet->o = o;
	fleet->places = stays ? o->clients : o->parallel;
	fleet->n_tuples = (uint64_t)o->addresses * N_PORTS / fleet->places * fleet->places;
}

/* --- whose ------------------------------------------------------------------------------------ */

static unsigned
is_v6(const struct gen_fleet *fleet, uint32_t place)
{
	return fleet->o->ip_versions[place % fleet->o->n_ip_versions] == 6;
}

static uint8_t
version_of(const struct gen_fleet *fleet, uint32_t place)
{
	return fleet->o->versions[place / fleet->o->n_ip_versions % fleet->o->n_versions];
}

/* Last 32 bits of an address, which is where a range is counted. */
static uint8_t *
low_of(struct mqt_endpoint *ep)
{
	return ep->ip + (ep->version == 4 ? 0 : 12);
}

static struct mqt_endpoint
nth(struct mqt_endpoint ep, uint32_t n)
{
	uint8_t *low = low_of(&ep);
	rte_be32_t be;

	memcpy(&be, low, 4);
	be = rte_cpu_to_be_32(rte_be_to_cpu_32(be) + n);
	memcpy(low, &be, 4);
	return ep;
}

void
gen_ends(const struct gen_fleet *fleet, uint32_t place, uint32_t round, struct mqt_endpoint ends[2])
{
	const struct gen_options *o = fleet->o;
	uint64_t tuple = gen_number(fleet, place, round) % fleet->n_tuples;
	unsigned v6 = is_v6(fleet, place);

	ends[GEN_CLIENT] = nth(o->client[v6], (uint32_t)(tuple % o->addresses));
	ends[GEN_CLIENT].port = (uint16_t)(FIRST_PORT + tuple / o->addresses);
	ends[GEN_BROKER] = nth(
			o->broker[v6], (place + (o->kind == GEN_RESUME ? round : 0)) % o->brokers);
}

bool
gen_find(const struct gen_fleet *fleet, const struct mqt_endpoint *client, uint64_t *tuple)
{
	const struct gen_options *o = fleet->o;
	struct mqt_endpoint ep = *client, first = o->client[client->version == 6];
	rte_be32_t be, base;
	uint32_t index;

	memcpy(&be, low_of(&ep), 4);
	memcpy(&base, low_of(&first), 4);
	index = rte_be_to_cpu_32(be) - rte_be_to_cpu_32(base);
	memcpy(low_of(&ep), &base, 4);
	if (index >= o->addresses || ep.port < FIRST_PORT || memcmp(ep.ip, first.ip, 16) != 0)
		return false;
	*tuple = (uint64_t)(ep.port - FIRST_PORT) * o->addresses + index;
	return *tuple < fleet->n_tuples &&
			is_v6(fleet, (uint32_t)(*tuple % fleet->places)) == (ep.version == 6);
}

/* A place has every places-th client id, and takes them in turn. */
static uint64_t
client_of(const struct gen_fleet *fleet, uint32_t place, uint32_t round)
{
	uint32_t n = fleet->o->clients / fleet->places +
			(place < fleet->o->clients % fleet->places);

	return place + (uint64_t)(round % n) * fleet->places;
}

void
gen_begin(const struct gen_fleet *fleet, uint32_t place, uint32_t round, struct gen_flow *flow)
{
	uint64_t number = gen_number(fleet, place, round);

	*flow = (struct gen_flow){ .round = round };
	flow->seq[GEN_CLIENT] = (uint32_t)draw(fleet, number, 0);
	flow->seq[GEN_BROKER] = (uint32_t)(draw(fleet, number, 0) >> 32);
}

/* --- what ------------------------------------------------------------------------------------- */

static size_t
put_connect(const struct gen_fleet *fleet, uint8_t *buf, uint32_t place, uint32_t round,
		uint64_t client)
{
	const struct gen_options *o = fleet->o;
	char id[2 * GEN_CLIENTID_MAX + 32];
	struct mqt_mqtt_connect connect = {
		.version = version_of(fleet, place),
		.clean_start = o->kind != GEN_RESUME,
		.keepalive_sec = o->keepalive_sec,
	};

	connect.has_expiry = connect.version == 5 && !connect.clean_start && o->expiry_sec > 0;
	connect.expiry_sec = connect.has_expiry ? o->expiry_sec : 0;
	connect.clientid.len = (uint32_t)gen_clientid_write(&o->clientid, o->first + client, id);
	connect.clientid.ptr = (const uint8_t *)id;
	return mqt_mqtt_connect_encode(buf, ROOM, &connect);
}

/* A broker has the session where this client has been there before. */
static size_t
put_connack(const struct gen_fleet *fleet, uint8_t *buf, uint32_t place, uint32_t round)
{
	uint8_t version = version_of(fleet, place);
	struct mqt_mqtt_connack connack = { 0 };

	connack.session_present =
			fleet->o->kind == GEN_RESUME && version > 3 && round >= fleet->o->brokers;
	return mqt_mqtt_connack_encode(buf, ROOM, version, &connack);
}

static size_t
put_publish(const struct gen_fleet *fleet, uint8_t *buf, uint32_t place,
		const struct gen_flow *flow)
{
	static uint8_t payload[GEN_PAYLOAD_MAX];
	const struct gen_options *o = fleet->o;
	char topic[2 * GEN_CLIENTID_MAX + 32] = "fleet/";
	size_t len = 6 +
			gen_clientid_write(&o->clientid,
					o->first + client_of(fleet, place, flow->round), topic + 6);

	if (payload[0] == 0)
		for (size_t i = 0; i < sizeof(payload); i++)
			payload[i] = (uint8_t)('a' + i % 26);
	return mqt_mqtt_publish_encode(buf, ROOM, version_of(fleet, place), o->qos,
			o->qos ? (uint16_t)(MESSAGE_ID + flow->n_said % 65535) : 0,
			(struct mqt_bytes){ (const uint8_t *)topic, (uint32_t)len },
			(struct mqt_bytes){ payload, o->payload });
}

static size_t
put_puback(const struct gen_fleet *fleet, uint8_t *buf, const struct gen_flow *flow)
{
	uint16_t id = (uint16_t)(MESSAGE_ID + flow->n_said % 65535);

	if (fleet->o->qos == 0)
		return 0;
	buf[0] = MQT_MQTT_PUBACK << 4;
	buf[1] = 2;
	buf[2] = (uint8_t)(id >> 8);
	buf[3] = (uint8_t)id;
	return 4;
}

/* Random bytes that begin nothing of MQTT: 0 is no type of packet. */
static size_t
put_random(const struct gen_fleet *fleet, uint8_t *buf, uint64_t number)
{
	for (unsigned i = 0; i < STRAY_BYTES; i += 8) {
		uint64_t x = draw(fleet, number, i + 1);

		memcpy(buf + i, &x, 8);
	}
	buf[0] &= 0x0f;
	return STRAY_BYTES;
}

static size_t
put_payload(const struct gen_fleet *fleet, uint8_t *buf, uint32_t place,
		const struct gen_flow *flow, enum gen_act act)
{
	uint64_t number = gen_number(fleet, place, flow->round);
	uint64_t client = client_of(fleet, place, flow->round);
	size_t len, flags;

	switch (act) {
	case GEN_A_CONNECT:
	case GEN_A_DAMAGED:
		return put_connect(fleet, buf, place, flow->round, client);
	case GEN_A_SECOND_CONNECT:
		return put_connect(fleet, buf, place, flow->round, client + fleet->o->clients);
	case GEN_A_BAD_CONNECT:
		len = put_connect(fleet, buf, place, flow->round, client);
		flags = (buf[1] & 0x80 ? 3 : 2) + 2 + (version_of(fleet, place) == 3 ? 6 : 4) + 1;
		buf[flags] |= 0x1c;
		return len;
	case GEN_A_CONNACK:
		return put_connack(fleet, buf, place, flow->round);
	case GEN_A_PUBLISH:
		return put_publish(fleet, buf, place, flow);
	case GEN_A_PUBACK:
		return put_puback(fleet, buf, flow);
	case GEN_A_DISCONNECT:
		return mqt_mqtt_disconnect_encode(buf, ROOM, version_of(fleet, place), 0);
	case GEN_A_BAD_LENGTH:
		memcpy(buf, "\x30\xff\xff\xff\xff\x01", 6);
		return 6;
	case GEN_A_NONSENSE:
	case GEN_A_STRAY:
	case GEN_A_LIES:
		return put_random(fleet, buf, number);
	default:
		return 0;
	}
}

static void
put_l2(const struct gen_fleet *fleet, enum gen_side from, unsigned v6, struct mqt_segment *seg)
{
	const struct gen_options *o = fleet->o;
	uint8_t *p = seg->l2 + 12;

	memcpy(seg->l2, o->mac[!from], 6);
	memcpy(seg->l2 + 6, o->mac[from], 6);
	for (unsigned i = 0; i < o->n_vlans; i++, p += 4) {
		p[0] = o->n_vlans == 2 && i == 0 ? 0x88 : 0x81;
		p[1] = o->n_vlans == 2 && i == 0 ? 0xa8 : 0x00;
		p[2] = (uint8_t)(o->vlan[i] >> 8);
		p[3] = (uint8_t)o->vlan[i];
	}
	p[0] = v6 ? 0x86 : 0x08;
	p[1] = v6 ? 0xdd : 0x00;
	seg->l2_len = (uint8_t)(RTE_ETHER_HDR_LEN + 4 * o->n_vlans);
}

/* What nothing but a generator would send. */
static void
spoil(struct rte_mbuf *m, const struct mqt_segment *seg, enum gen_act act)
{
	uint8_t *ip = rte_pktmbuf_mtod_offset(m, uint8_t *, seg->l2_len);
	uint8_t *tcp = ip + (seg->src.version == 4 ? 20 : 40);

	if (act == GEN_A_DAMAGED)
		tcp[16] ^= 0x5a;
	if (act == GEN_A_LIES && seg->src.version == 4) {
		struct rte_ipv4_hdr *v4 = (struct rte_ipv4_hdr *)ip;

		v4->total_length = rte_cpu_to_be_16(1400);
		v4->hdr_checksum = 0;
		v4->hdr_checksum = rte_ipv4_cksum(v4);
	} else if (act == GEN_A_LIES) {
		((struct rte_ipv6_hdr *)ip)->payload_len = rte_cpu_to_be_16(1400);
	}
}

struct rte_mbuf *
gen_build(const struct gen_fleet *fleet, struct rte_mempool *pool, uint32_t place,
		const struct gen_flow *flow, enum gen_act act)
{
	const struct gen_act_info *info = &gen_acts[act];
	enum gen_side from = (enum gen_side)info->side;
	struct mqt_endpoint ends[2];
	struct mqt_segment seg;
	struct rte_mbuf *m;
	uint8_t payload[ROOM];

	gen_ends(fleet, place, flow->round, ends);
	seg.src = ends[from];
	seg.dst = ends[!from];
	put_l2(fleet, from, seg.src.version == 6, &seg);
	seg.tcp_flags = info->flags;
	seg.has_ts = 0;
	seg.window = WINDOW;
	seg.seq = flow->seq[from];
	seg.ack = info->flags & MQT_TCP_ACK ? flow->seq[!from] : 0;
	seg.payload_len = info->has_payload
			? (uint16_t)put_payload(fleet, payload, place, flow, act)
			: 0;
	seg.payload = payload;
	if (seg.payload_len == 0)
		seg.tcp_flags &= (uint8_t)~MQT_TCP_PSH;
	m = mqt_segment_build(pool, &seg);
	if (m && info->fire)
		spoil(m, &seg, act);
	return m;
}

struct rte_mbuf *
gen_build_reset(const struct gen_fleet *fleet, struct rte_mempool *pool, const struct rte_mbuf *m,
		const struct mqt_pkt *pkt)
{
	struct mqt_segment seg = {
		.tcp_flags = MQT_TCP_RST,
		.seq = pkt->ack,
	};
	uint64_t tuple;

	mqt_pkt_endpoints(m, pkt, &seg.dst, &seg.src);
	put_l2(fleet, gen_find(fleet, &seg.src, &tuple) ? GEN_CLIENT : GEN_BROKER,
			pkt->ip_version == 6, &seg);
	return mqt_segment_build(pool, &seg);
}
