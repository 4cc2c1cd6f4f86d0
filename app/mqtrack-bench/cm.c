/* SPDX-License-Identifier: BSD-3-Clause */
#include "mqtrack/cm.h"

#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_memory.h>

/*
 * The channel manager with its real mailbox, maps, grace periods and events; only the owner of the
 * connections is played here, in the same thread, and does nothing but answer. So a rate is what
 * one core does for both sides of the conversation, to the very end: until every lock is free and
 * every info has come home.
 *
 * A round before the first run is not counted: it touches the memory.
 *
 *   open     clean opens of clients that nobody knows
 *   replace  clean opens of clients that are connected: the old channel is discarded first
 *   down     ends of connections
 *   kick     kicks by client id
 */

#define DEFAULT_SIZE 100000u
#define WINDOW       1024 /* messages or commands outstanding */
#define BATCH        64
#define RING         4096
#define GRACE_EVERY  8 /* turns */

enum what {
	OPEN,
	REPLACE,
	DOWN,
	KICK,
	N_WHAT,
};

static const struct {
	const char *name;
	const char *unit;
} whats[N_WHAT] = {
	[OPEN] = { "cm.open", "opens/s" },
	[REPLACE] = { "cm.replace", "opens/s" },
	[DOWN] = { "cm.down", "downs/s" },
	[KICK] = { "cm.kick", "kicks/s" },
};

struct kick {
	struct mqt_cm_cmd cmd; /* first member */
	struct rig *rig;
	struct kick *next;
};

struct rig {
	uint32_t n; /* clients */
	uint32_t *order;
	struct mqt_digest *digests;
	struct mqt_config config;
	struct mqt_hash_key key;
	struct mqt_maps *maps;
	struct mqt_event_ring *events;
	struct mqt_mailbox *mailbox;
	struct mqt_cm *cm;
	struct mqt_slot *slots;
	uint32_t n_slots;
	_Atomic uint64_t heartbeat_ns;
	uint64_t n_turns;
	/* the owner */
	uint64_t n_opened; /* names the next slot and generation */
	mqt_chan_id *chan; /* by client: its newest channel */
	struct mqt_info **infos;
	struct mqt_info **home; /* came back, to be freed after the measurement */
	uint32_t n_home;
	uint32_t n_granted, n_refused, n_stepdowns;
	/* commands */
	struct kick kicks[WINDOW];
	struct kick *idle_kicks;
	uint32_t n_kicked, n_kicked_channels;
};

/* --- the owner ------------------------------------------------------------------------------------ */

static void
post(struct rig *r, struct mqt_msg msg) MQT_REQUIRES(mqt_role_worker)
{
	mqt_mailbox_post_control(r->mailbox, &msg);
}

static bool
end_channel(struct rig *r, mqt_chan_id id, enum mqt_reason reason) MQT_REQUIRES(mqt_role_worker)
{
	if (!mqt_slot_leave(&r->slots[mqt_chan_id_slot(id)], id, MQT_SLOT_CLOSED))
		return false;
	post(r,
			(struct mqt_msg){
					.type = MQT_MSG_DOWN,
					.reason = reason,
					.chan = id,
					.stamp_ns = bench_now_ns(),
			});
	return true;
}

static void
step_down(struct rig *r, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_worker)
{
	bool was_live = end_channel(r, msg->chan,
			msg->action == MQT_STEPDOWN_KICK ? MQT_REASON_KICKED
							 : MQT_REASON_DISCARDED);

	r->n_stepdowns++;
	post(r,
			(struct mqt_msg){
					.type = MQT_MSG_STEPDOWN_DONE,
					.action = msg->action,
					.result = was_live ? 0 : -ENOENT,
					.chan = msg->chan,
					.token = msg->token,
			});
}

static void
answer(struct rig *r, const struct mqt_msg *msg) MQT_REQUIRES(mqt_role_worker)
{
	switch (msg->type) {
	case MQT_MSG_GRANT:
		r->n_granted++;
		post(r, (struct mqt_msg){ .type = MQT_MSG_GRANTED, .chan = msg->chan });
		break;
	case MQT_MSG_STEPDOWN:
		step_down(r, msg);
		break;
	case MQT_MSG_REFUSE:
		r->n_refused++;
		r->home[r->n_home++] = msg->info;
		break;
	case MQT_MSG_RELEASE:
		r->home[r->n_home++] = msg->info;
		break;
	}
}

static void
turn(struct rig *r)
{
	struct mqt_msg msgs[BATCH];
	unsigned n;

	mqt_role_control_assert();
	mqt_role_worker_assert();
	atomic_store_explicit(&r->heartbeat_ns, bench_now_ns(), memory_order_release);
	mqt_cm_turn(r->cm);
	while ((n = mqt_mailbox_poll_worker(r->mailbox, msgs, BATCH)) > 0)
		for (unsigned i = 0; i < n; i++)
			answer(r, &msgs[i]);
	if (++r->n_turns % GRACE_EVERY == 0 && mqt_maps_grace_wanted(r->maps))
		mqt_maps_grace_run(r->maps);
}

static bool
busy(const struct rig *r)
{
	mqt_role_control_assert();
	return mqt_cm_busy(r->cm) || mqt_mailbox_pending_control(r->mailbox) > 0;
}

/* --- what is measured -------------------------------------------------------------------------------- */

static int
make_infos(struct rig *r)
{
	for (uint32_t i = 0; i < r->n; i++) {
		struct mqt_info *info = calloc(1, sizeof(*info) + 16);

		if (!info)
			return -1;
		info->digest = r->digests[i];
		info->flags = MQT_INFO_CLEAN_START;
		info->proto_ver = 4;
		info->peer.version = 4;
		info->broker.version = 4;
		info->clientid_len = 16;
		memcpy(info->data, &i, sizeof(i));
		r->infos[i] = info;
	}
	return 0;
}

static void
free_home(struct rig *r)
{
	while (r->n_home > 0)
		free(r->home[--r->n_home]);
}

static void
post_open(struct rig *r, uint32_t client)
{
	uint32_t slot = (uint32_t)(r->n_opened % r->n_slots);
	uint32_t gen = (uint32_t)(r->n_opened / r->n_slots) + 1;
	mqt_chan_id id = mqt_chan_id_make(0, 0, slot, gen);

	mqt_role_worker_assert();
	r->n_opened++;
	r->chan[client] = id;
	atomic_store_explicit(&r->slots[slot].word, mqt_slot_word(gen, MQT_SLOT_LIVE),
			memory_order_release);
	post(r,
			(struct mqt_msg){
					.type = MQT_MSG_OPEN,
					.chan = id,
					.info = r->infos[client],
					.stamp_ns = bench_now_ns(),
			});
}

/* Opens a channel for every client. @return 0, or -1 where not all were granted. */
static int
run_open(struct rig *r, struct bench_samples *s)
{
	uint32_t posted = 0;
	uint64_t begin;

	if (make_infos(r) != 0)
		return -1;
	r->n_granted = 0;
	r->n_refused = 0;
	begin = bench_now_ns();
	while (r->n_granted + r->n_refused < r->n || busy(r)) {
		for (unsigned i = 0; i < BATCH && posted < r->n &&
				posted - r->n_granted - r->n_refused < WINDOW;
				i++)
			post_open(r, r->order[posted++]);
		turn(r);
	}
	if (s)
		bench_rate(s, r->n, begin);
	free_home(r);
	return r->n_granted == r->n && mqt_cm_live_count(r->cm) == r->n ? 0 : -1;
}

static int
run_down(struct rig *r, struct bench_samples *s)
{
	uint64_t begin = bench_now_ns();
	uint32_t posted = 0;

	mqt_role_worker_assert();
	while (r->n_home < r->n || busy(r)) {
		for (unsigned i = 0; i < BATCH && posted < r->n; i++)
			end_channel(r, r->chan[r->order[posted++]], MQT_REASON_CLIENT_CLOSED);
		turn(r);
	}
	bench_rate(s, r->n, begin);
	free_home(r);
	return mqt_cm_live_count(r->cm) == 0 ? 0 : -1;
}

static void
kicked(struct mqt_cm_cmd *cmd)
{
	struct kick *kick = (struct kick *)cmd;
	struct rig *r = kick->rig;

	r->n_kicked++;
	r->n_kicked_channels += cmd->n_channels;
	kick->next = r->idle_kicks;
	r->idle_kicks = kick;
}

static int
run_kick(struct rig *r, struct bench_samples *s)
{
	uint64_t begin = bench_now_ns();
	uint32_t posted = 0;

	r->n_kicked = 0;
	r->n_kicked_channels = 0;
	while (r->n_kicked < r->n || r->n_home < r->n || busy(r)) {
		for (unsigned i = 0; i < BATCH && posted < r->n && r->idle_kicks; i++) {
			struct kick *kick = r->idle_kicks;

			r->idle_kicks = kick->next;
			kick->cmd = (struct mqt_cm_cmd){
				.digest = r->digests[r->order[posted++]],
				.done = kicked,
			};
			mqt_cm_kick(r->cm, &kick->cmd);
		}
		turn(r);
	}
	bench_rate(s, r->n, begin);
	free_home(r);
	return r->n_kicked_channels == r->n && mqt_cm_live_count(r->cm) == 0 ? 0 : -1;
}

/* --- setting up ------------------------------------------------------------------------------------ */

static void
rig_fini(struct rig *r)
{
	mqt_cm_destroy(r->cm);
	mqt_maps_destroy(r->maps);
	mqt_mailbox_destroy(r->mailbox);
	mqt_event_ring_destroy(r->events);
	free(r->slots);
	free(r->order);
	free(r->digests);
	free(r->chan);
	free(r->infos);
	free(r->home);
	free(r);
}

static int
rig_memory(struct rig *r)
{
	r->n_slots = 2 * r->n + WINDOW;
	r->order = bench_order(r->n);
	r->digests = calloc(r->n, sizeof(*r->digests));
	r->slots = calloc(r->n_slots, sizeof(*r->slots));
	r->chan = calloc(r->n, sizeof(*r->chan));
	r->infos = calloc(r->n, sizeof(struct mqt_info *));
	r->home = calloc(2 * (size_t)r->n, sizeof(struct mqt_info *));
	return r->order && r->digests && r->slots && r->chan && r->infos && r->home ? 0 : -1;
}

static int
rig_init(struct rig *r)
{
	struct mqt_maps_params maps = { .max_channels = r->n };
	struct mqt_cm_owner owner;
	struct mqt_cm_params params;

	mqt_config_init(&r->config);
	r->config.limits.max_clients = r->n;
	/* what is measured comes within a moment and from one broker: no waiting for it */
	r->config.limits.contest_ms = 0;
	if (rig_memory(r) != 0 || mqt_hash_key_init(&r->key) != 0)
		return -1;
	for (uint32_t i = 0; i < r->n; i++) {
		uint8_t clientid[16] = { 0 };

		memcpy(clientid, &i, sizeof(i));
		r->digests[i] = mqt_digest_client(&r->key, 0, NULL, clientid, sizeof(clientid));
	}
	for (unsigned i = 0; i < WINDOW; i++) {
		r->kicks[i].rig = r;
		r->kicks[i].next = r->idle_kicks;
		r->idle_kicks = &r->kicks[i];
	}
	r->maps = mqt_maps_create(&maps);
	r->events = mqt_event_ring_create(r->config.limits.events);
	r->mailbox = mqt_mailbox_create(RING);
	if (!r->maps || !r->events || !r->mailbox)
		return -1;
	owner = (struct mqt_cm_owner){
		.mailbox = r->mailbox,
		.slots = { r->slots, sizeof(*r->slots), r->n_slots },
		.heartbeat_ns = &r->heartbeat_ns,
	};
	params = (struct mqt_cm_params){
		.config = &r->config,
		.clock = mqt_clock_system(),
		.hash_key = &r->key,
		.maps = r->maps,
		.events = r->events,
		.registry = mqt_registry_local(),
		.owners = &owner,
		.n_owners = 1,
	};
	r->cm = mqt_cm_create(&params);
	return r->cm ? 0 : -1;
}

static int
run_once(struct rig *r, struct bench_samples *s)
{
	int rc;

	rc = run_open(r, &s[OPEN]);
	rc = rc ? rc : run_open(r, &s[REPLACE]);
	rc = rc ? rc : run_down(r, &s[DOWN]);
	rc = rc ? rc : run_open(r, NULL);
	rc = rc ? rc : run_kick(r, &s[KICK]);
	return rc;
}

static int
run_all(uint32_t n, unsigned runs, struct bench_samples *s)
{
	struct rig *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return -1;
	r->n = n;
	rc = rig_init(r);
	for (unsigned run = 0; run <= runs && rc == 0; run++) {
		if (run == 1) /* what came before was the warm-up */
			memset(s, 0, N_WHAT * sizeof(*s));
		rc = run_once(r, s);
	}
	if (rc)
		fprintf(stderr, "mqtrack-bench: cm: it did not end as it should\n");
	else
		rig_fini(r);
	return rc;
}

int
bench_cm(const struct bench_args *args, struct bench_report *report)
{
	uint32_t n = (uint32_t)(args->size ? args->size : DEFAULT_SIZE);
	struct bench_samples *s = calloc(N_WHAT, sizeof(*s));
	char name[64];
	int rc = 1;

	if (2 * (uint64_t)n + WINDOW > MQT_CHAN_SLOT_MAX) {
		fprintf(stderr, "mqtrack-bench: cm: --size is too large\n");
		goto out;
	}
	if (!s || bench_eal_init(128 + (uint64_t)n * 512 / (1024 * 1024)) != 0)
		goto out;
	rc = run_all(n, args->runs, s) == 0 ? 0 : 1;
	for (unsigned w = 0; w < N_WHAT && rc == 0; w++)
		bench_report_add(report, bench_name(name, sizeof(name), whats[w].name, n),
				whats[w].unit, &s[w], NULL, NULL);
out:
	free(s);
	return rc;
}
