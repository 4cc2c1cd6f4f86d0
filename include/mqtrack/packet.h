/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_PACKET_H
#define MQT_PACKET_H

#include "mqtrack/addr.h"

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

/**
 * @file
 * A read-only view of one Ethernet frame, and the builder of the segments that the tracker
 * injects. No table, no state; any thread that owns the mbuf.
 * Source: IEEE 802.1Q, RFC 791, RFC 8200, RFC 9293, RFC 7323.
 */

enum mqt_pkt_kind {
	MQT_PKT_OTHER,     /* not IP, not TCP: passes */
	MQT_PKT_FRAGMENT,  /* an IP fragment, first or later: see mqt_pkt_fragment() */
	MQT_PKT_MALFORMED, /* says TCP and contradicts its own lengths: passes, counted */
	MQT_PKT_TCP,       /* all fields below are set */
};

enum mqt_tcp_flag {
	MQT_TCP_FIN = 0x01,
	MQT_TCP_SYN = 0x02,
	MQT_TCP_RST = 0x04,
	MQT_TCP_PSH = 0x08,
	MQT_TCP_ACK = 0x10,
	MQT_TCP_URG = 0x20,
	MQT_TCP_FLAGS = 0x3f, /* all of them; the ECN bits beside them are not kept */
};

/** Longest link header that is understood: Ethernet and two VLAN tags. */
#define MQT_L2_MAX 22

/** View of a frame; offsets from the begin of the frame, numbers in host byte order. */
struct mqt_pkt {
	uint8_t kind; /* enum mqt_pkt_kind */
	uint8_t ip_version;
	uint8_t tcp_flags; /* enum mqt_tcp_flag */
	uint8_t l2_len;    /* Ethernet and VLAN tags, also for OTHER where it is IP */
	uint16_t l3_off;
	uint16_t l4_off;
	uint16_t payload_off;
	uint16_t window;      /* as on the wire, unscaled */
	uint32_t payload_len; /* by the IP header: link padding is not payload */
	uint32_t seq;
	uint32_t ack;
	uint16_t src_port;
	uint16_t dst_port;
	uint16_t vlan[2]; /* ids of the tags, outer first; 0: none. See mqt_l2_vlans() */
};

/**
 * VLAN ids of a link header: 12 bits each, the outer one first. A tag with id 0 carries a priority
 * only and counts as none (IEEE 802.1Q §6.9); the kinds of tag (0x8100, 0x88a8, 0x9100) are not
 * told apart.
 * @param l2 begin of the frame. @param l2_len 14, 18 or 22; anything else has no tag.
 */
void mqt_l2_vlans(const uint8_t *l2, unsigned l2_len, uint16_t vlan[2]);

/**
 * Looks at a frame. All headers up to the end of the TCP options must lie in its first segment;
 * otherwise it is MALFORMED. IPv4 options are walked; so are the IPv6 extension headers hop-by-hop
 * (as the first only), routing, destination options, however many. A fragment
 * header makes it a FRAGMENT. OTHER is what its receiver may well not take, which must have no
 * effect then: a source route, for its destination is not the flow's end, IPv6 options that make
 * a host discard the packet unless it knows them, and an authentication header, which cannot be
 * verified. A third VLAN tag makes it OTHER, too.
 * @param pkt always set.
 * @return pkt->kind.
 */
enum mqt_pkt_kind mqt_pkt_parse(const struct rte_mbuf *m, struct mqt_pkt *pkt);

/** Source and destination of a TCP view. */
void mqt_pkt_endpoints(const struct rte_mbuf *m, const struct mqt_pkt *pkt,
		struct mqt_endpoint *src, struct mqt_endpoint *dst);

/** Flow key of IPv4. */
struct mqt_flow_key4 {
	uint32_t ip_be[2]; /* lower end first */
	uint16_t port_be[2];
	uint16_t vlan[2]; /* host byte order */
};

/**
 * Flow key: both ends in a canonical order, so that it is the same in both directions and on all
 * ports (rule R20). VLAN ids are part of it: the same addresses on two VLANs are two flows. No
 * padding; the first 16 bytes are the whole key for IPv4.
 */
struct mqt_flow_key {
	union {
		struct mqt_flow_key4 v4;
		struct {
			uint8_t ip[2][16];
			uint16_t port_be[2];
			uint16_t vlan[2];
			uint32_t zero[2];
		} v6;
	};
};

_Static_assert(sizeof(struct mqt_flow_key4) == 16, "hashed as bytes: no padding");
_Static_assert(sizeof(struct mqt_flow_key) == 48, "hashed as bytes: no padding");

#define MQT_FLOW_KEY_V4_LEN 16
#define MQT_FLOW_KEY_V6_LEN 48

/**
 * Key of a TCP view. Unused bytes are 0.
 * @return 1 where the source is the lower end, else 0.
 */
int mqt_flow_key_of(const struct rte_mbuf *m, const struct mqt_pkt *pkt, struct mqt_flow_key *key);

/**
 * Whether the TCP segment is intact: the port's verdict (ol_flags) where there is one, else the
 * checksum computed, also over several mbuf segments.
 */
bool mqt_pkt_checksum_ok(const struct rte_mbuf *m, const struct mqt_pkt *pkt);

/**
 * Whether the IP header is intact; a host discards a packet where it is not. As above: the port's
 * verdict, else the checksum computed. Always true for IPv6.
 * @param pkt TCP or FRAGMENT.
 */
bool mqt_pkt_ip_checksum_ok(const struct rte_mbuf *m, const struct mqt_pkt *pkt);

/** TCP options that the tracker wants to know. */
struct mqt_tcp_options {
	bool has_ts;
	bool has_wscale;
	bool mptcp;     /* MP_CAPABLE or MP_JOIN (RFC 8684) */
	uint8_t wscale; /* capped at 14 (RFC 7323 §2.3) */
	uint16_t mss;   /* 0: absent */
	uint32_t ts_val;
	uint32_t ts_ecr;
};

/** Reads the options; a malformed list ends the walk. @param out always set. */
void mqt_pkt_tcp_options(
		const struct rte_mbuf *m, const struct mqt_pkt *pkt, struct mqt_tcp_options *out);

/**
 * Copies payload bytes, also over several mbuf segments.
 * @param off from the payload's begin; off + len must not pass payload_len.
 */
void mqt_pkt_payload_copy(const struct rte_mbuf *m, const struct mqt_pkt *pkt, uint32_t off,
		uint32_t len, void *dst);

/**
 * Payload from @p off on as far as it lies in one piece.
 * @param len set to the bytes at the returned address; 0 at the end, where NULL is returned.
 */
const uint8_t *mqt_pkt_payload_at(
		const struct rte_mbuf *m, const struct mqt_pkt *pkt, uint32_t off, uint32_t *len);

/** What the fragments of one datagram have in common. Hashed as bytes. */
struct mqt_datagram_key {
	uint8_t src[16], dst[16]; /* IPv4 in the first 4 bytes */
	uint32_t id;
	uint16_t vlan[2];
	uint16_t port; /* where they come in, pair numbering: directions do not mix */
	uint8_t proto; /* of IPv4; 0 for IPv6, where it is not part of the identity */
	uint8_t ip_version;
	uint32_t zero;
};

_Static_assert(sizeof(struct mqt_datagram_key) == 48, "hashed as bytes: no padding");

/** An IP fragment. */
struct mqt_fragment {
	struct mqt_datagram_key key;
	uint16_t data_off;  /* where its data begin, in the frame */
	uint16_t next_off;  /* IPv6: the next header field that leads to the fragment header */
	uint32_t off;       /* of its data in the datagram */
	uint32_t len;       /* of its data, link padding left out */
	uint8_t next_proto; /* of the data; of the first fragment it is the datagram's */
	bool more;          /* others follow */
};

/**
 * Looks at a fragment.
 * @param pkt its view, of kind FRAGMENT. @param port where it came in, part of the key.
 * @return 0, or -EINVAL: no host should take it (lengths that contradict each other or no multiple
 *         of 8, beyond 65,535 bytes, malformed options); some take it nevertheless, cut to a
 *         multiple of 8. Of *out only addresses and protocol are set then.
 */
int mqt_pkt_fragment(const struct rte_mbuf *m, const struct mqt_pkt *pkt, uint16_t port,
		struct mqt_fragment *out);

enum mqt_first_kind {
	MQT_FIRST_TCP,   /* the ports are set */
	MQT_FIRST_OTHER, /* not TCP */
	MQT_FIRST_TINY,  /* too short for its headers, or a fragment again; the ports are set, or 0
			    where not even those are there (RFC 1858, RFC 7112) */
};

/** What the first fragment (off 0) says of its datagram. */
enum mqt_first_kind mqt_pkt_fragment_first(
		const struct rte_mbuf *m, const struct mqt_fragment *frag, uint16_t port[2]);

/**
 * Joins fragments to a datagram that can be looked at like any frame: a new mbuf with the headers
 * and the first one's data, behind which hang the fragments, their headers hidden. Its TTL is the
 * smallest one of theirs. It must not be sent; mqt_fragments_split() gives what is to be sent.
 * @param m all fragments in order, without gap or overlap, each in one mbuf segment.
 * @param flag set in ol_flags of the result.
 * @return NULL: longer than 65,535 bytes, or no mbuf; then nothing has changed.
 *         Ownership: the caller's; freeing it frees the fragments.
 */
struct rte_mbuf *mqt_fragments_join(
		struct rte_mempool *pool, struct rte_mbuf *const *m, unsigned n, uint64_t flag);

/**
 * Copies of the fragments that a datagram was joined of, as they came.
 * @param out room for whole->nb_segs - 1. @return how many; 0: no mbuf. Ownership: the caller's, and
 *         @p whole stays so.
 */
unsigned mqt_fragments_split(
		struct rte_mempool *pool, const struct rte_mbuf *whole, struct rte_mbuf **out);

/** A TCP segment to be made. */
struct mqt_segment {
	uint8_t l2[MQT_L2_MAX]; /* link header as it goes out, the last two bytes the EtherType */
	uint8_t l2_len;
	uint8_t tcp_flags;
	uint8_t has_ts;
	uint16_t window; /* unscaled */
	struct mqt_endpoint src;
	struct mqt_endpoint dst;
	uint32_t seq;
	uint32_t ack;
	uint32_t ts_val;
	uint32_t ts_ecr;
	const uint8_t *payload; /* NULL: none */
	uint16_t payload_len;
};

/**
 * Builds a segment: not ECN-capable, DF, TTL 64, checksums computed in software (rule R16).
 * @param pool mbufs with data room of at least 256 bytes + payload_len.
 * @return NULL where the pool is empty or it does not fit. Ownership: the caller's.
 */
struct rte_mbuf *mqt_segment_build(struct rte_mempool *pool, const struct mqt_segment *seg);

/** -1, 0, 1 as @p a is before, at or behind @p b in sequence space (RFC 9293 §3.4). */
static inline int
mqt_seq_cmp(uint32_t a, uint32_t b)
{
	int32_t d = (int32_t)(a - b);

	/* in this form a comparison of the result with 0 is one of d */
	if (d < 0)
		return -1;
	return d > 0;
}

#endif
