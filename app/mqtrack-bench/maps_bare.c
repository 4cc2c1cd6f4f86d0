/* SPDX-License-Identifier: BSD-3-Clause */
#include "maps_bare.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_errno.h>
#include <urcu-qsbr.h>
#include <urcu/rculfhash.h>

/*
 * The bare tables. Both have the digest as key, a word of it as hash and the client's info as data,
 * which a look-up by client id reads, as a reader of the maps does.
 *
 * rte_hash is one thread's own, so nothing has to wait for a grace period. cds_lfht is there for the
 * record: it is what RCU would offer by itself. It has as many buckets as it needs from the start and
 * does not grow, its nodes are a cache line each in one array, and its removals wait for grace
 * periods as those of the maps do.
 */

static uintptr_t sink; /* what was found, so that the compiler cannot drop the look-ups */

/* --- rte_hash ---------------------------------------------------------------------------------- */

struct rte_hash *
bare_hash_create(uint32_t n)
{
	struct rte_hash_parameters params = {
		.name = "bench_base",
		.entries = RTE_MAX(n + n / 3, 8u), /* 75 % filled at most, as the maps */
		.key_len = sizeof(struct mqt_digest),
		.socket_id = SOCKET_ID_ANY,
		.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	};
	struct rte_hash *h = rte_hash_create(&params);

	if (!h)
		fprintf(stderr, "mqtrack-bench: rte_hash: %s\n", rte_strerror(rte_errno));
	return h;
}

static hash_sig_t
sig_of(const struct mqt_digest *digest)
{
	return (hash_sig_t)digest->word[0];
}

static uint32_t
hash_insert(struct rte_hash *h, const struct keys *k)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < k->n; i++)
		n += rte_hash_add_key_with_hash_data(
				     h, &k->digests[i], sig_of(&k->digests[i]), k->infos[i]) == 0;
	return n;
}

static uint32_t
hash_lookup(const struct rte_hash *h, const struct keys *k)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < k->n; i++) {
		struct mqt_digest digest = keys_digest(k, i);
		void *data = NULL;

		if (rte_hash_lookup_with_hash_data(h, &digest, sig_of(&digest), &data) < 0)
			continue;
		sink ^= ((struct mqt_info *)data)->clientid_len;
		found++;
	}
	return found;
}

static uint32_t
hash_lookup_bulk(const struct rte_hash *h, const struct keys *k)
{
	struct mqt_digest digests[KEYS_BULK];
	const void *keys[KEYS_BULK];
	hash_sig_t sigs[KEYS_BULK];
	void *data[KEYS_BULK];
	uint32_t found = 0;
	uint64_t hits;

	for (uint32_t i = 0; i < k->n; i += KEYS_BULK) {
		unsigned n = RTE_MIN(KEYS_BULK, k->n - i);

		for (unsigned j = 0; j < n; j++) {
			digests[j] = keys_digest(k, i + j);
			keys[j] = &digests[j];
			sigs[j] = sig_of(&digests[j]);
		}
		found += (uint32_t)rte_hash_lookup_with_hash_bulk_data(
				h, keys, sigs, n, &hits, data);
		for (unsigned j = 0; j < n; j++)
			sink ^= hits >> j & 1 ? ((struct mqt_info *)data[j])->clientid_len : 0;
	}
	return found;
}

/* The same by id, without its digest and the record: what an id costs anyway. */
static uint32_t
hash_find(const struct rte_hash *h, const struct keys *k)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < k->n; i++) {
		void *data = NULL;

		found += rte_hash_lookup_with_hash_data(
					 h, &k->probes[i], sig_of(&k->probes[i]), &data) >= 0;
		sink ^= (uintptr_t)data;
	}
	return found;
}

static uint32_t
hash_remove(struct rte_hash *h, const struct keys *k)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < k->n; i++)
		n += rte_hash_del_key_with_hash(h, &k->probes[i], sig_of(&k->probes[i])) >= 0;
	return n;
}

int
bare_hash_run(struct rte_hash *h, const struct keys *k, uint64_t ns[MAPS_N_WHAT])
{
	uint64_t at[6];
	bool all;

	at[0] = bench_now_ns();
	all = hash_insert(h, k) == k->n;
	at[1] = bench_now_ns();
	all = all && hash_lookup(h, k) == k->n;
	at[2] = bench_now_ns();
	all = all && hash_lookup_bulk(h, k) == k->n;
	at[3] = bench_now_ns();
	all = all && hash_find(h, k) == k->n;
	at[4] = bench_now_ns();
	all = all && hash_remove(h, k) == k->n;
	at[5] = bench_now_ns();
	ns[MAPS_INSERT] += at[1] - at[0];
	ns[MAPS_LOOKUP] += at[2] - at[1];
	ns[MAPS_LOOKUP_BULK] += at[3] - at[2];
	ns[MAPS_INFO] += at[4] - at[3];
	ns[MAPS_REMOVE] += at[5] - at[4];
	if (!all)
		fprintf(stderr, "mqtrack-bench: rte_hash: something was refused or not found\n");
	return all ? 0 : -1;
}

/* --- cds_lfht ---------------------------------------------------------------------------------- */

struct node {
	struct cds_lfht_node link; /* the first one: a pointer to it is one to the node */
	struct mqt_digest digest;
	struct mqt_info *info;
} __rte_cache_aligned;

static_assert(offsetof(struct node, link) == 0, "nodes are found by their links");

struct bare_lfht {
	struct cds_lfht *ht;
	struct node *nodes;
};

struct bare_lfht *
bare_lfht_create(uint32_t n)
{
	struct bare_lfht *t = calloc(1, sizeof(*t));
	unsigned long n_buckets = rte_align32pow2(n);

	if (t &&
			posix_memalign((void **)&t->nodes, RTE_CACHE_LINE_SIZE,
					n * sizeof(*t->nodes)) == 0)
		t->ht = cds_lfht_new_flavor(
				n_buckets, n_buckets, n_buckets, 0, &urcu_qsbr_flavor, NULL);
	if (t && t->ht) {
		memset(t->nodes, 0, n * sizeof(*t->nodes));
		return t;
	}
	fprintf(stderr, "mqtrack-bench: cds_lfht: no memory\n");
	bare_lfht_destroy(t);
	return NULL;
}

void
bare_lfht_destroy(struct bare_lfht *t)
{
	if (!t)
		return;
	if (t->ht)
		cds_lfht_destroy(t->ht, NULL);
	free(t->nodes);
	free(t);
}

static int
has_digest(struct cds_lfht_node *link, const void *digest)
{
	const struct node *node = (const struct node *)link;

	return memcmp(&node->digest, digest, sizeof(node->digest)) == 0;
}

/* Inside of a read section. */
static struct node *
lfht_find(const struct bare_lfht *t, const struct mqt_digest *digest)
{
	struct cds_lfht_iter iter;
	struct cds_lfht_node *link;

	cds_lfht_lookup(t->ht, digest->word[0], has_digest, digest, &iter);
	link = cds_lfht_iter_get_node(&iter);
	return (struct node *)link;
}

static uint32_t
lfht_insert(struct bare_lfht *t, const struct keys *k)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < k->n;) {
		mqt_rcu_read_lock();
		for (uint32_t end = RTE_MIN(i + KEYS_SECTION, k->n); i < end; i++) {
			struct node *node = &t->nodes[i];

			*node = (struct node){ .digest = k->digests[i], .info = k->infos[i] };
			n += cds_lfht_add_unique(t->ht, node->digest.word[0], has_digest,
					     &node->digest, &node->link) == &node->link;
		}
		mqt_rcu_read_unlock();
	}
	return n;
}

/* @param by_id begins with a client id and reads the record, else with its digest. */
static uint32_t
lfht_lookup(const struct bare_lfht *t, const struct keys *k, bool by_id)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < k->n;) {
		mqt_rcu_read_lock();
		for (uint32_t end = RTE_MIN(i + KEYS_SECTION, k->n); i < end; i++) {
			struct mqt_digest digest = by_id ? keys_digest(k, i) : k->probes[i];
			const struct node *node = lfht_find(t, &digest);

			if (!node)
				continue;
			sink ^= by_id ? node->info->clientid_len : (uintptr_t)node->info;
			found++;
		}
		mqt_rcu_read_unlock();
	}
	return found;
}

static uint32_t
lfht_remove(struct bare_lfht *t, const struct keys *k)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < k->n;) {
		uint32_t grace = RTE_MIN(i + MAPS_GRACE_EVERY, k->n);

		while (i < grace) {
			mqt_rcu_read_lock();
			for (uint32_t end = RTE_MIN(i + KEYS_SECTION, grace); i < end; i++) {
				struct node *node = lfht_find(t, &k->probes[i]);

				n += node && cds_lfht_del(t->ht, &node->link) == 0;
			}
			mqt_rcu_read_unlock();
		}
		urcu_qsbr_synchronize_rcu();
	}
	return n;
}

int
bare_lfht_run(struct bare_lfht *t, const struct keys *k, uint64_t ns[MAPS_N_WHAT])
{
	uint64_t at[5];
	bool all;

	at[0] = bench_now_ns();
	all = lfht_insert(t, k) == k->n;
	at[1] = bench_now_ns();
	all = all && lfht_lookup(t, k, true) == k->n;
	at[2] = bench_now_ns();
	all = all && lfht_lookup(t, k, false) == k->n;
	at[3] = bench_now_ns();
	all = all && lfht_remove(t, k) == k->n;
	at[4] = bench_now_ns();
	ns[MAPS_INSERT] += at[1] - at[0];
	ns[MAPS_LOOKUP] += at[2] - at[1];
	ns[MAPS_INFO] += at[3] - at[2];
	ns[MAPS_REMOVE] += at[4] - at[3];
	if (!all)
		fprintf(stderr, "mqtrack-bench: cds_lfht: something was refused or not found\n");
	return all ? 0 : -1;
}
