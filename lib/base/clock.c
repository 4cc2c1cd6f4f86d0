/* SPDX-License-Identifier: BSD-3-Clause */
/* The machine's clock. Stateless, any thread. Source: clock_gettime(2), both clocks in the vDSO. */
#include "mqtrack/clock.h"

#include <stddef.h>
#include <time.h>

static uint64_t
read_ns(clockid_t which)
{
	struct timespec ts;

	/* cannot fail: both clocks are in every Linux and ts is valid */
	clock_gettime(which, &ts);
	return (uint64_t)ts.tv_sec * MQT_NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static uint64_t
system_mono_ns(void *arg)
{
	uint64_t now = read_ns(CLOCK_MONOTONIC);

	return now ? now : 1; /* 0 stands for "never" in stamps */
}

static uint64_t
system_wall_ns(void *arg)
{
	return read_ns(CLOCK_REALTIME);
}

static const struct mqt_clock system_clock = {
	.mono_ns = system_mono_ns,
	.wall_ns = system_wall_ns,
	.arg = NULL,
};

const struct mqt_clock *
mqt_clock_system(void)
{
	return &system_clock;
}
