/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Between TCP and MQTT, on the second listener of some seeds: the header of a proxy, and WebSocket,
 * each packet in a frame of its own, with pings between them.
 */

#include "mqtrack/proxy.h"
#include "sim.h"

#include <string.h>

#define REQUEST                                                                                    \
	"GET /mqtt HTTP/1.1\r\nHost: b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"           \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"             \
	"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
#define ANSWER                                                                                     \
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"        \
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"                                   \
	"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
#define HEAD_END   "\r\n\r\n"
#define PING_EVERY 3 /* frames */

static const uint8_t key[4] = { 0x9d, 0x01, 0x00, 0x7e };

/* Every other four seeds of 32 have a WebSocket, a proxy, both, or neither. */
static unsigned
kind(const struct sim_world *w, unsigned domain)
{
	return domain == 1 ? (unsigned)(w->seed / 4 % 8) : 0;
}

bool
sim_transport_ws(const struct sim_world *w, unsigned domain)
{
	return kind(w, domain) == 1 || kind(w, domain) == 3 || kind(w, domain) == 6;
}

uint8_t
sim_transport_proxy(const struct sim_world *w, unsigned domain)
{
	return kind(w, domain) == 5 ? 1 : kind(w, domain) == 6 ? 2 : 0;
}

void
sim_transport_init(const struct sim_world *w, struct sim_flow *f)
{
	f->proxy = sim_transport_proxy(w, f->domain);
	f->shown = f->ep[SIM_CLIENT];
	if (f->proxy)
		f->shown.ip[1] ^= 0x55;
	for (unsigned end = 0; end < SIM_ENDS; end++) {
		f->peer[end].ws = sim_transport_ws(w, f->domain);
		f->peer[end].end = (enum sim_end)end;
	}
}

void
sim_transport_begin(struct sim_flow *f)
{
	struct sim_peer *p = &f->peer[SIM_CLIENT];
	struct mqt_proxy header = {
		.version = f->proxy,
		.src = f->shown,
		.dst = f->ep[SIM_BROKER],
	};
	uint8_t buf[128];

	if (f->proxy)
		sim_peer_write(p, buf, mqt_proxy_encode(buf, sizeof(buf), &header));
	if (p->ws)
		sim_peer_write(p, REQUEST, sizeof(REQUEST) - 1);
}

void
sim_say(struct sim_peer *p, const void *data, size_t len)
{
	const uint8_t *mask = p->end == SIM_CLIENT ? key : NULL;
	uint8_t buf[160];
	size_t n = 0;

	p->said_at = p->out_len;
	if (!p->ws) {
		sim_peer_write(p, data, len);
		return;
	}
	if (p->out_len % PING_EVERY == 0)
		n = mqt_ws_frame_encode(buf, sizeof(buf), MQT_WS_PING, mask, data, 2);
	p->said_at += (uint32_t)n;
	n += mqt_ws_frame_encode(buf + n, sizeof(buf) - n, MQT_WS_BINARY, mask, data, len);
	sim_peer_write(p, buf, n);
}

/* --- reading ------------------------------------------------------------------------------------- */

/* @return whether what follows it may be read. */
static bool
read_header(struct sim_world *w, struct sim_flow *f, struct sim_peer *p)
{
	struct mqt_proxy header;
	enum mqt_parse r;

	if (!f->proxy || p->end == SIM_CLIENT || p->introduced)
		return true;
	r = mqt_proxy_parse(p->in, p->in_len, &header, NULL);
	if (r == MQT_PARSE_BAD)
		sim_fail(w, "stream", "flow %u: the broker cannot read the PROXY header", f->index);
	if (r != MQT_PARSE_OK)
		return false;
	p->introduced = true;
	p->fed = header.len;
	return true;
}

static bool
read_head(struct sim_peer *p)
{
	const uint8_t *end;

	if (!p->ws || p->upgraded)
		return true;
	end = memmem(p->in + p->fed, p->in_len - p->fed, HEAD_END, strlen(HEAD_END));
	if (!end)
		return false;
	p->fed = (uint32_t)(end - p->in) + (uint32_t)strlen(HEAD_END);
	p->upgraded = true;
	mqt_ws_cursor_init(&p->frames, p->end == SIM_BROKER);
	if (p->end == SIM_BROKER)
		sim_peer_write(p, ANSWER, sizeof(ANSWER) - 1);
	return true;
}

static void
read_frames(struct sim_world *w, struct sim_flow *f, struct sim_peer *p)
{
	while (p->fed < p->in_len) {
		struct mqt_ws_piece piece;
		int64_t n = mqt_ws_cursor_next(
				&p->frames, p->in + p->fed, p->in_len - p->fed, &piece);

		if (n < 0) {
			sim_fail(w, "stream", "flow %u: the %s cannot read a frame", f->index,
					p->end == SIM_CLIENT ? "client" : "broker");
			return;
		}
		p->fed += (uint32_t)n;
		mqt_ws_unmask(p->app + p->app_len, piece.ptr, piece.len, piece.key);
		p->app_len += piece.len;
	}
}

void
sim_transport_read(struct sim_world *w, struct sim_flow *f, enum sim_end end)
{
	struct sim_peer *p = &f->peer[end];

	if (!read_header(w, f, p) || !read_head(p))
		return;
	if (p->ws) {
		read_frames(w, f, p);
		return;
	}
	memcpy(p->app + p->app_len, p->in + p->fed, p->in_len - p->fed);
	p->app_len += p->in_len - p->fed;
	p->fed = p->in_len;
}

/* --- what the tracker says ----------------------------------------------------------------------- */

const uint8_t *
sim_transport_said(const struct sim_flow *f, enum sim_end to, const struct sim_seg *seg,
		uint8_t *buf, unsigned *len)
{
	struct mqt_ws_cursor frames;
	struct mqt_ws_piece piece;
	uint32_t at = 0;
	int64_t n;

	*len = seg->len;
	if (!f->peer[to].ws)
		return seg->data;
	*len = 0;
	mqt_ws_cursor_init(&frames, to == SIM_BROKER);
	for (; at < seg->len; at += (uint32_t)n) {
		n = mqt_ws_cursor_next(&frames, seg->data + at, seg->len - at, &piece);
		if (n < 0)
			return NULL;
		mqt_ws_unmask(buf + *len, piece.ptr, piece.len, piece.key);
		*len += piece.len;
	}
	/* towards a client the frame of Close is the last */
	if (!mqt_ws_cursor_at_boundary(&frames) || frames.closed != (to == SIM_CLIENT))
		return NULL;
	return buf;
}
