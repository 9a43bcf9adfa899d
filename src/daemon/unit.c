/* SPDX-License-Identifier: MIT */
/* A chip and its line: what a device asks of the host, and what the port tells of itself. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timex.h>
#include <unistd.h>

#include "daemon/chips.h"
#include "daemon/internal.h"
#include "daemon/state.h"
#include "util/cleanup.h"
#include "util/log.h"

static void unit_write(void *userdata, const void *data, size_t len)
{
	struct unit *unit = userdata;

	port_write(unit->port, data, len);
}

static int unit_set_line(void *userdata, unsigned int baud, bool rtscts)
{
	struct unit *unit = userdata;

	return port_set_line(unit->port, baud, rtscts);
}

static int unit_set_reset(void *userdata, bool on)
{
	struct unit *unit = userdata;

	return port_set_reset(unit->port, on);
}

static bool unit_cts(void *userdata)
{
	struct unit *unit = userdata;

	return port_cts(unit->port) != 0;
}

static void unit_hold(void *userdata, bool hold)
{
	struct unit *unit = userdata;

	port_hold(unit->port, hold);
}

static size_t unit_queued(void *userdata)
{
	struct unit *unit = userdata;

	return port_queued(unit->port);
}

static void unit_discard(void *userdata)
{
	struct unit *unit = userdata;

	if (unit->port)
		port_discard(unit->port);
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

	return chips_recall(unit->daemon->config->state_dir, unit->settings->name, mac);
}

static int unit_remember_chip(void *userdata, const char *mac)
{
	struct unit *unit = userdata;
	_cleanup_close_ int lock_fd = -1;
	int r;

	r = state_lock(unit->daemon->config->state_dir, false, &lock_fd);
	if (r < 0)
		return r;
	return chips_remember(unit->daemon->config->state_dir, unit->settings->name, mac);
}

_Static_assert(CHIPS_MAC_SIZE == AT_MAC_MAX + 1, "both are MAC addresses");

static void unit_trace(void *userdata, const struct chan_piece *piece)
{
	struct unit *unit = userdata;

	if (unit->trace)
		trace_piece(unit->trace, unit->settings->name, piece);
	if (unit->daemon->trace)
		trace_piece(unit->daemon->trace, unit->settings->name, piece);
}

static const struct device_ops unit_device_ops = {
	.write = unit_write,
	.discard = unit_discard,

	.set_line = unit_set_line,
	.set_reset = unit_set_reset,
	.cts = unit_cts,
	.hold = unit_hold,
	.queued = unit_queued,
	.trace = unit_trace,
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
	unit->daemon->status_due = true;
	log_object(LOG_LEVEL_INFO, &(struct log_object){ .device = unit->settings->name },
		   "opened %s at %u baud", unit->settings->port, port_baud(unit->port));
	device_port_up(unit->dev, port_baud(unit->port));
}

static void unit_data(void *userdata, const uint8_t *data, size_t len)
{
	struct unit *unit = userdata;

	device_feed(unit->dev, data, len);
}

static void unit_lost(void *userdata, const struct port_lost *lost)
{
	struct unit *unit = userdata;
	char what[160];

	snprintf(what, sizeof(what),
		 "overruns %u, framing errors %u, parity errors %u, breaks %u, buffer overruns %u",
		 lost->overrun, lost->frame, lost->parity, lost->brk, lost->buf_overrun);
	device_bytes_lost(unit->dev, what);
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
	unit->daemon->status_due = true;
	device_port_waiting(unit->dev, why);
	log_object(LOG_LEVEL_WARNING, &(struct log_object){ .device = unit->settings->name },
		   "%s; waiting for it", why);
}

static const struct port_ops unit_port_ops = {
	.up = unit_up,
	.data = unit_data,
	.lost = unit_lost,
	.down = unit_down,
	.waiting = unit_waiting,
};

/* ---- traces ---- */

static void unit_watch_line(struct unit *unit)
{
	if (unit->dev)
		device_set_trace(unit->dev, unit->trace || unit->daemon->trace);
}

static void unit_trace_ended(void *userdata, const char *why)
{
	struct unit *unit = userdata;

	log_object(LOG_LEVEL_INFO, &(struct log_object){ .device = unit->settings->name },
		   "the trace has ended: %s", why);
	unit_stop_trace(unit, why);
}

int unit_start_trace(struct unit *unit, int fd, uint64_t max_bytes, uint32_t max_seconds)
{
	struct trace *trace;
	int r;

	r = trace_new(&trace, &unit->daemon->timers, fd, "espatd", max_bytes, max_seconds,
		      unit_trace_ended, unit);
	if (r < 0)
		return r;
	trace_free(unit->trace, "another one begins");
	unit->trace = trace;
	unit_watch_line(unit);
	return 0;
}

void unit_stop_trace(struct unit *unit, const char *why)
{
	unit->trace = trace_free(unit->trace, why);
	unit_watch_line(unit);
}

static void daemon_trace_ended(void *userdata, const char *why)
{
	struct daemon *daemon = userdata;

	log_info("the trace has ended: %s", why);
	daemon->trace = trace_free(daemon->trace, why);
	for (size_t i = 0; i < daemon->n_units; i++)
		unit_watch_line(daemon->units[i]);
}

int daemon_start_trace(struct daemon *daemon)
{
	const char *path = daemon->options->trace;
	int r, fd = trace_open_file(path);

	r = fd < 0 ? fd
		   : trace_new(&daemon->trace, &daemon->timers, fd, "espatd", TRACE_BYTES_MAX,
			       TRACE_SECONDS_ENDLESS, daemon_trace_ended, daemon);
	if (r < 0)
		log_error("cannot trace to %s: %s", path,
			  r == -EEXIST ? "it is there already" : strerror(-r));
	return r;
}

/* ---- construction ---- */

static bool unit_is_asked_for(const struct daemon_options *options, const char *name)
{
	for (size_t i = 0; i < options->n_devices; i++)
		if (strcmp(options->devices[i], name) == 0)
			return true;
	return options->n_devices == 0;
}

static void unit_on_changed(struct device_watch *watch, struct device *dev, unsigned int facts)
{
	if (facts & (DEVICE_FACT_STATE | DEVICE_FACT_LINKS))
		container_of(watch, struct unit, watch)->daemon->status_due = true;
}

int unit_new(struct unit **ret, struct daemon *daemon, const struct config_device *settings)
{
	struct unit *unit = calloc(1, sizeof(*unit));
	int r = 0;

	if (!unit)
		return -ENOMEM;
	unit->daemon = daemon;
	unit->settings = settings;
	if (unit_is_asked_for(daemon->options, settings->name))
		r = device_new(&unit->dev, daemon->config, settings, daemon->material,
			       &daemon->timers, &unit_device_ops, unit);
	if (r == 0)
		unit_watch_line(unit);
	if (r == 0 && unit->dev)
		r = pool_add_device(&daemon->pool, unit->dev);
	if (r < 0) {
		device_free(unit->dev);
		free(unit);
		return r;
	}
	unit->watch.changed = unit_on_changed;
	if (unit->dev)
		device_watch(unit->dev, &unit->watch);
	daemon->status_due = true;
	*ret = unit;
	return 0;
}

int unit_start(struct unit *unit)
{
	struct daemon *daemon = unit->daemon;

	if (!unit->dev)
		return 0;
	return port_new(&unit->port, daemon->base_loop, &daemon->timers, unit->settings->port,
			unit->settings->baud, unit->settings->max_baud, &unit_port_ops, unit);
}

struct unit *unit_free(struct unit *unit)
{
	if (!unit)
		return NULL;
	unit->daemon->status_due = true;
	trace_free(unit->trace, "the device is gone");
	if (unit->dev)
		pool_remove_device(&unit->daemon->pool, unit->dev);
	if (unit->dev && unit->port)
		device_port_closing(unit->dev);
	device_free(unit->dev);
	port_free(unit->port);
	free(unit);
	return NULL;
}

struct unit *unit_of_device(struct daemon *daemon, const struct device *dev)
{
	for (size_t i = 0; i < daemon->n_units; i++)
		if (daemon->units[i]->dev == dev)
			return daemon->units[i];
	return NULL;
}
