/* SPDX-License-Identifier: MIT */
/* The clock that the timers follow, and the one that CPU time is counted by. */
#pragma once

#include <stdint.h>
#include <time.h>

#include "util/timers.h"

/* ns of CPU time that this thread has had */
static inline uint64_t clock_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static inline void timers_touch(struct timers *timers)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	timers_set_now(timers, (uint64_t)ts.tv_sec * TIMERS_S + (uint64_t)ts.tv_nsec / 1000);
}
