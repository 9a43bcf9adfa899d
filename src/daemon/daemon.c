/* SPDX-License-Identifier: MIT */
/* Builds, wires and frees everything; owns the loop. */
#include "daemon/daemon.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/clockwatch.h"
#include "daemon/internal.h"
#include "daemon/load.h"
#include "daemon/report.h"
#include "daemon/status.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/utf8.h"

/* ns of CPU time that a turn of the loop should never take */
#define DAEMON_TURN_MAX 10000000
/* A name, a state and an error. */
#define UNIT_WORDS_MAX 512

/* ---- the runtime folder ---- */

static int daemon_make_dir(const char *path)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST) {
		int r = -errno;

		log_error("cannot make %s: %s", path, strerror(-r));
		return r;
	}
	return 0;
}

/* Who has the lock, by what he has written into it; 0: he has not said it yet. */
static long lock_owner(int fd)
{
	char text[16] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	return strtol(text, NULL, 10);
}

static int lock_sign(int fd)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
		return errno ? -errno : -EIO;
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
		log_error("another espatd (process %ld) uses %s", lock_owner(daemon->lock_fd),
			  daemon->config->runtime_dir);
		return r;
	}
	r = lock_sign(daemon->lock_fd);
	if (r < 0)
		log_error("cannot write %s: %s", path, strerror(-r));
	return r;
}

/* Two daemons on one port would take each other's answers. */
static int daemon_check_ports(struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->config->n_devices; i++) {
		const struct config_device *device = &daemon->config->devices[i];
		long pid = port_other_daemon(device->port);

		if (pid <= 0)
			continue;
		log_object(LOG_LEVEL_ERROR, &(struct log_object){ .device = device->name },
			   "another espatd (process %ld) uses %s", pid, device->port);
		return -EBUSY;
	}
	return 0;
}

/* ---- signals and clocks ---- */

static void daemon_on_hangup(struct daemon *daemon)
{
	struct bus_failure failure; /* it is in the log */

	if (daemon->options->provision_only)
		log_notice("SIGHUP: what was begun is done with the configuration as it was read");
	else
		daemon_reload(daemon, NULL, NULL, &failure);
}

static void daemon_drain_is_over(struct timer *timer)
{
	struct daemon *daemon = container_of(timer, struct daemon, drain_timer);

	daemon->stop = true;
}

/* Open connections go on for a while; nobody else gets one. */
static void daemon_drain(struct daemon *daemon)
{
	unsigned int seconds = daemon->config->drain_timeout;

	daemon->draining = true;
	notify_stopping(&daemon->notify, seconds);
	for (size_t i = 0; i < daemon->n_tunnels; i++)
		tunnel_drain(daemon->tunnels[i]);
	timer_arm(&daemon->drain_timer, seconds * TIMERS_S);
}

static void daemon_on_signal(evutil_socket_t fd, short what, void *userdata)
{
	struct daemon *daemon = userdata;
	struct signalfd_siginfo info;

	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return;
	timers_touch(&daemon->timers);
	if (info.ssi_signo == SIGHUP) {
		daemon_on_hangup(daemon);
		return;
	}
	log_notice("%s, stopping%s", info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT",
		   daemon->draining ? " at once" : "");
	if (daemon->draining || daemon->options->provision_only)
		daemon->stop = true;
	else
		daemon_drain(daemon);
}

/*
 * By a descriptor, not by handlers: for one of those the kernel saves all registers on the stack, where
 * the pieces of a key that may be in them would stay.
 */
static int daemon_watch_signals(struct daemon *daemon)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	daemon->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (daemon->signal_fd < 0)
		return -errno;
	daemon->signal_event = event_new(daemon->base_loop, daemon->signal_fd, EV_READ | EV_PERSIST,
					 daemon_on_signal, daemon);
	return daemon->signal_event && event_add(daemon->signal_event, NULL) == 0 ? 0 : -ENOMEM;
}

static void daemon_on_clock(void *userdata)
{
	struct daemon *daemon = userdata;

	log_info("the host's clock was set, or the host has slept");
	timers_touch(&daemon->timers);
	for (size_t i = 0; i < daemon->n_units; i++)
		if (daemon->units[i]->dev)
			device_sync_clock(daemon->units[i]->dev);
}

/* Only there to end the wait; the timers run after every turn. */
static void daemon_on_timer(evutil_socket_t fd, short what, void *userdata)
{
}

/* ---- construction ---- */

static int daemon_setup_loop(struct daemon *daemon)
{
	int r;

	daemon->base_loop = event_base_new();
	if (!daemon->base_loop)
		return -ENOMEM;
	daemon->timer_event = evtimer_new(daemon->base_loop, daemon_on_timer, NULL);
	if (!daemon->timer_event)
		return -ENOMEM;
	r = daemon_watch_signals(daemon);
	if (r < 0)
		return r;
	r = clockwatch_new(&daemon->clockwatch, daemon->base_loop, daemon_on_clock, daemon);
	if (r < 0)
		log_warning("cannot watch the host's clock: %s", strerror(-r));
	timers_touch(&daemon->timers);
	pool_init(&daemon->pool, daemon->base_loop, &daemon->timers);
	daemon->pool_ready = true;
	return notify_init(&daemon->notify, &daemon->timers);
}

static int daemon_setup_bus(struct daemon *daemon)
{
	const char *address = daemon->options->bus;
	int r = 0;

	if (daemon->options->provision_only || strcmp(address, "none") == 0)
		return 0;
	r = bus_new(&daemon->bus, daemon->base_loop, &daemon->timers, address, &daemon_bus_ops,
		    daemon);
	if (r < 0)
		log_error("cannot use D-Bus: %s", strerror(-r));
	return r;
}

static int daemon_setup_objects(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	int r;

	daemon->units = calloc(config->n_devices + 1, sizeof(*daemon->units));
	daemon->tunnels = calloc(config->n_tunnels + 1, sizeof(*daemon->tunnels));
	if (!daemon->units || !daemon->tunnels)
		return -ENOMEM;
	r = daemon_add_units(daemon);
	if (r < 0)
		return r;
	if (!daemon->options->provision_only)
		return daemon_add_tunnels(daemon);
	bench_start(daemon);
	return 0;
}

static int daemon_check_activation(struct daemon *daemon)
{
	struct problems problems = PROBLEMS_NULL;
	int r = daemon_check_sockets(daemon, daemon->config, &problems);

	daemon_note_idle_sockets(daemon);
	log_problems(&problems);
	problems_clear(&problems);
	return r;
}

static int daemon_setup(struct daemon *daemon)
{
	bool service = !daemon->options->provision_only;
	int r = 0;

	if (service)
		r = daemon_check_ports(daemon);
	if (r == 0 && service)
		r = daemon_lock(daemon);
	if (r == 0)
		r = daemon_setup_loop(daemon);
	if (r == 0 && service)
		r = activation_take(&daemon->activation);
	if (r == 0 && service)
		r = daemon_check_activation(daemon);
	if (r == 0 && daemon->options->trace)
		r = daemon_start_trace(daemon);
	if (r == 0)
		r = daemon_setup_bus(daemon);
	if (r == 0)
		r = daemon_setup_objects(daemon);
	return r;
}

int daemon_new(struct daemon **ret, struct daemon_parts *parts,
	       const struct daemon_options *options)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));
	int r;

	if (!daemon) {
		log_error("out of memory");
		return -ENOMEM;
	}
	daemon->options = options;
	daemon->base = parts->base;
	daemon->config = parts->config;
	daemon->store = parts->store;
	daemon->material = parts->material;
	daemon->lock_fd = -1;
	daemon->signal_fd = -1;
	overlay_init(&daemon->overlay);
	overlay_move(&daemon->overlay, &parts->overlay);
	*parts = (struct daemon_parts){ 0 };
	overlay_init(&parts->overlay);
	list_init(&daemon->changes);
	timers_init(&daemon->timers);
	r = timer_init(&daemon->bench_timer, &daemon->timers, bench_time_is_up);
	if (r == 0)
		r = timer_init(&daemon->drain_timer, &daemon->timers, daemon_drain_is_over);
	if (r == 0)
		r = daemon_setup(daemon);
	if (r < 0) {
		if (r == -ENOMEM)
			log_error("out of memory");
		daemon_free(daemon);
		return r;
	}
	*ret = daemon;
	return 0;
}

static void daemon_free_objects(struct daemon *daemon)
{
	/* Its callers are told that espatd stops, not what becomes of their objects. */
	daemon->bus = bus_free(daemon->bus);
	daemon->reload = reload_free(daemon->reload);
	change_end_all(daemon);
	for (size_t i = 0; i < daemon->n_tunnels; i++)
		tunnel_free(daemon->tunnels[i], "espatd stops");
	free(daemon->tunnels);
	for (size_t i = 0; i < daemon->n_units; i++)
		unit_free(daemon->units[i]);
	free(daemon->units);
	trace_free(daemon->trace, "espatd stops");
	if (daemon->pool_ready)
		pool_deinit(&daemon->pool);
}

struct daemon *daemon_free(struct daemon *daemon)
{
	if (!daemon)
		return NULL;
	daemon_free_objects(daemon);
	notify_deinit(&daemon->notify);
	timer_deinit(&daemon->bench_timer);
	timer_deinit(&daemon->drain_timer);
	timers_deinit(&daemon->timers);
	if (daemon->signal_event)
		event_free(daemon->signal_event);
	if (daemon->signal_fd >= 0)
		close(daemon->signal_fd);
	clockwatch_free(daemon->clockwatch);
	if (daemon->timer_event)
		event_free(daemon->timer_event);
	if (daemon->base_loop)
		event_base_free(daemon->base_loop);
	activation_deinit(&daemon->activation);
	if (daemon->lock_fd >= 0)
		close(daemon->lock_fd);
	overlay_deinit(&daemon->overlay);
	material_free(daemon->material);
	store_free(daemon->store);
	config_free(daemon->config);
	config_free(daemon->base);
	free(daemon);
	return NULL;
}

/* ---- the loop ---- */

static void daemon_arm(struct daemon *daemon)
{
	uint64_t next = timers_next(&daemon->timers);
	struct timeval tv;
	uint64_t delay;

	if (daemon->reload)
		next = daemon->timers.now;
	if (next == TIMERS_NEVER) {
		event_del(daemon->timer_event);
		return;
	}
	delay = next > daemon->timers.now ? next - daemon->timers.now : 0;
	tv.tv_sec = (time_t)(delay / TIMERS_S);
	tv.tv_usec = (suseconds_t)(delay % TIMERS_S);
	event_add(daemon->timer_event, &tv);
}

static size_t daemon_clients(const struct daemon *daemon)
{
	size_t n = 0;

	for (size_t i = 0; i < daemon->n_tunnels; i++)
		n += tunnel_clients(daemon->tunnels[i]);
	return n;
}

/* What a chip is doing, in words. */
static void describe_unit(const struct unit *unit, char *buf, size_t size)
{
	const struct device *dev = unit->dev;
	const char *name = unit->settings->name;

	if (unit->why[0] != '\0')
		snprintf(buf, size, "%s: %s", name, unit->why);
	else if (dev->state == DEVICE_READY)
		snprintf(buf, size, "%s: ready, %u of %d links in use", name,
			 device_links_in_use(dev), AT_LINKS);
	else if (dev->error[0] != '\0')
		snprintf(buf, size, "%s: %s (%s)", name, device_state_name(dev->state), dev->error);
	else
		snprintf(buf, size, "%s: %s", name, device_state_name(dev->state));
	utf8_trim(buf);
}

static void daemon_tell_status(struct daemon *daemon)
{
	struct status status;
	char text[UNIT_WORDS_MAX] = "";

	if (daemon->draining)
		snprintf(text, sizeof(text), "Stopping, %zu clients are left",
			 daemon_clients(daemon));
	status_begin(&status, text);
	for (size_t i = 0; i < daemon->n_units; i++) {
		const struct device *dev = daemon->units[i]->dev;

		if (!dev)
			continue;
		describe_unit(daemon->units[i], text, sizeof(text));
		status_add(&status, text, dev->state == DEVICE_READY);
	}
	status_end(&status);
	notify_status(&daemon->notify, status.text);
}

/* One turn: what is due, then what comes. Returns 0, or -EIO (logged). */
static int daemon_turn(struct daemon *daemon)
{
	timers_touch(&daemon->timers);
	if (timers_may_fire(&daemon->timers))
		timers_run(&daemon->timers);
	reload_go_on(daemon);
	pool_flush(&daemon->pool);
	pool_reap(&daemon->pool);
	/* Not in each turn: while nothing but data moves there is nothing to tell. */
	if (daemon->status_due || daemon->draining)
		daemon_tell_status(daemon);
	daemon->status_due = false;
	if (daemon->draining && daemon_clients(daemon) == 0 && daemon->pool.lingers.n == 0)
		daemon->stop = true;
	if (daemon->stop)
		return 0;
	if (daemon->bus)
		bus_prepare(daemon->bus);
	daemon_arm(daemon);
	if (event_base_loop(daemon->base_loop, EVLOOP_ONCE) < 0) {
		log_error("the event loop failed");
		return -EIO;
	}
	return 0;
}

/* Whoever holds the loop up holds up everybody: with -v it is told. */
static int daemon_measured_turn(struct daemon *daemon)
{
	uint64_t before = clock_cpu_ns(), spent, reading;
	int r = daemon_turn(daemon);

	spent = clock_cpu_ns() - before;
	reading = daemon->bus ? bus_take_reading(daemon->bus) : 0;
	if (spent > DAEMON_TURN_MAX)
		log_debug("a turn of the loop took %" PRIu64 " us of CPU time, of which %" PRIu64
			  " us went into reading an oversize message",
			  spent / 1000, reading / 1000);
	return r;
}

int daemon_run(struct daemon *daemon)
{
	int r = 0;

	notify_ready(&daemon->notify);
	while (!daemon->stop && r == 0)
		r = log_enabled(LOG_LEVEL_DEBUG) ? daemon_measured_turn(daemon)
						 : daemon_turn(daemon);
	if (r < 0)
		return r;
	if (daemon->broken)
		return -ENOMEM;
	return daemon->bench_failed > 0 || daemon->bench_left > 0;
}
