/* SPDX-License-Identifier: MIT */
/*
 * What is wrong, and what to do about it: rules over a snapshot, without side effects. Each finding has a
 * short id, which stays the same, see espatctl(1).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/snapshot.h"

/* A TLS connection takes about 40 KB of the chip's memory. */
#define DOCTOR_HEAP_LOW 40000
/* dBm; below, packets are lost. */
#define DOCTOR_RSSI_WEAK (-75)
#define DOCTOR_EXPIRY_SOON (30 * 24 * 3600)
/* More than enough for every rule on every object; what comes on top is dropped, and that is told. */
#define DOCTOR_FINDINGS_MAX 4096

enum doctor_severity {
	DOCTOR_NOTE,
	DOCTOR_WARNING,
	DOCTOR_ERROR,
};

struct doctor_input {
	bool running;           /* the service is on the bus */
	const char *unit;       /* ActiveState of its unit; NULL: not known */
	const char *load;       /* LoadState, likewise */
	bool modem_manager;     /* it is there */
	int64_t now;            /* s since 1970 */
	unsigned int watched;   /* s that a chip on its way was looked at, without its getting on */
	const bool *has_rule;   /* of each device: ModemManager is told to leave its port alone */
	const bool *needs_rule; /* of each device: its port is one that ModemManager may try */
	const struct snapshot *snap;
};

struct doctor_finding {
	enum doctor_severity severity;
	const char *id;     /* a literal */
	const char *object; /* "device", "tunnel", "authority", "identity", "service"; a literal */
	char *name;
	char *what;
	char *advice;
};

struct doctor_findings {
	struct doctor_finding *items;
	size_t n;
	size_t errors;
	bool cut;    /* there were more than DOCTOR_FINDINGS_MAX */
	bool failed; /* there was no memory for one */
};

void doctor_examine(const struct doctor_input *in, struct doctor_findings *out);
void doctor_clear(struct doctor_findings *findings);
/* Whether the device is on its way to being ready, so that a second look may tell more. */
bool doctor_is_transient(const struct snap_device *d);
