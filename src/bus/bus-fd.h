/* SPDX-License-Identifier: MIT */
/*
 * What a caller hands over by a file descriptor: a secret that is in no argument. A memfd or regular
 * file is read from its start whatever its offset is, a pipe or stream socket to its end as it comes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "bus/error.h"
#include "util/timers.h"

struct event;
struct event_base;

/* As a file of certificates or a key may have. */
#define BUS_FD_MAX (64 * 1024)
/* How long a pipe or socket may take to its end, in all: nobody types it. */
#define BUS_FD_TIMEOUT (5 * TIMERS_S)

enum bus_fd_end {
	BUS_FD_ALL,  /* all that there is */
	BUS_FD_LINE, /* the first line without its end */
};

/* Embedded in its owner; all zero, it reads nothing. */
struct bus_fd {
	int fd; /* owned while it reads */
	enum bus_fd_end end;
	bool reading;
	bool is_socket;
	int flags; /* of the description, to be put back; -1: they were not touched */
	struct event *event;
	struct timer timer;
	char *data; /* BUS_FD_MAX + 2 bytes, NUL behind the last one; NULL: nothing was read */
	size_t len;
	/* @failure NULL: data and len are there, until bus_fd_clear(). */
	void (*done)(struct bus_fd *reader, const struct bus_failure *failure);
};

/* Takes @fd. Calls @done once, perhaps before this returns, unless bus_fd_clear() comes first. */
void bus_fd_read(struct bus_fd *reader, struct event_base *base, struct timers *timers, int fd,
		 enum bus_fd_end end,
		 void (*done)(struct bus_fd *reader, const struct bus_failure *failure));
/* Stops, wipes and frees; may be called again. */
void bus_fd_clear(struct bus_fd *reader);
