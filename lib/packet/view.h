/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PACKET_VIEW_H
#define PACKET_VIEW_H

#include "mqtrack/packet.h"

/* IPv4 options. @return TCP: nothing speaks against them; else OTHER or MALFORMED. */
enum mqt_pkt_kind check_ipv4_options(const uint8_t *opt, const uint8_t *end);

#endif
