/* SPDX-License-Identifier: MIT */
/* Sockets that systemd has made. */
#include "daemon/activation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "util/log.h"

/* systemd's own name of a socket that was given none is its unit's. */
#define UNIT_PREFIX "espat-"
#define UNIT_SUFFIX ".socket"

static char *tunnel_of(const char *name)
{
	size_t prefix = strlen(UNIT_PREFIX), suffix = strlen(UNIT_SUFFIX), len = strlen(name);

	if (len > prefix + suffix && strncmp(name, UNIT_PREFIX, prefix) == 0 &&
	    strcmp(name + len - suffix, UNIT_SUFFIX) == 0)
		return strndup(name + prefix, len - prefix - suffix);
	return strdup(name);
}

static void names_free(char **names)
{
	for (size_t i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
}

int activation_take(struct activation *activation)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names), r = 0;

	*activation = (struct activation){ 0 };
	if (n <= 0) {
		if (n < 0)
			log_error("cannot take the sockets of systemd: %s", strerror(-n));
		return n;
	}
	activation->fds = calloc((size_t)n, sizeof(*activation->fds));
	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;
		char *tunnel = activation->fds ? tunnel_of(names[i]) : NULL;

		if (!tunnel) {
			close(fd);
			r = -ENOMEM;
			continue;
		}
		activation->fds[activation->n].tunnel = tunnel;
		activation->fds[activation->n++].fd = fd;
	}
	names_free(names);
	if (r < 0)
		log_error("out of memory");
	return r;
}

void activation_deinit(struct activation *activation)
{
	for (size_t i = 0; i < activation->n; i++) {
		close(activation->fds[i].fd);
		free(activation->fds[i].tunnel);
	}
	free(activation->fds);
	*activation = (struct activation){ 0 };
}

size_t activation_find(const struct activation *activation, const char *tunnel, int *fds,
		       size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < activation->n; i++) {
		if (strcmp(activation->fds[i].tunnel, tunnel) != 0)
			continue;
		if (n < max)
			fds[n] = activation->fds[i].fd;
		n++;
	}
	return n;
}
