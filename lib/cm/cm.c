/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_common.h>

/*
 * The channel manager: who is connected, and only once. It does for the wire what a broker's
 * channel manager does inside one broker, and it is the only writer of the three maps.
 *
 * Place. It runs on the control lcore, as a function that is called again and again,
 * mqt_cm_turn(). Workers own the connections; they are reached through their mailboxes and, to
 * kill, through the one atomic word of a connection's slot. Nothing here ever waits: whatever
 * takes more than one turn is a small state machine that goes on when its message comes, or when
 * its limit has passed.
 *
 * Protocol, seen from here (the messages are in msg.h):
 *
 *	worker                               channel manager
 *	OPEN(info)           ------------->  lock of the client id; the older channels, if any:
 *	                     <-------------  STEPDOWN(token) to the owner of each
 *	DOWN, STEPDOWN_DONE  ------------->  or no answer in time: killed
 *	                     <-------------  GRANT, when all are down; or REFUSE(info)
 *	GRANTED or RETURN    ------------->  the lock is free, the next one is served
 *	DOWN                 ------------->  out of the live map now, out of the others soon
 *	                     <-------------  RELEASE(info), when no reader can see it any more
 *	CLOSED(session)      ------------->  out of the live map; the channel is a retained session
 *	                     <-------------  RELEASE, at once
 *
 * A session has one owner: the worker of its live flow, a message, or the manager, which holds it
 * in a retained channel or in the note of one that is being taken over (I7). STEPDOWN for a
 * takeover comes in two, begin and end, and brings it here; GRANT takes it to the newcomer.
 *
 * Each OPEN ends in exactly one REFUSE or RELEASE. A worker's messages are one FIFO, so when an
 * answer says that a channel is gone, its DOWN has been applied already (R3).
 *
 * A turn. The number of messages in each ring is read first, and so many are taken, in bursts,
 * ring by ring in rotation: everything posted before that moment is seen in this turn, and nobody
 * can keep the turn from ending. DOWNs and answers are applied as they are read; OPENs are noted,
 * sorted by stamp, and applied when all rings have been read (R2). Then limits, commands, and the
 * locks that anything of this touched. Last comes what may take its time, a slice of it: orphans,
 * sessions that expire, unregistering, what a grace period has freed. At most down_batch messages
 * are taken in a turn that is full of DOWNs, and each ring gets its share of them, so an OPEN waits
 * for at most that.
 *
 * Control time. Limits count the time in which this lcore ran: a gap between two turns of more
 * than 100 ms (the machine was suspended, the lcore was preempted) counts nothing against anyone
 * (R7), for answers may have been lying in the rings all the while.
 *
 * Files: locker.c the client-id locks and what waits in them; open.c from OPEN to being served;
 * contest.c newcomers between whom brokers decide, recent.c who came a moment ago; room.c whether
 * there is room; admit.c to GRANT and its answer; stepdown.c requests, kills; takeover.c begin and
 * end; inherit.c what a newcomer does with the sessions it finds; retained.c sessions without a
 * connection; policy.c and flap.c what keeps a newcomer out; down.c the end of channels; command.c
 * kick, discard and takeover from other threads; inspect.c copies of sessions; orphan.c stalled
 * workers; anomaly.c what flows say that is odd; channel.c one channel in and out of the maps;
 * event.c the ring of events; mailbox.c messages; note.c what is outstanding; query.c and lookup.c
 * all that others may read; ahead.c loading ahead; pool.c memory; run.c turns and sleep.
 *
 * Life-cycle: created before the lcores start, destroyed after they have stopped.
 *
 * Synchronisation: the manager's state belongs to the control lcore. Shared are: the mailboxes
 * (SPSC rings), the slots' words (compare-and-swap), heartbeats (atomics), the maps (RCU), the
 * event ring, the queue of commands (wait-free), counters and gauges (relaxed atomics), and the
 * array of brokers (append-only, release and acquire).
 *
 * Sources: rules R1-R10, invariants I1-I9; the meaning of emqx_cm, EMQX's channel manager.
 */

RTE_LOG_REGISTER(cm_logtype, mqt.cm, NOTICE)

/* --- creation -------------------------------------------------------------------------------- */

/* Buckets of the tables of what is under way: a share of the clients, within reason. */
static uint32_t
n_buckets(uint32_t max_clients)
{
	uint32_t n = RTE_MIN(RTE_MAX(max_clients / 4, 256u), 1u << 20);

	return rte_align32pow2(n);
}

static int
tables_init(struct mqt_cm *cm)
{
	uint32_t max = cm->config->limits.max_clients;

	if (cm_notes_init(&cm->notes, n_buckets(max)) < 0 ||
			cm_locks_init(&cm->locks, n_buckets(max)) < 0 ||
			cm_downs_init(&cm->downs, max) < 0 ||
			cm_flaps_init(&cm->flaps, cm->config) < 0 ||
			cm_recents_init(&cm->recents, max) < 0 || !cm_open_space(cm))
		return -ENOMEM;
	return 0;
}

struct mqt_cm *
mqt_cm_create(const struct mqt_cm_params *params)
{
	const struct mqt_limits *limits = &params->config->limits;
	struct mqt_cm *cm;

	if (params->n_owners == 0 || params->n_owners > MQT_MAX_WORKERS ||
			limits->max_clients == 0 || limits->max_clients > 1u << 31 ||
			limits->down_batch == 0 || limits->down_slice == 0) {
		errno = EINVAL;
		return NULL;
	}
	cm = calloc(1, sizeof(*cm) + params->n_owners * sizeof(cm->owners[0]));
	if (!cm)
		return NULL;
	cm->config = params->config;
	cm->clock = params->clock;
	cm->hash_key = params->hash_key;
	cm->maps = params->maps;
	cm->events = params->events;
	cm->registry = params->registry;
	cm->n_owners = params->n_owners;
	cm->waker = params->waker;
	cm->contest_ns = 1;
	cm->limit_ns = limits->stepdown_local_ms * MQT_NS_PER_MS;
	for (unsigned w = 0; w < params->n_owners; w++) {
		cm->owners[w].o = params->owners[w];
		mqt_mailbox_set_control(cm->owners[w].o.mailbox, params->waker);
		TAILQ_INIT(&cm->owners[w].inquiries);
	}
	cm_inspect_init(cm);
	TAILQ_INIT(&cm->timed);
	TAILQ_INIT(&cm->held);
	TAILQ_INIT(&cm->runnable);
	for (unsigned kind = 0; kind < CM_N_ROOMS; kind++)
		TAILQ_INIT(&cm->for_room[kind]);
	cds_wfcq_init(&cm->cmd_head, &cm->cmd_tail);
	if (tables_init(cm) < 0) {
		mqt_cm_destroy(cm);
		errno = ENOMEM;
		return NULL;
	}
	return cm;
}

/* What a message carries of a session, where nobody takes it. */
static void
drop_session(const struct mqt_msg *msg)
{
	mqt_session_destroy(msg->session);
	free(msg->pendings);
}

/* OPENs and ANOMALYs that nobody has read own their infos. */
static void
drop_unread(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control)
{
	for (unsigned w = 0; w < cm->n_owners; w++) {
		struct mqt_msg msg;

		while (mqt_mailbox_poll_control(cm->owners[w].o.mailbox, &msg, 1) == 1) {
			if (msg.type == MQT_MSG_OPEN || msg.type == MQT_MSG_ANOMALY)
				free(msg.info);
			drop_session(&msg);
		}
	}
}

void
mqt_cm_destroy(struct mqt_cm *cm)
{
	if (!cm)
		return;
	mqt_role_control_assert(); /* nobody else is left */
	drop_unread(cm);
	cm_command_return_all(cm);
	cm_inspect_return_all(cm);
	cm_pool_fini(&cm->inquiries);
	cm_locks_fini(&cm->locks);
	cm_notes_fini(&cm->notes);
	cm_downs_fini(&cm->downs);
	cm_retained_fini(cm);
	cm_flaps_fini(&cm->flaps);
	cm_recents_fini(&cm->recents);
	cds_wfcq_destroy(&cm->cmd_head, &cm->cmd_tail);
	free(cm->opens);
	free(cm);
}

/* --- time -------------------------------------------------------------------------------------- */

void
cm_read_clock(struct mqt_cm *cm)
{
	cm->now_ns = mqt_clock_mono(cm->clock);
	cm->wall_ns = mqt_clock_wall(cm->clock);
}

static void
turn_clock(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control)
{
	uint64_t gap;

	cm_read_clock(cm);
	gap = cm->last_turn_ns ? cm->now_ns - cm->last_turn_ns : 0;
	if (gap <= CM_MAX_GAP_NS) {
		cm->ctl_ns += gap;
		cm_contest_clock(cm, gap);
	}
	cm->last_turn_ns = cm->now_ns;
}

static unsigned
expire(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control)
{
	struct cm_note *note;
	unsigned n = 0;

	while ((note = TAILQ_FIRST(&cm->timed)) && note->due_ns <= cm->ctl_ns) {
		cm_note_untime(cm, note);
		if (note->kind == CM_NOTE_ASKED)
			cm_stepdown_timeout(cm, note);
		else
			cm_open_timeout(cm, note);
		n++;
	}
	return n;
}

/* --- messages ------------------------------------------------------------------------------------ */

void
cm_post(struct mqt_cm *cm, const struct mqt_msg *msg)
{
	mqt_mailbox_queue_worker(cm->owners[mqt_chan_id_worker(msg->chan)].o.mailbox, msg);
}

static void
count_unexpected(struct mqt_cm *cm, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_control)
{
	uint64_t bit = 1ull << (msg->type & 63);
	char chan[MQT_CHAN_STRLEN];

	cm_count(cm, MQT_C_UNEXPECTED_MSG);
	if (cm->unexpected_seen & bit)
		return;
	cm->unexpected_seen |= bit;
	CM_LOG(ERR, "message %u of channel %s is not expected; ignored, counted from now on\n",
			msg->type, mqt_chan_id_format(msg->chan, chan));
}

void
cm_unexpected(struct mqt_cm *cm, const struct mqt_msg *msg)
{
	drop_session(msg);
	count_unexpected(cm, msg);
}

void
cm_unasked(struct mqt_cm *cm, const struct mqt_msg *msg)
{
	struct cm_owner *owner = &cm->owners[mqt_chan_id_worker(msg->chan)];

	drop_session(msg);
	if (owner->late > 0)
		owner->late--;
	else
		count_unexpected(cm, msg);
}

static void
dispatch(struct mqt_cm *cm, unsigned worker, const struct mqt_msg *msg)
		MQT_REQUIRES(mqt_role_control)
{
	/* a worker speaks for its own channels only */
	if (mqt_chan_id_worker(msg->chan) != worker ||
			mqt_chan_id_node(msg->chan) != cm->config->node_id) {
		cm_unexpected(cm, msg);
		return;
	}
	switch (msg->type) {
	case MQT_MSG_OPEN:
		cm_open_read(cm, msg);
		break;
	case MQT_MSG_GRANTED:
	case MQT_MSG_RETURN:
		cm_open_answer(cm, msg);
		break;
	case MQT_MSG_STEPDOWN_DONE:
		cm_stepdown_answer(cm, msg);
		break;
	case MQT_MSG_DOWN:
	case MQT_MSG_CLOSED:
		cm_down(cm, msg);
		break;
	case MQT_MSG_INSPECTED:
		cm_inspect_answer(cm, msg);
		break;
	case MQT_MSG_ANOMALY:
		cm_anomaly(cm, msg);
		break;
	default:
		cm_unexpected(cm, msg);
	}
}

/* What a turn may still read. */
struct quota {
	uint32_t left[MQT_MAX_WORKERS]; /* messages, of those the snapshot saw */
	uint32_t downs;
};

/* Takes one burst from a ring. Returns how many messages. */
static unsigned
read_burst(struct mqt_cm *cm, unsigned worker, struct quota *quota) MQT_REQUIRES(mqt_role_control)
{
	struct mqt_msg msgs[CM_BURST];
	unsigned want = RTE_MIN(quota->left[worker], (uint32_t)CM_BURST);
	unsigned n;

	want = RTE_MIN(want, quota->downs); /* each may be a DOWN */
	if (want == 0 || !cm_open_space(cm))
		return 0;
	n = mqt_mailbox_poll_control(cm->owners[worker].o.mailbox, msgs, want);
	cm_ahead_msgs(cm, msgs, n);
	for (unsigned i = 0; i < n; i++) {
		if (msgs[i].type == MQT_MSG_DOWN || msgs[i].type == MQT_MSG_CLOSED)
			quota->downs--;
		dispatch(cm, worker, &msgs[i]);
	}
	quota->left[worker] -= n;
	return n;
}

static unsigned
read_rings(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control)
{
	struct quota quota = { .downs = cm->config->limits.down_batch };
	unsigned first = (unsigned)(cm->n_turns % cm->n_owners);
	unsigned total = 0, n;

	for (unsigned w = 0; w < cm->n_owners; w++)
		quota.left[w] = mqt_mailbox_pending_control(cm->owners[w].o.mailbox);
	do {
		n = 0;
		for (unsigned i = 0; i < cm->n_owners; i++)
			n += read_burst(cm, (first + i) % cm->n_owners, &quota);
		total += n;
	} while (n > 0);
	return total;
}

/* Shows readers the events, moves on what was queued or did not fit the rings, and wakes its owners. */
static void
flush(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control)
{
	struct mqt_msg none[1];

	mqt_event_ring_publish(cm->events);
	for (unsigned w = 0; w < cm->n_owners; w++) {
		struct mqt_mailbox *mb = cm->owners[w].o.mailbox;

		if (mqt_mailbox_outbox_control(mb) > 0)
			mqt_mailbox_poll_control(mb, none, 0);
		mqt_mailbox_wake_worker(mb);
	}
}

/* --- the turn ------------------------------------------------------------------------------------ */

static void
run_locks(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control)
{
	struct cm_lock *lock;
	unsigned ahead = 0;

	while ((lock = TAILQ_FIRST(&cm->runnable))) {
		if (ahead-- == 0)
			ahead = cm_ahead_locks(cm) - 1;
		TAILQ_REMOVE(&cm->runnable, lock, by_run);
		lock->queued = false;
		cm_lock_run(cm, lock);
	}
}

unsigned
mqt_cm_turn(struct mqt_cm *cm)
{
	uint32_t slice = cm->config->limits.down_slice;
	unsigned work;

	turn_clock(cm);
	cm->n_turns++;
	cm->n_reopened = 0;

	work = read_rings(cm);
	work += expire(cm);
	work += cm_inspect_expire(cm);
	work += cm_orphan_turn(cm);
	work += cm_contest_expire(cm);
	cm_open_apply(cm);
	work += cm_command_poll(cm);
	run_locks(cm);
	flush(cm); /* nobody who was granted waits for the cleanup */

	work += cm_retained_turn(cm);
	work += cm_down_slice(cm);
	/* twice what can come in, so that what waits gets less */
	work += cm_chan_reclaim(cm, 2 * (slice + cm->n_reopened));
	work += cm_room_serve(cm);
	flush(cm);
	if (work > 0)
		cm_count(cm, MQT_C_TURNS);
	return work;
}

bool
mqt_cm_busy(const struct mqt_cm *cm)
{
	struct mqt_maps_sizes sizes;

	mqt_maps_sizes(cm->maps, &sizes);
	return cm->locks.n > 0 || cm->notes.n > 0 || cm_down_pending(cm) || sizes.retired > 0 ||
			cm->n_inquiries > 0 || cm->held_cmd;
}
