/* SPDX-License-Identifier: MIT */
/* Subject, issuer and dates of a certificate. */
#include "cert/info.h"

#include <errno.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <string.h>

#include "cert/intake.h"
#include "cert/openssl.h"
#include "util/utf8.h"

/* C0, DEL, C1: a terminal would obey them. */
static bool is_control(const unsigned char *p)
{
	return p[0] < 0x20 || p[0] == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0);
}

/* Whole characters only; what cannot be shown is a '?'. */
static void copy_text(char text[CERT_NAME_MAX + 1], const unsigned char *data, size_t len)
{
	size_t used = 0;

	while (len > 0) {
		size_t n = utf8_character((const char *)data, len, NULL);
		bool good = n > 0 && !is_control(data);
		size_t room = good ? n : 1;

		if (used + room > CERT_NAME_MAX)
			break;
		if (good)
			memcpy(text + used, data, n);
		else
			text[used] = '?';
		used += room;
		data += n > 0 ? n : 1;
		len -= n > 0 ? n : 1;
	}
	text[used] = '\0';
}

static void name_text(char text[CERT_NAME_MAX + 1], const X509_NAME *name)
{
	/* UTF-8 as it is; control characters are escaped. */
	unsigned long flags = XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB;
	BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long len;

	text[0] = '\0';
	if (!bio)
		return;
	len = X509_NAME_print_ex(bio, name, 0, flags) < 0 ? 0 : BIO_get_mem_data(bio, &data);
	if (len > 0)
		copy_text(text, (const unsigned char *)data, (size_t)len);
	BIO_free(bio);
}

static int info_of_block(struct cert_info *ret, const struct intake_block *block)
{
	X509 *x509 = openssl_cert_of(block->der, block->len, block->type == INTAKE_CERT_TRUSTED);

	if (!x509)
		return -EINVAL;
	name_text(ret->subject, X509_get_subject_name(x509));
	name_text(ret->issuer, X509_get_issuer_name(x509));
	if (!openssl_time_of(&ret->not_before, X509_get0_notBefore(x509)))
		ret->not_before = 0;
	if (!openssl_time_of(&ret->not_after, X509_get0_notAfter(x509)))
		ret->not_after = 0;
	X509_free(x509);
	return 0;
}

static int info_of_first(struct cert_info *ret, const struct intake *intake)
{
	for (size_t i = 0; i < intake->n_blocks; i++) {
		const struct intake_block *block = &intake->blocks[i];

		if (block->type == INTAKE_CERT || block->type == INTAKE_CERT_TRUSTED)
			return info_of_block(ret, block);
	}
	return -EINVAL;
}

int cert_info_of(struct cert_info *ret, const void *pem, size_t len)
{
	const struct cert_source nowhere = { 0 };
	struct problems none = PROBLEMS_NULL;
	struct intake intake = INTAKE_NULL;
	const unsigned char *data = pem;
	int r;

	openssl_wipe_memory();
	*ret = (struct cert_info){ 0 };
	/* Some write a final NUL, which the firmware does not mind (protocol fact 7). */
	while (len > 0 && data[len - 1] == '\0')
		len--;
	r = intake_read(&intake, data, len, &nowhere, &none);
	if (r == 0)
		r = info_of_first(ret, &intake);
	intake_clear(&intake);
	problems_clear(&none);
	ERR_clear_error();
	return r < 0 ? -EINVAL : 0;
}
