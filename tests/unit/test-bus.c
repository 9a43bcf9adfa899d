/* SPDX-License-Identifier: MIT */
/*
 * bus: what is on the bus, what is told of it, the name and the connection. Each property's change is in
 * test-bus-changes.c, calls are in test-bus-calls.c, who may make them in test-bus-auth.c.
 */
#include "bus-bench.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/internal.h"
#include "read-text.h"
#include "util/log.h"

#define DEVICE "/org/espat1/device/esp0"
#define TUNNEL "/org/espat1/tunnel/broker"
#define PROPERTIES "org.freedesktop.DBus.Properties"

/* ---- introspection ---- */

/*
 * The lines of one interface, without indentation, comments, and what ends an element: so XML that is
 * written by hand and the library's can be compared.
 */
static void interface_lines(char *buf, size_t size, const char *xml, const char *interface)
{
	char head[128];
	const char *p, *end;
	size_t used = 0;

	snprintf(head, sizeof(head), "<interface name=\"%s\">", interface);
	p = strstr(xml, head);
	assert_non_null(p);
	end = strstr(p, "</interface>");
	assert_non_null(end);
	for (p = strchr(p, '\n'); p && p < end; p = strchr(p, '\n')) {
		size_t len;

		p += 1 + strspn(p + 1, " \t");
		len = strcspn(p, "\n");
		if (p[0] != '<' || p[1] == '/' || p[1] == '!')
			continue;
		if (len > 2 && strncmp(p + len - 2, "/>", 2) == 0)
			len -= 2;
		else if (p[len - 1] == '>')
			len--;
		assert_true(used + len + 2 < size);
		memcpy(buf + used, p, len);
		used += len;
		buf[used++] = '\n';
	}
	buf[used] = '\0';
}

static void test_introspection(void **state)
{
	static const struct {
		const char *path, *name;
	} cases[] = {
		{ "/org/espat1", "Manager" }, { DEVICE, "Device" }, { DEVICE, "Wifi" },
		{ DEVICE, "Certificates" },   { TUNNEL, "Tunnel" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char interface[64], path[512], want[8192], is[8192], *xml;
		struct bench_reply reply;
		const char *told;

		snprintf(interface, sizeof(interface), "org.espat1.%s", cases[i].name);
		snprintf(path, sizeof(path), "%s/%s.xml", XML_DIR, interface);
		xml = read_file(path);
		assert_string_equal(bench_ask(&reply, cases[i].path,
					      "org.freedesktop.DBus.Introspectable", "Introspect",
					      ""),
				    "");
		assert_true(sd_bus_message_read(reply.m, "s", &told) > 0);
		interface_lines(want, sizeof(want), xml, interface);
		interface_lines(is, sizeof(is), told, interface);
		assert_string_equal(is, want);
		free(xml);
		bench_reply_clear(&reply);
	}
}

/* Every path that there is, in one answer of the object manager. */
static void test_managed_objects(void **state)
{
	struct bench_reply reply;
	const char *path, *interface;
	char seen[1024] = "";

	bench_ask(&reply, "/org/espat1", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects",
		  "");
	assert_true(sd_bus_message_enter_container(reply.m, 'a', "{oa{sa{sv}}}") > 0);
	while (sd_bus_message_enter_container(reply.m, 'e', "oa{sa{sv}}") > 0) {
		assert_true(sd_bus_message_read(reply.m, "o", &path) > 0);
		assert_true(sd_bus_message_enter_container(reply.m, 'a', "{sa{sv}}") > 0);
		while (sd_bus_message_enter_container(reply.m, 'e', "sa{sv}") > 0) {
			assert_true(sd_bus_message_read(reply.m, "s", &interface) > 0);
			assert_true(sd_bus_message_skip(reply.m, "a{sv}") > 0);
			if (strncmp(interface, "org.espat1", 10) == 0)
				sprintf(seen + strlen(seen), "%s %s\n", path, interface + 11);
			sd_bus_message_exit_container(reply.m);
		}
		sd_bus_message_exit_container(reply.m);
		sd_bus_message_exit_container(reply.m);
	}
	assert_non_null(strstr(seen, DEVICE " Device\n"));
	assert_non_null(strstr(seen, DEVICE " Wifi\n"));
	assert_non_null(strstr(seen, DEVICE " Certificates\n"));
	assert_non_null(strstr(seen, TUNNEL " Tunnel\n"));
	bench_reply_clear(&reply);
}

/* ---- properties ---- */

static void assert_property(const char *path, const char *interface, const char *name,
			    const char *type, const char *want)
{
	struct bench_reply reply;
	char is[2], text[256];

	assert_string_equal(bench_ask(&reply, path, PROPERTIES, "Get", "ss", interface, name), "");
	bench_read_value(reply.m, is, text, sizeof(text));
	assert_string_equal(is, type);
	assert_string_equal(text, want);
	bench_reply_clear(&reply);
}

static void test_properties(void **state)
{
	static const struct {
		const char *path, *interface, *name, *type, *value;
	} cases[] = {
		{ "/org/espat1", "Manager", "LogLevel", "s", "info" },
		{ DEVICE, "Device", "Name", "s", "esp0" },
		{ DEVICE, "Device", "Port", "s", "/dev/ttyUSB0" },
		{ DEVICE, "Device", "State", "s", "ready" },
		{ DEVICE, "Device", "Model", "s", "ESP32" },
		{ DEVICE, "Device", "Firmware", "s", "v4.1.0.0-dev" },
		{ DEVICE, "Device", "Core", "s", "3.5.0.0-dev" },
		{ DEVICE, "Device", "Mac", "s", "24:0a:c4:12:34:56" },
		{ DEVICE, "Device", "Baud", "u", "115200" },
		{ DEVICE, "Device", "FlowControl", "s", "none" },
		{ DEVICE, "Device", "FlowControlError", "s", "the chip's RTS cannot be seen" },
		{ DEVICE, "Device", "Links", "u", "5" },
		{ DEVICE, "Device", "LinksInUse", "u", "4" },
		{ DEVICE, "Device", "FreeHeap", "u", "123456" },
		{ DEVICE, "Device", "Clock", "s", "host" },
		{ DEVICE, "Device", "Resets", "t", "3" },
		{ DEVICE, "Device", "FlashWrites", "t", "1099511627776" },
		/* what the chip says may be anything; the bus takes UTF-8 only */
		{ DEVICE, "Device", "LastError", "s", "caf\xef\xbf\xbd" },
		{ DEVICE, "Wifi", "Ssid", "s", "lab\xef\xbf\xbd" },
		{ DEVICE, "Wifi", "Bssid", "s", "10:01:00:c4:0a:51" },
		{ DEVICE, "Wifi", "Channel", "u", "6" },
		{ DEVICE, "Wifi", "Rssi", "i", "-61" },
		{ DEVICE, "Wifi", "Address", "s", "10.0.2.15" },
		{ DEVICE, "Wifi", "Connected", "b", "1" },
		{ TUNNEL, "Tunnel", "Name", "s", "broker" },
		{ TUNNEL, "Tunnel", "Device", "s", "esp0" },
		{ TUNNEL, "Tunnel", "Host", "s", "broker.example" },
		{ TUNNEL, "Tunnel", "Port", "q", "8883" },
		{ TUNNEL, "Tunnel", "SocketPath", "s", "/run/espat/broker.sock" },
		{ TUNNEL, "Tunnel", "Verified", "b", "1" },
		{ TUNNEL, "Tunnel", "Origin", "s", "configuration" },
		{ TUNNEL, "Tunnel", "State", "s", "listening" },
		{ TUNNEL, "Tunnel", "Clients", "u", "3" },
		{ TUNNEL, "Tunnel", "Waiting", "u", "2" },
		{ TUNNEL, "Tunnel", "BytesSent", "t", "10" },
		{ TUNNEL, "Tunnel", "BytesReceived", "t", "11" },
		{ TUNNEL, "Tunnel", "Connects", "t", "12" },
		{ TUNNEL, "Tunnel", "Failures", "t", "13" },
		{ TUNNEL, "Tunnel", "Aborted", "t", "14" },
		{ TUNNEL, "Tunnel", "LastError", "s", "nobody listens there" },
		{ TUNNEL, "Tunnel", "LastErrorReason", "s", "refused" },
	};

	fake.links = 4;
	fake.heap = 123456;
	fake.clients = 3;
	fake.tunnel_error = "nobody listens there";
	fake.wifi = (struct device_wifi){ .ssid = "lab\xfc",
					  .bssid = "10:01:00:c4:0a:51",
					  .channel = 6,
					  .rssi = -61,
					  .address = "10.0.2.15",
					  .connected = true };
	strcpy(bench.dev->error, "caf\xe9");
	bench.dev->flow_failed = "the chip's RTS cannot be seen";
	bench.tunnel->sent = 10;
	bench.tunnel->received = 11;
	bench.tunnel->connects = 12;
	bench.tunnel->failures = 13;
	bench.tunnel->aborted = 14;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char interface[64];

		snprintf(interface, sizeof(interface), "org.espat1.%s", cases[i].interface);
		assert_property(cases[i].path, interface, cases[i].name, cases[i].type,
				cases[i].value);
	}
}

/* All that is in an interface can be read, and nothing can be written. */
static void test_no_other_property(void **state)
{
	struct bench_reply reply;

	assert_string_equal(
		bench_ask(&reply, DEVICE, PROPERTIES, "Get", "ss", "org.espat1.Device", "Password"),
		SD_BUS_ERROR_UNKNOWN_PROPERTY);
	bench_reply_clear(&reply);
	assert_string_equal(bench_ask(&reply, DEVICE, PROPERTIES, "Set", "ssv", "org.espat1.Device",
				      "State", "s", "ready"),
			    SD_BUS_ERROR_PROPERTY_READ_ONLY);
	bench_reply_clear(&reply);
	assert_string_equal(bench_ask(&reply, "/org/espat1/device/esp9", PROPERTIES, "Get", "ss",
				      "org.espat1.Device", "State"),
			    SD_BUS_ERROR_UNKNOWN_OBJECT);
	bench_reply_clear(&reply);
}

/* ---- signals ---- */

/* What was told, a line each. */
static char told[65536];
static unsigned int n_told;

static void tell_strings(sd_bus_message *m)
{
	const char *s;

	assert_true(sd_bus_message_enter_container(m, 'a', "s") > 0);
	while (sd_bus_message_read(m, "s", &s) > 0)
		sprintf(told + strlen(told), " %s", s);
	assert_true(sd_bus_message_exit_container(m) > 0);
}

static void tell_keys(sd_bus_message *m, const char *entry, const char *value)
{
	const char *key;

	assert_true(sd_bus_message_enter_container(m, 'a', entry) > 0);
	while (sd_bus_message_at_end(m, 0) == 0) {
		char contents[32];

		snprintf(contents, sizeof(contents), "%.*s", (int)strlen(entry) - 2, entry + 1);
		assert_true(sd_bus_message_enter_container(m, 'e', contents) > 0);
		assert_true(sd_bus_message_read(m, "s", &key) > 0);
		if (strncmp(key, "org.freedesktop", 15) != 0)
			sprintf(told + strlen(told), " %s", key);
		assert_true(sd_bus_message_skip(m, value) > 0);
		assert_true(sd_bus_message_exit_container(m) > 0);
	}
	assert_true(sd_bus_message_exit_container(m) > 0);
}

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	const char *member = sd_bus_message_get_member(m), *a, *b;

	n_told++;
	sprintf(told + strlen(told), "%s %s", member, strrchr(sd_bus_message_get_path(m), '/') + 1);
	if (strcmp(member, "PropertiesChanged") == 0) {
		assert_true(sd_bus_message_read(m, "s", &a) > 0);
		tell_keys(m, "{sv}", "v");
	} else if (strcmp(member, "InterfacesAdded") == 0) {
		assert_true(sd_bus_message_read(m, "o", &a) > 0);
		sprintf(told + strlen(told), " %s", a);
		tell_keys(m, "{sa{sv}}", "a{sv}");
	} else if (strcmp(member, "InterfacesRemoved") == 0) {
		assert_true(sd_bus_message_read(m, "o", &a) > 0);
		sprintf(told + strlen(told), " %s", a);
		tell_strings(m);
	} else {
		assert_true(sd_bus_message_read(m, "ss", &a, &b) > 0);
		sprintf(told + strlen(told), " %s %s", a, b);
	}
	strcat(told, "\n");
	return 0;
}

static int on_matched(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	bool *done = userdata;

	*done = true;
	return 0;
}

static void listen_to_signals(void)
{
	bool done = false;

	told[0] = '\0';
	n_told = 0;
	sd_bus_add_match_async(bench.me->sd, NULL, "type='signal',sender='org.espat1'", on_signal,
			       on_matched, &done);
	bench_await(done);
}

static void test_changes(void **state)
{
	listen_to_signals();
	/* Several at once are one signal, of what is another than before only. */
	bench.dev->state = DEVICE_JOINING;
	fake_device_changed(bench.dev);
	fake.heap = 5;
	fake.wifi.rssi = -40;
	fake_device_changed(bench.dev);
	bench_settle();
	assert_string_equal(told, "PropertiesChanged esp0 State FreeHeap\n"
				  "PropertiesChanged esp0 Rssi\n");
	/* Nothing has changed. */
	fake_device_changed(bench.dev);
	bench_settle();
	assert_int_equal(n_told, 2);
	/* Bytes are read by whoever wants to know. */
	told[0] = '\0';
	bench.tunnel->sent = 77;
	bench.tunnel->connects = 1;
	fake_tunnel_changed(bench.tunnel);
	bench_settle();
	assert_string_equal(told, "PropertiesChanged broker Connects\n");
}

static void test_connection_failed(void **state)
{
	listen_to_signals();
	fake.tunnel_error = "nobody listens there";
	fake_tunnel_failed(bench.tunnel, "refused", "no\xff");
	bench_settle();
	assert_string_equal(told, "ConnectionFailed broker refused no\xef\xbf\xbd\n"
				  "PropertiesChanged broker LastError LastErrorReason\n");
}

static void test_log_level_is_told(void **state)
{
	struct bench_reply reply;

	listen_to_signals();
	assert_string_equal(
		bench_ask(&reply, "/org/espat1", "org.espat1.Manager", "SetLogLevel", "s", "debug"),
		"");
	bench_reply_clear(&reply);
	bench_settle();
	assert_string_equal(told, "PropertiesChanged espat1 LogLevel\n");
	assert_int_equal(log_get_level(), LOG_LEVEL_DEBUG);
	log_set_level(LOG_LEVEL_INFO);
}

static void test_objects_come_and_go(void **state)
{
	struct device *dev = fake_device("2.b-c");
	struct bench_reply reply;

	listen_to_signals();
	assert_int_equal(bus_add_device(bench.bus, dev), 0);
	bench_settle();
	assert_non_null(strstr(told, "InterfacesAdded espat1 /org/espat1/device/_32_2eb_2dc "));
	assert_non_null(strstr(told, " org.espat1.Device"));
	assert_non_null(strstr(told, " org.espat1.Wifi"));
	assert_non_null(strstr(told, " org.espat1.Certificates"));
	assert_int_equal(n_told, 1);
	told[0] = '\0';
	assert_property("/org/espat1/device/_32_2eb_2dc", "org.espat1.Device", "Name", "s",
			"2.b-c");
	bus_remove_device(bench.bus, dev);
	fake_device_free(dev);
	bench_settle();
	assert_non_null(strstr(told, "InterfacesRemoved espat1 /org/espat1/device/_32_2eb_2dc"));
	assert_non_null(strstr(told, " org.espat1.Wifi"));
	assert_string_equal(
		bench_ask(&reply, "/org/espat1/device/_32_2eb_2dc", PROPERTIES, "GetAll", "s", ""),
		SD_BUS_ERROR_UNKNOWN_OBJECT);
	bench_reply_clear(&reply);
	/* One that has gone before it was told of is not mentioned. */
	told[0] = '\0';
	dev = fake_device("brief");
	assert_int_equal(bus_add_device(bench.bus, dev), 0);
	fake_device_changed(dev);
	bus_remove_device(bench.bus, dev);
	fake_device_free(dev);
	bench_settle();
	assert_string_equal(told, "");
}

/* As many as a configuration may have: all are told of, over several turns. */
static void test_many_objects(void **state)
{
	struct tunnel *tunnels[256];
	char name[32];

	listen_to_signals();
	for (size_t i = 0; i < ARRAY_SIZE(tunnels); i++) {
		snprintf(name, sizeof(name), "t%zu", i);
		tunnels[i] = fake_tunnel(name, bench.dev);
		assert_int_equal(bus_add_tunnel(bench.bus, tunnels[i]), 0);
	}
	bench_await(n_told == 256);
	for (size_t i = 0; i < ARRAY_SIZE(tunnels); i++)
		assert_ptr_equal(bus_find(bench.bus, BUS_TUNNEL, tunnels[i]->config->name)->tunnel,
				 tunnels[i]);
	for (size_t i = 0; i < ARRAY_SIZE(tunnels); i++) {
		bus_remove_tunnel(bench.bus, tunnels[i]);
		fake_tunnel_free(tunnels[i]);
	}
	bench_await(n_told == 512);
}

/* ---- the connection ---- */

static void test_restart_of_the_bus(void **state)
{
	struct bench_reply pending, reply;

	/* One is under way: it ends with its bus, and what was begun is given up. */
	bench_call(bench.me, &pending, DEVICE, "org.espat1.Device", "Reset", "");
	bench_await(fake.n == 1);
	bench_stop_daemon();
	bench_await(!bench.bus->sd && !bench.me->sd);
	assert_true(fake.requests[0].cancelled);
	assert_int_equal(bench.bus->n_requests, 0);
	assert_true(bench_logged("connection to the bus was lost"));
	bench_reply_clear(&pending);
	/* What happens meanwhile is not told to anybody, and does no harm. */
	fake_device_changed(bench.dev);
	fake_tunnel_failed(bench.tunnel, "refused", "no");
	/* Nobody is there: it tries again, later and later, and says it once. */
	bench.n_log = 0;
	for (int i = 0; i < 10; i++)
		bench_pass(60 * TIMERS_S);
	assert_null(bench.bus->sd);
	assert_int_equal(bench.n_log, 0);
	assert_true(timer_armed(&bench.bus->retry));
	bench_start_daemon();
	bench_pass(60 * TIMERS_S);
	bench.me = bench_connect();
	bench_await_name();
	assert_true(bench_logged("org.espat1 is on the bus"));
	assert_property(DEVICE, "org.espat1.Device", "State", "s", "ready");
	assert_string_equal(bench_ask(&reply, "/org/espat1", "org.espat1.Manager", "Reload", ""),
			    "");
	bench_reply_clear(&reply);
}

static void test_no_bus_at_the_start(void **state)
{
	bench.bus = bus_free(bench.bus);
	bench_stop_daemon();
	bench.n_log = 0;
	bench_start_bus(bench.address);
	assert_true(bench_logged("cannot connect to the bus"));
	bench_start_daemon();
	bench_pass(60 * TIMERS_S);
	bench_await_name();
}

static void test_no_bus_at_all(void **state)
{
	bench.bus = bus_free(bench.bus);
	bench.n_log = 0;
	bench_start_bus("none");
	bus_prepare(bench.bus);
	fake_device_changed(bench.dev);
	bench_pass(60 * TIMERS_S);
	bus_prepare(bench.bus);
	bus_remove_tunnel(bench.bus, bench.tunnel);
	assert_null(bench.bus->sd);
	assert_int_equal(bench.n_log, 0);
}

static void test_name_of_another(void **state)
{
	bool named = false;

	bench.bus = bus_free(bench.bus);
	assert_true(sd_bus_request_name_async(bench.me->sd, NULL, "org.espat1", 0, on_matched,
					      &named) >= 0);
	bench_await(named);
	bench_start_bus(bench.address);
	bench_await(bench.bus->queued);
	assert_true(bench_logged("another process has the name org.espat1"));
	assert_false(bench.bus->named);
	/* It goes: we are next. */
	bench_disconnect(bench.me);
	bench_await_name();
	bench.me = bench_connect();
	assert_property(DEVICE, "org.espat1.Device", "State", "s", "ready");
}

/* Nobody may own the name: it is asked for again, by and by. */
static void test_name_that_is_refused(void **state)
{
	char command[200];

	bench.bus = bus_free(bench.bus);
	bench_disconnect(bench.me);
	bench_stop_daemon();
	snprintf(command, sizeof(command), "sed -i 's/<allow own=/<deny own=/' %s/bus.conf",
		 bench.dir);
	assert_int_equal(system(command), 0);
	bench_start_daemon();
	bench_start_bus(bench.address);
	bench_await(bench.bus->complained);
	assert_true(bench_logged("does not give us the name"));
	bench.n_log = 0;
	bench_pass(60 * TIMERS_S);
	bench_await(timer_armed(&bench.bus->retry));
	assert_int_equal(bench.n_log, 0);
	assert_non_null(bench.bus->sd);
}

static void test_stop(void **state)
{
	struct bench_reply reset, waiting;

	bench_call(bench.me, &reset, DEVICE, "org.espat1.Device", "Reset", "");
	bench_await(fake.n == 1);
	bench_start_polkit(NULL);
	bench_be_stranger();
	bench_call(bench.me, &waiting, "/org/espat1", "org.espat1.Manager", "Reload", "");
	bench_await(bench.asked == 1);
	bench.bus = bus_free(bench.bus);
	assert_true(fake.requests[0].cancelled);
	bench_await_reply(&reset);
	bench_await_reply(&waiting);
	assert_string_equal(reset.error, "Stopping");
	assert_string_equal(waiting.error, "Stopping");
	assert_int_equal(bench.n_ops, 0);
	bench_reply_clear(&reset);
	bench_reply_clear(&waiting);
}

static void test_addresses(void **state)
{
	static const struct {
		const char *address;
		bool good;
	} cases[] = {
		{ "system", true },
		{ "session", true },
		{ "none", true },
		{ "unix:path=/run/dbus/system_bus_socket", true },
		{ "unix:abstract=/x", true },
		{ "tcp:host=127.0.0.1,port=1", true },
		{ "", false },
		{ "System", false },
		{ "/run/dbus/system_bus_socket", false },
		{ "unix:", false },
		{ "unixexec:path=/bin/sh", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(bus_check_address(cases[i].address) == NULL, cases[i].good);
}

#define BENCH_TEST(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BENCH_TEST(test_introspection),
		BENCH_TEST(test_managed_objects),
		BENCH_TEST(test_properties),
		BENCH_TEST(test_no_other_property),
		BENCH_TEST(test_changes),
		BENCH_TEST(test_connection_failed),
		BENCH_TEST(test_log_level_is_told),
		BENCH_TEST(test_objects_come_and_go),
		BENCH_TEST(test_many_objects),
		BENCH_TEST(test_restart_of_the_bus),
		BENCH_TEST(test_no_bus_at_the_start),
		BENCH_TEST(test_no_bus_at_all),
		BENCH_TEST(test_name_of_another),
		BENCH_TEST(test_name_that_is_refused),
		BENCH_TEST(test_stop),
		cmocka_unit_test(test_addresses),
	};

	if (!bench_possible())
		return 77; /* skipped: there is no dbus-daemon */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
