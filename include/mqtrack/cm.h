/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_CM_H
#define MQT_CM_H

#include "mqtrack/annot.h"
#include "mqtrack/clock.h"
#include "mqtrack/config.h"
#include "mqtrack/counters.h"
#include "mqtrack/event.h"
#include "mqtrack/idle.h"
#include "mqtrack/mailbox.h"
#include "mqtrack/maps.h"
#include "mqtrack/msg.h"
#include "mqtrack/registry.h"
#include "mqtrack/session.h"
#include "mqtrack/slot.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <urcu/wfcqueue.h>

/**
 * @file
 * The channel manager: one live channel per client id. It runs on the control lcore, is the only
 * writer of the maps, and reaches the owners of connections through their mailboxes and slots
 * alone, so tests drive it with fake owners and virtual time.
 *
 * Functions of the control role are called from the control lcore (or a test that is it);
 * commands come from any thread, are queued, and answer through done(); readers use the read
 * functions inside mqt_rcu_read sections.
 */

struct mqt_cm;

/** What the manager knows of a worker. */
struct mqt_cm_owner {
	struct mqt_mailbox *mailbox;
	struct mqt_slots slots;
	/** Written by the worker each turn, mono ns: how the manager knows that it runs (R8). */
	const _Atomic uint64_t *heartbeat_ns;
};

struct mqt_cm_params {
	const struct mqt_config *config; /* outlives the manager */
	const struct mqt_clock *clock;
	const struct mqt_hash_key *hash_key;
	struct mqt_maps *maps;
	struct mqt_event_ring *events;
	const struct mqt_registry *registry;
	const struct mqt_cm_owner *owners; /* copied */
	unsigned n_owners;
	/** The control lcore's, outlives the manager; NULL: it never sleeps. */
	struct mqt_waker *waker;
};

/** @return NULL with errno set. Ownership: mqt_cm_destroy(); what params point to stays theirs. */
struct mqt_cm *mqt_cm_create(const struct mqt_cm_params *params);

/**
 * Accepts NULL. Infos and sessions still held are freed. Commands not done yet are given back through done(),
 * from here, with the outcomes known so far (-EINPROGRESS: not known): no submitter waits for ever
 * or leaks. OPENs that nobody has read are dropped, so the mailboxes must still be there.
 * Context: no lcore runs any more, nobody submits.
 */
void mqt_cm_destroy(struct mqt_cm *cm);

/**
 * One turn: takes a snapshot of all rings and drains up to it; applies CLOSED, DOWN and answers
 * first, then OPENs in the order of their stamps (rule R2); commands; limits that have passed; a
 * slice of unregistering; what a grace period has freed.
 * @return work done, 0 when idle.
 * Context: control, does not block.
 */
unsigned mqt_cm_turn(struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control);

/** Whether locks are held, channels wait to be unregistered, or infos to be reclaimed. */
bool mqt_cm_busy(const struct mqt_cm *cm) MQT_REQUIRES(mqt_role_control);

/**
 * Turns until @p stop, as the configuration's `poll` says: it spins, or sleeps for some milliseconds
 * at most when nothing has come for long, until a worker or a command wakes it.
 * Context: the control lcore; some milliseconds pass until it sees @p stop.
 */
void mqt_cm_run(struct mqt_cm *cm, const atomic_bool *stop) MQT_REQUIRES(mqt_role_control);

/* --- the reference's functions, control role -------------------------------------------------- */

/**
 * Brings a newcomer whose CONNACK is parked, as the message OPEN does: the next turn takes it to its
 * client id's lock; when all older channels have stepped down or are killed it is registered, with
 * what it inherits of their sessions (by clean start and session present), and GRANT goes to its
 * owner; or REFUSE does, with @p info. It never waits. Reference: open_session/3.
 * @param id of this node, its slot LIVE.
 * @param stamp_ns arrival of the CONNACK, mono: the newest wins.
 * @return 0; -EINVAL where @p info is NULL or there is no such slot; -EEXIST where @p id is known
 * already; -ENOMEM.
 * Context: control, does not block.
 * Ownership: @p info is the manager's on success, stays the caller's on failure.
 */
int mqt_cm_open(struct mqt_cm *cm, mqt_chan_id id, struct mqt_info *info, uint64_t stamp_ns)
		MQT_REQUIRES(mqt_role_control);

/**
 * Registers a channel: all three maps, registry, event `connected`. Its cleanup (the owner's DOWN)
 * is armed by the OPEN that brought it here (I5). Reference: register_channel/3.
 * @return 0; -EINVAL where there is no such slot; -EEXIST where @p id is registered already; -ENOSPC
 * where the maps are full.
 * Ownership: @p info is the manager's on success, stays the caller's on failure.
 */
int mqt_cm_register(struct mqt_cm *cm, mqt_chan_id id, struct mqt_info *info, uint64_t stamp_ns)
		MQT_REQUIRES(mqt_role_control);

/**
 * Unregisters exactly this channel (I3). Reference: unregister_channel/1.
 * @return 0, or -ENOENT.
 */
int mqt_cm_unregister(struct mqt_cm *cm, mqt_chan_id id) MQT_REQUIRES(mqt_role_control);

/**
 * Replaces the info of a registered channel. Readers see the old one or the new one, whole; the old
 * one is freed after a grace period. The time at which a session that is retained already expires
 * stays as it is. Reference: set_chan_info/2.
 * @param info of the same client: digest, domain and client id are equal.
 * @return 0; -ENOENT where @p id is unknown; -EINVAL where it is another client; -ENOSPC where no
 * row is free to keep the old one in: again after a grace period.
 * Context: control, does not block.
 * Ownership: @p info, from malloc(), is the manager's on success and goes home to the channel's owner
 * in place of the old one; it stays the caller's on failure.
 */
int mqt_cm_set_info(struct mqt_cm *cm, mqt_chan_id id, struct mqt_info *info)
		MQT_REQUIRES(mqt_role_control);

/**
 * Sets the traffic of a channel whose connection is over, in place of what was known of its end; of
 * one that is connected the owner counts, and nobody else. Reference: set_chan_stats/2,3.
 * @return 0; -ENOENT where @p id is unknown; -EBUSY where it is not over.
 * Context: control, does not block. A reader that asks at this moment may get some counters of before.
 */
int mqt_cm_set_stats(struct mqt_cm *cm, mqt_chan_id id, const uint64_t counter[MQT_SLOT_N_COUNTERS])
		MQT_REQUIRES(mqt_role_control);

/**
 * Both, or neither. Nothing is made for a channel that is not registered: no row outlives its channel
 * (I5). Reference: insert_channel_info/3.
 * @param counter NULL: the traffic stays as it is.
 * @return, ownership: as mqt_cm_set_info(); -EBUSY as mqt_cm_set_stats().
 */
int mqt_cm_insert_info(struct mqt_cm *cm, mqt_chan_id id, struct mqt_info *info,
		const uint64_t counter[MQT_SLOT_N_COUNTERS]) MQT_REQUIRES(mqt_role_control);

/**
 * Takes a channel out of the live map, and nothing else: it stays registered, without an event, as
 * an orphan, for nobody knows whether it is connected (R8). That a connection is over is not said
 * here but by its owner, with DOWN or CLOSED, which also leave the channel where it can be looked up
 * until its session has gone to somebody. Reference: mark_channel_disconnected/1; connection_closed/1
 * is CLOSED.
 * @return 0; -ENOENT where @p id is not live.
 */
int mqt_cm_mark_disconnected(struct mqt_cm *cm, mqt_chan_id id) MQT_REQUIRES(mqt_role_control);

/**
 * Puts an orphan back into the live map. A channel that is registered is live from the beginning.
 * Reference: mark_channel_connected/1.
 * @return 0; -ENOENT where @p id is no orphan.
 */
int mqt_cm_mark_connected(struct mqt_cm *cm, mqt_chan_id id) MQT_REQUIRES(mqt_role_control);

/* --- commands, from any thread ----------------------------------------------------------------- */

/** What became of one channel. */
struct mqt_cm_outcome {
	mqt_chan_id chan;
	/**
	 * 0: stepped down; -ENOENT: already gone; -ETIMEDOUT: killed, for its owner did not answer
	 * in time, or answered with an error; -ENOMEM: not asked, or no memory for its session.
	 */
	int result;
};

#define MQT_CM_MAX_OUTCOMES 16

/**
 * A command: one of the functions below, and whom it means: one channel, where @p chan is set, or
 * else a client id, by @p digest (see mqt_digest_client()), with all its channels.
 * Ownership: the submitter's storage, the manager's until done() is called.
 */
struct mqt_cm_cmd {
	/* the manager's */
	struct cds_wfcq_node node;
	uint8_t type;
	/* set by the submitter */
	mqt_chan_id chan;         /* MQT_CHAN_NONE: the channels of a client id */
	struct mqt_digest digest; /* the client id */
	bool has_code;            /* kick: another reason code than 0x98 */
	uint8_t code;             /* see mqt_mqtt_server_disconnect_is() */
	/**
	 * Called once on the control lcore, when all channels have stepped down, or in
	 * mqt_cm_destroy(); must not block. A command never fails as a whole: what happened to
	 * each channel is told in the outcomes.
	 */
	void (*done)(struct mqt_cm_cmd *cmd);
	/* set by the manager before done() */
	struct mqt_session *session; /* takeover, inspect: the submitter's from then on, or NULL */
	mqt_chan_id taken;           /* takeover: whose session that is; MQT_CHAN_NONE: none */
	unsigned n_channels;         /* found, 0: unknown client, which is no error */
	unsigned n_outcomes;         /* min(n_channels, MQT_CM_MAX_OUTCOMES) */
	struct mqt_cm_outcome outcomes[MQT_CM_MAX_OUTCOMES];
};

/**
 * Closes the connections meant, and ends their sessions, by order of an administrator: an MQTT 5.0
 * client reads 0x98, or what the command says, where it can be told: an owner waits for that for
 * limits.kick_boundary_ms at most. It takes the client id's lock like a newcomer. A session that waits for its
 * client ends without anybody being asked. An owner that does not answer is not waited for beyond
 * the limit: its channel is killed.
 * Context: any thread, does not block. Reference: kick_session/1, kick_session/2.
 */
void mqt_cm_kick(struct mqt_cm *cm, struct mqt_cm_cmd *cmd);

/**
 * The same, as a newcomer with clean start does it: an MQTT 5.0 client reads 0x8E.
 * Context: any thread, does not block. Reference: discard_session/1, discard_session/2.
 */
void mqt_cm_discard(struct mqt_cm *cm, struct mqt_cm_cmd *cmd);

/**
 * Takes the session out of the newest channel meant: of a connected one by takeover begin and
 * takeover end, of a retained one at once. The channel is gone then: a resume that comes later
 * finds no session here. Of a client id, older channels that are still connected are stale:
 * discarded, and counted; sessions that it has on other brokers stay where they are, as with a
 * resume. Where begin or end fails the channel is killed, and there is no session.
 *
 * The outcome of the channel is 0 exactly where its session is in cmd->session, with its pendings
 * joined and its end set (mqt_session_final()); an expiry of 0 says that it would have ended with
 * its connection. -ENOENT: it was gone, without a session that outlives it.
 * Context: any thread, does not block.
 * Ownership: the session has one owner, and from done() on that is the submitter, who ends it with
 * mqt_session_destroy(). Until then it is the manager's, which destroys it where it is itself
 * destroyed before.
 * Reference: takeover_session/1, takeover_session/2, request_stepdown({takeover, 'end'}).
 */
void mqt_cm_takeover(struct mqt_cm *cm, struct mqt_cm_cmd *cmd);

/**
 * Brings a copy of the session of channel @p cmd->chan, which goes on. It takes no lock. Outcome 0:
 * with or without a session; -ENOENT: it is ending; -ETIMEDOUT: its owner did not answer, and is
 * left alone; -ENOMEM.
 * Context: any thread, does not block. Ownership: the copy is the submitter's.
 */
void mqt_cm_inspect(struct mqt_cm *cm, struct mqt_cm_cmd *cmd);

/* --- readers ------------------------------------------------------------------------------------ */

/**
 * Channels of a client id on this node, oldest first, the id compared in full. Ids that a broker
 * assigned are found under every broker seen so far. Reference: lookup_channels(local).
 * @param domain index, or -1 for all domains.
 * @return how many there are; at most @p n are written.
 */
unsigned mqt_cm_lookup(const struct mqt_cm *cm, int domain, const void *clientid, size_t len,
		const struct mqt_chan **out, unsigned n) MQT_REQUIRES_SHARED(mqt_rcu_read);

/**
 * Ids of the channels of a client id on all nodes: those of this node, oldest first and 64 at most,
 * then what the registry knows beyond it. Reference: lookup_channels(global).
 * @param domain index, or -1 for all domains.
 * @return how many were written, at most @p n.
 * Context: any thread that is a reader, outside of a section; may block where the registry does.
 */
unsigned mqt_cm_lookup_global(const struct mqt_cm *cm, int domain, const void *clientid, size_t len,
		mqt_chan_id *out, unsigned n);

/**
 * The newest channel of a client id on this node: whose info (mqt_chan_info()), transport and traffic
 * (by its id) are meant where only a client id is given. Reference: get_chan_info/1,
 * get_chan_stats/1.
 * @param domain index, or -1 for all domains. @return NULL where there is none.
 */
const struct mqt_chan *mqt_cm_newest(const struct mqt_cm *cm, int domain, const void *clientid,
		size_t len) MQT_REQUIRES_SHARED(mqt_rcu_read);

/** A channel by id. Reference: get_chan_info/2. @return NULL where unknown. */
const struct mqt_chan *mqt_cm_info(const struct mqt_cm *cm, mqt_chan_id id)
		MQT_REQUIRES_SHARED(mqt_rcu_read);

/** Whether it is live. Reference: is_channel_connected. */
bool mqt_cm_is_live(const struct mqt_cm *cm, mqt_chan_id id) MQT_REQUIRES_SHARED(mqt_rcu_read);

/**
 * How it carries MQTT, also when its connection is over. Reference: get_chann_conn_mod/2.
 * @return enum mqt_transport, or -ENOENT.
 */
int mqt_cm_transport(const struct mqt_cm *cm, mqt_chan_id id) MQT_REQUIRES_SHARED(mqt_rcu_read);

/**
 * Traffic of a channel: read from its owner's slot, and of a connection that is over what was known
 * at its end, or was set since. Reference: get_chan_stats/2.
 * @param seen_ns last segment from the client, mono; 0 where it is over. May be NULL.
 * @return 0; -ENOENT where @p id is unknown, or its slot has just gone to another channel.
 */
int mqt_cm_stats(const struct mqt_cm *cm, mqt_chan_id id, uint64_t out[MQT_SLOT_N_COUNTERS],
		uint64_t *seen_ns) MQT_REQUIRES_SHARED(mqt_rcu_read);

/**
 * When the connection of a channel ended whose session is retained.
 * @param wall_ns wall clock. @return 0, or -ENOENT where that is not known, or it goes on.
 */
int mqt_cm_ended(const struct mqt_cm *cm, mqt_chan_id id, uint64_t *wall_ns)
		MQT_REQUIRES_SHARED(mqt_rcu_read);

/** Walks all channels; see mqt_maps_next(). Reference: all_channels. */
const struct mqt_chan *mqt_cm_channels_next(const struct mqt_cm *cm, uint32_t *pos)
		MQT_REQUIRES_SHARED(mqt_rcu_read);

/** Walks live channels of a transport, -1 for all. Reference: live_connection_table. */
const struct mqt_chan *mqt_cm_live_next(const struct mqt_cm *cm, int transport, uint32_t *pos)
		MQT_REQUIRES_SHARED(mqt_rcu_read);

/**
 * Walks channels of clients without clean start, connected or retained, of a transport, -1 for
 * all. Reference: channel_with_session_table.
 */
const struct mqt_chan *mqt_cm_sessions_next(const struct mqt_cm *cm, int transport, uint32_t *pos)
		MQT_REQUIRES_SHARED(mqt_rcu_read);

/** Retained sessions. Context: any thread. */
uint32_t mqt_cm_retained_count(const struct mqt_cm *cm);

/** Live channels. Reference: get_connected_client_count. Context: any thread. */
uint32_t mqt_cm_live_count(const struct mqt_cm *cm);

/** Gauges with their greatest value so far. Reference: stats_fun. */
struct mqt_cm_gauge {
	const char *name; /* "channels", "sessions", "connections", "live_connections" */
	uint64_t count;
	uint64_t max;
};

#define MQT_CM_N_GAUGES 4

/** Context: any thread. */
void mqt_cm_gauges(const struct mqt_cm *cm, struct mqt_cm_gauge out[MQT_CM_N_GAUGES]);

/** Context: any thread. */
const struct mqt_control_counters *mqt_cm_counters(const struct mqt_cm *cm);

/** The maps behind it (sizes, fill). */
const struct mqt_maps *mqt_cm_maps(const struct mqt_cm *cm);

/** Whether a worker counts as stalled. Context: any thread. */
bool mqt_cm_stalled(const struct mqt_cm *cm, unsigned worker);

#endif
