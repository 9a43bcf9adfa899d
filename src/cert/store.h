/* SPDX-License-Identifier: MIT */
/*
 * The material that is kept for each authority and identity: the generation in use and the one
 * before it, in <state_dir>/material/ (0700), a file (0600) each: `authority-NAME.current`. There
 * may be many readers, but only one process that writes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "cert/check.h"

/* Which list of the configuration a name belongs to. */
enum store_kind {
	STORE_AUTHORITY,
	STORE_IDENTITY,
};

/* How a generation came to be current. */
enum store_source {
	STORE_FROM_FILE,   /* from the files that the configuration names */
	STORE_SET,         /* somebody handed it over in service */
	STORE_ROLLED_BACK, /* it was the previous one */
};

enum store_which {
	STORE_CURRENT,
	STORE_PREVIOUS,
};

/* One generation of a name. */
struct store_item {
	unsigned int generation; /* 1.. , a higher one is newer, none is used twice for a name */
	enum store_source source;
	time_t time; /* when it became current, not before 1970 */
	/* What the config's files held when it became current: this one wins while they do. */
	uint8_t origin[CERT_DIGEST_SIZE];
	struct cert_blob *blobs[2]; /* owned: CA; or certificate, key */
	size_t n_blobs;
};

/*
 * The form of a file: a header of text lines (magic and version, generation, source, time, origin,
 * then kind, length and SHA-256 of each blob), an empty line, the blobs' bytes one after the other,
 * and a last line with the SHA-256 of all before it.
 */
#define STORE_HEADER_MAX 512 /* with the longest of each value it takes 316 */
#define STORE_SUM_SIZE 72
#define STORE_FILE_MAX (STORE_HEADER_MAX + 2 * CERT_BLOB_MAX + STORE_SUM_SIZE)

struct store;

/* Makes the folder if it is missing. Returns 0 or -errno. */
int store_new(struct store **ret, const char *state_dir);
/* NULL is allowed; returns NULL. */
struct store *store_free(struct store *store);

/* All calls with a @name: -EINVAL if it is none that the configuration could have. */

/*
 * Reads a generation; changes nothing on the disk. Returns 0 and the item, -ENOENT if there is
 * none, -EBADMSG if the file is damaged or no file of ours at all, or another -errno.
 */
int store_load(struct store *store, enum store_kind kind, const char *name, enum store_which which,
	       struct store_item **ret);
/*
 * @item becomes current, and what was current becomes the previous one; a damaged current one is
 * replaced instead, and the previous one stays. @item->generation is set: higher than any kept one.
 * Returns 0, -EINVAL (@item cannot be of @kind), -EOVERFLOW (no number is left), or another -errno;
 * then all is as it was before, except as file_write_atomic() says. After a kill or a loss of power
 * at any moment, either all is as it was before, or @item is current and what was current is the
 * previous one.
 */
int store_put(struct store *store, enum store_kind kind, const char *name, struct store_item *item);
/*
 * The previous one becomes current, as a generation of its own with @origin and @now, and the other
 * way round. Returns as store_load() of the previous one and store_put() do.
 */
int store_roll_back(struct store *store, enum store_kind kind, const char *name,
		    const uint8_t origin[CERT_DIGEST_SIZE], time_t now);
/* Only the origin of the current one changes. Returns as store_load() and store_put() do. */
int store_set_origin(struct store *store, enum store_kind kind, const char *name,
		     const uint8_t origin[CERT_DIGEST_SIZE]);
/*
 * Forgets a name: all its files are removed, as file_remove() does it. Returns 0, also if there
 * were none, or -errno.
 */
int store_remove(struct store *store, enum store_kind kind, const char *name);

/* Calls @fn for each name that there is a current generation of. Returns 0 or -errno. */
int store_each(struct store *store,
	       void (*fn)(void *userdata, enum store_kind kind, const char *name), void *userdata);

/* "file", "set" or "rolled-back", as the file has it; NULL: it is no source. */
const char *store_source_name(enum store_source source);

/* Wipes and frees; NULL is allowed; returns NULL. */
struct store_item *store_item_free(struct store_item *item);

/*
 * The bytes of a file -> an item. Pure, and strict: one item has one form only. Returns 0, -EBADMSG
 * or -ENOMEM.
 */
int store_parse(struct store_item **ret, enum store_kind kind, const void *data, size_t len);
/* And back; the caller wipes and frees. 0, -EINVAL (@item cannot be of @kind) or -ENOMEM. */
int store_format(void **ret, size_t *ret_len, enum store_kind kind, const struct store_item *item);
