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
struct tunnel;

enum tunnel_state {
	TUNNEL_WAITING, /* its device was not ready yet: there is no socket */
	TUNNEL_LISTENING,
	TUNNEL_FAILED,   /* its socket cannot be made, see error */
	TUNNEL_DRAINING, /* no client is taken any more */
};

/* An observer; embedded in its owner, who removes it before he goes away. All may be NULL. */
struct tunnel_watch {
	struct list node;
	/* State, number of clients, a count, or the last error is another now. */
	void (*changed)(struct tunnel_watch *watch, struct tunnel *tunnel);
	void (*failed)(struct tunnel_watch *watch, struct tunnel *tunnel, const char *reason,
		       const char *text);
};

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

void tunnel_watch(struct tunnel *tunnel, struct tunnel_watch *watch);
void tunnel_unwatch(struct tunnel_watch *watch);
enum tunnel_state tunnel_state(const struct tunnel *tunnel);
const char *tunnel_state_name(enum tunnel_state state);
/* The socket's path, or "127.0.0.1:8883" of one that systemd has made. */
const char *tunnel_path(const struct tunnel *tunnel);
unsigned int tunnel_clients(const struct tunnel *tunnel);
unsigned int tunnel_waiting(const struct tunnel *tunnel);
/* The last failed connect, or why there is no socket; "" for none. Reasons: see link_end_reason(). */
const char *tunnel_error(const struct tunnel *tunnel);
const char *tunnel_error_reason(const struct tunnel *tunnel);
/* Ends all clients, and returns how many there were. */
unsigned int tunnel_disconnect(struct tunnel *tunnel, const char *why);
/* @config has the same settings (config_tunnel_equal()) in other memory. */
void tunnel_reconfigure(struct tunnel *tunnel, const struct config_tunnel *config);
/* No further client is accepted, and those that wait are refused. */
void tunnel_drain(struct tunnel *tunnel);

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
