/* SPDX-License-Identifier: MIT */
/*
 * One-shot timers on a clock that somebody else moves: the daemon's loop in service, a test by hand.
 * So everything below the daemon waits without libevent and without real time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMERS_MS 1000ull
#define TIMERS_S 1000000ull
#define TIMERS_NEVER UINT64_MAX
/* See timers_may_fire(). More than a turn of the loop takes, and less than any time-out. */
#define TIMERS_LATE (50 * TIMERS_MS)
/* In it come the 8 KiB that a chip may have kept while it was told to wait, at 115200 baud. */
#define TIMERS_CATCH_UP (1 * TIMERS_S)

struct timers;

/* Embedded in its owner, who cancels it before it goes away. */
struct timer {
	struct timers *timers; /* weak */
	void (*fn)(struct timer *timer);
	uint64_t deadline; /* µs */
	uint64_t seq;      /* ties are broken by the order of arming */
	size_t index;      /* in the heap, +1; 0: not armed */
};

struct timers {
	struct timer **heap;
	size_t count;
	size_t size;
	size_t reserved; /* places promised to timers that exist */
	uint64_t now;    /* µs, monotonic */
	uint64_t held;   /* until then nothing fires; 0: see timers_may_fire() */
	uint64_t seq;
};

void timers_init(struct timers *timers);
/* Every timer has been cancelled by then. */
void timers_deinit(struct timers *timers);

/* Moves the clock; going back is ignored. Fires nothing. */
void timers_set_now(struct timers *timers, uint64_t now);
/* When the next timer is to fire, in µs of the clock; TIMERS_NEVER if none is armed. */
uint64_t timers_next(const struct timers *timers);
/*
 * For a loop that may have been held up: whether timers_run() is in time. Where a timer is late by more than
 * TIMERS_LATE it is not: what was waited for may have come long since, and nobody has looked. So the loop gets as
 * long again, TIMERS_CATCH_UP at most, to read it. Then what is due fires, even if it is late again.
 */
bool timers_may_fire(struct timers *timers);
/* Fires what is due at the present time; what is armed meanwhile waits for the next call. */
void timers_run(struct timers *timers);

/* Reserves the place in the heap, so that arming never fails. Returns 0 or -ENOMEM. */
int timer_init(struct timer *timer, struct timers *timers, void (*fn)(struct timer *timer));
/* Cancels and gives the place back. A zeroed timer is allowed. */
void timer_deinit(struct timer *timer);
/* Fires once, @delay µs from now; an armed timer is moved. */
void timer_arm(struct timer *timer, uint64_t delay);
void timer_cancel(struct timer *timer);

static inline bool timer_armed(const struct timer *timer)
{
	return timer->index != 0;
}
