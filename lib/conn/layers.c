/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the client sends before MQTT begins: the header of a proxy, the request for a WebSocket.
 *
 * Life-cycle: a handshake whose listener has such layers goes through their phases, and keeps the
 * client's bytes as they came (raw) beside the MQTT in them (connect): the raw ones are what a
 * repetition is compared with (I12), and whole heads are judged where they lie in them. Behind the
 * heads the bytes of each segment go on to the framing, which is the WebSocket's or MQTT's own.
 *
 * Raw bytes are bounded, for frames of nothing could come for ever before CONNECT.
 *
 * Synchronisation: the worker's own.
 * Sources: RFC 6455 §4.1; the PROXY protocol §2; DESIGN.md I10, I12.
 */
#include "conn_private.h"
#include "mqtrack/proxy.h"

#include <string.h>

#define HEAD_MAX 8192 /* bytes of an HTTP head */

void
layers_begin(struct mqt_conns *cs, struct conn *c)
{
	const struct mqt_listener *l = &cs->config->listeners[c->listener];
	enum layer http = l->transport == MQT_TRANSPORT_WS ? LAYER_HTTP : LAYER_MQTT;

	c->hs->layer[BROKER] = (uint8_t)http;
	c->hs->layer[CLIENT] = (uint8_t)(l->proxy == MQT_PROXY_OFF ? http : LAYER_PROXY);
	c->hs->keeps_raw = c->hs->layer[CLIENT] != LAYER_MQTT;
}

enum mqt_worker_counter
layers_ws_error(enum mqt_ws_error error)
{
	switch (error) {
	case MQT_WS_E_HTTP:
	case MQT_WS_E_UPGRADE:
		return MQT_W_OPAQUE_WS_UPGRADE;
	case MQT_WS_E_SUBPROTOCOL:
		return MQT_W_OPAQUE_WS_SUBPROTOCOL;
	case MQT_WS_E_EXTENSION:
		return MQT_W_OPAQUE_WS_EXTENSION;
	default:
		return MQT_W_OPAQUE_WS_FRAME;
	}
}

enum mqt_ws_error
layers_head(struct handshake *hs, enum side side, const uint8_t *data, uint32_t len, uint32_t *used,
		bool *complete)
{
	struct mqt_ws_scan *scan = &hs->scan[side];
	size_t n;
	enum mqt_parse r = mqt_ws_scan_feed(scan, data, len, &n);

	*used = (uint32_t)n;
	*complete = r == MQT_PARSE_OK;
	return r == MQT_PARSE_BAD || scan->len > HEAD_MAX ? MQT_WS_E_HTTP : MQT_WS_E_NONE;
}

/* --- the proxy's header ------------------------------------------------------------------------ */

/* There is none that can be used. @return false. */
static bool
proxy_fails(struct mqt_conns *cs, struct conn *c, bool missing) MQT_REQUIRES(mqt_role_worker)
{
	if (cs->config->listeners[c->listener].proxy == MQT_PROXY_REQUIRE) {
		count(cs, missing ? MQT_W_PROXY_MISSING : MQT_W_PROXY_MALFORMED);
		close_wire(cs, c, CLOSE_RESET);
	} else {
		conn_untracked(cs, c, MQT_W_OPAQUE_PROXY);
	}
	return false;
}

/*
 * Reads the header from the raw bytes, the last @p len of which are new.
 * @param used how many of the new ones are the header's.
 * @return false: the connection is not followed any more.
 */
static bool
proxy_take(struct mqt_conns *cs, struct conn *c, uint32_t len, uint32_t *used)
		MQT_REQUIRES(mqt_role_worker)
{
	struct handshake *hs = c->hs;
	enum mqt_proxy_error error;
	struct mqt_proxy proxy;

	*used = 0;
	switch (mqt_proxy_parse(hs->raw, hs->raw_len, &proxy, &error)) {
	case MQT_PARSE_MORE:
		*used = len;
		return true;
	case MQT_PARSE_OK:
		count(cs, MQT_W_PROXY_HEADERS);
		if (proxy.local)
			count(cs, MQT_W_PROXY_LOCAL);
		hs->proxy_len = proxy.len;
		*used = proxy.len - (hs->raw_len - len);
		break;
	default:
		/* of what began as a header nothing has been read as anything else */
		if (error != MQT_PROXY_E_ABSENT || hs->raw_len > len)
			return proxy_fails(cs, c, false);
		if (cs->config->listeners[c->listener].proxy == MQT_PROXY_REQUIRE)
			return proxy_fails(cs, c, true);
	}
	hs->layer[CLIENT] = hs->layer[BROKER] == LAYER_MQTT ? LAYER_MQTT : LAYER_HTTP;
	return true;
}

void
layers_proxy(const struct handshake *hs, struct mqt_proxy *proxy)
{
	if (hs->proxy_len == 0 ||
			mqt_proxy_parse(hs->raw, hs->proxy_len, proxy, NULL) != MQT_PARSE_OK)
		*proxy = (struct mqt_proxy){ 0 };
}

/* --- the request ------------------------------------------------------------------------------- */

static bool
request_take(struct mqt_conns *cs, struct conn *c, const uint8_t *data, uint32_t len,
		uint32_t *used) MQT_REQUIRES(mqt_role_worker)
{
	struct handshake *hs = c->hs;
	bool complete;
	enum mqt_ws_error e = layers_head(hs, CLIENT, data, len, used, &complete);

	if (e == MQT_WS_E_NONE && complete)
		e = mqt_ws_request_check(hs->raw + hs->proxy_len, hs->scan[CLIENT].len);
	if (e != MQT_WS_E_NONE) {
		conn_untracked(cs, c, layers_ws_error(e));
		return false;
	}
	if (complete)
		hs->layer[CLIENT] = LAYER_FRAMES;
	return true;
}

/* --- both -------------------------------------------------------------------------------------- */

static bool
keep(struct mqt_conns *cs, struct conn *c, const uint8_t *data, uint32_t len)
		MQT_REQUIRES(mqt_role_worker)
{
	struct handshake *hs = c->hs;
	uint32_t most = MQT_PROXY_MAX + HEAD_MAX + 2 * cs->config->limits.connect_max_bytes +
			UINT16_MAX;

	if (hs->raw_len + len > most) {
		conn_untracked(cs, c, MQT_W_OPAQUE_OVERSIZE);
		return false;
	}
	if (!handshake_append(&hs->raw, &hs->raw_len, &hs->raw_cap, data, len)) {
		conn_untracked(cs, c, MQT_W_NO_MEMORY);
		return false;
	}
	return true;
}

uint32_t
layers_client_bytes(struct mqt_conns *cs, struct conn *c, const uint8_t *data, uint32_t len)
{
	struct handshake *hs = c->hs;
	uint32_t used = 0, n;

	if (!keep(cs, c, data, len))
		return len;
	if (hs->layer[CLIENT] == LAYER_PROXY && !proxy_take(cs, c, len, &used))
		return len;
	if (hs->layer[CLIENT] == LAYER_HTTP && used < len) {
		if (!request_take(cs, c, data + used, len - used, &n))
			return len;
		used += n;
	}
	return used;
}
