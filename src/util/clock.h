/* SPDX-License-Identifier: MIT */
/* The clock that the timers follow. */
#pragma once

#include <stdint.h>
#include <time.h>

#include "util/timers.h"

static inline void timers_touch(struct timers *timers)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	timers_set_now(timers, (uint64_t)ts.tv_sec * TIMERS_S + (uint64_t)ts.tv_nsec / 1000);
}
