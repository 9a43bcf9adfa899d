/* SPDX-License-Identifier: MIT */
/*
 * Sees that something has come, or may be opened now, where a port is looked for, so that nobody waits for
 * the next look. It is a help and no more: without it a port is found a while later.
 */
#pragma once

struct event_base;
struct event;

struct lookout {
	int fd; /* -1: not there */
	struct event *event;
};

#define LOOKOUT_NONE ((struct lookout){ .fd = -1 })

/*
 * From now on @seen, a libevent callback, is called when there is something to lookout_read(). To be called
 * before each look at @spec: the folder may have come meanwhile.
 */
void lookout_start(struct lookout *lookout, struct event_base *base, const char *spec,
		   void (*seen)(int fd, short what, void *userdata), void *userdata);
/*
 * Takes what there is. LOOKOUT_READY: a name has come with all that belongs to it, or somebody may open now what
 * he might not before; LOOKOUT_NEW: something is new, and may not be ready yet.
 */
enum lookout_sight {
	LOOKOUT_NOTHING,
	LOOKOUT_NEW,
	LOOKOUT_READY
};
enum lookout_sight lookout_read(const struct lookout *lookout);
void lookout_stop(struct lookout *lookout);
