/* SPDX-License-Identifier: MIT */
/* The way into the simulator. */
#include "port.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define LOOK_US 3000 /* how often a closed pty is looked at: there is no event for its opening */

struct port {
	int epfd;
	struct watch w; /* the pty's master or the socket's client */
	struct watch listener;
	char *link; /* symlink or socket, removed at the end */
	char slave[64];
	bool unix_socket, host, readable, unplugged;
	bool hup; /* the host has gone; what it wrote before may still be read */
	bool want_read, want_write;
	uint64_t look_at;
};

static void update(struct port *p)
{
	uint32_t events = 0;

	if (p->host && p->want_read)
		events |= EPOLLIN;
	if (p->host && p->want_write)
		events |= EPOLLOUT;
	watch_set(p->epfd, &p->w, events);
}

/* What was said to a host that has gone must not greet the next one. */
static void flush_pty(struct port *p)
{
	int fd = open(p->slave, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return;
	tcflush(fd, TCIFLUSH);
	close(fd);
}

static void host_left(struct port *p)
{
	p->host = p->readable = p->hup = false;
	watch_set(p->epfd, &p->w, 0);
	if (p->unix_socket) {
		close(p->w.fd);
		p->w.fd = -1;
		return;
	}
	flush_pty(p);
	p->look_at = now_us() + LOOK_US;
}

static void event(void *ud, uint32_t events)
{
	struct port *p = ud;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		p->readable = true;
	/* Somebody may have opened it again before what was written by then was read. */
	p->hup = events & EPOLLHUP;
}

static void accept_cb(void *ud, uint32_t events)
{
	struct port *p = ud;
	int fd = accept4(p->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (p->host || p->unplugged) { /* a serial line has two ends */
		close(fd);
		return;
	}
	p->w.fd = fd;
	p->host = true;
	update(p);
}

static int open_pty(struct port *p)
{
	struct termios t;
	int fd, slave;

	fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || grantpt(fd) < 0 || unlockpt(fd) < 0 ||
	    ptsname_r(fd, p->slave, sizeof(p->slave))) {
		int r = -errno;

		if (fd >= 0)
			close(fd);
		return r;
	}
	/* Opened and closed once: raw, and from now on the master can tell whether somebody is there. */
	slave = open(p->slave, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || tcgetattr(slave, &t) < 0) {
		close(fd);
		return -EIO;
	}
	cfmakeraw(&t);
	cfsetspeed(&t, B115200);
	tcsetattr(slave, TCSANOW, &t);
	close(slave);
	p->w.fd = fd;
	p->look_at = 0;
	return 0;
}

static int make_link(struct port *p)
{
	char tmp[4096];

	if (!p->link)
		return 0;
	if (snprintf(tmp, sizeof(tmp), "%s.%d", p->link, getpid()) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	unlink(tmp);
	if (symlink(p->slave, tmp) < 0)
		return -errno;
	if (rename(tmp, p->link) < 0) {
		unlink(tmp);
		return -errno;
	}
	return 0;
}

static int open_listener(struct port *p, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct stat st;

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	strcpy(a.sun_path, path);
	if (!lstat(path, &st) && S_ISSOCK(st.st_mode))
		unlink(path);
	p->listener.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->listener.fd < 0 || bind(p->listener.fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(p->listener.fd, 2) < 0)
		return -errno;
	watch_set(p->epfd, &p->listener, EPOLLIN);
	return 0;
}

int port_new(struct port **ret, int epfd, const char *tty_link, const char *path)
{
	struct port *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->epfd = epfd;
	p->w = (struct watch){ .fd = -1, .cb = event, .ud = p };
	p->listener = (struct watch){ .fd = -1, .cb = accept_cb, .ud = p };
	p->look_at = SIM_NEVER;
	p->unix_socket = path;
	if (path || tty_link)
		p->link = strdup(path ? path : tty_link);
	r = path ? open_listener(p, path) : open_pty(p);
	if (!r && !path)
		r = make_link(p);
	if (r) {
		/* Whatever has this name is not ours. */
		free(p->link);
		p->link = NULL;
		port_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

struct port *port_free(struct port *p)
{
	if (!p)
		return NULL;
	if (p->w.fd >= 0)
		close(p->w.fd);
	if (p->listener.fd >= 0)
		close(p->listener.fd);
	if (p->link)
		unlink(p->link);
	free(p->link);
	free(p);
	return NULL;
}

const char *port_path(const struct port *p)
{
	return p->unix_socket ? p->link : p->slave;
}

void port_want(struct port *p, bool read, bool write)
{
	if (p->want_read == read && p->want_write == write)
		return;
	p->want_read = read;
	p->want_write = write;
	update(p);
}

bool port_readable(const struct port *p)
{
	return p->readable;
}

size_t port_read(struct port *p, uint8_t *data, size_t len)
{
	ssize_t n;

	if (!p->host)
		return 0;
	p->readable = false;
	n = read(p->w.fd, data, len);
	if (n > 0)
		return n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		p->hup = false; /* somebody has opened it again meanwhile */
		return 0;
	}
	host_left(p);
	return 0;
}

size_t port_write(struct port *p, const uint8_t *data, size_t len)
{
	ssize_t n;

	/* A chip that is stuck with its output must still come to read the end of file. */
	if (!p->host || p->hup)
		return len;
	n = write(p->w.fd, data, len);
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	host_left(p);
	return len;
}

uint64_t port_run(struct port *p, uint64_t now)
{
	struct pollfd pfd = { .fd = p->w.fd, .events = POLLIN };

	if (p->look_at > now)
		return p->look_at;
	p->look_at = SIM_NEVER;
	if (p->unix_socket || p->unplugged || p->host)
		return SIM_NEVER;
	if (poll(&pfd, 1, 0) >= 0 && !(pfd.revents & POLLHUP)) {
		p->host = true;
		update(p);
		return SIM_NEVER;
	}
	p->look_at = now + LOOK_US;
	return p->look_at;
}

void port_termios(struct port *p, int *baud, int *rtscts)
{
	static const struct {
		speed_t code;
		int baud;
	} rates[] = {
		{ B300, 300 },         { B1200, 1200 },       { B2400, 2400 },
		{ B4800, 4800 },       { B9600, 9600 },       { B19200, 19200 },
		{ B38400, 38400 },     { B57600, 57600 },     { B115200, 115200 },
		{ B230400, 230400 },   { B460800, 460800 },   { B500000, 500000 },
		{ B576000, 576000 },   { B921600, 921600 },   { B1000000, 1000000 },
		{ B1152000, 1152000 }, { B1500000, 1500000 }, { B2000000, 2000000 },
		{ B2500000, 2500000 }, { B3000000, 3000000 }, { B3500000, 3500000 },
		{ B4000000, 4000000 },
	};
	struct termios t;

	*baud = *rtscts = -1;
	/* The master of a pty sees the settings of its slave. */
	if (p->unix_socket || tcgetattr(p->w.fd, &t) < 0)
		return;
	*rtscts = !!(t.c_cflag & CRTSCTS);
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
		if (cfgetospeed(&t) == rates[i].code)
			*baud = rates[i].baud;
}

/* Closing the master is the hangup that a pulled USB plug gives; what comes back is another device. */
void port_plug(struct port *p, bool in)
{
	if (p->unplugged == !in)
		return;
	p->unplugged = !in;
	if (in) {
		if (!p->unix_socket && (open_pty(p) < 0 || make_link(p) < 0))
			say("espat-sim: no new pty");
		return;
	}
	watch_set(p->epfd, &p->w, 0);
	if (p->w.fd >= 0)
		close(p->w.fd);
	p->w.fd = -1;
	p->host = p->readable = false;
	p->look_at = SIM_NEVER;
	if (!p->unix_socket && p->link)
		unlink(p->link);
}
