/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_private.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_common.h>
#include <rte_prefetch.h>

/*
 * Client-id locks: what happens to one client id happens in order, one newcomer or one command at
 * a time, and what happens to another client id meanwhile is not held up by it.
 *
 * A lock exists while somebody holds it or waits for it. It is not waited for by anything that
 * blocks: the holder is a state machine, and whoever else comes is remembered in the lock:
 *
 *	commands  all of them, in the order of arrival; they are served before the waiter
 *	waiter    the newest newcomer only (I2): an older one is refused when the newer arrives
 *
 * States, and what moves a lock on (cm_lock_run() until nothing moves any more):
 *
 *	IDLE      -> COMMAND   a command waits: cm_command_begin()
 *	          -> STEPPING, ROOM, GRANTING or IDLE again
 *	                       a newcomer waits: cm_open_begin()
 *	          -> gone      nobody waits
 *	COMMAND   -> IDLE      all stepdowns are answered, or their channels killed
 *	STEPPING  -> GRANTING  the same, and the newcomer is registered: cm_open_stepped()
 *	          -> IDLE      it died, or a newer one waits
 *	          -> ROOM      the maps have no row for it yet
 *	ROOM      -> as IDLE   there may be one now, or a newer one waits, or it is over
 *	GRANTING  -> IDLE      GRANTED or RETURN has come, or the newcomer was killed
 *
 * Every state but IDLE ends by a limit of its own when nobody answers, so no client id is ever
 * locked for good.
 *
 * Locks are not served where a message touches them, but at the end of the turn, when all messages
 * of all rings have been applied (R2): several newcomers that arrive in one turn have then met in
 * the lock, and the newest of them is served, without the others ever having been registered.
 *
 * Rows of channels that stepped down stay registered, disconnected, until the newcomer is
 * registered behind them, so readers never see no channel at all (R9); `stepped` says that the
 * lock has such rows to remove.
 *
 * The table is intrusive, chained, and never grows or moves: nothing here takes longer because
 * there are many. Synchronisation: none, control lcore only.
 */

static struct cm_lock **
bucket_of(const struct cm_locks *locks, const struct mqt_digest *digest)
{
	/* the digest is a keyed hash: any bits of it will do */
	return &locks->buckets[digest->word[1] & locks->mask];
}

int
cm_locks_init(struct cm_locks *locks, uint32_t n_buckets)
{
	*locks = (struct cm_locks){ .mask = n_buckets - 1 };
	cm_pool_init(&locks->pool, sizeof(struct cm_lock));
	locks->buckets = calloc(n_buckets, sizeof(struct cm_lock *));
	return locks->buckets ? 0 : -ENOMEM;
}

void
cm_locks_fini(struct cm_locks *locks)
{
	free(locks->buckets);
	cm_pool_fini(&locks->pool);
}

void
cm_lock_ahead(const struct cm_locks *locks, const struct mqt_digest *digest)
{
	rte_prefetch0(bucket_of(locks, digest));
}

struct cm_lock *
cm_lock_find(struct mqt_cm *cm, const struct mqt_digest *digest)
{
	struct cm_lock *lock = *bucket_of(&cm->locks, digest);

	while (lock && !mqt_digest_equal(&lock->digest, digest))
		lock = lock->next;
	return lock;
}

struct cm_lock *
cm_lock_get(struct mqt_cm *cm, const struct mqt_digest *digest)
{
	struct cm_lock **bucket = bucket_of(&cm->locks, digest);
	struct cm_lock *lock = cm_lock_find(cm, digest);

	if (lock)
		return lock;
	lock = cm_pool_get(&cm->locks.pool);
	if (!lock)
		return NULL;
	lock->digest = *digest;
	lock->next = *bucket;
	*bucket = lock;
	cm->locks.n++;
	return lock;
}

static void
lock_free(struct mqt_cm *cm, struct cm_lock *lock)
{
	struct cm_lock **link = bucket_of(&cm->locks, &lock->digest);

	while (*link != lock)
		link = &(*link)->next;
	*link = lock->next;
	if (lock->queued)
		TAILQ_REMOVE(&cm->runnable, lock, by_run);
	cm->locks.n--;
	cm_pool_put(&cm->locks.pool, lock);
}

void
cm_lock_queue(struct mqt_cm *cm, struct cm_lock *lock)
{
	if (lock->queued)
		return;
	lock->queued = true;
	TAILQ_INSERT_TAIL(&cm->runnable, lock, by_run);
}

void
cm_lock_retire(struct mqt_cm *cm, struct cm_lock *lock)
{
	struct mqt_chan *row = mqt_maps_head(cm->maps, &lock->digest);

	while (row) {
		struct mqt_chan *next = cm_row_next(row);

		if (cm_row_state(row) == MQT_CHAN_DISCONNECTED) {
			cm_chan_remove(cm, row);
			cm->n_reopened++;
		}
		row = next;
	}
	lock->stepped = false;
}

/* Chooses whom to serve next. Returns false where the lock is gone. */
static bool
serve_next(struct mqt_cm *cm, struct cm_lock *lock) MQT_REQUIRES(mqt_role_control)
{
	if (lock->cmd_head) {
		cm_command_begin(cm, lock);
		return true;
	}
	if (lock->waiter) {
		lock->cur = lock->waiter;
		lock->waiter = NULL;
		cm_open_begin(cm, lock);
		return true;
	}
	if (lock->stepped)
		cm_lock_retire(cm, lock);
	lock_free(cm, lock);
	return false;
}

void
cm_lock_run(struct mqt_cm *cm, struct cm_lock *lock)
{
	for (;;) {
		if (lock->n_asks > 0)
			return;
		switch ((enum cm_lock_state)lock->state) {
		case CM_LOCK_IDLE:
			if (!serve_next(cm, lock))
				return;
			break;
		case CM_LOCK_COMMAND:
			cm_command_end(cm, lock);
			break;
		case CM_LOCK_STEPPING:
			cm_open_stepped(cm, lock);
			break;
		case CM_LOCK_ROOM:
			if (!cm_open_room(cm, lock))
				return;
			break;
		case CM_LOCK_GRANTING:
			return;
		}
	}
}
