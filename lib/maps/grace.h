/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MAPS_GRACE_H
#define MAPS_GRACE_H

#include "mqtrack/annot.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Grace periods by counting: the writer numbers what it retires 1, 2, 3, ...; the reclaimer says
 * up to which number a grace period has ended. Private to lib/maps.
 */
struct grace {
	/* W: control, released after the retired thing is unlinked; R: reclaimer, acquire */
	alignas(64) _Atomic uint64_t retired;
	/* W: reclaimer, released after the grace period; R: control, acquire */
	alignas(64) _Atomic uint64_t completed;
	_Atomic bool sleeping; /* W: reclaimer true, whoever wakes it false */
	_Atomic bool stop;     /* W: reclaimer_stop; R: reclaimer */
	/* starter only */
	bool started;
	pthread_t thread;
	sem_t wake; /* posted once for each sleeping true -> false */
};

/** Zeroes it. @return 0 or negative errno. */
int grace_init(struct grace *g);

/** The reclaimer has been stopped. */
void grace_fini(struct grace *g);

/** Says that one more thing has been unlinked. @return its number. */
uint64_t grace_retire(struct grace *g) MQT_REQUIRES(mqt_role_control);

/** Number up to which things may be freed. */
uint64_t grace_completed(const struct grace *g) MQT_REQUIRES(mqt_role_control);

/** Wakes the reclaimer if it sleeps although something waits. Does not block. */
void grace_kick(struct grace *g);

/** Whether something waits for a grace period. */
bool grace_wanted(const struct grace *g);

/** Runs one. Context: one thread at a time; blocks. */
void grace_run(struct grace *g);

/** @return 0 or negative errno; -EALREADY. */
int grace_start(struct grace *g);
void grace_stop(struct grace *g);

#endif
