/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON-RPC on the control socket: framing, batches, parameters, errors.
 */
#include "ctl_rig.h"

#include <poll.h>
#include <stdlib.h>

static const struct {
	const char *name;
	const char *line;
	int code;
	const char *id; /* of the answer, as JSON */
} errors[] = {
	{ "no object", "7", -32600, "null" },
	{ "no object, string", "\"x\"", -32600, "null" },
	{ "no version", "{\"id\":1,\"method\":\"stats.get\"}", -32600, "1" },
	{ "version 1.0", "{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"stats.get\"}", -32600, "1" },
	{ "version a number", "{\"jsonrpc\":2.0,\"id\":1,\"method\":\"stats.get\"}", -32600, "1" },
	{ "no method", "{\"jsonrpc\":\"2.0\",\"id\":\"a\"}", -32600, "\"a\"" },
	{ "method a number", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":1}", -32600, "1" },
	{ "id an object", "{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"stats.get\"}", -32600,
			"null" },
	{ "id true", "{\"jsonrpc\":\"2.0\",\"id\":true,\"method\":\"stats.get\"}", -32600, "null" },
	{ "wrong and no id", "{\"jsonrpc\":\"2.0\"}", -32600, "null" },
	{ "params a string",
			"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats.get\",\"params\":\"x\"}",
			-32600, "1" },
	{ "unknown method", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"no.such\"}", -32601, "1" },
	{ "method with NUL", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats.get\\u0000\"}",
			-32601, "1" },
	{ "params by position",
			"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats.get\",\"params\":[1]}",
			-32602, "1" },
	{ "id null", "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"no.such\"}", -32601, "null" },
	{ "id real", "{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"no.such\"}", -32601, "1.5" },
	{ "empty batch", "[]", -32600, "null" },
};

static void
test_wrong_request_is_answered_and_the_connection_stays(void)
{
	struct tracker t;
	struct peer p;

	start(&t);
	peer_open(&p, &t);
	for (size_t i = 0; i < N(errors); i++) {
		json_t *answer, *id = json_loads(errors[i].id, JSON_DECODE_ANY, NULL);

		check_row = errors[i].name;
		peer_send_line(&p, errors[i].line);
		answer = peer_recv(&p);
		CHECK_EQ(code_of(answer), errors[i].code);
		CHECK(json_equal(json_object_get(answer, "id"), id));
		CHECK_STR(text_of(answer, "jsonrpc"), "2.0");
		CHECK(json_object_get(answer, "result") == NULL);
		json_decref(answer);
		json_decref(id);
	}
	check_row = "";
	CHECK_EQ(peer_error(&p, "stats.get", NULL), 0);
	peer_close(&p);
	tracker_stop(&t);
}

static const struct {
	const char *method, *params;
	int code;
} bad_params[] = {
	{ "clients.list", "{\"limit\":0}", -32602 },
	{ "clients.list", "{\"limit\":1001}", -32602 },
	{ "clients.list", "{\"limit\":-1}", -32602 },
	{ "clients.list", "{\"limit\":\"1\"}", -32602 },
	{ "clients.list", "{\"limit\":1.5}", -32602 },
	{ "clients.list", "{\"cursor\":\"x\"}", -32602 },
	{ "clients.list", "{\"cursor\":\"0000000g\"}", -32602 },
	{ "clients.list", "{\"cursor\":\"00000000x\"}", -32602 },
	{ "clients.list", "{\"cursor\":3}", -32602 },
	{ "clients.list", "{\"clientId\":\"typo\"}", -32602 },
	{ "clients.list", "{\"domain\":\"nowhere\"}", -32602 },
	{ "clients.list", "{\"domain\":1}", -32602 },
	{ "clients.list", "{\"listener\":\"nowhere\"}", -32602 },
	{ "clients.list", "{\"transport\":\"nowhere\"}", -32602 },
	{ "clients.list", "{\"connected\":1}", -32602 },
	{ "clients.list", "{\"worker\":256}", -32602 },
	{ "clients.get", NULL, -32602 },
	{ "clients.get", "{}", -32602 },
	{ "clients.list", "{\"state\":\"gone\"}", -32602 },
	{ "clients.list", "{\"state\":1}", -32602 },
	{ "clients.get", "{\"clientid\":1}", -32602 },
	{ "clients.get", "{\"clientid\":\"a\",\"clientid_hex\":\"61\"}", -32602 },
	{ "clients.get", "{\"clientid_hex\":\"6\"}", -32602 },
	{ "clients.get", "{\"clientid_hex\":\"6g\"}", -32602 },
	{ "clients.get", "{\"clientid\":\"a\",\"channel\":\"01-00-000000-000001\"}", -32602 },
	{ "clients.get", "{\"channel\":\"1\"}", -32602 },
	{ "clients.get", "{\"channel\":\"01-00-000000-000001\",\"domain\":\"default\"}", -32602 },
	{ "clients.get", "{\"clientid\":\"nobody\"}", -32001 },
	{ "clients.get", "{\"channel\":\"01-00-000000-000001\"}", -32002 },
	{ "clients.kick", "{}", -32602 },
	{ "clients.kick", "{\"clientid\":\"a\",\"force\":true}", -32602 },
	{ "clients.discard", "{}", -32602 },
	{ "clients.discard", "{\"channel\":7}", -32602 },
	{ "channels.lookup", "{}", -32602 },
	{ "channels.lookup", "{\"channel\":\"01-00-000000-000001\"}", -32602 },
	{ "stats.get", "{\"x\":1}", -32602 },
	{ "workers.list", "{\"x\":1}", -32602 },
	{ "system.info", "{\"x\":1}", -32602 },
	{ "events.subscribe", "{\"since\":-1}", -32602 },
	{ "events.subscribe", "{\"since\":1}", -32602 }, /* nothing has happened yet */
	{ "events.subscribe", "{\"types\":[]}", -32602 },
	{ "events.subscribe", "{\"types\":\"connected\"}", -32602 },
	{ "events.subscribe", "{\"types\":[\"nonsense\"]}", -32602 },
	/* quoted text is cut in the middle of a character */
	{ "clients.list",
			"{\"domain\":"
			"\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
			"\u00e9\u00e9\"}",
			-32602 },
};

static void
test_params_are_checked(void)
{
	struct tracker t;
	struct peer p;

	start(&t);
	peer_open(&p, &t);
	for (size_t i = 0; i < N(bad_params); i++) {
		check_row = bad_params[i].params ? bad_params[i].params : bad_params[i].method;
		CHECK_EQ(peer_error(&p, bad_params[i].method, bad_params[i].params),
				bad_params[i].code);
	}
	check_row = "";
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_broken_json_ends_its_connection_only(void)
{
	static const char *const garbage[] = { "{", "}", "{\"a\":1}}", "GET / HTTP/1.1", "\"\xff\"",
		"{\"jsonrpc\":\"2.0\" \"id\":1}", "{\"a\":1,\"a\":2}", "[1,", "\x01" };
	struct tracker t;
	struct peer polite, p;

	start(&t);
	peer_open(&polite, &t);
	for (size_t i = 0; i < N(garbage); i++) {
		json_t *answer;

		check_row = garbage[i];
		peer_open(&p, &t);
		/* what was asked before is answered before */
		peer_send_line(&p, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"stats.get\"}");
		peer_send_line(&p, garbage[i]);
		peer_send_line(&p, "{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"stats.get\"}");
		answer = peer_recv(&p);
		CHECK_EQ(int_of(answer, "id"), 7);
		json_decref(answer);
		answer = peer_recv(&p);
		CHECK_EQ(code_of(answer), -32700);
		json_decref(answer);
		CHECK(peer_at_end(&p));
		CHECK_EQ(p.len, 0);
		peer_close(&p);
		CHECK_EQ(peer_error(&polite, "stats.get", NULL), 0);
	}
	check_row = "";
	peer_close(&polite);
	tracker_stop(&t);
}

/* A request of exactly so many bytes, padded with blanks. */
static char *
padded(size_t len)
{
	static const char request[] = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"stats.get\"}";
	char *line = malloc(len + 1);

	memset(line, ' ', len);
	memcpy(line, request, sizeof(request) - 1);
	line[len] = '\n';
	return line;
}

static void
test_request_over_the_limit_ends_its_connection_only(void)
{
	static const struct {
		const char *name;
		int extra;
		bool line_feed;
		bool ok;
	} rows[] = {
		{ "exactly the limit", 0, true, true },
		{ "one byte more", 1, true, false },
		{ "far more", 100000, true, false },
		{ "without end", 100000, false, false },
	};
	struct tracker t;
	struct peer polite, p;

	tracker_init(&t);
	t.config.control.max_request = 4096;
	tracker_start(&t);
	peer_open(&polite, &t);
	for (size_t i = 0; i < N(rows); i++) {
		size_t len = t.config.control.max_request + (size_t)rows[i].extra;
		char *line = padded(len);
		json_t *answer;

		check_row = rows[i].name;
		peer_open(&p, &t);
		peer_send(&p, line, len + rows[i].line_feed); /* it may be closed in the middle */
		answer = peer_recv(&p);
		CHECK_EQ(code_of(answer), rows[i].ok ? 0 : -32600);
		if (!rows[i].ok)
			CHECK(peer_at_end(&p));
		json_decref(answer);
		free(line);
		peer_close(&p);
		CHECK_EQ(peer_error(&polite, "stats.get", NULL), 0);
	}
	check_row = "";
	peer_close(&polite);
	tracker_stop(&t);
}

static void
test_request_in_single_bytes_and_many_in_one_piece(void)
{
	static const char line[] =
			" {\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"stats.get\"}\r\n\n \n";
	struct tracker t;
	struct peer p;
	char *many = malloc(20 * sizeof(line));

	start(&t);
	peer_open(&p, &t);
	many[0] = '\0';
	for (size_t i = 0; line[i]; i++) {
		peer_send(&p, &line[i], 1);
		poll(NULL, 0, i % 8 == 0); /* so that it arrives in pieces */
	}
	for (int i = 0; i < 20; i++)
		strcat(many, line);
	peer_send(&p, many, strlen(many));
	for (int i = 0; i < 21; i++) {
		json_t *answer = peer_recv(&p);

		CHECK_EQ(int_of(answer, "id"), 7);
		CHECK_EQ(code_of(answer), 0);
		json_decref(answer);
	}
	free(many);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_notification_gets_no_answer_but_is_served(void)
{
	struct tracker t;
	struct peer p;
	json_t *answer;

	start(&t);
	tracker_open_id(&t, "a");
	peer_open(&p, &t);
	peer_send_line(&p, "{\"jsonrpc\":\"2.0\",\"method\":\"stats.get\"}");
	peer_send_line(&p, "{\"jsonrpc\":\"2.0\",\"method\":\"no.such\"}");
	peer_send_line(&p,
			"{\"jsonrpc\":\"2.0\",\"method\":\"clients.kick\",\"params\":"
			"{\"clientid\":\"a\"}}");
	/* commands are served in order, so this one finds nobody */
	answer = peer_call(&p, "clients.kick", "{\"clientid\":\"a\"}");
	CHECK_EQ(int_of(answer, "id"), 1);
	CHECK_EQ(int_of(json_object_get(answer, "result"), "n_channels"), 0);
	json_decref(answer);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_batch_is_answered_as_one_array(void)
{
	static const char batch[] =
			"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"clients.kick\",\"params\":"
			"{\"clientid\":\"a\"}},"
			"{\"jsonrpc\":\"2.0\",\"method\":\"stats.get\"},"
			"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"no.such\"},"
			"7,"
			"{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"stats.get\"}]";
	struct tracker t;
	struct peer p;
	json_t *answer, *one;
	bool seen[4] = { false };
	size_t i;

	start(&t);
	tracker_open_id(&t, "a");
	peer_open(&p, &t);
	peer_send_line(&p, batch);
	answer = peer_recv(&p);
	CHECK_EQ(json_array_size(answer), 4);
	json_array_foreach(answer, i, one)
	{
		json_int_t id = int_of(one, "id");

		if (id < 0) {
			CHECK_EQ(code_of(one), -32600);
			id = 0;
		}
		CHECK(id < 4 && !seen[id]);
		seen[id] = true;
		if (id == 1)
			CHECK_EQ(int_of(json_object_get(one, "result"), "n_channels"), 1);
		if (id == 2)
			CHECK_EQ(code_of(one), -32601);
		if (id == 3)
			CHECK_EQ(code_of(one), 0);
	}
	json_decref(answer);
	/* notifications alone: nothing, and the next line is served */
	peer_send_line(&p,
			"[{\"jsonrpc\":\"2.0\",\"method\":\"stats.get\"},"
			"{\"jsonrpc\":\"2.0\",\"method\":\"stats.get\"}]");
	CHECK_EQ(peer_error(&p, "stats.get", NULL), 0);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_line_behind_a_batch_waits_for_it(void)
{
	static const char lines[] = "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"clients.kick\","
				    "\"params\":{\"clientid\":\"a\"}}]\n"
				    "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"stats.get\"}\n";
	struct tracker t;
	struct peer p, other;
	json_t *answer;

	start(&t);
	tracker_open_id(&t, "a");
	peer_open(&p, &t);
	peer_open(&other, &t);
	t.mute = true; /* the kick takes its time */
	peer_send(&p, lines, sizeof(lines) - 1);
	CHECK_EQ(peer_error(&other, "stats.get", NULL), 0);
	answer = peer_recv(&p);
	CHECK_EQ(json_array_size(answer), 1);
	json_decref(answer);
	answer = peer_recv(&p);
	CHECK_EQ(int_of(answer, "id"), 2);
	json_decref(answer);
	peer_close(&other);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_batch_has_limits(void)
{
	struct tracker t;
	struct peer p;
	char line[8192] = "[";
	json_t *answer, *one;
	size_t i, n_large = 0;

	tracker_init(&t);
	t.config.control.max_backlog = 16384;
	tracker_start(&t);
	peer_open(&p, &t);
	for (i = 0; i < 100; i++)
		strcat(line, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats.get\"},");
	line[strlen(line) - 1] = ']';
	peer_send_line(&p, line);
	answer = peer_recv(&p);
	CHECK_EQ(json_array_size(answer), 100);
	json_array_foreach(answer, i, one)
	{
		if (code_of(one) == -32004)
			n_large++;
		else
			CHECK_EQ(code_of(one), 0);
	}
	CHECK(n_large > 0 && n_large < 100);
	json_decref(answer);
	line[strlen(line) - 1] = '\0';
	strcat(line, ",1]");
	peer_send_line(&p, line);
	answer = peer_recv(&p);
	CHECK_EQ(code_of(answer), -32600);
	json_decref(answer);
	peer_close(&p);
	tracker_stop(&t);
}

static CU_TestInfo rpc_tests[] = {
	TEST(test_wrong_request_is_answered_and_the_connection_stays),
	TEST(test_params_are_checked),
	TEST(test_broken_json_ends_its_connection_only),
	TEST(test_request_over_the_limit_ends_its_connection_only),
	TEST(test_request_in_single_bytes_and_many_in_one_piece),
	TEST(test_notification_gets_no_answer_but_is_served),
	TEST(test_batch_is_answered_as_one_array),
	TEST(test_line_behind_a_batch_waits_for_it),
	TEST(test_batch_has_limits),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "json-rpc", NULL, NULL, NULL, NULL, rpc_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
