/* SPDX-License-Identifier: MIT */
/* The state folder. */
#include "daemon/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/file.h"

int state_lock(const char *dir, bool wait, int *ret_fd)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	r = file_make_dir(dir, 0755);
	if (r < 0)
		return r;
	if (asprintf(&path, "%s/lock", dir) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0) {
		r = file_give_to_folder(fd, path);
		if (r < 0)
			return r;
	}
	if (fd < 0 || flock(fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB) < 0)
		return -errno;
	*ret_fd = fd;
	fd = -1;
	return 0;
}
