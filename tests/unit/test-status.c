/* SPDX-License-Identifier: MIT */
/* daemon/status: what systemd is told of many chips, whatever they are called and have said. */
#include "test.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "daemon/status.h"
#include "util/utf8.h"

static struct status status;

static void add(size_t i, const char *text, bool ready)
{
	char line[512];

	snprintf(line, sizeof(line), "esp%zu: %s", i, text);
	status_add(&status, line, ready);
}

static size_t count_of(const char *text, const char *part)
{
	size_t n = 0;

	for (; (text = strstr(text, part)); text += strlen(part))
		n++;
	return n;
}

/* As many as there may be, each of them. */
static void test_all_ready(void **state)
{
	status_begin(&status, "Stopping, 320 clients are left");
	for (size_t i = 0; i < CONFIG_DEVICES_MAX; i++)
		add(i, "ready, 5 of 5 links in use", true);
	status_end(&status);
	assert_int_equal(count_of(status.text, ": ready, 5 of 5 links in use"), CONFIG_DEVICES_MAX);
	assert_int_equal(strncmp(status.text, "Stopping, 320 clients are left; esp0: ready, ", 45),
			 0);
	assert_null(strstr(status.text, "more"));
}

/* One message is at most PIPE_BUF; what has no room is counted. */
static void test_many_errors(void **state)
{
	static const char end[] = " more, 16 of them ready";
	char error[256];
	unsigned int more = 0;
	size_t told;

	memset(error, 'e', sizeof(error) - 1);
	error[sizeof(error) - 1] = '\0';
	status_begin(&status, "");
	for (size_t i = 0; i < CONFIG_DEVICES_MAX; i++)
		add(i, i < 48 ? error : "ready", i >= 48);
	status_end(&status);
	assert_true(strlen("STATUS=") + strlen(status.text) < PIPE_BUF);
	told = count_of(status.text, "esp");
	assert_in_range(told, 10, 20);
	assert_int_equal(sscanf(strstr(status.text, "; and "), "; and %u", &more), 1);
	assert_int_equal(told + more, CONFIG_DEVICES_MAX);
	assert_string_equal(status.text + strlen(status.text) - strlen(end), end);
	/* Those that are there are whole. */
	assert_int_equal(count_of(status.text, error), told);
}

/* Names of ports and texts of errors are anybody's: none ends the variable, and none is cut in two. */
static void test_any_text(void **state)
{
	char port[200] = "";

	for (size_t i = 0; i < 99; i++)
		strcat(port, "\xc3\xa9");
	status_begin(&status, "");
	add(0, "absent (there is no /dev/x\nWATCHDOG=trigger\nMAINPID=1\r\x1b[31m)", false);
	for (size_t i = 1; i < CONFIG_DEVICES_MAX; i++)
		add(i, port, false);
	status_end(&status);
	assert_non_null(strstr(status.text,
			       "esp0: absent (there is no /dev/x?WATCHDOG=trigger?MAINPID"
			       "=1??[31m); esp1: \xc3\xa9"));
	assert_null(strchr(status.text, '\n'));
	assert_true(utf8_is_valid(status.text));
	assert_non_null(strstr(status.text, " more, 0 of them ready"));
}

static void test_none(void **state)
{
	status_begin(&status, "");
	status_end(&status);
	assert_string_equal(status.text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_ready),
		cmocka_unit_test(test_many_errors),
		cmocka_unit_test(test_any_text),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
