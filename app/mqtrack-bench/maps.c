/* SPDX-License-Identifier: BSD-3-Clause */
#include "mqtrack/maps.h"

#include "bench.h"
#include "maps_bare.h"
#include "maps_keys.h"

#include <stdlib.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_memory.h>

/*
 * The three maps. Each run fills the maps and the bare tables of maps_bare.c with the same keys, looks
 * all of them up in another order, and empties them; so often that a figure is of OPS_A_RUN operations
 * at least. A run before the first is not counted: it touches the memory. One insertion makes a
 * channel in all maps, one removal takes it out and waits for a grace period like the tracker does;
 * a bare table is only one.
 *
 * A look-up begins with a client id: all sides make its digest, look that up, and read the record
 * that comes of it (our row's info, the table's data). Look-ups one by one are in a loop and do not
 * depend on each other, so the CPU has some of them under way at once; who looks up a single client has
 * the whole latency. maps_threads.c measures readers beside others.
 */

#define DEFAULT_SIZE 1000000u
#define SMALL_SIZE   10000u   /* measured too where no size is asked for, */
#define LARGE_SIZE   8000000u /* and this one where there is memory for it: a minute a run */
#define LARGE_RUNS   2u
#define OPS_A_RUN    1000000u
#define LARGE_MIB    7000u /* for keys, infos, maps, both bare tables */

static const struct {
	const char *name;
	const char *unit;
	const char *hash;
	const char *lfht;
} whats[MAPS_N_WHAT] = {
	[MAPS_INSERT] = { "maps.insert", "inserts/s", "rte_hash, 1 table, 16-byte key",
			"cds_lfht, 1 table, 16-byte key" },
	[MAPS_LOOKUP] = { "maps.lookup", "lookups/s", "digest, rte_hash, record",
			"digest, cds_lfht, record" },
	[MAPS_LOOKUP_BULK] = { "maps.lookup_bulk", "lookups/s", "digest, rte_hash in bulk, record",
			NULL },
	[MAPS_INFO] = { "maps.info", "lookups/s", "rte_hash by digest, no record",
			"cds_lfht by digest, no record" },
	[MAPS_WALK] = { "maps.walk", "rows/s", NULL, NULL },
	[MAPS_REMOVE] = { "maps.remove", "removals/s", "rte_hash, 1 table, 16-byte key",
			"cds_lfht, 1 table, 16-byte key" },
};

enum side {
	OURS,
	HASH,
	LFHT,
	N_SIDES,
};

struct rig {
	struct mqt_maps *maps;
	struct rte_hash *hash;
	struct bare_lfht *lfht;
	struct keys keys;
	struct bench_samples samples[N_SIDES][MAPS_N_WHAT];
};

static uintptr_t sink; /* what was found, so that the compiler cannot drop the look-ups */

/* --- the maps -------------------------------------------------------------------------------------- */

static void
leave_info(void *arg, mqt_chan_id id, struct mqt_info *info, uint32_t tag)
{
	/* it is used again in the next run */
}

static uint32_t
ours_insert(struct mqt_maps *maps, const struct keys *k)
{
	uint32_t n = 0;

	mqt_role_control_assert();
	for (uint32_t i = 0; i < k->n; i++)
		n += mqt_maps_insert(maps, k->ids[i], k->infos[i], i, i, 1) != NULL;
	return n;
}

static uint32_t
ours_info(struct mqt_maps *maps, const struct keys *k)
{
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
	return found;
}

static uint32_t
ours_walk(struct mqt_maps *maps)
{
	uint32_t pos = 0, found = 0;

	mqt_rcu_read_lock();
	for (const struct mqt_chan *row; (row = mqt_maps_next(maps, &pos)); found++)
		sink ^= row->id;
	mqt_rcu_read_unlock();
	return found;
}

static uint32_t
ours_remove(struct mqt_maps *maps, const struct keys *k)
{
	uint32_t n = 0;

	mqt_role_control_assert();
	for (uint32_t i = 0; i < k->n; i++) {
		n += mqt_maps_remove(maps, k->probe_ids[i]) == 0;
		if (i % MAPS_GRACE_EVERY == MAPS_GRACE_EVERY - 1 || i + 1 == k->n) {
			mqt_maps_grace_run(maps);
			mqt_maps_reclaim(maps, UINT32_MAX, leave_info, NULL);
		}
	}
	return n;
}

static int
ours_run(struct mqt_maps *maps, const struct keys *k, uint64_t ns[MAPS_N_WHAT])
{
	uint64_t begin;
	bool all = true;

	for (unsigned w = 0; w < MAPS_N_WHAT && all; w++) {
		uint32_t n = 0;

		begin = bench_now_ns();
		switch ((enum maps_what)w) {
		case MAPS_INSERT:
			n = ours_insert(maps, k);
			break;
		case MAPS_LOOKUP:
			n = keys_lookup(k, maps, 0, k->n);
			break;
		case MAPS_LOOKUP_BULK:
			n = keys_lookup_bulk(k, maps, 0, k->n);
			break;
		case MAPS_INFO:
			n = ours_info(maps, k);
			break;
		case MAPS_WALK:
			n = ours_walk(maps);
			break;
		case MAPS_REMOVE:
			n = ours_remove(maps, k);
			break;
		case MAPS_N_WHAT:
			break;
		}
		ns[w] += bench_now_ns() - begin;
		all = n == k->n;
	}
	if (!all)
		fprintf(stderr, "mqtrack-bench: maps: something was refused or not found\n");
	return all ? 0 : -1;
}

/* --- the subcommand ------------------------------------------------------------------------------- */

/* All sides in turns. @return 0, or -1 with the reason said. */
static int
run_once(struct rig *r)
{
	uint32_t n_rounds = RTE_MAX(OPS_A_RUN / r->keys.n, 1u);
	uint64_t ns[N_SIDES][MAPS_N_WHAT] = { 0 };

	for (uint32_t i = 0; i < n_rounds; i++)
		if (ours_run(r->maps, &r->keys, ns[OURS]) != 0 ||
				bare_hash_run(r->hash, &r->keys, ns[HASH]) != 0 ||
				bare_lfht_run(r->lfht, &r->keys, ns[LFHT]) != 0)
			return -1;
	for (unsigned side = 0; side < N_SIDES; side++)
		for (unsigned w = 0; w < MAPS_N_WHAT; w++)
			bench_rate_of(&r->samples[side][w], (uint64_t)n_rounds * r->keys.n,
					ns[side][w]);
	return 0;
}

/* One after the other, then beside others. @return 0, or -1 with the reason said. */
static int
run_all(struct rig *r, unsigned runs, struct bench_report *report)
{
	for (unsigned run = 0; run <= runs; run++) {
		if (run == 1) /* what came before was the warm-up */
			memset(r->samples, 0, sizeof(r->samples));
		if (run_once(r) != 0)
			return -1;
	}
	if (ours_insert(r->maps, &r->keys) != r->keys.n ||
			bench_maps_threads(r->maps, &r->keys, runs, report) != 0)
		return -1;
	return ours_remove(r->maps, &r->keys) == r->keys.n ? 0 : -1;
}

static void
report_all(const struct rig *r, struct bench_report *report)
{
	char name[64], what[48];

	for (unsigned w = 0; w < MAPS_N_WHAT; w++)
		bench_report_add(report, bench_name(name, sizeof(name), whats[w].name, r->keys.n),
				whats[w].unit, &r->samples[OURS][w], whats[w].hash,
				&r->samples[HASH][w]);
	for (unsigned w = 0; w < MAPS_N_WHAT; w++) {
		if (!whats[w].lfht)
			continue;
		snprintf(what, sizeof(what), "%s.lfht", whats[w].name);
		bench_report_add(report, bench_name(name, sizeof(name), what, r->keys.n),
				whats[w].unit, &r->samples[OURS][w], whats[w].lfht,
				&r->samples[LFHT][w]);
	}
}

static bool
rig_init(struct rig *r, uint32_t n)
{
	struct mqt_maps_params params = { .max_channels = n + MAPS_CHURN };

	r->hash = bare_hash_create(n);
	r->lfht = bare_lfht_create(n);
	r->maps = mqt_maps_create(&params);
	if (!r->maps)
		fprintf(stderr, "mqtrack-bench: maps: %s\n", rte_strerror(rte_errno));
	if (!r->hash || !r->lfht || !r->maps)
		return false;
	if (keys_init(&r->keys, n, 0) == 0)
		return true;
	fprintf(stderr, "mqtrack-bench: no memory\n");
	return false;
}

/* @return 0, or -1 with the reason said. */
static int
run_size(uint32_t n, unsigned runs, struct bench_report *report)
{
	struct rig *r = calloc(1, sizeof(*r));
	int rc;

	if (!r || !rig_init(r, n))
		return -1;
	mqt_rcu_register();
	rc = run_all(r, runs, report);
	mqt_rcu_unregister();
	if (rc) /* some infos are in the maps, some are not: leave all to the end of the process */
		return rc;
	report_all(r, report);
	mqt_maps_destroy(r->maps);
	rte_hash_free(r->hash);
	bare_lfht_destroy(r->lfht);
	keys_fini(&r->keys);
	free(r);
	return 0;
}

int
bench_maps(const struct bench_args *args, struct bench_report *report)
{
	const uint32_t sizes[] = { SMALL_SIZE, DEFAULT_SIZE, LARGE_SIZE };
	unsigned n_sizes = RTE_DIM(sizes);
	uint64_t most;

	if (!args->size && bench_proc_bytes("/proc/meminfo", "MemAvailable") >> 20 < LARGE_MIB) {
		bench_skip("maps of 8M channels: %u MiB have to be free", LARGE_MIB);
		n_sizes--;
	}
	most = args->size ? args->size : sizes[n_sizes - 1];
	if (bench_eal_init(128 + most * 256 / (1024 * 1024)) != 0)
		return 1;
	if (args->size)
		return run_size((uint32_t)args->size, args->runs, report) == 0 ? 0 : 1;
	for (unsigned i = 0; i < n_sizes; i++)
		if (run_size(sizes[i],
				    sizes[i] < LARGE_SIZE ? args->runs
							  : RTE_MIN(args->runs, LARGE_RUNS),
				    report) != 0)
			return 1;
	return 0;
}
