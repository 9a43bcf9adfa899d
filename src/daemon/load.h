/* SPDX-License-Identifier: MIT */
/* Reads what espatd is to run with: configuration, what was made in service, material. */
#pragma once

#include "cert/material.h"
#include "config/config.h"
#include "daemon/daemon.h"

enum load_how {
	LOAD_CONFIG_ONLY,
	LOAD_TO_CHECK,     /* nothing is changed, not even in the state folder */
	LOAD_TO_ROLL_BACK, /* with what was made in service, but no file of material is read */
	LOAD_TO_RUN,
};

/* What stands in files, with the folders that the command line names instead. 0, -EINVAL or -ENOMEM. */
int load_base(struct config **ret, const struct daemon_options *options, struct problems *problems);

void load_init(struct daemon_parts *parts);
void load_clear(struct daemon_parts *parts);
/* All of @parts. Returns 0, -EINVAL (complaints), or -errno (logged, but for -ENOMEM). */
int load_all(struct daemon_parts *parts, const struct daemon_options *options, enum load_how how,
	     struct problems *problems);
/* Waits for the state folder; closing *lock_fd gives it back. Returns 0 or -errno (logged). */
int load_open_store(struct daemon_parts *parts, int *lock_fd);
/* The configuration's entry of the name, as an item without blobs; false: it has none. */
bool load_find_item(const struct config *config, enum store_kind kind, const char *name,
		    struct material_item *ret);
/* Whether the configuration has the name. */
bool load_config_has(const struct config *config, enum store_kind kind, const char *name);
