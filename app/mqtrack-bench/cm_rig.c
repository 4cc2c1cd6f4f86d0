/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_rig.h"

#include <stdlib.h>
#include <string.h>

#include <rte_memory.h>

/*
 * The channel manager that is measured, with the limits that the daemon starts with, but those of
 * patience; and memory
 * for the owners.
 */

#define RING        4096 /* as a worker's */
#define PATIENCE_MS 60000

static int
owner_init(struct cm_owner_side *owner, uint32_t n_slots)
{
	owner->n_slots = n_slots;
	owner->slots = aligned_alloc(RTE_CACHE_LINE_SIZE, n_slots * sizeof(*owner->slots));
	if (owner->slots)
		memset(owner->slots, 0, n_slots * sizeof(*owner->slots));
	owner->mailbox = mqt_mailbox_create(RING);
	return owner->slots && owner->mailbox ? 0 : -1;
}

static int
memory_init(struct cm_rig *r)
{
	size_t all = (size_t)r->n + CM_MAX_PROBES;

	r->order = bench_order(r->n);
	r->digests = calloc(all, sizeof(*r->digests));
	r->chan = calloc(all, sizeof(*r->chan));
	r->infos = calloc(all, sizeof(struct mqt_info *));
	r->home = calloc(2 * all, sizeof(struct mqt_info *));
	r->probe_ns = calloc(CM_MAX_PROBES, sizeof(*r->probe_ns));
	if (!r->order || !r->digests || !r->chan || !r->infos || !r->home || !r->probe_ns)
		return -1;
	/* in each round an owner gets half of the clients, and the rounds overlap */
	for (unsigned w = 0; w < CM_OWNERS; w++) {
		uint32_t n = w < CM_STORMED ? r->n + 2 * CM_WINDOW : 2 * CM_MAX_PROBES;

		if (owner_init(&r->owner[w], n) != 0)
			return -1;
	}
	return 0;
}

static void
digests_init(struct cm_rig *r)
{
	for (uint32_t i = 0; i < r->n + CM_MAX_PROBES; i++) {
		uint8_t clientid[16] = { 0 };

		memcpy(clientid, &i, sizeof(i));
		r->digests[i] = mqt_digest_client(&r->key, 0, NULL, clientid, sizeof(clientid));
	}
}

static struct mqt_cm *
manager_create(struct cm_rig *r)
{
	struct mqt_cm_owner owners[CM_OWNERS];
	struct mqt_cm_params params = {
		.config = &r->config,
		.clock = mqt_clock_system(),
		.hash_key = &r->key,
		.maps = r->maps,
		.events = r->events,
		.registry = mqt_registry_local(),
		.owners = owners,
		.n_owners = CM_OWNERS,
	};

	for (unsigned w = 0; w < CM_OWNERS; w++)
		owners[w] = (struct mqt_cm_owner){
			.mailbox = r->owner[w].mailbox,
			.slots = { r->owner[w].slots, sizeof(struct cm_slot), r->owner[w].n_slots },
			.heartbeat_ns = &r->owner[w].heartbeat_ns,
		};
	return mqt_cm_create(&params);
}

struct cm_rig *
cm_rig_create(uint32_t n)
{
	struct mqt_maps_params maps = { .max_channels = n + CM_MAX_PROBES };
	struct cm_rig *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->n = n;
	mqt_config_init(&r->config);
	r->config.limits.max_clients = maps.max_channels;
	/* where the machine is busy with others, nobody is killed for that */
	r->config.limits.stepdown_local_ms = PATIENCE_MS;
	r->config.limits.stall_ms = PATIENCE_MS;
	for (unsigned i = 0; i < CM_WINDOW; i++) {
		r->kicks[i].rig = r;
		r->kicks[i].idle = true;
	}
	if (memory_init(r) != 0 || mqt_hash_key_init(&r->key) != 0)
		goto err;
	digests_init(r);
	r->maps = mqt_maps_create(&maps);
	r->events = mqt_event_ring_create(r->config.limits.events);
	if (!r->maps || !r->events)
		goto err;
	r->cm = manager_create(r);
	if (!r->cm)
		goto err;
	return r;
err:
	cm_rig_destroy(r);
	return NULL;
}

void
cm_rig_destroy(struct cm_rig *r)
{
	if (!r)
		return;
	mqt_cm_destroy(r->cm);
	mqt_maps_destroy(r->maps);
	mqt_event_ring_destroy(r->events);
	for (unsigned w = 0; w < CM_OWNERS; w++) {
		mqt_mailbox_destroy(r->owner[w].mailbox);
		for (uint32_t i = 0; r->owner[w].slots && i < r->owner[w].n_slots; i++)
			mqt_session_destroy(r->owner[w].slots[i].session);
		free(r->owner[w].slots);
	}
	free(r->order);
	free(r->digests);
	free(r->chan);
	free(r->infos);
	while (r->n_home > 0)
		free(r->home[--r->n_home]);
	free(r->home);
	free(r->probe_ns);
	free(r);
}
