/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket itself, and that no client of it can harm another.
 */
#include "ctl_rig.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

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
	TEST(test_slow_reader_is_closed_others_go_on),
	TEST(test_flood_does_not_delay_a_polite_client),
	TEST(test_half_closed_client_gets_its_answers),
	TEST(test_client_that_leaves_at_once_is_still_obeyed),
	TEST(test_all_that_a_client_left_behind_is_served),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "socket", NULL, NULL, NULL, NULL, socket_tests },
	{ "json-rpc", NULL, NULL, NULL, NULL, rpc_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
