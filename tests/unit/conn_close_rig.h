/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_CONN_CLOSE_RIG_H
#define TESTS_UNIT_CONN_CLOSE_RIG_H

/*
 * What tests of flows that the tracker closes share.
 */

#include "conn_rig.h"

#define FIN_PSH_ACK (MQT_TCP_FIN | MQT_TCP_PSH | MQT_TCP_ACK)

static const enum mqt_stepdown actions[] = { MQT_STEPDOWN_KICK, MQT_STEPDOWN_DISCARD };

static inline void
step_down(struct flow *f, enum mqt_stepdown action)
{
	tell(f, MQT_MSG_STEPDOWN, action);
	drop_messages();
}

/* @return ms until something leaves, a second at most. */
static inline uint32_t
until_sent(void)
{
	uint64_t begin = w.now;

	while (w.n_out == 0 && w.now - begin < SEC)
		advance(10 * MS);
	return (uint32_t)((w.now - begin) / MS);
}

#endif
