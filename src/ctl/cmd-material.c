/* SPDX-License-Identifier: MIT */
/* certs, by name: authorities and identities, which all chips that need them get. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/bus.h"
#include "ctl/certs.h"
#include "ctl/fetch.h"
#include "ctl/json.h"
#include "ctl/secret.h"
#include "ctl/show.h"

/* ---- lists ---- */

static enum ctl_exit list(struct ctl *ctl, bool authorities)
{
	_cleanup_snapshot_ struct snapshot snap = { 0 };
	struct json j = JSON_TO(stdout);
	const struct snap_material *m;
	enum ctl_exit status;
	size_t n;

	if (ctl->argc > 0)
		return ctl_usage("too many arguments");
	status = fetch_material(ctl, &snap);
	if (status != CTL_OK)
		return status;
	m = authorities ? snap.authorities : snap.identities;
	n = authorities ? snap.n_authorities : snap.n_identities;
	if (!ctl->json)
		return show_material(ctl, authorities ? "AUTHORITY" : "IDENTITY", m, n);
	json_snap_materials(&j, NULL, m, n);
	return CTL_OK;
}

enum ctl_exit certs_authorities(struct ctl *ctl)
{
	return list(ctl, true);
}

enum ctl_exit certs_identities(struct ctl *ctl)
{
	return list(ctl, false);
}

/* ---- changes, and what became of them on each chip ---- */

static void put_result(const struct ctl *ctl, struct json *j, struct table *table,
		       const char *device, bool ok, const char *text)
{
	if (ctl->json) {
		json_object(j, NULL);
		json_string(j, "device", device);
		json_bool(j, "ok", ok);
		json_string(j, "text", text);
		json_end(j);
		return;
	}
	table_cell(table, TABLE_BOLD, "%s", device);
	table_cell(table, ok ? TABLE_GOOD : TABLE_BAD, "%s", ok ? "done" : "not done");
	table_cell(table, TABLE_PLAIN, "%s", text);
}

/* The type of such an answer. */
#define RESULTS "a{s(bs)}"

static enum ctl_exit show_results(const struct ctl *ctl, sd_bus_message *reply, const char *what)
{
	static const char *const titles[] = { "DEVICE", "RESULT", "" };
	_cleanup_table_ struct table *table = NULL;
	enum ctl_exit status = CTL_OK;
	struct json j = JSON_TO(stdout);
	const char *device, *text;
	bool all = true;
	int r, ok;

	if (table_new(&table, titles, COUNT(titles)) < 0)
		return ctl_oom();
	if (ctl->json)
		json_array(&j, NULL);
	r = sd_bus_message_enter_container(reply, 'a', "{s(bs)}");
	while (r >= 0 && (r = sd_bus_message_read(reply, "{s(bs)}", &device, &ok, &text)) > 0) {
		put_result(ctl, &j, table, device, ok, text);
		all = all && ok;
	}
	if (ctl->json)
		json_end(&j);
	else if (r >= 0 && table_empty(table))
		puts("Done; no chip needs it now.");
	else if (r >= 0)
		status = ctl_result(table_print(table, stdout, ctl->color));
	if (r < 0)
		return ctl_bad_answer(what, r);
	return status == CTL_OK && !all ? CTL_FAILED : status;
}

/* A change of which the name is all that is said. */
static enum ctl_exit by_name(struct ctl *ctl, const char *member)
{
	const struct ctl_method method = { ESPAT_ROOT, ESPAT_MANAGER, member, true };
	_cleanup_message_ sd_bus_message *reply = NULL;
	enum ctl_exit status;

	if (ctl->argc != 1)
		return ctl_usage("expected one name");
	status = ctl_ask(ctl, &method, RESULTS, &reply, "s", ctl->argv[0]);
	return status == CTL_OK ? show_results(ctl, reply, member) : status;
}

enum ctl_exit certs_rollback(struct ctl *ctl)
{
	return by_name(ctl, "Rollback");
}

enum ctl_exit certs_remove_authority(struct ctl *ctl)
{
	return by_name(ctl, "RemoveAuthority");
}

enum ctl_exit certs_remove_identity(struct ctl *ctl)
{
	return by_name(ctl, "RemoveIdentity");
}

/* Certificates as a string of D-Bus; the service looks closer. */
static enum ctl_exit read_certs(struct secret *s, const char *path)
{
	enum ctl_exit status = secret_read(s, path);

	if (status != CTL_OK)
		return status;
	if (memchr(s->data, '\0', s->len)) {
		ctl_error("%s is not PEM", path);
		return CTL_FAILED;
	}
	/* It would be readable for everybody who watches the bus. */
	if (strstr(s->data, "PRIVATE KEY-----")) {
		ctl_error("%s has a private key in it: a file of certificates must not", path);
		return CTL_FAILED;
	}
	return CTL_OK;
}

/* What the service calls it that it got without a name, and what the caller does; NULL at the end. */
struct called {
	const char *there, *here;
};

static const char *file_name(const char *path)
{
	return strcmp(path, "-") == 0 ? "standard input" : path;
}

/* Where in @line it is called so as the file of a command that is advised. */
static const char *find_in(const char *line, const char *there)
{
	const char *in = line;

	while ((in = strstr(in, " -in ")) && strncmp(in + 5, there, strlen(there)) != 0)
		in += 5;
	return in ? in + 5 : NULL;
}

/* A line of the service's complaints, which begins with what it is about. */
static void put_complaint(FILE *f, const struct called *names, const char *line)
{
	const char *in;
	size_t n = 0;

	for (; names->there; names++) {
		n = strlen(names->there);
		if (strncmp(line, names->there, n) == 0 && line[n] == ':')
			break;
	}
	if (!names->there) {
		fprintf(f, "%s\n", line);
		return;
	}
	line += n;
	in = find_in(line, names->there);
	fputs(names->here, f);
	if (in) {
		fprintf(f, "%.*s%s", (int)(in - line), line, names->here);
		line = in + n;
	}
	fprintf(f, "%s\n", line);
}

/* The same error with the names of files in it. */
static enum ctl_exit refused(const struct ctl *ctl, const sd_bus_error *error, int r,
			     const struct called *names)
{
	_cleanup_bus_error_ sd_bus_error told = SD_BUS_ERROR_NULL;
	_cleanup_free_ char *text = NULL, *lines = NULL;
	char *line, *rest;
	size_t size;
	FILE *f;

	if (!sd_bus_error_is_set(error) || !error->message)
		return ctl_call_failed(ctl, error, r);
	lines = strdup(error->message);
	f = lines ? open_memstream(&text, &size) : NULL;
	if (!f)
		return ctl_oom();
	for (rest = lines; (line = strsep(&rest, "\n"));)
		put_complaint(f, names, line);
	if (fclose(f) != 0)
		return ctl_oom();
	sd_bus_error_set(&told, error->name, text);
	return ctl_call_failed(ctl, &told, r);
}

static enum ctl_exit set_done(const struct ctl *ctl, const char *member, const sd_bus_error *error,
			      int r, sd_bus_message *reply, const struct called *names)
{
	enum ctl_exit status;

	if (r < 0)
		return refused(ctl, error, r, names);
	status = ctl_expect(reply, RESULTS, member);
	return status == CTL_OK ? show_results(ctl, reply, member) : status;
}

enum ctl_exit certs_set_authority(struct ctl *ctl)
{
	const struct ctl_method set = { ESPAT_ROOT, ESPAT_MANAGER, "SetAuthority", true };
	_cleanup_message_ sd_bus_message *reply = NULL;
	_cleanup_bus_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_secret_ struct secret pem = { 0 };
	enum ctl_exit status;
	int r;

	if (ctl->argc != 2)
		return ctl_usage("certs set-authority: expected NAME FILE");
	status = read_certs(&pem, ctl->argv[1]);
	if (status == CTL_OK)
		status = ctl_connect(ctl);
	if (status != CTL_OK)
		return status;
	r = ctl_try(ctl, &set, &error, &reply, "ss", ctl->argv[0], pem.data);
	return set_done(ctl, set.member, &error, r, reply,
			(struct called[]){ { "the argument", file_name(ctl->argv[1]) }, { 0 } });
}

enum ctl_exit certs_set_identity(struct ctl *ctl)
{
	const struct ctl_method set = { ESPAT_ROOT, ESPAT_MANAGER, "SetIdentity", true };
	_cleanup_message_ sd_bus_message *reply = NULL;
	_cleanup_secret_ struct secret cert = { 0 }, key = { 0 };
	_cleanup_bus_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
	_cleanup_close_ int fd = -1;
	enum ctl_exit status;
	int r;

	if (ctl->argc != 3)
		return ctl_usage("certs set-identity: expected NAME CERT KEY");
	if (strcmp(ctl->argv[1], "-") == 0 && strcmp(ctl->argv[2], "-") == 0)
		return ctl_usage("only one of CERT and KEY can come from standard input");
	status = read_certs(&cert, ctl->argv[1]);
	if (status == CTL_OK)
		status = secret_read(&key, ctl->argv[2]);
	if (status == CTL_OK)
		status = secret_fd(&key, &fd);
	if (status == CTL_OK)
		status = ctl_connect(ctl);
	if (status != CTL_OK)
		return status;
	r = ctl_try(ctl, &set, &error, &reply, "ssh", ctl->argv[0], cert.data, fd);
	return set_done(ctl, set.member, &error, r, reply,
			(struct called[]){ { "the certificate", file_name(ctl->argv[1]) },
					   { "the key", file_name(ctl->argv[2]) },
					   /* both, as that they do not belong together */
					   { "the argument", file_name(ctl->argv[1]) },
					   { 0 } });
}
