/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"
#include "mqtrack/mqtt.h"

#include <errno.h>

#include <rte_common.h>

/*
 * Commands: kick, discard and takeover, by client id or by channel id, and inspect (inspect.c), from
 * any thread.
 *
 * Life of a command: mqt_cm_kick() and the others put it on a wait-free queue; the control lcore
 * takes it off in its next turn, finds its client's lock and lines it up there. When it is served,
 * the channels it means are asked to step down; when all have answered or are killed, done() gives
 * it back. Of retained channels the session ends without asking anybody. A takeover takes the
 * session of the newest channel (takeover.c); older ones that live are stale, and are discarded. A
 * command that means nobody is no error: it is done at once with no channels.
 *
 * A command by channel id takes the lock of that channel's client, like any other; when the
 * channel has gone by the time it is served, it finds nobody.
 *
 * Synchronisation: liburcu's wait-free concurrent queue: any number of threads enqueue, only the
 * control lcore dequeues, so it needs no lock (wfcqueue.h, "__cds_wfcq_dequeue_nonblocking").
 * An enqueue half done makes the queue look busy; the rest is taken in the next turn. That what the
 * submitter wrote is seen by the control lcore is the queue's doing, which ThreadSanitizer is told,
 * for it cannot see it.
 */

#define COMMANDS_A_TURN 1024

static struct mqt_cm_cmd *
cmd_of(struct cds_wfcq_node *node)
{
	return (struct mqt_cm_cmd *)((char *)node - offsetof(struct mqt_cm_cmd, node));
}

static void
submit(struct mqt_cm *cm, struct mqt_cm_cmd *cmd, enum cm_cmd_type type)
{
	cmd->type = (uint8_t)type;
	cmd->session = NULL;
	cmd->taken = MQT_CHAN_NONE;
	cmd->n_channels = 0;
	cmd->n_outcomes = 0;
	cds_wfcq_node_init(&cmd->node);
	mqt_tsan_release(cmd);
	cds_wfcq_enqueue(&cm->cmd_head, &cm->cmd_tail, &cmd->node);
	mqt_waker_wake(cm->waker);
}

void
mqt_cm_kick(struct mqt_cm *cm, struct mqt_cm_cmd *cmd)
{
	submit(cm, cmd, CM_CMD_KICK);
}

void
mqt_cm_discard(struct mqt_cm *cm, struct mqt_cm_cmd *cmd)
{
	submit(cm, cmd, CM_CMD_DISCARD);
}

void
mqt_cm_takeover(struct mqt_cm *cm, struct mqt_cm_cmd *cmd)
{
	submit(cm, cmd, CM_CMD_TAKEOVER);
}

void
mqt_cm_inspect(struct mqt_cm *cm, struct mqt_cm_cmd *cmd)
{
	submit(cm, cmd, CM_CMD_INSPECT);
}

static struct mqt_cm_cmd *
take(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control)
{
	struct mqt_cm_cmd *cmd = cm->held_cmd;
	struct cds_wfcq_node *node;

	cm->held_cmd = NULL;
	if (cmd)
		return cmd;
	node = __cds_wfcq_dequeue_nonblocking(&cm->cmd_head, &cm->cmd_tail);
	if (!node || node == CDS_WFCQ_WOULDBLOCK)
		return NULL;
	cmd = cmd_of(node);
	mqt_tsan_acquire(cmd);
	return cmd;
}

static void
finish(struct mqt_cm *cm, struct mqt_cm_cmd *cmd) MQT_REQUIRES(mqt_role_control)
{
	if (cmd->n_channels == 0)
		cm_count(cm, MQT_C_KICK_UNKNOWN);
	mqt_event_ring_publish(
			cm->events); /* whoever is told that it is done finds what came of it */
	cmd->done(cmd);
}

/* The client that a command is about. Returns NULL where there is none. */
static const struct mqt_digest *
client_of(struct mqt_cm *cm, const struct mqt_cm_cmd *cmd) MQT_REQUIRES(mqt_role_control)
{
	const struct mqt_chan *row;

	if (cmd->chan == MQT_CHAN_NONE)
		return &cmd->digest;
	row = mqt_maps_get(cm->maps, cmd->chan);
	return row ? &mqt_chan_info(row)->digest : NULL;
}

static void
line_up(struct cm_lock *lock, struct mqt_cm_cmd *cmd)
{
	cmd->node.next = NULL;
	if (lock->cmd_head)
		lock->cmd_tail->next = &cmd->node;
	else
		lock->cmd_head = &cmd->node;
	lock->cmd_tail = &cmd->node;
}

bool
cm_command_waits(struct mqt_cm *cm)
{
	return !cds_wfcq_empty(&cm->cmd_head, &cm->cmd_tail);
}

unsigned
cm_command_poll(struct mqt_cm *cm)
{
	struct mqt_cm_cmd *cmd;
	unsigned n = 0;

	while (n < COMMANDS_A_TURN && (cmd = take(cm))) {
		const struct mqt_digest *digest;
		struct cm_lock *lock;

		n++;
		if (cmd->type == CM_CMD_INSPECT) {
			cm_inspect_begin(cm, cmd);
			continue;
		}
		digest = client_of(cm, cmd);
		if (!digest) {
			finish(cm, cmd);
			continue;
		}
		lock = cm_lock_get(cm, digest);
		if (!lock) { /* no memory: it is tried again in the next turn */
			cm->held_cmd = cmd;
			break;
		}
		line_up(lock, cmd);
		cm_lock_queue(cm, lock);
	}
	return n;
}

/* Gives back what is lined up at a lock. */
static void
return_lined_up(struct cm_lock *lock)
{
	if (lock->cmd)
		lock->cmd->done(lock->cmd);
	while (lock->cmd_head) {
		struct mqt_cm_cmd *cmd = cmd_of(lock->cmd_head);

		lock->cmd_head = lock->cmd_head->next; /* before done(), which may free it */
		cmd->done(cmd);
	}
}

void
cm_command_return_all(struct mqt_cm *cm)
{
	struct mqt_cm_cmd *cmd;

	for (uint64_t i = 0; cm->locks.buckets && i <= cm->locks.mask; i++) {
		for (struct cm_lock *lock = cm->locks.buckets[i]; lock; lock = lock->next)
			return_lined_up(lock);
	}
	while ((cmd = take(cm)))
		cmd->done(cmd);
}

/* --- being served ------------------------------------------------------------------------------- */

uint8_t
cm_command_found(struct mqt_cm_cmd *cmd, mqt_chan_id chan)
{
	unsigned i = cmd->n_channels++;

	if (i >= MQT_CM_MAX_OUTCOMES)
		return CM_NO_OUTCOME;
	cmd->outcomes[i] = (struct mqt_cm_outcome){ .chan = chan, .result = -EINPROGRESS };
	cmd->n_outcomes = i + 1;
	return (uint8_t)i;
}

void
cm_command_outcome(struct mqt_cm_cmd *cmd, uint8_t outcome, int result)
{
	cmd->outcomes[outcome].result = result;
}

uint8_t
cm_command_code(const struct mqt_cm_cmd *cmd)
{
	return cmd->has_code ? cmd->code : MQT_MQTT_RC_ADMINISTRATIVE;
}

static void
found_but(struct mqt_cm_cmd *cmd, mqt_chan_id chan, int result)
{
	uint8_t outcome = cm_command_found(cmd, chan);

	if (outcome != CM_NO_OUTCOME)
		cm_command_outcome(cmd, outcome, result);
}

static bool
means(const struct mqt_cm_cmd *cmd, const struct mqt_chan *row)
{
	return cmd->chan == MQT_CHAN_NONE || row->id == cmd->chan;
}

static void
step_down(struct mqt_cm *cm, struct cm_lock *lock, struct mqt_chan *row, enum mqt_stepdown action)
		MQT_REQUIRES(mqt_role_control)
{
	if (cm_stepdown_one(cm, lock, row, action) < 0)
		found_but(lock->cmd, row->id, -ENOMEM);
}

static void
take_over(struct mqt_cm *cm, struct cm_lock *lock, struct mqt_chan *head)
		MQT_REQUIRES(mqt_role_control)
{
	struct mqt_chan *newest = NULL;
	unsigned n_stale = 0;

	for (struct mqt_chan *row = head; row; row = cm_row_next(row)) {
		if (means(lock->cmd, row) && cm_takeover_can(cm, row))
			newest = row;
	}
	for (struct mqt_chan *row = head; row && row != newest; row = cm_row_next(row)) {
		if (!means(lock->cmd, row) || !cm_row_up(row))
			continue;
		step_down(cm, lock, row, MQT_STEPDOWN_DISCARD);
		n_stale++;
	}
	if (n_stale > 0)
		cm_open_stale(cm);
	if (newest)
		step_down(cm, lock, newest, MQT_STEPDOWN_TAKEOVER_BEGIN);
}

void
cm_command_begin(struct mqt_cm *cm, struct cm_lock *lock)
{
	struct mqt_cm_cmd *cmd = cmd_of(lock->cmd_head);
	enum mqt_stepdown action =
			cmd->type == CM_CMD_KICK ? MQT_STEPDOWN_KICK : MQT_STEPDOWN_DISCARD;
	struct mqt_chan *row = mqt_maps_head(cm->maps, &lock->digest);

	lock->cmd_head = lock->cmd_head->next;
	lock->cmd = cmd;
	lock->state = CM_LOCK_COMMAND;
	lock->stepped = row != NULL;
	if (cmd->type == CM_CMD_TAKEOVER) {
		take_over(cm, lock, row);
		return;
	}
	for (; row; row = cm_row_next(row)) {
		if (means(cmd, row))
			step_down(cm, lock, row, action);
	}
}

void
cm_command_end(struct mqt_cm *cm, struct cm_lock *lock)
{
	struct mqt_cm_cmd *cmd = lock->cmd;

	if (lock->stepped && !lock->waiter) /* else behind the newcomer, who is next (R9) */
		cm_lock_retire(cm, lock);
	lock->cmd = NULL;
	lock->state = CM_LOCK_IDLE;
	finish(cm, cmd);
}
