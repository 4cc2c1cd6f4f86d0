/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MQT_MAILBOX_H
#define MQT_MAILBOX_H

#include "mqtrack/annot.h"
#include "mqtrack/idle.h"
#include "mqtrack/msg.h"

#include <stdint.h>

/**
 * @file
 * One worker's mailbox: an SPSC rte_ring each way. A message that does not fit waits in the
 * sender's outbox, and while that is not empty all later ones queue behind it (rule R6): posting
 * never fails, never waits, never reorders.
 *
 * A receiver that sleeps is woken by mqt_mailbox_wake_*(), once for all that its sender has posted.
 */

struct mqt_mailbox;

/**
 * @param ring_size messages a ring holds, a power of two.
 * @return NULL with errno set. Ownership: mqt_mailbox_destroy(), after both lcores have stopped.
 */
struct mqt_mailbox *mqt_mailbox_create(unsigned ring_size);

/** Accepts NULL. Messages inside are dropped with what they own left alone. */
void mqt_mailbox_destroy(struct mqt_mailbox *mb);

/**
 * Says who receives what is posted to the worker, or to the control lcore, so that it is woken.
 * @param waker outlives the mailbox's last use; NULL, as at first: the receiver never sleeps.
 * Context: before the lcores start.
 */
void mqt_mailbox_set_worker(struct mqt_mailbox *mb, struct mqt_waker *waker);
void mqt_mailbox_set_control(struct mqt_mailbox *mb, struct mqt_waker *waker);

/**
 * Wakes the worker, or the control lcore, where it sleeps and something has gone into its ring since
 * the last call. Context: the sender, at the end of a turn at the latest; does not block.
 */
void mqt_mailbox_wake_worker(struct mqt_mailbox *mb) MQT_REQUIRES(mqt_role_control);
void mqt_mailbox_wake_control(struct mqt_mailbox *mb) MQT_REQUIRES(mqt_role_worker);

/** Posts to the control lcore. @param msg copied. Context: the worker; does not block. */
void mqt_mailbox_post_control(struct mqt_mailbox *mb, const struct mqt_msg *msg)
		MQT_REQUIRES(mqt_role_worker);

/** Posts to the worker. @param msg copied. Context: the control lcore; does not block. */
void mqt_mailbox_post_worker(struct mqt_mailbox *mb, const struct mqt_msg *msg)
		MQT_REQUIRES(mqt_role_control);

/**
 * As mqt_mailbox_post_worker(), but the worker may see it only after the next call that wakes it or
 * posts to it, in order: mqt_mailbox_wake_worker() at the end of each turn at the latest. Bursts are
 * much cheaper for both. Context: the control lcore; does not block.
 */
void mqt_mailbox_queue_worker(struct mqt_mailbox *mb, const struct mqt_msg *msg)
		MQT_REQUIRES(mqt_role_control);

/** Takes up to @p n messages for the worker, first moving its own outbox on. @return how many. */
unsigned mqt_mailbox_poll_worker(struct mqt_mailbox *mb, struct mqt_msg *msgs, unsigned n)
		MQT_REQUIRES(mqt_role_worker);

/** Takes up to @p n messages for the control lcore, first moving its own outbox on. */
unsigned mqt_mailbox_poll_control(struct mqt_mailbox *mb, struct mqt_msg *msgs, unsigned n)
		MQT_REQUIRES(mqt_role_control);

/** Messages waiting in the ring for the control lcore: the snapshot of rule R2. */
unsigned mqt_mailbox_pending_control(const struct mqt_mailbox *mb) MQT_REQUIRES(mqt_role_control);

/** Messages waiting in the ring for the worker. */
unsigned mqt_mailbox_pending_worker(const struct mqt_mailbox *mb) MQT_REQUIRES(mqt_role_worker);

/** Messages in the worker's outbox (a gauge). */
unsigned mqt_mailbox_outbox_worker(const struct mqt_mailbox *mb) MQT_REQUIRES(mqt_role_worker);

/** Messages in the control lcore's outbox (a gauge). */
unsigned mqt_mailbox_outbox_control(const struct mqt_mailbox *mb) MQT_REQUIRES(mqt_role_control);

#endif
