/* SPDX-License-Identifier: MIT */
/* The way into the simulator: a pty with a symlink, or a Unix socket. Nobody there means that bytes are lost, as on a wire. */
#pragma once

#include "net.h"

#include <stdbool.h>

struct port;

int port_new(struct port **ret, int epfd, const char *tty_link, const char *listen);
struct port *port_free(struct port *p);
const char *port_path(const struct port *p);
/* Which events of the host are of interest; the callback only notes that they came. */
void port_want(struct port *p, bool read, bool write);
bool port_readable(const struct port *p);
/* Bytes, or 0: one read, which is one chunk of an unpaced line. */
size_t port_read(struct port *p, uint8_t *data, size_t len);
/* Bytes taken; all of them when nobody is there. */
size_t port_write(struct port *p, const uint8_t *data, size_t len);
/* Looks for a host that came or left; when to look next. */
uint64_t port_run(struct port *p, uint64_t now);
/* The host's rate and flow control, -1 if unknown. */
void port_termios(struct port *p, int *baud, int *rtscts);
/* USB unplugged and plugged again. */
void port_plug(struct port *p, bool in);
