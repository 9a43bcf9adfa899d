/* SPDX-License-Identifier: MIT */
/* One configured endpoint: its listening sockets, the server behind them, and its clients. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "device/device.h"
#include "tunnel/listener.h"
#include "tunnel/peer.h"
#include "util/list.h"
#include "util/problems.h"
#include "util/ratelimit.h"
#include "util/timers.h"

struct pool;
struct tunnel;

/* Sockets that one tunnel can be given: paths and addresses of one socket unit. */
#define TUNNEL_SOCKETS_MAX 8
#define TUNNEL_ERROR_MAX 256

enum tunnel_state {
	TUNNEL_WAITING, /* its device was not ready yet: there is no socket */
	TUNNEL_LISTENING,
	TUNNEL_FAILED,   /* its socket cannot be made, see tunnel_error(); tried again by and by */
	TUNNEL_DRAINING, /* no client is taken any more */
};

/*
 * An observer; embedded in its owner, who removes it before he goes away. All may be NULL. They are
 * called in the middle of things: an observer notes what he is told, and ends and frees nothing.
 */
struct tunnel_watch {
	struct list node;
	/*
	 * State, number of clients or of those that wait, a count, or the last error is another
	 * now.
	 */
	void (*changed)(struct tunnel_watch *watch, struct tunnel *tunnel);
	/* A connection has failed, with what tunnel_error_reason() and tunnel_error() say now. */
	void (*failed)(struct tunnel_watch *watch, struct tunnel *tunnel, const char *reason,
		       const char *text);
};

struct tunnel {
	struct config *config_owner;        /* weak; what config lies in; NULL: not known */
	const struct config_tunnel *config; /* weak */
	struct pool *pool;                  /* weak */
	struct device *dev;                 /* weak; NULL: any of the pool's */
	struct list pool_node;
	struct list watches;
	enum tunnel_state state;
	char *dir;  /* of its own socket */
	char *path; /* see tunnel_path() */
	struct listener *listeners;
	size_t n_listeners;
	bool given;                /* they were made by somebody else */
	struct timer accept_later; /* after we ran out of file descriptors */
	struct timer listen_later; /* looks whether its own socket is there, or can be */
	struct peer_overflow overflow;
	struct ratelimit unwanted; /* clients that allow_uids and allow_gids do not have */
	uid_t unwanted_uid;        /* of the last one */
	struct list clients;
	struct list waiting; /* of them, in the order that they came in */
	unsigned int n_clients, n_waiting, n_links;
	struct ratelimit crowded; /* clients that were too many */
	struct ratelimit deaf;    /* none could be accepted */
	bool told_deaf;           /* that was told, and not yet that it is over */
	unsigned int accepted;
	char error[TUNNEL_ERROR_MAX]; /* "": none */
	const char *error_reason;
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

/*
 * Whether it can have these sockets, that were given to us: each a listening stream socket, Unix or
 * TCP, and no TCP with allow_uids or allow_gids. Returns 0 (perhaps with warnings), -EINVAL after
 * complaints, or -ENOMEM. With none there is nothing to complain about.
 */
int tunnel_check_sockets(const struct config_tunnel *config, const int *fds, size_t n_fds,
			 struct problems *problems);
/*
 * With @fds, which were checked and stay the caller's (it has duplicates), clients are accepted
 * from now on. Without, it makes <runtime_dir>/<name>.sock when the device is ready, at once if it
 * is. @owner is what @config lies in, or NULL (see struct link_target). All pointers but
 * @runtime_dir and @fds must outlive it; the device is one of the pool's, NULL: any of them. Returns 0
 * or -errno (logged, but for -ENOMEM).
 */
int tunnel_new(struct tunnel **ret, const struct config_tunnel *config, struct config *owner,
	       const char *runtime_dir, const int *fds, size_t n_fds, struct pool *pool,
	       struct device *dev);
/*
 * Ends its clients and removes the socket that it has made; those that it was given go on to
 * collect clients, for whoever has them. @why ("espatd stops") is for the log. Not from within a
 * callback of a device or a client. NULL is allowed; returns NULL.
 */
struct tunnel *tunnel_free(struct tunnel *tunnel, const char *why);

void tunnel_watch(struct tunnel *tunnel, struct tunnel_watch *watch);
void tunnel_unwatch(struct tunnel_watch *watch);
enum tunnel_state tunnel_state(const struct tunnel *tunnel);
const char *tunnel_state_name(enum tunnel_state state);
/*
 * The socket's path, or "127.0.0.1:8883" of one that was given. Of several: the first path, or the
 * first.
 */
const char *tunnel_path(const struct tunnel *tunnel);
/* All of them, those that wait included. */
unsigned int tunnel_clients(const struct tunnel *tunnel);
unsigned int tunnel_waiting(const struct tunnel *tunnel);
/*
 * The last failed connect, until one works, or why there is no socket; "" for none. Reasons: see
 * link_end_reason(), and "no-socket".
 */
const char *tunnel_error(const struct tunnel *tunnel);
const char *tunnel_error_reason(const struct tunnel *tunnel);
/*
 * Ends all clients, and returns how many there were. As tunnel_free(), not from within a callback.
 */
unsigned int tunnel_disconnect(struct tunnel *tunnel, const char *why);
/* @config has the same settings (config_tunnel_equal()) in other memory. */
void tunnel_reconfigure(struct tunnel *tunnel, const struct config_tunnel *config,
			struct config *owner);
/*
 * espatd stops: no further client is accepted, and those that wait are ended. Who comes to a socket
 * that was given waits for the next process. Likewise not from within a callback.
 */
void tunnel_drain(struct tunnel *tunnel);

/* ---- for client.c and pool.c ---- */

/* Where to, for the present state of @dev. Returns 0 or -ENOENT: the material is not there. */
int tunnel_target(struct tunnel *tunnel, struct device *dev, struct link_target *ret);
/* Whether it may connect through @dev. */
bool tunnel_uses(const struct tunnel *tunnel, const struct device *dev);
/* @dev, which it uses, is in another state than @old. */
void tunnel_device_changed(struct tunnel *tunnel, struct device *dev, enum device_state old);
/* Its material is not there yet on @dev, but on its way. */
bool tunnel_awaits_material(const struct tunnel *tunnel, const struct device *dev);
/* Why a client still waits. */
enum link_end tunnel_wait_end(const struct tunnel *tunnel);
const char *tunnel_wait_text(const struct tunnel *tunnel);
/*
 * Whether a failed connect of a client may be looked into now; @quiet: nothing else moves on the
 * chip.
 */
enum link_probe tunnel_may_probe(struct tunnel *tunnel, bool quiet);
/* A link of @dev was opened. */
void tunnel_connected(struct tunnel *tunnel, struct device *dev);
/*
 * A connect has failed, on @dev, NULL if it had not come so far: counted, and told with @text if it says
 * more than @end. What was not looked into most likely is what the last one was.
 */
void tunnel_failed(struct tunnel *tunnel, struct device *dev, enum link_end end, const char *text);
/* Something that an observer is told of has changed. */
void tunnel_changed(struct tunnel *tunnel);
