/* SPDX-License-Identifier: MIT */
#include "ctl/show.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl/bus.h"
#include "ctl/doctor.h"
#include "ctl/json.h"
#include "ctl/text.h"
#include "util/cleanup.h"

/* As many lines as the service has for one answer, with room to spare. */
#define LINES_MAX 4096

enum table_color device_color(const struct snap_device *d)
{
	static const char *const bad[] = { "failed", "absent", "unknown-chip" };

	if (strcmp(d->state, "ready") == 0 || strcmp(d->state, "provisioned") == 0)
		return TABLE_GOOD;
	for (size_t i = 0; i < COUNT(bad); i++)
		if (strcmp(d->state, bad[i]) == 0)
			return TABLE_BAD;
	return TABLE_WARNING;
}

enum table_color tunnel_color(const struct snap_tunnel *t)
{
	if (strcmp(t->state, "listening") == 0)
		return TABLE_GOOD;
	return strcmp(t->state, "failed") == 0 ? TABLE_BAD : TABLE_WARNING;
}

enum table_color expiry_color(int64_t not_after, int64_t now)
{
	if (not_after == 0)
		return TABLE_PLAIN;
	if (not_after <= now)
		return TABLE_BAD;
	return not_after - now < DOCTOR_EXPIRY_SOON ? TABLE_WARNING : TABLE_PLAIN;
}

void join_strings(char *buf, size_t size, char *const *strings)
{
	size_t used = 0;

	buf[0] = '\0';
	for (size_t i = 0; strings && strings[i] && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s", i ? ", " : "",
					 strings[i]);
}

void show_title(const struct ctl *ctl, const char *title)
{
	printf("%s%s%s\n", table_color_begin(TABLE_BOLD, ctl->color), title,
	       table_color_end(TABLE_BOLD, ctl->color));
}

void show_pair(const struct ctl *ctl, const char *key, const char *format, ...)
{
	_cleanup_free_ char *raw = NULL, *clean = NULL;
	va_list ap;
	int r;

	va_start(ap, format);
	r = vasprintf(&raw, format, ap);
	va_end(ap);
	if (r < 0) {
		raw = NULL;
		return;
	}
	clean = text_clean(*raw ? raw : "-");
	if (clean)
		printf("%s%*s%s  %s\n", table_color_begin(TABLE_DIM, ctl->color), 16, key,
		       table_color_end(TABLE_DIM, ctl->color), clean);
}

enum ctl_exit show_lines(const struct ctl *ctl, sd_bus_message *reply, const char *what, size_t *n)
{
	struct json j = JSON_TO(stdout);
	const char *line;
	int r = sd_bus_message_enter_container(reply, 'a', "s");

	*n = 0;
	if (ctl->json)
		json_array(&j, NULL);
	while (r >= 0 && *n < LINES_MAX && (r = sd_bus_message_read(reply, "s", &line)) > 0) {
		_cleanup_free_ char *clean = text_clean(line);

		if (ctl->json)
			json_string(&j, NULL, line);
		else if (clean)
			puts(clean);
		++*n;
	}
	if (ctl->json)
		json_end(&j);
	return r < 0 ? ctl_bad_answer(what, r) : CTL_OK;
}

static void cell_rssi(struct table *table, const struct snap_device *d)
{
	if (d->rssi == 0)
		table_cell(table, TABLE_PLAIN, "%s", "");
	else
		table_cell(table, d->rssi < DOCTOR_RSSI_WEAK ? TABLE_WARNING : TABLE_PLAIN,
			   "%d dBm", d->rssi);
}

static void cell_heap(struct table *table, const struct snap_device *d)
{
	char text[32] = "";

	if (d->free_heap)
		text_bytes(text, sizeof(text), d->free_heap);
	table_cell(table,
		   d->free_heap && d->free_heap < DOCTOR_HEAP_LOW ? TABLE_WARNING : TABLE_PLAIN,
		   "%s", text);
}

static void row_device(struct table *table, const struct snap_device *d)
{
	bool unset = strcmp(d->clock, "unset") == 0;

	table_cell(table, TABLE_BOLD, "%s", d->name);
	table_cell(table, device_color(d), "%s", d->state);
	table_cell(table, TABLE_PLAIN, "%s", d->port);
	table_cell(table, TABLE_PLAIN, "%s", d->firmware);
	table_cell(table, TABLE_PLAIN, "%s", d->ssid);
	cell_rssi(table, d);
	table_cell(table, TABLE_PLAIN, "%s", d->address);
	table_cell(table, TABLE_PLAIN, "%u/%u", d->links_in_use, d->links);
	cell_heap(table, d);
	table_cell(table, unset ? TABLE_WARNING : TABLE_PLAIN, "%s", d->clock);
	table_cell(table, TABLE_PLAIN, "%" PRIu64, d->resets);
	if (*d->last_error)
		table_note(table, TABLE_DIM, "%s", d->last_error);
}

enum ctl_exit show_devices(const struct ctl *ctl, const struct snapshot *snap)
{
	static const char *const titles[] = { "DEVICE", "STATE",   "PORT",    "FIRMWARE",
					      "WI-FI",  ">SIGNAL", "ADDRESS", ">LINKS",
					      ">HEAP",  "CLOCK",   ">RESETS" };
	_cleanup_table_ struct table *table = NULL;

	if (snap->n_devices == 0) {
		puts("No devices.");
		return CTL_OK;
	}
	if (table_new(&table, titles, COUNT(titles)) < 0)
		return ctl_oom();
	for (size_t i = 0; i < snap->n_devices; i++)
		row_device(table, &snap->devices[i]);
	return ctl_result(table_print(table, stdout, ctl->color));
}

static void row_tunnel(struct table *table, const struct snap_tunnel *t)
{
	char sent[32], received[32];

	text_bytes(sent, sizeof(sent), t->bytes_sent);
	text_bytes(received, sizeof(received), t->bytes_received);
	table_cell(table, TABLE_BOLD, "%s", t->name);
	table_cell(table, tunnel_color(t), "%s", t->state);
	table_cell(table, TABLE_PLAIN, "%s", t->device);
	table_cell(table, TABLE_PLAIN, strchr(t->host, ':') ? "[%s]:%u" : "%s:%u", t->host,
		   t->port);
	table_cell(table, t->verified ? TABLE_PLAIN : TABLE_WARNING, "%s",
		   t->verified ? "yes" : "no");
	table_cell(table, TABLE_PLAIN, "%u", t->clients);
	table_cell(table, TABLE_PLAIN, "%u", t->waiting);
	table_cell(table, TABLE_PLAIN, "%" PRIu64, t->connects);
	table_cell(table, t->failures ? TABLE_WARNING : TABLE_PLAIN, "%" PRIu64, t->failures);
	table_cell(table, TABLE_PLAIN, "%s", sent);
	table_cell(table, TABLE_PLAIN, "%s", received);
	table_cell(table, TABLE_PLAIN, "%s", t->socket_path);
	if (*t->last_error)
		table_note(table, TABLE_DIM, *t->last_error_reason ? "%s [%s]" : "%s",
			   t->last_error, t->last_error_reason);
}

enum ctl_exit show_tunnels(const struct ctl *ctl, const struct snapshot *snap)
{
	static const char *const titles[] = { "TUNNEL",    "STATE",    "DEVICE",    "SERVER",
					      "VERIFIED",  ">CLIENTS", ">WAITING",  ">CONNECTS",
					      ">FAILURES", ">SENT",    ">RECEIVED", "SOCKET" };
	_cleanup_table_ struct table *table = NULL;

	if (snap->n_tunnels == 0) {
		puts("No tunnels.");
		return CTL_OK;
	}
	if (table_new(&table, titles, COUNT(titles)) < 0)
		return ctl_oom();
	for (size_t i = 0; i < snap->n_tunnels; i++)
		row_tunnel(table, &snap->tunnels[i]);
	return ctl_result(table_print(table, stdout, ctl->color));
}

static void row_material(struct table *table, const struct snap_material *m, int64_t now)
{
	char date[32], tunnels[256], devices[256];

	text_date(date, sizeof(date), m->not_after);
	join_strings(tunnels, sizeof(tunnels), m->tunnels);
	join_strings(devices, sizeof(devices), m->devices);
	table_cell(table, TABLE_BOLD, "%s", m->name);
	if (m->generation)
		table_cell(table, TABLE_PLAIN, "%" PRIu64 "%s", m->generation,
			   m->previous ? " (+1 kept)" : "");
	else
		table_cell(table, TABLE_BAD, "none");
	table_cell(table, TABLE_PLAIN, "%s", m->source);
	table_cell(table, expiry_color(m->not_after, now), "%s", date);
	table_cell(table, TABLE_PLAIN, "%.16s", m->sha256);
	table_cell(table, TABLE_PLAIN, "%s", devices);
	table_cell(table, TABLE_PLAIN, "%s", tunnels);
	table_cell(table, TABLE_PLAIN, "%s", m->subject);
}

enum ctl_exit show_material(const struct ctl *ctl, const char *title, const struct snap_material *m,
			    size_t n)
{
	const char *titles[] = { title,     "GENERATION", "SOURCE",  "EXPIRES",
				 "SHA-256", "ON",         "TUNNELS", "SUBJECT" };
	_cleanup_table_ struct table *table = NULL;
	int64_t now = time(NULL);

	if (table_new(&table, titles, COUNT(titles)) < 0)
		return ctl_oom();
	for (size_t i = 0; i < n; i++)
		row_material(table, &m[i], now);
	return ctl_result(table_print(table, stdout, ctl->color));
}
