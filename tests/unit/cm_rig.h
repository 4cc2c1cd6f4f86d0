/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_CM_RIG_H
#define TESTS_UNIT_CM_RIG_H

/*
 * A channel manager with fake owners in virtual time, all in one thread.
 *
 * A fake owner does what msg.h wants of a worker and nothing else: it reads its mailbox when the
 * test says so and answers by script. Each OPEN makes a `struct rig_conn`, which is never given
 * away again, so that a test can ask at its end what became of every newcomer.
 *
 *   cm_ledger.c   where each session is
 *   cm_owner.c    the fake owners
 *   cm_rig.c      the rest
 */

#include "check.h"
#include "mqtrack/cm.h"

#define RIG_MAX_OWNERS 4
#define RIG_MS         MQT_NS_PER_MS
#define RIG_T0         (1000 * MQT_NS_PER_SEC)

/* --- sessions: each has one owner ------------------------------------------------------------- */

extern unsigned rig_n_sessions;  /* there are */
extern unsigned rig_n_given;     /* of these, not the owners' */
extern uint64_t rig_n_lost;      /* destroyed while they were given */
extern uint64_t rig_n_misplaced; /* were not where they should be */

/** An owner makes one. */
struct mqt_session *rig_session_new(void);
/** An owner puts it into a message. */
void rig_session_give(const struct mqt_session *session);
/** It came to an owner in a message. */
void rig_session_got(const struct mqt_session *session);

/* --- the rig ------------------------------------------------------------------------------------ */

/* What a fake owner does with a STEPDOWN. */
enum rig_answer {
	RIG_ANSWER_OK,
	RIG_ANSWER_ERROR, /* -EIO, the flow goes on */
	RIG_ANSWER_LIE,   /* 0, but no DOWN, the flow goes on */
	RIG_ANSWER_NEVER, /* takes the message and forgets it */
};

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

struct rig_params {
	unsigned n_owners;
	unsigned n_slots; /* an owner */
	unsigned max_clients;
	unsigned ring;
};

/** The control lcore's, of rigs made from then on; NULL: it never sleeps. */
extern struct mqt_waker *rig_waker;

struct rig *rig_create(struct rig_params p);
void rig_destroy(struct rig *rig);
/** Ends every channel and checks what must hold then: nothing is left, all infos are home. */
#define rig_check_end(rig) rig_check_end_of(rig, check_row)
void rig_check_end_of(struct rig *rig, const char *row);
/** Runs the suites with EAL, as a reader. Exit status of main. */
int rig_run(CU_SuiteInfo *suites);

/* --- the fake owner ------------------------------------------------------------------------------- */

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

/** A successful CONNACK has been parked. */
struct rig_conn *rig_open(struct rig *rig, unsigned w, struct rig_open how);
/** Opens and sees it through. */
struct rig_conn *rig_connect(struct rig *rig, unsigned w, struct rig_open how);
/** Takes a slot whose last generation is over, and says nothing yet. NULL: none. */
struct rig_conn *rig_conn_make(struct rig *rig, unsigned w, const struct rig_open *how);
/** Registers one beside whatever there is, as no OPEN would. */
struct rig_conn *rig_put_beside(struct rig *rig, unsigned w, const struct rig_open *how);
/** What a newcomer would say of itself. */
struct mqt_info *rig_info(struct rig *rig, const struct rig_open *how, mqt_chan_id id);
/** The flow ends by itself. */
void rig_end(struct rig *rig, struct rig_conn *conn);
/** The flow ends by itself, but its owner hangs before it can say so; see rig_find_killed(). */
void rig_close(struct rig *rig, struct rig_conn *conn);
/** Says DOWN of a flow that has ended. */
void rig_down(struct rig *rig, struct rig_conn *conn, enum mqt_reason reason);
/** The owner's session goes with its flow. */
void rig_session_end(struct rig_conn *conn);
/** The owner finds which of its channels were killed, or closed by itself without a word. */
void rig_find_killed(struct rig *rig, unsigned w);
/** Posts to the manager for this channel. */
void rig_post(struct rig *rig, const struct rig_conn *conn, struct mqt_msg msg);
/** Answers by script. */
void rig_on_stepdown(struct rig *rig, struct rig_conn *conn, const struct mqt_msg *msg);
/** An owner reads at most @p n messages. Returns how many. */
unsigned rig_poll(struct rig *rig, unsigned w, unsigned n);
/** All owners read everything and find what was killed. */
unsigned rig_poll_all(struct rig *rig);

struct rig_owner *rig_owner_of(struct rig *rig, mqt_chan_id id);
struct rig_slot *rig_slot_of(struct rig *rig, mqt_chan_id id);
struct rig_conn *rig_conn_of(struct rig *rig, mqt_chan_id id);
bool rig_slot_is(struct rig *rig, const struct rig_conn *conn, enum mqt_slot_state state);

/* --- the manager's side --------------------------------------------------------------------------- */

/** One turn, so much later. */
unsigned rig_turn(struct rig *rig, uint64_t ms);
/** Ends the grace period, where one is wanted. */
void rig_grace(struct rig *rig);
/** Turns, owners and grace periods until nothing happens any more, a millisecond at a time. */
void rig_settle(struct rig *rig);
bool rig_busy(struct rig *rig);
uint64_t rig_counter(struct rig *rig, enum mqt_control_counter c);
struct mqt_maps_sizes rig_sizes(struct rig *rig);
/** State of a channel's row; MQT_CHAN_FREE where it has none. */
enum mqt_chan_state rig_state(struct rig *rig, const struct rig_conn *conn);
bool rig_live(struct rig *rig, const struct rig_conn *conn);
/** The next event, if there is one. */
bool rig_event(struct rig *rig, struct mqt_event *ev);
/**
 * What the events since the last call tell, a word each: what happened, to whom with its epoch,
 * the reason, the other one, the count. "+A1" connected, "-A1:killed" disconnected, "*A1" session.created,
 * "dA1>B" discarded for B, "kA1" kicked, "sA1>B" superseded by B, "rA1:table_full" refused,
 * "=B2>A" session.resumed, "tA1>B" taken over, "xA1:expired", "lB2>A" lost by broker, "bB2>A" left
 * behind, "aB2" adopted, "KA1>B" lost by kill, "fB2>A#3" flapping, "!B2:username_mismatch>A".
 */
const char *rig_story(struct rig *rig);
/** The wall clock. @param arg the rig. */
uint64_t rig_wall(void *arg);
/** The registry: each call is a word in the rig's `registry`. @param arg the rig. */
void rig_registered(void *arg, const struct mqt_digest *digest, mqt_chan_id id);
void rig_unregistered(void *arg, const struct mqt_digest *digest, mqt_chan_id id);

#define T(name)                                                                                    \
	{                                                                                          \
#name, test_##name                                                                 \
	}

#endif
