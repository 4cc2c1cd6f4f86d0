/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_EVENT_H
#define MQT_EVENT_H

#include "mqtrack/addr.h"
#include "mqtrack/annot.h"
#include "mqtrack/chan_id.h"
#include "mqtrack/info.h"
#include "mqtrack/msg.h"

#include <stdint.h>

/**
 * @file
 * The ring of events: the control lcore writes, never waits; any number of readers follow at
 * their own pace, each with its own cursor. A reader that falls behind is told how much it
 * missed, never silently (I8). Events are totally ordered: an old channel's `disconnected` comes
 * before the `connected` of the channel that replaced it.
 */

enum mqt_event_type {
	MQT_EVENT_CONNECTED,
	MQT_EVENT_DISCONNECTED, /* reason says why */
	MQT_EVENT_SESSION_CREATED,
	MQT_EVENT_DISCARDED, /* stepped down for a newcomer (other) or by API */
	MQT_EVENT_KICKED,
	MQT_EVENT_REFUSED,        /* reason: table full, ... */
	MQT_EVENT_SUPERSEDED,     /* refused for a newer one */
	MQT_EVENT_RESUMED,        /* inherits the session of other */
	MQT_EVENT_TAKENOVER,      /* lost its session to other; without one: to a command */
	MQT_EVENT_EXPIRED,        /* a retained session; reason: expired or evicted */
	MQT_EVENT_LOST_BY_BROKER, /* session of other: the broker said that it has none */
	MQT_EVENT_LEFT_BEHIND,    /* session of other: on another broker, where it stays */
	MQT_EVENT_ADOPTED,        /* the broker has a session that the tracker never saw */
	MQT_EVENT_LOST_BY_KILL,   /* the owner of the session never answered */
	MQT_EVENT_FLAPPING, /* taken over again and again, peer and other_peer; rate in count */
	MQT_EVENT_ANOMALY,  /* reason says which: a security event */
	MQT_N_EVENTS,
};

/** Name of an event ("connected", "session.created"). Static storage. */
const char *mqt_event_name(enum mqt_event_type type);

/** Client id bytes kept in an event; a longer one is cut and clientid_len tells its true length. */
#define MQT_EVENT_CLIENTID_MAX 124

struct mqt_event {
	uint64_t seq; /* 1, 2, 3, ... */
	/**
	 * Of the channel: greater than that of every earlier channel of its client id since start,
	 * not always by one. A newcomer that was superseded or refused has the one that it would
	 * have got, which the next channel of the client id has too, or a greater one. 0 where there
	 * is no client: an anomaly of a flow without channel.
	 */
	uint64_t epoch;
	uint64_t wall_ns;
	uint64_t mono_ns;
	mqt_chan_id chan;
	mqt_chan_id other; /* newcomer or predecessor; MQT_CHAN_NONE where none is involved */
	struct mqt_endpoint peer;
	struct mqt_endpoint broker;
	struct mqt_endpoint other_peer; /* version 0: none */
	uint16_t clientid_len;
	uint16_t flags; /* enum mqt_info_flag */
	uint16_t listener;
	uint16_t domain;
	uint8_t type;   /* enum mqt_event_type */
	uint8_t reason; /* enum mqt_reason */
	uint8_t proto_ver;
	uint8_t reserved;
	uint32_t count; /* FLAPPING: takeovers within flap.within_sec */
	uint8_t clientid[MQT_EVENT_CLIENTID_MAX];
};

struct mqt_event_ring;

/** @param size events kept, a power of two. @return NULL with errno. */
struct mqt_event_ring *mqt_event_ring_create(uint32_t size);

/** Accepts NULL. */
void mqt_event_ring_destroy(struct mqt_event_ring *ring);

/**
 * Begins the next event: the caller fills in all but seq, which is set; of clientid only so much as
 * it has, up to a whole word of 8 bytes. Readers see it from mqt_event_ring_publish() on, or once many
 * more have begun. Context: control; never blocks; overwrites the oldest.
 * @return the event, the caller's until it begins the next one or publishes.
 */
struct mqt_event *mqt_event_ring_next(struct mqt_event_ring *ring) MQT_REQUIRES(mqt_role_control);

/** Shows readers all that have begun. Context: control; never blocks. */
void mqt_event_ring_publish(struct mqt_event_ring *ring) MQT_REQUIRES(mqt_role_control);

/** Sequence number of the newest event; 0 before the first. Context: any thread. */
uint64_t mqt_event_ring_last(const struct mqt_event_ring *ring);

/**
 * Reads the event after @p *cursor.
 * @param cursor sequence number last read; advanced.
 * @param missed set to the events lost between, [*cursor_before + 1, ev->seq - 1]; mostly 0.
 * @return 1 with @p ev set, or 0 where nothing new is there.
 * Context: any thread.
 */
int mqt_event_ring_read(const struct mqt_event_ring *ring, uint64_t *cursor, struct mqt_event *ev,
		uint64_t *missed);

#endif
