/* SPDX-License-Identifier: MIT */
/*
 * Sockets that systemd has made and hands over (sd_listen_fds(3)): `espat-NAME.socket` units, or any
 * with FileDescriptorName=NAME, are the ones of the tunnel NAME. They are kept as long as the daemon
 * runs: a tunnel that goes and comes again gets its sockets again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct activation {
	struct activation_fd {
		char *tunnel;
		int fd;
	} * fds;
	size_t n;
};

/* Returns 0 or -errno (logged). */
int activation_take(struct activation *activation);
void activation_deinit(struct activation *activation);
/* The sockets of a tunnel: writes up to @max of them, and returns how many there are. */
size_t activation_find(const struct activation *activation, const char *tunnel, int *fds,
		       size_t max);
