/* SPDX-License-Identifier: MIT */
#include "ctl/wait.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

enum ctl_exit wait_begin(struct waiter *w, unsigned int seconds)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGHUP);
	*w = (struct waiter){ .signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK),
			      .other = -1,
			      .deadline = seconds ? now() + seconds * 1000000ull : UINT64_MAX };
	if (w->signals < 0 || sigprocmask(SIG_BLOCK, &mask, &w->before) < 0) {
		ctl_error("cannot wait for signals: %s", strerror(errno));
		return CTL_FAILED;
	}
	return CTL_OK;
}

void wait_end(struct waiter *w)
{
	if (w->signals < 0)
		return;
	close(w->signals);
	w->signals = -1;
	sigprocmask(SIG_SETMASK, &w->before, NULL);
}

static int timeout_ms(uint64_t deadline)
{
	uint64_t t = now(), ms;

	if (deadline == UINT64_MAX)
		return -1;
	ms = deadline > t ? (deadline - t + 999) / 1000 : 0;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

enum wait_result wait_next(struct waiter *w, struct ctl *ctl)
{
	struct pollfd fds[3] = { { .fd = w->signals, .events = POLLIN },
				 { .fd = w->other, .events = POLLIN },
				 { .fd = -1 } };
	uint64_t deadline = w->deadline, bus_deadline;
	struct signalfd_siginfo signal;
	int r;

	if (ctl->bus) {
		r = sd_bus_process(ctl->bus, NULL);
		if (r < 0)
			return WAIT_LOST;
		if (r > 0)
			return WAIT_BUS;
		fds[2].fd = sd_bus_get_fd(ctl->bus);
		fds[2].events = (short)sd_bus_get_events(ctl->bus);
		if (sd_bus_get_timeout(ctl->bus, &bus_deadline) > 0 && bus_deadline < deadline)
			deadline = bus_deadline;
	}
	r = poll(fds, 3, timeout_ms(deadline));
	if (r < 0 && errno != EINTR)
		return WAIT_LOST;
	if (r > 0 && fds[0].revents) {
		/* Taken: it has had its effect. */
		(void)!read(w->signals, &signal, sizeof(signal));
		return WAIT_SIGNAL;
	}
	if (r > 0 && fds[1].revents)
		return WAIT_OTHER;
	if (w->deadline != UINT64_MAX && now() >= w->deadline)
		return WAIT_TIME;
	return WAIT_BUS;
}
