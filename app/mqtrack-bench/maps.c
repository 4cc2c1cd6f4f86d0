/* SPDX-License-Identifier: BSD-3-Clause */
#include "mqtrack/maps.h"

#include "bench.h"
#include "maps_keys.h"

#include <stdlib.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_memory.h>

/*
 * The three maps. Each run fills the maps and a bare rte_hash (no flags: one thread's own table)
 * with the same keys, looks all of them up in another order, and empties them. A round before the
 * first run is not counted: it touches the memory. One insertion makes a channel in all maps, one
 * removal takes it out and waits for a grace period like the tracker does; the baseline writes one
 * table.
 *
 * A look-up begins with a client id: both sides make its digest, look that up, and read the record
 * that comes of it (our row's info, the table's data). maps_threads.c measures readers beside others.
 */

#define DEFAULT_SIZE 1000000u
#define SMALL_SIZE   10000u /* measured too where no size is asked for */
#define BULK         KEYS_BULK
#define GRACE_EVERY  4096 /* removals */

enum what {
	INSERT,
	LOOKUP,
	LOOKUP_BULK,
	INFO,
	WALK,
	REMOVE,
	N_WHAT,
};

static const struct {
	const char *name;
	const char *unit;
	const char *baseline;
} whats[N_WHAT] = {
	[INSERT] = { "maps.insert", "inserts/s", "rte_hash, 1 table, 16-byte key" },
	[LOOKUP] = { "maps.lookup", "lookups/s", "digest, rte_hash, record" },
	[LOOKUP_BULK] = { "maps.lookup_bulk", "lookups/s", "digest, rte_hash in bulk, record" },
	[INFO] = { "maps.info", "lookups/s", "rte_hash by digest, no record" },
	[WALK] = { "maps.walk", "rows/s", NULL },
	[REMOVE] = { "maps.remove", "removals/s", "rte_hash, 1 table, 16-byte key" },
};

struct samples {
	struct bench_samples ours[N_WHAT], base[N_WHAT];
};

static uintptr_t sink; /* what was found, so that the compiler cannot drop the look-ups */

/* --- the maps -------------------------------------------------------------------------------------- */

static void
leave_info(void *arg, mqt_chan_id id, struct mqt_info *info, uint32_t tag)
{
	/* it is used again in the next run */
}

static int
ours_insert(struct mqt_maps *maps, const struct keys *k, struct bench_samples *s)
{
	uint64_t begin = bench_now_ns();

	mqt_role_control_assert();
	for (uint32_t i = 0; i < k->n; i++)
		if (!mqt_maps_insert(maps, k->ids[i], k->infos[i], i, i, 1))
			return -1;
	bench_rate(s, k->n, begin);
	return 0;
}

static int
ours_lookup(struct mqt_maps *maps, const struct keys *k, struct bench_samples *s)
{
	uint64_t begin = bench_now_ns();
	uint32_t found = keys_lookup(k, maps, 0, k->n);

	bench_rate(s, k->n, begin);
	return found == k->n ? 0 : -1;
}

static int
ours_lookup_bulk(struct mqt_maps *maps, const struct keys *k, struct bench_samples *s)
{
	uint64_t begin = bench_now_ns();
	uint32_t found = keys_lookup_bulk(k, maps, 0, k->n);

	bench_rate(s, k->n, begin);
	return found == k->n ? 0 : -1;
}

static int
ours_info(struct mqt_maps *maps, const struct keys *k, struct bench_samples *s)
{
	uint64_t begin = bench_now_ns();
	uint32_t found = 0;

	for (uint32_t i = 0; i < k->n;) {
		mqt_rcu_read_lock();
		for (uint32_t end = RTE_MIN(i + KEYS_SECTION, k->n); i < end; i++) {
			const struct mqt_chan *row = mqt_maps_info(maps, k->probe_ids[i]);

			sink ^= row ? row->id : 0;
			found += row != NULL;
		}
		mqt_rcu_read_unlock();
	}
	bench_rate(s, k->n, begin);
	return found == k->n ? 0 : -1;
}

static int
ours_walk(struct mqt_maps *maps, const struct keys *k, struct bench_samples *s)
{
	uint64_t begin = bench_now_ns();
	uint32_t pos = 0, found = 0;

	mqt_rcu_read_lock();
	for (const struct mqt_chan *row; (row = mqt_maps_next(maps, &pos)); found++)
		sink ^= row->id;
	mqt_rcu_read_unlock();
	bench_rate(s, k->n, begin);
	return found == k->n ? 0 : -1;
}

static int
ours_remove(struct mqt_maps *maps, const struct keys *k, struct bench_samples *s)
{
	uint64_t begin = bench_now_ns();

	mqt_role_control_assert();
	for (uint32_t i = 0; i < k->n; i++) {
		if (mqt_maps_remove(maps, k->probe_ids[i]) != 0)
			return -1;
		if (i % GRACE_EVERY == GRACE_EVERY - 1 || i + 1 == k->n) {
			mqt_maps_grace_run(maps);
			mqt_maps_reclaim(maps, UINT32_MAX, leave_info, NULL);
		}
	}
	bench_rate(s, k->n, begin);
	return 0;
}

static int
run_ours(struct mqt_maps *maps, const struct keys *k, struct bench_samples *s)
{
	int rc;

	rc = ours_insert(maps, k, &s[INSERT]);
	rc = rc ? rc : ours_lookup(maps, k, &s[LOOKUP]);
	rc = rc ? rc : ours_lookup_bulk(maps, k, &s[LOOKUP_BULK]);
	rc = rc ? rc : ours_info(maps, k, &s[INFO]);
	rc = rc ? rc : ours_walk(maps, k, &s[WALK]);
	rc = rc ? rc : ours_remove(maps, k, &s[REMOVE]);
	if (rc)
		fprintf(stderr, "mqtrack-bench: maps: something was refused or not found\n");
	return rc;
}

/* --- the baseline -------------------------------------------------------------------------------- */

static hash_sig_t
sig_of(const struct mqt_digest *digest)
{
	return (hash_sig_t)digest->word[0];
}

static int
base_insert(struct rte_hash *h, const struct keys *k, struct bench_samples *s)
{
	uint64_t begin = bench_now_ns();

	for (uint32_t i = 0; i < k->n; i++)
		if (rte_hash_add_key_with_hash_data(
				    h, &k->digests[i], sig_of(&k->digests[i]), k->infos[i]) != 0)
			return -1;
	bench_rate(s, k->n, begin);
	return 0;
}

static int
base_lookup(struct rte_hash *h, const struct keys *k, struct bench_samples *s)
{
	uint64_t begin = bench_now_ns();
	uint32_t found = 0;

	for (uint32_t i = 0; i < k->n; i++) {
		struct mqt_digest digest = keys_digest(k, i);
		void *data = NULL;

		if (rte_hash_lookup_with_hash_data(h, &digest, sig_of(&digest), &data) < 0)
			continue;
		sink ^= ((struct mqt_info *)data)->clientid_len;
		found++;
	}
	bench_rate(s, k->n, begin);
	return found == k->n ? 0 : -1;
}

/* The same by id, without its digest and the record: what an id costs anyway. */
static int
base_find(struct rte_hash *h, const struct keys *k, struct bench_samples *s)
{
	uint64_t begin = bench_now_ns();
	uint32_t found = 0;

	for (uint32_t i = 0; i < k->n; i++) {
		void *data = NULL;

		found += rte_hash_lookup_with_hash_data(
					 h, &k->probes[i], sig_of(&k->probes[i]), &data) >= 0;
		sink ^= (uintptr_t)data;
	}
	bench_rate(s, k->n, begin);
	return found == k->n ? 0 : -1;
}

static int
base_lookup_bulk(struct rte_hash *h, const struct keys *k, struct bench_samples *s)
{
	uint64_t begin = bench_now_ns(), hits;
	struct mqt_digest digests[BULK];
	const void *keys[BULK];
	hash_sig_t sigs[BULK];
	void *data[BULK];
	uint32_t found = 0;

	for (uint32_t i = 0; i < k->n; i += BULK) {
		unsigned n = RTE_MIN(BULK, k->n - i);

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
	bench_rate(s, k->n, begin);
	return found == k->n ? 0 : -1;
}

static int
base_remove(struct rte_hash *h, const struct keys *k, struct bench_samples *s)
{
	uint64_t begin = bench_now_ns();

	for (uint32_t i = 0; i < k->n; i++)
		if (rte_hash_del_key_with_hash(h, &k->probes[i], sig_of(&k->probes[i])) < 0)
			return -1;
	bench_rate(s, k->n, begin);
	return 0;
}

static int
run_base(struct rte_hash *h, const struct keys *k, struct bench_samples *s)
{
	int rc;

	rc = base_insert(h, k, &s[INSERT]);
	rc = rc ? rc : base_lookup(h, k, &s[LOOKUP]);
	rc = rc ? rc : base_lookup_bulk(h, k, &s[LOOKUP_BULK]);
	rc = rc ? rc : base_find(h, k, &s[INFO]);
	rc = rc ? rc : base_remove(h, k, &s[REMOVE]);
	if (rc)
		fprintf(stderr, "mqtrack-bench: rte_hash: something was refused or not found\n");
	return rc;
}

/* --- the subcommand ------------------------------------------------------------------------------- */

static struct mqt_maps *
make_maps(uint32_t n)
{
	struct mqt_maps_params params = { .max_channels = n + MAPS_CHURN };
	struct mqt_maps *maps = mqt_maps_create(&params);

	if (!maps)
		fprintf(stderr, "mqtrack-bench: maps: %s\n", rte_strerror(rte_errno));
	return maps;
}

static struct rte_hash *
make_base(uint32_t n)
{
	struct rte_hash_parameters params = {
		.name = "bench_base",
		.entries = RTE_MAX(n + n / 3, 8u), /* 75 % filled at most, as ours */
		.key_len = sizeof(struct mqt_digest),
		.socket_id = SOCKET_ID_ANY,
		.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	};
	struct rte_hash *h = rte_hash_create(&params);

	if (!h)
		fprintf(stderr, "mqtrack-bench: rte_hash: %s\n", rte_strerror(rte_errno));
	return h;
}

/* One after the other, then beside others. @return 0, or -1 with the reason said. */
static int
run_keys(struct rte_hash *base, struct mqt_maps *maps, const struct keys *k, unsigned runs,
		struct samples *s, struct bench_report *report)
{
	struct bench_samples uncounted = { 0 };

	for (unsigned run = 0; run <= runs; run++) {
		if (run == 1) /* what came before was the warm-up */
			*s = (struct samples){ 0 };
		if (run_ours(maps, k, s->ours) != 0 || run_base(base, k, s->base) != 0)
			return -1;
	}
	if (ours_insert(maps, k, &uncounted) != 0 || bench_maps_threads(maps, k, runs, report) != 0)
		return -1;
	return ours_remove(maps, k, &uncounted);
}

/* @return 0, or -1 with the reason said. */
static int
run_size(uint32_t n, unsigned runs, struct bench_report *report)
{
	struct rte_hash *base = make_base(n);
	struct mqt_maps *maps = make_maps(n);
	struct samples *s = calloc(1, sizeof(*s));
	struct keys keys = { 0 };
	char name[64];
	int rc;

	if (!base || !maps || !s)
		return -1;
	if (keys_init(&keys, n, 0) != 0) {
		fprintf(stderr, "mqtrack-bench: no memory\n");
		return -1;
	}
	mqt_rcu_register();
	rc = run_keys(base, maps, &keys, runs, s, report);
	mqt_rcu_unregister();
	for (unsigned w = 0; w < N_WHAT && rc == 0; w++)
		bench_report_add(report, bench_name(name, sizeof(name), whats[w].name, n),
				whats[w].unit, &s->ours[w], whats[w].baseline, &s->base[w]);
	free(s);
	if (rc) /* some infos are in the maps, some are not: leave all to the end of the process */
		return rc;
	mqt_maps_destroy(maps);
	rte_hash_free(base);
	keys_fini(&keys);
	return 0;
}

int
bench_maps(const struct bench_args *args, struct bench_report *report)
{
	uint64_t n = args->size ? args->size : DEFAULT_SIZE;

	if (bench_eal_init(128 + n * 256 / (1024 * 1024)) != 0)
		return 1;
	if (!args->size && run_size(SMALL_SIZE, args->runs, report) != 0)
		return 1;
	return run_size((uint32_t)n, args->runs, report) == 0 ? 0 : 1;
}
