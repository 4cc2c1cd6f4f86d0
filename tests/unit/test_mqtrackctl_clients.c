/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mqtrackctl clients and mqtrackctl show.
 */
#include "mqtrackctl_run.h"

static void
test_clients_lists_all_pages_or_the_limit(void)
{
	static const struct {
		const char *args[6];
		size_t n;
	} rows[] = {
		{ { "clients" }, 1203 },
		{ { "clients", "--limit", "5" }, 5 },
		{ { "clients", "--limit", "1000" }, 1000 },
		{ { "clients", "--limit", "1001" }, 1001 },
		{ { "clients", "--limit=5000" }, 1203 },
		{ { "clients", "--clientid", "c7" }, 1 },
		{ { "clients", "--clientid", "6337", "--hex" }, 1 },
		{ { "clients", "--clientid", "nobody" }, 0 },
		{ { "clients", "--domain", "default", "-n", "3" }, 3 },
		{ { "clients", "--connected" }, 1203 },
		{ { "clients", "--retained" }, 0 },
	};
	struct tracker t;

	start(&t);
	for (int i = 0; i < 1203; i++) {
		char id[32];

		snprintf(id, sizeof(id), "c%d", i);
		tracker_open_id(&t, id);
	}
	for (size_t i = 0; i < N(rows); i++) {
		const char *args[8];
		json_t *result, *clients;
		size_t n = 0;

		check_row = rows[i].args[1] ? rows[i].args[1] : rows[i].args[0];
		run_in(&t, "C.UTF-8", rows[i].args);
		CHECK_EQ(run.status, 0);
		CHECK_STR(run.err, "");
		CHECK_EQ(n_lines(run.out), rows[i].n ? rows[i].n + 1 : 0);
		CHECK_EQ(strstr(run.out, "CLIENT ID") != NULL, rows[i].n > 0);
		/* the same as JSON */
		while (rows[i].args[n]) {
			args[n] = rows[i].args[n];
			n++;
		}
		args[n++] = "--json";
		args[n] = NULL;
		run_in(&t, "C.UTF-8", args);
		CHECK_EQ(run.status, 0);
		result = json_loads(run.out, 0, NULL);
		clients = json_object_get(result, "clients");
		CHECK(json_is_array(clients));
		CHECK_EQ(json_array_size(clients), rows[i].n);
		CHECK(json_object_get(result, "cursor") != NULL);
		json_decref(result);
	}
	check_row = "";
	tracker_stop(&t);
}

static void
test_show_tells_all_of_one_client(void)
{
	struct tracker t;
	mqt_chan_id chan;
	char text[MQT_CHAN_STRLEN];
	json_t *result;

	start(&t);
	chan = tracker_open(&t, &(struct client_spec){ .id = "meter-1", .username = "joe" });
	mqt_chan_id_format(chan, text);
	RUN(&t, "show", "meter-1");
	CHECK_EQ(run.status, 0);
	CHECK(has(run.out, "meter-1"));
	CHECK(has(run.out, "joe"));
	CHECK(has(run.out, text));
	CHECK(strstr(run.out, "expiry_interval") == NULL);
	RUN(&t, "show", "--channel", text);
	CHECK_EQ(run.status, 0);
	CHECK(has(run.out, "meter-1"));
	RUN(&t, "show", "--json", "meter-1");
	CHECK_EQ(run.status, 0);
	result = json_loads(run.out, 0, NULL);
	CHECK_EQ(json_array_size(json_object_get(result, "clients")), 1);
	json_decref(result);
	RUN(&t, "show", "nobody");
	CHECK_EQ(run.status, 1);
	CHECK(has(run.err, "unknown client \"nobody\""));
	CHECK_STR(run.out, "");
	RUN(&t, "show", "--channel", "00-00-000fff-000001");
	CHECK_EQ(run.status, 1);
	CHECK(has(run.err, "unknown channel \"00-00-000fff-000001\""));
	RUN(&t, "show", "--channel", "nonsense");
	CHECK_EQ(run.status, 1);
	CHECK(has(run.err, "channel is an id like"));
	tracker_stop(&t);
}

static void
test_sessions_are_shown_without_steering_the_terminal(void)
{
	static const uint8_t subscribe[] = { 0, 1, 0, 7, 'h', 'o', 'u', 's', 'e', '/', '#', 1, 0, 3,
		'x', '\x1b', '[', 0 };
	static const uint8_t suback[] = { 0, 1, 1, 0 };
	const struct mqt_session_limits limits = { .filters = 8, .inflight = 8, .bytes = 4096 };
	struct mqt_session *session = mqt_session_create();
	struct tracker t;
	mqt_chan_id chan;

	mqt_session_apply(session, &limits, MQT_SESSION_FROM_CLIENT, 4,
			&(struct mqt_mqtt_packet){ .type = MQT_MQTT_SUBSCRIBE,
					.flags = 2,
					.packet_id = 1,
					.body = { subscribe, sizeof(subscribe) } });
	mqt_session_apply(session, &limits, MQT_SESSION_TO_CLIENT, 4,
			&(struct mqt_mqtt_packet){ .type = MQT_MQTT_SUBACK,
					.packet_id = 1,
					.body = { suback, sizeof(suback) } });
	start(&t);
	tracker_open_id(&t, "there");
	chan = tracker_open(&t, &(struct client_spec){ .id = "gone", .resume = true });
	tracker_set_session(&t, chan, session);
	RUN(&t, "show", "gone");
	CHECK_EQ(run.status, 0);
	CHECK(has(run.out, "session.expiry_interval"));
	CHECK(has(run.out, "TOPIC FILTER"));
	CHECK(has(run.out, "house/#        1\n"));
	CHECK(has(run.out, "x\\x1b["));
	CHECK(strchr(run.out, '\x1b') == NULL);
	tracker_leave(&t, chan, &(struct mqt_session_final){ .expiry_sec = 60 });
	RUN(&t, "clients", "--retained");
	CHECK_EQ(n_lines(run.out), 2);
	CHECK(has(run.out, "gone"));
	CHECK(has(run.out, "retained"));
	RUN(&t, "clients", "--connected");
	CHECK_EQ(n_lines(run.out), 2);
	CHECK(has(run.out, "there"));
	RUN(&t, "clients");
	CHECK_EQ(n_lines(run.out), 3);
	RUN(&t, "show", "gone");
	CHECK(has(run.out, "session.expiry_interval      60"));
	CHECK(has(run.out, "disconnected_at "));
	CHECK(has(run.out, "house/#        1\n"));
	RUN(&t, "stats");
	CHECK(has(run.out, "retained "));
	tracker_stop(&t);
}

static void
test_clients_are_filtered(void)
{
	static const struct {
		const char *args[6];
		const char *ids; /* their first letters, in the order of the table */
	} rows[] = {
		{ { "--listener", "second" }, "bd" },
		{ { "-l", "tcp" }, "acB" },
		{ { "--domain", "other" }, "bd" },
		{ { "--broker", "north" }, "acdB" },
		{ { "-B", "198.51.100.2:1883" }, "b" },
		{ { "-B", "198.51.100.2" }, "b" },
		{ { "--username", "joe" }, "a" },
		{ { "-u", "j\xff" }, "c" },
		{ { "-u", "6a6f65", "--hex" }, "a" },
		{ { "-xu", "6A6F65", "-i", "61" }, "a" },
		{ { "-u", "" }, "" },
		{ { "--transport", "ws" }, "d" },
		{ { "--transport", "tcp" }, "abcB" },
		{ { "--worker", "0" }, "abcdB" },
		{ { "--worker", "1" }, "" },
		{ { "--state", "connected" }, "abcd" },
		{ { "--connected" }, "abcd" },
		{ { "--state", "retained" }, "B" },
		{ { "--retained" }, "B" },
		{ { "--state", "orphaned" }, "" },
		{ { "-l", "second", "-B", "north", "-d", "other" }, "d" },
		{ { "-l", "second", "-n", "1" }, "b" },
	};
	static const struct {
		const char *args[3];
		const char *says;
	} refused[] = {
		{ { "--listener", "third" }, "unknown listener \"third\"" },
		{ { "--broker", "west" }, "unknown broker \"west\": give a configured name" },
		{ { "--transport", "quic" }, "unknown transport \"quic\": it is tcp or ws" },
		{ { "--worker", "2" }, "worker is a number from 0 to 1" },
		{ { "--state", "gone" }, "state is connected, orphaned" },
	};
	const struct mqt_endpoint south = { .ip = { 198, 51, 100, 2 }, .port = 1883, .version = 4 };
	struct tracker t;
	mqt_chan_id chan;

	tracker_init(&t);
	strcpy(t.config.domains[1], "other");
	t.config.n_domains = 2;
	t.config.listeners[1] = (struct mqt_listener){ .name = "second", .domain = 1 };
	t.config.n_listeners = 2;
	strcpy(t.config.brokers[0].name, "north");
	t.config.brokers[0].address =
			(struct mqt_endpoint){ .ip = { 198, 51, 100, 1 }, .version = 4 };
	t.config.n_brokers = 1;
	t.n_workers = 2;
	tracker_start(&t);
	tracker_open(&t, &(struct client_spec){ .id = "a", .username = "joe" });
	tracker_open(&t,
			&(struct client_spec){
					.id = "b", .domain = 1, .listener = 1, .broker = south });
	tracker_open(&t, &(struct client_spec){ .id = "c", .username = "j\xff" });
	tracker_open(&t,
			&(struct client_spec){ .id = "d",
					.domain = 1,
					.listener = 1,
					.transport = MQT_TRANSPORT_WS });
	chan = tracker_open(&t, &(struct client_spec){ .id = "B", .resume = true });
	tracker_leave(&t, chan, &(struct mqt_session_final){ .expiry_sec = 60 });
	for (size_t i = 0; i < N(rows); i++) {
		const char *args[8] = { "clients" }, *line = run.out;
		char ids[16] = "";

		check_row = rows[i].args[1] ? rows[i].args[1] : rows[i].args[0];
		memcpy(args + 1, rows[i].args, sizeof(rows[i].args));
		run_in(&t, "C.UTF-8", args);
		CHECK_EQ(run.status, 0);
		CHECK_STR(run.err, "");
		for (size_t k = 0; k < sizeof(ids) - 1 && (line = strchr(line, '\n')) && line[1];
				k++)
			ids[k] = *++line;
		CHECK_STR(ids, rows[i].ids);
	}
	for (size_t i = 0; i < N(refused); i++) {
		check_row = refused[i].args[1];
		RUN(&t, "clients", refused[i].args[0], refused[i].args[1]);
		CHECK_EQ(run.status, 1);
		CHECK(has(run.err, refused[i].says));
		CHECK_STR(run.out, "");
	}
	check_row = "";
	tracker_stop(&t);
}

static void
test_limit_holds_for_one_id_in_several_domains(void)
{
	struct tracker t;

	tracker_init(&t);
	strcpy(t.config.domains[1], "other");
	t.config.n_domains = 2;
	tracker_start(&t);
	tracker_open_id(&t, "a");
	tracker_open(&t, &(struct client_spec){ .id = "a", .domain = 1 });
	RUN(&t, "clients", "-i", "a");
	CHECK_EQ(n_lines(run.out), 3);
	RUN(&t, "clients", "-i", "a", "-n", "1");
	CHECK_EQ(run.status, 0);
	CHECK_EQ(n_lines(run.out), 2);
	tracker_stop(&t);
}

static CU_TestInfo tests[] = {
	TEST(test_clients_lists_all_pages_or_the_limit),
	TEST(test_clients_are_filtered),
	TEST(test_limit_holds_for_one_id_in_several_domains),
	TEST(test_show_tells_all_of_one_client),
	TEST(test_sessions_are_shown_without_steering_the_terminal),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "mqtrackctl clients", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

int
main(int argc, char **argv)
{
	return run_suites(argc, argv, suites);
}
