/* SPDX-License-Identifier: MIT */
/* What doctor asks of others on the bus than the service. */
#pragma once

#include <stdbool.h>

#include "ctl/ctl.h"

/* Whether somebody owns the name. */
bool probe_name(struct ctl *ctl, const char *name);
/* A string property of systemd's unit espatd.service; NULL: not to be had. To be freed. */
char *probe_unit(struct ctl *ctl, const char *property);
