/* SPDX-License-Identifier: MIT */
/* Notices that the host's clock was set, or that the host has slept. */
#include "daemon/clockwatch.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "util/log.h"

/* The year 2200: it must not come, nor a clock be set to it. Old 32-bit systems end in 2038. */
#define CLOCKWATCH_FAR (sizeof(time_t) > 4 ? (time_t)7258118400 : (time_t)INT32_MAX)

struct clockwatch {
	struct event *event;
	int fd;
	void (*changed)(void *userdata);
	void *userdata;
};

/*
 * A timer that is due in a far future of the clock, and is cancelled whenever the clock jumps
 * (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET); waking up is a jump, too.
 */
static int clockwatch_arm(struct clockwatch *watch)
{
	const struct itimerspec far = { .it_value.tv_sec = CLOCKWATCH_FAR };

	if (timerfd_settime(watch->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &far, NULL) ==
	    0)
		return 0;
	/* The clock has jumped since the last read: the timer is armed all the same. */
	return errno == ECANCELED ? 0 : -errno;
}

static void clockwatch_on_event(evutil_socket_t fd, short what, void *userdata)
{
	struct clockwatch *watch = userdata;
	uint64_t count;
	int r;

	if (read(watch->fd, &count, sizeof(count)) < 0 && errno != ECANCELED)
		return;
	/* Before the call: a jump during it counts, too. */
	r = clockwatch_arm(watch);
	if (r < 0)
		log_warning("the clock is not watched any more: %s", strerror(-r));
	watch->changed(watch->userdata);
}

int clockwatch_new(struct clockwatch **ret, struct event_base *base,
		   void (*changed)(void *userdata), void *userdata)
{
	struct clockwatch *watch = calloc(1, sizeof(*watch));
	int r = 0;

	if (!watch)
		return -ENOMEM;
	watch->changed = changed;
	watch->userdata = userdata;
	watch->fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (watch->fd < 0)
		r = -errno;
	if (r == 0)
		r = clockwatch_arm(watch);
	if (r == 0) {
		watch->event = event_new(base, watch->fd, EV_READ | EV_PERSIST, clockwatch_on_event,
					 watch);
		if (!watch->event || event_add(watch->event, NULL) < 0)
			r = -ENOMEM;
	}
	if (r < 0) {
		clockwatch_free(watch);
		return r;
	}
	*ret = watch;
	return 0;
}

struct clockwatch *clockwatch_free(struct clockwatch *watch)
{
	if (!watch)
		return NULL;
	if (watch->event)
		event_free(watch->event);
	if (watch->fd >= 0)
		close(watch->fd);
	free(watch);
	return NULL;
}
