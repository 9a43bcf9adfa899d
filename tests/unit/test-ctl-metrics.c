/* SPDX-License-Identifier: MIT */
/* ctl/metrics and ctl/http: the text that a collector reads, and what it may ask. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/http.h"
#include "ctl/metrics.h"

#define S(text) ((char *)(text))

static char *write_metrics(const struct snapshot *snap)
{
	char *text;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	metrics_write(f, snap);
	fclose(f);
	return text;
}

static bool has_line(const char *text, const char *line)
{
	size_t len = strlen(line);

	for (const char *at = text; (at = strstr(at, line)); at++)
		if ((at == text || at[-1] == '\n') && at[len] == '\n')
			return true;
	print_message("no line %s in\n%s", line, text);
	return false;
}

#define INFO_LINE                                                                                  \
	"espat_device_info{device=\"esp0\",port=\"usb:1:2:\\\"odd\\\\\\n\",model=\"ESP32\","       \
	"firmware=\"v4.1\",mac=\"24:0a\"} 1"

static const struct snap_device device = {
	.name = S("esp0"),
	.port = S("usb:1:2:\"odd\\\n"),
	.state = S("ready"),
	.model = S("ESP32"),
	.firmware = S("v4.1"),
	.mac = S("24:0a"),
	.clock = S("host"),
	.links = 5,
	.links_in_use = 2,
	.free_heap = 112000,
	.resets = UINT64_MAX,
	.rssi = -52,
	.connected = true,
};

static void test_numbers(void **state)
{
	struct snap_device devices[] = { device, { 0 } };
	struct snap_tunnel tunnel = { .name = S("broker"),
				      .device = S("esp0"),
				      .host = S("h"),
				      .port = 8883,
				      .state = S("listening"),
				      .bytes_sent = 7,
				      .failures = 3 };
	struct snap_material identity = { .name = S("gw"),
					  .generation = 2,
					  .not_after = 1800000000 };
	struct snapshot snap = { .version = S("0.1.0"),
				 .devices = devices,
				 .n_devices = 2,
				 .tunnels = &tunnel,
				 .n_tunnels = 1,
				 .identities = &identity,
				 .n_identities = 1 };
	static const char *const lines[] = {
		"espat_up 1",
		"espat_info{version=\"0.1.0\"} 1",
		INFO_LINE,
		"espat_device_state{device=\"esp0\",state=\"ready\"} 1",
		"espat_device_state{device=\"esp0\",state=\"failed\"} 0",
		"espat_device_clock_set{device=\"esp0\"} 1",
		"espat_device_clock_set{device=\"esp1\"} 0",
		"espat_device_links_in_use{device=\"esp0\"} 2",
		"espat_device_free_heap_bytes{device=\"esp0\"} 112000",
		"espat_device_resets_total{device=\"esp0\"} 18446744073709551615",
		"espat_device_wifi_rssi_dbm{device=\"esp0\"} -52",
		"espat_device_wifi_connected{device=\"esp0\"} 1",
		"espat_device_wifi_connected{device=\"esp1\"} 0",
		"espat_tunnel_info{tunnel=\"broker\",device=\"esp0\",host=\"h\",port=\"8883\"} 1",
		"espat_tunnel_sent_bytes_total{tunnel=\"broker\",device=\"esp0\"} 7",
		"espat_tunnel_failures_total{tunnel=\"broker\",device=\"esp0\"} 3",
		"espat_tunnel_verified{tunnel=\"broker\",device=\"esp0\"} 0",
		"espat_certificate_not_after_seconds{kind=\"identity\",name=\"gw\"} 1800000000",
		"espat_material_generation{kind=\"identity\",name=\"gw\"} 2",
	};
	char *text;

	devices[1] = (struct snap_device){ .name = S("esp1"),
					   .port = S(""),
					   .state = S("absent"),
					   .model = S(""),
					   .firmware = S(""),
					   .mac = S(""),
					   .clock = S("unset") };
	text = write_metrics(&snap);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		assert_true(has_line(text, lines[i]));
	/* What is not known has no series. */
	assert_null(strstr(text, "espat_device_free_heap_bytes{device=\"esp1\""));
	assert_null(strstr(text, "espat_device_wifi_rssi_dbm{device=\"esp1\""));
	free(text);
}

/* Each metric has its head once, before its series, and a counter's name says so. */
static void test_form(void **state)
{
	struct snap_device d = device;
	struct snapshot snap = { .version = S("0"), .devices = &d, .n_devices = 1 };
	char *text = write_metrics(&snap), *rest = text, *line, name[120] = "", type[20] = "";

	while ((line = strsep(&rest, "\n"))) {
		char help[100];

		if (strncmp(line, "# HELP ", 7) == 0) {
			assert_int_equal(sscanf(line, "# HELP %99s", help), 1);
			snprintf(name, sizeof(name), "# TYPE %s ", help);
			/* Its type follows, and only once. */
			assert_ptr_equal(strstr(rest, name), rest);
			assert_null(strstr(strstr(rest, name) + 1, name));
			snprintf(name, sizeof(name), "%s", help);
		} else if (strncmp(line, "# TYPE ", 7) == 0) {
			assert_int_equal(sscanf(line, "# TYPE %99s %19s", help, type), 2);
			assert_string_equal(help, name);
			assert_int_equal(strcmp(type, "counter") == 0,
					 strlen(name) > 6 &&
						 strcmp(name + strlen(name) - 6, "_total") == 0);
		} else if (*line) {
			assert_int_equal(strncmp(line, name, strlen(name)), 0);
			assert_non_null(strchr("{ ", line[strlen(name)]));
		}
	}
	free(text);
}

static void test_down(void **state)
{
	char *text = write_metrics(NULL);

	assert_string_equal(text, "# HELP espat_up 1 if espatd answers.\n"
				  "# TYPE espat_up gauge\nespat_up 0\n");
	free(text);
}

static void test_requests(void **state)
{
	static const struct {
		const char *request;
		int status;
	} table[] = {
		{ "GET / HTTP/1.0\r\n\r\n", 200 },
		{ "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n", 200 },
		{ "GET /metrics?x=y HTTP/1.1\r\n\r\n", 200 },
		{ "GET /metrics\n\n", 200 },
		{ "GET /metricsx HTTP/1.0\r\n\r\n", 404 },
		{ "GET /../etc/passwd HTTP/1.0\r\n\r\n", 404 },
		{ "GET ", 0 },
		{ "GET / HTTP/1.0\r\n", 0 },
		{ "", 0 },
		{ "POST / HTTP/1.0\r\n\r\n", 405 },
		{ "nonsense\r\n\r\n", 400 },
		{ "\r\n\r\n", 400 },
		{ "GET\r\n\r\n", 400 },
	};
	char large[HTTP_REQUEST_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		assert_int_equal(http_status(table[i].request, strlen(table[i].request)),
				 table[i].status);
	memset(large, 'x', sizeof(large));
	assert_int_equal(http_status(large, sizeof(large) - 1), 0);
	assert_int_equal(http_status(large, sizeof(large)), 431);
	assert_int_equal(http_status("\0\0\0\0\r\n\r\n", 8), 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_form),
		cmocka_unit_test(test_down),
		cmocka_unit_test(test_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
