/* SPDX-License-Identifier: MIT */
/* The configuration file -> const struct config: the tables of its keys, and what spans several. */
#include "config/config.h"

#include <errno.h>
#include <libconfig.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "config/keys.h"
#include "espatd/espatd.h"
#include "config/source.h"
#include "config/syntax.h"
#include "util/cleanup.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* A `where` of 0 with @named false is for structs without a name of their own. */
#define TABLE(kind_, type_, keys_)                                                                 \
	.kind = (kind_), .size = sizeof(struct type_), .where = offsetof(struct type_, where),     \
	.keys = (keys_), .n_keys = ARRAY_LEN(keys_)
#define NAMED(type_) .named = true, .name = offsetof(struct type_, name)

#define NAME_KEY(type_)                                                                            \
	{                                                                                          \
		.name = "name", .type = KEY_STRING, .offset = offsetof(struct type_, name),        \
		.required = true, .check = syntax_name,                                            \
	}
#define SLOT_KEY(type_)                                                                            \
	{                                                                                          \
		.name = "slot", .type = KEY_INT, .offset = offsetof(struct type_, slot), .min = 0, \
		.max = CONFIG_SLOT_MAX, .preset = CONFIG_SLOT_AUTO,                                \
	}
#define SECONDS_KEY(type_, field_, min_, max_, preset_)                                            \
	{                                                                                          \
		.name = #field_, .type = KEY_UINT, .offset = offsetof(struct type_, field_),       \
		.min = (min_), .max = (max_), .preset = (preset_),                                 \
	}

/* ---- keys with a form of their own ---- */

static void parse_time(struct key_reader *reader, const struct key *key,
		       const config_setting_t *setting, void *field)
{
	const char *value = config_setting_get_string(setting);

	if (!value)
		return key_complain(reader, setting, "`time` is %s, expected %s",
				    key_type_of(setting), key->expected);
	if (strcmp(value, "host") != 0)
		return key_complain(reader, setting, "`time` is \"%.80s\", expected %s", value,
				    key->expected);
	*(enum config_time *)field = CONFIG_TIME_HOST;
}

/*
 * libconfig reads 0660 as the decimal number 660, so a plain integer's digits are taken as chmod(1)
 * takes them. Other bases would be read by their value and are refused.
 */
static void parse_mode(struct key_reader *reader, const struct key *key,
		       const config_setting_t *setting, void *field)
{
	char digits[24];
	const char *text = digits;
	unsigned int mode = 0;

	if (config_setting_type(setting) == CONFIG_TYPE_STRING)
		text = config_setting_get_string(setting);
	else if (config_setting_type(setting) == CONFIG_TYPE_INT &&
		 config_setting_get_format(setting) == CONFIG_FORMAT_DEFAULT)
		snprintf(digits, sizeof(digits), "%d", config_setting_get_int(setting));
	else if (config_setting_type(setting) == CONFIG_TYPE_INT)
		snprintf(digits, sizeof(digits), "0x%x", config_setting_get_int(setting));
	else
		return key_complain(reader, setting, "`mode` is %s, expected %s",
				    key_type_of(setting), key->expected);
	if (text[0] == '\0' || strspn(text, "01234567") != strlen(text) || strlen(text) > 4 ||
	    (mode = strtoul(text, NULL, 8)) > 0777)
		return key_complain(reader, setting, "`mode` is %.80s, expected %s",
				    text[0] ? text : "empty", key->expected);
	*(unsigned int *)field = mode;
}

static void preset_mode(void *field)
{
	*(unsigned int *)field = 0660;
}

/* Names of one kind, for complaints; in memory of the caller, NULL: out of memory. */
static char *list_names(const void *array, size_t n, size_t size, size_t offset, const char *kind)
{
	char *text = NULL;
	size_t len = 0, count = 0;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		const char *name = *(char *const *)((const char *)array + i * size + offset);

		if (name)
			fprintf(f, "%s%.80s", count++ ? ", " : "expected one of: ", name);
	}
	if (count == 0)
		fprintf(f, "expected one of `%s`, which is empty", kind);
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* Finds the entry that @setting names in @array; complains and returns NULL if there is none. */
static const void *find_named(struct key_reader *reader, const struct key *key,
			      const config_setting_t *setting, const void *array, size_t n,
			      size_t size, size_t offset, const char *kind)
{
	const char *value = config_setting_get_string(setting);
	_cleanup_free_ char *names = NULL;

	if (!value) {
		key_complain(reader, setting, "`%s` is %s, expected %s", key->name,
			     key_type_of(setting), key->expected);
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		const char *entry = (const char *)array + i * size;
		const char *name = *(char *const *)(entry + offset);

		if (name && strcmp(name, value) == 0)
			return entry;
	}
	names = list_names(array, n, size, offset, kind);
	if (!names)
		reader->error = -ENOMEM;
	else
		key_complain(reader, setting, "no %s has the name `%.80s`, %s", key->name, value,
			     names);
	return NULL;
}

#define FIND_NAMED(reader_, key_, setting_, type_, kind_)                                          \
	find_named(reader_, key_, setting_, (reader_)->config->kind_,                              \
		   (reader_)->config->n_##kind_, sizeof(struct type_),                             \
		   offsetof(struct type_, name), #kind_)

static void parse_device_name(struct key_reader *reader, const struct key *key,
			      const config_setting_t *setting, void *field)
{
	*(const struct config_device **)field = FIND_NAMED(reader, key, setting, config_device,
							   devices);
}

static void parse_authority_name(struct key_reader *reader, const struct key *key,
				 const config_setting_t *setting, void *field)
{
	*(const struct config_authority **)field = FIND_NAMED(reader, key, setting,
							      config_authority, authorities);
}

static void parse_identity_name(struct key_reader *reader, const struct key *key,
				const config_setting_t *setting, void *field)
{
	*(const struct config_identity **)field = FIND_NAMED(reader, key, setting, config_identity,
							     identities);
}

/* ---- rules over several keys ---- */

/* Two devices on one port would take each other's answers. */
static void finish_device(struct key_reader *reader, config_setting_t *group, void *object)
{
	const struct config *config = reader->config;
	const struct config_device *device = object;

	if (!device->port)
		return;
	for (const struct config_device *d = config->devices; d < device; d++)
		if (d->port && strcmp(d->port, device->port) == 0)
			return key_complain(reader, config_setting_get_member(group, "port"),
					    "port %.80s is already the one of device `%.80s`, "
					    "expected another port",
					    d->port, d->name ? d->name : "");
}

static void finish_tunnel(struct key_reader *reader, config_setting_t *group, void *object)
{
	struct config *config = reader->config;
	struct config_tunnel *tunnel = object;
	const config_setting_t *authority = config_setting_get_member(group, "authority");
	const char *name = tunnel->name ? tunnel->name : "";

	if (!config_setting_get_member(group, "device")) {
		if (config->n_devices == 1)
			tunnel->device = &config->devices[0];
		else if (config->n_devices > 1)
			key_complain(reader, group,
				     "no `device` in tunnel `%.80s`, expected the name of one of "
				     "the %zu devices",
				     name, config->n_devices);
	}
	if (tunnel->insecure && authority)
		key_complain(
			reader, authority,
			"tunnel `%.80s` has an `authority` and `insecure = true`, expected only "
			"one of them",
			name);
	else if (!tunnel->insecure && !authority)
		key_complain(reader, group,
			     "no `authority` in tunnel `%.80s`, expected the name of one (or "
			     "`insecure = true`, which lets any server pass)",
			     name);
	if (tunnel->server_name || !tunnel->host)
		return;
	if (strlen(tunnel->host) > CONFIG_SERVER_NAME_MAX && !syntax_host(tunnel->host)) {
		key_complain(reader, config_setting_get_member(group, "host"),
			     "`host` has %zu bytes and is the name to check, as there is no "
			     "`server_name`, expected a `server_name` of at most %d bytes",
			     strlen(tunnel->host), CONFIG_SERVER_NAME_MAX);
		return;
	}
	tunnel->server_name = strdup(tunnel->host);
	if (!tunnel->server_name)
		reader->error = -ENOMEM;
}

/* ---- the tables ---- */

static const struct key wifi_keys[] = {
	{
		.name = "ssid",
		.type = KEY_STRING,
		.offset = offsetof(struct config_wifi, ssid),
		.required = true,
		.check = syntax_ssid,
	},
	{
		.name = "password_file",
		.type = KEY_PATH,
		.offset = offsetof(struct config_wifi, password_file),
		.check = syntax_path,
	},
};

static const struct key_table wifi_table = {
	TABLE("wifi", config_wifi, wifi_keys),
};

static const struct key device_keys[] = {
	NAME_KEY(config_device),
	{
		.name = "port",
		.type = KEY_STRING,
		.offset = offsetof(struct config_device, port),
		.required = true,
		.check = syntax_port,
	},
	{
		.name = "baud",
		.type = KEY_UINT,
		.offset = offsetof(struct config_device, baud),
		.min = 80,
		.max = 5000000,
		.preset = 115200,
	},
	{
		.name = "wifi",
		.type = KEY_GROUP,
		.offset = offsetof(struct config_device, wifi),
		.extra = offsetof(struct config_device, has_wifi),
		.table = &wifi_table,
	},
	{
		/* CONFIG_TIME_HOST is 0: no preset */
		.name = "time",
		.type = KEY_OTHER,
		.offset = offsetof(struct config_device, time),
		.expected = "\"host\"",
		.parse = parse_time,
	},
};

static const struct key_table device_table = {
	TABLE("device", config_device, device_keys),
	NAMED(config_device),
	.finish = finish_device,
};

static const struct key authority_keys[] = {
	NAME_KEY(config_authority),
	{
		.name = "file",
		.type = KEY_PATH,
		.offset = offsetof(struct config_authority, file),
		.required = true,
		.check = syntax_path,
	},
	SLOT_KEY(config_authority),
};

static const struct key_table authority_table = {
	TABLE("authority", config_authority, authority_keys),
	NAMED(config_authority),
};

static const struct key identity_keys[] = {
	NAME_KEY(config_identity),
	{
		.name = "cert",
		.type = KEY_PATH,
		.offset = offsetof(struct config_identity, cert),
		.required = true,
		.check = syntax_path,
	},
	{
		.name = "key",
		.type = KEY_PATH,
		.offset = offsetof(struct config_identity, key),
		.required = true,
		.check = syntax_path,
	},
	SLOT_KEY(config_identity),
};

static const struct key_table identity_table = {
	TABLE("identity", config_identity, identity_keys),
	NAMED(config_identity),
};

static const struct key tunnel_keys[] = {
	NAME_KEY(config_tunnel),
	{
		.name = "device",
		.type = KEY_OTHER,
		.offset = offsetof(struct config_tunnel, device),
		.expected = "the name of a device as a string",
		.parse = parse_device_name,
	},
	{
		.name = "host",
		.type = KEY_STRING,
		.offset = offsetof(struct config_tunnel, host),
		.required = true,
		.check = syntax_host,
	},
	{
		.name = "port",
		.type = KEY_UINT,
		.offset = offsetof(struct config_tunnel, port),
		.required = true,
		.min = 1,
		.max = 65535,
	},
	{
		.name = "server_name",
		.type = KEY_STRING,
		.offset = offsetof(struct config_tunnel, server_name),
		.check = syntax_server_name,
	},
	{
		.name = "authority",
		.type = KEY_OTHER,
		.offset = offsetof(struct config_tunnel, authority),
		.expected = "the name of an authority as a string",
		.parse = parse_authority_name,
	},
	{
		.name = "identity",
		.type = KEY_OTHER,
		.offset = offsetof(struct config_tunnel, identity),
		.expected = "the name of an identity as a string",
		.parse = parse_identity_name,
	},
	{
		.name = "insecure",
		.type = KEY_BOOL,
		.offset = offsetof(struct config_tunnel, insecure),
		.preset = false,
	},
	SECONDS_KEY(config_tunnel, connect_timeout, 1, 60, 20),
	SECONDS_KEY(config_tunnel, wait_timeout, 1, 3600, 30),
	SECONDS_KEY(config_tunnel, half_close_timeout, 0, 86400, 60),
	{
		.name = "max_waiting",
		.type = KEY_UINT,
		.offset = offsetof(struct config_tunnel, max_waiting),
		.min = 0,
		.max = 1024,
		.preset = 32,
	},
	{
		.name = "mode",
		.type = KEY_OTHER,
		.offset = offsetof(struct config_tunnel, mode),
		.expected = "up to four octal digits, at most \"0777\"",
		.parse = parse_mode,
		.set_preset = preset_mode,
	},
};

static const struct key_table tunnel_table = {
	TABLE("tunnel", config_tunnel, tunnel_keys),
	NAMED(config_tunnel),
	.finish = finish_tunnel,
};

#define LIST_KEY(field_, table_, max_, required_)                                                  \
	{                                                                                          \
		.name = #field_, .type = KEY_LIST, .offset = offsetof(struct config, field_),      \
		.extra = offsetof(struct config, n_##field_), .max = (max_),                       \
		.required = (required_), .table = &(table_),                                       \
	}

/* Tunnels stand last, as they refer to the others. */
static const struct key root_keys[] = {
	{
		.name = "runtime_dir",
		.type = KEY_PATH,
		.offset = offsetof(struct config, runtime_dir),
		.preset_text = ESPATD_RUNTIME_DIR,
		.check = syntax_path,
	},
	{
		.name = "state_dir",
		.type = KEY_PATH,
		.offset = offsetof(struct config, state_dir),
		.preset_text = ESPATD_STATE_DIR,
		.check = syntax_path,
	},
	LIST_KEY(devices, device_table, CONFIG_DEVICES_MAX, true),
	LIST_KEY(authorities, authority_table, CONFIG_MATERIAL_MAX, false),
	LIST_KEY(identities, identity_table, CONFIG_MATERIAL_MAX, false),
	LIST_KEY(tunnels, tunnel_table, CONFIG_TUNNELS_MAX, false),
};

static const struct key_table root_table = {
	.size = sizeof(struct config),
	.keys = root_keys,
	.n_keys = ARRAY_LEN(root_keys),
};

/* ---- rules over the whole file ---- */

/* bind(2) wants the whole path in sun_path, with its NUL. */
static int check_sockets(const struct config *config, const char *runtime_dir,
			 struct problems *problems)
{
	const size_t max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
	int r = 0;

	for (size_t i = 0; i < config->n_tunnels; i++) {
		const struct config_tunnel *tunnel = &config->tunnels[i];
		size_t len;

		if (!tunnel->name)
			continue;
		len = strlen(runtime_dir) + 1 + strlen(tunnel->name) + strlen(ESPATD_SOCKET_SUFFIX);
		if (len <= max)
			continue;
		if (problems_add(problems, PROBLEM_ERROR, tunnel->where.file, tunnel->where.line,
				 "the socket's path %.200s/%.80s" ESPATD_SOCKET_SUFFIX
				 " has %zu bytes, expected at most "
				 "%zu: a shorter `runtime_dir` or name",
				 runtime_dir, tunnel->name, len, max) < 0)
			return -ENOMEM;
		r = -EINVAL;
	}
	return r;
}

struct slot_use {
	const void *owner[CONFIG_SLOT_MAX + 1]; /* of the pinned slots */
	const void *seen[CONFIG_TUNNELS_MAX];   /* different entries used */
	size_t n_seen;
};

/* Whether @entry is the first of its kind to claim what @use already holds; *other is the holder. */
static bool slot_claim(struct slot_use *use, const void *entry, int slot, const void **other)
{
	for (size_t i = 0; i < use->n_seen; i++)
		if (use->seen[i] == entry)
			return true;
	use->seen[use->n_seen++] = entry;
	if (slot == CONFIG_SLOT_AUTO)
		return true;
	if (use->owner[slot]) {
		*other = use->owner[slot];
		return false;
	}
	use->owner[slot] = entry;
	return true;
}

/* What one chip has to hold must fit into its slots, and a slot holds one thing only. */
static int check_slots(const struct config *config, const struct config_device *device,
		       struct problems *problems)
{
	const size_t slots = CONFIG_SLOT_MAX + 1;
	struct slot_use authorities = { 0 }, identities = { 0 };
	int r = 0;

	for (size_t i = 0; i < config->n_tunnels; i++) {
		const struct config_tunnel *tunnel = &config->tunnels[i];
		const struct config_authority *a = tunnel->authority;
		const struct config_identity *id = tunnel->identity;
		const void *other = NULL;

		if (tunnel->device != device)
			continue;
		if (a && !slot_claim(&authorities, a, a->slot, &other)) {
			const struct config_authority *o = other;

			r = problems_add(
				problems, PROBLEM_ERROR, a->where.file, a->where.line,
				"slot %d of device `%.80s` is already the one of authority "
				"`%.80s`, expected another slot for `%.80s`",
				a->slot, device->name, o->name, a->name);
		}
		if (r == 0 && id && !slot_claim(&identities, id, id->slot, &other)) {
			const struct config_identity *o = other;

			r = problems_add(problems, PROBLEM_ERROR, id->where.file, id->where.line,
					 "slot %d of device `%.80s` is already the one of identity "
					 "`%.80s`, expected another slot for `%.80s`",
					 id->slot, device->name, o->name, id->name);
		}
		if (r < 0)
			return r;
	}
	if (authorities.n_seen > slots)
		r = problems_add(
			problems, PROBLEM_ERROR, device->where.file, device->where.line,
			"the tunnels of device `%.80s` use %zu authorities, expected at most "
			"%zu: the chip has no more slots",
			device->name, authorities.n_seen, slots);
	if (r == 0 && identities.n_seen > slots)
		r = problems_add(
			problems, PROBLEM_ERROR, device->where.file, device->where.line,
			"the tunnels of device `%.80s` use %zu identities, expected at most "
			"%zu: the chip has no more slots",
			device->name, identities.n_seen, slots);
	return r;
}

static int check_whole(const struct config *config, struct problems *problems)
{
	int r;

	r = check_sockets(config, config->runtime_dir, problems);
	if (r == -ENOMEM)
		return r;
	for (size_t i = 0; i < config->n_devices; i++) {
		r = check_slots(config, &config->devices[i], problems);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- reading ---- */

static void config_destroyp(config_t *file)
{
	config_destroy(file);
}

/* libconfig's text for a mistake, made into "what, expected what". */
static int complain_syntax(const struct config *config, const config_t *file, const char *folder,
			   struct problems *problems)
{
	_cleanup_free_ char *included = NULL;
	const char *text = config_error_text(file);
	const char *expected = "";

	if (config_error_type(file) == CONFIG_ERR_FILE_IO)
		return problems_add(problems, PROBLEM_ERROR, config->path, 0,
				    "cannot be read to its end");
	if (config_error_file(file)) {
		included = key_absolute_path(folder, config_error_file(file));
		if (!included)
			return -ENOMEM;
	}
	if (text && strcmp(text, "syntax error") == 0)
		expected = ", expected `key = value;` (is a `;`, a quote or a bracket missing, "
			   "here or "
			   "in the line before?)";
	else if (text && strcmp(text, "duplicate setting name") == 0)
		expected = ", expected each key once in its group";
	return problems_add(problems, PROBLEM_ERROR, included ? included : config->path,
			    config_error_line(file), "%s%s", text ? text : "syntax error",
			    expected);
}

/* The folder of @path, absolute; NULL: out of memory. */
static char *folder_of(const char *path)
{
	_cleanup_free_ char *cwd = NULL, *full = NULL;
	char *slash;

	if (path[0] != '/') {
		cwd = getcwd(NULL, 0);
		if (!cwd)
			return errno == ENOMEM ? NULL : strdup("/");
	}
	full = key_absolute_path(cwd ? cwd : "/", path);
	if (!full)
		return NULL;
	slash = strrchr(full, '/');
	slash[slash == full ? 1 : 0] = '\0';
	return strdup(full);
}

static int read_config(struct config *config, struct problems *problems)
{
	_cleanup_(config_destroyp) config_t file;
	_cleanup_free_ char *folder = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	struct key_reader reader = { .config = config, .problems = problems };
	size_t errors = problems->errors;
	int r;

	config_init(&file);
	folder = folder_of(config->path);
	if (!folder)
		return -ENOMEM;
	r = source_open(&f, config->path, problems);
	if (r < 0 || !f)
		return r;
	r = source_check(f, config->path, folder, problems);
	/* libconfig would exit or hang on what was found here, or repeat it. */
	if (r < 0 || problems->errors > errors)
		return r;
	config_set_include_dir(&file, folder);
	if (!config_read(&file, f))
		return complain_syntax(config, &file, folder, problems);
	reader.folder = folder;
	key_read_group(&reader, &root_table, config_root_setting(&file), config);
	return reader.error;
}

DEFINE_CLEANUP(struct config *, config_free)

int config_load(struct config **ret, const char *path, struct problems *problems)
{
	_cleanup_(config_freep) struct config *config = NULL;
	size_t errors = problems->errors;
	int r;

	config = calloc(1, sizeof(*config));
	if (!config)
		return -ENOMEM;
	config->path = strdup(path);
	if (!config->path)
		return -ENOMEM;
	r = read_config(config, problems);
	if (r < 0)
		return r;
	/* Only of a whole config: what is missing or wrong would be complained about twice. */
	if (problems->errors == errors) {
		r = check_whole(config, problems);
		if (r < 0)
			return r;
	}
	if (problems->errors != errors)
		return -EINVAL;
	*ret = config;
	config = NULL;
	return 0;
}

/* @dir from the command line, absolute; NULL after a complaint or out of memory, see *r. */
static char *command_line_dir(const char *dir, const char *option, struct problems *problems,
			      int *r)
{
	_cleanup_free_ char *cwd = NULL;
	const char *expected = syntax_path(dir);
	char *path;

	if (expected) {
		*r = problems_add(problems, PROBLEM_ERROR, NULL, 0, "%s \"%.80s\", expected %s",
				  option, dir, expected);
		*r = *r < 0 ? *r : -EINVAL;
		return NULL;
	}
	if (dir[0] != '/') {
		cwd = getcwd(NULL, 0);
		if (!cwd) {
			*r = -errno;
			return NULL;
		}
	}
	path = key_absolute_path(cwd ? cwd : "/", dir);
	*r = path ? 0 : -ENOMEM;
	return path;
}

int config_set_runtime_dir(struct config *config, const char *dir, struct problems *problems)
{
	_cleanup_free_ char *path = NULL;
	int r = 0;

	path = command_line_dir(dir, "--runtime-dir", problems, &r);
	if (!path)
		return r;
	r = check_sockets(config, path, problems);
	if (r < 0)
		return r;
	free(config->runtime_dir);
	config->runtime_dir = path;
	path = NULL;
	return 0;
}

int config_set_state_dir(struct config *config, const char *dir, struct problems *problems)
{
	char *path;
	int r = 0;

	path = command_line_dir(dir, "--state-dir", problems, &r);
	if (!path)
		return r;
	free(config->state_dir);
	config->state_dir = path;
	return 0;
}

struct config *config_free(struct config *config)
{
	if (!config)
		return NULL;
	for (size_t i = 0; i < config->n_tunnels; i++) {
		free(config->tunnels[i].name);
		free(config->tunnels[i].host);
		free(config->tunnels[i].server_name);
	}
	for (size_t i = 0; i < config->n_identities; i++) {
		free(config->identities[i].name);
		free(config->identities[i].cert);
		free(config->identities[i].key);
	}
	for (size_t i = 0; i < config->n_authorities; i++) {
		free(config->authorities[i].name);
		free(config->authorities[i].file);
	}
	for (size_t i = 0; i < config->n_devices; i++) {
		free(config->devices[i].name);
		free(config->devices[i].port);
		free(config->devices[i].wifi.ssid);
		free(config->devices[i].wifi.password_file);
	}
	for (size_t i = 0; i < config->n_files; i++)
		free(config->files[i]);
	free(config->tunnels);
	free(config->identities);
	free(config->authorities);
	free(config->devices);
	free(config->files);
	free(config->runtime_dir);
	free(config->state_dir);
	free(config->path);
	free(config);
	return NULL;
}
