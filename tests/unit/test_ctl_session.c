/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions shown by the control socket.
 */
#include "ctl_rig.h"

static const struct mqt_session_limits session_limits = {
	.filters = 1000, .inflight = 16, .bytes = 1 << 20
};

/* What a client that subscribes to one filter makes of a session. */
static void
session_subscribe(struct mqt_session *session, uint16_t packet_id, const void *filter, size_t len,
		uint8_t qos)
{
	static uint8_t body[70000];
	const uint8_t ack[3] = { (uint8_t)(packet_id >> 8), (uint8_t)packet_id, qos };
	struct mqt_mqtt_packet packet = {
		.type = MQT_MQTT_SUBSCRIBE, .flags = 2, .packet_id = packet_id
	};

	body[0] = ack[0];
	body[1] = ack[1];
	body[2] = (uint8_t)(len >> 8);
	body[3] = (uint8_t)len;
	memcpy(body + 4, filter, len);
	body[4 + len] = qos;
	packet.body = (struct mqt_bytes){ body, (uint32_t)len + 5 };
	mqt_session_apply(session, &session_limits, MQT_SESSION_FROM_CLIENT, 4, &packet);
	packet = (struct mqt_mqtt_packet){
		.type = MQT_MQTT_SUBACK, .packet_id = packet_id, .body = { ack, sizeof(ack) }
	};
	mqt_session_apply(session, &session_limits, MQT_SESSION_TO_CLIENT, 4, &packet);
}

static void
session_publish(struct mqt_session *session, enum mqt_session_dir dir, uint16_t packet_id)
{
	const struct mqt_mqtt_packet packet = {
		.type = MQT_MQTT_PUBLISH, .flags = 2, .qos = 1, .packet_id = packet_id
	};

	mqt_session_apply(session, &session_limits, dir, 4, &packet);
}

/* Two subscriptions, one message in flight from the client, two to it. */
static struct mqt_session *
session_make(void)
{
	struct mqt_session *session = mqt_session_create();

	CHECK(session != NULL);
	session_subscribe(session, 1, "house/#", 7, 1);
	session_subscribe(session, 2, "b\xff\0", 3, 0);
	session_publish(session, MQT_SESSION_FROM_CLIENT, 7);
	session_publish(session, MQT_SESSION_TO_CLIENT, 8);
	session_publish(session, MQT_SESSION_TO_CLIENT, 9);
	return session;
}

static void
check_session(const json_t *session, json_int_t expiry)
{
	const json_t *subs = json_object_get(session, "subscriptions");

	CHECK_EQ(json_array_size(subs), 2);
	CHECK_STR(text_of(json_array_get(subs, 0), "topic"), "house/#");
	CHECK_EQ(int_of(json_array_get(subs, 0), "qos"), 1);
	CHECK_STR(text_of(json_array_get(subs, 1), "topic_hex"), "62ff00");
	CHECK_EQ(int_of(json_array_get(subs, 1), "qos"), 0);
	CHECK_EQ(int_of(session, "inflight_from_client"), 1);
	CHECK_EQ(int_of(session, "inflight_to_client"), 2);
	CHECK_EQ(int_of(session, "pendings"), 0);
	CHECK_EQ(int_of(session, "subscriptions_missed"), 0);
	CHECK_EQ(int_of(session, "inflight_missed"), 0);
	CHECK_EQ(int_of(session, "expiry_interval"), expiry);
	CHECK(json_object_get(session, "subscriptions_omitted") == NULL);
}

static void
test_session_of_a_connected_client_is_shown(void)
{
	static const struct {
		const char *row;
		struct client_spec spec;
		json_int_t expiry;
	} rows[] = {
		{ "3.1.1, clean", { .id = "a" }, 0 },
		{ "3.1.1", { .id = "b", .resume = true }, 7200 },
		{ "5.0", { .id = "c", .resume = true, .proto_ver = 5 }, 0 },
		{ "5.0, expiry",
				{ .id = "d",
						.proto_ver = 5,
						.flags = MQT_INFO_HAS_EXPIRY,
						.expiry_sec = 60 },
				60 },
		{ "5.0, for ever",
				{ .id = "e",
						.proto_ver = 5,
						.flags = MQT_INFO_HAS_EXPIRY,
						.expiry_sec = UINT32_MAX },
				UINT32_MAX },
		{ "5.0, anonymous: nobody could come back to it",
				{ .proto_ver = 5,
						.flags = MQT_INFO_HAS_EXPIRY | MQT_INFO_ANONYMOUS,
						.expiry_sec = 60 },
				0 },
		{ "3.1.1, anonymous", { .resume = true, .flags = MQT_INFO_ANONYMOUS }, 0 },
	};
	struct tracker t;
	struct peer p;

	start(&t);
	peer_open(&p, &t);
	for (size_t i = 0; i < N(rows); i++) {
		mqt_chan_id chan = tracker_open(&t, &rows[i].spec);
		char params[64], text[MQT_CHAN_STRLEN];
		json_t *result;

		check_row = rows[i].row;
		snprintf(params, sizeof(params), "{\"channel\":\"%s\"}",
				mqt_chan_id_format(chan, text));
		result = peer_result(&p, "clients.get", params); /* nothing is known yet */
		CHECK_EQ(n_items(result, "clients"), 1);
		CHECK(json_object_get(item(result, "clients", 0), "session") == NULL);
		json_decref(result);
		tracker_set_session(&t, chan, session_make());
		result = peer_result(&p, "clients.get", params);
		check_session(json_object_get(item(result, "clients", 0), "session"),
				rows[i].expiry);
		CHECK(json_is_true(json_object_get(item(result, "clients", 0), "connected")));
		json_decref(result);
	}
	check_row = "";
	peer_close(&p);
	tracker_stop(&t);
}

static const struct mqt_session_final left = {
	.expiry_sec = 300,
	.counter = { [MQT_RECV_OCT] = 101, [MQT_SEND_MSG] = 108 },
};

static void
test_retained_session_is_shown_until_its_client_is_back(void)
{
	static const char *const keys[] = { "clientid", "proto_name", "proto_ver", "keepalive",
		"clean_start", "connected", "state", "connected_at", "disconnected_at",
		"ip_address", "port", "broker", "listener", "domain", "node", "channel", "worker",
		"transport", "recv_oct", "recv_cnt", "recv_pkt", "recv_msg", "send_oct", "send_cnt",
		"send_pkt", "send_msg", NULL };
	struct tracker t;
	struct peer p;
	json_t *result, *record;
	mqt_chan_id chan;

	start(&t);
	peer_open(&p, &t);
	chan = tracker_open(&t, &(struct client_spec){ .id = "a", .resume = true });
	mqt_slot_count(tracker_slot(&t, chan), MQT_RECV_OCT, 999);
	tracker_set_session(&t, chan, session_make());
	tracker_leave(&t, chan, &left);
	result = peer_result(&p, "clients.list", "{\"connected\":false}");
	record = item(result, "clients", 0);
	check_keys(record, keys);
	CHECK(json_is_false(json_object_get(record, "connected")));
	CHECK_STR(text_of(record, "state"), "retained");
	CHECK_EQ(int_of(record, "recv_oct"), 101);
	CHECK(strcmp(text_of(record, "disconnected_at"), text_of(record, "connected_at")) >= 0);
	json_decref(result);
	result = peer_result(&p, "clients.list", "{\"state\":\"retained\"}");
	CHECK_EQ(n_items(result, "clients"), 1);
	json_decref(result);
	result = peer_result(&p, "clients.list", "{\"connected\":true}");
	CHECK_EQ(n_items(result, "clients"), 0);
	json_decref(result);
	result = peer_result(&p, "channels.lookup", "{\"clientid\":\"a\"}");
	CHECK_STR(text_of(item(result, "channels", 0), "state"), "retained");
	json_decref(result);
	result = peer_result(&p, "clients.get", "{\"clientid\":\"a\"}");
	record = item(result, "clients", 0);
	check_session(json_object_get(record, "session"), 300);
	CHECK_EQ(int_of(record, "recv_oct"), 101);
	CHECK_EQ(int_of(record, "send_msg"), 108);
	CHECK_EQ(int_of(record, "send_oct"), 0);
	json_decref(result);
	result = peer_result(&p, "stats.get", NULL);
	CHECK_EQ(int_of(result, "retained"), 1);
	CHECK_EQ(int_of(json_object_get(result, "control"), "session_retained"), 1);
	json_decref(result);
	tracker_open(&t,
			&(struct client_spec){ .id = "a",
					.resume = true,
					.flags = MQT_INFO_SESSION_PRESENT });
	tracker_settle(&t);
	result = peer_result(&p, "clients.get", "{\"clientid\":\"a\"}");
	CHECK_EQ(n_items(result, "clients"), 1);
	record = item(result, "clients", 0);
	CHECK(json_is_true(json_object_get(record, "connected")));
	CHECK(json_object_get(record, "disconnected_at") == NULL);
	check_session(json_object_get(record, "session"), 7200);
	json_decref(result);
	result = peer_result(&p, "stats.get", NULL);
	CHECK_EQ(int_of(result, "retained"), 0);
	json_decref(result);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_session_of_a_silent_worker_is_not_known(void)
{
	struct tracker t;
	struct peer p;
	json_t *result;
	mqt_chan_id chan;

	start(&t);
	peer_open(&p, &t);
	chan = tracker_open_id(&t, "a");
	tracker_set_session(&t, chan, session_make());
	t.mute = true;
	result = peer_result(&p, "clients.get", "{\"clientid\":\"a\"}");
	CHECK_EQ(n_items(result, "clients"), 1);
	CHECK(json_object_get(item(result, "clients", 0), "session") == NULL);
	CHECK(json_is_true(json_object_get(item(result, "clients", 0), "connected")));
	json_decref(result);
	t.mute = false;
	result = peer_result(&p, "clients.get", "{\"clientid\":\"a\"}"); /* it is alive */
	check_session(json_object_get(item(result, "clients", 0), "session"), 0);
	json_decref(result);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_subscriptions_beyond_the_backlog_are_left_out_and_counted(void)
{
	static char filter[1000];
	struct mqt_session *session = mqt_session_create();
	struct tracker t;
	struct peer p;
	json_t *result, *shown;
	mqt_chan_id chan;

	CHECK(session != NULL);
	memset(filter, 1, sizeof(filter)); /* six characters each in JSON */
	for (uint16_t i = 0; i < 20; i++) {
		filter[0] = (char)(i + 1);
		session_subscribe(session, i + 1, filter, sizeof(filter), 0);
	}
	session_subscribe(session, 100, "short", 5, 0);
	tracker_init(&t);
	t.config.control.max_backlog = 65536;
	tracker_start(&t);
	peer_open(&p, &t);
	chan = tracker_open_id(&t, "a");
	tracker_set_session(&t, chan, session);
	result = peer_result(&p, "clients.get", "{\"clientid\":\"a\"}");
	shown = json_object_get(item(result, "clients", 0), "session");
	CHECK(n_items(shown, "subscriptions") > 5);
	CHECK_EQ(n_items(shown, "subscriptions") + (size_t)int_of(shown, "subscriptions_omitted"),
			21);
	CHECK_STR(text_of(json_array_get(json_object_get(shown, "subscriptions"),
					  n_items(shown, "subscriptions") - 1),
				  "topic"),
			"short");
	json_decref(result);
	CHECK_EQ(peer_error(&p, "stats.get", NULL), 0);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_sessions_in_a_batch_and_for_clients_that_leave(void)
{
	static const char batch[] = "["
				    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"clients.get\","
				    "\"params\":{\"clientid\":\"a\"}},"
				    "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"clients.get\","
				    "\"params\":{\"clientid\":\"b\"}}]";
	struct tracker t;
	struct peer p;
	json_t *answer;

	start(&t);
	peer_open(&p, &t);
	tracker_set_session(&t, tracker_open_id(&t, "a"), session_make());
	tracker_set_session(&t, tracker_open_id(&t, "b"), session_make());
	CHECK(peer_send_line(&p, batch));
	answer = peer_recv(&p);
	CHECK_EQ(json_array_size(answer), 2);
	for (size_t i = 0; i < json_array_size(answer); i++)
		check_session(json_object_get(item(json_object_get(json_array_get(answer, i),
								   "result"),
							      "clients", 0),
					      "session"),
				0);
	json_decref(answer);
	t.mute = true;
	CHECK(peer_send_line(&p, batch));
	peer_close(&p);
	tracker_settle(&t);
	peer_open(&p, &t);
	CHECK(peer_send_line(&p, batch));
	for (int i = 0; i < 3; i++)
		tracker_step(&t);
	tracker_stop_now(&t); /* with questions under way */
	peer_close(&p);
}

static CU_TestInfo client_tests[] = {
	TEST(test_session_of_a_connected_client_is_shown),
	TEST(test_retained_session_is_shown_until_its_client_is_back),
	TEST(test_session_of_a_silent_worker_is_not_known),
	TEST(test_subscriptions_beyond_the_backlog_are_left_out_and_counted),
	TEST(test_sessions_in_a_batch_and_for_clients_that_leave),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "clients", NULL, NULL, NULL, NULL, client_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
