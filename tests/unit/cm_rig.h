/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_CM_RIG_H
#define TESTS_UNIT_CM_RIG_H

/*
 * A channel manager with fake owners in virtual time, all in one thread.
 *
 * A fake owner does what msg.h wants of a worker and nothing else: it reads its mailbox when the
 * test says so and answers by script. Each OPEN makes a `struct rig_conn`, which is never given
 * away again, so that a test can ask at its end what became of every newcomer.
 */

#include "check.h"
#include "eal.h"
#include "mqtrack/cm.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_common.h>

#define RIG_MAX_OWNERS 4
#define RIG_MS         MQT_NS_PER_MS
#define RIG_T0         (1000 * MQT_NS_PER_SEC)

/* What a fake owner does with a STEPDOWN. */
enum rig_answer {
	RIG_ANSWER_OK,
	RIG_ANSWER_ERROR, /* -EIO, the flow goes on */
	RIG_ANSWER_LIE,   /* 0, but no DOWN, the flow goes on */
	RIG_ANSWER_NEVER, /* takes the message and forgets it */
};

/* --- sessions: each has one owner ------------------------------------------------------------- */

/*
 * The test binary is linked so that the manager's calls come here first. A session is the owners' or
 * given away; copies for readers are not counted.
 */
struct mqt_session *__real_mqt_session_create(void);
void __real_mqt_session_destroy(struct mqt_session *session);
struct mqt_session *__wrap_mqt_session_create(void);
void __wrap_mqt_session_destroy(struct mqt_session *session);

enum rig_place {
	RIG_AT_OWNER,
	RIG_GIVEN, /* in a message, or the manager's */
};

#define RIG_TOKENS 4096

struct rig_token {
	struct rig_token *next;
	struct mqt_session *session;
	enum rig_place place;
};

static struct rig_token *rig_tokens[RIG_TOKENS];
static unsigned rig_n_sessions;  /* there are */
static unsigned rig_n_given;     /* of these, not the owners' */
static uint64_t rig_n_lost;      /* destroyed while they were given */
static uint64_t rig_n_misplaced; /* were not where they should be */

static inline struct rig_token **
rig_token_of(const struct mqt_session *session)
{
	struct rig_token **link = &rig_tokens[(uintptr_t)session / 16 % RIG_TOKENS];

	while (*link && (*link)->session != session)
		link = &(*link)->next;
	return link;
}

static inline void
rig_token_add(struct mqt_session *session, enum rig_place place)
{
	struct rig_token **link = rig_token_of(session);
	struct rig_token *t = calloc(1, sizeof(*t));

	if (!session || !t || *link)
		abort();
	*t = (struct rig_token){ .session = session, .place = place };
	*link = t;
	rig_n_sessions++;
	rig_n_given += place == RIG_GIVEN;
}

/* The manager makes one. */
struct mqt_session *
__wrap_mqt_session_create(void)
{
	struct mqt_session *session = __real_mqt_session_create();

	rig_token_add(session, RIG_GIVEN);
	return session;
}

/* Anybody destroys one, or a copy. */
void
__wrap_mqt_session_destroy(struct mqt_session *session)
{
	struct rig_token **link = rig_token_of(session);
	struct rig_token *t = *link;

	if (session && t) {
		*link = t->next;
		rig_n_sessions--;
		rig_n_given -= t->place == RIG_GIVEN;
		rig_n_lost += t->place == RIG_GIVEN;
		free(t);
	}
	__real_mqt_session_destroy(session);
}

static inline void
rig_session_move(const struct mqt_session *session, enum rig_place from, enum rig_place to)
{
	struct rig_token *t = *rig_token_of(session);

	if (!t || t->place != from) {
		rig_n_misplaced++;
		return;
	}
	t->place = to;
	if (to == RIG_GIVEN)
		rig_n_given++;
	else
		rig_n_given--;
}

static inline struct mqt_session *
rig_session_new(void)
{
	struct mqt_session *session = __real_mqt_session_create();

	rig_token_add(session, RIG_AT_OWNER);
	return session;
}

static inline void
rig_session_give(const struct mqt_session *session)
{
	rig_session_move(session, RIG_AT_OWNER, RIG_GIVEN);
}

static inline void
rig_session_got(const struct mqt_session *session)
{
	rig_session_move(session, RIG_GIVEN, RIG_AT_OWNER);
}

struct rig_conn {
	struct rig_conn *next; /* of the same slot, older generation */
	mqt_chan_id id;
	struct mqt_info *info; /* the worker's, when it has come home: freed, NULL */
	struct mqt_digest digest;
	uint64_t stamp_ns;
	unsigned client; /* of the model */
	uint8_t broker;
	uint32_t expiry_sec;         /* of its session */
	struct mqt_session *session; /* the worker's */
	struct mqt_pendings *pendings;
	char label; /* A, B, C, ... in the order of opening */
	/* as the owner sees it */
	bool over;          /* DOWN posted */
	bool home;          /* REFUSE or RELEASE came */
	bool frozen;        /* begin answered */
	bool kept;          /* RELEASE came without info: it is retained */
	unsigned n_resumes; /* GRANTs with a session */
	unsigned n_grants, n_refusals, n_releases, n_stepdowns;
	uint8_t action, code;                /* of the last STEPDOWN */
	uint8_t reason;                      /* of REFUSE */
	unsigned grant_no, home_no, done_no; /* when, in messages seen by all owners */
};

/* The owner's session goes with its flow. */
static inline void
rig_session_end(struct rig_conn *conn)
{
	mqt_session_destroy(conn->session);
	conn->session = NULL;
}

struct rig_slot {
	struct mqt_slot slot;
	struct rig_conn *conn; /* newest generation */
};

struct rig_owner {
	struct mqt_mailbox *mailbox;
	struct rig_slot *slots;
	uint32_t n_slots;
	uint32_t next_slot;
	_Atomic uint64_t heartbeat_ns;
	enum rig_answer answer;     /* to all but takeover end */
	enum rig_answer end_answer; /* to that */
	bool mute_grant;            /* forgets GRANTs */
	bool plain_down;            /* says DOWN, not CLOSED, of what was not granted yet */
};

struct rig {
	struct mqt_config config;
	struct mqt_clock clock;
	struct mqt_hash_key key;
	struct mqt_maps *maps;
	struct mqt_event_ring *events;
	struct mqt_cm *cm;
	struct mqt_registry reg;
	struct rig_owner owners[RIG_MAX_OWNERS];
	unsigned n_owners;
	uint64_t now_ns;
	uint64_t event_cursor;
	unsigned msg_no;
	unsigned n_opens, n_conns;
	bool forget; /* the older generations of a slot */
	unsigned n_forgotten;
	unsigned bad;       /* what a worker would never expect */
	char story[512];    /* of rig_story() */
	char registry[512]; /* calls of the registry, as "+A -A" */
};

static inline uint64_t
rig_mono(void *arg)
{
	return ((struct rig *)arg)->now_ns;
}

static inline uint64_t
rig_wall(void *arg)
{
	return ((struct rig *)arg)->now_ns + 1600000000 * MQT_NS_PER_SEC;
}

static void rig_registered(void *arg, const struct mqt_digest *digest, mqt_chan_id id);
static void rig_unregistered(void *arg, const struct mqt_digest *digest, mqt_chan_id id);

static const struct mqt_registry_ops rig_registry_ops = {
	.registered = rig_registered,
	.unregistered = rig_unregistered,
};

struct rig_params {
	unsigned n_owners;
	unsigned n_slots; /* an owner */
	unsigned max_clients;
	unsigned ring;
};

static struct mqt_waker *rig_waker; /* the control lcore's; NULL: it never sleeps */

static inline struct rig *
rig_create(struct rig_params p)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct mqt_cm_owner owners[RIG_MAX_OWNERS];
	struct mqt_maps_params mp = { .max_channels = p.max_clients };

	if (!rig)
		abort();
	mqt_config_init(&rig->config);
	rig->config.node_id = 7;
	rig->config.n_domains = 2;
	rig->config.limits.max_clients = p.max_clients;
	rig->config.limits.stepdown_local_ms = 500;
	rig->config.limits.stall_ms = 1000;
	rig->config.limits.contest_ms = 0; /* the stamps decide at once; see test_cm_contest.c */
	rig->now_ns = RIG_T0;
	rig->clock = (struct mqt_clock){ rig_mono, rig_wall, rig };
	if (mqt_hash_key_init(&rig->key) < 0)
		abort();
	rig->reg = (struct mqt_registry){ &rig_registry_ops, rig };
	rig->maps = mqt_maps_create(&mp);
	rig->events = mqt_event_ring_create(1u << 13);
	rig->n_owners = p.n_owners;
	for (unsigned w = 0; w < p.n_owners; w++) {
		struct rig_owner *o = &rig->owners[w];

		o->mailbox = mqt_mailbox_create(p.ring);
		o->slots = aligned_alloc(64, RTE_ALIGN(p.n_slots * sizeof(*o->slots), 64));
		o->n_slots = p.n_slots;
		if (!o->mailbox || !o->slots)
			abort();
		memset(o->slots, 0, p.n_slots * sizeof(*o->slots));
		owners[w] = (struct mqt_cm_owner){ .mailbox = o->mailbox,
			.slots = { o->slots, sizeof(*o->slots), p.n_slots },
			.heartbeat_ns = &o->heartbeat_ns };
	}
	rig->cm = mqt_cm_create(&(struct mqt_cm_params){
			.config = &rig->config,
			.clock = &rig->clock,
			.hash_key = &rig->key,
			.maps = rig->maps,
			.events = rig->events,
			.registry = &rig->reg,
			.owners = owners,
			.n_owners = p.n_owners,
			.waker = rig_waker,
	});
	if (!rig->maps || !rig->events || !rig->cm)
		abort();
	return rig;
}

/* --- the fake owner ----------------------------------------------------------------------------- */

static inline struct rig_owner *
rig_owner_of(struct rig *rig, mqt_chan_id id)
{
	return &rig->owners[mqt_chan_id_worker(id)];
}

static inline struct rig_slot *
rig_slot_of(struct rig *rig, mqt_chan_id id)
{
	return &rig_owner_of(rig, id)->slots[mqt_chan_id_slot(id)];
}

static inline struct rig_conn *
rig_conn_of(struct rig *rig, mqt_chan_id id)
{
	struct rig_conn *conn = rig_slot_of(rig, id)->conn;

	while (conn && conn->id != id)
		conn = conn->next;
	return conn;
}

static inline bool
rig_slot_is(struct rig *rig, const struct rig_conn *conn, enum mqt_slot_state state)
{
	return atomic_load(&rig_slot_of(rig, conn->id)->slot.word) ==
			mqt_slot_word(mqt_chan_id_gen(conn->id), state);
}

static inline void
rig_post(struct rig *rig, const struct rig_conn *conn, struct mqt_msg msg)
{
	mqt_role_worker_assert();
	msg.chan = conn->id;
	mqt_mailbox_post_control(rig_owner_of(rig, conn->id)->mailbox, &msg);
}

/* What a newcomer is like; zero means the plainest one. */
struct rig_open {
	const char *clientid; /* NULL: anonymous */
	size_t len;           /* 0: of the string */
	uint16_t domain;
	uint64_t stamp_ns; /* 0: now */
	const struct mqt_endpoint *assigned_by;
	unsigned client;
	bool resume;         /* not clean start */
	bool present;        /* session present */
	uint32_t expiry_sec; /* 5.0 */
	uint8_t proto_ver;   /* 0: 5 */
	uint8_t broker;      /* 0, 1, ... */
	uint16_t listener;
	const char *username; /* NULL: none */
	bool session;         /* has one in which something has happened */
};

static inline struct mqt_info *
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

static inline uint32_t
rig_expiry(const struct rig *rig, const struct mqt_info *info)
{
	if (info->proto_ver == 5)
		return info->expiry_sec;
	return info->flags & MQT_INFO_CLEAN_START
			? 0
			: rig->config.listeners[info->listener].session_expiry_v3_sec;
}

static inline void
rig_forget(struct rig *rig, struct rig_conn *conn)
{
	if (conn->n_refusals + conn->n_releases != 1 || conn->session)
		rig->bad++;
	rig->n_forgotten++;
	free(conn);
}

/* Takes a slot whose last generation is over. NULL: none. */
static inline struct rig_conn *
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

/* A successful CONNACK has been parked. */
static inline struct rig_conn *
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

static inline void
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
static inline void
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

/* The flow ends by itself. */
static inline void
rig_end(struct rig *rig, struct rig_conn *conn)
{
	if (conn->over || conn->home)
		return;
	if (mqt_slot_leave(&rig_slot_of(rig, conn->id)->slot, conn->id, MQT_SLOT_CLOSED))
		rig_ended(rig, conn, conn->expiry_sec);
}

/* The flow ends by itself, but its owner hangs before it can say so; see rig_find_killed(). */
static inline void
rig_close(struct rig *rig, struct rig_conn *conn)
{
	mqt_slot_leave(&rig_slot_of(rig, conn->id)->slot, conn->id, MQT_SLOT_CLOSED);
}

/* The owner finds which of its channels were killed, or closed by itself without a word. */
static inline void
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
static inline int
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

static inline enum mqt_reason
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

static inline void
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

static inline void
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

static inline void
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

static inline void
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

/* An owner reads at most @p n messages. Returns how many. */
static inline unsigned
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

/* All owners read everything and find what was killed. */
static inline unsigned
rig_poll_all(struct rig *rig)
{
	unsigned n = 0;

	for (unsigned w = 0; w < rig->n_owners; w++) {
		rig_find_killed(rig, w);
		n += rig_poll(rig, w, UINT32_MAX);
	}
	return n;
}

/* --- the manager's side ---------------------------------------------------------------------------- */

static inline unsigned
rig_turn(struct rig *rig, uint64_t ms)
{
	mqt_role_control_assert();
	rig->now_ns += ms * RIG_MS;
	return mqt_cm_turn(rig->cm);
}

static inline void
rig_grace(struct rig *rig)
{
	if (mqt_maps_grace_wanted(rig->maps))
		mqt_maps_grace_run(rig->maps);
}

static inline bool
rig_busy(struct rig *rig)
{
	mqt_role_control_assert();
	return mqt_cm_busy(rig->cm);
}

/* Turns, owners and grace periods until nothing happens any more, a millisecond at a time. */
static inline void
rig_settle(struct rig *rig)
{
	for (unsigned i = 0, quiet = 0; i < 100000 && quiet < 3; i++) {
		unsigned n = rig_turn(rig, 1);

		n += rig_poll_all(rig);
		rig_grace(rig);
		quiet = n ? 0 : quiet + 1;
	}
}

static inline uint64_t
rig_counter(struct rig *rig, enum mqt_control_counter c)
{
	return mqt_counter_get(&mqt_cm_counters(rig->cm)->v[c]);
}

static inline struct mqt_maps_sizes
rig_sizes(struct rig *rig)
{
	struct mqt_maps_sizes sizes;

	mqt_maps_sizes(rig->maps, &sizes);
	return sizes;
}

/* State of a channel's row; MQT_CHAN_FREE where it has none. */
static inline enum mqt_chan_state
rig_state(struct rig *rig, const struct rig_conn *conn)
{
	const struct mqt_chan *row;

	mqt_role_control_assert();
	row = mqt_maps_get(rig->maps, conn->id);
	return row ? atomic_load(&row->state) : MQT_CHAN_FREE;
}

static inline bool
rig_live(struct rig *rig, const struct rig_conn *conn)
{
	bool live;

	mqt_rcu_read_lock();
	live = mqt_cm_is_live(rig->cm, conn->id);
	mqt_rcu_read_unlock();
	return live;
}

static inline bool
rig_event(struct rig *rig, struct mqt_event *ev)
{
	uint64_t missed = 0;
	int rc = mqt_event_ring_read(rig->events, &rig->event_cursor, ev, &missed);

	if (missed)
		rig->bad++;
	return rc == 1;
}

static inline char
rig_label(struct rig *rig, mqt_chan_id id)
{
	const struct rig_conn *conn = id == MQT_CHAN_NONE ? NULL : rig_conn_of(rig, id);

	return conn ? conn->label : '.';
}

static inline void
rig_registry_call(struct rig *rig, char what, mqt_chan_id id)
{
	size_t n = strlen(rig->registry);

	if (n < sizeof(rig->registry) - 8)
		sprintf(rig->registry + n, "%s%c%c", n ? " " : "", what, rig_label(rig, id));
}

static inline void
rig_registered(void *arg, const struct mqt_digest *digest, mqt_chan_id id)
{
	rig_registry_call(arg, '+', id);
}

static inline void
rig_unregistered(void *arg, const struct mqt_digest *digest, mqt_chan_id id)
{
	rig_registry_call(arg, '-', id);
}

/*
 * What the events since the last call tell, a word each: what happened, to whom with its epoch,
 * the reason, the other one, the count. "+A1" connected, "-A1:killed" disconnected, "*A1" session.created,
 * "dA1>B" discarded for B, "kA1" kicked, "sA1>B" superseded by B, "rA1:table_full" refused,
 * "=B2>A" session.resumed, "tA1>B" taken over, "xA1:expired", "lB2>A" lost by broker, "bB2>A" left
 * behind, "aB2" adopted, "KA1>B" lost by kill, "fB2>A#3" flapping, "!B2:username_mismatch>A".
 */
static inline const char *
rig_story(struct rig *rig)
{
	static const char what[MQT_N_EVENTS] = {
		[MQT_EVENT_CONNECTED] = '+',
		[MQT_EVENT_DISCONNECTED] = '-',
		[MQT_EVENT_SESSION_CREATED] = '*',
		[MQT_EVENT_DISCARDED] = 'd',
		[MQT_EVENT_KICKED] = 'k',
		[MQT_EVENT_REFUSED] = 'r',
		[MQT_EVENT_SUPERSEDED] = 's',
		[MQT_EVENT_RESUMED] = '=',
		[MQT_EVENT_TAKENOVER] = 't',
		[MQT_EVENT_EXPIRED] = 'x',
		[MQT_EVENT_LOST_BY_BROKER] = 'l',
		[MQT_EVENT_LEFT_BEHIND] = 'b',
		[MQT_EVENT_ADOPTED] = 'a',
		[MQT_EVENT_LOST_BY_KILL] = 'K',
		[MQT_EVENT_FLAPPING] = 'f',
		[MQT_EVENT_ANOMALY] = '!',
	};
	struct mqt_event ev;
	size_t n = 0;

	rig->story[0] = 0;
	while (rig_event(rig, &ev) && n < sizeof(rig->story) - 64) {
		n += (size_t)sprintf(rig->story + n, "%s%c%c%u", n ? " " : "", what[ev.type],
				rig_label(rig, ev.chan), (unsigned)ev.epoch);
		if (ev.type == MQT_EVENT_DISCONNECTED || ev.type == MQT_EVENT_REFUSED ||
				ev.type == MQT_EVENT_EXPIRED || ev.type == MQT_EVENT_ANOMALY)
			n += (size_t)sprintf(rig->story + n, ":%s", mqt_reason_name(ev.reason));
		if (ev.other != MQT_CHAN_NONE)
			n += (size_t)sprintf(rig->story + n, ">%c", rig_label(rig, ev.other));
		if (ev.count)
			n += (size_t)sprintf(rig->story + n, "#%u", ev.count);
	}
	return rig->story;
}

/* Opens and sees it through. */
static inline struct rig_conn *
rig_connect(struct rig *rig, unsigned w, struct rig_open how)
{
	struct rig_conn *conn = rig_open(rig, w, how);

	rig_settle(rig);
	return conn;
}

static inline void
rig_destroy(struct rig *rig)
{
	mqt_cm_destroy(rig->cm);
	mqt_maps_destroy(rig->maps);
	mqt_event_ring_destroy(rig->events);
	for (unsigned w = 0; w < rig->n_owners; w++) {
		struct rig_owner *o = &rig->owners[w];
		struct mqt_msg msg;

		mqt_role_worker_assert();
		while (mqt_mailbox_poll_worker(o->mailbox, &msg, 1) == 1) {
			free(msg.info);                   /* REFUSE, RELEASE not read */
			mqt_session_destroy(msg.session); /* GRANT */
		}
		mqt_mailbox_destroy(o->mailbox);
		for (uint32_t i = 0; i < o->n_slots; i++) {
			struct rig_conn *conn = o->slots[i].conn;

			while (conn) {
				struct rig_conn *next = conn->next;

				rig_session_end(conn);
				free(conn->pendings);
				free(conn);
				conn = next;
			}
		}
		free(o->slots);
	}
	free(rig);
}

/* Ends every channel and checks what must hold then: nothing is left, all infos are home. */
static inline void
rig_check_end(struct rig *rig)
{
	unsigned homes = 0;

	for (unsigned w = 0; w < rig->n_owners; w++) {
		rig->owners[w].answer = RIG_ANSWER_OK;
		rig->owners[w].end_answer = RIG_ANSWER_OK;
		rig->owners[w].mute_grant = false;
	}
	for (unsigned w = 0; w < rig->n_owners; w++) {
		for (uint32_t i = 0; i < rig->owners[w].n_slots; i++) {
			if (rig->owners[w].slots[i].conn)
				rig_end(rig, rig->owners[w].slots[i].conn);
		}
	}
	rig_settle(rig);
	rig->config.limits.max_retained = 0; /* no room for any */
	for (unsigned i = 0; i < 100 && (rig_busy(rig) || mqt_cm_retained_count(rig->cm)); i++)
		rig_settle(rig);
	for (unsigned w = 0; w < rig->n_owners; w++) {
		for (uint32_t i = 0; i < rig->owners[w].n_slots; i++) {
			const struct rig_conn *conn = rig->owners[w].slots[i].conn;

			for (; conn; conn = conn->next) {
				homes++;
				CHECK_EQ(conn->n_refusals + conn->n_releases, 1);
			}
		}
	}
	CHECK(!rig_busy(rig));
	CHECK_EQ(homes + rig->n_forgotten, rig->n_opens);
	CHECK_EQ(rig->bad, 0);
	CHECK_EQ(rig_sizes(rig).channels, 0);
	CHECK_EQ(rig_sizes(rig).clients, 0);
	CHECK_EQ(rig_sizes(rig).live, 0);
	CHECK_EQ(rig_sizes(rig).retired, 0);
	CHECK_EQ(mqt_cm_retained_count(rig->cm), 0);
	rig_destroy(rig);
	CHECK_EQ(rig_n_sessions, 0);
}

#define T(name)                                                                                    \
	{                                                                                          \
#name, test_##name                                                                 \
	}

/* Runs the suites with EAL, as a reader. Exit status of main. */
static inline int
rig_run(CU_SuiteInfo *suites)
{
	int status;

	if (eal_start("cm") < 0)
		return 2;
	mqt_rcu_register();
	status = check_run(suites);
	mqt_rcu_unregister();
	return eal_stop(status);
}

#endif
