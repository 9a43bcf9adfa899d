/* SPDX-License-Identifier: MIT */
/* bus-text and bus-error: texts for a bus that takes UTF-8 only, and the names of errors. */
#include "test.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/bus-text.h"
#include "bus/error.h"
#include "read-text.h"

#define R "\xef\xbf\xbd"

static void test_utf8(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ NULL, "" },
		{ "", "" },
		{ "plain", "plain" },
		{ "caf\xc3\xa9", "caf\xc3\xa9" },
		{ "\xe2\x82\xac", "\xe2\x82\xac" },
		{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
		{ "\xf4\x8f\xbf\xbd", "\xf4\x8f\xbf\xbd" },
		{ "caf\xe9", "caf" R },
		{ "\xc3", R },
		{ "\xc3(", R "(" },
		{ "\xe2\x82", R R },
		{ "\xe2\x82x", R R "x" },
		{ "\xc0\xaf", R R },                   /* a slash in two bytes */
		{ "\xe0\x80\xaf", R R R },             /* and in three */
		{ "\xf0\x80\x80\xaf", R R R R },       /* and in four */
		{ "\xed\xa0\x80", R R R },             /* half of a pair */
		{ "\xf4\x90\x80\x80", R R R R },       /* behind the last one */
		{ "\xf8\x88\x80\x80\x80", R R R R R }, /* five bytes */
		{ "\xef\xbf\xbf", R R R },             /* no character */
		{ "\xef\xb7\x90", R R R },
		{ "\x80\xff", R R },
	};
	char buf[64];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bus_utf8(buf, sizeof(buf), cases[i].in);
		assert_string_equal(buf, cases[i].out);
	}
}

/* Cut at a character's end, whatever the room is. */
static void test_utf8_cut(void **state)
{
	static const char text[] = "a\xc3\xa9\xe2\x82\xac\xff\xf0\x9f\x98\x80z";
	static const char whole[] = "a\xc3\xa9\xe2\x82\xac" R "\xf0\x9f\x98\x80z";
	static const size_t ends[] = { 0, 1, 3, 6, 9, 13, 14 };

	for (size_t size = 1; size <= sizeof(whole); size++) {
		char buf[sizeof(whole) + 1];
		size_t want = 0;

		memset(buf, 'X', sizeof(buf));
		bus_utf8(buf, size, text);
		for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
			if (ends[i] < size)
				want = ends[i];
		assert_int_equal(strlen(buf), want);
		assert_memory_equal(buf, whole, want);
		assert_int_equal(buf[size], 'X');
	}
}

/* Each error has a name of its own. */
static void test_error_names(void **state)
{
	for (int a = BUS_OK + 1; a <= BUS_E_FAILED; a++) {
		const char *name = bus_error_name((enum bus_error)a);

		assert_non_null(name);
		assert_memory_equal(name, "org.espat1.Error.", 17);
		for (int b = BUS_OK + 1; b < a; b++)
			assert_string_not_equal(name, bus_error_name((enum bus_error)b));
	}
	assert_string_equal(bus_error_name(BUS_E_REFUSED), "org.espat1.Error.ChipRefused");
}

static void test_fail(void **state)
{
	struct bus_failure failure;
	char large[2000];

	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	assert_int_equal(bus_fail(&failure, BUS_E_EXISTS, "%s %d", "a", 7), -1);
	assert_int_equal(failure.error, BUS_E_EXISTS);
	assert_string_equal(failure.text, "a 7");
	bus_fail(&failure, BUS_E_EXISTS, "%s", large);
	assert_int_equal(strlen(failure.text), sizeof(failure.text) - 1);
}

static void test_problems(void **state)
{
	struct problems problems = PROBLEMS_NULL;
	struct bus_failure failure;

	problems_add(&problems, PROBLEM_WARNING, NULL, 0, "not this");
	problems_add(&problems, PROBLEM_ERROR, "espatd.conf", 3, "first");
	problems_add(&problems, PROBLEM_ERROR, NULL, 0, "second");
	assert_int_equal(bus_fail_problems(&failure, BUS_E_CONFIGURATION, &problems), -1);
	assert_string_equal(failure.text, "espatd.conf:3: first\nsecond");
	for (int i = 0; i < 500; i++)
		problems_add(&problems, PROBLEM_ERROR, NULL, 0, "one more");
	bus_fail_problems(&failure, BUS_E_CONFIGURATION, &problems);
	assert_int_equal(strlen(failure.text), sizeof(failure.text) - 1);
	problems_clear(&problems);
}

/* ---- the manual ---- */

/* As a word of its own, in a macro's line. */
static void assert_described(const char *manual, const char *name, size_t len)
{
	for (const char *p = manual; (p = memmem(p, strlen(p), name, len)); p += len)
		if (!isalnum((unsigned char)p[len]) && p > manual && (p[-1] == ' ' || p[-1] == '('))
			return;
	fail_msg("%.*s is not in org.espat1(5)", (int)len, name);
}

/* Whatever has a name is in it: interfaces, methods, properties, signals, errors. */
static void test_manual(void **state)
{
	static const char *const interfaces[] = { "Manager", "Device", "Wifi", "Certificates",
						  "Tunnel" };
	static const char *const tags[] = { "<interface ", "<method ", "<property ", "<signal " };
	char *manual = read_file(XML_DIR "/../../../man/org.espat1.5");

	for (size_t i = 0; i < ARRAY_SIZE(interfaces); i++) {
		char path[512], *xml;

		snprintf(path, sizeof(path), "%s/org.espat1.%s.xml", XML_DIR, interfaces[i]);
		xml = read_file(path);
		for (size_t k = 0; k < ARRAY_SIZE(tags); k++)
			for (const char *p = xml; (p = strstr(p, tags[k])); p++) {
				const char *name = strchr(p, '"') + 1;

				assert_described(manual, name, strcspn(name, "\""));
			}
		free(xml);
	}
	for (int e = BUS_OK + 1; e <= BUS_E_FAILED; e++) {
		const char *name = strrchr(bus_error_name((enum bus_error)e), '.') + 1;

		assert_described(manual, name, strlen(name));
	}
	free(manual);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_utf8),        cmocka_unit_test(test_utf8_cut),
		cmocka_unit_test(test_error_names), cmocka_unit_test(test_fail),
		cmocka_unit_test(test_problems),    cmocka_unit_test(test_manual),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
