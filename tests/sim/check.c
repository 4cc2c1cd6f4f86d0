/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The invariants of the simulation. What shows what:
 *
 *	I1   each step: at most one live channel a client id; the manager counts no duplicate. At rest:
 *	     no two flows of a client id live on
 *	I2   none is discarded for one with an older stamp; after a contest the newest lives
 *	I3   at rest: a connected flow is in the live map
 *	I4   not one byte of a flow leaves after a newer CONNACK of its client id (R5 too)
 *	I5   each row is found by its id and by its client; nothing is left at the end
 *	I6   the gauges are what a walk counts
 *	I7   check_session.c: none is gone without a word (R3, R4). Here: its contents are the broker's
 *	I8   events: no hole, `disconnected` before the next `connected`; check_time.c: their times
 *	I9   with I1 and I8: a row of a flow is made by its OPEN alone
 *	I10  what leaves is what the sender wrote, or a refusal or DISCONNECT of the tracker's own
 *	I11  the slow reader of check_reader.c holds up nobody: nothing ever stops coming to rest
 *	R1   no id is opened twice: a message that no state expects
 *	R2   I2, where an OPEN is late       R3, R4  I7; unexpected messages; fault.c: frozen flows
 *	R6   unexpected messages, and what never comes to rest, with rings of two messages
 *	R7   check_time.c: who is blamed; fault.c: an OPENING ends by itself
 *	R8   fault.c: a stalled worker       R9, R10  check_reader.c
 *	R11  no flow is live whose CONNACK left before its row was there
 *	R12  fault.c: a flood; at the end no mbuf is left
 *
 * I12 and R13-R20 are the wire's: unit tests of conn, packet and worker. broken.py breaks each of
 * R1-R12 and some invariants, and the suite `broken` shows that it is noticed. In WebSockets and behind
 * proxies (transport.c, by seed) all of this holds as well.
 */

#include "sim.h"

#include <string.h>

#define N_KEYS 512

struct key {
	struct mqt_digest digest;
	mqt_chan_id live; /* after the step before, with its stamp */
	uint64_t live_stamp_ns;
	mqt_chan_id newcomer; /* the last for whom a channel was discarded, and that one's stamp */
	uint64_t discarded_stamp_ns;
	mqt_chan_id connected; /* by the events */
};

static struct {
	struct key key[N_KEYS];
	unsigned n_keys;
	uint64_t event_seq;
} state;

void
sim_check_start(struct sim_world *w)
{
	memset(&state, 0, sizeof(state));
	sim_check_time_start(w);
	sim_check_reader_start();
	sim_check_session_start();
	mqt_rcu_register();
}

static struct key *
key_of(struct sim_world *w, const struct mqt_digest *digest)
{
	for (unsigned i = 0; i < state.n_keys; i++)
		if (mqt_digest_equal(&state.key[i].digest, digest))
			return &state.key[i];
	if (state.n_keys == N_KEYS) {
		sim_fail(w, "setup", "more client ids than there can be");
		return &state.key[0];
	}
	state.key[state.n_keys].digest = *digest;
	return &state.key[state.n_keys++];
}

static bool
anonymous(const struct mqt_chan *c)
{
	return (mqt_chan_info(c)->flags & MQT_INFO_ANONYMOUS) != 0;
}

static void
check_row(struct sim_world *w, const struct mqt_chan *c, bool live)
		MQT_REQUIRES_SHARED(mqt_rcu_read)
{
	const struct mqt_chan *found[16];
	const struct mqt_info *info = mqt_chan_info(c);
	unsigned n, i;

	if (mqt_cm_info(sim_tracker_cm(w), c->id) != c)
		sim_fail(w, "I5", "row %" PRIx64 " is not found by its id", c->id);
	if (!anonymous(c)) {
		struct key *k = key_of(w, &info->digest);

		if (live && k->newcomer == c->id && k->discarded_stamp_ns > c->stamp_ns)
			sim_fail(w, "I2", "a newer channel was discarded for %" PRIx64, c->id);
		if (live) {
			k->live = c->id;
			k->live_stamp_ns = c->stamp_ns;
		}
		n = mqt_cm_lookup(sim_tracker_cm(w), info->domain, mqt_info_clientid(info),
				info->clientid_len, found, 16);
		for (i = 0; i < n && found[i] != c; i++)
			;
		if (i == n)
			sim_fail(w, "I5", "row %" PRIx64 " is not found by its client id", c->id);
	}
}

static void
check_maps(struct sim_world *w)
{
	const struct mqt_chan *c, *live[256];
	struct mqt_cm_gauge gauges[MQT_CM_N_GAUGES];
	unsigned n = 0, n_live = 0;
	uint32_t pos = 0;

	mqt_rcu_read_lock();
	while ((c = mqt_cm_channels_next(sim_tracker_cm(w), &pos))) {
		bool is_live = mqt_cm_is_live(sim_tracker_cm(w), c->id);

		n++;
		check_row(w, c, is_live);
		if (!is_live)
			continue;
		for (unsigned i = 0; i < n_live; i++)
			if (mqt_digest_equal(&mqt_chan_info(live[i])->digest,
					    &mqt_chan_info(c)->digest))
				sim_fail(w, "I1", "channels %" PRIx64 " and %" PRIx64 " are live",
						live[i]->id, c->id);
		if (n_live < 256)
			live[n_live++] = c;
	}
	mqt_rcu_read_unlock();
	mqt_cm_gauges(sim_tracker_cm(w), gauges);
	if (gauges[0].count != n || gauges[3].count != n_live)
		sim_fail(w, "I6",
				"gauges say %" PRIu64 " channels, %" PRIu64
				" live; there are %u and %u",
				gauges[0].count, gauges[3].count, n, n_live);
	if (mqt_counter_get(&mqt_cm_counters(sim_tracker_cm(w))->v[MQT_C_DUPLICATES]))
		sim_fail(w, "I1", "the manager itself has counted a duplicate");
	if (sim_tracker_unexpected(w))
		sim_fail(w, "R4", "a message that no state expects");
}

/* The tracker says itself that it does not, or no longer, know this session of a broker. */
static void
forget_session(struct sim_world *w, const struct mqt_event *ev)
{
	for (unsigned i = 0; i < SIM_FLOWS; i++) {
		const struct sim_flow *f = &w->flow[i];

		if (!mqt_endpoint_equal(&f->shown, &ev->peer))
			continue;
		for (unsigned id = 0; id < SIM_CLIENTIDS; id++)
			if (strlen(sim_clientids[id]) == ev->clientid_len &&
					memcmp(sim_clientids[id], ev->clientid, ev->clientid_len) ==
							0)
				w->session[f->domain][f->broker][id].exact = false;
	}
}

/* The channel is over, and its flow may go on without: nothing is known of it any more. */
static void
untrack(struct sim_world *w, const struct mqt_event *ev)
{
	if (ev->reason != MQT_REASON_OPENING_TIMEOUT && ev->reason != MQT_REASON_IDLE)
		return;
	for (unsigned i = 0; i < SIM_FLOWS; i++) {
		struct sim_flow *f = &w->flow[i];

		if (f->chan != ev->chan || !f->tracked)
			continue;
		f->tracked = false;
		w->session[f->domain][f->broker][f->clientid].stale = true;
	}
}

/* Events after which a session of the broker may go on that the tracker has dropped. */
static bool
drops_session(enum mqt_event_type type)
{
	return type == MQT_EVENT_ADOPTED || type == MQT_EVENT_DISCARDED ||
			type == MQT_EVENT_KICKED || type == MQT_EVENT_EXPIRED ||
			type == MQT_EVENT_LOST_BY_KILL;
}

static void
check_events(struct sim_world *w)
{
	struct mqt_event ev;
	uint64_t missed;

	while (mqt_event_ring_read(sim_tracker_events(w), &state.event_seq, &ev, &missed)) {
		struct mqt_digest digest;
		struct key *k;

		if (w->trace >= 0)
			printf("%8" PRIu64
			       " %9.3f ms  event %s %s \"%.*s\" domain %u port %u chan %" PRIx64
			       "\n",
					w->step,
					(double)(w->now_ns % (1000 * MQT_NS_PER_SEC)) / 1e6,
					mqt_event_name((enum mqt_event_type)ev.type),
					mqt_reason_name((enum mqt_reason)ev.reason),
					ev.clientid_len, ev.clientid, ev.domain, ev.peer.port,
					ev.chan);

		if (missed)
			sim_fail(w, "I8", "%" PRIu64 " events lost before %" PRIu64, missed,
					ev.seq);
		sim_check_event_time(w, &ev);
		sim_check_session_event(w, &ev);
		sim_check_reader_event(w, &ev);
		if (ev.type == MQT_EVENT_DISCONNECTED)
			untrack(w, &ev);
		if ((ev.flags & (MQT_INFO_ANONYMOUS | MQT_INFO_ASSIGNED)) || ev.clientid_len > 7)
			continue;
		if (drops_session((enum mqt_event_type)ev.type))
			forget_session(w, &ev);
		digest = sim_tracker_digest(w, ev.domain, ev.clientid, ev.clientid_len);
		k = key_of(w, &digest);
		if (ev.type == MQT_EVENT_CONNECTED) {
			if (k->connected)
				sim_fail(w, "I8",
						"%" PRIx64 " connected while %" PRIx64 " still was",
						ev.chan, k->connected);
			k->connected = ev.chan;
		} else if (ev.type == MQT_EVENT_DISCONNECTED) {
			if (k->connected != ev.chan)
				sim_fail(w, "I8",
						"%" PRIx64 " disconnected, connected was %" PRIx64,
						ev.chan, k->connected);
			k->connected = MQT_CHAN_NONE;
			if (ev.reason != MQT_REASON_DISCARDED &&
					ev.reason != MQT_REASON_TAKEN_OVER &&
					ev.reason != MQT_REASON_KILLED && ev.chan == k->live)
				k->live = MQT_CHAN_NONE; /* it went by itself */
		} else if ((ev.type == MQT_EVENT_DISCARDED || ev.type == MQT_EVENT_TAKENOVER) &&
				ev.other && ev.chan == k->live) {
			k->newcomer = ev.other;
			k->discarded_stamp_ns = k->live_stamp_ns;
		}
	}
}

/* --- the wire ------------------------------------------------------------------------------------ */

static bool
same_incarnation(const struct sim_flow *f)
{
	return f->peer[SIM_BROKER].irs == f->peer[SIM_CLIENT].iss;
}

static bool
is_of(const struct mqt_info *info, const struct sim_flow *f)
{
	return info->username_len == strlen(f->username) &&
			memcmp(mqt_info_username(info), f->username, info->username_len) == 0;
}

static const struct mqt_chan *
row_of(struct sim_world *w, const struct sim_flow *f) MQT_REQUIRES_SHARED(mqt_rcu_read)
{
	const struct mqt_chan *c, *newest = NULL;
	uint32_t pos = 0;

	while ((c = mqt_cm_channels_next(sim_tracker_cm(w), &pos))) {
		struct mqt_endpoint peer = mqt_info_peer(mqt_chan_info(c));

		if (mqt_endpoint_equal(&peer, &f->shown) && is_of(mqt_chan_info(c), f) &&
				(!newest || c->stamp_ns > newest->stamp_ns))
			newest = c;
	}
	return newest;
}

/* A CONNACK with success has left towards the client. */
static void
note_release(struct sim_world *w, struct sim_flow *f)
{
	struct sim_session *s = &w->session[f->domain][f->broker][f->clientid];
	const struct mqt_chan *c;

	f->released = true;
	w->stats.released++;
	mqt_rcu_read_lock();
	c = row_of(w, f);
	f->tracked = c != NULL;
	f->chan = c ? c->id : MQT_CHAN_NONE;
	mqt_rcu_read_unlock();
	if (!f->tracked || f->anonymous)
		return;
	f->owes = true;
	if (s->last == f->index)
		s->stale = f->stale && !f->fresh;
	if (f->fresh)
		s->exact = true;
	f->compare = !f->fresh;
	for (unsigned i = 0; i < SIM_FLOWS; i++) {
		struct sim_flow *g = &w->flow[i];

		if (g != f && g->released && g->tracked && !g->ended && !g->anonymous &&
				g->domain == f->domain && g->clientid == f->clientid)
			g->silent = true;
	}
}

static bool
spoken_by_tracker(const struct sim_flow *f, const struct sim_seg *seg, enum sim_end to)
{
	uint8_t buf[SIM_SEG_MAX];
	unsigned len;
	const uint8_t *said = sim_transport_said(f, to, seg, buf, &len);

	if (!said)
		return false;
	if (len == 0)
		return true; /* Close */
	if (said[0] == MQT_MQTT_DISCONNECT << 4)
		return to == SIM_BROKER || (len >= 3 && said[2] != 0);
	return to == SIM_CLIENT && said[0] == MQT_MQTT_CONNACK << 4 && len >= 4 && said[3] != 0;
}

void
sim_check_output(
		struct sim_world *w, struct sim_flow *f, enum sim_end to, const struct sim_seg *seg)
{
	const struct sim_peer *from = &f->peer[to == SIM_CLIENT ? SIM_BROKER : SIM_CLIENT];
	uint32_t at = seg->seq - from->iss - 1;
	bool own;

	/* a late segment of an earlier incarnation has other numbers */
	if (!same_incarnation(f) || at + 1 > SIM_STREAM + 1)
		return;
	if (seg->len) {
		own = at > from->out_len || at + seg->len > from->out_len ||
				memcmp(from->out + at, seg->data, seg->len) != 0;
		if (own && !spoken_by_tracker(f, seg, to))
			sim_fail(w, "I10", "flow %u: %u bytes at %u towards the %s are nobody's",
					f->index, seg->len, at,
					to == SIM_CLIENT ? "client" : "broker");
		if (f->silent && !(own && to == SIM_CLIENT))
			sim_fail(w, "I4",
					"flow %u: %u bytes towards the %s after a newer CONNACK "
					"was released",
					f->index, seg->len, to == SIM_CLIENT ? "client" : "broker");
		if (to == SIM_CLIENT && from->answered && at <= from->connack_at &&
				at + seg->len > from->connack_at && !own && !f->released &&
				from->code == 0)
			note_release(w, f);
	}
	if (!f->silent && (seg->flags & (MQT_TCP_FIN | MQT_TCP_RST)))
		f->ended = true;
}

/* --- at rest --------------------------------------------------------------------------------------- */

bool
sim_check_alive(const struct sim_flow *f)
{
	return same_incarnation(f) && f->tracked && !f->anonymous &&
			f->peer[SIM_CLIENT].state == SIM_TCP_OPEN &&
			f->peer[SIM_BROKER].state == SIM_TCP_OPEN && f->peer[SIM_CLIENT].hello &&
			!f->peer[SIM_CLIENT].fin_queued && !f->peer[SIM_BROKER].fin_queued;
}

/*
 * I7: the tracker knows of a session no subscription that the broker does not know of, and all of
 * one that it has followed from its begin, whoever has owned it meanwhile.
 */
static void
check_session(struct sim_world *w, const struct sim_flow *f, mqt_chan_id chan)
{
	const struct sim_session *s = &w->session[f->domain][f->broker][f->clientid];
	uint8_t topics;

	if (s->stale || f->peer[SIM_BROKER].ousted ||
			sim_tracker_worker_counter(w, MQT_W_ANOMALY_GAP))
		return;
	if (!sim_tracker_inspect(w, chan, &topics)) {
		if (w->faults)
			return; /* it may have stepped down before it was asked */
		topics = 0;
	}
	if ((topics & ~s->topics) || (s->exact && s->unseen == 0 && topics != s->topics))
		sim_fail(w, "I7", "flow %u, %s: the tracker has topics %x, the broker %x", f->index,
				sim_clientids[f->clientid], topics, s->topics);
	w->stats.sessions++;
	if (!f->fresh && topics != 0)
		w->stats.resumed++;
}

static mqt_chan_id
live_row_of(struct sim_world *w, const struct sim_flow *f)
{
	const struct mqt_chan *c;
	mqt_chan_id chan;

	mqt_rcu_read_lock();
	c = row_of(w, f);
	chan = c && mqt_cm_is_live(sim_tracker_cm(w), c->id) ? c->id : MQT_CHAN_NONE;
	mqt_rcu_read_unlock();
	return chan;
}

/*
 * Those that have been released in this step, and not in the same breath as their client has reset
 * them. One that has resumed a session is compared at once, before more happens to it.
 */
static void
check_released(struct sim_world *w)
{
	for (unsigned i = 0; i < SIM_FLOWS; i++) {
		struct sim_flow *f = &w->flow[i];
		mqt_chan_id chan;

		if (f->owes && !f->ended)
			sim_check_session_released(w, f->chan);
		f->owes = false;
		if (!f->compare || !sim_check_alive(f))
			continue;
		f->compare = false;
		chan = live_row_of(w, f);
		if (chan)
			check_session(w, f, chan);
	}
}

void
sim_check_step(struct sim_world *w)
{
	check_events(w);
	check_maps(w);
	sim_check_session_step(w);
	sim_check_slow_reader(w);
	check_released(w);
}

/* R11: what was released without a row is never live. */
static void
check_untracked(struct sim_world *w, const struct sim_flow *f)
{
	const struct mqt_chan *c;

	if (!same_incarnation(f) || !f->released || f->chan != MQT_CHAN_NONE)
		return;
	mqt_rcu_read_lock();
	c = row_of(w, f);
	/* one that its worker had let pass may have left a session to its row */
	if (c && mqt_cm_is_live(sim_tracker_cm(w), c->id))
		sim_fail(w, "R11", "flow %u: its CONNACK left before it was granted", f->index);
	mqt_rcu_read_unlock();
}

void
sim_check_quiet(struct sim_world *w)
{
	for (unsigned i = 0; i < SIM_FLOWS; i++) {
		struct sim_flow *f = &w->flow[i];
		mqt_chan_id chan;

		check_untracked(w, f);
		if (!sim_check_alive(f))
			continue;
		for (unsigned k = i + 1; k < SIM_FLOWS; k++)
			if (sim_check_alive(&w->flow[k]) && w->flow[k].domain == f->domain &&
					w->flow[k].clientid == f->clientid)
				sim_fail(w, "I1", "flows %u and %u both live on as %s", i, k,
						sim_clientids[f->clientid]);
		chan = live_row_of(w, f);
		if (chan)
			check_session(w, f, chan);
		else
			sim_fail(w, "I3", "flow %u is connected and not in the live map", i);
	}
}

void
sim_check_end(struct sim_world *w)
{
	struct mqt_maps_sizes sizes;

	mqt_maps_sizes(mqt_cm_maps(sim_tracker_cm(w)), &sizes);
	if (sizes.channels || sizes.clients || sizes.live || sizes.retired)
		sim_fail(w, "I5", "left at the end: %u channels, %u clients, %u live, %u retired",
				sizes.channels, sizes.clients, sizes.live, sizes.retired);
	for (unsigned i = 0; i < SIM_WORKERS; i++) {
		const struct mqt_conns_gauges *g = sim_tracker_gauges(w, i);

		for (unsigned s = MQT_CONN_FREE + 1; s < MQT_CONN_N_STATES; s++)
			if (atomic_load(&g->state[s]))
				sim_fail(w, "I5", "worker %u: %u connections left %s", i,
						atomic_load(&g->state[s]), mqt_conn_state_name(s));
		if (atomic_load(&g->parked) || atomic_load(&g->embryos) || atomic_load(&g->outbox))
			sim_fail(w, "I5", "worker %u: %u parked, %u embryos, %u messages left", i,
					atomic_load(&g->parked), atomic_load(&g->embryos),
					atomic_load(&g->outbox));
	}
	mqt_rcu_unregister();
}
