/* SPDX-License-Identifier: MIT */
/* What may happen often, told once a minute. */
#include "util/ratelimit.h"

#include "util/list.h"

#define RATELIMIT_MINUTE (60 * TIMERS_S)

static void ratelimit_tell(struct ratelimit *limit)
{
	unsigned int more = limit->more;

	limit->more = 0;
	if (more > 0)
		limit->tell(limit, more);
}

static void ratelimit_minute_over(struct timer *timer)
{
	struct ratelimit *limit = container_of(timer, struct ratelimit, minute);

	if (limit->more == 0)
		return;
	timer_arm(timer, RATELIMIT_MINUTE);
	ratelimit_tell(limit);
}

int ratelimit_init(struct ratelimit *limit, struct timers *timers,
		   void (*tell)(struct ratelimit *limit, unsigned int more))
{
	*limit = (struct ratelimit){ .tell = tell };
	return timer_init(&limit->minute, timers, ratelimit_minute_over);
}

void ratelimit_deinit(struct ratelimit *limit)
{
	timer_deinit(&limit->minute);
}

bool ratelimit_pass(struct ratelimit *limit)
{
	if (timer_armed(&limit->minute)) {
		limit->more++;
		return false;
	}
	timer_arm(&limit->minute, RATELIMIT_MINUTE);
	return true;
}

void ratelimit_end(struct ratelimit *limit)
{
	timer_cancel(&limit->minute);
	ratelimit_tell(limit);
}
