/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CONN_WORKER_H
#define CONN_WORKER_H

#include "conn_layout.h"
#include "flows.h"
#include "links.h"
#include "mqtrack/capture.h"
#include "mqtrack/conn.h"

/*
 * What a worker has beside its connections, and what is asked of both all the time.
 */

#define WORKER_ROLE MQT_REQUIRES(mqt_role_worker)
#define KICKS_MAX   64 /* that wait; others do not */

/** What of the flow key of IPv6 is not in the connection: the higher end, ports, VLANs. */
struct key6_rest {
	uint8_t bytes[offsetof(struct mqt_flow_key, v6.zero) - MQT_FLOW_KEY_V4_LEN];
};

static_assert(sizeof(struct key6_rest) == 24, "more memory than it need be");

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

/** Handshakes of a bucket that are gone while their broker may go on with them. */
struct forgotten {
	uint32_t ms;  /* when the last one went; 0: there was none */
	uint32_t tag; /* of the one flow that it was; 0: of more than one */
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
	struct key6_rest *keys6; /* by slot */
	struct hold *holds;
	uint32_t n_holds;
	struct handshake *handshakes;
	uint32_t n_handshakes;
	struct embryo *embryos;
	uint32_t n_embryos, n_buckets, max_syn_data;
	uint32_t *buckets;
	struct forgotten *forgotten;   /* a bucket */
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

/** Whether flows that are not known do not pass. */
static inline bool
listener_refuses(const struct mqt_listener *l)
{
	return l->on_failure == MQT_FAIL_CLOSED || l->midstream == MQT_MIDSTREAM_RESET;
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

#endif
