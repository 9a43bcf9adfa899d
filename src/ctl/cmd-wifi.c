/* SPDX-License-Identifier: MIT */
/* wifi: what the chips are joined to, and what else there is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/bus.h"
#include "ctl/fetch.h"
#include "ctl/json.h"
#include "ctl/secret.h"
#include "ctl/show.h"

/* A scan with more is none of a chip's. */
#define NETWORKS_MAX 1024

/* ---- status ---- */

static void row_wifi(struct table *table, const struct snap_device *d)
{
	table_cell(table, TABLE_BOLD, "%s", d->name);
	table_cell(table, d->connected ? TABLE_GOOD : TABLE_WARNING, "%s",
		   d->connected ? "connected" : "not connected");
	table_cell(table, TABLE_PLAIN, "%s", d->ssid);
	table_cell(table, TABLE_PLAIN, "%s", d->bssid);
	if (d->channel)
		table_cell(table, TABLE_PLAIN, "%u", d->channel);
	else
		table_cell(table, TABLE_PLAIN, "%s", "");
	if (d->rssi)
		table_cell(table, TABLE_PLAIN, "%d dBm", d->rssi);
	else
		table_cell(table, TABLE_PLAIN, "%s", "");
	table_cell(table, TABLE_PLAIN, "%s", d->address);
}

static void json_wifi(struct json *j, const struct snap_device *d)
{
	json_object(j, NULL);
	json_string(j, "device", d->name);
	json_bool(j, "connected", d->connected);
	json_string(j, "ssid", d->ssid);
	json_string(j, "bssid", d->bssid);
	json_uint(j, "channel", d->channel);
	json_int(j, "rssi", d->rssi);
	json_string(j, "address", d->address);
	json_end(j);
}

static enum ctl_exit wifi_status(struct ctl *ctl)
{
	static const char *const titles[] = { "DEVICE",   "WI-FI",   "NETWORK", "ACCESS POINT",
					      ">CHANNEL", ">SIGNAL", "ADDRESS" };
	_cleanup_snapshot_ struct snapshot snap = { 0 };
	_cleanup_table_ struct table *table = NULL;
	struct json j = JSON_TO(stdout);
	const struct snap_device *only;
	enum ctl_exit status = fetch_devices(ctl, &snap, &only);

	if (status != CTL_OK)
		return status;
	if (table_new(&table, titles, COUNT(titles)) < 0)
		return ctl_oom();
	if (ctl->json)
		json_array(&j, NULL);
	for (size_t i = 0; i < snap.n_devices; i++) {
		if (only && only != &snap.devices[i])
			continue;
		if (ctl->json)
			json_wifi(&j, &snap.devices[i]);
		else
			row_wifi(table, &snap.devices[i]);
	}
	if (!ctl->json)
		return ctl_result(table_print(table, stdout, ctl->color));
	json_end(&j);
	return CTL_OK;
}

/* ---- scan ---- */

struct network {
	char ssid[256], bssid[64], security[64];
	int64_t rssi;
	uint64_t channel;
};

static int take_network(void *userdata, const char *key, struct var *v)
{
	struct network *n = userdata;
	const struct {
		const char *name;
		char *to;
		size_t size;
	} texts[] = { { "ssid", n->ssid, sizeof(n->ssid) },
		      { "bssid", n->bssid, sizeof(n->bssid) },
		      { "security", n->security, sizeof(n->security) } };

	for (size_t i = 0; i < COUNT(texts); i++) {
		if (!var_is(key, texts[i].name))
			continue;
		if (v->type != VAR_STRING)
			return -EBADMSG;
		snprintf(texts[i].to, texts[i].size, "%s", v->string);
	}
	if (var_is(key, "rssi"))
		return var_int(v, &n->rssi) ? 0 : -EBADMSG;
	if (var_is(key, "channel"))
		return var_uint(v, &n->channel) ? 0 : -EBADMSG;
	return 0;
}

static void put_network(const struct ctl *ctl, struct json *j, struct table *table,
			const struct network *n)
{
	if (!ctl->json) {
		table_cell(table, TABLE_BOLD, "%s", *n->ssid ? n->ssid : "(hidden)");
		table_cell(table, n->rssi < -75 ? TABLE_WARNING : TABLE_PLAIN, "%lld dBm",
			   (long long)n->rssi);
		table_cell(table, TABLE_PLAIN, "%llu", (unsigned long long)n->channel);
		table_cell(table, TABLE_PLAIN, "%s", n->security);
		table_cell(table, TABLE_PLAIN, "%s", n->bssid);
		return;
	}
	json_object(j, NULL);
	json_string(j, "ssid", n->ssid);
	json_string(j, "bssid", n->bssid);
	json_int(j, "rssi", n->rssi);
	json_uint(j, "channel", n->channel);
	json_string(j, "security", n->security);
	json_end(j);
}

static enum ctl_exit wifi_scan(struct ctl *ctl)
{
	static const char *const titles[] = { "NETWORK", ">SIGNAL", ">CHANNEL", "SECURITY",
					      "ACCESS POINT" };
	_cleanup_table_ struct table *table = NULL;
	_cleanup_message_ sd_bus_message *reply = NULL;
	_cleanup_free_ char *path = NULL;
	enum ctl_exit status = ctl_device_argument(ctl, 0, &path);
	const struct ctl_method scan = { path, ESPAT_WIFI, "Scan", true };
	struct json j = JSON_TO(stdout);
	size_t n = 0;
	int r;

	if (status == CTL_OK)
		status = ctl_ask(ctl, &scan, "aa{sv}", &reply, NULL);
	if (status != CTL_OK)
		return status;
	if (table_new(&table, titles, COUNT(titles)) < 0)
		return ctl_oom();
	if (ctl->json)
		json_array(&j, NULL);
	r = sd_bus_message_enter_container(reply, 'a', "a{sv}");
	while (r >= 0 && n++ < NETWORKS_MAX && (r = sd_bus_message_at_end(reply, false)) == 0) {
		struct network network = { 0 };

		r = dict_read(reply, take_network, &network);
		if (r >= 0)
			put_network(ctl, &j, table, &network);
	}
	if (ctl->json)
		json_end(&j);
	else if (r >= 0)
		status = ctl_result(table_print(table, stdout, ctl->color));
	return r < 0 ? ctl_bad_answer("Scan", r) : status;
}

/* ---- join, leave ---- */

static enum ctl_exit get_password(const struct ctl *ctl, struct secret *ret)
{
	enum ctl_exit status;

	if (!ctl->opt.password_file)
		return secret_prompt(ret, "Password (empty: an open network): ");
	status = secret_read(ret, ctl->opt.password_file);
	if (status == CTL_OK)
		secret_cut_line(ret);
	return status;
}

static int append_join(sd_bus_message *m, const struct ctl *ctl, const char *ssid, int fd)
{
	int r = sd_bus_message_append(m, "sh", ssid, fd);

	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "{sv}");
	if (r >= 0 && ctl->opt.bssid)
		r = sd_bus_message_append(m, "{sv}", "bssid", "s", ctl->opt.bssid);
	if (r >= 0 && ctl->opt.hidden)
		r = sd_bus_message_append(m, "{sv}", "hidden", "b", 1);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static enum ctl_exit wifi_join(struct ctl *ctl)
{
	_cleanup_secret_ struct secret password = { 0 };
	_cleanup_message_ sd_bus_message *m = NULL;
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *path = NULL;
	enum ctl_exit status = ctl_device_argument(ctl, 1, &path);
	const struct ctl_method join = { path, ESPAT_WIFI, "Join", true };
	int r;

	if (status == CTL_OK)
		status = get_password(ctl, &password);
	if (status == CTL_OK)
		status = secret_fd(&password, &fd);
	if (status != CTL_OK)
		return status;
	m = ctl_message(ctl, &join);
	if (!m)
		return CTL_FAILED;
	r = append_join(m, ctl, ctl->argv[0], fd);
	if (r == -EINVAL)
		return ctl_usage("the network's name must be UTF-8");
	return r < 0 ? ctl_result(r) : ctl_send(ctl, m, NULL);
}

static enum ctl_exit wifi_leave(struct ctl *ctl)
{
	return ctl_device_call(ctl, ESPAT_WIFI, "Leave");
}

enum ctl_exit cmd_wifi(struct ctl *ctl)
{
	static const struct ctl_subcommand table[] = { { "status", wifi_status },
						       { "scan", wifi_scan },
						       { "join", wifi_join },
						       { "leave", wifi_leave } };

	const struct ctl_subcommand *which;

	if (ctl->argc == 0)
		return wifi_status(ctl);
	which = ctl_subcommand(ctl, table, COUNT(table));
	return which ? which->run(ctl)
		     : ctl_usage("wifi: expected status, scan, join or leave, not %s",
				 ctl->argv[0]);
}
