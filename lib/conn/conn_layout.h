/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CONN_LAYOUT_H
#define CONN_LAYOUT_H

#include "mqtrack/conn.h"
#include "mqtrack/mqtt.h"
#include "mqtrack/session.h"
#include "mqtrack/wheel.h"
#include "mqtrack/ws.h"

#include <assert.h>
#include <stddef.h>

/*
 * A connection, its two streams, and what it has besides until it is CONNECTED.
 */

#define NO_INDEX UINT32_MAX

/** Who sends; equals the parity of the port that a packet came in at. */
enum side {
	CLIENT = 0,
	BROKER = 1,
};

enum stream_flag {
	STREAM_FIN = 1u << 0,        /* its FIN came in order; next is behind it */
	STREAM_LOST = 1u << 1,       /* framing not followed (any more) */
	STREAM_DISCONNECT = 1u << 2, /* an MQTT DISCONNECT began in it */
	/* anomalies that have been told, see anomaly.c */
	STREAM_TOLD_WAY = 1u << 3,
	STREAM_TOLD_SECOND = 1u << 4,
	STREAM_TOLD_SUBSCRIBE = 1u << 5,
	STREAM_CLOSES = 1u << 6, /* its FIN came first, and ends the channel once acknowledged */
	STREAM_IN_SYN = 1u << 7, /* it began with payload of the SYN (client only) */
};

/** What was injected in the name of a stream's sender. */
enum injection {
	INJECT_NONE = 0,
	INJECT_RST,
	INJECT_DISCONNECT, /* and FIN */
	INJECT_CONNACK,    /* a refusal, and FIN */
	INJECT_CLOSE,      /* of a WebSocket, and FIN */
};

/** One direction, named by its sender. */
struct stream {
	uint32_t next;    /* followed up to here; in CLOSING what we acknowledge */
	uint32_t end;     /* behind the highest byte (or FIN) forwarded */
	uint32_t ack;     /* last acknowledgement that this sender sent */
	uint32_t edge;    /* right edge of the window that this sender offers */
	uint32_t ts_val;  /* last timestamp, and when it came */
	uint32_t seen_ms; /* last segment of effect */
	uint32_t held;    /* first hold, in the order of sequence; NO_INDEX: none */
	uint8_t n_held;   /* holds */
	uint8_t flags;    /* enum stream_flag */
	uint8_t wscale;   /* of the windows that this sender offers */
	uint8_t injected; /* enum injection */
	struct mqt_mqtt_tap tap;
};

enum conn_flag {
	CONN_CLIENT_LOW = 1u << 0, /* the client is the lower end of the flow key */
	CONN_IP6 = 1u << 1,
	CONN_TS = 1u << 2,           /* timestamps were negotiated */
	CONN_IN_TABLE = 1u << 3,     /* its key is in the flow table */
	CONN_CHANNEL = 1u << 4,      /* OPEN posted; neither REFUSE nor RELEASE has come */
	CONN_DOWN = 1u << 5,         /* DOWN posted */
	CONN_INJECTED = 1u << 6,     /* CLOSING: nothing passes any more (R15) */
	CONN_DOUBT = 1u << 7,        /* an RST in the window but not at a number seen */
	CONN_DOUBT_BROKER = 1u << 8, /* it was the broker's */
	CONN_HEARD = 1u << 9,        /* CLOSING: a segment came since the last try */
	CONN_DONE_CLIENT = 1u << 10, /* CLOSING: the client knows that it is over */
	CONN_DONE_BROKER = 1u << 11,
	CONN_WILL = 1u << 12,      /* CONNECT had a will */
	CONN_HANDSHAKE = 1u << 13, /* hs is there */
	CONN_WS = 1u << 14,        /* in WebSocket frames */
	CONN_COUNTED = 1u << 15,   /* among those of its source address */
};

/** What the next byte of a direction belongs to, before GRANT. */
enum layer {
	LAYER_MQTT = 0,
	LAYER_PROXY,  /* the header of a proxy; client only */
	LAYER_HTTP,   /* request for a WebSocket, or the answer to it */
	LAYER_FRAMES, /* of a WebSocket, with MQTT in them */
};

/** Where a handshake stands; from a bounded pool, free once CONNECTED. */
struct handshake {
	/* these two stay with it from one connection to the next, as long as they are small */
	uint8_t *connect; /* the client's MQTT up to the end of CONNECT */
	uint8_t *reply; /* the broker's MQTT from the begin of its unfinished packet, or its head */
	uint8_t *raw;   /* keeps_raw: the client's bytes as they came */
	uint32_t connect_len, connect_cap;
	uint32_t connect_tried; /* length at the last attempt to parse */
	uint32_t reply_len, reply_cap;
	uint32_t reply_begin; /* sequence number of reply[0], or of the frame that it lies in */
	uint32_t reply_skip;  /* bytes of an AUTH still to come */
	uint32_t base;        /* sequence number of the client's first byte */
	uint32_t raw_len, raw_cap;
	uint32_t behind;            /* the last of them that the MQTT in hand does not reach */
	uint32_t dropped[2];        /* of the broker's, not parked for want of room: from, to */
	uint32_t cut;               /* where the last FIN or RST among that stands */
	uint8_t cut_flags;          /* which it is; 0: none */
	uint32_t proxy_len;         /* of the PROXY header; 0: none (yet) */
	uint32_t frame_begin;       /* sequence number of the broker's current frame */
	struct mqt_ws_scan scan[2]; /* of the HTTP heads */
	uint8_t layer[2];           /* enum layer */
	bool keeps_raw;             /* connect is not what came */
	bool reply_continues;       /* reply began in a continuation frame */
	uint8_t *early;             /* packets that came before GRANT, see session.c */
	uint32_t early_len, early_cap;
	struct mqt_mqtt_connect parsed; /* once CONNECT is complete; points into connect */
	struct mqt_session *session;    /* as long as CONNECT is kept, see struct conn */
	uint32_t link;                  /* next free */
	/* EMBRYONIC: among those that have sent no whole CONNECT, by age */
	struct conn *conn;
	struct handshake *older, *newer;
};

/*
 * Four cache lines: counters; then, for each segment, what it belongs to and both streams but for the
 * broker's tap; the rest. So a segment without payload touches two lines, and at most three that the
 * client sends, four that the broker sends. Index and generation are not kept: the array and the
 * slot's word have them.
 */
struct conn {
	/* hot: what each packet touches */
	struct mqt_slot slot; /* first member, see slot.h */
	uint16_t flags;       /* enum conn_flag */
	uint8_t state;        /* enum mqt_conn_state */
	uint8_t version;
	uint8_t pair : 7;     /* of ports */
	uint8_t captured : 1; /* see capture.c */
	uint8_t tries;        /* CLOSING: to be heard; CONNECTED: looks at a silent flow */
	uint16_t listener;
	/* begin of the flow key: all of IPv4's; what is more of IPv6's is in keys6 */
	uint8_t key_head[MQT_FLOW_KEY_V4_LEN];
	struct stream stream[2];

	/* cold: what sessions, injection and timers need */
	union {
		struct handshake *hs;          /* CONN_HANDSHAKE: it has the session meanwhile */
		struct mqt_session *session;   /* NULL: none (yet) */
		struct mqt_pendings *pendings; /* FROZEN: the session has been handed over */
	};
	struct mqt_timer timer;
	union {
		struct {
			uint32_t isn;        /* of the client */
			uint32_t expiry_sec; /* of the session; from CONNACK on */
		};
		struct {
			uint32_t next_slot; /* in the FIFO of quiet or free slots */
			uint32_t quiet_ms;  /* when it began to rest */
		};
	};
	union {
		uint8_t inj_code[2];    /* CLOSING: MQTT code of what was injected */
		uint16_t keepalive_sec; /* before: the broker's or the client's; 0: off */
	};
	uint32_t link; /* headers: see links.c */
} __rte_cache_aligned;

static_assert(offsetof(struct conn, slot) == 0, "slots are found by their connection");
static_assert(offsetof(struct conn, slot.seen_ns) == 64, "counters: one cache line");
static_assert(offsetof(struct conn, stream[BROKER].tap) <= 192, "hot part: two cache lines more");
static_assert(MQT_MAX_PAIRS <= 128, "pair has seven bits");
static_assert(sizeof(struct conn) <= 256, "budget of a connection");

#endif
