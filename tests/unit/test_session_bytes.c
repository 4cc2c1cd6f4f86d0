/* SPDX-License-Identifier: BSD-3-Clause */
/* How much memory the topic filters of one session may take, however they come. */
#include "check.h"
#include "mqtrack/session.h"

#define BYTES 1000

static struct mqt_session_limits limits = { .filters = 1000, .inflight = 9, .bytes = BYTES };

static size_t
bytes_of(const struct mqt_session *session)
{
	struct mqt_session_counts empty, counts;
	struct mqt_session *none = mqt_session_create();

	mqt_session_counts(none, &empty);
	mqt_session_counts(session, &counts);
	mqt_session_destroy(none);
	return counts.bytes - empty.bytes;
}

/* Filter number @p n of @p len bytes. @return filters missed. */
static unsigned
request(struct mqt_session *session, uint8_t type, uint16_t n, uint16_t len)
{
	static uint8_t body[65536];
	uint32_t options = type == MQT_MQTT_SUBSCRIBE;
	struct mqt_mqtt_packet packet = {
		.type = type, .packet_id = n, .body = { body, 2 + 2 + len + options }
	};

	memset(body, 'f', 4 + (size_t)len);
	body[2] = (uint8_t)(len >> 8);
	body[3] = (uint8_t)len;
	body[4] = (uint8_t)(n >> 8 | 1);
	body[5] = (uint8_t)n;
	body[4 + len] = 1;
	return mqt_session_apply(session, &limits, MQT_SESSION_FROM_CLIENT, 4, &packet);
}

static unsigned
answer(struct mqt_session *session, uint8_t type, uint16_t n)
{
	const uint8_t body[] = { (uint8_t)(n >> 8), (uint8_t)n, 1 };
	struct mqt_mqtt_packet packet = {
		.type = type, .packet_id = n, .body = { body, type == MQT_MQTT_SUBACK ? 3 : 2 }
	};

	return mqt_session_apply(session, &limits, MQT_SESSION_TO_CLIENT, 4, &packet);
}

static uint32_t
filters_of(const struct mqt_session *session)
{
	struct mqt_session_counts counts;

	mqt_session_counts(session, &counts);
	return counts.filters;
}

static void
test_filters_are_kept_up_to_the_bytes_and_counted_beyond(void)
{
	struct mqt_session *session = mqt_session_create();
	struct mqt_session_counts counts;
	unsigned n_missed = 0;

	for (uint16_t n = 1; n <= 100; n++) {
		n_missed += request(session, MQT_MQTT_SUBSCRIBE, n, 47);
		n_missed += answer(session, MQT_MQTT_SUBACK, n);
		CHECK(bytes_of(session) <= BYTES);
	}
	mqt_session_counts(session, &counts);
	CHECK(counts.filters >= 14 &&
			counts.filters <= 20); /* of 50 bytes each, and room to grow */
	CHECK_EQ(n_missed, 100 - counts.filters);
	CHECK_EQ(counts.filters_missed, n_missed);
	mqt_session_destroy(session);
}

static void
test_waiting_requests_share_the_bytes(void)
{
	struct mqt_session *session = mqt_session_create();
	unsigned n_missed = 0;
	uint16_t n;

	for (n = 1; n <= 100; n++) {
		n_missed += request(session, MQT_MQTT_SUBSCRIBE, n, 47);
		CHECK(bytes_of(session) <= BYTES);
	}
	CHECK(n_missed >= 84 && n_missed < 90);
	/* what has found room once is granted */
	for (n = 1; n <= 100; n++) {
		CHECK_EQ(answer(session, MQT_MQTT_SUBACK, n), 0);
		CHECK(bytes_of(session) <= BYTES);
	}
	CHECK_EQ(filters_of(session), 100 - n_missed);
	mqt_session_destroy(session);
}

static void
test_a_filter_longer_than_all_is_counted_alone(void)
{
	struct mqt_session *session = mqt_session_create();

	CHECK_EQ(request(session, MQT_MQTT_SUBSCRIBE, 1, BYTES), 1);
	CHECK_EQ(answer(session, MQT_MQTT_SUBACK, 1), 0);
	CHECK_EQ(bytes_of(session), 0);
	CHECK_EQ(request(session, MQT_MQTT_SUBSCRIBE, 2, 10), 0);
	CHECK_EQ(answer(session, MQT_MQTT_SUBACK, 2), 0);
	CHECK_EQ(filters_of(session), 1);
	mqt_session_destroy(session);
}

static void
test_bytes_given_back_can_be_used_again(void)
{
	struct mqt_session *session = mqt_session_create();

	for (uint16_t n = 1; n <= 200; n++) {
		CHECK_EQ(request(session, MQT_MQTT_SUBSCRIBE, n, 400), 0);
		CHECK_EQ(answer(session, MQT_MQTT_SUBACK, n), 0);
		CHECK_EQ(filters_of(session), 1);
		CHECK_EQ(request(session, MQT_MQTT_UNSUBSCRIBE, n, 400), 0);
		CHECK_EQ(answer(session, MQT_MQTT_UNSUBACK, n), 0);
		CHECK_EQ(bytes_of(session), 0);
	}
	mqt_session_destroy(session);
}

int
main(void)
{
	static CU_TestInfo tests[] = {
		{ "filters_are_kept_up_to_the_bytes_and_counted_beyond",
				test_filters_are_kept_up_to_the_bytes_and_counted_beyond },
		{ "waiting_requests_share_the_bytes", test_waiting_requests_share_the_bytes },
		{ "a_filter_longer_than_all_is_counted_alone",
				test_a_filter_longer_than_all_is_counted_alone },
		{ "bytes_given_back_can_be_used_again", test_bytes_given_back_can_be_used_again },
		CU_TEST_INFO_NULL,
	};
	static CU_SuiteInfo suites[] = {
		{ "session bytes", NULL, NULL, NULL, NULL, tests },
		CU_SUITE_INFO_NULL,
	};

	return check_run(suites);
}
