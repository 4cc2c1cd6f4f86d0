/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Look-up, kick and discard through the control socket.
 */
#include "ctl_rig.h"

#include <poll.h>

/* --- lookup, kick, discard --------------------------------------------------------------------- */

static void
test_lookup_says_where(void)
{
	struct tracker t;
	struct peer p;
	json_t *result, *one;
	mqt_chan_id chan;
	char text[MQT_CHAN_STRLEN];

	tracker_init(&t);
	two_domains(&t);
	tracker_start(&t);
	chan = tracker_open_id(&t, "a");
	tracker_open(&t, &(struct client_spec){ .id = "a", .domain = 1 });
	peer_open(&p, &t);
	result = peer_result(&p, "channels.lookup", "{\"clientid\":\"a\"}");
	CHECK_EQ(n_items(result, "channels"), 2);
	json_decref(result);
	result = peer_result(&p, "channels.lookup", "{\"clientid\":\"a\",\"domain\":\"default\"}");
	CHECK_EQ(n_items(result, "channels"), 1);
	one = item(result, "channels", 0);
	CHECK_STR(text_of(one, "channel"), mqt_chan_id_format(chan, text));
	CHECK_STR(text_of(one, "node"), "mqtrack");
	CHECK_EQ(int_of(one, "worker"), 0);
	CHECK_STR(text_of(one, "state"), "connected");
	CHECK_STR(text_of(one, "domain"), "default");
	json_decref(result);
	result = peer_result(&p, "channels.lookup", "{\"clientid\":\"nobody\"}");
	CHECK(result && n_items(result, "channels") == 0);
	json_decref(result);
	peer_close(&p);
	tracker_stop(&t);
}

/* --- kick and discard ---------------------------------------------------------------------------- */

static void
check_outcome(json_t *result, size_t i, mqt_chan_id chan, const char *outcome)
{
	char text[MQT_CHAN_STRLEN];
	json_t *one = item(result, "channels", i);

	CHECK_STR(text_of(one, "channel"), mqt_chan_id_format(chan, text));
	CHECK_STR(text_of(one, "result"), outcome);
}

static void
test_kick_and_discard_by_client_and_by_channel(void)
{
	static const struct {
		const char *method;
		bool by_channel;
	} rows[] = {
		{ "clients.kick", false },
		{ "clients.kick", true },
		{ "clients.discard", false },
		{ "clients.discard", true },
	};
	struct tracker t;
	struct peer p;

	start(&t);
	peer_open(&p, &t);
	for (size_t i = 0; i < N(rows); i++) {
		mqt_chan_id chan = tracker_open_id(&t, "a");
		mqt_chan_id bystander = tracker_open_id(&t, "b");
		char params[64], text[MQT_CHAN_STRLEN];
		json_t *result;

		check_row = rows[i].method;
		if (rows[i].by_channel)
			snprintf(params, sizeof(params), "{\"channel\":\"%s\"}",
					mqt_chan_id_format(chan, text));
		else
			strcpy(params, "{\"clientid\":\"a\"}");
		result = peer_result(&p, rows[i].method, params);
		CHECK(json_is_true(json_object_get(result, "ok")));
		CHECK_EQ(int_of(result, "n_channels"), 1);
		check_outcome(result, 0, chan, "stepped_down");
		json_decref(result);
		CHECK_EQ(atomic_load(&tracker_slot(&t, chan)->word),
				mqt_slot_word(mqt_chan_id_gen(chan), MQT_SLOT_CLOSED));
		CHECK_EQ(atomic_load(&tracker_slot(&t, bystander)->word),
				mqt_slot_word(mqt_chan_id_gen(bystander), MQT_SLOT_LIVE));
		tracker_settle(&t);
		/* again: unknown is no error */
		result = peer_result(&p, rows[i].method, params);
		CHECK(json_is_true(json_object_get(result, "ok")));
		CHECK_EQ(int_of(result, "n_channels"), 0);
		CHECK_EQ(n_items(result, "channels"), 0);
		json_decref(result);
	}
	check_row = "";
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_kick_reaches_all_domains_unless_one_is_named(void)
{
	struct tracker t;
	struct peer p;
	json_t *result;

	tracker_init(&t);
	two_domains(&t);
	tracker_start(&t);
	tracker_open_id(&t, "a");
	tracker_open(&t, &(struct client_spec){ .id = "a", .domain = 1 });
	peer_open(&p, &t);
	result = peer_result(&p, "clients.kick", "{\"clientid\":\"a\",\"domain\":\"other\"}");
	CHECK_EQ(int_of(result, "n_channels"), 1);
	json_decref(result);
	tracker_open(&t, &(struct client_spec){ .id = "a", .domain = 1 });
	result = peer_result(&p, "clients.kick", "{\"clientid\":\"a\"}");
	CHECK_EQ(int_of(result, "n_channels"), 2);
	CHECK_EQ(n_items(result, "channels"), 2);
	json_decref(result);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_kick_of_a_silent_worker_tells_killed(void)
{
	struct tracker t;
	struct peer p, other;
	json_t *result;
	mqt_chan_id chan;

	start(&t);
	chan = tracker_open_id(&t, "a");
	peer_open(&p, &t);
	peer_open(&other, &t);
	t.mute = true;
	peer_send_line(&p,
			"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"clients.kick\",\"params\":"
			"{\"clientid\":\"a\"}}");
	CHECK_EQ(peer_error(&other, "stats.get", NULL), 0); /* nobody waits for it */
	result = peer_recv(&p);
	check_outcome(json_object_get(result, "result"), 0, chan, "killed");
	json_decref(result);
	peer_close(&other);
	peer_close(&p);
	tracker_stop(&t);
}

/* Submits kicks that nobody answers, then leaves. */
static void
kick_and_leave(struct tracker *t)
{
	struct peer p;

	t->mute = true;
	peer_open(&p, t);
	peer_send_line(&p,
			"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"clients.kick\",\"params\":"
			"{\"clientid\":\"a\"}}");
	peer_send_line(&p,
			"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"clients.kick\",\"params\":"
			"{\"clientid\":\"a\"}},{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":"
			"\"clients.kick\",\"params\":{\"clientid\":\"b\"}}]");
	/* the worker has been asked: the first one is under way */
	for (int i = 0; i < 20000 && !atomic_load(&mqt_cm_counters(t->cm)->v[MQT_C_STEPDOWNS]);
			i++) {
		poll(NULL, 0, 1);
		tracker_step(t);
	}
	CHECK_EQ(mqt_counter_get(&mqt_cm_counters(t->cm)->v[MQT_C_STEPDOWNS]), 1);
	peer_close(&p);
}

static void
test_kick_whose_client_has_gone_ends_unanswered(void)
{
	struct tracker t;
	struct peer p;

	start(&t);
	tracker_open_id(&t, "a");
	kick_and_leave(&t);
	peer_open(&p, &t);
	CHECK_EQ(peer_error(&p, "stats.get", NULL), 0);
	t.mute = false;
	CHECK_EQ(peer_error(&p, "clients.kick", "{\"clientid\":\"a\"}"), 0);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_stop_with_commands_under_way(void)
{
	struct tracker t;

	tracker_init(&t);
	t.config.limits.stepdown_local_ms = 60000;
	tracker_start(&t);
	tracker_open_id(&t, "a");
	kick_and_leave(&t);
	tracker_stop_now(&t); /* the control lcore has stopped: the manager gives them back */

	tracker_init(&t);
	t.config.limits.stepdown_local_ms = 60000;
	tracker_start(&t);
	tracker_open_id(&t, "a");
	kick_and_leave(&t);
	mqt_ctl_stop(t.ctl);
	t.ctl = NULL;
	tracker_stop(&t); /* the control lcore goes on and answers them */
}

static void
test_many_kicks_of_one_connection(void)
{
	struct tracker t;
	struct peer p;
	char line[128];
	unsigned n_found = 0;

	start(&t);
	peer_open(&p, &t);
	for (int i = 0; i < 200; i++) {
		snprintf(line, sizeof(line), "c%d", i);
		tracker_open_id(&t, line);
	}
	for (int i = 0; i < 200; i++) {
		snprintf(line, sizeof(line),
				"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"clients.kick\","
				"\"params\":{\"clientid\":\"c%d\"}}",
				i, i);
		peer_send_line(&p, line);
	}
	for (int i = 0; i < 200; i++) {
		json_t *answer = peer_recv(&p);

		CHECK_EQ(int_of(answer, "id"), i);
		n_found += (unsigned)int_of(json_object_get(answer, "result"), "n_channels");
		json_decref(answer);
	}
	CHECK_EQ(n_found, 200);
	peer_close(&p);
	tracker_stop(&t);
}

static CU_TestInfo client_tests[] = {
	TEST(test_lookup_says_where),
	TEST(test_kick_and_discard_by_client_and_by_channel),
	TEST(test_kick_reaches_all_domains_unless_one_is_named),
	TEST(test_kick_of_a_silent_worker_tells_killed),
	TEST(test_kick_whose_client_has_gone_ends_unanswered),
	TEST(test_stop_with_commands_under_way),
	TEST(test_many_kicks_of_one_connection),
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
