/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_COUNTERS_H
#define MQT_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

/**
 * @file
 * Named counters. Each thread that counts has its own array; readers add them up. Whatever the
 * tracker refuses, drops, or lets pass without understanding it has a name here.
 */

/** Of a worker: X(NAME, "what one unit is"). */
#define MQT_WORKER_COUNTERS(X)                                                                     \
	X(RX_PACKETS, "packets received")                                                          \
	X(TX_PACKETS, "packets sent")                                                              \
	X(TX_DROPPED, "packets the port did not take")                                             \
	X(TX_KILLED, "packets withheld because their channel had been killed")                     \
	X(OWNED, "packets of listeners received by their owner")                                   \
	X(HANDED_OVER, "packets handed to their owner")                                            \
	X(HANDOVER_DROPPED, "packets dropped because the owner's ring was full")                   \
	X(PASSED, "packets passed that belong to no tracked flow")                                 \
	X(MALFORMED_PACKETS, "packets whose headers contradict their length; passed")              \
	X(BURIED_DROPPED, "packets dropped: their headers pass the first buffer, TCP is not seen") \
	X(FRAGMENTS, "IP fragments received")                                                      \
	X(FRAGMENTS_PASSED, "of these: passed as they came, without effect")                       \
	X(FRAGMENTS_DROPPED,                                                                       \
			"of these: dropped: repeated, overlapping, malformed, given up, or "       \
			"without the TCP header")                                                  \
	X(FRAGMENT_FULL, "datagrams given up to make room for newer ones; dropped")                \
	X(FRAGMENT_REUSED, "datagrams dropped: others of their identity had left a moment before") \
	X(FRAGMENT_TIMEOUTS, "datagrams that did not become whole in time; dropped")               \
	X(REASSEMBLED, "datagrams put together and judged as one packet")                          \
	X(MIDSTREAM, "segments of no known flow with a listener, mostly passed")                   \
	X(MIDSTREAM_RESET, "of these: reset at both ends, as their listener says")                 \
	X(BAD_IP_CHECKSUM,                                                                         \
			"packets to a listener with a wrong IP checksum; passed without effect")   \
	X(ONE_WAY, "handshakes of which one direction was not seen; passed")                       \
	X(BAD_CHECKSUM, "segments with a wrong checksum; passed without effect")                   \
	X(OUT_OF_WINDOW, "segments outside the window; without effect")                            \
	X(FIN_UNANSWERED, "connections reset because a FIN was not acknowledged in time")          \
	X(FIN_LINGERED, "connections reset because only one end closed, and both fell silent")     \
	X(BEHIND_FIN, "connections reset because an end went on behind its FIN")                   \
	X(SYN, "SYNs to a listener")                                                               \
	X(EMBRYO_FULL, "handshakes not followed: the embryo table was full")                       \
	X(CONNECTIONS, "connections made")                                                         \
	X(TABLE_FULL, "connections not followed: no slot was free")                                \
	X(TABLE_RECYCLED, "slots taken from connections that are opaque or sent no CONNECT")       \
	X(LIMIT_CONNECTIONS, "connections reset: their address has as many as it may")             \
	X(LIMIT_CONNECTS, "connections reset: their address made too many this second")            \
	X(LIMIT_UNCOUNTED, "connections without a limit: no room to count their address")          \
	X(HANDSHAKE_FULL, "connections made opaque: no handshake buffer was free")                 \
	X(REPLACED, "flows whose five-tuple began a new incarnation")                              \
	X(CONNECT, "CONNECT packets complete")                                                     \
	X(CONNACK_REFUSED, "CONNACKs with a refusal; passed")                                      \
	X(ENDED_EARLY, "connections that an end closed or reset before CONNACK")                   \
	X(OPENS, "successful CONNACKs parked")                                                     \
	X(GRANTS, "parked CONNACKs released")                                                      \
	X(REFUSALS, "newcomers refused")                                                           \
	X(OPENING_TIMEOUTS, "parked CONNACKs that waited for the limit")                           \
	X(OPAQUE, "connections no longer followed, identity unknown")                              \
	X(OPAQUE_PROTOCOL, "of these: not MQTT 3.1, 3.1.1 or 5.0")                                 \
	X(OPAQUE_MALFORMED, "of these: malformed CONNECT or CONNACK")                              \
	X(OPAQUE_OVERSIZE, "of these: CONNECT over the limit")                                     \
	X(OPAQUE_TIMEOUT, "of these: no CONNACK in time")                                          \
	X(OPAQUE_GAP, "of these: bytes acknowledged that never came by")                           \
	X(OPAQUE_MPTCP, "of these: Multipath TCP")                                                 \
	X(OPAQUE_SYN_DATA, "of these: data in an accepted SYN that could not be kept")             \
	X(OPAQUE_SILENT, "of these: no CONNECT yet when handshake buffers ran out")                \
	X(OPAQUE_URGENT, "of these: urgent data, which the broker reads beside the stream")        \
	X(OPAQUE_AMBIGUOUS, "of these: a CONNECT that may not be the one the broker has")          \
	X(OPAQUE_SIMULTANEOUS, "of these: both ends opened the flow at once")                      \
	X(OPAQUE_WS_UPGRADE, "of these: no WebSocket asked for or granted")                        \
	X(OPAQUE_WS_SUBPROTOCOL, "of these: WebSocket of another subprotocol than MQTT")           \
	X(OPAQUE_WS_EXTENSION, "of these: WebSocket with an extension, as permessage-deflate")     \
	X(OPAQUE_WS_FRAME, "of these: malformed WebSocket frames, or a client's without mask")     \
	X(OPAQUE_PROXY, "of these: malformed PROXY header that was not required")                  \
	X(PROXY_HEADERS, "PROXY headers read")                                                     \
	X(PROXY_LOCAL, "of these: the proxy's own connection, a health check")                     \
	X(PROXY_MISSING, "connections reset: no PROXY header where it is required")                \
	X(PROXY_MALFORMED, "connections reset: malformed PROXY header where it is required")       \
	X(UNTRACKED_POSSIBLE_DUPLICATE, "CONNACKs passed without uniqueness")                      \
	X(PARKED, "segments parked")                                                               \
	X(PARKED_DROPPED_FLOW, "segments dropped over the flow's parking limit")                   \
	X(PARKED_DROPPED_WORKER, "segments dropped over the worker's parking limit")               \
	X(REORDER_HELD, "segments held until the gap before them is filled")                       \
	X(REORDER_DROPPED, "segments before CONNACK dropped over the reordering limit")            \
	X(EARLY_DROPPED, "segments of brokers dropped that had overtaken their SYN/ACK")           \
	X(CONFLICT, "segments dropped that repeat bytes with another content")                     \
	X(ANOMALY_FRAMING, "tracked streams whose framing broke; no longer followed")              \
	X(ANOMALY_GAP, "tracked streams with a gap that was not filled; no longer followed")       \
	X(ANOMALY_URGENT, "tracked streams with urgent data; no longer followed")                  \
	X(ANOMALY_SECOND_CONNECT, "CONNECTs on a flow that already had one")                       \
	X(ANOMALY_BEFORE_CONNECT, "flows on which something came before CONNECT")                  \
	X(ANOMALY_BEFORE_CONNACK, "flows whose broker sent another packet before CONNACK")         \
	X(ANOMALY_SECOND_CONNACK, "segments with a CONNACK after CONNACK")                         \
	X(ANOMALY_FROM_CLIENT, "segments of clients with packets that only brokers send")          \
	X(ANOMALY_FROM_BROKER, "segments of brokers with packets that only clients send")          \
	X(ANOMALY_UNASSIGNED_TYPE, "packet types that the version does not know")                  \
	X(ANOMALY_RESERVED_FLAGS, "packets with reserved flags set")                               \
	X(ANOMALY_PUBLISH_QOS, "PUBLISHes with QoS 3")                                             \
	X(ANOMALY_SUBSCRIBE_QOS, "SUBSCRIBEs with QoS 3")                                          \
	X(ANOMALY_REMAINING_LENGTH, "packets whose length has more than four bytes")               \
	X(ANOMALY_WS_FRAME, "frames of tracked WebSockets that RFC 6455 does not allow")           \
	X(ANOMALY_UNTOLD, "anomalies counted without an event: too many, or too late")             \
	X(STEPDOWNS, "flows closed for the control lcore")                                         \
	X(KICK_WAITS, "kicks that waited until an end could be told")                              \
	X(KICK_WAITS_OVER, "of these: waited for the limit, in vain")                              \
	X(STEPDOWN_NOPROC, "stepdowns that found the flow gone")                                   \
	X(KILLED_SEEN, "killed channels found by their owner")                                     \
	X(INJECTED_DISCONNECT, "DISCONNECT packets injected")                                      \
	X(INJECTED_WS_CLOSE, "WebSocket Close frames injected")                                    \
	X(INJECTED_CONNACK, "refusing CONNACKs injected")                                          \
	X(INJECTED_FIN, "FINs injected")                                                           \
	X(INJECTED_RST, "RSTs injected")                                                           \
	X(INJECTED_ACK, "acknowledgements injected")                                               \
	X(CHALLENGE_ANSWERED, "RSTs that answered a challenge or late segment")                    \
	X(CLOSING_DROPPED, "segments of closed flows dropped")                                     \
	X(NO_MBUF, "segments not injected: the pool was empty")                                    \
	X(NO_MEMORY, "flows made opaque: no memory")                                               \
	X(KEEPALIVE, "clients silent for longer than their keepalive allows")                      \
	X(IDLE, "connections idle for the limit: opaque, or found dead")                           \
	X(IDLE_ALIVE, "connections idle for the limit whose both ends answered a probe")           \
	X(INJECTED_PROBE, "TCP keepalive probes injected")                                         \
	X(FROZEN, "flows frozen by a takeover")                                                    \
	X(FROZEN_DROPPED, "segments of frozen flows dropped")                                      \
	X(WILL_SUPPRESSED, "wills suppressed by an injected DISCONNECT")                           \
	X(SESSION_OVERFLOW, "topic filters and packet ids beyond the limits of their session")     \
	X(SESSION_OVERSIZE, "packets too long to be read for their session")                       \
	X(UNEXPECTED_MSG, "messages that no state expects; ignored")                               \
	X(SLEEPS, "times the lcore slept")

/** Of the control lcore. */
#define MQT_CONTROL_COUNTERS(X)                                                                    \
	X(OPENS, "OPENs received")                                                                 \
	X(SESSION_CREATED, "sessions created")                                                     \
	X(GRANTS, "newcomers granted")                                                             \
	X(GRANTED, "grants confirmed")                                                             \
	X(RETURNED, "grants that found the newcomer gone")                                         \
	X(CONTESTS, "newcomers held while their brokers close others")                             \
	X(SUPERSEDED, "newcomers refused for a newer one")                                         \
	X(DEAD_WAITERS, "newcomers that ended before their grant")                                 \
	X(TABLE_FULL, "newcomers refused: the maps were full")                                     \
	X(STEPDOWNS, "stepdowns requested")                                                        \
	X(STEPDOWN_OK, "stepdowns answered")                                                       \
	X(STEPDOWN_NOPROC, "stepdowns that found the channel gone")                                \
	X(STEPDOWN_TIMEOUT, "stepdowns not answered in time")                                      \
	X(STEPDOWN_ERROR, "stepdowns answered with an error")                                      \
	X(KILLS, "channels killed")                                                                \
	X(KILL_MISSED, "kills that came after the channel's own end")                              \
	X(KICKED, "channels kicked")                                                               \
	X(DISCARDED, "channels discarded")                                                         \
	X(KICK_UNKNOWN, "kicks, discards and takeovers of an unknown client")                      \
	X(DUPLICATES, "breaches of one live channel a client id; stays 0")                         \
	X(STALE_CHANNELS, "client ids found with more than one channel")                           \
	X(DOWN, "DOWNs received")                                                                  \
	X(DOWN_UNKNOWN, "DOWNs of channels not registered")                                        \
	X(UNREGISTERED, "channels unregistered")                                                   \
	X(RELEASED, "channel ids released to their worker")                                        \
	X(ORPHANED, "channels orphaned by a stalled worker")                                       \
	X(ADOPTED_BACK, "orphans announced again")                                                 \
	X(STALLS, "workers found stalled")                                                         \
	X(EVENTS, "events written")                                                                \
	X(TAKEOVERS, "sessions handed over by a living owner")                                     \
	X(SESSION_RESUMED, "sessions inherited")                                                   \
	X(SESSION_HANDED_OUT, "sessions taken over by command")                                    \
	X(SESSION_RETAINED, "sessions kept after their connection")                                \
	X(SESSION_DISCARDED, "sessions discarded")                                                 \
	X(SESSION_EXPIRED, "retained sessions expired")                                            \
	X(SESSION_EVICTED, "retained sessions that left for a newer one")                          \
	X(SESSION_LOST_BY_BROKER, "sessions that their broker no longer has")                      \
	X(SESSION_LEFT_BEHIND, "sessions left on another broker")                                  \
	X(SESSION_ADOPTED, "sessions that only the broker has")                                    \
	X(SESSION_LOST_BY_KILL, "sessions lost with an owner that did not answer")                 \
	X(REFUSED_POLICY, "newcomers refused: reject-new")                                         \
	X(REFUSED_USERNAME, "newcomers refused: the client id is bound to another user name")      \
	X(REFUSED_FLAPPING, "newcomers refused: held down")                                        \
	X(FLAPPING, "client ids reported as flapping")                                             \
	X(ANOMALIES, "anomalies told by workers")                                                  \
	X(UNEXPECTED_MSG, "messages that no state expects; ignored")                               \
	X(TURNS, "turns with work")                                                                \
	X(SLEEPS, "times the lcore slept")

#define MQT_COUNTER_ENUM_W(name, help) MQT_W_##name,
#define MQT_COUNTER_ENUM_C(name, help) MQT_C_##name,
enum mqt_worker_counter {
	MQT_WORKER_COUNTERS(MQT_COUNTER_ENUM_W) MQT_W_N_COUNTERS
};
enum mqt_control_counter {
	MQT_CONTROL_COUNTERS(MQT_COUNTER_ENUM_C) MQT_C_N_COUNTERS
};

/** Counters of one worker. W: that worker, relaxed; R: any, relaxed. */
struct mqt_worker_counters {
	_Atomic uint64_t v[MQT_W_N_COUNTERS];
};

/** Counters of the control lcore. W: control; R: any. */
struct mqt_control_counters {
	_Atomic uint64_t v[MQT_C_N_COUNTERS];
};

/** Adds to a counter of the calling thread's own array. */
static inline void
mqt_counter_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			memory_order_relaxed);
}

static inline uint64_t
mqt_counter_get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/** Lower-case name ("rx_packets"), and what one unit is. Static storage. NULL past the end. */
const char *mqt_worker_counter_name(unsigned counter);
const char *mqt_worker_counter_help(unsigned counter);
const char *mqt_control_counter_name(unsigned counter);
const char *mqt_control_counter_help(unsigned counter);

#endif
