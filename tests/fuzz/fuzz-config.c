/* SPDX-License-Identifier: MIT */
/* A configuration file of any bytes: a whole config or complaints, and what a whole one promises. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* libconfig 1.5 forgets the string that it was reading when a syntax error comes. */
const char *__lsan_default_suppressions(void);

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "not so: %s\n", #condition);                               \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig";
}

static void check_whole(const struct config *config)
{
	MUST(config->runtime_dir[0] == '/' && config->state_dir[0] == '/');
	MUST(config->n_devices >= 1 && config->n_devices <= CONFIG_DEVICES_MAX);
	MUST(config->n_tunnels <= CONFIG_TUNNELS_MAX);
	for (size_t i = 0; i < config->n_devices; i++) {
		const struct config_device *d = &config->devices[i];

		MUST(d->name && strlen(d->name) <= CONFIG_NAME_MAX && d->port);
		MUST(d->baud >= 80 && d->baud <= 5000000);
		MUST(!d->has_wifi || (d->wifi.ssid && strlen(d->wifi.ssid) <= 32));
	}
	for (size_t i = 0; i < config->n_tunnels; i++) {
		const struct config_tunnel *t = &config->tunnels[i];

		MUST(t->name && t->device && t->host && t->server_name);
		MUST(!t->authority == t->insecure);
		MUST(strlen(t->server_name) <= CONFIG_SERVER_NAME_MAX);
		MUST(strcspn(t->server_name, "\"\\,\r\n ") == strlen(t->server_name));
		MUST(strcspn(t->host, "\"\\,\r\n ") == strlen(t->host));
		MUST(t->port >= 1 && t->port <= 65535 && t->mode <= 0777);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct problems problems = PROBLEMS_NULL;
	struct config *config = NULL;
	char path[64];
	int fd, r;

	/* It must not read files of this machine. */
	if (memmem(data, size, "@include", 8))
		return 0;
	fd = memfd_create("config", MFD_CLOEXEC);
	MUST(fd >= 0);
	MUST(size == 0 || write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = config_load(&config, path, &problems);
	MUST(r == 0 || r == -EINVAL);
	MUST((r == 0) == (problems.errors == 0) && (r == 0) == (config != NULL));
	if (config)
		check_whole(config);
	for (size_t i = 0; i < problems.count; i++)
		MUST(!strchr(problems.items[i].text, '\n'));
	config_free(config);
	problems_clear(&problems);
	close(fd);
	return 0;
}
