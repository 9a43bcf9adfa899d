/* SPDX-License-Identifier: MIT */
/* OpenSSL's memory, dates and certificates. */
#include "cert/openssl.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

/* Of all of OpenSSL, as its allocator is. */
static unsigned int shortages;

static void *wipe_malloc(size_t n, const char *file, int line)
{
	void *p = malloc(n);

	if (!p && n > 0)
		shortages++;
	return p;
}

static void wipe_free(void *p, const char *file, int line)
{
	if (!p)
		return;
	explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

static void *wipe_realloc(void *p, size_t n, const char *file, int line)
{
	size_t old = p ? malloc_usable_size(p) : 0;
	void *q;

	if (n == 0) {
		wipe_free(p, file, line);
		return NULL;
	}
	q = wipe_malloc(n, file, line);
	if (!q)
		return NULL;
	if (p)
		memcpy(q, p, old < n ? old : n);
	wipe_free(p, file, line);
	return q;
}

void openssl_wipe_memory(void)
{
	CRYPTO_set_mem_functions(wipe_malloc, wipe_realloc, wipe_free);
}

unsigned int openssl_shortages(void)
{
	return shortages;
}

bool openssl_time_of(time_t *ret, const ASN1_TIME *time)
{
	struct tm tm;

	if (!time || !ASN1_TIME_to_tm(time, &tm))
		return false;
	*ret = timegm(&tm);
	return true;
}

X509 *openssl_cert_of(const unsigned char *der, size_t len, bool trusted)
{
	const unsigned char *p = der;
	X509 *x509 = trusted ? d2i_X509_AUX(NULL, &p, (long)len) : d2i_X509(NULL, &p, (long)len);

	if (x509 && p != der + len) {
		X509_free(x509);
		return NULL;
	}
	return x509;
}
