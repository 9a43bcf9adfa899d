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
#include "own-memory.h"

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

	put_cert("ca.pem",
		 make_cert(&(struct make_cert){ .cn = "ca", .key = key, .basic = "CA:TRUE" }));
	put_cert("ca2.pem",
		 make_cert(&(struct make_cert){ .cn = "ca2", .key = key, .basic = "CA:TRUE" }));
	put_cert("ca3.pem",
		 make_cert(&(struct make_cert){ .cn = "ca3", .key = key, .basic = "CA:TRUE" }));
	put_cert("old.pem", make_cert(&(struct make_cert){
				    .cn = "old", .key = key, .from = -4001, .to = -3999 }));
	put_cert("ec2.pem", make_cert(&(struct make_cert){ .cn = "ec2", .key = key }));
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
		.where = { "a.conf", 3 },
		.name = (char *)"a",
		.file = path_of(file),
	};
	identity = (struct config_identity){
		.where = { "a.conf", 5 },
		.name = (char *)"i",
		.cert = authority.file,
		.key = key ? path_of(key) : NULL,
	};
	config = (struct config){
		.authorities = &authority,
		.n_authorities = key ? 0 : 1,
		.identities = &identity,
		.n_identities = key ? 1 : 0,
	};
	r = material_load(ret, &config, NULL, MAKE_NOW, MATERIAL_DATES_REFUSE, &problems);
	for (size_t i = 0; i < problems.count; i++) {
		const char *p = problems.items[i].text;
		const char *hit = strstr(p, dir);

		assert_non_null(hit);
		fprintf(f, "%s%.*s%s\n", problems.items[i].severity == PROBLEM_WARNING ? "W " : "",
			(int)(hit - p), p, hit + strlen(dir) + 1);
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
		{ "none", NULL,
		  "a.conf:3: none: no such file, expected a file of CA certificates\n" },
		{ "ca.pem/x", NULL,
		  "a.conf:3: ca.pem/x: no such file, expected a file of CA certificates\n" },
		{ ".", NULL, "a.conf:3: .: is a folder, expected a file of CA certificates\n" },
		{ "fifo", NULL, "a.conf:3: fifo: is a pipe, expected a file of CA certificates\n" },
		{ "socket", NULL,
		  "a.conf:3: socket: is a socket or a device, expected a file of CA "
		  "certificates\n" },
		{ "big", NULL,
		  "a.conf:3: big: is larger than 64 KiB, expected a file of CA "
		  "certificates\n" },
		{ "empty", NULL, "a.conf:3: empty: is empty, expected PEM or DER\n" },
		/* Both files are looked at. */
		{ "none", "empty",
		  "a.conf:5: none: no such file, expected a file with a certificate\n"
		  "a.conf:5: empty: is empty, expected PEM or DER\n" },
		{ "ec.pem", "none",
		  "a.conf:5: none: no such file, expected a file with a private key\n" },
		{ "ec.pem", "rsa.key",
		  "a.conf:5: rsa.key: the private key does not belong to the certificate (CN = "
		  "ec), "
		  "expected the key that it was made for (one is RSA, the other EC)\n" },
		{ "rsa.key", "rsa.pem",
		  "a.conf:5: rsa.key: contains a private key, expected certificates only\n"
		  "W a.conf:5: rsa.pem: the private key can be read by everybody (mode 0644), "
		  "expected "
		  "mode 0600\n"
		  "a.conf:5: rsa.pem: contains a certificate and no private key, expected a "
		  "private "
		  "key\n" },
	};
	struct material *material = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(load(&material, cases[i].file, cases[i].key, cases[i].expected),
				 -EINVAL);
	assert_null(material);
}

/* ---- who we are ---- */

/* What the process and its files are taken for, if not what they are. */
static struct {
	uid_t euid, owner;
	gid_t egid, group;
	bool on;
	int open_error;
} fake;

uid_t __real_geteuid(void);
uid_t __wrap_geteuid(void);
gid_t __real_getegid(void);
gid_t __wrap_getegid(void);
int __real_fstat64(int fd, struct stat *st);
int __wrap_fstat64(int fd, struct stat *st);
int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);

uid_t __wrap_geteuid(void)
{
	return fake.on ? fake.euid : __real_geteuid();
}

gid_t __wrap_getegid(void)
{
	return fake.on ? fake.egid : __real_getegid();
}

int __wrap_fstat64(int fd, struct stat *st)
{
	int r = __real_fstat64(fd, st);

	if (fake.on) {
		st->st_uid = fake.owner;
		st->st_gid = fake.group;
	}
	return r;
}

int __wrap_open64(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (fake.open_error == 0)
		return __real_open64(path, flags, mode);
	errno = fake.open_error;
	return -1;
}

/* A test that has failed leaves nothing to those behind it. */
static int teardown_fake(void **state)
{
	memset(&fake, 0, sizeof(fake));
	return 0;
}

#define EXPECTED_READABLE "expected a readable file"

static void test_permission(void **state)
{
	static const struct {
		int error;
		uid_t euid;
		const char *key, *expected;
	} cases[] = {
		/* A name of every system; and a number that no system has a user for. */
		{ EACCES, 0, NULL,
		  "a.conf:3: ec.pem: permission denied for user root, " EXPECTED_READABLE "\n" },
		{ EPERM, 4123456789, NULL,
		  "a.conf:3: ec.pem: permission denied for user 4123456789, " EXPECTED_READABLE
		  "\n" },
		/* Only what is a secret may be meant for root alone. */
		{ EACCES, 0, "ec.key",
		  "a.conf:5: ec.pem: permission denied for user root, " EXPECTED_READABLE "\n"
		  "a.conf:5: ec.key: permission denied for user root, " EXPECTED_READABLE
		  ", or LoadCredential= of the service\n" },
	};
	struct material *material = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fake.on = true;
		fake.euid = cases[i].euid;
		fake.open_error = cases[i].error;
		load(&material, "ec.pem", cases[i].key, cases[i].expected);
		memset(&fake, 0, sizeof(fake));
	}
	assert_null(material);
}

static void put_text(const char *name, const char *text, size_t len, mode_t mode)
{
	BIO *bio = BIO_new(BIO_s_mem());

	BIO_write(bio, text, (int)len);
	put_bio(name, bio, mode);
}

static void copy(const char *from, const char *to)
{
	static char data[65536];
	int fd = open(path_of(from), O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, data, sizeof(data));

	assert_true(n > 0);
	close(fd);
	unlink(path_of(to));
	put_text(to, data, (size_t)n, 0600);
}

static void test_mode(void **state)
{
	struct material *material = NULL;

	load(&material, "ec.pem", "group.key",
	     "W a.conf:5: group.key: the private key can be read by its group (mode 0640), "
	     "expected mode "
	     "0600\n");
	material_free(material);
	load(&material, "ec.pem", "all.key",
	     "W a.conf:5: all.key: the private key can be read by everybody (mode 0644), expected "
	     "mode "
	     "0600\n");
	material_free(material);
}

static void test_lent_by_root(void **state)
{
	static const struct {
		mode_t mode;
		uid_t owner, euid;
		gid_t group, egid;
		const char *readers; /* NULL: no warning */
	} cases[] = {
		{ 0640, 0, 993, 990, 990, NULL },
		{ 0440, 0, 993, 990, 990, NULL },
		/* Another group's members; or others, too. */
		{ 0640, 0, 993, 4, 990, "its group" },
		{ 0644, 0, 993, 990, 990, "everybody" },
		/* They can change it. */
		{ 0660, 0, 993, 990, 990, "its group" },
		/* Whose 0600 would do, or who is nobody to trust. */
		{ 0640, 993, 993, 990, 990, "its group" },
		{ 0640, 1000, 993, 990, 990, "its group" },
		{ 0640, 0, 0, 0, 0, "its group" },
	};
	struct material *material = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char expected[160] = "";

		if (cases[i].readers)
			snprintf(expected, sizeof(expected),
				 "W a.conf:5: lent.key: the private key can be read by %s (mode "
				 "%04o), expected mode 0600\n",
				 cases[i].readers, cases[i].mode);
		copy("ec.key", "lent.key");
		assert_int_equal(chmod(path_of("lent.key"), cases[i].mode), 0);
		fake.euid = cases[i].euid;
		fake.egid = cases[i].egid;
		fake.owner = cases[i].owner;
		fake.group = cases[i].group;
		fake.on = true;
		load(&material, "ec.pem", "lent.key", expected);
		memset(&fake, 0, sizeof(fake));
		material_free(material);
		material = NULL;
	}
	unlink(path_of("lent.key"));
}

/* What is searched for and where it is kept: in memory of its own, which is not searched. */
struct secret {
	uint8_t file[8192]; /* the key's PEM */
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
			secret->der[n++] = (uint8_t)(bits >> (digits % 4 == 2   ? 4
							      : digits % 4 == 3 ? 2
										: 0));
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

static size_t count_in(const void *own, const uint8_t *data, size_t len)
{
	const struct secret *secret = own;
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
	const struct own_memory memory = {
		.own = secret,
		.chunk = secret->chunk,
		.size = sizeof(secret->chunk),
		.count = count_in,
	};

	return own_memory_count(&memory);
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

/* What is said of the file "secret", which a configuration names at @where; NULL: nothing. It is removed. */
static void expect_of_secret(const struct config *config, const char *where, const char *expected)
{
	struct problems problems = PROBLEMS_NULL;
	struct material *material = NULL;
	char want[512] = "";
	int r;

	if (expected)
		snprintf(want, sizeof(want), "%s: %s/secret: %s", where, dir, expected);
	r = material_load(&material, config, NULL, MAKE_NOW, MATERIAL_DATES_REFUSE, &problems);
	assert_int_equal(r, problems.errors ? -EINVAL : 0);
	assert_string_equal(problems.count ? problems.items[0].text : "", want);
	assert_int_equal(problems.count, expected ? 1 : 0);
	material_free(material);
	problems_clear(&problems);
	unlink(path_of("secret"));
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
		{ "x", 1, 0644,
		  "the password can be read by everybody (mode 0644), expected mode 0600" },
		{ "", 0, 0600,
		  "its first line is empty, expected a file with the Wi-Fi password in its "
		  "first line" },
		{ "\nx", 2, 0600,
		  "its first line is empty, expected a file with the Wi-Fi password in "
		  "its first line" },
		{ "a\0b", 3, 0600,
		  "its first line has a NUL byte, expected a file with the Wi-Fi "
		  "password in its first line" },
		{ "0123456789012345678901234567890123456789012345678901234567890123\nx", 66, 0600,
		  NULL },
		{ "01234567890123456789012345678901234567890123456789012345678901234", 65, 0600,
		  "its first line is longer than 64 bytes, expected a file with the Wi-Fi password "
		  "in its "
		  "first line" },
		{ NULL, 0, 0600,
		  "no such file, expected a file with the Wi-Fi password in its first "
		  "line" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config_device device = {
			.has_wifi = true,
			.wifi = { .where = { "a.conf", 9 }, .password_file = path_of("secret") },
		};
		struct config config = { .devices = &device, .n_devices = 1 };

		if (cases[i].text)
			put_text("secret", cases[i].text, cases[i].len, cases[i].mode);
		expect_of_secret(&config, "a.conf:9", cases[i].expected);
	}
}

/* ---- pre-shared keys ---- */

#define EXPECTED_PSK "expected a file with a key of 1 to 32 bytes in its first line"
#define EXPECTED_HEX                                                                               \
	"expected a file with a key of 1 to 32 bytes, in hexadecimal, in its first line"
#define DIGITS_32 "01234567890123456789012345678901"

static void test_psk(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		mode_t mode;
		bool hex;
		const char *expected; /* NULL: good */
	} cases[] = {
		{ "k", 1, 0600, false, NULL },
		{ "not hex \xff\n", 10, 0600, false, NULL },
		{ DIGITS_32 "\nmore", 37, 0600, false, NULL },
		{ DIGITS_32 "3", 33, 0600, false,
		  "its first line is longer than 32 bytes, " EXPECTED_PSK },
		{ "", 0, 0600, false, "its first line is empty, " EXPECTED_PSK },
		{ "\r\nk", 3, 0600, false, "its first line is empty, " EXPECTED_PSK },
		{ "a\0b", 3, 0600, false, "its first line has a NUL byte, " EXPECTED_PSK },
		{ "k", 1, 0640, false,
		  "the key can be read by its group (mode 0640), expected mode 0600" },
		{ "k", 1, 0604, false,
		  "the key can be read by everybody (mode 0604), expected mode 0600" },
		{ NULL, 0, 0600, false, "no such file, " EXPECTED_PSK },
		{ "00", 2, 0600, true, NULL },
		{ "0aF9\r\n", 6, 0600, true, NULL },
		{ DIGITS_32 DIGITS_32, 64, 0600, true, NULL },
		{ DIGITS_32 DIGITS_32 "0", 65, 0600, true,
		  "its first line is longer than 64 bytes, " EXPECTED_HEX },
		{ DIGITS_32 DIGITS_32 "01", 66, 0600, true,
		  "its first line is longer than 64 bytes, " EXPECTED_HEX },
		{ "0", 1, 0600, true, "its first line is not hexadecimal, " EXPECTED_HEX },
		{ "0x00", 4, 0600, true, "its first line is not hexadecimal, " EXPECTED_HEX },
		{ "00 ", 3, 0600, true, "its first line is not hexadecimal, " EXPECTED_HEX },
		{ "", 0, 0600, true, "its first line is empty, " EXPECTED_HEX },
		{ NULL, 0, 0600, true, "no such file, " EXPECTED_HEX },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config_tunnel tunnel = {
			.has_psk = true,
			.psk = { .where = { "a.conf", 7 },
				 .hex = cases[i].hex,
				 .file = path_of("secret") },
		};
		struct config config = { .tunnels = &tunnel, .n_tunnels = 1 };

		if (cases[i].text)
			put_text("secret", cases[i].text, cases[i].len, cases[i].mode);
		expect_of_secret(&config, "a.conf:7", cases[i].expected);
	}
}

/* ---- NVS entries ---- */

static struct config_device devices[2];

/* An entry of namespace @namespace at a.conf:@line. */
static struct config_nvs entry(const char *namespace, enum config_nvs_kind kind, const char *file,
			       unsigned int line)
{
	return (struct config_nvs){
		.where = { "a.conf", line },
		.namespace = (char *)(uintptr_t) namespace,
		.slot = CONFIG_SLOT_NONE,
		.kind = kind,
		.file = strdup(path_of(file)),
	};
}

static void load_nvs(struct config_nvs *nvs, size_t n, const char *expected)
{
	struct problems problems = PROBLEMS_NULL;
	struct config config = { .nvs = nvs, .n_nvs = n };
	struct material *material = NULL;
	char text[1024] = "";
	size_t len = 0;
	int r;

	r = material_load(&material, &config, NULL, MAKE_NOW, MATERIAL_DATES_REFUSE, &problems);
	for (size_t i = 0; i < problems.count; i++) {
		const char *p = problems.items[i].text, *hit = strstr(p, dir);

		assert_non_null(hit);
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%.*s%s\n", (int)(hit - p),
					p, hit + strlen(dir) + 1);
	}
	assert_string_equal(text, expected);
	assert_int_equal(r, problems.errors ? -EINVAL : 0);
	for (size_t i = 0; material && i < n; i++) {
		assert_int_equal(material->items[i].type, MATERIAL_NVS);
		assert_string_equal(material->items[i].name, nvs[i].namespace);
		assert_ptr_equal(material->items[i].config, &nvs[i]);
		assert_int_equal(material->items[i].generation, 0);
		assert_int_equal(material->items[i].n_blobs, 1);
		assert_null(material->items[i].blobs[0]->data);
	}
	material_free(material);
	problems_clear(&problems);
}

static void free_nvs(struct config_nvs *nvs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(nvs[i].file);
}

static void test_nvs_raw(void **state)
{
	static const struct {
		size_t len;
		mode_t mode;
		const char *expected;
	} cases[] = {
		{ 1, 0600, "" },
		{ 8191, 0600, "" },
		{ 0, 0600, "a.conf:1: value: is empty, expected 1 to 8191 bytes\n" },
		{ 8192, 0600,
		  "a.conf:1: value: is larger than the chip takes, expected 1 to 8191 "
		  "bytes\n" },
		{ 64 * 1024 + 1, 0600,
		  "a.conf:1: value: is larger than 64 KiB, expected a file with "
		  "the value\n" },
		{ 1, 0644,
		  "a.conf:1: value: the value can be read by everybody (mode 0644), expected "
		  "mode 0600\n" },
	};
	char *bytes = calloc(1, 64 * 1024 + 1); /* NUL bytes are as good as others */

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config_nvs nvs;

		unlink(path_of("value"));
		put_text("value", bytes, cases[i].len, cases[i].mode);
		nvs = entry("x_y", CONFIG_NVS_RAW, "value", 1);
		load_nvs(&nvs, 1, cases[i].expected);
		free_nvs(&nvs, 1);
	}
	unlink(path_of("value"));
	free(bytes);
}

#define OTHER_KEY                                                                                  \
	"the private key does not belong to the certificate (CN = ec), expected the key that it "  \
	"was made for (one is RSA, the other EC)\n"

static void test_nvs_pairs(void **state)
{
	struct config_nvs nvs[3];

	/* What its kind says. */
	nvs[0] = entry("mqtt_ca", CONFIG_NVS_CA, "ec.key", 1);
	load_nvs(nvs, 1, "a.conf:1: ec.key: contains a private key, expected certificates only\n");
	free_nvs(nvs, 1);
	nvs[0] = entry("mqtt_cert", CONFIG_NVS_CERT, "ec.pem", 1);
	nvs[1] = entry("mqtt_key", CONFIG_NVS_KEY, "ec.key", 2);
	nvs[2] = entry("https_key", CONFIG_NVS_KEY, "rsa.key", 3);
	load_nvs(nvs, 3, "");
	/* In any order, and found behind those that it is not. */
	free(nvs[1].file);
	nvs[1].file = strdup(path_of("rsa.key"));
	load_nvs(nvs, 3, "a.conf:2: rsa.key: " OTHER_KEY);
	nvs[1].namespace = (char *)(uintptr_t) "https_key";
	nvs[2].namespace = (char *)(uintptr_t) "mqtt_key";
	load_nvs(nvs, 3, "a.conf:3: rsa.key: " OTHER_KEY);
	/* Of another user, slot or device it is another one's; without its kind it is none. */
	nvs[2].namespace = (char *)(uintptr_t) "wss_key";
	load_nvs(nvs, 3, "");
	nvs[2].namespace = (char *)(uintptr_t) "mqtt_key";
	nvs[2].slot = 1;
	load_nvs(nvs, 3, "");
	nvs[0].slot = 1;
	load_nvs(nvs, 3, "a.conf:3: rsa.key: " OTHER_KEY);
	nvs[2].device = &devices[0];
	load_nvs(nvs, 3, "");
	nvs[0].device = &devices[1];
	load_nvs(nvs, 3, "");
	nvs[0].device = &devices[0];
	load_nvs(nvs, 3, "a.conf:3: rsa.key: " OTHER_KEY);
	nvs[2].kind = CONFIG_NVS_RAW;
	load_nvs(nvs, 3, "");
	free_nvs(nvs, 3);
	/* A key that cannot be read has been complained of already. */
	nvs[0] = entry("mqtt_cert", CONFIG_NVS_CERT, "ec.pem", 1);
	nvs[1] = entry("mqtt_key", CONFIG_NVS_KEY, "none", 2);
	load_nvs(nvs, 2, "a.conf:2: none: no such file, expected a file with a private key\n");
	free_nvs(nvs, 2);
	/* Namespaces that are no pair by their names. */
	nvs[0] = entry("cert", CONFIG_NVS_CERT, "ec.pem", 1);
	nvs[1] = entry("key", CONFIG_NVS_KEY, "rsa.key", 2);
	load_nvs(nvs, 2, "");
	free_nvs(nvs, 2);
}

/* ---- credentials of the service, in a shell ---- */

/* The complaints of one call, a line each, "W" before warnings. */
static char *text_of(struct problems *problems)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	for (size_t i = 0; i < problems->count; i++)
		fprintf(f, "%s%s\n", problems->items[i].severity == PROBLEM_WARNING ? "W " : "",
			problems->items[i].text);
	fclose(f);
	problems_clear(problems);
	return text;
}

static void test_unresolved(void **state)
{
	struct config_device device = {
		.has_wifi = true,
		.wifi = { .where = { "a.conf", 1 }, .password_file = (char *)"credential:wifi" },
	};
	struct config_tunnel tunnel = {
		.has_psk = true,
		.psk = { .where = { "a.conf", 2 }, .file = (char *)"credential:psk" },
	};
	struct config_identity identity = {
		.where = { "a.conf", 3 },
		.name = (char *)"i",
		.cert = path_of("rsa.pem"),
		.key = (char *)"credential:key",
	};
	struct config_nvs nvs[] = {
		entry("mqtt_cert", CONFIG_NVS_CERT, "ec.pem", 4),
		{ .where = { "a.conf", 5 },
		  .namespace = (char *)"mqtt_key",
		  .slot = CONFIG_SLOT_NONE,
		  .kind = CONFIG_NVS_KEY,
		  .file = (char *)"credential:mqtt" },
	};
	struct config_authority authority = {
		.where = { "a.conf", 6 },
		.name = (char *)"a",
		.file = path_of("old.pem"),
	};
	struct config config = {
		.devices = &device,
		.n_devices = 1,
		.tunnels = &tunnel,
		.n_tunnels = 1,
		.identities = &identity,
		.n_identities = 1,
		.nvs = nvs,
		.n_nvs = ARRAY_SIZE(nvs),
	};
	struct problems problems = PROBLEMS_NULL;
	struct material *material = NULL;
	char *text;

#define UNSET "CREDENTIALS_DIRECTORY is not set, expected "
#define UNSET_TO_RUN(line, name)                                                                   \
	"a.conf:" line ": credential:" name ": " UNSET                                             \
	"a service that was started with LoadCredential=" name ":FILE\n"
#define UNSET_TO_CHECK(line, name)                                                                 \
	"W a.conf:" line ": credential:" name ": not looked at: " UNSET                            \
	"the service's LoadCredential=" name ":FILE\n"
	assert_int_equal(
		material_load(&material, &config, NULL, MAKE_NOW, MATERIAL_DATES_WARN, &problems),
		-EINVAL);
	assert_null(material);
	text = text_of(&problems);
	assert_string_equal(text, UNSET_TO_RUN("1", "wifi") UNSET_TO_RUN("2", "psk")
					  UNSET_TO_RUN("3", "key") UNSET_TO_RUN("5", "mqtt"));
	free(text);

	assert_int_equal(material_check(&config, MAKE_NOW, &problems), 0);
	text = text_of(&problems);
	assert_string_equal(text, UNSET_TO_CHECK("1", "wifi") UNSET_TO_CHECK("2", "psk")
					  UNSET_TO_CHECK("3", "key") UNSET_TO_CHECK("5", "mqtt"));
	free(text);

	/* All else is looked at as ever. */
	config.authorities = &authority;
	config.n_authorities = 1;
	assert_int_equal(material_check(&config, MAKE_NOW, &problems), -EINVAL);
	assert_int_equal(problems.errors, 2);
	assert_int_equal(problems.count, 2 + 4);
	text = text_of(&problems);
	assert_non_null(strstr(text, "\na.conf:6: "));
	assert_non_null(strstr(text, "expired"));
	free(text);
	free(nvs[0].file);
}

/* ---- generations ---- */

static struct {
	struct config_authority authority;
	struct config_identity identity;
	struct config_nvs nvs;
	struct config config;
	struct store *store;
	struct material *material;
} g;

static int setup_store(void **state)
{
	copy("ca.pem", "a");
	copy("ec.pem", "c");
	copy("ec.key", "k");
	put_text("v", "value", 5, 0600);
	memset(&g, 0, sizeof(g));
	g.authority = (struct config_authority){ .name = (char *)"corp",
						 .file = strdup(path_of("a")) };
	g.identity = (struct config_identity){ .name = (char *)"gateway",
					       .cert = strdup(path_of("c")),
					       .key = strdup(path_of("k")) };
	g.nvs = entry("x_y", CONFIG_NVS_RAW, "v", 1);
	g.config = (struct config){
		.authorities = &g.authority,
		.n_authorities = 1,
		.identities = &g.identity,
		.n_identities = 1,
		.nvs = &g.nvs,
		.n_nvs = 1,
	};
	return mkdir(path_of("state"), 0700) == 0 ? store_new(&g.store, path_of("state")) : -1;
}

static int teardown_store(void **state)
{
	static const char *const files[] = { "a", "c", "k", "v" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		unlink(path_of(files[i]));
	material_free(g.material);
	store_remove(g.store, STORE_AUTHORITY, "corp");
	store_remove(g.store, STORE_IDENTITY, "gateway");
	store_free(g.store);
	free(g.authority.file);
	free(g.identity.cert);
	free(g.identity.key);
	free(g.nvs.file);
	rmdir(path_of("state/material"));
	return rmdir(path_of("state"));
}

/* A start, or a reload, @days later. */
static void reload(long days)
{
	struct problems problems = PROBLEMS_NULL;
	struct material *fresh = NULL;

	assert_int_equal(material_load(&fresh, &g.config, g.store, MAKE_NOW + days * MAKE_DAY,
				       MATERIAL_DATES_REFUSE, &problems),
			 0);
	assert_int_equal(problems.count, 0);
	if (g.material)
		material_replace(g.material, fresh);
	else
		g.material = fresh;
	/* Bytes are read when they are written to a chip. */
	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < g.material->items[i].n_blobs; k++)
			assert_null(g.material->items[i].blobs[k]->data);
}

static void assert_items(unsigned int authority, enum store_source from, unsigned int identity)
{
	assert_int_equal(g.material->items[0].generation, authority);
	assert_int_equal(g.material->items[0].source, from);
	assert_int_equal(g.material->items[1].generation, identity);
	assert_int_equal(g.material->items[2].generation, 0);
}

/* The authority is what @file holds. */
static void assert_authority(const char *file)
{
	struct material *material = NULL;

	assert_int_equal(load(&material, file, NULL, ""), 0);
	assert_true(cert_blob_equal(material->items[0].blobs[0], g.material->items[0].blobs[0]));
	material_free(material);
}

static struct store_item *stored(enum store_kind kind, enum store_which which)
{
	struct store_item *item = NULL;

	assert_int_equal(store_load(g.store, kind, kind == STORE_AUTHORITY ? "corp" : "gateway",
				    which, &item),
			 0);
	return item;
}

static void test_generations(void **state)
{
	struct store *store = g.store;
	struct store_item *item;

	/* Without a store each is the first. */
	g.store = NULL;
	reload(0);
	assert_items(1, STORE_FROM_FILE, 1);
	copy("ca2.pem", "a");
	reload(0);
	assert_items(1, STORE_FROM_FILE, 1);
	assert_authority("ca2.pem");
	copy("ca.pem", "a");
	g.store = store;
	reload(0);
	assert_items(1, STORE_FROM_FILE, 1);
	/* As long as the files are the same, it stays. */
	reload(1);
	assert_items(1, STORE_FROM_FILE, 1);
	item = stored(STORE_AUTHORITY, STORE_CURRENT);
	assert_int_equal(item->time, MAKE_NOW);
	store_item_free(item);
	copy("ca2.pem", "a");
	reload(2);
	assert_items(2, STORE_FROM_FILE, 1);
	assert_authority("ca2.pem");
	item = stored(STORE_AUTHORITY, STORE_CURRENT);
	assert_int_equal(item->time, MAKE_NOW + 2 * MAKE_DAY);
	assert_int_equal(item->source, STORE_FROM_FILE);
	store_item_free(item);
	item = stored(STORE_AUTHORITY, STORE_PREVIOUS);
	assert_int_equal(item->generation, 1);
	store_item_free(item);
	/* Back to what was before is a change as well. */
	copy("ca.pem", "a");
	reload(3);
	assert_items(3, STORE_FROM_FILE, 1);
	assert_authority("ca.pem");
	/* A new certificate of the same key, then both. */
	copy("ec2.pem", "c");
	reload(4);
	assert_items(3, STORE_FROM_FILE, 2);
	copy("rsa.pem", "c");
	copy("rsa.key", "k");
	reload(5);
	assert_items(3, STORE_FROM_FILE, 3);
	item = stored(STORE_IDENTITY, STORE_CURRENT);
	assert_int_equal(item->n_blobs, 2);
	assert_true(cert_blob_equal(item->blobs[1], g.material->items[1].blobs[1]));
	store_item_free(item);
}

/* What was rolled back to wins until the files change. */
static void test_rolled_back(void **state)
{
	struct problems problems = PROBLEMS_NULL;
	uint8_t origin[CERT_DIGEST_SIZE];

	reload(0);
	copy("ca2.pem", "a");
	reload(1);
	assert_int_equal(material_origin(&g.material->items[0], origin, MAKE_NOW, &problems), 0);
	assert_int_equal(store_roll_back(g.store, STORE_AUTHORITY, "corp", origin, MAKE_NOW), 0);
	for (int i = 0; i < 2; i++) {
		reload(2);
		assert_items(3, STORE_ROLLED_BACK, 1);
		assert_authority("ca.pem");
	}
	copy("ca3.pem", "a");
	reload(3);
	assert_items(4, STORE_FROM_FILE, 1);
	assert_authority("ca3.pem");
}

/* And so does what somebody has handed over. */
static void test_set(void **state)
{
	struct problems problems = PROBLEMS_NULL;
	struct store_item item = { .source = STORE_SET, .time = MAKE_NOW, .n_blobs = 1 };
	struct material *other = NULL;

	reload(0);
	assert_int_equal(load(&other, "ca2.pem", NULL, ""), 0);
	assert_int_equal(material_read(&other->items[0], 0, NULL, &item.blobs[0]), 0);
	material_free(other);
	assert_int_equal(material_origin(&g.material->items[0], item.origin, MAKE_NOW, &problems),
			 0);
	assert_int_equal(store_put(g.store, STORE_AUTHORITY, "corp", &item), 0);
	cert_blob_free(item.blobs[0]);
	reload(1);
	assert_items(2, STORE_SET, 1);
	assert_authority("ca2.pem");
	/* The very same in the file is no other generation; and the file's next change is. */
	copy("ca2.pem", "a");
	reload(2);
	assert_items(2, STORE_SET, 1);
	reload(3);
	assert_items(2, STORE_SET, 1);
	copy("ca.pem", "a");
	reload(4);
	assert_items(3, STORE_FROM_FILE, 1);
	assert_authority("ca.pem");
}

/* Nothing is kept of what is refused, not even what is good of it. */
static void test_refused(void **state)
{
	struct problems problems = PROBLEMS_NULL;
	struct material *fresh = NULL;
	struct store_item *item;

	reload(0);
	copy("ca2.pem", "a");
	copy("rsa.key", "k");
	assert_int_equal(material_load(&fresh, &g.config, g.store, MAKE_NOW, MATERIAL_DATES_REFUSE,
				       &problems),
			 -EINVAL);
	assert_null(fresh);
	assert_int_equal(problems.errors, 1);
	problems_clear(&problems);
	item = stored(STORE_AUTHORITY, STORE_CURRENT);
	assert_int_equal(item->generation, 1);
	store_item_free(item);
	/* A complaint of before is not one of these files. */
	copy("ec.key", "k");
	assert_int_equal(problems_add(&problems, PROBLEM_ERROR, "a.conf", 1, "before"), 0);
	assert_int_equal(material_load(&fresh, &g.config, g.store, MAKE_NOW, MATERIAL_DATES_REFUSE,
				       &problems),
			 0);
	material_free(fresh);
	problems_clear(&problems);
}

static void damage(const char *name)
{
	int fd = open(path_of(name), O_RDWR | O_CLOEXEC);
	off_t end = lseek(fd, 0, SEEK_END);
	char c;

	assert_true(end > 200);
	assert_int_equal(pread(fd, &c, 1, end - 100), 1);
	c ^= 1;
	assert_int_equal(pwrite(fd, &c, 1, end - 100), 1);
	close(fd);
}

/* What nobody can use is replaced by what the files hold. */
static void test_damaged(void **state)
{
	struct cert_blob *blob = NULL;

	reload(0);
	copy("ca2.pem", "a");
	reload(1);
	damage("state/material/authority-corp.current");
	assert_int_equal(material_read(&g.material->items[0], 0, g.store, &blob), -EBADMSG);
	reload(2);
	assert_items(3, STORE_FROM_FILE, 1);
	assert_authority("ca2.pem");
	assert_int_equal(material_read(&g.material->items[0], 0, g.store, &blob), 0);
	cert_blob_free(blob);
	reload(3);
	assert_items(3, STORE_FROM_FILE, 1);
}

/* No place to keep it is no complaint of the files. */
static void test_store_fails(void **state)
{
	struct problems problems = PROBLEMS_NULL;
	struct material *fresh = NULL;
	int r;

	assert_int_equal(rmdir(path_of("state/material")), 0);
	r = material_load(&fresh, &g.config, g.store, MAKE_NOW, MATERIAL_DATES_REFUSE, &problems);
	assert_int_equal(r, -ENOENT);
	assert_null(fresh);
	assert_int_equal(problems.count, 0);
	assert_int_equal(mkdir(path_of("state/material"), 0700), 0);
}

/* ---- bytes ---- */

static void assert_read(size_t item, size_t blob, struct store *store, int expected)
{
	const struct material_item *m = &g.material->items[item];
	struct cert_blob *ret = NULL;

	assert_int_equal(material_read(m, blob, store, &ret), expected);
	if (expected < 0) {
		assert_null(ret);
		return;
	}
	assert_true(cert_blob_equal(ret, m->blobs[blob]));
	assert_non_null(ret->data);
	cert_blob_free(ret);
}

static void test_read_from_store(void **state)
{
	reload(0);
	assert_read(0, 0, g.store, 0);
	assert_read(1, 0, g.store, 0);
	assert_read(1, 1, g.store, 0);
	/* The files may go; an NVS entry has nothing else. */
	unlink(path_of("a"));
	copy("rsa.key", "k");
	assert_read(0, 0, g.store, 0);
	assert_read(1, 1, g.store, 0);
	assert_read(2, 0, g.store, 0);
	put_text("v", "other", 5, 0600);
	assert_read(2, 0, g.store, -ESTALE);
	unlink(path_of("v"));
	assert_read(2, 0, g.store, -ESTALE);
	put_text("v", "value", 5, 0600);
	/* Another generation has become current. */
	copy("ca2.pem", "a");
	copy("ec.key", "k");
	copy("ec2.pem", "c");
	{
		struct material *old = g.material;

		g.material = NULL;
		reload(1);
		material_free(g.material);
		g.material = old;
	}
	/* By another process: the one before is in use until a reload. */
	assert_read(0, 0, g.store, 0);
	assert_read(1, 0, g.store, 0);
	assert_read(1, 1, g.store, 0);
	/* And once more: now it is gone. */
	copy("ca.pem", "a");
	copy("ec.pem", "c");
	{
		struct material *old = g.material;

		g.material = NULL;
		reload(2);
		material_free(g.material);
		g.material = old;
	}
	assert_read(0, 0, g.store, 0); /* the same as the first one */
	assert_read(1, 1, g.store, 0);
	store_remove(g.store, STORE_AUTHORITY, "corp");
	assert_read(0, 0, g.store, -ESTALE);
}

static void test_read_from_files(void **state)
{
	reload(0);
	assert_read(0, 0, NULL, 0);
	assert_read(1, 0, NULL, 0);
	assert_read(1, 1, NULL, 0);
	copy("ca2.pem", "a");
	assert_read(0, 0, NULL, -ESTALE);
	unlink(path_of("a"));
	assert_read(0, 0, NULL, -ESTALE);
	/* What does not fit together any more is not half right. */
	copy("rsa.key", "k");
	assert_read(1, 1, NULL, -ESTALE);
	unlink(path_of("k"));
	assert_read(1, 1, NULL, -ESTALE);
}

/* What was good when it was looked at is so later, too: whether it has expired is not asked again. */
static void test_read_of_expired(void **state)
{
	struct config_nvs nvs = entry("mqtt_cert", CONFIG_NVS_CERT, "old.pem", 1);
	struct problems problems = PROBLEMS_NULL;

	free(g.nvs.file);
	g.nvs = nvs;
	assert_int_equal(material_load(&g.material, &g.config, g.store, MAKE_NOW - 4000 * MAKE_DAY,
				       MATERIAL_DATES_REFUSE, &problems),
			 -EINVAL); /* all but that one are too new then */
	problems_clear(&problems);
	g.config.n_authorities = g.config.n_identities = 0;
	assert_int_equal(material_load(&g.material, &g.config, g.store, MAKE_NOW - 4000 * MAKE_DAY,
				       MATERIAL_DATES_REFUSE, &problems),
			 0);
	problems_clear(&problems); /* that it will expire soon */
	assert_read(0, 0, g.store, 0);
}

static void test_origin(void **state)
{
	struct problems problems = PROBLEMS_NULL;
	uint8_t origin[CERT_DIGEST_SIZE], again[CERT_DIGEST_SIZE];
	struct store_item *item;

	reload(0);
	for (size_t i = 0; i < 2; i++) {
		item = stored(i == 0 ? STORE_AUTHORITY : STORE_IDENTITY, STORE_CURRENT);
		assert_int_equal(
			material_origin(&g.material->items[i], origin, MAKE_NOW, &problems), 0);
		assert_memory_equal(origin, item->origin, sizeof(origin));
		store_item_free(item);
	}
	/* Of certificate and key both. */
	copy("ec2.pem", "c");
	assert_int_equal(material_origin(&g.material->items[1], again, MAKE_NOW, &problems), 0);
	assert_memory_not_equal(origin, again, sizeof(origin));
	copy("ec.pem", "c");
	copy("rsa.key", "k");
	assert_int_equal(problems.count, 0);
	assert_int_equal(material_origin(&g.material->items[1], origin, MAKE_NOW, &problems),
			 -EINVAL);
	assert_int_equal(problems.errors, 1);
	problems_clear(&problems);
}

static void test_last_origin(void **state)
{
	static const uint8_t none[CERT_DIGEST_SIZE];
	struct problems problems = PROBLEMS_NULL;
	uint8_t before[CERT_DIGEST_SIZE], now[CERT_DIGEST_SIZE], origin[CERT_DIGEST_SIZE];
	/* Of the configuration alone, without blobs. */
	const struct material_item item = {
		.type = MATERIAL_IDENTITY,
		.name = g.identity.name,
		.config = &g.identity,
	};
	char *key = g.identity.key;

	memset(origin, 1, sizeof(origin));
	g.identity.key = (char *)"credential:k";
	material_last_origin(&item, g.store, origin, MAKE_NOW);
	assert_memory_equal(origin, none, sizeof(origin));
	g.identity.key = key;
	reload(0);
	assert_int_equal(material_origin(&item, before, MAKE_NOW, &problems), 0);
	copy("ec2.pem", "c");
	assert_int_equal(material_origin(&item, now, MAKE_NOW, &problems), 0);
	assert_memory_not_equal(now, before, sizeof(now));
	material_last_origin(&item, g.store, origin, MAKE_NOW);
	assert_memory_equal(origin, now, sizeof(origin));
	/* A half of it is nothing. */
	g.identity.key = (char *)"credential:k";
	material_last_origin(&item, g.store, origin, MAKE_NOW);
	assert_memory_equal(origin, before, sizeof(origin));
	g.identity.key = key;
}

static void test_replace(void **state)
{
	struct material *kept;

	reload(0);
	kept = g.material;
	copy("ca2.pem", "a");
	reload(1);
	/* Others keep pointers to it. */
	assert_ptr_equal(g.material, kept);
	assert_ptr_equal(g.material->config, &g.config);
	assert_int_equal(g.material->n_items, 3);
	assert_items(2, STORE_FROM_FILE, 1);
	assert_int_equal(material_of_authority(g.material, &g.authority), 0);
	assert_int_equal(material_of_identity(g.material, &g.identity), 1);
	assert_ptr_equal(g.material->items[0].name, g.authority.name);
}

/* ---- without files, and what is handed over ---- */

static void assert_info(size_t item, const char *subject)
{
	const struct cert_info *info = &g.material->items[item].info;

	assert_string_equal(info->subject, subject);
	assert_string_equal(info->issuer, subject);
	assert_int_equal(info->not_before, subject[0] ? MAKE_NOW - MAKE_DAY : 0);
	assert_int_equal(info->not_after, subject[0] ? MAKE_NOW + 365 * MAKE_DAY : 0);
}

static void test_info(void **state)
{
	reload(0);
	assert_info(0, "CN=ca");
	assert_info(1, "CN=ec");
	assert_info(2, "");
	/* From the store, too. */
	copy("ca2.pem", "a");
	reload(1);
	reload(1);
	assert_info(0, "CN=ca2");
}

struct bytes {
	char data[65536 + 2];
	size_t len;
};

static struct bytes *read_bytes(const char *name)
{
	static struct bytes all[2];
	static int next;
	struct bytes *b = &all[next++ % 2];
	int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, b->data, sizeof(b->data));

	assert_true(n >= 0);
	close(fd);
	b->len = (size_t)n;
	return b;
}

static const uint8_t no_origin[CERT_DIGEST_SIZE];

/* Hands files' bytes over; @expected: the complaints. */
static int set_with(enum store_kind kind, const char *cert, const char *key,
		    const uint8_t origin[CERT_DIGEST_SIZE], const char *expected)
{
	struct problems problems = PROBLEMS_NULL;
	const struct bytes *c = read_bytes(cert), *k = key ? read_bytes(key) : NULL;
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	int r;

	r = material_set(g.store, kind, kind == STORE_AUTHORITY ? "corp" : "gateway", c->data,
			 c->len, k ? k->data : NULL, k ? k->len : 0, origin, MAKE_NOW, "the call",
			 &problems);
	for (size_t i = 0; i < problems.count; i++)
		fprintf(f, "%s\n", problems.items[i].text);
	fclose(f);
	assert_string_equal(text, expected);
	free(text);
	problems_clear(&problems);
	return r;
}

static void forget_files(void)
{
	free(g.authority.file);
	free(g.identity.cert);
	free(g.identity.key);
	g.authority.file = g.identity.cert = g.identity.key = NULL;
}

static void assert_nothing(void)
{
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(g.material->items[i].n_blobs, 0);
		assert_int_equal(g.material->items[i].generation, 0);
		assert_info(i, "");
	}
	assert_int_equal(g.material->items[2].n_blobs, 1);
}

static void test_without_files(void **state)
{
	struct store *store = g.store;
	struct problems problems = PROBLEMS_NULL;
	uint8_t origin[CERT_DIGEST_SIZE];

	forget_files();
	g.store = NULL;
	reload(0);
	assert_nothing();
	g.store = store;
	reload(0);
	assert_nothing();
	memset(origin, 'x', sizeof(origin));
	assert_int_equal(material_origin(&g.material->items[0], origin, MAKE_NOW, &problems), 0);
	assert_memory_equal(origin, no_origin, sizeof(origin));
	/* Nothing was made in the store either. */
	for (int kind = 0; kind < 2; kind++) {
		struct store_item *item = NULL;

		assert_int_equal(store_load(store, (enum store_kind)kind,
					    kind == 0 ? "corp" : "gateway", STORE_CURRENT, &item),
				 -ENOENT);
	}
	assert_int_equal(set_with(STORE_AUTHORITY, "ca.pem", NULL, no_origin, ""), 0);
	assert_int_equal(set_with(STORE_IDENTITY, "ec.pem", "ec.key", no_origin, ""), 0);
	reload(1);
	assert_items(1, STORE_SET, 1);
	assert_authority("ca.pem");
	assert_int_equal(g.material->items[1].n_blobs, 2);
	assert_info(0, "CN=ca");
	assert_info(1, "CN=ec");
	assert_read(0, 0, store, 0);
	assert_read(1, 1, store, 0);
	/* Without the store nobody has it. */
	g.store = NULL;
	reload(1);
	assert_nothing();
	g.store = store;
	/* Dates that have passed since are no matter, as of all that is current. */
	reload(4000);
	assert_items(1, STORE_SET, 1);
}

static void test_without_files_damaged(void **state)
{
	struct problems problems = PROBLEMS_NULL;
	struct material *fresh = NULL;

	forget_files();
	assert_int_equal(set_with(STORE_AUTHORITY, "ca.pem", NULL, no_origin, ""), 0);
	damage("state/material/authority-corp.current");
	assert_int_equal(material_load(&fresh, &g.config, g.store, MAKE_NOW,
				       MATERIAL_DATES_REFUSE_NEW, &problems),
			 0);
	assert_int_equal(fresh->items[0].n_blobs, 0);
	assert_int_equal(problems.count, 1);
	assert_int_equal(problems.errors, 0);
	assert_string_equal(problems.items[0].text,
			    "what was set for authority `corp` is damaged in the state folder, "
			    "expected it to be set again");
	problems_clear(&problems);
	material_free(fresh);
	assert_int_equal(set_with(STORE_AUTHORITY, "ca.pem", NULL, no_origin, ""), 0);
	reload(0);
	assert_authority("ca.pem");
}

/* An entry gets its files when something was set already: they are new. And loses them again. */
static void test_files_come_and_go(void **state)
{
	char *file = g.authority.file;

	g.authority.file = NULL;
	assert_int_equal(set_with(STORE_AUTHORITY, "ca2.pem", NULL, no_origin, ""), 0);
	reload(0);
	assert_items(1, STORE_SET, 1);
	g.authority.file = file;
	reload(1);
	assert_items(2, STORE_FROM_FILE, 1);
	assert_authority("ca.pem");
	g.authority.file = NULL;
	reload(2);
	assert_items(2, STORE_FROM_FILE, 1);
	assert_authority("ca.pem");
	g.authority.file = file;
}

static void test_set_twice(void **state)
{
	struct problems problems = PROBLEMS_NULL;
	uint8_t origin[CERT_DIGEST_SIZE];
	struct store_item *item;

	reload(0);
	assert_int_equal(material_origin(&g.material->items[0], origin, MAKE_NOW, &problems), 0);
	/* What is current already is no new generation, whoever made it. */
	assert_int_equal(set_with(STORE_AUTHORITY, "ca.pem", NULL, origin, ""), 0);
	reload(1);
	assert_items(1, STORE_FROM_FILE, 1);
	for (int i = 0; i < 2; i++)
		assert_int_equal(set_with(STORE_AUTHORITY, "ca2.pem", NULL, origin, ""), 0);
	reload(1);
	assert_items(2, STORE_SET, 1);
	item = stored(STORE_AUTHORITY, STORE_PREVIOUS);
	assert_int_equal(item->generation, 1);
	store_item_free(item);
	/* The file has changed meanwhile: what is set now wins over that. */
	copy("ca3.pem", "a");
	assert_int_equal(material_origin(&g.material->items[0], origin, MAKE_NOW, &problems), 0);
	assert_int_equal(set_with(STORE_AUTHORITY, "ca2.pem", NULL, origin, ""), 0);
	reload(2);
	assert_items(2, STORE_SET, 1);
	assert_authority("ca2.pem");
	/* Certificate and key both count. */
	assert_int_equal(material_origin(&g.material->items[1], origin, MAKE_NOW, &problems), 0);
	assert_int_equal(set_with(STORE_IDENTITY, "ec.pem", "ec.key", origin, ""), 0);
	reload(3);
	assert_items(2, STORE_SET, 1);
	assert_int_equal(set_with(STORE_IDENTITY, "ec2.pem", "ec.key", origin, ""), 0);
	reload(3);
	assert_items(2, STORE_SET, 2);
	assert_info(1, "CN=ec2");
}

static void test_set_refused(void **state)
{
	static const struct {
		enum store_kind kind;
		const char *cert, *key, *expected;
	} certs[] = {
		{ STORE_AUTHORITY, "ec.key", NULL,
		  "the call: contains a private key, expected certificates only\n" },
		{ STORE_AUTHORITY, "both", NULL,
		  "the call: contains a private key, expected certificates only\n" },
		{ STORE_AUTHORITY, "ca.pem", "ec.key",
		  "the call: comes with a private key, expected an authority's certificates "
		  "only\n" },
		{ STORE_AUTHORITY, "empty", NULL, "the call: is empty, expected PEM or DER\n" },
		{ STORE_AUTHORITY, "big", NULL,
		  "the call: is larger than 64 KiB, expected a file of CA certificates\n" },
		{ STORE_IDENTITY, "both", "ec.key",
		  "the certificate: contains a private key, expected certificates only\n"
		  "the certificate: certificate (CN = ca): is the certificate of a CA, expected "
		  "one of "
		  "this client first\n" },
		{ STORE_IDENTITY, "empty", "empty",
		  "the certificate: is empty, expected PEM or DER\n"
		  "the key: is empty, expected PEM or DER\n" },
		{ STORE_IDENTITY, "old.pem", "ec.key",
		  "the certificate: certificate (CN = old): expired on 2016-02-03 08:00:00 UTC, "
		  "3999 "
		  "days ago, expected one that is valid now (2027-01-15 08:00:00 UTC)\n" },
	}, keys[] = {
		{ STORE_IDENTITY, "ec.pem", "rsa.key",
		  "the call: the private key does not belong to the certificate (CN = ec), "
		  "expected the key that it was made for (one is RSA, the other EC)\n" },
		{ STORE_IDENTITY, "ec.pem", NULL, "the key: is empty, expected PEM or DER\n" },
	};

	copy("ec.pem", "c");
	{
		const struct bytes *cert = read_bytes("ca.pem"), *key = read_bytes("ec.key");
		static char text[131072];

		memcpy(text, cert->data, cert->len);
		memcpy(text + cert->len, key->data, key->len);
		put_text("both", text, cert->len + key->len, 0600);
	}
	for (size_t i = 0; i < ARRAY_SIZE(certs); i++)
		assert_int_equal(set_with(certs[i].kind, certs[i].cert, certs[i].key, no_origin,
					  certs[i].expected),
				 -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_int_equal(set_with(keys[i].kind, keys[i].cert, keys[i].key, no_origin,
					  keys[i].expected),
				 -EKEYREJECTED);
	unlink(path_of("both"));
	/* Nothing is kept of any. */
	for (int kind = 0; kind < 2; kind++) {
		struct store_item *item = NULL;

		assert_int_equal(store_load(g.store, (enum store_kind)kind,
					    kind == 0 ? "corp" : "gateway", STORE_CURRENT, &item),
				 -ENOENT);
	}
}

static void test_find(void **state)
{
	reload(0);
	assert_ptr_equal(material_find(g.material, STORE_AUTHORITY, "corp"), &g.material->items[0]);
	assert_ptr_equal(material_find(g.material, STORE_IDENTITY, "gateway"),
			 &g.material->items[1]);
	assert_null(material_find(g.material, STORE_IDENTITY, "corp"));
	assert_null(material_find(g.material, STORE_AUTHORITY, "gateway"));
	/* NVS entries have no name. */
	assert_null(material_find(g.material, STORE_AUTHORITY, "x_y"));
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
	static const char *const names[] = { "ca.pem",  "ca2.pem",   "ca3.pem", "ec.pem",
					     "ec2.pem", "old.pem",   "rsa.pem", "ec.key",
					     "rsa.key", "group.key", "all.key", "big",
					     "empty",   "closed",    "fifo",    "socket" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlink(path_of(names[i]));
	return rmdir(dir);
}

#define S(name) cmocka_unit_test_setup_teardown(name, setup_store, teardown_store)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wiped),
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test_teardown(test_permission, teardown_fake),
		cmocka_unit_test(test_mode),
		cmocka_unit_test_teardown(test_lent_by_root, teardown_fake),
		cmocka_unit_test(test_password),
		cmocka_unit_test(test_psk),
		cmocka_unit_test(test_nvs_raw),
		cmocka_unit_test(test_nvs_pairs),
		cmocka_unit_test(test_unresolved),
		S(test_generations),
		S(test_rolled_back),
		S(test_set),
		S(test_refused),
		S(test_damaged),
		S(test_store_fails),
		S(test_read_from_store),
		S(test_read_from_files),
		S(test_read_of_expired),
		S(test_origin),
		S(test_last_origin),
		S(test_replace),
		S(test_info),
		S(test_without_files),
		S(test_without_files_damaged),
		S(test_files_come_and_go),
		S(test_set_twice),
		S(test_set_refused),
		S(test_find),
	};

	/* meson test sets MALLOC_PERTURB_, which would wipe for us. */
	mallopt(M_PERTURB, 0);
	return cmocka_run_group_tests_name("material", tests, setup, teardown);
}
