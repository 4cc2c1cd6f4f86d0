/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CONN_PRIVATE_H
#define CONN_PRIVATE_H

#include "flows.h"
#include "links.h"
#include "mqtrack/capture.h"
#include "mqtrack/conn.h"
#include "mqtrack/info.h"
#include "mqtrack/mqtt.h"
#include "mqtrack/session.h"
#include "mqtrack/wheel.h"
#include "mqtrack/ws.h"

#include <assert.h>
#include <stddef.h>

/*
 * What the files of lib/conn share. Everything here belongs to one worker.
 *
 *   conn.c       slots, create and remove, dispatch of a burst
 *   table.c      the flow table, over the array of flows.c
 *   embryo.c     half-open handshakes (R13, R17, R18)
 *   established.c  the short way of most segments
 *   tcp.c        sequence numbers, acknowledgements, FIN and RST
 *   reorder.c    segments behind a gap
 *   hold.c       mbufs that wait: parked, or kept behind a gap (R11, R12)
 *   handshake.c  CONNECT and CONNACK, opening a channel
 *   park.c       what the broker sends until GRANT (R11, R12)
 *   layers.c     what comes before CONNECT: PROXY header, request for a WebSocket
 *   ws.c         WebSocket frames between TCP and MQTT
 *   session.c    the session of a flow: fed by its taps, inherited, handed over
 *   limit.c      what one source address may have
 *   links.c      the link headers of connections
 *   source.c     how much it has
 *   anomaly.c    what a peer of MQTT may not say
 *   capture.c    copies of the packets of one client
 *   silence.c    keepalive, and flows on which nobody speaks any more
 *   freeze.c     a flow that is being taken over: nothing passes
 *   close.c      closing a flow on the wire (R14, R15, R16)
 *   kick.c       kicks that wait until the client can be told
 *   message.c    the worker's side of the mailbox, the end of a channel
 *
 * cs is the worker's struct mqt_conns, c a connection, s and o its streams: s that of the sender
 * of the segment in hand, o the opposite one.
 */

#define WORKER_ROLE MQT_REQUIRES(mqt_role_worker)
#define NO_INDEX    UINT32_MAX

#define TICK_NS         (10 * MQT_NS_PER_MS)
#define CLOSE_RETRY_NS  (200 * MQT_NS_PER_MS) /* doubles with each try */
#define CLOSE_MAX_SHIFT 4                     /* 3.2 s at most between two tries */
#define CLOSE_TRIES     4                     /* then gone once the peers are silent */
#define LINGER_NS       (60 * MQT_NS_PER_SEC) /* a half-closed flow without segments */
#define FIN_NS          (5 * MQT_NS_PER_SEC)  /* for a FIN to be acknowledged */
#define KICKS_MAX       64                    /* that wait; others do not */
#define DOUBT_NS        (2 * MQT_NS_PER_SEC)  /* silence that confirms a doubtful RST */

/** Who sends; equals the parity of the port that a packet came in at. */
enum side {
	CLIENT = 0,
	BROKER = 1,
};

enum stream_flag {
	STREAM_FIN = 1u << 0,        /* its FIN came in order; next is behind it */
	STREAM_LOST = 1u << 1,       /* framing not followed (any more) */
	STREAM_DISCONNECT = 1u << 2, /* an MQTT DISCONNECT began in it */
	/* anomalies that have been told, see anomaly.c */
	STREAM_TOLD_WAY = 1u << 3,
	STREAM_TOLD_SECOND = 1u << 4,
	STREAM_TOLD_SUBSCRIBE = 1u << 5,
	STREAM_CLOSES = 1u << 6, /* its FIN came first, and ends the channel once acknowledged */
};

/** What was injected in the name of a stream's sender. */
enum injection {
	INJECT_NONE = 0,
	INJECT_RST,
	INJECT_DISCONNECT, /* and FIN */
	INJECT_CONNACK,    /* a refusal, and FIN */
	INJECT_CLOSE,      /* of a WebSocket, and FIN */
};

/** One direction, named by its sender. */
struct stream {
	uint32_t next;    /* followed up to here; in CLOSING what we acknowledge */
	uint32_t end;     /* behind the highest byte (or FIN) forwarded */
	uint32_t ack;     /* last acknowledgement that this sender sent */
	uint32_t edge;    /* right edge of the window that this sender offers */
	uint32_t ts_val;  /* last timestamp, and when it came */
	uint32_t seen_ms; /* last segment of effect */
	uint32_t held;    /* first hold, in the order of sequence; NO_INDEX: none */
	uint8_t n_held;   /* holds */
	uint8_t flags;    /* enum stream_flag */
	uint8_t wscale;   /* of the windows that this sender offers */
	uint8_t injected; /* enum injection */
	struct mqt_mqtt_tap tap;
};

enum conn_flag {
	CONN_CLIENT_LOW = 1u << 0, /* the client is the lower end of the flow key */
	CONN_IP6 = 1u << 1,
	CONN_TS = 1u << 2,           /* timestamps were negotiated */
	CONN_IN_TABLE = 1u << 3,     /* its key is in the flow table */
	CONN_CHANNEL = 1u << 4,      /* OPEN posted; neither REFUSE nor RELEASE has come */
	CONN_DOWN = 1u << 5,         /* DOWN posted */
	CONN_INJECTED = 1u << 6,     /* CLOSING: nothing passes any more (R15) */
	CONN_DOUBT = 1u << 7,        /* an RST in the window but not at a number seen */
	CONN_DOUBT_BROKER = 1u << 8, /* it was the broker's */
	CONN_HEARD = 1u << 9,        /* CLOSING: a segment came since the last try */
	CONN_DONE_CLIENT = 1u << 10, /* CLOSING: the client knows that it is over */
	CONN_DONE_BROKER = 1u << 11,
	CONN_WILL = 1u << 12,      /* CONNECT had a will */
	CONN_HANDSHAKE = 1u << 13, /* hs is there */
	CONN_WS = 1u << 14,        /* in WebSocket frames */
	CONN_COUNTED = 1u << 15,   /* among those of its source address */
};

/** What the next byte of a direction belongs to, before GRANT. */
enum layer {
	LAYER_MQTT = 0,
	LAYER_PROXY,  /* the header of a proxy; client only */
	LAYER_HTTP,   /* request for a WebSocket, or the answer to it */
	LAYER_FRAMES, /* of a WebSocket, with MQTT in them */
};

/** Where a handshake stands; from a bounded pool, free once CONNECTED. */
struct handshake {
	/* these two stay with it from one connection to the next, as long as they are small */
	uint8_t *connect; /* the client's MQTT up to the end of CONNECT */
	uint8_t *reply; /* the broker's MQTT from the begin of its unfinished packet, or its head */
	uint8_t *raw;   /* keeps_raw: the client's bytes as they came */
	uint32_t connect_len, connect_cap;
	uint32_t connect_tried; /* length at the last attempt to parse */
	uint32_t reply_len, reply_cap;
	uint32_t reply_begin; /* sequence number of reply[0], or of the frame that it lies in */
	uint32_t reply_skip;  /* bytes of an AUTH still to come */
	uint32_t base;        /* sequence number of the client's first byte */
	uint32_t raw_len, raw_cap;
	uint32_t behind;            /* the last of them that the MQTT in hand does not reach */
	uint32_t dropped[2];        /* of the broker's, not parked for want of room: from, to */
	uint32_t cut;               /* where the last FIN or RST among that stands */
	uint8_t cut_flags;          /* which it is; 0: none */
	uint32_t proxy_len;         /* of the PROXY header; 0: none (yet) */
	uint32_t frame_begin;       /* sequence number of the broker's current frame */
	struct mqt_ws_scan scan[2]; /* of the HTTP heads */
	uint8_t layer[2];           /* enum layer */
	bool keeps_raw;             /* connect is not what came */
	bool reply_continues;       /* reply began in a continuation frame */
	uint8_t *early;             /* packets that came before GRANT, see session.c */
	uint32_t early_len, early_cap;
	struct mqt_mqtt_connect parsed; /* once CONNECT is complete; points into connect */
	struct mqt_session *session;    /* as long as CONNECT is kept, see struct conn */
	uint32_t link;                  /* next free */
	/* EMBRYONIC: among those that have sent no whole CONNECT, by age */
	struct conn *conn;
	struct handshake *older, *newer;
};

/*
 * Four cache lines: counters; then, for each segment, what it belongs to and both streams but for the
 * broker's tap; the rest. So a segment without payload touches two lines, and at most three that the
 * client sends, four that the broker sends. Index and generation are not kept: the array and the
 * slot's word have them.
 */
struct conn {
	/* hot: what each packet touches */
	struct mqt_slot slot; /* first member, see slot.h */
	uint16_t flags;       /* enum conn_flag */
	uint8_t state;        /* enum mqt_conn_state */
	uint8_t version;
	uint8_t pair : 7;     /* of ports */
	uint8_t captured : 1; /* see capture.c */
	uint8_t tries;        /* CLOSING: to be heard; CONNECTED: looks at a silent flow */
	uint16_t listener;
	struct mqt_flow_key4 key4; /* of IPv4; else it is in keys6 */
	struct stream stream[2];

	/* cold: what sessions, injection and timers need */
	union {
		struct handshake *hs;          /* CONN_HANDSHAKE: it has the session meanwhile */
		struct mqt_session *session;   /* NULL: none (yet) */
		struct mqt_pendings *pendings; /* FROZEN: the session has been handed over */
	};
	struct mqt_timer timer;
	union {
		struct {
			uint32_t isn;        /* of the client */
			uint32_t expiry_sec; /* of the session; from CONNACK on */
		};
		struct {
			uint32_t next_slot; /* in the FIFO of quiet or free slots */
			uint32_t quiet_ms;  /* when it began to rest */
		};
	};
	union {
		uint8_t inj_code[2];    /* CLOSING: MQTT code of what was injected */
		uint16_t keepalive_sec; /* before: the broker's or the client's; 0: off */
	};
	uint32_t link; /* headers: see links.c */
} __rte_cache_aligned;

static_assert(offsetof(struct conn, slot) == 0, "slots are found by their connection");
static_assert(offsetof(struct conn, slot.seen_ns) == 64, "counters: one cache line");
static_assert(offsetof(struct conn, stream[BROKER].tap) <= 192, "hot part: two cache lines more");
static_assert(MQT_MAX_PAIRS <= 128, "pair has seven bits");
static_assert(sizeof(struct conn) <= 256, "budget of a connection");

/** An mbuf that waits. */
struct hold {
	struct rte_mbuf *m;
	struct mqt_pkt view;
	uint32_t next;
	uint32_t since_ms;
	uint16_t port;  /* it came in here */
	bool forwarded; /* a reference only: it has left */
};

/** A half-open handshake. */
struct embryo {
	struct mqt_flow_key key;
	uint64_t hash;
	uint64_t seen_ns;
	uint64_t source_key; /* counted as one of that source; 0: not (yet) */
	uint8_t *syn_data;   /* payload of the SYN (R18), NULL: none */
	uint32_t syn_data_len;
	uint32_t isn[2];
	uint32_t edge;         /* of the broker's window */
	uint16_t window;       /* of the SYN */
	uint32_t ts_val[2];    /* of SYN and SYN/ACK */
	uint32_t chain;        /* next in its bucket */
	uint32_t newer, older; /* by age; newer also links free ones */
	uint16_t listener;
	uint8_t used, answered; /* answered: a valid SYN/ACK came */
	uint8_t ip6, client_low, pair;
	uint8_t has_ts, has_wscale, mptcp; /* what both sides want so far */
	uint8_t synack_data;               /* the SYN/ACK had payload: not followed */
	uint8_t one_way;                   /* counted as one */
	uint16_t distrust; /* enum mqt_worker_counter, why it will not be followed; 0: it will */
	uint8_t wscale[2];
	struct link_pair link;
};

/** A connection whose packets are copied. */
struct captured {
	struct conn *c;
	uint8_t captures; /* a bit each */
};

#define CAPTURED_MAX 64

/** What is known of a capture. */
struct capture_seen {
	uint32_t word;
	uint32_t n_chans; /* looked at */
};

struct fifo {
	uint32_t head, tail; /* slot indices; NO_INDEX: empty */
};

/** A kick that waits. */
struct kick {
	struct mqt_msg msg; /* the STEPDOWN */
	uint64_t until_ns;
};

struct mqt_conns {
	/* immutable after create */
	const struct mqt_config *config;
	const struct mqt_clock *clock;
	const struct mqt_hash_key *hash_key;
	struct mqt_mailbox *mailbox;
	struct mqt_tx *tx;
	struct rte_mempool *pool;
	_Atomic uint64_t *counters;
	unsigned worker;
	struct mqt_sources *sources;     /* NULL: no limits */
	bool any_refuses;                /* a listener that lets no unknown flow through */
	uint8_t parked_max, reorder_max; /* a flow */
	struct mqt_wheel *wheel;
	struct conn *slots;
	uint32_t n_slots;
	struct mqt_flow_key *keys6; /* by slot */
	struct hold *holds;
	uint32_t n_holds;
	struct handshake *handshakes;
	uint32_t n_handshakes;
	struct embryo *embryos;
	uint32_t n_embryos, n_buckets, max_syn_data;
	uint32_t *buckets;
	uint32_t *forgot_ms;           /* a bucket: when it last forgot a handshake; 0: never */
	struct ws *ws;                 /* by slot; NULL: no listener has it */
	struct mqt_captures *captures; /* NULL: none */

	/* owner only */
	uint64_t now_ns;
	uint64_t open_ns; /* stamp of the last OPEN */
	uint32_t now_ms;
	struct flows flows;
	struct links links;
	uint64_t added; /* hashes of the flows added in this burst: a bit for each of their classes */
	uint32_t hand;    /* where the search for a slot to recycle goes on */
	uint32_t n_fresh; /* slots never used begin here */
	struct fifo free, quiet;
	uint32_t free_hold, fresh_hold, free_handshake, fresh_handshake;
	struct handshake *oldest_silent, *newest_silent;
	uint32_t free_embryo, fresh_embryo, oldest_embryo, newest_embryo, n_syn_data;
	unsigned n_kicks; /* they wait */
	struct kick kicks[KICKS_MAX];
	uint64_t anomaly_second; /* in which n_anomalies were told */
	uint32_t n_anomalies;
	uint32_t capture_epoch; /* up to which what is asked for is known */
	bool capturing;         /* some client */
	unsigned n_captured;
	struct captured captured[CAPTURED_MAX];
	struct capture_seen capture_seen[MQT_CAPTURES_MAX];
	struct mqt_conns_gauges gauges;
};

static inline void
count(struct mqt_conns *cs, enum mqt_worker_counter counter)
{
	mqt_counter_add(&cs->counters[counter], 1);
}

static inline void
gauge_add(_Atomic uint32_t *gauge, int n)
{
	atomic_store_explicit(gauge,
			atomic_load_explicit(gauge, memory_order_relaxed) + (uint32_t)n,
			memory_order_relaxed);
}

static inline enum side
opposite(enum side side)
{
	return side == CLIENT ? BROKER : CLIENT;
}

/** Sequence number behind a segment: payload and FIN. */
static inline uint32_t
seg_end(const struct mqt_pkt *v)
{
	return v->seq + v->payload_len + !!(v->tcp_flags & MQT_TCP_FIN);
}

static inline uint32_t
conn_index(const struct mqt_conns *cs, const struct conn *c)
{
	return (uint32_t)(c - cs->slots);
}

static inline uint32_t
conn_gen(const struct conn *c)
{
	/* relaxed: others change the state beside it, never the generation */
	return (uint32_t)(atomic_load_explicit(&c->slot.word, memory_order_relaxed) >> 8);
}

static inline mqt_chan_id
conn_chan(const struct mqt_conns *cs, const struct conn *c)
{
	return mqt_chan_id_make(cs->config->node_id, cs->worker, conn_index(cs, c), conn_gen(c));
}

static inline uint64_t
conn_killed_word(const struct conn *c)
{
	return mqt_slot_word(conn_gen(c), MQT_SLOT_KILLED);
}

/** Whether the control lcore has killed it: nothing of it may leave any more (R5). */
static inline bool
conn_is_killed(const struct conn *c)
{
	/* acquire: pairs with the exchange in mqt_slot_leave() */
	uint64_t word = atomic_load_explicit(&c->slot.word, memory_order_acquire);

	return (word & 0xff) == MQT_SLOT_KILLED;
}

/** Whether the channel lives as far as its worker knows. */
static inline bool
conn_is_open(const struct conn *c)
{
	return c->flags & CONN_CHANNEL && !(c->flags & CONN_DOWN);
}

/** Where its session is, or will be. Not of a frozen one. */
static inline struct mqt_session **
conn_session(struct conn *c)
{
	return c->flags & CONN_HANDSHAKE ? &c->hs->session : &c->session;
}

/** The client has sent MQTT, see its keepalive in silence.c. */
static inline void
tcp_note_life(struct mqt_conns *cs, struct conn *c)
{
	atomic_store_explicit(&c->slot.seen_ns, cs->now_ns, memory_order_relaxed);
}

/** Sends on what came in at @p port. Ownership: @p m is gone. */
static inline WORKER_ROLE void
conn_forward(struct mqt_conns *cs, struct conn *c, uint16_t port, struct rte_mbuf *m)
{
	mqt_tx_push(cs->tx, port ^ 1, m, &c->slot.word, conn_killed_word(c));
}

/* --- conn.c ------------------------------------------------------------------------------------ */

/**
 * Makes a connection of an embryo and puts it in the table; an older flow of that key has been
 * removed before. @return NULL: no slot or no room, counted.
 */
struct conn *conn_create(struct mqt_conns *cs, const struct embryo *e) WORKER_ROLE;

/** The flow is over: forgets it, and its slot once the control lcore has (R1). */
void conn_remove(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/** The slot may rest and be used again. */
void conn_slot_quiet(struct mqt_conns *cs, struct conn *c);

void conn_set_state(struct mqt_conns *cs, struct conn *c, enum mqt_conn_state state);

/** (Re-)arms the connection's one timer @p after_ns from now. */
void conn_arm(struct mqt_conns *cs, struct conn *c, uint64_t after_ns);
/** Where its timer is not to fire earlier anyway. */
void conn_arm_by(struct mqt_conns *cs, struct conn *c, uint64_t after_ns);

bool conn_fail_closed(const struct mqt_conns *cs, const struct conn *c);

/** From now on it only passes, with everything that was held: no channel, not followed. */
void conn_pass(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/** It cannot be tracked, for the reason @p why: passes or is reset, as its listener says (I10). */
void conn_untracked(struct mqt_conns *cs, struct conn *c, enum mqt_worker_counter why) WORKER_ROLE;

/* --- table.c ----------------------------------------------------------------------------------- */

int table_init(struct mqt_conns *cs);
void table_fini(struct mqt_conns *cs);

/** Puts a connection under the key of its embryo. @return false: no room. */
bool table_add(struct mqt_conns *cs, struct conn *c, const struct embryo *e);

/** Takes it out. @return the hash of its key. */
uint64_t table_remove(struct mqt_conns *cs, struct conn *c);

/** A burst begins: finds the slots that its packets may belong to; FLOWS_NONE: none. */
void table_find(struct mqt_conns *cs, const struct mqt_packet *pkts, unsigned n, uint32_t *slots);

/**
 * The turn of one of them has come.
 * @param slot what table_find() found. @return its connection, or NULL.
 */
struct conn *table_conn(const struct mqt_conns *cs, const struct mqt_packet *p, uint32_t slot);

/** Client and broker of a connection. */
void table_endpoints(const struct mqt_conns *cs, const struct conn *c, struct mqt_endpoint *client,
		struct mqt_endpoint *broker);

/* --- embryo.c ---------------------------------------------------------------------------------- */

int embryo_init(struct mqt_conns *cs);
void embryo_fini(struct mqt_conns *cs);

/** A SYN from outside. It passes, whatever is known of its flow. */
void embryo_syn(struct mqt_conns *cs, const struct mqt_packet *p, const struct conn *c) WORKER_ROLE;

/**
 * A SYN/ACK from inside. @param c the flow's older incarnation, or NULL.
 * @return true: it answers an embryo and passes; @p c is over then.
 */
bool embryo_synack(struct mqt_conns *cs, const struct mqt_packet *p, struct conn *c) WORKER_ROLE;

/**
 * A segment of a flow without connection.
 * @param taken set where the packet was dropped.
 * @return the connection that begins with it, which has yet to judge it; or NULL.
 */
struct conn *embryo_ack(struct mqt_conns *cs, const struct mqt_packet *p, bool *taken) WORKER_ROLE;

/** A SYN from inside: where the client has opened the flow too, nobody opens it alone. */
void embryo_simultaneous(struct mqt_conns *cs, const struct mqt_packet *p);

/** A connection of this flow is gone, while its broker may still wait for its handshake. */
void embryo_forget(struct mqt_conns *cs, uint64_t hash);

/** Forgets what is too old. @return how many. */
unsigned embryo_expire(struct mqt_conns *cs, unsigned budget);

/* --- hold.c ------------------------------------------------------------------------------------ */

int hold_init(struct mqt_conns *cs, uint32_t n);
void hold_fini(struct mqt_conns *cs);

/** Puts it in its place by sequence, behind equal ones. @return false: no room; @p m stays. */
bool hold_add(struct mqt_conns *cs, struct stream *s, struct rte_mbuf *m, const struct mqt_pkt *v,
		uint16_t port, bool forwarded);

/** Takes the first one out. @return false: none. Ownership: out->m is the caller's. */
bool hold_pop(struct mqt_conns *cs, struct stream *s, struct hold *out);

/** Drops the last one. */
void hold_drop_last(struct mqt_conns *cs, struct stream *s);

/** Drops all. */
void hold_drop(struct mqt_conns *cs, struct stream *s);

/** Whether the bytes that both segments have are the same. */
bool hold_agrees(const struct hold *h, const struct rte_mbuf *m, const struct mqt_pkt *v);

static inline struct hold *
hold_at(const struct mqt_conns *cs, uint32_t index)
{
	return index == NO_INDEX ? NULL : &cs->holds[index];
}

/* --- established.c ----------------------------------------------------------------------------- */

/**
 * The short way of a segment that changes nothing but numbers.
 * @return false: it has to go the long way, nothing has changed. Ownership: taken where true.
 */
bool established_input(
		struct mqt_conns *cs, struct conn *c, const struct mqt_packet *p) WORKER_ROLE;

/* --- tcp.c ------------------------------------------------------------------------------------- */

/** A segment of a flow that passes: CONNECTED, OPAQUE, or CLOSING by its own ends. */
void tcp_input(struct mqt_conns *cs, struct conn *c, enum side side,
		const struct mqt_packet *p) WORKER_ROLE;

/** What the segment says of its sender: acknowledgement, window, timestamp, time. */
void tcp_learn(struct mqt_conns *cs, struct conn *c, enum side side, const struct rte_mbuf *m,
		const struct mqt_pkt *v) WORKER_ROLE;

/** The timestamp of a segment of a flow that has them. */
void tcp_learn_timestamp(struct stream *s, const struct rte_mbuf *m, const struct mqt_pkt *v);

/**
 * Follows a segment that leaves no gap, forwards it where it has not left yet. Ownership: @p m is
 * taken.
 */
void tcp_take_and_forward(struct mqt_conns *cs, struct conn *c, enum side side, struct rte_mbuf *m,
		const struct mqt_pkt *v, uint16_t port, bool forwarded) WORKER_ROLE;

/** Skips bytes inside a body that is being skipped, unseen. @return false: they are not. */
bool tcp_skip(struct mqt_conns *cs, struct conn *c, enum side side, uint32_t to);

/** A FIN has come in order and has been forwarded. */
void tcp_fin(struct mqt_conns *cs, struct conn *c, enum side side) WORKER_ROLE;

/** Follows bytes that come next in the stream. */
void tcp_take_bytes(struct mqt_conns *cs, struct conn *c, enum side side, const uint8_t *data,
		uint32_t len) WORKER_ROLE;

/** Follows bytes of MQTT, whatever carried them. */
void tcp_take_mqtt(struct mqt_conns *cs, struct conn *c, enum side side, const uint8_t *data,
		uint32_t len) WORKER_ROLE;

/** What was being collected is given up, and the session stays as last known. */
void tcp_stop_following(struct stream *s);

/** An RST: passes, and ends the flow where the receiver can take it. Ownership: taken. */
void tcp_rst(struct mqt_conns *cs, struct conn *c, enum side side, struct rte_mbuf *m,
		const struct mqt_pkt *v, uint16_t port) WORKER_ROLE;

/** An RST of @p side is believed: the channel ends, the other end is reset. */
void tcp_reset_by(struct mqt_conns *cs, struct conn *c, enum side side) WORKER_ROLE;

/** A FIN was no end, or is none in time: the channel ends, both ends are reset, counted. */
void tcp_abort(struct mqt_conns *cs, struct conn *c, enum mqt_worker_counter why) WORKER_ROLE;

/** The client closed before it was admitted; now it is, and the channel ends once that is known. */
void tcp_client_closed(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/** Ends the channel where an end has closed and the other knows it, the flow where both do. */
void tcp_maybe_done(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/** Framing is not followed from here on. */
void tcp_lose(struct mqt_conns *cs, struct stream *s);

/** Urgent data in a stream: its framing is not followed any further, counted. */
void tcp_urgent(struct mqt_conns *cs, struct stream *s);

/** Time since the last segment of either side, ms. */
uint32_t tcp_silent_ms(const struct mqt_conns *cs, const struct conn *c);

/* --- reorder.c --------------------------------------------------------------------------------- */

/** Payload or FIN: forwards and follows it, or keeps it behind a gap. Ownership: @p m is taken. */
void reorder_input(struct mqt_conns *cs, struct conn *c, enum side side, struct rte_mbuf *m,
		const struct mqt_pkt *v, uint16_t port) WORKER_ROLE;

/** A gap that will not be filled: the framing of the stream is lost, all else goes on. */
void reorder_give_up(struct mqt_conns *cs, struct conn *c, enum side side) WORKER_ROLE;

/** Gives up the gaps that are too old. @return whether some are left, to be watched. */
bool reorder_expire(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;
void reorder_watch(struct mqt_conns *cs, struct conn *c);

/* --- handshake.c ------------------------------------------------------------------------------- */

int handshake_init(struct mqt_conns *cs);
void handshake_fini(struct mqt_conns *cs);

/** Appends to a buffer that grows. @return false: no memory, nothing has changed. */
bool handshake_append(uint8_t **buf, uint32_t *len, uint32_t *cap, const void *data, uint32_t n);

/**
 * Gives a new connection its handshake, that of the oldest connection which has sent no CONNECT if
 * no other is left. @return false: there is none.
 */
bool handshake_begin(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;
void handshake_end(struct mqt_conns *cs, struct conn *c);

/** What the broker's bytes so far mean. */
enum reply {
	REPLY_PASSES, /* no CONNACK in them */
	REPLY_WAITS,  /* a part of one */
	REPLY_DONE,   /* the connection has another state */
};

/** Judges the broker's MQTT that has come. */
enum reply handshake_reply(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/** A segment in EMBRYONIC, CONNECTING or OPENING. */
void handshake_input(struct mqt_conns *cs, struct conn *c, enum side side,
		const struct mqt_packet *p) WORKER_ROLE;

/**
 * Bytes of the client, in order, while CONNECT is not complete.
 * @return how many of them are the handshake's; the rest is behind CONNECT.
 */
uint32_t handshake_connect_bytes(struct mqt_conns *cs, struct conn *c, const uint8_t *data,
		uint32_t len) WORKER_ROLE;

/** Whether the segment repeats a byte of CONNECT, or a FIN, with another content (I12). */
bool handshake_conflict(const struct conn *c, const struct rte_mbuf *m, const struct mqt_pkt *v);

/** The newcomer cannot be admitted: passes untracked or is refused, as its listener says. */
void handshake_unadmitted(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/** The wait for GRANT has taken too long (R7). */
void handshake_opening_timeout(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/* --- park.c ------------------------------------------------------------------------------------ */

/** Holds a segment of the broker, or drops it. @return whether there is something new to look at. */
bool park_input(struct mqt_conns *cs, struct conn *c, const struct mqt_packet *p) WORKER_ROLE;

/** OPENING: ends the channel where the broker has ended the connection behind its CONNACK. */
void park_watch(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/** Releases what is parked; the handshake is over. */
void park_release(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/* --- layers.c ---------------------------------------------------------------------------------- */

struct mqt_proxy;

/** A handshake begins: which layers its listener has. */
void layers_begin(struct mqt_conns *cs, struct conn *c);

/**
 * Bytes of the client, in order, in EMBRYONIC, where keeps_raw.
 * @return how many of them come before MQTT or its frames; all, where it is not followed any more.
 */
uint32_t layers_client_bytes(struct mqt_conns *cs, struct conn *c, const uint8_t *data,
		uint32_t len) WORKER_ROLE;

/** What the proxy said; zeroed where it said nothing. Points into hs->raw. */
void layers_proxy(const struct handshake *hs, struct mqt_proxy *proxy);

/** Follows an HTTP head. @param used bytes of it. @param complete whether they complete it. */
enum mqt_ws_error layers_head(struct handshake *hs, enum side side, const uint8_t *data,
		uint32_t len, uint32_t *used, bool *complete);

/** The counter that names the error. */
enum mqt_worker_counter layers_ws_error(enum mqt_ws_error error);

/* --- ws.c -------------------------------------------------------------------------------------- */

int ws_init(struct mqt_conns *cs);
void ws_fini(struct mqt_conns *cs);

/** A new connection: CONN_WS where its listener's transport is that. */
void ws_begin(struct mqt_conns *cs, struct conn *c);

/** Follows frames that come next in the stream. */
void ws_take_bytes(struct mqt_conns *cs, struct conn *c, enum side side, const uint8_t *data,
		uint32_t len) WORKER_ROLE;

/** Skips bytes unseen. @return false: not possible, nothing has changed. */
bool ws_skip(struct mqt_conns *cs, struct conn *c, enum side side, uint32_t n);

/**
 * Reads what the broker sends before GRANT, up to the end of CONNACK; moves its stream's next.
 * @return false: the connection has another state.
 */
bool ws_reply_bytes(struct mqt_conns *cs, struct conn *c, const uint8_t *data,
		uint32_t len) WORKER_ROLE;

/** What has been read so means. */
enum reply ws_reply(const struct mqt_conns *cs, const struct conn *c);

/** Whether a frame may follow in the name of @p from. @param message one of a message of its own. */
bool ws_can_speak(const struct mqt_conns *cs, const struct conn *c, enum side from, bool message);

/** Whether Close has been said in the name of @p from. */
bool ws_is_closed(const struct mqt_conns *cs, const struct conn *c, enum side from);

/** What to inject: an MQTT packet (len 0: none), framed; towards the client Close behind it. */
size_t ws_inject(const struct conn *c, enum side from, const uint8_t *packet, size_t len,
		uint8_t *buf, size_t cap);

/** Whether a segment is nothing but the client's answer to a Close. */
bool ws_is_close_answer(const struct rte_mbuf *m, const struct mqt_pkt *v);

/* --- close.c ----------------------------------------------------------------------------------- */

enum close_how {
	CLOSE_RESET,   /* both ends by RST */
	CLOSE_DISCARD, /* v5 client: DISCONNECT 0x8E where possible */
	/* v5 client: DISCONNECT 0x8D where possible; the broker is to publish the will */
	CLOSE_KEEPALIVE,
	/* refusing CONNACK to the client, DISCONNECT to the broker where possible */
	CLOSE_REFUSE,          /* v5 0x89, 3.x 0x03 */
	CLOSE_REFUSE_POLICY,   /* v5 0x97, 3.x 0x03 */
	CLOSE_REFUSE_USERNAME, /* v5 0x87, 3.x 0x05 */
};

/** Closes the flow on the wire: from now on the tracker is the peer of both ends (R15). */
void close_wire(struct mqt_conns *cs, struct conn *c, enum close_how how) WORKER_ROLE;

/** The same; @p side has sent RST and is told nothing unless it speaks again. */
void close_reset_by(struct mqt_conns *cs, struct conn *c, enum side side) WORKER_ROLE;

/** The same, by a kick: a v5 client gets DISCONNECT with @p code where possible. */
void close_kick(struct mqt_conns *cs, struct conn *c, uint8_t code) WORKER_ROLE;

/** Whether an end that a kick has to tell cannot be told yet, and may be later. */
bool close_better_later(const struct mqt_conns *cs, const struct conn *c);

/** A segment of a flow so closed. Ownership: taken. */
void close_input(struct mqt_conns *cs, struct conn *c, enum side side,
		const struct mqt_packet *p) WORKER_ROLE;

/** Tries again, or is done. */
void close_timer(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/** Resets a flow without connection at both ends, from one packet of it, and drops the packet. */
void close_unknown(struct mqt_conns *cs, const struct mqt_packet *p) WORKER_ROLE;

/**
 * Asks an end whether it is still there, by a TCP keepalive probe in the name of the other. The
 * flow goes on.
 */
void close_probe(struct mqt_conns *cs, const struct conn *c, enum side to) WORKER_ROLE;

/* --- kick.c ------------------------------------------------------------------------------------ */

/** @return whether the kick @p msg of a channel that is open waits; false: it is to be done now. */
bool kick_waits(struct mqt_conns *cs, const struct conn *c, const struct mqt_msg *msg) WORKER_ROLE;

/** Ends the wait, if one waits for this channel. @return whether; @p msg is the kick then. */
bool kick_take(struct mqt_conns *cs, const struct conn *c, struct mqt_msg *msg);

/** Between bursts: does the kicks that need not wait any longer. @return how many. */
unsigned kick_poll(struct mqt_conns *cs) WORKER_ROLE;

/* --- silence.c --------------------------------------------------------------------------------- */

/** From now on the flow passes: CONNECTED, or OPAQUE. */
void silence_watch(struct mqt_conns *cs, struct conn *c);

/** The timer of a flow that passes, or is being closed by its own ends. */
void silence_timer(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/* --- freeze.c ---------------------------------------------------------------------------------- */

/** From now on nothing passes. @return its session, NULL: none. Ownership: the caller's. */
struct mqt_session *freeze(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/** A segment of a frozen flow. Ownership: taken. */
void freeze_input(struct mqt_conns *cs, struct conn *c, enum side side,
		const struct mqt_packet *p) WORKER_ROLE;

/** The end of the takeover has not come: closes by itself. */
void freeze_timer(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/* --- session.c --------------------------------------------------------------------------------- */

/** A packet that the tap of @p side has reported. */
void session_packet(struct mqt_conns *cs, struct conn *c, enum side side,
		const struct mqt_mqtt_packet *packet);

/** Granted, with what it inherits or NULL. Ownership: the connection's. */
void session_begin(struct mqt_conns *cs, struct conn *c, struct mqt_session *inherited);

/** Writes what outlives the flow into a session that is about to leave. */
void session_finish(const struct conn *c, struct mqt_session *session);

/** The session that outlives the flow, an empty one where it had none. @return NULL: no memory. */
struct mqt_session *session_leave(struct mqt_conns *cs, struct conn *c);

/** Destroys what is left of it: the session, or the pendings of a frozen flow. */
void session_drop(struct conn *c);

/* --- limit.c ----------------------------------------------------------------------------------- */

/**
 * The handshake is complete: counts it for its source address.
 * @return false: that has as many as it may have.
 */
bool limit_enter(struct mqt_conns *cs, struct embryo *e);

/** No connection has been made of it. */
void limit_undo(struct mqt_conns *cs, const struct embryo *e);

/** The connection is over. */
void limit_leave(struct mqt_conns *cs, struct conn *c);

/* --- anomaly.c --------------------------------------------------------------------------------- */

enum anomaly {
	ANOMALY_BEFORE_CONNECT,
	ANOMALY_BEFORE_CONNACK,
	ANOMALY_SECOND_CONNECT,
	ANOMALY_SECOND_CONNACK,
	ANOMALY_FROM_CLIENT,
	ANOMALY_FROM_BROKER,
	ANOMALY_UNASSIGNED_TYPE,
	ANOMALY_RESERVED_FLAGS,
	ANOMALY_PUBLISH_QOS,
	ANOMALY_SUBSCRIBE_QOS,
	ANOMALY_REMAINING_LENGTH,
	ANOMALY_WS_FRAME,
	ANOMALY_N_KINDS,
};

/** Types of packets that are none, or may be none, from that side after CONNECT and CONNACK. */
#define ANOMALY_TYPES_CLIENT                                                                       \
	(1u << MQT_MQTT_CONNECT | 1u << MQT_MQTT_CONNACK | 1u << MQT_MQTT_SUBACK |                 \
			1u << MQT_MQTT_UNSUBACK | 1u << MQT_MQTT_PINGRESP | 1u << MQT_MQTT_AUTH)
#define ANOMALY_TYPES_BROKER                                                                       \
	(1u << MQT_MQTT_CONNECT | 1u << MQT_MQTT_CONNACK | 1u << MQT_MQTT_SUBSCRIBE |              \
			1u << MQT_MQTT_UNSUBSCRIBE | 1u << MQT_MQTT_PINGREQ |                      \
			1u << MQT_MQTT_DISCONNECT | 1u << MQT_MQTT_AUTH)

/** Counts one, and tells the control lcore where that has not been done. */
void anomaly(struct mqt_conns *cs, struct conn *c, enum side side, enum anomaly kind) WORKER_ROLE;

/**
 * Judges packet types that began in a stream, see ANOMALY_TYPES_*.
 * @return whether the stream is not to be followed any more.
 */
bool anomaly_types(
		struct mqt_conns *cs, struct conn *c, enum side side, unsigned types) WORKER_ROLE;

/** The framing of a stream has broken. */
void anomaly_framing(struct mqt_conns *cs, struct conn *c, enum side side,
		enum mqt_mqtt_error error) WORKER_ROLE;

/** So have the frames around it. */
void anomaly_ws_frame(struct mqt_conns *cs, struct conn *c, enum side side) WORKER_ROLE;

/** A client's stream begins with a byte that begins no CONNECT. */
void anomaly_first_byte(struct mqt_conns *cs, struct conn *c, uint8_t first) WORKER_ROLE;

/** A packet that the tap of @p side has reported. */
void anomaly_packet(struct mqt_conns *cs, struct conn *c, enum side side,
		const struct mqt_mqtt_packet *packet) WORKER_ROLE;

/* --- capture.c --------------------------------------------------------------------------------- */

/** Learns what is asked for. Context: the epoch is another one than capture_epoch. */
void capture_sync(struct mqt_conns *cs) WORKER_ROLE;

/** The connection has sent a CONNECT. Context: capturing. */
void capture_connect(struct mqt_conns *cs, struct conn *c, const void *clientid, size_t len);

/** A packet of a captured connection, before it is judged; not while it opens. */
void capture_received(
		struct mqt_conns *cs, const struct conn *c, const struct mqt_packet *p) WORKER_ROLE;

/** handshake_input(), with a look at the packet behind it. Context: capturing. */
void capture_handshake(struct mqt_conns *cs, struct conn *c, enum side side,
		const struct mqt_packet *p) WORKER_ROLE;

/** A packet that the tracker sends in the name of an end of a captured connection. */
void capture_sent(struct mqt_conns *cs, const struct conn *c, uint16_t port,
		const struct rte_mbuf *m) WORKER_ROLE;

/** A captured connection is removed. */
void capture_forget(struct mqt_conns *cs, struct conn *c);

/* --- message.c --------------------------------------------------------------------------------- */

/**
 * The channel is over: slot CLOSED, and once DOWN, or CLOSED where a session outlives it. Nothing
 * where there is no channel.
 * @return false: it had been killed; DOWN says so, and the caller must let nothing out.
 */
bool channel_down(struct mqt_conns *cs, struct conn *c, enum mqt_reason reason) WORKER_ROLE;

/** Closes the flow for a kick, and answers it. */
void channel_kick(struct mqt_conns *cs, struct conn *c, const struct mqt_msg *msg) WORKER_ROLE;

/** Found killed: closes the flow on the wire, posts DOWN. */
void channel_killed(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

#endif
