/* SPDX-License-Identifier: MIT */
/* What systemd is told, by sd_notify(3). */
#include "daemon/notify.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "util/list.h"

static void notify_watchdog(struct timer *timer)
{
	struct notify *notify = container_of(timer, struct notify, watchdog);

	sd_notify(0, "WATCHDOG=1");
	timer_arm(&notify->watchdog, notify->interval);
}

int notify_init(struct notify *notify, struct timers *timers)
{
	uint64_t usec = 0;
	int r;

	*notify = (struct notify){ 0 };
	r = timer_init(&notify->watchdog, timers, notify_watchdog);
	if (r < 0)
		return r;
	/* Twice in the time that is given, as sd_watchdog_enabled(3) recommends. */
	if (sd_watchdog_enabled(0, &usec) > 0 && usec / 2 > 0) {
		notify->interval = usec / 2;
		timer_arm(&notify->watchdog, 0);
	}
	return 0;
}

void notify_deinit(struct notify *notify)
{
	timer_deinit(&notify->watchdog);
}

void notify_ready(struct notify *notify)
{
	sd_notify(0, "READY=1");
}

void notify_reloading(struct notify *notify)
{
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, notify->watchdog.timers->now);
}

void notify_stopping(struct notify *notify, unsigned int seconds)
{
	sd_notifyf(0, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64,
		   (uint64_t)((seconds + 5) * TIMERS_S));
}

void notify_status(struct notify *notify, const char *status)
{
	if (strncmp(notify->status, status, sizeof(notify->status) - 1) == 0)
		return;
	snprintf(notify->status, sizeof(notify->status), "%s", status);
	sd_notifyf(0, "STATUS=%s", notify->status);
}
