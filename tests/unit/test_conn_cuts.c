/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a flow tells does not depend on how TCP carried it. Each dialogue is held once in whole
 * segments, in order, and then again and again as chance has it (conn_dialogue.h). The control lcore
 * must be told the same each time, sessions, counters and injected packets included.
 */
#include "conn_dialogue.h"
#include "conn_ws_rig.h"
#include "mqtrack/proxy.h"

#define N_SEEDS 60

/* --- dialogues --------------------------------------------------------------------------------- */

/* Something of everything that a session knows. */
static void
talk(struct dialogue *d)
{
	uint8_t big[2200];

	say_subscribe(d, 1, "a/rather/long/filter/that/is/cut/for/sure");
	say_subscribe(d, 2, "b/#");
	say_suback(d, 1);
	say_suback(d, 2);
	say(d, CLIENT, big, publish_packet(big, sizeof(big), d->f.version, 1100));
	say_message(d, CLIENT, 1, 10);
	say_message(d, CLIENT, 2, 11);
	say_message(d, CLIENT, 2, 12);
	say_answer(d, BROKER, 0x40, 10);
	say_answer(d, BROKER, 0x50, 11);
	say_answer(d, CLIENT, 0x62, 11);
	say(d, BROKER, big, publish_packet(big, sizeof(big), d->f.version, 1300));
	say_message(d, BROKER, 1, 20);
	say_message(d, BROKER, 2, 21);
	say_message(d, BROKER, 1, 22);
	say_answer(d, CLIENT, 0x40, 20);
	say_answer(d, CLIENT, 0x50, 21);
	say(d, CLIENT, "\xc0", 2);
	say(d, BROKER, "\xd0", 2);
	look(d);
}

static void
leaves_in_order(struct dialogue *d)
{
	say_connect(d, false);
	say_connack(d);
	talk(d);
	say_disconnect(d);
	end(d, CLIENT);
	end(d, BROKER);
}

static void
lasts_and_leaves(struct dialogue *d)
{
	say_connect(d, true);
	say_connack(d);
	talk(d);
	say_disconnect(d);
	end(d, CLIENT);
	end(d, BROKER);
}

static void
client_closes(struct dialogue *d)
{
	say_connect(d, true);
	say_connack(d);
	talk(d);
	end(d, CLIENT);
	say_message(d, BROKER, 1, 30); /* half-closed: it still listens */
	end(d, BROKER);
}

static void
broker_closes(struct dialogue *d)
{
	say_connect(d, true);
	say_connack(d);
	end(d, BROKER);
	say_message(d, CLIENT, 1, 30);
	end(d, CLIENT);
}

static void
client_resets(struct dialogue *d)
{
	say_connect(d, true);
	say_connack(d);
	talk(d);
	reset(d, CLIENT);
}

static void
broker_resets(struct dialogue *d)
{
	say_connect(d, false);
	say_connack(d);
	reset(d, BROKER);
}

static void
does_not_wait_for_connack(struct dialogue *d)
{
	say_connect(d, true);
	say_subscribe(d, 1, "early/bird");
	say_message(d, CLIENT, 2, 3);
	say_connack(d);
	say_suback(d, 1);
	say_answer(d, BROKER, 0x50, 3);
	look(d);
	end(d, CLIENT);
	end(d, BROKER);
}

static void
broker_says_more_behind_connack(struct dialogue *d)
{
	uint8_t buf[256];
	size_t len;

	say_connect(d, true);
	len = connack_packet(buf, 64, d->f.version, 0);
	len += qos_packet(buf + len, d->f.version, 1, 40);
	len += qos_packet(buf + len, d->f.version, 2, 41);
	say_parked(d, buf, len);
	say_message(d, CLIENT, 1, 4); /* passes meanwhile */
	grant(d);
	look(d);
	reset(d, CLIENT);
}

static void
is_refused(struct dialogue *d)
{
	uint8_t buf[64];

	say_connect(d, false);
	say(d, BROKER, buf,
			connack_packet(buf, sizeof(buf), d->f.version,
					d->f.version == 5 ? 0x87 : 5));
	end(d, BROKER);
	end(d, CLIENT);
}

static void
authenticates(struct dialogue *d)
{
	static const uint8_t auth[] = { 0xf0, 9, 0x18, 7, 0x15, 0, 4, 'S', 'C', 'R', 'A' };

	say_connect(d, false);
	if (d->f.version == 5) {
		say(d, BROKER, auth, sizeof(auth));
		say(d, CLIENT, auth, sizeof(auth));
		say(d, BROKER, auth, sizeof(auth));
		say(d, CLIENT, auth, sizeof(auth));
	}
	say_connack(d);
	say_subscribe(d, 1, "x");
	say_suback(d, 1);
	look(d);
	reset(d, CLIENT);
}

static void
is_kicked(struct dialogue *d)
{
	say_connect(d, true);
	say_connack(d);
	talk(d);
	command(d, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
}

static void
is_taken_over(struct dialogue *d)
{
	say_connect(d, true);
	say_connack(d);
	talk(d);
	command(d, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_BEGIN);
	command(d, MQT_MSG_STEPDOWN, MQT_STEPDOWN_TAKEOVER_END);
}

static void
is_superseded(struct dialogue *d)
{
	uint8_t buf[64];

	say_connect(d, true);
	say_parked(d, buf, connack_packet(buf, sizeof(buf), d->f.version, 0));
	command(d, MQT_MSG_REFUSE, MQT_REASON_SUPERSEDED);
}

static void
connects_twice(struct dialogue *d)
{
	uint8_t buf[256];

	say_connect(d, false);
	say_connack(d);
	say_message(d, CLIENT, 1, 4);
	look(d); /* whether the second CONNECT counts as a packet depends on how it is cut */
	say(d, CLIENT, buf, connect_packet(buf, sizeof(buf), d->f.version, "another"));
	say_message(d, CLIENT, 1, 5);
	command(d, MQT_MSG_INSPECT, 0);
	end(d, BROKER);
	end(d, CLIENT);
}

static void
says_what_no_client_says(struct dialogue *d)
{
	say_connect(d, false);
	say_connack(d);
	say(d, CLIENT, "\xd0", 2);
	say(d, BROKER, "\xc0", 2);
	say_message(d, CLIENT, 3, 5);
	look(d);
	say(d, CLIENT, "\x30\xff\xff\xff\xff\x01 and on", 14);
	say(d, CLIENT, "and on", 6);
	end(d, BROKER);
	end(d, CLIENT);
}

static void
is_no_mqtt(struct dialogue *d)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: broker\r\n\r\n";

	open_tcp(d);
	say(d, CLIENT, request, strlen(request));
	say(d, BROKER, request, strlen(request));
	end(d, BROKER);
	end(d, CLIENT);
}

static void
comes_from_the_middle(struct dialogue *d)
{
	uint8_t buf[256];

	d->stream[CLIENT].base = d->f.seq[CLIENT];
	d->stream[BROKER].base = d->f.seq[BROKER];
	say(d, CLIENT, buf, connect_packet(buf, sizeof(buf), d->f.version, "nobody"));
	say(d, BROKER, buf, connack_packet(buf, sizeof(buf), d->f.version, 0));
	say_message(d, CLIENT, 1, 1);
	end(d, CLIENT);
}

static void
speaks_two_paths(struct dialogue *d)
{
	d->f.mptcp = true;
	say_connect(d, false);
	say_message(d, CLIENT, 1, 1);
	end(d, CLIENT);
	end(d, BROKER);
}

static void
comes_by_proxy(struct dialogue *d)
{
	struct mqt_proxy header = {
		.version = 2,
		.src = { .version = 4, .port = 4711, .ip = { 203, 0, 113, 9 } },
		.dst = { .version = 4, .port = 1883, .ip = { 10, 0, 0, 2 } },
		.cert_cn = { (const uint8_t *)"device-9", 8 },
	};
	uint8_t buf[512];
	size_t len = mqt_proxy_encode(buf, sizeof(buf), &header);

	d->f.broker_port = 1884;
	open_tcp(d);
	CHECK(len > 0);
	len += connect_of(d, buf + len, true);
	say(d, CLIENT, buf, len);
	say_connack(d);
	look(d);
	reset(d, CLIENT);
}

static void
say_frame(struct dialogue *d, int side, const void *packet, size_t len, bool parked)
{
	uint8_t buf[512];
	size_t n = mqt_ws_frame_encode(
			buf, sizeof(buf), MQT_WS_BINARY, side == CLIENT ? key : NULL, packet, len);

	if (parked)
		say_parked(d, buf, n);
	else
		say(d, side, buf, n);
}

static void
speaks_websocket(struct dialogue *d)
{
	uint8_t buf[256];

	d->f.broker_port = 8080;
	open_tcp(d);
	say(d, CLIENT, REQUEST, strlen(REQUEST));
	say(d, BROKER, ANSWER, strlen(ANSWER));
	say_frame(d, CLIENT, buf, connect_of(d, buf, true), false);
	say_frame(d, BROKER, buf, connack_packet(buf, 64, d->f.version, 0), true);
	grant(d);
	say_frame(d, CLIENT, buf, subscribe_packet(buf, d->f.version, 1, "w/s", 1), false);
	say_frame(d, BROKER, buf, suback_packet(buf, d->f.version, 1, 1), false);
	say_frame(d, BROKER, buf, qos_packet(buf, d->f.version, 2, 9), false);
	look(d);
	command(d, MQT_MSG_STEPDOWN, MQT_STEPDOWN_KICK);
}

static const struct plot {
	const char *name;
	void (*hold)(struct dialogue *d);
	bool has_channel;
} plots[] = {
	{ "leaves in order", leaves_in_order, true },
	{ "lasts and leaves", lasts_and_leaves, true },
	{ "client closes", client_closes, true },
	{ "broker closes", broker_closes, true },
	{ "client resets", client_resets, true },
	{ "broker resets", broker_resets, true },
	{ "does not wait for CONNACK", does_not_wait_for_connack, true },
	{ "more behind CONNACK", broker_says_more_behind_connack, true },
	{ "is refused", is_refused, false },
	{ "authenticates", authenticates, true },
	{ "is kicked", is_kicked, true },
	{ "is taken over", is_taken_over, true },
	{ "is superseded", is_superseded, true },
	{ "connects twice", connects_twice, true },
	{ "says what no client says", says_what_no_client_says, true },
	{ "is no MQTT", is_no_mqtt, false },
	{ "comes from the middle", comes_from_the_middle, false },
	{ "speaks two paths", speaks_two_paths, false },
	{ "comes by proxy", comes_by_proxy, true },
	{ "speaks WebSocket", speaks_websocket, true },
};

/* --- the comparison ---------------------------------------------------------------------------- */

/* What the tracker counts of flows, not of segments. */
static void
note_counters(struct dialogue *d)
{
	static const enum mqt_worker_counter shown[] = { MQT_W_CONNECTIONS, MQT_W_CONNECT,
		MQT_W_CONNACK_REFUSED, MQT_W_OPENS, MQT_W_GRANTS, MQT_W_REFUSALS, MQT_W_OPAQUE,
		MQT_W_OPAQUE_PROTOCOL, MQT_W_OPAQUE_MPTCP, MQT_W_PROXY_HEADERS, MQT_W_CONFLICT,
		MQT_W_ANOMALY_FRAMING, MQT_W_ANOMALY_GAP, MQT_W_ANOMALY_SECOND_CONNECT,
		MQT_W_ANOMALY_BEFORE_CONNECT, MQT_W_STEPDOWNS, MQT_W_FROZEN, MQT_W_BAD_CHECKSUM,
		MQT_W_INJECTED_DISCONNECT, MQT_W_INJECTED_CONNACK, MQT_W_UNEXPECTED_MSG };

	for (unsigned i = 0; i < RTE_DIM(shown); i++) {
		uint64_t n = mqt_counter_get(&w.counters.v[shown[i]]) - d->counted[shown[i]];

		if (n)
			note(d, "%s %" PRIu64 "\n", mqt_worker_counter_name(shown[i]), n);
	}
}

/* The flow is over: its slot rests and comes home. */
static void
part(struct dialogue *d, const struct plot *plot)
{
	note_counters(d);
	CHECK_EQ(d->f.chan != 0, plot->has_channel);
	if (d->f.info)
		release(&d->f);
	advance(20000 * SEC);
	drop_messages();
	out_clear();
	CHECK_EQ(in_state(MQT_CONN_FREE), w.config.limits.max_connections);
	CHECK_EQ(atomic_load(&mqt_conns_gauges(w.conns)->parked), 0);
	CHECK_EQ(rte_mempool_in_use_count(pool), 0);
}

static void
hold_dialogue(struct dialogue *d, const struct plot *plot, const struct shape *shape, unsigned seed)
{
	static const unsigned pieces[] = { 1, 3, 17, 90, 700 };

	memset(d, 0, sizeof(*d));
	d->f = flow_of(shape);
	check_row = plot->name;
	d->whole = seed == 0;
	d->random = 0x9e3779b97f4a7c15ull * (seed + 1);
	d->piece = pieces[seed % RTE_DIM(pieces)];
	for (unsigned i = 0; i < MQT_W_N_COUNTERS; i++)
		d->counted[i] = mqt_counter_get(&w.counters.v[i]);
	plot->hold(d);
	part(d, plot);
}

static void
cuts_world(void)
{
	world_config();
	w.config.limits.max_connections = 4;
	w.config.limits.parked_per_flow = 200;
	w.config.n_listeners = 3;
	w.config.listeners[1] = w.config.listeners[2] = w.config.listeners[0];
	w.config.listeners[1].address.port = 1884;
	w.config.listeners[1].proxy = MQT_PROXY_REQUIRE;
	w.config.listeners[2].address.port = 8080;
	w.config.listeners[2].transport = MQT_TRANSPORT_WS;
	world_start();
}

/* Until one differs: its seed tells how to meet it again. */
static void
compare(const struct plot *plot, const struct shape *shape)
{
	static struct dialogue whole, cut;
	unsigned before = CU_get_number_of_failures();

	hold_dialogue(&whole, plot, shape, 0);
	for (unsigned seed = 1; seed <= N_SEEDS; seed++) {
		hold_dialogue(&cut, plot, shape, seed);
		CHECK_STR(cut.told, whole.told);
		if (CU_get_number_of_failures() > before) {
			printf("    [%s, %s, seed %u]\n", plot->name, shape->name, seed);
			break;
		}
	}
}

static void
test_how_tcp_cuts_a_flow_changes_nothing_of_what_it_tells(void)
{
	for (unsigned i = 0; i < RTE_DIM(plots); i++)
		for (unsigned k = 0; k < RTE_DIM(shapes); k++) {
			cuts_world();
			compare(&plots[i], &shapes[k]);
			world_end();
		}
}

static CU_TestInfo cuts_tests[] = {
	TEST(test_how_tcp_cuts_a_flow_changes_nothing_of_what_it_tells),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "cuts", NULL, NULL, NULL, NULL, cuts_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
