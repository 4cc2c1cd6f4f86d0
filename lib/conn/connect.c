/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CONNECT: collecting it from the client's bytes, and what may repeat them.
 *
 * The bytes are copied as they come in order, up to the end of CONNECT; behind a proxy's header or in
 * WebSocket frames the raw ones are kept beside them (layers.c). CONNECT is parsed when it is whole,
 * and before that only as its length doubles, so that small segments do not make it quadratic.
 * Until the handshake is over, a segment that repeats a byte which the broker has not acknowledged
 * with another content is dropped (I12), and so is one that ends the stream where it went on, or goes
 * on behind its end.
 *
 * Synchronisation: the worker's own.
 * Sources: MQTT 3.1.1 and 5.0 §3.1; DESIGN.md I10, I12.
 */
#include "conn_private.h"

#include <string.h>

#define PARSE_EAGERLY 16 /* up to here each byte: what is not MQTT shows early */
#define CONNECT_FIRST (MQT_MQTT_CONNECT << 4)

/* What the bytes so far are: OK a whole CONNECT, BAD with the counter that names why. */
static enum mqt_parse
parse_so_far(struct mqt_conns *cs, struct handshake *hs, uint32_t *want,
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
first_wanted(const struct mqt_conns *cs, const uint8_t *data, uint32_t len)
{
	struct mqt_mqtt_header header;

	if (len == 0 || data[0] != CONNECT_FIRST ||
			mqt_mqtt_header_parse(data, len, &header, NULL) != MQT_PARSE_OK)
		return 1;
	return RTE_MIN(header.len + header.remaining, cs->config->limits.connect_max_bytes);
}

uint32_t
connect_bytes(struct mqt_conns *cs, struct conn *c, const uint8_t *data, uint32_t len)
{
	struct handshake *hs = c->hs;
	const struct mqt_mqtt_connect *connect = &hs->parsed;
	enum mqt_worker_counter why = MQT_W_NO_MEMORY;
	enum mqt_parse r = MQT_PARSE_MORE;
	uint32_t used = 0, want;

	if (hs->connect_len > 0)
		r = parse_so_far(cs, hs, &want, &why);
	else
		want = first_wanted(cs, data, len);
	while (used < len && r == MQT_PARSE_MORE) {
		uint32_t n = RTE_MIN(len - used, want - hs->connect_len);

		if (!handshake_append(&hs->connect, &hs->connect_len, &hs->connect_cap, data + used,
				    n)) {
			r = MQT_PARSE_BAD;
			why = MQT_W_NO_MEMORY;
			break;
		}
		used += n;
		r = parse_so_far(cs, hs, &want, &why);
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
		handshake_spoken(cs, c);
		conn_set_state(cs, c, MQT_CONN_CONNECTING);
	}
	return used;
}

/* --- its repetitions --------------------------------------------------------------------------- */

const uint8_t *
connect_kept(const struct handshake *hs, uint32_t *len)
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

	connect_kept(c->hs, &n_kept);
	if (v->payload_len > 0 && (s->flags & (STREAM_FIN | STREAM_LOST)) == STREAM_FIN &&
			mqt_seq_cmp(end, s->next) >= 0)
		return true;
	return v->tcp_flags & MQT_TCP_FIN && mqt_seq_cmp(end, c->hs->base + n_kept) < 0 &&
			mqt_seq_cmp(end, c->stream[BROKER].ack) >= 0;
}

bool
connect_conflict(const struct conn *c, const struct rte_mbuf *m, const struct mqt_pkt *v)
{
	const struct handshake *hs = c->hs;
	const uint8_t *kept;
	uint32_t at, end, n_kept;

	if (!(c->flags & CONN_HANDSHAKE))
		return false;
	if (fin_conflict(c, v))
		return true;
	kept = connect_kept(hs, &n_kept);
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
