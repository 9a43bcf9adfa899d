/* SPDX-License-Identifier: MIT */
/*
 * Which NVS slot holds what: decides where authorities and identities go. Pure.
 *
 * An authority is one key `client_ca.<n>`; an identity is `client_cert.<n>` and `client_key.<n>` with
 * one n, because AT+CIPSSLCCONF takes one number for both. What is on the chip and not ours is left
 * alone: an occupied slot is used only if it holds the very bytes that are wanted, or is pinned.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cert/check.h"
#include "config/config.h"

#define SLOTS_COUNT (CONFIG_SLOT_MAX + 1)

/* What is known of one key of one namespace. */
enum slot_content {
	SLOT_UNKNOWN,  /* nobody has looked yet */
	SLOT_UNLISTED, /* free, unless the line has damaged the listing that does not name it */
	SLOT_FREE,
	SLOT_UNREAD,   /* a key is there */
	SLOT_READ,     /* and this is its digest */
	SLOT_UNUSABLE, /* a key of another NVS type than binary */
};

struct slot {
	enum slot_content content;
	bool taken; /* promised to somebody: not to be chosen */
	uint8_t digest[CERT_DIGEST_SIZE];
};

/* Namespaces, in the order of enum cert_kind. */
struct slots {
	struct slot of[3][SLOTS_COUNT];
};

const char *slots_namespace(enum cert_kind kind);
/* `<namespace>.<slot>`, for a command. */
void slots_key(enum cert_kind kind, int slot, char *buf, size_t size);
/* The slot number of a key of @kind's namespace, or -1. */
int slots_of_key(enum cert_kind kind, const char *key);

enum slots_verdict {
	SLOTS_USE,   /* every blob is there: nothing to do */
	SLOTS_READ,  /* read this key first */
	SLOTS_WRITE, /* write the blobs that are not there */
	SLOTS_FULL,  /* no slot is free */
};

struct slots_choice {
	enum slots_verdict verdict;
	int slot;
	enum cert_kind kind; /* SLOTS_READ */
};

/*
 * Where @n blobs (of different kinds) that must share a number go. @pinned: the number, or
 * CONFIG_SLOT_AUTO; then it must be known what is in the namespaces of these kinds. Called again after
 * each read that it asks for.
 */
struct slots_choice slots_choose(const struct slots *slots, const struct cert_blob *blobs, size_t n,
				 int pinned);
/* If one of the keys that the blobs would be written to is only thought to be free: that of @kind. */
bool slots_unsure(const struct slots *slots, int slot, const struct cert_blob *blobs, size_t n,
		  enum cert_kind *kind);
/* Also if only a listing says so. */
bool slot_is_free(const struct slot *slot);
/* What it holds, if anything, is not known for sure. */
bool slot_is_to_be_read(const struct slot *slot);
/* If the slot is known to hold the blob. */
bool slot_holds(const struct slot *slot, const struct cert_blob *blob);
bool slots_holds(const struct slots *slots, int slot, const struct cert_blob *blob);
/* What a listing has not named. It is read before it is written to. */
void slots_listed(struct slots *slots, enum cert_kind kind);
