/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The timing wheel, beside a reference that is searched through each time.
 */
#include "base_rig.h"
#include "mqtrack/clock.h"
#include "mqtrack/wheel.h"

#include <errno.h>

enum {
	N_TIMERS = 200
};

/* The reference: a flat array that is searched through each time. */
struct model_timer {
	struct mqt_timer timer; /* first: what the callback gets */
	bool armed;
	bool early;        /* it must have fired when the call returns */
	uint64_t due_tick; /* rounded up */
	unsigned rearm;    /* times it still arms itself in its callback */
};

struct model {
	struct mqt_wheel *wheel;
	uint64_t tick_ns, start_ns, now_ns, seed;
	uint64_t n_armed;
	unsigned n_fired;
	struct model_timer t[N_TIMERS];
};

static uint64_t
model_tick(const struct model *m, uint64_t ns)
{
	return ns > m->start_ns ? (ns - m->start_ns) / m->tick_ns : 0;
}

static uint64_t
model_tick_up(const struct model *m, uint64_t ns)
{
	uint64_t after = ns > m->start_ns ? ns - m->start_ns : 0;

	return after / m->tick_ns + (after % m->tick_ns != 0);
}

static void
model_arm(struct model *m, struct model_timer *t, uint64_t due_ns)
{
	if (next_random(&m->seed) % 4 == 0) {
		mqt_wheel_arm_by(m->wheel, &t->timer, due_ns);
		if (t->armed && t->due_tick <= model_tick_up(m, due_ns))
			return;
	} else {
		mqt_wheel_arm(m->wheel, &t->timer, due_ns);
	}
	m->n_armed += !t->armed;
	t->armed = true;
	t->early = false;
	t->due_tick = model_tick_up(m, due_ns);
}

static void
model_disarm(struct model *m, struct model_timer *t)
{
	m->n_armed -= t->armed;
	t->armed = false;
	mqt_wheel_disarm(m->wheel, &t->timer);
}

/* A time in the past, near, far, or very far, each as likely as the other. */
static uint64_t
model_random_span(struct model *m)
{
	uint64_t bits = next_random(&m->seed) % 50;

	return next_random(&m->seed) & ((1ull << bits) - 1);
}

static void
model_fired(struct mqt_timer *timer, void *arg)
{
	struct model *m = arg;
	struct model_timer *t = (struct model_timer *)timer, *other;

	CHECK(t->armed);
	CHECK(!mqt_timer_armed(timer));
	CHECK(t->due_tick <= model_tick(m, m->now_ns));
	t->armed = false;
	m->n_armed--;
	m->n_fired++;
	if (t->rearm) {
		t->rearm--;
		model_arm(m, t, m->now_ns + model_random_span(m));
	}
	/* a callback may touch any other timer */
	other = &m->t[next_random(&m->seed) % N_TIMERS];
	if (next_random(&m->seed) % 4 == 0)
		model_disarm(m, other);
	else if (next_random(&m->seed) % 4 == 0)
		model_arm(m, other, m->now_ns + model_random_span(m));
}

/* Expires once. Whole: nothing that was due before the call may be left. */
static void
model_expire(struct model *m, unsigned budget, bool whole)
{
	unsigned n;

	for (unsigned i = 0; i < N_TIMERS; i++)
		m->t[i].early = m->t[i].armed && m->t[i].due_tick <= model_tick(m, m->now_ns);
	m->n_fired = 0;
	n = mqt_wheel_expire(m->wheel, m->now_ns, budget, model_fired, m);
	CHECK_EQ(n, m->n_fired);
	CHECK(n <= budget);
	CHECK_EQ(mqt_wheel_count(m->wheel), m->n_armed);
	for (unsigned i = 0; i < N_TIMERS; i++) {
		CHECK_EQ(mqt_timer_armed(&m->t[i].timer), m->t[i].armed);
		if (whole)
			CHECK(!(m->t[i].armed && m->t[i].early));
	}
}

static void
model_run(uint64_t seed, uint64_t tick_ns, uint64_t start_ns)
{
	static struct model model;
	struct model *m = &model;

	memset(m, 0, sizeof(*m));
	m->seed = seed;
	m->tick_ns = tick_ns;
	m->start_ns = m->now_ns = start_ns;
	m->wheel = mqt_wheel_create(tick_ns, start_ns, m);
	CHECK(m->wheel != NULL);
	if (!m->wheel)
		return;
	for (unsigned op = 0; op < 5000; op++) {
		struct model_timer *t = &m->t[next_random(&m->seed) % N_TIMERS];

		switch (next_random(&m->seed) % 8) {
		case 0:
			model_disarm(m, t);
			break;
		case 1:
			model_arm(m, t, m->now_ns - model_random_span(m) % (m->now_ns + 1));
			break;
		case 2:
			m->now_ns += model_random_span(m) >> next_random(&m->seed) % 20;
			model_expire(m, N_TIMERS * 2, true);
			break;
		case 3:
			m->now_ns += model_random_span(m) >> next_random(&m->seed) % 20;
			model_expire(m, (unsigned)(next_random(&m->seed) % 3), false);
			break;
		default:
			t->rearm = next_random(&m->seed) % 3;
			model_arm(m, t, m->now_ns + model_random_span(m));
		}
	}
	m->now_ns += 1ull << 51;
	for (unsigned i = 0; i < 8; i++)
		model_expire(m, N_TIMERS * 2, true);
	mqt_wheel_destroy(m->wheel);
}

static void
test_wheel_agrees_with_a_flat_array(void)
{
	static const uint64_t ticks[] = { 1, 7, MQT_NS_PER_US, MQT_NS_PER_MS, MQT_NS_PER_SEC };
	static const uint64_t starts[] = { 0, 1, 123456789012345ull };

	for (size_t i = 0; i < LEN(ticks); i++)
		for (size_t j = 0; j < LEN(starts); j++)
			model_run(1000 * i + j, ticks[i], starts[j]);
}

static void
count_fired(struct mqt_timer *timer, void *arg)
{
	(*(unsigned *)arg)++;
}

static void
test_wheel_fires_at_the_tick_and_not_before(void)
{
	/* due after start, first time it must fire; tick 1 ms */
	static const uint64_t rows[][2] = { { 0, 0 }, { 1, 1000000 }, { 999999, 1000000 },
		{ 1000000, 1000000 }, { 1000001, 2000000 }, { 63000000, 63000000 },
		{ 64000000, 64000000 }, { 65000000, 65000000 }, { 4096000000, 4096000000 },
		{ 4095000000, 4095000000 }, { 1ull << 40, 1099512000000 } };
	const uint64_t start = 55;

	for (size_t i = 0; i < LEN(rows); i++) {
		struct mqt_timer t = { 0 };
		struct mqt_wheel *w = mqt_wheel_create(MQT_NS_PER_MS, start, &t);
		unsigned n = 0;

		mqt_wheel_arm(w, &t, start + rows[i][0]);
		if (rows[i][1])
			CHECK_EQ(mqt_wheel_expire(w, start + rows[i][1] - 1, 9, count_fired, &n),
					0);
		CHECK(mqt_timer_armed(&t));
		CHECK_EQ(mqt_wheel_expire(w, start + rows[i][1], 9, count_fired, &n), 1);
		CHECK_EQ(n, 1);
		CHECK(!mqt_timer_armed(&t));
		mqt_wheel_destroy(w);
	}
}

static void
test_wheel_jumps_over_centuries(void)
{
	struct mqt_timer t[3] = { 0 };
	struct mqt_wheel *w = mqt_wheel_create(1, 0, t);
	unsigned n = 0;

	mqt_wheel_arm(w, &t[0], UINT64_MAX);
	mqt_wheel_arm(w, &t[1], UINT64_MAX - 1);
	mqt_wheel_arm(w, &t[2], 1ull << 60);
	CHECK_EQ(mqt_wheel_expire(w, (1ull << 60) - 1, 9, count_fired, &n), 0);
	CHECK_EQ(mqt_wheel_expire(w, 1ull << 60, 9, count_fired, &n), 1);
	CHECK_EQ(mqt_wheel_expire(w, UINT64_MAX - 2, 9, count_fired, &n), 0);
	/* a step back is ignored: what was past remains past */
	CHECK_EQ(mqt_wheel_expire(w, 5, 9, count_fired, &n), 0);
	mqt_wheel_arm(w, &t[2], 1ull << 50);
	CHECK_EQ(mqt_wheel_expire(w, 6, 9, count_fired, &n), 1);
	CHECK_EQ(mqt_wheel_expire(w, UINT64_MAX, 9, count_fired, &n), 2);
	CHECK_EQ(mqt_wheel_count(w), 0);
	mqt_wheel_destroy(w);
}

static void
test_wheel_keeps_to_its_budget(void)
{
	enum {
		N = 10000
	};
	static struct mqt_timer t[N];
	struct mqt_wheel *w = mqt_wheel_create(1, 0, t);
	unsigned n = 0, calls = 0;

	/* one slot of a high level, which comes down in several steps: the first fires nothing */
	for (unsigned i = 0; i < N; i++)
		mqt_wheel_arm(w, &t[i], (1ull << 30) + i);
	CHECK_EQ(mqt_wheel_expire(w, 1ull << 31, 8, count_fired, &n), 0);
	while (mqt_wheel_count(w) && calls < 2 * N) {
		CHECK(mqt_wheel_expire(w, 1ull << 31, 8, count_fired, &n) <= 8);
		calls++;
	}
	CHECK_EQ(n, N);
	CHECK(calls >= N / 8);
	CHECK_EQ(mqt_wheel_expire(w, 1ull << 31, 0, count_fired, &n), 0);
	mqt_wheel_destroy(w);
}

struct rearm_past {
	struct mqt_wheel *w;
	unsigned n;
};

static void
rearm_in_the_past(struct mqt_timer *timer, void *arg)
{
	struct rearm_past *r = arg;

	r->n++;
	mqt_wheel_arm(r->w, timer, 60);
}

static void
test_wheel_call_ends_where_timers_rearm_for_the_past(void)
{
	struct mqt_timer t[2] = { 0 };
	struct rearm_past r = { mqt_wheel_create(10, 0, t), 0 };

	mqt_wheel_arm(r.w, &t[0], 0);
	mqt_wheel_arm(r.w, &t[1], 15);
	CHECK_EQ(mqt_wheel_expire(r.w, 100, 1000, rearm_in_the_past, &r), 2);
	CHECK_EQ(mqt_wheel_expire(r.w, 100, 1000, rearm_in_the_past, &r), 2);
	CHECK_EQ(mqt_wheel_count(r.w), 2);
	mqt_wheel_disarm(r.w, &t[1]);
	CHECK_EQ(mqt_wheel_expire(r.w, 100, 1000, rearm_in_the_past, &r), 1);
	mqt_wheel_disarm(r.w, &t[0]);
	mqt_wheel_disarm(r.w, &t[0]); /* disarmed already */
	CHECK_EQ(mqt_wheel_expire(r.w, 200, 1000, rearm_in_the_past, &r), 0);
	CHECK_EQ(r.n, 5);
	mqt_wheel_destroy(r.w);
}

static void
test_wheel_wants_a_tick(void)
{
	errno = 0;
	CHECK(mqt_wheel_create(0, 1, NULL) == NULL);
	CHECK_EQ(errno, EINVAL);
	mqt_wheel_destroy(NULL);
}

static CU_TestInfo wheel_tests[] = {
	TEST(test_wheel_agrees_with_a_flat_array),
	TEST(test_wheel_fires_at_the_tick_and_not_before),
	TEST(test_wheel_jumps_over_centuries),
	TEST(test_wheel_keeps_to_its_budget),
	TEST(test_wheel_call_ends_where_timers_rearm_for_the_past),
	TEST(test_wheel_wants_a_tick),
	CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
	{ "wheel", NULL, NULL, NULL, NULL, wheel_tests },
	CU_SUITE_INFO_NULL,
};

int
main(void)
{
	return check_run(suites);
}
