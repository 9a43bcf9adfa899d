/* SPDX-License-Identifier: MIT */
/*
 * Who is at the other end of an accepted Unix socket, as the kernel tells it, and whether he may
 * be.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "config/config.h"

struct peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* the others that he is in */
	size_t n_groups;
};

/* As he was when he connected. Returns 0 or -errno; peer_clear() in both cases. */
int peer_read(struct peer *ret, int fd);
void peer_clear(struct peer *peer);

/* The numbers that stand for all who have none in our user namespace. */
struct peer_overflow {
	uid_t uid;
	gid_t gid;
};

void peer_read_overflow(struct peer_overflow *ret);
/*
 * Whether his user is one of @uids, or one of his groups one of @gids; root is asked for as well.
 * Who has no number here is nobody in particular, and never may; such a group does not count.
 */
bool peer_is_allowed(const struct peer *peer, const struct config_ids *uids,
		     const struct config_ids *gids, const struct peer_overflow *overflow);
