/* SPDX-License-Identifier: MIT */
/*
 * bus: each property of the interfaces' XML becomes another one, one after the other, and whoever watches
 * is told of it, with its new value, or not, as the XML says. That devices and tunnels say that something
 * has changed is in the tests of theirs, see facts_are_told() and test-tunnel.c.
 */
#include "bus-bench.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/internal.h"
#include "read-text.h"
#include "util/log.h"

#define PROPERTIES "org.freedesktop.DBus.Properties"
#define EMITS "\"org.freedesktop.DBus.Property.EmitsChangedSignal\" value=\""

/* ---- the changes ---- */

static struct config_device *settings(void)
{
	return (struct config_device *)bench.dev->settings;
}

static struct config_tunnel *config(void)
{
	return (struct config_tunnel *)bench.tunnel->config;
}

#define CHANGE(name, statement)                                                                    \
	static void change_##name(void)                                                            \
	{                                                                                          \
		statement;                                                                         \
	}

CHANGE(log_level, log_set_level(LOG_LEVEL_DEBUG))
CHANGE(device_name, settings()->name = (char *)"esp1")
CHANGE(port, settings()->port = (char *)"/dev/ttyACM0")
CHANGE(state, bench.dev->state = DEVICE_JOINING)
CHANGE(model, strcpy(bench.dev->version.chip, "ESP32C3"))
CHANGE(firmware, strcpy(bench.dev->firmware, "v4.2.0.0"))
CHANGE(core, strcpy(bench.dev->version.core, "4.0.0.0"))
CHANGE(mac, strcpy(bench.dev->mac, "24:0a:c4:12:34:57"))
CHANGE(baud, bench.dev->baud = 921600)
CHANGE(flow, bench.dev->rtscts = true)
CHANGE(flow_error, bench.dev->flow_failed = "the firmware refuses")
CHANGE(links, fake.links = 2)
CHANGE(heap, fake.heap = 70000)
CHANGE(clock, fake.clock = "sntp")
CHANGE(resets, fake.resets = 4)
CHANGE(flash_writes, fake.flash_writes = 1ull << 41)
CHANGE(error, strcpy(bench.dev->error, "nothing answers"))
CHANGE(ssid, strcpy(fake.wifi.ssid, "lab"))
CHANGE(bssid, strcpy(fake.wifi.bssid, "10:01:00:c4:0a:51"))
CHANGE(channel, fake.wifi.channel = 11)
CHANGE(rssi, fake.wifi.rssi = -70)
CHANGE(address, strcpy(fake.wifi.address, "10.0.2.15"))
CHANGE(connected, fake.wifi.connected = true)
CHANGE(tunnel_name, config()->name = (char *)"other")
CHANGE(tunnel_device, config()->device = NULL)
CHANGE(host, config()->host = (char *)"other.example")
CHANGE(tunnel_port, config()->port = 443)
CHANGE(path, fake.tunnel_path = "/run/espat/other.sock")
CHANGE(verified, config()->insecure = true)
CHANGE(origin, bench.origin = "persistent")
CHANGE(tunnel_state, fake.tunnel_state = TUNNEL_FAILED)
CHANGE(clients, fake.clients = 5)
CHANGE(waiting, fake.waiting = 6)
CHANGE(sent, bench.tunnel->sent = 1000)
CHANGE(received, bench.tunnel->received = 1001)
CHANGE(connects, bench.tunnel->connects = 7)
CHANGE(failures, bench.tunnel->failures = 8)
CHANGE(aborted, bench.tunnel->aborted = 9)
CHANGE(reason, fake.tunnel_reason = "timeout")

/* The reason stays, so that only one of the two is another. */
CHANGE(tunnel_error, fake.tunnel_reason = ""; fake.tunnel_error = "nobody listens there")

static const struct row {
	const char *interface, *name;
	void (*change)(void); /* NULL: there is no other value */
	const char *value;    /* then */
} rows[] = {
	{ "Manager", "Version", NULL, NULL },
	{ "Manager", "LogLevel", change_log_level, "debug" },
	{ "Device", "Name", change_device_name, "esp1" },
	{ "Device", "Port", change_port, "/dev/ttyACM0" },
	{ "Device", "State", change_state, "joining" },
	{ "Device", "Model", change_model, "ESP32C3" },
	{ "Device", "Firmware", change_firmware, "v4.2.0.0" },
	{ "Device", "Core", change_core, "4.0.0.0" },
	{ "Device", "Mac", change_mac, "24:0a:c4:12:34:57" },
	{ "Device", "Baud", change_baud, "921600" },
	{ "Device", "FlowControl", change_flow, "rtscts" },
	{ "Device", "FlowControlError", change_flow_error, "the firmware refuses" },
	{ "Device", "Links", NULL, NULL },
	{ "Device", "LinksInUse", change_links, "2" },
	{ "Device", "FreeHeap", change_heap, "70000" },
	{ "Device", "Clock", change_clock, "sntp" },
	{ "Device", "Resets", change_resets, "4" },
	{ "Device", "FlashWrites", change_flash_writes, "2199023255552" },
	{ "Device", "LastError", change_error, "nothing answers" },
	{ "Wifi", "Ssid", change_ssid, "lab" },
	{ "Wifi", "Bssid", change_bssid, "10:01:00:c4:0a:51" },
	{ "Wifi", "Channel", change_channel, "11" },
	{ "Wifi", "Rssi", change_rssi, "-70" },
	{ "Wifi", "Address", change_address, "10.0.2.15" },
	{ "Wifi", "Connected", change_connected, "1" },
	{ "Tunnel", "Name", change_tunnel_name, "other" },
	{ "Tunnel", "Device", change_tunnel_device, CONFIG_DEVICE_ANY },
	{ "Tunnel", "Host", change_host, "other.example" },
	{ "Tunnel", "Port", change_tunnel_port, "443" },
	{ "Tunnel", "SocketPath", change_path, "/run/espat/other.sock" },
	{ "Tunnel", "Verified", change_verified, "0" },
	{ "Tunnel", "Origin", change_origin, "persistent" },
	{ "Tunnel", "State", change_tunnel_state, "failed" },
	{ "Tunnel", "Clients", change_clients, "5" },
	{ "Tunnel", "Waiting", change_waiting, "6" },
	{ "Tunnel", "BytesSent", change_sent, "1000" },
	{ "Tunnel", "BytesReceived", change_received, "1001" },
	{ "Tunnel", "Connects", change_connects, "7" },
	{ "Tunnel", "Failures", change_failures, "8" },
	{ "Tunnel", "Aborted", change_aborted, "9" },
	{ "Tunnel", "LastErrorReason", change_reason, "timeout" },
	{ "Tunnel", "LastError", change_tunnel_error, "nobody listens there" },
};

/* ---- what is told ---- */

/* "org.espat1.Device State=joining\n" */
static char told[4096];

static int on_told(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	char type[2], text[256];
	const char *interface, *name;

	assert_string_equal(sd_bus_message_get_member(m), "PropertiesChanged");
	assert_true(sd_bus_message_read(m, "s", &interface) > 0);
	assert_true(sd_bus_message_enter_container(m, 'a', "{sv}") > 0);
	while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
		assert_true(sd_bus_message_read(m, "s", &name) > 0);
		bench_read_value(m, type, text, sizeof(text));
		snprintf(told + strlen(told), sizeof(told) - strlen(told), "%s %s=%s\n", interface,
			 name, text);
		assert_true(sd_bus_message_exit_container(m) > 0);
	}
	assert_true(sd_bus_message_exit_container(m) > 0);
	/* None without its value. */
	assert_true(sd_bus_message_enter_container(m, 'a', "s") > 0);
	assert_true(sd_bus_message_at_end(m, 0) > 0);
	return 0;
}

static int on_matched(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	bool *done = userdata;

	*done = true;
	return 0;
}

static void listen_to_changes(void)
{
	bool done = false;

	assert_true(sd_bus_add_match_async(bench.me->sd, NULL, "type='signal',sender='org.espat1'",
					   on_told, on_matched, &done) >= 0);
	bench_await(done);
}

/* Says no more than that something has changed, as devices and tunnels do; nobody says it of the log. */
static void note(const char *interface)
{
	if (strcmp(interface, "Tunnel") == 0)
		fake_tunnel_changed(bench.tunnel);
	else if (strcmp(interface, "Manager") != 0)
		fake_device_changed(bench.dev);
}

static const char *path_of(const char *interface)
{
	if (strcmp(interface, "Manager") == 0)
		return BUS_PATH;
	return strcmp(interface, "Tunnel") == 0 ? BUS_TUNNELS "/broker" : BUS_DEVICES "/esp0";
}

static void read_property(const struct row *row, char *text, size_t size)
{
	struct bench_reply reply;
	char interface[64], type[2];

	snprintf(interface, sizeof(interface), "org.espat1.%s", row->interface);
	assert_string_equal(bench_ask(&reply, path_of(row->interface), PROPERTIES, "Get", "ss",
				      interface, row->name),
			    "");
	bench_read_value(reply.m, type, text, size);
	bench_reply_clear(&reply);
}

static void check_row(const struct row *row, bool emits)
{
	char want[256] = "", before[256], after[256];

	if (emits && !row->change)
		fail_msg("%s.%s: the XML says that it changes", row->interface, row->name);
	read_property(row, before, sizeof(before));
	told[0] = '\0';
	if (row->change)
		row->change();
	note(row->interface);
	bench_settle();
	read_property(row, after, sizeof(after));
	if (row->change) {
		assert_string_equal(after, row->value);
		assert_string_not_equal(after, before);
	}
	if (emits)
		snprintf(want, sizeof(want), "org.espat1.%s %s=%s\n", row->interface, row->name,
			 row->value);
	if (strcmp(told, want) != 0)
		fail_msg("%s.%s: told was '%s', not '%s'", row->interface, row->name, told, want);
}

/* ---- the XML ---- */

/* Which rows a property of the XML was found for. */
static bool seen[ARRAY_SIZE(rows)];

/* As the D-Bus specification has it; others of its words ("invalidates") are not ours. */
static bool property_emits(const char *start, const char *end)
{
	const char *emits = memmem(start, (size_t)(end - start), EMITS, strlen(EMITS));

	if (!emits)
		return true;
	emits += strlen(EMITS);
	if (strncmp(emits, "const\"", 6) == 0 || strncmp(emits, "false\"", 6) == 0)
		return false;
	assert_memory_equal(emits, "true\"", 5);
	return true;
}

static void check_property(const char *interface, const char *start)
{
	const char *tag = strchr(start, '>'), *end = strstr(start, "</property>");
	char name[64];

	assert_int_equal(sscanf(start, "<property name=\"%63[^\"]\"", name), 1);
	assert_non_null(tag);
	if (tag[-1] == '/')
		end = tag;
	assert_non_null(end);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (strcmp(rows[i].interface, interface) == 0 && strcmp(rows[i].name, name) == 0) {
			seen[i] = true;
			check_row(&rows[i], property_emits(start, end));
			return;
		}
	fail_msg("%s.%s: no row", interface, name);
}

static void check_interface(const char *file)
{
	char path[512], interface[64];
	char *xml;

	assert_int_equal(sscanf(file, "org.espat1.%63[^.].xml", interface), 1);
	snprintf(path, sizeof(path), "%s/%s", XML_DIR, file);
	xml = read_file(path);
	for (const char *p = xml; (p = strstr(p, "<property ")); p++)
		check_property(interface, p);
	free(xml);
}

static void test_each_property(void **state)
{
	/* Of that name as well, and it keeps it. */
	struct config_device device = { .name = settings()->name };
	DIR *dir = opendir(XML_DIR);
	struct dirent *entry;

	assert_non_null(dir);
	memset(seen, 0, sizeof(seen));
	config()->device = &device;
	listen_to_changes();
	while ((entry = readdir(dir)))
		if (strstr(entry->d_name, ".xml"))
			check_interface(entry->d_name);
	closedir(dir);
	log_set_level(LOG_LEVEL_INFO);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (!seen[i])
			fail_msg("%s.%s: not in the XML", rows[i].interface, rows[i].name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_property, bench_setup, bench_teardown),
	};

	if (!bench_possible())
		return 77; /* skipped: there is no dbus-daemon */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
