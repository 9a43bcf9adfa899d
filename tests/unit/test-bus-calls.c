/* SPDX-License-Identifier: MIT */
/* bus: each method, with good and bad arguments, and what may happen while it is under way. */
#include "bus-bench.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bus/bus-fd.h"
#include "bus/bus-request.h"
#include "bus/internal.h"
#include "make-cert.h"
#include "util/cleanup.h"

#define MANAGER "/org/espat1", "org.espat1.Manager"
#define DEVICE "/org/espat1/device/esp0"
#define DEV DEVICE, "org.espat1.Device"
#define WIFI DEVICE, "org.espat1.Wifi"
#define CERTS DEVICE, "org.espat1.Certificates"
#define TUNNEL "/org/espat1/tunnel/broker", "org.espat1.Tunnel"

/* A CA and its key, valid now. */
static char ca_pem[4096], key_pem[4096], key_der_array[16384];

static void to_text(char *buf, size_t size, BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	assert_true(len > 0 && (size_t)len < size);
	memcpy(buf, data, (size_t)len);
	buf[len] = '\0';
	BIO_free(bio);
}

static int make_material(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	long days = (long)((time(NULL) - MAKE_NOW) / MAKE_DAY);
	X509 *x509 = make_cert(&(struct make_cert){ .cn = "test CA",
						    .key = key,
						    .from = days - 1,
						    .to = days + 365,
						    .basic = "critical,CA:TRUE" });
	BIO *cert_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());
	unsigned char *der = NULL;
	int len;

	PEM_write_bio_X509(cert_bio, x509);
	to_text(ca_pem, sizeof(ca_pem), cert_bio);
	PEM_write_bio_PKCS8PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL);
	to_text(key_pem, sizeof(key_pem), key_bio);
	len = i2d_PrivateKey(key, &der);
	for (int i = 0; i < len; i++)
		sprintf(key_der_array + strlen(key_der_array), "0x%02x, ", der[i]);
	OPENSSL_free(der);
	X509_free(x509);
	EVP_PKEY_free(key);
	return 0;
}

/* Calls, and compares the error. */
#define assert_error(want, ...)                                                                    \
	do {                                                                                       \
		struct bench_reply reply_;                                                         \
                                                                                                   \
		assert_string_equal(bench_ask(&reply_, __VA_ARGS__), want);                        \
		bench_reply_clear(&reply_);                                                        \
	} while (0)

/* ---- what everybody may read ---- */

static void test_lists(void **state)
{
	static const char *const lists[][2] = { { "ListDevices", "esp0" },
						{ "ListTunnels", "broker" } };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		struct bench_reply reply;
		const char *name, *path;

		assert_string_equal(bench_ask(&reply, MANAGER, lists[i][0], ""), "");
		assert_true(sd_bus_message_enter_container(reply.m, 'a', "(so)") > 0);
		assert_true(sd_bus_message_read(reply.m, "(so)", &name, &path) > 0);
		assert_string_equal(name, lists[i][1]);
		assert_string_equal(strrchr(path, '/') + 1, lists[i][1]);
		assert_int_equal(sd_bus_message_read(reply.m, "(so)", &name, &path), 0);
		bench_reply_clear(&reply);
	}
}

static char *filled(char c, size_t len)
{
	char *text = malloc(len + 1);

	assert_non_null(text);
	memset(text, c, len);
	text[len] = '\0';
	return text;
}

static void test_lookups(void **state)
{
	_cleanup_free_ char *huge = filled('x', 16 << 20);
	static const char *const unknown[] = { "",       "esp1",     "../esp0", "esp0\r\nAT+RST",
					       "esp0\"", "\xc3\xa4", ".",       "esp0 " };
	struct bench_reply reply;
	const char *path;

	assert_string_equal(bench_ask(&reply, MANAGER, "GetDevice", "s", "esp0"), "");
	assert_true(sd_bus_message_read(reply.m, "o", &path) > 0);
	assert_string_equal(path, DEVICE);
	bench_reply_clear(&reply);
	assert_string_equal(bench_ask(&reply, MANAGER, "GetTunnel", "s", "broker"), "");
	assert_true(sd_bus_message_read(reply.m, "o", &path) > 0);
	assert_string_equal(path, "/org/espat1/tunnel/broker");
	bench_reply_clear(&reply);
	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		assert_error("NoSuchDevice", MANAGER, "GetDevice", "s", unknown[i]);
		assert_error("NoSuchTunnel", MANAGER, "GetTunnel", "s", unknown[i]);
	}
	assert_error("NoSuchDevice", MANAGER, "GetDevice", "s", huge);
}

/* The library answers these itself. */
static void test_wrong_types(void **state)
{
	assert_error(SD_BUS_ERROR_INVALID_ARGS, MANAGER, "GetDevice", "u", 7);
	assert_error(SD_BUS_ERROR_INVALID_ARGS, MANAGER, "GetDevice", "");
	assert_error(SD_BUS_ERROR_INVALID_ARGS, MANAGER, "Reload", "s", "x");
	assert_error(SD_BUS_ERROR_INVALID_ARGS, CERTS, "Load", "sus", "client_ca", 3, "x");
	assert_error(SD_BUS_ERROR_INVALID_ARGS, CERTS, "LoadPem", "sis", "client_ca", 3, "x");
	assert_error(SD_BUS_ERROR_UNKNOWN_METHOD, MANAGER, "Explode", "");
	assert_error(SD_BUS_ERROR_UNKNOWN_METHOD, DEVICE, "org.espat1.Manager", "Reload", "");
	assert_error(SD_BUS_ERROR_UNKNOWN_OBJECT, "/org/espat1/device/x", "org.espat1.Device",
		     "Reset", "");
	assert_int_equal(fake.n + bench.n_ops, 0);
}

static void read_entry(sd_bus_message *m, const char *key, const char *type, void *ret)
{
	const char *is;

	assert_true(sd_bus_message_enter_container(m, 'e', "sv") > 0);
	assert_true(sd_bus_message_read(m, "s", &is) > 0);
	assert_string_equal(is, key);
	if (ret)
		assert_true(sd_bus_message_read(m, "v", type, ret) > 0);
	else
		assert_true(sd_bus_message_skip(m, "v") > 0);
	assert_true(sd_bus_message_exit_container(m) > 0);
}

static void assert_text_entry(sd_bus_message *m, const char *key, const char *want)
{
	const char *text;

	read_entry(m, key, "s", &text);
	assert_string_equal(text, want);
}

static void assert_u_entry(sd_bus_message *m, const char *key, uint32_t want)
{
	uint32_t value;

	read_entry(m, key, "u", &value);
	assert_int_equal(value, want);
}

static void assert_x_entry(sd_bus_message *m, const char *key, int64_t want)
{
	int64_t value;

	read_entry(m, key, "x", &value);
	assert_int_equal(value, want);
}

static void test_list_material(void **state)
{
	static const char *const lists[][2] = { { "ListAuthorities", "corp" },
						{ "ListIdentities", "gateway" } };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		struct bench_reply reply;
		int configured;

		assert_string_equal(bench_ask(&reply, MANAGER, lists[i][0], ""), "");
		assert_true(sd_bus_message_enter_container(reply.m, 'a', "a{sv}") > 0);
		assert_true(sd_bus_message_enter_container(reply.m, 'a', "{sv}") > 0);
		assert_text_entry(reply.m, "Name", lists[i][1]);
		read_entry(reply.m, "Configured", "b", &configured);
		assert_true(configured);
		assert_u_entry(reply.m, "Generation", 3);
		assert_text_entry(reply.m, "Source", "rolled-back");
		assert_text_entry(reply.m, "Sha256", "aa");
		assert_u_entry(reply.m, "Length", 1234);
		assert_text_entry(reply.m, "Subject", "CN=\xef\xbf\xbd");
		assert_text_entry(reply.m, "Issuer", "CN=b");
		assert_x_entry(reply.m, "NotBefore", 1);
		assert_x_entry(reply.m, "NotAfter", 1ll << 40);
		read_entry(reply.m, "Tunnels", "as", NULL);
		read_entry(reply.m, "Devices", "as", NULL);
		read_entry(reply.m, "Previous", "b", NULL);
		assert_true(sd_bus_message_exit_container(reply.m) > 0);
		assert_true(sd_bus_message_enter_container(reply.m, 'a', "{sv}") > 0);
		assert_text_entry(reply.m, "Name", "empty");
		bench_reply_clear(&reply);
	}
}

static void test_list_values(void **state)
{
	static const char *const used_by[] = { "authority:corp", "wifi", NULL };
	static const uint8_t digest[CERT_DIGEST_SIZE] = { 0xab, 1 };
	const char *namespace, *kind, *sha, *subject, *issuer, *user;
	struct bench_reply reply;
	uint32_t slot, len;
	int64_t from, to;

	fake.values[0] = (struct device_value){ .namespace = "client_ca",
						.slot = 2,
						.kind = "ca",
						.len = 1200,
						.digest = digest,
						.subject = "CN=\xe9",
						.issuer = "CN=b",
						.not_before = 5,
						.not_after = 6,
						.used_by = used_by };
	fake.values[1] = (struct device_value){ .namespace = "mqtt_ca",
						.slot = DEVICE_SLOT_NONE,
						.kind = "other",
						.digest = digest,
						.subject = "",
						.issuer = "" };
	fake.n_values = 2;
	assert_string_equal(bench_ask(&reply, CERTS, "List", ""), "");
	assert_true(sd_bus_message_enter_container(reply.m, 'a', "(sususssxxas)") > 0);
	assert_true(sd_bus_message_enter_container(reply.m, 'r', "sususssxxas") > 0);
	assert_true(sd_bus_message_read(reply.m, "sususssxx", &namespace, &slot, &kind, &len, &sha,
					&subject, &issuer, &from, &to) > 0);
	assert_string_equal(namespace, "client_ca");
	assert_int_equal(slot, 2);
	assert_int_equal(len, 1200);
	assert_int_equal(strlen(sha), 64);
	assert_memory_equal(sha, "ab0100", 6);
	assert_string_equal(subject, "CN=\xef\xbf\xbd");
	assert_int_equal(to, 6);
	assert_true(sd_bus_message_enter_container(reply.m, 'a', "s") > 0);
	assert_true(sd_bus_message_read(reply.m, "s", &user) > 0);
	assert_string_equal(user, "authority:corp");
	assert_true(sd_bus_message_read(reply.m, "s", &user) > 0);
	sd_bus_message_exit_container(reply.m);
	sd_bus_message_exit_container(reply.m);
	assert_true(sd_bus_message_enter_container(reply.m, 'r', "sususssxxas") > 0);
	assert_true(sd_bus_message_read(reply.m, "sususssxx", &namespace, &slot, &kind, &len, &sha,
					&subject, &issuer, &from, &to) > 0);
	assert_int_equal(slot, UINT32_MAX);
	assert_string_equal(sha, "");
	bench_reply_clear(&reply);
}

/* What may be a short secret could be guessed by its digest. */
static void test_list_digests(void **state)
{
	static const struct {
		const char *kind;
		bool told;
	} cases[] = {
		{ "ca", true },   { "certificate", true }, { "key", true },
		{ "raw", false }, { "other", false },
	};
	static const uint8_t digest[CERT_DIGEST_SIZE] = { 0xab, 1 };
	const char *namespace, *kind, *sha;
	struct bench_reply reply;
	uint32_t slot, len;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fake.values[0] = (struct device_value){ .namespace = "tokens",
							.kind = cases[i].kind,
							.len = 8,
							.digest = digest,
							.subject = "",
							.issuer = "" };
		fake.n_values = 1;
		assert_string_equal(bench_ask(&reply, CERTS, "List", ""), "");
		assert_true(sd_bus_message_enter_container(reply.m, 'a', "(sususssxxas)") > 0);
		assert_true(sd_bus_message_enter_container(reply.m, 'r', "sususssxxas") > 0);
		assert_true(sd_bus_message_read(reply.m, "susus", &namespace, &slot, &kind, &len,
						&sha) > 0);
		assert_string_equal(kind, cases[i].kind);
		assert_int_equal(len, 8);
		assert_int_equal(strlen(sha), cases[i].told ? 2 * CERT_DIGEST_SIZE : 0);
		bench_reply_clear(&reply);
	}
}

static void test_list_orphans(void **state)
{
	struct record *orphans = &bench.dev->orphans;
	const char *namespace, *sha;
	struct bench_reply reply;
	uint32_t slot, generation;

	strcpy(orphans->entries[0].key, "client_ca.7");
	orphans->entries[0].generation = 9;
	orphans->entries[0].digest[0] = 0xcd;
	strcpy(orphans->entries[1].key, "mqtt_ca");
	orphans->entries[1].digest[0] = 0xab;
	orphans->n = 2;
	assert_string_equal(bench_ask(&reply, CERTS, "ListOrphans", ""), "");
	assert_true(sd_bus_message_enter_container(reply.m, 'a', "(suus)") > 0);
	assert_true(sd_bus_message_read(reply.m, "(suus)", &namespace, &slot, &generation, &sha) >
		    0);
	assert_string_equal(namespace, "client_ca");
	assert_int_equal(slot, 7);
	assert_int_equal(generation, 9);
	assert_memory_equal(sha, "cd00", 4);
	assert_true(sd_bus_message_read(reply.m, "(suus)", &namespace, &slot, &generation, &sha) >
		    0);
	assert_string_equal(namespace, "mqtt_ca");
	assert_int_equal(slot, UINT32_MAX);
	assert_string_equal(sha, ""); /* it may have been raw */
	bench_reply_clear(&reply);
}

/* ---- calls that go to the chip ---- */

/* A call is on its way to the chip: the request. */
static struct device_request *await_request(const char *what)
{
	size_t n = fake.n;
	struct device_request *req;

	bench_await(fake.n > n);
	req = &fake.requests[n];
	assert_string_equal(req->what, what);
	assert_ptr_equal(req->dev, bench.dev);
	return req;
}

static void test_simple_requests(void **state)
{
	static const struct {
		const char *interface, *method, *what;
	} cases[] = {
		{ "org.espat1.Device", "Reset", "reset" },
		{ "org.espat1.Device", "Reprobe", "reprobe" },
		{ "org.espat1.Device", "SyncTime", "clock" },
		{ "org.espat1.Wifi", "Leave", "leave" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bench_reply reply;

		bench_call(bench.me, &reply, DEVICE, cases[i].interface, cases[i].method, "");
		struct device_request *req = await_request(cases[i].what);
		bench_settle();
		assert_int_equal(reply.count, 0); /* not before the chip has answered */
		fake_finish(req, DEVICE_OK, NULL);
		bench_await_reply(&reply);
		assert_string_equal(reply.error, "");
		bench_reply_clear(&reply);
	}
	assert_int_equal(bench.bus->n_requests, 0);
}

static void test_results(void **state)
{
	static const struct {
		enum device_result result;
		const char *error;
	} cases[] = {
		{ DEVICE_E_REFUSED, "ChipRefused" },  { DEVICE_E_TIMEOUT, "Timeout" },
		{ DEVICE_E_GONE, "ChipGone" },        { DEVICE_E_VERIFY, "VerifyFailed" },
		{ DEVICE_E_NO_VALUE, "NoSuchValue" }, { DEVICE_E_MEMORY, "NoMemory" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bench_reply reply;

		bench_call(bench.me, &reply, DEV, "Reset", "");
		fake_finish(await_request("reset"), cases[i].result,
			    &(struct device_answer){ .text = i == 0 ? "ERR CODE:0x01\xff" : "" });
		bench_await_reply(&reply);
		assert_string_equal(reply.error, cases[i].error);
		assert_true(strncmp(reply.text, "esp0: ", 6) == 0 && strlen(reply.text) > 6);
		if (i == 0)
			assert_string_equal(reply.text, "esp0: ERR CODE:0x01\xef\xbf\xbd");
		bench_reply_clear(&reply);
	}
}

static void test_refusals(void **state)
{
	static const struct {
		int r;
		const char *error;
	} cases[] = {
		{ -ENOTCONN, "NotReady" },
		{ -EBUSY, "Busy" },
		{ -ENOMEM, "NoMemory" },
		{ -EADDRINUSE, "SlotInUse" },
		{ -EPERM, "InvalidArgument" },
		{ -EINVAL, "InvalidArgument" },
		{ -EIO, "Failed" },
	};
	struct bench_reply reply;

	fake.in_use = "authority corp, of the tunnel broker";
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fake.result = cases[i].r;
		assert_error(cases[i].error, CERTS, "Erase", "su", "client_ca", 3);
	}
	fake.result = -EADDRINUSE;
	assert_string_equal(bench_ask(&reply, CERTS, "LoadPem", "sus", "client_ca", 3, ca_pem),
			    "SlotInUse");
	assert_non_null(strstr(reply.text, "authority corp, of the tunnel broker"));
	bench_reply_clear(&reply);
	fake.result = -ENOTCONN;
	bench.dev->state = DEVICE_JOINING;
	assert_string_equal(bench_ask(&reply, WIFI, "Scan", ""), "NotReady");
	assert_non_null(strstr(reply.text, "joining"));
	bench_reply_clear(&reply);
	assert_int_equal(bench.bus->n_requests, 0);
}

static void test_scan(void **state)
{
	static const struct device_ap aps[] = {
		{ "lab", "10:01:00:c4:0a:51", -40, 6, "wpa2" },
		{ "b\xe4r", "10:01:00:c4:0a:52", -90, 11, "open" },
	};
	struct bench_reply reply;
	int32_t rssi;

	bench_call(bench.me, &reply, WIFI, "Scan", "");
	fake_finish(await_request("scan"), DEVICE_OK,
		    &(struct device_answer){ .text = "", .aps = aps, .n_aps = 2 });
	bench_await_reply(&reply);
	assert_true(sd_bus_message_enter_container(reply.m, 'a', "a{sv}") > 0);
	assert_true(sd_bus_message_enter_container(reply.m, 'a', "{sv}") > 0);
	assert_text_entry(reply.m, "Ssid", "lab");
	assert_text_entry(reply.m, "Bssid", "10:01:00:c4:0a:51");
	read_entry(reply.m, "Rssi", "i", &rssi);
	assert_int_equal(rssi, -40);
	assert_u_entry(reply.m, "Channel", 6);
	assert_text_entry(reply.m, "Security", "wpa2");
	sd_bus_message_exit_container(reply.m);
	assert_true(sd_bus_message_enter_container(reply.m, 'a', "{sv}") > 0);
	assert_text_entry(reply.m, "Ssid", "b\xef\xbf\xbdr");
	bench_reply_clear(&reply);
}

static void test_command(void **state)
{
	static char *const lines[] = { (char *)"AT version:3.5", (char *)"\xff", (char *)"" };
	static const char *const never[] = { "", "AT+SYSMFG=1,\"client_key\",\"client_key.0\"",
					     "AT+GMR\r\nAT+RST", "\xc3\xa4" };
	_cleanup_free_ char *huge = filled('A', 16 << 20);
	struct bench_reply reply;
	const char *a, *b, *c;
	struct device_request *req;

	bench_call(bench.me, &reply, DEV, "Command", "s", "AT+GMR");
	req = await_request("command");
	assert_string_equal(req->text, "AT+GMR");
	fake_finish(req, DEVICE_OK,
		    &(struct device_answer){ .text = "", .lines = lines, .n_lines = 3 });
	bench_await_reply(&reply);
	assert_true(sd_bus_message_read(reply.m, "as", 3, &a, &b, &c) > 0);
	assert_string_equal(a, "AT version:3.5");
	assert_string_equal(b, "\xef\xbf\xbd");
	assert_string_equal(c, "");
	bench_reply_clear(&reply);

	assert_error("CommandNotAllowed", DEV, "Command", "s", "AT+CWMODE=1");
	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		assert_error("CommandNotAllowed", DEV, "Command", "s", never[i]);
	assert_error("CommandNotAllowed", DEV, "Command", "s", huge);
	bench_call(bench.me, &reply, DEV, "Command", "s", "AT+RST");
	bench_await_reply(&reply);
	assert_string_equal(reply.error, "CommandNotAllowed");
	assert_non_null(strstr(reply.text, "it is not for the bus"));
	bench_reply_clear(&reply);
	bench.raw = true;
	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		assert_error("CommandNotAllowed", DEV, "Command", "s", never[i]);
	bench_call(bench.me, &reply, DEV, "Command", "s", "AT+CWMODE=1");
	fake_finish(await_request("command"), DEVICE_OK, NULL);
	bench_await_reply(&reply);
	assert_string_equal(reply.error, "");
	bench_reply_clear(&reply);
	assert_int_equal(fake.n, 2);
}

static void test_join(void **state)
{
	struct bench_reply reply;
	struct device_request *req;
	int fd = bench_memfd("secret88\r\nrest", 14);

	bench_call(bench.me, &reply, WIFI, "Join", "sha{sv}", "lab", fd, 2, "hidden", "b", 1,
		   "bssid", "s", "10:01:00:c4:0a:51");
	req = await_request("join");
	assert_string_equal(req->text, "lab");
	assert_string_equal(req->password, "secret88");
	assert_string_equal(req->bssid, "10:01:00:c4:0a:51");
	assert_true(req->hidden);
	fake_finish(req, DEVICE_OK, NULL);
	bench_await_reply(&reply);
	assert_string_equal(reply.error, "");
	bench_reply_clear(&reply);
	close(fd);
	/* An open network, and back to the configured one. */
	fd = bench_memfd("", 0);
	bench_call(bench.me, &reply, WIFI, "Join", "sha{sv}", "lab", fd, 0);
	req = await_request("join");
	assert_string_equal(req->password, "");
	assert_string_equal(req->bssid, "any");
	assert_false(req->hidden);
	fake_finish(req, DEVICE_OK, NULL);
	bench_await_reply(&reply);
	bench_reply_clear(&reply);
	bench_call(bench.me, &reply, WIFI, "Join", "sha{sv}", "", fd, 0);
	req = await_request("join");
	assert_string_equal(req->text, "");
	fake_finish(req, DEVICE_OK, NULL);
	bench_await_reply(&reply);
	bench_reply_clear(&reply);
	close(fd);
}

static void test_bad_joins(void **state)
{
	_cleanup_free_ char *huge = filled('x', 16 << 20);
	int fd = bench_memfd("secret88", 8), nul = bench_memfd("secret\0x", 8);
	int null = open("/dev/null", O_RDONLY);
	char long_password[66];
	int too_long;

	memset(long_password, 'x', sizeof(long_password));
	too_long = bench_memfd(long_password, 65);
	assert_error("InvalidArgument", WIFI, "Join", "sha{sv}", huge, fd, 0);
	assert_error("InvalidArgument", WIFI, "Join", "sha{sv}",
		     "123456789012345678901234567890123", fd, 0);
	assert_error("InvalidArgument", WIFI, "Join", "sha{sv}", "a\nb", fd, 0);
	assert_error("InvalidArgument", WIFI, "Join", "sha{sv}", "lab", fd, 1, "colour", "s", "x");
	assert_error("InvalidArgument", WIFI, "Join", "sha{sv}", "lab", fd, 1, "hidden", "s",
		     "yes");
	assert_error("InvalidArgument", WIFI, "Join", "sha{sv}", "lab", fd, 1, "bssid", "s", "x");
	assert_error("InvalidArgument", WIFI, "Join", "sha{sv}", "lab", fd, 1, "bssid", "ay", 0);
	assert_error("InvalidArgument", WIFI, "Join", "sha{sv}", "lab", nul, 0);
	assert_error("InvalidArgument", WIFI, "Join", "sha{sv}", "lab", too_long, 0);
	assert_error("BadFileDescriptor", WIFI, "Join", "sha{sv}", "lab", null, 0);
	assert_int_equal(fake.n, 0);
	close(fd);
	close(nul);
	close(null);
	close(too_long);
}

/* ---- certificates ---- */

static void test_load_pem(void **state)
{
	struct bench_reply reply;
	struct device_request *req;
	char text[8192];

	/* With text around it, as openssl prints it, which does not go to the chip. */
	snprintf(text, sizeof(text), "X509v3 Private Key Usage Period:\r\n%s\r\n", ca_pem);
	bench_call(bench.me, &reply, CERTS, "LoadPem", "sus", "client_ca", 3, text);
	req = await_request("load");
	assert_string_equal(req->text, "client_ca");
	assert_int_equal(req->slot, 3);
	assert_int_equal(req->kind, CERT_KIND_CA);
	assert_int_equal(req->len, strlen(ca_pem));
	assert_memory_equal(req->value, "-----BEGIN CERTIFICATE-----\n", 28);
	fake_finish(req, DEVICE_OK, NULL);
	bench_await_reply(&reply);
	assert_string_equal(reply.error, "");
	bench_reply_clear(&reply);
	bench_call(bench.me, &reply, CERTS, "LoadPem", "sus", "mqtt_ca", UINT32_MAX, ca_pem);
	req = await_request("load");
	assert_int_equal(req->slot, DEVICE_SLOT_NONE);
	fake_finish(req, DEVICE_OK, NULL);
	bench_await_reply(&reply);
	bench_reply_clear(&reply);
}

static void test_secrets_in_arguments(void **state)
{
	char both[8192], encrypted[256];
	int fd = bench_memfd("x", 1);

	snprintf(both, sizeof(both), "%s%s", ca_pem, key_pem);
	strcpy(encrypted, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n"
			  "-----END ENCRYPTED PRIVATE KEY-----\n");
	assert_error("SecretInArgument", CERTS, "LoadPem", "sus", "client_key", 3, ca_pem);
	assert_error("SecretInArgument", CERTS, "LoadPem", "sus", "client_key", 3, key_pem);
	assert_error("SecretInArgument", CERTS, "LoadPem", "sus", "client_ca", 3, key_pem);
	assert_error("SecretInArgument", CERTS, "LoadPem", "sus", "client_cert", 3, both);
	assert_error("SecretInArgument", CERTS, "LoadPem", "sus", "client_ca", 3, encrypted);
	/* in another dress */
	assert_error("SecretInArgument", CERTS, "LoadPem", "sus", "client_ca", 3, key_der_array);
	/* what nobody looks at is taken for a secret */
	assert_error("SecretInArgument", CERTS, "LoadPem", "sus", "mine", 3, "x");
	assert_error("SecretInArgument", MANAGER, "SetAuthority", "ss", "corp", both);
	assert_error("SecretInArgument", MANAGER, "SetIdentity", "ssh", "gw", both, fd);
	assert_int_equal(fake.n + bench.n_ops, 0);
	for (size_t i = 0; i < BENCH_LOG_MAX; i++)
		assert_null(strstr(bench.log[i], "PRIVATE KEY--"));
	close(fd);
}

static void test_bad_loads(void **state)
{
	_cleanup_free_ char *huge = filled('x', 16 << 20), *large = filled('x', BUS_FD_MAX + 1);
	static const char *const namespaces[] = { "",           "client_ca\"",
						  "espatd",     "factory_param",
						  "nothing_ca", "a_very_long_name_of_a_space" };

	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++) {
		assert_error("InvalidArgument", CERTS, "LoadPem", "sus", namespaces[i], 3, ca_pem);
		assert_error("InvalidArgument", CERTS, "Erase", "su", namespaces[i], 3);
	}
	assert_error("InvalidArgument", CERTS, "LoadPem", "sus", huge, 3, ca_pem);
	assert_error("InvalidArgument", CERTS, "LoadPem", "sus", "client_ca", 10, ca_pem);
	assert_error("InvalidArgument", CERTS, "LoadPem", "sus", "client_ca", 4294967294u, ca_pem);
	assert_error("InvalidArgument", CERTS, "Erase", "su", "client_ca", 10);
	assert_error("BadCertificate", CERTS, "LoadPem", "sus", "client_ca", 3, "");
	assert_error("BadCertificate", CERTS, "LoadPem", "sus", "client_ca", 3, "hello\r\n\"");
	assert_error("BadCertificate", CERTS, "LoadPem", "sus", "client_ca", 3, large);
	assert_error("BadCertificate", CERTS, "LoadPem", "sus", "client_ca", 3, huge);
	assert_int_equal(fake.n, 0);
}

/* Loads what is behind @fd, and compares the error. */
static void assert_load(const char *want, const char *namespace, int fd)
{
	struct bench_reply reply;
	size_t n = fake.n;

	bench_call(bench.me, &reply, CERTS, "Load", "suh", namespace, 1, fd);
	if (want[0] == '\0') {
		bench_await(fake.n > n);
		fake_finish(&fake.requests[n], DEVICE_OK, NULL);
	}
	bench_await_reply(&reply);
	assert_string_equal(reply.error, want);
	assert_int_equal(fake.n, n + (want[0] == '\0'));
	bench_reply_clear(&reply);
	close(fd);
}

static void test_load(void **state)
{
	_cleanup_free_ char *large = filled('x', BUS_FD_MAX + 1);
	int pipes[2];

	assert_load("", "client_key", bench_memfd(key_pem, strlen(key_pem)));
	assert_int_equal(fake.requests[0].kind, CERT_KIND_KEY);
	assert_load("", "client_ca", bench_memfd(ca_pem, strlen(ca_pem)));
	assert_load("", "mine", bench_memfd("\0\1\2", 3));
	assert_int_equal(fake.requests[2].kind, CERT_KIND_RAW);
	assert_int_equal(fake.requests[2].len, 3);
	assert_load("BadKey", "client_key", bench_memfd(ca_pem, strlen(ca_pem)));
	assert_load("BadKey", "client_key", bench_memfd("", 0));
	assert_load("BadCertificate", "client_ca", bench_memfd(key_pem, strlen(key_pem)));
	assert_load("InvalidArgument", "mine", bench_memfd("", 0));
	assert_load("TooLarge", "mine", bench_memfd(large, CERT_BLOB_MAX + 1));
	assert_load("TooLarge", "client_key", bench_memfd(large, BUS_FD_MAX + 1));
	assert_load("BadFileDescriptor", "client_key", open("/dev/null", O_RDONLY));
	assert_load("BadFileDescriptor", "client_key", open("/", O_RDONLY));
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(write(pipes[1], key_pem, strlen(key_pem)), strlen(key_pem));
	close(pipes[1]);
	assert_load("", "client_key", pipes[0]);
	assert_int_equal(bench.bus->n_requests, 0);
}

/* The one call that there is has come to reading its pipe. */
static bool is_reading(void)
{
	struct list *first = list_first(&bench.bus->requests);

	return first && container_of(first, struct bus_request, node)->input.reading;
}

/* Nobody is held up by a pipe that never ends. */
static void test_pipe_without_end(void **state)
{
	struct bench_reply reply, other;
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	bench_call(bench.me, &reply, CERTS, "Load", "suh", "client_key", 1, pipes[0]);
	bench_await(is_reading());
	bench_call(bench.me, &other, WIFI, "Leave", "");
	fake_finish(await_request("leave"), DEVICE_OK, NULL);
	bench_await_reply(&other);
	bench_pass(BUS_FD_TIMEOUT - 1 * TIMERS_S);
	bench_settle();
	assert_int_equal(reply.count, 0);
	bench_pass(1 * TIMERS_S);
	bench_await_reply(&reply);
	assert_string_equal(reply.error, "Timeout");
	bench_reply_clear(&reply);
	bench_reply_clear(&other);
	close(pipes[0]);
	close(pipes[1]);
}

static void test_erase_and_verify(void **state)
{
	static char *const lines[] = { (char *)"client_ca.0 is gone" };
	struct bench_reply reply;
	struct device_request *req;
	const char *problem;

	bench_call(bench.me, &reply, CERTS, "Erase", "su", "mqtt_ca", UINT32_MAX);
	req = await_request("erase");
	assert_string_equal(req->text, "mqtt_ca");
	assert_int_equal(req->slot, DEVICE_SLOT_NONE);
	fake_finish(req, DEVICE_E_NO_VALUE, NULL);
	bench_await_reply(&reply);
	assert_string_equal(reply.error, "NoSuchValue");
	bench_reply_clear(&reply);
	bench_call(bench.me, &reply, CERTS, "Verify", "");
	fake_finish(await_request("verify"), DEVICE_OK,
		    &(struct device_answer){ .text = "", .lines = lines, .n_lines = 1 });
	bench_await_reply(&reply);
	assert_true(sd_bus_message_read(reply.m, "as", 1, &problem) > 0);
	assert_string_equal(problem, "client_ca.0 is gone");
	bench_reply_clear(&reply);
}

/* ---- calls that go to the daemon ---- */

static void test_create_tunnel(void **state)
{
	struct bench_reply reply;
	const char *path;

	assert_string_equal(bench_ask(&reply, MANAGER, "CreateTunnel", "sa{sv}", "more", 9, "host",
				      "s", "a\"b\r\n\\", "port", "q", 8883, "keep_alive", "i", -3,
				      "max_waiting", "t", (uint64_t)7, "insecure", "b", 1, "alpn",
				      "as", 2, "mqtt", "h2", "ciphers", "au", 2, 0xc02b,
				      4294967295u, "other", "ai", 1, -1, "persist", "b", 1),
			    "");
	assert_true(sd_bus_message_read(reply.m, "o", &path) > 0);
	assert_string_equal(path, "/org/espat1/tunnel/more");
	bench_reply_clear(&reply);
	assert_string_equal(bench.op.name, "more");
	assert_true(bench.op.persist);
	assert_string_equal(bench.op.text, "tunnels = (\n\t{\n"
					   "\t\tname = \"more\";\n"
					   "\t\thost = \"a\\\"b\\r\\n\\\\\";\n"
					   "\t\tport = 8883;\n"
					   "\t\tkeep_alive = -3;\n"
					   "\t\tmax_waiting = 7;\n"
					   "\t\tinsecure = true;\n"
					   "\t\talpn = [ \"mqtt\", \"h2\" ];\n"
					   "\t\tciphers = [ 49195L, 4294967295L ];\n"
					   "\t\tother = [ -1 ];\n"
					   "\t}\n);\n");
	/* What the configuration says is told. */
	bench.fails = BUS_E_CONFIGURATION;
	assert_error("BadConfiguration", MANAGER, "CreateTunnel", "sa{sv}", "x", 0);
}

static void test_bad_tunnels(void **state)
{
	_cleanup_free_ char *huge = filled('x', 16 << 20);
	static const char *const names[] = { "", "a b", "../x", ".x", "\xc3\xa4", "a\nb" };
	sd_bus_message *m = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_error("InvalidArgument", MANAGER, "CreateTunnel", "sa{sv}", names[i], 0);
	assert_error("InvalidArgument", MANAGER, "CreateTunnel", "sa{sv}", huge, 0);
	assert_error("InvalidArgument", MANAGER, "CreateTunnel", "sa{sv}", "x", 1, "host", "s",
		     huge);
	assert_error("InvalidArgument", MANAGER, "CreateTunnel", "sa{sv}", "x", 1, huge, "s", "x");
	assert_error("InvalidArgument", MANAGER, "CreateTunnel", "sa{sv}", "x", 1, "psk", "s", "x");
	assert_error("InvalidArgument", MANAGER, "CreateTunnel", "sa{sv}", "x", 1, "name", "s",
		     "y");
	assert_error("InvalidArgument", MANAGER, "CreateTunnel", "sa{sv}", "x", 1, "port", "d",
		     1.0);
	assert_error("InvalidArgument", MANAGER, "CreateTunnel", "sa{sv}", "x", 1, "port", "t",
		     UINT64_MAX);
	assert_error("InvalidArgument", MANAGER, "CreateTunnel", "sa{sv}", "x", 1, "psk2", "a{ss}",
		     0);
	assert_error("InvalidArgument", MANAGER, "CreateTunnel", "sa{sv}", "x", 1, "persist", "s",
		     "yes");
	assert_error("InvalidArgument", MANAGER, "CreateTunnel", "sa{sv}", "x", 1, "a b", "s", "y");
	assert_error("InvalidArgument", MANAGER, "CreateTunnel", "sa{sv}", "x", 2, "host", "s", "a",
		     "host", "s", "b");
	/* More options than there are keys, and more items than one of them takes. */
	for (int array = 0; array < 2; array++) {
		struct bench_reply reply = { 0 };

		assert_true(sd_bus_message_new_method_call(bench.me->sd, &m, "org.espat1", MANAGER,
							   "CreateTunnel") >= 0);
		sd_bus_message_append(m, "s", "x");
		sd_bus_message_open_container(m, 'a', "{sv}");
		if (array) {
			sd_bus_message_open_container(m, 'e', "sv");
			sd_bus_message_append(m, "s", "alpn");
			sd_bus_message_open_container(m, 'v', "as");
			sd_bus_message_open_container(m, 'a', "s");
		}
		for (int i = 0; i < 100000; i++) {
			char key[16];

			snprintf(key, sizeof(key), "k%d", i);
			if (array)
				sd_bus_message_append(m, "s", key);
			else
				sd_bus_message_append(m, "{sv}", key, "i", i);
		}
		for (int i = 0; i < (array ? 4 : 1); i++)
			assert_true(sd_bus_message_close_container(m) >= 0);
		bench_send(bench.me, &reply, m);
		m = sd_bus_message_unref(m);
		bench_await_reply(&reply);
		assert_string_equal(reply.error, "InvalidArgument");
		bench_reply_clear(&reply);
	}
	assert_int_equal(bench.n_ops, 0);
}

static void test_tunnels_and_reload(void **state)
{
	struct bench_reply reply;
	uint32_t clients;

	assert_error("", MANAGER, "RemoveTunnel", "s", "more");
	assert_string_equal(bench.op.what, "remove");
	assert_string_equal(bench.op.name, "more");
	assert_error("NoSuchTunnel", MANAGER, "RemoveTunnel", "s", "../x");
	assert_error("", MANAGER, "Reload", "");
	assert_string_equal(bench.op.what, "reload");
	assert_string_equal(bench_ask(&reply, TUNNEL, "Disconnect", ""), "");
	assert_true(sd_bus_message_read(reply.m, "u", &clients) > 0);
	assert_int_equal(clients, 7);
	assert_int_equal(fake.disconnects, 1);
	bench_reply_clear(&reply);
	bench.fails = BUS_E_IN_CONFIGURATION;
	assert_error("InConfiguration", MANAGER, "RemoveTunnel", "s", "broker");
	bench.fails = BUS_E_CONFIGURATION;
	assert_error("BadConfiguration", MANAGER, "Reload", "");
}

/* While a reload goes on, whoever changes something waits; whoever looks does not. */
static void test_busy(void **state)
{
	static struct bench_reply replies[3], reply;
	struct bench_client *other = bench_connect();

	bench.busy = true;
	bench_call(bench.me, &replies[0], MANAGER, "RemoveTunnel", "s", "a");
	bench_call(other, &replies[1], MANAGER, "RemoveTunnel", "s", "b");
	bench_call(bench.me, &replies[2], MANAGER, "RemoveTunnel", "s", "c");
	bench_await(bench.bus->n_requests == 3);
	bench_settle();
	assert_string_equal(bench_ask(&reply, MANAGER, "ListTunnels", ""), "");
	bench_reply_clear(&reply);
	assert_int_equal(bench.n_ops, 0);
	bench_disconnect(other);
	bench_await(bench.bus->n_requests == 2);
	bench.busy = false;
	bench_await_reply(&replies[0]);
	bench_await_reply(&replies[2]);
	assert_int_equal(bench.n_ops, 2);
	assert_string_equal(bench.op.name, "c");
	bench_reply_clear(&replies[0]);
	bench_reply_clear(&replies[2]);
}

static void test_log_level(void **state)
{
	_cleanup_free_ char *huge = filled('x', 16 << 20);

	assert_error("InvalidArgument", MANAGER, "SetLogLevel", "s", "");
	assert_error("InvalidArgument", MANAGER, "SetLogLevel", "s", "loud");
	assert_error("InvalidArgument", MANAGER, "SetLogLevel", "s", huge);
	assert_int_equal(log_get_level(), LOG_LEVEL_INFO);
	assert_error("", MANAGER, "SetLogLevel", "s", "warning");
	assert_int_equal(log_get_level(), LOG_LEVEL_WARNING);
	log_set_level(LOG_LEVEL_INFO);
}

static void assert_chips(struct bench_reply *reply)
{
	const char *device, *text;
	int ok;

	assert_string_equal(reply->error, "");
	assert_true(sd_bus_message_enter_container(reply->m, 'a', "{s(bs)}") > 0);
	assert_true(sd_bus_message_read(reply->m, "{s(bs)}", &device, &ok, &text) > 0);
	assert_string_equal(device, "esp0");
	assert_true(ok);
	assert_string_equal(text, "written");
	assert_true(sd_bus_message_read(reply->m, "{s(bs)}", &device, &ok, &text) > 0);
	assert_string_equal(device, "esp1");
	assert_false(ok);
	assert_int_equal(sd_bus_message_read(reply->m, "{s(bs)}", &device, &ok, &text), 0);
}

/* At once, or when all chips have it. */
static void test_material(void **state)
{
	int key = bench_memfd("the key", 7);

	for (int at_once = 0; at_once < 2; at_once++) {
		const struct bus_chip_result results[] = { { "esp0", true, "written" },
							   { "esp1", false, "absent" } };
		struct bench_reply reply;

		bench.at_once = at_once;
		for (int i = 0; i < 5; i++) {
			static const char *const whats[] = { "set", "set", "remove-material",
							     "remove-material", "rollback" };
			unsigned int n = bench.n_ops;

			if (i == 0)
				bench_call(bench.me, &reply, MANAGER, "SetAuthority", "ss", "corp",
					   ca_pem);
			else if (i == 1)
				bench_call(bench.me, &reply, MANAGER, "SetIdentity", "ssh", "corp",
					   ca_pem, key);
			else if (i == 2)
				bench_call(bench.me, &reply, MANAGER, "RemoveAuthority", "s",
					   "corp");
			else if (i == 3)
				bench_call(bench.me, &reply, MANAGER, "RemoveIdentity", "s",
					   "corp");
			else
				bench_call(bench.me, &reply, MANAGER, "Rollback", "s",
					   "authority:corp");
			bench_await(bench.n_ops > n);
			assert_string_equal(bench.op.what, whats[i]);
			assert_string_equal(bench.op.name, i == 4 ? "authority:corp" : "corp");
			assert_int_equal(bench.op.kind,
					 i == 1 || i == 3 ? STORE_IDENTITY : STORE_AUTHORITY);
			assert_string_equal(bench.op.key, i == 1 ? "the key" : "");
			assert_string_equal(bench.op.text, i < 2 ? ca_pem : "");
			if (!at_once) {
				bus_change_fn done = bench.done;

				bench_settle();
				assert_int_equal(reply.count, 0);
				bench.done = NULL;
				done(bench.done_userdata, NULL, results, 2);
			}
			bench_await_reply(&reply);
			assert_chips(&reply);
			bench_reply_clear(&reply);
		}
	}
	assert_int_equal(bench.changes_cancelled, 0);
	close(key);
}

static void test_material_that_fails(void **state)
{
	_cleanup_free_ char *huge = filled('x', 16 << 20);
	struct bus_failure failure;
	struct bench_reply reply;
	int null = open("/dev/null", O_RDONLY);

	bench.fails = BUS_E_BAD_CERTIFICATE;
	assert_error("BadCertificate", MANAGER, "SetAuthority", "ss", "corp", "hello");
	bench.fails = BUS_E_NOTHING_KEPT;
	assert_error("NothingKept", MANAGER, "Rollback", "s", "corp");
	bench.fails = BUS_E_AMBIGUOUS;
	assert_error("Ambiguous", MANAGER, "Rollback", "s", "corp");
	bench.fails = BUS_E_IN_USE;
	assert_error("InUse", MANAGER, "RemoveIdentity", "s", "corp");
	/* later */
	bench.fails = BUS_OK;
	bench_call(bench.me, &reply, MANAGER, "Rollback", "s", "corp");
	bench_await(bench.done);
	bus_fail(&failure, BUS_E_NO_MEMORY, "out of memory");
	bench.done(bench.done_userdata, &failure, NULL, 0);
	bench_await_reply(&reply);
	assert_string_equal(reply.error, "NoMemory");
	bench_reply_clear(&reply);
	/* Before anybody is asked. */
	bench.n_ops = 0;
	assert_error("InvalidArgument", MANAGER, "SetAuthority", "ss", "a b", ca_pem);
	assert_error("InvalidArgument", MANAGER, "SetAuthority", "ss", huge, ca_pem);
	assert_error("BadCertificate", MANAGER, "SetAuthority", "ss", "corp", huge);
	assert_error("BadFileDescriptor", MANAGER, "SetIdentity", "ssh", "gw", ca_pem, null);
	assert_error("NoSuchAuthority", MANAGER, "RemoveAuthority", "s", "a/b");
	assert_error("NoSuchIdentity", MANAGER, "RemoveIdentity", "s", huge);
	assert_error("NoSuchAuthority", MANAGER, "Rollback", "s", "authority:");
	assert_error("NoSuchIdentity", MANAGER, "Rollback", "s", "identity:a b");
	assert_error("NoSuchAuthority", MANAGER, "Rollback", "s", huge);
	assert_int_equal(bench.n_ops, 0);
	close(null);
}

static void test_adopt(void **state)
{
	assert_error("", DEV, "Adopt", "");
	assert_string_equal(bench.op.what, "adopt");
	bench.fails = BUS_E_NOT_READY;
	assert_error("NotReady", DEV, "Adopt", "");
}

static void test_trace(void **state)
{
	static const struct {
		const char *key;
		uint64_t value;
	} limits[] = {
		{ "max_bytes", 4095 },         { "max_bytes", (1 << 30) + 1 },
		{ "max_bytes", UINT64_MAX },   { "max_seconds", 86401 },
		{ "max_seconds", UINT32_MAX }, { "max_seconds", 1ull << 32 },
	};
	int pipes[2], file;
	char c;

	assert_int_equal(pipe(pipes), 0);
	assert_error("", DEV, "StartTrace", "ha{sv}", pipes[1], 2, "max_bytes", "t", (uint64_t)5000,
		     "max_seconds", "u", 60);
	assert_string_equal(bench.op.what, "trace");
	assert_int_equal(bench.op.max_bytes, 5000);
	assert_int_equal(bench.op.max_seconds, 60);
	/* It is a descriptor of the daemon's own, and for nobody that it executes. */
	assert_true(fcntl(bench.op.fd, F_GETFD) & FD_CLOEXEC);
	close(pipes[1]);
	assert_int_equal(write(bench.op.fd, "x", 1), 1);
	assert_int_equal(read(pipes[0], &c, 1), 1);
	close(pipes[0]);
	close(bench.op.fd);
	bench.op.fd = -1;
	assert_error("", DEV, "StopTrace", "");
	assert_string_equal(bench.op.what, "stop-trace");
	bench.fails = BUS_E_NO_TRACE;
	assert_error("NoTrace", DEV, "StopTrace", "");
	/* The descriptor of one that cannot begin is closed. */
	assert_int_equal(pipe(pipes), 0);
	assert_error("NoTrace", DEV, "StartTrace", "ha{sv}", pipes[1], 0);
	bench_settle();
	close(pipes[1]);
	assert_int_equal(read(pipes[0], &c, 1), 0);
	close(pipes[0]);
	bench.n_ops = 0;
	file = open("/proc/self/exe", O_RDONLY);
	assert_error("BadFileDescriptor", DEV, "StartTrace", "ha{sv}", file, 0);
	close(file);
	file = open("/proc/self/exe", O_PATH);
	assert_error("BadFileDescriptor", DEV, "StartTrace", "ha{sv}", file, 0);
	close(file);
	file = open("/dev/null", O_WRONLY);
	assert_error("InvalidArgument", DEV, "StartTrace", "ha{sv}", file, 1, "colour", "t",
		     (uint64_t)1);
	assert_error("InvalidArgument", DEV, "StartTrace", "ha{sv}", file, 1, "max_bytes", "s",
		     "1");
	assert_error("InvalidArgument", DEV, "StartTrace", "ha{sv}", file, 1, "max_bytes", "i", -1);
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		assert_error("InvalidArgument", DEV, "StartTrace", "ha{sv}", file, 1, limits[i].key,
			     "t", limits[i].value);
	close(file);
	assert_int_equal(bench.n_ops, 0);
}

/* ---- what happens meanwhile ---- */

/* 200 at once of several callers: each is answered, once. */
static void test_many_calls(void **state)
{
	static struct bench_reply replies[200];
	struct bench_client *callers[4];
	unsigned int good = 0, busy = 0;

	callers[0] = bench.me;
	for (size_t i = 1; i < 4; i++)
		callers[i] = bench_connect();
	for (size_t i = 0; i < 200; i++)
		bench_call(callers[i % 4], &replies[i], DEV, "Command", "s", "AT+GMR");
	/* The chip has them all that it gets, before it answers one. */
	bench_await(fake.n == 4 * BUS_REQUESTS_SENDER_MAX);
	for (size_t i = 0; i < fake.n; i++)
		fake_finish(&fake.requests[i], DEVICE_OK, NULL);
	for (size_t i = 0; i < 200; i++) {
		bench_await_reply(&replies[i]);
		good += replies[i].error[0] == '\0';
		busy += strcmp(replies[i].error, "Busy") == 0;
	}
	bench_settle();
	for (size_t i = 0; i < 200; i++)
		bench_reply_clear(&replies[i]);
	assert_int_equal(good, 4 * BUS_REQUESTS_SENDER_MAX);
	assert_int_equal(busy, 200 - good);
	assert_int_equal(bench.bus->n_requests, 0);
}

static void test_limit_of_all(void **state)
{
	struct bench_reply reply;

	bench.bus->n_requests = BUS_REQUESTS_MAX;
	assert_string_equal(bench_ask(&reply, DEV, "Reset", ""), "Busy");
	bench_reply_clear(&reply);
	/* Reading is no request. */
	assert_string_equal(bench_ask(&reply, MANAGER, "ListDevices", ""), "");
	bench_reply_clear(&reply);
	bench.bus->n_requests = 0;
}

/* In each of the states that a call may be in. */
static void test_caller_that_goes(void **state)
{
	struct bench_client *caller;
	struct bench_reply reply, other;
	int pipes[2];

	/* the chip has it */
	caller = bench_connect();
	bench_call(caller, &reply, DEV, "Reset", "");
	bench_await(fake.n == 1);
	bench_disconnect(caller);
	bench_await(fake.requests[0].cancelled);
	assert_int_equal(bench.bus->n_requests, 0);
	/* several chips have it */
	caller = bench_connect();
	bench_call(caller, &reply, MANAGER, "Rollback", "s", "corp");
	bench_await(bench.done);
	bench_disconnect(caller);
	bench_await(bench.changes_cancelled == 1);
	assert_int_equal(bench.bus->n_requests, 0);
	/* its pipe is being read, and is let go */
	assert_int_equal(pipe2(pipes, O_NONBLOCK), 0);
	caller = bench_connect();
	bench_call(caller, &reply, CERTS, "Load", "suh", "client_key", 1, pipes[0]);
	close(pipes[0]);
	bench_await(is_reading());
	bench_disconnect(caller);
	bench_await(bench.bus->n_requests == 0);
	signal(SIGPIPE, SIG_IGN);
	bench_await(write(pipes[1], "x", 1) < 0);
	assert_int_equal(errno, EPIPE);
	close(pipes[1]);
	/* polkit has it */
	bench_start_polkit(NULL);
	bench_be_stranger();
	caller = bench_connect();
	bench_call(caller, &reply, MANAGER, "Reload", "");
	bench_await(bench.asked == 1);
	bench_disconnect(caller);
	bench_await(bench.cancelled == 1);
	assert_int_equal(bench.bus->n_requests, 0);
	/* somebody else's goes on */
	bench.bus->root = getuid();
	bench_call(bench.me, &reply, DEV, "Reset", "");
	bench_await(fake.n == 2);
	caller = bench_connect();
	bench_call(caller, &other, DEV, "Reset", "");
	bench_await(fake.n == 3);
	bench_disconnect(caller);
	bench_await(fake.requests[2].cancelled);
	assert_false(fake.requests[1].cancelled);
	fake_finish(&fake.requests[1], DEVICE_OK, NULL);
	bench_await_reply(&reply);
	assert_string_equal(reply.error, "");
	bench_reply_clear(&reply);
}

/* What the configuration allows is asked again when the caller is known. */
static void test_command_that_is_not_allowed_any_more(void **state)
{
	struct bench_reply reply;

	bench_start_polkit(NULL);
	bench_be_stranger();
	bench.raw = true;
	bench_call(bench.me, &reply, DEV, "Command", "s", "AT+CWMODE=1");
	bench_await(bench.asked == 1);
	bench.raw = false;
	bench_polkit_answers("yes");
	bench_await_reply(&reply);
	assert_string_equal(reply.error, "CommandNotAllowed");
	assert_int_equal(fake.n, 0);
	bench_reply_clear(&reply);
}

static void test_device_that_goes(void **state)
{
	struct device *other = fake_device("esp1");
	struct bench_reply running, waiting, here;

	assert_int_equal(bus_add_device(bench.bus, other), 0);
	bench_start_polkit(NULL);
	bench_call(bench.me, &running, "/org/espat1/device/esp1", "org.espat1.Device", "Reset", "");
	bench_call(bench.me, &here, DEV, "Reset", "");
	bench_await(fake.n == 2);
	bench_be_stranger();
	bench_call(bench.me, &waiting, "/org/espat1/device/esp1", "org.espat1.Device", "Reset", "");
	bench_await(bench.asked == 1);
	bench.bus->own = getuid();
	bus_remove_device(bench.bus, other);
	fake_device_free(other);
	bench_await_reply(&running);
	assert_string_equal(running.error, "ChipGone");
	assert_true(fake.requests[0].cancelled);
	assert_false(fake.requests[1].cancelled);
	assert_int_equal(waiting.count, 0);
	assert_int_equal(here.count, 0);
	fake_finish(&fake.requests[1], DEVICE_OK, NULL);
	bench_await_reply(&here);
	assert_string_equal(here.error, "");
	/* Its name is looked up again when it is allowed. */
	bench_polkit_answers("yes");
	bench_await_reply(&waiting);
	assert_string_equal(waiting.error, "NoSuchDevice");
	bench_reply_clear(&running);
	bench_reply_clear(&waiting);
	bench_reply_clear(&here);
}

/* A caller that wants no answer gets none. */
static void test_no_reply(void **state)
{
	sd_bus_message *m = NULL;

	assert_true(sd_bus_message_new_method_call(bench.me->sd, &m, "org.espat1", MANAGER,
						   "Reload") >= 0);
	sd_bus_message_set_expect_reply(m, 0);
	assert_true(sd_bus_send(bench.me->sd, m, NULL) >= 0);
	sd_bus_message_unref(m);
	bench_await(bench.n_ops == 1);
	assert_error("", MANAGER, "ListDevices", "");
	assert_int_equal(bench.bus->n_requests, 0);
}

#define BENCH_TEST(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BENCH_TEST(test_lists),
		BENCH_TEST(test_lookups),
		BENCH_TEST(test_wrong_types),
		BENCH_TEST(test_list_material),
		BENCH_TEST(test_list_values),
		BENCH_TEST(test_list_digests),
		BENCH_TEST(test_list_orphans),
		BENCH_TEST(test_simple_requests),
		BENCH_TEST(test_results),
		BENCH_TEST(test_refusals),
		BENCH_TEST(test_scan),
		BENCH_TEST(test_command),
		BENCH_TEST(test_join),
		BENCH_TEST(test_bad_joins),
		BENCH_TEST(test_load_pem),
		BENCH_TEST(test_secrets_in_arguments),
		BENCH_TEST(test_bad_loads),
		BENCH_TEST(test_load),
		BENCH_TEST(test_pipe_without_end),
		BENCH_TEST(test_erase_and_verify),
		BENCH_TEST(test_create_tunnel),
		BENCH_TEST(test_bad_tunnels),
		BENCH_TEST(test_tunnels_and_reload),
		BENCH_TEST(test_busy),
		BENCH_TEST(test_log_level),
		BENCH_TEST(test_material),
		BENCH_TEST(test_material_that_fails),
		BENCH_TEST(test_adopt),
		BENCH_TEST(test_trace),
		BENCH_TEST(test_many_calls),
		BENCH_TEST(test_limit_of_all),
		BENCH_TEST(test_caller_that_goes),
		BENCH_TEST(test_device_that_goes),
		BENCH_TEST(test_command_that_is_not_allowed_any_more),
		BENCH_TEST(test_no_reply),
	};

	if (!bench_possible())
		return 77; /* skipped: there is no dbus-daemon */
	return cmocka_run_group_tests(tests, make_material, NULL);
}
