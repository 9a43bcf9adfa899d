/* SPDX-License-Identifier: MIT */
/* ctl/doctor: each rule by what it is to find, and that nothing is found where nothing is wrong. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "ctl/doctor.h"

#define NOW 1800000000
#define S(text) ((char *)(text))

static struct snap_device good_device(void)
{
	return (struct snap_device){
		.name = S("esp0"),
		.port = S("/dev/ttyUSB0"),
		.state = S("ready"),
		.mac = S("24:0a:c4:12:34:56"),
		.clock = S("host"),
		.last_error = S(""),
		.flow_control = S("none"),
		.flow_control_error = S(""),
		.ssid = S("lab"),
		.connected = true,
		.baud = 115200,
		.links = 5,
		.free_heap = 112000,
		.rssi = -52,
	};
}

static struct snap_tunnel good_tunnel(void)
{
	return (struct snap_tunnel){
		.name = S("broker"),
		.device = S("esp0"),
		.host = S("broker.example"),
		.port = 8883,
		.socket_path = S("/run/espat/broker.sock"),
		.state = S("listening"),
		.last_error = S(""),
		.last_error_reason = S(""),
		.verified = true,
	};
}

static struct snap_material good_material(void)
{
	return (struct snap_material){
		.name = S("corp"),
		.generation = 1,
		.not_before = NOW - 1000,
		.not_after = NOW + 365 * 86400,
	};
}

/* All there is, healthy; what a test spoils is found. */
struct bench {
	struct snap_device device;
	struct snap_tunnel tunnel;
	struct snap_material authority, identity;
	struct snapshot snap;
	bool needs_rule, has_rule;
	struct doctor_input in;
	struct doctor_findings out;
};

static void bench_init(struct bench *b)
{
	*b = (struct bench){
		.device = good_device(),
		.tunnel = good_tunnel(),
		.authority = good_material(),
		.identity = good_material(),
	};
	b->snap = (struct snapshot){ .devices = &b->device,
				     .n_devices = 1,
				     .tunnels = &b->tunnel,
				     .n_tunnels = 1,
				     .authorities = &b->authority,
				     .n_authorities = 1,
				     .identities = &b->identity,
				     .n_identities = 1 };
	b->in = (struct doctor_input){ .running = true,
				       .now = NOW,
				       .needs_rule = &b->needs_rule,
				       .has_rule = &b->has_rule,
				       .snap = &b->snap };
}

/* The one finding, which is then gone. */
static void expect(struct bench *b, enum doctor_severity severity, const char *id, const char *what,
		   const char *advice)
{
	const struct doctor_finding *f;

	doctor_examine(&b->in, &b->out);
	for (size_t i = 0; b->out.n != 1 && i < b->out.n; i++)
		print_message("%s: %s\n", b->out.items[i].id, b->out.items[i].what);
	assert_int_equal(b->out.n, 1);
	f = &b->out.items[0];
	assert_string_equal(f->id, id);
	assert_int_equal(f->severity, severity);
	assert_int_equal(b->out.errors, severity == DOCTOR_ERROR);
	if (!strstr(f->what, what) || !strstr(f->advice, advice))
		fail_msg("%s: \"%s\" -> \"%s\"", id, f->what, f->advice);
	assert_null(strchr(f->what, '\n'));
	doctor_clear(&b->out);
}

static void expect_nothing(struct bench *b)
{
	doctor_examine(&b->in, &b->out);
	assert_int_equal(b->out.n, 0);
	assert_int_equal(b->out.errors, 0);
	doctor_clear(&b->out);
}

static void test_healthy(void **state)
{
	struct bench b;

	bench_init(&b);
	expect_nothing(&b);
	/* What is not known is not wrong. */
	b.device.rssi = 0;
	b.device.free_heap = 0;
	b.authority.not_after = 0;
	expect_nothing(&b);
	/* The limits themselves are good. */
	b.device.rssi = -75;
	b.device.free_heap = 40000;
	b.authority.not_after = NOW + DOCTOR_EXPIRY_SOON;
	expect_nothing(&b);
}

static void test_service(void **state)
{
	static const struct {
		const char *unit, *load, *id, *advice;
	} table[] = {
		{ NULL, NULL, "service-not-running", "systemctl start" },
		{ "inactive", "loaded", "service-not-running", "systemctl start" },
		{ "failed", "loaded", "service-failed", "journalctl" },
		{ "failed", "loaded", "service-failed", "right: sudo /" },
		{ "failed", "loaded", "service-failed", "/espatd -c /" },
		{ "active", "loaded", "service-without-bus", "--bus" },
		{ "activating", "loaded", "service-starting", "wait" },
		{ "inactive", "not-found", "service-not-installed", "install" },
		{ "inactive", "masked", "service-masked", "unmask" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct bench b;

		bench_init(&b);
		b.snap = (struct snapshot){ 0 };
		b.in.running = false;
		b.in.unit = table[i].unit;
		b.in.load = table[i].load;
		expect(&b, DOCTOR_ERROR, table[i].id, "espatd", table[i].advice);
	}
}

#define NO_ANSWER "no answer from a chip at 115200 baud: "

static void test_device(void **state)
{
	static const struct {
		const char *state, *error;
		unsigned int watched;
		enum doctor_severity severity;
		const char *id, *what, *advice;
	} table[] = {
		{ "absent", "cannot open /dev/ttyUSB0: Device or resource busy", 0, DOCTOR_ERROR,
		  "port", "busy", "fuser" },
		{ "absent", "cannot set up /dev/pts/3: another program uses it", 0, DOCTOR_ERROR,
		  "port", "another program", "fuser" },
		{ "absent", "cannot open /dev/ttyUSB0: Permission denied", 0, DOCTOR_ERROR, "port",
		  "denied", "user espat must be in the group of the device file (dialout" },
		{ "absent", "cannot open /dev/ttyS0: Operation not permitted", 0, DOCTOR_ERROR,
		  "port", "permitted", "DeviceAllow=char-ttyS rw" },
		{ "absent", "cannot open /dev/ttyS0: not in the unit's DeviceAllow=, permission", 0,
		  DOCTOR_ERROR, "port", "ttyS0", "DeviceAllow=char-ttyS rw" },
		{ "absent", "there is no /dev/ttyUSB0", 0, DOCTOR_ERROR, "port", "there is no",
		  "plugged in" },
		{ "absent", "no USB serial port 10c4:ea60 is plugged in", 0, DOCTOR_ERROR, "port",
		  "10c4", "by-id" },
		{ "absent", "/dev/null is not a serial port", 0, DOCTOR_ERROR, "port", "/dev/null",
		  "configuration" },
		{ "absent", "", 0, DOCTOR_ERROR, "port", "/dev/ttyUSB0", "cable" },
		{ "probing", "", 5, DOCTOR_ERROR, "no-answer", "115200 baud for 5 seconds",
		  "UART1" },
		{ "probing", "no answer from a chip at 115200 baud (tried AT)", 0, DOCTOR_ERROR,
		  "no-answer", "tried AT", "RTS and CTS" },
		{ "failed", "no answer from a chip at 9600 baud", 0, DOCTOR_ERROR, "no-answer",
		  "9600", "baud" },
		{ "failed", NO_ANSWER "the line is silent (tried AT)", 0, DOCTOR_ERROR, "no-answer",
		  "silent", "power" },
		{ "probing",
		  NO_ANSWER
		  "what came is the text of a boot loader or a log, so this is not the AT "
		  "port (tried AT)",
		  0, DOCTOR_ERROR, "wrong-uart", "boot loader", "UART1 (GPIO16 and 17)" },
		{ "failed", NO_ANSWER "what came is no text, is this the right rate? (tried AT)", 0,
		  DOCTOR_ERROR, "wrong-rate", "no text", "74880" },
		{ "failed", NO_ANSWER "what came is text, but not that of ESP-AT (tried AT)", 0,
		  DOCTOR_ERROR, "no-answer", "is text", "console" },
		{ "failed", NO_ANSWER "it has answered before (tried AT)", 0, DOCTOR_ERROR,
		  "no-answer", "before", "DTR and RTS" },
		{ "unknown-chip", "", 0, DOCTOR_ERROR, "unknown-chip", "24:0a:c4:12:34:56",
		  "espatctl adopt esp0" },
		{ "failed", "cannot join Wi-Fi \"lab\": wrong password", 0, DOCTOR_ERROR,
		  "wifi-password", "lab", "espatctl wifi join esp0" },
		{ "joining", "cannot join Wi-Fi \"lab\": no such access point in range", 0,
		  DOCTOR_ERROR, "wifi-join", "range", "wifi scan esp0" },
		{ "failed", "no answer from the time servers (`ntp_servers`)", 0, DOCTOR_ERROR,
		  "time-servers", "ntp", "time" },
		{ "failed", "AT version 3.1.0 is too old, espatd needs 3.2.0 or newer", 0,
		  DOCTOR_ERROR, "firmware", "3.1.0", "firmware" },
		{ "failed",
		  "this firmware has no AT+CWJEAP: enterprise Wi-Fi needs a build with it", 0,
		  DOCTOR_ERROR, "firmware", "CWJEAP", "firmware" },
		{ "failed", "AT+GMR is not answered as ESP-AT does", 0, DOCTOR_ERROR, "firmware",
		  "GMR", "firmware" },
		/* A network may have any name. */
		{ "failed",
		  "cannot join Wi-Fi \"password\": no such access point in range, by itself", 0,
		  DOCTOR_ERROR, "wifi-join", "range", "wifi scan esp0" },
		{ "failed",
		  "cannot join Wi-Fi \"too old\": the chip gave no reason (its firmware may not "
		  "know `bssid` and `hidden` in an enterprise network)",
		  0, DOCTOR_ERROR, "wifi-join", "no reason", "wifi scan esp0" },
		{ "failed",
		  "cannot join Wi-Fi \"this firmware\": the access point refused (wrong password, "
		  "or "
		  "none where one is needed?)",
		  0, DOCTOR_ERROR, "wifi-password", "refused", "wifi join esp0" },
		{ "setting-clock", "the host's own clock is not set, certificates cannot be judged",
		  0, DOCTOR_ERROR, "clock-waits", "own clock", "timedatectl" },
		{ "failed", "", 0, DOCTOR_ERROR, "failed", "cannot be brought up", "journalctl" },
		{ "failed", "two\nlines", 0, DOCTOR_ERROR, "failed", "", "journalctl" },
		{ "joining", "", 0, DOCTOR_NOTE, "on-its-way", "joining", "wait" },
		{ "provisioning", "old trouble", 5, DOCTOR_NOTE, "on-its-way", "provisioning",
		  "wait" },
		{ "setting-clock", "", 5, DOCTOR_WARNING, "clock-waits", "clock", "timedatectl" },
		{ "offline", "", 0, DOCTOR_NOTE, "offline", "left", "wifi join esp0" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct bench b;

		bench_init(&b);
		b.device.state = S(table[i].state);
		b.device.last_error = S(table[i].error);
		b.in.watched = table[i].watched;
		if (strchr(table[i].error, '\n')) {
			/* Its line end is the error's own: only the advice is cut off. */
			doctor_examine(&b.in, &b.out);
			assert_string_equal(b.out.items[0].what, "two\nlines");
			assert_non_null(strstr(b.out.items[0].advice, table[i].advice));
			doctor_clear(&b.out);
			continue;
		}
		expect(&b, table[i].severity, table[i].id, table[i].what, table[i].advice);
	}
}

/* A service in its sandbox, which has no network; the same word means another thing for a file. */
static void test_port_on_network(void **state)
{
	static const char *const errors[] = {
		"cannot connect to 127.0.0.1:1: Address family not supported by protocol",
		"cannot connect to 192.0.2.1:1: Operation not permitted",
	};
	struct bench b;

	bench_init(&b);
	b.device.state = S("absent");
	b.device.port = S("tcp:192.0.2.1:1");
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		b.device.last_error = S(errors[i]);
		expect(&b, DOCTOR_ERROR, "port", errors[i], "/espatd-tcp.conf to /etc/systemd");
	}
	b.device.last_error = S("cannot connect to 192.0.2.1:1: Connection refused");
	expect(&b, DOCTOR_ERROR, "port", "refused", "other end");
	b.device.port = S("unix:/run/x");
	b.device.last_error = S("cannot connect to /run/x: Operation not permitted");
	expect(&b, DOCTOR_ERROR, "port", "permitted", "other end");
}

/* One look at a chip that looks for its own is too little to say that there is none. */
static void test_probing_at_once(void **state)
{
	struct bench b;

	bench_init(&b);
	b.device.state = S("probing");
	expect_nothing(&b);
	assert_true(doctor_is_transient(&b.device));
	b.device.state = S("absent");
	assert_false(doctor_is_transient(&b.device));
}

static void test_ready(void **state)
{
	struct bench b;

	bench_init(&b);
	b.device.clock = S("unset");
	expect(&b, DOCTOR_ERROR, "clock-unset", "clock", "sync-time esp0");
	bench_init(&b);
	b.device.free_heap = 39999;
	expect(&b, DOCTOR_WARNING, "heap-low", "40 kB", "reset esp0");
	bench_init(&b);
	b.device.rssi = -76;
	expect(&b, DOCTOR_WARNING, "signal-weak", "-76 dBm from lab", "antenna");
	bench_init(&b);
	b.device.baud = 921600;
	b.device.flow_control_error = S("the chip's RTS cannot be seen");
	expect(&b, DOCTOR_WARNING, "no-rts",
	       "wanted at 921600 baud, and do not work: the chip's RTS cannot be seen",
	       "wire the chip's RTS to CTS of the adapter");
	b.device.flow_control_error = S("not all came back");
	expect(&b, DOCTOR_WARNING, "no-rts", "not all came back", "wire the chip's RTS");
	b.device.flow_control_error = S("this port has none");
	expect(&b, DOCTOR_WARNING, "no-rts", "this port has none", "another adapter");
	bench_init(&b);
	b.device.orphans = &(struct snap_orphan){ .namespace = S("client_ca") };
	b.device.n_orphans = 1;
	expect(&b, DOCTOR_NOTE, "orphans", "1 value on", "certs erase esp0");
}

static void test_modem_manager(void **state)
{
	struct bench b;

	bench_init(&b);
	b.needs_rule = true;
	expect_nothing(&b);
	b.in.modem_manager = true;
	expect(&b, DOCTOR_WARNING, "modem-manager", "/dev/ttyUSB0", "espatctl udev --write");
	b.has_rule = true;
	expect_nothing(&b);
	b.has_rule = b.needs_rule = false;
	expect_nothing(&b);
}

static void test_dates(void **state)
{
	struct bench b;

	bench_init(&b);
	b.identity.not_after = NOW;
	expect(&b, DOCTOR_ERROR, "expired", "expired on 2027-01-15", "set-identity");
	bench_init(&b);
	b.authority.not_after = NOW + 3 * 86400 + 5;
	expect(&b, DOCTOR_WARNING, "expires-soon", "in 3 days", "set-authority");
	bench_init(&b);
	b.authority.not_before = NOW + 1;
	expect(&b, DOCTOR_ERROR, "not-valid-yet", "not valid before", "timedatectl");
	bench_init(&b);
	b.authority.generation = 0;
	expect(&b, DOCTOR_WARNING, "no-material", "nothing", "set-authority corp FILE");
}

/* Only of values that belong to no name, as those of the names are looked at already. */
static void test_values(void **state)
{
	char *named[] = { S("authority:corp"), NULL }, *nvs[] = { S("nvs"), NULL },
	     *nobody[] = { NULL };
	struct snap_value value = { .namespace = S("mqtt_ca"),
				    .slot = SNAP_SLOT_NONE,
				    .not_after = NOW - 1 };
	struct bench b;

	bench_init(&b);
	b.device.values = &value;
	b.device.n_values = 1;
	value.used_by = named;
	expect_nothing(&b);
	value.used_by = nobody;
	expect_nothing(&b);
	value.used_by = nvs;
	expect(&b, DOCTOR_ERROR, "expired", "mqtt_ca (used by nvs)", "reload");
}

static void test_tunnel(void **state)
{
	static const char *const reasons[] = { "no-such-host",  "refused",
					       "timeout",       "not-trusted-or-handshake-failed",
					       "no-material",   "clock-not-set",
					       "out-of-memory", "wifi-down",
					       "chip-reset",    "unexplained" };
	struct bench b;

	bench_init(&b);
	b.tunnel.state = S("failed");
	b.tunnel.last_error = S("/run/espat/broker.sock: Permission denied");
	expect(&b, DOCTOR_ERROR, "socket", "Permission denied", "right to write");
	bench_init(&b);
	b.tunnel.state = S("waiting");
	expect(&b, DOCTOR_ERROR, "not-listening", "/run/espat/broker.sock", "journalctl");
	b.tunnel.device = S("esp9");
	expect(&b, DOCTOR_NOTE, "waits", "esp9", "device");
	b.tunnel.device = S("any");
	expect(&b, DOCTOR_ERROR, "not-listening", "the chip of esp0 is ready", "journalctl");
	b.device.state = S("offline");
	doctor_examine(&b.in, &b.out);
	assert_int_equal(b.out.n, 2);
	assert_string_equal(b.out.items[1].id, "waits");
	assert_string_equal(b.out.items[1].what, "it waits for any of the devices");
	doctor_clear(&b.out);
	bench_init(&b);
	b.tunnel.state = S("draining");
	expect(&b, DOCTOR_NOTE, "draining", "no clients", "");
	bench_init(&b);
	b.tunnel.verified = false;
	expect(&b, DOCTOR_WARNING, "insecure", "not verified", "authority");
	bench_init(&b);
	b.tunnel.last_error = S("it did not work");
	b.tunnel.failures = 3;
	b.tunnel.connects = 4;
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		b.tunnel.last_error_reason = S(reasons[i]);
		expect(&b, DOCTOR_WARNING, reasons[i],
		       "broker.example port 8883 has failed: it did not work (3 of 7)", "");
	}
	b.tunnel.last_error_reason = S("unheard-of");
	expect(&b, DOCTOR_WARNING, "last-error", "it did not work", "journalctl");
}

/* What is asked of openssl can be typed as it stands, and what was set last can be taken back. */
static void test_tunnel_tls(void **state)
{
	static const struct {
		const char *host, *line;
	} hosts[] = {
		{ "broker.example", "openssl s_client -tls1_2 -connect broker.example:8883 "
				    "-servername broker.example (or " },
		{ "192.0.2.7", "-connect 192.0.2.7:8883 -servername NAME (the" },
		{ "2001:db8::7", "-connect [2001:db8::7]:8883 -servername NAME (the" },
	};
	char *mine[] = { S("other"), S("broker"), NULL }, *others[] = { S("other"), NULL };
	struct bench b;

	bench_init(&b);
	b.tunnel.last_error = S("not trusted");
	b.tunnel.last_error_reason = S("not-trusted-or-handshake-failed");
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		b.tunnel.host = S(hosts[i].host);
		expect(&b, DOCTOR_WARNING, b.tunnel.last_error_reason, "not trusted",
		       hosts[i].line);
	}
	b.identity.name = S("gateway");
	b.authority.previous = true;
	b.authority.tunnels = mine;
	b.identity.previous = true;
	b.identity.tunnels = others;
	expect(&b, DOCTOR_WARNING, b.tunnel.last_error_reason, "not trusted",
	       "TLS 1.2?; if it began with the new authority: espatctl certs rollback corp");
	b.authority.previous = false;
	doctor_examine(&b.in, &b.out);
	assert_null(strstr(b.out.items[0].advice, "rollback"));
	doctor_clear(&b.out);
	b.identity.tunnels = mine;
	expect(&b, DOCTOR_WARNING, b.tunnel.last_error_reason, "not trusted",
	       "TLS 1.2?; if it began with the new identity: espatctl certs rollback gateway");
	/* One name for both. */
	b.identity.name = b.authority.name;
	expect(&b, DOCTOR_WARNING, b.tunnel.last_error_reason, "not trusted",
	       "espatctl certs rollback identity:corp");
}

static void test_many(void **state)
{
	static struct snap_tunnel tunnels[DOCTOR_FINDINGS_MAX + 1];
	struct bench b;

	bench_init(&b);
	for (size_t i = 0; i < ARRAY_SIZE(tunnels); i++) {
		tunnels[i] = good_tunnel();
		tunnels[i].verified = false;
	}
	b.snap.tunnels = tunnels;
	b.snap.n_tunnels = ARRAY_SIZE(tunnels);
	doctor_examine(&b.in, &b.out);
	assert_int_equal(b.out.n, DOCTOR_FINDINGS_MAX);
	assert_true(b.out.cut);
	assert_false(b.out.failed);
	doctor_clear(&b.out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_healthy),         cmocka_unit_test(test_service),
		cmocka_unit_test(test_device),          cmocka_unit_test(test_probing_at_once),
		cmocka_unit_test(test_ready),           cmocka_unit_test(test_modem_manager),
		cmocka_unit_test(test_dates),           cmocka_unit_test(test_values),
		cmocka_unit_test(test_tunnel),          cmocka_unit_test(test_many),
		cmocka_unit_test(test_port_on_network), cmocka_unit_test(test_tunnel_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
