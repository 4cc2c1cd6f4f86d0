/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Clients and brokers of the simulation. A broker of the simulation is what a real one is to the
 * tracker: it keeps client ids unique for itself alone, and closes an older connection before it
 * answers the newer one, or later, or, where faults are on, never.
 */

#include "mqtrack/mqtt.h"
#include "sim.h"

#include <string.h>

const char *const sim_clientids[SIM_CLIENTIDS] = { "dev", "Dev", "dev1", "d", "" };

void
sim_app_start(struct sim_world *w, struct sim_flow *f)
{
	sim_app_start_as(w, f, sim_below(&w->rng, w->crowded ? 2 : SIM_CLIENTIDS));
}

void
sim_app_start_as(struct sim_world *w, struct sim_flow *f, unsigned clientid)
{
	static const uint8_t versions[] = { 3, 4, 5 };
	struct mqt_mqtt_connect c = { 0 };
	uint8_t buf[128];
	size_t len;

	f->version = versions[sim_below(&w->rng, 3)];
	f->clientid = clientid;
	f->clean = sim_percent(&w->rng, w->crowded ? 10 : 40);
	if (sim_clientids[f->clientid][0] == '\0') {
		/* only 3.1.1 and 5.0 know empty ids; 3.1.1 with clean session only */
		f->version = f->version == 3 ? 4 : f->version;
		f->clean = true;
	}
	f->anonymous = sim_clientids[f->clientid][0] == '\0';
	f->fresh = f->stale = false;
	f->released = f->tracked = f->ended = f->silent = false;
	f->compare = f->owes = false;
	f->chan = MQT_CHAN_NONE;
	f->keepalive = (uint16_t)(sim_percent(&w->rng, 30) ? 0 : 60 + sim_below(&w->rng, 60));
	f->cut[SIM_CLIENT] = f->cut[SIM_BROKER] = false;
	snprintf(f->username, sizeof(f->username), "u%u", (unsigned)w->stats.connects);

	c.version = f->version;
	c.clean_start = f->clean;
	c.has_expiry = f->version == 5 && sim_percent(&w->rng, 85);
	c.expiry_sec = c.has_expiry ? 3600 : 0;
	c.keepalive_sec = f->keepalive;
	c.has_username = true;
	c.username.ptr = (const uint8_t *)f->username;
	c.username.len = (uint32_t)strlen(f->username);
	c.clientid.ptr = (const uint8_t *)sim_clientids[f->clientid];
	c.clientid.len = (uint32_t)strlen(sim_clientids[f->clientid]);
	sim_peer_connect(w, f);
	sim_transport_begin(f);
	len = mqt_mqtt_connect_encode(buf, sizeof(buf), &c);
	sim_say(&f->peer[SIM_CLIENT], buf, len);
	if (sim_percent(&w->rng, 30)) { /* pipelined behind CONNECT */
		len = mqt_mqtt_empty_encode(buf, sizeof(buf), MQT_MQTT_PINGREQ);
		sim_say(&f->peer[SIM_CLIENT], buf, len);
	}
	w->stats.connects++;
}

static void
write_disconnect(struct sim_peer *p, uint8_t version, uint8_t code)
{
	uint8_t buf[8];

	sim_say(p, buf, mqt_mqtt_disconnect_encode(buf, sizeof(buf), version, code));
}

static void
write_publish(struct sim_world *w, struct sim_peer *p, uint8_t version)
{
	uint8_t buf[64], payload[40] = "simulated";
	struct mqt_bytes topic = { (const uint8_t *)"t", 1 };
	struct mqt_bytes body = { payload, 1 + sim_below(&w->rng, sizeof(payload)) };

	sim_say(p, buf, mqt_mqtt_publish_encode(buf, sizeof(buf), version, 0, 0, topic, body));
}

static void
write_empty(struct sim_peer *p, enum mqt_mqtt_type type)
{
	uint8_t buf[2];

	sim_say(p, buf, mqt_mqtt_empty_encode(buf, sizeof(buf), type));
}

/* --- broker -------------------------------------------------------------------------------------- */

static void
broker_read_connect(struct sim_peer *p)
{
	struct mqt_mqtt_connect c;

	if (mqt_mqtt_connect_parse(p->app, p->app_len, &c, NULL) != MQT_PARSE_OK)
		return;
	p->hello = true;
	p->parsed = c.packet_len;
	p->version = c.version;
	p->clean = c.clean_start;
	p->survives = c.version == 5 ? c.expiry_sec > 0 : !c.clean_start;
	p->clientid_len = (uint8_t)c.clientid.len;
	memcpy(p->clientid, c.clientid.ptr, c.clientid.len);
}

/* The broker's session of a connection. */
static struct sim_session *
session_of(struct sim_world *w, const struct sim_flow *f)
{
	const struct sim_peer *p = &f->peer[SIM_BROKER];
	unsigned id = 0;

	while (id < SIM_CLIENTIDS - 1 &&
			(strlen(sim_clientids[id]) != p->clientid_len ||
					memcmp(sim_clientids[id], p->clientid, p->clientid_len) !=
							0))
		id++;
	return &w->session[f->domain][f->broker][id];
}

/* SUBSCRIBE and UNSUBSCRIBE carry one filter of one letter. */
static void
broker_subscription(struct sim_world *w, struct sim_flow *f, const struct mqt_mqtt_header *h,
		const uint8_t *body)
{
	struct sim_peer *p = &f->peer[SIM_BROKER];
	bool sub = h->type == MQT_MQTT_SUBSCRIBE;
	uint8_t bit = (uint8_t)(1u << ((body[p->version == 5 ? 5 : 4] - 'a') % SIM_TOPICS));
	uint8_t ack[] = { (uint8_t)((sub ? MQT_MQTT_SUBACK : MQT_MQTT_UNSUBACK) << 4), 0, body[0],
		body[1], 0, 0 };
	unsigned len = 4;

	if (p->version == 5)
		ack[len++] = 0; /* no properties */
	if (sub || p->version == 5)
		ack[len++] = sub ? 1 : 0;
	ack[1] = (uint8_t)(len - 2);
	if (p->ousted)
		return;
	if (sub)
		session_of(w, f)->topics |= bit;
	else
		session_of(w, f)->topics &= (uint8_t)~bit;
	session_of(w, f)->unseen++;
	sim_say(p, ack, len);
}

static void
broker_packet(struct sim_world *w, struct sim_flow *f, const struct mqt_mqtt_header *h,
		const uint8_t *body)
{
	struct sim_peer *p = &f->peer[SIM_BROKER];

	switch (h->type) {
	case MQT_MQTT_PINGREQ:
		if (p->answered)
			write_empty(p, MQT_MQTT_PINGRESP);
		break;
	case MQT_MQTT_SUBSCRIBE:
	case MQT_MQTT_UNSUBSCRIBE:
		broker_subscription(w, f, h, body);
		break;
	case MQT_MQTT_PUBLISH:
		if (h->flags & 2) /* QoS 1 on topic "t" */
			sim_say(p, (uint8_t[]){ 0x40, 2, body[3], body[4] }, 4);
		break;
	case MQT_MQTT_DISCONNECT:
		p->fin_queued = true;
		break;
	}
}

static void
broker_read(struct sim_world *w, struct sim_flow *f)
{
	struct sim_peer *p = &f->peer[SIM_BROKER];
	struct mqt_mqtt_header h;

	if (!p->hello)
		broker_read_connect(p);
	while (p->hello &&
			mqt_mqtt_header_parse(p->app + p->parsed, p->app_len - p->parsed, &h,
					NULL) == MQT_PARSE_OK &&
			p->parsed + h.len + h.remaining <= p->app_len) {
		broker_packet(w, f, &h, p->app + p->parsed + h.len);
		p->parsed += h.len + h.remaining;
	}
	if (p->fin_in)
		p->fin_queued = true;
}

static void
broker_close(struct sim_world *w, struct sim_flow *f, bool takeover)
{
	struct sim_peer *p = &f->peer[SIM_BROKER];

	if (sim_percent(&w->rng, 30)) {
		sim_peer_abort(w, f, SIM_BROKER);
		return;
	}
	if (p->answered && p->version == 5 && takeover)
		write_disconnect(p, 5, MQT_MQTT_RC_TAKEN_OVER);
	p->fin_queued = true;
	sim_peer_output(w, f, SIM_BROKER);
}

/* Keeps client ids unique on this broker. */
static void
broker_take_over(struct sim_world *w, const struct sim_flow *newer)
{
	const struct sim_peer *np = &newer->peer[SIM_BROKER];

	for (unsigned i = 0; i < SIM_FLOWS; i++) {
		struct sim_flow *f = &w->flow[i];
		struct sim_peer *p = &f->peer[SIM_BROKER];

		if (f == newer || f->broker != newer->broker || f->domain != newer->domain ||
				p->state != SIM_TCP_OPEN || !p->answered || p->code != 0 ||
				np->clientid_len == 0 || p->clientid_len != np->clientid_len ||
				memcmp(p->clientid, np->clientid, np->clientid_len) != 0)
			continue;
		p->ousted = true;
		if (!w->faults || sim_percent(&w->rng, 60))
			broker_close(w, f, true);
		else
			p->stale = sim_percent(&w->rng, 60); /* later; else never */
	}
}

/* Begins or resumes the session. */
static void
broker_session(struct sim_world *w, struct sim_flow *f, struct mqt_mqtt_connack *a)
{
	struct sim_session *s = session_of(w, f);
	struct sim_peer *p = &f->peer[SIM_BROKER];
	bool found = s->survives && !p->clean && !(w->faults && sim_percent(&w->rng, 10));

	if (!found) {
		s->topics = 0;
		s->unseen = 0;
	}
	s->last = f->index;
	s->survives = p->survives;
	a->session_present = found && p->version > 3;
	f->fresh = p->clean || (p->version > 3 && !found);
	f->stale = s->stale || (p->version == 3 && !found); /* 3.1 has no flag to say so */
	s->stale = true;                                    /* until the tracker admits it */
}

static void
broker_answer(struct sim_world *w, struct sim_flow *f)
{
	struct sim_peer *p = &f->peer[SIM_BROKER];
	struct mqt_mqtt_connack a = { 0 };
	uint8_t buf[64];
	char id[16];

	p->answered = true;
	p->code = sim_percent(&w->rng, 8) ? (p->version == 5 ? 0x87 : 5) : 0;
	a.code = p->code;
	if (p->code == 0) {
		broker_take_over(w, f);
		broker_session(w, f, &a);
		if (p->version == 5 && p->clientid_len == 0) {
			a.assigned_clientid.len =
					(uint32_t)snprintf(id, sizeof(id), "auto%u", f->index);
			a.assigned_clientid.ptr = (const uint8_t *)id;
		}
	}
	sim_say(p, buf, mqt_mqtt_connack_encode(buf, sizeof(buf), p->version, &a));
	p->connack_at = p->said_at;
	if (p->code != 0)
		p->fin_queued = true;
	else if (sim_percent(&w->rng, 20))
		write_publish(w, p, p->version); /* right behind the CONNACK */
}

static void
broker_act(struct sim_world *w, struct sim_flow *f)
{
	struct sim_peer *p = &f->peer[SIM_BROKER];

	if (p->hello && !p->answered)
		broker_answer(w, f);
	else if (p->stale || (w->faults && sim_percent(&w->rng, 3)))
		broker_close(w, f, p->stale);
	else if (p->answered && sim_percent(&w->rng, 30))
		write_publish(w, p, p->version);
	sim_peer_output(w, f, SIM_BROKER);
}

bool
sim_app_answers(const struct sim_flow *f)
{
	const struct sim_peer *p = &f->peer[SIM_BROKER];

	return p->state == SIM_TCP_OPEN && p->hello && !p->answered && !p->fin_queued;
}

void
sim_app_publish(struct sim_world *w, struct sim_flow *f)
{
	struct sim_peer *p = &f->peer[SIM_BROKER];

	if (p->hello && !p->answered) {
		broker_answer(w, f);
		sim_peer_output(w, f, SIM_BROKER);
	}
	if (p->code == 0)
		write_publish(w, p, p->version);
	sim_peer_output(w, f, SIM_BROKER);
}

/* --- client -------------------------------------------------------------------------------------- */

static void
client_read(struct sim_world *w, struct sim_flow *f)
{
	struct sim_session *s = &w->session[f->domain][f->broker][f->clientid];
	struct sim_peer *p = &f->peer[SIM_CLIENT];
	struct mqt_mqtt_connack a;
	struct mqt_mqtt_header h;

	if (!p->hello) {
		enum mqt_parse r = mqt_mqtt_connack_parse(p->app, p->app_len, f->version, &a, NULL);

		if (r == MQT_PARSE_BAD)
			sim_fail(w, "stream", "flow %u: the client cannot read its CONNACK",
					f->index);
		if (r == MQT_PARSE_OK) {
			p->hello = true;
			p->parsed = a.packet_len;
			p->code = a.code;
			if (a.code != 0)
				p->fin_queued = true;
		}
	}
	while (p->hello &&
			mqt_mqtt_header_parse(p->app + p->parsed, p->app_len - p->parsed, &h,
					NULL) == MQT_PARSE_OK &&
			p->parsed + h.len + h.remaining <= p->app_len) {
		p->parsed += h.len + h.remaining;
		if (h.type == MQT_MQTT_DISCONNECT)
			p->fin_queued = true;
		/* after its own FIN the session is closed for the tracker; of an older connection it
		 * says nothing of what is on its way now */
		if ((h.type == MQT_MQTT_SUBACK || h.type == MQT_MQTT_UNSUBACK) && !p->fin_queued &&
				s->last == f->index && s->unseen > 0)
			s->unseen--;
	}
	if (p->fin_in)
		p->fin_queued = true;
}

static void
write_subscription(struct sim_world *w, struct sim_peer *p, uint8_t version)
{
	bool sub = sim_percent(&w->rng, 70);
	uint8_t buf[16] = { sub ? 0x82 : 0xa2 };
	unsigned len = 2;

	p->n_ids++;
	buf[len++] = (uint8_t)(p->n_ids >> 8);
	buf[len++] = (uint8_t)p->n_ids;
	if (version == 5)
		buf[len++] = 0; /* no properties */
	buf[len++] = 0;
	buf[len++] = 1;
	buf[len++] = (uint8_t)('a' + sim_below(&w->rng, SIM_TOPICS));
	if (sub)
		buf[len++] = 1;
	buf[1] = (uint8_t)(len - 2);
	sim_say(p, buf, len);
}

static void
write_publish_qos1(struct sim_peer *p, uint8_t version)
{
	struct mqt_bytes topic = { (const uint8_t *)"t", 1 };
	uint8_t buf[16];

	sim_say(p, buf,
			mqt_mqtt_publish_encode(buf, sizeof(buf), version, 1, ++p->n_ids, topic,
					(struct mqt_bytes){ 0 }));
}

static void
client_act(struct sim_world *w, struct sim_flow *f)
{
	struct sim_peer *p = &f->peer[SIM_CLIENT];
	unsigned what = sim_below(&w->rng, 100);

	if (p->hello && p->code == 0) {
		if (what < 30)
			write_publish(w, p, f->version);
		else if (what < 55)
			write_subscription(w, p, f->version);
		else if (what < 60)
			write_publish_qos1(p, f->version);
		else if (what < 70)
			write_empty(p, MQT_MQTT_PINGREQ);
		else if (what < 74) {
			write_disconnect(p, f->version, MQT_MQTT_RC_SUCCESS);
			p->fin_queued = true;
		} else if (what < 77)
			p->fin_queued = true;
		else if (what < 80)
			sim_peer_abort(w, f, SIM_CLIENT);
	} else if (what < 3) {
		sim_peer_abort(w, f, SIM_CLIENT);
	}
	sim_peer_output(w, f, SIM_CLIENT);
}

void
sim_app_read(struct sim_world *w, struct sim_flow *f, enum sim_end end)
{
	sim_transport_read(w, f, end);
	if (end == SIM_BROKER)
		broker_read(w, f);
	else
		client_read(w, f);
}

void
sim_app_act(struct sim_world *w, struct sim_flow *f)
{
	struct sim_peer *client = &f->peer[SIM_CLIENT], *broker = &f->peer[SIM_BROKER];

	if (client->state == SIM_TCP_CLOSED) {
		if (w->faults && sim_percent(&w->rng, 25))
			sim_app_start(w, f);
	} else if (sim_percent(&w->rng, 50) && client->state == SIM_TCP_OPEN) {
		client_act(w, f);
	}
	if (broker->state == SIM_TCP_OPEN && sim_percent(&w->rng, 50))
		broker_act(w, f);
}

void
sim_app_settle(struct sim_world *w, struct sim_flow *f)
{
	struct sim_peer *broker = &f->peer[SIM_BROKER];

	if (broker->state == SIM_TCP_OPEN && broker->hello && !broker->answered)
		broker_answer(w, f);
	for (unsigned end = 0; end < SIM_ENDS; end++)
		if (f->peer[end].state == SIM_TCP_OPEN)
			sim_peer_output(w, f, (enum sim_end)end);
}
