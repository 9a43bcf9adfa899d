/* SPDX-License-Identifier: MIT */
/*
 * One accepted client: it waits for a link, has it for itself, and gets all that the server sent
 * before its connection ends. What is between a chip and a client that does not read is bounded: from
 * CLIENT_HIGH on the chip is asked to keep the rest, over CLIENT_MAX the connection is aborted, and over
 * POOL_BUFFER_MAX for all clients together that of the one for whom most is kept.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "device/link.h"
#include "util/list.h"
#include "util/ring.h"
#include "util/timers.h"

struct event;
struct tunnel;

/*
 * Asking takes until the chip has read the command, and what is in its 8 KiB output FIFO still comes.
 * Behind another link's handshake the command waits for seconds, at the line's full rate: 20 s at
 * 3,000,000 baud are 6 MB.
 */
#define CLIENT_HIGH 32768
#define CLIENT_LOW 8192
#define CLIENT_MAX (8 * 1024 * 1024)
/* A ring of this size needs to grow for nobody who keeps up. A larger one goes back when it is empty. */
#define CLIENT_KEEP 65536

enum client_state {
	CLIENT_WAITING,    /* in its tunnel's queue */
	CLIENT_CONNECTING, /* its link is being opened */
	CLIENT_OPEN,
	CLIENT_DRAINING, /* the link is gone, the client still gets what was received */
	CLIENT_DEAD,
};

struct client {
	struct tunnel *tunnel; /* weak */
	struct list node;      /* in the tunnel's clients, or the pool's dead */
	struct list wait_node; /* in its tunnel's queue */
	uint64_t turn;         /* in that: who came first */
	enum client_state state;
	unsigned int number; /* for the log */
	const char *reason;  /* of being cut off, see link_end_reason(); NULL: none */
	int fd;
	struct event *read_event;
	struct event *write_event;
	struct link *link;      /* weak; CONNECTING and OPEN */
	struct device *dev;     /* weak; likewise, and as long as it gets what was received */
	struct ring ring;       /* received, not yet written to the client */
	size_t staged;          /* of it, at its end: a block that is not complete yet */
	size_t counted;         /* of the ring's memory, in the pool's sum */
	bool used;              /* the ring, since it was looked at last */
	struct timer spare;     /* looks whether it is used, and gives it back */
	struct list ring_node;  /* in the pool's rings, while it has one */
	struct list flush_node; /* in the pool's list of those that are to get something */
	bool more;              /* the last read found as much as it had room for */
	bool given;             /* something was written to it */
	bool eof;               /* the client has shut down its write side */
	bool held;              /* the chip was asked to keep received data */
	struct timer deadline;  /* of the state */
	struct timer idle;      /* see `idle_timeout` */
	struct timer look;      /* for a client that hangs up while nothing is read from it */
};

/* Takes @fd, also on error. Returns 0 or -errno. */
int client_new(struct tunnel *tunnel, int fd);
/* The pool gives it a link. */
void client_connect(struct client *client, struct link *link);
/* Who uses the link; NULL: nobody. */
struct client *client_of_link(const struct link *link);
/* Ends it; @why for the log, NULL for a normal end. Its memory stays until pool_reap(). */
void client_end(struct client *client, const char *why);
/* Ends one that has no open link, for a reason of the fixed set; @text says more, or NULL. */
void client_refuse(struct client *client, enum link_end end, const char *text);
void client_free(struct client *client);
/* Writes what it is to get, as far as its socket takes it. */
void client_flush(struct client *client);
