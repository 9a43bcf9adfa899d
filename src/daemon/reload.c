/* SPDX-License-Identifier: MIT */
/*
 * Another configuration takes the place of the present one. It is read and checked whole before anything
 * changes; then what has the same settings in both stays as it is, connections and all.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/internal.h"
#include "daemon/load.h"
#include "daemon/report.h"
#include "daemon/state.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"

DEFINE_CLEANUP(struct config *, config_free)
DEFINE_CLEANUP(struct material *, material_free)

int daemon_fail_problems(struct bus_failure *failure, enum bus_error error,
			 struct problems *problems)
{
	size_t at = 0;

	log_problems(problems);
	failure->error = error;
	failure->text[0] = '\0';
	for (size_t i = 0; i < problems->count && at < sizeof(failure->text); i++) {
		if (problems->items[i].severity != PROBLEM_ERROR)
			continue;
		at += (size_t)snprintf(failure->text + at, sizeof(failure->text) - at, "%s%s",
				       at > 0 ? "\n" : "", problems->items[i].text);
	}
	problems_clear(problems);
	return -1;
}

int daemon_fail_errno(struct bus_failure *failure, const char *what, int r)
{
	if (r == -ENOMEM)
		return bus_fail(failure, BUS_E_NO_MEMORY, "espatd is out of memory");
	if (r == -EWOULDBLOCK)
		return bus_fail(failure, BUS_E_BUSY,
				"another espatd is busy with the state folder");
	return bus_fail(failure, BUS_E_FAILED, "%s%s%s", what ? what : "", what ? ": " : "",
			strerror(-r));
}

/* @r of something that may have left complaints. */
int daemon_fail_state(const struct daemon *daemon, struct bus_failure *failure, const char *what,
		      int r)
{
	char text[sizeof(failure->text)];

	snprintf(text, sizeof(text), "%s in %s", what, daemon->config->state_dir);
	return daemon_fail_errno(failure, text, r);
}

/* What is wrong with the configuration has words; the rest comes from the state folder. */
static int fail(const struct daemon *daemon, struct bus_failure *failure, int r,
		struct problems *problems)
{
	/* Without memory what is right is complained about, too. */
	if (problems->errors > 0 && r != -ENOMEM)
		return daemon_fail_problems(failure, BUS_E_CONFIGURATION, problems);
	problems_clear(problems);
	return daemon_fail_state(daemon, failure, "cannot keep certificates and keys", r);
}

/* ---- what stays ---- */

static struct device *daemon_device(struct daemon *daemon, const struct config_device *settings)
{
	return daemon->units[settings - daemon->config->devices]->dev;
}

/* The device of @fresh that @unit goes on being; NULL: it goes. */
static const struct config_device *unit_stays(const struct unit *unit, const struct config *fresh)
{
	const struct config_device *settings = config_find_device(fresh, unit->settings->name);

	return settings && config_device_equal(unit->settings, settings) ? settings : NULL;
}

static const struct config_tunnel *tunnel_stays(struct daemon *daemon, const struct tunnel *tunnel,
						const struct config *fresh)
{
	const struct config_tunnel *config = config_find_tunnel(fresh, tunnel->config->name);

	if (!config || !config_tunnel_equal(tunnel->config, config))
		return NULL;
	/* It was removed since: its socket has gone, and it is made anew. */
	if (tunnel_state(tunnel) == TUNNEL_DRAINING && !daemon->draining)
		return NULL;
	/* One for any device goes on with those that stay. */
	return !tunnel->dev || unit_stays(unit_of_device(daemon, tunnel->dev), fresh) ? config
										      : NULL;
}

/* ---- sockets of systemd ---- */

/* The sockets that were made for the tunnel, as far as it can have so many. */
static size_t sockets_of(const struct daemon *daemon, const struct config_tunnel *config,
			 int fds[TUNNEL_SOCKETS_MAX])
{
	size_t n = activation_find(&daemon->activation, config->name, fds, TUNNEL_SOCKETS_MAX);

	if (n <= TUNNEL_SOCKETS_MAX)
		return n;
	log_object(LOG_LEVEL_WARNING, &(struct log_object){ .tunnel = config->name },
		   "systemd has made %zu sockets, %d of them are used", n, TUNNEL_SOCKETS_MAX);
	return TUNNEL_SOCKETS_MAX;
}

/* Clients of such a one wait until the tunnel comes, or for ever. */
void daemon_note_idle_sockets(const struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->activation.n; i++) {
		const char *name = daemon->activation.fds[i].tunnel;

		if (!config_find_tunnel(daemon->config, name))
			log_object(LOG_LEVEL_WARNING, &(struct log_object){ .tunnel = name },
				   "systemd has made a socket for a tunnel of this name, which "
				   "there is not");
	}
}

int daemon_check_sockets(const struct daemon *daemon, const struct config *config,
			 struct problems *problems)
{
	int fds[TUNNEL_SOCKETS_MAX];
	int r = 0;

	for (size_t i = 0; i < config->n_tunnels && r != -ENOMEM; i++) {
		int one = tunnel_check_sockets(&config->tunnels[i], fds,
					       sockets_of(daemon, &config->tunnels[i], fds),
					       problems);

		r = one < 0 ? one : r;
	}
	return r;
}

/* ---- applying ---- */

static bool has_tunnel(const struct daemon *daemon, const struct config_tunnel *config)
{
	for (size_t i = 0; i < daemon->n_tunnels; i++)
		if (daemon->tunnels[i]->config == config)
			return true;
	return false;
}

static int add_tunnel(struct daemon *daemon, const struct config_tunnel *config)
{
	int fds[TUNNEL_SOCKETS_MAX];
	size_t n;
	struct tunnel **tunnel = &daemon->tunnels[daemon->n_tunnels];
	int r;

	if (has_tunnel(daemon, config))
		return 0;
	n = sockets_of(daemon, config, fds);
	r = tunnel_new(tunnel, config, daemon->config, daemon->config->runtime_dir, fds, n,
		       &daemon->pool,
		       config->device ? daemon_device(daemon, config->device) : NULL);
	if (r < 0)
		return r;
	daemon->n_tunnels++;
	return daemon->bus ? bus_add_tunnel(daemon->bus, *tunnel) : 0;
}

static void drop_tunnel(struct daemon *daemon, size_t i, const struct config *fresh)
{
	struct tunnel *tunnel = daemon->tunnels[i];
	const char *name = tunnel->config->name;

	log_object(LOG_LEVEL_NOTICE, &(struct log_object){ .tunnel = name },
		   "%s by the new configuration",
		   config_find_tunnel(fresh, name) ? "changed" : "removed");
	if (daemon->bus)
		bus_remove_tunnel(daemon->bus, tunnel);
	daemon->n_tunnels--;
	memmove(daemon->tunnels + i, daemon->tunnels + i + 1,
		(daemon->n_tunnels - i) * sizeof(*daemon->tunnels));
	tunnel_free(tunnel, "removed or changed by a new configuration");
}

/* Tunnels that are no more, or are others now, end. Those that stay come to the new @tunnels. */
static void drop_tunnels(struct daemon *daemon, struct config *fresh, struct tunnel **tunnels)
{
	for (size_t i = 0; i < daemon->n_tunnels;) {
		if (tunnel_stays(daemon, daemon->tunnels[i], fresh))
			i++;
		else
			drop_tunnel(daemon, i, fresh);
	}
	memcpy(tunnels, daemon->tunnels, daemon->n_tunnels * sizeof(*tunnels));
	free(daemon->tunnels);
	daemon->tunnels = tunnels;
}

/* Likewise; their tunnels have gone before. */
static void drop_units(struct daemon *daemon, struct config *fresh, struct unit **units)
{
	for (size_t i = 0; i < daemon->n_units; i++) {
		struct unit *unit = daemon->units[i];
		const struct config_device *settings = unit_stays(unit, fresh);

		if (settings) {
			units[settings - fresh->devices] = unit;
			continue;
		}
		log_object(LOG_LEVEL_NOTICE, &(struct log_object){ .device = unit->settings->name },
			   "%s by the new configuration",
			   config_find_device(fresh, unit->settings->name) ? "changed" : "removed");
		change_forget_unit(daemon, unit);
		if (daemon->bus && unit->dev)
			bus_remove_device(daemon->bus, unit->dev);
		unit_free(unit);
	}
	free(daemon->units);
	daemon->units = units;
	daemon->n_units = 0;
}

/*
 * All that stays is of the new configuration from here on. Nothing may happen in between: a tunnel and
 * its device are of one configuration, or find nothing in each other. Returns 0 or -ENOMEM.
 */
static int reconfigure_all(struct daemon *daemon, struct config *fresh, struct material *material)
{
	int r = 0;

	for (size_t i = 0; i < fresh->n_devices && r == 0; i++) {
		struct unit *unit = daemon->units[i];

		if (!unit)
			continue;
		unit->settings = &fresh->devices[i];
		if (unit->dev)
			r = device_reconfigure(unit->dev, fresh, unit->settings, material);
	}
	for (size_t i = 0; i < daemon->n_tunnels; i++)
		tunnel_reconfigure(daemon->tunnels[i],
				   config_find_tunnel(fresh, daemon->tunnels[i]->config->name),
				   fresh);
	return r;
}

static int add_unit(struct daemon *daemon, size_t i)
{
	struct unit *unit;
	int r;

	r = unit_new(&daemon->units[i], daemon, &daemon->config->devices[i]);
	if (r < 0)
		return r;
	unit = daemon->units[i];
	if (daemon->bus && unit->dev)
		r = bus_add_device(daemon->bus, unit->dev);
	return r < 0 ? r : unit_start(unit);
}

int daemon_add_units(struct daemon *daemon)
{
	int r = 0;

	for (size_t i = 0; i < daemon->config->n_devices && r == 0; i++) {
		if (!daemon->units[i])
			r = add_unit(daemon, i);
		if (daemon->units[i])
			daemon->n_units++;
	}
	return r;
}

int daemon_add_tunnels(struct daemon *daemon)
{
	int r = 0;

	for (size_t i = 0; i < daemon->config->n_tunnels && r == 0; i++)
		r = add_tunnel(daemon, &daemon->config->tunnels[i]);
	return r;
}

/*
 * A lack of memory in the middle of it: then there is no configuration that anybody could rely on, and the
 * service manager starts espatd anew.
 */
static void break_off(struct daemon *daemon, int r)
{
	log_error("a new configuration could be applied in part only: %s; stopping", strerror(-r));
	daemon->broken = true;
	daemon->stop = true;
}

/* Takes all three. Tunnels that are new are not made. Returns 0, also after break_off(), or -ENOMEM. */
static int daemon_apply(struct daemon *daemon, struct config *base, struct config *config,
			struct material *material)
{
	struct unit **units = calloc(config->n_devices + 1, sizeof(*units));
	struct tunnel **tunnels = calloc(config->n_tunnels + 1, sizeof(*tunnels));
	int r;

	if (!units || !tunnels) {
		free(units);
		free(tunnels);
		config_free(base);
		config_free(config);
		material_free(material);
		return -ENOMEM;
	}
	drop_tunnels(daemon, config, tunnels);
	drop_units(daemon, config, units);
	/* Not before: what has gone may have been looked at, by the places that the items had. */
	change_remap(daemon, material);
	r = reconfigure_all(daemon, config, material);
	material_free(daemon->material);
	config_free(daemon->config);
	config_free(daemon->base);
	daemon->material = material;
	daemon->config = config;
	daemon->base = base;
	if (r == 0)
		r = daemon_add_units(daemon);
	/* Tunnels that were dropped may have reserved something. */
	if (r == 0)
		pool_look(&daemon->pool);
	else
		break_off(daemon, r);
	return 0;
}

/* ---- reading ---- */

/* What cannot change while files and sockets are in use. */
static int check_folders(const struct daemon *daemon, const struct config *base,
			 struct problems *problems)
{
	int r = 0;

	if (strcmp(daemon->config->runtime_dir, base->runtime_dir) != 0)
		r = problems_add(
			problems, PROBLEM_ERROR, base->path, 0,
			"`runtime_dir` is another one, expected %s until espatd is started "
			"anew",
			daemon->config->runtime_dir);
	if (r == 0 && strcmp(daemon->config->state_dir, base->state_dir) != 0)
		r = problems_add(problems, PROBLEM_ERROR, base->path, 0,
				 "`state_dir` is another one, expected %s until espatd is started "
				 "anew",
				 daemon->config->state_dir);
	if (r < 0)
		return r;
	return problems->errors > 0 ? -EINVAL : 0;
}

/* At the end nothing new begins: who came in by it would be cut off at once. */
static int check_stopping(const struct daemon *daemon, struct bus_failure *failure)
{
	return daemon->draining ? bus_fail(failure, BUS_E_STOPPING, "espatd is stopping") : 0;
}

/* ---- by and by ---- */

/* ns of CPU time of a turn of the loop; one piece may be as long again. */
#define RELOAD_TURN_NS 2000000

/* All is read and checked before anything changes. */
enum reload_step {
	RELOAD_FILES,    /* the configuration */
	RELOAD_NAMES,    /* that were set in service */
	RELOAD_OVERLAY,  /* the configuration with what was made in service */
	RELOAD_MATERIAL, /* certificates and keys */
	RELOAD_DROP,     /* tunnels that do not stay */
	RELOAD_APPLY,    /* the rest, but for new tunnels */
	RELOAD_ADD,      /* those */
};

struct reload {
	enum reload_step step;
	int lock_fd;
	struct config *base, *config;
	struct overlay_scan *scan;
	struct material_loading *loading;
	struct problems problems;
	size_t at;          /* the next tunnel, in DROP and ADD */
	bus_change_fn done; /* NULL: nobody waits, or not any more */
	void *userdata;
};

struct reload *reload_free(struct reload *reload)
{
	if (!reload)
		return NULL;
	material_loading_free(reload->loading);
	overlay_scan_free(reload->scan);
	config_free(reload->config);
	config_free(reload->base);
	problems_clear(&reload->problems);
	if (reload->lock_fd >= 0)
		close(reload->lock_fd);
	free(reload);
	return NULL;
}

static int read_files(struct daemon *daemon, struct reload *reload)
{
	int r;

	r = load_base(&reload->base, daemon->options, &reload->problems);
	if (r == 0)
		r = check_folders(daemon, reload->base, &reload->problems);
	if (r == 0)
		r = overlay_scan_begin(&reload->scan, daemon->store, reload->base);
	return r;
}

static int read_overlay(struct daemon *daemon, struct reload *reload)
{
	const struct overlay_names names = { .scan = reload->scan };
	int r;

	r = overlay_load(&reload->config, &daemon->overlay, reload->base, &names,
			 &reload->problems);
	if (r == 0)
		r = daemon_check_sockets(daemon, reload->config, &reload->problems);
	if (r == 0)
		r = material_begin(&reload->loading, reload->config, daemon->store, time(NULL),
				   MATERIAL_DATES_REFUSE_NEW, &reload->problems);
	return r;
}

/* Returns 1: there are more. */
static int drop_next(struct daemon *daemon, struct reload *reload)
{
	while (reload->at < daemon->n_tunnels) {
		if (tunnel_stays(daemon, daemon->tunnels[reload->at], reload->config)) {
			reload->at++;
			continue;
		}
		drop_tunnel(daemon, reload->at, reload->config);
		return 1;
	}
	reload->at = 0;
	return 0;
}

static int apply(struct daemon *daemon, struct reload *reload)
{
	struct config *base = reload->base, *config = reload->config;
	int r;

	log_problems(&reload->problems);
	problems_clear(&reload->problems);
	reload->base = reload->config = NULL;
	r = daemon_apply(daemon, base, config, material_take(reload->loading));
	/* Tunnels have gone already. */
	if (r < 0)
		break_off(daemon, r);
	return 0;
}

/* Returns 1: there are more. At the end of espatd nobody is to come in by a new one. */
static int add_next(struct daemon *daemon, struct reload *reload)
{
	int r;

	if (reload->at == daemon->config->n_tunnels || daemon->draining || daemon->broken)
		return 0;
	r = add_tunnel(daemon, &daemon->config->tunnels[reload->at++]);
	if (r < 0)
		break_off(daemon, r);
	return 1;
}

/* Returns 1: there is more of this step, 0: it is done, or -errno. */
static int reload_do(struct daemon *daemon, struct reload *reload)
{
	switch (reload->step) {
	case RELOAD_FILES:
		return read_files(daemon, reload);
	case RELOAD_NAMES:
		return overlay_scan_go_on(reload->scan);
	case RELOAD_OVERLAY:
		return read_overlay(daemon, reload);
	case RELOAD_MATERIAL:
		return material_go_on(reload->loading);
	case RELOAD_DROP:
		return drop_next(daemon, reload);
	case RELOAD_APPLY:
		return apply(daemon, reload);
	case RELOAD_ADD:
		return add_next(daemon, reload);
	}
	return 0;
}

/* @failure NULL: it is done. Unless @applied, it is told that nothing was changed. */
static void reload_end(struct daemon *daemon, const struct bus_failure *failure, bool applied)
{
	struct reload *reload = daemon->reload;
	bus_change_fn done = reload->done;
	void *userdata = reload->userdata;
	bool again = daemon->reload_again;
	struct bus_failure ignored; /* it is in the log */

	daemon->reload = reload_free(reload);
	daemon->reload_again = false;
	/* Who reads this may rely on it: of what was read, nothing is in memory any more. */
	if (!applied)
		log_error("not reloaded, all stays as it was%s%s",
			  failure->error == BUS_E_CONFIGURATION ? "" : ": ",
			  failure->error == BUS_E_CONFIGURATION ? "" : failure->text);
	if (daemon->bus)
		bus_reload_groups(daemon->bus);
	notify_ready(&daemon->notify);
	if (done)
		done(userdata, failure, NULL, 0);
	if (again)
		daemon_reload(daemon, NULL, NULL, &ignored);
}

static void reload_succeed(struct daemon *daemon)
{
	struct bus_failure failure;
	int r;

	log_notice("reloaded the configuration, certificates and keys");
	daemon_note_idle_sockets(daemon);
	r = change_begin_all(daemon);
	if (r < 0)
		daemon_fail_errno(&failure, NULL, r);
	reload_end(daemon, r < 0 ? &failure : NULL, true);
}

static void reload_step(struct daemon *daemon)
{
	struct reload *reload = daemon->reload;
	struct bus_failure failure;
	int r;

	if (reload->step < RELOAD_APPLY && check_stopping(daemon, &failure) < 0) {
		reload_end(daemon, &failure, false);
		return;
	}
	r = reload_do(daemon, reload);
	if (r < 0) {
		fail(daemon, &failure, r, &reload->problems);
		reload_end(daemon, &failure, false);
	} else if (r == 0 && reload->step == RELOAD_ADD) {
		reload_succeed(daemon);
	} else if (r == 0) {
		reload->step++;
	}
}

void reload_go_on(struct daemon *daemon)
{
	uint64_t start;

	if (!daemon->reload)
		return;
	start = clock_cpu_ns();
	while (daemon->reload && !daemon->stop && clock_cpu_ns() - start < RELOAD_TURN_NS)
		reload_step(daemon);
}

static int reload_new(struct reload **ret, struct daemon *daemon)
{
	struct reload *reload = calloc(1, sizeof(*reload));
	int r;

	if (!reload)
		return -ENOMEM;
	reload->problems = (struct problems)PROBLEMS_NULL;
	reload->lock_fd = -1;
	/* Never waited for: whoever has it may take his time. */
	r = state_lock(daemon->config->state_dir, false, &reload->lock_fd);
	if (r < 0) {
		reload_free(reload);
		return r;
	}
	*ret = reload;
	return 0;
}

int daemon_reload(struct daemon *daemon, bus_change_fn done, void *userdata,
		  struct bus_failure *failure)
{
	int r;

	if (daemon->reload) {
		/* What it has read may be of before this signal. A call would have waited. */
		daemon->reload_again = true;
		return done ? bus_fail(failure, BUS_E_BUSY, "a reload goes on already") : 0;
	}
	if (check_stopping(daemon, failure) < 0) {
		log_error("not reloaded, all stays as it was: %s", failure->text);
		return -1;
	}
	r = reload_new(&daemon->reload, daemon);
	if (r < 0) {
		daemon_fail_state(daemon, failure, "cannot keep certificates and keys", r);
		log_error("not reloaded, all stays as it was: %s", failure->text);
		return -1;
	}
	daemon->reload->done = done;
	daemon->reload->userdata = userdata;
	notify_reloading(&daemon->notify);
	return 0;
}

void reload_cancel(struct daemon *daemon, void *userdata)
{
	if (daemon->reload && daemon->reload->userdata == userdata)
		daemon->reload->done = NULL;
}

/* ---- what was made in service ---- */

int daemon_read_base(struct daemon *daemon, struct config **ret, struct bus_failure *failure)
{
	struct problems problems = PROBLEMS_NULL;
	_cleanup_(config_freep) struct config *base = NULL;
	int r;

	if (check_stopping(daemon, failure) < 0)
		return -1;
	r = load_base(&base, daemon->options, &problems);
	if (r < 0)
		return fail(daemon, failure, r, &problems);
	problems_clear(&problems);
	if (!config_equal(daemon->base, base))
		return bus_fail(failure, BUS_E_CONFIGURATION,
				"the configuration (%s or what belongs to it) has changed since it "
				"was read, and that is not in effect: reload first",
				base->path);
	*ret = base;
	base = NULL;
	return 0;
}

int daemon_refresh(struct daemon *daemon, struct config *base, enum store_kind kind,
		   const char *changed, struct bus_failure *failure)
{
	const struct overlay_names names = {
		.store = daemon->store,
		.present = daemon->config,
		.changed = changed,
		.kind = kind,
	};
	_cleanup_(config_freep) struct config *config = NULL;
	_cleanup_(material_freep) struct material *material = NULL;
	struct problems problems = PROBLEMS_NULL;
	int r;

	r = overlay_load(&config, &daemon->overlay, base, &names, &problems);
	if (r == 0)
		r = daemon_check_sockets(daemon, config, &problems);
	if (r == 0)
		r = material_carry(&material, config, daemon->material, daemon->store, kind,
				   changed);
	if (r < 0)
		return fail(daemon, failure, r, &problems);
	problems_clear(&problems);
	r = daemon_apply(daemon, config_ref(base), config, material);
	config = NULL;
	material = NULL;
	if (r < 0)
		return daemon_fail_errno(failure, NULL, r);
	r = daemon->broken ? 0 : daemon_add_tunnels(daemon);
	if (r < 0)
		break_off(daemon, r);
	return 0;
}
