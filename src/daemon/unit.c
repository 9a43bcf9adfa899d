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
	log_info("%s: opened %s at %u baud", unit->settings->name, unit->settings->port,
		 unit->settings->baud);
	device_port_up(unit->dev, unit->settings->baud);
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
	log_warning("%s: %s; waiting for it", unit->settings->name, why);
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
	if (r == 0 && unit->dev)
		r = pool_add_device(&daemon->pool, unit->dev);
	if (r < 0) {
		device_free(unit->dev);
		free(unit);
		return r;
	}
	*ret = unit;
	return 0;
}

int unit_start(struct unit *unit)
{
	struct daemon *daemon = unit->daemon;

	if (!unit->dev)
		return 0;
	return port_new(&unit->port, daemon->base_loop, &daemon->timers, unit->settings->port,
			unit->settings->baud, &unit_port_ops, unit);
}

struct unit *unit_free(struct unit *unit)
{
	if (!unit)
		return NULL;
	trace_free(unit->trace);
	if (unit->dev)
		pool_remove_device(&unit->daemon->pool, unit->dev);
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
