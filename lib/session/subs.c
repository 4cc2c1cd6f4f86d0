/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Subscriptions of a session.
 *
 * A subscription is known only when the broker has granted it. So SUBSCRIBE and UNSUBSCRIBE are
 * kept as requests (a copy of their filters, by packet id) until SUBACK or UNSUBACK brings a code
 * for each filter. A request with the packet id of another one takes its place: the client uses
 * an id again only when it has given the old one up. Requests are bounded: as many at a time as
 * there may be subscriptions, and REQUEST_BYTES_MAX in all; a flow that ends takes them with it.
 *
 * Subscriptions lie one behind the other in one block, in order of subscription: two bytes of
 * length, the granted QoS, the filter. The block is searched from its front; the limit keeps it
 * short. It is given back with the last subscription. Block and waiting requests together stay
 * within the bytes of the limits.
 *
 * Packets with wrong contents change nothing: the broker answers them by closing the flow.
 *
 * Owner: that of the session.
 *
 * Sources: MQTT 5.0 §3.8 to §3.11, §4.7.3; MQTT 3.1.1 §3.8 to §3.11.
 */

#include "subs.h"

#include <stdlib.h>
#include <string.h>

/* What stands before a filter in the block. */
#define ENTRY_HEAD 3
/* The block grows to a multiple of this. */
#define BLOCK_STEP 32u
/* Reason codes from here on are failures (5.0 §2.4); 3.1.1 has but this one. */
#define FAILURE 0x80

struct subs_request {
	struct subs_request *next;
	uint32_t len;
	uint32_t n_filters;
	uint16_t packet_id;
	uint8_t type;    /* MQT_MQTT_SUBSCRIBE or MQT_MQTT_UNSUBSCRIBE */
	uint8_t bytes[]; /* filters as on the wire */
};

static uint16_t
u16_at(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* Takes the first filter off a list of a SUBSCRIBE or UNSUBSCRIBE. False: there is none. */
static bool
filter_next(struct mqt_bytes *list, uint8_t type, struct mqt_bytes *filter)
{
	uint32_t options = type == MQT_MQTT_SUBSCRIBE, len;

	if (list->len < 2)
		return false;
	len = u16_at(list->ptr);
	if (len == 0 || list->len < 2 + len + options)
		return false;
	*filter = (struct mqt_bytes){ list->ptr + 2, len };
	list->ptr += 2 + len + options;
	list->len -= 2 + len + options;
	return true;
}

/* Filters in a list, or 0 where it is malformed. */
static uint32_t
filters_count(struct mqt_bytes list, uint8_t type)
{
	struct mqt_bytes filter;
	uint32_t n = 0;

	while (filter_next(&list, type, &filter))
		n++;
	return list.len == 0 ? n : 0;
}

/*
 * What stands behind packet id and properties. Returns false where the properties pass the end of
 * the body. The packet id is there: a packet without one is not reported.
 */
static bool
payload_of(struct mqt_bytes body, uint8_t version, struct mqt_bytes *out)
{
	uint32_t len = 0, at = 2, shift = 0;
	uint8_t byte = 0x80;

	if (version == 5) {
		for (; byte & 0x80; shift += 7) {
			if (at >= body.len || shift > 21)
				return false;
			byte = body.ptr[at++];
			len |= (uint32_t)(byte & 0x7f) << shift;
		}
	}
	if (len > body.len - at)
		return false;
	*out = (struct mqt_bytes){ body.ptr + at + len, body.len - at - len };
	return true;
}

/* Requests. */

static size_t
request_size(uint32_t len)
{
	return sizeof(struct subs_request) + len;
}

/* Takes the request of a packet id off the list; NULL: there is none. The caller frees it. */
static struct subs_request *
request_take(struct subs *subs, uint16_t packet_id)
{
	for (struct subs_request **link = &subs->requests; *link != NULL; link = &(*link)->next) {
		struct subs_request *request = *link;

		if (request->packet_id != packet_id)
			continue;
		*link = request->next;
		subs->n_requests--;
		subs->request_bytes -= request_size(request->len);
		return request;
	}
	return NULL;
}

static void
request_append(struct subs *subs, struct subs_request *request)
{
	struct subs_request **link = &subs->requests;

	while (*link != NULL)
		link = &(*link)->next;
	request->next = NULL;
	*link = request;
	subs->n_requests++;
	subs->request_bytes += request_size(request->len);
}

static bool
request_has_room(const struct subs *subs, const struct mqt_session_limits *limits, uint32_t len)
{
	return subs->n_requests < limits->filters &&
			subs_bytes(subs) + request_size(len) <= limits->bytes;
}

unsigned
subs_request(struct subs *subs, const struct mqt_session_limits *limits, uint8_t version,
		const struct mqt_mqtt_packet *packet)
{
	struct subs_request *request;
	struct mqt_bytes list;
	uint32_t n;

	free(request_take(subs, packet->packet_id));
	if (packet->oversize)
		return 1; /* at least */
	if (!payload_of(packet->body, version, &list))
		return 0;
	n = filters_count(list, packet->type);
	if (n == 0)
		return 0;
	if (!request_has_room(subs, limits, list.len))
		return n;
	request = malloc(request_size(list.len));
	if (request == NULL)
		return n;
	*request = (struct subs_request){ .len = list.len,
		.n_filters = n,
		.packet_id = packet->packet_id,
		.type = packet->type };
	memcpy(request->bytes, list.ptr, list.len);
	request_append(subs, request);
	return 0;
}

void
subs_forget_requests(struct subs *subs)
{
	struct subs_request *request, *next;

	for (request = subs->requests; request != NULL; request = next) {
		next = request->next;
		free(request);
	}
	subs->requests = NULL;
	subs->n_requests = 0;
	subs->request_bytes = 0;
}

/* The block. */

static uint32_t
entry_len(const uint8_t *entry)
{
	return ENTRY_HEAD + u16_at(entry);
}

/* The subscription of a filter; NULL: there is none. */
static uint8_t *
entry_find(const struct subs *subs, struct mqt_bytes filter)
{
	for (uint32_t at = 0; at < subs->len; at += entry_len(subs->block + at)) {
		uint8_t *entry = subs->block + at;

		if (u16_at(entry) == filter.len &&
				memcmp(entry + ENTRY_HEAD, filter.ptr, filter.len) == 0)
			return entry;
	}
	return NULL;
}

/* @param room bytes that the block may have. */
static bool
block_grow(struct subs *subs, uint32_t more, size_t room)
{
	uint64_t need = (uint64_t)subs->len + more, cap;
	uint8_t *block;

	if (need <= subs->cap)
		return true;
	cap = (need + need / 4 + BLOCK_STEP - 1) / BLOCK_STEP * BLOCK_STEP;
	if (cap > room)
		cap = room;
	if (need > cap)
		return false;
	block = realloc(subs->block, cap);
	if (block == NULL)
		return false;
	subs->block = block;
	subs->cap = (uint32_t)cap;
	return true;
}

/* Returns false where it finds no room. */
static bool
subscribe(struct subs *subs, const struct mqt_session_limits *limits, struct mqt_bytes filter,
		uint8_t qos)
{
	uint8_t *entry = entry_find(subs, filter);
	size_t room = limits->bytes > subs->request_bytes ? limits->bytes - subs->request_bytes : 0;

	if (entry != NULL) {
		entry[2] = qos;
		return true;
	}
	if (subs->n >= limits->filters || !block_grow(subs, ENTRY_HEAD + filter.len, room))
		return false;
	entry = subs->block + subs->len;
	entry[0] = (uint8_t)(filter.len >> 8);
	entry[1] = (uint8_t)filter.len;
	entry[2] = qos;
	memcpy(entry + ENTRY_HEAD, filter.ptr, filter.len);
	subs->len += ENTRY_HEAD + filter.len;
	subs->n++;
	return true;
}

static void
unsubscribe(struct subs *subs, struct mqt_bytes filter)
{
	uint8_t *entry = entry_find(subs, filter);
	uint32_t len;

	if (entry == NULL)
		return;
	len = entry_len(entry);
	memmove(entry, entry + len, subs->len - (size_t)(entry - subs->block) - len);
	subs->len -= len;
	subs->n--;
	if (subs->n > 0)
		return;
	free(subs->block);
	subs->block = NULL;
	subs->cap = 0;
}

/* @param codes one for each filter; where there are fewer, the others were not granted. */
static unsigned
granted(struct subs *subs, const struct mqt_session_limits *limits,
		const struct subs_request *request, struct mqt_bytes codes)
{
	struct mqt_bytes list = { request->bytes, request->len }, filter;
	unsigned n_missed = 0;

	for (uint32_t i = 0; i < codes.len && filter_next(&list, request->type, &filter); i++)
		if (codes.ptr[i] <= 2 && !subscribe(subs, limits, filter, codes.ptr[i]))
			n_missed++;
	return n_missed;
}

/* 3.x has no codes: all filters are gone. */
static void
removed(struct subs *subs, uint8_t version, const struct subs_request *request,
		struct mqt_bytes codes)
{
	struct mqt_bytes list = { request->bytes, request->len }, filter;

	for (uint32_t i = 0; filter_next(&list, request->type, &filter); i++)
		if (version != 5 || (i < codes.len && codes.ptr[i] < FAILURE))
			unsubscribe(subs, filter);
}

unsigned
subs_answer(struct subs *subs, const struct mqt_session_limits *limits, uint8_t version,
		const struct mqt_mqtt_packet *packet)
{
	struct subs_request *request = request_take(subs, packet->packet_id);
	struct mqt_bytes codes;
	unsigned n_missed = 0;

	if (request == NULL)
		return 0;
	if (packet->oversize)
		n_missed = request->n_filters;
	else if (!payload_of(packet->body, version, &codes))
		n_missed = 0;
	else if (packet->type == MQT_MQTT_SUBACK && request->type == MQT_MQTT_SUBSCRIBE)
		n_missed = granted(subs, limits, request, codes);
	else if (packet->type == MQT_MQTT_UNSUBACK && request->type == MQT_MQTT_UNSUBSCRIBE)
		removed(subs, version, request, codes);
	free(request);
	return n_missed;
}

void
subs_fini(struct subs *subs)
{
	subs_forget_requests(subs);
	free(subs->block);
	*subs = (struct subs){ 0 };
}

bool
subs_copy(struct subs *to, const struct subs *from)
{
	*to = (struct subs){ 0 };
	if (from->n > 0) {
		to->block = malloc(from->cap);
		if (to->block == NULL)
			return false;
		memcpy(to->block, from->block, from->len);
		to->len = from->len;
		to->cap = from->cap;
		to->n = from->n;
	}
	for (const struct subs_request *request = from->requests; request != NULL;
			request = request->next) {
		struct subs_request *copy = malloc(request_size(request->len));

		if (copy == NULL) {
			subs_fini(to);
			return false;
		}
		memcpy(copy, request, request_size(request->len));
		request_append(to, copy);
	}
	return true;
}

bool
subs_at(const struct subs *subs, unsigned i, struct mqt_bytes *filter, uint8_t *qos)
{
	const uint8_t *entry = subs->block;

	if (i >= subs->n)
		return false;
	for (; i > 0; i--)
		entry += entry_len(entry);
	*filter = (struct mqt_bytes){ entry + ENTRY_HEAD, u16_at(entry) };
	*qos = entry[2];
	return true;
}
