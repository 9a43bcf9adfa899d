/* SPDX-License-Identifier: MIT */
#include "port/lookout.h"

#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "util/cleanup.h"

/* The kernel makes a node, then udev gives it its group, and makes links to it by renaming. */
#define LOOKOUT_EVENTS (IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_ONLYDIR)

/* The nearest folder above @path that there is: /dev/serial goes with the last adapter. */
static void watch_folder_of(int fd, const char *path)
{
	_cleanup_free_ char *folder = strdup(path);
	char *slash;

	while (folder && (slash = strrchr(folder, '/'))) {
		slash[slash == folder] = '\0';
		if (inotify_add_watch(fd, folder, LOOKOUT_EVENTS) >= 0 || errno != ENOENT ||
		    slash == folder)
			return;
	}
}

static const char *path_of(const char *spec)
{
	if (strncmp(spec, "usb:", 4) == 0)
		return "/dev/ttyUSB0";
	if (strncmp(spec, "unix:", 5) == 0)
		return spec + 5;
	return spec[0] == '/' ? spec : NULL;
}

void lookout_start(struct lookout *lookout, struct event_base *base, const char *spec,
		   void (*seen)(int fd, short what, void *userdata), void *userdata)
{
	const char *path = path_of(spec);

	if (!path)
		return;
	if (lookout->fd < 0) {
		lookout->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		if (lookout->fd < 0)
			return;
		lookout->event = event_new(base, lookout->fd, EV_READ | EV_PERSIST, seen, userdata);
		if (!lookout->event || event_add(lookout->event, NULL) < 0) {
			lookout_stop(lookout);
			return;
		}
	}
	watch_folder_of(lookout->fd, path);
}

enum lookout_sight lookout_read(const struct lookout *lookout)
{
	_Alignas(struct inotify_event) char buf[4096];
	enum lookout_sight sight = LOOKOUT_NOTHING;
	const struct inotify_event *event;
	ssize_t n;

	while ((n = read(lookout->fd, buf, sizeof(buf))) > 0) {
		for (char *p = buf; p < buf + n; p += sizeof(*event) + event->len) {
			event = (const struct inotify_event *)p;
			if (event->mask & (IN_MOVED_TO | IN_ATTRIB))
				sight = LOOKOUT_READY;
			else if (sight == LOOKOUT_NOTHING)
				sight = LOOKOUT_NEW;
		}
	}
	return sight;
}

void lookout_stop(struct lookout *lookout)
{
	if (lookout->event)
		event_free(lookout->event);
	if (lookout->fd >= 0)
		close(lookout->fd);
	*lookout = LOOKOUT_NONE;
}
