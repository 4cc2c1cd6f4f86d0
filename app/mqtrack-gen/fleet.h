/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GEN_FLEET_H
#define GEN_FLEET_H

#include "mqtrack/packet.h"
#include "options.h"

/*
 * Who the flows are, and what they say: all of it follows from a flow's number, so that a flow needs
 * no memory but for how far it has come, and a packet that comes in is found without a table.
 *
 * Flows have places; the flow in a place is followed by others, round after round, each with a number
 * (place + round * places), and with it ends of its own. Client ids stay in their place.
 */

/** What a packet is. */
enum gen_act {
	GEN_A_SYN,
	GEN_A_SYN_ACK,
	GEN_A_ACK, /* that ends the handshake */
	GEN_A_CONNECT,
	GEN_A_CONNACK,
	GEN_A_SETTLE, /* the client's acknowledgement of its CONNACK */
	GEN_A_PUBLISH,
	GEN_A_PUBACK, /* or, for QoS 0, an acknowledgement of TCP */
	GEN_A_DISCONNECT,
	GEN_A_FIN,
	GEN_A_FIN_ACK,
	GEN_A_LAST_ACK,
	/* garbage */
	GEN_A_NONSENSE,       /* no packet of MQTT */
	GEN_A_BAD_CONNECT,    /* of a will with QoS 3 */
	GEN_A_BAD_LENGTH,     /* a PUBLISH of five length bytes */
	GEN_A_SECOND_CONNECT, /* of another client id */
	GEN_A_STRAY,          /* random bytes on no connection */
	GEN_A_DAMAGED,        /* a CONNECT with a wrong checksum */
	GEN_A_LIES,           /* an IP header that says more than there is */
	GEN_A_RST,
	GEN_N_ACTS,
};

struct gen_act_info {
	uint8_t side;     /* enum gen_side: who sends it */
	uint8_t flags;    /* of TCP */
	bool fire;        /* whether it arrives does not matter, and moves no sequence number */
	bool has_payload; /* one of MQTT, or that should be */
};

extern const struct gen_act_info gen_acts[GEN_N_ACTS];

/** Sorts of garbage, each with what the tracker counts it as. */
enum gen_garbage {
	GEN_G_NONSENSE,
	GEN_G_BAD_CONNECT,
	GEN_G_BAD_LENGTH,
	GEN_G_SECOND_CONNECT,
	GEN_G_STRAY,
	GEN_G_DAMAGED,
	GEN_G_LIES,
	GEN_N_GARBAGE,
};

/** Counter of the tracker ("opaque_protocol") that a sort raises by one a flow. Static storage. */
const char *gen_garbage_counter(enum gen_garbage sort);

struct gen_fleet {
	const struct gen_options *o;
	uint32_t places;
	uint64_t n_tuples; /* numbers after which the ends of flows come again */
};

/** How far a flow has come. */
struct gen_flow {
	uint32_t round;
	uint32_t seq[2];  /* next number, by enum gen_side */
	uint32_t sent_us; /* when its packet under way was sent; wraps */
	uint32_t n_said;  /* messages so far */
	uint8_t step;
	uint8_t state; /* engine.c's */
	uint8_t tries;
	uint8_t ends; /* engine.c's */
};

_Static_assert(sizeof(struct gen_flow) == 24, "a million flows at once are 24 MB");

void gen_fleet_init(struct gen_fleet *fleet, const struct gen_options *options);

static inline uint64_t
gen_number(const struct gen_fleet *fleet, uint32_t place, uint32_t round)
{
	return place + (uint64_t)round * fleet->places;
}

/** Sort of garbage that a flow is. */
static inline enum gen_garbage
gen_sort(uint64_t number)
{
	return (enum gen_garbage)(number % GEN_N_GARBAGE);
}

/** What a flow does as its packet @p step. @return GEN_N_ACTS: it is over. */
enum gen_act gen_step(const struct gen_fleet *fleet, uint64_t number, unsigned step);

/** Step of the first PUBLISH. */
unsigned gen_first_publish(const struct gen_fleet *fleet);

/** The ends of a flow. */
void gen_ends(const struct gen_fleet *fleet, uint32_t place, uint32_t round,
		struct mqt_endpoint ends[2]);

/**
 * Whose flow a client's address and port belong to.
 * @param tuple set: its number modulo n_tuples. @return false: nobody's.
 */
bool gen_find(const struct gen_fleet *fleet, const struct mqt_endpoint *client, uint64_t *tuple);

/** Sets the sequence numbers of a flow that begins; the rest is zeroed. */
void gen_begin(const struct gen_fleet *fleet, uint32_t place, uint32_t round,
		struct gen_flow *flow);

/** @return NULL: no mbuf. Ownership: the caller's. */
struct rte_mbuf *gen_build(const struct gen_fleet *fleet, struct rte_mempool *pool, uint32_t place,
		const struct gen_flow *flow, enum gen_act act);

/** An RST in answer to a segment of a flow that is over, as RFC 9293 §3.10.7.1 has it. */
struct rte_mbuf *gen_build_reset(const struct gen_fleet *fleet, struct rte_mempool *pool,
		const struct rte_mbuf *m, const struct mqt_pkt *pkt);

#endif
