/* SPDX-License-Identifier: MIT */
/* What the files of daemon/ share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "bus/bus.h"
#include "daemon/activation.h"
#include "daemon/daemon.h"
#include "daemon/notify.h"
#include "daemon/overlay.h"
#include "daemon/trace.h"
#include "device/device.h"
#include "port/port.h"
#include "tunnel/pool.h"
#include "tunnel/tunnel.h"
#include "util/list.h"
#include "util/timers.h"

struct event;
struct event_base;
struct clockwatch;
struct reload;

/* A chip and its line; one for each device of the configuration. */
struct unit {
	struct daemon *daemon;                /* weak */
	const struct config_device *settings; /* weak, into daemon->config */
	struct device *dev;                   /* NULL: not one of those that were asked for */
	struct port *port;
	struct trace *trace; /* NULL: none runs */
	struct device_watch watch;
	bool done;
	unsigned int failures;
	char why[256]; /* the port is not there; "": it is */
};

struct daemon {
	const struct daemon_options *options; /* weak */
	struct config *base;                  /* what stands in files only */
	struct config *config;                /* with what was made in service; may be the same */
	struct store *store;
	struct material *material;
	struct overlay overlay;
	struct activation activation;
	struct event_base *base_loop;
	struct event *timer_event;
	int signal_fd;
	struct event *signal_event;
	struct clockwatch *clockwatch;
	struct timers timers;
	struct pool pool;
	bool pool_ready;
	struct bus *bus; /* NULL: none */
	struct notify notify;
	struct trace *trace; /* of all chips, --trace; NULL: none */
	struct unit **units; /* in the order of the configuration */
	size_t n_units;
	struct tunnel **tunnels; /* in any order, with room for all of the configuration */
	size_t n_tunnels;
	struct reload *reload; /* NULL: none goes on */
	bool reload_again;     /* after it */
	struct list changes;   /* struct change, that run */
	int lock_fd;
	struct timer bench_timer; /* with provision_only */
	size_t bench_left, bench_failed;
	bool draining; /* until the last client has gone, or drain_timer is due */
	struct timer drain_timer;
	bool status_due; /* what systemd is told may be something else now */
	bool stop;
	bool broken; /* stop, and say so by the exit status */
};

/* unit.c */
int unit_new(struct unit **ret, struct daemon *daemon, const struct config_device *settings);
/* NULL is allowed; returns NULL. */
struct unit *unit_free(struct unit *unit);
/* Opens the port: everything that watches the device is there. Returns 0 or -ENOMEM. */
int unit_start(struct unit *unit);
struct unit *unit_of_device(struct daemon *daemon, const struct device *dev);
/* Takes @fd, also on error; what was recorded before ends. Returns 0 or as trace_new(). */
int unit_start_trace(struct unit *unit, int fd, uint64_t max_bytes, uint32_t max_seconds);
void unit_stop_trace(struct unit *unit, const char *why);
/* Records all chips in a new file, from the start. Returns 0 or -errno (logged). */
int daemon_start_trace(struct daemon *daemon);

/* bench.c: --provision-only */
void bench_start(struct daemon *daemon);
void bench_time_is_up(struct timer *timer);

/* reload.c */
/*
 * All of the configuration, read anew; if anything is wrong, all stays as it is. BUS_E_STOPPING, also of
 * those below: espatd drains. If it returns 0, the turns of the loop do it by and by (daemon->reload is
 * there as long), and then @done (may be NULL) is told, without results.
 */
int daemon_reload(struct daemon *daemon, bus_change_fn done, void *userdata,
		  struct bus_failure *failure);
/* A part of it that fits into a turn of the loop. */
void reload_go_on(struct daemon *daemon);
/* Nobody waits for it any more. */
void reload_cancel(struct daemon *daemon, void *userdata);
/* NULL is allowed; returns NULL. */
struct reload *reload_free(struct reload *reload);
/* What stands in files, if it is what it was: a changed file is BUS_E_CONFIGURATION. For config_free(). */
int daemon_read_base(struct daemon *daemon, struct config **ret, struct bus_failure *failure);
/*
 * What was made in service has changed (overlay, and in the store @changed of @kind; NULL: no name), and
 * the files, @base, have not. All stays as it is on failure.
 */
int daemon_refresh(struct daemon *daemon, struct config *base, enum store_kind kind,
		   const char *changed, struct bus_failure *failure);
/* Make those of the configuration that are not there yet. 0 or -errno. */
int daemon_add_units(struct daemon *daemon);
int daemon_add_tunnels(struct daemon *daemon);
/* If the sockets that systemd has made are right for the tunnels. 0, -EINVAL after complaints, or -ENOMEM. */
int daemon_check_sockets(const struct daemon *daemon, const struct config *config,
			 struct problems *problems);
/* Tells of those that no tunnel has. */
void daemon_note_idle_sockets(const struct daemon *daemon);
/* @r of @what (NULL: it goes without saying) as an error of D-Bus; returns -1. */
int daemon_fail_errno(struct bus_failure *failure, const char *what, int r);
/* The same for what cannot be done in the state folder. */
int daemon_fail_state(const struct daemon *daemon, struct bus_failure *failure, const char *what,
		      int r);
/* The complaints as one text, a line each, and in the log. */
int daemon_fail_problems(struct bus_failure *failure, enum bus_error error,
			 struct problems *problems);

/* change.c: material that is to reach several chips */
/*
 * The material has changed: all chips are provisioned, and those that need its @item are watched until
 * each has it, or cannot; then @done (may be NULL) is told the results, @good of those that are done.
 * What is replaced stays on all of them as long as one in service lacks it. 0 or -ENOMEM.
 */
int change_begin(struct daemon *daemon, size_t item, const char *good, bus_change_fn done,
		 void *userdata);
/* The same of all chips and items, which nobody waits for. */
int change_begin_all(struct daemon *daemon);
/* The same for a name of @what ("authority", lives on) that is gone, and is erased on all of them. */
int change_begin_removal(struct daemon *daemon, const char *what, const char *name,
			 const char *good, bus_change_fn done, void *userdata);
/* Before the material's items may change their places. */
void change_remap(struct daemon *daemon, const struct material *fresh);
/* A chip is about to be freed. */
void change_forget_unit(struct daemon *daemon, const struct unit *unit);
void change_cancel(struct daemon *daemon, void *userdata);
/* All that run end untold. */
void change_end_all(struct daemon *daemon);

/* service.c */
extern const struct bus_ops daemon_bus_ops;
