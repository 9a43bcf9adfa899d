/* SPDX-License-Identifier: MIT */
/* Whether the chip can use a certificate or key, decided on the host by OpenSSL. */
#include "cert/check.h"

#include <assert.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cert/complain.h"
#include "cert/intake.h"
#include "cert/openssl.h"
#include "util/cleanup.h"

/* mbedTLS on the chip has 4096 bytes for what it sends at once, the Certificate message too. */
#define TLS_OUT_MAX 4096
#define TLS_OUT_TIGHT 3500
/* Of the Certificate message: type and length, length of the list; then a length per certificate. */
#define TLS_MESSAGE_HEAD 7
#define TLS_ENTRY_HEAD 3

#define RSA_BITS_MIN 1024
#define RSA_BITS_MAX 4096
/* What mbedTLS's default profile wants in a chain that it verifies. */
#define RSA_BITS_GOOD 2048

#define DAY ((time_t)24 * 60 * 60)
/* Early enough to get a new certificate by hand. */
#define EXPIRES_SOON (30 * DAY)

#define PEM_LINE 64 /* characters of base64 */

struct check_cert {
	X509 *x509;
	const struct intake_block *block; /* weak */
	size_t der_len;
	char who[200]; /* "certificate 2 (CN = broker): " */
};

struct check {
	enum cert_kind kind;
	time_t now;
	const struct cert_source *source;
	struct problems *problems;
	struct intake intake;
	struct check_cert *certs;
	size_t n_certs;
	int error; /* 0 or -ENOMEM */
};

static void x509_freep(X509 **x509)
{
	X509_free(*x509);
}

static void pkey_freep(EVP_PKEY **pkey)
{
	EVP_PKEY_free(*pkey);
}

/* ---- complaints ---- */

#define COMPLAIN(check_, severity_, ...)                                                           \
	do {                                                                                       \
		if (cert_complain((check_)->source, (check_)->problems, (severity_),               \
				  __VA_ARGS__) < 0)                                                \
			(check_)->error = -ENOMEM;                                                 \
	} while (0)
#define REFUSE(check_, ...) COMPLAIN(check_, PROBLEM_ERROR, __VA_ARGS__)
#define WARN(check_, ...) COMPLAIN(check_, PROBLEM_WARNING, __VA_ARGS__)

static const char *check_name(const struct check *check)
{
	return check->source->name ? check->source->name : "FILE";
}

/* The common name, else the whole subject. */
static void subject_text(char *text, size_t size, const X509 *x509)
{
	X509_NAME *subject = X509_get_subject_name(x509);
	BIO *bio = BIO_new(BIO_s_mem());
	int i = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	char *data;
	long len;

	text[0] = '\0';
	if (!bio)
		return;
	if (i >= 0) {
		BIO_puts(bio, "CN = ");
		ASN1_STRING_print_ex(bio, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i)),
				     ASN1_STRFLGS_RFC2253 & ~ASN1_STRFLGS_ESC_2253);
	} else {
		X509_NAME_print_ex(bio, subject, 0, XN_FLAG_ONELINE);
	}
	len = BIO_get_mem_data(bio, &data);
	if (len > 0)
		snprintf(text, size, "%.*s", len > 100 ? 100 : (int)len, data);
	BIO_free(bio);
}

/* ---- keys ---- */

/* Whether the chip can use @pkey at all; @who says whose it is. */
static bool check_public_key(struct check *check, const EVP_PKEY *pkey, const char *who)
{
	static const char expected[] =
		"expected RSA of 2048 to 4096 bits, or EC P-256, P-384 or P-521";
	char group[64] = "";
	int bits, explicit = 0;
	size_t len;

	if (!pkey) {
		REFUSE(check, "%sthe key is of an unknown or broken kind, %s", who, expected);
		return false;
	}
	bits = EVP_PKEY_get_bits(pkey);
	switch (EVP_PKEY_get_base_id(pkey)) {
	case EVP_PKEY_RSA:
		if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX) {
			REFUSE(check, "%sRSA key of %d bits, which the chip cannot use, %s", who,
			       bits, expected);
			return false;
		}
		if (bits < RSA_BITS_GOOD)
			WARN(check,
			     "%sRSA key of %d bits is weak, and refused where the firmware "
			     "verifies, %s",
			     who, bits, expected);
		return true;
	case EVP_PKEY_EC:
		if (EVP_PKEY_get_int_param(pkey, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
					   &explicit) &&
		    explicit) {
			REFUSE(check,
			       "%sEC key with explicit parameters, which the chip cannot read, "
			       "expected a named curve (-pkeyopt ec_param_enc:named_curve)",
			       who);
			return false;
		}
		if (!EVP_PKEY_get_group_name(pkey, group, sizeof(group), &len))
			group[0] = '\0';
		if (strcmp(group, "prime256v1") == 0 || strcmp(group, "secp384r1") == 0 ||
		    strcmp(group, "secp521r1") == 0)
			return true;
		REFUSE(check, "%sEC key on the curve %s, which the chip cannot use, %s", who,
		       group[0] ? group : "without a name", expected);
		return false;
	case EVP_PKEY_RSA_PSS:
		REFUSE(check, "%sRSA key that is bound to PSS, which the chip cannot read, %s", who,
		       expected);
		return false;
	case EVP_PKEY_ED25519:
	case EVP_PKEY_ED448:
		REFUSE(check, "%s%s key: the chip's mbedTLS knows no Edwards curves, %s", who,
		       EVP_PKEY_get_base_id(pkey) == EVP_PKEY_ED25519 ? "Ed25519" : "Ed448",
		       expected);
		return false;
	}
	REFUSE(check, "%s%s key, which the chip cannot use, %s", who,
	       EVP_PKEY_get0_type_name(pkey) ? EVP_PKEY_get0_type_name(pkey) : "unknown", expected);
	return false;
}

/* Signs and verifies something, as a broken private part shows in no other way. */
static bool key_works(EVP_PKEY *pkey)
{
	static const unsigned char text[] = "espatd";
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	unsigned char sig[1024];
	size_t len = sizeof(sig);
	bool works = false;

	if (md && EVP_DigestSignInit_ex(md, NULL, "SHA256", NULL, NULL, pkey, NULL) > 0 &&
	    EVP_DigestSign(md, sig, &len, text, sizeof(text)) > 0) {
		EVP_MD_CTX_reset(md);
		works = EVP_DigestVerifyInit_ex(md, NULL, "SHA256", NULL, NULL, pkey, NULL) > 0 &&
			EVP_DigestVerify(md, sig, len, text, sizeof(text)) > 0;
	}
	EVP_MD_CTX_free(md);
	return works;
}

/* The version of a PKCS#1 or PKCS#8 key: SEQUENCE { INTEGER version, ... }; -1 if there is none. */
static int key_version(const struct intake_block *block)
{
	const uint8_t *p = block->der;
	size_t head;

	if (block->len < 2)
		return -1;
	head = p[1] & 0x80 ? 2 + (p[1] & 0x7f) : 2;
	if (block->len < head + 3 || p[head] != 0x02 || p[head + 1] != 1)
		return -1;
	return p[head + 2];
}

static const char *key_label(const struct intake_block *block)
{
	switch (block->type) {
	case INTAKE_KEY_RSA:
		return "RSA PRIVATE KEY";
	case INTAKE_KEY_EC:
		return "EC PRIVATE KEY";
	case INTAKE_KEY_PKCS8:
		return "PRIVATE KEY";
	case INTAKE_CERT:
	case INTAKE_CERT_TRUSTED:
	case INTAKE_KEY_ENCRYPTED:
	case INTAKE_KEY_UNUSABLE:
	case INTAKE_PARAMETERS:
	case INTAKE_PKCS7:
	case INTAKE_PKCS12:
	case INTAKE_OTHER:
		break;
	}
	return NULL;
}

static void check_key(struct check *check, const struct intake_block *block)
{
	_cleanup_(pkey_freep) EVP_PKEY *pkey = NULL;
	const unsigned char *p = block->der;
	size_t errors = check->problems->errors;

	pkey = d2i_AutoPrivateKey(NULL, &p, block->len);
	if (!pkey) {
		REFUSE(check, "is no private key that OpenSSL can read (damaged, or of an unknown "
			      "kind), expected RSA or EC");
		return;
	}
	if (p != block->der + block->len) {
		REFUSE(check, "has %zu bytes behind the end of the key, expected none",
		       (size_t)(block->der + block->len - p));
		return;
	}
	if (!check_public_key(check, pkey, ""))
		return;
	if (block->type == INTAKE_KEY_RSA && key_version(block) != 0)
		REFUSE(check, "is an RSA key of more than two primes, which the chip cannot use, "
			      "expected two");
	if (block->type == INTAKE_KEY_PKCS8 && key_version(block) != 0)
		REFUSE(check,
		       "is PKCS#8 of version 2, which the chip cannot read, expected version 1: "
		       "openssl pkey -in %s -out NEWFILE",
		       check_name(check));
	if (check->problems->errors == errors && !key_works(pkey))
		REFUSE(check,
		       "the key is damaged: it cannot verify what it signs, expected a whole "
		       "one");
}

/* ---- certificates ---- */

static bool name_has(const X509_NAME *name, int nid, const char *value)
{
	for (int i = -1; (i = X509_NAME_get_index_by_NID(name, nid, i)) >= 0;) {
		const ASN1_STRING *s = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i));

		if ((size_t)ASN1_STRING_length(s) == strlen(value) &&
		    memcmp(ASN1_STRING_get0_data(s), value, strlen(value)) == 0)
			return true;
	}
	return false;
}

/* Espressif's sample certificates, whose keys are in the public esp-at repository (capture 10). */
static bool is_factory_name(const X509_NAME *name)
{
	static const char *const organizations[] = { "ESP C1", "ESP C2", "ESP S1",      "ESP S2",
						     "ESP1",   "ESP2",   "ESPRESSIF AT" };

	for (size_t i = 0; i < sizeof(organizations) / sizeof(organizations[0]); i++)
		if (name_has(name, NID_organizationName, organizations[i]))
			return true;
	return name_has(name, NID_commonName, "ESP-AT root CA");
}

static void time_text(char *text, size_t size, time_t time)
{
	struct tm tm;

	if (!gmtime_r(&time, &tm) || strftime(text, size, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		text[0] = '\0';
}

/* "5 days", or hours below one day, for the reader's eye. */
static void span_text(char *text, size_t size, time_t span)
{
	if (span >= 2 * DAY)
		snprintf(text, size, "%lld days", (long long)(span / DAY));
	else
		snprintf(text, size, "%lld hours", (long long)((span + 3599) / 3600));
}

static void check_dates(struct check *check, const struct check_cert *cert)
{
	enum problem_severity severity = check->source->old_is_fine ? PROBLEM_WARNING
								    : PROBLEM_ERROR;
	char date[64], now[64], span[64];
	time_t from, to;

	if (!openssl_time_of(&from, X509_get0_notBefore(cert->x509)) ||
	    !openssl_time_of(&to, X509_get0_notAfter(cert->x509))) {
		REFUSE(check, "%sthe dates are malformed, expected ones as RFC 5280 has them",
		       cert->who);
		return;
	}
	time_text(now, sizeof(now), check->now);
	if (check->now > to) {
		time_text(date, sizeof(date), to);
		span_text(span, sizeof(span), check->now - to);
		COMPLAIN(check, severity,
			 "%sexpired on %s, %s ago, expected one that is valid now (%s)", cert->who,
			 date, span, now);
	} else if (check->now < from) {
		time_text(date, sizeof(date), from);
		span_text(span, sizeof(span), from - check->now);
		COMPLAIN(check, severity,
			 "%snot yet valid: it begins on %s, in %s, expected one that is valid now "
			 "(%s)",
			 cert->who, date, span, now);
	} else if (to - check->now < EXPIRES_SOON) {
		time_text(date, sizeof(date), to);
		span_text(span, sizeof(span), to - check->now);
		WARN(check, "%sexpires on %s, in %s", cert->who, date, span);
	}
}

/* The chip parses no certificate whose signature algorithm it does not know. */
static void check_signature(struct check *check, const struct check_cert *cert)
{
	int nid = X509_get_signature_nid(cert->x509), md = NID_undef, pk = NID_undef;
	const char *name = OBJ_nid2ln(nid);

	if (nid == NID_rsassaPss) {
		WARN(check,
		     "%ssigned with RSASSA-PSS, which not every firmware can read, expected "
		     "RSA (PKCS#1 v1.5) or ECDSA",
		     cert->who);
		return;
	}
	if (nid == NID_undef || !OBJ_find_sigid_algs(nid, &md, &pk))
		md = NID_undef;
	if (pk != NID_rsaEncryption && pk != NID_X9_62_id_ecPublicKey)
		md = NID_undef;
	switch (md) {
	case NID_sha224:
	case NID_sha256:
	case NID_sha384:
	case NID_sha512:
		return;
	case NID_sha1:
	case NID_md5:
		/* Of a CA the chip has no need to check the signature: it is trusted as it is. */
		if (check->kind == CERT_KIND_CERT)
			WARN(check,
			     "%ssigned with %s, which most servers refuse, expected SHA-256 or "
			     "better",
			     cert->who, name);
		return;
	}
	REFUSE(check,
	       "%ssigned with %s, which the chip cannot read, expected RSA or ECDSA with "
	       "SHA-256, SHA-384 or SHA-512",
	       cert->who, nid == NID_undef || !name ? "an unknown algorithm" : name);
}

static void check_ca(struct check *check, const struct check_cert *cert)
{
	switch (X509_check_ca(cert->x509)) {
	case 1:
		return;
	case 3:
		WARN(check,
		     "%sself-signed certificate of version 1, which does not say that it is a "
		     "CA; it is taken for one",
		     cert->who);
		return;
	}
	REFUSE(check, "%sis not the certificate of a CA, expected basicConstraints CA:TRUE%s",
	       cert->who,
	       X509_get_extended_key_usage(cert->x509) != UINT32_MAX ? " (is it the server's own?)"
								     : "");
}

/* What servers look at in a client's certificate. */
static void check_leaf(struct check *check, const struct check_cert *cert)
{
	uint32_t usage = X509_get_extended_key_usage(cert->x509);

	if (usage != UINT32_MAX && !(usage & (XKU_SSL_CLIENT | XKU_ANYEKU)))
		WARN(check, "%sits extendedKeyUsage has no clientAuth: servers may refuse it",
		     cert->who);
	if (X509_check_ca(cert->x509) == 1)
		WARN(check, "%sis the certificate of a CA, expected one of this client first",
		     cert->who);
}

static X509 *parse_cert(const struct intake_block *block, size_t *der_len)
{
	X509 *x509 = openssl_cert_of(block->der, block->len, block->type == INTAKE_CERT_TRUSTED);

	if (x509) {
		/* The trust settings stand behind the certificate, so its length cuts them off. */
		int len = i2d_X509(x509, NULL);

		if (len <= 0 || (size_t)len > block->len) {
			X509_free(x509);
			return NULL;
		}
		*der_len = len;
	}
	return x509;
}

static void check_cert(struct check *check, size_t i)
{
	struct check_cert *cert = &check->certs[i];
	char subject[128];

	assert(cert->block);
	if (check->n_certs > 1)
		snprintf(cert->who, sizeof(cert->who), "certificate %zu: ", i + 1);
	cert->x509 = parse_cert(cert->block, &cert->der_len);
	if (!cert->x509) {
		REFUSE(check, "%sdamaged: OpenSSL cannot read it, expected an X.509 certificate",
		       cert->who);
		return;
	}
	subject_text(subject, sizeof(subject), cert->x509);
	if (check->n_certs > 1)
		snprintf(cert->who, sizeof(cert->who), "certificate %zu (%s): ", i + 1, subject);
	else
		snprintf(cert->who, sizeof(cert->who), "certificate (%s): ", subject);
	for (size_t k = 0; k < i; k++)
		if (check->certs[k].x509 && X509_cmp(check->certs[k].x509, cert->x509) == 0) {
			REFUSE(check, "%sis the same as certificate %zu, expected it once",
			       cert->who, k + 1);
			return;
		}
	check_dates(check, cert);
	check_public_key(check, X509_get0_pubkey(cert->x509), cert->who);
	check_signature(check, cert);
	if (check->kind == CERT_KIND_CA)
		check_ca(check, cert);
	else if (i == 0)
		check_leaf(check, cert);
	if (is_factory_name(X509_get_subject_name(cert->x509)) ||
	    is_factory_name(X509_get_issuer_name(cert->x509)))
		WARN(check,
		     "%sfrom Espressif's public samples: everybody has its key, it proves "
		     "nothing",
		     cert->who);
}

static bool issued(X509 *issuer, X509 *subject)
{
	EVP_PKEY *key = X509_get0_pubkey(issuer);

	return key && X509_check_issued(issuer, subject) == X509_V_OK &&
	       X509_verify(subject, key) > 0;
}

/* Each certificate must be followed by the one that issued it. */
static void check_order(struct check *check)
{
	for (size_t i = 0; i + 1 < check->n_certs; i++) {
		const struct check_cert *cert = &check->certs[i], *next = cert + 1;
		const char *hint = "";

		/* The same one twice was complained about before. */
		if (!cert->x509 || !next->x509 || X509_cmp(cert->x509, next->x509) == 0 ||
		    issued(next->x509, cert->x509))
			continue;
		for (size_t k = 0; k < check->n_certs; k++)
			if (k != i && check->certs[k].x509 &&
			    issued(check->certs[k].x509, cert->x509))
				hint = " (its issuer is in the file, so only the order is wrong)";
		if (issued(cert->x509, next->x509))
			hint = " (it is the other way round: turn the order)";
		REFUSE(check,
		       "%swas not issued by certificate %zu, expected the client's "
		       "certificate first and each one's issuer after it%s",
		       cert->who, i + 2, hint);
	}
}

/* ---- sizes ---- */

static size_t pem_size(const char *label, size_t len)
{
	size_t text = (len + 2) / 3 * 4;

	return strlen("-----BEGIN -----\n-----END -----\n") + 2 * strlen(label) + text +
	       (text + PEM_LINE - 1) / PEM_LINE;
}

/* "device 1200, intermediate 1800 bytes", in memory of the caller; NULL: out of memory. */
static char *size_list(const struct check *check, bool pem)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	for (size_t i = 0; i < check->n_certs; i++) {
		const struct check_cert *cert = &check->certs[i];
		char subject[128];

		subject_text(subject, sizeof(subject), cert->x509);
		fprintf(f, "%s%zu (%s): %zu", i ? ", " : "", i + 1, subject,
			pem ? pem_size("CERTIFICATE", cert->der_len) : cert->der_len);
	}
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* Something to do about a chain that is too long. */
static const char *chain_hint(const struct check *check)
{
	const X509 *last = check->certs[check->n_certs - 1].x509;

	if (check->n_certs > 1 &&
	    X509_NAME_cmp(X509_get_subject_name(last), X509_get_issuer_name(last)) == 0)
		return "leave out the root at the end (servers have it), or use EC keys";
	return "use EC keys, which are smaller";
}

static void check_chain_size(struct check *check)
{
	_cleanup_free_ char *sizes = NULL;
	size_t total = TLS_MESSAGE_HEAD;

	for (size_t i = 0; i < check->n_certs; i++)
		total += TLS_ENTRY_HEAD + check->certs[i].der_len;
	if (total <= TLS_OUT_TIGHT)
		return;
	sizes = size_list(check, false);
	if (!sizes)
		check->error = -ENOMEM;
	else if (total > TLS_OUT_MAX)
		REFUSE(check,
		       "the chain takes %zu bytes in the handshake, expected at most %d, the "
		       "chip's TLS output buffer; certificates in bytes of DER: %s; %s",
		       total, TLS_OUT_MAX, sizes, chain_hint(check));
	else
		WARN(check,
		     "the chain takes %zu bytes in the handshake, which is close to the %d of "
		     "the chip's TLS output buffer; certificates in bytes of DER: %s; %s",
		     total, TLS_OUT_MAX, sizes, chain_hint(check));
}

static void check_blob_size(struct check *check, size_t len)
{
	_cleanup_free_ char *sizes = NULL;

	if (len <= CERT_BLOB_MAX)
		return;
	if (check->kind == CERT_KIND_KEY) {
		REFUSE(check, "the key takes %zu bytes as PEM, expected at most %d", len,
		       CERT_BLOB_MAX);
		return;
	}
	sizes = size_list(check, true);
	if (!sizes)
		check->error = -ENOMEM;
	else
		REFUSE(check,
		       "the certificates take %zu bytes as PEM, expected at most %d, the chip's "
		       "largest value; each one's bytes: %s; %s",
		       len, CERT_BLOB_MAX, sizes,
		       check->kind == CERT_KIND_CA ? "keep only the CAs that these servers need"
						   : chain_hint(check));
}

/* ---- the blob ---- */

static char *put_pem(char *p, const char *label, const uint8_t *der, size_t len)
{
	p += sprintf(p, "-----BEGIN %s-----\n", label);
	while (len > 0) {
		size_t n = len < PEM_LINE / 4 * 3 ? len : PEM_LINE / 4 * 3;

		p += EVP_EncodeBlock((unsigned char *)p, der, n);
		*p++ = '\n';
		der += n;
		len -= n;
	}
	return p + sprintf(p, "-----END %s-----\n", label);
}

DEFINE_CLEANUP(struct cert_blob *, cert_blob_free)

/* All checks but this one's are done; the sizes are complained about here. */
static int make_blob(struct cert_blob **ret, struct check *check, const struct intake_block *key)
{
	_cleanup_(cert_blob_freep) struct cert_blob *blob = NULL;
	size_t len = 0, errors = check->problems->errors;
	char *p;

	if (key)
		len = pem_size(key_label(key), key->len);
	for (size_t i = 0; i < check->n_certs; i++)
		len += pem_size("CERTIFICATE", check->certs[i].der_len);
	check_blob_size(check, len);
	if (check->error < 0)
		return check->error;
	if (check->problems->errors > errors)
		return -EINVAL;

	blob = calloc(1, sizeof(*blob));
	if (!blob)
		return -ENOMEM;
	blob->kind = check->kind;
	blob->len = len;
	blob->data = malloc(len + 1); /* sprintf's NUL */
	if (!blob->data)
		return -ENOMEM;
	p = (char *)blob->data;
	if (key)
		p = put_pem(p, key_label(key), key->der, key->len);
	for (size_t i = 0; i < check->n_certs; i++)
		p = put_pem(p, "CERTIFICATE", check->certs[i].block->der, check->certs[i].der_len);
	if (EVP_Digest(blob->data, blob->len, blob->digest, NULL, EVP_sha256(), NULL) <= 0)
		return -ENOMEM;
	*ret = blob;
	blob = NULL;
	return 0;
}

int cert_blob_new(struct cert_blob **ret, enum cert_kind kind, const void *data, size_t len)
{
	_cleanup_(cert_blob_freep) struct cert_blob *blob = NULL;

	if (len == 0 || len > CERT_BLOB_MAX)
		return -EINVAL;
	openssl_wipe_memory();
	blob = calloc(1, sizeof(*blob));
	if (!blob)
		return -ENOMEM;
	blob->kind = kind;
	blob->data = malloc(len);
	if (!blob->data)
		return -ENOMEM;
	memcpy(blob->data, data, len);
	blob->len = len;
	if (EVP_Digest(data, len, blob->digest, NULL, EVP_sha256(), NULL) <= 0)
		return -ENOMEM;
	*ret = blob;
	blob = NULL;
	return 0;
}

const char *cert_kind_name(enum cert_kind kind)
{
	switch (kind) {
	case CERT_KIND_CA:
		return "ca";
	case CERT_KIND_CERT:
		return "certificate";
	case CERT_KIND_KEY:
		return "key";
	case CERT_KIND_RAW:
		break;
	}
	return "raw";
}

bool cert_blob_equal(const struct cert_blob *a, const struct cert_blob *b)
{
	return a->kind == b->kind && a->len == b->len &&
	       memcmp(a->digest, b->digest, CERT_DIGEST_SIZE) == 0;
}

void cert_blob_forget(struct cert_blob *blob)
{
	intake_wipe(blob->data, blob->len);
	blob->data = NULL;
}

struct cert_blob *cert_blob_free(struct cert_blob *blob)
{
	if (!blob)
		return NULL;
	cert_blob_forget(blob);
	explicit_bzero(blob, sizeof(*blob));
	free(blob);
	return NULL;
}

/* ---- what is in the file ---- */

static bool is_key(enum intake_type type)
{
	return type == INTAKE_KEY_PKCS8 || type == INTAKE_KEY_RSA || type == INTAKE_KEY_EC ||
	       type == INTAKE_KEY_ENCRYPTED || type == INTAKE_KEY_UNUSABLE;
}

/* Forms that hold the right thing, but not in a way that we take. */
static bool refuse_container(struct check *check, const struct intake_block *block)
{
	if (block->type == INTAKE_PKCS12)
		REFUSE(check,
		       "is PKCS#12, expected PEM or DER: openssl pkcs12 -in %s %s -out NEWFILE",
		       check_name(check),
		       check->kind == CERT_KIND_KEY ? "-nocerts -noenc" : "-nokeys");
	else if (block->type == INTAKE_PKCS7)
		REFUSE(check,
		       "is PKCS#7, expected PEM or DER: openssl pkcs7 -in %s%s -print_certs -out "
		       "NEWFILE",
		       check_name(check), block->line ? "" : " -inform DER");
	else
		return false;
	return true;
}

/* The certificates in @check->intake; complains about all else that is in there. */
static int collect_certs(struct check *check)
{
	const struct intake *intake = &check->intake;
	bool container = false, key = false;

	check->certs = calloc(intake->n_blocks, sizeof(*check->certs));
	if (!check->certs)
		return -ENOMEM;
	for (size_t i = 0; i < intake->n_blocks; i++) {
		const struct intake_block *block = &intake->blocks[i];

		if (block->type == INTAKE_CERT || block->type == INTAKE_CERT_TRUSTED) {
			check->certs[check->n_certs++].block = block;
		} else if (is_key(block->type)) {
			key = true;
		} else if (refuse_container(check, block)) {
			container = true;
		} else if (block->line) {
			REFUSE(check, "line %u: a block of the kind %s, expected certificates only",
			       block->line, block->label);
			container = true;
		}
	}
	if (key)
		REFUSE(check, "contains a private key, expected certificates only");
	else if (check->n_certs == 0 && !container)
		REFUSE(check, "holds no certificate, expected at least one");
	return 0;
}

/* The one private key in @check->intake; NULL after a complaint. */
static const struct intake_block *collect_key(struct check *check)
{
	const struct intake *intake = &check->intake;
	const struct intake_block *key = NULL;
	size_t n_keys = 0, n_certs = 0;

	for (size_t i = 0; i < intake->n_blocks; i++) {
		const struct intake_block *block = &intake->blocks[i];

		if (is_key(block->type)) {
			key = block;
			n_keys++;
		} else if (block->type == INTAKE_CERT || block->type == INTAKE_CERT_TRUSTED) {
			n_certs++;
		} else if (refuse_container(check, block)) {
			return NULL;
		} else if (block->type != INTAKE_PARAMETERS) {
			REFUSE(check,
			       "line %u: a block of the kind %s, expected a private key only",
			       block->line, block->label);
			return NULL;
		}
	}
	if (n_keys > 1)
		REFUSE(check, "contains %zu private keys, expected one", n_keys);
	else if (n_keys == 0 && n_certs > 0)
		REFUSE(check, "contains a certificate and no private key, expected a private key");
	else if (n_keys == 0)
		REFUSE(check, "contains no private key, expected one");
	else if (n_certs > 0)
		REFUSE(check,
		       "contains certificates beside the private key, expected the key only: "
		       "openssl pkey -in %s -out NEWFILE",
		       check_name(check));
	else if (key->type == INTAKE_KEY_ENCRYPTED)
		REFUSE(check,
		       "the private key is encrypted, and nobody is there to type its "
		       "passphrase, expected it decrypted: openssl pkey -in %s -out NEWFILE",
		       check_name(check));
	else if (key->type == INTAKE_KEY_UNUSABLE)
		REFUSE(check,
		       "is a private key in the form %s, which the chip cannot use, expected RSA "
		       "or EC in PKCS#1, SEC1 or PKCS#8",
		       key->label);
	else
		return key;
	return NULL;
}

/* All that can be wrong. Returns 0 or -ENOMEM; complaints were counted. */
static int check_content(struct check *check, const struct intake_block **key)
{
	size_t errors = check->problems->errors;
	int r;

	if (check->kind == CERT_KIND_KEY) {
		*key = collect_key(check);
		if (*key)
			check_key(check, *key);
		return check->error;
	}
	r = collect_certs(check);
	if (r < 0)
		return r;
	for (size_t i = 0; i < check->n_certs; i++)
		check_cert(check, i);
	if (check->kind == CERT_KIND_CERT) {
		check_order(check);
		if (check->problems->errors == errors)
			check_chain_size(check);
	}
	return check->error;
}

static void check_clear(struct check *check)
{
	for (size_t i = 0; i < check->n_certs; i++)
		X509_free(check->certs[i].x509);
	free(check->certs);
	intake_clear(&check->intake);
	/* OpenSSL keeps what went wrong for whoever asks next. */
	ERR_clear_error();
}

int cert_check(struct cert_blob **ret, enum cert_kind kind, const void *data, size_t len,
	       time_t now, const struct cert_source *source, struct problems *problems)
{
	_cleanup_(check_clear) struct check check = {
		.kind = kind,
		.now = now,
		.source = source,
		.problems = problems,
		.intake = INTAKE_NULL,
	};
	const struct intake_block *key = NULL;
	size_t errors = problems->errors;
	unsigned int shortages = openssl_shortages();
	int r;

	openssl_wipe_memory();
	r = intake_read(&check.intake, data, len, source, problems);
	if (r == 0)
		r = check_content(&check, &key);
	if (openssl_shortages() != shortages)
		return -ENOMEM;
	if (r < 0)
		return r;
	if (problems->errors > errors)
		return -EINVAL;
	return make_blob(ret, &check, key);
}

/* ---- the pair ---- */

static X509 *blob_cert(const struct cert_blob *blob)
{
	BIO *bio = BIO_new_mem_buf(blob->data, blob->len);
	X509 *x509 = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	return x509;
}

static EVP_PKEY *blob_key(const struct cert_blob *blob)
{
	struct intake intake = INTAKE_NULL;
	struct problems none = PROBLEMS_NULL;
	const struct cert_source nowhere = { 0 };
	EVP_PKEY *pkey = NULL;

	if (intake_read(&intake, blob->data, blob->len, &nowhere, &none) == 0) {
		const unsigned char *p = intake.blocks[0].der;

		pkey = d2i_AutoPrivateKey(NULL, &p, intake.blocks[0].len);
	}
	intake_clear(&intake);
	problems_clear(&none);
	return pkey;
}

/* Returns 0, -EINVAL after a complaint, or -ENOMEM. */
static int check_pair(X509 *x509, EVP_PKEY *pkey, const struct cert_source *source,
		      struct problems *problems)
{
	const EVP_PKEY *public = X509_get0_pubkey(x509);
	char subject[128];
	int r;

	if (!public)
		return -ENOMEM;
	if (X509_check_private_key(x509, pkey) == 1)
		return 0;
	subject_text(subject, sizeof(subject), x509);
	r = cert_complain(source, problems, PROBLEM_ERROR,
			  "the private key does not belong to the certificate (%s), expected the "
			  "key that it was made for%s",
			  subject,
			  EVP_PKEY_get_base_id(pkey) != EVP_PKEY_get_base_id(public)
				  ? " (one is RSA, the other EC)"
				  : "");
	return r < 0 ? r : -EINVAL;
}

int cert_check_pair(const struct cert_blob *cert, const struct cert_blob *key,
		    const struct cert_source *source, struct problems *problems)
{
	_cleanup_(x509_freep) X509 *x509 = NULL;
	_cleanup_(pkey_freep) EVP_PKEY *pkey = NULL;
	unsigned int shortages = openssl_shortages();
	int r = -ENOMEM;

	openssl_wipe_memory();
	x509 = blob_cert(cert);
	pkey = blob_key(key);
	/* Both were read before, so only memory can be the reason. */
	if (x509 && pkey)
		r = check_pair(x509, pkey, source, problems);
	ERR_clear_error();
	return openssl_shortages() == shortages ? r : -ENOMEM;
}
