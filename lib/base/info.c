/* SPDX-License-Identifier: BSD-3-Clause */
#include "mqtrack/info.h"

#include <string.h>

/*
 * Addresses of an info, packed: `ends` has two bits for each, and behind the strings come the
 * addresses that there are, each its IP and its port.
 *
 * Synchronisation: none; an info does not change once others can see it.
 */

enum end {
	PEER,
	BROKER,
	VIA,
	N_ENDS,
};

enum end_kind {
	END_NONE,
	END_IP4,
	END_IP6,
	N_KINDS,
};

static const uint8_t ip_len[N_KINDS] = { 0, 4, 16 };
static const uint8_t end_len[N_KINDS] = { 0, 6, 18 };
static const uint8_t version_of[N_KINDS] = { 0, 4, 6 };

_Static_assert(MQT_INFO_ENDS_MAX == N_ENDS * 18, "all of IPv6");

static enum end_kind
kind_of(const struct mqt_endpoint *ep)
{
	if (!ep || ep->version == 0)
		return END_NONE;
	return ep->version == 4 ? END_IP4 : END_IP6;
}

static enum end_kind
kind_at(const struct mqt_info *info, enum end end)
{
	return (enum end_kind)(info->ends >> 2 * end & 3);
}

static size_t
strings_len(const struct mqt_info *info)
{
	return (size_t)info->clientid_len + info->username_len + info->cert_cn_len;
}

size_t
mqt_info_ends_size(const struct mqt_endpoint *peer, const struct mqt_endpoint *broker,
		const struct mqt_endpoint *via)
{
	return (size_t)end_len[kind_of(peer)] + end_len[kind_of(broker)] + end_len[kind_of(via)];
}

void
mqt_info_set_ends(struct mqt_info *info, const struct mqt_endpoint *peer,
		const struct mqt_endpoint *broker, const struct mqt_endpoint *via)
{
	const struct mqt_endpoint *eps[N_ENDS] = { [PEER] = peer, [BROKER] = broker, [VIA] = via };
	uint8_t *p = info->data + strings_len(info);
	unsigned ends = 0;

	for (unsigned end = 0; end < N_ENDS; end++) {
		enum end_kind kind = kind_of(eps[end]);

		ends |= (unsigned)kind << 2 * end;
		if (kind == END_NONE)
			continue;
		memcpy(p, eps[end]->ip, ip_len[kind]);
		memcpy(p + ip_len[kind], &eps[end]->port, sizeof(eps[end]->port));
		p += end_len[kind];
	}
	info->ends = (uint8_t)ends;
}

size_t
mqt_info_size(const struct mqt_info *info)
{
	size_t size = offsetof(struct mqt_info, data) + strings_len(info);

	for (unsigned end = 0; end < N_ENDS; end++)
		size += end_len[kind_at(info, end)];
	return size;
}

/*
 * The end that is packed at @p p. In words, each stored once: who reads it at once need not wait
 * until stores of several widths have left the core.
 */
static inline void
unpack(const uint8_t *p, enum end_kind kind, struct mqt_endpoint *ep)
{
	uint64_t ip[2] = { 0, 0 };
	uint16_t port = 0;

	memcpy(ip, p, kind == END_IP4 ? 4 : kind == END_IP6 ? 16 : 0);
	if (kind != END_NONE)
		memcpy(&port, p + ip_len[kind], sizeof(port));
	memcpy(ep->ip, ip, sizeof(ep->ip));
	ep->port = port;
	ep->version = version_of[kind];
}

static void
endpoint_at(const struct mqt_info *info, enum end end, struct mqt_endpoint *ep)
{
	const uint8_t *p = info->data + strings_len(info);

	for (unsigned before = 0; before < end; before++)
		p += end_len[kind_at(info, before)];
	unpack(p, kind_at(info, end), ep);
}

struct mqt_endpoint
mqt_info_peer(const struct mqt_info *info)
{
	struct mqt_endpoint ep;

	endpoint_at(info, PEER, &ep);
	return ep;
}

struct mqt_endpoint
mqt_info_broker(const struct mqt_info *info)
{
	struct mqt_endpoint ep;

	endpoint_at(info, BROKER, &ep);
	return ep;
}

struct mqt_endpoint
mqt_info_via(const struct mqt_info *info)
{
	struct mqt_endpoint ep;

	endpoint_at(info, VIA, &ep);
	return ep;
}

void
mqt_info_ends(const struct mqt_info *info, struct mqt_endpoint *peer, struct mqt_endpoint *broker)
{
	const uint8_t *p = info->data + strings_len(info);

	unpack(p, kind_at(info, PEER), peer);
	if (broker)
		unpack(p + end_len[kind_at(info, PEER)], kind_at(info, BROKER), broker);
}

bool
mqt_info_same_broker(const struct mqt_info *a, const struct mqt_info *b)
{
	enum end_kind kind = kind_at(a, BROKER);
	const uint8_t *pa = a->data + strings_len(a) + end_len[kind_at(a, PEER)];
	const uint8_t *pb = b->data + strings_len(b) + end_len[kind_at(b, PEER)];

	return kind == kind_at(b, BROKER) && memcmp(pa, pb, end_len[kind]) == 0;
}
