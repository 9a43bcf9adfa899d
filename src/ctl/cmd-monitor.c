/* SPDX-License-Identifier: MIT */
/* monitor: what changes, one line each, until a signal. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl/bus.h"
#include "ctl/fetch.h"
#include "ctl/json.h"
#include "ctl/table.h"
#include "ctl/text.h"
#include "ctl/value.h"
#include "ctl/wait.h"

struct monitor {
	struct ctl *ctl;
	struct json j;
	bool failed; /* standard output takes nothing more */
};

/* ---- one line ---- */

/* With milliseconds: in JSON as RFC 3339 in UTC, for people as their clock shows it. */
static void put_time(struct monitor *mon)
{
	char text[40], whole[64];
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (mon->ctl->json)
		gmtime_r(&ts.tv_sec, &tm);
	else
		localtime_r(&ts.tv_sec, &tm);
	strftime(text, sizeof(text), mon->ctl->json ? "%Y-%m-%dT%H:%M:%S" : "%H:%M:%S", &tm);
	snprintf(whole, sizeof(whole), "%s.%03ld%s", text, ts.tv_nsec / 1000000,
		 mon->ctl->json ? "Z" : "");
	if (mon->ctl->json)
		json_string(&mon->j, "time", whole);
	else
		printf("%s%s%s  ", table_color_begin(TABLE_DIM, mon->ctl->color), whole,
		       table_color_end(TABLE_DIM, mon->ctl->color));
}

/* What the object at @path is, and its name; *name is to be freed. */
static const char *object_of(const char *path, char **name)
{
	if (sd_bus_path_decode(path, ESPAT_ROOT "/device", name) > 0)
		return "device";
	if (sd_bus_path_decode(path, ESPAT_ROOT "/tunnel", name) > 0)
		return "tunnel";
	*name = NULL;
	return "service";
}

static void begin_line(struct monitor *mon, const char *event, const char *path)
{
	_cleanup_free_ char *name = NULL, *clean = NULL;
	const char *object = object_of(path, &name);

	if (mon->ctl->json)
		json_object(&mon->j, NULL);
	put_time(mon);
	if (mon->ctl->json) {
		json_string(&mon->j, "event", event);
		json_string(&mon->j, "object", object);
		json_string(&mon->j, "name", name);
		return;
	}
	clean = text_clean(name ? name : "espatd");
	printf("%s %s%s%s: ", object, table_color_begin(TABLE_BOLD, mon->ctl->color),
	       clean ? clean : "", table_color_end(TABLE_BOLD, mon->ctl->color));
}

static void end_line(struct monitor *mon)
{
	if (mon->ctl->json)
		json_end(&mon->j);
	else
		putchar('\n');
	if (fflush(stdout) != 0)
		mon->failed = true;
}

static void put_text(const char *text)
{
	_cleanup_free_ char *clean = text_clean(text);

	fputs(clean ? clean : "?", stdout);
}

/* ---- signals ---- */

static const char *last_part(const char *interface)
{
	const char *dot = strrchr(interface, '.');

	return dot ? dot + 1 : interface;
}

/* Properties of one interface that have changed. */
struct change {
	struct monitor *mon;
	const char *interface;
};

static int put_property(void *userdata, const char *property, sd_bus_message *m)
{
	const struct change *change = userdata;
	const char *interface = change->interface;
	struct monitor *mon = change->mon;
	int r;

	begin_line(mon, "changed", sd_bus_message_get_path(m));
	if (mon->ctl->json) {
		json_string(&mon->j, "interface", interface);
		json_string(&mon->j, "property", property);
		r = value_json(&mon->j, "value", m);
	} else {
		put_text(last_part(interface));
		putchar('.');
		put_text(property);
		fputs(" = ", stdout);
		r = value_text(stdout, m);
	}
	end_line(mon);
	return r;
}

/* sa{sv}as */
static int properties_changed(struct monitor *mon, sd_bus_message *m)
{
	struct change change = { .mon = mon };
	int r = sd_bus_message_read(m, "s", &change.interface);

	return r < 0 ? r : dict_each(m, put_property, &change);
}

static int connection_failed(struct monitor *mon, sd_bus_message *m)
{
	const char *reason, *text;
	int r = sd_bus_message_read(m, "ss", &reason, &text);

	if (r < 0)
		return r;
	begin_line(mon, "failed", sd_bus_message_get_path(m));
	if (mon->ctl->json) {
		json_string(&mon->j, "reason", reason);
		json_string(&mon->j, "text", text);
	} else {
		fputs(table_color_begin(TABLE_BAD, mon->ctl->color), stdout);
		put_text(text);
		fputs(" [", stdout);
		put_text(reason);
		fputs("]", stdout);
		fputs(table_color_end(TABLE_BAD, mon->ctl->color), stdout);
	}
	end_line(mon);
	return 0;
}

static int came_or_went(struct monitor *mon, sd_bus_message *m, const char *event)
{
	const char *path;
	int r = sd_bus_message_read(m, "o", &path);

	if (r < 0)
		return r;
	begin_line(mon, event, path);
	if (!mon->ctl->json)
		fputs(event, stdout);
	end_line(mon);
	return 0;
}

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct monitor *mon = userdata;
	int r = 0;

	if (sd_bus_message_is_signal(m, "org.freedesktop.DBus.Properties", "PropertiesChanged"))
		r = properties_changed(mon, m);
	else if (sd_bus_message_is_signal(m, ESPAT_TUNNEL, "ConnectionFailed"))
		r = connection_failed(mon, m);
	else if (sd_bus_message_is_signal(m, "org.freedesktop.DBus.ObjectManager",
					  "InterfacesAdded"))
		r = came_or_went(mon, m, "added");
	else if (sd_bus_message_is_signal(m, "org.freedesktop.DBus.ObjectManager",
					  "InterfacesRemoved"))
		r = came_or_went(mon, m, "removed");
	if (r < 0 && r != -ENOMEM)
		ctl_error("a signal of the service is not understood: %s", strerror(-r));
	return 0;
}

static void put_service(struct monitor *mon, bool running)
{
	begin_line(mon, "service", ESPAT_ROOT);
	if (mon->ctl->json)
		json_bool(&mon->j, "running", running);
	else
		fputs(running ? "running" : "not running", stdout);
	end_line(mon);
}

static int on_owner(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *name, *before, *after;

	if (sd_bus_message_read(m, "sss", &name, &before, &after) >= 0)
		put_service(userdata, *after);
	return 0;
}

/* ---- the command ---- */

static enum ctl_exit subscribe(struct monitor *mon)
{
	sd_bus *bus = mon->ctl->bus;
	int r;

	r = sd_bus_add_match(
		bus, NULL, "type='signal',sender='" ESPAT_NAME "',path_namespace='" ESPAT_ROOT "'",
		on_signal, mon);
	if (r >= 0)
		r = sd_bus_add_match(bus, NULL,
				     "type='signal',sender='org.freedesktop.DBus',"
				     "interface='org.freedesktop.DBus',member='NameOwnerChanged',"
				     "arg0='" ESPAT_NAME "'",
				     on_owner, mon);
	if (r >= 0)
		return CTL_OK;
	if (ctl_is_closed(r))
		return ctl_closed(mon->ctl);
	ctl_error("cannot listen to the service: %s", strerror(-r));
	return CTL_UNREACHABLE;
}

enum ctl_exit cmd_monitor(struct ctl *ctl)
{
	struct monitor mon = { .ctl = ctl, .j = JSON_TO(stdout) };
	_cleanup_waiter_ struct waiter w = WAITER_NULL;
	enum ctl_exit status;

	if (ctl->argc > 0)
		return ctl_usage("too many arguments");
	status = ctl_connect(ctl);
	if (status == CTL_OK)
		status = wait_begin(&w, ctl->opt.seconds);
	if (status == CTL_OK)
		status = subscribe(&mon);
	if (status != CTL_OK)
		return status;
	/* The first line: from now on nothing is missed. */
	put_service(&mon, sd_bus_get_name_creds(ctl->bus, ESPAT_NAME, 0, NULL) >= 0);
	while (!mon.failed) {
		switch (wait_next(&w, ctl)) {
		case WAIT_BUS:
		case WAIT_OTHER:
			break;
		case WAIT_TIME:
		case WAIT_SIGNAL:
			return CTL_OK;
		case WAIT_LOST:
			return ctl_closed(ctl);
		}
	}
	/* Whoever read this has gone, as `head` does. */
	return CTL_OK;
}
