/* SPDX-License-Identifier: BSD-3-Clause */
#include "life.h"

#include "mqtrack/mqtt.h"

#include <string.h>

#define DATA      (MQT_TCP_ACK | MQT_TCP_PSH)
#define TOPIC     "devices/status"
#define PAYLOAD   "{\"t\":21.5,\"h\":40}"
#define ID_DIGITS 8
#define KEEPALIVE 60
#define PACKET_ID 1

void
life_begin(struct life *l, uint32_t flow, uint32_t client, bool clean, bool session_present)
{
	*l = (struct life){
		.flow = bench_flow_of(flow),
		.client = client,
		.clean = clean,
		.session_present = session_present,
	};
}

bool
life_is_clients(const struct life *l)
{
	return l->step != LIFE_SYNACK && l->step != LIFE_CONNACK && l->step != LIFE_PUBACK &&
			l->step != LIFE_FINACK;
}

static uint16_t
connect_packet(const struct life *l, uint8_t *buf)
{
	uint8_t id[4 + ID_DIGITS] = "dev-";
	uint32_t n = l->client;
	struct mqt_mqtt_connect c = {
		.version = 4,
		.clean_start = l->clean,
		.keepalive_sec = KEEPALIVE,
		.clientid = { id, sizeof(id) },
	};

	for (unsigned i = sizeof(id); i-- > 4; n /= 10)
		id[i] = (uint8_t)('0' + n % 10);
	return (uint16_t)mqt_mqtt_connect_encode(buf, LIFE_MAX_DATA, &c);
}

/* The MQTT of a step. @return its length. */
static uint16_t
payload_of(const struct life *l, uint8_t *buf)
{
	struct mqt_mqtt_connack ack = { .session_present = l->session_present };

	switch (l->step) {
	case LIFE_CONNECT:
		return connect_packet(l, buf);
	case LIFE_CONNACK:
		return (uint16_t)mqt_mqtt_connack_encode(buf, LIFE_MAX_DATA, 4, &ack);
	case LIFE_PUBLISH:
		return (uint16_t)mqt_mqtt_publish_encode(buf, LIFE_MAX_DATA, 4, 1, PACKET_ID,
				(struct mqt_bytes){ (const uint8_t *)TOPIC, sizeof(TOPIC) - 1 },
				(struct mqt_bytes){
						(const uint8_t *)PAYLOAD, sizeof(PAYLOAD) - 1 });
	case LIFE_PUBACK:
		memcpy(buf, (const uint8_t[]){ MQT_MQTT_PUBACK << 4, 2, 0, PACKET_ID }, 4);
		return 4;
	case LIFE_DISCONNECT:
		return (uint16_t)mqt_mqtt_empty_encode(buf, LIFE_MAX_DATA, MQT_MQTT_DISCONNECT);
	default:
		return 0;
	}
}

void
life_write(struct life *l, struct rte_mbuf *m)
{
	static const uint8_t flags[LIFE_N_STEPS] = {
		[LIFE_SYN] = MQT_TCP_SYN,
		[LIFE_SYNACK] = MQT_TCP_SYN | MQT_TCP_ACK,
		[LIFE_ACK] = MQT_TCP_ACK,
		[LIFE_CONNECT] = DATA,
		[LIFE_CONNACK] = DATA,
		[LIFE_PUBLISH] = DATA,
		[LIFE_PUBACK] = DATA,
		[LIFE_DISCONNECT] = DATA,
		[LIFE_FIN] = MQT_TCP_FIN | MQT_TCP_ACK,
		[LIFE_FINACK] = MQT_TCP_FIN | MQT_TCP_ACK,
		[LIFE_LAST_ACK] = MQT_TCP_ACK,
	};
	uint8_t buf[LIFE_MAX_DATA];
	uint16_t len = payload_of(l, buf);

	bench_write(m, &l->flow, life_is_clients(l), flags[l->step], buf, len);
	l->step++;
}
