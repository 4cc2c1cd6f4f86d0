/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What memory sessions take, where it has a bound, and what happens where there is none.
 */
#include "alloc.h"
#include "check.h"
#include "session_script.h"

static void
test_empty_parts_take_no_memory(void)
{
	static const struct {
		const char *script;
		unsigned n_live; /* the session itself is one */
	} rows[] = {
		{ "", 1 },
		{ ">pub1/1 >pub2/2 <pub1/3 <pub2/4", 1 },
		{ ">pub1/1 >pub2/2 >pub2/3", 2 },
		{ ">pub1/1 >pub1/2 >pub1/3 <puback/2", 1 },
		{ "<pub1/1 split", 2 },
		{ "<pub1/1 split join <dup1/1", 1 },
		{ "<pub1/1 <pub1/2 <pub1/3 split", 2 },
		{ "<pub1/1 split <pub1/2 <pub1/3 join split join", 2 },
		{ ">sub/1(a:01)", 2 },
		{ ">sub/1(a:01) >sub/1(b:01)", 2 },
		{ ">sub/1(a:01) >sub/2(b:01)", 3 },
		{ ">sub/1(a:01) >sub/2(b:01) final", 1 },
		{ ">sub/1(a:01) <suback/1(80)", 1 },
		{ ">sub/1(a:01) <suback/1(01) >sub/1(b:01) <suback/1(01)", 2 },
		{ ">sub/1(a:01) <suback/1(01) >unsub/1(a) <unsuback/1", 1 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned n_before = alloc.n_live;
		struct script script = script_start(4, 9, 9);

		script_run(&script, check_row = rows[i].script);
		CHECK_EQ(alloc.n_live - n_before, rows[i].n_live);
		script_end(&script);
		CHECK_EQ(alloc.n_live, n_before);
	}
}

static size_t
bytes_of(const struct mqt_session *session)
{
	struct mqt_session_counts counts;

	mqt_session_counts(session, &counts);
	return counts.bytes;
}

static void
test_bytes_count_each_part(void)
{
	static const struct {
		const char *script;
		size_t least, most; /* more than the empty session */
	} rows[] = {
		{ "", 0, 0 },
		{ ">pub1/1 <pub1/1 >pub1/2 <pub1/2", 0, 0 },
		{ ">pub1/1 >pub1/2 >pub1/3", 12, 32 },
		{ "<pub1/1 <pub1/2 <pub1/3 <pub1/4 <pub1/5 <pub1/6 <pub1/7 <pub1/8 <pub1/9", 36,
				64 },
		{ "<pub1/1 <pub1/2 <pub1/3 split", 0, 0 },
		{ "<pub1/1 <pub1/2 <pub1/3 split join", 8, 8 },
		{ ">sub/1(abcdefgh:01)", 11, 64 },
		{ ">sub/1(abcdefgh:01) <suback/1(01)", 11, 32 },
		{ ">sub/1(abcdefgh:01) <suback/1(01) >unsub/1(abcdefgh) <unsuback/1", 0, 0 },
		{ ">sub/1(abcdefgh:01) <suback/1(80)", 0, 0 },
		{ ">sub/1(abcdefgh:01) final", 0, 0 },
	};
	struct mqt_session *empty = mqt_session_create();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct script script = script_start(4, 9, 9);
		size_t bytes;

		script_run(&script, check_row = rows[i].script);
		bytes = bytes_of(script.session) - bytes_of(empty);
		CHECK(bytes >= rows[i].least && bytes <= rows[i].most);
		script_end(&script);
	}
	CHECK(bytes_of(empty) <= 256);
	mqt_session_destroy(empty);
}

/* Without memory nothing breaks: what is not kept is counted. */
static void
test_refused_memory_is_counted(void)
{
	static const struct {
		const char *before, *script, *want;
	} rows[] = {
		{ "", ">sub/1(a:01,b:01)", "| | | 0 | 2 0" },
		{ ">sub/1(a:01,b:01)", "<suback/1(01,01)", "b:1 | | | 0 | 1 0" },
		{ ">sub/1(a:01) <suback/1(01)", ">unsub/2(a)", "a:1 | | | 0 | 1 0" },
		{ ">pub1/1 >pub1/2", ">pub1/3", "| 1p 2p | | 0 | 0 1" },
		{ "<pub1/1 <pub1/2 <pub1/3 <pub1/4 <pub1/5 <pub1/6 <pub1/7 <pub1/8", "<pub1/9",
				"| | 1p 2p 3p 4p 5p 6p 7p 8p | 0 | 0 1" },
		{ "<pub1/1", "split", "| | 1p | 0 | 0 0" },
		{ "<pub1/1 <pub1/2 split join <pub1/3 <pub1/4 <pub1/5 split", "join",
				"| | | 2 | 0 3" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned n_before = alloc.n_live;
		struct script script = script_start(4, 9, 30);

		script_run(&script, rows[i].before);
		alloc.refuse_in = 0;
		script_word(&script, check_row = rows[i].script);
		CHECK_EQ(alloc.refuse_in, -1);
		CHECK_STR(script_dump(script.session), rows[i].want);
		script_end(&script);
		CHECK_EQ(alloc.n_live, n_before);
	}
	alloc.refuse_in = 0;
	CHECK(mqt_session_create() == NULL);
}

static void
test_a_copy_is_whole_or_none(void)
{
	struct script script = script_start(4, 9, 9);
	struct mqt_session *copy = NULL;
	int n;

	check_row = "";
	script_run(&script,
			">sub/1(a:01) <suback/1(01) <pub1/1 split join >sub/2(b:01) >sub/3(c:01) "
			">pub1/1 >pub1/2 >pub1/3 <pub1/4 <pub1/5 <pub1/6");
	for (n = 0; copy == NULL && n < 20; n++) {
		unsigned n_live = alloc.n_live;

		alloc.refuse_in = n;
		copy = mqt_session_clone(script.session);
		CHECK_EQ(alloc.n_live - n_live, copy != NULL ? 7 : 0);
	}
	alloc.refuse_in = -1;
	CHECK_EQ(n, 8); /* session, block, two requests, two directions, pendings; then none */
	mqt_session_destroy(copy);
	script_end(&script);
}

/* Requests of the greatest length, one after the other. */
static void
test_waiting_requests_are_bounded_in_bytes(void)
{
	const struct mqt_session_limits limits = { 1000, 9, 65536 };
	struct mqt_session *session = mqt_session_create();
	uint8_t body[2 + 2 + 16000 + 1] = { 0, 0, 16000 >> 8, 16000 & 0xff };
	struct mqt_mqtt_packet packet = { .type = MQT_MQTT_SUBSCRIBE,
		.body = { body, sizeof(body) } };
	unsigned n_missed = 0;

	check_row = "";
	memset(body + 4, 'x', 16000);
	for (packet.packet_id = 1; packet.packet_id <= 10; packet.packet_id++)
		n_missed += mqt_session_apply(
				session, &limits, MQT_SESSION_FROM_CLIENT, 4, &packet);
	CHECK_EQ(n_missed, 6);
	CHECK(bytes_of(session) < 66000);
	mqt_session_destroy(session);
}

static void
test_the_longest_request_is_kept(void)
{
	const struct mqt_session_limits limits = { 2, 9, 1 << 20 };
	struct mqt_session *session = mqt_session_create();
	uint32_t len = 2 + 2 * (2 + 65535 + 1);
	uint8_t *body = calloc(1, len);
	struct mqt_mqtt_packet packet = {
		.type = MQT_MQTT_SUBSCRIBE, .packet_id = 1, .body = { body, len }
	};
	struct mqt_bytes filter;
	uint8_t qos;

	check_row = "";
	memset(body + 2, 0xff, len - 2);
	body[2 + 2 + 65535 + 1 + 2] = 'y'; /* the second filter begins otherwise */
	CHECK_EQ(mqt_session_apply(session, &limits, MQT_SESSION_FROM_CLIENT, 4, &packet), 0);
	packet.type = MQT_MQTT_SUBACK;
	packet.body = (struct mqt_bytes){ (const uint8_t[]){ 0, 1, 1, 2 }, 4 };
	CHECK_EQ(mqt_session_apply(session, &limits, MQT_SESSION_TO_CLIENT, 4, &packet), 0);
	CHECK(mqt_session_filter(session, 1, &filter, &qos));
	CHECK_EQ(filter.len, 65535);
	CHECK_EQ(filter.ptr[0], 'y');
	CHECK_EQ(filter.ptr[65534], 0xff);
	CHECK_EQ(qos, 2);
	CHECK(!mqt_session_filter(session, 2, &filter, &qos));
	free(body);
	mqt_session_destroy(session);
}

/* Each packet id in flight, taken over again and again. */
static void
test_all_packet_ids_may_be_pending(void)
{
	const struct mqt_session_limits limits = { 0, UINT32_MAX, 0 };
	struct mqt_session *session = mqt_session_create();
	struct mqt_session_counts counts;

	check_row = "";
	for (int round = 0; round < 2; round++) {
		for (uint32_t id = 65535; id > 0; id -= round ? 5 : 1) {
			struct mqt_mqtt_packet packet = {
				.type = MQT_MQTT_PUBLISH, .qos = 1, .packet_id = (uint16_t)id
			};

			/* without the search in what is known, which would take a while */
			if (id % 5 != 0 && id > 1000)
				continue;
			mqt_session_apply(session, &limits, MQT_SESSION_TO_CLIENT, 4, &packet);
		}
		mqt_session_join_pendings(session, mqt_session_split_pendings(session));
		mqt_session_counts(session, &counts);
		CHECK_EQ(counts.pendings, 1000 + 64535 / 5);
		CHECK_EQ(counts.inflight[MQT_SESSION_TO_CLIENT], 0);
	}
	mqt_session_destroy(session);
}

#define TEST(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}

static CU_TestInfo session_tests[] = {
	TEST(test_empty_parts_take_no_memory),
	TEST(test_bytes_count_each_part),
	TEST(test_refused_memory_is_counted),
	TEST(test_a_copy_is_whole_or_none),
	TEST(test_waiting_requests_are_bounded_in_bytes),
	TEST(test_the_longest_request_is_kept),
	TEST(test_all_packet_ids_may_be_pending),
	CU_TEST_INFO_NULL,
};

int
main(void)
{
	CU_SuiteInfo suites[] = {
		{ .pName = "session memory", .pTests = session_tests },
		CU_SUITE_INFO_NULL,
	};

	return check_run(suites);
}
