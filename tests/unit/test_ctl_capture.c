/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Captures by the control socket. The worker is the test: it copies what it is told to.
 */
#include "capture_rig.h"
#include "ctl_rig.h"

#include <sodium.h>

static struct frame frame;

/* A file that comes in notifications. */
struct file {
	uint8_t data[1u << 20];
	size_t len;
	json_t *end;
};

static struct file file;

/* The capture that is on, which must be the only one. */
static struct mqt_capture *
only_capture(struct tracker *t)
{
	struct mqt_capture *found = NULL;

	for (unsigned i = 0; i < MQT_CAPTURES_MAX; i++) {
		if (atomic_load(&t->captures->capture[i].word) % 2 == 0)
			continue;
		CHECK(found == NULL);
		found = &t->captures->capture[i];
	}
	CHECK(found != NULL);
	return found;
}

static void
put(struct tracker *t, struct mqt_capture *capture, uint32_t len)
{
	struct mqt_capture_packet packet = { .at_ns = mqt_clock_mono(&t->clock), .port = 1 };

	mqt_role_worker_assert();
	mqt_capture_put(capture, 0, &packet, frame_make(&frame, 7, len, 8192));
}

/* Takes a notification. Returns false: the end, or none. */
static bool
file_next(struct peer *p)
{
	json_t *message = peer_recv(p), *params = json_object_get(message, "params");
	const char *data = json_string_value(json_object_get(params, "data"));
	size_t n = 0;

	CHECK_STR(text_of(message, "method"), "capture");
	if (data)
		CHECK_EQ(sodium_base642bin(file.data + file.len, sizeof(file.data) - file.len, data,
					 strlen(data), NULL, &n, NULL,
					 sodium_base64_VARIANT_ORIGINAL),
				0);
	else
		file.end = json_incref(params);
	file.len += n;
	json_decref(message);
	return data != NULL;
}

static void
file_begin(struct peer *p)
{
	json_decref(file.end);
	file.end = NULL;
	file.len = 0;
	CHECK(file_next(p));
}

static void
file_finish(struct peer *p)
{
	while (file_next(p))
		;
}

static unsigned
count_blocks(uint32_t want)
{
	unsigned n = 0;
	uint32_t type;

	for (size_t at = 0; at < file.len;) {
		at += block_at(file.data, file.len, at, &type);
		n += type == want;
	}
	return n;
}

static void
start_pairs(struct tracker *t)
{
	tracker_init(t);
	t->config.n_pairs = 2;
	tracker_start(t);
}

static void
test_capture_is_a_file_with_its_packets_and_an_end(void)
{
	struct tracker t;
	struct peer p;
	struct mqt_capture *capture;
	mqt_chan_id chan;
	json_t *result;

	start_pairs(&t);
	chan = tracker_open_id(&t, "a");
	peer_open(&p, &t);
	result = peer_result(&p, "capture.start", "{\"clientid\":\"a\",\"packets\":3}");
	CHECK_EQ(int_of(result, "channels"), 1);
	json_decref(result);
	capture = only_capture(&t);
	CHECK_EQ(capture->clientid_len, 1);
	CHECK_EQ(capture->domain, -1);
	CHECK_EQ(atomic_load(&capture->n_chans), 1);
	CHECK_EQ(atomic_load(&capture->chans[0]), chan);
	file_begin(&p);
	CHECK_EQ(count_blocks(0x0a0d0d0a), 1);
	CHECK_EQ(count_blocks(1), 4); /* a port each */
	for (unsigned i = 0; i < 5; i++)
		put(&t, capture, 100);
	file_finish(&p);
	CHECK_STR(text_of(file.end, "end"), "packets");
	CHECK_EQ(int_of(file.end, "packets"), 3);
	CHECK_EQ(count_blocks(6), 3);
	CHECK_EQ(int_of(file.end, "bytes"), file.len);
	CHECK_EQ(int_of(file.end, "dropped"), 0);
	CHECK_EQ(atomic_load(&capture->word) % 2, 0);
	/* and another one may begin */
	json_decref(peer_result(&p, "capture.start", "{\"clientid\":\"a\"}"));
	only_capture(&t);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_capture_ends_before_its_bytes_are_passed(void)
{
	struct tracker t;
	struct peer p;

	start_pairs(&t);
	tracker_open_id(&t, "a");
	peer_open(&p, &t);
	json_decref(peer_result(&p, "capture.start", "{\"clientid\":\"a\",\"bytes\":20000}"));
	file_begin(&p);
	for (unsigned i = 0; i < 30; i++)
		put(&t, only_capture(&t), 1000);
	file_finish(&p);
	CHECK_STR(text_of(file.end, "end"), "bytes");
	CHECK(file.len <= 20000 && file.len > 20000 - 1100);
	CHECK_EQ(int_of(file.end, "bytes"), file.len);
	CHECK_EQ(int_of(file.end, "packets"), count_blocks(6));
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_capture_of_a_channel_ends_with_it_and_tells_what_was_dropped(void)
{
	struct tracker t;
	struct peer p;
	struct mqt_capture *capture;
	char params[96], text[MQT_CHAN_STRLEN];

	start_pairs(&t);
	mqt_chan_id_format(tracker_open_id(&t, "a"), text);
	snprintf(params, sizeof(params), "{\"channel\":\"%s\"}", text);
	peer_open(&p, &t);
	json_decref(peer_result(&p, "capture.start", params));
	capture = only_capture(&t);
	CHECK(capture->clientid == NULL);
	file_begin(&p);
	atomic_store(&capture->ring[0].dropped, 9);
	put(&t, capture, 100);
	atomic_store(&capture->over, true);
	file_finish(&p);
	CHECK_STR(text_of(file.end, "end"), "channel_closed");
	CHECK_EQ(int_of(file.end, "packets"), 1);
	CHECK_EQ(int_of(file.end, "dropped"), 9);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_channel_that_comes_later_is_named_too(void)
{
	struct tracker t;
	struct peer p;
	struct mqt_capture *capture;
	mqt_chan_id chan;

	start_pairs(&t);
	peer_open(&p, &t);
	json_decref(peer_result(
			&p, "capture.start", "{\"clientid\":\"a\",\"wait\":true,\"packets\":1}"));
	capture = only_capture(&t);
	file_begin(&p);
	CHECK_EQ(atomic_load(&capture->n_chans), 0);
	tracker_open_id(&t, "b");
	chan = tracker_open_id(&t, "a");
	while (atomic_load(&capture->n_chans) == 0)
		tracker_step(&t);
	CHECK_EQ(atomic_load(&capture->chans[0]), chan);
	put(&t, capture, 100);
	file_finish(&p);
	CHECK_EQ(atomic_load(&capture->n_chans), 1);
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_what_cannot_be_captured_is_an_error(void)
{
	static const struct {
		const char *params;
		int code;
	} rows[] = {
		{ "{\"clientid\":\"nobody\"}", -32001 },
		{ "{\"channel\":\"00-00-000001-000099\"}", -32002 },
		{ "{\"channel\":\"00-00-000001-000099\",\"wait\":true}", -32002 },
		{ "{\"clientid\":\"kept\"}", -32005 },
		{ "{}", -32602 },
		{ "{\"clientid\":\"a\",\"seconds\":0}", -32602 },
		{ "{\"clientid\":\"a\",\"seconds\":86401}", -32602 },
		{ "{\"clientid\":\"a\",\"packets\":0}", -32602 },
		{ "{\"clientid\":\"a\",\"bytes\":8191}", -32602 },
		{ "{\"clientid\":\"a\",\"file\":\"/tmp/x\"}", -32602 },
	};
	struct mqt_session_final final = { .expiry_sec = 100 };
	struct tracker t;
	struct peer p;

	start_pairs(&t);
	tracker_open_id(&t, "a");
	tracker_leave(&t,
			tracker_open(&t, &(struct client_spec){ .id = "kept", .expiry_sec = 100 }),
			&final);
	peer_open(&p, &t);
	for (unsigned i = 0; i < N(rows); i++) {
		check_row = rows[i].params;
		CHECK_EQ(peer_error(&p, "capture.start", rows[i].params), rows[i].code);
		for (unsigned k = 0; k < MQT_CAPTURES_MAX; k++)
			CHECK_EQ(atomic_load(&t.captures->capture[k].word) % 2, 0);
	}
	check_row = "";
	peer_close(&p);
	tracker_stop(&t);
}

static void
test_captures_are_as_many_as_there_are_and_go_with_their_connection(void)
{
	struct tracker t;
	struct peer p[MQT_CAPTURES_MAX + 1];

	start_pairs(&t);
	tracker_open_id(&t, "a");
	for (unsigned i = 0; i <= MQT_CAPTURES_MAX; i++)
		peer_open(&p[i], &t);
	for (unsigned i = 0; i < MQT_CAPTURES_MAX; i++) {
		json_decref(peer_result(&p[i], "capture.start", "{\"clientid\":\"a\"}"));
		file_begin(&p[i]);
	}
	CHECK_EQ(peer_error(&p[0], "capture.start", "{\"clientid\":\"a\"}"), -32005);
	CHECK_EQ(peer_error(&p[MQT_CAPTURES_MAX], "capture.start", "{\"clientid\":\"a\"}"), -32005);
	peer_close(&p[1]);
	while (atomic_load(&t.captures->capture[1].word) % 2 == 1)
		tracker_step(&t);
	tracker_step(&t); /* the worker sees it */
	json_decref(peer_result(&p[MQT_CAPTURES_MAX], "capture.start", "{\"clientid\":\"a\"}"));
	peer_close(&p[0]);
	for (unsigned i = 2; i <= MQT_CAPTURES_MAX; i++)
		peer_close(&p[i]);
	tracker_stop(&t);
}

static void
test_reader_that_does_not_read_delays_nobody(void)
{
	struct tracker t;
	struct peer slow, other;
	struct mqt_capture *capture;

	tracker_init(&t);
	t.config.n_pairs = 1;
	t.config.control.max_backlog = 65536;
	tracker_start(&t);
	tracker_open_id(&t, "a");
	peer_open(&slow, &t);
	peer_open(&other, &t);
	json_decref(peer_result(&slow, "capture.start", "{\"clientid\":\"a\"}"));
	file_begin(&slow);
	capture = only_capture(&t);
	for (unsigned i = 0; mqt_capture_dropped(t.captures, capture) < 100; i++) {
		put(&t, capture, 1000);
		if (i % 64 == 0)
			json_decref(peer_result(&other, "system.info", NULL));
	}
	CHECK_EQ(atomic_load(&capture->word) % 2, 1); /* it has only missed some */
	while (atomic_load(&capture->ring[0].head) != atomic_load(&capture->ring[0].tail))
		CHECK(file_next(&slow));
	atomic_store(&capture->over, true);
	file_finish(&slow);
	CHECK(int_of(file.end, "dropped") >= 100);
	CHECK_EQ(int_of(file.end, "packets"), count_blocks(6));
	peer_close(&slow);
	peer_close(&other);
	tracker_stop(&t);
}

static CU_TestInfo capture_tests[] = {
	TEST(test_capture_is_a_file_with_its_packets_and_an_end),
	TEST(test_capture_ends_before_its_bytes_are_passed),
	TEST(test_capture_of_a_channel_ends_with_it_and_tells_what_was_dropped),
	TEST(test_channel_that_comes_later_is_named_too),
	TEST(test_what_cannot_be_captured_is_an_error),
	TEST(test_captures_are_as_many_as_there_are_and_go_with_their_connection),
	TEST(test_reader_that_does_not_read_delays_nobody),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "capture", NULL, NULL, NULL, NULL, capture_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	int status = rig_run(suites);

	json_decref(file.end);
	return status;
}
