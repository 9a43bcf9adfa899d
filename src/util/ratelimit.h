/* SPDX-License-Identifier: MIT */
/*
 * What may happen often, and is told at once only the first time; what follows is told once a minute, by its
 * number. After a quiet minute it is told at once again.
 */
#pragma once

#include <stdbool.h>

#include "util/timers.h"

/* Embedded in its owner. */
struct ratelimit {
	/* So many more times, since it was told of last. */
	void (*tell)(struct ratelimit *limit, unsigned int more);
	struct timer minute; /* since then */
	unsigned int more;
};

/* Returns 0 or -ENOMEM. */
int ratelimit_init(struct ratelimit *limit, struct timers *timers,
		   void (*tell)(struct ratelimit *limit, unsigned int more));
/* Tells nothing. A zeroed one is allowed. */
void ratelimit_deinit(struct ratelimit *limit);
/* It has happened; returns whether it is to be told of now. */
bool ratelimit_pass(struct ratelimit *limit);
/* It will not happen any more: tells what was not told yet. */
void ratelimit_end(struct ratelimit *limit);
