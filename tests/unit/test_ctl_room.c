/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much room there is for clients, as stats.get tells it and the log.
 */
#include "ctl_rig.h"

#include <rte_log.h>

#define MAX_CLIENTS 10

struct logbook {
	FILE *stream;
	char *text;
	size_t len, read;
};

static void
log_begin(struct logbook *book)
{
	*book = (struct logbook){ 0 };
	book->stream = open_memstream(&book->text, &book->len);
	if (!book->stream || rte_openlog_stream(book->stream) < 0 ||
			rte_log_set_level_pattern("mqt.ctl", RTE_LOG_NOTICE) < 0)
		abort();
}

static void
log_end(struct logbook *book)
{
	rte_log_set_level_pattern("mqt.ctl", RTE_LOG_EMERG);
	rte_openlog_stream(NULL);
	fclose(book->stream);
	free(book->text);
}

/* What was logged since the last time. */
static const char *
logged(struct logbook *book)
{
	const char *text;

	fflush(book->stream);
	text = book->text + book->read;
	book->read = book->len;
	return text;
}

/* The fill in percent, as stats.get tells it. */
static int
fill(struct peer *p)
{
	json_t *result = peer_result(p, "stats.get", NULL);
	double share = json_real_value(json_object_get(json_object_get(result, "maps"), "fill"));

	json_decref(result);
	return (int)(share * 100 + 0.5);
}

static void
test_scarce_room_is_said_once_each_way(void)
{
	static const struct {
		unsigned n; /* clients */
		const char *says;
	} steps[] = {
		{ 0, "" },
		{ 8, "" },
		{ 9, "9 of 10 clients are connected: beyond limits.max_clients newcomers" },
		{ 9, "" },
		{ 10, "" },
		{ 8, "" },
		{ 9, "" },
		{ 7, "7 of 10 clients are connected: there is room again" },
		{ 7, "" },
		{ 10, "10 of 10 clients are connected: beyond" },
	};
	mqt_chan_id chans[MAX_CLIENTS];
	struct logbook book;
	struct tracker t;
	struct peer p;
	unsigned n = 0;
	char id[16];

	tracker_init(&t);
	t.config.limits.max_clients = MAX_CLIENTS;
	tracker_start(&t);
	peer_open(&p, &t);
	log_begin(&book);
	for (size_t i = 0; i < N(steps); i++) {
		const char *says;

		for (; n < steps[i].n; n++) {
			snprintf(id, sizeof(id), "c%u", n);
			chans[n] = tracker_open_id(&t, id);
		}
		while (n > steps[i].n)
			tracker_close(&t, chans[--n]);
		snprintf(id, sizeof(id), "step %zu", i);
		check_row = id;
		CHECK_EQ(fill(&p), 10 * (int)n);
		says = logged(&book);
		if (steps[i].says[0] ? !strstr(says, steps[i].says) : says[0] != '\0')
			CHECK_STR(says, steps[i].says);
	}
	check_row = "";
	log_end(&book);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_retained_sessions_take_no_room(void)
{
	struct tracker t;
	struct peer p;
	mqt_chan_id chan;

	tracker_init(&t);
	t.config.limits.max_clients = MAX_CLIENTS;
	tracker_start(&t);
	chan = tracker_open(&t, &(struct client_spec){ .id = "a", .resume = true });
	peer_open(&p, &t);
	CHECK_EQ(fill(&p), 10);
	tracker_leave(&t, chan, &(struct mqt_session_final){ .expiry_sec = 60 });
	CHECK_EQ(fill(&p), 0);
	peer_close(&p);
	tracker_stop(&t);
}

static CU_TestInfo room_tests[] = {
	TEST(test_scarce_room_is_said_once_each_way),
	TEST(test_retained_sessions_take_no_room),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "room", NULL, NULL, NULL, NULL, room_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
