/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GEN_ENGINE_H
#define GEN_ENGINE_H

#include "fleet.h"
#include "histogram.h"

#include <rte_mbuf.h>

/*
 * What packet is next, and what is to be thought of one that has come through.
 */

#define GEN_COUNTS(X)                                                                              \
	X(SENT_OUTSIDE, "sent_outside", "packets of clients sent")                                 \
	X(SENT_INSIDE, "sent_inside", "packets of brokers sent")                                   \
	X(CAME_INSIDE, "came_inside", "packets of clients that came through")                      \
	X(CAME_OUTSIDE, "came_outside", "packets of brokers that came through")                    \
	X(BEGUN, "begun", "connections begun, or SYNs")                                            \
	X(CONNECTED, "connected", "CONNACKs that came through")                                    \
	X(MESSAGES, "messages", "messages acknowledged")                                           \
	X(OVER, "over", "connections ended as planned")                                            \
	X(REFUSED, "refused", "CONNACKs that came as a refusal")                                   \
	X(ENDED, "ended", "connections that the tracker has ended, the newest of their place")     \
	X(REPLACED, "replaced", "older connections whose client was told the end")                 \
	X(TOO_EARLY, "too_early", "CONNACKs of newcomers that came before that")                   \
	X(LOST, "lost", "packets that did not come through in time")                               \
	X(RESENT, "resent", "packets sent again")                                                  \
	X(GIVEN_UP, "given_up", "connections given up: a packet was lost too often")               \
	X(UNEXPECTED, "unexpected", "packets that came twice or out of place")                     \
	X(DAMAGED, "damaged", "packets that came with a wrong checksum")                           \
	X(FOREIGN, "foreign", "packets of nobody here")

#define GEN_COUNT_ENUM(count, name, help) GEN_N_##count,
enum gen_count {
	GEN_COUNTS(GEN_COUNT_ENUM) GEN_N_COUNTS
};

/** "sent_outside"; what one is. Static storage. */
const char *gen_count_name(enum gen_count count);
const char *gen_count_help(enum gen_count count);

enum gen_next {
	GEN_PACKET,  /* *m is to be sent */
	GEN_NOTHING, /* as long as nothing comes through, or no time has passed */
	GEN_RESTING, /* not before gen_engine_rest_ends() */
	GEN_DONE,
};

struct gen_engine;

/** @return NULL: no memory. @param options, @param pool outlive it. */
struct gen_engine *gen_engine_create(const struct gen_options *options, struct rte_mempool *pool);
void gen_engine_destroy(struct gen_engine *engine);

/**
 * The next packet, whose time is @p now_ns.
 * @param m set where there is one; it is the caller's and has to be sent. @param from set: its sender.
 */
enum gen_next gen_engine_next(struct gen_engine *engine, uint64_t now_ns, struct rte_mbuf **m,
		enum gen_side *from);

/** Whether the last packet made was a message or its acknowledgement. */
bool gen_engine_talked(const struct gen_engine *engine);

/** When the next flow has rested. After GEN_RESTING. */
uint64_t gen_engine_rest_ends(const struct gen_engine *engine);

/**
 * A packet has come in at a port; it stays the caller's.
 * @param at the port, so that of GEN_CLIENT gets what brokers say.
 * @return an answer that is to be sent from that port; mostly NULL. Ownership: the caller's.
 */
struct rte_mbuf *gen_engine_arrived(struct gen_engine *engine, uint64_t now_ns, enum gen_side at,
		const struct rte_mbuf *m);

/** Looks for packets that were lost. To be called often. */
void gen_engine_expire(struct gen_engine *engine, uint64_t now_ns);

/** No flow begins and no message is said any more; what is under way goes on. */
void gen_engine_stop(struct gen_engine *engine);

const uint64_t *gen_engine_counts(const struct gen_engine *engine);
/** Garbage sent, by sort. */
const uint64_t *gen_engine_garbage(const struct gen_engine *engine);
/** Time from sending to coming through, in µs: of CONNACKs, and of all other packets. */
const struct gen_histogram *gen_engine_times(const struct gen_engine *engine, bool connack);

#endif
