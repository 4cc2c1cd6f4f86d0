/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <errno.h>

#include <rte_common.h>

/*
 * Commands: kick and discard, by client id or by channel id, and inspect (inspect.c), from any
 * thread.
 *
 * Life of a command: mqt_cm_submit() puts it on a wait-free queue; the control lcore takes it off
 * in its next turn, finds its client's lock and lines it up there. When it is served, the channels
 * it means are asked to step down; when all have answered or are killed, done() gives it back. Of
 * retained channels the session ends without asking anybody. A
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

void
mqt_cm_submit(struct mqt_cm *cm, struct mqt_cm_cmd *cmd)
{
	cmd->n_channels = 0;
	cmd->n_outcomes = 0;
	cmd->session = NULL;
	cds_wfcq_node_init(&cmd->node);
	mqt_tsan_release(cmd);
	cds_wfcq_enqueue(&cm->cmd_head, &cm->cmd_tail, &cmd->node);
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
finish(struct mqt_cm *cm, struct mqt_cm_cmd *cmd)
{
	if (cmd->n_channels == 0)
		cm_count(cm, MQT_C_KICK_UNKNOWN);
	cmd->done(cmd);
}

/* The client that a command is about. Returns NULL where there is none. */
static const struct mqt_digest *
client_of(struct mqt_cm *cm, const struct mqt_cm_cmd *cmd) MQT_REQUIRES(mqt_role_control)
{
	const struct mqt_chan *row;

	if (cmd->type == MQT_CM_KICK || cmd->type == MQT_CM_DISCARD)
		return &cmd->digest;
	row = mqt_maps_get(cm->maps, cmd->chan);
	return row ? &row->info->digest : NULL;
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

unsigned
cm_command_poll(struct mqt_cm *cm)
{
	struct mqt_cm_cmd *cmd;
	unsigned n = 0;

	while (n < COMMANDS_A_TURN && (cmd = take(cm))) {
		const struct mqt_digest *digest;
		struct cm_lock *lock;

		n++;
		if (cmd->type == MQT_CM_INSPECT_CHAN) {
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

static void
found_but(struct mqt_cm_cmd *cmd, mqt_chan_id chan, int result)
{
	uint8_t outcome = cm_command_found(cmd, chan);

	if (outcome != CM_NO_OUTCOME)
		cm_command_outcome(cmd, outcome, result);
}

void
cm_command_begin(struct mqt_cm *cm, struct cm_lock *lock)
{
	struct mqt_cm_cmd *cmd = cmd_of(lock->cmd_head);
	bool kick = cmd->type == MQT_CM_KICK || cmd->type == MQT_CM_KICK_CHAN;
	bool all = cmd->type == MQT_CM_KICK || cmd->type == MQT_CM_DISCARD;
	enum mqt_stepdown action = kick ? MQT_STEPDOWN_KICK : MQT_STEPDOWN_DISCARD;
	struct mqt_chan *row = mqt_maps_head(cm->maps, &lock->digest);

	lock->cmd_head = lock->cmd_head->next;
	lock->cmd = cmd;
	lock->state = CM_LOCK_COMMAND;
	lock->stepped = row != NULL;
	for (; row; row = cm_row_next(row)) {
		if (!all && row->id != cmd->chan)
			continue;
		if (cm_stepdown_one(cm, lock, row, action) < 0)
			found_but(cmd, row->id, -ENOMEM);
	}
}

void
cm_command_end(struct mqt_cm *cm, struct cm_lock *lock)
{
	struct mqt_cm_cmd *cmd = lock->cmd;

	if (lock->stepped)
		cm_lock_retire(cm, lock);
	lock->cmd = NULL;
	lock->state = CM_LOCK_IDLE;
	finish(cm, cmd);
}
