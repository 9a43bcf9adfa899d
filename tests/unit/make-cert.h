/* SPDX-License-Identifier: MIT */
/* Certificates and keys made at run time: good ones, and each kind of bad one. */
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

/* 2027-01-15 08:00:00 UTC: the clock of the tests. */
#define MAKE_NOW ((time_t)1800000000)
#define MAKE_DAY (24 * 60 * 60L)

struct make_cert {
	const char *cn;
	const char *organization;
	EVP_PKEY *key;
	X509 *issuer; /* NULL: itself */
	EVP_PKEY *issuer_key;
	long from, to;     /* days from MAKE_NOW; both 0: -1..365 */
	bool v1;           /* version 1, without extensions */
	const char *basic; /* basicConstraints */
	const char *usage; /* extendedKeyUsage */
	const char *md;    /* NULL: SHA256; "": none, as Ed25519 wants */
	bool pss;
	size_t padding; /* bytes of a comment */
};

static inline void make_extension(X509 *x509, int nid, const char *value)
{
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(ext);
	assert_int_equal(X509_add_ext(x509, ext, -1), 1);
	X509_EXTENSION_free(ext);
}

static inline X509 *make_cert(const struct make_cert *make)
{
	bool dates = make->from || make->to;
	X509 *x509 = X509_new();
	X509_NAME *name = X509_get_subject_name(x509);
	const char *md = make->md ? make->md : "SHA256";
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = NULL;

	assert_non_null(x509);
	X509_set_version(x509, make->v1 ? X509_VERSION_1 : X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
	ASN1_TIME_set(X509_getm_notBefore(x509), MAKE_NOW + (dates ? make->from : -1) * MAKE_DAY);
	ASN1_TIME_set(X509_getm_notAfter(x509), MAKE_NOW + (dates ? make->to : 365) * MAKE_DAY);
	if (make->organization)
		X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC,
					   (const unsigned char *)make->organization, -1, -1, 0);
	if (make->cn)
		X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
					   (const unsigned char *)make->cn, -1, -1, 0);
	X509_set_issuer_name(x509, make->issuer ? X509_get_subject_name(make->issuer) : name);
	assert_int_equal(X509_set_pubkey(x509, make->key), 1);
	if (!make->v1) {
		if (make->basic)
			make_extension(x509, NID_basic_constraints, make->basic);
		if (make->usage)
			make_extension(x509, NID_ext_key_usage, make->usage);
		if (make->padding) {
			char text[9000];

			memset(text, 'x', sizeof(text));
			text[make->padding] = '\0';
			make_extension(x509, NID_netscape_comment, text);
		}
	}
	assert_int_equal(EVP_DigestSignInit_ex(ctx, &pctx, md[0] ? md : NULL, NULL, NULL,
					       make->issuer_key ? make->issuer_key : make->key,
					       NULL),
			 1);
	if (make->pss)
		EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
	assert_true(X509_sign_ctx(x509, ctx) > 0);
	EVP_MD_CTX_free(ctx);
	return x509;
}
