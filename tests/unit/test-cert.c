/* SPDX-License-Identifier: MIT */
/* cert/check: each form that is taken, and the line that each unusable thing gets. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cert/check.h"
#include "make-cert.h"

#define CA CERT_KIND_CA
#define CERT CERT_KIND_CERT
#define KEY CERT_KIND_KEY

static const struct cert_source source = { .file = "a.conf", .line = 7, .name = "x" };
static const char ca_true[] = "critical,CA:TRUE";

/* Made once: RSA takes its time. */
static EVP_PKEY *rsa, *ec, *other_ec;
static X509 *ca, *leaf, *rsa_leaf;

/* All complaints without what they have in common, `W` before warnings. */
static char *joined(const struct problems *problems)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	for (size_t i = 0; i < problems->count; i++) {
		assert_int_equal(strncmp(problems->items[i].text, "a.conf:7: x: ", 13), 0);
		fprintf(f, "%s%s\n", problems->items[i].severity == PROBLEM_WARNING ? "W " : "",
			problems->items[i].text + 13);
	}
	fclose(f);
	return text;
}

/* Returns the blob, NULL if it was refused; @expected are all complaints. */
static struct cert_blob *check(enum cert_kind kind, const void *data, size_t len,
			       const char *expected)
{
	struct problems problems = PROBLEMS_NULL;
	struct cert_blob *blob = NULL;
	char *got;
	int r;

	r = cert_check(&blob, kind, data, len, MAKE_NOW, &source, &problems);
	got = joined(&problems);
	assert_string_equal(got, expected);
	assert_int_equal(r, problems.errors ? -EINVAL : 0);
	assert_int_equal(blob != NULL, r == 0);
	free(got);
	problems_clear(&problems);
	return blob;
}

/* Takes the bio; the blob must be @blob, if that is not NULL. */
static void expect(enum cert_kind kind, BIO *bio, const char *expected, const char *want)
{
	struct cert_blob *blob;
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	blob = check(kind, data, (size_t)len, expected);
	if (want) {
		uint8_t digest[CERT_DIGEST_SIZE];

		assert_non_null(blob);
		assert_int_equal(blob->kind, kind);
		assert_int_equal(blob->len, strlen(want));
		assert_memory_equal(blob->data, want, blob->len);
		EVP_Digest(want, strlen(want), digest, NULL, EVP_sha256(), NULL);
		assert_memory_equal(blob->digest, digest, sizeof(digest));
	}
	cert_blob_free(blob);
	BIO_free(bio);
}

static void expect_text(enum cert_kind kind, const char *text, size_t len, const char *expected)
{
	BIO *bio = BIO_new(BIO_s_mem());

	BIO_write(bio, text, (int)len);
	expect(kind, bio, expected, NULL);
}

static BIO *new_bio(void)
{
	return BIO_new(BIO_s_mem());
}

static BIO *pem(X509 *x509)
{
	BIO *bio = new_bio();

	PEM_write_bio_X509(bio, x509);
	return bio;
}

/* What @bio holds, with a NUL; to be freed. */
static char *text_of(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);
	char *text = strndup(data, (size_t)len);

	assert_non_null(text);
	BIO_free(bio);
	return text;
}

#define PUT_ARRAY(bio, data, len, format)                                                          \
	do {                                                                                       \
		for (size_t i_ = 0; i_ < (size_t)(len); i_++)                                      \
			BIO_printf(bio, format, ((const unsigned char *)(data))[i_]);              \
	} while (0)

/* Every form of a certificate comes to the same PEM. */
static void test_cert_forms(void **state)
{
	char *want = text_of(pem(leaf));
	unsigned char *der = NULL;
	int len = i2d_X509(leaf, &der);
	char *crlf;
	BIO *bio;

	expect(CERT, pem(leaf), "", want);

	bio = new_bio();
	BIO_puts(bio, "Subject: x\r\n 0 s:CN = y\r\n");
	for (const char *c = want; *c; c++)
		BIO_printf(bio, "%s%c", *c == '\n' ? "\r" : "", *c);
	BIO_puts(bio, "\r\nbehind\r\n");
	crlf = text_of(bio);
	bio = new_bio();
	BIO_write(bio, crlf, (int)strlen(crlf) + 1); /* and a NUL */
	expect(CERT, bio, "", want);
	free(crlf);

	bio = new_bio();
	PEM_write_bio(bio, "X509 CERTIFICATE", "", der, len);
	expect(CERT, bio, "", want);
	bio = new_bio();
	PEM_write_bio_X509_AUX(bio, leaf);
	expect(CERT, bio, "", want);
	X509_alias_set1(leaf, (const unsigned char *)"alias", 5);
	bio = new_bio();
	PEM_write_bio_X509_AUX(bio, leaf);
	expect(CERT, bio, "", want);
	X509_alias_set1(leaf, NULL, 0);

	bio = new_bio();
	BIO_write(bio, der, len);
	expect(CERT, bio, "", want);
	bio = new_bio();
	BIO_write(bio, der, len);
	BIO_puts(bio, "\n");
	expect(CERT, bio, "", want);

	bio = new_bio();
	PUT_ARRAY(bio, want, strlen(want), "0x%02X, ");
	expect(CERT, bio, "", want);
	bio = new_bio();
	BIO_puts(bio, "#include <x.h> /* { */\n// {\nconst unsigned char ca[] = {\n\t/* 0x */ ");
	PUT_ARRAY(bio, der, len, "0x%x,\n");
	BIO_puts(bio, "}; // 0x00\n");
	expect(CERT, bio, "", want);
	bio = new_bio();
	PUT_ARRAY(bio, want, 2, "0x%02X, ");
	PUT_ARRAY(bio, want + 2, strlen(want) - 1, "%d ");
	expect(CERT, bio, "", want);
	OPENSSL_free(der);
	free(want);
}

static void test_key_forms(void **state)
{
	static const int types[] = { 0, 1 };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		EVP_PKEY *key = types[i] ? ec : rsa;
		unsigned char *der = NULL;
		char *want;
		BIO *bio = new_bio();
		int len;

		PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
		want = text_of(bio);
		bio = new_bio();
		BIO_puts(bio, want);
		expect(KEY, bio, "", want);
		free(want);

		bio = new_bio();
		PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL);
		want = text_of(bio);
		assert_non_null(strstr(want, types[i] ? "BEGIN EC PRIVATE" : "BEGIN RSA PRIVATE"));
		bio = new_bio();
		if (types[i])
			BIO_puts(bio, "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
				      "-----END EC PARAMETERS-----\n");
		BIO_puts(bio, want);
		expect(KEY, bio, "", want);

		len = i2d_PrivateKey(key, &der);
		bio = new_bio();
		BIO_write(bio, der, len);
		expect(KEY, bio, "", want);
		bio = new_bio();
		PUT_ARRAY(bio, der, len, "0x%02x,");
		expect(KEY, bio, "", want);
		OPENSSL_free(der);
		free(want);
	}
}

#define NEED_PEM                                                                                   \
	"holds no certificate and no key, expected PEM (-----BEGIN ...), DER or a C array of one " \
	"(0x2D, 0x2D, ...)\n"

static void test_texts(void **state)
{
	static const struct {
		enum cert_kind kind;
		const char *text;
		const char *expected;
	} cases[] = {
		{ CA, "", "is empty, expected PEM or DER\n" },
		{ CA, "\r\n\n", "is empty, expected PEM or DER\n" },
		{ CA, "hello", NEED_PEM },
		{ CA, "{ hello }", NEED_PEM },
		{ CA, "\xf1\xf1\x02\x01 whatever",
		  "is wrapped by AtPKI.py (header F1 F1), which is the form of a flash partition "
		  "and never "
		  "works in the chip's NVS, expected the PEM or DER file that it was made from\n" },
		{ KEY, "0xF1, 0xf1, 0x00",
		  "is wrapped by AtPKI.py (header F1 F1), which is the form of a flash partition "
		  "and never "
		  "works in the chip's NVS, expected the PEM or DER file that it was made from\n" },
		{ CA, "\xff\xfe-\x01-\x01", "is text in UTF-16, expected ASCII or UTF-8\n" },
		{ CA, "0x2D, 0x2D, 0x100",
		  "element 3 of the C array is no byte, expected 0x00 to 0xff\n" },
		{ CA, "0x2D, 0x2D, zz",
		  "element 3 of the C array is no byte, expected 0x00 to 0xff\n" },
		{ CA, "0x2D, 256", "element 2 of the C array is no byte, expected 0x00 to 0xff\n" },
		{ CA, "a[] = { 0x2D }; b[] = { 0x2D };", "holds several C arrays, expected one\n" },
		{ CA, "0x00, 0x0a", "is empty, expected PEM or DER\n" },
		{ CA, "0x30, 0x30, 0x30",
		  "looks like DER that is cut off, expected a whole PEM or DER file\n" },
		{ CA, "\x30\x82\x01",
		  "looks like DER that is cut off, expected a whole PEM or DER file\n" },
		{ CA, "\x30\x03\x02\x01\x05x",
		  "has bytes that are no DER behind its end, expected PEM or DER\n" },
		{ CA, "\x30\x03\x02\x01\x05", "holds no certificate, expected at least one\n" },
		{ CA, "-----BEGIN ",
		  "line 1: BEGIN without a label, expected -----BEGIN CERTIFICATE----- or "
		  "the like\n" },
		{ CA, "\n\n-----BEGIN CERTIFICATE-----\nAAAA\n",
		  "line 3: the block has no matching end (is the file cut off?), expected -----END "
		  "CERTIFICATE-----\n" },
		{ CA, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END PRIVATE KEY-----\n",
		  "line 1: the block has no matching end (is the file cut off?), expected -----END "
		  "CERTIFICATE-----\n" },
		{ CA, "-----BEGIN CERTIFICATE-----\nA*AA\n-----END CERTIFICATE-----\n",
		  "line 1: the CERTIFICATE block is damaged, expected base64 text\n" },
		{ CA, "-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n",
		  "line 1: the CERTIFICATE block is damaged, expected base64 text\n" },
		{ CA, "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
		  "line 1: the CERTIFICATE block is damaged, expected base64 text\n" },
		{ CA, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		  "damaged: OpenSSL cannot read it, expected an X.509 certificate\n" },
		{ CA, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		  "line 1: a block of the kind PUBLIC KEY, expected certificates only\n" },
		{ KEY, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		  "line 1: a block of the kind PUBLIC KEY, expected a private key only\n" },
		{ CERT, "-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----\n",
		  "is PKCS#7, expected PEM or DER: openssl pkcs7 -in x -print_certs -out "
		  "NEWFILE\n" },
		{ CERT, "\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02",
		  "is PKCS#7, expected PEM or DER: openssl pkcs7 -in x -inform DER -print_certs "
		  "-out "
		  "NEWFILE\n" },
		{ CERT, "\x30\x05\x02\x01\x03\x30\x40",
		  "holds no certificate, expected at least one\n" },
		{ KEY, "\x30\x07\x02\x01\x03\x30\x02\x05\x05",
		  "is PKCS#12, expected PEM or DER: openssl pkcs12 -in x -nocerts -noenc -out "
		  "NEWFILE\n" },
		{ CERT, "\x30\x07\x02\x01\x03\x30\x02\x05\x05",
		  "is PKCS#12, expected PEM or DER: openssl pkcs12 -in x -nokeys -out NEWFILE\n" },
		{ KEY,
		  "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n",
		  "contains no private key, expected one\n" },
		{ KEY, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		  "is no private key that OpenSSL can read (damaged, or of an unknown kind), "
		  "expected RSA "
		  "or EC\n" },
		{ KEY,
		  "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
		  "is a private key in the form OPENSSH PRIVATE KEY, which the chip cannot use, "
		  "expected "
		  "RSA or EC in PKCS#1, SEC1 or PKCS#8\n" },
		{ CA, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		  "contains a private key, expected certificates only\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect_text(cases[i].kind, cases[i].text, strlen(cases[i].text), cases[i].expected);
}

#define RSA_OR_EC "expected RSA of 2048 to 4096 bits, or EC P-256, P-384 or P-521\n"

static BIO *key_pem(EVP_PKEY *key)
{
	BIO *bio = new_bio();

	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	return bio;
}

/* Takes the key. */
static void expect_key(EVP_PKEY *key, const char *expected)
{
	assert_non_null(key);
	expect(KEY, key_pem(key), expected, NULL);
	EVP_PKEY_free(key);
}

static EVP_PKEY *explicit_ec(void)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	EVP_PKEY *key = NULL;

	EVP_PKEY_keygen_init(ctx);
	EVP_PKEY_CTX_ctrl_str(ctx, "ec_paramgen_curve", "P-256");
	EVP_PKEY_CTX_ctrl_str(ctx, "ec_param_enc", "explicit");
	EVP_PKEY_generate(ctx, &key);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static void test_keys(void **state)
{
	static const char passphrase[] = "secret";
	static const char encrypted[] = "the private key is encrypted, and nobody is there to type "
					"its passphrase, expected it "
					"decrypted: openssl pkey -in x -out NEWFILE\n";
	BIO *bio;

	expect_key(EVP_EC_gen("P-384"), "");
	expect_key(EVP_EC_gen("P-521"), "");
	expect_key(EVP_EC_gen("secp256k1"),
		   "EC key on the curve secp256k1, which the chip cannot use, " RSA_OR_EC);
	expect_key(explicit_ec(), "EC key with explicit parameters, which the chip cannot read, "
				  "expected a named curve "
				  "(-pkeyopt ec_param_enc:named_curve)\n");
	expect_key(EVP_RSA_gen(1024), "W RSA key of 1024 bits is weak, and refused where the "
				      "firmware verifies, " RSA_OR_EC);
	expect_key(EVP_RSA_gen(1008),
		   "RSA key of 1008 bits, which the chip cannot use, " RSA_OR_EC);
	expect_key(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"),
		   "Ed25519 key: the chip's mbedTLS knows no Edwards curves, " RSA_OR_EC);
	expect_key(EVP_PKEY_Q_keygen(NULL, NULL, "ED448"),
		   "Ed448 key: the chip's mbedTLS knows no Edwards curves, " RSA_OR_EC);
	expect_key(EVP_PKEY_Q_keygen(NULL, NULL, "X25519"),
		   "X25519 key, which the chip cannot use, " RSA_OR_EC);

	bio = new_bio();
	PEM_write_bio_PKCS8PrivateKey(bio, ec, EVP_aes_128_cbc(), passphrase, 6, NULL, NULL);
	expect(KEY, bio, encrypted, NULL);
	bio = new_bio();
	PEM_write_bio_PrivateKey_traditional(bio, ec, EVP_aes_128_cbc(),
					     (const unsigned char *)passphrase, 6, NULL, NULL);
	expect(KEY, bio, encrypted, NULL);
	bio = new_bio();
	i2d_PKCS8PrivateKey_bio(bio, ec, EVP_aes_128_cbc(), passphrase, 6, NULL, NULL);
	expect(KEY, bio, encrypted, NULL);

	bio = key_pem(ec);
	PEM_write_bio_PrivateKey(bio, other_ec, NULL, NULL, 0, NULL, NULL);
	expect(KEY, bio, "contains 2 private keys, expected one\n", NULL);
	bio = key_pem(ec);
	PEM_write_bio_X509(bio, leaf);
	expect(KEY, bio,
	       "contains certificates beside the private key, expected the key only: openssl "
	       "pkey -in x -out NEWFILE\n",
	       NULL);
	expect(KEY, pem(leaf),
	       "contains a certificate and no private key, expected a private key\n", NULL);
	bio = pem(leaf);
	PEM_write_bio_PrivateKey(bio, ec, NULL, NULL, 0, NULL, NULL);
	expect(CERT, bio, "contains a private key, expected certificates only\n", NULL);
}

/* A key whose private part does not fit its public part, and one with bytes behind its end. */
static void test_damaged_keys(void **state)
{
	unsigned char *der = NULL, *longer;
	int len = i2d_PrivateKey(ec, &der);
	BIO *bio = new_bio();

	der[10] ^= 1; /* 30 len 02 01 01 04 20 <private> */
	BIO_write(bio, der, len);
	expect(KEY, bio,
	       "the key is damaged: it cannot verify what it signs, expected a whole one\n", NULL);
	der[10] ^= 1;
	longer = malloc((size_t)len + 1);
	memcpy(longer, der, (size_t)len);
	longer[len] = 5;
	bio = new_bio();
	PEM_write_bio(bio, "EC PRIVATE KEY", "", longer, len + 1);
	expect(KEY, bio, "has 1 bytes behind the end of the key, expected none\n", NULL);
	free(longer);
	OPENSSL_free(der);
}

/* Takes the certificate. */
static void expect_cert(enum cert_kind kind, X509 *x509, const char *expected)
{
	expect(kind, pem(x509), expected, NULL);
	X509_free(x509);
}

#define MAKE(...) make_cert(&(struct make_cert){ __VA_ARGS__ })
#define NOW_TEXT "expected one that is valid now (2027-01-15 08:00:00 UTC)\n"

static void test_dates(void **state)
{
	expect_cert(
		CERT, MAKE(.cn = "c", .key = ec, .from = -10, .to = -5),
		"certificate (CN = c): expired on 2027-01-10 08:00:00 UTC, 5 days ago, " NOW_TEXT);
	expect_cert(
		CERT, MAKE(.cn = "c", .key = ec, .from = 1, .to = 5),
		"certificate (CN = c): not yet valid: it begins on 2027-01-16 08:00:00 UTC, in 24 "
		"hours, " NOW_TEXT);
	expect_cert(CERT, MAKE(.cn = "c", .key = ec, .from = -5, .to = 29),
		    "W certificate (CN = c): expires on 2027-02-13 08:00:00 UTC, in 29 days\n");
	expect_cert(CERT, MAKE(.cn = "c", .key = ec, .from = -5, .to = 30), "");
	/* To the second: valid at its first and its last one. */
	expect_cert(CERT, MAKE(.cn = "c", .key = ec, .from = 0, .to = 365), "");
	expect_cert(
		CA, MAKE(.cn = "c", .key = ec, .basic = ca_true, .from = -10, .to = -5),
		"certificate (CN = c): expired on 2027-01-10 08:00:00 UTC, 5 days ago, " NOW_TEXT);
	/* After 2050 the date has another form. */
	expect_cert(CERT, MAKE(.cn = "c", .key = ec, .from = 36500, .to = 36600),
		    "certificate (CN = c): not yet valid: it begins on 2126-12-22 08:00:00 UTC, in "
		    "36500 "
		    "days, " NOW_TEXT);
}

static void test_ca(void **state)
{
	static const char no_ca[] =
		"certificate (CN = c): is not the certificate of a CA, expected "
		"basicConstraints CA:TRUE\n";
	BIO *bio;

	expect(CA, pem(ca), "", NULL);
	expect_cert(
		CA, MAKE(.cn = "c", .key = ec, .v1 = true),
		"W certificate (CN = c): self-signed certificate of version 1, which does not say "
		"that it is a CA; it is taken for one\n");
	expect_cert(CA, MAKE(.cn = "c", .key = ec), no_ca);
	expect_cert(CA, MAKE(.cn = "c", .key = ec, .basic = "CA:FALSE"), no_ca);
	expect_cert(
		CA, MAKE(.cn = "c", .key = ec, .usage = "serverAuth"),
		"certificate (CN = c): is not the certificate of a CA, expected basicConstraints "
		"CA:TRUE (is it the server's own?)\n");
	expect_cert(
		CA,
		MAKE(.cn = "ESP Root CA S1", .organization = "ESP S1", .key = ec, .basic = ca_true),
		"W certificate (CN = ESP Root CA S1): from Espressif's public samples: everybody "
		"has "
		"its key, it proves nothing\n");
	expect_cert(
		CA,
		MAKE(.organization = "No name", .key = ec, .basic = ca_true, .from = 1, .to = 5),
		"certificate (O = No name): not yet valid: it begins on 2027-01-16 08:00:00 UTC, "
		"in "
		"24 hours, " NOW_TEXT);
	/* A bundle, in any order; each one is named in its complaints. */
	bio = pem(ca);
	PEM_write_bio_X509(bio, leaf);
	expect(CA, bio,
	       "certificate 2 (CN = leaf): is not the certificate of a CA, expected "
	       "basicConstraints CA:TRUE\n",
	       NULL);
	bio = pem(ca);
	PEM_write_bio_X509(bio, ca);
	expect(CA, bio,
	       "certificate 2 (CN = root): is the same as certificate 1, expected it once\n", NULL);
}

static void test_leaf(void **state)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	expect(CERT, pem(leaf), "", NULL);
	expect_cert(CERT, MAKE(.cn = "c", .key = ec, .usage = "clientAuth,serverAuth"), "");
	expect_cert(CERT, MAKE(.cn = "c", .key = ec, .usage = "serverAuth"),
		    "W certificate (CN = c): its extendedKeyUsage has no clientAuth: servers may "
		    "refuse "
		    "it\n");
	expect_cert(
		CERT, MAKE(.cn = "c", .key = ec, .basic = ca_true),
		"W certificate (CN = c): is the certificate of a CA, expected one of this client "
		"first\n");
	expect_cert(CERT, MAKE(.cn = "c", .key = key, .md = ""),
		    "certificate (CN = c): Ed25519 key: the chip's mbedTLS knows no Edwards "
		    "curves, " RSA_OR_EC "certificate (CN = c): signed with ED25519, which the "
		    "chip cannot read, expected RSA "
		    "or ECDSA with SHA-256, SHA-384 or SHA-512\n");
	EVP_PKEY_free(key);
	expect_cert(CERT, MAKE(.cn = "c", .key = rsa, .md = "SHA1"),
		    "W certificate (CN = c): signed with sha1WithRSAEncryption, which most servers "
		    "refuse, expected SHA-256 or better\n");
	expect_cert(CA, MAKE(.cn = "c", .key = rsa, .md = "SHA1", .basic = ca_true), "");
	expect_cert(CERT, MAKE(.cn = "c", .key = rsa, .pss = true),
		    "W certificate (CN = c): signed with RSASSA-PSS, which not every firmware can "
		    "read, "
		    "expected RSA (PKCS#1 v1.5) or ECDSA\n");
	expect_cert(CERT, MAKE(.cn = "c", .key = ec, .md = "SHA3-256"),
		    "certificate (CN = c): signed with ecdsa_with_SHA3-256, which the chip cannot "
		    "read, "
		    "expected RSA or ECDSA with SHA-256, SHA-384 or SHA-512\n");
	expect_cert(CERT, MAKE(.cn = "a\nb\x1b[1m", .key = ec, .usage = "serverAuth"),
		    "W certificate (CN = a\\0Ab\\1B[1m): its extendedKeyUsage has no clientAuth: "
		    "servers "
		    "may refuse it\n");
}

static void test_chain(void **state)
{
	X509 *inter = MAKE(.cn = "inter", .key = other_ec, .basic = ca_true, .issuer = ca,
			   .issuer_key = ec);
	X509 *end = MAKE(.cn = "end", .key = ec, .issuer = inter, .issuer_key = other_ec);
	/* The same name, another key: only the signature tells. */
	X509 *fake = MAKE(.cn = "inter", .key = ec, .basic = ca_true, .issuer = ca,
			  .issuer_key = ec);
	char *want;
	BIO *bio;

	bio = pem(end);
	PEM_write_bio_X509(bio, inter);
	PEM_write_bio_X509(bio, ca);
	want = text_of(bio);
	bio = new_bio();
	BIO_puts(bio, want);
	expect(CERT, bio, "", want);
	free(want);

	bio = pem(end);
	PEM_write_bio_X509(bio, ca);
	PEM_write_bio_X509(bio, inter);
	expect(CERT, bio,
	       "certificate 1 (CN = end): was not issued by certificate 2, expected the client's "
	       "certificate first and each one's issuer after it (its issuer is in the file, so "
	       "only "
	       "the order is wrong)\n"
	       "certificate 2 (CN = root): was not issued by certificate 3, expected the client's "
	       "certificate first and each one's issuer after it (it is the other way round: turn "
	       "the "
	       "order)\n",
	       NULL);
	bio = pem(end);
	PEM_write_bio_X509(bio, ca);
	expect(CERT, bio,
	       "certificate 1 (CN = end): was not issued by certificate 2, expected the client's "
	       "certificate first and each one's issuer after it\n",
	       NULL);
	bio = pem(end);
	PEM_write_bio_X509(bio, fake);
	expect(CERT, bio,
	       "certificate 1 (CN = end): was not issued by certificate 2, expected the client's "
	       "certificate first and each one's issuer after it\n",
	       NULL);
	bio = pem(end);
	PEM_write_bio_X509(bio, end);
	expect(CERT, bio,
	       "certificate 2 (CN = end): is the same as certificate 1, expected it once\n", NULL);
	X509_free(fake);
	X509_free(end);
	X509_free(inter);
}

/* A certificate whose DER has exactly @len bytes: its signature's length varies by chance. */
static X509 *sized_cert(const char *cn, size_t len, bool is_ca)
{
	size_t padding = len - 400;

	for (;;) {
		X509 *x509 = MAKE(.cn = cn, .key = ec, .padding = padding,
				  .basic = is_ca ? ca_true : NULL);
		size_t n = (size_t)i2d_X509(x509, NULL);

		if (n == len)
			return x509;
		padding += len - n;
		if (n > len - 4 && n < len + 4)
			padding += len - n; /* not for ever between two lengths */
		X509_free(x509);
		if (padding > 8999)
			padding = len - 400;
	}
}

static void test_sizes(void **state)
{
	static const struct {
		size_t len; /* with 7 and 3 bytes of frame */
		const char *expected;
	} cases[] = {
		{ 3490, "" },
		{ 3491, "W the chain takes 3501 bytes in the handshake, which is close to the 4096 "
			"of the "
			"chip's TLS output buffer; certificates in bytes of DER: 1 (CN = c): 3491; "
			"use EC "
			"keys, which are smaller\n" },
		{ 4086, "W the chain takes 4096 bytes in the handshake, which is close to the 4096 "
			"of the "
			"chip's TLS output buffer; certificates in bytes of DER: 1 (CN = c): 4086; "
			"use EC "
			"keys, which are smaller\n" },
		{ 4087, "the chain takes 4097 bytes in the handshake, expected at most 4096, the "
			"chip's TLS "
			"output buffer; certificates in bytes of DER: 1 (CN = c): 4087; use EC "
			"keys, which "
			"are smaller\n" },
	};
	X509 *x509;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		x509 = sized_cert("c", cases[i].len, false);
		expect_cert(CERT, x509, cases[i].expected);
	}
	/* 6006 bytes: 8008 of base64, 126 line ends, 54 of head and foot = 8188; 6009: 8192 */
	x509 = sized_cert("c", 6006, true);
	expect_cert(CA, x509, "");
	x509 = sized_cert("c", 6009, true);
	expect_cert(
		CA, x509,
		"the certificates take 8192 bytes as PEM, expected at most 8191, the chip's "
		"largest "
		"value; each one's bytes: 1 (CN = c): 8192; keep only the CAs that these servers "
		"need\n");
}

/* With a root at its end, that is what to leave out. */
static void test_root_hint(void **state)
{
	X509 *end = MAKE(.cn = "end", .key = other_ec, .issuer = ca, .issuer_key = ec,
			 .padding = 4000);
	BIO *bio = pem(end);
	char *data;
	struct problems problems = PROBLEMS_NULL;
	struct cert_blob *blob = NULL;
	long len;

	PEM_write_bio_X509(bio, ca);
	len = BIO_get_mem_data(bio, &data);
	assert_int_equal(cert_check(&blob, CERT, data, (size_t)len, MAKE_NOW, &source, &problems),
			 -EINVAL);
	assert_int_equal(problems.count, 1);
	assert_non_null(
		strstr(problems.items[0].text,
		       "; leave out the root at the end (servers have it), or use EC keys"));
	problems_clear(&problems);
	BIO_free(bio);
	X509_free(end);
}

static struct cert_blob *blob_of(enum cert_kind kind, BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);
	struct cert_blob *blob = check(kind, data, (size_t)len, "");

	BIO_free(bio);
	return blob;
}

static void test_pair(void **state)
{
	struct cert_blob *cert = blob_of(CERT, pem(leaf)), *rsa_cert = blob_of(CERT, pem(rsa_leaf));
	struct cert_blob *key = blob_of(KEY, key_pem(ec)), *other = blob_of(KEY, key_pem(other_ec));
	struct cert_blob *rsa_key = blob_of(KEY, key_pem(rsa));
	struct problems problems = PROBLEMS_NULL;
	char *got;

	assert_int_equal(cert_check_pair(cert, key, &source, &problems), 0);
	assert_int_equal(cert_check_pair(rsa_cert, rsa_key, &source, &problems), 0);
	assert_int_equal(problems.count, 0);
	assert_int_equal(cert_check_pair(cert, other, &source, &problems), -EINVAL);
	assert_int_equal(cert_check_pair(cert, rsa_key, &source, &problems), -EINVAL);
	got = joined(&problems);
	assert_string_equal(
		got, "the private key does not belong to the certificate (CN = leaf), expected "
		     "the key that it was made for\n"
		     "the private key does not belong to the certificate (CN = leaf), expected "
		     "the key that it was made for (one is RSA, the other EC)\n");
	free(got);
	problems_clear(&problems);
	cert_blob_free(cert);
	cert_blob_free(rsa_cert);
	cert_blob_free(key);
	cert_blob_free(other);
	cert_blob_free(rsa_key);
	assert_null(cert_blob_free(NULL));
}

/* ---- without memory ---- */

/* How many of OpenSSL's allocations go well until one fails; -1: all do. */
static long left = -1;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
	if (left == 0) {
		left = -1;
		return NULL;
	}
	if (left > 0)
		left--;
	return __real_malloc(size);
}

/* What is right is not called wrong because there was no memory to look at it. */
static void without_memory(int (*fn)(struct problems *problems))
{
	struct problems problems = PROBLEMS_NULL;
	unsigned int failed = 0;
	int r;

	for (long n = 0;; n += 3) {
		left = n;
		r = fn(&problems);
		problems_clear(&problems);
		if (left >= 0)
			break;
		/* What was only good to have may be missing. */
		assert_true(r == -ENOMEM || r == 0);
		failed += r < 0;
	}
	left = -1;
	assert_int_equal(r, 0);
	assert_true(failed > 50);
}

static struct cert_blob *short_cert, *short_key;

static int check_short(struct cert_blob *from, struct problems *problems)
{
	struct cert_blob *blob = NULL;
	int r;

	r = cert_check(&blob, from->kind, from->data, from->len, MAKE_NOW, &source, problems);
	cert_blob_free(blob);
	return r;
}

static int check_short_cert(struct problems *problems)
{
	return check_short(short_cert, problems);
}

static int check_short_key(struct problems *problems)
{
	return check_short(short_key, problems);
}

static int check_short_pair(struct problems *problems)
{
	return cert_check_pair(short_cert, short_key, &source, problems);
}

static void test_without_memory(void **state)
{
	short_cert = blob_of(CERT, pem(leaf));
	short_key = blob_of(KEY, key_pem(ec));
	without_memory(check_short_cert);
	without_memory(check_short_key);
	without_memory(check_short_pair);
	cert_blob_free(short_cert);
	cert_blob_free(short_key);
}

/* Any byte changed, any end cut off: an answer, never a crash, and what is taken stays as it is. */
static void test_mutations(void **state)
{
	uint64_t seed = 1;

	for (int round = 0; round < 3000; round++) {
		enum cert_kind kind = round % 3 == 0 ? CA : round % 3 == 1 ? CERT : KEY;
		BIO *bio = new_bio();
		struct problems problems = PROBLEMS_NULL;
		struct cert_blob *blob = NULL, *again = NULL;
		unsigned char *text;
		char *data;
		size_t len;

		if (kind == KEY && round % 2)
			i2d_PrivateKey_bio(bio, ec);
		else if (kind == KEY)
			PEM_write_bio_PrivateKey(bio, ec, NULL, NULL, 0, NULL, NULL);
		else if (round % 2)
			i2d_X509_bio(bio, kind == CA ? ca : leaf);
		else
			PEM_write_bio_X509(bio, kind == CA ? ca : leaf);
		len = (size_t)BIO_get_mem_data(bio, &data);
		text = malloc(len);
		memcpy(text, data, len);
		BIO_free(bio);
		for (size_t n = test_random_below(&seed, 3); n > 0; n--)
			text[test_random_below(&seed, len)] ^= (uint8_t)(1 << test_random_below(
										 &seed, 8));
		if (test_random_below(&seed, 4) == 0)
			len = test_random_below(&seed, len) + 1;
		if (cert_check(&blob, kind, text, len, MAKE_NOW, &source, &problems) == 0) {
			assert_int_equal(cert_check(&again, kind, blob->data, blob->len, MAKE_NOW,
						    &source, &problems),
					 0);
			assert_int_equal(again->len, blob->len);
			assert_memory_equal(again->digest, blob->digest, CERT_DIGEST_SIZE);
		}
		cert_blob_free(blob);
		cert_blob_free(again);
		problems_clear(&problems);
		free(text);
	}
}

static int setup(void **state)
{
	struct problems problems = PROBLEMS_NULL;
	struct cert_blob *blob = NULL;

	/* First of all, as a daemon does: OpenSSL has used no memory yet. */
	cert_check(&blob, CA, "", 0, MAKE_NOW, &source, &problems);
	problems_clear(&problems);
	rsa = EVP_RSA_gen(2048);
	ec = EVP_EC_gen("P-256");
	other_ec = EVP_EC_gen("P-256");
	ca = MAKE(.cn = "root", .key = ec, .basic = ca_true);
	leaf = MAKE(.cn = "leaf", .key = ec, .issuer = ca, .issuer_key = ec);
	rsa_leaf = MAKE(.cn = "rsa", .key = rsa, .issuer = ca, .issuer_key = ec);
	return 0;
}

static int teardown(void **state)
{
	X509_free(rsa_leaf);
	X509_free(leaf);
	X509_free(ca);
	EVP_PKEY_free(other_ec);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(rsa);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cert_forms),   cmocka_unit_test(test_key_forms),
		cmocka_unit_test(test_texts),        cmocka_unit_test(test_keys),
		cmocka_unit_test(test_damaged_keys), cmocka_unit_test(test_dates),
		cmocka_unit_test(test_ca),           cmocka_unit_test(test_leaf),
		cmocka_unit_test(test_chain),        cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_root_hint),    cmocka_unit_test(test_pair),
		cmocka_unit_test(test_mutations),    cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests_name("cert", tests, setup, teardown);
}
