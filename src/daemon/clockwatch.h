/* SPDX-License-Identifier: MIT */
/* Notices that the host's clock was set, or that the host has slept. */
#pragma once

#include <event2/event.h>

struct clockwatch;

/* @changed is called from the loop of @base. Returns 0 or -errno. */
int clockwatch_new(struct clockwatch **ret, struct event_base *base,
		   void (*changed)(void *userdata), void *userdata);
/* NULL is allowed; returns NULL. */
struct clockwatch *clockwatch_free(struct clockwatch *watch);
