/* SPDX-License-Identifier: MIT */
/* The serial line on the event loop. */
#include "port/port.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "port/internal.h"
#include "port/lookout.h"
#include "util/clock.h"
#include "util/list.h"
#include "util/ring.h"

/* How often a port that is not there is looked for. */
#define PORT_RETRY (1 * TIMERS_S)
/* How long the other end of a tcp: port has to answer. */
#define PORT_DIAL (10 * TIMERS_S)
/* When something has come where it is looked for: a node is there before udev has given it its group, by when a
 * look would complain; and what is ready then comes in several steps. */
#define PORT_SETTLE_NEW (500 * TIMERS_MS)
#define PORT_SETTLE_READY (50 * TIMERS_MS)
/* One read. A Linux tty hands out 4 KiB at most, a socket more. */
#define PORT_READ_SIZE 16384
/* Far more than a block and its command, or what is on its way of a long one; what is over that piles up only
 * before a line that is dead, and is given up. */
#define PORT_WRITE_MAX 131072
/* A block and its command, of which one follows the other, fit. A larger queue goes back when it is empty. */
#define PORT_KEEP 16384
/* How long after bytes have come the kernel's counters are looked at: not one system call more per read. */
#define PORT_LOOK (100 * TIMERS_MS)
/*
 * So much is read in that time, then no more until it is over. It is ten times what a line of 5,000,000 baud
 * brings: only what is no serial line is faster, and it is not to take the time of the other ports.
 */
#define PORT_READ_MAX 524288

struct port {
	char *spec;
	unsigned int baud, max_baud;
	const struct port_ops *ops;
	void *userdata;
	struct event_base *base; /* weak */
	struct timers *timers;   /* weak */
	struct port_line line;
	struct event *read_event;
	struct event *write_event;
	struct timer retry;
	struct lookout lookout;  /* while it is not open */
	enum lookout_sight seen; /* @retry is a look at that */
	struct timer look;
	bool counts; /* the kernel counts what is lost */
	bool held;
	size_t taken; /* since the last look, and then it may be enough */
	bool full;
	struct port_lost counted;
	struct ring out;
	int lost; /* -errno of a failed write: the port goes down on the next turn of the loop */
	char why[256];
	uint8_t in[PORT_READ_SIZE];
};

static void port_close(struct port *port)
{
	if (port->read_event)
		event_free(port->read_event);
	if (port->write_event)
		event_free(port->write_event);
	port->read_event = NULL;
	port->write_event = NULL;
	ring_deinit(&port->out);
	timer_cancel(&port->look);
	port->held = false;
	port->full = false;
	port->taken = 0;
	port_line_close(&port->line);
	port->lost = 0;
}

/* ---- when to look for it again ---- */

/* Never later on account of what else comes: in a busy folder there would be no look any more. */
static void port_on_seen(evutil_socket_t fd, short what, void *userdata)
{
	struct port *port = userdata;
	enum lookout_sight sight;

	timers_touch(port->timers);
	sight = lookout_read(&port->lookout);
	if (sight <= port->seen)
		return;
	port->seen = sight;
	timer_arm(&port->retry, sight == LOOKOUT_READY ? PORT_SETTLE_READY : PORT_SETTLE_NEW);
}

static void port_look_out(struct port *port)
{
	port->seen = LOOKOUT_NOTHING;
	lookout_start(&port->lookout, port->base, port->spec, port_on_seen, port);
}

/* ---- bytes ---- */

static void port_down(struct port *port, int error)
{
	char why[sizeof(port->why)];

	snprintf(why, sizeof(why), "the port %s is gone: %s", port->spec,
		 error == 0 ? "closed by its other end" : strerror(-error));
	port_close(port);
	port->why[0] = '\0';
	port_look_out(port);
	timer_arm(&port->retry, PORT_RETRY);
	port->ops->down(port->userdata, why);
}

static void port_watch(struct port *port)
{
	if (port->held || port->full)
		event_del(port->read_event);
	else
		event_add(port->read_event, NULL);
}

static void port_count(struct port *port, size_t n)
{
	if (!timer_armed(&port->look))
		timer_arm(&port->look, PORT_LOOK);
	port->taken += n;
	if (port->taken < PORT_READ_MAX)
		return;
	port->full = true;
	port_watch(port);
}

static void port_on_read(evutil_socket_t fd, short what, void *userdata)
{
	struct port *port = userdata;
	ssize_t n;

	timers_touch(port->timers);
	if (port->lost < 0) {
		port_down(port, port->lost);
		return;
	}
	n = read(fd, port->in, sizeof(port->in));
	if (n > 0) {
		port_count(port, (size_t)n);
		port->ops->data(port->userdata, port->in, (size_t)n);
		/* A key that was read back may have been in it. */
		explicit_bzero(port->in, (size_t)n);
		return;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	port_down(port, n == 0 ? 0 : -errno);
}

static void port_lose(struct port *port, int error)
{
	/* Not from inside port_write(): its caller is in the middle of something. */
	port->lost = error;
	event_active(port->read_event, EV_READ, 0);
}

static void port_flush(struct port *port)
{
	struct iovec iov[2];
	ssize_t n;
	int count;

	while (port->lost == 0 && (count = ring_peek(&port->out, iov)) > 0) {
		n = writev(port->line.fd, iov, count);
		if (n > 0) {
			ring_drop(&port->out, (size_t)n);
			continue;
		}
		if (n < 0 && errno == EAGAIN) {
			event_add(port->write_event, NULL);
			return;
		}
		if (n < 0 && errno == EINTR)
			continue;
		port_lose(port, n < 0 ? -errno : -EIO);
	}
	if (port->out.size > PORT_KEEP)
		ring_trim(&port->out);
}

static void port_dialled(struct port *port);

static void port_on_write(evutil_socket_t fd, short what, void *userdata)
{
	struct port *port = userdata;

	timers_touch(port->timers);
	if (port->line.dialing)
		port_dialled(port);
	else
		port_flush(port);
}

void port_write(struct port *port, const void *data, size_t len)
{
	const uint8_t *bytes = data;
	ssize_t n = 0;

	if (port->line.fd < 0 || port->lost < 0)
		return;
	if (port->out.len == 0) {
		n = write(port->line.fd, bytes, len);
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			port_lose(port, -errno);
			return;
		}
		if (n < 0)
			n = 0;
	}
	if ((size_t)n == len)
		return;
	if (ring_put(&port->out, bytes + n, len - (size_t)n) < 0) {
		port_lose(port, -ENOBUFS);
		return;
	}
	event_add(port->write_event, NULL);
}

/* ---- what was lost, and what is too much ---- */

static void port_on_look(struct timer *timer)
{
	struct port *port = container_of(timer, struct port, look);
	struct port_lost now, lost;

	port->taken = 0;
	if (port->full) {
		port->full = false;
		port_watch(port);
	}
	if (!port->counts || port_line_counts(&port->line, &now) < 0)
		return;
	lost = (struct port_lost){
		.frame = now.frame - port->counted.frame,
		.overrun = now.overrun - port->counted.overrun,
		.parity = now.parity - port->counted.parity,
		.brk = now.brk - port->counted.brk,
		.buf_overrun = now.buf_overrun - port->counted.buf_overrun,
	};
	port->counted = now;
	if (lost.frame || lost.overrun || lost.parity || lost.brk || lost.buf_overrun)
		port->ops->lost(port->userdata, &lost);
}

/* ---- the line in service ---- */

/* What was queued here never goes. */
static void port_drop_queue(struct port *port)
{
	event_del(port->write_event);
	ring_deinit(&port->out);
}

int port_set_line(struct port *port, unsigned int baud, bool rtscts)
{
	int r;

	if (port->line.fd < 0)
		return -ENODEV;
	r = port_line_set(&port->line, baud, rtscts);
	if (r < 0)
		return r;
	/* Also what stood behind a CTS that never came. */
	port_drop_queue(port);
	/* What was damaged at another rate is of no interest. */
	if (port->counts)
		port_line_counts(&port->line, &port->counted);
	return 0;
}

int port_set_reset(struct port *port, bool on)
{
	return port->line.fd < 0 ? -ENODEV : port_line_reset(&port->line, on);
}

int port_cts(const struct port *port)
{
	int bits;

	if (port->line.fd < 0 || ioctl(port->line.fd, TIOCMGET, &bits) < 0)
		return -ENOTSUP;
	return (bits & TIOCM_CTS) != 0;
}

void port_discard(struct port *port)
{
	if (port->line.fd < 0)
		return;
	port_drop_queue(port);
	/* A socket has none that could be dropped. */
	tcflush(port->line.fd, TCOFLUSH);
}

unsigned int port_baud(const struct port *port)
{
	return port->line.baud;
}

void port_hold(struct port *port, bool hold)
{
	if (port->line.fd < 0 || port->held == hold)
		return;
	port->held = hold;
	port_watch(port);
}

size_t port_queued(const struct port *port)
{
	return port->line.fd < 0 ? 0 : port->out.len + port_line_queued(&port->line);
}

/* ---- opening ---- */

static void port_up(struct port *port)
{
	timer_cancel(&port->retry);
	lookout_stop(&port->lookout);
	port->counts = port_line_counts(&port->line, &port->counted) == 0;
	port->why[0] = '\0';
	port->ops->up(port->userdata);
}

/* Not open, for the reason @why: another try comes. */
static void port_fail(struct port *port, const char *why)
{
	port_close(port);
	timer_arm(&port->retry, PORT_RETRY);
	if (strcmp(port->why, why) == 0)
		return;
	snprintf(port->why, sizeof(port->why), "%s", why);
	port->ops->waiting(port->userdata, port->why);
}

/* From now on both events are there, of which one waits: for bytes, or for the answer. */
static int port_watch_line(struct port *port)
{
	port->read_event = event_new(port->base, port->line.fd, EV_READ | EV_PERSIST, port_on_read,
				     port);
	port->write_event = event_new(port->base, port->line.fd, EV_WRITE, port_on_write, port);
	if (!port->read_event || !port->write_event)
		return -ENOMEM;
	return event_add(port->line.dialing ? port->write_event : port->read_event, NULL);
}

static void port_try(struct port *port)
{
	char why[sizeof(port->why)] = "";

	port_look_out(port);
	if (port_line_open(&port->line, port->spec, port->baud, port->max_baud, why, sizeof(why)) <
	    0) {
		port_fail(port, why);
		return;
	}
	if (port_watch_line(port) < 0) {
		snprintf(why, sizeof(why), "cannot watch %s", port->spec);
		port_fail(port, why);
		return;
	}
	if (port->line.dialing)
		timer_arm(&port->retry, PORT_DIAL);
	else
		port_up(port);
}

static void port_dialled(struct port *port)
{
	char why[sizeof(port->why)] = "out of memory";

	if (port_line_dialled(&port->line, port->spec, why, sizeof(why)) < 0 ||
	    event_add(port->read_event, NULL) < 0)
		port_fail(port, why);
	else
		port_up(port);
}

static void port_on_retry(struct timer *timer)
{
	struct port *port = container_of(timer, struct port, retry);
	char why[sizeof(port->why)];

	if (!port->line.dialing) {
		port_try(port);
		return;
	}
	snprintf(why, sizeof(why), "cannot connect to %s: no answer", port->spec);
	port_fail(port, why);
}

int port_new(struct port **ret, struct event_base *base, struct timers *timers, const char *spec,
	     unsigned int baud, unsigned int max_baud, const struct port_ops *ops, void *userdata)
{
	struct port *port = calloc(1, sizeof(*port));
	int r;

	if (!port)
		return -ENOMEM;
	port->spec = strdup(spec);
	port->baud = baud;
	port->max_baud = max_baud;
	port->ops = ops;
	port->userdata = userdata;
	port->base = base;
	port->timers = timers;
	port->line = (struct port_line){ .fd = -1 };
	port->lookout = LOOKOUT_NONE;
	ring_init(&port->out, PORT_WRITE_MAX);
	port->out.wipe = true;
	r = timer_init(&port->retry, timers, port_on_retry);
	if (r == 0)
		r = timer_init(&port->look, timers, port_on_look);
	if (r < 0 || !port->spec) {
		port_free(port);
		return -ENOMEM;
	}
	/* Not at once: the caller is not ready for up() before he has *ret. */
	timer_arm(&port->retry, 0);
	*ret = port;
	return 0;
}

struct port *port_free(struct port *port)
{
	if (!port)
		return NULL;
	port_close(port);
	lookout_stop(&port->lookout);
	timer_deinit(&port->retry);
	timer_deinit(&port->look);
	free(port->spec);
	free(port);
	return NULL;
}
