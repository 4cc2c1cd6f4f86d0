/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <errno.h>

/*
 * Inspection: a copy of a channel's session for a reader. It changes nothing, so it takes no lock.
 *
 * A session that the control lcore holds (retained, or on its way from one channel to the next) is
 * copied at once. One of a living flow belongs to its worker, which is asked; the answer brings the
 * copy. An answer without one may mean that the flow has ended: then its CLOSED came before, and
 * the session is here (R3).
 *
 * An inquiry waits in a queue of its owner. Each owner answers in order, so the answer is to the
 * first of the queue; and since all have the same limit, that is also the first that is due. An
 * answer to one that was given up is dropped like any other late answer.
 *
 * Synchronisation: control lcore only.
 */

struct cm_inquiry {
	TAILQ_ENTRY(cm_inquiry) by_due;
	struct mqt_cm_cmd *cmd;
	uint64_t token;
	uint64_t due_ns; /* control time */
};

void
cm_inspect_init(struct mqt_cm *cm)
{
	cm_pool_init(&cm->inquiries, sizeof(struct cm_inquiry));
}

static void
finish(struct mqt_cm_cmd *cmd, struct mqt_session *session, int result)
{
	uint8_t outcome = cm_command_found(cmd, cmd->chan);

	cm_command_outcome(cmd, outcome, result);
	cmd->session = session;
	cmd->done(cmd);
}

/* Finishes with what the control lcore holds. Returns false where it does not hold the session. */
static bool
finish_here(struct mqt_cm *cm, struct mqt_cm_cmd *cmd, const struct mqt_chan *row)
		MQT_REQUIRES(mqt_role_control)
{
	const struct cm_note *note = cm_note_find(&cm->notes, cmd->chan);
	const struct mqt_session *session = note ? note->session : NULL;
	struct mqt_session *copy;

	if (cm_row_state(row) == MQT_CHAN_RETAINED)
		session = cm_retained_session(cm, row);
	if (!session)
		return false;
	copy = mqt_session_clone(session);
	finish(cmd, copy, copy ? 0 : -ENOMEM);
	return true;
}

/* The inquiry is over. Returns its command. */
static struct mqt_cm_cmd *
inquiry_free(struct mqt_cm *cm, struct cm_owner *owner, struct cm_inquiry *q)
{
	struct mqt_cm_cmd *cmd = q->cmd;

	TAILQ_REMOVE(&owner->inquiries, q, by_due);
	cm_pool_put(&cm->inquiries, q);
	cm->n_inquiries--;
	return cmd;
}

void
cm_inspect_begin(struct mqt_cm *cm, struct mqt_cm_cmd *cmd)
{
	const struct mqt_chan *row = mqt_maps_get(cm->maps, cmd->chan);
	struct mqt_msg msg = { .type = MQT_MSG_INSPECT, .chan = cmd->chan };
	struct cm_inquiry *q;
	struct cm_owner *owner;

	if (!row) {
		cmd->done(cmd);
		return;
	}
	if (finish_here(cm, cmd, row))
		return;
	if (!cm_row_up(row)) {
		finish(cmd, NULL, -ENOENT);
		return;
	}
	q = cm_pool_get(&cm->inquiries);
	if (!q) {
		finish(cmd, NULL, -ENOMEM);
		return;
	}
	owner = &cm->owners[mqt_chan_id_worker(cmd->chan)];
	msg.token = ++cm->next_token;
	q->cmd = cmd;
	q->token = msg.token;
	q->due_ns = cm->ctl_ns + cm->limit_ns;
	TAILQ_INSERT_TAIL(&owner->inquiries, q, by_due);
	cm->n_inquiries++;
	cm_post(cm, &msg);
}

void
cm_inspect_answer(struct mqt_cm *cm, const struct mqt_msg *msg)
{
	struct cm_owner *owner = &cm->owners[mqt_chan_id_worker(msg->chan)];
	struct cm_inquiry *q = TAILQ_FIRST(&owner->inquiries);
	const struct mqt_chan *row;
	struct mqt_cm_cmd *cmd;

	while (q && q->token < msg->token) /* one that was not answered; its time will come */
		q = TAILQ_NEXT(q, by_due);
	if (!q || q->token != msg->token || q->cmd->chan != msg->chan) {
		cm_unasked(cm, msg);
		return;
	}
	cmd = inquiry_free(cm, owner, q);
	row = mqt_maps_get(cm->maps, cmd->chan);
	if (msg->session)
		finish(cmd, msg->session, 0);
	else if (!row || !finish_here(cm, cmd, row))
		finish(cmd, NULL, row && cm_row_up(row) ? 0 : -ENOENT);
}

unsigned
cm_inspect_expire(struct mqt_cm *cm)
{
	unsigned n = 0;

	for (unsigned w = 0; cm->n_inquiries > 0 && w < cm->n_owners; w++) {
		struct cm_owner *owner = &cm->owners[w];
		struct cm_inquiry *q;

		while ((q = TAILQ_FIRST(&owner->inquiries)) && q->due_ns <= cm->ctl_ns) {
			owner->late++;
			finish(inquiry_free(cm, owner, q), NULL, -ETIMEDOUT);
			n++;
		}
	}
	return n;
}

void
cm_inspect_return_all(struct mqt_cm *cm)
{
	for (unsigned w = 0; w < cm->n_owners; w++) {
		struct cm_owner *owner = &cm->owners[w];
		struct cm_inquiry *q;

		while ((q = TAILQ_FIRST(&owner->inquiries)))
			finish(inquiry_free(cm, owner, q), NULL, -EINPROGRESS);
	}
}
