/* SPDX-License-Identifier: MIT */
/* cert/info: names and dates of a certificate, as anybody may see them. */
#include "test.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cert/info.h"
#include "make-cert.h"

static EVP_PKEY *ec;

/* An entry of a name, as it stands in the certificate. */
struct entry {
	const char *field;
	int type;
	const char *data;
	int len; /* -1: to its NUL */
};

static X509 *with_names(const struct entry *entries, size_t n)
{
	X509 *x509 = make_cert(&(struct make_cert){ .key = ec });
	X509_NAME *name = X509_NAME_new();
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	for (size_t i = 0; i < n; i++) {
		assert_int_equal(X509_NAME_add_entry_by_txt(name, entries[i].field, entries[i].type,
							    (const unsigned char *)entries[i].data,
							    entries[i].len, -1, 0),
				 1);
	}
	assert_int_equal(X509_set_subject_name(x509, name), 1);
	X509_NAME_free(name);
	assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, ec), 1);
	assert_true(X509_sign_ctx(x509, ctx) > 0);
	EVP_MD_CTX_free(ctx);
	return x509;
}

/* PEM of all of them, one after the other; @x509s are freed. */
static size_t pem_of(char buf[16384], X509 *x509, X509 *next)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long len;

	PEM_write_bio_X509(bio, x509);
	if (next)
		PEM_write_bio_X509(bio, next);
	X509_free(x509);
	X509_free(next);
	len = BIO_get_mem_data(bio, &data);
	assert_in_range(len, 1, 16383);
	memcpy(buf, data, (size_t)len);
	BIO_free(bio);
	return (size_t)len;
}

static void assert_empty(const struct cert_info *info)
{
	assert_string_equal(info->subject, "");
	assert_string_equal(info->issuer, "");
	assert_int_equal(info->not_before, 0);
	assert_int_equal(info->not_after, 0);
}

/* Of one certificate with these names. */
static struct cert_info info_of_names(const struct entry *entries, size_t n)
{
	struct cert_info info;
	char pem[16384];
	size_t len = pem_of(pem, with_names(entries, n), NULL);

	memset(&info, 'x', sizeof(info));
	assert_int_equal(cert_info_of(&info, pem, len), 0);
	return info;
}

static void test_names(void **state)
{
	static const struct {
		struct entry entries[3];
		const char *expected;
	} cases[] = {
		{ .expected = "" },
		{ { { "CN", V_ASN1_UTF8STRING, "broker", -1 } }, "CN=broker" },
		/* The last one first, as RFC 2253 has it; what would end an entry is escaped. */
		{ { { "C", V_ASN1_PRINTABLESTRING, "DE", -1 },
		    { "O", V_ASN1_UTF8STRING, "A, \"B\" + C", -1 },
		    { "CN", V_ASN1_UTF8STRING, "x=y", -1 } },
		  "CN=x=y,O=A\\, \\\"B\\\" \\+ C,C=DE" },
		{ { { "CN", V_ASN1_UTF8STRING, "M\xc3\xbcller \xe2\x82\xac \xf0\x9f\x94\x91",
		      -1 } },
		  "CN=M\xc3\xbcller \xe2\x82\xac \xf0\x9f\x94\x91" },
		/* Other types of strings become UTF-8. */
		{ { { "CN", V_ASN1_T61STRING, "M\xfcller", -1 } }, "CN=M\xc3\xbcller" },
		{ { { "CN", V_ASN1_BMPSTRING, "\x20\xac\0A", 4 } },
		  "CN=\xe2\x82\xac"
		  "A" },
		/* Nothing that a terminal obeys, or that ends a string. */
		{ { { "CN", V_ASN1_UTF8STRING, "a\x1b[2J\nb\0c\x7f", 9 } },
		  "CN=a\\1B[2J\\0Ab\\00c" },
		{ { { "CN", V_ASN1_UTF8STRING, "a\x7f", -1 } }, "CN=a\\7F" },
		{ { { "CN", V_ASN1_UTF8STRING,
		      "a\xc2\x9b"
		      "b",
		      -1 } },
		  "CN=a?b" },
		{ { { "CN", V_ASN1_BMPSTRING, "\0a\0\x85", 4 } }, "CN=a?" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t n = 0;

		while (n < 3 && cases[i].entries[n].field)
			n++;
		assert_string_equal(info_of_names(cases[i].entries, n).subject, cases[i].expected);
	}
}

/* Cut at the end of a character, however the limit falls into it. */
static void test_long_names(void **state)
{
	for (int pad = 0; pad < 5; pad++) {
		char text[1024] = "";
		struct entry entry = { "CN", V_ASN1_UTF8STRING, text, -1 };
		struct cert_info info;
		size_t len;

		memset(text, 'a', (size_t)pad);
		for (int i = 0; i < 200; i++)
			strcat(text, "\xf0\x9f\x94\x91");
		info = info_of_names(&entry, 1);
		len = strlen(info.subject);
		assert_in_range(len, CERT_NAME_MAX - 3, CERT_NAME_MAX);
		assert_int_equal((len - 3 - (size_t)pad) % 4, 0);
		assert_memory_equal(info.subject + len - 4, "\xf0\x9f\x94\x91", 4);
	}
}

static void test_first_one(void **state)
{
	struct make_cert ca = { .cn = "root", .key = ec, .basic = "CA:TRUE" };
	X509 *root = make_cert(&ca);
	struct make_cert leaf = {
		.cn = "leaf", .key = ec, .issuer = root, .issuer_key = ec, .from = -3, .to = 7
	};
	struct cert_info info;
	char pem[16384];
	size_t len = pem_of(pem, make_cert(&leaf), root);

	assert_int_equal(cert_info_of(&info, pem, len), 0);
	assert_string_equal(info.subject, "CN=leaf");
	assert_string_equal(info.issuer, "CN=root");
	assert_int_equal(info.not_before, MAKE_NOW - 3 * MAKE_DAY);
	assert_int_equal(info.not_after, MAKE_NOW + 7 * MAKE_DAY);
	/* As some write it into a chip. */
	pem[len] = '\0';
	assert_int_equal(cert_info_of(&info, pem, len + 1), 0);
	assert_string_equal(info.subject, "CN=leaf");
}

static void test_der(void **state)
{
	X509 *x509 = make_cert(&(struct make_cert){ .cn = "der", .key = ec });
	unsigned char *der = NULL;
	int len = i2d_X509(x509, &der);
	struct cert_info info;

	assert_true(len > 0);
	assert_int_equal(cert_info_of(&info, der, (size_t)len), 0);
	assert_string_equal(info.subject, "CN=der");
	assert_int_equal(cert_info_of(&info, der, (size_t)len - 1), -EINVAL);
	assert_empty(&info);
	/* It says it were UTF-8. */
	for (int i = 0; i + 3 <= len; i++)
		if (memcmp(der + i, "der", 3) == 0)
			memcpy(der + i, "\xed\xa0\x80", 3);
	assert_int_equal(cert_info_of(&info, der, (size_t)len), -EINVAL);
	assert_empty(&info);
	OPENSSL_free(der);
	X509_free(x509);
}

static void test_none(void **state)
{
	struct cert_info info;
	BIO *bio = BIO_new(BIO_s_mem());
	char pem[16384], *data;
	size_t pem_len = pem_of(pem, make_cert(&(struct make_cert){ .cn = "x", .key = ec }), NULL);
	long len;

	memset(&info, 'x', sizeof(info));
	assert_int_equal(cert_info_of(&info, NULL, 0), -EINVAL);
	assert_empty(&info);
	assert_int_equal(cert_info_of(&info, "\0\0", 2), -EINVAL);
	assert_int_equal(cert_info_of(&info, "somebody's", 10), -EINVAL);
	/* A key alone; then a certificate behind it. */
	PEM_write_bio_PrivateKey(bio, ec, NULL, NULL, 0, NULL, NULL);
	len = BIO_get_mem_data(bio, &data);
	assert_int_equal(cert_info_of(&info, data, (size_t)len), -EINVAL);
	assert_empty(&info);
	BIO_write(bio, pem, (int)pem_len);
	len = BIO_get_mem_data(bio, &data);
	assert_int_equal(cert_info_of(&info, data, (size_t)len), 0);
	assert_string_equal(info.subject, "CN=x");
	BIO_free(bio);
	/* What is half good is no certificate either, and nothing of it is kept. */
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(bio, ec, NULL, NULL, 0, NULL, NULL);
	BIO_write(bio, pem, (int)pem_len / 2);
	len = BIO_get_mem_data(bio, &data);
	assert_int_equal(cert_info_of(&info, data, (size_t)len), -EINVAL);
	assert_empty(&info);
	BIO_free(bio);
	/* Cut off anywhere before its end. */
	for (size_t n = 0; n < pem_len - strlen("-----END CERTIFICATE-----\n"); n += 7) {
		assert_int_equal(cert_info_of(&info, pem, n), -EINVAL);
		assert_empty(&info);
	}
}

static int setup(void **state)
{
	ec = EVP_EC_gen("P-256");
	return ec ? 0 : -1;
}

static int teardown(void **state)
{
	EVP_PKEY_free(ec);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),     cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_first_one), cmocka_unit_test(test_der),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests_name("info", tests, setup, teardown);
}
