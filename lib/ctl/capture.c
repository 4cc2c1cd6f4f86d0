/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * capture.start: the packets of one client, as pieces of a pcapng file in notifications.
 *
 * They go through the control socket and not into a file that is named or handed over: the file is
 * its asker's, with his rights on his disk, and a reader that stops reading stops nobody, for like
 * a subscriber of events he gets no more while he has a backlog. Meanwhile the workers' rings fill, and
 * what does not fit is counted.
 *
 * Life-cycle, one a connection: start -> all workers know of it, the head of the file is sent ->
 * [each turn: name new channels of the client, send what
 * has come] -> at a limit, or when its channel is over, it stops -> what the workers had copied
 * until they saw that is sent -> the last notification says why and how much. Where the reader or
 * a worker holds it up for LINGER_NS, the rest is given up. A connection that goes takes its capture along.
 *
 * A worker sees by itself when the client connects anew; what it cannot see is found here: channels
 * that are older than the capture, or whose client id the broker has assigned.
 *
 * Synchronisation: the control thread alone is the reader of lib/capture.
 */
#include "mqtrack/capture.h"

#include "internal.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#define CAPTURE_PIECE       49152u /* bytes of a file in one notification, a packet more at most */
#define CAPTURE_PIECES_TURN 4
#define CAPTURE_BACKLOG     262144u
#define CAPTURE_KNOWN       MQT_CAPTURE_CHANS
#define LINGER_NS           (2 * MQT_NS_PER_SEC)

#define SECONDS_DEFAULT 60
#define SECONDS_MAX     86400
#define BYTES_DEFAULT   (16u << 20)
#define BYTES_MIN       8192 /* the head of a file fits */

struct ctl_capture {
	struct mqt_capture *capture;
	struct ctl_target target;
	uint64_t begin_ns, until_ns, wall_offset_ns;
	bool begun;                      /* all workers know of it, or have had their time to */
	uint64_t max_packets, max_bytes; /* 0: none */
	uint64_t n_packets, n_bytes;
	const char *end;  /* why it has stopped; NULL: it goes on */
	uint64_t end_ns;  /* when */
	bool full;        /* nothing more is sent */
	unsigned n_known; /* ever named */
	mqt_chan_id known[CAPTURE_KNOWN];
	size_t len;
	uint8_t piece[CAPTURE_PIECE + MQT_CAPTURE_LENGTH + MQT_PCAPNG_OVERHEAD];
};

/* The reader of @p conn has this much unread, then he gets no more for now. */
static size_t
backlog_limit(const struct ctl_conn *conn)
{
	return RTE_MIN(CAPTURE_BACKLOG, conn->ctl->p.config->control.max_backlog / 4);
}

static void
capture_notify(struct ctl_conn *conn, json_t *params)
{
	json_t *message = json_pack(
			"{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", "capture", "params", params);

	ctl_conn_send(conn, message);
	json_decref(message);
}

static void
send_piece(struct ctl_conn *conn, struct ctl_capture *cap)
{
	size_t size = sodium_base64_encoded_len(cap->len, sodium_base64_VARIANT_ORIGINAL);
	char *text = cap->len ? malloc(size) : NULL;

	if (text) {
		sodium_bin2base64(text, size, cap->piece, cap->len, sodium_base64_VARIANT_ORIGINAL);
		capture_notify(conn, json_pack("{s:s}", "data", text));
	} else if (cap->len) {
		conn->dead = true;
	}
	free(text);
	cap->len = 0;
}

/* What a file begins with: one interface for each port, in pair numbering. */
static void
put_head(const struct mqt_ctl *ctl, struct ctl_capture *cap)
{
	const struct mqt_config *cfg = ctl->p.config;
	char name[MQT_PCAPNG_NAME_MAX + 1];

	cap->len = mqt_pcapng_section(cap->piece);
	for (unsigned port = 0; port < 2u * cfg->n_pairs; port++) {
		snprintf(name, sizeof(name), "%s%u", port % 2 ? "inside" : "outside", port / 2);
		cap->len += mqt_pcapng_interface(cap->piece + cap->len, name);
	}
	cap->n_bytes = cap->len;
}

static void
stop(struct ctl_conn *conn, const char *why)
{
	struct ctl_capture *cap = conn->capture;

	if (cap->end)
		return;
	cap->end = why;
	cap->end_ns = mqt_clock_mono(conn->ctl->p.clock);
	mqt_capture_stop(conn->ctl->p.captures, cap->capture);
}

/* Adds the next packet. @return false: there is none, or it may not be any more. */
static bool
put_packet(struct ctl_conn *conn, struct ctl_capture *cap)
{
	struct mqt_capture_packet packet;
	uint8_t data[MQT_CAPTURE_LENGTH];
	size_t len;

	if (cap->full || !mqt_capture_take(conn->ctl->p.captures, cap->capture, &packet, data))
		return false;
	len = mqt_pcapng_packet(
			cap->piece + cap->len, &packet, packet.at_ns + cap->wall_offset_ns, data);
	if (cap->n_bytes + len > cap->max_bytes) {
		cap->full = true;
		stop(conn, "bytes");
		return false;
	}
	cap->len += len;
	cap->n_bytes += len;
	if (++cap->n_packets == cap->max_packets) {
		cap->full = true;
		stop(conn, "packets");
	}
	return true;
}

static bool
knows(const struct ctl_capture *cap, mqt_chan_id chan)
{
	for (unsigned i = 0; i < CAPTURE_KNOWN; i++)
		if (cap->known[i] == chan)
			return true;
	return false;
}

/* Names the channels that are connected. @return how many there are, retained ones too. */
static unsigned
name_channels(struct mqt_ctl *ctl, struct ctl_capture *cap)
{
	const struct mqt_chan *chans[CTL_LOOKUP_MAX];
	const struct ctl_target *target = &cap->target;
	unsigned n = 1;

	mqt_rcu_read_lock();
	if (target->channel)
		n = (chans[0] = mqt_cm_info(ctl->p.cm, target->channel)) != NULL;
	else
		n = mqt_cm_lookup(ctl->p.cm, target->domain, target->clientid.data,
				target->clientid.len, chans, CTL_LOOKUP_MAX);
	for (unsigned i = 0; i < n && i < CTL_LOOKUP_MAX; i++) {
		mqt_chan_id id = chans[i]->id;

		if (!mqt_cm_is_live(ctl->p.cm, id) || knows(cap, id))
			continue;
		cap->known[cap->n_known++ % CAPTURE_KNOWN] = id;
		mqt_capture_add(ctl->p.captures, cap->capture, id);
	}
	mqt_rcu_read_unlock();
	return n;
}

static void
finish(struct ctl_conn *conn, struct ctl_capture *cap)
{
	uint64_t dropped = mqt_capture_dropped(conn->ctl->p.captures, cap->capture);

	send_piece(conn, cap);
	capture_notify(conn,
			json_pack("{s:s, s:I, s:I, s:I}", "end", cap->end, "packets",
					(json_int_t)cap->n_packets, "bytes",
					(json_int_t)cap->n_bytes, "dropped", (json_int_t)dropped));
	ctl_capture_drop(conn);
}

/* What has come, as much as the reader takes. @return true: there may be more. */
static bool
send_packets(struct ctl_conn *conn, struct ctl_capture *cap)
{
	size_t piece = RTE_MIN(CAPTURE_PIECE, conn->ctl->p.config->control.max_backlog / 4);

	for (unsigned i = 0; i < CAPTURE_PIECES_TURN; i++) {
		bool more = true;

		if (ctl_conn_backlog(conn) > backlog_limit(conn) || conn->dead || conn->gone)
			return false;
		while (more && cap->len < piece)
			more = put_packet(conn, cap);
		send_piece(conn, cap);
		if (!more)
			return false;
	}
	return true;
}

static bool
pump(struct ctl_conn *conn)
{
	struct ctl_capture *cap = conn->capture;
	struct mqt_captures *captures = conn->ctl->p.captures;
	bool more, settled;
	uint64_t now;

	if (!cap || conn->gone || conn->dead || conn->closing || conn->batch)
		return false;
	now = mqt_clock_mono(conn->ctl->p.clock);
	if (!cap->end && !cap->target.channel)
		name_channels(conn->ctl, cap);
	if (now >= cap->until_ns)
		stop(conn, "seconds");
	if (mqt_capture_is_over(cap->capture))
		stop(conn, "channel_closed");
	/* asked before the packets are taken: then those that are left are the last */
	settled = mqt_capture_is_settled(captures, cap->capture);
	cap->begun |= settled || now >= cap->begin_ns + LINGER_NS;
	if (!cap->begun)
		return false;
	more = send_packets(conn, cap);
	if (cap->end &&
			(cap->full || now >= cap->end_ns + LINGER_NS ||
					(settled && !more &&
							ctl_conn_backlog(conn) <=
									backlog_limit(conn))))
		finish(conn, cap);
	return more;
}

bool
ctl_capture_pump(struct ctl_conn *conn)
{
	bool more = pump(conn);

	/* not before: whether the other end has gone shows in the middle of what is sent to it */
	if (conn->gone)
		ctl_capture_drop(conn);
	return more;
}

void
ctl_capture_drop(struct ctl_conn *conn)
{
	struct ctl_capture *cap = conn->capture;

	if (!cap)
		return;
	mqt_capture_release(conn->ctl->p.captures, cap->capture);
	ctl_bytes_free(&cap->target.clientid);
	free(cap);
	conn->capture = NULL;
}

/* --- start ------------------------------------------------------------------------------------- */

/* Keeps the client id beyond the request. */
static bool
own_clientid(struct ctl_target *target)
{
	struct ctl_bytes *id = &target->clientid;

	if (!id->data || id->owned)
		return true;
	id->owned = malloc(id->len + 1);
	if (!id->owned)
		return false;
	memcpy(id->owned, id->data, id->len);
	id->data = id->owned;
	return true;
}

/* @return false, having answered. */
static bool
read_params(struct ctl_call *call, const json_t *params, struct ctl_capture *cap, int *wait)
{
	static const char *const allowed[] = { "clientid", "clientid_hex", "channel", "domain",
		"seconds", "packets", "bytes", "wait", NULL };
	const struct mqt_clock *clock = call->ctl->p.clock;
	uint64_t seconds = SECONDS_DEFAULT;

	cap->max_bytes = BYTES_DEFAULT;
	if (!ctl_params_check(call, params, allowed) ||
			!ctl_params_uint(call, params, "seconds", 1, SECONDS_MAX, &seconds) ||
			!ctl_params_uint(
					call, params, "packets", 1, INT64_MAX, &cap->max_packets) ||
			!ctl_params_uint(call, params, "bytes", BYTES_MIN, INT64_MAX,
					&cap->max_bytes) ||
			!ctl_params_bool(call, params, "wait", wait) ||
			!ctl_clients_target_in(call, params, &cap->target))
		return false;
	cap->begin_ns = mqt_clock_mono(clock);
	cap->until_ns = cap->begin_ns + seconds * MQT_NS_PER_SEC;
	cap->wall_offset_ns = mqt_clock_wall(clock) - cap->begin_ns;
	return true;
}

/* @return false, having answered. */
static bool
begin(struct ctl_call *call, struct ctl_capture *cap, bool wait)
{
	struct mqt_captures *captures = call->ctl->p.captures;
	const struct ctl_target *target = &cap->target;
	unsigned n;

	cap->capture = mqt_capture_start(
			captures, target->clientid.data, target->clientid.len, target->domain);
	if (!cap->capture) {
		if (errno == EBUSY)
			ctl_call_error(call, CTL_E_BUSY, "%d captures are under way, that is all",
					MQT_CAPTURES_MAX);
		else
			ctl_call_result(call, NULL);
		return false;
	}
	n = name_channels(call->ctl, cap);
	if (cap->n_known > 0 || (wait && !target->channel))
		return true;
	mqt_capture_release(captures, cap->capture);
	if (n == 0 && target->channel)
		ctl_call_error(call, CTL_E_CHANNEL, "unknown channel");
	else if (n == 0)
		ctl_call_error(call, CTL_E_CLIENT, "unknown client");
	else
		ctl_call_error(call, CTL_E_BUSY,
				"not connected, only its session is here; ask with wait");
	return false;
}

void
ctl_capture_start(struct ctl_call *call, const json_t *params)
{
	struct ctl_conn *conn = call->conn;
	struct ctl_capture *cap;
	int wait = 0;

	if (!call->ctl->p.captures || conn->capture) {
		ctl_call_error(call, CTL_E_BUSY, "one capture a connection at a time");
		return;
	}
	cap = calloc(1, sizeof(*cap));
	if (!cap) {
		ctl_call_result(call, NULL);
		return;
	}
	if (!read_params(call, params, cap, &wait))
		goto err_cap;
	if (!own_clientid(&cap->target)) {
		ctl_call_result(call, NULL);
		goto err_target;
	}
	if (!begin(call, cap, wait == 1))
		goto err_target;
	put_head(call->ctl, cap);
	conn->capture = cap;
	ctl_call_result(call,
			json_pack("{s:i, s:I}", "channels", (int)cap->n_known, "bytes",
					(json_int_t)cap->max_bytes));
	if (conn->gone)
		ctl_capture_drop(conn);
	return;
err_target:
	ctl_bytes_free(&cap->target.clientid);
err_cap:
	free(cap);
}
