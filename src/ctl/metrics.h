/* SPDX-License-Identifier: MIT */
/* A snapshot in the text format of Prometheus, version 0.0.4. Pure. */
#pragma once

#include <stdio.h>

#include "ctl/snapshot.h"

/* NULL: the service is not there; then only that is told. */
void metrics_write(FILE *f, const struct snapshot *snap);
