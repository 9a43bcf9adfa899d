/* SPDX-License-Identifier: MIT */
/*
 * One udev rule per configured port: a name that stays, and nobody else who tries it. A rule names one
 * adapter, by its serial number or by where it is plugged in; never all adapters of a vendor.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Where the kernel and udev tell of ports; others in tests. */
struct udev_roots {
	const char *sysfs;     /* /sys */
	const char *udev_data; /* /run/udev/data */
};

enum udev_result {
	UDEV_RULE,    /* a rule was made */
	UDEV_NO_NEED, /* the port is none of this host's serial ports */
	UDEV_FAILED,  /* it has none now */
};

/* @name: of the device. @text: the rule, one line, or why there is none. */
enum udev_result udev_rule(const struct udev_roots *roots, const char *name, const char *port,
			   char *text, size_t size);
/* Whether udev's data of the port say that ModemManager leaves it alone. */
bool udev_is_ignored(const struct udev_roots *roots, const char *port);
/* The line of a file of rules that is this device's; NULL: none. Into @buf. */
const char *udev_find_rule(const char *rules, const char *name, char *buf, size_t size);
