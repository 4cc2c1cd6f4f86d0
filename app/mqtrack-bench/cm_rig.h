/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CM_RIG_H
#define CM_RIG_H

#include "bench.h"
#include "mqtrack/cm.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_common.h>

/*
 * What the files of the subcommand cm share: the channel manager with its real mailboxes, slots,
 * maps, grace periods and events, and the owners of the connections, which are played.
 */

#define CM_OWNERS     3    /* two who have the clients; the clients of the third open in a storm */
#define CM_STORMED    2    /* of these: who have the clients */
#define CM_WINDOW     1024 /* openings or commands outstanding */
#define CM_BATCH      64
#define CM_MAX_PROBES 16384

/* What the owners do. */
enum cm_job_kind {
	CM_JOB_OPEN, /* every client opens a channel, on the other owner where it has one */
	CM_JOB_DOWN, /* every channel ends, all at once */
	CM_JOB_KICK, /* every client is kicked */
};

struct cm_job {
	enum cm_job_kind kind;
	uint16_t flags;    /* OPEN: of the infos */
	bool probes;       /* DOWN: others open meanwhile, and events are read */
	unsigned n_events; /* for each client */
	uint32_t n_live;   /* afterwards */
};

/* How far the owners are. W: both, in turns: who has to act sets it when it has. */
enum cm_state {
	CM_IDLE,    /* control: nothing to do */
	CM_PREPARE, /* control: make what the job needs */
	CM_READY,   /* owners: made */
	CM_RUN,     /* control: go */
	CM_DONE,    /* owners: everything has come home */
	CM_CLEAN,   /* control: free it, then IDLE */
	CM_QUIT,    /* control: end */
};

/* A connection. */
struct cm_slot {
	struct mqt_slot slot; /* first member */
	struct mqt_session *session;
	uint32_t client;
} __rte_cache_aligned; /* as connections are */

struct cm_owner_side {
	struct mqt_mailbox *mailbox;
	struct cm_slot *slots;
	uint32_t n_slots;
	uint64_t n_opened; /* names the next slot and generation */
	_Atomic uint64_t heartbeat_ns;
};

struct cm_kick {
	struct mqt_cm_cmd cmd; /* first member */
	_Atomic bool idle;     /* W: owners take it, control gives it back */
	struct cm_rig *rig;
};

struct cm_rig {
	/* immutable while a job runs */
	uint32_t n;                 /* clients */
	uint32_t *order;            /* of the clients in this job */
	uint64_t random;            /* that the orders are drawn from */
	struct mqt_digest *digests; /* by client, the probes' behind them */
	struct mqt_config config;
	struct mqt_hash_key key;
	struct mqt_maps *maps;
	struct mqt_event_ring *events;
	struct mqt_cm *cm;
	struct cm_job job;
	/* shared */
	_Atomic int state; /* enum cm_state; release and acquire */
	/* the owners' */
	struct cm_owner_side owner[CM_OWNERS];
	mqt_chan_id *chan; /* by client: its newest channel */
	struct mqt_info **infos;
	struct mqt_info **home; /* came back, to be freed after the measurement */
	uint32_t n_home, n_posted, n_granted, n_refused, n_stepdowns;
	bool failed;
	uint64_t stamp_ns;
	/* the probes of a storm */
	uint32_t n_probes, n_probes_out;
	uint64_t next_probe_ns;
	uint64_t *probe_ns; /* when it was posted, then how long it took */
	uint64_t cursor;    /* of events */
	uint64_t n_down_read, n_missed;
	/* control's */
	uint64_t n_turns;
	uint32_t n_kicked;
	struct cm_kick kicks[CM_WINDOW];
};

/* cm_rig.c */
struct cm_rig *cm_rig_create(uint32_t n);
void cm_rig_destroy(struct cm_rig *r);

/* cm_owner.c: called by the thread of the owners, or by the one that plays both sides. */

/* One turn of all owners. @return work done. */
unsigned cm_owners_turn(struct cm_rig *r);

#endif
