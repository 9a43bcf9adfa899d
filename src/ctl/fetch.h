/* SPDX-License-Identifier: MIT */
/* Fills snapshots from the bus. Whatever the service answers is checked; what is not understood is told. */
#pragma once

#include "ctl/ctl.h"
#include "ctl/snapshot.h"
#include "util/cleanup.h"

#define _cleanup_snapshot_ _cleanup_(snapshot_clear)

/* Manager, devices, tunnels, sorted by name. */
enum ctl_exit fetch_objects(struct ctl *ctl, struct snapshot *snap);
/* For a command whose one argument, if any, is a device: *ret is that one, NULL if all are meant. */
enum ctl_exit fetch_devices(struct ctl *ctl, struct snapshot *snap, const struct snap_device **ret);
/* And authorities and identities. */
enum ctl_exit fetch_material(struct ctl *ctl, struct snapshot *snap);
enum ctl_exit fetch_values(struct ctl *ctl, struct snap_device *d);
enum ctl_exit fetch_orphans(struct ctl *ctl, struct snap_device *d);

/* ---- dictionaries a{sv} ---- */

enum var_type {
	VAR_OTHER, /* of a type that nobody here has use for */
	VAR_STRING,
	VAR_INT,
	VAR_UINT,
	VAR_BOOL,
	VAR_STRINGS,
};

struct var {
	enum var_type type;
	const char *string; /* belongs to the message */
	int64_t i;
	uint64_t u;
	bool b;
	char **strings; /* owned */
};

/* Reads the variant that is next in @m. Returns 0 or -errno; var_clear() only after 0. */
int var_read(sd_bus_message *m, struct var *v);
void var_clear(struct var *v);
/* As a number, whatever its type; false: it is none of that range. */
bool var_int(const struct var *v, int64_t *ret);
bool var_uint(const struct var *v, uint64_t *ret);
/* Whether the key of a dictionary is meant, written as `not_after`, `not-after` or `NotAfter`. */
bool var_is(const char *key, const char *name);

/*
 * Enters the dictionary that is next and calls @fn for each member, to read its value from @m. Returns
 * -errno or what @fn did.
 */
int dict_each(sd_bus_message *m, int (*fn)(void *userdata, const char *key, sd_bus_message *m),
	      void *userdata);
/* It may take `strings`, and leaves NULL then. */
typedef int (*dict_fn)(void *userdata, const char *key, struct var *value);
/* The same with values that were read. */
int dict_read(sd_bus_message *m, dict_fn fn, void *userdata);
