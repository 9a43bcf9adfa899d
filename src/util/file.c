/* SPDX-License-Identifier: MIT */
/* Small files that are read and written whole. */
#include "util/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"

/* ---- folders ---- */

/* A new string of @len bytes, without slashes at the end. */
static char *without_slashes(const char *path, size_t len)
{
	while (len > 1 && path[len - 1] == '/')
		len--;
	return strndup(path, len);
}

/* The folder that @path is in, as a new string; @path does not end in a slash. */
static int parent_of(char **ret, const char *path)
{
	const char *slash = strrchr(path, '/');

	*ret = slash ? without_slashes(path, slash - path + 1) : strdup(".");
	return *ret ? 0 : -ENOMEM;
}

/* Returns the file descriptor of the folder that @path is in, and the name in there; or -errno. */
static int open_parent(const char *path, const char **ret_name)
{
	_cleanup_free_ char *parent = NULL;
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	int fd, r;

	if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;
	r = parent_of(&parent, path);
	if (r < 0)
		return r;
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_name = name;
	return fd;
}

/* Some file systems cannot sync a folder, and say so by EINVAL: no more can be done then. */
static int sync_folder(int folder)
{
	return fsync(folder) < 0 && errno != EINVAL ? -errno : 0;
}

int file_sync_dir(const char *path)
{
	_cleanup_close_ int fd = -1;

	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : sync_folder(fd);
}

static int give_to_folder(int folder, int fd)
{
	struct stat st;

	if (geteuid() != 0)
		return 0;
	if (fstat(folder, &st) < 0 || fchown(fd, st.st_uid, st.st_gid) < 0)
		return -errno;
	return 0;
}

static int make_one(const char *path, mode_t mode)
{
	_cleanup_close_ int fd = -1, parent = -1;
	const char *name;

	int r;

	if (mkdir(path, mode) < 0)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	parent = open_parent(path, &name);
	if (parent < 0)
		return parent;
	if (fd < 0 || fchmod(fd, mode) < 0)
		return -errno;
	r = give_to_folder(parent, fd);
	return r < 0 ? r : sync_folder(parent);
}

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int file_make_dir(const char *path, mode_t mode)
{
	_cleanup_free_ char *own = NULL, *parent = NULL;
	int r;

	own = without_slashes(path, strlen(path));
	if (!own)
		return -ENOMEM;
	r = make_one(own, mode);
	if (r == -ENOENT) {
		r = parent_of(&parent, own);
		if (r < 0)
			return r;
		r = make_one(parent, 0755);
		if (r < 0 && r != -EEXIST)
			return r;
		r = make_one(own, mode);
	}
	if (r == -EEXIST)
		return is_folder(own) ? 0 : -ENOTDIR;
	return r;
}

/* ---- removing ---- */

static void overwrite(int fd)
{
	static const char zeros[4096];
	struct stat st;
	off_t left;

	/* Under another name, if it has one, the bytes are still somebody's. */
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink > 0)
		return;
	for (left = st.st_size; left > 0;) {
		size_t want = left < (off_t)sizeof(zeros) ? (size_t)left : sizeof(zeros);
		ssize_t n = write(fd, zeros, want);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		left -= n;
	}
	fsync(fd);
}

static int remove_at(int folder, const char *name)
{
	_cleanup_close_ int fd = -1;

	/* If it cannot be opened, it is only unlinked. O_NONBLOCK: it may be a pipe. */
	fd = openat(folder, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (unlinkat(folder, name, 0) < 0)
		return -errno;
	/* Only now, so that no name ever stands for a file that is half zeros. */
	if (fd >= 0)
		overwrite(fd);
	return 0;
}

/* The leading dot: no file that has a name of ours is taken for the temporary one of another. */
static int temporary_of(char **ret, const char *name)
{
	if (asprintf(ret, ".%s.tmp", name) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

int file_remove(const char *path)
{
	_cleanup_close_ int folder = -1;
	_cleanup_free_ char *temporary = NULL;
	const char *name = path;
	int r, q;

	folder = open_parent(path, &name);
	if (folder < 0)
		return folder;
	r = temporary_of(&temporary, name);
	if (r < 0)
		return r;
	q = remove_at(folder, temporary);
	r = remove_at(folder, name);
	if (q < 0 && q != -ENOENT && (r == 0 || r == -ENOENT))
		r = q;
	if (q == -ENOENT && r == -ENOENT)
		return r;
	q = sync_folder(folder);
	return r < 0 ? r : q;
}

/* ---- writing ---- */

int file_give_to_folder(int fd, const char *path)
{
	_cleanup_close_ int folder = -1;
	const char *name;

	folder = open_parent(path, &name);
	return folder < 0 ? folder : give_to_folder(folder, fd);
}

static int create_at(int folder, const char *name)
{
	for (bool again = false;; again = true) {
		int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
				0600);
		int r;

		if (fd >= 0)
			return fd;
		if (errno != EEXIST || again)
			return -errno;
		r = remove_at(folder, name);
		if (r < 0 && r != -ENOENT)
			return r;
	}
}

static int fill(int fd, const void *data, size_t len, mode_t mode)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode)
{
	_cleanup_close_ int folder = -1, fd = -1;
	_cleanup_free_ char *temporary = NULL;
	const char *name = path;
	int r;

	folder = open_parent(path, &name);
	if (folder < 0)
		return folder;
	r = temporary_of(&temporary, name);
	if (r < 0)
		return r;
	fd = create_at(folder, temporary);
	if (fd < 0)
		return fd;
	r = give_to_folder(folder, fd);
	if (r == 0)
		r = fill(fd, data, len, mode);
	if (r == 0 && renameat(folder, temporary, folder, name) < 0)
		r = -errno;
	if (r < 0) {
		remove_at(folder, temporary);
		return r;
	}
	return sync_folder(folder);
}

/* ---- reading ---- */

int file_read_fd(int fd, void *buf, size_t max, size_t *ret_len)
{
	char *data = buf;
	size_t len = 0;

	while (len <= max) {
		ssize_t n = read(fd, data + len, max + 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	if (len > max)
		return -E2BIG;
	data[len] = '\0';
	*ret_len = len;
	return 0;
}

int file_read(const char *path, size_t max, void **ret, size_t *ret_len)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	char *data;
	int r;

	/* O_NONBLOCK: a pipe must not hold us up before it is refused. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return errno == ENXIO ? -EINVAL : -errno; /* a socket, or a device without one */
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size > 0 && (uintmax_t)st.st_size > max)
		return -E2BIG;
	data = malloc(max + 1);
	if (!data)
		return -ENOMEM;
	r = file_read_fd(fd, data, max, ret_len);
	if (r < 0) {
		explicit_bzero(data, max + 1);
		free(data);
		return r;
	}
	*ret = data;
	return 0;
}
