/* SPDX-License-Identifier: MIT */
/* One-shot timers in a binary heap. */
#include "util/timers.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * heap[0..count) are the armed timers; `reserved` of the `size` places are promised to timers that
 * exist, which is why arming cannot fail.
 */
static bool timer_before(const struct timer *a, const struct timer *b)
{
	return a->deadline != b->deadline ? a->deadline < b->deadline : a->seq < b->seq;
}

static void heap_put(struct timers *t, size_t i, struct timer *timer)
{
	t->heap[i] = timer;
	timer->index = i + 1;
}

static void heap_up(struct timers *t, size_t i)
{
	struct timer *timer = t->heap[i];

	while (i > 0 && timer_before(timer, t->heap[(i - 1) / 2])) {
		heap_put(t, i, t->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_put(t, i, timer);
}

static void heap_down(struct timers *t, size_t i)
{
	struct timer *timer = t->heap[i];

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= t->count)
			break;
		if (child + 1 < t->count && timer_before(t->heap[child + 1], t->heap[child]))
			child++;
		if (!timer_before(t->heap[child], timer))
			break;
		heap_put(t, i, t->heap[child]);
		i = child;
	}
	heap_put(t, i, timer);
}

static void heap_remove(struct timers *t, size_t i)
{
	struct timer *last = t->heap[--t->count];

	t->heap[i]->index = 0;
	if (i == t->count)
		return;
	heap_put(t, i, last);
	heap_up(t, i);
	heap_down(t, last->index - 1);
}

void timers_init(struct timers *timers)
{
	*timers = (struct timers){ 0 };
}

void timers_deinit(struct timers *timers)
{
	assert(timers->count == 0);
	free(timers->heap);
	*timers = (struct timers){ 0 };
}

void timers_set_now(struct timers *timers, uint64_t now)
{
	if (now > timers->now)
		timers->now = now;
}

uint64_t timers_next(const struct timers *timers)
{
	if (timers->count == 0)
		return TIMERS_NEVER;
	return timers->heap[0]->deadline > timers->held ? timers->heap[0]->deadline : timers->held;
}

bool timers_may_fire(struct timers *timers)
{
	uint64_t due = timers->count ? timers->heap[0]->deadline : TIMERS_NEVER, late;

	if (timers->held == 0 && due < timers->now) {
		late = timers->now - due;
		if (late > TIMERS_LATE)
			timers->held = timers->now +
				       (late < TIMERS_CATCH_UP ? late : TIMERS_CATCH_UP);
	}
	if (timers->held > timers->now)
		return false;
	timers->held = 0;
	return true;
}

void timers_run(struct timers *timers)
{
	uint64_t seq = timers->seq;

	while (timers->count > 0) {
		struct timer *timer = timers->heap[0];

		if (timer->deadline > timers->now || timer->seq >= seq)
			break;
		heap_remove(timers, 0);
		timer->fn(timer);
	}
}

int timer_init(struct timer *timer, struct timers *timers, void (*fn)(struct timer *timer))
{
	*timer = (struct timer){ .fn = fn };
	if (timers->reserved == timers->size) {
		size_t size = timers->size ? timers->size * 2 : 16;
		struct timer **heap = reallocarray(timers->heap, size, sizeof(struct timer *));

		if (!heap)
			return -ENOMEM;
		timers->heap = heap;
		timers->size = size;
	}
	timers->reserved++;
	timer->timers = timers;
	return 0;
}

void timer_deinit(struct timer *timer)
{
	if (!timer->timers)
		return;
	timer_cancel(timer);
	timer->timers->reserved--;
	timer->timers = NULL;
}

void timer_arm(struct timer *timer, uint64_t delay)
{
	struct timers *t = timer->timers;

	timer_cancel(timer);
	timer->deadline = t->now + delay;
	timer->seq = t->seq++;
	heap_put(t, t->count++, timer);
	heap_up(t, t->count - 1);
}

void timer_cancel(struct timer *timer)
{
	if (timer_armed(timer))
		heap_remove(timer->timers, timer->index - 1);
}
