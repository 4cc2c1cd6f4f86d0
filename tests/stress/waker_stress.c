/* SPDX-License-Identifier: BSD-3-Clause */
#include "mqtrack/clock.h"
#include "mqtrack/idle.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * waker_stress MESSAGES
 *
 * One thread that takes and sleeps, others that post and wake, first one, then several. Whoever
 * posts does so right after its last message was taken, that is while the other one is on its way to
 * sleep: a little before the announcement, between it and the look, or behind both, by chance. All
 * sleep would be for ever but for the limit: one that ends by it with something posted has not been
 * woken for it.
 *
 * What a message is, is a number that is not atomic: ThreadSanitizer sees that whoever takes it also
 * sees what was written before it was posted.
 *
 * Exit status 0: every message was taken, and none waited for the limit.
 */

#define MAX_POSTERS 3
#define LIMIT_US    60000000u
/* turns of nothing: the poster has to see first that its message was taken */
#define POSTER_WAIT 64
#define TAKER_WAIT  512

struct box {
	alignas(64) _Atomic uint64_t posted; /* W: poster, release; R: taker, acquire */
	alignas(64) _Atomic uint64_t taken;  /* W: taker, release; R: poster, acquire */
	alignas(64) uint64_t message;        /* whose turn it is by the other two */
};

static struct mqt_waker *waker;
static struct box boxes[MAX_POSTERS];
static unsigned n_posters;
static uint64_t n_messages; /* of each */
static uint64_t n_taken, n_lost, n_wrong, n_sleeps;

static void
some_time(uint64_t *random, unsigned most)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	for (volatile unsigned i = (*random >> 33) % most; i > 0; i--)
		;
}

static void *
poster(void *arg)
{
	struct box *box = arg;
	uint64_t random = (uint64_t)(box - boxes) + 1;

	for (uint64_t n = 1; n <= n_messages; n++) {
		unsigned spins = 0;

		while (atomic_load_explicit(&box->taken, memory_order_acquire) != n - 1)
			if (++spins % 1024 == 0)
				sched_yield();
		some_time(&random, POSTER_WAIT);
		box->message = n * 3;
		atomic_store_explicit(&box->posted, n, memory_order_release);
		mqt_waker_wake(waker);
	}
	return NULL;
}

static bool
is_posted(const struct box *box)
{
	return atomic_load_explicit(&box->posted, memory_order_acquire) !=
			atomic_load_explicit(&box->taken, memory_order_relaxed);
}

static bool
has_work(void *arg)
{
	for (unsigned i = 0; i < n_posters; i++)
		if (is_posted(&boxes[i]))
			return true;
	return false;
}

static unsigned
take_all(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_posters; i++) {
		struct box *box = &boxes[i];
		uint64_t posted = atomic_load_explicit(&box->posted, memory_order_acquire);

		if (posted == atomic_load_explicit(&box->taken, memory_order_relaxed))
			continue;
		if (box->message != posted * 3)
			n_wrong++;
		atomic_store_explicit(&box->taken, posted, memory_order_release);
		n++;
	}
	return n;
}

static void *
taker(void *arg)
{
	const struct mqt_clock *clock = mqt_clock_system();
	uint64_t random = 99;

	while (n_taken < n_posters * n_messages && n_lost == 0) {
		unsigned n = take_all();
		uint64_t begin_ns;

		n_taken += n;
		some_time(&random, TAKER_WAIT);
		if (n > 0 && n_taken % 2)
			continue; /* looks once more, as a turn does */
		if (n_taken == n_posters * n_messages)
			break;
		begin_ns = mqt_clock_mono(clock);
		if (!mqt_waker_sleep(waker, LIMIT_US, has_work, NULL))
			continue;
		n_sleeps++;
		if (mqt_clock_mono(clock) - begin_ns >= LIMIT_US * 1000ull && has_work(NULL))
			n_lost++;
	}
	/* those who wait go on, whatever was lost */
	while (n_taken < n_posters * n_messages)
		n_taken += take_all();
	return NULL;
}

/* The taker has a processor of its own where there are two: else the scheduler brings both to one. */
static void
pin(pthread_t thread, bool is_taker)
{
	cpu_set_t allowed, mine;
	int first;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0 || CPU_COUNT(&allowed) < 2)
		return;
	for (first = 0; !CPU_ISSET(first, &allowed); first++)
		;
	CPU_ZERO(&mine);
	if (is_taker) {
		CPU_SET(first, &mine);
	} else {
		mine = allowed;
		CPU_CLR(first, &mine);
	}
	pthread_setaffinity_np(thread, sizeof(mine), &mine);
}

static int
run(unsigned posters)
{
	pthread_t threads[1 + MAX_POSTERS];
	int err;

	n_posters = posters;
	n_taken = n_lost = n_wrong = n_sleeps = 0;
	for (unsigned i = 0; i < posters; i++) {
		atomic_init(&boxes[i].posted, 0);
		atomic_init(&boxes[i].taken, 0);
	}
	err = pthread_create(&threads[0], NULL, taker, NULL);
	for (unsigned i = 0; i < posters && err == 0; i++)
		err = pthread_create(&threads[1 + i], NULL, poster, &boxes[i]);
	if (err != 0) {
		fprintf(stderr, "no thread\n");
		exit(2);
	}
	for (unsigned i = 0; i <= posters; i++)
		pin(threads[i], i == 0);
	for (unsigned i = 0; i <= posters; i++)
		pthread_join(threads[i], NULL);
	printf("%u posters: %" PRIu64 " messages, %" PRIu64 " sleeps, lost %" PRIu64
	       ", wrong %" PRIu64 "\n",
			posters, n_taken, n_sleeps, n_lost, n_wrong);
	return n_lost || n_wrong || n_sleeps == 0;
}

int
main(int argc, char **argv)
{
	int failed = 0;

	n_messages = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
	waker = mqt_waker_create();
	if (n_messages == 0 || !waker) {
		fprintf(stderr, "usage: waker_stress MESSAGES\n");
		return 2;
	}
	for (unsigned posters = 1; posters <= MAX_POSTERS; posters++)
		failed |= run(posters);
	mqt_waker_destroy(waker);
	return failed;
}
