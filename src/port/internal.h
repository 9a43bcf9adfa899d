/* SPDX-License-Identifier: MIT */
/* Opening a line: one function per kind, each gives a non-blocking fd. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct port_lost;
struct sp_port;

struct port_line {
	int fd;             /* -1: not open */
	struct sp_port *sp; /* owned; NULL for kinds without libserialport */
	/* as it is set; of sockets as it was wished */
	unsigned int baud;
	bool rtscts;
	bool dialing; /* the other end has not answered: port_line_dialled() when it can be written to */
};

/*
 * Opens @spec at @baud, or as it is found to be set above that, up to @max_baud: see port_baud(). Returns 0, or
 * -errno with the reason in words in @why. *line is untouched on error.
 */
int port_line_open(struct port_line *line, const char *spec, unsigned int baud,
		   unsigned int max_baud, char *why, size_t why_size);
/* What the other end has answered, of a line that is dialing. 0, or -errno with the reason in words in @why. */
int port_line_dialled(struct port_line *line, const char *spec, char *why, size_t why_size);
void port_line_close(struct port_line *line);
/* Another rate, and whether RTS and CTS hold up whoever is too fast. 0, or -errno with all as it was. */
int port_line_set(struct port_line *line, unsigned int baud, bool rtscts);
/* See port_set_reset(). */
int port_line_reset(const struct port_line *line, bool on);
/* What the kernel has counted since the line's driver was loaded. 0 or -errno: it does not count. */
int port_line_counts(const struct port_line *line, struct port_lost *counts);
/* Bytes that were written and have not left. */
size_t port_line_queued(const struct port_line *line);
/* The path that @spec stands for now, for free(); NULL: it is no path, or not there. */
char *port_line_path(const char *spec);
