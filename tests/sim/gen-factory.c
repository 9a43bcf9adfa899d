/* SPDX-License-Identifier: MIT */
/*
 * Writes factory.h: what is in mfg_nvs of a new chip (capture 10). The certificates and keys are made here, at build time,
 * in the shape of the firmware's own (RSA 2048, self-signed, PEM with CRLF), and are good for nothing but tests.
 */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

static int serial = 0x51;

static void emit(const char *name, BIO *bio)
{
	char *p;
	long len = BIO_get_mem_data(bio, &p), out = 0;

	printf("static const uint8_t %s[] = {", name);
	for (long i = 0; i < len; i++) {
		if (p[i] == '\n')
			printf("%s13,", out++ % 24 ? " " : "\n\t");
		printf("%s%d,", out++ % 24 ? " " : "\n\t", p[i]);
	}
	printf("\n};\n\n");
	BIO_free(bio);
}

/* The firmware's keys take 1588 base64 characters: DER of 1189 to 1191 bytes, which depends on the numbers' top bits. */
static EVP_PKEY *make_key(void)
{
	EVP_PKEY *key = NULL;
	int len;

	do {
		EVP_PKEY_free(key);
		key = EVP_RSA_gen(2048);
		len = i2d_PrivateKey(key, NULL);
	} while (len < 1189 || len > 1191);
	return key;
}

static void add_ext(X509 *x, X509V3_CTX *ctx, int nid, const char *value)
{
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, ctx, nid, value);

	X509_add_ext(x, ext, -1);
	X509_EXTENSION_free(ext);
}

static X509 *make_cert(EVP_PKEY *key, const char *org, const char *cn)
{
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);
	X509V3_CTX ctx;

	X509_set_version(x, 2);
	/* Nine bytes, as the firmware's: the PEM is then as long as theirs. */
	ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), 0xde8b0000000000ull << 8 | serial++);
	ASN1_TIME_set_string_X509(X509_getm_notBefore(x), "20190621080023Z");
	ASN1_TIME_set_string_X509(X509_getm_notAfter(x), "20390618080023Z");
	X509_NAME_add_entry_by_txt(name, "C", MBSTRING_ASC, (const unsigned char *)"XX", -1, -1, 0);
	X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)org, -1, -1, 0);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(x, name);
	X509_set_pubkey(x, key);
	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	add_ext(x, &ctx, NID_basic_constraints, "CA:TRUE");
	add_ext(x, &ctx, NID_key_usage, "digitalSignature,keyCertSign,cRLSign");
	add_ext(x, &ctx, NID_subject_key_identifier, "hash");
	X509_sign(x, key, EVP_sha256());
	return x;
}

static void emit_cert(const char *name, X509 *x)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_X509(bio, x);
	emit(name, bio);
}

static void emit_key(const char *name, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL);
	emit(name, bio);
}

int main(void)
{
	EVP_PKEY *client = make_key(), *server = make_key();
	X509 *client_cert = make_cert(client, "SIM C2", "SIM Root CA C2");
	X509 *server_cert = make_cert(server, "SIM S2", "SIM Root CA S2");

	printf("/* Made by gen-factory. */\n#pragma once\n\n#include \"core.h\"\n\n");
	emit_cert("client_cert", client_cert);
	emit_key("client_key", client);
	emit_cert("server_cert", server_cert);
	emit_key("server_key", server);
	X509_free(client_cert);
	X509_free(server_cert);
	EVP_PKEY_free(client);
	EVP_PKEY_free(server);
	return 0;
}
