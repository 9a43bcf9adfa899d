/* SPDX-License-Identifier: MIT */
/*
 * Who may: root and the group espat-admin, and whom polkit lets. Asked anew for each call, as both
 * memberships and polkit's mind change; whatever goes wrong on the way is a no.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "bus/error.h"
#include "util/list.h"
#include "util/timers.h"

struct bus;

/* How long the bus and polkit may take to answer, and how long if a person is asked for a password. */
#define BUS_AUTH_TIMEOUT (30 * TIMERS_S)
#define BUS_AUTH_TIMEOUT_INTERACTIVE (120 * TIMERS_S)

/*
 * Questions to polkit that may be open, in all and for one user: he may let them hang as long as he
 * likes, and others are to find room among BUS_REQUESTS_MAX.
 */
#define BUS_AUTH_MAX 128
#define BUS_AUTH_USER_MAX 32

enum bus_action {
	BUS_ACTION_MANAGE,
	BUS_ACTION_TRUST, /* authorities, identities, what a chip holds, which chip it is */
	BUS_ACTION_RAW,
};

/* "org.espat1.manage" */
const char *bus_action_name(enum bus_action action);

/* One question; embedded in its owner. All zero, it asks nothing. */
struct bus_auth {
	struct bus *bus;         /* weak; NULL: nothing is asked */
	sd_bus_message *message; /* weak: the call */
	enum bus_action action;
	sd_bus_slot *slot; /* of the answer that is waited for */
	struct timer timer;
	struct list node;      /* in bus->questions, while polkit is being asked */
	char cancellation[24]; /* polkit is being asked, and can be told by this to stop; "" */
	int64_t uid;           /* of the caller; -1: not known */
	void (*done)(struct bus_auth *auth, enum bus_error verdict, const char *why);
};

/*
 * @done follows, never at once, unless bus_auth_cancel() comes first: BUS_OK, or the error of a call that
 * may not be. Returns 0 or -errno.
 */
int bus_auth_ask(struct bus_auth *auth, struct bus *bus, sd_bus_message *message,
		 enum bus_action action,
		 void (*done)(struct bus_auth *auth, enum bus_error verdict, const char *why));
/* May be called again, and when it was answered. */
void bus_auth_cancel(struct bus_auth *auth);
