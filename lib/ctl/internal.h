/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CTL_INTERNAL_H
#define CTL_INTERNAL_H

/*
 * What the files of the control socket share. Everything here belongs to the control thread alone,
 * except struct ctl_sink, which the control lcore fills, and mqt_ctl.stop.
 *
 *   listen.c    the socket's path: directory, stale one, mode
 *   server.c    start, stop, the epoll loop
 *   buf.c       bytes that grow
 *   conn.c      one client: bytes to lines, backlog, end
 *   rpc.c       the JSON-RPC envelope: requests, batches, answers, dispatch
 *   params.c    reading and checking params
 *   ports.c     the links of the ports
 *   room.c      the room for clients
 *   record.c    records as JSON
 *   clients.c   clients.*, channels.lookup
 *   command.c   commands to the channel manager and their way home: kick and discard
 *   inspect.c   the sessions of clients.get
 *   stats.c     stats.get, workers.list, system.info
 *   events.c    events.subscribe
 *   capture.c   capture.start
 */

#include "mqtrack/annot.h"
#include "mqtrack/ctl.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include <urcu/wfcqueue.h>

extern int ctl_logtype;
#define RTE_LOGTYPE_CTL ctl_logtype

/* Error codes of JSON-RPC 2.0 §5.1 and, from -32001 on, our own; README.md lists them. */
enum ctl_error {
	CTL_E_PARSE = -32700,
	CTL_E_REQUEST = -32600,
	CTL_E_METHOD = -32601,
	CTL_E_PARAMS = -32602,
	CTL_E_INTERNAL = -32603,
	CTL_E_CLIENT = -32001,  /* unknown client */
	CTL_E_CHANNEL = -32002, /* unknown channel */
	CTL_E_TOO_MANY = -32003,
	CTL_E_TOO_LARGE = -32004,
	CTL_E_BUSY = -32005, /* not now */
};

#define CTL_BATCH_MAX    100 /* requests in one batch */
#define CTL_CALLS_MAX    32  /* commands of one connection under way at once */
#define CTL_LOOKUP_MAX   64  /* channels looked at under one client id */
#define CTL_LIST_DEFAULT 100
#define CTL_LIST_MAX     1000
#define CTL_SCAN_MAX     16384 /* rows looked at for one page, when a filter rejects most */
#define CTL_SECTION_ROWS 64    /* rows of one read section */
#define CTL_EVENTS_TURN  64    /* events pushed to one subscriber a turn */
#define CTL_ACCEPT_TURN  16
#define CTL_READ_BYTES   16384 /* read from one connection a turn */
#define CTL_POLL_MS      20    /* how often the ring of events is looked at for subscribers */
#define CTL_WATCH_MS     1000  /* how often the ports' links and the room are looked at */
#define CTL_LINGER_NS    (2 * MQT_NS_PER_SEC) /* for the last words of a connection to be read */

/** Bytes that grow; [head, len) are valid. */
struct ctl_buf {
	char *data;
	size_t head, len, cap;
};

/** Where commands come home to: outlives mqt_ctl while commands are under way. */
struct ctl_sink {
	struct __cds_wfcq_head head; /* dequeued by the control thread or the last owner */
	struct cds_wfcq_tail tail;   /* W: control lcore */
	_Atomic unsigned n_owners;   /* mqt_ctl and each command under way */
	int eventfd;
};

struct ctl_batch {
	json_t *requests;
	size_t next;        /* first one not begun */
	unsigned n_pending; /* begun, not answered */
	struct ctl_buf out; /* "[answer,answer" */
};

struct ctl_subscription {
	bool active;
	uint64_t cursor;
	uint32_t types; /* bit: enum mqt_event_type */
};

struct ctl_capture;

struct ctl_conn {
	TAILQ_ENTRY(ctl_conn) entry;
	struct mqt_ctl *ctl;
	int fd;
	uint32_t armed; /* epoll events asked for */
	bool eof;       /* the client has sent all */
	bool closing;   /* no more requests, closed once the backlog is out */
	bool gone;      /* nobody reads or writes at the other end; what it has sent is served */
	bool dead;      /* closed at the end of this turn */
	uint64_t close_by_ns;
	struct ctl_buf in, out;
	size_t in_scanned; /* bytes of in, from head, known to hold no line feed */
	size_t in_line;    /* length of the first whole line with its line feed; 0: none yet */
	struct ctl_batch *batch;
	unsigned n_calls; /* under way */
	struct ctl_subscription sub;
	struct ctl_capture *capture; /* NULL: none */
};

struct ctl_command;

/** A request under way. */
struct ctl_call {
	LIST_ENTRY(ctl_call) entry;
	struct mqt_ctl *ctl;
	struct ctl_conn *conn; /* NULL: has gone */
	json_t *id;            /* NULL: a notification, never answered */
	bool batched;
	/* of calls that wait for commands */
	unsigned n_commands;                                              /* not home yet */
	void (*home)(struct ctl_call *call, struct ctl_command *command); /* one is home */
	void (*settle)(struct ctl_call *call);                            /* all are: answers */
	/* of kick and discard */
	unsigned n_channels;
	json_t *outcomes;
	/* of clients.get */
	json_t *records;
	size_t room; /* bytes that the answer may still grow by */
};

/** A channel whose session is asked for, as it was when its record was made. */
struct ctl_inspected {
	mqt_chan_id chan;
	uint32_t expiry_sec; /* what a close now would leave it, as CONNECT and CONNACK say */
	bool retained;
};

/** A command under way. Ownership: the manager's from submit to done(), then the sink's. */
struct ctl_command {
	struct mqt_cm_cmd cmd;
	struct cds_wfcq_node home;
	struct ctl_sink *sink;
	struct ctl_call *call; /* the control thread's */
	/* of clients.get */
	unsigned record; /* index in the call's records */
	struct ctl_inspected inspected;
};

struct mqt_ctl {
	struct mqt_ctl_params p;
	pthread_t thread;
	int epoll_fd, listen_fd;
	struct ctl_sink *sink;
	struct stat path_stat; /* of the socket we bound */
	uint64_t started_ns, started_wall_ns;
	_Atomic bool stop;
	/* the control thread's */
	TAILQ_HEAD(, ctl_conn) conns;
	LIST_HEAD(, ctl_call) calls;
	unsigned n_conns;
	bool listen_paused; /* no file descriptor was left */
	uint64_t watch_due_ns;
	enum mqt_port_link links[2 * MQT_MAX_PAIRS]; /* as last seen and said */
	bool room_scarce;                            /* as last said */
};

/* --- listen.c */

/** @return 0 or negative errno; sets listen_fd and path_stat. */
int ctl_listen_open(struct mqt_ctl *ctl);
/** Closes and removes the path where it is still ours. */
void ctl_listen_close(struct mqt_ctl *ctl);

/* --- buf.c */

/** Appends. @return 0 or -ENOMEM. */
int ctl_buf_append(struct ctl_buf *buf, const void *data, size_t len);
/** Appends a JSON text. @return 0 or -ENOMEM. */
int ctl_buf_append_json(struct ctl_buf *buf, const json_t *json);
void ctl_buf_free(struct ctl_buf *buf);

/* --- conn.c */

/** Accepts what is waiting, at most CTL_ACCEPT_TURN. */
void ctl_conn_accept(struct mqt_ctl *ctl);
/** Whether bytes are read from it now: no line or batch of it waits to be served. */
bool ctl_conn_wants_input(const struct ctl_conn *conn);
void ctl_conn_read(struct ctl_conn *conn);
/** Sends what the socket takes now. */
void ctl_conn_flush(struct ctl_conn *conn);
/** The other end has gone altogether. */
void ctl_conn_gone(struct ctl_conn *conn);
/** Asks epoll for what the connection waits for. */
void ctl_conn_arm(struct ctl_conn *conn);
void ctl_conn_destroy(struct ctl_conn *conn);
/** Looks for the next line in what has been read. Context: after the one before was served. */
void ctl_conn_find_line(struct ctl_conn *conn);
/** Takes the line found off the input. Valid until the next read. */
const char *ctl_conn_take_line(struct ctl_conn *conn, size_t *len);
/** Bytes that wait for the reader. */
size_t ctl_conn_backlog(const struct ctl_conn *conn);
/** Sends a JSON text and a line feed. A reader over its backlog is closed. */
void ctl_conn_send(struct ctl_conn *conn, const json_t *json);
/** The same with text; adds the line feed. */
void ctl_conn_send_text(struct ctl_conn *conn, const char *text, size_t len);
/** No more requests: closed once all is sent, or after CTL_LINGER_NS. */
void ctl_conn_finish(struct ctl_conn *conn);

/* --- rpc.c */

/** Whether a request waits to be served. */
bool ctl_rpc_is_waiting(const struct ctl_conn *conn);
/** Whether it could be served now. */
bool ctl_rpc_has_work(const struct ctl_conn *conn);
/** Serves one request: the next of the batch, or the next line. */
void ctl_rpc_serve(struct ctl_conn *conn);
/** The connection goes: forgets its calls, frees its batch. */
void ctl_rpc_abandon(struct ctl_conn *conn);
/** Line over control.max_request: error, end. */
void ctl_rpc_oversize(struct ctl_conn *conn);
/** An error without a request. */
json_t *ctl_rpc_error_json(json_t *id, int code, const char *message);
/** Answers and frees @p call; takes @p result. NULL is an internal error. */
void ctl_call_result(struct ctl_call *call, json_t *result);
/** Answers with an error and frees @p call. */
void ctl_call_error(struct ctl_call *call, int code, const char *fmt, ...)
		__attribute__((format(printf, 3, 4)));
/** Frees without an answer. */
void ctl_call_free(struct ctl_call *call);

/* --- params.c: each answers the call with an error itself and returns false where not right */

/** A client id or user name, given as string or in hexadecimal. */
struct ctl_bytes {
	const uint8_t *data; /* NULL: not given */
	size_t len;
	uint8_t *owned; /* ctl_bytes_free() it */
};

/** Refuses names that are not in @p allowed (ends with NULL), and params that are no object. */
bool ctl_params_check(struct ctl_call *call, const json_t *params, const char *const *allowed);
bool ctl_params_uint(struct ctl_call *call, const json_t *params, const char *name, uint64_t min,
		uint64_t max, uint64_t *value);
/** @param value left alone where not given. */
bool ctl_params_string(
		struct ctl_call *call, const json_t *params, const char *name, const char **value);
/** @param value -1 not given, 0, 1. */
bool ctl_params_bool(struct ctl_call *call, const json_t *params, const char *name, int *value);
/** @p name, or with `_hex` behind it; no data where neither is given. */
bool ctl_params_bytes(struct ctl_call *call, const json_t *params, const char *name,
		struct ctl_bytes *bytes);
void ctl_bytes_free(struct ctl_bytes *bytes);
/** @param domain index, -1 where not given. */
bool ctl_params_domain(struct ctl_call *call, const json_t *params, int *domain);
bool ctl_params_listener(struct ctl_call *call, const json_t *params, int *listener);
/** A broker as records show it. */
struct ctl_broker {
	const char *name;            /* a configured one, else NULL */
	struct mqt_endpoint address; /* version 0: not given; port 0: any */
};

/** A configured name, an address, or address:port; nothing of @p broker set where not given. */
bool ctl_params_broker(struct ctl_call *call, const json_t *params, struct ctl_broker *broker);
/** @param worker left alone where not given. */
bool ctl_params_worker(struct ctl_call *call, const json_t *params, uint64_t *worker);
/** @param id MQT_CHAN_NONE where not given. */
bool ctl_params_channel(struct ctl_call *call, const json_t *params, mqt_chan_id *id);
/** The `reason` of a kick. @param given whether it is; @param code left alone where not. */
bool ctl_params_reason(struct ctl_call *call, const json_t *params, bool *given, uint8_t *code);

/** Whom a command or a question is about: a client id, or one channel. */
struct ctl_target {
	struct ctl_bytes clientid; /* ctl_bytes_free() it */
	mqt_chan_id channel;       /* MQT_CHAN_NONE: by client id */
	int domain;                /* -1: any */
};

/**
 * Params {clientid | clientid_hex, domain?} or {channel}. In clients.c.
 * @param more another param that the method takes, or NULL.
 */
bool ctl_clients_target(struct ctl_call *call, const json_t *params, const char *more,
		struct ctl_target *target);
/** The same among others, which have been checked. */
bool ctl_clients_target_in(struct ctl_call *call, const json_t *params, struct ctl_target *target);

/* --- ports.c */

/** Ports to look at: 2 * n_pairs, or 0 without port ids. */
unsigned ctl_ports_count(const struct mqt_ctl *ctl);
/** Looks at the links, and logs what has changed; not in the first second. */
void ctl_ports_look(struct mqt_ctl *ctl);
/** Looks at them now. @return a list of all. */
json_t *ctl_ports_json(struct mqt_ctl *ctl);

/* --- room.c */

/** Share of limits.max_clients that is connected. */
double ctl_room_fill(const struct mqt_ctl *ctl);
/** Looks at it, and logs where it comes near to its end, or is far from it again. */
void ctl_room_look(struct mqt_ctl *ctl);

/* --- record.c */

#define RECORD_TIME_STRLEN 32

/** "2026-01-31T23:59:59.999Z". @return buf. */
char *ctl_record_time(uint64_t wall_ns, char buf[RECORD_TIME_STRLEN]);
/** Sets @p name, or <name>_hex where the bytes are no UTF-8 text or hold U+0000. */
int ctl_record_set_bytes(json_t *obj, const char *name, const void *data, size_t len);
int ctl_record_set_chan(json_t *obj, const char *name, mqt_chan_id id);
/** The broker's configured name, or its address and port. */
json_t *ctl_record_broker(const struct mqt_config *cfg, const struct mqt_endpoint *broker);
json_t *ctl_record_endpoint(const struct mqt_endpoint *ep);
/** "connected", "orphaned", "disconnected", "retained". @param state enum mqt_chan_state. */
const char *ctl_record_state(uint32_t state);
const char *ctl_record_transport(unsigned transport);
/** A client record. @return NULL without memory. */
json_t *ctl_record_client(const struct mqt_ctl *ctl, const struct mqt_chan *chan)
		MQT_REQUIRES_SHARED(mqt_rcu_read);
json_t *ctl_record_event(const struct mqt_ctl *ctl, const struct mqt_event *ev);

/* --- command.c */

struct ctl_sink *ctl_sink_create(void);
/** Gives up one share; the last one frees it with the commands inside. */
void ctl_sink_put(struct ctl_sink *sink);
/** Answers the calls whose commands have come home. */
void ctl_command_poll(struct mqt_ctl *ctl);
/** mqt_cm_kick() and the like. */
typedef void ctl_command_fn(struct mqt_cm *cm, struct mqt_cm_cmd *cmd);
/** Submits @p n commands, all made before; the call settles when all are home, at once for 0. */
void ctl_command_submit(struct ctl_call *call, ctl_command_fn *submit,
		struct ctl_command *const *commands, unsigned n);
void ctl_command_kick(struct ctl_call *call, const json_t *params);
void ctl_command_discard(struct ctl_call *call, const json_t *params);

/* --- inspect.c */

/**
 * Answers with records of which each has its channel's session beside it, where there is one.
 * @param records takes it. @param inspected one for each, at most CTL_LOOKUP_MAX.
 * @param room bytes that the answer may still grow by.
 */
void ctl_inspect(struct ctl_call *call, json_t *records, const struct ctl_inspected *inspected,
		size_t room);

/* --- stats.c */

/** 0: not known. */
unsigned ctl_n_workers(const struct mqt_ctl *ctl);

/* --- methods */

void ctl_clients_list(struct ctl_call *call, const json_t *params);
void ctl_clients_get(struct ctl_call *call, const json_t *params);
void ctl_channels_lookup(struct ctl_call *call, const json_t *params);
void ctl_stats_get(struct ctl_call *call, const json_t *params);
void ctl_workers_list(struct ctl_call *call, const json_t *params);
void ctl_system_info(struct ctl_call *call, const json_t *params);
void ctl_events_subscribe(struct ctl_call *call, const json_t *params);
void ctl_capture_start(struct ctl_call *call, const json_t *params);

/** Pushes what is new to a subscriber. @return true: there is more that it could take. */
bool ctl_events_pump(struct ctl_conn *conn);

/** Pushes what has been captured for it. @return true: there is more that it could take. */
bool ctl_capture_pump(struct ctl_conn *conn);
/** Ends its capture, where it has one, without a word. */
void ctl_capture_drop(struct ctl_conn *conn);

#endif
