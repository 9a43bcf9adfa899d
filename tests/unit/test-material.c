/* SPDX-License-Identifier: MIT */
/* cert/material: the files that a config names, what is wrong with them, and what stays in memory. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cert/material.h"
#include "make-cert.h"

#define WINDOW 8 /* bytes of a key that must not be found */

static char dir[] = "/tmp/test-material.XXXXXX";

static char *path_of(const char *name)
{
	static char paths[4][256];
	static int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static void put_bio(const char *name, BIO *bio, mode_t mode)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, (size_t)len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	BIO_free(bio);
}

static void put_key(const char *name, EVP_PKEY *key, mode_t mode)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	put_bio(name, bio, mode);
}

static void put_cert(const char *name, X509 *x509)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_X509(bio, x509);
	put_bio(name, bio, 0644);
	X509_free(x509);
}

/* In a process of its own, so that this one has never had the keys. */
static void make_files(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256"), *rsa = EVP_RSA_gen(2048);
	BIO *bio = BIO_new(BIO_s_mem());
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char *big = calloc(1, 64 * 1024 + 1);
	int fd;

	put_cert("ca.pem", make_cert(&(struct make_cert){ .cn = "ca", .key = key,
							  .basic = "CA:TRUE" }));
	put_cert("ec.pem", make_cert(&(struct make_cert){ .cn = "ec", .key = key }));
	put_cert("rsa.pem", make_cert(&(struct make_cert){ .cn = "rsa", .key = rsa }));
	put_key("ec.key", key, 0600);
	put_key("rsa.key", rsa, 0600);
	put_key("group.key", key, 0640);
	put_key("all.key", key, 0644);
	BIO_write(bio, big, 64 * 1024 + 1);
	put_bio("big", bio, 0600);
	put_bio("empty", BIO_new(BIO_s_mem()), 0600);
	put_bio("closed", BIO_new(BIO_s_mem()), 0);
	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", path_of("socket"));
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
}

/* Loads an authority of @file, or an identity of @file and @key; "W" stands before warnings. */
static int load(struct material **ret, const char *file, const char *key, const char *expected)
{
	struct problems problems = PROBLEMS_NULL;
	/* The material points to them. */
	static struct config_authority authority;
	static struct config_identity identity;
	static struct config config;
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	int r;

	authority = (struct config_authority){
		.where = { "a.conf", 3 }, .name = (char *)"a", .file = path_of(file),
	};
	identity = (struct config_identity){
		.where = { "a.conf", 5 }, .name = (char *)"i", .cert = authority.file,
		.key = key ? path_of(key) : NULL,
	};
	config = (struct config){
		.authorities = &authority, .n_authorities = key ? 0 : 1,
		.identities = &identity, .n_identities = key ? 1 : 0,
	};
	r = material_load(ret, &config, NULL, MAKE_NOW, MATERIAL_DATES_REFUSE,
			  &problems);
	for (size_t i = 0; i < problems.count; i++) {
		const char *p = problems.items[i].text;
		const char *hit = strstr(p, dir);

		assert_non_null(hit);
		fprintf(f, "%s%.*s%s\n",
			problems.items[i].severity == PROBLEM_WARNING ? "W " : "", (int)(hit - p), p,
			hit + strlen(dir) + 1);
	}
	fclose(f);
	assert_string_equal(text, expected);
	assert_int_equal(r, problems.errors ? -EINVAL : 0);
	free(text);
	problems_clear(&problems);
	return r;
}

static void test_good(void **state)
{
	struct material *material = NULL;

	assert_int_equal(load(&material, "ca.pem", NULL, ""), 0);
	assert_int_equal(material->n_items, 1);
	assert_int_equal(material->items[0].type, MATERIAL_AUTHORITY);
	assert_int_equal(material->items[0].n_blobs, 1);
	assert_int_equal(material->items[0].blobs[0]->kind, CERT_KIND_CA);
	material_free(material);
	assert_int_equal(load(&material, "ec.pem", "ec.key", ""), 0);
	assert_int_equal(material->n_items, 1);
	assert_int_equal(material->items[0].type, MATERIAL_IDENTITY);
	assert_int_equal(material->items[0].n_blobs, 2);
	assert_int_equal(material->items[0].blobs[0]->kind, CERT_KIND_CERT);
	assert_int_equal(material->items[0].blobs[1]->kind, CERT_KIND_KEY);
	material_free(material);
	assert_int_equal(load(&material, "rsa.pem", "rsa.key", ""), 0);
	assert_null(material_free(material));
	assert_null(material_free(NULL));
}

static void test_bad(void **state)
{
	static const struct {
		const char *file;
		const char *key;
		const char *expected;
	} cases[] = {
		{ "none", NULL, "a.conf:3: none: no such file, expected a file of CA certificates\n" },
		{ "ca.pem/x", NULL, "a.conf:3: ca.pem/x: no such file, expected a file of CA certificates\n" },
		{ ".", NULL, "a.conf:3: .: is a folder, expected a file of CA certificates\n" },
		{ "fifo", NULL, "a.conf:3: fifo: is a pipe, expected a file of CA certificates\n" },
		{ "socket", NULL, "a.conf:3: socket: is a socket or a device, expected a file of CA "
				  "certificates\n" },
		{ "big", NULL, "a.conf:3: big: is larger than 64 KiB, expected a file of CA "
			       "certificates\n" },
		{ "empty", NULL, "a.conf:3: empty: is empty, expected PEM or DER\n" },
		/* Both files are looked at. */
		{ "none", "empty", "a.conf:5: none: no such file, expected a file with a certificate\n"
				   "a.conf:5: empty: is empty, expected PEM or DER\n" },
		{ "ec.pem", "none", "a.conf:5: none: no such file, expected a file with a private key\n" },
		{ "ec.pem", "rsa.key",
		  "a.conf:5: rsa.key: the private key does not belong to the certificate (CN = ec), "
		  "expected the key that it was made for (one is RSA, the other EC)\n" },
		{ "rsa.key", "rsa.pem",
		  "a.conf:5: rsa.key: contains a private key, expected certificates only\n"
		  "W a.conf:5: rsa.pem: the private key can be read by everybody (mode 0644), expected "
		  "mode 0600\n"
		  "a.conf:5: rsa.pem: contains a certificate and no private key, expected a private "
		  "key\n" },
	};
	struct material *material = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(load(&material, cases[i].file, cases[i].key, cases[i].expected),
				 -EINVAL);
	assert_null(material);
	if (geteuid() != 0) {
		char expected[128];

		snprintf(expected, sizeof(expected),
			 "a.conf:3: closed: permission denied for user %u, expected a readable file\n",
			 geteuid());
		load(&material, "closed", NULL, expected);
	}
}

static void test_mode(void **state)
{
	struct material *material = NULL;

	load(&material, "ec.pem", "group.key",
	     "W a.conf:5: group.key: the private key can be read by its group (mode 0640), expected mode "
	     "0600\n");
	material_free(material);
	load(&material, "ec.pem", "all.key",
	     "W a.conf:5: all.key: the private key can be read by everybody (mode 0644), expected mode "
	     "0600\n");
	material_free(material);
}

/* What is searched for and where it is kept: in memory of its own, which is not searched. */
struct secret {
	uint8_t file[8192];    /* the key's PEM */
	uint8_t der[8192];
	uint8_t reverse[8192]; /* as OpenSSL's numbers have it */
	const uint8_t *parts[3];
	size_t lens[3];
	bool starts[65536]; /* first two bytes of any window */
	uint8_t chunk[1 << 20];
};

static void add_part(struct secret *secret, size_t k, const uint8_t *part, size_t len)
{
	secret->parts[k] = part;
	secret->lens[k] = len;
	for (size_t i = 0; i + WINDOW <= len; i++)
		secret->starts[part[i] << 8 | part[i + 1]] = true;
}

/* Reads a key. Public parts are in the certificate as well, so only the private ones are taken. */
static void read_secret(struct secret *secret, const char *path, bool is_rsa)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = (size_t)read(fd, secret->file, sizeof(secret->file) - 1), end, n = 0;
	/* PKCS#8: what stands before the private number, or the first of them */
	size_t head = is_rsa ? 304 : 36;
	unsigned int bits = 0, digits = 0;

	close(fd);
	assert_true(len > 200 && len < sizeof(secret->file) - 1);
	end = len - strlen("-----END PRIVATE KEY-----\n");
	for (size_t i = strlen("-----BEGIN PRIVATE KEY-----\n"); i < end; i++) {
		static const char alphabet[] =
			"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
		const char *digit = strchr(alphabet, secret->file[i]);

		if (!digit || secret->file[i] == '\0')
			continue;
		bits = bits << 6 | (unsigned int)(digit - alphabet);
		if (++digits % 4 != 1)
			secret->der[n++] = (uint8_t)(bits >> (digits % 4 == 2 ? 4 : digits % 4 == 3 ? 2 : 0));
	}
	if (!is_rsa)
		n = 36 + 32;
	for (size_t i = head; i < n; i++)
		secret->reverse[n - 1 - i] = secret->der[i];
	/* The first of the text's lines that hold nothing else, for EC the rest of its one. */
	if (is_rsa)
		add_part(secret, 0, secret->file + 28 + 65 * 7, end - 28 - 65 * 7);
	else
		add_part(secret, 0, secret->file + 28 + 52, 12);
	add_part(secret, 1, secret->der + head, n - head);
	add_part(secret, 2, secret->reverse, n - head);
}

static size_t count_in(const struct secret *secret, const uint8_t *data, size_t len)
{
	size_t found = 0;

	for (size_t i = 0; i + WINDOW <= len; i++) {
		if (!secret->starts[data[i] << 8 | data[i + 1]])
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(secret->parts); k++)
			for (size_t n = 0; n + WINDOW <= secret->lens[k]; n++)
				found += memcmp(data + i, secret->parts[k] + n, WINDOW) == 0;
	}
	return found;
}

/* How many windows of the secret are in the writable memory of this process. */
static size_t count_windows(struct secret *secret)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	static char line[512];
	size_t found = 0;

	assert_non_null(maps);
	assert_true(mem >= 0);
	while (fgets(line, sizeof(line), maps)) {
		unsigned long from, to, own = (unsigned long)secret;
		char mode[8];

		if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || mode[1] != 'w' ||
		    (own >= from && own < to) || to - from > 64ul << 20)
			continue; /* the sanitizers' shadow is huge */
		for (unsigned long at = from; at < to; at += sizeof(secret->chunk) - WINDOW) {
			size_t want = to - at < sizeof(secret->chunk) ? to - at : sizeof(secret->chunk);
			ssize_t n = pread(mem, secret->chunk, want, (off_t)at);

			if (n > 0)
				found += count_in(secret, secret->chunk, (size_t)n);
		}
	}
	close(mem);
	fclose(maps);
	return found;
}

/* No part of a private key is in memory but while it is written: neither its text nor its numbers. */
static void test_wiped(void **state)
{
	static const char *const pairs[][2] = { { "ec.pem", "ec.key" }, { "rsa.pem", "rsa.key" } };

	for (size_t k = 0; k < ARRAY_SIZE(pairs); k++) {
		struct material *material = NULL;
		struct cert_blob *key = NULL;
		/* With pages around it, or the kernel may join it with a searched one. */
		uint8_t *area = mmap(NULL, sizeof(struct secret) + 3 * 4096, PROT_NONE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		struct secret *secret = (struct secret *)(area + 4096);

		assert_int_equal(mprotect(secret, sizeof(*secret), PROT_READ | PROT_WRITE), 0);
		assert_int_equal(load(&material, pairs[k][0], pairs[k][1], ""), 0);
		read_secret(secret, path_of(pairs[k][1]), k == 1);
		assert_int_equal(count_windows(secret), 0);
		assert_int_equal(material_read(&material->items[0], 1, NULL, &key), 0);
		assert_true(count_windows(secret) > 0); /* it does find them */
		cert_blob_free(key);
		assert_int_equal(count_windows(secret), 0);
		material_free(material);
		assert_int_equal(count_windows(secret), 0);
		munmap(area, sizeof(struct secret) + 3 * 4096);
	}
}

static void put_text(const char *name, const char *text, size_t len, mode_t mode)
{
	BIO *bio = BIO_new(BIO_s_mem());

	BIO_write(bio, text, (int)len);
	put_bio(name, bio, mode);
}

static void test_password(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		mode_t mode;
		const char *expected; /* NULL: good */
	} cases[] = {
		{ "secret88\n", 9, 0600, NULL },
		{ "x\r\n", 3, 0600, NULL },
		{ "x", 1, 0644, "the password can be read by everybody (mode 0644), expected mode 0600" },
		{ "", 0, 0600, "its first line is empty, expected a file with the Wi-Fi password in its "
			       "first line" },
		{ "\nx", 2, 0600, "its first line is empty, expected a file with the Wi-Fi password in "
				  "its first line" },
		{ "a\0b", 3, 0600, "its first line has a NUL byte, expected a file with the Wi-Fi "
				   "password in its first line" },
		{ "0123456789012345678901234567890123456789012345678901234567890123\nx", 66, 0600, NULL },
		{ "01234567890123456789012345678901234567890123456789012345678901234", 65, 0600,
		  "its first line is longer than 64 bytes, expected a file with the Wi-Fi password in its "
		  "first line" },
		{ NULL, 0, 0600, "no such file, expected a file with the Wi-Fi password in its first "
				 "line" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct problems problems = PROBLEMS_NULL;
		struct config_device device = {
			.has_wifi = true, .wifi = { .where = { "a.conf", 9 } },
		};
		struct config config = { .devices = &device, .n_devices = 1 };
		struct material *material = NULL;
		char want[512] = "";
		int r;

		unlink(path_of("secret"));
		if (cases[i].text)
			put_text("secret", cases[i].text, cases[i].len, cases[i].mode);
		device.wifi.password_file = path_of("secret");
		if (cases[i].expected)
			snprintf(want, sizeof(want), "a.conf:9: %s/secret: %s", dir,
				 cases[i].expected);
		r = material_load(&material, &config, NULL, MAKE_NOW,
				  MATERIAL_DATES_REFUSE, &problems);
		assert_int_equal(r, problems.errors ? -EINVAL : 0);
		assert_string_equal(problems.count ? problems.items[0].text : "", want);
		assert_int_equal(problems.count, cases[i].expected ? 1 : 0);
		material_free(material);
		problems_clear(&problems);
	}
	unlink(path_of("secret"));
}

static int setup(void **state)
{
	pid_t child;
	int status;

	if (!mkdtemp(dir))
		return -1;
	child = fork();
	if (child == 0) {
		make_files();
		_exit(0);
	}
	if (waitpid(child, &status, 0) != child)
		return -1;
	return status;
}

static int teardown(void **state)
{
	static const char *const names[] = { "ca.pem", "ec.pem", "rsa.pem", "ec.key", "rsa.key",
					     "group.key", "all.key", "big", "empty", "closed", "fifo",
					     "socket" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlink(path_of(names[i]));
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wiped),
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_mode),
		cmocka_unit_test(test_password),
	};

	/* meson test sets MALLOC_PERTURB_, which would wipe for us. */
	mallopt(M_PERTURB, 0);
	return cmocka_run_group_tests_name("material", tests, setup, teardown);
}
