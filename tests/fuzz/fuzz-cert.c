/* SPDX-License-Identifier: MIT */
/*
 * Certificates and keys of any bytes; the first byte chooses the kind. What is taken is of a good
 * size, and comes out unchanged when it is taken again.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "cert/check.h"
#include "cert/info.h"
#include "must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 2027-01-15 08:00:00 UTC: the seeds are valid then, today and later. */
#define NOW ((time_t)1800000000)

/* What is told of any bytes can be shown to anybody. */
static void must_be_text(const char *text)
{
	MUST(strlen(text) <= CERT_NAME_MAX);
	for (const unsigned char *p = (const unsigned char *)text; *p; p++)
		MUST(*p >= 0x20 && *p != 0x7f && !(p[0] == 0xc2 && p[1] < 0xa0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct cert_source source = { .name = "x" };
	struct cert_blob *blob = NULL, *again = NULL;
	struct problems problems = PROBLEMS_NULL;
	struct cert_info info;
	enum cert_kind kind;
	int r;

	if (size == 0)
		return 0;
	kind = (enum cert_kind)(*data++ % 3);
	size--;
	r = cert_info_of(&info, data, size);
	MUST(r == 0 || (r == -EINVAL && !info.subject[0] && !info.issuer[0] && !info.not_after));
	must_be_text(info.subject);
	must_be_text(info.issuer);
	r = cert_check(&blob, kind, data, size, NOW, &source, &problems);
	MUST(r == 0 || r == -EINVAL);
	MUST((r == 0) == (problems.errors == 0) && (r == 0) == (blob != NULL));
	for (size_t i = 0; i < problems.count; i++)
		MUST(!strchr(problems.items[i].text, '\n'));
	if (blob) {
		MUST(blob->kind == kind && blob->len > 0 && blob->len <= CERT_BLOB_MAX);
		MUST(!memchr(blob->data, '\r', blob->len) && !memchr(blob->data, '\0', blob->len));
		MUST(cert_check(&again, kind, blob->data, blob->len, NOW, &source, &problems) == 0);
		MUST(again->len == blob->len && memcmp(again->data, blob->data, blob->len) == 0);
		MUST(memcmp(again->digest, blob->digest, CERT_DIGEST_SIZE) == 0);
		MUST((cert_info_of(&info, blob->data, blob->len) == 0) == (kind != CERT_KIND_KEY));
	}
	cert_blob_free(blob);
	cert_blob_free(again);
	problems_clear(&problems);
	return 0;
}
