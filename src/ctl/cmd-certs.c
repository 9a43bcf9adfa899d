/* SPDX-License-Identifier: MIT */
/* certs: the values on the chips. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl/bus.h"
#include "ctl/certs.h"
#include "ctl/fetch.h"
#include "ctl/json.h"
#include "ctl/secret.h"
#include "ctl/show.h"
#include "ctl/text.h"

/* ---- lists ---- */

static void row_value(struct table *table, const struct snap_device *d, const struct snap_value *v)
{
	char key[64], date[32], used_by[256];

	snap_key(key, sizeof(key), v->namespace, v->slot);
	text_date(date, sizeof(date), v->not_after);
	join_strings(used_by, sizeof(used_by), v->used_by);
	table_cell(table, TABLE_BOLD, "%s", d->name);
	table_cell(table, TABLE_PLAIN, "%s", key);
	table_cell(table, TABLE_PLAIN, "%s", v->kind);
	if (v->length)
		table_cell(table, TABLE_PLAIN, "%u", v->length);
	else
		table_cell(table, TABLE_PLAIN, "%s", "");
	table_cell(table, TABLE_PLAIN, "%.16s", v->sha256);
	table_cell(table, expiry_color(v->not_after, time(NULL)), "%s", date);
	table_cell(table, *used_by ? TABLE_PLAIN : TABLE_DIM, "%s", *used_by ? used_by : "nobody");
	table_cell(table, TABLE_PLAIN, "%s", v->subject);
}

static void rows_values(struct table *table, const struct snap_device *d)
{
	for (size_t i = 0; i < d->n_values; i++)
		row_value(table, d, &d->values[i]);
}

static void json_values(struct json *j, const struct snap_device *d)
{
	for (size_t i = 0; i < d->n_values; i++)
		json_snap_value(j, d, &d->values[i]);
}

static void row_orphan(struct table *table, const struct snap_device *d,
		       const struct snap_orphan *o)
{
	char key[64];

	snap_key(key, sizeof(key), o->namespace, o->slot);
	table_cell(table, TABLE_BOLD, "%s", d->name);
	table_cell(table, TABLE_PLAIN, "%s", key);
	table_cell(table, TABLE_PLAIN, "%u", o->generation);
	table_cell(table, TABLE_PLAIN, "%s", o->sha256);
}

static void rows_orphans(struct table *table, const struct snap_device *d)
{
	for (size_t i = 0; i < d->n_orphans; i++)
		row_orphan(table, d, &d->orphans[i]);
}

static void json_orphans(struct json *j, const struct snap_device *d)
{
	for (size_t i = 0; i < d->n_orphans; i++)
		json_snap_orphan(j, d, &d->orphans[i]);
}

/* How a list is asked for, and how that of one chip is shown. */
struct list {
	const char *const *titles;
	size_t n_titles;
	enum ctl_exit (*fetch)(struct ctl *ctl, struct snap_device *d);
	void (*rows)(struct table *table, const struct snap_device *d);
	void (*json)(struct json *j, const struct snap_device *d);
};

static enum ctl_exit show_list(struct ctl *ctl, const struct list *list)
{
	_cleanup_snapshot_ struct snapshot snap = { 0 };
	_cleanup_table_ struct table *table = NULL;
	const struct snap_device *only;
	struct json j = JSON_TO(stdout);
	enum ctl_exit status = fetch_devices(ctl, &snap, &only);

	for (size_t i = 0; status == CTL_OK && i < snap.n_devices; i++)
		if (!only || only == &snap.devices[i])
			status = list->fetch(ctl, &snap.devices[i]);
	if (status != CTL_OK)
		return status;
	if (table_new(&table, list->titles, list->n_titles) < 0)
		return ctl_oom();
	if (ctl->json)
		json_array(&j, NULL);
	for (size_t i = 0; i < snap.n_devices; i++) {
		if (ctl->json)
			list->json(&j, &snap.devices[i]);
		else
			list->rows(table, &snap.devices[i]);
	}
	if (!ctl->json)
		return ctl_result(table_print(table, stdout, ctl->color));
	json_end(&j);
	return CTL_OK;
}

static enum ctl_exit certs_list(struct ctl *ctl)
{
	static const char *const titles[] = { "DEVICE",  "KEY",     "KIND",    ">LENGTH",
					      "SHA-256", "EXPIRES", "USED BY", "SUBJECT" };
	static const struct list list = { titles, COUNT(titles), fetch_values, rows_values,
					  json_values };

	return show_list(ctl, &list);
}

static enum ctl_exit certs_orphans(struct ctl *ctl)
{
	static const char *const titles[] = { "DEVICE", "KEY", ">GENERATION", "SHA-256" };
	static const struct list list = { titles, COUNT(titles), fetch_orphans, rows_orphans,
					  json_orphans };

	return show_list(ctl, &list);
}

/* ---- one value ---- */

/* "0".."9", or the key without a suffix. */
static enum ctl_exit parse_slot(const char *text, uint32_t *ret)
{
	if (strcmp(text, "none") == 0) {
		*ret = SNAP_SLOT_NONE;
		return CTL_OK;
	}
	if (text[0] < '0' || text[0] > '9' || text[1])
		return ctl_usage("expected a slot, 0 to 9 or none, not %s", text);
	*ret = (uint32_t)(text[0] - '0');
	return CTL_OK;
}

/* By a descriptor whatever it is: so a key is never in an argument, and never in a message. */
static enum ctl_exit certs_load(struct ctl *ctl)
{
	_cleanup_secret_ struct secret value = { 0 };
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	struct ctl_method load = { NULL, ESPAT_CERTIFICATES, "Load", true };
	enum ctl_exit status;
	uint32_t slot = 0;

	if (ctl->argc != 3 && ctl->argc != 4)
		return ctl_usage("certs load: expected [DEVICE] NAMESPACE SLOT FILE");
	status = parse_slot(ctl->argv[ctl->argc - 2], &slot);
	if (status == CTL_OK)
		status = ctl_device_argument(ctl, 3, &path);
	if (status == CTL_OK)
		status = secret_read(&value, ctl->argv[2]);
	if (status == CTL_OK)
		status = secret_fd(&value, &fd);
	load.path = path;
	return status == CTL_OK ? ctl_call(ctl, &load, NULL, "suh", ctl->argv[0], slot, fd)
				: status;
}

static enum ctl_exit certs_erase(struct ctl *ctl)
{
	_cleanup_free_ char *path = NULL;
	struct ctl_method erase = { NULL, ESPAT_CERTIFICATES, "Erase", true };
	enum ctl_exit status;
	uint32_t slot = 0;

	if (ctl->argc != 2 && ctl->argc != 3)
		return ctl_usage("certs erase: expected [DEVICE] NAMESPACE SLOT");
	status = parse_slot(ctl->argv[ctl->argc - 1], &slot);
	if (status == CTL_OK)
		status = ctl_device_argument(ctl, 2, &path);
	erase.path = path;
	return status == CTL_OK ? ctl_call(ctl, &erase, NULL, "su", ctl->argv[0], slot) : status;
}

static enum ctl_exit certs_verify(struct ctl *ctl)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	_cleanup_free_ char *path = NULL;
	enum ctl_exit status = ctl_device_argument(ctl, 0, &path);
	const struct ctl_method verify = { path, ESPAT_CERTIFICATES, "Verify", true };
	size_t n = 0;

	if (status == CTL_OK)
		status = ctl_ask(ctl, &verify, "as", &reply, NULL);
	if (status == CTL_OK)
		status = show_lines(ctl, reply, "Verify", &n);
	if (status == CTL_OK && n > 0)
		return CTL_FAILED;
	if (status == CTL_OK && !ctl->json)
		puts("All is there, and as it should be.");
	return status;
}

enum ctl_exit cmd_certs(struct ctl *ctl)
{
	static const struct ctl_subcommand table[] = {
		{ "list", certs_list },
		{ "load", certs_load },
		{ "erase", certs_erase },
		{ "verify", certs_verify },
		{ "orphans", certs_orphans },
		{ "rollback", certs_rollback },
		{ "authorities", certs_authorities },
		{ "identities", certs_identities },
		{ "set-authority", certs_set_authority },
		{ "set-identity", certs_set_identity },
		{ "remove-authority", certs_remove_authority },
		{ "remove-identity", certs_remove_identity }
	};

	const struct ctl_subcommand *which;

	if (ctl->argc == 0)
		return certs_list(ctl);
	which = ctl_subcommand(ctl, table, COUNT(table));
	return which ? which->run(ctl) : ctl_usage("certs: there is no `%s`", ctl->argv[0]);
}
