/* SPDX-License-Identifier: MIT */
/*
 * Certificates and keys as people have them -> the bytes that go into the chip, checked. Pure: no
 * file, no clock (the time is an argument), no log.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "util/problems.h"

/* Largest blob that AT+SYSMFG takes; 8192 is ERROR (capture 63). */
#define CERT_BLOB_MAX 8191
#define CERT_DIGEST_SIZE 32 /* SHA-256 */

enum cert_kind {
	CERT_KIND_CA,   /* one or several CA certificates */
	CERT_KIND_CERT, /* a leaf, then its intermediates */
	CERT_KIND_KEY,  /* one private key, unencrypted */
	CERT_KIND_RAW,  /* bytes that nobody looks at, taken for a secret */
};

/* Bytes as they are written to the chip: normalised PEM with LF, without text around the blocks. */
struct cert_blob {
	enum cert_kind kind;
	uint8_t *data; /* NULL: known by length and digest only */
	size_t len;    /* 1..CERT_BLOB_MAX */
	uint8_t digest[CERT_DIGEST_SIZE];
};

/* Where complaints point to. */
struct cert_source {
	const char *file; /* of the config, NULL for none */
	unsigned int line;
	const char *name; /* what people know it by: the file's path */
	bool old_is_fine; /* dates that are not now get a warning, not an error */
};

/*
 * Checks @len bytes of @kind at time @now. Complaints (a certificate that is expired or not yet
 * valid, encrypted key, nothing found, too large...) go to @problems. Returns 0 and the blob, -EINVAL
 * if there was an error among the complaints, or -ENOMEM.
 */
int cert_check(struct cert_blob **ret, enum cert_kind kind, const void *data, size_t len,
	       time_t now, const struct cert_source *source, struct problems *problems);
/* 0 if @key is the private key of @cert's first certificate; else a complaint and -EINVAL. */
int cert_check_pair(const struct cert_blob *cert, const struct cert_blob *key,
		    const struct cert_source *source, struct problems *problems);
/* @len bytes as they are. Returns 0, -EINVAL (none, or too many), or -ENOMEM. */
int cert_blob_new(struct cert_blob **ret, enum cert_kind kind, const void *data, size_t len);
/* "ca", "certificate", "key" or "raw" */
const char *cert_kind_name(enum cert_kind kind);
/* If both are of one kind and hold the same. */
bool cert_blob_equal(const struct cert_blob *a, const struct cert_blob *b);
/* Wipes the bytes; what remains is what they were known by. */
void cert_blob_forget(struct cert_blob *blob);
/* Wipes and frees; NULL is allowed; returns NULL. */
struct cert_blob *cert_blob_free(struct cert_blob *blob);
