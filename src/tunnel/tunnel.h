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
	/* the last failed connect; LINK_END_PEER: none since the last good one */
	enum link_end failure;
	bool diagnosing; /* one is being looked into */
	bool diagnosed;  /* one was looked into, from diagnosed_at on, with this outcome */
	uint64_t diagnosed_at;
	enum link_end diagnosis;
	/* generations that it last connected with, and that were told to fail; 0: none */
	unsigned int good_authority, good_identity, told_authority, told_identity;
};

/* All pointers must outlive it. The socket appears when the device is ready for the first time. */
int tunnel_new(struct tunnel **ret, const struct config_tunnel *config, const char *runtime_dir,
	       struct pool *pool, struct device *dev);
/* Ends its clients and removes its socket. NULL is allowed; returns NULL. */
struct tunnel *tunnel_free(struct tunnel *tunnel);

/* Where to, for the present state of the chip. Returns 0 or -ENOENT: the material is not there. */
int tunnel_target(struct tunnel *tunnel, struct link_target *ret);
/* Why a client still waits. */
enum link_end tunnel_wait_end(const struct tunnel *tunnel);
const char *tunnel_wait_text(const struct tunnel *tunnel);
/* Whether a failed connect of a client may be looked into now; @quiet: nothing else moves on the chip. */
enum link_probe tunnel_may_probe(struct tunnel *tunnel, bool quiet);
/* A link was opened. */
void tunnel_connected(struct tunnel *tunnel);
/*
 * A connect has failed: counted, and told with @text if it says more than @end. What was not looked
 * into most likely is what the last one was.
 */
void tunnel_failed(struct tunnel *tunnel, enum link_end end, const char *text);
