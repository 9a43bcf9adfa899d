/* SPDX-License-Identifier: MIT */
/*
 * The chip's clock, without which it cannot judge a certificate; it starts at 1970 (protocol fact 5).
 * It is the host's, or that of time servers.
 *
 * A chip keeps its clock over a reset, and nobody knows who has set it before. So it counts only after
 * it was set in the same bring-up: by us, or with `+TIME_UPDATED` after the time servers were named.
 * Naming them again makes the chip ask at once, also where they are the same (capture 21).
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "device/internal.h"
#include "device/request-internal.h"

/* How soon a host whose clock is of no use is asked again. */
#define CLOCK_RETRY (5 * TIMERS_S)
/* The chip asks the next server every few seconds; three of them have had their turn by then. */
#define CLOCK_SNTP_PATIENCE (30 * TIMERS_S)
/* Seconds by which the chip's clock may differ from what it was set to, a slow line ago; and how often it is set. */
#define CLOCK_DIFFERENCE 5
#define CLOCK_PUSHES 3

/* dev->step_no */
enum clock_step {
	CLOCK_BEGIN,
	CLOCK_AWAITS_SNTP,
};

static void clock_host(struct device *dev);

void clock_set_source(struct device *dev, enum device_clock source)
{
	if (dev->clock_source == source)
		return;
	dev->clock_source = source;
	device_note(dev, DEVICE_FACT_CLOCK);
}

static void clock_end(struct device *dev)
{
	dev->clock_done = true;
	dev->clock_asked = false;
	if (dev->offline) {
		device_enter_state(dev, DEVICE_OFFLINE);
		return;
	}
	if (dev->cwstate == DEVICE_CWSTATE_CONNECTED) {
		device_enter_state(dev, DEVICE_READY);
		return;
	}
	/* It came first, for an enterprise network; or Wi-Fi has gone meanwhile. */
	dev->refreshing = false;
	device_enter_state(dev, DEVICE_JOINING);
}

/* ---- the host's ---- */

static bool clock_host_is_set(const struct device *dev)
{
	return dev->ops->wallclock(dev->userdata) >= CLOCK_EARLIEST;
}

static void clock_push(struct device *dev);

static void clock_line(struct chan_cmd *cmd, const char *text, size_t len)
{
	at_reply_number(text, len, "+SYSTIMESTAMP:", &device_of_cmd(cmd)->chip_time);
}

static void clock_ask(struct device *dev, void (*done)(struct device *dev, enum chan_result result))
{
	dev->chip_time = 0;
	device_run_plain(dev, "AT+SYSTIMESTAMP?", DEVICE_TIMEOUT, clock_line, done);
}

/* The host's clock may jump meanwhile: it counts how long ago the chip's was set. */
static bool clock_holds(const struct device *dev)
{
	long late = (long)((dev->timers->now - dev->clock_pushed_at) / TIMERS_S);
	long difference = dev->chip_time - dev->clock_pushed - late;

	return difference >= -CLOCK_DIFFERENCE && difference <= CLOCK_DIFFERENCE;
}

static void clock_push_again(struct device *dev)
{
	dev->clock_set = false;
	if (++dev->clock_pushes >= CLOCK_PUSHES)
		device_fail(dev, "the chip's clock is not what it was set to");
	else if (dev->settings->time == CONFIG_TIME_HOST)
		clock_host(dev);
	else if (clock_host_is_set(dev))
		clock_push(dev);
	else
		clock_end(dev);
}

/* A digit that the line has lost, and OK all the same, would make expired certificates good. */
static void clock_looked(struct device *dev, enum chan_result result)
{
	if (result == CHAN_E_TIMEOUT)
		return; /* trouble follows */
	if (result != CHAN_OK || !clock_holds(dev)) {
		clock_push_again(dev);
		return;
	}
	dev->clock_told = false;
	clock_set_source(dev, DEVICE_CLOCK_HOST);
	dev->clock_set = dev->settings->time == CONFIG_TIME_HOST;
	/* Somebody's time servers have answered meanwhile, or the host's clock was set. */
	if (dev->clock_set && (dev->sntp_runs || dev->clock_stale))
		clock_host(dev);
	else
		clock_end(dev);
}

static void clock_pushed(struct device *dev, enum chan_result result)
{
	if (result == CHAN_E_TIMEOUT)
		return; /* trouble follows */
	if (result != CHAN_OK) {
		device_fail(dev, "the chip refuses to set its clock");
		return;
	}
	clock_ask(dev, clock_looked);
}

static void clock_push(struct device *dev)
{
	dev->clock_stale = false;
	dev->clock_pushed = (long)dev->ops->wallclock(dev->userdata);
	dev->clock_pushed_at = dev->timers->now;
	device_begin(dev, "AT+SYSTIMESTAMP");
	at_line_int(&dev->cmd.line, dev->clock_pushed);
	at_line_end(&dev->cmd.line);
	device_run(dev, DEVICE_TIMEOUT, NULL, clock_pushed);
}

static void clock_sntp_ended(struct device *dev, enum chan_result result)
{
	if (result == CHAN_E_TIMEOUT)
		return; /* trouble follows */
	dev->sntp_runs = false;
	clock_push(dev);
}

static void clock_try_again(struct timer *timer)
{
	clock_host(device_of_timer(timer));
}

/* What was set before goes on; a chip that has no time yet waits. */
static void clock_refused(struct device *dev, const char *why)
{
	requests_clock_failed(dev, DEVICE_E_REFUSED, why);
	if (dev->clock_set || dev->offline) {
		if (!dev->clock_told)
			dev_warning(dev, "%s; the chip's clock is left as it is", why);
		dev->clock_told = true;
		clock_end(dev);
		return;
	}
	if (strcmp(dev->error, why) != 0)
		dev_warning(dev, "%s; waiting for that", why);
	device_set_error(dev, "%s", why);
	device_wait(dev, CLOCK_RETRY, clock_try_again);
}

static void clock_host(struct device *dev)
{
	if (!clock_host_is_set(dev)) {
		clock_refused(dev,
			      "the host's own clock is not set, certificates cannot be judged");
		return;
	}
	if (dev->settings->require_synchronized && !dev->ops->synchronized(dev->userdata)) {
		clock_refused(dev, "the host's own clock is not synchronized, as "
				   "`require_synchronized` wants it");
		return;
	}
	if (dev->sntp_runs)
		device_run_plain(dev, "AT+CIPSNTPCFG=0", DEVICE_TIMEOUT, NULL, clock_sntp_ended);
	else
		clock_push(dev);
}

/* ---- time servers ---- */

static void clock_sntp(struct device *dev);

static void clock_sntp_read(struct device *dev, enum chan_result result)
{
	if (result == CHAN_E_TIMEOUT)
		return; /* trouble follows */
	if (dev->chip_time >= CLOCK_EARLIEST) {
		dev->clock_set = true;
		clock_set_source(dev, DEVICE_CLOCK_SNTP);
		clock_end(dev);
		return;
	}
	if (!dev->clock_set) {
		device_fail(dev, "the time servers say a time that is long past");
		return;
	}
	/* It had one, and has lost it. */
	dev->clock_set = false;
	clock_sntp(dev);
}

static void clock_sntp_ask(struct device *dev)
{
	dev->clock_stale = false;
	clock_ask(dev, clock_sntp_read);
}

/* Somebody has asked for it, of a chip that had the time: it goes on with that. */
static void clock_not_anew(struct device *dev, enum device_result result, const char *why)
{
	dev_warning(dev, "%s; the chip's clock is left as it is", why);
	dev->clock_set = true;
	requests_clock_failed(dev, result, why);
	clock_end(dev);
}

static void clock_sntp_late(struct timer *timer)
{
	static const char why[] = "no answer from the time servers (`ntp_servers`)";
	struct device *dev = device_of_timer(timer);

	if (dev->clock_asked)
		clock_not_anew(dev, DEVICE_E_TIMEOUT, why);
	else
		device_fail(dev, "%s", why);
}

static void clock_sntp_named(struct device *dev, enum chan_result result)
{
	if (result == CHAN_E_TIMEOUT)
		return; /* trouble follows */
	if (result != CHAN_OK) {
		static const char why[] = "the chip refuses the time servers (AT+CIPSNTPCFG)";

		if (dev->clock_asked)
			clock_not_anew(dev, DEVICE_E_REFUSED, why);
		else
			device_fail(dev, "%s", why);
		return;
	}
	/* What was reported up to now was of servers that somebody else has named. */
	dev->step_no = CLOCK_AWAITS_SNTP;
	device_wait(dev, CLOCK_SNTP_PATIENCE, clock_sntp_late);
}

static void clock_sntp(struct device *dev)
{
	const struct config_strings *servers = &dev->settings->ntp_servers;

	device_begin(dev, "AT+CIPSNTPCFG");
	at_line_int(&dev->cmd.line, 1);
	at_line_int(&dev->cmd.line, 0); /* UTC; the zone only matters for AT+CIPSNTPTIME? */
	for (size_t i = 0; i < servers->n; i++)
		at_line_string(&dev->cmd.line, servers->items[i]);
	if (at_line_end(&dev->cmd.line) < 0) {
		device_fail(dev, "the names in `ntp_servers` are too long for one AT command");
		return;
	}
	device_run(dev, DEVICE_TIMEOUT, NULL, clock_sntp_named);
}

void clock_report(struct device *dev)
{
	if (dev->settings->time == CONFIG_TIME_HOST) {
		/* Somebody has left SNTP on: it is switched off, and the clock set again. */
		dev->sntp_runs = true;
		device_sync_clock(dev);
		return;
	}
	if (dev->state != DEVICE_CLOCK) {
		/* The chip asks by itself, too (capture 04), and takes whatever the server says. */
		device_sync_clock(dev);
		return;
	}
	if (dev->step_no != CLOCK_AWAITS_SNTP)
		return;
	dev->step_no = CLOCK_BEGIN;
	timer_cancel(&dev->timer);
	clock_sntp_ask(dev);
}

/* ---- when ---- */

void clock_set_now(struct device *dev)
{
	dev->refreshing = true;
	/* Named again, the time servers are asked at once (capture 21). */
	dev->clock_asked = dev->settings->time != CONFIG_TIME_HOST;
	if (dev->clock_asked)
		dev->clock_set = false;
	device_enter_state(dev, DEVICE_CLOCK);
}

void clock_start(struct device *dev)
{
	bool joined = dev->cwstate == DEVICE_CWSTATE_CONNECTED;

	dev->step_no = CLOCK_BEGIN;
	dev->clock_pushes = 0;
	if (dev->settings->time == CONFIG_TIME_HOST) {
		/* Set before joining, a moment ago. */
		if (dev->clock_set && !dev->refreshing && !dev->wifi_lost && !dev->sntp_runs &&
		    !dev->clock_stale)
			clock_end(dev);
		else
			clock_host(dev);
		return;
	}
	/* No time server answers before the join, which is judged by the clock: for that, and for
	 * nothing else, the host's must do. */
	if (!joined && !dev->clock_done && clock_host_is_set(dev))
		clock_push(dev);
	else if (joined && !dev->clock_set)
		clock_sntp(dev);
	else if (joined && (dev->refreshing || dev->clock_stale))
		clock_sntp_ask(dev); /* it asks the servers every hour by itself (capture 04) */
	else
		clock_end(dev);
}
