/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_CONFIG_H
#define MQT_CONFIG_H

#include "mqtrack/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * @file
 * The tracker's settings as plain data. app/mqtrackd fills it from YAML, tests by hand; all
 * modules read it. Immutable after start.
 */

#define MQT_NAME_MAX      64 /* bytes of a name with its NUL */
#define MQT_MAX_LISTENERS 64
#define MQT_MAX_DOMAINS   64
#define MQT_MAX_BROKERS   256
#define MQT_MAX_PAIRS     16
#define MQT_MAX_WORKERS   64

enum mqt_on_failure {
	MQT_FAIL_OPEN,  /* what cannot be tracked passes untracked, counted (I10) */
	MQT_FAIL_CLOSED /* it is reset, counted */
};

/** What happens to a flow that is first seen with data, without its handshake. */
enum mqt_midstream {
	MQT_MIDSTREAM_PASS, /* passes untracked, counted */
	MQT_MIDSTREAM_RESET /* both ends are reset, counted: its client connects anew */
};

/** What happens to a newcomer whose client id lives on another broker. */
enum mqt_policy {
	MQT_POLICY_NEWEST_WINS,
	MQT_POLICY_REJECT_NEW,
};

/** What becomes of the will of a connection that is stepped down. */
enum mqt_will_policy {
	MQT_WILL_PUBLISH,  /* the broker applies its own rules */
	MQT_WILL_SUPPRESS, /* the broker is told DISCONNECT 0x00 where that can be said */
};

/** Whether a listener's connections begin with a PROXY header. */
enum mqt_proxy_mode {
	MQT_PROXY_OFF,
	MQT_PROXY_ACCEPT,  /* it may be there */
	MQT_PROXY_REQUIRE, /* a connection without is reset */
};

enum mqt_poll_mode {
	MQT_POLL_ADAPTIVE, /* back off when idle: spin, pause, sleeps that grow */
	MQT_POLL_BUSY,
};

/** A TCP port, on any or one address, whose flows are tracked. */
struct mqt_listener {
	char name[MQT_NAME_MAX];
	struct mqt_endpoint address; /* the broker's side; version 0: any address */
	uint16_t domain;             /* index in mqt_config.domains */
	uint8_t on_failure;          /* enum mqt_on_failure */
	uint8_t midstream;           /* enum mqt_midstream */
	uint8_t policy;              /* enum mqt_policy */
	uint8_t will;                /* enum mqt_will_policy */
	uint8_t transport;           /* enum mqt_transport, info.h */
	uint8_t proxy;               /* enum mqt_proxy_mode */
	bool bind_username; /* a client id belongs to the user name it was first seen with */
	uint32_t session_expiry_v3_sec; /* of 3.x clients without clean session */
	/* of one source address; what is over them is reset; 0: no limit */
	uint32_t connections_per_address;
	uint32_t connects_per_second;
};

/** A name for a broker's address; one that has none is shown as "address:port". */
struct mqt_broker_name {
	char name[MQT_NAME_MAX];
	struct mqt_endpoint address; /* port 0: any */
};

struct mqt_port_pair {
	char outside[MQT_NAME_MAX]; /* DPDK device name, towards the clients */
	char inside[MQT_NAME_MAX];  /* towards the brokers */
};

struct mqt_limits {
	uint32_t max_clients;        /* channels, all workers together */
	uint32_t max_connections;    /* slots a worker; 0: max_clients spread with a margin */
	uint32_t max_embryos;        /* half-open handshakes a worker (rule R13) */
	uint32_t max_handshakes;     /* connections between SYN/ACK and CONNACK a worker */
	uint32_t connect_max_bytes;  /* a larger CONNECT makes the flow opaque */
	uint32_t parked_per_flow;    /* packets (rule R12) */
	uint32_t parked_per_worker;  /* packets (rule R12); 0: a quarter of the mbuf pool's share */
	uint32_t reorder_per_flow;   /* segments a direction */
	uint32_t fragments;          /* IP fragments a worker keeps; 0: they pass unseen */
	uint32_t stepdown_local_ms;  /* rule R7 */
	uint32_t kick_boundary_ms;   /* a kick waits as long until the client can be told by
				     * DISCONNECT; 0: it does not wait */
	uint32_t opening_ms;         /* rule R7 */
	uint32_t contest_ms;         /* a CONNACK so close behind one of the same client id waits as
				     * long for what the brokers close; 0: off */
	uint32_t stall_ms;           /* a worker silent for longer is stalled (rule R8) */
	uint32_t handshake_ms;       /* SYN/ACK to CONNACK; then the flow is opaque */
	uint32_t embryo_ms;          /* SYN to the client's ACK */
	uint32_t idle_sec;           /* a client without keepalive: its flow is probed after so
				     * much silence; an opaque one is forgotten */
	uint32_t keepalive_grace_ms; /* on top of 1.5 times the keepalive */
	uint32_t slot_quiet_ms;      /* a released slot rests this long (rule R1) */
	uint32_t down_batch;         /* DOWNs drained a turn: an OPEN waits for so many */
	uint32_t down_slice;         /* channels unregistered a turn: and for so many */
	uint32_t events;             /* ring of events, a power of two */
	uint32_t max_retained;    /* sessions without a connection; the next to expire goes first */
	uint32_t session_filters; /* topic filters kept of a session, beyond that counted */
	uint32_t session_inflight;     /* packet ids kept of a session and direction */
	uint32_t session_bytes;        /* of topic filters kept of a session; beyond that counted */
	uint32_t session_packet_bytes; /* a longer SUBSCRIBE is counted, not kept */
};

/** Detector of client ids that are taken over again and again. */
struct mqt_flap {
	uint32_t takeovers; /* more than so many within... 0: off */
	uint32_t within_sec;
	uint32_t hold_sec; /* newcomers are refused while one is connected, else let in; 0: off */
};

struct mqt_control {
	char socket[108];     /* path, as in sockaddr_un */
	uint32_t max_clients; /* control connections at once */
	uint32_t max_request; /* bytes of one request line */
	uint32_t max_backlog; /* bytes waiting for a slow reader before it is closed */
};

struct mqt_config {
	uint8_t node_id;
	char node[MQT_NAME_MAX];
	uint8_t poll; /* enum mqt_poll_mode */
	uint16_t n_pairs, n_domains, n_listeners, n_brokers;
	uint32_t n_mbufs; /* of the whole process */
	struct mqt_port_pair pairs[MQT_MAX_PAIRS];
	char domains[MQT_MAX_DOMAINS][MQT_NAME_MAX];
	struct mqt_listener listeners[MQT_MAX_LISTENERS];
	struct mqt_broker_name brokers[MQT_MAX_BROKERS];
	struct mqt_limits limits;
	struct mqt_flap flap;
	struct mqt_control control;
};

/**
 * Sets every default: one listener "tcp" on port 1883 of any address in domain "default", no port
 * pairs, the limits of a host with a few hundred MiB to spare.
 */
void mqt_config_init(struct mqt_config *cfg);

/**
 * The listener that a broker-side endpoint belongs to; an exact address wins over any.
 * @return its index, or -1. Context: any thread; called for SYN only.
 */
int mqt_config_listener(const struct mqt_config *cfg, const struct mqt_endpoint *broker);

/**
 * Whether a TCP port is any listener's: the cheap first question about a packet.
 * Context: any thread.
 */
bool mqt_config_has_port(const struct mqt_config *cfg, uint16_t port);

/** Configured name of a broker, or NULL. Ownership: part of @p cfg. */
const char *mqt_config_broker_name(const struct mqt_config *cfg, const struct mqt_endpoint *broker);

#endif
