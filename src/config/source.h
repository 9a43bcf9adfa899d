/* SPDX-License-Identifier: MIT */
/*
 * What libconfig takes in silence, or trips over: integers that it would cut off, comments without
 * an end, NUL bytes, and included files that cannot be read, or are no files at all.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "util/problems.h"

/* Largest configuration file; 256 tunnels with comments are a tenth of it. */
#define SOURCE_MAX (1024 * 1024)
/* All files and texts together: each tree of libconfig takes some times its text in memory. */
#define SOURCE_TOTAL_MAX (16 * SOURCE_MAX)

/* What source_check() is told of a file or text. */
struct source_about {
	const char *path;   /* for complaints */
	const char *folder; /* that what it includes is taken from */
	bool no_includes;   /* it stands in no file, and has nothing to do with other ones */
	size_t *total;      /* bytes so far, in all files and texts */
};

/* Opens @path, a regular file of a sane size. *ret stays NULL after a complaint; 0 or -ENOMEM. */
int source_open(FILE **ret, const char *path, struct problems *problems);
/*
 * Looks through @f, which is rewound after it, and through what it includes. Returns 0, with or
 * without complaints, or -ENOMEM.
 */
int source_check(FILE *f, const struct source_about *about, struct problems *problems);
