/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LIB_SESSION_INFLIGHT_H
#define LIB_SESSION_INFLIGHT_H

#include "mqtrack/session.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Messages that a list holds without an allocation: few clients have more in flight at a time. */
#define INFLIGHT_INLINE 2

struct inflight_entry {
	uint16_t packet_id;
	uint8_t qos;   /* 1 or 2 */
	uint8_t state; /* enum mqt_inflight_state */
};

/* Messages of one direction, in order of publication. Zeroed is empty. */
struct inflight {
	uint32_t n;
	uint32_t cap; /* of the allocation; 0: there is none */
	union {
		struct inflight_entry few[INFLIGHT_INLINE];
		struct inflight_entry *many;
	};
};

void inflight_fini(struct inflight *inflight);

/* Returns false without memory; then @p to is empty. */
bool inflight_copy(struct inflight *to, const struct inflight *from);

const struct inflight_entry *inflight_at(const struct inflight *inflight, uint32_t i);

/*
 * A PUBLISH has passed. A repeat (DUP) of a message known changes nothing; the id of a message
 * known on one that is no repeat is a new message, and takes the place of the old one.
 * Returns false where it finds no room in @p limit, or no memory.
 */
bool inflight_publish(struct inflight *inflight, uint32_t limit, uint16_t packet_id, uint8_t qos,
		bool dup);

/* A message of QoS 2 that is known to be released. Returns false as inflight_publish(). */
bool inflight_release(struct inflight *inflight, uint32_t limit, uint16_t packet_id);

/*
 * An acknowledgement, or a PUBREL, for a message has passed.
 * @param failed its reason code says that the message goes no further (5.0 §4.3.3).
 * Returns whether the message is known.
 */
bool inflight_ack(struct inflight *inflight, uint8_t type, uint16_t packet_id, bool failed);

static inline size_t
inflight_bytes(const struct inflight *inflight)
{
	return inflight->cap * sizeof(struct inflight_entry);
}

#endif
