/* SPDX-License-Identifier: MIT */
/* The connection to the bus, on the daemon's loop; the objects on it, and what is told of them. */
#include "bus/bus.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bus/bus-request.h"
#include "bus/internal.h"
#include "config/ids.h"
#include "util/clock.h"
#include "util/sdbus.h"

/* Between two attempts to connect, or to get the name: doubled from the first to the second. */
#define BUS_RETRY (1 * TIMERS_S)
#define BUS_RETRY_MAX (15 * TIMERS_S)
/* Messages and CPU time of one turn of the loop: the chips are waiting, too. */
#define BUS_TURN_MESSAGES 16
#define BUS_TURN_NS 3000000
/* What the library reads in less time is no message of a size that would have to be told. */
#define BUS_READING_NS 1000000
/* Objects that are told of in one turn. */
#define BUS_TURN_OBJECTS 16
/* Messages that may wait to be sent, before what nobody has asked for is kept back. */
#define BUS_QUEUE_MAX 512
/* ms that bus_free() waits until the last answers are sent */
#define BUS_FLUSH_MS 500
static void bus_lost(struct bus *bus, const char *what, int r);

/* ---- objects ---- */

const char *bus_object_name(const struct bus_object *object)
{
	switch (object->kind) {
	case BUS_MANAGER:
		return "";
	case BUS_DEVICE:
		return object->dev->settings->name;
	case BUS_TUNNEL:
		return object->tunnel->config->name;
	}
	return "";
}

static struct list *bus_list(struct bus *bus, enum bus_object_kind kind)
{
	return kind == BUS_TUNNEL ? &bus->tunnels : &bus->devices;
}

struct bus_object *bus_find(struct bus *bus, enum bus_object_kind kind, const char *name)
{
	if (kind == BUS_MANAGER)
		return &bus->manager;
	list_for_each(it, bus_list(bus, kind)) {
		struct bus_object *object = container_of(it, struct bus_object, node);

		if (strcmp(bus_object_name(object), name) == 0)
			return object;
	}
	return NULL;
}

bool bus_is_clogged(struct bus *bus)
{
	uint64_t n;

	return bus->sd && sd_bus_get_n_queued_write(bus->sd, &n) >= 0 && n > BUS_QUEUE_MAX;
}

void bus_object_changed(struct bus_object *object)
{
	if (object->bus->sd && !list_linked(&object->stale))
		list_append(&object->bus->stale, &object->stale);
}

static void on_device_state(struct device_watch *watch, struct device *dev, enum device_state old)
{
	bus_object_changed(container_of(watch, struct bus_object, device_watch));
}

static void on_device_changed(struct device_watch *watch, struct device *dev, unsigned int facts)
{
	bus_object_changed(container_of(watch, struct bus_object, device_watch));
}

static void on_tunnel_changed(struct tunnel_watch *watch, struct tunnel *tunnel)
{
	bus_object_changed(container_of(watch, struct bus_object, tunnel_watch));
}

static void on_tunnel_failed(struct tunnel_watch *watch, struct tunnel *tunnel, const char *reason,
			     const char *text)
{
	struct bus_object *object = container_of(watch, struct bus_object, tunnel_watch);

	bus_object_changed(object);
	if (object->bus->sd && !bus_is_clogged(object->bus))
		bus_tunnel_tell_failure(object, reason, text);
}

static int bus_add(struct bus *bus, struct bus_object *object, enum bus_object_kind kind)
{
	int r;

	object->bus = bus;
	object->kind = kind;
	list_init(&object->node);
	list_init(&object->stale);
	r = sd_bus_path_encode(kind == BUS_DEVICE ? BUS_DEVICES : BUS_TUNNELS,
			       bus_object_name(object), &object->path);
	if (r < 0) {
		free(object);
		return r;
	}
	list_append(bus_list(bus, kind), &object->node);
	object->told = !bus->sd;
	bus_object_changed(object);
	return 0;
}

int bus_add_device(struct bus *bus, struct device *dev)
{
	struct bus_object *object = calloc(1, sizeof(*object));
	int r;

	if (!object)
		return -ENOMEM;
	object->dev = dev;
	r = bus_add(bus, object, BUS_DEVICE);
	if (r < 0)
		return r;
	object->device_watch.state = on_device_state;
	object->device_watch.changed = on_device_changed;
	device_watch(dev, &object->device_watch);
	return 0;
}

int bus_add_tunnel(struct bus *bus, struct tunnel *tunnel)
{
	struct bus_object *object = calloc(1, sizeof(*object));
	int r;

	if (!object)
		return -ENOMEM;
	object->tunnel = tunnel;
	r = bus_add(bus, object, BUS_TUNNEL);
	if (r < 0)
		return r;
	object->tunnel_watch.changed = on_tunnel_changed;
	object->tunnel_watch.failed = on_tunnel_failed;
	tunnel_watch(tunnel, &object->tunnel_watch);
	return 0;
}

static void bus_remove(struct bus_object *object)
{
	if (object->kind == BUS_DEVICE)
		device_unwatch(&object->device_watch);
	else
		tunnel_unwatch(&object->tunnel_watch);
	bus_requests_object_gone(object->bus, object);
	/* It must still be found: the library looks up what it says has gone. */
	if (object->bus->sd && object->told)
		sd_bus_emit_object_removed(object->bus->sd, object->path);
	list_remove(&object->node);
	list_remove(&object->stale);
	free(object->path);
	free(object);
}

void bus_remove_device(struct bus *bus, struct device *dev)
{
	list_for_each_safe(it, &bus->devices) {
		struct bus_object *object = container_of(it, struct bus_object, node);

		if (object->dev == dev)
			bus_remove(object);
	}
}

void bus_remove_tunnel(struct bus *bus, struct tunnel *tunnel)
{
	list_for_each_safe(it, &bus->tunnels) {
		struct bus_object *object = container_of(it, struct bus_object, node);

		if (object->tunnel == tunnel)
			bus_remove(object);
	}
}

/* For the library: what stands at @path. */
static int bus_find_path(struct bus *bus, struct list *list, const char *path, void **ret)
{
	list_for_each(it, list) {
		struct bus_object *object = container_of(it, struct bus_object, node);

		if (strcmp(object->path, path) == 0) {
			*ret = object;
			return 1;
		}
	}
	return 0;
}

static int find_device(sd_bus *sd, const char *path, const char *interface, void *userdata,
		       void **ret, sd_bus_error *error)
{
	struct bus *bus = userdata;

	return bus_find_path(bus, &bus->devices, path, ret);
}

static int find_tunnel(sd_bus *sd, const char *path, const char *interface, void *userdata,
		       void **ret, sd_bus_error *error)
{
	struct bus *bus = userdata;

	return bus_find_path(bus, &bus->tunnels, path, ret);
}

static int bus_list_paths(struct list *list, char ***ret)
{
	size_t n = 0;
	char **paths;

	list_for_each(it, list)
		n++;
	paths = calloc(n + 1, sizeof(*paths));
	if (!paths)
		return -ENOMEM;
	n = 0;
	list_for_each(it, list) {
		paths[n] = strdup(container_of(it, struct bus_object, node)->path);
		if (!paths[n++])
			break; /* the list ends there */
	}
	*ret = paths;
	return 0;
}

static int list_devices(sd_bus *sd, const char *prefix, void *userdata, char ***ret,
			sd_bus_error *error)
{
	struct bus *bus = userdata;

	return bus_list_paths(&bus->devices, ret);
}

static int list_tunnels(sd_bus *sd, const char *prefix, void *userdata, char ***ret,
			sd_bus_error *error)
{
	struct bus *bus = userdata;

	return bus_list_paths(&bus->tunnels, ret);
}

/* ---- the name ---- */

static void bus_try_later(struct bus *bus)
{
	timers_touch(bus->timers);
	timer_arm(&bus->retry, bus->delay);
	bus->delay = bus->delay * 2 > BUS_RETRY_MAX ? BUS_RETRY_MAX : bus->delay * 2;
}

static void bus_name_is_ours(struct bus *bus)
{
	if (!bus->named)
		log_info("bus: %s is on the bus", BUS_NAME);
	bus->named = true;
	bus->queued = false;
	bus->complained = false;
	bus->delay = BUS_RETRY;
}

/* RequestName's answers, as the specification of D-Bus has them. */
enum {
	NAME_PRIMARY_OWNER = 1,
	NAME_IN_QUEUE = 2,
	NAME_EXISTS = 3,
	NAME_ALREADY_OWNER = 4,
};

static int on_name_requested(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	const sd_bus_error *error = sd_bus_message_get_error(m);
	struct bus *bus = userdata;
	uint32_t answer = 0;

	bus_reading_ends(bus);
	if (error || sd_bus_message_read_basic(m, 'u', &answer) < 0 || answer == NAME_EXISTS) {
		if (!bus->complained)
			log_warning("bus: the bus does not give us the name %s: %s; trying again",
				    BUS_NAME,
				    error && error->message ? error->message : "another has it");
		bus->complained = true;
		bus_try_later(bus);
	} else if (answer == NAME_IN_QUEUE) {
		if (!bus->queued && !bus->named)
			log_warning("bus: another process has the name %s; waiting for it",
				    BUS_NAME);
		bus->queued = true;
	} else {
		bus_name_is_ours(bus);
	}
	return 0;
}

static int bus_request_name(struct bus *bus)
{
	/* Queued for it, and not to be replaced: whoever has it keeps it until he goes. */
	return sd_bus_request_name_async(bus->sd, NULL, BUS_NAME, SD_BUS_NAME_QUEUE,
					 on_name_requested, bus);
}

static int on_name_acquired(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	const char *name;

	if (sd_bus_message_read_basic(m, 's', &name) > 0 && strcmp(name, BUS_NAME) == 0)
		bus_name_is_ours(userdata);
	return 0;
}

static int on_name_vanished(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	const char *name;

	if (sd_bus_message_read_basic(m, 's', &name) > 0 && name[0] == ':')
		bus_requests_drop(userdata, name);
	return 0;
}

/* ---- the connection ---- */

static int bus_export_under(struct bus *bus, const char *prefix,
			    const struct bus_interface *interfaces, sd_bus_object_find_t find,
			    sd_bus_node_enumerator_t list)
{
	int r = 0;

	for (const struct bus_interface *i = interfaces; r >= 0 && i->name; i++)
		r = sd_bus_add_fallback_vtable(bus->sd, NULL, prefix, i->name, i->vtable, find,
					       bus);
	return r < 0 ? r : sd_bus_add_node_enumerator(bus->sd, NULL, prefix, list, bus);
}

/*
 * Objects are looked up by their path in each call, so one that is removed by a call, also its own, is
 * not in anybody's hands.
 */
static int bus_export(struct bus *bus)
{
	int r;

	r = sd_bus_add_object_manager(bus->sd, NULL, BUS_PATH);
	if (r >= 0)
		r = sd_bus_add_object_vtable(bus->sd, NULL, BUS_PATH,
					     bus_manager_interfaces[0].name,
					     bus_manager_interfaces[0].vtable, &bus->manager);
	if (r >= 0)
		r = bus_export_under(bus, BUS_DEVICES, bus_device_interfaces, find_device,
				     list_devices);
	if (r >= 0)
		r = bus_export_under(bus, BUS_TUNNELS, bus_tunnel_interfaces, find_tunnel,
				     list_tunnels);
	return r;
}

/*
 * Before what anybody does with a message; but an answer goes straight to who has asked. Each is wiped at
 * its end: it may have a key where none belongs, and be refused before anybody has looked for one. That
 * is in the memory of others by then; in ours it does not stay.
 */
static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	bus_reading_ends(userdata);
	sd_bus_message_sensitive(m);
	return 0;
}

/* Before the name: whoever calls us by it is seen to go. */
static int bus_listen(struct bus *bus)
{
	int r;

	r = sd_bus_add_match_async(bus->sd, NULL,
				   "type='signal',sender='org.freedesktop.DBus',"
				   "path='/org/freedesktop/DBus',"
				   "interface='org.freedesktop.DBus',"
				   "member='NameOwnerChanged',arg2=''",
				   on_name_vanished, NULL, bus);
	if (r < 0)
		return r;
	return sd_bus_match_signal_async(bus->sd, NULL, "org.freedesktop.DBus",
					 "/org/freedesktop/DBus", "org.freedesktop.DBus",
					 "NameAcquired", on_name_acquired, NULL, bus);
}

/* Nobody on this bus has seen anything so far. */
static void bus_remember_all(struct bus *bus)
{
	struct list *lists[] = { &bus->devices, &bus->tunnels };

	bus_remember(&bus->manager);
	for (size_t i = 0; i < 2; i++) {
		list_for_each(it, lists[i]) {
			struct bus_object *object = container_of(it, struct bus_object, node);

			bus_remember(object);
			object->told = true;
		}
	}
}

static void bus_connect(struct bus *bus)
{
	int r;

	r = sdbus_open(bus->address, "espatd", &bus->sd);
	if (r >= 0)
		r = sd_bus_add_filter(bus->sd, NULL, on_message, bus);
	if (r >= 0)
		r = bus_export(bus);
	if (r >= 0)
		r = bus_listen(bus);
	if (r >= 0)
		r = bus_request_name(bus);
	if (r < 0) {
		bus_lost(bus, "cannot connect to the bus", r);
		return;
	}
	bus_remember_all(bus);
}

static void bus_disconnect(struct bus *bus)
{
	struct list *node;

	bus_requests_drop(bus, NULL);
	if (bus->event)
		event_free(bus->event);
	bus->event = NULL;
	if (bus->wake)
		event_del(bus->wake);
	bus->sd = sd_bus_close_unref(bus->sd);
	bus->named = bus->queued = false;
	while ((node = list_first(&bus->stale)))
		list_remove(node);
}

/* Never called by the library: it takes its object away. */
static void bus_lost(struct bus *bus, const char *what, int r)
{
	bool named = bus->named;

	bus_disconnect(bus);
	if (named || !bus->complained)
		log_warning("bus: %s: %s; trying again", what, strerror(-r));
	bus->complained = true;
	bus_try_later(bus);
}

static void on_retry(struct timer *timer)
{
	struct bus *bus = container_of(timer, struct bus, retry);

	if (!bus->sd)
		bus_connect(bus);
	else if (bus_request_name(bus) < 0)
		bus_try_later(bus);
}

/* ---- the loop ---- */

bool bus_turn_is_over(const struct bus *bus)
{
	return clock_cpu_ns() - bus->turn > BUS_TURN_NS;
}

void bus_reading_begins(struct bus *bus)
{
	bus->reading_since = clock_cpu_ns();
}

void bus_reading_forget(struct bus *bus)
{
	bus->reading_since = 0;
}

void bus_reading_ends(struct bus *bus)
{
	uint64_t spent;

	if (bus->reading_since == 0)
		return;
	spent = clock_cpu_ns() - bus->reading_since;
	bus->reading_since = 0;
	if (spent > BUS_READING_NS)
		bus->reading += spent;
}

uint64_t bus_take_reading(struct bus *bus)
{
	uint64_t reading = bus->reading;

	bus->reading = 0;
	return reading;
}

static void bus_process(struct bus *bus)
{
	int r = 1;

	timers_touch(bus->timers);
	bus_requests_run(bus);
	for (int i = 0; i < BUS_TURN_MESSAGES && r > 0; i++) {
		bus_reading_begins(bus);
		r = sd_bus_process(bus->sd, NULL);
		bus_reading_ends(bus);
		if (r < 0)
			bus_lost(bus, "the connection to the bus was lost", r);
		if (bus_turn_is_over(bus))
			return;
	}
}

static void on_event(evutil_socket_t fd, short what, void *userdata)
{
	struct bus *bus = userdata;

	if (bus->sd)
		bus_process(bus);
}

static void bus_tell(struct bus *bus)
{
	for (int i = 0; i < BUS_TURN_OBJECTS && !list_empty(&bus->stale); i++) {
		struct bus_object *object = container_of(list_first(&bus->stale), struct bus_object,
							 stale);

		list_remove(&object->stale);
		if (object->told) {
			bus_tell_changes(object);
			continue;
		}
		bus_remember(object);
		object->told = true;
		sd_bus_emit_object_added(bus->sd, object->path);
	}
}

/* The events of the library, in libevent's words. */
static short bus_events(int events)
{
	return (short)((events & POLLIN ? EV_READ : 0) | (events & POLLOUT ? EV_WRITE : 0) |
		       EV_PERSIST);
}

static int bus_watch_fd(struct bus *bus)
{
	int fd = sd_bus_get_fd(bus->sd);
	int events = sd_bus_get_events(bus->sd);

	if (fd < 0 || events < 0)
		return fd < 0 ? fd : events;
	if (bus->event && bus->fd == fd && bus->events == bus_events(events))
		return 0;
	if (bus->event)
		event_free(bus->event);
	bus->fd = fd;
	bus->events = bus_events(events);
	bus->event = event_new(bus->base, fd, bus->events, on_event, bus);
	return bus->event && event_add(bus->event, NULL) == 0 ? 0 : -ENOMEM;
}

/* The library's time-out is a moment of CLOCK_MONOTONIC, in µs. */
static int bus_watch_time(struct bus *bus)
{
	bool more = !list_empty(&bus->runnable) ||
		    (!list_empty(&bus->stale) && !bus_is_clogged(bus));
	struct timespec now;
	struct timeval tv = { 0 };
	uint64_t at, now_us;
	int r;

	r = sd_bus_get_timeout(bus->sd, &at);
	if (r < 0)
		return r;
	if (at == UINT64_MAX && !more) {
		event_del(bus->wake);
		return 0;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	now_us = (uint64_t)now.tv_sec * TIMERS_S + (uint64_t)now.tv_nsec / 1000;
	if (!more && at > now_us) {
		tv.tv_sec = (time_t)((at - now_us) / TIMERS_S);
		tv.tv_usec = (suseconds_t)((at - now_us) % TIMERS_S);
	}
	return event_add(bus->wake, &tv) == 0 ? 0 : -ENOMEM;
}

void bus_prepare(struct bus *bus)
{
	int r;

	bus->turn = clock_cpu_ns();
	if (!bus->sd)
		return;
	/* Whoever has set it. */
	if (bus->level != log_get_level())
		bus_object_changed(&bus->manager);
	bus->level = log_get_level();
	if (!bus_is_clogged(bus))
		bus_tell(bus);
	r = bus_watch_fd(bus);
	if (r == 0)
		r = bus_watch_time(bus);
	if (r < 0)
		bus_lost(bus, "the connection to the bus was lost", r);
}

/* ---- construction ---- */

const char *bus_check_address(const char *address)
{
	static const char *const names[] = { "system", "session", "none" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(address, names[i]) == 0)
			return NULL;
	if ((strncmp(address, "unix:", 5) == 0 || strncmp(address, "tcp:", 4) == 0) &&
	    strchr(address, '='))
		return NULL;
	return "system, session, none, or a bus's address as unix:path=/run/dbus/system_bus_socket";
}

void bus_reload_groups(struct bus *bus)
{
	unsigned int gid;

	bus->admin_group = ids_find(false, BUS_ADMIN_GROUP, &gid) == 0 ? gid : (gid_t)-1;
}

int bus_new(struct bus **ret, struct event_base *base, struct timers *timers, const char *address,
	    const struct bus_ops *ops, void *userdata)
{
	struct bus *bus = calloc(1, sizeof(*bus));

	if (!bus)
		return -ENOMEM;
	bus->base = base;
	bus->timers = timers;
	bus->ops = ops;
	bus->userdata = userdata;
	bus->delay = BUS_RETRY;
	bus->manager.bus = bus;
	bus->manager.kind = BUS_MANAGER;
	bus->manager.told = true;
	list_init(&bus->manager.stale);
	list_init(&bus->devices);
	list_init(&bus->tunnels);
	list_init(&bus->stale);
	list_init(&bus->requests);
	list_init(&bus->runnable);
	list_init(&bus->questions);
	bus->level = log_get_level();
	bus->root = 0;
	/* On the system's bus our own user is no administrator; elsewhere it is his bus. */
	bus->own = strcmp(address, "system") == 0 ? (uid_t)-1 : getuid();
	bus_reload_groups(bus);
	bus->address = strdup(address);
	bus->manager.path = strdup(BUS_PATH);
	bus->wake = evtimer_new(base, on_event, bus);
	if (timer_init(&bus->retry, timers, on_retry) < 0 || !bus->address || !bus->manager.path ||
	    !bus->wake) {
		bus_free(bus);
		return -ENOMEM;
	}
	if (strcmp(address, "none") != 0)
		bus_connect(bus);
	*ret = bus;
	return 0;
}

/* The last answers; meanwhile further calls are refused. */
static void bus_flush(struct bus *bus)
{
	struct timespec start, now;
	uint64_t n;
	long left = BUS_FLUSH_MS;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (left > 0 && sd_bus_get_n_queued_write(bus->sd, &n) >= 0 && n > 0) {
		struct pollfd pollfd = { .fd = sd_bus_get_fd(bus->sd), .events = POLLOUT };

		if (poll(&pollfd, 1, (int)left) <= 0 || sd_bus_process(bus->sd, NULL) < 0)
			return;
		clock_gettime(CLOCK_MONOTONIC, &now);
		left = BUS_FLUSH_MS - (now.tv_sec - start.tv_sec) * 1000 -
		       (now.tv_nsec - start.tv_nsec) / 1000000;
	}
}

struct bus *bus_free(struct bus *bus)
{
	struct list *node;

	if (!bus)
		return NULL;
	bus->stopping = true;
	bus_requests_stop(bus);
	if (bus->sd)
		bus_flush(bus);
	bus_disconnect(bus);
	while ((node = list_first(&bus->devices)))
		bus_remove(container_of(node, struct bus_object, node));
	while ((node = list_first(&bus->tunnels)))
		bus_remove(container_of(node, struct bus_object, node));
	timer_deinit(&bus->retry);
	if (bus->wake)
		event_free(bus->wake);
	free(bus->manager.path);
	free(bus->address);
	free(bus);
	return NULL;
}
