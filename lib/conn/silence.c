/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Flows that fall silent: what the one timer of a flow does while the flow passes.
 *
 * Keepalive. A client that names a keepalive has to send an MQTT packet within 1.5 times that; the
 * broker's Server Keep Alive wins over the client's. When its time is over, with a grace on top so
 * that the broker, which began to count later, is never forestalled, the channel ends and both
 * ends are told: the client of 5.0 by DISCONNECT 0x8D, the broker by RST, which makes it publish
 * the will. Only bytes of the client count that its broker has not acknowledged yet; pure
 * acknowledgements, TCP's own keepalive and the pings of a WebSocket do not.
 *
 * Idle. A client without keepalive may be silent for ever and live. So a flow on which neither end
 * has said anything for the idle limit is asked: both ends get a TCP keepalive probe, the number
 * before the one they expect (RFC 9293 §3.8.4). If both answer, the limit begins anew; an end that
 * stays silent after the last try is dead, and both are reset. What cannot be followed has no
 * channel and is only forgotten: it passes without a connection as well. A flow that its own ends
 * are closing, and do not bring to an end, is reset.
 *
 * Lazily: a packet stores the time it was seen and nothing else. The timer looks at that time when
 * it fires, and goes on for what is left. An end is found alive by the same number: it was silent
 * for the whole limit when the probes began, so it has spoken since if it is not any more.
 *
 * Packets may wait in the ports of a worker that did not run; therefore what is due is looked at
 * once more, LOOK_AGAIN_NS later.
 *
 * Synchronisation: the worker's own.
 * Sources: MQTT 5.0 §3.1.2.10, §3.2.2.3.14, §4.13; RFC 9293 §3.8.4; DESIGN.md R14, R16.
 */
#include "conn_private.h"

#define LOOK_AGAIN_NS (250 * MQT_NS_PER_MS)
#define PROBE_NS      (10 * MQT_NS_PER_SEC)
#define PROBE_TRIES   4

static uint64_t
end_silent_ns(const struct mqt_conns *cs, const struct conn *c, enum side side)
{
	return (cs->now_ms - c->stream[side].seen_ms) * MQT_NS_PER_MS;
}

static uint64_t
idle_ns(const struct mqt_conns *cs)
{
	return cs->config->limits.idle_sec * MQT_NS_PER_SEC;
}

/* How long the client may be silent; 0: as long as it likes. */
static uint64_t
keepalive_ns(const struct mqt_conns *cs, const struct conn *c)
{
	if (c->keepalive_sec == 0)
		return 0;
	return c->keepalive_sec * MQT_NS_PER_SEC * 3 / 2 +
			cs->config->limits.keepalive_grace_ms * MQT_NS_PER_MS;
}

static void
end(struct mqt_conns *cs, struct conn *c, enum mqt_reason reason, enum close_how how)
		MQT_REQUIRES(mqt_role_worker)
{
	close_wire(cs, c, channel_down(cs, c, reason) ? how : CLOSE_RESET);
}

/* Whether what is due stays so when it is looked at a second time. */
static bool
looked_twice(struct mqt_conns *cs, struct conn *c)
{
	if (c->tries++ > 0)
		return true;
	conn_arm(cs, c, LOOK_AGAIN_NS);
	return false;
}

static void
keepalive_timer(struct mqt_conns *cs, struct conn *c) MQT_REQUIRES(mqt_role_worker)
{
	uint64_t seen_ns = atomic_load_explicit(&c->slot.seen_ns, memory_order_relaxed);
	uint64_t silent = cs->now_ns - seen_ns, limit = keepalive_ns(cs, c);

	if (silent < limit) {
		c->tries = 0;
		conn_arm(cs, c, limit - silent);
		return;
	}
	if (!looked_twice(cs, c))
		return;
	count(cs, MQT_W_KEEPALIVE);
	end(cs, c, MQT_REASON_KEEPALIVE, CLOSE_KEEPALIVE);
}

static void
idle_timer(struct mqt_conns *cs, struct conn *c) MQT_REQUIRES(mqt_role_worker)
{
	uint64_t limit = idle_ns(cs), silent = tcp_silent_ms(cs, c) * MQT_NS_PER_MS;
	bool client = end_silent_ns(cs, c, CLIENT) < limit;
	bool broker = end_silent_ns(cs, c, BROKER) < limit;

	if (c->tries == 0 ? client || broker : client && broker) {
		if (c->tries > 0)
			count(cs, MQT_W_IDLE_ALIVE);
		c->tries = 0;
		conn_arm(cs, c, limit - silent);
		return;
	}
	if (c->tries >= PROBE_TRIES) {
		count(cs, MQT_W_IDLE);
		end(cs, c, MQT_REASON_IDLE, CLOSE_RESET);
		return;
	}
	c->tries++;
	close_probe(cs, c, CLIENT);
	close_probe(cs, c, BROKER);
	conn_arm(cs, c, RTE_MIN(PROBE_NS, limit / 2));
}

/* An opaque flow, or one that its own ends are closing: one of them may not know of it. */
static void
forget_timer(struct mqt_conns *cs, struct conn *c, uint64_t limit) MQT_REQUIRES(mqt_role_worker)
{
	uint64_t silent = tcp_silent_ms(cs, c) * MQT_NS_PER_MS;

	if (silent < limit) {
		conn_arm(cs, c, limit - silent);
		return;
	}
	if (c->state == MQT_CONN_CLOSING) {
		tcp_abort(cs, c, MQT_W_FIN_LINGERED);
		return;
	}
	count(cs, MQT_W_IDLE);
	conn_remove(cs, c);
}

/* A FIN whose acknowledgement has not come. */
static void
fin_timer(struct mqt_conns *cs, struct conn *c) MQT_REQUIRES(mqt_role_worker)
{
	if (looked_twice(cs, c))
		tcp_abort(cs, c, MQT_W_FIN_UNANSWERED);
}

void
silence_watch(struct mqt_conns *cs, struct conn *c)
{
	uint64_t limit = c->state == MQT_CONN_CONNECTED ? keepalive_ns(cs, c) : 0;

	c->tries = 0;
	conn_arm(cs, c, limit ? limit : idle_ns(cs));
	if (c->stream[CLIENT].held != NO_INDEX)
		reorder_watch(cs, c);
}

static bool
has_fin(const struct conn *c)
{
	return (c->stream[CLIENT].flags | c->stream[BROKER].flags) & STREAM_CLOSES;
}

void
silence_timer(struct mqt_conns *cs, struct conn *c)
{
	bool broker = c->flags & CONN_DOUBT_BROKER, had_fin = has_fin(c);
	bool gaps = reorder_expire(cs, c);

	if (c->flags & CONN_INJECTED || c->state == MQT_CONN_RELEASING || has_fin(c) != had_fin)
		return;
	if (conn_is_killed(c) && !(c->flags & CONN_DOWN))
		channel_killed(cs, c);
	else if (c->flags & CONN_DOUBT)
		tcp_reset_by(cs, c, broker ? BROKER : CLIENT);
	else if (c->state == MQT_CONN_CLOSING)
		forget_timer(cs, c, LINGER_NS);
	else if (c->state == MQT_CONN_OPAQUE)
		forget_timer(cs, c, idle_ns(cs));
	else if (had_fin)
		fin_timer(cs, c);
	else if (c->keepalive_sec > 0)
		keepalive_timer(cs, c);
	else
		idle_timer(cs, c);
	if (gaps && c->state == MQT_CONN_CONNECTED)
		reorder_watch(cs, c);
}
