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

#include "config/config.h"

#define DEVICE "devices = ( { name = \"esp0\"; port = \"/dev/ttyUSB0\"; } );\n"
#define TUNNEL(more) "tunnels = ( { name = \"t\"; host = \"h\"; port = 1; " more " } );\n"

/* libconfig 1.5 forgets the string that it was reading when a syntax error comes. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig";
}

static char dir[] = "/tmp/test-config.XXXXXX";

static void put_file(const char *name, const char *text, size_t len)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static int load(struct config **ret, const char *name, struct problems *problems)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return config_load(ret, path, problems);
}

/* All complaints, a line each, without the folder. */
static char *joined(const struct problems *problems)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	for (size_t i = 0; i < problems->count; i++) {
		const char *p = problems->items[i].text, *hit;

		while ((hit = strstr(p, dir))) {
			fwrite(p, 1, (size_t)(hit - p), f);
			p = hit + strlen(dir) + 1;
		}
		fprintf(f, "%s\n", p);
	}
	fclose(f);
	return text;
}

/* "" as @expected: it is good. */
static void expect_bytes(const char *text, size_t len, const char *expected)
{
	struct problems problems = PROBLEMS_NULL;
	struct config *config = NULL;
	char *got;
	int r;

	put_file("a.conf", text, len);
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

static void test_whole(void **state)
{
	static const char text[] =
		"runtime_dir = \"/run/x/\"; state_dir = \"state\";\n"
		"tunnels = ( { name = \"broker\"; device = \"esp1\"; host = \"broker.example\";\n"
		"  port = 8883; authority = \"corp\"; identity = \"gw\"; server_name = \"10.0.0.1\";\n"
		"  connect_timeout = 1; wait_timeout = 3600; half_close_timeout = 0;\n"
		"  max_waiting = 1024; mode = \"0777\"; },\n"
		" { name = \"open\"; device = \"esp0\"; host = \"::1\"; port = 65535; insecure = true; } );\n"
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

	put_file("a.conf", text, strlen(text));
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

	put_file("a.conf", DEVICE TUNNEL("insecure = true;"),
		 strlen(DEVICE TUNNEL("insecure = true;")));
	assert_int_equal(load(&config, "a.conf", &problems), 0);
	assert_string_equal(config->runtime_dir, "/run/espat");
	assert_string_equal(config->state_dir, "/var/lib/espat");
	assert_ptr_equal(config->tunnels[0].device, &config->devices[0]);
	config_free(config);
	assert_null(config_free(NULL));
}

static const struct {
	const char *text;
	const char *expected;
} cases[] = {
	/* the whole file */
	{ "", "a.conf: no `devices` in the file, expected a list of groups: ( { ... }, { ... } )\n" },
	{ "devices = ();", "a.conf:1: `devices` is empty, expected at least one device\n" },
	{ DEVICE "tunnels = { };",
	  "a.conf:2: `tunnels` is a group { ... }, expected a list of groups: ( { ... }, { ... } )\n" },
	{ DEVICE "tunnels = ();", "" },
	{ DEVICE "authorities = ( 1 );\nidentities = ( [ \"x\" ], {} );",
	  "a.conf:2: entry 1 of `authorities` is an integer, expected a group: { ... }\n"
	  "a.conf:3: entry 1 of `identities` is an array [ ... ], expected a group: { ... }\n"
	  "a.conf:3: no `name` in identity, expected a string\n"
	  "a.conf:3: no `cert` in identity, expected a path as a string\n"
	  "a.conf:3: no `key` in identity, expected a path as a string\n" },
	{ DEVICE "runtime_dir = 5;\nstate_dir = \"\";\nfoo = 1;",
	  "a.conf:4: unknown key `foo` in the file, expected one of: runtime_dir, state_dir, devices, "
	  "authorities, identities, tunnels\n"
	  "a.conf:2: `runtime_dir` is an integer, expected a path as a string\n"
	  "a.conf:3: `state_dir` is \"\", expected a path\n" },
	/* syntax */
	{ "devices = ( {\n name \"esp0\"; } );",
	  "a.conf:2: syntax error, expected `key = value;` (is a `;`, a quote or a bracket missing, here "
	  "or in the line before?)\n" },
	{ "a = 1;\na = 2;",
	  "a.conf:2: duplicate setting name, expected each key once in its group\n" },
	{ "\n/* no end", "a.conf:2: the comment that begins here has no end, expected */\n" },
	{ "a = \"x\\x00y\";",
	  "a.conf:1: \\x00 in a string, expected a string without NUL\n" },
	{ "\n@include \"none.conf\"",
	  "none.conf: no such file, expected a configuration file\n"
	  "a.conf:2: includes \"none.conf\", expected a file that can be read\n" },
	{ "@include \"fifo\"",
	  "fifo: is not a regular file, expected a configuration file\n"
	  "a.conf:1: includes \"fifo\", expected a file that can be read\n" },
	{ "# @include \"none.conf\"\n/*\n@include \"none.conf\"\n*/" DEVICE, "" },
	{ "@include \"a.conf\"",
	  "a.conf:1: too many files are included (does one include itself?), expected at most 100, 10 "
	  "deep\n" },
	{ "\n  @include \"inc.conf\"\n" DEVICE,
	  "inc.conf:1: `slot` is 10, expected an integer from 0 to 9\n" },
	/* devices */
	{ "devices = ( { name = \"a b\"; port = \"\"; baud = \"1\"; time = 1; wifi = 1; bar = 2; } );",
	  "a.conf:1: unknown key `bar` in device `a b`, expected one of: name, port, baud, wifi, time\n"
	  "a.conf:1: `name` is \"a b\", expected 1 to 48 characters of A-Z a-z 0-9 _ . -, the first no . "
	  "or -\n"
	  "a.conf:1: `port` is \"\", expected /dev/..., usb:VID:PID[:SERIAL], unix:/PATH or "
	  "tcp:HOST:PORT\n"
	  "a.conf:1: `baud` is a string, expected an integer from 80 to 5000000\n"
	  "a.conf:1: `wifi` is an integer, expected a group: { ... }\n"
	  "a.conf:1: `time` is an integer, expected \"host\"\n" },
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; baud = 79; time = \"ntp\"; wifi = {}; } );",
	  "a.conf:1: `baud` is 79, expected an integer from 80 to 5000000\n"
	  "a.conf:1: no `ssid` in wifi, expected a string\n"
	  "a.conf:1: `time` is \"ntp\", expected \"host\"\n" },
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; baud = 115200.0; } );",
	  "a.conf:1: `baud` is a number with a fraction, expected an integer from 80 to 5000000\n" },
	/* 2^32 + 115200 */
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; baud = 4295082496; } );",
	  "a.conf:1: the number 4295082496 is too large, expected at most 2147483647\n" },
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; baud = 4295082496L; } );",
	  "a.conf:1: `baud` is 4295082496, expected an integer from 80 to 5000000\n" },
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; },\n{ name = \"a\"; port = \"/dev/x\"; } );",
	  "a.conf:2: port /dev/x is already the one of device `a`, expected another port\n"
	  "a.conf:2: second device with the name `a`, the first is in line 1, expected a name of its "
	  "own\n" },
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; wifi = { ssid = \"\"; } } );",
	  "a.conf:1: `ssid` is \"\", expected 1 to 32 bytes without line ends\n" },
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; wifi = { ssid = \"a\\nb\"; } } );",
	  "a.conf:1: `ssid` is \"a?b\", expected 1 to 32 bytes without line ends\n" },
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; wifi = { ssid = "
	  "\"123456789012345678901234567890123\"; password_file = \"\"; } } );",
	  "a.conf:1: `ssid` is \"123456789012345678901234567890123\", expected 1 to 32 bytes without "
	  "line ends\n"
	  "a.conf:1: `password_file` is \"\", expected a path\n" },
	/* authorities and identities */
	{ DEVICE "authorities = ( { name = \"a\"; file = \"f\"; slot = 10; }, { name = \"b\"; slot = -1; } );",
	  "a.conf:2: `slot` is 10, expected an integer from 0 to 9\n"
	  "a.conf:2: no `file` in authority `b`, expected a path as a string\n"
	  "a.conf:2: `slot` is -1, expected an integer from 0 to 9\n" },
	{ DEVICE "authorities = ( { name = \"a\"; file = \"f\"; slot = 1; },\n"
		 "{ name = \"b\"; file = \"g\"; slot = 1; } );\n"
		 "identities = ( { name = \"a\"; cert = \"f\"; key = \"g\"; slot = 1; } );\n"
		 "tunnels = ( { name = \"t\"; host = \"h\"; port = 1; authority = \"a\"; identity = \"a\"; },\n"
		 "{ name = \"u\"; host = \"h\"; port = 1; authority = \"b\"; } );",
	  "a.conf:3: slot 1 of device `esp0` is already the one of authority `a`, expected another slot "
	  "for `b`\n" },
	/* tunnels */
	{ DEVICE TUNNEL("insecure = 1;"),
	  "a.conf:2: `insecure` is an integer, expected true or false\n"
	  "a.conf:2: no `authority` in tunnel `t`, expected the name of one (or `insecure = true`, which "
	  "lets any server pass)\n" },
	{ DEVICE TUNNEL(""),
	  "a.conf:2: no `authority` in tunnel `t`, expected the name of one (or `insecure = true`, which "
	  "lets any server pass)\n" },
	{ DEVICE "authorities = ( { name = \"a\"; file = \"f\"; } );\n"
		 TUNNEL("insecure = true; authority = \"a\";"),
	  "a.conf:3: tunnel `t` has an `authority` and `insecure = true`, expected only one of them\n" },
	{ DEVICE TUNNEL("authority = \"a\"; identity = 5; device = \"x\";"),
	  "a.conf:2: no device has the name `x`, expected one of: esp0\n"
	  "a.conf:2: no authority has the name `a`, expected one of `authorities`, which is empty\n"
	  "a.conf:2: `identity` is an integer, expected the name of an identity as a string\n" },
	{ "devices = ( { name = \"a\"; port = \"/dev/x\"; }, { name = \"b\"; port = \"/dev/y\"; } );\n"
	  TUNNEL("insecure = true;"),
	  "a.conf:2: no `device` in tunnel `t`, expected the name of one of the 2 devices\n" },
	{ DEVICE "tunnels = ( { name = \"..\"; host = \"a b\"; port = 65536; insecure = true; } );",
	  "a.conf:2: `name` is \"..\", expected 1 to 48 characters of A-Z a-z 0-9 _ . -, the first no . "
	  "or -\n"
	  "a.conf:2: `host` is \"a b\", expected a host name or an IP address\n"
	  "a.conf:2: `port` is 65536, expected an integer from 1 to 65535\n" },
	{ DEVICE TUNNEL("insecure = true; connect_timeout = 0; wait_timeout = 0; max_waiting = 1025; "
			"half_close_timeout = 86401; server_name = \"a\\\"b\";"),
	  "a.conf:2: `server_name` is \"a\"b\", expected a host name or an IP address\n"
	  "a.conf:2: `connect_timeout` is 0, expected an integer from 1 to 60\n"
	  "a.conf:2: `wait_timeout` is 0, expected an integer from 1 to 3600\n"
	  "a.conf:2: `half_close_timeout` is 86401, expected an integer from 0 to 86400\n"
	  "a.conf:2: `max_waiting` is 1025, expected an integer from 0 to 1024\n" },
	{ DEVICE TUNNEL("insecure = true; server_name = \"a1234567890123456789012345678901234567890."
			"b123456789012345678901\";"),
	  "" },
	{ DEVICE TUNNEL("insecure = true; server_name = \"a1234567890123456789012345678901234567890."
			"b1234567890123456789012\";"),
	  "a.conf:2: `server_name` is \"a1234567890123456789012345678901234567890."
	  "b1234567890123456789012\", expected a name of at most 64 bytes, as the chip takes no longer "
	  "one\n" },
	{ DEVICE "tunnels = ( { name = \"t\"; port = 1; insecure = true;\nhost = "
		 "\"a1234567890123456789012345678901234567890.b12345678901234567890123\"; } );",
	  "a.conf:3: `host` has 66 bytes and is the name to check, as there is no `server_name`, expected "
	  "a `server_name` of at most 64 bytes\n" },
	{ DEVICE "tunnels = ( { name = \"t\"; port = 1; insecure = true; server_name = \"s\";\nhost = "
		 "\"a1234567890123456789012345678901234567890.b12345678901234567890123\"; } );",
	  "" },
	{ DEVICE "tunnels = ( { name = \"t\"; host = \"h\"; port = 1; insecure = true; },\n"
		 "{ name = \"t\"; host = \"h\"; port = 1; insecure = true; } );",
	  "a.conf:3: second tunnel with the name `t`, the first is in line 2, expected a name of its "
	  "own\n" },
	{ "runtime_dir = \"/run/123456789012345678901234567890123456789012345678901234567890"
	  "12345678901234567890123456789012345\";\n" DEVICE TUNNEL("insecure = true;"),
	  "" },
	{ "runtime_dir = \"/run/123456789012345678901234567890123456789012345678901234567890"
	  "123456789012345678901234567890123456\";\n" DEVICE TUNNEL("insecure = true;"),
	  "a.conf:3: the socket's path /run/123456789012345678901234567890123456789012345678901234567890"
	  "123456789012345678901234567890123456/t.sock has 108 bytes, expected at most 107: a shorter "
	  "`runtime_dir` or name\n" },
};

static void test_cases(void **state)
{
	static const char inc[] = "authorities = ( { name = \"a\"; file = \"f\"; slot = 10; } );\n";
	char fifo[256];

	put_file("inc.conf", inc, strlen(inc));
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
		{ "\"0\"", 0 },        { "\"660\"", 0660 },  { "0600", 0600 },  { "777", 0777 },
		{ "\"0777\"", 0777 },  { "1000", -1 },       { "\"\"", -1 },    { "0668", -1 },
		{ "0x1b0", -1 },       { "-1", -1 },         { "\"rw\"", -1 },  { "true", -1 },
		{ "\"00660\"", -1 },   { "660L", -1 },       { "\" 660\"", -1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct problems problems = PROBLEMS_NULL;
		struct config *config = NULL;
		char text[256];

		snprintf(text, sizeof(text), DEVICE TUNNEL("insecure = true; mode = %s;"),
			 modes[i].value);
		put_file("a.conf", text, strlen(text));
		load(&config, "a.conf", &problems);
		assert_int_equal(config ? (int)config->tunnels[0].mode : -1, modes[i].mode);
		if (!config)
			assert_non_null(strstr(problems.items[0].text,
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
		{ HOST, "b\xc3\xbc""cher.example", false },
		{ HOST, "a23456789012345678901234567890123456789012345678901234567890123", true },
		{ HOST, "a234567890123456789012345678901234567890123456789012345678901234.a", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		struct problems problems = PROBLEMS_NULL;
		struct config *config = NULL;
		char text[512], message[128];
		const char *hole = strstr(values[i].format, "%s");

		snprintf(text, sizeof(text), "%.*s%s%s", (int)(hole - values[i].format),
			 values[i].format, values[i].value, hole + 2);
		put_file("a.conf", text, strlen(text));
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
	put_file("big", big, 1024 * 1024 + 1);
	assert_int_equal(load(&config, "big", &problems), -EINVAL);
	assert_null(config);
	got = joined(&problems);
	assert_non_null(strstr(got, "none: no such file, expected a configuration file\n"));
	assert_non_null(strstr(got, "is a folder, expected a configuration file\n"));
	assert_non_null(strstr(got, "fifo: is not a regular file, expected a configuration file\n"));
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

	put_file("a.conf", text, strlen(text));
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
	put_file("a.conf", text, strlen(text));
	put_file("b.conf", good, strlen(good));
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
			fprintf(f, "%s{ name = \"t%d\"; host = \"h\"; port = 1; device = \"%s\"; "
				   "authority = \"a%d\"; }", i ? ", " : "", i,
				devices == 2 && i % 2 ? "b" : "a", i);
		fprintf(f, ");\n");
		fclose(f);
		expect(text, devices == 2 ? "" :
					    "a.conf:1: the tunnels of device `a` use 11 authorities, "
					    "expected at most 10: the chip has no more slots\n");
		free(text);
	}
}

static int setup(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	static const char *const names[] = { "a.conf", "b.conf", "inc.conf", "fifo", "big" };
	char path[256];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_mode),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_set_dirs),
		cmocka_unit_test(test_relative_config),
		cmocka_unit_test(test_slots),
	};

	return cmocka_run_group_tests_name("config", tests, setup, teardown);
}
