/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_FRAGMENT_RIG_H
#define TESTS_UNIT_FRAGMENT_RIG_H

/*
 * What tests of fragments share: workers that put them together, between a begin() and an end(), and
 * the frames they are cut from.
 */

#include "frame_rig.h"
#include "worker_rig.h"

/* @param limit fragments that each worker keeps; 0: they pass. */
static inline void
begin(unsigned limit)
{
	config.limits.fragments = limit;
	setup();
}

static inline void
end(void)
{
	teardown();
	config.limits.fragments = 0;
}

static inline struct frame_spec
spec(bool ip6, uint16_t dport)
{
	return (struct frame_spec){ .ip6 = ip6,
		.src = 1,
		.dst = 2,
		.sport = 40000,
		.dport = dport,
		.seq = 1000,
		.payload_len = 700 };
}

static inline void
feed_frame(unsigned queue, const struct frame *f)
{
	feed(0, queue, f->data, f->len);
}

#endif
