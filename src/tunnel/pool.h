/* SPDX-License-Identifier: MIT */
/*
 * Who gets which link: clients that wait for a chip stand in one queue, first come, first served,
 * whatever their tunnel. A link serves one client and is never handed on.
 */
#pragma once

#include <stddef.h>

#include "device/device.h"
#include "util/list.h"
#include "util/timers.h"

struct client;
struct event_base;

struct pool_device {
	struct pool *pool;  /* weak */
	struct device *dev; /* weak */
	struct device_watch watch;
	struct list waiting; /* clients */
	struct list node;
};

struct pool {
	struct event_base *base; /* weak */
	struct timers *timers;   /* weak */
	struct list devices;
	struct list dead; /* clients that ended; freed by pool_reap() */
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
 * Before the device is freed, and after the tunnels that use it. Who waits for it all the same is
 * refused. Not from within a callback of a device. One that was never added is allowed.
 */
void pool_remove_device(struct pool *pool, struct device *dev);
/* Puts a client into the queue of its tunnel's device; it is given a link now or later. */
void pool_wait(struct pool *pool, struct client *client);
/* Frees what ended in the callbacks of this turn of the loop. */
void pool_reap(struct pool *pool);
/* Whether a client waits for a link of @dev. */
bool pool_is_waiting(struct pool *pool, const struct device *dev);
