/* SPDX-License-Identifier: MIT */
/*
 * A configuration file of any bytes, and texts beside it, which form feeds separate: a whole config or
 * complaints, and what a whole one promises.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/config.h"
#include "must.h"

#define TEXTS_MAX 4

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/*
 * libconfig 1.5 forgets the string that it was reading when a syntax error comes. libFuzzer would look for what
 * was forgotten after each of them, which takes longer than all the rest: it is looked for at the end.
 */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig";
}

/* What the strings take in a command, with quotes and backslashes. */
static size_t line_len(const struct config_strings *strings)
{
	size_t len = 0;

	for (size_t i = 0; i < strings->n; i++) {
		MUST(strings->items[i][0]);
		MUST(strcspn(strings->items[i], "\r\n") == strlen(strings->items[i]));
		len += 3;
		for (const char *c = strings->items[i]; *c; c++)
			len += strchr(",\"\\", *c) ? 2 : 1;
	}
	return len;
}

static void check_ids(const struct config_ids *ids)
{
	MUST(ids->n <= CONFIG_IDS_MAX);
	for (size_t i = 0; i < ids->n; i++)
		MUST(ids->items[i] != UINT32_MAX && (i == 0 || ids->items[i - 1] < ids->items[i]));
}

static void check_wifi(const struct config_wifi *wifi)
{
	MUST(!wifi->address == !wifi->netmask && !wifi->address == !wifi->gateway);
	MUST(wifi->dns.n <= CONFIG_DNS_MAX);
	if (!wifi->has_enterprise)
		return;
	MUST(!wifi->password_file && wifi->enterprise.identity && wifi->enterprise.credential);
	MUST(!wifi->enterprise.authority == wifi->enterprise.insecure);
}

static void check_whole(const struct config *config)
{
	MUST(config->runtime_dir[0] == '/' && config->state_dir[0] == '/');
	MUST(config->n_devices >= 1 && config->n_devices <= CONFIG_DEVICES_MAX);
	MUST(config->n_tunnels <= CONFIG_TUNNELS_MAX);
	MUST(config->drain_timeout <= 60);
	for (size_t i = 0; i < config->n_authorities; i++)
		MUST(!config->authorities[i].file || config->authorities[i].file[0] == '/');
	for (size_t i = 0; i < config->n_identities; i++)
		MUST(!config->identities[i].cert == !config->identities[i].key);
	for (size_t i = 0; i < config->n_devices; i++) {
		const struct config_device *d = &config->devices[i];

		MUST(d->name && strlen(d->name) <= CONFIG_NAME_MAX && d->port);
		MUST(d->baud >= 80 && d->baud <= 5000000);
		MUST(!d->has_wifi || (d->wifi.ssid && strlen(d->wifi.ssid) <= 32));
		MUST(!d->mac || (strlen(d->mac) == 17 && d->adopt == CONFIG_ADOPT_FIRST));
		MUST((d->time == CONFIG_TIME_SNTP) == (d->ntp_servers.n > 0));
		MUST(d->ntp_servers.n <= CONFIG_NTP_SERVERS_MAX);
		MUST(line_len(&d->ntp_servers) + strlen("AT+CIPSNTPCFG=1,0\r\n") <=
		     CONFIG_COMMAND_MAX);
		check_wifi(&d->wifi);
		for (size_t k = 0; k < config->n_devices; k++)
			MUST(config_device_equal(d, &config->devices[k]) == (i == k));
	}
	for (size_t i = 0; i < config->n_nvs; i++) {
		const struct config_nvs *nvs = &config->nvs[i];

		MUST(nvs->file && nvs->file[0] == '/' && nvs->namespace);
		MUST(nvs->slot >= CONFIG_SLOT_NONE && nvs->slot <= CONFIG_SLOT_MAX);
		MUST(strlen(nvs->namespace) + (nvs->slot == CONFIG_SLOT_NONE ? 0 : 2) <=
		     CONFIG_NVS_NAME_MAX);
		MUST(strcmp(nvs->namespace, "factory_param") != 0 &&
		     strcmp(nvs->namespace, "ble_data") != 0 &&
		     strcmp(nvs->namespace, CONFIG_NVS_OWN) != 0);
	}
	for (size_t i = 0; i < config->n_tunnels; i++) {
		const struct config_tunnel *t = &config->tunnels[i];

		MUST(t->name && t->device && t->host && t->server_name);
		MUST(!!t->authority + t->insecure + t->has_psk == 1);
		MUST(!t->has_psk || (!t->identity && t->psk.file && t->psk.file[0] == '/'));
		MUST(!t->has_psk || strlen(t->psk.identity) <= CONFIG_PSK_MAX);
		MUST(t->alpn.n <= CONFIG_ALPN_MAX && t->n_ciphers <= CONFIG_CIPHERS_MAX);
		MUST(line_len(&t->alpn) + strlen("AT+CIPSSLCALPN=4,5\r\n") <= CONFIG_COMMAND_MAX);
		for (size_t k = 0; k < t->n_ciphers; k++)
			MUST(t->ciphers[k] >= 1 && t->ciphers[k] <= 0xffff);
		MUST(t->keep_alive <= 7200);
		MUST(strlen(t->server_name) <= CONFIG_SERVER_NAME_MAX);
		MUST(strcspn(t->server_name, "\"\\,\r\n ") == strlen(t->server_name));
		MUST(strcspn(t->host, "\"\\,\r\n ") == strlen(t->host));
		check_ids(&t->acl_users);
		check_ids(&t->acl_groups);
		check_ids(&t->allow_uids);
		check_ids(&t->allow_gids);
		for (size_t k = 0; k < config->n_tunnels; k++)
			MUST(config_tunnel_equal(t, &config->tunnels[k]) == (i == k));
		MUST(t->port >= 1 && t->port <= 65535 && t->mode <= 0777);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static char at_the_end[] = "-detect_leaks=0";
	char **args = calloc((size_t)*argc + 2, sizeof(*args));

	MUST(args);
	memcpy(args, *argv, (size_t)*argc * sizeof(*args));
	args[(*argc)++] = at_the_end;
	*argv = args;
	MUST(setenv("CREDENTIALS_DIRECTORY", "/nowhere", 1) == 0);
	return 0;
}

/* What is behind the first form feed, in pieces of @copy. */
static size_t split_texts(struct config_text texts[TEXTS_MAX], char *copy, size_t size)
{
	char *next = memchr(copy, '\f', size);
	size_t n = 0;

	for (; next && n < TEXTS_MAX; n++) {
		*next++ = '\0';
		texts[n] = (struct config_text){ .name = "text", .text = next };
		next = memchr(next, '\f', size - (size_t)(next - copy));
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct problems problems = PROBLEMS_NULL;
	struct config_text texts[TEXTS_MAX];
	struct config *config = NULL;
	const uint8_t *end = memchr(data, '\f', size);
	size_t len = end ? (size_t)(end - data) : size, n;
	char path[64], *copy;
	int fd, r;

	/* It must not read files of this machine. */
	if (memmem(data, size, "@include", 8))
		return 0;
	copy = malloc(size + 1);
	MUST(copy);
	memcpy(copy, data, size);
	copy[size] = '\0';
	n = split_texts(texts, copy, size);
	fd = memfd_create("config", MFD_CLOEXEC);
	MUST(fd >= 0);
	MUST(len == 0 || write(fd, data, len) == (ssize_t)len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = config_load_with(&config, path, texts, n, &problems);
	free(copy);
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
