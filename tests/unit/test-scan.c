/* SPDX-License-Identifier: MIT */
/* at/scan: numbers, strings and separators; what does not fit leaves the position where it was. */
#include "test.h"

#include <stdbool.h>
#include <string.h>

#include "at/scan.h"

static struct at_scan scan(const char *text)
{
	return at_scan_at(text, strlen(text), 0);
}

static const struct {
	const char *text;
	bool ok;
	long value;
	size_t pos;
} numbers[] = {
	{ "0", true, 0, 1 },
	{ "7,", true, 7, 1 },
	{ "0000000042", true, 42, 10 },
	{ "4294967295", true, 4294967295L, 10 },
	{ "4294967296", false, 0, 0 },
	{ "9999999999", false, 0, 0 },
	{ "00000000001", false, 0, 0 }, /* 11 digits */
	{ "99999999999999999999999999", false, 0, 0 },
	{ "", false, 0, 0 },
	{ "-1", false, 0, 0 },
	{ "+1", false, 0, 0 },
	{ " 1", false, 0, 0 },
	{ "x", false, 0, 0 },
};

static void test_number(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct at_scan s = scan(numbers[i].text);
		long value = -77;

		assert_int_equal(at_scan_number(&s, &value), numbers[i].ok);
		assert_int_equal(s.pos, numbers[i].pos);
		assert_int_equal(value, numbers[i].ok ? numbers[i].value : -77);
	}
}

/* The text is not read past its length, whatever follows. */
static void test_number_ends_with_the_text(void **state)
{
	struct at_scan s = at_scan_at("123456", 3, 0);
	long value;

	assert_true(at_scan_number(&s, &value));
	assert_int_equal(value, 123);
	assert_true(at_scan_end(&s));
	assert_false(at_scan_number(&s, &value));
	assert_false(at_scan_char(&s, '4'));
	assert_false(at_scan_literal(&s, "456"));
}

static void test_signed(void **state)
{
	struct at_scan s = scan("-5,-,12");
	long value;

	assert_true(at_scan_signed(&s, &value));
	assert_int_equal(value, -5);
	assert_true(at_scan_char(&s, ','));
	assert_false(at_scan_signed(&s, &value));
	assert_int_equal(s.pos, 3);
	assert_true(at_scan_literal(&s, "-,"));
	assert_true(at_scan_signed(&s, &value));
	assert_int_equal(value, 12);
}

static void test_literal(void **state)
{
	struct at_scan s = scan("+CWMODE:2");

	assert_false(at_scan_literal(&s, "+CWMODE:22"));
	assert_false(at_scan_literal(&s, "+CWMODE;"));
	assert_int_equal(s.pos, 0);
	assert_true(at_scan_literal(&s, "+CWMODE:"));
	assert_true(at_scan_peek(&s, '2'));
	assert_false(at_scan_end(&s));
	assert_true(at_scan_char(&s, '2'));
	assert_true(at_scan_end(&s));
	assert_false(at_scan_peek(&s, '\0'));
}

static void test_quoted(void **state)
{
	struct at_scan s = scan("\"ab\",\"\",\"open");
	size_t len;

	assert_true(at_scan_quoted(&s, &len));
	assert_int_equal(len, 2);
	assert_int_equal(s.pos, 4);
	assert_false(at_scan_quoted(&s, &len));
	assert_true(at_scan_char(&s, ','));
	assert_true(at_scan_quoted(&s, &len));
	assert_int_equal(len, 0);
	assert_true(at_scan_char(&s, ','));
	assert_false(at_scan_quoted(&s, &len));
	assert_int_equal(s.pos, 8);
}

static void test_string(void **state)
{
	char buf[4] = "???";
	struct at_scan s = scan("\"abc\"");

	assert_true(at_scan_string(&s, buf, sizeof(buf)));
	assert_string_equal(buf, "abc");
	assert_true(at_scan_end(&s));
	s = scan("\"abcd\"");
	assert_false(at_scan_string(&s, buf, sizeof(buf)));
	assert_string_equal(buf, "abc");
	assert_int_equal(s.pos, 0);
	s = scan("\"\"");
	assert_true(at_scan_string(&s, buf, sizeof(buf)));
	assert_string_equal(buf, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_number), cmocka_unit_test(test_number_ends_with_the_text),
		cmocka_unit_test(test_signed), cmocka_unit_test(test_literal),
		cmocka_unit_test(test_quoted), cmocka_unit_test(test_string),
	};

	return cmocka_run_group_tests_name("scan", tests, NULL, NULL);
}
