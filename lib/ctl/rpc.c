/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The JSON-RPC 2.0 envelope: a line becomes calls, a call becomes exactly one answer, or none for
 * a notification.
 *
 * Life-cycle of a call: made for each request; freed by ctl_call_result() or ctl_call_error(), at once or,
 * for kick, discard and clients.get, when the channel manager has done its part. A connection that goes before
 * leaves its calls behind without a connection; they end unanswered.
 *
 * A batch is served one request a turn, like lines, and answered as one array when its last request
 * is; meanwhile no further line of that connection is served. Its answer is gathered as text, so
 * that its size is known while it grows.
 *
 * Source: JSON-RPC 2.0 Specification, §4 request, §5 response, §6 batch.
 */
#include "internal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX 256

static const struct rpc_method {
	const char *name;
	void (*serve)(struct ctl_call *call, const json_t *params);
} methods[] = {
	{ "clients.list", ctl_clients_list },
	{ "clients.get", ctl_clients_get },
	{ "clients.kick", ctl_command_kick },
	{ "clients.discard", ctl_command_discard },
	{ "channels.lookup", ctl_channels_lookup },
	{ "stats.get", ctl_stats_get },
	{ "workers.list", ctl_workers_list },
	{ "events.subscribe", ctl_events_subscribe },
	{ "capture.start", ctl_capture_start },
	{ "system.info", ctl_system_info },
};

/* Text that quotes what a client sent may end in half a character: ASCII is left of it. */
static json_t *
message_json(const char *message)
{
	json_t *json = json_string(message);
	char ascii[MESSAGE_MAX];
	size_t n = 0;

	if (json)
		return json;
	for (; message[n] && n < sizeof(ascii) - 1; n++)
		ascii[n] = (unsigned char)message[n] < 0x80 ? message[n] : '?';
	ascii[n] = '\0';
	return json_string(ascii);
}

json_t *
ctl_rpc_error_json(json_t *id, int code, const char *message)
{
	return json_pack("{s:s, s:O, s:{s:i, s:o}}", "jsonrpc", "2.0", "id", id ? id : json_null(),
			"error", "code", code, "message", message_json(message));
}

/* --- batches ------------------------------------------------------------------------------ */

static void
batch_free(struct ctl_batch *batch)
{
	if (!batch)
		return;
	json_decref(batch->requests);
	ctl_buf_free(&batch->out);
	free(batch);
}

/* Sends the answer once the last request is answered; nothing where all were notifications. */
static void
batch_settle(struct ctl_conn *conn)
{
	struct ctl_batch *batch = conn->batch;

	if (batch->next < json_array_size(batch->requests) || batch->n_pending)
		return;
	conn->batch = NULL;
	if (batch->out.len && ctl_buf_append(&batch->out, "]", 1) < 0)
		conn->dead = true;
	else if (batch->out.len)
		ctl_conn_send_text(conn, batch->out.data, batch->out.len);
	batch_free(batch);
}

/* Adds an answer; one that would make the whole too large becomes an error. */
static void
batch_add(struct ctl_conn *conn, const json_t *answer)
{
	struct ctl_batch *batch = conn->batch;
	size_t size = answer ? json_dumpb(answer, NULL, 0, JSON_COMPACT) : 0;
	json_t *error = NULL;

	if (size && batch->out.len + size > conn->ctl->p.config->control.max_backlog) {
		error = ctl_rpc_error_json(json_object_get(answer, "id"), CTL_E_TOO_LARGE,
				"the answer to this batch is over control.max_backlog: ask for "
				"less at once");
		answer = error;
	}
	if (!size || !answer || ctl_buf_append(&batch->out, batch->out.len ? "," : "[", 1) < 0 ||
			ctl_buf_append_json(&batch->out, answer) < 0)
		conn->dead = true;
	json_decref(error);
}

static void
batch_begin(struct ctl_conn *conn, json_t *requests)
{
	struct ctl_batch *batch;
	json_t *error = NULL;
	char message[MESSAGE_MAX];

	if (json_array_size(requests) == 0)
		error = ctl_rpc_error_json(NULL, CTL_E_REQUEST, "an empty batch");
	if (json_array_size(requests) > CTL_BATCH_MAX) {
		snprintf(message, sizeof(message), "a batch of %zu requests: at most %d are taken",
				json_array_size(requests), CTL_BATCH_MAX);
		error = ctl_rpc_error_json(NULL, CTL_E_REQUEST, message);
	}
	if (error) {
		ctl_conn_send(conn, error);
		json_decref(error);
		return;
	}
	batch = calloc(1, sizeof(*batch));
	if (!batch) {
		conn->dead = true;
		return;
	}
	batch->requests = json_incref(requests);
	conn->batch = batch;
}

/* --- calls --------------------------------------------------------------------------------- */

void
ctl_call_free(struct ctl_call *call)
{
	LIST_REMOVE(call, entry);
	json_decref(call->id);
	json_decref(call->outcomes);
	json_decref(call->records);
	free(call);
}

/* Sends the answer, in the batch's place where it belongs to one, and frees the call. */
static void
call_answer(struct ctl_call *call, json_t *answer)
{
	struct ctl_conn *conn = call->conn;

	if (conn) {
		conn->n_calls--;
		if (call->batched) {
			conn->batch->n_pending--;
			if (call->id)
				batch_add(conn, answer);
			batch_settle(conn);
		} else if (call->id) {
			ctl_conn_send(conn, answer);
		}
	}
	json_decref(answer);
	ctl_call_free(call);
}

void
ctl_call_result(struct ctl_call *call, json_t *result)
{
	if (!result) {
		ctl_call_error(call, CTL_E_INTERNAL, "out of memory");
		return;
	}
	if (!call->id || !call->conn) {
		json_decref(result);
		call_answer(call, NULL);
		return;
	}
	call_answer(call,
			json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", call->id, "result",
					result));
}

void
ctl_call_error(struct ctl_call *call, int code, const char *fmt, ...)
{
	char message[MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	call_answer(call, call->id ? ctl_rpc_error_json(call->id, code, message) : NULL);
}

static struct ctl_call *
call_create(struct ctl_conn *conn, json_t *id, bool batched)
{
	struct ctl_call *call = calloc(1, sizeof(*call));

	if (!call) {
		conn->dead = true;
		return NULL;
	}
	call->ctl = conn->ctl;
	call->conn = conn;
	call->id = json_incref(id);
	call->batched = batched;
	conn->n_calls++;
	if (batched)
		conn->batch->n_pending++;
	LIST_INSERT_HEAD(&conn->ctl->calls, call, entry);
	return call;
}

/* §4: what is wrong with the envelope, or NULL. */
static const char *
envelope_fault(const json_t *request, const json_t *id)
{
	const json_t *version = json_object_get(request, "jsonrpc");
	const json_t *params = json_object_get(request, "params");

	if (!json_is_object(request))
		return "a request is an object";
	if (id && !json_is_string(id) && !json_is_number(id) && !json_is_null(id))
		return "id is a string, a number or null";
	if (!json_is_string(version) || strcmp(json_string_value(version), "2.0") != 0)
		return "jsonrpc must be \"2.0\"";
	if (!json_is_string(json_object_get(request, "method")))
		return "method must be a string";
	if (params && !json_is_object(params) && !json_is_array(params))
		return "params must be an object";
	return NULL;
}

static const struct rpc_method *
method_find(const json_t *name)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (strlen(methods[i].name) == json_string_length(name) &&
				strcmp(methods[i].name, json_string_value(name)) == 0)
			return &methods[i];
	}
	return NULL;
}

/* One request: an envelope that is wrong is always answered, for nobody knows that it was a
 * notification (§5, id null). */
static void
request_serve(struct ctl_conn *conn, json_t *request, bool batched)
{
	json_t *id = json_object_get(request, "id");
	const char *fault = envelope_fault(request, id);
	const struct rpc_method *method;
	struct ctl_call *call;

	if (fault && (!id || json_is_object(id) || json_is_array(id) || json_is_boolean(id)))
		id = json_null();
	call = call_create(conn, id, batched);
	if (!call)
		return;
	if (fault) {
		ctl_call_error(call, CTL_E_REQUEST, "%s", fault);
		return;
	}
	method = method_find(json_object_get(request, "method"));
	if (method)
		method->serve(call, json_object_get(request, "params"));
	else
		ctl_call_error(call, CTL_E_METHOD,
				"unknown method; there are clients.list, clients.get, "
				"clients.kick, "
				"clients.discard, channels.lookup, stats.get, workers.list, "
				"events.subscribe, capture.start, system.info");
}

/* --- lines --------------------------------------------------------------------------------- */

static void
fatal_error(struct ctl_conn *conn, int code, const char *message)
{
	json_t *error = ctl_rpc_error_json(NULL, code, message);

	ctl_conn_send(conn, error);
	json_decref(error);
	ctl_conn_finish(conn);
}

void
ctl_rpc_oversize(struct ctl_conn *conn)
{
	char message[MESSAGE_MAX];

	snprintf(message, sizeof(message), "a request of more than %u bytes (control.max_request)",
			conn->ctl->p.config->control.max_request);
	fatal_error(conn, CTL_E_REQUEST, message);
}

static bool
is_blank(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!strchr(" \t\r", line[i]) || line[i] == '\0')
			return false;
	}
	return true;
}

static void
line_serve(struct ctl_conn *conn)
{
	size_t len;
	const char *line = ctl_conn_take_line(conn, &len);
	json_error_t fault;
	json_t *request;
	char message[MESSAGE_MAX];

	if (is_blank(line, len))
		return;
	request = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY,
			&fault);
	if (!request) {
		snprintf(message, sizeof(message), "not one JSON text on a line: column %d: %s",
				fault.column, fault.text);
		fatal_error(conn, CTL_E_PARSE, message);
		return;
	}
	if (json_is_array(request))
		batch_begin(conn, request);
	else
		request_serve(conn, request, false);
	json_decref(request);
}

bool
ctl_rpc_is_waiting(const struct ctl_conn *conn)
{
	if (conn->dead || conn->closing)
		return false;
	if (conn->batch && conn->batch->next < json_array_size(conn->batch->requests))
		return true;
	return conn->in_line > 0;
}

bool
ctl_rpc_has_work(const struct ctl_conn *conn)
{
	bool batch_begun =
			conn->batch && conn->batch->next == json_array_size(conn->batch->requests);

	return ctl_rpc_is_waiting(conn) && !batch_begun && conn->n_calls < CTL_CALLS_MAX;
}

void
ctl_rpc_serve(struct ctl_conn *conn)
{
	struct ctl_batch *batch = conn->batch;

	if (!batch)
		line_serve(conn);
	else
		request_serve(conn, json_array_get(batch->requests, batch->next++), true);
}

void
ctl_rpc_abandon(struct ctl_conn *conn)
{
	struct ctl_call *call;

	LIST_FOREACH (call, &conn->ctl->calls, entry) {
		if (call->conn == conn)
			call->conn = NULL;
	}
	batch_free(conn->batch);
	conn->batch = NULL;
	conn->n_calls = 0;
}
