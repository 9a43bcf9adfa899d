/* SPDX-License-Identifier: MIT */
/* Sockets that wait for the client's end. */
#include "tunnel/linger.h"

#include <errno.h>
#include <event2/event.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/timers.h"

#define LINGERS_MAX 64
/* So often it is looked whether all has been acknowledged; and when it has, this is what is left to the client. */
#define LINGER_LOOK (2 * TIMERS_S)
#define LINGER_TIME (60 * TIMERS_S)

/* Bytes; more than a socket holds, mostly. */
#define LINGER_READ (1 << 20)

struct linger_fd {
	struct lingers *lingers; /* weak */
	int fd;
	struct event *event;
	struct timer timer;
	uint64_t end;
	bool acknowledged;
	struct list node;
};

static void linger_free(struct linger_fd *linger)
{
	if (list_linked(&linger->node))
		linger->lingers->n--;
	list_remove(&linger->node);
	timer_deinit(&linger->timer);
	if (linger->event)
		event_free(linger->event);
	if (linger->fd >= 0)
		close(linger->fd);
	free(linger);
}

/* What it still sends is nobody's. */
static void linger_on_read(evutil_socket_t fd, short what, void *userdata)
{
	struct linger_fd *linger = userdata;
	ssize_t n;

	timers_touch(linger->lingers->timers);
	/* tcp(7): not even copied. */
	n = recv(fd, NULL, LINGER_READ, MSG_DONTWAIT | MSG_TRUNC);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		linger_free(linger);
}

static void linger_on_look(struct timer *timer)
{
	struct linger_fd *linger = container_of(timer, struct linger_fd, timer);
	int unsent = 0;

	if (linger->acknowledged || timer->timers->now >= linger->end) {
		linger_free(linger);
		return;
	}
	linger->acknowledged = ioctl(linger->fd, SIOCOUTQ, &unsent) < 0 || unsent == 0;
	timer_arm(timer, LINGER_LOOK);
}

static bool is_tcp(int fd)
{
	socklen_t size = sizeof(int);
	int domain = AF_UNSPEC;

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
	       (domain == AF_INET || domain == AF_INET6);
}

static int linger_start(struct lingers *lingers, int fd)
{
	struct linger_fd *linger = calloc(1, sizeof(*linger));

	if (!linger)
		return -ENOMEM;
	linger->lingers = lingers;
	linger->fd = -1;
	linger->end = lingers->timers->now + LINGER_TIME;
	linger->event = event_new(lingers->base, fd, EV_READ | EV_PERSIST, linger_on_read, linger);
	if (timer_init(&linger->timer, lingers->timers, linger_on_look) < 0 || !linger->event ||
	    event_add(linger->event, NULL) < 0) {
		linger_free(linger);
		return -ENOMEM;
	}
	linger->fd = fd;
	list_append(&lingers->list, &linger->node);
	lingers->n++;
	timer_arm(&linger->timer, LINGER_LOOK);
	return 0;
}

static void lingers_end_oldest(struct lingers *lingers)
{
	struct list *node = list_first(&lingers->list);

	if (node)
		linger_free(container_of(node, struct linger_fd, node));
}

void lingers_close(struct lingers *lingers, int fd)
{
	if (!is_tcp(fd) || shutdown(fd, SHUT_WR) < 0 || linger_start(lingers, fd) < 0) {
		close(fd);
		return;
	}
	if (lingers->n > LINGERS_MAX)
		lingers_end_oldest(lingers);
}

void lingers_init(struct lingers *lingers, struct event_base *base, struct timers *timers)
{
	*lingers = (struct lingers){ .base = base, .timers = timers };
	list_init(&lingers->list);
}

void lingers_deinit(struct lingers *lingers)
{
	while (!list_empty(&lingers->list))
		lingers_end_oldest(lingers);
}
