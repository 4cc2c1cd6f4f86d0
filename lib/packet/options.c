/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCP options. A known option of a wrong length is skipped by the length it claims, as both ends'
 * stacks do; a length that leads out of the header ends the walk.
 * Source: RFC 9293 §3.2 (end, no-operation, MSS), RFC 7323 §2.2 and §3.2 (window scale,
 * timestamps), RFC 8684 §3.1 and §3.2 (MPTCP's MP_CAPABLE and MP_JOIN).
 */
#include "bytes.h"
#include "mqtrack/packet.h"

#define TCP_MIN_LEN 20
#define WSCALE_MAX  14

enum option_kind {
	OPT_END = 0,
	OPT_NOP = 1,
	OPT_MSS = 2,
	OPT_WSCALE = 3,
	OPT_TIMESTAMPS = 8,
	OPT_MPTCP = 30,
};

enum mptcp_subtype {
	MPTCP_CAPABLE = 0,
	MPTCP_JOIN = 1,
};

/* opt points to the kind; len covers kind and length bytes too. */
static void
read_option(const uint8_t *opt, unsigned len, struct mqt_tcp_options *out)
{
	switch (opt[0]) {
	case OPT_MSS:
		if (len == 4)
			out->mss = get_be16(opt + 2);
		break;
	case OPT_WSCALE:
		if (len == 3) {
			out->has_wscale = true;
			out->wscale = RTE_MIN(opt[2], WSCALE_MAX);
		}
		break;
	case OPT_TIMESTAMPS:
		if (len == 10) {
			out->has_ts = true;
			out->ts_val = get_be32(opt + 2);
			out->ts_ecr = get_be32(opt + 6);
		}
		break;
	case OPT_MPTCP:
		if (len >= 3 && opt[2] >> 4 <= MPTCP_JOIN)
			out->mptcp = true;
		break;
	}
}

void
mqt_pkt_tcp_options(
		const struct rte_mbuf *m, const struct mqt_pkt *pkt, struct mqt_tcp_options *out)
{
	const uint8_t *opt = rte_pktmbuf_mtod_offset(m, const uint8_t *, pkt->l4_off + TCP_MIN_LEN);
	const uint8_t *end = rte_pktmbuf_mtod_offset(m, const uint8_t *, pkt->payload_off);

	memset(out, 0, sizeof(*out));
	while (opt < end && opt[0] != OPT_END) {
		unsigned len;

		if (opt[0] == OPT_NOP) {
			opt++;
			continue;
		}
		if (end - opt < 2 || opt[1] < 2 || opt[1] > end - opt)
			return;
		len = opt[1];
		read_option(opt, len, out);
		opt += len;
	}
}
