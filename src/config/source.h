/* SPDX-License-Identifier: MIT */
/*
 * What libconfig takes in silence, or trips over: integers that it would cut off, comments without
 * an end, NUL bytes, and included files that cannot be read, or are no files at all.
 */
#pragma once

#include <stdio.h>

#include "util/problems.h"

/* Largest configuration file; 256 tunnels with comments are a tenth of it. */
#define SOURCE_MAX (1024 * 1024)

/* Opens @path, a regular file of a sane size. *ret stays NULL after a complaint; 0 or -ENOMEM. */
int source_open(FILE **ret, const char *path, struct problems *problems);
/*
 * Looks through @f, which is @path and is rewound after it, and through what it includes from
 * @folder. Returns 0, with or without complaints, or -ENOMEM.
 */
int source_check(FILE *f, const char *path, const char *folder, struct problems *problems);
