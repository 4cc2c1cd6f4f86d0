/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_CAPTURE_H
#define MQT_CAPTURE_H

#include "mqtrack/annot.h"
#include "mqtrack/chan_id.h"
#include "mqtrack/config.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_common.h>

/**
 * @file
 * Captures: copies of the packets of one client, from the workers to one reader.
 *
 * A capture is asked for by client id, then it is of each connection of that client that is there
 * or comes, on whichever worker; or by channel id, then it ends with that connection. Each worker
 * copies into a ring of its own; where that is full the packet is dropped from the capture and counted,
 * never waited for. The reader is one thread at a time: the control thread.
 */

#define MQT_CAPTURES_MAX   4          /* at once */
#define MQT_CAPTURE_CHANS  16         /* channels named at a time */
#define MQT_CAPTURE_RING   (1u << 19) /* bytes of a worker's ring, a power of two */
#define MQT_CAPTURE_LENGTH 65535u     /* bytes of a packet at most; the rest is cut off */

/** What became of a packet, as far as it is known when it is copied. */
enum mqt_capture_note {
	MQT_CAPTURE_PASSED = 0, /* or was judged to by others than us */
	MQT_CAPTURE_INJECTED,   /* the tracker made it */
	MQT_CAPTURE_HELD,       /* waits in the tracker: for GRANT, or for what comes before it */
	MQT_CAPTURE_FROZEN,     /* dropped: the connection is being taken over */
	MQT_CAPTURE_CLOSING,    /* dropped: the tracker is closing the connection */
	MQT_CAPTURE_N_NOTES,
};

/** What is known of a copied packet. */
struct mqt_capture_packet {
	uint64_t at_ns;   /* mono */
	uint32_t len;     /* as it was on the wire */
	uint32_t cap_len; /* bytes copied */
	uint16_t port;    /* pair numbering, see conn.h */
	uint8_t note;     /* enum mqt_capture_note */
	bool sent;        /* by the tracker out of that port; else received at it */
	uint32_t reserved;
};

/** Copies on their way: bytes, whole packets one behind another. */
struct mqt_capture_ring {
	uint8_t *data;                             /* the reader's, before the capture is on */
	_Atomic uint64_t head __rte_cache_aligned; /* bytes ever put. W: worker; R: reader */
	_Atomic uint64_t dropped;                  /* packets. W: worker; R: reader, relaxed */
	_Atomic uint64_t tail __rte_cache_aligned; /* bytes ever taken. W: reader; R: worker */
};

struct mqt_capture {
	/* W: reader, while it is off and all workers have seen that; R: workers, while it is on */
	uint8_t *clientid; /* NULL: by channel */
	size_t clientid_len;
	int domain; /* index, -1: all */
	bool taken; /* the reader's alone */

	_Atomic uint32_t word;    /* odd: it is on. W: reader, release; R: workers, acquire */
	_Atomic uint32_t n_chans; /* ever named, beside it. W: reader, release */
	_Atomic mqt_chan_id chans[MQT_CAPTURE_CHANS]; /* by count. W: reader; R: workers */
	_Atomic uint32_t seen[MQT_MAX_WORKERS]; /* the word acted on. W: that worker, release */
	_Atomic bool over; /* its one channel is. W: worker, release; R: reader */
	struct mqt_capture_ring ring[MQT_MAX_WORKERS];
};

/** All captures of a tracker. */
struct mqt_captures {
	unsigned n_workers;
	_Atomic uint32_t epoch; /* of all that is asked for. W: reader, release; R: workers */
	struct mqt_capture capture[MQT_CAPTURES_MAX];
};

/** @return NULL with errno set. Ownership: mqt_captures_destroy(). */
struct mqt_captures *mqt_captures_create(unsigned n_workers);

/** Accepts NULL. Context: neither reader nor workers run any more. */
void mqt_captures_destroy(struct mqt_captures *captures);

/* --- reader ---------------------------------------------------------------------------------- */

/**
 * Begins one.
 * @param clientid raw bytes, copied; NULL: by channels that mqt_capture_add() names.
 * @param domain index, or -1 for all.
 * @return NULL with errno set: EBUSY, all are in use; ENOMEM. Ownership: mqt_capture_release().
 */
struct mqt_capture *mqt_capture_start(
		struct mqt_captures *captures, const void *clientid, size_t len, int domain);

/** Names a channel that it is of. Naming one again, or one that has gone, is harmless. */
void mqt_capture_add(struct mqt_captures *captures, struct mqt_capture *capture, mqt_chan_id chan);

/** No worker copies any more, once each has seen it. What is in the rings can still be taken. */
void mqt_capture_stop(struct mqt_captures *captures, struct mqt_capture *capture);

/** Whether all workers have seen that it was started or stopped. */
bool mqt_capture_is_settled(const struct mqt_captures *captures, const struct mqt_capture *capture);

/** Whether it is by channel and that connection is gone. */
bool mqt_capture_is_over(const struct mqt_capture *capture);

/**
 * Takes the oldest packet that is there.
 * @param data at least MQT_CAPTURE_LENGTH bytes.
 * @return false: none.
 */
bool mqt_capture_take(const struct mqt_captures *captures, struct mqt_capture *capture,
		struct mqt_capture_packet *packet, uint8_t *data);

/** Packets that found no room, of all workers. */
uint64_t mqt_capture_dropped(
		const struct mqt_captures *captures, const struct mqt_capture *capture);

/** Stops it, where that has not been done, and gives it up. */
void mqt_capture_release(struct mqt_captures *captures, struct mqt_capture *capture);

/* --- workers --------------------------------------------------------------------------------- */

struct rte_mbuf;

/** Counts what is missing from the capture, as a packet. Context: the worker. */
void mqt_capture_miss(struct mqt_capture *capture, unsigned worker);

/** Copies a packet, or counts it where there is no room. @param packet its lengths are set here. */
void mqt_capture_put(struct mqt_capture *capture, unsigned worker,
		struct mqt_capture_packet *packet, const struct rte_mbuf *m)
		MQT_REQUIRES(mqt_role_worker);

/* --- the file: pcapng ------------------------------------------------------------------------ */

/** Bytes that a block needs beside the packet, at most. */
#define MQT_PCAPNG_OVERHEAD 256

/** Longest name of an interface that is written whole. */
#define MQT_PCAPNG_NAME_MAX 96

/**
 * The three blocks of a capture file: Section Header, Interface Description, Enhanced Packet; in
 * the byte order of this machine.
 * @param buf MQT_PCAPNG_OVERHEAD bytes, for a packet cap_len more.
 * @return bytes written, a multiple of 4.
 * Source: draft-ietf-opsawg-pcapng §4.1, §4.2, §4.3.
 */
size_t mqt_pcapng_section(uint8_t *buf);
/** Ethernet, nanoseconds; interfaces are numbered in the order in which they are written. */
size_t mqt_pcapng_interface(uint8_t *buf, const char *name);
/** @param wall_ns time of @p packet since 1970; its at_ns is not looked at. */
size_t mqt_pcapng_packet(uint8_t *buf, const struct mqt_capture_packet *packet, uint64_t wall_ns,
		const uint8_t *data);

#endif
