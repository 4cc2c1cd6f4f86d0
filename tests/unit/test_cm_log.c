/* SPDX-License-Identifier: BSD-3-Clause */
#include "cm_session_rig.h"

#include <rte_common.h>
#include <rte_log.h>

/*
 * What the channel manager logs, and how often.
 */

static const struct rig_open id_a = { .clientid = "a" };
/* A client with a session of an hour. */
static const struct rig_open kept = { .clientid = "a", .resume = true, .expiry_sec = 3600 };

struct logbook {
	FILE *stream;
	char *text;
	size_t len;
};

static void
log_begin(struct logbook *book)
{
	*book = (struct logbook){ 0 };
	book->stream = open_memstream(&book->text, &book->len);
	if (!book->stream || rte_openlog_stream(book->stream) < 0 ||
			rte_log_set_level_pattern("mqt.cm", RTE_LOG_NOTICE) < 0)
		abort();
}

/* Returns how many lines there are, all of them with @p word. */
static unsigned
log_end(struct logbook *book, const char *word)
{
	unsigned n = 0;

	rte_log_set_level_pattern("mqt.cm", RTE_LOG_EMERG);
	rte_openlog_stream(NULL);
	fclose(book->stream);
	for (char *line = strtok(book->text, "\n"); line; line = strtok(NULL, "\n")) {
		n++;
		CHECK(strstr(line, word) != NULL);
	}
	free(book->text);
	return n;
}

static void
test_messages_not_expected_are_logged_once_a_type(void)
{
	static const uint8_t types[] = { MQT_MSG_GRANTED, MQT_MSG_STEPDOWN_DONE, MQT_N_MSGS };
	struct rig *rig = rig_create(small);
	struct rig_conn *a = rig_connect(rig, 0, id_a);
	struct logbook book;

	log_begin(&book);
	for (unsigned i = 0; i < 100; i++) {
		for (unsigned t = 0; t < RTE_DIM(types); t++)
			rig_post(rig, a, (struct mqt_msg){ .type = types[t] });
		rig_settle(rig);
	}
	CHECK_EQ(log_end(&book, "is not expected"), RTE_DIM(types));
	CHECK_EQ(rig_counter(rig, MQT_C_UNEXPECTED_MSG), 100 * RTE_DIM(types));
	CHECK(rig_live(rig, a));
	rig_check_end(rig);
}

static void
test_stale_channels_are_logged_once(void)
{
	struct rig *rig = rig_create(small);
	struct logbook book;

	rig_put_beside(rig, 0, &id_a);
	rig_put_beside(rig, 1, &id_a);
	rig_put_beside(rig, 0, &kept);
	log_begin(&book);
	rig->now_ns += RIG_MS;
	rig_connect(rig, 0, id_a);
	rig_put_beside(rig, 1, &id_a);
	rig_put_beside(rig, 1, &id_a);
	rig->now_ns += RIG_MS;
	rig_connect(rig, 0, id_a);
	CHECK_EQ(log_end(&book, "more than one channel"), 1);
	CHECK_EQ(rig_counter(rig, MQT_C_STALE_CHANNELS), 2);
	rig_check_end(rig);
}

/* ---------------------------------------------------------------------------------------------------- */

#define T(name)                                                                                    \
	{                                                                                          \
#name, test_##name                                                                 \
	}

static CU_TestInfo log_tests[] = {
	T(messages_not_expected_are_logged_once_a_type),
	T(stale_channels_are_logged_once),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "the log", NULL, NULL, NULL, NULL, log_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return rig_run(suites);
}
