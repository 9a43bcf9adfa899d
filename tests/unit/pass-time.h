/* SPDX-License-Identifier: MIT */
/* Moves the virtual clock. */
#pragma once

#include "util/timers.h"

/* What falls due on the way fires at its time. */
static inline void pass_time(struct timers *timers, uint64_t delay)
{
	uint64_t end = timers->now + delay;

	while (timers_next(timers) <= end) {
		timers_set_now(timers, timers_next(timers));
		timers_run(timers);
	}
	timers_set_now(timers, end);
}
