/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket against a real channel manager and real maps. The test's thread is the control
 * lcore and the worker (ctl_fixture.h); the control thread is the one under test.
 */
#include "check.h"
#include "ctl_fixture.h"
#include "eal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define N(array) (sizeof(array) / sizeof((array)[0]))

static const char *
text_of(const json_t *obj, const char *key)
{
	const char *text = json_string_value(json_object_get(obj, key));

	return text ? text : "(none)";
}

static json_int_t
int_of(const json_t *obj, const char *key)
{
	const json_t *value = json_object_get(obj, key);

	return json_is_integer(value) ? json_integer_value(value) : -1;
}

static json_t *
item(const json_t *obj, const char *key, size_t i)
{
	return json_array_get(json_object_get(obj, key), i);
}

static size_t
n_items(const json_t *obj, const char *key)
{
	return json_array_size(json_object_get(obj, key));
}

static int
code_of(const json_t *answer)
{
	return (int)json_integer_value(json_object_get(json_object_get(answer, "error"), "code"));
}

static void
start(struct tracker *t)
{
	tracker_init(t);
	tracker_start(t);
}

/* --- the socket -------------------------------------------------------------------------------- */

static unsigned
mode_of(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}

static void
test_socket_has_mode_0660_under_any_umask(void)
{
	static const mode_t umasks[] = { 0, 022, 077, 0777 };

	for (size_t i = 0; i < N(umasks); i++) {
		mode_t old;
		struct tracker t;

		tracker_init(&t);
		old = umask(umasks[i]);
		tracker_start(&t);
		umask(old);
		CHECK_EQ(mode_of(t.config.control.socket), 0660);
		tracker_stop(&t);
	}
}

static int
bind_at(const char *path, bool listening)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(addr.sun_path, path);
	CHECK_EQ(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	if (listening)
		CHECK_EQ(listen(fd, 1), 0);
	return fd;
}

static void
test_stale_socket_is_replaced(void)
{
	struct tracker t;
	struct peer p;

	tracker_init(&t);
	close(bind_at(t.config.control.socket, true));
	tracker_start(&t);
	peer_open(&p, &t);
	CHECK_EQ(peer_error(&p, "stats.get", NULL), 0);
	peer_close(&p);
	tracker_stop(&t);
}

/* Tries to start a second control socket with the tracker's parts. */
static struct mqt_ctl *
start_another(struct tracker *t)
{
	return mqt_ctl_start(&(struct mqt_ctl_params){
			.config = &t->config,
			.clock = &t->clock,
			.hash_key = &t->hash_key,
			.cm = t->cm,
			.events = t->events,
	});
}

static void
test_living_socket_is_in_use_and_goes_on(void)
{
	struct tracker t;
	struct peer p;

	start(&t);
	errno = 0;
	CHECK(start_another(&t) == NULL);
	CHECK_EQ(errno, EADDRINUSE);
	peer_open(&p, &t);
	CHECK_EQ(peer_error(&p, "stats.get", NULL), 0);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_file_that_is_no_socket_is_left_alone(void)
{
	struct tracker t;
	struct stat st;
	char path[128];
	FILE *file;

	start(&t);
	snprintf(path, sizeof(path), "%s/file", t.dir);
	file = fopen(path, "w");
	fclose(file);
	strcpy(t.config.control.socket, path);
	CHECK(start_another(&t) == NULL);
	CHECK_EQ(errno, EEXIST);
	CHECK(lstat(path, &st) == 0 && S_ISREG(st.st_mode));
	unlink(path);
	snprintf(t.config.control.socket, sizeof(t.config.control.socket), "%s/ctl.sock", t.dir);
	tracker_stop(&t);
}

static void
test_missing_directory_is_an_error_outside_run(void)
{
	struct tracker t;

	start(&t);
	snprintf(t.config.control.socket, sizeof(t.config.control.socket), "%s/none/ctl.sock",
			t.dir);
	CHECK(start_another(&t) == NULL);
	CHECK_EQ(errno, ENOENT);
	snprintf(t.config.control.socket, sizeof(t.config.control.socket), "%s/ctl.sock", t.dir);
	tracker_stop(&t);
}

static void
test_missing_directory_is_made_under_run(void)
{
	struct tracker t;
	char dir[64], sub[80];
	struct mqt_ctl *ctl;

	if (access("/run", W_OK) < 0) {
		printf(" (not run: /run is not writable) ");
		return;
	}
	start(&t);
	snprintf(dir, sizeof(dir), "/run/mqtrack-test-%d", (int)getpid());
	snprintf(sub, sizeof(sub), "%s/sub", dir);
	snprintf(t.config.control.socket, sizeof(t.config.control.socket), "%s/ctl.sock", sub);
	ctl = start_another(&t);
	CHECK(ctl != NULL);
	CHECK_EQ(mode_of(t.config.control.socket), 0660);
	mqt_ctl_stop(ctl);
	CHECK_EQ(rmdir(sub), 0);
	CHECK_EQ(rmdir(dir), 0);
	snprintf(t.config.control.socket, sizeof(t.config.control.socket), "%s/ctl.sock", t.dir);
	tracker_stop(&t);
}

static void
test_stop_removes_its_own_socket_only(void)
{
	struct tracker t;
	struct stat st;
	int fd;

	start(&t);
	mqt_ctl_stop(t.ctl);
	CHECK(lstat(t.config.control.socket, &st) < 0 && errno == ENOENT);
	t.ctl = start_another(&t);
	CHECK(t.ctl != NULL);
	unlink(t.config.control.socket);
	fd = bind_at(t.config.control.socket, true);
	mqt_ctl_stop(t.ctl);
	t.ctl = NULL;
	CHECK(lstat(t.config.control.socket, &st) == 0);
	close(fd);
	tracker_stop(&t);
}

static void
test_one_connection_too_many_is_told_so(void)
{
	struct tracker t;
	struct peer a, b, c;
	json_t *answer;

	tracker_init(&t);
	t.config.control.max_clients = 2;
	tracker_start(&t);
	peer_open(&a, &t);
	peer_open(&b, &t);
	CHECK_EQ(peer_error(&b, "stats.get", NULL), 0); /* both are accepted */
	peer_open(&c, &t);
	answer = peer_recv(&c);
	CHECK_EQ(code_of(answer), -32003);
	CHECK(json_is_null(json_object_get(answer, "id")));
	json_decref(answer);
	CHECK(peer_at_end(&c));
	CHECK_EQ(peer_error(&a, "stats.get", NULL), 0);
	peer_close(&c);
	peer_close(&b);
	/* its place is free once the server has seen it go */
	for (int tries = 0; tries < 1000; tries++) {
		peer_open(&c, &t);
		answer = peer_call(&c, "stats.get", NULL);
		if (json_object_get(answer, "result"))
			break;
		json_decref(answer);
		answer = NULL;
		peer_close(&c);
	}
	CHECK(answer != NULL);
	json_decref(answer);
	peer_close(&c);
	peer_close(&a);
	tracker_stop(&t);
}

/* --- JSON-RPC ------------------------------------------------------------------------------------ */

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

/* --- one client cannot harm another ---------------------------------------------------------- */

static void
test_slow_reader_is_closed_others_go_on(void)
{
	static const char line[] = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"stats.get\"}";
	struct tracker t;
	struct peer polite, slow;
	bool open = true;

	tracker_init(&t);
	t.config.control.max_backlog = 65536;
	tracker_start(&t);
	peer_open(&polite, &t);
	peer_open(&slow, &t);
	/* about 3,000 bytes an answer: the socket's buffer and the backlog are full long before */
	for (int i = 0; i < 100000 && open; i++)
		open = peer_send_line(&slow, line);
	CHECK(!open);
	CHECK_EQ(peer_error(&polite, "stats.get", NULL), 0);
	peer_close(&slow);
	peer_close(&polite);
	tracker_stop(&t);
}

/*
 * system.info reads the clock exactly once, so the gate in the test's clock lets the control
 * thread serve one request after the other, and counts them.
 */
static void
test_flood_does_not_delay_a_polite_client(void)
{
	static const char line[] = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"system.info\"}\n";
	struct tracker t;
	struct peer polite, flood;
	static char many[500 * (sizeof(line) - 1)];
	unsigned n_served = 0;

	start(&t);
	peer_open(&polite, &t);
	peer_open(&flood, &t);
	CHECK_EQ(peer_error(&polite, "stats.get", NULL), 0);
	tracker_gate_close(&t);
	/* in one piece: 500 small ones would fill the socket's buffer */
	for (int i = 0; i < 500; i++)
		memcpy(many + i * (sizeof(line) - 1), line, sizeof(line) - 1);
	peer_send(&flood, many, sizeof(many));
	CHECK(tracker_gate_wait(&t));
	peer_send(&polite, line, sizeof(line) - 1);
	while (n_served < 500 && !peer_has_message(&polite)) {
		tracker_gate_pass(&t);
		n_served++;
		CHECK(tracker_gate_wait(&t));
	}
	CHECK(n_served <= 4);
	tracker_gate_open(&t);
	json_decref(peer_recv(&polite));
	for (int i = 0; i < 500; i++) {
		json_t *answer = peer_recv(&flood);

		CHECK(answer != NULL);
		json_decref(answer);
	}
	peer_close(&flood);
	peer_close(&polite);
	tracker_stop(&t);
}

static void
test_half_closed_client_gets_its_answers(void)
{
	/* the last line has no line feed, as printf | nc -U sends it */
	static const char lines[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats.get\"}\n"
				    "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"clients.kick\","
				    "\"params\":{\"clientid\":\"a\"}}\n"
				    "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"stats.get\"}";
	struct tracker t;
	struct peer p;
	unsigned ids = 0;

	start(&t);
	tracker_open_id(&t, "a");
	peer_open(&p, &t);
	peer_send(&p, lines, sizeof(lines) - 1);
	shutdown(p.fd, SHUT_WR);
	for (int i = 0; i < 3; i++) {
		json_t *answer = peer_recv(&p);

		CHECK_EQ(code_of(answer), 0);
		ids |= 1u << int_of(answer, "id");
		json_decref(answer);
	}
	CHECK_EQ(ids, 1u << 1 | 1u << 2 | 1u << 3);
	CHECK(peer_at_end(&p));
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_client_that_leaves_at_once_is_still_obeyed(void)
{
	struct tracker t;
	struct peer p;
	mqt_chan_id chan;

	start(&t);
	chan = tracker_open_id(&t, "a");
	peer_open(&p, &t);
	peer_send_line(&p, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats.get\"}");
	peer_send_line(&p,
			"{\"jsonrpc\":\"2.0\",\"method\":\"clients.kick\",\"params\":"
			"{\"clientid\":\"a\"}}");
	peer_close(&p);
	for (int i = 0; i < 20000 &&
			atomic_load(&tracker_slot(&t, chan)->word) ==
					mqt_slot_word(mqt_chan_id_gen(chan), MQT_SLOT_LIVE);
			i++) {
		tracker_step(&t);
		poll(NULL, 0, 1);
	}
	CHECK_EQ(atomic_load(&tracker_slot(&t, chan)->word),
			mqt_slot_word(mqt_chan_id_gen(chan), MQT_SLOT_CLOSED));
	tracker_stop(&t);
}

static void
test_all_that_a_client_left_behind_is_served(void)
{
	enum {
		N_KICKS = 100
	}; /* more than may be under way at once */
	struct tracker t;
	struct peer p;
	mqt_chan_id chans[N_KICKS];
	char line[16384] = "[", id[32];
	unsigned n_live = N_KICKS;

	start(&t);
	for (int i = 0; i < N_KICKS; i++) {
		snprintf(id, sizeof(id), "c%d", i);
		chans[i] = tracker_open_id(&t, id);
		sprintf(line + strlen(line),
				"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"clients.kick\","
				"\"params\":{\"clientid\":\"c%d\"}},",
				i);
	}
	line[strlen(line) - 1] = ']';
	peer_open(&p, &t);
	peer_send(&p, line, strlen(line)); /* its line feed is the end of the connection */
	peer_close(&p);
	for (int tries = 0; tries < 20000 && n_live; tries++) {
		poll(NULL, 0, 1);
		tracker_step(&t);
		n_live = 0;
		for (int i = 0; i < N_KICKS; i++)
			n_live += atomic_load(&tracker_slot(&t, chans[i])->word) ==
					mqt_slot_word(mqt_chan_id_gen(chans[i]), MQT_SLOT_LIVE);
	}
	CHECK_EQ(n_live, 0);
	tracker_stop(&t);
}

/* --- clients ------------------------------------------------------------------------------------- */

static void
check_keys(const json_t *record, const char *const *keys)
{
	size_t n = 0;

	for (; keys[n]; n++) {
		check_row = keys[n];
		CHECK(json_object_get(record, keys[n]) != NULL);
	}
	check_row = "number of keys";
	CHECK_EQ(json_object_size(record), n);
	check_row = "";
}

static void
test_record_tells_all_that_is_known(void)
{
	static const char *const keys[] = { "clientid", "username", "proto_name", "proto_ver",
		"keepalive", "clean_start", "expiry_interval", "connected", "state", "connected_at",
		"ip_address", "port", "broker", "listener", "domain", "node", "channel", "worker",
		"transport", "recv_oct", "recv_cnt", "recv_pkt", "recv_msg", "send_oct", "send_cnt",
		"send_pkt", "send_msg", NULL };
	struct tracker t;
	struct peer p;
	json_t *result, *record;
	mqt_chan_id chan;
	char text[MQT_CHAN_STRLEN];

	tracker_init(&t);
	strcpy(t.config.brokers[0].name, "emqx-1");
	t.config.brokers[0].address =
			(struct mqt_endpoint){ .ip = { 198, 51, 100, 1 }, .version = 4 };
	t.config.n_brokers = 1;
	tracker_start(&t);
	chan = tracker_open(&t,
			&(struct client_spec){ .id = "meter-1",
					.username = "",
					.expiry_sec = 0,
					.flags = MQT_INFO_HAS_EXPIRY,
					.keepalive_sec = 60,
					.proto_ver = 5 });
	mqt_slot_count(tracker_slot(&t, chan), MQT_RECV_OCT, 1234567890123);
	mqt_slot_count(tracker_slot(&t, chan), MQT_SEND_MSG, 5);
	peer_open(&p, &t);
	result = peer_result(&p, "clients.get", "{\"clientid\":\"meter-1\"}");
	CHECK_EQ(n_items(result, "clients"), 1);
	record = item(result, "clients", 0);
	check_keys(record, keys);
	CHECK_STR(text_of(record, "clientid"), "meter-1");
	CHECK_STR(text_of(record, "username"), "");
	CHECK_STR(text_of(record, "proto_name"), "MQTT");
	CHECK_EQ(int_of(record, "proto_ver"), 5);
	CHECK_EQ(int_of(record, "keepalive"), 60);
	CHECK(json_is_true(json_object_get(record, "clean_start")));
	CHECK_EQ(int_of(record, "expiry_interval"), 0);
	CHECK(json_is_true(json_object_get(record, "connected")));
	CHECK_STR(text_of(record, "state"), "connected");
	CHECK_EQ(strlen(text_of(record, "connected_at")), strlen("2026-01-31T23:59:59.999Z"));
	CHECK_STR(text_of(record, "ip_address"), "192.0.2.7");
	CHECK_EQ(int_of(record, "port"), 40000);
	CHECK_STR(text_of(record, "broker"), "emqx-1");
	CHECK_STR(text_of(record, "listener"), "tcp");
	CHECK_STR(text_of(record, "domain"), "default");
	CHECK_STR(text_of(record, "node"), "mqtrack");
	CHECK_STR(text_of(record, "channel"), mqt_chan_id_format(chan, text));
	CHECK_EQ(int_of(record, "worker"), 0);
	CHECK_STR(text_of(record, "transport"), "tcp");
	CHECK_EQ(int_of(record, "recv_oct"), 1234567890123);
	CHECK_EQ(int_of(record, "send_msg"), 5);
	CHECK_EQ(int_of(record, "recv_msg"), 0);
	json_decref(result);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_record_leaves_out_what_is_not_known(void)
{
	static const char *const keys[] = { "clientid", "proto_name", "proto_ver", "keepalive",
		"clean_start", "connected", "state", "connected_at", "ip_address", "port", "broker",
		"listener", "domain", "node", "channel", "worker", "transport", NULL };
	struct tracker t;
	struct peer p;
	json_t *result, *record;
	mqt_chan_id chan;

	start(&t);
	chan = tracker_open(&t, &(struct client_spec){ .id = "old", .proto_ver = 3 });
	atomic_store(&tracker_slot(&t, chan)->word, /* the slot has moved on */
			mqt_slot_word(mqt_chan_id_gen(chan) + 1, MQT_SLOT_LIVE));
	peer_open(&p, &t);
	result = peer_result(&p, "clients.get", "{\"clientid\":\"old\"}");
	record = item(result, "clients", 0);
	check_keys(record, keys);
	CHECK_STR(text_of(record, "proto_name"), "MQIsdp");
	CHECK_STR(text_of(record, "broker"), "198.51.100.1:1883");
	json_decref(result);
	atomic_store(&tracker_slot(&t, chan)->word,
			mqt_slot_word(mqt_chan_id_gen(chan), MQT_SLOT_LIVE));
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_anonymous_and_assigned_are_marked(void)
{
	struct tracker t;
	struct peer p;
	json_t *result, *record;
	mqt_chan_id anonymous;
	char params[64], text[MQT_CHAN_STRLEN];

	start(&t);
	anonymous = tracker_open(&t, &(struct client_spec){ .flags = MQT_INFO_ANONYMOUS });
	tracker_open(&t,
			&(struct client_spec){ .id = "auto-1",
					.flags = MQT_INFO_ASSIGNED,
					.proto_ver = 5 });
	peer_open(&p, &t);
	snprintf(params, sizeof(params), "{\"channel\":\"%s\"}",
			mqt_chan_id_format(anonymous, text));
	result = peer_result(&p, "clients.get", params);
	record = item(result, "clients", 0);
	CHECK(json_is_true(json_object_get(record, "anonymous")));
	CHECK(json_object_get(record, "clientid") == NULL);
	CHECK(json_object_get(record, "assigned") == NULL);
	json_decref(result);
	result = peer_result(&p, "clients.get", "{\"clientid\":\"auto-1\"}");
	record = item(result, "clients", 0);
	CHECK(json_is_true(json_object_get(record, "assigned")));
	CHECK(json_object_get(record, "anonymous") == NULL);
	json_decref(result);
	/* the assigned id is another client than one that chose it, and a kick finds it */
	result = peer_result(&p, "clients.kick", "{\"clientid\":\"auto-1\"}");
	CHECK_EQ(int_of(result, "n_channels"), 1);
	json_decref(result);
	peer_close(&p);
	tracker_stop(&t);
}

static const struct {
	const char *name;
	const void *id;
	size_t len;
	const char *text; /* as clientid; NULL: as clientid_hex */
	const char *hex;
} ids[] = {
	{ "ascii", "a", 1, "a", "61" },
	{ "blank", " ", 1, " ", "20" },
	{ "quotes", "\"\\/", 3, "\"\\/", "225c2f" },
	{ "escape", "\x1b[2J", 4, "\x1b[2J", "1b5b324a" },
	{ "utf-8", "z\xc3\xa4hler-\xf0\x9f\x93\x9f", 12, "z\xc3\xa4hler-\xf0\x9f\x93\x9f",
			"7ac3a4686c65722df09f939f" },
	{ "NUL in the middle", "a\0b", 3, NULL, "610062" },
	{ "NUL at the end", "a\0", 2, NULL, "6100" },
	{ "only NUL", "\0", 1, NULL, "00" },
	{ "not utf-8", "\xff\xfe", 2, NULL, "fffe" },
	{ "cut utf-8", "a\xc3", 2, NULL, "61c3" },
	{ "overlong", "\xc0\x80", 2, NULL, "c080" },
	{ "surrogate", "\xed\xa0\x80", 3, NULL, "eda080" },
	{ "looks like hex", "6100", 4, "6100", "36313030" },
};

static void
test_any_bytes_make_the_round_trip(void)
{
	struct tracker t;
	struct peer p;

	start(&t);
	for (size_t i = 0; i < N(ids); i++)
		tracker_open(&t, &(struct client_spec){ .id = ids[i].id, .id_len = ids[i].len });
	peer_open(&p, &t);
	for (size_t i = 0; i < N(ids); i++) {
		json_t *result, *record, *by_hex, *params = json_object();
		char *text, hex[64];

		check_row = ids[i].name;
		snprintf(hex, sizeof(hex), "{\"clientid_hex\":\"%s\"}", ids[i].hex);
		by_hex = peer_result(&p, "clients.get", hex);
		CHECK_EQ(n_items(by_hex, "clients"), 1);
		record = item(by_hex, "clients", 0);
		CHECK_STR(text_of(record, ids[i].text ? "clientid" : "clientid_hex"),
				ids[i].text ? ids[i].text : ids[i].hex);
		CHECK(!json_object_get(record, ids[i].text ? "clientid_hex" : "clientid"));
		/* what came out goes in */
		json_object_set(params, ids[i].text ? "clientid" : "clientid_hex",
				json_object_get(record, ids[i].text ? "clientid" : "clientid_hex"));
		text = json_dumps(params, 0);
		result = peer_result(&p, "clients.get", text);
		CHECK(json_equal(result, by_hex));
		free(text);
		json_decref(params);
		json_decref(result);
		json_decref(by_hex);
	}
	check_row = "";
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_escaped_nul_in_a_string_is_a_byte(void)
{
	struct tracker t;
	struct peer p;
	json_t *result;

	start(&t);
	tracker_open(&t, &(struct client_spec){ .id = "a\0b", .id_len = 3 });
	tracker_open_id(&t, "a");
	peer_open(&p, &t);
	result = peer_result(&p, "clients.get", "{\"clientid\":\"a\\u0000b\"}");
	CHECK_STR(text_of(item(result, "clients", 0), "clientid_hex"), "610062");
	json_decref(result);
	peer_close(&p);
	tracker_stop(&t);
}

static void
two_domains(struct tracker *t)
{
	strcpy(t->config.domains[1], "other");
	t->config.n_domains = 2;
	t->config.listeners[1] = (struct mqt_listener){ .name = "second", .domain = 1 };
	t->config.n_listeners = 2;
}

static void
test_list_filters(void)
{
	static const struct {
		const char *params;
		size_t n;
	} rows[] = {
		{ "{}", 5 },
		{ "{\"domain\":\"default\"}", 3 },
		{ "{\"domain\":\"other\"}", 2 },
		{ "{\"listener\":\"second\"}", 2 },
		{ "{\"clientid\":\"a\"}", 2 },
		{ "{\"clientid\":\"a\",\"domain\":\"other\"}", 1 },
		{ "{\"clientid\":\"A\"}", 0 },
		{ "{\"clientid\":\"nobody\"}", 0 },
		{ "{\"username\":\"joe\"}", 1 },
		{ "{\"username\":\"jo\"}", 0 },
		{ "{\"broker\":\"198.51.100.1:1883\"}", 5 },
		{ "{\"broker\":\"198.51.100.2:1883\"}", 0 },
		{ "{\"worker\":0}", 5 },
		{ "{\"worker\":1}", 0 },
		{ "{\"connected\":true}", 5 },
		{ "{\"connected\":false}", 0 },
		{ "{\"state\":\"connected\"}", 5 },
		{ "{\"state\":\"retained\"}", 0 },
		{ "{\"state\":\"orphaned\"}", 0 },
		{ "{\"state\":\"disconnected\"}", 0 },
		{ "{\"transport\":\"tcp\"}", 5 },
		{ "{\"cursor\":null}", 5 },
	};
	struct tracker t;
	struct peer p;

	tracker_init(&t);
	two_domains(&t);
	tracker_start(&t);
	tracker_open(&t, &(struct client_spec){ .id = "a" });
	tracker_open(&t, &(struct client_spec){ .id = "b", .username = "joe" });
	tracker_open(&t, &(struct client_spec){ .id = "c" });
	tracker_open(&t, &(struct client_spec){ .id = "a", .domain = 1, .listener = 1 });
	tracker_open(&t, &(struct client_spec){ .id = "d", .domain = 1, .listener = 1 });
	peer_open(&p, &t);
	for (size_t i = 0; i < N(rows); i++) {
		json_t *result = peer_result(&p, "clients.list", rows[i].params);

		check_row = rows[i].params;
		CHECK_EQ(n_items(result, "clients"), rows[i].n);
		CHECK(json_is_null(json_object_get(result, "cursor")));
		json_decref(result);
	}
	check_row = "";
	peer_close(&p);
	tracker_stop(&t);
}

#define N_STAYING 300

/* Clients that stay are seen exactly once, whatever comes and goes between the pages. */
static void
page_through(uint32_t max_backlog, unsigned limit, bool churn)
{
	struct tracker t;
	struct peer p;
	mqt_chan_id going[N_STAYING];
	unsigned seen[N_STAYING] = { 0 }, n_pages = 0, n_gone = 0;
	char params[128] = "", id[32];
	const char *cursor;
	json_t *result, *record;
	size_t i;

	tracker_init(&t);
	t.config.control.max_backlog = max_backlog;
	tracker_start(&t);
	for (i = 0; i < N_STAYING; i++) {
		snprintf(id, sizeof(id), "stay-%zu", i);
		tracker_open_id(&t, id);
		snprintf(id, sizeof(id), "go-%zu", i);
		going[i] = churn ? tracker_open_id(&t, id) : MQT_CHAN_NONE;
	}
	peer_open(&p, &t);
	snprintf(params, sizeof(params), "{\"limit\":%u}", limit);
	do {
		result = peer_result(&p, "clients.list", params);
		CHECK(n_items(result, "clients") <= limit);
		json_array_foreach(json_object_get(result, "clients"), i, record)
		{
			unsigned n;

			if (sscanf(text_of(record, "clientid"), "stay-%u", &n) == 1)
				seen[n]++;
		}
		for (unsigned k = 0; churn && k < 5 && n_gone < N_STAYING; k++, n_gone++) {
			/* its row may be taken by the next one */
			tracker_close(&t, going[N_STAYING - 1 - n_gone]);
			snprintf(id, sizeof(id), "come-%u", n_gone);
			tracker_open_id(&t, id);
		}
		cursor = json_string_value(json_object_get(result, "cursor"));
		if (cursor)
			snprintf(params, sizeof(params), "{\"limit\":%u,\"cursor\":\"%s\"}", limit,
					cursor);
		json_decref(result);
		n_pages++;
	} while (cursor && n_pages < 10000);
	CHECK(n_pages >= N_STAYING / limit);
	for (i = 0; i < N_STAYING; i++)
		CHECK_EQ(seen[i], 1);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_pages_show_each_staying_client_once(void)
{
	page_through(4u << 20, 7, true);
	page_through(4u << 20, 1, true);
	page_through(4u << 20, 1000, false);
}

static void
test_pages_end_early_rather_than_overrun_the_backlog(void)
{
	struct tracker t;
	struct peer p;
	json_t *result;

	tracker_init(&t);
	t.config.control.max_backlog = 16384;
	tracker_start(&t);
	for (int i = 0; i < 100; i++) {
		char id[32];

		snprintf(id, sizeof(id), "c%d", i);
		tracker_open_id(&t, id);
	}
	peer_open(&p, &t);
	result = peer_result(&p, "clients.list", "{\"limit\":1000}");
	CHECK(n_items(result, "clients") > 10 && n_items(result, "clients") < 60);
	CHECK(json_is_string(json_object_get(result, "cursor")));
	json_decref(result);
	peer_close(&p);
	tracker_stop(&t);
	page_through(16384, 1000, false);
}

/* --- sessions ---------------------------------------------------------------------------------- */

static const struct mqt_session_limits session_limits = { .filters = 1000, .inflight = 16 };

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
		"clean_start", "connected", "state", "connected_at", "ip_address", "port", "broker",
		"listener", "domain", "node", "channel", "worker", "transport", NULL };
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

/* --- numbers --------------------------------------------------------------------------------- */

static void
test_stats_tell_gauges_counters_and_maps(void)
{
	struct tracker t;
	struct peer p;
	json_t *result, *gauges, *maps, *control;
	mqt_chan_id chan;

	start(&t);
	chan = tracker_open_id(&t, "a");
	tracker_open_id(&t, "b");
	tracker_close(&t, chan);
	peer_open(&p, &t);
	result = peer_result(&p, "stats.get", "{}");
	gauges = json_object_get(result, "gauges");
	CHECK_EQ(int_of(gauges, "channels.count"), 1);
	CHECK_EQ(int_of(gauges, "channels.max"), 2);
	CHECK_EQ(int_of(gauges, "live_connections.count"), 1);
	CHECK_EQ(int_of(gauges, "live_connections.max"), 2);
	CHECK_EQ(json_object_size(gauges), 8);
	control = json_object_get(result, "control");
	CHECK_EQ(json_object_size(control), MQT_C_N_COUNTERS);
	CHECK_EQ(int_of(control, "opens"), 2);
	CHECK_EQ(int_of(control, "unregistered"), 1);
	CHECK_EQ(json_object_size(json_object_get(result, "workers")), MQT_W_N_COUNTERS);
	maps = json_object_get(result, "maps");
	CHECK_EQ(int_of(maps, "channels"), 1);
	CHECK_EQ(int_of(maps, "clients"), 1);
	CHECK_EQ(int_of(maps, "live"), 1);
	CHECK_EQ(int_of(maps, "retired"), 0);
	CHECK_EQ(int_of(maps, "capacity"), t.config.limits.max_clients);
	CHECK(json_real_value(json_object_get(maps, "fill")) > 0);
	CHECK_EQ(int_of(result, "duplicates"), 0);
	json_decref(result);
	result = peer_result(&p, "workers.list", NULL);
	CHECK(result && json_is_array(json_object_get(result, "workers")));
	json_decref(result);
	peer_close(&p);
	tracker_stop(&t);
}

/* Counts as the worker would, which does not run. */
static void
count(struct tracker *t, unsigned worker, enum mqt_worker_counter counter, uint64_t n)
{
	struct mqt_worker_view view;

	mqt_worker_view(mqt_workers_at(t->workers, worker), &view);
	mqt_counter_add((_Atomic uint64_t *)(uintptr_t)&view.counters->v[counter], n);
}

static void
test_workers_are_listed_and_summed(void)
{
	static const char *const keys[] = { "worker", "stalled", "connections", "embryos", "parked",
		"outbox", "counters", NULL };
	struct tracker t;
	struct peer p;
	json_t *result, *one;

	tracker_init(&t);
	t.n_workers = 2;
	t.config.limits.stall_ms = 10;
	tracker_start(&t);
	count(&t, 0, MQT_W_RX_PACKETS, 5);
	count(&t, 1, MQT_W_RX_PACKETS, 7);
	t.no_heartbeat = true;
	for (int i = 0; i < 20000 && !mqt_cm_stalled(t.cm, 0); i++) {
		tracker_step(&t);
		poll(NULL, 0, 1);
	}
	peer_open(&p, &t);
	result = peer_result(&p, "workers.list", NULL);
	CHECK_EQ(n_items(result, "workers"), 2);
	for (int w = 0; w < 2; w++) {
		one = item(result, "workers", (size_t)w);
		check_keys(one, keys); /* lcore and heartbeat are not known */
		CHECK_EQ(int_of(one, "worker"), w);
		CHECK_EQ(json_is_true(json_object_get(one, "stalled")), w == 0);
		CHECK_EQ(int_of(json_object_get(one, "counters"), "rx_packets"), w ? 7 : 5);
		CHECK_EQ(json_object_size(json_object_get(one, "counters")), MQT_W_N_COUNTERS);
		CHECK_EQ(int_of(json_object_get(one, "connections"), "connected"), 0);
		CHECK_EQ(json_object_size(json_object_get(one, "connections")),
				MQT_CONN_N_STATES - 1);
	}
	json_decref(result);
	result = peer_result(&p, "stats.get", NULL);
	CHECK_EQ(int_of(json_object_get(result, "workers"), "rx_packets"), 12);
	json_decref(result);
	t.no_heartbeat = false;
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_info_tells_the_configuration(void)
{
	struct tracker t;
	struct peer p;
	json_t *result, *config;

	tracker_init(&t);
	two_domains(&t);
	t.config.listeners[1].policy = MQT_POLICY_REJECT_NEW;
	t.config.listeners[1].will = MQT_WILL_SUPPRESS;
	t.config.listeners[1].bind_username = true;
	t.config.listeners[1].session_expiry_v3_sec = UINT32_MAX;
	t.config.limits.max_retained = 77;
	t.config.flap = (struct mqt_flap){ 3, 4, 5 };
	strcpy(t.config.pairs[0].outside, "net_tap0");
	strcpy(t.config.pairs[0].inside, "net_tap1");
	t.config.n_pairs = 1;
	tracker_start(&t);
	peer_open(&p, &t);
	result = peer_result(&p, "system.info", NULL);
	CHECK_STR(text_of(result, "version"), MQT_VERSION);
	CHECK_STR(text_of(result, "node"), "mqtrack");
	CHECK_EQ(int_of(result, "pid"), getpid());
	CHECK(int_of(result, "uptime_ms") >= 0);
	CHECK(strncmp(text_of(result, "dpdk"), "DPDK", 4) == 0);
	CHECK_EQ(n_items(result, "ports"), 0);
	config = json_object_get(result, "config");
	CHECK_EQ(n_items(config, "listeners"), 2);
	CHECK_STR(text_of(item(config, "listeners", 0), "address"), "any");
	CHECK_EQ(int_of(item(config, "listeners", 0), "port"), 1883);
	CHECK_STR(text_of(item(config, "listeners", 1), "domain"), "other");
	CHECK_STR(text_of(item(config, "listeners", 0), "policy"), "newest-wins");
	CHECK_STR(text_of(item(config, "listeners", 0), "will"), "publish");
	CHECK(json_is_false(json_object_get(item(config, "listeners", 0), "bind_username")));
	CHECK_EQ(int_of(item(config, "listeners", 0), "session_expiry_v3"), 7200);
	CHECK_STR(text_of(item(config, "listeners", 1), "policy"), "reject-new");
	CHECK_STR(text_of(item(config, "listeners", 1), "will"), "suppress");
	CHECK(json_is_true(json_object_get(item(config, "listeners", 1), "bind_username")));
	CHECK_EQ(int_of(item(config, "listeners", 1), "session_expiry_v3"), UINT32_MAX);
	CHECK_EQ(int_of(config, "max_retained"), 77);
	CHECK_EQ(int_of(json_object_get(config, "flap"), "takeovers"), 3);
	CHECK_EQ(int_of(json_object_get(config, "flap"), "within"), 4);
	CHECK_EQ(int_of(json_object_get(config, "flap"), "hold"), 5);
	CHECK_STR(text_of(item(config, "ports", 0), "inside"), "net_tap1");
	json_decref(result);
	peer_close(&p);
	tracker_stop(&t);
}

/* --- events ------------------------------------------------------------------------------------ */

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

		mqt_event_ring_write(t->events, &ev);
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
	mqt_event_ring_write(t.events, &cut);
	cut.clientid_len = MQT_EVENT_CLIENTID_MAX; /* all is there, and it is no text */
	mqt_event_ring_write(t.events, &cut);
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
		mqt_event_ring_write(t.events, &ev);
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

/* --- suites ------------------------------------------------------------------------------------ */

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}

static CU_TestInfo socket_tests[] = {
	TEST(test_socket_has_mode_0660_under_any_umask),
	TEST(test_stale_socket_is_replaced),
	TEST(test_living_socket_is_in_use_and_goes_on),
	TEST(test_file_that_is_no_socket_is_left_alone),
	TEST(test_missing_directory_is_an_error_outside_run),
	TEST(test_missing_directory_is_made_under_run),
	TEST(test_stop_removes_its_own_socket_only),
	TEST(test_one_connection_too_many_is_told_so),
	CU_TEST_INFO_NULL,
};

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
	TEST(test_slow_reader_is_closed_others_go_on),
	TEST(test_flood_does_not_delay_a_polite_client),
	TEST(test_half_closed_client_gets_its_answers),
	TEST(test_client_that_leaves_at_once_is_still_obeyed),
	TEST(test_all_that_a_client_left_behind_is_served),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo client_tests[] = {
	TEST(test_record_tells_all_that_is_known),
	TEST(test_record_leaves_out_what_is_not_known),
	TEST(test_anonymous_and_assigned_are_marked),
	TEST(test_any_bytes_make_the_round_trip),
	TEST(test_escaped_nul_in_a_string_is_a_byte),
	TEST(test_list_filters),
	TEST(test_pages_show_each_staying_client_once),
	TEST(test_pages_end_early_rather_than_overrun_the_backlog),
	TEST(test_session_of_a_connected_client_is_shown),
	TEST(test_retained_session_is_shown_until_its_client_is_back),
	TEST(test_session_of_a_silent_worker_is_not_known),
	TEST(test_subscriptions_beyond_the_backlog_are_left_out_and_counted),
	TEST(test_sessions_in_a_batch_and_for_clients_that_leave),
	TEST(test_lookup_says_where),
	TEST(test_kick_and_discard_by_client_and_by_channel),
	TEST(test_kick_reaches_all_domains_unless_one_is_named),
	TEST(test_kick_of_a_silent_worker_tells_killed),
	TEST(test_kick_whose_client_has_gone_ends_unanswered),
	TEST(test_stop_with_commands_under_way),
	TEST(test_many_kicks_of_one_connection),
	CU_TEST_INFO_NULL,
};

static CU_TestInfo stats_tests[] = {
	TEST(test_stats_tell_gauges_counters_and_maps),
	TEST(test_workers_are_listed_and_summed),
	TEST(test_info_tells_the_configuration),
	CU_TEST_INFO_NULL,
};

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
	{ "socket", NULL, NULL, NULL, NULL, socket_tests },
	{ "json-rpc", NULL, NULL, NULL, NULL, rpc_tests },
	{ "clients", NULL, NULL, NULL, NULL, client_tests },
	{ "numbers", NULL, NULL, NULL, NULL, stats_tests },
	{ "events", NULL, NULL, NULL, NULL, event_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	if (eal_start("ctl") < 0)
		return 2;
	return eal_stop(check_run(suites));
}
