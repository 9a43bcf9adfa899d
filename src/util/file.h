/* SPDX-License-Identifier: MIT */
/*
 * Small files that are read and written whole. What is in them may be a key: no copy stays behind
 * in memory, except what the caller gets.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/*
 * Root's new files and folders belong to whoever the folder belongs to that they are in: who runs a
 * command as root must not lock a service out that runs as another user.
 */

/*
 * Replaces @path by @len bytes of @data, with exactly @mode whatever the umask is. At each moment,
 * also of a kill or a loss of power, the name stands for the old file or for the whole new one. The
 * bytes go to `.NAME.tmp` in the same folder first, which is ours: one that a killed run has left
 * is replaced. So a file has one writer at a time. A symbolic link at @path is replaced, not
 * followed.
 *
 * Returns 0 or -errno (-EINVAL: @path ends in no name). Then the old file is untouched, and nothing
 * new is there; only if the folder could not be synced at the very end, the new file is in place.
 */
int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode);
/*
 * Reads a regular file; symbolic links are followed, a pipe or a device does not hold us up.
 * Returns 0 and a buffer of *ret_len bytes and a NUL, which the caller wipes and frees; -E2BIG if
 * there are more than @max bytes, -EINVAL if it is no regular file, or another -errno.
 */
int file_read(const char *path, size_t max, void **ret, size_t *ret_len);
/*
 * Reads @fd to its end into @buf, which has room for @max + 1 bytes, and puts a NUL behind them.
 * Returns 0, -E2BIG if there are more than @max bytes, or another -errno.
 */
int file_read_fd(int fd, void *buf, size_t max, size_t *ret_len);
/*
 * Unlinks @path and what a killed file_write_atomic() has left of it, then writes zeros over the
 * bytes: where a file system writes in place (few do on flash), they are gone from there too.
 * Returns 0, -ENOENT if there was no file, or another -errno.
 */
int file_remove(const char *path);
/*
 * Makes a folder with exactly @mode, and its parent (0755) if that is missing. What exists is left
 * as it is: 0 for a folder or a link to one, else -ENOTDIR. Returns 0 or -errno.
 */
int file_make_dir(const char *path, mode_t mode);
/* @fd, a new file in @path's folder, belongs to the folder's owner, if we are root. 0 or -errno. */
int file_give_to_folder(int fd, const char *path);
/* After this, renames in the folder outlast a loss of power. Returns 0 or -errno. */
int file_sync_dir(const char *path);
