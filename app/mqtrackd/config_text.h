/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQTRACKD_CONFIG_TEXT_H
#define MQTRACKD_CONFIG_TEXT_H

#include "lines.h"

#include <stddef.h>

/**
 * @file
 * The configuration file as it was written: which keys there are, and whether each is a value, a
 * mapping or a list. Values are text.
 */

/* X(key, least, greatest) */
#define LIMITS(X)                                                                                  \
	X(max_clients, 1, MQT_CHAN_SLOT_MAX)                                                       \
	X(max_connections, 0, MQT_CHAN_SLOT_MAX)                                                   \
	X(max_embryos, 1, 1u << 24)                                                                \
	X(max_handshakes, 1, 1u << 24)                                                             \
	X(connect_max_bytes, 64, 1u << 20)                                                         \
	X(parked_per_flow, 1, 255)                                                                 \
	X(parked_per_worker, 0, 1u << 24)                                                          \
	X(reorder_per_flow, 0, 255)                                                                \
	X(fragments, 0, 65536)                                                                     \
	X(stepdown_local_ms, 1, 60000)                                                             \
	X(kick_boundary_ms, 0, 59999)                                                              \
	X(opening_ms, 100, 600000)                                                                 \
	X(contest_ms, 0, 5000)                                                                     \
	X(stall_ms, 10, 600000)                                                                    \
	X(handshake_ms, 100, 3600000)                                                              \
	X(embryo_ms, 100, 600000)                                                                  \
	X(idle_sec, 1, 31536000)                                                                   \
	X(keepalive_grace_ms, 0, 3600000)                                                          \
	X(slot_quiet_ms, 0, 600000)                                                                \
	X(down_batch, 1, 10000000)                                                                 \
	X(down_slice, 1, 10000000)                                                                 \
	X(events, 16, 1u << 24)                                                                    \
	X(max_retained, 0, MQT_CHAN_SLOT_MAX)                                                      \
	X(session_filters, 0, 65535)                                                               \
	X(session_inflight, 0, 65535)                                                              \
	X(session_bytes, 64, 1u << 20)                                                             \
	X(session_packet_bytes, 64, 1u << 20)

/* X(key, member, least, greatest) */
#define FLAP(X)                                                                                    \
	X(takeovers, takeovers, 0, 1000000)                                                        \
	X(within, within_sec, 1, 86400)                                                            \
	X(hold, hold_sec, 0, 86400)

#define CONTROL_LIMITS(X)                                                                          \
	X(max_clients, 1, 1024)                                                                    \
	X(max_request, 1024, 16u << 20)                                                            \
	X(max_backlog, 4096, 1u << 30)

/* Of a listener. */
#define SOURCE_LIMITS(X)                                                                           \
	X(connections_per_address, 0, 1000000)                                                     \
	X(connects_per_second, 0, 1000000)

#define TEXT_MEMBER(key, least, greatest) char *key;

/* Each member is NULL where its key is absent. */
struct text_node {
	char *id, *name;
};

struct text_pair {
	char *outside, *inside;
};

struct text_source_limits {
	SOURCE_LIMITS(TEXT_MEMBER)
};

struct text_listener {
	char *name, *port, *address, *domain, *on_failure, *midstream;
	char *policy, *will, *bind_username, *session_expiry_v3;
	struct text_source_limits *limits;
	char *transport, *proxy;
};

struct text_broker {
	char *name, *address, *port;
};

struct text_limits {
	LIMITS(TEXT_MEMBER)
};

struct text_flap {
	char *takeovers, *within, *hold;
};

struct text_control {
	char *socket;
	CONTROL_LIMITS(TEXT_MEMBER)
};

struct text {
	struct text_node *node;
	struct text_pair *ports;
	struct text_listener *listeners;
	struct text_broker *brokers;
	char *poll, *mbufs;
	struct text_limits *limits;
	struct text_flap *flap;
	struct text_control *control;
	unsigned n_ports, n_listeners, n_brokers;
};

/** What is wrong, and where. */
struct text_error {
	char path[2 * LINES_PATH_MAX]; /* of the key; may be empty */
	char what[192];
};

/**
 * Reads a text that lines_read() has taken.
 * @param out NULL where there is nothing in it. Ownership: text_free().
 * @return 0, or -EINVAL with @p err set.
 */
int text_load(const char *data, size_t len, struct text **out, struct text_error *err);

/** Accepts NULL. */
void text_free(struct text *text);

#endif
