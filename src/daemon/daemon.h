/* SPDX-License-Identifier: MIT */
/* Builds, wires and frees everything; owns the loop. */
#pragma once

#include <stdbool.h>

#include "cert/material.h"
#include "cert/store.h"
#include "config/config.h"
#include "daemon/overlay.h"

struct daemon;

/* What was read. */
struct daemon_parts {
	struct config *base;   /* what stands in files */
	struct config *config; /* with the overlay; may be the same */
	struct overlay overlay;
	struct store *store;
	struct material *material;
};

struct daemon_options {
	const char *config;      /* path */
	const char *runtime_dir; /* instead of the file's; NULL: as there */
	const char *state_dir;   /* likewise */
	const char *bus;         /* "system", "session", "none", or an address */
	const char *trace;       /* a new file for the AT traffic of all chips; NULL: none */
	/* Provisions the chips, tells each one's result as a line of JSON on standard output, and ends. */
	bool provision_only;
	bool erase_orphans;         /* with it: what is ours on a chip and not needed is erased */
	const char *const *devices; /* with it: only these, if there are any */
	size_t n_devices;
	unsigned int timeout; /* with it: s for all of it; 0: 120 */
};

/* Takes what is in @parts, also on error. @options must outlive it. Returns 0 or -errno (logged). */
int daemon_new(struct daemon **ret, struct daemon_parts *parts,
	       const struct daemon_options *options);
/* NULL is allowed; returns NULL. */
struct daemon *daemon_free(struct daemon *daemon);
/*
 * Runs until SIGTERM or SIGINT, or with provision_only until all chips are done. Returns 0, -errno, or
 * 1 if a chip was not provisioned.
 */
int daemon_run(struct daemon *daemon);
