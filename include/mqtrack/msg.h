/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_MSG_H
#define MQT_MSG_H

#include "mqtrack/chan_id.h"
#include "mqtrack/hash.h"

#include <stdint.h>

/**
 * @file
 * Messages between a worker and the control lcore: one cache line each, through SPSC rings.
 *
 * From a worker, in one FIFO (rule R3):
 *   OPEN          a successful CONNACK is parked; info goes to the control lcore
 *   GRANTED       answer to GRANT: the CONNACK is released
 *   RETURN        answer to GRANT: the newcomer is gone (its DOWN came before)
 *   STEPDOWN_DONE answer to STEPDOWN: result 0, or -ENOENT (noproc: DOWN came before)
 *   DOWN          the channel's flow is over, whatever the reason, and nothing is left of it.
 *                 DOWN or CLOSED is sent exactly once for every OPEN that was not REFUSEd before
 *                 the worker noticed the end
 *   CLOSED        the same, and a session outlives the flow (session expiry above 0): it is handed
 *                 over. Never for a channel that is stepping down
 *   INSPECTED     answer to INSPECT: a copy of the session, for a reader; NULL where the channel
 *                 has none or is gone
 *   ANOMALY       the flow has said what MQTT does not allow: reason says what. info is that of a
 *                 flow without OPEN, with addresses only; else NULL
 * From the control lcore:
 *   GRANT         registered; release the CONNACK
 *   REFUSE        never registered; info comes home. The control lcore has forgotten the channel:
 *                 no RELEASE follows, and a DOWN that crosses it is ignored
 *   STEPDOWN      close this flow now and answer; a kick may wait for limits.kick_boundary_ms
 *                 first. A takeover comes in two: begin freezes the flow
 *                 and its answer carries the session (NULL: there was nothing to hand over); end
 *                 always follows a begin that was answered 0 (R4), its answer carries the
 *                 pendings, and DOWN comes before it as with every stepdown
 *   INSPECT       send a copy of the session
 *   RELEASE       unregistered, grace period over, DOWN seen: info comes home, the generation of
 *                 the slot is over (rule R1). A retained channel keeps its info at the control
 *                 lcore: then RELEASE carries none and comes at once, for a session must not
 *                 occupy a connection's slot; its id stays unique by its generation
 * So each OPEN ends in exactly one REFUSE or RELEASE, and the slot is not reused before it.
 */

enum mqt_msg_type {
	MQT_MSG_NONE = 0,
	MQT_MSG_OPEN,
	MQT_MSG_GRANTED,
	MQT_MSG_RETURN,
	MQT_MSG_STEPDOWN_DONE,
	MQT_MSG_DOWN,
	MQT_MSG_GRANT,
	MQT_MSG_REFUSE,
	MQT_MSG_STEPDOWN,
	MQT_MSG_RELEASE,
	MQT_MSG_CLOSED,
	MQT_MSG_INSPECT,
	MQT_MSG_INSPECTED,
	MQT_MSG_ANOMALY,
	MQT_N_MSGS,
};

/** What a STEPDOWN is for; chooses the v5 reason code on the wire. */
enum mqt_stepdown {
	MQT_STEPDOWN_KICK,    /* by an administrator: 0x98, or as `code` says */
	MQT_STEPDOWN_DISCARD, /* for a newcomer, or by API: 0x8E */
	/* for a newcomer that resumes: freeze the flow, not one byte passes any more; hand over the
	 * session */
	MQT_STEPDOWN_TAKEOVER_BEGIN,
	MQT_STEPDOWN_TAKEOVER_END, /* hand over the pendings, close the flow: 0x8E */
	MQT_N_STEPDOWNS,
};

/** Why a flow ended, in DOWN and in events; or why a newcomer was refused, in REFUSE. */
enum mqt_reason {
	MQT_REASON_NONE = 0,
	MQT_REASON_CLIENT_DISCONNECT, /* MQTT DISCONNECT, then the end of the flow */
	MQT_REASON_CLIENT_CLOSED,     /* FIN by the client without DISCONNECT */
	MQT_REASON_CLIENT_RESET,
	MQT_REASON_BROKER_CLOSED,
	MQT_REASON_BROKER_RESET,
	MQT_REASON_KICKED,
	MQT_REASON_DISCARDED,
	MQT_REASON_KILLED,          /* its owner did not answer in time */
	MQT_REASON_SUPERSEDED,      /* refused: a newer CONNACK of the same client id */
	MQT_REASON_TABLE_FULL,      /* the tracker has no room: passes untracked or is refused */
	MQT_REASON_OPENING_TIMEOUT, /* the worker's own limit (rule R7) */
	MQT_REASON_REPLACED,        /* a new incarnation of the same flow (rule R17) */
	MQT_REASON_IDLE,            /* no keepalive, and an end does not answer any more */
	MQT_REASON_OPAQUE,          /* the stream could not be followed any more */
	MQT_REASON_SHUTDOWN,
	MQT_REASON_TAKEN_OVER,
	MQT_REASON_POLICY,            /* refused: reject-new, the older connection stays */
	MQT_REASON_USERNAME_MISMATCH, /* refused: the client id is bound to another user name */
	MQT_REASON_FLAPPING,          /* refused: held down after too many takeovers */
	MQT_REASON_EXPIRED,
	MQT_REASON_EVICTED,   /* a retained session left for a newer one: the limit is reached */
	MQT_REASON_KEEPALIVE, /* the client was silent for longer than its keepalive allows */
	/* anomalies: what a peer of MQTT may not say */
	MQT_REASON_BEFORE_CONNECT, /* something came before CONNECT */
	MQT_REASON_BEFORE_CONNACK, /* the broker sent another packet before CONNACK */
	MQT_REASON_SECOND_CONNECT,
	MQT_REASON_SECOND_CONNACK,
	MQT_REASON_FROM_CLIENT, /* a packet that only brokers send */
	MQT_REASON_FROM_BROKER, /* a packet that only clients send */
	MQT_REASON_UNASSIGNED_TYPE,
	MQT_REASON_RESERVED_FLAGS,
	MQT_REASON_PUBLISH_QOS,      /* QoS 3 */
	MQT_REASON_SUBSCRIBE_QOS,    /* QoS 3 */
	MQT_REASON_REMAINING_LENGTH, /* longer than four bytes */
	MQT_REASON_WS_FRAME,         /* a frame that a WebSocket does not have */
	MQT_N_REASONS,
};

/** Name of a reason as events and records print it ("client_disconnect"). Static storage. */
const char *mqt_reason_name(enum mqt_reason reason);

struct mqt_info;
struct mqt_session;
struct mqt_pendings;

struct mqt_msg {
	uint8_t type;   /* enum mqt_msg_type */
	uint8_t action; /* STEPDOWN, STEPDOWN_DONE: enum mqt_stepdown */
	uint8_t reason; /* DOWN, REFUSE: enum mqt_reason */
	uint8_t code;   /* STEPDOWN by a kick: DISCONNECT of 5.0, see mqt_cm_kick() */
	int32_t result; /* STEPDOWN_DONE: 0 or negative errno */
	mqt_chan_id chan;
	uint64_t stamp_ns; /* OPEN: the CONNACK's arrival; DOWN: when it ended; STEPDOWN: when it
			    * was asked for; mono */
	uint64_t token;    /* STEPDOWN: chosen by the control lcore; STEPDOWN_DONE: the same back */
	/* what a message carries is owned by the receiver from then on; NULL: nothing */
	struct mqt_info *info;       /* OPEN, REFUSE, RELEASE, ANOMALY */
	struct mqt_session *session; /* CLOSED, GRANT, RETURN, INSPECTED; STEPDOWN_DONE of begin */
	struct mqt_pendings *pendings; /* STEPDOWN_DONE of end */
	uint64_t pad;
};

_Static_assert(sizeof(struct mqt_msg) == 64, "one message is one cache line");

#endif
