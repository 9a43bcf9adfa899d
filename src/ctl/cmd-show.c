/* SPDX-License-Identifier: MIT */
/* status, devices, tunnels: what there is. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/bus.h"
#include "ctl/fetch.h"
#include "ctl/json.h"
#include "ctl/show.h"
#include "ctl/text.h"

enum ctl_exit cmd_status(struct ctl *ctl)
{
	_cleanup_snapshot_ struct snapshot snap = { 0 };
	struct json j = JSON_TO(stdout);
	enum ctl_exit status;

	if (ctl->argc > 0)
		return ctl_usage("too many arguments");
	status = fetch_objects(ctl, &snap);
	if (status == CTL_OK)
		status = fetch_material(ctl, &snap);
	if (status != CTL_OK)
		return status;
	if (ctl->json) {
		json_snapshot(&j, &snap);
		return CTL_OK;
	}
	show_pair(ctl, "espatd", "%s", snap.version);
	show_pair(ctl, "log level", "%s", snap.log_level);
	putchar('\n');
	status = show_devices(ctl, &snap);
	putchar('\n');
	if (status == CTL_OK)
		status = show_tunnels(ctl, &snap);
	if (status == CTL_OK && snap.n_authorities > 0) {
		putchar('\n');
		status = show_material(ctl, "AUTHORITY", snap.authorities, snap.n_authorities);
	}
	if (status == CTL_OK && snap.n_identities > 0) {
		putchar('\n');
		status = show_material(ctl, "IDENTITY", snap.identities, snap.n_identities);
	}
	return status;
}

static void show_device(const struct ctl *ctl, const struct snap_device *d)
{
	char heap[32];

	text_bytes(heap, sizeof(heap), d->free_heap);
	show_pair(ctl, "name", "%s", d->name);
	show_pair(ctl, "state", "%s", d->state);
	show_pair(ctl, "last error", "%s", d->last_error);
	show_pair(ctl, "port", "%s", d->port);
	show_pair(ctl, "baud", "%u", d->baud);
	show_pair(ctl, "flow control", "%s%s%s%s", d->flow_control,
		  *d->flow_control_error ? " (" : "", d->flow_control_error,
		  *d->flow_control_error ? ")" : "");
	show_pair(ctl, "model", "%s", d->model);
	show_pair(ctl, "firmware", "%s", d->firmware);
	show_pair(ctl, "AT core", "%s", d->core);
	show_pair(ctl, "MAC address", "%s", d->mac);
	show_pair(ctl, "links", "%u of %u in use", d->links_in_use, d->links);
	show_pair(ctl, "free heap", "%s", d->free_heap ? heap : "");
	show_pair(ctl, "clock", "%s", d->clock);
	show_pair(ctl, "resets", "%" PRIu64, d->resets);
	show_pair(ctl, "flash writes", "%" PRIu64, d->flash_writes);
	show_pair(ctl, "Wi-Fi", "%s", d->connected ? d->ssid : "not connected");
	if (!d->connected)
		return;
	show_pair(ctl, "access point", "%s", d->bssid);
	show_pair(ctl, "channel", "%u", d->channel);
	if (d->rssi)
		show_pair(ctl, "signal", "%d dBm", d->rssi);
	show_pair(ctl, "address", "%s", d->address);
}

enum ctl_exit cmd_devices(struct ctl *ctl)
{
	_cleanup_snapshot_ struct snapshot snap = { 0 };
	const struct snap_device *only;
	struct json j = JSON_TO(stdout);
	enum ctl_exit status = fetch_devices(ctl, &snap, &only);

	if (status != CTL_OK)
		return status;
	if (!only && !ctl->json)
		return show_devices(ctl, &snap);
	if (!only)
		json_snap_devices(&j, NULL, &snap);
	else if (ctl->json)
		json_snap_device(&j, NULL, only);
	else
		show_device(ctl, only);
	return CTL_OK;
}

static void show_tunnel(const struct ctl *ctl, const struct snap_tunnel *t)
{
	show_pair(ctl, "name", "%s", t->name);
	show_pair(ctl, "state", "%s", t->state);
	show_pair(ctl, "last error", *t->last_error_reason ? "%s [%s]" : "%s", t->last_error,
		  t->last_error_reason);
	show_pair(ctl, "device", "%s", t->device);
	show_pair(ctl, "host", "%s", t->host);
	show_pair(ctl, "port", "%u", t->port);
	show_pair(ctl, "socket", "%s", t->socket_path);
	show_pair(ctl, "verified", "%s", t->verified ? "yes" : "no");
	show_pair(ctl, "origin", "%s", t->origin);
	show_pair(ctl, "clients", "%u, %u waiting", t->clients, t->waiting);
	show_pair(ctl, "bytes sent", "%" PRIu64, t->bytes_sent);
	show_pair(ctl, "bytes received", "%" PRIu64, t->bytes_received);
	show_pair(ctl, "connects", "%" PRIu64, t->connects);
	show_pair(ctl, "failures", "%" PRIu64, t->failures);
	show_pair(ctl, "aborted", "%" PRIu64, t->aborted);
}

enum ctl_exit cmd_tunnels(struct ctl *ctl)
{
	_cleanup_snapshot_ struct snapshot snap = { 0 };
	const struct snap_tunnel *only = NULL;
	struct json j = JSON_TO(stdout);
	enum ctl_exit status;

	if (ctl->argc > 1)
		return ctl_usage("too many arguments");
	status = fetch_objects(ctl, &snap);
	if (status != CTL_OK)
		return status;
	if (ctl->argc == 1) {
		only = snapshot_tunnel(&snap, ctl->argv[0]);
		if (!only) {
			ctl_error("no tunnel has the name %s", ctl->argv[0]);
			return CTL_NO_OBJECT;
		}
	}
	if (!only && !ctl->json)
		return show_tunnels(ctl, &snap);
	if (!only)
		json_snap_tunnels(&j, NULL, &snap);
	else if (ctl->json)
		json_snap_tunnel(&j, NULL, only);
	else
		show_tunnel(ctl, only);
	return CTL_OK;
}
