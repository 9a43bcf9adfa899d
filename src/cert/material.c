/* SPDX-License-Identifier: MIT */
/* What authorities, identities and NVS entries hold, and a look at the other secrets. */
#include "cert/material.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cert/complain.h"
#include "cert/digest.h"
#include "cert/intake.h"
#include "util/cleanup.h"
#include "util/file.h"

/* Largest file: eight times what the chip takes, as C arrays are five times their bytes. */
#define MATERIAL_FILE_MAX (64 * 1024)

/* Longest password of a Wi-Fi network: WPA's 64 hexadecimal digits. */
#define PASSWORD_MAX 64
/* The longest first line of any secret's file. */
#define SECRET_MAX 64

/* How files are looked at. */
struct load {
	time_t now;
	enum material_dates dates;
	bool just_a_look; /* it is not for running, so the service's credentials may be missing */
	struct problems *problems;
};

static const char *kind_text(enum cert_kind kind)
{
	switch (kind) {
	case CERT_KIND_CA:
		return "a file of CA certificates";
	case CERT_KIND_CERT:
		return "a file with a certificate";
	case CERT_KIND_KEY:
		return "a file with a private key";
	case CERT_KIND_RAW:
		return "a file with the value";
	}
	return "a file";
}

static int refuse(const struct cert_source *source, struct problems *problems, const char *what,
		  const char *expected)
{
	int r = cert_complain(source, problems, PROBLEM_ERROR, "%s, expected %s", what, expected);

	return r < 0 ? r : -EINVAL;
}

/* Who we are, in @buf or a name that is there already. */
static const char *user_text(char *buf, size_t size)
{
	struct passwd entry, *found = NULL;
	char number[32];

	snprintf(number, sizeof(number), "%lu", (unsigned long)geteuid());
	if (getpwuid_r(geteuid(), &entry, buf, size, &found) != 0 || !found) {
		snprintf(buf, size, "%s", number);
		return buf;
	}
	return entry.pw_name;
}

/* With @secret the file may be one that is meant for root alone. */
static int refuse_permission(const struct cert_source *source, struct problems *problems,
			     bool secret)
{
	char buf[1024];

	return cert_complain(source, problems, PROBLEM_ERROR,
			     "permission denied for user %s, expected a readable file%s",
			     user_text(buf, sizeof(buf)),
			     secret ? ", or LoadCredential= of the service" : "");
}

static int refuse_errno(const struct cert_source *source, struct problems *problems, int error,
			const char *expected, bool secret)
{
	int r;

	if (error == ENOMEM)
		return -ENOMEM;
	if (error == ENOENT || error == ENOTDIR)
		return refuse(source, problems, "no such file", expected);
	if (error == EACCES || error == EPERM)
		r = refuse_permission(source, problems, secret);
	else
		r = cert_complain(source, problems, PROBLEM_ERROR,
				  "cannot be read: %s, expected %s", strerror(error), expected);
	return r < 0 ? r : -EINVAL;
}

static const char *mode_text(mode_t mode)
{
	if (S_ISDIR(mode))
		return "is a folder";
	if (S_ISFIFO(mode))
		return "is a pipe";
	if (S_ISSOCK(mode))
		return "is a socket";
	return "is a device";
}

/*
 * The service manager's own files: it gives them mode 0440, and keeps everybody else out by an access
 * list and the folder (systemd.exec(5)).
 */
static bool is_credential(const char *path)
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	size_t n = folder ? strlen(folder) : 0;

	return n > 0 && strncmp(path, folder, n) == 0 && path[n] == '/';
}

/*
 * Root's file that is lent to the service by its group, as the package does with espatd.conf: with mode
 * 0600 we could not read it. Who owns a file can always take the group's bits away, be it we ourselves;
 * and one that is a stranger's can be changed by him, and so is worth a warning all the more.
 */
static bool is_lent(const struct stat *st)
{
	return st->st_uid == 0 && geteuid() != 0 && st->st_gid == getegid() &&
	       (st->st_mode & (S_IRWXG | S_IRWXO)) == S_IRGRP;
}

/* Secrets are for their owner alone; the daemon still works with others, so it is no error. */
static int warn_mode(const struct stat *st, const char *what, const struct cert_source *source,
		     struct problems *problems)
{
	if (!(st->st_mode & (S_IRGRP | S_IROTH)) || is_credential(source->name) || is_lent(st))
		return 0;
	return cert_complain(source, problems, PROBLEM_WARNING,
			     "%s can be read by %s (mode %04o), expected mode 0600", what,
			     st->st_mode & S_IROTH ? "everybody" : "its group",
			     (unsigned int)(st->st_mode & 07777));
}

/* One that config_load() could not give the path of. */
static int refuse_credential(const char *name, const struct cert_source *source,
			     const struct load *load)
{
	int r;

	if (load->just_a_look)
		r = cert_complain(source, load->problems, PROBLEM_WARNING,
				  "not looked at: CREDENTIALS_DIRECTORY is not set, expected the "
				  "service's LoadCredential=%s:FILE",
				  name);
	else
		r = cert_complain(source, load->problems, PROBLEM_ERROR,
				  "CREDENTIALS_DIRECTORY is not set, expected a service that was "
				  "started with LoadCredential=%s:FILE",
				  name);
	return r < 0 ? r : -EINVAL;
}

/*
 * Opens a regular file; @secret says what is in it if only its owner should read it. Returns the file
 * descriptor, -EINVAL after a complaint, or -ENOMEM.
 */
static int material_open(const char *path, const char *expected, const char *secret,
			 const struct cert_source *source, const struct load *load)
{
	struct problems *problems = load->problems;
	struct stat st;
	int fd, r;

	if (config_credential_name(path))
		return refuse_credential(config_credential_name(path), source, load);
	/* O_NONBLOCK: a pipe must not hold us up before it is refused. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && errno == ENXIO)
		return refuse(source, problems, "is a socket or a device", expected);
	if (fd < 0)
		return refuse_errno(source, problems, errno, expected, secret);
	if (fstat(fd, &st) < 0)
		r = refuse_errno(source, problems, errno, expected, secret);
	else if (!S_ISREG(st.st_mode))
		r = refuse(source, problems, mode_text(st.st_mode), expected);
	else
		r = secret ? warn_mode(&st, secret, source, problems) : 0;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

static int refuse_large(const struct cert_source *source, struct problems *problems,
			enum cert_kind kind)
{
	return refuse(source, problems, "is larger than 64 KiB", kind_text(kind));
}

/* Bytes that are not looked at. */
static int take_raw(struct cert_blob **ret, const void *data, size_t len,
		    const struct cert_source *source, struct problems *problems)
{
	int r = cert_blob_new(ret, CERT_KIND_RAW, data, len);

	if (r != -EINVAL)
		return r;
	return refuse(source, problems, len == 0 ? "is empty" : "is larger than the chip takes",
		      "1 to 8191 bytes");
}

static int read_blob(struct cert_blob **ret, enum cert_kind kind, const char *path,
		     const struct cert_source *source, const struct load *load)
{
	const char *expected = kind_text(kind);
	const char *secret = kind == CERT_KIND_KEY   ? "the private key"
			     : kind == CERT_KIND_RAW ? "the value"
						     : NULL;
	struct problems *problems = load->problems;
	_cleanup_close_ int fd = -1;
	uint8_t *data;
	size_t len = 0;
	int r;

	fd = material_open(path, expected, secret, source, load);
	if (fd < 0)
		return fd;
	data = malloc(MATERIAL_FILE_MAX + 1);
	if (!data)
		return -ENOMEM;
	r = file_read_fd(fd, data, MATERIAL_FILE_MAX, &len);
	if (r == -E2BIG)
		r = refuse_large(source, problems, kind);
	else if (r < 0)
		r = refuse_errno(source, problems, -r, expected, secret);
	else if (kind == CERT_KIND_RAW)
		r = take_raw(ret, data, len, source, problems);
	else
		r = cert_check(ret, kind, data, len, load->now, source, problems);
	intake_wipe(data, MATERIAL_FILE_MAX + 1);
	return r;
}

static bool is_hex(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isxdigit(data[i]))
			return false;
	return true;
}

/*
 * The first line of a secret's file: its length must be at most @max, and with @hex it is hexadecimal.
 * The secret itself is read again when it is used; here it is only looked at.
 */
static int check_secret(const char *path, const char *what, const char *expected, size_t max,
			bool hex, const struct config_where *where, const struct load *load)
{
	struct problems *problems = load->problems;
	const struct cert_source source = {
		.file = where->file,
		.line = where->line,
		.name = path,
	};
	_cleanup_close_ int fd = -1;
	char text[96];
	uint8_t data[SECRET_MAX + 1];
	size_t len = 0;
	ssize_t n;
	int r = 0;

	fd = material_open(path, expected, what, &source, load);
	if (fd < 0)
		return fd;
	n = read(fd, data, sizeof(data));
	if (n < 0)
		return refuse_errno(&source, problems, errno, expected, true);
	while (len < (size_t)n && data[len] != '\n' && data[len] != '\r')
		len++;
	snprintf(text, sizeof(text), "its first line is longer than %zu bytes", max);
	if (len == 0)
		r = refuse(&source, problems, "its first line is empty", expected);
	else if (len > max)
		r = refuse(&source, problems, text, expected);
	else if (memchr(data, '\0', len))
		r = refuse(&source, problems, "its first line has a NUL byte", expected);
	else if (hex && (len % 2 || !is_hex(data, len)))
		r = refuse(&source, problems, "its first line is not hexadecimal", expected);
	explicit_bzero(data, sizeof(data));
	return r;
}

static int check_password(const struct config_wifi *wifi, const struct load *load)
{
	return check_secret(wifi->password_file, "the password",
			    "a file with the Wi-Fi password in its first line", PASSWORD_MAX, false,
			    &wifi->where, load);
}

static int check_psk(const struct config_psk *psk, const struct load *load)
{
	return check_secret(psk->file, "the key",
			    psk->hex ? "a file with a key of 1 to 32 bytes, in hexadecimal, in its "
				       "first line"
				     : "a file with a key of 1 to 32 bytes in its first line",
			    psk->hex ? 2 * CONFIG_PSK_MAX : CONFIG_PSK_MAX, psk->hex, &psk->where,
			    load);
}

/* A complaint was counted: the other files are still looked at. */
static int go_on(int r)
{
	return r == -EINVAL ? 0 : r;
}

/* ---- what the files of an item hold ---- */

/* One file of an item, into item->blobs[i]. */
static int load_file(struct material_item *item, size_t i, enum cert_kind kind, const char *path,
		     const struct config_where *where, const struct load *load)
{
	const struct cert_source source = {
		.file = where->file,
		.line = where->line,
		.name = path,
		.old_is_fine = load->dates != MATERIAL_DATES_REFUSE,
	};

	item->n_blobs = i + 1;
	return go_on(read_blob(&item->blobs[i], kind, path, &source, load));
}

static int load_authority(struct material_item *item, const struct load *load)
{
	const struct config_authority *config = item->config;

	if (!config->file)
		return 0;
	return load_file(item, 0, CERT_KIND_CA, config->file, &config->where, load);
}

/* Whether the key belongs to the certificate; both may be missing after a complaint. */
static int check_pair(const struct cert_blob *cert, const struct cert_blob *key, const char *path,
		      const struct config_where *where, struct problems *problems)
{
	const struct cert_source source = {
		.file = where->file,
		.line = where->line,
		.name = path,
	};

	if (!cert || !key)
		return 0;
	return go_on(cert_check_pair(cert, key, &source, problems));
}

static int load_identity(struct material_item *item, const struct load *load)
{
	const struct config_identity *config = item->config;
	int r;

	if (!config->cert)
		return 0;
	r = load_file(item, 0, CERT_KIND_CERT, config->cert, &config->where, load);
	if (r == 0)
		r = load_file(item, 1, CERT_KIND_KEY, config->key, &config->where, load);
	if (r < 0)
		return r;
	return check_pair(item->blobs[0], item->blobs[1], config->key, &config->where,
			  load->problems);
}

static int load_nvs(struct material_item *item, const struct load *load)
{
	static const enum cert_kind kinds[] = {
		[CONFIG_NVS_CA] = CERT_KIND_CA,
		[CONFIG_NVS_CERT] = CERT_KIND_CERT,
		[CONFIG_NVS_KEY] = CERT_KIND_KEY,
		[CONFIG_NVS_RAW] = CERT_KIND_RAW,
	};
	const struct config_nvs *config = item->config;

	return load_file(item, 0, kinds[config->kind], config->file, &config->where, load);
}

/* Whether the configuration names files for it; else its material is set in service. */
static bool has_files(const struct material_item *item)
{
	switch (item->type) {
	case MATERIAL_AUTHORITY:
		return ((const struct config_authority *)item->config)->file;
	case MATERIAL_IDENTITY:
		return ((const struct config_identity *)item->config)->cert;
	case MATERIAL_NVS:
		break;
	}
	return true;
}

/* With bytes; complaints were counted, and none is made without files. Returns 0 or -ENOMEM. */
static int load_item(struct material_item *item, const struct load *load)
{
	switch (item->type) {
	case MATERIAL_AUTHORITY:
		return load_authority(item, load);
	case MATERIAL_IDENTITY:
		return load_identity(item, load);
	case MATERIAL_NVS:
		return load_nvs(item, load);
	}
	return 0;
}

static void item_clear(struct material_item *item)
{
	for (size_t i = 0; i < MATERIAL_BLOBS; i++) {
		cert_blob_free(item->blobs[i]);
		item->blobs[i] = NULL;
	}
	item->n_blobs = 0;
}

/* ---- generations ---- */

static enum store_kind store_kind_of(const struct material_item *item)
{
	return item->type == MATERIAL_IDENTITY ? STORE_IDENTITY : STORE_AUTHORITY;
}

/* One digest for all of @item's blobs. */
static int digest_item(const struct material_item *item, uint8_t origin[CERT_DIGEST_SIZE])
{
	uint8_t all[MATERIAL_BLOBS * CERT_DIGEST_SIZE];

	for (size_t i = 0; i < item->n_blobs; i++) {
		assert(item->blobs[i]);
		memcpy(all + i * CERT_DIGEST_SIZE, item->blobs[i]->digest, CERT_DIGEST_SIZE);
	}
	return cert_digest_of(all, item->n_blobs * CERT_DIGEST_SIZE, origin);
}

static void store_item_freep(struct store_item **item)
{
	store_item_free(*item);
}

/* What the store has becomes what @item holds. */
static void take_stored(struct material_item *item, struct store_item *stored)
{
	item_clear(item);
	item->generation = stored->generation;
	item->source = stored->source;
	item->n_blobs = stored->n_blobs;
	for (size_t i = 0; i < stored->n_blobs; i++) {
		item->blobs[i] = stored->blobs[i];
		stored->blobs[i] = NULL;
	}
}

/* What @item holds, from the files, becomes the current generation. */
static int store_files(struct material_item *item, struct store *store,
		       const uint8_t origin[CERT_DIGEST_SIZE], time_t now)
{
	struct store_item fresh = {
		.source = STORE_FROM_FILE,
		.time = now,
		.n_blobs = item->n_blobs,
	};
	int r;

	memcpy(fresh.origin, origin, CERT_DIGEST_SIZE);
	for (size_t i = 0; i < item->n_blobs; i++)
		fresh.blobs[i] = item->blobs[i]; /* lent */
	r = store_put(store, store_kind_of(item), item->name, &fresh);
	item->generation = fresh.generation;
	item->source = STORE_FROM_FILE;
	return r;
}

/* Complains about dates that are not now, if @item's files have changed since they were last taken. */
static int refuse_new(const struct material_item *item, struct store *store,
		      const struct load *load)
{
	_cleanup_(store_item_freep) struct store_item *stored = NULL;
	struct material_item files = { .type = item->type, .config = item->config };
	struct problems strict = PROBLEMS_NULL;
	const struct load again = {
		.now = load->now,
		.dates = MATERIAL_DATES_REFUSE,
		.problems = &strict,
	};
	uint8_t origin[CERT_DIGEST_SIZE];
	int r;

	if (!store || item->type == MATERIAL_NVS || !has_files(item) ||
	    digest_item(item, origin) < 0)
		return 0;
	r = store_load(store, store_kind_of(item), item->name, STORE_CURRENT, &stored);
	if (r == 0 && memcmp(stored->origin, origin, CERT_DIGEST_SIZE) == 0)
		return 0;
	r = load_item(&files, &again);
	/* Each of these is among the warnings already. */
	for (size_t i = 0; r == 0 && i < strict.count; i++)
		if (strict.items[i].severity == PROBLEM_ERROR)
			problems_harden(load->problems, strict.items[i].text);
	problems_clear(&strict);
	item_clear(&files);
	return r;
}

static bool hold_the_same(struct cert_blob *const *a, size_t n_a, struct cert_blob *const *b,
			  size_t n_b)
{
	for (size_t i = 0; i < n_a && i < n_b; i++)
		if (!cert_blob_equal(a[i], b[i]))
			return false;
	return n_a == n_b;
}

/* Nothing but the store can have it. */
static int settle_without_files(struct material_item *item, struct store *store,
				struct problems *problems)
{
	_cleanup_(store_item_freep) struct store_item *stored = NULL;
	int r;

	r = store_load(store, store_kind_of(item), item->name, STORE_CURRENT, &stored);
	if (r == 0)
		take_stored(item, stored);
	else if (r == -EBADMSG)
		return problems_add(problems, PROBLEM_WARNING, NULL, 0,
				    "what was set for %s `%s` is damaged in the state folder, "
				    "expected it to be set again",
				    item->type == MATERIAL_IDENTITY ? "identity" : "authority",
				    item->name);
	else if (r != -ENOENT)
		return r;
	return 0;
}

/* @item holds what its files do: decides what is current. */
static int settle_files(struct material_item *item, struct store *store, time_t now)
{
	_cleanup_(store_item_freep) struct store_item *stored = NULL;
	uint8_t origin[CERT_DIGEST_SIZE];
	int r;

	r = digest_item(item, origin);
	if (r < 0)
		return r;
	r = store_load(store, store_kind_of(item), item->name, STORE_CURRENT, &stored);
	/* One that is damaged is nothing that anybody could use. */
	if (r < 0 && r != -ENOENT && r != -EBADMSG)
		return r;
	if (r < 0)
		return store_files(item, store, origin, now);
	if (memcmp(stored->origin, origin, CERT_DIGEST_SIZE) != 0) {
		if (!hold_the_same(item->blobs, item->n_blobs, stored->blobs, stored->n_blobs))
			return store_files(item, store, origin, now);
		/* The files have come to hold what is current already. */
		r = store_set_origin(store, store_kind_of(item), item->name, origin);
		if (r < 0)
			return r;
	}
	take_stored(item, stored);
	return 0;
}

static int settle_item(struct material_item *item, struct store *store, time_t now,
		       struct problems *problems)
{
	bool files = has_files(item);

	item->generation = item->type == MATERIAL_NVS || !files ? 0 : 1;
	item->source = STORE_FROM_FILE;
	if (!store || item->type == MATERIAL_NVS)
		return 0;
	return files ? settle_files(item, store, now) : settle_without_files(item, store, problems);
}

/* What people want to know of it, before its bytes are forgotten. */
static void inform_item(struct material_item *item)
{
	const struct cert_blob *blob = item->blobs[0];

	item->info = (struct cert_info){ 0 };
	/* It was checked, so there is a certificate. */
	if (item->n_blobs > 0 && (blob->kind == CERT_KIND_CA || blob->kind == CERT_KIND_CERT))
		cert_info_of(&item->info, blob->data, blob->len);
}

/* ---- all of it ---- */

/* The @i-th secret that is not kept: passwords of devices, then keys of tunnels. */
static int check_secret_of(const struct config *config, size_t i, const struct load *load)
{
	const struct config_device *device;
	const struct config_tunnel *tunnel;

	if (i < config->n_devices) {
		device = &config->devices[i];
		if (!device->has_wifi || !device->wifi.password_file)
			return 0;
		return go_on(check_password(&device->wifi, load));
	}
	tunnel = &config->tunnels[i - config->n_devices];
	return tunnel->has_psk ? go_on(check_psk(&tunnel->psk, load)) : 0;
}

static bool kind_is(const struct config_nvs *nvs, const char *end)
{
	size_t n = strlen(nvs->namespace), k = strlen(end);

	return n > k && strcmp(nvs->namespace + n - k, end) == 0;
}

/* The key of an NVS entry's certificate: the same user, slot and device, "mqtt_cert" and "mqtt_key". */
static const struct material_item *find_nvs_key(const struct material *material,
						const struct config_nvs *cert)
{
	size_t n = strlen(cert->namespace) - strlen("cert");

	for (size_t i = 0; i < material->n_items; i++) {
		const struct config_nvs *key = material->items[i].config;

		if (material->items[i].type == MATERIAL_NVS && key->kind == CONFIG_NVS_KEY &&
		    key->device == cert->device && key->slot == cert->slot &&
		    strncmp(key->namespace, cert->namespace, n) == 0 && kind_is(key, "_key"))
			return &material->items[i];
	}
	return NULL;
}

static int check_nvs_pair(const struct material *material, const struct material_item *item,
			  struct problems *problems)
{
	const struct config_nvs *config = item->config;
	const struct material_item *key;

	if (item->type != MATERIAL_NVS || config->kind != CONFIG_NVS_CERT ||
	    !kind_is(config, "_cert"))
		return 0;
	key = find_nvs_key(material, config);
	if (!key)
		return 0;
	config = key->config;
	return check_pair(item->blobs[0], key->blobs[0], config->file, &config->where, problems);
}

static void add_item(struct material *material, enum material_type type, const char *name,
		     const void *config)
{
	material->items[material->n_items++] = (struct material_item){
		.type = type,
		.name = name,
		.config = config,
	};
}

static int material_new(struct material **ret, const struct config *config)
{
	struct material *material = calloc(1, sizeof(*material));
	size_t n = config->n_authorities + config->n_identities + config->n_nvs;

	if (!material)
		return -ENOMEM;
	material->config = config;
	material->items = calloc(n + 1, sizeof(*material->items));
	if (!material->items) {
		free(material);
		return -ENOMEM;
	}
	for (size_t i = 0; i < config->n_authorities; i++)
		add_item(material, MATERIAL_AUTHORITY, config->authorities[i].name,
			 &config->authorities[i]);
	for (size_t i = 0; i < config->n_identities; i++)
		add_item(material, MATERIAL_IDENTITY, config->identities[i].name,
			 &config->identities[i]);
	for (size_t i = 0; i < config->n_nvs; i++)
		add_item(material, MATERIAL_NVS, config->nvs[i].namespace, &config->nvs[i]);
	*ret = material;
	return 0;
}

DEFINE_CLEANUP(struct material *, material_free)

/* What is done, each of it for all of the material before the next. */
enum loading_step {
	LOADING_SECRETS,
	LOADING_FILES,
	LOADING_PAIRS,
	LOADING_DATES,  /* of files that have changed */
	LOADING_SETTLE, /* not of a configuration that is refused: something may be kept now */
	LOADING_DONE,
};

struct material_loading {
	struct material *material;
	struct store *store; /* weak; NULL: none */
	struct load load;
	size_t errors; /* that there were before */
	enum loading_step step;
	size_t at; /* the next one of it */
};

int material_begin(struct material_loading **ret, const struct config *config, struct store *store,
		   time_t now, enum material_dates dates, struct problems *problems)
{
	struct material_loading *loading = calloc(1, sizeof(*loading));
	int r;

	if (!loading)
		return -ENOMEM;
	r = material_new(&loading->material, config);
	if (r < 0) {
		free(loading);
		return r;
	}
	loading->store = store;
	loading->load = (struct load){ .now = now, .dates = dates, .problems = problems };
	loading->errors = problems->errors;
	*ret = loading;
	return 0;
}

struct material_loading *material_loading_free(struct material_loading *loading)
{
	if (!loading)
		return NULL;
	material_free(loading->material);
	free(loading);
	return NULL;
}

static int settle(struct material_loading *loading, struct material_item *item)
{
	int r = settle_item(item, loading->store, loading->load.now, loading->load.problems);

	if (r < 0)
		return r;
	inform_item(item);
	for (size_t i = 0; i < item->n_blobs; i++)
		cert_blob_forget(item->blobs[i]);
	return 0;
}

/* How many there are of its step. */
static size_t loading_count(const struct material_loading *loading)
{
	const struct config *config = loading->material->config;

	if (loading->step == LOADING_SECRETS)
		return config->n_devices + config->n_tunnels;
	if (loading->step == LOADING_DATES && loading->load.dates != MATERIAL_DATES_REFUSE_NEW)
		return 0;
	return loading->material->n_items;
}

static int load_one(struct material_loading *loading, size_t i)
{
	struct material *material = loading->material;

	switch (loading->step) {
	case LOADING_SECRETS:
		return check_secret_of(material->config, i, &loading->load);
	case LOADING_FILES:
		return load_item(&material->items[i], &loading->load);
	case LOADING_PAIRS:
		return check_nvs_pair(material, &material->items[i], loading->load.problems);
	case LOADING_DATES:
		return refuse_new(&material->items[i], loading->store, &loading->load);
	case LOADING_SETTLE:
		return settle(loading, &material->items[i]);
	case LOADING_DONE:
		break;
	}
	return 0;
}

/* Of the files all is told that is wrong; of those that are too old or too new the first one is enough. */
static bool is_refused(const struct material_loading *loading)
{
	return loading->step >= LOADING_DATES && loading->load.problems->errors > loading->errors;
}

static void next_step(struct material_loading *loading)
{
	loading->step++;
	loading->at = 0;
	if (loading->step == LOADING_DATES && loading->load.just_a_look)
		loading->step = LOADING_DONE;
}

int material_go_on(struct material_loading *loading)
{
	int r;

	while (!is_refused(loading) && loading->step != LOADING_DONE &&
	       loading->at == loading_count(loading))
		next_step(loading);
	if (is_refused(loading))
		return -EINVAL;
	if (loading->step == LOADING_DONE)
		return 0;
	r = load_one(loading, loading->at++);
	return r < 0 ? r : 1;
}

struct material *material_take(struct material_loading *loading)
{
	struct material *material = loading->material;

	loading->material = NULL;
	return material;
}

int material_check(const struct config *config, time_t now, struct problems *problems)
{
	struct material_loading *loading;
	int r;

	r = material_begin(&loading, config, NULL, now, MATERIAL_DATES_REFUSE, problems);
	if (r < 0)
		return r;
	loading->load.just_a_look = true;
	while ((r = material_go_on(loading)) > 0)
		;
	material_loading_free(loading);
	return r;
}

int material_load(struct material **ret, const struct config *config, struct store *store,
		  time_t now, enum material_dates dates, struct problems *problems)
{
	struct material_loading *loading;
	int r;

	r = material_begin(&loading, config, store, now, dates, problems);
	if (r < 0)
		return r;
	while ((r = material_go_on(loading)) > 0)
		;
	if (r == 0)
		*ret = material_take(loading);
	material_loading_free(loading);
	return r;
}

bool material_item_is_same(const struct material_item *a, const struct material_item *b)
{
	if (a->type != b->type)
		return false;
	if (a->type == MATERIAL_NVS)
		return config_nvs_is_same(a->config, b->config);
	return strcmp(a->name, b->name) == 0;
}

/* @item becomes what @old is, which stays. */
static int copy_item(struct material_item *item, const struct material_item *old)
{
	for (size_t i = 0; i < old->n_blobs; i++) {
		item->blobs[i] = malloc(sizeof(*item->blobs[i]));
		if (!item->blobs[i])
			return -ENOMEM;
		*item->blobs[i] = *old->blobs[i];
		item->blobs[i]->data = NULL;
		item->n_blobs = i + 1;
	}
	item->info = old->info;
	item->generation = old->generation;
	item->source = old->source;
	return 0;
}

/* The one of @material that @item was before; NULL: none. */
static const struct material_item *find_same(const struct material *material,
					     const struct material_item *item)
{
	for (size_t i = 0; i < material->n_items; i++)
		if (material_item_is_same(&material->items[i], item))
			return &material->items[i];
	return NULL;
}

/* What the store has for it; -ENOENT: nothing that could be used. */
static int take_current(struct material_item *item, struct store *store)
{
	_cleanup_(store_item_freep) struct store_item *stored = NULL;
	int r;

	r = store_load(store, store_kind_of(item), item->name, STORE_CURRENT, &stored);
	if (r == 0) {
		take_stored(item, stored);
		inform_item(item);
		for (size_t k = 0; k < item->n_blobs; k++)
			cert_blob_forget(item->blobs[k]);
	}
	return r == -EBADMSG ? -ENOENT : r;
}

/* Something else has become current, or nothing has. */
static int carry_item(struct material_item *item, const struct material_item *before,
		      struct store *store, bool changed)
{
	int r = changed ? take_current(item, store) : -ENOENT;

	if (r != -ENOENT)
		return r;
	return before ? copy_item(item, before) : 0;
}

int material_carry(struct material **ret, const struct config *config, const struct material *old,
		   struct store *store, enum store_kind kind, const char *changed)
{
	_cleanup_(material_freep) struct material *material = NULL;
	int r;

	r = material_new(&material, config);
	for (size_t i = 0; r == 0 && i < material->n_items; i++) {
		struct material_item *item = &material->items[i];

		r = carry_item(item, find_same(old, item), store,
			       changed && item->type != MATERIAL_NVS &&
				       store_kind_of(item) == kind &&
				       strcmp(item->name, changed) == 0);
	}
	if (r < 0)
		return r;
	*ret = material;
	material = NULL;
	return 0;
}

void material_replace(struct material *material, struct material *fresh)
{
	struct material old = *material;

	*material = *fresh;
	*fresh = old;
	material_free(fresh);
}

size_t material_of_authority(const struct material *material,
			     const struct config_authority *authority)
{
	return (size_t)(authority - material->config->authorities);
}

size_t material_of_identity(const struct material *material, const struct config_identity *identity)
{
	return material->config->n_authorities + (size_t)(identity - material->config->identities);
}

const struct material_item *material_find(const struct material *material, enum store_kind kind,
					  const char *name)
{
	for (size_t i = 0; i < material->n_items; i++) {
		const struct material_item *item = &material->items[i];

		if (item->type != MATERIAL_NVS && store_kind_of(item) == kind &&
		    strcmp(item->name, name) == 0)
			return item;
	}
	return NULL;
}

/* ---- bytes ---- */

/* From the files: what they hold may have changed. */
static int read_from_files(const struct material_item *item, size_t blob, struct cert_blob **ret)
{
	struct material_item now = { .type = item->type, .config = item->config };
	struct problems problems = PROBLEMS_NULL;
	const struct load load = { .now = time(NULL), .problems = &problems };
	int r;

	r = load_item(&now, &load);
	if (r == 0 && blob < now.n_blobs && now.blobs[blob] &&
	    cert_blob_equal(now.blobs[blob], item->blobs[blob])) {
		*ret = now.blobs[blob];
		now.blobs[blob] = NULL;
	} else if (r == 0) {
		r = -ESTALE;
	}
	item_clear(&now);
	problems_clear(&problems);
	return r;
}

static int read_from_store(const struct material_item *item, size_t blob, struct store *store,
			   enum store_which which, struct cert_blob **ret)
{
	_cleanup_(store_item_freep) struct store_item *stored = NULL;
	int r;

	r = store_load(store, store_kind_of(item), item->name, which, &stored);
	if (r < 0)
		return r;
	if (blob >= stored->n_blobs || !cert_blob_equal(stored->blobs[blob], item->blobs[blob]))
		return -ESTALE;
	*ret = stored->blobs[blob];
	stored->blobs[blob] = NULL;
	return 0;
}

int material_read(const struct material_item *item, size_t blob, struct store *store,
		  struct cert_blob **ret)
{
	int r;

	if (!store || item->type == MATERIAL_NVS)
		return read_from_files(item, blob, ret);
	r = read_from_store(item, blob, store, STORE_CURRENT, ret);
	/* Another process may have made a newer one current; this one is in use until a reload. */
	if (r == -ESTALE)
		r = read_from_store(item, blob, store, STORE_PREVIOUS, ret);
	return r == -ENOENT ? -ESTALE : r;
}

int material_origin(const struct material_item *item, uint8_t origin[CERT_DIGEST_SIZE], time_t now,
		    struct problems *problems)
{
	struct material_item files = { .type = item->type, .config = item->config };
	const struct load load = { .now = now, .problems = problems };
	size_t errors = problems->errors;
	int r;

	memset(origin, 0, CERT_DIGEST_SIZE);
	if (!has_files(item))
		return 0;
	r = load_item(&files, &load);
	if (r == 0)
		r = problems->errors > errors ? -EINVAL : digest_item(&files, origin);
	item_clear(&files);
	return r;
}

void material_last_origin(const struct material_item *item, struct store *store,
			  uint8_t origin[CERT_DIGEST_SIZE], time_t now)
{
	_cleanup_(store_item_freep) struct store_item *stored = NULL;
	struct problems problems = PROBLEMS_NULL;
	int r;

	r = material_origin(item, origin, now, &problems);
	problems_clear(&problems);
	if (r == 0)
		return;
	memset(origin, 0, CERT_DIGEST_SIZE);
	if (store_load(store, store_kind_of(item), item->name, STORE_CURRENT, &stored) == 0)
		memcpy(origin, stored->origin, CERT_DIGEST_SIZE);
}

/* ---- what is handed over in service ---- */

static int set_blob(struct store_item *item, enum cert_kind kind, const void *data, size_t len,
		    time_t now, const struct cert_source *source, struct problems *problems)
{
	struct cert_blob **blob = &item->blobs[item->n_blobs++];

	if (len > MATERIAL_FILE_MAX)
		return go_on(refuse_large(source, problems, kind));
	return go_on(cert_check(blob, kind, data, len, now, source, problems));
}

/* All complaints at once; they were counted. Returns 0 or -ENOMEM. */
static int set_blobs(struct store_item *item, enum store_kind kind, const void *cert,
		     size_t cert_len, const void *key, size_t key_len, time_t now,
		     const struct cert_source *source, struct problems *problems)
{
	/* There are two, and it is to be told which one is wrong. */
	static const struct cert_source source_cert = { .name = "the certificate" };
	static const struct cert_source source_key = { .name = "the key" };
	int r;

	if (kind == STORE_AUTHORITY) {
		r = set_blob(item, CERT_KIND_CA, cert, cert_len, now, source, problems);
		if (r == 0 && key_len > 0)
			r = go_on(refuse(source, problems, "comes with a private key",
					 "an authority's certificates only"));
		return r;
	}
	r = set_blob(item, CERT_KIND_CERT, cert, cert_len, now, &source_cert, problems);
	if (r == 0)
		r = set_blob(item, CERT_KIND_KEY, key, key_len, now, &source_key, problems);
	if (r == 0 && item->blobs[0] && item->blobs[1])
		r = go_on(cert_check_pair(item->blobs[0], item->blobs[1], source, problems));
	return r;
}

/* *ret: whether what is to be set is current already, whatever made it so. Returns 0 or -errno. */
static int set_nothing_new(bool *ret, const struct store_item *item, struct store *store,
			   enum store_kind kind, const char *name)
{
	static const uint8_t none[CERT_DIGEST_SIZE];
	_cleanup_(store_item_freep) struct store_item *current = NULL;
	int r;

	*ret = false;
	r = store_load(store, kind, name, STORE_CURRENT, &current);
	if (r == -ENOENT || r == -EBADMSG)
		return 0;
	if (r < 0 || !hold_the_same(item->blobs, item->n_blobs, current->blobs, current->n_blobs))
		return r;
	/* Left by the files of a configuration of before: nobody would take it for what was set. */
	if (current->source == STORE_FROM_FILE && memcmp(item->origin, none, sizeof(none)) == 0)
		return 0;
	*ret = true;
	/* The files may hold something else since; it wins over that, too. */
	if (memcmp(current->origin, item->origin, CERT_DIGEST_SIZE) != 0)
		return store_set_origin(store, kind, name, item->origin);
	return 0;
}

int material_set(struct store *store, enum store_kind kind, const char *name, const void *cert,
		 size_t cert_len, const void *key, size_t key_len,
		 const uint8_t origin[CERT_DIGEST_SIZE], time_t now, const char *source,
		 struct problems *problems)
{
	const struct cert_source where = { .name = source };
	_cleanup_(store_item_freep) struct store_item *item = NULL;
	size_t errors = problems->errors;
	bool same;
	int r;

	item = calloc(1, sizeof(*item));
	if (!item)
		return -ENOMEM;
	item->source = STORE_SET;
	item->time = now;
	memcpy(item->origin, origin, CERT_DIGEST_SIZE);
	r = set_blobs(item, kind, cert, cert_len, key, key_len, now, &where, problems);
	if (r < 0)
		return r;
	if (problems->errors > errors)
		return kind == STORE_IDENTITY && item->blobs[0] ? -EKEYREJECTED : -EINVAL;
	r = set_nothing_new(&same, item, store, kind, name);
	return r < 0 || same ? r : store_put(store, kind, name, item);
}

struct material *material_free(struct material *material)
{
	if (!material)
		return NULL;
	for (size_t i = 0; i < material->n_items; i++)
		item_clear(&material->items[i]);
	free(material->items);
	free(material);
	return NULL;
}
