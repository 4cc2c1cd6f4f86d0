/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events told by the control socket.
 */
#include "ctl_rig.h"
#include "event_write.h"

static const json_t *
event_of(const json_t *message)
{
	CHECK_STR(text_of(message, "jsonrpc"), "2.0");
	CHECK_STR(text_of(message, "method"), "event");
	CHECK(json_object_get(message, "id") == NULL);
	return json_object_get(message, "params");
}

static void
test_events_come_in_order_with_their_story(void)
{
	struct tracker t;
	struct peer p;
	json_t *result, *message;
	const json_t *ev;
	mqt_chan_id first, second;
	char text[MQT_CHAN_STRLEN];
	json_int_t seq = 0;
	bool gone = false, back = false;

	start(&t);
	first = tracker_open_id(&t, "a");
	peer_open(&p, &t);
	result = peer_result(&p, "events.subscribe", NULL);
	seq = int_of(result, "last");
	CHECK_EQ(int_of(result, "since"), seq);
	json_decref(result);
	second = tracker_open_id(&t, "a"); /* throws the first one out */
	while (!back && (message = peer_recv(&p))) {
		ev = event_of(message);
		CHECK_EQ(int_of(ev, "seq"), ++seq);
		CHECK_STR(text_of(ev, "clientid"), "a");
		CHECK_STR(text_of(ev, "domain"), "default");
		CHECK(strlen(text_of(ev, "at")) == 24);
		if (strcmp(text_of(ev, "type"), "disconnected") == 0) {
			CHECK_STR(text_of(ev, "channel"), mqt_chan_id_format(first, text));
			CHECK_STR(text_of(ev, "reason"), "discarded");
			gone = true;
		}
		if (strcmp(text_of(ev, "type"), "connected") == 0) {
			CHECK_STR(text_of(ev, "channel"), mqt_chan_id_format(second, text));
			CHECK_STR(text_of(ev, "peer"), "192.0.2.7:40000");
			CHECK_STR(text_of(ev, "broker"), "198.51.100.1:1883");
			CHECK(gone);
			back = true;
		}
		json_decref(message);
	}
	CHECK(back);
	peer_close(&p);
	tracker_stop(&t);
}

static void
write_events(struct tracker *t, unsigned n, enum mqt_event_type type)
{
	mqt_role_control_assert();
	for (unsigned i = 0; i < n; i++) {
		struct mqt_event ev = { .type = (uint8_t)type,
			.clientid_len = 1,
			.clientid = "x",
			.chan = mqt_chan_id_make(0, 0, 1, 1) };

		event_write(t->events, &ev);
	}
}

static void
test_events_since_replays_what_is_left_and_types_select(void)
{
	struct tracker t;
	struct peer p;
	json_t *message;
	const json_t *ev;

	start(&t);
	write_events(&t, 3, MQT_EVENT_CONNECTED);
	write_events(&t, 2, MQT_EVENT_KICKED);
	write_events(&t, 1, MQT_EVENT_CONNECTED);
	peer_open(&p, &t);
	json_decref(peer_result(&p, "events.subscribe", "{\"since\":2}"));
	for (int seq = 3; seq <= 6; seq++) {
		message = peer_recv(&p);
		CHECK_EQ(int_of(event_of(message), "seq"), seq);
		json_decref(message);
	}
	/* a new subscription replaces the old one */
	json_decref(peer_result(&p, "events.subscribe", "{\"since\":0,\"types\":[\"kicked\"]}"));
	for (int seq = 4; seq <= 5; seq++) {
		message = peer_recv(&p);
		ev = event_of(message);
		CHECK_EQ(int_of(ev, "seq"), seq);
		CHECK_STR(text_of(ev, "type"), "kicked");
		json_decref(message);
	}
	write_events(&t, 1, MQT_EVENT_CONNECTED);
	write_events(&t, 1, MQT_EVENT_KICKED);
	message = peer_recv(&p);
	CHECK_EQ(int_of(event_of(message), "seq"), 8);
	json_decref(message);
	/* of exactly the newest event: nothing to replay */
	json_decref(peer_result(&p, "events.subscribe", "{\"since\":8}"));
	CHECK_EQ(peer_error(&p, "events.subscribe", "{\"since\":9}"), -32602);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_event_gap_is_told_once_with_its_numbers(void)
{
	struct tracker t;
	struct peer p;
	json_t *message;
	const json_t *ev;

	tracker_init(&t);
	t.config.limits.events = 16;
	tracker_start(&t);
	write_events(&t, 40, MQT_EVENT_CONNECTED);
	peer_open(&p, &t);
	json_decref(peer_result(&p, "events.subscribe", "{\"since\":3}"));
	message = peer_recv(&p);
	ev = event_of(message);
	CHECK_STR(text_of(ev, "type"), "gap");
	CHECK_EQ(int_of(ev, "first"), 4);
	CHECK_EQ(int_of(ev, "last"), 24);
	json_decref(message);
	for (int seq = 25; seq <= 40; seq++) {
		message = peer_recv(&p);
		CHECK_EQ(int_of(event_of(message), "seq"), seq);
		json_decref(message);
	}
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_slow_subscriber_misses_events_but_knows_which(void)
{
	enum {
		N_EVENTS = 20000
	};
	struct tracker t;
	struct peer slow, polite;
	json_int_t next = 1;
	unsigned n_gaps = 0;

	tracker_init(&t);
	t.config.limits.events = 64;
	t.config.control.max_backlog = 16384; /* not its own fault: it is not closed */
	tracker_start(&t);
	peer_open(&slow, &t);
	peer_open(&polite, &t);
	json_decref(peer_result(&slow, "events.subscribe", NULL));
	for (int i = 0; i < N_EVENTS / 100; i++) {
		write_events(&t, 100, MQT_EVENT_CONNECTED);
		CHECK_EQ(peer_error(&polite, "stats.get", NULL), 0);
	}
	while (next <= N_EVENTS) {
		json_t *message = peer_recv(&slow);
		const json_t *ev;

		if (!message)
			break;
		ev = event_of(message);
		if (strcmp(text_of(ev, "type"), "gap") == 0) {
			CHECK_EQ(int_of(ev, "first"), next);
			CHECK(int_of(ev, "last") >= next);
			next = int_of(ev, "last") + 1;
			n_gaps++;
		} else {
			CHECK_EQ(int_of(ev, "seq"), next);
			next++;
		}
		json_decref(message);
	}
	CHECK_EQ(next, N_EVENTS + 1);
	CHECK(n_gaps > 0);
	peer_close(&polite);
	peer_close(&slow);
	tracker_stop(&t);
}

static void
test_event_of_a_long_client_id_is_cut_at_a_character(void)
{
	struct tracker t;
	struct peer p;
	json_t *message;
	const json_t *ev;
	struct mqt_event cut = { .type = MQT_EVENT_CONNECTED,
		.clientid_len = 300,
		.chan = mqt_chan_id_make(0, 0, 1, 1) };

	start(&t);
	memset(cut.clientid, 'x', sizeof(cut.clientid));
	memcpy(cut.clientid + sizeof(cut.clientid) - 2, "\xe2\x82", 2); /* of U+20AC */
	mqt_role_control_assert();
	event_write(t.events, &cut);
	cut.clientid_len = MQT_EVENT_CLIENTID_MAX; /* all is there, and it is no text */
	event_write(t.events, &cut);
	peer_open(&p, &t);
	json_decref(peer_result(&p, "events.subscribe", "{\"since\":0}"));
	message = peer_recv(&p);
	ev = event_of(message);
	CHECK_EQ(strlen(text_of(ev, "clientid")), MQT_EVENT_CLIENTID_MAX - 2);
	CHECK_EQ(int_of(ev, "clientid_len"), 300);
	json_decref(message);
	message = peer_recv(&p);
	ev = event_of(message);
	CHECK_EQ(strlen(text_of(ev, "clientid_hex")), 2 * MQT_EVENT_CLIENTID_MAX);
	CHECK(json_object_get(ev, "clientid_len") == NULL);
	json_decref(message);
	peer_close(&p);
	tracker_stop(&t);
}

/* Everything an event can carry, in each type. */
static void
test_event_of_each_type_tells_both_sides(void)
{
	static const char *const keys[] = { "seq", "type", "at", "mono_ns", "clientid", "reason",
		"epoch", "channel", "peer", "broker", "count", "other", "other_peer", "listener",
		"domain", "proto_ver", NULL };
	const struct mqt_event full = {
		.epoch = 7,
		.wall_ns = 1,
		.mono_ns = 123456789012345678,
		.chan = mqt_chan_id_make(0, 0, 1, 1),
		.other = mqt_chan_id_make(0, 0, 2, 1),
		.peer = { .ip = { 192, 0, 2, 7 }, .port = 1, .version = 4 },
		.broker = { .ip = { 198, 51, 100, 1 }, .port = 1883, .version = 4 },
		.other_peer = { .ip = { 192, 0, 2, 8 }, .port = 2, .version = 4 },
		.clientid_len = 1,
		.reason = MQT_REASON_USERNAME_MISMATCH,
		.proto_ver = 5,
		.count = 11,
		.clientid = "a",
	};
	struct tracker t;
	struct peer p;

	start(&t);
	mqt_role_control_assert();
	peer_open(&p, &t);
	json_decref(peer_result(&p, "events.subscribe", NULL));
	for (unsigned type = 0; type < MQT_N_EVENTS; type++) {
		struct mqt_event ev = full;
		json_t *message;
		const json_t *params;

		ev.type = (uint8_t)type;
		event_write(t.events, &ev);
		message = peer_recv(&p);
		params = event_of(message);
		check_keys(params, keys);
		check_row = mqt_event_name(type);
		CHECK_STR(text_of(params, "type"), mqt_event_name(type));
		CHECK_STR(text_of(params, "reason"), "username_mismatch");
		CHECK_STR(text_of(params, "peer"), "192.0.2.7:1");
		CHECK_STR(text_of(params, "other_peer"), "192.0.2.8:2");
		CHECK_STR(text_of(params, "other"), "00-00-000002-000001");
		CHECK_EQ(int_of(params, "count"), 11);
		CHECK_EQ(int_of(params, "epoch"), 7);
		CHECK_EQ(int_of(params, "mono_ns"), 123456789012345678);
		json_decref(message);
	}
	check_row = "";
	peer_close(&p);
	tracker_stop(&t);
}

static CU_TestInfo event_tests[] = {
	TEST(test_events_come_in_order_with_their_story),
	TEST(test_events_since_replays_what_is_left_and_types_select),
	TEST(test_event_gap_is_told_once_with_its_numbers),
	TEST(test_slow_subscriber_misses_events_but_knows_which),
	TEST(test_event_of_a_long_client_id_is_cut_at_a_character),
	TEST(test_event_of_each_type_tells_both_sides),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "events", NULL, NULL, NULL, NULL, event_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
