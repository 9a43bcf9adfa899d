/* SPDX-License-Identifier: MIT */
/* One configured endpoint: a listening Unix socket, the server behind it, and its clients. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "device/device.h"
#include "util/list.h"
#include "util/timers.h"

struct event;
struct pool;

struct tunnel {
	const struct config_tunnel *config; /* weak */
	struct pool *pool;                  /* weak */
	struct device *dev;                 /* weak */
	struct device_watch watch;
	char *path;
	int fd; /* -1: not listening yet */
	struct event *accept_event;
	struct timer accept_later; /* after we ran out of file descriptors */
	struct list clients;
	unsigned int accepted;
	uint64_t sent, received; /* bytes of the clients */
	uint64_t connects, failures, aborted;
	bool diagnosed; /* a failure was looked into, at diagnosed_at */
	uint64_t diagnosed_at;
	enum link_end diagnosis;
};

/* All pointers must outlive it. The socket appears when the device is ready for the first time. */
int tunnel_new(struct tunnel **ret, const struct config_tunnel *config, const char *runtime_dir,
	       struct pool *pool, struct device *dev);
/* Ends its clients and removes its socket. NULL is allowed; returns NULL. */
struct tunnel *tunnel_free(struct tunnel *tunnel);

/* Where to, for the present state of the chip. Returns 0 or -ENOENT: the material is not there. */
int tunnel_target(struct tunnel *tunnel, struct link_target *ret);
/* Why a client still waits: for people. */
const char *tunnel_wait_reason(const struct tunnel *tunnel);
/* A link was opened. */
void tunnel_connected(struct tunnel *tunnel);
/* A link could not be opened. */
void tunnel_failed(struct tunnel *tunnel, enum link_end end);
/* What a failure that was not looked into most likely is: what the last one was. */
const char *tunnel_refused_reason(const struct tunnel *tunnel);
