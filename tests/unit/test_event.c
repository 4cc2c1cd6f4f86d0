/* SPDX-License-Identifier: BSD-3-Clause */
#include "check.h"
#include "event_write.h"
#include "mqtrack/event.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>

/* An event whose every field follows from its number. */
static struct mqt_event
event_of(uint64_t n)
{
	struct mqt_event ev = {
		.epoch = n * 3,
		.wall_ns = n ^ 0x5555555555555555u,
		.mono_ns = ~n,
		.chan = n << 24 | 1,
		.other = n << 20,
		.clientid_len = MQT_EVENT_CLIENTID_MAX,
		.flags = (uint16_t)n,
		.listener = (uint16_t)(n >> 3),
		.domain = (uint16_t)(n >> 5),
		.type = (uint8_t)(n % MQT_N_EVENTS),
		.reason = (uint8_t)(n % MQT_N_REASONS),
		.proto_ver = 5,
	};

	memset(&ev.peer, (int)(n & 0xff), sizeof(ev.peer));
	memset(&ev.broker, (int)(n >> 8 & 0xff), sizeof(ev.broker));
	memset(&ev.other_peer, (int)(n >> 16 & 0xff), sizeof(ev.other_peer));
	for (size_t i = 0; i < sizeof(ev.clientid); i++)
		ev.clientid[i] = (uint8_t)(n + i);
	return ev;
}

static bool
event_is(const struct mqt_event *ev, uint64_t n)
{
	struct mqt_event want = event_of(n);

	want.seq = n;
	return memcmp(ev, &want, sizeof(want)) == 0;
}

static void
write_n(struct mqt_event_ring *ring, uint64_t n)
{
	mqt_role_control_assert();
	for (uint64_t i = 0; i < n; i++) {
		struct mqt_event ev = event_of(mqt_event_ring_last(ring) + 1);

		event_write(ring, &ev);
	}
}

static void
test_every_event_has_a_name_of_its_own(void)
{
	for (unsigned i = 0; i < MQT_N_EVENTS; i++) {
		CHECK(strlen(mqt_event_name(i)) > 0);
		for (unsigned j = 0; j < i; j++)
			CHECK(strcmp(mqt_event_name(i), mqt_event_name(j)) != 0);
	}
	CHECK_STR(mqt_event_name(MQT_EVENT_SESSION_CREATED), "session.created");
	CHECK_STR(mqt_event_name(MQT_N_EVENTS), "unknown");
}

static void
test_create_takes_powers_of_two_only(void)
{
	static const uint32_t bad[] = { 0, 3, 6, 1000 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		errno = 0;
		CHECK(mqt_event_ring_create(bad[i]) == NULL);
		CHECK_EQ(errno, EINVAL);
	}
	mqt_event_ring_destroy(NULL);
}

static void
test_empty_ring_has_nothing_to_read(void)
{
	struct mqt_event_ring *ring = mqt_event_ring_create(4);
	struct mqt_event ev = { .seq = 77 };
	uint64_t cursor = 0, missed = 9;

	CHECK_EQ(mqt_event_ring_last(ring), 0);
	CHECK_EQ(mqt_event_ring_read(ring, &cursor, &ev, &missed), 0);
	CHECK_EQ(cursor, 0);
	CHECK_EQ(missed, 0);
	CHECK_EQ(ev.seq, 77);
	mqt_event_ring_destroy(ring);
}

static void
test_write_numbers_events_from_one(void)
{
	struct mqt_event_ring *ring = mqt_event_ring_create(2);
	struct mqt_event ev = event_of(1);

	mqt_role_control_assert();
	for (uint64_t n = 1; n <= 5; n++) {
		ev.seq = 999;
		event_write(ring, &ev);
		CHECK_EQ(ev.seq, n);
		CHECK_EQ(mqt_event_ring_last(ring), n);
	}
	mqt_event_ring_destroy(ring);
}

static void
test_reader_that_keeps_up_reads_all_in_order(void)
{
	static const uint32_t sizes[] = { 1, 2, 4, 256 };

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		struct mqt_event_ring *ring = mqt_event_ring_create(sizes[s]);
		uint64_t cursor = 0, missed;
		struct mqt_event ev;

		for (uint64_t n = 1; n <= 1000; n++) {
			write_n(ring, 1);
			CHECK_EQ(mqt_event_ring_read(ring, &cursor, &ev, &missed), 1);
			CHECK_EQ(missed, 0);
			CHECK(event_is(&ev, n));
			CHECK_EQ(mqt_event_ring_read(ring, &cursor, &ev, &missed), 0);
		}
		mqt_event_ring_destroy(ring);
	}
}

static void
test_gap_is_reported_exactly(void)
{
	static const struct {
		const char *row;
		uint32_t size;
		uint64_t written, cursor;
		uint64_t seq, missed; /* seq 0: nothing to read */
	} rows[] = {
		{ "full ring from the start", 8, 8, 0, 1, 0 },
		{ "one overwritten", 8, 9, 0, 2, 1 },
		{ "one overwritten, read before", 8, 9, 1, 2, 0 },
		{ "many laps", 8, 1000, 0, 993, 992 },
		{ "many laps, cursor half way", 8, 1000, 500, 993, 492 },
		{ "cursor at the oldest's predecessor", 8, 1000, 992, 993, 0 },
		{ "cursor just before that", 8, 1000, 991, 993, 1 },
		{ "newest only", 8, 1000, 999, 1000, 0 },
		{ "all read", 8, 1000, 1000, 0, 0 },
		{ "cursor from the future", 8, 10, 11, 0, 0 },
		{ "cursor from the far future", 8, 10, UINT64_MAX, 0, 0 },
		{ "ring of one", 1, 10, 3, 10, 6 },
		{ "ring of one, next", 1, 10, 9, 10, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mqt_event_ring *ring = mqt_event_ring_create(rows[i].size);
		uint64_t cursor = rows[i].cursor, missed = 12345;
		struct mqt_event ev = { 0 };

		check_row = rows[i].row;
		write_n(ring, rows[i].written);
		CHECK_EQ(mqt_event_ring_read(ring, &cursor, &ev, &missed), rows[i].seq != 0);
		CHECK_EQ(missed, rows[i].missed);
		CHECK_EQ(ev.seq, rows[i].seq);
		CHECK_EQ(cursor, rows[i].seq ? rows[i].seq : rows[i].cursor);
		if (rows[i].seq)
			CHECK(event_is(&ev, rows[i].seq));
		mqt_event_ring_destroy(ring);
	}
	check_row = "";
}

static void
test_readers_do_not_disturb_each_other(void)
{
	struct mqt_event_ring *ring = mqt_event_ring_create(16);
	uint64_t fast = 0, slow = 0, missed, slow_missed = 0, slow_read = 0;
	struct mqt_event ev;

	for (uint64_t n = 1; n <= 320; n++) {
		write_n(ring, 1);
		CHECK_EQ(mqt_event_ring_read(ring, &fast, &ev, &missed), 1);
		CHECK_EQ(ev.seq, n);
		if (n % 32 != 0)
			continue;
		while (mqt_event_ring_read(ring, &slow, &ev, &missed)) {
			slow_missed += missed;
			slow_read++;
		}
	}
	CHECK_EQ(slow_read, 160);
	CHECK_EQ(slow_missed, 160);
	mqt_event_ring_destroy(ring);
}

/* --- a reader beside the writer ---------------------------------------------------------------- */

#define RACE_EVENTS 400000u

struct race {
	struct mqt_event_ring *ring;
	_Atomic bool reading;
	uint64_t n_read, n_missed, n_bad, n_backwards;
};

static void *
race_reader(void *arg)
{
	struct race *race = arg;
	uint64_t cursor = 0, before = 0, missed;
	struct mqt_event ev;

	atomic_store(&race->reading, true);
	while (cursor < RACE_EVENTS) {
		if (!mqt_event_ring_read(race->ring, &cursor, &ev, &missed)) {
			sched_yield();
			continue;
		}
		race->n_read++;
		race->n_missed += missed;
		race->n_backwards += ev.seq <= before || ev.seq != before + missed + 1 ||
				ev.seq != cursor;
		race->n_bad += !event_is(&ev, ev.seq);
		before = ev.seq;
	}
	return NULL;
}

static void
test_reader_beside_the_writer_sees_whole_events_in_order(void)
{
	static const uint32_t sizes[] = { 2, 8, 1024 };

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		struct race race = { .ring = mqt_event_ring_create(sizes[s]) };
		pthread_t thread;

		CHECK_EQ(pthread_create(&thread, NULL, race_reader, &race), 0);
		while (!atomic_load(&race.reading))
			sched_yield();
		for (unsigned n = 0; n < RACE_EVENTS; n += 100) {
			write_n(race.ring, 100);
			if (n % 5000 == 0)
				sched_yield();
		}
		pthread_join(thread, NULL);
		CHECK(race.n_read > 0);
		CHECK_EQ(race.n_read + race.n_missed, RACE_EVENTS);
		CHECK_EQ(race.n_bad, 0);
		CHECK_EQ(race.n_backwards, 0);
		mqt_event_ring_destroy(race.ring);
	}
}

/* What has begun is shown when it is published, or when many more have begun, all of it and in order. */
static void
test_what_has_begun_is_read_once_it_is_published(void)
{
	enum {
		N = 100
	};
	struct mqt_event_ring *ring = mqt_event_ring_create(128);
	uint64_t cursor = 0, missed;
	struct mqt_event ev;

	mqt_role_control_assert();
	for (uint64_t n = 1; n <= N; n++) {
		struct mqt_event *next = mqt_event_ring_next(ring);
		uint64_t seq = next->seq;

		CHECK_EQ(seq, n);
		CHECK(mqt_event_ring_last(ring) < n);
		*next = event_of(n);
		next->seq = seq;
		if (n == 3) {
			CHECK_EQ(mqt_event_ring_read(ring, &cursor, &ev, &missed), 0);
			mqt_event_ring_publish(ring);
			CHECK_EQ(mqt_event_ring_last(ring), 3);
		}
	}
	CHECK(mqt_event_ring_last(ring) > 3); /* the stage is not for so many */
	mqt_event_ring_publish(ring);
	mqt_event_ring_publish(ring); /* nothing more */
	CHECK_EQ(mqt_event_ring_last(ring), N);
	for (uint64_t n = 1; n <= N; n++) {
		CHECK_EQ(mqt_event_ring_read(ring, &cursor, &ev, &missed), 1);
		CHECK(event_is(&ev, n));
		CHECK_EQ(missed, 0);
	}
	mqt_event_ring_destroy(ring);
}

static CU_TestInfo tests[] = {
	{ "every event has a name of its own", test_every_event_has_a_name_of_its_own },
	{ "create takes powers of two only", test_create_takes_powers_of_two_only },
	{ "empty ring has nothing to read", test_empty_ring_has_nothing_to_read },
	{ "write numbers events from one", test_write_numbers_events_from_one },
	{ "what has begun is read once it is published",
			test_what_has_begun_is_read_once_it_is_published },
	{ "reader that keeps up reads all in order", test_reader_that_keeps_up_reads_all_in_order },
	{ "gap is reported exactly", test_gap_is_reported_exactly },
	{ "readers do not disturb each other", test_readers_do_not_disturb_each_other },
	{ "reader beside the writer sees whole events in order",
			test_reader_beside_the_writer_sees_whole_events_in_order },
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "event", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return check_run(suites);
}
