/* SPDX-License-Identifier: MIT */
/* The tables of the configuration's keys, and the rules that span several keys of one group. */
#include "config/tables.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/ciphers.h"
#include "config/config.h"
#include "config/syntax.h"
#include "espatd/espatd.h"
#include "util/cleanup.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* A `where` of 0 with @named false is for structs without a name of their own. */
#define TABLE(kind_, type_, keys_)                                                                 \
	.kind = (kind_), .size = sizeof(struct type_), .where = offsetof(struct type_, where),     \
	.keys = (keys_), .n_keys = ARRAY_LEN(keys_)
#define NAMED(type_) .named = true, .name = offsetof(struct type_, name)

#define NAME_KEY(type_)                                                                            \
	{                                                                                          \
		.name = "name", .type = KEY_STRING, .offset = offsetof(struct type_, name),        \
		.required = true, .check = syntax_name,                                            \
	}
#define SLOT_KEY(type_)                                                                            \
	{                                                                                          \
		.name = "slot", .type = KEY_INT, .offset = offsetof(struct type_, slot), .min = 0, \
		.max = CONFIG_SLOT_MAX, .preset = CONFIG_SLOT_AUTO,                                \
	}
#define UINT_KEY(type_, field_, min_, max_, preset_)                                               \
	{                                                                                          \
		.name = #field_, .type = KEY_UINT, .offset = offsetof(struct type_, field_),       \
		.min = (min_), .max = (max_), .preset = (preset_),                                 \
	}
#define BOOL_KEY(type_, field_, preset_)                                                           \
	{                                                                                          \
		.name = #field_, .type = KEY_BOOL, .offset = offsetof(struct type_, field_),       \
		.preset = (preset_),                                                               \
	}
#define STRING_KEY(type_, field_, check_, required_)                                               \
	{                                                                                          \
		.name = #field_, .type = KEY_STRING, .offset = offsetof(struct type_, field_),     \
		.check = (check_), .required = (required_),                                        \
	}
#define FILE_KEY(type_, field_, required_)                                                         \
	{                                                                                          \
		.name = #field_, .type = KEY_FILE, .offset = offsetof(struct type_, field_),       \
		.check = syntax_path, .required = (required_),                                     \
	}
#define IDS_KEY(type_, field_, kind_, min_)                                                        \
	{                                                                                          \
		.name = #field_, .type = (kind_), .offset = offsetof(struct type_, field_),        \
		.min = (min_), .max = CONFIG_IDS_MAX,                                              \
	}
#define STRINGS_KEY(type_, field_, check_, max_)                                                   \
	{                                                                                          \
		.name = #field_, .type = KEY_STRINGS, .offset = offsetof(struct type_, field_),    \
		.check = (check_), .max = (max_),                                                  \
	}
#define CHOICE_KEY(type_, field_, name_, ...)                                                      \
	{                                                                                          \
		.name = (name_), .type = KEY_CHOICE, .offset = offsetof(struct type_, field_),     \
		.choices = (const char *const[]){ __VA_ARGS__, NULL },                             \
	}
#define GROUP_KEY(type_, field_, table_)                                                           \
	{                                                                                          \
		.name = #field_, .type = KEY_GROUP, .offset = offsetof(struct type_, field_),      \
		.extra = offsetof(struct type_, has_##field_), .table = &(table_),                 \
	}
#define NAMED_KEY(type_, field_, what_, table_, required_)                                         \
	{                                                                                          \
		.name = #field_, .type = KEY_NAMED, .offset = offsetof(struct type_, field_),      \
		.expected = "the name of " what_ " as a string", .required = (required_),          \
		.table = &(table_), .parse = parse_##field_##_name,                                \
	}

/* ---- keys with a form of their own ---- */

/*
 * libconfig reads 0660 as the decimal number 660, so a plain integer's digits are taken as chmod(1)
 * takes them. Other bases would be read by their value and are refused.
 */
static void parse_mode(struct key_reader *reader, const struct key *key,
		       const config_setting_t *setting, void *field)
{
	char digits[24];
	const char *text = digits;
	unsigned int mode = 0;

	if (config_setting_type(setting) == CONFIG_TYPE_STRING)
		text = config_setting_get_string(setting);
	else if (config_setting_type(setting) == CONFIG_TYPE_INT &&
		 config_setting_get_format(setting) == CONFIG_FORMAT_DEFAULT)
		snprintf(digits, sizeof(digits), "%d", config_setting_get_int(setting));
	else if (config_setting_type(setting) == CONFIG_TYPE_INT)
		snprintf(digits, sizeof(digits), "0x%x", config_setting_get_int(setting));
	else if (config_setting_type(setting) == CONFIG_TYPE_INT64)
		snprintf(digits, sizeof(digits), "%lldL", config_setting_get_int64(setting));
	else
		return key_complain(reader, setting, "`mode` is %s, expected %s",
				    key_type_of(setting), key->expected);
	if (text[0] == '\0' || strspn(text, "01234567") != strlen(text) || strlen(text) > 4 ||
	    (mode = strtoul(text, NULL, 8)) > 0777)
		return key_complain(reader, setting, "`mode` is %.80s, expected %s",
				    text[0] ? text : "empty", key->expected);
	*(unsigned int *)field = mode;
}

static void preset_mode(void *field)
{
	*(unsigned int *)field = 0660;
}

static bool equal_mode(const void *a, const void *b)
{
	return *(const unsigned int *)a == *(const unsigned int *)b;
}

/* What stands at @item, in words: a name, a number as it is written, or another type. */
static void describe_cipher(char *text, size_t size, const config_setting_t *item)
{
	const char *name = config_setting_get_string(item);

	if (name)
		snprintf(text, size, "\"%.80s\"", name);
	else if (config_setting_type(item) == CONFIG_TYPE_INT64)
		snprintf(text, size, "%lld", config_setting_get_int64(item));
	else if (config_setting_type(item) != CONFIG_TYPE_INT)
		snprintf(text, size, "%s", key_type_of(item));
	else if (config_setting_get_format(item) == CONFIG_FORMAT_HEX)
		snprintf(text, size, "0x%X", (unsigned int)config_setting_get_int(item));
	else
		snprintf(text, size, "%d", config_setting_get_int(item));
}

/* Each a number as IANA has it, 0xC02B, or its name there. */
static void parse_ciphers(struct key_reader *reader, const struct key *key,
			  const config_setting_t *setting, void *field)
{
	struct config_tunnel *tunnel = (void *)((char *)field -
						offsetof(struct config_tunnel, ciphers));
	int n = config_setting_length(setting);

	if (!config_setting_is_aggregate(setting) || config_setting_is_group(setting))
		return key_complain(reader, setting, "`ciphers` is %s, expected %s",
				    key_type_of(setting), key->expected);
	if (n > CONFIG_CIPHERS_MAX)
		return key_complain(reader, setting,
				    "`ciphers` has %d entries, expected at most %d", n,
				    CONFIG_CIPHERS_MAX);
	for (int i = 0; i < n; i++) {
		const config_setting_t *item = config_setting_get_elem(setting, (unsigned int)i);
		const char *name = config_setting_get_string(item);
		long long number = name ? cipher_number(name) : config_setting_get_int64(item);
		char text[96];

		if (number > 0 && number <= UINT16_MAX) {
			tunnel->ciphers[tunnel->n_ciphers++] = (unsigned int)number;
			continue;
		}
		describe_cipher(text, sizeof(text), item);
		key_complain(reader, item,
			     "entry %d of `ciphers` is %s, expected a TLS 1.2 suite that ESP-AT "
			     "has, as IANA names it (TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), or "
			     "a suite's number (0xC02B)",
			     i + 1, text);
	}
}

static bool equal_ciphers(const void *a, const void *b)
{
	const size_t offset = offsetof(struct config_tunnel, ciphers);
	const struct config_tunnel *x = (const void *)((const char *)a - offset);
	const struct config_tunnel *y = (const void *)((const char *)b - offset);

	return x->n_ciphers == y->n_ciphers &&
	       memcmp(x->ciphers, y->ciphers, x->n_ciphers * sizeof(x->ciphers[0])) == 0;
}

/* Names of one kind, for complaints; in memory of the caller, NULL: out of memory. */
static char *list_names(const void *array, size_t n, size_t size, size_t offset, const char *kind)
{
	char *text = NULL;
	size_t len = 0, count = 0;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		const char *name = *(char *const *)((const char *)array + i * size + offset);

		if (name)
			fprintf(f, "%s%.80s", count++ ? ", " : "expected one of: ", name);
	}
	if (count == 0)
		fprintf(f, "expected one of `%s`, which is empty", kind);
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* Finds the entry that @setting names in @array; complains and returns NULL if there is none. */
static const void *find_named(struct key_reader *reader, const struct key *key,
			      const config_setting_t *setting, const void *array, size_t n,
			      size_t size, size_t offset, const char *kind, const char *one)
{
	const char *value = config_setting_get_string(setting);
	_cleanup_free_ char *names = NULL;

	if (!value) {
		key_complain(reader, setting, "`%s` is %s, expected %s", key->name,
			     key_type_of(setting), key->expected);
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		const char *entry = (const char *)array + i * size;
		const char *name = *(char *const *)(entry + offset);

		if (name && strcmp(name, value) == 0)
			return entry;
	}
	names = list_names(array, n, size, offset, kind);
	if (!names)
		reader->error = -ENOMEM;
	else
		key_complain(reader, setting, "no %s has the name `%.80s`, %s", one, value, names);
	return NULL;
}

#define FIND_NAMED(reader_, key_, setting_, one_, kind_)                                           \
	find_named(reader_, key_, setting_, (reader_)->config->kind_,                              \
		   (reader_)->config->n_##kind_, sizeof(struct config_##one_),                     \
		   offsetof(struct config_##one_, name), #kind_, #one_)

/* "any" is NULL, where that is allowed. */
static void parse_tunnel_device(struct key_reader *reader, const struct key *key,
				const config_setting_t *setting, void *field)
{
	const char *value = config_setting_get_string(setting);

	if (!value || strcmp(value, CONFIG_DEVICE_ANY) != 0)
		*(const struct config_device **)field = FIND_NAMED(reader, key, setting, device,
								   devices);
}

static void parse_device_name(struct key_reader *reader, const struct key *key,
			      const config_setting_t *setting, void *field)
{
	*(const struct config_device **)field = FIND_NAMED(reader, key, setting, device, devices);
}

static void parse_authority_name(struct key_reader *reader, const struct key *key,
				 const config_setting_t *setting, void *field)
{
	*(const struct config_authority **)field = FIND_NAMED(reader, key, setting, authority,
							      authorities);
}

static void parse_identity_name(struct key_reader *reader, const struct key *key,
				const config_setting_t *setting, void *field)
{
	*(const struct config_identity **)field = FIND_NAMED(reader, key, setting, identity,
							     identities);
}

#define parse_credential_name parse_identity_name

/* ---- rules over several keys ---- */

static config_setting_t *member(const config_setting_t *group, const char *name)
{
	return config_setting_get_member((config_setting_t *)group, name);
}

/* Complains about @name, which does not go with @why. */
static void refuse_together(struct key_reader *reader, config_setting_t *group, const char *name,
			    const char *why)
{
	const config_setting_t *setting = member(group, name);

	if (setting)
		key_complain(reader, setting, "`%s` together with %s, expected only one of them",
			     name, why);
}

/* Complains about @name, which says nothing without @what. */
static void refuse_without(struct key_reader *reader, config_setting_t *group, const char *name,
			   const char *what)
{
	const config_setting_t *setting = member(group, name);

	if (setting)
		key_complain(reader, setting, "`%s` without %s, expected both or neither", name,
			     what);
}

/* The names of @setting all go into one command, which has place for @max bytes of them. */
static void check_line(struct key_reader *reader, const config_setting_t *setting,
		       const struct config_strings *strings, size_t max)
{
	size_t len = 0;

	for (size_t i = 0; i < strings->n; i++) {
		len += strlen(",\"\"") + strlen(strings->items[i]);
		for (const char *c = strings->items[i]; *c; c++)
			len += *c == ',' || *c == '"' || *c == '\\'; /* their backslash */
	}
	if (len > max)
		key_complain(reader, setting,
			     "`%s` takes %zu bytes in a command, 3 for each name and its own, "
			     "expected at most %zu",
			     config_setting_name(setting), len, max);
}

static bool is_ipv4(const char *text, uint32_t *ret)
{
	struct in_addr address;

	if (!text || inet_pton(AF_INET, text, &address) != 1)
		return false;
	*ret = ntohl(address.s_addr);
	return true;
}

static void check_static_address(struct key_reader *reader, config_setting_t *group,
				 const struct config_wifi *wifi)
{
	static const char *const names[] = { "address", "netmask", "gateway" };
	uint32_t address, mask, gateway;
	const char *missing = NULL;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (member(group, names[i]))
			n++;
		else if (!missing)
			missing = names[i];
	}
	if (n == 0)
		return;
	if (missing)
		return key_complain(reader, group,
				    "no `%s` in wifi, expected all of `address`, `netmask` and "
				    "`gateway`, or none of them for DHCP",
				    missing);
	if (!is_ipv4(wifi->address, &address) || !is_ipv4(wifi->netmask, &mask) ||
	    !is_ipv4(wifi->gateway, &gateway))
		return;
	/* Ones, then zeros, and some of each. */
	if (mask == 0 || ~mask == 0 || (~mask & (~mask + 1)) != 0)
		return key_complain(reader, member(group, "netmask"),
				    "`netmask` is \"%s\", expected ones and then zeros, as "
				    "255.255.255.0",
				    wifi->netmask);
	if (((address ^ gateway) & mask) != 0 || address == gateway)
		key_complain(reader, member(group, "gateway"),
			     "`gateway` is \"%s\", expected another address of the network of %s "
			     "with the netmask %s",
			     wifi->gateway, wifi->address, wifi->netmask);
}

static void finish_wifi(struct key_reader *reader, config_setting_t *group, void *object)
{
	struct config_wifi *wifi = object;

	if (wifi->has_enterprise)
		refuse_together(reader, group, "password_file", "`enterprise`");
	check_static_address(reader, group, wifi);
}

static void finish_eap(struct key_reader *reader, config_setting_t *group, void *object)
{
	const struct config_eap *eap = object;

	if (eap->insecure)
		refuse_together(reader, group, "authority", "`insecure = true`");
	else if (!member(group, "authority"))
		key_complain(reader, group,
			     "no `authority` in enterprise, expected the name of the one that the "
			     "network's server is verified with (or `insecure = true`)");
}

/* The rules of `time`, unless that itself is wrong. */
static void check_time(struct key_reader *reader, config_setting_t *group,
		       const struct config_device *device)
{
	/* "AT+CIPSNTPCFG=1,0", and the line's end */
	const size_t room = CONFIG_COMMAND_MAX - 17 - 2;
	const config_setting_t *time = member(group, "time"),
			       *servers = member(group, "ntp_servers");
	const char *value = time ? config_setting_get_string(time) : "host";

	if (value && strcmp(value, "host") == 0)
		refuse_without(reader, group, "ntp_servers", "`time = \"sntp\"`");
	if (device->time != CONFIG_TIME_SNTP)
		return;
	refuse_together(reader, group, "require_synchronized", "`time = \"sntp\"`");
	if (!servers)
		key_complain(reader, group,
			     "no `ntp_servers` in device `%.80s`, expected 1 to %d names or "
			     "addresses with `time = \"sntp\"`",
			     device->name ? device->name : "", CONFIG_NTP_SERVERS_MAX);
	else if (config_setting_is_aggregate(servers) && config_setting_length(servers) == 0)
		key_complain(reader, servers,
			     "`ntp_servers` is empty, expected 1 to %d names or addresses",
			     CONFIG_NTP_SERVERS_MAX);
	else
		check_line(reader, servers, &device->ntp_servers, room);
}

/* Two devices on one port would take each other's answers; one chip is on one port only. */
static void finish_device(struct key_reader *reader, config_setting_t *group, void *object)
{
	const struct config *config = reader->config;
	struct config_device *device = object;

	if (device->name && strcmp(device->name, CONFIG_DEVICE_ANY) == 0)
		key_complain(reader, member(group, "name"),
			     "`name` is \"" CONFIG_DEVICE_ANY "\", expected another one: it stands "
			     "for all devices");
	if (member(group, "max_baud") && device->max_baud > 0 && device->max_baud < device->baud)
		key_complain(reader, member(group, "max_baud"),
			     "`max_baud` is %u, expected at least `baud`, %u", device->max_baud,
			     device->baud);
	for (char *c = device->mac; c && *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (member(group, "mac"))
		refuse_together(reader, group, "adopt", "`mac`");
	check_time(reader, group, device);
	for (const struct config_device *d = config->devices; d < device; d++) {
		const char *name = d->name ? d->name : "";

		if (d->mac && device->mac && strcmp(d->mac, device->mac) == 0)
			key_complain(reader, member(group, "mac"),
				     "mac %.80s is already the one of device `%.80s`, expected "
				     "another chip's",
				     d->mac, name);
		if (d->port && device->port && strcmp(d->port, device->port) == 0)
			key_complain(reader, member(group, "port"),
				     "port %.80s is already the one of device `%.80s`, expected "
				     "another port",
				     d->port, name);
	}
}

/* Unless the host itself is wrong. */
static void check_family(struct key_reader *reader, config_setting_t *group,
			 const struct config_tunnel *tunnel)
{
	bool v4 = tunnel->host && !syntax_ipv4(tunnel->host);
	bool v6 = tunnel->host && !syntax_host(tunnel->host) && strchr(tunnel->host, ':');

	if (tunnel->family == CONFIG_FAMILY_IPV4 && v6)
		key_complain(reader, member(group, "address_family"),
			     "`address_family` is \"ipv4\" and `host` is an IPv6 address, expected "
			     "\"auto\" or \"ipv6\"");
	if (tunnel->family == CONFIG_FAMILY_IPV6 && v4)
		key_complain(reader, member(group, "address_family"),
			     "`address_family` is \"ipv6\" and `host` is an IPv4 address, expected "
			     "\"auto\" or \"ipv4\"");
}

/* Who is verified, and how: one way of them. */
static void check_trust(struct key_reader *reader, config_setting_t *group,
			const struct config_tunnel *tunnel)
{
	const config_setting_t *authority = member(group, "authority");
	const char *name = tunnel->name ? tunnel->name : "";

	if (member(group, "psk")) {
		/* The firmware would take the certificates and forget the key (field notes 2.1). */
		refuse_together(reader, group, "authority", "`psk`");
		refuse_together(reader, group, "identity", "`psk`");
		if (tunnel->insecure)
			refuse_together(reader, group, "insecure", "`psk`");
	} else if (tunnel->insecure && authority) {
		key_complain(reader, authority,
			     "tunnel `%.80s` has an `authority` and `insecure = true`, expected "
			     "only one of them",
			     name);
	} else if (!tunnel->insecure && !authority) {
		key_complain(reader, group,
			     "no `authority` in tunnel `%.80s`, expected the name of one (or "
			     "`psk`, or `insecure = true`, which lets any server pass)",
			     name);
	}
}

/* What people look for here, and what only who has the rights for it can do. */
static bool refuse_tunnel(struct key_reader *reader, config_setting_t *group,
			  const config_setting_t *setting)
{
	static const char *const owners[] = { "owner", "group", "socket_user", "socket_group" };
	const config_setting_t *name = member(group, "name");
	const char *tunnel = name ? config_setting_get_string(name) : NULL;

	for (size_t i = 0; i < ARRAY_LEN(owners); i++) {
		if (strcmp(config_setting_name(setting), owners[i]) != 0)
			continue;
		key_complain(reader, setting,
			     "`%s` of a socket is not for espatd to give, expected SocketUser= and "
			     "SocketGroup= in a systemd socket unit, espat-%.80s.socket (or "
			     "`acl_users` and `acl_groups` here)",
			     owners[i], tunnel ? tunnel : "NAME");
		return true;
	}
	return false;
}

static void finish_tunnel(struct key_reader *reader, config_setting_t *group, void *object)
{
	/* "AT+CIPSSLCALPN=4,5", and the line's end */
	const size_t room = CONFIG_COMMAND_MAX - 18 - 2;
	struct config *config = reader->config;
	struct config_tunnel *tunnel = object;

	if (!member(group, "device")) {
		if (config->n_devices == 1)
			tunnel->device = &config->devices[0];
		else if (config->n_devices > 1)
			key_complain(reader, group,
				     "no `device` in tunnel `%.80s`, expected the name of one of "
				     "the %zu devices",
				     tunnel->name ? tunnel->name : "", config->n_devices);
	}
	check_trust(reader, group, tunnel);
	check_line(reader, member(group, "alpn"), &tunnel->alpn, room);
	check_family(reader, group, tunnel);
	if (member(group, "server_name") || !tunnel->host)
		return;
	if (strlen(tunnel->host) > CONFIG_SERVER_NAME_MAX && !syntax_host(tunnel->host)) {
		key_complain(reader, member(group, "host"),
			     "`host` has %zu bytes and is the name to check, as there is no "
			     "`server_name`, expected a `server_name` of at most %d bytes",
			     strlen(tunnel->host), CONFIG_SERVER_NAME_MAX);
		return;
	}
	tunnel->server_name = strdup(tunnel->host);
	if (!tunnel->server_name)
		reader->error = -ENOMEM;
}

/* "mqtt_ca" and the like: what the firmware itself knows. */
static bool namespace_is_known(const char *namespace)
{
	static const char *const users[] = { "client", "server", "mqtt",   "https",
					     "wss",    "wpa2",   "wpa_ent" };
	static const char *const kinds[] = { "_ca", "_cert", "_key" };

	for (size_t i = 0; i < ARRAY_LEN(users); i++) {
		size_t n = strlen(users[i]);

		if (strncmp(namespace, users[i], n) != 0)
			continue;
		for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
			if (strcmp(namespace + n, kinds[k]) == 0)
				return true;
	}
	return false;
}

static bool namespace_is_extra(const struct config *config, const char *namespace)
{
	for (size_t i = 0; i < config->extra_namespaces.n; i++)
		if (strcmp(config->extra_namespaces.items[i], namespace) == 0)
			return true;
	return false;
}

/* Without both the material is set in service. */
static void finish_identity(struct key_reader *reader, config_setting_t *group, void *object)
{
	const struct config_identity *identity = object;
	const config_setting_t *cert = member(group, "cert"), *key = member(group, "key");

	if (!cert == !key)
		return;
	key_complain(reader, group,
		     "no `%s` in identity `%.80s`, expected both `cert` and `key`, or "
		     "neither, to set them in service",
		     cert ? "key" : "cert", identity->name ? identity->name : "");
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), k = strlen(end);

	return n >= k && strcmp(text + n - k, end) == 0;
}

/* What stands in the configuration, else what the namespace's name says. */
static void finish_nvs_kind(struct key_reader *reader, config_setting_t *group,
			    struct config_nvs *nvs)
{
	if (member(group, "kind"))
		return;
	if (ends_with(nvs->namespace, "_ca"))
		nvs->kind = CONFIG_NVS_CA;
	else if (ends_with(nvs->namespace, "_cert"))
		nvs->kind = CONFIG_NVS_CERT;
	else if (ends_with(nvs->namespace, "_key"))
		nvs->kind = CONFIG_NVS_KEY;
	else
		key_complain(reader, group,
			     "no `kind` in nvs entry, expected \"ca\", \"cert\", \"key\" or "
			     "\"raw\", as the namespace's name does not say it");
}

static void finish_nvs(struct key_reader *reader, config_setting_t *group, void *object)
{
	const struct config *config = reader->config;
	struct config_nvs *nvs = object;
	const config_setting_t *setting = member(group, "namespace");
	bool extra;

	if (!nvs->namespace || syntax_namespace(nvs->namespace))
		return;
	extra = namespace_is_extra(config, nvs->namespace);
	if (!namespace_is_known(nvs->namespace) && !extra)
		return key_complain(
			reader, setting,
			"`namespace` is \"%.80s\", expected {client,server,mqtt,https,wss,wpa2,"
			"wpa_ent}_{ca,cert,key} or one of `extra_namespaces`",
			nvs->namespace);
	if (nvs->slot != CONFIG_SLOT_NONE && strlen(nvs->namespace) + 2 > CONFIG_NVS_NAME_MAX)
		key_complain(reader, setting,
			     "the key %.80s.%d has %zu bytes, expected at most %d, as the chip "
			     "takes no longer one",
			     nvs->namespace, nvs->slot, strlen(nvs->namespace) + 2,
			     CONFIG_NVS_NAME_MAX);
	finish_nvs_kind(reader, group, nvs);
}

/* ---- the tables ---- */

static const struct key authority_keys[] = {
	NAME_KEY(config_authority),
	FILE_KEY(config_authority, file, false),
	SLOT_KEY(config_authority),
};

static const struct key_table authority_table = {
	TABLE("authority", config_authority, authority_keys),
	NAMED(config_authority),
};

static const struct key identity_keys[] = {
	NAME_KEY(config_identity),
	FILE_KEY(config_identity, cert, false),
	FILE_KEY(config_identity, key, false),
	SLOT_KEY(config_identity),
};

static const struct key_table identity_table = {
	TABLE("identity", config_identity, identity_keys),
	NAMED(config_identity),
	.finish = finish_identity,
};

static const struct key eap_keys[] = {
	STRING_KEY(config_eap, identity, syntax_eap_identity, true),
	NAMED_KEY(config_eap, credential, "an identity", identity_table, true),
	NAMED_KEY(config_eap, authority, "an authority", authority_table, false),
	BOOL_KEY(config_eap, insecure, false),
};

static const struct key_table eap_table = {
	TABLE("enterprise", config_eap, eap_keys),
	.finish = finish_eap,
};

static const struct key wifi_keys[] = {
	STRING_KEY(config_wifi, ssid, syntax_ssid, true),
	FILE_KEY(config_wifi, password_file, false),
	STRING_KEY(config_wifi, bssid, syntax_mac, false),
	BOOL_KEY(config_wifi, hidden, false),
	STRING_KEY(config_wifi, country, syntax_country, false),
	STRING_KEY(config_wifi, hostname, syntax_hostname, false),
	STRING_KEY(config_wifi, address, syntax_ipv4, false),
	STRING_KEY(config_wifi, netmask, syntax_ipv4, false),
	STRING_KEY(config_wifi, gateway, syntax_ipv4, false),
	STRINGS_KEY(config_wifi, dns, syntax_ipv4, CONFIG_DNS_MAX),
	GROUP_KEY(config_wifi, enterprise, eap_table),
};

static const struct key_table wifi_table = {
	TABLE("wifi", config_wifi, wifi_keys),
	.finish = finish_wifi,
};

static const struct key device_keys[] = {
	NAME_KEY(config_device),
	STRING_KEY(config_device, port, syntax_port, true),
	UINT_KEY(config_device, baud, 80, 5000000, 115200),
	UINT_KEY(config_device, max_baud, 80, 5000000, 0),
	CHOICE_KEY(config_device, flow_control, "flow_control", "auto", "rtscts", "none"),
	CHOICE_KEY(config_device, reset, "reset", "none", "dtr-rts"),
	CHOICE_KEY(config_device, receive, "receive", "auto", "active", "passive"),
	UINT_KEY(config_device, max_links, 1, CONFIG_LINKS_MAX, CONFIG_LINKS_MAX),
	STRING_KEY(config_device, mac, syntax_mac, false),
	CHOICE_KEY(config_device, adopt, "adopt", "first", "any"),
	GROUP_KEY(config_device, wifi, wifi_table),
	CHOICE_KEY(config_device, time, "time", "host", "sntp"),
	BOOL_KEY(config_device, require_synchronized, false),
	STRINGS_KEY(config_device, ntp_servers, syntax_host, CONFIG_NTP_SERVERS_MAX),
};

const struct key_table config_device_table = {
	TABLE("device", config_device, device_keys),
	NAMED(config_device),
	.finish = finish_device,
};

static const struct key nvs_keys[] = {
	NAMED_KEY(config_nvs, device, "a device", config_device_table, false),
	STRING_KEY(config_nvs, namespace, syntax_namespace, true),
	SLOT_KEY(config_nvs),
	CHOICE_KEY(config_nvs, kind, "kind", "ca", "cert", "key", "raw"),
	FILE_KEY(config_nvs, file, true),
};

static const struct key_table nvs_table = {
	TABLE("nvs entry", config_nvs, nvs_keys),
	.finish = finish_nvs,
};

static const struct key psk_keys[] = {
	STRING_KEY(config_psk, identity, syntax_psk_identity, true),
	FILE_KEY(config_psk, file, true),
	BOOL_KEY(config_psk, hex, false),
};

static const struct key_table psk_table = {
	TABLE("psk", config_psk, psk_keys),
};

static const struct key tunnel_keys[] = {
	NAME_KEY(config_tunnel),
	{
		.name = "device",
		.type = KEY_NAMED,
		.offset = offsetof(struct config_tunnel, device),
		.expected = "the name of a device as a string, or \"" CONFIG_DEVICE_ANY "\"",
		.table = &config_device_table,
		.parse = parse_tunnel_device,
	},
	STRING_KEY(config_tunnel, host, syntax_host, true),
	{
		.name = "port",
		.type = KEY_UINT,
		.offset = offsetof(struct config_tunnel, port),
		.required = true,
		.min = 1,
		.max = 65535,
	},
	CHOICE_KEY(config_tunnel, family, "address_family", "auto", "ipv4", "ipv6"),
	STRING_KEY(config_tunnel, server_name, syntax_server_name, false),
	NAMED_KEY(config_tunnel, authority, "an authority", authority_table, false),
	NAMED_KEY(config_tunnel, identity, "an identity", identity_table, false),
	BOOL_KEY(config_tunnel, insecure, false),
	GROUP_KEY(config_tunnel, psk, psk_table),
	STRINGS_KEY(config_tunnel, alpn, syntax_alpn, CONFIG_ALPN_MAX),
	{
		.name = "ciphers",
		.type = KEY_OTHER,
		.offset = offsetof(struct config_tunnel, ciphers),
		.expected = "an array of TLS 1.2 cipher suites: [ 0xC02B, 0xC02F ]",
		.parse = parse_ciphers,
		.equal = equal_ciphers,
	},
	UINT_KEY(config_tunnel, keep_alive, 0, 7200, 120),
	UINT_KEY(config_tunnel, connect_timeout, 1, 60, 20),
	UINT_KEY(config_tunnel, wait_timeout, 1, 3600, 30),
	UINT_KEY(config_tunnel, half_close_timeout, 0, 86400, 60),
	UINT_KEY(config_tunnel, idle_timeout, 0, 86400, 0),
	UINT_KEY(config_tunnel, max_waiting, 0, 1024, 32),
	UINT_KEY(config_tunnel, max_clients, 0, CONFIG_CLIENTS_MAX, 0),
	UINT_KEY(config_tunnel, reserve, 0, CONFIG_LINKS_MAX, 0),
	BOOL_KEY(config_tunnel, diagnose, true),
	{
		.name = "mode",
		.type = KEY_OTHER,
		.offset = offsetof(struct config_tunnel, mode),
		.expected = "up to four octal digits, at most \"0777\"",
		.parse = parse_mode,
		.set_preset = preset_mode,
		.equal = equal_mode,
	},
	IDS_KEY(config_tunnel, acl_users, KEY_USERS, 0),
	IDS_KEY(config_tunnel, acl_groups, KEY_GROUPS, 0),
	/* None would look like nobody, and be everybody. */
	IDS_KEY(config_tunnel, allow_uids, KEY_USERS, 1),
	IDS_KEY(config_tunnel, allow_gids, KEY_GROUPS, 1),
};

const struct key_table config_tunnel_table = {
	TABLE("tunnel", config_tunnel, tunnel_keys),
	NAMED(config_tunnel),
	.refuse = refuse_tunnel,
	.finish = finish_tunnel,
};

#define LIST_KEY(field_, table_, max_, required_)                                                  \
	{                                                                                          \
		.name = #field_, .type = KEY_LIST, .offset = offsetof(struct config, field_),      \
		.extra = offsetof(struct config, n_##field_), .max = (max_),                       \
		.required = (required_), .table = &(table_),                                       \
	}

/* What refers to others stands behind them. */
static const struct key root_keys[] = {
	{
		.name = "runtime_dir",
		.type = KEY_PATH,
		.offset = offsetof(struct config, runtime_dir),
		.preset_text = ESPATD_RUNTIME_DIR,
		.check = syntax_path,
	},
	{
		.name = "state_dir",
		.type = KEY_PATH,
		.offset = offsetof(struct config, state_dir),
		.preset_text = ESPATD_STATE_DIR,
		.check = syntax_path,
	},
	BOOL_KEY(config, raw_commands, false),
	UINT_KEY(config, drain_timeout, 0, 60, 5),
	LIST_KEY(authorities, authority_table, CONFIG_MATERIAL_MAX, false),
	LIST_KEY(identities, identity_table, CONFIG_MATERIAL_MAX, false),
	LIST_KEY(devices, config_device_table, CONFIG_DEVICES_MAX, true),
	STRINGS_KEY(config, extra_namespaces, syntax_namespace, CONFIG_NAMESPACES_MAX),
	LIST_KEY(nvs, nvs_table, CONFIG_NVS_MAX, false),
	LIST_KEY(tunnels, config_tunnel_table, CONFIG_TUNNELS_MAX, false),
};

const struct key_table config_root_table = {
	.size = sizeof(struct config),
	.keys = root_keys,
	.n_keys = ARRAY_LEN(root_keys),
};
