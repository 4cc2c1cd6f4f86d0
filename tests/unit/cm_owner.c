/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fake owner: what msg.h wants of a worker, by script.
 */
#include "cm_rig.h"

#include <errno.h>
#include <stdlib.h>

void
rig_session_end(struct rig_conn *conn)
{
	mqt_session_destroy(conn->session);
	conn->session = NULL;
}

struct rig_owner *
rig_owner_of(struct rig *rig, mqt_chan_id id)
{
	return &rig->owners[mqt_chan_id_worker(id)];
}

struct rig_slot *
rig_slot_of(struct rig *rig, mqt_chan_id id)
{
	return &rig_owner_of(rig, id)->slots[mqt_chan_id_slot(id)];
}

struct rig_conn *
rig_conn_of(struct rig *rig, mqt_chan_id id)
{
	struct rig_conn *conn = rig_slot_of(rig, id)->conn;

	while (conn && conn->id != id)
		conn = conn->next;
	return conn;
}

bool
rig_slot_is(struct rig *rig, const struct rig_conn *conn, enum mqt_slot_state state)
{
	return atomic_load(&rig_slot_of(rig, conn->id)->slot.word) ==
			mqt_slot_word(mqt_chan_id_gen(conn->id), state);
}

void
rig_post(struct rig *rig, const struct rig_conn *conn, struct mqt_msg msg)
{
	mqt_role_worker_assert();
	msg.chan = conn->id;
	mqt_mailbox_post_control(rig_owner_of(rig, conn->id)->mailbox, &msg);
}

struct mqt_info *
rig_info(struct rig *rig, const struct rig_open *how, mqt_chan_id id)
{
	size_t len = how->len ? how->len : how->clientid ? strlen(how->clientid) : 0;
	size_t user_len = how->username ? strlen(how->username) : 0;
	struct mqt_info *info = calloc(1, sizeof(*info) + len + user_len + MQT_INFO_ENDS_MAX);
	struct mqt_endpoint peer = { .ip = { 10, 0, 0, 1 }, .version = 4 };
	struct mqt_endpoint broker = { .ip = { 10, 0, 1, 1 }, .port = 1883, .version = 4 };

	if (!info)
		abort();
	info->flags = how->resume ? 0 : MQT_INFO_CLEAN_START;
	if (how->present)
		info->flags |= MQT_INFO_SESSION_PRESENT;
	if (how->expiry_sec)
		info->flags |= MQT_INFO_HAS_EXPIRY;
	info->expiry_sec = how->expiry_sec;
	info->listener = how->listener;
	peer.port = (uint16_t)(mqt_chan_id_slot(id) + 1024);
	broker.ip[3] = (uint8_t)(1 + how->broker);
	info->proto_ver = how->proto_ver ? how->proto_ver : 5;
	info->domain = how->domain;
	info->clientid_len = (uint16_t)len;
	if (len)
		memcpy(info->data, how->clientid, len);
	if (how->username) {
		info->flags |= MQT_INFO_HAS_USERNAME;
		info->username_len = (uint16_t)user_len;
		memcpy(info->data + len, how->username, user_len);
	}
	if (!how->clientid) {
		info->flags |= MQT_INFO_ANONYMOUS;
		info->digest = mqt_digest_anonymous(&rig->key, id);
	} else {
		info->digest = mqt_digest_client(
				&rig->key, how->domain, how->assigned_by, how->clientid, len);
	}
	if (how->assigned_by) {
		info->flags |= MQT_INFO_ASSIGNED;
		broker = *how->assigned_by;
	}
	mqt_info_set_ends(info, &peer, &broker, NULL);
	return info;
}

static uint32_t
rig_expiry(const struct rig *rig, const struct mqt_info *info)
{
	if (info->proto_ver == 5)
		return info->expiry_sec;
	return info->flags & MQT_INFO_CLEAN_START
			? 0
			: rig->config.listeners[info->listener].session_expiry_v3_sec;
}

static void
rig_forget(struct rig *rig, struct rig_conn *conn)
{
	if (conn->n_refusals + conn->n_releases != 1 || conn->session)
		rig->bad++;
	rig->n_forgotten++;
	free(conn);
}

struct rig_conn *
rig_conn_make(struct rig *rig, unsigned w, const struct rig_open *how)
{
	struct rig_owner *o = &rig->owners[w];
	struct rig_conn *conn;

	for (uint32_t i = 0; i < o->n_slots; i++) {
		uint32_t slot = o->next_slot++ % o->n_slots;
		struct rig_conn *last = o->slots[slot].conn;

		if (last && !last->home)
			continue;
		conn = calloc(1, sizeof(*conn));
		if (!conn)
			abort();
		conn->next = rig->forget ? NULL : last;
		conn->id = mqt_chan_id_make(rig->config.node_id, w, slot,
				last ? mqt_chan_id_gen_next(mqt_chan_id_gen(last->id)) : 1);
		conn->stamp_ns = how->stamp_ns ? how->stamp_ns : rig->now_ns;
		conn->client = how->client;
		conn->broker = how->broker;
		conn->label = (char)('A' + rig->n_conns++ % 26);
		conn->info = rig_info(rig, how, conn->id);
		conn->digest = conn->info->digest;
		conn->expiry_sec = rig_expiry(rig, conn->info);
		conn->session = how->session ? rig_session_new() : NULL;
		if (last && rig->forget)
			rig_forget(rig, last);
		o->slots[slot].conn = conn;
		atomic_store(&o->slots[slot].slot.word,
				mqt_slot_word(mqt_chan_id_gen(conn->id), MQT_SLOT_LIVE));
		return conn;
	}
	return NULL;
}

struct rig_conn *
rig_open(struct rig *rig, unsigned w, struct rig_open how)
{
	struct rig_conn *conn = rig_conn_make(rig, w, &how);

	if (!conn)
		return NULL;
	rig_post(rig, conn,
			(struct mqt_msg){ .type = MQT_MSG_OPEN,
					.stamp_ns = conn->stamp_ns,
					.info = conn->info });
	rig->n_opens++;
	return conn;
}

void
rig_down(struct rig *rig, struct rig_conn *conn, enum mqt_reason reason)
{
	conn->over = true;
	rig_session_end(conn);
	rig_post(rig, conn,
			(struct mqt_msg){ .type = MQT_MSG_DOWN,
					.reason = (uint8_t)reason,
					.stamp_ns = rig->now_ns });
}

/* What the owner says of a flow that has ended by itself. */
static void
rig_ended(struct rig *rig, struct rig_conn *conn, uint32_t expiry_sec)
{
	struct mqt_session_final final = { .expiry_sec = expiry_sec };
	struct mqt_session *session = conn->session;

	if (conn->frozen || expiry_sec == 0 ||
			(conn->n_grants == 0 && rig_owner_of(rig, conn->id)->plain_down)) {
		rig_down(rig, conn, MQT_REASON_CLIENT_CLOSED);
		return;
	}
	if (!session)
		session = rig_session_new();
	conn->session = NULL;
	conn->over = true;
	mqt_session_set_final(session, &final);
	rig_session_give(session);
	rig_post(rig, conn,
			(struct mqt_msg){ .type = MQT_MSG_CLOSED,
					.reason = MQT_REASON_CLIENT_CLOSED,
					.session = session,
					.stamp_ns = rig->now_ns });
}

void
rig_end(struct rig *rig, struct rig_conn *conn)
{
	if (conn->over || conn->home)
		return;
	if (mqt_slot_leave(&rig_slot_of(rig, conn->id)->slot, conn->id, MQT_SLOT_CLOSED))
		rig_ended(rig, conn, conn->expiry_sec);
}

void
rig_close(struct rig *rig, struct rig_conn *conn)
{
	mqt_slot_leave(&rig_slot_of(rig, conn->id)->slot, conn->id, MQT_SLOT_CLOSED);
}

void
rig_find_killed(struct rig *rig, unsigned w)
{
	struct rig_owner *o = &rig->owners[w];

	for (uint32_t i = 0; i < o->n_slots; i++) {
		struct rig_conn *conn = o->slots[i].conn;

		if (!conn || conn->over || conn->home || rig_slot_is(rig, conn, MQT_SLOT_LIVE))
			continue;
		if (rig_slot_is(rig, conn, MQT_SLOT_KILLED))
			rig_down(rig, conn, MQT_REASON_KILLED);
		else
			rig_ended(rig, conn, conn->expiry_sec);
	}
}

/* The flow is frozen, the session goes. */
static int
rig_on_begin(struct rig *rig, struct rig_conn *conn, struct mqt_msg *done)
{
	if (!rig_slot_is(rig, conn, MQT_SLOT_LIVE)) {
		if (rig_slot_is(rig, conn, MQT_SLOT_KILLED))
			rig_down(rig, conn, MQT_REASON_KILLED);
		else
			rig_ended(rig, conn, conn->expiry_sec);
		return -ENOENT;
	}
	conn->frozen = true;
	done->session = conn->session;
	if (conn->session)
		rig_session_give(conn->session);
	conn->session = NULL;
	return 0;
}

static enum mqt_reason
rig_stepdown_reason(uint8_t action)
{
	switch (action) {
	case MQT_STEPDOWN_KICK:
		return MQT_REASON_KICKED;
	case MQT_STEPDOWN_DISCARD:
		return MQT_REASON_DISCARDED;
	default:
		return MQT_REASON_TAKEN_OVER;
	}
}

void
rig_on_stepdown(struct rig *rig, struct rig_conn *conn, const struct mqt_msg *msg)
{
	bool end = msg->action == MQT_STEPDOWN_TAKEOVER_END;
	enum rig_answer answer = end ? rig_owner_of(rig, conn->id)->end_answer
				     : rig_owner_of(rig, conn->id)->answer;
	struct mqt_msg done = *msg;
	struct mqt_slot *slot = &rig_slot_of(rig, conn->id)->slot;

	conn->n_stepdowns++;
	conn->action = msg->action;
	conn->code = msg->code;
	if (answer == RIG_ANSWER_NEVER)
		return;
	done.type = MQT_MSG_STEPDOWN_DONE;
	if (conn->over) {
		done.result = -ENOENT;
	} else if (answer == RIG_ANSWER_ERROR) {
		done.result = -EIO;
	} else if (answer == RIG_ANSWER_OK && msg->action == MQT_STEPDOWN_TAKEOVER_BEGIN) {
		done.result = rig_on_begin(rig, conn, &done);
	} else if (answer == RIG_ANSWER_OK) {
		bool alive = mqt_slot_leave(slot, conn->id, MQT_SLOT_CLOSED);

		rig_down(rig, conn, alive ? rig_stepdown_reason(msg->action) : MQT_REASON_KILLED);
		if (end) {
			done.pendings = conn->pendings;
			conn->pendings = NULL;
		}
	}
	conn->done_no = rig->msg_no;
	rig_post(rig, conn, done);
}

static void
rig_on_home(struct rig *rig, struct rig_conn *conn, const struct mqt_msg *msg)
{
	/* the generation ends once, with its own info, or while that is kept with a session */
	conn->kept = msg->type == MQT_MSG_RELEASE && !msg->info;
	if (conn->home || (msg->info != conn->info && !conn->kept))
		rig->bad++;
	rig_session_end(conn);
	if (msg->type == MQT_MSG_RELEASE && !conn->over)
		rig->bad++;
	if (!conn->home)
		free(msg->info);
	conn->info = NULL;
	conn->home = true;
	conn->home_no = rig->msg_no;
	if (msg->type == MQT_MSG_REFUSE) {
		conn->n_refusals++;
		conn->reason = msg->reason;
		mqt_slot_leave(&rig_slot_of(rig, conn->id)->slot, conn->id, MQT_SLOT_CLOSED);
	} else {
		conn->n_releases++;
	}
}

static void
rig_on_grant(struct rig *rig, struct rig_conn *conn, struct mqt_session *session)
{
	if (session) {
		conn->n_resumes++;
		rig_session_end(conn);
		rig_session_got(session);
		conn->session = session;
	}
	if (rig_owner_of(rig, conn->id)->mute_grant)
		return;
	if (!conn->over) {
		rig_post(rig, conn, (struct mqt_msg){ .type = MQT_MSG_GRANTED });
		return;
	}
	conn->session = NULL;
	if (session)
		rig_session_give(session);
	rig_post(rig, conn, (struct mqt_msg){ .type = MQT_MSG_RETURN, .session = session });
}

static void
rig_on_msg(struct rig *rig, const struct mqt_msg *msg)
{
	struct rig_conn *conn = rig_conn_of(rig, msg->chan);
	struct rig_owner *o = rig_owner_of(rig, msg->chan);

	rig->msg_no++;
	if (!conn) {
		rig->bad++;
		return;
	}
	switch (msg->type) {
	case MQT_MSG_GRANT:
		conn->n_grants++;
		conn->grant_no = rig->msg_no;
		if (conn->home)
			rig->bad++;
		rig_on_grant(rig, conn, msg->session);
		break;
	case MQT_MSG_INSPECT:
		if (conn->home)
			rig->bad++;
		if (o->answer != RIG_ANSWER_NEVER)
			rig_post(rig, conn,
					(struct mqt_msg){ .type = MQT_MSG_INSPECTED,
							.token = msg->token,
							.session = mqt_session_clone(
									conn->session) });
		break;
	case MQT_MSG_STEPDOWN:
		rig_on_stepdown(rig, conn, msg);
		break;
	case MQT_MSG_REFUSE:
	case MQT_MSG_RELEASE:
		rig_on_home(rig, conn, msg);
		break;
	default:
		rig->bad++;
	}
}

unsigned
rig_poll(struct rig *rig, unsigned w, unsigned n)
{
	unsigned done = 0;
	struct mqt_msg msg;

	mqt_role_worker_assert();
	while (done < n && mqt_mailbox_poll_worker(rig->owners[w].mailbox, &msg, 1) == 1) {
		rig_on_msg(rig, &msg);
		done++;
	}
	return done;
}

unsigned
rig_poll_all(struct rig *rig)
{
	unsigned n = 0;

	for (unsigned w = 0; w < rig->n_owners; w++) {
		rig_find_killed(rig, w);
		n += rig_poll(rig, w, UINT32_MAX);
	}
	return n;
}
