/* SPDX-License-Identifier: MIT */
/* doctor: asks all that its rules need, and tells what they find. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/bus.h"
#include "ctl/doctor.h"
#include "ctl/fetch.h"
#include "ctl/json.h"
#include "ctl/probe.h"
#include "ctl/table.h"
#include "ctl/text.h"
#include "ctl/udev.h"
#include "ctl/wait.h"
#include "util/file.h"

#define _cleanup_findings_ _cleanup_(doctor_clear)
#define RULES_MAX (256 * 1024)

/* ---- a second look ---- */

static bool any_transient(const struct snapshot *snap)
{
	for (size_t i = 0; i < snap->n_devices; i++)
		if (doctor_is_transient(&snap->devices[i]))
			return true;
	return false;
}

/* Whether each chip that was on its way is where it was. */
static bool none_moved(const struct snapshot *before, const struct snapshot *now)
{
	for (size_t i = 0; i < before->n_devices; i++) {
		const struct snap_device *d = snapshot_device(now, before->devices[i].name);

		if (doctor_is_transient(&before->devices[i]) &&
		    (!d || strcmp(d->state, before->devices[i].state) != 0))
			return false;
	}
	return true;
}

static int on_change(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	*(bool *)userdata = true;
	return 0;
}

/* Looks until a state changes or the time is over; *watched tells how long none did. */
static enum ctl_exit look_again(struct ctl *ctl, struct snapshot *snap, unsigned int *watched)
{
	_cleanup_snapshot_ struct snapshot later = { 0 };
	_cleanup_waiter_ struct waiter w = WAITER_NULL;
	bool changed = false;
	enum ctl_exit status;
	sd_bus_slot *slot = NULL;
	int r;

	if (ctl->opt.wait == 0 || !any_transient(snap))
		return CTL_OK;
	status = wait_begin(&w, ctl->opt.wait);
	if (status != CTL_OK)
		return status;
	r = sd_bus_match_signal(ctl->bus, &slot, ESPAT_NAME, NULL,
				"org.freedesktop.DBus.Properties", "PropertiesChanged", on_change,
				&changed);
	while (r >= 0 && status == CTL_OK) {
		enum wait_result result;

		changed = false;
		result = wait_next(&w, ctl);
		if (result == WAIT_SIGNAL) {
			ctl_error("interrupted");
			status = CTL_FAILED;
			break;
		}
		if (!changed && result == WAIT_BUS)
			continue;
		snapshot_clear(&later);
		status = fetch_objects(ctl, &later);
		if (result != WAIT_BUS || status != CTL_OK || !none_moved(snap, &later))
			break;
	}
	sd_bus_slot_unref(slot);
	if (status != CTL_OK || later.n_devices == 0)
		return status;
	*watched = none_moved(snap, &later) ? ctl->opt.wait : 0;
	snapshot_clear(snap);
	*snap = later;
	later = (struct snapshot){ 0 };
	return CTL_OK;
}

/* ---- ModemManager ---- */

static bool may_be_tried(const struct snap_device *d)
{
	return strncmp(d->port, "usb:", 4) == 0 || strncmp(d->port, "/dev/ttyUSB", 11) == 0 ||
	       strncmp(d->port, "/dev/ttyACM", 11) == 0 ||
	       strncmp(d->port, "/dev/serial/", 12) == 0;
}

static void look_for_rules(const struct ctl *ctl, const struct snapshot *snap, bool *needs,
			   bool *has)
{
	const struct udev_roots roots = { ctl->opt.sysfs, ctl->opt.udev_data };
	_cleanup_free_ void *rules = NULL;
	char line[2048];
	size_t len;

	if (file_read(ctl->opt.rules, RULES_MAX, &rules, &len) < 0)
		rules = NULL;
	for (size_t i = 0; i < snap->n_devices; i++) {
		const struct snap_device *d = &snap->devices[i];

		needs[i] = may_be_tried(d);
		has[i] = needs[i] &&
			 ((rules && udev_find_rule(rules, d->name, line, sizeof(line))) ||
			  udev_is_ignored(&roots, d->port));
	}
}

/* ---- what is told ---- */

static enum table_color color_of(enum doctor_severity severity)
{
	switch (severity) {
	case DOCTOR_NOTE:
		return TABLE_DIM;
	case DOCTOR_WARNING:
		return TABLE_WARNING;
	case DOCTOR_ERROR:
		return TABLE_BAD;
	}
	return TABLE_PLAIN;
}

static const char *severity_name(enum doctor_severity severity)
{
	switch (severity) {
	case DOCTOR_NOTE:
		return "note";
	case DOCTOR_WARNING:
		return "warning";
	case DOCTOR_ERROR:
		return "error";
	}
	return "?";
}

static void show_finding(const struct ctl *ctl, const struct doctor_finding *f)
{
	_cleanup_free_ char *name = text_clean(f->name), *what = text_clean(f->what),
			    *advice = text_clean(f->advice);

	if (!name || !what || !advice)
		return;
	printf("%s%-8s%s %s %s%s%s: %s\n", table_color_begin(color_of(f->severity), ctl->color),
	       severity_name(f->severity), table_color_end(color_of(f->severity), ctl->color),
	       f->object, table_color_begin(TABLE_BOLD, ctl->color), name,
	       table_color_end(TABLE_BOLD, ctl->color), what);
	if (*advice)
		printf("         -> %s\n", advice);
}

static void json_findings(const struct doctor_findings *findings)
{
	struct json j = JSON_TO(stdout);

	json_array(&j, NULL);
	for (size_t i = 0; i < findings->n; i++) {
		const struct doctor_finding *f = &findings->items[i];

		json_object(&j, NULL);
		json_string(&j, "severity", severity_name(f->severity));
		json_string(&j, "id", f->id);
		json_string(&j, "object", f->object);
		json_string(&j, "name", f->name);
		json_string(&j, "what", f->what);
		json_string(&j, "advice", f->advice);
		json_end(&j);
	}
	json_end(&j);
}

static enum ctl_exit tell(const struct ctl *ctl, const struct doctor_input *in)
{
	_cleanup_findings_ struct doctor_findings findings = { 0 };

	doctor_examine(in, &findings);
	if (findings.failed)
		return ctl_oom();
	if (ctl->json)
		json_findings(&findings);
	else
		for (size_t i = 0; i < findings.n; i++)
			show_finding(ctl, &findings.items[i]);
	if (!ctl->json && findings.n == 0)
		printf("Nothing is wrong with %zu device%s and %zu tunnel%s.\n",
		       in->snap->n_devices, in->snap->n_devices == 1 ? "" : "s",
		       in->snap->n_tunnels, in->snap->n_tunnels == 1 ? "" : "s");
	if (findings.cut)
		ctl_error("there is more than that");
	if (!in->running)
		return CTL_UNREACHABLE;
	return findings.errors ? CTL_FAILED : CTL_OK;
}

/* ---- the command ---- */

static enum ctl_exit examine_running(struct ctl *ctl, struct doctor_input *in)
{
	_cleanup_snapshot_ struct snapshot snap = { 0 };
	bool needs[SNAP_DEVICES_MAX] = { false }, has[SNAP_DEVICES_MAX] = { false };
	enum ctl_exit status = fetch_objects(ctl, &snap);

	if (status == CTL_OK)
		status = look_again(ctl, &snap, &in->watched);
	if (status == CTL_OK)
		status = fetch_material(ctl, &snap);
	for (size_t i = 0; status == CTL_OK && i < snap.n_devices; i++) {
		status = fetch_values(ctl, &snap.devices[i]);
		if (status == CTL_OK)
			status = fetch_orphans(ctl, &snap.devices[i]);
		/* Then there is less to be said of it. */
		if (status == CTL_NOT_READY || status == CTL_NO_OBJECT)
			status = CTL_OK;
	}
	if (status != CTL_OK)
		return status;
	look_for_rules(ctl, &snap, needs, has);
	in->needs_rule = needs;
	in->has_rule = has;
	in->snap = &snap;
	status = tell(ctl, in);
	in->needs_rule = in->has_rule = NULL;
	in->snap = NULL;
	return status;
}

enum ctl_exit cmd_doctor(struct ctl *ctl)
{
	const struct snapshot nothing = { 0 };
	_cleanup_free_ char *unit = NULL, *load = NULL;
	struct doctor_input in = { .now = time(NULL), .snap = &nothing };
	enum ctl_exit status;

	if (ctl->argc > 0)
		return ctl_usage("too many arguments");
	status = ctl_connect(ctl);
	if (status != CTL_OK)
		return status;
	in.running = probe_name(ctl, ESPAT_NAME);
	in.modem_manager = probe_name(ctl, "org.freedesktop.ModemManager1");
	if (in.running)
		return examine_running(ctl, &in);
	unit = probe_unit(ctl, "ActiveState");
	load = probe_unit(ctl, "LoadState");
	in.unit = unit;
	in.load = load;
	return tell(ctl, &in);
}
