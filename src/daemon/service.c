/* SPDX-License-Identifier: MIT */
/* What the D-Bus interface asks of the daemon as a whole. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config/syntax.h"
#include "daemon/chips.h"
#include "daemon/internal.h"
#include "daemon/load.h"
#include "daemon/state.h"
#include "util/cleanup.h"
#include "util/log.h"

DEFINE_CLEANUP(struct config *, config_free)

static const char *kind_text(enum store_kind kind)
{
	return kind == STORE_IDENTITY ? "identity" : "authority";
}

static enum bus_error no_such(enum store_kind kind)
{
	return kind == STORE_IDENTITY ? BUS_E_NO_SUCH_IDENTITY : BUS_E_NO_SUCH_AUTHORITY;
}

static int lock_state(struct daemon *daemon, int *lock_fd, struct bus_failure *failure)
{
	int r = state_lock(daemon->config->state_dir, false, lock_fd);

	return r < 0 ? daemon_fail_state(daemon, failure, "cannot lock what is kept", r) : 0;
}

static int check_name(const char *name, struct bus_failure *failure)
{
	const char *expected = syntax_name(name);

	if (expected)
		return bus_fail(failure, BUS_E_INVALID_ARGUMENT, "the name \"%.80s\", expected %s",
				name, expected);
	return 0;
}

static int service_reload(void *userdata, bus_change_fn done, void *done_userdata,
			  struct bus_failure *failure)
{
	return daemon_reload(userdata, done, done_userdata, failure);
}

/* What is read for a reload is of the state of things when it began. */
static bool service_busy(void *userdata)
{
	struct daemon *daemon = userdata;

	return daemon->reload != NULL;
}

/* ---- tunnels ---- */

/* The overlay has changed. */
static int refresh(struct daemon *daemon, struct bus_failure *failure)
{
	_cleanup_(config_freep) struct config *base = NULL;

	if (daemon_read_base(daemon, &base, failure) < 0)
		return -1;
	return daemon_refresh(daemon, base, STORE_AUTHORITY, NULL, failure);
}

static int begin_all(struct daemon *daemon, struct bus_failure *failure)
{
	int r = change_begin_all(daemon);

	return r < 0 ? daemon_fail_errno(failure, NULL, r) : 0;
}

static int service_create_tunnel(void *userdata, const char *name, const char *text, bool persist,
				 struct bus_failure *failure)
{
	struct daemon *daemon = userdata;
	const char *dir = daemon->config->state_dir;
	struct overlay_tunnel *tunnel;
	_cleanup_close_ int lock_fd = -1;
	int r;

	if (check_name(name, failure) < 0)
		return -1;
	if (config_find_tunnel(daemon->base, name) || overlay_find(&daemon->overlay, name))
		return bus_fail(failure, BUS_E_EXISTS, "there is a tunnel %s already", name);
	if (persist && lock_state(daemon, &lock_fd, failure) < 0)
		return -1;
	r = overlay_add(&daemon->overlay, name, text, dir, persist, &tunnel);
	if (r < 0)
		return daemon_fail_errno(failure, name, r);
	/* On the disk first: what is answered to be kept must be so. */
	r = persist ? overlay_keep(tunnel, dir) : 0;
	if (r < 0) {
		overlay_drop(tunnel);
		return daemon_fail_state(daemon, failure, "cannot keep the tunnel", r);
	}
	if (refresh(daemon, failure) < 0) {
		if (persist)
			overlay_take_back(tunnel, dir);
		overlay_drop(tunnel);
		return -1;
	}
	log_object(LOG_LEVEL_NOTICE, &(struct log_object){ .tunnel = name }, "made over D-Bus%s",
		   persist ? ", to stay" : "");
	return begin_all(daemon, failure);
}

/* One that does not fit the configuration, so that there is nothing but its file. */
static int remove_left_out(struct daemon *daemon, const char *name, struct bus_failure *failure)
{
	_cleanup_close_ int lock_fd = -1;
	int r;

	if (lock_state(daemon, &lock_fd, failure) < 0)
		return -1;
	r = overlay_forget_left_out(name, daemon->config->state_dir);
	if (r == -ENOENT)
		return bus_fail(failure, BUS_E_NO_SUCH_TUNNEL, "no tunnel has the name \"%.80s\"",
				name);
	if (r < 0)
		return daemon_fail_state(daemon, failure, "cannot remove what is kept of it", r);
	log_object(LOG_LEVEL_NOTICE, &(struct log_object){ .tunnel = name },
		   "what was kept of it, and did not fit, was removed over D-Bus");
	return 0;
}

/*
 * The files of the configuration are others now, perhaps just because of this tunnel, and are not in
 * effect. It serves nobody any more; its object goes with the next reload.
 */
static void remove_later(struct daemon *daemon, struct overlay_tunnel *removed)
{
	for (size_t i = 0; i < daemon->n_tunnels; i++) {
		if (strcmp(daemon->tunnels[i]->config->name, removed->name) != 0)
			continue;
		tunnel_drain(daemon->tunnels[i]);
		tunnel_disconnect(daemon->tunnels[i], "removed over D-Bus");
	}
}

static int service_remove_tunnel(void *userdata, const char *name, struct bus_failure *failure)
{
	struct daemon *daemon = userdata;
	struct overlay_tunnel *tunnel = overlay_find(&daemon->overlay, name);
	_cleanup_close_ int lock_fd = -1;
	bool later = false;
	int r;

	if (!tunnel && config_find_tunnel(daemon->base, name))
		return bus_fail(failure, BUS_E_IN_CONFIGURATION,
				"the tunnel %s is in the configuration: take it out there", name);
	if (!tunnel)
		return remove_left_out(daemon, name, failure);
	if (tunnel->persistent && lock_state(daemon, &lock_fd, failure) < 0)
		return -1;
	r = tunnel->persistent ? overlay_forget(tunnel, daemon->config->state_dir) : 0;
	if (r < 0)
		return daemon_fail_state(daemon, failure, "cannot remove what is kept of it", r);
	list_remove(&tunnel->node);
	if (refresh(daemon, failure) < 0) {
		later = failure->error == BUS_E_CONFIGURATION;
		if (!later) {
			list_append(&daemon->overlay.tunnels, &tunnel->node);
			if (tunnel->persistent)
				overlay_keep(tunnel, daemon->config->state_dir);
			return -1;
		}
		remove_later(daemon, tunnel);
	}
	log_object(LOG_LEVEL_NOTICE, &(struct log_object){ .tunnel = name }, "removed over D-Bus%s",
		   later ? ", with the next reload" : "");
	overlay_drop(tunnel);
	if (later)
		return 0;
	return begin_all(daemon, failure);
}

static const char *service_tunnel_origin(void *userdata, const struct tunnel *tunnel)
{
	struct daemon *daemon = userdata;
	const struct overlay_tunnel *t = overlay_find(&daemon->overlay, tunnel->config->name);

	if (!t)
		return "configuration";
	return t->persistent ? "persistent" : "runtime";
}

/* ---- authorities and identities ---- */

static bool tunnel_names(const struct config_tunnel *tunnel, enum store_kind kind, const char *name)
{
	if (kind == STORE_AUTHORITY)
		return tunnel->authority && strcmp(tunnel->authority->name, name) == 0;
	return tunnel->identity && strcmp(tunnel->identity->name, name) == 0;
}

/* The tunnels that name it, for the error. */
static bool is_in_use(const struct config *config, enum store_kind kind, const char *name,
		      char *buf, size_t size)
{
	size_t at = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < config->n_tunnels; i++) {
		const struct config_tunnel *t = &config->tunnels[i];

		if (tunnel_names(t, kind, name) && at < size)
			at += (size_t)snprintf(buf + at, size - at, "%s%s", at > 0 ? ", " : "",
					       t->name);
	}
	return at > 0;
}

/* What the configuration's files of it hold: it wins until they change. */
static void origin_of(struct daemon *daemon, enum store_kind kind, const char *name,
		      uint8_t origin[CERT_DIGEST_SIZE])
{
	const struct material_item *item = material_find(daemon->material, kind, name);

	if (item)
		material_last_origin(item, daemon->store, origin, time(NULL));
	else
		memset(origin, 0, CERT_DIGEST_SIZE);
}

/* The store has another current generation of @name: all chips that need it get it. */
static int spread(struct daemon *daemon, struct config *base, enum store_kind kind,
		  const char *name, bus_change_fn done, void *userdata, struct bus_failure *failure)
{
	const struct material_item *item;
	size_t place;
	int r;

	if (daemon_refresh(daemon, base, kind, name, failure) < 0)
		return -1;
	item = material_find(daemon->material, kind, name);
	place = item ? (size_t)(item - daemon->material->items) : daemon->material->n_items;
	r = change_begin(daemon, place, "it is on the chip", done, userdata);
	return r < 0 ? daemon_fail_errno(failure, NULL, r) : 0;
}

static int service_set_material(void *userdata, enum store_kind kind, const char *name,
				const void *cert, size_t cert_len, const void *key, size_t key_len,
				bus_change_fn done, void *done_userdata,
				struct bus_failure *failure)
{
	struct daemon *daemon = userdata;
	struct problems problems = PROBLEMS_NULL;
	uint8_t origin[CERT_DIGEST_SIZE];
	_cleanup_(config_freep) struct config *base = NULL;
	_cleanup_close_ int lock_fd = -1;
	bool is_new;
	int r;

	if (check_name(name, failure) < 0 || daemon_read_base(daemon, &base, failure) < 0 ||
	    lock_state(daemon, &lock_fd, failure) < 0)
		return -1;
	is_new = !material_find(daemon->material, kind, name);
	origin_of(daemon, kind, name, origin);
	r = material_set(daemon->store, kind, name, cert, cert_len, key, key_len, origin,
			 time(NULL), "the argument", &problems);
	if (r == -EINVAL || r == -EKEYREJECTED)
		return daemon_fail_problems(
			failure, r == -EINVAL ? BUS_E_BAD_CERTIFICATE : BUS_E_BAD_KEY, &problems);
	problems_clear(&problems);
	if (r < 0)
		return daemon_fail_state(daemon, failure, "cannot keep it", r);
	/* There may be too many names. */
	if (spread(daemon, base, kind, name, done, done_userdata, failure) < 0) {
		if (is_new && failure->error == BUS_E_CONFIGURATION)
			store_remove(daemon->store, kind, name);
		return -1;
	}
	log_notice("%s %s was set over D-Bus", kind_text(kind), name);
	return 0;
}

static int service_remove_material(void *userdata, enum store_kind kind, const char *name,
				   bus_change_fn done, void *done_userdata,
				   struct bus_failure *failure)
{
	struct daemon *daemon = userdata;
	_cleanup_(config_freep) struct config *base = NULL;
	_cleanup_close_ int lock_fd = -1;
	char users[256];
	int r;

	if (load_config_has(daemon->base, kind, name))
		return bus_fail(failure, BUS_E_IN_CONFIGURATION,
				"%s %s is in the configuration: take it out there", kind_text(kind),
				name);
	if (!load_config_has(daemon->config, kind, name))
		return bus_fail(failure, no_such(kind), "no %s has the name \"%.80s\"",
				kind_text(kind), name);
	if (is_in_use(daemon->config, kind, name, users, sizeof(users)))
		return bus_fail(failure, BUS_E_IN_USE, "%s %s is used by the tunnels: %s",
				kind_text(kind), name, users);
	if (daemon_read_base(daemon, &base, failure) < 0 ||
	    lock_state(daemon, &lock_fd, failure) < 0)
		return -1;
	r = store_remove(daemon->store, kind, name);
	if (r < 0)
		return daemon_fail_state(daemon, failure, "cannot remove what is kept of it", r);
	if (daemon_refresh(daemon, base, kind, name, failure) < 0)
		return -1;
	log_notice("%s %s was removed over D-Bus", kind_text(kind), name);
	r = change_begin_removal(daemon, kind_text(kind), name, "nothing of it is on the chip",
				 done, done_userdata);
	return r < 0 ? daemon_fail_errno(failure, NULL, r) : 0;
}

/* NAME, authority:NAME or identity:NAME */
static int find_material(const struct daemon *daemon, const char *text, enum store_kind *kind,
			 const char **name, struct bus_failure *failure)
{
	bool authority, identity;

	*name = text;
	if (strncmp(text, "authority:", 10) == 0) {
		*kind = STORE_AUTHORITY;
		*name = text + 10;
	} else if (strncmp(text, "identity:", 9) == 0) {
		*kind = STORE_IDENTITY;
		*name = text + 9;
	} else {
		authority = material_find(daemon->material, STORE_AUTHORITY, text) != NULL;
		identity = material_find(daemon->material, STORE_IDENTITY, text) != NULL;
		if (authority && identity)
			return bus_fail(failure, BUS_E_AMBIGUOUS,
					"%s is an authority and an identity, expected "
					"authority:%s or identity:%s",
					text, text, text);
		*kind = identity ? STORE_IDENTITY : STORE_AUTHORITY;
	}
	if (!material_find(daemon->material, *kind, *name))
		return bus_fail(failure, no_such(*kind), "no %s has the name \"%.80s\"",
				kind_text(*kind), *name);
	return 0;
}

static int service_rollback(void *userdata, const char *text, bus_change_fn done,
			    void *done_userdata, struct bus_failure *failure)
{
	struct daemon *daemon = userdata;
	uint8_t origin[CERT_DIGEST_SIZE];
	_cleanup_(config_freep) struct config *base = NULL;
	_cleanup_close_ int lock_fd = -1;
	enum store_kind kind = STORE_AUTHORITY;
	const char *name;
	int r;

	if (find_material(daemon, text, &kind, &name, failure) < 0 ||
	    daemon_read_base(daemon, &base, failure) < 0 ||
	    lock_state(daemon, &lock_fd, failure) < 0)
		return -1;
	origin_of(daemon, kind, name, origin);
	r = store_roll_back(daemon->store, kind, name, origin, time(NULL));
	if (r == -ENOENT)
		return bus_fail(failure, BUS_E_NOTHING_KEPT, "nothing is kept of %s %s from before",
				kind_text(kind), name);
	if (r < 0)
		return daemon_fail_state(daemon, failure, "cannot roll back", r);
	log_notice("%s %s was rolled back over D-Bus", kind_text(kind), name);
	return spread(daemon, base, kind, name, done, done_userdata, failure);
}

static void service_change_cancel(void *userdata, void *done_userdata)
{
	change_cancel(userdata, done_userdata);
	reload_cancel(userdata, done_userdata);
}

/* ---- what there is ---- */

/* Tunnels of @config that name it, in memory of the caller; NULL: out of memory. */
static const char **tunnels_of(const struct config *config, enum store_kind kind, const char *name)
{
	const char **list = calloc(config->n_tunnels + 1, sizeof(*list));
	size_t n = 0;

	for (size_t i = 0; list && i < config->n_tunnels; i++) {
		const struct config_tunnel *t = &config->tunnels[i];

		if (tunnel_names(t, kind, name))
			list[n++] = t->name;
	}
	return list;
}

static const char **devices_of(const struct daemon *daemon, size_t item)
{
	const char **list = calloc(daemon->n_units + 1, sizeof(*list));
	size_t n = 0;

	for (size_t i = 0; list && i < daemon->n_units; i++) {
		const struct unit *unit = daemon->units[i];
		const char *why;

		if (unit->dev && device_item_state(unit->dev, item, &why) == DEVICE_ITEM_THERE)
			list[n++] = unit->settings->name;
	}
	return list;
}

static bool has_previous(struct daemon *daemon, enum store_kind kind, const char *name)
{
	struct store_item *item = NULL;
	bool has = store_load(daemon->store, kind, name, STORE_PREVIOUS, &item) == 0;

	store_item_free(item);
	return has;
}

static void service_each_material(void *userdata, enum store_kind kind,
				  void (*fn)(void *fn_userdata, const struct bus_material *m),
				  void *fn_userdata)
{
	struct daemon *daemon = userdata;
	enum material_type type = kind == STORE_IDENTITY ? MATERIAL_IDENTITY : MATERIAL_AUTHORITY;

	for (size_t i = 0; i < daemon->material->n_items; i++) {
		const struct material_item *item = &daemon->material->items[i];
		_cleanup_free_ const char **tunnels = NULL, **devices = NULL;
		char sha256[2 * CERT_DIGEST_SIZE + 1] = "";

		if (item->type != type)
			continue;
		tunnels = tunnels_of(daemon->config, kind, item->name);
		devices = devices_of(daemon, i);
		if (!tunnels || !devices)
			return;
		for (size_t k = 0; item->n_blobs > 0 && k < CERT_DIGEST_SIZE; k++)
			snprintf(sha256 + 2 * k, 3, "%02x", item->blobs[0]->digest[k]);
		fn(fn_userdata,
		   &(struct bus_material){
			   .name = item->name,
			   .configured = load_config_has(daemon->base, kind, item->name),
			   .generation = item->generation,
			   .source = item->source,
			   .sha256 = sha256,
			   .length = item->n_blobs > 0 ? item->blobs[0]->len : 0,
			   .subject = item->info.subject,
			   .issuer = item->info.issuer,
			   .not_before = item->info.not_before,
			   .not_after = item->info.not_after,
			   .tunnels = tunnels,
			   .devices = devices,
			   .previous = has_previous(daemon, kind, item->name),
		   });
	}
}

/* ---- chips ---- */

static int service_adopt(void *userdata, struct device *dev, struct bus_failure *failure)
{
	struct daemon *daemon = userdata;
	const struct config_device *settings = dev->settings;
	_cleanup_close_ int lock_fd = -1;
	int r;

	if (settings->mac || settings->adopt != CONFIG_ADOPT_FIRST)
		return bus_fail(failure, BUS_E_IN_CONFIGURATION,
				"device %s has %s in its configuration, so nothing is remembered "
				"for it",
				settings->name, settings->mac ? "a `mac`" : "`adopt = \"any\"`");
	if (dev->mac[0] == '\0' || dev->state == DEVICE_ABSENT)
		return bus_fail(failure, BUS_E_NOT_READY, "no chip is known there now");
	if (lock_state(daemon, &lock_fd, failure) < 0)
		return -1;
	r = chips_remember(daemon->config->state_dir, settings->name, dev->mac);
	if (r < 0)
		return daemon_fail_state(daemon, failure, "cannot remember the chip", r);
	log_object(LOG_LEVEL_NOTICE, &(struct log_object){ .device = settings->name },
		   "%s is the chip of this device from now on, by D-Bus", dev->mac);
	return 0;
}

static int service_start_trace(void *userdata, struct device *dev, int fd, uint64_t max_bytes,
			       unsigned int max_seconds, struct bus_failure *failure)
{
	struct unit *unit = unit_of_device(userdata, dev);
	int own, r;

	/* The caller keeps his if it is refused. */
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0)
		return daemon_fail_errno(failure, "cannot trace", -errno);
	r = unit_start_trace(unit, own, max_bytes, max_seconds);
	if (r == -EINVAL)
		return bus_fail(failure, BUS_E_BAD_DESCRIPTOR,
				"expected a file, pipe, socket or terminal that is open for "
				"writing, max_bytes of %d to %llu and max_seconds of 1 to %d",
				TRACE_BYTES_MIN, TRACE_BYTES_MAX, TRACE_SECONDS_MAX);
	if (r < 0)
		return daemon_fail_errno(failure, "cannot trace", r);
	close(fd);
	return 0;
}

static int service_stop_trace(void *userdata, struct device *dev, struct bus_failure *failure)
{
	struct unit *unit = unit_of_device(userdata, dev);

	if (!unit->trace)
		return bus_fail(failure, BUS_E_NO_TRACE, "nothing of %s is traced",
				unit->settings->name);
	unit_stop_trace(unit, "by StopTrace");
	return 0;
}

static unsigned int service_device_baud(void *userdata, const struct device *dev)
{
	return device_baud(dev);
}

static bool service_raw_commands(void *userdata)
{
	struct daemon *daemon = userdata;

	return daemon->config->raw_commands;
}

const struct bus_ops daemon_bus_ops = {
	.reload = service_reload,
	.busy = service_busy,
	.create_tunnel = service_create_tunnel,
	.remove_tunnel = service_remove_tunnel,
	.set_material = service_set_material,
	.remove_material = service_remove_material,
	.rollback = service_rollback,
	.change_cancel = service_change_cancel,
	.each_material = service_each_material,
	.adopt = service_adopt,
	.start_trace = service_start_trace,
	.stop_trace = service_stop_trace,
	.tunnel_origin = service_tunnel_origin,
	.device_baud = service_device_baud,
	.raw_commands = service_raw_commands,
};
