/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The worker's side of the mailbox, and the end of a channel.
 *
 * A channel exists for the control lcore from OPEN until REFUSE or RELEASE (CONN_CHANNEL). Its
 * slot word leaves LIVE exactly once: to CLOSED by channel_down(), or to KILLED by the control
 * lcore; the loser of that exchange learns it there. DOWN or CLOSED is posted once for each OPEN,
 * whoever won, unless REFUSE came before. CLOSED where a granted flow ends by itself and its
 * session has an expiry: then the session goes with it. Everything else ends the session here.
 * Crossing messages are those of msg.h.
 *
 * A takeover is two requests. BEGIN freezes a CONNECTED flow and gives its session away, END closes
 * it and gives the pendings. An end without a begin, or a begin of anything but a CONNECTED flow,
 * is answered -EINVAL: no correct control lcore asks for it, and it must not wait for an answer.
 *
 * A kick may wait (kick.c). Its channel lives meanwhile. Another request for it ends the wait: the
 * kick is done at once, and the other one finds the channel gone.
 *
 * Synchronisation: the worker's own, but for the slot word.
 * Sources: DESIGN.md R1, R3, R4, R5; msg.h.
 */
#include "conn_private.h"

#include <errno.h>
#include <stdlib.h>

#define MSG_BURST 64

static void
channel_post(struct mqt_conns *cs, const struct conn *c, enum mqt_msg_type type,
		enum mqt_reason reason, struct mqt_session *session) MQT_REQUIRES(mqt_role_worker)
{
	struct mqt_msg msg = {
		.type = (uint8_t)type,
		.reason = (uint8_t)reason,
		.chan = conn_chan(cs, c),
		.stamp_ns = cs->now_ns,
		.session = session,
	};

	mqt_mailbox_post_control(cs->mailbox, &msg);
}

/* An answer to a request that carries a token; what it hands over is given by the caller. */
static struct mqt_msg
answer_to(const struct mqt_conns *cs, const struct mqt_msg *msg, enum mqt_msg_type type, int result)
{
	return (struct mqt_msg){
		.type = (uint8_t)type,
		.action = msg->action,
		.result = result,
		.chan = msg->chan,
		.stamp_ns = cs->now_ns,
		.token = msg->token,
	};
}

static void
stepdown_fails(struct mqt_conns *cs, const struct mqt_msg *msg, int result)
		MQT_REQUIRES(mqt_role_worker)
{
	struct mqt_msg answer = answer_to(cs, msg, MQT_MSG_STEPDOWN_DONE, result);

	count(cs, result == -ENOENT ? MQT_W_STEPDOWN_NOPROC : MQT_W_UNEXPECTED_MSG);
	mqt_mailbox_post_control(cs->mailbox, &answer);
}

/* Whether this end leaves a session behind. One that is stepping down does not, nor a newcomer. */
static bool
leaves_session(const struct conn *c, enum mqt_reason reason)
{
	return c->state == MQT_CONN_CONNECTED && c->expiry_sec > 0 && reason != MQT_REASON_KICKED &&
			reason != MQT_REASON_DISCARDED;
}

bool
channel_down(struct mqt_conns *cs, struct conn *c, enum mqt_reason reason)
{
	struct mqt_session *session = NULL;
	struct mqt_msg kick;
	bool alive;

	if (!conn_is_open(c))
		return true;
	alive = mqt_slot_leave(&c->slot, conn_chan(cs, c), MQT_SLOT_CLOSED);
	if (!alive) {
		count(cs, MQT_W_KILLED_SEEN);
		reason = MQT_REASON_KILLED;
	} else if (leaves_session(c, reason)) {
		session = session_leave(cs, c);
	}
	session_drop(c);
	c->flags |= CONN_DOWN;
	channel_post(cs, c, session ? MQT_MSG_CLOSED : MQT_MSG_DOWN, reason, session);
	if (kick_take(cs, c, &kick))
		stepdown_fails(cs, &kick, -ENOENT);
	return alive;
}

void
channel_killed(struct mqt_conns *cs, struct conn *c)
{
	channel_down(cs, c, MQT_REASON_KILLED);
	close_wire(cs, c, CLOSE_RESET);
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
on_grant(struct mqt_conns *cs, struct conn *c, const struct mqt_msg *msg)
		MQT_REQUIRES(mqt_role_worker)
{
	if (conn_is_open(c) && conn_is_killed(c))
		channel_killed(cs, c);
	if (!conn_is_open(c) || c->state != MQT_CONN_OPENING) {
		if (msg->session)
			session_finish(c, msg->session);
		channel_post(cs, c, MQT_MSG_RETURN, MQT_REASON_NONE, msg->session);
		return;
	}
	count(cs, MQT_W_GRANTS);
	conn_set_state(cs, c, MQT_CONN_CONNECTED);
	silence_watch(cs, c);
	channel_post(cs, c, MQT_MSG_GRANTED, MQT_REASON_NONE, NULL);
	session_begin(cs, c, msg->session);
	park_release(cs, c);
	if (c->state == MQT_CONN_CONNECTED && c->stream[CLIENT].flags & STREAM_FIN)
		tcp_client_closed(cs, c);
}

static enum close_how
refusal(uint8_t reason)
{
	switch (reason) {
	case MQT_REASON_POLICY:
		return CLOSE_REFUSE_POLICY;
	case MQT_REASON_USERNAME_MISMATCH:
		return CLOSE_REFUSE_USERNAME;
	default: /* superseded, flapping */
		return CLOSE_REFUSE;
	}
}

static void
on_refuse(struct mqt_conns *cs, struct conn *c, const struct mqt_msg *msg)
		MQT_REQUIRES(mqt_role_worker)
{
	bool opening = conn_is_open(c) && c->state == MQT_CONN_OPENING;

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
	close_wire(cs, c, refusal(msg->reason));
}

static void
on_takeover_begin(struct mqt_conns *cs, struct conn *c, const struct mqt_msg *msg)
		MQT_REQUIRES(mqt_role_worker)
{
	struct mqt_msg answer = answer_to(cs, msg, MQT_MSG_STEPDOWN_DONE, 0);

	if (conn_is_killed(c)) {
		channel_killed(cs, c);
		stepdown_fails(cs, msg, -ENOENT);
		return;
	}
	answer.session = freeze(cs, c);
	mqt_mailbox_post_control(cs->mailbox, &answer);
}

/*
 * Hands the flow's packets to its ports. The answer that follows lets a newcomer have its CONNACK, by
 * another worker perhaps, who would be faster than the rest of this worker's turn (invariant I4).
 */
static void
send_now(struct mqt_conns *cs, const struct conn *c) MQT_REQUIRES(mqt_role_worker)
{
	mqt_tx_flush(cs->tx, (uint16_t)(2 * c->pair + CLIENT));
	mqt_tx_flush(cs->tx, (uint16_t)(2 * c->pair + BROKER));
}

/* Closes the flow and answers. Of a frozen one the pendings go with the answer. */
static void
step_down(struct mqt_conns *cs, struct conn *c, const struct mqt_msg *msg, enum mqt_reason reason)
		MQT_REQUIRES(mqt_role_worker)
{
	struct mqt_msg answer = answer_to(cs, msg, MQT_MSG_STEPDOWN_DONE, 0);

	count(cs, MQT_W_STEPDOWNS);
	if (reason == MQT_REASON_TAKEN_OVER && !conn_is_killed(c)) {
		answer.pendings = c->pendings;
		c->pendings = NULL;
	}
	if (!channel_down(cs, c, reason))
		close_wire(cs, c, CLOSE_RESET);
	else if (c->state == MQT_CONN_OPENING)
		close_wire(cs, c, CLOSE_REFUSE);
	else if (reason == MQT_REASON_KICKED)
		close_kick(cs, c, msg->code);
	else
		close_wire(cs, c, CLOSE_DISCARD);
	send_now(cs, c);
	mqt_mailbox_post_control(cs->mailbox, &answer);
}

void
channel_kick(struct mqt_conns *cs, struct conn *c, const struct mqt_msg *msg)
{
	step_down(cs, c, msg, MQT_REASON_KICKED);
}

static void
on_kick(struct mqt_conns *cs, struct conn *c, const struct mqt_msg *msg)
		MQT_REQUIRES(mqt_role_worker)
{
	if (!kick_waits(cs, c, msg))
		channel_kick(cs, c, msg);
}

static void
on_stepdown(struct mqt_conns *cs, struct conn *c, const struct mqt_msg *msg)
		MQT_REQUIRES(mqt_role_worker)
{
	enum mqt_conn_state state = c->state;
	struct mqt_msg kick;

	if (kick_take(cs, c, &kick)) /* nobody waits behind it */
		channel_kick(cs, c, &kick);
	if (!conn_is_open(c))
		stepdown_fails(cs, msg, -ENOENT);
	else if (msg->action == MQT_STEPDOWN_KICK)
		on_kick(cs, c, msg);
	else if (msg->action == MQT_STEPDOWN_DISCARD)
		step_down(cs, c, msg, MQT_REASON_DISCARDED);
	else if (msg->action == MQT_STEPDOWN_TAKEOVER_BEGIN && state == MQT_CONN_CONNECTED)
		on_takeover_begin(cs, c, msg);
	else if (msg->action == MQT_STEPDOWN_TAKEOVER_END && state == MQT_CONN_FROZEN)
		step_down(cs, c, msg, MQT_REASON_TAKEN_OVER);
	else
		stepdown_fails(cs, msg, -EINVAL);
}

static void
on_inspect(struct mqt_conns *cs, struct conn *c, const struct mqt_msg *msg)
		MQT_REQUIRES(mqt_role_worker)
{
	struct mqt_msg answer = answer_to(cs, msg, MQT_MSG_INSPECTED, 0);

	if (c && conn_is_open(c) && c->state == MQT_CONN_CONNECTED)
		answer.session = mqt_session_clone(*conn_session(c));
	mqt_mailbox_post_control(cs->mailbox, &answer);
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
		stepdown_fails(cs, msg, -ENOENT);
		return;
	case MQT_MSG_INSPECT:
		on_inspect(cs, NULL, msg);
		return;
	case MQT_MSG_GRANT:
		answer.session = msg->session;
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
		on_grant(cs, c, msg);
		break;
	case MQT_MSG_REFUSE:
		on_refuse(cs, c, msg);
		break;
	case MQT_MSG_STEPDOWN:
		on_stepdown(cs, c, msg);
		break;
	case MQT_MSG_INSPECT:
		on_inspect(cs, c, msg);
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

	if (n > 0 || cs->n_kicks > 0) {
		cs->now_ns = mqt_clock_mono(cs->clock);
		cs->now_ms = (uint32_t)(cs->now_ns / MQT_NS_PER_MS);
	}
	for (unsigned i = 0; i < n; i++)
		on_message(cs, &msgs[i]);
	if (cs->captures &&
			unlikely(atomic_load_explicit(&cs->captures->epoch, memory_order_relaxed) !=
					cs->capture_epoch))
		capture_sync(cs);
	if (unlikely(cs->n_kicks > 0))
		n += kick_poll(cs);
	atomic_store_explicit(&cs->gauges.outbox, mqt_mailbox_outbox_worker(cs->mailbox),
			memory_order_relaxed);
	return n;
}
