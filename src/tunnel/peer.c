/* SPDX-License-Identifier: MIT */
/* Who is at the other end. */
#include "tunnel/peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "util/cleanup.h"

/* Both, if /proc/sys is hidden (ProcSubset=pid) or says nothing else. */
#define PEER_OVERFLOW 65534

static int peer_read_groups(struct peer *peer, int fd)
{
	socklen_t size = 0;

	/* What there is room for, which is nothing, is too little if he is in any (unix(7)). */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0)
		return 0;
	if (errno != ERANGE)
		return -errno;
	peer->groups = malloc(size);
	if (!peer->groups)
		return -ENOMEM;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, peer->groups, &size) < 0)
		return -errno;
	peer->n_groups = size / sizeof(*peer->groups);
	return 0;
}

int peer_read(struct peer *ret, int fd)
{
	struct ucred cred = { 0 };
	socklen_t size = sizeof(cred);

	*ret = (struct peer){ 0 };
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return -errno;
	ret->pid = cred.pid;
	ret->uid = cred.uid;
	ret->gid = cred.gid;
	return peer_read_groups(ret, fd);
}

void peer_clear(struct peer *peer)
{
	free(peer->groups);
	*peer = (struct peer){ 0 };
}

static unsigned int read_number(const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	unsigned int value;

	return f && fscanf(f, "%u", &value) == 1 ? value : PEER_OVERFLOW;
}

void peer_read_overflow(struct peer_overflow *ret)
{
	ret->uid = read_number("/proc/sys/kernel/overflowuid");
	ret->gid = read_number("/proc/sys/kernel/overflowgid");
}

static bool ids_have(const struct config_ids *ids, unsigned int id)
{
	for (size_t i = 0; i < ids->n; i++)
		if (ids->items[i] == id)
			return true;
	return false;
}

bool peer_is_allowed(const struct peer *peer, const struct config_ids *uids,
		     const struct config_ids *gids, const struct peer_overflow *overflow)
{
	if (peer->uid == overflow->uid)
		return false;
	if (ids_have(uids, peer->uid))
		return true;
	if (peer->gid != overflow->gid && ids_have(gids, peer->gid))
		return true;
	for (size_t i = 0; i < peer->n_groups; i++)
		if (peer->groups[i] != overflow->gid && ids_have(gids, peer->groups[i]))
			return true;
	return false;
}
