/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sleeping until woken, without a system call of those who find nobody asleep.
 *
 * Protocol:
 *
 *	the owner                            whoever has something for it
 *	asleep = 1                           posts it (a ring, a queue)
 *	fence                                fence
 *	looks: is there anything posted?     looks: asleep?
 *	no: waits for fd or the time         yes, and takes it back: writes to fd
 *	asleep = 0
 *
 * Each writes one word and then reads the other's. Without the two fences both writes may still be
 * in a store buffer when both read: the owner finds nothing, the other finds nobody asleep, and
 * what was posted lies there until the time is over. With them at least one of the two sees the
 * other's word (the model is tests/model/waker.pml).
 *
 * Of several that see the announcement one takes it back, and only that one makes the system call.
 * The owner may see its time over, or find work, while that one is still about to write: the
 * eventfd is then readable in its next sleep, which ends at once. So a sleep may be too short, never
 * too long; who sleeps looks around and sleeps again.
 *
 * The timer slack of a sleeping thread is set once: else each sleep is 50 us longer than asked.
 *
 * Life-cycle: made and destroyed by the one who makes and destroys the owner.
 * Synchronisation: as told above; fd is immutable.
 * Sources: eventfd(2), ppoll(2), prctl(2) PR_SET_TIMERSLACK; C17 7.17.4 (fences).
 */
#include "mqtrack/idle.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define CACHE_LINE 64

static _Thread_local bool slack_is_set;

struct mqt_waker *
mqt_waker_create(void)
{
	/* a line of its own: whoever posts reads it, and it changes only around sleeps */
	struct mqt_waker *waker = aligned_alloc(CACHE_LINE, CACHE_LINE);
	int err;

	static_assert(sizeof(*waker) <= CACHE_LINE, "one line");
	if (!waker)
		return NULL;
	atomic_init(&waker->asleep, 0);
	waker->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (waker->fd >= 0)
		return waker;
	err = errno;
	free(waker);
	errno = err;
	return NULL;
}

void
mqt_waker_destroy(struct mqt_waker *waker)
{
	if (!waker)
		return;
	close(waker->fd);
	free(waker);
}

static void
wait_fd(const struct mqt_waker *waker, uint32_t us)
{
	struct timespec ts = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000L };
	struct pollfd pfd = { .fd = waker->fd, .events = POLLIN };
	uint64_t n;

	if (!slack_is_set) {
		prctl(PR_SET_TIMERSLACK, 1);
		slack_is_set = true;
	}
	/* a signal may cut it short: the caller looks around anyway. Empty: nobody wrote after all */
	if (ppoll(&pfd, 1, &ts, NULL) == 1 && read(waker->fd, &n, sizeof(n)) < 0)
		return;
}

bool
mqt_waker_sleep(struct mqt_waker *waker, uint32_t us, mqt_waker_fn *has_work, void *arg)
{
	bool idle;

	atomic_store_explicit(&waker->asleep, 1, memory_order_relaxed);
	/* the store to `asleep` before the look: pairs with the fence in mqt_waker_wake() */
	atomic_thread_fence(memory_order_seq_cst);
	idle = !has_work(arg);
	if (idle)
		wait_fd(waker, us);
	atomic_store_explicit(&waker->asleep, 0, memory_order_relaxed);
	return idle;
}

void
mqt_waker_ring(struct mqt_waker *waker)
{
	int saved = errno; /* it may be called by a signal handler */
	uint64_t one = 1;

	/* relaxed: what was posted is ordered by what it was posted with */
	if (atomic_exchange_explicit(&waker->asleep, 0, memory_order_relaxed) == 0)
		return;
	/* fails only where the counter is full: then it is readable */
	if (write(waker->fd, &one, sizeof(one)) < 0)
		errno = saved;
}
