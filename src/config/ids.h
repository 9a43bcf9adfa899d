/* SPDX-License-Identifier: MIT */
/* Users and groups: their numbers by their names, and sets of them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"

/* (uid_t)-1 and (gid_t)-1 are nobody's. */
#define IDS_NUMBER_MAX (UINT32_MAX - 1)

/* The number of a user, else of a group, of this host. Returns 0, -ENOENT or another -errno. */
int ids_find(bool user, const char *name, unsigned int *ret);
/* @ids has room for it. They are in order and once each: an access list takes nobody twice. */
void ids_add(struct config_ids *ids, unsigned int id);
