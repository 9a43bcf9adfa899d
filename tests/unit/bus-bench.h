/* SPDX-License-Identifier: MIT */
/*
 * The D-Bus interface on a private bus: a dbus-daemon of the test's own, the real libsystemd on both
 * sides, and doubles of all that is below. Time-outs of ours are virtual, everything else is awaited.
 */
#pragma once

#include "test.h"

#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "bus/bus.h"
#include "fake-device.h"
#include "util/timers.h"

#define BENCH_CLIENTS_MAX 8
#define BENCH_LOG_MAX 64

struct event;

/* Somebody on the bus. */
struct bench_client {
	sd_bus *sd;
	struct event *event;
};

/* An answer that is waited for. */
struct bench_reply {
	unsigned int count; /* how often it came */
	sd_bus_message *m;
	char error[128]; /* without org.espat1.Error. ; "": none */
	char text[2048];
};

/* A call of one of the ops. */
struct bench_op {
	char what[32];
	char name[128];
	char text[4096];
	char key[64];
	bool persist;
	enum store_kind kind;
	uint64_t max_bytes;
	unsigned int max_seconds;
	int fd;
};

struct bench {
	char dir[64];
	char path[80]; /* of the bus's socket */
	char address[96];
	pid_t daemon;
	unsigned int open_files; /* before the test */
	struct event_base *base;
	struct timers timers;
	struct bus *bus;
	struct device *dev;
	struct tunnel *tunnel;
	struct bench_client clients[BENCH_CLIENTS_MAX];
	size_t n_clients;
	struct bench_client *me;

	/* what the ops have got, and what they answer */
	struct bench_op op; /* the last one */
	unsigned int n_ops;
	bool busy;            /* a reload goes on */
	enum bus_error fails; /* BUS_OK: they succeed */
	bool at_once;         /* changes are done before the call that makes them returns */
	bus_change_fn done;   /* of a change that goes on; NULL: none */
	void *done_userdata;
	unsigned int changes_cancelled;
	bool raw;
	const char *origin;  /* of tunnels that were not made; NULL: the configuration */
	struct tunnel *made; /* by create_tunnel */

	/* polkit, if it is there */
	struct bench_client *polkit;
	sd_bus_message *question; /* that has no answer yet */
	const char *verdict;      /* "yes", "no", "challenge", "error"; NULL: it never answers */
	unsigned int asked, cancelled;
	char action[64], subject[64];
	uint32_t polkit_flags;

	char log[BENCH_LOG_MAX][512];
	size_t n_log;
};

extern struct bench bench;

bool bench_possible(void); /* there is a dbus-daemon */
int bench_setup(void **state);
int bench_teardown(void **state);
void bench_start_daemon(void);
void bench_stop_daemon(void);
void bench_start_bus(const char *address);
/* The interface is on the bus by its name. */
void bench_await_name(void);
struct bench_client *bench_connect(void);
void bench_disconnect(struct bench_client *client);
/* One turn of the loop, for all. */
void bench_turn(void);
#define bench_await(condition)                                                                     \
	do {                                                                                       \
		while (!(condition))                                                               \
			bench_turn();                                                              \
	} while (0)
/* All that was sent so far has been taken care of: by an answer to a call that came behind it. */
void bench_settle(void);
void bench_pass(uint64_t time);
/* Callers are nobody in particular: polkit is asked. */
void bench_be_stranger(void);
void bench_start_polkit(const char *verdict);
/* To the last question that it has not answered. */
void bench_polkit_answers(const char *verdict);
/* A line that has been logged, with this in it. */
bool bench_logged(const char *text);

void bench_call(struct bench_client *client, struct bench_reply *reply, const char *path,
		const char *interface, const char *member, const char *types, ...);
void bench_send(struct bench_client *client, struct bench_reply *reply, sd_bus_message *m);
void bench_await_reply(struct bench_reply *reply);
/* The next value of a message, and its type. */
void bench_read_value(sd_bus_message *m, char type[2], char *text, size_t size);
void bench_reply_clear(struct bench_reply *reply);
/* Calls a method of org.espat1 as me and waits: the error, "" for none. */
const char *bench_ask(struct bench_reply *reply, const char *path, const char *interface,
		      const char *member, const char *types, ...);

/* A sealed memfd with this in it. */
int bench_memfd(const void *data, size_t len);
