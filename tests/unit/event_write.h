/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_EVENT_WRITE_H
#define TESTS_UNIT_EVENT_WRITE_H

#include "mqtrack/event.h"

/* Appends a whole event, and shows it to readers; sets ev->seq. */
static inline MQT_REQUIRES(mqt_role_control) void event_write(
		struct mqt_event_ring *ring, struct mqt_event *ev)
{
	struct mqt_event *next = mqt_event_ring_next(ring);

	ev->seq = next->seq;
	*next = *ev;
	mqt_event_ring_publish(ring);
}

#endif
