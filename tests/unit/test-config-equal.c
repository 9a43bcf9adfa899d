/* SPDX-License-Identifier: MIT */
/* config_device_equal(), config_tunnel_equal(): every key of the tables decides. */
#include "test.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "config/tables.h"
#include "temp-dir.h"

static struct config *load(const char *text)
{
	struct problems problems = PROBLEMS_NULL;
	struct config *config = NULL;
	FILE *f = fopen(path_of("a.conf"), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
	config_load(&config, path_of("a.conf"), &problems);
	if (!config)
		fail_msg("%s: %s", text, problems.items[0].text);
	problems_clear(&problems);
	return config;
}

/* What a device has, and how it differs by one key. */
struct row {
	const char *key; /* "wifi.ssid": ssid in wifi */
	const char *a, *b;
};

#define NAMED_A "name = \"x\"; "
#define PORT_A "port = \"/dev/x\"; "
#define WIFI(more) NAMED_A PORT_A "wifi = { ssid = \"s\"; " more " };"
#define EAP(more) WIFI("enterprise = { " more " };")

static const struct row device_rows[] = {
	{ "name", NAMED_A PORT_A, "name = \"y\"; " PORT_A },
	{ "port", NAMED_A PORT_A, NAMED_A "port = \"/dev/y\";" },
	{ "baud", NAMED_A PORT_A, NAMED_A PORT_A "baud = 115201;" },
	{ "max_baud", NAMED_A PORT_A, NAMED_A PORT_A "max_baud = 921600;" },
	{ "flow_control", NAMED_A PORT_A, NAMED_A PORT_A "flow_control = \"none\";" },
	{ "reset", NAMED_A PORT_A, NAMED_A PORT_A "reset = \"dtr-rts\";" },
	{ "receive", NAMED_A PORT_A, NAMED_A PORT_A "receive = \"passive\";" },
	{ "max_links", NAMED_A PORT_A, NAMED_A PORT_A "max_links = 4;" },
	{ "mac", NAMED_A PORT_A, NAMED_A PORT_A "mac = \"24:0a:c4:12:34:56\";" },
	{ "mac", NAMED_A PORT_A "mac = \"24:0a:c4:12:34:58\";",
	  NAMED_A PORT_A "mac = \"24:0a:c4:12:34:56\";" },
	{ "adopt", NAMED_A PORT_A, NAMED_A PORT_A "adopt = \"any\";" },
	{ "wifi", NAMED_A PORT_A, WIFI("") },
	{ "time", NAMED_A PORT_A "time = \"sntp\"; ntp_servers = [ \"h\" ];", NAMED_A PORT_A },
	{ "require_synchronized", NAMED_A PORT_A, NAMED_A PORT_A "require_synchronized = true;" },
	{ "ntp_servers", NAMED_A PORT_A "time = \"sntp\"; ntp_servers = [ \"h\" ];",
	  NAMED_A PORT_A "time = \"sntp\"; ntp_servers = [ \"g\" ];" },
	{ "ntp_servers", NAMED_A PORT_A "time = \"sntp\"; ntp_servers = [ \"h\" ];",
	  NAMED_A PORT_A "time = \"sntp\"; ntp_servers = [ \"h\", \"h\" ];" },
	{ "wifi.ssid", NAMED_A PORT_A "wifi = { ssid = \"t\"; };", WIFI("") },
	{ "wifi.password_file", WIFI(""), WIFI("password_file = \"f\";") },
	{ "wifi.password_file", WIFI("password_file = \"g\";"), WIFI("password_file = \"f\";") },
	{ "wifi.bssid", WIFI(""), WIFI("bssid = \"24:0a:c4:12:34:56\";") },
	{ "wifi.hidden", WIFI(""), WIFI("hidden = true;") },
	{ "wifi.country", WIFI(""), WIFI("country = \"DE\";") },
	{ "wifi.hostname", WIFI(""), WIFI("hostname = \"h\";") },
#define ADDRESS(a, m, g) WIFI("address = \"" a "\"; netmask = \"" m "\"; gateway = \"" g "\";")
	{ "wifi.address", ADDRESS("10.0.0.1", "255.0.0.0", "10.0.0.9"),
	  ADDRESS("10.0.0.2", "255.0.0.0", "10.0.0.9") },
	{ "wifi.netmask", ADDRESS("10.0.0.1", "255.0.0.0", "10.0.0.9"),
	  ADDRESS("10.0.0.1", "255.255.0.0", "10.0.0.9") },
	{ "wifi.gateway", ADDRESS("10.0.0.1", "255.0.0.0", "10.0.0.9"),
	  ADDRESS("10.0.0.1", "255.0.0.0", "10.0.0.8") },
	{ "wifi.dns", WIFI(""), WIFI("dns = [ \"10.0.0.1\" ];") },
	{ "wifi.enterprise", WIFI(""),
	  EAP("identity = \"i\"; credential = \"id1\"; authority = \"ca1\";") },
	{ "wifi.enterprise.identity",
	  EAP("identity = \"j\"; credential = \"id1\"; authority = \"ca1\";"),
	  EAP("identity = \"i\"; credential = \"id1\"; authority = \"ca1\";") },
	{ "wifi.enterprise.credential",
	  EAP("identity = \"i\"; credential = \"id2\"; authority = \"ca1\";"),
	  EAP("identity = \"i\"; credential = \"id1\"; authority = \"ca1\";") },
	{ "wifi.enterprise.authority",
	  EAP("identity = \"i\"; credential = \"id1\"; authority = \"ca2\";"),
	  EAP("identity = \"i\"; credential = \"id1\"; authority = \"ca1\";") },
	{ "wifi.enterprise.insecure",
	  EAP("identity = \"i\"; credential = \"id1\"; insecure = true;"),
	  EAP("identity = \"i\"; credential = \"id1\"; authority = \"ca1\";") },
};

#define AT_A "device = \"d1\"; host = \"h\"; port = 1; "
#define TUNNEL(more) NAMED_A AT_A "authority = \"ca1\"; " more
#define PSK(more) NAMED_A AT_A "psk = { " more " };"

static const struct row tunnel_rows[] = {
	{ "name", TUNNEL(""), "name = \"y\"; " AT_A "authority = \"ca1\";" },
	{ "device", TUNNEL(""),
	  NAMED_A "device = \"d2\"; host = \"h\"; port = 1; authority = \"ca1\";" },
	{ "device", TUNNEL(""),
	  NAMED_A "device = \"any\"; host = \"h\"; port = 1; authority = \"ca1\";" },
	{ "host", TUNNEL(""),
	  NAMED_A
	  "device = \"d1\"; host = \"g\"; server_name = \"h\"; port = 1; authority = \"ca1\";" },
	{ "port", TUNNEL(""),
	  NAMED_A "device = \"d1\"; host = \"h\"; port = 2; authority = \"ca1\";" },
	{ "address_family", TUNNEL(""), TUNNEL("address_family = \"ipv6\";") },
	{ "server_name", TUNNEL(""), TUNNEL("server_name = \"g\";") },
	{ "authority", TUNNEL(""), NAMED_A AT_A "authority = \"ca2\";" },
	{ "identity", TUNNEL(""), TUNNEL("identity = \"id1\";") },
	{ "identity", TUNNEL("identity = \"id2\";"), TUNNEL("identity = \"id1\";") },
	{ "insecure", TUNNEL(""), NAMED_A AT_A "insecure = true;" },
	{ "psk", TUNNEL(""), PSK("identity = \"i\"; file = \"f\";") },
	{ "alpn", TUNNEL(""), TUNNEL("alpn = [ \"a\" ];") },
	{ "alpn", TUNNEL("alpn = [ \"a\", \"b\" ];"), TUNNEL("alpn = [ \"b\", \"a\" ];") },
	{ "ciphers", TUNNEL(""), TUNNEL("ciphers = [ 1 ];") },
	{ "ciphers", TUNNEL("ciphers = [ 1, 2 ];"), TUNNEL("ciphers = [ 1, 3 ];") },
	{ "ciphers", TUNNEL("ciphers = [ 1, 2 ];"), TUNNEL("ciphers = [ 1 ];") },
	{ "keep_alive", TUNNEL(""), TUNNEL("keep_alive = 121;") },
	{ "connect_timeout", TUNNEL(""), TUNNEL("connect_timeout = 21;") },
	{ "wait_timeout", TUNNEL(""), TUNNEL("wait_timeout = 31;") },
	{ "half_close_timeout", TUNNEL(""), TUNNEL("half_close_timeout = 61;") },
	{ "idle_timeout", TUNNEL(""), TUNNEL("idle_timeout = 1;") },
	{ "max_waiting", TUNNEL(""), TUNNEL("max_waiting = 33;") },
	{ "max_clients", TUNNEL(""), TUNNEL("max_clients = 1;") },
	{ "reserve", TUNNEL(""), TUNNEL("reserve = 1;") },
	{ "diagnose", TUNNEL(""), TUNNEL("diagnose = false;") },
	{ "mode", TUNNEL(""), TUNNEL("mode = \"0666\";") },
	{ "acl_users", TUNNEL(""), TUNNEL("acl_users = [ 1 ];") },
	{ "acl_users", TUNNEL("acl_users = [ 2 ];"), TUNNEL("acl_users = [ 1 ];") },
	{ "acl_groups", TUNNEL(""), TUNNEL("acl_groups = [ 1 ];") },
	{ "allow_uids", TUNNEL(""), TUNNEL("allow_uids = [ 1 ];") },
	{ "allow_gids", TUNNEL("allow_gids = [ 1 ];"), TUNNEL("allow_gids = [ 1, 2 ];") },
	{ "psk.identity", PSK("identity = \"i\"; file = \"f\";"),
	  PSK("identity = \"j\"; file = \"f\";") },
	{ "psk.file", PSK("identity = \"i\"; file = \"f\";"),
	  PSK("identity = \"i\"; file = \"g\";") },
	{ "psk.hex", PSK("identity = \"i\"; file = \"f\";"),
	  PSK("identity = \"i\"; file = \"f\"; hex = true;") },
};

#define MATERIAL                                                                                   \
	"authorities = ( { name = \"ca1\"; file = \"f\"; }, { name = \"ca2\"; file = \"f\"; } );"  \
	"identities = ( { name = \"id1\"; }, { name = \"id2\"; } );"
/* The same entries at other places, and with other material. */
#define MATERIAL_MOVED                                                                             \
	"\n\nidentities = ( { name = \"id0\"; }, { name = \"id2\"; },\n{ name = \"id1\"; } );"     \
	"authorities = ( { name = \"ca2\"; file = \"g\"; },\n { name = \"ca1\"; slot = 3; } "      \
	");\n\n"
#define DEVICES                                                                                    \
	"devices = ( { name = \"d1\"; port = \"/dev/1\"; }, { name = \"d2\"; port = \"/dev/2\"; "  \
	"} );"
#define DEVICES_MOVED                                                                              \
	"devices = ( { name = \"d2\"; port = \"/dev/3\"; }, { name = \"d1\"; port = \"/dev/4\"; "  \
	"} );"

static struct config *load_device(const char *text, bool moved)
{
	char whole[2048];

	snprintf(whole, sizeof(whole), "%sdevices = ( { %s } );", moved ? MATERIAL_MOVED : MATERIAL,
		 text);
	return load(whole);
}

static struct config *load_tunnel(const char *text, bool moved)
{
	char whole[2048];

	snprintf(whole, sizeof(whole), "%stunnels = (\n{ %s } );",
		 moved ? MATERIAL_MOVED DEVICES_MOVED : MATERIAL DEVICES, text);
	return load(whole);
}

static bool device_equal(const struct config *a, const struct config *b)
{
	return config_device_equal(a->devices, b->devices);
}

static bool tunnel_equal(const struct config *a, const struct config *b)
{
	return config_tunnel_equal(a->tunnels, b->tunnels);
}

static void check_rows(const struct row *rows, size_t n,
		       struct config *(*read)(const char *text, bool moved),
		       bool (*equal)(const struct config *a, const struct config *b))
{
	for (size_t i = 0; i < n; i++) {
		struct config *a = read(rows[i].a, false), *b = read(rows[i].b, false);
		struct config *moved_a = read(rows[i].a, true), *moved_b = read(rows[i].b, true);

		if (equal(a, b) || equal(b, a))
			fail_msg("%s makes no difference: %s / %s", rows[i].key, rows[i].a,
				 rows[i].b);
		if (!equal(a, a) || !equal(a, moved_a) || !equal(moved_a, a))
			fail_msg("not equal to itself: %s", rows[i].a);
		if (!equal(b, b) || !equal(b, moved_b))
			fail_msg("not equal to itself: %s", rows[i].b);
		config_free(a);
		config_free(b);
		config_free(moved_a);
		config_free(moved_b);
	}
}

/* A key of the table, here or in a group of it, without a row. */
static void check_covered(const struct key_table *table, const char *prefix, const struct row *rows,
			  size_t n)
{
	for (size_t k = 0; k < table->n_keys; k++) {
		char name[128];
		bool found = false;

		snprintf(name, sizeof(name), "%s%s", prefix, table->keys[k].name);
		for (size_t i = 0; i < n; i++)
			found |= strcmp(rows[i].key, name) == 0;
		if (!found)
			fail_msg("no row for %s", name);
		snprintf(name, sizeof(name), "%s%s.", prefix, table->keys[k].name);
		if (table->keys[k].type == KEY_GROUP)
			check_covered(table->keys[k].table, name, rows, n);
	}
}

static void test_devices(void **state)
{
	check_covered(&config_device_table, "", device_rows, ARRAY_SIZE(device_rows));
	check_rows(device_rows, ARRAY_SIZE(device_rows), load_device, device_equal);
}

static void test_tunnels(void **state)
{
	check_covered(&config_tunnel_table, "", tunnel_rows, ARRAY_SIZE(tunnel_rows));
	check_rows(tunnel_rows, ARRAY_SIZE(tunnel_rows), load_tunnel, tunnel_equal);
}

/* Said in another way, it is the same. */
static void test_same(void **state)
{
	static const struct {
		const char *a, *b;
	} tunnels[] = {
		{ TUNNEL(""), TUNNEL("server_name = \"h\"; mode = 660; wait_timeout "
				     "= 30L;") },
		{ TUNNEL("ciphers = [ 0xC02B ];"),
		  TUNNEL("ciphers = [ \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\" ];") },
		{ TUNNEL("acl_users = [ 0, 5 ]; allow_gids = [ 1 ];"),
		  TUNNEL("acl_users = ( 5, \"root\", 5 ); allow_gids = [ 1, 1 ];") },
		{ TUNNEL("acl_users = [ ];"), TUNNEL("") },
	};
	struct config *a, *b;

	for (size_t i = 0; i < ARRAY_SIZE(tunnels); i++) {
		a = load_tunnel(tunnels[i].a, false);
		b = load_tunnel(tunnels[i].b, true);
		assert_true(tunnel_equal(a, b));
		config_free(a);
		config_free(b);
	}
	a = load_device(NAMED_A PORT_A "mac = \"24:0A:C4:12:34:56\";", false);
	b = load_device(NAMED_A PORT_A "mac = \"24:0a:c4:12:34:56\"; baud = 115200;", true);
	assert_true(device_equal(a, b));
	config_free(a);
	config_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_tunnels),
		cmocka_unit_test(test_same),
	};

	return cmocka_run_group_tests_name("config-equal", tests, make_temp_dir, remove_temp_dir);
}
