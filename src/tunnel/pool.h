/* SPDX-License-Identifier: MIT */
/*
 * Who gets which link: first come, first served, whatever the tunnel, as far as its limits and what others
 * have reserved let it. A link serves one client and is never handed on.
 */
#pragma once

#include <stddef.h>

#include "device/device.h"
#include "tunnel/linger.h"
#include "util/list.h"
#include "util/timers.h"

struct client;
struct event_base;
struct tunnel;

struct pool_device {
	struct pool *pool;  /* weak */
	struct device *dev; /* weak */
	struct device_watch watch;
	struct list node;
};

/*
 * What is kept for clients that do not read, for all of them: as much as eight that are never asked to wait
 * may have, or all five links of 200 chips whose clients have stalled at the same time.
 */
#define POOL_BUFFER_MAX (64 * 1024 * 1024)

struct pool {
	struct event_base *base; /* weak */
	struct timers *timers;   /* weak */
	struct list devices;
	struct list tunnels; /* by their pool_node */
	struct list dead;    /* clients that ended; freed by pool_reap() */
	struct lingers lingers;
	struct list flushing; /* clients that are to get something, by pool_flush() */
	struct list rings;    /* clients for whom something is kept, or was a moment ago */
	size_t buffered;      /* memory of their rings */
	bool left;            /* a tunnel has given a link back in this turn of the loop */
	uint64_t turns;       /* given out to those that wait */
};

void pool_init(struct pool *pool, struct event_base *base, struct timers *timers);
/* All tunnels are gone by then. */
void pool_deinit(struct pool *pool);
/*
 * Returns 0 or -ENOMEM. The device is there until pool_remove_device(), or until the pool has
 * ended.
 */
int pool_add_device(struct pool *pool, struct device *dev);
/*
 * Before the device is freed, and after the tunnels that have no other one. Connections through it end, and
 * who waits for it alone is refused. Not from within a callback of a device. One that was never added is
 * allowed.
 */
void pool_remove_device(struct pool *pool, struct device *dev);
/* Puts a client into its tunnel's queue; it is given a link now or later, of the least loaded device. */
void pool_wait(struct pool *pool, struct client *client);
/* Gives away what is free: limits are others now. */
void pool_look(struct pool *pool);
/* Writes what has come in this turn of the loop: one system call for each client. */
void pool_flush(struct pool *pool);
/* While more than POOL_BUFFER_MAX is kept, ends the client for whom it is most. */
void pool_relieve(struct pool *pool);
/* Frees what ended in the callbacks of this turn of the loop. */
void pool_reap(struct pool *pool);
/* Whether somebody would get the link of @client if that were given back. */
bool pool_is_waiting_for(const struct pool *pool, const struct client *client);
/* Whether one of the tunnel's devices is ready. */
bool pool_any_ready(const struct pool *pool, const struct tunnel *tunnel);
/* The one of them that will serve a client first, as far as can be told; NULL: it has none. */
struct device *pool_nearest_device(const struct pool *pool, const struct tunnel *tunnel);
