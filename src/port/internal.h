/* SPDX-License-Identifier: MIT */
/* Opening a line: one function per kind, each gives a non-blocking fd. */
#pragma once

#include <stddef.h>

struct sp_port;

struct port_line {
	int fd;             /* -1: not open */
	struct sp_port *sp; /* owned; NULL for kinds without libserialport */
};

/*
 * Opens @spec at @baud. Returns 0, or -errno with the reason in words in @why. *line is untouched
 * on error.
 */
int port_line_open(struct port_line *line, const char *spec, unsigned int baud, char *why,
		   size_t why_size);
void port_line_close(struct port_line *line);
/* The path that @spec stands for now, for free(); NULL: it is no path, or not there. */
char *port_line_path(const char *spec);
