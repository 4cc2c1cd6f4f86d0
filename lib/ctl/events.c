/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * events.subscribe: each subscriber follows the ring of events with a cursor of its own.
 *
 * Nothing is queued for a subscriber beyond its socket: while it has a backlog the ring is left
 * alone, and one that is overtaken by the ring is told so by one `gap` with the first and the last
 * number it has missed, in its place in the order (I8). So a slow subscriber costs nothing.
 */
#include "internal.h"

#include <string.h>

/* A subscriber with more than this unread gets no more for now. */
#define EVENTS_BACKLOG 65536

static size_t
backlog_limit(const struct ctl_conn *conn)
{
	size_t half = conn->ctl->p.config->control.max_backlog / 2;

	return half < EVENTS_BACKLOG ? half : EVENTS_BACKLOG;
}

static void
notify(struct ctl_conn *conn, json_t *params)
{
	json_t *message = json_pack(
			"{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", "event", "params", params);

	ctl_conn_send(conn, message);
	json_decref(message);
}

static void
notify_gap(struct ctl_conn *conn, uint64_t first, uint64_t last)
{
	notify(conn,
			json_pack("{s:s, s:I, s:I}", "type", "gap", "first", (json_int_t)first,
					"last", (json_int_t)last));
}

bool
ctl_events_pump(struct ctl_conn *conn)
{
	struct ctl_subscription *sub = &conn->sub;
	struct mqt_event ev;
	uint64_t missed;

	for (unsigned i = 0; i < CTL_EVENTS_TURN; i++) {
		if (!sub->active || conn->dead || conn->closing || conn->batch ||
				ctl_conn_backlog(conn) > backlog_limit(conn))
			return false;
		if (!mqt_event_ring_read(conn->ctl->p.events, &sub->cursor, &ev, &missed))
			return false;
		if (missed)
			notify_gap(conn, ev.seq - missed, ev.seq - 1);
		if (sub->types & 1u << ev.type)
			notify(conn, ctl_record_event(conn->ctl, &ev));
	}
	return true;
}

static int
type_find(const json_t *name)
{
	for (int t = 0; json_is_string(name) && t < MQT_N_EVENTS; t++) {
		if (strcmp(mqt_event_name(t), json_string_value(name)) == 0)
			return t;
	}
	return -1;
}

static bool
read_types(struct ctl_call *call, const json_t *params, uint32_t *types)
{
	const json_t *list = json_object_get(params, "types");

	*types = (1u << MQT_N_EVENTS) - 1;
	if (!list)
		return true;
	if (!json_is_array(list) || json_array_size(list) == 0) {
		ctl_call_error(call, CTL_E_PARAMS, "types is a list of event types");
		return false;
	}
	*types = 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		int type = type_find(json_array_get(list, i));

		if (type < 0) {
			const char *name = json_string_value(json_array_get(list, i));

			ctl_call_error(call, CTL_E_PARAMS, "unknown event type \"%.64s\"",
					name ? name : "");
			return false;
		}
		*types |= 1u << type;
	}
	return true;
}

void
ctl_events_subscribe(struct ctl_call *call, const json_t *params)
{
	static const char *const allowed[] = { "since", "types", NULL };
	uint64_t last = mqt_event_ring_last(call->ctl->p.events);
	uint64_t since = last;
	uint32_t types;

	if (!ctl_params_check(call, params, allowed) ||
			!ctl_params_uint(call, params, "since", 0, INT64_MAX, &since) ||
			!read_types(call, params, &types))
		return;
	if (since > last) {
		ctl_call_error(call, CTL_E_PARAMS,
				"since %llu is after the newest event, %llu: has the tracker been "
				"started again?",
				(unsigned long long)since, (unsigned long long)last);
		return;
	}
	call->conn->sub = (struct ctl_subscription){
		.active = !call->conn->gone, .cursor = since, .types = types
	};
	ctl_call_result(call,
			json_pack("{s:I, s:I}", "since", (json_int_t)since, "last",
					(json_int_t)last));
}
