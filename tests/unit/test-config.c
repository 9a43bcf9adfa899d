/* SPDX-License-Identifier: MIT */
/* config/config: what a file comes to, and the line that each mistake gets. */
#include "test.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config-files.h"
#include "config/config.h"

#define DEVICE "devices = ( { name = \"esp0\"; port = \"/dev/ttyUSB0\"; } );\n"
#define TUNNEL(more) "tunnels = ( { name = \"t\"; host = \"h\"; port = 1; " more " } );\n"
/* One device, and what else it or its Wi-Fi has. */
#define DEV(more) "devices = ( { name = \"a\"; port = \"/dev/x\";\n" more " } );\n"
#define WIFI(more) DEV("wifi = { ssid = \"s\";\n" more " };")
#define MATERIAL                                                                                   \
	"authorities = ( { name = \"ca\"; file = \"f\"; } ); "                                     \
	"identities = ( { name = \"id\"; cert = \"c\"; key = \"k\"; } );\n"
#define EAP(more) MATERIAL WIFI("enterprise = {\n" more " };")
#define NVS(more) DEVICE "nvs = ( {\n" more " } );\n"
#define PSK(more) DEVICE TUNNEL("psk = {\n" more " };")
#define CIPHER_EXPECTED                                                                            \
	"expected a TLS 1.2 suite that ESP-AT has, as IANA names it "                              \
	"(TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), or a suite's number (0xC02B)\n"
#define NAMESPACE_EXPECTED                                                                         \
	"expected {client,server,mqtt,https,wss,wpa2,wpa_ent}_{ca,cert,key} or one of "            \
	"`extra_namespaces`\n"
#define TEN "1234567890"

static int load(struct config **ret, const char *name, struct problems *problems)
{
	return config_load(ret, path_of(name), problems);
}

/* "" as @expected: it is good. */
static void expect_bytes(const char *text, size_t len, const char *expected)
{
	struct problems problems = PROBLEMS_NULL;
	struct config *config = NULL;
	char *got;
	int r;

	put_bytes("a.conf", text, len);
	r = load(&config, "a.conf", &problems);
	got = joined(&problems);
	assert_string_equal(got, expected);
	assert_int_equal(r, expected[0] ? -EINVAL : 0);
	assert_int_equal(config != NULL, r == 0);
	free(got);
	config_free(config);
	problems_clear(&problems);
}

static void expect(const char *text, const char *expected)
{
	expect_bytes(text, strlen(text), expected);
}

static struct config *load_good(const char *text)
{
	struct problems problems = PROBLEMS_NULL;
	struct config *config = NULL;
	char *got;

	put("a.conf", text);
	load(&config, "a.conf", &problems);
	got = joined(&problems);
	assert_string_equal(got, "");
	free(got);
	assert_non_null(config);
	return config;
}

static void test_whole(void **state)
{
	static const char text[] =
		"runtime_dir = \"/run/x/\"; state_dir = \"state\";\n"
		"tunnels = ( { name = \"broker\"; device = \"esp1\"; host = \"broker.example\";\n"
		"  port = 8883; authority = \"corp\"; identity = \"gw\"; server_name = "
		"\"10.0.0.1\";\n"
		"  connect_timeout = 1; wait_timeout = 3600; half_close_timeout = 0;\n"
		"  max_waiting = 1024; mode = \"0777\"; },\n"
		" { name = \"open\"; device = \"esp0\"; host = \"::1\"; port = 65535; insecure = "
		"true; } );\n"
		"devices = ( { name = \"esp0\"; port = \"usb:10c4:EA60:0001\"; },\n"
		"  { name = \"esp1\"; port = \"tcp:[::1]:3333\"; baud = 5000000; time = \"host\";\n"
		"    wifi = { ssid = \"la b\\\"\"; password_file = \"secret\"; }; } );\n"
		"authorities = ( { name = \"corp\"; file = \"/ca.pem\"; slot = 9; } );\n"
		"identities = ( { name = \"gw\"; cert = \"gw.pem\"; key = \"../gw.key\"; } );\n";
	struct problems problems = PROBLEMS_NULL;
	const struct config_tunnel *t;
	const struct config_device *d;
	struct config *config = NULL;
	char path[256];

	put("a.conf", text);
	assert_int_equal(load(&config, "a.conf", &problems), 0);
	assert_int_equal(problems.count, 0);
	assert_string_equal(config->runtime_dir, "/run/x");
	snprintf(path, sizeof(path), "%s/state", dir);
	assert_string_equal(config->state_dir, path);
	assert_int_equal(config->n_devices, 2);
	assert_int_equal(config->n_tunnels, 2);

	d = config->devices;
	assert_int_equal(d->baud, 115200);
	assert_false(d->has_wifi);
	assert_int_equal(d->where.line, 7);
	assert_ptr_equal(d->where.file, config->path);
	d++;
	assert_string_equal(d->port, "tcp:[::1]:3333");
	assert_int_equal(d->baud, 5000000);
	assert_true(d->has_wifi);
	assert_string_equal(d->wifi.ssid, "la b\"");
	snprintf(path, sizeof(path), "%s/secret", dir);
	assert_string_equal(d->wifi.password_file, path);

	t = config->tunnels;
	assert_ptr_equal(t->device, d);
	assert_ptr_equal(t->authority, &config->authorities[0]);
	assert_ptr_equal(t->identity, &config->identities[0]);
	assert_string_equal(t->server_name, "10.0.0.1");
	assert_false(t->insecure);
	assert_int_equal(t->connect_timeout, 1);
	assert_int_equal(t->wait_timeout, 3600);
	assert_int_equal(t->half_close_timeout, 0);
	assert_int_equal(t->max_waiting, 1024);
	assert_int_equal(t->mode, 0777);
	t++;
	assert_true(t->insecure);
	assert_null(t->authority);
	assert_null(t->identity);
	assert_string_equal(t->server_name, "::1");
	assert_int_equal(t->connect_timeout, 20);
	assert_int_equal(t->wait_timeout, 30);
	assert_int_equal(t->half_close_timeout, 60);
	assert_int_equal(t->max_waiting, 32);
	assert_int_equal(t->mode, 0660);

	assert_int_equal(config->authorities[0].slot, 9);
	assert_int_equal(config->identities[0].slot, CONFIG_SLOT_AUTO);
	assert_string_equal(config->authorities[0].file, "/ca.pem");
	snprintf(path, sizeof(path), "%s/../gw.key", dir);
	assert_string_equal(config->identities[0].key, path);
	config_free(config);
}

static void test_defaults(void **state)
{
	struct problems problems = PROBLEMS_NULL;
	struct config *config = NULL;

	put("a.conf", DEVICE TUNNEL("insecure = true;"));
	assert_int_equal(load(&config, "a.conf", &problems), 0);
	assert_string_equal(config->runtime_dir, "/run/espat");
	assert_string_equal(config->state_dir, "/var/lib/espat");
	assert_ptr_equal(config->tunnels[0].device, &config->devices[0]);
	assert_null(config->devices[0].mac);
	assert_int_equal(config->devices[0].adopt, CONFIG_ADOPT_FIRST);
	assert_int_equal(config->devices[0].time, CONFIG_TIME_HOST);
	assert_false(config->devices[0].require_synchronized);
	assert_int_equal(config->devices[0].ntp_servers.n, 0);
	assert_int_equal(config->tunnels[0].family, CONFIG_FAMILY_AUTO);
	assert_int_equal(config->tunnels[0].alpn.n, 0);
	assert_int_equal(config->tunnels[0].n_ciphers, 0);
	assert_int_equal(config->tunnels[0].keep_alive, 120);
	assert_true(config->tunnels[0].diagnose);
	assert_false(config->tunnels[0].has_psk);
	assert_int_equal(config->n_nvs, 0);
	assert_int_equal(config->extra_namespaces.n, 0);
	assert_false(config->raw_commands);
	assert_int_equal(config->drain_timeout, 5);
	assert_int_equal(config->tunnels[0].acl_users.n, 0);
	assert_int_equal(config->tunnels[0].acl_groups.n, 0);
	assert_int_equal(config->tunnels[0].allow_uids.n, 0);
	assert_int_equal(config->tunnels[0].allow_gids.n, 0);
	config_free(config);
	config = load_good("raw_commands = true; drain_timeout = 0;" DEVICE MATERIAL);
	assert_true(config->raw_commands);
	assert_int_equal(config->drain_timeout, 0);
	config_free(config);
	config = load_good("drain_timeout = 60; authorities = ( { name = \"a\"; } );"
			   "identities = ( { name = \"i\"; slot = 3; } );" DEVICE);
	assert_int_equal(config->drain_timeout, 60);
	assert_null(config->authorities[0].file);
	assert_null(config->identities[0].cert);
	assert_null(config->identities[0].key);
	config_free(config);
	config = load_good(WIFI(""));
	assert_string_equal(config->devices[0].wifi.ssid, "s");
	assert_null(config->devices[0].wifi.password_file);
	assert_null(config->devices[0].wifi.bssid);
	assert_false(config->devices[0].wifi.hidden);
	assert_null(config->devices[0].wifi.country);
	assert_null(config->devices[0].wifi.hostname);
	assert_null(config->devices[0].wifi.address);
	assert_null(config->devices[0].wifi.netmask);
	assert_null(config->devices[0].wifi.gateway);
	assert_int_equal(config->devices[0].wifi.dns.n, 0);
	assert_false(config->devices[0].wifi.has_enterprise);
	config_free(config);
	assert_null(config_free(NULL));
}

static void assert_strings(const struct config_strings *strings, size_t n, ...)
{
	va_list ap;

	assert_int_equal(strings->n, n);
	va_start(ap, n);
	for (size_t i = 0; i < n; i++)
		assert_string_equal(strings->items[i], va_arg(ap, const char *));
	va_end(ap);
}

/* In the folder of the configuration. */
static void assert_file(const char *path, const char *name)
{
	char expected[256];

	snprintf(expected, sizeof(expected), "%s/%s", dir, name);
	assert_string_equal(path, expected);
}

static void test_whole_devices(void **state)
{
	static const char text[] =
		"devices = ( { name = \"a\"; port = \"/dev/a\"; mac = \"24:0A:C4:12:34:5F\";\n"
		"  time = \"sntp\"; ntp_servers = [ \"ntp.example\", \"::1\", \"192.0.2.1\" ];\n"
		"  wifi = { ssid = \"s\"; bssid = \"24:0A:c4:00:00:01\"; hidden = true; country = "
		"\"DE\";\n"
		"    hostname = \"Gate-1\"; address = \"192.0.2.7\"; netmask = \"255.255.255.0\";\n"
		"    gateway = \"192.0.2.1\"; dns = ( \"192.0.2.53\", \"192.0.2.54\" );\n"
		"    enterprise = { identity = \"me\"; credential = \"id\"; authority = \"ca\"; }; "
		"}; },\n"
		" { name = \"b\"; port = \"/dev/b\"; adopt = \"any\"; require_synchronized = "
		"true;\n"
		"  time = \"host\"; wifi = { ssid = \"t\"; password_file = \"p\";\n"
		"    dns = [ \"192.0.2.55\" ]; }; },\n"
		" { name = \"c\"; port = \"/dev/c\"; adopt = \"first\";\n"
		"  wifi = { ssid = \"u\";\n"
		"    enterprise = { identity = \"i\"; credential = \"id\"; insecure = true; }; }; "
		"} );\n" MATERIAL;
	struct config *config = load_good(text);
	const struct config_device *d = config->devices;

	assert_int_equal(config->n_devices, 3);
	assert_string_equal(d->mac, "24:0a:c4:12:34:5f");
	assert_int_equal(d->adopt, CONFIG_ADOPT_FIRST);
	assert_int_equal(d->time, CONFIG_TIME_SNTP);
	assert_false(d->require_synchronized);
	assert_strings(&d->ntp_servers, 3, "ntp.example", "::1", "192.0.2.1");
	assert_true(d->has_wifi);
	assert_int_equal(d->wifi.where.line, 3);
	assert_null(d->wifi.password_file);
	assert_string_equal(d->wifi.bssid, "24:0A:c4:00:00:01");
	assert_true(d->wifi.hidden);
	assert_string_equal(d->wifi.country, "DE");
	assert_string_equal(d->wifi.hostname, "Gate-1");
	assert_string_equal(d->wifi.address, "192.0.2.7");
	assert_string_equal(d->wifi.netmask, "255.255.255.0");
	assert_string_equal(d->wifi.gateway, "192.0.2.1");
	assert_strings(&d->wifi.dns, 2, "192.0.2.53", "192.0.2.54");
	assert_true(d->wifi.has_enterprise);
	assert_int_equal(d->wifi.enterprise.where.line, 6);
	assert_string_equal(d->wifi.enterprise.identity, "me");
	assert_ptr_equal(d->wifi.enterprise.credential, &config->identities[0]);
	assert_ptr_equal(d->wifi.enterprise.authority, &config->authorities[0]);
	assert_false(d->wifi.enterprise.insecure);

	d++;
	assert_null(d->mac);
	assert_int_equal(d->adopt, CONFIG_ADOPT_ANY);
	assert_int_equal(d->time, CONFIG_TIME_HOST);
	assert_true(d->require_synchronized);
	assert_int_equal(d->ntp_servers.n, 0);
	assert_file(d->wifi.password_file, "p");
	assert_strings(&d->wifi.dns, 1, "192.0.2.55");
	assert_false(d->wifi.has_enterprise);

	d++;
	assert_int_equal(d->adopt, CONFIG_ADOPT_FIRST);
	assert_true(d->wifi.enterprise.insecure);
	assert_null(d->wifi.enterprise.authority);
	assert_ptr_equal(d->wifi.enterprise.credential, &config->identities[0]);
	/* Enterprise has namespaces of its own. */
	for (d = config->devices; d < config->devices + 3; d++) {
		assert_false(config_needs_authority(config, d, &config->authorities[0]));
		assert_false(config_needs_identity(config, d, &config->identities[0]));
	}
	config_free(config);
}

static void test_whole_tunnels(void **state)
{
	static const char text[] = DEVICE MATERIAL
		"tunnels = ( { name = \"t\"; host = \"h\"; port = 1; authority = \"ca\";\n"
		"  address_family = \"ipv6\"; alpn = [ \"h2\", \"http/1.1\" ]; keep_alive = 0;\n"
		"  diagnose = false; ciphers = ( 0xC02B, 49199, 0x9cL,\n"
		"    \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\", "
		"\"TLS_PSK_WITH_ARIA_128_CBC_SHA256\" ); },\n"
		" { name = \"u\"; host = \"h\"; port = 1; address_family = \"ipv4\"; keep_alive = "
		"7200;\n"
		"  psk = { identity = \"me\"; file = \"key\"; hex = true; }; },\n"
		" { name = \"v\"; host = \"h\"; port = 1; address_family = \"auto\"; diagnose = "
		"true;\n"
		"  insecure = false; psk = { identity = \"you\"; file = \"/key\"; }; } );\n";
	struct config *config = load_good(text);
	const struct config_tunnel *t = config->tunnels;

	assert_int_equal(config->n_tunnels, 3);
	assert_int_equal(t->family, CONFIG_FAMILY_IPV6);
	assert_strings(&t->alpn, 2, "h2", "http/1.1");
	assert_int_equal(t->keep_alive, 0);
	assert_false(t->diagnose);
	assert_false(t->has_psk);
	assert_int_equal(t->n_ciphers, 5);
	assert_int_equal(t->ciphers[0], 0xc02b);
	assert_int_equal(t->ciphers[1], 0xc02f);
	assert_int_equal(t->ciphers[2], 0x9c);
	assert_int_equal(t->ciphers[3], 0xc02b);
	assert_int_equal(t->ciphers[4], 0xc064);

	t++;
	assert_int_equal(t->family, CONFIG_FAMILY_IPV4);
	assert_int_equal(t->keep_alive, 7200);
	assert_int_equal(t->alpn.n, 0);
	assert_int_equal(t->n_ciphers, 0);
	assert_true(t->has_psk);
	assert_int_equal(t->psk.where.line, 8);
	assert_string_equal(t->psk.identity, "me");
	assert_file(t->psk.file, "key");
	assert_true(t->psk.hex);
	assert_null(t->authority);
	assert_null(t->identity);
	assert_false(t->insecure);

	t++;
	assert_int_equal(t->family, CONFIG_FAMILY_AUTO);
	assert_true(t->diagnose);
	assert_string_equal(t->psk.file, "/key");
	assert_false(t->psk.hex);
	config_free(config);
}

static void assert_ids(const struct config_ids *ids, size_t n, ...)
{
	va_list ap;

	assert_int_equal(ids->n, n);
	va_start(ap, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(ids->items[i], va_arg(ap, unsigned int));
	va_end(ap);
}

/* By name or number, as a string too; in order and once each. */
static void test_ids(void **state)
{
	static const char text[] = DEVICE TUNNEL(
		"insecure = true; acl_users = ( 7, \"root\", 3, \"0\", 7 );\n"
		"acl_groups = [ \"root\", \"4294967294\", \"12\" ];\n"
		"allow_uids = [ 4294967294L ]; allow_gids = ( 5, \"root\" );");
	struct config *config = load_good(text);
	const struct config_tunnel *t = config->tunnels;

	assert_ids(&t->acl_users, 3, 0u, 3u, 7u);
	assert_ids(&t->acl_groups, 3, 0u, 12u, 4294967294u);
	assert_ids(&t->allow_uids, 1, 4294967294u);
	assert_ids(&t->allow_gids, 2, 0u, 5u);
	config_free(config);
}

static void test_refs(void **state)
{
	struct config *config = load_good(DEVICE);

	assert_ptr_equal(config_ref(config), config);
	assert_null(config_free(config));
	/* Still there, as the sanitizer sees. */
	assert_string_equal(config->devices[0].name, "esp0");
	assert_null(config_free(config));
}

static void test_whole_nvs(void **state)
{
	static const char text[] =
		"devices = ( { name = \"a\"; port = \"/dev/a\"; }, { name = \"b\"; port = "
		"\"/dev/b\"; } );\n"
		"extra_namespaces = [ \"mine\", \"my_cert\" ];\n"
		"nvs = ( { namespace = \"server_cert\"; file = \"f\"; },\n"
		" { device = \"b\"; namespace = \"client_key\"; slot = 0; file = \"/g\"; },\n"
		" { namespace = \"mine\"; slot = 9; kind = \"raw\"; file = \"h\"; },\n"
		" { namespace = \"my_cert\"; file = \"h\"; },\n"
		" { namespace = \"my_cert\"; slot = 1; kind = \"key\"; file = \"h\"; } );\n";
	struct config *config = load_good(text);
	const struct config_device *a = &config->devices[0], *b = &config->devices[1];
	const struct config_nvs *nvs = config->nvs;

	assert_strings(&config->extra_namespaces, 2, "mine", "my_cert");
	assert_int_equal(config->n_nvs, 5);
	assert_int_equal(nvs->where.line, 3);
	assert_null(nvs->device);
	assert_string_equal(nvs->namespace, "server_cert");
	assert_int_equal(nvs->slot, CONFIG_SLOT_NONE);
	assert_int_equal(nvs->kind, CONFIG_NVS_CERT);
	assert_file(nvs->file, "f");
	assert_true(config_needs_nvs(a, nvs));
	assert_true(config_needs_nvs(b, nvs));
	nvs++;
	assert_ptr_equal(nvs->device, b);
	assert_int_equal(nvs->slot, 0);
	assert_int_equal(nvs->kind, CONFIG_NVS_KEY);
	assert_string_equal(nvs->file, "/g");
	assert_false(config_needs_nvs(a, nvs));
	assert_true(config_needs_nvs(b, nvs));
	nvs++;
	assert_int_equal(nvs->slot, 9);
	assert_int_equal(nvs->kind, CONFIG_NVS_RAW);
	nvs++;
	assert_int_equal(nvs->kind, CONFIG_NVS_CERT);
	nvs++;
	assert_int_equal(nvs->kind, CONFIG_NVS_KEY);
	config_free(config);
}

/* What the firmware itself knows, and the kind that each name says. */
static void test_namespaces(void **state)
{
	static const char *const users[] = { "client", "server", "mqtt",   "https",
					     "wss",    "wpa2",   "wpa_ent" };
	static const struct {
		const char *name;
		enum config_nvs_kind kind;
	} kinds[] = { { "ca", CONFIG_NVS_CA },
		      { "cert", CONFIG_NVS_CERT },
		      { "key", CONFIG_NVS_KEY } };

	for (size_t i = 0; i < ARRAY_SIZE(users); i++)
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
			struct config *config;
			char text[256];

			snprintf(text, sizeof(text),
				 NVS("namespace = \"%s_%s\"; slot = %zu; file = \"f\";"), users[i],
				 kinds[k].name, k);
			config = load_good(text);
			assert_int_equal(config->nvs[0].kind, kinds[k].kind);
			assert_int_equal(config->nvs[0].slot, k);
			config_free(config);
		}
}

static const struct {
	const char *text;
	const char *expected;
} cases[] = {
	/* the whole file */
	{ "",
	  "a.conf: no `devices` in the file, expected a list of groups: ( { ... }, { ... } )\n" },
	{ "devices = ();", "a.conf:1: `devices` is empty, expected at least one device\n" },
	{ DEVICE "tunnels = { };", "a.conf:2: `tunnels` is a group { ... }, expected a list of "
				   "groups: ( { ... }, { ... } )\n" },
	{ DEVICE "tunnels = ();", "" },
	{ DEVICE "authorities = ( 1 );\nidentities = ( [ \"x\" ], {} );",
	  "a.conf:2: entry 1 of `authorities` is an integer, expected a group: { ... }\n"
	  "a.conf:3: entry 1 of `identities` is an array [ ... ], expected a group: { ... }\n"
	  "a.conf:3: no `name` in identity, expected a string\n" },
	/* without files: their material is set in service */
	{ DEVICE "authorities = ( { name = \"a\"; } ); identities = ( { name = \"i\"; } );", "" },
	{ DEVICE
	  "identities = ( { name = \"i\";\ncert = \"c\"; }, { name = \"j\"; key = \"k\"; } );",
	  "a.conf:2: no `key` in identity `i`, expected both `cert` and `key`, or neither, to set "
	  "them in service\n"
	  "a.conf:3: no `cert` in identity `j`, expected both `cert` and `key`, or neither, to set "
	  "them in service\n" },
	{ DEVICE "raw_commands = 1;\ndrain_timeout = 61;",
	  "a.conf:2: `raw_commands` is an integer, expected true or false\n"
	  "a.conf:3: `drain_timeout` is 61, expected an integer from 0 to 60\n" },
	{ DEVICE "drain_timeout = -1;",
	  "a.conf:2: `drain_timeout` is -1, expected an integer from 0 to 60\n" },
	{ DEVICE "runtime_dir = 5;\nstate_dir = \"\";\nfoo = 1;",
	  "a.conf:4: unknown key `foo` in the file, expected one of: runtime_dir, state_dir, "
	  "raw_commands, drain_timeout, authorities, identities, devices, extra_namespaces, nvs, "
	  "tunnels\n"
	  "a.conf:2: `runtime_dir` is an integer, expected a path as a string\n"
	  "a.conf:3: `state_dir` is \"\", expected a path\n" },
	/* syntax */
	{ "devices = ( {\n name \"esp0\"; } );", "a.conf:2: syntax error, expected `key = value;` "
						 "(is a `;`, a quote or a bracket missing, here "
						 "or in the line before?)\n" },
	{ "a = 1;\na = 2;",
	  "a.conf:2: duplicate setting name, expected each key once in its group\n" },
	{ "\n/* no end", "a.conf:2: the comment that begins here has no end, expected */\n" },
	{ "a = \"x\\x00y\";", "a.conf:1: \\x00 in a string, expected a string without NUL\n" },
	{ "a = \"x\\X00y\";", "a.conf:1: \\x00 in a string, expected a string without NUL\n" },
	{ "\n@include \"none.conf\"",
	  "none.conf: no such file, expected a configuration file\n"
	  "a.conf:2: includes \"none.conf\", expected a file that can be read\n" },
	{ "@include \"fifo\"", "fifo: is not a regular file, expected a configuration file\n"
			       "a.conf:1: includes \"fifo\", expected a file that can be read\n" },
	{ "# @include \"none.conf\"\n/*\n@include \"none.conf\"\n*/" DEVICE, "" },
	{ "@include \"a.conf\"", "a.conf:1: too many files are included (does one include "
				 "itself?), expected at most 100, 10 "
				 "deep\n" },
	{ "\n  @include \"inc.conf\"\n" DEVICE,
	  "inc.conf:1: `slot` is 10, expected an integer from 0 to 9\n" },
	/* devices */
	{ "devices = ( { name = \"a b\"; port = \"\"; baud = \"1\"; time = 1; wifi = 1; bar = 2; } "
	  ");",
	  "a.conf:1: unknown key `bar` in device `a b`, expected one of: name, port, baud, "
	  "max_baud, flow_control, reset, receive, max_links, mac, adopt, "
	  "wifi, time, require_synchronized, ntp_servers\n"
	  "a.conf:1: `name` is \"a b\", expected 1 to 48 characters of A-Z a-z 0-9 _ . -, the "
	  "first no . "
	  "or -\n"
	  "a.conf:1: `port` is \"\", expected /dev/..., usb:VID:PID[:SERIAL], unix:/PATH or "
	  "tcp:ADDRESS:PORT\n"
	  "a.conf:1: `baud` is a string, expected an integer from 80 to 5000000\n"
	  "a.conf:1: `wifi` is an integer, expected a group: { ... }\n"
	  "a.conf:1: `time` is an integer, expected \"host\" or \"sntp\"\n" },
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; baud = 79; time = \"ntp\"; wifi = {}; } "
	  ");",
	  "a.conf:1: `baud` is 79, expected an integer from 80 to 5000000\n"
	  "a.conf:1: no `ssid` in wifi, expected a string\n"
	  "a.conf:1: `time` is \"ntp\", expected \"host\" or \"sntp\"\n" },
	{ DEVICE
	  "tunnels = ( { name = \"t\"; host = \"h\"; port = 1; insecure = true; reserve = 3; },\n"
	  "{ name = \"u\"; device = \"any\"; host = \"h\"; port = 1; insecure = true; reserve = 3; "
	  "} );",
	  "a.conf:3: tunnels reserve 6 links of device `esp0`, expected at most 5: it has 5\n" },
	{ DEV("max_links = 3;") "tunnels = ( { name = \"t\"; host = \"h\"; port = 1; insecure = "
				"true; reserve = 3; },\n"
				"{ name = \"u\"; device = \"any\"; host = \"h\"; port = 1; "
				"insecure = true; } );",
	  "a.conf:3: tunnels reserve 3 links of device `a`, expected at most 2: it has 3, and "
	  "others "
	  "need one\n" },
	{ "devices = ( { name = \"any\"; port = \"/dev/x\"; max_baud = 9600;\nmax_links = 6; "
	  "flow_control = \"x\"; reset = \"rts\"; receive = true; } );",
	  "a.conf:2: `flow_control` is \"x\", expected \"auto\", \"rtscts\" or \"none\"\n"
	  "a.conf:2: `reset` is \"rts\", expected \"none\" or \"dtr-rts\"\n"
	  "a.conf:2: `receive` is true or false, expected \"auto\", \"active\" or \"passive\"\n"
	  "a.conf:2: `max_links` is 6, expected an integer from 1 to 5\n"
	  "a.conf:1: `name` is \"any\", expected another one: it stands for all devices\n"
	  "a.conf:1: `max_baud` is 9600, expected at least `baud`, 115200\n" },
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; baud = 115200.0; } );",
	  "a.conf:1: `baud` is a number with a fraction, expected an integer from 80 to "
	  "5000000\n" },
	/* 2^32 + 115200 */
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; baud = 4295082496; } );",
	  "a.conf:1: the number 4295082496 is too large, expected at most 2147483647\n" },
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; baud = 4295082496L; } );",
	  "a.conf:1: `baud` is 4295082496, expected an integer from 80 to 5000000\n" },
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; },\n{ name = \"a\"; port = \"/dev/x\"; } "
	  ");",
	  "a.conf:2: port /dev/x is already the one of device `a`, expected another port\n"
	  "a.conf:2: second device with the name `a`, the first is in line 1, expected a name of "
	  "its "
	  "own\n" },
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; wifi = { ssid = \"\"; } } );",
	  "a.conf:1: `ssid` is \"\", expected 1 to 32 bytes without control characters\n" },
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; wifi = { ssid = \"a\\nb\"; } } );",
	  "a.conf:1: `ssid` is \"a?b\", expected 1 to 32 bytes without control characters\n" },
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; wifi = { ssid = \"a\\tb\"; } } );",
	  "a.conf:1: `ssid` is \"a?b\", expected 1 to 32 bytes without control characters\n" },
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; wifi = { ssid = "
	  "\"123456789012345678901234567890123\"; password_file = \"\"; } } );",
	  "a.conf:1: `ssid` is \"123456789012345678901234567890123\", expected 1 to 32 bytes "
	  "without control characters\n"
	  "a.conf:1: `password_file` is \"\", expected a path\n" },
	/* authorities and identities */
	{ DEVICE "authorities = ( { name = \"a\"; file = \"f\"; slot = 10; }, { name = \"b\"; slot "
		 "= -1; } );",
	  "a.conf:2: `slot` is 10, expected an integer from 0 to 9\n"
	  "a.conf:2: `slot` is -1, expected an integer from 0 to 9\n" },
	{ DEVICE "authorities = ( { name = \"a\"; file = \"f\"; slot = 1; },\n"
		 "{ name = \"b\"; file = \"g\"; slot = 1; } );\n"
		 "identities = ( { name = \"a\"; cert = \"f\"; key = \"g\"; slot = 1; } );\n"
		 "tunnels = ( { name = \"t\"; host = \"h\"; port = 1; authority = \"a\"; identity "
		 "= \"a\"; },\n"
		 "{ name = \"u\"; host = \"h\"; port = 1; authority = \"b\"; } );",
	  "a.conf:3: slot 1 of device `esp0` is already the one of authority `a`, expected another "
	  "slot "
	  "for `b`\n" },
	/* tunnels */
	{ DEVICE TUNNEL("insecure = 1;"),
	  "a.conf:2: `insecure` is an integer, expected true or false\n"
	  "a.conf:2: no `authority` in tunnel `t`, expected the name of one (or `psk`, or "
	  "`insecure = true`, which lets any server pass)\n" },
	{ DEVICE TUNNEL(""),
	  "a.conf:2: no `authority` in tunnel `t`, expected the name of one (or `psk`, or "
	  "`insecure = true`, which lets any server pass)\n" },
	{ DEVICE "authorities = ( { name = \"a\"; file = \"f\"; } );\n" TUNNEL(
		  "insecure = true; authority = \"a\";"),
	  "a.conf:3: tunnel `t` has an `authority` and `insecure = true`, expected only one of "
	  "them\n" },
	{ DEVICE TUNNEL("authority = \"a\"; identity = 5; device = \"x\";"),
	  "a.conf:2: no device has the name `x`, expected one of: esp0\n"
	  "a.conf:2: no authority has the name `a`, expected one of `authorities`, which is empty\n"
	  "a.conf:2: `identity` is an integer, expected the name of an identity as a string\n" },
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; }, { name = \"b\"; port = \"/dev/y\"; } "
	  ");\n" TUNNEL("insecure = true;"),
	  "a.conf:2: no `device` in tunnel `t`, expected the name of one of the 2 devices\n" },
	{ DEVICE "tunnels = ( { name = \"..\"; host = \"a b\"; port = 65536; insecure = true; } );",
	  "a.conf:2: `name` is \"..\", expected 1 to 48 characters of A-Z a-z 0-9 _ . -, the first "
	  "no . "
	  "or -\n"
	  "a.conf:2: `host` is \"a b\", expected a host name or an IP address\n"
	  "a.conf:2: `port` is 65536, expected an integer from 1 to 65535\n" },
	{ DEVICE TUNNEL(
		  "insecure = true; connect_timeout = 0; wait_timeout = 0; max_waiting = 1025; "
		  "half_close_timeout = 86401; server_name = \"a\\\"b\";"),
	  "a.conf:2: `server_name` is \"a\"b\", expected a host name or an IP address\n"
	  "a.conf:2: `connect_timeout` is 0, expected an integer from 1 to 60\n"
	  "a.conf:2: `wait_timeout` is 0, expected an integer from 1 to 3600\n"
	  "a.conf:2: `half_close_timeout` is 86401, expected an integer from 0 to 86400\n"
	  "a.conf:2: `max_waiting` is 1025, expected an integer from 0 to 1024\n" },
	{ DEVICE TUNNEL(
		  "insecure = true; server_name = \"a1234567890123456789012345678901234567890."
		  "b123456789012345678901\";"),
	  "" },
	{ DEVICE TUNNEL(
		  "insecure = true; server_name = \"a1234567890123456789012345678901234567890."
		  "b1234567890123456789012\";"),
	  "a.conf:2: `server_name` is \"a1234567890123456789012345678901234567890."
	  "b1234567890123456789012\", expected a name of at most 64 bytes, as the chip takes no "
	  "longer "
	  "one\n" },
	{ DEVICE "tunnels = ( { name = \"t\"; port = 1; insecure = true;\nhost = "
		 "\"a1234567890123456789012345678901234567890.b12345678901234567890123\"; } );",
	  "a.conf:3: `host` has 66 bytes and is the name to check, as there is no `server_name`, "
	  "expected "
	  "a `server_name` of at most 64 bytes\n" },
	{ DEVICE
	  "tunnels = ( { name = \"t\"; port = 1; insecure = true; server_name = \"s\";\nhost = "
	  "\"a1234567890123456789012345678901234567890.b12345678901234567890123\"; } );",
	  "" },
	{ DEVICE "tunnels = ( { name = \"t\"; host = \"h\"; port = 1; insecure = true; },\n"
		 "{ name = \"t\"; host = \"h\"; port = 1; insecure = true; } );",
	  "a.conf:3: second tunnel with the name `t`, the first is in line 2, expected a name of "
	  "its "
	  "own\n" },
	{ "runtime_dir = \"/run/123456789012345678901234567890123456789012345678901234567890"
	  "12345678901234567890123456789012345\";\n" DEVICE TUNNEL("insecure = true;"),
	  "" },
	{ "runtime_dir = \"/run/123456789012345678901234567890123456789012345678901234567890"
	  "123456789012345678901234567890123456\";\n" DEVICE TUNNEL("insecure = true;"),
	  "a.conf:3: the socket's path "
	  "/run/123456789012345678901234567890123456789012345678901234567890"
	  "123456789012345678901234567890123456/t.sock has 108 bytes, expected at most 107: a "
	  "shorter "
	  "`runtime_dir` or name\n" },
	/* which chip */
	{ DEV("mac = 5; adopt = true;"),
	  "a.conf:2: `mac` is an integer, expected a string\n"
	  "a.conf:2: `adopt` is true or false, expected \"first\" or \"any\"\n"
	  "a.conf:2: `adopt` together with `mac`, expected only one of them\n" },
	{ DEV("adopt = \"last\";"),
	  "a.conf:2: `adopt` is \"last\", expected \"first\" or \"any\"\n" },
	{ DEV("mac = \"24:0a:c4:12:34\";"),
	  "a.conf:2: `mac` is \"24:0a:c4:12:34\", expected a MAC address, as 24:0a:c4:12:34:56\n" },
	{ DEV("mac = \"25:0a:c4:12:34:56\";"), "a.conf:2: `mac` is \"25:0a:c4:12:34:56\", expected "
					       "the MAC address of one station, and not "
					       "of a group\n" },
	{ DEV("mac = \"24:0a:c4:12:34:56\";\nadopt = \"first\";"),
	  "a.conf:3: `adopt` together with `mac`, expected only one of them\n" },
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; mac = \"24:0A:c4:12:34:56\"; },\n"
	  "{ name = \"b\"; port = \"/dev/y\"; mac = \"24:0a:C4:12:34:56\"; } );",
	  "a.conf:2: mac 24:0a:c4:12:34:56 is already the one of device `a`, expected another "
	  "chip's\n" },
	/* time */
	{ DEV("require_synchronized = 1; ntp_servers = 5;"),
	  "a.conf:2: `require_synchronized` is an integer, expected true or false\n"
	  "a.conf:2: `ntp_servers` is an integer, expected an array of up to 3 strings: [ \"...\" "
	  "]\n"
	  "a.conf:2: `ntp_servers` without `time = \"sntp\"`, expected both or neither\n" },
	{ DEV("time = \"host\";\nntp_servers = [ \"h\" ];"),
	  "a.conf:3: `ntp_servers` without `time = \"sntp\"`, expected both or neither\n" },
	/* What `time` should have been is not known. */
	{ DEV("time = \"ntp\"; ntp_servers = [ \"h\" ]; require_synchronized = true;"),
	  "a.conf:2: `time` is \"ntp\", expected \"host\" or \"sntp\"\n" },
	{ DEV("time = 1; ntp_servers = [ \"h\" ];"),
	  "a.conf:2: `time` is an integer, expected \"host\" or \"sntp\"\n" },
	{ DEV("time = \"sntp\";"),
	  "a.conf:1: no `ntp_servers` in device `a`, expected 1 to 3 names or addresses with "
	  "`time = \"sntp\"`\n" },
	{ DEV("time = \"sntp\";\nntp_servers = [ ];"),
	  "a.conf:3: `ntp_servers` is empty, expected 1 to 3 names or addresses\n" },
	{ DEV("time = \"sntp\";\nntp_servers = \"h\";"),
	  "a.conf:3: `ntp_servers` is a string, expected an array of up to 3 strings: [ \"...\" "
	  "]\n" },
	{ DEV("time = \"sntp\";\nntp_servers = [ \"a\", \"b\", \"c\", \"d\" ];"),
	  "a.conf:3: `ntp_servers` has 4 entries, expected at most 3\n" },
	{ DEV("time = \"sntp\"; ntp_servers = (\n\"a\",\n5,\n\"b c\" );"),
	  "a.conf:4: entry 2 of `ntp_servers` is an integer, expected a string\n"
	  "a.conf:5: entry 3 of `ntp_servers` is \"b c\", expected a host name or an IP "
	  "address\n" },
	{ DEV("time = \"sntp\"; ntp_servers = [ \"a\" ];\nrequire_synchronized = false;"),
	  "a.conf:3: `require_synchronized` together with `time = \"sntp\"`, expected only one of "
	  "them\n" },
#define LABEL60 TEN TEN TEN TEN TEN "abcdefghij"
	/* 3 + 180 + 2 dots, and 3 + 49: what a command has place for, and one byte more */
	{ DEV("time = \"sntp\"; ntp_servers = [ \"" LABEL60 "." LABEL60 "." LABEL60
	      "\",\n\"" TEN TEN TEN TEN "abcdefghi\" ];"),
	  "" },
	{ DEV("time = \"sntp\"; ntp_servers = [ \"" LABEL60 "." LABEL60 "." LABEL60
	      "\",\n\"" TEN TEN TEN TEN "abcdefghij\" ];"),
	  "a.conf:2: `ntp_servers` takes 238 bytes in a command, 3 for each name and its own, "
	  "expected at "
	  "most 237\n" },
	/* Wi-Fi */
	{ WIFI("foo = 1;"), "a.conf:3: unknown key `foo` in wifi, expected one of: ssid, "
			    "password_file, bssid, hidden, country, "
			    "hostname, address, netmask, gateway, dns, enterprise\n" },
	{ WIFI("bssid = 1;\nhidden = \"no\";\ncountry = 49;\nhostname = true;\naddress = "
	       "1;\nnetmask = 1;\n"
	       "gateway = 1;\ndns = \"192.0.2.1\";\nenterprise = \"x\";"),
	  "a.conf:3: `bssid` is an integer, expected a string\n"
	  "a.conf:4: `hidden` is a string, expected true or false\n"
	  "a.conf:5: `country` is an integer, expected a string\n"
	  "a.conf:6: `hostname` is true or false, expected a string\n"
	  "a.conf:7: `address` is an integer, expected a string\n"
	  "a.conf:8: `netmask` is an integer, expected a string\n"
	  "a.conf:9: `gateway` is an integer, expected a string\n"
	  "a.conf:10: `dns` is a string, expected an array of up to 3 strings: [ \"...\" ]\n"
	  "a.conf:11: `enterprise` is a string, expected a group: { ... }\n" },
	{ WIFI("bssid = \"24:0a:c4:12:34:5g\"; country = \"de\"; hostname = \"a_b\";"),
	  "a.conf:3: `bssid` is \"24:0a:c4:12:34:5g\", expected a MAC address, as "
	  "24:0a:c4:12:34:56\n"
	  "a.conf:3: `country` is \"de\", expected a country code of two capital letters, as DE\n"
	  "a.conf:3: `hostname` is \"a_b\", expected 1 to 32 characters of A-Z a-z 0-9 -, the "
	  "first and the "
	  "last no -\n" },
	{ WIFI("address = \"192.0.2.7\";"), "a.conf:2: no `netmask` in wifi, expected all of "
					    "`address`, `netmask` and `gateway`, or none of "
					    "them for DHCP\n" },
	{ WIFI("address = \"192.0.2.7\"; netmask = \"255.255.255.0\";"),
	  "a.conf:2: no `gateway` in wifi, expected all of `address`, `netmask` and `gateway`, or "
	  "none of "
	  "them for DHCP\n" },
	{ WIFI("netmask = \"255.255.255.0\"; gateway = \"192.0.2.1\";"),
	  "a.conf:2: no `address` in wifi, expected all of `address`, `netmask` and `gateway`, or "
	  "none of "
	  "them for DHCP\n" },
	/* One mistake, one complaint. */
	{ WIFI("address = \"192.0.2\"; netmask = \"255.255.255.0\"; gateway = \"192.0.2.1\";"),
	  "a.conf:3: `address` is \"192.0.2\", expected an IPv4 address, as 192.0.2.7\n" },
	{ WIFI("address = \"192.0.2.7\"; netmask = \"24\"; gateway = \"192.0.2.1\";"),
	  "a.conf:3: `netmask` is \"24\", expected an IPv4 address, as 192.0.2.7\n" },
	{ WIFI("address = \"192.0.2.7\"; netmask = \"255.255.255.0\"; gateway = 1;"),
	  "a.conf:3: `gateway` is an integer, expected a string\n" },
	{ WIFI("address = \"192.0.2.7\"; gateway = \"192.0.2.1\";\nnetmask = \"255.0.255.0\";"),
	  "a.conf:4: `netmask` is \"255.0.255.0\", expected ones and then zeros, as "
	  "255.255.255.0\n" },
	{ WIFI("address = \"192.0.2.7\"; gateway = \"192.0.2.1\";\nnetmask = \"0.0.0.0\";"),
	  "a.conf:4: `netmask` is \"0.0.0.0\", expected ones and then zeros, as 255.255.255.0\n" },
	{ WIFI("address = \"192.0.2.7\"; gateway = \"192.0.2.1\";\nnetmask = \"255.255.255.255\";"),
	  "a.conf:4: `netmask` is \"255.255.255.255\", expected ones and then zeros, as "
	  "255.255.255.0\n" },
	{ WIFI("address = \"192.0.2.7\"; netmask = \"255.255.255.248\";\ngateway = \"192.0.2.9\";"),
	  "a.conf:4: `gateway` is \"192.0.2.9\", expected another address of the network of "
	  "192.0.2.7 with "
	  "the netmask 255.255.255.248\n" },
	{ WIFI("address = \"192.0.2.7\"; netmask = \"255.255.255.0\";\ngateway = \"192.0.2.7\";"),
	  "a.conf:4: `gateway` is \"192.0.2.7\", expected another address of the network of "
	  "192.0.2.7 with "
	  "the netmask 255.255.255.0\n" },
	{ WIFI("address = \"192.0.2.7\"; netmask = \"255.255.255.240\"; gateway = \"192.0.2.9\";"),
	  "" },
	{ WIFI("dns = [ \"192.0.2.1\", \"192.0.2.2\", \"192.0.2.3\", \"192.0.2.4\" ];"),
	  "a.conf:3: `dns` has 4 entries, expected at most 3\n" },
	{ WIFI("dns = [ \"192.0.2.1\",\n\"::1\" ];"),
	  "a.conf:4: entry 2 of `dns` is \"::1\", expected an IPv4 address, as 192.0.2.7\n" },
	{ WIFI("dns = [ ];"), "" },
	/* enterprise */
	{ EAP(""),
	  "a.conf:4: no `identity` in enterprise, expected a string\n"
	  "a.conf:4: no `credential` in enterprise, expected the name of an identity as a string\n"
	  "a.conf:4: no `authority` in enterprise, expected the name of the one that the network's "
	  "server "
	  "is verified with (or `insecure = true`)\n" },
	{ EAP("identity = 1; credential = 2; authority = 3; insecure = 4; bar = 5;"),
	  "a.conf:5: unknown key `bar` in enterprise, expected one of: identity, credential, "
	  "authority, "
	  "insecure\n"
	  "a.conf:5: `identity` is an integer, expected a string\n"
	  "a.conf:5: `credential` is an integer, expected the name of an identity as a string\n"
	  "a.conf:5: `authority` is an integer, expected the name of an authority as a string\n"
	  "a.conf:5: `insecure` is an integer, expected true or false\n" },
	{ EAP("identity = \"\"; credential = \"x\"; authority = \"y\";"),
	  "a.conf:5: `identity` is \"\", expected 1 to 32 bytes without line ends\n"
	  "a.conf:5: no identity has the name `x`, expected one of: id\n"
	  "a.conf:5: no authority has the name `y`, expected one of: ca\n" },
	{ EAP("identity = \"i\"; credential = \"id\"; insecure = true;\nauthority = \"ca\";"),
	  "a.conf:6: `authority` together with `insecure = true`, expected only one of them\n" },
	{ EAP("identity = \"i\"; credential = \"id\"; insecure = true;"), "" },
	{ EAP("identity = \"i\"; credential = \"id\"; authority = \"ca\"; }; password_file = "
	      "\"p\"; x = {"),
	  "a.conf:5: unknown key `x` in wifi, expected one of: ssid, password_file, bssid, hidden, "
	  "country, "
	  "hostname, address, netmask, gateway, dns, enterprise\n"
	  "a.conf:5: `password_file` together with `enterprise`, expected only one of them\n" },
	/* NVS entries */
	{ DEVICE "nvs = 5; extra_namespaces = { };",
	  "a.conf:2: `extra_namespaces` is a group { ... }, expected an array of up to 16 strings: "
	  "[ \"...\" ]\n"
	  "a.conf:2: `nvs` is an integer, expected a list of groups: ( { ... }, { ... } )\n" },
	{ DEVICE "nvs = ( [ ] );",
	  "a.conf:2: entry 1 of `nvs` is an array [ ... ], expected a group: { ... }\n" },
	{ NVS("foo = 1;"), "a.conf:3: unknown key `foo` in nvs entry, expected one of: device, "
			   "namespace, slot, kind, file\n"
			   "a.conf:2: no `namespace` in nvs entry, expected a string\n"
			   "a.conf:2: no `file` in nvs entry, expected a path as a string\n" },
	{ NVS("device = 1; namespace = 2; slot = \"3\"; kind = 4; file = 5;"),
	  "a.conf:3: `device` is an integer, expected the name of a device as a string\n"
	  "a.conf:3: `namespace` is an integer, expected a string\n"
	  "a.conf:3: `slot` is a string, expected an integer from 0 to 9\n"
	  "a.conf:3: `kind` is an integer, expected \"ca\", \"cert\", \"key\" or \"raw\"\n"
	  "a.conf:3: `file` is an integer, expected a path as a string\n" },
	{ NVS("device = \"x\"; namespace = \"mqtt_ca\"; slot = 10; kind = \"pem\"; file = \"\";"),
	  "a.conf:3: no device has the name `x`, expected one of: esp0\n"
	  "a.conf:3: `slot` is 10, expected an integer from 0 to 9\n"
	  "a.conf:3: `kind` is \"pem\", expected \"ca\", \"cert\", \"key\" or \"raw\"\n"
	  "a.conf:3: `file` is \"\", expected a path\n" },
	{ NVS("namespace = \"mqtt_ca\"; slot = -1; file = \"f\";"),
	  "a.conf:3: `slot` is -1, expected an integer from 0 to 9\n" },
	{ NVS("file = \"f\"; kind = \"raw\";\nnamespace = \"mqtt_x\";"),
	  "a.conf:4: `namespace` is \"mqtt_x\", " NAMESPACE_EXPECTED },
	{ NVS("file = \"f\"; kind = \"raw\"; namespace = \"a,b\";"),
	  "a.conf:3: `namespace` is \"a,b\", expected the name of an NVS namespace: 1 to 15 "
	  "characters of "
	  "A-Z a-z 0-9 _ -\n" },
	{ NVS("file = \"f\"; kind = \"raw\"; namespace = \"factory_param\";"),
	  "a.conf:3: `namespace` is \"factory_param\", expected a namespace of certificates, never "
	  "factory_param or ble_data\n" },
	{ NVS("file = \"f\"; kind = \"raw\"; namespace = \"ble_data\";"),
	  "a.conf:3: `namespace` is \"ble_data\", expected a namespace of certificates, never "
	  "factory_param "
	  "or ble_data\n" },
	{ NVS("file = \"f\"; kind = \"raw\"; namespace = \"espatd\";"),
	  "a.conf:3: `namespace` is \"espatd\", expected another namespace than espatd, in which "
	  "espatd "
	  "keeps its record\n" },
	{ DEVICE "extra_namespaces = [ \"espatd\",\n\"ble_data\",\n\"factory_param\",\n\"\" ];",
	  "a.conf:2: entry 1 of `extra_namespaces` is \"espatd\", expected another namespace than "
	  "espatd, in "
	  "which espatd keeps its record\n"
	  "a.conf:3: entry 2 of `extra_namespaces` is \"ble_data\", expected a namespace of "
	  "certificates, "
	  "never factory_param or ble_data\n"
	  "a.conf:4: entry 3 of `extra_namespaces` is \"factory_param\", expected a namespace of "
	  "certificates, never factory_param or ble_data\n"
	  "a.conf:5: entry 4 of `extra_namespaces` is \"\", expected the name of an NVS namespace: "
	  "1 to 15 "
	  "characters of A-Z a-z 0-9 _ -\n" },
	/* 13 characters and a slot are 15 bytes. */
	{ "extra_namespaces = [ \"abcdefghi_cert\" ];\n" NVS(
		  "file = \"f\"; slot = 0;\nnamespace = \"abcdefghi_cert\";"),
	  "a.conf:5: the key abcdefghi_cert.0 has 16 bytes, expected at most 15, as the chip takes "
	  "no longer "
	  "one\n" },
	{ "extra_namespaces = [ \"abcdefgh_cert\" ];\n" NVS(
		  "file = \"f\"; slot = 0; namespace = \"abcdefgh_cert\";"),
	  "" },
	{ "extra_namespaces = [ \"abcdefghij_cert\" ];\n" NVS(
		  "file = \"f\"; namespace = \"abcdefghij_cert\";"),
	  "" },
	{ "extra_namespaces = [ \"abcdefghijk_cert\" ];\n" DEVICE,
	  "a.conf:1: entry 1 of `extra_namespaces` is \"abcdefghijk_cert\", expected the name of "
	  "an NVS "
	  "namespace: 1 to 15 characters of A-Z a-z 0-9 _ -\n" },
	{ "extra_namespaces = [ \"mine\" ];\n" NVS("file = \"f\"; namespace = \"mine\";"),
	  "a.conf:3: no `kind` in nvs entry, expected \"ca\", \"cert\", \"key\" or \"raw\", as the "
	  "namespace's name does not say it\n" },
	{ "extra_namespaces = [ \"mine\" ];\n" NVS(
		  "file = \"f\"; namespace = \"mine\"; kind = \"raw\";"),
	  "" },
	/* one key, one value */
	{ NVS("namespace = \"mqtt_ca\"; file = \"f\"; },\n{ namespace = \"mqtt_ca\"; file = \"g\"; "
	      "},\n"
	      "{ namespace = \"mqtt_ca\"; file = \"h\"; },\n"
	      "{ namespace = \"mqtt_ca\"; file = \"h\"; slot = 0;"),
	  "a.conf:4: second nvs entry for the key mqtt_ca of all devices, the first is in line 2, "
	  "expected "
	  "one\n"
	  "a.conf:5: second nvs entry for the key mqtt_ca of all devices, the first is in line 2, "
	  "expected "
	  "one\n" },
#define TWO                                                                                        \
	"devices = ( { name = \"a\"; port = \"/dev/x\"; }, { name = \"b\"; port = \"/dev/y\"; } "  \
	");\n"
	{ TWO "nvs = ( { namespace = \"wss_key\"; slot = 9; file = \"f\"; },\n"
	      "{ device = \"b\"; namespace = \"wss_key\"; slot = 9; file = \"f\"; } );",
	  "a.conf:3: second nvs entry for the key wss_key.9 of device `b`, the first is in line 2, "
	  "expected "
	  "one\n" },
	{ TWO "nvs = ( { device = \"a\"; namespace = \"wss_key\"; slot = 9; file = \"f\"; },\n"
	      "{ namespace = \"wss_key\"; slot = 9; file = \"f\"; } );",
	  "a.conf:3: second nvs entry for the key wss_key.9 of device `a`, the first is in line 2, "
	  "expected "
	  "one\n" },
	{ TWO "nvs = ( { device = \"a\"; namespace = \"wss_key\"; slot = 9; file = \"f\"; },\n"
	      "{ device = \"b\"; namespace = \"wss_key\"; slot = 9; file = \"f\"; } );",
	  "" },
	/* the slots of tunnels */
	{ DEVICE "authorities = ( { name = \"ca\"; file = \"f\"; slot = 3; } );\n" TUNNEL(
		  "authority = \"ca\";") "nvs = ( { namespace = \"client_ca\"; slot = 3; file = "
					 "\"f\"; } );",
	  "a.conf:2: slot 3 of device `esp0` is already the one of an nvs entry for client_ca.3, "
	  "expected "
	  "another slot for `ca`\n" },
	{ DEVICE
	  "identities = ( { name = \"id\"; cert = \"c\"; key = \"k\"; slot = 3; } );\n" TUNNEL(
		  "insecure = true; identity = \"id\";") "nvs = ( { namespace = \"client_key\"; "
							 "slot = 3; file = \"f\"; } );",
	  "a.conf:2: slot 3 of device `esp0` is already the one of an nvs entry for client_key.3, "
	  "expected "
	  "another slot for `id`\n" },
	/* without a suffix it is no slot; of another chip, or without a tunnel, it is not in the way */
	{ TWO "authorities = ( { name = \"ca\"; file = \"f\"; slot = 3; } );\n"
	      "tunnels = ( { name = \"t\"; host = \"h\"; port = 1; device = \"a\"; authority = "
	      "\"ca\"; } );\n"
	      "nvs = ( { device = \"b\"; namespace = \"client_ca\"; slot = 3; file = \"f\"; },\n"
	      "{ device = \"a\"; namespace = \"client_ca\"; file = \"f\"; },\n"
	      "{ device = \"a\"; namespace = \"server_ca\"; slot = 3; file = \"f\"; } );",
	  "" },
	/* enterprise writes there */
	{ EAP("identity = \"i\"; credential = \"id\"; authority = \"ca\";") "nvs = ( { namespace = "
									    "\"wpa2_ca\"; file = "
									    "\"f\"; },\n"
									    "{ namespace = "
									    "\"wpa_ent_key\"; file "
									    "= \"f\"; },\n"
									    "{ namespace = "
									    "\"wss_ca\"; file = "
									    "\"f\"; } );",
	  "a.conf:6: an nvs entry for wpa2_ca on device `a`, which has `enterprise`, expected only "
	  "one of "
	  "them\n"
	  "a.conf:7: an nvs entry for wpa_ent_key on device `a`, which has `enterprise`, expected "
	  "only one of "
	  "them\n" },
	{ WIFI("") "nvs = ( { namespace = \"wpa2_ca\"; file = \"f\"; } );", "" },
	/* PSK */
	{ DEVICE TUNNEL("psk = 5;"), "a.conf:2: `psk` is an integer, expected a group: { ... }\n" },
	{ PSK("foo = 1;"),
	  "a.conf:3: unknown key `foo` in psk, expected one of: identity, file, hex\n"
	  "a.conf:2: no `identity` in psk, expected a string\n"
	  "a.conf:2: no `file` in psk, expected a path as a string\n" },
	{ PSK("identity = 1; file = 2; hex = 3;"),
	  "a.conf:3: `identity` is an integer, expected a string\n"
	  "a.conf:3: `file` is an integer, expected a path as a string\n"
	  "a.conf:3: `hex` is an integer, expected true or false\n" },
	{ PSK("identity = \"\"; file = \"\";"),
	  "a.conf:3: `identity` is \"\", expected 1 to 32 bytes without line ends\n"
	  "a.conf:3: `file` is \"\", expected a path\n" },
	{ MATERIAL PSK(
		  "identity = \"i\"; file = \"f\"; };\nauthority = \"ca\";\nidentity = \"id\";\n"
		  "insecure = true; x = {"),
	  "a.conf:7: unknown key `x` in tunnel `t`, expected one of: name, device, host, port, "
	  "address_family, server_name, authority, identity, insecure, psk, alpn, ciphers, "
	  "keep_alive, "
	  "connect_timeout, wait_timeout, half_close_timeout, idle_timeout, "
	  "max_waiting, max_clients, reserve, diagnose, mode, "
	  "acl_users, acl_groups, allow_uids, allow_gids\n"
	  "a.conf:5: `authority` together with `psk`, expected only one of them\n"
	  "a.conf:6: `identity` together with `psk`, expected only one of them\n"
	  "a.conf:7: `insecure` together with `psk`, expected only one of them\n" },
	/* ALPN */
	{ DEVICE TUNNEL("insecure = true; alpn = \"mqtt\";"),
	  "a.conf:2: `alpn` is a string, expected an array of up to 5 strings: [ \"...\" ]\n" },
	{ DEVICE TUNNEL("insecure = true; alpn = [ \"a\", \"b\", \"c\", \"d\", \"e\", \"f\" ];"),
	  "a.conf:2: `alpn` has 6 entries, expected at most 5\n" },
	{ DEVICE TUNNEL("insecure = true; alpn = [ \"a\",\n\"\" ];"),
	  "a.conf:3: entry 2 of `alpn` is \"\", expected 1 to 64 bytes without line ends, as "
	  "mqtt\n" },
	{ DEVICE TUNNEL("insecure = true; alpn = [ 1, 2 ];"),
	  "a.conf:2: entry 1 of `alpn` is an integer, expected a string\n"
	  "a.conf:2: entry 2 of `alpn` is an integer, expected a string\n" },
#define ALPN64 TEN TEN TEN TEN TEN TEN "abcd"
#define ALPN192 "\"" ALPN64 "\", \"" ALPN64 "\", \"" ALPN64 "\""
	/* 3 * 67 + 35 = 236; a comma counts twice */
	{ DEVICE TUNNEL("insecure = true; alpn = [ " ALPN192 ", \"" TEN TEN TEN "ab\" ];"), "" },
	{ DEVICE TUNNEL("insecure = true;\nalpn = [ " ALPN192 ", \"" TEN TEN TEN "a,\" ];"),
	  "a.conf:3: `alpn` takes 237 bytes in a command, 3 for each name and its own, expected at "
	  "most "
	  "236\n" },
	/* ciphers */
	{ DEVICE TUNNEL("insecure = true; ciphers = 0xC02B;"),
	  "a.conf:2: `ciphers` is an integer, expected an array of TLS 1.2 cipher suites: "
	  "[ 0xC02B, 0xC02F ]\n" },
	{ DEVICE TUNNEL("insecure = true; ciphers = { };"),
	  "a.conf:2: `ciphers` is a group { ... }, expected an array of TLS 1.2 cipher suites: "
	  "[ 0xC02B, 0xC02F ]\n" },
#define EIGHT "1, 2, 3, 4, 5, 6, 7, 8"
	{ DEVICE TUNNEL("insecure = true; ciphers = [ " EIGHT ", " EIGHT " ];"), "" },
	{ DEVICE TUNNEL("insecure = true; ciphers = [ " EIGHT ", " EIGHT ", 9 ];"),
	  "a.conf:2: `ciphers` has 17 entries, expected at most 16\n" },
	{ DEVICE TUNNEL("insecure = true; ciphers = (\n0,\n65536,\n0x10000,\n-1,\n4295016491L,\n"
			"\"TLS_AES_128_GCM_SHA256\",\ntrue,\n1.5,\n[ 1 ],\n65535, 0xFFFFFFFF );"),
	  "a.conf:3: entry 1 of `ciphers` is 0, " CIPHER_EXPECTED
	  "a.conf:4: entry 2 of `ciphers` is 65536, " CIPHER_EXPECTED
	  "a.conf:5: entry 3 of `ciphers` is 0x10000, " CIPHER_EXPECTED
	  "a.conf:6: entry 4 of `ciphers` is -1, " CIPHER_EXPECTED
	  "a.conf:7: entry 5 of `ciphers` is 4295016491, " CIPHER_EXPECTED
	  "a.conf:8: entry 6 of `ciphers` is \"TLS_AES_128_GCM_SHA256\", " CIPHER_EXPECTED
	  "a.conf:9: entry 7 of `ciphers` is true or false, " CIPHER_EXPECTED
	  "a.conf:10: entry 8 of `ciphers` is a number with a fraction, " CIPHER_EXPECTED
	  "a.conf:11: entry 9 of `ciphers` is an array [ ... ], " CIPHER_EXPECTED
	  "a.conf:12: entry 11 of `ciphers` is 0xFFFFFFFF, " CIPHER_EXPECTED },
	/* other new keys of tunnels */
	{ DEVICE TUNNEL(
		  "insecure = true; keep_alive = 7201; address_family = \"v4\"; diagnose = 1;"),
	  "a.conf:2: `address_family` is \"v4\", expected \"auto\", \"ipv4\" or \"ipv6\"\n"
	  "a.conf:2: `keep_alive` is 7201, expected an integer from 0 to 7200\n"
	  "a.conf:2: `diagnose` is an integer, expected true or false\n" },
	{ DEVICE TUNNEL(
		  "insecure = true; keep_alive = -1; address_family = 4; diagnose = \"yes\";"),
	  "a.conf:2: `address_family` is an integer, expected \"auto\", \"ipv4\" or \"ipv6\"\n"
	  "a.conf:2: `keep_alive` is -1, expected an integer from 0 to 7200\n"
	  "a.conf:2: `diagnose` is a string, expected true or false\n" },
	{ DEVICE TUNNEL("insecure = true; keep_alive = 1.5;"),
	  "a.conf:2: `keep_alive` is a number with a fraction, expected an integer from 0 to "
	  "7200\n" },
#define AT_HOST(host, family)                                                                      \
	DEVICE "tunnels = ( { name = \"t\"; port = 1; insecure = true; host = \"" host "\";\n"     \
	       "address_family = \"" family "\"; } );"
	{ AT_HOST("::1", "ipv4"), "a.conf:3: `address_family` is \"ipv4\" and `host` is an IPv6 "
				  "address, expected \"auto\" or "
				  "\"ipv6\"\n" },
	{ AT_HOST("192.0.2.1", "ipv6"), "a.conf:3: `address_family` is \"ipv6\" and `host` is an "
					"IPv4 address, expected \"auto\" or "
					"\"ipv4\"\n" },
	{ AT_HOST("a:b", "ipv4"),
	  "a.conf:2: `host` is \"a:b\", expected a host name or an IP address\n" },
	{ AT_HOST("192.0.2.1", "ipv4"), "" },
	{ AT_HOST("::1", "ipv6"), "" },
	{ AT_HOST("h", "ipv6"), "" },
	/* whose socket it is */
	{ DEVICE TUNNEL("insecure = true; owner = \"mosquitto\";\ngroup = 5;\nsocket_user = 1;\n"
			"socket_group = { };\nowners = 1;"),
	  "a.conf:2: `owner` of a socket is not for espatd to give, expected SocketUser= and "
	  "SocketGroup= in a systemd socket unit, espat-t.socket (or `acl_users` and `acl_groups` "
	  "here)\n"
	  "a.conf:3: `group` of a socket is not for espatd to give, expected SocketUser= and "
	  "SocketGroup= in a systemd socket unit, espat-t.socket (or `acl_users` and `acl_groups` "
	  "here)\n"
	  "a.conf:4: `socket_user` of a socket is not for espatd to give, expected SocketUser= and "
	  "SocketGroup= in a systemd socket unit, espat-t.socket (or `acl_users` and `acl_groups` "
	  "here)\n"
	  "a.conf:5: `socket_group` of a socket is not for espatd to give, expected SocketUser= "
	  "and "
	  "SocketGroup= in a systemd socket unit, espat-t.socket (or `acl_users` and `acl_groups` "
	  "here)\n"
	  "a.conf:6: unknown key `owners` in tunnel `t`, expected one of: name, device, host, "
	  "port, "
	  "address_family, server_name, authority, identity, insecure, psk, alpn, ciphers, "
	  "keep_alive, connect_timeout, wait_timeout, half_close_timeout, idle_timeout, "
	  "max_waiting, max_clients, reserve, diagnose, mode, acl_users, acl_groups, allow_uids, "
	  "allow_gids\n" },
	/* who may connect */
	{ DEVICE TUNNEL("insecure = true; acl_users = \"root\"; acl_groups = 5; allow_uids = { };"
			" allow_gids = true;"),
	  "a.conf:2: `acl_users` is a string, expected an array of up to 32 users, by name or "
	  "number: [ \"...\" ]\n"
	  "a.conf:2: `acl_groups` is an integer, expected an array of up to 32 groups, by name or "
	  "number: [ \"...\" ]\n"
	  "a.conf:2: `allow_uids` is a group { ... }, expected an array of up to 32 users, by name "
	  "or number: [ \"...\" ]\n"
	  "a.conf:2: `allow_gids` is true or false, expected an array of up to 32 groups, by name "
	  "or number: [ \"...\" ]\n" },
	{ DEVICE TUNNEL("insecure = true; acl_users = [ ]; acl_groups = ( );"), "" },
	/* It would be everybody. */
	{ DEVICE TUNNEL("insecure = true; allow_uids = [ ];\nallow_gids = ( );"),
	  "a.conf:2: `allow_uids` is empty, expected at least one user, or no `allow_uids` at all\n"
	  "a.conf:3: `allow_gids` is empty, expected at least one group, or no `allow_gids` at "
	  "all\n" },
	{ DEVICE TUNNEL("insecure = true; acl_users = (\n-1,\n4294967295L,\n\"4294967295\",\n1.5,\n"
			"[ 1 ],\n\"\",\n\"no such\",\n\"9999999999999999999\" );\n"
			"allow_gids = [ \"no-such-group\" ];"),
	  "a.conf:3: entry 1 of `acl_users` is -1, expected a user from 0 to 4294967294\n"
	  "a.conf:4: entry 2 of `acl_users` is 4294967295, expected a user from 0 to 4294967294\n"
	  "a.conf:5: entry 3 of `acl_users` is 4294967295, expected a user from 0 to 4294967294\n"
	  "a.conf:6: entry 4 of `acl_users` is a number with a fraction, expected a user, by name "
	  "or number\n"
	  "a.conf:7: entry 5 of `acl_users` is an array [ ... ], expected a user, by name or "
	  "number\n"
	  "a.conf:8: entry 6 of `acl_users` is \"\", expected a user that this host knows, or a "
	  "number\n"
	  "a.conf:9: entry 7 of `acl_users` is \"no such\", expected a user that this host knows, "
	  "or a number\n"
	  "a.conf:10: entry 8 of `acl_users` is \"9999999999999999999\", expected a user that this "
	  "host knows, or a number\n"
	  "a.conf:11: entry 1 of `allow_gids` is \"no-such-group\", expected a group that this "
	  "host knows, or a number\n" },
#define IDS16 "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15"
	{ DEVICE TUNNEL("insecure = true; allow_gids = [ " IDS16 ", " IDS16 " ];"), "" },
	{ DEVICE TUNNEL("insecure = true; allow_gids = [ " IDS16 ", " IDS16 ", 0 ];"),
	  "a.conf:2: `allow_gids` has 33 entries, expected at most 32\n" },
	{ DEVICE TUNNEL("insecure = true; mode = 660L;"),
	  "a.conf:2: `mode` is 660L, expected up to four octal digits, at most \"0777\"\n" },
	{ DEVICE "tunnels = ( { name = \"t\"; port = 1; insecure = true; server_name = 5; host = "
		 "\"a1234567890123456789012345678901234567890.b12345678901234567890123\"; } );",
	  "a.conf:2: `server_name` is an integer, expected a string\n" },
};

static void test_cases(void **state)
{
	static const char inc[] = "authorities = ( { name = \"a\"; file = \"f\"; slot = 10; } );\n";
	char fifo[256];

	put("inc.conf", inc);
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect(cases[i].text, cases[i].expected);
	expect_bytes("\na\0b", 4, "a.conf:2: has a NUL byte, expected text\n");
}

static void test_mode(void **state)
{
	static const struct {
		const char *value;
		int mode; /* -1: refused */
	} modes[] = {
		{ "\"0\"", 0 },       { "\"660\"", 0660 }, { "0600", 0600 },   { "777", 0777 },
		{ "\"0777\"", 0777 }, { "1000", -1 },      { "\"\"", -1 },     { "0668", -1 },
		{ "0x1b0", -1 },      { "-1", -1 },        { "\"rw\"", -1 },   { "true", -1 },
		{ "\"00660\"", -1 },  { "660L", -1 },      { "\" 660\"", -1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct problems problems = PROBLEMS_NULL;
		struct config *config = NULL;
		char text[256];

		snprintf(text, sizeof(text), DEVICE TUNNEL("insecure = true; mode = %s;"),
			 modes[i].value);
		put("a.conf", text);
		load(&config, "a.conf", &problems);
		assert_int_equal(config ? (int)config->tunnels[0].mode : -1, modes[i].mode);
		if (!config)
			assert_non_null(
				strstr(problems.items[0].text,
				       "expected up to four octal digits, at most \"0777\""));
		config_free(config);
		problems_clear(&problems);
	}
}

/* Values of one key: good or not. */
static void test_values(void **state)
{
	static const struct {
		const char *format;
		const char *value;
		bool good;
	} values[] = {
#define PORT "devices = ( { name = \"a\"; port = \"%s\"; } );"
		{ PORT, "/dev/serial/by-id/usb-x", true },
		{ PORT, "/", false },
		{ PORT, "ttyUSB0", false },
		{ PORT, "/dev/tty\\n", false },
		{ PORT, "usb:10c4:ea60", true },
		{ PORT, "usb:10c4:ea60:S 1", true },
		{ PORT, "usb:10c4:ea60:", false },
		{ PORT, "usb:10c4", false },
		{ PORT, "usb:10c4:ea6", false },
		{ PORT, "usb:10c4:ea6g", false },
		{ PORT, "unix:/run/chip", true },
		{ PORT, "unix:chip", false },
		{ PORT, "tcp:localhost:1", true },
		{ PORT, "tcp:localhost:0", false },
		{ PORT, "tcp:localhost:65536", false },
		{ PORT, "tcp:localhost:999999999999", false },
		{ PORT, "tcp:localhost:", false },
		{ PORT, "tcp:localhost", false },
		{ PORT, "tcp::1", false },
		{ PORT, "tcp:192.0.2.7:4000", true },
		{ PORT, "tcp:192.0.2.256:4000", false },
		{ PORT, "tcp:host.test:4000", false },
		{ PORT, "tcp:[192.0.2.7]:4000", false },
		{ PORT, "tcp:::1:5", false },
		{ PORT, "tcp:[::1]:5", true },
		{ PORT, "tcp:[::g]:5", false },
		{ PORT, "tcp:[]:5", false },
#define NAME "devices = ( { name = \"%s\"; port = \"/dev/x\"; } );"
		{ NAME, "", false },
		{ NAME, "_A.b-9", true },
		{ NAME, ".x", false },
		{ NAME, "-x", false },
		{ NAME, "a/b", false },
		{ NAME, "\xc3\xa9", false },
		{ NAME, "123456789012345678901234567890123456789012345678", true },
		{ NAME, "1234567890123456789012345678901234567890123456789", false },
#define HOST DEVICE "tunnels = ( { name = \"t\"; insecure = true; port = 1; host = \"%s\"; } );"
		{ HOST, "a", true },
		{ HOST, "a-b.c_d.xn--p1ai", true },
		{ HOST, "10.0.0.1", true },
		{ HOST, "10.0.0.256", false },
		{ HOST, "10.0.0", false },
		{ HOST, "fe80::1", true },
		{ HOST, "fe80::1%eth0", false },
		{ HOST, "[::1]", false },
		{ HOST, "", false },
		{ HOST, ".", false },
		{ HOST, "a..b", false },
		{ HOST, "a.", false },
		{ HOST, "-a.b", false },
		{ HOST, "a-.b", false },
		{ HOST, "a,b", false },
		{ HOST, "a\\\\b", false },
		{ HOST, "a\\r\\nAT+RST", false },
		{ HOST,
		  "b\xc3\xbc"
		  "cher.example",
		  false },
		{ HOST, "a23456789012345678901234567890123456789012345678901234567890123", true },
		{ HOST, "a234567890123456789012345678901234567890123456789012345678901234.a",
		  false },
#define MAC DEV("mac = \"%s\";")
		{ MAC, "00:00:00:00:00:01", true },
		{ MAC, "FE:DC:BA:98:76:5f", true },
		{ MAC, "", false },
		{ MAC, "240ac4123456", false },
		{ MAC, "24-0a-c4-12-34-56", false },
		{ MAC, "24:0a:c4:12:34:5", false },
		{ MAC, "24:0a:c4:12:34:567", false },
		{ MAC, "24:0a:c4:12:34:56:78", false },
		{ MAC, "24:0a:c4:12:34:56 ", false },
		{ MAC, "24:0a:c4:12:34:", false },
		{ MAC, "24::c4:12:34:56", false },
		{ MAC, "ff:ff:ff:ff:ff:ff", false },
		{ MAC, "01:00:5e:00:00:01", false },
#define ADOPT DEV("adopt = \"%s\";")
		{ ADOPT, "first", true },
		{ ADOPT, "any", true },
		{ ADOPT, "First", false },
		{ ADOPT, "", false },
#define BSSID WIFI("bssid = \"%s\";")
		{ BSSID, "24:0a:c4:12:34:56", true },
		{ BSSID, "25:0a:c4:12:34:56", false },
		{ BSSID, "", false },
#define COUNTRY WIFI("country = \"%s\";")
		{ COUNTRY, "DE", true },
		{ COUNTRY, "D", false },
		{ COUNTRY, "DEU", false },
		{ COUNTRY, "D1", false },
		{ COUNTRY, "", false },
#define HOSTNAME WIFI("hostname = \"%s\";")
		{ HOSTNAME, "a", true },
		{ HOSTNAME, "A-9", true },
		{ HOSTNAME, TEN TEN TEN "12", true },
		{ HOSTNAME, TEN TEN TEN "123", false },
		{ HOSTNAME, "", false },
		{ HOSTNAME, "-a", false },
		{ HOSTNAME, "a-", false },
		{ HOSTNAME, "a.b", false },
#define NETMASK WIFI("address = \"10.0.0.2\"; gateway = \"10.0.0.1\"; netmask = \"%s\";")
		{ NETMASK, "255.0.0.0", true },
		{ NETMASK, "128.0.0.0", true },
		{ NETMASK, "255.255.255.252", true },
		{ NETMASK, "255.255.255.254", false }, /* the gateway is in another one */
		{ NETMASK, "0.255.255.255", false },
		{ NETMASK, "", false },
#define DNS WIFI("dns = [ \"%s\" ];")
		{ DNS, "192.0.2.53", true },
		{ DNS, "1\", \"2", false },
		{ DNS, "1.1.1.1\", \"1.0.0.1\", \"9.9.9.9", true },
		{ DNS, "dns.example", false },
		{ DNS, "", false },
#define EAP_IDENTITY EAP("credential = \"id\"; authority = \"ca\"; identity = \"%s\";")
		{ EAP_IDENTITY, "a", true },
		{ EAP_IDENTITY, TEN TEN TEN "12", true },
		{ EAP_IDENTITY, TEN TEN TEN "123", false },
		{ EAP_IDENTITY, "a\\nb", false },
#define SERVERS DEV("time = \"sntp\"; ntp_servers = [ \"%s\" ];")
		{ SERVERS, "pool.example", true },
		{ SERVERS, "192.0.2.1\", \"::1\", \"c", true },
		{ SERVERS, "", false },
		{ SERVERS, "a\", \"", false },
#define PSK_IDENTITY PSK("file = \"f\"; identity = \"%s\";")
		{ PSK_IDENTITY, "a", true },
		{ PSK_IDENTITY, TEN TEN TEN "12", true },
		{ PSK_IDENTITY, TEN TEN TEN "123", false },
		{ PSK_IDENTITY, "a\\rb", false },
#define ALPN DEVICE TUNNEL("insecure = true; alpn = [ \"%s\" ];")
		{ ALPN, "h2\", \"http/1.1\", \"a\", \"b\", \"c", true },
		{ ALPN, TEN TEN TEN TEN TEN TEN "1234", true },
		{ ALPN, TEN TEN TEN TEN TEN TEN "12345", false },
		{ ALPN, "a\\nb", false },
#define FAMILY DEVICE TUNNEL("insecure = true; address_family = \"%s\";")
		{ FAMILY, "auto", true },
		{ FAMILY, "ipv4", true },
		{ FAMILY, "ipv6", true },
		{ FAMILY, "IPv6", false },
#define KEEP_ALIVE DEVICE TUNNEL("insecure = true; keep_alive = %s;")
		{ KEEP_ALIVE, "0", true },
		{ KEEP_ALIVE, "7200", true },
		{ KEEP_ALIVE, "7201", false },
		{ KEEP_ALIVE, "-1", false },
#define SLOT NVS("namespace = \"wss_ca\"; file = \"f\"; slot = %s;")
		{ SLOT, "0", true },
		{ SLOT, "9", true },
		{ SLOT, "10", false },
		{ SLOT, "-1", false },
#define KIND NVS("namespace = \"wss_ca\"; file = \"f\"; kind = \"%s\";")
		{ KIND, "ca", true },
		{ KIND, "cert", true },
		{ KIND, "key", true },
		{ KIND, "raw", true },
		{ KIND, "CA", false },
#define NAMESPACE NVS("file = \"f\"; kind = \"raw\"; namespace = \"%s\";")
		{ NAMESPACE, "client", false },
		{ NAMESPACE, "client_", false },
		{ NAMESPACE, "client_cas", false },
		{ NAMESPACE, "_ca", false },
		{ NAMESPACE, "wpa_ca", false },
		{ NAMESPACE, "server_certkey", false },
#define CIPHER DEVICE TUNNEL("insecure = true; ciphers = [ %s ];")
		{ CIPHER, "", true },
		{ CIPHER, "1", true },
		{ CIPHER, "0xffff", true },
		{ CIPHER, "49195L", true },
		{ CIPHER, "0x0", false },
		{ CIPHER, "\"TLS_RSA_WITH_AES_128_CBC_SHA\"", true },
		{ CIPHER, "\"TLS_RSA_PSK_WITH_ARIA_256_CBC_SHA384\"", true },
		{ CIPHER, "\"TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8\"", true },
		{ CIPHER, "\"tls_rsa_with_aes_128_cbc_sha\"", false },
		{ CIPHER, "\"ECDHE-ECDSA-AES128-GCM-SHA256\"", false },
		{ CIPHER, "\"\"", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		struct problems problems = PROBLEMS_NULL;
		struct config *config = NULL;
		char text[1024], message[128];
		const char *hole = strstr(values[i].format, "%s");

		snprintf(text, sizeof(text), "%.*s%s%s", (int)(hole - values[i].format),
			 values[i].format, values[i].value, hole + 2);
		put("a.conf", text);
		load(&config, "a.conf", &problems);
		snprintf(message, sizeof(message), "%.100s", values[i].value);
		if ((config != NULL) != values[i].good)
			fail_msg("\"%s\": %s", message, config ? "taken" : problems.items[0].text);
		config_free(config);
		problems_clear(&problems);
	}
}

static void test_files(void **state)
{
	struct problems problems = PROBLEMS_NULL;
	struct config *config = NULL;
	char *big = malloc(1024 * 1024 + 2);
	char *got;

	assert_int_equal(load(&config, "none", &problems), -EINVAL);
	assert_int_equal(config_load(&config, dir, &problems), -EINVAL);
	assert_int_equal(load(&config, "fifo", &problems), -EINVAL);
	memset(big, '\n', 1024 * 1024 + 1);
	put_bytes("big", big, 1024 * 1024 + 1);
	assert_int_equal(load(&config, "big", &problems), -EINVAL);
	assert_null(config);
	got = joined(&problems);
	assert_non_null(strstr(got, "none: no such file, expected a configuration file\n"));
	assert_non_null(strstr(got, "is a folder, expected a configuration file\n"));
	assert_non_null(
		strstr(got, "fifo: is not a regular file, expected a configuration file\n"));
	assert_non_null(strstr(got, "big: has 1048577 bytes, expected at most 1048576\n"));
	free(got);
	free(big);
	problems_clear(&problems);
}

static void test_set_dirs(void **state)
{
	static const char text[] = DEVICE TUNNEL("insecure = true;");
	struct problems problems = PROBLEMS_NULL;
	struct config *config = NULL;
	char path[300], cwd[4096];

	put("a.conf", text);
	assert_int_equal(load(&config, "a.conf", &problems), 0);
	assert_int_equal(config_set_runtime_dir(config, "/tmp/r/", &problems), 0);
	assert_string_equal(config->runtime_dir, "/tmp/r");
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[102] = '\0';
	assert_int_equal(config_set_runtime_dir(config, path, &problems), -EINVAL);
	assert_string_equal(config->runtime_dir, "/tmp/r");
	assert_int_equal(problems.errors, 1);
	assert_int_equal(config_set_runtime_dir(config, "", &problems), -EINVAL);
	assert_int_equal(config_set_state_dir(config, "", &problems), -EINVAL);
	assert_string_equal(problems.items[2].text, "--state-dir \"\", expected a path");
	/* The working directory may be a long path, so only of this one. */
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_int_equal(config_set_state_dir(config, "s", &problems), 0);
	assert_int_equal(strncmp(config->state_dir, cwd, strlen(cwd)), 0);
	config_free(config);
	problems_clear(&problems);
}

/* Relative paths and includes start from the file's folder, also if that is named relatively. */
static void test_relative_config(void **state)
{
	static const char text[] = "state_dir = \"s\"; @include \"x\"\n" DEVICE;
	static const char good[] = "state_dir = \"s\";\n" DEVICE;
	struct problems problems = PROBLEMS_NULL;
	struct config *config = NULL;
	char cwd[4096], path[256];

	assert_non_null(getcwd(cwd, sizeof(cwd)));
	put("a.conf", text);
	put("b.conf", good);
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(config_load(&config, "a.conf", &problems), -EINVAL);
	problems_clear(&problems);
	assert_int_equal(config_load(&config, "b.conf", &problems), 0);
	assert_int_equal(chdir(cwd), 0);
	snprintf(path, sizeof(path), "%s/s", dir);
	assert_string_equal(config->state_dir, path);
	config_free(config);
}

/* Eleven authorities on one chip, which has ten slots; on two chips they are fine. */
static void test_slots(void **state)
{
	for (int devices = 1; devices <= 2; devices++) {
		char *text = NULL;
		size_t size = 0;
		FILE *f = open_memstream(&text, &size);

		assert_non_null(f);
		fprintf(f, "devices = ( { name = \"a\"; port = \"/dev/x\"; }, "
			   "{ name = \"b\"; port = \"/dev/y\"; } );\nauthorities = (");
		for (int i = 0; i < 11; i++)
			fprintf(f, "%s{ name = \"a%d\"; file = \"f\"; }", i ? ", " : "", i);
		fprintf(f, ");\ntunnels = (");
		for (int i = 0; i < 11; i++)
			fprintf(f,
				"%s{ name = \"t%d\"; host = \"h\"; port = 1; device = \"%s\"; "
				"authority = \"a%d\"; }",
				i ? ", " : "", i, devices == 2 && i % 2 ? "b" : "a", i);
		fprintf(f, ");\n");
		fclose(f);
		expect(text, devices == 2
				     ? ""
				     : "a.conf:1: the tunnels and nvs entries of device `a` use "
				       "11 slots for authorities, expected at most 10: the chip "
				       "has no more\n");
		free(text);
	}
}

/* The slots of NVS entries count, certificate and key of one number once. */
static void test_slots_nvs(void **state)
{
	static const struct {
		const char *namespace;
		const char *plural;
	} kinds[] = { { "client_ca", "authorities" }, { "client_key", "identities" } };

	for (int entries = 2; entries <= 4; entries++)
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
			char *text = NULL, expected[200] = "";
			size_t size = 0;
			FILE *f = open_memstream(&text, &size);

			assert_non_null(f);
			fprintf(f, DEVICE "nvs = (");
			for (int i = 0; i < entries; i++)
				fprintf(f, "%s{ namespace = \"%s\"; slot = %d; file = \"f\"; }",
					i ? ", " : "", kinds[k].namespace, 9 - i);
			if (k == 1)
				fprintf(f, ", { namespace = \"client_cert\"; slot = 9; file = "
					   "\"f\"; }");
			fprintf(f, ");\nauthorities = (");
			for (int i = 0; k == 0 && i < 7; i++)
				fprintf(f, "%s{ name = \"m%d\"; file = \"f\"; }", i ? ", " : "", i);
			fprintf(f, ");\nidentities = (");
			for (int i = 0; k == 1 && i < 7; i++)
				fprintf(f, "%s{ name = \"m%d\"; cert = \"f\"; key = \"f\"; }",
					i ? ", " : "", i);
			fprintf(f, ");\ntunnels = (");
			for (int i = 0; i < 7; i++)
				fprintf(f,
					"%s{ name = \"t%d\"; host = \"h\"; port = 1; %s = \"m%d\"; "
					"}",
					i ? ", " : "", i,
					k == 0 ? "authority" : "insecure = true; identity", i);
			fprintf(f, ");\n");
			fclose(f);
			if (entries == 4)
				snprintf(
					expected, sizeof(expected),
					"a.conf:1: the tunnels and nvs entries of device `esp0` "
					"use 11 "
					"slots for %s, expected at most 10: the chip has no more\n",
					kinds[k].plural);
			expect(text, expected);
			free(text);
		}
}

/* Each list at its limit, and one entry more. */
static void test_limits(void **state)
{
	static const struct {
		const char *before, *format, *after, *key;
		int max;
	} lists[] = {
		{ "devices = (", "{ name = \"%d\"; port = \"/dev/%d\"; }", ");", "devices", 64 },
		{ DEVICE "authorities = (", "{ name = \"%d\"; file = \"%d\"; }", ");",
		  "authorities", 256 },
		{ DEVICE "identities = (", "{ name = \"%d\"; cert = \"%d\"; key = \"f\"; }", ");",
		  "identities", 256 },
		{ DEVICE "extra_namespaces = [", "\"n%d\"", "];", "extra_namespaces", 16 },
		{ DEVICE "tunnels = (",
		  "{ name = \"%d\"; host = \"h%d\"; port = 1; insecure = true; }", ");", "tunnels",
		  256 },
	};

	for (size_t k = 0; k < ARRAY_SIZE(lists); k++)
		for (int n = lists[k].max; n <= lists[k].max + 1; n++) {
			char *text = NULL, expected[128] = "";
			size_t size = 0;
			FILE *f = open_memstream(&text, &size);

			assert_non_null(f);
			fprintf(f, "%s", lists[k].before);
			for (int i = 0; i < n; i++) {
				const char *rest = lists[k].format, *hole;

				fprintf(f, "%s", i ? ", " : "");
				for (; (hole = strstr(rest, "%d")); rest = hole + 2)
					fprintf(f, "%.*s%d", (int)(hole - rest), rest, i);
				fprintf(f, "%s", rest);
			}
			fprintf(f, "%s", lists[k].after);
			fclose(f);
			if (n > lists[k].max)
				snprintf(expected, sizeof(expected),
					 "a.conf:%d: `%s` has %d entries, expected at most %d\n",
					 k == 0 ? 1 : 2, lists[k].key, n, lists[k].max);
			expect(text, expected);
			free(text);
		}
}

/* Keys that the firmware knows: 32 of one chip, 64 of two, and one more of each. */
static void test_limit_nvs(void **state)
{
	static const struct {
		int n, on_first;
		const char *expected;
	} rows[] = {
		{ 32, 32, "" },
		{ 33, 33,
		  "a.conf:1: device `x` has 33 nvs entries, expected at most 32 for one chip\n" },
		{ 64, 32, "" },
		{ 65, 32, "a.conf:2: `nvs` has 65 entries, expected at most 64\n" },
	};

	for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
		int n = rows[k].n;
		char *text = NULL;
		size_t size = 0;
		FILE *f = open_memstream(&text, &size);

		assert_non_null(f);
		fprintf(f,
			"devices = ( { name = \"x\"; port = \"/dev/x\"; }, { name = \"y\"; port = "
			"\"/dev/y\"; } );\nnvs = (");
		for (int i = 0; i < n; i++)
			fprintf(f,
				"%s{ device = \"%s\"; namespace = \"%s_ca\"; slot = %d; file = "
				"\"f\"; }",
				i ? ", " : "", i < rows[k].on_first ? "x" : "y",
				(const char *const[]){ "mqtt", "wss", "https", "server", "wpa2",
						       "wpa_ent", "client" }[i / 10],
				i % 10);
		fprintf(f, ");");
		fclose(f);
		expect(text, rows[k].expected);
		free(text);
	}
}

/* What is said twice is found across files, and the other file is named. */
static void test_doubles_in_files(void **state)
{
	static const char nvs[] = "nvs = ( { namespace = \"mqtt_ca\"; slot = 1; file = \"f\"; },\n";
	static const char authority[] = "authorities = ( { name = \"a\"; file = \"f\"; },\n";

	put("inc.conf", nvs);
	expect("@include \"inc.conf\"\n{ namespace = \"mqtt_ca\"; slot = 1; file = \"g\"; } "
	       ");\n" DEVICE,
	       "a.conf:2: second nvs entry for the key mqtt_ca.1 of all devices, the first is in "
	       "inc.conf:1, expected one\n");
	put("inc.conf", authority);
	expect("@include \"inc.conf\"\n{ name = \"a\"; file = \"g\"; } );\n" DEVICE,
	       "a.conf:2: second authority with the name `a`, the first is in inc.conf:1, expected "
	       "a name "
	       "of its own\n");
}

/* ---- the example and the manual page ---- */

/* Of the project, which the compiler found in a path from the build folder; NULL: not there. */
static char *read_source(const char *name)
{
	const char *slash = strstr(__FILE__, "tests/unit/");
	char path[4096], *text = NULL;
	size_t size = 0, n;
	char block[4096];
	FILE *in, *out;

	snprintf(path, sizeof(path), "%.*s%s", slash ? (int)(slash - __FILE__) : 0, __FILE__, name);
	in = fopen(path, "r");
	if (!in) /* started in the project's own folder */
		in = fopen(name, "r");
	if (!in) {
		print_error("%s is not there: start me in the build folder\n", name);
		return NULL;
	}
	out = open_memstream(&text, &size);
	assert_non_null(out);
	while ((n = fread(block, 1, sizeof(block), in)) > 0)
		fwrite(block, 1, n, out);
	fclose(in);
	fclose(out);
	return text;
}

/* What stands behind `#` without a space is no comment but an example. */
static char *uncomment(const char *text)
{
	char *copy = strdup(text), *to = copy;
	bool start = true;

	assert_non_null(copy);
	for (const char *c = text; *c; c++) {
		if (*c == '#' && start && c[1] != ' ' && c[1] != '\n')
			continue;
		start = *c == '\n' || (start && *c == '\t');
		*to++ = *c;
	}
	*to = '\0';
	return copy;
}

static void test_example(void **state)
{
	char *text = read_source("conf/espatd.conf"), *whole, *copy;
	const struct config_device *d;
	const struct config_tunnel *t;
	struct config *config;

	assert_non_null(text);
	expect(text, "a.conf: no `devices` in the file, expected a list of groups: ( { ... }, { "
		     "... } )\n");
	whole = uncomment(text);
	config = load_good(whole);
	assert_string_equal(config->runtime_dir, "/run/espat");
	assert_string_equal(config->state_dir, "/var/lib/espat");
	assert_int_equal(config->n_devices, 2);
	assert_int_equal(config->n_authorities, 1);
	assert_int_equal(config->n_identities, 1);
	assert_int_equal(config->n_nvs, 1);
	assert_int_equal(config->n_tunnels, 2);
	/* What it says is the default is that. */
	d = &config->devices[0];
	assert_int_equal(d->baud, 115200);
	assert_int_equal(d->flow_control, CONFIG_FLOW_AUTO);
	assert_int_equal(d->reset, CONFIG_RESET_NONE);
	assert_int_equal(d->receive, CONFIG_RECEIVE_AUTO);
	assert_int_equal(d->max_links, CONFIG_LINKS_MAX);
	assert_int_equal(d->adopt, CONFIG_ADOPT_FIRST);
	assert_int_equal(d->time, CONFIG_TIME_HOST);
	assert_false(d->require_synchronized);
	assert_false(d->wifi.hidden);
	assert_false(config->devices[1].wifi.enterprise.insecure);
	t = &config->tunnels[0];
	assert_int_equal(t->family, CONFIG_FAMILY_AUTO);
	assert_false(t->insecure);
	assert_int_equal(t->keep_alive, 120);
	assert_int_equal(t->connect_timeout, 20);
	assert_int_equal(t->wait_timeout, 30);
	assert_int_equal(t->half_close_timeout, 60);
	assert_int_equal(t->idle_timeout, 0);
	assert_int_equal(t->max_waiting, 32);
	assert_int_equal(t->max_clients, 0);
	assert_int_equal(t->reserve, 0);
	assert_true(t->diagnose);
	assert_int_equal(t->mode, 0660);
	assert_false(config->tunnels[1].psk.hex);
	config_free(config);
	/* The fuzzer starts from the same. */
	copy = read_source("tests/fuzz/corpus-config/whole");
	assert_non_null(copy);
	assert_string_equal(copy, whole);
	free(copy);
	free(whole);
	free(text);
}

static bool has_key(const char *example, const char *key)
{
	char wanted[80];

	snprintf(wanted, sizeof(wanted), "%s = ", key);
	for (const char *p = example; (p = strstr(p, wanted)); p++)
		if (p > example && strchr("\t#", p[-1]))
			return true;
	return false;
}

/* Each key of each group, as the complaint about an unknown one lists them, is explained. */
static void test_all_keys_explained(void **state)
{
	static const char *const groups[] = {
		"x = 1;",
		"authorities = ( { x = 1; } );",
		"identities = ( { x = 1; } );",
		DEV("x = 1;"),
		WIFI("x = 1;"),
		EAP("x = 1;"),
		NVS("x = 1;"),
		DEVICE TUNNEL("x = 1;"),
		PSK("x = 1;"),
	};
	char *example = read_source("conf/espatd.conf"), *manual = read_source("man/espatd.conf.5");
	size_t n = 0;

	assert_non_null(example);
	assert_non_null(manual);
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		struct problems problems = PROBLEMS_NULL;
		struct config *config = NULL;
		char *keys = NULL;

		put("a.conf", groups[i]);
		assert_int_equal(load(&config, "a.conf", &problems), -EINVAL);
		for (size_t k = 0; k < problems.count && !keys; k++)
			if (strstr(problems.items[k].text, "unknown key `x`"))
				keys = strstr(problems.items[k].text, "expected one of: ");
		assert_non_null(keys);
		keys += strlen("expected one of: ");
		for (char *key = strtok(keys, ", "); key; key = strtok(NULL, ", "), n++) {
			char wanted[80];

			snprintf(wanted, sizeof(wanted), "\n.It Ic %s\n", key);
			if (!strstr(manual, wanted))
				fail_msg("%s is not in the manual page", key);
			if (!has_key(example, key))
				fail_msg("%s is not in the example", key);
		}
		problems_clear(&problems);
	}
	assert_true(n >= 60);
	free(example);
	free(manual);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_whole_devices),
		cmocka_unit_test(test_whole_tunnels),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_refs),
		cmocka_unit_test(test_whole_nvs),
		cmocka_unit_test(test_namespaces),
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_mode),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_set_dirs),
		cmocka_unit_test(test_relative_config),
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_slots_nvs),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_limit_nvs),
		cmocka_unit_test(test_doubles_in_files),
		cmocka_unit_test(test_example),
		cmocka_unit_test(test_all_keys_explained),
	};

	return cmocka_run_group_tests_name("config", tests, make_temp_dir, remove_temp_dir);
}
