/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LIB_CM_CM_PRIVATE_H
#define LIB_CM_CM_PRIVATE_H

#include "mqtrack/cm.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <rte_log.h>
#include <urcu/wfcqueue.h>

/*
 * What the files of lib/cm share. Everything here belongs to the control lcore, except what says
 * otherwise. The protocol is told in cm.c, locks in locker.c, openings in open.c.
 */

#define CM_BURST      64 /* messages taken from one ring before the next ring has its turn */
#define CM_MAX_GAP_NS (100 * MQT_NS_PER_MS) /* a longer pause between turns does not count */

extern int cm_logtype;
#define CM_LOG(level, ...) rte_log(RTE_LOG_##level, cm_logtype, "CM: " __VA_ARGS__)

struct cm_lock;

/* --- pool.c: objects of one size ------------------------------------------------------------- */

struct cm_chunk;

struct cm_pool {
	size_t size; /* of an object, a multiple of the pointer size */
	void *free;  /* list through the first word */
	struct cm_chunk *chunks;
};

/* A zeroed array that begins a cache line, for free(); or NULL where there is no memory. */
void *cm_array_create(size_t n, size_t size);

void cm_pool_init(struct cm_pool *pool, size_t size);
void cm_pool_fini(struct cm_pool *pool);
/* Returns a zeroed object, or NULL where there is no memory. */
void *cm_pool_get(struct cm_pool *pool);
void cm_pool_put(struct cm_pool *pool, void *obj);

/* --- command.c ------------------------------------------------------------------------------- */

enum cm_cmd_type {
	CM_CMD_KICK,
	CM_CMD_DISCARD,
	CM_CMD_TAKEOVER,
	CM_CMD_INSPECT,
};

/* --- note.c: what is outstanding about a channel --------------------------------------------- */

enum cm_note_kind {
	CM_NOTE_NONE = 0, /* nothing but, perhaps, await_down */
	CM_NOTE_READ,     /* OPEN read in this turn, not yet applied */
	CM_NOTE_HELD,     /* newcomer in a contest, unknown to its lock yet */
	CM_NOTE_NEWCOMER, /* current or waiting newcomer of its lock, not registered */
	CM_NOTE_GRANTED,  /* registered, GRANT posted, its answer awaited */
	CM_NOTE_ASKED,    /* STEPDOWN posted, its answer awaited */
	CM_NOTE_DEAD,     /* was READ, its DOWN came in the same turn; out of the table */
};

#define CM_NO_OUTCOME UINT8_MAX

enum cm_kill {
	CM_KILL_NONE = 0, /* not tried */
	CM_KILL_HIT,
	CM_KILL_MISSED, /* it had closed by itself; its word is on the way */
};

struct cm_note {
	struct cm_note *next; /* of its bucket */
	mqt_chan_id chan;
	/* newcomer: not registered yet; with await_down: reclaimed, to be released by DOWN */
	struct mqt_info *info;
	/* ASKED for takeover end: handed over by begin; GRANTED: its own, it died before the answer */
	struct mqt_session *session;
	uint64_t stamp_ns;
	uint64_t ended_ns;           /* GRANTED, ASKED: when its flow ended */
	struct cm_lock *lock;        /* NEWCOMER, GRANTED, ASKED */
	uint64_t token;              /* ASKED */
	uint64_t due_ns;             /* control time while timed, contest time while HELD */
	TAILQ_ENTRY(cm_note) by_due; /* in cm->timed while timed, in cm->held while HELD */
	uint8_t kind;                /* enum cm_note_kind */
	uint8_t action;              /* ASKED: enum mqt_stepdown */
	uint8_t outcome;             /* ASKED by a command: index of its outcome */
	uint8_t kill;                /* ASKED, GRANTED: enum cm_kill */
	bool await_down;             /* killed or unregistered: RELEASE waits for its DOWN */
	bool heir;                   /* GRANTED: the GRANT carried a session */
	bool timed;
};

TAILQ_HEAD(cm_note_queue, cm_note);

struct cm_notes {
	struct cm_note **buckets;
	uint32_t mask;
	uint32_t n;
	uint32_t n_await_down; /* of them */
	struct cm_pool pool;
};

/* --- locker.c: client-id locks ----------------------------------------------------------------- */

enum cm_lock_state {
	CM_LOCK_IDLE = 0, /* nobody is being served */
	CM_LOCK_COMMAND,  /* a command's stepdowns are under way */
	CM_LOCK_STEPPING, /* older channels are stepping down for the current newcomer */
	CM_LOCK_ROOM,     /* the current newcomer waits for a row of the maps */
	CM_LOCK_GRANTING, /* the current newcomer is registered, GRANTED or RETURN is awaited */
};

/* What a newcomer waits for in state ROOM. */
enum cm_room_kind {
	CM_ROOM_NEW,  /* one more connection, and one more row */
	CM_ROOM_BACK, /* one more connection; a retained session of the client has a row */
	CM_ROOM_SWAP, /* neither: it takes an older one's place */
	CM_N_ROOMS,
};

struct cm_lock {
	struct cm_lock *next; /* of its bucket */
	struct mqt_digest digest;
	struct cm_note *cur;                       /* newcomer being served; NULL: none, or dead */
	struct cm_note *waiter;                    /* the newest of those that wait */
	struct mqt_cm_cmd *cmd;                    /* being served */
	struct cds_wfcq_node *cmd_head, *cmd_tail; /* commands that wait, in order of arrival */
	TAILQ_ENTRY(cm_lock) by_run;               /* in cm->runnable while queued */
	TAILQ_ENTRY(cm_lock) by_room;              /* in cm->for_room[room] in state ROOM */
	uint64_t epoch;                            /* of the newcomer that is admitted */
	/* of the newcomers of this tenure, fixed when stepping begins */
	mqt_chan_id older; /* newest live predecessor; MQT_CHAN_NONE: none */
	struct mqt_endpoint older_peer;
	mqt_chan_id taken; /* handed over its session for a newcomer of this tenure */
	/* its takeover is answered and waits for the other answers; NULL: none */
	struct cm_note *kept;
	uint32_t n_asks; /* STEPDOWNs that are not settled yet */
	uint8_t state;   /* enum cm_lock_state */
	uint8_t room;    /* enum cm_room_kind */
	bool queued;
	bool stepped;  /* rows of this client stepped down and are left to this lock to remove */
	bool reserved; /* one row of the maps is set aside (cm->reserved) */
};

TAILQ_HEAD(cm_run_queue, cm_lock);
TAILQ_HEAD(cm_room_queue, cm_lock);

struct cm_locks {
	struct cm_lock **buckets;
	uint32_t mask;
	uint32_t n;
	struct cm_pool pool;
};

/* --- down.c: channels that wait to be unregistered -------------------------------------------- */

struct cm_downs {
	mqt_chan_id *ids; /* ring */
	uint32_t mask;
	uint32_t head, tail; /* free running */
};

/* --- retained.c: sessions without a connection -------------------------------------------------- */

struct cm_kept {
	uint64_t due_ns; /* mono: when it expires; UINT64_MAX: never */
	struct mqt_chan *row;
	struct mqt_session *session;
};

struct cm_retained {
	struct cm_kept *heap; /* the next to expire comes first */
	uint32_t size;        /* allocated */
	_Atomic uint32_t n;   /* W: control; R: any */
};

/* --- flap.c ------------------------------------------------------------------------------------- */

struct cm_flap_entry;

struct cm_flaps {
	struct cm_flap_entry *entries; /* NULL: the detector is off */
	struct cm_flap_out *outs;      /* of the entry at the same place */
	uint64_t out_ns;               /* when a broker closed a connection, the last of all */
	uint32_t mask;                 /* of sets */
};

/* --- recent.c ----------------------------------------------------------------------------------- */

struct cm_recent_entry;

struct cm_recents {
	struct cm_recent_entry *entries;
	uint64_t last_ns; /* of them all */
	uint32_t mask;    /* of sets */
};

/* --- inspect.c ---------------------------------------------------------------------------------- */

TAILQ_HEAD(cm_inquiry_queue, cm_inquiry);

/* --- orphan.c ----------------------------------------------------------------------------------- */

enum cm_walk {
	CM_WALK_NONE = 0,
	CM_WALK_ORPHAN, /* the worker is stalled: its channels leave the live map */
	CM_WALK_ADOPT,  /* it runs again: survivors come back */
};

struct cm_owner {
	struct mqt_cm_owner o;             /* immutable */
	uint64_t beat;                     /* last heartbeat seen */
	uint64_t beat_ctl_ns;              /* control time when it was first seen */
	uint64_t late;                     /* answers that may still come to requests given up */
	struct cm_inquiry_queue inquiries; /* in the order of asking: of token and of due_ns */
	uint32_t walk_slot;
	uint8_t walk;         /* enum cm_walk */
	_Atomic bool stalled; /* W: control; R: any */
};

/* --- the manager -------------------------------------------------------------------------------- */

struct mqt_cm {
	/* immutable */
	const struct mqt_config *config;
	const struct mqt_clock *clock;
	const struct mqt_hash_key *hash_key;
	struct mqt_maps *maps;
	struct mqt_event_ring *events;
	const struct mqt_registry *registry;
	unsigned n_owners;
	struct mqt_waker *waker; /* NULL: the control lcore never sleeps */
	uint64_t limit_ns;       /* stepdown_local: the one limit of all awaited answers */

	/* control only */
	uint64_t now_ns, wall_ns;
	uint64_t ctl_ns;     /* control time: mono without the gaps */
	uint64_t contest_ns; /* contest time: while all workers run (contest.c) */
	uint64_t last_turn_ns;
	uint64_t n_turns;
	uint64_t next_token;
	uint64_t removed_epoch; /* the greatest of channels removed */
	uint32_t reserved;   /* rows of the maps set aside for newcomers that wait for stepdowns */
	uint32_t n_reopened; /* channels removed outside the slice in this turn */
	struct cm_notes notes;
	struct cm_locks locks;
	struct cm_note_queue held;  /* newcomers in a contest, in the order of due_ns */
	struct cm_note_queue timed; /* in the order of due_ns, for there is one limit only */
	struct cm_run_queue runnable;
	struct cm_room_queue for_room[CM_N_ROOMS];
	struct cm_downs downs;
	struct cm_retained retained;
	struct cm_flaps flaps;
	struct cm_recents recents;
	struct cm_pool inquiries;
	uint32_t n_inquiries;
	struct cm_note **opens; /* read in this turn; behind them as much room to sort them */
	uint32_t n_opens, max_opens;
	struct mqt_cm_cmd *held_cmd; /* waits for memory for its lock */
	uint64_t unexpected_seen;    /* one bit a message type: logged already */
	bool duplicate_seen, stale_seen, brokers_full;

	/* shared */
	struct mqt_control_counters counters; /* W: control; R: any */
	_Atomic uint64_t max_channels;        /* W: control; R: any */
	_Atomic uint64_t max_connections;     /* W: control; R: any */
	_Atomic uint64_t max_live;            /* W: control; R: any */
	/* Brokers that assigned a client id. W: control, entry first, then the count (release);
	 * R: any, the count first (acquire). Entries never change. */
	struct mqt_endpoint brokers[MQT_MAX_BROKERS];
	_Atomic uint32_t n_brokers;
	/* Commands. W: any thread enqueues; only the control lcore dequeues. */
	struct cds_wfcq_head cmd_head;
	struct cds_wfcq_tail cmd_tail;

	struct cm_owner owners[];
};

static inline void
cm_count(struct mqt_cm *cm, enum mqt_control_counter c)
{
	mqt_counter_add(&cm->counters.v[c], 1);
}

/* The order of newcomers (I2): by stamp, and by channel id where two stamps are equal. */
static inline bool
cm_older(uint64_t a_stamp, mqt_chan_id a, uint64_t b_stamp, mqt_chan_id b)
{
	return a_stamp < b_stamp || (a_stamp == b_stamp && a < b);
}

static inline uint32_t
cm_row_state(const struct mqt_chan *row)
{
	/* the control lcore wrote it itself */
	return atomic_load_explicit(&row->state, memory_order_relaxed);
}

/* Whether it is registered and neither retained nor on its way out. */
static inline bool
cm_row_up(const struct mqt_chan *row)
{
	uint32_t state = cm_row_state(row);

	return state == MQT_CHAN_CONNECTED || state == MQT_CHAN_ORPHANED;
}

static inline struct mqt_chan *
cm_row_next(const struct mqt_chan *row)
{
	return mqt_chan_next(row);
}

/* cm.c */
void cm_read_clock(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control);
void cm_post(struct mqt_cm *cm, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_control);
/* Counts a message that nothing waits for. What it carries of a session is dropped. */
void cm_unexpected(struct mqt_cm *cm, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_control);
/* The same for an answer; it may be one to a request that was given up. */
void cm_unasked(struct mqt_cm *cm, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_control);

/* note.c */
int cm_notes_init(struct cm_notes *notes, uint32_t n_buckets);
void cm_notes_fini(struct cm_notes *notes);
struct cm_note *cm_note_find(const struct cm_notes *notes, mqt_chan_id chan);
/* The note of a channel, made where there is none. NULL: no memory. */
struct cm_note *cm_note_make(struct cm_notes *notes, mqt_chan_id chan);
/* Takes a note out of the table; its memory stays the caller's until cm_note_free(). */
void cm_note_unlink(struct cm_notes *notes, struct cm_note *note);
void cm_note_free(struct cm_notes *notes, struct cm_note *note);
/* Loads ahead what cm_note_find() will read: the bucket, or the note that is first there. */
void cm_note_ahead(const struct cm_notes *notes, mqt_chan_id chan, bool first);
/* Drops a note that no longer says anything; others stay. */
void cm_note_drop(struct mqt_cm *cm, struct cm_note *note);
/* RELEASE waits for its DOWN from now on; and no more. */
void cm_note_await_down(struct mqt_cm *cm, struct cm_note *note);
void cm_note_had_down(struct mqt_cm *cm, struct cm_note *note);
/* Starts, or ends, the wait for an answer. */
void cm_note_time(struct mqt_cm *cm, struct cm_note *note);
void cm_note_untime(struct mqt_cm *cm, struct cm_note *note);

/* channel.c: registering and what is said about it */
/* The epoch of a client's next channel. */
uint64_t cm_chan_epoch(const struct mqt_cm *cm, const struct mqt_digest *digest)
		MQT_REQUIRES(mqt_role_control);
struct mqt_chan *cm_chan_insert(struct mqt_cm *cm, mqt_chan_id id, struct mqt_info *info,
		uint64_t stamp_ns, uint64_t epoch) MQT_REQUIRES(mqt_role_control);
/* Takes the channel out of the live map and says so. */
void cm_chan_down(struct mqt_cm *cm, struct mqt_chan *row, enum mqt_reason reason)
		MQT_REQUIRES(mqt_role_control);
/* Sets the state of a channel that is not live. */
void cm_chan_set_state(struct mqt_chan *row, enum mqt_chan_state state);
/* Removes a row that is down already. */
void cm_chan_remove(struct mqt_cm *cm, struct mqt_chan *row) MQT_REQUIRES(mqt_role_control);
void cm_chan_release(struct mqt_cm *cm, mqt_chan_id id, struct mqt_info *info)
		MQT_REQUIRES(mqt_role_control);
unsigned cm_chan_reclaim(struct mqt_cm *cm, unsigned budget) MQT_REQUIRES(mqt_role_control);

/* Whether there is a slot for the id here, of whatever generation. */
bool cm_chan_has_slot(const struct mqt_cm *cm, mqt_chan_id id);
/* Traffic from the channel's slot. Returns 0, or -ENOENT where that is another's. */
int cm_chan_traffic(const struct mqt_cm *cm, mqt_chan_id id, uint64_t out[MQT_SLOT_N_COUNTERS],
		uint64_t *seen_ns);
/* Keeps how the channel's connection ended. */
void cm_chan_set_end(struct mqt_cm *cm, const struct mqt_chan *row, uint64_t end_ns,
		const uint64_t counter[MQT_SLOT_N_COUNTERS]) MQT_REQUIRES(mqt_role_control);

struct cm_other {
	mqt_chan_id chan;
	const struct mqt_info *info;     /* which tells its peer; NULL: */
	const struct mqt_endpoint *peer; /* its peer; NULL: unknown */
};

/* Another channel, as events name it. */
struct cm_other cm_other_of(const struct mqt_chan *row);

void cm_announce(struct mqt_cm *cm, enum mqt_event_type type, enum mqt_reason reason,
		mqt_chan_id chan, const struct mqt_info *info, uint64_t epoch,
		const struct cm_other *other) MQT_REQUIRES(mqt_role_control);
/* The same with a count. */
void cm_announce_count(struct mqt_cm *cm, enum mqt_event_type type, mqt_chan_id chan,
		const struct mqt_info *info, uint64_t epoch, const struct cm_other *other,
		uint32_t count) MQT_REQUIRES(mqt_role_control);

/* locker.c */
int cm_locks_init(struct cm_locks *locks, uint32_t n_buckets);
void cm_locks_fini(struct cm_locks *locks);
/* The lock of a client, made where nobody holds or awaits it. NULL: no memory. */
struct cm_lock *cm_lock_get(struct mqt_cm *cm, const struct mqt_digest *digest);
/* The same, NULL where there is none. */
struct cm_lock *cm_lock_find(struct mqt_cm *cm, const struct mqt_digest *digest);
/* Loads ahead what the two will read. */
void cm_lock_ahead(const struct cm_locks *locks, const struct mqt_digest *digest);
/* Has the lock looked at when all messages of this turn have been applied. */
void cm_lock_queue(struct mqt_cm *cm, struct cm_lock *lock);
/* Serves a lock as far as it goes. */
void cm_lock_run(struct mqt_cm *cm, struct cm_lock *lock) MQT_REQUIRES(mqt_role_control);
/* Removes the rows of a client that have stepped down. */
void cm_lock_retire(struct mqt_cm *cm, struct cm_lock *lock) MQT_REQUIRES(mqt_role_control);

/* open.c */
/* Counts a client id that has more than one live channel. */
void cm_open_stale(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control);
/* The newcomer is one no more; its info is somebody else's. */
void cm_open_gone(struct mqt_cm *cm, struct cm_note *note);
/* The lock's newcomer is no more; whoever waits is next. */
void cm_open_over(struct mqt_cm *cm, struct cm_lock *lock);
/* Refuses the newcomer being served. @p other may be NULL. */
void cm_open_refuse(struct mqt_cm *cm, struct cm_lock *lock, enum mqt_reason reason,
		const struct cm_other *other) MQT_REQUIRES(mqt_role_control);
/* Refuses a newcomer for a newer one. */
void cm_open_supersede(struct mqt_cm *cm, struct cm_note *note, mqt_chan_id by,
		const struct mqt_info *by_info) MQT_REQUIRES(mqt_role_control);
void cm_open_read(struct mqt_cm *cm, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_control);
bool cm_open_space(struct mqt_cm *cm);
/* A newcomer comes to its lock. */
void cm_open_enter(struct mqt_cm *cm, struct cm_note *note) MQT_REQUIRES(mqt_role_control);
void cm_open_apply(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control);
void cm_open_answer(struct mqt_cm *cm, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_control);
void cm_open_died(struct mqt_cm *cm, struct cm_note *note) MQT_REQUIRES(mqt_role_control);
void cm_open_timeout(struct mqt_cm *cm, struct cm_note *note) MQT_REQUIRES(mqt_role_control);
/* Each moves a lock one step on; called by cm_lock_run() in the state that the name says. */
void cm_open_begin(struct mqt_cm *cm, struct cm_lock *lock) MQT_REQUIRES(mqt_role_control);
void cm_open_stepped(struct mqt_cm *cm, struct cm_lock *lock) MQT_REQUIRES(mqt_role_control);
/* Returns false where there is no room yet. */
bool cm_open_room(struct mqt_cm *cm, struct cm_lock *lock) MQT_REQUIRES(mqt_role_control);

/* room.c */
enum cm_room {
	CM_ROOM_YES,
	CM_ROOM_SOON, /* something is on its way out */
	CM_ROOM_NO,
};

/* What a newcomer needs, with the older channels from @p head on, which may be NULL. */
enum cm_room_kind cm_room_kind(const struct mqt_chan *head);
/* Whether there is room; a retained session may have to make some. */
enum cm_room cm_room_for(struct mqt_cm *cm, enum cm_room_kind kind) MQT_REQUIRES(mqt_role_control);
void cm_room_wait(struct mqt_cm *cm, struct cm_lock *lock, enum cm_room_kind kind);
/* Serves those that wait for room, in order, while there is some. */
unsigned cm_room_serve(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control);

/* contest.c */
/* So much control time has passed. */
void cm_contest_clock(struct mqt_cm *cm, uint64_t gap_ns) MQT_REQUIRES(mqt_role_control);
/* Holds a newcomer that came close behind another one. */
bool cm_contest_hold(struct mqt_cm *cm, struct cm_note *note) MQT_REQUIRES(mqt_role_control);
/* A held newcomer is gone. */
void cm_contest_died(struct mqt_cm *cm, struct cm_note *note);
/* A connection, admitted or not, was left by its client. */
void cm_contest_left(struct mqt_cm *cm, const struct mqt_info *info, mqt_chan_id chan)
		MQT_REQUIRES(mqt_role_control);
/* Lets those in that have been held long enough. */
unsigned cm_contest_expire(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control);

/* recent.c */
int cm_recents_init(struct cm_recents *recents, uint32_t max_clients);
void cm_recents_fini(struct cm_recents *recents);
/* A newcomer has come. Returns whether another one of its client id did so less than @p window_ns
 * ago. */
bool cm_recent_came(struct cm_recents *recents, const struct mqt_digest *digest, mqt_chan_id chan,
		uint64_t now_ns, uint64_t window_ns);
/* Loads ahead what these will read. */
void cm_recent_ahead(const struct cm_recents *recents, const struct mqt_digest *digest);
/* Its client has left: forgotten, if it was the only one of its moment. */
void cm_recent_left(struct cm_recents *recents, const struct mqt_digest *digest, mqt_chan_id chan);

/* ahead.c: loading ahead, for a burst; at most as many as stay in the nearest cache */
/* What messages touch as they are read. */
void cm_ahead_msgs(struct mqt_cm *cm, const struct mqt_msg *msgs, unsigned n)
		MQT_REQUIRES(mqt_role_control);
/* What newcomers touch as they come to their locks. */
void cm_ahead_opens(struct mqt_cm *cm, struct cm_note *const *notes, unsigned n)
		MQT_REQUIRES(mqt_role_control);
/* What the next locks that wait to run touch then. Returns how many they are: not 0. */
unsigned cm_ahead_locks(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control);
/* What channels touch as they are removed. */
void cm_ahead_removals(struct mqt_cm *cm, const mqt_chan_id *ids, unsigned n)
		MQT_REQUIRES(mqt_role_control);

/* stepdown.c */
/* Asks all channels of the list that live, the newest by @p newest, the others to discard. Returns
 * how many it found, or -ENOMEM with nobody asked. */
int cm_stepdown_all(struct mqt_cm *cm, struct cm_lock *lock, struct mqt_chan *head,
		enum mqt_stepdown newest) MQT_REQUIRES(mqt_role_control);
/* A living channel is asked, a retained session ends, or is taken, at once. Returns 1 where it was
 * asked, 0 where not, or -ENOMEM. */
int cm_stepdown_one(struct mqt_cm *cm, struct cm_lock *lock, struct mqt_chan *row,
		enum mqt_stepdown action) MQT_REQUIRES(mqt_role_control);
void cm_stepdown_answer(struct mqt_cm *cm, const struct mqt_msg *msg)
		MQT_REQUIRES(mqt_role_control);
void cm_stepdown_timeout(struct mqt_cm *cm, struct cm_note *note) MQT_REQUIRES(mqt_role_control);
/* Kills the channel of a note, if that lives and was not killed before. Returns true where the kill
 * missed: it has closed by itself, and the word of that is on its way. */
bool cm_stepdown_kill(struct mqt_cm *cm, struct cm_note *note, const struct mqt_chan *row)
		MQT_REQUIRES(mqt_role_control);
/* Takes a channel down for which a kill was tried. Returns the result to be told. */
int cm_stepdown_force(struct mqt_cm *cm, struct cm_note *note, struct mqt_chan *row)
		MQT_REQUIRES(mqt_role_control);
/* For whom the older channels of a lock step down. */
struct cm_other cm_stepdown_for(const struct cm_lock *lock);
/* Says for whom the channel went. */
void cm_stepdown_announce(struct mqt_cm *cm, const struct cm_lock *lock, enum mqt_stepdown action,
		const struct mqt_chan *row) MQT_REQUIRES(mqt_role_control);

/* anomaly.c */
/* A worker tells what a flow has said. */
void cm_anomaly(struct mqt_cm *cm, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_control);

/* takeover.c */
/* A step of a takeover has come to its end, or to nothing. @p row may be NULL. Returns the result
 * to be told. */
int cm_takeover_over(struct mqt_cm *cm, struct cm_note *note, struct mqt_chan *row)
		MQT_REQUIRES(mqt_role_control);
/* Whether a channel may have a session to hand over. */
bool cm_takeover_can(const struct mqt_cm *cm, const struct mqt_chan *row);
/* Hands the session of a retained channel to the command being served. */
void cm_takeover_retained(struct mqt_cm *cm, struct cm_lock *lock, struct mqt_chan *row)
		MQT_REQUIRES(mqt_role_control);

/* inherit.c: what becomes of a client's sessions when a newcomer is admitted */
struct cm_estate {
	struct mqt_session *session; /* NULL: there is none to inherit */
	struct mqt_chan *row;        /* whose it was; perhaps removed, not yet reclaimed */
	uint64_t due_ns;             /* when it would have expired */
};

/* Whether a newcomer goes on with the session of an older channel. */
bool cm_inherits(const struct mqt_info *newcomer, const struct mqt_info *older);
/* Takes what the newcomer inherits, and drops what has no future. */
void cm_inherit(struct mqt_cm *cm, struct cm_lock *lock, struct cm_estate *estate)
		MQT_REQUIRES(mqt_role_control);
/* The newcomer could not be registered after all. */
void cm_inherit_undo(struct mqt_cm *cm, struct cm_estate *estate) MQT_REQUIRES(mqt_role_control);
/* Says what the newcomer's session is. */
void cm_inherit_announce(struct mqt_cm *cm, const struct cm_lock *lock,
		const struct cm_estate *estate) MQT_REQUIRES(mqt_role_control);

/* retained.c */
void cm_retained_fini(struct mqt_cm *cm);
/* How long the session of a connection outlives it, in seconds; UINT32_MAX: for ever. */
uint32_t cm_expiry_sec(const struct mqt_cm *cm, const struct mqt_info *info);
/* Keeps the session of a channel whose connection ended at @p end_ns, as long as its end, which is
 * set, says. Its slot goes home. Returns false, with the session destroyed, where there is no
 * memory. */
bool cm_retain(struct mqt_cm *cm, struct mqt_chan *row, struct mqt_session *session,
		uint64_t end_ns) MQT_REQUIRES(mqt_role_control);
/* Keeps one that was taken out of its channel again. */
void cm_retain_again(struct mqt_cm *cm, struct mqt_chan *row, struct mqt_session *session,
		uint64_t due_ns) MQT_REQUIRES(mqt_role_control);
/* The session of a retained channel; it stays there. */
struct mqt_session *cm_retained_session(const struct mqt_cm *cm, const struct mqt_chan *row);
uint64_t cm_retained_due(const struct mqt_cm *cm, const struct mqt_chan *row);
/* Takes the session out of a retained channel, whose row is merely disconnected then. */
struct mqt_session *cm_retained_take(struct mqt_cm *cm, struct mqt_chan *row)
		MQT_REQUIRES(mqt_role_control);
/* The same, and destroys the session as discarded. */
void cm_retained_discard(struct mqt_cm *cm, struct mqt_chan *row) MQT_REQUIRES(mqt_role_control);
/* The same, and says that it has expired. */
void cm_retained_expire(struct mqt_cm *cm, struct mqt_chan *row, enum mqt_reason reason)
		MQT_REQUIRES(mqt_role_control);
/* The channel whose session is the next to expire leaves now; the caller removes its row. NULL:
 * there is none. */
struct mqt_chan *cm_retained_evict(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control);
/* A slice of what has expired, and what is beyond the limit. */
unsigned cm_retained_turn(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control);
/* Destroys a session that ends without its client asking for it. Accepts NULL. */
void cm_session_discard(struct mqt_cm *cm, struct mqt_session *session)
		MQT_REQUIRES(mqt_role_control);

/* policy.c */
/* Whether the settings keep a newcomer out. Returns the reason, or MQT_REASON_NONE. */
enum mqt_reason cm_policy(struct mqt_cm *cm, const struct cm_lock *lock,
		const struct mqt_info *info, struct cm_other *other) MQT_REQUIRES(mqt_role_control);

/* flap.c */
int cm_flaps_init(struct cm_flaps *flaps, const struct mqt_config *config);
void cm_flaps_fini(struct cm_flaps *flaps);
/* A newcomer is granted; perhaps it takes another's place. */
void cm_flap_opened(struct mqt_cm *cm, const struct cm_lock *lock) MQT_REQUIRES(mqt_role_control);
/* Loads ahead what these will read. */
void cm_flap_ahead(const struct cm_flaps *flaps, const struct mqt_digest *digest);
/* A channel has been closed by its broker; perhaps for a newcomer. */
void cm_flap_closed(struct mqt_cm *cm, const struct mqt_chan *row) MQT_REQUIRES(mqt_role_control);
/* Whether the client is held down now. */
bool cm_flap_held(const struct mqt_cm *cm, const struct mqt_digest *digest);

/* inspect.c */
void cm_inspect_init(struct mqt_cm *cm);
void cm_inspect_begin(struct mqt_cm *cm, struct mqt_cm_cmd *cmd) MQT_REQUIRES(mqt_role_control);
void cm_inspect_answer(struct mqt_cm *cm, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_control);
unsigned cm_inspect_expire(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control);
void cm_inspect_return_all(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control);

/* down.c */
int cm_downs_init(struct cm_downs *downs, uint32_t n);
void cm_downs_fini(struct cm_downs *downs);
/* DOWN and CLOSED. */
void cm_down(struct mqt_cm *cm, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_control);
/* Has a row that is down removed in its turn. */
void cm_down_push(struct mqt_cm *cm, mqt_chan_id id) MQT_REQUIRES(mqt_role_control);
unsigned cm_down_slice(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control);
bool cm_down_pending(const struct mqt_cm *cm);

/* command.c */
/* Whether a command waits to be taken. */
bool cm_command_waits(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control);
unsigned cm_command_poll(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control);
void cm_command_begin(struct mqt_cm *cm, struct cm_lock *lock) MQT_REQUIRES(mqt_role_control);
void cm_command_end(struct mqt_cm *cm, struct cm_lock *lock) MQT_REQUIRES(mqt_role_control);
/* Gives back all commands that are not done, as they are: the manager goes. */
void cm_command_return_all(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control);
/* Has a command remember a channel. Returns the index of its outcome, or CM_NO_OUTCOME. */
uint8_t cm_command_found(struct mqt_cm_cmd *cmd, mqt_chan_id chan);
/** The reason code of a kick. */
uint8_t cm_command_code(const struct mqt_cm_cmd *cmd);
void cm_command_outcome(struct mqt_cm_cmd *cmd, uint8_t outcome, int result);

/* orphan.c */
unsigned cm_orphan_turn(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control);
/** Whether a worker has not run for a while, though it may be too early to call it stalled. */
bool cm_worker_rests(const struct mqt_cm *cm, unsigned worker) MQT_REQUIRES(mqt_role_control);
/** A channel of a worker that does not answer is not live, until it does again. */
void cm_orphan_if_stalled(struct mqt_cm *cm, mqt_chan_id id) MQT_REQUIRES(mqt_role_control);

/* lookup.c */
void cm_broker_seen(struct mqt_cm *cm, const struct mqt_endpoint *broker)
		MQT_REQUIRES(mqt_role_control);

/* query.c */
void cm_gauges_update(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control);

#endif
