/* SPDX-License-Identifier: MIT */
/*
 * A listening socket: one that we bind in the runtime folder, or one that somebody else has made
 * and given to us open, as systemd does. The first is put into its place ready for use, and removed
 * at the end if it still is the one that we have put there; the second is never touched, only
 * accepted from.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "config/config.h"
#include "util/problems.h"

struct event;
struct tunnel;

/* "[2001:db8::1%interface]:65535", a path (107), or "@" and an abstract name */
#define LISTENER_NAME_MAX 160
#define LISTENER_WHY_MAX 160

struct listener {
	struct tunnel *tunnel; /* weak */
	int fd;                /* -1: none */
	bool given;
	bool tcp;
	char name[LISTENER_NAME_MAX]; /* for people: its path or address */
	/* of one that we have bound: while it is open, no other file has these numbers */
	dev_t dev;
	ino_t ino;
	struct event *event; /* owned by the tunnel */
};

void listener_init(struct listener *l, struct tunnel *tunnel);
/*
 * Makes <dir>/<name>.sock with the mode and the ACL of @config. Nobody finds it there before it has
 * both and listens. What stands there is replaced if it is a socket that nobody serves any more,
 * else left alone: -EADDRINUSE (somebody serves it) or -EEXIST. Returns 0 or -errno, then with
 * words in @why.
 */
int listener_bind(struct listener *l, const char *dir, const struct config_tunnel *config,
		  char why[LISTENER_WHY_MAX]);
/*
 * Whether @fd can be given to this tunnel. Returns 0, -EINVAL after a complaint, or -ENOMEM. There
 * may be complaints that are only warnings.
 */
int listener_check(int fd, const struct config_tunnel *config, struct problems *problems);
/*
 * @fd was found to be right; it stays the caller's, a duplicate of it is used. Returns 0 or -errno.
 */
int listener_take(struct listener *l, int fd);
/* Whether clients still find one that we have bound where they look for it. */
bool listener_is_there(const struct listener *l);
/* Without its event. */
void listener_close(struct listener *l);
/* After accept(): so that what kind of socket it is does not matter any more. */
void listener_prepare_client(const struct listener *l, int fd);
