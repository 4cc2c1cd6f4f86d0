/* SPDX-License-Identifier: BSD-3-Clause */
#include "stress.h"

#include <stdalign.h>
#include <string.h>

/*
 * Infos of which a reader knows every byte. All of one follows from the client's number, the
 * channel and its stamp, and the client's number stands in its client id: so a reader can make the
 * info that it should see and compare. The user name ends with a checksum of all bytes before it,
 * which tells a torn or freed info apart from one that belongs to another channel.
 *
 * What the connection is like follows from its channel too: some begin with a clean start, some
 * have no session that lasts, some find a broker that has lost it, or are on the client's second
 * broker.
 */

#define CLIENTID_FILL 17
#define USERNAME_FILL 29
#define DIGITS        6
#define SHORT_SEC     4    /* of the virtual time: thousands of turns */
#define LONG_SEC      3600 /* more than passes before all is drained */

/* The user name begins with these bytes; then come filler and checksum. */
struct record_head {
	mqt_chan_id chan;
	uint64_t stamp_ns;
};

static uint64_t
mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

/* Whether a channel is one of so many in which the @p what-th thing is so. */
static bool
one_in(mqt_chan_id chan, unsigned what, unsigned of)
{
	return mix(chan + ((uint64_t)what << 56)) % of == 0;
}

/* Source: FNV-1a, by words. */
static uint64_t
checksum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t sum = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < len; i += 8) {
		uint64_t word = 0;

		memcpy(&word, p + i, len - i < 8 ? len - i : 8);
		sum = (sum ^ word) * 0x100000001b3ull;
	}
	return mix(sum);
}

size_t
record_clientid(uint32_t client, uint8_t *out)
{
	size_t fill = client % CLIENTID_FILL;

	for (size_t i = 0; i < DIGITS; i++)
		out[i] = (uint8_t) "0123456789abcdef"[client >> (DIGITS - 1 - i) * 4 & 15];
	memset(out + DIGITS, (int)('a' + client % 26), fill);
	return DIGITS + fill;
}

uint32_t
record_client(const uint8_t *clientid, size_t len)
{
	uint8_t want[DIGITS + CLIENTID_FILL];
	uint32_t client = 0;

	if (len < DIGITS || len > sizeof(want))
		return UINT32_MAX;
	for (size_t i = 0; i < DIGITS; i++) {
		uint8_t c = clientid[i];

		client = client << 4 | (uint32_t)(c >= 'a' ? c - 'a' + 10 : c - '0');
	}
	if (client >= STRESS_CLIENTS || record_clientid(client, want) != len ||
			memcmp(want, clientid, len) != 0)
		return UINT32_MAX;
	return client;
}

static void
endpoint_fill(struct mqt_endpoint *ep, uint64_t seed, uint16_t port)
{
	*ep = (struct mqt_endpoint){ .port = port, .version = seed & 1 ? 6 : 4 };
	memcpy(ep->ip, (uint64_t[]){ mix(seed), mix(~seed) }, seed & 1 ? 16 : 4);
}

static void
peer_fill(struct mqt_endpoint *ep, uint32_t client, mqt_chan_id chan)
{
	uint64_t seed = mix(chan ^ (uint64_t)client << 40);

	endpoint_fill(ep, seed, (uint16_t)(seed >> 16));
}

static void
broker_fill(struct mqt_endpoint *ep, uint32_t client, mqt_chan_id chan)
{
	bool second = one_in(chan, 3, 16);

	endpoint_fill(ep, mix(client + 1) + second, 1883);
}

/* Clean start or not, and how long the session lasts: seconds, no time, or longer than the run. */
static void
session_fill(struct mqt_info *info, mqt_chan_id chan)
{
	info->flags = MQT_INFO_HAS_USERNAME;
	if (one_in(chan, 0, 4))
		info->flags |= MQT_INFO_CLEAN_START;
	else if (!one_in(chan, 1, 8))
		info->flags |= MQT_INFO_SESSION_PRESENT;
	if (one_in(chan, 2, 4))
		return;
	info->flags |= MQT_INFO_HAS_EXPIRY;
	info->expiry_sec = one_in(chan, 4, 8) ? LONG_SEC : 1 + (uint32_t)(mix(chan) % SHORT_SEC);
}

size_t
record_fill(struct mqt_info *info, const struct mqt_digest *digests, uint32_t client,
		mqt_chan_id chan, uint64_t stamp_ns)
{
	uint64_t seed = mix(chan ^ stamp_ns), sum;
	struct record_head head = { chan, stamp_ns };
	struct mqt_endpoint peer, broker;
	size_t fill = seed % USERNAME_FILL;
	uint8_t *p;

	memset(info, 0, sizeof(*info));
	info->digest = digests[client];
	peer_fill(&peer, client, chan);
	broker_fill(&broker, client, chan);
	session_fill(info, chan);
	info->keepalive_sec = (uint16_t)(seed >> 32);
	info->proto_ver = 5;
	info->clientid_len = (uint16_t)record_clientid(client, info->data);
	info->username_len = (uint16_t)(sizeof(head) + fill + sizeof(sum));

	p = info->data + info->clientid_len;
	memcpy(p, &head, sizeof(head));
	p += sizeof(head);
	memset(p, (int)(seed >> 24 & 0xff), fill);
	p += fill;
	mqt_info_set_ends(info, &peer, &broker, NULL);
	sum = checksum(info, (size_t)(p - (uint8_t *)info));
	memcpy(p, &sum, sizeof(sum));
	return mqt_info_size(info);
}

size_t
record_size(const struct mqt_info *info)
{
	return mqt_info_size(info);
}

const char *
record_check(const struct mqt_info *info, const struct mqt_digest *digests, mqt_chan_id chan,
		uint64_t stamp_ns)
{
	alignas(struct mqt_info) uint8_t want[RECORD_MAX];
	size_t size = record_size(info);
	size_t strings = offsetof(struct mqt_info, data) + info->clientid_len + info->username_len;
	uint32_t client;
	uint64_t sum;

	if (size > RECORD_MAX || info->username_len < sizeof(struct record_head) + sizeof(sum))
		return "the lengths are wrong";
	memcpy(&sum, (const uint8_t *)info + strings - sizeof(sum), sizeof(sum));
	if (sum != checksum(info, strings - sizeof(sum)))
		return "the checksum is wrong";
	client = record_client(mqt_info_clientid(info), info->clientid_len);
	if (client == UINT32_MAX)
		return "nobody has this client id";
	if (record_fill((struct mqt_info *)want, digests, client, chan, stamp_ns) != size ||
			memcmp(want, info, size) != 0)
		return "whole, but of another channel";
	return NULL;
}

const char *
record_check_event(const struct mqt_event *ev)
{
	uint32_t client = record_client(ev->clientid, ev->clientid_len);
	struct mqt_endpoint peer, broker;

	if (client == UINT32_MAX)
		return "nobody has this client id";
	if (ev->type >= MQT_N_EVENTS || ev->reason >= MQT_N_REASONS || ev->proto_ver != 5 ||
			ev->mono_ns < STRESS_T0_NS)
		return "the event is torn";
	peer_fill(&peer, client, ev->chan);
	broker_fill(&broker, client, ev->chan);
	if (!mqt_endpoint_equal(&peer, &ev->peer) || !mqt_endpoint_equal(&broker, &ev->broker))
		return "the ends are of another channel";
	if (ev->other == MQT_CHAN_NONE || ev->other_peer.version == 0)
		return NULL;
	peer_fill(&peer, client, ev->other);
	return mqt_endpoint_equal(&peer, &ev->other_peer) ? NULL
							  : "the other end is of another channel";
}
