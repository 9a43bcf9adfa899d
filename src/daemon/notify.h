/* SPDX-License-Identifier: MIT */
/* What systemd is told: readiness, a status in words, and signs of life. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/status.h"
#include "util/timers.h"

struct notify {
	struct timer watchdog;
	uint64_t interval; /* µs between signs of life; 0: nobody waits for any */
	char status[STATUS_MAX];
};

/* Returns 0 or -ENOMEM. */
int notify_init(struct notify *notify, struct timers *timers);
void notify_deinit(struct notify *notify);
void notify_ready(struct notify *notify);
/* Before and after a reload, so that systemd knows of it. */
void notify_reloading(struct notify *notify);
/* @seconds that stopping may take. */
void notify_stopping(struct notify *notify, unsigned int seconds);
/* Told if it is another one than before; one line, see status.h. */
void notify_status(struct notify *notify, const char *status);
