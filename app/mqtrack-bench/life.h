/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LIFE_H
#define LIFE_H

#include "packets.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * One connection from its SYN to its last acknowledgement, as packets: each step is one segment of
 * the client or its broker. MQTT 3.1.1, a client id of 12 bytes, a PUBLISH of QoS 1.
 */

enum life_step {
	LIFE_SYN,
	LIFE_SYNACK,
	LIFE_ACK,
	LIFE_CONNECT,
	LIFE_CONNACK,
	LIFE_WAIT, /* no packet: CONNACK is on its way */
	LIFE_PUBLISH,
	LIFE_PUBACK,
	LIFE_DISCONNECT,
	LIFE_FIN,
	LIFE_FINACK,
	LIFE_LAST_ACK,
	LIFE_N_STEPS,
};

#define LIFE_PACKETS  (LIFE_N_STEPS - 1)
#define LIFE_MAX_DATA 192 /* bytes of a packet of these */

struct life {
	struct bench_flow flow;
	uint32_t client;      /* names the client id */
	uint8_t step;         /* enum life_step, the next one */
	bool clean;           /* clean session */
	bool session_present; /* what CONNACK will say */
};

/** Begins one: @p client on flow @p flow (bench_flow_of()). */
void life_begin(struct life *l, uint32_t flow, uint32_t client, bool clean, bool session_present);

/** Whether the step that comes next is the client's. */
bool life_is_clients(const struct life *l);

/** Writes the packet of the next step into an empty mbuf, which is not LIFE_WAIT; moves on. */
void life_write(struct life *l, struct rte_mbuf *m);

#endif
