/* SPDX-License-Identifier: BSD-3-Clause */
/* Payload of a TCP view, in one or several mbuf segments. */
#include "mqtrack/packet.h"

#include <string.h>

const uint8_t *
mqt_pkt_payload_at(const struct rte_mbuf *m, const struct mqt_pkt *pkt, uint32_t off, uint32_t *len)
{
	uint32_t left = off < pkt->payload_len ? pkt->payload_len - off : 0;

	off += pkt->payload_off;
	for (; left && m; m = m->next) {
		uint32_t here = rte_pktmbuf_data_len(m);

		if (off < here) {
			*len = RTE_MIN(here - off, left);
			return rte_pktmbuf_mtod_offset(m, const uint8_t *, off);
		}
		off -= here;
	}
	*len = 0;
	return NULL;
}

void
mqt_pkt_payload_copy(const struct rte_mbuf *m, const struct mqt_pkt *pkt, uint32_t off,
		uint32_t len, void *dst)
{
	uint8_t *out = dst;

	while (len) {
		uint32_t n;
		const uint8_t *p = mqt_pkt_payload_at(m, pkt, off, &n);

		n = RTE_MIN(n, len);
		if (n == 0)
			return;
		memcpy(out, p, n);
		out += n;
		off += n;
		len -= n;
	}
}
