/* SPDX-License-Identifier: MIT */
/* Reads the certificate files of the configuration, and looks at its other secrets. */
#include "cert/material.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cert/complain.h"
#include "cert/intake.h"
#include "util/cleanup.h"

/* Largest file: eight times what the chip takes, as C arrays are five times their bytes. */
#define MATERIAL_FILE_MAX (64 * 1024)

/* Longest password of a Wi-Fi network: WPA's 64 hexadecimal digits. */
#define PASSWORD_MAX 64

static const char password_text[] = "a file with the Wi-Fi password in its first line";

static const char *kind_text(enum cert_kind kind)
{
	switch (kind) {
	case CERT_KIND_CA:
		return "a file of CA certificates";
	case CERT_KIND_CERT:
		return "a file with a certificate";
	case CERT_KIND_KEY:
		return "a file with a private key";
	}
	return "a file";
}

static int refuse(const struct cert_source *source, struct problems *problems, const char *what,
		  const char *expected)
{
	int r = cert_complain(source, problems, PROBLEM_ERROR, "%s, expected %s", what, expected);

	return r < 0 ? r : -EINVAL;
}

static int refuse_errno(const struct cert_source *source, struct problems *problems, int error,
			const char *expected)
{
	int r;

	if (error == ENOMEM)
		return -ENOMEM;
	if (error == ENOENT || error == ENOTDIR)
		return refuse(source, problems, "no such file", expected);
	if (error == EACCES || error == EPERM)
		r = cert_complain(source, problems, PROBLEM_ERROR,
				  "permission denied for user %lu, expected a readable file",
				  (unsigned long)geteuid());
	else
		r = cert_complain(source, problems, PROBLEM_ERROR,
				  "cannot be read: %s, expected %s", strerror(error), expected);
	return r < 0 ? r : -EINVAL;
}

static const char *mode_text(mode_t mode)
{
	if (S_ISDIR(mode))
		return "is a folder";
	if (S_ISFIFO(mode))
		return "is a pipe";
	if (S_ISSOCK(mode))
		return "is a socket";
	return "is a device";
}

/* Secrets are for their owner alone; the daemon still works with others, so it is no error. */
static int warn_mode(const struct stat *st, const char *what, const struct cert_source *source,
		     struct problems *problems)
{
	if (!(st->st_mode & (S_IRGRP | S_IROTH)))
		return 0;
	return cert_complain(source, problems, PROBLEM_WARNING,
			     "%s can be read by %s (mode %04o), expected mode 0600", what,
			     st->st_mode & S_IROTH ? "everybody" : "its group",
			     (unsigned int)(st->st_mode & 07777));
}

/*
 * Opens a regular file; @secret says what is in it if only its owner should read it. Returns the file
 * descriptor, -EINVAL after a complaint, or -ENOMEM.
 */
static int material_open(const char *path, const char *expected, const char *secret,
			 const struct cert_source *source, struct problems *problems)
{
	struct stat st;
	int fd, r;

	/* O_NONBLOCK: a pipe must not hold us up before it is refused. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && errno == ENXIO)
		return refuse(source, problems, "is a socket or a device", expected);
	if (fd < 0)
		return refuse_errno(source, problems, errno, expected);
	if (fstat(fd, &st) < 0)
		r = refuse_errno(source, problems, errno, expected);
	else if (!S_ISREG(st.st_mode))
		r = refuse(source, problems, mode_text(st.st_mode), expected);
	else
		r = secret ? warn_mode(&st, secret, source, problems) : 0;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

/* Reads the whole file into *ret, which has room for MATERIAL_FILE_MAX + 1 bytes. */
static int read_all(int fd, uint8_t *data, size_t *ret_len)
{
	size_t len = 0;

	while (len <= MATERIAL_FILE_MAX) {
		ssize_t n = read(fd, data + len, MATERIAL_FILE_MAX + 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += n;
	}
	*ret_len = len;
	return 0;
}

static int material_read(struct cert_blob **ret, enum cert_kind kind, const char *path, time_t now,
			 const struct cert_source *source, struct problems *problems)
{
	const char *expected = kind_text(kind);
	_cleanup_close_ int fd = -1;
	uint8_t *data;
	size_t len = 0;
	int r;

	fd = material_open(path, expected, kind == CERT_KIND_KEY ? "the private key" : NULL, source,
			   problems);
	if (fd < 0)
		return fd;
	data = malloc(MATERIAL_FILE_MAX + 1);
	if (!data)
		return -ENOMEM;
	r = read_all(fd, data, &len);
	if (r < 0)
		r = refuse_errno(source, problems, -r, expected);
	else if (len > MATERIAL_FILE_MAX)
		r = refuse(source, problems, "is larger than 64 KiB", expected);
	else
		r = cert_check(ret, kind, data, len, now, source, problems);
	intake_wipe(data, MATERIAL_FILE_MAX + 1);
	return r;
}

/* The password itself is read when the chip joins; here it is only looked at. */
static int check_password(const struct config_wifi *wifi, struct problems *problems)
{
	const struct cert_source source = {
		.file = wifi->where.file,
		.line = wifi->where.line,
		.name = wifi->password_file,
	};
	_cleanup_close_ int fd = -1;
	uint8_t data[PASSWORD_MAX + 1];
	size_t len = 0;
	ssize_t n;
	int r = 0;

	fd = material_open(wifi->password_file, password_text, "the password", &source, problems);
	if (fd < 0)
		return fd;
	n = read(fd, data, sizeof(data));
	if (n < 0)
		return refuse_errno(&source, problems, errno, password_text);
	while (len < (size_t)n && data[len] != '\n' && data[len] != '\r')
		len++;
	if (len == 0)
		r = refuse(&source, problems, "its first line is empty", password_text);
	else if (len > PASSWORD_MAX)
		r = refuse(&source, problems, "its first line is longer than 64 bytes",
			   password_text);
	else if (memchr(data, '\0', len))
		r = refuse(&source, problems, "its first line has a NUL byte", password_text);
	explicit_bzero(data, sizeof(data));
	return r;
}

/* A complaint was counted: the other files are still looked at. */
static int go_on(int r)
{
	return r == -EINVAL ? 0 : r;
}

static int load_authority(struct material_authority *authority, time_t now,
			  struct problems *problems)
{
	const struct config_authority *config = authority->config;
	const struct cert_source source = {
		.file = config->where.file,
		.line = config->where.line,
		.name = config->file,
	};

	return go_on(
		material_read(&authority->ca, CERT_KIND_CA, config->file, now, &source, problems));
}

static int load_identity(struct material_identity *identity, time_t now, struct problems *problems)
{
	const struct config_identity *config = identity->config;
	const struct cert_source cert = {
		.file = config->where.file,
		.line = config->where.line,
		.name = config->cert,
	};
	const struct cert_source key = {
		.file = config->where.file,
		.line = config->where.line,
		.name = config->key,
	};
	int r;

	r = go_on(
		material_read(&identity->cert, CERT_KIND_CERT, config->cert, now, &cert, problems));
	if (r < 0)
		return r;
	r = go_on(material_read(&identity->key, CERT_KIND_KEY, config->key, now, &key, problems));
	if (r < 0 || !identity->cert || !identity->key)
		return r;
	return go_on(cert_check_pair(identity->cert, identity->key, &key, problems));
}

DEFINE_CLEANUP(struct material *, material_free)

int material_load(struct material **ret, const struct config *config, time_t now,
		  struct problems *problems)
{
	_cleanup_(material_freep) struct material *material = NULL;
	size_t errors = problems->errors;
	int r;

	material = calloc(1, sizeof(*material));
	if (!material)
		return -ENOMEM;
	material->authorities = calloc(config->n_authorities + 1, sizeof(*material->authorities));
	material->identities = calloc(config->n_identities + 1, sizeof(*material->identities));
	if (!material->authorities || !material->identities)
		return -ENOMEM;
	for (size_t i = 0; i < config->n_devices; i++) {
		const struct config_device *device = &config->devices[i];

		if (!device->has_wifi || !device->wifi.password_file)
			continue;
		r = go_on(check_password(&device->wifi, problems));
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < config->n_authorities; i++) {
		material->authorities[i].config = &config->authorities[i];
		material->n_authorities++;
		r = load_authority(&material->authorities[i], now, problems);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < config->n_identities; i++) {
		material->identities[i].config = &config->identities[i];
		material->n_identities++;
		r = load_identity(&material->identities[i], now, problems);
		if (r < 0)
			return r;
	}
	if (problems->errors > errors)
		return -EINVAL;
	*ret = material;
	material = NULL;
	return 0;
}

struct material *material_free(struct material *material)
{
	if (!material)
		return NULL;
	for (size_t i = 0; i < material->n_authorities; i++)
		cert_blob_free(material->authorities[i].ca);
	for (size_t i = 0; i < material->n_identities; i++) {
		cert_blob_free(material->identities[i].cert);
		cert_blob_free(material->identities[i].key);
	}
	free(material->authorities);
	free(material->identities);
	free(material);
	return NULL;
}
