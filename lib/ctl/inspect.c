/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sessions of clients.get. A session belongs to a worker or to the control lcore; a reader gets
 * a copy of it by a command, as kick and discard go: one for each record, and the answer when all
 * are home. A record tells of the moment of the question, its session of a moment later; a channel
 * that has gone in between, or whose worker does not answer, has none to show.
 *
 * Topic filters are bytes from strangers, and many of them long ones: those that would make the
 * answer larger than one may be are left out and counted.
 *
 * Synchronisation: the control thread alone; the copy is the command's.
 */
#include "internal.h"

#include <stdlib.h>

static json_t *
subscription_json(struct mqt_bytes filter, uint8_t qos)
{
	json_t *obj = json_object();

	if (!obj || ctl_record_set_bytes(obj, "topic", filter.ptr, filter.len) < 0 ||
			json_object_set_new(obj, "qos", json_integer(qos)) < 0) {
		json_decref(obj);
		return NULL;
	}
	return obj;
}

/* @param n_omitted set to those that found no room. */
static json_t *
subscriptions_json(const struct mqt_session *session, size_t *room, uint32_t *n_omitted)
{
	json_t *list = json_array();
	struct mqt_bytes filter;
	uint8_t qos;

	*n_omitted = 0;
	for (unsigned i = 0; list && mqt_session_filter(session, i, &filter, &qos); i++) {
		json_t *obj = subscription_json(filter, qos);
		size_t size = obj ? json_dumpb(obj, NULL, 0, JSON_COMPACT) + 1 : 0;

		if (obj && size > *room) {
			json_decref(obj);
			(*n_omitted)++;
			continue;
		}
		*room -= size;
		if (json_array_append_new(list, obj) < 0) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

static json_t *
session_json(const struct mqt_session *session, uint32_t expiry_sec, size_t *room)
{
	struct mqt_session_counts counts;
	uint32_t n_omitted;
	json_t *list, *obj;

	mqt_session_counts(session, &counts);
	list = subscriptions_json(session, room, &n_omitted);
	obj = json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "subscriptions", list,
			"subscriptions_missed", (json_int_t)counts.filters_missed,
			"inflight_from_client",
			(json_int_t)counts.inflight[MQT_SESSION_FROM_CLIENT], "inflight_to_client",
			(json_int_t)counts.inflight[MQT_SESSION_TO_CLIENT], "inflight_missed",
			(json_int_t)counts.inflight_missed, "pendings", (json_int_t)counts.pendings,
			"expiry_interval", (json_int_t)expiry_sec);
	if (n_omitted)
		json_object_set_new(obj, "subscriptions_omitted", json_integer(n_omitted));
	return obj;
}

static void
inspect_home(struct ctl_call *call, struct ctl_command *command)
{
	json_t *record = json_array_get(call->records, command->record);
	const struct ctl_inspected *inspected = &command->inspected;
	uint32_t expiry_sec = inspected->expiry_sec;
	struct mqt_session_final final;

	if (!command->cmd.session)
		return;
	if (inspected->retained) {
		mqt_session_final(command->cmd.session, &final);
		expiry_sec = final.expiry_sec;
	}
	json_object_set_new(record, "session",
			session_json(command->cmd.session, expiry_sec, &call->room));
}

static void
inspect_settle(struct ctl_call *call)
{
	ctl_call_result(call, json_pack("{s:O}", "clients", call->records));
}

void
ctl_inspect(struct ctl_call *call, json_t *records, const struct ctl_inspected *inspected,
		size_t room)
{
	struct ctl_command *commands[CTL_LOOKUP_MAX];
	unsigned n = (unsigned)json_array_size(records), n_made = 0;

	call->records = records;
	call->room = room;
	while (n_made < n && (commands[n_made] = calloc(1, sizeof(struct ctl_command))) != NULL) {
		struct ctl_command *command = commands[n_made];

		command->cmd.chan = inspected[n_made].chan;
		command->inspected = inspected[n_made];
		command->record = n_made++;
	}
	if (n_made < n) {
		while (n_made > 0)
			free(commands[--n_made]);
		ctl_call_result(call, NULL);
		return;
	}
	call->home = inspect_home;
	call->settle = inspect_settle;
	ctl_command_submit(call, mqt_cm_inspect, commands, n);
}
