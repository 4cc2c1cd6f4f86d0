/* SPDX-License-Identifier: BSD-3-Clause */
#include "check.h"
#include "mqtrack/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum way {
	TO_CONTROL,
	TO_WORKER,
	N_WAYS,
};

static const char *const way_names[] = { "to control", "to worker" };

/* A message whose every field follows from its number. */
static struct mqt_msg
msg_of(uint64_t n)
{
	return (struct mqt_msg){
		.type = (uint8_t)(n % MQT_N_MSGS),
		.action = (uint8_t)(n >> 3),
		.reason = (uint8_t)(n >> 5),
		.result = (int32_t)n,
		.chan = n,
		.stamp_ns = ~n,
		.token = n * 7,
		.info = (struct mqt_info *)(uintptr_t)(n * 64),
		.session = (struct mqt_session *)(uintptr_t)(n * 64 + 1),
		.pendings = (struct mqt_pendings *)(uintptr_t)(n * 64 + 2),
		.pad = n + 3,
	};
}

static bool
msg_is(const struct mqt_msg *msg, uint64_t n)
{
	struct mqt_msg want = msg_of(n);

	return memcmp(msg, &want, sizeof(want)) == 0;
}

static void
post(struct mqt_mailbox *mb, enum way way, uint64_t n)
{
	struct mqt_msg msg = msg_of(n);

	mqt_role_worker_assert();
	mqt_role_control_assert();
	if (way == TO_CONTROL)
		mqt_mailbox_post_control(mb, &msg);
	else
		mqt_mailbox_post_worker(mb, &msg);
	memset(&msg, 0xee, sizeof(msg)); /* it has been copied */
}

static unsigned
take(struct mqt_mailbox *mb, enum way way, struct mqt_msg *msgs, unsigned n)
{
	mqt_role_worker_assert();
	mqt_role_control_assert();
	return way == TO_CONTROL ? mqt_mailbox_poll_control(mb, msgs, n)
				 : mqt_mailbox_poll_worker(mb, msgs, n);
}

/* The sender's poll, which moves its outbox on; nothing waits for it here. */
static void
sender_polls(struct mqt_mailbox *mb, enum way way)
{
	struct mqt_msg none;

	CHECK_EQ(take(mb, way == TO_CONTROL ? TO_WORKER : TO_CONTROL, &none, 1), 0);
}

static unsigned
outbox(const struct mqt_mailbox *mb, enum way way)
{
	mqt_role_worker_assert();
	mqt_role_control_assert();
	return way == TO_CONTROL ? mqt_mailbox_outbox_worker(mb) : mqt_mailbox_outbox_control(mb);
}

static void
test_create_takes_powers_of_two_only(void)
{
	static const unsigned bad[] = { 0, 3, 12, 1000, 1u << 31 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		errno = 0;
		CHECK(mqt_mailbox_create(bad[i]) == NULL);
		CHECK_EQ(errno, EINVAL);
	}
	mqt_mailbox_destroy(NULL);
}

static void
test_ring_holds_what_was_asked_for_and_the_outbox_the_rest(void)
{
	static const unsigned sizes[] = { 1, 2, 4, 64, 1024 };

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		for (enum way way = 0; way < N_WAYS; way++) {
			struct mqt_mailbox *mb = mqt_mailbox_create(sizes[s]);

			check_row = way_names[way];
			for (unsigned n = 0; n < sizes[s]; n++) {
				post(mb, way, n);
				CHECK_EQ(outbox(mb, way), 0);
			}
			for (unsigned n = 0; n < 300; n++) {
				post(mb, way, n);
				CHECK_EQ(outbox(mb, way), n + 1);
			}
			CHECK_EQ(outbox(mb, !way), 0);
			mqt_mailbox_destroy(mb); /* with messages inside */
		}
	}
	check_row = "";
}

static void
test_messages_arrive_whole_and_in_order(void)
{
	static const struct {
		const char *row;
		unsigned ring, messages, burst;
	} rows[] = {
		{ "ring of one, one by one", 1, 500, 1 },
		{ "ring of one, in bursts", 1, 500, 32 },
		{ "ring of two", 2, 500, 3 },
		{ "ring of four", 4, 1000, 4 },
		{ "all in the ring", 1024, 1000, 32 },
		{ "a chunk exactly", 1, 64, 8 },
		{ "a chunk and one", 1, 65, 8 },
		{ "many chunks", 16, 10000, 64 },
		{ "nothing", 4, 0, 4 },
	};
	struct mqt_msg msgs[64];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (enum way way = 0; way < N_WAYS; way++) {
			struct mqt_mailbox *mb = mqt_mailbox_create(rows[i].ring);
			uint64_t want = 0;

			check_row = rows[i].row;
			for (unsigned n = 0; n < rows[i].messages; n++)
				post(mb, way, n);
			for (;;) {
				unsigned n = take(mb, way, msgs, rows[i].burst);

				CHECK(n <= rows[i].burst);
				for (unsigned k = 0; k < n; k++)
					CHECK(msg_is(&msgs[k], want++));
				sender_polls(mb, way);
				if (n == 0)
					break;
			}
			CHECK_EQ(want, rows[i].messages);
			CHECK_EQ(outbox(mb, way), 0);
			mqt_mailbox_destroy(mb);
		}
	}
	check_row = "";
}

/* R6: room in the ring does not let a message pass those that wait in the outbox. */
static void
test_outbox_is_never_overtaken(void)
{
	struct mqt_msg msg;

	for (enum way way = 0; way < N_WAYS; way++) {
		struct mqt_mailbox *mb = mqt_mailbox_create(2);

		check_row = way_names[way];
		for (uint64_t n = 0; n < 4; n++)
			post(mb, way, n);
		CHECK_EQ(outbox(mb, way), 2);
		CHECK_EQ(take(mb, way, &msg, 1), 1);
		CHECK(msg_is(&msg, 0));
		post(mb, way, 4);
		for (uint64_t n = 1; n < 5; n++) {
			sender_polls(mb, way);
			CHECK_EQ(take(mb, way, &msg, 1), 1);
			CHECK(msg_is(&msg, n));
		}
		CHECK_EQ(take(mb, way, &msg, 1), 0);
		mqt_mailbox_destroy(mb);
	}
	check_row = "";
}

static void
test_receiver_does_not_move_the_senders_outbox(void)
{
	struct mqt_mailbox *mb = mqt_mailbox_create(1);
	struct mqt_msg msgs[4];

	post(mb, TO_CONTROL, 0);
	post(mb, TO_CONTROL, 1);
	CHECK_EQ(take(mb, TO_CONTROL, msgs, 4), 1);
	CHECK_EQ(take(mb, TO_CONTROL, msgs, 4), 0);
	CHECK_EQ(outbox(mb, TO_CONTROL), 1);
	sender_polls(mb, TO_CONTROL);
	CHECK_EQ(outbox(mb, TO_CONTROL), 0);
	CHECK_EQ(take(mb, TO_CONTROL, msgs, 4), 1);
	mqt_mailbox_destroy(mb);
}

static void
test_pending_counts_the_ring_only(void)
{
	struct mqt_mailbox *mb = mqt_mailbox_create(4);
	struct mqt_msg msg;

	mqt_role_control_assert();
	for (unsigned n = 0; n < 10; n++) {
		CHECK_EQ(mqt_mailbox_pending_control(mb), n < 4 ? n : 4);
		post(mb, TO_CONTROL, n);
		post(mb, TO_WORKER, n);
	}
	CHECK_EQ(take(mb, TO_CONTROL, &msg, 1), 1);
	CHECK_EQ(mqt_mailbox_pending_control(mb), 3);
	mqt_mailbox_destroy(mb);
}

/* Both ways at once, random posts and polls, against two plain counters a way. */
static void
test_random_traffic_keeps_order_both_ways(void)
{
	static const unsigned sizes[] = { 1, 2, 8, 32 };
	struct mqt_msg msgs[16];

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		struct mqt_mailbox *mb = mqt_mailbox_create(sizes[s]);
		uint64_t posted[N_WAYS] = { 0 }, taken[N_WAYS] = { 0 };
		unsigned seed = 1 + (unsigned)s;

		for (unsigned step = 0; step < 50000; step++) {
			enum way way = rand_r(&seed) % 2;
			unsigned n = 1 + rand_r(&seed) % 16;
			/* storms of posts and calm times take turns, so that outboxes fill and empty */
			bool storm = step / 500 % 2 == 0;

			if (rand_r(&seed) % 100 < (storm ? 60 : 20)) {
				while (n-- > 0)
					post(mb, way, posted[way]++);
			} else {
				n = take(mb, way, msgs, n);
				for (unsigned k = 0; k < n; k++)
					CHECK(msg_is(&msgs[k], taken[way]++));
			}
			CHECK(posted[way] - taken[way] >= outbox(mb, way));
			CHECK(posted[way] - taken[way] - outbox(mb, way) <= sizes[s]);
		}
		mqt_mailbox_destroy(mb);
	}
}

/* --- two lcores ------------------------------------------------------------------------------- */

#define RACE_MSGS 200000u

struct race {
	struct mqt_mailbox *mb;
	_Atomic unsigned done; /* sides that have posted and taken everything */
};

struct race_side {
	struct race *race;
	enum way sends;
	uint64_t n_bad, n_taken;
	unsigned max_outbox;
};

static void *
race_run(void *arg)
{
	struct race_side *side = arg;
	struct mqt_mailbox *mb = side->race->mb;
	uint64_t posted = 0;
	bool done = false;
	struct mqt_msg msgs[8];

	while (atomic_load(&side->race->done) < 2) {
		unsigned n;

		for (unsigned k = 0; k < 8 && posted < RACE_MSGS; k++)
			post(mb, side->sends, posted++);
		n = take(mb, !side->sends, msgs, 8);
		for (unsigned k = 0; k < n; k++)
			side->n_bad += !msg_is(&msgs[k], side->n_taken++);
		if (outbox(mb, side->sends) > side->max_outbox)
			side->max_outbox = outbox(mb, side->sends);
		if (!done && side->n_taken == RACE_MSGS && posted == RACE_MSGS &&
				outbox(mb, side->sends) == 0) {
			done = true;
			atomic_fetch_add(&side->race->done, 1);
		}
		if (n == 0)
			sched_yield();
	}
	return NULL;
}

static void
test_two_threads_lose_and_reorder_nothing(void)
{
	static const unsigned sizes[] = { 1, 16, 1024 };

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		struct race race = { .mb = mqt_mailbox_create(sizes[s]) };
		struct race_side control = { .race = &race, .sends = TO_WORKER };
		struct race_side worker = { .race = &race, .sends = TO_CONTROL };
		pthread_t thread;

		CHECK_EQ(pthread_create(&thread, NULL, race_run, &worker), 0);
		race_run(&control);
		pthread_join(thread, NULL);
		CHECK_EQ(control.n_taken, RACE_MSGS);
		CHECK_EQ(worker.n_taken, RACE_MSGS);
		CHECK_EQ(control.n_bad + worker.n_bad, 0);
		if (sizes[s] < 8) /* a burst does not fit: the outbox was in use */
			CHECK(control.max_outbox > 0 && worker.max_outbox > 0);
		mqt_mailbox_destroy(race.mb);
	}
}

/* Queued ones and posted ones are one FIFO, whatever the ring takes. */
static void
test_queued_messages_keep_their_place(void)
{
	static const unsigned rings[] = { 1, 16, 1024 };

	mqt_role_control_assert();
	for (size_t r = 0; r < sizeof(rings) / sizeof(rings[0]); r++) {
		struct mqt_mailbox *mb = mqt_mailbox_create(rings[r]);
		uint64_t want = 0;
		struct mqt_msg msg;

		for (unsigned n = 0; n < 500; n++) {
			if (n % 41 == 40) {
				post(mb, TO_WORKER, n);
				continue;
			}
			msg = msg_of(n);
			mqt_mailbox_queue_worker(mb, &msg);
		}
		mqt_mailbox_wake_worker(mb);
		while (take(mb, TO_WORKER, &msg, 1) == 1) {
			CHECK(msg_is(&msg, want++));
			sender_polls(mb, TO_WORKER);
		}
		CHECK_EQ(want, 500);
		mqt_mailbox_destroy(mb);
	}
}

/* The end of a turn: nothing stays behind. */
static void
test_waking_sends_what_is_queued(void)
{
	struct mqt_mailbox *mb = mqt_mailbox_create(64);
	struct mqt_msg msgs[64];

	mqt_role_control_assert();
	mqt_role_worker_assert();
	for (unsigned n = 0; n < 3; n++) {
		msgs[0] = msg_of(n);
		mqt_mailbox_queue_worker(mb, &msgs[0]);
		mqt_mailbox_wake_worker(mb);
		CHECK_EQ(mqt_mailbox_pending_worker(mb), n + 1);
	}
	CHECK_EQ(take(mb, TO_WORKER, msgs, 64), 3);
	for (unsigned n = 0; n < 3; n++)
		CHECK(msg_is(&msgs[n], n));
	mqt_mailbox_destroy(mb);
}

static CU_TestInfo tests[] = {
	{ "create takes powers of two only", test_create_takes_powers_of_two_only },
	{ "ring holds what was asked for and the outbox the rest",
			test_ring_holds_what_was_asked_for_and_the_outbox_the_rest },
	{ "messages arrive whole and in order", test_messages_arrive_whole_and_in_order },
	{ "outbox is never overtaken", test_outbox_is_never_overtaken },
	{ "receiver does not move the sender's outbox",
			test_receiver_does_not_move_the_senders_outbox },
	{ "pending counts the ring only", test_pending_counts_the_ring_only },
	{ "random traffic keeps order both ways", test_random_traffic_keeps_order_both_ways },
	{ "two threads lose and reorder nothing", test_two_threads_lose_and_reorder_nothing },
	{ "queued messages keep their place", test_queued_messages_keep_their_place },
	{ "waking sends what is queued", test_waking_sends_what_is_queued },
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "mailbox", NULL, NULL, NULL, NULL, tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return check_run(suites);
}
