/* SPDX-License-Identifier: MIT */
/*
 * The material of the configuration: what each authority and identity holds now, and the values of the
 * NVS entries, known by kind, length and digest. The bytes themselves are read when they are written
 * into a chip, and only then; keys stay in memory no longer than that.
 *
 * With a store each name has generations: what the configuration's files hold becomes a new one when
 * they change, and one that was set or rolled back to in service wins until then.
 */
#pragma once

#include <stdbool.h>
#include <time.h>

#include "cert/check.h"
#include "cert/info.h"
#include "cert/store.h"
#include "config/config.h"

enum material_type {
	MATERIAL_AUTHORITY,
	MATERIAL_IDENTITY,
	MATERIAL_NVS,
};

#define MATERIAL_BLOBS 2

/*
 * What an expired certificate is: an error for whoever checks a configuration; in service it must not
 * keep all that has nothing to do with it from running, so it is a warning.
 */
enum material_dates {
	MATERIAL_DATES_WARN,
	MATERIAL_DATES_REFUSE_NEW, /* an error in files that have changed, which nobody uses yet */
	MATERIAL_DATES_REFUSE,
};

struct material_item {
	enum material_type type;
	const char *name;   /* weak, into the config; of MATERIAL_NVS: the namespace */
	const void *config; /* weak: struct config_authority, config_identity or config_nvs */
	/* owned, without bytes: CA; or certificate, key; or the value */
	struct cert_blob *blobs[MATERIAL_BLOBS];
	size_t n_blobs;        /* 0: it has no material yet (no file, and nothing was set) */
	struct cert_info info; /* of the CA or the certificate */
	unsigned int
		generation; /* 1..; always 1 without a store, 0 of MATERIAL_NVS, or without blobs */
	enum store_source source;
};

/* Authorities, identities, NVS entries, each in the order of the config. */
struct material {
	const struct config *config; /* weak */
	struct material_item *items;
	size_t n_items;
};

/*
 * Reads and checks every file of @config at time @now; complaints (missing or unreadable file, key
 * of another certificate, expired, key readable by group or others as a warning...) go to
 * @problems. Wi-Fi passwords and PSKs are looked at in the same way, but not kept. With a @store
 * (NULL: none) generations are looked up and made, if no file has an error. Returns 0, -EINVAL if there was an
 * error among the complaints, or -errno of the store or -ENOMEM.
 */
int material_load(struct material **ret, const struct config *config, struct store *store,
		  time_t now, enum material_dates dates, struct problems *problems);
/*
 * The same piece by piece, for whoever has no time for all of it: material_go_on() does a little, of some
 * milliseconds at most, and returns 1 as long as there is more, else as material_load(). After its 0 the
 * material is taken, once. What is pointed to must stay until then.
 */
struct material_loading;

int material_begin(struct material_loading **ret, const struct config *config, struct store *store,
		   time_t now, enum material_dates dates, struct problems *problems);
int material_go_on(struct material_loading *loading);
struct material *material_take(struct material_loading *loading);
/* NULL is allowed; returns NULL. */
struct material_loading *material_loading_free(struct material_loading *loading);
/*
 * The same look for whoever checks a configuration, and nothing is kept. Credentials of the service need
 * not be there: they get a warning. Returns 0, -EINVAL if there was an error among the complaints, or
 * -ENOMEM.
 */
int material_check(const struct config *config, time_t now, struct problems *problems);
/*
 * For a @config whose files say what they said when @old was loaded: all is as in @old, which is why
 * nothing of it is read again, except for @changed (NULL: none) of @kind, which is what the store has as
 * its current generation. Names may be new that have no files. Returns 0 or -errno.
 */
int material_carry(struct material **ret, const struct config *config, const struct material *old,
		   struct store *store, enum store_kind kind, const char *changed);
/* @material becomes what @fresh is, which is freed; both are of one config. */
void material_replace(struct material *material, struct material *fresh);
/* The place of an entry of the config. */
size_t material_of_authority(const struct material *material,
			     const struct config_authority *authority);
size_t material_of_identity(const struct material *material,
			    const struct config_identity *identity);
/*
 * The bytes of one of @item's blobs, read anew. Returns 0 and a blob that the caller frees, -ESTALE if
 * what is there now is something else, or another -errno.
 */
int material_read(const struct material_item *item, size_t blob, struct store *store,
		  struct cert_blob **ret);
/*
 * What the configuration's files of @item hold now, whatever is current; dates do not matter. All zeros
 * without files. Returns 0 or as material_load(), after complaints.
 */
int material_origin(const struct material_item *item, uint8_t origin[CERT_DIGEST_SIZE], time_t now,
		    struct problems *problems);
/*
 * The same for something that is to win over the files until they change: files that cannot be read now
 * are as good as those that were taken last, which @store knows of.
 */
void material_last_origin(const struct material_item *item, struct store *store,
			  uint8_t origin[CERT_DIGEST_SIZE], time_t now);
/*
 * What somebody hands over in service: @cert, and of an identity @key, are checked as files are (dates too)
 * and become the current generation in the store; it is taken by the next material_load(). What is
 * current already makes none. @origin: as of material_origin(), all zeros for a name that no file
 * belongs to. Returns 0, -EINVAL after complaints, which name @source, -EKEYREJECTED if they are about
 * the key alone, or another -errno.
 */
int material_set(struct store *store, enum store_kind kind, const char *name, const void *cert,
		 size_t cert_len, const void *key, size_t key_len,
		 const uint8_t origin[CERT_DIGEST_SIZE], time_t now, const char *source,
		 struct problems *problems);
/* Whether both are of one name, or of one key, perhaps of two configurations. */
bool material_item_is_same(const struct material_item *a, const struct material_item *b);
/* The item of that name, or NULL. */
const struct material_item *material_find(const struct material *material, enum store_kind kind,
					  const char *name);
/* Wipes and frees; NULL is allowed; returns NULL. */
struct material *material_free(struct material *material);
