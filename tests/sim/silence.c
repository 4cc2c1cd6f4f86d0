/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Silence: at a quiet point one end of a flow vanishes without a word, and time passes. Clients with
 * a keepalive go on to ping, those without say nothing for as long. Then the flow whose end has
 * vanished is over for the tracker and for the end that is left, and no other one is.
 */

#include "sim.h"

#define PING_SEC 20
#define LONG_SEC 220 /* 1.5 times the longest keepalive; the idle limit and all its probes */

static struct {
	bool alive[SIM_FLOWS]; /* before, and is to stay so */
	struct sim_flow *mute;
} state;

/* Whether it can say all that it has to say; streams are short. */
static bool
has_room(const struct sim_flow *f)
{
	return f->peer[SIM_CLIENT].out_len + LONG_SEC < SIM_STREAM &&
			f->peer[SIM_BROKER].out_len + LONG_SEC < SIM_STREAM;
}

static void
ping(struct sim_world *w, struct sim_flow *f)
{
	struct sim_peer *p = &f->peer[SIM_CLIENT];
	uint8_t buf[2];

	if (p->state != SIM_TCP_OPEN || !p->hello || p->code != 0 || f->keepalive == 0)
		return;
	sim_say(p, buf, mqt_mqtt_empty_encode(buf, sizeof(buf), MQT_MQTT_PINGREQ));
	sim_peer_output(w, f, SIM_CLIENT);
}

bool
sim_silence_begin(struct sim_world *w)
{
	unsigned first = sim_below(&w->rng, SIM_FLOWS);

	state.mute = NULL;
	for (unsigned i = 0; i < SIM_FLOWS; i++) {
		struct sim_flow *f = &w->flow[(first + i) % SIM_FLOWS];

		state.alive[f->index] = sim_check_alive(f) && has_room(f);
		if (state.alive[f->index] && !state.mute)
			state.mute = f;
	}
	if (!state.mute)
		return false;
	state.alive[state.mute->index] = false;
	sim_peer_vanish(state.mute, (enum sim_end)sim_below(&w->rng, SIM_ENDS));
	return true;
}

bool
sim_silence_second(struct sim_world *w, unsigned second)
{
	for (unsigned i = 0; i < SIM_FLOWS && second % PING_SEC == 0; i++)
		ping(w, &w->flow[i]);
	w->now_ns += MQT_NS_PER_SEC;
	return second < LONG_SEC;
}

void
sim_silence_check(struct sim_world *w)
{
	const struct sim_flow *mute = state.mute;

	for (unsigned i = 0; i < SIM_FLOWS; i++)
		if (state.alive[i] && !sim_check_alive(&w->flow[i]))
			sim_fail(w, "I10", "flow %u lives, keepalive %u, and was ended", i,
					w->flow[i].keepalive);
	for (unsigned end = 0; end < SIM_ENDS; end++)
		if (mute->peer[end].state == SIM_TCP_OPEN)
			sim_fail(w, "I5",
					"flow %u, keepalive %u: the %s never learns that it is "
					"over",
					mute->index, mute->keepalive,
					end == SIM_CLIENT ? "client" : "broker");
	w->stats.silences++;
}
