/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rig itself: its life, the manager's side, and what tests ask of both.
 */
#include "cm_rig.h"

#include "eal.h"

#include <stdlib.h>

#include <rte_common.h>

struct mqt_waker *rig_waker;

static uint64_t
rig_mono(void *arg)
{
	return ((struct rig *)arg)->now_ns;
}

uint64_t
rig_wall(void *arg)
{
	return ((struct rig *)arg)->now_ns + 1600000000 * MQT_NS_PER_SEC;
}

static char
rig_label(struct rig *rig, mqt_chan_id id)
{
	const struct rig_conn *conn = id == MQT_CHAN_NONE ? NULL : rig_conn_of(rig, id);

	return conn ? conn->label : '.';
}

static void
rig_registry_call(struct rig *rig, char what, mqt_chan_id id)
{
	size_t n = strlen(rig->registry);

	if (n < sizeof(rig->registry) - 8)
		sprintf(rig->registry + n, "%s%c%c", n ? " " : "", what, rig_label(rig, id));
}

void
rig_registered(void *arg, const struct mqt_digest *digest, mqt_chan_id id)
{
	rig_registry_call(arg, '+', id);
}

void
rig_unregistered(void *arg, const struct mqt_digest *digest, mqt_chan_id id)
{
	rig_registry_call(arg, '-', id);
}

static const struct mqt_registry_ops rig_registry_ops = {
	.registered = rig_registered,
	.unregistered = rig_unregistered,
};

struct rig *
rig_create(struct rig_params p)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct mqt_cm_owner owners[RIG_MAX_OWNERS];
	struct mqt_maps_params mp = { .max_channels = p.max_clients };

	if (!rig)
		abort();
	mqt_config_init(&rig->config);
	rig->config.node_id = 7;
	rig->config.n_domains = 2;
	rig->config.limits.max_clients = p.max_clients;
	rig->config.limits.stepdown_local_ms = 500;
	rig->config.limits.stall_ms = 1000;
	rig->config.limits.contest_ms = 0; /* the stamps decide at once; see test_cm_contest.c */
	rig->now_ns = RIG_T0;
	rig->clock = (struct mqt_clock){ rig_mono, rig_wall, rig };
	if (mqt_hash_key_init(&rig->key) < 0)
		abort();
	rig->reg = (struct mqt_registry){ &rig_registry_ops, rig };
	rig->maps = mqt_maps_create(&mp);
	rig->events = mqt_event_ring_create(1u << 13);
	rig->n_owners = p.n_owners;
	for (unsigned w = 0; w < p.n_owners; w++) {
		struct rig_owner *o = &rig->owners[w];

		o->mailbox = mqt_mailbox_create(p.ring);
		o->slots = aligned_alloc(64, RTE_ALIGN(p.n_slots * sizeof(*o->slots), 64));
		o->n_slots = p.n_slots;
		if (!o->mailbox || !o->slots)
			abort();
		memset(o->slots, 0, p.n_slots * sizeof(*o->slots));
		owners[w] = (struct mqt_cm_owner){ .mailbox = o->mailbox,
			.slots = { o->slots, sizeof(*o->slots), p.n_slots },
			.heartbeat_ns = &o->heartbeat_ns };
	}
	rig->cm = mqt_cm_create(&(struct mqt_cm_params){
			.config = &rig->config,
			.clock = &rig->clock,
			.hash_key = &rig->key,
			.maps = rig->maps,
			.events = rig->events,
			.registry = &rig->reg,
			.owners = owners,
			.n_owners = p.n_owners,
			.waker = rig_waker,
	});
	if (!rig->maps || !rig->events || !rig->cm)
		abort();
	return rig;
}

unsigned
rig_turn(struct rig *rig, uint64_t ms)
{
	mqt_role_control_assert();
	rig->now_ns += ms * RIG_MS;
	return mqt_cm_turn(rig->cm);
}

void
rig_grace(struct rig *rig)
{
	if (mqt_maps_grace_wanted(rig->maps))
		mqt_maps_grace_run(rig->maps);
}

bool
rig_busy(struct rig *rig)
{
	mqt_role_control_assert();
	return mqt_cm_busy(rig->cm);
}

void
rig_settle(struct rig *rig)
{
	for (unsigned i = 0, quiet = 0; i < 100000 && quiet < 3; i++) {
		unsigned n = rig_turn(rig, 1);

		n += rig_poll_all(rig);
		rig_grace(rig);
		quiet = n ? 0 : quiet + 1;
	}
}

uint64_t
rig_counter(struct rig *rig, enum mqt_control_counter c)
{
	return mqt_counter_get(&mqt_cm_counters(rig->cm)->v[c]);
}

struct mqt_maps_sizes
rig_sizes(struct rig *rig)
{
	struct mqt_maps_sizes sizes;

	mqt_maps_sizes(rig->maps, &sizes);
	return sizes;
}

enum mqt_chan_state
rig_state(struct rig *rig, const struct rig_conn *conn)
{
	const struct mqt_chan *row;

	mqt_role_control_assert();
	row = mqt_maps_get(rig->maps, conn->id);
	return row ? atomic_load(&row->state) : MQT_CHAN_FREE;
}

bool
rig_live(struct rig *rig, const struct rig_conn *conn)
{
	bool live;

	mqt_rcu_read_lock();
	live = mqt_cm_is_live(rig->cm, conn->id);
	mqt_rcu_read_unlock();
	return live;
}

bool
rig_event(struct rig *rig, struct mqt_event *ev)
{
	uint64_t missed = 0;
	int rc = mqt_event_ring_read(rig->events, &rig->event_cursor, ev, &missed);

	if (missed)
		rig->bad++;
	return rc == 1;
}

const char *
rig_story(struct rig *rig)
{
	static const char what[MQT_N_EVENTS] = {
		[MQT_EVENT_CONNECTED] = '+',
		[MQT_EVENT_DISCONNECTED] = '-',
		[MQT_EVENT_SESSION_CREATED] = '*',
		[MQT_EVENT_DISCARDED] = 'd',
		[MQT_EVENT_KICKED] = 'k',
		[MQT_EVENT_REFUSED] = 'r',
		[MQT_EVENT_SUPERSEDED] = 's',
		[MQT_EVENT_RESUMED] = '=',
		[MQT_EVENT_TAKENOVER] = 't',
		[MQT_EVENT_EXPIRED] = 'x',
		[MQT_EVENT_LOST_BY_BROKER] = 'l',
		[MQT_EVENT_LEFT_BEHIND] = 'b',
		[MQT_EVENT_ADOPTED] = 'a',
		[MQT_EVENT_LOST_BY_KILL] = 'K',
		[MQT_EVENT_FLAPPING] = 'f',
		[MQT_EVENT_ANOMALY] = '!',
	};
	struct mqt_event ev;
	size_t n = 0;

	rig->story[0] = 0;
	while (rig_event(rig, &ev) && n < sizeof(rig->story) - 64) {
		n += (size_t)sprintf(rig->story + n, "%s%c%c%u", n ? " " : "", what[ev.type],
				rig_label(rig, ev.chan), (unsigned)ev.epoch);
		if (ev.type == MQT_EVENT_DISCONNECTED || ev.type == MQT_EVENT_REFUSED ||
				ev.type == MQT_EVENT_EXPIRED || ev.type == MQT_EVENT_ANOMALY)
			n += (size_t)sprintf(rig->story + n, ":%s", mqt_reason_name(ev.reason));
		if (ev.other != MQT_CHAN_NONE)
			n += (size_t)sprintf(rig->story + n, ">%c", rig_label(rig, ev.other));
		if (ev.count)
			n += (size_t)sprintf(rig->story + n, "#%u", ev.count);
	}
	return rig->story;
}

struct rig_conn *
rig_connect(struct rig *rig, unsigned w, struct rig_open how)
{
	struct rig_conn *conn = rig_open(rig, w, how);

	rig_settle(rig);
	return conn;
}

struct rig_conn *
rig_put_beside(struct rig *rig, unsigned w, const struct rig_open *how)
{
	struct rig_conn *conn = rig_conn_make(rig, w, how);

	mqt_role_control_assert();
	rig->n_opens++; /* it will end like one */
	CHECK_EQ(mqt_cm_register(rig->cm, conn->id, conn->info, conn->stamp_ns), 0);
	return conn;
}

void
rig_destroy(struct rig *rig)
{
	mqt_cm_destroy(rig->cm);
	mqt_maps_destroy(rig->maps);
	mqt_event_ring_destroy(rig->events);
	for (unsigned w = 0; w < rig->n_owners; w++) {
		struct rig_owner *o = &rig->owners[w];
		struct mqt_msg msg;

		mqt_role_worker_assert();
		while (mqt_mailbox_poll_worker(o->mailbox, &msg, 1) == 1) {
			free(msg.info);                   /* REFUSE, RELEASE not read */
			mqt_session_destroy(msg.session); /* GRANT */
		}
		mqt_mailbox_destroy(o->mailbox);
		for (uint32_t i = 0; i < o->n_slots; i++) {
			struct rig_conn *conn = o->slots[i].conn;

			while (conn) {
				struct rig_conn *next = conn->next;

				rig_session_end(conn);
				free(conn->pendings);
				free(conn);
				conn = next;
			}
		}
		free(o->slots);
	}
	free(rig);
}

void
rig_check_end_of(struct rig *rig, const char *row)
{
	unsigned homes = 0;

	check_row = row;
	for (unsigned w = 0; w < rig->n_owners; w++) {
		rig->owners[w].answer = RIG_ANSWER_OK;
		rig->owners[w].end_answer = RIG_ANSWER_OK;
		rig->owners[w].mute_grant = false;
	}
	for (unsigned w = 0; w < rig->n_owners; w++) {
		for (uint32_t i = 0; i < rig->owners[w].n_slots; i++) {
			if (rig->owners[w].slots[i].conn)
				rig_end(rig, rig->owners[w].slots[i].conn);
		}
	}
	rig_settle(rig);
	rig->config.limits.max_retained = 0; /* no room for any */
	for (unsigned i = 0; i < 100 && (rig_busy(rig) || mqt_cm_retained_count(rig->cm)); i++)
		rig_settle(rig);
	for (unsigned w = 0; w < rig->n_owners; w++) {
		for (uint32_t i = 0; i < rig->owners[w].n_slots; i++) {
			const struct rig_conn *conn = rig->owners[w].slots[i].conn;

			for (; conn; conn = conn->next) {
				homes++;
				CHECK_EQ(conn->n_refusals + conn->n_releases, 1);
			}
		}
	}
	CHECK(!rig_busy(rig));
	CHECK_EQ(homes + rig->n_forgotten, rig->n_opens);
	CHECK_EQ(rig->bad, 0);
	CHECK_EQ(rig_sizes(rig).channels, 0);
	CHECK_EQ(rig_sizes(rig).clients, 0);
	CHECK_EQ(rig_sizes(rig).live, 0);
	CHECK_EQ(rig_sizes(rig).retired, 0);
	CHECK_EQ(mqt_cm_retained_count(rig->cm), 0);
	rig_destroy(rig);
	CHECK_EQ(rig_n_sessions, 0);
}

int
rig_run(CU_SuiteInfo *suites)
{
	int status;

	if (eal_start("cm") < 0)
		return 2;
	mqt_rcu_register();
	status = check_run(suites);
	mqt_rcu_unregister();
	return eal_stop(status);
}
