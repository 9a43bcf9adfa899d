/* SPDX-License-Identifier: MIT */
/*
 * store_parse() takes what is one item's only form, or refuses. The first byte says the kind. Then the
 * last line is made right for a second look, as hardly a change of a file would get past it.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "cert/store.h"
#include "must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(enum store_kind kind, const uint8_t *data, size_t size)
{
	struct store_item *item = NULL;
	void *again = NULL;
	size_t len = 0;
	int r;

	r = store_parse(&item, kind, data, size);
	MUST(r == 0 || r == -EBADMSG);
	MUST((r == 0) == (item != NULL));
	if (!item)
		return;
	MUST(size <= STORE_FILE_MAX && item->generation > 0 && item->time >= 0);
	MUST(item->n_blobs == (kind == STORE_AUTHORITY ? 1 : 2));
	for (size_t i = 0; i < item->n_blobs; i++)
		MUST(item->blobs[i]->len > 0 && item->blobs[i]->len <= CERT_BLOB_MAX);
	MUST(store_format(&again, &len, kind, item) == 0);
	MUST(len == size && memcmp(again, data, size) == 0);
	free(again);
	store_item_free(item);
}

/* Makes the last line fit what is before it. */
static void repair(uint8_t *data, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t digest[CERT_DIGEST_SIZE];
	uint8_t *hex = data + size - 2 * CERT_DIGEST_SIZE - 1;

	MUST(EVP_Digest(data, size - STORE_SUM_SIZE, digest, NULL, EVP_sha256(), NULL) == 1);
	for (size_t i = 0; i < CERT_DIGEST_SIZE; i++) {
		hex[2 * i] = (uint8_t)digits[digest[i] >> 4];
		hex[2 * i + 1] = (uint8_t)digits[digest[i] & 15];
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum store_kind kind;
	uint8_t *copy;

	if (size == 0)
		return 0;
	kind = *data++ % 2 ? STORE_IDENTITY : STORE_AUTHORITY;
	size--;
	look(kind, data, size);
	if (size < STORE_SUM_SIZE)
		return 0;
	copy = malloc(size);
	MUST(copy);
	memcpy(copy, data, size);
	repair(copy, size);
	look(kind, copy, size);
	free(copy);
	return 0;
}
