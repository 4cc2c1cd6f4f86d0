/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_CTL_FIXTURE_H
#define TESTS_UNIT_CTL_FIXTURE_H

/*
 * A tracker without packets, for the tests of the control socket: a real channel manager, real
 * maps, a real control socket in a directory of its own, and one fake worker with its slots. The
 * test's thread is the control lcore and the worker: they make progress in tracker_step() only,
 * which every wait calls, so a test decides what happens in which order.
 */

#include "mqtrack/annot.h"
#include "mqtrack/ctl.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACKER_SLOTS 4096

struct tracker {
	char dir[64];
	struct mqt_config config;
	struct mqt_clock clock;
	struct mqt_hash_key hash_key;
	struct mqt_maps *maps;
	struct mqt_event_ring *events;
	struct mqt_mailbox *mailbox;
	struct mqt_slot *slots;
	uint32_t gen[TRACKER_SLOTS];
	mqt_chan_id open[TRACKER_SLOTS]; /* 0: no DOWN is due */
	bool granted[TRACKER_SLOTS];
	struct mqt_session *session[TRACKER_SLOTS]; /* of connected channels */
	uint32_t next_slot;
	_Atomic uint64_t heartbeat_ns;
	unsigned n_workers; /* set before start: so many real ones that never run */
	struct rte_mempool *pool;
	struct mqt_workers *workers; /* NULL where n_workers is 0 */
	bool no_heartbeat;
	struct mqt_captures *captures; /* of the fake worker */
	struct mqt_cm *cm;
	struct mqt_ctl *ctl;
	bool mute; /* the worker does not answer */
	unsigned n_stepdowns;
	uint8_t code; /* of the last of them */
	/* a gate at which the control thread waits whenever it reads the clock */
	pthread_t test_thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool gate_closed;
	unsigned gate_waiting, gate_passes;
};

/** What a test says about a client; zero is a plain MQTT 3.1.1 client. */
struct client_spec {
	const void *id;
	size_t id_len; /* 0: strlen(id) */
	const char *username;
	size_t username_len; /* 0: strlen(username) */
	uint32_t expiry_sec;
	uint16_t flags; /* enum mqt_info_flag */
	uint16_t keepalive_sec;
	uint16_t domain, listener;
	uint8_t proto_ver; /* 0: 4 */
	uint8_t transport;
	struct mqt_endpoint broker; /* version 0: 198.51.100.1:1883 */
	bool resume;                /* no clean start */
};

/** Fills the configuration with defaults, makes the directory; no socket yet. */
void tracker_init(struct tracker *t);
/** Makes maps, manager, and starts the control socket. */
void tracker_start(struct tracker *t);
/** Lets all come to rest, then ends all; removes the directory. */
void tracker_stop(struct tracker *t);
/** Ends all with what is under way. */
void tracker_stop_now(struct tracker *t);
/** One turn of the manager and of the worker. */
void tracker_step(struct tracker *t);
/** Opens a client until it is granted. @return its channel. */
mqt_chan_id tracker_open(struct tracker *t, const struct client_spec *spec);
mqt_chan_id tracker_open_id(struct tracker *t, const char *id);
/** Its flow ends; steps until it is unregistered. */
void tracker_close(struct tracker *t, mqt_chan_id chan);
/** Gives a connected channel a session; takes it. */
void tracker_set_session(struct tracker *t, mqt_chan_id chan, struct mqt_session *session);
/** Its flow ends, its session, made where there was none, stays with this end. */
void tracker_leave(struct tracker *t, mqt_chan_id chan, const struct mqt_session_final *final);
/** Steps until nothing is under way. */
void tracker_settle(struct tracker *t);
struct mqt_slot *tracker_slot(struct tracker *t, mqt_chan_id chan);

void tracker_gate_close(struct tracker *t);
/** Waits until the control thread stands at the gate. @return false after the deadline. */
bool tracker_gate_wait(struct tracker *t);
/** Lets it pass once. */
void tracker_gate_pass(struct tracker *t);
void tracker_gate_open(struct tracker *t);

/** A control client of the test. */
struct peer {
	struct tracker *t;
	int fd;
	char *in;
	size_t len, cap;
	int next_id;
};

void peer_open(struct peer *p, struct tracker *t);
void peer_close(struct peer *p);
/** Sends all bytes; steps the tracker while it waits. @return false where the peer has closed. */
bool peer_send(struct peer *p, const void *data, size_t len);
bool peer_send_line(struct peer *p, const char *line);
/** Next message. @return NULL: closed, or nothing came before the deadline (see peer_at_end). */
json_t *peer_recv(struct peer *p);
/** Whether the server has closed the connection, within the deadline. */
bool peer_at_end(struct peer *p);
/** Whether a whole message is there now. */
bool peer_has_message(struct peer *p);
/** Calls a method with params in JSON (NULL: none). @return the whole answer. */
json_t *peer_call(struct peer *p, const char *method, const char *params);
/** The same. @return the result alone, NULL where it is an error. */
json_t *peer_result(struct peer *p, const char *method, const char *params);
/** The same. @return the error's code, 0 where it is none. */
int peer_error(struct peer *p, const char *method, const char *params);

#endif
