/* SPDX-License-Identifier: MIT */
/* Reads the certificate files of the configuration. */
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
			enum cert_kind kind)
{
	int r;

	if (error == ENOMEM)
		return -ENOMEM;
	if (error == ENOENT || error == ENOTDIR)
		return refuse(source, problems, "no such file", kind_text(kind));
	if (error == EACCES || error == EPERM)
		r = cert_complain(source, problems, PROBLEM_ERROR,
				  "permission denied for user %lu, expected a readable file",
				  (unsigned long)geteuid());
	else
		r = cert_complain(source, problems, PROBLEM_ERROR, "cannot be read: %s, expected %s",
				  strerror(error), kind_text(kind));
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

/* Keys are for their owner alone; the daemon still works with others, so it is no error. */
static int warn_mode(const struct stat *st, const struct cert_source *source,
		     struct problems *problems)
{
	if (!(st->st_mode & (S_IRGRP | S_IROTH)))
		return 0;
	return cert_complain(source, problems, PROBLEM_WARNING,
			     "the private key can be read by %s (mode %04o), expected mode 0600",
			     st->st_mode & S_IROTH ? "everybody" : "its group",
			     (unsigned int)(st->st_mode & 07777));
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
	_cleanup_close_ int fd = -1;
	struct stat st;
	uint8_t *data;
	size_t len = 0;
	int r;

	/* O_NONBLOCK: a pipe must not hold us up before it is refused. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && errno == ENXIO)
		return refuse(source, problems, "is a socket or a device", kind_text(kind));
	if (fd < 0 || fstat(fd, &st) < 0)
		return refuse_errno(source, problems, errno, kind);
	if (!S_ISREG(st.st_mode))
		return refuse(source, problems, mode_text(st.st_mode), kind_text(kind));
	if (kind == CERT_KIND_KEY && warn_mode(&st, source, problems) < 0)
		return -ENOMEM;
	data = malloc(MATERIAL_FILE_MAX + 1);
	if (!data)
		return -ENOMEM;
	r = read_all(fd, data, &len);
	if (r < 0)
		r = refuse_errno(source, problems, -r, kind);
	else if (len > MATERIAL_FILE_MAX)
		r = refuse(source, problems, "is larger than 64 KiB", kind_text(kind));
	else
		r = cert_check(ret, kind, data, len, now, source, problems);
	intake_wipe(data, MATERIAL_FILE_MAX + 1);
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
		.file = config->where.file, .line = config->where.line, .name = config->file,
	};

	return go_on(material_read(&authority->ca, CERT_KIND_CA, config->file, now, &source,
				   problems));
}

static int load_identity(struct material_identity *identity, time_t now, struct problems *problems)
{
	const struct config_identity *config = identity->config;
	const struct cert_source cert = {
		.file = config->where.file, .line = config->where.line, .name = config->cert,
	};
	const struct cert_source key = {
		.file = config->where.file, .line = config->where.line, .name = config->key,
	};
	int r;

	r = go_on(material_read(&identity->cert, CERT_KIND_CERT, config->cert, now, &cert, problems));
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
