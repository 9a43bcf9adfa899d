/* SPDX-License-Identifier: MIT */
/* The forms in which people have certificates and keys -> DER blocks. Pure, without OpenSSL. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cert/check.h"

/* Most blocks in one file: more certificates than a blob could hold. */
#define INTAKE_BLOCKS_MAX 64

enum intake_type {
	INTAKE_CERT,
	INTAKE_CERT_TRUSTED, /* a certificate with OpenSSL's trust settings behind it */
	INTAKE_KEY_PKCS8,
	INTAKE_KEY_RSA,       /* PKCS#1 */
	INTAKE_KEY_EC,        /* SEC1 */
	INTAKE_KEY_ENCRYPTED, /* of any form; its @der may be empty */
	INTAKE_KEY_UNUSABLE,  /* of a kind that the chip does not know at all */
	INTAKE_PARAMETERS,    /* what `openssl ecparam -genkey` writes before the key */
	INTAKE_PKCS7,
	INTAKE_PKCS12,
	INTAKE_OTHER,
};

struct intake_block {
	enum intake_type type;
	char label[48];    /* of the PEM block, "DER" if it was none */
	unsigned int line; /* of the PEM block in its file, 0 for none */
	uint8_t *der;
	size_t len;
};

struct intake {
	struct intake_block *blocks;
	size_t n_blocks;
};

#define INTAKE_NULL                                                                                \
	{                                                                                          \
		0                                                                                  \
	}

/*
 * Takes @data apart, at least one block. Returns 0, -EINVAL after a complaint, or -ENOMEM; @intake,
 * which is INTAKE_NULL before, is to be cleared in each case.
 */
int intake_read(struct intake *intake, const uint8_t *data, size_t len,
		const struct cert_source *source, struct problems *problems);
/* Wipes and frees the contents. */
void intake_clear(struct intake *intake);
/* Wipes and frees @len bytes; NULL is allowed. */
void intake_wipe(void *data, size_t len);
