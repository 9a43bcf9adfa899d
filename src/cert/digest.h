/* SPDX-License-Identifier: MIT */
/* SHA-256 of bytes that come in pieces: what a chip's slot holds is known by it, not by a copy. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cert/check.h"

struct cert_digest;

/* Returns 0 or -ENOMEM. */
int cert_digest_new(struct cert_digest **ret);
/* NULL is allowed; returns NULL. */
struct cert_digest *cert_digest_free(struct cert_digest *digest);
/* Starts over. Returns 0 or -ENOMEM, as the others. */
int cert_digest_reset(struct cert_digest *digest);
int cert_digest_update(struct cert_digest *digest, const void *data, size_t len);
int cert_digest_final(struct cert_digest *digest, uint8_t out[CERT_DIGEST_SIZE]);
/* Of one piece of memory. Returns 0 or -ENOMEM. */
int cert_digest_of(const void *data, size_t len, uint8_t out[CERT_DIGEST_SIZE]);
