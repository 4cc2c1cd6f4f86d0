/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

/*
 * The whole tracker in one thread and in virtual time: real workers on in-memory ports, the real
 * channel manager, and small TCP and MQTT peers on both sides of it. Every choice comes from one
 * seeded generator, so a seed is a run.
 *
 *   peer.c    TCP ends: segments, retransmission, reset rules of RFC 9293 and RFC 5961
 *   app.c     what clients and brokers say to each other
 *   transport.c  what lies between: PROXY headers, WebSocket
 *   tracker.c the tracker under test: ports, workers, manager, clock
 *   fault.c   clock steps, lcores that do not run, floods
 *   contest.c many connections of one client id within the same moment
 *   storm.c   all leave at once, and somebody comes
 *   check.c   the invariants, looked at after every step; check_*.c: those with a state of their own
 *   world.c   one run: steps, lost segments, quiet points
 *   main.c    options; runs seeds, each in a process of its own
 */

#include "mqtrack/clock.h"
#include "mqtrack/cm.h"
#include "mqtrack/mqtt.h"
#include "mqtrack/packet.h"
#include "mqtrack/worker.h"
#include "mqtrack/ws.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SIM_FLOWS     40
#define SIM_WORKERS   2
#define SIM_BROKERS   3
#define SIM_DOMAINS   2
#define SIM_CLIENTIDS 5
#define SIM_SEG_MAX   96
#define SIM_LINK_MAX  48
#define SIM_STREAM    2048
#define SIM_TOPICS    4
#define SIM_WALL_NS   (1700000000 * (int64_t)MQT_NS_PER_SEC) /* the wall clock at the start */

/* --- choices ----------------------------------------------------------------------------------- */

struct sim_rng {
	uint64_t state;
};

/* splitmix64 (Steele, Lea, Flood 2014) */
static inline uint64_t
sim_random(struct sim_rng *rng)
{
	uint64_t z = rng->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* 0 to n - 1 */
static inline unsigned
sim_below(struct sim_rng *rng, unsigned n)
{
	return (unsigned)(sim_random(rng) >> 11) % n;
}

static inline bool
sim_percent(struct sim_rng *rng, unsigned percent)
{
	return sim_below(rng, 100) < percent;
}

/* --- flows ------------------------------------------------------------------------------------- */

enum sim_end {
	SIM_CLIENT,
	SIM_BROKER,
	SIM_ENDS,
};

struct sim_seg {
	uint8_t flags;
	uint8_t len;
	uint32_t seq;
	uint32_t ack;
	uint8_t data[SIM_SEG_MAX];
};

/* A one-way wire, in order unless a fault reorders it. */
struct sim_link {
	unsigned head, n;
	struct sim_seg seg[SIM_LINK_MAX];
};

enum sim_tcp {
	SIM_TCP_CLOSED, /* for a broker: listening */
	SIM_TCP_SYN_SENT,
	SIM_TCP_SYN_RCVD,
	SIM_TCP_OPEN, /* established, and half closed either way */
};

struct sim_peer {
	enum sim_tcp state;
	uint32_t iss, snd_una, snd_nxt; /* data byte i has sequence number iss + 1 + i */
	uint32_t irs, rcv_nxt;
	uint32_t out_len; /* bytes written by the application */
	uint32_t in_len;  /* bytes read in order */
	uint32_t fed;     /* of these, taken apart by the transport */
	uint32_t app_len; /* MQTT in them */
	uint32_t parsed;  /* of that, understood by the application */
	struct mqt_ws_cursor frames;
	bool introduced; /* broker: has read the PROXY header */
	bool upgraded;   /* has read the head of the WebSocket */
	bool fin_queued, fin_in;
	bool ack_due;
	uint64_t rto_ns;
	unsigned n_rto;
	/* the application's */
	bool hello;          /* broker: has read CONNECT; client: has read CONNACK */
	bool answered;       /* broker: has written CONNACK */
	uint32_t said_at;    /* where in what it has written its last packet begins */
	uint32_t connack_at; /* broker: where CONNACK does */
	bool stale;          /* broker: another flow has taken this one's client id */
	uint8_t version;
	uint8_t code; /* of the CONNACK written or read */
	uint8_t clientid[8];
	uint8_t clientid_len;
	bool clean, survives; /* broker: of the CONNECT read */
	uint16_t n_ids;       /* packet ids used */
	bool ousted;          /* broker: a newer connection has its client id and session */
	uint8_t out[SIM_STREAM];
	uint8_t in[SIM_STREAM];
	uint8_t app[SIM_STREAM];
	/* of the listener; stays */
	bool ws;
	enum sim_end end;
};

/* One five-tuple and its current incarnation. */
struct sim_flow {
	unsigned index;
	struct mqt_endpoint ep[SIM_ENDS];
	struct mqt_endpoint shown;      /* the client's, as the tracker shows it */
	uint8_t proxy;                  /* version of its header; 0: none */
	uint16_t queue[SIM_ENDS];       /* rx queue on which the port brings it */
	struct sim_link up[SIM_ENDS];   /* from an end to the tracker */
	struct sim_link down[SIM_ENDS]; /* from the tracker to an end */
	struct sim_peer peer[SIM_ENDS];

	/* the incarnation, as its client knows it */
	unsigned domain, broker, clientid;
	uint8_t version;
	bool clean;
	bool anonymous; /* empty client id: outside uniqueness */

	/* what the checks know of it */
	bool released;      /* a CONNACK with success has left the tracker towards the client */
	bool tracked;       /* it had a row then */
	bool ended;         /* a FIN or RST of either end has passed */
	bool fresh;         /* its session began with it */
	bool stale;         /* the tracker did not know its broker's session before */
	bool silent;        /* a newer CONNACK of its client id has been released since */
	mqt_chan_id chan;   /* of that row */
	bool owes;          /* it has been released in this step, with a session */
	bool compare;       /* its session with the broker's, as soon as it is up */
	uint16_t keepalive; /* 0: off */
	char username[12];  /* no two incarnations have the same: finds the channel of this one */
	bool cut[SIM_ENDS]; /* nothing reaches this end any more */
};

/* A broker's session of a client id; topic k of them is one bit. */
struct sim_session {
	bool survives;   /* a connection that resumes finds it */
	bool stale;      /* a connection that the tracker did not admit has touched it */
	bool exact;      /* the tracker has followed it from its begin */
	unsigned last;   /* flow that began or resumed it last */
	unsigned unseen; /* SUBACKs and UNSUBACKs on their way to the client */
	uint8_t topics;
};

/* --- the world --------------------------------------------------------------------------------- */

struct sim_tracker;

struct sim_stats {
	uint64_t connects, released, kicks, deliveries, drops, reorders, stalls, quiets, sessions,
			resumed, clock_steps, suspensions, floods, contests, storms, silences;
};

struct sim_world {
	struct sim_rng rng;
	uint64_t seed;
	uint64_t step;
	uint64_t now_ns;
	int64_t wall_offset_ns; /* the wall clock is the monotonic one and this */
	bool faults;            /* off at quiet points */
	bool crowded; /* few client ids that resume, mostly on one broker: every other 16 seeds */
	struct sim_flow flow[SIM_FLOWS];
	struct sim_session session[SIM_DOMAINS][SIM_BROKERS][SIM_CLIENTIDS];
	uint64_t stalled_until[SIM_WORKERS];
	uint64_t control_stalled_until;
	struct sim_tracker *tracker;
	struct sim_stats stats;
	bool verbose;
	const char *program; /* as it was called */
	int trace;           /* a flow whose segments are printed, with all events; -1: none */
	unsigned failures;
};

/* How to run seeds. */
struct sim_options {
	const char *program;
	uint64_t steps;
	bool verbose;
	bool quiet; /* says nothing of runs without a breach */
	int trace;  /* see struct sim_world */
};

/* Runs a seed. @return 0, 1 after a breach, 2 where it could not start. */
int sim_run(uint64_t seed, const struct sim_options *o);

/* Reports a breach with all that is needed to see it again, and remembers it. */
void sim_fail(struct sim_world *w, const char *what, const char *fmt, ...)
		__attribute__((format(printf, 3, 4)));

/* Prints a segment of the traced flow. */
void sim_trace(const struct sim_world *w, const struct sim_flow *f, const char *way,
		const struct sim_seg *seg);

/* --- peer.c ------------------------------------------------------------------------------------ */

void sim_peer_connect(struct sim_world *w, struct sim_flow *f);
void sim_peer_receive(struct sim_world *w, struct sim_flow *f, enum sim_end end,
		const struct sim_seg *seg);
/* Sends what may be sent: new data in random cuts, a due acknowledgement, FIN. */
void sim_peer_output(struct sim_world *w, struct sim_flow *f, enum sim_end end);
void sim_peer_timeout(struct sim_world *w, struct sim_flow *f, enum sim_end end);
void sim_peer_write(struct sim_peer *p, const void *data, size_t len);
void sim_peer_abort(struct sim_world *w, struct sim_flow *f, enum sim_end end);
/* Is gone, without a word, and answers nobody. */
void sim_peer_vanish(struct sim_flow *f, enum sim_end end);
bool sim_link_push(struct sim_link *l, const struct sim_seg *seg);
bool sim_link_pop(struct sim_link *l, struct sim_seg *seg);

/* --- app.c ------------------------------------------------------------------------------------- */

extern const char *const sim_clientids[SIM_CLIENTIDS];

/* A flow that is closed on the client's side connects again, with a new identity. */
void sim_app_start(struct sim_world *w, struct sim_flow *f);
/* The same with this client id, an index of sim_clientids. */
void sim_app_start_as(struct sim_world *w, struct sim_flow *f, unsigned clientid);
/* Reads what has come in. */
void sim_app_read(struct sim_world *w, struct sim_flow *f, enum sim_end end);
/* Says or does something of its own. */
void sim_app_act(struct sim_world *w, struct sim_flow *f);
/* Only brings to an end what is under way. */
void sim_app_settle(struct sim_world *w, struct sim_flow *f);
/* Whether the broker has read CONNECT and may say CONNACK. */
bool sim_app_answers(const struct sim_flow *f);
/* Has the broker say CONNACK, where it has not, and a PUBLISH, in segments of their own. */
void sim_app_publish(struct sim_world *w, struct sim_flow *f);

/* --- transport.c ------------------------------------------------------------------------------- */

/* What the listener of a domain has, by seed. */
bool sim_transport_ws(const struct sim_world *w, unsigned domain);
uint8_t sim_transport_proxy(const struct sim_world *w, unsigned domain);
/* A flow of the world's first moment. */
void sim_transport_init(const struct sim_world *w, struct sim_flow *f);
/* The client has opened: what comes before CONNECT. */
void sim_transport_begin(struct sim_flow *f);
/* Writes a packet of MQTT. */
void sim_say(struct sim_peer *p, const void *data, size_t len);
/* Takes apart what has come in. */
void sim_transport_read(struct sim_world *w, struct sim_flow *f, enum sim_end end);
/*
 * The MQTT packet of an injected segment; one of no bytes: Close alone. NULL: it says neither.
 * @param buf SIM_SEG_MAX bytes, for what comes in frames.
 */
const uint8_t *sim_transport_said(const struct sim_flow *f, enum sim_end to,
		const struct sim_seg *seg, uint8_t *buf, unsigned *len);

/* --- tracker.c --------------------------------------------------------------------------------- */

int sim_tracker_start(struct sim_world *w);
/* Stops it; every mbuf must have come back. */
void sim_tracker_stop(struct sim_world *w);
/* Puts a segment on the wire towards the tracker. @return false where the port is full. */
bool sim_tracker_input(struct sim_world *w, struct sim_flow *f, enum sim_end from,
		const struct sim_seg *seg);
unsigned sim_tracker_worker_turn(struct sim_world *w, unsigned worker);
unsigned sim_tracker_control_turn(struct sim_world *w);
void sim_tracker_grace(struct sim_world *w);
void sim_tracker_kick(struct sim_world *w, unsigned domain, unsigned clientid, bool discard);
struct mqt_digest sim_tracker_digest(
		struct sim_world *w, unsigned domain, const void *clientid, size_t len);
/* Messages that no state expected, on both sides. */
uint64_t sim_tracker_unexpected(struct sim_world *w);
struct mqt_cm *sim_tracker_cm(struct sim_world *w);
const struct mqt_config *sim_tracker_config(struct sim_world *w);
uint64_t sim_tracker_control_counter(struct sim_world *w, enum mqt_control_counter c);
/* Whether messages from or to a worker still wait outside their rings. */
bool sim_tracker_backlog(struct sim_world *w, unsigned worker);
const struct mqt_event_ring *sim_tracker_events(struct sim_world *w);
const struct mqt_conns_gauges *sim_tracker_gauges(struct sim_world *w, unsigned worker);
/* Asks the owner of a channel for its session. @return false where it has none. */
bool sim_tracker_inspect(struct sim_world *w, mqt_chan_id chan, uint8_t *topics);
uint64_t sim_tracker_worker_counter(struct sim_world *w, enum mqt_worker_counter c);
bool sim_tracker_busy(struct sim_world *w);
/* Lets all workers and the control lcore run. */
void sim_tracker_run(struct sim_world *w);
void sim_tracker_print(struct sim_world *w);

/* --- fault.c ----------------------------------------------------------------------------------- */

/* Between two steps: one of its faults, or mostly none. */
void sim_fault(struct sim_world *w);

/* --- check.c ----------------------------------------------------------------------------------- */

void sim_check_start(struct sim_world *w);
/* A segment leaves the tracker. */
void sim_check_output(struct sim_world *w, struct sim_flow *f, enum sim_end to,
		const struct sim_seg *seg);
/* After every step. */
void sim_check_step(struct sim_world *w);
/* Nothing is under way any more. */
void sim_check_quiet(struct sim_world *w);
/* All flows are closed and everything has come to rest. */
void sim_check_end(struct sim_world *w);
/* Both ends of a tracked flow live, and the client has its CONNACK. */
bool sim_check_alive(const struct sim_flow *f);

/* --- contest.c --------------------------------------------------------------------------------- */

/* Several connections of one client id at once, from a quiet point on. Returns how many. */
unsigned sim_contest_run(struct sim_world *w, unsigned domain, unsigned clientid);
/* After that, when nothing moves any more: one of them is left. */
void sim_contest_check(struct sim_world *w, unsigned domain, unsigned clientid);

/* --- storm.c ----------------------------------------------------------------------------------- */

/* As many as can connect. Returns a flow that is left for the newcomer, NULL: there is none. */
struct sim_flow *sim_storm_gather(struct sim_world *w);
/* When they are connected: all leave, the newcomer comes. */
void sim_storm_break(struct sim_world *w, struct sim_flow *newcomer);

/* --- silence.c --------------------------------------------------------------------------------- */

/* One end of a flow vanishes. @return false: there is none. */
bool sim_silence_begin(struct sim_world *w);
/* A second passes. @return false: it was the last. */
bool sim_silence_second(struct sim_world *w, unsigned second);
/* After that, when nothing moves any more: that flow is over, and no other one. */
void sim_silence_check(struct sim_world *w);

/* --- check_time.c ------------------------------------------------------------------------------ */

void sim_check_time_start(struct sim_world *w);
/* A worker has had a turn. */
void sim_check_worker_turn(struct sim_world *w, unsigned worker);
/* The control lcore has had a turn that began at @p began_ns. */
void sim_check_control_turn(struct sim_world *w, uint64_t began_ns);
/* An event is read. */
void sim_check_event_time(struct sim_world *w, const struct mqt_event *ev);

/* --- check_reader.c ---------------------------------------------------------------------------- */

void sim_check_reader_start(void);
/* Now and then a reader stays on a row for many steps. */
void sim_check_slow_reader(struct sim_world *w);
/* Whether it is inside a section: no grace period can end. */
bool sim_check_reading(void);
/* The control lcore has changed the maps, in the middle of its turn. */
void sim_check_registered(struct sim_world *w, const struct mqt_digest *digest, mqt_chan_id id);
void sim_check_unregistered(struct sim_world *w, const struct mqt_digest *digest, mqt_chan_id id);
/* It has ended its turn. */
void sim_check_reader_turn(void);
/* An event is read. */
void sim_check_reader_event(struct sim_world *w, const struct mqt_event *ev);

/* --- check_session.c --------------------------------------------------------------------------- */

void sim_check_session_start(void);
/* The CONNACK of a channel has left. */
void sim_check_session_released(struct sim_world *w, mqt_chan_id chan);
/* An event is read. */
void sim_check_session_event(struct sim_world *w, const struct mqt_event *ev);
/* After all events of a step. */
void sim_check_session_step(struct sim_world *w);

#endif
