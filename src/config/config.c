/* SPDX-License-Identifier: MIT */
/* The configuration file -> const struct config: reading it, and the rules over all of it. */
#include "config/config.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "config/keys.h"
#include "config/parts.h"
#include "config/syntax.h"
#include "config/tables.h"
#include "espatd/espatd.h"
#include "util/cleanup.h"

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

const char *config_credential_name(const char *path)
{
	size_t n = strlen(CONFIG_CREDENTIAL);

	return strncmp(path, CONFIG_CREDENTIAL, n) == 0 ? path + n : NULL;
}

bool config_tunnel_uses(const struct config_tunnel *tunnel, const struct config_device *device)
{
	return !tunnel->device || tunnel->device == device;
}

const char *config_tunnel_device(const struct config_tunnel *tunnel)
{
	return tunnel->device ? tunnel->device->name : CONFIG_DEVICE_ANY;
}

bool config_needs_authority(const struct config *config, const struct config_device *device,
			    const struct config_authority *authority)
{
	for (size_t i = 0; i < config->n_tunnels; i++)
		if (config_tunnel_uses(&config->tunnels[i], device) &&
		    config->tunnels[i].authority == authority)
			return true;
	return false;
}

bool config_needs_identity(const struct config *config, const struct config_device *device,
			   const struct config_identity *identity)
{
	for (size_t i = 0; i < config->n_tunnels; i++)
		if (config_tunnel_uses(&config->tunnels[i], device) &&
		    config->tunnels[i].identity == identity)
			return true;
	return false;
}

bool config_wants_ipv6(enum config_family family, const char *host)
{
	/* No host name has a colon. */
	return family == CONFIG_FAMILY_IPV6 || (family == CONFIG_FAMILY_AUTO && strchr(host, ':'));
}

bool config_needs_nvs(const struct config_device *device, const struct config_nvs *nvs)
{
	return !nvs->device || nvs->device == device;
}

/* What stands in a chip's slots of one kind. */
struct slot_use {
	const char *what;                     /* "authority" or "identity" */
	char owner[CONFIG_SLOT_MAX + 1][128]; /* in words; "": free for whoever comes */
	size_t used;
};

/* An authority or identity that @device needs; @slot may be CONFIG_SLOT_AUTO. */
static int slot_claim(struct slot_use *use, const struct config_device *device, const char *name,
		      int slot, const struct config_where *where, struct problems *problems)
{
	use->used++;
	if (slot == CONFIG_SLOT_AUTO)
		return 0;
	if (use->owner[slot][0])
		return problems_add(problems, PROBLEM_ERROR, where->file, where->line,
				    "slot %d of device `%.80s` is already the one of %s, expected "
				    "another slot for `%.80s`",
				    slot, device->name, use->owner[slot], name);
	snprintf(use->owner[slot], sizeof(use->owner[slot]), "%s `%.80s`", use->what, name);
	return 0;
}

/* An NVS entry in a namespace whose slots authorities and identities share. */
static void slot_reserve(struct slot_use *use, const struct config_nvs *nvs)
{
	if (nvs->slot == CONFIG_SLOT_NONE || use->owner[nvs->slot][0])
		return;
	snprintf(use->owner[nvs->slot], sizeof(use->owner[0]), "an nvs entry for %.15s.%d",
		 nvs->namespace, nvs->slot);
	use->used++;
}

static int check_slot_count(const struct slot_use *use, const struct config_device *device,
			    const char *plural, struct problems *problems)
{
	const size_t slots = CONFIG_SLOT_MAX + 1;

	if (use->used <= slots)
		return 0;
	return problems_add(problems, PROBLEM_ERROR, device->where.file, device->where.line,
			    "the tunnels and nvs entries of device `%.80s` use %zu slots for %s, "
			    "expected at most %zu: the chip has no more",
			    device->name, use->used, plural, slots);
}

/* What one chip has to hold must fit into its slots, and a slot holds one thing only. */
static int check_slots(const struct config *config, const struct config_device *device,
		       struct problems *problems)
{
	struct slot_use authorities = { .what = "authority" }, identities = { .what = "identity" };
	int r = 0;

	for (size_t i = 0; i < config->n_nvs; i++) {
		const struct config_nvs *nvs = &config->nvs[i];

		if (!config_needs_nvs(device, nvs))
			continue;
		if (strcmp(nvs->namespace, "client_ca") == 0)
			slot_reserve(&authorities, nvs);
		else if (strcmp(nvs->namespace, "client_cert") == 0 ||
			 strcmp(nvs->namespace, "client_key") == 0)
			slot_reserve(&identities, nvs);
	}
	for (size_t i = 0; i < config->n_authorities && r == 0; i++) {
		const struct config_authority *a = &config->authorities[i];

		if (config_needs_authority(config, device, a))
			r = slot_claim(&authorities, device, a->name, a->slot, &a->where, problems);
	}
	for (size_t i = 0; i < config->n_identities && r == 0; i++) {
		const struct config_identity *id = &config->identities[i];

		if (config_needs_identity(config, device, id))
			r = slot_claim(&identities, device, id->name, id->slot, &id->where,
				       problems);
	}
	if (r == 0)
		r = check_slot_count(&authorities, device, "authorities", problems);
	if (r == 0)
		r = check_slot_count(&identities, device, "identities", problems);
	return r;
}

/* Who reserves nothing needs a link, too. */
static int check_reserves(const struct config *config, const struct config_device *device,
			  struct problems *problems)
{
	const struct config_tunnel *last = NULL;
	unsigned int sum = 0, most = device->max_links;

	for (size_t i = 0; i < config->n_tunnels; i++) {
		const struct config_tunnel *t = &config->tunnels[i];

		if (!config_tunnel_uses(t, device))
			continue;
		sum += t->reserve;
		if (t->reserve > 0)
			last = t;
		else if (most == device->max_links)
			most--;
	}
	if (!last || sum <= most)
		return 0;
	return problems_add(
		problems, PROBLEM_ERROR, last->where.file, last->where.line,
		"tunnels reserve %u links of device `%.80s`, expected at most %u: it has "
		"%u%s",
		sum, device->name, most, device->max_links,
		most < device->max_links ? ", and others need one" : "");
}

/* Whether both are for one key of one chip. */
static bool nvs_collide(const struct config_nvs *a, const struct config_nvs *b)
{
	return a->slot == b->slot && strcmp(a->namespace, b->namespace) == 0 &&
	       (!a->device || !b->device || a->device == b->device);
}

/* One key has one value. */
static int check_nvs_doubles(const struct config *config, struct problems *problems)
{
	for (size_t i = 0; i < config->n_nvs; i++) {
		const struct config_nvs *nvs = &config->nvs[i], *first = config->nvs;
		const struct config_device *device;
		char slot[8] = "", file[PATH_MAX + 1] = "line ";
		int r;

		while (first < nvs && !nvs_collide(first, nvs))
			first++;
		if (first == nvs)
			continue;
		device = nvs->device ? nvs->device : first->device;
		if (nvs->slot != CONFIG_SLOT_NONE)
			snprintf(slot, sizeof(slot), ".%d", nvs->slot);
		if (first->where.file != nvs->where.file)
			snprintf(file, sizeof(file), "%s:", first->where.file);
		r = problems_add(problems, PROBLEM_ERROR, nvs->where.file, nvs->where.line,
				 "second nvs entry for the key %.15s%s of %s%.80s%s, the first is "
				 "in %s%u, expected one",
				 nvs->namespace, slot, device ? "device `" : "all devices",
				 device ? device->name : "", device ? "`" : "", file,
				 first->where.line);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The namespaces that `enterprise` writes to, by the firmware's age. */
/* What our record on the chip has room for. */
static int check_nvs_count(const struct config *config, const struct config_device *device,
			   struct problems *problems)
{
	size_t n = 0;

	for (size_t i = 0; i < config->n_nvs; i++)
		n += config_needs_nvs(device, &config->nvs[i]);
	if (n <= CONFIG_NVS_DEVICE_MAX)
		return 0;
	return problems_add(problems, PROBLEM_ERROR, device->where.file, device->where.line,
			    "device `%.80s` has %zu nvs entries, expected at most %d for one chip",
			    device->name, n, CONFIG_NVS_DEVICE_MAX);
}

static int check_nvs_enterprise(const struct config *config, const struct config_device *device,
				struct problems *problems)
{
	if (!device->has_wifi || !device->wifi.has_enterprise)
		return 0;
	for (size_t i = 0; i < config->n_nvs; i++) {
		const struct config_nvs *nvs = &config->nvs[i];
		int r;

		if (!config_needs_nvs(device, nvs) || (strncmp(nvs->namespace, "wpa2_", 5) != 0 &&
						       strncmp(nvs->namespace, "wpa_ent_", 8) != 0))
			continue;
		r = problems_add(
			problems, PROBLEM_ERROR, nvs->where.file, nvs->where.line,
			"an nvs entry for %.15s on device `%.80s`, which has `enterprise`, "
			"expected only one of them",
			nvs->namespace, device->name);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_whole(const struct config *config, struct problems *problems)
{
	int r;

	r = check_sockets(config, config->runtime_dir, problems);
	if (r == -ENOMEM)
		return r;
	r = check_nvs_doubles(config, problems);
	for (size_t i = 0; i < config->n_devices && r == 0; i++) {
		r = check_slots(config, &config->devices[i], problems);
		if (r == 0)
			r = check_nvs_enterprise(config, &config->devices[i], problems);
		if (r == 0)
			r = check_nvs_count(config, &config->devices[i], problems);
		if (r == 0)
			r = check_reserves(config, &config->devices[i], problems);
	}
	return r;
}

/* ---- reading ---- */

static int read_config(struct config *config, const struct config_text *texts, size_t n_texts,
		       struct problems *problems)
{
	_cleanup_(parts_clear) struct parts parts = PARTS_NULL;
	struct key_reader reader = { .config = config, .problems = problems };
	_cleanup_free_ struct key_part *roots = NULL;
	size_t errors = problems->errors;
	int r;

	r = parts_read(&parts, config, texts, n_texts, problems);
	/* What refers to what is in a part that cannot be read is not wrong. */
	if (r < 0 || problems->errors > errors)
		return r;
	roots = calloc(parts.n, sizeof(*roots));
	if (!roots)
		return -ENOMEM;
	for (size_t i = 0; i < parts.n; i++)
		roots[i] = (struct key_part){
			.group = config_root_setting(&parts.items[i].tree),
			.file = parts.items[i].file,
			.folder = parts.items[i].folder,
		};
	key_read_parts(&reader, &config_root_table, roots, parts.n, config);
	return reader.error;
}

DEFINE_CLEANUP(struct config *, config_free)

int config_load_with(struct config **ret, const char *path, const struct config_text *texts,
		     size_t n_texts, struct problems *problems)
{
	_cleanup_(config_freep) struct config *config = NULL;
	size_t errors = problems->errors;
	int r;

	config = calloc(1, sizeof(*config));
	if (!config)
		return -ENOMEM;
	config->refs = 1;
	config->path = strdup(path);
	if (!config->path)
		return -ENOMEM;
	r = read_config(config, texts, n_texts, problems);
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

int config_load(struct config **ret, const char *path, struct problems *problems)
{
	return config_load_with(ret, path, NULL, 0, problems);
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

const struct config_device *config_find_device(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->n_devices; i++)
		if (strcmp(config->devices[i].name, name) == 0)
			return &config->devices[i];
	return NULL;
}

const struct config_authority *config_find_authority(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->n_authorities; i++)
		if (strcmp(config->authorities[i].name, name) == 0)
			return &config->authorities[i];
	return NULL;
}

const struct config_identity *config_find_identity(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->n_identities; i++)
		if (strcmp(config->identities[i].name, name) == 0)
			return &config->identities[i];
	return NULL;
}

const struct config_tunnel *config_find_tunnel(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->n_tunnels; i++)
		if (strcmp(config->tunnels[i].name, name) == 0)
			return &config->tunnels[i];
	return NULL;
}

bool config_device_equal(const struct config_device *a, const struct config_device *b)
{
	return key_equal_group(&config_device_table, a, b);
}

bool config_tunnel_equal(const struct config_tunnel *a, const struct config_tunnel *b)
{
	return key_equal_group(&config_tunnel_table, a, b);
}

bool config_equal(const struct config *a, const struct config *b)
{
	return key_equal_group(&config_root_table, a, b);
}

/* "" of all devices */
static const char *nvs_device(const struct config_nvs *nvs)
{
	return nvs->device ? nvs->device->name : "";
}

bool config_nvs_is_same(const struct config_nvs *a, const struct config_nvs *b)
{
	return a->slot == b->slot && strcmp(a->namespace, b->namespace) == 0 &&
	       strcmp(nvs_device(a), nvs_device(b)) == 0;
}

struct config *config_ref(struct config *config)
{
	config->refs++;
	return config;
}

struct config *config_free(struct config *config)
{
	if (!config || --config->refs > 0)
		return NULL;
	key_free_group(&config_root_table, config);
	for (size_t i = 0; i < config->n_files; i++)
		free(config->files[i]);
	free(config->files);
	free(config->path);
	free(config);
	return NULL;
}
