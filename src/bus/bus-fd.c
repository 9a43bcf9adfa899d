/* SPDX-License-Identifier: MIT */
/* Secrets by file descriptor. */
#include "bus/bus-fd.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/list.h"

#define EXPECTED "expected a memfd, a regular file, a pipe or a stream socket, open for reading"

/* The descriptor is not needed any more. */
static void fd_let_go(struct bus_fd *reader)
{
	if (!reader->reading)
		return;
	reader->reading = false;
	if (reader->event)
		event_free(reader->event);
	reader->event = NULL;
	timer_deinit(&reader->timer);
	if (reader->flags >= 0)
		fcntl(reader->fd, F_SETFL, reader->flags);
	close(reader->fd);
	reader->fd = -1;
}

void bus_fd_clear(struct bus_fd *reader)
{
	fd_let_go(reader);
	if (reader->data) {
		explicit_bzero(reader->data, BUS_FD_MAX + 2);
		free(reader->data);
	}
	reader->data = NULL;
	reader->len = 0;
}

__attribute__((format(printf, 3, 4))) static void
fd_fail(struct bus_fd *reader, enum bus_error error, const char *format, ...)
{
	struct bus_failure failure;
	va_list ap;

	va_start(ap, format);
	bus_vfail(&failure, error, format, ap);
	va_end(ap);
	bus_fd_clear(reader);
	reader->done(reader, &failure);
}

static void fd_succeed(struct bus_fd *reader)
{
	fd_let_go(reader);
	reader->data[reader->len] = '\0';
	reader->done(reader, NULL);
}

/* What follows the first line is nobody's business. Returns whether the line has an end. */
static bool fd_cut_line(struct bus_fd *reader)
{
	char *end = memchr(reader->data, '\n', reader->len);

	if (!end)
		return false;
	explicit_bzero(end, reader->len - (size_t)(end - reader->data));
	reader->len = (size_t)(end - reader->data);
	if (reader->len > 0 && reader->data[reader->len - 1] == '\r')
		reader->len--;
	return true;
}

/* After @n more bytes; true: that is the end of it, and done() was called. */
static bool fd_took(struct bus_fd *reader, size_t n)
{
	reader->len += n;
	if (reader->end == BUS_FD_LINE && fd_cut_line(reader)) {
		fd_succeed(reader);
		return true;
	}
	if (reader->len > BUS_FD_MAX) {
		fd_fail(reader, BUS_E_TOO_LARGE, "the file descriptor has more than %d bytes",
			BUS_FD_MAX);
		return true;
	}
	if (n > 0)
		return false;
	fd_succeed(reader);
	return true;
}

static size_t fd_room(const struct bus_fd *reader)
{
	return BUS_FD_MAX + 1 - reader->len;
}

static void fd_read_file(struct bus_fd *reader)
{
	ssize_t n;

	do {
		n = pread(reader->fd, reader->data + reader->len, fd_room(reader),
			  (off_t)reader->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			fd_fail(reader, BUS_E_BAD_DESCRIPTOR,
				"the file descriptor cannot be read: %s", strerror(errno));
			return;
		}
	} while (n < 0 || !fd_took(reader, (size_t)n));
}

/*
 * O_NONBLOCK may be shared with the caller, who can take it off again between two reads: it is asked for
 * with each. Not of named pipes (and of none before Linux 6.4), where it can only be put back.
 */
static ssize_t fd_read_pipe(struct bus_fd *reader)
{
	struct iovec iov = { reader->data + reader->len, fd_room(reader) };
	ssize_t n = preadv2(reader->fd, &iov, 1, -1, RWF_NOWAIT);
	int flags;

	if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS))
		return n;
	flags = fcntl(reader->fd, F_GETFL);
	if (flags < 0 ||
	    (!(flags & O_NONBLOCK) && fcntl(reader->fd, F_SETFL, flags | O_NONBLOCK) < 0))
		return -1;
	return readv(reader->fd, &iov, 1);
}

/*
 * All that is there now. The first time without being asked to: of a named pipe that was opened anew
 * after its writers had gone, poll(2) never tells the end.
 */
static void fd_read_on(struct bus_fd *reader)
{
	ssize_t n;

	do {
		n = reader->is_socket ? recv(reader->fd, reader->data + reader->len,
					     fd_room(reader), MSG_DONTWAIT)
				      : fd_read_pipe(reader);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno != EINTR) {
			fd_fail(reader, BUS_E_BAD_DESCRIPTOR,
				"the file descriptor cannot be read: %s", strerror(errno));
			return;
		}
	} while (n < 0 || !fd_took(reader, (size_t)n));
}

static void fd_on_event(evutil_socket_t fd, short what, void *userdata)
{
	fd_read_on(userdata);
}

static void fd_on_timeout(struct timer *timer)
{
	struct bus_fd *reader = container_of(timer, struct bus_fd, timer);

	fd_fail(reader, BUS_E_TIMEOUT,
		"the file descriptor has not come to its end within %d seconds",
		(int)(BUS_FD_TIMEOUT / TIMERS_S));
}

/*
 * Reading must not wait, but O_NONBLOCK belongs to all who share the description, a shell's pipeline
 * perhaps: one of our own has it, where the pipe can be opened anew; else theirs for that time.
 */
static int fd_unblock(struct bus_fd *reader)
{
	int flags = fcntl(reader->fd, F_GETFL), own;
	char path[64];

	if (flags < 0)
		return -errno;
	if (flags & O_NONBLOCK)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", reader->fd);
	own = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (own >= 0) {
		close(reader->fd);
		reader->fd = own;
		return 0;
	}
	if (fcntl(reader->fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	reader->flags = flags;
	return 0;
}

static void fd_read_stream(struct bus_fd *reader, struct event_base *base, struct timers *timers)
{
	int r = reader->is_socket ? 0 : fd_unblock(reader);

	if (r < 0) {
		fd_fail(reader, BUS_E_BAD_DESCRIPTOR, "the file descriptor cannot be read: %s",
			strerror(-r));
		return;
	}
	reader->event = event_new(base, reader->fd, EV_READ | EV_PERSIST, fd_on_event, reader);
	if (timer_init(&reader->timer, timers, fd_on_timeout) < 0 || !reader->event ||
	    event_add(reader->event, NULL) < 0) {
		fd_fail(reader, BUS_E_NO_MEMORY, "out of memory");
		return;
	}
	timers_touch(timers);
	timer_arm(&reader->timer, BUS_FD_TIMEOUT);
	fd_read_on(reader);
}

static bool fd_is_stream(int fd)
{
	int type = 0, listens = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM)
		return false;
	len = sizeof(listens);
	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && !listens;
}

/* S_IFMT's part of the mode, or 0. Without asking a file system that may be a program of the caller's. */
static mode_t fd_type(int fd)
{
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &stx) < 0)
		return 0;
	return stx.stx_mode & S_IFMT;
}

static bool fd_is_readable(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && !(flags & O_PATH) && (flags & O_ACCMODE) != O_WRONLY;
}

void bus_fd_read(struct bus_fd *reader, struct event_base *base, struct timers *timers, int fd,
		 enum bus_fd_end end,
		 void (*done)(struct bus_fd *reader, const struct bus_failure *failure))
{
	*reader =
		(struct bus_fd){ .fd = fd, .end = end, .reading = true, .flags = -1, .done = done };
	reader->data = malloc(BUS_FD_MAX + 2);
	if (!reader->data) {
		fd_fail(reader, BUS_E_NO_MEMORY, "out of memory");
		return;
	}
	if (!fd_is_readable(fd)) {
		fd_fail(reader, BUS_E_BAD_DESCRIPTOR, "the file descriptor: " EXPECTED);
		return;
	}
	switch (fd_type(fd)) {
	case S_IFREG:
		fd_read_file(reader);
		return;
	case S_IFIFO:
		fd_read_stream(reader, base, timers);
		return;
	case S_IFSOCK:
		if (fd_is_stream(fd)) {
			reader->is_socket = true;
			fd_read_stream(reader, base, timers);
			return;
		}
		break;
	}
	fd_fail(reader, BUS_E_BAD_DESCRIPTOR, "the file descriptor: " EXPECTED);
}
