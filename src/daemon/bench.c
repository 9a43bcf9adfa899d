/* SPDX-License-Identifier: MIT */
/* --provision-only: each chip once, its result in a line of JSON, and the end. */
#include "daemon/internal.h"
#include "daemon/report.h"

/* s for all of it, if nothing else is said */
#define BENCH_TIMEOUT 120
/* A chip that has failed so often is not tried again: somebody waits. */
#define BENCH_TRIES 2

static void bench_result(struct unit *unit, const char *error)
{
	struct daemon *daemon = unit->daemon;

	if (unit->done)
		return;
	unit->done = true;
	if (error)
		daemon->bench_failed++;
	report_chip(stdout, unit->settings, unit->dev, error);
	if (--daemon->bench_left == 0)
		daemon->stop = true;
}

static void bench_on_state(struct device_watch *watch, struct device *dev, enum device_state old)
{
	struct unit *unit = container_of(watch, struct unit, watch);

	if (dev->state == DEVICE_PROVISIONED)
		bench_result(unit, dev->incomplete ? "something that it should hold cannot be had"
						   : NULL);
	else if (dev->state == DEVICE_UNKNOWN_CHIP)
		bench_result(unit, dev->error);
	else if (dev->state == DEVICE_FAILED && ++unit->failures >= BENCH_TRIES)
		bench_result(unit, dev->error);
}

void bench_time_is_up(struct timer *timer)
{
	struct daemon *daemon = container_of(timer, struct daemon, bench_timer);

	for (size_t i = 0; i < daemon->n_units; i++) {
		struct unit *unit = daemon->units[i];

		if (unit->dev)
			bench_result(unit, unit->why[0]          ? unit->why
					   : unit->dev->error[0] ? unit->dev->error
								 : "not done in time");
	}
}

void bench_start(struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->n_units; i++) {
		struct unit *unit = daemon->units[i];

		if (!unit->dev)
			continue;
		unit->dev->provision_only = true;
		unit->dev->erase_orphans = daemon->options->erase_orphans;
		unit->watch.state = bench_on_state;
		daemon->bench_left++;
	}
	timer_arm(&daemon->bench_timer,
		  (daemon->options->timeout ? daemon->options->timeout : BENCH_TIMEOUT) * TIMERS_S);
}
