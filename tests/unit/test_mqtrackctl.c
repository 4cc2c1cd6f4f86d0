/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mqtrackctl: its usage, what it says where something is wrong, what never reaches a terminal, and
 * all commands but those that list and show clients.
 */
#include "mqtrackctl_run.h"

#define ESC "\x1b"

/* --- usage --------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	const char *args[6];
	const char *says;
} wrong[] = {
	{ "no command", { NULL }, "a command is missing" },
	{ "unknown command", { "frobnicate" }, "unknown command \"frobnicate\"" },
	{ "command that steers", { ESC "[31m" }, "\"\\x1b[31m\"" },
	{ "unknown option", { "clients", "--bogus" }, "unknown option \"--bogus\"" },
	{ "unknown letter", { "clients", "-Q" }, "unknown option \"-Q\"" },
	{ "unknown letter before another", { "-QC", "clients" }, "unknown option \"-Q\"" },
	{ "value for none", { "clients", "--json=1" }, "no value belongs to \"--json=1\"" },
	{ "no argument", { "clients", "--limit" }, "argument is missing for \"--limit\"" },
	{ "no number", { "clients", "--limit", "x" }, "\"x\"" },
	{ "negative", { "clients", "--limit", "-1" }, "\"-1\"" },
	{ "none", { "clients", "--limit", "0" }, "\"0\"" },
	{ "too large", { "events", "--since", "99999999999999999999" }, "9999" },
	{ "not its option", { "stats", "--limit", "1" }, "stats does not take --limit" },
	{ "connected and retained", { "clients", "--connected", "--retained" }, "not two of" },
	{ "retained and state", { "clients", "-R", "--state", "orphaned" }, "not two of" },
	{ "no worker", { "clients", "--worker", "first" }, "value for --worker: \"first\"" },
	{ "filter for none", { "show", "a", "--broker", "b" }, "show does not take --broker" },
	{ "no hexadecimal name", { "clients", "-xu", "zz" }, "digits: \"zz\"" },
	{ "domain not UTF-8", { "kick", "a", "-d", "\xff" }, "for --domain: \"\\xff\"" },
	{ "listener not UTF-8", { "clients", "-l", "\xff" }, "for --listener: \"\\xff\"" },
	{ "broker not UTF-8", { "clients", "-B", "\xff" }, "for --broker: \"\\xff\"" },
	{ "transport not UTF-8", { "clients", "--transport", "\xff" }, "for --transport:" },
	{ "state not UTF-8", { "clients", "--state", "\xff" }, "for --state:" },
	{ "reason not UTF-8", { "kick", "a", "-r", "\xff" }, "for --reason:" },
	{ "type not UTF-8", { "events", "-t", "\xff" }, "for --type:" },
	{ "channel not UTF-8", { "kick", "-c", "\xff" }, "not a channel id: \"\\xff\"" },
	{ "no id", { "show" }, "an ID is missing for \"show\"" },
	{ "two ids", { "kick", "a", "b" }, "one operand too many: \"b\"" },
	{ "an id for none", { "stats", "a" }, "one operand too many: \"a\"" },
	{ "no hexadecimal", { "show", "-x", "zz" }, "hexadecimal digits: \"zz\"" },
	{ "half a byte", { "kick", "--hex", "616" }, "hexadecimal digits: \"616\"" },
	{ "no hexadecimal filter", { "clients", "-x", "-i", "zz" }, "digits: \"zz\"" },
	{ "no file", { "capture", "a" }, "--write FILE is missing" },
	{ "no packets", { "capture", "a", "-w", "f", "-p", "0" }, "\"0\"" },
	{ "no seconds", { "capture", "a", "-w", "f", "-T", "x" }, "\"x\"" },
	{ "no bytes", { "capture", "a", "-w", "f", "-b", "-1" }, "\"-1\"" },
	{ "a channel that comes", { "capture", "-cW", "-w", "f", "a" }, "--wait goes without" },
	{ "two texts at once", { "capture", "-jw", "-", "a" }, "--json goes without" },
	{ "file for none", { "stats", "-w", "f" }, "stats does not take --write" },
	{ "channel and domain", { "kick", "--channel", "--domain", "d", "x" }, "--channel" },
};

static void
test_wrong_usage_is_2_and_says_what(void)
{
	struct tracker t;

	start(&t);
	for (size_t i = 0; i < N(wrong); i++) {
		check_row = wrong[i].name;
		run_in(&t, "C.UTF-8", wrong[i].args);
		CHECK_EQ(run.status, 2);
		CHECK(has(run.err, wrong[i].says));
		CHECK(has(run.err, "--help"));
		CHECK_STR(run.out, "");
	}
	check_row = "";
	tracker_stop(&t);
}

static void
test_help_is_there_for_all_and_each(void)
{
	static const char *const commands[] = { "clients", "show", "kick", "discard", "lookup",
		"stats", "workers", "events", "capture", "info" };
	struct tracker t;

	start(&t);
	RUN(&t, "--help");
	CHECK_EQ(run.status, 0);
	CHECK_STR(run.err, "");
	for (size_t i = 0; i < N(commands); i++)
		CHECK(has(run.out, commands[i]));
	for (size_t i = 0; i < N(commands); i++) {
		check_row = commands[i];
		RUN(&t, commands[i], "--help");
		CHECK_EQ(run.status, 0);
		CHECK(has(run.out, commands[i]));
		CHECK(has(run.out, "--socket PATH"));
		CHECK_EQ(strstr(run.out, "--limit") != NULL, i == 0);
	}
	check_row = "";
	RUN(&t, "--version");
	CHECK_EQ(run.status, 0);
	CHECK_STR(run.out, "mqtrackctl " MQT_VERSION "\n");
	tracker_stop(&t);
}

static void
test_daemon_out_of_reach_is_2_and_says_what_to_do(void)
{
	struct tracker t;

	start(&t);
	mqt_ctl_stop(t.ctl);
	t.ctl = NULL;
	RUN(&t, "stats");
	CHECK_EQ(run.status, 2);
	CHECK(has(run.err, "cannot reach mqtrackd at "));
	CHECK(has(run.err, t.config.control.socket));
	CHECK(has(run.err, "is it running? give its socket with --socket"));
	CHECK_STR(run.out, "");
	tracker_stop(&t);
}

static void
test_refusal_is_1_and_in_the_daemons_words(void)
{
	struct tracker t;
	struct peer p;

	tracker_init(&t);
	t.config.control.max_clients = 1;
	tracker_start(&t);
	peer_open(&p, &t);
	CHECK_EQ(peer_error(&p, "stats.get", NULL), 0);
	RUN(&t, "stats");
	CHECK_EQ(run.status, 1);
	CHECK(has(run.err, "too many control connections"));
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_unknown_domain_is_refused(void)
{
	struct tracker t;

	start(&t);
	RUN(&t, "clients", "--domain", "nowhere" ESC "[m");
	CHECK_EQ(run.status, 1);
	CHECK(has(run.err, "unknown domain \"nowhere\\x1b[m\""));
	tracker_stop(&t);
}

/* --- commands ------------------------------------------------------------------------------------ */

static void
test_kick_takes_a_reason(void)
{
	static const struct {
		const char *reason;
		int code; /* -1: refused */
	} rows[] = { { "0x9d", 0x9d }, { "0X9D", 0x9d }, { "157", 0x9d }, { "server_moved", 0x9d },
		{ "0", 0 }, { "4", -1 }, { "256", -1 }, { "408", -1 }, { "0x", -1 },
		{ "4294967448", -1 }, { "-104", -1 }, { "0x98x", -1 }, { "because", -1 },
		{ "", -1 } };
	struct tracker t;

	start(&t);
	for (size_t i = 0; i < N(rows); i++) {
		unsigned n = t.n_stepdowns;

		check_row = rows[i].reason;
		tracker_open_id(&t, "a");
		RUN(&t, "kick", "a", "--reason", rows[i].reason);
		CHECK_EQ(run.status, rows[i].code < 0);
		CHECK_EQ(t.n_stepdowns, n + (rows[i].code >= 0));
		if (rows[i].code >= 0)
			CHECK_EQ(t.code, rows[i].code);
		else
			CHECK(has(run.err, "reason is a code that a server may send"));
		tracker_settle(&t);
		RUN(&t, "kick", "a");
		tracker_settle(&t);
	}
	CHECK_EQ(t.code, 0x98);
	RUN(&t, "discard", "a", "--reason", "0x98");
	CHECK_EQ(run.status, 2);
	CHECK(has(run.err, "discard does not take --reason"));
	check_row = "";
	tracker_stop(&t);
}

static void
test_kick_and_discard_tell_the_outcome(void)
{
	static const char *const commands[] = { "kick", "discard" };
	struct tracker t;

	start(&t);
	for (size_t i = 0; i < N(commands); i++) {
		mqt_chan_id chan = tracker_open_id(&t, "-a"); /* looks like an option */
		char text[MQT_CHAN_STRLEN];

		check_row = commands[i];
		RUN(&t, commands[i], "--", "-a");
		CHECK_EQ(run.status, 0);
		CHECK(has(run.out, mqt_chan_id_format(chan, text)));
		CHECK(has(run.out, "stepped_down"));
		tracker_settle(&t);
		RUN(&t, commands[i], "--", "-a");
		CHECK_EQ(run.status, 1);
		CHECK(has(run.err, "unknown client \"-a\""));
		CHECK_STR(run.out, "");
		RUN(&t, commands[i], "--json", "nobody");
		CHECK_EQ(run.status, 1);
		CHECK(has(run.out, "\"n_channels\":0"));
		chan = tracker_open_id(&t, "b");
		RUN(&t, commands[i], "-c", mqt_chan_id_format(chan, text));
		CHECK_EQ(run.status, 0);
		tracker_settle(&t);
		RUN(&t, commands[i], "-c", text);
		CHECK_EQ(run.status, 1);
		CHECK(has(run.err, "unknown channel"));
	}
	check_row = "";
	tracker_stop(&t);
}

static void
test_lookup_tells_where(void)
{
	struct tracker t;
	mqt_chan_id chan;
	char text[MQT_CHAN_STRLEN];

	start(&t);
	chan = tracker_open_id(&t, "a");
	RUN(&t, "lookup", "a");
	CHECK_EQ(run.status, 0);
	CHECK(has(run.out, mqt_chan_id_format(chan, text)));
	CHECK(has(run.out, "connected"));
	RUN(&t, "lookup", "nobody");
	CHECK_EQ(run.status, 1);
	CHECK(has(run.err, "unknown client \"nobody\""));
	tracker_stop(&t);
}

static void
test_stats_workers_and_info_print_tables_and_json(void)
{
	static const struct {
		const char *command, *table, *key;
	} rows[] = {
		{ "stats", "live_connections.count", "gauges" },
		{ "stats", "control.session_created", "control" },
		{ "stats", "workers.rx_packets", "workers" },
		{ "stats", "maps.capacity", "maps" },
		{ "stats", " 0.000", "maps" }, /* maps.fill, and no 2.441e-04 */
		{ "stats", "duplicates", "duplicates" },
		{ "info", "version", "version" },
		{ "info", "config.listeners.0.port", "config" },
	};
	struct tracker t;

	start(&t);
	tracker_open_id(&t, "a");
	for (size_t i = 0; i < N(rows); i++) {
		json_t *result;

		check_row = rows[i].table;
		RUN(&t, rows[i].command);
		CHECK_EQ(run.status, 0);
		CHECK(has(run.out, rows[i].table));
		RUN(&t, rows[i].command, "--json");
		CHECK_EQ(run.status, 0);
		CHECK_EQ(n_lines(run.out), 1);
		result = json_loads(run.out, 0, NULL);
		CHECK(json_object_get(result, rows[i].key) != NULL);
		json_decref(result);
	}
	check_row = "";
	RUN(&t, "workers");
	CHECK_EQ(run.status, 0);
	RUN(&t, "workers", "--json");
	CHECK_STR(run.out, "{\"workers\":[]}\n");
	tracker_stop(&t);
}

static void
test_events_follow_and_end(void)
{
	struct tracker t;
	json_t *event;

	tracker_init(&t);
	t.config.limits.events = 4;
	tracker_start(&t);
	for (int i = 0; i < 5; i++)
		tracker_close(&t, tracker_open_id(&t, "a"));
	RUN(&t, "events", "--since", "0", "--count", "5");
	CHECK_EQ(run.status, 0);
	CHECK_EQ(n_lines(run.out), 6);
	CHECK(has(run.out, "gap"));
	CHECK(has(run.out, "were missed"));
	CHECK(has(run.out, "client_disconnect"));
	RUN(&t, "events", "--since", "0", "--count", "1", "--json");
	CHECK_EQ(run.status, 0);
	CHECK_EQ(n_lines(run.out), 1);
	event = json_loads(run.out, 0, NULL);
	CHECK_STR(json_string_value(json_object_get(event, "type")), "gap");
	CHECK_EQ(json_integer_value(json_object_get(event, "first")), 1);
	json_decref(event);
	RUN(&t, "events", "--since", "1000000");
	CHECK_EQ(run.status, 1);
	CHECK(has(run.err, "started again?"));
	RUN(&t, "events", "--type", "nonsense");
	CHECK_EQ(run.status, 1);
	CHECK(has(run.err, "unknown event type \"nonsense\""));
	RUN(&t, "events", "--since", "6", "--type", "disconnected", "--count", "2", "--json");
	CHECK(has(run.out, "\"type\":\"disconnected\""));
	tracker_stop(&t);
}

static void
test_output_that_cannot_be_written_ends_it_with_2(void)
{
	static const struct {
		const char *args[6];
	} rows[] = {
		{ { "events", "--since", "0" } },
		{ { "events", "--since", "0", "--json" } },
		{ { "clients" } },
		{ { "clients", "--json" } },
		{ { "info" } },
		{ { "show", "a" } },
		{ { "--help" } },
		{ { "--version" } },
	};
	static const char *const streams[] = { "/dev/full", "" };
	struct tracker t;

	start(&t);
	tracker_open_id(&t, "a");
	for (size_t i = 0; i < N(rows) * N(streams); i++) {
		check_row = rows[i / N(streams)].args[0];
		run_stdout = streams[i % N(streams)];
		run_in(&t, "C.UTF-8", rows[i / N(streams)].args);
		CHECK_EQ(run.status, 2);
		CHECK(has(run.err, "cannot write: "));
	}
	run_stdout = NULL;
	check_row = "";
	tracker_stop(&t);
}

/* --- what must not reach a terminal ------------------------------------------------------------ */

static bool
is_clean(const char *text)
{
	for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
		if ((*s < 0x20 && *s != '\n') || *s == 0x7f)
			return false;
		if (s[0] == 0xc2 && s[1] >= 0x80 && s[1] <= 0x9f) /* C1 */
			return false;
		if (s[0] == 0xe2 && s[1] == 0x80 && s[2] == 0xae) /* right-to-left override */
			return false;
	}
	return true;
}

static const struct {
	const char *name;
	const char *id, *arg; /* arg: as given on the command line; NULL: the same */
	size_t len;
	const char *shown, *shown_ascii;
} nasty[] = {
	{ "escape", ESC "[2J" ESC "]0;x\a", NULL, 10, "\\x1b[2J\\x1b]0;x\\x07",
			"\\x1b[2J\\x1b]0;x\\x07" },
	{ "line feed", "a\nb", NULL, 3, "a\\x0ab", "a\\x0ab" },
	{ "delete", "a\x7f", NULL, 2, "a\\x7f", "a\\x7f" },
	{ "c1",
			"a\xc2\x9b"
			"2J",
			NULL, 5, "a\\xc2\\x9b2J", "a\\xc2\\x9b2J" },
	{ "override",
			"a\xe2\x80\xae"
			"b",
			NULL, 5, "a\\xe2\\x80\\xaeb", "a\\xe2\\x80\\xaeb" },
	{ "not utf-8", "\xff\xfe", NULL, 2, "\\xff\\xfe", "\\xff\\xfe" },
	{ "backslash", "a\\x1b", NULL, 5, "a\\\\x1b", "a\\\\x1b" },
	{ "letters", "z\xc3\xa4hler", NULL, 7, "z\xc3\xa4hler", "z\\xc3\\xa4hler" },
	{ "tag", "a\xf3\xa0\x81\x81", NULL, 5, "a\\xf3\\xa0\\x81\\x81", "a\\xf3\\xa0\\x81\\x81" },
	{ "NUL", "a\0b", "610062", 3, "a\\x00b", "a\\x00b" },
};

static void
check_nasty(struct tracker *t, size_t i, const char *command)
{
	const char *arg = nasty[i].arg ? nasty[i].arg : nasty[i].id;
	const char *hex = nasty[i].arg ? "--hex" : "--";
	const char *args[] = { command, hex, arg, NULL };

	run_in(t, "C.UTF-8", args);
	CHECK_EQ(run.status, 0);
	CHECK(is_clean(run.out) && is_clean(run.err));
}

static void
test_client_ids_cannot_steer_the_terminal(void)
{
	struct tracker t;

	start(&t);
	for (size_t i = 0; i < N(nasty); i++) {
		mqt_chan_id chan = tracker_open(&t,
				&(struct client_spec){ .id = nasty[i].id,
						.id_len = nasty[i].len,
						.username = nasty[i].id });
		char text[MQT_CHAN_STRLEN];

		check_row = nasty[i].name;
		RUN(&t, "clients");
		CHECK_EQ(run.status, 0);
		CHECK(is_clean(run.out));
		CHECK(has(run.out, nasty[i].shown));
		run_in(&t, "C", (const char *const[]){ "clients", NULL });
		CHECK(is_clean(run.out));
		CHECK(has(run.out, nasty[i].shown_ascii));
		check_nasty(&t, i, "show");
		check_nasty(&t, i, "lookup");
		RUN(&t, "clients", "--json");
		CHECK(is_clean(run.out));
		RUN(&t, "events", "--since", "0", "--count", "1");
		CHECK_EQ(run.status, 0);
		CHECK(is_clean(run.out));
		RUN(&t, "events", "--since", "0", "--count", "1", "--json");
		CHECK(is_clean(run.out));
		/* by its channel, and unknown afterwards: the refusal quotes it */
		RUN(&t, "kick", "-c", mqt_chan_id_format(chan, text));
		CHECK_EQ(run.status, 0);
		tracker_settle(&t);
		RUN(&t, "kick", "--", nasty[i].id);
		CHECK_EQ(run.status, 1);
		CHECK(is_clean(run.err));
	}
	check_row = "";
	tracker_stop(&t);
}

static void
test_json_keeps_every_byte(void)
{
	struct tracker t;

	start(&t);
	for (size_t i = 0; i < N(nasty); i++) {
		json_t *result, *client, *id, *hex;

		check_row = nasty[i].name;
		tracker_open(&t,
				&(struct client_spec){ .id = nasty[i].id, .id_len = nasty[i].len });
		RUN(&t, "clients", "--json", "--limit", "1");
		result = json_loads(run.out, JSON_ALLOW_NUL, NULL);
		client = json_array_get(json_object_get(result, "clients"), 0);
		id = json_object_get(client, "clientid");
		hex = json_object_get(client, "clientid_hex");
		CHECK((id != NULL) != (hex != NULL));
		if (id) {
			CHECK_EQ(json_string_length(id), nasty[i].len);
			CHECK_MEM(json_string_value(id), nasty[i].id, nasty[i].len);
		} else {
			CHECK_EQ(json_string_length(hex), 2 * nasty[i].len);
		}
		json_decref(result);
		RUN(&t, "kick", nasty[i].arg ? "--hex" : "--",
				nasty[i].arg ? nasty[i].arg : nasty[i].id);
		CHECK_EQ(run.status, 0);
		tracker_settle(&t);
	}
	check_row = "";
	tracker_stop(&t);
}

static CU_TestInfo tests[] = {
	TEST(test_wrong_usage_is_2_and_says_what),
	TEST(test_help_is_there_for_all_and_each),
	TEST(test_daemon_out_of_reach_is_2_and_says_what_to_do),
	TEST(test_refusal_is_1_and_in_the_daemons_words),
	TEST(test_unknown_domain_is_refused),
	TEST(test_kick_takes_a_reason),
	TEST(test_kick_and_discard_tell_the_outcome),
	TEST(test_lookup_tells_where),
	TEST(test_stats_workers_and_info_print_tables_and_json),
	TEST(test_events_follow_and_end),
	TEST(test_output_that_cannot_be_written_ends_it_with_2),
	TEST(test_client_ids_cannot_steer_the_terminal),
	TEST(test_json_keeps_every_byte),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "mqtrackctl", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

int
main(int argc, char **argv)
{
	return run_suites(argc, argv, suites);
}
