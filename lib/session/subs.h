/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LIB_SESSION_SUBS_H
#define LIB_SESSION_SUBS_H

#include "mqtrack/mqtt.h"
#include "mqtrack/session.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct subs_request;

/* Subscriptions, and the requests that are not yet answered. Zeroed is empty. */
struct subs {
	uint8_t *block; /* NULL: no subscription */
	uint32_t len;   /* bytes in use */
	uint32_t cap;   /* bytes allocated */
	uint32_t n;     /* subscriptions */
	uint32_t n_requests;
	size_t request_bytes;
	struct subs_request *requests; /* oldest first */
};

void subs_fini(struct subs *subs);

/* Returns false without memory; then @p to is empty. */
bool subs_copy(struct subs *to, const struct subs *from);

/*
 * Applies a SUBSCRIBE or UNSUBSCRIBE, which then waits for its answer; or a SUBACK or UNSUBACK.
 * Return how many filters found no room and are not kept.
 */
unsigned subs_request(struct subs *subs, const struct mqt_session_limits *limits, uint8_t version,
		const struct mqt_mqtt_packet *packet);
unsigned subs_answer(struct subs *subs, const struct mqt_session_limits *limits, uint8_t version,
		const struct mqt_mqtt_packet *packet);

/* The flow is over: requests that were not answered never will be. */
void subs_forget_requests(struct subs *subs);

/* The subscription number @p i; false past the last one. Linear in @p i. */
bool subs_at(const struct subs *subs, unsigned i, struct mqt_bytes *filter, uint8_t *qos);

/* Memory in use. */
static inline size_t
subs_bytes(const struct subs *subs)
{
	return subs->cap + subs->request_bytes;
}

#endif
