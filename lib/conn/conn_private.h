/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CONN_PRIVATE_H
#define CONN_PRIVATE_H

#include "conn_worker.h"
#include "mqtrack/info.h"

/*
 * What the files of lib/conn do for each other; what they work on is in conn_layout.h (a connection)
 * and conn_worker.h (all of a worker). Everything here belongs to one worker.
 *
 *   conns.c      all of a worker: create and destroy
 *   dispatch.c   packets and timers, to those who judge them
 *   conn.c       slots, begin and end of a connection
 *   table.c      the flow table, over the array of flows.c
 *   embryo.c     half-open handshakes (R13, R17, R18)
 *   established.c  the short way of most segments
 *   tcp.c        sequence numbers, acknowledgements, FIN and RST
 *   reorder.c    segments behind a gap
 *   hold.c       mbufs that wait: parked, or kept behind a gap (R11, R12)
 *   handshake.c  handshakes, and the segments of those that have one
 *   connect.c    CONNECT and its repetitions (I12)
 *   reply.c      the broker's answer, up to CONNACK (R11)
 *   open.c       opening a channel
 *   park.c       what the broker sends until GRANT (R11, R12)
 *   layers.c     what comes before CONNECT: PROXY header, request for a WebSocket
 *   ws.c         WebSocket frames between TCP and MQTT
 *   session.c    the session of a flow: fed by its taps, inherited, handed over
 *   limit.c      what one source address may have
 *   links.c      the link headers of connections
 *   source.c     how much it has
 *   anomaly.c    what a peer of MQTT may not say
 *   capture.c    copies of the packets of one client
 *   silence.c    keepalive, and flows on which nobody speaks any more
 *   freeze.c     a flow that is being taken over: nothing passes
 *   close.c      closing a flow on the wire (R14, R15, R16)
 *   kick.c       kicks that wait until the client can be told
 *   message.c    the worker's side of the mailbox, the end of a channel
 *
 * cs is the worker's struct mqt_conns, c a connection, s and o its streams: s that of the sender
 * of the segment in hand, o the opposite one.
 */

#define TICK_NS         (10 * MQT_NS_PER_MS)
#define CLOSE_RETRY_NS  (200 * MQT_NS_PER_MS) /* doubles with each try */
#define CLOSE_MAX_SHIFT 4                     /* 3.2 s at most between two tries */
#define CLOSE_TRIES     4                     /* then gone once the peers are silent */
#define LINGER_NS       (60 * MQT_NS_PER_SEC) /* a half-closed flow without segments */
#define FIN_NS          (5 * MQT_NS_PER_SEC)  /* for a FIN to be acknowledged */
#define DOUBT_NS        (2 * MQT_NS_PER_SEC)  /* silence that confirms a doubtful RST */

/* --- conn.c ------------------------------------------------------------------------------------ */

/**
 * Makes a connection of an embryo and puts it in the table; an older flow of that key has been
 * removed before. @return NULL: no slot or no room, counted.
 */
struct conn *conn_create(struct mqt_conns *cs, const struct embryo *e) WORKER_ROLE;

/** The flow is over: forgets it, and its slot once the control lcore has (R1). */
void conn_remove(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/** The slot may rest and be used again. */
void conn_slot_quiet(struct mqt_conns *cs, struct conn *c);

/** Frees slots that have rested. @return how many. */
unsigned conn_slots_expire(struct mqt_conns *cs, unsigned budget);

void conn_set_state(struct mqt_conns *cs, struct conn *c, enum mqt_conn_state state);

/** (Re-)arms the connection's one timer @p after_ns from now. */
void conn_arm(struct mqt_conns *cs, struct conn *c, uint64_t after_ns);
/** Where its timer is not to fire earlier anyway. */
void conn_arm_by(struct mqt_conns *cs, struct conn *c, uint64_t after_ns);

bool conn_fail_closed(const struct mqt_conns *cs, const struct conn *c);

/** From now on it only passes, with everything that was held: no channel, not followed. */
void conn_pass(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/** It cannot be tracked, for the reason @p why: passes or is reset, as its listener says (I10). */
void conn_untracked(struct mqt_conns *cs, struct conn *c, enum mqt_worker_counter why) WORKER_ROLE;

/* --- table.c ----------------------------------------------------------------------------------- */

int table_init(struct mqt_conns *cs);
void table_fini(struct mqt_conns *cs);

/** Puts a connection under the key of its embryo. @return false: no room. */
bool table_add(struct mqt_conns *cs, struct conn *c, const struct embryo *e);

/** Takes it out. @return the hash of its key. */
uint64_t table_remove(struct mqt_conns *cs, struct conn *c);

/** A burst begins: finds the slots that its packets may belong to; FLOWS_NONE: none. */
void table_find(struct mqt_conns *cs, const struct mqt_packet *pkts, unsigned n, uint32_t *slots);

/**
 * The turn of one of them has come.
 * @param slot what table_find() found. @return its connection, or NULL.
 */
struct conn *table_conn(const struct mqt_conns *cs, const struct mqt_packet *p, uint32_t slot);

/** Client and broker of a connection. */
void table_endpoints(const struct mqt_conns *cs, const struct conn *c, struct mqt_endpoint *client,
		struct mqt_endpoint *broker);

/* --- embryo.c ---------------------------------------------------------------------------------- */

int embryo_init(struct mqt_conns *cs);
void embryo_fini(struct mqt_conns *cs);

/** A SYN from outside. It passes, whatever is known of its flow. */
void embryo_syn(struct mqt_conns *cs, const struct mqt_packet *p, const struct conn *c) WORKER_ROLE;

/**
 * A SYN/ACK from inside. @param c the flow's older incarnation, or NULL.
 * @return true: it answers an embryo and passes; @p c is over then.
 */
bool embryo_synack(struct mqt_conns *cs, const struct mqt_packet *p, struct conn *c) WORKER_ROLE;

/**
 * A segment of a flow without connection.
 * @param taken set where the packet was dropped.
 * @return the connection that begins with it, which has yet to judge it; or NULL.
 */
struct conn *embryo_ack(struct mqt_conns *cs, const struct mqt_packet *p, bool *taken) WORKER_ROLE;

/** A SYN from inside: where the client has opened the flow too, nobody opens it alone. */
void embryo_simultaneous(struct mqt_conns *cs, const struct mqt_packet *p);

/** A handshake of this flow is gone while its broker may go on with it. */
void embryo_forget(struct mqt_conns *cs, uint64_t hash);

/** Forgets what is too old. @return how many. */
unsigned embryo_expire(struct mqt_conns *cs, unsigned budget);

/* --- hold.c ------------------------------------------------------------------------------------ */

int hold_init(struct mqt_conns *cs, uint32_t n);
void hold_fini(struct mqt_conns *cs);

/** Puts it in its place by sequence, behind equal ones. @return false: no room; @p m stays. */
bool hold_add(struct mqt_conns *cs, struct stream *s, struct rte_mbuf *m, const struct mqt_pkt *v,
		uint16_t port, bool forwarded);

/** Takes the first one out. @return false: none. Ownership: out->m is the caller's. */
bool hold_pop(struct mqt_conns *cs, struct stream *s, struct hold *out);

/** Drops the last one. */
void hold_drop_last(struct mqt_conns *cs, struct stream *s);

/** Drops all. */
void hold_drop(struct mqt_conns *cs, struct stream *s);

/** Whether the bytes that both segments have are the same. */
bool hold_agrees(const struct hold *h, const struct rte_mbuf *m, const struct mqt_pkt *v);

static inline struct hold *
hold_at(const struct mqt_conns *cs, uint32_t index)
{
	return index == NO_INDEX ? NULL : &cs->holds[index];
}

/* --- established.c ----------------------------------------------------------------------------- */

/**
 * The short way of a segment that changes nothing but numbers.
 * @return false: it has to go the long way, nothing has changed. Ownership: taken where true.
 */
bool established_input(
		struct mqt_conns *cs, struct conn *c, const struct mqt_packet *p) WORKER_ROLE;

/* --- tcp.c ------------------------------------------------------------------------------------- */

/** A segment of a flow that passes: CONNECTED, OPAQUE, or CLOSING by its own ends. */
void tcp_input(struct mqt_conns *cs, struct conn *c, enum side side,
		const struct mqt_packet *p) WORKER_ROLE;

/** What the segment says of its sender: acknowledgement, window, timestamp, time. */
void tcp_learn(struct mqt_conns *cs, struct conn *c, enum side side, const struct rte_mbuf *m,
		const struct mqt_pkt *v) WORKER_ROLE;

/** The timestamp of a segment of a flow that has them. */
void tcp_learn_timestamp(struct stream *s, const struct rte_mbuf *m, const struct mqt_pkt *v);

/**
 * Follows a segment that leaves no gap, forwards it where it has not left yet. Ownership: @p m is
 * taken.
 */
void tcp_take_and_forward(struct mqt_conns *cs, struct conn *c, enum side side, struct rte_mbuf *m,
		const struct mqt_pkt *v, uint16_t port, bool forwarded) WORKER_ROLE;

/** Skips bytes inside a body that is being skipped, unseen. @return false: they are not. */
bool tcp_skip(struct mqt_conns *cs, struct conn *c, enum side side, uint32_t to);

/** A FIN has come in order and has been forwarded. */
void tcp_fin(struct mqt_conns *cs, struct conn *c, enum side side) WORKER_ROLE;

/** Follows bytes that come next in the stream. */
void tcp_take_bytes(struct mqt_conns *cs, struct conn *c, enum side side, const uint8_t *data,
		uint32_t len) WORKER_ROLE;

/** Follows bytes of MQTT, whatever carried them. */
void tcp_take_mqtt(struct mqt_conns *cs, struct conn *c, enum side side, const uint8_t *data,
		uint32_t len) WORKER_ROLE;

/** What was being collected is given up, and the session stays as last known. */
void tcp_stop_following(struct stream *s);

/** An RST: passes, and ends the flow where the receiver can take it. Ownership: taken. */
void tcp_rst(struct mqt_conns *cs, struct conn *c, enum side side, struct rte_mbuf *m,
		const struct mqt_pkt *v, uint16_t port) WORKER_ROLE;

/** An RST of @p side is believed: the channel ends, the other end is reset. */
void tcp_reset_by(struct mqt_conns *cs, struct conn *c, enum side side) WORKER_ROLE;

/** A FIN was no end, or is none in time: the channel ends, both ends are reset, counted. */
void tcp_abort(struct mqt_conns *cs, struct conn *c, enum mqt_worker_counter why) WORKER_ROLE;

/** The client closed before it was admitted; now it is, and the channel ends once that is known. */
void tcp_client_closed(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/** Ends the channel where an end has closed and the other knows it, the flow where both do. */
void tcp_maybe_done(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/** Framing is not followed from here on. */
void tcp_lose(struct mqt_conns *cs, struct stream *s);

/** Urgent data in a stream: its framing is not followed any further, counted. */
void tcp_urgent(struct mqt_conns *cs, struct stream *s);

/** Time since the last segment of either side, ms. */
uint32_t tcp_silent_ms(const struct mqt_conns *cs, const struct conn *c);

/**
 * Whether an ACK of the client has surely reached the broker, which then repeats its SYN/ACK no more:
 * it has acknowledged more than that did. How much payload of a SYN that was is not kept: then it is
 * what is more than any SYN has, a FIN, or what was injected.
 */
bool tcp_broker_has_ack(const struct conn *c);

/* --- reorder.c --------------------------------------------------------------------------------- */

/** Payload or FIN: forwards and follows it, or keeps it behind a gap. Ownership: @p m is taken. */
void reorder_input(struct mqt_conns *cs, struct conn *c, enum side side, struct rte_mbuf *m,
		const struct mqt_pkt *v, uint16_t port) WORKER_ROLE;

/** A gap that will not be filled: the framing of the stream is lost, all else goes on. */
void reorder_give_up(struct mqt_conns *cs, struct conn *c, enum side side) WORKER_ROLE;

/** Gives up the gaps that are too old. @return whether some are left, to be watched. */
bool reorder_expire(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;
void reorder_watch(struct mqt_conns *cs, struct conn *c);

/* --- handshake.c ------------------------------------------------------------------------------- */

int handshake_init(struct mqt_conns *cs);
void handshake_fini(struct mqt_conns *cs);

/** Appends to a buffer that grows. @return false: no memory, nothing has changed. */
bool handshake_append(uint8_t **buf, uint32_t *len, uint32_t *cap, const void *data, uint32_t n);

/**
 * Gives a new connection its handshake, that of the oldest connection which has sent no CONNECT if
 * no other is left. @return false: there is none.
 */
bool handshake_begin(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;
void handshake_end(struct mqt_conns *cs, struct conn *c);

/** It has sent a whole CONNECT: its handshake is not taken away any more. */
void handshake_spoken(struct mqt_conns *cs, struct conn *c);

/** A segment in EMBRYONIC, CONNECTING or OPENING. */
void handshake_input(struct mqt_conns *cs, struct conn *c, enum side side,
		const struct mqt_packet *p) WORKER_ROLE;

/** The newcomer cannot be admitted: passes untracked or is refused, as its listener says. */
void handshake_unadmitted(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/** The wait for GRANT has taken too long (R7). */
void handshake_opening_timeout(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/* --- connect.c --------------------------------------------------------------------------------- */

/**
 * Bytes of the client, in order, while CONNECT is not complete.
 * @return how many of them are the handshake's; the rest is behind CONNECT.
 */
uint32_t connect_bytes(struct mqt_conns *cs, struct conn *c, const uint8_t *data,
		uint32_t len) WORKER_ROLE;

/** The client's bytes that are kept, as they came. @return NULL where there are none. */
const uint8_t *connect_kept(const struct handshake *hs, uint32_t *len);

/** Whether the segment repeats a byte of CONNECT, or a FIN, with another content (I12). */
bool connect_conflict(const struct conn *c, const struct rte_mbuf *m, const struct mqt_pkt *v);

/* --- reply.c ----------------------------------------------------------------------------------- */

/** What the broker's bytes so far mean. */
enum reply {
	REPLY_PASSES, /* no CONNACK in them */
	REPLY_WAITS,  /* a part of one */
	REPLY_DONE,   /* the connection has another state */
};

/** Judges the broker's MQTT that has come. */
enum reply reply_packets(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/** Whether the broker's bytes are read: an answer to CONNECT, or to the request for a WebSocket. */
bool reply_is_awaited(const struct conn *c);

/** Reads on as far as the broker's segments leave no gap. */
void reply_read(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/* --- open.c ------------------------------------------------------------------------------------ */

/** All that is known of the client. @return NULL: no memory. Ownership: the caller's. */
struct mqt_info *open_info(
		struct mqt_conns *cs, const struct conn *c, const struct mqt_mqtt_connack *connack);

/** Posts OPEN: OPENING. Ownership: @p info is the control lcore's. */
void open_channel(struct mqt_conns *cs, struct conn *c, struct mqt_info *info) WORKER_ROLE;

/* --- park.c ------------------------------------------------------------------------------------ */

/** Holds a segment of the broker, or drops it. @return whether there is something new to look at. */
bool park_input(struct mqt_conns *cs, struct conn *c, const struct mqt_packet *p) WORKER_ROLE;

/** OPENING: ends the channel where the broker has ended the connection behind its CONNACK. */
void park_watch(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/** Releases what is parked; the handshake is over. */
void park_release(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/* --- layers.c ---------------------------------------------------------------------------------- */

struct mqt_proxy;

/** A handshake begins: which layers its listener has. */
void layers_begin(struct mqt_conns *cs, struct conn *c);

/**
 * Bytes of the client, in order, in EMBRYONIC, where keeps_raw.
 * @return how many of them come before MQTT or its frames; all, where it is not followed any more.
 */
uint32_t layers_client_bytes(struct mqt_conns *cs, struct conn *c, const uint8_t *data,
		uint32_t len) WORKER_ROLE;

/** What the proxy said; zeroed where it said nothing. Points into hs->raw. */
void layers_proxy(const struct handshake *hs, struct mqt_proxy *proxy);

/** Follows an HTTP head. @param used bytes of it. @param complete whether they complete it. */
enum mqt_ws_error layers_head(struct handshake *hs, enum side side, const uint8_t *data,
		uint32_t len, uint32_t *used, bool *complete);

/** The counter that names the error. */
enum mqt_worker_counter layers_ws_error(enum mqt_ws_error error);

/* --- ws.c -------------------------------------------------------------------------------------- */

int ws_init(struct mqt_conns *cs);
void ws_fini(struct mqt_conns *cs);

/** A new connection: CONN_WS where its listener's transport is that. */
void ws_begin(struct mqt_conns *cs, struct conn *c);

/** Follows frames that come next in the stream. */
void ws_take_bytes(struct mqt_conns *cs, struct conn *c, enum side side, const uint8_t *data,
		uint32_t len) WORKER_ROLE;

/** Skips bytes unseen. @return false: not possible, nothing has changed. */
bool ws_skip(struct mqt_conns *cs, struct conn *c, enum side side, uint32_t n);

/**
 * Reads what the broker sends before GRANT, up to the end of CONNACK; moves its stream's next.
 * @return false: the connection has another state.
 */
bool ws_reply_bytes(struct mqt_conns *cs, struct conn *c, const uint8_t *data,
		uint32_t len) WORKER_ROLE;

/** What has been read so means. */
enum reply ws_reply(const struct mqt_conns *cs, const struct conn *c);

/** Whether a frame may follow in the name of @p from. @param message one of a message of its own. */
bool ws_can_speak(const struct mqt_conns *cs, const struct conn *c, enum side from, bool message);

/** Whether Close has been said in the name of @p from. */
bool ws_is_closed(const struct mqt_conns *cs, const struct conn *c, enum side from);

/** What to inject: an MQTT packet (len 0: none), framed; towards the client Close behind it. */
size_t ws_inject(const struct conn *c, enum side from, const uint8_t *packet, size_t len,
		uint8_t *buf, size_t cap);

/** Whether a segment is nothing but the client's answer to a Close. */
bool ws_is_close_answer(const struct rte_mbuf *m, const struct mqt_pkt *v);

/* --- close.c ----------------------------------------------------------------------------------- */

enum close_how {
	CLOSE_RESET,   /* both ends by RST */
	CLOSE_DISCARD, /* v5 client: DISCONNECT 0x8E where possible */
	/* v5 client: DISCONNECT 0x8D where possible; the broker is to publish the will */
	CLOSE_KEEPALIVE,
	/* refusing CONNACK to the client, DISCONNECT to the broker where possible */
	CLOSE_REFUSE,          /* v5 0x89, 3.x 0x03 */
	CLOSE_REFUSE_POLICY,   /* v5 0x97, 3.x 0x03 */
	CLOSE_REFUSE_USERNAME, /* v5 0x87, 3.x 0x05 */
};

/** Closes the flow on the wire: from now on the tracker is the peer of both ends (R15). */
void close_wire(struct mqt_conns *cs, struct conn *c, enum close_how how) WORKER_ROLE;

/** The same; @p side has sent RST and is told nothing unless it speaks again. */
void close_reset_by(struct mqt_conns *cs, struct conn *c, enum side side) WORKER_ROLE;

/** The same, by a kick: a v5 client gets DISCONNECT with @p code where possible. */
void close_kick(struct mqt_conns *cs, struct conn *c, uint8_t code) WORKER_ROLE;

/** Whether an end that a kick has to tell cannot be told yet, and may be later. */
bool close_better_later(const struct mqt_conns *cs, const struct conn *c);

/** A segment of a flow so closed. Ownership: taken. */
void close_input(struct mqt_conns *cs, struct conn *c, enum side side,
		const struct mqt_packet *p) WORKER_ROLE;

/** Tries again, or is done. */
void close_timer(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/** Resets a flow without connection at both ends, from one packet of it, and drops the packet. */
void close_unknown(struct mqt_conns *cs, const struct mqt_packet *p) WORKER_ROLE;

/**
 * Asks an end whether it is still there, by a TCP keepalive probe in the name of the other. The
 * flow goes on.
 */
void close_probe(struct mqt_conns *cs, const struct conn *c, enum side to) WORKER_ROLE;

/* --- kick.c ------------------------------------------------------------------------------------ */

/** @return whether the kick @p msg of a channel that is open waits; false: it is to be done now. */
bool kick_waits(struct mqt_conns *cs, const struct conn *c, const struct mqt_msg *msg) WORKER_ROLE;

/** Ends the wait, if one waits for this channel. @return whether; @p msg is the kick then. */
bool kick_take(struct mqt_conns *cs, const struct conn *c, struct mqt_msg *msg);

/** Between bursts: does the kicks that need not wait any longer. @return how many. */
unsigned kick_poll(struct mqt_conns *cs) WORKER_ROLE;

/* --- silence.c --------------------------------------------------------------------------------- */

/** From now on the flow passes: CONNECTED, or OPAQUE. */
void silence_watch(struct mqt_conns *cs, struct conn *c);

/** The timer of a flow that passes, or is being closed by its own ends. */
void silence_timer(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/* --- freeze.c ---------------------------------------------------------------------------------- */

/** From now on nothing passes. @return its session, NULL: none. Ownership: the caller's. */
struct mqt_session *freeze(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/** A segment of a frozen flow. Ownership: taken. */
void freeze_input(struct mqt_conns *cs, struct conn *c, enum side side,
		const struct mqt_packet *p) WORKER_ROLE;

/** The end of the takeover has not come: closes by itself. */
void freeze_timer(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

/* --- session.c --------------------------------------------------------------------------------- */

/** A packet that the tap of @p side has reported. */
void session_packet(struct mqt_conns *cs, struct conn *c, enum side side,
		const struct mqt_mqtt_packet *packet);

/** Granted, with what it inherits or NULL. Ownership: the connection's. */
void session_begin(struct mqt_conns *cs, struct conn *c, struct mqt_session *inherited);

/** Writes what outlives the flow into a session that is about to leave. */
void session_finish(const struct conn *c, struct mqt_session *session);

/** The session that outlives the flow, an empty one where it had none. @return NULL: no memory. */
struct mqt_session *session_leave(struct mqt_conns *cs, struct conn *c);

/** Destroys what is left of it: the session, or the pendings of a frozen flow. */
void session_drop(struct conn *c);

/* --- limit.c ----------------------------------------------------------------------------------- */

/**
 * The handshake is complete: counts it for its source address.
 * @return false: that has as many as it may have.
 */
bool limit_enter(struct mqt_conns *cs, struct embryo *e);

/** No connection has been made of it. */
void limit_undo(struct mqt_conns *cs, const struct embryo *e);

/** The connection is over. */
void limit_leave(struct mqt_conns *cs, struct conn *c);

/* --- anomaly.c --------------------------------------------------------------------------------- */

enum anomaly {
	ANOMALY_BEFORE_CONNECT,
	ANOMALY_BEFORE_CONNACK,
	ANOMALY_SECOND_CONNECT,
	ANOMALY_SECOND_CONNACK,
	ANOMALY_FROM_CLIENT,
	ANOMALY_FROM_BROKER,
	ANOMALY_UNASSIGNED_TYPE,
	ANOMALY_RESERVED_FLAGS,
	ANOMALY_PUBLISH_QOS,
	ANOMALY_SUBSCRIBE_QOS,
	ANOMALY_REMAINING_LENGTH,
	ANOMALY_WS_FRAME,
	ANOMALY_N_KINDS,
};

/** Types of packets that are none, or may be none, from that side after CONNECT and CONNACK. */
#define ANOMALY_TYPES_CLIENT                                                                       \
	(1u << MQT_MQTT_CONNECT | 1u << MQT_MQTT_CONNACK | 1u << MQT_MQTT_SUBACK |                 \
			1u << MQT_MQTT_UNSUBACK | 1u << MQT_MQTT_PINGRESP | 1u << MQT_MQTT_AUTH)
#define ANOMALY_TYPES_BROKER                                                                       \
	(1u << MQT_MQTT_CONNECT | 1u << MQT_MQTT_CONNACK | 1u << MQT_MQTT_SUBSCRIBE |              \
			1u << MQT_MQTT_UNSUBSCRIBE | 1u << MQT_MQTT_PINGREQ |                      \
			1u << MQT_MQTT_DISCONNECT | 1u << MQT_MQTT_AUTH)

/** Counts one, and tells the control lcore where that has not been done. */
void anomaly(struct mqt_conns *cs, struct conn *c, enum side side, enum anomaly kind) WORKER_ROLE;

/**
 * Judges packet types that began in a stream, see ANOMALY_TYPES_*.
 * @return whether the stream is not to be followed any more.
 */
bool anomaly_types(
		struct mqt_conns *cs, struct conn *c, enum side side, unsigned types) WORKER_ROLE;

/** The framing of a stream has broken. */
void anomaly_framing(struct mqt_conns *cs, struct conn *c, enum side side,
		enum mqt_mqtt_error error) WORKER_ROLE;

/** So have the frames around it. */
void anomaly_ws_frame(struct mqt_conns *cs, struct conn *c, enum side side) WORKER_ROLE;

/** A client's stream begins with a byte that begins no CONNECT. */
void anomaly_first_byte(struct mqt_conns *cs, struct conn *c, uint8_t first) WORKER_ROLE;

/** A packet that the tap of @p side has reported. */
void anomaly_packet(struct mqt_conns *cs, struct conn *c, enum side side,
		const struct mqt_mqtt_packet *packet) WORKER_ROLE;

/* --- capture.c --------------------------------------------------------------------------------- */

/** Learns what is asked for. Context: the epoch is another one than capture_epoch. */
void capture_sync(struct mqt_conns *cs) WORKER_ROLE;

/** The connection has sent a CONNECT. Context: capturing. */
void capture_connect(struct mqt_conns *cs, struct conn *c, const void *clientid, size_t len);

/** A packet of a captured connection, before it is judged; not while it opens. */
void capture_received(
		struct mqt_conns *cs, const struct conn *c, const struct mqt_packet *p) WORKER_ROLE;

/** handshake_input(), with a look at the packet behind it. Context: capturing. */
void capture_handshake(struct mqt_conns *cs, struct conn *c, enum side side,
		const struct mqt_packet *p) WORKER_ROLE;

/** A packet that the tracker sends in the name of an end of a captured connection. */
void capture_sent(struct mqt_conns *cs, const struct conn *c, uint16_t port,
		const struct rte_mbuf *m) WORKER_ROLE;

/** A captured connection is removed. */
void capture_forget(struct mqt_conns *cs, struct conn *c);

/* --- message.c --------------------------------------------------------------------------------- */

/**
 * The channel is over: slot CLOSED, and once DOWN, or CLOSED where a session outlives it. Nothing
 * where there is no channel.
 * @return false: it had been killed; DOWN says so, and the caller must let nothing out.
 */
bool channel_down(struct mqt_conns *cs, struct conn *c, enum mqt_reason reason) WORKER_ROLE;

/** Closes the flow for a kick, and answers it. */
void channel_kick(struct mqt_conns *cs, struct conn *c, const struct mqt_msg *msg) WORKER_ROLE;

/** Found killed: closes the flow on the wire, posts DOWN. */
void channel_killed(struct mqt_conns *cs, struct conn *c) WORKER_ROLE;

#endif
