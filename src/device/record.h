/* SPDX-License-Identifier: MIT */
/*
 * Our record on the chip itself: which keys of its NVS are ours, under which name, in which generation
 * and with which content. It is written before what it speaks of, so whatever is cut off, nothing of
 * ours stands on a chip without being known to be ours, also on another host. Pure.
 *
 * It is CONFIG_NVS_OWN / RECORD_KEY. One that is whole is not written over before RECORD_KEY_COPY has
 * the same, so a write that is cut off leaves one or the other. Text lines:
 *
 *	espatd 1 <flash writes and erases so far>
 *	<key> <hash of the name> <generation> <SHA-256 of the content>
 *	...
 *	sum <SHA-256 of all before>
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "at/reply.h"
#include "cert/check.h"

#define RECORD_KEY "slots"
#define RECORD_KEY_COPY "slots.copy"
/* 30 slots for clients, 3 keys for Enterprise Wi-Fi, CONFIG_NVS_DEVICE_MAX, and some to spare. */
#define RECORD_MAX 72

struct record_entry {
	char key[AT_NVS_NAME_MAX +
		 1];   /* "client_ca.3"; its namespace is what stands before the dot */
	uint64_t name; /* see record_name() */
	unsigned int generation;
	uint8_t digest[CERT_DIGEST_SIZE];
};

struct record {
	struct record_entry entries[RECORD_MAX];
	size_t n;
	uint64_t writes; /* so far, and those that are announced */
};

/* Names of one kind ("authority") are told apart by this; the names themselves stay on the host. */
uint64_t record_name(const char *kind, const char *name);
/* Strict: returns 0, or -EBADMSG and an empty record. */
int record_parse(struct record *ret, const void *data, size_t len);
/* Text of at most CERT_BLOB_MAX bytes; @buf has room for that. Returns its length. */
size_t record_format(const struct record *record, char buf[CERT_BLOB_MAX]);
/* NULL: that key is not ours. */
const struct record_entry *record_find(const struct record *record, const char *key);
/* Adds @entry, or replaces the one of its key. Returns 0, or -ENOSPC. */
int record_put(struct record *record, const struct record_entry *entry);
void record_remove(struct record *record, const char *key);
/* The same entries; the order and the writes do not count. */
bool record_equal(const struct record *a, const struct record *b);
/* @a has all entries of @b, as they are there. */
bool record_covers(const struct record *a, const struct record *b);
/* The namespace of a key: @buf has room for any. */
void record_namespace(const char *key, char buf[AT_NVS_NAME_MAX + 1]);
