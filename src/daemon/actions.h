/* SPDX-License-Identifier: MIT */
/* What espatd does besides running: it changes something in the state folder, and ends. */
#pragma once

#include "config/config.h"
#include "daemon/daemon.h"

#define EXIT_USAGE 2

/* For wrong usage; @argument may be NULL. Returns its exit status. */
int action_usage_error(const char *what, const char *argument);
/* NULL after a complaint. */
const struct config_device *action_find_device(const struct config *config, const char *name);
/* All return the exit status. @argument: NAME=MAC or NAME=next */
int action_adopt(const struct config *config, char *argument);
/* @argument: authority:NAME or identity:NAME */
int action_forget(struct daemon_parts *parts, const char *argument);
int action_rollback(struct daemon_parts *parts, const char *argument);
