/* SPDX-License-Identifier: MIT */
/*
 * TCP sockets whose connection is over on our side. What a client sends to a socket that is closed is answered by a
 * reset, which takes with it what has not reached the client yet: so ours wait for its end, for a while.
 */
#pragma once

#include "util/list.h"

struct event_base;
struct timers;

struct lingers {
	struct event_base *base; /* weak */
	struct timers *timers;   /* weak */
	struct list list;        /* the oldest first */
	unsigned int n;
};

void lingers_init(struct lingers *lingers, struct event_base *base, struct timers *timers);
/* Closes all that are there. */
void lingers_deinit(struct lingers *lingers);
/*
 * Ends @fd, of any kind, which is theirs from now on. It is closed when the client has closed, too; at the latest 2 to
 * 4 s after the client's host has acknowledged all, 60 s from now, or, the oldest first, when there are more than 64.
 */
void lingers_close(struct lingers *lingers, int fd);
