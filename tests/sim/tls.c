/* SPDX-License-Identifier: MIT */
/* The chip's TLS by OpenSSL. */
#include "tls.h"
#include "net.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>

struct tls {
	SSL_CTX *ctx;
	SSL *ssl;
	bool verbose, up, dead;
	int link;
	char name[SIM_NAME_MAX + 1]; /* empty: not checked */
	uint8_t psk[32];
	size_t psk_len;
	char psk_hint[33];
};

/* ---- material ---- */

static BIO *mem(const struct sim_blob *b)
{
	return BIO_new_mem_buf(b->data, b->len);
}

static bool is_pem(const struct sim_blob *b)
{
	return memmem(b->data, b->len, "-----BEGIN ", 11) != NULL;
}

/* Certificates in PEM (LF or CRLF, a NUL behind them, several in a row) or one in DER (captures 42, 48, 60). */
static STACK_OF(X509) * read_certs(const struct sim_blob *b)
{
	STACK_OF(X509) *all = sk_X509_new_null();
	BIO *bio = mem(b);
	X509 *x;

	if (is_pem(b)) {
		while ((x = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
			sk_X509_push(all, x);
	} else {
		const unsigned char *p = b->data;

		x = d2i_X509(NULL, &p, b->len);
		if (x)
			sk_X509_push(all, x);
	}
	BIO_free(bio);
	ERR_clear_error();
	if (sk_X509_num(all))
		return all;
	sk_X509_free(all);
	return NULL;
}

static EVP_PKEY *read_key(const struct sim_blob *b)
{
	const unsigned char *p = b->data;
	EVP_PKEY *key;
	BIO *bio;

	if (is_pem(b)) {
		bio = mem(b);
		key = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"");
		BIO_free(bio);
	} else {
		key = d2i_AutoPrivateKey(NULL, &p, b->len);
	}
	ERR_clear_error();
	return key;
}

static int use_identity(SSL_CTX *ctx, const struct sim_blob *cert, const struct sim_blob *key)
{
	STACK_OF(X509) *certs = read_certs(cert);
	EVP_PKEY *pkey = read_key(key);
	int r = -EBADMSG;

	if (certs && pkey && SSL_CTX_use_certificate(ctx, sk_X509_value(certs, 0)) == 1 &&
	    SSL_CTX_use_PrivateKey(ctx, pkey) == 1 && SSL_CTX_check_private_key(ctx) == 1) {
		r = 0;
		for (int i = 1; i < sk_X509_num(certs); i++)
			SSL_CTX_add1_chain_cert(ctx, sk_X509_value(certs, i));
	}
	EVP_PKEY_free(pkey);
	sk_X509_pop_free(certs, X509_free);
	ERR_clear_error();
	return r;
}

static int use_ca(SSL_CTX *ctx, const struct sim_blob *ca, bool announce)
{
	STACK_OF(X509) *certs = read_certs(ca);
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);

	if (!certs)
		return -EBADMSG;
	/* mbedTLS trusts whatever stands in the list, also an intermediate. */
	X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
	for (int i = 0; i < sk_X509_num(certs); i++) {
		X509_STORE_add_cert(store, sk_X509_value(certs, i));
		if (announce)
			SSL_CTX_add_client_CA(ctx, sk_X509_value(certs, i));
	}
	sk_X509_pop_free(certs, X509_free);
	ERR_clear_error();
	return 0;
}

/* ---- the name ---- */

/* As mbedTLS does it: "*.test" stands for one label, however short the rest is, which OpenSSL's own check refuses. */
static bool name_fits(const char *pattern, size_t len, const char *name)
{
	const char *dot;

	if (len > 2 && pattern[0] == '*' && pattern[1] == '.') {
		dot = strchr(name, '.');
		return dot && dot > name && strlen(dot) == len - 1 &&
		       !strncasecmp(dot, pattern + 1, len - 1);
	}
	return strlen(name) == len && !strncasecmp(pattern, name, len);
}

static bool cert_fits(X509 *cert, const char *name)
{
	GENERAL_NAMES *sans = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	ASN1_OCTET_STRING *ip = a2i_IPADDRESS(name);
	bool fits = false;
	X509_NAME *subject = X509_get_subject_name(cert);
	char cn[256];
	int len;

	if (!sans) {
		ASN1_OCTET_STRING_free(ip);
		len = X509_NAME_get_text_by_NID(subject, NID_commonName, cn, sizeof(cn));
		return len > 0 && name_fits(cn, len, name);
	}
	for (int i = 0; i < sk_GENERAL_NAME_num(sans) && !fits; i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(sans, i);

		if (g->type == GEN_DNS)
			fits = name_fits((const char *)ASN1_STRING_get0_data(g->d.dNSName),
					 ASN1_STRING_length(g->d.dNSName), name);
		else if (g->type == GEN_IPADD && ip)
			fits = !ASN1_OCTET_STRING_cmp(g->d.iPAddress, ip);
	}
	ASN1_OCTET_STRING_free(ip);
	GENERAL_NAMES_free(sans);
	return fits;
}

static int verify_cb(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls *t = SSL_get_app_data(ssl);
	X509 *cert = X509_STORE_CTX_get_current_cert(store);

	if (ok && t->name[0] && X509_STORE_CTX_get_error_depth(store) == 0 &&
	    !cert_fits(cert, t->name)) {
		X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
		ok = 0;
	}
	if (!ok && t->verbose)
		say("link %d: TLS: %s", t->link,
		    X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)));
	return ok;
}

static unsigned psk_cb(SSL *ssl, const char *hint, char *identity, unsigned max_identity,
		       unsigned char *psk, unsigned max_psk)
{
	struct tls *t = SSL_get_app_data(ssl);

	if (strlen(t->psk_hint) >= max_identity || t->psk_len > max_psk)
		return 0;
	strcpy(identity, t->psk_hint);
	memcpy(psk, t->psk, t->psk_len);
	return t->psk_len;
}

/* ---- connection ---- */

static int common(struct tls *t, int fd, const SSL_METHOD *method, bool verbose)
{
	t->verbose = verbose;
	t->ctx = SSL_CTX_new(method);
	if (!t->ctx)
		return -ENOMEM;
	SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
	SSL_CTX_set_max_proto_version(t->ctx, TLS1_2_VERSION);
	/* The chip accepts what this host's policy may not: short keys, SHA-1. */
	SSL_CTX_set_security_level(t->ctx, 0);
	SSL_CTX_set_options(t->ctx, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_TICKET |
					    SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(t->ctx,
			 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return 0;
}

static int make_ssl(struct tls *t, int fd, int64_t time)
{
	t->ssl = SSL_new(t->ctx);
	if (!t->ssl || SSL_set_fd(t->ssl, fd) != 1)
		return -ENOMEM;
	SSL_set_app_data(t->ssl, t);
	X509_VERIFY_PARAM_set_time(SSL_get0_param(t->ssl), time);
	return 0;
}

static void set_ciphers(struct tls *t, const struct sim_tls *want)
{
	char list[SIM_CIPHER_MAX * 40] = "";
	unsigned char id[2];

	for (int i = 0; i < want->n_ciphers; i++) {
		const SSL_CIPHER *c;

		id[0] = want->ciphers[i] >> 8;
		id[1] = want->ciphers[i];
		c = SSL_CIPHER_find(t->ssl, id);
		if (!c)
			continue;
		if (list[0])
			strcat(list, ":");
		strcat(list, SSL_CIPHER_get_name(c));
	}
	/* A list of which OpenSSL knows nothing cannot connect: leave it one that no server here will take. */
	if (want->n_ciphers)
		SSL_set_cipher_list(t->ssl, list[0] ? list : "NULL-SHA256");
}

static int set_alpn(struct tls *t, const struct sim_tls *want)
{
	unsigned char wire[SIM_ALPN_MAX * (SIM_NAME_MAX + 1)];
	size_t at = 0;

	for (int i = 0; i < want->n_alpn; i++) {
		size_t n = strlen(want->alpn[i]);

		wire[at++] = n;
		memcpy(wire + at, want->alpn[i], n);
		at += n;
	}
	return at && SSL_set_alpn_protos(t->ssl, wire, at) ? -ENOMEM : 0;
}

int tls_client_new(struct tls **ret, int fd, const struct sim_tls *want, bool verbose, int link)
{
	struct tls *t = calloc(1, sizeof(*t));
	int r;

	*ret = NULL;
	if (!t)
		return -ENOMEM;
	t->link = link;
	r = common(t, fd, TLS_client_method(), verbose);
	if (!r)
		SSL_CTX_set_options(t->ctx, SSL_OP_LEGACY_SERVER_CONNECT);
	if (!r && want->verify)
		r = use_ca(t->ctx, &want->ca, false);
	if (!r && want->cert.data)
		r = use_identity(t->ctx, &want->cert, &want->key);
	if (!r && want->verify)
		SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, verify_cb);
	if (!r)
		r = make_ssl(t, fd, want->time);
	if (r) {
		if (verbose)
			say("link %d: TLS: CA, certificate or key is of no use", link);
		tls_free(t);
		return r;
	}
	if (want->name) {
		SSL_set_tlsext_host_name(t->ssl, want->name);
		snprintf(t->name, sizeof(t->name), "%s", want->name);
	}
	if (want->psk.data) {
		memcpy(t->psk, want->psk.data, want->psk.len);
		t->psk_len = want->psk.len;
		snprintf(t->psk_hint, sizeof(t->psk_hint), "%s", want->psk_hint);
		SSL_set_psk_client_callback(t->ssl, psk_cb);
	}
	set_ciphers(t, want);
	set_alpn(t, want);
	SSL_set_connect_state(t->ssl);
	*ret = t;
	return 0;
}

int tls_server_new(struct tls **ret, int fd, const struct sim_tls *want, bool verbose)
{
	struct tls *t = calloc(1, sizeof(*t));
	int r;

	*ret = NULL;
	if (!t)
		return -ENOMEM;
	t->link = -1;
	r = common(t, fd, TLS_server_method(), verbose);
	if (!r)
		r = use_identity(t->ctx, &want->cert, &want->key);
	if (!r && want->verify) {
		r = use_ca(t->ctx, &want->ca, true);
		SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
				   verify_cb);
	}
	if (!r)
		r = make_ssl(t, fd, want->time);
	if (r) {
		if (verbose)
			say("server: TLS: certificate, key or CA is of no use");
		tls_free(t);
		return r;
	}
	SSL_set_accept_state(t->ssl);
	*ret = t;
	return 0;
}

struct tls *tls_free(struct tls *t)
{
	if (!t)
		return NULL;
	SSL_free(t->ssl);
	SSL_CTX_free(t->ctx);
	OPENSSL_cleanse(t->psk, sizeof(t->psk));
	free(t);
	return NULL;
}

/* For each flag that mbedTLS gives a certificate another one. */
static int verify_error(long result)
{
	switch (result) {
	case X509_V_OK:
		return -EPROTO;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return -EKEYEXPIRED;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return -EKEYREVOKED;
	case X509_V_ERR_HOSTNAME_MISMATCH:
		return -ENOTUNIQ;
	default:
		return -EKEYREJECTED;
	}
}

int tls_handshake(struct tls *t, bool *wants_write)
{
	int r, e;

	ERR_clear_error();
	r = SSL_do_handshake(t->ssl);
	if (r == 1) {
		t->up = true;
		return 0;
	}
	e = SSL_get_error(t->ssl, r);
	*wants_write = e == SSL_ERROR_WANT_WRITE;
	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	if (t->verbose) {
		unsigned long code = ERR_peek_error();

		say("%s %d: TLS handshake failed: %s", t->link < 0 ? "server" : "link", t->link,
		    code ? ERR_reason_error_string(code) : "closed by the peer");
	}
	r = verify_error(SSL_get_verify_result(t->ssl));
	ERR_clear_error();
	t->dead = true;
	return r;
}

static ssize_t io_error(struct tls *t, int r)
{
	int e = SSL_get_error(t->ssl, r);

	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	if (e == SSL_ERROR_ZERO_RETURN)
		return -EPIPE;
	t->dead = true;
	ERR_clear_error();
	return -ECONNRESET;
}

ssize_t tls_read(struct tls *t, void *data, size_t len)
{
	int r;

	ERR_clear_error();
	r = SSL_read(t->ssl, data, len);
	return r > 0 ? r : io_error(t, r);
}

ssize_t tls_write(struct tls *t, const void *data, size_t len)
{
	int r;

	ERR_clear_error();
	r = SSL_write(t->ssl, data, len);
	return r > 0 ? r : io_error(t, r);
}

void tls_shutdown(struct tls *t)
{
	if (t->up && !t->dead)
		SSL_shutdown(t->ssl);
	ERR_clear_error();
}

void tls_describe(struct tls *t, int link)
{
	const unsigned char *alpn = NULL;
	unsigned alpn_len = 0;
	X509 *peer = SSL_get1_peer_certificate(t->ssl);
	char subject[256] = "none";

	SSL_get0_alpn_selected(t->ssl, &alpn, &alpn_len);
	if (peer)
		X509_NAME_oneline(X509_get_subject_name(peer), subject, sizeof(subject));
	X509_free(peer);
	say("link %d: %s %s, name %s, ALPN %.*s, peer %s", link, SSL_get_version(t->ssl),
	    SSL_get_cipher_name(t->ssl), t->name[0] ? t->name : "not checked",
	    alpn ? (int)alpn_len : 4, alpn ? (const char *)alpn : "none", subject);
}

/* ---- Enterprise Wi-Fi ---- */

bool tls_has_cert(const struct sim_blob *pem)
{
	STACK_OF(X509) *certs = read_certs(pem);
	bool has = certs;

	sk_X509_pop_free(certs, X509_free);
	return has;
}

/* Of what the chip trusts something has to be valid by its clock. */
static const char *bad_ca(const struct sim_eap *e)
{
	STACK_OF(X509) *certs = read_certs(&e->ca);
	time_t now = e->time;
	bool valid = false;

	if (!certs)
		return "no certificate in the chip's CA";
	for (int i = 0; i < sk_X509_num(certs); i++) {
		X509 *x = sk_X509_value(certs, i);

		valid |= X509_cmp_time(X509_get0_notBefore(x), &now) < 0 &&
			 X509_cmp_time(X509_get0_notAfter(x), &now) > 0;
	}
	sk_X509_pop_free(certs, X509_free);
	return valid ? NULL : "the chip's CA is not valid by the chip's clock";
}

/* As the server sees it, whose clock is that of this host. */
static const char *bad_chain(const struct sim_blob *server_ca, STACK_OF(X509) * certs)
{
	STACK_OF(X509) *trusted = read_certs(server_ca);
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_STORE *store = X509_STORE_new();
	const char *why = NULL;

	X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
	for (int i = 0; i < sk_X509_num(trusted); i++)
		X509_STORE_add_cert(store, sk_X509_value(trusted, i));
	X509_STORE_CTX_init(ctx, store, sk_X509_value(certs, 0), certs);
	X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT);
	if (X509_verify_cert(ctx) != 1)
		why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	sk_X509_pop_free(trusted, X509_free);
	return why;
}

static const char *bad_identity(const struct sim_blob *server_ca, const struct sim_eap *e)
{
	STACK_OF(X509) *certs = read_certs(&e->cert);
	EVP_PKEY *key = read_key(&e->key);
	const char *why = NULL;

	if (!certs || !key)
		why = certs ? "no key in the chip's key"
			    : "no certificate in the chip's certificate";
	else if (X509_check_private_key(sk_X509_value(certs, 0), key) != 1)
		why = "the chip's key is not that of its certificate";
	else if (server_ca->data)
		why = bad_chain(server_ca, certs);
	EVP_PKEY_free(key);
	sk_X509_pop_free(certs, X509_free);
	return why;
}

int tls_eap(const struct sim_blob *server_ca, const struct sim_eap *e, bool verbose)
{
	const char *why = NULL;

	if (e->check)
		why = bad_ca(e);
	if (!why && e->show)
		why = bad_identity(server_ca, e);
	ERR_clear_error();
	if (why && verbose)
		say("Wi-Fi: %s", why);
	return why ? -EKEYREJECTED : 0;
}
