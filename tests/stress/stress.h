/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_STRESS_STRESS_H
#define TESTS_STRESS_STRESS_H

#include "mqtrack/cm.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * What the parts of the stress program share; maps_stress.c says what it does.
 */

#define STRESS_NODE      3
#define STRESS_SLOTS     8192 /* and rows: all of them may be in use, never more */
#define STRESS_CLIENTS   6144
#define STRESS_PERMANENT 512 /* the first ones are only ever taken over: never gone (R9) */
#define STRESS_READERS   2
#define STRESS_RETAINED  1024 /* sessions kept, fewer than a storm leaves behind */
#define STRESS_T0_NS     (1000 * MQT_NS_PER_SEC)

/* What each reader has to have done before the writer may stop. */
#define STRESS_MIN_WALKS    20
#define STRESS_MIN_LOOKUPS  50000
#define STRESS_MIN_EVENTS   10000
#define STRESS_MIN_COMMANDS 50
#define STRESS_MIN_SESSIONS 20 /* taken over, and copies */

enum stress_phase {
	STRESS_FILL, /* the permanent clients come, nobody reads yet */
	STRESS_CHURN,
	STRESS_QUIET, /* the owner begins nothing more, connections stay */
	STRESS_DRAIN, /* the owner ends all connections, time runs and ends all sessions */
	STRESS_END,   /* the owner's thread ends */
};

/* --- record.c: infos of which every byte is known -------------------------------------------- */

#define RECORD_MAX 320 /* bytes */

/* Makes the info of a client's channel. Its size. */
size_t record_fill(struct mqt_info *info, const struct mqt_digest *digests, uint32_t client,
		mqt_chan_id chan, uint64_t stamp_ns);
/* The size of an info with its strings. */
size_t record_size(const struct mqt_info *info);
/* What is wrong with an info that should belong to this channel; NULL: nothing. */
const char *record_check(const struct mqt_info *info, const struct mqt_digest *digests,
		mqt_chan_id chan, uint64_t stamp_ns);
/* The same for an event. */
const char *record_check_event(const struct mqt_event *ev);
/* The client that a client id names; UINT32_MAX: none. */
uint32_t record_client(const uint8_t *clientid, size_t len);
/* Writes a client's id. Its length. */
size_t record_clientid(uint32_t client, uint8_t *out);

/* --- session.c: sessions of which everything is known ---------------------------------------- */

/* Makes a client's session, which has begun. */
struct mqt_session *session_make(uint32_t client);
/* A flow goes on with a session, which may be one in which nothing has happened yet. */
void session_begin(struct mqt_session *session, uint32_t client);
/* What a flow leaves in its session when it closes. */
void session_end(struct mqt_session *session, const struct mqt_slot *slot, uint32_t expiry_sec);
/* What is wrong with a session that should be this client's; NULL: nothing. */
const char *session_check(const struct mqt_session *session, uint32_t client, unsigned *n_messages);

/* --- owner.c: a worker that is played ---------------------------------------------------------- */

enum place_state {
	PLACE_FREE,
	PLACE_OPENING, /* OPEN posted */
	PLACE_LIVE,    /* GRANTED posted */
	PLACE_FROZEN,  /* takeover begin answered */
	PLACE_OVER,    /* DOWN or CLOSED posted */
};

/* What the owner knows of a slot. */
struct place {
	struct mqt_info *info;         /* only to be compared with what comes home */
	struct mqt_session *session;   /* LIVE; NULL: nothing has happened yet */
	struct mqt_pendings *pendings; /* FROZEN */
	uint64_t stamp_ns;
	uint32_t client;
	uint32_t expiry_sec;
	uint32_t gen;
	uint8_t state; /* enum place_state */
	bool closed;   /* its session went by CLOSED */
};

struct stress;

struct owner {
	/* owner only */
	struct stress *s;
	struct place places[STRESS_SLOTS];
	uint32_t free[STRESS_SLOTS]; /* FIFO (R1) */
	uint32_t free_head, n_free;
	uint64_t random;
	uint64_t n_storms, n_home, n_refused, n_returned, n_stepdowns, n_bad;
	uint64_t n_kept; /* of those that came home, the ones that left their info as retained */
	/* sessions: where they came from, and where they went */
	uint64_t n_made, n_inherited;
	uint64_t n_closed, n_handed_over, n_given_back, n_dropped;
	uint64_t n_ends; /* of takeovers */
	/* flows in which nothing had happened: taken over, and over before their GRANT came, with an
	 * expiry; and the sessions that came, which the manager had made for such */
	uint64_t n_blank_left, n_blank_back, n_blank_got;
	/* pendings of flows that ended while frozen, and sessions that came without their message */
	uint64_t n_pendings_lost, n_messages_missed;
	/* W: owner; R: control */
	_Atomic uint64_t n_opened;
	_Atomic uint32_t n_live; /* places */
	_Atomic uint32_t n_busy; /* places that wait for the control lcore */
};

void owner_init(struct owner *o, struct stress *s);
/* Reads the mailbox, and does a few things of the phase. Whether there was anything to do. */
bool owner_step(struct owner *o) MQT_REQUIRES(mqt_role_worker);

/* --- reader.c -------------------------------------------------------------------------------------- */

struct reader {
	struct stress *s;
	unsigned index;
	pthread_t thread;
	/* W: reader; R: main, relaxed while it runs */
	_Atomic uint64_t n_walks, n_lookups, n_events, n_commands, n_bad;
	_Atomic bool enough; /* the least that it must do is done */
	_Atomic bool ended;
	uint64_t n_rows, n_hits, n_by_id, n_stats, n_missed, n_sessions,
			n_taken; /* for the report */
};

void *reader_run(void *arg);
/* All channels as a walk finds them; adds to the reader's findings. */
uint64_t reader_walk_all(struct reader *r);

/* --- the whole ------------------------------------------------------------------------------------- */

struct stress {
	/* immutable while threads run */
	struct mqt_config config;
	struct mqt_clock clock;
	struct mqt_hash_key key;
	struct mqt_digest digests[STRESS_CLIENTS];
	struct mqt_maps *maps;
	struct mqt_event_ring *events;
	struct mqt_mailbox *mailbox;
	struct mqt_cm *cm;
	struct mqt_slot *slots;
	uint64_t count; /* channels to be opened at least */
	/* W: main; R: any */
	_Atomic uint32_t phase; /* enum stress_phase */
	_Atomic bool readers_stop;
	_Atomic uint64_t now_ns; /* virtual: it goes on when the manager reads it */

	struct owner owner;
	struct reader readers[STRESS_READERS];
};

/* A number that looks random; the state must not be 0. Source: Marsaglia, xorshift64. */
static inline uint64_t
stress_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x * 0x2545f4914f6cdd1dull;
}

#endif
