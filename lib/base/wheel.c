/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Timing wheel over 64-bit ticks.
 *
 * The tick of a deadline is read as digits of six bits, most significant first. A timer sits at
 * the level of the highest digit in which its deadline differs from the wheel's position, in the
 * slot which that digit names. From that follow two facts which everything here rests on:
 *
 *   - whatever is in a lower level is due before whatever is in a higher one, and within a level
 *     lower slots are due first, so the next slot to look at is found from the bit maps alone:
 *     empty time costs nothing, however far the clock jumps;
 *   - moving the position forward up to the begin of that slot changes no timer's level or slot.
 *
 * When the position reaches the begin of a slot, its timers are detached to MOVING and then
 * handled one by one: due now, or put into a lower level. The list may be left half done when the
 * work of a call is used up, so that a slot with a million timers does not stall the lcore.
 *
 * A timer that is armed for a time already given to mqt_wheel_expire() goes to PAST, a queue,
 * and fires in the next call: one that arms itself for the past cannot keep a call from ending.
 *
 * A bit of a map may be set for a slot that has been emptied by disarming; it is cleared when
 * the scan meets it.
 *
 * Synchronisation: none; one owner.
 * Source: G. Varghese, A. Lauck, "Hashed and Hierarchical Timing Wheels"; the choice of the level
 * by the highest differing digit is that of radix heaps (Ahuja, Mehlhorn, Orlin, Tarjan).
 */
#include "mqtrack/wheel.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#define DIGIT_BITS 6
#define N_SLOTS    (1u << DIGIT_BITS)
#define DIGIT_MASK (N_SLOTS - 1)
#define N_LEVELS   ((64 + DIGIT_BITS - 1) / DIGIT_BITS)

/* Timers put into a lower level in a call, for each timer it may fire. */
#define MOVES_PER_FIRE 16

/*
 * A link is a number: 0 is none, then come the heads of all lists, then the timers by where they are.
 * prev names whatever has the timer as its next, a head or a timer.
 */
enum list {
	SLOTS = 1, /* of level and slot, in turn */
	MOVING = SLOTS + N_LEVELS * N_SLOTS,
	PAST,
	FIRST_TIMER,
};

#define UNIT sizeof(uint64_t) /* of which timers are apart */

static_assert(MQT_WHEEL_REACH / UNIT <= UINT32_MAX - FIRST_TIMER, "links reach that far");

struct mqt_wheel {
	char *base;
	uint64_t tick_ns;
	uint64_t start_ns;
	uint64_t position;  /* tick up to which slots are handled; not past target */
	uint64_t target;    /* tick of the latest time given to expire */
	uint64_t n_expires; /* calls of expire begun */
	uint64_t n_armed;
	uint64_t used[N_LEVELS];    /* bit s: slot s may hold timers */
	uint32_t past_last;         /* the last of PAST, or its head */
	uint32_t head[FIRST_TIMER]; /* of PAST: due_tick is n_expires when it was armed */
};

struct mqt_wheel *
mqt_wheel_create(uint64_t tick_ns, uint64_t now_ns, void *base)
{
	struct mqt_wheel *w;

	if (tick_ns == 0) {
		errno = EINVAL;
		return NULL;
	}
	w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->base = base;
	w->tick_ns = tick_ns;
	w->start_ns = now_ns;
	w->past_last = PAST;
	return w;
}

void
mqt_wheel_destroy(struct mqt_wheel *w)
{
	free(w);
}

static struct mqt_timer *
timer_at(const struct mqt_wheel *w, uint32_t link)
{
	return (struct mqt_timer *)(w->base + (size_t)(link - FIRST_TIMER) * UNIT);
}

static uint32_t
link_of(const struct mqt_wheel *w, const struct mqt_timer *t)
{
	size_t at = (size_t)((const char *)t - w->base) / UNIT;

	assert(at <= UINT32_MAX - FIRST_TIMER);
	return (uint32_t)at + FIRST_TIMER;
}

static uint32_t *
next_of(struct mqt_wheel *w, uint32_t link)
{
	return link < FIRST_TIMER ? &w->head[link] : &timer_at(w, link)->next;
}

static void
link_behind(struct mqt_wheel *w, uint32_t prev, struct mqt_timer *t)
{
	uint32_t *next = next_of(w, prev);

	t->next = *next;
	t->prev = prev;
	*next = link_of(w, t);
	if (t->next)
		timer_at(w, t->next)->prev = *next;
}

static void
unlink_timer(struct mqt_wheel *w, struct mqt_timer *t)
{
	*next_of(w, t->prev) = t->next;
	if (t->next)
		timer_at(w, t->next)->prev = t->prev;
	else if (w->past_last == link_of(w, t))
		w->past_last = t->prev;
	t->next = 0;
	t->prev = 0;
}

static uint32_t
list_of(unsigned level, unsigned slot)
{
	return SLOTS + level * N_SLOTS + slot;
}

/* Puts a timer whose due_tick is behind the position into its slot. */
static void
link_slot(struct mqt_wheel *w, struct mqt_timer *t)
{
	unsigned high_bit = 63 - (unsigned)__builtin_clzll(t->due_tick ^ w->position);
	unsigned level = high_bit / DIGIT_BITS;
	unsigned slot = (unsigned)(t->due_tick >> level * DIGIT_BITS) & DIGIT_MASK;

	link_behind(w, list_of(level, slot), t);
	w->used[level] |= 1ull << slot;
}

static void
link_past(struct mqt_wheel *w, struct mqt_timer *t)
{
	t->due_tick = w->n_expires;
	link_behind(w, w->past_last, t);
	w->past_last = link_of(w, t);
}

/* Rounded up: no timer fires too early. */
static uint64_t
tick_of(const struct mqt_wheel *w, uint64_t due_ns)
{
	uint64_t after_ns = due_ns > w->start_ns ? due_ns - w->start_ns : 0;

	return after_ns / w->tick_ns + (after_ns % w->tick_ns != 0);
}

void
mqt_wheel_arm(struct mqt_wheel *w, struct mqt_timer *t, uint64_t due_ns)
{
	if (t->prev)
		unlink_timer(w, t);
	else
		w->n_armed++;
	t->due_tick = tick_of(w, due_ns);
	if (t->due_tick <= w->target)
		link_past(w, t);
	else
		link_slot(w, t);
}

void
mqt_wheel_arm_by(struct mqt_wheel *w, struct mqt_timer *t, uint64_t due_ns)
{
	if (!mqt_timer_armed(t) || t->due_tick > tick_of(w, due_ns))
		mqt_wheel_arm(w, t, due_ns);
}

void
mqt_wheel_disarm(struct mqt_wheel *w, struct mqt_timer *t)
{
	if (!t->prev)
		return;
	unlink_timer(w, t);
	w->n_armed--;
}

uint64_t
mqt_wheel_count(const struct mqt_wheel *w)
{
	return w->n_armed;
}

/* First tick of a slot ahead of the position. */
static uint64_t
slot_begin(const struct mqt_wheel *w, unsigned level, unsigned slot)
{
	unsigned shift = level * DIGIT_BITS, above = shift + DIGIT_BITS;
	uint64_t prefix = above < 64 ? w->position >> above << above : 0;

	return prefix | (uint64_t)slot << shift;
}

/* Detaches the next slot that begins at or before the target. @return false: there is none. */
static bool
advance(struct mqt_wheel *w)
{
	for (unsigned level = 0; level < N_LEVELS; level++) {
		while (w->used[level]) {
			unsigned slot = (unsigned)__builtin_ctzll(w->used[level]);
			uint32_t *head = &w->head[list_of(level, slot)];
			uint64_t begin = slot_begin(w, level, slot);

			if (begin > w->target) {
				w->position = w->target;
				return false;
			}
			w->used[level] &= w->used[level] - 1;
			if (!*head)
				continue;
			w->position = begin;
			w->head[MOVING] = *head;
			timer_at(w, *head)->prev = MOVING;
			*head = 0;
			return true;
		}
	}
	w->position = w->target;
	return false;
}

static void
fire(struct mqt_wheel *w, struct mqt_timer *t, mqt_wheel_fn fn, void *arg)
{
	unlink_timer(w, t);
	w->n_armed--;
	fn(t, arg);
}

unsigned
mqt_wheel_expire(struct mqt_wheel *w, uint64_t now_ns, unsigned budget, mqt_wheel_fn fn, void *arg)
{
	uint64_t now = now_ns > w->start_ns ? (now_ns - w->start_ns) / w->tick_ns : 0;
	uint64_t moves = (uint64_t)budget * MOVES_PER_FIRE;
	unsigned n = 0;

	if (now > w->target)
		w->target = now;
	w->n_expires++;
	while (n < budget && w->head[PAST]) {
		struct mqt_timer *t = timer_at(w, w->head[PAST]);

		if (t->due_tick == w->n_expires)
			break;
		fire(w, t, fn, arg);
		n++;
	}
	while (n < budget && (w->head[MOVING] || advance(w))) {
		struct mqt_timer *t = timer_at(w, w->head[MOVING]);

		if (t->due_tick == w->position) {
			fire(w, t, fn, arg);
			n++;
		} else {
			if (moves-- == 0)
				break;
			unlink_timer(w, t);
			link_slot(w, t);
		}
	}
	return n;
}
