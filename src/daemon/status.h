/* SPDX-License-Identifier: MIT */
/* What all chips do, in one line for systemd. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * systemd takes a message of 4096 bytes (PIPE_BUF), and 64 chips that are ready need 2300: only where many
 * have long errors some are but counted.
 */
#define STATUS_MAX 4000

struct status {
	char text[STATUS_MAX];
	size_t len;
	unsigned int more, more_ready; /* that had no room */
};

/* @head: what stands before all of them; "": nothing. */
void status_begin(struct status *status, const char *head);
/* One chip, as a whole or not at all; cleaned like a line of the log, as a line end would begin another variable. */
void status_add(struct status *status, const char *text, bool ready);
void status_end(struct status *status);
