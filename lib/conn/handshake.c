/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the TCP handshake to CONNACK: reading CONNECT, finding CONNACK, opening the channel. What the
 * broker sends until the control lcore has decided is parked (park.c).
 *
 * Life-cycle: a connection that begins gets a struct handshake from a bounded pool. EMBRYONIC: the
 * client's bytes are copied until CONNECT is complete; they leave for the broker as they come.
 * CONNECTING: the broker's segments go through the list of holds of its stream. AUTH passes; from
 * the first byte of what may be CONNACK on they stay there (R11). A refusal passes. A success
 * fixes what is known of the client (struct mqt_info), and OPEN gives it to the control lcore:
 * OPENING. A broker that closes the connection meanwhile ends the newcomer, unless that has said
 * DISCONNECT: then it is admitted and ends like any other. GRANT releases the list in its order, and
 * the handshake is given back. Until then the bytes of CONNECT are kept, and a segment that repeats
 * one that the broker has not acknowledged with another content is dropped (I12), or ends the stream
 * where it went on, or goes on behind its end. A CONNACK that does not
 * acknowledge CONNECT answers another one, and the flow is opaque.
 *
 * Handshakes are few, so they go to those who speak: when none is left, the connection that has sent
 * no CONNECT for longest loses its own and is opaque (R13).
 *
 * What is not understood makes the flow opaque, or resets it where its listener fails closed.
 * A CONNECT is parsed when it is whole, and before that only as its length doubles, so that small
 * segments do not make it quadratic.
 *
 * Synchronisation: the worker's own. The info is the control lcore's from OPEN on.
 * Sources: MQTT 3.1.1 and 5.0 §3.1, §3.2, §4.12; DESIGN.md R7, R11, I10, I12.
 */
#include "conn_private.h"
#include "mqtrack/proxy.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAP     128
#define KEPT_CAP      512 /* a larger buffer does not stay with its handshake */
#define PARSE_EAGERLY 16  /* up to here each byte: what is not MQTT shows early */
#define CONNECT_FIRST (MQT_MQTT_CONNECT << 4)
#define AUTH_FIRST    (MQT_MQTT_AUTH << 4)

int
handshake_init(struct mqt_conns *cs)
{
	cs->n_handshakes = cs->config->limits.max_handshakes;
	cs->handshakes = calloc(cs->n_handshakes + 1, sizeof(*cs->handshakes));
	cs->free_handshake = NO_INDEX;
	return cs->handshakes ? 0 : -1;
}

void
handshake_fini(struct mqt_conns *cs)
{
	for (uint32_t i = 0; cs->handshakes && i < cs->fresh_handshake; i++) {
		free(cs->handshakes[i].connect);
		free(cs->handshakes[i].reply);
	}
	free(cs->handshakes);
}

/* --- those that have not said who they are ----------------------------------------------------- */

static void
silent_append(struct mqt_conns *cs, struct conn *c)
{
	struct handshake *hs = c->hs;

	hs->conn = c;
	hs->newer = NULL;
	hs->older = cs->newest_silent;
	if (hs->older)
		hs->older->newer = hs;
	else
		cs->oldest_silent = hs;
	cs->newest_silent = hs;
}

static void
silent_remove(struct mqt_conns *cs, struct handshake *hs)
{
	if (!hs->conn)
		return;
	hs->conn = NULL;
	if (hs->older)
		hs->older->newer = hs->newer;
	else
		cs->oldest_silent = hs->newer;
	if (hs->newer)
		hs->newer->older = hs->older;
	else
		cs->newest_silent = hs->older;
}

static void
keep_small(uint8_t **buf, uint32_t *cap)
{
	if (*cap <= KEPT_CAP)
		return;
	free(*buf);
	*buf = NULL;
	*cap = 0;
}

bool
handshake_begin(struct mqt_conns *cs, struct conn *c)
{
	struct handshake *hs;
	uint32_t index;

	if (cs->free_handshake == NO_INDEX && cs->fresh_handshake == cs->n_handshakes &&
			cs->oldest_silent)
		conn_untracked(cs, cs->oldest_silent->conn, MQT_W_OPAQUE_SILENT);
	index = cs->free_handshake;
	if (index != NO_INDEX)
		cs->free_handshake = cs->handshakes[index].link;
	else if (cs->fresh_handshake < cs->n_handshakes)
		index = cs->fresh_handshake++;
	else
		return false;
	c->hs = hs = &cs->handshakes[index];
	*hs = (struct handshake){
		.connect = hs->connect,
		.connect_cap = hs->connect_cap,
		.reply = hs->reply,
		.reply_cap = hs->reply_cap,
		.base = c->isn + 1,
	};
	c->flags |= CONN_HANDSHAKE;
	layers_begin(cs, c);
	silent_append(cs, c);
	return true;
}

void
handshake_end(struct mqt_conns *cs, struct conn *c)
{
	struct handshake *hs = c->hs;

	if (!(c->flags & CONN_HANDSHAKE))
		return;
	c->flags &= (uint16_t)~CONN_HANDSHAKE;
	silent_remove(cs, hs);
	c->session = hs->session;
	keep_small(&hs->connect, &hs->connect_cap);
	keep_small(&hs->reply, &hs->reply_cap);
	free(hs->early);
	free(hs->raw);
	hs->early = hs->raw = NULL;
	hs->link = cs->free_handshake;
	cs->free_handshake = (uint32_t)(hs - cs->handshakes);
}

bool
handshake_append(uint8_t **buf, uint32_t *len, uint32_t *cap, const void *data, uint32_t n)
{
	uint32_t want = *cap ? *cap : FIRST_CAP;
	uint8_t *grown;

	while (want < *len + n)
		want *= 2;
	if (want != *cap) {
		grown = realloc(*buf, want);
		if (!grown)
			return false;
		*buf = grown;
		*cap = want;
	}
	memcpy(*buf + *len, data, n);
	*len += n;
	return true;
}

/* --- CONNECT ----------------------------------------------------------------------------------- */

/* What the bytes so far are: OK a whole CONNECT, BAD with the counter that names why. */
static enum mqt_parse
connect_try(struct mqt_conns *cs, struct handshake *hs, uint32_t *want,
		enum mqt_worker_counter *why)
{
	struct mqt_mqtt_header header;
	enum mqt_mqtt_error error = MQT_MQTT_E_NONE;
	enum mqt_parse r;

	*why = MQT_W_OPAQUE_PROTOCOL;
	if (hs->connect[0] != CONNECT_FIRST)
		return MQT_PARSE_BAD;
	*why = MQT_W_OPAQUE_MALFORMED;
	*want = hs->connect_len + 1;
	r = mqt_mqtt_header_parse(hs->connect, hs->connect_len, &header, &error);
	if (r != MQT_PARSE_OK)
		return r;
	*want = header.len + header.remaining;
	if (hs->connect_len < *want && hs->connect_len > PARSE_EAGERLY &&
			hs->connect_len < 2 * hs->connect_tried)
		return MQT_PARSE_MORE;
	hs->connect_tried = hs->connect_len;
	r = mqt_mqtt_connect_parse(hs->connect, hs->connect_len, &hs->parsed, &error);
	if (r == MQT_PARSE_BAD && error == MQT_MQTT_E_PROTOCOL)
		*why = MQT_W_OPAQUE_PROTOCOL;
	if (r == MQT_PARSE_MORE && *want > cs->config->limits.connect_max_bytes) {
		*why = MQT_W_OPAQUE_OVERSIZE;
		return MQT_PARSE_BAD;
	}
	return r == MQT_PARSE_MORE && hs->connect_len >= *want ? MQT_PARSE_BAD : r;
}

/* How many bytes to begin with: all of CONNECT where its header is there. */
static uint32_t
connect_begin(const struct mqt_conns *cs, const uint8_t *data, uint32_t len)
{
	struct mqt_mqtt_header header;

	if (len == 0 || data[0] != CONNECT_FIRST ||
			mqt_mqtt_header_parse(data, len, &header, NULL) != MQT_PARSE_OK)
		return 1;
	return RTE_MIN(header.len + header.remaining, cs->config->limits.connect_max_bytes);
}

uint32_t
handshake_connect_bytes(struct mqt_conns *cs, struct conn *c, const uint8_t *data, uint32_t len)
{
	struct handshake *hs = c->hs;
	const struct mqt_mqtt_connect *connect = &hs->parsed;
	enum mqt_worker_counter why = MQT_W_NO_MEMORY;
	enum mqt_parse r = MQT_PARSE_MORE;
	uint32_t used = 0, want;

	if (hs->connect_len > 0)
		r = connect_try(cs, hs, &want, &why);
	else
		want = connect_begin(cs, data, len);
	while (used < len && r == MQT_PARSE_MORE) {
		uint32_t n = RTE_MIN(len - used, want - hs->connect_len);

		if (!handshake_append(&hs->connect, &hs->connect_len, &hs->connect_cap, data + used,
				    n)) {
			r = MQT_PARSE_BAD;
			why = MQT_W_NO_MEMORY;
			break;
		}
		used += n;
		r = connect_try(cs, hs, &want, &why);
	}
	if (r == MQT_PARSE_BAD) {
		if (hs->connect_len > 0 && hs->connect[0] != CONNECT_FIRST)
			anomaly_first_byte(cs, c, hs->connect[0]);
		conn_untracked(cs, c, why);
		return len;
	}
	if (r == MQT_PARSE_OK) {
		c->version = connect->version;
		count(cs, MQT_W_CONNECT);
		if (unlikely(cs->capturing))
			capture_connect(cs, c, connect->clientid.ptr, connect->clientid.len);
		mqt_slot_count(&c->slot, MQT_RECV_PKT, 1);
		if (hs->keeps_raw) /* up to the end of CONNECT */
			hs->raw_len -= len - used + hs->behind;
		silent_remove(cs, hs);
		conn_set_state(cs, c, MQT_CONN_CONNECTING);
	}
	return used;
}

/* The client's bytes that are kept, as they came. @return NULL where there are none. */
static const uint8_t *
kept_bytes(const struct handshake *hs, uint32_t *len)
{
	*len = hs->keeps_raw ? hs->raw_len : hs->connect_len;
	return hs->keeps_raw ? hs->raw : hs->connect;
}

/* Whether one of two segments says that the stream ends where the other has bytes. */
static bool
fin_conflict(const struct conn *c, const struct mqt_pkt *v)
{
	const struct stream *s = &c->stream[CLIENT];
	uint32_t end = v->seq + v->payload_len, n_kept;

	kept_bytes(c->hs, &n_kept);
	if (v->payload_len > 0 && (s->flags & (STREAM_FIN | STREAM_LOST)) == STREAM_FIN &&
			mqt_seq_cmp(end, s->next) >= 0)
		return true;
	return v->tcp_flags & MQT_TCP_FIN && mqt_seq_cmp(end, c->hs->base + n_kept) < 0 &&
			mqt_seq_cmp(end, c->stream[BROKER].ack) >= 0;
}

bool
handshake_conflict(const struct conn *c, const struct rte_mbuf *m, const struct mqt_pkt *v)
{
	const struct handshake *hs = c->hs;
	const uint8_t *kept;
	uint32_t at, end, n_kept;

	if (!(c->flags & CONN_HANDSHAKE))
		return false;
	if (fin_conflict(c, v))
		return true;
	kept = kept_bytes(hs, &n_kept);
	at = mqt_seq_cmp(v->seq, hs->base) > 0 ? v->seq : hs->base;
	if (mqt_seq_cmp(c->stream[BROKER].ack, at) > 0)
		at = c->stream[BROKER].ack; /* what the broker has it does not take again */
	end = v->seq + v->payload_len;
	if (mqt_seq_cmp(end, hs->base + n_kept) > 0)
		end = hs->base + n_kept;
	while (mqt_seq_cmp(at, end) < 0) {
		uint32_t len;
		const uint8_t *data = mqt_pkt_payload_at(m, v, at - v->seq, &len);

		len = RTE_MIN(len, end - at);
		if (len == 0 || memcmp(data, kept + (at - hs->base), len) != 0)
			return true;
		at += len;
	}
	return false;
}

/* --- CONNACK ----------------------------------------------------------------------------------- */

static struct mqt_digest
client_digest(struct mqt_conns *cs, const struct conn *c, const struct mqt_info *info,
		const struct mqt_endpoint *broker)
{
	if (info->flags & MQT_INFO_ANONYMOUS)
		return mqt_digest_anonymous(cs->hash_key, conn_chan(cs, c));
	return mqt_digest_client(cs->hash_key, info->domain,
			info->flags & MQT_INFO_ASSIGNED ? broker : NULL, mqt_info_clientid(info),
			info->clientid_len);
}

static uint16_t
info_flags(const struct mqt_mqtt_connect *connect, const struct mqt_mqtt_connack *connack)
{
	unsigned flags = 0;

	if (connect->clean_start)
		flags |= MQT_INFO_CLEAN_START;
	if (connack->session_present)
		flags |= MQT_INFO_SESSION_PRESENT;
	if (connect->has_username)
		flags |= MQT_INFO_HAS_USERNAME;
	if (connect->version == 5)
		flags |= MQT_INFO_HAS_EXPIRY; /* absent is 0, MQTT 5.0 §3.1.2.11.2 */
	if (connect->clientid.len == 0)
		flags |= connack->assigned_clientid.len ? MQT_INFO_ASSIGNED : MQT_INFO_ANONYMOUS;
	if (connect->has_will)
		flags |= MQT_INFO_HAS_WILL;
	if (connect->bridge)
		flags |= MQT_INFO_BRIDGE;
	return (uint16_t)flags;
}

/* @param len of what comes behind its fields. */
static struct mqt_info *
info_alloc(size_t len)
{
	return calloc(1, RTE_MAX(offsetof(struct mqt_info, data) + len, sizeof(struct mqt_info)));
}

/* All that is known of the client. @return NULL: no memory. */
static struct mqt_info *
info_create(struct mqt_conns *cs, const struct conn *c, const struct mqt_mqtt_connack *connack)
{
	const struct mqt_mqtt_connect *connect = &c->hs->parsed;
	struct mqt_endpoint peer, broker, via = { .version = 0 };
	struct mqt_proxy proxy;
	struct mqt_bytes id;
	struct mqt_info *info;

	id = connect->clientid.len ? connect->clientid : connack->assigned_clientid;
	layers_proxy(c->hs, &proxy);
	table_endpoints(cs, c, &peer, &broker);
	if (proxy.src.version) {
		via = peer;
		peer = proxy.src;
	}
	info = info_alloc(id.len + connect->username.len + proxy.cert_cn.len +
			mqt_info_ends_size(&peer, &broker, &via));
	if (!info)
		return NULL;
	info->flags = info_flags(connect, connack);
	info->expiry_sec = connack->has_expiry ? connack->expiry_sec : connect->expiry_sec;
	info->keepalive_sec =
			connack->has_keepalive ? connack->keepalive_sec : connect->keepalive_sec;
	info->clientid_len = (uint16_t)id.len;
	info->username_len = (uint16_t)connect->username.len;
	info->cert_cn_len = (uint16_t)proxy.cert_cn.len;
	info->listener = c->listener;
	info->domain = cs->config->listeners[c->listener].domain;
	info->proto_ver = connect->version;
	info->transport = cs->config->listeners[c->listener].transport;
	if (id.len)
		memcpy(info->data, id.ptr, id.len);
	if (connect->username.len)
		memcpy(info->data + id.len, connect->username.ptr, connect->username.len);
	if (proxy.cert_cn.len)
		memcpy(info->data + id.len + connect->username.len, proxy.cert_cn.ptr,
				proxy.cert_cn.len);
	mqt_info_set_ends(info, &peer, &broker, &via);
	info->digest = client_digest(cs, c, info, &broker);
	return info;
}

/* How long the session outlives the flow (5.0 §3.1.2.11.2; 3.1.1 §3.1.2.4 names no limit). */
static uint32_t
session_expiry(const struct mqt_conns *cs, const struct mqt_info *info)
{
	if (info->flags & MQT_INFO_ANONYMOUS)
		return 0;
	if (info->proto_ver == 5)
		return info->expiry_sec;
	return info->flags & MQT_INFO_CLEAN_START
			? 0
			: cs->config->listeners[info->listener].session_expiry_v3_sec;
}

static void
channel_open(struct mqt_conns *cs, struct conn *c, struct mqt_info *info)
		MQT_REQUIRES(mqt_role_worker)
{
	struct mqt_msg msg = {
		.type = MQT_MSG_OPEN,
		.chan = conn_chan(cs, c),
		.info = info,
	};

	/* A burst has one time. In which order its CONNACKs came, the stamp must still tell: the
	 * broker that sent them has ended all connections of a client id but the last. */
	cs->open_ns = RTE_MAX(cs->now_ns, cs->open_ns + 1);
	msg.stamp_ns = cs->open_ns;
	c->expiry_sec = session_expiry(cs, info);
	c->keepalive_sec = info->keepalive_sec;
	c->flags |= CONN_CHANNEL | (info->flags & MQT_INFO_HAS_WILL ? CONN_WILL : 0);
	/* release: who learns of this channel by the message finds it live */
	atomic_store_explicit(&c->slot.word, mqt_slot_word(conn_gen(c), MQT_SLOT_LIVE),
			memory_order_release);
	mqt_mailbox_post_control(cs->mailbox, &msg);
	count(cs, MQT_W_OPENS);
	conn_set_state(cs, c, MQT_CONN_OPENING);
	conn_arm(cs, c, cs->config->limits.opening_ms * MQT_NS_PER_MS);
}

static enum reply
connack_success(struct mqt_conns *cs, struct conn *c, const struct mqt_mqtt_connack *connack)
		MQT_REQUIRES(mqt_role_worker)
{
	struct mqt_info *info;
	uint32_t n_kept;

	kept_bytes(c->hs, &n_kept);
	if (mqt_seq_cmp(c->stream[BROKER].ack, c->hs->base + n_kept) < 0) {
		/* it answers another CONNECT: this one has not arrived */
		conn_untracked(cs, c, MQT_W_OPAQUE_AMBIGUOUS);
		return REPLY_DONE;
	}
	info = info_create(cs, c, connack);
	if (!info) {
		conn_untracked(cs, c, MQT_W_NO_MEMORY);
		return REPLY_DONE;
	}
	mqt_slot_count(&c->slot, MQT_SEND_PKT, 1);
	if (c->flags & CONN_WS) { /* which is read no further than this */
		mqt_slot_count(&c->slot, MQT_SEND_OCT,
				c->stream[BROKER].next - c->stream[BROKER].end);
	} else {
		/* what is behind CONNACK is followed when it is released */
		c->stream[BROKER].next = c->hs->reply_begin + connack->packet_len;
		mqt_slot_count(&c->slot, MQT_SEND_OCT, connack->packet_len);
		if (connack->packet_len == c->hs->reply_len)
			mqt_slot_count(&c->slot, MQT_SEND_CNT, 1);
	}
	channel_open(cs, c, info);
	return REPLY_DONE;
}

static enum reply
reply_connack(struct mqt_conns *cs, struct conn *c) MQT_REQUIRES(mqt_role_worker)
{
	struct handshake *hs = c->hs;
	struct mqt_mqtt_connack connack;
	struct mqt_mqtt_header header;
	enum mqt_mqtt_error error;

	switch (mqt_mqtt_connack_parse(hs->reply, hs->reply_len, c->version, &connack, &error)) {
	case MQT_PARSE_OK:
		if (connack.code == MQT_MQTT_RC_SUCCESS)
			return connack_success(cs, c, &connack);
		count(cs, MQT_W_CONNACK_REFUSED);
		conn_pass(cs, c);
		return REPLY_DONE;
	case MQT_PARSE_MORE:
		if (mqt_mqtt_header_parse(hs->reply, hs->reply_len, &header, &error) !=
						MQT_PARSE_OK ||
				header.remaining <= cs->config->limits.connect_max_bytes)
			return REPLY_WAITS;
		/* fallthrough */
	default:
		conn_untracked(cs, c, MQT_W_OPAQUE_MALFORMED);
		return REPLY_DONE;
	}
}

static void
reply_consume(struct handshake *hs, uint32_t n)
{
	hs->reply_len -= n;
	hs->reply_begin += n;
	memmove(hs->reply, hs->reply + n, hs->reply_len);
}

enum reply
handshake_reply(struct mqt_conns *cs, struct conn *c)
{
	struct handshake *hs = c->hs;
	struct mqt_mqtt_header header;

	for (;;) {
		uint32_t n = RTE_MIN(hs->reply_skip, hs->reply_len);

		if (n > 0) {
			hs->reply_skip -= n;
			reply_consume(hs, n);
		}
		if (hs->reply_len == 0)
			return REPLY_PASSES;
		if (hs->reply[0] >> 4 == MQT_MQTT_CONNACK)
			return reply_connack(cs, c);
		if (hs->reply[0] != AUTH_FIRST || c->version != 5) {
			anomaly(cs, c, BROKER, ANOMALY_BEFORE_CONNACK);
			break;
		}
		switch (mqt_mqtt_header_parse(hs->reply, hs->reply_len, &header, NULL)) {
		case MQT_PARSE_MORE:
			return REPLY_PASSES;
		case MQT_PARSE_OK:
			hs->reply_skip = header.len + header.remaining;
			continue;
		default:
			break;
		}
		break;
	}
	conn_untracked(cs, c, MQT_W_OPAQUE_MALFORMED);
	return REPLY_DONE;
}

/* The same of a WebSocket. */
static enum reply
reply_frames(struct mqt_conns *cs, struct conn *c, const struct hold *h)
		MQT_REQUIRES(mqt_role_worker)
{
	uint32_t off = c->stream[BROKER].next - h->view.seq, len;

	while (off < h->view.payload_len) {
		const uint8_t *data = mqt_pkt_payload_at(h->m, &h->view, off, &len);

		if (len == 0)
			break;
		if (!ws_reply_bytes(cs, c, data, len)) {
			if (c->state == MQT_CONN_OPENING &&
					c->stream[BROKER].next == seg_end(&h->view))
				mqt_slot_count(&c->slot, MQT_SEND_CNT, 1);
			return REPLY_DONE;
		}
		off += len;
	}
	return ws_reply(cs, c);
}

/* Reads what is new in a held segment that leaves no gap. */
static enum reply
reply_segment(struct mqt_conns *cs, struct conn *c, const struct hold *h)
		MQT_REQUIRES(mqt_role_worker)
{
	struct stream *s = &c->stream[BROKER];
	struct handshake *hs = c->hs;
	uint32_t off = s->next - h->view.seq, len;

	if (c->flags & CONN_WS)
		return reply_frames(cs, c, h);
	if (hs->reply_len == 0 && hs->reply_skip == 0)
		hs->reply_begin = s->next;
	while (off < h->view.payload_len) {
		const uint8_t *data = mqt_pkt_payload_at(h->m, &h->view, off, &len);

		if (len == 0)
			break;
		if (!handshake_append(&hs->reply, &hs->reply_len, &hs->reply_cap, data, len)) {
			conn_untracked(cs, c, MQT_W_NO_MEMORY);
			return REPLY_DONE;
		}
		off += len;
		s->next += len;
	}
	return handshake_reply(cs, c);
}

/* Lets go what holds no part of a CONNACK. */
static void
reply_pass(struct mqt_conns *cs, struct conn *c) MQT_REQUIRES(mqt_role_worker)
{
	struct stream *s = &c->stream[BROKER];
	struct hold h;
	uint32_t end;

	while (s->held != NO_INDEX &&
			mqt_seq_cmp(seg_end(&hold_at(cs, s->held)->view), s->next) <= 0) {
		hold_pop(cs, s, &h);
		end = h.view.seq + h.view.payload_len;
		if (mqt_seq_cmp(end, s->end) > 0) { /* what left before is not counted again */
			mqt_slot_count(&c->slot, MQT_SEND_CNT, 1);
			mqt_slot_count(&c->slot, MQT_SEND_OCT, end - s->end);
		}
		if (mqt_seq_cmp(seg_end(&h.view), s->end) > 0)
			s->end = seg_end(&h.view);
		conn_forward(cs, c, h.port, h.m);
	}
}

static const struct hold *
first_unread(const struct mqt_conns *cs, const struct stream *s)
{
	const struct hold *h = hold_at(cs, s->held);

	while (h && mqt_seq_cmp(seg_end(&h->view), s->next) <= 0)
		h = hold_at(cs, h->next);
	return h && mqt_seq_cmp(h->view.seq, s->next) <= 0 ? h : NULL;
}

/* Whether the broker's bytes are read: an answer to CONNECT, or to the request for a WebSocket. */
static bool
reads_reply(const struct conn *c)
{
	return c->state == MQT_CONN_CONNECTING ||
			(c->state == MQT_CONN_EMBRYONIC && c->flags & CONN_WS);
}

/* Reads on as far as the broker's segments leave no gap. */
static void
read_reply(struct mqt_conns *cs, struct conn *c) MQT_REQUIRES(mqt_role_worker)
{
	struct stream *s = &c->stream[BROKER];
	const struct hold *h;

	while (reads_reply(c) && (h = first_unread(cs, s))) {
		bool ends = h->view.tcp_flags & MQT_TCP_FIN;
		enum reply r = reply_segment(cs, c, h);

		if (r == REPLY_DONE)
			return;
		if (ends && r == REPLY_WAITS) {
			conn_untracked(cs, c, MQT_W_OPAQUE_MALFORMED);
			return;
		}
		if (ends) {
			s->flags |= STREAM_FIN;
			s->next++;
		}
		if (r == REPLY_PASSES)
			reply_pass(cs, c);
	}
}

/* --- the end of the wait ------------------------------------------------------------------------ */

void
handshake_unadmitted(struct mqt_conns *cs, struct conn *c)
{
	if (conn_fail_closed(cs, c)) {
		count(cs, MQT_W_REFUSALS);
		close_wire(cs, c, CLOSE_REFUSE);
		return;
	}
	count(cs, MQT_W_UNTRACKED_POSSIBLE_DUPLICATE);
	conn_pass(cs, c);
}

void
handshake_opening_timeout(struct mqt_conns *cs, struct conn *c)
{
	count(cs, MQT_W_OPENING_TIMEOUTS);
	if (channel_down(cs, c, MQT_REASON_OPENING_TIMEOUT))
		handshake_unadmitted(cs, c);
	else
		close_wire(cs, c, CLOSE_RESET);
}

/* --- segments ---------------------------------------------------------------------------------- */

static void
client_segment(struct mqt_conns *cs, struct conn *c, const struct mqt_packet *p)
		MQT_REQUIRES(mqt_role_worker)
{
	if (handshake_conflict(c, p->m, &p->view)) {
		count(cs, MQT_W_CONFLICT);
		rte_pktmbuf_free(p->m);
		return;
	}
	reorder_input(cs, c, CLIENT, p->m, &p->view, p->port);
}

static void
broker_segment(struct mqt_conns *cs, struct conn *c, const struct mqt_packet *p)
		MQT_REQUIRES(mqt_role_worker)
{
	struct stream *s = &c->stream[BROKER];
	const struct mqt_pkt *v = &p->view;
	bool rst = v->tcp_flags & MQT_TCP_RST;

	if (!rst && mqt_seq_cmp(seg_end(v), s->end) <= 0) {
		conn_forward(cs, c, p->port, p->m); /* a repetition of what has left */
		return;
	}
	if (c->state == MQT_CONN_EMBRYONIC && !reads_reply(c)) {
		if (v->payload_len > 0) {
			anomaly(cs, c, BROKER, ANOMALY_BEFORE_CONNECT);
			conn_untracked(cs, c, MQT_W_OPAQUE_PROTOCOL);
		}
		if (c->flags & CONN_INJECTED)
			rte_pktmbuf_free(p->m);
		else
			reorder_input(cs, c, BROKER, p->m, v, p->port);
		return;
	}
	if (!park_input(cs, c, p))
		return;
	if (reads_reply(c))
		read_reply(cs, c);
	if (c->state == MQT_CONN_OPENING)
		park_watch(cs, c);
}

/*
 * Bytes that the receiver was not seen to have room for do not get by: it might have it (I12).
 * A window probe does, for it is the next byte in order and followed like any other.
 */
static bool
beyond_window(struct mqt_conns *cs, struct conn *c, enum side side, const struct mqt_packet *p)
		MQT_REQUIRES(mqt_role_worker)
{
	uint32_t edge = c->stream[opposite(side)].edge;

	if (mqt_seq_cmp(p->view.seq + p->view.payload_len, edge) <= 0)
		return false;
	if (p->view.payload_len == 1 && p->view.seq == edge &&
			mqt_seq_cmp(edge, c->stream[side].next) <= 0)
		return false;
	count(cs, MQT_W_OUT_OF_WINDOW);
	if (p->view.payload_len > 0)
		rte_pktmbuf_free(p->m);
	else
		conn_forward(cs, c, p->port, p->m);
	return true;
}

/*
 * Urgent data. A broker that reads it beside the stream, as sockets do unless told otherwise, sees
 * the stream without that byte, and so another CONNECT (RFC 6093 §3). Once CONNACK is parked the
 * client is known, and only what follows is not.
 */
static void
handshake_urgent(struct mqt_conns *cs, struct conn *c, enum side side, const struct mqt_pkt *v)
		MQT_REQUIRES(mqt_role_worker)
{
	if (mqt_seq_cmp(seg_end(v), c->stream[opposite(side)].ack) < 0)
		return; /* old: without effect */
	if (c->state < MQT_CONN_OPENING)
		conn_untracked(cs, c, MQT_W_OPAQUE_URGENT);
	else
		tcp_urgent(cs, &c->stream[side]);
}

void
handshake_input(struct mqt_conns *cs, struct conn *c, enum side side, const struct mqt_packet *p)
{
	const struct mqt_pkt *v = &p->view;
	uint8_t state = c->state;

	if (!mqt_pkt_checksum_ok(p->m, v)) {
		count(cs, MQT_W_BAD_CHECKSUM);
		conn_forward(cs, c, p->port, p->m);
		return;
	}
	if (v->tcp_flags & MQT_TCP_RST && (side == CLIENT || state != MQT_CONN_OPENING)) {
		tcp_rst(cs, c, side, p->m, v, p->port);
		return;
	}
	if (beyond_window(cs, c, side, p))
		return;
	tcp_learn(cs, c, side, p->m, v);
	if (v->tcp_flags & MQT_TCP_URG && c->state == state)
		handshake_urgent(cs, c, side, v);
	if (c->state != state) { /* it cannot be followed */
		if (c->flags & CONN_INJECTED)
			rte_pktmbuf_free(p->m);
		else
			tcp_input(cs, c, side, p);
		return;
	}
	if (v->payload_len == 0 && !(v->tcp_flags & (MQT_TCP_FIN | MQT_TCP_RST)))
		conn_forward(cs, c, p->port, p->m);
	else if (side == CLIENT)
		client_segment(cs, c, p);
	else
		broker_segment(cs, c, p);
	tcp_maybe_done(cs, c);
}
