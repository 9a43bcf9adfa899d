/* SPDX-License-Identifier: MIT */
/* SHA-256 of bytes that come in pieces. */
#include "cert/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "cert/openssl.h"

struct cert_digest {
	EVP_MD_CTX *ctx;
};

int cert_digest_new(struct cert_digest **ret)
{
	struct cert_digest *digest = calloc(1, sizeof(*digest));

	if (!digest)
		return -ENOMEM;
	openssl_wipe_memory();
	digest->ctx = EVP_MD_CTX_new();
	if (!digest->ctx) {
		free(digest);
		return -ENOMEM;
	}
	*ret = digest;
	return 0;
}

struct cert_digest *cert_digest_free(struct cert_digest *digest)
{
	if (!digest)
		return NULL;
	EVP_MD_CTX_free(digest->ctx);
	free(digest);
	return NULL;
}

/* Of the host's own bytes, only memory can be short. */
int cert_digest_reset(struct cert_digest *digest)
{
	return EVP_DigestInit_ex(digest->ctx, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

int cert_digest_update(struct cert_digest *digest, const void *data, size_t len)
{
	return EVP_DigestUpdate(digest->ctx, data, len) == 1 ? 0 : -ENOMEM;
}

int cert_digest_final(struct cert_digest *digest, uint8_t out[CERT_DIGEST_SIZE])
{
	return EVP_DigestFinal_ex(digest->ctx, out, NULL) == 1 ? 0 : -ENOMEM;
}

int cert_digest_of(const void *data, size_t len, uint8_t out[CERT_DIGEST_SIZE])
{
	openssl_wipe_memory();
	return EVP_Digest(data, len, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}
