/* SPDX-License-Identifier: MIT */
/* What is known of the values on a chip beside those that it must hold: what looking at it has found. */
#pragma once

#include "cert/info.h"
#include "device/internal.h"

/*
 * Values that are kept in mind of one chip: each has 10 slots and a key without one in each of three
 * dozen namespaces at most, but its partition of NVS has no room for so many. More is not looked at.
 */
#define VALUES_MAX 160
/* Users that are told of one value; the others have the same content. */
#define VALUE_USERS_MAX 16

struct value_entry {
	char namespace[AT_NVS_NAME_MAX + 1];
	int slot;
	enum cert_kind kind;
	bool is_binary;
	bool known; /* what follows is */
	size_t len;
	uint8_t digest[CERT_DIGEST_SIZE];
	struct cert_info *info; /* owned; NULL: none */
};

struct value_cache {
	char mac[AT_MAC_MAX + 1]; /* of the chip */
	struct value_entry *entries;
	size_t n;
	bool overflow; /* there were more */
};

int value_cache_new(struct value_cache **ret, const char *mac);
/* NULL is allowed; returns NULL. */
struct value_cache *value_cache_free(struct value_cache *cache);
struct value_entry *value_cache_find(const struct value_cache *cache, const char *namespace,
				     int slot);
/* NULL: there is no room. */
struct value_entry *value_cache_add(struct value_cache *cache, const char *namespace, int slot,
				    bool is_binary);
/* What was read; @text NULL: nobody may look into it. */
void value_entry_fill(struct value_entry *e, const uint8_t digest[CERT_DIGEST_SIZE], size_t len,
		      const uint8_t *text);

/* The @i-th namespace that is looked at: the known ones, then `extra_namespaces`; NULL: no more. */
const char *values_namespace(const struct device *dev, size_t i);
/* The key of a slot, and back; false: it is no such key. */
void values_key(const char *namespace, int slot, char key[AT_NVS_NAME_MAX + 1]);
bool values_slot_of(const char *namespace, const char *key, int *slot);
/* @blob stands there now. */
void values_note(struct device *dev, const char *namespace, int slot, const struct cert_blob *blob);

struct value_problems {
	char **lines; /* owned */
	size_t n;
};

/* What of ours is not as it should be, by what was found. Returns 0 or -ENOMEM. */
int values_compare(const struct device *dev, struct value_problems *ret);
void value_problems_clear(struct value_problems *problems);
