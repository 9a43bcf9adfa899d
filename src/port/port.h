/* SPDX-License-Identifier: MIT */
/*
 * The serial line, in four kinds: a port that libserialport knows (by path, or as
 * usb:VID:PID[:SERIAL]), a pseudo-terminal, unix:PATH and tcp:ADDRESS:PORT (a raw serial server).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/timers.h"

struct event_base;
struct port;

/* What the kernel counts on a serial port: bytes, or what has made them wrong. */
struct port_lost {
	unsigned int frame, overrun, parity, brk, buf_overrun;
};

struct port_ops {
	/* The port is open. */
	void (*up)(void *userdata);
	/* Bytes have come. */
	void (*data)(void *userdata, const uint8_t *data, size_t len);
	/* Of what has come a moment ago, so much was lost or damaged on the way. */
	void (*lost)(void *userdata, const struct port_lost *lost);
	/* The port is gone; it is looked for again. @why is for people. */
	void (*down)(void *userdata, const char *why);
	/* It cannot be opened; told once while the reason stays the same. */
	void (*waiting)(void *userdata, const char *why);
};

/*
 * Opens @spec at @baud, and again whenever it is gone; but one that is found set to more, up to @max_baud, stays
 * so until port_set_line(), for what somebody has left in the adapter. @ops and @timers must outlive it. Returns
 * 0 or -ENOMEM; opening starts at once.
 */
int port_new(struct port **ret, struct event_base *base, struct timers *timers, const char *spec,
	     unsigned int baud, unsigned int max_baud, const struct port_ops *ops, void *userdata);
/* NULL is allowed; returns NULL. Calls nothing. */
struct port *port_free(struct port *port);
/* What was queued and has not gone yet, in the kernel's buffer too, is dropped. What an adapter has goes. */
void port_discard(struct port *port);
/* Queues bytes; written at once as far as the line takes them, in one system call. */
void port_write(struct port *port, const void *data, size_t len);
/*
 * Another rate and kind of flow control, while the port is open and nothing that matters is on its way:
 * what was not sent yet is thrown away. Returns 0, or -errno with all as it was; -ENOTSUP: this kind of port
 * has no rate of its own.
 */
int port_set_line(struct port *port, unsigned int baud, bool rtscts);
/*
 * Holds the chip in reset, or lets it go, where the board has the circuit for it: DTR is off while RTS is on.
 * Returns 0 or -errno; -ENOTSUP: this kind of port has no DTR.
 */
int port_set_reset(struct port *port, bool on);
/* Whether the other end's RTS, which is our CTS, is on: 1 or 0; -ENOTSUP if that cannot be seen. */
int port_cts(const struct port *port);
/* The rate, while the port is open; where it has none, what was wished. */
unsigned int port_baud(const struct port *port);
/* Stops reading, or goes on. */
void port_hold(struct port *port, bool hold);
/* Bytes that were written and have not left, as far as is known. */
size_t port_queued(const struct port *port);
/* The process of another espatd that has this port open; 0: none is known to have. */
long port_other_daemon(const char *spec);
