/* SPDX-License-Identifier: MIT */
/* What the service and its client both do with the library of D-Bus. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

/*
 * Connects as a client of a bus: "system", "session", or an address of D-Bus. @description: for the
 * library's own messages. Returns 0 or -errno.
 */
int sdbus_open(const char *address, const char *description, sd_bus **ret);

struct sdbus_integer {
	bool is_signed;
	union {
		int64_t i; /* is_signed */
		uint64_t u;
	};
};

/* @type: one of SDBUS_INTEGERS. Returns as sd_bus_message_read_basic(). */
#define SDBUS_INTEGERS "ynqiuxt"
int sdbus_read_integer(sd_bus_message *m, char type, struct sdbus_integer *ret);
