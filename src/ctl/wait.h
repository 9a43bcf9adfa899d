/* SPDX-License-Identifier: MIT */
/* Waiting for the bus, for something else, for a time, and for a signal that ends the command. */
#pragma once

#include <signal.h>
#include <stdint.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"

enum wait_result {
	WAIT_BUS,    /* the bus was served; look again */
	WAIT_OTHER,  /* the other descriptor has something */
	WAIT_TIME,   /* it is over */
	WAIT_SIGNAL, /* SIGINT, SIGTERM or SIGHUP */
	WAIT_LOST,   /* the bus is gone */
};

struct waiter {
	int signals;       /* of SIGINT, SIGTERM, SIGHUP, blocked until wait_end(); -1: not begun */
	int other;         /* -1: none */
	uint64_t deadline; /* µs of CLOCK_MONOTONIC; UINT64_MAX: never */
	sigset_t before;   /* what was blocked before */
};

/* @seconds 0: without limit. */
enum ctl_exit wait_begin(struct waiter *w, unsigned int seconds);
void wait_end(struct waiter *w);
#define _cleanup_waiter_ _cleanup_(wait_end)
#define WAITER_NULL                                                                                \
	{                                                                                          \
		.signals = -1, .other = -1                                                         \
	}

/* Serves the bus if there is one, and waits. */
enum wait_result wait_next(struct waiter *w, struct ctl *ctl);
