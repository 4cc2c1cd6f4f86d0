/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Packet ids of QoS 1 and 2 messages in flight in one direction.
 *
 * An array in order of publication, searched from its front: acknowledgements mostly come in that
 * order (5.0 §4.6), and the limit keeps it short. The first few lie in the list itself, so that a
 * client with one message at a time costs no allocation; more of them move to an allocation, which
 * is given back when they have become few again.
 *
 * Owner: that of the session.
 *
 * Sources: MQTT 5.0 §4.3.2, §4.3.3, §4.4; MQTT 3.1.1 §4.3.
 */

#include "inflight.h"

#include <stdlib.h>
#include <string.h>

/* Entries of the first allocation. */
#define CAP_MIN 8

static struct inflight_entry *
entries(struct inflight *inflight)
{
	return inflight->cap == 0 ? inflight->few : inflight->many;
}

const struct inflight_entry *
inflight_at(const struct inflight *inflight, uint32_t i)
{
	if (i >= inflight->n)
		return NULL;
	return inflight->cap == 0 ? &inflight->few[i] : &inflight->many[i];
}

void
inflight_fini(struct inflight *inflight)
{
	if (inflight->cap > 0)
		free(inflight->many);
	*inflight = (struct inflight){ 0 };
}

bool
inflight_copy(struct inflight *to, const struct inflight *from)
{
	*to = *from;
	if (from->cap == 0)
		return true;
	to->many = malloc(inflight_bytes(from));
	if (to->many == NULL) {
		*to = (struct inflight){ 0 };
		return false;
	}
	memcpy(to->many, from->many, from->n * sizeof(*to->many));
	return true;
}

/* Makes room for one more. Returns false without memory. */
static bool
grow(struct inflight *inflight)
{
	uint32_t cap = inflight->cap == 0 ? CAP_MIN : 2 * inflight->cap;
	struct inflight_entry *many;

	if (inflight->n < (inflight->cap == 0 ? INFLIGHT_INLINE : inflight->cap))
		return true;
	many = malloc(cap * sizeof(*many));
	if (many == NULL)
		return false;
	memcpy(many, entries(inflight), inflight->n * sizeof(*many));
	if (inflight->cap > 0)
		free(inflight->many);
	inflight->many = many;
	inflight->cap = cap;
	return true;
}

static struct inflight_entry *
find(struct inflight *inflight, uint16_t packet_id)
{
	struct inflight_entry *entry = entries(inflight);

	for (uint32_t i = 0; i < inflight->n; i++)
		if (entry[i].packet_id == packet_id)
			return &entry[i];
	return NULL;
}

static void
remove_entry(struct inflight *inflight, struct inflight_entry *entry)
{
	struct inflight_entry *end = entries(inflight) + inflight->n, *many;

	memmove(entry, entry + 1, (size_t)(end - entry - 1) * sizeof(*entry));
	inflight->n--;
	if (inflight->cap == 0 || inflight->n > INFLIGHT_INLINE)
		return;
	many = inflight->many;
	memcpy(inflight->few, many, inflight->n * sizeof(*many));
	inflight->cap = 0;
	free(many);
}

static bool
append(struct inflight *inflight, uint32_t limit, struct inflight_entry entry)
{
	if (inflight->n >= limit || !grow(inflight))
		return false;
	entries(inflight)[inflight->n++] = entry;
	return true;
}

bool
inflight_publish(struct inflight *inflight, uint32_t limit, uint16_t packet_id, uint8_t qos,
		bool dup)
{
	struct inflight_entry *known = find(inflight, packet_id);

	if (known != NULL && dup)
		return true;
	if (known != NULL)
		remove_entry(inflight, known);
	return append(inflight, limit,
			(struct inflight_entry){ packet_id, qos, MQT_INFLIGHT_PUBLISHED });
}

bool
inflight_release(struct inflight *inflight, uint32_t limit, uint16_t packet_id)
{
	return append(inflight, limit,
			(struct inflight_entry){ packet_id, 2, MQT_INFLIGHT_RELEASED });
}

/* An acknowledgement of the other QoS is an error of its sender, and changes nothing. */
bool
inflight_ack(struct inflight *inflight, uint8_t type, uint16_t packet_id, bool failed)
{
	struct inflight_entry *entry = find(inflight, packet_id);

	if (entry == NULL)
		return false;
	if ((type == MQT_MQTT_PUBACK) != (entry->qos == 1))
		return true;
	switch (type) {
	case MQT_MQTT_PUBACK:
	case MQT_MQTT_PUBCOMP:
		remove_entry(inflight, entry);
		break;
	case MQT_MQTT_PUBREC:
		if (failed)
			remove_entry(inflight, entry);
		else if (entry->state == MQT_INFLIGHT_PUBLISHED)
			entry->state = MQT_INFLIGHT_RECEIVED;
		break;
	case MQT_MQTT_PUBREL:
		entry->state = MQT_INFLIGHT_RELEASED;
		break;
	}
	return true;
}
