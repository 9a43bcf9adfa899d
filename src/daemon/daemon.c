/* SPDX-License-Identifier: MIT */
/* Builds, wires and frees everything; owns the loop. */
#include "daemon/daemon.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemon/chips.h"
#include "daemon/clockwatch.h"
#include "daemon/report.h"
#include "daemon/state.h"
#include "device/device.h"
#include "port/port.h"
#include "tunnel/pool.h"
#include "tunnel/tunnel.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"

static const int daemon_signals[] = { SIGTERM, SIGINT, SIGHUP };
#define N_SIGNALS (sizeof(daemon_signals) / sizeof(*daemon_signals))

/* A chip and its line. */
struct unit {
	struct daemon *daemon;              /* weak */
	const struct config_device *config; /* weak */
	struct device *dev;                 /* NULL: not one of those that were asked for */
	struct port *port;
	struct device_watch watch; /* with provision_only */
	bool done;
	unsigned int failures;
	char why[256]; /* the port is not there; "": it is */
};

struct daemon {
	const struct daemon_options *options; /* weak */
	struct config *config;
	struct store *store;
	struct material *material;
	struct event_base *base;
	struct event *timer_event;
	struct event *signals[N_SIGNALS];
	struct clockwatch *clockwatch;
	struct timers timers;
	struct pool pool;
	bool pool_ready;
	struct unit *units;
	size_t n_units;
	struct tunnel **tunnels;
	size_t n_tunnels;
	int lock_fd;
	struct timer bench_timer; /* with provision_only */
	size_t bench_left, bench_failed;
	bool stop;
};

/* ---- chip and line ---- */

static void unit_write(void *userdata, const void *data, size_t len)
{
	struct unit *unit = userdata;

	port_write(unit->port, data, len);
}

static time_t unit_wallclock(void *userdata)
{
	return time(NULL);
}

static uint64_t unit_random(void *userdata)
{
	uint64_t value;

	/* Up to 256 bytes are never cut short once the pool is initialised (getrandom(2)). */
	while (getrandom(&value, sizeof(value), 0) != sizeof(value))
		;
	return value;
}

/* As ntp_adjtime(3) tells it: nobody has steered it since boot, or not for long. */
static bool unit_synchronized(void *userdata)
{
	struct timex timex = { 0 };

	return adjtimex(&timex) >= 0 && !(timex.status & STA_UNSYNC);
}

/* The first line of the file, without its end. */
static int unit_secret(void *userdata, const char *path, char *buf, size_t size)
{
	_cleanup_close_ int fd = -1;
	ssize_t n;

	/* O_NONBLOCK: it was no pipe when it was checked. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, size);
	if (n < 0)
		return -errno;
	for (ssize_t i = 0; i < n; i++)
		if (buf[i] == '\n' || buf[i] == '\r')
			n = i;
	if ((size_t)n == size)
		return -E2BIG;
	buf[n] = '\0';
	return memchr(buf, '\0', (size_t)n) ? -EINVAL : 0;
}

static int unit_load_blob(void *userdata, const struct material_item *item, size_t blob,
			  struct cert_blob **ret)
{
	struct unit *unit = userdata;

	return material_read(item, blob, unit->daemon->store, ret);
}

static int unit_recall_chip(void *userdata, char mac[AT_MAC_MAX + 1])
{
	struct unit *unit = userdata;

	return chips_recall(unit->daemon->config->state_dir, unit->config->name, mac);
}

static int unit_remember_chip(void *userdata, const char *mac)
{
	struct unit *unit = userdata;
	_cleanup_close_ int lock_fd = -1;
	int r;

	r = state_lock(unit->daemon->config->state_dir, false, &lock_fd);
	if (r < 0)
		return r;
	return chips_remember(unit->daemon->config->state_dir, unit->config->name, mac);
}

_Static_assert(CHIPS_MAC_SIZE == AT_MAC_MAX + 1, "both are MAC addresses");

static const struct device_ops unit_device_ops = {
	.write = unit_write,
	.wallclock = unit_wallclock,
	.synchronized = unit_synchronized,
	.random = unit_random,
	.secret = unit_secret,
	.load_blob = unit_load_blob,
	.recall_chip = unit_recall_chip,
	.remember_chip = unit_remember_chip,
};

static void unit_up(void *userdata)
{
	struct unit *unit = userdata;

	unit->why[0] = '\0';
	log_info("%s: opened %s at %u baud", unit->config->name, unit->config->port,
		 unit->config->baud);
	device_port_up(unit->dev, unit->config->baud);
}

static void unit_data(void *userdata, const uint8_t *data, size_t len)
{
	struct unit *unit = userdata;

	device_feed(unit->dev, data, len);
}

static void unit_down(void *userdata, const char *why)
{
	struct unit *unit = userdata;

	device_port_down(unit->dev, why);
}

static void unit_waiting(void *userdata, const char *why)
{
	struct unit *unit = userdata;

	snprintf(unit->why, sizeof(unit->why), "%s", why);
	log_warning("%s: %s; waiting for it", unit->config->name, why);
}

static const struct port_ops unit_port_ops = {
	.up = unit_up,
	.data = unit_data,
	.down = unit_down,
	.waiting = unit_waiting,
};

static bool unit_is_asked_for(const struct daemon_options *options, const char *name)
{
	for (size_t i = 0; i < options->n_devices; i++)
		if (strcmp(options->devices[i], name) == 0)
			return true;
	return options->n_devices == 0;
}

static int unit_start(struct daemon *daemon, struct unit *unit, const struct config_device *config)
{
	int r;

	unit->daemon = daemon;
	unit->config = config;
	if (!unit_is_asked_for(daemon->options, config->name))
		return 0;
	r = device_new(&unit->dev, daemon->config, config, daemon->material, &daemon->timers,
		       &unit_device_ops, unit);
	if (r < 0)
		return r;
	r = port_new(&unit->port, daemon->base, &daemon->timers, config->port, config->baud,
		     &unit_port_ops, unit);
	if (r < 0)
		return r;
	return pool_add_device(&daemon->pool, unit->dev);
}

/* ---- provisioning only ---- */

/* s for all of it, if nothing else is said */
#define BENCH_TIMEOUT 120
/* A chip that has failed so often is not tried again: somebody waits. */
#define BENCH_TRIES 2

static void bench_result(struct unit *unit, const char *error)
{
	struct daemon *daemon = unit->daemon;

	if (unit->done)
		return;
	unit->done = true;
	if (error)
		daemon->bench_failed++;
	report_chip(stdout, unit->config, unit->dev, error);
	if (--daemon->bench_left == 0)
		daemon->stop = true;
}

static void bench_on_state(struct device_watch *watch, struct device *dev, enum device_state old)
{
	struct unit *unit = container_of(watch, struct unit, watch);

	if (dev->state == DEVICE_PROVISIONED)
		bench_result(unit, dev->incomplete ? "something that it should hold cannot be had"
						   : NULL);
	else if (dev->state == DEVICE_UNKNOWN_CHIP)
		bench_result(unit, dev->error);
	else if (dev->state == DEVICE_FAILED && ++unit->failures >= BENCH_TRIES)
		bench_result(unit, dev->error);
}

static void bench_time_is_up(struct timer *timer)
{
	struct daemon *daemon = container_of(timer, struct daemon, bench_timer);

	for (size_t i = 0; i < daemon->n_units; i++) {
		struct unit *unit = &daemon->units[i];

		if (unit->dev)
			bench_result(unit, unit->why[0]          ? unit->why
					   : unit->dev->error[0] ? unit->dev->error
								 : "not done in time");
	}
}

static void bench_start(struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->n_units; i++) {
		struct unit *unit = &daemon->units[i];

		if (!unit->dev)
			continue;
		unit->dev->provision_only = true;
		unit->dev->erase_orphans = daemon->options->erase_orphans;
		unit->watch.state = bench_on_state;
		device_watch(unit->dev, &unit->watch);
		daemon->bench_left++;
	}
	timer_arm(&daemon->bench_timer,
		  (daemon->options->timeout ? daemon->options->timeout : BENCH_TIMEOUT) * TIMERS_S);
}

/* ---- construction ---- */

static int daemon_make_dir(const char *path)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST) {
		int r = -errno;

		log_error("cannot make %s: %s", path, strerror(-r));
		return r;
	}
	return 0;
}

/* One daemon to a runtime directory: two would take each other's sockets. */
static int daemon_lock(struct daemon *daemon)
{
	_cleanup_free_ char *path = NULL;
	int r;

	r = daemon_make_dir(daemon->config->runtime_dir);
	if (r < 0)
		return r;
	if (asprintf(&path, "%s/espatd.lock", daemon->config->runtime_dir) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	daemon->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (daemon->lock_fd < 0) {
		r = -errno;
		log_error("cannot open %s: %s", path, strerror(-r));
		return r;
	}
	if (flock(daemon->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		r = -errno;
		log_error("another espatd uses %s", daemon->config->runtime_dir);
		return r;
	}
	return 0;
}

/* What the files of the configuration hold now; if anything is wrong with them, all stays as it is. */
static void daemon_reload(struct daemon *daemon)
{
	struct problems problems = PROBLEMS_NULL;
	struct material *fresh = NULL;
	_cleanup_close_ int lock_fd = -1;
	int r;

	/* Never waited for: whoever has it may take his time. */
	r = state_lock(daemon->config->state_dir, false, &lock_fd);
	if (r == 0)
		r = material_load(&fresh, daemon->config, daemon->store, time(NULL),
				  MATERIAL_DATES_REFUSE_NEW, &problems);
	log_problems(&problems);
	problems_clear(&problems);
	if (r < 0) {
		log_error("not reloaded%s%s, all stays as it was", r == -EINVAL ? "" : ": ",
			  r == -EINVAL        ? ""
			  : r == -EWOULDBLOCK ? "another espatd is busy with the state folder"
					      : strerror(-r));
		return;
	}
	material_replace(daemon->material, fresh);
	log_notice("reloaded certificates and keys");
	for (size_t i = 0; i < daemon->n_units; i++)
		if (daemon->units[i].dev)
			device_provision(daemon->units[i].dev);
}

static void daemon_on_signal(evutil_socket_t sig, short what, void *userdata)
{
	struct daemon *daemon = userdata;

	if (sig == SIGHUP) {
		timers_touch(&daemon->timers);
		daemon_reload(daemon);
		return;
	}
	log_notice("%s, stopping", sig == SIGTERM ? "SIGTERM" : "SIGINT");
	daemon->stop = true;
}

static void daemon_on_clock(void *userdata)
{
	struct daemon *daemon = userdata;

	log_info("the host's clock was set, or the host has slept");
	timers_touch(&daemon->timers);
	for (size_t i = 0; i < daemon->n_units; i++)
		if (daemon->units[i].dev)
			device_sync_clock(daemon->units[i].dev);
}

/* Only there to end the wait; the timers run after every turn. */
static void daemon_on_timer(evutil_socket_t fd, short what, void *userdata)
{
}

static int daemon_setup_loop(struct daemon *daemon)
{
	int r;

	daemon->base = event_base_new();
	if (!daemon->base)
		return -ENOMEM;
	daemon->timer_event = evtimer_new(daemon->base, daemon_on_timer, NULL);
	if (!daemon->timer_event)
		return -ENOMEM;
	for (size_t i = 0; i < N_SIGNALS; i++) {
		daemon->signals[i] = evsignal_new(daemon->base, daemon_signals[i], daemon_on_signal,
						  daemon);
		if (!daemon->signals[i] || evsignal_add(daemon->signals[i], NULL) < 0)
			return -ENOMEM;
	}
	r = clockwatch_new(&daemon->clockwatch, daemon->base, daemon_on_clock, daemon);
	if (r < 0)
		log_warning("cannot watch the host's clock: %s", strerror(-r));
	timers_touch(&daemon->timers);
	pool_init(&daemon->pool, daemon->base, &daemon->timers);
	daemon->pool_ready = true;
	return 0;
}

static struct device *daemon_device(struct daemon *daemon, const struct config_device *config)
{
	return daemon->units[config - daemon->config->devices].dev;
}

static int daemon_setup_objects(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	int r;

	daemon->units = calloc(config->n_devices + 1, sizeof(*daemon->units));
	daemon->tunnels = calloc(config->n_tunnels + 1, sizeof(*daemon->tunnels));
	if (!daemon->units || !daemon->tunnels)
		return -ENOMEM;
	for (size_t i = 0; i < config->n_devices; i++) {
		daemon->n_units++;
		r = unit_start(daemon, &daemon->units[i], &config->devices[i]);
		if (r < 0)
			return r;
	}
	if (daemon->options->provision_only) {
		bench_start(daemon);
		return 0;
	}
	for (size_t i = 0; i < config->n_tunnels; i++) {
		r = tunnel_new(&daemon->tunnels[i], &config->tunnels[i], daemon->config,
			       config->runtime_dir, NULL, 0, &daemon->pool,
			       daemon_device(daemon, config->tunnels[i].device));
		if (r < 0)
			return r;
		daemon->n_tunnels++;
	}
	return 0;
}

int daemon_new(struct daemon **ret, const struct daemon_parts *parts,
	       const struct daemon_options *options)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));
	int r;

	if (!daemon) {
		material_free(parts->material);
		store_free(parts->store);
		config_free(parts->config);
		return -ENOMEM;
	}
	daemon->options = options;
	daemon->config = parts->config;
	daemon->store = parts->store;
	daemon->material = parts->material;
	daemon->lock_fd = -1;
	timers_init(&daemon->timers);
	r = timer_init(&daemon->bench_timer, &daemon->timers, bench_time_is_up);
	if (r == 0 && !options->provision_only)
		r = daemon_lock(daemon);
	if (r == 0)
		r = daemon_setup_loop(daemon);
	if (r == 0)
		r = daemon_setup_objects(daemon);
	if (r < 0) {
		if (r == -ENOMEM)
			log_error("out of memory");
		daemon_free(daemon);
		return r;
	}
	*ret = daemon;
	return 0;
}

struct daemon *daemon_free(struct daemon *daemon)
{
	if (!daemon)
		return NULL;
	for (size_t i = 0; i < daemon->n_tunnels; i++)
		tunnel_free(daemon->tunnels[i], "espatd stops");
	free(daemon->tunnels);
	if (daemon->pool_ready)
		pool_deinit(&daemon->pool);
	for (size_t i = 0; i < daemon->n_units; i++) {
		device_free(daemon->units[i].dev);
		port_free(daemon->units[i].port);
	}
	free(daemon->units);
	timer_deinit(&daemon->bench_timer);
	timers_deinit(&daemon->timers);
	for (size_t i = 0; i < N_SIGNALS; i++)
		if (daemon->signals[i])
			event_free(daemon->signals[i]);
	clockwatch_free(daemon->clockwatch);
	if (daemon->timer_event)
		event_free(daemon->timer_event);
	if (daemon->base)
		event_base_free(daemon->base);
	if (daemon->lock_fd >= 0)
		close(daemon->lock_fd);
	material_free(daemon->material);
	store_free(daemon->store);
	config_free(daemon->config);
	free(daemon);
	return NULL;
}

/* ---- the loop ---- */

static void daemon_arm(struct daemon *daemon)
{
	uint64_t next = timers_next(&daemon->timers);
	struct timeval tv;
	uint64_t delay;

	if (next == TIMERS_NEVER) {
		event_del(daemon->timer_event);
		return;
	}
	delay = next > daemon->timers.now ? next - daemon->timers.now : 0;
	tv.tv_sec = (time_t)(delay / TIMERS_S);
	tv.tv_usec = (suseconds_t)(delay % TIMERS_S);
	event_add(daemon->timer_event, &tv);
}

int daemon_run(struct daemon *daemon)
{
	sd_notify(0, "READY=1\nSTATUS=Looking for the chips");
	while (!daemon->stop) {
		timers_touch(&daemon->timers);
		timers_run(&daemon->timers);
		pool_reap(&daemon->pool);
		daemon_arm(daemon);
		if (event_base_loop(daemon->base, EVLOOP_ONCE) < 0) {
			log_error("the event loop failed");
			return -EIO;
		}
	}
	sd_notify(0, "STOPPING=1");
	return daemon->bench_failed > 0 || daemon->bench_left > 0;
}
