/* SPDX-License-Identifier: MIT */
/* What must not stand in an argument: read from a file, standard input or the terminal, and wiped. */
#pragma once

#include <stddef.h>

#include "ctl/ctl.h"
#include "util/cleanup.h"

/* As much as the service takes. */
#define SECRET_MAX (64 * 1024)

/* Its own memory, never moved. */
struct secret {
	char *data; /* with a NUL behind it */
	size_t len;
};

void secret_clear(struct secret *s);
#define _cleanup_secret_ _cleanup_(secret_clear)

/* All of a file; "-": of standard input. */
enum ctl_exit secret_read(struct secret *s, const char *path);
/* A line from the terminal, without echo. */
enum ctl_exit secret_prompt(struct secret *s, const char *text);
/* Only its first line is meant, as of a password's file. */
void secret_cut_line(struct secret *s);
/* A sealed memory file with it, for the service; to be closed. */
enum ctl_exit secret_fd(const struct secret *s, int *ret);
