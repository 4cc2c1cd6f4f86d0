/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The worker's side of the mailbox, and the end of a channel.
 *
 * A channel exists for the control lcore from OPEN until REFUSE or RELEASE (CONN_CHANNEL). Its
 * slot word leaves LIVE exactly once: to CLOSED by channel_down(), or to KILLED by the control
 * lcore; the loser of that exchange learns it there. DOWN is posted once for each OPEN, whoever
 * won, unless REFUSE came before. Crossing messages are those of msg.h.
 *
 * Synchronisation: the worker's own, but for the slot word.
 * Sources: DESIGN.md R1, R3, R4, R5; msg.h.
 */
#include "conn_private.h"

#include <errno.h>
#include <stdlib.h>

#define MSG_BURST 64

void
channel_post(struct mqt_conns *cs, struct conn *c, enum mqt_msg_type type, enum mqt_reason reason)
{
	struct mqt_msg msg = {
		.type = (uint8_t)type,
		.reason = (uint8_t)reason,
		.chan = conn_chan(cs, c),
		.stamp_ns = cs->now_ns,
	};

	mqt_mailbox_post_control(cs->mailbox, &msg);
}

bool
channel_down(struct mqt_conns *cs, struct conn *c, enum mqt_reason reason)
{
	bool alive;

	if (!(c->flags & CONN_CHANNEL) || c->flags & CONN_DOWN)
		return true;
	alive = mqt_slot_leave(&c->slot, conn_chan(cs, c), MQT_SLOT_CLOSED);
	if (!alive) {
		count(cs, MQT_W_KILLED_SEEN);
		reason = MQT_REASON_KILLED;
	}
	c->flags |= CONN_DOWN;
	channel_post(cs, c, MQT_MSG_DOWN, reason);
	return alive;
}

void
channel_killed(struct mqt_conns *cs, struct conn *c)
{
	channel_down(cs, c, MQT_REASON_KILLED);
	close_wire(cs, c, CLOSE_RESET);
}

static bool
is_open(const struct conn *c)
{
	return c->flags & CONN_CHANNEL && !(c->flags & CONN_DOWN);
}

/* The control lcore has let go of the channel: the slot may rest once the flow is gone. */
static void
channel_forget(struct mqt_conns *cs, struct conn *c, struct mqt_info *info)
{
	free(info);
	c->flags &= (uint16_t)~CONN_CHANNEL;
	if (c->state == MQT_CONN_RELEASING)
		conn_slot_quiet(cs, c);
}

static void
on_grant(struct mqt_conns *cs, struct conn *c) MQT_REQUIRES(mqt_role_worker)
{
	if (is_open(c) && conn_is_killed(c))
		channel_killed(cs, c);
	if (!is_open(c) || c->state != MQT_CONN_OPENING) {
		channel_post(cs, c, MQT_MSG_RETURN, MQT_REASON_NONE);
		return;
	}
	count(cs, MQT_W_GRANTS);
	conn_set_state(cs, c, MQT_CONN_CONNECTED);
	conn_arm(cs, c, cs->config->limits.idle_sec * MQT_NS_PER_SEC);
	channel_post(cs, c, MQT_MSG_GRANTED, MQT_REASON_NONE);
	handshake_release(cs, c);
	if (c->state == MQT_CONN_CONNECTED && c->stream[CLIENT].flags & STREAM_FIN)
		tcp_client_closed(cs, c);
}

static void
on_refuse(struct mqt_conns *cs, struct conn *c, const struct mqt_msg *msg)
		MQT_REQUIRES(mqt_role_worker)
{
	bool opening = is_open(c) && c->state == MQT_CONN_OPENING;

	if (opening)
		mqt_slot_leave(&c->slot, msg->chan, MQT_SLOT_CLOSED);
	channel_forget(cs, c, msg->info);
	if (!opening)
		return;
	if (msg->reason == MQT_REASON_TABLE_FULL) {
		handshake_unadmitted(cs, c);
		return;
	}
	count(cs, MQT_W_REFUSALS);
	close_wire(cs, c, CLOSE_REFUSE);
}

static void
stepdown_answer(struct mqt_conns *cs, const struct mqt_msg *msg, int result)
		MQT_REQUIRES(mqt_role_worker)
{
	struct mqt_msg answer = {
		.type = MQT_MSG_STEPDOWN_DONE,
		.action = msg->action,
		.result = result,
		.chan = msg->chan,
		.stamp_ns = cs->now_ns,
		.token = msg->token,
	};

	if (result != 0)
		count(cs, MQT_W_STEPDOWN_NOPROC);
	mqt_mailbox_post_control(cs->mailbox, &answer);
}

static void
on_stepdown(struct mqt_conns *cs, struct conn *c, const struct mqt_msg *msg)
		MQT_REQUIRES(mqt_role_worker)
{
	bool kick = msg->action == MQT_STEPDOWN_KICK;
	enum close_how how = kick ? CLOSE_KICK : CLOSE_DISCARD;

	if (!is_open(c)) {
		stepdown_answer(cs, msg, -ENOENT);
		return;
	}
	count(cs, MQT_W_STEPDOWNS);
	if (!channel_down(cs, c, kick ? MQT_REASON_KICKED : MQT_REASON_DISCARDED))
		how = CLOSE_RESET;
	else if (c->state == MQT_CONN_OPENING)
		how = CLOSE_REFUSE;
	close_wire(cs, c, how);
	stepdown_answer(cs, msg, 0);
}

/* The slot that the message means, NULL where it has another channel by now. */
static struct conn *
addressee(struct mqt_conns *cs, const struct mqt_msg *msg)
{
	uint32_t slot = mqt_chan_id_slot(msg->chan);

	if (slot >= cs->n_fresh || conn_chan(cs, &cs->slots[slot]) != msg->chan ||
			!(cs->slots[slot].flags & CONN_CHANNEL))
		return NULL;
	return &cs->slots[slot];
}

/* Of a channel that is not known any more: answered all the same, so that nobody waits for it. */
static void
on_unknown(struct mqt_conns *cs, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_worker)
{
	struct mqt_msg answer = { .type = MQT_MSG_RETURN, .chan = msg->chan };

	switch (msg->type) {
	case MQT_MSG_STEPDOWN:
		stepdown_answer(cs, msg, -ENOENT);
		return;
	case MQT_MSG_GRANT:
		mqt_mailbox_post_control(cs->mailbox, &answer);
		break;
	case MQT_MSG_REFUSE:
	case MQT_MSG_RELEASE:
		free(msg->info);
		break;
	default:
		break;
	}
	count(cs, MQT_W_UNEXPECTED_MSG);
}

static void
on_message(struct mqt_conns *cs, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_worker)
{
	struct conn *c = addressee(cs, msg);

	if (!c) {
		on_unknown(cs, msg);
		return;
	}
	switch (msg->type) {
	case MQT_MSG_GRANT:
		on_grant(cs, c);
		break;
	case MQT_MSG_REFUSE:
		on_refuse(cs, c, msg);
		break;
	case MQT_MSG_STEPDOWN:
		on_stepdown(cs, c, msg);
		break;
	case MQT_MSG_RELEASE:
		channel_forget(cs, c, msg->info);
		break;
	default:
		count(cs, MQT_W_UNEXPECTED_MSG);
	}
}

unsigned
mqt_conns_poll(struct mqt_conns *cs)
{
	struct mqt_msg msgs[MSG_BURST];
	unsigned n = mqt_mailbox_poll_worker(cs->mailbox, msgs, MSG_BURST);

	if (n > 0) {
		cs->now_ns = mqt_clock_mono(cs->clock);
		cs->now_ms = (uint32_t)(cs->now_ns / MQT_NS_PER_MS);
	}
	for (unsigned i = 0; i < n; i++)
		on_message(cs, &msgs[i]);
	atomic_store_explicit(&cs->gauges.outbox, mqt_mailbox_outbox_worker(cs->mailbox),
			memory_order_relaxed);
	return n;
}
