/* SPDX-License-Identifier: MIT */
/* The states of a device: the only writer of dev->state, and how to leave trouble behind. */
#include "device/device.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "device/internal.h"
#include "device/request-internal.h"

/*
 * Between two attempts at a chip that cannot be brought up: doubled from the first to the second. What has
 * brought it back may not be seen but by the next attempt.
 */
#define DEVICE_RETRY (1 * TIMERS_S)
#define DEVICE_RETRY_MAX (8 * TIMERS_S)
/* For so long one is left alone that loses step or restarts again and again. */
#define DEVICE_ASIDE (15 * TIMERS_S)
/* The chip's clock drifts by seconds a day; certificates do not mind, but not for weeks. */
#define DEVICE_CLOCK_REFRESH (24 * 3600 * TIMERS_S)

const char *device_state_name(enum device_state state)
{
	switch (state) {
	case DEVICE_ABSENT:
		return "absent";
	case DEVICE_PROBING:
		return "probing";
	case DEVICE_IDENTIFYING:
		return "identifying";
	case DEVICE_UNKNOWN_CHIP:
		return "unknown-chip";
	case DEVICE_CONFIGURING:
		return "configuring";
	case DEVICE_TUNING:
		return "tuning";
	case DEVICE_PROVISIONING:
		return "provisioning";
	case DEVICE_JOINING:
		return "joining";
	case DEVICE_CLOCK:
		return "setting-clock";
	case DEVICE_READY:
		return "ready";
	case DEVICE_FAILED:
		return "failed";
	case DEVICE_PROVISIONED:
		return "provisioned";
	case DEVICE_OFFLINE:
		return "offline";
	}
	return "?";
}

void device_sync_clock(struct device *dev)
{
	if (dev->state != DEVICE_READY) {
		/* What is on its way, or was set before joining, is of before. */
		dev->clock_stale = true;
		return;
	}
	dev->refreshing = true;
	device_enter_state(dev, DEVICE_CLOCK);
}

static void clock_is_due(struct timer *timer)
{
	device_sync_clock(device_of_timer(timer));
}

static void device_became_ready(struct device *dev)
{
	/* Wi-Fi may have gone while the clock was set. */
	if (dev->wifi_lost && dev->cwstate != DEVICE_CWSTATE_CONNECTED) {
		device_enter_state(dev, DEVICE_JOINING);
		return;
	}
	dev->failures = 0;
	dev->restarted = false;
	dev->recovered = false;
	dev->wifi_lost = false;
	device_set_error(dev, "%s", "");
	if (!dev->refreshing)
		dev_notice(dev, "ready");
	dev->refreshing = false;
	device_wait(dev, DEVICE_CLOCK_REFRESH, clock_is_due);
	sample_soon(dev);
	requests_in_service(dev);
	device_notify_room(dev);
}

/* Nothing goes on with it but what is asked of it. */
static void device_became_idle(struct device *dev)
{
	dev->failures = 0;
	dev->restarted = false;
	dev->recovered = false;
	dev->refreshing = false;
	device_set_error(dev, "%s", "");
	requests_in_service(dev);
}

static void retry_is_due(struct timer *timer)
{
	struct device *dev = device_of_timer(timer);

	dev->forced = false;
	device_enter_state(dev, DEVICE_PROBING);
}

static void device_wait_to_retry(struct device *dev)
{
	unsigned int shift = dev->failures < 5 ? dev->failures : 5;
	uint64_t delay = DEVICE_RETRY << shift;
	uint64_t most = dev->retry_max ? dev->retry_max : DEVICE_RETRY_MAX;

	dev->failures++;
	dev->reset_due = false;
	dev->retry_max = 0;
	if (delay > most)
		delay = most;
	device_wait(dev, dev->aside ? DEVICE_ASIDE : delay, retry_is_due);
}

void device_end_reset(struct device *dev)
{
	if (dev->in_reset)
		dev->ops->set_reset(dev->userdata, false);
	dev->in_reset = false;
}

/* No link and no command of the time before survives. */
static void device_drop_all(struct device *dev)
{
	device_end_reset(dev);
	if (dev->ops->discard)
		dev->ops->discard(dev->userdata);
	provision_stop(dev);
	line_stop(dev);
	chan_reset(&dev->chan);
	for (int i = 0; i < AT_LINKS; i++)
		link_reset(&dev->links[i]);
	wifi_forget(dev);
	dev->join_due = false;
	requests_drop(dev);
}

void device_enter_state(struct device *dev, enum device_state state)
{
	enum device_state old = dev->state;

	dev_debug(dev, "%s -> %s", device_state_name(old), device_state_name(state));
	dev->state = state;
	dev->aside = dev->aside && state == DEVICE_FAILED;
	timer_cancel(&dev->timer);
	chan_set_syncing(&dev->chan, state == DEVICE_PROBING || state == DEVICE_TUNING ||
					     state == DEVICE_FAILED);
	if (state == DEVICE_IDENTIFYING)
		chan_found(&dev->chan);
	if (state == DEVICE_ABSENT || state == DEVICE_PROBING || state == DEVICE_FAILED ||
	    state == DEVICE_UNKNOWN_CHIP)
		device_drop_all(dev);
	if (state != old)
		list_for_each_safe(node, &dev->watches) {
			struct device_watch *watch = container_of(node, struct device_watch, node);

			if (watch->state)
				watch->state(watch, dev, old);
		}
	if (state != old)
		device_note(dev, DEVICE_FACT_STATE);
	requests_kick(dev);
	switch (state) {
	case DEVICE_ABSENT:
		return;
	case DEVICE_PROBING:
		probe_start(dev);
		return;
	case DEVICE_IDENTIFYING:
		identify_start(dev);
		return;
	case DEVICE_UNKNOWN_CHIP:
		unknown_chip_start(dev);
		return;
	case DEVICE_CONFIGURING:
		configure_start(dev);
		return;
	case DEVICE_TUNING:
		line_start(dev);
		return;
	case DEVICE_PROVISIONING:
		provision_start(dev);
		return;
	case DEVICE_JOINING:
		join_start(dev);
		return;
	case DEVICE_CLOCK:
		clock_start(dev);
		return;
	case DEVICE_READY:
		device_became_ready(dev);
		return;
	case DEVICE_FAILED:
		device_wait_to_retry(dev);
		return;
	case DEVICE_PROVISIONED:
	case DEVICE_OFFLINE:
		device_became_idle(dev);
		return;
	}
}

void device_set_error(struct device *dev, const char *format, ...)
{
	char text[sizeof(dev->error)];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (strcmp(text, dev->error) == 0)
		return;
	memcpy(dev->error, text, sizeof(text));
	device_note(dev, DEVICE_FACT_STATE);
}

void device_fail(struct device *dev, const char *format, ...)
{
	char text[sizeof(dev->error)];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (strcmp(text, dev->error) != 0)
		dev_error(dev, "%s; trying again until it works", text);
	device_set_error(dev, "%s", text);
	device_enter_state(dev, DEVICE_FAILED);
}

/* Once more; true if it was too often. */
static bool device_count_trouble(struct device *dev)
{
	uint64_t *oldest = &dev->troubles[dev->n_troubles % DEVICE_TROUBLES_MAX];
	uint64_t now = dev->timers->now;

	dev->aside = dev->n_troubles++ >= DEVICE_TROUBLES_MAX &&
		     now - *oldest < DEVICE_TROUBLE_TIME;
	*oldest = now;
	return dev->aside;
}

void device_recover(struct device *dev, const char *why)
{
	if (dev->state == DEVICE_ABSENT)
		return;
	if (device_count_trouble(dev)) {
		device_fail(dev, "lost step with the chip more than %d times within a minute (%s)",
			    DEVICE_TROUBLES_MAX, why);
		return;
	}
	if (dev->recovered) {
		device_fail(dev, "lost step with the chip (%s)", why);
		return;
	}
	dev->recovered = true;
	dev_warning(dev, "lost step with the chip (%s), starting over", why);
	device_enter_state(dev, DEVICE_PROBING);
}

static void restart_failed(struct timer *timer)
{
	struct device *dev = device_of_timer(timer);

	device_fail(dev, "the chip did not say `ready` after a reset");
}

static void restart_done(struct device *dev, enum chan_result result)
{
	if (result != CHAN_OK)
		device_fail(dev, "the chip refuses to reset");
	else
		line_was_reset(dev); /* `ready` comes at that rate */
}

bool device_awaits_ready(const struct device *dev)
{
	return timer_armed(&dev->timer) && dev->timer.fn == restart_failed;
}

void device_has_restarted(struct device *dev)
{
	if (!device_awaits_ready(dev) && device_count_trouble(dev)) {
		dev->booted = false; /* by the time that it is looked for, that is long ago */
		device_fail(dev,
			    "the chip has restarted or lost step more than %d times within a "
			    "minute; is "
			    "its power supply good?",
			    DEVICE_TROUBLES_MAX);
		return;
	}
	if (dev->state != DEVICE_PROBING)
		dev_notice(dev, "the chip has restarted, setting it up again");
	device_enter_state(dev, DEVICE_PROBING);
}

void device_reset_now(struct device *dev)
{
	dev->reset_due = false;
	device_wait(dev, DEVICE_TIMEOUT_BOOT, restart_failed);
	device_run_plain(dev, "AT+RST", DEVICE_TIMEOUT, NULL, restart_done);
}

void device_restart_chip(struct device *dev, const char *why)
{
	if (dev->restarted) {
		device_fail(dev, "%s, even after a reset", why);
		return;
	}
	dev_notice(dev, "%s, resetting the chip", why);
	dev->restarted = true;
	device_reset_now(dev);
}

void device_start_over(struct device *dev, bool reset)
{
	dev->failures = 0;
	dev->restarted = false;
	dev->recovered = false;
	dev->reset_due = reset;
	device_enter_state(dev, DEVICE_PROBING);
}
