/* SPDX-License-Identifier: BSD-3-Clause */
#include "grace.h"

#include "mqtrack/maps.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include <urcu-qsbr.h>

/*
 * Grace periods (rule R10) and the readers' sections.
 *
 * The control lcore unlinks something and counts it in `retired`. The reclaimer thread reads
 * `retired`, waits until every reader has been offline once, and releases that number in
 * `completed`; the control lcore acquires it and frees what has a number up to it. So one grace
 * period serves everything retired before it began, and the control lcore never waits.
 *
 * The reclaimer sleeps on a semaphore while nothing waits. The control lcore posts it only where
 * it does sleep; after a grace period it naps for GRACE_PAUSE_NS instead, during which nobody
 * needs to wake it. So a storm of removals costs the control lcore no system call at all, and the
 * reclaimer at most a thousand grace periods a second.
 *
 * A wake-up can be missed only between the reclaimer's last look at `retired` and the moment
 * `sleeping` becomes visible; grace_kick() has a full fence on one side and the reclaimer on the
 * other, and mqt_maps_reclaim() kicks again whenever something is still waiting.
 *
 * Sections: QSBR. A registered thread is offline except inside a section, so that it may block
 * anywhere else without holding up a grace period. Sections nest.
 *
 * Sources: rule R10; liburcu's urcu-qsbr.h; Desnoyers et al., "User-Level Implementations of
 * Read-Copy Update", IEEE TPDS 23 (2012), §5.
 */

#define GRACE_PAUSE_NS 1000000

/*
 * ThreadSanitizer does not see into liburcu. Tell it what a grace period is: all sections that
 * ended before it returned happen before what follows it.
 */
static char tsan_section;

static _Thread_local unsigned section_depth;

/* --- readers ------------------------------------------------------------------------------- */

void
mqt_rcu_register(void)
{
	urcu_qsbr_register_thread();
	urcu_qsbr_thread_offline();
	section_depth = 0;
}

void
mqt_rcu_unregister(void)
{
	urcu_qsbr_unregister_thread();
}

MQT_NO_ANALYSIS void
mqt_rcu_read_lock(void)
{
	if (section_depth++ == 0)
		urcu_qsbr_thread_online();
}

MQT_NO_ANALYSIS void
mqt_rcu_read_unlock(void)
{
	if (--section_depth > 0)
		return;
	mqt_tsan_release(&tsan_section);
	urcu_qsbr_thread_offline();
}

/* --- the writer's side --------------------------------------------------------------------- */

int
grace_init(struct grace *g)
{
	memset(g, 0, sizeof(*g));
	return sem_init(&g->wake, 0, 0) == 0 ? 0 : -errno;
}

void
grace_fini(struct grace *g)
{
	sem_destroy(&g->wake);
}

uint64_t
grace_retire(struct grace *g)
{
	uint64_t n = atomic_load_explicit(&g->retired, memory_order_relaxed) + 1;

	/* pairs with the acquire load in grace_run() */
	atomic_store_explicit(&g->retired, n, memory_order_release);
	return n;
}

uint64_t
grace_completed(const struct grace *g)
{
	/* pairs with the release store in grace_run() */
	return atomic_load_explicit(&g->completed, memory_order_acquire);
}

void
grace_kick(struct grace *g)
{
	/* the store to `retired` before the load of `sleeping`: pairs with the fence in nap() */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&g->sleeping, memory_order_relaxed) &&
			atomic_exchange_explicit(&g->sleeping, false, memory_order_acq_rel))
		sem_post(&g->wake);
}

/* --- the reclaimer's side -------------------------------------------------------------------- */

bool
grace_wanted(const struct grace *g)
{
	return atomic_load_explicit(&g->retired, memory_order_acquire) !=
			atomic_load_explicit(&g->completed, memory_order_relaxed);
}

void
grace_run(struct grace *g)
{
	/* pairs with the release store in grace_retire(): what is counted here is unlinked */
	uint64_t n = atomic_load_explicit(&g->retired, memory_order_acquire);

	urcu_qsbr_synchronize_rcu();
	mqt_tsan_acquire(&tsan_section);
	/* pairs with the acquire load in grace_completed() */
	atomic_store_explicit(&g->completed, n, memory_order_release);
}

/* Sleeps until kicked, unless there is something to do already. */
static void
nap(struct grace *g)
{
	atomic_store_explicit(&g->sleeping, true, memory_order_relaxed);
	/* the store to `sleeping` before the loads: pairs with the fence in grace_kick() */
	atomic_thread_fence(memory_order_seq_cst);
	if (grace_wanted(g) || atomic_load_explicit(&g->stop, memory_order_relaxed)) {
		if (atomic_exchange_explicit(&g->sleeping, false, memory_order_acq_rel))
			return;
		/* somebody else took it back, so a post is on its way */
	}
	while (sem_wait(&g->wake) != 0 && errno == EINTR)
		;
}

static void *
reclaimer(void *arg)
{
	static const struct timespec pause = { .tv_nsec = GRACE_PAUSE_NS };
	struct grace *g = arg;

	while (!atomic_load_explicit(&g->stop, memory_order_relaxed)) {
		if (!grace_wanted(g)) {
			nap(g);
			continue;
		}
		grace_run(g);
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	}
	return NULL;
}

int
grace_start(struct grace *g)
{
	int rc;

	if (g->started)
		return -EALREADY;
	atomic_store_explicit(&g->stop, false, memory_order_relaxed);
	rc = pthread_create(&g->thread, NULL, reclaimer, g);
	if (rc != 0)
		return -rc;
	pthread_setname_np(g->thread, "mqt-reclaimer");
	g->started = true;
	return 0;
}

void
grace_stop(struct grace *g)
{
	if (!g->started)
		return;
	atomic_store_explicit(&g->stop, true, memory_order_relaxed);
	grace_kick(g);
	pthread_join(g->thread, NULL);
	g->started = false;
}
