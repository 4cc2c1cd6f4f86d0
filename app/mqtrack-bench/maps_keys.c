/* SPDX-License-Identifier: BSD-3-Clause */
#include "maps_keys.h"

#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

/* What was found is read and returned, so that the compiler cannot drop it. */

static struct mqt_info *
info_new(const struct mqt_digest *digest, const char *text)
{
	static const struct mqt_endpoint end = { .version = 4 };
	size_t len = KEYS_ID_LEN + mqt_info_ends_size(&end, &end, NULL);
	struct mqt_info *info = calloc(1, offsetof(struct mqt_info, data) + len);

	if (info) {
		info->digest = *digest;
		info->clientid_len = KEYS_ID_LEN;
		memcpy(info->data, text, KEYS_ID_LEN);
		mqt_info_set_ends(info, &end, &end, NULL);
	}
	return info;
}

void
keys_fini(struct keys *k)
{
	for (uint32_t i = 0; k->infos && i < k->n; i++)
		free(k->infos[i]);
	free(k->digests);
	free(k->ids);
	free(k->infos);
	free(k->texts);
	free(k->probes);
	free(k->probe_ids);
}

static int
fill(struct keys *k, const uint32_t *order, unsigned worker)
{
	for (uint32_t i = 0; i < k->n; i++) {
		char *text = k->texts[order[i]];

		snprintf(text, sizeof(k->texts[0]), "device-%02x%014x", worker & 0xff, i);
		k->digests[i] = k->probes[order[i]] = keys_digest(k, order[i]);
		k->ids[i] = k->probe_ids[order[i]] =
				mqt_chan_id_make(0, worker + i % 4, i / 4, 1 + i % 100);
		k->infos[i] = info_new(&k->digests[i], text);
		if (!k->infos[i])
			return -1;
	}
	return 0;
}

int
keys_init(struct keys *k, uint32_t n, unsigned worker)
{
	uint32_t *order = bench_order(n);
	int rc;

	*k = (struct keys){ .n = n };
	k->digests = calloc(n, sizeof(*k->digests));
	k->ids = calloc(n, sizeof(*k->ids));
	k->infos = calloc(n, sizeof(struct mqt_info *));
	k->texts = calloc(n, sizeof(*k->texts));
	k->probes = calloc(n, sizeof(*k->probes));
	k->probe_ids = calloc(n, sizeof(*k->probe_ids));
	rc = order && k->digests && k->ids && k->infos && k->texts && k->probes && k->probe_ids &&
					mqt_hash_key_init(&k->key) == 0
			? fill(k, order, worker)
			: -1;
	free(order);
	return rc;
}

uint32_t
keys_lookup(const struct keys *k, const struct mqt_maps *maps, uint32_t from, uint32_t to)
{
	uint32_t found = 0;

	while (from < to) {
		uint32_t end = RTE_MIN(from + KEYS_SECTION, to);

		mqt_rcu_read_lock();
		for (; from < end; from++) {
			struct mqt_digest digest = keys_digest(k, from);
			const struct mqt_chan *row = mqt_maps_lookup(maps, &digest);

			found += row && mqt_chan_info(row)->clientid_len == KEYS_ID_LEN;
		}
		mqt_rcu_read_unlock();
	}
	return found;
}

uint32_t
keys_lookup_bulk(const struct keys *k, const struct mqt_maps *maps, uint32_t from, uint32_t to)
{
	const struct mqt_chan *rows[KEYS_BULK];
	struct mqt_digest digests[KEYS_BULK];
	uint32_t found = 0;

	for (; from < to; from += KEYS_BULK) {
		unsigned n = RTE_MIN(KEYS_BULK, to - from);

		mqt_rcu_read_lock();
		for (unsigned j = 0; j < n; j++)
			digests[j] = keys_digest(k, from + j);
		mqt_maps_lookup_bulk(maps, digests, n, rows);
		for (unsigned j = 0; j < n; j++)
			found += rows[j] && mqt_chan_info(rows[j])->clientid_len == KEYS_ID_LEN;
		mqt_rcu_read_unlock();
	}
	return found;
}
