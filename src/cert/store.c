/* SPDX-License-Identifier: MIT */
/* The kept generations of certificates and keys, as files. */
#include "cert/store.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cert/digest.h"
#include "cert/intake.h"
#include "config/config.h"
#include "util/cleanup.h"
#include "util/file.h"

#define HEX_SIZE (2 * CERT_DIGEST_SIZE)
#define MAGIC "espatd-material 1\n"
/* Of the last line; the digest follows, and the line's end. */
#define SUM "sha256 "

_Static_assert(STORE_SUM_SIZE == sizeof(SUM) - 1 + HEX_SIZE + 1, "the last line");

struct store {
	char *dir;
};

DEFINE_CLEANUP(struct store_item *, store_item_free)

/* ---- what is in an item ---- */

const char *store_source_name(enum store_source source)
{
	switch (source) {
	case STORE_FROM_FILE:
		return "file";
	case STORE_SET:
		return "set";
	case STORE_ROLLED_BACK:
		return "rolled-back";
	}
	return NULL;
}

static const char *blob_text(enum cert_kind kind)
{
	switch (kind) {
	case CERT_KIND_CA:
		return "ca";
	case CERT_KIND_CERT:
		return "cert";
	case CERT_KIND_KEY:
		return "key";
	case CERT_KIND_RAW: /* of an NVS entry, which has no generations */
		break;
	}
	return NULL;
}

/* The kinds of the blobs that an item of @kind has; returns how many. */
static size_t blob_kinds(enum store_kind kind, enum cert_kind kinds[2])
{
	switch (kind) {
	case STORE_AUTHORITY:
		kinds[0] = CERT_KIND_CA;
		return 1;
	case STORE_IDENTITY:
		kinds[0] = CERT_KIND_CERT;
		kinds[1] = CERT_KIND_KEY;
		return 2;
	}
	return 0;
}

struct store_item *store_item_free(struct store_item *item)
{
	if (!item)
		return NULL;
	for (size_t i = 0; i < sizeof(item->blobs) / sizeof(item->blobs[0]); i++)
		cert_blob_free(item->blobs[i]);
	free(item);
	return NULL;
}

/* ---- bytes -> item ---- */

struct input {
	const uint8_t *p;
	size_t left;
};

static bool take(struct input *in, const char *text)
{
	size_t len = strlen(text);

	if (in->left < len || memcmp(in->p, text, len) != 0)
		return false;
	in->p += len;
	in->left -= len;
	return true;
}

/* Decimal, without a sign and without leading zeros: one value has one form. */
static bool take_number(struct input *in, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;
	size_t n = 0;

	while (n < in->left && in->p[n] >= '0' && in->p[n] <= '9') {
		unsigned int digit = in->p[n] - '0';

		if (value > (max - digit) / 10 || (n > 0 && in->p[0] == '0'))
			return false;
		value = value * 10 + digit;
		n++;
	}
	if (n == 0)
		return false;
	in->p += n;
	in->left -= n;
	*ret = value;
	return true;
}

static bool take_digest(struct input *in, uint8_t digest[CERT_DIGEST_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	if (in->left < HEX_SIZE)
		return false;
	for (size_t i = 0; i < CERT_DIGEST_SIZE; i++) {
		const char *high = memchr(digits, in->p[2 * i], 16);
		const char *low = memchr(digits, in->p[2 * i + 1], 16);

		if (!high || !low)
			return false;
		digest[i] = (uint8_t)((high - digits) << 4 | (low - digits));
	}
	in->p += HEX_SIZE;
	in->left -= HEX_SIZE;
	return true;
}

static bool take_source(struct input *in, enum store_source *ret)
{
	static const enum store_source sources[] = { STORE_FROM_FILE, STORE_SET,
						     STORE_ROLLED_BACK };

	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
		if (take(in, store_source_name(sources[i]))) {
			*ret = sources[i];
			return true;
		}
	return false;
}

static bool take_generation(struct input *in, unsigned int *ret)
{
	uint64_t generation;

	if (!take(in, MAGIC "generation ") || !take_number(in, UINT_MAX, &generation) ||
	    generation == 0 || !take(in, "\n"))
		return false;
	*ret = (unsigned int)generation;
	return true;
}

static bool take_head(struct input *in, struct store_item *item)
{
	uint64_t time;

	if (!take_generation(in, &item->generation) || !take(in, "source ") ||
	    !take_source(in, &item->source) || !take(in, "\ntime ") ||
	    !take_number(in, INT64_MAX, &time) || !take(in, "\norigin ") ||
	    !take_digest(in, item->origin) || !take(in, "\n"))
		return false;
	item->time = (time_t)time;
	return item->time >= 0 && (uint64_t)item->time == time; /* it may have 32 bits */
}

static bool take_blob_head(struct input *in, struct cert_blob *blob)
{
	uint64_t len;

	if (!take(in, "blob ") || !take(in, blob_text(blob->kind)) || !take(in, " ") ||
	    !take_number(in, CERT_BLOB_MAX, &len) || len == 0 || !take(in, " ") ||
	    !take_digest(in, blob->digest) || !take(in, "\n"))
		return false;
	blob->len = (size_t)len;
	return true;
}

static int take_blob(struct input *in, struct cert_blob *blob)
{
	uint8_t digest[CERT_DIGEST_SIZE];
	int r;

	if (in->left < blob->len)
		return -EBADMSG;
	r = cert_digest_of(in->p, blob->len, digest);
	if (r < 0)
		return r;
	if (memcmp(digest, blob->digest, sizeof(digest)) != 0)
		return -EBADMSG;
	blob->data = malloc(blob->len);
	if (!blob->data)
		return -ENOMEM;
	memcpy(blob->data, in->p, blob->len);
	in->p += blob->len;
	in->left -= blob->len;
	return 0;
}

/* The last line, over all @len bytes from @data on to where @in is. */
static int take_sum(struct input *in, const void *data, size_t len)
{
	uint8_t told[CERT_DIGEST_SIZE], digest[CERT_DIGEST_SIZE];
	int r;

	if (!take(in, SUM) || !take_digest(in, told) || !take(in, "\n") || in->left > 0)
		return -EBADMSG;
	r = cert_digest_of(data, len, digest);
	if (r < 0)
		return r;
	return memcmp(told, digest, sizeof(digest)) == 0 ? 0 : -EBADMSG;
}

int store_parse(struct store_item **ret, enum store_kind kind, const void *data, size_t len)
{
	_cleanup_(store_item_freep) struct store_item *item = NULL;
	struct input in = { .p = data, .left = len };
	enum cert_kind kinds[2];
	int r;

	item = calloc(1, sizeof(*item));
	if (!item)
		return -ENOMEM;
	if (!take_head(&in, item))
		return -EBADMSG;
	item->n_blobs = blob_kinds(kind, kinds);
	for (size_t i = 0; i < item->n_blobs; i++) {
		item->blobs[i] = calloc(1, sizeof(*item->blobs[i]));
		if (!item->blobs[i])
			return -ENOMEM;
		item->blobs[i]->kind = kinds[i];
		if (!take_blob_head(&in, item->blobs[i]))
			return -EBADMSG;
	}
	if (!take(&in, "\n"))
		return -EBADMSG;
	for (size_t i = 0; i < item->n_blobs; i++) {
		r = take_blob(&in, item->blobs[i]);
		if (r < 0)
			return r;
	}
	r = take_sum(&in, data, len - in.left);
	if (r < 0)
		return r;
	*ret = item;
	item = NULL;
	return 0;
}

/* ---- item -> bytes ---- */

/* What store_parse() would refuse is not written either. Returns 0, -EINVAL or -ENOMEM. */
static int item_check(enum store_kind kind, const struct store_item *item)
{
	enum cert_kind kinds[2];

	if (item->generation == 0 || item->time < 0 || !store_source_name(item->source) ||
	    item->n_blobs != blob_kinds(kind, kinds))
		return -EINVAL;
	for (size_t i = 0; i < item->n_blobs; i++) {
		const struct cert_blob *blob = item->blobs[i];
		uint8_t digest[CERT_DIGEST_SIZE];
		int r;

		if (!blob || blob->kind != kinds[i] || blob->len == 0 || blob->len > CERT_BLOB_MAX)
			return -EINVAL;
		r = cert_digest_of(blob->data, blob->len, digest);
		if (r < 0)
			return r;
		if (memcmp(digest, blob->digest, sizeof(digest)) != 0)
			return -EINVAL;
	}
	return 0;
}

static char *put_digest(char *p, const uint8_t digest[CERT_DIGEST_SIZE])
{
	for (size_t i = 0; i < CERT_DIGEST_SIZE; i++)
		p += sprintf(p, "%02x", digest[i]);
	*p++ = '\n';
	return p;
}

int store_format(void **ret, size_t *ret_len, enum store_kind kind, const struct store_item *item)
{
	uint8_t digest[CERT_DIGEST_SIZE];
	char *data, *p;
	int r;

	r = item_check(kind, item);
	if (r < 0)
		return r;
	data = malloc(STORE_FILE_MAX + 1); /* sprintf's NUL */
	if (!data)
		return -ENOMEM;
	p = data + sprintf(data, MAGIC "generation %u\nsource %s\ntime %lld\norigin ",
			   item->generation, store_source_name(item->source),
			   (long long)item->time);
	p = put_digest(p, item->origin);
	for (size_t i = 0; i < item->n_blobs; i++) {
		p += sprintf(p, "blob %s %zu ", blob_text(item->blobs[i]->kind),
			     item->blobs[i]->len);
		p = put_digest(p, item->blobs[i]->digest);
	}
	*p++ = '\n';
	for (size_t i = 0; i < item->n_blobs; i++) {
		memcpy(p, item->blobs[i]->data, item->blobs[i]->len);
		p += item->blobs[i]->len;
	}
	r = cert_digest_of(data, p - data, digest);
	if (r < 0) {
		intake_wipe(data, p - data);
		return r;
	}
	p += sprintf(p, SUM);
	p = put_digest(p, digest);
	*ret = data;
	*ret_len = p - data;
	return 0;
}

/* ---- files ---- */

/*
 * A new generation is written whole under `next`; then `current` is renamed to `previous`, and
 * `next` to `current`. So a `next` beside a `current` was never confirmed to anybody, and without
 * one it is the current one, of which only the last rename is missing.
 */
#define CURRENT "current"
#define PREVIOUS "previous"
#define NEXT "next"

/* As syntax_name() of the configuration has it: fit for a file name. */
static bool is_name(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789_.-";
	size_t len = strlen(name);

	return len > 0 && len <= CONFIG_NAME_MAX && strspn(name, allowed) == len &&
	       name[0] != '.' && name[0] != '-';
}

static const char *kind_text(enum store_kind kind)
{
	switch (kind) {
	case STORE_AUTHORITY:
		return "authority";
	case STORE_IDENTITY:
		return "identity";
	}
	return "";
}

static int path_of(char **ret, const struct store *store, enum store_kind kind, const char *name,
		   const char *suffix)
{
	if (asprintf(ret, "%s/%s-%s.%s", store->dir, kind_text(kind), name, suffix) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int read_file(void **ret, size_t *ret_len, const struct store *store, enum store_kind kind,
		     const char *name, const char *suffix)
{
	_cleanup_free_ char *path = NULL;
	int r;

	r = path_of(&path, store, kind, name, suffix);
	if (r < 0)
		return r;
	r = file_read(path, STORE_FILE_MAX, ret, ret_len);
	return r == -EINVAL || r == -E2BIG ? -EBADMSG : r;
}

static int load_file(struct store_item **ret, const struct store *store, enum store_kind kind,
		     const char *name, const char *suffix)
{
	void *data = NULL;
	size_t len = 0;
	int r;

	r = read_file(&data, &len, store, kind, name, suffix);
	if (r < 0)
		return r;
	r = store_parse(ret, kind, data, len);
	intake_wipe(data, len);
	return r;
}

static int save_file(const struct store *store, enum store_kind kind, const char *name,
		     const char *suffix, const struct store_item *item)
{
	_cleanup_free_ char *path = NULL;
	void *data = NULL;
	size_t len = 0;
	int r;

	r = path_of(&path, store, kind, name, suffix);
	if (r < 0)
		return r;
	r = store_format(&data, &len, kind, item);
	if (r < 0)
		return r;
	r = file_write_atomic(path, data, len, 0600);
	intake_wipe(data, len);
	return r;
}

static int rename_file(const struct store *store, enum store_kind kind, const char *name,
		       const char *from, const char *to)
{
	_cleanup_free_ char *old = NULL, *new = NULL;
	int r;

	r = path_of(&old, store, kind, name, from);
	if (r < 0)
		return r;
	r = path_of(&new, store, kind, name, to);
	if (r < 0)
		return r;
	return rename(old, new) < 0 ? -errno : 0;
}

/* 0 also if there was none. */
static int remove_file(const struct store *store, enum store_kind kind, const char *name,
		       const char *suffix)
{
	_cleanup_free_ char *path = NULL;
	int r;

	r = path_of(&path, store, kind, name, suffix);
	if (r < 0)
		return r;
	r = file_remove(path);
	return r == -ENOENT ? 0 : r;
}

/* ---- the generations of a name ---- */

int store_new(struct store **ret, const char *state_dir)
{
	struct store *store = calloc(1, sizeof(*store));
	int r;

	if (!store)
		return -ENOMEM;
	if (asprintf(&store->dir, "%s/material", state_dir) < 0) {
		store->dir = NULL;
		store_free(store);
		return -ENOMEM;
	}
	r = file_make_dir(store->dir, 0700);
	if (r < 0) {
		store_free(store);
		return r;
	}
	*ret = store;
	return 0;
}

struct store *store_free(struct store *store)
{
	if (!store)
		return NULL;
	free(store->dir);
	free(store);
	return NULL;
}

int store_load(struct store *store, enum store_kind kind, const char *name, enum store_which which,
	       struct store_item **ret)
{
	int r;

	if (!is_name(name))
		return -EINVAL;
	switch (which) {
	case STORE_CURRENT:
		r = load_file(ret, store, kind, name, CURRENT);
		if (r != -ENOENT)
			return r;
		r = load_file(ret, store, kind, name, NEXT);
		if (r != -ENOENT)
			return r;
		/* Another process may have renamed it between these two looks. */
		return load_file(ret, store, kind, name, CURRENT);
	case STORE_PREVIOUS:
		return load_file(ret, store, kind, name, PREVIOUS);
	}
	return -EINVAL;
}

/* Completes or drops what a killed store_put() has left: before anything is written. */
static int recover(struct store *store, enum store_kind kind, const char *name)
{
	_cleanup_(store_item_freep) struct store_item *item = NULL;
	_cleanup_free_ char *current = NULL;
	struct stat st;
	int r;

	r = path_of(&current, store, kind, name, CURRENT);
	if (r < 0)
		return r;
	if (lstat(current, &st) == 0)
		return remove_file(store, kind, name, NEXT);
	if (errno != ENOENT)
		return -errno;
	r = load_file(&item, store, kind, name, NEXT);
	if (r == 0) {
		r = rename_file(store, kind, name, NEXT, CURRENT);
		return r < 0 ? r : file_sync_dir(store->dir);
	}
	if (r == -EBADMSG)
		return remove_file(store, kind, name, NEXT);
	return r == -ENOENT ? 0 : r;
}

/* The number of a damaged file, if it can still be read and leaves enough others; else 0. */
static unsigned int damaged_generation(struct store *store, enum store_kind kind, const char *name,
				       const char *suffix)
{
	unsigned int generation = 0;
	struct input in;
	void *data = NULL;
	size_t len = 0;

	if (read_file(&data, &len, store, kind, name, suffix) < 0)
		return 0;
	in = (struct input){ .p = data, .left = len };
	if (!take_generation(&in, &generation) || generation > UINT_MAX / 2)
		generation = 0;
	intake_wipe(data, len);
	return generation;
}

/*
 * Counts a kept file in: *newest becomes its generation, if that is a later one. *unknown counts
 * the files that do not tell theirs: mostly it was one more than the other file's. Returns as
 * store_load().
 */
static int count_in(struct store *store, enum store_kind kind, const char *name, const char *suffix,
		    unsigned int *newest, unsigned int *unknown)
{
	_cleanup_(store_item_freep) struct store_item *item = NULL;
	unsigned int generation = 0;
	int r;

	r = load_file(&item, store, kind, name, suffix);
	if (r == 0) {
		generation = item->generation;
	} else if (r == -EBADMSG) {
		generation = damaged_generation(store, kind, name, suffix);
		*unknown += generation == 0;
	}
	if (generation > *newest)
		*newest = generation;
	return r;
}

static bool is_answer(int r)
{
	return r == 0 || r == -ENOENT || r == -EBADMSG;
}

/* The renames of a new generation, which is there whole; @keep: there is a current one to keep. */
static int move_up(struct store *store, enum store_kind kind, const char *name, bool keep)
{
	int r;

	if (keep) {
		r = rename_file(store, kind, name, CURRENT, PREVIOUS);
		if (r < 0)
			return r;
	}
	r = rename_file(store, kind, name, NEXT, CURRENT);
	if (r < 0 && keep)
		rename_file(store, kind, name, PREVIOUS, CURRENT);
	return r;
}

static int put(struct store *store, enum store_kind kind, const char *name, struct store_item *item)
{
	unsigned int old = item->generation, newest = 0, unknown = 0;
	int current, previous, r;

	previous = count_in(store, kind, name, PREVIOUS, &newest, &unknown);
	if (!is_answer(previous))
		return previous;
	current = count_in(store, kind, name, CURRENT, &newest, &unknown);
	if (!is_answer(current))
		return current;
	if (newest > UINT_MAX - 1 - unknown)
		return -EOVERFLOW;
	item->generation = newest + unknown + 1;
	r = save_file(store, kind, name, NEXT, item);
	if (r == 0)
		r = move_up(store, kind, name, current == 0);
	if (r < 0) {
		remove_file(store, kind, name, NEXT);
		item->generation = old;
		return r;
	}
	return file_sync_dir(store->dir);
}

/* What one of the name's files has, after what was cut off has been ended. */
static int load_kept(struct store_item **ret, struct store *store, enum store_kind kind,
		     const char *name, const char *suffix)
{
	int r;

	if (!is_name(name))
		return -EINVAL;
	r = recover(store, kind, name);
	if (r < 0)
		return r;
	return load_file(ret, store, kind, name, suffix);
}

int store_put(struct store *store, enum store_kind kind, const char *name, struct store_item *item)
{
	int r;

	if (!is_name(name))
		return -EINVAL;
	r = recover(store, kind, name);
	if (r < 0)
		return r;
	return put(store, kind, name, item);
}

int store_roll_back(struct store *store, enum store_kind kind, const char *name,
		    const uint8_t origin[CERT_DIGEST_SIZE], time_t now)
{
	_cleanup_(store_item_freep) struct store_item *item = NULL;
	int r;

	r = load_kept(&item, store, kind, name, PREVIOUS);
	if (r < 0)
		return r;
	item->source = STORE_ROLLED_BACK;
	item->time = now;
	memcpy(item->origin, origin, sizeof(item->origin));
	return put(store, kind, name, item);
}

int store_set_origin(struct store *store, enum store_kind kind, const char *name,
		     const uint8_t origin[CERT_DIGEST_SIZE])
{
	_cleanup_(store_item_freep) struct store_item *item = NULL;
	int r;

	r = load_kept(&item, store, kind, name, CURRENT);
	if (r < 0)
		return r;
	memcpy(item->origin, origin, sizeof(item->origin));
	return save_file(store, kind, name, CURRENT, item);
}

int store_remove(struct store *store, enum store_kind kind, const char *name)
{
	/* The current one last: until then the name is known, and can be forgotten again. */
	static const char *const suffixes[] = { NEXT, PREVIOUS, CURRENT };
	int r = 0;

	if (!is_name(name))
		return -EINVAL;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		int q = remove_file(store, kind, name, suffixes[i]);

		if (r == 0)
			r = q;
	}
	return r;
}

/* "authority-corp.current" -> the name, in place; NULL: it is another file. */
static char *name_of_current(char *file, enum store_kind *kind)
{
	static const char end[] = ".current";
	size_t len = strlen(file);

	if (len <= strlen(end) || strcmp(file + len - strlen(end), end) != 0)
		return NULL;
	file[len - strlen(end)] = '\0';
	for (int k = STORE_AUTHORITY; k <= STORE_IDENTITY; k++) {
		const char *text = kind_text((enum store_kind)k);
		size_t n = strlen(text);

		if (strncmp(file, text, n) != 0 || file[n] != '-' || !is_name(file + n + 1))
			continue;
		*kind = (enum store_kind)k;
		return file + n + 1;
	}
	return NULL;
}

int store_each(struct store *store,
	       void (*fn)(void *userdata, enum store_kind kind, const char *name), void *userdata)
{
	DIR *dir = opendir(store->dir);
	struct dirent *entry;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		char file[sizeof(entry->d_name)];
		enum store_kind kind;
		const char *name;

		snprintf(file, sizeof(file), "%s", entry->d_name);
		name = name_of_current(file, &kind);
		if (name)
			fn(userdata, kind, name);
	}
	closedir(dir);
	return 0;
}
