/* SPDX-License-Identifier: MIT */
/*
 * The D-Bus interface without a bus: this process plays the bus's daemon, polkit and all callers on the other end
 * of one socket. Below are the doubles of the unit tests.
 *
 * Checked: each call is answered once, by an error of ours or the library's; what reaches the operations has
 * been checked by then; no descriptor is forgotten; no secret is in the log.
 */
#pragma once

#include <systemd/sd-bus.h>

#include "../unit/fake-device.h"
#include "bus/internal.h"

#define BUS_RIG_CALLS 64
/* In what comes by a descriptor. */
#define BUS_RIG_SECRET "hunter2-secret"

enum bus_rig_caller {
	BUS_RIG_ADMIN,
	BUS_RIG_STRANGER, /* polkit is asked */
	BUS_RIG_UNKNOWN,  /* the bus does not say who it is */
};

enum bus_rig_polkit {
	BUS_RIG_YES,
	BUS_RIG_NO,
	BUS_RIG_CHALLENGE,
	BUS_RIG_SILENT,
	BUS_RIG_BROKEN,
};

struct bus_rig_call {
	unsigned int answers;
	bool gone; /* its caller is: none need come */
	unsigned int caller;
};

struct bus_rig {
	struct event_base *base;
	struct timers timers;
	struct bus *bus;
	struct device *dev;
	struct tunnel *tunnel, *made;
	sd_bus *peer;
	int lowest; /* descriptor that is free when a run begins */
	bool heard; /* the daemon has taken a message from the bus in this turn */
	/* how calls fare from now on */
	enum bus_rig_caller caller;
	enum bus_rig_polkit polkit;
	enum bus_error fails; /* BUS_OK: operations succeed */
	bool later;           /* changes go on */
	bool raw;
	struct bus_rig_call calls[BUS_RIG_CALLS];
	size_t n_calls;
	bus_change_fn done;
	void *done_userdata;
};

extern struct bus_rig bus_rig;

/* Once. */
void bus_rig_init(void);
void bus_rig_begin(void);
/* Everything ends: all calls must have been answered. */
void bus_rig_end(void);
/* A call that is yet to be filled in and sent; NULL: there were too many. */
sd_bus_message *bus_rig_call(const char *path, const char *interface, const char *member);
/* Takes @m. */
void bus_rig_send(sd_bus_message *m, unsigned int caller, bool interactive);
/* The caller's connection has ended. */
void bus_rig_hang_up(unsigned int caller);
/* A change that goes on ends. */
void bus_rig_finish_change(bool good);
/* Until nobody has anything to say. */
void bus_rig_run(void);
void bus_rig_pass(uint64_t time);
