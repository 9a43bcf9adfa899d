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

DEFINE_CLEANUP(struct table *, table_free)

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
/* Complaints of verifying one chip, with room to spare. */
#define PROBLEMS_MAX 4096

/* ---- lists ---- */

/* All devices, or the one that is named. */
static enum ctl_exit fetch_devices(struct ctl *ctl, struct snapshot *snap)
{
	enum ctl_exit status;

	if (ctl->argc > 1)
		return ctl_usage("too many arguments");
	status = fetch_objects(ctl, snap);
	if (status == CTL_OK && ctl->argc == 1 && !snapshot_device(snap, ctl->argv[0])) {
		ctl_error("no device has the name %s", ctl->argv[0]);
		return CTL_NO_OBJECT;
	}
	return status;
}

static bool is_meant(const struct ctl *ctl, const struct snap_device *d)
{
	return ctl->argc == 0 || strcmp(ctl->argv[0], d->name) == 0;
}

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

static enum ctl_exit certs_list(struct ctl *ctl)
{
	static const char *const titles[] = { "DEVICE",  "KEY",     "KIND",    ">LENGTH",
					      "SHA-256", "EXPIRES", "USED BY", "SUBJECT" };
	_cleanup_snapshot_ struct snapshot snap = { 0 };
	_cleanup_(table_freep) struct table *table = NULL;
	struct json j = JSON_TO(stdout);
	enum ctl_exit status = fetch_devices(ctl, &snap);

	for (size_t i = 0; status == CTL_OK && i < snap.n_devices; i++)
		if (is_meant(ctl, &snap.devices[i]))
			status = fetch_values(ctl, &snap.devices[i]);
	if (status != CTL_OK)
		return status;
	if (table_new(&table, titles, COUNT(titles)) < 0)
		return ctl_oom();
	if (ctl->json)
		json_array(&j, NULL);
	for (size_t i = 0; i < snap.n_devices; i++) {
		const struct snap_device *d = &snap.devices[i];

		for (size_t k = 0; k < d->n_values; k++) {
			if (ctl->json)
				json_snap_value(&j, d, &d->values[k]);
			else
				row_value(table, d, &d->values[k]);
		}
	}
	if (!ctl->json)
		return ctl_result(table_print(table, stdout, ctl->color));
	json_end(&j);
	return CTL_OK;
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

static enum ctl_exit certs_orphans(struct ctl *ctl)
{
	static const char *const titles[] = { "DEVICE", "KEY", ">GENERATION", "SHA-256" };
	_cleanup_snapshot_ struct snapshot snap = { 0 };
	_cleanup_(table_freep) struct table *table = NULL;
	struct json j = JSON_TO(stdout);
	enum ctl_exit status = fetch_devices(ctl, &snap);

	for (size_t i = 0; status == CTL_OK && i < snap.n_devices; i++)
		if (is_meant(ctl, &snap.devices[i]))
			status = fetch_orphans(ctl, &snap.devices[i]);
	if (status != CTL_OK)
		return status;
	if (table_new(&table, titles, COUNT(titles)) < 0)
		return ctl_oom();
	if (ctl->json)
		json_array(&j, NULL);
	for (size_t i = 0; i < snap.n_devices; i++) {
		const struct snap_device *d = &snap.devices[i];

		for (size_t k = 0; k < d->n_orphans; k++) {
			if (ctl->json)
				json_snap_orphan(&j, d, &d->orphans[k]);
			else
				row_orphan(table, d, &d->orphans[k]);
		}
	}
	if (!ctl->json)
		return ctl_result(table_print(table, stdout, ctl->color));
	json_end(&j);
	return CTL_OK;
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

static enum ctl_exit show_problems(const struct ctl *ctl, sd_bus_message *reply)
{
	struct json j = JSON_TO(stdout);
	const char *line;
	size_t n = 0;
	int r = sd_bus_message_enter_container(reply, 'a', "s");

	if (ctl->json)
		json_array(&j, NULL);
	while (r >= 0 && n < PROBLEMS_MAX && (r = sd_bus_message_read(reply, "s", &line)) > 0) {
		_cleanup_free_ char *clean = text_clean(line);

		if (ctl->json)
			json_string(&j, NULL, line);
		else if (clean)
			puts(clean);
		n++;
	}
	if (ctl->json)
		json_end(&j);
	else if (r >= 0 && n == 0)
		puts("All is there, and as it should be.");
	if (r < 0)
		return ctl_bad_answer("Verify", r);
	return n ? CTL_FAILED : CTL_OK;
}

static enum ctl_exit certs_verify(struct ctl *ctl)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	_cleanup_free_ char *path = NULL;
	enum ctl_exit status = ctl_device_argument(ctl, 0, &path);
	const struct ctl_method verify = { path, ESPAT_CERTIFICATES, "Verify", true };

	if (status == CTL_OK)
		status = ctl_call(ctl, &verify, &reply, NULL);
	if (status == CTL_OK)
		status = ctl_expect(reply, "as", "Verify");
	return status == CTL_OK ? show_problems(ctl, reply) : status;
}

enum ctl_exit cmd_certs(struct ctl *ctl)
{
	static const struct {
		const char *name;
		enum ctl_exit (*run)(struct ctl *ctl);
	} table[] = { { "list", certs_list },
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
		      { "remove-identity", certs_remove_identity } };

	if (ctl->argc == 0)
		return certs_list(ctl);
	for (size_t i = 0; i < COUNT(table); i++) {
		if (strcmp(ctl->argv[0], table[i].name) != 0)
			continue;
		ctl->argc--;
		ctl->argv++;
		return table[i].run(ctl);
	}
	return ctl_usage("certs: there is no `%s`", ctl->argv[0]);
}
